//! What goes wrong, as RFC 9457 problem details.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::{Lacking, Operation, Resource};
use crate::catalog::{self, Objection};

/// An answer that says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Details>);

/// What is wrong. `application/problem+json`, RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Details {
    /// For programs; stable: `urn:callreel:problem:` and a word.
    #[serde(rename = "type")]
    #[schema(example = "urn:callreel:problem:not_found")]
    pub kind: String,
    /// What the type means.
    pub title: &'static str,
    /// The answer's status code.
    pub status: u16,
    /// What is wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The field or parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// As in the `X-Request-Id` of the answer and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
    /// The right that the caller does not have.
    #[serde(skip)]
    lacking: Option<(Resource, Operation)>,
}

/// A result of a route.
pub type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    pub fn new(status: StatusCode, code: &str, title: &'static str) -> Problem {
        Problem(Box::new(Details {
            kind: format!("urn:callreel:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: None,
            field: None,
            request_id: None,
            retry_after_seconds: None,
            lacking: None,
        }))
    }

    /// Says which request it answers.
    #[must_use]
    pub fn of_request(mut self, id: &str) -> Problem {
        self.0.request_id = Some(id.to_owned());
        self
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.0.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Problem {
        self.0.field = Some(field.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Problem {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    pub fn details(&self) -> &Details {
        &self.0
    }

    pub(super) fn lacking(&self) -> Option<(Resource, Operation)> {
        self.0.lacking
    }

    pub fn unauthenticated() -> Problem {
        let title = "Sign in, or send a token";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", title)
    }

    /// The principal's role lacks an operation. Never for an object: what cannot be seen is [`Problem::not_found`].
    pub fn lacks(resource: Resource, operation: Operation) -> Problem {
        let title = "Your role does not permit this";
        let mut problem = Problem::new(StatusCode::FORBIDDEN, "permission_denied", title)
            .detail(format!("it needs {resource}: {operation}"));
        problem.0.lacking = Some((resource, operation));
        problem
    }

    /// What is asked cannot be undone, or lets somebody in, and it is too long ago that the caller has shown who they are.
    pub fn step_up_required() -> Problem {
        let title = "Show again who you are";
        Problem::new(StatusCode::FORBIDDEN, "step_up_required", title)
            .detail("POST /api/v1/session/step-up")
    }

    /// What others may do to a user, the user does otherwise, and no program in the user's name.
    pub fn own_account() -> Problem {
        let title = "This is your own account";
        let problem = Problem::new(StatusCode::CONFLICT, "own_account", title);
        problem.detail("PUT /api/v1/me/password, DELETE /api/v1/sessions/{id}; not by a program")
    }

    /// The tenant has as many of something as its plan gives it.
    pub fn plan_limit(field: &'static str, detail: String) -> Problem {
        let title = "The plan gives no more";
        Problem::new(StatusCode::CONFLICT, "plan_limit", title)
            .field(field)
            .detail(detail)
    }

    /// The tenant's plan does not have it, whoever asks.
    pub fn not_in_plan(what: &str) -> Problem {
        let title = "The plan does not have this";
        Problem::new(StatusCode::FORBIDDEN, "not_in_plan", title)
            .detail(format!("the tenant's plan lacks {what}"))
    }

    pub fn beyond_own_rights(lacking: Lacking) -> Problem {
        let title = "Nobody grants what they do not hold";
        Problem::new(StatusCode::FORBIDDEN, "beyond_own_rights", title).detail(lacking.to_string())
    }

    /// Absent, or somebody else's: there is no difference.
    pub fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such thing")
    }

    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Problem {
        let title = "The request is not valid";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", title)
            .field(field)
            .detail(detail)
    }

    pub fn malformed(detail: impl Into<String>) -> Problem {
        let title = "The request cannot be read";
        Problem::new(StatusCode::BAD_REQUEST, "malformed", title).detail(detail)
    }

    /// It is as it is, whoever asks: a preset, or a line of a configuration file.
    pub fn read_only(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            "read_only",
            "This cannot be changed here",
        )
        .detail(detail)
    }

    /// What the configuration says is changed in its files only: `origin` is the line.
    ///
    /// # Errors
    ///
    /// [`Problem::read_only`] where there is an origin.
    pub fn unless_written(origin: Option<&str>) -> Result<()> {
        match origin {
            Some(origin) => Err(Problem::read_only(format!("it is written in {origin}"))),
            None => Ok(()),
        }
    }

    /// A body of another shape than it should have: `path` is where, `why` what the parser says of it.
    pub fn of_shape(path: &str, why: &str) -> Problem {
        let why = why.split(" at line ").next().unwrap_or(why);
        let missing = why.strip_prefix("missing field `");
        let missing = missing.and_then(|rest| rest.strip_suffix('`'));
        let detail = match missing {
            Some(_) => "it is missing",
            // Names of types are of no use to who asks.
            None if why.contains("expected struct") => "a JSON object is expected here",
            None => why,
        };
        let field = match (path, missing) {
            (".", None) => None,
            (".", Some(name)) => Some(name.to_owned()),
            (path, Some(name)) => Some(format!("{path}.{name}")),
            (path, None) => Some(path.to_owned()),
        };
        let mut problem = Problem::invalid("", detail);
        problem.0.field = field;
        problem
    }

    pub fn conflict(field: impl Into<String>, detail: impl Into<String>) -> Problem {
        let title = "It conflicts with what is there";
        Problem::new(StatusCode::CONFLICT, "conflict", title)
            .field(field)
            .detail(detail)
    }

    pub fn stale() -> Problem {
        let title = "It was changed in the meantime";
        Problem::new(StatusCode::PRECONDITION_FAILED, "stale", title)
            .detail("read it again, and send its new ETag as If-Match")
    }

    pub fn precondition_required() -> Problem {
        let title = "Say which version is meant";
        Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_required",
            title,
        )
        .detail("send the ETag that was read as If-Match")
    }

    /// The catalog is away. Recording goes on.
    pub fn unavailable() -> Problem {
        let title = "The catalog cannot be reached";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "catalog_away", title).retry_after(5)
    }

    pub fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something is wrong here, not with the request",
        )
    }
}

impl From<catalog::Error> for Problem {
    fn from(error: catalog::Error) -> Problem {
        match error {
            catalog::Error::Cursor => {
                Problem::malformed("use the `next` of the page before").field("after")
            }
            catalog::Error::Objection(objection) => objection.into(),
            catalog::Error::Taken { field } => {
                Problem::conflict(field, "there is one with this already")
            }
            catalog::Error::TooMany { what } => {
                Problem::conflict(what, "it has as many as it can have")
            }
            error => {
                tracing::warn!(%error, "the catalog did not answer the API");
                Problem::unavailable()
            }
        }
    }
}

impl From<Objection> for Problem {
    fn from(objection: Objection) -> Problem {
        let why = objection.to_string();
        let conflict = |code| {
            let title = "It conflicts with what is there";
            Problem::new(StatusCode::CONFLICT, code, title).detail(why.clone())
        };
        match objection {
            Objection::Beyond(lacking) => Problem::beyond_own_rights(lacking),
            Objection::OwnProfile | Objection::OwnTime => {
                let title = "Nobody grants what they do not hold";
                Problem::new(StatusCode::FORBIDDEN, "beyond_own_rights", title).detail(why)
            }
            Objection::LastAdministrator => conflict("last_administrator"),
            Objection::RoleInUse { .. } => conflict("in_use"),
            Objection::Preset => Problem::read_only(why),
            Objection::RootOfTenant => Problem::invalid("access_level", why),
            Objection::NoSuch { field, .. } => Problem::invalid(field, why),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = "application/problem+json";
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For the layer that knows the request's id and the audit that wants to know what was denied.
        response.extensions_mut().insert(self);
        response
    }
}
