//! One direction of one TCP connection (RFC 9293): bytes in the order of their sequence numbers.

use super::StreamEvent;
use crate::base::Timestamp;

/// A segment further than this from where its stream is was not sent in this window: 4 MiB is more than a SIP
/// connection ever has under way.
const WINDOW: u32 = 4 << 20;

/// So many segments in a row outside the window mean that the stream is elsewhere: its ports were used again, or the
/// capture missed much.
const STRAYS: u8 = 3;

/// Charged for each piece held back, so that many small ones count too.
const OVERHEAD: usize = 64;

/// Where the bytes go: what they are, and themselves.
pub(super) type Emit<'e> = &'e mut dyn FnMut(StreamEvent, &[u8]);

/// What became of a segment's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    InOrder,
    /// Kept until those before them come.
    Held,
    /// Seen before.
    Repeated,
    /// Too far away to belong here.
    OutOfWindow,
}

pub(super) struct Stream {
    /// Sequence number of the first byte of all.
    start: u32,
    /// Sequence number of the next byte to be given out.
    next: u32,
    /// By sequence number from `next` on, without overlap; the first begins after `next`.
    held: Vec<Piece>,
    held_bytes: usize,
    /// Sequence number behind the last byte.
    end: Option<u32>,
    ended: bool,
    /// Bytes before the next ones were lost.
    lost: bool,
    strays: u8,
}

struct Piece {
    since: Timestamp,
    sequence: u32,
    bytes: Box<[u8]>,
}

impl Piece {
    fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.bytes.len() as u32)
    }
}

impl Stream {
    /// A stream whose first byte has the sequence number `start`; `lost` if bytes before it were not seen.
    pub(super) fn new(start: u32, lost: bool) -> Stream {
        Stream {
            start,
            next: start,
            held: Vec::new(),
            held_bytes: 0,
            end: None,
            ended: false,
            lost,
            strays: 0,
        }
    }

    pub(super) fn start(&self) -> u32 {
        self.start
    }

    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Bytes held back, overhead included.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Since when there are bytes that wait for those before them.
    pub(super) fn held_since(&self) -> Option<Timestamp> {
        self.held.first().map(|piece| piece.since)
    }

    /// Whether `acknowledged`, a number that the receiver sent, says that it has all the bytes that are missing here.
    pub(super) fn gap_is_acknowledged(&self, acknowledged: u32) -> bool {
        let first = self.held.first().map(|piece| piece.sequence);
        first.is_some_and(|first| {
            ahead(first, acknowledged).is_some_and(|distance| distance <= WINDOW)
        })
    }

    /// Takes a segment in; `fin`: nothing follows it. Gives out what is in order; what was there first stays where
    /// segments overlap.
    pub(super) fn push(
        &mut self,
        time: Timestamp,
        sequence: u32,
        bytes: &[u8],
        fin: bool,
        emit: Emit<'_>,
    ) -> Taken {
        let end = sequence.wrapping_add(bytes.len() as u32);
        if self.is_outside(sequence, end) {
            self.strays += 1;
            if self.strays < STRAYS && !self.ended {
                return Taken::OutOfWindow;
            }
            self.flush(emit);
            *self = Stream::new(sequence, true);
        }
        self.strays = 0;
        if self.ended {
            return Taken::Repeated;
        }
        if fin && self.end.is_none() {
            self.end = Some(end);
        }
        let taken = self.place(time, sequence, bytes, emit);
        self.end_if_reached(emit);
        taken
    }

    /// Gives the missing bytes up: the next ones are those held back.
    pub(super) fn skip_gap(&mut self, emit: Emit<'_>) {
        if let Some(first) = self.held.first() {
            self.next = first.sequence;
            self.lost = true;
            self.drain(emit);
            self.end_if_reached(emit);
        }
    }

    /// Gives out all that was held back, gaps or not, and ends. Whether it had not ended before.
    pub(super) fn close(&mut self, emit: Emit<'_>) -> bool {
        let alive = !self.ended;
        self.flush(emit);
        if !self.ended {
            self.ended = true;
            emit(StreamEvent::End, &[]);
        }
        alive
    }

    fn flush(&mut self, emit: Emit<'_>) {
        while !self.held.is_empty() {
            self.skip_gap(emit);
        }
    }

    fn is_outside(&self, sequence: u32, end: u32) -> bool {
        match ahead(self.next, sequence) {
            Some(distance) if self.ended => distance > 0,
            Some(distance) => distance > WINDOW,
            None => ahead(end, self.next).is_some_and(|distance| distance > WINDOW),
        }
    }

    fn place(
        &mut self,
        time: Timestamp,
        mut sequence: u32,
        mut bytes: &[u8],
        emit: Emit<'_>,
    ) -> Taken {
        let mut taken = Taken::Repeated;
        loop {
            let seen = ahead(sequence, self.next).map_or(0, |distance| distance as usize);
            bytes = bytes.get(seen..).unwrap_or_default();
            sequence = sequence.wrapping_add(seen as u32);
            if bytes.is_empty() {
                return taken;
            }
            if sequence != self.next {
                let kept = self.hold(time, sequence, bytes);
                return if kept && taken == Taken::Repeated {
                    Taken::Held
                } else {
                    taken
                };
            }
            let room = self
                .held
                .first()
                .map_or(u32::MAX, |piece| piece.sequence.wrapping_sub(sequence))
                as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.emit(now, emit);
            self.drain(emit);
            sequence = sequence.wrapping_add(now.len() as u32);
            bytes = later;
            taken = Taken::InOrder;
        }
    }

    fn emit(&mut self, bytes: &[u8], emit: Emit<'_>) {
        let event = if self.lost {
            StreamEvent::Gap
        } else {
            StreamEvent::Data
        };
        self.lost = false;
        self.next = self.next.wrapping_add(bytes.len() as u32);
        emit(event, bytes);
    }

    /// Gives out what follows `next` without a gap.
    fn drain(&mut self, emit: Emit<'_>) {
        let mut next = self.next;
        let joins = |piece: &&Piece| {
            let joins = piece.sequence == next;
            next = piece.end();
            joins
        };
        let count = self.held.iter().take_while(joins).count();
        let pieces: Vec<Piece> = self.held.drain(..count).collect();
        for piece in pieces {
            self.held_bytes -= piece.bytes.len() + OVERHEAD;
            self.emit(&piece.bytes, emit);
        }
    }

    /// Keeps those bytes whose places are empty. Whether there were any.
    fn hold(&mut self, since: Timestamp, mut sequence: u32, mut bytes: &[u8]) -> bool {
        let next = self.next;
        let offset = |sequence: u32| sequence.wrapping_sub(next);
        let mut index = self
            .held
            .partition_point(|piece| offset(piece.end()) <= offset(sequence));
        let before = self.held.len();
        while !bytes.is_empty() {
            let room = self
                .held
                .get(index)
                .map_or(u32::MAX, |piece| offset(piece.sequence));
            let room = room.saturating_sub(offset(sequence)) as usize;
            let (free, rest) = bytes.split_at(room.min(bytes.len()));
            if !free.is_empty() {
                self.held.insert(
                    index,
                    Piece {
                        since,
                        sequence,
                        bytes: free.into(),
                    },
                );
                self.held_bytes += free.len() + OVERHEAD;
                index += 1;
            }
            sequence = sequence.wrapping_add(free.len() as u32);
            let covered = self.held.get(index).map_or(0, |piece| {
                offset(piece.end()).saturating_sub(offset(sequence))
            });
            let covered = (covered as usize).min(rest.len());
            bytes = rest.get(covered..).unwrap_or_default();
            sequence = sequence.wrapping_add(covered as u32);
            index += 1;
        }
        self.held.len() > before
    }

    fn end_if_reached(&mut self, emit: Emit<'_>) {
        if !self.ended && self.end.is_some_and(|end| ahead(end, self.next).is_some()) {
            self.ended = true;
            self.held.clear();
            self.held_bytes = 0;
            emit(StreamEvent::End, &[]);
        }
    }
}

/// How far `to` lies ahead of `from` or at it; `None` if it lies behind (RFC 9293 section 3.4).
fn ahead(from: u32, to: u32) -> Option<u32> {
    let distance = to.wrapping_sub(from);
    (distance < 1 << 31).then_some(distance)
}
