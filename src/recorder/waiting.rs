//! Recordings that the storage did not take when their calls were over: tried again until it does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::afterwards::settle;
use super::commit::{CallOutcome, RecordingOutcome, disposition_of};
use super::recording::Finished;
use super::{RecorderCounters, Settings};
use crate::base::Timestamp;
use crate::engine::event::{CallEnd, Disposition};
use crate::storage::{Error, Kind, Place, commit};

/// Recordings that may wait; further ones are left to the next start. Each is an open file, as it was while its call lasted.
const MAX_WAITING: usize = 8192;

/// Between two attempts.
pub const RETRY: Duration = Duration::from_secs(2);

/// Recordings tried together, once one of them was taken.
const BATCH: usize = 64;

/// A recording that is not safe yet.
pub struct Late {
    pub end: Box<CallEnd>,
    pub start: Option<Timestamp>,
    pub finished: Finished,
}

/// Those that wait, in the order in which their calls were over.
pub struct Waiting {
    settings: Arc<Settings>,
    counters: Arc<RecorderCounters>,
    list: VecDeque<Late>,
    next: Instant,
}

impl Waiting {
    pub fn new(settings: Arc<Settings>, counters: Arc<RecorderCounters>) -> Self {
        Waiting {
            settings,
            counters,
            list: VecDeque::new(),
            next: Instant::now(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes what could not be made safe.
    pub fn take(&mut self, late: Vec<Late>, now: Instant) {
        if self.list.is_empty() {
            self.next = now + RETRY;
        }
        for late in late {
            if late.finished.part.place() == Place::Gone {
                continue;
            }
            if self.list.len() == MAX_WAITING {
                tracing::error!(
                    "too many recordings wait for the storage: the next start finishes them"
                );
                break;
            }
            late.finished.part.let_go();
            self.list.push_back(late);
        }
        self.tell_count();
    }

    /// Tries again what waits, if it is time. Gives what is safe now.
    pub fn retry(&mut self, now: Instant) -> Vec<CallOutcome> {
        if self.list.is_empty() || now < self.next {
            return Vec::new();
        }
        self.retry_now(now)
    }

    /// The same without regard to the time.
    pub fn retry_now(&mut self, now: Instant) -> Vec<CallOutcome> {
        self.next = now + RETRY;
        let mut safe = Vec::new();
        // The first alone: a storage that still takes nothing is asked one thing only.
        let mut count = 1;
        while !self.list.is_empty() {
            let before = safe.len();
            let batch: Vec<Late> = self.list.drain(..count.min(self.list.len())).collect();
            let failed = self.attempt(batch, &mut safe);
            for late in failed.into_iter().rev() {
                self.list.push_front(late);
            }
            if safe.len() == before {
                break;
            }
            count = BATCH;
        }
        if !safe.is_empty() {
            let (recordings, left) = (safe.len(), self.list.len());
            tracing::warn!(
                recordings,
                left,
                "recordings that waited for the storage are safe"
            );
        }
        self.tell_count();
        safe
    }

    /// Gives those back that still cannot be made safe, and may be some time.
    fn attempt(&self, batch: Vec<Late>, safe: &mut Vec<CallOutcome>) -> Vec<Late> {
        let mut failed = Vec::new();
        let mut tried = Vec::new();
        let mut parts = Vec::new();
        for late in batch {
            // The last that was written of it may have been refused.
            match settle(&late.finished) {
                Ok(()) => {
                    let Finished {
                        tenant,
                        part,
                        sidecar,
                    } = late.finished;
                    let bytes = sidecar.to_bytes();
                    parts.push((part, bytes));
                    tried.push((late.end, late.start, tenant, sidecar));
                }
                Err(_) => failed.push(late),
            }
        }
        let errors = commit(&self.settings.layout, &parts);
        for (n, ((end, start, tenant, sidecar), (part, _))) in
            tried.into_iter().zip(parts).enumerate()
        {
            let error = errors.iter().find(|(other, _)| *other == n);
            if let Some((_, error)) = error {
                let finished = Finished {
                    tenant,
                    part,
                    sidecar,
                };
                let late = Late {
                    end,
                    start,
                    finished,
                };
                failed.extend(self.unless_hopeless(late, error));
                continue;
            }
            RecorderCounters::add(&self.counters.recordings_finished, 1);
            RecorderCounters::add(&self.counters.recordings_late, 1);
            let disposition = disposition_of(&sidecar);
            let path = part.name.relative(Kind::Audio);
            safe.push(CallOutcome {
                end,
                start,
                recordings: vec![RecordingOutcome {
                    tenant,
                    disposition,
                    recording: Some((Box::new(sidecar), path)),
                    kept_leg: None,
                }],
                revised: Some(Disposition::StorageFailed),
            });
        }
        failed
    }

    /// A file that is not in this storage any more is not waited for, unless the whole storage is away.
    fn unless_hopeless(&self, late: Late, error: &Error) -> Option<Late> {
        let part = &late.finished.part;
        let is_gone = part.place() == Place::Gone
            || (error.is_not_found() && !self.settings.layout.is_unmounted());
        if is_gone {
            tracing::error!(%error, "a recording that waited for the storage is not there any more");
            return None;
        }
        Some(late)
    }

    fn tell_count(&self) {
        let waiting = self.list.len() as u64;
        self.counters
            .recordings_waiting
            .store(waiting, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};

    use super::super::tests::{block, events, info, settings};
    use super::*;
    use crate::base::{SYSTEM_TENANT, Side};
    use crate::engine::event::Sink;
    use crate::recorder::Recorder;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A recorder whose first call is over while its sidecar cannot be written: a folder is in its place.
    fn refused(root: &Path) -> (Recorder, Receiver<CallOutcome>, std::path::PathBuf) {
        let (sender, outcomes) = channel();
        let told = move |outcome| _ = sender.send(outcome);
        let mut recorder = Recorder::start(settings(root), told).unwrap();
        let info = info(&[SYSTEM_TENANT]);
        let mut events = events(&info, vec![block(0, false, &[(Side::Caller, 0, 4)])], 10);
        let over = events.pop().unwrap();
        events.into_iter().for_each(|event| recorder.event(event));
        let layout = &settings(root).layout;
        let begin = Instant::now();
        let name = loop {
            let parts = layout.walk(|_, _| {});
            let found = parts.iter().find(|(_, kind)| *kind == Kind::SidecarPart);
            if let Some((name, _)) = found {
                break *name;
            }
            assert!(begin.elapsed() < PATIENCE);
        };
        let obstacle = layout.path(&name, Kind::Sidecar);
        fs::create_dir_all(obstacle.join("in the way")).unwrap();
        recorder.event(over);
        let outcome = outcomes.recv_timeout(PATIENCE).unwrap();
        let of = &outcome.recordings[0];
        assert_eq!(of.disposition, Disposition::StorageFailed);
        assert!(of.recording.is_none() && outcome.revised.is_none());
        (recorder, outcomes, obstacle)
    }

    #[test]
    fn what_the_storage_refused_is_made_safe_when_it_takes_it_and_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, outcomes, obstacle) = refused(folder.path());
        let counters = recorder.counters();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        std::thread::sleep(RETRY + RETRY / 4);
        assert_eq!(count(&counters.recordings_waiting), 1);
        assert_eq!(
            count(&counters.recordings_failed),
            1,
            "however often it was tried"
        );
        fs::remove_dir_all(&obstacle).unwrap();
        let outcome = outcomes.recv_timeout(PATIENCE).unwrap();
        assert_eq!(outcome.revised, Some(Disposition::StorageFailed));
        let of = &outcome.recordings[0];
        let (sidecar, path) = of.recording.as_ref().unwrap();
        assert_eq!(
            (of.disposition, sidecar.samples),
            (Disposition::Recorded, 1600)
        );
        assert!(sidecar.quality.is_some(), "what was known of the call is");
        let audio = hound::WavReader::open(folder.path().join(path)).unwrap();
        assert_eq!(audio.duration(), 1600);
        assert!(obstacle.is_file());
        recorder.finish();
        assert_eq!(count(&counters.recordings_waiting), 0);
        let finished = (
            count(&counters.recordings_late),
            count(&counters.recordings_finished),
        );
        assert_eq!(finished, (1, 1));
    }

    #[test]
    fn what_was_taken_away_meanwhile_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, outcomes, _) = refused(folder.path());
        let counters = recorder.counters();
        for entry in fs::read_dir(folder.path()).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        let begin = Instant::now();
        while counters.recordings_waiting.load(Ordering::Relaxed) > 0 {
            assert!(begin.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(50));
        }
        recorder.finish();
        assert!(outcomes.try_recv().is_err());
    }
}
