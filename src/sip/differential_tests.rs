//! The tolerant reading against a strict one: on valid messages, both say the same.

use std::convert::TryFrom;

use proptest::prelude::*;
use rsip::message::HeadersExt;
use rsip::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Party {
    display: &'static str,
    user: String,
    host: String,
    port: Option<u16>,
    tag: Option<String>,
}

/// Within what the strict reader can read: it refuses a `<` in a quoted name and takes a user with a dot for a host.
fn party() -> impl Strategy<Value = Party> {
    (
        prop::sample::select(vec!["", "\"Alice A.\" ", "Alice "]),
        "[a-zA-Z0-9+*#_!~-]{1,12}",
        prop_oneof!["[a-z]{1,8}\\.example", "10\\.0\\.0\\.[1-9]"],
        proptest::option::of(1u16..),
        proptest::option::of("[a-zA-Z0-9.-]{1,12}"),
    )
        .prop_map(|(display, user, host, port, tag)| Party {
            display,
            user: user.replace('#', "%23"),
            host,
            port,
            tag,
        })
}

impl Party {
    fn text(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let tag = self.tag.as_ref().map(|tag| format!(";tag={tag}"));
        let (display, user, host) = (self.display, &self.user, &self.host);
        let tag = tag.unwrap_or_default();
        format!("{display}<sip:{user}@{host}{port};user=phone>{tag}")
    }
}

#[derive(Clone, Debug)]
struct Valid {
    method: Method,
    status: Option<u16>,
    from: Party,
    to: Party,
    call_id: String,
    cseq: u32,
    body: String,
}

fn valid() -> impl Strategy<Value = Valid> {
    (
        prop::sample::select(Method::KNOWN.to_vec()),
        proptest::option::of(prop::sample::select(vec![100u16, 180, 200, 302, 486, 603])),
        party(),
        party(),
        "[a-zA-Z0-9.-]{1,20}(@[a-z0-9.]{1,9})?",
        0u32..1 << 31,
        "[ -~]{0,40}",
    )
        .prop_map(|(method, status, from, to, call_id, cseq, body)| Valid {
            method,
            status,
            from,
            to,
            call_id,
            cseq,
            body,
        })
}

impl Valid {
    fn text(&self) -> String {
        let method = self.method.name();
        let start = match self.status {
            Some(status) => format!("SIP/2.0 {status} Reason"),
            None => format!("{method} sip:{}@{} SIP/2.0", self.to.user, self.to.host),
        };
        format!(
            "{start}\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {} {method}\r\nContent-Length: {}\r\n\r\n{}",
            self.from.text(),
            self.to.text(),
            self.call_id,
            self.cseq,
            self.body.len(),
            self.body
        )
    }
}

/// User, host, tag as the strict reader has them.
type Strict = (Option<String>, String, Option<String>);

fn strict(uri: &rsip::Uri, tag: Option<String>) -> Strict {
    let user = uri.auth.as_ref().map(|auth| auth.user.clone());
    (user, uri.host_with_port.host.to_string(), tag)
}

fn tolerant(party: NameAddr<'_>) -> Strict {
    let user = Some(party.uri.user.to_owned());
    (
        user,
        party.uri.host.to_owned(),
        party.tag().map(str::to_owned),
    )
}

proptest! {
    #[test]
    fn both_readers_agree_on_valid_messages(valid in valid()) {
        let text = valid.text();
        let theirs = rsip::SipMessage::try_from(text.as_bytes()).unwrap();
        let ours = Message::parse(text.as_bytes()).unwrap();

        match (&theirs, ours.start) {
            (rsip::SipMessage::Request(request), StartLine::Request { method, .. }) => {
                prop_assert_eq!(request.method.to_string(), method.name());
            }
            (rsip::SipMessage::Response(response), StartLine::Response { status, .. }) => {
                prop_assert_eq!(response.status_code.code(), status);
            }
            _ => prop_assert!(false, "a request to one is a response to the other"),
        }
        prop_assert_eq!(Some(theirs.call_id_header().unwrap().value()), ours.call_id());

        let from = theirs.from_header().unwrap().typed().unwrap();
        let from_tag = from.tag().map(ToString::to_string);
        prop_assert_eq!(strict(&from.uri, from_tag), tolerant(ours.from().unwrap()));
        let to = theirs.to_header().unwrap().typed().unwrap();
        let to_tag = to.tag().map(ToString::to_string);
        prop_assert_eq!(strict(&to.uri, to_tag), tolerant(ours.to().unwrap()));

        let cseq = theirs.cseq_header().unwrap().typed().unwrap();
        let ours_cseq = ours.cseq().unwrap();
        prop_assert_eq!(cseq.seq, ours_cseq.number);
        prop_assert_eq!(cseq.method.to_string(), ours_cseq.method.name());
        prop_assert_eq!(theirs.body(), ours.body);
    }
}
