//! Requests of somebody who is known, and may not: what the audit hears of them.
//!
//! Nobody waits for it: a refusal is noted in memory and written behind the answer, with others, at most once a second. While
//! the catalog is away or locked it waits there, and is refused all the same.

use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use tokio::sync::Notify;
use uuid::Uuid;

use super::caller::{RequestId, address};
use super::problem::Problem;
use super::sign_in::now;
use super::state::Api;
use crate::access::{Due, Event, Principal, Refusal, Refusals};
use crate::catalog::Catalog;

/// The least time between two writes.
const EACH: Duration = Duration::from_secs(1);

/// How often it is looked whether counts are due.
const LOOKED: Duration = Duration::from_secs(30);

/// Refusals, and whoever waits for one.
#[derive(Debug, Default)]
pub(super) struct Noted {
    refusals: Refusals,
    news: Notify,
    /// Whoever holds it writes: nothing is told twice.
    turn: tokio::sync::Mutex<()>,
}

impl Deref for Noted {
    type Target = Refusals;

    fn deref(&self) -> &Refusals {
        &self.refusals
    }
}

/// Of a request, what is told of it should it be refused.
pub(super) struct Asked {
    principal: Principal,
    address: Option<IpAddr>,
    request_id: Option<String>,
    method: Method,
    template: Option<MatchedPath>,
    object: Option<(&'static str, Uuid)>,
}

impl Asked {
    /// None: nobody is known to ask.
    pub fn of(parts: &Parts) -> Option<Asked> {
        let principal = parts.extensions.get::<Principal>()?.clone();
        let template = parts.extensions.get::<MatchedPath>().cloned();
        let object = template.as_ref();
        Some(Asked {
            principal,
            address: address(parts),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
            method: parts.method.clone(),
            object: object.and_then(|template| object_of(template.as_str(), parts.uri.path())),
            template,
        })
    }

    /// Notes the answer where it is a refusal.
    pub fn answered(self, api: &Api, answer: &Response) {
        if answer.status() != StatusCode::FORBIDDEN {
            return;
        }
        let problem = answer.extensions().get::<Problem>();
        let Some(code) = problem.and_then(|problem| problem.details().kind.rsplit(':').next())
        else {
            return;
        };
        // It is in the audit of the tenant that shares already.
        if code == "wrong_password" {
            return;
        }
        let lacking = problem.and_then(Problem::lacking);
        let template = self.template.as_ref().map_or("", MatchedPath::as_str);
        let refusal = Refusal {
            action: match lacking {
                Some((resource, operation)) => format!("{resource}.{operation}"),
                None => action_of(&self.method, template),
            },
            request: format!("{} {template}", self.method),
            problem: code.to_owned(),
            object: self.object,
        };
        let event = Event::by(&self.principal, "").from_address(self.address, self.request_id);
        api.refusals().note(event, refusal, now());
        api.refusals().news.notify_one();
    }
}

/// The kinds of things that paths name by an id, as the audit calls them.
const KINDS: &[(&str, &str)] = &[
    ("active-calls", "active_call"),
    ("call-categories", "call_category"),
    ("call-notes", "call_note"),
    ("call-shares", "call_share"),
    ("calls", "call"),
    ("extensions", "extension"),
    ("groups", "group"),
    ("plans", "plan"),
    ("roles", "role"),
    ("service-accounts", "service_account"),
    ("sessions", "session"),
    ("support-access", "support_access"),
    ("tenants", "tenant"),
    ("users", "user"),
    ("webhooks", "webhook"),
];

/// What the path names first, where it is an id.
fn object_of(template: &str, path: &str) -> Option<(&'static str, Uuid)> {
    let mut above = "";
    for (name, text) in template.split('/').zip(path.split('/')) {
        if name.starts_with('{') {
            let kind = KINDS.iter().find(|(folder, _)| *folder == above);
            let id = Uuid::try_parse(text).ok()?;
            return kind.map(|(_, kind)| (*kind, id));
        }
        above = name;
    }
    None
}

/// Resource and verb of a request: the last word of its path, or what its method does to the resource.
fn action_of(method: &Method, template: &str) -> String {
    let below = template.strip_prefix("/api/v1/").unwrap_or(template);
    let mut words = below.split('/').filter(|word| !word.starts_with('{'));
    let resource = words.next().unwrap_or_default();
    let verb = words.next_back().unwrap_or(match *method {
        Method::GET | Method::HEAD => "view",
        Method::POST => "create",
        Method::DELETE => "delete",
        _ => "edit",
    });
    format!("{resource}.{verb}").replace('-', "_")
}

/// Writes refusals into the audit. For ever; what fails is tried again.
pub async fn record_refusals(api: Api) {
    let mut told = false;
    loop {
        let _ = tokio::time::timeout(LOOKED, api.refusals().news.notified()).await;
        if let Ok(catalog) = api.catalog() {
            match write(&api, &catalog).await {
                Ok(()) => told = false,
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::warn!(%error, "refusals wait for the audit");
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(EACH).await;
    }
}

/// Writes what is left, counts before their time too: at an orderly stop. Takes as long as the catalog does.
pub async fn record_last_refusals(api: &Api) {
    let Ok(catalog) = api.catalog() else { return };
    if let Err(error) = write_those(api, &catalog, Refusals::last).await {
        tracing::warn!(%error, "refusals are in no audit: the catalog did not take them before the end");
    }
}

/// Writes what is due.
pub(super) async fn write(api: &Api, catalog: &Catalog) -> crate::catalog::Result<()> {
    write_those(api, catalog, |refusals| refusals.due(now())).await
}

async fn write_those(
    api: &Api,
    catalog: &Catalog,
    which: impl Fn(&Refusals) -> Vec<Due>,
) -> crate::catalog::Result<()> {
    let refusals = api.refusals();
    let _turn = refusals.turn.lock().await;
    let lost = refusals.lost();
    if lost > 0 {
        tracing::warn!(
            lost,
            "refusals are in no audit: there were too many at once"
        );
    }
    loop {
        let due = which(refusals);
        let mut events = due.iter().map(|due| due.event.clone());
        let Some(first) = events.next() else {
            return Ok(());
        };
        let mut change = catalog.change().await?;
        events.for_each(|event| change.also(event));
        change.commit(first).await?;
        refusals.told(&due);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::access::Preset;
    use crate::api::testing::World;

    async fn refused(world: &World, slug: &str) -> Vec<Value> {
        write(&world.api, &world.catalog).await.unwrap();
        let root = world.user("system", Preset::RootAdministrator);
        let path = format!("/audit?outcome=denied&tenant_id={}", world.tenant(slug));
        let page = root.get(&path).await.expect(200).json();
        page["items"].as_array().unwrap().clone()
    }

    #[tokio::test]
    async fn what_a_right_lacks_for_is_in_the_audit_of_the_own_tenant_only() {
        let world = World::new().await;
        let foreign = world.user("globex", Preset::TenantAdministrator);
        let group = foreign.post("/groups", json!({ "name": "Sales" })).await;
        let path = group.expect(201).location();
        let reader = world.user("acme", Preset::Reader);
        reader.delete(&path, "*").await.expect(403);
        reader.delete(&path, "*").await.expect(403);
        let records = refused(&world, "acme").await;
        assert_eq!(records.len(), 1, "{records:?}");
        let record = &records[0];
        assert_eq!(record["action"], "groups.delete");
        assert_eq!(record["actor"]["name"], "ann");
        assert_eq!(record["actor"]["role"], "Reader");
        let id = path.rsplit('/').next().unwrap();
        assert_eq!(record["object"], json!({ "kind": "group", "id": id }));
        assert_eq!(record["after"]["request"], "DELETE /api/v1/groups/{id}");
        assert_eq!(record["after"]["problem"], "permission_denied");
        assert_eq!(record["after"]["times"], 2);
        // Whoever owns it is told nothing, and nobody learns a word of it.
        assert!(refused(&world, "globex").await.is_empty());
        assert!(refused(&world, "system").await.is_empty());
        assert!(!record.to_string().contains("Sales"));
        // And it is told once.
        assert_eq!(refused(&world, "acme").await.len(), 1);
    }

    #[tokio::test]
    async fn a_missing_step_up_is_a_refusal_and_a_missing_thing_is_none() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator).stale();
        ann.get("/audit/export").await.expect(403);
        ann.get("/groups/00000000-0000-0000-0000-000000000007")
            .await
            .expect(404);
        ann.post("/groups", json!({ "name": "" })).await.expect(422);
        world.nobody().get("/groups").await.expect(401);
        let records = refused(&world, "acme").await;
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(records[0]["action"], "audit.export");
        assert_eq!(records[0]["after"]["problem"], "step_up_required");
        assert_eq!(records[0].get("object"), None);
    }

    #[tokio::test]
    async fn what_a_sender_writes_into_a_path_is_not_kept() {
        let world = World::new().await;
        let reader = world.user("acme", Preset::Reader);
        reader.get("/audit?action=%3Cscript%3E").await.expect(403);
        let body = json!({ "name": "<script>" });
        reader.post("/groups", body).await.expect(403);
        let records = refused(&world, "acme").await;
        assert_eq!(records.len(), 2);
        assert!(!Value::from(records).to_string().contains("script"));
    }

    #[tokio::test]
    async fn a_refusal_stays_one_while_the_catalog_is_locked_and_is_told_later() {
        let world = World::new().await;
        let reader = world.user("acme", Preset::Reader);
        let lock = world.catalog.change().await.unwrap();
        reader
            .post("/groups", json!({ "name": "x" }))
            .await
            .expect(403);
        let late = tokio::time::timeout(
            Duration::from_millis(300),
            write(&world.api, &world.catalog),
        );
        assert!(!matches!(late.await, Ok(Ok(()))));
        drop(lock);
        assert_eq!(refused(&world, "acme").await[0]["action"], "groups.edit");
    }

    #[tokio::test]
    async fn repeats_that_wait_for_their_time_are_told_at_an_orderly_stop() {
        let world = World::new().await;
        let reader = world.user("acme", Preset::Reader);
        let body = || json!({ "name": "x" });
        reader.post("/groups", body()).await.expect(403);
        assert_eq!(refused(&world, "acme").await.len(), 1);
        for _ in 0..3 {
            reader.post("/groups", body()).await.expect(403);
        }
        assert_eq!(refused(&world, "acme").await.len(), 1);
        record_last_refusals(&world.api).await;
        record_last_refusals(&world.api).await;
        let records = refused(&world, "acme").await;
        assert_eq!(records.len(), 2);
        assert_eq!(records[0]["after"]["times"], 3);
    }

    #[test]
    fn requests_are_called_by_resource_and_verb() {
        for (method, template, action) in [
            (Method::GET, "/api/v1/audit/export", "audit.export"),
            (Method::DELETE, "/api/v1/calls/{id}", "calls.delete"),
            (Method::DELETE, "/api/v1/calls/{id}/hold", "calls.hold"),
            (
                Method::POST,
                "/api/v1/service-accounts",
                "service_accounts.create",
            ),
            (Method::PUT, "/api/v1/users/{id}/password", "users.password"),
        ] {
            assert_eq!(action_of(&method, template), action);
        }
    }
}
