//! `/groups`: users that are looked after together.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{AccessLevel, Operation, Resource};
use crate::api::caller::Caller;
use crate::api::fields::{self, Page};
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Parameters, Versioned};
use crate::api::state::Api;
use crate::api::tenancy::{self, OfTenant};
use crate::base::GroupId;
use crate::catalog::{Group, GroupDraft};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
}

/// Users that are looked after together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Group)]
struct GroupView {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    name: String,
    description: String,
    /// Users that are in it.
    users: u64,
    /// RFC 3339, UTC.
    created_at: String,
    changed_at: String,
}

impl GroupView {
    fn new(api: &Api, group: &Group) -> GroupView {
        GroupView {
            id: group.id.0,
            tenant_id: tenancy::shown(api, group.tenant),
            name: group.name.clone(),
            description: group.description.clone(),
            users: group.users,
            created_at: group.created_at.to_string(),
            changed_at: group.changed_at.to_string(),
        }
    }
}

/// What of a group can be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GroupBody {
    /// Unique in its tenant. At most 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 1000)]
    description: String,
    /// The tenant it belongs to; the caller's own when absent. Only where it is created.
    #[serde(default)]
    tenant_id: Option<Uuid>,
}

impl GroupBody {
    fn draft(&self) -> Result<GroupDraft> {
        Ok(GroupDraft {
            name: fields::line("name", &self.name, 1, 100)?,
            description: fields::text("description", &self.description, 1000)?,
        })
    }
}

/// The groups that the caller can see, by name.
#[utoipa::path(get, path = "/groups", tag = "groups", operation_id = "list_groups", params(OfTenant),
    responses((status = 200, body = Page<GroupView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(asked): Parameters<OfTenant>,
) -> Result<Json<Page<GroupView>>> {
    caller.needs(Resource::Groups, Operation::View)?;
    let Some((scope, listing)) = asked.of(&caller)? else {
        return Ok(Json(Page::empty()));
    };
    let groups = api.catalog()?.groups(&scope, &listing).await?;
    Ok(Json(Page::of(groups, |group| GroupView::new(&api, &group))))
}

/// A new group.
#[utoipa::path(post, path = "/groups", tag = "groups", operation_id = "create_group", request_body = GroupBody,
    responses((status = 201, body = GroupView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<GroupBody>,
) -> Result<Versioned<GroupView>> {
    caller.needs(Resource::Groups, Operation::Edit)?;
    // Who does not reach the whole tenant would not see the group.
    caller.reaches(AccessLevel::System)?;
    let draft = body.draft()?;
    let mut change = api.catalog()?.change().await?;
    let tenant = tenancy::target(&caller, &mut change, body.tenant_id).await?;
    let group = change.create_group(tenant, &draft).await?;
    let event = caller.event("groups.create").of_tenant(tenant);
    let event = event
        .on("group", group.id.0)
        .change(None, Some(state(&group)));
    change.commit(event).await?;
    let path = format!("/api/v1/groups/{}", group.id);
    Ok(Versioned::created(
        group.version,
        path,
        GroupView::new(&api, &group),
    ))
}

/// One group.
#[utoipa::path(get, path = "/groups/{id}", tag = "groups", operation_id = "show_group", params(("id" = Uuid, Path)),
    responses((status = 200, body = GroupView)))]
async fn show(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Versioned<GroupView>> {
    caller.needs(Resource::Groups, Operation::View)?;
    let group = api.catalog()?.group(&caller.scope(), GroupId(id)).await?;
    let group = group.ok_or_else(Problem::not_found)?;
    Ok(Versioned::new(group.version, GroupView::new(&api, &group)))
}

/// Writes a group anew.
#[utoipa::path(put, path = "/groups/{id}", tag = "groups", operation_id = "edit_group",
    params(("id" = Uuid, Path), IfMatch),
    request_body = GroupBody, responses((status = 200, body = GroupView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<GroupBody>,
) -> Result<Versioned<GroupView>> {
    caller.needs(Resource::Groups, Operation::Edit)?;
    let draft = body.draft()?;
    let mut change = api.catalog()?.change().await?;
    let before = change.group(&caller.scope(), GroupId(id)).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    tenancy::stays(before.tenant, body.tenant_id)?;
    version.check(before.version)?;
    let group = change.edit_group(&before, &draft).await?;
    let event = caller.event("groups.edit").of_tenant(group.tenant);
    let event = event
        .on("group", id)
        .change(Some(state(&before)), Some(state(&group)));
    change.commit(event).await?;
    Ok(Versioned::new(group.version, GroupView::new(&api, &group)))
}

/// Removes a group. Its users are in none then.
#[utoipa::path(delete, path = "/groups/{id}", tag = "groups", operation_id = "remove_group",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    caller.needs(Resource::Groups, Operation::Delete)?;
    let mut change = api.catalog()?.change().await?;
    let group = change.group(&caller.scope(), GroupId(id)).await?;
    let group = group.ok_or_else(Problem::not_found)?;
    version.check(group.version)?;
    change.remove_group(&group).await?;
    let event = caller.event("groups.delete").of_tenant(group.tenant);
    change
        .commit(event.on("group", id).change(Some(state(&group)), None))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the audit keeps of a group.
fn state(group: &Group) -> serde_json::Value {
    json!({ "name": group.name, "description": group.description })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Preset;
    use crate::api::testing::{Tried, World};

    #[tokio::test]
    async fn a_group_is_made_read_edited_and_removed() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        let made = ann
            .post("/groups", json!({ "name": "Sales" }))
            .await
            .expect(201);
        let path = made.location();
        assert_eq!(made.json()["users"], 0);
        let read = ann.get(&path).await.expect(200);
        assert_eq!(read.json(), made.json());
        let edited = ann
            .put(&path, &read.etag(), json!({ "name": "Sales EU" }))
            .await
            .expect(200);
        assert_eq!(edited.json()["name"], "Sales EU");
        ann.put(&path, &read.etag(), json!({ "name": "late" }))
            .await
            .expect(412);
        ann.delete(&path, &edited.etag()).await.expect(204);
        ann.get(&path).await.expect(404);
        let audit = world.audit("acme").await;
        assert_eq!(audit, ["groups.create", "groups.edit", "groups.delete"]);
    }

    #[tokio::test]
    async fn a_foreign_group_and_an_absent_one_are_the_same() {
        let world = World::new().await;
        let foreign = world.user("globex", Preset::TenantAdministrator);
        let path = foreign
            .post("/groups", json!({ "name": "Sales" }))
            .await
            .expect(201)
            .location();
        let ann = world.user("acme", Preset::TenantAdministrator);
        let absent = format!("/api/v1/groups/{}", Uuid::from_u128(7));
        for path in [&path, &absent, "/api/v1/groups/seven"] {
            let answers: Vec<Tried> = vec![
                ann.get(path).await,
                ann.put(path, "*", json!({ "name": "mine" })).await,
                ann.delete(path, "*").await,
            ];
            for answer in answers {
                let answer = answer.expect(404);
                assert_eq!(
                    answer.json(),
                    json!({
                        "type": "urn:callreel:problem:not_found", "title": "There is no such thing", "status": 404,
                    })
                );
            }
        }
        // The same name in two tenants, and no word of the other.
        ann.post("/groups", json!({ "name": "Sales" }))
            .await
            .expect(201);
        ann.post("/groups", json!({ "name": "sales" }))
            .await
            .expect(409);
        let list = ann.get("/groups").await.expect(200);
        assert_eq!(list.json()["items"].as_array().unwrap().len(), 1);
        let other = format!("/groups?tenant_id={}", world.tenant("globex"));
        assert_eq!(ann.get(&other).await.expect(200).json()["items"], json!([]));
        let body = json!({ "name": "Spy", "tenant_id": world.tenant("globex") });
        let problem = ann.post("/groups", body).await.expect(422);
        assert_eq!(problem.json()["field"], "tenant_id");
    }

    #[tokio::test]
    async fn who_may_not_edit_may_not() {
        let world = World::new().await;
        world.nobody().get("/groups").await.expect(401);
        let reader = world.user("acme", Preset::Reader);
        reader.get("/groups").await.expect(200);
        let problem = reader
            .post("/groups", json!({ "name": "x" }))
            .await
            .expect(403);
        assert_eq!(problem.json()["detail"], "it needs groups: edit");
        assert_eq!(world.audit("acme").await, [""; 0]);
    }

    #[tokio::test]
    async fn a_system_administrator_works_in_any_tenant() {
        let world = World::new().await;
        let root = world.user("system", Preset::RootAdministrator);
        let body = json!({ "name": "Helpdesk", "tenant_id": world.tenant("acme") });
        let made = root.post("/groups", body).await.expect(201);
        let ann = world.user("acme", Preset::TenantAdministrator);
        assert_eq!(
            ann.get(&made.location()).await.expect(200).json()["name"],
            "Helpdesk"
        );
        assert_eq!(world.audit("acme").await, ["groups.create"]);
        assert_eq!(world.audit("system").await, [""; 0]);
    }

    #[tokio::test]
    async fn a_list_comes_page_by_page() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        for name in ["delta", "Alpha", "charlie", "Bravo", "echo"] {
            ann.post("/groups", json!({ "name": name }))
                .await
                .expect(201);
        }
        let mut names = Vec::new();
        let mut path = "/groups?limit=2".to_owned();
        loop {
            let page = ann.get(&path).await.expect(200).json();
            for item in page["items"].as_array().unwrap() {
                names.push(item["name"].as_str().unwrap().to_owned());
            }
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("/groups?limit=2&after={next}");
        }
        assert_eq!(names, ["Alpha", "Bravo", "charlie", "delta", "echo"]);
        ann.get("/groups?after=nonsense").await.expect(400);
        ann.get("/groups?limit=0").await.expect(422);
    }
}
