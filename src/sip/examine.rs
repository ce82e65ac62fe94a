//! Finds the faults of a message that was read: one walk over its headers, without memory of its own.

use memchr::memchr;

use super::faults::{Fault, Faults};
use super::headers::{media_type, via_branch};
use super::message::{Message, StartLine};
use super::method::Method;
use super::name_addr::NameAddr;
use super::scan::{
    Split, closing_quote, cut, cut_at_byte, find_unquoted, is_token_byte, param, trim,
};
use super::uri::Uri;

/// The branch of RFC 3261 section 8.1.1.7, which must go on.
const COOKIE: &str = "z9hG4bK";
/// Schemes that From, To, Contact and a Request-URI have.
const SCHEMES: [&str; 7] = ["sip", "sips", "tel", "urn", "im", "pres", "mailto"];
/// Schemes of Authorization, as phones and their servers use them.
const AUTHORIZATION: [&str; 6] = ["Digest", "Basic", "Bearer", "NTLM", "Kerberos", "TLS-DSK"];
/// Option tags in IANA's registry of SIP.
#[rustfmt::skip]
const EXTENSIONS: [&str; 36] = [
    "100rel", "199", "answermode", "early-session", "eventlist", "explicitsub", "from-change", "geolocation-http",
    "geolocation-sip", "gin", "gruu", "histinfo", "ice", "join", "multiple-refer", "norefersub", "nosub", "outbound",
    "path", "policy", "precondition", "pref", "privacy", "recipient-list-invite", "recipient-list-message",
    "recipient-list-subscribe", "record-aware", "replaces", "resource-priority", "sdp-anat", "sec-agree", "siprec",
    "tdialog", "timer", "trickle-ice", "uui",
];

/// A header that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Header {
    CallId,
    Cseq,
    From,
    To,
    Via,
    Contact,
    MaxForwards,
    ContentLength,
    ContentType,
    Expires,
    RetryAfter,
    Warning,
    Date,
    Accept,
    Require,
    Authorization,
}

impl Header {
    /// By its long name, in any case.
    fn named(name: &str) -> Option<Header> {
        use Header::*;
        let is = |long: &str| name.eq_ignore_ascii_case(long);
        let header = match name.len() {
            2 if is("To") => To,
            3 if is("Via") => Via,
            4 if is("From") => From,
            4 if is("CSeq") => Cseq,
            4 if is("Date") => Date,
            6 if is("Accept") => Accept,
            7 if is("Call-ID") => CallId,
            7 if is("Contact") => Contact,
            7 if is("Expires") => Expires,
            7 if is("Warning") => Warning,
            7 if is("Require") => Require,
            11 if is("Retry-After") => RetryAfter,
            12 if is("Max-Forwards") => MaxForwards,
            12 if is("Content-Type") => ContentType,
            13 if is("Proxy-Require") => Require,
            13 if is("Authorization") => Authorization,
            14 if is("Content-Length") => ContentLength,
            19 if is("Proxy-Authorization") => Authorization,
            _ => return None,
        };
        Some(header)
    }

    fn may_repeat(self) -> bool {
        use Header::*;
        matches!(
            self,
            Via | Contact | Warning | Accept | Require | Authorization | ContentLength
        )
    }

    fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// The faults of `message`.
pub(super) fn faults<'a>(message: &Message<'a>) -> Faults {
    let mut examination = Examination::new(message);
    examination.start_line();
    for (name, value) in message.headers() {
        if let Some(header) = Header::named(name) {
            examination.header(header, value);
        }
    }
    examination.missing();
    examination.whole();
    examination.faults
}

struct Examination<'m, 'a> {
    message: &'m Message<'a>,
    is_invite: bool,
    faults: Faults,
    /// Bits of the headers that were seen, but for empty ones.
    seen: u32,
    content_length: Option<&'a str>,
    top_via: Option<&'a str>,
    from: &'a str,
    accepts_sdp: bool,
}

impl<'m, 'a> Examination<'m, 'a> {
    fn new(message: &'m Message<'a>) -> Self {
        let is_invite = matches!(
            message.start,
            StartLine::Request {
                method: Method::Invite,
                ..
            }
        );
        Examination {
            message,
            is_invite,
            faults: Faults::default(),
            seen: 0,
            content_length: None,
            top_via: None,
            from: "",
            accepts_sdp: false,
        }
    }

    fn is_request(&self) -> bool {
        matches!(self.message.start, StartLine::Request { .. })
    }

    fn has_seen(&self, header: Header) -> bool {
        self.seen & header.bit() != 0
    }

    fn start_line(&mut self) {
        let line = self.message.line();
        let StartLine::Request { uri, .. } = self.message.start else {
            // An empty reason leaves a blank at the end (RFC 3261 section 7.2).
            let is_spaced = line.as_bytes().get(8).is_some_and(u8::is_ascii_digit);
            return self.faults.add_if(!is_spaced, Fault::WhitespaceInStartLine);
        };
        let ended = line.trim_end_matches([' ', '\t']);
        self.faults
            .add_if(ended.len() < line.len(), Fault::WhitespaceAfterStartLine);
        let one_blank_each = self.message.method_token().len() + uri.len() + " SIP/2.0".len() + 1;
        let is_spaced = ended.len() == one_blank_each && !ended.contains('\t');
        self.faults.add_if(!is_spaced, Fault::WhitespaceInStartLine);
        if uri.starts_with('<') {
            return self.faults.add(Fault::RequestUriInBrackets);
        }
        self.faults
            .add_if(has_blank(uri), Fault::WhitespaceInRequestUri);
        let headers = memchr(b'?', uri.as_bytes()).and_then(|_| Uri::parse(uri));
        self.faults.add_if(
            headers.is_some_and(|uri| !uri.headers.is_empty()),
            Fault::HeadersInRequestUri,
        );
        self.faults
            .add_if(!has_known_scheme(uri), Fault::RequestUriSchemeUnknown);
    }

    fn header(&mut self, header: Header, value: &'a str) {
        self.faults.add_if(
            self.has_seen(header) && !header.may_repeat(),
            Fault::RepeatedHeader,
        );
        if !value.is_empty() {
            self.seen |= header.bit();
        }
        match header {
            Header::Cseq => self.cseq(value),
            Header::From => {
                self.from = value;
                self.address(value);
            }
            Header::To => self.address(value),
            Header::Via => self.via(value),
            Header::Contact => self.contacts(value),
            Header::MaxForwards => self.max_forwards(value),
            Header::ContentLength => self.content_length(value),
            Header::Expires => self
                .faults
                .add_if(!is_number_to(value, MAX_U32), Fault::ExpiresOutOfRange),
            Header::RetryAfter => self.faults.add_if(
                !is_number_to(cut(value, digits(value)).0, MAX_U32),
                Fault::RetryAfterOutOfRange,
            ),
            Header::Warning => {
                let is_code = |warning: &str| digits(warning) == 3;
                let invalid = !Split::list(value).all(is_code);
                self.faults.add_if(invalid, Fault::WarningInvalid);
            }
            Header::Date => self.faults.add_if(!is_date(value), Fault::DateInvalid),
            Header::Accept => self.accept(value),
            Header::Require => {
                let is_known = |tag: &str| is_one_of(tag, &EXTENSIONS);
                let unknown = !Split::list(value).all(is_known);
                self.faults.add_if(unknown, Fault::ExtensionUnknown);
            }
            Header::Authorization => {
                let scheme = value.split_ascii_whitespace().next().unwrap_or("");
                let unknown = !is_one_of(scheme, &AUTHORIZATION);
                self.faults
                    .add_if(unknown, Fault::AuthorizationSchemeUnknown);
            }
            Header::CallId | Header::ContentType => {}
        }
    }

    fn cseq(&mut self, value: &str) {
        let (number, method) = cut(value, digits(value));
        self.faults
            .add_if(!is_number_to(number, (1 << 31) - 1), Fault::CseqOutOfRange);
        let other = !trim(method).eq_ignore_ascii_case(self.message.method_token());
        self.faults
            .add_if(self.is_request() && other, Fault::MethodMismatch);
    }

    fn max_forwards(&mut self, value: &str) {
        self.faults
            .add_if(!is_number_to(value, 255), Fault::MaxForwardsOutOfRange);
        let is_zero = !value.is_empty() && value.bytes().all(|byte| byte == b'0');
        self.faults.add_if(is_zero, Fault::MaxForwardsZero);
    }

    fn content_length(&mut self, value: &'a str) {
        self.faults
            .add_if(!is_number_to(value, u64::MAX), Fault::ContentLengthInvalid);
        match self.content_length {
            None => self.content_length = Some(value),
            Some(first) if first == value => self.faults.add(Fault::RepeatedHeader),
            Some(_) => self.faults.add(Fault::ContentLengthConflict),
        }
    }

    fn accept(&mut self, value: &str) {
        let takes_sdp = |accepted: &str| {
            is_one_of(
                media_type(accepted),
                &["application/sdp", "application/*", "*/*"],
            )
        };
        self.seen |= Header::Accept.bit();
        self.accepts_sdp |= Split::list(value).any(takes_sdp);
    }

    fn via(&mut self, value: &'a str) {
        self.separators(value);
        for via in Split::list(value) {
            self.top_via.get_or_insert(via);
            let sent_by = trim(cut_at_byte(via, b';').0);
            let host = sent_by.split_ascii_whitespace().next_back().unwrap_or("");
            let host = cut_at_byte(host, b':').0;
            self.faults
                .add_if(host == "255.255.255.255", Fault::BroadcastVia);
        }
    }

    fn contacts(&mut self, value: &str) {
        self.separators(value);
        for contact in Split::list(value) {
            let params = self.name_addr(contact);
            let expires = (!params.is_empty()).then(|| param(params, "expires"));
            let unreadable = expires
                .flatten()
                .is_some_and(|expires| !is_number_to(expires, MAX_U32));
            self.faults.add_if(unreadable, Fault::ExpiresOutOfRange);
        }
    }

    fn address(&mut self, value: &str) {
        self.separators(value);
        self.name_addr(value);
    }

    fn separators(&mut self, value: &str) {
        self.faults
            .add_if(has_empty_part(value), Fault::ExtraneousSeparators);
    }

    /// Looks at a display name and a URI; gives the parameters behind them.
    fn name_addr<'v>(&mut self, value: &'v str) -> &'v str {
        let (name, rest) = match value.strip_prefix('"') {
            None => match find_unquoted(value, b'<') {
                Some(at) => cut(value, at),
                None => return self.bare_address(value),
            },
            Some(inside) => {
                let Some(end) = closing_quote(inside.as_bytes()) else {
                    self.faults.add(Fault::UnterminatedQuote);
                    return "";
                };
                let rest = cut(inside, end + 1).1;
                let Some(at) = memchr(b'<', rest.as_bytes()) else {
                    self.faults.add(Fault::UriNotEnclosed);
                    return "";
                };
                let (between, rest) = cut(rest, at);
                self.faults
                    .add_if(!trim(between).is_empty(), Fault::DisplayNameUnquoted);
                ("", rest)
            }
        };
        let is_plain = |byte: u8| is_token_byte(byte) || byte.is_ascii_whitespace();
        self.faults
            .add_if(!name.bytes().all(is_plain), Fault::DisplayNameUnquoted);
        let inside = cut(rest, 1).1;
        let Some(end) = memchr(b'>', inside.as_bytes()) else {
            self.faults.add(Fault::UriNotEnclosed);
            return "";
        };
        let (uri, params) = cut(inside, end);
        self.uri(uri);
        cut(params, 1).1
    }

    /// A URI without `<>`, behind which only parameters of the header may come (RFC 3261 section 20.10).
    fn bare_address<'v>(&mut self, value: &'v str) -> &'v str {
        let (uri, params) = cut_at_byte(value, b';');
        let uri = trim(uri);
        if uri == "*" {
            return params;
        }
        let is_open = uri.bytes().any(|byte| matches!(byte, b'?' | b','));
        self.faults.add_if(is_open, Fault::UriNotEnclosed);
        self.uri(uri);
        params
    }

    fn uri(&mut self, uri: &str) {
        self.faults
            .add_if(has_blank(uri), Fault::WhitespaceInAddress);
        self.faults
            .add_if(!has_known_scheme(uri), Fault::AddressSchemeUnknown);
    }

    /// Headers that every message has (RFC 3261 section 8.1.1). Of a head that was cut nobody knows.
    fn missing(&mut self) {
        if !self.message.head_complete() || self.message.dropped_headers() > 0 {
            return;
        }
        for (header, fault) in [
            (Header::CallId, Fault::MissingCallId),
            (Header::From, Fault::MissingFrom),
            (Header::To, Fault::MissingTo),
            (Header::Cseq, Fault::MissingCseq),
            (Header::Via, Fault::MissingVia),
        ] {
            self.faults.add_if(!self.has_seen(header), fault);
        }
    }

    /// What several headers say together, and the body.
    fn whole(&mut self) {
        let message = self.message;
        self.faults.add_if(
            message.missing_body_bytes() > 0,
            Fault::BodyShorterThanContentLength,
        );
        if let Some(via) = self.top_via {
            let branch = via_branch(via);
            let is_empty = branch.is_some_and(|branch| branch.eq_ignore_ascii_case(COOKIE));
            self.faults.add_if(is_empty, Fault::BranchEmpty);
            let is_old = self.is_request() && branch.is_none() && self.has_seen(Header::From);
            let has_tag = || NameAddr::parse(self.from).is_some_and(|from| from.tag().is_some());
            let is_old = is_old && !has_tag();
            self.faults.add_if(is_old, Fault::Rfc2543);
        }
        if self.is_invite {
            let refuses = self.has_seen(Header::Accept) && !self.accepts_sdp;
            self.faults.add_if(refuses, Fault::DescriptionNotAccepted);
            let kind = message.content_type().filter(|_| !message.body.is_empty());
            let unknown = kind.is_some_and(|kind| !may_hold_sdp(kind));
            self.faults.add_if(unknown, Fault::BodyTypeUnknown);
        }
    }
}

const MAX_U32: u64 = u32::MAX as u64;

/// How many digits a text begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Whether a text is a number and no larger than `limit`.
fn is_number_to(text: &str, limit: u64) -> bool {
    digits(text) == text.len() && text.parse::<u64>().is_ok_and(|number| number <= limit)
}

fn is_one_of(word: &str, known: &[&str]) -> bool {
    known.iter().any(|one| one.eq_ignore_ascii_case(word))
}

fn has_blank(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_whitespace())
}

fn may_hold_sdp(kind: &str) -> bool {
    let is_multipart = kind
        .split_at_checked(10)
        .is_some_and(|(main, _)| main.eq_ignore_ascii_case("multipart/"));
    is_multipart || kind.eq_ignore_ascii_case("application/sdp")
}

/// Whether a URI has a scheme that is looked for, or none.
fn has_known_scheme(uri: &str) -> bool {
    let is_plain_sip = |start: &str| start.eq_ignore_ascii_case("sip:");
    uri.split_at_checked(4)
        .is_some_and(|(start, _)| is_plain_sip(start))
        || Uri::parse(uri)
            .is_none_or(|uri| uri.scheme.is_empty() || is_one_of(uri.scheme, &SCHEMES))
}

/// Whether two separators have nothing between them, or nothing comes after the last, outside quotes and `<>`.
fn has_empty_part(value: &str) -> bool {
    let bytes = value.as_bytes();
    let (mut at, mut is_open) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let rest = bytes.get(at..).unwrap_or(&[]);
        let skipped = match byte {
            b';' | b',' if is_open => return true,
            b';' | b',' => {
                is_open = true;
                continue;
            }
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'"' => closing_quote(rest),
            b'<' => memchr(b'>', rest),
            _ => {
                is_open = false;
                continue;
            }
        };
        is_open = false;
        match skipped {
            Some(length) => at += length + 1,
            // It is told as what it is.
            None => return false,
        }
    }
    is_open
}

/// `Sat, 13 Nov 2010 23:29:00 GMT` (RFC 3261 section 20.17).
fn is_date(value: &str) -> bool {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    #[rustfmt::skip]
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let shaped = value.len() == 29
        && value
            .bytes()
            .zip(*b"aaa, 00 aaa 0000 00:00:00 GMT")
            .all(|(byte, like)| match like {
                b'0' => byte.is_ascii_digit(),
                b'a' => byte.is_ascii_alphabetic(),
                like => byte == like,
            });
    let part = |range| value.get(range).unwrap_or("");
    shaped && is_one_of(part(0..3), &DAYS) && is_one_of(part(8..11), &MONTHS)
}

#[cfg(test)]
#[path = "examine_tests.rs"]
mod tests;
