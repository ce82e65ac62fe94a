//! Files of calls that were deleted.

use crate::base::RecordingId;
use crate::catalog::{self, CallToMark, Catalog};
use crate::storage::{self, Kind, Layout, RecordingName, remove_recording};

/// Removals asked for at a time.
const BATCH: u32 = 1000;

/// What became of files that were to go.
#[derive(Debug, Default)]
pub struct Removed {
    /// Deleted calls whose files are still there.
    pub left: u64,
    /// Why, of the first.
    pub error: Option<storage::Error>,
}

/// The call with the place of its audio, also where the storage has not taken that yet: it waits there under another name.
pub fn with_late_file(mut call: CallToMark) -> CallToMark {
    if call.may_be_late {
        let name = RecordingName::new(call.tenant, RecordingId(call.id), call.started_at);
        call.file_path = Some(name.relative(Kind::Audio));
    }
    call
}

/// Removes the files of calls that were deleted and still have some, and has the catalog say so. Whoever deleted them was
/// audited before. What cannot be removed is tried again next time.
///
/// # Errors
///
/// When the catalog is away.
pub async fn remove_files(catalog: &Catalog, layout: &Layout) -> catalog::Result<Removed> {
    let mut done = Removed::default();
    for removal in catalog.removals(BATCH).await? {
        let own = RecordingName::of_call(removal.tenant, removal.id, &removal.file_path);
        let Some(name) = own else {
            tracing::error!(call = %removal.id, "a deleted call names a file that is not its own: it is left alone");
            continue;
        };
        let layout = layout.clone();
        let removed = tokio::task::spawn_blocking(move || remove_recording(&layout, &name)).await;
        match removed {
            Ok(Ok(())) => {
                catalog.files_gone(removal.tenant, removal.id).await?;
            }
            Ok(Err(error)) => {
                done.left += 1;
                done.error.get_or_insert(error);
            }
            Err(error) => {
                done.left += 1;
                tracing::error!(%error, "removing files was broken off");
            }
        }
    }
    Ok(done)
}
