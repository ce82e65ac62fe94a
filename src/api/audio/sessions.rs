//! Which requests are one listening: a player asks for a recording in many ranges, and the audit says once that it was played.
//!
//! The first request that is answered with audio is audited before its first byte. Further ones of the same person, from the
//! same address, for the same recording and purpose belong to it while no more than [`QUIET`] lies between two of them, and for
//! at most [`LONGEST`]. What is forgotten (a restart, too many at once) is audited once more, never once less.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::base::TenantId;

/// A listening is over after this long without a request.
pub const QUIET: Duration = Duration::from_secs(30 * 60);
/// And after this long in any case.
pub const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Listenings that are remembered.
const MOST: usize = 10_000;

/// Who listens to what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listening {
    /// `user`, `service_account`, …, and which.
    pub actor: (&'static str, Option<Uuid>, String),
    pub address: Option<IpAddr>,
    pub tenant: TenantId,
    pub recording: Uuid,
    /// The audited action.
    pub action: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    first: Instant,
    last: Instant,
}

impl Times {
    fn goes_on(&self, now: Instant) -> bool {
        now.duration_since(self.last) < QUIET && now.duration_since(self.first) < LONGEST
    }
}

/// The listenings that go on.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Listening, Times>>);

impl Sessions {
    /// Whether this request belongs to a listening that was audited.
    pub fn goes_on(&self, listening: &Listening, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(listening) {
            Some(times) if times.goes_on(now) => {
                times.last = now;
                true
            }
            _ => false,
        }
    }

    /// It was audited now.
    pub fn begin(&self, listening: Listening, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, times| times.goes_on(now));
        }
        if all.len() >= MOST {
            all.clear();
        }
        let times = Times {
            first: now,
            last: now,
        };
        all.insert(listening, times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(recording: u128) -> Listening {
        Listening {
            actor: ("user", Some(Uuid::from_u128(1)), "ann".into()),
            address: None,
            tenant: TenantId(Uuid::from_u128(2)),
            recording: Uuid::from_u128(recording),
            action: "calls.playback",
        }
    }

    #[test]
    fn ranges_of_one_listening_are_one_and_later_ones_are_another() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        assert!(!sessions.goes_on(&listening(1), start));
        sessions.begin(listening(1), start);
        let mut now = start;
        for _ in 0..10 {
            now += QUIET - Duration::from_secs(1);
            assert!(sessions.goes_on(&listening(1), now));
        }
        assert!(!sessions.goes_on(&listening(2), now));
        let download = Listening {
            action: "calls.download",
            ..listening(1)
        };
        assert!(!sessions.goes_on(&download, now));
        assert!(!sessions.goes_on(&listening(1), now + QUIET));
        while now.duration_since(start) < LONGEST {
            sessions.goes_on(&listening(1), now);
            now += QUIET / 2;
        }
        assert!(
            !sessions.goes_on(&listening(1), now),
            "nothing goes on for ever"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        for n in 0..MOST as u128 + 5 {
            sessions.begin(listening(n), now);
        }
        assert!(sessions.0.lock().unwrap().len() <= MOST);
        assert!(sessions.goes_on(&listening(MOST as u128 + 4), now));
    }
}
