//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each with its length before and behind it.
//!
//! A damaged block whose two lengths agree is skipped alone. Where they do not, the next place is looked for where a
//! block of a known type has two lengths that do.

use super::file::{BELIEVABLE_GAP_SECS, Record, Trouble};
use super::interfaces::InterfaceNames;
use super::pcapng_block::{
    ENHANCED_PACKET, FRAME_BYTES, Frame, INTERFACE_DESCRIPTION, MAX_BLOCK_BYTES, PACKET,
    PACKET_HEADER_BYTES, SECTION_HEADER, SIMPLE_HEADER_BYTES, SIMPLE_PACKET, is_candidate, room,
    trailer, word,
};
use super::pcapng_interface::Interface;
use super::window::Window;
use crate::base::Timestamp;

/// Interfaces that one section may describe. Past these the description counts as damage.
const MAX_INTERFACES: usize = 65_536;

/// Reads the blocks of one file.
pub(super) struct PcapngReader {
    /// The section's byte order is big endian.
    swapped: bool,
    /// Of the section.
    interfaces: Vec<Interface>,
    /// Time of the last packet, for packets without one.
    last: Timestamp,
}

/// What a block turned out to be.
enum Block {
    Packet(Record),
    Other,
    /// No packet in it can be used, but its lengths are right.
    Bad(String),
    LinkType(u32),
}

/// The fields of an enhanced packet block.
struct PacketFields {
    interface: u32,
    ticks: u64,
    len: usize,
    original_len: u32,
}

impl PcapngReader {
    pub(super) fn knows(magic: &[u8; 4]) -> bool {
        u32::from_le_bytes(*magic) == SECTION_HEADER
    }

    /// Before its first section header.
    pub(super) fn new() -> PcapngReader {
        PcapngReader {
            swapped: false,
            interfaces: Vec::new(),
            last: Timestamp::from_nanos(0),
        }
    }

    #[inline]
    pub(super) fn advance(
        &mut self,
        window: &mut Window,
        names: &mut InterfaceNames,
    ) -> Result<Option<Record>, Trouble> {
        match self.usual_packet(window) {
            Some(record) => Ok(Some(record)),
            None => self.advance_slowly(window, names),
        }
    }

    /// The packet of the next block, if that is an enhanced packet block, all there, with nothing odd about it.
    #[inline]
    fn usual_packet(&mut self, window: &mut Window) -> Option<Record> {
        let bytes = window.bytes();
        let header = bytes.first_chunk::<PACKET_HEADER_BYTES>()?;
        if self.word(header, 0) != ENHANCED_PACKET {
            return None;
        }
        let total = self.word(header, 4) as usize;
        let block = bytes.get(..total)?;
        let fields = self.packet_fields(header, self.word(header, 8));
        if !total.is_multiple_of(4)
            || trailer(block, self.swapped) != Some(total)
            || fields.len > room(total)
        {
            return None;
        }
        let interface = self.interfaces.get_mut(fields.interface as usize)?;
        let time = interface.time(fields.ticks)?;
        if !interface.last.is_some_and(|last| near(last, time)) {
            return None;
        }
        let link = interface.link.ok()?;
        interface.last = Some(time);
        let number = interface.number;
        self.last = time;
        Some(Record {
            time,
            place: window.consume(total) + PACKET_HEADER_BYTES,
            len: fields.len as u32,
            original_len: fields.original_len,
            interface: number,
            link,
        })
    }

    #[cold]
    fn advance_slowly(
        &mut self,
        window: &mut Window,
        names: &mut InterfaceNames,
    ) -> Result<Option<Record>, Trouble> {
        loop {
            if !window.fill(1) {
                return Ok(None);
            }
            let frame = match self.whole_block(window) {
                Ok(frame) => frame,
                Err(reason) => return Err(self.resynchronise(window, reason)),
            };
            let total = frame.total;
            match self.read_block(window, frame, names) {
                Block::Packet(mut record) => {
                    record.place += window.consume(total);
                    return Ok(Some(record));
                }
                Block::Other => {
                    window.consume(total);
                }
                Block::Bad(reason) => {
                    let offset = window.offset();
                    window.consume(total);
                    let skipped = total as u64;
                    return Err(Trouble::Damage {
                        offset,
                        reason,
                        skipped,
                    });
                }
                Block::LinkType(dlt) => {
                    window.consume(total);
                    return Err(Trouble::LinkType(dlt));
                }
            }
        }
    }

    /// Has the next block in the window, whole.
    fn whole_block(&self, window: &mut Window) -> Result<Frame, String> {
        let ends = |window: &Window, of: &str| {
            let there = window.bytes().len();
            format!("the file ends inside a block: {there} {of} bytes are there")
        };
        if !window.fill(FRAME_BYTES) {
            return Err(ends(window, "of at least 12"));
        }
        let Some(frame) = Frame::of(window.bytes(), self.swapped) else {
            return Err("a section header has no byte order".to_owned());
        };
        let Frame { kind, total, .. } = frame;
        if !frame.is_possible(MAX_BLOCK_BYTES) {
            return Err(format!("a block of type {kind} claims {total} bytes"));
        }
        if !window.fill(total) {
            return Err(ends(window, &format!("of {total}")));
        }
        match frame.trailer(window.bytes()) {
            Some(again) if again == total => Ok(frame),
            again => Err(format!(
                "a block of type {kind} has {total} bytes by the length before it, {} by the one behind it",
                again.unwrap_or_default()
            )),
        }
    }

    fn read_block(
        &mut self,
        window: &mut Window,
        frame: Frame,
        names: &mut InterfaceNames,
    ) -> Block {
        let block = window.bytes().get(..frame.total).unwrap_or_default();
        match frame.kind {
            SECTION_HEADER => {
                self.swapped = frame.swapped;
                self.interfaces.clear();
                Block::Other
            }
            INTERFACE_DESCRIPTION => self.describe_interface(block, names),
            ENHANCED_PACKET | PACKET => self.odd_packet(window, frame.total),
            SIMPLE_PACKET => self.simple_packet(block),
            _ => Block::Other,
        }
    }

    fn describe_interface(&mut self, block: &[u8], names: &mut InterfaceNames) -> Block {
        if self.interfaces.len() >= MAX_INTERFACES {
            return Block::Bad(format!("more than {MAX_INTERFACES} interfaces"));
        }
        let body = block.get(8..block.len() - 4).unwrap_or_default();
        match Interface::parse(body, self.swapped, names) {
            Some(interface) => {
                self.interfaces.push(interface);
                Block::Other
            }
            None => Block::Bad("an interface description is too short".to_owned()),
        }
    }

    /// A packet block that the fast path did not take.
    fn odd_packet(&mut self, window: &mut Window, total: usize) -> Block {
        let Some((fields, _)) = self.packet_at(window.bytes(), 0) else {
            return Block::Bad("a packet block is too short".to_owned());
        };
        let id = fields.interface;
        if fields.len > room(total) {
            let (len, room) = (fields.len, room(total));
            return Block::Bad(format!(
                "a packet of {len} bytes in a block with room for {room}"
            ));
        }
        let Some(interface) = self.interfaces.get(id as usize) else {
            return Block::Bad(format!(
                "a packet of interface {id}, which is not described"
            ));
        };
        let link = match interface.link {
            Ok(link) => link,
            Err(dlt) => return Block::LinkType(dlt),
        };
        let (number, last) = (interface.number, interface.last);
        let Some(time) = interface.time(fields.ticks) else {
            return Block::Bad("a packet's time is beyond the year 2262".to_owned());
        };
        if last.is_some_and(|last| {
            !near(last, time) && self.next_agrees(window, total, id, last, time)
        }) {
            return Block::Bad(format!(
                "a packet claims the time {time}, days away from those before and after it"
            ));
        }
        if let Some(interface) = self.interfaces.get_mut(id as usize) {
            interface.last = Some(time);
        }
        self.last = time;
        Block::Packet(Record {
            time,
            place: PACKET_HEADER_BYTES,
            len: fields.len as u32,
            original_len: fields.original_len,
            interface: number,
            link,
        })
    }

    /// Whether the block after this one is a packet of the same interface whose time fits `last` and not `time`.
    fn next_agrees(
        &self,
        window: &mut Window,
        after: usize,
        interface: u32,
        last: Timestamp,
        time: Timestamp,
    ) -> bool {
        window.fill(after + PACKET_HEADER_BYTES);
        self.packet_at(window.bytes(), after)
            .is_some_and(|(fields, next)| {
                fields.interface == interface
                    && next.is_some_and(|next| near(last, next) && !near(time, next))
            })
    }

    /// The fields of the packet block at a place, and its time.
    fn packet_at(&self, bytes: &[u8], at: usize) -> Option<(PacketFields, Option<Timestamp>)> {
        let header = bytes.get(at..)?.first_chunk::<PACKET_HEADER_BYTES>()?;
        let id = self.word(header, 8);
        let id = match self.word(header, 0) {
            ENHANCED_PACKET => id,
            // Half of the word is a count of drops.
            PACKET if self.swapped => id >> 16,
            PACKET => id & 0xffff,
            _ => return None,
        };
        let fields = self.packet_fields(header, id);
        let interface = self.interfaces.get(id as usize);
        let time = interface.and_then(|interface| interface.time(fields.ticks));
        Some((fields, time))
    }

    /// A packet without time or interface: those of the packet before it, and the first.
    fn simple_packet(&mut self, block: &[u8]) -> Block {
        let (Some(interface), Some(header)) = (
            self.interfaces.first(),
            block.first_chunk::<SIMPLE_HEADER_BYTES>(),
        ) else {
            return Block::Bad("a simple packet where no interface is described".to_owned());
        };
        let link = match interface.link {
            Ok(link) => link,
            Err(dlt) => return Block::LinkType(dlt),
        };
        let original_len = self.word(header, 8);
        let room = block.len() - SIMPLE_HEADER_BYTES - 4;
        Block::Packet(Record {
            time: self.last,
            place: SIMPLE_HEADER_BYTES,
            len: original_len.min(interface.snaplen).min(room as u32),
            original_len,
            interface: interface.number,
            link,
        })
    }

    /// Gives up bytes until a block makes sense.
    fn resynchronise(&mut self, window: &mut Window, reason: String) -> Trouble {
        let offset = window.offset();
        window.consume(1);
        let mut found = false;
        while !found && window.fill(FRAME_BYTES) {
            found = is_candidate(window, self.swapped);
            if !found {
                window.consume(1);
            }
        }
        if !found {
            window.consume(FRAME_BYTES);
        }
        let skipped = window.offset() - offset;
        let outcome = if found {
            format!("{skipped} bytes skipped")
        } else {
            format!("nothing readable in the last {skipped} bytes")
        };
        Trouble::Damage {
            offset,
            reason: format!("{reason}; {outcome}"),
            skipped,
        }
    }

    #[inline]
    fn packet_fields(&self, header: &[u8; PACKET_HEADER_BYTES], interface: u32) -> PacketFields {
        let high = u64::from(self.word(header, 12));
        let low = u64::from(self.word(header, 16));
        PacketFields {
            interface,
            ticks: high << 32 | low,
            len: self.word(header, 20) as usize,
            original_len: self.word(header, 24),
        }
    }

    #[inline]
    fn word<const N: usize>(&self, header: &[u8; N], at: usize) -> u32 {
        word(header, at, self.swapped)
    }
}

#[inline]
fn near(one: Timestamp, other: Timestamp) -> bool {
    const NANOS: u64 = BELIEVABLE_GAP_SECS as u64 * 1_000_000_000;
    one.as_nanos().abs_diff(other.as_nanos()) <= NANOS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Error;
    use super::super::hand_made::{Pcapng, frame, frames_seen, read_bytes};
    use crate::wire::LinkType;

    fn ethernet(big: bool) -> Pcapng {
        Pcapng::new(big).interface(1, &[])
    }

    #[test]
    fn every_kind_of_packet_block_is_read_in_both_byte_orders() {
        for big in [false, true] {
            let file = Pcapng::new(big)
                .interface(1, &[(2, b"eth0"), (9, &[9])])
                .interface(113, &[(2, b"any")])
                .unknown(100)
                .enhanced(0, 1_700_000_000_000_000_007, b"first")
                .obsolete(1, 1_700_000_000_000_002, b"second")
                .unknown(3)
                .simple(b"third");
            let reading = read_bytes(&file.bytes());
            assert!(reading.errors.is_empty(), "{:?}", reading.errors);
            assert_eq!(reading.names, ["", "eth0", "any"]);
            let [first, second, third] = reading.packets.as_slice() else {
                panic!("{:?}", reading.packets)
            };
            assert_eq!((first.data.as_slice(), first.interface), (&b"first"[..], 1));
            assert_eq!(first.time.as_nanos(), 1_700_000_000_000_000_007);
            assert_eq!(
                (second.data.as_slice(), second.link),
                (&b"second"[..], LinkType::LinuxSll)
            );
            assert_eq!(second.time.as_nanos(), 1_700_000_000_000_002_000);
            assert_eq!(
                (third.data.as_slice(), third.time),
                (&b"third"[..], second.time)
            );
            assert_eq!((third.interface, third.original_len), (1, 5));
        }
    }

    #[test]
    fn each_section_has_its_own_byte_order_and_interfaces() {
        let file = Pcapng::new(false)
            .interface(1, &[(2, b"eth0")])
            .enhanced(0, 1_000_000, b"a")
            .section(true)
            .interface(101, &[(2, b"tun0"), (9, &[3])])
            .interface(1, &[(2, b"eth0")])
            .enhanced(0, 2000, b"b")
            .enhanced(1, 3_000_000, b"c");
        let reading = read_bytes(&file.bytes());
        assert!(reading.errors.is_empty(), "{:?}", reading.errors);
        let seen: Vec<_> = reading
            .packets
            .iter()
            .map(|seen| {
                (
                    seen.time.as_nanos() / 1_000_000_000,
                    seen.interface,
                    seen.link,
                )
            })
            .collect();
        let expected = [
            (1, 1, LinkType::Ethernet),
            (2, 2, LinkType::RawIp),
            (3, 1, LinkType::Ethernet),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn packets_of_an_unsupported_link_type_are_told_of_once_and_counted() {
        let file = ethernet(false)
            .interface(147, &[])
            .frames(0, 3)
            .enhanced(1, 1_500_000_000_000_000, b"usb")
            .enhanced(1, 1_500_000_000_000_000, b"usb")
            .frames(3, 6);
        let reading = read_bytes(&file.bytes());
        assert_eq!(reading.packets, frames_seen(0, 6));
        assert!(matches!(
            reading.errors[..],
            [Error::LinkType { dlt: 147, .. }]
        ));
        assert_eq!(reading.counters.unsupported_link, 2);
        assert_eq!(reading.counters.damages, 0);
    }

    #[test]
    fn a_file_cut_anywhere_gives_its_whole_packets() {
        let head = ethernet(true);
        let mut ends = vec![head.len() as usize];
        let mut file = head;
        for n in 0..12 {
            file = file.frames(n, n + 1);
            ends.push(file.len() as usize);
        }
        let bytes = file.bytes();
        for cut in ends[0]..bytes.len() {
            let reading = read_bytes(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(
                reading.packets,
                frames_seen(0, whole as u32),
                "cut at {cut}"
            );
            if ends[whole] == cut {
                assert!(reading.errors.is_empty());
                continue;
            }
            assert_eq!(reading.damage().0, ends[whole] as u64);
            assert_eq!(reading.counters.bytes_skipped, (cut - ends[whole]) as u64);
        }
        for cut in 0..ends[0] {
            assert!(read_bytes(&bytes[..cut]).packets.is_empty());
        }
    }

    /// Twenty frames, a block that is changed, twenty frames more: all but the changed one are read.
    fn with_change(at: usize, value: [u8; 4]) {
        let before = ethernet(false).frames(0, 20);
        let offset = before.len() as usize;
        let file = before.frames(20, 21);
        let changed_len = file.len() - offset as u64;
        let mut bytes = file.frames(21, 40).bytes();
        bytes[offset + at..offset + at + 4].copy_from_slice(&value);
        let reading = read_bytes(&bytes);
        let expected = [frames_seen(0, 20), frames_seen(21, 40)].concat();
        assert_eq!(reading.packets, expected, "{value:?} at {at}");
        assert_eq!(reading.damage().0, offset as u64);
        assert_eq!(reading.counters.bytes_skipped, changed_len);
    }

    #[test]
    fn a_damaged_block_costs_that_block_only() {
        let absurd = [0xff; 4];
        with_change(4, absurd);
        with_change(4, 64u32.to_le_bytes());
        with_change(4, 15u32.to_le_bytes());
        with_change(4, 8_000_000u32.to_le_bytes());
        with_change(8, 1u32.to_le_bytes());
        with_change(12, absurd);
        with_change(12, 0u32.to_le_bytes());
        with_change(20, 1000u32.to_le_bytes());
        with_change(28 + (frame(20).len().next_multiple_of(4)) + 16, absurd);
    }

    #[test]
    fn garbage_between_blocks_is_skipped() {
        for len in [1, 3, 4, 2000] {
            let before = ethernet(false).frames(0, 20);
            let offset = before.len();
            let garbage: Vec<u8> = (0..len)
                .map(|n: u32| (((n * n * 31) >> 3) | 0x80) as u8)
                .collect();
            let reading = read_bytes(&before.raw(&garbage).frames(20, 40).bytes());
            assert_eq!(reading.packets, frames_seen(0, 40));
            assert_eq!(reading.damage().0, offset);
            assert_eq!(reading.counters.bytes_skipped, u64::from(len));
        }
    }

    #[test]
    fn a_large_block_of_another_kind_is_skipped() {
        let file = ethernet(false).frames(0, 2).unknown(3 << 20).frames(2, 4);
        let reading = read_bytes(&file.bytes());
        assert_eq!(reading.packets, frames_seen(0, 4));
        assert!(reading.errors.is_empty());
    }

    #[test]
    fn interfaces_whose_clocks_disagree_are_both_believed() {
        let mut file = ethernet(false).interface(1, &[]);
        for n in 0..10 {
            file = file
                .enhanced(0, 1_500_000_000_000_000 + n, b"now")
                .enhanced(1, n, b"then");
        }
        let reading = read_bytes(&file.bytes());
        assert_eq!(reading.packets.len(), 20);
        assert!(reading.errors.is_empty());
    }

    proptest! {
        #[test]
        fn mutated_files_never_hang_or_panic(
            changes in prop::collection::vec((0usize..3000, any::<u8>()), 0..40),
            big: bool,
        ) {
            let mut bytes = ethernet(big)
                .frames(0, 10)
                .obsolete(0, 5, b"old")
                .simple(b"simple")
                .section(!big)
                .interface(113, &[(2, b"x"), (9, &[0x8a]), (14, &[1; 8])])
                .frames(10, 20)
                .bytes();
            for (at, value) in changes {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            read_bytes(&bytes);
        }

        #[test]
        fn arbitrary_blocks_never_hang_or_panic(
            blocks in prop::collection::vec((0u32..12, prop::collection::vec(any::<u8>(), 0..80), any::<bool>()), 0..40),
        ) {
            let mut file = ethernet(false);
            for (kind, body, honest) in blocks {
                let total = (body.len().next_multiple_of(4) + 12) as u32;
                let mut block = [kind.to_le_bytes(), total.to_le_bytes()].concat();
                block.extend_from_slice(&body);
                block.resize(total as usize - 4, 0);
                block.extend_from_slice(&(if honest { total } else { total + 4 }).to_le_bytes());
                file = file.raw(&block);
            }
            read_bytes(&file.bytes());
        }
    }
}
