//! The committing thread: what is finished is made safe, many recordings at a time, and only then told of.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use super::legs::Legs;
use super::recording::{Done, Finished};
use super::waiting::{Late, RETRY, Waiting};
use super::{RecorderCounters, Settings, WhenFull};
use crate::base::{TenantId, Timestamp};
use crate::engine::event::{CallEnd, Disposition};
use crate::storage::{Kind, PartFile, Sidecar, commit};

/// Calls whose recordings are made safe together.
const BATCH: usize = 256;

/// Calls that may wait for it while a capture file is read: their files are open. A wire waits for no disk.
const WAITING: usize = 64;

/// Where calls go whose recordings are to be made safe.
#[derive(Clone)]
pub enum Commits {
    Unbounded(Sender<Ready>),
    Bounded(SyncSender<Ready>),
}

impl Commits {
    /// Hands over a call; false when the thread is gone, which happens after everything else.
    pub fn send(&self, ready: Ready) -> bool {
        match self {
            Commits::Unbounded(sender) => sender.send(ready).is_ok(),
            Commits::Bounded(sender) => sender.send(ready).is_ok(),
        }
    }
}

/// A call that is over, with the files it left.
pub struct Ready {
    pub end: Box<CallEnd>,
    pub start: Option<Timestamp>,
    pub done: Done,
}

/// What became of a call, for each tenant that owns it.
#[derive(Debug)]
pub struct CallOutcome {
    pub end: Box<CallEnd>,
    /// Time zero of its timeline, where it had media.
    pub start: Option<Timestamp>,
    pub recordings: Vec<RecordingOutcome>,
    /// What was told of its one recording before, where it is told again: another leg was kept in its place, or the storage took what it
    /// had refused.
    pub revised: Option<Disposition>,
}

/// One tenant's part in a call.
#[derive(Debug)]
pub struct RecordingOutcome {
    pub tenant: TenantId,
    pub disposition: Disposition,
    /// The sidecar, and the audio file relative to the storage root, where there is a recording.
    pub recording: Option<(Box<Sidecar>, String)>,
    /// SIP Call-ID of the leg that was kept instead of this one.
    pub kept_leg: Option<String>,
}

pub fn start(
    settings: Arc<Settings>,
    counters: Arc<RecorderCounters>,
    mut outcome: impl FnMut(CallOutcome) + Send + 'static,
) -> std::io::Result<(Commits, JoinHandle<()>)> {
    let (sender, ready): (_, Receiver<Ready>) = match settings.when_full {
        WhenFull::Drop => {
            let (sender, ready) = channel();
            (Commits::Unbounded(sender), ready)
        }
        WhenFull::Wait => {
            let (sender, ready) = sync_channel(WAITING);
            (Commits::Bounded(sender), ready)
        }
    };
    let run = move || {
        let mut legs = Legs::default();
        let mut waiting = Waiting::new(settings.clone(), counters.clone());
        let mut tell = |done: Vec<CallOutcome>| {
            for mut done in done {
                let news = legs.settle(&mut done, &settings.layout);
                for told in std::iter::once(done).chain(news) {
                    let dropped = told.recordings.iter().filter(|of| of.kept_leg.is_some());
                    RecorderCounters::add(&counters.legs_dropped, dropped.count() as u64);
                    outcome(told);
                }
            }
        };
        loop {
            let next = match waiting.is_empty() {
                true => ready.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => ready.recv_timeout(RETRY),
            };
            match next {
                Ok(first) => {
                    let mut batch = vec![first];
                    batch.extend(ready.try_iter().take(BATCH - 1));
                    let (done, late) = commit_batch(batch, &settings, &counters);
                    tell(done);
                    waiting.take(late, Instant::now());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            tell(waiting.retry(Instant::now()));
        }
        if !waiting.is_empty() {
            tell(waiting.retry_now(Instant::now()));
        }
    };
    let thread = std::thread::Builder::new()
        .name("committer".into())
        .spawn(run)?;
    Ok((sender, thread))
}

/// What became of calls, and what has to be tried again.
fn commit_batch(
    batch: Vec<Ready>,
    settings: &Settings,
    counters: &RecorderCounters,
) -> (Vec<CallOutcome>, Vec<Late>) {
    let mut parts: Vec<(PartFile, Vec<u8>)> = Vec::new();
    let mut calls = Vec::new();
    for ready in batch {
        let mut sidecars = Vec::new();
        for Finished {
            tenant,
            part,
            sidecar,
        } in ready.done.finished
        {
            let bytes = sidecar.to_bytes();
            sidecars.push((tenant, parts.len(), sidecar));
            parts.push((part, bytes));
        }
        calls.push((ready.end, ready.start, sidecars, ready.done.discarded));
    }
    let failed = commit(&settings.layout, &parts);
    if let Some((_, error)) = failed.first() {
        let recordings = failed.len();
        counters.refused(error);
        tracing::error!(%error, recordings, "recordings could not be made safe: it is tried again");
    }
    let safe = parts.len() - failed.len();
    RecorderCounters::add(&counters.recordings_finished, safe as u64);
    let mut parts: Vec<_> = parts.into_iter().map(|(part, _)| Some(part)).collect();
    let (mut done, mut late) = (Vec::new(), Vec::new());
    for (end, start, sidecars, discarded) in calls {
        let is_safe = |n: usize| !failed.iter().any(|(other, _)| *other == n);
        let (sidecars, unsafe_ones): (Vec<_>, Vec<_>) =
            sidecars.into_iter().partition(|(_, n, _)| is_safe(*n));
        for (tenant, n, sidecar) in unsafe_ones {
            let part = parts[n].take().expect("each has one call");
            let finished = Finished {
                tenant,
                part,
                sidecar,
            };
            late.push(Late {
                end: end.clone(),
                start,
                finished,
            });
        }
        let recordings = outcomes(&end, start.is_some(), sidecars, &discarded, &parts);
        let lost = recordings
            .iter()
            .filter(|of| of.disposition == Disposition::StorageFailed);
        RecorderCounters::add(&counters.recordings_failed, lost.count() as u64);
        done.push(CallOutcome {
            end,
            start,
            recordings,
            revised: None,
        });
    }
    (done, late)
}

/// What became of a call that has a recording.
pub fn disposition_of(sidecar: &Sidecar) -> Disposition {
    match sidecar.is_kept_raw() {
        true => Disposition::KeptRaw,
        false => Disposition::Recorded,
    }
}

fn outcomes(
    end: &CallEnd,
    has_begun: bool,
    mut sidecars: Vec<(TenantId, usize, Sidecar)>,
    discarded: &[(TenantId, Disposition)],
    parts: &[Option<PartFile>],
) -> Vec<RecordingOutcome> {
    let owners = end.info.owners.iter();
    owners
        .map(|owner| {
            let found = sidecars
                .iter()
                .position(|(tenant, ..)| *tenant == owner.tenant);
            let recording = found.map(|at| sidecars.swap_remove(at));
            let reason = discarded.iter().find(|(tenant, _)| *tenant == owner.tenant);
            let refusal = owner.refusal.or(reason.map(|(_, reason)| *reason));
            let disposition = match (&refusal, &recording, end.disposition) {
                (Some(refusal), ..) => *refusal,
                (None, Some((.., sidecar)), _) => disposition_of(sidecar),
                (None, None, Disposition::Recorded) => Disposition::StorageFailed,
                (None, None, Disposition::UnsupportedCodec) if has_begun => {
                    Disposition::StorageFailed
                }
                (None, None, other) => other,
            };
            RecordingOutcome {
                tenant: owner.tenant,
                disposition,
                recording: recording.and_then(|(_, n, sidecar)| {
                    let name = parts.get(n)?.as_ref()?.name;
                    Some((Box::new(sidecar), name.relative(Kind::Audio)))
                }),
                kept_leg: None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::Recorder;
    use super::super::tests::{block, events, info, settings};
    use super::*;
    use crate::base::{SYSTEM_TENANT, Side};
    use crate::engine::event::{Event, Sink};
    use crate::engine::plan::CallKey;

    fn of_call(event: Event, key: CallKey) -> Event {
        match event {
            Event::Call { info, .. } => Event::Call { call: key, info },
            Event::Recording {
                start,
                sample_rate_hz,
                ..
            } => Event::Recording {
                call: key,
                start,
                sample_rate_hz,
            },
            Event::Block { block, .. } => Event::Block { call: key, block },
            Event::Ended(mut end) => {
                end.call = key;
                Event::Ended(end)
            }
            other => other,
        }
    }

    /// Each call that waits has a file open.
    #[test]
    fn a_capture_that_is_read_faster_than_it_is_made_safe_waits() {
        const CALLS: usize = 400;
        let folder = tempfile::tempdir().unwrap();
        let (release, held) = channel::<()>();
        let (done, outcomes) = channel();
        let recorder = Recorder::start(settings(folder.path()), move |outcome| {
            // Until the test lets go of it.
            let _ = held.recv();
            done.send(outcome).unwrap();
        });
        let mut recorder = recorder.unwrap();
        let fed = Arc::new(AtomicUsize::new(0));
        let feeding = std::thread::spawn({
            let fed = fed.clone();
            move || {
                for number in 0..CALLS {
                    let mut info = (*info(&[SYSTEM_TENANT])).clone();
                    info.seed[..8].copy_from_slice(&number.to_le_bytes());
                    let blocks = vec![block(0, false, &[(Side::Caller, 0, 4)])];
                    for event in events(&Arc::new(info), blocks, 4) {
                        recorder.event(of_call(event, CallKey(number as u64)));
                    }
                    fed.fetch_add(1, Ordering::Relaxed);
                }
                recorder.finish();
            }
        });
        let mut last = usize::MAX;
        while last != fed.load(Ordering::Relaxed) {
            last = fed.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(500));
        }
        assert!((WAITING / 2..2 * WAITING).contains(&last), "{last}");
        drop(release);
        feeding.join().unwrap();
        assert_eq!(outcomes.iter().count(), CALLS);
    }
}
