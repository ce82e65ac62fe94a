//! How loud one side was: active speech level, peak, clipping, silence.
//!
//! The active level is that of ITU-T P.56 method B, taken from frames of 16 ms and without its hangover: the level of the frames
//! that lie above a threshold which is 15.9 dB below that level. Frames are counted by their energy in steps of 3 dB as they are
//! drawn, so that an hour costs no more than a second. Levels are dBov (ITU-T G.100.1): a square wave of full scale is 0, a sine
//! -3.01.

use super::canvas::Canvas;
use crate::base::Side;
use crate::storage::{Error, LevelRecord, PartFile, Sidecar, WavFormat};

/// How far the threshold of activity lies below the active level: P.56 section 7.
const MARGIN_DB: f64 = 15.9;
/// Frames a second.
const FRAMES_A_SECOND: f64 = 62.5;
/// Below this mean square, -60 dBov, there is no speech.
const FLOOR: usize = 11;
/// The largest value that mu-law has; that of A-law lies above it.
const CLIPPED: u16 = 32_124;
/// Frames of a file that are read at a time.
const FRAMES_AT_ONCE: usize = 256;
/// Steps from the floor to a square wave of full scale.
const BINS: usize = 32 - FLOOR;
/// A square has 30 bits; without the last four, 32 of them fit into 32 bits.
const SHIFT: u32 = 4;
const STRETCH: usize = 32;

/// What was heard of one side. 272 bytes.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// Frames above the floor by the logarithm of their mean square, and the sum of their mean squares.
    frames: [u32; BINS],
    energy: [u64; BINS],
    peak: u16,
    clipped: u64,
}

/// Samples of a frame at a rate.
pub fn frame_len(sample_rate_hz: u32) -> usize {
    (f64::from(sample_rate_hz) / FRAMES_A_SECOND) as usize
}

impl Level {
    /// Takes one frame.
    #[inline]
    pub fn take(&mut self, frame: &[i16]) {
        let (mut sum, mut low, mut high) = (0u64, 0i16, 0i16);
        // In stretches whose sums fit 32 bits, so that many samples are done at a time.
        for few in frame.chunks(STRETCH) {
            let mut of_few = 0u32;
            for &sample in few {
                let sample = i32::from(sample);
                of_few += (sample * sample) as u32 >> SHIFT;
            }
            sum += u64::from(of_few);
            for &sample in few {
                low = low.min(sample);
                high = high.max(sample);
            }
        }
        let peak = low.unsigned_abs().max(high.unsigned_abs());
        let sum = sum << SHIFT;
        let mean = sum / frame.len().max(1) as u64;
        let bin = mean.checked_ilog2().map_or(0, |log| log as usize + 1);
        let bin = bin.wrapping_sub(FLOOR);
        if let (Some(frames), Some(energy)) = (self.frames.get_mut(bin), self.energy.get_mut(bin)) {
            *frames += 1;
            *energy += mean;
        }
        self.peak = self.peak.max(peak);
        if peak >= CLIPPED {
            let clipped = frame.iter().filter(|s| s.unsigned_abs() >= CLIPPED);
            self.clipped += clipped.count() as u64;
        }
    }

    /// The active level and the frames that have it; `None` where nobody spoke.
    fn active(&self) -> Option<(f64, u64)> {
        (0..BINS).find_map(|from| {
            let frames: u64 = self.frames[from..]
                .iter()
                .map(|&frames| u64::from(frames))
                .sum();
            let energy: u64 = self.energy[from..].iter().sum();
            let level = dbov((energy as f64 / frames as f64).sqrt());
            let threshold = dbov((f64::from(1u32 << (from + FLOOR - 1))).sqrt());
            (frames > 0 && level - threshold <= MARGIN_DB).then_some((level, frames))
        })
    }

    /// Whether there was speech for so many seconds.
    pub fn speaks_for(&self, seconds: f64) -> bool {
        self.active()
            .is_some_and(|(_, frames)| frames as f64 >= seconds * FRAMES_A_SECOND)
    }

    /// Of a recording of `seconds`.
    pub fn record(&self, seconds: f64) -> LevelRecord {
        let rounded = |value: f64, places: f64| (value * places).round() / places;
        let active = self.active();
        let spoken = active.map_or(0.0, |(_, frames)| frames as f64 / FRAMES_A_SECOND);
        LevelRecord {
            active_dbov: active.map(|(level, _)| rounded(level, 10.0)),
            peak_dbov: (self.peak > 0).then(|| rounded(dbov(f64::from(self.peak)), 10.0)),
            silence_share: rounded((1.0 - spoken / seconds.max(1e-9)).clamp(0.0, 1.0), 1000.0),
            clipped_samples: self.clipped,
        }
    }
}

/// Measures a side from its file, which was drawn on after its blocks had been listened to; `sidecar` tells its length.
pub fn measure_again(part: &PartFile, sidecar: &mut Sidecar, side: Side) -> Result<(), Error> {
    let format = WavFormat {
        sample_format: sidecar.format,
        sample_rate_hz: sidecar.sample_rate_hz,
    };
    let len = frame_len(format.sample_rate_hz).max(1);
    let mut canvas = Canvas::new(format.sample_format, FRAMES_AT_ONCE * len);
    let mut bytes = vec![0; FRAMES_AT_ONCE * len * format.frame_bytes() as usize];
    let mut level = Level::default();
    let mut at = 0;
    while at < sidecar.samples {
        let frames = (sidecar.samples - at).min((FRAMES_AT_ONCE * len) as u64);
        part.read_at(&mut bytes, format.offset_of(at))?;
        canvas.load(&bytes);
        canvas.listen(side, frames as usize, len, |frame| level.take(frame));
        at += frames;
    }
    let record = level.record(sidecar.samples as f64 / f64::from(format.sample_rate_hz.max(1)));
    if let Some(quality) = &mut sidecar.quality
        && record.active_dbov.is_some()
        && quality.unheard == Some(side)
    {
        quality.unheard = None;
    }
    sidecar.levels[side] = Some(record);
    Ok(())
}

fn dbov(rms: f64) -> f64 {
    20.0 * (rms / 32_768.0).log10()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level_of(samples: impl Iterator<Item = f64>) -> Level {
        let samples: Vec<i16> = samples.map(|sample| sample as i16).collect();
        let mut level = Level::default();
        samples
            .chunks_exact(128)
            .for_each(|frame| level.take(frame));
        level
    }

    fn tone(amplitude: f64) -> impl Fn(i32) -> f64 {
        move |n| (f64::from(n) * 0.5).sin() * amplitude
    }

    #[test]
    fn a_tone_that_is_there_for_half_of_the_time() {
        let on = tone(3276.8);
        let samples = (0..80_000).map(|n| if n / 8000 % 2 == 0 { on(n) } else { 0.0 });
        let record = level_of(samples).record(10.0);
        assert_eq!(
            (record.active_dbov, record.peak_dbov),
            (Some(-23.0), Some(-20.0))
        );
        assert!((record.silence_share - 0.5).abs() < 0.03, "{record:?}");
        assert_eq!(record.clipped_samples, 0);
    }

    #[test]
    fn noise_between_words_is_no_speech() {
        let (speech, noise) = (tone(8000.0), tone(100.0));
        let samples = (0..80_000).map(|n| {
            if n / 8000 % 4 == 0 {
                speech(n)
            } else {
                noise(n)
            }
        });
        let record = level_of(samples).record(10.0);
        assert_eq!(record.active_dbov, Some(-15.3));
        assert!((record.silence_share - 0.7).abs() < 0.03, "{record:?}");
        assert_eq!(
            level_of((0..8000).map(tone(30.0))).record(1.0).active_dbov,
            None
        );
        assert_eq!(level_of((0..8000).map(|_| 0.0)).record(1.0).peak_dbov, None);
    }

    #[test]
    fn samples_at_the_edge_are_clipped() {
        let record = level_of((0..1280).map(|n| if n % 10 == 0 { -32_768.0 } else { 32_000.0 }))
            .record(0.16);
        assert_eq!((record.clipped_samples, record.peak_dbov), (128, Some(0.0)));
    }

    proptest! {
        #[test]
        fn any_samples_have_a_level(samples in proptest::collection::vec(any::<i16>(), 0..600)) {
            let mut level = Level::default();
            samples.chunks(128).for_each(|frame| level.take(frame));
            let record = level.record(samples.len() as f64 / 8000.0);
            prop_assert!((0.0..=1.0).contains(&record.silence_share));
            prop_assert!(record.active_dbov.is_none_or(|level| (-60.3..=0.0).contains(&level)));
        }
    }
}
