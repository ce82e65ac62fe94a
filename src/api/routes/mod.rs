//! The routes of `/api/v1`, one file for each resource.

mod active_calls;
mod allocations;
mod audit;
mod call_categories;
mod call_notes;
mod call_shares;
mod calls;
mod calls_audio;
mod calls_care;
mod calls_export;
mod events;
mod extensions;
mod groups;
mod me;
mod passwords;
mod permissions;
mod plans;
#[cfg(test)]
mod present_tests;
mod roles;
mod service_accounts;
mod session;
mod sign_in_rules;
mod support_access;
mod tenants;
mod user_extensions;
mod users;
mod webhooks;

use utoipa_axum::router::OpenApiRouter;

use super::state::Api;

pub use audit::AuditRecord;
pub(super) use support_access::end_those_over;

/// Those of calls that are over.
fn of_calls() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(calls::routes())
        .merge(calls_export::routes())
        .merge(calls_care::routes())
        .merge(call_notes::routes())
        .merge(call_categories::routes())
        .merge(call_shares::routes())
}

/// Those that lie outside `/api/v1`, and that nobody signs in for.
pub(super) fn public() -> OpenApiRouter<Api> {
    call_shares::public()
}

/// All of them.
pub(super) fn all() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(of_calls())
        .merge(audit::routes())
        .merge(groups::routes())
        .merge(tenants::routes())
        .merge(plans::routes())
        .merge(extensions::routes())
        .merge(allocations::routes())
        .merge(calls_audio::routes())
        .merge(active_calls::routes())
        .merge(events::routes())
        .merge(webhooks::routes())
        .merge(users::routes())
        .merge(roles::routes())
        .merge(permissions::routes())
        .merge(session::routes())
        .merge(me::routes())
        .merge(passwords::routes())
        .merge(sign_in_rules::routes())
        .merge(service_accounts::routes())
        .merge(support_access::routes())
}

pub(super) use events::{CallEventView, as_json as event_as_json};
