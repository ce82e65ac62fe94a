//! The pcap format (draft-ietf-opsawg-pcap): a file header, then records.
//!
//! A record has no mark of its own, so a damaged one is noticed by what it says: lengths and times that cannot be. Then
//! the next place is looked for where two records in a row make sense.

use super::file::{BELIEVABLE_GAP_SECS, MAX_FRAME_BYTES, Record, Trouble};
use super::window::Window;
use crate::base::Timestamp;
use crate::wire::LinkType;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Alexey Kuznetzov's libpcap patch: microseconds, and eight more bytes in each record header.
const MODIFIED: u32 = 0xa1b2_cd34;

/// The part of a record header that all variants have.
const HEADER_BYTES: usize = 16;

/// Longest frame that a network can have carried, in bytes; segmentation offload makes some beyond 64 KiB.
const MAX_ORIGINAL_BYTES: u32 = 1 << 24;

/// Reads the records of one file.
pub(super) struct PcapReader {
    link: LinkType,
    /// The file's byte order is big endian.
    swapped: bool,
    header_bytes: usize,
    fractions_per_sec: u32,
    nanos_per_fraction: u32,
    /// Longest frame that the file's snapshot length allows, in bytes.
    snaplen: u32,
    /// Seconds of the last record that was believed.
    last_secs: Option<u32>,
}

#[derive(Clone, Copy)]
struct Header {
    secs: u32,
    fraction: u32,
    len: u32,
    original_len: u32,
}

/// What a record header is worth, seen with what surrounds it.
enum Verdict {
    Believed,
    /// Its length is right, its time is not.
    Misdated,
    Broken(String),
}

impl PcapReader {
    pub(super) const FILE_HEADER_BYTES: usize = 24;

    pub(super) fn knows(magic: &[u8; 4]) -> bool {
        variant(magic).is_some()
    }

    /// From the file header, whose magic is known. `Err` has a link type that is not supported.
    pub(super) fn new(header: &[u8; Self::FILE_HEADER_BYTES]) -> Result<PcapReader, u32> {
        let [magic, _version, _zone, _accuracy, snaplen, network] = words(header);
        let (kind, swapped) = variant(&magic).unwrap_or((MICROSECONDS, false));
        let nanos = kind == NANOSECONDS;
        // The upper bits tell about frame check sequences, which the IP length keeps out.
        let dlt = word(network, swapped) & 0x03ff_ffff;
        let snaplen = word(snaplen, swapped);
        Ok(PcapReader {
            link: LinkType::from_dlt(dlt).ok_or(dlt)?,
            swapped,
            header_bytes: if kind == MODIFIED { 24 } else { HEADER_BYTES },
            fractions_per_sec: if nanos { 1_000_000_000 } else { 1_000_000 },
            nanos_per_fraction: if nanos { 1 } else { 1000 },
            snaplen: match snaplen {
                0 => MAX_FRAME_BYTES,
                _ => snaplen.min(MAX_FRAME_BYTES),
            },
            last_secs: None,
        })
    }

    #[inline]
    pub(super) fn advance(&mut self, window: &mut Window) -> Result<Option<Record>, Trouble> {
        match self.usual_record(window) {
            Some(record) => Ok(Some(record)),
            None => self.advance_slowly(window),
        }
    }

    /// The next record, if it is all there and nothing about it is odd.
    #[inline]
    fn usual_record(&mut self, window: &mut Window) -> Option<Record> {
        let bytes = window.bytes();
        let header = self.header(bytes.first_chunk()?);
        let usual = self.is_orderly(&header) && self.is_near_last(header.secs);
        if !usual || bytes.len() < self.record_bytes(&header) {
            return None;
        }
        Some(self.take(window, &header))
    }

    #[cold]
    fn advance_slowly(&mut self, window: &mut Window) -> Result<Option<Record>, Trouble> {
        if !window.fill(1) {
            return Ok(None);
        }
        if !window.fill(self.header_bytes) {
            let there = window.bytes().len();
            let reason = format!("the file ends inside a record header, {there} bytes into it");
            return Err(self.resynchronise(window, reason));
        }
        let Some(header) = window.bytes().first_chunk().map(|bytes| self.header(bytes)) else {
            return Ok(None);
        };
        match self.judge(window, &header) {
            Verdict::Believed => Ok(Some(self.take(window, &header))),
            Verdict::Broken(reason) => Err(self.resynchronise(window, reason)),
            Verdict::Misdated => Err(self.skip_misdated(window, &header)),
        }
    }

    fn judge(&self, window: &mut Window, header: &Header) -> Verdict {
        if let Some(reason) = self.absurdity(header) {
            return Verdict::Broken(reason);
        }
        let whole = self.record_bytes(header);
        if !window.fill(whole) {
            let there = window.bytes().len().saturating_sub(self.header_bytes);
            return Verdict::Broken(format!(
                "the file ends inside a packet: {there} of {} bytes are there",
                header.len
            ));
        }
        let orderly = self.is_orderly(header);
        if orderly && self.last_secs.is_none_or(|last| near(last, header.secs)) {
            return Verdict::Believed;
        }
        // Odd, but programs write such records; the record after it tells.
        window.fill(whole + HEADER_BYTES);
        match self.follower(window, whole) {
            Follower::End => Verdict::Believed,
            Follower::Possible(next) if near(header.secs, next.secs) => Verdict::Believed,
            Follower::Possible(next)
                if self.last_secs.is_some_and(|last| near(last, next.secs)) =>
            {
                Verdict::Misdated
            }
            Follower::Possible(_) if orderly => Verdict::Believed,
            _ => Verdict::Broken(self.oddity(header)),
        }
    }

    fn follower(&self, window: &Window, after: usize) -> Follower {
        match window.bytes().get(after..) {
            None | Some([]) => Follower::End,
            Some(rest) => match rest.first_chunk().map(|bytes| self.header(bytes)) {
                Some(next) if self.absurdity(&next).is_none() => Follower::Possible(next),
                _ => Follower::Impossible,
            },
        }
    }

    /// Why no program can have meant this header.
    fn absurdity(&self, header: &Header) -> Option<String> {
        let Header {
            fraction,
            len,
            original_len,
            ..
        } = *header;
        if len > MAX_FRAME_BYTES {
            Some(format!("a record claims a packet of {len} bytes"))
        } else if len == 0 && original_len == 0 {
            Some("a record claims a packet of no bytes".to_owned())
        } else if fraction >= self.fractions_per_sec.saturating_mul(2) {
            Some(format!("a record claims {fraction} fractions of a second"))
        } else {
            None
        }
    }

    /// What is odd about a header that is not absurd.
    fn oddity(&self, header: &Header) -> String {
        let Header {
            fraction,
            len,
            original_len,
            ..
        } = *header;
        if len > self.snaplen {
            let snaplen = self.snaplen;
            format!("a record claims a packet of {len} bytes where {snaplen} are the most")
        } else if len > original_len || original_len > MAX_ORIGINAL_BYTES {
            format!("a record claims {len} captured bytes of a packet of {original_len}")
        } else if fraction >= self.fractions_per_sec {
            format!("a record claims {fraction} fractions of a second")
        } else {
            let time = self.time(header);
            format!("a record claims the time {time}, days away from the one before it")
        }
    }

    #[inline]
    fn is_orderly(&self, header: &Header) -> bool {
        header.len <= self.snaplen
            && header.len <= header.original_len
            && header.len > 0
            && header.original_len <= MAX_ORIGINAL_BYTES
            && header.fraction < self.fractions_per_sec
    }

    #[inline]
    fn is_near_last(&self, secs: u32) -> bool {
        self.last_secs.is_some_and(|last| near(last, secs))
    }

    #[inline]
    fn record_bytes(&self, header: &Header) -> usize {
        self.header_bytes + header.len as usize
    }

    #[inline]
    fn take(&mut self, window: &mut Window, header: &Header) -> Record {
        self.last_secs = Some(header.secs);
        Record {
            time: self.time(header),
            place: window.consume(self.record_bytes(header)) + self.header_bytes,
            len: header.len,
            original_len: header.original_len,
            interface: 0,
            link: self.link,
        }
    }

    #[inline]
    fn time(&self, header: &Header) -> Timestamp {
        let nanos = i64::from(header.fraction) * i64::from(self.nanos_per_fraction);
        Timestamp::from_secs_nanos(i64::from(header.secs), nanos)
    }

    #[inline]
    fn header(&self, bytes: &[u8; HEADER_BYTES]) -> Header {
        let [secs, fraction, len, original_len] = words(bytes);
        Header {
            secs: word(secs, self.swapped),
            fraction: word(fraction, self.swapped),
            len: word(len, self.swapped),
            original_len: word(original_len, self.swapped),
        }
    }

    /// Gives up one record whose time fits neither the one before nor the one after it: one such packet would end
    /// every call.
    fn skip_misdated(&mut self, window: &mut Window, header: &Header) -> Trouble {
        let offset = window.offset();
        window.consume(self.record_bytes(header));
        Trouble::Damage {
            offset,
            reason: format!(
                "a record claims the time {}, days away from those before and after it",
                self.time(header)
            ),
            skipped: window.offset() - offset,
        }
    }

    /// Gives up bytes until two records in a row make sense.
    fn resynchronise(&mut self, window: &mut Window, reason: String) -> Trouble {
        let offset = window.offset();
        window.consume(1);
        let found = self.find_record(window);
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

    fn find_record(&self, window: &mut Window) -> bool {
        loop {
            if !window.fill(HEADER_BYTES) {
                window.consume(HEADER_BYTES);
                return false;
            }
            let bytes = window.bytes();
            let candidate = bytes.windows(HEADER_BYTES).position(|bytes| {
                bytes.first_chunk().is_some_and(|bytes| {
                    let header = self.header(bytes);
                    self.last_secs.is_none_or(|last| near(last, header.secs))
                        && self.is_orderly(&header)
                })
            });
            let Some(place) = candidate else {
                window.consume(bytes.len() - (HEADER_BYTES - 1));
                continue;
            };
            window.consume(place);
            if self.is_believable_here(window) {
                return true;
            }
            window.consume(1);
        }
    }

    /// Whether the orderly header at the front of the window is followed by another of its time, or ends the file.
    fn is_believable_here(&self, window: &mut Window) -> bool {
        let Some(header) = window.bytes().first_chunk().map(|bytes| self.header(bytes)) else {
            return false;
        };
        let whole = self.record_bytes(&header);
        window.fill(whole + HEADER_BYTES);
        window.bytes().len() >= whole
            && match self.follower(window, whole) {
                Follower::End => true,
                Follower::Possible(next) => near(header.secs, next.secs),
                Follower::Impossible => false,
            }
    }
}

/// What stands where the next record should begin.
enum Follower {
    Possible(Header),
    Impossible,
    End,
}

/// Whether two times in seconds are a believable gap apart, in either direction.
#[inline]
fn near(one: u32, other: u32) -> bool {
    one.abs_diff(other) <= BELIEVABLE_GAP_SECS
}

/// The kind of file and whether it is big endian.
fn variant(magic: &[u8; 4]) -> Option<(u32, bool)> {
    let known = [MICROSECONDS, NANOSECONDS, MODIFIED];
    let (little, big) = (u32::from_le_bytes(*magic), u32::from_be_bytes(*magic));
    if known.contains(&little) {
        Some((little, false))
    } else {
        known.contains(&big).then_some((big, true))
    }
}

#[inline]
fn word(bytes: [u8; 4], swapped: bool) -> u32 {
    let little = u32::from_le_bytes(bytes);
    if swapped { little.swap_bytes() } else { little }
}

/// A header as words of four bytes.
#[inline]
fn words<const BYTES: usize, const WORDS: usize>(bytes: &[u8; BYTES]) -> [[u8; 4]; WORDS] {
    const { assert!(BYTES == WORDS * 4) };
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|n| words.get(n).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hand_made::{Pcap, frame, frames_seen, read_bytes};
    use super::*;

    #[test]
    fn every_variant_reads_the_same() {
        for big in [false, true] {
            for (magic, fraction) in [(MICROSECONDS, 5), (NANOSECONDS, 5000), (MODIFIED, 5)] {
                let file = Pcap::new(magic, big, 0, 113)
                    .record(1_700_000_000, fraction, b"one")
                    .record(1_700_000_001, fraction, b"three");
                let reading = read_bytes(&file.bytes());
                assert!(reading.errors.is_empty(), "{:?}", reading.errors);
                let [one, three] = reading.packets.as_slice() else {
                    panic!("{magic:x}: {:?}", reading.packets)
                };
                assert_eq!(one.data, b"one");
                assert_eq!(one.link, LinkType::LinuxSll);
                assert_eq!(one.time.as_nanos(), 1_700_000_000_000_005_000);
                assert_eq!(
                    (three.data.as_slice(), three.original_len),
                    (&b"three"[..], 5)
                );
            }
        }
    }

    #[test]
    fn frame_check_bits_are_no_part_of_the_link_type() {
        let file = Pcap::new(NANOSECONDS, true, 0, 0x1400_0001).frames(0, 3);
        assert_eq!(read_bytes(&file.bytes()).packets.len(), 3);
    }

    #[test]
    fn a_frame_cut_by_the_snapshot_length_keeps_its_length_on_the_wire() {
        let file = Pcap::usual().header([1, 0, 3, 1500]).raw(b"abc");
        let reading = read_bytes(&file.bytes());
        assert_eq!(reading.packets[0].original_len, 1500);
        assert_eq!(reading.packets[0].data, b"abc");
    }

    #[test]
    fn a_header_alone_is_a_capture_without_packets() {
        let reading = read_bytes(&Pcap::usual().bytes());
        assert!(reading.packets.is_empty() && reading.errors.is_empty());
    }

    #[test]
    fn a_file_cut_anywhere_gives_its_whole_packets() {
        let bytes = Pcap::usual().frames(0, 12).bytes();
        let mut ends = vec![24];
        for n in 0..12 {
            ends.push(ends[n as usize] + 16 + frame(n).len());
        }
        for cut in 24..bytes.len() {
            let reading = read_bytes(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(
                reading.packets,
                frames_seen(0, whole as u32),
                "cut at {cut}"
            );
            if ends[whole] == cut {
                assert!(reading.errors.is_empty(), "cut at {cut}");
                continue;
            }
            assert_eq!(reading.damage().0, ends[whole] as u64);
            assert!(
                reading.damage().1.contains("ends inside"),
                "{:?}",
                reading.damage()
            );
            assert_eq!(reading.counters.bytes_skipped, (cut - ends[whole]) as u64);
        }
    }

    /// Twenty frames, one header that is wrong, twenty frames more.
    fn with_wrong_header(fields: [u32; 4]) {
        let before = Pcap::usual().frames(0, 20);
        let offset = before.len();
        let bytes = before.header(fields).raw(&frame(20)).frames(21, 40).bytes();
        let reading = read_bytes(&bytes);
        let expected = [frames_seen(0, 20), frames_seen(21, 40)].concat();
        assert_eq!(reading.packets, expected, "{fields:?}");
        assert_eq!(reading.damage().0, offset, "{fields:?}");
        assert_eq!(reading.counters.damages, 1);
        assert_eq!(reading.counters.bytes_skipped, 16 + frame(20).len() as u64);
    }

    #[test]
    fn after_a_damaged_header_the_next_record_is_found() {
        let (secs, len) = (1_500_000_002, frame(20).len() as u32);
        with_wrong_header([secs, 0, 0xffff_ff00, len]);
        with_wrong_header([secs, 0, len + 65_536, len]);
        with_wrong_header([secs, 0, len + 5, len]);
        with_wrong_header([secs, 0, 0, 0]);
        with_wrong_header([secs, 3_000_000, len, len]);
        with_wrong_header([secs, 0, 250_000, 250_000]);
        with_wrong_header([secs, 0, 50_000, 50_000]);
    }

    #[test]
    fn a_time_that_fits_neither_neighbour_costs_that_packet_only() {
        let len = frame(20).len() as u32;
        with_wrong_header([3_900_000_000, 0, len, len]);
        with_wrong_header([5, 0, len, len]);
    }

    #[test]
    fn garbage_between_records_is_skipped() {
        let before = Pcap::usual().frames(0, 20);
        let offset = before.len();
        let garbage: Vec<u8> = (0..5000u32).map(|n| ((n * n * 31) >> 3) as u8).collect();
        let reading = read_bytes(&before.raw(&garbage).frames(20, 40).bytes());
        assert_eq!(reading.packets, frames_seen(0, 40));
        assert_eq!(reading.damage().0, offset);
        assert_eq!(reading.counters.bytes_skipped, 5000);
    }

    #[test]
    fn a_tail_of_zeros_is_damage_and_no_packets() {
        let before = Pcap::usual().frames(0, 20);
        let offset = before.len();
        let reading = read_bytes(&before.raw(&[0; 4096]).bytes());
        assert_eq!(reading.packets, frames_seen(0, 20));
        assert_eq!(reading.damage().0, offset);
        assert_eq!(reading.counters.bytes_skipped, 4096);
    }

    #[test]
    fn damage_is_told_once_and_counted_each_time() {
        let file = Pcap::usual()
            .frames(0, 5)
            .raw(&[0xff; 100])
            .frames(5, 10)
            .raw(&[0xff; 200])
            .frames(10, 15);
        let reading = read_bytes(&file.bytes());
        assert_eq!(reading.packets, frames_seen(0, 15));
        assert_eq!(reading.errors.len(), 1);
        assert_eq!(
            (reading.counters.damages, reading.counters.bytes_skipped),
            (2, 300)
        );
    }

    #[test]
    fn a_capture_that_was_paused_for_a_month_is_whole() {
        let month = 30 * 86_400;
        let file = Pcap::usual()
            .record(1_000_000_000, 0, b"a")
            .record(1_000_000_000 + month, 0, b"b")
            .record(1_000_000_000 + 2 * month, 0, b"c")
            .record(1_000_000_000 + 2 * month - 1, 0, b"d");
        let reading = read_bytes(&file.bytes());
        assert_eq!(reading.packets.len(), 4);
        assert!(reading.errors.is_empty());
        assert_eq!(reading.counters.out_of_order, 1);
    }

    #[test]
    fn odd_headers_that_the_next_record_bears_out_are_believed() {
        let file = Pcap::new(MICROSECONDS, false, 4, 1)
            .record(7, 0, b"longer than the snapshot length")
            .header([7, 0, 5, 0])
            .raw(b"nolen")
            .header([7, 1_000_000, 4, 4])
            .raw(b"full")
            .record(7, 3, b"last");
        let reading = read_bytes(&file.bytes());
        assert!(reading.errors.is_empty(), "{:?}", reading.errors);
        assert_eq!(reading.packets.len(), 4);
        assert_eq!(reading.packets[2].time.as_nanos(), 8_000_000_000);
    }

    #[test]
    fn packets_that_go_back_in_time_are_counted_and_stay_where_they_are() {
        let file = Pcap::usual()
            .record(10, 0, b"a")
            .record(9, 0, b"b")
            .record(9, 500, b"c")
            .record(10, 0, b"d");
        let reading = read_bytes(&file.bytes());
        let order: Vec<u8> = reading.packets.iter().map(|seen| seen.data[0]).collect();
        assert_eq!(order, b"abcd");
        assert_eq!(reading.counters.out_of_order, 2);
    }

    proptest! {
        #[test]
        fn mutated_files_never_hang_or_panic(
            changes in prop::collection::vec((24usize..3000, any::<u8>()), 0..40),
            big: bool,
        ) {
            let mut bytes = Pcap::new(MICROSECONDS, big, 65_535, 1).frames(0, 30).bytes();
            for (at, value) in changes {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            read_bytes(&bytes);
        }

        #[test]
        fn arbitrary_bytes_never_hang_or_panic(tail in prop::collection::vec(any::<u8>(), 0..3000), kind in 0..3) {
            let magic = [MICROSECONDS, NANOSECONDS, MODIFIED][kind as usize];
            read_bytes(&Pcap::new(magic, false, 0, 1).raw(&tail).bytes());
            read_bytes(&tail);
        }
    }
}
