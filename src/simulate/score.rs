//! How well a recording matches what was sent.

use serde::Serialize;

use super::Voice;
use super::truth::{MediaSpan, TruthCall, TruthSide};
use crate::base::{PerSide, Timestamp};

/// Both sides of one recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    pub sides: PerSide<SideScore>,
}

/// One channel. Every sample that was sent and arrived is one of `exact`, `wrong`, `missing`, `removed` and `resampled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SideScore {
    /// Samples that were sent and arrived, at the recording's rate.
    pub expected: u64,
    /// Just as the codec gives them.
    pub exact: u64,
    pub wrong: u64,
    /// Silence, or past the recording's ends, where something was to be heard.
    pub missing: u64,
    /// Left out while what follows goes on earlier by as much: a repair of clock drift.
    pub removed: u64,
    /// Samples between two that were sent one after the other: the opposite repair.
    pub inserted: u64,
    /// Not silent where nothing was to be heard.
    pub extra: u64,
    /// Sent at another rate: only correlation can tell whether they are right.
    pub resampled: u64,
    /// By how many samples the first audio stands later than it was sent; none if it was not found within 200 ms.
    pub offset_samples: Option<i64>,
    /// The least and the most of that over the call.
    pub lowest_offset: Option<i64>,
    pub highest_offset: Option<i64>,
    /// Of recording and truth, in the second that matches worst; 1 is the same up to loudness.
    pub correlation_min: Option<f64>,
    pub correlation_mean: Option<f64>,
    /// RMS over 32,768 of the recording where audio was to be heard.
    pub level_dbfs: Option<f64>,
}

impl Score {
    /// Nothing is wrong, missing or too much on either side, and neither is off its place by more than this.
    pub fn is_perfect(&self, offset_samples: u64) -> bool {
        self.sides
            .iter()
            .all(|(_, side)| side.is_exact() && side.is_within(offset_samples))
    }

    /// The most by which one side can have been ahead of the other, in samples.
    pub fn skew_samples(&self) -> Option<u64> {
        let (a, b) = (&self.sides.caller, &self.sides.callee);
        let one = a.highest_offset? - b.lowest_offset?;
        let other = b.highest_offset? - a.lowest_offset?;
        Some(one.max(other).unsigned_abs())
    }
}

impl SideScore {
    /// Bit-exact: all that arrived is there in one piece, and nothing else. A side that sent nothing is exact if it is silent.
    pub fn is_exact(&self) -> bool {
        self.exact == self.expected && self.inserted == 0 && self.extra == 0
    }

    /// Never off its place by more than this.
    pub fn is_within(&self, offset_samples: u64) -> bool {
        [self.lowest_offset, self.highest_offset]
            .into_iter()
            .flatten()
            .all(|offset| offset.unsigned_abs() <= offset_samples)
    }
}

/// Compares a recording with its truth. `start` is the time of the first frame of the recording; left is the caller.
///
/// Where each side stands in the recording is searched within 200 ms of its true place, and followed from then on, so that a
/// repaired clock drift costs the samples repaired and no more.
pub fn score(
    left: &[i16],
    right: &[i16],
    sample_rate_hz: u32,
    start: Timestamp,
    call: &TruthCall,
) -> Score {
    let side = |recorded, truth| Tracker::new(recorded, sample_rate_hz, start, truth).score();
    Score {
        sides: PerSide {
            caller: side(left, &call.sides.caller),
            callee: side(right, &call.sides.callee),
        },
    }
}

/// The recording that a perfect recorder makes of a call: each 20 ms at the place of its time, silence where nothing arrived.
pub fn synthesise(call: &TruthCall, sample_rate_hz: u32, start: Timestamp) -> PerSide<Vec<i16>> {
    let end = call.last_media().unwrap_or(start);
    let length = samples_in(end.nanos_since(start), sample_rate_hz).max(0) as usize;
    let side = |truth: &TruthSide| {
        let mut samples = vec![0; length];
        let tracker = Tracker::new(&[], sample_rate_hz, start, truth);
        for piece in truth.delivered() {
            let expected = tracker.expected(&piece);
            let size = sample_rate_hz as usize / 50;
            for (i, chunk) in expected.chunks(size).enumerate() {
                let from = tracker.place(&piece, i * size);
                let room = samples.iter_mut().skip(from.max(0) as usize);
                room.zip(chunk).for_each(|(sample, value)| *sample = *value);
            }
        }
        samples
    };
    PerSide {
        caller: side(&call.sides.caller),
        callee: side(&call.sides.callee),
    }
}

/// Both laws decode their quietest codes to no more than this.
const SILENCE: u16 = 8;
/// So many samples in a row are found nowhere by chance.
const PROBE: usize = 48;

fn samples_in(nanos: i64, rate: u32) -> i64 {
    let scaled = i128::from(nanos) * i128::from(rate);
    ((scaled + 500_000_000).div_euclid(1_000_000_000)) as i64
}

/// Goes through what was sent, knowing where in the recording it is.
struct Tracker<'a> {
    recorded: &'a [i16],
    rate: u32,
    start: Timestamp,
    truth: &'a TruthSide,
    voice: Voice,
    /// Samples of the recording that have been compared with something.
    compared: Vec<bool>,
    /// Where the piece before ended: in the voice, and in the recording.
    ended: Option<(u64, i64)>,
    /// Places of that piece at which the recording has something else, and whether that is silence.
    off: Vec<(i64, bool)>,
    score: SideScore,
    /// Of the current second, and of those that are over.
    second: Products,
    correlations: Vec<f64>,
    power: f64,
}

#[derive(Default)]
struct Products {
    number: i64,
    count: u32,
    mixed: f64,
    expected: f64,
    recorded: f64,
}

impl Products {
    fn correlation(&self) -> f64 {
        let scale = (self.expected * self.recorded).sqrt();
        if scale > 0.0 { self.mixed / scale } else { 0.0 }
    }
}

impl<'a> Tracker<'a> {
    fn new(recorded: &'a [i16], rate: u32, start: Timestamp, truth: &'a TruthSide) -> Self {
        Tracker {
            recorded,
            rate,
            start,
            truth,
            voice: Voice::new(truth.voice),
            compared: vec![false; recorded.len()],
            ended: None,
            off: Vec::new(),
            score: SideScore::default(),
            second: Products::default(),
            correlations: Vec::new(),
            power: 0.0,
        }
    }

    fn score(mut self) -> SideScore {
        let mut offset = None;
        let mut last_ssrc = None;
        for piece in self.truth.delivered() {
            let expected = self.expected(&piece);
            self.score.expected += expected.len() as u64;
            if last_ssrc != Some((piece.ssrc, piece.codec)) {
                // Another stream has a place of its own.
                offset = None;
                last_ssrc = Some((piece.ssrc, piece.codec));
            }
            if piece.codec.clock_rate_hz() == self.rate {
                offset = self.compare(&piece, &expected, offset);
            } else {
                offset = self.compare_resampled(&piece, &expected, offset);
            }
        }
        self.finish()
    }

    fn finish(mut self) -> SideScore {
        self.close_second();
        let extra = self.recorded.iter().zip(&self.compared);
        self.score.extra = extra.filter(|(s, done)| !**done && !is_silent(**s)).count() as u64;
        let count = self.correlations.len();
        if count > 0 {
            self.score.correlation_min = self.correlations.iter().copied().reduce(f64::min);
            self.score.correlation_mean =
                Some(self.correlations.iter().sum::<f64>() / count as f64);
        }
        let compared = self.compared.iter().filter(|done| **done).count();
        if compared > 0 && self.power > 0.0 {
            let mean = self.power / compared as f64 / 32_768f64.powi(2);
            self.score.level_dbfs = Some(10.0 * mean.log10());
        }
        self.score
    }

    /// What is heard of a piece, at the recording's rate.
    fn expected(&self, piece: &MediaSpan) -> Vec<i16> {
        let heard = |n: u64| piece.codec.heard(self.voice.sample(piece.first_sample + n));
        let rate = u64::from(piece.codec.clock_rate_hz());
        let own = u64::from(self.rate);
        if rate == own {
            return (0..piece.samples).map(heard).collect();
        }
        // Straight lines between samples.
        let at = |j: u64| {
            let (n, part) = (j * rate / own, (j * rate % own) as f64 / own as f64);
            let (a, b) = (
                f64::from(heard(n)),
                f64::from(heard((n + 1).min(piece.samples - 1))),
            );
            (a + (b - a) * part) as i16
        };
        (0..piece.samples * own / rate).map(at).collect()
    }

    /// Where in the recording sample `i` of a piece belongs by the time at which it was sent.
    fn place(&self, piece: &MediaSpan, i: usize) -> i64 {
        let sent = i128::from(piece.time_ns - self.start.as_nanos());
        let scaled = i128::from(i as u64) * 1_000_000_000_000_000
            / (i128::from(self.rate) * i128::from(1_000_000 + self.truth.drift_ppm));
        samples_in((sent + scaled) as i64, self.rate)
    }

    /// Compares sample by sample. The place of the piece is its true one plus `offset`, where that is known.
    fn compare(&mut self, piece: &MediaSpan, expected: &[i16], offset: Option<i64>) -> Option<i64> {
        let true_place = self.place(piece, 0);
        let offset = offset.or_else(|| self.first_found(expected, true_place));
        let mut at = true_place + offset.unwrap_or(0);
        let mut is_found = offset.is_some();
        let mut i = 0;
        while i < expected.len() {
            let run = self.equal_run(&expected[i..], at + i as i64);
            // At the beginning of a piece a sample may be like its neighbour by chance: what is found elsewhere is surer.
            let is_sure = run >= PROBE || i > 0 || run == expected.len();
            if (run > 0 && is_found && is_sure) || run >= PROBE {
                is_found = true;
                if i == 0 {
                    self.note_seam(piece, at);
                }
                self.tally(&expected[i..i + run], at + i as i64);
                i += run;
                self.note_offset(at + i as i64 - self.place(piece, i));
                continue;
            }
            let Some(found) = self.search(expected, i, at, i > 0 && is_found) else {
                let end = expected.len().min(i + 160);
                self.tally(&expected[i..end], at + i as i64);
                i = end;
                continue;
            };
            let moved = found - at;
            if i > 0 && is_found {
                i += self.note_repair(at + i as i64, moved);
            }
            at = found;
            is_found = true;
        }
        let end = expected.len();
        self.ended = is_found.then_some((piece.first_sample + piece.samples, at + end as i64));
        is_found.then(|| at + end as i64 - self.place(piece, end))
    }

    /// A piece that was sent right after the one before, as another stream, may stand a little away from it: what closes the
    /// seam is no audio of its own, and what it covers of the piece before was left out.
    fn note_seam(&mut self, piece: &MediaSpan, at: i64) {
        let off = std::mem::take(&mut self.off);
        let Some((_, end)) = self
            .ended
            .take()
            .filter(|(next, _)| *next == piece.first_sample)
        else {
            return;
        };
        if (1..=i64::from(self.rate) / 1000).contains(&(at - end)) {
            self.score.inserted += (at - end) as u64;
            (end..at).for_each(|place| _ = self.mark(place));
        } else if (1..=i64::from(self.rate) / 50).contains(&(end - at)) {
            for (_, silent) in off.into_iter().filter(|(place, _)| *place >= at) {
                self.score.removed += 1;
                match silent {
                    true => self.score.missing -= 1,
                    false => self.score.wrong -= 1,
                }
            }
        }
    }

    /// Samples that were left out or put in where the recording goes on elsewhere; those to skip.
    fn note_repair(&mut self, recorded_at: i64, moved: i64) -> usize {
        let count = moved.unsigned_abs();
        if moved < 0 {
            self.score.removed += count;
            return count as usize;
        }
        self.score.inserted += count;
        for place in recorded_at..recorded_at + moved {
            self.mark(place);
        }
        0
    }

    /// How many samples agree in a row.
    fn equal_run(&self, expected: &[i16], at: i64) -> usize {
        let Ok(at) = usize::try_from(at) else {
            return 0;
        };
        let recorded = self.recorded.get(at..).unwrap_or_default();
        expected
            .iter()
            .zip(recorded)
            .take_while(|(a, b)| a == b)
            .count()
    }

    /// The offset of the first part that is found: the very first may be missing.
    fn first_found(&self, expected: &[i16], at: i64) -> Option<i64> {
        let found = |i| {
            let is_here = self.equal_run(&expected[i..], at + i as i64) >= PROBE;
            if is_here {
                Some(at)
            } else {
                self.search(expected, i, at, false)
            }
        };
        let parts = (0..expected.len()).step_by(160).take(50);
        parts.filter_map(found).next().map(|found| found - at)
    }

    /// Looks for what follows from sample `i` on within 200 ms of where it is thought to be, the nearest first.
    /// With `in_sequence`, what came before was in its place.
    fn search(&self, expected: &[i16], i: usize, at: i64, in_sequence: bool) -> Option<i64> {
        let reach = i64::from(self.rate) / 5;
        let fits = |moved: i64| {
            // Where samples were left out, the recording goes on at the same place with later ones.
            let skipped = if in_sequence {
                (-moved).max(0) as usize
            } else {
                0
            };
            let from = i + skipped;
            let probe = expected.get(from..from + PROBE);
            probe.is_some_and(|probe| self.equal_run(probe, at + moved + from as i64) == PROBE)
        };
        (1..=reach)
            .flat_map(|far| [far, -far])
            .find(|moved| fits(*moved))
            .map(|moved| at + moved)
    }

    fn note_offset(&mut self, offset: i64) {
        let score = &mut self.score;
        score.offset_samples.get_or_insert(offset);
        score.lowest_offset = Some(
            score
                .lowest_offset
                .map_or(offset, |lowest| lowest.min(offset)),
        );
        score.highest_offset = Some(score.highest_offset.map_or(offset, |most| most.max(offset)));
    }

    /// Counts samples that stand at `at` in the recording, if anywhere.
    fn tally(&mut self, expected: &[i16], at: i64) {
        for (place, value) in (at..).zip(expected) {
            let recorded = self.mark(place);
            match recorded {
                Some(sample) if sample == *value => self.score.exact += 1,
                Some(sample) if !is_silent(sample) => {
                    self.score.wrong += 1;
                    self.off.push((place, false));
                }
                _ => {
                    self.score.missing += 1;
                    self.off.push((place, true));
                }
            }
            self.correlate(place, *value, recorded.unwrap_or(0));
        }
    }

    /// Notes that a sample of the recording has been accounted for, and gives it.
    fn mark(&mut self, place: i64) -> Option<i16> {
        let place = usize::try_from(place).ok()?;
        let sample = *self.recorded.get(place)?;
        if !std::mem::replace(&mut self.compared[place], true) {
            self.power += f64::from(sample).powi(2);
        }
        Some(sample)
    }

    fn correlate(&mut self, place: i64, expected: i16, recorded: i16) {
        let second = place.div_euclid(i64::from(self.rate));
        if second != self.second.number {
            self.close_second();
            self.second.number = second;
        }
        let (expected, recorded) = (f64::from(expected), f64::from(recorded));
        let sums = &mut self.second;
        sums.count += 1;
        sums.mixed += expected * recorded;
        sums.expected += expected * expected;
        sums.recorded += recorded * recorded;
    }

    /// A second with less than a tenth of it to compare says little.
    fn close_second(&mut self) {
        let sums = std::mem::take(&mut self.second);
        if sums.count >= self.rate / 10 {
            self.correlations.push(sums.correlation());
        }
    }

    /// Compares a piece that was sent at another rate: present or missing, and how alike. Its place is followed: it
    /// moves by a few samples a packet where drift is repaired.
    fn compare_resampled(
        &mut self,
        piece: &MediaSpan,
        expected: &[i16],
        offset: Option<i64>,
    ) -> Option<i64> {
        let mut offset = offset.or_else(|| self.most_alike(expected, self.place(piece, 0)));
        let size = self.rate as usize / 50;
        for (n, part) in expected.chunks(size).enumerate() {
            let place = self.place(piece, n * size);
            if let Some(before) = offset {
                let near =
                    (before - 8..=before + 8).map(|near| (near, self.likeness(part, place + near)));
                let best = near.max_by(|a, b| a.1.total_cmp(&b.1));
                let now = best
                    .filter(|(_, likeness)| *likeness > 0.5)
                    .map_or(before, |(near, _)| near);
                self.note_offset(now);
                offset = Some(now);
            }
            let at = place + offset.unwrap_or(0);
            if n == 0 {
                self.note_seam(piece, at - i64::from(self.rate) / 1000);
            }
            self.tally_resampled(part, at);
        }
        offset
    }

    fn tally_resampled(&mut self, expected: &[i16], from: i64) {
        let mut at = from;
        for window in expected.chunks(self.rate as usize / 200) {
            let values: Vec<i16> = (at..)
                .take(window.len())
                .map(|place| self.mark(place).unwrap_or(0))
                .collect();
            if values.iter().all(|sample| is_silent(*sample)) {
                self.score.missing += window.len() as u64;
            } else {
                self.score.resampled += window.len() as u64;
            }
            for (i, value) in values.into_iter().enumerate() {
                self.correlate(at + i as i64, window[i], value);
            }
            at += window.len() as i64;
        }
        // A filter rings for a millisecond before and after.
        let ring = i64::from(self.rate) / 1000;
        for place in (from - ring..from).chain(at..at + ring) {
            self.mark(place);
        }
    }

    /// Correlation of `expected` with the recording from `at` on; 0 where there is none.
    fn likeness(&self, expected: &[i16], at: i64) -> f64 {
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        let recorded = from
            .checked_add(expected.len())
            .and_then(|to| self.recorded.get(from..to));
        let mut sums = Products::default();
        for (a, b) in expected.iter().zip(recorded.unwrap_or_default()) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            sums.mixed += a * b;
            sums.expected += a * a;
            sums.recorded += b * b;
        }
        sums.correlation()
    }

    /// The offset within 200 ms at which recording and truth are most alike, if they are at all.
    fn most_alike(&self, expected: &[i16], at: i64) -> Option<i64> {
        let probe = &expected[..expected.len().min(2000)];
        if probe.len() < 400 {
            return None;
        }
        let reach = i64::from(self.rate) / 5;
        let best = (-reach..=reach)
            .map(|offset| (offset, self.likeness(probe, at + offset)))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        (best.1 > 0.5).then_some(best.0)
    }
}

fn is_silent(sample: i16) -> bool {
    sample.unsigned_abs() <= SILENCE
}
