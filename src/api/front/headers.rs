//! What browsers are told not to do with answers.

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Secure;

/// Where the answer says nothing else: nothing may be loaded, run or framed by it.
const ALWAYS: [(&str, &str); 7] = [
    ("x-content-type-options", "nosniff"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// Of audio: a browser that is given its address plays it in a page of its own, which this holds for.
const OF_AUDIO: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; media-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// A year, as browsers want it before they take it seriously.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

pub(super) async fn secure(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let secure = answer.extensions().get::<Secure>().copied();
    let headers = answer.headers_mut();
    let kind = headers.get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"audio/")) {
        headers.insert(header::CONTENT_SECURITY_POLICY, OF_AUDIO);
    }
    for (name, value) in ALWAYS {
        let entry = headers.entry(name);
        entry.or_insert(HeaderValue::from_static(value));
    }
    if secure == Some(Secure(true)) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
    answer
}
