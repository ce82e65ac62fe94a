//! `/tenants`: customers, departments and sites; and `/tenant`, the caller's own.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{Operation, PlanLimits, Reach, Resource, Scope};
use crate::api::caller::Caller;
use crate::api::fields::{self, Page};
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Parameters, Versioned};
use crate::api::retention::{KeptCalls, RetentionView};
use crate::api::state::Api;
use crate::api::words::TenantStanding;
use crate::base::{SYSTEM_TENANT, TenantId};
use crate::catalog::{RegisteredTenant, TenantDraft, TenantStatus, is_slug, slug_of, wall_clock};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
        .routes(routes!(own))
}

/// A customer, department or site.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
struct TenantView {
    id: Uuid,
    name: String,
    /// What its people name it by when they sign in.
    slug: String,
    timezone: String,
    language: String,
    plan: Option<String>,
    /// Null: its plan does not say how long calls are kept, and they are for ever.
    retention: Option<RetentionView>,
    /// `active`, or `suspended`: nobody signs in, and its calls are not recorded.
    status: &'static str,
    /// Country, match rules, recording, candidates, rewriting: the keys of a tenant's file, as JSON.
    #[schema(value_type = Object)]
    rules: Value,
    /// File and line of the configuration that it comes from, where it cannot be changed here.
    origin: Option<String>,
    read_only: bool,
    /// RFC 3339, UTC.
    created_at: String,
    changed_at: String,
}

impl TenantView {
    /// Files of the installation, and what tells tenants apart, are for those who reach all tenants.
    fn new(scope: &Scope, tenant: &RegisteredTenant, kept: &KeptCalls) -> TenantView {
        let reaches_all = matches!(scope.reach(), Reach::System);
        TenantView {
            id: tenant.id.0,
            name: tenant.name.clone(),
            slug: tenant.slug.clone(),
            timezone: tenant.timezone.clone(),
            language: tenant.language.clone(),
            plan: tenant.plan.clone(),
            retention: kept.view(tenant.id),
            status: tenant.status.name(),
            rules: match reaches_all {
                true => tenant.rules.clone(),
                false => json!({}),
            },
            origin: tenant.origin.clone().filter(|_| reaches_all),
            read_only: tenant.origin.is_some(),
            created_at: tenant.created_at.to_string(),
            changed_at: tenant.changed_at.to_string(),
        }
    }
}

/// What of a tenant can be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TenantBody {
    /// At most 200 characters; unique, whatever the case of its letters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// 1 to 63 small letters, digits and hyphens, and no id; unique. Made of the name when absent.
    #[schema(max_length = 63)]
    slug: Option<String>,
    /// IANA name; `UTC` when absent.
    timezone: Option<String>,
    /// BCP 47 tag; `en` when absent.
    language: Option<String>,
    /// Name of a plan; absent or null: everything, without limits.
    plan: Option<String>,
    /// `active` or `suspended`.
    #[serde(default)]
    #[schema(value_type = Option<TenantStanding>, inline)]
    status: Option<String>,
    /// The keys of a tenant's file but `[tenant]` and `[[extension]]`, and `country`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    rules: Option<Value>,
}

/// Most bytes of a tenant's rules, as JSON.
const MAX_RULES: usize = 256 << 10;

impl TenantBody {
    fn draft(&self) -> Result<TenantDraft> {
        let name = fields::line("name", &self.name, 1, 200)?;
        let slug = match &self.slug {
            Some(slug) => slug.clone(),
            None => slug_of(&name).unwrap_or_else(|| format!("tenant-{}", Uuid::now_v7().simple())),
        };
        if !is_slug(&slug) {
            let detail = "1 to 63 small letters, digits and hyphens, and no id";
            return Err(Problem::invalid("slug", detail));
        }
        let status = self.status.as_deref().unwrap_or("active");
        let status = TenantStatus::named(status).filter(|one| *one != TenantStatus::Gone);
        let rules = self.rules.clone().unwrap_or_else(|| json!({}));
        if !rules.is_object() {
            return Err(Problem::invalid("rules", "expected an object"));
        }
        if rules.to_string().len() > MAX_RULES {
            return Err(Problem::invalid("rules", "at most 256 KiB"));
        }
        Ok(TenantDraft {
            slug,
            timezone: fields::timezone("timezone", self.timezone.as_deref().unwrap_or("UTC"))?,
            language: line_or("language", self.language.as_deref(), "en")?,
            plan: self.plan.clone(),
            status: status.ok_or_else(|| Problem::invalid("status", "active or suspended"))?,
            rules,
            name,
        })
    }
}

fn line_or(field: &str, text: Option<&str>, default: &str) -> Result<String> {
    fields::line(field, text.unwrap_or(default), 1, 64)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// `next` of the page before.
    after: Option<String>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// The tenants that the caller can see, by name.
#[utoipa::path(get, path = "/tenants", tag = "tenants", operation_id = "list_tenants", params(ListParameters),
    responses((status = 200, body = Page<TenantView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Page<TenantView>>> {
    caller.needs(Resource::Tenants, Operation::View)?;
    let listing = fields::listing(parameters.after, parameters.limit)?;
    let scope = caller.scope();
    let catalog = api.catalog()?;
    let tenants = catalog.registered_tenants(&scope, &listing).await?;
    let kept = KeptCalls::load(&api, &catalog, &scope).await?;
    Ok(Json(Page::of(tenants, |tenant| {
        TenantView::new(&scope, &tenant, &kept)
    })))
}

/// A new tenant. Its match rules must tell it apart from every other.
#[utoipa::path(post, path = "/tenants", tag = "tenants", operation_id = "create_tenant", request_body = TenantBody,
    responses((status = 201, body = TenantView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<TenantBody>,
) -> Result<Versioned<TenantView>> {
    caller.needs(Resource::Tenants, Operation::Edit)?;
    needs_all(&caller, Resource::Tenants, Operation::Edit)?;
    if !api.settings().multi_tenancy {
        return Err(Problem::read_only(
            "there is one tenant only: `multi = false` under [tenancy] of the configuration",
        ));
    }
    let draft = body.draft()?;
    let tenant = RegisteredTenant::drafted(TenantDraft::new_id(), &draft, wall_clock());
    let catalog = api.catalog()?;
    let mut change = api
        .directory_change(&catalog, tenant.id, |rows| {
            rows.tenants.push(tenant.clone())
        })
        .await?;
    change.create_tenant(&tenant).await?;
    let event = caller.event("tenants.create").of_tenant(SYSTEM_TENANT);
    let event = event
        .on("tenant", tenant.id.0)
        .change(None, Some(state(&tenant)));
    change.commit(event).await?;
    api.directory_changed().await;
    let path = format!("/api/v1/tenants/{}", tenant.id);
    let kept = KeptCalls::load(&api, &catalog, &caller.scope()).await?;
    Ok(Versioned::created(
        tenant.version,
        path,
        TenantView::new(&caller.scope(), &tenant, &kept),
    ))
}

/// One tenant.
#[utoipa::path(get, path = "/tenants/{id}", tag = "tenants", operation_id = "show_tenant", params(("id" = Uuid, Path)),
    responses((status = 200, body = TenantView)))]
async fn show(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Versioned<TenantView>> {
    caller.needs(Resource::Tenants, Operation::View)?;
    let (scope, catalog) = (caller.scope(), api.catalog()?);
    let tenant = catalog.registered_tenant(&scope, TenantId(id)).await?;
    let tenant = tenant.ok_or_else(Problem::not_found)?;
    let kept = KeptCalls::load(&api, &catalog, &scope).await?;
    Ok(Versioned::new(
        tenant.version,
        TenantView::new(&scope, &tenant, &kept),
    ))
}

/// Writes a tenant anew. One that is written in a file can only be changed there.
#[utoipa::path(put, path = "/tenants/{id}", tag = "tenants", operation_id = "edit_tenant",
    params(("id" = Uuid, Path), IfMatch),
    request_body = TenantBody, responses((status = 200, body = TenantView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<TenantBody>,
) -> Result<Versioned<TenantView>> {
    caller.needs(Resource::Tenants, Operation::Edit)?;
    let draft = body.draft()?;
    let (scope, id) = (caller.scope(), TenantId(id));
    let catalog = api.catalog()?;
    let before = catalog.registered_tenant(&scope, id).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    needs_all(&caller, Resource::Tenants, Operation::Edit)?;
    version.check(before.version)?;
    Problem::unless_written(before.origin.as_deref())?;
    if id == SYSTEM_TENANT && draft.status != TenantStatus::Active {
        return Err(Problem::invalid(
            "status",
            "the System tenant is always active",
        ));
    }
    let put = |rows: &mut crate::catalog::DirectoryRows| {
        for row in rows.tenants.iter_mut().filter(|row| row.id == id) {
            *row = RegisteredTenant {
                created_at: row.created_at,
                ..RegisteredTenant::drafted(id, &draft, wall_clock())
            };
        }
    };
    let mut change = api.directory_change(&catalog, id, put).await?;
    let before = change.registered_tenant(&scope, id).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    version.check(before.version)?;
    let tenant = change.edit_tenant(&before, &draft).await?;
    let event = caller.event("tenants.edit").of_tenant(SYSTEM_TENANT);
    let event = event
        .on("tenant", id.0)
        .change(Some(state(&before)), Some(state(&tenant)));
    change.commit(event).await?;
    api.directory_changed().await;
    let kept = KeptCalls::load(&api, &catalog, &scope).await?;
    Ok(Versioned::new(
        tenant.version,
        TenantView::new(&scope, &tenant, &kept),
    ))
}

/// Removes a tenant: its calls are nobody's from then on, and nobody signs in. Its recordings and its name are kept.
#[utoipa::path(delete, path = "/tenants/{id}", tag = "tenants", operation_id = "remove_tenant",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    caller.needs(Resource::Tenants, Operation::Delete)?;
    let mut change = api.catalog()?.change().await?;
    let tenant = change
        .registered_tenant(&caller.scope(), TenantId(id))
        .await?;
    let tenant = tenant.ok_or_else(Problem::not_found)?;
    needs_all(&caller, Resource::Tenants, Operation::Delete)?;
    version.check(tenant.version)?;
    if tenant.id == SYSTEM_TENANT {
        return Err(Problem::read_only("the System tenant is always there"));
    }
    Problem::unless_written(tenant.origin.as_deref())?;
    change.remove_tenant(&tenant).await?;
    let event = caller.event("tenants.delete").of_tenant(SYSTEM_TENANT);
    let event = event.on("tenant", id).change(Some(state(&tenant)), None);
    change.commit(event).await?;
    api.directory_changed().await;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's own tenant, its plan, and what of it is used.
#[derive(Debug, Serialize, ToSchema)]
struct OwnTenant {
    id: Uuid,
    name: String,
    slug: String,
    timezone: String,
    language: String,
    plan: Option<String>,
    /// What the plan gives; what is absent is unlimited.
    #[schema(value_type = Object)]
    limits: PlanLimits,
    /// Null: the plan does not say how long calls are kept, and they are for ever.
    retention: Option<RetentionView>,
    usage: OwnUsage,
}

/// What of a plan is used.
#[derive(Debug, Default, Serialize, ToSchema)]
struct OwnUsage {
    recordings: u64,
    bytes: u64,
    /// Recorded in this calendar month, UTC; also of calls that were deleted since.
    minutes_of_month: u64,
}

/// The tenant that the caller works in.
#[utoipa::path(get, path = "/tenant", tag = "tenants", operation_id = "show_own_tenant",
    responses((status = 200, body = OwnTenant)))]
async fn own(State(api): State<Api>, caller: Caller) -> Result<Json<OwnTenant>> {
    let (catalog, id) = (api.catalog()?, caller.principal.tenant());
    let scope = Scope::tenant(id);
    let tenant = catalog.registered_tenant(&scope, id).await?;
    let tenant = tenant.ok_or_else(Problem::not_found)?;
    // How much a tenant records is not for who sees a part of its calls.
    let sees_all = matches!(caller.scope().reach(), Reach::System | Reach::Tenant(_));
    let used = match sees_all {
        true => catalog.usage(&scope, wall_clock()).await?,
        false => Vec::new(),
    };
    let usage = used.first().map(|usage| OwnUsage {
        recordings: usage.recordings,
        bytes: usage.bytes,
        minutes_of_month: usage.length_ms_of_month / 60_000,
    });
    Ok(Json(OwnTenant {
        id: id.0,
        name: tenant.name,
        slug: tenant.slug,
        timezone: tenant.timezone,
        language: tenant.language,
        plan: tenant.plan,
        limits: PlanLimits::clone(&api.limits(id)),
        retention: KeptCalls::load(&api, &catalog, &scope).await?.view(id),
        usage: usage.unwrap_or_default(),
    }))
}

/// What concerns all tenants is for who reaches them all.
pub(super) fn needs_all(caller: &Caller, resource: Resource, operation: Operation) -> Result<()> {
    match caller.scope().reach() {
        Reach::System => Ok(()),
        _ => Err(Problem::lacks(resource, operation)),
    }
}

/// What the audit keeps of a tenant.
fn state(tenant: &RegisteredTenant) -> Value {
    json!({
        "name": tenant.name, "slug": tenant.slug, "timezone": tenant.timezone, "language": tenant.language,
        "plan": tenant.plan, "status": tenant.status.name(), "rules": tenant.rules,
    })
}
