//! Messages as phones send them, and as nobody should.

use proptest::prelude::*;

use super::*;
use crate::sip::Sdp;

const INVITE: &str = "INVITE sip:1002@10.0.0.2:5060;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK776asdhds;rport, SIP/2.0/TCP 10.9.9.9;branch=z9hG4bKnext\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice, \\\"A\\\" <x>\" <sip:1001@10.0.0.1>;tag=a73kszlfl\r\n\
    To: <sip:1002@10.0.0.2>\r\n\
    Call-ID: 1j9FpLxk3uxtm8tn@10.0.0.1\r\n\
    CSeq: 101 INVITE\r\n\
    Contact: <sip:1001@10.0.0.1:5060;transport=udp>\r\n\
    P-Asserted-Identity: \"Alice\" <sip:+442079460101@example.com>, <tel:+442079460101>\r\n\
    Diversion: <sip:1003@h>;reason=no-answer;counter=1\r\n\
    Diversion: <sip:1004@h>\r\n\
    History-Info: <sip:1005@h?Reason=SIP%3Bcause%3D302>;index=1, <sip:1002@h>;index=1.1\r\n\
    Replaces: 98732@h;to-tag=1;from-tag=2\r\n\
    Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\n\
    x: 1800;refresher=uac\r\n\
    Privacy: id\r\n\
    User-Agent: Phone, with comma\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 68\r\n\
    \r\n\
    v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\nc=IN IP4 10.0.0.1\r\nm=audio 1 RTP/AVP 0";

fn message(text: &str) -> Message<'_> {
    Message::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_usual_invite_is_read() {
    let invite = message(INVITE);
    let StartLine::Request { method, uri } = invite.start else {
        panic!("a request")
    };
    assert_eq!(
        (method, uri),
        (Method::Invite, "sip:1002@10.0.0.2:5060;user=phone")
    );
    assert_eq!(invite.request_uri().unwrap().user, "1002");
    assert_eq!(invite.call_id(), Some("1j9FpLxk3uxtm8tn@10.0.0.1"));
    let from = invite.from().unwrap();
    assert_eq!((from.uri.user, from.tag()), ("1001", Some("a73kszlfl")));
    assert_eq!(from.display_text(), "Alice, \"A\" <x>");
    assert_eq!(invite.to().unwrap().tag(), None);
    assert_eq!(
        invite.cseq(),
        Some(CSeq {
            number: 101,
            method: Method::Invite
        })
    );
    assert_eq!(invite.branch(), Some("z9hG4bK776asdhds"));
    assert_eq!(invite.contact().unwrap().uri.port, Some(5060));
    assert_eq!(invite.content_type(), Some("application/sdp"));
    assert!(Sdp::parse(invite.sdp().unwrap()).is_ok());
    assert_eq!(
        (
            invite.junk_lines(),
            invite.dropped_headers(),
            invite.missing_body_bytes()
        ),
        (0, 0, 0)
    );
    assert!(invite.head_complete());
    assert_eq!(invite.headers().count(), 18);
}

#[test]
fn identities_come_from_lists_and_repeated_headers() {
    let invite = message(INVITE);
    let users = |name| -> Vec<_> {
        invite
            .addresses(name)
            .map(|address| address.uri.user)
            .collect()
    };
    assert_eq!(
        users("p-asserted-identity"),
        ["+442079460101", "+442079460101"]
    );
    assert_eq!(users("Diversion"), ["1003", "1004"]);
    assert_eq!(users("History-Info"), ["1005", "1002"]);
    let history = invite.addresses("History-Info").next().unwrap();
    assert_eq!(
        history.uri.embedded_header("Reason").as_deref(),
        Some("SIP;cause=302")
    );
    assert_eq!(history.param("index"), Some("1"));
    assert_eq!(invite.header_values("User-Agent").count(), 1);
}

#[test]
fn single_values_are_read() {
    let invite = message(INVITE);
    assert_eq!(invite.replaces().unwrap().call_id, "98732@h");
    assert_eq!(
        invite.session_id().unwrap().local,
        "ab30317f1a784dc48ff824d0d3715d86"
    );
    assert_eq!(invite.session_id().unwrap().remote, None);
    assert_eq!(invite.session_expires_seconds(), Some(1800));
    assert!(invite.privacy().unwrap().id);
    assert_eq!(message("BYE sip:a@b SIP/2.0\r\n\r\n").privacy(), None);
}

#[test]
fn a_transfer_names_the_dialog_it_replaces() {
    let refer = message(
        "REFER sip:1@h SIP/2.0\r\nr: \"x\" <sip:2@h;user=phone?Replaces=call%40h%3Bto-tag%3Dtt%3Bfrom-tag%3Dff>\r\nb: <sip:1@h>\r\n\r\n",
    );
    let refer_to = refer.addresses("Refer-To").next().unwrap();
    let text = refer_to.uri.embedded_header("Replaces").unwrap();
    let replaces = Replaces::parse(&text).unwrap();
    assert_eq!(
        (replaces.call_id, replaces.to_tag, replaces.from_tag),
        ("call@h", "tt", "ff")
    );
    assert_eq!(refer.addresses("Referred-By").count(), 1);
}

#[test]
fn compact_names_and_odd_case_are_the_same_headers() {
    let compact = message(
        "\r\n\r\nINVITE sip:b@h SIP/2.0\nv : SIP/2.0/UDP h;branch=z9\nF: <sip:a@h>;tag=1\nT\t: sip:b@h\nI:call\ncSEQ: 1 INVITE\nm:<sip:a@h>\nc: Application/SDP\nl: 3\nK: timer\n\nv=0 and more",
    );
    assert_eq!(compact.branch(), Some("z9"));
    assert_eq!(compact.from().unwrap().tag(), Some("1"));
    assert_eq!(
        (compact.to().unwrap().uri.user, compact.call_id()),
        ("b", Some("call"))
    );
    assert_eq!(compact.cseq().unwrap().number, 1);
    assert_eq!(compact.contact().unwrap().uri.user, "a");
    assert_eq!(compact.sdp(), Some(&b"v=0"[..]));
    assert_eq!(compact.header("supported"), Some("timer"));
}

#[test]
fn responses_need_no_reason() {
    for (text, expected) in [
        ("SIP/2.0 200\r\n\r\n", (200, "")),
        ("SIP/2.0 100 \r\n\r\n", (100, "")),
        ("SIP/2.0  180 Ringing  here \n\n", (180, "Ringing  here")),
        ("sip/2.0 404 x", (404, "x")),
        ("SIP/2.0 183", (183, "")),
    ] {
        let StartLine::Response { status, reason } = message(text).start else {
            panic!("a response")
        };
        assert_eq!((status, reason), expected, "{text:?}");
    }
    assert_eq!(message("SIP/2.0 200 OK\r\n\r\n").request_uri(), None);
}

#[test]
fn unknown_methods_keep_their_name() {
    let other = message("MYMETHOD sip:a@b SIP/2.0\r\n\r\n");
    let StartLine::Request { method, .. } = other.start else {
        panic!("a request")
    };
    assert_eq!((method, other.method_token()), (Method::Other, "MYMETHOD"));
    assert!(matches!(
        message("Invite sip:a@b sip/2.0\n\n").start,
        StartLine::Request {
            method: Method::Invite,
            ..
        }
    ));
}

#[test]
fn request_uris_may_hold_blanks_and_brackets() {
    assert_eq!(
        message("INVITE  sip:user@example.com; lr \t SIP/2.0  \r\n\r\n")
            .request_uri()
            .unwrap()
            .host,
        "example.com"
    );
    assert_eq!(
        message("INVITE <sip:user@h> SIP/2.0\r\n\r\n")
            .request_uri()
            .unwrap()
            .user,
        "user"
    );
    assert_eq!(
        message("INVITE urn:service:sos SIP/2.0\r\n\r\n")
            .request_uri()
            .unwrap()
            .user,
        "service:sos"
    );
    assert_eq!(
        message("INVITE tel:+1;phone-context=x SIP/2.0\r\n\r\n")
            .request_uri()
            .unwrap()
            .user,
        "+1"
    );
}

#[test]
fn what_is_no_message_says_why() {
    let error = |bytes: &[u8]| Message::parse(bytes).unwrap_err();
    assert_eq!(error(b"\r\n\r\n"), ParseError::Empty { length: 4 });
    assert_eq!(error(b""), ParseError::Empty { length: 0 });
    assert_eq!(error(b"\0\0\0\0"), ParseError::StartLine { length: 4 });
    assert_eq!(
        error(b"INVITE sip:a@b"),
        ParseError::StartLine { length: 14 }
    );
    assert_eq!(
        error(b"GET / HTTP/1.1\r\n\r\n"),
        ParseError::StartLine { length: 18 }
    );
    assert_eq!(
        error(b"OPTIONS sip:a@b SIP/7.0\n\n"),
        ParseError::Version { length: 25 }
    );
    assert_eq!(
        error(b"SIP/2.0 4294967301 big\n\n"),
        ParseError::Status { length: 24 }
    );
    assert_eq!(error(b"SIP/2.0 OK\n\n"), ParseError::Status { length: 12 });
    assert_eq!(
        error(b"BYE sip:a@b SIP/2.0\nX: \xe9\n\n"),
        ParseError::NotUtf8 { length: 26, at: 23 }
    );
    assert!(error(b"\r\n").to_string().contains("2 bytes"));
}

#[test]
fn the_body_is_as_long_as_the_header_says_or_as_there_is() {
    let body = |headers: &str| {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{headers}\r\n0123456789");
        let message = message(&text);
        (message.body.to_vec(), message.missing_body_bytes())
    };
    let all = b"0123456789".to_vec();
    assert_eq!(body(""), (all.clone(), 0));
    assert_eq!(body("l: 4\r\n"), (b"0123".to_vec(), 0));
    assert_eq!(body("Content-Length: 9999\r\n"), (all.clone(), 9989));
    assert_eq!(body("Content-Length: -999\r\n"), (all.clone(), 0));
    assert_eq!(body("Content-Length: +4\r\n"), (all.clone(), 0));
    assert_eq!(
        body("Content-Length:\r\n 4\r\nl: 7\r\n"),
        (b"0123".to_vec(), 0)
    );
    assert_eq!(
        body("Content-Length: 99999999999999999999999\r\n"),
        (all, 0)
    );
}

#[test]
fn of_duplicated_headers_the_first_counts() {
    let twice = message(
        "BYE sip:a@b SIP/2.0\r\nCall-ID: 1\r\ni: 2\r\nFrom: <sip:a@h>;tag=1\r\nf: <sip:a@h>;tag=2\r\n\r\n",
    );
    assert_eq!(twice.call_id(), Some("1"));
    assert_eq!(twice.from().unwrap().tag(), Some("1"));
    assert_eq!(twice.header_values("Call-ID").count(), 2);
}

#[test]
fn junk_among_the_headers_is_skipped_and_counted() {
    let junk = message(
        "BYE sip:a@b SIP/2.0\r\n???\r\nCall-ID: 1\r\n=a b: c\r\n folded\r\nCSeq: 2 BYE\r\n\r\n",
    );
    assert_eq!(junk.junk_lines(), 3);
    assert_eq!(
        (junk.call_id(), junk.cseq().unwrap().number),
        (Some("1"), 2)
    );
}

#[test]
fn a_message_cut_short_is_read_as_far_as_it_goes() {
    let invite = message(&INVITE[..INVITE.find("\r\nCSeq").unwrap()]);
    assert_eq!(invite.call_id(), Some("1j9FpLxk3uxtm8tn@10.0.0.1"));
    assert_eq!((invite.cseq(), invite.body), (None, &b""[..]));
    assert!(!invite.head_complete());
}

#[test]
fn addresses_without_brackets_leave_parameters_to_the_header() {
    let plain = message(
        "BYE sip:a@b SIP/2.0\r\nFrom: sip:+1@h;user=phone;tag=7\r\nTo: tel:+2;phone-context=x;tag=8\r\n\r\n",
    );
    let (from, to) = (plain.from().unwrap(), plain.to().unwrap());
    assert_eq!(
        (from.uri.user, from.tag(), from.uri.param("user")),
        ("+1", Some("7"), None)
    );
    assert_eq!((to.uri.user, to.tag()), ("+2", Some("8")));
}

#[test]
fn a_contact_that_removes_all_is_none() {
    assert_eq!(
        message("REGISTER sip:h SIP/2.0\r\nm: *\r\n\r\n").contact(),
        None
    );
}

#[test]
fn descriptions_are_found_in_bodies_of_several_parts() {
    let text = "INVITE sip:a@b SIP/2.0\r\nContent-Type: multipart/mixed;boundary=\"b 1\"\r\n\r\n--b 1\r\nContent-Type: application/x\r\n\r\n\0\u{1}\r\n--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b 1--";
    assert_eq!(message(text).sdp(), Some(&b"v=0\r\n"[..]));
    assert_eq!(
        message("INVITE sip:a@b SIP/2.0\r\n\r\nv=0\r\n").sdp(),
        Some(&b"v=0\r\n"[..])
    );
    assert_eq!(
        message("INVITE sip:a@b SIP/2.0\r\nc: text/plain\r\n\r\nv=0\r\n").sdp(),
        None
    );
}

#[test]
fn latin_1_heads_are_decoded_and_bodies_left_alone() {
    let bytes = b"BYE sip:a@b SIP/2.0\r\nFrom: \"Jos\xe9\" <sip:j@h>\r\n\r\n\xe9body";
    let decoded = decode_head(bytes);
    let message = Message::parse(&decoded).unwrap();
    assert_eq!(message.from().unwrap().display, "José");
    assert_eq!(message.body, b"\xe9body");
    let utf8 = "BYE sip:a@b SIP/2.0\r\nFrom: \"José\" <sip:j@h>\r\n\r\n".as_bytes();
    assert!(matches!(decode_head(utf8), Cow::Borrowed(same) if same == utf8));
    assert!(matches!(
        decode_head(b"\r\nBYE sip:a@b SIP/2.0\n\n\xff"),
        Cow::Borrowed(_)
    ));
    let cut = &utf8[..utf8.iter().position(|&byte| byte == 0xc3).unwrap() + 1];
    assert_eq!(decode_head(cut), &cut[..cut.len() - 1]);
}

#[test]
fn sip_is_told_from_other_text() {
    for sip in [
        "INVITE sip:a@b SIP/2.0\r\n",
        "\r\n\r\nBYE sip:a@b SIP/2.0\r\n",
        "SIP/2.0 200 OK\r\n",
        "REGISTER ",
        "PUBLISH sip:cut",
        "NEWMETHOD sip:a@b SIP/2.0\r\n",
        "!odd_Method+`%'~ sip:a@b SIP/2.0\r\n",
        "OPTIONS sip:a@b SIP/7.0\r\n",
        "SIP/7.0 200 OK\r\n",
    ] {
        assert!(looks_like_sip(sip.as_bytes()), "{sip}");
    }
    for other in [
        "",
        "GET / HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "OPTIONS rtsp://h RTSP/1.0\r\n",
        "INVITED sip:a@b",
        "SIP/2.0",
        "\u{16}\u{3}\u{1}",
        "INVITE\r\n",
        "NEWMETHOD sip:cut",
        "sip:a@b is SIP/2.0\r\n",
        "SIP/3.0 OK\r\n200",
    ] {
        assert!(!looks_like_sip(other.as_bytes()), "{other}");
    }
}

/// Asks everything there is to ask.
fn interrogate(bytes: &[u8]) {
    let _ = looks_like_sip(bytes);
    let decoded = decode_head(bytes);
    let Ok(message) = Message::parse(&decoded) else {
        return;
    };
    let _ = (
        message.call_id(),
        message.cseq(),
        message.branch(),
        message.replaces(),
    );
    let _ = (
        message.session_id(),
        message.session_expires_seconds(),
        message.privacy(),
    );
    let _ = (
        message.faults().iter().count(),
        message.junk_lines(),
        message.dropped_headers(),
        message.content_type(),
    );
    if let Some(uri) = message.request_uri() {
        let _ = (uri.user_decoded(), uri.host_ip(), uri.param("user"));
    }
    let names: Vec<_> = message.headers().map(|(name, _)| name).collect();
    for name in names {
        let _ = (
            message.header(name).map(super::super::unfold),
            message.header_values(name).count(),
        );
        for address in message.addresses(name) {
            let _ = (address.display_text(), address.tag(), address.param("x"));
            let _ = (
                address.uri.user_decoded(),
                address.uri.embedded_header("Replaces"),
            );
        }
    }
    for address in [message.from(), message.to(), message.contact()]
        .into_iter()
        .flatten()
    {
        let _ = (address.display_text(), address.tag());
    }
    if let Some(sdp) = message.sdp() {
        let _ = Sdp::parse(sdp);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        interrogate(&bytes);
    }

    #[test]
    fn arbitrary_headers_never_panic(
        lines in proptest::collection::vec("(From|t|Via|CSeq|c|l|Contact|Replaces|Privacy|x|History-Info)?[ :]{0,2}(<|>|\"|\\\\|;|,|@|:|\\?|=|%4|sip:|tel:|\\[|\\]|multipart/mixed|boundary|[ -~é]|\r\n ){0,20}\r?\n", 0..20),
        body in "(--|x|\r\n|v=0|Content-Type: application/sdp){0,20}",
    ) {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{}\r\n{body}", lines.concat());
        interrogate(text.as_bytes());
    }

    #[test]
    fn mutated_messages_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..30),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = INVITE.as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        interrogate(&bytes[..length.index(bytes.len() + 1)]);
    }

    #[test]
    fn decoded_heads_are_utf_8(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let decoded = decode_head(&bytes);
        let not_utf8 = matches!(Message::parse(&decoded), Err(ParseError::NotUtf8 { .. }));
        prop_assert!(!not_utf8);
        prop_assert!(decoded.len() <= 2 * bytes.len());
    }
}
