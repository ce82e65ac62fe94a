//! Calls in progress and their events, as people of different reach see them.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::Method;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::access::{AccessLevel, Preset};
use crate::api::calls::tests::with_calls;
use crate::api::feed::tests::call;
use crate::api::sensor::{
    ActiveCall, ActiveParticipant, Hearing, LiveAudio, Sensor, Steered, Steering, Unheard,
    Unsteered,
};
use crate::api::testing::{Asking, World, tenant};
use crate::api::{CallEvent, EventKind, Stored};
use crate::base::{Side, TenantId, Timestamp};

/// A daemon with these calls.
#[derive(Default)]
struct Made {
    calls: Vec<ActiveCall>,
    asked: Mutex<Vec<Steering>>,
}

impl Sensor for Arc<Made> {
    fn active_calls(&self, tenant: Option<TenantId>) -> Vec<ActiveCall> {
        let wanted = self
            .calls
            .iter()
            .filter(|call| tenant.is_none_or(|one| one == call.tenant));
        wanted.cloned().collect()
    }

    fn control(&self, asked: Steering) -> BoxFuture<'_, Result<Steered, Unsteered>> {
        self.asked.lock().unwrap().push(asked);
        let done = Steered {
            calls: 1,
            changed: 1,
            at: Timestamp::default(),
        };
        Box::pin(async move { Ok(done) })
    }

    fn listen(&self, _: &ActiveCall, _: Hearing) -> Result<LiveAudio, Unheard> {
        let (sender, chunks) = mpsc::channel(4);
        sender.try_send(Bytes::from_static(b"some ")).unwrap();
        sender.try_send(Bytes::from_static(b"audio")).unwrap();
        Ok(LiveAudio { chunks })
    }
}

fn of(slug: &str, id: u128, user: &str) -> ActiveCall {
    let mut call = call(tenant(slug), id);
    call.invited_at = Timestamp::from_secs_nanos(1_800_000_000 + id as i64, 0);
    call.parties.caller.display = "<script>".into();
    call.participants = vec![ActiveParticipant {
        side: Side::Caller,
        user: Some(user.into()),
        extension: None,
        number: "1001".into(),
        from: call.invited_at,
        to: None,
    }];
    call
}

async fn world() -> (World, Arc<Made>) {
    let world = World::new().await;
    let mut refused = of("acme", 3, "ann");
    refused.not_recorded = Some("policy_none");
    let made = Arc::new(Made {
        calls: vec![
            of("acme", 1, "ann"),
            of("acme", 2, "bob"),
            refused,
            of("globex", 4, "ann"),
        ],
        asked: Mutex::default(),
    });
    world.api.live().set_sensor(Arc::new(made.clone()));
    (world, made)
}

fn ids(page: &Value) -> Vec<u128> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            item["id"]
                .as_str()
                .unwrap()
                .parse::<Uuid>()
                .unwrap()
                .as_u128()
        })
        .collect()
}

fn path(id: u128, rest: &str) -> String {
    format!("/active-calls/{}{rest}", Uuid::from_u128(id))
}

#[tokio::test]
async fn calls_in_progress_are_seen_within_the_scope() {
    let (world, _) = world().await;
    let admin = world.user("acme", Preset::TenantAdministrator);
    assert_eq!(
        ids(&admin.get("/active-calls").await.expect(200).json()),
        [3, 2, 1]
    );
    let agent = world.user("acme", Preset::Agent);
    assert_eq!(
        ids(&agent.get("/active-calls").await.expect(200).json()),
        [3, 1]
    );
    let root = world.user("system", Preset::RootAdministrator);
    assert_eq!(
        ids(&root.get("/active-calls").await.expect(200).json()),
        [4, 3, 2, 1]
    );
    let foreign = format!("/active-calls?tenant_id={}", world.tenant("globex"));
    assert_eq!(ids(&admin.get(&foreign).await.expect(200).json()), [0; 0]);
    assert_eq!(ids(&root.get(&foreign).await.expect(200).json()), [4]);
    let first = admin.get("/active-calls?limit=2").await.expect(200).json();
    let next = format!(
        "/active-calls?limit=2&after={}",
        first["next"].as_str().unwrap()
    );
    assert_eq!(ids(&admin.get(&next).await.expect(200).json()), [1]);
    admin.get("/active-calls?after=nonsense").await.expect(400);
    admin.get("/active-calls?state=asleep").await.expect(422);
    assert_eq!(
        ids(&admin
            .get("/active-calls?state=talking")
            .await
            .expect(200)
            .json()),
        [0; 0]
    );
    let absent = admin.get(&path(99, "")).await.expect(404).json();
    assert_eq!(admin.get(&path(4, "")).await.expect(404).json(), absent);
    assert_eq!(agent.get(&path(2, "")).await.expect(404).json(), absent);
    assert_eq!(
        admin.get(&path(1, "")).await.expect(200).json()["state"],
        "ringing"
    );
}

#[tokio::test]
async fn steering_is_audited_and_reaches_the_tenants_own_calls_only() {
    let (world, made) = world().await;
    let admin = world.user("acme", Preset::TenantAdministrator);
    let reason = json!({ "reason": "card number" });
    admin.post(&path(1, "/pause"), reason).await.expect(200);
    let bare = admin
        .ask(Method::POST, &path(1, "/resume"), &[], None)
        .await;
    assert_eq!(bare.expect(200).json()["changed"], 1);
    for (id, action) in [(4, "pause"), (99, "keep"), (1, "explode")] {
        admin
            .post(&path(id, &format!("/{action}")), json!({}))
            .await
            .expect(404);
    }
    let odd = json!({ "reason": "a\u{7}b" });
    admin.post(&path(1, "/keep"), odd).await.expect(422);
    admin
        .post(&path(1, "/keep"), json!({ "why": "" }))
        .await
        .expect(422);
    let reader = world.user("acme", Preset::Reader);
    reader.post(&path(1, "/pause"), json!({})).await.expect(403);
    assert_eq!(world.audit("acme").await, ["calls.pause", "calls.resume"]);
    assert_eq!(world.audit("globex").await, [""; 0]);
    let asked = made.asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert_eq!(
        (asked[0].tenant, asked[0].why.as_str()),
        (tenant("acme"), "card number")
    );
}

#[tokio::test]
async fn listening_is_audited_before_the_first_byte() {
    let (world, _) = world().await;
    let admin = world.user("acme", Preset::TenantAdministrator);
    let heard = admin.get(&path(1, "/live?mix=mono")).await.expect(200);
    assert_eq!(heard.body, b"some audio");
    assert_eq!(heard.headers["content-type"], "audio/wav");
    let head = admin
        .ask(Method::HEAD, &path(1, "/live?format=ogg"), &[], None)
        .await
        .expect(200);
    assert_eq!(head.headers["content-type"], "audio/ogg; codecs=opus");
    assert_eq!(world.audit("acme").await, ["calls.live_monitor"]);
    admin.get(&path(4, "/live")).await.expect(404);
    let refused = admin.get(&path(3, "/live")).await.expect(409).json();
    assert_eq!(refused["detail"], "the call is not recorded: policy_none");
    world
        .user("acme", Preset::Agent)
        .get(&path(1, "/live"))
        .await
        .expect(403);
    assert_eq!(world.audit("acme").await, ["calls.live_monitor"]);
}

fn event(call: ActiveCall, kind: EventKind) -> CallEvent {
    CallEvent {
        kind,
        at: call.invited_at,
        call,
        finished: None,
        stored: None,
    }
}

/// Reads the stream until it has `count` events with data.
async fn read(
    world: &World,
    preset: Preset,
    headers: &[(&str, &str)],
    path: &str,
    count: usize,
) -> String {
    let asking = world.user("acme", preset);
    let response = asking.begin(Method::GET, path, headers).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    let all = async {
        while text.matches("data: ").count() < count {
            let Some(Ok(chunk)) = body.next().await else {
                break;
            };
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(20), all).await;
    text
}

#[tokio::test]
async fn events_are_those_of_the_scope_and_go_on_where_they_were_left() {
    let (world, _) = world().await;
    let feed = world.api.live().feed.clone();
    feed.publish(event(of("acme", 1, "ann"), EventKind::CallStarted));
    let first = feed.id_of(0);
    for (slug, id, user) in [("acme", 2, "bob"), ("globex", 4, "ann"), ("acme", 3, "ann")] {
        feed.publish(event(of(slug, id, user), EventKind::CallStarted));
    }
    feed.publish(event(of("acme", 3, "ann"), EventKind::CallEnded));
    let after = [("last-event-id", first.as_str())];
    let admin = read(&world, Preset::TenantAdministrator, &after, "/events", 3).await;
    assert_eq!(admin.matches("event: call.started").count(), 2, "{admin}");
    assert_eq!(admin.matches("event: call.ended").count(), 1, "{admin}");
    assert!(admin.contains(&format!("id: {}", feed.id_of(1))));
    assert!(
        !admin.contains(&world.tenant("globex").to_string()),
        "{admin}"
    );
    let agent = read(&world, Preset::Agent, &after, "/events", 2).await;
    assert!(!agent.contains(&Uuid::from_u128(2).to_string()), "{agent}");
    let only = read(
        &world,
        Preset::TenantAdministrator,
        &after,
        "/events?types=call.ended",
        1,
    )
    .await;
    assert_eq!(only.matches("data: ").count(), 1, "{only}");
    let old = [("last-event-id", "12345678-3")];
    let reset = read(&world, Preset::TenantAdministrator, &old, "/events", 1).await;
    assert!(reset.starts_with("event: reset\n"), "{reset}");
    let admin = world.user("acme", Preset::TenantAdministrator);
    admin.get("/events?types=call.exploded").await.expect(422);
    world.nobody().get("/events").await.expect(401);
}

/// The calls of the events that come, as often as they come.
async fn told(world: &World, preset: Preset, after: &str, count: usize) -> Vec<Uuid> {
    let after = [("last-event-id", after)];
    let text = read(world, preset, &after, "/events", count).await;
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let call = |data| {
        let event: Value = serde_json::from_str(data).unwrap();
        event["data"]["call"]["id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    data.map(call).collect()
}

#[tokio::test]
async fn nothing_is_told_again_of_what_was_deleted_or_is_not_to_be_seen_any_more() {
    let (world, mut calls) = with_calls().await;
    for call in [0, 2] {
        calls[call].participants[0].user = Some("ann".into());
    }
    world.catalog.record(&calls).await.unwrap();
    let feed = world.api.live().feed.clone();
    feed.publish(event(of("acme", 99, "ann"), EventKind::CallStarted));
    let after = feed.id_of(0);
    // Two that are recorded, which no event before the first media says, and one without media.
    for (number, kept) in [(1, &calls[0]), (2, &calls[1])] {
        let begun = of("acme", number, "ann");
        let mut heard = begun.clone();
        heard.recording = Some(kept.id);
        let mut ready = event(begun.clone(), EventKind::RecordingReady);
        ready.stored = Some(Stored {
            call_id: kept.id,
            length_ms: 1,
            size_bytes: 1,
            disposition: "recorded",
        });
        feed.publish(event(begun, EventKind::CallStarted));
        feed.publish(event(heard, EventKind::CallAnswered));
        feed.publish(ready);
    }
    let mut silent = of("acme", 3, "ann");
    silent.id = calls[2].id;
    feed.publish(event(silent, EventKind::CallEnded));
    feed.publish(event(of("acme", 4, "ann"), EventKind::CallStarted));
    let (one, two, four) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(4));
    let silent = calls[2].id;
    let all = [one, one, one, two, two, two, silent, four];
    assert_eq!(told(&world, Preset::Reader, &after, 8).await, all);
    // The second one became somebody else's, as the catalog has it.
    let own = [one, one, one, silent, four];
    assert_eq!(told(&world, Preset::Agent, &after, 5).await, own);
    let root = world.sure("system", Preset::RootAdministrator);
    for gone in [calls[0].id, silent] {
        let path = format!("/calls/{gone}?reason=asked");
        root.delete(&path, "*").await.expect(204);
    }
    let left = [two, two, two, four];
    assert_eq!(told(&world, Preset::Reader, &after, 4).await, left);
    assert_eq!(told(&world, Preset::Agent, &after, 1).await, [four]);
}

#[tokio::test]
async fn a_stream_ends_when_the_rights_it_was_opened_with_are_gone() {
    // There is no user of that name in the catalog: so as if it had been removed just now.
    let (world, _) = world().await;
    let begin = std::time::Instant::now();
    read(&world, Preset::TenantAdministrator, &[], "/events", 1).await;
    let lasted = begin.elapsed().as_secs();
    assert!((4..10).contains(&lasted), "{lasted} s");
}

#[tokio::test]
async fn who_sees_one_leg_of_a_conversation_keeps_and_stops_that_one_only() {
    let world = World::new().await;
    let leg = |id, user| ActiveCall {
        key: id as u64,
        interaction: Uuid::from_u128(77),
        ..of("acme", id, user)
    };
    let foreign = ActiveCall {
        interaction: Uuid::from_u128(77),
        ..of("globex", 4, "ann")
    };
    let made = Arc::new(Made {
        calls: vec![leg(1, "ann"), leg(2, "bob"), leg(3, "ann"), foreign],
        asked: Mutex::default(),
    });
    world.api.live().set_sensor(Arc::new(made.clone()));
    let agent = somebody_who_controls(&world, AccessLevel::User);
    for action in ["pause", "resume", "keep", "stop"] {
        let of_bob = path(2, &format!("/{action}"));
        agent.post(&of_bob, json!({})).await.expect(404);
        let own = path(1, &format!("/{action}"));
        agent.post(&own, json!({})).await.expect(200);
    }
    let admin = somebody_who_controls(&world, AccessLevel::System);
    admin.post(&path(1, "/stop"), json!({})).await.expect(200);
    let seen: Vec<_> = (made.asked.lock().unwrap().iter())
        .map(|asked| asked.seen.clone())
        .collect();
    let own = Some(vec![1, 3]);
    assert_eq!(seen, [own.clone(), own.clone(), own.clone(), own, None]);
    let audit = world.catalog.audit_since(0, 10).await.unwrap();
    let named = |at: usize| audit[at].1.record.after.clone().unwrap();
    assert!(!named(3).contains(&Uuid::from_u128(2).to_string()));
    assert!(named(4).contains(&Uuid::from_u128(2).to_string()));
}

fn somebody_who_controls(world: &World, level: AccessLevel) -> Asking<'_> {
    let mut role = Preset::TenantAdministrator.role(tenant("acme"));
    role.access_level = level;
    world.somebody("acme", &role)
}
