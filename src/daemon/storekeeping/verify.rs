//! Do catalog and disk agree? Both ways: every row has its file, every file its row, and each is what the other says.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::{OnDisk, Survey, files, survey};
use crate::access::Scope;
use crate::base::TenantId;
use crate::catalog::{CallRecord, Catalog, FileRow};
use crate::storage::{
    Error, Kind, Layout, RecordingName, StorageLock, StoredFile, is_being_written, read_wav_info,
};

/// A running daemon may take this long from a recording's last file to its row.
const SETTLING: Duration = Duration::from_secs(60);

/// After this, what nobody was writing is looked at again.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// What an unfinished recording has of files.
const UNFINISHED: [Kind; 4] = [
    Kind::AudioPart,
    Kind::AudioHeld,
    Kind::RawPart,
    Kind::SidecarPart,
];

/// What can be wrong. The codes are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The catalog's own file is broken.
    CatalogDamaged,
    /// A row's path is that of another tenant's recording.
    WrongTenant,
    /// A row's path is that of no recording, or of another one.
    WrongPath,
    /// There is a row or a sidecar, and no audio.
    FileMissing,
    /// The audio is not as long as its row or its sidecar says.
    SizeDiffers,
    /// The header of the audio does not fit its length, or is none.
    HeaderWrong,
    /// Audio without a sidecar.
    SidecarMissing,
    /// The sidecar cannot be read, or is another recording's.
    SidecarWrong,
    /// A recording without a row.
    NotCatalogued,
    /// Files of a call in progress, and nobody who writes them.
    Unfinished,
    /// It is encrypted, and its key is not there, or it was changed; or it should be encrypted.
    DoesNotOpen,
    /// A file or folder that cannot be looked at.
    Unreadable,
}

impl Fault {
    pub fn code(self) -> &'static str {
        match self {
            Fault::CatalogDamaged => "catalog_damaged",
            Fault::WrongTenant => "wrong_tenant",
            Fault::WrongPath => "wrong_path",
            Fault::FileMissing => "file_missing",
            Fault::SizeDiffers => "size_differs",
            Fault::HeaderWrong => "header_wrong",
            Fault::SidecarMissing => "sidecar_missing",
            Fault::SidecarWrong => "sidecar_wrong",
            Fault::NotCatalogued => "not_catalogued",
            Fault::Unfinished => "unfinished",
            Fault::DoesNotOpen => "does_not_open",
            Fault::Unreadable => "unreadable",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finding {
    pub fault: Fault,
    /// Whose it is: by the row where there is one, else by the path.
    pub tenant_id: Option<TenantId>,
    pub recording_id: Option<Uuid>,
    #[serde(serialize_with = "super::as_text")]
    pub path: PathBuf,
    pub detail: String,
}

/// What was compared, and what was found.
#[derive(Debug, Default, serde::Serialize)]
pub struct Verification {
    /// Rows with a file.
    pub rows: u64,
    /// Recordings with a finished sidecar.
    pub recordings: u64,
    /// Calls in progress: the daemon's.
    pub in_progress: u64,
    /// Process of the daemon that holds the storage.
    pub daemon: Option<String>,
    pub findings: Vec<Finding>,
}

/// How much of the files is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Their beginnings.
    Headers,
    /// All of them: what is encrypted has to open to its end.
    Contents,
}

/// Compares, and changes nothing. A daemon may run meanwhile. `progress` is told how many rows and recordings of how
/// many are done.
///
/// # Errors
/// When there is no storage, or the catalog cannot be read.
pub async fn verify(
    catalog: &Catalog,
    layout: &Layout,
    depth: Depth,
    progress: impl FnMut(u64, u64),
) -> anyhow::Result<Verification> {
    let root = layout.root();
    anyhow::ensure!(root.is_dir(), "there is no storage {}", root.display());
    let survey = survey(layout);
    let rows = files(catalog).await?;
    let mut verifier = Verifier {
        layout: layout.clone(),
        depth,
        found: Verification {
            rows: rows.len() as u64,
            recordings: survey.recordings.len() as u64,
            daemon: StorageLock::holder(root),
            ..Verification::default()
        },
        reported: HashSet::new(),
        done: 0,
        total: (rows.len() + survey.recordings.len()) as u64,
        progress,
    };
    for line in catalog.check().await? {
        verifier.add(Fault::CatalogDamaged, None, PathBuf::new(), line);
    }
    verifier.check_rows(&rows);
    verifier.check_recordings(catalog, &survey, &rows).await?;
    verifier.check_leftovers(survey);
    let mut found = verifier.found;
    found
        .findings
        .sort_by(|a, b| (a.fault, &a.path).cmp(&(b.fault, &b.path)));
    Ok(found)
}

struct Verifier<P> {
    layout: Layout,
    depth: Depth,
    found: Verification,
    /// Recordings whose audio is not what their row says.
    reported: HashSet<RecordingName>,
    done: u64,
    total: u64,
    progress: P,
}

type Whose = (TenantId, Uuid);

impl<P: FnMut(u64, u64)> Verifier<P> {
    fn add(
        &mut self,
        fault: Fault,
        whose: Option<Whose>,
        path: PathBuf,
        detail: impl Into<String>,
    ) {
        self.found.findings.push(Finding {
            fault,
            tenant_id: whose.map(|(tenant, _)| tenant),
            recording_id: whose.map(|(_, id)| id),
            path,
            detail: detail.into(),
        });
    }

    fn step(&mut self) {
        self.done += 1;
        (self.progress)(self.done, self.total);
    }

    fn check_rows(&mut self, rows: &[FileRow]) {
        for row in rows {
            if let Err((fault, detail)) = self.check_row(row) {
                if let (
                    Fault::FileMissing | Fault::SizeDiffers | Fault::DoesNotOpen,
                    Some((name, _)),
                ) = (fault, RecordingName::parse(Path::new(&row.path)))
                {
                    self.reported.insert(name);
                }
                // What the row says is not joined to the root: it may be any text.
                let path = match fault {
                    Fault::WrongPath | Fault::WrongTenant => PathBuf::from(&row.path),
                    _ => self.layout.root().join(&row.path),
                };
                self.add(fault, Some((row.tenant, row.id)), path, detail);
            }
            self.step();
        }
    }

    fn check_row(&self, row: &FileRow) -> Result<(), (Fault, String)> {
        let Some((name, Kind::Audio)) = RecordingName::parse(Path::new(&row.path)) else {
            return Err((Fault::WrongPath, "no recording is named like this".into()));
        };
        if name.tenant != row.tenant {
            return Err((
                Fault::WrongTenant,
                format!("the row is tenant {}'s", row.tenant),
            ));
        }
        if name.id.0 != row.id {
            return Err((Fault::WrongPath, format!("the row is recording {}", row.id)));
        }
        let said = row.size_bytes;
        match fs::symlink_metadata(self.layout.path(&name, Kind::Audio)) {
            Ok(file) if !file.is_file() => Err((Fault::Unreadable, "it is no file".into())),
            Ok(file) if file.len() == said => Ok(()),
            Ok(_) => self.check_size(&name, said),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err((Fault::FileMissing, "the catalog has it".into()))
            }
            Err(error) => Err((Fault::Unreadable, error.to_string())),
        }
    }

    /// Of a file that is longer or shorter than its row says: one that is encrypted is not as long as what it holds.
    fn check_size(&self, name: &RecordingName, said: u64) -> Result<(), (Fault, String)> {
        let opened = StoredFile::open(&self.layout, name, Kind::Audio);
        let is = match opened.and_then(|file| file.size_bytes()) {
            Ok(is) if is == said => return Ok(()),
            Ok(is) => is,
            Err(error) => return Err((fault_of(&error), error.to_string())),
        };
        Err((
            Fault::SizeDiffers,
            format!("{is} bytes, the catalog says {said}"),
        ))
    }

    async fn check_recordings(
        &mut self,
        catalog: &Catalog,
        survey: &Survey,
        rows: &[FileRow],
    ) -> anyhow::Result<()> {
        let known: HashSet<Whose> = rows.iter().map(|row| (row.tenant, row.id)).collect();
        for recording in &survey.recordings {
            let whose = (recording.name.tenant, recording.name.id.0);
            if !known.contains(&whose)
                && !self.is_settling(recording)
                && !self.has_row(catalog, whose).await?
            {
                let detail = "`callreel catalog rebuild` enters it";
                self.add(Fault::NotCatalogued, Some(whose), recording.audio(), detail);
            }
            self.check_files(recording);
            if self.depth == Depth::Contents {
                self.check_contents(recording);
            }
            self.step();
        }
        Ok(())
    }

    fn check_files(&mut self, recording: &OnDisk) {
        let whose = Some((recording.name.tenant, recording.name.id.0));
        let sidecar = match recording.row() {
            Ok(row) => Some(row),
            // Its tenant's data may have been removed since the survey.
            Err(_) if !recording.sidecar_path().exists() => return,
            Err(error) => {
                let fault = match error.downcast_ref() {
                    Some(Error::NoKey { .. } | Error::Sealed { .. }) => Fault::DoesNotOpen,
                    _ => Fault::SidecarWrong,
                };
                self.add(fault, whose, recording.sidecar_path(), error.to_string());
                None
            }
        };
        if let Err((fault, detail)) = check_audio(recording, sidecar.as_ref()) {
            // Otherwise the row has said so already.
            if !self.reported.contains(&recording.name) {
                self.add(fault, whose, recording.audio(), detail);
            }
        }
    }

    /// Reads what is there of a recording to its end.
    fn check_contents(&mut self, recording: &OnDisk) {
        for kind in [Kind::Audio, Kind::Raw, Kind::Signalling] {
            let path = recording.layout.path(&recording.name, kind);
            let opened = StoredFile::open(&recording.layout, &recording.name, kind);
            // What is wrong with the beginning of the audio was said already.
            if opened.is_err() && kind == Kind::Audio {
                continue;
            }
            let error = match opened.and_then(|file| file.read_through()) {
                Ok(()) => continue,
                Err(error) if error.is_not_found() => continue,
                Err(error) => error,
            };
            let whose = Some((recording.name.tenant, recording.name.id.0));
            self.add(fault_of(&error), whose, path, error.to_string());
        }
    }

    /// Whether a running daemon may still be about to enter it.
    fn is_settling(&self, recording: &OnDisk) -> bool {
        let age = || {
            let modified = fs::metadata(recording.sidecar_path())
                .ok()?
                .modified()
                .ok()?;
            modified.elapsed().ok()
        };
        self.found.daemon.is_some() && age().is_some_and(|age| age < SETTLING)
    }

    /// Whether a running daemon has entered it since the rows were read.
    async fn has_row(&self, catalog: &Catalog, (tenant, id): Whose) -> anyhow::Result<bool> {
        if self.found.daemon.is_none() {
            return Ok(false);
        }
        let rows = catalog.call(&Scope::tenant(tenant), id).await?;
        Ok(rows.iter().any(|row| row.file.is_some()))
    }

    fn check_leftovers(&mut self, survey: Survey) {
        // One may have been started since the first look, and the survey has seen files of its calls.
        let daemon = StorageLock::holder(self.layout.root());
        let is_running = daemon.is_some() || self.found.daemon.is_some();
        for recording in survey.without_sidecar {
            let whose = (recording.name.tenant, recording.name.id.0);
            let part = self.layout.path(&recording.name, Kind::SidecarPart);
            if recording.sidecar_path().exists() || (is_running && part.exists()) {
                continue;
            }
            let detail = "the catalog cannot be rebuilt from it";
            self.add(
                Fault::SidecarMissing,
                Some(whose),
                recording.audio(),
                detail,
            );
        }
        self.check_unfinished(survey.unfinished, is_running);
        for (path, error) in survey.unreadable {
            self.add(Fault::Unreadable, None, path, error.to_string());
        }
    }

    /// A call in progress is one whose files somebody holds open.
    fn check_unfinished(&mut self, unfinished: Vec<OnDisk>, is_running: bool) {
        let all = unfinished.len();
        let mut idle = unfinished;
        idle.retain(|recording| !(is_running && self.is_in_progress(recording)));
        if is_running && !idle.is_empty() {
            // Some may have been just begun, or just finished.
            std::thread::sleep(SECOND_LOOK);
            idle.retain(|recording| !self.is_in_progress(recording));
        }
        self.found.in_progress = (all - idle.len()) as u64;
        let detail = match is_running {
            true => {
                "nobody writes it: the storage did not take it; the daemon or its next start tries again"
            }
            false => "no daemon is running; the next start finishes it",
        };
        for recording in idle {
            let whose = (recording.name.tenant, recording.name.id.0);
            let parts = UNFINISHED.map(|kind| self.layout.path(&recording.name, kind));
            let path = parts.into_iter().find(|path| path.exists());
            if let Some(path) = path {
                self.add(Fault::Unfinished, Some(whose), path, detail);
            }
        }
    }

    fn is_in_progress(&self, recording: &OnDisk) -> bool {
        // The audio may have its name already, and the sidecar not.
        let kinds = UNFINISHED.into_iter().chain([Kind::Audio]);
        kinds
            .map(|kind| self.layout.path(&recording.name, kind))
            .any(|path| is_being_written(&path))
    }
}

/// What is wrong with a file that cannot be opened or read.
fn fault_of(error: &Error) -> Fault {
    match error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
            Fault::DoesNotOpen
        }
        Error::NoKey { .. } | Error::Sealed { .. } | Error::Keys { .. } => Fault::DoesNotOpen,
        Error::NotWav { .. } => Fault::HeaderWrong,
        _ => Fault::Unreadable,
    }
}

fn check_audio(recording: &OnDisk, sidecar: Option<&CallRecord>) -> Result<(), (Fault, String)> {
    let file = match StoredFile::open(&recording.layout, &recording.name, Kind::Audio) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => {
            return Err((Fault::FileMissing, "only its sidecar is there".into()));
        }
        Err(error) => return Err((fault_of(&error), error.to_string())),
    };
    let beside = StoredFile::open(&recording.layout, &recording.name, Kind::Sidecar);
    if beside.is_ok_and(|sidecar| sidecar.is_encrypted() && !file.is_encrypted()) {
        let detail = "it is not encrypted, and its sidecar is: it was put in the place of another";
        return Err((Fault::DoesNotOpen, detail.into()));
    }
    let info = read_wav_info(&file).map_err(|error| (fault_of(&error), error.to_string()))?;
    let is = file.size_bytes().unwrap_or(0);
    let said = sidecar
        .and_then(|row| row.file.as_ref())
        .map(|file| file.size_bytes);
    match said {
        Some(said) if said != is => Err((
            Fault::SizeDiffers,
            format!("{is} bytes, its sidecar says {said}"),
        )),
        _ if !info.complete => Err((Fault::HeaderWrong, "it does not fit the length".into())),
        _ => Ok(()),
    }
}
