//! Session descriptions (RFC 8866) as offers and answers use them (RFC 3264): where media will be, and in what form.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::error::SdpError;
use super::sdp_reader;
use crate::base::Endpoint;

/// Media kept of one description, the first ones; later ones are counted in [`Sdp::dropped_media`].
pub const MAX_MEDIA: usize = 16;
/// Formats kept of one medium, the first ones; later ones are counted in [`Media::dropped_formats`].
pub const MAX_FORMATS: usize = 64;
/// ICE candidates kept of one medium, the first ones.
pub const MAX_CANDIDATES: usize = 8;
/// `a=crypto` lines kept of one medium, the first ones.
pub const MAX_CRYPTO: usize = 16;

/// A session description. What a medium inherits from the session level is already in the medium.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sdp<'a> {
    /// The id in the `o=` line.
    pub session_id: Option<&'a str>,
    /// The version in the `o=` line: another offer or answer with the same one changes nothing (RFC 3264 section 8).
    pub version: Option<u64>,
    /// The user in the `o=` line.
    pub origin_user: Option<&'a str>,
    /// The `s=` line.
    pub session_name: Option<&'a str>,
    /// The address of the `c=` line of the session; `None` when that is missing or names a host.
    pub address: Option<IpAddr>,
    pub direction: Direction,
    pub media: SmallVec<[Media<'a>; 2]>,
    pub dropped_media: usize,
}

/// One `m=` line and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    pub kind: MediaKind,
    /// Where the sender of the description wants to receive. 0: this medium is refused or ended; also for a port that is
    /// no number from 0 to 65535.
    pub port: u16,
    /// `2` in `m=audio 49170/2`, usually 1.
    pub port_count: u16,
    /// `RTP/AVP`, `UDP/TLS/RTP/SAVPF`, `udptl`, …, as sent.
    pub transport: &'a str,
    /// From the `c=` line of the medium, else of the session. `None` when that is missing or names a host.
    pub address: Option<IpAddr>,
    pub direction: Direction,
    /// In the order of preference. Empty when the transport is not RTP.
    pub formats: SmallVec<[Format<'a>; 8]>,
    pub dropped_formats: usize,
    pub ptime_ms: Option<u16>,
    /// Where RTCP goes, when it is not the port after RTP's (RFC 3605).
    pub rtcp: Option<(Option<IpAddr>, u16)>,
    /// RTP and RTCP may share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// `a=crypto` lines after the colon (RFC 4568).
    pub crypto: SmallVec<[&'a str; 1]>,
    /// RFC 5888.
    pub mid: Option<&'a str>,
    /// A fingerprint is there: SRTP is keyed by DTLS, out of a listener's reach (RFC 5763).
    pub dtls: bool,
    /// `a=zrtp-hash` is there: SRTP may be keyed by ZRTP, out of a listener's reach (RFC 6189 section 8).
    pub zrtp: bool,
    /// Other places where media may arrive (RFC 8839); UDP only.
    pub candidates: SmallVec<[IceCandidate; 1]>,
}

/// An address that ICE may choose. Component 1 is RTP, 2 RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IceCandidate {
    pub address: IpAddr,
    pub port: u16,
    pub component: u8,
}

/// A payload type and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format<'a> {
    /// From 0 to 127.
    pub payload_type: u8,
    /// From the rtpmap, else by RFC 3551; in any case, see [`Format::is`]. Empty for a dynamic type without rtpmap.
    pub encoding: &'a str,
    /// Never 0. 8000 (90000 for video) where nothing says otherwise.
    pub clock_rate_hz: u32,
    /// Never 0.
    pub channels: u8,
    /// Empty when there is none.
    pub fmtp: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    Audio,
    Video,
    Image,
    Other,
}

/// Seen from the sender of the description (RFC 8866 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    /// Whether the sender of the description may send media.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the sender of the description wants to receive media.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}

impl<'a> Sdp<'a> {
    /// Reads a body. Lines may end in CRLF or LF; unknown lines, lines that are not UTF-8 and missing `v=`, `s=`, `t=`
    /// are read around.
    ///
    /// # Errors
    /// When no line is a `v=`, `o=`, `c=` or `m=` line.
    pub fn parse(body: &'a [u8]) -> Result<Sdp<'a>, SdpError> {
        sdp_reader::read(body)
    }

    /// The media of that kind.
    pub fn media_of(&self, kind: MediaKind) -> impl Iterator<Item = &Media<'a>> {
        self.media.iter().filter(move |media| media.kind == kind)
    }
}

impl<'a> Media<'a> {
    /// Where the sender of the description wants to receive; `None` without an address, or at port 0.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let address = self.address?;
        (self.port != 0).then(|| Endpoint::new(address, self.port))
    }

    /// Where RTCP goes: `a=rtcp`, else RTP's own port when they share it, else the one after (RFC 3605).
    pub fn rtcp_endpoint(&self) -> Option<Endpoint> {
        let rtp = self.endpoint()?;
        match self.rtcp {
            Some((address, port)) => Some(Endpoint::new(address.unwrap_or(rtp.ip()), port)),
            None if self.rtcp_mux => Some(rtp),
            None => Some(rtp.with_port(rtp.port.checked_add(1)?)),
        }
    }

    /// The transport is RTP, plain or secured.
    pub fn is_rtp(&self) -> bool {
        is_rtp(self.transport)
    }

    /// The transport is SRTP (RFC 3711), whatever it is keyed by.
    pub fn is_srtp(&self) -> bool {
        let profile = self.transport.rsplit('/').next().unwrap_or("");
        profile.eq_ignore_ascii_case("SAVP") || profile.eq_ignore_ascii_case("SAVPF")
    }

    /// What a payload type means here.
    pub fn format(&self, payload_type: u8) -> Option<&Format<'a>> {
        self.formats
            .iter()
            .find(|format| format.payload_type == payload_type)
    }
}

impl Format<'_> {
    /// Whether the encoding is that one, in any case (RFC 4855 section 3).
    pub fn is(&self, encoding: &str) -> bool {
        self.encoding.eq_ignore_ascii_case(encoding)
    }
}

/// `RTP` is one of the words between slashes, in any case.
pub(super) fn is_rtp(transport: &str) -> bool {
    transport
        .split('/')
        .any(|word| word.eq_ignore_ascii_case("RTP"))
}

#[cfg(test)]
#[path = "sdp_tests.rs"]
mod tests;
