//! Each request has a name, that its client, the log and the audit call it by.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

use super::{Front, trouble};
use crate::api::caller::RequestId;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The client's own, where it is well-formed: up to 64 letters, digits, `-`, `_` and `.`.
fn id_of(request: &Request) -> RequestId {
    let given = request.headers().get(HEADER);
    let given = given.and_then(|given| given.to_str().ok());
    RequestId(match given.filter(|given| is_well_formed(given)) {
        Some(given) => given.to_owned(),
        None => Uuid::now_v7().to_string(),
    })
}

fn is_well_formed(id: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    (1..=64).contains(&id.len()) && id.bytes().all(allowed)
}

/// Names a request, and its answer by it; tells the log of it and counts it.
pub(super) async fn name(
    State(front): State<Arc<Front>>,
    mut request: Request,
    next: Next,
) -> Response {
    let begin = Instant::now();
    let id = id_of(&request);
    // The path as it was declared: what a client puts into one may be secret.
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!("request", id = id.0);
    let mut answer = trouble::without_panic(&front, next.run(request))
        .instrument(span.clone())
        .await;
    let status = answer.status();
    front.counters.answered(status);
    span.in_scope(|| {
        let took_ms = begin.elapsed().as_millis();
        tracing::debug!(%method, path, status = status.as_u16(), took_ms, "answered");
    });
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        answer.headers_mut().insert(HEADER, value);
    }
    trouble::with_request_id(answer, &id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_names_are_taken() {
        for good in ["a", "0193-ab.c_D", &"x".repeat(64)] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in ["", "a b", "a\u{1b}[31m", "<b>", "é", &"x".repeat(65)] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
