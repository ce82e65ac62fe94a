//! Captures made by hand, for tests, and what a reader makes of them.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use super::compressed::Input;
use super::file::{CaptureFile, FileCounters};
use super::interfaces::InterfaceNames;
use super::{CaptureFiles, Error};
use crate::base::Timestamp;
use crate::wire::{LinkType, Packet};

/// A packet that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) time: Timestamp,
    pub(super) interface: u16,
    pub(super) link: LinkType,
    pub(super) data: Vec<u8>,
    pub(super) original_len: u32,
}

impl Seen {
    pub(super) fn of(packet: &Packet<'_>) -> Seen {
        Seen {
            time: packet.time,
            interface: packet.interface,
            link: packet.link,
            data: packet.data.to_vec(),
            original_len: packet.original_len,
        }
    }
}

/// Everything that a reader said.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) packets: Vec<Seen>,
    pub(super) errors: Vec<Error>,
    pub(super) counters: FileCounters,
    pub(super) names: Vec<String>,
}

impl Reading {
    /// Offset and reason of the only error, a damage.
    pub(super) fn damage(&self) -> (u64, &str) {
        match self.errors.as_slice() {
            [Error::Damaged { offset, reason, .. }] => (*offset, reason),
            other => panic!("one damage expected, not {other:?}"),
        }
    }
}

/// Reads one capture from memory through a small buffer, so that every packet is near an edge of it some time.
pub(super) fn read_bytes(bytes: &[u8]) -> Reading {
    let input = Input {
        reader: Box::new(Cursor::new(bytes.to_vec())),
        progress: Default::default(),
        packing: None,
    };
    let mut reading = Reading::default();
    let mut file = match CaptureFile::from_input(Path::new("memory"), input, 256) {
        Ok(file) => file,
        Err(error) => {
            reading.errors.push(error);
            return reading;
        }
    };
    let mut names = InterfaceNames::new();
    for step in 0.. {
        assert!(step < bytes.len() + 16, "the reader goes in circles");
        match file.advance(&mut names) {
            Ok(Some(record)) => reading.packets.push(Seen::of(&file.packet(record))),
            Ok(None) => break,
            Err(error) => reading.errors.push(error),
        }
    }
    reading.counters = file.counters;
    reading.names = names.all().to_vec();
    reading
}

/// Reads files as `replay` does.
pub(super) fn read_files(paths: &[PathBuf]) -> Reading {
    let mut reading = Reading::default();
    let mut files = match CaptureFiles::open(paths) {
        Ok(files) => files,
        Err(error) => {
            reading.errors.push(error);
            return reading;
        }
    };
    loop {
        match files.next_packet() {
            Ok(Some(packet)) => reading.packets.push(Seen::of(&packet)),
            Ok(None) => break,
            Err(error) => reading.errors.push(error),
        }
    }
    assert_eq!(files.next_packet().unwrap().map(|_| ()), None);
    assert_eq!(files.bytes_total(), Some(files.bytes_read()));
    reading.counters = files.counters();
    reading.names = files.interfaces().to_vec();
    reading
}

/// A frame that is like no other, 20 to 219 bytes.
pub(super) fn frame(n: u32) -> Vec<u8> {
    (0..20 + n * 37 % 200)
        .map(|at| (n * 31 + at * 7 + 128) as u8)
        .collect()
}

/// Writes words in one byte order.
struct Words {
    big: bool,
    bytes: Vec<u8>,
}

impl Words {
    fn word(&mut self, value: u32) {
        self.bytes.extend(if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
    }

    fn half(&mut self, value: u16) {
        self.bytes.extend(if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
    }
}

/// A pcap file.
pub(super) struct Pcap {
    words: Words,
    long_headers: bool,
}

impl Pcap {
    pub(super) fn new(magic: u32, big: bool, snaplen: u32, link: u32) -> Pcap {
        let mut words = Words {
            big,
            bytes: Vec::new(),
        };
        words.word(magic);
        words.half(2);
        words.half(4);
        for field in [0, 0, snaplen, link] {
            words.word(field);
        }
        Pcap {
            words,
            long_headers: magic == 0xa1b2_cd34,
        }
    }

    /// Microseconds, little endian, Ethernet.
    pub(super) fn usual() -> Pcap {
        Pcap::new(0xa1b2_c3d4, false, 65_535, 1)
    }

    pub(super) fn header(mut self, fields: [u32; 4]) -> Pcap {
        for field in fields {
            self.words.word(field);
        }
        if self.long_headers {
            self.words.word(0xdead_beef);
            self.words.word(0xdead_beef);
        }
        self
    }

    pub(super) fn record(self, secs: u32, fraction: u32, data: &[u8]) -> Pcap {
        let len = data.len() as u32;
        self.header([secs, fraction, len, len]).raw(data)
    }

    /// Frames `from..to`, a tenth of a second apart.
    pub(super) fn frames(mut self, from: u32, to: u32) -> Pcap {
        for n in from..to {
            self = self.record(1_500_000_000 + n / 10, n % 10 * 100_000, &frame(n));
        }
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Pcap {
        self.words.bytes.extend_from_slice(bytes);
        self
    }

    pub(super) fn len(&self) -> u64 {
        self.words.bytes.len() as u64
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.words.bytes
    }
}

/// A pcapng file.
pub(super) struct Pcapng {
    words: Words,
}

impl Pcapng {
    pub(super) fn new(big: bool) -> Pcapng {
        Pcapng {
            words: Words {
                big,
                bytes: Vec::new(),
            },
        }
        .section(big)
    }

    pub(super) fn section(mut self, big: bool) -> Pcapng {
        self.words.big = big;
        self.block(0x0a0d_0d0a, |words| {
            words.word(0x1a2b_3c4d);
            words.half(1);
            words.half(0);
            words.word(u32::MAX);
            words.word(u32::MAX);
        })
    }

    pub(super) fn interface(self, link: u16, options: &[(u16, &[u8])]) -> Pcapng {
        self.block(1, |words| {
            words.half(link);
            words.half(0);
            words.word(0);
            for (code, value) in options {
                words.half(*code);
                words.half(value.len() as u16);
                words.bytes.extend_from_slice(value);
                words.pad();
            }
            words.word(0);
        })
    }

    pub(super) fn enhanced(self, interface: u32, ticks: u64, data: &[u8]) -> Pcapng {
        self.block(6, |words| {
            words.word(interface);
            words.packet(ticks, data);
            // A comment, as Wireshark leaves it.
            words.half(1);
            words.half(5);
            words.bytes.extend_from_slice(b"hello");
            words.pad();
            words.word(0);
        })
    }

    pub(super) fn obsolete(self, interface: u16, ticks: u64, data: &[u8]) -> Pcapng {
        self.block(2, |words| {
            words.half(interface);
            words.half(0xffff);
            words.packet(ticks, data);
        })
    }

    pub(super) fn simple(self, data: &[u8]) -> Pcapng {
        self.block(3, |words| {
            words.word(data.len() as u32);
            words.bytes.extend_from_slice(data);
            words.pad();
        })
    }

    pub(super) fn unknown(self, len: usize) -> Pcapng {
        self.block(0x0bad_cafe, |words| {
            words.bytes.resize(words.bytes.len() + len, 0xee)
        })
    }

    /// Frames `from..to` of interface 0, a tenth of a second apart, in microseconds.
    pub(super) fn frames(mut self, from: u32, to: u32) -> Pcapng {
        for n in from..to {
            self = self.enhanced(0, 1_500_000_000_000_000 + u64::from(n) * 100_000, &frame(n));
        }
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Pcapng {
        self.words.bytes.extend_from_slice(bytes);
        self
    }

    pub(super) fn len(&self) -> u64 {
        self.words.bytes.len() as u64
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.words.bytes
    }

    fn block(mut self, kind: u32, body: impl FnOnce(&mut Words)) -> Pcapng {
        let mut inner = Words {
            big: self.words.big,
            bytes: Vec::new(),
        };
        body(&mut inner);
        inner.pad();
        let total = inner.bytes.len() as u32 + 12;
        self.words.word(kind);
        self.words.word(total);
        self.words.bytes.extend_from_slice(&inner.bytes);
        self.words.word(total);
        self
    }
}

impl Words {
    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }

    fn packet(&mut self, ticks: u64, data: &[u8]) {
        self.word((ticks >> 32) as u32);
        self.word(ticks as u32);
        self.word(data.len() as u32);
        self.word(data.len() as u32);
        self.bytes.extend_from_slice(data);
        self.pad();
    }
}

/// What [`Pcap::frames`] and [`Pcapng::frames`] hold.
pub(super) fn frames_seen(from: u32, to: u32) -> Vec<Seen> {
    (from..to)
        .map(|n| Seen {
            time: Timestamp::from_secs_nanos(1_500_000_000, i64::from(n) * 100_000_000),
            interface: 0,
            link: LinkType::Ethernet,
            original_len: frame(n).len() as u32,
            data: frame(n),
        })
        .collect()
}
