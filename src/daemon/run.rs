//! The daemon from its start to its end.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::announce::tell_end;
use super::auditing::{self, Follower, Waiting};
use super::cataloguing::{self, Cataloguer};
use super::control::{Control, Http, Order};
use super::disk::{DiskWatch, look_for_room};
use super::entering::Entering;
use super::keylog::{ClosedConnections, KeyLogWatch};
use super::live::{self, Live, Session, Source};
use super::log;
use super::losses::Losses;
use super::monitor::{Happening, Monitor, Telling};
use super::pipeline;
use super::probing;
use super::quality::QualitySums;
use super::reload::{Asked, Reload};
use super::retention::Sweeping;
use super::serving;
use super::standing::Keeper;
use super::state::{
    Beside, CallCounts, Front, Heartbeat, ReloadState, State, StorageState, seconds_now,
};
use super::steering::{Asks, Steering};
use super::systemd;
use super::tenancy::{Configured, Tenancy, Watching};
use super::webhooks::Webhooks;
use crate::catalog::Home;
use crate::config::{Loaded, Settings};
use crate::recorder::{self, CallOutcome, Recorder, WhenFull, recover};
use crate::storage::StorageLock;

/// A changed file is read when nothing has changed for so long,
const SETTLED: Duration = Duration::from_millis(500);

/// or when changes have gone on for so long.
const UNSETTLED: Duration = Duration::from_secs(5);

/// Orders that wait; more of the same mean nothing.
const ORDERS: usize = 64;

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it was told to.
    Asked,
    /// By a fault of its own, which it has logged.
    Broken,
}

/// Records until a signal says stop. `path` is where the configuration came from, and is read again.
///
/// # Errors
///
/// Whatever keeps the daemon from starting.
pub fn run(path: &Path, loaded: Loaded) -> anyhow::Result<Ended> {
    let settings = &loaded.settings;
    anyhow::ensure!(
        !settings.capture.sources().is_empty(),
        "no interface to record from: write `interfaces = [\"span0\"]`, with the name of yours, under [capture] in {}",
        path.display()
    );
    let dial = log::start(&settings.log);
    pipeline::raise_file_limit();
    let lock = StorageLock::acquire(&settings.storage.root)?;
    let lock = Arc::new(Mutex::new(lock));
    let (orders, inbox) = sync_channel(ORDERS);
    let bounds = serving::front(&settings.api);
    let followers = auditing::followers(settings);
    let told = followers.iter().map(Follower::state).collect();
    let beside = Beside {
        asked: bounds.counters.clone(),
        audit: told,
        ..Beside::default()
    };
    let letters = beside.letters.clone();
    let waiting = Waiting::open(&settings.storage.root, beside.waiting.clone());
    let front = Arc::new(Front::new(beside));
    let doors = serving::doors(&settings.api)?;
    let (steering, asks) = match Steering::bind(&settings.storage.root) {
        Ok((steering, asks)) => (Some(steering), Some(asks)),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "recordings cannot be steered from outside"
            );
            (None, None)
        }
    };
    let (mailbox, webhooks) = Webhooks::new();
    let api = serving::api(&loaded);
    let (tenancy, nudges) = Tenancy::new(Configured::new(&loaded), &settings.storage.root);
    api.set_installation(tenancy.clone());
    let home = Home::new(&settings.catalog.url);
    let watching = Watching::start(tenancy.clone(), home.clone(), nudges)?;
    let asking = steering.as_ref().map(Steering::asks);
    let monitor = Monitor::start(&api, asking, settings.api.live_listeners, mailbox)?;
    let http = Http {
        doors,
        bounds,
        followers,
        waiting,
        front: front.clone(),
        api,
        catalog: home.clone(),
        webhooks,
        mail: settings.mail.clone(),
        letters,
    };
    let control = Control::start(http, orders.clone(), steering)?;
    // Before what may take its time: their buffers fill meanwhile.
    let sources = live::open(settings)?;
    let running = Running::start(
        &loaded,
        sources,
        &orders,
        asks,
        (monitor, tenancy, lock.clone(), home),
    )?;
    front.open(running.state.clone());
    systemd::start_watchdog(running.state.clone())?;
    let changed = move || _ = orders.try_send(Order::FilesChanged);
    let interfaces = loaded.settings.capture.sources().join(", ");
    let reload = Reload::new(path, loaded, running.state.clone(), dial, changed);
    systemd::ready();
    tracing::info!(interfaces, version = env!("CARGO_PKG_VERSION"), "capturing");
    let losses = Losses::new(running.state.clone());
    let closed = ClosedConnections::new(running.state.clone());
    let told = obey(&inbox, reload, losses, closed);
    systemd::stopping();
    let ended = running.finish();
    control.finish();
    watching.finish();
    drop(lock);
    tracing::info!("stopped");
    Ok(match (told, ended) {
        (Ended::Asked, Ended::Asked) => Ended::Asked,
        _ => Ended::Broken,
    })
}

/// Works off orders until there is one to stop.
fn obey(
    inbox: &Receiver<Order>,
    mut reload: Reload,
    mut losses: Losses,
    mut closed: ClosedConnections,
) -> Ended {
    // When the files of the configuration began to change, and when they are to be read.
    let mut changes: Option<(Instant, Instant)> = None;
    loop {
        let patience = changes.map_or(Duration::from_secs(1), |(_, due)| {
            due.saturating_duration_since(Instant::now())
        });
        match inbox.recv_timeout(patience) {
            Ok(Order::Stop) => return Ended::Asked,
            Ok(Order::Reload) => {
                changes = None;
                reload.reload(Asked::ByOperator);
            }
            Ok(Order::FilesChanged) => {
                let now = Instant::now();
                let (began, _) = changes.unwrap_or((now, now));
                changes = Some((began, (now + SETTLED).min(began + UNSETTLED)));
            }
            Ok(Order::CaptureEnded) | Err(RecvTimeoutError::Disconnected) => {
                tracing::error!("a thread between wire and recorder is gone: the daemon ends");
                return Ended::Broken;
            }
            Err(RecvTimeoutError::Timeout) => {
                if changes.take().is_some() {
                    reload.reload(Asked::ByChange);
                }
                losses.tell();
                closed.tell();
            }
        }
    }
}

/// Everything between wire, disk and catalog, at work.
struct Running {
    state: Arc<State>,
    live: Live,
    disk: DiskWatch,
    cataloguer: Cataloguer,
    entering: Entering,
    sweeping: Sweeping,
    keylog: Option<KeyLogWatch>,
    telling: Telling,
}

impl Running {
    fn start(
        loaded: &Loaded,
        sources: Vec<Source>,
        orders: &SyncSender<Order>,
        asks: Option<Asks>,
        (monitor, tenancy, lock, home): (Monitor, Arc<Tenancy>, Arc<Mutex<StorageLock>>, Arc<Home>),
    ) -> anyhow::Result<Running> {
        let settings = &loaded.settings;
        let names = settings.capture.sources();
        let cataloguer = Cataloguer::start(home.clone())?;
        let of_recorder = pipeline::recorder_settings(settings, &names, WhenFull::Drop);
        let recovered = finish_what_was_left(&of_recorder, &cataloguer, &monitor.telling);

        probing::tell(&settings.decoders);
        let (layout, low) = (of_recorder.layout.clone(), of_recorder.storage_low.clone());
        let calls = Arc::new(CallCounts::default());
        let quality = Arc::new(QualitySums::default());
        let counts = (calls.clone(), quality.clone());
        let recorder = start_recorder(
            settings,
            of_recorder,
            &names,
            &cataloguer,
            counts,
            &monitor.telling,
        )?;
        let state = Arc::new(State {
            started_at: seconds_now(),
            interfaces: sources.iter().map(|source| source.state.clone()).collect(),
            directory: tenancy.directory(),
            tenancy,
            engine: Default::default(),
            heartbeat: Heartbeat::default(),
            calls,
            quality,
            recorder: recorder.counters(),
            recovered,
            storage: StorageState::new(settings.storage.min_free_mib, low),
            catalog: cataloguer.state.clone(),
            catalog_unreachable: false.into(),
            home: home.clone(),
            reloads: ReloadState::default(),
            keylog: Arc::default(),
            hep: sources.iter().find_map(|source| source.hep.clone()),
            live: monitor.live.clone(),
            webhooks: monitor.webhooks.clone(),
            retention: Arc::default(),
        });
        // Before the first packet. A failure is found again, and told, by the thread below.
        let _ = look_for_room(&layout, &state);
        let disk = DiskWatch::start(layout.clone(), lock, state.clone())?;
        let engine = pipeline::engine_settings(settings, &names);
        let keylog = settings.capture.tls_keylog.as_deref();
        let keylog = keylog.map(|path| KeyLogWatch::start(path, state.keylog.clone()));
        let (keylog, secrets) = keylog.transpose()?.unzip();
        let mut session = Session::new(
            engine,
            recorder,
            state.clone(),
            secrets,
            asks,
            monitor.following,
        )?;
        let longest = Duration::from_secs(u64::from(settings.recorder.max_call_hours) * 3600);
        session.remember(Keeper::start(&settings.storage.root, longest)?);
        let orders = orders.clone();
        let live = Live::start(sources, session, move || {
            _ = orders.try_send(Order::CaptureEnded);
        })?;
        let entering = Entering::start(home.clone(), layout.clone(), state.clone())?;
        let sweeping =
            Sweeping::start(home, state.tenancy.clone(), layout, state.retention.clone())?;
        Ok(Running {
            state,
            live,
            disk,
            cataloguer,
            entering,
            sweeping,
            keylog,
            telling: monitor.telling,
        })
    }

    /// Calls in progress become recordings, and all that is over is entered in the catalog.
    fn finish(self) -> Ended {
        self.entering.finish();
        self.sweeping.finish();
        let whole = self.live.finish();
        self.telling.finish();
        self.keylog.into_iter().for_each(KeyLogWatch::finish);
        self.disk.finish();
        let catalog = self.cataloguer.finish();
        let uncatalogued = catalog.dropped.load(Ordering::Relaxed);
        if uncatalogued > 0 {
            tracing::warn!(
                calls = uncatalogued,
                "not in the catalog; the next start enters those with a recording"
            );
        }
        match whole {
            true => Ended::Asked,
            false => Ended::Broken,
        }
    }
}

/// I2. Returns the number of recordings.
fn finish_what_was_left(
    settings: &recorder::Settings,
    cataloguer: &Cataloguer,
    telling: &Telling,
) -> u64 {
    let found = recover(settings);
    for error in &found.failed {
        tracing::error!(%error, "a recording of an earlier run could not be finished");
    }
    let rows = found
        .recordings
        .iter()
        .map(|(sidecar, path)| cataloguing::row_of_sidecar(sidecar, path));
    cataloguer.record(rows.collect());
    for (sidecar, _) in &found.recordings {
        for happening in Happening::recovered(sidecar) {
            // The thread that tells outlives this.
            let _ = telling.happenings.send(happening);
        }
    }
    let recovered = found.recordings.len() as u64;
    if recovered + found.not_kept > 0 || found.empty > 0 {
        tracing::warn!(
            recordings = recovered,
            empty = found.empty,
            not_kept = found.not_kept,
            "an earlier run was broken off: its recordings are finished"
        );
    }
    recovered
}

fn start_recorder(
    settings: &Settings,
    of_recorder: recorder::Settings,
    interfaces: &[Arc<str>],
    cataloguer: &Cataloguer,
    (calls, quality): (Arc<CallCounts>, Arc<QualitySums>),
    telling: &Telling,
) -> anyhow::Result<Recorder> {
    let (sensor, names) = (pipeline::sensor_name(settings), interfaces.to_vec());
    let record = cataloguer.sender();
    let happenings = telling.happenings.clone();
    let told = move |outcome: CallOutcome| {
        calls.take(&outcome);
        quality.add(&outcome);
        tell_end(&outcome);
        let ready = Happening::ready(&outcome);
        record(cataloguing::rows_of(&outcome, &sensor, &names));
        // A row is on its way to the catalog when its event is told.
        ready
            .into_iter()
            .for_each(|ready| _ = happenings.try_send(ready));
    };
    Recorder::start(of_recorder, told).context("cannot start the recorder's threads")
}
