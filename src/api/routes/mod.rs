//! The routes of `/api/v1`, one file for each resource.

mod active_calls;
mod audit;
mod calls_audio;
mod events;
mod groups;
mod permissions;
#[cfg(test)]
mod present_tests;
mod roles;
mod users;
mod webhooks;

use utoipa_axum::router::OpenApiRouter;

use super::state::Api;

pub use audit::AuditRecord;

/// All of them.
pub(super) fn all() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(audit::routes())
        .merge(groups::routes())
        .merge(calls_audio::routes())
        .merge(active_calls::routes())
        .merge(events::routes())
        .merge(webhooks::routes())
        .merge(users::routes())
        .merge(roles::routes())
        .merge(permissions::routes())
}

pub(super) use events::as_json as event_as_json;
