//! `/calls`: what was recorded, and what was not and why.

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Operation, Resource, Scope};
use crate::api::caller::Caller;
use crate::api::calls::{
    Around, CallDetail, CallParameters, CallView, Harmless, layout, recording_name,
};
use crate::api::fields::Page;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Id, Parameters};
use crate::api::retention::KeptCalls;
use crate::api::state::Api;
use crate::catalog::{CallQuery, CallRecord, CallToMark, Catalog, Disposition, Marks};
use crate::storage::{Kind, Sidecar};

/// Other calls of a conversation that are shown with one.
const MAX_OTHERS: u32 = 100;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(dispositions))
}

/// Calls, the newest first unless `sort` says otherwise.
#[utoipa::path(get, path = "/calls", tag = "calls", operation_id = "list_calls", params(CallParameters),
    responses((status = 200, body = Page<CallView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<CallParameters>,
) -> Result<Harmless<Page<CallView>>> {
    caller.needs(Resource::Calls, Operation::View)?;
    if parameters.format.is_some() {
        return Err(Problem::invalid("format", "is for /calls/export"));
    }
    let query = parameters.query()?;
    let catalog = api.catalog()?;
    has_meaning(&catalog, &caller.scope(), &query).await?;
    let (calls, next) = page(&api, &catalog, &caller.scope(), &query).await?;
    Ok(Harmless(Page { items: calls, next }))
}

/// Whether the disposition that is asked for is one that this version knows, or that a call in the scope has from another.
///
/// # Errors
///
/// A problem of status 422.
pub(super) async fn has_meaning(catalog: &Catalog, scope: &Scope, query: &CallQuery) -> Result<()> {
    let Some(asked @ Disposition::Other(_)) = &query.disposition else {
        return Ok(());
    };
    let seen = catalog.dispositions(scope, None, None).await?;
    match seen.iter().any(|(seen, _)| seen == asked) {
        true => Ok(()),
        false => Err(Problem::invalid("disposition", "a code of /dispositions")),
    }
}

/// A page of calls as they are shown, and where the next one begins.
pub(super) async fn page(
    api: &Api,
    catalog: &Catalog,
    scope: &Scope,
    query: &CallQuery,
) -> Result<(Vec<CallView>, Option<String>)> {
    let page = catalog.calls(scope, query).await?;
    let marked = marked(catalog, scope, page.calls).await?;
    let view = |(call, marks): (CallRecord, Marks)| CallView::new(api, &call, marks);
    Ok((marked.into_iter().map(view).collect(), page.next))
}

async fn marked(
    catalog: &Catalog,
    scope: &Scope,
    calls: Vec<CallRecord>,
) -> Result<Vec<(CallRecord, Marks)>> {
    let keys: Vec<_> = calls.iter().map(|call| (call.tenant, call.id)).collect();
    let marks = catalog.marks(scope, &keys).await?;
    Ok(calls.into_iter().zip(marks).collect())
}

/// Everything that is known of a call.
#[utoipa::path(get, path = "/calls/{id}", tag = "calls", operation_id = "show_call", params(("id" = Uuid, Path)),
    responses((status = 200, body = CallDetail)))]
async fn show(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Harmless<CallDetail>> {
    caller.needs(Resource::Calls, Operation::View)?;
    let (catalog, scope) = (api.catalog()?, caller.scope());
    let call = catalog.call(&scope, id).await?.into_iter().next();
    let call = call.ok_or_else(Problem::not_found)?;
    let around = around(&api, &caller, &catalog, &call).await?;
    Ok(Harmless(CallDetail::new(&api, &call, around)))
}

async fn around(
    api: &Api,
    caller: &Caller,
    catalog: &Catalog,
    call: &CallRecord,
) -> Result<Around> {
    let scope = caller.scope();
    let mut around = Around {
        marks: catalog
            .marks(&scope, &[(call.tenant, call.id)])
            .await?
            .pop()
            .unwrap_or_default(),
        sidecar: sidecar(api, call).await,
        others: others(catalog, &scope, call).await?,
        expires_at: KeptCalls::load(api, catalog, &Scope::tenant(call.tenant))
            .await?
            .of(call.tenant)
            .expires_at(call.over_at()),
        ..Around::default()
    };
    if call.deleted_at.is_some() {
        around.deletion = catalog.deletion(call.tenant, call.id).await?;
        return Ok(around);
    }
    let to_mark: Option<CallToMark> = catalog.call_to_mark(&scope, call.id).await?;
    if let Some(to_mark) = to_mark {
        around.hold = catalog.hold(&to_mark).await?;
        if caller.principal.may(Resource::CallNotes, Operation::View) {
            around.notes = catalog.notes(&to_mark).await?;
        }
    }
    Ok(around)
}

/// The other calls of the tenant's conversation that lie in the scope.
async fn others(
    catalog: &Catalog,
    scope: &Scope,
    call: &CallRecord,
) -> Result<Vec<(CallRecord, Marks)>> {
    if call.interaction.is_none() {
        return Ok(Vec::new());
    }
    let query = CallQuery {
        tenant: Some(call.tenant),
        interaction: call.interaction,
        limit: MAX_OTHERS,
        ..CallQuery::default()
    };
    let mut calls = catalog.calls(scope, &query).await?.calls;
    calls.retain(|other| other.id != call.id);
    marked(catalog, scope, calls).await
}

/// What the sidecar says; none where there is none, or none that can be read.
async fn sidecar(api: &Api, call: &CallRecord) -> Option<Sidecar> {
    let (layout, name) = (layout(api), recording_name(call)?);
    let of = (call.id, call.tenant);
    let read =
        tokio::task::spawn_blocking(move || Sidecar::load(&layout, &name, Kind::Sidecar)).await;
    let sidecar = read.ok()?.ok()?;
    let is_own = (sidecar.recording_id.0, sidecar.tenant_id) == of;
    is_own.then_some(sidecar)
}

/// Why calls have a recording, or none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Disposition)]
struct DispositionView {
    code: String,
    text: String,
    /// Calls that ended so, of those that the caller can see.
    calls: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DispositionParameters {
    /// Count calls that started then or later, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Count calls that started before then, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
}

/// Every reason why there is a recording, or none, with how many calls have it.
#[utoipa::path(get, path = "/dispositions", tag = "calls", operation_id = "list_dispositions",
    params(DispositionParameters), responses((status = 200, body = Page<DispositionView>)))]
async fn dispositions(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<DispositionParameters>,
) -> Result<Json<Page<DispositionView>>> {
    caller.needs(Resource::Calls, Operation::View)?;
    let query = CallParameters::of_times(parameters.from, parameters.to).query()?;
    let counts = api
        .catalog()?
        .dispositions(&caller.scope(), query.from, query.to)
        .await?;
    let known = Disposition::known().iter().cloned();
    let unseen = known.filter(|known| !counts.iter().any(|(seen, _)| seen == known));
    let unseen: Vec<_> = unseen.map(|known| (known, 0)).collect();
    let view = |(disposition, calls): (Disposition, u64)| DispositionView {
        code: disposition.code().to_owned(),
        text: disposition.text().to_owned(),
        calls,
    };
    let items = counts.into_iter().chain(unseen).map(view).collect();
    Ok(Json(Page { items, next: None }))
}
