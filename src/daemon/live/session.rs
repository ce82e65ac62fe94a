//! The engine at work on a wire, with what it needs around it: the newest directory, and somebody who asks how it is.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::base::Timestamp;
use crate::daemon::announce::Announcer;
use crate::daemon::monitor::{Ear, Watch};
use crate::daemon::standing::Keeper;
use crate::daemon::state::{EngineSnapshot, State, locked};
use crate::daemon::steering::Asks;
use crate::directory::Directory;
use crate::engine::event::EndReason;
use crate::engine::standing::Standing;
use crate::engine::{Engine, EngineSettings};
use crate::recorder::Recorder;
use crate::wire::Packet;
use crate::wire::tls::LoggedSecret;

/// How often the counters are told.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Owned by the one thread that runs the engine.
pub struct Session {
    engine: Engine,
    sink: Announcer,
    state: Arc<State>,
    /// The one that the engine has.
    directory: Arc<Directory>,
    next_telling: Instant,
    /// Secrets of TLS sessions, as the key log gets them.
    secrets: Option<Receiver<Vec<LoggedSecret>>>,
    /// What is asked of calls in progress.
    asks: Option<Asks>,
    /// For those who listen to calls.
    ear: Ear,
}

/// What follows the engine at its work.
pub struct Following {
    pub watch: Watch,
    pub ear: Ear,
}

impl Session {
    pub fn new(
        settings: EngineSettings,
        recorder: Recorder,
        state: Arc<State>,
        secrets: Option<Receiver<Vec<LoggedSecret>>>,
        asks: Option<Asks>,
        following: Following,
    ) -> std::io::Result<Session> {
        let directory = state.directory.load_full();
        Ok(Session {
            engine: Engine::new(settings, directory.clone()),
            sink: Announcer::start(recorder, following.watch)?,
            state,
            directory,
            next_telling: Instant::now(),
            secrets,
            asks,
            ear: following.ear,
        })
    }

    /// Has what was asked of calls outlast this run, and takes over what an earlier one left. Before the first packet.
    pub fn remember(&mut self, (keeper, left): (Keeper, Vec<Standing>)) {
        self.engine.restore(left);
        self.sink.set_keeper(keeper);
    }

    #[inline]
    pub fn handle_packet(&mut self, packet: &Packet<'_>) {
        self.engine.handle_packet(packet, &mut self.sink);
    }

    /// No packet of before `now` will come.
    pub fn advance(&mut self, now: Timestamp) {
        if now > self.engine.now() {
            self.engine.handle_timeout(now, &mut self.sink);
        }
    }

    /// What need not be done for each packet.
    pub fn between_batches(&mut self) {
        let now = Instant::now();
        self.state.heartbeat.beat(now);
        let newest = self.state.directory.load();
        if !Arc::ptr_eq(&newest, &self.directory) {
            self.directory = Arc::clone(&newest);
            self.engine.set_directory(self.directory.clone());
        }
        drop(newest);
        for secrets in self.secrets.iter().flat_map(Receiver::try_iter) {
            self.engine.add_tls_secrets(secrets, &mut self.sink);
        }
        self.steer();
        self.sink.catch_up();
        self.ear
            .attend(&mut self.engine, &mut self.sink, Announcer::info, now);
        if now >= self.next_telling {
            self.next_telling = now + TELL_EVERY;
            self.tell();
        }
    }

    /// Does what was asked meanwhile. From the moment it was asked on, unless packets of after it have been seen.
    fn steer(&mut self) {
        while let Some(ask) = self.asks.as_ref().and_then(|asks| asks.try_recv().ok()) {
            let outcome = self.engine.control(&ask.request, ask.at, &mut self.sink);
            self.sink.answer(ask, outcome);
        }
    }

    fn tell(&self) {
        *locked(&self.state.engine) = EngineSnapshot::of(&self.engine);
    }

    /// Ends all calls, and waits until they are on the disk.
    pub fn finish(mut self) {
        let open = self.engine.open_calls();
        self.engine.finish(EndReason::Shutdown, &mut self.sink);
        self.tell();
        tracing::info!(calls = open, "calls in progress are finished");
        self.sink.into_recorder().finish();
    }
}
