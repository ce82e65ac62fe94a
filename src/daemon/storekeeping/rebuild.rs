//! A new catalog from the sidecars.

use std::path::PathBuf;

use super::survey;
use crate::catalog::{CallRecord, Rebuild};
use crate::storage::{Layout, StorageLock};

/// Rows entered at a time.
const BATCH: usize = 1000;

/// What a rebuild did.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Recordings entered from their sidecars.
    pub entered: u64,
    /// Calls without a recording, taken over from the old catalog.
    pub kept: u64,
    /// Sidecars and folders that could not be read: the new catalog does not have what they hold.
    pub unreadable: Vec<Unreadable>,
    /// Why not all of the old catalog could be read. It is still there then, its name ending in `.damaged`.
    pub old_catalog: Option<String>,
}

#[derive(Debug, serde::Serialize)]
pub struct Unreadable {
    #[serde(serialize_with = "super::as_text")]
    pub path: PathBuf,
    pub reason: String,
}

/// Makes the catalog at `url` anew from the sidecars of a storage. Holds the storage's lock: a recording that a daemon
/// finishes meanwhile would be in the old catalog only. `progress` is told how many recordings of how many are done.
///
/// # Errors
/// When there is no storage, when a daemon runs on it, and when the catalog is in use or cannot be written. The old
/// catalog is in its place then.
pub async fn rebuild(
    url: &str,
    layout: &Layout,
    mut progress: impl FnMut(u64, u64),
) -> anyhow::Result<Rebuilt> {
    let root = layout.root();
    anyhow::ensure!(root.is_dir(), "there is no storage {}", root.display());
    let _lock = StorageLock::acquire(root)?;
    let survey = survey(layout);
    let mut rebuilt = Rebuilt::default();
    for (path, error) in survey.unreadable {
        anyhow::ensure!(
            path != root,
            "cannot read the storage {}: {error}",
            path.display()
        );
        let reason = error.to_string();
        rebuilt.unreadable.push(Unreadable { path, reason });
    }
    let mut new = Rebuild::begin(url).await?;
    let total = survey.recordings.len() as u64;
    let mut done = 0;
    for batch in survey.recordings.chunks(BATCH) {
        let mut rows: Vec<CallRecord> = Vec::with_capacity(batch.len());
        for recording in batch {
            match recording.row() {
                Ok(row) => rows.push(row),
                Err(error) => rebuilt.unreadable.push(Unreadable {
                    path: recording.sidecar_path(),
                    reason: error.to_string(),
                }),
            }
        }
        new.record(&rows).await?;
        done += batch.len() as u64;
        progress(done, total);
    }
    let finished = new.finish().await?;
    rebuilt.entered = finished.recorded;
    rebuilt.kept = finished.kept;
    rebuilt.old_catalog = finished.unreadable.map(|error| error.to_string());
    Ok(rebuilt)
}
