//! The audio of one side of one call: any sample of it, at any time, from its position alone.

use super::random::Random;
use crate::base::Side;

/// Two tones of a swelling loudness with noise on top, at -20 dBFS, silent nowhere. Each key gives its own tones and noise,
/// so that a shift by one sample, an exchange of sides or a mix-up of calls shows in the first few samples.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    low_step: u32,
    high_step: u32,
    swell_step: u32,
    noise: u32,
}

/// Peak of each tone at full swell, and of the noise: together -20 dBFS (RMS over 32,768).
const TONE_PEAK: i32 = 3635;
const NOISE_PEAK: i32 = 2600;

/// Phase step of one hertz at 8,000 samples/s, a turn being 2^32.
const HERTZ: u64 = (1 << 32) / 8000;

impl Voice {
    pub fn new(key: u64) -> Voice {
        let mut random = Random::of(key, &[]);
        let mut step = |from: u64, span: u64| ((from * HERTZ) + random.below(span * HERTZ)) as u32;
        let (low_step, high_step, swell_step) = (step(180, 300), step(600, 900), step(1, 3));
        Voice {
            low_step,
            high_step,
            swell_step,
            noise: random.next_u32(),
        }
    }

    /// The key of one side of one call of a scenario.
    pub fn key(seed: u64, call: u32, side: Side) -> u64 {
        Random::of(seed, &[0x766f_6963, u64::from(call), side as u64]).next_u64()
    }

    /// The sample at position `n`, counted in samples of whatever rate the side sends at.
    pub fn sample(&self, n: u64) -> i16 {
        self.at(n as u32)
    }

    /// The samples from position `first` on.
    pub fn fill(&self, first: u64, out: &mut [i16]) {
        let first = first as u32;
        for (i, sample) in out.iter_mut().enumerate() {
            *sample = self.at(first.wrapping_add(i as u32));
        }
    }

    // Whole-number arithmetic without tables or branches: the compiler makes it eight samples at a time.
    #[inline(always)]
    fn at(&self, n: u32) -> i16 {
        let tones = wave(n.wrapping_mul(self.low_step)) + wave(n.wrapping_mul(self.high_step));
        let swell = 24_576 + (wave(n.wrapping_mul(self.swell_step)) >> 1);
        let loudness = (swell * TONE_PEAK) >> 15;
        let hash = n.wrapping_mul(0x9e37_79b1).wrapping_add(self.noise);
        let hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
        let noise = (((hash as i32) >> 16) * NOISE_PEAK) >> 15;
        (((tones * loudness) >> 14) + noise) as i16
    }
}

/// A parabola for a sine: -16,384 to 16,384 over a turn of 2^32.
#[inline(always)]
fn wave(phase: u32) -> i32 {
    let phase = (phase as i32) >> 16;
    (phase * (32_768 - phase.abs())) >> 14
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(key: u64) -> Vec<i16> {
        let mut samples = vec![0; 480_000];
        Voice::new(key).fill(0, &mut samples);
        samples
    }

    #[test]
    fn any_position_gives_the_same_sample_alone_as_in_a_row() {
        let voice = Voice::new(5);
        let mut row = [0; 500];
        voice.fill(7_000, &mut row);
        assert!(
            row.iter()
                .enumerate()
                .all(|(i, s)| voice.sample(7_000 + i as u64) == *s)
        );
    }

    #[test]
    fn level_is_that_of_speech_and_silence_is_nowhere() {
        for key in 0..20 {
            let samples = minute(key);
            let power = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 480_000.0;
            let level = 10.0 * (power / 32_768f64.powi(2)).log10();
            assert!((-20.6..-19.4).contains(&level), "key {key}: {level} dBFS");
            assert!(
                samples
                    .windows(4)
                    .all(|four| four.iter().any(|s| s.abs() > 8)),
                "key {key}"
            );
        }
    }

    #[test]
    fn no_shift_and_no_other_voice_looks_alike() {
        let (one, other) = (minute(1), minute(2));
        let alike = |a: &[i16], b: &[i16]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        assert!(alike(&one, &other) < 200);
        for shift in [1, 8, 80, 160, 1600, 8000, 65_536] {
            assert!(alike(&one, &one[shift..]) < 400, "shift {shift}");
        }
    }
}
