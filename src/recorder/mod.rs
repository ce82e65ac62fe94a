//! Call events to files: audio on a timeline, a sidecar beside it.
//!
//! In: the engine's events, through [`Recorder`], which is the engine's sink. Out: recordings in the storage, and a
//! [`CallOutcome`] for each call that is over. Threads own their recordings by the call's key and do all decoding and file
//! work; one more thread commits what is finished, many at a time.

mod afterwards;
#[cfg(test)]
mod at_rest_tests;
mod blanking;
mod canvas;
mod commit;
pub mod conversation;
mod decoding;
mod easel;
mod encrypted;
#[cfg(test)]
mod late_tests;
mod legs;
mod level;
mod live;
mod outputs;
mod pauses;
mod places;
mod quality;
mod raw;
#[cfg(test)]
mod raw_tests;
mod record;
mod recording;
mod recovery;
mod redecode;
mod resampling;
#[cfg(test)]
mod revised_tests;
mod segments;
mod signalling;
mod stream_decoder;
#[cfg(test)]
pub(crate) mod tests;
mod track;
mod waiting;
mod worker;
mod writing;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::afterwards::Afterwards;
use self::afterwards::Exits;
pub use self::commit::{CallOutcome, RecordingOutcome, disposition_of};
pub use self::live::LiveMix;
pub use self::quality::call_quality;
pub use self::record::{attribution as attribution_record, vantage_text};
pub use self::recovery::{Recovered, recover};
pub use self::redecode::redecode;
use crate::base::WireMap;
use crate::engine::event::{Event, Sink};
use crate::engine::plan::CallKey;
use crate::storage::Layout;

/// What the recorder needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    pub layout: Layout,
    /// Encrypt everybody's recordings, not only those of tenants that have it so.
    pub encrypt_all: bool,
    /// Keep A-law and mu-law bytes as they came, where a call is G.711.
    pub keep_g711: bool,
    pub sensor: Arc<str>,
    /// Names of interfaces, by `Vantage::interface`.
    pub interfaces: Arc<[Arc<str>]>,
    pub threads: usize,
    /// Events that may wait for one thread.
    pub queue_events: usize,
    /// What to do when a queue is full.
    pub when_full: WhenFull,
    /// Set while there is less space on the disk than is to stay free: nothing more is written until there is.
    pub storage_low: Arc<AtomicBool>,
    /// Bytes of packets that may be kept of one recording; further ones are dropped, and counted.
    pub raw_max_bytes: u64,
    pub raw: Arc<RawCounters>,
    /// Who decodes what was kept raw, when a call is over.
    pub afterwards: Option<Afterwards>,
    /// Bytes of messages that wait for the end of their calls.
    pub signalling_bytes: Arc<AtomicU64>,
}

/// What was counted of audio that is not decoded here, by name. Monotonic.
#[derive(Debug, Default)]
pub struct RawCounters {
    /// Packets kept as they came.
    pub packets_kept: AtomicU64,
    /// Packets that found no room in their file.
    pub packets_dropped: AtomicU64,
    /// Calls that went to a decoder of the operator's.
    pub calls_decoded: AtomicU64,
    /// Calls that found no room in its queue, or were being decoded when the daemon was told to stop.
    pub calls_not_decoded: AtomicU64,
    pub packets_decoded: AtomicU64,
    /// Packets that gave no samples.
    pub packets_failed: AtomicU64,
    /// What decoders did wrong, in the order of [`crate::decoders::Error::CODES`].
    failures: [AtomicU64; crate::decoders::Error::CODES.len()],
}

impl RawCounters {
    fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    fn failed(&self, error: &crate::decoders::Error) {
        let codes = crate::decoders::Error::CODES.iter();
        let counters = codes.zip(&self.failures);
        for (_, counter) in counters.filter(|(code, _)| **code == error.code()) {
            RawCounters::add(counter, 1);
        }
    }

    /// What decoders did wrong, by its code.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self
            .failures
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        crate::decoders::Error::CODES.into_iter().zip(counts)
    }
}

/// A file can wait; a wire cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    Wait,
    /// Wait for a tenth of a second at most, while the capture's own buffer fills, then drop the block and count it.
    Drop,
}

/// What was counted, by name. Monotonic but for `queued`.
#[derive(Debug, Default)]
pub struct RecorderCounters {
    /// Events that wait.
    pub queued: AtomicU64,
    pub blocks: AtomicU64,
    /// Blocks, and the packets in them, that found no room in a queue.
    pub blocks_dropped: AtomicU64,
    pub packets_dropped: AtomicU64,
    /// Packets that the storage did not take.
    pub storage_packets_dropped: AtomicU64,
    pub storage_errors: AtomicU64,
    /// What it said first.
    pub first_error: OnceLock<String>,
    pub recordings_finished: AtomicU64,
    /// Recordings that the storage did not take when their calls were over.
    pub recordings_failed: AtomicU64,
    /// Those of them that it took later.
    pub recordings_late: AtomicU64,
    /// Those that are tried again. Not monotonic.
    pub recordings_waiting: AtomicU64,
    pub raw: Arc<RawCounters>,
    /// Packets whose payload does not fit their codec.
    pub packets_undecodable: AtomicU64,
    /// Packets whose decoder panicked: faults of this program.
    pub decoder_panics: AtomicU64,
    /// Packets that came after later ones of a codec that cannot go back were decoded.
    pub packets_too_late: AtomicU64,
    /// Recordings that were removed because another leg of their interaction was kept.
    pub legs_dropped: AtomicU64,
}

impl RecorderCounters {
    /// Keeps what the storage said first.
    fn refused(&self, error: &crate::storage::Error) {
        self.first_error.get_or_init(|| error.to_string());
    }

    fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

/// The engine's sink: hands each event to the thread that owns its call.
pub struct Recorder {
    queues: Vec<SyncSender<Event>>,
    when_full: WhenFull,
    counters: Arc<RecorderCounters>,
    threads: Vec<JoinHandle<()>>,
    /// Packets dropped of calls that were not told of it yet.
    dropped: WireMap<CallKey, u64>,
    /// Where a wire is recorded: tells the operator's decoder that there is no more time for it.
    hurry: Option<Arc<AtomicBool>>,
}

/// How long a full queue is waited for where the wire cannot wait.
const PATIENCE: Duration = Duration::from_millis(100);

impl Recorder {
    /// Starts the threads. `outcome` hears of each call that is over, after its files are safe; called on the committing
    /// thread.
    pub fn start(
        settings: Settings,
        outcome: impl FnMut(CallOutcome) + Send + 'static,
    ) -> std::io::Result<Recorder> {
        let counters = Arc::new(RecorderCounters {
            raw: settings.raw.clone(),
            ..RecorderCounters::default()
        });
        let settings = Arc::new(settings);
        let (commits, committer) = commit::start(settings.clone(), counters.clone(), outcome)?;
        let (exits, decoding) = Exits::open(&settings, commits)?;
        let mut queues = Vec::new();
        let mut threads = vec![committer];
        threads.extend(decoding);
        for n in 0..settings.threads.max(1) {
            let (queue, events): (_, Receiver<Event>) = sync_channel(settings.queue_events.max(1));
            let worker = worker::Worker::new(settings.clone(), counters.clone(), exits.clone());
            let thread = std::thread::Builder::new().name(format!("recorder-{n}"));
            threads.push(thread.spawn(move || worker.run(&events))?);
            queues.push(queue);
        }
        Ok(Recorder {
            queues,
            when_full: settings.when_full,
            counters,
            threads,
            dropped: WireMap::default(),
            hurry: match (&settings.afterwards, settings.when_full) {
                (Some(afterwards), WhenFull::Drop) => Some(afterwards.stop.clone()),
                _ => None,
            },
        })
    }

    pub fn counters(&self) -> Arc<RecorderCounters> {
        self.counters.clone()
    }

    /// Waits until everything handed in is on disk and its outcome told.
    pub fn finish(self) {
        if let Some(hurry) = &self.hurry {
            hurry.store(true, Ordering::Relaxed);
        }
        drop(self.queues);
        for thread in self.threads.into_iter().rev() {
            // A thread that panicked has said so; what it owned is recovered by the next start.
            let _ = thread.join();
        }
    }

    /// Waits a little for room, then drops a block. News of calls is small and rare, and what follows makes no sense without
    /// it: it always waits.
    #[cold]
    fn queue_full(&mut self, queue: usize, mut event: Event) {
        let queue = &self.queues[queue];
        let Event::Block { call, block } = &event else {
            let _ = queue.send(event);
            return;
        };
        let (call, packets, before) = (*call, block.packets(), block.dropped_before);
        let begin = std::time::Instant::now();
        while begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
            match queue.try_send(event) {
                Ok(()) => return,
                Err(TrySendError::Full(again) | TrySendError::Disconnected(again)) => event = again,
            }
        }
        RecorderCounters::add(&self.counters.blocks_dropped, 1);
        RecorderCounters::add(&self.counters.packets_dropped, packets);
        self.counters.queued.fetch_sub(1, Ordering::Relaxed);
        *self.dropped.entry(call).or_default() += packets + before;
    }

    /// Tells a call of the packets that were dropped of it.
    #[cold]
    fn own_up(&mut self, event: &mut Event) {
        let call = event.call();
        match event {
            Event::Block { block, .. } => {
                block.dropped_before = self.dropped.remove(&call).unwrap_or(0)
            }
            Event::Ended(end) => end.dropped_before = self.dropped.remove(&call).unwrap_or(0),
            Event::Call { .. }
            | Event::Recording { .. }
            | Event::Signalling { .. }
            | Event::Standing { .. } => {}
        }
    }
}

impl Sink for Recorder {
    fn event(&mut self, mut event: Event) {
        if !self.dropped.is_empty() {
            self.own_up(&mut event);
        }
        let number = thread_of(event.call(), self.queues.len());
        let queue = &self.queues[number];
        self.counters.queued.fetch_add(1, Ordering::Relaxed);
        match self.when_full {
            WhenFull::Wait => _ = queue.send(event),
            WhenFull::Drop => match queue.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) => {
                    self.queue_full(number, event)
                }
            },
        }
    }
}

/// Which of so many threads a call belongs to. Mixed, since calls that cost alike may follow each other in a pattern.
fn thread_of(call: CallKey, threads: usize) -> usize {
    let mixed = call.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    mixed as usize % threads
}

/// Space that is free on the file system of `layout`, in bytes, for those who are not root.
pub fn free_space(layout: &Layout) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(layout.root())?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Errors of storage are said once until things change, not once for each block of each call.
#[derive(Debug, Default)]
struct Complaints(Mutex<bool>);

impl Complaints {
    fn error(&self, error: &crate::storage::Error) {
        let mut failing = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !std::mem::replace(&mut *failing, true) {
            tracing::error!(%error, "the storage does not take recordings: calls go on, their audio is lost and counted");
        }
    }

    fn recovered(&self) {
        let mut failing = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::mem::replace(&mut *failing, false) {
            tracing::warn!("the storage takes recordings again");
        }
    }
}
