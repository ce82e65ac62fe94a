//! `/call-categories`: what a tenant sorts its calls into; and the calls that are in them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{Operation, Resource};
use crate::api::caller::Caller;
use crate::api::calls::{Ids, by};
use crate::api::fields::{self, Page};
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Parameters, Versioned};
use crate::api::state::Api;
use crate::api::tenancy::{self, OfTenant};
use crate::catalog::{Category, CategoryDraft};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
        .routes(routes!(assign, unassign))
}

/// What a tenant sorts its calls into.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallCategory)]
struct CategoryView {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    name: String,
    description: String,
    /// `#rrggbb`, or empty.
    colour: String,
    /// RFC 3339, UTC.
    created_at: String,
}

impl CategoryView {
    fn new(api: &Api, category: &Category) -> CategoryView {
        CategoryView {
            id: category.id,
            tenant_id: tenancy::shown(api, category.tenant),
            name: category.name.clone(),
            description: category.description.clone(),
            colour: category.colour.clone(),
            created_at: category.created_at.to_string(),
        }
    }
}

/// What of a category can be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CategoryBody {
    /// Unique in its tenant.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 1000)]
    description: String,
    /// `#rrggbb`, or empty.
    #[serde(default)]
    #[schema(pattern = "^(#[0-9a-f]{6})?$")]
    colour: String,
    /// The tenant it belongs to; the caller's own when absent. Only where it is created.
    #[serde(default)]
    tenant_id: Option<Uuid>,
}

impl CategoryBody {
    fn draft(&self) -> Result<CategoryDraft> {
        let colour = self.colour.to_ascii_lowercase();
        let digits = colour.strip_prefix('#').unwrap_or("");
        let is_colour = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !colour.is_empty() && !is_colour {
            return Err(Problem::invalid("colour", "#rrggbb, or empty"));
        }
        Ok(CategoryDraft {
            name: fields::line("name", &self.name, 1, 100)?,
            description: fields::text("description", &self.description, 1000)?,
            colour,
        })
    }
}

/// The categories that the caller can see, by name.
#[utoipa::path(get, path = "/call-categories", tag = "calls", operation_id = "list_call_categories",
    params(OfTenant), responses((status = 200, body = Page<CategoryView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(asked): Parameters<OfTenant>,
) -> Result<Json<Page<CategoryView>>> {
    caller.needs(Resource::CallCategories, Operation::View)?;
    let Some((scope, listing)) = asked.of(&caller)? else {
        return Ok(Json(Page::empty()));
    };
    let found = api.catalog()?.call_categories(&scope, &listing).await?;
    Ok(Json(Page::of(found, |category| {
        CategoryView::new(&api, &category)
    })))
}

/// A new category.
#[utoipa::path(post, path = "/call-categories", tag = "calls", operation_id = "create_call_category",
    request_body = CategoryBody, responses((status = 201, body = CategoryView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<CategoryBody>,
) -> Result<Versioned<CategoryView>> {
    caller.needs(Resource::CallCategories, Operation::Edit)?;
    let draft = body.draft()?;
    let mut change = api.catalog()?.change().await?;
    let tenant = tenancy::target(&caller, &mut change, body.tenant_id).await?;
    let category = change.create_call_category(tenant, &draft).await?;
    let event = caller.event("call_categories.create").of_tenant(tenant);
    let event = event
        .on("call_category", category.id)
        .change(None, Some(state(&category)));
    change.commit(event).await?;
    let path = format!("/api/v1/call-categories/{}", category.id);
    let view = CategoryView::new(&api, &category);
    Ok(Versioned::created(category.version, path, view))
}

/// One category.
#[utoipa::path(get, path = "/call-categories/{id}", tag = "calls", operation_id = "show_call_category",
    params(("id" = Uuid, Path)), responses((status = 200, body = CategoryView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Versioned<CategoryView>> {
    caller.needs(Resource::CallCategories, Operation::View)?;
    let category = api.catalog()?.call_category(&caller.scope(), id).await?;
    let category = category.ok_or_else(Problem::not_found)?;
    let view = CategoryView::new(&api, &category);
    Ok(Versioned::new(category.version, view))
}

/// Writes a category anew.
#[utoipa::path(put, path = "/call-categories/{id}", tag = "calls", operation_id = "edit_call_category",
    params(("id" = Uuid, Path), IfMatch),
    request_body = CategoryBody, responses((status = 200, body = CategoryView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<CategoryBody>,
) -> Result<Versioned<CategoryView>> {
    caller.needs(Resource::CallCategories, Operation::Edit)?;
    let draft = body.draft()?;
    let mut change = api.catalog()?.change().await?;
    let before = change.call_category(&caller.scope(), id).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    tenancy::stays(before.tenant, body.tenant_id)?;
    version.check(before.version)?;
    let category = change.edit_call_category(&before, &draft).await?;
    let event = caller
        .event("call_categories.edit")
        .of_tenant(category.tenant)
        .on("call_category", id)
        .change(Some(state(&before)), Some(state(&category)));
    change.commit(event).await?;
    let view = CategoryView::new(&api, &category);
    Ok(Versioned::new(category.version, view))
}

/// Removes a category. Its calls are in it no more.
#[utoipa::path(delete, path = "/call-categories/{id}", tag = "calls", operation_id = "remove_call_category",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    caller.needs(Resource::CallCategories, Operation::Delete)?;
    let mut change = api.catalog()?.change().await?;
    let category = change.call_category(&caller.scope(), id).await?;
    let category = category.ok_or_else(Problem::not_found)?;
    version.check(category.version)?;
    change.remove_call_category(&category).await?;
    let event = caller
        .event("call_categories.delete")
        .of_tenant(category.tenant)
        .on("call_category", id)
        .change(Some(state(&category)), None);
    change.commit(event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a call into a category. One that is in it already stays in it.
#[utoipa::path(put, path = "/calls/{id}/categories/{category_id}", tag = "calls", operation_id = "categorize_call",
    params(("id" = Uuid, Path), ("category_id" = Uuid, Path)), responses((status = 204)))]
async fn assign(State(api): State<Api>, caller: Caller, ids: Ids) -> Result<StatusCode> {
    caller.needs(Resource::Calls, Operation::Categorize)?;
    let mut change = api.catalog()?.change().await?;
    let call = change.call_to_mark(&caller.scope(), ids.0).await?;
    let call = call.ok_or_else(Problem::not_found)?;
    let category = change.call_category(&caller.scope(), ids.1).await?;
    let category = category.filter(|category| category.tenant == call.tenant);
    let category = category.ok_or_else(Problem::not_found)?;
    if change
        .categorize(&call, &category, &by(&caller, call.tenant))
        .await?
    {
        let event = caller.event("calls.categorize").of_tenant(call.tenant);
        let now = json!({ "category_id": category.id, "category": category.name });
        change
            .commit(event.on("call", call.id).change(None, Some(now)))
            .await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a call out of a category.
#[utoipa::path(delete, path = "/calls/{id}/categories/{category_id}", tag = "calls", operation_id = "uncategorize_call",
    params(("id" = Uuid, Path), ("category_id" = Uuid, Path)), responses((status = 204)))]
async fn unassign(State(api): State<Api>, caller: Caller, ids: Ids) -> Result<StatusCode> {
    caller.needs(Resource::Calls, Operation::Categorize)?;
    let mut change = api.catalog()?.change().await?;
    let call = change.call_to_mark(&caller.scope(), ids.0).await?;
    let call = call.ok_or_else(Problem::not_found)?;
    if !change.uncategorize(&call, ids.1).await? {
        return Err(Problem::not_found());
    }
    let event = caller.event("calls.uncategorize").of_tenant(call.tenant);
    let before = json!({ "category_id": ids.1 });
    change
        .commit(event.on("call", call.id).change(Some(before), None))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the audit keeps of a category.
fn state(category: &Category) -> serde_json::Value {
    json!({ "name": category.name, "description": category.description, "colour": category.colour })
}
