//! Threads between the end of a call and its commit: what was kept raw is decoded, if anybody can.
//!
//! A call waits here with its files open and nothing else in memory. One that finds no room, and every one when the daemon
//! stops, is committed with its packets as they are; `callreel decode` does the rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::canvas::{Canvas, silence};
use super::commit::{Commits, Ready};
use super::decoding::{Decoded, Decoding};
use super::level::measure_again;
use super::recording::Finished;
use super::{RawCounters, Settings, WhenFull};
use crate::base::{Side, Timestamp};
use crate::decoders::Decoders;
use crate::engine::event::EndReason;
use crate::storage::{
    Cause, Error, PartFile, RawScale, RawState, SampleFormat, Sidecar, WavFormat,
};

/// Who decodes what this program does not, and how much of it at a time.
#[derive(Clone, Debug)]
pub struct Afterwards {
    pub decoders: Arc<Decoders>,
    pub processes: usize,
    /// Calls that may wait.
    pub queue_calls: usize,
    /// Keep the packets even when all of them were decoded.
    pub keep_raw: bool,
    /// Set when there is no time for it any more.
    pub stop: Arc<AtomicBool>,
}

/// Where calls go that are over.
#[derive(Clone)]
pub struct Exits {
    pub commits: Commits,
    pub decoding: Option<SyncSender<Ready>>,
}

impl Exits {
    /// Starts the threads, where there is a decoder.
    pub fn open(
        settings: &Arc<Settings>,
        commits: Commits,
    ) -> std::io::Result<(Exits, Vec<JoinHandle<()>>)> {
        let mut threads = Vec::new();
        let Some(afterwards) = &settings.afterwards else {
            let exits = Exits {
                commits,
                decoding: None,
            };
            return Ok((exits, threads));
        };
        let (queue, waiting) = sync_channel(afterwards.queue_calls.max(1));
        let waiting = Arc::new(Mutex::new(waiting));
        for n in 0..afterwards.processes.max(1) {
            let (waiting, commits) = (waiting.clone(), commits.clone());
            let (settings, afterwards) = (settings.clone(), afterwards.clone());
            let thread = std::thread::Builder::new().name(format!("decoding-{n}"));
            threads.push(thread.spawn(move || work(&waiting, &commits, &settings, &afterwards))?);
        }
        let exits = Exits {
            commits,
            decoding: Some(queue),
        };
        Ok((exits, threads))
    }

    /// Sends a call that is over on its way.
    pub fn take(&self, ready: Ready, settings: &Settings) {
        let ready = match (&self.decoding, &settings.afterwards) {
            (Some(queue), Some(afterwards)) if has_raw(&ready) => {
                match send(queue, afterwards, ready, settings) {
                    None => return,
                    Some(ready) => ready,
                }
            }
            _ => ready,
        };
        // The committing thread outlives whoever calls this.
        self.commits.send(ready);
    }
}

fn has_raw(ready: &Ready) -> bool {
    ready
        .done
        .finished
        .iter()
        .any(|finished| finished.part.raw().is_some())
}

/// Gives back what is not to be decoded, or finds no room.
fn send(
    queue: &SyncSender<Ready>,
    afterwards: &Afterwards,
    ready: Ready,
    settings: &Settings,
) -> Option<Ready> {
    if ready.end.reason == EndReason::Shutdown {
        afterwards.stop.store(true, Ordering::Relaxed);
        return Some(ready);
    }
    let sent = match settings.when_full {
        WhenFull::Wait => queue.send(ready).map_err(|back| back.0),
        WhenFull::Drop => queue.try_send(ready).map_err(|back| match back {
            TrySendError::Full(ready) | TrySendError::Disconnected(ready) => ready,
        }),
    };
    let back = sent.err()?;
    RawCounters::add(&settings.raw.calls_not_decoded, 1);
    Some(back)
}

fn work(
    waiting: &Mutex<Receiver<Ready>>,
    commits: &Commits,
    settings: &Settings,
    afterwards: &Afterwards,
) {
    loop {
        // Held while it waits: the others wait for the same.
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(mut ready) = next else { return };
        if afterwards.stop.load(Ordering::Relaxed) {
            RawCounters::add(&settings.raw.calls_not_decoded, 1);
        } else {
            let decoded = decode(&mut ready.done.finished, &settings.raw, afterwards);
            // Also when it was broken off: what was drawn may be behind the end.
            let settled = ready.done.finished.iter().try_for_each(settle);
            if let Err(error) = decoded.and(settled) {
                tracing::error!(%error, "what was kept raw of a call stays undecoded");
            }
        }
        if !commits.send(ready) {
            return;
        }
    }
}

/// Gives a file the length and the header that its sidecar says.
pub fn settle(finished: &Finished) -> Result<(), Error> {
    let Finished { part, sidecar, .. } = finished;
    let format = WavFormat {
        sample_format: sidecar.format,
        sample_rate_hz: sidecar.sample_rate_hz,
    };
    let len = format.offset_of(sidecar.samples);
    if format.sample_format != SampleFormat::Pcm16 {
        part.fill(silence(format.sample_format), part.size_bytes()?, len)?;
    }
    part.set_len(len)?;
    part.write_at(&format.header(sidecar.samples), 0)
}

/// Decodes the packets once, draws them into the file of each tenant, and says so in the sidecars.
fn decode(
    finished: &mut [Finished],
    counters: &RawCounters,
    afterwards: &Afterwards,
) -> Result<(), Error> {
    // One that had the call to its end has all of the packets.
    let with_packets = || finished.iter().filter(|f| f.part.raw().is_some());
    let whole = with_packets().find(|f| own_end(&f.sidecar) == i64::MAX);
    let Some(first) = whole.or_else(|| with_packets().next()) else {
        return Ok(());
    };
    let (Some(raw), Some(record)) = (first.part.raw(), first.sidecar.raw.clone()) else {
        return Ok(());
    };
    let scale = RawScale {
        start: Timestamp::from_nanos(first.sidecar.started_at_ns),
        sample_rate_hz: first.sidecar.sample_rate_hz,
    };
    let decoding = Decoding {
        decoders: &afterwards.decoders,
        counters,
        stop: &afterwards.stop,
    };
    let decoded = decoding.decode(
        raw.file(),
        scale,
        &record,
        &mut |side, position, samples| {
            for Finished { part, sidecar, .. } in finished.iter() {
                let format = WavFormat {
                    sample_format: sidecar.format,
                    sample_rate_hz: sidecar.sample_rate_hz,
                };
                let own = own_part(own_end(sidecar), position, samples);
                draw(part, format, side, position, own)?;
            }
            Ok(())
        },
    )?;
    if !decoded.is_any() {
        return Ok(());
    }
    RawCounters::add(&counters.calls_decoded, 1);
    complain(&decoded);
    for Finished { part, sidecar, .. } in finished.iter_mut() {
        let format = WavFormat {
            sample_format: sidecar.format,
            sample_rate_hz: sidecar.sample_rate_hz,
        };
        decoded.tell(sidecar);
        sidecar.size_bytes = format.offset_of(sidecar.samples);
        for side in Side::BOTH.into_iter().filter(|side| decoded.has(*side)) {
            measure_again(part, sidecar, side)?;
        }
        if decoded.is_all() && !afterwards.keep_raw {
            part.remove_raw()?;
            if let Some(raw) = &mut sidecar.raw {
                (raw.file, raw.size_bytes) = (None, 0);
            }
        }
    }
    Ok(())
}

/// A line of log for each stream that failed.
pub fn complain(decoded: &Decoded) {
    let failed = decoded
        .streams
        .iter()
        .filter(|stream| stream.state == RawState::Failed);
    for stream in failed {
        tracing::warn!(
            encoding = stream.encoding,
            packets = stream.packets,
            failed = stream.packets_failed,
            error = stream.error,
            "a decoder failed: the packets are kept",
        );
    }
}

/// The sample from which on a call is another tenant's.
pub fn own_end(sidecar: &Sidecar) -> i64 {
    let not_owned = sidecar
        .segments
        .iter()
        .filter(|s| s.cause == Cause::NotOwned);
    not_owned.map(|s| s.from as i64).min().unwrap_or(i64::MAX)
}

/// What of samples at `position` lies before `end`.
pub fn own_part(end: i64, position: i64, samples: &[i16]) -> &[i16] {
    let own = end.saturating_sub(position).clamp(0, samples.len() as i64);
    &samples[..own as usize]
}

/// Draws samples of one side over what a file has. What lies before the file is left out.
pub fn draw(
    part: &PartFile,
    format: WavFormat,
    side: Side,
    position: i64,
    samples: &[i16],
) -> Result<(), Error> {
    let begin = position.max(0);
    let Ok(frames) = usize::try_from(position + samples.len() as i64 - begin) else {
        return Ok(());
    };
    let (at, frame_bytes) = (format.offset_of(begin as u64), format.frame_bytes());
    let mut bytes = vec![0; frames * frame_bytes as usize];
    part.read_at(&mut bytes, at)?;
    if format.sample_format != SampleFormat::Pcm16 {
        // Behind its end a file reads as zeros, which is no silence there.
        let present = part
            .size_bytes()?
            .saturating_sub(at)
            .min(bytes.len() as u64);
        bytes[present as usize..].fill(silence(format.sample_format));
    }
    let mut canvas = Canvas::new(format.sample_format, frames);
    canvas.begin(begin);
    canvas.load(&bytes);
    canvas.draw(side, position, samples);
    canvas.render(frames, &mut bytes);
    part.write_at(&bytes, at)
}
