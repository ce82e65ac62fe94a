//! One capture file: from its first bytes to its packets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Error;
use super::compressed::{self, Input};
use super::interfaces::InterfaceNames;
use super::pcap_format::PcapReader;
use super::pcapng_format::PcapngReader;
use super::window::Window;
use crate::base::Timestamp;
use crate::wire::{LinkType, Packet};

/// Longest frame that a capture file may hold, in bytes: what libpcap and Wireshark accept.
pub(super) const MAX_FRAME_BYTES: u32 = 256 * 1024;

/// Two packets in a row that are further apart than this need a third to be believed.
pub(super) const BELIEVABLE_GAP_SECS: u32 = 86_400;

/// What was found, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounters {
    /// Packets handed out.
    pub packets: u64,
    /// Packets that are older than one handed out before them from the same file.
    pub out_of_order: u64,
    /// Places where a file was damaged.
    pub damages: u64,
    /// Bytes of captures that could not be read as packets.
    pub bytes_skipped: u64,
    /// Packets of a link type that nothing here can read.
    pub unsupported_link: u64,
}

impl FileCounters {
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("packets", self.packets),
            ("out_of_order", self.out_of_order),
            ("damages", self.damages),
            ("bytes_skipped", self.bytes_skipped),
            ("unsupported_link", self.unsupported_link),
        ]
    }

    pub(super) fn add(&mut self, more: &FileCounters) {
        self.packets += more.packets;
        self.out_of_order += more.out_of_order;
        self.damages += more.damages;
        self.bytes_skipped += more.bytes_skipped;
        self.unsupported_link += more.unsupported_link;
    }
}

/// A packet in a window: its bytes stay where they are until the next one is looked for.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) time: Timestamp,
    pub(super) place: usize,
    pub(super) len: u32,
    pub(super) original_len: u32,
    pub(super) interface: u16,
    pub(super) link: LinkType,
}

/// Why there is no packet at this place; the next may follow.
pub(super) enum Trouble {
    Damage {
        /// Bytes of the capture before the damage.
        offset: u64,
        reason: String,
        skipped: u64,
    },
    LinkType(u32),
}

enum Format {
    Pcap(PcapReader),
    Pcapng(PcapngReader),
}

pub(super) struct CaptureFile {
    path: PathBuf,
    format: Format,
    window: Window,
    packing: Option<&'static str>,
    progress: Arc<AtomicU64>,
    /// The latest time handed out.
    latest: Timestamp,
    damage_told: bool,
    link_told: bool,
    pub(super) counters: FileCounters,
}

impl CaptureFile {
    /// Opens a file, `-` being standard input, and reads its header.
    pub(super) fn open(path: &Path, buffer_bytes: usize) -> Result<CaptureFile, Error> {
        CaptureFile::from_input(path, compressed::open(path)?, buffer_bytes)
    }

    pub(super) fn from_input(
        path: &Path,
        input: Input,
        buffer_bytes: usize,
    ) -> Result<CaptureFile, Error> {
        let mut window = Window::new(input.reader, buffer_bytes);
        let format = recognise(path, &mut window, input.packing)?;
        Ok(CaptureFile {
            path: path.to_owned(),
            format,
            window,
            packing: input.packing,
            progress: input.progress,
            latest: Timestamp::MIN,
            damage_told: false,
            link_told: false,
            counters: FileCounters::default(),
        })
    }

    /// The next packet as stored. `Err` is told once for each kind of trouble and does not end the file.
    #[inline]
    pub(super) fn advance(&mut self, names: &mut InterfaceNames) -> Result<Option<Record>, Error> {
        loop {
            let found = match &mut self.format {
                Format::Pcap(reader) => reader.advance(&mut self.window),
                Format::Pcapng(reader) => reader.advance(&mut self.window, names),
            };
            match found {
                Ok(Some(record)) => {
                    self.count(record.time);
                    return Ok(Some(record));
                }
                Ok(None) => return self.end(),
                Err(trouble) => self.tell(trouble)?,
            }
        }
    }

    /// The packet that [`CaptureFile::advance`] found last.
    #[inline]
    pub(super) fn packet(&self, record: Record) -> Packet<'_> {
        Packet {
            time: record.time,
            interface: record.interface,
            link: record.link,
            data: self.window.at(record.place, record.len as usize),
            original_len: record.original_len,
        }
    }

    /// Bytes read from the file itself so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    #[inline]
    fn count(&mut self, time: Timestamp) {
        self.counters.packets += 1;
        if time < self.latest {
            self.counters.out_of_order += 1;
        } else {
            self.latest = time;
        }
    }

    #[cold]
    fn end(&mut self) -> Result<Option<Record>, Error> {
        match read_failure(&self.path, &mut self.window, self.packing) {
            Some(error) => self.damaged(error).map(|()| None),
            None => Ok(None),
        }
    }

    #[cold]
    fn tell(&mut self, trouble: Trouble) -> Result<(), Error> {
        match trouble {
            Trouble::Damage {
                offset,
                reason,
                skipped,
            } => {
                self.counters.bytes_skipped += skipped;
                // A packet that a failing read cut in two is no damage of its own.
                let error = read_failure(&self.path, &mut self.window, self.packing);
                self.damaged(error.unwrap_or_else(|| Error::Damaged {
                    path: self.path.clone(),
                    offset,
                    reason,
                }))
            }
            Trouble::LinkType(dlt) => {
                self.counters.unsupported_link += 1;
                if std::mem::replace(&mut self.link_told, true) {
                    return Ok(());
                }
                let path = self.path.clone();
                Err(Error::LinkType { path, dlt })
            }
        }
    }

    /// Tells of the first damage; the others are only counted. A system that fails is always told of.
    fn damaged(&mut self, error: Error) -> Result<(), Error> {
        self.counters.damages += 1;
        let told = std::mem::replace(&mut self.damage_told, true);
        if told && !matches!(error, Error::Read { .. }) {
            return Ok(());
        }
        Err(error)
    }
}

fn recognise(
    path: &Path,
    window: &mut Window,
    packing: Option<&'static str>,
) -> Result<Format, Error> {
    window.fill(4);
    let start = window.bytes();
    if start.is_empty() {
        let path = path.to_owned();
        let failure = read_failure(&path, window, packing);
        return Err(failure.unwrap_or(Error::Empty { path }));
    }
    if let Some(magic) = start.first_chunk() {
        if PcapngReader::knows(magic) {
            return Ok(Format::Pcapng(PcapngReader::new()));
        }
        if PcapReader::knows(magic) {
            return open_pcap(path, window, packing);
        }
    }
    Err(Error::Format {
        path: path.to_owned(),
        found: describe(start),
    })
}

fn open_pcap(
    path: &Path,
    window: &mut Window,
    packing: Option<&'static str>,
) -> Result<Format, Error> {
    let path = path.to_owned();
    window.fill(PcapReader::FILE_HEADER_BYTES);
    let Some(header) = window.bytes().first_chunk() else {
        let offset = window.bytes().len() as u64;
        let reason = "the file ends inside its header".to_owned();
        let failure = read_failure(&path, window, packing);
        return Err(failure.unwrap_or(Error::Damaged {
            path,
            offset,
            reason,
        }));
    };
    let reader = PcapReader::new(header).map_err(|dlt| Error::LinkType { path, dlt })?;
    window.consume(PcapReader::FILE_HEADER_BYTES);
    Ok(Format::Pcap(reader))
}

/// What stopped the reading early, if anything did: a packed stream that is broken, or the system.
fn read_failure(path: &Path, window: &mut Window, packing: Option<&'static str>) -> Option<Error> {
    let source = window.take_failure()?;
    let path = path.to_owned();
    let offset = window.offset() + window.bytes().len() as u64;
    Some(match packing {
        Some(packing) if source.raw_os_error().is_none() => Error::Damaged {
            path,
            offset,
            reason: format!("its {packing} compression is broken: {source}"),
        },
        _ => Error::Read {
            path,
            offset,
            source,
        },
    })
}

/// The first bytes of a file that is no capture, and what it may be instead.
fn describe(start: &[u8]) -> String {
    let start = start.get(..4).unwrap_or(start);
    let guess = match start {
        b"snoo" => " (a snoop capture: convert it with editcap)",
        b"BZh9" => " (bzip2: unpack it first)",
        [0xfd, b'7', b'z', b'X'] => " (xz: unpack it first)",
        [0x04, 0x22, 0x4d, 0x18] => " (lz4: unpack it first)",
        b"PK\x03\x04" => " (a zip archive: unpack it first)",
        _ => "",
    };
    format!("it begins with \"{}\"{guess}", start.escape_ascii())
}
