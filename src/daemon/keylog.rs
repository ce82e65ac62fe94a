//! The key-log file beside the capture: followed by a thread of its own, its secrets handed to the engine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::state::{State, locked};
use crate::capture::{Error, KeyLogFile};
use crate::wire::tls::LoggedSecret;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Secrets handed on at a time, and such batches that wait for the engine. The file keeps what finds no room.
const BATCH: usize = 1024;
const BATCHES: usize = 16;
/// Connections that cannot be read go on being opened, and are told of once in a while.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How the key-log file is.
#[derive(Debug, Default)]
pub struct KeyLogState {
    /// Lines that hold a secret of use.
    pub secrets: AtomicU64,
    pub malformed_lines: AtomicU64,
    /// Times that it was found replaced or truncated.
    pub restarts: AtomicU64,
    /// It is there and cannot be read.
    pub failing: AtomicBool,
}

/// The thread that follows the file.
pub struct KeyLogWatch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl KeyLogWatch {
    /// Follows the file, which need not exist yet. Secrets come out of the receiver.
    pub fn start(
        path: &Path,
        state: Arc<KeyLogState>,
    ) -> std::io::Result<(KeyLogWatch, Receiver<Vec<LoggedSecret>>)> {
        let (stop, stopped) = channel();
        let (secrets, receiver) = sync_channel(BATCHES);
        let file = KeyLogFile::new(path);
        if !path.exists() {
            tracing::warn!(path = %path.display(), "the TLS key log does not exist yet: it is waited for");
        }
        let thread = std::thread::Builder::new().name("keylog".into());
        let thread = thread.spawn(move || follow(file, &state, &secrets, &stopped))?;
        Ok((KeyLogWatch { stop, thread }, receiver))
    }

    /// To be called when nobody takes secrets any more.
    pub fn finish(self) {
        drop(self.stop);
        // A panic there was reported there.
        let _ = self.thread.join();
    }
}

/// Whether there was something to look at.
fn warned_of(file: &KeyLogFile) -> bool {
    if file.is_readable_by_others() {
        tracing::warn!(
            path = %file.path().display(),
            "everyone on this machine may read the TLS key log, and with it whatever its sessions protect"
        );
    }
    file.path().exists()
}

fn follow(
    mut file: KeyLogFile,
    state: &KeyLogState,
    secrets: &SyncSender<Vec<LoggedSecret>>,
    stopped: &Receiver<()>,
) {
    let mut warned = false;
    loop {
        warned = warned || warned_of(&file);
        let mut batch = Vec::new();
        let mut gone = false;
        let read = file.poll(&mut |secret| {
            batch.push(secret);
            if batch.len() == BATCH {
                gone |= secrets.send(std::mem::take(&mut batch)).is_err();
            }
        });
        if !batch.is_empty() {
            gone |= secrets.send(batch).is_err();
        }
        tell(&file, state, read);
        if gone || stopped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn tell(file: &KeyLogFile, state: &KeyLogState, read: Result<(), Error>) {
    let counters = file.counters();
    state.secrets.store(counters.secrets, Ordering::Relaxed);
    state
        .malformed_lines
        .store(counters.malformed_lines, Ordering::Relaxed);
    let restarts = state.restarts.swap(counters.restarts, Ordering::Relaxed);
    let path = file.path().display();
    if counters.restarts > restarts {
        tracing::info!(%path, "the TLS key log was replaced, and is read from its beginning");
    }
    let was_failing = state.failing.swap(read.is_err(), Ordering::Relaxed);
    match read {
        Err(error) if !was_failing => tracing::warn!(%error, "SIP over TLS may not be read"),
        Ok(()) if was_failing => tracing::warn!(%path, "the TLS key log can be read again"),
        _ => {}
    }
}

/// Writes a line of log where connections stay closed: "why is there no recording?" has an answer.
pub struct ClosedConnections {
    state: Arc<State>,
    told: u64,
    next: Instant,
}

impl ClosedConnections {
    pub fn new(state: Arc<State>) -> ClosedConnections {
        ClosedConnections {
            state,
            told: 0,
            next: Instant::now(),
        }
    }

    /// To be called now and then.
    pub fn tell(&mut self) {
        let now = Instant::now();
        let tls = locked(&self.state.engine).streams.tls;
        let closed = tls.without_key + tls.without_handshake + tls.unsupported;
        if closed > self.told && now >= self.next {
            tracing::warn!(
                without_key = tls.without_key,
                without_handshake = tls.without_handshake,
                unsupported = tls.unsupported,
                "TLS connections on SIP ports cannot be read: their calls are not recorded (counted since the start)"
            );
            self.told = closed;
            self.next = now + TELL_EVERY;
        }
    }
}
