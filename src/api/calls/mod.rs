//! Calls, for routes: which are asked for, and how they are shown, exported, packed, shared and removed.

mod archive;
#[cfg(test)]
mod away_tests;
mod export;
mod json;
mod link;
mod parameters;
mod removal;
#[cfg(test)]
mod share_tests;
#[cfg(test)]
pub(super) mod tests;
mod view;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::api::caller::Caller;
use crate::api::problem::{Problem, Result};
use crate::api::state::Api;
use crate::base::{TenantId, Timestamp};
use crate::catalog::{CallRecord, CallToMark};
use crate::storage::{Layout, RecordingName};

pub use archive::{Packed, pack};
pub use export::{ExportFormat, lines};
pub use json::Harmless;
pub use link::{Grant, ShareToken};
pub use parameters::CallParameters;
pub use removal::{Removed, remove_files, with_late_file};
pub use view::{Around, CallDetail, CallView, HoldView, NoteView};

/// The recording's name, where its row's path is that of the tenant's own recording and no other.
pub fn recording_name(call: &CallRecord) -> Option<RecordingName> {
    let path = &call.file.as_ref()?.path;
    RecordingName::of_call(call.tenant, call.id, path)
}

pub fn recording_name_of(call: &CallToMark) -> Option<RecordingName> {
    RecordingName::of_call(call.tenant, call.id, call.file_path.as_deref()?)
}

pub fn layout(api: &Api) -> Layout {
    api.settings().storage.clone()
}

/// In the place of a login: none has a space.
pub const PROVIDER: &str = "the provider";

/// Who did it, as what belongs to a tenant names it: of the provider's people it says no more than that it was one of them. Who it was is in
/// the System tenant's view of the audit.
pub fn by(caller: &Caller, tenant: TenantId) -> String {
    match caller.principal.home() == tenant {
        true => caller.principal.actor().name().to_owned(),
        false => PROVIDER.to_owned(),
    }
}

/// The call, if it is in the caller's scope and was not deleted.
///
/// # Errors
///
/// A problem of status 404 for any other.
pub async fn found(api: &Api, caller: &Caller, id: uuid::Uuid) -> Result<CallToMark> {
    let call = api.catalog()?.call_to_mark(&caller.scope(), id).await?;
    call.ok_or_else(Problem::not_found)
}

/// The two ids of a path. What is no id is not there.
#[derive(Clone, Copy, Debug)]
pub struct Ids(pub uuid::Uuid, pub uuid::Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Ids> {
        let ids = Path::<(uuid::Uuid, uuid::Uuid)>::from_request_parts(parts, state).await;
        ids.map(|Path((outer, inner))| Ids(outer, inner))
            .map_err(|_| Problem::not_found())
    }
}

/// The time of the machine.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}
