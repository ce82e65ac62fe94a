//! Pauses: what lies in one is put on no timeline, whenever it comes.

use smallvec::SmallVec;

use super::REORDER_ALLOWANCE;
use super::call::MediaCall;
use super::payloads::Payloads;
use super::placing::{Arrived, Placing};
use super::stream::Meaning;
use super::timeline::Timeline;
use crate::codec::Codec;
use crate::engine::control::PauseSpan;
use crate::engine::event::Sink;

/// Longest packet of a codec whose payloads do not tell their length: 120 ms, as much as Opus can have (RFC 7587 section 4.2).
const LONGEST_MS: i64 = 120;

/// A stretch of a payload outside the pauses: its first sample, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub position: i64,
    pub from: usize,
    pub to: usize,
}

/// The pauses of a timeline in samples.
pub fn in_samples(pauses: &[PauseSpan], timeline: &Timeline) -> SmallVec<[(i64, i64); 4]> {
    let end = |pause: &PauseSpan| pause.to.map_or(i64::MAX, |to| timeline.position_at(to));
    pauses
        .iter()
        .map(|pause| (timeline.position_at(pause.from), end(pause)))
        .collect()
}

/// What of a payload of `len` bytes at `position` lies outside the pauses. A payload that can be cut between two samples is;
/// any other goes as a whole when a part of it lies in a pause, and so does the one after it: what repairs a loss may say again
/// what was lost.
pub fn outside(
    pauses: &[(i64, i64)],
    codec: Codec,
    rate_hz: u32,
    position: i64,
    payload: &[u8],
) -> SmallVec<[Stretch; 2]> {
    let len = payload.len();
    let whole = Stretch {
        position,
        from: 0,
        to: len,
    };
    let Some(frame) = frame_bytes(codec) else {
        let samples = match codec.samples_at(rate_hz, payload) {
            0 if codec.is_audio() => LONGEST_MS * i64::from(rate_hz) / 1000,
            samples => samples.max(1),
        };
        let (begin, end) = (position.saturating_sub(samples), position + samples);
        let meets = |&(from, to): &(i64, i64)| begin < to && from < end;
        return match pauses.iter().any(meets) {
            true => SmallVec::new(),
            false => SmallVec::from_slice(&[whole]),
        };
    };
    let (own, rate) = (i64::from(codec.sample_rate_hz().max(1)), i64::from(rate_hz));
    let frames = (len / frame) as i64;
    let mut stretches = SmallVec::new();
    let mut next = 0;
    for &(from, to) in pauses {
        // The first frame that reaches into the pause, and the first behind it.
        let reaches = (from.saturating_sub(position).saturating_mul(own)).div_euclid(rate);
        let behind = to
            .saturating_sub(position)
            .saturating_mul(own)
            .saturating_add(rate - 1)
            .div_euclid(rate);
        push(
            &mut stretches,
            (next, reaches.clamp(next, frames)),
            position,
            (own, rate),
            frame,
        );
        next = behind.clamp(next, frames);
    }
    push(&mut stretches, (next, frames), position, (own, rate), frame);
    stretches
}

fn push(
    stretches: &mut SmallVec<[Stretch; 2]>,
    (from, to): (i64, i64),
    position: i64,
    (own, rate): (i64, i64),
    frame: usize,
) {
    if from < to {
        stretches.push(Stretch {
            position: position + from * rate / own,
            from: from as usize * frame,
            to: to as usize * frame,
        });
    }
}

/// Bytes of one sample of all channels, of a codec that has such.
fn frame_bytes(codec: Codec) -> Option<usize> {
    match codec {
        Codec::Pcmu | Codec::Pcma => Some(1),
        Codec::L16 { channels, .. } => Some(2 * usize::from(channels.max(1))),
        _ => None,
    }
}

impl Placing<'_> {
    /// As [`Placing::put`], of a call that has pauses.
    #[cold]
    pub(super) fn put_outside(
        &mut self,
        meaning: &Meaning,
        position: i64,
        arrived: &Arrived,
        sink: &mut impl Sink,
    ) {
        let pauses = &self.call.plan.pauses;
        let timeline = (self.call.timeline.as_mut()).expect("placing begins with a timeline");
        let (codec, rate_hz) = (meaning.format.codec, timeline.sample_rate_hz);
        let pauses = in_samples(pauses, timeline);
        let payload = self.payloads.bytes(arrived.stored);
        let stretches = outside(&pauses, codec, rate_hz, position, payload);
        let is_whole = stretches
            .iter()
            .any(|stretch| stretch.to - stretch.from == payload.len());
        if !is_whole {
            timeline.resume_at(arrived.time - REORDER_ALLOWANCE);
            timeline.reach(position, codec.samples_at(rate_hz, payload));
            self.call.heard.paused |= codec.is_audio();
            self.stream.paused += 1;
            self.counters.paused += 1;
            self.sample_paused(codec, position, arrived.stored);
        }
        for Stretch { position, from, to } in stretches {
            let part = Arrived {
                stored: arrived.stored.part(from, to - from),
                ..*arrived
            };
            self.put_whole(meaning, position, &part, sink);
        }
    }
}

impl MediaCall {
    /// The plan's pauses changed: takes what lies in them out of what was put, and not handed on.
    pub fn cut_pauses(&mut self, payloads: &Payloads) {
        self.has_pauses = !self.plan.pauses.is_empty();
        let Some(timeline) = self.timeline.as_mut().filter(|_| self.has_pauses) else {
            return;
        };
        let pauses = in_samples(&self.plan.pauses, timeline);
        let rate_hz = timeline.sample_rate_hz;
        timeline.trim(payloads, |position, payload, codec| {
            let stretches = outside(&pauses, codec, rate_hz, position, payload);
            // Its beginning, if that may stay; what lies behind a pause this short goes with it.
            let first = stretches.first().filter(|stretch| stretch.from == 0);
            first.map_or(0, |stretch| stretch.to as u16)
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stretches(
        pauses: &[(i64, i64)],
        codec: Codec,
        rate_hz: u32,
        len: usize,
    ) -> Vec<(i64, usize, usize)> {
        outside(pauses, codec, rate_hz, 1000, &vec![0; len])
            .into_iter()
            .map(|s| (s.position, s.from, s.to))
            .collect()
    }

    #[test]
    fn a_packet_is_cut_at_the_sample() {
        assert_eq!(
            stretches(&[(1060, i64::MAX)], Codec::Pcmu, 8000, 160),
            [(1000, 0, 60)]
        );
        assert_eq!(
            stretches(&[(0, 1060)], Codec::Pcma, 8000, 160),
            [(1060, 60, 160)]
        );
        assert_eq!(
            stretches(&[(1010, 1020), (1030, 1040)], Codec::Pcmu, 8000, 160),
            [(1000, 0, 10), (1020, 20, 30), (1040, 40, 160)]
        );
        assert_eq!(stretches(&[(900, 1200)], Codec::Pcmu, 8000, 160), []);
        // Two samples of the timeline for each of the codec: one that reaches into the pause goes.
        assert_eq!(
            stretches(&[(1061, 1065)], Codec::Pcmu, 16_000, 160),
            [(1000, 0, 30), (1066, 33, 160)]
        );
    }

    #[test]
    fn what_cannot_be_cut_goes_with_its_neighbour() {
        let other = Codec::from_sdp("EVS", 16_000, 1);
        assert_eq!(stretches(&[(1900, i64::MAX)], other, 16_000, 60), []);
        assert_eq!(
            stretches(&[(3000, i64::MAX)], other, 16_000, 60),
            [(1000, 0, 60)]
        );
        assert_eq!(stretches(&[(0, 900)], other, 16_000, 60), []);
    }

    #[test]
    fn a_time_that_is_not_believed_lengthens_no_pause() {
        let mut timeline = Timeline::new(
            crate::base::Timestamp::from_secs_nanos(1_800_000_000, 0),
            8000,
        );
        timeline.reach(800, 160);
        assert_eq!(timeline.end(), 960);
        for far in [i64::from(u32::MAX), i64::MAX / 2, -1, i64::MIN] {
            timeline.reach(far, 160);
            assert_eq!(timeline.end(), 960, "{far}");
        }
    }

    proptest! {
        /// No sample of a pause is ever put, and of what can be cut every other one is.
        #[test]
        fn what_lies_in_a_pause_is_not_put(
            mut bounds in prop::collection::vec(0i64..3000, 0..8),
            len in 0usize..500,
            wide in any::<bool>(),
        ) {
            bounds.sort_unstable();
            let pauses: Vec<(i64, i64)> = bounds.chunks_exact(2).map(|b| (b[0], b[1])).collect();
            let rate_hz = if wide { 16_000 } else { 8000 };
            let step = if wide { 2 } else { 1 };
            let mut put = vec![false; 5000];
            for s in outside(&pauses, Codec::Pcmu, rate_hz, 1000, &vec![0; len]) {
                prop_assert!(s.to <= len && s.from < s.to);
                for n in 0..(s.to - s.from) as i64 * step {
                    put[(s.position + n) as usize] = true;
                }
            }
            for at in 0..5000i64 {
                let paused = pauses.iter().any(|&(from, to)| (from..to).contains(&at));
                prop_assert!(!(paused && put[at as usize]), "{} of a pause is put", at);
                let within = (1000..1000 + len as i64 * step).contains(&at);
                if !paused && within && !wide {
                    prop_assert!(put[at as usize], "{} is missing", at);
                }
            }
        }
    }
}
