//! `/webhooks`: where a tenant's own servers are told what happens to its calls.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{AccessLevel, Operation, Resource};
use crate::api::caller::Caller;
use crate::api::calls::by;
use crate::api::feed::EventKind;
use crate::api::fields::{self, Page};
use crate::api::front::HoldsSecret;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, IfMatch, Parameters, Versioned};
use crate::api::state::Api;
use crate::api::tenancy::{self, OfTenant};
use crate::api::words::EventName;
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Answers, Delivery, Maker, Webhook, WebhookDraft};
use crate::delivery::{Target, new_secret};

/// Webhooks of one tenant.
const MOST: u64 = 20;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, edit, remove))
        .routes(routes!(renew))
        .routes(routes!(test))
        .routes(routes!(deliveries))
}

/// An endpoint that is told of events, by signed requests (Standard Webhooks 1.0).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
struct WebhookView {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    url: String,
    description: String,
    events: Vec<String>,
    active: bool,
    /// Who made it or last changed it, where that is somebody of the tenant. It is told what they may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    maker: Option<String>,
    /// Why nothing is told although it is active: there is nobody who answers for it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_reason: Option<&'static str>,
    /// Why it was switched off, where that was for its failures.
    disabled_reason: Option<String>,
    last_success_at: Option<String>,
    last_failure_at: Option<String>,
    /// Signs what is sent. It is shown when it is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// RFC 3339, UTC.
    created_at: String,
    changed_at: String,
}

impl WebhookView {
    async fn new(api: &Api, webhook: &Webhook, secret: Option<String>) -> Result<WebhookView> {
        let answers = answers(api, webhook).await?;
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Ok(WebhookView {
            id: webhook.id,
            tenant_id: tenancy::shown(api, webhook.tenant),
            url: webhook.url.clone(),
            description: webhook.description.clone(),
            events: webhook.events.clone(),
            active: webhook.active,
            maker: webhook.maker.as_ref().and_then(|maker| maker.name.clone()),
            paused_reason: answers.pause(),
            disabled_reason: webhook.disabled_reason.clone(),
            last_success_at: time(webhook.last_success_at),
            last_failure_at: time(webhook.last_failure_at),
            secret,
            created_at: webhook.created_at.to_string(),
            changed_at: webhook.changed_at.to_string(),
        })
    }
}

/// Whether there is somebody who answers for it.
async fn answers(api: &Api, webhook: &Webhook) -> Result<Answers> {
    let maker = webhook.maker.as_ref().map(|maker| maker.id);
    Ok(api.catalog()?.who_answers(webhook.tenant, maker).await?)
}

/// What of a webhook can be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WebhookBody {
    /// `https://`, and an address on the public internet, unless the operator allows more.
    #[schema(max_length = 2000)]
    url: String,
    #[serde(default)]
    #[schema(max_length = 200)]
    description: String,
    /// `call.started`, `call.answered`, `call.ended`, `recording.ready`.
    #[schema(min_items = 1, value_type = Vec<EventName>, inline)]
    events: Vec<String>,
    #[serde(default = "yes")]
    active: bool,
    /// The tenant it belongs to; the caller's own when absent. Only where it is created.
    #[serde(default)]
    tenant_id: Option<Uuid>,
}

fn yes() -> bool {
    true
}

impl WebhookBody {
    fn draft(&self, api: &Api, caller: &Caller) -> Result<WebhookDraft> {
        sees_all_calls(caller)?;
        let settings = &api.settings().webhooks;
        Target::parse(&self.url, settings.allow_http, &settings.addresses)
            .map_err(|refused| Problem::invalid("url", refused.to_string()))?;
        let names = EventKind::ALL.map(EventKind::name);
        let mut events: Vec<String> = Vec::new();
        for event in &self.events {
            if !names.contains(&event.as_str()) {
                return Err(Problem::invalid(
                    "events",
                    format!("of {}", names.join(", ")),
                ));
            }
            if !events.contains(event) {
                events.push(event.clone());
            }
        }
        if events.is_empty() {
            return Err(Problem::invalid("events", "at least one"));
        }
        Ok(WebhookDraft {
            url: self.url.clone(),
            description: fields::line("description", &self.description, 0, 200)?,
            events,
            active: self.active,
            // A webhook sees no more than who wrote it.
            confidential: caller
                .principal
                .may(Resource::Calls, Operation::ViewConfidential),
            maker: None,
        })
    }
}

/// Who answers for a webhook of the tenant from now on.
fn maker(caller: &Caller, tenant: TenantId) -> Option<Maker> {
    let id = caller.principal.actor().id()?;
    let name = (caller.principal.home() == tenant).then(|| by(caller, tenant));
    Some(Maker { id, name })
}

/// A webhook is told of all calls of its tenant: who sees them writes it, has its secret, and reads what was sent.
fn sees_all_calls(caller: &Caller) -> Result<()> {
    caller.reaches(AccessLevel::System)?;
    caller.needs(Resource::Calls, Operation::View)
}

/// The webhooks that the caller can see, oldest first.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", operation_id = "list_webhooks", params(OfTenant),
    responses((status = 200, body = Page<WebhookView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(asked): Parameters<OfTenant>,
) -> Result<Json<Page<WebhookView>>> {
    caller.needs(Resource::Webhooks, Operation::View)?;
    let Some((scope, listing)) = asked.of(&caller)? else {
        return Ok(Json(Page::empty()));
    };
    let webhooks = api.catalog()?.webhooks(&scope, &listing).await?;
    let mut items = Vec::with_capacity(webhooks.items.len());
    for webhook in &webhooks.items {
        items.push(WebhookView::new(&api, webhook, None).await?);
    }
    let next = webhooks.next;
    Ok(Json(Page { items, next }))
}

/// A new webhook. The answer holds its secret, this once.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", operation_id = "create_webhook", request_body = WebhookBody,
    responses((status = 201, body = WebhookView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<WebhookBody>,
) -> Result<(Extension<HoldsSecret>, Versioned<WebhookView>)> {
    caller.needs(Resource::Webhooks, Operation::Edit)?;
    let mut draft = body.draft(&api, &caller)?;
    let secret = new_secret().map_err(|_| Problem::internal())?;
    let key = api.sign_in().key()?;
    let mut change = api.catalog()?.change().await?;
    let tenant = tenancy::target(&caller, &mut change, body.tenant_id).await?;
    if change.count_webhooks(tenant).await? >= MOST {
        return Err(Problem::conflict(
            "url",
            format!("a tenant has at most {MOST} webhooks"),
        ));
    }
    draft.maker = maker(&caller, tenant);
    let seal = |id: Uuid| key.seal(secret.as_bytes(), id.as_bytes());
    let webhook = change.create_webhook(tenant, &draft, seal).await?;
    let event = caller.event("webhooks.create").of_tenant(tenant);
    let event = event
        .on("webhook", webhook.id)
        .change(None, Some(state(&webhook)));
    change.commit(event).await?;
    let path = format!("/api/v1/webhooks/{}", webhook.id);
    let view = WebhookView::new(&api, &webhook, Some(secret)).await?;
    let made = Versioned::created(webhook.version, path, view);
    Ok((Extension(HoldsSecret), made))
}

/// One webhook.
#[utoipa::path(get, path = "/webhooks/{id}", tag = "webhooks", operation_id = "show_webhook", params(("id" = Uuid, Path)),
    responses((status = 200, body = WebhookView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<Versioned<WebhookView>> {
    caller.needs(Resource::Webhooks, Operation::View)?;
    let webhook = api.catalog()?.webhook(&caller.scope(), id).await?;
    let webhook = webhook.ok_or_else(Problem::not_found)?;
    let view = WebhookView::new(&api, &webhook, None).await?;
    Ok(Versioned::new(webhook.version, view))
}

/// Writes a webhook anew. Who does so answers for it from then on. One that was switched off for its failures begins anew, if it
/// is active.
#[utoipa::path(put, path = "/webhooks/{id}", tag = "webhooks", operation_id = "edit_webhook",
    params(("id" = Uuid, Path), IfMatch),
    request_body = WebhookBody, responses((status = 200, body = WebhookView)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
    Body(body): Body<WebhookBody>,
) -> Result<Versioned<WebhookView>> {
    caller.needs(Resource::Webhooks, Operation::Edit)?;
    let mut draft = body.draft(&api, &caller)?;
    let mut change = api.catalog()?.change().await?;
    let before = change.webhook(&caller.scope(), id).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    tenancy::stays(before.tenant, body.tenant_id)?;
    version.check(before.version)?;
    draft.maker = maker(&caller, before.tenant);
    let webhook = change.edit_webhook(&before, &draft).await?;
    let event = caller.event("webhooks.edit").of_tenant(webhook.tenant);
    let event = event
        .on("webhook", id)
        .change(Some(state(&before)), Some(state(&webhook)));
    change.commit(event).await?;
    api.live().bell.notify_one();
    let view = WebhookView::new(&api, &webhook, None).await?;
    Ok(Versioned::new(webhook.version, view))
}

/// Removes a webhook, with what waits for it.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", operation_id = "remove_webhook",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 204)))]
async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<StatusCode> {
    caller.needs(Resource::Webhooks, Operation::Delete)?;
    let mut change = api.catalog()?.change().await?;
    let webhook = change.webhook(&caller.scope(), id).await?;
    let webhook = webhook.ok_or_else(Problem::not_found)?;
    version.check(webhook.version)?;
    change.remove_webhook(&webhook).await?;
    let event = caller.event("webhooks.delete").of_tenant(webhook.tenant);
    let event = event.on("webhook", id).change(Some(state(&webhook)), None);
    change.commit(event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Another secret. What is sent from now on is signed with it; the answer holds it, this once.
#[utoipa::path(post, path = "/webhooks/{id}/secret", tag = "webhooks", operation_id = "renew_webhook_secret",
    params(("id" = Uuid, Path), IfMatch),
    responses((status = 200, body = WebhookView)))]
async fn renew(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    version: IfMatch,
) -> Result<Versioned<WebhookView>> {
    caller.needs(Resource::Webhooks, Operation::Edit)?;
    sees_all_calls(&caller)?;
    let secret = new_secret().map_err(|_| Problem::internal())?;
    let mut change = api.catalog()?.change().await?;
    let before = change.webhook(&caller.scope(), id).await?;
    let before = before.ok_or_else(Problem::not_found)?;
    version.check(before.version)?;
    let sealed = api.sign_in().key()?.seal(secret.as_bytes(), id.as_bytes());
    let webhook = change.renew_webhook_secret(&before, &sealed).await?;
    let event = caller
        .event("webhooks.renew_secret")
        .of_tenant(webhook.tenant);
    change.commit(event.on("webhook", id)).await?;
    let view = WebhookView::new(&api, &webhook, Some(secret)).await?;
    Ok(Versioned::new(webhook.version, view))
}

/// An event of no call, to try the endpoint. What came of it is in the deliveries.
#[derive(Debug, Serialize, ToSchema)]
struct TestView {
    /// The `webhook-id` of the request.
    delivery_id: Uuid,
}

/// Sends an event of type `webhook.test`.
#[utoipa::path(post, path = "/webhooks/{id}/test", tag = "webhooks", operation_id = "test_webhook",
    params(("id" = Uuid, Path)), responses((status = 202, body = TestView)))]
async fn test(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
) -> Result<(StatusCode, Json<TestView>)> {
    caller.needs(Resource::Webhooks, Operation::Edit)?;
    sees_all_calls(&caller)?;
    let catalog = api.catalog()?;
    let webhook = catalog.webhook(&caller.scope(), id).await?;
    let webhook = webhook.ok_or_else(Problem::not_found)?;
    if !webhook.active {
        return Err(Problem::conflict("active", "the webhook is switched off"));
    }
    if let Some(why) = answers(&api, &webhook).await?.pause() {
        return Err(Problem::conflict("id", why));
    }
    let event = caller.event("webhooks.test").of_tenant(webhook.tenant);
    catalog.audit(event.on("webhook", id)).await?;
    let now = now();
    let body = json!({ "type": "webhook.test", "timestamp": now.to_string(), "data": { "webhook_id": id } });
    let queued = catalog
        .queue_delivery(id, "webhook.test", &body.to_string(), false, now)
        .await?;
    let too_many = || Problem::conflict("id", "too many deliveries wait for this webhook");
    let delivery_id = queued.ok_or_else(too_many)?;
    api.live().bell.notify_one();
    Ok((StatusCode::ACCEPTED, Json(TestView { delivery_id })))
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    Timestamp::default() + since.unwrap_or_default()
}

/// One event for one webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliveryView {
    /// The `webhook-id` of each attempt.
    id: Uuid,
    event: String,
    /// `waiting`, `delivered` or `given_up`.
    state: &'static str,
    /// RFC 3339, UTC.
    created_at: String,
    attempts: u32,
    /// When it is tried again.
    next_at: Option<String>,
    last_at: Option<String>,
    /// What the endpoint answered at the last attempt,
    last_status: Option<u16>,
    /// or why it did not, a code.
    last_error: Option<String>,
    took_ms: Option<u64>,
}

impl DeliveryView {
    fn new(delivery: Delivery) -> DeliveryView {
        DeliveryView {
            id: delivery.id,
            event: delivery.event,
            state: delivery.state.name(),
            created_at: delivery.created_at.to_string(),
            attempts: delivery.attempts,
            next_at: delivery.next_at.map(|at| at.to_string()),
            last_at: delivery.last_at.map(|at| at.to_string()),
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            took_ms: delivery.took_ms,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DeliveryParameters {
    /// `next` of the page before.
    after: Option<String>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// What was sent to a webhook in the last week, and what waits, newest first.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", tag = "webhooks", operation_id = "list_webhook_deliveries",
    params(("id" = Uuid, Path), DeliveryParameters), responses((status = 200, body = Page<DeliveryView>)))]
async fn deliveries(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Parameters(parameters): Parameters<DeliveryParameters>,
) -> Result<Json<Page<DeliveryView>>> {
    caller.needs(Resource::Webhooks, Operation::View)?;
    sees_all_calls(&caller)?;
    let listing = fields::listing(parameters.after, parameters.limit)?;
    let found = api
        .catalog()?
        .deliveries(&caller.scope(), id, &listing)
        .await?;
    let found = found.ok_or_else(Problem::not_found)?;
    Ok(Json(Page::of(found, DeliveryView::new)))
}

/// What the audit keeps of a webhook. Never its secret.
fn state(webhook: &Webhook) -> serde_json::Value {
    json!({
        "url": webhook.url, "description": webhook.description, "events": webhook.events, "active": webhook.active,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Permissions, Preset, Role};
    use crate::api::calls::tests::hired;
    use crate::api::testing::World;

    fn body(url: &str) -> serde_json::Value {
        json!({ "url": url, "events": ["call.ended", "recording.ready", "call.ended"] })
    }

    #[tokio::test]
    async fn a_webhook_shows_its_secret_once_and_the_audit_never_does() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        let made = ann
            .post("/webhooks", body("https://hooks.example.com/x"))
            .await
            .expect(201);
        let secret = made.json()["secret"].as_str().unwrap().to_owned();
        assert!(secret.starts_with("whsec_"));
        assert_eq!(
            made.json()["events"],
            json!(["call.ended", "recording.ready"])
        );
        let path = made.location();
        let read = ann.get(&path).await.expect(200);
        assert!(read.json().get("secret").is_none());
        let off = json!({ "url": "https://hooks.example.com/y", "events": ["call.started"], "active": false });
        let edited = ann.put(&path, &read.etag(), off).await.expect(200);
        assert_eq!(
            (&edited.json()["active"], &edited.json()["url"]),
            (&json!(false), &json!("https://hooks.example.com/y"))
        );
        ann.post(&format!("{path}/test"), json!({}))
            .await
            .expect(409);
        let list = ann.get("/webhooks").await.expect(200).json();
        assert!(!list.to_string().contains("whsec_"));
        ann.delete(&path, &edited.etag()).await.expect(204);
        let audit = world.audit("acme").await;
        assert_eq!(
            audit,
            ["webhooks.create", "webhooks.edit", "webhooks.delete"]
        );
    }

    #[tokio::test]
    async fn a_try_waits_in_the_queue() {
        let world = World::new().await;
        let ann = hired(&world, "ann", Preset::TenantAdministrator).await;
        let ann = world.signed_in(&ann).await;
        let path = ann
            .post("/webhooks", body("https://hooks.example.com/x"))
            .await
            .expect(201)
            .location();
        let tried = ann
            .post(&format!("{path}/test"), json!({}))
            .await
            .expect(202);
        let log = ann
            .get(&format!("{path}/deliveries"))
            .await
            .expect(200)
            .json();
        assert_eq!(log["items"][0]["id"], tried.json()["delivery_id"]);
        assert_eq!(
            (&log["items"][0]["state"], &log["items"][0]["event"]),
            (&json!("waiting"), &json!("webhook.test"))
        );
        let foreign = world.user("globex", Preset::TenantAdministrator);
        for path in [path.clone(), format!("{path}/deliveries")] {
            foreign.get(&path).await.expect(404);
        }
        foreign
            .post(&format!("{path}/test"), json!({}))
            .await
            .expect(404);
        assert_eq!(
            foreign.get("/webhooks").await.expect(200).json()["items"],
            json!([])
        );
    }

    #[tokio::test]
    async fn nothing_inside_the_operators_network_can_be_named() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        for url in [
            "http://hooks.example.com/",
            "https://10.0.0.1/",
            "https://[::ffff:7f00:1]/",
            "https://169.254.169.254/",
            "ftp://x/",
            "https://a:b@hooks.example.com/",
        ] {
            let problem = ann.post("/webhooks", body(url)).await.expect(422);
            assert_eq!(problem.json()["field"], "url", "{url}");
        }
        let none = json!({ "url": "https://hooks.example.com/", "events": [] });
        assert_eq!(
            ann.post("/webhooks", none).await.expect(422).json()["field"],
            "events"
        );
        let odd = json!({ "url": "https://hooks.example.com/", "events": ["call.exploded"] });
        assert_eq!(
            ann.post("/webhooks", odd).await.expect(422).json()["field"],
            "events"
        );
        let reader = world.user("acme", Preset::Agent);
        reader.get("/webhooks").await.expect(403);
        assert_eq!(world.audit("acme").await, [""; 0]);
    }

    #[tokio::test]
    async fn who_does_not_see_all_calls_is_told_of_none() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        let path = ann
            .post("/webhooks", body("https://hooks.example.com/x"))
            .await
            .expect(201)
            .location();
        let mut webhooks_only = Permissions::default();
        let all = [Operation::View, Operation::Edit, Operation::Delete];
        webhooks_only.allow(Resource::Webhooks, &all);
        let mut with_calls = webhooks_only.clone();
        with_calls.allow(Resource::Calls, &[Operation::View]);
        for (access_level, permissions, why) in [
            (AccessLevel::User, &with_calls, "beyond_own_rights"),
            (AccessLevel::ManagedGroups, &with_calls, "beyond_own_rights"),
            (AccessLevel::System, &webhooks_only, "permission_denied"),
        ] {
            let role = Role {
                access_level,
                permissions: permissions.clone(),
                ..Preset::Agent.role(TenantId(world.tenant("acme")))
            };
            let bob = world.somebody("acme", &role);
            let renewal = [("if-match", "*")];
            let (secret, log) = (format!("{path}/secret"), format!("{path}/deliveries"));
            let refused = [
                bob.post("/webhooks", body("https://evil.example/")).await,
                bob.put(&path, "*", body("https://evil.example/")).await,
                bob.ask(axum::http::Method::POST, &secret, &renewal, None)
                    .await,
                bob.get(&log).await,
                bob.post(&format!("{path}/test"), json!({})).await,
            ];
            for refused in refused {
                let kind = refused.expect(403).json()["type"].to_string();
                assert!(kind.contains(why), "{kind}");
            }
        }
        let kept = ann.get(&path).await.expect(200).json();
        assert_eq!(kept["url"], "https://hooks.example.com/x");
    }

    /// Calls of the tenant that its webhooks are told of by now, confidential or not.
    async fn told(world: &World) -> [u64; 2] {
        let mut told = [0; 2];
        for (confidential, told) in [false, true].into_iter().zip(&mut told) {
            let tenant = TenantId(world.tenant("acme"));
            let queued = (world.catalog)
                .queue_event(tenant, "call.ended", "{}", confidential, now())
                .await;
            *told = queued.unwrap().queued;
        }
        told
    }

    #[tokio::test]
    async fn a_webhook_ends_with_the_rights_of_its_maker_until_somebody_takes_it_over() {
        let world = World::new().await;
        let root = world.user("system", Preset::RootAdministrator);
        let acme = TenantId(world.tenant("acme"));
        let agent = Preset::Agent.role_id(acme).0;
        for (login, loss) in [
            ("deactivated", Some(json!({ "active": false }))),
            ("demoted", Some(json!({ "role_id": agent }))),
            ("removed", None),
        ] {
            let maker = hired(&world, login, Preset::TenantAdministrator).await;
            let hook = body("https://hooks.example.com/x");
            let made = world.signed_in(&maker).await.post("/webhooks", hook).await;
            let (path, made) = (made.expect(201).location(), login);
            assert_eq!(told(&world).await, [1, 1]);
            let user = format!("/users/{}", maker["id"].as_str().unwrap());
            match loss {
                Some(loss) => drop(root.put(&user, "*", loss).await.expect(200)),
                None => drop(root.delete(&user, "*").await.expect(204)),
            }
            assert_eq!(told(&world).await, [0, 0], "{login}");
            let other = hired(
                &world,
                &format!("after-{login}"),
                Preset::TenantAdministrator,
            )
            .await;
            let other = world.signed_in(&other).await;
            for seen in [
                other.get(&path).await.expect(200).json(),
                other.get("/webhooks").await.expect(200).json()["items"][0].clone(),
            ] {
                assert_eq!(
                    (&seen["maker"], &seen["active"]),
                    (&json!(made), &json!(true))
                );
                assert!(seen["paused_reason"].is_string(), "{seen}");
            }
            let tried = other.post(&format!("{path}/test"), json!({})).await;
            tried.expect(409);
            // Another secret makes nobody answer for where it goes.
            let renewal = [("if-match", "*")];
            let secret = format!("{path}/secret");
            let renewed = other.ask(axum::http::Method::POST, &secret, &renewal, None);
            assert!(renewed.await.expect(200).json()["paused_reason"].is_string());
            let hook = body("https://hooks.example.com/x");
            let taken = other.put(&path, "*", hook).await.expect(200).json();
            assert_eq!(taken["maker"], format!("after-{login}"));
            assert!(taken.get("paused_reason").is_none());
            assert_eq!(told(&world).await, [1, 1]);
            other.delete(&path, "*").await.expect(204);
        }
    }

    /// What a copy of the catalog has, without the key beside it.
    fn copied(world: &World) -> Vec<u8> {
        let files = std::fs::read_dir(world.folder()).unwrap();
        let files = files.map(|file| file.unwrap());
        let of_catalog =
            files.filter(|file| file.file_name().to_string_lossy().starts_with("catalog.db"));
        of_catalog
            .flat_map(|file| std::fs::read(file.path()).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_copy_of_the_catalog_signs_nothing() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        let made = ann
            .post("/webhooks", body("https://hooks.example.com/sealed"))
            .await
            .expect(201);
        let renewal = format!("{}/secret", made.location());
        let renewed = ann
            .ask(
                axum::http::Method::POST,
                &renewal,
                &[("if-match", made.etag().as_str())],
                None,
            )
            .await
            .expect(200);
        let copy = copied(&world);
        let holds = |text: &str| copy.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(holds("hooks.example.com/sealed"));
        for answer in [&made, &renewed] {
            let secret = answer.json()["secret"].as_str().unwrap().to_owned();
            assert!(secret.starts_with("whsec_"));
            assert!(!holds(&secret["whsec_".len()..]));
        }
    }
}
