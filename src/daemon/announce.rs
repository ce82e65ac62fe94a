//! A line of log for the beginning of each recording and one for its end; people's numbers hidden.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::monitor::Watch;
use super::standing::Keeper;
use super::steering::Ask;
use crate::base::{Redacted, Timestamp, WireMap};
use crate::engine::control::ControlOutcome;
use crate::engine::event::{CallInfo, Event, Sink};
use crate::engine::plan::CallKey;
use crate::recorder::{CallOutcome, Recorder};

/// Beginnings that wait to be told; more are not told, and lose nothing but a line of log.
const WAITING: usize = 1024;

struct Beginning {
    info: Arc<CallInfo>,
    start: Timestamp,
}

/// Stands between engine and recorder. A log may block; so its lines are written by a thread of its own.
pub struct Announcer {
    recorder: Recorder,
    /// Calls that are not over: as many as the engine has.
    calls: WireMap<CallKey, Arc<CallInfo>>,
    beginnings: SyncSender<Beginning>,
    watch: Watch,
    /// Keeps what was asked beyond this run.
    keeper: Option<Keeper>,
}

impl Announcer {
    pub fn start(recorder: Recorder, watch: Watch) -> std::io::Result<Announcer> {
        let (beginnings, receiver): (_, Receiver<Beginning>) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("announcer".into());
        // It ends with the sender.
        thread.spawn(move || receiver.iter().for_each(|beginning| beginning.tell()))?;
        Ok(Announcer {
            recorder,
            calls: WireMap::default(),
            beginnings,
            watch,
            keeper: None,
        })
    }

    /// What is known of a call that is not over.
    pub fn info(&self, call: CallKey) -> Option<Arc<CallInfo>> {
        self.calls.get(&call).cloned()
    }

    pub fn set_keeper(&mut self, keeper: Keeper) {
        self.keeper = Some(keeper);
    }

    /// Answers who asked something of recordings, when that is safe.
    pub fn answer(&self, ask: Ask, outcome: ControlOutcome) {
        match &self.keeper {
            Some(keeper) => keeper.answer(ask, outcome),
            None => ask.answer(outcome),
        }
    }

    /// Tells what could not be told at once.
    pub fn catch_up(&mut self) {
        self.watch.enter();
    }

    /// The recorder, when the engine has nothing more to say.
    pub fn into_recorder(self) -> Recorder {
        self.recorder
    }
}

impl Sink for Announcer {
    #[inline]
    fn event(&mut self, event: Event) {
        match &event {
            Event::Block { .. } | Event::Signalling { .. } => {}
            Event::Standing { change, .. } => {
                if let Some(keeper) = &self.keeper {
                    keeper.take(change.clone());
                }
            }
            Event::Call { call, info } => _ = self.calls.insert(*call, info.clone()),
            Event::Recording { call, start, .. } => {
                if let Some(info) = self.calls.get(call) {
                    let (info, start) = (info.clone(), *start);
                    let _ = self.beginnings.try_send(Beginning { info, start });
                }
            }
            Event::Ended(end) => _ = self.calls.remove(&end.call),
        }
        self.watch.event(&event);
        self.recorder.event(event);
    }
}

impl Beginning {
    fn tell(self) {
        let Beginning { info, start } = self;
        for owner in info.owners.iter().filter(|owner| owner.refusal.is_none()) {
            tracing::info!(
                recording = %info.recording_id(owner.tenant, start),
                tenant = %owner.tenant,
                caller = %Redacted(&info.parties.caller.number),
                callee = %Redacted(&info.parties.callee.number),
                "recording begun",
            );
        }
    }
}

/// Tells what became of a call: one line for each tenant.
pub fn tell_end(outcome: &CallOutcome) {
    let (end, info) = (&outcome.end, &outcome.end.info);
    let start = outcome.start.unwrap_or(info.invite_at);
    for of in &outcome.recordings {
        let sidecar = of.recording.as_ref().map(|(sidecar, _)| sidecar);
        let length_s = sidecar.map_or(0.0, |s| {
            s.samples as f64 / f64::from(s.sample_rate_hz.max(1))
        });
        tracing::info!(
            recording = %info.recording_id(of.tenant, start),
            tenant = %of.tenant,
            disposition = of.disposition.code(),
            end_reason = end.reason.code(),
            length_s,
            caller = %Redacted(&info.parties.caller.number),
            callee = %Redacted(&info.parties.callee.number),
            "call over",
        );
    }
}
