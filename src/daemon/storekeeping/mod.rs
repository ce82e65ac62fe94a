//! The catalog beside the disk: what each has, whether they agree, and how the one is made of the other.

mod rebuild;
mod verify;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use super::cataloguing::row_of_sidecar;
use crate::access::Scope;
use crate::base::TenantId;
use crate::catalog::{CallRecord, Catalog, FileRow};
use crate::storage::{Kind, Layout, RecordingName, Sidecar};

pub use rebuild::{Rebuilt, Unreadable, rebuild};
pub use verify::{Depth, Fault, Finding, Verification, verify};

/// Files of the catalog asked for at a time.
const PAGE: u32 = 10_000;

/// A recording on disk.
#[derive(Clone, Debug)]
pub struct OnDisk {
    pub name: RecordingName,
    layout: Arc<Layout>,
}

impl OnDisk {
    /// The audio, relative to the root.
    pub fn relative(&self) -> String {
        self.name.relative(Kind::Audio)
    }

    pub fn audio(&self) -> PathBuf {
        self.layout.path(&self.name, Kind::Audio)
    }

    pub fn sidecar_path(&self) -> PathBuf {
        self.layout.path(&self.name, Kind::Sidecar)
    }

    /// The row that its sidecar stands for; refused when the sidecar is another recording's.
    pub fn row(&self) -> anyhow::Result<CallRecord> {
        let path = self.sidecar_path();
        let sidecar = Sidecar::load(&self.layout, &self.name, Kind::Sidecar)?;
        anyhow::ensure!(
            sidecar.recording_id == self.name.id && sidecar.tenant_id == self.name.tenant,
            "sidecar {} speaks of recording {} of tenant {}",
            path.display(),
            sidecar.recording_id,
            sidecar.tenant_id
        );
        Ok(row_of_sidecar(&sidecar, &self.relative()))
    }
}

/// What lies under the root of a storage, in the order of paths.
#[derive(Debug, Default)]
pub struct Survey {
    /// Those with a finished sidecar.
    pub recordings: Vec<OnDisk>,
    /// Finished audio without a finished sidecar.
    pub without_sidecar: Vec<OnDisk>,
    /// Recordings of which there are files of calls in progress.
    pub unfinished: Vec<OnDisk>,
    /// Folders that could not be read: what is in them is not known.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

/// Which files of a recording there are.
#[derive(Clone, Copy, Default)]
struct Files {
    audio: bool,
    sidecar: bool,
    part: bool,
}

/// Looks at all names of a storage, and into none of the files.
pub fn survey(layout: &Layout) -> Survey {
    let layout = Arc::new(layout.clone());
    let mut survey = Survey::default();
    let found = layout.walk(|path, error| survey.unreadable.push((path.to_owned(), error)));
    let mut files: HashMap<RecordingName, Files> = HashMap::with_capacity(found.len() / 2);
    for (name, kind) in &found {
        let of_name = files.entry(*name).or_default();
        match kind {
            Kind::Audio => of_name.audio = true,
            Kind::Sidecar => of_name.sidecar = true,
            Kind::AudioPart
            | Kind::SidecarPart
            | Kind::RawPart
            | Kind::AudioHeld
            | Kind::SignallingPart => of_name.part = true,
            // They belong to a recording that has its other files.
            Kind::Raw | Kind::Signalling | Kind::AudioNew | Kind::SidecarNew => {}
        }
    }
    for (name, _) in found {
        // Each once, where its first file stands.
        let Some(files) = files.remove(&name) else {
            continue;
        };
        let layout = layout.clone();
        let recording = OnDisk { name, layout };
        if files.part {
            survey.unfinished.push(recording.clone());
        }
        match files {
            Files { sidecar: true, .. } => survey.recordings.push(recording),
            Files { audio: true, .. } => survey.without_sidecar.push(recording),
            _ => {}
        }
    }
    survey
}

/// Every recording with a finished sidecar.
pub fn on_disk(layout: &Layout) -> Vec<OnDisk> {
    let survey = survey(layout);
    for (path, error) in &survey.unreadable {
        tracing::error!(path = %path.display(), %error, "a folder of the storage cannot be read");
    }
    survey.recordings
}

/// Every recording that the catalog has, by tenant and id.
pub async fn catalogued(catalog: &Catalog) -> anyhow::Result<HashSet<(TenantId, Uuid)>> {
    let rows = files(catalog).await?;
    Ok(rows
        .into_iter()
        .map(|file| (file.tenant, file.id))
        .collect())
}

/// Every file that the catalog has.
async fn files(catalog: &Catalog) -> anyhow::Result<Vec<FileRow>> {
    let (mut found, mut after): (Vec<FileRow>, _) = (Vec::new(), None);
    loop {
        found.append(&mut catalog.files(&Scope::root(), after, PAGE).await?);
        let last = found.last().map(|last| (last.tenant, last.id));
        if last == after {
            return Ok(found);
        }
        after = last;
    }
}

/// The file of an SQLite catalog.
pub fn catalog_file(url: &str) -> Option<PathBuf> {
    let options = sqlx::sqlite::SqliteConnectOptions::from_str(url).ok()?;
    Some(options.get_filename().to_owned())
}

/// Opens a catalog for questions: one that is not there is not made.
pub async fn open_catalog(url: &str) -> anyhow::Result<Catalog> {
    if let Some(file) = catalog_file(url) {
        anyhow::ensure!(file.exists(), "there is no catalog {}", file.display());
    }
    Ok(Catalog::open(url).await?)
}

/// JSON for any path: a name that is not UTF-8 is shown as far as it is.
fn as_text<S: serde::Serializer>(path: &Path, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&path.display())
}
