//! The audit as JSON Lines in a file that somebody else may move away or cut short at any time.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::Error;
use crate::api::AuditRecord;
use crate::catalog::AuditEntry;

pub struct LinesFile {
    path: PathBuf,
    /// With device and number, by which it is known whether the path still leads to it.
    open: Option<(File, (u64, u64))>,
}

impl LinesFile {
    pub fn new(path: PathBuf) -> LinesFile {
        LinesFile { path, open: None }
    }

    /// Adds a line for each record, in one write, and has them on the disk.
    pub fn tell<'e>(&mut self, entries: impl Iterator<Item = &'e AuditEntry>) -> Result<(), Error> {
        let mut lines = Vec::new();
        for entry in entries {
            // Writing to memory does not fail, and a record has only string keys.
            let _ = serde_json::to_writer(&mut lines, &AuditRecord::whole(entry.clone()));
            lines.push(b'\n');
        }
        let written = self.write(&lines);
        if written.is_err() {
            self.open = None;
        }
        written.map_err(|reason| Error::File {
            path: self.path.clone(),
            reason,
        })
    }

    fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        let file = self.file()?;
        file.write_all(lines)?;
        file.sync_data()
    }

    /// The file that is at the path now: a rotated one is left behind.
    fn file(&mut self) -> std::io::Result<&mut File> {
        let there = std::fs::metadata(&self.path).ok();
        let there = there.map(|found| (found.dev(), found.ino()));
        let same = self
            .open
            .as_ref()
            .is_some_and(|(_, known)| Some(*known) == there);
        if !same {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o640)
                .open(&self.path)?;
            let found = file.metadata()?;
            self.open = Some((file, (found.dev(), found.ino())));
        }
        let open = self.open.as_mut().map(|(file, _)| file);
        open.ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}
