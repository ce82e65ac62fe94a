//! One daemon for one storage.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Error;

const NAME: &str = ".callreel.lock";
/// Of who decodes finished recordings, beside a daemon or without one.
const DECODING: &str = ".callreel-decode.lock";

/// Held while it lives; the kernel lets it go with the process, however that ends.
#[derive(Debug)]
pub struct StorageLock {
    file: File,
    path: PathBuf,
}

impl StorageLock {
    /// Takes the storage at `root` for this process, or says whose it is.
    pub fn acquire(root: &Path) -> Result<StorageLock, Error> {
        StorageLock::acquire_file(root, NAME)
    }

    /// The same for decoding what is finished: a daemon may work on the storage meanwhile, and no other who decodes.
    pub fn acquire_for_decoding(root: &Path) -> Result<StorageLock, Error> {
        StorageLock::acquire_file(root, DECODING)
    }

    fn acquire_file(root: &Path, name: &str) -> Result<StorageLock, Error> {
        std::fs::create_dir_all(root).map_err(Error::io("create the storage folder", root))?;
        let path = root.join(name);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(Error::io("open the lock", &path))?;
        if let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if errno != rustix::io::Errno::WOULDBLOCK {
                return Err(Error::io("lock", &path)(errno.into()));
            }
            return Err(Error::InUse {
                root: root.to_owned(),
                pid: pid_in(&mut file),
            });
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(Error::io("write the lock", &path))?;
        Ok(StorageLock { file, path })
    }

    /// Whether what is locked is still what others would lock: the storage may have been emptied, or another put in its place.
    pub fn is_in_place(&self) -> bool {
        let (Ok(own), Ok(there)) = (self.file.metadata(), std::fs::metadata(&self.path)) else {
            return false;
        };
        (own.dev(), own.ino()) == (there.dev(), there.ino())
    }

    /// The process that holds the storage at `root`, if one does; changes nothing.
    pub fn holder(root: &Path) -> Option<String> {
        let mut file = File::open(root.join(NAME)).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => Some(pid_in(&mut file)),
            // The shared lock goes with the file.
            _ => None,
        }
    }
}

fn pid_in(file: &mut File) -> String {
    let mut pid = String::new();
    // Whoever holds it may not have written its number yet.
    let _ = file.read_to_string(&mut pid);
    match pid.trim() {
        "" => "unknown".into(),
        pid => pid.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = StorageLock::acquire(folder.path()).unwrap();
        let second = StorageLock::acquire(folder.path()).unwrap_err();
        assert!(
            second
                .to_string()
                .ends_with(&format!("process {}", std::process::id())),
            "{second}"
        );
        drop(first);
        StorageLock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn an_emptied_storage_is_not_the_one_that_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        let lock = StorageLock::acquire(folder.path()).unwrap();
        assert!(lock.is_in_place());
        std::fs::remove_file(folder.path().join(NAME)).unwrap();
        assert!(!lock.is_in_place());
        let again = StorageLock::acquire(folder.path()).unwrap();
        assert!(again.is_in_place() && !lock.is_in_place());
    }

    #[test]
    fn who_holds_it_can_be_asked_without_taking_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(StorageLock::holder(folder.path()), None);
        let lock = StorageLock::acquire(folder.path()).unwrap();
        let own = Some(std::process::id().to_string());
        assert_eq!(StorageLock::holder(folder.path()), own);
        drop(lock);
        assert_eq!(StorageLock::holder(folder.path()), None);
    }
}
