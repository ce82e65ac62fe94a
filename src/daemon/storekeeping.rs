//! The catalog beside the disk: what each has, and whether they agree.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::cataloguing::row_of_sidecar;
use crate::access::Scope;
use crate::base::TenantId;
use crate::catalog::{CallRecord, Catalog};
use crate::storage::{Kind, Layout, RecordingName, Sidecar, read_wav_info};

/// A finished recording on disk.
#[derive(Clone, Debug)]
pub struct OnDisk {
    pub name: RecordingName,
    layout: Layout,
}

impl OnDisk {
    pub fn relative(&self) -> String {
        self.name.relative(Kind::Audio)
    }

    pub fn audio(&self) -> PathBuf {
        self.layout.path(&self.name, Kind::Audio)
    }

    /// The row that its sidecar stands for; refused when the sidecar is another recording's.
    pub fn row(&self) -> anyhow::Result<CallRecord> {
        let path = self.layout.path(&self.name, Kind::Sidecar);
        let sidecar = Sidecar::read(&path)?;
        anyhow::ensure!(
            sidecar.recording_id == self.name.id && sidecar.tenant_id == self.name.tenant,
            "sidecar {} speaks of another recording",
            path.display()
        );
        Ok(row_of_sidecar(&sidecar, &self.relative()))
    }

    /// What is wrong with the files, if anything is.
    pub fn fault(&self) -> Option<String> {
        let row = match self.row() {
            Ok(row) => row,
            Err(error) => return Some(error.to_string()),
        };
        let path = self.audio();
        let info = match File::open(&path) {
            Ok(file) => read_wav_info(&file, &path),
            Err(error) => return Some(format!("cannot open {}: {error}", path.display())),
        };
        match info {
            Err(error) => Some(error.to_string()),
            Ok(info) if !info.complete => Some(format!(
                "the header of {} does not fit its length",
                path.display()
            )),
            Ok(info) => {
                let said = row.file.map_or(0, |file| file.size_bytes);
                let is = info.format.offset_of(info.frames);
                (said != is)
                    .then(|| format!("{} has {is} bytes, its sidecar says {said}", path.display()))
            }
        }
    }
}

/// Every recording with a finished sidecar under `root`.
pub fn on_disk(root: &Path) -> Vec<OnDisk> {
    let layout = Layout::new(root);
    let files = layout.walk(|path, error| {
        tracing::error!(path = %path.display(), %error, "a folder of the storage cannot be read");
    });
    let finished = files.into_iter().filter(|(_, kind)| *kind == Kind::Sidecar);
    finished
        .map(|(name, _)| OnDisk {
            name,
            layout: layout.clone(),
        })
        .collect()
}

/// Every recording that the catalog has, by tenant and id.
pub async fn catalogued(catalog: &Catalog) -> anyhow::Result<HashSet<(TenantId, Uuid)>> {
    let mut known = HashSet::new();
    let mut after = None;
    loop {
        let page = catalog.files(&Scope::root(), after, 10_000).await?;
        let Some(last) = page.last() else {
            return Ok(known);
        };
        after = Some((last.tenant, last.id));
        known.extend(page.iter().map(|file| (file.tenant, file.id)));
    }
}
