//! The OpenAPI document, made of the routes.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, ContentBuilder, Ref, RefOr, Required, ResponseBuilder};

use super::problem::Details;
use super::routes::CallEventView;

/// What any request can be answered with, besides what its operation says.
const COMMON: &[(&str, &str)] = &[
    ("400", "The request cannot be read"),
    ("401", "Nobody is signed in"),
    ("403", "The role does not permit it"),
    (
        "404",
        "Absent, or outside the caller's scope: there is no difference",
    ),
    ("422", "A field is at fault"),
    ("429", "Too many requests"),
    ("503", "The catalog is away; recording goes on"),
];

/// What requests that change something can be answered with.
const OF_CHANGES: &[(&str, &str)] = &[
    ("409", "It conflicts with what is there"),
    ("408", "The body took too long"),
    ("412", "It was changed in the meantime"),
    ("413", "The body is too large"),
    ("415", "The body is not JSON"),
    ("428", "If-Match is missing"),
];

/// Answers that have more forms than one: operation, status, and the others.
const OTHER_FORMS: &[(&str, &str, &[&str])] = &[
    ("call_audio", "200", &["audio/ogg"]),
    ("call_audio", "206", &["multipart/byteranges"]),
    ("shared_audio", "206", &["multipart/byteranges"]),
    ("hear_active_call", "200", &["audio/ogg"]),
    ("export_calls", "200", &["application/jsonl"]),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Callreel",
        description = "Recordings of calls, and who may hear them. Everything is seen from the caller's scope: what lies outside does not exist.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Details, CallEventView))
)]
pub(super) struct Document;

/// How one says who one is: a session's cookie, or a service's token. Operations for nobody in particular say so themselves.
fn secure(document: &mut utoipa::openapi::OpenApi) {
    let cookie = ApiKeyValue::with_description(
        "__Host-callreel",
        "With `X-CSRF-Token` where something is changed",
    );
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("crl_…")
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components.add_security_scheme("token", SecurityScheme::Http(token));
    let either =
        ["session", "token"].map(|name| SecurityRequirement::new::<_, [String; 0], _>(name, []));
    document.security = Some(either.to_vec());
}

/// Adds to every operation what any of them can be answered with.
pub(super) fn complete(document: &mut utoipa::openapi::OpenApi) {
    secure(document);
    for item in document.paths.paths.values_mut() {
        let PathItem {
            get,
            put,
            post,
            delete,
            patch,
            head,
            ..
        } = item;
        for operation in [get, head].into_iter().flatten() {
            add(operation, COMMON);
            add_other_forms(operation);
        }
        // Who has not signed in has no keys, and an answer is kept where something was created.
        let creates = |one: &&mut Operation| {
            one.security.is_none() && one.responses.responses.contains_key("201")
        };
        for operation in post.iter_mut().filter(creates) {
            let parameters = operation.parameters.get_or_insert_default();
            parameters.push(RefOr::T(idempotency_key()));
        }
        for operation in [put, post, delete, patch].into_iter().flatten() {
            add(operation, COMMON);
            add(operation, OF_CHANGES);
        }
    }
}

fn add_other_forms(operation: &mut Operation) {
    for (name, status, kinds) in OTHER_FORMS {
        let is_it = operation.operation_id.as_deref() == Some(*name);
        let answers = &mut operation.responses.responses;
        if let Some(RefOr::T(answer)) = answers.get_mut(*status).filter(|_| is_it) {
            for kind in *kinds {
                answer
                    .content
                    .insert((*kind).to_owned(), RefOr::T(Content::default()));
            }
        }
    }
}

fn idempotency_key() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[!-~]+$"));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A text of the client's own: what is created with it is created once within a day, however often it is asked for",
        ))
        .schema(Some(schema))
        .build()
}

fn add(operation: &mut Operation, answers: &[(&str, &str)]) {
    for (status, description) in answers {
        let response = ResponseBuilder::new().description(*description).build();
        let responses = &mut operation.responses.responses;
        responses
            .entry((*status).to_owned())
            .or_insert(RefOr::T(response));
    }
    // Whoever is at fault, it is said in one form.
    for (status, answer) in &mut operation.responses.responses {
        if let (RefOr::T(answer), b'4'..) = (answer, status.as_bytes().first().unwrap_or(&0)) {
            answer.content = [("application/problem+json".to_owned(), RefOr::T(problem()))].into();
        }
    }
}

fn problem() -> Content {
    let schema = Ref::from_schema_name("Problem");
    ContentBuilder::new().schema(Some(schema)).build()
}
