//! Which packets of a stream were missing, as bursts and gaps (RFC 3611 section 4.7.2).
//!
//! Only what is missing costs anything: a stream that loses nothing has no [`LossLog`], and a packet that comes in its turn never
//! touches one.

use std::collections::VecDeque;

/// So many packets in a row that were heard end a burst: the value that RFC 3611 section 4.7.2 recommends.
pub const GMIN: u64 = 16;
/// A missing packet is believed lost when packets so far ahead of it have come.
const REORDER: u64 = 100;
/// Runs that wait to be believed; beyond it the oldest is.
const MAX_PENDING: usize = 64;

/// Numbers in a row that were lost, or discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
}

/// Losses of one stream, in the order of their numbers. At most two kilobytes.
#[derive(Clone, Debug, Default)]
pub struct LossLog {
    /// Runs that late packets may still fill, in order, apart from each other.
    pending: VecDeque<Run>,
    /// The events that may yet prove to be a burst: no two of them have [`GMIN`] packets between them.
    cluster: Option<Cluster>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug)]
struct Cluster {
    first: u64,
    last: u64,
    events: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Maximal runs, and the packets in them.
    runs: u64,
    events: u64,
    bursts: u64,
    burst_packets: u64,
    burst_events: u64,
    discarded: u64,
}

/// Shares and lengths, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BurstMetrics {
    pub bursts: u64,
    /// Share of packets missing within bursts, and outside of them: 0 to 1.
    pub burst_density: f64,
    pub gap_density: f64,
    /// Mean length of a burst.
    pub burst_packets: f64,
    /// Packets outside of bursts for each burst, all of them where there is none.
    pub gap_packets: f64,
    /// Mean length of a run of packets missing in a row; 0 where none is.
    pub run_packets: f64,
    /// Packets that came too late to be played.
    pub discarded: u64,
}

impl LossLog {
    /// The numbers from `first` to `last` were skipped. Larger ones than any before.
    pub fn lose(&mut self, first: u64, last: u64) {
        while let Some(oldest) = self.pending.front()
            && (oldest.last + REORDER < last || self.pending.len() >= MAX_PENDING)
        {
            self.believe_oldest();
        }
        self.pending.push_back(Run { first, last });
    }

    /// A number that was skipped has come after all.
    pub fn find(&mut self, number: u64) {
        let Some(at) = self.place_of(number) else {
            return;
        };
        let Some(run) = self.pending.get_mut(at) else {
            return;
        };
        match (run.first == number, run.last == number) {
            (true, true) => _ = self.pending.remove(at),
            (true, false) => run.first += 1,
            (false, true) => run.last -= 1,
            (false, false) => {
                let behind = Run {
                    first: number + 1,
                    last: run.last,
                };
                run.last = number - 1;
                self.pending.insert(at + 1, behind);
            }
        }
    }

    /// A packet came too late to be played: to who listens it is as good as lost.
    pub fn discard(&mut self, number: u64) {
        let is_believed_lost = self.cluster.is_some_and(|cluster| number <= cluster.last);
        if is_believed_lost || self.place_of(number).is_some() {
            return;
        }
        self.counts.discarded += 1;
        let before = self.pending.iter().rposition(|run| run.last < number);
        let run = Run {
            first: number,
            last: number,
        };
        self.pending.insert(before.map_or(0, |at| at + 1), run);
        if self.pending.len() > MAX_PENDING {
            self.believe_oldest();
        }
    }

    /// The numbering begins anew: what is missing from here on has nothing to do with what was before.
    pub fn restart(&mut self) {
        while !self.pending.is_empty() {
            self.believe_oldest();
        }
        self.close_cluster();
    }

    fn place_of(&self, number: u64) -> Option<usize> {
        self.pending
            .iter()
            .rposition(|run| (run.first..=run.last).contains(&number))
    }

    fn believe_oldest(&mut self) {
        let Some(run) = self.pending.pop_front() else {
            return;
        };
        let events = run.last - run.first + 1;
        self.counts.events += events;
        match &mut self.cluster {
            Some(cluster) if run.first.saturating_sub(cluster.last) <= GMIN => {
                self.counts.runs += u64::from(run.first > cluster.last + 1);
                cluster.last = cluster.last.max(run.last);
                cluster.events += events;
            }
            _ => {
                self.close_cluster();
                self.counts.runs += 1;
                self.cluster = Some(Cluster {
                    first: run.first,
                    last: run.last,
                    events,
                });
            }
        }
    }

    /// One packet alone is an accident within a gap, not a burst.
    fn close_cluster(&mut self) {
        if let Some(cluster) = self.cluster.take()
            && cluster.events > 1
        {
            self.counts.bursts += 1;
            self.counts.burst_packets += cluster.last - cluster.first + 1;
            self.counts.burst_events += cluster.events;
        }
    }

    /// What there is to say of a stream of which `expected` packets were sent.
    pub fn metrics(&self, expected: u64) -> BurstMetrics {
        let mut all = self.clone();
        all.restart();
        let counts = all.counts;
        let share = |part: u64, of: u64| match of {
            0 => 0.0,
            of => part as f64 / of as f64,
        };
        let gap_packets = expected.saturating_sub(counts.burst_packets);
        BurstMetrics {
            bursts: counts.bursts,
            burst_density: share(counts.burst_events, counts.burst_packets),
            gap_density: share(
                counts.events.saturating_sub(counts.burst_events),
                gap_packets,
            )
            .min(1.0),
            burst_packets: share(counts.burst_packets, counts.bursts),
            gap_packets: share(gap_packets, counts.bursts.max(1)),
            run_packets: share(counts.events, counts.runs),
            discarded: counts.discarded,
        }
    }
}

impl BurstMetrics {
    /// Of a stream of `expected` packets that lost none.
    pub fn without_loss(expected: u64) -> BurstMetrics {
        LossLog::default().metrics(expected)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds a pattern as RFC 3611 writes them: 1 received, 0 lost, X discarded.
    fn log_of(pattern: &str) -> LossLog {
        let mut log = LossLog::default();
        let mut lost = None;
        for (number, fate) in (1000..).zip(pattern.chars()) {
            match fate {
                '0' => lost = lost.or(Some(number)),
                fate => {
                    if let Some(first) = lost.take() {
                        log.lose(first, number - 1);
                    }
                    if fate == 'X' {
                        log.discard(number);
                    }
                }
            }
        }
        log
    }

    #[test]
    fn the_example_of_rfc_3611() {
        let pattern = "11110111111111111111111X111X1011110111111111111111111X1111111111";
        let metrics = log_of(pattern).metrics(64);
        assert_eq!((metrics.bursts, metrics.discarded), (1, 3));
        // At 10 ms a packet: 120 ms and 0.33, 230 + 290 ms and 0.04.
        assert_eq!(metrics.burst_packets, 12.0);
        assert_eq!(metrics.burst_density, 4.0 / 12.0);
        assert_eq!(metrics.gap_packets, 52.0);
        assert_eq!(metrics.gap_density, 2.0 / 52.0);
        assert_eq!(metrics.run_packets, 1.0);
    }

    #[test]
    fn a_packet_that_is_late_was_not_lost() {
        let mut log = LossLog::default();
        log.lose(10, 14);
        log.find(12);
        log.find(10);
        log.find(14);
        let metrics = log.metrics(100);
        assert_eq!((metrics.bursts, metrics.run_packets), (1, 1.0));
        assert_eq!(metrics.burst_packets, 3.0);
        log.find(11);
        log.find(13);
        assert_eq!(log.metrics(100), BurstMetrics::without_loss(100));
    }

    proptest! {
        /// Held against the definition, packet by packet: a burst begins and ends with a missing packet, and has less than
        /// Gmin heard ones in a row.
        #[test]
        fn bursts_are_those_of_the_definition(fates in proptest::collection::vec((0u8..40, 1usize..4), 1..300)) {
            let pattern: String = fates.iter().map(|&(fate, times)| match fate {
                0 | 1 => "0".repeat(times),
                2 => "X".into(),
                _ => "1".repeat(times * 3),
            }).collect::<String>() + "1";
            let metrics = log_of(&pattern).metrics(pattern.len() as u64);
            let missing: Vec<usize> = pattern.char_indices().filter(|(_, c)| *c != '1').map(|(at, _)| at).collect();
            let mut groups: Vec<Vec<usize>> = Vec::new();
            for at in missing {
                match groups.last_mut() {
                    Some(group) if at - group[group.len() - 1] <= GMIN as usize => group.push(at),
                    _ => groups.push(vec![at]),
                }
            }
            groups.retain(|group| group.len() > 1);
            let packets: usize = groups.iter().map(|group| group[group.len() - 1] - group[0] + 1).sum();
            let events: usize = groups.iter().map(Vec::len).sum();
            prop_assert_eq!(metrics.bursts, groups.len() as u64);
            prop_assert!((metrics.burst_packets * groups.len() as f64 - packets as f64).abs() < 1e-6);
            prop_assert!((metrics.burst_density * packets as f64 - events as f64).abs() < 1e-6);
        }

        #[test]
        fn arbitrary_news_never_panics_and_stays_small(news in proptest::collection::vec((0u8..4, 0u64..2000, 0u64..50), 0..400)) {
            let (mut log, mut newest) = (LossLog::default(), 0u64);
            for (kind, number, len) in news {
                match kind {
                    0 => { log.lose(newest + 1, newest + 1 + len); newest += len + 2; }
                    1 => log.find(number),
                    2 => log.discard(number),
                    _ => log.restart(),
                }
                prop_assert!(log.pending.len() <= MAX_PENDING + 1);
            }
            log.metrics(newest);
        }
    }
}
