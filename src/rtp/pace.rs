//! Whether a stream's timestamps run as fast as its description says.
//!
//! Some senders count otherwise: G.722 at 16 kHz, since that is its sample rate, though its RTP clock has 8 kHz (RFC 3551 section
//! 4.5.2); Opus at the rate of the microphone, though its clock always has 48 kHz (RFC 7587 section 4.1). Two witnesses have to say
//! so, and the same:
//!
//! - The payloads. They say how long they are. Where timestamps of packets that follow each other are exactly as far apart as the
//!   payload between them is long by another usual clock, and packet after packet by the same one, the sender counts by that, or it
//!   sends less than its timestamps say.
//! - The capture clock. The packets come as fast as they would by that clock, and not as fast as by the one that was said.
//!
//! A gap in what is sent moves timestamps by anything, once; what follows it takes the suspicion back.

use crate::base::Timestamp;

/// Clocks that senders count by.
const CLOCKS_HZ: [u32; 7] = [8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000];
/// Numbers between two packets that are compared. Those between them are taken to be as long, where all packets of a trial are.
const MAX_APART: i64 = 16;
/// Steps of the timestamp that have to agree, and what they have to span by the clock that is suspected.
const AGREED: u32 = 4;
const SPAN_NANOS: i64 = 120_000_000;
/// The same of a trial that cannot wait.
const AGREED_IN_HASTE: u32 = 2;
const SPAN_IN_HASTE_NANOS: i64 = 40_000_000;
/// One clock is nearer than the other by this factor, or it is not known which is right.
const NEARER: i64 = 3;
/// Steps in a trial that fit no clock (gaps in what is sent), beyond as many as agree.
const MAX_ODD: u32 = 3;
/// As many steps have to agree for each that does not.
const OUTNUMBERED: u32 = 3;
/// Trials without a verdict, after which there are no more.
const MAX_TRIALS: u8 = 16;
/// What no step of a timestamp is.
const NEVER: u64 = u64::MAX;

/// What one packet of audio says about its stream's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    pub time: Timestamp,
    /// Extended sequence number.
    pub number: u64,
    pub timestamp: u32,
    /// What its payload holds, in samples of its codec; 0 where that is not known.
    pub samples: u32,
}

impl Beat {
    /// Whether a later packet shows that timestamps since this one run at `said_hz` and not at `found_hz`.
    pub fn is_refuted_by(
        &self,
        time: Timestamp,
        timestamp: u32,
        found_hz: u32,
        said_hz: u32,
    ) -> bool {
        let elapsed = time.nanos_since(self.time);
        let ticks = i64::from(timestamp.wrapping_sub(self.timestamp) as i32);
        let (off_found, _) = off(elapsed, ticks, found_hz);
        let (off_said, said) = off(elapsed, ticks, said_hz);
        said >= SPAN_NANOS && is_nearer(off_said, said, off_found)
    }
}

/// By what a stream is measured, in hertz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Ticks of the RTP clock.
    pub clock_hz: u32,
    /// Samples of the codec.
    pub sample_hz: u32,
}

/// From one packet to another.
#[derive(Clone, Copy, Debug)]
struct Step {
    ticks: i64,
    numbers: i64,
}

impl Step {
    /// `None` where nothing can be told from it.
    fn between(before: &Beat, beat: &Beat) -> Option<Step> {
        let numbers = (beat.number as i64).wrapping_sub(before.number as i64);
        let ticks = i64::from(beat.timestamp.wrapping_sub(before.timestamp) as i32);
        let is_near = numbers != 0 && (-MAX_APART..=MAX_APART).contains(&numbers);
        is_near.then_some(Step { ticks, numbers })
    }

    /// Whether it is exactly as long as so many packets of `samples` are by that clock.
    fn fits(&self, samples: u32, clock_hz: u32, sample_hz: u32) -> bool {
        let ticks = i128::from(self.ticks) * i128::from(sample_hz);
        samples > 0
            && ticks == i128::from(self.numbers) * i128::from(samples) * i128::from(clock_hz)
    }

    /// Where the next packet comes so much later, its timestamp is so many ticks later.
    fn as_next(&self) -> Option<u64> {
        let ticks = u64::try_from(self.ticks).ok()?;
        (self.numbers == 1 && ticks > 0).then_some(ticks)
    }
}

/// How far `elapsed` is from what `ticks` are by a clock, and what they are, in nanoseconds.
fn off(elapsed: i64, ticks: i64, clock_hz: u32) -> (i64, i64) {
    let nanos = ticks.saturating_mul(1_000_000_000) / i64::from(clock_hz.max(1));
    (elapsed.saturating_sub(nanos).saturating_abs(), nanos)
}

/// Whether a time that is off by `own` of `span` fits, and one that is off by `other` does not.
fn is_nearer(own: i64, span: i64, other: i64) -> bool {
    own <= span / 2 && own.saturating_mul(NEARER) <= other
}

/// The steps of one stream's timestamps.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Ticks from a packet to the next one, as long as they stay the same; [`NEVER`] where it is not known that they are right.
    expected: u64,
    /// Of the packet before; 0 where that is not known.
    samples: u32,
    /// A clock that the payloads spoke for and the capture clock did not.
    refuted_hz: u32,
    trials: u8,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            expected: NEVER,
            samples: 0,
            refuted_hz: 0,
            trials: 0,
        }
    }
}

impl Pace {
    /// Ticks by which a packet comes after the one before, as they usually do: then there is nothing to be judged. More than any are
    /// where nothing is known.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// What was known may not hold any more: the next packets are judged anew.
    pub fn doubt(&mut self) {
        self.expected = NEVER;
    }

    /// Takes a packet that came after `before`, as many ticks after it as packets usually do not: the clock that it seems to be counted
    /// by, where that is another one than `rates` say. Then a [`Trial`] is to find out.
    pub fn judge(&mut self, before: Option<Beat>, beat: &Beat, rates: Rates) -> Option<u32> {
        let samples = std::mem::replace(&mut self.samples, beat.samples);
        let before = before?;
        let step = Step::between(&before, beat)?;
        let is_verified = self.expected != NEVER;
        let fits = |samples, clock_hz| step.fits(samples, clock_hz, rates.sample_hz);
        let is_right = fits(samples, rates.clock_hz)
            // Of packets that kept the pace nobody looked how long they were.
            || is_verified && fits(beat.samples, rates.clock_hz);
        if is_right || beat.samples == 0 {
            self.expected = step.as_next().unwrap_or(self.expected);
            return None;
        }
        let mut others = CLOCKS_HZ.into_iter();
        let suspected = others.find(|&other| other != rates.clock_hz && fits(samples, other))?;
        if suspected == self.refuted_hz || self.trials == MAX_TRIALS {
            self.expected = step.as_next().unwrap_or(self.expected);
            return None;
        }
        let elapsed = beat.time.nanos_since(before.time);
        let by = |clock_hz| off(elapsed, step.ticks, clock_hz).0;
        if is_verified && by(suspected) >= by(rates.clock_hz) {
            return None;
        }
        self.expected = NEVER;
        Some(suspected)
    }

    /// A trial is over, whose last packet had so many samples.
    pub fn resume(&mut self, verdict: Verdict, clock_hz: u32, samples: u32) {
        (self.expected, self.samples) = (NEVER, samples);
        match verdict {
            Verdict::Refuted => self.refuted_hz = clock_hz,
            Verdict::Open => self.trials += u8::from(self.trials < MAX_TRIALS),
            Verdict::Found | Verdict::Unfounded => {}
        }
    }

    /// The packet before, as far as its stream tells of it.
    pub fn beat_before(&self, time: Timestamp, number: u64, timestamp: u32) -> Beat {
        Beat {
            time,
            number,
            timestamp,
            samples: self.samples,
        }
    }
}

/// What comes of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not known yet.
    Open,
    /// The stream counts by the clock that was suspected.
    Found,
    /// It counts by the clock that was said, by the capture clock; its payloads are not what they seem.
    Refuted,
    /// It was a gap.
    Unfounded,
}

/// Packets of a stream that may count by another clock than was said.
#[derive(Clone, Debug)]
pub struct Trial {
    clock_hz: u32,
    rates: Rates,
    first: Beat,
    last: Beat,
    agreed: u32,
    /// As many agree whose packets are not next to each other.
    agreed_apart: u32,
    odd: u32,
    /// Whether all packets are as long, those too that came too late to be compared.
    is_even: bool,
}

impl Trial {
    /// `first` is the packet before the one that gave rise to it.
    pub fn new(first: Beat, second: &Beat, clock_hz: u32, rates: Rates) -> Trial {
        let is_next = second.number == first.number.wrapping_add(1);
        Trial {
            clock_hz,
            rates,
            first,
            last: *second,
            agreed: u32::from(is_next),
            agreed_apart: u32::from(!is_next),
            odd: 0,
            is_even: first.samples == second.samples,
        }
    }

    /// The clock that is suspected.
    pub fn clock_hz(&self) -> u32 {
        self.clock_hz
    }

    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// The last packet before those that are tried.
    pub fn first(&self) -> &Beat {
        &self.first
    }

    /// Samples of the newest packet.
    pub fn last_samples(&self) -> u32 {
        self.last.samples
    }

    /// Hears the next packet.
    pub fn hear(&mut self, beat: &Beat) -> Verdict {
        let step = Step::between(&self.last, beat);
        self.is_even &= beat.samples == self.last.samples;
        if step.is_some_and(|step| step.numbers < 0) {
            return Verdict::Open;
        }
        let Beat { time, samples, .. } = std::mem::replace(&mut self.last, *beat);
        // A gap of the sender may be as long as a packet is by the clock that was said.
        let elapsed = beat.time.nanos_since(time);
        let comes_as_said = |step: &Step| {
            let by = |clock_hz| off(elapsed, step.ticks, clock_hz).0;
            by(self.rates.clock_hz) <= by(self.clock_hz)
        };
        let fits = |step: &Step, clock_hz| step.fits(samples, clock_hz, self.rates.sample_hz);
        match step {
            Some(step) if fits(&step, self.clock_hz) => match step.numbers {
                1 => self.agreed += 1,
                _ => self.agreed_apart += 1,
            },
            Some(step)
                if step.numbers == 1
                    && fits(&step, self.rates.clock_hz)
                    && comes_as_said(&step) =>
            {
                return Verdict::Unfounded;
            }
            Some(Step { numbers: 1, .. }) | None => self.odd += 1,
            Some(_) => {}
        }
        match self.odd > MAX_ODD + self.agreed() {
            true => Verdict::Unfounded,
            false => self.decide(AGREED, SPAN_NANOS),
        }
    }

    /// What is known by now, when there is no more time.
    pub fn end(&self) -> Verdict {
        self.decide(AGREED_IN_HASTE, SPAN_IN_HASTE_NANOS)
    }

    /// Steps that agree. Those over packets that nobody saw bear out what others say.
    fn agreed(&self) -> u32 {
        let apart = self.agreed_apart.min(self.agreed);
        self.agreed + if self.is_even { apart } else { 0 }
    }

    fn decide(&self, agreed: u32, span_nanos: i64) -> Verdict {
        let elapsed = self.last.time.nanos_since(self.first.time);
        let ticks = i64::from(self.last.timestamp.wrapping_sub(self.first.timestamp) as i32);
        let (off_found, found) = off(elapsed, ticks, self.clock_hz);
        let (off_said, said) = off(elapsed, ticks, self.rates.clock_hz);
        if self.agreed() < agreed.max(self.odd * OUTNUMBERED) || found < span_nanos {
            Verdict::Open
        } else if is_nearer(off_found, found, off_said) {
            Verdict::Found
        } else if said >= span_nanos && is_nearer(off_said, said, off_found) {
            Verdict::Refuted
        } else {
            Verdict::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const G722: Rates = Rates {
        clock_hz: 8000,
        sample_hz: 16_000,
    };

    fn beat(millis: i64, number: u64, timestamp: u32, samples: u32) -> Beat {
        Beat {
            time: Timestamp::from_nanos(1_800_000_000_000_000_000 + millis * 1_000_000),
            number,
            timestamp,
            samples,
        }
    }

    /// What comes of packets, each after the one before: the first verdict, and how many packets it took; `None` where there was no
    /// reason for a trial.
    fn tried(rates: Rates, beats: &[Beat]) -> Option<(Verdict, usize)> {
        let (mut pace, mut before) = (Pace::default(), None::<Beat>);
        for (n, beat) in beats.iter().enumerate() {
            let last = before.replace(*beat);
            let ticks = last.map(|last| beat.timestamp.wrapping_sub(last.timestamp));
            if ticks.map(u64::from) == Some(pace.expected()) {
                continue;
            }
            let known = last.map(|last| pace.beat_before(last.time, last.number, last.timestamp));
            let Some(clock_hz) = pace.judge(known, beat, rates) else {
                continue;
            };
            let mut trial = Trial::new(known.unwrap(), beat, clock_hz, rates);
            for (more, beat) in beats[n + 1..].iter().enumerate() {
                match trial.hear(beat) {
                    Verdict::Open => {}
                    verdict => return Some((verdict, n + more + 2)),
                }
            }
            return Some((Verdict::Open, beats.len()));
        }
        None
    }

    /// Packets of 20 ms of G.722, `ticks` apart, `late` milliseconds late.
    fn evenly(count: i64, ticks: u32, late: impl Fn(i64) -> i64) -> Vec<Beat> {
        let beat = |n: i64| {
            beat(
                n * 20 + late(n),
                100 + n as u64,
                u32::MAX.wrapping_add(ticks.wrapping_mul(n as u32)),
                320,
            )
        };
        (0..count).map(beat).collect()
    }

    #[test]
    fn a_clock_of_twice_the_rate_is_found_within_seven_packets() {
        assert_eq!(
            tried(G722, &evenly(20, 320, |_| 0)),
            Some((Verdict::Found, 7))
        );
        // Within a fifth of a second, though the first packet came late or the network is bad.
        for late in [|n: i64| if n == 0 { 50 } else { 0 }, |n: i64| n * 7919 % 31] {
            let (verdict, packets) = tried(G722, &evenly(20, 320, late)).unwrap();
            assert_eq!(verdict, Verdict::Found);
            assert!(packets <= 11, "{packets} packets");
        }
    }

    #[test]
    fn a_clock_that_is_right_is_not_tried() {
        assert_eq!(tried(G722, &evenly(50, 160, |n| n * 7919 % 90)), None);
    }

    /// A sender that sends every other packet, and a burst: its payloads speak for another clock.
    #[test]
    fn what_the_capture_clock_does_not_say_is_not_believed() {
        let sparse: Vec<Beat> = (0..40i64)
            .map(|n| beat(n * 40, n as u64, 320 * n as u32, 320))
            .collect();
        assert!(matches!(tried(G722, &sparse), Some((Verdict::Refuted, ..))));
        let at_once: Vec<Beat> = (0..40i64)
            .map(|n| beat(0, n as u64, 320 * n as u32, 320))
            .collect();
        assert_eq!(tried(G722, &at_once), Some((Verdict::Open, 40)));
    }

    #[test]
    fn a_gap_is_no_other_clock() {
        let mut beats = evenly(10, 160, |_| 0);
        let gap = |beat: &Beat| Beat {
            number: beat.number + 10,
            time: beat.time + std::time::Duration::from_millis(220),
            timestamp: beat.timestamp.wrapping_add(11 * 160),
            ..*beat
        };
        // Half as much again, unseen before: the first step after a stream began.
        let mut first = vec![beats[0]];
        first.extend(beats[..9].iter().map(|own| Beat {
            number: own.number + 1,
            time: own.time + std::time::Duration::from_millis(40),
            timestamp: own.timestamp.wrapping_add(320),
            ..*own
        }));
        assert_eq!(tried(G722, &first), Some((Verdict::Unfounded, 3)));
        beats.extend(beats.clone().iter().map(gap));
        assert_eq!(tried(G722, &beats), None);
    }

    /// Gaps as long as a packet or two after every other packet, on a bad network: now and then several of them agree.
    #[test]
    fn many_gaps_are_no_other_clock() {
        for seed in 0..200u32 {
            let (mut beats, mut at, mut dice) = (Vec::new(), 0u32, seed.wrapping_mul(7919) + 1);
            for n in 0..60 {
                dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (late, gap) = (dice >> 25, [1, 1, 1, 2, 3, 4, 6][(dice >> 12) as usize % 7]);
                beats.push(beat(i64::from(at + late % 80) / 40 * 40, n, at * 8, 320));
                at += 20 * gap;
            }
            let mut rest = &beats[..];
            while let Some((verdict, packets)) = tried(G722, rest) {
                assert_ne!(verdict, Verdict::Found, "{seed}");
                rest = &rest[packets.min(rest.len())..];
            }
        }
    }

    #[test]
    fn packets_of_another_length_are_no_other_clock() {
        let lengths = [
            320, 320, 320, 320, 160, 160, 160, 640, 640, 640, 960, 960, 160, 320, 640,
        ];
        let (mut beats, mut ticks) = (Vec::new(), 0);
        for (n, samples) in lengths.into_iter().enumerate() {
            beats.push(beat(i64::from(ticks) / 8, n as u64, ticks, samples));
            ticks += samples / 2;
        }
        assert_eq!(tried(G722, &beats), None);
    }

    #[test]
    fn losses_hide_no_clock() {
        let beats: Vec<Beat> = evenly(40, 320, |_| 0)
            .into_iter()
            .filter(|beat| !matches!(beat.number % 7, 2 | 4 | 5))
            .collect();
        let (verdict, packets) = tried(G722, &beats).unwrap();
        assert_eq!(verdict, Verdict::Found);
        assert!(packets <= 6, "{packets} packets");
    }

    #[test]
    fn each_usual_clock_is_found_for_each_codec() {
        let opus = (48_000, 48_000, [8000, 12_000, 16_000, 24_000].as_slice());
        let wide = (16_000, 16_000, [8000, 32_000, 48_000].as_slice());
        let narrow = (8000, 8000, [16_000, 48_000].as_slice());
        for (clock_hz, sample_hz, others) in [opus, wide, narrow] {
            for (other, ptime_ms) in others
                .iter()
                .flat_map(|hz| [10, 20, 30, 40, 60].map(|p| (*hz, p)))
            {
                let beats: Vec<Beat> = (0..40u32)
                    .map(|n| {
                        let at = i64::from(n * ptime_ms);
                        beat(
                            at,
                            n.into(),
                            n * ptime_ms * (other / 1000),
                            ptime_ms * sample_hz / 1000,
                        )
                    })
                    .collect();
                let rates = Rates {
                    clock_hz,
                    sample_hz,
                };
                let (verdict, packets) = tried(rates, &beats).unwrap();
                assert_eq!(
                    verdict,
                    Verdict::Found,
                    "{other} for {clock_hz}, {ptime_ms} ms"
                );
                assert!(packets as u32 * ptime_ms <= 300);
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(
            rates in (any::<u32>(), any::<u32>()),
            beats in proptest::collection::vec((any::<i64>(), any::<u64>(), any::<u32>(), any::<u32>()), 0..40),
        ) {
            let rates = Rates { clock_hz: rates.0, sample_hz: rates.1 };
            let beats: Vec<Beat> = beats
                .into_iter()
                .map(|(time, number, timestamp, samples)| Beat { time: Timestamp::from_nanos(time), number, timestamp, samples })
                .collect();
            tried(rates, &beats);
            if let [first, second, rest @ ..] = &beats[..] {
                let mut trial = Trial::new(*first, second, 8000, rates);
                for beat in rest {
                    trial.hear(beat);
                    trial.end();
                }
            }
        }

        /// Whatever is lost, out of order or late, and however packets change their length: a clock that is right stays what it is.
        #[test]
        fn no_jitter_and_no_loss_makes_another_clock(
            fates in proptest::collection::vec((0..100u8, 0..150i64, 1..4u32), 10..400),
        ) {
            let (mut beats, mut ticks) = (Vec::new(), 0u32);
            for (n, (fate, late, frames)) in fates.into_iter().enumerate() {
                let samples = 320 * frames;
                // A pause of the sender.
                ticks += if fate < 10 { 160 * u32::from(fate) } else { 0 };
                if fate < 90 {
                    beats.push(beat(i64::from(ticks) / 8 + late, n as u64, ticks, samples));
                }
                ticks += samples / 2;
            }
            beats.sort_by_key(|beat| beat.time);
            let mut rest = &beats[..];
            while let Some((verdict, packets)) = tried(G722, rest) {
                prop_assert_ne!(verdict, Verdict::Found);
                rest = &rest[packets.min(rest.len())..];
            }
        }
    }
}
