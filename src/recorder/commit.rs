//! The committing thread: what is finished is made safe, many recordings at a time, and only then told of.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::legs::Legs;
use super::recording::{Done, Finished};
use super::{RecorderCounters, Settings};
use crate::base::{TenantId, Timestamp};
use crate::engine::event::{CallEnd, Disposition};
use crate::storage::{Kind, PartFile, Sidecar, commit};

/// Recordings made safe together.
const BATCH: usize = 512;

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
    /// Told before, and told again because another leg was kept in its place.
    pub revised: bool,
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
) -> std::io::Result<(Sender<Ready>, JoinHandle<()>)> {
    let (sender, ready): (_, Receiver<Ready>) = channel();
    let run = move || {
        let mut legs = Legs::default();
        while let Ok(first) = ready.recv() {
            let mut batch = vec![first];
            batch.extend(ready.try_iter().take(BATCH - 1));
            for mut done in commit_batch(batch, &settings, &counters) {
                let news = legs.settle(&mut done, &settings.layout);
                for told in std::iter::once(done).chain(news) {
                    let dropped = told.recordings.iter().filter(|of| of.kept_leg.is_some());
                    RecorderCounters::add(&counters.legs_dropped, dropped.count() as u64);
                    outcome(told);
                }
            }
        }
    };
    let thread = std::thread::Builder::new()
        .name("committer".into())
        .spawn(run)?;
    Ok((sender, thread))
}

fn commit_batch(
    batch: Vec<Ready>,
    settings: &Settings,
    counters: &RecorderCounters,
) -> Vec<CallOutcome> {
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
    for (_, error) in &failed {
        tracing::error!(%error, "a recording could not be made safe; the next start tries again");
    }
    RecorderCounters::add(&counters.recordings_failed, failed.len() as u64);
    RecorderCounters::add(
        &counters.recordings_finished,
        (parts.len() - failed.len()) as u64,
    );
    calls
        .into_iter()
        .map(|(end, start, sidecars, discarded)| {
            let is_safe = |n: usize| !failed.iter().any(|(other, _)| *other == n);
            let recordings = outcomes(&end, start.is_some(), sidecars, &discarded, &parts, is_safe);
            CallOutcome {
                end,
                start,
                recordings,
                revised: false,
            }
        })
        .collect()
}

fn outcomes(
    end: &CallEnd,
    has_begun: bool,
    mut sidecars: Vec<(TenantId, usize, Sidecar)>,
    discarded: &[(TenantId, Disposition)],
    parts: &[(PartFile, Vec<u8>)],
    is_safe: impl Fn(usize) -> bool,
) -> Vec<RecordingOutcome> {
    let owners = end.info.owners.iter();
    owners
        .map(|owner| {
            let found = sidecars
                .iter()
                .position(|(tenant, ..)| *tenant == owner.tenant);
            let recording = found
                .map(|at| sidecars.swap_remove(at))
                .filter(|(_, n, _)| is_safe(*n));
            let reason = discarded.iter().find(|(tenant, _)| *tenant == owner.tenant);
            let refusal = owner.refusal.or(reason.map(|(_, reason)| *reason));
            let disposition = match (&refusal, &recording, end.disposition) {
                (Some(refusal), ..) => *refusal,
                (None, Some((.., sidecar)), _) if sidecar.is_kept_raw() => Disposition::KeptRaw,
                (None, Some(_), _) => Disposition::Recorded,
                (None, None, Disposition::Recorded) => Disposition::StorageFailed,
                (None, None, Disposition::UnsupportedCodec) if has_begun => {
                    Disposition::StorageFailed
                }
                (None, None, other) => other,
            };
            RecordingOutcome {
                tenant: owner.tenant,
                disposition,
                recording: recording.map(|(_, n, sidecar)| {
                    (Box::new(sidecar), parts[n].0.name.relative(Kind::Audio))
                }),
                kept_leg: None,
            }
        })
        .collect()
}
