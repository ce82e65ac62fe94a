//! `/audit`: what people did.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Json, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{Operation, Outcome, Reach, Resource, Scope};
use crate::api::caller::Caller;
use crate::api::fields::{self, Page};
use crate::api::problem::{Problem, Result};
use crate::api::request::Parameters;
use crate::api::state::Api;
use crate::api::tenancy;
use crate::base::Timestamp;
use crate::catalog::{self, AuditEntry, AuditQuery, Catalog, KnownRecord, MAX_LISTED};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(export))
}

/// One record of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditRecord {
    pub tenant_id: Uuid,
    /// From 1, without a gap, in each tenant.
    pub number: i64,
    /// RFC 3339, UTC.
    pub at: String,
    pub actor: AuditActor,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What was done to what kind of thing, such as `users.edit`.
    pub action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<AuditObject>,
    /// The object as it was; absent where it was not there, or has no state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub before: Option<Value>,
    /// The object as it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub after: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `allowed`, `denied` or `failed`. `allowed` is written before the effect. `denied`: a request that was answered
    /// with 403, where it is known who asked, in the audit of the tenant they worked in; `after` has the request, the problem and how often, since the same again
    /// within ten minutes is one more record. Also a share link that was opened with a wrong password, or without the one it
    /// has. `failed`: a sign-in or a step-up that was refused, and what was allowed and could not be done.
    pub outcome: String,
    /// Of this record and, through it, of all before it: BLAKE3, in hexadecimal.
    pub hash: String,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditActor {
    /// `user`, `service_account`, `operator`, `anonymous`, or `system`: the program by itself, such as for `retention`.
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Absent where it was somebody of the System tenant: a tenant is told that, and not who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of the role at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Whether it was somebody of another tenant, which can only be the System tenant.
    pub of_system: bool,
}

/// What it was done to.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditObject {
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
}

impl AuditRecord {
    /// With nothing left out, for who runs the installation.
    pub fn whole(entry: AuditEntry) -> AuditRecord {
        let AuditEntry { record, hash } = entry;
        let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        let of_system = record
            .actor_tenant
            .is_some_and(|tenant| tenant != record.tenant.0);
        AuditRecord {
            tenant_id: record.tenant.0,
            number: record.number,
            at: record.at.to_string(),
            actor: AuditActor {
                kind: record.actor_kind,
                id: record.actor_id,
                name: Some(record.actor_name).filter(|name| !name.is_empty()),
                role: Some(record.role).filter(|role| !role.is_empty()),
                of_system,
            },
            address: record.address,
            request_id: record.request_id,
            action: record.action,
            object: (!record.object_kind.is_empty()).then_some(AuditObject {
                kind: record.object_kind,
                id: record.object_id,
            }),
            before: json(record.before),
            after: json(record.after),
            reason: record.reason,
            outcome: record.outcome,
            hash: KnownRecord::hash_text(&hash),
        }
    }

    /// As its tenant sees it: who of the System tenant it was, and from where, is that tenant's own.
    fn shown(entry: AuditEntry, scope: &Scope) -> AuditRecord {
        let mut record = AuditRecord::whole(entry);
        if record.actor.of_system && !matches!(scope.reach(), Reach::System) {
            let actor = &mut record.actor;
            (actor.id, actor.name, actor.role) = (None, None, None);
            (record.address, record.request_id) = (None, None);
        }
        record
    }
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AuditOutcome {
    Allowed,
    Denied,
    Failed,
}

impl From<AuditOutcome> for Outcome {
    fn from(outcome: AuditOutcome) -> Outcome {
        match outcome {
            AuditOutcome::Allowed => Outcome::Allowed,
            AuditOutcome::Denied => Outcome::Denied,
            AuditOutcome::Failed => Outcome::Failed,
        }
    }
}

/// Which records are asked for.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditParameters {
    /// Of this tenant only.
    tenant_id: Option<Uuid>,
    /// From this time on: RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Before this time: RFC 3339.
    #[param(format = DateTime)]
    until: Option<String>,
    /// The id of who did it.
    actor_id: Option<Uuid>,
    /// The name of who did it, letter for letter.
    actor: Option<String>,
    /// `users.edit`; `users.` for all that was done to users.
    action: Option<String>,
    /// The id of what it was done to.
    object_id: Option<Uuid>,
    #[param(inline)]
    outcome: Option<AuditOutcome>,
    /// `next` of the page before. An export has what came after that position.
    after: Option<String>,
    /// Items of a page. An export has all there are.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

impl AuditParameters {
    fn query(self) -> Result<AuditQuery> {
        let listing = fields::listing(self.after, self.limit)?;
        let time = |field, text: &Option<String>| {
            text.as_deref().map(|text| time(field, text)).transpose()
        };
        Ok(AuditQuery {
            from: time("from", &self.from)?,
            until: time("until", &self.until)?,
            actor: self.actor_id,
            actor_name: self.actor,
            action: self.action,
            object: self.object_id,
            outcome: self.outcome.map(Outcome::from),
            oldest_first: false,
            after: listing.after,
            limit: listing.limit,
        })
    }
}

fn time(field: &str, text: &str) -> Result<Timestamp> {
    Timestamp::from_rfc3339(text)
        .ok_or_else(|| Problem::invalid(field, "a time such as 2026-11-22T12:00:00Z"))
}

/// What people did, newest first. A tenant reads its own.
#[utoipa::path(get, path = "/audit", tag = "audit", operation_id = "list_audit", params(AuditParameters),
    responses((status = 200, body = Page<AuditRecord>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<AuditParameters>,
) -> Result<Json<Page<AuditRecord>>> {
    caller.needs(Resource::Audit, Operation::View)?;
    let scope = tenancy::narrowed(&caller, parameters.tenant_id);
    let query = parameters.query()?;
    let Some(scope) = scope else {
        return Ok(Json(Page::empty()));
    };
    let entries = api.catalog()?.audit_page(&scope, &query).await?;
    let shown = |entry| AuditRecord::shown(entry, &caller.scope());
    Ok(Json(Page::of(entries, shown)))
}

/// The same as JSON Lines: all of it, oldest first. Needs a step-up.
#[utoipa::path(get, path = "/audit/export", tag = "audit", operation_id = "export_audit", params(AuditParameters),
    responses((status = 200, content_type = "application/jsonl", description = "A record a line, oldest first", body = String)))]
async fn export(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<AuditParameters>,
) -> Result<Response> {
    caller.needs(Resource::Audit, Operation::View)?;
    caller.needs_step_up(&api)?;
    let scope = tenancy::narrowed(&caller, parameters.tenant_id);
    let mut query = parameters.query()?;
    (query.oldest_first, query.limit) = (true, MAX_LISTED);
    let catalog = api.catalog()?;
    // What is no position is told before the answer begins.
    if let Some(scope) = &scope {
        catalog
            .audit_page(
                scope,
                &AuditQuery {
                    limit: 1,
                    ..query.clone()
                },
            )
            .await?;
    }
    let event = caller.event("audit.export");
    catalog.audit(event).await?;
    let pages = Pages {
        catalog,
        scope,
        viewer: caller.scope(),
        query,
    };
    let body = Body::from_stream(stream::try_unfold(Some(pages), |pages| async move {
        match pages {
            Some(pages) => pages.next().await,
            None => Ok(None),
        }
    }));
    let headers = [
        (header::CONTENT_TYPE, "application/jsonl"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"audit.jsonl\"",
        ),
    ];
    Ok((headers, body).into_response())
}

/// What is still to be exported.
struct Pages {
    catalog: Arc<Catalog>,
    /// None: nothing.
    scope: Option<Scope>,
    viewer: Scope,
    query: AuditQuery,
}

impl Pages {
    async fn next(mut self) -> catalog::Result<Option<(Vec<u8>, Option<Pages>)>> {
        let Some(scope) = &self.scope else {
            return Ok(None);
        };
        let page = self.catalog.audit_page(scope, &self.query).await?;
        let mut lines = Vec::new();
        for entry in page.items {
            let record = AuditRecord::shown(entry, &self.viewer);
            // Writing to memory does not fail, and a record has only string keys.
            let _ = serde_json::to_writer(&mut lines, &record);
            lines.push(b'\n');
        }
        let rest = page.next.map(|next| {
            self.query.after = Some(next);
            self
        });
        Ok((!lines.is_empty()).then_some((lines, rest)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::access::{Event, Preset};
    use crate::api::testing::{World, tenant};

    async fn acts(world: &World, slug: &str, action: &'static str, times: usize) {
        for _ in 0..times {
            let event = Event::anonymous(tenant(slug), action).because(&format!("in {slug}"));
            world.catalog.audit(event).await.unwrap();
        }
    }

    fn lines(text: &[u8]) -> Vec<Value> {
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_tenant_reads_its_own_audit_and_no_other() {
        let world = World::new().await;
        acts(&world, "acme", "calls.playback", 3).await;
        acts(&world, "globex", "calls.delete", 2).await;
        let ann = world.sure("acme", Preset::TenantAdministrator);
        let page = ann.get("/audit").await.expect(200).json();
        let numbers: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["number"])
            .collect();
        assert_eq!(numbers, [3, 2, 1]);
        assert_eq!(page["items"][0]["reason"], "in acme");
        let foreign = format!("/audit?tenant_id={}", world.tenant("globex"));
        assert_eq!(
            ann.get(&foreign).await.expect(200).json(),
            json!({ "items": [], "next": null })
        );
        let exported = ann.get("/audit/export").await.expect(200);
        assert_eq!(lines(&exported.body).len(), 4);
        assert!(!String::from_utf8_lossy(&exported.body).contains("globex"));
        let root = world.user("system", Preset::RootAdministrator);
        assert_eq!(
            root.get("/audit").await.expect(200).json()["items"]
                .as_array()
                .unwrap()
                .len(),
            6
        );
        assert_eq!(
            root.get(&foreign).await.expect(200).json()["items"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        for preset in [
            Preset::Supervisor,
            Preset::Editor,
            Preset::Reader,
            Preset::Agent,
        ] {
            world.user("acme", preset).get("/audit").await.expect(403);
        }
    }

    #[tokio::test]
    async fn filters_narrow_and_pages_join() {
        let world = World::new().await;
        acts(&world, "acme", "calls.playback", 3).await;
        acts(&world, "acme", "users.edit", 2).await;
        let ann = world.sure("acme", Preset::TenantAdministrator);
        let count = async |filter: &str| {
            let page = ann
                .get(&format!("/audit?{filter}"))
                .await
                .expect(200)
                .json();
            page["items"].as_array().unwrap().len()
        };
        assert_eq!(count("action=users.edit").await, 2);
        assert_eq!(count("action=calls.").await, 3);
        assert_eq!(count("outcome=denied").await, 0);
        assert_eq!(count("outcome=allowed").await, 5);
        assert_eq!(count("from=2100-01-01T00:00:00Z").await, 0);
        assert_eq!(count("until=2100-01-01T00:00:00%2B01:00").await, 5);
        assert_eq!(count(&format!("actor_id={}", Uuid::nil())).await, 0);
        assert_eq!(count("action=%25").await, 0);
        let mut path = "/audit?limit=2".to_owned();
        let mut numbers = Vec::new();
        loop {
            let page = ann.get(&path).await.expect(200).json();
            numbers.extend(
                page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one["number"].as_i64().unwrap()),
            );
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("/audit?limit=2&after={next}");
        }
        assert_eq!(numbers, [5, 4, 3, 2, 1]);
        assert_eq!(
            ann.get("/audit?from=yesterday").await.expect(422).json()["field"],
            "from"
        );
        ann.get("/audit?after=x").await.expect(400);
        ann.get("/audit/export?after=x").await.expect(400);
    }

    #[tokio::test]
    async fn a_tenant_is_told_that_it_was_the_system_and_not_who() {
        let world = World::new().await;
        let root = world.user("system", Preset::RootAdministrator);
        let body = json!({ "name": "Helpdesk", "tenant_id": world.tenant("acme") });
        root.post("/groups", body).await.expect(201);
        let ann = world.user("acme", Preset::TenantAdministrator);
        let page = ann.get("/audit").await.expect(200).json();
        assert_eq!(page["items"][0]["action"], "groups.create");
        assert_eq!(
            page["items"][0]["actor"],
            json!({ "kind": "user", "of_system": true })
        );
        let page = root.get("/audit").await.expect(200).json();
        assert_eq!(page["items"][0]["actor"]["name"], "ann");
    }

    #[tokio::test]
    async fn an_export_is_oldest_first_and_has_who_exports_it() {
        let world = World::new().await;
        // More than is read at a time.
        acts(&world, "acme", "calls.playback", MAX_LISTED as usize + 3).await;
        let ann = world.sure("acme", Preset::TenantAdministrator);
        let exported = lines(&ann.get("/audit/export").await.expect(200).body);
        let numbers = exported.iter().map(|one| one["number"].as_i64().unwrap());
        assert!(numbers.eq(1..=i64::from(MAX_LISTED) + 4));
        assert_eq!(exported.last().unwrap()["action"], "audit.export");
        let unsure = world.user("acme", Preset::TenantAdministrator).stale();
        let refused = unsure.get("/audit/export").await.expect(403).json();
        assert_eq!(refused["type"], "urn:callreel:problem:step_up_required");
        let page = ann.get("/audit?limit=2").await.expect(200).json();
        let after = page["next"].as_str().unwrap();
        let rest = ann.get(&format!("/audit/export?after={after}")).await;
        assert_eq!(
            lines(&rest.expect(200).body)
                .iter()
                .map(|one| &one["action"])
                .collect::<Vec<_>>(),
            ["audit.export"; 2]
        );
    }

    #[tokio::test]
    async fn text_that_would_do_harm_stays_text() {
        let world = World::new().await;
        let evil = "x\n{\"number\":99}\r\n\u{1b}[31m<script>";
        let event = Event::anonymous(tenant("acme"), "users.edit")
            .because(evil)
            .change(None, Some(json!({ "name": evil })));
        world.catalog.audit(event).await.unwrap();
        let ann = world.sure("acme", Preset::TenantAdministrator);
        let exported = ann.get("/audit/export").await.expect(200);
        let lines = lines(&exported.body);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["after"]["name"], evil);
        assert!(!exported.body.contains(&0x1b));
    }
}
