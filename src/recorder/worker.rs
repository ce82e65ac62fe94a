//! One recorder thread: the recordings of its calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::afterwards::Exits;
use super::commit::Ready;
use super::easel::Easel;
use super::recording::{Done, Recording, Trouble};
use super::signalling::Messages;
use super::track::Losses;
use super::{Complaints, RecorderCounters, Settings};
use crate::base::WireMap;
use crate::engine::event::{Block, CallEnd, CallInfo, Event};
use crate::engine::plan::CallKey;
use crate::storage::Cause;

/// How long a thread with nothing to do rests before it waits to be woken. Short beside a block, long beside a wake-up.
const REST: Duration = Duration::from_millis(1);

pub struct Worker {
    settings: Arc<Settings>,
    counters: Arc<RecorderCounters>,
    exits: Exits,
    /// Boxed: a table is never full.
    calls: WireMap<CallKey, Box<Call>>,
    complaints: Complaints,
    easel: Easel,
    /// Blocks until calls are looked at that have become quiet.
    until_rest: usize,
}

/// So many blocks, or such a time without any, lie between two looks at the calls of a thread.
const REST_EVERY: usize = 256;
const QUIET: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Call {
    info: Option<Arc<CallInfo>>,
    recording: Option<Recording>,
    messages: Option<Messages>,
}

impl Worker {
    pub fn new(settings: Arc<Settings>, counters: Arc<RecorderCounters>, exits: Exits) -> Self {
        Worker {
            settings,
            counters,
            exits,
            calls: WireMap::default(),
            complaints: Complaints::default(),
            easel: Easel::default(),
            until_rest: REST_EVERY,
        }
    }

    /// Works until the queue is closed.
    pub fn run(mut self, events: &Receiver<Event>) {
        loop {
            let event = match events.recv_timeout(QUIET) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => {
                    self.rest();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.take(event);
            self.take_waiting(events);
            // The next events gather meanwhile: to be woken for each of them would cost the capture thread a system call each.
            std::thread::sleep(REST);
            self.take_waiting(events);
        }
    }

    fn take_waiting(&mut self, events: &Receiver<Event>) {
        while let Ok(event) = events.try_recv() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        self.counters.queued.fetch_sub(1, Ordering::Relaxed);
        self.handle(event);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Call { call, info } => self.update(call, info),
            Event::Recording {
                call,
                start,
                sample_rate_hz,
            } => {
                self.calls.entry(call).or_default().recording =
                    Some(Recording::new(start, sample_rate_hz));
            }
            Event::Block { call, block } => self.block(call, block),
            Event::Ended(end) => self.end(end),
            Event::Signalling { call, message } => {
                let messages = &mut self.calls.entry(call).or_default().messages;
                messages
                    .get_or_insert_with(|| Messages::new(&self.settings.signalling_bytes))
                    .push(*message);
            }
            // Not of one recording: whoever keeps it hears of it too.
            Event::Standing { .. } => {}
        }
    }

    fn update(&mut self, key: CallKey, info: Arc<CallInfo>) {
        let call = self.calls.entry(key).or_default();
        if let Some(recording) = &mut call.recording
            && let Err(error) = recording.update(&info, &self.settings)
        {
            RecorderCounters::add(&self.counters.storage_errors, 1);
            self.counters.refused(&error);
            self.complaints.error(&error);
        }
        call.info = Some(info);
    }

    /// Has calls of which nothing comes give their memory back.
    fn rest(&mut self) {
        self.until_rest = REST_EVERY;
        let now = Instant::now();
        let recordings = self.calls.values_mut();
        for recording in recordings.filter_map(|call| call.recording.as_mut()) {
            recording.rest(now);
        }
    }

    fn block(&mut self, key: CallKey, block: Block) {
        RecorderCounters::add(&self.counters.blocks, 1);
        self.until_rest -= 1;
        if self.until_rest == 0 {
            self.rest();
        }
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        let (Some(info), Some(recording)) = (&call.info, &mut call.recording) else {
            return;
        };
        recording.note_dropped(block.dropped_before);
        if block.dropped_before > 0 && !block.late {
            recording.note_lost_blocks(block.index, Cause::Overload);
        }
        let before = recording.losses();
        let trouble = recording.take_block(block, info, &self.settings, &mut self.easel);
        let losses = recording.losses();
        if losses != before {
            self.count_losses(losses - before);
        }
        self.hear(&trouble);
    }

    #[cold]
    fn count_losses(&self, losses: Losses) {
        let counters = &self.counters;
        RecorderCounters::add(&counters.packets_undecodable, losses.undecodable);
        RecorderCounters::add(&counters.decoder_panics, losses.panicked);
        RecorderCounters::add(&counters.packets_too_late, losses.too_late);
    }

    fn hear(&self, trouble: &Trouble) {
        if let Some(error) = &trouble.error {
            RecorderCounters::add(&self.counters.storage_errors, 1);
            RecorderCounters::add(&self.counters.storage_packets_dropped, trouble.packets);
            self.counters.refused(error);
            self.complaints.error(error);
        } else if trouble.recovered {
            self.complaints.recovered();
        }
    }

    fn end(&mut self, end: Box<CallEnd>) {
        let call = self.calls.remove(&end.call).unwrap_or_default();
        let info = end.info.clone();
        let start = call.recording.as_ref().map(Recording::start);
        let messages = call.messages.unwrap_or_default();
        let done = match call.recording {
            Some(mut recording) => {
                recording.note_dropped(end.dropped_before);
                let (done, trouble) =
                    recording.finish(&end, &info, &messages, &self.settings, &mut self.easel);
                self.hear(&trouble);
                done
            }
            None => Done::default(),
        };
        self.exits.take(Ready { end, start, done }, &self.settings);
    }
}
