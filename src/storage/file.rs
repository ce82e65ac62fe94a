//! One file of a recording: bytes at their places, encrypted or as they are.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::at_rest::{CHUNK, FileKey, Header, Spot, disk_len, plain_len, spots};
use super::{Error, Kind, Layout, RecordingName};

/// Chunks read or written together.
const TOGETHER: usize = 64;

/// An open file. Places and lengths are those of the content.
#[derive(Debug)]
pub struct StoredFile {
    file: File,
    path: PathBuf,
    encrypted: Option<Box<Encrypted>>,
}

#[derive(Debug)]
struct Encrypted {
    key: FileKey,
    /// Bytes of content.
    len: AtomicU64,
}

/// What a file begins with, where it is encrypted.
fn header_of(file: &File, path: &Path) -> Result<Option<Header>, Error> {
    let mut begin = [0; Header::LEN];
    let filled = fill(file, &mut begin, 0).map_err(Error::io("read", path))?;
    Ok(Header::parse(&begin).filter(|_| filled == begin.len()))
}

fn sealed(path: &Path) -> Error {
    Error::Sealed {
        path: path.to_owned(),
        reason: "it is another recording's, or was changed",
    }
}

impl Encrypted {
    fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }
}

impl StoredFile {
    /// Makes the file of `kind` of a recording, in a folder that is there. One that is there already is begun anew.
    ///
    /// # Errors
    /// When it cannot be made, or is to be encrypted and there is no key.
    pub fn create(
        layout: &Layout,
        name: &RecordingName,
        kind: Kind,
        encrypted: bool,
    ) -> Result<StoredFile, Error> {
        StoredFile::create_at(layout.path(name, kind), layout, name, kind, encrypted)
    }

    /// The same for a file that is to have the name of its kind later.
    pub(super) fn create_at(
        path: PathBuf,
        layout: &Layout,
        name: &RecordingName,
        kind: Kind,
        encrypted: bool,
    ) -> Result<StoredFile, Error> {
        let key = match encrypted {
            true => Some(layout.keys_for(&path)?.newest()?),
            false => None,
        };
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(Error::io("create", &path))?;
        let encrypted = match key {
            Some(key) => {
                let begin = || {
                    let (header, key) = Header::draw(&key, name, kind)?;
                    file.write_all_at(&header.to_bytes(), 0)?;
                    let len = AtomicU64::new(0);
                    Ok(Box::new(Encrypted { key, len }))
                };
                Some(begin().map_err(Error::io("create", &path))?)
            }
            None => None,
        };
        Ok(StoredFile {
            file,
            path,
            encrypted,
        })
    }

    /// Opens a file of a recording for reading.
    ///
    /// # Errors
    /// [`Error::NoKey`] when it is encrypted and its key is not there; [`Error::Sealed`] when it is not what was written there.
    pub fn open(layout: &Layout, name: &RecordingName, kind: Kind) -> Result<StoredFile, Error> {
        let path = layout.path(name, kind);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        StoredFile::of(file, path, layout, name, kind)
    }

    /// Opens a file of a recording for reading and writing.
    ///
    /// # Errors
    /// As [`StoredFile::open`].
    pub fn reopen(layout: &Layout, name: &RecordingName, kind: Kind) -> Result<StoredFile, Error> {
        let path = layout.path(name, kind);
        let file = (File::options().read(true).write(true).open(&path))
            .map_err(Error::io("open", &path))?;
        StoredFile::of(file, path, layout, name, kind)
    }

    fn of(
        file: File,
        path: PathBuf,
        layout: &Layout,
        name: &RecordingName,
        kind: Kind,
    ) -> Result<StoredFile, Error> {
        let Some(header) = header_of(&file, &path)? else {
            return Ok(StoredFile {
                file,
                path,
                encrypted: None,
            });
        };
        let no_key = || Error::NoKey {
            path: path.clone(),
            key: header.key,
        };
        let keys = layout.keys().ok_or_else(no_key)?;
        let opened = |header: &Header| {
            let key = keys.find(header.key)?.ok_or_else(no_key)?;
            Ok(header.open(&key, name, kind))
        };
        let key = match opened(&header)? {
            Some(key) => Some(key),
            // It may have been put under another key just then.
            None => header_of(&file, &path)?
                .map(|header| opened(&header))
                .transpose()?
                .flatten(),
        };
        let key = key.ok_or_else(|| sealed(&path))?;
        let len = file.metadata().map_err(Error::io("examine", &path))?.len();
        let len = AtomicU64::new(plain_len(len));
        Ok(StoredFile {
            file,
            path,
            encrypted: Some(Box::new(Encrypted { key, len })),
        })
    }

    /// Puts a file of a recording under the newest key of the storage; whether it was encrypted, and under another. Its content stays as
    /// it is: the key of the file is encrypted anew, in one write within one sector. Whoever has it open goes on with it.
    ///
    /// # Errors
    /// As [`StoredFile::open`]; and when it cannot be written.
    pub fn rewrap(layout: &Layout, name: &RecordingName, kind: Kind) -> Result<bool, Error> {
        let path = layout.path(name, kind);
        let file = (File::options().read(true).write(true).open(&path))
            .map_err(Error::io("open", &path))?;
        let Some(header) = header_of(&file, &path)? else {
            return Ok(false);
        };
        let keys = layout.keys_for(&path)?;
        let newest = keys.newest()?;
        if header.key == newest.id() {
            return Ok(false);
        }
        let key = keys.find(header.key)?.ok_or_else(|| Error::NoKey {
            path: path.clone(),
            key: header.key,
        })?;
        let header = header.rewrap(&key, &newest, name, kind);
        let written = header.ok_or_else(|| sealed(&path))?.and_then(|header| {
            file.write_all_at(&header.to_bytes(), 0)?;
            file.sync_data()
        });
        written.map_err(Error::io("write", &path))?;
        Ok(true)
    }

    /// Opens a file for reading as it is, encrypted or not.
    pub fn as_it_is(path: &Path) -> Result<StoredFile, Error> {
        Ok(StoredFile {
            file: File::open(path).map_err(Error::io("open", path))?,
            path: path.to_owned(),
            encrypted: None,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says that it was renamed.
    pub(super) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    pub fn is_encrypted(&self) -> bool {
        self.encrypted.is_some()
    }

    /// The file as the system has it.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Bytes of content.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        match &self.encrypted {
            Some(encrypted) => Ok(encrypted.len()),
            None => Ok(self
                .metadata()
                .map_err(Error::io("examine", &self.path))?
                .len()),
        }
    }

    /// Reads from `offset` on; how much there was: less than asked for only at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.encrypted {
            Some(encrypted) => self.decrypt(encrypted, buffer, offset),
            None => fill(&self.file, buffer, offset),
        }
    }

    /// The same for what has to be there.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.read_at(buffer, offset)? == buffer.len() {
            true => Ok(()),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// All of it.
    pub fn read_to_end(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.reader()
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }

    /// Reads from the beginning on.
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            file: self,
            position: 0,
        }
    }

    /// Writes at `offset`; what lies between the end of the file and that becomes zeros.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let written = match &self.encrypted {
            Some(encrypted) => self
                .zero_up_to(encrypted, offset)
                .and_then(|()| self.encrypt(encrypted, bytes, offset)),
            None => self.file.write_all_at(bytes, offset),
        };
        written.map_err(Error::io("write", &self.path))
    }

    /// Cuts the file, or lengthens it by zeros.
    pub fn set_len(&self, len: u64) -> Result<(), Error> {
        let set = match &self.encrypted {
            Some(encrypted) if len >= encrypted.len() => self.zero_up_to(encrypted, len),
            Some(encrypted) => self.cut(encrypted, len),
            None => self.file.set_len(len),
        };
        set.map_err(Error::io("set the length of", &self.path))
    }

    /// Makes what was written safe.
    pub fn sync(&self) -> Result<(), Error> {
        (self.file.sync_data()).map_err(Error::io("sync", &self.path))
    }

    /// Cuts off what does not open at the end, fills the other chunks that do not with `byte`, and says which of the content they were. A
    /// power cut leaves such.
    pub fn mend(&self, byte: u8) -> Result<Vec<Range<u64>>, Error> {
        let Some(of) = &self.encrypted else {
            return Ok(Vec::new());
        };
        let mended = self.cut_torn(of).and_then(|mut lost| {
            self.fill_torn(of, byte, &mut lost)?;
            lost.sort_by_key(|range| range.start);
            Ok(lost)
        });
        mended.map_err(Error::io("mend", &self.path))
    }

    /// Cuts the chunks off that do not open, from the last one backwards.
    fn cut_torn(&self, of: &Encrypted) -> io::Result<Vec<Range<u64>>> {
        let mut lost = Vec::new();
        while let Some(last) = of.len().checked_sub(1) {
            let Some(spot) = spots(last..of.len()).next() else {
                break;
            };
            let content = spot.content.start..of.len();
            if self.opens(&content)? {
                break;
            }
            self.file.set_len(disk_len(content.start))?;
            of.len.store(content.start, Ordering::Relaxed);
            lost.push(content);
        }
        Ok(lost)
    }

    fn fill_torn(&self, of: &Encrypted, byte: u8, lost: &mut Vec<Range<u64>>) -> io::Result<()> {
        let len = of.len();
        for spot in spots(0..len) {
            let content = spot.content.start..spot.content.end.min(len);
            if !self.opens(&content)? {
                let filler = vec![byte; (content.end - content.start) as usize];
                self.seal(of, &[spot], |_, out| {
                    out.extend_from_slice(&filler);
                    Ok(())
                })?;
                lost.push(content);
            }
        }
        Ok(())
    }

    fn opens(&self, content: &Range<u64>) -> io::Result<bool> {
        let mut bytes = vec![0; (content.end - content.start) as usize];
        match self.read_exact_at(&mut bytes, content.start) {
            Err(error) if error.kind() == ErrorKind::InvalidData => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Writes everything of another file into this one.
    pub fn copy_from(&self, other: &StoredFile) -> Result<(), Error> {
        other.each_stretch(|bytes, at| self.write_at(bytes, at))
    }

    /// Reads all of it, to see whether that can be done.
    pub fn read_through(&self) -> Result<(), Error> {
        self.each_stretch(|_, _| Ok(()))
    }

    /// Hands out the content from the beginning on, and where each part of it lies.
    fn each_stretch(
        &self,
        mut take: impl FnMut(&[u8], u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut bytes = vec![0; TOGETHER * CHUNK as usize];
        let mut at = 0;
        loop {
            let read = (self.read_at(&mut bytes, at)).map_err(Error::io("read", &self.path))?;
            if read == 0 {
                return Ok(());
            }
            take(&bytes[..read], at)?;
            at += read as u64;
        }
    }

    fn decrypt(&self, of: &Encrypted, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = of.len();
        let end = offset.saturating_add(buffer.len() as u64).min(len);
        if offset >= end {
            return Ok(0);
        }
        let wanted: Vec<Spot> = spots(offset..end).collect();
        let mut filled = 0;
        for spots in wanted.chunks(TOGETHER) {
            let (Some(first), Some(last)) = (spots.first(), spots.last()) else {
                break;
            };
            let behind = disk_len(last.content.end.min(len));
            let mut sealed = vec![0; (behind - first.offset) as usize];
            if fill(&self.file, &mut sealed, first.offset)? < sealed.len() {
                // It was cut meanwhile.
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let mut rest = sealed.as_mut_slice();
            for spot in spots {
                let content = spot.content.end.min(len) - spot.content.start;
                let (chunk, behind) = rest.split_at_mut(Spot::sealed_len(content) as usize);
                rest = behind;
                let opened = of.key.open(spot.number, chunk).ok_or_else(damaged)?;
                let from = offset.saturating_sub(spot.content.start) as usize;
                let part = &opened[from..];
                let part = &part[..part.len().min(buffer.len() - filled)];
                buffer[filled..filled + part.len()].copy_from_slice(part);
                filled += part.len();
            }
        }
        Ok(filled)
    }

    /// Writes within the file or right behind its end.
    fn encrypt(&self, of: &Encrypted, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let wanted: Vec<Spot> = spots(offset..end).collect();
        for spots in wanted.chunks(TOGETHER) {
            self.seal(of, spots, |spot, out| {
                let (begin, end) = (offset.max(spot.content.start), end.min(spot.content.end));
                // What is there already of the first and of the last chunk stays.
                self.append(of, spot.content.start..begin, out)?;
                out.extend_from_slice(&bytes[(begin - offset) as usize..(end - offset) as usize]);
                self.append(of, end..of.len().clamp(end, spot.content.end), out)
            })?;
        }
        Ok(())
    }

    /// Appends a part of the content, all of which is there.
    fn append(&self, of: &Encrypted, range: Range<u64>, out: &mut Vec<u8>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let begin = out.len();
        out.resize(begin + (range.end - range.start) as usize, 0);
        match self.decrypt(of, &mut out[begin..], range.start)? == out.len() - begin {
            true => Ok(()),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Writes chunks that lie side by side; `content` appends all that one is to hold.
    fn seal(
        &self,
        of: &Encrypted,
        spots: &[Spot],
        content: impl Fn(&Spot, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(first) = spots.first() else {
            return Ok(());
        };
        let mut sealed = Vec::with_capacity(spots.len() * CHUNK as usize);
        for spot in spots {
            of.key
                .seal(spot.number, &mut sealed, |out| content(spot, out))?;
        }
        let before = of.len();
        let written = self.file.write_all_at(&sealed, first.offset);
        let end = match &written {
            Ok(()) => plain_len(first.offset + sealed.len() as u64),
            // Some of it may have been taken: whole chunks of that stay.
            Err(_) => {
                let there = self.metadata().map_or(0, |file| file.len());
                let whole = disk_len(before).max(there / CHUNK * CHUNK);
                // What cannot be cut now is cut off by the next attempt, or mended by recovery.
                let _ = self.file.set_len(whole.min(there));
                plain_len(whole.min(there))
            }
        };
        of.len.fetch_max(end, Ordering::Relaxed);
        written
    }

    fn zero_up_to(&self, of: &Encrypted, to: u64) -> io::Result<()> {
        let zeros = vec![0; (to.saturating_sub(of.len())).min(TOGETHER as u64 * CHUNK) as usize];
        while of.len() < to {
            let at = of.len();
            let len = (to - at).min(zeros.len() as u64);
            self.encrypt(of, &zeros[..len as usize], at)?;
        }
        Ok(())
    }

    fn cut(&self, of: &Encrypted, len: u64) -> io::Result<()> {
        let last = len.checked_sub(1).and_then(|last| spots(last..len).next());
        if let Some(spot) = last {
            self.seal(of, &[spot], |spot, out| {
                self.append(of, spot.content.start..len, out)
            })?;
        }
        self.file.set_len(disk_len(len))?;
        of.len.store(len, Ordering::Relaxed);
        Ok(())
    }
}

fn damaged() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "a part of the encrypted file does not open: it is damaged, or was changed",
    )
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The content from its beginning on, or from any place.
#[derive(Debug)]
pub struct Reader<'a> {
    file: &'a StoredFile,
    position: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => {
                let len = self.file.size_bytes().map_err(io::Error::other)?;
                len.checked_add_signed(by)
            }
        };
        self.position = target.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::Keys;
    use super::*;
    use crate::base::{RecordingId, SYSTEM_TENANT, TenantId};

    fn name(tenant: TenantId, number: u128) -> RecordingName {
        RecordingName {
            tenant,
            id: RecordingId(Uuid::from_u128(number)),
            date: (2026, 11, 23),
        }
    }

    /// A storage with keys, and a folder for the System tenant's recording 1.
    fn storage(folder: &Path) -> (Layout, RecordingName) {
        let keys = Arc::new(Keys::at(folder.join("recordings.key")));
        let layout = Layout::new(folder.join("recordings")).with_keys(keys);
        let name = name(SYSTEM_TENANT, 1);
        std::fs::create_dir_all(layout.folder(&name)).unwrap();
        (layout, name)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, usize, u8),
        SetLen(u64),
        Reopen,
        /// Another key, under which the file is put while it is open.
        Rewrap,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let near_pages = prop_oneof![0u64..20_000, 3900u64..4100, 7900u64..8200];
        let step = prop_oneof![
            4 => (near_pages.clone(), 1usize..9000, any::<u8>())
                .prop_map(|(at, len, byte)| Step::Write(at, len, byte)),
            1 => near_pages.prop_map(Step::SetLen),
            1 => Just(Step::Reopen),
            1 => Just(Step::Rewrap),
        ];
        proptest::collection::vec(step, 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_encrypted_file_holds_what_any_other_does(steps in steps(), from in 0u64..30_000, len in 0usize..20_000) {
            let folder = tempfile::tempdir().unwrap();
            let (layout, name) = storage(folder.path());
            let mut file = StoredFile::create(&layout, &name, Kind::AudioPart, true).unwrap();
            let mut model: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Write(at, len, byte) => {
                        let bytes: Vec<u8> = (0..len).map(|n| byte.wrapping_add(n as u8)).collect();
                        let end = at as usize + len;
                        model.resize(model.len().max(end), 0);
                        model[at as usize..end].copy_from_slice(&bytes);
                        file.write_at(&bytes, at).unwrap();
                    }
                    Step::SetLen(len) => {
                        model.resize(len as usize, 0);
                        file.set_len(len).unwrap();
                    }
                    Step::Rewrap => {
                        layout.keys().unwrap().add().unwrap();
                        prop_assert!(StoredFile::rewrap(&layout, &name, Kind::AudioPart).unwrap());
                        prop_assert!(!StoredFile::rewrap(&layout, &name, Kind::AudioPart).unwrap());
                    }
                    Step::Reopen => file = StoredFile::reopen(&layout, &name, Kind::AudioPart).unwrap(),
                }
                prop_assert_eq!(file.size_bytes().unwrap(), model.len() as u64);
            }
            prop_assert_eq!(&file.read_to_end().unwrap(), &model);
            let other = StoredFile::open(&layout, &name, Kind::Audio);
            prop_assert!(other.is_err_and(|error| error.is_not_found()));
            let mut part = vec![1; len];
            let read = file.read_at(&mut part, from).unwrap();
            let expected = model.get(from as usize..).unwrap_or_default();
            prop_assert_eq!(&part[..read], &expected[..len.min(expected.len())]);
            prop_assert_eq!(file.mend(0).unwrap(), []);
            let again = StoredFile::open(&layout, &name, Kind::AudioPart).unwrap();
            prop_assert_eq!(&again.read_to_end().unwrap(), &model);
        }
    }

    #[test]
    fn nothing_of_the_content_lies_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, name) = storage(folder.path());
        let words = b"the words that nobody is to read";
        let file = StoredFile::create(&layout, &name, Kind::Sidecar, true).unwrap();
        file.write_at(&words.repeat(500), 0).unwrap();
        let on_disk = std::fs::read(file.path()).unwrap();
        assert!(on_disk.starts_with(b"callreel-sealed\n"));
        assert!(!on_disk.windows(8).any(|part| part == &words[..8]));
        // Equal contents are not equal on the disk, nor is what is written twice.
        file.write_at(&words.repeat(500), 0).unwrap();
        let again = std::fs::read(file.path()).unwrap();
        let same = on_disk.iter().zip(&again).skip(Header::LEN);
        assert!(same.filter(|(one, other)| one == other).count() < on_disk.len() / 100);
    }

    #[test]
    fn a_changed_byte_anywhere_opens_no_more_and_gives_no_other_content() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, name) = storage(folder.path());
        let content: Vec<u8> = (0..9000u32).map(|n| (n * 7) as u8).collect();
        let file = StoredFile::create(&layout, &name, Kind::Audio, true).unwrap();
        file.write_at(&content, 0).unwrap();
        let whole = std::fs::read(file.path()).unwrap();
        let places = (0..whole.len()).step_by(61).chain([16, 24, 32, 56, 103]);
        for at in places {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(file.path(), &changed).unwrap();
            let read = StoredFile::open(&layout, &name, Kind::Audio).and_then(|f| f.read_to_end());
            // A beginning that is none of an encrypted file is the file as it is.
            let is_unread = read.is_err() || read.is_ok_and(|bytes| bytes == changed);
            // Between the file's own key and the first chunk there is nothing.
            assert!(
                is_unread || (17..24).contains(&at) || (104..128).contains(&at),
                "byte {at}"
            );
        }
        // Chunks in each other's places.
        let mut swapped = whole.clone();
        swapped[CHUNK as usize..].rotate_left(CHUNK as usize);
        swapped.truncate(2 * CHUNK as usize);
        std::fs::write(file.path(), &swapped).unwrap();
        let file = StoredFile::open(&layout, &name, Kind::Audio).unwrap();
        assert!(file.read_exact_at(&mut [0; 10], 4000).is_err());
    }

    #[test]
    fn a_file_opens_only_as_what_it_is_and_under_a_key_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, own) = storage(folder.path());
        let file = StoredFile::create(&layout, &own, Kind::AudioPart, true).unwrap();
        file.write_at(b"audio", 0).unwrap();
        let others = [
            (name(TenantId(Uuid::from_u128(7)), 1), Kind::Audio),
            (name(SYSTEM_TENANT, 2), Kind::Audio),
            (own, Kind::Sidecar),
        ];
        for (other, kind) in others {
            std::fs::create_dir_all(layout.folder(&other)).unwrap();
            std::fs::copy(file.path(), layout.path(&other, kind)).unwrap();
            let opened = StoredFile::open(&layout, &other, kind);
            assert!(matches!(opened, Err(Error::Sealed { .. })), "{opened:?}");
        }
        std::fs::rename(file.path(), layout.path(&own, Kind::Audio)).unwrap();
        let opened = StoredFile::open(&layout, &own, Kind::Audio).unwrap();
        assert_eq!(opened.read_to_end().unwrap(), b"audio");
        let other_keys = Arc::new(Keys::at(folder.path().join("other.key")));
        other_keys.newest().unwrap();
        for without in [
            Layout::new(layout.root()),
            Layout::new(layout.root()).with_keys(other_keys),
        ] {
            let opened = StoredFile::open(&without, &own, Kind::Audio);
            assert!(matches!(opened, Err(Error::NoKey { .. })), "{opened:?}");
        }
        let refused = StoredFile::create(&Layout::new(layout.root()), &own, Kind::RawPart, true);
        assert!(matches!(refused, Err(Error::Keys { .. })));
        assert!(!layout.path(&own, Kind::RawPart).exists());
    }

    #[test]
    fn what_a_power_cut_left_half_written_is_mended_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, name) = storage(folder.path());
        let file = StoredFile::create(&layout, &name, Kind::AudioPart, true).unwrap();
        file.write_at(&[9; 20_000], 0).unwrap();
        let mut on_disk = std::fs::read(file.path()).unwrap();
        on_disk[CHUNK as usize + 600..2 * CHUNK as usize].fill(0);
        // The last one was to become longer.
        on_disk.extend([0; 40]);
        std::fs::write(file.path(), &on_disk).unwrap();
        let file = StoredFile::reopen(&layout, &name, Kind::AudioPart).unwrap();
        let lost = file.mend(0xd5).unwrap();
        // The chunk in the middle is filled, the one at the end is cut off.
        assert_eq!(lost.len(), 2);
        assert_eq!(lost[0].end - lost[0].start, 4068);
        assert_eq!(lost[1].end, 20_040);
        let len = file.size_bytes().unwrap();
        assert_eq!(len, lost[1].start);
        let read = file.read_to_end().unwrap();
        let expected = |at: u64| match lost[0].contains(&at) {
            true => 0xd5,
            false => 9,
        };
        assert!((0..len).all(|at| read[at as usize] == expected(at)));
        let again = StoredFile::open(&layout, &name, Kind::AudioPart).unwrap();
        assert_eq!(again.read_to_end().unwrap(), read);
    }
}
