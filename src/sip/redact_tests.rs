use proptest::prelude::*;

use super::redact;
use crate::sip::{Message, Sdp};

/// A secret that no message has by chance.
const SECRET: &str = "S3cr3tZq";

fn clean(message: &str) -> String {
    String::from_utf8(redact(message.as_bytes(), true)).unwrap()
}

fn with_body(kind: &str, body: &str) -> String {
    format!(
        "INFO sip:a@b SIP/2.0\r\nCall-ID: 1\r\nContent-Type: {kind}\r\nl: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn what_is_no_credential_stays_as_it_is() {
    let body = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let message = format!(
        "INVITE sip:1002@a:5060;transport=tcp SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;rport\r\n\
         WWW-Authenticate: Digest realm=\"a\", nonce=\"n\"\r\nContact: <sip:1001@10.0.0.1:5061;ob>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(clean(&message), message);
}

#[test]
fn credentials_go_and_say_that_they_were_there() {
    let text = clean(&format!(
        "REGISTER sip:a SIP/2.0\r\nauthorization : Digest username=\"u\",\r\n response=\"{SECRET}\"\r\n\
         Contact: <sip:u:{SECRET}@h:5060>;q=1\r\nRefer-To: <sips:x@y?%41uthorization=Basic%20{SECRET}&a=b>\r\n\r\n"
    ));
    assert!(!text.contains(SECRET), "{text}");
    assert!(text.contains(
        "\r\nAuthorization: Digest removed=removed\r\nContact: <sip:u:removed@h:5060>;q=1\r\n"
    ));
    assert!(text.contains("?%41uthorization=removed&a=b>"));
}

#[test]
fn headers_whose_names_say_secret_lose_their_values() {
    for name in [
        "Cookie",
        "Set-Cookie",
        "X-Auth-Token",
        "X-Api-Key",
        "x-apikey",
        "X-Password",
        "X_Secret",
        "X-OAuth",
        "X-AccessToken",
        "P-Authorization",
    ] {
        let text = clean(&format!(
            "INFO sip:a SIP/2.0\r\n{name} : {SECRET}; a={SECRET},\r\n {SECRET}\r\nCall-ID: 1\r\n\r\n"
        ));
        assert_eq!(
            text,
            format!("INFO sip:a SIP/2.0\r\n{name}: removed\r\nCall-ID: 1\r\n\r\n")
        );
    }
    for name in [
        "Authority",
        "X-Tokenizer",
        "X-Key",
        "WWW-Authenticate",
        "P-Asserted-Identity",
        "Identity",
        "Author",
    ] {
        let message = format!("INFO sip:a SIP/2.0\r\n{name}: kept\r\nCall-ID: 1\r\n\r\n");
        assert_eq!(clean(&message), message);
    }
}

#[test]
fn fields_of_bodies_lose_their_secrets() {
    for (kind, body, expected) in [
        (
            "application/x-www-form-urlencoded",
            "user=a&password=S3cr3tZq&x=1&user_%70wd=S3cr3tZq%20S3cr3tZq",
            "user=a&password=removed&x=1&user_%70wd=removed",
        ),
        (
            "multipart/mixed;boundary=b",
            "--b\r\nContent-Type: text/plain\r\n\r\nsecret = S3cr3tZq S3cr3tZq\r\nPassword: S3cr3tZq\r\nauthority=me\r\n--b--\r\n",
            "--b\r\nContent-Type: text/plain\r\n\r\nsecret = removed\r\nPassword: removed\r\nauthority=me\r\n--b--\r\n",
        ),
        (
            "application/json",
            "{\"user\": \"a\", \"apiKey\" : \"S3cr3tZq\", \"n\": 1}",
            "{\"user\": \"a\", \"apiKey\" : \"removed\", \"n\": 1}",
        ),
        (
            "application/xml",
            "<login user='a' pass='S3cr3t Zq' x='1'/>",
            "<login user='a' pass='removed' x='1'/>",
        ),
        (
            "application/sdp",
            " a = crypto : 9 S3cr3tZq\r\nk = clear:S3cr3tZq\r\na= ice-pwd:S3cr3tZq\r\n",
            "a=crypto:inline:removed\r\nk=prompt\r\na=ice-pwd:removed\r\n",
        ),
    ] {
        let text = clean(&with_body(kind, body));
        assert!(text.ends_with(&format!("\r\n\r\n{expected}")), "{text}");
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(message.body.len(), expected.len());
    }
}

#[test]
fn keys_of_media_go_and_the_length_is_right() {
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\nk=clear:{SECRET}\r\nm=audio 4000 RTP/SAVP 0\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{SECRET}|2^20|1:4\r\na=crypto:{SECRET}\r\na=ice-pwd:{SECRET}\r\n\
         a=key-mgmt:mikey {SECRET}\r\n"
    );
    let text = clean(&with_body("application/sdp", &body));
    assert!(!text.contains(SECRET), "{text}");
    assert!(text.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:removed\r\n"));
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!(message.missing_body_bytes(), 0);
    assert!(message.body.ends_with(b"a=key-mgmt:removed\r\n"));
    assert_eq!(Sdp::parse(message.sdp().unwrap()).unwrap().media.len(), 1);
}

#[test]
fn pressed_keys_are_masked_where_that_is_asked() {
    for (kind, body, masked) in [
        (
            "application/dtmf-relay",
            "Signal= 5\r\nDuration=160\r\n",
            "Signal= x\r\nDuration=160\r\n",
        ),
        ("application/dtmf", "#", "x"),
        (
            "application/vnd.nortelnetworks.digits",
            "p=Digit-Collection\r\nd=123\r\n",
            "p=Digit-Collection\r\nd=xxx\r\n",
        ),
        (
            "application/kpml-response+xml",
            "<kpml-response digits=\"4711\" code=\"200\"/>",
            "<kpml-response digits=\"xxxx\" code=\"200\"/>",
        ),
        (
            "multipart/mixed;boundary=b",
            "--b\r\nContent-Type: application/dtmf\r\n\r\n7\r\n--b--\r\n",
            "--b\r\nContent-Type: application/dtmf\r\n\r\nx\r\n--b--\r\n",
        ),
        ("application/dtmf", "Digit=7", "Digit=x"),
        (
            "application/x-dtmf-relay",
            "Signal:7\r\nDuration:160\r\n",
            "Signal:x\r\nDuration:160\r\n",
        ),
        (
            "application/dtmf-info+xml",
            "<?xml version=\"1.0\"?>\r\n<dtmf><digit>7</digit><digit>D</digit></dtmf>",
            "<?xml version=\"1.0\"?>\r\n<dtmf><digit>x</digit><digit>x</digit></dtmf>",
        ),
        ("text/plain", "please press 7 and #", "please press x and x"),
        ("audio/telephone-event", "7734", "xxxx"),
        (
            "application/kpml-response+xml",
            "<kpml-response code=\"200\"\r\n Digits\r\n= '4711'/>",
            "<kpml-response code=\"200\"\r\n Digits\r\n= 'xxxx'/>",
        ),
        (
            "multipart/mixed;boundary=b",
            "--b\r\nContent-Type: application/dtmf\r\n\r\nkey:7\r\n--b\r\nContent-Type: application/sdp\r\n\r\nt=0 0\r\n--b--\r\n",
            "--b\r\nContent-Type: application/dtmf\r\n\r\nkey:x\r\n--b\r\nContent-Type: application/sdp\r\n\r\nt=0 0\r\n--b--\r\n",
        ),
    ] {
        let message = with_body(kind, body);
        let text = clean(&message);
        assert!(text.ends_with(&format!("\r\n\r\n{masked}")), "{text}");
        let kept = redact(message.as_bytes(), false);
        assert!(kept.ends_with(body.as_bytes()));
    }
}

#[test]
fn what_cannot_be_looked_into_goes() {
    let packed = format!("Content-Encoding: gzip\r\n\r\n{SECRET}");
    let text = clean(&format!(
        "INVITE sip:a SIP/2.0\r\nContent-Length: 8\r\n{packed}"
    ));
    assert!(text.contains("Content-Length: 0\r\n") && !text.contains(SECRET));
    let part = format!("--b\r\nContent-Transfer-Encoding: base64\r\n\r\n{SECRET}\r\n--b--\r\n");
    assert!(!clean(&with_body("multipart/mixed;boundary=b", &part)).contains(SECRET));
}

/// Text with a secret in it that must not be there afterwards, for the head.
fn secret_header() -> impl Strategy<Value = String> {
    let any_case = prop_oneof![
        Just("authorization"),
        Just("AUTHORIZATION"),
        Just("Authorization")
    ];
    prop_oneof![
        (any_case, "[ \t]{0,2}", "[ -~]{0,20}")
            .prop_map(|(name, blank, more)| format!("{name}{blank}:{more}{SECRET}{more}")),
        Just(format!(
            "Proxy-Authorization: Digest a=b,\r\n\tresponse=\"{SECRET}\""
        )),
        Just(format!("Authentication-Info: rspauth=\"{SECRET}\"")),
        Just(format!("Set-Cookie: a={SECRET}; {SECRET}")),
        Just(format!("Call-Info: <http://h/?access_token={SECRET}&b=c>")),
        "[a-z0-9;=,?&.-]{0,8}".prop_map(|user| format!("Contact: <sip:{user}:{SECRET}@h>")),
        "[a-z0-9:@]{0,8}".prop_map(|more| format!("P-X: \"n\" <SIPS:u:{more}{SECRET}@h>;x=y")),
        Just(format!("Call-Info: <http://u:{SECRET}@h/>")),
        Just(format!(
            "Refer-To: <sip:a@b?Replaces=1&Authorization={SECRET}>"
        )),
    ]
}

fn secret_line() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u32..99, "[A-Z0-9_ ]{0,12}")
            .prop_map(|(tag, suite)| format!("a=crypto:{tag} {suite} inline:{SECRET}")),
        Just(format!(
            "A=CRYPTO:1 AES_CM_128_HMAC_SHA1_32 inline:{SECRET}"
        )),
        Just(format!("k=base64:{SECRET}")),
        Just(format!(" k=base64:{SECRET}")),
        Just(format!("a=ice-pwd:{SECRET}")),
        ("[ \t]{0,2}", "[ \t]{0,2}")
            .prop_map(|(one, other)| format!("{one}a{other}={one}crypto{other}:1 {SECRET}")),
        ("[a-z&=]{0,9}", "[ \t]{0,2}")
            .prop_map(|(more, blank)| format!("{more}&password{blank}={blank}{SECRET}&{more}")),
        Just(format!("u=http://u:{SECRET}@h/")),
        Just(format!("Authorization: Digest response=\"{SECRET}\"")),
    ]
}

fn plain() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a=rtpmap:0 PCMU/8000".to_owned()),
        "[ -~]{0,30}",
        Just("Subject: x".to_owned()),
        Just(String::new()),
    ]
}

proptest! {
    /// Whatever a message is made of, no credential is left of it, and it can be read with the length it says.
    #[test]
    fn no_credential_is_left_of_any_message(
        headers in prop::collection::vec(prop_oneof![secret_header(), plain().prop_filter("an empty line ends the head, and one with a space before it goes on", |l| !l.is_empty() && !l.starts_with(' '))], 0..8),
        body in prop::collection::vec(prop_oneof![secret_line(), plain()], 0..8),
        says_length in any::<bool>(),
        unix in any::<bool>(),
    ) {
        let body: String = body.iter().map(|line| format!("{line}\r\n")).collect();
        let mut head = vec!["INVITE sip:u:S3cr3tZq@h SIP/2.0".to_owned(), "Call-ID: 7".into()];
        head.extend(headers.into_iter().filter(|line| {
            let name = line.split(':').next().unwrap_or("").trim().to_ascii_lowercase();
            !["l", "content-length", "e", "content-encoding"].contains(&&*name)
        }));
        if says_length {
            head.push(format!("Content-Length: {}", body.len()));
        }
        let mut message = head.join("\r\n") + "\r\n\r\n" + &body;
        if unix && !says_length {
            message = message.replace("\r\n", "\n");
        }
        let clean = redact(message.as_bytes(), true);
        let text = String::from_utf8_lossy(&clean);
        prop_assert!(!text.contains(SECRET), "{}", text);
        let read = Message::parse(&clean).unwrap();
        prop_assert_eq!(read.call_id(), Some("7"));
        prop_assert_eq!(read.missing_body_bytes(), 0);
        if let Some(length) = read.header("Content-Length") {
            prop_assert_eq!(length.parse::<usize>().unwrap(), read.body.len());
            prop_assert!(clean.ends_with(read.body));
        } else {
            prop_assert!(read.body.is_empty());
        }
    }

    /// Any bytes can be asked; what was cleaned is clean.
    #[test]
    fn cleaning_twice_is_cleaning_once(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let once = redact(&bytes, true);
        prop_assert_eq!(redact(&once, true), once);
    }
}
