//! Events of calls, kept for a while for those who follow them.
//!
//! Each tenant has a ring of its own, with numbers of its own: a number tells nothing of what happens elsewhere. One more ring
//! has the events of all tenants, for who sees them all. What does not fit is forgotten, the oldest first; who missed some is
//! told so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

use super::sensor::ActiveCall;
use crate::base::{TenantId, Timestamp};

/// Events kept of one tenant.
const OF_A_TENANT: usize = 500;
/// Events kept of all tenants together, in the ring of all.
const OF_ALL: usize = 5000;
/// Events kept in all rings of tenants; beyond it the longest ring gives.
const IN_RINGS: usize = 50_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    CallStarted,
    CallAnswered,
    CallEnded,
    RecordingReady,
}

impl EventKind {
    pub const ALL: [EventKind; 4] = [
        EventKind::CallStarted,
        EventKind::CallAnswered,
        EventKind::CallEnded,
        EventKind::RecordingReady,
    ];

    pub fn name(self) -> &'static str {
        match self {
            EventKind::CallStarted => "call.started",
            EventKind::CallAnswered => "call.answered",
            EventKind::CallEnded => "call.ended",
            EventKind::RecordingReady => "recording.ready",
        }
    }

    pub fn named(name: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Something that happened to a call, as one tenant may know it.
#[derive(Clone, Debug, PartialEq)]
pub struct CallEvent {
    pub kind: EventKind,
    pub at: Timestamp,
    pub call: ActiveCall,
    /// Of a call that ended.
    pub finished: Option<Finished>,
    /// Of a recording that is ready.
    pub stored: Option<Stored>,
}

/// How a call ended; codes in snake_case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub reason: &'static str,
    pub disposition: Option<&'static str>,
}

/// A recording that is safe. The catalog knows it in a moment, under this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub call_id: Uuid,
    pub length_ms: u64,
    pub size_bytes: u64,
    pub disposition: &'static str,
}

/// Whose events are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Followed {
    Tenant(TenantId),
    All,
}

/// A place in a ring: the number of the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub u64);

/// What a follower gets.
#[derive(Debug)]
pub struct News {
    /// Events with their numbers, in their order.
    pub events: Vec<(u64, Arc<CallEvent>)>,
    /// Some before them are forgotten.
    pub missed: bool,
    pub next: Place,
}

/// Events as they happen, and those of the last while.
#[derive(Debug)]
pub struct Feed {
    rings: Mutex<Rings>,
    changed: watch::Sender<u64>,
    /// Of this run: numbers begin anew with each.
    run: u32,
}

#[derive(Debug, Default)]
struct Rings {
    by_tenant: HashMap<TenantId, Ring>,
    all: Ring,
    kept: usize,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<CallEvent>>,
    /// Number of the first of them.
    first: u64,
}

impl Ring {
    /// Whether an event had to go.
    fn push(&mut self, event: Arc<CallEvent>, most: usize) -> bool {
        self.events.push_back(event);
        let full = self.events.len() > most;
        if full {
            self.forget();
        }
        full
    }

    fn forget(&mut self) {
        if self.events.pop_front().is_some() {
            self.first += 1;
        }
    }

    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn since(&self, place: Place) -> News {
        let from = place.0.clamp(self.first, self.next());
        let skip = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        let events = (from..)
            .zip(self.events.iter().skip(skip).cloned())
            .collect();
        News {
            events,
            missed: from != place.0,
            next: Place(self.next()),
        }
    }
}

impl Feed {
    /// `run` tells the numbers of this run from those of any other.
    pub fn new(run: u32) -> Feed {
        Feed {
            rings: Mutex::default(),
            changed: watch::Sender::new(0),
            run,
        }
    }

    pub fn publish(&self, event: CallEvent) {
        let event = Arc::new(event);
        {
            let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
            let rings = &mut *rings;
            let ring = rings.by_tenant.entry(event.call.tenant).or_default();
            if !ring.push(event.clone(), OF_A_TENANT) {
                rings.kept += 1;
            }
            if rings.kept > IN_RINGS {
                let longest = rings
                    .by_tenant
                    .values_mut()
                    .max_by_key(|ring| ring.events.len());
                longest.into_iter().for_each(Ring::forget);
                rings.kept -= 1;
            }
            rings.all.push(event, OF_ALL);
        }
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes whenever something was published.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The place behind the newest event.
    pub fn newest(&self, followed: Followed) -> Place {
        self.with(followed, |ring| Place(ring.map_or(0, Ring::next)))
    }

    /// What happened from `place` on.
    pub fn since(&self, followed: Followed, place: Place) -> News {
        self.with(followed, |ring| match ring {
            Some(ring) => ring.since(place),
            None => News {
                events: Vec::new(),
                missed: place.0 > 0,
                next: Place(0),
            },
        })
    }

    fn with<T>(&self, followed: Followed, ask: impl FnOnce(Option<&Ring>) -> T) -> T {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        match followed {
            Followed::All => ask(Some(&rings.all)),
            Followed::Tenant(tenant) => ask(rings.by_tenant.get(&tenant)),
        }
    }

    /// The id of an event, as a client gives it back.
    pub fn id_of(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.run)
    }

    /// Where to go on behind the event with this id; `None` where it is of another run, or none.
    pub fn behind(&self, id: &str) -> Option<Place> {
        let (run, number) = id.split_once('-')?;
        let number: u64 = number.parse().ok()?;
        (run == format!("{:08x}", self.run)).then_some(Place(number.checked_add(1)?))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::base::PerSide;

    pub const ONE: TenantId = TenantId(Uuid::from_u128(1));
    const TWO: TenantId = TenantId(Uuid::from_u128(2));

    pub fn call(tenant: TenantId, id: u128) -> ActiveCall {
        ActiveCall {
            id: Uuid::from_u128(id),
            key: id as u64,
            tenant,
            tenant_name: "Some".into(),
            interaction: Uuid::from_u128(id),
            sip_call_id: format!("call-{id}@example.com"),
            invited_at: Timestamp::from_secs_nanos(1_800_000_000, 0),
            answered_at: None,
            heard_since: None,
            recording: None,
            not_recorded: None,
            is_pending: false,
            is_paused: false,
            held_by: PerSide::default(),
            parties: PerSide::default(),
            participants: Vec::new(),
        }
    }

    fn event(tenant: TenantId, id: u128) -> CallEvent {
        CallEvent {
            kind: EventKind::CallStarted,
            at: Timestamp::default(),
            call: call(tenant, id),
            finished: None,
            stored: None,
        }
    }

    fn ids(news: &News) -> Vec<u64> {
        news.events
            .iter()
            .map(|(_, event)| event.call.key)
            .collect()
    }

    #[test]
    fn each_tenant_has_numbers_of_its_own() {
        let feed = Feed::new(7);
        for id in 0..10 {
            feed.publish(event(if id % 5 == 0 { TWO } else { ONE }, id));
        }
        let own = feed.since(Followed::Tenant(TWO), Place(0));
        assert_eq!(
            (ids(&own), own.next, own.missed),
            (vec![0, 5], Place(2), false)
        );
        let all = feed.since(Followed::All, Place(8));
        assert_eq!(ids(&all), [8, 9]);
        let none = feed.since(Followed::Tenant(TenantId(Uuid::nil())), Place(0));
        assert_eq!((ids(&none), none.missed), (vec![], false));
        let id = feed.id_of(own.events[0].0);
        let rest = feed.since(Followed::Tenant(TWO), feed.behind(&id).unwrap());
        assert_eq!(ids(&rest), [5]);
    }

    #[test]
    fn what_is_forgotten_is_told_and_bounded() {
        let feed = Feed::new(7);
        for id in 0..OF_A_TENANT as u128 + 10 {
            feed.publish(event(ONE, id));
        }
        let news = feed.since(Followed::Tenant(ONE), Place(3));
        assert!(news.missed);
        assert_eq!((news.events.len(), news.events[0].0), (OF_A_TENANT, 10));
        assert!(!feed.since(Followed::Tenant(ONE), Place(10)).missed);
        assert!(
            feed.since(Followed::Tenant(ONE), Place(99_999)).missed,
            "of the future"
        );
        for tenant in 0..200u128 {
            for id in 0..400 {
                feed.publish(event(TenantId(Uuid::from_u128(100 + tenant)), id));
            }
        }
        let rings = feed.rings.lock().unwrap();
        let kept: usize = rings.by_tenant.values().map(|ring| ring.events.len()).sum();
        assert_eq!((kept, rings.kept), (IN_RINGS, IN_RINGS));
        assert_eq!(rings.all.events.len(), OF_ALL);
    }

    #[test]
    fn ids_of_another_run_and_nonsense_are_no_places() {
        let feed = Feed::new(7);
        assert_eq!(feed.behind("00000007-41"), Some(Place(42)));
        for id in [
            "00000008-41",
            "41",
            "",
            "00000007-",
            "00000007--1",
            "00000007-18446744073709551615",
        ] {
            assert_eq!(feed.behind(id), None, "{id}");
        }
    }
}
