//! Calls in progress, for whoever watches them.
//!
//! In: the engine's events, through [`Watch`], and what comes of calls that somebody listens to, through [`Ear`]; both on the
//! engine's thread, where nothing waits. Out: the calls in progress, events of them, and live audio, on threads of their own.

mod active;
mod ear;
mod listeners;
mod sensor;
mod telling;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use self::active::ActiveCalls;
pub use self::active::Watch;
pub use self::ear::Ear;
use self::listeners::Listeners;
pub use self::listeners::LiveCounters;
use self::sensor::LiveSensor;
pub use self::telling::{Happening, Telling};
use super::live::Following;
use super::steering::Ask;
use super::webhooks::Mailbox;
use crate::api::Api;
use crate::delivery::CourierCounters;

/// Everything that watches.
pub struct Monitor {
    /// For the engine's thread.
    pub following: Following,
    pub telling: Telling,
    pub live: Arc<LiveCounters>,
    pub webhooks: Arc<CourierCounters>,
}

impl Monitor {
    /// Starts the threads, and has the API ask here. `asks`: what steers recordings, where they can be steered. `listeners`: so
    /// many may listen at a time.
    pub fn start(
        api: &Api,
        asks: Option<SyncSender<Ask>>,
        listeners: u32,
        mailbox: Mailbox,
    ) -> std::io::Result<Monitor> {
        let calls = Arc::new(ActiveCalls::default());
        let feed = api.live().feed.clone();
        let webhooks = mailbox.counters();
        let telling = Telling::start(feed, move |event| mailbox.put(event))?;
        let (door, ear) = Listeners::start(listeners as usize)?;
        let live = door.counters();
        let watch = Watch::new(calls.clone(), telling.happenings.clone(), live.clone());
        api.live()
            .set_sensor(Arc::new(LiveSensor::new(calls, door, asks)));
        let following = Following { watch, ear };
        Ok(Monitor {
            following,
            telling,
            live,
            webhooks,
        })
    }
}
