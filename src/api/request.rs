//! What requests carry: bodies, parameters, ids and versions, each with the field at fault when it is wrong.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::{IntoParams, PartialSchema};
use uuid::Uuid;

use super::fields;
use super::problem::{Problem, Result};

/// A JSON object as body.
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

/// One that may be absent, or null.
#[derive(Clone, Copy, Debug)]
pub struct OptionalBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>> {
        says_json(request.headers())?;
        let bytes = Bytes::from_request(request, state).await;
        parse(&bytes.map_err(unread)?).map(Body)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<OptionalBody<T>> {
        let said = says_json(request.headers());
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        match bytes.trim_ascii() {
            b"" => Ok(OptionalBody(T::default())),
            b"null" => said.map(|()| OptionalBody(T::default())),
            some => said.and_then(|()| parse(some)).map(OptionalBody),
        }
    }
}

fn says_json(headers: &HeaderMap) -> Result<()> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let title = "The body must be JSON";
    Err(
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", title)
            .detail("send it as application/json"),
    )
}

fn unread(rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let title = "The body is too large";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", title)
        }
        _ => Problem::malformed("the body did not come whole"),
    }
}

/// Reads JSON; what is no JSON is malformed, what is of another shape is invalid, with the field at fault.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed =
        serde_path_to_error::deserialize::<_, Object<T>>(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            let error = error.into_inner();
            match error.is_data() {
                true => Problem::of_shape(&path, &error.to_string()),
                false => Problem::malformed(error.to_string()),
            }
        })?;
    match reader.end() {
        Ok(()) => Ok(parsed.0),
        Err(error) => Err(Problem::malformed(error.to_string())),
    }
}

/// What is written as an object, and as nothing else.
#[derive(serde::Deserialize)]
#[serde(transparent, bound = "T: DeserializeOwned")]
struct Object<T>(#[serde(deserialize_with = "fields::object")] T);

/// Parameters behind the path's question mark. An unknown one is at fault if `T` says so.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Parameters<T>> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let reader = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(reader)
            .map(Parameters)
            .map_err(|error| {
                let path = error.path().to_string();
                of_parameter(&path, &error.into_inner().to_string())
            })
    }
}

/// What is wrong with a parameter: `path` is its name, where it is one, `why` what the parser says of it.
fn of_parameter(path: &str, why: &str) -> Problem {
    for (what, detail) in [
        ("unknown field", "there is no such parameter here"),
        ("missing field", "it is missing"),
        ("duplicate field", "it is there twice"),
    ] {
        let name = why
            .strip_prefix(what)
            .and_then(|rest| rest.split('`').nth(1));
        if let Some(name) = name {
            return Problem::malformed(detail).field(name);
        }
    }
    let detail = match () {
        () if why.contains("UUID") => "an id is expected here",
        () if why.contains("`true` or `false`") => "true or false is expected here",
        () if ["digit", "integer", "number too", "float"]
            .iter()
            .any(|word| why.contains(word)) =>
        {
            "a number is expected here, not below 0 and not too large"
        }
        () => why,
    };
    let problem = Problem::malformed(detail);
    match path {
        "." | "?" => problem,
        name => problem.field(name),
    }
}

/// A parameter of an operation that has none.
pub fn no_such_parameter(name: &str) -> Problem {
    Problem::malformed("there is no such parameter here").field(name)
}

/// The id in a path. What is no id is not there.
#[derive(Clone, Copy, Debug)]
pub struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Id> {
        let id = Path::<Uuid>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Id(id)).map_err(|_| Problem::not_found())
    }
}

/// The version that an edit is meant for: the ETag that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: whatever it is now.
    Any,
    Version(i64),
    /// A tag that no version has.
    None,
}

impl IfMatch {
    /// # Errors
    ///
    /// A problem of status 412 when the object has another version.
    pub fn check(self, version: i64) -> Result<()> {
        match self {
            IfMatch::Any => Ok(()),
            IfMatch::Version(read) if read == version => Ok(()),
            _ => Err(Problem::stale()),
        }
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = ParameterBuilder::new()
            .name("If-Match")
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some("The ETag that was read"))
            .schema(Some(String::schema()));
        vec![parameter.build()]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IfMatch> {
        read_if_match(&parts.headers)
    }
}

fn read_if_match(headers: &HeaderMap) -> Result<IfMatch> {
    let value = headers
        .get(header::IF_MATCH)
        .ok_or_else(Problem::precondition_required)?;
    let text = value.to_str().unwrap_or("").trim();
    if text == "*" {
        return Ok(IfMatch::Any);
    }
    let version = text.trim_matches('"').parse();
    Ok(version.map_or(IfMatch::None, IfMatch::Version))
}

/// An object with its version as ETag, and where it is if it is new.
#[derive(Debug)]
pub struct Versioned<T> {
    pub status: StatusCode,
    pub version: i64,
    pub location: Option<String>,
    pub body: T,
}

impl<T> Versioned<T> {
    pub fn new(version: i64, body: T) -> Versioned<T> {
        Versioned {
            status: StatusCode::OK,
            version,
            location: None,
            body,
        }
    }

    /// Of an object that was just made, at this path.
    pub fn created(version: i64, path: String, body: T) -> Versioned<T> {
        Versioned {
            status: StatusCode::CREATED,
            version,
            location: Some(path),
            body,
        }
    }
}

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let tag = format!("\"{}\"", self.version);
        let mut response = (self.status, [(header::ETAG, tag)], Json(self.body)).into_response();
        if let Some(path) = self.location.and_then(|path| path.try_into().ok()) {
            response.headers_mut().insert(header::LOCATION, path);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::Details;
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Draft {
        #[allow(dead_code, reason = "only read")]
        name: String,
    }

    fn problem(json: &str) -> Details {
        let problem = parse::<Draft>(json.as_bytes()).unwrap_err();
        problem.details().clone()
    }

    #[test]
    fn what_is_no_json_is_malformed_and_what_is_of_another_shape_is_invalid() {
        assert_eq!(problem("{").status, 400);
        assert_eq!(problem("{\"name\":\"x\"} {}").status, 400);
        let wrong = problem("{\"name\":7}");
        assert_eq!((wrong.status, wrong.field.as_deref()), (422, Some("name")));
        assert_eq!(problem("{\"name\":\"x\",\"size\":1}").status, 422);
        let lacking = problem("{}");
        assert_eq!(
            (lacking.status, lacking.field.as_deref()),
            (422, Some("name"))
        );
        assert_eq!(lacking.detail.as_deref(), Some("it is missing"));
        let other = problem("7");
        assert_eq!((other.status, other.field.as_deref()), (422, None));
        assert!(!other.detail.unwrap().contains("struct"));
        assert_eq!(problem(" [\"x\"]").status, 422);
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_named_in_our_words() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "only read")]
        struct Wanted {
            tenant_id: Option<Uuid>,
            active: Option<bool>,
            limit: Option<u32>,
            mos: Option<f64>,
            reason: String,
        }
        for (query, field) in [
            ("tenant_id=x&reason=y", "tenant_id"),
            ("active=yes&reason=y", "active"),
            ("limit=-1&reason=y", "limit"),
            ("limit=&reason=y", "limit"),
            ("limit=99999999999&reason=y", "limit"),
            ("mos=good&reason=y", "mos"),
            ("limit=1&limit=2&reason=y", "limit"),
            ("colour=red&reason=y", "colour"),
            ("limit=1", "reason"),
        ] {
            let uri = format!("/x?{query}");
            let (mut parts, ()) = axum::http::Request::get(uri).body(()).unwrap().into_parts();
            let read = Parameters::<Wanted>::from_request_parts(&mut parts, &()).await;
            let problem = read.unwrap_err();
            let details = problem.details();
            assert_eq!(
                (details.status, details.field.as_deref()),
                (400, Some(field)),
                "{query}"
            );
            let words = details.detail.as_deref().unwrap();
            for foreign in ["erialize", "UUID", "literal", "field", "string"] {
                assert!(!words.contains(foreign), "{query}: {words}");
            }
        }
    }

    #[test]
    fn an_edit_must_say_which_version_was_read() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, text.parse().unwrap());
            read_if_match(&headers).unwrap().check(7).is_ok()
        };
        assert!(read("\"7\"") && read("*"));
        assert!(!read("\"8\"") && !read("\"x\"") && !read(""));
        let missing = read_if_match(&HeaderMap::new()).unwrap_err();
        assert_eq!(missing.details().status, 428);
    }
}
