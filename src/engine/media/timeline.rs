//! The open end of a recording's timeline: payloads are put in their places, and handed on a block at a time.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::{PerSide, Side, Timestamp};
use crate::codec::PayloadFormat;
use crate::engine::event::{BLOCK, Block, Piece, SideBlock};
use crate::rtp::samples_between;

/// Blocks that may be open at once. A packet further ahead than this disagrees with the clock and is refused.
const MAX_OPEN: u64 = 4;
/// Payload formats one call can have; a call that changes more often is broken.
const MAX_FORMATS: usize = 64;

/// What became of a payload.
#[derive(Debug)]
pub enum Put {
    Done,
    /// Its block had been handed on: here it is by itself, to be patched in.
    Late(Block),
    /// Before time zero, or too far ahead.
    Outside,
}

/// The timeline of one call, from the first block that is still open.
#[derive(Debug)]
pub struct Timeline {
    pub start: Timestamp,
    pub sample_rate_hz: u32,
    open: SmallVec<[Block; 2]>,
    /// Index of the first block that was not handed on yet.
    next: u64,
    /// One past the last sample that was put.
    end: i64,
    formats: Arc<Vec<PayloadFormat>>,
    /// Bytes in the last block handed on, to size the next.
    usual_bytes: PerSide<usize>,
}

impl Timeline {
    pub fn new(start: Timestamp, sample_rate_hz: u32) -> Self {
        Timeline {
            start,
            sample_rate_hz,
            open: SmallVec::new(),
            next: 0,
            end: 0,
            formats: Arc::default(),
            usual_bytes: PerSide::default(),
        }
    }

    pub fn samples_a_block(&self) -> i64 {
        i64::from(self.sample_rate_hz) * BLOCK.as_millis() as i64 / 1000
    }

    /// Samples from time zero to `time`.
    pub fn position_at(&self, time: Timestamp) -> i64 {
        samples_between(self.start, time, self.sample_rate_hz)
    }

    /// Samples from time zero to the end of what was put.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// When the first open block ends.
    pub fn next_block_end(&self) -> Timestamp {
        self.start + BLOCK * u32::try_from(self.next + 1).unwrap_or(u32::MAX)
    }

    pub fn has_open_blocks(&self) -> bool {
        !self.open.is_empty()
    }

    /// The number of `format` in this recording's list, `None` when the list is full.
    pub fn format(&mut self, format: PayloadFormat) -> Option<u8> {
        if let Some(known) = self.formats.iter().position(|f| *f == format) {
            return u8::try_from(known).ok();
        }
        if self.formats.len() == MAX_FORMATS {
            return None;
        }
        Arc::make_mut(&mut self.formats).push(format);
        u8::try_from(self.formats.len() - 1).ok()
    }

    /// Puts `payload`, of `samples` samples, where `piece` says (its `offset` and `len` are set here).
    #[inline]
    pub fn put(&mut self, side: Side, piece: Piece, payload: &[u8], samples: i64) -> Put {
        let block_len = self.samples_a_block();
        let Ok(len) = u16::try_from(payload.len()) else {
            return Put::Outside;
        };
        if piece.position < 0 {
            return Put::Outside;
        }
        let index = (piece.position / block_len) as u64;
        if index >= self.next + MAX_OPEN {
            return Put::Outside;
        }
        self.end = self.end.max(piece.position + samples);
        let Some(ahead) = index.checked_sub(self.next) else {
            let mut block = self.block(index, true);
            append(&mut block.sides[side], piece, len, payload);
            return Put::Late(block);
        };
        while self.open.len() as u64 <= ahead {
            let block = self.block(self.next + self.open.len() as u64, false);
            self.open.push(block);
        }
        append(
            &mut self.open[ahead as usize].sides[side],
            piece,
            len,
            payload,
        );
        Put::Done
    }

    fn block(&self, index: u64, late: bool) -> Block {
        let sides = self.usual_bytes.map(|bytes| SideBlock {
            bytes: Vec::with_capacity(if late { 0 } else { bytes + bytes / 8 }),
            pieces: Vec::with_capacity(if late || bytes == 0 { 0 } else { 27 }),
        });
        Block {
            index,
            late,
            dropped_before: 0,
            sides,
            formats: self.formats.clone(),
        }
    }

    /// Hands on the first open block.
    pub fn close(&mut self) -> Option<Block> {
        if self.open.is_empty() {
            return None;
        }
        let mut block = self.open.remove(0);
        self.next = block.index + 1;
        self.usual_bytes = PerSide {
            caller: block.sides.caller.bytes.len(),
            callee: block.sides.callee.bytes.len(),
        };
        block.formats = self.formats.clone();
        Some(block)
    }

    /// With no block open: goes on with the block that `time` is in, so that an idle call costs no work.
    pub fn skip_to(&mut self, time: Timestamp) {
        debug_assert!(self.open.is_empty(), "only an idle timeline skips");
        let passed = time.since(self.start).as_nanos() / BLOCK.as_nanos();
        self.next = self.next.max(u64::try_from(passed).unwrap_or(u64::MAX));
    }
}

#[inline]
fn append(side: &mut SideBlock, piece: Piece, len: u16, payload: &[u8]) {
    let offset = side.bytes.len() as u32;
    side.bytes.extend_from_slice(payload);
    side.pieces.push(Piece {
        offset,
        len,
        ..piece
    });
}
