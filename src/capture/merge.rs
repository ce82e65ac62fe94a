//! Several capture files as one, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use super::compressed;
use super::error::is_standard_input;
use super::file::{CaptureFile, FileCounters, Record};
use super::interfaces::InterfaceNames;
use super::window::BUFFER_BYTES;
use crate::base::Timestamp;
use crate::wire::Packet;

/// Files that stay open from the start. Of more than these, each is opened when its first packet is due, so that a day
/// of rotated captures costs neither a buffer nor a descriptor each.
const OPEN_FROM_START: usize = 8;

/// Buffer of each file when there are several, in bytes.
const SHARED_BUFFER_BYTES: usize = BUFFER_BYTES / 4;

/// One or more capture files, merged by time.
///
/// Each file is handed out in its own order, which a capture of several queues may break; among files the packet with
/// the earlier time is first, and of equal times that of the file named earlier.
pub struct CaptureFiles {
    sources: Vec<Source>,
    /// The file that packets are taken from, as long as it has the earliest.
    current: Option<usize>,
    /// The others, by the time of their next packet. One entry a file.
    waiting: BinaryHeap<Reverse<(Timestamp, usize)>>,
    names: InterfaceNames,
    bytes_total: Option<u64>,
}

struct Source {
    path: PathBuf,
    stage: Stage,
    /// Found, and not yet due.
    head: Option<Record>,
    /// Found together with what would have been the head.
    error: Option<Error>,
    /// What the file came to when it was closed.
    counters: FileCounters,
    bytes_read: u64,
}

enum Stage {
    /// To be opened when its first packet is due.
    Unopened,
    Open(Box<CaptureFile>),
    Over,
}

impl CaptureFiles {
    /// Opens the files and checks that they are captures; `-` is standard input.
    ///
    /// Fails when any of them cannot be opened, is empty, is no capture, has a link type that cannot be read, or is
    /// broken in its first bytes; with [`Error::Damaged`] only in that last case.
    pub fn open(paths: &[PathBuf]) -> Result<CaptureFiles, Error> {
        let times = paths.iter().filter(|path| is_standard_input(path)).count();
        if times > 1 {
            return Err(Error::StandardInputTwice { times });
        }
        let mut files = CaptureFiles {
            sources: Vec::with_capacity(paths.len()),
            current: None,
            waiting: BinaryHeap::with_capacity(paths.len()),
            names: InterfaceNames::new(),
            bytes_total: paths.iter().map(|path| compressed::size(path)).sum(),
        };
        for (index, path) in paths.iter().enumerate() {
            let (source, first) = match paths.len() {
                1 => (Source::open(path, BUFFER_BYTES)?, Timestamp::MIN),
                count => files.prepare(path, count)?,
            };
            files.sources.push(source);
            files.waiting.push(Reverse((first, index)));
        }
        Ok(files)
    }

    /// A capture file that was read already, whatever `path` it has.
    ///
    /// # Errors
    /// As [`CaptureFiles::open`].
    pub fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<CaptureFiles, Error> {
        let total = bytes.len() as u64;
        let input = compressed::Input {
            reader: Box::new(std::io::Cursor::new(bytes)),
            progress: Arc::default(),
            packing: None,
        };
        let file = CaptureFile::from_input(path, input, BUFFER_BYTES)?;
        let source = Source {
            stage: Stage::Open(Box::new(file)),
            ..Source::unopened(path)
        };
        Ok(CaptureFiles {
            sources: vec![source],
            current: None,
            waiting: std::iter::once(Reverse((Timestamp::MIN, 0))).collect(),
            names: InterfaceNames::new(),
            bytes_total: Some(total),
        })
    }

    /// The next packet, its bytes true until the next call. `None`: all files are over, and stay so.
    ///
    /// No error ends the reading: the next call goes on with what is left, of this file or the others. For each file
    /// [`Error::Damaged`] is told once and tells of its first damage (others show in [`CaptureFiles::counters`]),
    /// [`Error::LinkType`] once; after [`Error::Read`] and [`Error::Open`] that file is over.
    #[inline]
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, Error> {
        let Some((index, record)) = self.next_record()? else {
            return Ok(None);
        };
        Ok(match self.sources.get(index) {
            Some(Source {
                stage: Stage::Open(file),
                ..
            }) => Some(file.packet(record)),
            _ => None,
        })
    }

    /// Names of interfaces, by [`Packet::interface`]. The first is empty and stands for all that have no name; others
    /// are added as files speak of them.
    pub fn interfaces(&self) -> &[String] {
        self.names.all()
    }

    /// Bytes read from the files themselves, packed as they are.
    pub fn bytes_read(&self) -> u64 {
        self.sources.iter().map(Source::bytes_read).sum()
    }

    /// Size of all files together in bytes. `None`: one of them is a pipe.
    pub fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }

    /// What was found so far, in all files together.
    pub fn counters(&self) -> FileCounters {
        let mut all = FileCounters::default();
        for source in &self.sources {
            all.add(&source.counters());
        }
        all
    }

    /// Packets that were older than one handed out before them from the same file.
    pub fn out_of_order(&self) -> u64 {
        self.counters().out_of_order
    }

    /// Bytes of captures that could not be read as packets.
    pub fn bytes_skipped(&self) -> u64 {
        self.counters().bytes_skipped
    }

    /// One of several files, and the time of its first packet.
    fn prepare(&mut self, path: &Path, count: usize) -> Result<(Source, Timestamp), Error> {
        let mut source = Source::open(path, SHARED_BUFFER_BYTES)?;
        if count <= OPEN_FROM_START || is_standard_input(path) {
            let first = source.find_head(&mut self.names);
            return Ok((source, first));
        }
        // What is found here, names and damage included, is found again when the file is due.
        let first = source.find_head(&mut InterfaceNames::new());
        Ok((Source::unopened(path), first))
    }

    #[inline]
    fn next_record(&mut self) -> Result<Option<(usize, Record)>, Error> {
        loop {
            let Some(index) = self.current else {
                let Some(Reverse((_, index))) = self.waiting.pop() else {
                    return Ok(None);
                };
                self.current = Some(index);
                continue;
            };
            let Some(source) = self.sources.get_mut(index) else {
                return Ok(None);
            };
            let Some(record) = source.next_record(&mut self.names)? else {
                source.close();
                self.current = None;
                continue;
            };
            let next = self.waiting.peek();
            if next.is_none_or(|Reverse(next)| (record.time, index) <= *next) {
                return Ok(Some((index, record)));
            }
            source.head = Some(record);
            self.waiting.push(Reverse((record.time, index)));
            self.current = None;
        }
    }
}

impl Source {
    fn unopened(path: &Path) -> Source {
        Source {
            path: path.to_owned(),
            stage: Stage::Unopened,
            head: None,
            error: None,
            counters: FileCounters::default(),
            bytes_read: 0,
        }
    }

    fn open(path: &Path, buffer_bytes: usize) -> Result<Source, Error> {
        let file = CaptureFile::open(path, buffer_bytes)?;
        Ok(Source {
            stage: Stage::Open(Box::new(file)),
            ..Source::unopened(path)
        })
    }

    /// Looks for the first packet and says its time. A file that has none, or trouble instead, is due at once.
    fn find_head(&mut self, names: &mut InterfaceNames) -> Timestamp {
        match self.next_record(names) {
            Ok(head) => {
                self.head = head;
                head.map_or(Timestamp::MIN, |head| head.time)
            }
            Err(error) => {
                self.error = Some(error);
                Timestamp::MIN
            }
        }
    }

    #[inline]
    fn next_record(&mut self, names: &mut InterfaceNames) -> Result<Option<Record>, Error> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match &mut self.stage {
            Stage::Open(file) => file.advance(names),
            Stage::Unopened => self.open_now(names),
            Stage::Over => Ok(None),
        }
    }

    #[cold]
    fn open_now(&mut self, names: &mut InterfaceNames) -> Result<Option<Record>, Error> {
        self.stage = Stage::Over;
        let mut file = Box::new(CaptureFile::open(&self.path, SHARED_BUFFER_BYTES)?);
        let first = file.advance(names);
        self.stage = Stage::Open(file);
        first
    }

    /// Keeps what the file came to, and gives back its buffer and descriptor.
    fn close(&mut self) {
        self.counters = self.counters();
        self.bytes_read = self.bytes_read();
        self.stage = Stage::Over;
    }

    fn counters(&self) -> FileCounters {
        match &self.stage {
            Stage::Open(file) => file.counters,
            _ => self.counters,
        }
    }

    fn bytes_read(&self) -> u64 {
        match &self.stage {
            Stage::Open(file) => file.bytes_read(),
            _ => self.bytes_read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::hand_made::{Pcap, Pcapng, frames_seen, read_files};
    use super::*;

    /// Files of one-byte packets at these seconds, the byte being the file's number.
    fn write_files(folder: &Path, times: &[&[u32]]) -> Vec<PathBuf> {
        let write = |(number, times): (usize, &&[u32])| {
            let file = times.iter().fold(Pcap::usual(), |file, secs| {
                file.record(*secs, 0, &[number as u8])
            });
            let path = folder.join(format!("{number}.pcap"));
            fs::write(&path, file.bytes()).unwrap();
            path
        };
        times.iter().enumerate().map(write).collect()
    }

    /// Seconds and file of each packet.
    fn order(paths: &[PathBuf]) -> Vec<(i64, u8)> {
        let reading = read_files(paths);
        assert!(reading.errors.is_empty(), "{:?}", reading.errors);
        let place = |seen: &super::super::hand_made::Seen| {
            (seen.time.as_nanos() / 1_000_000_000, seen.data[0])
        };
        reading.packets.iter().map(place).collect()
    }

    #[test]
    fn packets_of_several_files_come_in_the_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let paths = write_files(folder.path(), &[&[2, 4, 4, 9], &[1, 4, 5], &[], &[4, 6]]);
        let expected = [
            (1, 1),
            (2, 0),
            (4, 0),
            (4, 0),
            (4, 1),
            (4, 3),
            (5, 1),
            (6, 3),
            (9, 0),
        ];
        assert_eq!(order(&paths), expected);
    }

    #[test]
    fn a_file_out_of_order_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let paths = write_files(folder.path(), &[&[5, 3, 8], &[4, 6]]);
        assert_eq!(order(&paths), [(4, 1), (5, 0), (3, 0), (6, 1), (8, 0)]);
        let mut files = CaptureFiles::open(&paths).unwrap();
        while files.next_packet().unwrap().is_some() {}
        assert_eq!(files.out_of_order(), 1);
    }

    #[test]
    fn many_rotated_files_are_opened_when_they_are_due() {
        let folder = tempfile::tempdir().unwrap();
        let times: Vec<Vec<u32>> = (0..50u32).map(|n| vec![n * 2, n * 2 + 3]).collect();
        let times: Vec<&[u32]> = times.iter().rev().map(Vec::as_slice).collect();
        let paths = write_files(folder.path(), &times);
        let files = CaptureFiles::open(&paths).unwrap();
        let open = |source: &&Source| matches!(source.stage, Stage::Open(_));
        assert_eq!(files.sources.iter().filter(open).count(), 0);
        let order = order(&paths);
        assert_eq!(order.len(), 100);
        assert!(order.is_sorted_by_key(|(secs, _)| *secs));
    }

    #[test]
    fn a_file_that_vanishes_before_it_is_due_is_told_of_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let times: Vec<[u32; 1]> = (0..20).map(|n| [n]).collect();
        let times: Vec<&[u32]> = times.iter().map(|time| &time[..]).collect();
        let paths = write_files(folder.path(), &times);
        let mut files = CaptureFiles::open(&paths).unwrap();
        fs::remove_file(&paths[7]).unwrap();
        let (mut packets, mut errors) = (0, Vec::new());
        loop {
            match files.next_packet() {
                Ok(Some(_)) => packets += 1,
                Ok(None) => break,
                Err(error) => errors.push(error),
            }
        }
        assert_eq!(packets, 19);
        assert!(matches!(&errors[..], [Error::Open { path, .. }] if *path == paths[7]));
    }

    #[test]
    fn a_damaged_file_among_others_costs_only_what_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a"), folder.path().join("b")];
        let damaged = Pcap::usual()
            .raw(&[0xff; 50])
            .frames(0, 5)
            .raw(&[0xff; 50])
            .frames(5, 9);
        fs::write(&paths[0], damaged.bytes()).unwrap();
        let whole = Pcapng::new(false).interface(1, &[]).frames(0, 20);
        fs::write(&paths[1], whole.bytes()).unwrap();
        let reading = read_files(&paths);
        assert_eq!(reading.packets.len(), 29);
        assert_eq!(reading.damage().0, 24);
        assert_eq!(
            (reading.counters.damages, reading.counters.bytes_skipped),
            (2, 100)
        );
        assert!(reading.packets.is_sorted_by_key(|seen| seen.time));
    }

    #[test]
    fn interface_names_are_shared_by_files() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c"].map(|name| folder.path().join(name));
        let named = |names: [&str; 2], secs: u64| {
            let [one, other] = names.map(str::as_bytes);
            Pcapng::new(false)
                .interface(1, &[(2, one)])
                .interface(1, &[(2, other)])
                .enhanced(0, secs * 1_000_000, b"x")
                .enhanced(1, secs * 1_000_000, b"y")
        };
        fs::write(&paths[0], named(["eth0", "eth1"], 1).bytes()).unwrap();
        fs::write(&paths[1], named(["eth1", "eth2"], 2).bytes()).unwrap();
        fs::write(&paths[2], Pcap::usual().record(3, 0, b"z").bytes()).unwrap();
        let reading = read_files(&paths);
        assert_eq!(reading.names, ["", "eth0", "eth1", "eth2"]);
        let interfaces: Vec<u16> = reading.packets.iter().map(|seen| seen.interface).collect();
        assert_eq!(interfaces, [1, 2, 2, 3, 0]);
    }

    #[test]
    fn what_is_no_capture_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            let error = CaptureFiles::open(&[path]).err().unwrap().to_string();
            assert!(error.contains(name), "{error}");
            error
        };
        assert!(refused("empty.pcap", b"").contains("is empty"));
        assert!(refused("note.txt", b"hello").contains("begins with \"hell\""));
        assert!(refused("two", b"\xd4\xc3").contains("begins with"));
        assert!(refused("a.zip", b"PK\x03\x04....").contains("unpack"));
        assert!(refused("short.pcap", &Pcap::usual().bytes()[..20]).contains("inside its header"));
        let usb = Pcap::new(0xa1b2_c3d4, false, 0, 220).bytes();
        assert!(refused("usb.pcap", &usb).contains("link type 220"));
        assert!(refused("nothing.pcap.gz", &gzip(b"")).contains("is empty"));
        let missing = CaptureFiles::open(&[folder.path().join("missing")])
            .err()
            .unwrap();
        assert!(matches!(missing, Error::Open { .. }));
        let folder = CaptureFiles::open(&[folder.path().to_owned()])
            .err()
            .unwrap();
        assert!(folder.to_string().contains("cannot open"), "{folder}");
        let twice = CaptureFiles::open(&["-".into(), "-".into()]).err().unwrap();
        assert!(matches!(twice, Error::StandardInputTwice { times: 2 }));
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn packed_files_are_known_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = Pcap::usual().frames(0, 200).bytes();
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        let zstd = |bytes| zstd::encode_all(bytes, 1).unwrap();
        let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0none";
        let packings = [
            gzip(&bytes),
            [gzip(half), gzip(rest)].concat(),
            zstd(&bytes[..]),
            [zstd(half), zstd(rest)].concat(),
            [skippable.to_vec(), zstd(&bytes[..])].concat(),
        ];
        for packed in packings {
            let path = folder.path().join("capture");
            fs::write(&path, packed).unwrap();
            let reading = read_files(&[path]);
            assert!(reading.errors.is_empty(), "{:?}", reading.errors);
            assert_eq!(reading.packets, frames_seen(0, 200));
        }
    }

    #[test]
    fn a_packed_file_that_breaks_off_gives_what_was_packed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture");
        let bytes = Pcap::usual().frames(0, 2000).bytes();
        let mut corrupt = gzip(&bytes);
        let at = corrupt.len() - 6;
        corrupt[at] ^= 0xff;
        let gzip = gzip(&bytes);
        let zstd = zstd::encode_all(&bytes[..], 1).unwrap();
        for (packed, word) in [
            (&gzip[..gzip.len() * 3 / 4], "gzip"),
            (&corrupt[..], "gzip"),
            (&zstd[..zstd.len() - 5], "zstd"),
        ] {
            fs::write(&path, packed).unwrap();
            let reading = read_files(std::slice::from_ref(&path));
            let count = reading.packets.len() as u32;
            assert_eq!(reading.packets, frames_seen(0, count));
            assert!(reading.damage().1.contains(word), "{:?}", reading.damage());
            assert_eq!(reading.counters.damages, 1);
            assert!(count > 0 || word == "zstd", "nothing of {word}");
        }
    }

    #[test]
    fn no_files_are_no_packets() {
        assert!(read_files(&[]).packets.is_empty());
    }
}
