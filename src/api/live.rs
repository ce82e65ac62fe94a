//! What routes about the present share: the daemon, the feed of events, and who takes up room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::StatusCode;
use tokio::sync::Notify;

use super::audio::AudioDesk;
use super::caller::Caller;
use super::feed::Feed;
use super::problem::{Problem, Result};
use super::sensor::Sensor;

/// Streams of events that are open at a time, and of one person.
const STREAMS: (usize, usize) = (256, 16);
/// ZIPs that are made at a time, and of one person. Each has a thread that waits for who reads it.
const ZIPS: (usize, usize) = (16, 2);

/// What happens at this moment: events of calls, their audio, and how much of it is given out.
pub struct Live {
    pub feed: Arc<Feed>,
    pub audio: AudioDesk,
    /// Rung when something was queued for a webhook.
    pub bell: Arc<Notify>,
    pub streams: Places,
    pub zips: Places,
    sensor: OnceLock<Arc<dyn Sensor>>,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            // Without random bytes the time tells two runs apart as well.
            feed: Arc::new(Feed::new(getrandom::u32().unwrap_or_else(|_| seconds()))),
            audio: AudioDesk::default(),
            bell: Arc::default(),
            streams: Places::new(STREAMS),
            zips: Places::new(ZIPS),
            sensor: OnceLock::new(),
        }
    }
}

fn seconds() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs() as u32
}

impl Live {
    /// From now on questions about the present go there. Once.
    pub fn set_sensor(&self, sensor: Arc<dyn Sensor>) {
        let _ = self.sensor.set(sensor);
    }

    /// # Errors
    ///
    /// A problem of status 503 as long as the daemon has not begun to record.
    pub fn sensor(&self) -> Result<&dyn Sensor> {
        let title = "Recording has not begun";
        let problem =
            || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", title).retry_after(2);
        self.sensor.get().map(AsRef::as_ref).ok_or_else(problem)
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

/// Places for answers that last, some for each person and some for all.
#[derive(Clone, Debug)]
pub struct Places {
    taken: Arc<Mutex<HashMap<String, usize>>>,
    in_all: usize,
    of_one: usize,
}

/// One of the places. It is free when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    of: String,
}

impl Places {
    fn new((in_all, of_one): (usize, usize)) -> Places {
        Places {
            taken: Arc::default(),
            in_all,
            of_one,
        }
    }

    /// # Errors
    ///
    /// A problem of status 429 when there is none.
    pub fn take(&self, caller: &Caller) -> Result<Place> {
        let actor = caller.principal.actor();
        let of = format!(
            "{}/{:?}/{}",
            actor.kind(),
            actor.id(),
            caller.principal.home()
        );
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&of).copied().unwrap_or(0);
        if all >= self.in_all || own >= self.of_one {
            let title = "Too many streams are open";
            return Err(
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", title)
                    .retry_after(10),
            );
        }
        taken.insert(of.clone(), own + 1);
        Ok(Place {
            places: self.clone(),
            of,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.places.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.of) {
            Some(own) if *own > 1 => *own -= 1,
            _ => _ = taken.remove(&self.of),
        }
    }
}
