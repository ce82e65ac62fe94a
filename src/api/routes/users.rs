//! `/users`: the people of a tenant.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::user_extensions::{HeldView, Holdings};
use crate::access::{Operation, Reach, Resource, Scope};
use crate::api::caller::Caller;
use crate::api::fields::{self, Page, given};
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Parameters, Versioned};
use crate::api::schemas::UserPolicySchema;
use crate::api::state::Api;
use crate::api::tenancy;
use crate::base::{GroupId, RoleId, UserId};
use crate::catalog::{Profile, User, UserFilter, UserPolicy};

/// Groups that one user looks after, at most.
const MAX_MANAGED: usize = 200;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
}

/// A person of a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
struct UserView {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    /// Never changes, and is never given to anybody else.
    login: String,
    name: String,
    email: Option<String>,
    group_id: Option<Uuid>,
    role_id: Uuid,
    /// The role's name.
    role: String,
    /// The groups that are the user's reach, if the role's is `managed_groups`.
    managed_groups: Vec<Uuid>,
    active: bool,
    /// From then on the user cannot sign in. RFC 3339, UTC.
    valid_until: Option<String>,
    must_change_password: bool,
    /// The user's calls are seen by nobody else, unless a role says so.
    confidential: bool,
    #[schema(value_type = Option<UserPolicySchema>)]
    recording_policy: Option<UserPolicy>,
    /// What the user has and will have: pinned by the configuration, or allocated.
    extensions: Vec<HeldView>,
    created_at: String,
    changed_at: String,
}

impl UserView {
    fn one(api: &Api, scope: &Scope, user: &User) -> UserView {
        UserView::new(api, scope, &Holdings::of(api, [user]), user)
    }

    fn new(api: &Api, scope: &Scope, holdings: &Holdings, user: &User) -> UserView {
        let profile = &user.profile;
        UserView {
            id: user.id.0,
            tenant_id: tenancy::shown(api, user.tenant),
            login: user.login.to_string(),
            name: profile.name.clone(),
            email: profile.email.clone(),
            group_id: profile.group.map(|group| group.0),
            role_id: profile.role.0,
            role: user.role.name.clone(),
            managed_groups: managed(profile, |group| sees(scope, group)),
            active: profile.active,
            valid_until: profile.valid_until.map(|until| until.to_string()),
            must_change_password: profile.must_change_password,
            confidential: profile.confidential,
            recording_policy: profile.recording_policy,
            extensions: holdings.view(user),
            created_at: user.created_at.to_string(),
            changed_at: user.changed_at.to_string(),
        }
    }
}

fn managed(profile: &Profile, shown: impl Fn(GroupId) -> bool) -> Vec<Uuid> {
    let groups = profile.managed_groups.iter().copied();
    groups
        .filter(|group| shown(*group))
        .map(|one| one.0)
        .collect()
}

/// Whether a group that somebody looks after is there for who asks.
fn sees(scope: &Scope, group: GroupId) -> bool {
    match scope.reach() {
        Reach::Groups { groups, .. } => groups.contains(&group),
        _ => true,
    }
}

/// A new user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// 1 to 64 printable characters without a space. Unique in its tenant, also among users that were removed.
    #[schema(min_length = 1, max_length = 64)]
    login: String,
    #[serde(default)]
    #[schema(max_length = 200)]
    name: String,
    #[schema(max_length = 254)]
    email: Option<String>,
    group_id: Option<Uuid>,
    /// A role of the same tenant, with no more rights than the caller's.
    role_id: Uuid,
    #[serde(default)]
    #[schema(max_items = 200)]
    managed_groups: Vec<Uuid>,
    #[serde(default = "yes")]
    #[schema(default = true)]
    active: bool,
    #[schema(format = DateTime)]
    valid_until: Option<String>,
    #[serde(default = "yes")]
    #[schema(default = true)]
    must_change_password: bool,
    #[serde(default)]
    confidential: bool,
    #[schema(value_type = Option<UserPolicySchema>)]
    recording_policy: Option<UserPolicy>,
    /// The tenant it belongs to; the caller's own when absent.
    tenant_id: Option<Uuid>,
}

fn yes() -> bool {
    true
}

impl NewUser {
    fn profile(&self) -> Result<Profile> {
        Ok(Profile {
            name: fields::line("name", &self.name, 0, 200)?,
            email: email(self.email.as_deref())?,
            group: self.group_id.map(GroupId),
            role: RoleId(self.role_id),
            managed_groups: groups(&self.managed_groups)?,
            active: self.active,
            valid_until: fields::optional_time("valid_until", self.valid_until.as_deref())?,
            must_change_password: self.must_change_password,
            confidential: self.confidential,
            recording_policy: self.recording_policy,
        })
    }
}

/// What of a user is to be changed. What is absent stays; null takes away what can be without.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserEdit {
    /// It never changes: if it is here, it is the user's.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    login: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, max_length = 200)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, required = false, max_length = 254)]
    email: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Uuid>, required = false)]
    group_id: Option<Option<Uuid>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Uuid, required = false)]
    role_id: Option<Uuid>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<Uuid>, required = false, max_items = 200)]
    managed_groups: Option<Vec<Uuid>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    active: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    valid_until: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    must_change_password: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    confidential: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<UserPolicySchema>, required = false)]
    recording_policy: Option<Option<UserPolicy>>,
    /// A user stays in its tenant: if it is here, it is the user's.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Uuid, required = false)]
    tenant_id: Option<Uuid>,
}

impl UserEdit {
    /// The profile with what is given here. Groups that `scope` does not see stay.
    fn applied(&self, scope: &Scope, user: &User) -> Result<Profile> {
        let mut profile = user.profile.clone();
        if self
            .login
            .as_ref()
            .is_some_and(|login| **login != *user.login)
        {
            return Err(Problem::invalid("login", "a login never changes"));
        }
        if let Some(name) = &self.name {
            profile.name = fields::line("name", name, 0, 200)?;
        }
        if let Some(given) = &self.email {
            profile.email = email(given.as_deref())?;
        }
        if let Some(group) = self.group_id {
            profile.group = group.map(GroupId);
        }
        if let Some(role) = self.role_id {
            profile.role = RoleId(role);
        }
        if let Some(given) = &self.managed_groups {
            let unseen = managed(&profile, |group| !sees(scope, group));
            profile.managed_groups = groups(&[given.as_slice(), &unseen].concat())?;
        }
        if let Some(until) = &self.valid_until {
            profile.valid_until = fields::optional_time("valid_until", until.as_deref())?;
        }
        if let Some(policy) = self.recording_policy {
            profile.recording_policy = policy;
        }
        profile.active = self.active.unwrap_or(profile.active);
        profile.confidential = self.confidential.unwrap_or(profile.confidential);
        let must = self.must_change_password;
        profile.must_change_password = must.unwrap_or(profile.must_change_password);
        Ok(profile)
    }
}

/// Whether somebody could sign in, or do more, who could not before.
fn lets_in(before: &Profile, after: &Profile) -> bool {
    let looks_after = |group: &GroupId| before.managed_groups.contains(group);
    after.email.is_some() && after.email != before.email
        || after.role != before.role
        || !after.managed_groups.iter().all(looks_after)
        || after.active && !before.active
        || before
            .valid_until
            .is_some_and(|ends| after.valid_until.is_none_or(|later| later > ends))
}

fn email(given: Option<&str>) -> Result<Option<String>> {
    given.map(|email| fields::email("email", email)).transpose()
}

fn groups(ids: &[Uuid]) -> Result<Vec<GroupId>> {
    let mut groups: Vec<GroupId> = ids.iter().copied().map(GroupId).collect();
    groups.sort_unstable();
    groups.dedup();
    match groups.len() > MAX_MANAGED {
        true => Err(Problem::invalid(
            "managed_groups",
            format!("at most {MAX_MANAGED} groups"),
        )),
        false => Ok(groups),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// Of this tenant only.
    tenant_id: Option<Uuid>,
    /// The user of this login.
    login: Option<String>,
    group_id: Option<Uuid>,
    role_id: Option<Uuid>,
    active: Option<bool>,
    /// A part of login, name or e-mail address.
    text: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// The users that the caller can see, by login.
#[utoipa::path(get, path = "/users", tag = "users", operation_id = "list_users", params(ListParameters),
    responses((status = 200, body = Page<UserView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Page<UserView>>> {
    caller.needs(Resource::Users, Operation::View)?;
    let listing = fields::listing(parameters.after, parameters.limit)?;
    let Some(scope) = tenancy::narrowed(&caller, parameters.tenant_id) else {
        return Ok(Json(Page::empty()));
    };
    let filter = UserFilter {
        login: parameters.login,
        group: parameters.group_id.map(GroupId),
        role: parameters.role_id.map(RoleId),
        active: parameters.active,
        text: parameters.text,
    };
    let users = api.catalog()?.users(&scope, &filter, &listing).await?;
    let holdings = Holdings::of(&api, &users.items);
    let view = |user| UserView::new(&api, &scope, &holdings, &user);
    Ok(Json(Page::of(users, view)))
}

/// A new user, who cannot sign in before a password is set. One with an e-mail address, to which a letter for a password goes, needs
/// a step-up.
#[utoipa::path(post, path = "/users", tag = "users", operation_id = "create_user", request_body = NewUser,
    responses((status = 201, body = UserView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<NewUser>,
) -> Result<Versioned<UserView>> {
    caller.needs(Resource::Users, Operation::Edit)?;
    let login = fields::login("login", &body.login)?;
    let profile = body.profile()?;
    if profile.email.is_some() {
        caller.needs_step_up(&api)?;
    }
    let mut change = api.catalog()?.change().await?;
    let tenant = tenancy::target(&caller, &mut change, body.tenant_id).await?;
    if profile.active {
        api.has_room_for_user(&mut change, tenant, "active").await?;
    }
    let user = change
        .create_user(&caller.principal, tenant, &login, &profile)
        .await?;
    let event = caller.event("users.create").of_tenant(tenant);
    let event = event.on("user", user.id.0).change(None, Some(state(&user)));
    change.commit(event).await?;
    let path = format!("/api/v1/users/{}", user.id);
    let view = UserView::one(&api, &caller.scope(), &user);
    Ok(Versioned::created(user.version, path, view))
}

/// One user.
#[utoipa::path(get, path = "/users/{id}", tag = "users", operation_id = "show_user", params(("id" = Uuid, Path)),
    responses((status = 200, body = UserView)))]
async fn show(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Versioned<UserView>> {
    caller.needs(Resource::Users, Operation::View)?;
    let scope = caller.scope();
    let user = api.catalog()?.user(&scope, UserId(id)).await?;
    let user = user.ok_or_else(Problem::not_found)?;
    let view = UserView::one(&api, &scope, &user);
    Ok(Versioned::new(user.version, view))
}

/// Changes a user: moves it to another group, gives it another role, deactivates it. What is absent stays as it is. Another e-mail
/// address, another role, more groups to look after, and to let in who was not active or whose time ends, need a step-up.
#[utoipa::path(put, path = "/users/{id}", tag = "users", operation_id = "edit_user",
    params(("id" = Uuid, Path), IfMatch),
    request_body = UserEdit, responses((status = 200, body = UserView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<UserEdit>,
) -> Result<Versioned<UserView>> {
    caller.needs(Resource::Users, Operation::Edit)?;
    let scope = caller.scope();
    let mut change = api.catalog()?.change().await?;
    let before = change.user(&scope, UserId(id)).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    tenancy::stays(before.tenant, body.tenant_id)?;
    version.check(before.version)?;
    let profile = body.applied(&scope, &before)?;
    // Letters for a password would go there.
    let by_program = caller.principal.user().is_none();
    let is_own = caller.principal.responsible() == Some(before.id);
    if by_program && is_own && profile.email != before.profile.email {
        return Err(Problem::own_account());
    }
    if lets_in(&before.profile, &profile) {
        caller.needs_step_up(&api)?;
    }
    if profile.active && !before.profile.active {
        api.has_room_for_user(&mut change, before.tenant, "active")
            .await?;
    }
    let user = change
        .edit_user(&caller.principal, &before, &profile)
        .await?;
    let event = caller.event("users.edit").of_tenant(user.tenant);
    let event = event
        .on("user", id)
        .change(Some(state(&before)), Some(state(&user)));
    change.commit(event).await?;
    let view = UserView::one(&api, &scope, &user);
    Ok(Versioned::new(user.version, view))
}

/// Removes a user. Name and e-mail address are erased; calls keep the login, which nobody is given again.
#[utoipa::path(delete, path = "/users/{id}", tag = "users", operation_id = "remove_user",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    caller.needs(Resource::Users, Operation::Delete)?;
    let mut change = api.catalog()?.change().await?;
    let user = change.user(&caller.scope(), UserId(id)).await?;
    let user = user.ok_or_else(Problem::not_found)?;
    version.check(user.version)?;
    change.remove_user(&caller.principal, &user).await?;
    let event = caller.event("users.delete").of_tenant(user.tenant);
    let before = json!({ "login": user.login, "role_id": user.profile.role });
    change
        .commit(event.on("user", id).change(Some(before), None))
        .await?;
    // What was allocated to the user is given back.
    api.directory_changed().await;
    Ok(StatusCode::NO_CONTENT)
}

/// What the audit keeps of a user.
fn state(user: &User) -> serde_json::Value {
    let profile = &user.profile;
    json!({
        "login": user.login,
        "name": profile.name,
        "email": profile.email,
        "group_id": profile.group,
        "role_id": profile.role,
        "role": user.role.name,
        "managed_groups": profile.managed_groups,
        "active": profile.active,
        "valid_until": profile.valid_until.map(|until| until.to_string()),
        "must_change_password": profile.must_change_password,
        "confidential": profile.confidential,
        "recording_policy": profile.recording_policy,
    })
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
