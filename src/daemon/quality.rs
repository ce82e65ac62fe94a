//! How calls were heard, counted over all that are over.

use std::sync::atomic::{AtomicU64, Ordering};

use super::status::QualityCounts;
use crate::engine::event::Disposition;
use crate::recorder::{CallOutcome, call_quality};

/// Below it some users are dissatisfied: ITU-T G.107 Annex B, R below 70.
pub const BAD_MOS: f64 = 3.6;
/// Upper ends of the buckets of scores: the categories of G.107 Annex B.
pub const MOS_BUCKETS: [f64; 6] = [2.58, 3.10, 3.60, 4.03, 4.34, 5.0];

/// Sums over calls that are over. Monotonic.
#[derive(Debug, Default)]
pub struct QualitySums {
    network_lost: AtomicU64,
    mirror_lost: AtomicU64,
    discarded: AtomicU64,
    expected: AtomicU64,
    bad: AtomicU64,
    one_way: AtomicU64,
    without_rtp: AtomicU64,
    /// Calls by score: in each bucket those that are not in the one before.
    by_mos: [AtomicU64; MOS_BUCKETS.len()],
    /// Of scores, in hundredths.
    mos_sum: AtomicU64,
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl QualitySums {
    /// Takes a call that is over; one of two tenants counts once, and so does one that is told of again.
    pub fn add(&self, outcome: &CallOutcome) {
        if outcome.revised.is_some() {
            return;
        }
        let recorded = outcome
            .recordings
            .iter()
            .find_map(|of| of.recording.as_ref());
        let quality = recorded.and_then(|(sidecar, _)| sidecar.quality.clone());
        let quality = quality.unwrap_or_else(|| call_quality(&outcome.end, None));
        add(
            &self.network_lost,
            quality.lost.saturating_sub(quality.mirror_lost),
        );
        add(&self.mirror_lost, quality.mirror_lost);
        add(&self.discarded, quality.discarded);
        add(&self.expected, quality.expected);
        add(&self.one_way, u64::from(quality.unheard.is_some()));
        let without = outcome.end.disposition == Disposition::NoMedia;
        add(&self.without_rtp, u64::from(without));
        let Some(mos) = quality.mos else { return };
        add(&self.bad, u64::from(mos < BAD_MOS));
        add(&self.mos_sum, (mos.max(0.0) * 100.0).round() as u64);
        let bucket = MOS_BUCKETS.iter().position(|&end| mos <= end);
        add(&self.by_mos[bucket.unwrap_or(MOS_BUCKETS.len() - 1)], 1);
    }

    /// What of the status is counted here.
    pub fn read(&self) -> QualityCounts {
        QualityCounts {
            network_lost: count(&self.network_lost),
            mirror_lost: count(&self.mirror_lost),
            discarded: count(&self.discarded),
            rtp_expected: count(&self.expected),
            rated_calls: self.by_mos.iter().map(count).sum(),
            bad_calls: count(&self.bad),
            one_way_calls: count(&self.one_way),
            calls_without_rtp: count(&self.without_rtp),
            ..QualityCounts::default()
        }
    }

    /// Calls with a score up to each end of [`MOS_BUCKETS`], as Prometheus counts them, and the sum of all scores.
    pub fn scores(&self) -> (Vec<(f64, u64)>, f64) {
        let mut sum = 0;
        let buckets = MOS_BUCKETS.iter().zip(&self.by_mos).map(|(&end, calls)| {
            sum += count(calls);
            (end, sum)
        });
        (buckets.collect(), count(&self.mos_sum) as f64 / 100.0)
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{SYSTEM_TENANT, Timestamp};
    use crate::daemon::state::CallCounts;
    use crate::directory::Directory;
    use crate::engine::event::{EndReason, Event};
    use crate::engine::{Engine, EngineSettings};
    use crate::recorder::RecordingOutcome;
    use crate::simulate::{self, Scenario};
    use crate::wire::{LinkType, Packet};

    /// What was told of a call that nobody owns.
    pub fn an_outcome() -> CallOutcome {
        let mut engine = Engine::new(EngineSettings::default(), Arc::new(Directory::empty()));
        let mut ends = Vec::new();
        let mut sink = |event| {
            if let Event::Ended(end) = event {
                ends.push(end);
            }
        };
        let scenario = Scenario {
            calls: 1,
            ..Scenario::default()
        };
        let mut frames: Vec<(Timestamp, Vec<u8>)> = Vec::new();
        simulate::generate(&scenario, &mut frames).unwrap();
        for (time, data) in &frames {
            let packet = Packet {
                time: *time,
                interface: 0,
                link: LinkType::Ethernet,
                data,
                original_len: data.len() as u32,
            };
            engine.handle_packet(&packet, &mut sink);
        }
        engine.finish(EndReason::EndOfCapture, &mut sink);
        CallOutcome {
            end: ends.pop().unwrap(),
            start: None,
            recordings: Vec::new(),
            revised: None,
        }
    }

    #[test]
    fn a_call_that_is_told_of_again_is_counted_once() {
        let mut outcome = an_outcome();
        let sums = QualitySums::default();
        sums.add(&outcome);
        let (once, scores) = (sums.read(), sums.scores());
        assert_eq!(once.rated_calls, 1);
        assert!(once.rtp_expected > 0);
        outcome.revised = Some(Disposition::Recorded);
        sums.add(&outcome);
        assert_eq!(sums.read(), once);
        assert_eq!(sums.scores(), scores);
    }

    #[test]
    fn what_is_true_in_the_end_is_what_was_told_first_and_its_revisions() {
        let mut outcome = an_outcome();
        let of = |disposition| RecordingOutcome {
            tenant: SYSTEM_TENANT,
            disposition,
            recording: None,
            kept_leg: None,
        };
        let calls = CallCounts::default();
        outcome.recordings = vec![of(Disposition::StorageFailed)];
        calls.take(&outcome);
        calls.take(&outcome);
        outcome.recordings = vec![of(Disposition::Recorded)];
        outcome.revised = Some(Disposition::StorageFailed);
        calls.take(&outcome);
        let first: Vec<_> = calls.all().filter(|(_, calls)| *calls > 0).collect();
        assert_eq!(first, [("disk_error", 2)]);
        let revised = calls.revisions();
        assert_eq!(revised[&("disk_error", "recorded")], 1);
        assert_eq!(revised[&("recorded", "other_leg")], 0);
    }
}
