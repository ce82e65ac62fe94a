//! IP fragments put together again (RFC 791 section 3.2, RFC 8200 section 4.5).

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;

use etherparse::IpNumber;

use super::ip::{Fragment, IpPacket, Version};
use super::{WireCounters, WireLimits};
use crate::base::{Endpoint, Timestamp, Vantage, WireMap};

/// The most that a datagram's length field can say. What would reach past it was never sent by an honest host.
const MAX_DATAGRAM: usize = 65_535;

/// Charged against the cap on bytes for each piece and each datagram, so that many small ones count too.
const OVERHEAD: usize = 64;

/// Datagrams of which some fragments have come.
///
/// Caps: `fragment_datagrams`, `fragment_bytes`, `fragments_per_datagram`; the datagram that began first is evicted
/// first. One whose fragments do not come within `fragment_timeout` of its first, by packet time, is given up.
pub(super) struct Fragments {
    limits: WireLimits,
    index: WireMap<Key, u64>,
    /// By the order in which they began.
    partial: BTreeMap<u64, Partial>,
    begun: u64,
    /// Held by all of `partial`, overhead included.
    bytes: usize,
}

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    vantage: Vantage,
    source: Endpoint,
    destination: Endpoint,
    id: u32,
    /// IPv4 only: there it is part of a datagram's identity.
    protocol: Option<IpNumber>,
}

struct Partial {
    key: Key,
    since: Timestamp,
    /// From the fragment at offset 0.
    protocol: IpNumber,
    /// By offset, without overlap.
    pieces: Vec<Piece>,
    fragments: usize,
    /// Known once the last fragment has come.
    length: Option<usize>,
    /// Of the payload.
    held: usize,
    /// Overhead included.
    bytes: usize,
}

struct Piece {
    offset: usize,
    bytes: Box<[u8]>,
}

impl Piece {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }
}

/// What a fragment brought.
enum Added {
    Everything,
    Some,
    Nothing,
    /// It denies what is known of the datagram's end.
    Contradiction,
    /// It is one more than a datagram may have.
    TooMany,
}

impl Fragments {
    pub(super) fn new(limits: WireLimits) -> Fragments {
        Fragments {
            limits,
            index: WireMap::default(),
            partial: BTreeMap::new(),
            begun: 0,
            bytes: 0,
        }
    }

    /// Takes a whole fragment in. Gives the datagram's protocol and payload when nothing is missing any more.
    pub(super) fn push(
        &mut self,
        vantage: Vantage,
        packet: &IpPacket<'_>,
        fragment: Fragment,
        time: Timestamp,
        counters: &mut WireCounters,
    ) -> Option<(IpNumber, Vec<u8>)> {
        self.expire(time, counters);
        let end = fragment.offset.saturating_add(packet.payload.len());
        let uneven = fragment.more && !packet.payload.len().is_multiple_of(8);
        if packet.payload.is_empty() || end > MAX_DATAGRAM || uneven {
            counters.fragments_malformed += 1;
            return None;
        }
        let key = Key {
            vantage,
            source: packet.source,
            destination: packet.destination,
            id: fragment.id,
            protocol: (packet.version == Version::V4).then_some(packet.protocol),
        };
        let number = self.find_or_begin(key, packet.protocol, time);
        let whole = self.add(number, packet, fragment, counters);
        self.make_room(counters);
        whole
    }

    /// When the oldest datagram is to be given up.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.partial
            .first_key_value()
            .map(|(_, partial)| partial.since + self.limits.fragment_timeout)
    }

    /// Gives up datagrams that waited too long.
    pub(super) fn expire(&mut self, now: Timestamp, counters: &mut WireCounters) {
        while self.next_timeout().is_some_and(|timeout| timeout <= now) {
            self.remove_oldest();
            counters.reassembly_timed_out += 1;
        }
    }

    /// Gives up all datagrams: the input has ended.
    pub(super) fn clear(&mut self, counters: &mut WireCounters) {
        counters.reassembly_timed_out += self.partial.len() as u64;
        self.index.clear();
        self.partial.clear();
        self.bytes = 0;
    }

    fn find_or_begin(&mut self, key: Key, protocol: IpNumber, time: Timestamp) -> u64 {
        match self.index.entry(key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                self.begun += 1;
                entry.insert(self.begun);
                let partial = Partial {
                    key,
                    since: time,
                    protocol,
                    pieces: Vec::new(),
                    fragments: 0,
                    length: None,
                    held: 0,
                    bytes: OVERHEAD,
                };
                self.bytes += partial.bytes;
                self.partial.insert(self.begun, partial);
                self.begun
            }
        }
    }

    fn add(
        &mut self,
        number: u64,
        packet: &IpPacket<'_>,
        fragment: Fragment,
        counters: &mut WireCounters,
    ) -> Option<(IpNumber, Vec<u8>)> {
        let partial = self.partial.get_mut(&number)?;
        partial.fragments += 1;
        if fragment.offset == 0 {
            partial.protocol = packet.protocol;
        }
        self.bytes -= partial.bytes;
        let added = if partial.fragments > self.limits.fragments_per_datagram {
            Added::TooMany
        } else {
            partial.add(fragment, packet.payload)
        };
        self.bytes += partial.bytes;
        counters.fragments_overlapping += u64::from(matches!(added, Added::Some));
        let whole = partial.assemble();
        match added {
            Added::TooMany => counters.fragments_too_many += 1,
            Added::Contradiction => counters.fragments_malformed += 1,
            _ if whole.is_some() => counters.reassembled += 1,
            Added::Nothing => counters.fragments_repeated += 1,
            Added::Everything | Added::Some => counters.fragments_held += 1,
        }
        let refused = matches!(added, Added::TooMany | Added::Contradiction);
        if refused || whole.is_some() {
            self.remove(number);
        }
        whole.filter(|_| !refused)
    }

    fn make_room(&mut self, counters: &mut WireCounters) {
        while self.partial.len() > self.limits.fragment_datagrams
            || self.bytes > self.limits.fragment_bytes
        {
            self.remove_oldest();
            counters.reassembly_evicted += 1;
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((_, partial)) = self.partial.pop_first() {
            self.forget(&partial);
        }
    }

    fn remove(&mut self, number: u64) {
        if let Some(partial) = self.partial.remove(&number) {
            self.forget(&partial);
        }
    }

    fn forget(&mut self, partial: &Partial) {
        self.index.remove(&partial.key);
        self.bytes -= partial.bytes;
    }
}

impl Partial {
    fn add(&mut self, fragment: Fragment, payload: &[u8]) -> Added {
        let end = fragment.offset + payload.len();
        let known_end = self.pieces.last().map_or(0, Piece::end);
        match self.length {
            Some(length) if end > length || (!fragment.more && end != length) => {
                return Added::Contradiction;
            }
            None if !fragment.more && end < known_end => return Added::Contradiction,
            None if !fragment.more => self.length = Some(end),
            _ => {}
        }
        match self.fill(fragment.offset, payload) {
            0 => Added::Nothing,
            bytes if bytes == payload.len() => Added::Everything,
            _ => Added::Some,
        }
    }

    /// Puts those bytes in whose places are empty: what came first stays. Gives their number.
    fn fill(&mut self, mut offset: usize, mut payload: &[u8]) -> usize {
        let mut filled = 0;
        let mut index = self.pieces.partition_point(|piece| piece.end() <= offset);
        while !payload.is_empty() {
            let next = self
                .pieces
                .get(index)
                .map_or(usize::MAX, |piece| piece.offset);
            let (free, rest) = payload.split_at(next.saturating_sub(offset).min(payload.len()));
            if !free.is_empty() {
                self.pieces.insert(
                    index,
                    Piece {
                        offset,
                        bytes: free.into(),
                    },
                );
                self.bytes += free.len() + OVERHEAD;
                self.held += free.len();
                filled += free.len();
                index += 1;
            }
            offset += free.len();
            let taken = self
                .pieces
                .get(index)
                .map_or(0, |piece| piece.end().saturating_sub(offset))
                .min(rest.len());
            payload = rest.get(taken..).unwrap_or_default();
            offset += taken;
            index += 1;
        }
        filled
    }

    fn assemble(&self) -> Option<(IpNumber, Vec<u8>)> {
        let length = self.length?;
        if self.held != length {
            return None;
        }
        let mut whole = Vec::with_capacity(length);
        self.pieces
            .iter()
            .for_each(|piece| whole.extend_from_slice(&piece.bytes));
        Some((self.protocol, whole))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::ip::Extent;

    fn limits() -> WireLimits {
        WireLimits::default()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs_nanos(seconds, 0)
    }

    struct Bench {
        fragments: Fragments,
        counters: WireCounters,
    }

    impl Bench {
        fn new(limits: WireLimits) -> Bench {
            Bench {
                fragments: Fragments::new(limits),
                counters: WireCounters::default(),
            }
        }

        fn push(
            &mut self,
            id: u32,
            offset: usize,
            more: bool,
            payload: &[u8],
            time: Timestamp,
        ) -> Option<Vec<u8>> {
            let packet = IpPacket {
                source: Endpoint::v4([10, 0, 0, 1], 0),
                destination: Endpoint::v4([10, 0, 0, 2], 0),
                version: Version::V4,
                protocol: IpNumber::UDP,
                payload,
                extent: Extent::Whole,
                fragment: None,
            };
            let fragment = Fragment { id, offset, more };
            let whole = self.fragments.push(
                Vantage::default(),
                &packet,
                fragment,
                time,
                &mut self.counters,
            );
            let bytes: usize = self
                .fragments
                .partial
                .values()
                .map(|partial| partial.bytes)
                .sum();
            assert_eq!(bytes, self.fragments.bytes);
            assert_eq!(self.fragments.index.len(), self.fragments.partial.len());
            whole.map(|(_, bytes)| bytes)
        }
    }

    #[test]
    fn last_fragment_may_come_first() {
        let mut bench = Bench::new(limits());
        assert_eq!(bench.push(1, 8, false, b"end", at(0)), None);
        assert_eq!(
            bench.push(1, 0, true, b"01234567", at(0)),
            Some(b"01234567end".to_vec())
        );
        assert_eq!((bench.counters.reassembled, bench.fragments.bytes), (1, 0));
    }

    #[test]
    fn first_bytes_win_where_fragments_overlap() {
        let mut bench = Bench::new(limits());
        assert_eq!(bench.push(1, 8, true, b"AAAAAAAA", at(0)), None);
        assert_eq!(
            bench.push(1, 0, true, b"BBBBBBBBBBBBBBBBBBBBBBBB", at(0)),
            None
        );
        assert_eq!(
            bench.push(1, 24, false, b"C", at(0)),
            Some(b"BBBBBBBBAAAAAAAABBBBBBBBC".to_vec())
        );
        assert_eq!(bench.counters.fragments_overlapping, 1);
    }

    #[test]
    fn late_fragments_are_no_datagram() {
        let mut bench = Bench::new(limits());
        assert_eq!(bench.push(1, 0, true, b"01234567", at(0)), None);
        assert_eq!(bench.push(1, 8, false, b"end", at(30)), None);
        assert_eq!(bench.counters.reassembly_timed_out, 1);
    }

    #[test]
    fn a_second_end_is_a_contradiction() {
        let mut bench = Bench::new(limits());
        assert_eq!(bench.push(1, 16, false, b"end", at(0)), None);
        assert_eq!(bench.push(1, 8, false, b"end", at(0)), None);
        assert_eq!(bench.counters.fragments_malformed, 1);
        assert!(bench.fragments.partial.is_empty());
    }

    #[test]
    fn impossible_fragments_are_refused() {
        let mut bench = Bench::new(limits());
        bench.push(1, 0, true, b"uneven", at(0));
        bench.push(1, 0, true, b"", at(0));
        bench.push(1, 65_528, false, b"too far away", at(0));
        assert_eq!(bench.counters.fragments_malformed, 3);
        assert!(bench.fragments.partial.is_empty());
    }

    #[test]
    fn caps_hold_whatever_arrives() {
        let small = WireLimits {
            fragment_datagrams: 10,
            fragment_bytes: 2000,
            fragments_per_datagram: 4,
            fragment_timeout: Duration::from_secs(30),
            ..limits()
        };
        let mut bench = Bench::new(small);
        for n in 0..10_000u32 {
            bench.push(
                n % 37,
                (n as usize % 11) * 8,
                true,
                &[0; 24],
                at(i64::from(n) / 1000),
            );
            assert!(bench.fragments.bytes <= 2000 && bench.fragments.partial.len() <= 10);
        }
        let counters = &bench.counters;
        assert!(counters.reassembly_evicted > 0);
        let ends =
            counters.fragments_held + counters.fragments_repeated + counters.fragments_too_many;
        assert_eq!(ends, 10_000);
    }

    #[test]
    fn a_datagram_in_too_many_fragments_is_given_up() {
        let mut bench = Bench::new(WireLimits {
            fragments_per_datagram: 4,
            ..limits()
        });
        for n in 0..5 {
            bench.push(1, n * 8, true, &[0; 8], at(0));
        }
        assert_eq!(
            (
                bench.counters.fragments_held,
                bench.counters.fragments_too_many
            ),
            (4, 1)
        );
        assert!(bench.fragments.partial.is_empty());
    }

    proptest! {
        #[test]
        fn any_order_gives_the_original_or_nothing(
            data in prop::collection::vec(any::<u8>(), 1..2000),
            cuts in prop::collection::vec((0usize..250, 1usize..40), 0..30),
            shuffle in any::<u64>(),
            complete in any::<bool>(),
        ) {
            // Honest pieces of one datagram, overlapping and repeated at will.
            let mut pieces: Vec<(usize, usize)> = cuts
                .iter()
                .map(|(start, blocks)| (start * 8, start * 8 + blocks * 8))
                .filter(|(start, _)| *start < data.len())
                .collect();
            if complete {
                pieces.extend((0..data.len()).step_by(64).map(|start| (start, start + 64)));
            }
            let mut state = shuffle;
            for index in (1..pieces.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                pieces.swap(index, (state >> 33) as usize % (index + 1));
            }
            let mut bench = Bench::new(limits());
            let mut found = 0;
            for (start, end) in pieces {
                let more = end < data.len();
                if let Some(whole) = bench.push(1, start, more, &data[start..end.min(data.len())], at(0)) {
                    prop_assert_eq!(&whole, &data);
                    found += 1;
                }
            }
            prop_assert!(found > 0 || !complete);
        }

        #[test]
        fn hostile_fragments_never_panic(
            fragments in prop::collection::vec((0u32..3, 0usize..9000, any::<bool>(), 0usize..100, 0i64..90), 0..200),
        ) {
            let mut bench = Bench::new(WireLimits { fragment_bytes: 3000, ..limits() });
            for (id, block, more, length, second) in fragments {
                let payload = vec![0; length];
                if let Some(whole) = bench.push(id, block * 8, more, &payload, at(second)) {
                    prop_assert!(whole.len() <= MAX_DATAGRAM);
                }
                prop_assert!(bench.fragments.bytes <= 3000);
            }
        }
    }
}
