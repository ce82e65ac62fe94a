//! Files that become recordings.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{Error, Kind, Layout, RAW_HEADER_LEN, RecordingName, StoredFile, raw_header};

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
    file: StoredFile,
    /// Device and inode.
    identity: (u64, u64),
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
    /// Creates the file; its folder too. A file left by a run that was broken off is begun anew. What comes beside it is encrypted as it is.
    pub fn create(
        layout: &Layout,
        name: RecordingName,
        kind: Kind,
        encrypted: bool,
    ) -> Result<PartFile, Error> {
        let create = || StoredFile::create(layout, &name, kind, encrypted);
        let file = match create() {
            Err(error) if error.is_not_found() => {
                layout.make_folder(&name)?;
                create()
            }
            other => other,
        };
        PartFile::of(file?, name, kind)
    }

    fn of(file: StoredFile, name: RecordingName, kind: Kind) -> Result<PartFile, Error> {
        let examined = file.metadata().map_err(Error::io("examine", file.path()))?;
        hold(file.file());
        Ok(PartFile {
            len: file.size_bytes()?,
            file,
            identity: identity(&examined),
            name,
            kind,
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
        PartFile::of(StoredFile::reopen(layout, &name, kind)?, name, kind)
    }

    /// Whether it is encrypted, and what is beside it.
    pub fn is_encrypted(&self) -> bool {
        self.file.is_encrypted()
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
                let encrypted = self.file.is_encrypted();
                let mut raw = PartFile::create(layout, self.name, Kind::RawPart, encrypted)?;
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
        let finished = StoredFile::open(layout, &name, Kind::Audio)?;
        let copy = PartFile::create(layout, name, Kind::AudioNew, finished.is_encrypted())?;
        match copy.file.copy_from(&finished) {
            Ok(()) => Ok(copy),
            Err(error) => {
                copy.discard()?;
                Err(error)
            }
        }
    }

    /// Takes the file away, and the packets beside it.
    pub fn discard(mut self) -> Result<(), Error> {
        self.remove_raw()?;
        std::fs::remove_file(self.path()).map_err(Error::io("remove", self.path()))
    }

    /// Puts this audio and a sidecar in the places of those of the finished recording: both synced before either is renamed.
    pub fn replace_finished(self, layout: &Layout, sidecar: &[u8]) -> Result<(), Error> {
        self.file.sync()?;
        let encrypted = self.is_encrypted();
        let new = StoredFile::create(layout, &self.name, Kind::SidecarNew, encrypted)?;
        new.write_at(sidecar, 0)?;
        new.sync()?;
        rename(layout, &self.name, Kind::AudioNew, Kind::Audio)?;
        rename(layout, &self.name, Kind::SidecarNew, Kind::Sidecar)?;
        sync_folder(&layout.folder(&self.name))
    }

    /// Takes the file of packets away: what was in it is in the audio.
    pub fn remove_raw(&mut self) -> Result<(), Error> {
        match self.raw.take() {
            Some(raw) => std::fs::remove_file(raw.path()).map_err(Error::io("remove", raw.path())),
            None => Ok(()),
        }
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    pub fn file(&self) -> &StoredFile {
        &self.file
    }

    /// Whether the file is still what its path names. What cannot be asked is answered with yes: writing will tell.
    pub fn place(&self) -> Place {
        let there = std::fs::symlink_metadata(self.path());
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
            let _ = flock(part.file.file(), FlockOperation::NonBlockingUnlock);
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
        self.file.write_at(bytes, offset)
    }

    /// Fills `buffer` from `offset` on; zeros past the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let filled = (self.file.read_at(buffer, offset)).map_err(Error::io("read", self.path()))?;
        buffer[filled..].fill(0);
        Ok(())
    }

    pub fn set_len(&self, len: u64) -> Result<(), Error> {
        self.file.set_len(len)
    }

    /// Bytes of the file's content.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        self.file.size_bytes()
    }

    /// Gives the file the name of a kind: what was held is to become a recording, or the other way round.
    pub fn become_kind(&mut self, layout: &Layout, kind: Kind) -> Result<(), Error> {
        if self.kind == kind {
            return Ok(());
        }
        self.rename_to(layout, self.name, kind)
    }

    /// A second file with the same content, in another partition.
    pub fn copy_to(
        &self,
        layout: &Layout,
        name: RecordingName,
        kind: Kind,
        encrypted: bool,
    ) -> Result<PartFile, Error> {
        let mut copy = PartFile::create(layout, name, kind, encrypted)?;
        let copied = copy.file.copy_from(&self.file).and_then(|()| {
            copy.len = self.len;
            if let Some(raw) = &self.raw {
                let raw = raw.copy_to(layout, name, Kind::RawPart, encrypted)?;
                copy.raw = Some(Box::new(raw));
            }
            Ok(())
        });
        match copied {
            Ok(()) => Ok(copy),
            Err(error) => {
                // A part of it is nobody's recording.
                copy.discard()?;
                Err(error)
            }
        }
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

    /// Moves the file to another tenant's partition: the answer told whose call it is. What is encrypted opens under its own name only: it
    /// is written anew.
    pub fn move_to(
        &mut self,
        layout: &Layout,
        name: RecordingName,
        kind: Kind,
        encrypted: bool,
    ) -> Result<(), Error> {
        if !encrypted && !self.is_encrypted() {
            return self.rename_to(layout, name, kind);
        }
        if self.name == name {
            return self.become_kind(layout, kind);
        }
        let moved = self.copy_to(layout, name, kind, encrypted)?;
        let mut of_moved = moved.raw().into_iter().chain([&moved]);
        let synced = of_moved.try_for_each(|part| part.file.sync());
        drop(of_moved);
        if let Err(error) = synced {
            // It is tried again; the file of before is whole.
            moved.discard()?;
            return Err(error);
        }
        if let Err(error) = std::mem::replace(self, moved).discard() {
            tracing::error!(%error, "what a call was moved away from could not be removed");
        }
        Ok(())
    }

    fn rename_to(&mut self, layout: &Layout, name: RecordingName, kind: Kind) -> Result<(), Error> {
        let path = layout.path(&name, kind);
        layout.make_folder(&name)?;
        if let Some(raw) = &mut self.raw {
            raw.rename_to(layout, name, Kind::RawPart)?;
        }
        std::fs::rename(self.path(), &path).map_err(Error::io("move", self.path()))?;
        self.file.set_path(path);
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
                file.file.sync()?;
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
        let file = write_fresh_sidecar(layout, &part.name, sidecar, part.is_encrypted())?;
        match together {
            true => Ok(()),
            false => file.sync(),
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

/// Writes a sidecar beside the interim one, whose place it takes later.
pub fn write_fresh_sidecar(
    layout: &Layout,
    name: &RecordingName,
    sidecar: &[u8],
    encrypted: bool,
) -> Result<StoredFile, Error> {
    let path = fresh_sidecar(layout, name);
    let file = StoredFile::create_at(path, layout, name, Kind::SidecarPart, encrypted)?;
    file.write_at(sidecar, 0)?;
    Ok(file)
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
    let encrypted = part.is_encrypted();
    let file = StoredFile::create(layout, &part.name, Kind::SignallingPart, encrypted)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    rename(layout, &part.name, Kind::SignallingPart, Kind::Signalling)
}

fn again(error: &Error, part: &PartFile) -> Error {
    let source = match error {
        Error::Io { source, .. } => io::Error::from(source.kind()),
        _ => io::ErrorKind::Other.into(),
    };
    Error::Io {
        action: "sync",
        path: part.path().to_owned(),
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
