//! The time by which calls go. It is the machine's, as long as that goes on evenly.

use std::time::Duration;

use crate::base::Timestamp;

/// What two clocks may differ by.
const SLACK: Duration = Duration::from_secs(3600);
/// A clock that was put back is believed after this.
const BACK: Duration = Duration::from_secs(24 * 3600);

/// One look at the clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The machine's time, which may be put forward and back.
    pub wall: Timestamp,
    /// Since the start, by the clock that nobody sets.
    pub steady: Duration,
}

/// A time that goes on by the steady clock. The machine's time is taken over where the two agree. One that is ahead of it, after a
/// dead battery, a slip, or while the daemon was not running, is taken over when it has gone on evenly for as long as it is
/// ahead; until then calls go by the time that has surely passed. A slip of years has years to be noticed in.
#[derive(Clone, Debug)]
pub struct BelievedClock {
    at: Timestamp,
    /// When that was.
    steady: Duration,
    off: Option<Off>,
    stepped: bool,
}

/// By how much the machine's time differs.
#[derive(Clone, Copy, Debug)]
struct Off {
    nanos: i64,
    since: Duration,
}

impl BelievedClock {
    pub fn new(at: Timestamp, steady: Duration) -> BelievedClock {
        BelievedClock {
            at,
            steady,
            off: None,
            stepped: false,
        }
    }

    /// The time by which calls go: never later than the machine's.
    pub fn look(&mut self, moment: Moment) -> Timestamp {
        self.at = self.at + moment.steady.saturating_sub(self.steady);
        self.steady = moment.steady;
        let nanos = moment.wall.nanos_since(self.at);
        let is_near = |nanos: i64| nanos.unsigned_abs() <= SLACK.as_nanos() as u64;
        let known = self
            .off
            .filter(|off| is_near(nanos.saturating_sub(off.nanos)));
        let off = known.unwrap_or(Off {
            nanos,
            since: moment.steady,
        });
        let patience = match u64::try_from(nanos) {
            Ok(ahead) => Duration::from_nanos(ahead),
            Err(_) => BACK,
        };
        self.stepped = false;
        if is_near(nanos) || moment.steady.saturating_sub(off.since) >= patience {
            self.stepped = !is_near(nanos) && nanos > 0;
            (self.at, self.off) = (moment.wall, None);
        } else {
            self.off = Some(off);
        }
        self.at.min(moment.wall)
    }

    /// Whether the last look took a time over that was ahead: what lies between has passed unseen.
    pub fn stepped(&self) -> bool {
        self.stepped
    }

    /// To be kept for the next start.
    pub fn kept(&self) -> Timestamp {
        self.at
    }

    /// By how much the machine's time is ahead of what is believed.
    pub fn doubted(&self) -> Duration {
        let nanos = self.off.map_or(0, |off| off.nanos);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A look after so long, by a clock that shows `wall`.
    fn look(clock: &mut BelievedClock, wall: Timestamp, steady: Duration) -> Timestamp {
        clock.look(Moment { wall, steady })
    }

    #[test]
    fn a_clock_that_goes_evenly_is_believed() {
        let mut clock = BelievedClock::new(NOW, Duration::ZERO);
        for minutes in 0..10_000 {
            let passed = Duration::from_secs(60) * minutes;
            // With a little drift, and small corrections.
            let wall = NOW + passed + Duration::from_secs(u64::from(minutes % 7));
            assert_eq!(look(&mut clock, wall, passed), wall);
        }
        assert_eq!(clock.doubted(), Duration::ZERO);
    }

    #[test]
    fn a_jump_of_years_moves_nothing_while_it_lasts() {
        let years = 5 * 365 * DAY;
        let mut clock = BelievedClock::new(NOW, Duration::ZERO);
        for minutes in 1..20_000 {
            let passed = Duration::from_secs(60) * minutes;
            assert_eq!(look(&mut clock, NOW + passed + years, passed), NOW + passed);
        }
        assert!(clock.doubted() > years - HOUR);
        let passed = 20 * DAY;
        assert_eq!(look(&mut clock, NOW + passed, passed), NOW + passed);
        assert_eq!(clock.doubted(), Duration::ZERO);
    }

    #[test]
    fn a_machine_that_was_off_is_believed_after_as_long() {
        let mut clock = BelievedClock::new(NOW, Duration::ZERO);
        let wall = |passed| NOW + 3 * DAY + passed;
        assert_eq!(look(&mut clock, wall(HOUR), HOUR), NOW + HOUR);
        let late = 3 * DAY + HOUR / 2;
        assert_eq!(look(&mut clock, wall(late), late), NOW + late);
        assert!(!clock.stepped());
        let then = 3 * DAY + HOUR;
        assert_eq!(look(&mut clock, wall(then), then), wall(then));
        assert!(clock.stepped());
        look(&mut clock, wall(then), then);
        assert!(!clock.stepped());
    }

    #[test]
    fn a_clock_that_jumps_again_begins_to_wait_anew() {
        let mut clock = BelievedClock::new(NOW, Duration::ZERO);
        look(&mut clock, NOW + 2 * DAY + HOUR, HOUR);
        let passed = 2 * DAY;
        assert_eq!(
            look(&mut clock, NOW + 10 * DAY + passed, passed),
            NOW + passed
        );
        let passed = 4 * DAY;
        assert_eq!(
            look(&mut clock, NOW + 10 * DAY + passed, passed),
            NOW + passed
        );
    }

    #[test]
    fn a_clock_that_was_put_back_counts_at_once_and_its_return_is_no_jump() {
        let mut clock = BelievedClock::new(NOW, Duration::ZERO);
        assert_eq!(look(&mut clock, NOW - 30 * DAY, HOUR), NOW - 30 * DAY);
        assert_eq!(clock.doubted(), Duration::ZERO);
        assert_eq!(look(&mut clock, NOW + 2 * HOUR, 2 * HOUR), NOW + 2 * HOUR);
        // For good: then what is ahead of it is a jump.
        look(&mut clock, NOW - 30 * DAY, 3 * HOUR);
        let passed = 3 * HOUR + DAY;
        look(&mut clock, NOW - 30 * DAY + DAY, passed);
        assert_eq!(look(&mut clock, NOW, passed + HOUR), NOW - 29 * DAY + HOUR);
    }

    #[test]
    fn hours_of_a_restart_are_no_matter() {
        let mut clock = BelievedClock::new(NOW, Duration::ZERO);
        assert_eq!(look(&mut clock, NOW + HOUR, Duration::ZERO), NOW + HOUR);
        assert_eq!(look(&mut clock, NOW + 3 * HOUR, Duration::ZERO), NOW + HOUR);
        assert_eq!(look(&mut clock, NOW + 5 * HOUR, 2 * HOUR), NOW + 5 * HOUR);
    }
}
