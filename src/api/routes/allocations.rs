//! `/extensions/{id}/allocations`: who has a number when.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::extensions::{Sight, found};
use crate::access::{Operation, Reach, Resource};
use crate::api::caller::Caller;
use crate::api::fields::Page;
use crate::api::installation::KnownExtension;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Versioned};
use crate::api::state::Api;
use crate::base::{Timestamp, UserId};
use crate::catalog::{AllocationDraft, AllocationRow, Taken, wall_clock};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(history, allocate))
        .routes(routes!(end, release))
}

/// A request that says when something begins may have been under way for so long.
const UNDER_WAY_SECONDS: u64 = 120;

/// Who has an extension, or one number of it, from when to when.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Allocation)]
pub(super) struct AllocationView {
    id: Uuid,
    extension_id: Uuid,
    /// One number of a range or a prefix; null: all of the extension.
    number: Option<String>,
    user_id: Uuid,
    login: String,
    /// RFC 3339, UTC.
    valid_from: String,
    /// The first moment at which it does not hold any more; null: until further notice.
    valid_to: Option<String>,
    in_force: bool,
}

impl AllocationView {
    pub(super) fn new(row: &AllocationRow, now: Timestamp) -> AllocationView {
        AllocationView {
            id: row.id,
            extension_id: row.extension,
            number: row.number.clone(),
            user_id: row.user.0,
            login: row.login.clone(),
            valid_from: row.valid_from.to_string(),
            valid_to: row.valid_to.map(|at| at.to_string()),
            in_force: row.holds_at(now),
        }
    }
}

/// Who had, has and will have an extension, latest first.
#[utoipa::path(get, path = "/extensions/{id}/allocations", tag = "extensions", operation_id = "list_allocations",
    params(("id" = Uuid, Path)), responses((status = 200, body = Page<AllocationView>)))]
async fn history(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<Page<AllocationView>>> {
    caller.needs(Resource::Extensions, Operation::View)?;
    let (known, _) = found(&api, &caller, id).await?;
    let rows = api
        .catalog()?
        .allocations(&caller.scope(), known.id)
        .await?;
    let now = wall_clock();
    Ok(Json(Page {
        items: rows
            .iter()
            .map(|row| AllocationView::new(row, now))
            .collect(),
        next: None,
    }))
}

/// Gives an extension to a user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AllocationBody {
    user_id: Uuid,
    /// One number of a range or a prefix; absent: all of the extension.
    #[schema(max_length = 64)]
    number: Option<String>,
    /// RFC 3339; now when absent. Not in the past.
    #[schema(format = DateTime)]
    valid_from: Option<String>,
    /// The first moment at which it does not hold any more; until further notice when absent.
    #[schema(format = DateTime)]
    valid_to: Option<String>,
    /// Who has it at `valid_from` has it until then.
    #[serde(default)]
    replace: bool,
}

/// Allocates an extension, or one number of it, to a user of its tenant, from now or later on. Earlier calls stay with who had
/// it then.
#[utoipa::path(post, path = "/extensions/{id}/allocations", tag = "extensions", operation_id = "allocate_extension",
    params(("id" = Uuid, Path)), request_body = AllocationBody, responses((status = 201, body = AllocationView)))]
async fn allocate(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Body(body): Body<AllocationBody>,
) -> Result<Versioned<AllocationView>> {
    caller.needs(Resource::Extensions, Operation::Allocate)?;
    let (known, _) = found(&api, &caller, id).await?;
    not_pinned(&caller, &known)?;
    let now = wall_clock();
    let draft = AllocationDraft {
        tenant: known.tenant,
        extension: id,
        number: number_of(&api, &known, body.number.as_deref())?,
        user: UserId(body.user_id),
        valid_from: beginning(body.valid_from.as_deref(), now)?,
        valid_to: body
            .valid_to
            .as_deref()
            .map(|text| time("valid_to", text))
            .transpose()?,
        replace: body.replace,
    };
    if draft.valid_to.is_some_and(|end| end <= draft.valid_from) {
        return Err(Problem::invalid("valid_to", "after valid_from"));
    }
    let scope = caller.scope();
    let mut change = api.catalog()?.change().await?;
    let login = change.login_of(&scope, known.tenant, draft.user).await?;
    let login = login.ok_or_else(|| Problem::invalid("user_id", "there is no such user"))?;
    if draft.replace {
        reaches_replaced(&api, &caller, &draft).await?;
        let holders = change.confidential_holders(id, Some(&draft.number), draft.valid_from);
        caller.may_take_from(known.tenant, &holders.await?)?;
    }
    let row = change.allocate(&draft, &login).await?;
    let row = row.map_err(|taken| overlaps(&caller, &taken))?;
    let event = caller.event("extensions.allocate").of_tenant(known.tenant);
    let event = event
        .on("extension", id)
        .change(None, Some(allocation_state(&known, &row)));
    change.commit(event).await?;
    api.directory_changed().await;
    let path = format!("/api/v1/extensions/{id}/allocations/{}", row.id);
    Ok(Versioned::created(
        row.version,
        path,
        AllocationView::new(&row, wall_clock()),
    ))
}

/// Who looks after some groups takes numbers from users of these groups only.
async fn reaches_replaced(api: &Api, caller: &Caller, draft: &AllocationDraft) -> Result<()> {
    let sight = Sight::of(api, caller, draft.tenant).await?;
    let rows = api.installation()?.allocations(draft.tenant);
    let mut replaced = rows.iter().filter(|row| {
        row.extension == draft.extension
            && row.number == draft.number
            && row.holds_at(draft.valid_from)
    });
    match replaced.all(|row| sight.reaches(&row.login)) {
        true => Ok(()),
        false => Err(Problem::conflict("valid_from", "somebody else has it then")),
    }
}

fn not_pinned(caller: &Caller, extension: &KnownExtension) -> Result<()> {
    let Some(login) = &extension.pinned else {
        return Ok(());
    };
    let place = extension
        .origin
        .as_deref()
        .filter(|_| matches!(caller.scope().reach(), Reach::System));
    let place = place.map_or_else(String::new, |place| format!(" in {place}"));
    Err(Problem::read_only(format!(
        "it is pinned to {login}{place}"
    )))
}

/// The number as it is kept: one that the extension covers, and no other extension does better.
fn number_of(api: &Api, known: &KnownExtension, number: Option<&str>) -> Result<Option<String>> {
    let Some(number) = number else {
        return Ok(None);
    };
    if known.kind == "number" {
        return Err(Problem::invalid(
            "number",
            "the extension is one number: leave it out",
        ));
    }
    let found = api.installation()?.extension_of(known.tenant, number);
    match found.filter(|found| found.extension == known.id) {
        Some(found) if found.is_exact => Err(Problem::invalid(
            "number",
            "it is an alias of the extension: who has all of that has it",
        )),
        Some(found) => Ok(Some(found.number)),
        None => Err(Problem::invalid(
            "number",
            "it is not covered by this extension, or is one of its own",
        )),
    }
}

fn beginning(text: Option<&str>, now: Timestamp) -> Result<Timestamp> {
    let Some(text) = text else {
        return Ok(now);
    };
    let at = time("valid_from", text)?;
    if now.since(at).as_secs() > UNDER_WAY_SECONDS {
        return Err(Problem::invalid("valid_from", "it lies in the past"));
    }
    Ok(at.max(now))
}

fn time(field: &str, text: &str) -> Result<Timestamp> {
    Timestamp::from_rfc3339(text)
        .ok_or_else(|| Problem::invalid(field, "a time as 2026-11-22T09:00:00Z"))
}

fn overlaps(caller: &Caller, taken: &Taken) -> Problem {
    let row = &taken.0;
    let whom = match caller.scope().reach() {
        Reach::System | Reach::Tenant(_) => row.login.as_str(),
        _ => "somebody",
    };
    let until = row
        .valid_to
        .map_or_else(String::new, |end| format!(" to {end}"));
    Problem::conflict(
        "valid_from",
        format!("{whom} has it from {}{until}", row.valid_from),
    )
}

/// When an allocation ends.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndBody {
    /// RFC 3339, not in the past; null: until further notice.
    #[schema(format = DateTime)]
    valid_to: Option<String>,
}

type Ids = Path<(String, String)>;

/// The ids in the path; what is no id is not there.
fn ids(Path((extension, allocation)): &Ids) -> Result<(Uuid, Uuid)> {
    let parse = |text: &str| Uuid::try_parse(text).map_err(|_| Problem::not_found());
    Ok((parse(extension)?, parse(allocation)?))
}

/// Moves the end of an allocation.
#[utoipa::path(patch, path = "/extensions/{id}/allocations/{allocation_id}", tag = "extensions",
    operation_id = "end_allocation",
    params(("id" = Uuid, Path), ("allocation_id" = Uuid, Path), IfMatch),
    request_body = EndBody, responses((status = 200, body = AllocationView)))]
async fn end(
    State(api): State<Api>,
    caller: Caller,
    path: Ids,
    version: IfMatch,
    Body(body): Body<EndBody>,
) -> Result<Versioned<AllocationView>> {
    let now = wall_clock();
    let valid_to = body
        .valid_to
        .as_deref()
        .map(|text| time("valid_to", text))
        .transpose()?;
    if valid_to.is_some_and(|end| now.since(end).as_secs() > UNDER_WAY_SECONDS) {
        return Err(Problem::invalid("valid_to", "it lies in the past"));
    }
    let valid_to = valid_to.map(|end| end.max(now));
    let row = set_end(&api, &caller, &path, version, valid_to).await?;
    Ok(Versioned::new(
        row.version,
        AllocationView::new(&row, wall_clock()),
    ))
}

/// Ends an allocation now, or takes back one that has not begun.
#[utoipa::path(delete, path = "/extensions/{id}/allocations/{allocation_id}", tag = "extensions",
    operation_id = "release_allocation",
    params(("id" = Uuid, Path), ("allocation_id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn release(
    State(api): State<Api>,
    caller: Caller,
    path: Ids,
    version: IfMatch,
) -> Result<StatusCode> {
    set_end(&api, &caller, &path, version, Some(wall_clock())).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_end(
    api: &Api,
    caller: &Caller,
    path: &Ids,
    version: IfMatch,
    valid_to: Option<Timestamp>,
) -> Result<AllocationRow> {
    caller.needs(Resource::Extensions, Operation::Allocate)?;
    let (extension, id) = ids(path)?;
    let (known, _) = found(api, caller, extension).await?;
    let mut change = api.catalog()?.change().await?;
    let before = change.allocation(&caller.scope(), id).await?;
    let before = before.filter(|row| row.extension == extension);
    let before = before.ok_or_else(Problem::not_found)?;
    version.check(before.version)?;
    let is_over = before.valid_to.is_some_and(|end| end <= wall_clock());
    if is_over {
        return Err(Problem::read_only("it has ended, and stays as it was"));
    }
    let valid_to = valid_to.map(|end| end.max(before.valid_from));
    let is_longer = valid_to.is_none_or(|end| before.valid_to.is_some_and(|ends| end >= ends));
    if !is_longer && change.is_confidential(before.user).await? {
        caller.may_take_from(known.tenant, std::slice::from_ref(&before.login))?;
    }
    let row = change.end_allocation(&before, valid_to).await?;
    let row = row.map_err(|taken| overlaps(caller, &taken))?;
    let event = caller.event("extensions.allocate").of_tenant(known.tenant);
    let event = event.on("extension", extension).change(
        Some(allocation_state(&known, &before)),
        Some(allocation_state(&known, &row)),
    );
    change.commit(event).await?;
    api.directory_changed().await;
    Ok(row)
}

/// What the audit keeps of an allocation.
fn allocation_state(known: &KnownExtension, row: &AllocationRow) -> Value {
    json!({
        "allocation_id": row.id, "extension": known.text, "number": row.number, "user_id": row.user.0, "login": row.login,
        "valid_from": row.valid_from.to_string(), "valid_to": row.valid_to.map(|at| at.to_string()),
    })
}
