//! Reads a session description line by line.

use std::net::IpAddr;

use memchr::memchr;
use smallvec::SmallVec;

use super::error::SdpError;
use super::scan::{cut_at_byte, leading_number, trim};
use super::sdp::{
    Direction, Format, IceCandidate, MAX_CANDIDATES, MAX_CRYPTO, MAX_FORMATS, MAX_MEDIA, Media,
    MediaKind, Sdp, is_rtp,
};
use super::sdp_static::static_payload_type;

/// See [`Sdp::parse`].
pub(super) fn read(body: &[u8]) -> Result<Sdp<'_>, SdpError> {
    let mut reader = Reader::default();
    match std::str::from_utf8(body) {
        Ok(text) => reader.read_all(text),
        Err(_) => body
            .split(|&byte| byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok())
            .for_each(|line| reader.read_all(line)),
    }
    if reader.recognised {
        return Ok(reader.finish());
    }
    if body.trim_ascii().is_empty() {
        return Err(SdpError::Empty);
    }
    Err(SdpError::NoSdpLines { length: body.len() })
}

/// What is known so far, line by line.
#[derive(Default)]
struct Reader<'a> {
    sdp: Sdp<'a>,
    recognised: bool,
    session_connection: Option<Option<IpAddr>>,
    session_dtls: bool,
    session_zrtp: bool,
    /// What the medium read last says for itself.
    connection: Option<Option<IpAddr>>,
    direction: Option<Direction>,
    /// The medium read last is past the cap.
    ignoring: bool,
}

impl<'a> Reader<'a> {
    fn read_all(&mut self, mut text: &'a str) {
        while !text.is_empty() {
            let (line, rest) = cut_at_byte(text, b'\n');
            self.read_line(line);
            text = rest;
        }
    }

    fn read_line(&mut self, line: &'a str) {
        let line = trim(line);
        let (kind, value) = cut_at_byte(line, b'=');
        let value = trim(value);
        match trim(kind).as_bytes() {
            b"v" => self.recognised = true,
            b"o" => self.read_origin(value),
            b"s" if self.sdp.media.is_empty() => self.sdp.session_name = Some(value),
            b"c" => self.read_connection(value),
            b"m" => self.read_media(value),
            b"a" if !self.ignoring => self.read_attribute(value),
            _ => {}
        }
    }

    /// `alice 2890844526 2890844527 IN IP4 10.0.0.1`.
    fn read_origin(&mut self, value: &'a str) {
        let mut words = value.split_ascii_whitespace();
        self.recognised = true;
        self.sdp.origin_user = words.next();
        self.sdp.session_id = words.next();
        self.sdp.version = words.next().and_then(|word| word.parse().ok());
    }

    fn read_connection(&mut self, value: &str) {
        self.recognised = true;
        let level = match (self.ignoring, self.sdp.media.is_empty()) {
            (true, _) => return,
            (false, true) => &mut self.session_connection,
            (false, false) => &mut self.connection,
        };
        level.get_or_insert(parse_connection(value));
    }

    fn read_media(&mut self, value: &'a str) {
        self.recognised = true;
        self.close_media();
        self.ignoring = self.sdp.media.len() >= MAX_MEDIA;
        if self.ignoring {
            self.sdp.dropped_media += 1;
        } else {
            self.sdp.media.push(Media::parse(value));
        }
    }

    /// Gives the medium read last what it inherits. Once a medium is past the cap, the last one kept is closed already.
    fn close_media(&mut self) {
        let connection = self.connection.take().or(self.session_connection);
        let direction = self.direction.take().unwrap_or(self.sdp.direction);
        if self.ignoring {
            return;
        }
        if let Some(media) = self.sdp.media.last_mut() {
            media.address = connection.flatten();
            media.direction = direction;
            media.dtls |= self.session_dtls;
            media.zrtp |= self.session_zrtp;
        }
    }

    fn read_attribute(&mut self, attribute: &'a str) {
        let (name, value) = cut_at_byte(attribute, b':');
        let (name, value) = (trim(name), trim(value));
        if let Some(direction) = parse_direction(name) {
            match self.sdp.media.is_empty() {
                true => self.sdp.direction = direction,
                false => self.direction = Some(direction),
            }
            return;
        }
        match self.sdp.media.last_mut() {
            Some(media) => read_media_attribute(media, name, value),
            None if name.eq_ignore_ascii_case("fingerprint") => self.session_dtls = true,
            None if name.eq_ignore_ascii_case("zrtp-hash") => self.session_zrtp = true,
            None => {}
        }
    }

    fn finish(mut self) -> Sdp<'a> {
        self.close_media();
        self.sdp.address = self.session_connection.flatten();
        self.sdp
    }
}

impl<'a> Media<'a> {
    /// Reads what follows `m=`.
    fn parse(value: &'a str) -> Media<'a> {
        let mut words = value.split_ascii_whitespace();
        let kind = MediaKind::from_token(words.next().unwrap_or(""));
        let (port, count) = cut_at_byte(words.next().unwrap_or(""), b'/');
        let transport = words.next().unwrap_or("");
        let mut media = Media {
            kind,
            port: port.parse().unwrap_or(0),
            port_count: count.parse().unwrap_or(1),
            transport,
            address: None,
            direction: Direction::SendRecv,
            formats: SmallVec::new(),
            dropped_formats: 0,
            ptime_ms: None,
            rtcp: None,
            rtcp_mux: false,
            crypto: SmallVec::new(),
            mid: None,
            dtls: false,
            zrtp: false,
            candidates: SmallVec::new(),
        };
        if is_rtp(transport) {
            words.for_each(|word| media.add_format(word));
        }
        media
    }

    fn add_format(&mut self, word: &str) {
        let Some(payload_type) = word.parse().ok().filter(|&number: &u8| number < 128) else {
            self.dropped_formats += 1;
            return;
        };
        if self.format(payload_type).is_some() {
            return;
        }
        if self.formats.len() >= MAX_FORMATS {
            self.dropped_formats += 1;
            return;
        }
        let usual = ("", self.usual_clock_hz(), 1);
        let (encoding, clock_rate_hz, channels) =
            static_payload_type(payload_type).unwrap_or(usual);
        self.formats.push(Format {
            payload_type,
            encoding,
            clock_rate_hz,
            channels,
            fmtp: "",
        });
    }

    fn usual_clock_hz(&self) -> u32 {
        match self.kind {
            MediaKind::Video => 90000,
            _ => 8000,
        }
    }

    /// `97 opus/48000/2`. The clock is left out by some senders.
    fn read_rtpmap(&mut self, value: &'a str) {
        let usual = self.usual_clock_hz();
        let (format, rest) = self.format_of(value);
        let (encoding, rest) = cut_at_byte(rest, b'/');
        let (clock, channels) = cut_at_byte(rest, b'/');
        if let Some(format) = format.filter(|_| !encoding.is_empty()) {
            format.encoding = trim(encoding);
            format.clock_rate_hz = leading_number(clock).filter(|&hz| hz > 0).unwrap_or(usual);
            format.channels = leading_number(channels)
                .and_then(|count| u8::try_from(count).ok())
                .filter(|&count| count > 0)
                .unwrap_or(1);
        }
    }

    fn read_fmtp(&mut self, value: &'a str) {
        let (format, rest) = self.format_of(value);
        if let Some(format) = format.filter(|format| format.fmtp.is_empty()) {
            format.fmtp = rest;
        }
    }

    /// The format that an attribute is about, and the rest of the attribute.
    fn format_of(&mut self, value: &'a str) -> (Option<&mut Format<'a>>, &'a str) {
        let (number, rest) = value
            .split_once(|c: char| c.is_ascii_whitespace())
            .unwrap_or((value, ""));
        let format = number.parse().ok().and_then(|payload_type: u8| {
            self.formats
                .iter_mut()
                .find(|format| format.payload_type == payload_type)
        });
        (format, trim(rest))
    }

    /// `1 1 udp 2130706431 10.0.0.1 49170 typ host` (RFC 8839 section 5.1).
    fn read_candidate(&mut self, value: &str) {
        if self.candidates.len() < MAX_CANDIDATES {
            self.candidates.extend(parse_candidate(value));
        }
    }
}

impl MediaKind {
    fn from_token(token: &str) -> MediaKind {
        match token {
            _ if token.eq_ignore_ascii_case("audio") => MediaKind::Audio,
            _ if token.eq_ignore_ascii_case("video") => MediaKind::Video,
            _ if token.eq_ignore_ascii_case("image") => MediaKind::Image,
            _ => MediaKind::Other,
        }
    }
}

fn read_media_attribute<'a>(media: &mut Media<'a>, name: &str, value: &'a str) {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is("rtpmap") {
        media.read_rtpmap(value);
    } else if is("fmtp") {
        media.read_fmtp(value);
    } else if is("ptime") {
        media.ptime_ms = leading_number(value).and_then(|ms| u16::try_from(ms).ok());
    } else if is("rtcp") {
        media.rtcp = parse_rtcp(value);
    } else if is("rtcp-mux") {
        media.rtcp_mux = true;
    } else if is("crypto") && media.crypto.len() < MAX_CRYPTO {
        media.crypto.push(value);
    } else if is("candidate") {
        media.read_candidate(value);
    } else if is("mid") {
        media.mid = Some(value);
    } else if is("fingerprint") {
        media.dtls = true;
    } else if is("zrtp-hash") {
        media.zrtp = true;
    }
}

fn parse_direction(name: &str) -> Option<Direction> {
    // All four are 8 letters long: other attributes are told apart by that alone.
    if name.len() != 8 {
        return None;
    }
    [
        ("sendrecv", Direction::SendRecv),
        ("sendonly", Direction::SendOnly),
        ("recvonly", Direction::RecvOnly),
        ("inactive", Direction::Inactive),
    ]
    .into_iter()
    .find_map(|(known, direction)| name.eq_ignore_ascii_case(known).then_some(direction))
}

/// `IN IP4 224.2.36.42/127`; the address family is left to the address itself.
fn parse_connection(value: &str) -> Option<IpAddr> {
    parse_address(value.split_ascii_whitespace().nth(2)?)
}

/// An address with or without a TTL and, for IPv6, brackets.
fn parse_address(word: &str) -> Option<IpAddr> {
    let address = match memchr(b'/', word.as_bytes()) {
        Some(_) => cut_at_byte(word, b'/').0,
        None => word,
    };
    address
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// `53020 IN IP4 10.0.0.1`, the address left out as a rule.
fn parse_rtcp(value: &str) -> Option<(Option<IpAddr>, u16)> {
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse().ok()?;
    Some((words.nth(2).and_then(parse_address), port))
}

fn parse_candidate(value: &str) -> Option<IceCandidate> {
    let mut words = value.split_ascii_whitespace().skip(1);
    let component = words.next()?.parse().ok()?;
    words
        .next()
        .filter(|word| word.eq_ignore_ascii_case("udp"))?;
    let address = parse_address(words.nth(1)?)?;
    let port = words.next()?.parse().ok()?;
    Some(IceCandidate {
        address,
        port,
        component,
    })
}
