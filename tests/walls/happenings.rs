//! Calls that start, are answered and end while others ask: who follows them, and what webhooks would be sent of them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use callreel::access::Preset;
use callreel::api::{CallEvent, EventKind, Finished, Stored};
use callreel::base::{TenantId, Timestamp};
use callreel::daemon::webhooks::queue_one;
use http_body_util::BodyExt;
use serde_json::json;
use sqlx::Row;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::ServiceExt;
use uuid::Uuid;

use super::present;
use super::world::{ACME, GLOBEX, Somebody, World, canary};

/// How long a stream has for what is on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(20);

/// What somebody of a tenant is told.
struct Follower {
    tenant: TenantId,
    heard: UnboundedReceiver<String>,
}

pub struct Happenings {
    followers: Vec<Follower>,
    /// Events of each tenant that its followers were told.
    told: BTreeMap<TenantId, u64>,
    /// Payloads that wait for a tenant's webhook, by now.
    queued: BTreeMap<TenantId, u64>,
}

impl Happenings {
    /// A follower of each role, and a webhook for everything, in both tenants.
    pub async fn begin(world: &World) -> Happenings {
        let mut followers = Vec::new();
        for tenant in [ACME, GLOBEX] {
            let body = json!({
                "url": "https://hooks.example.com/all", "events": EventKind::ALL.map(EventKind::name),
                "description": canary(tenant), "tenant_id": tenant.0,
            });
            let path = "/api/v1/webhooks";
            let made = world
                .ask(Some(&world.root()), "POST", path, &[], Some(&body))
                .await;
            assert_eq!(made.status, 201, "{}", made.text());
            for preset in [Preset::TenantAdministrator, Preset::Reader, Preset::Agent] {
                let who = world.somebody(tenant, preset);
                let (sender, heard) = unbounded_channel();
                // Nobody may stand still in the middle of a question: it would keep a connection to the catalog.
                tokio::spawn(follow(world.router(), who, sender));
                followers.push(Follower { tenant, heard });
            }
        }
        Happenings {
            followers,
            told: BTreeMap::new(),
            queued: BTreeMap::new(),
        }
    }

    /// Something happens to a call of the tenant, and is told as the daemon tells it.
    pub async fn happen(&self, world: &World, tenant: TenantId, choice: u8) {
        let event = event(tenant, world.number(), choice);
        queue_one(&event, &world.api, &world.catalog).await.unwrap();
        world.api.live().feed.publish(event);
    }

    /// Takes what has come, and says what is wrong with it.
    pub async fn look(&mut self, world: &World) -> Result<(), String> {
        tokio::time::sleep(ON_ITS_WAY).await;
        for Follower { tenant, heard } in &mut self.followers {
            while let Ok(text) = heard.try_recv() {
                let own = canary(*tenant);
                is_of(*tenant, &text).map_err(|why| format!("the events of {own}: {why}"))?;
                *self.told.entry(*tenant).or_default() += text.matches("data:").count() as u64;
            }
        }
        self.look_at_queues(world).await
    }

    async fn look_at_queues(&mut self, world: &World) -> Result<(), String> {
        let rows = sqlx::query(
            "SELECT w.tenant_id, d.body, d.event FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id",
        );
        for row in rows.fetch_all(&world.raw).await.unwrap() {
            let tenant = TenantId(row.get(0));
            let (body, event): (String, String) = (row.get(1), row.get(2));
            is_of(tenant, &body)
                .map_err(|why| format!("a webhook of {}: {why}", canary(tenant)))?;
            if event != "webhook.test" {
                *self.queued.entry(tenant).or_default() += 1;
            }
        }
        sqlx::query("DELETE FROM deliveries")
            .execute(&world.raw)
            .await
            .unwrap();
        Ok(())
    }

    /// That there was something to leak.
    pub fn check(&self) {
        for tenant in [ACME, GLOBEX] {
            let told = self.told.get(&tenant).copied().unwrap_or_default();
            let queued = self.queued.get(&tenant).copied().unwrap_or_default();
            println!("{}: {told} events told, {queued} queued", canary(tenant));
            assert!(told > 100 && queued > 100, "{}", canary(tenant));
        }
    }
}

/// Something that happens to a new call of the tenant.
pub fn event(tenant: TenantId, number: u64, choice: u8) -> CallEvent {
    let kind = EventKind::ALL[usize::from(choice) % EventKind::ALL.len()];
    CallEvent {
        kind,
        at: Timestamp::from_secs_nanos(1_800_000_000, 0),
        finished: (kind == EventKind::CallEnded).then_some(Finished {
            reason: "bye_caller",
            disposition: Some("recorded"),
        }),
        stored: (kind == EventKind::RecordingReady).then_some(Stored {
            call_id: Uuid::now_v7(),
            length_ms: 100,
            size_bytes: 44,
            disposition: "recorded",
        }),
        call: present::call(tenant, number),
    }
}

/// Follows for ever. The right to is looked at again and again: when the stream ends, it begins anew.
async fn follow(router: Router, who: Somebody, heard: UnboundedSender<String>) {
    loop {
        let mut request = Request::get("/api/v1/events").body(Body::empty()).unwrap();
        request.extensions_mut().insert(who.principal.clone());
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut stream = answer.into_body();
        while let Some(frame) = stream.frame().await {
            let bytes = frame.unwrap().into_data().unwrap_or_default();
            if heard
                .send(String::from_utf8_lossy(&bytes).into_owned())
                .is_err()
            {
                return;
            }
        }
    }
}

/// That a text holds nothing of another tenant.
fn is_of(tenant: TenantId, text: &str) -> Result<(), String> {
    let others = [ACME, GLOBEX, callreel::base::SYSTEM_TENANT]
        .into_iter()
        .filter(|one| *one != tenant);
    for other in others {
        if text.contains(canary(other)) {
            return Err(text.to_owned());
        }
    }
    Ok(())
}
