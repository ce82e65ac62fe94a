//! The open end of a recording's timeline: payloads are put in their places, and handed on a block at a time.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::payloads::{Payloads, Stored};
use crate::base::{PerSide, Side, Timestamp};
use crate::codec::{Codec, PayloadFormat};
use crate::engine::event::{BLOCK, Block, Piece, RawHeader};
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
    open: SmallVec<[OpenBlock; 2]>,
    /// Index of the first block that was not handed on yet.
    next: u64,
    /// Its start was told, and stays what it is.
    pub is_fixed: bool,
    /// What began it was taken back.
    is_beginning_taken: bool,
    /// One past the last sample that was put.
    end: i64,
    formats: Arc<Vec<PayloadFormat>>,
    /// Pieces in the last block handed on, to size the next.
    usual_pieces: PerSide<usize>,
}

/// A block that is not complete.
#[derive(Debug)]
struct OpenBlock {
    sides: PerSide<Vec<Piece>>,
    /// Numbers of the chunks that its pieces lie in. It holds each of them.
    chunks: SmallVec<[u32; 4]>,
    /// Of packets that are kept raw; boxed, since few calls have any.
    headers: Option<Box<PerSide<Vec<RawHeader>>>>,
}

impl Timeline {
    pub fn new(start: Timestamp, sample_rate_hz: u32) -> Self {
        Timeline {
            start,
            sample_rate_hz,
            open: SmallVec::new(),
            next: 0,
            is_fixed: false,
            is_beginning_taken: false,
            end: 0,
            formats: Arc::default(),
            usual_pieces: PerSide::default(),
        }
    }

    pub fn samples_a_block(&self) -> i64 {
        i64::from(self.sample_rate_hz) * BLOCK.as_millis() as i64 / 1000
    }

    /// Samples from time zero to `time`.
    pub fn position_at(&self, time: Timestamp) -> i64 {
        samples_between(self.start, time, self.sample_rate_hz)
    }

    /// The moment of a sample.
    pub fn time_of(&self, position: i64) -> Timestamp {
        let rate = i64::from(self.sample_rate_hz.max(1));
        let nanos = position.rem_euclid(rate) * 1_000_000_000 / rate;
        let seconds = position.div_euclid(rate).saturating_mul(1_000_000_000);
        Timestamp::from_nanos(
            self.start
                .as_nanos()
                .saturating_add(seconds)
                .saturating_add(nanos),
        )
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

    /// Puts the payload at `stored`, of `samples` samples, where `piece` says (where its bytes are is set here).
    #[inline]
    pub fn put(
        &mut self,
        side: Side,
        piece: Piece,
        stored: Stored,
        samples: i64,
        payloads: &mut Payloads,
    ) -> Put {
        let block_len = self.samples_a_block();
        if piece.position < 0 && !self.may_begin_at(piece.position) {
            return Put::Outside;
        }
        let index = (piece.position.max(0) / block_len) as u64;
        if index >= self.next + MAX_OPEN {
            return Put::Outside;
        }
        self.end = self.end.max(piece.position + samples);
        let Some(ahead) = index.checked_sub(self.next) else {
            return Put::Late(self.late_block(index, side, piece, payloads.bytes(stored)));
        };
        self.open_up_to(ahead);
        self.open[ahead as usize].append(side, piece, stored, payloads);
        Put::Done
    }

    #[inline]
    fn open_up_to(&mut self, ahead: u64) {
        while self.open.len() as u64 <= ahead {
            let sides = self.usual_pieces.map(Vec::with_capacity);
            self.open.push(OpenBlock {
                sides,
                chunks: SmallVec::new(),
                headers: None,
            });
        }
    }

    /// Keeps the header of the packet that was put last, at `position` of `side`.
    #[cold]
    pub fn keep_header(&mut self, side: Side, position: i64, header: RawHeader) {
        let index = (position / self.samples_a_block()) as u64;
        let ahead = index.checked_sub(self.next).map(|ahead| ahead as usize);
        if let Some(block) = ahead.and_then(|ahead| self.open.get_mut(ahead)) {
            let headers = block.headers.get_or_insert_default();
            headers[side].push(header);
        }
    }

    fn late_block(&self, index: u64, side: Side, piece: Piece, payload: &[u8]) -> Block {
        let mut sides = PerSide::<Vec<Piece>>::default();
        sides[side].push(Piece {
            offset: 0,
            len: payload.len() as u16,
            chunk: 0,
            ..piece
        });
        Block {
            index,
            late: true,
            dropped_before: 0,
            sides,
            headers: PerSide::default(),
            chunks: smallvec![Arc::new(payload.to_vec())],
            formats: self.formats.clone(),
        }
    }

    /// Notes that the timeline goes on for `samples` from `position`, though nothing is put there. What is too far ahead is not
    /// believed.
    pub fn reach(&mut self, position: i64, samples: i64) {
        let block = position / self.samples_a_block();
        if position >= 0 && (block as u64) < self.next + MAX_OPEN {
            self.end = self.end.max(position + samples);
        }
    }

    /// Shortens each piece of the open blocks to the bytes that `kept` allows it; those without any go, and their headers.
    pub fn trim(&mut self, payloads: &Payloads, mut kept: impl FnMut(i64, &[u8], Codec) -> u16) {
        self.shorten(payloads, |piece, payload, codec| {
            kept(piece.position, payload, codec)
        });
    }

    /// Takes what a stream put on the open blocks off them. Where nothing was handed on, what is left then makes time zero.
    #[cold]
    pub fn take_back(&mut self, payloads: &Payloads, stream: u16) {
        self.shorten(payloads, |piece, _, _| match piece.stream == stream {
            true => 0,
            false => piece.len,
        });
        self.is_beginning_taken = true;
    }

    fn shorten(&mut self, payloads: &Payloads, mut kept: impl FnMut(&Piece, &[u8], Codec) -> u16) {
        let formats = self.formats.clone();
        for block in &mut self.open {
            for side in Side::BOTH {
                let mut raw_kept = Vec::new();
                let chunks = &block.chunks;
                block.sides[side].retain_mut(|piece| {
                    let format = formats.get(usize::from(piece.format));
                    let stored = Stored {
                        chunk: chunks[usize::from(piece.chunk)],
                        offset: piece.offset,
                        len: piece.len,
                    };
                    let payload = payloads.bytes(stored);
                    piece.len = format.map_or(0, |format| {
                        kept(piece, payload, format.codec).min(piece.len)
                    });
                    if format.is_some_and(|format| format.codec.is_kept_raw()) {
                        raw_kept.push(piece.len > 0);
                    }
                    piece.len > 0
                });
                if let Some(headers) = &mut block.headers {
                    let mut raw_kept = raw_kept.into_iter();
                    headers[side].retain(|_| raw_kept.next().unwrap_or(true));
                }
            }
        }
    }

    /// The open blocks: index, pieces, and the numbers of the chunks that these lie in.
    pub fn open_blocks(&self) -> impl Iterator<Item = (u64, &PerSide<Vec<Piece>>, &[u32])> {
        let open = (self.next..).zip(&self.open);
        open.map(|(index, block)| (index, &block.sides, &*block.chunks))
    }

    /// What [`Piece::format`] points into.
    pub fn formats(&self) -> Arc<Vec<PayloadFormat>> {
        self.formats.clone()
    }

    /// The samples that the first open block has room for.
    pub fn next_block(&self) -> (i64, i64) {
        let len = self.samples_a_block();
        let from = i64::try_from(self.next).map_or(i64::MAX, |next| next.saturating_mul(len));
        (from, from.saturating_add(len))
    }

    /// Whether what is put there, before time zero, may become the beginning.
    #[cold]
    fn may_begin_at(&self, position: i64) -> bool {
        !self.is_fixed && self.next == 0 && position > -(MAX_OPEN as i64) * self.samples_a_block()
    }

    /// Makes the first media time zero, which is told from now on: the samples by which the beginning, and with it every place,
    /// was moved.
    #[cold]
    pub fn fix_start(&mut self, payloads: &mut Payloads) -> i64 {
        self.is_fixed = true;
        let pieces = self.open.iter().flat_map(|block| block.sides.iter());
        let first = pieces
            .flat_map(|(_, pieces)| pieces)
            .map(|piece| piece.position);
        let first = first.min().unwrap_or(0);
        let lead = match self.is_beginning_taken {
            true => -first,
            false => -first.min(0),
        };
        if lead != 0 {
            self.start = self.time_of(-lead);
            self.rearrange(payloads, |_| lead);
        }
        lead
    }

    /// Moves what is in the open blocks, each piece by as many samples as `by` says. Gives back what then lies in blocks that
    /// were handed on.
    #[cold]
    pub fn rearrange(&mut self, payloads: &mut Payloads, by: impl Fn(&Piece) -> i64) -> Vec<Block> {
        let formats = self.formats.clone();
        let mut late = Vec::new();
        let (mut end_before, mut end) = (i64::MIN, i64::MIN);
        for block in std::mem::take(&mut self.open) {
            let mut headers = block
                .headers
                .map_or_else(PerSide::default, |headers| *headers);
            for side in Side::BOTH {
                let mut headers = std::mem::take(&mut headers[side]).into_iter();
                for piece in &block.sides[side] {
                    let stored = Stored {
                        chunk: block.chunks[usize::from(piece.chunk)],
                        offset: piece.offset,
                        len: piece.len,
                    };
                    let codec = formats
                        .get(usize::from(piece.format))
                        .map(|format| format.codec);
                    let raw = codec.filter(|codec| codec.is_kept_raw());
                    let header = raw.and_then(|_| headers.next());
                    let moved = Piece {
                        position: piece.position + by(piece),
                        ..*piece
                    };
                    let payload = payloads.bytes(stored);
                    let samples =
                        codec.map_or(0, |codec| codec.samples_at(self.sample_rate_hz, payload));
                    end_before = end_before.max(piece.position + samples);
                    end = end.max(moved.position + samples);
                    late.extend(self.put_again(side, moved, stored, header, payloads));
                }
            }
            for chunk in block.chunks {
                payloads.release(chunk);
            }
        }
        // Where something else reaches further, that is where the timeline ends.
        if self.end <= end_before {
            self.end = end;
        }
        late
    }

    fn put_again(
        &mut self,
        side: Side,
        piece: Piece,
        stored: Stored,
        header: Option<RawHeader>,
        payloads: &mut Payloads,
    ) -> Option<Block> {
        let index = (piece.position.max(0) / self.samples_a_block()) as u64;
        let Some(ahead) = index.checked_sub(self.next) else {
            let mut block = self.late_block(index, side, piece, payloads.bytes(stored));
            block.headers[side].extend(header);
            return Some(block);
        };
        self.open_up_to(ahead);
        let block = &mut self.open[ahead as usize];
        block.append(side, piece, stored, payloads);
        if let Some(header) = header {
            block.headers.get_or_insert_default()[side].push(header);
        }
        None
    }

    /// Hands on the first open block.
    pub fn close(&mut self, payloads: &mut Payloads) -> Option<Block> {
        if self.open.is_empty() {
            return None;
        }
        let OpenBlock {
            sides,
            chunks,
            headers,
        } = self.open.remove(0);
        let index = self.next;
        self.next += 1;
        self.usual_pieces = PerSide {
            caller: sides.caller.len(),
            callee: sides.callee.len(),
        };
        Some(Block {
            index,
            late: false,
            dropped_before: 0,
            sides,
            headers: headers.map_or_else(PerSide::default, |headers| *headers),
            chunks: chunks
                .into_iter()
                .map(|chunk| payloads.share(chunk))
                .collect(),
            formats: self.formats.clone(),
        })
    }

    /// Reads what finds the first open block.
    #[inline]
    pub fn pieces_of_next_block(&self) -> u64 {
        self.open
            .first()
            .map_or(self.next, |block| block.sides.caller.len() as u64)
    }

    /// Reads the newest piece of the newest block, next to which another one will be put, and the chunk it lies in.
    #[inline]
    pub fn touch(&self, side: Side) -> u64 {
        let Some(block) = self.open.last() else {
            return 0;
        };
        let piece = block.sides[side].last().map_or(0, |piece| piece.number);
        u64::from(piece ^ block.chunks.last().copied().unwrap_or(0))
    }

    /// Where no block is open: goes on with the one that `time` is in, so that an idle call costs no work.
    #[inline]
    pub fn resume_at(&mut self, time: Timestamp) {
        if !self.has_open_blocks() {
            let passed = time.since(self.start).as_nanos() / BLOCK.as_nanos();
            self.next = self.next.max(u64::try_from(passed).unwrap_or(u64::MAX));
        }
    }
}

impl OpenBlock {
    #[inline]
    fn append(&mut self, side: Side, piece: Piece, stored: Stored, payloads: &mut Payloads) {
        if self.chunks.last() != Some(&stored.chunk) {
            payloads.hold(stored.chunk);
            self.chunks.push(stored.chunk);
        }
        self.sides[side].push(Piece {
            offset: stored.offset,
            len: stored.len,
            chunk: self.chunks.len() as u16 - 1,
            ..piece
        });
    }
}
