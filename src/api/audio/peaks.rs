//! How a recording looks: the smallest and the largest sample of each side in each of so many stretches.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

use super::file::AudioFile;
use super::rendition::read_samples;

/// Points of one answer.
pub const MAX_POINTS: u32 = 10_000;
/// Frames read at a time.
const STEP: usize = 64 * 1024;
/// Bytes of answers that are kept to be given again.
const KEPT_BYTES: usize = 16 << 20;

/// Waveform peaks. Point `n` stands for the stretch from `n / points` to `(n + 1) / points` of the recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Peaks {
    /// At most as many as were asked for, and as there are samples.
    pub points: u32,
    pub duration_ms: u64,
    pub sample_rate_hz: u32,
    pub caller: SidePeaks,
    pub callee: SidePeaks,
}

/// -32,768 to 32,767; silence is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SidePeaks {
    pub min: Vec<i16>,
    pub max: Vec<i16>,
}

impl SidePeaks {
    fn take(&mut self, sample: i16) {
        if let (Some(min), Some(max)) = (self.min.last_mut(), self.max.last_mut()) {
            *min = (*min).min(sample);
            *max = (*max).max(sample);
        }
    }

    fn begin(&mut self, sample: i16) {
        self.min.push(sample);
        self.max.push(sample);
    }
}

impl Peaks {
    /// Reads the whole recording, a step at a time. Blocks.
    pub fn of(audio: &AudioFile, points: u32) -> io::Result<Peaks> {
        let frames = audio.info.frames;
        let rate = audio.info.format.sample_rate_hz;
        let points = frames.min(u64::from(points.clamp(1, MAX_POINTS)));
        let mut peaks = Peaks {
            points: points as u32,
            duration_ms: frames * 1000 / u64::from(rate.max(1)),
            sample_rate_hz: rate,
            caller: SidePeaks::default(),
            callee: SidePeaks::default(),
        };
        let (mut at, mut point, mut next) = (0, 0, 0);
        let mut samples = Vec::new();
        while at < frames {
            read_samples(audio, at, STEP, &mut samples)?;
            let (pairs, _) = samples.as_chunks::<2>();
            if pairs.is_empty() {
                break;
            }
            for &[caller, callee] in pairs {
                if at == next {
                    point += 1;
                    next = frames * point / points;
                    peaks.caller.begin(caller);
                    peaks.callee.begin(callee);
                }
                peaks.caller.take(caller);
                peaks.callee.take(callee);
                at += 1;
            }
        }
        Ok(peaks)
    }
}

/// Answers that were given, by the file they are of. The one that was not asked for longest goes first.
#[derive(Debug, Default)]
pub struct PeaksCache(Mutex<Kept>);

/// Of which file, with how many points.
type Key = (String, u32);
/// An answer, and when it was asked for last.
type Answer = (Arc<Vec<u8>>, u64);

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Key, Answer>,
    bytes: usize,
    /// Counts questions.
    now: u64,
}

impl PeaksCache {
    pub fn find(&self, fingerprint: &str, points: u32) -> Option<Arc<Vec<u8>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.now += 1;
        let now = kept.now;
        let (answer, asked) = kept.answers.get_mut(&(fingerprint.to_owned(), points))?;
        *asked = now;
        Some(answer.clone())
    }

    pub fn keep(&self, fingerprint: &str, points: u32, answer: Arc<Vec<u8>>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        kept.now += 1;
        kept.bytes += answer.len();
        let key = (fingerprint.to_owned(), points);
        if let Some((old, _)) = kept.answers.insert(key, (answer, kept.now)) {
            kept.bytes -= old.len();
        }
        while kept.bytes > KEPT_BYTES {
            let oldest = kept.answers.iter().min_by_key(|(_, (_, asked))| *asked);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            if let Some((old, _)) = kept.answers.remove(&oldest) {
                kept.bytes -= old.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::{TENANT, format, write};
    use super::*;
    use crate::storage::{Layout, SampleFormat};

    fn peaks(frames: &[(i16, i16)], points: u32) -> Peaks {
        let folder = tempfile::tempdir().unwrap();
        let bytes = frames
            .iter()
            .flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()]);
        let bytes: Vec<u8> = bytes.flatten().collect();
        let place = write(folder.path(), 1, format(SampleFormat::Pcm16, 8000), &bytes);
        let audio = AudioFile::open(&Layout::new(folder.path()), TENANT, &place).unwrap();
        Peaks::of(&audio, points).unwrap()
    }

    #[test]
    fn each_point_has_the_extremes_of_its_stretch() {
        let frames = [
            (1, -1),
            (5, -5),
            (-2, 2),
            (0, 0),
            (9, 3),
            (8, 4),
            (7, 32_767),
        ];
        let found = peaks(&frames, 3);
        assert_eq!(found.points, 3);
        // Stretches of two, two and three.
        assert_eq!(found.caller.min, [1, -2, 7]);
        assert_eq!(found.caller.max, [5, 0, 9]);
        assert_eq!(found.callee.min, [-5, 0, 3]);
        assert_eq!(found.callee.max, [-1, 2, 32_767]);
    }

    #[test]
    fn there_are_no_more_points_than_samples() {
        assert_eq!(peaks(&[(1, 2), (3, 4)], 100).caller.max, [1, 3]);
        assert_eq!(peaks(&[], 100).points, 0);
    }

    #[test]
    fn a_long_recording_is_read_in_steps() {
        let frames: Vec<_> = (0..STEP * 2 + 17)
            .map(|n| ((n % 1000) as i16, -1))
            .collect();
        let found = peaks(&frames, 10_000);
        assert_eq!(
            (found.caller.max.len(), found.callee.min.len()),
            (10_000, 10_000)
        );
        let all = peaks(&frames, 1);
        assert_eq!((all.caller.min, all.caller.max), (vec![0], vec![999]));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_least_wanted_goes() {
        let cache = PeaksCache::default();
        let answer = || Arc::new(vec![0; KEPT_BYTES / 4]);
        for name in ["a", "b", "c", "d"] {
            cache.keep(name, 7, answer());
        }
        assert!(cache.find("a", 7).is_some());
        cache.keep("e", 7, answer());
        let there: Vec<_> = ["a", "b", "c", "d", "e"]
            .into_iter()
            .filter(|name| cache.find(name, 7).is_some())
            .collect();
        assert_eq!(there, ["a", "c", "d", "e"]);
        assert!(cache.find("a", 8).is_none());
    }
}
