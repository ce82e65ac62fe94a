//! Senders that move to another address and say nothing of it: a NAT that gives another port, a phone that roams.
//!
//! Such a stream waits beside the one that holds the track, as long as that is quiet. It is the same sender where its numbers and
//! timestamps go on where the other's stopped, which nobody can guess who does not hear them; or where the other side's voice has
//! moved to it. Then nothing of it is lost. Of anybody else nothing is placed, and all is counted.

use std::time::Duration;

use super::*;

/// What waits of one stream, at most: this long, and so many packets.
const LONGEST_DOUBT: Duration = Duration::from_secs(5);
const MAX_DOUBTED: usize = 500;
/// Packets of the old way may come for so long after the first of the new one.
const OVERLAP: Duration = Duration::from_millis(100);
/// How far timestamps may be from where they go on.
const SLACK_NANOS: i64 = 500_000_000;
/// Numbers that may be missing, beside those of the time that passed.
const MAX_MISSING: i64 = 16;

/// What is known of a stream that waits because its side has not said that it sends from there.
#[derive(Clone, Copy, Debug)]
pub struct Doubt {
    /// Number of the stream that held the track when it began to wait.
    holder: u32,
    since: Timestamp,
    /// Of its first packet since then.
    sequence: u16,
    /// Its numbers went on where the holder's had stopped.
    goes_on: bool,
}

/// Whether the other side sends to where a stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    No,
    Sent,
    /// That is its voice now, and it is in no other call.
    Followed,
}

/// Whether the packet of `claimant` that has just come may be the next of `holder`'s sender: same SSRC, same destination, numbers and
/// timestamps as the time that passed.
///
/// Only the first packet of a stream may be, or one of a stream that was the side's voice before: nobody tries numbers until some fit.
fn goes_on(claimant: &Stream, holder: &Stream, arrived: &Arrived) -> bool {
    let (own, held) = (&claimant.key, &holder.key);
    let may_be = claimant.sequence.received() <= 1 || claimant.clock.is_some();
    if !may_be || own.ssrc != held.ssrc || own.flow.destination != held.flow.destination {
        return false;
    }
    let Some(next) = holder.compare_next(arrived.number as u16, arrived.time, arrived.timestamp)
    else {
        return false;
    };
    let elapsed = arrived.time.nanos_since(holder.last_at).max(0);
    // Packets of digits are shorter than those of audio.
    let sent = 2 * elapsed / next.packet_nanos.max(1);
    let fits = |nanos: i64| nanos.saturating_abs() <= SLACK_NANOS;
    (1..=sent.saturating_add(MAX_MISSING)).contains(&next.ahead)
        && (fits(next.fit.late) || fits(next.fit.ahead))
}

impl Doubt {
    /// Whether the holder has sent on since, or is another one. What was on its way comes after the first packet of the new one.
    fn is_over(&self, holder: u32, held: &Stream) -> bool {
        self.holder != holder
            || match self.goes_on {
                true => !held.sequence.continues_with(self.sequence),
                false => held.last_at > self.since + OVERLAP,
            }
    }

    /// Whether the stream that waits has taken `held`'s place, which sent nothing more.
    pub fn has_moved(&self, holder: u32, held: &Stream) -> bool {
        self.goes_on && !self.is_over(holder, held)
    }
}

impl Media {
    /// Whether the other side of a call sends to where a stream of `side` comes from.
    pub(super) fn answer_to(&self, slot: u32, side: Side, stream: &Stream) -> Answer {
        let Some(call) = self.calls.get(slot) else {
            return Answer::No;
        };
        let back = stream.key.flow.reversed();
        let voice = call.tracks[side.other()].holder;
        let voice = voice.and_then(|id| self.streams.get(id));
        let is_voice = voice.is_some_and(|voice| {
            let flow = &voice.key.flow;
            (flow.source, flow.destination) == (back.source, back.destination)
        });
        let mut there = self.endpoints.at(back.vantage, back.source).iter();
        if is_voice && there.all(|receiver| receiver.slot == slot) {
            return Answer::Followed;
        }
        match self.owns_flow(call, &back, side.other()) {
            true => Answer::Sent,
            false => Answer::No,
        }
    }

    /// Whether a stream that came with `arrived` is, by its numbers, the holder of its side's track from elsewhere.
    pub(super) fn may_have_moved(&self, stream: &Stream, holder: &Stream, of: &Arrived) -> bool {
        match &stream.doubt {
            Some(doubt) => doubt.goes_on,
            None => goes_on(stream, holder, of),
        }
    }

    /// Keeps a packet until it is known whether its sender is the side, as long as the holder of the track is quiet.
    pub(super) fn keep_doubted(&mut self, id: u32, slot: u32, side: Side, arrived: &Arrived) {
        let holder = self
            .calls
            .get(slot)
            .and_then(|call| call.tracks[side].holder);
        let (Some(holder), Some(stream)) = (holder, self.streams.get(id)) else {
            return;
        };
        let Some(held) = self.streams.get(holder) else {
            return;
        };
        let doubt = stream.doubt.unwrap_or_else(|| Doubt {
            holder,
            since: arrived.time,
            sequence: arrived.number as u16,
            goes_on: goes_on(stream, held, arrived),
        });
        let is_over = doubt.is_over(holder, held);
        let may_keep = self.kept_bytes < self.limits.kept_bytes / 2;
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        stream.doubt = Some(doubt);
        self.kept_bytes += stream.keep(arrived.keep(&self.payloads));
        if is_over || !may_keep {
            stream.rival = true;
            return self.drop_doubted(id, slot, side);
        }
        let oldest = arrived.time - LONGEST_DOUBT;
        while let Some(stream) = self.streams.get_mut(id)
            && let Some(first) = stream.kept.front()
            && (first.time < oldest || stream.kept.len() > MAX_DOUBTED)
        {
            self.kept_bytes -= stream.drop_oldest_kept();
            self.counters.not_placed += 1;
            if let Some(call) = self.calls.get_mut(slot) {
                call.suspicious_packets += 1;
            }
        }
    }

    /// Drops what waited of a stream: its sender was not the side, or is not known to be.
    pub(super) fn drop_doubted(&mut self, id: u32, slot: u32, side: Side) {
        let Some(call) = self.calls.get_mut(slot) else {
            return;
        };
        let holder = call.tracks[side].holder;
        let holder = holder.and_then(|holder| self.streams.get(holder));
        let is_foreign = self
            .streams
            .get(id)
            .is_some_and(|stream| holder.is_none_or(|holder| !is_next_hop(stream, holder)));
        if let Some(stream) = self.streams.get_mut(id) {
            let dropped = stream.doubted();
            self.kept_bytes -= dropped.bytes;
            self.counters.not_placed += dropped.packets;
            if is_foreign {
                call.suspicious_packets += dropped.packets;
            }
        }
    }
}
