use proptest::prelude::*;

use super::super::{Fault, Message, decode_head};
use super::is_date;

/// A message without faults, with `with` in the place of `what`.
fn changed(what: &str, with: &str) -> Vec<Fault> {
    let message = "INVITE sip:1002@pbx.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK7;rport\r\n\
                   Max-Forwards: 70\r\nFrom: \"Bell, A.\" <sip:1001@pbx.example>;tag=1\r\nTo: Watson <sip:1002@pbx.example>\r\n\
                   Call-ID: a@b\r\nCSeq: 1 INVITE\r\nContact: <sip:1001@10.0.0.1;ob>;expires=60\r\nRequire: 100rel\r\n\
                   Accept: text/plain, application/sdp\r\nExpires: 120\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n\
                   Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";
    assert!(message.contains(what), "{what}");
    let message = message.replacen(what, with, 1);
    let message = Message::parse(message.as_bytes()).unwrap();
    message.faults().iter().collect()
}

#[test]
fn what_phones_send_rightly_has_no_faults() {
    for (what, with) in [
        ("", ""),
        (
            "INVITE sip:1002@pbx.example",
            "INVITE SIPS:1002@pbx.example",
        ),
        ("INVITE sip:1002@pbx.example", "INVITE tel:+1201555"),
        ("INVITE sip:1002@pbx.example", "INVITE urn:service:sos"),
        ("INVITE sip:1002@pbx.example", "INVITE 1002@10.0.0.1:5060"),
        (
            "Watson <sip:1002@pbx.example>",
            "sip:1002@pbx.example;tag=2;x=\"a;;b\"",
        ),
        (
            "Watson <sip:1002@pbx.example>",
            "<sip:1002@pbx.example?Subject=x,y;;z>",
        ),
        (
            "Watson <sip:1002@pbx.example>",
            "\"a <b> \\\"c\\\"\"\r\n <sip:1002@h>",
        ),
        ("<sip:1001@10.0.0.1;ob>;expires=60", "*"),
        (
            "<sip:1001@10.0.0.1;ob>;expires=60",
            "<sip:a@h>;q=0.5, \"B, C\" <sip:b@h>",
        ),
        (
            "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK7;rport",
            "v: SIP/2.0/UDP 10.0.0.1",
        ),
        ("Accept: text/plain, application/sdp\r\n", ""),
        ("text/plain, application/sdp", "*/*;q=0.1"),
        (
            "Content-Type: application/sdp",
            "c: multipart/mixed;boundary=x",
        ),
        ("Max-Forwards: 70", "Max-Forwards: 0070"),
        ("Require: 100rel", "Require: Timer, replaces"),
        (
            "Call-ID: a@b",
            "Call-ID: a@b\r\nContact: <sip:x@y>\r\nVia: SIP/2.0/UDP h",
        ),
    ] {
        assert_eq!(changed(what, with), [], "{with}");
    }
}

fn assert_faults(cases: &[(&str, &str, &[Fault])]) {
    for (what, with, faults) in cases {
        assert_eq!(changed(what, with), *faults, "{with}");
    }
}

#[test]
fn what_is_wrong_with_start_lines_and_addresses_is_told_as_what_it_is() {
    use Fault::*;
    assert_faults(&[
        (
            "sip:1002@pbx.example SIP/2.0",
            "sip:1002@pbx.example\tSIP/2.0\t",
            &[WhitespaceInStartLine, WhitespaceAfterStartLine],
        ),
        (
            "INVITE sip:1002@pbx.example",
            "INVITE\tsip:1002@pbx.example",
            &[WhitespaceInStartLine],
        ),
        (
            "INVITE sip:1002@pbx.example",
            "INVITE http://pbx.example",
            &[RequestUriSchemeUnknown],
        ),
        (
            "10.0.0.1:5060;branch=z9hG4bK7;rport",
            "10.0.0.1;branch=Z9HG4BK",
            &[BranchEmpty],
        ),
        (
            "10.0.0.1:5060;branch=z9hG4bK7;rport",
            "10.0.0.1;branch=z9hG4bK7;",
            &[ExtraneousSeparators],
        ),
        (
            "UDP 10.0.0.1:5060",
            "UDP 255.255.255.255:5060",
            &[BroadcastVia],
        ),
        (
            "Watson <sip:1002@pbx.example>",
            "Jörg <sip:1002@pbx.example>",
            &[DisplayNameUnquoted],
        ),
        (
            "Watson <sip:1002@pbx.example>",
            "\"A\" B <sip:1002@pbx.example>",
            &[DisplayNameUnquoted],
        ),
        (
            "Watson <sip:1002@pbx.example>",
            "A@B <sip:1002@pbx.example>",
            &[DisplayNameUnquoted],
        ),
        (
            "Watson <sip:1002@pbx.example>",
            "<sip:1002@pbx.example",
            &[UriNotEnclosed],
        ),
        (
            "Watson <sip:1002@pbx.example>",
            "sip:1002@pbx.example?Subject=x",
            &[UriNotEnclosed],
        ),
        (
            "Watson <sip:1002@pbx.example>",
            "Watson sip:1002@pbx.example",
            &[WhitespaceInAddress],
        ),
        (
            "Watson <sip:1002@pbx.example>",
            "<gopher:1002@pbx.example>",
            &[AddressSchemeUnknown],
        ),
    ]);
}

#[test]
fn what_is_wrong_with_other_headers_is_told_as_what_it_is() {
    use Fault::*;
    assert_faults(&[
        (";expires=60", ";expires=soon", &[ExpiresOutOfRange]),
        ("Max-Forwards: 70", "Max-Forwards: 000", &[MaxForwardsZero]),
        (
            "Max-Forwards: 70",
            "Max-Forwards:",
            &[MaxForwardsOutOfRange],
        ),
        (
            "CSeq: 1 INVITE",
            "CSeq: 2147483648 INVITE",
            &[CseqOutOfRange],
        ),
        ("CSeq: 1 INVITE", "CSeq: INVITE", &[CseqOutOfRange]),
        ("CSeq: 1 INVITE", "CSeq: 1", &[MethodMismatch]),
        ("CSeq: 1 INVITE\r\n", "", &[MissingCseq]),
        ("Call-ID: a@b", "Call-ID:", &[MissingCallId]),
        ("Call-ID: a@b", "Call-ID: a@b\r\ni: a@b", &[RepeatedHeader]),
        (
            "Content-Length: 5",
            "Content-Length: 5\r\nl: 5",
            &[RepeatedHeader],
        ),
        (
            "Content-Length: 5",
            "Content-Length: 5 bytes",
            &[ContentLengthInvalid],
        ),
        ("text/plain, application/sdp", "", &[DescriptionNotAccepted]),
        (
            "Content-Type: application/sdp",
            "Content-Type: application/x",
            &[BodyTypeUnknown],
        ),
        (
            "Require: 100rel",
            "Proxy-Require: 100rel, com.example.x",
            &[ExtensionUnknown],
        ),
        ("GMT", "UTC", &[DateInvalid]),
        (";tag=1", ";branch=1", &[]),
    ]);
}

#[test]
fn a_head_that_was_cut_lacks_nothing() {
    let cut = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:c@";
    let message = Message::parse(cut.as_bytes()).unwrap();
    assert_eq!(
        message.faults().iter().collect::<Vec<_>>(),
        [Fault::UriNotEnclosed]
    );
}

#[test]
fn dates_are_those_of_the_grammar() {
    assert!(is_date("Sat, 13 Nov 2010 23:29:00 GMT"));
    for other in [
        "",
        "Sat, 13 Nov 2010 23:29:00 EST",
        "Sat, 1 Nov 2010 23:29:00 GMT",
        "Xxx, 13 Nov 2010 23:29:00 GMT",
        "Sät, 13 Nov 2010 23:29:0 GMT",
    ] {
        assert!(!is_date(other), "{other}");
    }
}

proptest! {
    #[test]
    fn any_message_has_known_faults(
        start in "(INVITE|SIP/2.0|OPTIONS|[!-~]{1,9})[ \t]{1,3}(<|sip:|tel:|x:|\\?|[ -~é]){0,9}[ \t]{1,2}(SIP/2.0|200 OK|SIP/9)[ \t]{0,2}",
        lines in proptest::collection::vec("(From|t|Via|CSeq|c|l|Contact|Date|Expires|Accept|Require|Warning|Retry-After|Max-Forwards|Authorization)[ :]{0,2}(<|>|\"|\\\\|;|,|@|:|\\?|=|%4|sip:|255\\.255\\.255\\.255|branch=z9hG4bK|expires|[ -~é]|\r\n ){0,20}\r?\n", 0..20),
        body in "[ -~]{0,20}",
    ) {
        let text = format!("{start}\r\n{}\r\n{body}", lines.concat());
        let bytes = decode_head(text.as_bytes());
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert!(message.faults().iter().all(|fault| !fault.name().is_empty()));
        }
    }
}
