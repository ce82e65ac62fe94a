//! `/reset-password`: where the link of a letter leads, for who has forgotten a password.
//!
//! Out: a page, a script and a sheet of this program's own, which load nothing from anywhere else. The token of the letter is behind a
//! `#`: the script reads it there and sends it to `/api/v1/password-resets`, so that no log and no Referer has it.

use axum::Router;

use super::reference::served;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const SHEET: &str = include_str!("page.css");

/// The page's path.
pub const PATH: &str = "/reset-password";

/// For whoever asks: it says nothing about this installation.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(PATH, served("text/html; charset=utf-8", PAGE.into()))
        .route(
            "/reset-password/page.js",
            served("text/javascript; charset=utf-8", SCRIPT.into()),
        )
        .route(
            "/reset-password/page.css",
            served("text/css; charset=utf-8", SHEET.into()),
        )
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::PATH;
    use crate::api::testing::World;

    #[tokio::test]
    async fn the_page_is_for_everybody_and_loads_nothing_foreign() {
        let world = World::new().await;
        for (path, kind) in [
            ("", "text/html"),
            // As mail programs and their scanners decorate links.
            ("?utm_source=mail", "text/html"),
            ("/page.js", "text/javascript"),
            ("/page.css", "text/css"),
        ] {
            let path = format!("{PATH}{path}");
            let answer = world.nobody().ask(Method::GET, &path, &[], None).await;
            let answer = answer.expect(200);
            let header = |name: &str| answer.headers[name].to_str().unwrap();
            assert!(header("content-type").starts_with(kind));
            assert!(header("content-security-policy").starts_with("default-src 'none';"));
            let text = String::from_utf8(answer.body.clone()).unwrap();
            let foreign = [
                "http:",
                "https:",
                "//cdn",
                "<style",
                "style=",
                "eval(",
                "innerHTML",
            ];
            let inline = [
                " onclick",
                " onload",
                " onsubmit",
                "javascript:",
                "<script>",
            ];
            let found = foreign
                .iter()
                .chain(&inline)
                .find(|one| text.contains(*one));
            assert_eq!(found, None, "{path}");
        }
    }

    #[tokio::test]
    async fn what_the_page_wears_and_runs_is_served() {
        let world = World::new().await;
        for part in ["reset-password/page.css", "reset-password/page.js"] {
            assert!(super::PAGE.contains(&format!("\"{part}\"")), "{part}");
            let path = format!("/{part}");
            let served = world.nobody().ask(Method::GET, &path, &[], None).await;
            served.expect(200);
        }
        // Relative to the page, as the script asks for it.
        assert!(super::SCRIPT.contains("\"api/v1/password-resets\""));
    }
}
