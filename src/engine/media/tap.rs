//! Calls that somebody listens to: what came of them goes on in short steps, long before their blocks are complete.
//!
//! Nothing is done for a packet. Whoever asks, ten times a second or more, gets a copy of what was put on the open blocks since
//! the last time; a block that is closed in between gives what is left of it. So audio that lies in a pause is never heard, and
//! encrypted media is heard as the recorder gets it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Media;
use super::call::MediaCall;
use super::payloads::{Payloads, Stored};
use super::timeline::Timeline;
use crate::base::{PerSide, Side, Timestamp};
use crate::codec::PayloadFormat;
use crate::engine::event::{Block, Piece};
use crate::engine::plan::CallKey;

/// Calls that can be listened to at a time.
pub const MAX_TAPS: usize = 1024;
/// Bytes of one call that wait to be asked for; more are left out. Ten seconds of two sides of G.711.
const MAX_WAITING_BYTES: usize = 160_000;

/// Payloads of one call since it was last asked for them, in the order in which they were put.
#[derive(Debug)]
pub struct Overheard {
    /// Time zero of the call's timeline.
    pub start: Timestamp,
    pub sample_rate_hz: u32,
    /// The newest packet of the engine: nothing that was captured before it is yet to come.
    pub now: Timestamp,
    pub sides: PerSide<Vec<Piece>>,
    bytes: Vec<u8>,
    formats: Arc<Vec<PayloadFormat>>,
}

impl Overheard {
    pub fn payload(&self, piece: &Piece) -> &[u8] {
        let from = piece.offset as usize;
        self.bytes
            .get(from..from + usize::from(piece.len))
            .unwrap_or_default()
    }

    /// The format of a piece; a number that is not in the list would be no audio.
    pub fn format(&self, piece: &Piece) -> PayloadFormat {
        let known = self.formats.get(usize::from(piece.format)).copied();
        known.unwrap_or_else(|| PayloadFormat::from_static(127))
    }
}

/// How far a call was handed on to who listens to it.
#[derive(Debug, Default)]
pub struct Tap {
    /// Open blocks, by index, with the number of their pieces that were handed on.
    handed: SmallVec<[(u64, PerSide<usize>); 4]>,
    /// Samples by which time zero was moved since it was first told.
    lead: i64,
    sides: PerSide<Vec<Piece>>,
    bytes: Vec<u8>,
}

impl Tap {
    fn push(&mut self, side: Side, piece: &Piece, payload: &[u8]) {
        if self.bytes.len() + payload.len() > MAX_WAITING_BYTES {
            return;
        }
        self.sides[side].push(Piece {
            position: piece.position - self.lead,
            offset: self.bytes.len() as u32,
            len: payload.len() as u16,
            chunk: 0,
            ..*piece
        });
        self.bytes.extend_from_slice(payload);
    }

    /// Takes `pieces` of a block as far as they were not handed on; how many of the block are handed on by then.
    fn take_new<'p>(
        &mut self,
        index: u64,
        sides: &PerSide<Vec<Piece>>,
        payload: impl Fn(&Piece) -> &'p [u8],
    ) -> PerSide<usize> {
        let known = self.handed.iter().find(|(known, _)| *known == index);
        let handed = known.map_or_else(PerSide::default, |(_, handed)| *handed);
        for side in Side::BOTH {
            // A pause may have taken pieces back that had been handed on.
            for piece in sides[side].get(handed[side]..).unwrap_or_default() {
                self.push(side, piece, payload(piece));
            }
        }
        PerSide::of(|side| sides[side].len())
    }

    /// What is on the open blocks was moved, after it was gathered, and time zero by `lead` samples.
    #[cold]
    pub fn follow(&mut self, timeline: &Timeline, lead: i64) {
        self.lead += lead;
        let open = timeline.open_blocks();
        let handed = open.map(|(index, sides, _)| (index, PerSide::of(|side| sides[side].len())));
        self.handed = handed.collect();
    }

    /// Takes what is new on the open blocks.
    pub fn gather(&mut self, timeline: &Timeline, payloads: &Payloads) {
        let mut handed = SmallVec::new();
        for (index, sides, chunks) in timeline.open_blocks() {
            let payload = |piece: &Piece| {
                let chunk = chunks.get(usize::from(piece.chunk)).copied();
                payloads.bytes(Stored {
                    chunk: chunk.unwrap_or_default(),
                    offset: piece.offset,
                    len: piece.len,
                })
            };
            handed.push((index, self.take_new(index, sides, payload)));
        }
        self.handed = handed;
    }

    /// Takes what is left of a block that is closed.
    #[cold]
    pub fn gather_closed(&mut self, block: &Block) {
        self.take_new(block.index, &block.sides, |piece| block.payload(piece));
    }

    fn hand_over(&mut self, timeline: &Timeline, now: Timestamp) -> Overheard {
        Overheard {
            start: timeline.time_of(self.lead),
            sample_rate_hz: timeline.sample_rate_hz,
            now,
            sides: std::mem::take(&mut self.sides),
            bytes: std::mem::take(&mut self.bytes),
            formats: timeline.formats(),
        }
    }
}

impl MediaCall {
    fn overhear(&mut self, payloads: &Payloads, now: Timestamp) -> Option<Overheard> {
        let timeline = self.timeline.as_ref()?;
        let tap = self.tap.as_mut()?;
        tap.gather(timeline, payloads);
        Some(tap.hand_over(timeline, now))
    }
}

impl Media {
    /// From now on [`Media::overhear`] tells of `call`. `false`: there is no such call, or as many as may be are listened to.
    pub fn tap(&mut self, call: CallKey) -> bool {
        let Some(&slot) = self.by_key.get(&call) else {
            return false;
        };
        let Some(heard) = self.calls.get_mut(slot) else {
            return false;
        };
        if heard.tap.is_none() {
            if self.taps.len() == MAX_TAPS {
                return false;
            }
            self.taps.push(call);
            let mut tap = Box::<Tap>::default();
            if let Some(timeline) = &heard.timeline {
                // What was said before somebody listened is not for them.
                tap.gather(timeline, &self.payloads);
                tap.sides = PerSide::default();
                tap.bytes = Vec::new();
            }
            heard.tap = Some(tap);
        }
        true
    }

    /// Nobody listens to `call` any more.
    pub fn untap(&mut self, call: CallKey) {
        self.taps.retain(|known| *known != call);
        if let Some(&slot) = self.by_key.get(&call)
            && let Some(call) = self.calls.get_mut(slot)
        {
            call.tap = None;
        }
    }

    /// Whether somebody listens to any call.
    #[inline]
    pub fn has_taps(&self) -> bool {
        !self.taps.is_empty()
    }

    /// Tells what came of each call that somebody listens to: `None` where the call is over, which is told once. Nothing is told
    /// of a call whose timeline has not begun.
    pub fn overhear(&mut self, now: Timestamp, tell: &mut impl FnMut(CallKey, Option<Overheard>)) {
        let (by_key, calls, payloads) = (&self.by_key, &mut self.calls, &self.payloads);
        self.taps.retain(|key| {
            let slot = by_key.get(key);
            let Some(call) = slot.and_then(|&slot| calls.get_mut(slot)) else {
                tell(*key, None);
                return false;
            };
            if let Some(heard) = call.overhear(payloads, now) {
                tell(*key, Some(heard));
            }
            true
        });
    }
}

#[cfg(test)]
impl Overheard {
    /// Packets of 160 bytes PCMU: side, number (which is also the place, in packets), fill.
    pub fn of_pcmu(start: Timestamp, now: Timestamp, pieces: &[(Side, u32, u8)]) -> Overheard {
        let mut tap = Tap::default();
        for &(side, number, fill) in pieces {
            let piece = Piece {
                position: i64::from(number) * 160,
                number,
                offset: 0,
                len: 0,
                chunk: 0,
                stream: 0,
                format: 0,
            };
            tap.push(side, &piece, &[fill; 160]);
        }
        Overheard {
            start,
            sample_rate_hz: 8000,
            now,
            sides: tap.sides,
            bytes: tap.bytes,
            formats: Arc::new(vec![PayloadFormat::from_static(0)]),
        }
    }
}
