//! The header of a frame (RFC 6455 section 5.2).

use crate::sip::looks_like_sip;

/// The longest payload of a control frame (RFC 6455 section 5.5).
const MAX_CONTROL: u64 = 125;
/// So much of a payload tells SIP from anything else: the longest known method, and a blank.
const TELLING: usize = 10;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    /// The next part of a message.
    Continuation,
    /// The first part of a message, text or binary.
    Message,
    /// Ping, pong, close: may stand between the parts of a message.
    Control,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub last: bool,
    pub compressed: bool,
    pub opcode: Opcode,
    /// Zero where the payload is not masked.
    pub mask: [u8; 4],
    pub payload: u64,
}

/// What a few bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A header, and its length.
    Whole(Header, usize),
    /// The beginning of one, as far as can be told.
    Partial,
    Invalid,
}

/// Reads a header. Lengths that are not in their shortest form are invalid, as the RFC has it.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else {
        return match bytes.first() {
            Some(&first) if opcode(first).is_none() => Parsed::Invalid,
            _ => Parsed::Partial,
        };
    };
    let Some(opcode) = opcode(first) else {
        return Parsed::Invalid;
    };
    let (last, compressed) = (first & 0x80 != 0, first & 0x40 != 0);
    let (length, mut at) = match second & 0x7f {
        126 => (extended(bytes, 2), 4),
        127 => (extended(bytes, 8), 10),
        short => (Some(u64::from(short)), 2),
    };
    let Some(payload) = length else {
        return Parsed::Partial;
    };
    let shortest = match at {
        4 => payload > 125,
        10 => payload > 65_535 && payload < 1 << 63,
        _ => true,
    };
    let control = opcode == Opcode::Control;
    if !shortest || (control && (!last || payload > MAX_CONTROL)) {
        return Parsed::Invalid;
    }
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        let Some(key) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            return Parsed::Partial;
        };
        mask = *key;
        at += 4;
    }
    let header = Header {
        last,
        compressed,
        opcode,
        mask,
        payload,
    };
    Parsed::Whole(header, at)
}

/// What the first byte says, if it may be one: reserved bits and opcodes are not used (RFC 6455 section 5.2), and only the
/// first frame of a message says that it is compressed (RFC 7692 section 6).
fn opcode(first: u8) -> Option<Opcode> {
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 | 2 => Opcode::Message,
        8..=10 => Opcode::Control,
        _ => return None,
    };
    let allowed = match opcode {
        Opcode::Message => 0xc0,
        Opcode::Continuation | Opcode::Control => 0x80,
    };
    (first & 0xf0 & !allowed == 0).then_some(opcode)
}

fn extended(bytes: &[u8], length: usize) -> Option<u64> {
    let bytes = bytes.get(2..2 + length)?;
    Some(
        bytes
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    )
}

/// Undoes the masking of a payload's part that begins `offset` bytes into the payload (RFC 6455 section 5.3).
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: u64) {
    if mask != [0; 4] {
        let keys = mask.iter().cycle().skip((offset & 3) as usize);
        bytes
            .iter_mut()
            .zip(keys)
            .for_each(|(byte, key)| *byte ^= key);
    }
}

/// Whether bytes begin with a frame, whose payload begins like SIP. For streams that are joined in mid-connection, and
/// for each segment on ports that nobody named: cheap.
#[inline]
pub fn frame_with_sip(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x01 | 0x02 | 0x81 | 0x82)) && carries_sip(bytes) == Some(true)
}

/// Whether bytes are a frame of a message's beginning, uncompressed, that begins like SIP; `None` where there are too few
/// to tell.
pub(super) fn carries_sip(bytes: &[u8]) -> Option<bool> {
    let (header, length) = match parse(bytes) {
        Parsed::Whole(header, length) => (header, length),
        Parsed::Partial => return None,
        Parsed::Invalid => return Some(false),
    };
    if header.opcode != Opcode::Message || header.compressed || header.payload < TELLING as u64 {
        return Some(false);
    }
    let mut start = [0; 64];
    let payload = bytes.get(length..).unwrap_or_default();
    let have = payload
        .len()
        .min(start.len())
        .min(usize::try_from(header.payload).unwrap_or(usize::MAX));
    let start = start.get_mut(..have)?;
    start.copy_from_slice(payload.get(..have)?);
    unmask(start, header.mask, 0);
    if start.len() < TELLING {
        return None;
    }
    Some(looks_like_sip(start))
}
