//! Whether calls are being recorded as configured, and if not, why.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::state::State;
use crate::api::Health;

/// An engine that has not finished a batch, or looked for one, for so long is stuck.
const STALLED: Duration = Duration::from_secs(5);

pub fn health(state: &State) -> Health {
    let mut health = Health::default();
    for interface in &state.interfaces {
        if let Some(reason) = interface.why_lost() {
            let message = format!("interface {}: {reason}", interface.name);
            health.add("interface_lost", message);
        }
    }
    let idle = state.heartbeat.age();
    if idle > STALLED {
        let message = format!("no packet was looked for since {} s", idle.as_secs());
        health.add("engine_stalled", message);
    }
    let storage = &state.storage;
    if storage.low.load(Ordering::Relaxed) {
        let message = format!(
            "{} MiB are free; nothing is recorded below {} MiB (storage.min_free_mib)",
            storage.free_bytes.load(Ordering::Relaxed) >> 20,
            storage.min_free_mib.load(Ordering::Relaxed)
        );
        health.add("storage_low", message);
    }
    if let Some(reason) = storage.failing.why() {
        health.add("storage_failing", reason);
    }
    if state.keylog.failing.load(Ordering::Relaxed) {
        let message =
            "the TLS key log cannot be read (capture.tls_keylog): SIP over TLS may go unheard";
        health.add("keylog_failing", message);
    }
    if let Some(why) = state.why_catalog_away() {
        let message = format!("{why}; recordings are entered when it is back");
        health.add("catalog_away", message);
    }
    let retention = &state.retention;
    if let Some(why) = retention.failing.why()
        && state.why_catalog_away().is_none()
    {
        let message = format!("calls that were kept for long enough cannot be removed: {why}");
        health.add("retention_failing", message);
    }
    if let Some(ahead) = retention.doubted_clock() {
        let message = format!(
            "the clock is {} hours ahead of the time that has surely passed, by which calls are removed; if it is right, say so: \
             `callreel retention confirm-clock`",
            ahead.as_secs() / 3600
        );
        health.add("clock_doubted", message);
    }
    if state.tenancy.state.away.load(Ordering::Relaxed) {
        let message =
            "tenants and extensions cannot be read from the catalog: those known last are in use";
        health.add("directory_stale", message);
    }
    let left_out = state.tenancy.left_out();
    if let Some(first) = left_out.first() {
        let message = format!(
            "{} of the catalog contradict the configuration or each other, and are not in use: {first}",
            left_out.len()
        );
        health.add("directory_conflict", message);
    }
    health
}
