//! What can go wrong between a file or an interface and a packet.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no packet: what was attempted, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open capture {}: {source}", Shown(path))]
    Open { path: PathBuf, source: io::Error },

    /// The operating system failed; the rest of this file is given up.
    #[error("cannot read capture {} after byte {offset}: {source}", Shown(path))]
    Read {
        path: PathBuf,
        offset: u64,
        source: io::Error,
    },

    #[error("capture {} is empty", Shown(path))]
    Empty { path: PathBuf },

    #[error("{} is neither a pcap nor a pcapng capture: {found}", Subject(path))]
    Format { path: PathBuf, found: String },

    /// Frames of a link layer that nothing here can read; `dlt` as in <https://www.tcpdump.org/linktypes.html>.
    #[error(
        "capture {} holds frames of link type {dlt}, which is not supported",
        Shown(path)
    )]
    LinkType { path: PathBuf, dlt: u32 },

    /// `offset` counts bytes of the capture itself: of what a compressed file unpacks to.
    #[error("capture {} is damaged at byte {offset}: {reason}", Shown(path))]
    Damaged {
        path: PathBuf,
        offset: u64,
        reason: String,
    },

    #[error("standard input is named {times} times among the captures, and can be read once")]
    StandardInputTwice { times: usize },

    #[error("cannot capture on interface {interface}: {reason}")]
    Interface { interface: String, reason: String },

    /// `reason` is libpcap's message.
    #[error("cannot use packet filter \"{filter}\" on {interface}: {reason}")]
    Filter {
        interface: String,
        filter: String,
        reason: String,
    },

    #[error("cannot read key log {}: {source}", path.display())]
    KeyLog { path: PathBuf, source: io::Error },
}

/// A path for people: `-` is standard input. Behind "capture".
struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_standard_input(self.0) {
            f.write_str("from ")?;
        }
        Subject(self.0).fmt(f)
    }
}

/// The same where a sentence begins with it.
struct Subject<'a>(&'a Path);

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_standard_input(self.0) {
            f.write_str("standard input")
        } else {
            self.0.display().fmt(f)
        }
    }
}

pub(super) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}
