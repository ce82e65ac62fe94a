//! What can go wrong with files.

use std::io;
use std::path::{Path, PathBuf};

use super::KeyId;

/// What was attempted, on which file, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("storage {} is in use by another callreel, process {pid}", root.display())]
    InUse { root: PathBuf, pid: String },
    #[error("{} is no WAV file of this program: {reason}", path.display())]
    NotWav { path: PathBuf, reason: &'static str },
    #[error("cannot use the keys of the storage in {} (storage.key_file): {reason}", path.display())]
    Keys { path: PathBuf, reason: String },
    #[error("{} is encrypted, and its key {key} is not in the storage's key file", path.display())]
    NoKey { path: PathBuf, key: KeyId },
    #[error("{} is encrypted, and does not open: {reason}", path.display())]
    Sealed { path: PathBuf, reason: &'static str },
    #[error("sidecar {} cannot be read: {reason}", path.display())]
    Sidecar { path: PathBuf, reason: String },
}

impl Error {
    /// For `map_err`: what was being done to which file.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether there was no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the disk is full (or the quota used up): it may have room again later.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Error::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}
