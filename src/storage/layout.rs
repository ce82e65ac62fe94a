//! Names and places of files.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::{Error, Keys};
use crate::base::{RecordingId, TenantId, Timestamp};

/// The tree of recordings under one root.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    root: PathBuf,
    /// The root was a file system of its own when it was looked at.
    is_mount: bool,
    /// Of what is encrypted.
    keys: Option<Arc<Keys>>,
}

/// Which file of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Audio,
    Sidecar,
    AudioPart,
    SidecarPart,
    /// Packets that could not be decoded.
    Raw,
    RawPart,
    /// Audio of a call that is recorded on demand, as long as nobody asked for it: it becomes `AudioPart` or nothing.
    AudioHeld,
    /// The dialog's messages, as a capture file.
    Signalling,
    SignallingPart,
    /// Another version of a finished recording, before it takes the other's place. Not looked for: what is left of one is
    /// written over by the next.
    AudioNew,
    SidecarNew,
}

impl Kind {
    const ALL: [Kind; 9] = [
        Kind::AudioPart,
        Kind::SidecarPart,
        Kind::Audio,
        Kind::Sidecar,
        Kind::RawPart,
        Kind::Raw,
        Kind::AudioHeld,
        Kind::Signalling,
        Kind::SignallingPart,
    ];

    /// What its name ends with, behind the recording's id and a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Kind::Audio => "wav",
            Kind::Sidecar => "json",
            Kind::AudioPart => "wav.part",
            Kind::SidecarPart => "json.part",
            Kind::Raw => "rtp.pcap",
            Kind::RawPart => "rtp.pcap.part",
            Kind::AudioHeld => "wav.held",
            Kind::Signalling => "pcap",
            Kind::SignallingPart => "pcap.part",
            Kind::AudioNew => "wav.new",
            Kind::SidecarNew => "json.new",
        }
    }
}

/// A recording as its path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordingName {
    pub tenant: TenantId,
    pub id: RecordingId,
    /// Year, month, day, UTC.
    pub date: (u16, u8, u8),
}

impl RecordingName {
    /// Of a recording that starts at `start`. Years outside 0 to 9999, which only a broken capture has, become the nearest
    /// of them.
    pub fn new(tenant: TenantId, id: RecordingId, start: Timestamp) -> Self {
        let utc = start.utc();
        RecordingName {
            tenant,
            id,
            date: (
                utc.year.clamp(0, 9999) as u16,
                utc.month as u8,
                utc.day as u8,
            ),
        }
    }

    /// The folder, relative to the root, with `/` between its parts.
    pub fn folder(&self) -> String {
        let (year, month, day) = self.date;
        format!("{}/{year:04}/{month:02}/{day:02}", self.tenant)
    }

    /// A file, relative to the root.
    pub fn relative(&self, kind: Kind) -> String {
        format!("{}/{}.{}", self.folder(), self.id, kind.extension())
    }

    /// Reads back what [`RecordingName::relative`] made. Anything else is `None`: whatever lies in the tree is not taken for a
    /// recording unless it is named like one.
    pub fn parse(relative: &Path) -> Option<(RecordingName, Kind)> {
        let text = relative.to_str()?;
        let kind = Kind::ALL.into_iter().find(|kind| {
            text.strip_suffix(kind.extension())
                .is_some_and(|rest| rest.ends_with('.'))
        })?;
        let mut parts = text.split('/');
        let tenant = TenantId(parts.next()?.parse().ok()?);
        let date = (
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
        );
        let id = RecordingId(parts.next()?.split('.').next()?.parse().ok()?);
        let name = RecordingName { tenant, id, date };
        (name.relative(kind) == text).then_some((name, kind))
    }

    /// The recording at `relative`, where that is what a tenant's call of this id is to have there: its own audio, and no other file.
    pub fn of_call(tenant: TenantId, id: Uuid, relative: &str) -> Option<RecordingName> {
        let (name, kind) = RecordingName::parse(Path::new(relative))?;
        let is_own = kind == Kind::Audio && name.tenant == tenant && name.id.0 == id;
        is_own.then_some(name)
    }
}

impl Layout {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Layout {
            root: root.into(),
            is_mount: false,
            keys: None,
        }
    }

    /// The same with keys: without them nothing encrypted is read or written.
    pub fn with_keys(self, keys: Arc<Keys>) -> Self {
        let keys = Some(keys);
        Layout { keys, ..self }
    }

    /// The same for who writes there for long: a root that is a file system of its own is waited for when it is unmounted, and nothing
    /// is written into the folder that it had covered.
    pub fn watched(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let is_mount = is_mount(&root);
        Layout {
            is_mount,
            ..Layout::new(root)
        }
    }

    /// Whether the file system that was at the root is not there, and none in its place.
    pub fn is_unmounted(&self) -> bool {
        self.is_mount && !is_mount(&self.root)
    }

    /// Makes the folder of a recording.
    pub(super) fn make_folder(&self, name: &RecordingName) -> Result<(), Error> {
        let folder = self.folder(name);
        if self.is_unmounted() {
            let error = std::io::Error::other("its file system is not mounted");
            return Err(Error::io("write to", &self.root)(error));
        }
        std::fs::create_dir_all(&folder).map_err(Error::io("create the folder", &folder))
    }

    pub fn keys(&self) -> Option<&Keys> {
        self.keys.as_deref()
    }

    /// The keys for the file at `path`, which is to be encrypted.
    pub(super) fn keys_for(&self, path: &Path) -> Result<&Keys, Error> {
        self.keys().ok_or_else(|| Error::Keys {
            path: path.to_owned(),
            reason: "none is configured".into(),
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn path(&self, name: &RecordingName, kind: Kind) -> PathBuf {
        self.root.join(name.relative(kind))
    }

    pub fn folder(&self, name: &RecordingName) -> PathBuf {
        self.root.join(name.folder())
    }

    /// Every file of a recording under the root, in the order of their paths. Folders that cannot be read are reported to
    /// `problem` and passed over; symbolic links are not followed.
    pub fn walk(
        &self,
        mut problem: impl FnMut(&Path, std::io::Error),
    ) -> Vec<(RecordingName, Kind)> {
        let mut found = Vec::new();
        let mut folders = vec![(self.root.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    problem(&folder, error);
                    continue;
                }
            };
            let mut names: Vec<_> = entries.filter_map(Result::ok).collect();
            names.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
            for entry in names {
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                let path = entry.path();
                if kind.is_dir() && depth < 4 {
                    folders.push((path, depth + 1));
                } else if kind.is_file()
                    && let Ok(relative) = path.strip_prefix(&self.root)
                    && let Some(name) = RecordingName::parse(relative)
                {
                    found.push(name);
                }
            }
        }
        found
    }
}

fn is_mount(root: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
    match (device(root), device(&root.join(".."))) {
        (Some(own), Some(above)) => own != above,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SYSTEM_TENANT, time_ordered};

    #[test]
    fn paths_follow_the_day_of_the_start_in_utc() {
        let start = Timestamp::from_secs_nanos(1_479_134_519, 0);
        let id = RecordingId(time_ordered(start, [7; 10]));
        let name = RecordingName::new(SYSTEM_TENANT, id, start);
        let path = name.relative(Kind::AudioPart);
        assert_eq!(
            path,
            format!("11111111-1111-1111-1111-111111111111/2016/11/14/{id}.wav.part")
        );
        assert_eq!(
            RecordingName::parse(Path::new(&path)),
            Some((name, Kind::AudioPart))
        );
    }

    #[test]
    fn a_path_is_a_calls_own_or_leads_nowhere() {
        let (own, other) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let (tenant, stranger) = (SYSTEM_TENANT, TenantId(Uuid::from_u128(9)));
        let name = RecordingName::new(tenant, RecordingId(own), Timestamp::from_nanos(0));
        let of = |tenant, id, path: &str| RecordingName::of_call(tenant, id, path);
        let audio = name.relative(Kind::Audio);
        assert_eq!(of(tenant, own, &audio), Some(name));
        assert_eq!(of(stranger, own, &audio), None);
        assert_eq!(of(tenant, other, &audio), None);
        for kind in [Kind::Sidecar, Kind::AudioPart, Kind::Signalling] {
            assert_eq!(of(tenant, own, &name.relative(kind)), None);
        }
        for path in [
            "",
            "/etc/passwd",
            &format!("./{audio}"),
            &format!("{audio}/"),
        ] {
            assert_eq!(of(tenant, own, path), None, "{path}");
        }
    }

    #[test]
    fn other_files_are_not_recordings() {
        let id = "01586f2b-0000-7000-8000-000000000000";
        let tenant = SYSTEM_TENANT;
        for path in [
            format!("{tenant}/2016/11/14/{id}.mp3"),
            format!("{tenant}/2016/11/14/../14/{id}.wav"),
            format!("{tenant}/2016/1/14/{id}.wav"),
            format!("{tenant}/2016/11/14/x/{id}.wav"),
            format!("acme/2016/11/14/{id}.wav"),
            format!("{tenant}/2016/11/14/{id}.wav.json.part.bak"),
        ] {
            assert_eq!(RecordingName::parse(Path::new(&path)), None, "{path}");
        }
    }
}
