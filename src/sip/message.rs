//! A SIP message: start line, headers, body.

use std::borrow::Cow;

use memchr::{memchr, memrchr};

use super::error::ParseError;
use super::examine;
use super::faults::Faults;
use super::headers::{CSeq, Privacy, Replaces, SessionId, media_type, via_branch};
use super::method::Method;
use super::multipart;
use super::name_addr::NameAddr;
use super::scan::{cut, is_token, is_token_byte, leading_number, trim};
use super::table::HeaderTable;
use super::uri::Uri;

/// The longest method; 64 token bytes without a blank begin no request.
pub(super) const MAX_METHOD_BYTES: usize = 64;

/// A message as a view over its bytes. Headers are kept as text; each accessor reads the one that it is about.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    pub start: StartLine<'a>,
    /// As long as Content-Length says, or what there is of it.
    pub body: &'a [u8],
    /// The first line as it came, without its end.
    line: &'a str,
    method_token: &'a str,
    table: HeaderTable<'a>,
    missing_body_bytes: usize,
}

/// What a message is (RFC 3261 section 7.1 and 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    Request {
        method: Method,
        uri: &'a str,
    },
    /// Status from 100 to 699; the reason may be empty.
    Response {
        status: u16,
        reason: &'a str,
    },
}

impl<'a> Message<'a> {
    /// Reads a message from bytes that went through [`decode_head`]. Bytes after the end that Content-Length gives are
    /// ignored; without Content-Length the body is all there is (RFC 3261 section 18.3).
    ///
    /// # Errors
    /// Only when there is no start line of SIP/2.0, or the head is not UTF-8.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let length = bytes.len();
        let bytes = skip_line_ends(bytes);
        if bytes.is_empty() {
            return Err(ParseError::Empty { length });
        }
        let head = bytes.get(..head_length(bytes)).unwrap_or(bytes);
        let head = std::str::from_utf8(head).map_err(|error| ParseError::NotUtf8 {
            length,
            at: error.valid_up_to(),
        })?;
        let line_end = memchr(b'\n', head.as_bytes()).map_or(head.len(), |at| at + 1);
        let (line, rest) = cut(head, line_end);
        let (start, method_token) = parse_start_line(trim(line), length)?;
        let (table, _) = HeaderTable::parse(rest);
        let available = bytes.get(head.len()..).unwrap_or(&[]);
        let declared = content_length(&table);
        Ok(Message {
            start,
            body: declared
                .and_then(|declared| available.get(..declared))
                .unwrap_or(available),
            line: line.trim_end_matches(['\r', '\n']),
            method_token,
            table,
            missing_body_bytes: declared.map_or(0, |wanted| wanted.saturating_sub(available.len())),
        })
    }

    /// The first value of a header, by its long or compact name in any case; folding left in, see
    /// [`unfold`](super::unfold). Of a header that may stand once, the first counts.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.table.first(name)
    }

    /// Every value of a header over all its lines; comma lists are split, except for headers that are no lists (From,
    /// To, Subject, Authorization, …).
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.table.values(name)
    }

    /// All headers as they came: long name, value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.table.iter().map(|line| (line.name, line.value))
    }

    /// The method's token as sent; empty for a response.
    pub fn method_token(&self) -> &'a str {
        self.method_token
    }

    pub fn call_id(&self) -> Option<&'a str> {
        self.header("Call-ID").filter(|value| !value.is_empty())
    }

    pub fn from(&self) -> Option<NameAddr<'a>> {
        NameAddr::parse(self.header("From")?)
    }

    pub fn to(&self) -> Option<NameAddr<'a>> {
        NameAddr::parse(self.header("To")?)
    }

    pub fn cseq(&self) -> Option<CSeq> {
        CSeq::parse(self.header("CSeq")?)
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> Option<&'a str> {
        via_branch(self.header_values("Via").next()?)
    }

    /// The first Contact; `None` also for `*`.
    pub fn contact(&self) -> Option<NameAddr<'a>> {
        self.addresses("Contact").next()
    }

    /// `None` for a response.
    pub fn request_uri(&self) -> Option<Uri<'a>> {
        match self.start {
            StartLine::Request { uri, .. } => Uri::parse(uri),
            StartLine::Response { .. } => None,
        }
    }

    /// Every address in a header: P-Asserted-Identity (RFC 3325), Remote-Party-ID, Diversion (RFC 5806), History-Info
    /// (RFC 7044), Refer-To, Referred-By, …
    pub fn addresses(&self, name: &str) -> impl Iterator<Item = NameAddr<'a>> {
        self.header_values(name).filter_map(NameAddr::parse)
    }

    /// The session description: the body, or the first such part of a multipart body. A body without Content-Type
    /// counts when it begins with `v=0`.
    pub fn sdp(&self) -> Option<&'a [u8]> {
        multipart::find_sdp(self.header("Content-Type"), self.body)
    }

    /// The type of the body, without parameters.
    pub fn content_type(&self) -> Option<&'a str> {
        self.header("Content-Type").map(media_type)
    }

    /// The dialog that this INVITE is to take the place of (RFC 3891).
    pub fn replaces(&self) -> Option<Replaces<'a>> {
        Replaces::parse(self.header("Replaces")?)
    }

    /// RFC 7989.
    pub fn session_id(&self) -> Option<SessionId<'a>> {
        SessionId::parse(self.header("Session-ID")?)
    }

    /// How long the session lives without a refresh, in seconds (RFC 4028 section 4).
    pub fn session_expires_seconds(&self) -> Option<u32> {
        leading_number(self.header("Session-Expires")?)
    }

    /// `None` when the header is missing (RFC 3323).
    pub fn privacy(&self) -> Option<Privacy> {
        self.header("Privacy").map(Privacy::parse)
    }

    /// Lines among the headers that are none: skipped.
    pub fn junk_lines(&self) -> usize {
        self.table.junk_lines
    }

    /// Headers past [`MAX_HEADERS`](super::MAX_HEADERS): skipped.
    pub fn dropped_headers(&self) -> usize {
        self.table.dropped
    }

    /// The empty line after the headers was there: the head is whole.
    pub fn head_complete(&self) -> bool {
        self.table.complete
    }

    /// Bytes that Content-Length promises and the datagram lacks.
    pub fn missing_body_bytes(&self) -> usize {
        self.missing_body_bytes
    }

    /// What is wrong with the message, or odd about it, though it was read.
    pub fn faults(&self) -> Faults {
        examine::faults(self)
    }

    pub(super) fn line(&self) -> &'a str {
        self.line
    }
}

/// Content-Length, if it is a number.
pub(super) fn content_length(table: &HeaderTable<'_>) -> Option<usize> {
    let value = table.first("Content-Length")?;
    value
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    value.parse().ok()
}

/// Whether bytes look like the start of a SIP message: a method and a blank, or `SIP/2.0 `; line ends before it are
/// allowed. When the first line is whole it must also name the protocol, which tells SIP from HTTP and RTSP; when it is
/// not, the method must be a known one. Another version than 2.0 is SIP too, which nobody can read.
pub fn looks_like_sip(bytes: &[u8]) -> bool {
    let bytes = skip_line_ends(bytes);
    if bytes.starts_with(b"SIP/") {
        return bytes.starts_with(b"SIP/2.0 ") || is_status_line(bytes);
    }
    let start = bytes.get(..MAX_METHOD_BYTES).unwrap_or(bytes);
    let Some(blank) = start.iter().position(|&byte| !is_token_byte(byte)) else {
        return false;
    };
    if blank == 0 || bytes.get(blank) != Some(&b' ') {
        return false;
    }
    match memchr(b'\n', bytes) {
        Some(end) => bytes.get(..end).and_then(version_of_request).is_some(),
        None => {
            let is_begun = |method: &Method| bytes.get(..blank) == Some(method.name().as_bytes());
            Method::KNOWN.iter().any(is_begun)
        }
    }
}

/// A datagram whose head is UTF-8, whatever it was sent in: borrowed when it is already, else with each byte of the
/// head above 127 read as Latin-1. The body stays as it is.
pub fn decode_head(datagram: &[u8]) -> Cow<'_, [u8]> {
    let leading = datagram.len() - skip_line_ends(datagram).len();
    let unled = datagram.get(leading..).unwrap_or(&[]);
    let (head, body) = datagram
        .split_at_checked(leading + head_length(unled))
        .unwrap_or((datagram, &[]));
    let Err(error) = std::str::from_utf8(head) else {
        return Cow::Borrowed(datagram);
    };
    let valid = error.valid_up_to();
    if error.error_len().is_none() && body.is_empty() {
        // The datagram was cut inside a character.
        return Cow::Borrowed(datagram.get(..valid).unwrap_or(datagram));
    }
    let mut decoded = Vec::with_capacity(datagram.len() + 64);
    for &byte in head {
        let character = char::from(byte);
        decoded.extend_from_slice(character.encode_utf8(&mut [0; 2]).as_bytes());
    }
    decoded.extend_from_slice(body);
    Cow::Owned(decoded)
}

/// The bytes after keep-alive line ends.
pub(super) fn skip_line_ends(bytes: &[u8]) -> &[u8] {
    let from = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(bytes.len());
    bytes.get(from..).unwrap_or(&[])
}

/// The length of start line and headers with the empty line after them; all of it when that line is missing. The
/// first line is not empty.
pub(super) fn head_length(bytes: &[u8]) -> usize {
    let mut from = 0;
    while let Some(rest) = bytes.get(from..) {
        let Some(length) = memchr(b'\n', rest) else {
            break;
        };
        from += length + 1;
        match bytes.get(from..) {
            Some([b'\n', ..]) => return from + 1,
            Some([b'\r', b'\n', ..]) => return from + 2,
            _ => {}
        }
    }
    bytes.len()
}

/// Reads the trimmed first line; gives the method's token besides.
fn parse_start_line(line: &str, length: usize) -> Result<(StartLine<'_>, &str), ParseError> {
    if let Some(rest) = strip_version(line) {
        return parse_status_line(rest, length).map(|start| (start, ""));
    }
    if is_status_line(line.as_bytes()) {
        return Err(ParseError::Version { length });
    }
    let Some((method, uri, version)) = request_parts(line) else {
        return Err(ParseError::StartLine { length });
    };
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(ParseError::Version { length });
    }
    let start = StartLine::Request {
        method: Method::from_token(method),
        uri,
    };
    Ok((start, method))
}

/// What follows `SIP/2.0 ` in a status line.
fn strip_version(line: &str) -> Option<&str> {
    let (version, rest) = line.split_at_checked(7)?;
    let is_version = version.eq_ignore_ascii_case("SIP/2.0");
    (is_version && rest.starts_with([' ', '\t'])).then_some(rest)
}

fn parse_status_line(rest: &str, length: usize) -> Result<StartLine<'_>, ParseError> {
    let rest = trim(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (status, reason) = cut(rest, digits);
    match status.parse() {
        Ok(status @ 100..=699) => Ok(StartLine::Response {
            status,
            reason: trim(reason),
        }),
        _ => Err(ParseError::Status { length }),
    }
}

/// Method, URI and version of a request line: the first word, the last, and what is between, whatever blanks that has
/// inside. `None` when the first is no token or the last does not begin with `SIP/`.
fn request_parts(line: &str) -> Option<(&str, &str, &str)> {
    let bytes = line.as_bytes();
    let method_end = bytes.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
    let (method, rest) = cut(line, method_end);
    let rest = trim(rest);
    let blank = memrchr(b' ', rest.as_bytes()).or_else(|| memrchr(b'\t', rest.as_bytes()))?;
    let (uri, version) = cut(rest, blank);
    let version = trim(version);
    let is_sip = version
        .split_at_checked(4)
        .is_some_and(|(name, _)| name.eq_ignore_ascii_case("SIP/"));
    (is_token(method.as_bytes()) && is_sip).then(|| (method, trim(uri), version))
}

/// The version that a request line of SIP names, without its end. Bytes that are not ASCII may be in the URI.
fn version_of_request(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii();
    let (head, version) = line.split_at_checked(memrchr(b' ', line)? + 1)?;
    let method_end = head.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
    let method = head.get(..method_end)?;
    let has_uri = head.trim_ascii().len() > method.len();
    let is_sip = version
        .get(..4)
        .is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"));
    (has_uri && is_sip && is_token(method)).then_some(version)
}

/// Whether a line without its end is a request line of SIP/2.0.
fn is_request_line(line: &[u8]) -> bool {
    version_of_request(line).is_some_and(|version| version.eq_ignore_ascii_case(b"SIP/2.0"))
}

/// Whether a text begins like a status line of SIP, of whichever version and status: `SIP/3.0 2`.
fn is_status_line(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"SIP/") else {
        return false;
    };
    let version = rest
        .iter()
        .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
        .count();
    let (blank, status) = (rest.get(version), rest.get(version + 1));
    (1..8).contains(&version) && blank == Some(&b' ') && status.is_some_and(u8::is_ascii_digit)
}

/// Whether a whole line without its end starts a message that is refused: of another version, or of a status that is none.
pub(super) fn is_refused_start_line(line: &[u8]) -> bool {
    is_status_line(line) || version_of_request(line).is_some()
}

/// Whether a whole line without its end can start a message.
pub(super) fn is_start_line(line: &[u8]) -> bool {
    match line.split_first_chunk::<8>() {
        Some((b"SIP/2.0 ", rest)) => {
            let rest = rest.trim_ascii();
            rest.iter().take_while(|byte| byte.is_ascii_digit()).count() == 3
        }
        _ => is_request_line(line),
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
