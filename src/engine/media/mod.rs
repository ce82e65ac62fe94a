//! The media half: RTP packets and media plans in, blocks of timelines out.
//!
//! Work per packet is small and bounded: find the stream, put the payload in its place, count. What does not fit a plan is
//! kept for two seconds, since the mirror may show media before its signalling.

mod binding;
mod call;
mod claim;
mod slots;
mod stream;
mod timeline;

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use self::binding::{BOTH_ENDS, Candidate, Endpoints, Receiver};
use self::call::{MAX_STREAMS, MediaCall, takes_over};
use self::slots::Slots;
use self::stream::{Kept, Meaning, Owner, Stream, StreamKey};
use self::timeline::Put;
use super::event::{Digit, Disposition, Event, Piece, Sink, StreamReport};
use super::plan::{CallKey, MediaPlan};
use super::timer::Timers;
use crate::base::{Endpoint, Flow, Side, Timestamp, Vantage, WireMap};
use crate::codec::{Codec, PayloadFormat};
use crate::rtp::{Arrival, Placement, RtpPacket, StreamClock};

/// A stream that nobody owns is forgotten when it was quiet for this long.
const FORGET: Duration = Duration::from_secs(10);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// A stream whose call is over and that begins again after this long, with other sequence numbers, is a new one under an
/// old name: some senders use the same ports and the same SSRC in every call.
const REBORN_NANOS: i64 = 1_000_000_000;
/// How far behind its newest packet an idle timeline resumes.
const REORDER_ALLOWANCE: Duration = Duration::from_millis(500);

/// Caps of the media half.
#[derive(Clone, Debug)]
pub struct MediaLimits {
    /// Streams followed at a time; beyond it the oldest that nobody owns goes, then new ones are refused.
    pub streams: usize,
    /// Bytes of media kept for signalling that has not come; beyond it the oldest goes.
    pub kept_bytes: usize,
    /// How long media without signalling is kept.
    pub keep: Duration,
    /// How long a block stays open for late packets.
    pub reorder_window: Duration,
}

impl Default for MediaLimits {
    fn default() -> Self {
        MediaLimits {
            streams: 200_000,
            kept_bytes: 32 << 20,
            keep: Duration::from_secs(2),
            reorder_window: Duration::from_millis(200),
        }
    }
}

/// What was counted, by name. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaCounters {
    pub rtp_packets: u64,
    pub duplicates: u64,
    pub late: u64,
    /// Placed nowhere: see [`StreamReport::not_placed`].
    pub not_placed: u64,
    /// Packets of streams that no call claimed within two seconds, or that were evicted.
    pub unclaimed: u64,
    /// Packets of streams whose call was over.
    pub after_end: u64,
    /// Packets that found no room in the table of streams.
    pub streams_refused: u64,
    pub streams_opened: u64,
    pub encrypted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum MediaTimer {
    BlockDue(CallKey),
    Sweep,
}

/// What media says of a call that is over.
#[derive(Debug)]
pub struct MediaEnd {
    pub disposition: Disposition,
    pub length_samples: u64,
    pub streams: Vec<StreamReport>,
    pub digits: Vec<Digit>,
}

impl MediaEnd {
    /// Of a call for which no media was ever expected.
    pub fn nothing(answered: bool) -> MediaEnd {
        let disposition = if answered {
            Disposition::NoMedia
        } else {
            Disposition::NotAnswered
        };
        MediaEnd {
            disposition,
            length_samples: 0,
            streams: Vec::new(),
            digits: Vec::new(),
        }
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Media {
    limits: MediaLimits,
    calls: Slots<MediaCall>,
    by_key: WireMap<CallKey, u32>,
    streams: Slots<Stream>,
    /// Numbers of streams by their keys, which are kept with the streams.
    index: HashTable<u32>,
    hasher: RandomState,
    endpoints: Endpoints,
    /// Streams that start or end at an endpoint. One entry for each end of each stream.
    touching: WireMap<(Vantage, Endpoint), SmallVec<[u32; 4]>>,
    /// Streams without a call, roughly by age.
    orphans: VecDeque<(u32, StreamKey)>,
    kept_bytes: usize,
    timers: Timers<MediaTimer>,
    counters: MediaCounters,
}

/// One packet on its way to its place.
#[derive(Clone, Copy)]
struct Arrived<'a> {
    time: Timestamp,
    number: u64,
    payload_type: u8,
    timestamp: u32,
    payload: &'a [u8],
}

impl Media {
    pub fn new(limits: MediaLimits) -> Self {
        Media {
            limits,
            ..Media::default()
        }
    }

    pub fn counters(&self) -> &MediaCounters {
        &self.counters
    }

    /// Packets kept for signalling that has not come.
    pub fn unclaimed_packets(&self) -> u64 {
        let nobodys = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.owner == Owner::Nobody);
        nobodys.map(|(_, stream)| stream.kept.len() as u64).sum()
    }

    /// Streams followed at the moment.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// When media of `call` was last seen.
    pub fn last_media(&self, call: CallKey) -> Option<Timestamp> {
        let call = self.calls.get(*self.by_key.get(&call)?)?;
        let streams = call.streams.iter().filter_map(|&id| self.streams.get(id));
        streams.map(|stream| stream.last_at).max()
    }

    #[inline]
    fn find_stream(&self, key: &StreamKey, hash: u64) -> Option<u32> {
        let is_it = |id: &u32| {
            self.streams
                .get(*id)
                .is_some_and(|stream| stream.key == *key)
        };
        self.index.find(hash, is_it).copied()
    }

    /// Takes one RTP packet.
    #[inline]
    pub fn handle_rtp(
        &mut self,
        time: Timestamp,
        flow: &Flow,
        rtp: &RtpPacket<'_>,
        sink: &mut impl Sink,
    ) {
        self.counters.rtp_packets += 1;
        let key = StreamKey {
            flow: *flow,
            ssrc: rtp.ssrc,
        };
        let hash = self.hasher.hash_one(key);
        let id = match self.find_stream(&key, hash) {
            Some(id) => id,
            None => match self.open_stream(key, hash, time, sink) {
                Some(id) => id,
                None => return,
            },
        };
        let stream = self
            .streams
            .get_mut(id)
            .expect("the index names streams that are there");
        let quiet = time.nanos_since(stream.last_at);
        stream.last_at = time;
        if stream.owner == Owner::Ended
            && quiet > REBORN_NANOS
            && !stream.sequence.continues_with(rtp.sequence)
        {
            self.revive(id, time, sink);
        }
        let stream = self.streams.get_mut(id).expect("it was there a moment ago");
        let number = match stream.sequence.arrive(rtp.sequence) {
            Arrival::InOrder { number } => number,
            Arrival::Late { number } => {
                stream.late += 1;
                self.counters.late += 1;
                number
            }
            Arrival::Restarted { number } => {
                stream.restarts += 1;
                number
            }
            Arrival::Duplicate => {
                stream.duplicates += 1;
                self.counters.duplicates += 1;
                return;
            }
            Arrival::TooOld => {
                stream.not_placed += 1;
                self.counters.not_placed += 1;
                return;
            }
        };
        stream.bytes += rtp.payload.len() as u64;
        let arrived = Arrived {
            time,
            number,
            payload_type: rtp.payload_type,
            timestamp: rtp.timestamp,
            payload: rtp.payload,
        };
        match stream.owner {
            Owner::Call { slot, side } => self.handle_owned(id, slot, side, arrived, sink),
            Owner::Nobody => self.keep_orphan(id, arrived),
            Owner::Ended => self.counters.after_end += 1,
        }
    }

    /// Counts and places a packet of a stream that belongs to a call.
    #[inline]
    fn handle_owned(
        &mut self,
        id: u32,
        slot: u32,
        side: Side,
        arrived: Arrived<'_>,
        sink: &mut impl Sink,
    ) {
        let stream = self.streams.get_mut(id).expect("the caller found it");
        let call = self
            .calls
            .get_mut(slot)
            .expect("a stream's call is there while it owns the stream");
        let meaning = match stream.meaning {
            Some(known) if known.format.payload_type == arrived.payload_type => known,
            _ => change_meaning(stream, call, side, arrived.payload_type),
        };
        stream.count_codec();
        if meaning.encrypted {
            self.counters.encrypted += 1;
            return;
        }
        let format = meaning.format;
        if format.codec == Codec::TelephoneEvent {
            if let Some(key) = stream.digits.collect(arrived.timestamp, arrived.payload) {
                call.press(Digit {
                    by: side,
                    at: arrived.time,
                    key,
                });
            }
        } else {
            stream.count_audio(arrived.time, arrived.timestamp, format.clock_rate_hz);
        }
        if !call.record {
            return;
        }
        if call.tracks[side].holder != Some(id) && !self.contest(id, slot, side, arrived.time) {
            self.counters.not_placed += 1;
            return;
        }
        self.place(id, slot, side, meaning, arrived, sink);
    }

    /// Whether a stream may be placed on a track that another one holds, or none.
    #[cold]
    fn contest(&mut self, id: u32, slot: u32, side: Side, time: Timestamp) -> bool {
        let (Some(call), Some(stream)) = (self.calls.get_mut(slot), self.streams.get(id)) else {
            return false;
        };
        let holder = call.tracks[side]
            .holder
            .and_then(|holder| self.streams.get(holder));
        let wins =
            holder.is_none_or(|holder| takes_over(stream, holder, &call.plan.sides[side], time));
        if wins {
            call.tracks[side].holder = Some(id);
        } else if let Some(stream) = self.streams.get_mut(id) {
            stream.not_placed += 1;
        }
        wins
    }

    /// Places a packet on its call's timeline, which its first audio begins.
    #[inline]
    fn place(
        &mut self,
        id: u32,
        slot: u32,
        side: Side,
        meaning: Meaning,
        arrived: Arrived<'_>,
        sink: &mut impl Sink,
    ) {
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get_mut(slot))
        else {
            return;
        };
        let mut meaning = meaning;
        if call.timeline.is_none() {
            if !meaning.format.codec.is_audio() {
                return;
            }
            call.begin(arrived.time, meaning.format.codec, sink);
        }
        if meaning.number.is_none() {
            // There was no list of formats when the meaning was looked up.
            meaning = change_meaning(stream, call, side, arrived.payload_type);
        }
        let Some(position) = position(stream, call, &meaning.format, &arrived) else {
            self.kept_bytes += stream.keep(arrived.keep());
            return;
        };
        put(
            stream,
            call,
            side,
            &meaning,
            position,
            &arrived,
            sink,
            &mut self.counters,
        );
        if !stream.kept.is_empty() {
            place_kept(
                stream,
                call,
                side,
                sink,
                &mut self.counters,
                &mut self.kept_bytes,
            );
        }
        if !call.block_timer_set {
            call.block_timer_set = true;
            let due = call
                .timeline
                .as_ref()
                .map_or(arrived.time, |timeline| timeline.next_block_end());
            self.timers.set(
                MediaTimer::BlockDue(call.plan.call),
                due + self.limits.reorder_window,
            );
        }
    }

    /// Runs the timers that are due at `now`.
    pub fn handle_timeout(&mut self, now: Timestamp, sink: &mut impl Sink) {
        while let Some((at, timer)) = self.timers.pop_due(now) {
            match timer {
                MediaTimer::BlockDue(call) => self.close_block(call, sink),
                MediaTimer::Sweep => self.sweep(at),
            }
        }
    }

    fn close_block(&mut self, key: CallKey, sink: &mut impl Sink) {
        let Some(call) = self
            .by_key
            .get(&key)
            .and_then(|&slot| self.calls.get_mut(slot))
        else {
            return;
        };
        let Some(timeline) = &mut call.timeline else {
            return;
        };
        if let Some(block) = timeline.close() {
            sink.event(Event::Block { call: key, block });
        }
        call.block_timer_set = timeline.has_open_blocks();
        if call.block_timer_set {
            let due = timeline.next_block_end() + self.limits.reorder_window;
            self.timers.set(MediaTimer::BlockDue(key), due);
        }
    }

    /// Takes a plan: a new call, or a change of one. Streams that were waiting for it are placed.
    pub fn handle_plan(&mut self, plan: MediaPlan, sink: &mut impl Sink) {
        let slot = match self.by_key.get(&plan.call) {
            Some(&slot) => {
                self.withdraw(slot);
                let call = self
                    .calls
                    .get_mut(slot)
                    .expect("the key table names calls that are there");
                call.record = plan.record;
                call.plan = Box::new(plan);
                for &id in &call.streams {
                    if let Some(stream) = self.streams.get_mut(id) {
                        stream.mean(None);
                    }
                }
                slot
            }
            None => {
                let key = plan.call;
                let slot = self.calls.insert(MediaCall::new(plan));
                self.by_key.insert(key, slot);
                slot
            }
        };
        let places = self.publish(slot);
        for (vantage, endpoint, _) in places {
            self.offer_streams_at(vantage, endpoint, sink);
        }
    }

    /// Enters the endpoints of the call in `slot`: those of its plan, then those learned.
    fn publish(&mut self, slot: u32) -> SmallVec<[(Vantage, Endpoint, Side); 4]> {
        let Some(call) = self.calls.get(slot) else {
            return SmallVec::new();
        };
        let places = call.planned_places();
        for &(vantage, endpoint, side) in &places {
            self.endpoints.insert(
                vantage,
                endpoint,
                Receiver {
                    slot,
                    side,
                    learned: false,
                },
            );
        }
        for &(vantage, endpoint, side) in &call.learned {
            self.endpoints.insert(
                vantage,
                endpoint,
                Receiver {
                    slot,
                    side,
                    learned: true,
                },
            );
        }
        places
    }

    fn withdraw(&mut self, slot: u32) {
        let Some(call) = self.calls.get(slot) else {
            return;
        };
        for (vantage, endpoint, _) in call
            .planned_places()
            .into_iter()
            .chain(call.learned.iter().copied())
        {
            self.endpoints.remove(vantage, endpoint, slot);
        }
    }

    /// Ends a call: hands on what is open, and reports. `None` for a call that no plan was made for.
    ///
    /// `pad_to`: time up to which the timeline is the call's, though nothing may have been heard.
    pub fn end_call(
        &mut self,
        key: CallKey,
        pad_to: Option<Timestamp>,
        answered: bool,
        sink: &mut impl Sink,
    ) -> Option<MediaEnd> {
        let slot = self.by_key.remove(&key)?;
        self.withdraw(slot);
        self.timers.cancel(MediaTimer::BlockDue(key));
        let mut call = self.calls.remove(slot)?;
        let mut streams = std::mem::take(&mut call.departed);
        for id in std::mem::take(&mut call.streams) {
            let Some(stream) = self.streams.get_mut(id) else {
                continue;
            };
            let Owner::Call { side, .. } = stream.owner else {
                continue;
            };
            place_kept(
                stream,
                &mut call,
                side,
                sink,
                &mut self.counters,
                &mut self.kept_bytes,
            );
            streams.push(stream.report(side));
            stream.owner = Owner::Ended;
            self.orphans.push_back((id, stream.key));
        }
        let mut length_samples = 0;
        if let Some(timeline) = &mut call.timeline {
            while let Some(block) = timeline.close() {
                sink.event(Event::Block { call: key, block });
            }
            let padded = pad_to.map_or(0, |to| timeline.position_at(to));
            length_samples = timeline.end().max(padded).max(0) as u64;
        }
        let disposition = call.heard.disposition(answered);
        self.arm_sweep();
        Some(MediaEnd {
            disposition,
            length_samples,
            streams,
            digits: call.digits,
        })
    }
}

impl Arrived<'_> {
    fn keep(&self) -> Kept {
        Kept {
            time: self.time,
            payload_type: self.payload_type,
            number: self.number,
            timestamp: self.timestamp,
            payload: self.payload.into(),
        }
    }
}

impl Kept {
    fn arrived(&self) -> Arrived<'_> {
        Arrived {
            time: self.time,
            number: self.number,
            payload_type: self.payload_type,
            timestamp: self.timestamp,
            payload: &self.payload,
        }
    }
}

/// Looks up what `payload_type` means and remembers it with the stream.
#[cold]
fn change_meaning(
    stream: &mut Stream,
    call: &mut MediaCall,
    side: Side,
    payload_type: u8,
) -> Meaning {
    let format = call.format(side, payload_type);
    let encrypted = call.plan.sides[side].encrypted;
    let number = call
        .timeline
        .as_mut()
        .and_then(|timeline| timeline.format(format));
    let meaning = Meaning {
        format,
        number,
        encrypted,
    };
    if encrypted {
        call.heard.encrypted = true;
    } else {
        call.heard.note(format.codec);
    }
    stream.mean(Some(meaning));
    meaning
}

/// First sample of a packet; `None` when it has to wait.
#[inline]
fn position(
    stream: &mut Stream,
    call: &MediaCall,
    format: &PayloadFormat,
    arrived: &Arrived<'_>,
) -> Option<i64> {
    let timeline = call
        .timeline
        .as_ref()
        .expect("placing begins with a timeline");
    let clock = stream
        .clock
        .get_or_insert_with(|| StreamClock::new(format.clock_rate_hz, timeline.sample_rate_hz));
    if format.codec == Codec::TelephoneEvent {
        // All packets of an event carry the time of its start: they say nothing about the clock.
        return Some(clock.position_of(arrived.timestamp));
    }
    if clock.clock_rate_hz() != format.clock_rate_hz {
        clock.set_clock_rate(format.clock_rate_hz);
    }
    match clock.place(timeline.start, arrived.time, arrived.timestamp) {
        Placement::At { position } | Placement::Anchored { position } => Some(position),
        Placement::Wait => None,
    }
}

/// Puts a payload where it belongs.
#[inline]
#[allow(
    clippy::too_many_arguments,
    reason = "parts of one object, borrowed apart"
)]
fn put(
    stream: &mut Stream,
    call: &mut MediaCall,
    side: Side,
    meaning: &Meaning,
    position: i64,
    arrived: &Arrived<'_>,
    sink: &mut impl Sink,
    counters: &mut MediaCounters,
) {
    let timeline = call
        .timeline
        .as_mut()
        .expect("placing begins with a timeline");
    if !timeline.has_open_blocks() {
        timeline.skip_to(arrived.time - REORDER_ALLOWANCE);
    }
    let samples = timeline.samples_of(&meaning.format, arrived.payload.len());
    let placed = match meaning.number {
        // A call with more formats than can be numbered is broken.
        None => Put::Outside,
        Some(format) => {
            let piece = Piece {
                position,
                number: arrived.number as u32,
                offset: 0,
                len: 0,
                stream: stream.ordinal,
                format,
            };
            timeline.put(side, piece, arrived.payload, samples)
        }
    };
    match placed {
        Put::Done => call.heard.decodable |= meaning.format.codec.is_decodable(),
        Put::Late(block) => sink.event(Event::Block {
            call: call.plan.call,
            block,
        }),
        Put::Outside => {
            stream.not_placed += 1;
            counters.not_placed += 1;
        }
    }
}

/// Places what had to wait, by the anchor found since.
fn place_kept(
    stream: &mut Stream,
    call: &mut MediaCall,
    side: Side,
    sink: &mut impl Sink,
    counters: &mut MediaCounters,
    kept_bytes: &mut usize,
) {
    let (kept, bytes) = stream.take_kept();
    *kept_bytes -= bytes;
    for packet in kept {
        let format = call.format(side, packet.payload_type);
        let place =
            call.timeline
                .as_mut()
                .zip(stream.clock.as_ref())
                .and_then(|(timeline, clock)| {
                    let position =
                        clock.place_kept(timeline.start, packet.time, packet.timestamp)?;
                    let number = timeline.format(format);
                    Some((
                        Meaning {
                            format,
                            number,
                            encrypted: false,
                        },
                        position,
                    ))
                });
        match place {
            Some((meaning, position)) => {
                put(
                    stream,
                    call,
                    side,
                    &meaning,
                    position,
                    &packet.arrived(),
                    sink,
                    counters,
                );
            }
            None => {
                stream.not_placed += 1;
                counters.not_placed += 1;
            }
        }
    }
}
