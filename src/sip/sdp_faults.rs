//! What can be wrong with a session description that is read all the same: counted, and nothing else.
//!
//! In: a body. Out: the classes of what is in it that RFC 8866 does not allow, or no offer or answer can mean (RFC 3264). One walk
//! over the lines, without memory of its own.

use std::net::IpAddr;

use super::scan::cut_at_byte;
use super::sdp::{MAX_FORMATS, MAX_MEDIA, is_rtp};

/// Audio is sampled no faster.
const MAX_AUDIO_CLOCK_HZ: u32 = 768_000;
/// More channels fit into no packet.
const MAX_CHANNELS: u32 = 64;

/// What is wrong with a session description, or cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SdpFault {
    /// Bytes that are no UTF-8 (RFC 8866 section 5).
    NotUtf8,
    /// A line that is not one small letter, `=` and text: cut short, empty, with blanks around the letter, or with a CR or NUL in it.
    LineMalformed,
    /// No `v=`, `o=` or `m=` line. RFC 8866 does not ask for the last; an offer without it offers nothing.
    LineMissing,
    /// An `m=` line without four words (section 5.14).
    MediaMalformed,
    /// A port that is no number from 0 to 65535.
    PortInvalid,
    /// A `c=` line that names no address of its type (section 5.7).
    AddressInvalid,
    /// A medium that is not refused, without a `c=` line.
    AddressMissing,
    /// A payload type of RTP that is no number from 0 to 127, or stands twice.
    PayloadTypeInvalid,
    /// `a=rtpmap` without a name, with a clock that is none, or with channels that are none (section 6.6).
    RtpmapInvalid,
    /// Another `a=rtpmap` for the same payload type.
    RtpmapRepeated,
    /// `a=rtpmap` or `a=fmtp` of a format that is not in its `m=` line.
    FormatNotInMedia,
    /// `a=ptime` or `a=maxptime` that is no time above 0 (section 6.4).
    PtimeInvalid,
    /// More media, or formats of one, than are read.
    TooMuch,
}

/// How many there are.
const COUNT: usize = 13;

/// Every class in the order of [`SdpFault`], with its name.
const TABLE: [(SdpFault, &str); COUNT] = [
    (SdpFault::NotUtf8, "not_utf8"),
    (SdpFault::LineMalformed, "line_malformed"),
    (SdpFault::LineMissing, "line_missing"),
    (SdpFault::MediaMalformed, "media_malformed"),
    (SdpFault::PortInvalid, "port_invalid"),
    (SdpFault::AddressInvalid, "address_invalid"),
    (SdpFault::AddressMissing, "address_missing"),
    (SdpFault::PayloadTypeInvalid, "payload_type_invalid"),
    (SdpFault::RtpmapInvalid, "rtpmap_invalid"),
    (SdpFault::RtpmapRepeated, "rtpmap_repeated"),
    (SdpFault::FormatNotInMedia, "format_not_in_media"),
    (SdpFault::PtimeInvalid, "ptime_invalid"),
    (SdpFault::TooMuch, "too_much"),
];

impl SdpFault {
    /// A name that stays what it is, in snake_case.
    pub fn name(self) -> &'static str {
        TABLE.get(self as usize).map_or("", |(_, name)| name)
    }
}

/// The faults of one description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SdpFaults(u16);

impl SdpFaults {
    /// Those of a body that is said to be a description.
    pub fn of(body: &[u8]) -> SdpFaults {
        let mut walk = Walk::default();
        let mut rest = body;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            walk.line(rest.get(..end).unwrap_or(rest));
            rest = rest.get(end + 1..).unwrap_or(&[]);
        }
        walk.line(rest);
        walk.finish()
    }

    pub fn contains(self, fault: SdpFault) -> bool {
        self.0 & (1 << fault as u8) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = SdpFault> {
        let all = TABLE.iter().map(|(fault, _)| *fault);
        all.filter(move |fault| self.contains(*fault))
    }

    fn add_if(&mut self, is_at_fault: bool, fault: SdpFault) {
        self.0 |= u16::from(is_at_fault) << fault as u8;
    }
}

/// How many descriptions had each fault. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SdpFaultCounts([u64; COUNT]);

impl SdpFaultCounts {
    /// Counts one description.
    pub fn add(&mut self, faults: SdpFaults) {
        for fault in faults.iter() {
            if let Some(count) = self.0.get_mut(fault as usize) {
                *count += 1;
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (SdpFault, u64)> {
        TABLE.iter().map(|(fault, _)| *fault).zip(self.0)
    }

    /// Names of those that there were.
    pub fn seen(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = self.iter().map(|(fault, count)| (fault.name(), count));
        named.filter(|(_, count)| *count > 0)
    }
}

/// What the walk over the lines has seen.
#[derive(Default)]
struct Walk {
    faults: SdpFaults,
    seen_version: bool,
    seen_origin: bool,
    media: usize,
    /// The session has a `c=` line; the medium read last has one of its own.
    session_address: bool,
    medium: Medium,
    /// An empty line: at the end it is none.
    blank: bool,
}

/// The medium read last.
#[derive(Default)]
struct Medium {
    is_rtp: bool,
    is_audio: bool,
    is_refused: bool,
    address: bool,
    /// A bit for each payload type of its line, and for each that was mapped.
    formats: u128,
    mapped: u128,
}

impl Walk {
    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.blank = true;
            return;
        }
        let odd = line.contains(&b'\r') || line.contains(&0);
        let malformed = odd || self.blank || !matches!(line, [b'a'..=b'z', b'=', ..]);
        self.faults.add_if(malformed, SdpFault::LineMalformed);
        self.blank = false;
        let Ok(text) = std::str::from_utf8(line) else {
            self.faults.add_if(true, SdpFault::NotUtf8);
            return;
        };
        let (kind, value) = cut_at_byte(text, b'=');
        match kind.trim() {
            "v" => self.seen_version = true,
            "o" => self.seen_origin = true,
            "c" => self.connection(value),
            "m" => self.media(value),
            "a" => self.attribute(value),
            _ => {}
        }
    }

    fn connection(&mut self, value: &str) {
        self.faults
            .add_if(!is_connection(value), SdpFault::AddressInvalid);
        match self.media {
            0 => self.session_address = true,
            _ => self.medium.address = true,
        }
    }

    fn media(&mut self, value: &str) {
        self.close_medium();
        self.media += 1;
        self.faults
            .add_if(self.media > MAX_MEDIA, SdpFault::TooMuch);
        let mut words = value.split_ascii_whitespace();
        let kind = words.next().unwrap_or("");
        let port = cut_at_byte(words.next().unwrap_or(""), b'/').0;
        let transport = words.next().unwrap_or("");
        let port: Option<u16> = port.parse().ok();
        self.faults.add_if(port.is_none(), SdpFault::PortInvalid);
        self.medium = Medium {
            is_rtp: is_rtp(transport),
            is_audio: kind.eq_ignore_ascii_case("audio"),
            is_refused: port == Some(0),
            ..Medium::default()
        };
        let mut formats = 0;
        for word in words {
            formats += 1;
            self.format(word);
        }
        self.faults.add_if(formats == 0, SdpFault::MediaMalformed);
        self.faults.add_if(formats > MAX_FORMATS, SdpFault::TooMuch);
    }

    fn format(&mut self, word: &str) {
        if self.medium.is_rtp {
            let bit = bit(word).unwrap_or(0);
            let is_new = self.medium.formats & bit == 0 && bit != 0;
            self.faults.add_if(!is_new, SdpFault::PayloadTypeInvalid);
            self.medium.formats |= bit;
        }
    }

    fn attribute(&mut self, value: &str) {
        let (name, value) = cut_at_byte(value.trim(), b':');
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("ptime") || is("maxptime") {
            let ms: Option<f32> = value.trim().parse().ok();
            let is_time = ms.is_some_and(|ms| ms > 0.0 && ms.is_finite());
            self.faults.add_if(!is_time, SdpFault::PtimeInvalid);
        } else if self.media > 0 && self.medium.is_rtp && (is("rtpmap") || is("fmtp")) {
            let value = value.trim();
            let (number, rest) = value
                .split_once(|c: char| c.is_ascii_whitespace())
                .unwrap_or((value, ""));
            let bit = bit(number).unwrap_or(0);
            self.faults
                .add_if(self.medium.formats & bit == 0, SdpFault::FormatNotInMedia);
            if is("rtpmap") {
                let again = self.medium.mapped & bit != 0;
                self.faults.add_if(again, SdpFault::RtpmapRepeated);
                self.medium.mapped |= bit;
                let is_map = is_rtpmap(rest.trim(), self.medium.is_audio);
                self.faults.add_if(!is_map, SdpFault::RtpmapInvalid);
            }
        }
    }

    fn close_medium(&mut self) {
        let lacks = self.media > 0
            && !self.medium.is_refused
            && !self.medium.address
            && !self.session_address;
        self.faults.add_if(lacks, SdpFault::AddressMissing);
    }

    fn finish(mut self) -> SdpFaults {
        self.close_medium();
        let complete = self.seen_version && self.seen_origin && self.media > 0;
        self.faults.add_if(!complete, SdpFault::LineMissing);
        self.faults
    }
}

/// The bit of a payload type; `None`: it is none.
fn bit(word: &str) -> Option<u128> {
    let number: u32 = word.parse().ok()?;
    1u128.checked_shl(number)
}

/// `IN IP4 10.0.0.1`, with a host's name, or with what multicast has behind a slash.
fn is_connection(value: &str) -> bool {
    let mut words = value.split_ascii_whitespace();
    let (net, kind, address) = (words.next(), words.next(), words.next());
    let (Some("IN"), Some(kind @ ("IP4" | "IP6")), Some(address)) = (net, kind, address) else {
        return false;
    };
    let address = cut_at_byte(address, b'/').0;
    match address.parse() {
        Ok(IpAddr::V4(_)) => kind == "IP4",
        Ok(IpAddr::V6(_)) => kind == "IP6",
        // A name has letters, and its last label does not begin with a digit.
        Err(_) => {
            let is_part =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            let last = address.trim_end_matches('.').rsplit('.').next();
            address.bytes().all(is_part)
                && last.is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()))
        }
    }
}

/// `opus/48000/2`.
fn is_rtpmap(map: &str, is_audio: bool) -> bool {
    let (encoding, rest) = cut_at_byte(map, b'/');
    let (clock, channels) = cut_at_byte(rest, b'/');
    let clock = clock.trim().parse().ok();
    let highest = if is_audio {
        MAX_AUDIO_CLOCK_HZ
    } else {
        u32::MAX
    };
    let is_clock = clock.is_some_and(|clock: u32| (1..=highest).contains(&clock));
    let are_channels = |channels: &str| {
        let channels = channels.trim().parse().ok();
        channels.is_some_and(|channels: u32| (1..=MAX_CHANNELS).contains(&channels))
    };
    let more = rest.contains('/');
    !encoding.is_empty() && is_clock && (!more || !is_audio || are_channels(channels))
}

#[cfg(test)]
#[path = "sdp_faults_tests.rs"]
mod tests;
