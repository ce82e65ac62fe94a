//! Recordings read back from the disk, sample by sample.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::Path;

use callreel::base::{PerSide, Side};
use callreel::storage::{Cause, SegmentRecord, Sidecar};

/// 20 ms.
pub const FRAME: usize = 160;
/// Frames softer than this are not speech: `expect.py` leaves them out too.
const SPEECH_DBFS: f64 = -50.0;

/// A recording of two channels at 8 kHz, and what is told of it.
pub struct Recording {
    pub sidecar: Sidecar,
    pub channels: PerSide<Vec<i16>>,
}

impl Recording {
    pub fn read(audio: &Path) -> Recording {
        let sidecar = Sidecar::read(&audio.with_extension("json")).unwrap();
        let mut wav = hound::WavReader::open(audio).unwrap();
        let spec = wav.spec();
        assert_eq!(
            (spec.channels, spec.sample_rate, spec.bits_per_sample),
            (2, 8000, 16)
        );
        let mut channels = PerSide::<Vec<i16>>::default();
        for (n, sample) in wav.samples::<i16>().enumerate() {
            channels[Side::BOTH[n % 2]].push(sample.unwrap());
        }
        assert_eq!(sidecar.samples as usize, channels.callee.len());
        Recording { sidecar, channels }
    }

    pub fn holds(&self) -> Vec<&SegmentRecord> {
        let segments = self.sidecar.segments.iter();
        segments.filter(|s| s.cause == Cause::Hold).collect()
    }

    pub fn digits(&self, side: Side) -> String {
        let digits = self.sidecar.digits.iter();
        digits.filter(|d| d.side == side).map(|d| d.key).collect()
    }

    /// Packets of one side's streams, packets of them that are not in the recording, packets lost, duplicates.
    pub fn counts(&self, side: Side) -> [u64; 4] {
        let streams = self.sidecar.streams.iter().filter(|s| s.side == side);
        streams.fold([0; 4], |[packets, not_placed, lost, twice], s| {
            [
                packets + s.packets,
                not_placed + s.not_placed,
                lost + s.lost,
                twice + s.duplicates,
            ]
        })
    }
}

/// RMS over the loud frames, 0 dBFS being a full-scale square wave, as in `expect.py`.
pub fn level_dbfs(samples: &[i16]) -> f64 {
    let power = |frame: &[i16]| {
        let sum: f64 = frame.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
        sum / frame.len() as f64
    };
    let dbfs = |power: f64| 10.0 * (power / 32768f64.powi(2)).log10();
    let loud: Vec<f64> = samples
        .chunks_exact(FRAME)
        .map(power)
        .filter(|&power| dbfs(power) > SPEECH_DBFS)
        .collect();
    dbfs(loud.iter().sum::<f64>() / loud.len() as f64)
}
