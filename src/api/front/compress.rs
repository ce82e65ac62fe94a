//! Which answers are compressed.
//!
//! How long a compressed answer is tells something of what is in it, to whoever can have parts of it chosen (BREACH). So
//! only answers to GET are compressed, for secrets are told to POST, and no answer that says of itself that it must not be.

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

/// In the extensions of an answer: it holds what is told once, and must not be told by its length.
#[derive(Clone, Copy, Debug)]
pub struct HoldsSecret;

/// In the extensions of an answer to anything but GET.
#[derive(Clone, Copy, Debug)]
struct NotOfGet;

/// Bytes below which nothing is gained.
const WORTH_IT: u64 = 1024;

pub(super) fn layer() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new().compress_when(SizeAbove::new(WORTH_IT).and(is_text))
}

fn is_text(_: StatusCode, _: Version, headers: &HeaderMap, extensions: &Extensions) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    let text = matches!(
        kind,
        "application/json"
            | "application/x-ndjson"
            | "application/jsonl"
            | "text/csv"
            | "text/html"
            | "text/plain"
            | "text/javascript"
    );
    let secret = extensions.get::<HoldsSecret>().is_some()
        || extensions.get::<NotOfGet>().is_some()
        || headers.contains_key(header::SET_COOKIE);
    text && !secret && !headers.contains_key(header::CONTENT_RANGE)
}

/// Marks answers to anything but GET.
pub(super) async fn only_to_get(request: Request, next: Next) -> Response {
    let get = request.method() == Method::GET;
    let mut answer = next.run(request).await;
    if !get {
        answer.extensions_mut().insert(NotOfGet);
    }
    answer
}
