//! Audio that is looked at, to find calls that carry the same (see `interactions`).

use super::call::MediaCall;
use super::payloads::Stored;
use super::placing::Placing;
use super::slots::Slots;
use super::stream::Stream;
use super::twins::Sharing;
use super::{Media, Sample};
use crate::base::{Side, Timestamp};
use crate::codec::Codec;
use crate::engine::event::Block;
use crate::engine::interactions::{fingerprint, is_due};

impl Media {
    /// Whether audio is to be sampled from now on.
    pub fn listen(&mut self, listening: bool) {
        self.listening = listening;
    }

    /// What was sampled since it was asked last.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.samples)
    }
}

/// Payloads of pauses that wait for their block: as many as packets of both sides in what is sampled of one.
const MAX_IN_PAUSES: usize = 64;

impl Placing<'_> {
    /// Looks at a payload that is put nowhere, since it lies in a pause: another call that carries it is to be found, so that it
    /// is paused too.
    pub(super) fn sample_paused(&mut self, codec: Codec, position: i64, stored: Stored) {
        let Some(timeline) = &self.call.timeline else {
            return;
        };
        let at = timeline.time_of(position);
        if !codec.is_audio()
            || self.stream.sharing == Sharing::Twin
            || !is_due(timeline.start, at, at)
            || self.call.in_pauses.len() == MAX_IN_PAUSES
        {
            return;
        }
        let Some(print) = fingerprint(self.payloads.bytes(stored)) else {
            return;
        };
        self.call.in_pauses.push(Sample {
            call: self.call.plan.call,
            side: self.side,
            print,
            at,
            source: self.stream.key.flow.source.ip(),
            destination: self.stream.key.flow.destination.ip(),
        });
    }
}

/// Gives what was sampled in pauses before the end of the block that is about to be closed, as if it lay in that.
pub fn take_paused(call: &mut MediaCall, listening: bool, samples: &mut Vec<Sample>) {
    if call.in_pauses.is_empty() {
        return;
    }
    let end = (call.timeline.as_ref()).map_or(Timestamp::MAX, |timeline| timeline.next_block_end());
    let is_due = |sample: &Sample| sample.at < end;
    samples.extend(
        call.in_pauses
            .iter()
            .copied()
            .filter(|s| listening && is_due(s)),
    );
    call.in_pauses.retain(|sample| !is_due(sample));
    if call.in_pauses.is_empty() {
        call.in_pauses = Vec::new();
    }
}

/// Looks at the payloads of a block that are due, which mostly is none of them.
pub fn sample(streams: &Slots<Stream>, call: &MediaCall, block: &Block, samples: &mut Vec<Sample>) {
    let Some(timeline) = &call.timeline else {
        return;
    };
    let start = timeline.start;
    let at = |position: i64| timeline.time_of(position);
    let frames = timeline.samples_a_block();
    let begin = block.index as i64 * frames;
    if !is_due(start, at(begin), at(begin + frames)) {
        return;
    }
    for side in Side::BOTH {
        for piece in &block.sides[side] {
            let format = block.formats.get(usize::from(piece.format));
            let moment = at(piece.position);
            if !format.is_some_and(|format| format.codec.is_audio())
                || !is_due(start, moment, moment)
            {
                continue;
            }
            let Some(print) = fingerprint(block.payload(piece)) else {
                continue;
            };
            // What a twin brings is one packet at one hop, which the first of them is looked at for.
            let of_piece = |stream: &&Stream| {
                stream.ordinal == piece.stream && stream.sharing != Sharing::Twin
            };
            let mut own = call.streams.iter().filter_map(|&id| streams.get(id));
            if let Some(stream) = own.find(of_piece) {
                samples.push(Sample {
                    call: call.plan.call,
                    side,
                    print,
                    at: moment,
                    source: stream.key.flow.source.ip(),
                    destination: stream.key.flow.destination.ip(),
                });
            }
        }
    }
}
