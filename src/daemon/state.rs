//! What the daemon's threads tell of themselves, for metrics, health and each other.
//!
//! Written by the one whose state it is, read by anyone; nothing here is held while somebody works.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use super::auditing::{FollowerState, WaitingCounters};
use super::cataloguing::CatalogState;
use super::keylog::KeyLogState;
use super::monitor::LiveCounters;
use super::quality::QualitySums;
use super::retention::RetentionState;
use super::status::Status;
use super::tenancy::Tenancy;
use crate::api::front::Counters;
use crate::api::{Health, Service};
use crate::capture::{HepStats, SharedKernelStats};
use crate::catalog::{Away, Home};
use crate::delivery::CourierCounters;
use crate::directory::Directory;
use crate::engine::event::Disposition;
use crate::engine::media::MediaCounters;
use crate::engine::signalling::SignallingCounters;
use crate::engine::streams::StreamCounters;
use crate::engine::vantages::Vantages;
use crate::engine::{Engine, EngineCounters};
use crate::mail::LetterCounters;
use crate::recorder::CallOutcome;
use crate::recorder::RecorderCounters;
use crate::wire::WireCounters;

/// Everything that is told of a running daemon.
pub struct State {
    /// Seconds since 1970.
    pub started_at: u64,
    pub interfaces: Vec<Arc<InterfaceState>>,
    /// What the engine matches calls against from its next batch on.
    pub directory: Arc<ArcSwap<Directory>>,
    /// What keeps it that of this moment.
    pub tenancy: Arc<Tenancy>,
    pub engine: Mutex<EngineSnapshot>,
    pub heartbeat: Heartbeat,
    pub calls: Arc<CallCounts>,
    pub quality: Arc<QualitySums>,
    pub recorder: Arc<RecorderCounters>,
    /// Recordings of an earlier run that this one finished.
    pub recovered: u64,
    pub storage: StorageState,
    pub catalog: Arc<CatalogState>,
    /// The catalog could not be asked what it has.
    pub catalog_unreachable: AtomicBool,
    /// Where it is, and which file it was first.
    pub home: Arc<Home>,
    pub reloads: ReloadState,
    pub keylog: Arc<KeyLogState>,
    /// Where agents are listened to.
    pub hep: Option<Arc<HepStats>>,
    /// Who listens to calls in progress.
    pub live: Arc<LiveCounters>,
    pub webhooks: Arc<CourierCounters>,
    pub retention: Arc<RetentionState>,
}

impl State {
    /// Why the catalog is not read or written, if it is not.
    pub fn why_catalog_away(&self) -> Option<&'static str> {
        let file = self.home.away().map(Away::text);
        let silent = self.catalog.away.load(Ordering::Relaxed)
            || self.catalog_unreachable.load(Ordering::Relaxed);
        file.or_else(|| silent.then_some("the catalog cannot be written"))
    }
}

/// The engine's counters at one moment.
#[derive(Clone, Debug, Default)]
pub struct EngineSnapshot {
    pub wire: WireCounters,
    pub engine: EngineCounters,
    pub signalling: SignallingCounters,
    pub media: MediaCounters,
    pub open_calls: u64,
    pub open_streams: u64,
    /// RTP packets kept for signalling that has not come.
    pub kept_packets: u64,
    pub streams: StreamCounters,
    pub vantages: Vantages,
}

impl EngineSnapshot {
    pub fn of(engine: &Engine) -> EngineSnapshot {
        EngineSnapshot {
            wire: engine.wire_counters().clone(),
            engine: *engine.counters(),
            signalling: *engine.signalling_counters(),
            media: *engine.media_counters(),
            open_calls: engine.open_calls() as u64,
            open_streams: engine.open_streams() as u64,
            kept_packets: engine.unclaimed_packets(),
            streams: *engine.stream_counters(),
            vantages: engine.vantages().clone(),
        }
    }
}

/// How one interface is.
pub struct InterfaceState {
    pub name: String,
    lost: Mutex<Option<String>>,
    pub outages: AtomicU64,
    pub kernel: Arc<SharedKernelStats>,
    /// Packets that found no room between this interface's thread and the engine's.
    pub queue_dropped: AtomicU64,
}

impl InterfaceState {
    /// `lost`: why it is not captured on from the start.
    pub fn new(name: &str, kernel: Arc<SharedKernelStats>, lost: Option<String>) -> Self {
        InterfaceState {
            name: name.to_owned(),
            lost: Mutex::new(lost),
            outages: AtomicU64::new(0),
            kernel,
            queue_dropped: AtomicU64::new(0),
        }
    }

    pub fn lost(&self, reason: String) {
        tracing::warn!(interface = self.name, reason, "an interface is waited for");
        if locked(&self.lost).replace(reason).is_none() {
            self.outages.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn resumed(&self) {
        tracing::warn!(interface = self.name, "an interface is captured on again");
        *locked(&self.lost) = None;
    }

    /// Why no packets come, if none can.
    pub fn why_lost(&self) -> Option<String> {
        locked(&self.lost).clone()
    }
}

/// When a thread was last seen at work.
pub struct Heartbeat {
    epoch: Instant,
    /// Milliseconds after `epoch`.
    last: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat {
            epoch: Instant::now(),
            last: AtomicU64::new(0),
        }
    }
}

impl Heartbeat {
    pub fn beat(&self, now: Instant) {
        let at = now.saturating_duration_since(self.epoch).as_millis();
        self.last.store(at as u64, Ordering::Relaxed);
    }

    pub fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(last)
    }
}

/// Calls that are over, by what became of them.
#[derive(Default)]
pub struct CallCounts {
    first: [AtomicU64; Disposition::ALL.len()],
    /// What was told first, and what became of it after all.
    revised: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

/// Shown also while they are none.
const REVISIONS: [(Disposition, Disposition); 2] = [
    (Disposition::StorageFailed, Disposition::Recorded),
    (Disposition::Recorded, Disposition::OtherLeg),
];

impl CallCounts {
    /// A call counts once, by what was told of it first: a counter goes up only. What is told later counts as a revision.
    pub fn take(&self, outcome: &CallOutcome) {
        match outcome.revised {
            None if outcome.recordings.is_empty() => self.add(Disposition::Unattributed),
            None => (outcome.recordings.iter()).for_each(|of| self.add(of.disposition)),
            Some(before) => {
                let mut revised = self.revised.lock().unwrap_or_else(PoisonError::into_inner);
                for of in &outcome.recordings {
                    *revised
                        .entry((before.code(), of.disposition.code()))
                        .or_default() += 1;
                }
            }
        }
    }

    /// From what to what, and how many.
    pub fn revisions(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let none = REVISIONS.map(|(from, to)| ((from.code(), to.code()), 0));
        let mut all = BTreeMap::from(none);
        let revised = self.revised.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(revised.iter());
        all
    }

    pub fn add(&self, disposition: Disposition) {
        let place = Disposition::ALL
            .iter()
            .position(|&known| known == disposition);
        if let Some(count) = place.and_then(|place| self.first.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.first.iter().map(|count| count.load(Ordering::Relaxed));
        Disposition::ALL
            .iter()
            .map(|known| known.code())
            .zip(counts)
    }
}

/// Whether a work that goes on for ever fails, and why.
#[derive(Debug, Default)]
pub struct Failing(Mutex<Option<String>>);

impl Failing {
    /// Whether that is another state than before.
    pub fn set(&self, reason: Option<String>) -> bool {
        let mut failing = locked(&self.0);
        let changed = failing.is_some() != reason.is_some();
        *failing = reason;
        changed
    }

    /// None: it goes well.
    pub fn why(&self) -> Option<String> {
        locked(&self.0).clone()
    }
}

/// How the storage is.
pub struct StorageState {
    pub free_bytes: AtomicU64,
    /// Recording stops below it.
    pub min_free_mib: AtomicU64,
    /// The recorder's own flag.
    pub low: Arc<AtomicBool>,
    pub failing: Failing,
}

impl StorageState {
    pub fn new(min_free_mib: u64, low: Arc<AtomicBool>) -> Self {
        StorageState {
            free_bytes: AtomicU64::new(0),
            min_free_mib: AtomicU64::new(min_free_mib),
            low,
            failing: Failing::default(),
        }
    }
}

/// How the configuration was read since the start.
pub struct ReloadState {
    pub done: AtomicU64,
    pub failed: AtomicU64,
    pub last_successful: AtomicBool,
}

impl Default for ReloadState {
    fn default() -> Self {
        ReloadState {
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            // The one of the start was.
            last_successful: AtomicBool::new(true),
        }
    }
}

/// What HTTP asks: there from the first moment, the state behind it as soon as there is one.
pub struct Front {
    state: OnceLock<Arc<State>>,
    beside: Beside,
}

/// What is counted beside the recording of calls.
#[derive(Default)]
pub struct Beside {
    /// Of what is asked.
    pub asked: Arc<Counters>,
    /// Who is told the audit.
    pub audit: Vec<Arc<FollowerState>>,
    /// What operators did and is not in the audit yet.
    pub waiting: Arc<WaitingCounters>,
    pub letters: Arc<LetterCounters>,
}

impl Front {
    pub fn new(beside: Beside) -> Front {
        Front {
            state: OnceLock::new(),
            beside,
        }
    }

    /// From now on the daemon answers for itself. Once.
    pub fn open(&self, state: Arc<State>) {
        let _ = self.state.set(state);
    }

    /// Whether calls are being recorded.
    pub fn is_open(&self) -> bool {
        self.state.get().is_some()
    }
}

impl Service for Front {
    fn health(&self) -> Health {
        match self.state.get() {
            Some(state) => super::health::health(state),
            None => {
                let mut health = Health::default();
                health.add("starting", "the daemon has not begun to record");
                health
            }
        }
    }

    fn metrics(&self) -> String {
        self.state
            .get()
            .map_or_else(String::new, |state| super::metrics::text(state))
            + &super::metrics::api(&self.beside.asked)
            + &super::metrics::audit(&self.beside.audit, &self.beside.waiting)
            + &super::metrics::letters(&self.beside.letters)
    }

    fn status(&self) -> serde_json::Value {
        let status = self.state.get().map(|state| super::status::status(state));
        // A status has only string keys.
        status.map_or_else(Status::starting, |status| {
            serde_json::to_value(status).unwrap_or_default()
        })
    }
}

/// Seconds since 1970.
pub fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// The lock, also after a panic of who held it: each value is whole at any time.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::daemon::tenancy::Configured;

    /// One interface that is not there, one call that nobody answered.
    pub fn a_state() -> State {
        let lost = Some("it does not exist".to_owned());
        let calls = CallCounts::default();
        calls.add(Disposition::NotAnswered);
        let nowhere = std::path::Path::new("/nonexistent");
        let (tenancy, _) = Tenancy::new(Configured::nothing(), nowhere);
        State {
            started_at: 1,
            interfaces: vec![Arc::new(InterfaceState::new(
                "span\"0",
                Arc::default(),
                lost,
            ))],
            directory: tenancy.directory(),
            tenancy,
            engine: Mutex::default(),
            heartbeat: Heartbeat::default(),
            calls: Arc::new(calls),
            quality: Arc::default(),
            recorder: Arc::default(),
            recovered: 0,
            storage: StorageState::new(1024, Arc::default()),
            catalog: Arc::default(),
            catalog_unreachable: AtomicBool::new(false),
            home: Home::new("sqlite::memory:"),
            reloads: ReloadState::default(),
            keylog: Arc::default(),
            hep: Some(Arc::default()),
            live: Arc::default(),
            webhooks: Arc::default(),
            retention: Arc::default(),
        }
    }

    #[test]
    fn health_names_each_problem() {
        let state = a_state();
        let codes = |state: &State| {
            let problems = crate::daemon::health::health(state).problems;
            problems.iter().map(|p| p.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(&state), ["interface_lost"]);
        state.interfaces[0].resumed();
        assert!(codes(&state).is_empty());
        state.storage.low.store(true, Ordering::Relaxed);
        state.storage.failing.set(Some("it burns".into()));
        state.catalog.away.store(true, Ordering::Relaxed);
        assert_eq!(
            codes(&state),
            ["storage_low", "storage_failing", "catalog_away"]
        );
    }

    #[test]
    fn before_the_start_is_done_nothing_is_well() {
        let front = Front::new(Beside::default());
        assert_eq!(front.health().problems[0].code, "starting");
        front.open(Arc::new(a_state()));
        assert_eq!(front.health().problems[0].code, "interface_lost");
    }

    #[test]
    fn outages_are_counted_and_not_their_reasons() {
        let interface = InterfaceState::new("span0", Arc::default(), None);
        interface.lost("no link".into());
        interface.lost("it does not exist".into());
        interface.resumed();
        interface.lost("no link".into());
        assert_eq!(interface.outages.load(Ordering::Relaxed), 2);
    }
}
