//! Every answer that says what is wrong is a problem document, whoever made it; and a fault of this program is one too.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::Front;
use super::counters::add;
use crate::api::caller::RequestId;
use crate::api::problem::Problem;

/// The answer, or one that says that this program is at fault.
pub(super) async fn without_panic(
    front: &Front,
    answer: impl Future<Output = Response>,
) -> Response {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(answer) => answer,
        Err(_) => {
            add(&front.counters.panics);
            tracing::error!("a request met a fault of this program: please report it");
            Problem::internal().into_response()
        }
    }
}

/// Turns answers of libraries (no such route, no such method, a body that is too large) into problem documents.
pub(super) async fn as_problems(request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    let status = answer.status();
    let at_fault = status.is_client_error() || status.is_server_error();
    if !at_fault || is_json(&answer) {
        return answer;
    }
    let mut problem = problem_of(status).into_response();
    for name in [
        header::ALLOW,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        header::CONTENT_RANGE,
    ] {
        if let Some(value) = answer.headers().get(&name) {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    problem
}

fn is_json(answer: &Response) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    kind.starts_with("application/problem+json") || kind.starts_with("application/json")
}

fn problem_of(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            status,
            "method_not_allowed",
            "This cannot be asked for by this method",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNAUTHORIZED => Problem::unauthenticated(),
        StatusCode::SERVICE_UNAVAILABLE => Problem::unavailable(),
        status if status.is_server_error() => Problem::internal(),
        status => Problem::new(status, "refused", "The request is refused"),
    }
}

pub(super) fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "The body is too large",
    )
}

/// Says in a problem document which request it answers.
pub(super) fn with_request_id(mut answer: Response, id: &RequestId) -> Response {
    let Some(problem) = answer.extensions_mut().remove::<Problem>() else {
        return answer;
    };
    let Ok(body) = serde_json::to_vec(&problem.of_request(&id.0)) else {
        return answer;
    };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *answer.body_mut() = body.into();
    answer
}
