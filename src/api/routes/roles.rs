//! `/roles`: what users may do.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{AccessLevel, Operation, Permissions, Resource, Role};
use crate::api::caller::Caller;
use crate::api::fields::{self, Page};
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Parameters, Versioned};
use crate::api::schemas::{AccessLevelSchema, PermissionsSchema};
use crate::api::state::Api;
use crate::api::tenancy;
use crate::base::{RoleId, TenantId};
use crate::catalog::{RoleDraft, TenantRole};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
}

/// What a user may do, and within what reach.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Role)]
pub(super) struct RoleView {
    role_id: Uuid,
    name: String,
    #[schema(value_type = AccessLevelSchema)]
    access_level: AccessLevel,
    /// Only where there are several tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    #[schema(value_type = PermissionsSchema)]
    permissions: Permissions,
}

impl RoleView {
    pub(super) fn new(api: &Api, tenant: TenantId, role: &Role) -> RoleView {
        RoleView {
            role_id: role.role_id.0,
            name: role.name.clone(),
            access_level: role.access_level,
            tenant_id: tenancy::shown(api, tenant),
            permissions: role.permissions.clone(),
        }
    }
}

/// A role to be made, or to be written anew. It has the form in which roles are read, so that one can be copied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RoleBody {
    /// Of the role that is edited. A new role is given an id of its own, whatever this says.
    role_id: Option<Uuid>,
    /// Unique in its tenant. At most 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[schema(value_type = AccessLevelSchema)]
    access_level: AccessLevel,
    /// The tenant it belongs to; the caller's own when absent.
    tenant_id: Option<Uuid>,
    #[schema(value_type = PermissionsSchema)]
    permissions: Permissions,
}

impl RoleBody {
    fn draft(&self) -> Result<RoleDraft> {
        Ok(RoleDraft {
            name: fields::line("name", &self.name, 1, 100)?,
            access_level: self.access_level,
            permissions: self.permissions.clone(),
        })
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// Of this tenant; of the caller's own when absent.
    tenant_id: Option<Uuid>,
    /// `next` of the page before.
    after: Option<String>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// The roles of a tenant: those that every tenant has, then its own by name.
#[utoipa::path(get, path = "/roles", tag = "roles", operation_id = "list_roles", params(ListParameters),
    responses((status = 200, body = Page<RoleView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Page<RoleView>>> {
    caller.needs(Resource::Roles, Operation::View)?;
    let listing = fields::listing(parameters.after, parameters.limit)?;
    let own = caller.principal.tenant();
    let tenant = parameters.tenant_id.map_or(own, TenantId);
    let catalog = api.catalog()?;
    let scope = caller.scope();
    if !catalog.has_tenant(&scope, tenant).await? {
        return Ok(Json(Page::empty()));
    }
    let roles = catalog.roles(&scope, tenant, &listing).await?;
    let view = |role: TenantRole| RoleView::new(&api, tenant, &role.role);
    Ok(Json(Page::of(roles, view)))
}

/// A new role, such as a copy of another.
#[utoipa::path(post, path = "/roles", tag = "roles", operation_id = "create_role", request_body = RoleBody,
    responses((status = 201, body = RoleView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<RoleBody>,
) -> Result<Versioned<RoleView>> {
    caller.needs(Resource::Roles, Operation::Edit)?;
    let draft = body.draft()?;
    let mut change = api.catalog()?.change().await?;
    let tenant = tenancy::target(&caller, &mut change, body.tenant_id).await?;
    let role = change
        .create_role(&caller.principal, tenant, &draft)
        .await?;
    let event = caller.event("roles.create").of_tenant(tenant);
    let event = event
        .on("role", role.role.role_id.0)
        .change(None, Some(state(&role)));
    change.commit(event).await?;
    let path = format!("/api/v1/roles/{}", role.role.role_id);
    let view = RoleView::new(&api, tenant, &role.role);
    Ok(Versioned::created(role.version, path, view))
}

/// One role.
#[utoipa::path(get, path = "/roles/{id}", tag = "roles", operation_id = "show_role", params(("id" = Uuid, Path)),
    responses((status = 200, body = RoleView)))]
async fn show(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Versioned<RoleView>> {
    caller.needs(Resource::Roles, Operation::View)?;
    let role = api.catalog()?.role(&caller.scope(), RoleId(id)).await?;
    let role = role.ok_or_else(Problem::not_found)?;
    let view = RoleView::new(&api, role.tenant, &role.role);
    Ok(Versioned::new(role.version, view))
}

/// Writes a role anew. Whoever has it has the new rights at the next request. More rights, or a longer reach, need a step-up.
#[utoipa::path(put, path = "/roles/{id}", tag = "roles", operation_id = "edit_role",
    params(("id" = Uuid, Path), IfMatch),
    request_body = RoleBody, responses((status = 200, body = RoleView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<RoleBody>,
) -> Result<Versioned<RoleView>> {
    caller.needs(Resource::Roles, Operation::Edit)?;
    let draft = body.draft()?;
    let mut change = api.catalog()?.change().await?;
    let before = change.role(&caller.scope(), RoleId(id)).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    tenancy::stays(before.tenant, body.tenant_id)?;
    if body.role_id.is_some_and(|role| role != id) {
        return Err(Problem::invalid("role_id", "it is of another role"));
    }
    version.check(before.version)?;
    let more = draft.permissions.beyond(&before.role.permissions).is_some();
    if more || !before.role.access_level.reaches(draft.access_level) {
        caller.needs_step_up(&api)?;
    }
    let role = change.edit_role(&caller.principal, &before, &draft).await?;
    let event = caller.event("roles.edit").of_tenant(role.tenant);
    let event = event
        .on("role", id)
        .change(Some(state(&before)), Some(state(&role)));
    change.commit(event).await?;
    let view = RoleView::new(&api, role.tenant, &role.role);
    Ok(Versioned::new(role.version, view))
}

/// Removes a role that nobody has.
#[utoipa::path(delete, path = "/roles/{id}", tag = "roles", operation_id = "remove_role",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    caller.needs(Resource::Roles, Operation::Delete)?;
    let mut change = api.catalog()?.change().await?;
    let role = change.role(&caller.scope(), RoleId(id)).await?;
    let role = role.ok_or_else(Problem::not_found)?;
    version.check(role.version)?;
    change.remove_role(&caller.principal, &role).await?;
    let event = caller.event("roles.delete").of_tenant(role.tenant);
    change
        .commit(event.on("role", id).change(Some(state(&role)), None))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the audit keeps of a role.
fn state(role: &TenantRole) -> serde_json::Value {
    let Role {
        name,
        access_level,
        permissions,
        ..
    } = &role.role;
    serde_json::json!({ "name": name, "access_level": access_level, "permissions": permissions })
}

#[cfg(test)]
#[path = "roles_tests.rs"]
mod tests;
