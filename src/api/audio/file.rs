//! The file of a recording, opened for reading.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use std::os::unix::fs::MetadataExt;

use crate::base::TenantId;
use crate::storage::{Error, Kind, Layout, RecordingName, StoredFile, WavInfo, read_wav_info};

/// A finished recording. It can be read to its end even if it is removed meanwhile.
#[derive(Clone, Debug)]
pub struct AudioFile {
    pub file: Arc<StoredFile>,
    pub info: WavInfo,
    pub size_bytes: u64,
    pub modified: SystemTime,
    /// Tells this file's bytes from those of any other that has, or will have, its name.
    pub fingerprint: String,
}

/// Why there is no audio.
#[derive(Debug)]
pub enum Unreadable {
    /// It was removed, or was never there.
    Gone,
    /// The storage does not answer, or holds something else.
    Storage(String),
}

impl AudioFile {
    /// Opens what the catalog says is at `relative`, if that is a recording of `tenant`. Blocks.
    pub fn open(
        layout: &Layout,
        tenant: TenantId,
        relative: &str,
    ) -> Result<AudioFile, Unreadable> {
        let name = match RecordingName::parse(Path::new(relative)) {
            Some((name, Kind::Audio)) if name.tenant == tenant => name,
            _ => return Err(Unreadable::Storage("a place that is no recording's".into())),
        };
        let failed = |error: Error| match error.is_not_found() {
            true => Unreadable::Gone,
            false => Unreadable::Storage(error.to_string()),
        };
        let file = StoredFile::open(layout, &name, Kind::Audio).map_err(failed)?;
        let examined = |error| Error::io("examine", file.path())(error);
        let metadata = (file.metadata()).map_err(|error| failed(examined(error)))?;
        let modified = (metadata.modified()).map_err(|error| failed(examined(error)))?;
        let info = read_wav_info(&file).map_err(failed)?;
        let fingerprint = fingerprint(&[
            name.id.0.as_u128() as i128,
            i128::from(metadata.len()),
            i128::from(metadata.ino()),
            i128::from(metadata.mtime()),
            i128::from(metadata.mtime_nsec()),
        ]);
        Ok(AudioFile {
            info,
            size_bytes: file.size_bytes().map_err(failed)?,
            modified,
            fingerprint,
            file: Arc::new(file),
        })
    }
}

/// A finished recording is never written again: another version of it is another file, put in its place at another time.
fn fingerprint(facts: &[i128]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("callreel audio file v1");
    for fact in facts {
        hasher.update(&fact.to_le_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use uuid::Uuid;

    use super::*;
    use crate::base::{RecordingId, Timestamp};
    use crate::storage::{SampleFormat, WavFormat};

    pub const TENANT: TenantId = TenantId(Uuid::from_u128(0xacc0 << 64 | 1));

    /// Writes a recording with these frames as bytes, and gives its relative place.
    pub fn write(root: &Path, number: u128, format: WavFormat, frames: &[u8]) -> String {
        let start = Timestamp::from_secs_nanos(1_800_000_000, 0);
        let id = RecordingId(Uuid::from_u128(number));
        let name = RecordingName::new(TENANT, id, start);
        let path: PathBuf = root.join(name.relative(Kind::Audio));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let count = frames.len() as u64 / format.frame_bytes();
        let bytes = [format.header(count), frames.to_vec()].concat();
        std::fs::write(path, bytes).unwrap();
        name.relative(Kind::Audio)
    }

    pub fn format(sample_format: SampleFormat, sample_rate_hz: u32) -> WavFormat {
        WavFormat {
            sample_format,
            sample_rate_hz,
        }
    }

    #[test]
    fn only_a_recording_of_the_tenant_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let place = write(root, 1, format(SampleFormat::Pcm16, 8000), &[1; 400]);
        let opened = AudioFile::open(&Layout::new(root), TENANT, &place).unwrap();
        assert_eq!((opened.info.frames, opened.size_bytes), (100, 4096 + 400));
        let other = TenantId(Uuid::from_u128(2));
        let is_refused = |tenant, place: &str| {
            matches!(
                AudioFile::open(&Layout::new(root), tenant, place),
                Err(Unreadable::Storage(_))
            )
        };
        assert!(is_refused(other, &place));
        assert!(is_refused(TENANT, "../../etc/passwd"));
        assert!(is_refused(TENANT, &format!("{place}.part")));
        assert!(is_refused(TENANT, &place.replace(".wav", ".wav.held")));
        assert!(is_refused(TENANT, &place.replace(".wav", ".json")));
        let gone = place.replace("000001.wav", "000002.wav");
        let absent = AudioFile::open(&Layout::new(root), TENANT, &gone);
        assert!(matches!(absent, Err(Unreadable::Gone)), "{absent:?}");
    }

    #[test]
    fn another_version_of_a_recording_has_another_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let kind = format(SampleFormat::Pcm16, 8000);
        let place = write(folder.path(), 1, kind, &[1; 400]);
        let open = || AudioFile::open(&Layout::new(folder.path()), TENANT, &place).unwrap();
        let first = open().fingerprint;
        assert_eq!(open().fingerprint, first);
        std::fs::rename(folder.path().join(&place), folder.path().join("old")).unwrap();
        write(folder.path(), 1, kind, &[1; 400]);
        assert_ne!(open().fingerprint, first);
    }
}
