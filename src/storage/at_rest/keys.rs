//! The keys of a storage: a file of lines, the newest last.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::base::Timestamp;
use crate::storage::Error;

/// The ids of the keys that recordings of a storage are under, in its root.
const USED: &str = ".callreel.keys";

/// Which key: made of the key, and tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl KeyId {
    fn parse(digits: &str) -> Option<KeyId> {
        hex(digits).map(KeyId)
    }
}

/// One key.
#[derive(Clone)]
pub struct StorageKey(Zeroizing<[u8; 32]>);

impl StorageKey {
    fn drawn() -> io::Result<StorageKey> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
        Ok(StorageKey(bytes))
    }

    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        let digest = blake3::derive_key("callreel storage key id v1", self.0.as_slice());
        id.copy_from_slice(&digest[..8]);
        KeyId(id)
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn parse(digits: &str) -> Option<StorageKey> {
        hex(digits).map(|bytes| StorageKey(Zeroizing::new(bytes)))
    }

    fn line(&self, made: &str) -> Zeroizing<String> {
        let digits: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        Zeroizing::new(format!("{} {made}\n", digits.concat()))
    }
}

/// What is told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    pub id: KeyId,
    /// As the file says it: RFC 3339, UTC.
    pub made: String,
}

/// The file of keys: 64 hexadecimal digits on a line, and when the key was made. It is read when a key is wanted, again when it was
/// changed, and made with a first key when something is to be encrypted and there is none.
///
/// It lies apart from the recordings: a copy of them alone opens nothing.
///
/// The storage keeps the ids of those that its recordings are under. Where it names any, and the file is not there, no first key is made:
/// the disk of the file is not mounted, or it was lost.
pub struct Keys {
    path: PathBuf,
    /// The file of those ids.
    used: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Vec<(StorageKey, String)>,
    /// Of the file when it was read.
    version: Option<Version>,
    /// Keys vanished from the file since they were read.
    is_short: bool,
    /// The storage knows that recordings are under it.
    noted: Option<KeyId>,
    /// What was wrong with the file was said.
    has_complained: bool,
}

/// Length, inode and time of a file.
type Version = (u64, u64, i64, i64);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.path.display())
    }
}

impl Keys {
    /// The keys in `path`, which need not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> Keys {
        Keys {
            path: path.into(),
            used: None,
            known: Mutex::default(),
        }
    }

    /// The same, of the storage at `root`.
    pub fn of_storage(root: &Path, path: impl Into<PathBuf>) -> Keys {
        Keys {
            used: Some(root.join(USED)),
            ..Keys::at(path)
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key under which what is new is encrypted. Makes the file where there is none. Keys that vanished from it since they were read
    /// and that recordings are under are written again: these could not be read after the next start.
    ///
    /// # Errors
    /// [`Error::Keys`] when no key is known, and the file cannot be read or made, holds something else, may be read by everybody, or is not
    /// there though recordings are under its keys. [`Error::Io`] when the storage cannot be read or written.
    pub fn newest(&self) -> Result<StorageKey, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let refreshed = match known.refresh(&self.path) {
            Ok(()) if known.is_short => self.write_missing(&mut known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if known.keys.is_empty()
                    && let Some(used) = self.in_use()?.last()
                {
                    return Err(self.failed()(gone(*used)));
                }
                self.write_missing(&mut known)
            }
            other => other,
        };
        match refreshed {
            // What is known is still right.
            Err(error) if !known.keys.is_empty() => known.complain(&self.path, &error),
            other => other.map_err(self.failed())?,
        }
        let newest = known.keys.last().map(|(key, _)| key.clone());
        let newest = newest.ok_or_else(|| self.failed()(io::Error::other("it holds no key")))?;
        if known.noted != Some(newest.id()) {
            self.note(newest.id())?;
            known.noted = Some(newest.id());
        }
        Ok(newest)
    }

    /// Keys that recordings are under, and that the file has no more; as far as the storage can be read.
    ///
    /// # Errors
    /// As [`Keys::find`].
    pub fn missing(&self) -> Result<Vec<KeyId>, Error> {
        let there = self.list()?;
        let mut used = self.in_use()?;
        used.retain(|id| there.iter().all(|line| line.id != *id));
        Ok(used)
    }

    /// Keys that the storage says it has recordings under.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn in_use(&self) -> Result<Vec<KeyId>, Error> {
        let Some(path) = &self.used else {
            return Ok(Vec::new());
        };
        match fs::read_to_string(path) {
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(error) => Err(Error::io("read", path)(error)),
            Ok(text) => Ok(text.lines().filter_map(KeyId::parse).collect()),
        }
    }

    /// Says that no recording is under any but the newest.
    ///
    /// # Errors
    /// As [`Keys::newest`]; and when the storage cannot be written.
    pub fn forget_all_but_newest(&self) -> Result<(), Error> {
        let newest = self.newest()?.id();
        let Some(path) = &self.used else {
            return Ok(());
        };
        let fresh = path.with_extension("keys.new");
        let write = || {
            let mut file = File::create(&fresh)?;
            writeln!(file, "{newest}")?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            sync_folder_of(path)
        };
        write().map_err(Error::io("write", path))
    }

    /// Writes down in the storage that recordings are under a key, before there are any.
    fn note(&self, id: KeyId) -> Result<(), Error> {
        let Some(path) = &self.used else {
            return Ok(());
        };
        if self.in_use()?.contains(&id) {
            return Ok(());
        }
        let write = || {
            if let Some(root) = path.parent() {
                fs::create_dir_all(root)?;
            }
            let mut file = File::options().create(true).append(true).open(path)?;
            // A line of its own, though an earlier one was cut off by a crash.
            file.write_all(format!("\n{id}\n").as_bytes())?;
            file.sync_all()?;
            sync_folder_of(path)
        };
        write().map_err(Error::io("write", path))
    }

    /// The key with this id; `None` when the file has another or there is none.
    ///
    /// # Errors
    /// As [`Keys::newest`], but for a file that is not there.
    pub fn find(&self, id: KeyId) -> Result<Option<StorageKey>, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.find(id);
        if found.is_some() {
            return Ok(found);
        }
        match known.refresh(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed()(error)),
            _ => Ok(known.find(id)),
        }
    }

    /// What is in the file, the newest last; nothing where there is none.
    ///
    /// # Errors
    /// As [`Keys::find`].
    pub fn list(&self) -> Result<Vec<KeyLine>, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.refresh(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed()(error));
            }
            _ => {}
        }
        let lines = known.keys.iter().map(|(key, made)| KeyLine {
            id: key.id(),
            made: made.clone(),
        });
        Ok(lines.collect())
    }

    /// Adds a key, under which everything new is encrypted from now on, by a running daemon too. Earlier recordings stay under theirs.
    ///
    /// # Errors
    /// As [`Keys::newest`].
    pub fn add(&self) -> Result<KeyLine, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let add = |known: &mut Known| {
            match known.refresh(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let drawn = draw_onto(self.open_locked()?)?;
            sync_folder_of(&self.path)?;
            known.refresh(&self.path)?;
            Ok(drawn)
        };
        add(&mut known).map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(io::Error) -> Error {
        let path = self.path.clone();
        move |error| Error::Keys {
            path: path.clone(),
            reason: error.to_string(),
        }
    }

    /// The file, which nobody else changes meanwhile; empty where there was none.
    fn open_locked(&self) -> io::Result<File> {
        let file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .mode(0o600)
            .open(&self.path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        if file.metadata()?.len() == 0
            && let Some(folder) = folder_of(&self.path)
            && let Ok(folder) = fs::metadata(folder)
        {
            // Made by root it would be nobody's that the daemon is.
            let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
        }
        Ok(file)
    }

    /// Writes what is known, in use and not in the file, before what is there; or a first key where there is none at all.
    fn write_missing(&self, known: &mut Known) -> io::Result<()> {
        let mut file = self.open_locked()?;
        let path = self.path.display();
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text)?;
        let there = parse(&text).ok_or_else(no_keys)?;
        let in_use = self.used.is_some().then(|| self.in_use()).transpose();
        let in_use = in_use.map_err(io::Error::other)?;
        let is_there = |key: &StorageKey| there.iter().any(|(other, _)| other.id() == key.id());
        let is_used = |key: &StorageKey| in_use.as_ref().is_none_or(|ids| ids.contains(&key.id()));
        // What no recording is under may be taken out.
        (known.keys).retain(|(key, _)| is_there(key) || is_used(key));
        let missing: Vec<_> = (known.keys.iter().filter(|(key, _)| !is_there(key))).collect();
        if there.is_empty() && missing.is_empty() {
            draw_onto(file)?;
            tracing::warn!(%path, "the key of the storage was made: keep a copy of it, for without it nobody hears what is encrypted");
        } else if !missing.is_empty() {
            // The newest of the file stays the newest.
            let mut all = Zeroizing::new(String::new());
            for (key, made) in missing.into_iter().chain(&there) {
                all.push_str(&key.line(made));
            }
            file.set_len(0)?;
            file.write_all(all.as_bytes())?;
            file.sync_all()?;
            tracing::error!(%path, "keys that recordings are under had vanished from the file: they were written again");
        }
        sync_folder_of(&self.path)?;
        (known.version, known.is_short) = (None, false);
        known.refresh(&self.path)
    }
}

impl Known {
    fn find(&self, id: KeyId) -> Option<StorageKey> {
        let found = self.keys.iter().find(|(key, _)| key.id() == id);
        found.map(|(key, _)| key.clone())
    }

    /// Reads the file if it is not what it was.
    fn refresh(&mut self, path: &Path) -> io::Result<()> {
        let found = fs::metadata(path)?;
        if found.len() == 0 {
            // It is being made, or whoever made it was stopped.
            return Err(io::ErrorKind::NotFound.into());
        }
        let version = Some(version(&found));
        if self.version == version {
            return Ok(());
        }
        if found.mode() & 0o007 != 0 {
            return Err(io::Error::other("everybody may read it (chmod 600)"));
        }
        let text = Zeroizing::new(fs::read_to_string(path)?);
        let there = parse(&text).ok_or_else(no_keys)?;
        // One that was known stays: recordings are under it.
        let is_there = |key: &StorageKey| there.iter().any(|(other, _)| other.id() == key.id());
        self.keys.retain(|(key, _)| !is_there(key));
        self.is_short = !self.keys.is_empty();
        self.keys.extend(there);
        (self.version, self.has_complained) = (version, false);
        Ok(())
    }

    fn complain(&mut self, path: &Path, error: &io::Error) {
        if !std::mem::replace(&mut self.has_complained, true) {
            tracing::error!(path = %path.display(), %error, "the file of keys cannot be read: the keys that are known are used");
        }
    }
}

/// Writes a new key behind those of the file.
fn draw_onto(mut file: File) -> io::Result<KeyLine> {
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text)?;
    let (key, made) = (StorageKey::drawn()?, now());
    let begin = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let line = Zeroizing::new(begin.to_owned() + &key.line(&made));
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    let id = key.id();
    Ok(KeyLine { id, made })
}

/// Bytes as hexadecimal digits, exactly so many.
fn hex<const LEN: usize>(digits: &str) -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != LEN {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |n: usize| char::from(pair[n]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}

/// Whether there is no such file, nor the folder that it would be in.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

fn gone(used: KeyId) -> io::Error {
    io::Error::other(format!(
        "it is not there, and recordings are under its key {used}: is its disk mounted? Where it is lost, `callreel key new` makes another"
    ))
}

fn no_keys() -> io::Error {
    io::Error::other("a line is no key: 64 hexadecimal digits, and when it was made")
}

fn parse(text: &str) -> Option<Vec<(StorageKey, String)>> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (digits, made) = line.split_once(' ').unwrap_or((line, ""));
            let made = made.trim();
            let is_time = made.is_empty() || Timestamp::from_rfc3339(made).is_some();
            Some((
                StorageKey::parse(digits).filter(|_| is_time)?,
                made.to_owned(),
            ))
        })
        .collect()
}

fn version(file: &Metadata) -> Version {
    (file.len(), file.ino(), file.mtime(), file.mtime_nsec())
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match folder_of(path) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
}

fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    Timestamp::from_secs_nanos(i64::try_from(seconds).unwrap_or(0), 0).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_first_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("storage.key");
        let key = Keys::at(&path).newest().unwrap();
        assert_eq!(Keys::at(&path).newest().unwrap().bytes(), key.bytes());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let many: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn({
                    let path = folder.path().join("another.key");
                    move || Keys::at(path).newest().unwrap().id()
                })
            })
            .collect();
        let ids: Vec<KeyId> = many.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn no_first_key_is_made_for_a_storage_whose_recordings_are_under_another() {
        let (storage, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = disk.path().join("storage.key");
        let keys = || Keys::of_storage(storage.path(), &path);
        let first = keys().newest().unwrap().id();
        assert_eq!(keys().newest().unwrap().id(), first);
        assert_eq!(keys().in_use().unwrap(), [first]);
        assert_eq!(keys().missing().unwrap(), []);
        // Its disk is not mounted at the next start.
        let away = disk.path().join("away");
        fs::rename(&path, &away).unwrap();
        let started = keys();
        let why = started.newest().map(drop).unwrap_err().to_string();
        assert!(
            why.contains(&first.to_string()) && why.contains("mounted"),
            "{why}"
        );
        assert!(!path.exists());
        assert_eq!(started.missing().unwrap(), [first]);
        // It is mounted while the daemon runs.
        fs::rename(&away, &path).unwrap();
        assert_eq!(started.newest().unwrap().id(), first);
        // It was lost, and an operator says so.
        fs::remove_file(&path).unwrap();
        let lost = keys();
        assert!(lost.newest().is_err());
        let second = keys().add().unwrap().id;
        assert_eq!(lost.newest().unwrap().id(), second);
        assert_eq!(lost.missing().unwrap(), [first]);
        assert_eq!(lost.in_use().unwrap(), [first, second]);
        // One that no recording is under may be taken out while it is known.
        lost.forget_all_but_newest().unwrap();
        assert_eq!(lost.missing().unwrap(), []);
        let third = keys().add().unwrap().id;
        assert_eq!(lost.newest().unwrap().id(), third);
        lost.forget_all_but_newest().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.lines().last().unwrap()).unwrap();
        assert_eq!(lost.newest().unwrap().id(), third);
        assert_eq!(keys().list().unwrap().len(), 1);
        assert!(lost.find(second).unwrap().is_none());
        // Nor is one made where the storage cannot say.
        fs::remove_file(&path).unwrap();
        let used = storage.path().join(USED);
        fs::remove_file(&used).unwrap();
        fs::create_dir(&used).unwrap();
        assert!(keys().newest().is_err() && !path.exists());
    }

    #[test]
    fn a_key_that_is_added_is_used_by_all_and_the_earlier_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("storage.key");
        let daemon = Keys::at(&path);
        let first = daemon.newest().unwrap().id();
        let added = Keys::at(&path).add().unwrap();
        assert_eq!(daemon.newest().unwrap().id(), added.id);
        assert!(daemon.find(first).unwrap().is_some());
        let ids: Vec<KeyId> = daemon.list().unwrap().iter().map(|line| line.id).collect();
        assert_eq!(ids, [first, added.id]);
        assert!(daemon.list().unwrap()[0].made.ends_with('Z'));
        assert!(
            Keys::at(folder.path().join("none"))
                .find(first)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn keys_that_vanish_from_the_file_while_they_are_in_use_are_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("storage.key");
        let keys = Keys::at(&path);
        let (first, second) = (keys.newest().unwrap().id(), keys.add().unwrap().id);
        fs::remove_file(&path).unwrap();
        assert_eq!(keys.newest().unwrap().id(), second);
        let again = Keys::at(&path);
        assert!(again.find(first).unwrap().is_some() && again.find(second).unwrap().is_some());
        // Another file is put in its place, as by who finds it gone.
        fs::remove_file(&path).unwrap();
        let third = Keys::at(&path).add().unwrap().id;
        assert!(keys.find(third).unwrap().is_some() && keys.find(first).unwrap().is_some());
        assert_eq!(keys.newest().unwrap().id(), third);
        let ids: Vec<KeyId> = Keys::at(&path)
            .list()
            .unwrap()
            .iter()
            .map(|line| line.id)
            .collect();
        assert_eq!(ids, [first, second, third]);
        // Nor does it matter to what is recorded now where they cannot be written.
        let away = folder.path().join("away");
        fs::rename(&path, &away).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(keys.newest().unwrap().id(), third);
        fs::remove_dir(&path).unwrap();
        fs::rename(&away, &path).unwrap();
        // One that cannot be read does not take away what is known.
        fs::write(&path, "rubbish").unwrap();
        assert_eq!(keys.newest().unwrap().id(), third);
        assert!(keys.find(first).unwrap().is_some());
    }

    #[test]
    fn a_key_is_added_behind_a_line_without_an_end() {
        for made in ["", " 2026-11-23T05:00:00.000000Z"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("storage.key");
            fs::write(&path, "a7".repeat(32) + made).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let keys = Keys::at(&path);
            let first = keys.newest().unwrap().id();
            let added = keys.add().unwrap();
            let listed = Keys::at(&path).list().unwrap();
            assert_eq!(listed.len(), 2);
            assert_eq!((listed[0].id, &listed[1]), (first, &added));
            assert_eq!(keys.newest().unwrap().id(), added.id);
        }
        assert!(parse(&format!("{} {}", "a7".repeat(32), "b8".repeat(32))).is_none());
    }

    #[test]
    fn a_file_that_is_none_of_keys_or_lies_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("storage.key");
        let why = || Keys::at(&path).newest().map(drop).unwrap_err().to_string();
        fs::write(&path, "secret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(why().contains("64 hexadecimal digits"), "{}", why());
        fs::write(&path, format!("# of the storage\n{}\n", "a7".repeat(32))).unwrap();
        Keys::at(&path).newest().unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(why().contains("everybody may read it"), "{}", why());
        assert!(Keys::at("/nowhere/key").newest().is_err());
    }
}
