//! Files that become recordings.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{Error, Kind, Layout, RAW_HEADER_LEN, RecordingName, raw_header};

/// Where a file is that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At its path.
    Own,
    /// Somewhere: it was moved, or its file system is not mounted there any more.
    Other,
    /// It has no name any more, and never will.
    Gone,
}

/// The audio file of a call that lasts, or the packets beside it.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    path: PathBuf,
    pub name: RecordingName,
    /// `AudioPart`, `AudioHeld` or `RawPart`.
    kind: Kind,
    /// Bytes of a file of packets, up to the end of its last whole one.
    len: u64,
    /// The packets that could not be decoded, beside the audio; they go where it goes.
    raw: Option<Box<PartFile>>,
    /// What is committed with it as its signalling.
    pub signalling: Option<Vec<u8>>,
}

impl PartFile {
    /// Creates the file; its folder too. A file left by a run that was broken off is begun anew.
    pub fn create(layout: &Layout, name: RecordingName, kind: Kind) -> Result<PartFile, Error> {
        let path = layout.path(&name, kind);
        let open = || {
            File::options()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(&path)
        };
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                layout.make_folder(&name)?;
                open()
            }
            other => other,
        };
        let file = file.map_err(Error::io("create", &path))?;
        let created = file.metadata().map_err(Error::io("examine", &path))?;
        hold(&file);
        Ok(PartFile {
            file,
            identity: identity(&created),
            path,
            name,
            kind,
            len: 0,
            raw: None,
            signalling: None,
        })
    }

    /// Opens what an earlier run left.
    pub fn reopen(layout: &Layout, name: RecordingName) -> Result<PartFile, Error> {
        let mut audio = PartFile::reopen_kind(layout, name, Kind::AudioPart)?;
        let (raw, part) = (
            layout.path(&name, Kind::Raw),
            layout.path(&name, Kind::RawPart),
        );
        // The run ended between the two renames of a commit.
        if raw.exists() && !part.exists() {
            std::fs::rename(&raw, &part).map_err(Error::io("rename", &raw))?;
        }
        if part.exists() {
            let raw = PartFile::reopen_kind(layout, name, Kind::RawPart)?;
            audio.raw = Some(Box::new(raw));
        }
        Ok(audio)
    }

    fn reopen_kind(layout: &Layout, name: RecordingName, kind: Kind) -> Result<PartFile, Error> {
        let path = layout.path(&name, kind);
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        hold(&file);
        let found = file.metadata().map_err(Error::io("examine", &path))?;
        Ok(PartFile {
            len: found.len(),
            file,
            identity: identity(&found),
            path,
            name,
            kind,
            raw: None,
            signalling: None,
        })
    }

    /// The packets beside the audio, if there is a file of them.
    pub fn raw(&self) -> Option<&PartFile> {
        self.raw.as_deref()
    }

    /// Bytes of the file of packets.
    pub fn raw_bytes(&self) -> u64 {
        self.raw().map_or(0, |raw| raw.len)
    }

    /// Appends whole packets to the file of packets, which is begun when there is none.
    pub fn append_raw(&mut self, layout: &Layout, packets: &[u8]) -> Result<(), Error> {
        let raw = match &mut self.raw {
            Some(raw) => raw,
            none => {
                let mut raw = PartFile::create(layout, self.name, Kind::RawPart)?;
                raw.write_at(&raw_header(), 0)?;
                raw.len = RAW_HEADER_LEN;
                none.insert(Box::new(raw))
            }
        };
        // What a failed write left is written over by the next.
        raw.write_at(packets, raw.len)?;
        raw.len += packets.len() as u64;
        Ok(())
    }

    /// Appends whole packets to the file of packets, if there is one.
    pub fn append_to_raw(&mut self, packets: &[u8]) -> Result<(), Error> {
        if let Some(raw) = &mut self.raw {
            raw.write_at(packets, raw.len)?;
            raw.len += packets.len() as u64;
        }
        Ok(())
    }

    /// Cuts the file of packets: what is behind its last whole one is no packet.
    pub fn cut_raw(&mut self, len: u64) -> Result<(), Error> {
        if let Some(raw) = &mut self.raw {
            raw.set_len(len)?;
            raw.len = len;
        }
        Ok(())
    }

    /// A copy of the audio of a finished recording, to be changed and put in its place.
    pub fn copy_of_finished(layout: &Layout, name: RecordingName) -> Result<PartFile, Error> {
        let copy = PartFile::create(layout, name, Kind::AudioNew)?;
        let finished = layout.path(&name, Kind::Audio);
        match std::fs::copy(&finished, &copy.path) {
            Ok(_) => Ok(copy),
            Err(error) => {
                copy.discard()?;
                Err(Error::io("copy", &finished)(error))
            }
        }
    }

    /// Takes the file away.
    pub fn discard(self) -> Result<(), Error> {
        std::fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }

    /// Puts this audio and a sidecar in the places of those of the finished recording: both synced before either is renamed.
    pub fn replace_finished(self, layout: &Layout, sidecar: &[u8]) -> Result<(), Error> {
        self.file
            .sync_data()
            .map_err(Error::io("sync", &self.path))?;
        let path = layout.path(&self.name, Kind::SidecarNew);
        let mut file = File::create(&path).map_err(Error::io("create", &path))?;
        io::Write::write_all(&mut file, sidecar).map_err(Error::io("write", &path))?;
        file.sync_data().map_err(Error::io("sync", &path))?;
        rename(layout, &self.name, Kind::AudioNew, Kind::Audio)?;
        rename(layout, &self.name, Kind::SidecarNew, Kind::Sidecar)?;
        sync_folder(&layout.folder(&self.name))
    }

    /// Takes the file of packets away: what was in it is in the audio.
    pub fn remove_raw(&mut self) -> Result<(), Error> {
        match self.raw.take() {
            Some(raw) => std::fs::remove_file(&raw.path).map_err(Error::io("remove", &raw.path)),
            None => Ok(()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether the file is still what its path names. What cannot be asked is answered with yes: writing will tell.
    pub fn place(&self) -> Place {
        let there = std::fs::symlink_metadata(&self.path);
        let is_there = |there: &Metadata| identity(there) == self.identity;
        if there.as_ref().is_ok_and(is_there) {
            return Place::Own;
        }
        match (self.file.metadata(), there) {
            (Err(_), _) => Place::Own,
            (Ok(own), _) if own.nlink() == 0 => Place::Gone,
            (_, Err(error)) if !is_elsewhere(&error) => Place::Own,
            _ => Place::Other,
        }
    }

    /// Lets others see that nobody writes this file for the moment.
    pub fn let_go(&self) {
        for part in self.raw().into_iter().chain([self]) {
            // Without it the file looks like one of a call in progress for a while longer.
            let _ = flock(&part.file, FlockOperation::NonBlockingUnlock);
        }
    }

    /// Writes the same byte from `from` on up to `to`.
    pub fn fill(&self, byte: u8, from: u64, to: u64) -> Result<(), Error> {
        let chunk = vec![byte; to.saturating_sub(from).min(64 << 10) as usize];
        let mut at = from;
        while at < to {
            let len = (to - at).min(chunk.len() as u64);
            self.write_at(&chunk[..len as usize], at)?;
            at += len;
        }
        Ok(())
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(Error::io("write", &self.path))
    }

    /// Fills `buffer` from `offset` on; zeros past the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            }
        }
        buffer[filled..].fill(0);
        Ok(())
    }

    pub fn set_len(&self, len: u64) -> Result<(), Error> {
        self.file
            .set_len(len)
            .map_err(Error::io("set the length of", &self.path))
    }

    /// Bytes of the file.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        Ok(self
            .file
            .metadata()
            .map_err(Error::io("examine", &self.path))?
            .len())
    }

    /// Gives the file the name of a kind: what was held is to become a recording, or the other way round.
    pub fn become_kind(&mut self, layout: &Layout, kind: Kind) -> Result<(), Error> {
        if self.kind == kind {
            return Ok(());
        }
        self.move_to(layout, self.name, kind)
    }

    /// A second file with the same content, in another partition.
    pub fn copy_to(
        &self,
        layout: &Layout,
        name: RecordingName,
        kind: Kind,
    ) -> Result<PartFile, Error> {
        let mut copy = PartFile::create(layout, name, kind)?;
        std::fs::copy(&self.path, &copy.path).map_err(Error::io("copy", &self.path))?;
        copy.len = self.len;
        if let Some(raw) = &self.raw {
            copy.raw = Some(Box::new(raw.copy_to(layout, name, Kind::RawPart)?));
        }
        Ok(copy)
    }

    /// Gives the file the name of a finished one, which an attempt before may have done already.
    fn take_name(&self, layout: &Layout, kind: Kind) -> Result<(), Error> {
        let renamed = rename(layout, &self.name, self.kind, kind);
        match renamed {
            Err(_) if self.is_at(&layout.path(&self.name, kind)) => Ok(()),
            other => other,
        }
    }

    fn is_at(&self, path: &Path) -> bool {
        let (Ok(own), Ok(there)) = (self.file.metadata(), std::fs::symlink_metadata(path)) else {
            return false;
        };
        (there.dev(), there.ino()) == (own.dev(), own.ino())
    }

    /// Moves the file to another tenant's partition: the answer told whose call it is.
    pub fn move_to(
        &mut self,
        layout: &Layout,
        name: RecordingName,
        kind: Kind,
    ) -> Result<(), Error> {
        let path = layout.path(&name, kind);
        layout.make_folder(&name)?;
        if let Some(raw) = &mut self.raw {
            raw.move_to(layout, name, Kind::RawPart)?;
        }
        std::fs::rename(&self.path, &path).map_err(Error::io("move", &self.path))?;
        self.path = path;
        self.name = name;
        self.kind = kind;
        Ok(())
    }
}

/// Says to others that somebody writes this file.
fn hold(file: &File) {
    // A new file is nobody else's.
    let _ = flock(file, FlockOperation::NonBlockingLockExclusive);
}

/// Whether a program, of which this knows nothing else, has the file open to write it.
pub fn is_being_written(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

fn is_elsewhere(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, StaleNetworkFileHandle};
    matches!(
        error.kind(),
        NotFound | NotADirectory | StaleNetworkFileHandle
    )
}

/// From this many files on, one sync of the whole file system is cheaper than one of each.
const SYNC_TOGETHER: usize = 8;

/// Finishes recordings (invariant I1): packets and audio synced, renamed; sidecar written, synced, renamed; folders synced. Each step
/// for all of them before the next. Gives the ones that failed, each once, with the reason; the others are finished. What failed on the
/// way may be tried again.
pub fn commit(layout: &Layout, parts: &[(PartFile, Vec<u8>)]) -> Vec<(usize, Error)> {
    let mut failed: Vec<(usize, Error)> = Vec::new();
    let mut step = |action: &mut dyn FnMut(usize) -> Result<(), Error>| {
        for index in 0..parts.len() {
            if !failed.iter().any(|(other, _)| *other == index)
                && let Err(error) = action(index)
            {
                failed.push((index, error));
            }
        }
    };
    let together = parts.len() >= SYNC_TOGETHER;
    if together && let Err(error) = sync_all(layout) {
        return parts
            .iter()
            .enumerate()
            .map(|(n, (part, _))| (n, again(&error, part)))
            .collect();
    }
    step(&mut |n| {
        let part = &parts[n].0;
        for file in part.raw().into_iter().chain([part]) {
            if !together {
                file.file
                    .sync_data()
                    .map_err(Error::io("sync", &file.path))?;
            }
        }
        if let Some(raw) = part.raw() {
            raw.take_name(layout, Kind::Raw)?;
        }
        part.take_name(layout, Kind::Audio)
    });
    step(&mut |n| commit_signalling(layout, &parts[n].0));
    // Beside the interim one, which is all that is known of the call until this is safe.
    step(&mut |n| {
        let (part, sidecar) = &parts[n];
        let path = fresh_sidecar(layout, &part.name);
        let mut file = File::create(&path).map_err(Error::io("create", &path))?;
        io::Write::write_all(&mut file, sidecar).map_err(Error::io("write", &path))?;
        if together {
            Ok(())
        } else {
            file.sync_data().map_err(Error::io("sync", &path))
        }
    });
    if together && let Err(error) = sync_all(layout) {
        return parts
            .iter()
            .enumerate()
            .map(|(n, (part, _))| (n, again(&error, part)))
            .collect();
    }
    step(&mut |n| name_sidecar(layout, &parts[n].0.name));
    let folders: BTreeSet<PathBuf> = parts
        .iter()
        .map(|(part, _)| layout.folder(&part.name))
        .collect();
    for folder in folders {
        if let Err(error) = sync_folder(&folder) {
            for (n, (part, _)) in parts.iter().enumerate() {
                let is_here = layout.folder(&part.name) == folder;
                if is_here && !failed.iter().any(|(other, _)| *other == n) {
                    failed.push((n, again(&error, part)));
                }
            }
        }
    }
    failed
}

/// Where a sidecar is written before it takes the place of the interim one.
pub fn fresh_sidecar(layout: &Layout, name: &RecordingName) -> PathBuf {
    layout
        .path(name, Kind::SidecarPart)
        .with_extension("part.new")
}

/// Gives the fresh sidecar, which is synced, its name. The interim one is gone before: it would be taken for an unfinished one.
pub fn name_sidecar(layout: &Layout, name: &RecordingName) -> Result<(), Error> {
    let fresh = fresh_sidecar(layout, name);
    std::fs::rename(&fresh, layout.path(name, Kind::SidecarPart))
        .map_err(Error::io("rename", &fresh))?;
    rename(layout, name, Kind::SidecarPart, Kind::Sidecar)
}

/// The signalling lies there whole before the sidecar names it.
fn commit_signalling(layout: &Layout, part: &PartFile) -> Result<(), Error> {
    let Some(bytes) = &part.signalling else {
        return Ok(());
    };
    let path = layout.path(&part.name, Kind::SignallingPart);
    let mut file = File::create(&path).map_err(Error::io("create", &path))?;
    io::Write::write_all(&mut file, bytes).map_err(Error::io("write", &path))?;
    file.sync_data().map_err(Error::io("sync", &path))?;
    rename(layout, &part.name, Kind::SignallingPart, Kind::Signalling)
}

fn again(error: &Error, part: &PartFile) -> Error {
    let source = match error {
        Error::Io { source, .. } => io::Error::from(source.kind()),
        _ => io::ErrorKind::Other.into(),
    };
    Error::Io {
        action: "sync",
        path: part.path.clone(),
        source,
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn rename(layout: &Layout, name: &RecordingName, from: Kind, to: Kind) -> Result<(), Error> {
    let source = layout.path(name, from);
    std::fs::rename(&source, layout.path(name, to)).map_err(Error::io("rename", &source))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), Error> {
    let file = File::open(folder).map_err(Error::io("open", folder))?;
    file.sync_all().map_err(Error::io("sync", folder))
}

/// Writes everything of the storage's file system to the disk.
pub fn sync_all(layout: &Layout) -> Result<(), Error> {
    let root = File::open(layout.root()).map_err(Error::io("open", layout.root()))?;
    rustix::fs::syncfs(&root).map_err(|errno| Error::io("sync", layout.root())(errno.into()))
}
