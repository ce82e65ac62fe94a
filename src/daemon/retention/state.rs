//! What the thread tells of itself.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::base::Timestamp;
use crate::daemon::state::Failing;

/// A clock that is ahead by more is a matter for whoever runs the machine.
const TOLD_FROM: Duration = Duration::from_secs(24 * 3600);

/// How the removal of calls goes on.
#[derive(Debug, Default)]
pub struct RetentionState {
    /// Calls removed, with a recording or without.
    pub removed: AtomicU64,
    /// Times that calls or their files could not be removed.
    pub failures: AtomicU64,
    /// Removed calls whose files are still there.
    pub files_waiting: AtomicU64,
    /// Tenants whose plan says how long calls are kept.
    pub tenants: AtomicU64,
    /// By how many seconds the machine's clock is ahead of the time by which calls go.
    pub clock_ahead: AtomicU64,
    /// When the first of the calls was due that are still to go; 0: there is none.
    oldest_due: AtomicI64,
    pub failing: Failing,
}

impl RetentionState {
    pub fn set_oldest_due(&self, at: Option<Timestamp>) {
        let nanos = at.map_or(0, Timestamp::as_nanos);
        self.oldest_due.store(nanos, Ordering::Relaxed);
    }

    /// For how long the first of the calls has been due that are still to go.
    pub fn overdue(&self, now: Timestamp) -> Duration {
        match self.oldest_due.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            nanos => now.since(Timestamp::from_nanos(nanos)),
        }
    }

    /// By how much the clock is ahead, where that is for people to settle: it keeps calls from going.
    pub fn doubted_clock(&self) -> Option<Duration> {
        let ahead = Duration::from_secs(self.clock_ahead.load(Ordering::Relaxed));
        let matters = self.tenants.load(Ordering::Relaxed) > 0;
        (matters && ahead > TOLD_FROM).then_some(ahead)
    }
}
