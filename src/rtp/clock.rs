//! The place of a stream's packets on a recording's timeline (ARCHITECTURE.md, "The timeline").
//!
//! The first packet is anchored by its capture time. After it RTP timestamps decide, so that jitter does not move audio.
//! That packet may itself have been late, by up to [`EARLY_MS`]: as long as nothing of what was placed since was handed on, all of it
//! is moved to where the smallest delay says ([`StreamClock::settle`]).
//!
//! Three things move the anchor after that:
//!
//! - A timestamp that disagrees with the capture clock by more than [`TOLERANCE_MS`]. One such packet may be a late one
//!   or a broken one, so it waits until its followers agree with it; then the anchor is set anew. Those that were held up on the
//!   way, and come at once or as fast as the way allows, agree with the anchor that they had, in the end: nothing is moved.
//! - A pause. Where the sender was silent for [`PAUSE_MS`] by its own clock and by the capture's, a packet that is off by
//!   more than [`FAR_MS`] is an anchor at once: nothing is lost by moving it, since silence lies before it.
//! - Drift. The smallest delay of a few seconds of packets is compared with the anchor; what differs by more than
//!   [`DRIFT_MS`] is repaired one sample a packet, which nobody hears. Where packets come more than [`FAR_MS`] before their
//!   places, the anchor was set by a late one: that is known at once, and repaired faster. Delay is that of two packets in a
//!   row, so that one packet out of order is no evidence.

use std::time::Duration;

use crate::base::Timestamp;

/// Disagreement with the capture clock above which a timestamp is not jitter.
const TOLERANCE_MS: i64 = 200;
/// How long packets that come before their places must agree with each other before they are believed.
const CONFIRM: Duration = Duration::from_millis(35);
/// The same of packets that come after their places: what was held up on the way comes after it, too, and catches up.
const CONFIRM_LATE: Duration = Duration::from_millis(300);
/// Late packets catch up when one is so much less late than those before.
const CATCHES_UP_MS: i64 = 10;
/// Disagreeing packets held back for confirmation: ten seconds of 20 ms.
const MAX_WAITING: u16 = 500;
/// What was held up for longer is placed nowhere, nor what newer packets have overtaken by more.
const HELD_UP_S: i64 = 10;
const OVERTAKEN_S: i64 = 2;
/// Offset of the smallest delay above which drift is repaired.
const DRIFT_MS: i64 = 4;
/// Offset that is repaired [`FAST_STEP`] samples a packet: what the sides may be apart.
const FAR_MS: i64 = 20;
/// How far before its place a packet may come while its anchor can still be moved to it.
const EARLY_MS: i64 = 400;
/// Silence after which a sender may have stopped and begun again.
const PAUSE_MS: i64 = 100;
/// A hole of so many samples is still no gap for those who draw the packets.
const FAST_STEP: i64 = 8;
/// Steps of repair remembered for packets that were overtaken.
const STEPS: usize = 8;
/// Span over which the smallest delay is taken.
const DRIFT_WINDOW: Duration = Duration::from_secs(4);

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It starts at this sample of the timeline, maybe before its beginning.
    At { position: i64 },
    /// The same, and the anchor was set anew: what was placed before it says nothing about the gap.
    Anchored { position: i64 },
    /// It disagrees with the clock. Keep it, and ask again with the packets that follow: at the next `At` or `Anchored`
    /// everything kept is placed by [`StreamClock::place_kept`].
    Wait,
}

/// Maps the RTP timestamps of one stream to samples of a timeline.
#[derive(Clone, Debug)]
pub struct StreamClock {
    clock_rate_hz: u32,
    sample_rate_hz: u32,
    anchor_timestamp: u32,
    /// Samples from the start of the timeline.
    anchor_position: i64,
    anchored: bool,
    /// Clock rate and anchor before the rate changed.
    before: Option<(u32, u32, i64)>,
    waiting: u16,
    waiting_since: Timestamp,
    waiting_offset: i64,
    /// Samples still to be shifted.
    repair: i64,
    smallest_skew: i64,
    /// Of the packet before.
    last_skew: i64,
    last_at: Timestamp,
    last_position: i64,
    window_end: Timestamp,
    /// Sum of all repairs, in samples.
    drift: i64,
    /// The latest steps of repair, newest first, with the packets after which they were made; `None` while there were none.
    steps: Option<Box<[(u32, i64); STEPS]>>,
    /// Where the anchor was set, as long as it can be put right.
    settles_from: Option<i64>,
}

/// Samples at `rate_hz` from `start` to `time`, negative when `time` is earlier. Rounds towards minus infinity.
#[inline]
pub fn samples_between(start: Timestamp, time: Timestamp, rate_hz: u32) -> i64 {
    let nanos = time.nanos_since(start);
    let (seconds, rest) = (
        nanos.div_euclid(1_000_000_000),
        nanos.rem_euclid(1_000_000_000),
    );
    seconds * i64::from(rate_hz) + rest * i64::from(rate_hz) / 1_000_000_000
}

impl StreamClock {
    /// A clock for a stream of `clock_rate_hz` on a timeline of `sample_rate_hz`.
    pub fn new(clock_rate_hz: u32, sample_rate_hz: u32) -> Self {
        StreamClock {
            clock_rate_hz: clock_rate_hz.max(1),
            sample_rate_hz,
            anchor_timestamp: 0,
            anchor_position: 0,
            anchored: false,
            before: None,
            waiting: 0,
            waiting_since: Timestamp::MIN,
            waiting_offset: 0,
            repair: 0,
            smallest_skew: i64::MAX,
            last_skew: i64::MAX,
            last_at: Timestamp::MIN,
            last_position: 0,
            window_end: Timestamp::MIN,
            drift: 0,
            steps: None,
            settles_from: None,
        }
    }

    pub fn clock_rate_hz(&self) -> u32 {
        self.clock_rate_hz
    }

    /// Reads something of each part, so that all of them are at hand when they are needed.
    #[inline]
    pub fn touch(&self) -> u64 {
        (self.anchor_position ^ self.last_position ^ self.repair ^ self.drift) as u64
    }

    /// Samples by which this stream was shifted to follow the capture clock; positive when the sender is slow.
    pub fn drift_samples(&self) -> i64 {
        self.drift
    }

    /// Changes the rate of the RTP clock: the next packet is an anchor. Packets of the rate before may still come late.
    pub fn set_clock_rate(&mut self, clock_rate_hz: u32) {
        if self.anchored {
            self.before = Some((
                self.clock_rate_hz,
                self.anchor_timestamp,
                self.anchor_position,
            ));
        }
        self.clock_rate_hz = clock_rate_hz.max(1);
        self.anchored = false;
    }

    /// The RTP clock turns out to run at another rate from the packet with `timestamp` on, which was captured at `time`. That one stays
    /// where it is; where that is far from its time, the next packet is an anchor.
    #[cold]
    pub fn correct_clock_rate(
        &mut self,
        start: Timestamp,
        time: Timestamp,
        timestamp: u32,
        clock_rate_hz: u32,
    ) {
        let position = self.position_of(timestamp);
        let skew = samples_between(start, time, self.sample_rate_hz).saturating_sub(position);
        let tolerance = TOLERANCE_MS * i64::from(self.sample_rate_hz) / 1000;
        if !self.anchored || skew.saturating_abs() > tolerance {
            return self.set_clock_rate(clock_rate_hz);
        }
        self.clock_rate_hz = clock_rate_hz.max(1);
        (self.anchor_timestamp, self.anchor_position) = (timestamp, position);
    }

    /// Where a telephone-event belongs that began at `timestamp`. All packets of an event carry that: they say nothing about the clock.
    /// Senders may count events by a clock of their own: one that cannot be of its time lies where it came.
    pub fn place_event(&self, start: Timestamp, time: Timestamp, timestamp: u32) -> i64 {
        let position = Some(timestamp).filter(|_| self.anchored);
        position
            .and_then(|timestamp| self.place_kept(start, time, timestamp))
            .unwrap_or_else(|| samples_between(start, time, self.sample_rate_hz))
    }

    /// Where a packet with `timestamp`, captured at `time`, starts on the timeline that began at `start`.
    #[inline]
    pub fn place(&mut self, start: Timestamp, time: Timestamp, timestamp: u32) -> Placement {
        let arrival = samples_between(start, time, self.sample_rate_hz);
        if !self.anchored {
            self.anchor(timestamp, arrival, time);
            return Placement::Anchored { position: arrival };
        }
        let position = self.position_of(timestamp);
        let skew = arrival - position;
        let samples = |millis: i64| millis * i64::from(self.sample_rate_hz) / 1000;
        let paused = time.nanos_since(self.last_at) > PAUSE_MS * 1_000_000
            && position - self.last_position > samples(PAUSE_MS);
        self.last_at = time;
        self.last_position = position;
        if paused && (samples(FAR_MS)..=samples(TOLERANCE_MS)).contains(&skew.abs()) {
            self.anchor(timestamp, arrival, time);
            return Placement::Anchored { position: arrival };
        }
        if skew.abs() > samples(TOLERANCE_MS) && !self.may_settle(skew) {
            return self.disagree(timestamp, time, arrival, skew);
        }
        self.waiting = 0;
        self.move_anchor(timestamp);
        self.follow_drift(time, timestamp, skew);
        Placement::At { position }
    }

    /// The place of `timestamp` by the present anchor.
    #[inline]
    pub fn position_of(&self, timestamp: u32) -> i64 {
        self.position_by(
            (
                self.clock_rate_hz,
                self.anchor_timestamp,
                self.anchor_position,
            ),
            timestamp,
        )
    }

    #[inline]
    fn position_by(
        &self,
        (rate_hz, anchor_timestamp, anchor_position): (u32, u32, i64),
        timestamp: u32,
    ) -> i64 {
        let ticks = i64::from(timestamp.wrapping_sub(anchor_timestamp) as i32);
        let samples = if rate_hz == self.sample_rate_hz {
            ticks
        } else {
            (ticks * i64::from(self.sample_rate_hz)).div_euclid(i64::from(rate_hz))
        };
        anchor_position.saturating_add(samples)
    }

    /// The place of a packet that newer ones have overtaken, of a clock of `clock_rate_hz`: it says nothing about the anchor.
    /// `None` when it fits neither the present clock nor the one before.
    pub fn place_late(
        &self,
        start: Timestamp,
        time: Timestamp,
        timestamp: u32,
        clock_rate_hz: u32,
    ) -> Option<i64> {
        let present = (
            self.clock_rate_hz,
            self.anchor_timestamp,
            self.anchor_position,
        );
        let anchors = [Some(present).filter(|_| self.anchored), self.before];
        let anchor = anchors
            .into_iter()
            .flatten()
            .find(|(rate_hz, ..)| *rate_hz == clock_rate_hz)?;
        let mut position = self.position_by(anchor, timestamp);
        if anchor == present {
            // The anchor was moved for newer packets: this one belongs before that.
            let since = self
                .steps
                .iter()
                .flat_map(|steps| steps.iter())
                .filter(|(after, _)| after.wrapping_sub(timestamp) as i32 >= 0);
            position -= since.map(|(_, step)| step).sum::<i64>();
        }
        self.plausible(start, time, position, OVERTAKEN_S)
    }

    /// A place that is at most `seconds` before the capture time, and not after it: late is late.
    fn plausible(
        &self,
        start: Timestamp,
        time: Timestamp,
        position: i64,
        seconds: i64,
    ) -> Option<i64> {
        let rate = i64::from(self.sample_rate_hz);
        let skew = samples_between(start, time, self.sample_rate_hz).saturating_sub(position);
        (-TOLERANCE_MS * rate / 1000..=seconds * rate)
            .contains(&skew)
            .then_some(position)
    }

    /// The place of a packet that had to wait, by the anchor that was found since; `None` when it agrees with no clock: a
    /// broken timestamp. Late by less than ten seconds is late.
    pub fn place_kept(&self, start: Timestamp, time: Timestamp, timestamp: u32) -> Option<i64> {
        self.plausible(start, time, self.position_of(timestamp), HELD_UP_S)
    }

    /// Keeps the anchor within half a wrap of the timestamps. Only by whole minutes of the clock, so that no fraction of a
    /// sample is ever rounded away.
    #[inline]
    fn move_anchor(&mut self, timestamp: u32) {
        let ticks = timestamp.wrapping_sub(self.anchor_timestamp) as i32;
        let minute = i64::from(self.clock_rate_hz) * 60;
        if i64::from(ticks) > minute {
            self.anchor_timestamp = self.anchor_timestamp.wrapping_add(minute as u32);
            self.anchor_position += i64::from(self.sample_rate_hz) * 60;
        }
    }

    fn anchor(&mut self, timestamp: u32, position: i64, time: Timestamp) {
        self.anchored = true;
        self.anchor_timestamp = timestamp;
        self.anchor_position = position;
        self.waiting = 0;
        self.repair = 0;
        self.steps = None;
        self.smallest_skew = i64::MAX;
        self.last_skew = 0;
        self.last_at = time;
        self.last_position = position;
        self.window_end = time + DRIFT_WINDOW;
        self.settles_from = Some(position);
    }

    #[cold]
    fn may_settle(&self, skew: i64) -> bool {
        let early = EARLY_MS * i64::from(self.sample_rate_hz) / 1000;
        self.settles_from.is_some() && (-early..0).contains(&skew)
    }

    /// Where the packets begin that [`StreamClock::settle`] is about; `None` when there are none.
    pub fn settles_from(&self) -> Option<i64> {
        self.settles_from
    }

    /// Puts an anchor that is off by more than `FAR_MS` right by what has come since it was set: the samples, 0 or less, by
    /// which everything that was placed since is to be moved.
    pub fn settle(&mut self) -> i64 {
        let offset = self.settled_by();
        self.anchor_position += offset;
        self.last_position += offset;
        self.smallest_skew = self.smallest_skew.saturating_sub(offset);
        self.last_skew -= offset;
        offset
    }

    /// As [`StreamClock::settle`], where what was placed was handed on already: followed as drift is.
    #[cold]
    pub fn settle_late(&mut self) {
        let offset = self.settled_by();
        if offset != 0 {
            self.repair += offset;
            self.smallest_skew = 0;
        }
    }

    /// The smallest delay since the anchor, where it says that the anchor is far off. Many a sender begins with two packets at
    /// once: one packet ahead is no reason to doubt the first.
    fn settled_by(&mut self) -> i64 {
        let far = FAR_MS * i64::from(self.sample_rate_hz) / 1000;
        match self.settles_from.take() {
            Some(_) if self.smallest_skew < -far => self.smallest_skew,
            _ => 0,
        }
    }

    /// Moves everything by `samples`: the timeline begins so much earlier.
    #[cold]
    pub fn shift(&mut self, samples: i64) {
        self.anchor_position += samples;
        self.last_position += samples;
        if let Some((.., position)) = &mut self.before {
            *position += samples;
        }
        if let Some(from) = &mut self.settles_from {
            *from += samples;
        }
    }

    /// A packet more than the tolerance off. Followers that are off by as much confirm it; what was held up on the way is off by
    /// less and less, and is not confirmed.
    #[cold]
    fn disagree(&mut self, timestamp: u32, time: Timestamp, arrival: i64, skew: i64) -> Placement {
        let off_by = skew - self.waiting_offset;
        let is_late = skew > 0;
        let samples = |millis: i64| millis * i64::from(self.sample_rate_hz) / 1000;
        let (agrees, confirm) = match is_late {
            true => (
                self.waiting_offset > 0 && off_by >= -samples(CATCHES_UP_MS),
                CONFIRM_LATE,
            ),
            false => (off_by.abs() <= samples(20), CONFIRM),
        };
        if self.waiting == 0 || !agrees {
            // A packet that agrees with no other: those kept so far stay kept, confirmation starts again with this one.
            self.waiting_since = time;
            self.waiting_offset = skew;
        }
        self.waiting = self.waiting.saturating_add(1);
        let confirmed = time.since(self.waiting_since) >= confirm;
        if !confirmed && self.waiting < MAX_WAITING {
            return Placement::Wait;
        }
        let position = if confirmed {
            arrival - (skew - self.waiting_offset).max(0)
        } else {
            arrival
        };
        self.anchor(timestamp, position, time);
        Placement::Anchored { position }
    }

    #[inline]
    fn follow_drift(&mut self, time: Timestamp, timestamp: u32, skew: i64) {
        let far = FAR_MS * i64::from(self.sample_rate_hz) / 1000;
        let of_two = skew.max(std::mem::replace(&mut self.last_skew, skew));
        // What is being repaired already is not to be repaired again.
        let delay = of_two - self.repair;
        self.smallest_skew = self.smallest_skew.min(delay);
        if delay < -far && self.settles_from.is_none() {
            self.repair += delay;
            self.smallest_skew = 0;
        }
        if self.repair != 0 {
            let limit = if self.repair.abs() > far / 2 {
                FAST_STEP
            } else {
                1
            };
            let step = self.repair.clamp(-limit, limit);
            self.anchor_position += step;
            self.repair -= step;
            self.drift += step;
            let steps = self.steps.get_or_insert_default();
            steps.rotate_right(1);
            steps[0] = (timestamp, step);
        }
        if time >= self.window_end {
            self.end_window(time);
        }
    }

    #[cold]
    fn end_window(&mut self, time: Timestamp) {
        // What it placed went nowhere, or it would have been settled.
        self.settles_from = None;
        let offset = self.smallest_skew;
        let threshold = DRIFT_MS * i64::from(self.sample_rate_hz) / 1000;
        if offset.abs() > threshold {
            self.repair += offset;
        }
        self.smallest_skew = i64::MAX;
        self.window_end = time + DRIFT_WINDOW;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_secs_nanos(1_700_000_000, 0);

    fn ms(at: i64) -> Timestamp {
        Timestamp::from_nanos(START.as_nanos() + at * 1_000_000)
    }

    fn position(placement: Placement) -> i64 {
        match placement {
            Placement::At { position } | Placement::Anchored { position } => position,
            Placement::Wait => panic!("not placed"),
        }
    }

    #[test]
    fn jitter_and_reordering_do_not_move_audio() {
        let mut clock = StreamClock::new(8000, 8000);
        assert_eq!(
            clock.place(START, ms(100), 5000),
            Placement::Anchored { position: 800 }
        );
        assert_eq!(
            clock.place(START, ms(175), 5320),
            Placement::At { position: 1120 }
        );
        assert_eq!(
            clock.place(START, ms(176), 5160),
            Placement::At { position: 960 }
        );
    }

    #[test]
    fn other_clock_rates_are_scaled() {
        let mut clock = StreamClock::new(48_000, 16_000);
        clock.place(START, ms(0), u32::MAX - 100);
        assert_eq!(
            position(clock.place(START, ms(20), (u32::MAX - 100).wrapping_add(960))),
            320
        );
        let mut odd = StreamClock::new(11_025, 16_000);
        odd.place(START, ms(0), 0);
        assert_eq!(position(odd.place(START, ms(1000), 11_025)), 16_000);
    }

    #[test]
    fn a_sender_that_paused_without_counting_is_anchored_anew() {
        let mut clock = StreamClock::new(8000, 8000);
        clock.place(START, ms(0), 0);
        for n in 0..15 {
            let placed = clock.place(START, ms(10_000 + n * 20), 160 + n as u32 * 160);
            assert_eq!(placed, Placement::Wait);
        }
        assert_eq!(
            clock.place(START, ms(10_300), 16 * 160),
            Placement::Anchored { position: 82_400 }
        );
        assert_eq!(clock.place_kept(START, ms(10_000), 160), Some(80_000));
    }

    #[test]
    fn a_stalled_network_moves_nothing() {
        let mut clock = StreamClock::new(8000, 8000);
        clock.place(START, ms(0), 0);
        // 600 ms of packets arrive at once, then life goes on.
        let mut waited = 0;
        for n in 1..=30u32 {
            waited += u32::from(clock.place(START, ms(600), n * 160) == Placement::Wait);
        }
        assert_eq!(waited, 19);
        assert_eq!(
            clock.place(START, ms(620), 31 * 160),
            Placement::At { position: 4960 }
        );
        assert_eq!(clock.place_kept(START, ms(600), 160), Some(160));
    }

    /// A queue on the way holds packets up, and lets them go some time apart until it is empty.
    #[test]
    fn what_was_held_up_moves_nothing_however_fast_it_catches_up() {
        for held_up_ms in [300, 700, 1000, 3000, 8000] {
            for apart_ms in [0, 1, 3, 10, 15, 18] {
                if held_up_ms * apart_ms / (20 - apart_ms) > 5000 {
                    // It takes longer than packets wait.
                    continue;
                }
                let mut clock = StreamClock::new(8000, 8000);
                clock.place(START, ms(0), 0);
                let (mut kept, mut free_at) = (Vec::new(), 1000 + held_up_ms);
                for n in 1..3000i64 {
                    let sent = n * 20;
                    let at = if sent < 1000 { sent } else { sent.max(free_at) };
                    free_at = free_at.max(at + apart_ms);
                    match clock.place(START, ms(at), n as u32 * 160) {
                        Placement::Wait => kept.push((at, n)),
                        Placement::At { position } => {
                            assert_eq!(position, n * 160, "{held_up_ms} ms, {apart_ms} ms apart");
                            for (at, n) in kept.drain(..) {
                                let place = clock.place_kept(START, ms(at), n as u32 * 160);
                                assert_eq!(place, Some(n * 160));
                            }
                        }
                        anchored => panic!("{held_up_ms} ms, {apart_ms} ms apart: {anchored:?}"),
                    }
                }
                assert!(kept.is_empty());
            }
        }
    }

    #[test]
    fn one_broken_timestamp_is_placed_nowhere() {
        let mut clock = StreamClock::new(8000, 8000);
        clock.place(START, ms(0), 0);
        assert_eq!(clock.place(START, ms(20), 0x8000_0000), Placement::Wait);
        assert_eq!(
            clock.place(START, ms(40), 320),
            Placement::At { position: 320 }
        );
        assert_eq!(clock.place_kept(START, ms(20), 0x8000_0000), None);
    }

    #[test]
    fn an_hour_of_drift_stays_within_twenty_milliseconds() {
        for ppm in [-300i64, -50, 120, 300] {
            let mut clock = StreamClock::new(8000, 8000);
            for n in 0..180_000i64 {
                let sent = n * 20_000_000;
                let arrival =
                    Timestamp::from_nanos(START.as_nanos() + sent + sent / 1_000_000 * ppm);
                let at = position(clock.place(
                    START,
                    arrival,
                    (n as u32).wrapping_mul(160).wrapping_add(0xffff_0000),
                ));
                let off = at - samples_between(START, arrival, 8000);
                assert!(
                    off.abs() <= 160,
                    "{ppm} ppm: packet {n} is {off} samples off"
                );
            }
        }
    }

    #[test]
    fn a_first_packet_that_was_late_is_put_right_with_all_that_follow_it() {
        for late in [25, 50, 150, 199, 300] {
            let mut clock = StreamClock::new(8000, 8000);
            clock.place(START, ms(late), 0);
            assert_eq!(clock.settles_from(), Some(late * 8));
            let mut placed = Vec::new();
            for n in 1..=30i64 {
                let at = ms((n * 20).max(late));
                placed.push(position(clock.place(START, at, n as u32 * 160)));
            }
            assert_eq!(placed[29], 30 * 160 + late * 8);
            assert_eq!((clock.settle(), clock.settles_from()), (-late * 8, None));
            for n in 31..=2000i64 {
                let at = clock.place(START, ms(n * 20), n as u32 * 160);
                assert_eq!(at, Placement::At { position: n * 160 });
            }
            assert_eq!((clock.drift_samples(), clock.settle()), (0, 0));
        }
    }

    #[test]
    fn one_early_timestamp_moves_nothing_but_itself() {
        let mut clock = StreamClock::new(8000, 8000);
        clock.place(START, ms(0), 0);
        clock.place(START, ms(20), 160 + 800);
        for n in 2..30i64 {
            clock.place(START, ms(n * 20), n as u32 * 160);
        }
        assert_eq!(clock.settle(), 0);
    }

    #[test]
    fn what_was_handed_on_before_it_was_put_right_is_repaired_step_by_step() {
        let mut clock = StreamClock::new(8000, 8000);
        clock.place(START, ms(50), 0);
        for n in 1..=2000i64 {
            let at = position(clock.place(START, ms(n * 20), n as u32 * 160));
            assert!(at >= n * 160, "packet {n} is placed before it was sent");
            assert!(at <= n * 160 + 80 || n < 50, "packet {n} is still far");
            if n == 5 {
                clock.settle_late();
            }
        }
        assert_eq!(clock.drift_samples(), -400);
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(
            rates in (any::<u32>(), 8000u32..48_000),
            packets in proptest::collection::vec((any::<i64>(), any::<u32>()), 0..50),
        ) {
            let mut clock = StreamClock::new(rates.0, rates.1);
            for (time, timestamp) in packets {
                clock.place(START, Timestamp::from_nanos(time), timestamp);
                clock.place_kept(START, Timestamp::from_nanos(time), timestamp);
            }
        }

        /// Without drift, jitter below the tolerance leaves every packet where its timestamp says.
        #[test]
        fn jitter_never_moves_a_sample(jitters in proptest::collection::vec(0i64..4, 1..600)) {
            let mut clock = StreamClock::new(8000, 8000);
            clock.place(START, ms(0), 0);
            for (n, jitter) in jitters.iter().enumerate() {
                let n = n as i64 + 1;
                prop_assert_eq!(position(clock.place(START, ms(n * 20 + jitter), n as u32 * 160)), n * 160);
            }
        }
    }
}
