//! Who listens, and the thread that decodes for them.
//!
//! A call is decoded once for each tenant and form that somebody hears it in; nobody waits for anybody. Memory is bounded by the
//! number of listeners: each has a few seconds of encoded audio that wait, and who takes them more slowly than they come is
//! left.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::mpsc;

use super::ear::{Attend, Ear};
use crate::api::{Container, Hearing, LIVE_RATE_HZ, LiveAudio, OggOpus, Unheard, endless_wav};
use crate::base::{TenantId, Timestamp};
use crate::codec::Resampler;
use crate::daemon::state::locked;
use crate::engine::event::CallInfo;
use crate::engine::media::Overheard;
use crate::engine::plan::CallKey;
use crate::recorder::LiveMix;

/// Steps of audio that wait for one listener: three seconds.
const WAITING: usize = 75;
/// Steps that wait to be decoded, of all calls.
const WHISPERS: usize = 4096;
/// Requests to the engine that wait.
const ASKS: usize = 256;
/// How often it is looked whether anybody has gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the engine's thread says to the one that decodes.
pub enum Whisper {
    /// What came of a call, and what was known of it then.
    Heard(CallKey, Box<Overheard>, Arc<CallInfo>),
    Over(CallKey),
    Join(Box<Listener>),
}

/// Counted by name. Monotonic but for `listening`.
#[derive(Debug, Default)]
pub struct LiveCounters {
    pub listening: AtomicU64,
    pub listened: AtomicU64,
    /// Left, for they took what they heard too slowly.
    pub too_slow: AtomicU64,
    /// Steps that found no room between engine and decoder.
    pub steps_dropped: AtomicU64,
    /// Not let in, for there were as many as may be.
    pub refused: AtomicU64,
    /// Things that happened to calls and were told nobody: too many were.
    pub untold: AtomicU64,
}

/// Somebody who hears a call.
pub struct Listener {
    call: CallKey,
    tenant: TenantId,
    hearing: Hearing,
    chunks: mpsc::Sender<Bytes>,
    encoder: Option<Encoder>,
    /// Gives the place back when the listener is gone.
    _place: Place,
}

/// One of the places for listeners.
struct Place {
    tenant: TenantId,
    room: Arc<Room>,
}

struct Room {
    most: usize,
    /// Listeners of each tenant.
    taken: Mutex<HashMap<TenantId, usize>>,
    counters: Arc<LiveCounters>,
}

impl Room {
    /// A place for somebody of `tenant`, which may have half of all.
    fn enter(self: &Arc<Room>, tenant: TenantId) -> Option<Place> {
        let mut taken = locked(&self.taken);
        let all: usize = taken.values().sum();
        let own = taken.entry(tenant).or_default();
        if all >= self.most || *own >= self.most.div_ceil(2) {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *own += 1;
        self.counters.listening.fetch_add(1, Ordering::Relaxed);
        self.counters.listened.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            tenant,
            room: self.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = locked(&self.room.taken);
        if let Some(own) = taken.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.tenant);
            }
        }
        self.room.counters.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The door for those who want to listen.
pub struct Listeners {
    whispers: SyncSender<Whisper>,
    room: Arc<Room>,
}

impl Listeners {
    /// Starts the thread. It ends when the door and the engine's end are gone.
    pub fn start(most: usize) -> std::io::Result<(Listeners, Ear)> {
        let counters = Arc::new(LiveCounters::default());
        let (whispers, heard) = sync_channel(WHISPERS);
        let (asks, asked) = sync_channel(ASKS);
        let ear = Ear::new(asked, whispers.clone(), counters.clone());
        let decoding = Decoding {
            asks,
            calls: HashMap::new(),
            counters: counters.clone(),
        };
        let thread = std::thread::Builder::new().name("listening".into());
        thread.spawn(move || decoding.run(&heard))?;
        let room = Arc::new(Room {
            most,
            taken: Mutex::default(),
            counters,
        });
        Ok((Listeners { whispers, room }, ear))
    }

    pub fn counters(&self) -> Arc<LiveCounters> {
        self.room.counters.clone()
    }

    /// Lets somebody hear a call as `tenant` has it.
    pub fn join(
        &self,
        call: CallKey,
        tenant: TenantId,
        hearing: Hearing,
    ) -> Result<LiveAudio, Unheard> {
        let place = self.room.enter(tenant).ok_or(Unheard::TooMany)?;
        let (chunks, heard) = mpsc::channel(WAITING);
        let listener = Listener {
            call,
            tenant,
            hearing,
            chunks,
            encoder: None,
            _place: place,
        };
        match self.whispers.try_send(Whisper::Join(Box::new(listener))) {
            Ok(()) => Ok(LiveAudio { chunks: heard }),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Unheard::TooMany),
        }
    }
}

/// A call that somebody hears.
#[derive(Default)]
struct Heard {
    mix: Option<LiveMix>,
    samples: Vec<i16>,
    listeners: Vec<Listener>,
}

struct Decoding {
    asks: SyncSender<Attend>,
    calls: HashMap<CallKey, Heard>,
    counters: Arc<LiveCounters>,
}

impl Decoding {
    fn run(mut self, whispers: &Receiver<Whisper>) {
        loop {
            match whispers.recv_timeout(LOOK_EVERY) {
                Ok(whisper) => self.take(whisper),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, whisper: Whisper) {
        match whisper {
            Whisper::Join(listener) => {
                let call = listener.call;
                // Asked for again for each: the engine knows whom it attends to, and a call that is over says so.
                if self.asks.try_send(Attend::Begin(call)).is_ok() {
                    self.calls
                        .entry(call)
                        .or_default()
                        .listeners
                        .push(*listener);
                }
            }
            Whisper::Over(call) => {
                let heard = self.calls.remove(&call).unwrap_or_default();
                heard.listeners.into_iter().for_each(Listener::part);
            }
            Whisper::Heard(call, mut of, info) => {
                let Some(heard) = self.calls.get_mut(&call) else {
                    return self.leave(call);
                };
                heard.hear(&mut of, &info, &self.counters);
                if heard.listeners.is_empty() {
                    self.leave(call);
                }
            }
        }
    }

    /// Nobody hears the call any more.
    fn leave(&mut self, call: CallKey) {
        // Where it cannot be asked now, it is again with the next step of the call.
        if self.asks.try_send(Attend::End(call)).is_ok() {
            self.calls.remove(&call);
        }
    }

    /// Looks for those who have gone while nothing was said, and asks again for calls that may be over.
    fn look(&mut self) {
        for heard in self.calls.values_mut() {
            heard
                .listeners
                .retain(|listener| !listener.chunks.is_closed());
        }
        let empty = self
            .calls
            .iter()
            .filter(|(_, heard)| heard.listeners.is_empty());
        let empty: Vec<CallKey> = empty.map(|(call, _)| *call).collect();
        empty.into_iter().for_each(|call| self.leave(call));
        for call in self.calls.keys() {
            let _ = self.asks.try_send(Attend::Begin(*call));
        }
    }
}

impl Heard {
    fn hear(&mut self, of: &mut Overheard, info: &CallInfo, counters: &LiveCounters) {
        let mix = self.mix.get_or_insert_with(|| LiveMix::new(of));
        self.samples.clear();
        let begin = mix.place();
        mix.take(of, &mut self.samples);
        let rate_hz = mix.sample_rate_hz();
        let mut remaining = Vec::with_capacity(self.listeners.len());
        for mut listener in self.listeners.drain(..) {
            let owner = info
                .owners
                .iter()
                .find(|owner| owner.tenant == listener.tenant);
            let Some(owner) = owner.filter(|owner| owner.refusal.is_none()) else {
                listener.part();
                continue;
            };
            let own = match owner.until {
                None => self.samples.as_slice(),
                Some(until) => mix_until(&self.samples, mix, begin, until),
            };
            let goes_on = listener.give(own, rate_hz, counters);
            match (goes_on, owner.until) {
                (true, None) => remaining.push(listener),
                (true, Some(_)) => listener.part(),
                (false, _) => {}
            }
        }
        self.listeners = remaining;
    }
}

/// What of the samples from place `begin` on was said before `until`.
fn mix_until<'s>(samples: &'s [i16], mix: &LiveMix, begin: i64, until: Timestamp) -> &'s [i16] {
    let own = mix.position_at(until).saturating_sub(begin).max(0);
    let len = usize::try_from(own).unwrap_or(usize::MAX).saturating_mul(2);
    samples.get(..len).unwrap_or(samples)
}

impl Listener {
    /// Sends samples on. Whether the listener is still there.
    fn give(&mut self, samples: &[i16], rate_hz: u32, counters: &LiveCounters) -> bool {
        if samples.is_empty() {
            return !self.chunks.is_closed();
        }
        if self.encoder.is_none() {
            self.encoder = Encoder::new(self.hearing, rate_hz);
        }
        let Some(bytes) = self
            .encoder
            .as_mut()
            .and_then(|encoder| encoder.encode(samples))
        else {
            return false;
        };
        match self.chunks.try_send(bytes) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                counters.too_slow.fetch_add(1, Ordering::Relaxed);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Brings the stream to its end.
    fn part(self) {
        if let Some(bytes) = self.encoder.and_then(Encoder::finish) {
            let _ = self.chunks.try_send(bytes);
        }
    }
}

/// Samples of both sides to what a listener takes.
struct Encoder {
    is_mixed: bool,
    form: Form,
}

enum Form {
    Wav {
        header: Option<Vec<u8>>,
        /// One for each channel; none where the rate is the recording's.
        resamplers: Vec<Resampler>,
    },
    Ogg(Box<OggOpus>),
}

impl Encoder {
    fn new(hearing: Hearing, rate_hz: u32) -> Option<Encoder> {
        let channels = if hearing.is_mixed { 1 } else { 2 };
        let form = match hearing.container {
            Container::Wav if hearing.is_native => Form::Wav {
                header: Some(endless_wav(rate_hz, channels)),
                resamplers: Vec::new(),
            },
            Container::Wav => Form::Wav {
                header: Some(endless_wav(LIVE_RATE_HZ, channels)),
                resamplers: vec![Resampler::new(rate_hz, LIVE_RATE_HZ)?; usize::from(channels)],
            },
            Container::Ogg => Form::Ogg(Box::new(
                OggOpus::new(rate_hz, usize::from(channels), true).ok()?,
            )),
        };
        Some(Encoder {
            is_mixed: hearing.is_mixed,
            form,
        })
    }

    fn encode(&mut self, samples: &[i16]) -> Option<Bytes> {
        let mixed: Vec<i16>;
        let samples = match self.is_mixed {
            false => samples,
            true => {
                mixed = samples
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|&[a, b]| a.saturating_add(b))
                    .collect();
                &mixed
            }
        };
        match &mut self.form {
            Form::Wav { header, resamplers } => {
                let mut bytes = header.take().unwrap_or_default();
                match resamplers.is_empty() {
                    true => bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes())),
                    false => resample(resamplers, samples, &mut bytes),
                }
                Some(bytes.into())
            }
            Form::Ogg(ogg) => ogg.push(samples).ok().map(Bytes::from),
        }
    }

    fn finish(self) -> Option<Bytes> {
        match self.form {
            // What waits in a resampler is two milliseconds.
            Form::Wav { .. } => None,
            Form::Ogg(ogg) => ogg.finish().ok().map(Bytes::from),
        }
    }
}

/// Appends samples of all channels at their new rate to `out`.
fn resample(resamplers: &mut [Resampler], samples: &[i16], out: &mut Vec<u8>) {
    let channels = resamplers.len();
    let mut each: Vec<Vec<i16>> = Vec::with_capacity(channels);
    for (channel, resampler) in resamplers.iter_mut().enumerate() {
        let own: Vec<i16> = samples
            .iter()
            .skip(channel)
            .step_by(channels)
            .copied()
            .collect();
        let mut resampled = Vec::new();
        resampler.push(&own, &mut resampled);
        each.push(resampled);
    }
    let frames = each.iter().map(Vec::len).min().unwrap_or(0);
    for frame in 0..frames {
        let frame = each.iter().filter_map(|channel| channel.get(frame));
        out.extend(frame.flat_map(|sample| sample.to_le_bytes()));
    }
}
