//! Who watches calls in progress, and what is told of them.

use super::{Page, count};
use crate::daemon::state::State;

pub fn present(page: &mut Page, state: &State) {
    let live = &state.live;
    page.gauge(
        "callreel_live_listeners",
        "Who listens to calls in progress at this moment.",
        count(&live.listening),
    );
    for (name, help, value) in [
        (
            "live_listened",
            "Listeners that were let in.",
            &live.listened,
        ),
        (
            "live_refused",
            "Listeners that were not let in: there were as many as may be.",
            &live.refused,
        ),
        (
            "live_too_slow",
            "Listeners that were left, for they were too slow.",
            &live.too_slow,
        ),
        (
            "live_steps_dropped",
            "Steps of live audio that found no room.",
            &live.steps_dropped,
        ),
        (
            "events_dropped",
            "Events of calls that were told nobody: there were too many.",
            &live.untold,
        ),
    ] {
        page.counter(&format!("callreel_{name}_total"), help, count(value));
    }
    let webhooks = &state.webhooks;
    for (name, help, value) in [
        (
            "delivered",
            "Deliveries that endpoints took.",
            &webhooks.delivered,
        ),
        (
            "failed",
            "Attempts that failed and are repeated.",
            &webhooks.failed,
        ),
        (
            "given_up",
            "Deliveries that were given up.",
            &webhooks.given_up,
        ),
        (
            "dropped",
            "Events that no webhook was told of: too many waited, or the catalog was away.",
            &webhooks.dropped,
        ),
        (
            "withheld",
            "Events and deliveries that were not told: who made the webhook may not see them any more.",
            &webhooks.withheld,
        ),
        (
            "switched_off",
            "Webhooks that were switched off for their failures.",
            &webhooks.switched_off,
        ),
    ] {
        page.counter(
            &format!("callreel_webhook_{name}_total"),
            help,
            count(value),
        );
    }
}
