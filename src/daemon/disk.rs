//! Looks after the disk once a second: is there room, does it take what was written, is that safe from a power cut.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::state::{State, locked};
use crate::recorder::{RecorderCounters, free_space};
use crate::storage::{Layout, StorageLock, sync_all};

const PERIOD: Duration = Duration::from_secs(1);

/// After the last error of the recorder, the storage counts as failing for so long.
const FAILING_FOR: Duration = Duration::from_secs(10);

/// The thread; ends when this is dropped and joined.
pub struct DiskWatch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl DiskWatch {
    pub fn start(
        layout: Layout,
        lock: Arc<Mutex<StorageLock>>,
        state: Arc<State>,
    ) -> std::io::Result<DiskWatch> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("disk".into());
        let thread = thread.spawn(move || Watch::new(layout, lock, state).run(&stopped))?;
        Ok(DiskWatch { stop, thread })
    }

    pub fn finish(self) {
        drop(self.stop);
        // A panic there was reported there.
        let _ = self.thread.join();
    }
}

struct Watch {
    layout: Layout,
    lock: Arc<Mutex<StorageLock>>,
    /// When the storage was seen to be another one.
    replaced: Option<Instant>,
    state: Arc<State>,
    /// Of the recorder, when last looked at.
    blocks: u64,
    errors: u64,
    last_error: Option<Instant>,
}

impl Watch {
    fn new(layout: Layout, lock: Arc<Mutex<StorageLock>>, state: Arc<State>) -> Self {
        Watch {
            layout,
            lock,
            replaced: None,
            state,
            blocks: 0,
            errors: 0,
            last_error: None,
        }
    }

    fn run(mut self, stop: &Receiver<()>) {
        loop {
            self.look();
            match stop.recv_timeout(PERIOD) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self) {
        let there = self.look_for_storage();
        let room = look_for_room(&self.layout, &self.state);
        let synced = self.sync();
        let reason = there.err().or(room.err()).or(synced.err());
        let reason = reason.or_else(|| self.recorder_fails());
        if self.state.storage.failing.set(reason.clone()) {
            match reason {
                Some(reason) => tracing::error!(reason, "the storage fails"),
                None => tracing::warn!("the storage works again"),
            }
        }
    }

    /// Whether this is the storage that the daemon began with. One that was emptied or replaced is taken as it is, and locked.
    fn look_for_storage(&mut self) -> Result<(), String> {
        let root = self.layout.root();
        if self.layout.is_unmounted() {
            return Err(format!("nothing is mounted at {} any more", root.display()));
        }
        if !root.is_dir() {
            self.replaced = Some(Instant::now());
            return Err(format!("{} is not there any more", root.display()));
        }
        let mut lock = locked(&self.lock);
        if !lock.is_in_place() {
            self.replaced = Some(Instant::now());
            *lock = StorageLock::acquire(root).map_err(|error| error.to_string())?;
        }
        match self.replaced {
            Some(at) if at.elapsed() < FAILING_FOR => Err(format!(
                "{} was emptied, or another folder put in its place",
                root.display()
            )),
            _ => Ok(()),
        }
    }

    /// I2: at most two seconds are lost to a power cut.
    fn sync(&mut self) -> Result<(), String> {
        let blocks = count(&self.state.recorder.blocks);
        if blocks == self.blocks {
            return Ok(());
        }
        sync_all(&self.layout).map_err(|error| error.to_string())?;
        self.blocks = blocks;
        Ok(())
    }

    fn recorder_fails(&mut self) -> Option<String> {
        let errors = failures(&self.state.recorder);
        if errors != self.errors {
            self.errors = errors;
            self.last_error = Some(Instant::now());
        }
        let waiting = count(&self.state.recorder.recordings_waiting);
        if waiting > 0 {
            return Some(format!(
                "{waiting} recordings of calls that are over wait until it takes them"
            ));
        }
        self.last_error
            .filter(|at| at.elapsed() < FAILING_FOR)
            .map(|_| format!("recordings could not be written, {errors} times in all"))
    }
}

fn failures(recorder: &RecorderCounters) -> u64 {
    count(&recorder.storage_errors) + count(&recorder.recordings_failed)
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Sets the flag that stops and resumes recording.
pub fn look_for_room(layout: &Layout, state: &State) -> Result<(), String> {
    let storage = &state.storage;
    let free = free_space(layout)
        .map_err(|error| format!("cannot look at {}: {error}", layout.root().display()))?;
    storage.free_bytes.store(free, Ordering::Relaxed);
    let min_free_mib = storage.min_free_mib.load(Ordering::Relaxed);
    let was_low = storage.low.load(Ordering::Relaxed);
    let low = is_low(free, min_free_mib << 20, was_low);
    if low != was_low {
        storage.low.store(low, Ordering::Relaxed);
        let free_mib = free >> 20;
        match low {
            true => tracing::error!(
                free_mib,
                min_free_mib,
                "the disk is nearly full: nothing is recorded until there is room"
            ),
            false => tracing::warn!(free_mib, "there is room on the disk: recording goes on"),
        }
    }
    Ok(())
}

/// Below the limit; and from there on until there is a little more, so that it does not change with every file.
fn is_low(free: u64, min_free: u64, was_low: bool) -> bool {
    free < min_free || (was_low && free - min_free < min_free / 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_enough_again_when_there_is_a_little_more_than_the_limit() {
        assert!(!is_low(6400, 6400, false));
        assert!(is_low(6399, 6400, false));
        assert!(is_low(6499, 6400, true));
        assert!(!is_low(6500, 6400, true));
        assert!(!is_low(0, 0, true));
    }
}
