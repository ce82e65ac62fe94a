//! The media half: RTP packets and media plans in, blocks of timelines out.
//!
//! Work per packet is small and bounded: find the stream, put the payload in its place, count. What does not fit a plan is
//! kept for two seconds, since the mirror may show media before its signalling.

mod audio;
mod binding;
mod call;
mod claim;
mod contest;
mod displacing;
mod group;
mod keys;
mod moving;
mod opening;
mod pacing;
mod packets;
mod pausing;
mod payloads;
mod placing;
mod plans;
mod protected;
mod redundant;
mod rtcp;
mod settling;
mod slots;
mod stream;
mod tap;
mod timeline;
mod twins;

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use self::binding::{BOTH_ENDS, Candidate, Endpoints, Receiver};
use self::call::{Contest, MAX_STREAMS, MediaCall, contest, is_next_hop};
use self::group::{Seen, Waiting};
pub use self::opening::Rtcp;
use self::packets::{Counted, Kept};
use self::payloads::Payloads;
use self::placing::{Arrived, Placing, change_meaning, position, ticks};
pub use self::plans::MediaEnd;
pub use self::rtcp::UnclaimedStream;
use self::slots::Slots;
use self::stream::{Apart, Meaning, Owner, Stream, StreamKey};
pub use self::tap::Overheard;
use self::twins::{Sharing, Twins};
use super::event::{Digit, Disposition, Event, Sink, StreamReport};
use super::interactions::Sample;
use super::plan::{CallKey, MediaPlan};
use super::timer::Timers;
use super::vantages::Vantages;
use crate::base::{Endpoint, Flow, PerSide, Side, Timestamp, Vantage, WireMap};
use crate::codec::Codec;
use crate::rtp::RtpPacket;

/// A stream that nobody owns is forgotten when it was quiet for this long.
const FORGET: Duration = Duration::from_secs(10);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// A stream whose call is over and that begins again after this long, with other sequence numbers, is a new one under an
/// old name: some senders use the same ports and the same SSRC in every call.
const REBORN_NANOS: i64 = 1_000_000_000;
/// After this long it is a new one whatever its numbers: what became of its call is told by signalling.
const FORGOTTEN_NANOS: i64 = 10_000_000_000;
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
    /// Streams that were given to one more call of the same conversation: phones that send to each other.
    pub streams_shared: u64,
    /// Streams that were not, since there was no room or too many calls have them.
    pub streams_not_shared: u64,
    /// RTP packets of other media of a call that come to its audio's port.
    pub other_media: u64,
    /// RTP packets that are encrypted, and whose key is not known.
    pub encrypted: u64,
    /// RTP packets that were opened with a key of their call.
    pub srtp_opened: u64,
    /// RTP packets that are of none of their call's keys.
    pub srtp_auth_failed: u64,
    /// The same three of RTCP packets.
    pub srtcp_encrypted: u64,
    pub srtcp_opened: u64,
    pub srtcp_auth_failed: u64,
    /// Payloads whose packets were lost, and that a later packet repeated (RFC 2198).
    pub restored: u64,
    /// Packets that lay in pauses, at least in part.
    pub paused: u64,
    /// Streams that no call claimed: RTP without SIP.
    pub streams_unclaimed: u64,
    /// Streams whose timestamps run by another clock than was said.
    pub streams_other_clock: u64,
    /// RTCP packets that say something of a stream that was seen.
    pub rtcp_bound: u64,
    /// Those that do not: of other streams, or with numbers that are not theirs.
    pub rtcp_unbound: u64,
    /// Those with lengths that lie.
    pub rtcp_damaged: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum MediaTimer {
    BlockDue(CallKey),
    Sweep,
    /// A twin that is not its call's any more, or did not become it.
    TwinGoes(u32),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Media {
    limits: MediaLimits,
    calls: Slots<MediaCall>,
    by_key: WireMap<CallKey, u32>,
    streams: Slots<Stream>,
    twins: Twins,
    /// Numbers of streams by their keys, which are kept with the streams.
    index: HashTable<u32>,
    hasher: RandomState,
    endpoints: Endpoints,
    /// Streams that start or end at an endpoint. One entry for each end of each stream.
    touching: WireMap<(Vantage, Endpoint), SmallVec<[u32; 4]>>,
    /// Streams without a call, roughly by age.
    orphans: VecDeque<(u32, StreamKey)>,
    kept_bytes: usize,
    payloads: Payloads,
    group: Vec<Waiting>,
    timers: Timers<MediaTimer>,
    counters: MediaCounters,
    /// Room for a packet that is opened.
    opened: Vec<u8>,
    /// Room for a packet that is to be opened.
    sealed: Vec<u8>,
    /// Whether audio is sampled, to find calls that carry the same.
    listening: bool,
    /// Taken after each deadline: never more than the blocks of one.
    samples: Vec<Sample>,
    /// Keys that were pressed and not asked for yet.
    pressed: Vec<(CallKey, Digit)>,
    /// Whether streams that no call claims are to be told of, and those that are.
    watches: bool,
    strays: Vec<(Timestamp, Flow, u32)>,
    /// RTP endpoints by their RTCP endpoints, where SDP names these. Entries live and die with their calls.
    rtcp_places: WireMap<(Vantage, Endpoint), Endpoint>,
    pub(super) vantages: Vantages,
    /// Calls that somebody listens to.
    taps: Vec<CallKey>,
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
            .filter(|(_, stream)| stream.owner == Owner::Nobody)
            .filter(|(_, stream)| stream.sharing != Sharing::Twin);
        nobodys.map(|(_, stream)| stream.kept.len() as u64).sum()
    }

    /// Calls whose media is expected.
    #[cfg(test)]
    pub fn call_count(&self) -> usize {
        self.calls.len()
    }

    /// Streams followed at the moment.
    pub fn stream_count(&self) -> usize {
        self.streams.len() - self.twins.len()
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Whether keys were pressed since they were last taken.
    #[inline]
    pub fn has_pressed(&self) -> bool {
        !self.pressed.is_empty()
    }

    /// Keys that were pressed since the last time, in their order. To be asked for after each packet and plan.
    pub fn take_pressed(&mut self) -> Vec<(CallKey, Digit)> {
        std::mem::take(&mut self.pressed)
    }

    /// From now on streams that no call claims are told of, or not.
    pub fn watch(&mut self, watches: bool) {
        self.watches = watches;
    }

    /// Whether streams began that no call claims, while that is of interest.
    pub fn has_strays(&self) -> bool {
        !self.strays.is_empty()
    }

    /// Those that began since the last time, with their first packets' times.
    pub fn take_strays(&mut self) -> Vec<(Timestamp, Flow, u32)> {
        std::mem::take(&mut self.strays)
    }

    /// Time zero of a call's timeline, once it was told.
    pub fn start(&self, call: CallKey) -> Option<Timestamp> {
        let call = self.calls.get(*self.by_key.get(&call)?)?;
        let timeline = call
            .timeline
            .as_ref()
            .filter(|timeline| timeline.is_fixed)?;
        Some(timeline.start)
    }

    /// When media of each side of `call` was last seen.
    pub fn last_media(&self, call: CallKey) -> PerSide<Option<Timestamp>> {
        let mut last = PerSide::default();
        let slot = self.by_key.get(&call);
        let Some(call) = slot.and_then(|&slot| self.calls.get(slot)) else {
            return last;
        };
        let streams = call.streams.iter().filter_map(|&id| self.streams.get(id));
        // One of which nothing was heard yet says when it was found, not when anybody spoke.
        let of_streams = streams.filter_map(|stream| match stream.owner {
            Owner::Call { side, .. } if stream.was_heard() => Some((side, stream.last_at)),
            _ => None,
        });
        let departed = call
            .departed
            .iter()
            .map(|report| (report.side, report.last_at));
        for (side, at) in of_streams.chain(departed) {
            last[side] = last[side].max(Some(at));
        }
        last
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

    /// Finds the stream of a packet, counts the packet, and places it where its stream belongs to a call.
    fn take(&mut self, waiting: &Waiting, sink: &mut impl Sink) {
        self.counters.rtp_packets += 1;
        let (key, hash, time) = (waiting.key, waiting.hash, waiting.seen.time);
        let fetched = waiting
            .stream
            .filter(|&id| self.streams.get(id).is_some_and(|s| s.key == key));
        let id = match fetched.or_else(|| self.find_stream(&key, hash)) {
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
        if stream.is_special() {
            return self.take_special(id, &waiting.seen, sink);
        }
        let quiet = time.nanos_since(stream.last_at);
        stream.last_at = time;
        if stream.owner == Owner::Ended
            && quiet > REBORN_NANOS
            && (quiet > FORGOTTEN_NANOS || !stream.sequence.continues_with(waiting.seen.sequence))
        {
            self.revive(id, time, sink);
            return self.take_stored(id, &waiting.seen, sink);
        }
        self.take_in(id, &waiting.seen, sink);
    }

    /// Counts a packet that is what it says, and hands it to its call.
    #[inline(always)]
    fn take_in(&mut self, id: u32, seen: &Seen, sink: &mut impl Sink) {
        let stream = self.streams.get_mut(id).expect("the caller found it");
        let counts = Counted {
            time: seen.time,
            sequence: seen.sequence,
            timestamp: seen.timestamp,
            payload_type: seen.payload_type,
            len: seen.payload.len,
        };
        let taken = stream.arrive(&counts, &mut self.counters);
        let (number, overtaken) = taken.unwrap_or_default();
        let arrived = Arrived {
            time: seen.time,
            number,
            overtaken,
            payload_type: seen.payload_type,
            timestamp: seen.timestamp,
            marker: seen.marker,
            stored: seen.payload,
            packet: seen.packet,
        };
        if let Err(why) = taken {
            return stream.set_aside(why, seen.sequence, || arrived.keep(&self.payloads));
        }
        if stream.has_aside() {
            self.hand_over_aside(id, number, sink);
        }
        self.hand_over(id, arrived, sink);
    }

    /// Hands over the packet that a new numbering began with, ahead of the second of it.
    #[cold]
    fn hand_over_aside(&mut self, id: u32, number: u64, sink: &mut impl Sink) {
        let stream = self.streams.get_mut(id).expect("the caller found it");
        if let Some(first) = stream.take_aside(number) {
            let arrived = first.arrived(&mut self.payloads);
            self.hand_over(id, arrived, sink);
        }
    }

    #[inline(always)]
    fn hand_over(&mut self, id: u32, arrived: Arrived, sink: &mut impl Sink) {
        let stream = self.streams.get_mut(id).expect("the caller found it");
        match stream.owner {
            Owner::Call { slot, side } => self.handle_owned(id, slot, side, arrived, sink),
            Owner::Nobody => self.keep_orphan(id, arrived),
            Owner::Copy { of, .. } => self.handle_copy(id, of, arrived, sink),
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
        arrived: Arrived,
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
        if let Some(why) = meaning.apart {
            return self.set_apart(id, slot, side, why, arrived.time);
        }
        let format = meaning.format;
        if format.codec == Codec::Redundancy {
            return self.handle_redundant(id, slot, side, arrived, sink);
        }
        if format.codec == Codec::TelephoneEvent {
            return self.handle_event(id, slot, side, meaning, arrived, sink);
        }
        if !stream.keeps_pace(arrived.timestamp) {
            return self.take_off_pace(id, (slot, side), meaning, arrived, sink);
        }
        let ticks = ticks(&format, arrived.timestamp, arrived.time);
        stream.count_audio(arrived.time, ticks, arrived.number);
        if !call.record {
            return;
        }
        if call.tracks[side].holder != Some(id) && !self.win_track(id, slot, side, &arrived, sink) {
            return;
        }
        self.place(id, slot, side, meaning, arrived, sink);
    }

    /// Counts a packet that is not the side's audio. What turns out to be another medium is not the side's voice any more.
    #[inline(never)]
    fn set_apart(&mut self, id: u32, slot: u32, side: Side, why: Apart, time: Timestamp) {
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get_mut(slot))
        else {
            return;
        };
        match why {
            Apart::Encrypted(why) => {
                stream.hide(why, time);
                self.counters.encrypted += 1;
            }
            Apart::OtherMedium => {
                self.counters.other_media += 1;
                let holder = &mut call.tracks[side].holder;
                *holder = holder.filter(|holder| *holder != id);
            }
        }
    }

    /// Places a packet on its call's timeline, which its first audio begins.
    #[inline]
    fn place(
        &mut self,
        id: u32,
        slot: u32,
        side: Side,
        meaning: Meaning,
        arrived: Arrived,
        sink: &mut impl Sink,
    ) {
        let (Some(mut stream), Some(call)) = (self.streams.get_mut(id), self.calls.get_mut(slot))
        else {
            return;
        };
        let mut meaning = meaning;
        if call.timeline.is_none() {
            if !meaning.format.codec.is_audio() {
                return;
            }
            let start = opening::first_to_come(call, &self.streams, arrived.time);
            call.begin(start, meaning.format.codec);
            stream = self.streams.get_mut(id).expect("it was there a moment ago");
        }
        if meaning.number.is_none() {
            // There was no list of formats when the meaning was looked up.
            meaning = change_meaning(stream, call, side, arrived.payload_type);
        }
        let Some(position) = position(stream, call, &meaning, &arrived) else {
            self.kept_bytes += stream.keep(arrived.keep(&self.payloads));
            if self.kept_bytes > self.limits.kept_bytes {
                self.kept_bytes -= stream.drop_oldest_kept();
                self.counters.not_placed += 1;
            }
            return;
        };
        let mut placing = Placing {
            stream,
            call,
            side,
            payloads: &mut self.payloads,
            counters: &mut self.counters,
        };
        placing.put(&meaning, position, &arrived, sink);
        if !placing.stream.kept.is_empty() {
            placing.place_kept(&mut self.kept_bytes, sink);
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
        self.fire(now, sink);
    }

    #[inline]
    fn fire(&mut self, now: Timestamp, sink: &mut impl Sink) {
        while let Some((at, timer)) = self.timers.pop_due(now) {
            match timer {
                MediaTimer::BlockDue(call) => self.close_block(call, sink),
                MediaTimer::Sweep => self.sweep(at),
                MediaTimer::TwinGoes(twin) => self.let_twin_go(twin),
            }
        }
    }

    fn close_block(&mut self, key: CallKey, sink: &mut impl Sink) {
        let Some(&slot) = self.by_key.get(&key) else {
            return;
        };
        if let Some(call) = self.calls.get(slot)
            && call.has_trials
            && let Some(timeline) = &call.timeline
        {
            self.end_trials(slot, timeline.next_block_end(), sink);
        }
        let Some(call) = self.calls.get_mut(slot) else {
            return;
        };
        if call.is_settling {
            call.settle(&mut self.streams, &mut self.payloads, false, sink);
        }
        audio::take_paused(call, self.listening, &mut self.samples);
        let Some(timeline) = &mut call.timeline else {
            return;
        };
        if let Some(block) = timeline.close(&mut self.payloads) {
            if self.listening {
                audio::sample(&self.streams, call, &block, &mut self.samples);
            }
            if let Some(tap) = &mut call.tap {
                tap.gather_closed(&block);
            }
            sink.event(Event::Block { call: key, block });
        }
        let Some(timeline) = &mut call.timeline else {
            return;
        };
        call.block_timer_set = timeline.has_open_blocks();
        if call.block_timer_set {
            let due = timeline.next_block_end() + self.limits.reorder_window;
            self.timers.set(MediaTimer::BlockDue(key), due);
        }
    }
}
