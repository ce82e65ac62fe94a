//! `/support-access`: users of the System tenant at work in another, for a limited time and in its own audit.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{Event, Operation, Resource};
use crate::api::caller::Caller;
use crate::api::fields::{self, Page};
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id};
use crate::api::sign_in::now;
use crate::api::state::Api;
use crate::base::{SYSTEM_TENANT, TenantId, UserId};
use crate::catalog::{Catalog, SupportAccess, SupportDraft};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, begin))
        .routes(routes!(end))
}

/// A time in which somebody works in a tenant that is not their own.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SupportAccess)]
struct AccessView {
    id: Uuid,
    tenant_id: Uuid,
    reason: String,
    began_at: String,
    ends_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
}

impl AccessView {
    fn new(access: SupportAccess) -> AccessView {
        AccessView {
            id: access.id,
            tenant_id: access.tenant.0,
            reason: access.reason,
            began_at: access.began_at.to_string(),
            ends_at: access.ends_at.to_string(),
            ended_at: access.ended_at.map(|at| at.to_string()),
        }
    }
}

/// Where, why, and for how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AccessBody {
    tenant_id: Uuid,
    /// The tenant reads it in its audit.
    #[schema(min_length = 3, max_length = 500)]
    reason: String,
    /// 5 to 480.
    #[schema(minimum = 5, maximum = 480)]
    minutes: u32,
}

/// Only people of the System tenant support others, and each for themselves.
fn supporter(caller: &Caller) -> Result<UserId> {
    caller.needs(Resource::Tenants, Operation::Support)?;
    let principal = &caller.principal;
    let user = principal.user().filter(|_| principal.may_support());
    user.ok_or_else(|| Problem::lacks(Resource::Tenants, Operation::Support))
}

/// One's own accesses, the last one first.
#[utoipa::path(get, path = "/support-access", tag = "support", operation_id = "list_support_access",
    responses((status = 200, body = Page<AccessView>)))]
async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Page<AccessView>>> {
    let user = supporter(&caller)?;
    let accesses = api.catalog()?.support_accesses_of(user).await?;
    let items = accesses.into_iter().map(AccessView::new).collect();
    Ok(Json(Page { items, next: None }))
}

/// Begins to support a tenant: requests with `Callreel-Tenant: <id>` work there, with the permissions of one's own role and
/// nowhere else. It takes a role of the access level `system` or `root`, and needs a step-up. The tenant's audit has begin, end
/// and every act.
#[utoipa::path(post, path = "/support-access", tag = "support", operation_id = "begin_support_access",
    request_body = AccessBody, responses((status = 201, body = AccessView)))]
async fn begin(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<AccessBody>,
) -> Result<(StatusCode, Json<AccessView>)> {
    let user = supporter(&caller)?;
    if !(5..=480).contains(&body.minutes) {
        return Err(Problem::invalid("minutes", "5 to 480"));
    }
    let reason = fields::line("reason", &body.reason, 3, 500)?;
    caller.needs_step_up(&api)?;
    let (catalog, tenant) = (api.catalog()?, TenantId(body.tenant_id));
    let mut change = catalog.change().await?;
    if tenant == SYSTEM_TENANT || !change.has_tenant(tenant).await? {
        return Err(Problem::invalid(
            "tenant_id",
            "there is no such tenant to support",
        ));
    }
    let began_at = now();
    let draft = SupportDraft {
        tenant,
        user,
        reason: reason.clone(),
        ends_at: began_at + Duration::from_secs(u64::from(body.minutes) * 60),
    };
    let id = change.begin_support(&draft).await?;
    let after = json!({ "tenant_id": tenant, "ends_at": draft.ends_at.to_string() });
    let event = caller
        .event("support.begin")
        .on("support_access", id)
        .because(&reason);
    let event = event.change(None, Some(after));
    change.also(event.clone().of_tenant(SYSTEM_TENANT));
    change.commit(event.of_tenant(tenant)).await?;
    let view = AccessView {
        id,
        tenant_id: body.tenant_id,
        reason,
        began_at: began_at.to_string(),
        ends_at: draft.ends_at.to_string(),
        ended_at: None,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Ends an access before its time.
#[utoipa::path(delete, path = "/support-access/{id}", tag = "support", operation_id = "end_support_access",
    params(("id" = Uuid, Path)), responses((status = 204)))]
async fn end(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<StatusCode> {
    let user = supporter(&caller)?;
    let mut change = api.catalog()?.change().await?;
    let access = change
        .end_support(user, id)
        .await?
        .ok_or_else(Problem::not_found)?;
    let event = caller
        .event("support.end")
        .on("support_access", id)
        .because(&access.reason);
    change.also(event.clone().of_tenant(SYSTEM_TENANT));
    change.commit(event.of_tenant(access.tenant)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends what is over by its time, so that the tenant's audit says so too.
pub(in crate::api) async fn end_those_over(catalog: &Catalog) -> crate::catalog::Result<()> {
    while let Some(access) = catalog.support_access_to_end(now()).await? {
        let mut change = catalog.change().await?;
        if change.end_support(access.user, access.id).await?.is_none() {
            continue;
        }
        let event = Event {
            actor_kind: "user",
            actor_id: Some(access.user.0),
            actor_name: access.login.clone(),
            actor_tenant: Some(SYSTEM_TENANT),
            ..Event::anonymous(access.tenant, "support.end")
        };
        let event = event
            .on("support_access", access.id)
            .because(&access.reason);
        let event = event.change(None, Some(json!({ "ended": "by its time" })));
        change.also(event.clone().of_tenant(SYSTEM_TENANT));
        change.commit(event).await?;
    }
    Ok(())
}
