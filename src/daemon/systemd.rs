//! What is said to systemd, where it started the daemon (`Type=notify-reload` or `notify`).

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use super::state::State;

/// Everything that the configuration asks for is open or waited for.
pub fn ready() {
    say(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the monotonic clock cannot be read"),
    }
}

pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd does not hear what it is told");
    }
}

/// Feeds the watchdog twice in each of its periods, for as long as the engine makes progress, where systemd asks for it.
pub fn start_watchdog(state: Arc<State>) -> std::io::Result<()> {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return Ok(());
    };
    let pause = (period / 2).max(Duration::from_millis(10));
    let run = move || {
        loop {
            if state.heartbeat.age() < pause {
                say(&[NotifyState::Watchdog]);
            }
            std::thread::sleep(pause);
        }
    };
    let thread = std::thread::Builder::new().name("watchdog".into());
    thread.spawn(run).map(drop)
}
