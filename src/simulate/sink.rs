//! Where frames go: a capture file, an interface, or nowhere.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Error;
use crate::base::Timestamp;

/// Takes Ethernet frames in order of time.
pub trait FrameSink {
    /// # Errors
    ///
    /// When nothing more can be taken.
    fn frame(&mut self, time: Timestamp, bytes: &[u8]) -> io::Result<()>;

    /// After the last frame.
    ///
    /// # Errors
    ///
    /// When frames that were taken cannot be kept.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Frames that were taken but could not be sent.
    fn unsent(&self) -> u64 {
        0
    }

    /// What to add to a frame's time for the time at which it was on the wire, nanoseconds.
    fn shift_ns(&self) -> i64 {
        0
    }
}

impl<S: FrameSink + ?Sized> FrameSink for Box<S> {
    fn frame(&mut self, time: Timestamp, bytes: &[u8]) -> io::Result<()> {
        (**self).frame(time, bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        (**self).finish()
    }

    fn unsent(&self) -> u64 {
        (**self).unsent()
    }

    fn shift_ns(&self) -> i64 {
        (**self).shift_ns()
    }
}

/// Keeps all frames: for tests.
impl FrameSink for Vec<(Timestamp, Vec<u8>)> {
    fn frame(&mut self, time: Timestamp, bytes: &[u8]) -> io::Result<()> {
        self.push((time, bytes.to_vec()));
        Ok(())
    }
}

/// A nanosecond pcap file of Ethernet frames, little-endian.
#[derive(Debug)]
pub struct PcapSink<W: Write> {
    out: W,
}

/// Magic number, version 2.4, snap length, link type (draft-ietf-opsawg-pcap section 4).
const NANOSECOND_MAGIC: u32 = 0xa1b2_3c4d;
const SNAP_LENGTH: u32 = 262_144;
const ETHERNET: u32 = 1;

impl PcapSink<BufWriter<Box<dyn Write>>> {
    /// A file behind a buffer of 1 MiB; `-` is standard output.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let open = || -> io::Result<Self> {
            let out: Box<dyn Write> = if path.as_os_str() == "-" {
                Box::new(io::stdout())
            } else {
                Box::new(File::create(path)?)
            };
            PcapSink::new(BufWriter::with_capacity(1 << 20, out))
        };
        open().map_err(|source| Error::File {
            path: path.into(),
            source,
        })
    }
}

impl<W: Write> PcapSink<W> {
    /// # Errors
    ///
    /// When the file header cannot be written.
    pub fn new(mut out: W) -> io::Result<PcapSink<W>> {
        let mut header = Vec::with_capacity(24);
        header.extend(NANOSECOND_MAGIC.to_le_bytes());
        header.extend([2, 0, 4, 0]);
        header.extend([0; 8]);
        header.extend(SNAP_LENGTH.to_le_bytes());
        header.extend(ETHERNET.to_le_bytes());
        out.write_all(&header)?;
        Ok(PcapSink { out })
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> FrameSink for PcapSink<W> {
    #[inline]
    fn frame(&mut self, time: Timestamp, bytes: &[u8]) -> io::Result<()> {
        let nanos = time.as_nanos();
        let length = (bytes.len() as u32).to_le_bytes();
        let mut header = [0; 16];
        header[..4].copy_from_slice(&(nanos.div_euclid(1_000_000_000) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&(nanos.rem_euclid(1_000_000_000) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&length);
        header[12..].copy_from_slice(&length);
        self.out.write_all(&header)?;
        self.out.write_all(bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Sends frames on an interface when they are due: the first at once, the others by the wall clock as far from it as the
/// scenario says.
pub struct InterfaceSink {
    capture: pcap::Capture<pcap::Active>,
    /// When a frame of time zero was due, and the first frame's time with it.
    start: Option<(Instant, Timestamp)>,
    shift_ns: i64,
    unsent: u64,
    failures_in_a_row: u32,
    latest: Duration,
}

/// An interface that refuses so many frames in a row is gone.
const MAX_FAILURES: u32 = 10_000;
/// Sleeping takes about this long at least: what is due sooner goes at once.
const SHORTEST_SLEEP: Duration = Duration::from_micros(150);

impl InterfaceSink {
    /// Needs CAP_NET_RAW.
    ///
    /// # Errors
    ///
    /// [`Error::Interface`] if the interface cannot be opened.
    pub fn open(name: &str) -> Result<InterfaceSink, Error> {
        let failed = |source| Error::Interface {
            name: name.into(),
            source,
        };
        let inactive = pcap::Capture::from_device(name).map_err(failed)?;
        // A handle that sends can also receive: it is given next to no room for that.
        let mut capture = inactive
            .snaplen(64)
            .buffer_size(1 << 16)
            .open()
            .map_err(failed)?;
        capture.filter("less 1", true).map_err(failed)?;
        Ok(InterfaceSink {
            capture,
            start: None,
            shift_ns: 0,
            unsent: 0,
            failures_in_a_row: 0,
            latest: Duration::ZERO,
        })
    }

    /// The most that a frame was behind its time.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    fn wait_until_due(&mut self, time: Timestamp) {
        let (began, first) = *self.start.get_or_insert_with(|| {
            let wall = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            self.shift_ns = i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX) - time.as_nanos();
            (Instant::now(), time)
        });
        let due = began + time.since(first);
        let now = Instant::now();
        if due > now + SHORTEST_SLEEP {
            thread::sleep(due - now);
        }
        self.latest = self
            .latest
            .max(Instant::now().saturating_duration_since(due));
    }
}

impl FrameSink for InterfaceSink {
    fn frame(&mut self, time: Timestamp, bytes: &[u8]) -> io::Result<()> {
        self.wait_until_due(time);
        if let Err(error) = self.capture.sendpacket(bytes) {
            self.unsent += 1;
            self.failures_in_a_row += 1;
            if self.failures_in_a_row > MAX_FAILURES {
                return Err(io::Error::other(error));
            }
        } else {
            self.failures_in_a_row = 0;
        }
        Ok(())
    }

    fn unsent(&self) -> u64 {
        self.unsent
    }

    fn shift_ns(&self) -> i64 {
        self.shift_ns
    }
}
