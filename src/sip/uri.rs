//! URIs in SIP headers: `sip:`, `sips:`, `tel:`, `urn:`, and whatever else a sender puts there.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use memchr::{memchr, memchr2, memrchr};

use super::scan::{self, cut, cut_around, cut_at_byte, trim};

/// A URI, cut into its parts (RFC 3261 section 19.1, RFC 3966). What is missing is empty; escapes are left as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Uri<'a> {
    /// The whole URI as it stands in the message, without `<>`.
    pub text: &'a str,
    /// As sent, in any case; empty when the sender left it out, as in `To: 1001@10.0.0.1`.
    pub scheme: &'a str,
    /// The user without password and without parameters of its own. For `tel:` the number, for other schemes without
    /// a host (`urn:service:sos`) all that follows the scheme.
    pub user: &'a str,
    /// `postd=…` in `sip:1001;postd=…@host`, without the leading `;`.
    pub user_params: &'a str,
    /// Name or address, IPv6 without its brackets; empty for `tel:` and `urn:`.
    pub host: &'a str,
    pub port: Option<u16>,
    /// `user=phone;transport=tcp`, without the leading `;`.
    pub params: &'a str,
    /// `Replaces=…&Subject=…`, without the `?`, escapes left in.
    pub headers: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a URI with or without `<>` around it. `None` when there is nothing to read.
    pub fn parse(text: &'a str) -> Option<Uri<'a>> {
        let text = trim(text);
        let text = text.strip_prefix('<').unwrap_or(text);
        let text = trim(text.strip_suffix('>').unwrap_or(text));
        if text.is_empty() {
            return None;
        }
        let (scheme, rest) = cut_scheme(text);
        let base = Uri {
            text,
            scheme,
            ..Uri::default()
        };
        let is_sip = scheme.is_empty() || base.is_sip();
        if is_sip || (!base.is_tel() && memchr(b'@', rest.as_bytes()).is_some()) {
            Some(base.with_sip_parts(rest.strip_prefix("//").unwrap_or(rest)))
        } else {
            Some(base.with_opaque_parts(rest))
        }
    }

    pub fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sip") || self.scheme.eq_ignore_ascii_case("sips")
    }

    pub fn is_tel(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("tel")
    }

    /// The user with `%XX` escapes undone (RFC 3261 section 19.1.2).
    pub fn user_decoded(&self) -> Cow<'a, str> {
        scan::percent_decoded(self.user)
    }

    /// The host, when it is an address.
    pub fn host_ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// A parameter of the URI (`user`, `transport`, `phone-context`, …), empty for a flag.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        scan::param(self.params, name)
    }

    /// A header carried in the URI after `?`, with its escapes undone: `Replaces` in a `Refer-To` (RFC 3891 section 4),
    /// `Reason` in a `History-Info` (RFC 7044 section 5).
    pub fn embedded_header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.headers.split('&').find_map(|header| {
            let (found, value) = cut_at_byte(header, b'=');
            scan::percent_decoded(found)
                .eq_ignore_ascii_case(name)
                .then(|| scan::percent_decoded(value))
        })
    }

    /// `user:password@host:port;params?headers`. A user may itself hold `;` and `?`, so the first `@` is looked for
    /// before either; of several, the last before the parameters counts (`sip:alice@corp.example@gateway`).
    fn with_sip_parts(mut self, rest: &'a str) -> Uri<'a> {
        let bytes = rest.as_bytes();
        let first_at = memchr(b'@', bytes).unwrap_or(0);
        let authority_end = bytes
            .get(first_at..)
            .and_then(|tail| memchr2(b';', b'?', tail))
            .map_or(rest.len(), |end| first_at + end);
        let (authority, tail) = cut(rest, authority_end);
        let host_port = match memrchr(b'@', authority.as_bytes()) {
            Some(at) => {
                let (user, host_port) = cut_around(authority, at);
                (self.user, self.user_params) = cut_user(user);
                host_port
            }
            None => authority,
        };
        (self.host, self.port) = cut_port(trim(host_port));
        let (params, headers) = cut_at_byte(tail, b'?');
        self.params = params.strip_prefix(';').unwrap_or(params);
        self.headers = headers;
        self
    }

    fn with_opaque_parts(mut self, rest: &'a str) -> Uri<'a> {
        let (path, headers) = cut_at_byte(rest, b'?');
        let (user, params) = cut_at_byte(path, b';');
        self.user = trim(user);
        self.params = params;
        self.headers = headers;
        self
    }
}

/// The scheme before the first colon, if that is one (RFC 3986 section 3.1) and not a host before its port.
fn cut_scheme(text: &str) -> (&str, &str) {
    let Some(colon) = memchr(b':', text.as_bytes()) else {
        return ("", text);
    };
    let (scheme, rest) = cut_around(text, colon);
    let scheme = trim(scheme);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let is_port = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    if is_scheme && (!is_port || is_numeric_scheme(scheme)) {
        (scheme, trim(rest))
    } else {
        ("", text)
    }
}

/// `tel:911` and `sip:5551234` are schemes before digits, `pbx:5060` is a host before a port.
fn is_numeric_scheme(scheme: &str) -> bool {
    ["sip", "sips", "tel", "isbn"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme))
}

/// `user;params:password` to user and params; the password is left out.
fn cut_user(user: &str) -> (&str, &str) {
    let user = cut_at_byte(user, b':').0;
    let (user, params) = cut_at_byte(user, b';');
    (trim(user), params)
}

/// `[::1]:5060`, `::1`, `host:5060`, `host`. A port that is no number from 0 to 65535 is none.
fn cut_port(host_port: &str) -> (&str, Option<u16>) {
    if let Some(inside) = host_port.strip_prefix('[') {
        let (host, rest) = cut_at_byte(inside, b']');
        let port = trim(rest).strip_prefix(':').map(trim);
        return (host, port.and_then(|port| port.parse().ok()));
    }
    let (host, port) = cut_at_byte(host_port, b':');
    if memchr(b':', port.as_bytes()).is_some() && host_port.parse::<Ipv6Addr>().is_ok() {
        return (host_port, None);
    }
    (trim(host), trim(port).parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text).unwrap()
    }

    fn parts(text: &str) -> (&str, &str, &str, Option<u16>) {
        let uri = uri(text);
        (uri.scheme, uri.user, uri.host, uri.port)
    }

    #[test]
    fn the_usual_forms_are_cut_into_parts() {
        assert_eq!(
            parts("sip:1001@10.0.0.1:5080;transport=tcp?Subject=x"),
            ("sip", "1001", "10.0.0.1", Some(5080))
        );
        assert_eq!(parts("SIPS:a@b"), ("SIPS", "a", "b", None));
        assert_eq!(parts("<sip:a@b>"), ("sip", "a", "b", None));
        assert_eq!(parts("sip://a@b"), ("sip", "a", "b", None));
        let uri = uri("sip:1@h;user=phone;lr?Subject=x&Replaces=a%40b%3Bto-tag%3D1");
        assert_eq!(uri.param("USER"), Some("phone"));
        assert_eq!(uri.param("lr"), Some(""));
        assert_eq!(
            uri.embedded_header("replaces").as_deref(),
            Some("a@b;to-tag=1")
        );
        assert_eq!(uri.embedded_header("Reason"), None);
    }

    #[test]
    fn a_uri_without_user_has_an_empty_one() {
        assert_eq!(
            parts("sip:pbx.example:5060"),
            ("sip", "", "pbx.example", Some(5060))
        );
        assert_eq!(parts("sip:10.0.0.1;lr"), ("sip", "", "10.0.0.1", None));
        assert_eq!(parts("sip:@10.0.0.1"), ("sip", "", "10.0.0.1", None));
    }

    #[test]
    fn ipv6_hosts_lose_their_brackets() {
        assert_eq!(
            parts("sip:1001@[2001:db8::1]:5061"),
            ("sip", "1001", "2001:db8::1", Some(5061))
        );
        assert_eq!(parts("sip:1001@[::1]"), ("sip", "1001", "::1", None));
        assert_eq!(parts("sip:[::1]:5060"), ("sip", "", "::1", Some(5060)));
        assert_eq!(
            parts("sip:1001@fd01::183"),
            ("sip", "1001", "fd01::183", None)
        );
        assert_eq!(
            uri("sip:[fd01::183];lr").host_ip(),
            "fd01::183".parse().ok()
        );
        assert_eq!(parts("sip:a@[::1").2, "::1");
    }

    #[test]
    fn users_keep_neither_password_nor_parameters() {
        assert_eq!(parts("sip:alice:secret@h"), ("sip", "alice", "h", None));
        let uri = uri("sip:+1;postd=pp22:pw@h;user=phone");
        assert_eq!((uri.user, uri.user_params), ("+1", "postd=pp22"));
        assert_eq!(uri.params, "user=phone");
    }

    #[test]
    fn users_with_question_marks_and_at_signs_are_kept_whole() {
        assert_eq!(parts("sip:crazy?,/@h").1, "crazy?,/");
        assert_eq!(
            parts("sip:alice@corp.example@gateway:5060;x=y"),
            ("sip", "alice@corp.example", "gateway", Some(5060))
        );
        let uri = uri("sip:1@h?Replaces=abc@10.0.0.1");
        assert_eq!((uri.user, uri.host), ("1", "h"));
        assert_eq!(uri.headers, "Replaces=abc@10.0.0.1");
    }

    #[test]
    fn telephone_numbers_are_users_without_host() {
        let uri = uri("tel:7042;phone-context=example.com");
        assert_eq!((uri.scheme, uri.user, uri.host), ("tel", "7042", ""));
        assert_eq!(uri.param("phone-context"), Some("example.com"));
        assert_eq!(parts("tel:+1-201-555-0123").1, "+1-201-555-0123");
        assert_eq!(parts("TEL:911"), ("TEL", "911", "", None));
    }

    #[test]
    fn other_schemes_are_opaque() {
        assert_eq!(parts("urn:service:sos"), ("urn", "service:sos", "", None));
        assert_eq!(parts("isbn:2983792873"), ("isbn", "2983792873", "", None));
        assert_eq!(
            parts("im:alice@example.com"),
            ("im", "alice", "example.com", None)
        );
    }

    #[test]
    fn a_missing_scheme_is_taken_for_sip() {
        assert_eq!(
            parts("1001@10.0.0.1:5060"),
            ("", "1001", "10.0.0.1", Some(5060))
        );
        assert_eq!(parts("pbx:5060"), ("", "", "pbx", Some(5060)));
        assert_eq!(Uri::parse(" <> "), None);
    }

    #[test]
    fn escapes_are_undone_on_demand() {
        assert_eq!(uri("sip:%75se%72@h").user_decoded(), "user");
        assert_eq!(uri("sip:null-%00-null@h").user_decoded(), "null-\0-null");
        assert_eq!(uri("sip:a@h:99999").port, None);
    }
}
