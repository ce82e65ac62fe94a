//! The torture messages of RFC 4475, all 49 of them, with what is read of each.

use std::path::Path;

use super::*;

/// What is expected of a message. Empty text stands for `None`.
struct Expected {
    file: &'static str,
    /// The method's token, or the status; empty when the message is refused.
    start: &'static str,
    call_id: &'static str,
    from: (&'static str, &'static str),
    to_tag: &'static str,
    cseq: Option<u32>,
    sdp: bool,
}

const fn expected(
    file: &'static str,
    start: &'static str,
    call_id: &'static str,
    from: (&'static str, &'static str),
    to_tag: &'static str,
    cseq: Option<u32>,
    sdp: bool,
) -> Expected {
    Expected {
        file,
        start,
        call_id,
        from,
        to_tag,
        cseq,
        sdp,
    }
}

const AMAZING: &str = "amazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallername";
const LONG_CALL_ID: &str = "longreq.onereallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallylongcallid";
const LONG_TAG: &str = "12982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982424";
const ODD_METHOD: &str = "!interesting-Method0123456789_*+`.%indeed'~";
const ODD_CALL_ID: &str = "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{";
const ODD_TAG: &str = "_token~1'+`*%!-.";

#[rustfmt::skip]
const MESSAGES: [Expected; 49] = [
    // Section 3.1.1: valid, and so read right.
    expected("wsinv", "INVITE", "wsinv.ndaksdj@192.0.2.1", ("jdrosen", "98asjd8"), "1918181833n", Some(9), true),
    expected("intmeth", ODD_METHOD, ODD_CALL_ID, ("mundane", ODD_TAG), "", Some(139122385), false),
    expected("esc01", "INVITE", "esc01.239409asdfakjkn23onasd0-3234", ("I%20have%20spaces", "938"), "", Some(234234), true),
    expected("escnull", "REGISTER", "escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd", ("null-%00-null", "839923423"), "", Some(14398234), false),
    expected("esc02", "RE%47IST%45R", "esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf", ("resource", "f232jadfj23"), "", Some(29344), false),
    expected("lwsdisp", "OPTIONS", "lwsdisp.1234abcd@funky.example.com", ("caller", "323"), "", Some(60), false),
    expected("longreq", "INVITE", LONG_CALL_ID, (AMAZING, LONG_TAG), "", Some(3882340), true),
    expected("dblreq", "REGISTER", "dblreq.0ha0isndaksdj99sdfafnl3lk233412", ("j.user", "43251j3j324"), "", Some(8), false),
    expected("semiuri", "OPTIONS", "semiuri.0ha0isndaksdj", ("caller", "33242"), "", Some(8), false),
    expected("transports", "OPTIONS", "transports.kijh4akdnaqjkwendsasfdj", ("caller", "323"), "", Some(60), false),
    expected("mpart01", "MESSAGE", "3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..", ("fluffy", "2fb0dcc9"), "", Some(1), false),
    expected("unreason", "200", "unreason.1234ksdfak3j2erwedfsASdf", ("user", "11141343"), "2229", Some(35), true),
    expected("noreason", "100", "noreason.asndj203insdf99223ndf", ("user", "39ansfi3"), "902jndnke3", Some(35), false),
    // Section 3.1.2: invalid in places, read around; refused are another version and a status that is none.
    expected("badinv01", "INVITE", "badinv01.0ha0isndaksdjasdf3234nas", ("caller", "134161461246"), "", Some(8), true),
    expected("clerr", "INVITE", "clerr.0ha0isndaksdjweiafasdk3", ("caller", "93942939o2"), "", Some(8), true),
    expected("ncl", "INVITE", "ncl.0ha0isndaksdj2193423r542w35", ("caller", "32394234"), "", Some(0), true),
    expected("scalar02", "REGISTER", "scalar02.23o0pd9vanlq3wnrlnewofjas9ui32", ("user", "239232jh3"), "", None, false),
    expected("scalarlg", "503", "scalarlg.noase0of0234hn2qofoaf0232aewf2394r", ("other", "2easdjfejw"), "", None, false),
    expected("quotbal", "INVITE", "quotbal.aksdj", ("caller", "93334"), "", Some(8), true),
    expected("ltgtruri", "INVITE", "ltgtruri.1@192.0.2.5", ("caller", "39291"), "", Some(1), true),
    expected("lwsruri", "INVITE", "lwsruri.asdfasdoeoi2323-asdfwrn23-asd834rk423", ("caller", "231413434"), "3xfe-9921883-z9f", Some(2130706432), true),
    expected("lwsstart", "INVITE", "lwsstart.dfknq234oi243099adsdfnawe3@example.com", ("caller", "8814"), "", Some(1893884), true),
    expected("trws", "OPTIONS", "trws.oicu34958239neffasdhr2345r", ("local-resource", "329429089"), "", Some(238923), false),
    expected("escruri", "INVITE", "escruri.23940-asdfhj-aje3br-234q098w-fawerh2q-h4n5", ("caller", "341518"), "", Some(149209342), true),
    expected("baddate", "INVITE", "baddate.239423mnsadf3j23lj42--sedfnm234", ("caller", "2234923"), "", Some(1392934), true),
    expected("regbadct", "REGISTER", "regbadct.k345asrl3fdbv@10.0.0.1", ("user", "998332"), "", Some(1), false),
    expected("badaspec", "OPTIONS", "badaspec.sdf0234n2nds0a099u23h3hnnw009cdkne3", ("a.g.bell", "433423"), "", Some(3923239), false),
    expected("baddn", "OPTIONS", "baddn.31415@c.example.com", ("a.g.bell", "43"), "", Some(3923239), false),
    expected("badvers", "", "", ("", ""), "", None, false),
    expected("mismatch01", "OPTIONS", "mismatch01.dj0234sxdfl3", ("caller", "34525"), "", Some(8), false),
    expected("mismatch02", "NEWMETHOD", "mismatch02.dj0234sxdfl3", ("caller", "34525"), "", Some(8), true),
    expected("bigcode", "", "", ("", ""), "", None, false),
    // Sections 3.2 to 3.4: matters of transaction and application, and RFC 2543.
    expected("badbranch", "OPTIONS", "badbranch.sadonfo23i420jv0as0derf3j3n", ("caller", "33242"), "", Some(8), false),
    expected("insuf", "INVITE", "", ("", ""), "", Some(193942), true),
    expected("unkscm", "OPTIONS", "unkscm.nasdfasser0q239nwsdfasdkl34", ("caller", "384"), "", Some(3923423), false),
    expected("novelsc", "OPTIONS", "novelsc.asdfasser0q239nwsdfasdkl34", ("caller", "384"), "", Some(3923423), false),
    expected("unksm2", "REGISTER", "unksm2.daksdj@hyphenated-host.example.com", ("//www.example.com", "3234233"), "", Some(234902), false),
    expected("bext01", "OPTIONS", "bext01.0ha0isndaksdj", ("caller", "242etr"), "", Some(8), false),
    expected("invut", "INVITE", "invut.0ha0isndaksdjadsfij34n23d", ("caller", "8392034"), "", Some(235448), false),
    expected("regaut01", "REGISTER", "regaut01.0ha0isndaksdj", ("j.user", "87321hj23128"), "", Some(9338), false),
    expected("multi01", "INVITE", "multi01.98asdh@192.0.2.1", ("caller", "3413415"), "", Some(5), true),
    expected("mcl01", "OPTIONS", "mcl01.fhn2323orihawfdoa3o4r52o3irsdf", ("other", "3923942"), "", Some(15932), false),
    expected("bcast", "200", "bcast.0384840201234ksdfak3j2erwedfsASdf", ("user", "11141343"), "2229", Some(35), true),
    expected("zeromf", "OPTIONS", "zeromf.jfasdlfnm2o2l43r5u0asdfas", ("caller", "3ghsd41"), "", Some(39234321), false),
    expected("cparam01", "REGISTER", "cparam01.70710@saturn.example.com", ("watson", "DkfVgjkrtMwaerKKpe"), "", Some(2), false),
    expected("cparam02", "REGISTER", "cparam02.70710@saturn.example.com", ("watson", "838293"), "", Some(3), false),
    expected("regescrt", "REGISTER", "regescrt.k345asrl3fdbv@192.0.2.1", ("user", "8"), "", Some(14398234), false),
    expected("sdp01", "INVITE", "sdp01.ndaksdj9342dasdd", ("caller", "234"), "", Some(8), true),
    expected("inv2543", "INVITE", "inv2543.1717@ift.client.example.com", ("+13035551111", ""), "", Some(56), true),
];

/// What is wrong with those that are not of section 3.1.1, as the RFC says it.
#[rustfmt::skip]
const FAULTS: [(&str, &[Fault]); 36] = [
    // Section 3.1.2.
    ("badinv01", &[Fault::ExtraneousSeparators]),
    ("clerr", &[Fault::BodyShorterThanContentLength]),
    ("ncl", &[Fault::ContentLengthInvalid]),
    ("scalar02", &[Fault::CseqOutOfRange, Fault::MaxForwardsOutOfRange, Fault::ExpiresOutOfRange]),
    ("scalarlg", &[Fault::CseqOutOfRange, Fault::RetryAfterOutOfRange, Fault::WarningInvalid]),
    ("quotbal", &[Fault::UnterminatedQuote]),
    ("ltgtruri", &[Fault::RequestUriInBrackets]),
    ("lwsruri", &[Fault::WhitespaceInRequestUri]),
    ("lwsstart", &[Fault::WhitespaceInStartLine]),
    ("trws", &[Fault::WhitespaceAfterStartLine]),
    ("escruri", &[Fault::HeadersInRequestUri]),
    ("baddate", &[Fault::DateInvalid]),
    ("regbadct", &[Fault::UriNotEnclosed]),
    ("badaspec", &[Fault::WhitespaceInAddress]),
    ("baddn", &[Fault::DisplayNameUnquoted]),
    ("badvers", &[Fault::UnknownVersion]),
    ("mismatch01", &[Fault::MethodMismatch]),
    ("mismatch02", &[Fault::MethodMismatch]),
    ("bigcode", &[Fault::StatusOutOfRange]),
    // Sections 3.2 to 3.4.
    ("badbranch", &[Fault::BranchEmpty]),
    ("insuf", &[Fault::MissingCallId, Fault::MissingFrom, Fault::MissingTo]),
    ("unkscm", &[Fault::RequestUriSchemeUnknown]),
    ("novelsc", &[Fault::RequestUriSchemeUnknown]),
    ("unksm2", &[Fault::AddressSchemeUnknown]),
    ("bext01", &[Fault::ExtensionUnknown]),
    ("invut", &[Fault::BodyTypeUnknown]),
    ("regaut01", &[Fault::AuthorizationSchemeUnknown]),
    ("multi01", &[Fault::RepeatedHeader]),
    ("mcl01", &[Fault::ContentLengthConflict]),
    ("bcast", &[Fault::BroadcastVia]),
    ("zeromf", &[Fault::MaxForwardsZero]),
    // These three a registrar takes (3.3.12 to 3.3.14): they try who reads parameters of a URI for those of a header.
    ("cparam01", &[]),
    ("cparam02", &[]),
    ("regescrt", &[]),
    ("sdp01", &[Fault::DescriptionNotAccepted]),
    ("inv2543", &[Fault::Rfc2543]),
];

/// `None`, said aloud, where the captures are not at hand.
fn read(file: &str) -> Option<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures/rfc4475");
    if !folder.is_dir() {
        eprintln!("skipped: {} is missing", folder.display());
        return None;
    }
    Some(std::fs::read(folder.join(format!("{file}.dat"))).unwrap())
}

fn check(expected: &Expected, message: &Message<'_>) {
    let file = expected.file;
    let start = match message.start {
        StartLine::Request { .. } => message.method_token().to_owned(),
        StartLine::Response { status, .. } => status.to_string(),
    };
    assert_eq!(start, expected.start, "{file}");
    assert_eq!(message.call_id().unwrap_or(""), expected.call_id, "{file}");
    let from = message.from();
    let found = (
        from.map_or("", |from| from.uri.user),
        from.and_then(|from| from.tag()).unwrap_or(""),
    );
    assert_eq!(found, expected.from, "{file}");
    let to_tag = message.to().and_then(|to| to.tag());
    assert_eq!(to_tag.unwrap_or(""), expected.to_tag, "{file}");
    assert_eq!(
        message.cseq().map(|cseq| cseq.number),
        expected.cseq,
        "{file}"
    );
    let sdp = message.sdp().map(|body| Sdp::parse(body).unwrap());
    assert_eq!(sdp.is_some(), expected.sdp, "{file}");
    if let Some(sdp) = sdp {
        assert_eq!(sdp.media[0].kind, MediaKind::Audio, "{file}");
        assert!(sdp.media[0].endpoint().is_some(), "{file}");
    }
}

#[test]
fn every_torture_message_is_read_as_expected() {
    for expected in &MESSAGES {
        let Some(bytes) = read(expected.file) else {
            return;
        };
        let bytes = decode_head(&bytes);
        match Message::parse(&bytes) {
            Ok(message) => check(expected, &message),
            Err(error) => assert_eq!(expected.start, "", "{}: {error}", expected.file),
        }
    }
}

#[test]
fn every_torture_message_has_the_faults_that_the_rfc_names() {
    let mut invalid = FAULTS.iter();
    for (place, expected) in MESSAGES.iter().enumerate() {
        let Some(bytes) = read(expected.file) else {
            return;
        };
        let bytes = decode_head(&bytes);
        let found = match Message::parse(&bytes) {
            Ok(message) => message.faults(),
            Err(error) => Faults::from(error),
        };
        let found: Vec<Fault> = found.iter().collect();
        // The first are those of section 3.1.1, which are valid.
        if place < 13 {
            assert_eq!(found, [], "{}", expected.file);
            continue;
        }
        let (file, faults) = invalid.next().unwrap();
        assert_eq!((*file, found.as_slice()), (expected.file, *faults));
        let class = match place {
            13..32 => FaultClass::Syntax,
            32 => FaultClass::Transaction,
            48 => FaultClass::Compatibility,
            _ => FaultClass::Application,
        };
        assert!(found.iter().all(|fault| fault.class() == class), "{file}");
    }
}

#[test]
fn torture_messages_are_framed_on_tcp() {
    for expected in &MESSAGES {
        let Some(bytes) = read(expected.file) else {
            return;
        };
        let mut framer = Framer::new(100_000);
        for byte in &bytes {
            framer.push(&[*byte]);
        }
        framer.finish();
        let messages: Vec<_> = std::iter::from_fn(|| framer.next_message()).collect();
        assert!(!messages.is_empty(), "{}", expected.file);
        // What is refused is whole, so that it can be said why. One has a head without an end.
        let is_whole = matches!(messages.first(), Some(Ok(message)) if bytes.starts_with(message));
        assert!(is_whole || expected.file == "baddn", "{}", expected.file);
        framer.push(b"\r\nBYE sip:next@example.com SIP/2.0\r\n\r\n");
        framer.finish();
        let last = std::iter::from_fn(|| framer.next_message()).last();
        assert!(last.unwrap().is_ok(), "{}", expected.file);
    }
}

/// All but the one that promises ten thousand bytes, which the connection owes it.
#[test]
fn torture_messages_take_nothing_from_what_follows_on_tcp() {
    let next = "BYE sip:next@example.com SIP/2.0\r\nl: 0\r\n\r\n".as_bytes();
    for expected in MESSAGES.iter().filter(|one| one.file != "clerr") {
        let Some(bytes) = read(expected.file) else {
            return;
        };
        let mut framer = Framer::new(100_000);
        framer.push(&[&bytes, "\r\n".as_bytes(), next, next].concat());
        let last = std::iter::from_fn(|| framer.next_message()).last();
        assert_eq!(last, Some(Ok(next.to_vec())), "{}", expected.file);
    }
}

#[test]
fn odd_details_of_torture_messages_are_read_right() {
    let Some(wsinv) = read("wsinv") else { return };
    let wsinv = Message::parse(&wsinv).unwrap();
    assert_eq!(wsinv.branch(), Some("390skdjuw"));
    assert_eq!(wsinv.header_values("via").count(), 3);
    assert_eq!(wsinv.from().unwrap().display_text(), "J Rosenberg \\\"");
    let contact = wsinv.contact().unwrap();
    assert_eq!(contact.param("newparam"), Some("newvalue"));
    assert_eq!(contact.param("q"), Some("0.33"));
    assert_eq!(
        unfold(wsinv.header("NewFangledHeader").unwrap()),
        "newfangled value continued newfangled value"
    );

    let intmeth = read("intmeth").unwrap();
    let intmeth = Message::parse(&intmeth).unwrap();
    let uri = intmeth.request_uri().unwrap();
    assert_eq!(uri.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/");
    assert_eq!((uri.user_params, uri.host), (";*", "example.com"));
    assert_eq!(
        intmeth.to().unwrap().display_text(),
        "BEL:\u{7} NUL:\0 DEL:\u{7f}"
    );

    let esc01 = read("esc01").unwrap();
    let esc01 = Message::parse(&esc01).unwrap();
    let uri = esc01.request_uri().unwrap();
    assert_eq!(uri.user_decoded(), "sips:user@example.com");
    assert_eq!(esc01.to().unwrap().uri.user_decoded(), "user");

    let semiuri = read("semiuri").unwrap();
    let semiuri = Message::parse(&semiuri).unwrap();
    let uri = semiuri.request_uri().unwrap();
    assert_eq!((uri.user, uri.host), ("user", "example.com"));
    assert_eq!(uri.user_params, "par=u%40example.net");

    let unreason = read("unreason").unwrap();
    let StartLine::Response { reason, .. } = Message::parse(&unreason).unwrap().start else {
        panic!("a response")
    };
    assert!(reason.starts_with("= 2**3 * 5**2 но"));
}
