//! Where a request comes from: the other end of its connection, or what a proxy that is trusted says of it.
//!
//! `Forwarded` (RFC 7239) and `X-Forwarded-For` with `X-Forwarded-Proto` are believed from trusted proxies only. A proxy adds
//! to one of the two and hands the other through as the client wrote it; so where both are there and disagree, somebody lies,
//! and the request is refused.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Front;
use super::server::OverTls;
use crate::api::caller::ClientAddress;
use crate::api::problem::Problem;
use crate::base::Network;

/// Whether the request came over TLS all the way, by what is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secure(pub bool);

/// Hops of a request that are looked at.
const MAX_HOPS: usize = 32;

pub(super) async fn find_client(
    State(front): State<Arc<Front>>,
    mut request: Request,
    next: Next,
) -> Response {
    let over_tls = request.extensions().get::<OverTls>().is_some();
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
        // Not from a connection: a test.
        return next.run(request).await;
    };
    let trusted = &front.settings.trusted_proxies;
    let peer = peer.ip().to_canonical();
    let Ok(client) = client(peer, over_tls, request.headers(), trusted) else {
        let problem = Problem::malformed("Forwarded and X-Forwarded-For do not say the same");
        return problem.into_response();
    };
    let secure = Secure(client.secure);
    let extensions = request.extensions_mut();
    extensions.insert(ClientAddress(client.address));
    extensions.insert(secure);
    let mut answer = next.run(request).await;
    answer.extensions_mut().insert(secure);
    answer
}

/// By which proxies and caches say that they hand a request on, each in its way.
const HANDED_ON: [&str; 10] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
];

/// Whether somebody says that the request was handed on.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    HANDED_ON.iter().any(|name| headers.contains_key(*name))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    address: IpAddr,
    secure: bool,
}

/// The two kinds of headers name two clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Conflict;

/// One hop as a proxy tells it: who sent to it, and whether by TLS. No address where it is hidden or malformed.
type Hop = (Option<IpAddr>, Option<bool>);

fn client(
    peer: IpAddr,
    over_tls: bool,
    headers: &HeaderMap,
    trusted: &[Network],
) -> Result<Client, Conflict> {
    let itself = Client {
        address: peer,
        secure: over_tls,
    };
    if !is_in(peer, trusted) {
        return Ok(itself);
    }
    let (standard, common) = (forwarded(headers), x_forwarded(headers));
    match (standard, common) {
        (None, None) => Ok(itself),
        (Some(hops), None) | (None, Some(hops)) => Ok(outermost(itself, hops, trusted)),
        (Some(one), Some(other)) => {
            let one = outermost(itself, one, trusted);
            let other = outermost(itself, other, trusted);
            let same = one.address == other.address;
            let secure = one.secure && other.secure;
            let both = Client { secure, ..one };
            same.then_some(both).ok_or(Conflict)
        }
    }
}

/// Walks from the nearest hop outwards, as long as who tells is trusted. What cannot be read ends the walk.
fn outermost(itself: Client, hops: Vec<Hop>, trusted: &[Network]) -> Client {
    let mut client = itself;
    for (address, secure) in hops.into_iter().rev().take(MAX_HOPS) {
        if !is_in(client.address, trusted) {
            break;
        }
        client.secure = secure.unwrap_or(client.secure);
        let Some(address) = address else { break };
        client.address = address;
    }
    client
}

fn is_in(address: IpAddr, networks: &[Network]) -> bool {
    networks.iter().any(|network| network.holds(address))
}

/// The hops of `Forwarded`; `None` where there is no such header.
fn forwarded(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let elements = list(headers, "forwarded")?;
    Some(elements.iter().map(|element| hop(element)).collect())
}

fn hop(element: &str) -> Hop {
    let mut hop: Hop = (None, None);
    for pair in split_unquoted(element, ';') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        match name.trim() {
            name if name.eq_ignore_ascii_case("for") => hop.0 = node(value),
            name if name.eq_ignore_ascii_case("proto") => hop.1 = Some(is_https(value)),
            _ => {}
        }
    }
    hop
}

/// The hops of `X-Forwarded-For`. The nearest proxy's `X-Forwarded-Proto` is said of the nearest hop.
fn x_forwarded(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let protos = list(headers, "x-forwarded-proto");
    let secure = protos.and_then(|protos| protos.last().map(|proto| is_https(proto)));
    let addresses = list(headers, "x-forwarded-for");
    if addresses.is_none() && secure.is_none() {
        return None;
    }
    let addresses = addresses.unwrap_or_default();
    let mut hops: Vec<Hop> = addresses.iter().map(|text| (node(text), None)).collect();
    match hops.last_mut() {
        Some(nearest) => nearest.1 = secure,
        None => hops.push((None, secure)),
    }
    Some(hops)
}

fn is_https(proto: &str) -> bool {
    proto.trim().eq_ignore_ascii_case("https")
}

/// The elements of a header that is a list, over all its lines.
fn list(headers: &HeaderMap, name: &str) -> Option<Vec<String>> {
    let lines = headers.get_all(name).iter();
    let mut elements = None;
    for line in lines {
        let elements = elements.get_or_insert_with(Vec::new);
        // A line that is no text is a hop that cannot be read.
        let text = line.to_str().unwrap_or("?");
        // Not by quotation marks: one that a client opens would swallow what a proxy appends. No proxy's own element has a comma in it.
        elements.extend(text.split(',').map(|one| one.trim().to_owned()));
    }
    elements
}

/// Splits at `separator`, but not within quotation marks.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// `192.0.2.1`, `192.0.2.1:4711`, `[2001:db8::1]:4711`, `2001:db8::1`. `None` for `unknown` and hidden names.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|(address, _)| address);
    let address = match bracketed {
        Some(address) => address.parse().ok(),
        None => text.parse().ok().or_else(|| {
            let with_port: SocketAddr = text.parse().ok()?;
            Some(with_port.ip())
        }),
    };
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// What a request through the proxy 10.0.0.1 says, with 10.0.0.0/8 trusted.
    fn through_proxy(pairs: &[(&'static str, &str)]) -> Option<(String, bool)> {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let peer = "10.0.0.1".parse().unwrap();
        let client = client(peer, false, &headers(pairs), &trusted).ok()?;
        Some((client.address.to_string(), client.secure))
    }

    fn some(address: &str, secure: bool) -> Option<(String, bool)> {
        Some((address.to_owned(), secure))
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let said = headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
        ]);
        let peer = "192.0.2.9".parse().unwrap();
        let found = client(peer, false, &said, &["10.0.0.0/8".parse().unwrap()]).unwrap();
        assert_eq!((found.address, found.secure), (peer, false));
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        assert_eq!(
            through_proxy(&[
                ("x-forwarded-for", "203.0.113.7"),
                ("x-forwarded-proto", "https")
            ]),
            some("203.0.113.7", true)
        );
        // The examples of RFC 7239, section 4.
        assert_eq!(
            through_proxy(&[("forwarded", "For=\"[2001:db8:cafe::17]:4711\"")]),
            some("2001:db8:cafe::17", false)
        );
        assert_eq!(
            through_proxy(&[("forwarded", "for=192.0.2.60;proto=https;by=203.0.113.43")]),
            some("192.0.2.60", true)
        );
        assert_eq!(through_proxy(&[]), some("10.0.0.1", false));
    }

    #[test]
    fn what_the_client_wrote_before_the_proxies_is_not_believed() {
        // The client made up the first; the outer proxy (10.0.0.2) saw 203.0.113.7.
        assert_eq!(
            through_proxy(&[("x-forwarded-for", "127.0.0.1, 203.0.113.7, 10.0.0.2")]),
            some("203.0.113.7", false)
        );
        let two_lines = [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "203.0.113.7"),
        ];
        assert_eq!(through_proxy(&two_lines), some("203.0.113.7", false));
        assert_eq!(
            through_proxy(&[(
                "forwarded",
                "for=127.0.0.1;proto=https, for=203.0.113.7;proto=http"
            )]),
            some("203.0.113.7", false)
        );
    }

    #[test]
    fn a_quotation_mark_swallows_nothing_that_a_proxy_appends() {
        for (name, said) in [
            ("x-forwarded-for", "198.51.100.7\", 203.0.113.7"),
            ("x-forwarded-for", "\", 203.0.113.7"),
            ("forwarded", "for=198.51.100.7;by=\"x, for=203.0.113.7"),
            (
                "forwarded",
                "for=198.51.100.7;by=\"x, for=\"203.0.113.7:99\"",
            ),
            ("forwarded", "for=198.51.100.7;by=\"x\\\", for=203.0.113.7"),
        ] {
            let found = through_proxy(&[(name, said)]);
            assert_eq!(found, some("203.0.113.7", false), "{said}");
        }
    }

    #[test]
    fn headers_that_disagree_are_refused() {
        let both = |standard, common| {
            through_proxy(&[("forwarded", standard), ("x-forwarded-for", common)])
        };
        assert_eq!(both("for=127.0.0.1", "203.0.113.7"), None);
        assert_eq!(both("for=203.0.113.7", "127.0.0.1"), None);
        assert_eq!(
            both("for=203.0.113.7", "203.0.113.7"),
            some("203.0.113.7", false)
        );
    }

    #[test]
    fn what_cannot_be_read_is_the_proxys_own() {
        for text in ["unknown", "_hidden", "", "1.2.3", "[::1", "\"", "999.1.1.1"] {
            assert_eq!(
                through_proxy(&[("x-forwarded-for", text)]),
                some("10.0.0.1", false),
                "{text}"
            );
        }
        assert_eq!(
            through_proxy(&[("forwarded", "for=_gazonk")]),
            some("10.0.0.1", false)
        );
        assert_eq!(
            through_proxy(&[("forwarded", "for=\"1.2.3.4,5.6.7.8\"")]),
            some("10.0.0.1", false)
        );
    }

    proptest! {
        #[test]
        fn no_header_panics_or_names_whom_no_proxy_saw(text in "[ -~]{0,60}") {
            let said = [("x-forwarded-for", &*format!("{text}, 203.0.113.7"))];
            prop_assert_eq!(through_proxy(&said), some("203.0.113.7", false));
            let said = [("forwarded", &*format!("{text}, for=\"203.0.113.7:4711\";by=\"a;b\""))];
            prop_assert_eq!(through_proxy(&said), some("203.0.113.7", false));
        }
    }
}
