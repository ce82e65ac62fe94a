//! The rows that were read last, kept beside the recordings for a start without the catalog.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::catalog::DirectoryRows;

/// In the storage's root.
pub(super) const NAME: &str = "directory.json";

/// What the run before kept; nothing where that cannot be read.
pub(super) fn read(path: &Path) -> Option<DirectoryRows> {
    let bytes = std::fs::read(path).ok()?;
    let rows = serde_json::from_slice(&bytes);
    rows.map_err(
        |error| tracing::warn!(%error, path = %path.display(), "the kept directory cannot be read"),
    )
    .ok()
}

/// Keeps the rows: as a whole, and for the daemon's own account only.
pub(super) fn write(path: &Path, rows: &DirectoryRows) {
    let written = || -> std::io::Result<()> {
        let new = path.with_extension("json.new");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(rows)?)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    if let Err(error) = written() {
        tracing::warn!(%error, path = %path.display(), "the directory cannot be kept for the next start");
    }
}
