//! The routes of `/api/v1`, one file for each resource.

mod groups;

use utoipa_axum::router::OpenApiRouter;

use super::state::Api;

/// All of them.
pub(super) fn all() -> OpenApiRouter<Api> {
    OpenApiRouter::new().merge(groups::routes())
}
