//! The Homer Encapsulation Protocol: packets that an agent somewhere else has seen, each with its addresses.
//!
//! Version 3 (EEP/HEP3, revision 12): `HEP3`, the length of all, then chunks of vendor, type, length and content. Versions
//! 1 and 2: a fixed header. Whatever lies about its length is refused; a chunk that is unknown is skipped.

use std::time::Duration;

use flate2::{Decompress, FlushDecompress};

use crate::base::{Endpoint, Timestamp};

/// What a HEP packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hep<'a> {
    pub source: Endpoint,
    pub destination: Endpoint,
    /// By the agent's clock, in version 3.
    pub time: Option<Timestamp>,
    pub content: HepContent,
    /// Number of the agent; 0 in version 1, which has none.
    pub agent: u32,
    /// The password of the agent, in version 3.
    pub auth_key: Option<&'a [u8]>,
    /// The call that the agent says it belongs to.
    pub correlation_id: Option<&'a [u8]>,
    payload: &'a [u8],
    compressed: bool,
}

/// What the payload is, as the agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HepContent {
    Sip,
    Rtp,
    /// As it was sent, or as JSON that an agent made of it.
    Rtcp,
    /// Logs, quality reports and other protocols.
    Other(u8),
}

/// Why bytes are no HEP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HepError {
    #[error("it does not begin like HEP")]
    Unknown,
    #[error("it is shorter than it says")]
    Cut,
    #[error("the length of a chunk contradicts that of the packet")]
    Chunk,
    #[error("it has no addresses or no payload")]
    Incomplete,
}

/// `HEP3` and the length of all.
const HEAD: usize = 6;

/// A datagram's worth, which is what was seen.
const MAX_UNPACKED: usize = 65_535;

/// Whether bytes begin like HEP of any version.
pub fn looks_like_hep(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HEP3")
        || matches!(bytes, [1 | 2, 16 | 28 | 40 | 52, 2 | 10, 6 | 17 | 132, ..])
}

/// The length of the version 3 packet that `bytes` begin with, for streams. `None`: there are not enough bytes to say.
///
/// # Errors
///
/// It is none.
pub fn hep_length(bytes: &[u8]) -> Result<Option<usize>, HepError> {
    let (start, expected) = (bytes.get(..4).unwrap_or(bytes), b"HEP3");
    if !expected.starts_with(start) {
        return Err(HepError::Unknown);
    }
    match bytes.first_chunk::<HEAD>() {
        None => Ok(None),
        Some(&[.., high, low]) => match usize::from(u16::from_be_bytes([high, low])) {
            length if length < HEAD => Err(HepError::Chunk),
            length => Ok(Some(length)),
        },
    }
}

impl<'a> Hep<'a> {
    /// Reads one packet. Bytes after it are ignored.
    ///
    /// # Errors
    ///
    /// See [`HepError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Hep<'a>, HepError> {
        match hep_length(bytes) {
            Ok(Some(length)) => {
                let chunks = bytes.get(HEAD..length).ok_or(HepError::Cut)?;
                Chunks::read(chunks)?.into_packet()
            }
            Ok(None) => Err(HepError::Cut),
            Err(HepError::Unknown) if looks_like_hep(bytes) => old(bytes),
            Err(error) => Err(error),
        }
    }

    /// What was seen, where it is not packed.
    pub fn payload(&self) -> Option<&'a [u8]> {
        (!self.compressed).then_some(self.payload)
    }

    /// What was seen, unpacked (zlib, or gzip without a name). `None`: it is not packed like that, or is longer than any
    /// datagram.
    pub fn unpacked(&self) -> Option<Vec<u8>> {
        let (zlib, packed) = match self.payload {
            [0x1f, 0x8b, 8, 0, _, _, _, _, _, _, rest @ ..] => (false, rest),
            other => (true, other),
        };
        let mut unpacked = Vec::with_capacity(MAX_UNPACKED);
        let status = Decompress::new(zlib)
            .decompress_vec(packed, &mut unpacked, FlushDecompress::Finish)
            .ok()?;
        (status == flate2::Status::StreamEnd).then_some(unpacked)
    }

    /// When the packet passed the agent, `received` being when its report came: by the agent's clock, unless that is
    /// ahead, or more than `tolerance` behind.
    pub fn seen_at(&self, received: Timestamp, tolerance: Duration) -> Option<Timestamp> {
        self.time
            .filter(|time| *time <= received && received.since(*time) <= tolerance)
    }

    /// Whether the agent's clock and the receiver's are further apart than `tolerance`.
    pub fn clock_is_off(&self, received: Timestamp, tolerance: Duration) -> bool {
        self.time.is_some_and(|time| {
            let apart = received.as_nanos().abs_diff(time.as_nanos());
            u128::from(apart) > tolerance.as_nanos()
        })
    }
}

/// The chunks of version 3, as far as they are of use; of two of a kind the first.
#[derive(Default)]
struct Chunks<'a> {
    family: Option<u8>,
    protocol: Option<u8>,
    source_v4: Option<[u8; 4]>,
    destination_v4: Option<[u8; 4]>,
    source_v6: Option<[u8; 16]>,
    destination_v6: Option<[u8; 16]>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    seconds: Option<u32>,
    microseconds: Option<u32>,
    content: Option<u8>,
    agent: Option<u32>,
    auth_key: Option<&'a [u8]>,
    correlation_id: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
    compressed: Option<&'a [u8]>,
}

impl<'a> Chunks<'a> {
    fn read(mut bytes: &'a [u8]) -> Result<Chunks<'a>, HepError> {
        let mut chunks = Chunks::default();
        while !bytes.is_empty() {
            let Some((&[v0, v1, t0, t1, l0, l1], _)) = bytes.split_first_chunk::<6>() else {
                return Err(HepError::Chunk);
            };
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let content = bytes.get(6..length).ok_or(HepError::Chunk)?;
            // Vendors have chunks of their own; 0 is what all have.
            if [v0, v1] == [0, 0] {
                chunks.take(u16::from_be_bytes([t0, t1]), content)?;
            }
            bytes = bytes.get(length..).unwrap_or_default();
        }
        Ok(chunks)
    }

    fn take(&mut self, kind: u16, content: &'a [u8]) -> Result<(), HepError> {
        match kind {
            0x01 => number(&mut self.family, content, u8::from_be_bytes),
            0x02 => number(&mut self.protocol, content, u8::from_be_bytes),
            0x03 => number(&mut self.source_v4, content, |octets| octets),
            0x04 => number(&mut self.destination_v4, content, |octets| octets),
            0x05 => number(&mut self.source_v6, content, |octets| octets),
            0x06 => number(&mut self.destination_v6, content, |octets| octets),
            0x07 => number(&mut self.source_port, content, u16::from_be_bytes),
            0x08 => number(&mut self.destination_port, content, u16::from_be_bytes),
            0x09 => number(&mut self.seconds, content, u32::from_be_bytes),
            0x0a => number(&mut self.microseconds, content, u32::from_be_bytes),
            0x0b => number(&mut self.content, content, u8::from_be_bytes),
            0x0c => number(&mut self.agent, content, u32::from_be_bytes),
            0x0e => text(&mut self.auth_key, content),
            0x0f => text(&mut self.payload, content),
            0x10 => text(&mut self.compressed, content),
            0x11 => text(&mut self.correlation_id, content),
            _ => Ok(()),
        }
    }

    fn into_packet(self) -> Result<Hep<'a>, HepError> {
        let v4 = self.source_v4.zip(self.destination_v4);
        let v6 = self.source_v6.zip(self.destination_v6);
        // AF_INET is 2 everywhere; some agents leave the family out.
        let use_v4 = match self.family {
            Some(family) => family == 2,
            None => v4.is_some(),
        };
        let ports = self.source_port.zip(self.destination_port);
        let (source_port, destination_port) = ports.ok_or(HepError::Incomplete)?;
        let (source, destination) = match (use_v4, v4, v6) {
            (true, Some((source, destination)), _) => (
                Endpoint::v4(source, source_port),
                Endpoint::v4(destination, destination_port),
            ),
            (false, _, Some((source, destination))) => (
                Endpoint::v6(source, source_port),
                Endpoint::v6(destination, destination_port),
            ),
            _ => return Err(HepError::Incomplete),
        };
        let payload = self.payload.or(self.compressed);
        Ok(Hep {
            source,
            destination,
            time: self.seconds.map(|seconds| {
                let nanos = self.microseconds.unwrap_or(0).min(999_999) * 1000;
                Timestamp::from_secs_nanos(i64::from(seconds), i64::from(nanos))
            }),
            content: content_of(self.content.ok_or(HepError::Incomplete)?),
            agent: self.agent.unwrap_or(0),
            auth_key: self.auth_key,
            correlation_id: self.correlation_id,
            payload: payload.ok_or(HepError::Incomplete)?,
            compressed: self.payload.is_none(),
        })
    }
}

fn content_of(kind: u8) -> HepContent {
    match kind {
        1 => HepContent::Sip,
        4 => HepContent::Rtp,
        5 => HepContent::Rtcp,
        other => HepContent::Other(other),
    }
}

/// A chunk of a fixed length.
fn number<T, const N: usize>(
    place: &mut Option<T>,
    content: &[u8],
    read: impl FnOnce([u8; N]) -> T,
) -> Result<(), HepError> {
    let bytes = <[u8; N]>::try_from(content).map_err(|_| HepError::Chunk)?;
    place.get_or_insert_with(|| read(bytes));
    Ok(())
}

fn text<'a>(place: &mut Option<&'a [u8]>, content: &'a [u8]) -> Result<(), HepError> {
    place.get_or_insert(content);
    Ok(())
}

/// Versions 1 and 2: version, length of the header, family, protocol, ports, addresses; in version 2 also a time, in the
/// byte order of the agent's machine and so of no use, and the agent. They carry SIP only.
fn old(bytes: &[u8]) -> Result<Hep<'_>, HepError> {
    let (&[version, length, family, _, s0, s1, d0, d1], rest) =
        bytes.split_first_chunk::<8>().ok_or(HepError::Cut)?;
    let source_port = u16::from_be_bytes([s0, s1]);
    let destination_port = u16::from_be_bytes([d0, d1]);
    let (source, destination, rest) = if family == 2 {
        let (source, rest) = rest.split_first_chunk::<4>().ok_or(HepError::Cut)?;
        let (destination, rest) = rest.split_first_chunk::<4>().ok_or(HepError::Cut)?;
        let source = Endpoint::v4(*source, source_port);
        (source, Endpoint::v4(*destination, destination_port), rest)
    } else {
        let (source, rest) = rest.split_first_chunk::<16>().ok_or(HepError::Cut)?;
        let (destination, rest) = rest.split_first_chunk::<16>().ok_or(HepError::Cut)?;
        let source = Endpoint::v6(*source, source_port);
        (source, Endpoint::v6(*destination, destination_port), rest)
    };
    let addresses = bytes.len() - rest.len();
    let (agent, payload) = match (version, usize::from(length).checked_sub(addresses)) {
        (1, Some(0)) => (0, rest),
        // Some count the time in the length of the header, and some do not.
        (2, Some(0 | 12)) => {
            let (&[.., a0, a1, _, _], payload) =
                rest.split_first_chunk::<12>().ok_or(HepError::Cut)?;
            (u32::from(u16::from_be_bytes([a0, a1])), payload)
        }
        _ => return Err(HepError::Chunk),
    };
    Ok(Hep {
        source,
        destination,
        time: None,
        content: HepContent::Sip,
        agent,
        auth_key: None,
        correlation_id: None,
        payload,
        compressed: false,
    })
}
