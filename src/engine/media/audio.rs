//! Audio that is looked at, to find calls that carry the same (see `interactions`).

use super::call::MediaCall;
use super::slots::Slots;
use super::stream::Stream;
use super::{Media, Sample};
use crate::base::Side;
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
            let of_piece = |stream: &&Stream| stream.ordinal == piece.stream;
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
