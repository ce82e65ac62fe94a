//! The OpenAPI document, and a page to read it with.
//!
//! In: the document. Out: `/api/v1/openapi.json`, and `/api/v1/docs`: a page, a script and a sheet of this program's own, which
//! load nothing from anywhere else.

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const SHEET: &str = include_str!("page.css");

/// What a page may do: run its script, wear its sheet, and ask the API.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; \
     base-uri 'none'; form-action 'none'";

/// For whoever asks: it says nothing about this installation.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(
    document: &utoipa::openapi::OpenApi,
) -> Router<S> {
    // The document is made of the code: it can be written.
    let json = Bytes::from(document.to_json().unwrap_or_default());
    Router::new()
        .route("/api/v1/openapi.json", served("application/json", json))
        .route(
            "/api/v1/docs",
            served("text/html; charset=utf-8", PAGE.into()),
        )
        .route(
            "/api/v1/docs/page.js",
            served("text/javascript; charset=utf-8", SCRIPT.into()),
        )
        .route(
            "/api/v1/docs/page.css",
            served("text/css; charset=utf-8", SHEET.into()),
        )
}

/// A part of a page of this program's own.
pub(super) fn served<S: Clone + Send + Sync + 'static>(
    kind: &'static str,
    body: Bytes,
) -> MethodRouter<S> {
    get(move || async move { with_policy(kind, body) })
}

fn with_policy(kind: &'static str, body: Bytes) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, body)
}

#[cfg(test)]
mod tests {
    use crate::api::testing::World;

    #[tokio::test]
    async fn the_document_and_its_page_are_for_everybody_and_load_nothing_foreign() {
        let world = World::new().await;
        let nobody = world.nobody();
        let document = nobody.get("/openapi.json").await.expect(200).json();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        assert!(document["paths"]["/api/v1/groups"]["get"].is_object());
        for (path, kind) in [
            ("/docs", "text/html"),
            ("/docs/page.js", "text/javascript"),
            ("/docs/page.css", "text/css"),
        ] {
            let answer = nobody.get(path).await.expect(200);
            let header = |name: &str| answer.headers[name].to_str().unwrap();
            assert!(header("content-type").starts_with(kind));
            assert!(
                header("content-security-policy")
                    .starts_with("default-src 'none'; script-src 'self';")
            );
            let text = String::from_utf8(answer.body.clone()).unwrap();
            let foreign = [
                "http://",
                "https://",
                "//cdn",
                "onclick",
                "<style",
                "eval(",
                "innerHTML",
            ];
            assert!(foreign.iter().all(|one| !text.contains(one)), "{path}");
        }
    }
}
