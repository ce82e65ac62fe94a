//! The session's cookie, and who may have sent it.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::access::SessionToken;
use crate::api::problem::{Problem, Result};

/// `__Host-`: a browser takes it only from this host, over TLS, for every path, and no other host can put one in its place.
const NAME: &str = "__Host-callreel";

/// Where a page of ours sends [`SessionToken::csrf`].
const CSRF_HEADER: &str = "x-csrf-token";

/// The cookie of a session: over TLS only, not for scripts, never sent along from another site. It ends with the browser.
pub fn setting(token: &SessionToken) -> HeaderValue {
    let text = format!(
        "{NAME}={}; Path=/; Secure; HttpOnly; SameSite=Strict",
        *token.reveal()
    );
    let mut value = HeaderValue::try_from(text).expect("a token is base64url");
    value.set_sensitive(true);
    value
}

/// What makes a browser forget the cookie.
pub fn clearing() -> HeaderValue {
    HeaderValue::from_static(
        "__Host-callreel=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0",
    )
}

/// The token of the request's cookie, if it has one that can be one.
pub fn sent(headers: &HeaderMap) -> Option<SessionToken> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let mut named = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == NAME);
    named
        .next()
        .and_then(|(_, value)| SessionToken::parse(value))
}

/// Whether a method changes nothing (RFC 9110 section 9.2.1).
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// That no other site's page has sent this: browsers say where a request comes from. Programs that say nothing are none.
///
/// # Errors
///
/// A problem of status 403.
pub fn of_this_origin(headers: &HeaderMap, base_url: Option<&str>) -> Result<()> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let good = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, None) => true,
        (None, Some(origin)) => match base_url {
            Some(base_url) => origin == base_url,
            None => origin.split_once("://").map(|(_, host)| host) == text("host"),
        },
    };
    match good {
        true => Ok(()),
        false => Err(refused("the request comes from another site's page")),
    }
}

/// That a page of ours has sent this: it knows what the session's cookie does not tell any other page.
///
/// # Errors
///
/// A problem of status 403.
pub fn has_csrf(headers: &HeaderMap, token: &SessionToken) -> Result<()> {
    let sent = headers
        .get(CSRF_HEADER)
        .and_then(|value| value.to_str().ok());
    match sent.is_some_and(|sent| token.is_csrf(sent)) {
        true => Ok(()),
        false => Err(refused("send the session's `csrf_token` as X-CSRF-Token")),
    }
}

fn refused(why: &str) -> Problem {
    let title = "This may be another site's doing";
    Problem::new(StatusCode::FORBIDDEN, "csrf", title).detail(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    (*name).parse::<header::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn a_cookie_reads_back_among_others() {
        let token = SessionToken::drawn();
        let cookie = setting(&token);
        let text = cookie.to_str().unwrap();
        assert!(
            text.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"),
            "{text}"
        );
        let pair = text.split(';').next().unwrap();
        let found = sent(&headers(&[("cookie", &format!("a=b; {pair};c"))])).unwrap();
        assert_eq!(found.hash(), token.hash());
        for wrong in ["", "callreel=x", "__Host-callreel=short", "__Host-callreel"] {
            assert!(sent(&headers(&[("cookie", wrong)])).is_none(), "{wrong}");
        }
    }

    #[test]
    fn only_pages_of_this_origin_may_change_things() {
        let good =
            |lines: &[(&'static str, &str)], base| of_this_origin(&headers(lines), base).is_ok();
        let base = Some("https://rec.example");
        assert!(good(&[], base));
        assert!(good(&[("sec-fetch-site", "same-origin")], base));
        assert!(!good(&[("sec-fetch-site", "cross-site")], base));
        assert!(!good(
            &[
                ("sec-fetch-site", "same-site"),
                ("origin", "https://rec.example")
            ],
            base
        ));
        assert!(good(
            &[("origin", "https://rec.example"), ("host", "inside:8080")],
            base
        ));
        assert!(!good(
            &[("origin", "https://evil.example"), ("host", "evil.example")],
            base
        ));
        assert!(!good(&[("origin", "null"), ("host", "rec.example")], base));
        assert!(good(
            &[
                ("origin", "http://127.0.0.1:8080"),
                ("host", "127.0.0.1:8080")
            ],
            None
        ));
        assert!(!good(
            &[
                ("origin", "http://evil.example"),
                ("host", "127.0.0.1:8080")
            ],
            None
        ));
        assert!(!good(
            &[("origin", "null"), ("host", "127.0.0.1:8080")],
            None
        ));
    }
}
