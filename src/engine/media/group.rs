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

/// A packet that came and was not looked at yet; its payload is stored.
#[derive(Debug)]
pub struct Waiting {
    pub key: StreamKey,
    pub hash: u64,
    pub time: Timestamp,
    pub stored: Stored,
    pub timestamp: u32,
    pub sequence: u16,
    pub payload_type: u8,
    /// Number of its stream, as far as it was known when the group was fetched.
    pub stream: Option<u32>,
}

impl Media {
    /// Takes one RTP packet. What it means is found out with the rest of its group: see [`Media::settle`].
    #[inline]
    pub fn handle_rtp(
        &mut self,
        time: Timestamp,
        flow: &Flow,
        rtp: &RtpPacket<'_>,
        sink: &mut impl Sink,
    ) {
        if self.group.len() == GROUP || !self.payloads.has_room(rtp.payload.len()) {
            self.settle(sink);
        }
        let key = StreamKey {
            flow: *flow,
            ssrc: rtp.ssrc,
        };
        let stored = self.payloads.store(rtp.payload);
        if self.group.is_empty() {
            self.payloads.hold(stored.chunk);
        }
        self.group.push(Waiting {
            key,
            hash: self.hash(&key),
            time,
            stored,
            timestamp: rtp.timestamp,
            sequence: rtp.sequence,
            payload_type: rtp.payload_type,
            stream: None,
        });
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

    /// Takes in every packet that has come. To be called before anything that asks for the state of media or tells of it.
    #[inline]
    pub fn settle(&mut self, sink: &mut impl Sink) {
        if !self.group.is_empty() {
            self.settle_group(sink);
        }
    }

    fn settle_group(&mut self, sink: &mut impl Sink) {
        let mut group = std::mem::take(&mut self.group);
        self.fetch(&mut group);
        for waiting in &group {
            // What the packets before it ask to be woken for comes before it, as it would have.
            self.fire(waiting.time, sink);
            self.take(waiting, sink);
        }
        if let Some(first) = group.first() {
            self.payloads.release(first.stored.chunk);
        }
        group.clear();
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
