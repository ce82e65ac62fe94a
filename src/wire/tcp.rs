//! The TCP streams that somebody reads, among all the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::stream::{Stream, Taken};
use super::{Out, StreamBytes, StreamEvent, TcpInterest, Unit, WireCounters, WireLimits};
use crate::base::{Flow, Timestamp, WireMap};

/// How long a gap is waited for once the receiver has acknowledged the missing bytes: it has them, so they are not
/// sent again, and only the capture can have them out of order.
const ACKNOWLEDGED_GAP_WAIT: Duration = Duration::from_millis(200);

/// One TCP segment of the direction `flow`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub time: Timestamp,
    pub flow: Flow,
    pub sequence: u32,
    pub acknowledged: Option<u32>,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
    pub payload: &'a [u8],
}

/// The streams that are followed, one direction each.
///
/// Caps: `tcp_streams` (the one idle longest is evicted), `tcp_stream_buffer_bytes` held back by one (its gap is given
/// up), `tcp_buffer_bytes` held back by all (the gap whose time is up first is given up). One that is idle for
/// `tcp_idle` is forgotten.
pub(super) struct Streams {
    interest: TcpInterest,
    limits: WireLimits,
    table: WireMap<Flow, Followed>,
    /// By last use.
    used: BTreeMap<u64, Flow>,
    uses: u64,
    /// When the gaps are given up.
    deadlines: BTreeSet<(Timestamp, Flow)>,
    buffered: usize,
    unlisted: PortFilter,
}

struct Followed {
    stream: Stream,
    last: Timestamp,
    used: u64,
    deadline: Option<Timestamp>,
}

impl Streams {
    pub(super) fn new(interest: TcpInterest, limits: WireLimits) -> Streams {
        Streams {
            interest,
            limits,
            table: WireMap::default(),
            used: BTreeMap::new(),
            uses: 0,
            deadlines: BTreeSet::new(),
            buffered: 0,
            unlisted: PortFilter::new(),
        }
    }

    /// Whether a segment may belong to a stream that is or should be followed. Wrong only on the side of caution.
    #[inline]
    pub(super) fn may_follow(
        &self,
        source_port: u16,
        destination_port: u16,
        payload: &[u8],
    ) -> bool {
        self.is_listed(source_port, destination_port)
            || self.unlisted.may_contain(source_port, destination_port)
            || (!payload.is_empty() && (self.interest.sniff)(payload))
    }

    #[inline]
    fn is_listed(&self, source_port: u16, destination_port: u16) -> bool {
        self.interest
            .ports
            .iter()
            .any(|&port| port == source_port || port == destination_port)
    }

    pub(super) fn handle(
        &mut self,
        segment: &Segment<'_>,
        counters: &mut WireCounters,
        out: Out<'_>,
    ) {
        self.forget_idle(segment.time, counters, out);
        self.note_acknowledgment(segment);
        let known = if segment.syn {
            self.handle_syn(segment, counters, out)
        } else {
            self.is_followed(segment)
        };
        if !known && !self.begin_midway(segment, counters, out) {
            counters.tcp_ignored += 1;
            return;
        }
        counters.tcp_followed += 1;
        self.touch(segment);
        if !segment.payload.is_empty() || segment.fin {
            self.push(segment, counters, out);
        }
        if segment.rst {
            self.remove(segment.flow, segment.time, counters, out);
        }
        self.make_room(segment.time, counters, out);
    }

    /// When the next gap is to be given up.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    /// Gives up gaps that were waited for long enough.
    pub(super) fn expire(&mut self, now: Timestamp, counters: &mut WireCounters, out: Out<'_>) {
        while self.next_timeout().is_some_and(|deadline| deadline <= now) {
            self.skip_first_gap(now, counters, out);
        }
    }

    /// Gives out what is held back, and ends all streams: the input has ended.
    pub(super) fn close(&mut self, now: Timestamp, counters: &mut WireCounters, out: Out<'_>) {
        while let Some((_, &flow)) = self.used.first_key_value() {
            self.remove(flow, now, counters, out);
        }
    }

    fn is_followed(&self, segment: &Segment<'_>) -> bool {
        self.table.contains_key(&segment.flow)
    }

    /// A new connection, or its SYN once more. Whether it is to be followed.
    fn handle_syn(
        &mut self,
        segment: &Segment<'_>,
        counters: &mut WireCounters,
        out: Out<'_>,
    ) -> bool {
        let start = segment.sequence.wrapping_add(1);
        if let Some(known) = self.table.get(&segment.flow) {
            if known.stream.start() == start {
                return true;
            }
            self.remove(segment.flow, segment.time, counters, out);
        }
        let listed = self.is_listed(segment.flow.source.port, segment.flow.destination.port);
        if listed {
            self.begin(segment, Stream::new(start, false), counters, out);
        }
        listed
    }

    /// Begins a stream whose beginning was not seen, if its bytes are of interest.
    fn begin_midway(
        &mut self,
        segment: &Segment<'_>,
        counters: &mut WireCounters,
        out: Out<'_>,
    ) -> bool {
        if segment.payload.is_empty() || segment.rst {
            return false;
        }
        let at_message = (self.interest.sniff)(segment.payload);
        let listed = self.is_listed(segment.flow.source.port, segment.flow.destination.port);
        if at_message || listed {
            let start = segment.sequence.wrapping_add(u32::from(segment.syn));
            self.begin(segment, Stream::new(start, !at_message), counters, out);
        }
        at_message || listed
    }

    fn begin(
        &mut self,
        segment: &Segment<'_>,
        stream: Stream,
        counters: &mut WireCounters,
        out: Out<'_>,
    ) {
        while self.table.len() >= self.limits.tcp_streams.max(1)
            && let Some((_, &flow)) = self.used.first_key_value()
        {
            let alive = self.remove(flow, segment.time, counters, out);
            counters.tcp_streams_evicted += u64::from(alive);
        }
        let (source, destination) = (segment.flow.source.port, segment.flow.destination.port);
        if !self.is_listed(source, destination) {
            self.unlisted.insert(source, destination);
        }
        counters.tcp_streams += 1;
        self.uses += 1;
        self.used.insert(self.uses, segment.flow);
        self.table.insert(
            segment.flow,
            Followed {
                stream,
                last: segment.time,
                used: self.uses,
                deadline: None,
            },
        );
    }

    fn touch(&mut self, segment: &Segment<'_>) {
        if let Some(followed) = self.table.get_mut(&segment.flow) {
            self.used.remove(&followed.used);
            self.uses += 1;
            followed.used = self.uses;
            followed.last = segment.time;
            self.used.insert(self.uses, segment.flow);
        }
    }

    /// An acknowledgment of bytes that are missing in the other direction: they will not be sent again.
    fn note_acknowledgment(&mut self, segment: &Segment<'_>) {
        let Some(acknowledged) = segment.acknowledged.filter(|_| !self.deadlines.is_empty()) else {
            return;
        };
        let flow = segment.flow.reversed();
        if let Some(followed) = self.table.get_mut(&flow)
            && let Some(deadline) = followed.deadline
            && followed.stream.gap_is_acknowledged(acknowledged)
        {
            let sooner = deadline.min(segment.time + ACKNOWLEDGED_GAP_WAIT);
            self.deadlines.remove(&(deadline, flow));
            self.deadlines.insert((sooner, flow));
            followed.deadline = Some(sooner);
        }
    }

    fn push(&mut self, segment: &Segment<'_>, counters: &mut WireCounters, out: Out<'_>) {
        let sequence = segment.sequence.wrapping_add(u32::from(segment.syn));
        let taken = self.change(segment.flow, segment.time, counters, out, |stream, emit| {
            stream.push(segment.time, sequence, segment.payload, segment.fin, emit)
        });
        match taken {
            Some(Taken::Held) => counters.tcp_out_of_order += 1,
            Some(Taken::Repeated) if !segment.payload.is_empty() => counters.tcp_repeated += 1,
            Some(Taken::OutOfWindow) => counters.tcp_out_of_window += 1,
            _ => {}
        }
    }

    /// Changes one stream, gives out what comes of it, and keeps the sums and the deadline in step.
    fn change<R>(
        &mut self,
        flow: Flow,
        time: Timestamp,
        counters: &mut WireCounters,
        out: Out<'_>,
        change: impl FnOnce(&mut Stream, &mut dyn FnMut(StreamEvent, &[u8])) -> R,
    ) -> Option<R> {
        let followed = self.table.get_mut(&flow)?;
        let (next, held) = (followed.stream.next(), followed.stream.held_bytes());
        let result = change(&mut followed.stream, &mut |event, bytes| {
            counters.tcp_bytes += bytes.len() as u64;
            counters.tcp_gaps += u64::from(event == StreamEvent::Gap);
            out(Unit::Stream(StreamBytes {
                time,
                flow,
                bytes,
                event,
            }));
        });
        self.buffered = self.buffered - held + followed.stream.held_bytes();
        let moved = followed.stream.next() != next;
        let deadline = match (followed.stream.held_since(), followed.deadline) {
            (None, _) => None,
            (Some(_), Some(deadline)) if !moved => Some(deadline),
            (Some(since), _) => Some(since + self.limits.tcp_gap_wait),
        };
        if deadline != followed.deadline {
            followed
                .deadline
                .map(|old| self.deadlines.remove(&(old, flow)));
            deadline.map(|new| self.deadlines.insert((new, flow)));
            followed.deadline = deadline;
        }
        Some(result)
    }

    fn make_room(&mut self, time: Timestamp, counters: &mut WireCounters, out: Out<'_>) {
        // Only the stream that has just been changed can be over its own cap, and it is the one used last.
        while let Some((_, &flow)) = self.used.last_key_value()
            && self
                .table
                .get(&flow)
                .is_some_and(|f| f.stream.held_bytes() > self.limits.tcp_stream_buffer_bytes)
        {
            self.change(flow, time, counters, out, |stream, emit| {
                stream.skip_gap(emit)
            });
        }
        while self.buffered > self.limits.tcp_buffer_bytes && !self.deadlines.is_empty() {
            self.skip_first_gap(time, counters, out);
        }
    }

    fn skip_first_gap(&mut self, time: Timestamp, counters: &mut WireCounters, out: Out<'_>) {
        if let Some(&(_, flow)) = self.deadlines.first() {
            self.change(flow, time, counters, out, |stream, emit| {
                stream.skip_gap(emit)
            });
        }
    }

    fn forget_idle(&mut self, now: Timestamp, counters: &mut WireCounters, out: Out<'_>) {
        while let Some((_, &flow)) = self.used.first_key_value()
            && self
                .table
                .get(&flow)
                .is_some_and(|followed| now.since(followed.last) >= self.limits.tcp_idle)
        {
            let alive = self.remove(flow, now, counters, out);
            counters.tcp_streams_idle += u64::from(alive);
        }
    }

    /// Forgets a stream; its reader gets what was held back, and its end. Whether it had not ended before.
    fn remove(
        &mut self,
        flow: Flow,
        time: Timestamp,
        counters: &mut WireCounters,
        out: Out<'_>,
    ) -> bool {
        let alive = self.change(flow, time, counters, out, |stream, emit| stream.close(emit));
        if let Some(followed) = self.table.remove(&flow) {
            self.used.remove(&followed.used);
            let (source, destination) = (flow.source.port, flow.destination.port);
            if !self.is_listed(source, destination) {
                self.unlisted.remove(source, destination);
            }
        }
        alive.unwrap_or(false)
    }
}

/// Says quickly that a pair of ports is none of a stream that is followed for what it says, not for its ports.
struct PortFilter {
    counts: Vec<u32>,
    total: u32,
}

impl PortFilter {
    const SLOTS: usize = 4096;

    fn new() -> PortFilter {
        PortFilter {
            counts: vec![0; Self::SLOTS],
            total: 0,
        }
    }

    #[inline]
    fn slot(source_port: u16, destination_port: u16) -> usize {
        let mixed =
            (u32::from(source_port) << 16 | u32::from(destination_port)).wrapping_mul(0x9e37_79b1);
        (mixed >> 20) as usize % Self::SLOTS
    }

    #[inline]
    fn may_contain(&self, source_port: u16, destination_port: u16) -> bool {
        self.total != 0
            && self
                .counts
                .get(Self::slot(source_port, destination_port))
                .is_some_and(|&count| count != 0)
    }

    fn insert(&mut self, source_port: u16, destination_port: u16) {
        if let Some(count) = self
            .counts
            .get_mut(Self::slot(source_port, destination_port))
        {
            *count += 1;
            self.total += 1;
        }
    }

    fn remove(&mut self, source_port: u16, destination_port: u16) {
        if let Some(count) = self
            .counts
            .get_mut(Self::slot(source_port, destination_port))
        {
            *count -= 1;
            self.total -= 1;
        }
    }
}

#[cfg(test)]
impl Streams {
    /// The sums, the orders and the caps fit the streams.
    pub(super) fn assert_consistent(&self) {
        let held: usize = self
            .table
            .values()
            .map(|followed| followed.stream.held_bytes())
            .sum();
        assert_eq!(held, self.buffered);
        assert!(self.buffered <= self.limits.tcp_buffer_bytes);
        assert!(self.table.len() <= self.limits.tcp_streams);
        assert_eq!(self.used.len(), self.table.len());
        let waiting = self
            .table
            .values()
            .filter(|followed| followed.stream.held_since().is_some())
            .count();
        assert_eq!(waiting, self.deadlines.len());
        for (flow, followed) in &self.table {
            assert_eq!(self.used.get(&followed.used), Some(flow));
            assert!(followed.stream.held_bytes() <= self.limits.tcp_stream_buffer_bytes);
            assert!(
                followed
                    .deadline
                    .is_none_or(|deadline| self.deadlines.contains(&(deadline, *flow)))
            );
        }
    }
}
