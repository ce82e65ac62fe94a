//! `/permissions`: all that roles can say; and what of it one user has.

use axum::extract::State;
use axum::response::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::roles::RoleView;
use crate::access::{
    AccessLevel, Actor, Operation, Permissions, Principal, Reach, Resource, Scope,
};
use crate::api::caller::Caller;
use crate::api::problem::{Problem, Result};
use crate::api::request::Id;
use crate::api::schemas::{AccessLevelSchema, PermissionsSchema};
use crate::api::state::Api;
use crate::api::tenancy;
use crate::base::{GroupId, SYSTEM_TENANT, TenantId, UserId};
use crate::catalog::{Catalog, Listing, MAX_LISTED, User};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(reference))
        .routes(routes!(effective))
}

/// All that roles can say.
#[derive(Debug, Serialize, ToSchema)]
struct PermissionReference {
    access_levels: Vec<Described>,
    resources: Vec<DescribedResource>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Described {
    name: &'static str,
    description: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct DescribedResource {
    name: &'static str,
    description: &'static str,
    operations: Vec<Described>,
}

/// Every access level, and every resource with its operations, that this version knows.
#[utoipa::path(get, path = "/permissions", tag = "roles", operation_id = "list_permissions",
    responses((status = 200, body = PermissionReference)))]
async fn reference(_: Caller) -> Json<PermissionReference> {
    let level = |level: AccessLevel| Described {
        name: level.name(),
        description: level.description(),
    };
    Json(PermissionReference {
        access_levels: AccessLevel::ALL.map(level).into(),
        resources: Resource::ALL.iter().copied().map(described).collect(),
    })
}

fn described(resource: Resource) -> DescribedResource {
    let operations = resource.operations().iter();
    DescribedResource {
        name: resource.name(),
        description: resource.description(),
        operations: operations
            .map(|operation| Described {
                name: operation.name(),
                description: operation.description(resource),
            })
            .collect(),
    }
}

/// What a user may do at this moment, and through what.
#[derive(Debug, Serialize, ToSchema)]
struct EffectivePermissions {
    user_id: Uuid,
    login: String,
    /// False: none of it, for the reasons that `limits` gives.
    may_act: bool,
    limits: Vec<Limit>,
    /// What gives the permissions.
    role: RoleView,
    /// The role's, or what of it the tenant can give.
    #[schema(value_type = AccessLevelSchema)]
    access_level: AccessLevel,
    reach: ReachView,
    #[schema(value_type = PermissionsSchema)]
    permissions: Permissions,
}

/// What keeps a user from using the role.
#[derive(Debug, Serialize, ToSchema)]
struct Limit {
    /// `inactive`, `expired`, `tenant_not_active`, `must_change_password`.
    code: &'static str,
    description: String,
}

/// Whose objects the user can see.
#[derive(Debug, Serialize, ToSchema)]
struct ReachView {
    description: String,
    /// The one tenant; absent where all are reached, or where there are no tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    /// The groups that are looked after, where the reach is made of groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<GroupName>>,
    /// The own login, where nobody else is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct GroupName {
    id: Uuid,
    name: String,
}

/// What a user may do, and through what. Everybody may ask it of themselves.
#[utoipa::path(get, path = "/users/{id}/effective-permissions", tag = "users", operation_id = "show_effective_permissions",
    params(("id" = Uuid, Path)), responses((status = 200, body = EffectivePermissions)))]
async fn effective(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<EffectivePermissions>> {
    let of_oneself = caller.principal.user() == Some(UserId(id));
    let scope = match of_oneself {
        true => caller.principal.own_scope(),
        false => {
            caller.needs(Resource::Users, Operation::View)?;
            caller.scope()
        }
    };
    let catalog = api.catalog()?;
    let user = catalog.user(&scope, UserId(id)).await?;
    let user = user.ok_or_else(Problem::not_found)?;
    let principal = as_principal(&user);
    let active = catalog.is_tenant_active(&scope, user.tenant).await?;
    let limits = limits(&user, active);
    let may_act = limits.iter().all(|limit| limit.code == MUST_CHANGE);
    let permissions = match may_act {
        true => principal.permissions().clone(),
        false => Permissions::default(),
    };
    let seen = match of_oneself {
        true => principal.scope(),
        false => scope,
    };
    Ok(Json(EffectivePermissions {
        user_id: id,
        login: user.login.to_string(),
        may_act,
        limits,
        role: RoleView::new(&api, user.tenant, &user.role),
        access_level: principal.level(),
        reach: reach(&api, &catalog, &principal.scope(), &seen).await?,
        permissions,
    }))
}

fn as_principal(user: &User) -> Principal {
    let actor = Actor::User {
        id: user.id,
        login: user.login.clone(),
    };
    let groups = user.profile.managed_groups.as_slice().into();
    Principal::new(actor, user.tenant, user.login.clone(), &user.role, groups)
}

const MUST_CHANGE: &str = "must_change_password";

fn limits(user: &User, tenant_is_active: bool) -> Vec<Limit> {
    let profile = &user.profile;
    let ended = profile.valid_until.filter(|_| user.is_expired());
    let all = [
        (!profile.active).then(|| ("inactive", "The user is not active".to_owned())),
        ended.map(|until| ("expired", format!("The user was valid until {until}"))),
        (!tenant_is_active).then(|| ("tenant_not_active", "The tenant is not active".to_owned())),
        profile.must_change_password.then(|| {
            let description = "Before anything else the user has to choose a new password";
            (MUST_CHANGE, description.to_owned())
        }),
    ];
    let limit = |(code, description)| Limit { code, description };
    all.into_iter().flatten().map(limit).collect()
}

/// The reach in words, with what of it the caller sees.
async fn reach(api: &Api, catalog: &Catalog, of: &Scope, seen: &Scope) -> Result<ReachView> {
    let (groups, login) = match of.reach() {
        Reach::Groups { tenant, .. } => (Some(groups(catalog, of, seen, *tenant).await?), None),
        Reach::User { login, .. } => (None, Some(login.to_string())),
        _ => (None, None),
    };
    let description = match of.reach() {
        Reach::System => "Every tenant".to_owned(),
        Reach::Tenant(SYSTEM_TENANT) => "The System tenant".to_owned(),
        Reach::Groups { .. } => {
            "Users in the groups that are looked after, and their calls".to_owned()
        }
        Reach::User { .. } => "The own profile and the own calls".to_owned(),
        _ => "The whole tenant".to_owned(),
    };
    Ok(ReachView {
        description,
        tenant_id: of
            .only_tenant()
            .and_then(|tenant| tenancy::shown(api, tenant)),
        groups,
        login,
    })
}

async fn groups(
    catalog: &Catalog,
    of: &Scope,
    seen: &Scope,
    tenant: TenantId,
) -> Result<Vec<GroupName>> {
    let listing = Listing {
        after: None,
        limit: MAX_LISTED,
    };
    let groups = catalog.groups(of, &listing).await?.items.into_iter();
    let is_seen = |id: &GroupId| match seen.reach() {
        Reach::Groups { groups, .. } => groups.contains(id),
        _ => seen.covers(tenant),
    };
    let seen = groups.filter(|group| is_seen(&group.id));
    Ok(seen
        .map(|group| GroupName {
            id: group.id.0,
            name: group.name,
        })
        .collect())
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
