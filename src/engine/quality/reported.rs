//! What the two ends of a stream say of it in RTCP, compared with what the sensor has of it.
//!
//! A receiver reports how far it has heard and how many packets it lacks. The sensor knows how many it lacks up to the same
//! number. Where the sensor lacks more, at least the difference did reach the receiver, and was lost on the way to the sensor: the
//! mirror lost it. This is a lower bound: counts do not say which packets, and a receiver counts duplicates as received.

use std::time::Duration;

use crate::base::Timestamp;
use crate::rtp::SequenceTracker;
use crate::rtp::rtcp::{ReceptionReport, SenderInfo, VoipMetrics};

/// Sender reports that may still be answered.
const UNANSWERED: usize = 4;
/// A round trip that takes longer is a mistake of one of the clocks.
const LONGEST_TRIP_NANOS: i64 = 10_000_000_000;
/// Clocks of ends are read before a report is sent: a trip may come out as less than nothing by so much.
const CLOCK_ERROR_NANOS: i64 = 5_000_000;

/// All that was reported of one stream. About 250 bytes, on the heap from the first report on.
#[derive(Clone, Debug, Default)]
pub struct Reported {
    /// Times at which the sender's reports passed, by their middle NTP bits.
    unanswered: [(u32, Timestamp); UNANSWERED],
    sender_packets: Option<u32>,
    /// Who reports of the stream; another one begins anew.
    reporter: Option<u32>,
    reports: u32,
    last: Compared,
    /// A report of packets that the sensor has not come to yet.
    pending: Option<ReceptionReport>,
    mirror_lost: u64,
    lost: i32,
    jitter: u32,
    largest_jitter: u32,
    trips: u32,
    trip_nanos: i64,
    voip: Option<Box<VoipMetrics>>,
}

/// What was missing up to one number, here and there.
#[derive(Clone, Copy, Debug, Default)]
struct Compared {
    here: u64,
    there: u64,
}

/// What reports say, when the stream is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Reports {
    /// Packets that the sender says it has sent.
    pub sender_packets: Option<u32>,
    /// Reports of the receiver.
    pub receiver_reports: u32,
    /// What the receiver lacks; negative where more came than were sent.
    pub receiver_lost: i32,
    /// Of the receiver's last report, and the largest of all, in ticks of the RTP clock.
    pub receiver_jitter: u32,
    pub largest_receiver_jitter: u32,
    /// From the sensor to the receiver and back, the mean.
    pub round_trip: Option<Duration>,
    /// What the sensor lacks and the receiver does not; `None` where no receiver reported.
    pub mirror_lost: Option<u64>,
    pub voip: Option<VoipMetrics>,
}

impl Reported {
    /// The sender's own report passed.
    pub fn note_sender(&mut self, time: Timestamp, info: &SenderInfo) {
        self.sender_packets = Some(info.packets);
        self.note_reference(time, info.ntp_middle());
    }

    /// A time of the sender's passed that receivers will answer.
    pub fn note_reference(&mut self, time: Timestamp, ntp_middle: u32) {
        if ntp_middle != 0 {
            self.unanswered.rotate_right(1);
            self.unanswered[0] = (ntp_middle, time);
        }
    }

    /// An answer to one of those passed, `delay` units of 1/65,536 second after its sender had it.
    pub fn note_answer(&mut self, time: Timestamp, ntp_middle: u32, delay: u32) {
        let asked = self
            .unanswered
            .iter()
            .find(|(asked, _)| *asked == ntp_middle);
        let Some(&(_, asked_at)) = asked.filter(|_| ntp_middle != 0) else {
            return;
        };
        let rested = (i64::from(delay) * 1_000_000_000) >> 16;
        let trip = time.nanos_since(asked_at) - rested;
        if (-CLOCK_ERROR_NANOS..LONGEST_TRIP_NANOS).contains(&trip) {
            self.trips = self.trips.saturating_add(1);
            self.trip_nanos = self.trip_nanos.saturating_add(trip.max(0));
        }
    }

    /// The receiver's report passed; `false` when it cannot be of this stream.
    pub fn note_reception(
        &mut self,
        time: Timestamp,
        reporter: u32,
        report: &ReceptionReport,
        sequence: &SequenceTracker,
    ) -> bool {
        let Some(here) = sequence.up_to(report.highest_sequence as u16) else {
            return false;
        };
        if self.reporter != Some(reporter) {
            self.reporter = Some(reporter);
            self.pending = None;
            self.last = Compared::default();
            if self.reports > 0 {
                // What this one lost before nobody knows.
                self.last = compared(here.missing, report);
            }
        }
        self.reports = self.reports.saturating_add(1);
        self.lost = report.cumulative_lost;
        self.jitter = report.jitter;
        self.largest_jitter = self.largest_jitter.max(report.jitter);
        self.note_answer(time, report.last_sender_report, report.delay_since);
        self.settle(sequence);
        if here.is_ahead {
            self.pending = Some(*report);
        } else {
            self.compare(here.missing, report);
        }
        true
    }

    /// Compares the report that was ahead of the sensor, now that the sensor has come so far.
    fn settle(&mut self, sequence: &SequenceTracker) {
        if let Some(report) = self.pending.take()
            && let Some(here) = sequence.up_to(report.highest_sequence as u16)
        {
            self.compare(here.missing, &report);
        }
    }

    fn compare(&mut self, missing: u64, report: &ReceptionReport) {
        let now = compared(missing, report);
        let there = now.there.saturating_sub(self.last.there);
        match now.here.checked_sub(self.last.here) {
            Some(here) => self.mirror_lost += here.saturating_sub(there),
            // Late packets filled what was missing before.
            None => {
                let filled = self.last.here - now.here;
                self.mirror_lost = self.mirror_lost.saturating_sub(filled);
            }
        }
        self.last = now;
    }

    pub fn note_voip(&mut self, metrics: &VoipMetrics) {
        self.voip = Some(Box::new(*metrics));
    }

    /// What is to be said of the stream, of which `sequence` is all that the sensor has.
    pub fn reports(&self, sequence: &SequenceTracker) -> Reports {
        let mut all = self.clone();
        all.settle(sequence);
        let nanos = all.trip_nanos / i64::from(all.trips.max(1));
        Reports {
            sender_packets: all.sender_packets,
            receiver_reports: all.reports,
            receiver_lost: all.lost,
            receiver_jitter: all.jitter,
            largest_receiver_jitter: all.largest_jitter,
            round_trip: (all.trips > 0).then(|| Duration::from_nanos(nanos.max(0) as u64)),
            mirror_lost: (all.reports > 0).then(|| all.mirror_lost.min(sequence.lost())),
            voip: all.voip.as_deref().copied(),
        }
    }
}

fn compared(missing: u64, report: &ReceptionReport) -> Compared {
    Compared {
        here: missing,
        there: u64::try_from(report.cumulative_lost).unwrap_or(0),
    }
}
