//! Order, loss and duplicates of one stream, from its sequence numbers (RFC 3550 appendix A.1 and A.3).

use super::bursts::{BurstMetrics, LossLog};

/// Packets behind the newest that can still be told from duplicates: ten seconds at 20 ms.
const WINDOW: u64 = 512;
/// How far apart two hops of one stream are at most.
const HOP_APART: u16 = 16;
/// A step forward larger than this is a new start of the numbering, not loss (RFC 3550 appendix A.1, MAX_DROPOUT).
const MAX_DROPOUT: u16 = 3000;

/// A packet whose number is behind that of the newest, and near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Its extended number.
    pub number: u64,
    /// Numbers between it and the newest, with it.
    pub packets: u64,
    /// A packet with its number was seen.
    pub was_seen: bool,
}

/// What one packet was to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Next in order, or ahead of it; `number` is the extended sequence number.
    InOrder { number: u64 },
    /// Behind the newest and not seen before.
    Late { number: u64 },
    /// Seen before: a copy from a mirror, or from the network.
    Duplicate,
    /// So far behind that it cannot be told from a duplicate.
    TooOld,
    /// The numbering starts again, in the same stream: with the packet that came before, which was taken for something else, and
    /// has the number before this one's.
    Restarted { number: u64 },
}

/// Follows the 16-bit sequence numbers of one stream. 136 bytes; what is lost or late is remembered beside it.
#[derive(Clone, Debug)]
pub struct SequenceTracker {
    /// Extended number of the newest packet. Starts a wrap above zero, so that what came just before the first packet
    /// has a number too.
    newest: u64,
    first: u64,
    /// Bit `n % WINDOW` is set when number `n` was seen, for the last WINDOW numbers.
    seen: [u64; (WINDOW / 64) as usize],
    received: u64,
    /// Packets that were expected in numberings that ended with a restart.
    expected_before: u64,
    /// The number that would confirm a restart: one after that of a packet which is out of the order. Any packet in order takes
    /// it back.
    restart_at: Option<Awaited>,
    started: bool,
    /// `None` as long as nothing was missing.
    losses: Option<Box<LossLog>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Awaited {
    sequence: u16,
    /// The newest when it was awaited.
    newest: u64,
}

/// What came of the numbers up to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpTo {
    /// It is larger than any that was seen.
    pub is_ahead: bool,
    /// Sent and not seen, up to it and with it.
    pub missing: u64,
}

impl Default for SequenceTracker {
    fn default() -> Self {
        SequenceTracker {
            newest: 0,
            first: 0,
            seen: [0; (WINDOW / 64) as usize],
            received: 0,
            expected_before: 0,
            restart_at: None,
            started: false,
            losses: None,
        }
    }
}

impl SequenceTracker {
    /// Counts one packet. `is_foreign` says of one that seems to be near and behind whether it cannot be what its number says.
    #[inline]
    pub fn arrive(&mut self, sequence: u16, is_foreign: impl FnOnce(Behind) -> bool) -> Arrival {
        let ahead = sequence.wrapping_sub(self.newest as u16);
        if self.started && ahead == 1 {
            self.newest += 1;
            self.mark_newest();
            return Arrival::InOrder {
                number: self.newest,
            };
        }
        self.arrive_out_of_order(sequence, ahead, is_foreign)
    }

    fn arrive_out_of_order(
        &mut self,
        sequence: u16,
        ahead: u16,
        is_foreign: impl FnOnce(Behind) -> bool,
    ) -> Arrival {
        if !self.started {
            self.started = true;
            self.start_at(0x1_0000 + u64::from(sequence));
            return Arrival::InOrder {
                number: self.newest,
            };
        }
        if ahead == 0 {
            return Arrival::Duplicate;
        }
        if ahead <= MAX_DROPOUT {
            let losses = self.losses.get_or_insert_default();
            losses.lose(self.newest + 1, self.newest + u64::from(ahead) - 1);
            self.skip_to(self.newest + u64::from(ahead));
            return Arrival::InOrder {
                number: self.newest,
            };
        }
        let packets = u64::from(0u16.wrapping_sub(ahead));
        if packets >= WINDOW {
            return self.restart_or(Arrival::TooOld, sequence);
        }
        let number = self.newest - packets;
        let (word, bit) = place(number);
        let was_seen = self.seen[word] & bit != 0;
        if is_foreign(Behind {
            number,
            packets,
            was_seen,
        }) {
            let alone = match was_seen {
                true => Arrival::Duplicate,
                false => Arrival::TooOld,
            };
            return self.restart_or(alone, sequence);
        }
        self.arrive_behind(number)
    }

    /// The second of two packets that follow each other, and nothing else, begins the numbering anew. One `alone` is no more than
    /// that.
    fn restart_or(&mut self, alone: Arrival, sequence: u16) -> Arrival {
        let newest = self.newest;
        if self.restart_at != Some(Awaited { sequence, newest }) {
            self.restart_at = Some(Awaited {
                sequence: sequence.wrapping_add(1),
                newest,
            });
            return alone;
        }
        let number = (self.newest | 0xffff) + 1 + u64::from(sequence);
        self.expected_before += self.newest - self.first + 1;
        if let Some(losses) = &mut self.losses {
            losses.restart();
        }
        self.start_at(number - 1);
        self.newest = number;
        self.mark_newest();
        Arrival::Restarted { number }
    }

    /// Whether the numbering that goes on began with that number, and no other packet of it came but the next.
    pub fn began_with(&self, number: u64) -> bool {
        self.first == number && self.newest == number + 1 && self.expected_before > 0
    }

    /// Whether the packet that came last begins a new numbering, if its successor is next.
    pub fn may_restart_after(&self, sequence: u16) -> bool {
        let sequence = sequence.wrapping_add(1);
        let newest = self.newest;
        self.restart_at == Some(Awaited { sequence, newest })
    }

    fn arrive_behind(&mut self, number: u64) -> Arrival {
        let (word, bit) = place(number);
        if self.seen[word] & bit != 0 {
            return Arrival::Duplicate;
        }
        self.seen[word] |= bit;
        self.received += 1;
        self.first = self.first.min(number);
        if let Some(losses) = &mut self.losses {
            losses.find(number);
        }
        Arrival::Late { number }
    }

    fn start_at(&mut self, number: u64) {
        self.seen = [0; (WINDOW / 64) as usize];
        self.first = number;
        self.newest = number;
        self.restart_at = None;
        self.mark_newest();
    }

    /// Moves the window to `number`, forgetting what falls out of it.
    fn skip_to(&mut self, number: u64) {
        if number - self.newest >= WINDOW {
            self.seen = [0; (WINDOW / 64) as usize];
        } else {
            for skipped in self.newest + 1..number {
                let (word, bit) = place(skipped);
                self.seen[word] &= !bit;
            }
        }
        self.newest = number;
        self.mark_newest();
    }

    #[inline]
    fn mark_newest(&mut self) {
        let (word, bit) = place(self.newest);
        self.seen[word] |= bit;
        self.received += 1;
    }

    /// Whether `sequence` goes on from the newest packet, some packets lost at most.
    pub fn continues_with(&self, sequence: u16) -> bool {
        self.started && (1..=MAX_DROPOUT).contains(&sequence.wrapping_sub(self.newest as u16))
    }

    /// How many numbers `sequence` is ahead of the newest; more than 32,767 where it is behind. `None` before the first packet.
    pub fn ahead_of(&self, sequence: u16) -> Option<u16> {
        self.started
            .then(|| sequence.wrapping_sub(self.newest as u16))
    }

    /// Extended number of the newest packet.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether two sequences are as far: the same packets, seen at two hops.
    pub fn is_beside(&self, other: &SequenceTracker) -> bool {
        self.started && other.started && {
            let ahead = (self.newest as u16).wrapping_sub(other.newest as u16) as i16;
            ahead.unsigned_abs() <= HOP_APART
        }
    }

    /// Packets counted, duplicates left out.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that the numbers say were sent, from the first to the newest.
    pub fn expected(&self) -> u64 {
        if self.started {
            self.expected_before + self.newest - self.first + 1
        } else {
            0
        }
    }

    /// Packets that were sent and not seen.
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// A packet that has arrived was too late to be played.
    #[cold]
    pub fn discard(&mut self, number: u64) {
        self.losses.get_or_insert_default().discard(number);
    }

    /// How losses and discards lie in time.
    pub fn bursts(&self) -> BurstMetrics {
        let expected = self.expected();
        self.losses.as_ref().map_or_else(
            || BurstMetrics::without_loss(expected),
            |losses| losses.metrics(expected),
        )
    }

    /// What is missing up to the number, near the newest, whose low 16 bits are `sequence`. `None` when it is too far from
    /// the newest to tell, or from before the first.
    pub fn up_to(&self, sequence: u16) -> Option<UpTo> {
        let ahead = i64::from(sequence.wrapping_sub(self.newest as u16) as i16);
        if !self.started || ahead > i64::from(MAX_DROPOUT) || ahead <= -(WINDOW as i64) {
            return None;
        }
        let number = self.newest.checked_add_signed(ahead)?;
        let expected = self.expected_before + (number + 1).checked_sub(self.first)?;
        let after = (number + 1..=self.newest).filter(|&later| {
            let (word, bit) = place(later);
            self.seen[word] & bit != 0
        });
        let received = self.received - after.count() as u64;
        Some(UpTo {
            is_ahead: ahead > 0,
            missing: expected.saturating_sub(received),
        })
    }
}

#[inline]
fn place(number: u64) -> (usize, u64) {
    (((number % WINDOW) / 64) as usize, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Timestamps that say nothing.
    fn near(_: Behind) -> bool {
        false
    }

    #[test]
    fn wraps_without_loss() {
        let mut tracker = SequenceTracker::default();
        for n in 65_000u32..200_000 {
            assert!(matches!(
                tracker.arrive(n as u16, near),
                Arrival::InOrder { .. }
            ));
        }
        assert_eq!((tracker.received(), tracker.lost()), (135_000, 0));
    }

    #[test]
    fn a_packet_before_the_first_is_late_not_lost() {
        let mut tracker = SequenceTracker::default();
        assert_eq!(
            tracker.arrive(0, near),
            Arrival::InOrder { number: 0x1_0000 }
        );
        assert_eq!(
            tracker.arrive(0xffff, near),
            Arrival::Late { number: 0xffff }
        );
        assert_eq!(tracker.arrive(0xffff, near), Arrival::Duplicate);
        assert_eq!((tracker.expected(), tracker.lost()), (2, 0));
    }

    #[test]
    fn a_restart_needs_two_packets() {
        let mut tracker = SequenceTracker::default();
        (100..200).for_each(|n| _ = tracker.arrive(n, near));
        assert_eq!(tracker.arrive(40_000, near), Arrival::TooOld);
        assert_eq!(
            tracker.arrive(200, near),
            Arrival::InOrder {
                number: 0x1_0000 + 200
            }
        );
        assert_eq!(tracker.arrive(30_000, near), Arrival::TooOld);
        assert_eq!(
            tracker.arrive(30_001, near),
            Arrival::Restarted {
                number: 0x2_0000 + 30_001
            }
        );
        assert_eq!((tracker.expected(), tracker.received()), (103, 103));
    }

    #[test]
    fn what_is_missing_up_to_a_number_is_told_from_both_sides_of_the_newest() {
        let mut tracker = SequenceTracker::default();
        assert_eq!(tracker.up_to(7), None);
        for n in (65_500u32..65_700).filter(|n| !(65_530..65_540).contains(n) && n % 50 != 0) {
            tracker.arrive(n as u16, near);
        }
        let missing = |n: u32| tracker.up_to(n as u16).map(|up_to| up_to.missing);
        assert_eq!(missing(65_499), None);
        assert_eq!((missing(65_501), missing(65_529)), (Some(0), Some(0)));
        assert_eq!((missing(65_534), missing(65_599)), (Some(5), Some(11)));
        assert_eq!((missing(65_699), missing(65_709)), (Some(13), Some(23)));
        assert_eq!(missing(65_699 - 512), None);
        assert_eq!(tracker.lost(), 13);
        assert_eq!(tracker.bursts().bursts, 1);
    }

    proptest! {
        /// Whatever is lost, swapped and doubled within the window, the sums are right.
        #[test]
        fn sent_is_received_plus_lost(
            start in any::<u16>(),
            fates in proptest::collection::vec((0..10u8, 0..200usize), 2..2000),
        ) {
            let mut order: Vec<(usize, u16)> = Vec::new();
            for (n, (fate, delay)) in fates.iter().enumerate() {
                let number = start.wrapping_add(n as u16);
                match fate {
                    0 => {}
                    1 => order.push((n + delay, number)),
                    2 => order.extend([(n, number), (n + delay, number)]),
                    _ => order.push((n, number)),
                }
            }
            order.sort_by_key(|&(at, _)| at);
            let mut tracker = SequenceTracker::default();
            let mut duplicates = 0;
            for &(_, number) in &order {
                duplicates += u64::from(tracker.arrive(number, near) == Arrival::Duplicate);
            }
            let unique: std::collections::HashSet<u16> = order.iter().map(|&(_, n)| n).collect();
            prop_assert_eq!(tracker.received(), unique.len() as u64);
            prop_assert_eq!(tracker.received() + duplicates, order.len() as u64);
            if !order.is_empty() {
                let offset = |n: &u16| n.wrapping_sub(start);
                let span = unique.iter().map(offset).max().unwrap() - unique.iter().map(offset).min().unwrap();
                prop_assert_eq!(tracker.expected(), u64::from(span) + 1);
            }
        }
    }
}
