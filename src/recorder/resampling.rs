//! Samples of another rate than the recording's.

use super::segments::SEAM;
use crate::codec::Resampler;

/// A resampler with its place on the timeline. Its output is one unbroken stretch: where packets move by a sample to follow
/// a drifting clock, a sample is repeated or left out.
#[derive(Debug)]
pub struct Resampling {
    pub resampler: Resampler,
    input_rate_hz: u32,
    /// Where the next output sample belongs.
    output_at: i64,
    /// Where the stretch began, by the place of its latest packet.
    origin: i64,
    /// Input samples of the stretch.
    inputs: i64,
    last: i16,
}

impl Resampling {
    pub fn new(input_rate_hz: u32, rate_hz: u32) -> Option<Resampling> {
        let resampler = Resampler::new(input_rate_hz, rate_hz)?;
        Some(Resampling {
            resampler,
            input_rate_hz,
            output_at: 0,
            origin: i64::MIN,
            inputs: 0,
            last: 0,
        })
    }

    /// Turns `samples` of a packet at `position` into samples of the recording; where those begin. After a gap the filter
    /// begins anew.
    pub fn push(&mut self, position: i64, samples: &mut Vec<i16>, rate_hz: u32) -> i64 {
        let input = std::mem::take(samples);
        let before = self.inputs * i64::from(rate_hz) / i64::from(self.input_rate_hz);
        let moved = position.saturating_sub(self.origin.saturating_add(before));
        if moved.abs() > SEAM {
            self.restart(position);
        } else {
            self.origin += moved;
        }
        self.inputs += input.len() as i64;
        self.resampler.push(&input, samples);
        match usize::try_from(moved) {
            Ok(repeated) if repeated <= SEAM as usize => {
                samples.splice(0..0, std::iter::repeat_n(self.last, repeated));
            }
            Err(_) if moved >= -SEAM => {
                drop(samples.drain(..samples.len().min(moved.unsigned_abs() as usize)))
            }
            _ => {}
        }
        self.last = samples.last().copied().unwrap_or(self.last);
        let begin = self.output_at;
        self.output_at += samples.len() as i64;
        begin
    }

    /// The samples that waited for what follows, and where they belong.
    pub fn finish(&mut self) -> (i64, Vec<i16>) {
        let mut samples = Vec::new();
        self.resampler.finish(&mut samples);
        (self.output_at, samples)
    }

    /// What is pushed next begins a new stretch.
    pub fn forget(&mut self) {
        self.origin = i64::MIN;
    }

    fn restart(&mut self, position: i64) {
        self.resampler = self.resampler.fresh();
        (self.origin, self.output_at, self.inputs, self.last) = (position, position, 0, 0);
    }
}
