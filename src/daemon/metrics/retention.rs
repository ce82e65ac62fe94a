//! Calls that were kept for long enough.

use super::{Page, count};
use crate::catalog::wall_clock;
use crate::daemon::retention::RetentionState;

pub(super) fn retention(page: &mut Page, state: &RetentionState) {
    page.counter(
        "callreel_retention_removed_total",
        "Calls removed because their tenant's plan keeps them no longer.",
        count(&state.removed),
    );
    page.counter(
        "callreel_retention_failures_total",
        "Times that such calls, or their files, could not be removed.",
        count(&state.failures),
    );
    let gauges = [
        (
            "callreel_retention_files_waiting",
            "Removed calls whose files are still there.",
            count(&state.files_waiting),
        ),
        (
            "callreel_retention_overdue_seconds",
            "For how long the first of the calls has been due that are still to be removed; 0: there is none.",
            state.overdue(wall_clock()).as_secs(),
        ),
        (
            "callreel_retention_clock_ahead_seconds",
            "By how much the clock is ahead of the time by which calls are removed.",
            count(&state.clock_ahead),
        ),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, value);
    }
}
