//! `/calls/{id}` deleted, and `/calls/{id}/hold`, which keeps it from being so.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Event, Operation, Resource};
use crate::api::caller::Caller;
use crate::api::calls::{HoldView, Removed, by, layout, remove_files, with_late_file};
use crate::api::fields;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, Parameters};
use crate::api::state::Api;
use crate::catalog::{self, CallToMark, Hold};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(remove))
        .routes(routes!(hold, release))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct RemoveParameters {
    /// Also the other calls of the conversation that the caller can see.
    #[serde(default)]
    interaction: bool,
    /// Why. The audit keeps it.
    #[param(max_length = 500)]
    reason: Option<String>,
}

/// Deletes a call: at once its notes, categories and links, then its files. What stays is a row that says when it was, between whom,
/// and who deleted it why: `/calls/{id}` shows it to who could see the call, and `/calls?state=deleted` lists it; no other answer
/// has it. Not one that is held. Needs a step-up.
#[utoipa::path(delete, path = "/calls/{id}", tag = "calls", operation_id = "remove_call",
    params(("id" = Uuid, Path), RemoveParameters), responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Parameters(parameters): Parameters<RemoveParameters>,
) -> Result<StatusCode> {
    caller.needs(Resource::Calls, Operation::Delete)?;
    caller.needs_step_up(&api)?;
    let reason = parameters.reason.unwrap_or_default();
    let reason = fields::line("reason", &reason, 0, 500)?;
    let catalog = api.catalog()?;
    let mut change = catalog.change().await?;
    let scope = caller.scope();
    let call = change.call_to_mark(&scope, id).await?;
    let call = call.ok_or_else(Problem::not_found)?;
    let others = match parameters.interaction {
        true => change.calls_of_interaction(&scope, &call).await?,
        false => Vec::new(),
    };
    let event = |call: &CallToMark| -> Event {
        caller
            .event("calls.delete")
            .of_tenant(call.tenant)
            .on("call", call.id)
            .change(Some(json!({ "started_at": call.started_at.to_string(), "length_ms": call.length_ms })), None)
            .because(&reason)
    };
    for other in others.into_iter().filter(|other| other.id != id) {
        let other = with_late_file(other);
        change
            .delete_call(&other, &by(&caller, other.tenant), &reason)
            .await
            .map_err(held)?;
        change.also(event(&other));
    }
    let call = with_late_file(call);
    change
        .delete_call(&call, &by(&caller, call.tenant), &reason)
        .await
        .map_err(held)?;
    change.commit(event(&call)).await?;
    // It is deleted. Files that stay are the daemon's, which tries again until they are gone.
    match remove_files(&catalog, &layout(&api)).await {
        Ok(Removed {
            error: Some(error), ..
        }) => tracing::warn!(%error, "files of a deleted call wait to be removed"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "files of a deleted call wait to be removed"),
    }
    Ok(StatusCode::NO_CONTENT)
}

fn held(error: catalog::Error) -> Problem {
    match error {
        catalog::Error::Held => {
            let title = "The call is held";
            Problem::new(StatusCode::CONFLICT, "held", title)
                .detail("nobody deletes it before its hold is released")
        }
        error => error.into(),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    /// Why nobody may delete the call.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Holds a call: nobody deletes it, nor does its age.
#[utoipa::path(put, path = "/calls/{id}/hold", tag = "calls", operation_id = "hold_call", params(("id" = Uuid, Path)),
    request_body = HoldBody, responses((status = 200, body = HoldView)))]
async fn hold(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Body(body): Body<HoldBody>,
) -> Result<Json<HoldView>> {
    caller.needs(Resource::Calls, Operation::Hold)?;
    let reason = fields::line("reason", &body.reason, 1, 500)?;
    let mut change = api.catalog()?.change().await?;
    let call = change.call_to_mark(&caller.scope(), id).await?;
    let call = call.ok_or_else(Problem::not_found)?;
    let before = change.hold(&call).await?;
    let hold = change
        .set_hold(&call, &by(&caller, call.tenant), &reason)
        .await?;
    let event = caller
        .event("calls.hold")
        .of_tenant(call.tenant)
        .on("call", id)
        .change(before.as_ref().map(state), Some(state(&hold)))
        .because(&reason);
    change.commit(event).await?;
    Ok(Json(HoldView::new(&hold)))
}

/// Releases a call: it may be deleted again. Needs a step-up.
#[utoipa::path(delete, path = "/calls/{id}/hold", tag = "calls", operation_id = "release_call",
    params(("id" = Uuid, Path)), responses((status = 204)))]
async fn release(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<StatusCode> {
    caller.needs(Resource::Calls, Operation::Hold)?;
    caller.needs_step_up(&api)?;
    let mut change = api.catalog()?.change().await?;
    let call = change.call_to_mark(&caller.scope(), id).await?;
    let call = call.ok_or_else(Problem::not_found)?;
    let hold = change.hold(&call).await?.ok_or_else(Problem::not_found)?;
    change.release_hold(&call).await?;
    let event = caller.event("calls.release").of_tenant(call.tenant);
    change
        .commit(event.on("call", id).change(Some(state(&hold)), None))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the audit keeps of a hold.
fn state(hold: &Hold) -> serde_json::Value {
    json!({ "reason": hold.reason, "held_by": hold.held_by })
}
