//! For how long a tenant's calls are kept.

use std::time::Duration;

use crate::base::Timestamp;

/// From the moment at which a plan is seen to keep calls for fewer days until it does so: a slip of the pen can be undone.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);

/// Days of retention are of 24 hours each.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is in force for a tenant, and what is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Days from the end of a call until it goes; none: it is kept for ever.
    pub days: Option<u32>,
    /// What the plan gives, where that is less.
    pub shorter: Option<Shorter>,
}

/// Fewer days, which are in force [`GRACE`] after they were seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shorter {
    pub days: u32,
    pub since: Timestamp,
}

impl Shorter {
    pub fn in_force_at(&self) -> Timestamp {
        self.since + GRACE
    }
}

impl Retention {
    /// What becomes of it at `now`, when the plan keeps calls for `plan` days (none: for ever). More days are in force at once;
    /// fewer only when they have been the plan's, unchanged, for all of [`GRACE`].
    #[must_use]
    pub fn under(self, plan: Option<u32>, now: Timestamp) -> Retention {
        let Some(days) = plan else {
            return Retention::default();
        };
        let in_force = Retention {
            days: Some(days),
            shorter: None,
        };
        if self.days.is_some_and(|before| days >= before) {
            return in_force;
        }
        // A moment that is still to come is of a clock that was wrong.
        let seen = self
            .shorter
            .filter(|shorter| shorter.days == days && shorter.since <= now);
        let since = seen.map_or(now, |shorter| shorter.since);
        match now.since(since) >= GRACE {
            true => in_force,
            false => Retention {
                shorter: Some(Shorter { days, since }),
                ..self
            },
        }
    }

    /// When a call that ended then goes, as things are; none: never.
    pub fn expires_at(&self, ended_at: Timestamp) -> Option<Timestamp> {
        let as_it_is = self.days.map(|days| ended_at + days_long(days));
        let as_it_will_be = self
            .shorter
            .map(|shorter| (ended_at + days_long(shorter.days)).max(shorter.in_force_at()));
        as_it_is.into_iter().chain(as_it_will_be).min()
    }

    /// What ended then or before is to go at `now`; none: nothing.
    pub fn ended_before(&self, now: Timestamp) -> Option<Timestamp> {
        self.days.map(|days| now - days_long(days))
    }
}

fn days_long(days: u32) -> Duration {
    DAY * days
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);
    const SECOND: Duration = Duration::from_secs(1);

    fn kept(days: u32) -> Retention {
        Retention {
            days: Some(days),
            shorter: None,
        }
    }

    #[test]
    fn fewer_days_wait_and_more_do_not() {
        let year = kept(365);
        assert_eq!(year.under(Some(400), NOW), kept(400));
        assert_eq!(year.under(None, NOW), Retention::default());
        let waiting = year.under(Some(30), NOW);
        assert_eq!(waiting.days, Some(365));
        assert_eq!(
            waiting.shorter.map(|shorter| shorter.in_force_at()),
            Some(NOW + GRACE)
        );
        let almost = waiting.under(Some(30), NOW + GRACE - SECOND);
        assert_eq!(almost, waiting);
        assert_eq!(almost.under(Some(30), NOW + GRACE), kept(30));
        // Undone in time.
        assert_eq!(almost.under(Some(365), NOW + GRACE), year);
    }

    #[test]
    fn the_first_limit_of_all_is_a_shorter_one() {
        let first = Retention::default().under(Some(7), NOW);
        assert_eq!((first.days, first.ended_before(NOW)), (None, None));
        assert_eq!(first.under(Some(7), NOW + GRACE), kept(7));
    }

    #[test]
    fn another_number_of_fewer_days_begins_to_wait_anew() {
        let half = NOW + GRACE / 2;
        let waiting = kept(365).under(Some(30), NOW).under(Some(20), half);
        assert_eq!(waiting.under(Some(20), NOW + GRACE), waiting);
        assert_eq!(waiting.under(Some(20), half + GRACE), kept(20));
    }

    #[test]
    fn what_was_seen_by_a_clock_that_ran_ahead_waits_anew() {
        let ahead = kept(365).under(Some(30), NOW + 1000 * GRACE);
        let back = ahead.under(Some(30), NOW);
        assert_eq!(back.under(Some(30), NOW + GRACE - SECOND), back);
        assert_eq!(back.under(Some(30), NOW + GRACE), kept(30));
    }

    #[test]
    fn a_call_goes_so_many_times_24_hours_after_its_end() {
        assert_eq!(kept(30).ended_before(NOW), Some(NOW - 30 * GRACE));
        assert_eq!(kept(30).expires_at(NOW), Some(NOW + 30 * GRACE));
        assert_eq!(Retention::default().expires_at(NOW), None);
        let waiting = kept(365).under(Some(30), NOW);
        let of_age = |days: u32| waiting.expires_at(NOW - days * GRACE);
        assert_eq!(of_age(0), Some(NOW + 30 * GRACE));
        // Old enough for the shorter one already, and for both.
        assert_eq!(of_age(100), Some(NOW + GRACE));
        assert_eq!(of_age(365), Some(NOW));
    }

    #[test]
    fn the_longest_of_all_does_not_overflow() {
        let end = Timestamp::MAX;
        assert_eq!(kept(36_500).expires_at(end), Some(Timestamp::MAX));
        assert!(kept(36_500).ended_before(NOW).unwrap() < Timestamp::default());
    }
}
