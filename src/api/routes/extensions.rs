//! `/extensions`: the numbers of tenants.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::allocations::AllocationView;
use super::tenants::needs_all;
use crate::access::{Operation, Reach, Resource, Scope};
use crate::api::caller::Caller;
use crate::api::fields::Page;
use crate::api::installation::KnownExtension;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Parameters, Versioned};
use crate::api::state::Api;
use crate::api::{fields, tenancy};
use crate::base::{TenantId, Timestamp};
use crate::catalog::{AllocationRow, ExtensionDraft, ExtensionRow, wall_clock};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
}

/// A number, a range or a prefix of a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Extension)]
pub(super) struct ExtensionView {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    /// `number`, `range` or `prefix`.
    kind: &'static str,
    /// A number, `first-last`, or a prefix.
    extension: String,
    aliases: Vec<String>,
    /// In place of the tenant's: `all`, `none`, `on-demand`, or a share such as `25%`.
    policy: Option<String>,
    /// Login of the user that the configuration gives it to: no allocation changes that.
    pinned: Option<String>,
    /// In force, and to be.
    allocations: Vec<AllocationView>,
    /// Nobody has all of it now, and it can be allocated.
    available: bool,
    /// File and line of the configuration that it comes from, where it cannot be changed here.
    origin: Option<String>,
    read_only: bool,
}

/// What of a tenant's extensions a caller can see.
pub(super) struct Sight {
    scope: Scope,
    /// Logins in small letters; none: everybody's.
    logins: Option<HashSet<String>>,
    /// Who allocates sees what is free.
    allocates: bool,
    now: Timestamp,
}

impl Sight {
    pub(super) async fn of(api: &Api, caller: &Caller, tenant: TenantId) -> Result<Sight> {
        let scope = caller.scope();
        let logins = api.catalog()?.reached_logins(&scope, tenant).await?;
        Ok(Sight {
            logins: logins.map(|logins| logins.into_iter().collect()),
            allocates: caller
                .principal
                .may(Resource::Extensions, Operation::Allocate),
            now: wall_clock(),
            scope,
        })
    }

    pub(super) fn reaches(&self, login: &str) -> bool {
        let logins = self.logins.as_ref();
        logins.is_none_or(|logins| logins.contains(&login.to_lowercase()))
    }

    /// The extension as the caller sees it, if at all.
    fn view(
        &self,
        api: &Api,
        extension: &KnownExtension,
        allocations: &[AllocationRow],
    ) -> Option<ExtensionView> {
        let own: Vec<&AllocationRow> = (allocations.iter())
            .filter(|row| row.extension == extension.id)
            .filter(|row| row.valid_to.is_none_or(|end| end > self.now))
            .collect();
        let has_whole = |row: &&&AllocationRow| row.number.is_none() && row.holds_at(self.now);
        let available = extension.pinned.is_none() && own.iter().find(has_whole).is_none();
        let pinned_here = (extension.pinned.as_ref()).is_some_and(|login| self.reaches(login));
        let seen: Vec<AllocationView> = (own.iter())
            .filter(|row| self.reaches(&row.login))
            .map(|row| AllocationView::new(row, self.now))
            .collect();
        let sees = self.logins.is_none()
            || pinned_here
            || !seen.is_empty()
            || (self.allocates && available);
        let reaches_all = matches!(self.scope.reach(), Reach::System);
        sees.then(|| ExtensionView {
            id: extension.id,
            tenant_id: tenancy::shown(api, extension.tenant),
            kind: extension.kind,
            extension: extension.text.clone(),
            aliases: extension.aliases.clone(),
            policy: extension.policy.clone(),
            pinned: extension.pinned.clone(),
            allocations: seen,
            available,
            origin: extension.origin.clone().filter(|_| reaches_all),
            read_only: extension.origin.is_some(),
        })
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// Of this tenant only.
    tenant_id: Option<Uuid>,
    /// Those that nobody has all of now, or those that somebody has.
    available: Option<bool>,
    /// The one that this number is of; within a tenant.
    number: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// The extensions that the caller can see, tenant by tenant.
#[utoipa::path(get, path = "/extensions", tag = "extensions", operation_id = "list_extensions", params(ListParameters),
    responses((status = 200, body = Page<ExtensionView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Page<ExtensionView>>> {
    caller.needs(Resource::Extensions, Operation::View)?;
    let limit = fields::listing(None, parameters.limit)?.limit as usize;
    let Some(scope) = tenancy::narrowed(&caller, parameters.tenant_id) else {
        return Ok(Json(Page::empty()));
    };
    let installation = api.installation()?;
    let tenants = match scope.only_tenant() {
        Some(tenant) => vec![tenant],
        None => installation.tenants_with_extensions(),
    };
    let start = parameters.after.as_deref().map(Position::parse);
    let start = match start {
        Some(None) => return Err(Problem::from(crate::catalog::Error::Cursor)),
        Some(Some(position)) => position,
        None => Position::default(),
    };
    let mut page = Page::empty();
    for tenant in tenants.into_iter().filter(|tenant| *tenant >= start.tenant) {
        let sight = Sight::of(&api, &caller, tenant).await?;
        let number = parameters.number.as_deref();
        let wanted = number.map(|number| installation.extension_of(tenant, number));
        let allocations = installation.allocations(tenant);
        let skipped = if tenant == start.tenant {
            start.place
        } else {
            0
        };
        let extensions = installation.extensions(tenant);
        for (place, extension) in extensions.iter().enumerate().skip(skipped) {
            let is_wanted = (wanted.as_ref()).is_none_or(|wanted| {
                wanted
                    .as_ref()
                    .is_some_and(|found| found.extension == extension.id)
            });
            let view = sight.view(&api, extension, &allocations);
            let fits = |view: &ExtensionView| {
                is_wanted
                    && parameters
                        .available
                        .is_none_or(|wanted| wanted == view.available)
            };
            let Some(view) = view.filter(fits) else {
                continue;
            };
            if page.items.len() == limit {
                page.next = Some(Position { tenant, place }.to_text());
                return Ok(Json(page));
            }
            page.items.push(view);
        }
    }
    Ok(Json(page))
}

/// Where a page begins.
struct Position {
    tenant: TenantId,
    place: usize,
}

impl Default for Position {
    fn default() -> Position {
        Position {
            tenant: TenantId(Uuid::nil()),
            place: 0,
        }
    }
}

impl Position {
    fn to_text(&self) -> String {
        format!("{}.{:x}", self.tenant.0.simple(), self.place)
    }

    fn parse(text: &str) -> Option<Position> {
        let (tenant, place) = text.split_once('.')?;
        Some(Position {
            tenant: TenantId(Uuid::try_parse(tenant).ok()?),
            place: usize::from_str_radix(place, 16).ok()?,
        })
    }
}

/// The extension, if the caller can see it, as it is seen.
pub(super) async fn found(
    api: &Api,
    caller: &Caller,
    id: Uuid,
) -> Result<(KnownExtension, ExtensionView)> {
    let installation = api.installation()?;
    let known = installation.extension(&caller.scope(), id);
    let known = known.ok_or_else(Problem::not_found)?;
    let sight = Sight::of(api, caller, known.tenant).await?;
    let allocations = installation.allocations(known.tenant);
    let view = sight.view(api, &known, &allocations);
    let view = view.ok_or_else(Problem::not_found)?;
    Ok((known, view))
}

/// One extension.
#[utoipa::path(get, path = "/extensions/{id}", tag = "extensions", operation_id = "show_extension",
    params(("id" = Uuid, Path)), responses((status = 200, body = ExtensionView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Versioned<ExtensionView>> {
    caller.needs(Resource::Extensions, Operation::View)?;
    let (known, view) = found(&api, &caller, id).await?;
    Ok(Versioned::new(known.version, view))
}

/// A new extension: one of `number`, `range` and `prefix`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExtensionBody {
    /// The tenant it belongs to; the caller's own when absent.
    tenant_id: Option<Uuid>,
    #[schema(max_length = 64)]
    number: Option<String>,
    /// `1100-1199`: both ends belong to it.
    #[schema(max_length = 64)]
    range: Option<String>,
    /// All numbers that begin so.
    #[schema(max_length = 64)]
    prefix: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    /// `all`, `none`, `on-demand`, or a share such as `25%`; absent: the tenant's.
    policy: Option<String>,
}

impl ExtensionBody {
    fn pattern(&self) -> Result<(&'static str, &str)> {
        let given: Vec<(&'static str, &str)> = [
            ("number", &self.number),
            ("range", &self.range),
            ("prefix", &self.prefix),
        ]
        .into_iter()
        .filter_map(|(kind, text)| Some((kind, text.as_deref()?)))
        .collect();
        match given.as_slice() {
            [one] => Ok(*one),
            _ => Err(Problem::invalid(
                "number",
                "one of number, range and prefix",
            )),
        }
    }
}

/// A new extension of a tenant. No two tenants may be able to claim the same number of the same call.
#[utoipa::path(post, path = "/extensions", tag = "extensions", operation_id = "create_extension",
    request_body = ExtensionBody, responses((status = 201, body = ExtensionView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<ExtensionBody>,
) -> Result<Versioned<ExtensionView>> {
    caller.needs(Resource::Extensions, Operation::Edit)?;
    needs_all(&caller, Resource::Extensions, Operation::Edit)?;
    let (kind, text) = body.pattern()?;
    let text = fields::line(kind, text, 1, 64)?;
    let tenant = body.tenant_id.map_or(caller.principal.tenant(), TenantId);
    let catalog = api.catalog()?;
    if catalog
        .registered_tenant(&caller.scope(), tenant)
        .await?
        .is_none()
    {
        return Err(Problem::invalid("tenant_id", "there is no such tenant"));
    }
    let installation = api.installation()?;
    let id = installation.extension_id(tenant, kind, &text);
    let no_pattern = || Problem::invalid(kind, "a number, a range such as 1100-1199, or a prefix");
    let id = id.ok_or_else(no_pattern)?;
    let now = wall_clock();
    let row = ExtensionRow {
        id,
        tenant,
        kind: kind.to_owned(),
        text,
        aliases: body.aliases.clone(),
        policy: body.policy.clone(),
        version: 1,
        created_at: now,
        changed_at: now,
    };
    if installation.extension(&caller.scope(), id).is_some() {
        return Err(Problem::conflict(kind, "the tenant has it already"));
    }
    let mut change = api
        .extension_change(&caller, &catalog, (tenant, id), |rows| {
            rows.extensions.push(row.clone());
        })
        .await
        .map_err(|problem| about(kind, problem))?;
    let row = change.create_extension(&row).await?;
    let event = caller.event("extensions.create").of_tenant(tenant);
    let event = event.on("extension", id).change(None, Some(state(&row)));
    change.commit(event).await?;
    api.directory_changed().await;
    let (known, view) = found(&api, &caller, id).await?;
    let path = format!("/api/v1/extensions/{id}");
    Ok(Versioned::created(known.version, path, view))
}

/// Who asks for an extension can mend the pattern: match rules, which meet another tenant's because of it, are not theirs.
fn about(kind: &'static str, problem: Problem) -> Problem {
    match problem.details().field.as_deref() {
        Some("extension" | "rules.match") => problem.field(kind),
        _ => problem,
    }
}

/// What of an extension can be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExtensionEdit {
    #[serde(default)]
    aliases: Vec<String>,
    policy: Option<String>,
}

/// Writes an extension's aliases and policy anew. One that is written in a file can only be changed there.
#[utoipa::path(put, path = "/extensions/{id}", tag = "extensions", operation_id = "edit_extension",
    params(("id" = Uuid, Path), IfMatch),
    request_body = ExtensionEdit, responses((status = 200, body = ExtensionView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<ExtensionEdit>,
) -> Result<Versioned<ExtensionView>> {
    caller.needs(Resource::Extensions, Operation::Edit)?;
    let (known, _) = found(&api, &caller, id).await?;
    needs_all(&caller, Resource::Extensions, Operation::Edit)?;
    Problem::unless_written(known.origin.as_deref())?;
    let draft = ExtensionDraft {
        aliases: body.aliases,
        policy: body.policy,
    };
    let catalog = api.catalog()?;
    let put = |rows: &mut crate::catalog::DirectoryRows| {
        for row in rows.extensions.iter_mut().filter(|row| row.id == id) {
            row.aliases.clone_from(&draft.aliases);
            row.policy.clone_from(&draft.policy);
        }
    };
    let which = (known.tenant, id);
    let mut change = (api.extension_change(&caller, &catalog, which, put)).await?;
    let before = change.extension_row(&caller.scope(), id).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    version.check(before.version)?;
    let row = change.edit_extension(&before, &draft).await?;
    let event = caller.event("extensions.edit").of_tenant(row.tenant);
    let event = event
        .on("extension", id)
        .change(Some(state(&before)), Some(state(&row)));
    change.commit(event).await?;
    api.directory_changed().await;
    let (known, view) = found(&api, &caller, id).await?;
    Ok(Versioned::new(known.version, view))
}

/// Removes an extension. What was allocated of it ends, and stays as history.
#[utoipa::path(delete, path = "/extensions/{id}", tag = "extensions", operation_id = "remove_extension",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    caller.needs(Resource::Extensions, Operation::Delete)?;
    let (known, _) = found(&api, &caller, id).await?;
    needs_all(&caller, Resource::Extensions, Operation::Delete)?;
    Problem::unless_written(known.origin.as_deref())?;
    let mut change = api.catalog()?.change().await?;
    let row = change.extension_row(&caller.scope(), id).await?;
    let row = row.ok_or_else(Problem::not_found)?;
    version.check(row.version)?;
    let holders = change.confidential_holders(id, None, wall_clock());
    caller.may_take_from(row.tenant, &holders.await?)?;
    change.remove_extension(&row).await?;
    let event = caller.event("extensions.delete").of_tenant(row.tenant);
    let event = event.on("extension", id).change(Some(state(&row)), None);
    change.commit(event).await?;
    api.directory_changed().await;
    Ok(StatusCode::NO_CONTENT)
}

/// What the audit keeps of an extension.
fn state(row: &ExtensionRow) -> Value {
    json!({ "kind": row.kind, "extension": row.text, "aliases": row.aliases, "policy": row.policy })
}
