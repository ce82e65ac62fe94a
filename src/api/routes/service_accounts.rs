//! `/service-accounts`: programs that ask in somebody's name, and their tokens.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{AccessLevel, Feature, Operation, Permissions, Resource, ServiceToken};
use crate::api::caller::Caller;
use crate::api::fields::{self, Page};
use crate::api::front::HoldsSecret;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Parameters, Versioned};
use crate::api::schemas::PermissionsSchema;
use crate::api::sign_in::now;
use crate::api::state::Api;
use crate::api::tenancy::{self, OfTenant};
use crate::base::{Network, TenantId, UserId};
use crate::catalog::{Change, Identity, ServiceAccount, ServiceAccountDraft, Token, TokenDraft};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
        .routes(routes!(create_token))
        .routes(routes!(revoke_token))
}

/// A program that asks in somebody's name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceAccount)]
struct AccountView {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    name: String,
    reason: String,
    responsible_id: Uuid,
    responsible_login: String,
    /// Resource to operations. What the responsible user does not hold any more is not granted.
    #[schema(value_type = PermissionsSchema)]
    permissions: Permissions,
    active: bool,
    /// The last one first. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Vec<TokenView>>,
    created_at: String,
    changed_at: String,
}

impl AccountView {
    fn new(api: &Api, account: &ServiceAccount, tokens: Option<&[Token]>) -> AccountView {
        AccountView {
            id: account.id,
            tenant_id: tenancy::shown(api, account.tenant),
            name: account.name.clone(),
            reason: account.reason.clone(),
            responsible_id: account.responsible.0,
            responsible_login: account.responsible_login.clone(),
            permissions: account.permissions.clone(),
            active: account.active,
            tokens: tokens.map(|tokens| tokens.iter().map(TokenView::new).collect()),
            created_at: account.created_at.to_string(),
            changed_at: account.changed_at.to_string(),
        }
    }
}

/// A token, without what opens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenView {
    id: Uuid,
    /// How it begins.
    hint: String,
    /// Where it works; empty: everywhere.
    networks: Vec<String>,
    unattended: bool,
    expires_at: String,
    created_at: String,
    /// Within a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

impl TokenView {
    fn new(token: &Token) -> TokenView {
        TokenView {
            id: token.id,
            hint: token.hint.clone(),
            networks: token.networks.iter().map(ToString::to_string).collect(),
            unattended: token.unattended,
            expires_at: token.expires_at.to_string(),
            created_at: token.created_at.to_string(),
            used_at: token.used_at.map(|at| at.to_string()),
            used_from: token.used_from.clone(),
            revoked_at: token.revoked_at.map(|at| at.to_string()),
        }
    }
}

/// What of a service account can be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AccountBody {
    /// Unique in its tenant.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it is for.
    #[schema(min_length = 3, max_length = 500)]
    reason: String,
    /// The user who answers for it, of the same tenant; the caller when absent.
    #[serde(default)]
    responsible_id: Option<Uuid>,
    /// Resource to operations: a part of what the caller and the responsible user hold.
    #[schema(value_type = PermissionsSchema)]
    permissions: Permissions,
    #[serde(default = "yes")]
    active: bool,
    /// The tenant it belongs to; the caller's own when absent. Only where it is created.
    #[serde(default)]
    tenant_id: Option<Uuid>,
}

fn yes() -> bool {
    true
}

/// People manage service accounts: a token that could make tokens would outlive everything.
fn by_person(caller: &Caller) -> Result<UserId> {
    caller.principal.user().ok_or_else(|| {
        let title = "Only a person can do this";
        Problem::new(StatusCode::FORBIDDEN, "person_required", title)
    })
}

impl AccountBody {
    /// What is to be written, if the caller and the responsible user hold it.
    async fn draft(
        &self,
        caller: &Caller,
        change: &mut Change,
        tenant: TenantId,
    ) -> Result<ServiceAccountDraft> {
        let caller_id = by_person(caller)?;
        let responsible = self.responsible_id.map_or(caller_id, UserId);
        let found = change.identity(&caller.scope(), responsible).await?;
        let found =
            found.filter(|identity| identity.tenant == tenant && identity.standing.is_good(now()));
        let identity = found.ok_or_else(|| {
            Problem::invalid(
                "responsible_id",
                "there is no such active user of this tenant",
            )
        })?;
        within_rights(caller, &identity, &self.permissions)?;
        Ok(ServiceAccountDraft {
            name: fields::line("name", &self.name, 1, 100)?,
            reason: fields::line("reason", &self.reason, 3, 500)?,
            responsible,
            permissions: self.permissions.clone(),
            active: self.active,
        })
    }
}

/// Nobody grants what they do not hold: neither the caller, nor the user whose reach the account has.
fn within_rights(caller: &Caller, responsible: &Identity, permissions: &Permissions) -> Result<()> {
    if let Some(lacking) = responsible.kept_from(&caller.principal) {
        return Err(Problem::beyond_own_rights(lacking));
    }
    let theirs = responsible.principal();
    if let Some(lacking) = caller.principal.lacks(theirs.level(), permissions) {
        return Err(Problem::beyond_own_rights(lacking));
    }
    match theirs.lacks(theirs.level(), permissions) {
        Some(_) => Err(Problem::invalid(
            "permissions",
            "more than the responsible user holds",
        )),
        None => Ok(()),
    }
}

/// The service accounts that the caller can see, by name.
#[utoipa::path(get, path = "/service-accounts", tag = "service accounts", operation_id = "list_service_accounts", params(OfTenant),
    responses((status = 200, body = Page<AccountView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(asked): Parameters<OfTenant>,
) -> Result<Json<Page<AccountView>>> {
    caller.needs(Resource::ServiceAccounts, Operation::View)?;
    let Some((scope, listing)) = asked.of(&caller)? else {
        return Ok(Json(Page::empty()));
    };
    let accounts = api.catalog()?.service_accounts(&scope, &listing).await?;
    Ok(Json(Page::of(accounts, |account| {
        AccountView::new(&api, &account, None)
    })))
}

/// A new service account. It has no token yet.
#[utoipa::path(post, path = "/service-accounts", tag = "service accounts", operation_id = "create_service_account",
    request_body = AccountBody, responses((status = 201, body = AccountView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<AccountBody>,
) -> Result<Versioned<AccountView>> {
    caller.needs(Resource::ServiceAccounts, Operation::Edit)?;
    // Service accounts are a tenant's: who reaches less of it would not see what was made.
    caller.reaches(AccessLevel::System)?;
    let mut change = api.catalog()?.change().await?;
    let tenant = tenancy::target(&caller, &mut change, body.tenant_id).await?;
    api.needs_feature(tenant, Feature::ApiAccess)?;
    let draft = body.draft(&caller, &mut change, tenant).await?;
    let id = change.create_service_account(tenant, &draft).await?;
    let id = id.ok_or_else(|| {
        Problem::conflict("tenant_id", "the tenant has too many service accounts")
    })?;
    let event = caller
        .event("service_accounts.create")
        .of_tenant(tenant)
        .on("service_account", id);
    change
        .commit(event.change(None, Some(state(&draft))))
        .await?;
    let path = format!("/api/v1/service-accounts/{id}");
    let (account, tokens) = found(&api, &caller, id).await?;
    Ok(Versioned::created(
        account.version,
        path,
        AccountView::new(&api, &account, Some(&tokens)),
    ))
}

async fn found(api: &Api, caller: &Caller, id: Uuid) -> Result<(ServiceAccount, Vec<Token>)> {
    let found = api.catalog()?.service_account(&caller.scope(), id).await?;
    found.ok_or_else(Problem::not_found)
}

/// One service account, with its tokens.
#[utoipa::path(get, path = "/service-accounts/{id}", tag = "service accounts", operation_id = "show_service_account",
    params(("id" = Uuid, Path)), responses((status = 200, body = AccountView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Versioned<AccountView>> {
    caller.needs(Resource::ServiceAccounts, Operation::View)?;
    let (account, tokens) = found(&api, &caller, id).await?;
    Ok(Versioned::new(
        account.version,
        AccountView::new(&api, &account, Some(&tokens)),
    ))
}

/// Writes a service account anew. Its tokens have the new rights from the next request. More rights, another responsible user, and to
/// activate it need a step-up.
#[utoipa::path(put, path = "/service-accounts/{id}", tag = "service accounts", operation_id = "edit_service_account",
    params(("id" = Uuid, Path), IfMatch),
    request_body = AccountBody, responses((status = 200, body = AccountView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<AccountBody>,
) -> Result<Versioned<AccountView>> {
    caller.needs(Resource::ServiceAccounts, Operation::Edit)?;
    let mut change = api.catalog()?.change().await?;
    let before = change
        .service_account(&caller.scope(), id)
        .await?
        .ok_or_else(Problem::not_found)?;
    tenancy::stays(before.tenant, body.tenant_id)?;
    version.check(before.version)?;
    let draft = body.draft(&caller, &mut change, before.tenant).await?;
    let lets_in = draft.permissions.beyond(&before.permissions).is_some()
        || draft.responsible != before.responsible
        || draft.active && !before.active;
    if lets_in {
        caller.needs_step_up(&api)?;
    }
    change.edit_service_account(id, &draft).await?;
    let event = caller
        .event("service_accounts.edit")
        .of_tenant(before.tenant)
        .on("service_account", id);
    let event = event.change(Some(state(&draft_of(&before))), Some(state(&draft)));
    change.commit(event).await?;
    let (account, tokens) = found(&api, &caller, id).await?;
    Ok(Versioned::new(
        account.version,
        AccountView::new(&api, &account, Some(&tokens)),
    ))
}

/// Removes a service account. Its tokens open nothing from now on.
#[utoipa::path(delete, path = "/service-accounts/{id}", tag = "service accounts", operation_id = "remove_service_account",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    caller.needs(Resource::ServiceAccounts, Operation::Delete)?;
    let mut change = api.catalog()?.change().await?;
    let account = change
        .service_account(&caller.scope(), id)
        .await?
        .ok_or_else(Problem::not_found)?;
    version.check(account.version)?;
    change.remove_service_account(id).await?;
    let event = caller
        .event("service_accounts.delete")
        .of_tenant(account.tenant)
        .on("service_account", id);
    change
        .commit(event.change(Some(state(&draft_of(&account))), None))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a new token is good for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    /// Days from now, 1 to 730.
    #[schema(minimum = 1, maximum = 730)]
    expires_in_days: u32,
    /// Networks that it works from, such as `10.20.0.0/16`: at most 50; everywhere when absent.
    #[serde(default)]
    networks: Vec<String>,
    /// Whether it may do what a person has to step up for: export, delete, release a hold, let somebody in.
    #[serde(default)]
    unattended: bool,
}

/// A new token: the only answer that ever shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewToken)]
struct NewTokenView {
    /// `crl_…`
    token: String,
    #[serde(flatten)]
    about: TokenView,
}

/// Gives out a token of a service account. It is shown once. Needs a step-up.
#[utoipa::path(post, path = "/service-accounts/{id}/tokens", tag = "service accounts", operation_id = "create_token",
    params(("id" = Uuid, Path)), request_body = TokenBody, responses((status = 201, body = NewTokenView)))]
async fn create_token(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Body(body): Body<TokenBody>,
) -> Result<Response> {
    caller.needs(Resource::ServiceAccounts, Operation::Edit)?;
    by_person(&caller)?;
    if !(1..=730).contains(&body.expires_in_days) {
        return Err(Problem::invalid("expires_in_days", "1 to 730"));
    }
    caller.needs_step_up(&api)?;
    let networks = networks_of(&body.networks)?;
    let mut change = api.catalog()?.change().await?;
    let account = change
        .service_account(&caller.scope(), id)
        .await?
        .ok_or_else(Problem::not_found)?;
    api.needs_feature(account.tenant, Feature::ApiAccess)?;
    let responsible = change
        .identity(&caller.scope(), account.responsible)
        .await?;
    let responsible = responsible.ok_or_else(Problem::not_found)?;
    within_rights(&caller, &responsible, &account.permissions)?;
    let token = ServiceToken::drawn();
    let draft = TokenDraft {
        hash: token.hash(),
        hint: token.hint().to_owned(),
        networks,
        unattended: body.unattended,
        expires_at: now() + Duration::from_secs(u64::from(body.expires_in_days) * 86_400),
    };
    let made = change.create_token(id, &draft).await?;
    let made =
        made.ok_or_else(|| Problem::conflict("id", "revoke a token first: there are too many"))?;
    let event = caller
        .event("tokens.create")
        .of_tenant(account.tenant)
        .on("token", made);
    let after = json!({
        "service_account_id": id, "hint": draft.hint, "networks": body.networks, "unattended": draft.unattended,
        "expires_at": draft.expires_at.to_string(),
    });
    change.commit(event.change(None, Some(after))).await?;
    let (_, tokens) = found(&api, &caller, id).await?;
    let about = tokens
        .iter()
        .find(|token| token.id == made)
        .ok_or_else(Problem::internal)?;
    let view = NewTokenView {
        token: token.reveal().to_owned(),
        about: TokenView::new(about),
    };
    Ok((
        StatusCode::CREATED,
        Extension(HoldsSecret),
        [(header::CACHE_CONTROL, "no-store")],
        Json(view),
    )
        .into_response())
}

fn networks_of(texts: &[String]) -> Result<Vec<Network>> {
    if texts.len() > 50 {
        return Err(Problem::invalid("networks", "at most 50"));
    }
    let parse = |text: &String| text.parse::<Network>();
    let networks: std::result::Result<_, _> = texts.iter().map(parse).collect();
    networks.map_err(|error| Problem::invalid("networks", error.to_string()))
}

/// Revokes a token. It opens nothing from now on.
#[utoipa::path(delete, path = "/service-accounts/{id}/tokens/{token}", tag = "service accounts", operation_id = "revoke_token",
    params(("id" = Uuid, Path), ("token" = Uuid, Path)), responses((status = 204)))]
async fn revoke_token(
    State(api): State<Api>,
    caller: Caller,
    Path((id, token)): Path<(String, String)>,
) -> Result<StatusCode> {
    caller.needs(Resource::ServiceAccounts, Operation::Edit)?;
    let id = id.parse::<Uuid>().map_err(|_| Problem::not_found())?;
    let token = token.parse::<Uuid>().map_err(|_| Problem::not_found())?;
    let mut change = api.catalog()?.change().await?;
    let account = change
        .service_account(&caller.scope(), id)
        .await?
        .ok_or_else(Problem::not_found)?;
    if !change.revoke_token(id, token).await? {
        return Err(Problem::not_found());
    }
    let event = caller
        .event("tokens.revoke")
        .of_tenant(account.tenant)
        .on("token", token);
    change
        .commit(event.change(Some(json!({ "service_account_id": id })), None))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn draft_of(account: &ServiceAccount) -> ServiceAccountDraft {
    ServiceAccountDraft {
        name: account.name.clone(),
        reason: account.reason.clone(),
        responsible: account.responsible,
        permissions: account.permissions.clone(),
        active: account.active,
    }
}

/// What the audit keeps of a service account.
fn state(draft: &ServiceAccountDraft) -> serde_json::Value {
    json!({
        "name": draft.name, "reason": draft.reason, "responsible_id": draft.responsible.0,
        "permissions": draft.permissions, "active": draft.active,
    })
}
