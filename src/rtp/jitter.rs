//! How evenly the packets of one stream came, and which of them came too late to be played.
//!
//! Jitter is that of RFC 3550 appendix A.8. What is too late is a matter of the receiver's jitter buffer, which nobody here sees;
//! the model is a buffer of [`JITTER_BUFFER_MS`]: a packet that comes later than that behind the pace of the packets before it is
//! discarded, and so are its followers, as long as they catch up and are not in time yet. Packets that stay late without catching
//! up are a sender that paused, or a way that became longer: the buffer follows after the second of them.

use std::time::Duration;

use crate::base::Timestamp;

/// Depth of the jitter buffer that is assumed.
pub const JITTER_BUFFER_MS: u64 = 60;
/// Times further apart than this are no jitter.
const FAR_NANOS: i64 = 10_000_000_000;
/// Steps of the timestamp in a row that make another packet duration.
const CONFIRM_STEP: u8 = 8;
/// No clock of RTP is faster.
const FASTEST_HZ: u32 = 1_000_000;

/// How a packet fits the pace of those before it, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Later than its timestamp says.
    pub late: i64,
    /// Its timestamp is later than its number says. A pause in which nothing was sent makes it earlier, and nothing makes it later.
    pub ahead: i64,
}

/// 88 bytes; a few nanoseconds a packet.
#[derive(Clone, Debug)]
pub struct Jitter {
    /// Of the packet before.
    time: Timestamp,
    timestamp: u32,
    rate_hz: u32,
    /// The estimate, in 1/256 ticks of the RTP clock; all sums alike.
    estimate: i64,
    largest: i64,
    sum: i64,
    updates: u64,
    /// How far a packet may come behind the pace of the one before, in 1/16 ticks; less than any while packets are too late.
    allowance: i64,
    /// How far they are behind the pace that packets had before they became late.
    behind: i64,
    /// Ticks of one packet, as far as known.
    step: i32,
    other_step: i32,
    other_steps: u8,
    /// Steps of the timestamp that are as they should be: see [`super::Pace::expected`]. It is here since each packet asks for it.
    expected: u64,
}

impl Default for Jitter {
    fn default() -> Self {
        let mut jitter = Jitter {
            time: Timestamp::MIN,
            timestamp: 0,
            rate_hz: 0,
            estimate: 0,
            largest: 0,
            sum: 0,
            updates: 0,
            allowance: 0,
            behind: 0,
            step: 0,
            other_step: 0,
            other_steps: 0,
            expected: u64::MAX,
        };
        jitter.set_rate(8000);
        jitter
    }
}

impl Jitter {
    /// Reads something of it, so that it is at hand when it is needed.
    #[inline]
    pub fn touch(&self) -> u64 {
        self.updates ^ self.behind as u64
    }

    /// Sets the rate of the RTP clock. What was measured by another one is scaled; the next packet is a first one.
    pub fn set_rate(&mut self, rate_hz: u32) {
        let rate_hz = rate_hz.clamp(1, FASTEST_HZ);
        let (before, after) = (i64::from(self.rate_hz.max(1)), i64::from(rate_hz));
        if before == after {
            return;
        }
        self.time = Timestamp::MIN;
        self.correct_rate(rate_hz);
    }

    /// The RTP clock turns out to run at that rate, since the last packet at least. What was measured before is scaled.
    #[cold]
    pub fn correct_rate(&mut self, rate_hz: u32) {
        let rate_hz = rate_hz.clamp(1, FASTEST_HZ);
        let (before, after) = (i64::from(self.rate_hz.max(1)), i64::from(rate_hz));
        for measured in [&mut self.estimate, &mut self.largest, &mut self.sum] {
            *measured = measured.saturating_mul(after) / before;
        }
        self.rate_hz = rate_hz;
        (self.step, self.other_steps, self.behind) = (0, 0, 0);
        self.allowance = self.depth();
    }

    /// Capture time and timestamp of the last packet, where those of the next one can be measured from it.
    pub fn last_packet(&self) -> Option<(Timestamp, u32)> {
        (self.time != Timestamp::MIN).then_some((self.time, self.timestamp))
    }

    /// Whether a packet comes as many ticks after the last one as was expected.
    #[inline]
    pub fn is_expected(&self, timestamp: u32) -> bool {
        u64::from(timestamp.wrapping_sub(self.timestamp)) == self.expected
    }

    /// From now on so many ticks are expected from a packet to the next one.
    pub fn expect(&mut self, ticks: u64) {
        self.expected = ticks;
    }

    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn depth(&self) -> i64 {
        i64::from(self.rate_hz) * 16 * JITTER_BUFFER_MS as i64 / 1000
    }

    /// Takes a packet of audio; whether it came too late to be played.
    #[inline]
    pub fn update(&mut self, time: Timestamp, timestamp: u32) -> bool {
        let elapsed = time.nanos_since(self.time);
        let ticks = timestamp.wrapping_sub(self.timestamp) as i32;
        (self.time, self.timestamp) = (time, timestamp);
        if elapsed.saturating_abs() >= FAR_NANOS {
            return self.begin_anew();
        }
        // In 1/16 ticks: a whole one is a tenth of the jitter of a quiet network.
        let rate = i64::from(self.rate_hz) * 16;
        let change = elapsed * rate / 1_000_000_000 - i64::from(ticks) * 16;
        // A jump of the timestamp is no jitter.
        if change.abs() >= rate {
            return self.begin_anew();
        }
        self.estimate += change.abs() - ((self.estimate + 8) >> 4);
        self.largest = self.largest.max(self.estimate);
        self.sum += self.estimate;
        self.updates += 1;
        (change > self.allowance || ticks != self.step) && self.look_closer(change, ticks)
    }

    /// How a packet at `time` with that timestamp fits the one before, which was `numbers` ahead of it: nanoseconds that it is late,
    /// and that its timestamp is ahead of its number. `None` as long as the pace of the packets is not known.
    #[cold]
    pub fn compare(&self, numbers: i64, time: Timestamp, timestamp: u32) -> Option<Fit> {
        if self.time == Timestamp::MIN || self.step <= 0 {
            return None;
        }
        let nanos = |ticks: i64| ticks.saturating_mul(1_000_000_000) / i64::from(self.rate_hz);
        let since = i64::from(timestamp.wrapping_sub(self.timestamp) as i32);
        let step = i64::from(self.step);
        Some(Fit {
            late: time.nanos_since(self.time).saturating_sub(nanos(since)),
            ahead: nanos(since.saturating_add(numbers.saturating_mul(step))),
        })
    }

    #[cold]
    fn begin_anew(&mut self) -> bool {
        self.behind = 0;
        self.allowance = self.depth();
        false
    }

    #[cold]
    fn look_closer(&mut self, change: i64, ticks: i32) -> bool {
        if ticks != self.step {
            self.note_step(ticks);
        }
        if change <= self.allowance {
            return false;
        }
        let was_late = self.behind > 0;
        self.behind += change;
        let catches_up = change < -i64::from(self.step) * 4;
        if self.behind <= self.depth() || was_late && !catches_up {
            let is_late = self.behind > self.depth();
            self.begin_anew();
            return is_late;
        }
        self.allowance = i64::MIN;
        true
    }

    /// The first step is believed until another one comes several times in a row: a single one may be a loss or a pause.
    fn note_step(&mut self, ticks: i32) {
        if ticks <= 0 {
            return;
        }
        let again = ticks == self.other_step;
        self.other_steps = if again {
            self.other_steps.saturating_add(1)
        } else {
            1
        };
        self.other_step = ticks;
        if self.step == 0 || self.other_steps >= CONFIRM_STEP {
            self.step = ticks;
        }
    }

    fn duration(&self, ticks: f64) -> Duration {
        Duration::from_secs_f64(ticks.max(0.0) / f64::from(self.rate_hz.max(1)))
    }

    /// The estimate after the last packet.
    pub fn last(&self) -> Duration {
        self.duration(self.estimate as f64 / 256.0)
    }

    /// The mean of the estimates after each packet.
    pub fn mean(&self) -> Duration {
        self.duration(self.sum as f64 / 256.0 / self.updates.max(1) as f64)
    }

    pub fn largest(&self) -> Duration {
        self.duration(self.largest as f64 / 256.0)
    }

    /// Duration of one packet; zero while it is not known.
    pub fn packet_duration(&self) -> Duration {
        self.duration(f64::from(self.step))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_nanos(1_800_000_000_000_000_000 + millis * 1_000_000)
    }

    /// Packets of 20 ms at 8 kHz, each so many milliseconds late: which of them are discarded.
    fn discarded(delays: &[i64]) -> Vec<usize> {
        let mut jitter = Jitter::default();
        let late = (0..).zip(delays).filter(|&(n, delay)| {
            jitter.update(
                at(n * 20 + delay),
                (n as u32).wrapping_mul(160).wrapping_sub(320),
            )
        });
        late.map(|(n, _)| n as usize).collect()
    }

    #[test]
    fn jitter_is_that_of_appendix_a_8() {
        let mut jitter = Jitter::default();
        // As the appendix has it, in 1/16 ticks of 8 kHz, with 16 times the estimate kept.
        let (mut expected, mut before) = (0i64, 0);
        for (n, delay) in [0, 5, -3, 12, 0, 0, 7, 1, 1, 0].into_iter().enumerate() {
            let n = n as i64;
            jitter.update(at(n * 20 + delay), n as u32 * 160);
            if n > 0 {
                expected += ((delay - before) * 8 * 16).abs() - ((expected + 8) >> 4);
            }
            before = delay;
        }
        assert_eq!(
            jitter.last(),
            Duration::from_secs_f64(expected as f64 / 256.0 / 8000.0)
        );
        assert!(jitter.largest() >= jitter.mean() && jitter.mean() > Duration::ZERO);
        assert_eq!(jitter.packet_duration(), Duration::from_millis(20));
    }

    #[test]
    fn a_stall_discards_what_comes_too_late_and_nothing_after_it() {
        assert!(discarded(&[0, 0, 40, 20, 0, 0]).is_empty());
        assert_eq!(
            discarded(&[0, 0, 140, 120, 100, 80, 60, 40, 20, 0, 0]),
            [2, 3, 4, 5]
        );
        assert_eq!(
            discarded(&[0, 0, 0, 90, 70, 50, 0, 0, 90, 70, 50]),
            [3, 4, 8, 9]
        );
    }

    #[test]
    fn a_longer_way_costs_two_packets() {
        assert_eq!(discarded(&[0, 0, 100, 100, 100, 100, 101, 99]), [2, 3]);
        assert!(discarded(&[0, 0, 9000, 9000, 9000]).is_empty());
    }

    #[test]
    fn the_duration_of_packets_survives_loss_and_follows_a_change() {
        let mut jitter = Jitter::default();
        let mut timestamp = 0u32;
        for n in 0..40i64 {
            let step = if n % 7 == 0 { 480 } else { 240 };
            timestamp += step;
            jitter.update(at(i64::from(timestamp) / 8), timestamp);
        }
        assert_eq!(jitter.packet_duration(), Duration::from_millis(30));
        for _ in 0..20 {
            timestamp += 80;
            jitter.update(at(i64::from(timestamp) / 8), timestamp);
        }
        assert_eq!(jitter.packet_duration(), Duration::from_millis(10));
        jitter.set_rate(16_000);
        assert_eq!(jitter.packet_duration(), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(
            packets in proptest::collection::vec((any::<i64>(), any::<u32>(), any::<bool>()), 0..60),
            near in proptest::collection::vec((-200i64..400, any::<u32>(), 1u32..200_000), 0..60),
        ) {
            let mut jitter = Jitter::default();
            for (time, timestamp, rate) in packets {
                jitter.update(Timestamp::from_nanos(time), timestamp);
                if rate {
                    jitter.set_rate(timestamp);
                }
            }
            for (millis, timestamp, rate) in near {
                jitter.set_rate(rate);
                jitter.update(at(millis), timestamp);
                jitter.update(at(millis + 1), timestamp.wrapping_add(rate));
            }
            let _ = (jitter.last(), jitter.mean(), jitter.largest(), jitter.packet_duration());
        }
    }
}
