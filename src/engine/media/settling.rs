//! The beginnings of streams, put right as long as nothing of them was handed on.
//!
//! A stream is anchored by its first packet, and that one may have been late, or have overtaken the one before it. Both are known
//! long before the block it lies in is closed. Then the stream's packets are moved to where they belong together; what belongs
//! before time zero moves time zero, which is told only then.

use smallvec::SmallVec;

use super::call::MediaCall;
use super::pausing::{in_samples, outside};
use super::payloads::Payloads;
use super::slots::Slots;
use super::stream::Stream;
use crate::base::Side;
use crate::codec::PayloadFormat;
use crate::engine::event::{Block, Event, Piece, Sink};

/// Packets of a stream that go where its anchor goes.
struct Move {
    stream: u16,
    /// The first of them: what has an earlier number was placed by another anchor.
    since: Option<u32>,
    by: i64,
}

impl Move {
    fn is_of(&self, piece: &Piece) -> bool {
        let is_later = |since: u32| piece.number.wrapping_sub(since) < 1 << 31;
        self.stream == piece.stream && self.since.is_none_or(is_later)
    }
}

impl MediaCall {
    /// Puts right what began in the first open block, which is about to be closed; at the end of the call all that is open.
    #[cold]
    pub fn settle(
        &mut self,
        streams: &mut Slots<Stream>,
        payloads: &mut Payloads,
        at_end: bool,
        sink: &mut impl Sink,
    ) {
        let moves = self.moves(streams, at_end);
        let Some(timeline) = &mut self.timeline else {
            return;
        };
        if let Some(tap) = &mut self.tap {
            tap.gather(timeline, payloads);
        }
        let (mut late, mut lead) = (Vec::new(), 0);
        if !moves.is_empty() {
            let by = |piece: &Piece| {
                let own = moves.iter().find(|own| own.is_of(piece));
                own.map_or(0, |own| own.by)
            };
            late = timeline.rearrange(payloads, by);
        }
        if !timeline.is_fixed {
            lead = timeline.fix_start(payloads);
            for id in self.streams.iter().filter(|_| lead != 0) {
                let clock = streams
                    .get_mut(*id)
                    .and_then(|stream| stream.clock.as_mut());
                clock.into_iter().for_each(|clock| clock.shift(lead));
            }
            self.tell_start(sink);
        }
        if let (Some(tap), Some(timeline)) = (&mut self.tap, &self.timeline) {
            tap.follow(timeline, lead);
        }
        if self.has_pauses {
            // What was moved may lie in one now.
            self.cut_pauses(payloads);
            late.retain(|block| !self.meets_pause(block));
        }
        let call = self.plan.call;
        for block in late {
            sink.event(Event::Block { call, block });
        }
    }

    /// How far the packets of each stream are to be moved.
    fn moves(&mut self, streams: &mut Slots<Stream>, at_end: bool) -> SmallVec<[Move; 2]> {
        let mut moves = SmallVec::new();
        self.is_settling = false;
        let Some(timeline) = &self.timeline else {
            return moves;
        };
        let (from, to) = timeline.next_block();
        for &id in &self.streams {
            let Some(stream) = streams.get_mut(id) else {
                continue;
            };
            let Some(clock) = &mut stream.clock else {
                continue;
            };
            match clock.settles_from() {
                None => {}
                Some(begin) if begin >= to && !at_end => self.is_settling = true,
                // Before time zero is in the first block, as long as that is open.
                Some(begin) if begin < from && from > 0 => clock.settle_late(),
                Some(_) => {
                    let (by, since) = (clock.settle(), stream.anchored_by);
                    if by != 0 {
                        moves.push(Move {
                            stream: stream.ordinal,
                            since,
                            by,
                        });
                    }
                }
            }
        }
        moves
    }

    /// Tells when the recording began: from now on it is settled.
    #[cold]
    pub fn tell_start(&mut self, sink: &mut impl Sink) {
        let Some(timeline) = &mut self.timeline else {
            return;
        };
        timeline.is_fixed = true;
        sink.event(Event::Recording {
            call: self.plan.call,
            start: timeline.start,
            sample_rate_hz: timeline.sample_rate_hz,
        });
    }

    /// Whether anything in the block lies in a pause, at least in part.
    fn meets_pause(&self, block: &Block) -> bool {
        let Some(timeline) = &self.timeline else {
            return false;
        };
        let pauses = in_samples(&self.plan.pauses, timeline);
        let pieces = || Side::BOTH.into_iter().flat_map(|side| &block.sides[side]);
        pieces().any(|piece| {
            let (payload, format) = (
                block.payload(piece),
                block.formats.get(usize::from(piece.format)),
            );
            let codec = format.map_or(PayloadFormat::from_static(127).codec, |format| format.codec);
            let kept = outside(
                &pauses,
                codec,
                timeline.sample_rate_hz,
                piece.position,
                payload,
            );
            kept.iter()
                .all(|stretch| stretch.to - stretch.from < payload.len())
        })
    }
}
