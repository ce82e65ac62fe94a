//! From one sample rate to another, a packet at a time.
//!
//! Recordings are written at places, not in sequence: the output of each packet must be a definite stretch of the timeline.
//! A polyphase filter (Hann-windowed sinc, 16 lobes each way) gives that: its delay is known, and taken out.

use std::sync::Arc;

/// Zero crossings of the sinc to each side.
const LOBES: usize = 16;

/// Converts one channel by a rational ratio. Memory: 4 bytes for each tap of each phase, at most 120 KiB for the rates that
/// [`Resampler::new`] accepts.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// Output step and input step: `up` outputs for `down` inputs.
    up: usize,
    down: usize,
    /// Taps of one phase.
    taps: usize,
    /// `up` phases of `taps` coefficients.
    filter: Arc<[f32]>,
    /// Input that may still be needed; its first sample is number `first - taps / 2`.
    history: Vec<f32>,
    /// Input samples let go of.
    dropped: usize,
    /// Output samples given.
    given: usize,
}

/// Rates in use for linear PCM (RFC 3551 section 4.5.11 and sound cards).
pub const INPUT_RATES_HZ: [u32; 11] = [
    8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000,
];

impl Resampler {
    /// `None` when `input_hz` is not one of [`INPUT_RATES_HZ`].
    pub fn new(input_hz: u32, output_hz: u32) -> Option<Resampler> {
        if !INPUT_RATES_HZ.contains(&input_hz) || output_hz == 0 {
            return None;
        }
        let common = gcd(input_hz, output_hz);
        let (up, down) = ((output_hz / common) as usize, (input_hz / common) as usize);
        // Below the smaller of both Nyquist frequencies, in cycles an input sample, with room for the filter's slope.
        let cutoff = 0.46 * (up as f64 / down as f64).min(1.0);
        let half = (LOBES as f64 / (2.0 * cutoff)).ceil() as usize;
        let taps = 2 * half;
        let mut filter = Vec::with_capacity(up * taps);
        for phase in 0..up {
            let offset = phase as f64 / up as f64;
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
            let phase = at % self.up * self.taps;
            let sum: f32 = window
                .iter()
                .zip(&self.filter[phase..phase + self.taps])
                .map(|(a, b)| a * b)
                .sum();
            output.push(sum.round().clamp(-32_768.0, 32_767.0) as i16);
            self.given += 1;
        }
        let used = (self.given * self.down / self.up - self.dropped).min(self.history.len());
        self.history.drain(..used);
        self.dropped += used;
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

    #[test]
    fn a_tone_stays_where_and_what_it_is() {
        for input_hz in INPUT_RATES_HZ {
            for output_hz in [8000, 16_000] {
                let mut resampler = Resampler::new(input_hz, output_hz).unwrap();
                let mut output = Vec::new();
                for packet in
                    tone(input_hz, 1000.0, input_hz as usize / 2).chunks(input_hz as usize / 50)
                {
                    resampler.push(packet, &mut output);
                }
                resampler.finish(&mut output);
                let expected = tone(output_hz, 1000.0, output_hz as usize / 2);
                assert!(
                    output.len().abs_diff(expected.len()) <= 2,
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
