//! What listeners hear of a call while it lasts: both sides decoded as the recorder decodes them, a moment behind the wire.

use super::canvas::Canvas;
use super::track::{Drawing, Track};
use crate::base::{PerSide, Side, Timestamp};
use crate::engine::event::Piece;
use crate::engine::media::Overheard;
use crate::rtp::samples_between;
use crate::storage::SampleFormat;

/// How far behind the newest packet is heard: packets that come within it are in their places, and later ones are not heard.
const BEHIND_MS: i64 = 80;
/// Samples ahead of what was heard that there is room for. A packet further ahead disagrees with the clock.
const ROOM_SECONDS: usize = 2;
/// Silence that is made up for at most where the engine was kept from its work.
const LONGEST_GAP_SECONDS: i64 = 5;

/// One call that somebody listens to.
pub struct LiveMix {
    start: Timestamp,
    sample_rate_hz: u32,
    tracks: PerSide<Track>,
    canvas: Canvas,
    /// Frames as a file has them.
    frames: Vec<u8>,
}

impl LiveMix {
    /// Begins with what was captured a moment before `heard`.
    pub fn new(heard: &Overheard) -> LiveMix {
        let room = heard.sample_rate_hz as usize * ROOM_SECONDS;
        let mut canvas = Canvas::new(SampleFormat::Pcm16, room);
        canvas.begin(behind(heard).max(0));
        LiveMix {
            start: heard.start,
            sample_rate_hz: heard.sample_rate_hz,
            tracks: PerSide {
                caller: Track::new(),
                callee: Track::new(),
            },
            canvas,
            frames: Vec::new(),
        }
    }

    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// Place on the timeline of the next sample that is given.
    pub fn place(&self) -> i64 {
        self.canvas.start()
    }

    /// Takes what came, and appends what is complete by it to `out`: caller and callee, sample by sample.
    pub fn take(&mut self, heard: &mut Overheard, out: &mut Vec<i16>) {
        for side in Side::BOTH {
            heard.sides[side].sort_by_key(|piece| piece.position);
            for piece in &heard.sides[side] {
                self.draw(side, piece, heard);
            }
        }
        self.give(behind(heard), out);
    }

    /// Place of the sample of a moment.
    pub fn position_at(&self, time: Timestamp) -> i64 {
        samples_between(self.start, time, self.sample_rate_hz)
    }

    fn draw(&mut self, side: Side, piece: &Piece, heard: &Overheard) {
        let (payload, format) = (heard.payload(piece), heard.format(piece));
        let (rate_hz, track) = (self.sample_rate_hz, &mut self.tracks[side]);
        let drawing = if track.is_next(piece) {
            if let Some((from, to)) = track.note(piece, &format, payload, rate_hz)
                && from > self.canvas.start()
            {
                self.canvas.smear(side, from, to);
            }
            track.decode(piece, &format, payload, rate_hz)
        } else {
            track.decode_late(piece, &format, payload, rate_hz)
        };
        match drawing {
            Drawing::Nothing => {}
            Drawing::Companded(law) => {
                self.canvas.draw_g711(side, piece.position, payload, law);
            }
            Drawing::Linear(position, samples) => self.canvas.draw(side, position, samples),
            Drawing::Revised(stretches) => {
                // What was heard was heard: the canvas begins behind it.
                for (position, samples) in stretches {
                    self.canvas.draw(side, position, &samples);
                }
            }
        }
    }

    /// Appends everything before `to`.
    fn give(&mut self, to: i64, out: &mut Vec<i16>) {
        let rate = i64::from(self.sample_rate_hz);
        let longest = LONGEST_GAP_SECONDS * rate;
        if to - self.canvas.start() > longest {
            self.canvas.begin(to - longest);
        }
        while to > self.canvas.start() {
            let frames = (to - self.canvas.start()).min(rate) as usize;
            self.canvas.render(frames, &mut self.frames);
            self.canvas.advance(frames);
            let (samples, _) = self.frames.as_chunks::<2>();
            out.extend(samples.iter().map(|sample| i16::from_le_bytes(*sample)));
        }
    }
}

/// The first sample that is not yet complete.
fn behind(heard: &Overheard) -> i64 {
    let newest = samples_between(heard.start, heard.now, heard.sample_rate_hz);
    newest - BEHIND_MS * i64::from(heard.sample_rate_hz) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::media::Overheard;

    const START: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);

    /// Packets of 20 ms PCMU, at their places by number, heard `millis` after the start.
    fn heard(millis: u64, pieces: &[(Side, u32, u8)]) -> Overheard {
        let now = START + std::time::Duration::from_millis(millis);
        Overheard::of_pcmu(START, now, pieces)
    }

    /// What is heard of the caller and the callee in each 20 ms.
    fn levels(samples: &[i16]) -> Vec<(i16, i16)> {
        let frames = samples.chunks(320);
        frames.map(|frame| (frame[0], frame[1])).collect()
    }

    const A: u8 = 0x90;
    const B: u8 = 0x20;

    #[test]
    fn both_sides_are_heard_a_moment_behind_in_their_order() {
        use crate::codec::ULAW_TO_LINEAR as LINEAR;
        let (a, b) = (LINEAR[usize::from(A)], LINEAR[usize::from(B)]);
        let mut first = heard(60, &[(Side::Caller, 1, A), (Side::Caller, 0, A)]);
        let mut mix = LiveMix::new(&first);
        let mut out = Vec::new();
        mix.take(&mut first, &mut out);
        assert!(out.is_empty(), "it is not yet complete");
        // The callee's first packet is late, and still in time.
        let mut second = heard(120, &[(Side::Callee, 1, B), (Side::Callee, 0, B)]);
        mix.take(&mut second, &mut out);
        assert_eq!(levels(&out), [(a, b), (a, b)]);
        out.clear();
        mix.take(&mut heard(160, &[(Side::Callee, 0, B)]), &mut out);
        assert_eq!(
            levels(&out),
            [(0, 0), (0, 0)],
            "what nobody said is silence"
        );
    }

    #[test]
    fn a_long_silence_is_bounded() {
        let mut mix = LiveMix::new(&heard(0, &[]));
        let mut out = Vec::new();
        mix.take(&mut heard(3_600_000, &[]), &mut out);
        assert_eq!(out.len(), 2 * 5 * 8000);
        assert!(out.iter().all(|&sample| sample == 0));
    }
}
