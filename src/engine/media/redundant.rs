//! Packets that carry earlier payloads once more (RFC 2198): what was lost is heard from the packets that follow.

use super::placing::{Arrived, Placing};
use super::stream::{Meaning, Stream};
use super::*;
use crate::codec::{RedundantBlock, redundant_blocks};

/// Timestamps remembered of one stream: 1.28 s of packets of 20 ms. What is repeated later than that is not looked for.
const REMEMBERED: usize = 64;

/// The timestamps that were heard of one stream, the latest ones.
#[derive(Debug)]
pub struct HeardTimestamps {
    latest: [u32; REMEMBERED],
    count: usize,
}

impl HeardTimestamps {
    fn new() -> Self {
        HeardTimestamps {
            latest: [0; REMEMBERED],
            count: 0,
        }
    }

    /// Enters a timestamp; whether it was not there.
    fn enter(&mut self, timestamp: u32) -> bool {
        let known = self.latest.len().min(self.count);
        if self.latest[..known].contains(&timestamp) {
            return false;
        }
        self.latest[self.count % REMEMBERED] = timestamp;
        self.count += 1;
        true
    }

    /// Whether something of about this time was missed: not heard, though something before it was.
    fn misses(&self, timestamp: u32) -> bool {
        let known = &self.latest[..self.latest.len().min(self.count)];
        let is_before = |heard: &u32| (timestamp.wrapping_sub(*heard) as i32) > 0;
        !known.contains(&timestamp) && known.iter().any(is_before)
    }
}

impl Media {
    /// Takes the packet's own payload as if it had come alone, and of the earlier ones those that were not heard.
    #[cold]
    pub(super) fn handle_redundant(
        &mut self,
        id: u32,
        slot: u32,
        side: Side,
        arrived: Arrived,
        sink: &mut impl Sink,
    ) {
        let payload = self.payloads.bytes(arrived.stored).to_vec();
        let blocks = redundant_blocks(&payload).unwrap_or_default();
        let Some((own, earlier)) = blocks.split_last() else {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.not_placed += 1;
            }
            self.counters.not_placed += 1;
            return;
        };
        let part = |block: &RedundantBlock<'_>, back: usize| Arrived {
            number: arrived.number.saturating_sub(back as u64),
            overtaken: arrived.overtaken || back > 0,
            payload_type: block.payload_type,
            timestamp: arrived.timestamp.wrapping_sub(block.age),
            ..arrived
        };
        if self.is_new(id, slot, side, own.payload_type, arrived.timestamp) {
            let stored = self.payloads.store(own.payload);
            let own = Arrived {
                stored,
                packet: stored,
                ..part(own, 0)
            };
            self.handle_owned(id, slot, side, own, sink);
        }
        for (back, block) in earlier.iter().rev().enumerate() {
            let stored = self.payloads.store(block.payload);
            let earlier = Arrived {
                stored,
                packet: stored,
                ..part(block, back + 1)
            };
            self.place_repeated(id, slot, side, earlier, sink);
        }
    }

    /// Enters the timestamp of a packet's own payload. A payload within which there is another redundant one is broken.
    fn is_new(&mut self, id: u32, slot: u32, side: Side, payload_type: u8, timestamp: u32) -> bool {
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get(slot)) else {
            return false;
        };
        let nested = call.format(side, payload_type).codec == Codec::Redundancy;
        !nested && heard(stream).enter(timestamp)
    }

    /// Places an earlier payload, if its packet was lost.
    fn place_repeated(
        &mut self,
        id: u32,
        slot: u32,
        side: Side,
        arrived: Arrived,
        sink: &mut impl Sink,
    ) {
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get_mut(slot))
        else {
            return;
        };
        let format = call.format(side, arrived.payload_type);
        let placed = call.record && call.tracks[side].holder == Some(id);
        let missed = heard(stream).misses(arrived.timestamp);
        // While it is not known by which clock it counts, nothing can be placed.
        let placed = placed && !stream.pacing.is_on_trial();
        if !placed || !missed || !format.codec.is_audio() || arrived.stored.len == 0 {
            return;
        }
        let (Some(timeline), Some(clock)) = (&mut call.timeline, &stream.clock) else {
            return;
        };
        let rate_hz = stream.pacing.ticks_hz(&format);
        let Some(position) =
            clock.place_late(timeline.start, arrived.time, arrived.timestamp, rate_hz)
        else {
            return;
        };
        let meaning = Meaning {
            format,
            ticks_hz: rate_hz,
            number: timeline.format(format),
            apart: None,
        };
        heard(stream).enter(arrived.timestamp);
        self.counters.restored += 1;
        let mut placing = Placing {
            stream,
            call,
            side,
            payloads: &mut self.payloads,
            counters: &mut self.counters,
        };
        placing.put(&meaning, position, &arrived, sink);
    }
}

fn heard(stream: &mut Stream) -> &mut HeardTimestamps {
    stream
        .heard
        .get_or_insert_with(|| Box::new(HeardTimestamps::new()))
}
