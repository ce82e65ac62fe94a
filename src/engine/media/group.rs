//! RTP packets are taken in small groups.
//!
//! With thousands of streams, what a packet touches (its stream, its call, the open block) lies in memory that no cache holds,
//! and each is found through the one before. One packet at a time waits for each of them in turn; a group asks for all at
//! once. Nothing else depends on it: a group is settled before anything that could tell the difference.

use std::hash::{Hash, Hasher};
use std::hint::black_box;

use super::payloads::Stored;
use super::stream::{Owner, StreamKey};
use super::*;

/// Packets of a full group.
pub const GROUP: usize = 32;

/// What is known of a packet before its stream is looked at. Its bytes are stored.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub time: Timestamp,
    pub packet: Stored,
    pub payload: Stored,
    pub timestamp: u32,
    pub sequence: u16,
    pub payload_type: u8,
    pub marker: bool,
}

/// A packet that came and was not taken in yet.
#[derive(Debug)]
pub struct Waiting {
    pub key: StreamKey,
    pub hash: u64,
    pub seen: Seen,
    /// Number of its stream, as far as it was known when the group was fetched.
    pub stream: Option<u32>,
}

impl Media {
    /// Whether what has come is to be settled before a packet of `len` bytes is taken.
    #[inline]
    pub fn is_full_for(&self, len: usize) -> bool {
        self.group.len() >= GROUP || !self.payloads.has_room(len)
    }

    /// Takes one RTP packet, read from `packet`. What it means is found out with the rest of its group: see [`Media::settle`].
    #[inline]
    pub fn handle_rtp(&mut self, time: Timestamp, flow: &Flow, rtp: &RtpPacket<'_>, packet: &[u8]) {
        let key = StreamKey {
            flow: *flow,
            ssrc: rtp.ssrc,
        };
        let seen = self.store(time, rtp, packet);
        if self.group.is_empty() {
            self.payloads.hold(seen.packet.chunk);
        }
        self.group.push(Waiting {
            key,
            hash: self.hash(&key),
            seen,
            stream: None,
        });
    }

    /// Stores a packet, which nobody holds yet.
    #[inline]
    pub(super) fn store(&mut self, time: Timestamp, rtp: &RtpPacket<'_>, packet: &[u8]) -> Seen {
        let stored = self.payloads.store(packet);
        Seen {
            time,
            packet: stored,
            payload: stored.part(rtp.payload_at, rtp.payload.len()),
            timestamp: rtp.timestamp,
            sequence: rtp.sequence,
            payload_type: rtp.payload_type,
            marker: rtp.marker,
        }
    }

    #[inline]
    #[allow(
        clippy::manual_hash_one,
        reason = "that one is not inlined, which costs as much again as the hash"
    )]
    fn hash(&self, key: &StreamKey) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// Whether all packets that have come were taken in.
    pub fn is_settled(&self) -> bool {
        self.group.is_empty()
    }

    /// Takes in the packets that have come; up to the one that pressed a key, if one did ([`Media::take_pressed`]), since that
    /// may say what is to become of the others. To be called, until none is left, before anything that asks for the state of
    /// media or tells of it.
    #[inline]
    pub fn settle(&mut self, sink: &mut impl Sink) {
        if !self.group.is_empty() {
            self.settle_group(sink);
        }
    }

    fn settle_group(&mut self, sink: &mut impl Sink) {
        let mut group = std::mem::take(&mut self.group);
        let Some(chunk) = group.first().map(|first| first.seen.packet.chunk) else {
            return;
        };
        self.fetch(&mut group);
        let mut taken = 0;
        for waiting in &group {
            // What the packets before it ask to be woken for comes before it, as it would have.
            self.fire(waiting.seen.time, sink);
            self.take(waiting, sink);
            taken += 1;
            if self.has_pressed() {
                break;
            }
        }
        group.drain(..taken);
        if group.is_empty() {
            self.payloads.release(chunk);
        }
        self.group = group;
    }

    /// Reads something of all that the group will need: reads that do not depend on each other overlap.
    fn fetch(&self, group: &mut [Waiting]) {
        for waiting in &mut *group {
            waiting.stream = self.find_stream(&waiting.key, waiting.hash);
        }
        let streams = || {
            group
                .iter()
                .filter_map(|waiting| self.streams.get(waiting.stream?))
        };
        let mut touched = 0;
        for stream in streams() {
            touched ^= stream.touch();
        }
        let calls = || {
            streams().filter_map(|stream| match stream.owner {
                Owner::Call { slot, side } => Some((self.calls.get(slot)?, side)),
                _ => None,
            })
        };
        for (call, side) in calls() {
            touched ^= call.touch(side);
        }
        for (call, side) in calls() {
            touched ^= call
                .timeline
                .as_ref()
                .map_or(0, |timeline| timeline.touch(side));
        }
        black_box(touched);
    }
}
