//! Packets of several interfaces in the order of their capture times.

use std::collections::VecDeque;
use std::mem;

use crate::base::Timestamp;
use crate::wire::{LinkType, Packet};

/// Bytes of packets in one batch. A packet that is larger is a batch by itself.
const BATCH_BYTES: usize = 256 << 10;

/// Bytes of packets that wait for the other interfaces; past it the oldest go on without waiting.
const HELD_BYTES: usize = 64 << 20;

/// Packets of one interface, in the order of their capture.
#[derive(Debug)]
pub struct Batch {
    lane: u16,
    heads: Vec<Head>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    time: Timestamp,
    interface: u16,
    link: LinkType,
    from: usize,
    len: usize,
    original_len: u32,
}

impl Batch {
    pub fn new(lane: u16) -> Batch {
        Batch {
            lane,
            heads: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Copies a packet; `false`: there is no room, hand this batch on first.
    pub fn push(&mut self, packet: &Packet<'_>) -> bool {
        if !self.heads.is_empty() && self.bytes.len() + packet.data.len() > BATCH_BYTES {
            return false;
        }
        self.heads.push(Head {
            time: packet.time,
            interface: packet.interface,
            link: packet.link,
            from: self.bytes.len(),
            len: packet.data.len(),
            original_len: packet.original_len,
        });
        self.bytes.extend_from_slice(packet.data);
        true
    }

    pub fn len(&self) -> usize {
        self.heads.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// What is in it; empty afterwards, with room for as much.
    pub fn take(&mut self) -> Batch {
        let empty = Batch {
            lane: self.lane,
            heads: Vec::with_capacity(self.heads.len()),
            bytes: Vec::with_capacity(self.bytes.len()),
        };
        mem::replace(self, empty)
    }

    fn packet(&self, number: usize) -> Option<Packet<'_>> {
        let head = self.heads.get(number)?;
        Some(Packet {
            time: head.time,
            interface: head.interface,
            link: head.link,
            data: self.bytes.get(head.from..head.from + head.len)?,
            original_len: head.original_len,
        })
    }
}

/// What a capture thread hands on.
#[derive(Debug)]
pub enum Delivery {
    Packets(Batch),
    /// No packet of before `until` will come from this interface.
    Silence {
        lane: u16,
        until: Timestamp,
    },
}

/// Waits with each packet until no interface can come with an earlier one.
pub struct Merge {
    lanes: Vec<Lane>,
    held_bytes: usize,
}

struct Lane {
    batches: VecDeque<Batch>,
    /// The first packet of the first batch that was not handed out.
    next: usize,
    /// No earlier packet comes.
    heard: Timestamp,
}

impl Merge {
    pub fn new(lanes: usize) -> Merge {
        let lane = || Lane {
            batches: VecDeque::new(),
            next: 0,
            heard: Timestamp::MIN,
        };
        Merge {
            lanes: (0..lanes).map(|_| lane()).collect(),
            held_bytes: 0,
        }
    }

    pub fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Packets(batch) => {
                let newest = batch.heads.last().map(|head| head.time);
                let lane = self.lanes.get_mut(usize::from(batch.lane));
                if let (Some(newest), Some(lane)) = (newest, lane) {
                    lane.heard = lane.heard.max(newest);
                    self.held_bytes += batch.bytes.len();
                    lane.batches.push_back(batch);
                }
            }
            Delivery::Silence { lane, until } => {
                if let Some(lane) = self.lanes.get_mut(usize::from(lane)) {
                    lane.heard = lane.heard.max(until);
                }
            }
        }
    }

    /// Hands out, in order, what no interface can precede, and what was captured before `overdue`. Returns the time before
    /// which nothing will come.
    pub fn release(&mut self, overdue: Timestamp, sink: &mut impl FnMut(&Packet<'_>)) -> Timestamp {
        let heard = self.lanes.iter().map(|lane| lane.heard).min();
        let complete = heard.unwrap_or(Timestamp::MIN);
        let limit = complete.max(overdue);
        while let Some((lane, time)) = self.earliest() {
            if time > limit && self.held_bytes <= HELD_BYTES {
                break;
            }
            self.hand_out(lane, sink);
        }
        complete
    }

    /// The interface with the earliest packet; of two with the same time the first.
    fn earliest(&self) -> Option<(usize, Timestamp)> {
        let heads = self.lanes.iter().enumerate();
        heads
            .filter_map(|(lane, waiting)| Some((lane, waiting.first()?.time)))
            .min_by_key(|&(_, time)| time)
    }

    fn hand_out(&mut self, lane: usize, sink: &mut impl FnMut(&Packet<'_>)) {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return;
        };
        if let Some(packet) = lane.first() {
            sink(&packet);
        }
        lane.next += 1;
        if lane.first().is_none() {
            lane.next = 0;
            let done = lane.batches.pop_front();
            self.held_bytes -= done.map_or(0, |batch| batch.bytes.len());
        }
    }
}

impl Lane {
    fn first(&self) -> Option<Packet<'_>> {
        self.batches.front()?.packet(self.next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn batch(lane: u16, times: &[i64]) -> Delivery {
        let mut batch = Batch::new(lane);
        for &time in times {
            assert!(batch.push(&Packet {
                time: at(time),
                interface: lane,
                link: LinkType::Ethernet,
                data: &[lane as u8; 60],
                original_len: 60,
            }));
        }
        Delivery::Packets(batch)
    }

    fn silence(lane: u16, until: i64) -> Delivery {
        let until = at(until);
        Delivery::Silence { lane, until }
    }

    /// Lane and milliseconds of what comes out.
    fn released(merge: &mut Merge, overdue: i64) -> Vec<(u16, i64)> {
        let mut out = Vec::new();
        merge.release(at(overdue), &mut |packet| {
            assert_eq!(packet.data, [packet.interface as u8; 60]);
            out.push((packet.interface, packet.time.as_millis()));
        });
        out
    }

    #[test]
    fn a_packet_waits_until_no_interface_can_precede_it() {
        let mut merge = Merge::new(2);
        merge.take(batch(0, &[10, 30]));
        assert_eq!(released(&mut merge, 0), []);
        merge.take(batch(1, &[5, 20]));
        assert_eq!(released(&mut merge, 0), [(1, 5), (0, 10), (1, 20)]);
        merge.take(silence(1, 40));
        assert_eq!(released(&mut merge, 0), [(0, 30)]);
    }

    #[test]
    fn an_interface_that_says_nothing_does_not_hold_up_the_others_for_ever() {
        let mut merge = Merge::new(2);
        merge.take(batch(0, &[10, 30]));
        assert_eq!(released(&mut merge, 20), [(0, 10)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut merge = Merge::new(2);
        let big = vec![0; BATCH_BYTES];
        for time in 0..1000 {
            let mut batch = Batch::new(0);
            let packet = Packet {
                time: at(time),
                interface: 0,
                link: LinkType::Ethernet,
                data: &big,
                original_len: 0,
            };
            assert!(batch.push(&packet) && !batch.push(&packet));
            merge.take(Delivery::Packets(batch));
            merge.release(Timestamp::MIN, &mut |_| {});
            assert!(merge.held_bytes <= HELD_BYTES);
        }
    }

    proptest! {
        /// However two wires are cut into batches, what comes out is what a capture of both would hold.
        #[test]
        fn batches_come_out_as_one_sorted_capture(
            mut left in prop::collection::vec(0i64..1000, 0..60),
            mut right in prop::collection::vec(0i64..1000, 0..60),
            cut in 1usize..9,
        ) {
            left.sort_unstable();
            right.sort_unstable();
            let mut merge = Merge::new(2);
            let mut out = Vec::new();
            let (mut a, mut b) = (left.chunks(cut), right.chunks(cut + 2));
            loop {
                let (a, b) = (a.next(), b.next());
                a.into_iter().for_each(|times| merge.take(batch(0, times)));
                b.into_iter().for_each(|times| merge.take(batch(1, times)));
                out.extend(released(&mut merge, i64::MIN / 1_000_000));
                if a.is_none() && b.is_none() {
                    break;
                }
            }
            out.extend(released(&mut merge, i64::MAX / 1_000_000));
            let times: Vec<i64> = out.iter().map(|&(_, time)| time).collect();
            let mut all = [left, right].concat();
            all.sort_unstable();
            prop_assert_eq!(times, all);
        }
    }
}
