//! What is known of one packet before it has its place, and of those that wait for one.

use super::stream::Meaning;
use crate::base::Timestamp;
use crate::codec::Codec;
use crate::rtp::{Behind, Fit, Jitter};

/// Where timestamps say nothing, packets that are further behind are, two in a row, a new start of the numbering (RFC 3550
/// appendix A.1, MAX_MISORDER).
const MAX_MISORDER: u64 = 100;
/// A packet that comes again after longer is another packet, and so is one whose timestamp is further from its number.
const COPY_NANOS: i64 = 500_000_000;
/// No packet comes that late.
const LATE_NANOS: i64 = 10_000_000_000;

/// A packet that could not be placed when it came.
#[derive(Clone, Debug)]
pub struct Kept {
    pub time: Timestamp,
    pub payload_type: u8,
    pub number: u64,
    pub overtaken: bool,
    pub timestamp: u32,
    pub marker: bool,
    /// The packet as it came, or its payload alone.
    pub bytes: Box<[u8]>,
    pub is_whole: bool,
}

/// What a packet is that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    Duplicate,
    TooOld,
}

/// What is counted of a packet.
#[derive(Clone, Copy)]
pub struct Counted {
    pub time: Timestamp,
    pub sequence: u16,
    pub timestamp: u32,
    pub payload_type: u8,
    /// Bytes of the payload.
    pub len: u16,
}

impl Counted {
    /// How it fits the one before, `numbers` ahead of it.
    #[cold]
    pub fn fit(&self, meaning: Option<&Meaning>, jitter: &Jitter, numbers: i64) -> Option<Fit> {
        // Timestamps of digits do not go on with those of audio.
        let same = meaning.filter(|known| known.format.payload_type == self.payload_type);
        let audio = same.filter(|known| known.format.codec != Codec::TelephoneEvent);
        audio.and_then(|_| jitter.compare(numbers, self.time, self.timestamp))
    }
}

/// Whether a packet with a number behind the newest is none of those that were sent before it: the numbering began anew. One that
/// looks like a copy is that where there are other copies: they may be of a slower way.
pub fn is_foreign(behind: Behind, fit: Option<Fit>, is_first_copy: bool) -> bool {
    let Some(fit) = fit else {
        return behind.packets > MAX_MISORDER;
    };
    let is_late = match behind.was_seen {
        true => is_first_copy && fit.late > COPY_NANOS,
        false => fit.late > LATE_NANOS,
    };
    is_late || fit.ahead > COPY_NANOS
}

/// How a packet would fit as one that comes next.
#[derive(Clone, Copy, Debug)]
pub struct NextFit {
    /// Numbers from the newest to it.
    pub ahead: i64,
    pub fit: Fit,
    /// What a packet of audio lasts.
    pub packet_nanos: i64,
}

/// Packets that were kept and are not any more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropped {
    pub packets: u64,
    /// What they took.
    pub bytes: usize,
}

/// Memory that a kept packet takes, its bookkeeping included.
pub fn kept_cost(len: usize) -> usize {
    len + size_of::<Kept>()
}
