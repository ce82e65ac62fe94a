//! Loss on the network and loss on the mirror, and what a call is given of its streams.

use proptest::prelude::*;

use super::*;
use crate::base::{Flow, Timestamp};
use crate::codec::Codec;
use crate::rtp::SequenceTracker;
use crate::rtp::rtcp::{ReceptionReport, SenderInfo};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_nanos(1_800_000_000_000_000_000 + millis * 1_000_000)
}

fn reception(highest: u32, lost: i32) -> ReceptionReport {
    ReceptionReport {
        ssrc: 7,
        fraction_lost: 0,
        cumulative_lost: lost,
        highest_sequence: highest,
        jitter: 0,
        last_sender_report: 0,
        delay_since: 0,
    }
}

/// A sender of 2,000 packets, and who had which: the sensor, the receiver. A report each 250 packets.
fn mirror_lost(at_sensor: impl Fn(u32) -> bool, at_receiver: impl Fn(u32) -> bool) -> (u64, u64) {
    let (mut tracker, mut reported) = (SequenceTracker::default(), Reported::default());
    let first = 65_000;
    for n in 0..2000u32 {
        if at_sensor(n) {
            tracker.arrive((first + n) as u16, |_| false);
        }
        if n % 250 == 249 {
            let lost = (0..=n).filter(|&n| !at_receiver(n)).count();
            let report = reception(first + n, lost as i32);
            assert!(reported.note_reception(at(0), 1, &report, &tracker));
        }
    }
    let told = reported.reports(&tracker);
    (tracker.lost(), told.mirror_lost.unwrap())
}

#[test]
fn what_receivers_deny_was_lost_by_the_mirror() {
    let all = |_| true;
    let holes = |n: u32| n % 97 != 5;
    let other_holes = |n: u32| n % 101 != 7;
    assert_eq!(mirror_lost(all, all), (0, 0));
    // 21 numbers below 2,000.
    assert_eq!(mirror_lost(holes, all), (21, 21));
    assert_eq!(mirror_lost(holes, holes), (21, 0));
    // Behind the sensor.
    assert_eq!(mirror_lost(all, other_holes), (0, 0));
    // 20 on the network before the sensor, 21 by the mirror: none of both.
    let both = |n| holes(n) && other_holes(n);
    assert_eq!(mirror_lost(both, other_holes), (41, 21));
}

proptest! {
    /// It is a lower bound, and exact where all that the receiver lacks the sensor lacks too.
    #[test]
    fn never_more_than_the_mirror_lost(fates in proptest::collection::vec(0u8..30, 2000)) {
        let network = |n: u32| fates[n as usize] != 0 || n == 0;
        let mirror = |n: u32| fates[n as usize] != 1 || n == 0 || n % 250 == 249;
        let behind = |n: u32| fates[n as usize] != 2 || n == 0;
        let true_loss = (1..2000).filter(|&n| !mirror(n)).count() as u64;
        let last_heard = |n: u32| n % 250 == 249;
        let sensor = |n| network(n) && mirror(n) || last_heard(n);
        let exact = mirror_lost(sensor, |n| network(n) || last_heard(n));
        prop_assert_eq!(exact.1, true_loss);
        let bound = mirror_lost(sensor, |n| (network(n) && behind(n)) || last_heard(n));
        prop_assert!(bound.1 <= true_loss);
    }

    #[test]
    fn reports_that_lie_never_panic(news in proptest::collection::vec((any::<u16>(), any::<u32>(), any::<i32>(), any::<u32>(), 0u32..3), 0..200)) {
        let (mut tracker, mut reported) = (SequenceTracker::default(), Reported::default());
        for (sequence, highest, lost, delay, reporter) in news {
            tracker.arrive(sequence, |_| false);
            let mut report = reception(highest, lost);
            (report.last_sender_report, report.delay_since) = (1, delay);
            reported.note_reference(at(i64::from(sequence)), 1);
            reported.note_reception(at(i64::from(sequence) + 40), reporter, &report, &tracker);
            let told = reported.reports(&tracker);
            prop_assert!(told.mirror_lost.is_none_or(|mirror| mirror <= tracker.lost()));
            prop_assert!(told.round_trip.is_none_or(|trip| trip < Duration::from_secs(10)));
        }
    }
}

#[test]
fn a_report_ahead_of_the_sensor_waits_for_it() {
    let (mut tracker, mut reported) = (SequenceTracker::default(), Reported::default());
    (0..100).for_each(|n| _ = tracker.arrive(n, |_| false));
    assert!(reported.note_reception(at(0), 1, &reception(104, 0), &tracker));
    (100..200).for_each(|n| _ = tracker.arrive(n, |_| false));
    assert_eq!(reported.reports(&tracker).mirror_lost, Some(0));
    // What never comes was lost.
    assert!(reported.note_reception(at(0), 1, &reception(204, 0), &tracker));
    (205..300).for_each(|n| _ = tracker.arrive(n, |_| false));
    assert_eq!(reported.reports(&tracker).mirror_lost, Some(5));
}

#[test]
fn numbers_that_are_not_the_streams_change_nothing() {
    let (mut tracker, mut reported) = (SequenceTracker::default(), Reported::default());
    (1000..1100).for_each(|n| _ = tracker.arrive(n, |_| false));
    for foreign in [0, 400, 9_000, 40_000] {
        assert!(!reported.note_reception(at(0), 1, &reception(foreign, 50), &tracker));
    }
    assert_eq!(reported.reports(&tracker).receiver_reports, 0);
    assert_eq!(reported.reports(&tracker).mirror_lost, None);
}

#[test]
fn the_round_trip_is_from_the_sensor_to_the_receiver_and_back() {
    let (mut tracker, mut reported) = (SequenceTracker::default(), Reported::default());
    tracker.arrive(1, |_| false);
    let info = SenderInfo {
        ntp: 0x1234_5678_9abc_def0,
        rtp_timestamp: 0,
        packets: 50,
        octets: 8000,
    };
    reported.note_sender(at(1000), &info);
    let mut report = reception(1, 0);
    (report.last_sender_report, report.delay_since) = (0x5678_9abc, 65_536 / 2);
    assert!(reported.note_reception(at(1530), 1, &report, &tracker));
    let told = reported.reports(&tracker);
    assert_eq!(
        (told.sender_packets, told.round_trip),
        (Some(50), Some(Duration::from_millis(30)))
    );
    // A delay that is longer than the time between the two is a lie.
    report.delay_since = 65_536 * 9;
    reported.note_reception(at(1530), 1, &report, &tracker);
    assert_eq!(
        reported.reports(&tracker).round_trip,
        Some(Duration::from_millis(30))
    );
}

/// The report of a stream between two times in milliseconds, without loss.
pub fn stream(side: Side, from: i64, to: i64, not_placed: u64) -> StreamReport {
    let packets = (to - from) as u64 / 20;
    StreamReport {
        side,
        flow: Flow::default(),
        ssrc: 1,
        codec: Codec::Pcmu,
        first_at: at(from),
        last_at: at(to),
        packets,
        bytes: 0,
        expected: packets,
        lost: 0,
        duplicates: 0,
        late: 0,
        not_placed,
        restarts: 0,
        jitter: Duration::ZERO,
        drift_samples: 0,
        other_clock: None,
        srtp: None,
        hidden: None,
        auth_failed: 0,
        paused: 0,
        shared: crate::engine::event::Shared::default(),
        quality: StreamQuality {
            jitter_mean: Duration::from_millis(1),
            jitter_largest: Duration::from_millis(2),
            packet_duration: Duration::from_millis(20),
            clock_rate_hz: 8000,
            bursts: BurstMetrics::without_loss(packets),
            reports: None,
            rating: None,
            counted: true,
        },
    }
}

#[test]
fn of_streams_that_say_the_same_one_counts() {
    let mut streams = [
        stream(Side::Caller, 0, 10_000, 500),
        stream(Side::Caller, 5, 10_005, 0),
        stream(Side::Caller, 10_100, 12_000, 0),
        stream(Side::Callee, 0, 12_000, 0),
    ];
    conclude(&mut streams);
    let counted = streams.iter().map(|stream| stream.quality.counted);
    assert_eq!(counted.collect::<Vec<_>>(), [false, true, true, true]);
    let quality = CallQuality::of(&streams);
    assert_eq!(quality.expected, 500 + 95 + 600);
    assert_eq!(quality.jitter, Some(Duration::from_millis(1)));
    assert!((quality.mos.unwrap() - 4.41).abs() < 0.01);
}

#[test]
fn the_side_that_is_heard_worse_speaks_for_the_call() {
    let mut streams = [
        stream(Side::Caller, 0, 10_000, 0),
        stream(Side::Callee, 0, 10_000, 0),
    ];
    (streams[1].lost, streams[1].expected) = (50, 550);
    conclude(&mut streams);
    let quality = CallQuality::of(&streams);
    let of_side = streams[1].quality.rating.unwrap();
    assert_eq!(quality.mos, Some(of_side.mos_cq));
    assert!(of_side.mos_cq < 3.7, "{of_side:?}");
    // The same loss, but the receiver has it all: nobody was heard worse for it.
    let reports = Reports {
        sender_packets: None,
        receiver_reports: 2,
        receiver_lost: 0,
        receiver_jitter: 0,
        largest_receiver_jitter: 0,
        round_trip: None,
        mirror_lost: Some(50),
        voip: None,
    };
    streams[1].quality.reports = Some(Box::new(reports));
    conclude(&mut streams);
    assert!((CallQuality::of(&streams).mos.unwrap() - 4.41).abs() < 0.01);
    assert_eq!(CallQuality::of(&streams).mirror_lost, 50);
}
