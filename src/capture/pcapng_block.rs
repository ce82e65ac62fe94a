//! The frame that every pcapng block has, and what its type says about its length.

use super::window::Window;

pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
/// Obsolete since 2004, and still written by some.
pub(super) const PACKET: u32 = 2;
pub(super) const SIMPLE_PACKET: u32 = 3;
pub(super) const ENHANCED_PACKET: u32 = 6;

/// Types of blocks that a damaged file is read on from: names, statistics, enhanced packets, and so on as registered.
const KNOWN_TYPES: [u32; 14] = [
    SECTION_HEADER,
    INTERFACE_DESCRIPTION,
    PACKET,
    SIMPLE_PACKET,
    4,
    5,
    ENHANCED_PACKET,
    7,
    8,
    9,
    10,
    11,
    0xbad,
    0x4000_0bad,
];

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Type, length, and length again: what every block has.
pub(super) const FRAME_BYTES: usize = 12;
/// What stands before the frame in an enhanced or obsolete packet block.
pub(super) const PACKET_HEADER_BYTES: usize = 28;
/// What stands before the frame in a simple packet block.
pub(super) const SIMPLE_HEADER_BYTES: usize = 12;

/// Longest block that is read. Packets stay far below; name tables and decryption secrets may be large.
pub(super) const MAX_BLOCK_BYTES: usize = 16 << 20;
/// Longest block that reading goes on from after damage.
const MAX_CANDIDATE_BYTES: usize = 1 << 20;

/// Type and length of a block, from before it.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) kind: u32,
    /// Bytes of the whole block.
    pub(super) total: usize,
    /// The block is big endian: as its section is, unless it begins one.
    pub(super) swapped: bool,
}

impl Frame {
    /// Of the block at the front. `None`: a section header without a byte order, or too few bytes.
    pub(super) fn of(bytes: &[u8], swapped: bool) -> Option<Frame> {
        let header = bytes.first_chunk::<FRAME_BYTES>()?;
        let kind = word(header, 0, swapped);
        let swapped = match kind {
            SECTION_HEADER => [false, true]
                .into_iter()
                .find(|swapped| word(header, 8, *swapped) == BYTE_ORDER_MAGIC)?,
            _ => swapped,
        };
        Some(Frame {
            kind,
            total: word(header, 4, swapped) as usize,
            swapped,
        })
    }

    /// Whether a block of this type can have this length.
    pub(super) fn is_possible(&self, at_most: usize) -> bool {
        let Frame { kind, total, .. } = *self;
        total >= least_bytes(kind) && total <= at_most && total.is_multiple_of(4)
    }

    /// The length behind the block, if all of it is there.
    pub(super) fn trailer(&self, bytes: &[u8]) -> Option<usize> {
        trailer(bytes.get(..self.total)?, self.swapped)
    }
}

/// Whether reading can go on at the front of the window: a block of a known type, whole, with two lengths that agree.
pub(super) fn is_candidate(window: &mut Window, swapped: bool) -> bool {
    let Some(frame) = Frame::of(window.bytes(), swapped) else {
        return false;
    };
    KNOWN_TYPES.contains(&frame.kind)
        && frame.is_possible(MAX_CANDIDATE_BYTES)
        && window.fill(frame.total)
        && frame.trailer(window.bytes()) == Some(frame.total)
}

/// Fewest bytes that a block of a type has.
fn least_bytes(kind: u32) -> usize {
    match kind {
        SECTION_HEADER => 28,
        INTERFACE_DESCRIPTION => 20,
        PACKET | ENHANCED_PACKET => PACKET_HEADER_BYTES + 4,
        SIMPLE_PACKET => SIMPLE_HEADER_BYTES + 4,
        _ => FRAME_BYTES,
    }
}

/// Bytes of a packet that a packet block has room for.
#[inline]
pub(super) fn room(total: usize) -> usize {
    total.saturating_sub(PACKET_HEADER_BYTES + 4)
}

/// The length behind a block.
#[inline]
pub(super) fn trailer(block: &[u8], swapped: bool) -> Option<usize> {
    Some(word(block.last_chunk::<4>()?, 0, swapped) as usize)
}

/// A word of a header, 0 beyond its end.
#[inline]
pub(super) fn word<const N: usize>(header: &[u8; N], at: usize, swapped: bool) -> u32 {
    let bytes = header.get(at..).and_then(|rest| rest.first_chunk());
    let little = bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
    if swapped { little.swap_bytes() } else { little }
}
