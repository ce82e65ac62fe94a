//! `/plans`: what tenants subscribe to.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::tenants::needs_all;
use crate::access::{Feature, Operation, PlanLimits, Reach, Resource};
use crate::api::caller::Caller;
use crate::api::fields::{self, Page};
use crate::api::installation::KnownPlan;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Versioned};
use crate::api::retention::KeptCalls;
use crate::api::state::Api;
use crate::api::words::FeatureName;
use crate::base::{SYSTEM_TENANT, Timestamp};
use crate::catalog::PlanRow;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
}

/// Limits and features. What is absent is unlimited.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    /// Calls go so many times 24 hours after their end, recorded or not, with all their files, but for those on hold and their
    /// interactions. Fewer days than before, or the first ones, are in force 24 hours after they were written, more at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 36500)]
    retention_days: Option<u32>,
    /// All recordings together. Past it calls are not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1073741824)]
    storage_gib: Option<u64>,
    /// Recorded in a calendar month, UTC. Past it calls are not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000000)]
    minutes_per_month: Option<u32>,
    /// Active users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000)]
    users: Option<u32>,
    /// Calls recorded at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1000000)]
    concurrent_recordings: Option<u32>,
    /// Of `live_monitor` (listening to calls in progress), `download` (taking recordings along), `api_access` (service
    /// accounts and their tokens) and `encryption` (not enforced: recordings lie as they are); absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<FeatureName>>, inline)]
    features: Option<Vec<String>>,
}

impl Limits {
    fn of(limits: &PlanLimits) -> Limits {
        let names =
            |features: &Vec<Feature>| features.iter().map(|one| one.name().into()).collect();
        Limits {
            retention_days: limits.retention_days,
            storage_gib: limits.storage_gib,
            minutes_per_month: limits.minutes_per_month,
            users: limits.users,
            concurrent_recordings: limits.concurrent_recordings,
            features: limits.features.as_ref().map(names),
        }
    }

    fn read(&self) -> Result<PlanLimits> {
        within(
            "retention_days",
            self.retention_days.map(u64::from),
            1,
            36_500,
        )?;
        within("storage_gib", self.storage_gib, 1, 1 << 30)?;
        within(
            "minutes_per_month",
            self.minutes_per_month.map(u64::from),
            1,
            1_000_000_000,
        )?;
        within("users", self.users.map(u64::from), 1, 1_000_000)?;
        within(
            "concurrent_recordings",
            self.concurrent_recordings.map(u64::from),
            0,
            1_000_000,
        )?;
        let feature = |(index, name): (usize, &String)| {
            Feature::named(name).ok_or_else(|| {
                let known: Vec<&str> = Feature::ALL.into_iter().map(Feature::name).collect();
                let field = format!("limits.features[{index}]");
                Problem::invalid(field, format!("one of {}", known.join(", ")))
            })
        };
        let features = self.features.as_ref().map(|names| {
            let features: Result<Vec<Feature>> = names.iter().enumerate().map(feature).collect();
            features
        });
        Ok(PlanLimits {
            retention_days: self.retention_days,
            storage_gib: self.storage_gib,
            minutes_per_month: self.minutes_per_month,
            users: self.users,
            concurrent_recordings: self.concurrent_recordings,
            features: features.transpose()?,
        })
    }
}

fn within(field: &str, value: Option<u64>, least: u64, most: u64) -> Result<()> {
    match value.is_none_or(|value| (least..=most).contains(&value)) {
        true => Ok(()),
        false => Err(Problem::invalid(
            format!("limits.{field}"),
            format!("{least} to {most}"),
        )),
    }
}

/// What tenants subscribe to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
struct PlanView {
    id: Uuid,
    /// What tenants name it by. It stays as it is.
    name: String,
    limits: Limits,
    /// Until when calls are kept for as long as before, where `retention_days` has become less; null: it is in force. Of the
    /// tenants that the caller can see, the last one's.
    retention_in_force_at: Option<String>,
    /// File and line of the configuration that it comes from, where it cannot be changed here.
    origin: Option<String>,
    read_only: bool,
}

impl PlanView {
    fn new(plan: &KnownPlan, in_force_at: Option<Timestamp>, shows_origin: bool) -> PlanView {
        PlanView {
            retention_in_force_at: in_force_at.map(|at| at.to_string()),
            id: plan.id,
            name: plan.name.clone(),
            limits: Limits::of(&plan.limits),
            origin: plan.origin.clone().filter(|_| shows_origin),
            read_only: plan.origin.is_some(),
        }
    }

    fn of_row(plan: &PlanRow, in_force_at: Option<Timestamp>) -> PlanView {
        PlanView {
            retention_in_force_at: in_force_at.map(|at| at.to_string()),
            id: plan.id,
            name: plan.name.clone(),
            limits: Limits::of(&plan.limits),
            origin: None,
            read_only: false,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlanBody {
    /// 1 to 64 letters, digits, `-` and `_`; unique, and as it is for good.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    #[serde(default, deserialize_with = "fields::object")]
    limits: Limits,
}

/// The plans that the caller can see, by name: all of them, or the one that the caller's tenant has.
async fn visible(api: &Api, caller: &Caller) -> Result<Vec<KnownPlan>> {
    let plans = api.installation()?.plans();
    let scope = caller.scope();
    let Some(tenant) = scope.only_tenant() else {
        return Ok(plans);
    };
    let tenant = api.catalog()?.registered_tenant(&scope, tenant).await?;
    let own = tenant.and_then(|tenant| tenant.plan);
    let is_own = |plan: &KnownPlan| {
        own.as_ref()
            .is_some_and(|own| own.eq_ignore_ascii_case(&plan.name))
    };
    Ok(plans.into_iter().filter(is_own).collect())
}

fn shows_origin(caller: &Caller) -> bool {
    matches!(caller.scope().reach(), Reach::System)
}

/// When fewer days are in force for all of a plan's tenants that the caller can see.
async fn kept(api: &Api, caller: &Caller) -> Result<impl Fn(&str) -> Option<Timestamp>> {
    let scope = caller.scope();
    let catalog = api.catalog()?;
    let kept = KeptCalls::load(api, &catalog, &scope).await?;
    Ok(move |plan: &str| kept.shorter_from(&scope, plan))
}

/// The plans that the caller can see, by name; there are few of them, on one page.
#[utoipa::path(get, path = "/plans", tag = "plans", operation_id = "list_plans",
    responses((status = 200, body = Page<PlanView>)))]
async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Page<PlanView>>> {
    caller.needs(Resource::Plans, Operation::View)?;
    let plans = visible(&api, &caller).await?;
    let (shows_origin, kept) = (shows_origin(&caller), kept(&api, &caller).await?);
    Ok(Json(Page {
        items: plans
            .iter()
            .map(|plan| PlanView::new(plan, kept(&plan.name), shows_origin))
            .collect(),
        next: None,
    }))
}

/// A new plan.
#[utoipa::path(post, path = "/plans", tag = "plans", operation_id = "create_plan", request_body = PlanBody,
    responses((status = 201, body = PlanView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<PlanBody>,
) -> Result<Versioned<PlanView>> {
    caller.needs(Resource::Plans, Operation::Edit)?;
    needs_all(&caller, Resource::Plans, Operation::Edit)?;
    let limits = body.limits.read()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !(1..=64).contains(&body.name.len()) || !body.name.chars().all(fits) {
        let detail = "1 to 64 letters, digits, hyphens and underscores";
        return Err(Problem::invalid("name", detail));
    }
    let known = api.installation()?.plans();
    if known
        .iter()
        .any(|plan| plan.name.eq_ignore_ascii_case(&body.name))
    {
        return Err(Problem::conflict("name", "there is one with this already"));
    }
    let mut change = api.catalog()?.change().await?;
    let plan = change.create_plan(&body.name, &limits).await?;
    let event = caller.event("plans.create").of_tenant(SYSTEM_TENANT);
    let event = event.on("plan", plan.id).change(None, Some(state(&plan)));
    change.commit(event).await?;
    api.directory_changed().await;
    let path = format!("/api/v1/plans/{}", plan.id);
    Ok(Versioned::created(
        plan.version,
        path,
        // Nobody has it yet.
        PlanView::of_row(&plan, None),
    ))
}

/// One plan.
#[utoipa::path(get, path = "/plans/{id}", tag = "plans", operation_id = "show_plan", params(("id" = Uuid, Path)),
    responses((status = 200, body = PlanView)))]
async fn show(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Versioned<PlanView>> {
    caller.needs(Resource::Plans, Operation::View)?;
    let plan = found(&api, &caller, id).await?;
    let in_force_at = kept(&api, &caller).await?(&plan.name);
    Ok(Versioned::new(
        plan.version,
        PlanView::new(&plan, in_force_at, shows_origin(&caller)),
    ))
}

async fn found(api: &Api, caller: &Caller, id: Uuid) -> Result<KnownPlan> {
    let mut plans = visible(api, caller).await?.into_iter();
    plans
        .find(|plan| plan.id == id)
        .ok_or_else(Problem::not_found)
}

/// Writes a plan's limits anew, for all its tenants. One that is written in a file can only be changed there.
#[utoipa::path(put, path = "/plans/{id}", tag = "plans", operation_id = "edit_plan",
    params(("id" = Uuid, Path), IfMatch),
    request_body = PlanBody, responses((status = 200, body = PlanView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<PlanBody>,
) -> Result<Versioned<PlanView>> {
    caller.needs(Resource::Plans, Operation::Edit)?;
    let known = found(&api, &caller, id).await?;
    needs_all(&caller, Resource::Plans, Operation::Edit)?;
    Problem::unless_written(known.origin.as_deref())?;
    let limits = body.limits.read()?;
    if body.name != known.name {
        return Err(Problem::invalid(
            "name",
            "the name of a plan stays as it is",
        ));
    }
    let mut change = api.catalog()?.change().await?;
    let before = change.plan(id).await?.ok_or_else(Problem::not_found)?;
    version.check(before.version)?;
    let plan = change.edit_plan(&before, &limits).await?;
    let event = caller.event("plans.edit").of_tenant(SYSTEM_TENANT);
    let event = event
        .on("plan", id)
        .change(Some(state(&before)), Some(state(&plan)));
    change.commit(event).await?;
    api.directory_changed().await;
    let in_force_at = kept(&api, &caller).await?(&plan.name);
    Ok(Versioned::new(
        plan.version,
        PlanView::of_row(&plan, in_force_at),
    ))
}

/// Removes a plan that no tenant has.
#[utoipa::path(delete, path = "/plans/{id}", tag = "plans", operation_id = "remove_plan",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    caller.needs(Resource::Plans, Operation::Delete)?;
    let known = found(&api, &caller, id).await?;
    needs_all(&caller, Resource::Plans, Operation::Delete)?;
    Problem::unless_written(known.origin.as_deref())?;
    let mut change = api.catalog()?.change().await?;
    let plan = change.plan(id).await?.ok_or_else(Problem::not_found)?;
    version.check(plan.version)?;
    let subscribers = change.subscribers(&plan.name).await?;
    if subscribers > 0 {
        let detail = format!("{subscribers} tenants have this plan");
        return Err(Problem::conflict("plan", detail));
    }
    change.remove_plan(&plan).await?;
    let event = caller.event("plans.delete").of_tenant(SYSTEM_TENANT);
    let event = event.on("plan", id).change(Some(state(&plan)), None);
    change.commit(event).await?;
    api.directory_changed().await;
    Ok(StatusCode::NO_CONTENT)
}

/// What the audit keeps of a plan.
fn state(plan: &PlanRow) -> Value {
    json!({ "name": plan.name, "limits": plan.limits })
}
