//! `/calls/export` and `/calls/zip`: many calls taken along.

use axum::body::{Body as ResponseBody, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::calls::{has_meaning, page};
use crate::access::{Feature, Operation, Resource, Scope};
use crate::api::caller::Caller;
use crate::api::calls::{
    CallParameters, CallView, ExportFormat, Packed, layout, lines, pack, recording_name_of,
};
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Parameters};
use crate::api::state::Api;
use crate::catalog::{CallQuery, CallToMark};
use crate::storage::{Kind, Layout};

/// Calls read at a time for an export.
const PAGE: u32 = 500;
/// Recordings of one ZIP.
const MAX_PACKED: usize = 1000;
/// Bytes of one ZIP.
const MAX_PACKED_BYTES: u64 = 8 << 30;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(export))
        .routes(routes!(zip))
}

/// Calls as a file: all that the filters let through.
#[utoipa::path(get, path = "/calls/export", tag = "calls", operation_id = "export_calls", params(CallParameters),
    responses((status = 200, description = "CSV, or JSON Lines; no cell of the CSV is a formula", content_type = "text/csv")))]
async fn export(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<CallParameters>,
) -> Result<Response> {
    caller.needs(Resource::Calls, Operation::Export)?;
    caller.needs_step_up(&api)?;
    let name = parameters.format.as_deref().unwrap_or("csv");
    let format =
        ExportFormat::named(name).ok_or_else(|| Problem::invalid("format", "csv or jsonl"))?;
    let mut query = parameters.query()?;
    query.limit = PAGE;
    let catalog = api.catalog()?;
    let tenant = match query.tenant {
        Some(tenant) if catalog.has_tenant(&caller.scope(), tenant).await? => Some(tenant),
        _ => None,
    };
    // What is no position, and a catalog that is away, is told before the answer begins.
    let scope = caller.scope();
    has_meaning(&catalog, &scope, &query).await?;
    let (calls, next) = page(&api, &catalog, &scope, &query).await?;
    let event = caller
        .event("calls.export")
        .of_tenant(tenant.unwrap_or(caller.principal.tenant()))
        .change(None, Some(parameters.summary()));
    catalog.audit(event).await?;
    let file = format!("attachment; filename=\"calls.{}\"", format.extension());
    let headers = [
        (header::CONTENT_TYPE, format.content_type().to_owned()),
        (header::CONTENT_DISPOSITION, file),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    let mut export = Export {
        api,
        scope,
        format,
        ready: Some(format.head()),
        query: Some(query),
    };
    export.take(&calls, next);
    let pages = stream::try_unfold(export, Export::next);
    Ok((headers, ResponseBody::from_stream(pages)).into_response())
}

/// Where an export stands.
struct Export {
    api: Api,
    scope: Scope,
    format: ExportFormat,
    /// What comes first.
    ready: Option<Vec<u8>>,
    /// The next page; none: that was all.
    query: Option<CallQuery>,
}

impl Export {
    /// An error breaks the answer off: a part is not taken for the whole.
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Export)>> {
        if let Some(ready) = self.ready.take() {
            return Ok(Some((ready.into(), self)));
        }
        let Some(query) = &self.query else {
            return Ok(None);
        };
        let failed = |_| std::io::Error::other("the catalog went away");
        let catalog = self.api.catalog().map_err(failed)?;
        let (calls, next) = page(&self.api, &catalog, &self.scope, query)
            .await
            .map_err(failed)?;
        self.take(&calls, next);
        let piece = self.ready.take().unwrap_or_default();
        Ok(Some((piece.into(), self)))
    }

    /// A page, and where the next one begins.
    fn take(&mut self, calls: &[CallView], next: Option<String>) {
        let ready = self.ready.get_or_insert_default();
        ready.extend(lines(self.format, calls));
        self.query = self.query.take().filter(|_| next.is_some());
        if let Some(query) = &mut self.query {
            query.after = next;
        }
    }
}

/// Which recordings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ZipBody {
    /// Ids of calls, at most 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    ids: Vec<Uuid>,
}

/// The audio of many calls as one ZIP, their names made of times and ids.
#[utoipa::path(post, path = "/calls/zip", tag = "calls", operation_id = "zip_calls", request_body = ZipBody,
    responses((status = 200, description = "The recordings", content_type = "application/zip")))]
async fn zip(
    State(api): State<Api>,
    caller: Caller,
    Body(mut body): Body<ZipBody>,
) -> Result<Response> {
    caller.needs(Resource::Calls, Operation::Download)?;
    caller.needs_step_up(&api)?;
    body.ids.sort_unstable();
    body.ids.dedup();
    if !(1..=MAX_PACKED).contains(&body.ids.len()) {
        return Err(Problem::invalid("ids", format!("1 to {MAX_PACKED} calls")));
    }
    let place = api.live().zips.take(&caller)?;
    let (catalog, scope) = (api.catalog()?, caller.scope());
    let mut calls = Vec::with_capacity(body.ids.len());
    for id in body.ids {
        let call = catalog.call_to_mark(&scope, id).await?;
        calls.push(call.ok_or_else(Problem::not_found)?);
    }
    for call in &calls {
        api.needs_feature(call.tenant, Feature::Download)?;
    }
    let (of_calls, wanted) = (layout(&api), calls.clone());
    let files = tokio::task::spawn_blocking(move || packed(&of_calls, &wanted)).await;
    let files = files.map_err(|_| Problem::internal())??;
    let mut change = catalog.change().await?;
    let event = |call: &CallToMark| {
        caller
            .event("calls.download")
            .of_tenant(call.tenant)
            .on("call", call.id)
            .change(None, Some(json!({ "as": "zip" })))
    };
    let last = calls.pop().ok_or_else(Problem::not_found)?;
    calls.iter().for_each(|call| change.also(event(call)));
    change.commit(event(&last)).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/zip"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"calls.zip\"",
        ),
        (header::CACHE_CONTROL, "private, no-store"),
    ];
    Ok((headers, pack(layout(&api), files, place)).into_response())
}

fn packed(layout: &Layout, calls: &[CallToMark]) -> Result<Vec<Packed>> {
    let mut bytes = 0;
    let mut files = Vec::with_capacity(calls.len());
    for call in calls {
        let Some(name) = recording_name_of(call) else {
            return Err(Problem::conflict(
                "ids",
                format!("there is no recording of {}", call.id),
            ));
        };
        let path = layout.path(&name, Kind::Audio);
        bytes += std::fs::metadata(&path).map_or(0, |file| file.len());
        let start = call.started_at.to_string();
        let digits = start.chars().take(19).filter(|c| c.is_ascii_alphanumeric());
        let time: String = digits.collect();
        files.push(Packed {
            recording: name,
            name: format!("{time}Z_{}.wav", call.id),
        });
    }
    match bytes > MAX_PACKED_BYTES {
        true => Err(Problem::invalid(
            "ids",
            "the recordings are more than 8 GiB",
        )),
        false => Ok(files),
    }
}
