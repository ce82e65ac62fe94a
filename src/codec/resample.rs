//! From one sample rate to another, a packet at a time.
//!
//! Recordings are written at places, not in sequence: the output of each packet must be a definite stretch of the timeline.
//! A polyphase filter (Hann-windowed sinc, 16 lobes each way) gives that: its delay is known, and taken out. Where two rates
//! have so little in common that their phases are too many, what lies between two of fewer phases is taken; the place of
//! each output is exact all the same, and nothing drifts.

use std::ops::RangeInclusive;
use std::sync::Arc;

/// Zero crossings of the sinc to each side.
const LOBES: usize = 16;

/// Coefficients of a filter, at most.
const MAX_COEFFICIENTS: usize = 64 << 10;

/// Converts one channel by a rational ratio. Memory: 4 bytes for each tap of each phase, at most 256 KiB; at most 120 KiB
/// for the rates in use (8 to 96 kHz, RFC 3551 section 4.5.11).
#[derive(Clone, Debug)]
pub struct Resampler {
    /// Output step and input step: `up` outputs for `down` inputs.
    up: usize,
    down: usize,
    /// Taps of one phase.
    taps: usize,
    /// Into so many phases an input sample is divided: `up`, where each output falls on one of them.
    phases: usize,
    /// One phase more of `taps` coefficients each: the last is the first, an input sample later.
    filter: Arc<[f32]>,
    /// Input that may still be needed; its first sample is number `first - taps / 2`.
    history: Vec<f32>,
    /// Input samples let go of.
    dropped: usize,
    /// Output samples given.
    given: usize,
}

/// Rates that are taken: what is outside is no sound of a phone.
pub const INPUT_RATES_HZ: RangeInclusive<u32> = 4000..=192_000;

impl Resampler {
    /// `None` when a rate is not one of [`INPUT_RATES_HZ`].
    pub fn new(input_hz: u32, output_hz: u32) -> Option<Resampler> {
        if ![input_hz, output_hz]
            .iter()
            .all(|hz| INPUT_RATES_HZ.contains(hz))
        {
            return None;
        }
        let common = gcd(input_hz, output_hz);
        let (up, down) = ((output_hz / common) as usize, (input_hz / common) as usize);
        // Below the smaller of both Nyquist frequencies, in cycles an input sample, with room for the filter's slope.
        let cutoff = 0.46 * (up as f64 / down as f64).min(1.0);
        let half = (LOBES as f64 / (2.0 * cutoff)).ceil() as usize;
        let taps = 2 * half;
        let phases = up.min(MAX_COEFFICIENTS / taps - 1);
        let mut filter = Vec::with_capacity((phases + 1) * taps);
        for phase in 0..=phases {
            let offset = phase as f64 / phases as f64;
            let weights: Vec<f64> = (0..taps)
                .map(|tap| {
                    windowed_sinc(tap as f64 - (half - 1) as f64 - offset, cutoff, half as f64)
                })
                .collect();
            let sum: f64 = weights.iter().sum();
            filter.extend(weights.iter().map(|weight| (weight / sum) as f32));
        }
        let history = vec![0.0; half - 1];
        Some(Resampler {
            up,
            down,
            taps,
            phases,
            filter: filter.into(),
            history,
            dropped: 0,
            given: 0,
        })
    }

    /// One of the same rates that has heard nothing yet. Costs no computing of filters.
    pub fn fresh(&self) -> Resampler {
        Resampler {
            filter: self.filter.clone(),
            history: vec![0.0; self.taps / 2 - 1],
            dropped: 0,
            given: 0,
            ..*self
        }
    }

    /// Appends the output samples that `input` makes certain. The first output ever stands for the first input sample; the
    /// last ones wait for what follows them.
    pub fn push(&mut self, input: &[i16], output: &mut Vec<i16>) {
        self.history
            .extend(input.iter().map(|&sample| f32::from(sample)));
        loop {
            let at = self.given * self.down;
            let begin = at / self.up - self.dropped;
            let Some(window) = self.history.get(begin..begin + self.taps) else {
                break;
            };
            let sum = self.sample(window, at % self.up);
            output.push(sum.round().clamp(-32_768.0, 32_767.0) as i16);
            self.given += 1;
        }
        let used = (self.given * self.down / self.up - self.dropped).min(self.history.len());
        self.history.drain(..used);
        self.dropped += used;
    }

    /// What lies `part` of `up` parts behind the middle of a window.
    #[inline]
    fn sample(&self, window: &[f32], part: usize) -> f32 {
        let sum = |phase: usize| -> f32 {
            let coefficients = &self.filter[phase * self.taps..][..self.taps];
            window.iter().zip(coefficients).map(|(a, b)| a * b).sum()
        };
        if self.phases == self.up {
            return sum(part);
        }
        let (phase, rest) = (part * self.phases / self.up, part * self.phases % self.up);
        let (before, after) = (sum(phase), sum(phase + 1));
        before + (after - before) * (rest as f32 / self.up as f32)
    }

    /// Appends the samples that were waiting, as if silence followed.
    pub fn finish(&mut self, output: &mut Vec<i16>) {
        self.push(&vec![0; self.taps / 2], output);
    }
}

fn windowed_sinc(x: f64, cutoff: f64, half: f64) -> f64 {
    if x.abs() >= half {
        return 0.0;
    }
    let angle = 2.0 * std::f64::consts::PI * cutoff * x;
    let sinc = if x == 0.0 { 1.0 } else { angle.sin() / angle };
    sinc * (0.5 + 0.5 * (std::f64::consts::PI * x / half).cos())
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hz: f64, len: usize) -> Vec<i16> {
        let step = 2.0 * std::f64::consts::PI * hz / f64::from(rate);
        (0..len)
            .map(|n| ((n as f64 * step).sin() * 10_000.0) as i16)
            .collect()
    }

    fn converted(input: &[i16], input_hz: u32, output_hz: u32) -> Vec<i16> {
        let mut resampler = Resampler::new(input_hz, output_hz).unwrap();
        assert!(resampler.filter.len() <= MAX_COEFFICIENTS);
        let mut output = Vec::new();
        for packet in input.chunks(input_hz as usize / 50) {
            resampler.push(packet, &mut output);
        }
        resampler.finish(&mut output);
        output
    }

    /// Half a second of a tone of 1 kHz comes out as one of the other rate.
    fn assert_tone(input_hz: u32, output_hz: u32) {
        let output = converted(
            &tone(input_hz, 1000.0, input_hz as usize / 2),
            input_hz,
            output_hz,
        );
        let expected = tone(output_hz, 1000.0, output_hz as usize / 2);
        assert!(
            output.len().abs_diff(expected.len()) <= 2 + (output_hz / input_hz) as usize,
            "{input_hz} to {output_hz}: {}",
            output.len()
        );
        let inner = 400..expected.len() - 400;
        let error = inner
            .map(|n| (i32::from(output[n]) - i32::from(expected[n])).abs())
            .max()
            .unwrap();
        assert!(error < 60, "{input_hz} to {output_hz}: off by {error}");
    }

    #[test]
    fn a_tone_stays_where_and_what_it_is() {
        for input_hz in [
            4000, 8000, 10_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 37_800, 44_056,
            44_100, 48_000, 64_000, 88_200, 96_000, 176_400, 191_999, 192_000,
        ] {
            for output_hz in [8000, 16_000] {
                assert_tone(input_hz, output_hz);
            }
        }
    }

    #[test]
    fn between_two_phases_is_what_more_phases_give() {
        // 44,100 Hz to 16 kHz has 160 phases, all in the table; 44,101 Hz has 16,000.
        let close = |hz| Resampler::new(hz, 16_000).unwrap();
        assert_eq!(close(44_100).phases, 160);
        assert!(close(44_101).phases < 16_000);
        let output = converted(&tone(44_101, 3000.0, 44_101), 44_101, 16_000);
        let expected = tone(16_000, 3000.0, 16_000);
        let error = (400..15_600).map(|n| (i32::from(output[n]) - i32::from(expected[n])).abs());
        assert!(error.max().unwrap() < 60);
    }

    #[test]
    fn rates_of_no_phone_are_refused() {
        for hz in [0, 1, 3999, 192_001, u32::MAX] {
            assert!(Resampler::new(hz, 8000).is_none());
            assert!(Resampler::new(8000, hz).is_none());
        }
    }

    /// An hour later a click is where it belongs, though the rates have nothing in common.
    #[test]
    fn nothing_drifts_in_an_hour() {
        for input_hz in [44_056, 10_007] {
            let mut resampler = Resampler::new(input_hz, 8000).unwrap();
            let mut output = Vec::new();
            let mut second = vec![0; input_hz as usize];
            resampler.push(&second, &mut output);
            // Where it is after so many seconds more of silence: of what came before, only the counts are left.
            resampler.given += 3600 * 8000;
            resampler.dropped += 3600 * input_hz as usize;
            let begin = resampler.given;
            second[input_hz as usize / 2] = 30_000;
            output.clear();
            resampler.push(&second, &mut output);
            let loudest = (0..output.len()).max_by_key(|&n| output[n]).unwrap();
            let due = 3601 * 8000 + 4000;
            assert!((begin + loudest).abs_diff(due) <= 1, "{}", begin + loudest);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]

        /// Whatever two rates there are, and however the input is cut: as long as it was, and the same sound.
        #[test]
        fn any_rate_becomes_any_other(input_hz in 4000u32..=192_000, wide in proptest::bool::ANY) {
            assert_tone(input_hz, if wide { 16_000 } else { 8000 });
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_gone() {
        let mut resampler = Resampler::new(48_000, 8000).unwrap();
        let mut output = Vec::new();
        resampler.push(&tone(48_000, 6000.0, 48_000), &mut output);
        assert!(output[400..].iter().all(|sample| sample.abs() < 50));
    }
}
