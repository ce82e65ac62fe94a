//! A TLS key-log file, followed as it grows.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

use super::error::Error;
use crate::wire::tls::{Line, LoggedSecret, MAX_LINE_BYTES, parse_line};

/// Read at a time.
const CHUNK: usize = 64 << 10;
/// At the beginning of a file its newest part is read, so much: what is older belongs to sessions that are over.
const NEWEST: u64 = 16 << 20;
/// So many bytes at the beginning tell whether a file is still the same: a comment, a label, and the random of a session.
const PRINT: usize = 512;

/// Follows a file through being extended, truncated, replaced, removed and made again.
#[derive(Debug)]
pub struct KeyLogFile {
    path: PathBuf,
    open: Option<Open>,
    counters: KeyLogCounters,
}

/// What was read of a key-log file. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLogCounters {
    /// Lines that hold a secret of use.
    pub secrets: u64,
    /// Comments, and secrets of no use: exporters, early data, RSA premasters.
    pub other_lines: u64,
    /// Lines that are none of a key log.
    pub malformed_lines: u64,
    /// Times that the file was found replaced or truncated.
    pub restarts: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    /// Up to where it was read.
    at: u64,
    /// How it begins, as far as it is known.
    print: Zeroizing<Vec<u8>>,
    /// A line whose end has not been written.
    line: Zeroizing<Vec<u8>>,
    /// The line is too long: skip to its end.
    skipping: bool,
}

impl KeyLogFile {
    /// The file need not exist yet.
    pub fn new(path: &Path) -> KeyLogFile {
        KeyLogFile {
            path: path.to_owned(),
            open: None,
            counters: KeyLogCounters::default(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn counters(&self) -> KeyLogCounters {
        self.counters
    }

    /// Whether others than owner and group may read it: then they can read the calls' signalling too.
    pub fn is_readable_by_others(&self) -> bool {
        let metadata = std::fs::metadata(&self.path);
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
    }

    /// Takes the secrets that were written since the last time. A file that is not there is none: no secrets.
    ///
    /// # Errors
    /// The file is there and cannot be read. It can be asked again.
    pub fn poll(&mut self, take: &mut impl FnMut(LoggedSecret)) -> Result<(), Error> {
        self.follow(take, false)
    }

    /// The same for a file that is complete: all of it, and its last line needs no end.
    ///
    /// # Errors
    /// The file is not there, or cannot be read.
    pub fn read_all(&mut self, take: &mut impl FnMut(LoggedSecret)) -> Result<(), Error> {
        self.follow(take, true)?;
        let Some(open) = &mut self.open else {
            return Err(self.error(ErrorKind::NotFound.into()));
        };
        let line = std::mem::take(&mut open.line);
        self.counters.read(&line, take);
        Ok(())
    }

    fn follow(&mut self, take: &mut impl FnMut(LoggedSecret), whole: bool) -> Result<(), Error> {
        let there = match std::fs::metadata(&self.path) {
            // A pipe would be waited for.
            Ok(metadata) if !metadata.is_file() => {
                return Err(self.error(ErrorKind::InvalidInput.into()));
            }
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(self.error(error)),
        };
        if let Some(open) = &mut self.open {
            // Also what was written to a file that has been moved away since.
            let read = open.read(&mut self.counters, take);
            read.map_err(|error| self.error(error))?;
        }
        let is_same = |open: &Open| there.as_ref().is_none_or(|there| open.is(there));
        if self.open.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        if self.open.take().is_some() {
            self.counters.restarts += 1;
        }
        if there.is_some() {
            let mut open = Open::new(&self.path, whole).map_err(|error| self.error(error))?;
            let read = open.read(&mut self.counters, take);
            read.map_err(|error| self.error(error))?;
            self.open = Some(open);
        }
        Ok(())
    }

    fn error(&self, source: std::io::Error) -> Error {
        Error::KeyLog {
            path: self.path.clone(),
            source,
        }
    }
}

impl Open {
    fn new(path: &Path, whole: bool) -> std::io::Result<Open> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let skipped = match whole {
            true => 0,
            false => metadata.len().saturating_sub(NEWEST),
        };
        file.seek(SeekFrom::Start(skipped))?;
        Ok(Open {
            file,
            identity: identity(&metadata),
            at: skipped,
            print: Zeroizing::default(),
            // It never grows: growing would leave a copy behind.
            line: Zeroizing::new(Vec::with_capacity(MAX_LINE_BYTES)),
            // It begins within a line.
            skipping: skipped > 0,
        })
    }

    /// Whether `there` is this file, and nothing of it was taken back.
    fn is(&self, there: &Metadata) -> bool {
        identity(there) == self.identity && there.len() >= self.at && self.begins_as_before()
    }

    /// Truncated and written again past where it was read, it has the same length and another beginning.
    fn begins_as_before(&self) -> bool {
        let mut start = Zeroizing::new(vec![0; self.print.len()]);
        let read = self.file.read_at(&mut start, 0);
        read.is_ok_and(|read| read == self.print.len()) && start == self.print
    }

    fn read(
        &mut self,
        counters: &mut KeyLogCounters,
        take: &mut impl FnMut(LoggedSecret),
    ) -> std::io::Result<()> {
        if !self.begins_as_before() {
            return Ok(());
        }
        let mut chunk = Zeroizing::new(vec![0; CHUNK]);
        loop {
            let length = self.file.read(&mut chunk)?;
            let bytes = chunk.get(..length).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            self.at += length as u64;
            self.split(bytes, counters, take);
        }
        if self.print.len() < PRINT && self.at > self.print.len() as u64 {
            let mut print = Zeroizing::new(vec![0; PRINT.min(self.at as usize)]);
            let read = self.file.read_at(&mut print, 0)?;
            print.truncate(read);
            self.print = print;
        }
        Ok(())
    }

    fn split(
        &mut self,
        bytes: &[u8],
        counters: &mut KeyLogCounters,
        take: &mut impl FnMut(LoggedSecret),
    ) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if !self.skipping && self.line.len() + part.len() > MAX_LINE_BYTES {
                counters.malformed_lines += 1;
                self.skipping = true;
            }
            if !self.skipping {
                self.line.extend_from_slice(part);
            }
            if ends {
                if !self.skipping {
                    counters.read(&self.line, take);
                }
                self.line.zeroize();
                self.skipping = false;
            }
        }
    }
}

impl KeyLogCounters {
    fn read(&mut self, line: &[u8], take: &mut impl FnMut(LoggedSecret)) {
        match parse_line(line) {
            Line::Secret(secret) => {
                self.secrets += 1;
                take(secret);
            }
            Line::Other => self.other_lines += 1,
            Line::Malformed => self.malformed_lines += 1,
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
#[path = "keylog_tests.rs"]
mod tests;
