//! What a plan gives and what it does not, wherever something of it is asked for; and what users are told that they have.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::Method;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::*;
use crate::api::testing::active_call;
use crate::api::{ActiveCall, Hearing, LiveAudio, Sensor, Steered, Steering, Unheard, Unsteered};
use crate::base::RecordingId;
use crate::storage::{Kind, RecordingName};

impl Running {
    /// A tenant's plan, made through the API, with these limits from now on.
    async fn subscribe(&self, slug: &str, network: &str, limits: Value) {
        let plan = json!({ "name": "trial", "limits": limits });
        self.root().post("/plans", plan).await.expect(201);
        let path = format!("/tenants/{}", self.world.tenant(slug));
        let rules = json!({ "match": [{ "networks": [network] }] });
        let body =
            json!({ "name": slug.to_uppercase(), "slug": slug, "plan": "trial", "rules": rules });
        self.root().put(&path, "*", body).await.expect(200);
    }

    async fn limit(&self, limits: Value) {
        let plans = items(&self.root().get("/plans").await.expect(200));
        let plan = plans.iter().find(|plan| plan["name"] == "trial").unwrap();
        let path = format!("/plans/{}", plan["id"].as_str().unwrap());
        let body = json!({ "name": "trial", "limits": limits });
        self.root().put(&path, "*", body).await.expect(200);
    }

    async fn add(&self, slug: &str, login: &str, preset: Preset) -> Tried {
        let role = preset.role_id(tenant(slug)).0;
        let body =
            json!({ "tenant_id": tenant(slug).0, "login": login, "name": login, "role_id": role });
        self.root().post("/users", body).await
    }
}

fn is_not_in_plan(tried: Tried, feature: &str) {
    let problem = tried.expect(403).json();
    assert_eq!(problem["type"], "urn:callreel:problem:not_in_plan");
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(detail, format!("the tenant's plan lacks {feature}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_taken_along_needs_the_feature_of_the_calls_own_tenant() {
    let running = Running::new("", &[]).await;
    running
        .subscribe("acme", "10.1.0.0/16", json!({ "features": ["api_access"] }))
        .await;
    let calls = [1, 2].map(|of| crate::catalog::testing::call(of, 1));
    running.world.catalog.record(&calls).await.unwrap();
    let [acme, globex] = calls.map(|call| call.id);
    let path = format!("/calls/{acme}/audio");
    let root = running.root();
    for asking in [&running.acme(), &root] {
        for query in [
            "?download=true",
            "?format=stored",
            "?download=true&format=ogg",
        ] {
            is_not_in_plan(asking.get(&format!("{path}{query}")).await, "download");
        }
        // To play it is another thing: the plan has nothing against it, but these tests have no file.
        asking.get(&path).await.expect(409);
    }
    // Whoever packs: what counts is whose the calls are.
    let sure = running.world.sure("system", Preset::RootAdministrator);
    let zip = |ids: Value| sure.post("/calls/zip", json!({ "ids": ids }));
    is_not_in_plan(zip(json!([globex, acme])).await, "download");
    let packed = zip(json!([globex])).await;
    assert_ne!(packed.status, 403, "Globex has no plan, and so everything");
    let audit = running.world.audit("acme").await;
    assert!(!audit.contains(&"calls.download".to_owned()), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_as_long_as_the_plan_has_api_access() {
    let running = Running::new("", &[]).await;
    let all = json!({ "features": ["api_access"] });
    running.subscribe("acme", "10.1.0.0/16", all.clone()).await;
    let ann = running
        .add("acme", "ann", Preset::TenantAdministrator)
        .await;
    let ann = ann.expect(201).json();
    let asking = running.world.signed_in(&ann).await;
    let account = |name: &str| json!({ "name": name, "reason": "shows calls", "permissions": { "groups": ["view"] } });
    let made = asking.post("/service-accounts", account("CRM")).await;
    let tokens = format!("{}/tokens", made.expect(201).location());
    let days = json!({ "expires_in_days": 1 });
    let given = asking.post(&tokens, days.clone()).await.expect(201).json();
    let bearer = format!("Bearer {}", given["token"].as_str().unwrap());
    let with_token = || async {
        let headers = [("authorization", bearer.as_str())];
        let nobody = running.world.nobody();
        nobody.ask(Method::GET, "/groups", &headers, None).await
    };
    with_token().await.expect(200);
    running.limit(json!({ "features": [] })).await;
    is_not_in_plan(with_token().await, "api_access");
    let other = asking.post("/service-accounts", account("ERP")).await;
    is_not_in_plan(other, "api_access");
    is_not_in_plan(asking.post(&tokens, days).await, "api_access");
    running.limit(all).await;
    with_token().await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_users_are_active_than_the_plan_says() {
    let running = Running::new("", &[]).await;
    running
        .subscribe("acme", "10.1.0.0/16", json!({ "users": 2 }))
        .await;
    running
        .add("acme", "ann", Preset::TenantAdministrator)
        .await
        .expect(201);
    let ben = running.add("acme", "ben", Preset::Agent).await.expect(201);
    let refused = |tried: Tried| {
        let problem = tried.expect(409).json();
        assert_eq!(problem["type"], "urn:callreel:problem:plan_limit");
        assert_eq!(problem["field"], "active");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("2 active users, and it has 2"), "{detail}");
    };
    refused(running.add("acme", "cid", Preset::Agent).await);
    // Who is not active takes no room, until made active.
    let role = Preset::Agent.role_id(tenant("acme")).0;
    let body =
        json!({ "tenant_id": tenant("acme").0, "login": "dan", "role_id": role, "active": false });
    let dan = running.root().post("/users", body).await.expect(201);
    let root = running.root();
    let activate =
        async |path: &str, active: bool| root.put(path, "*", json!({ "active": active })).await;
    refused(activate(&dan.location(), true).await);
    root.put(&dan.location(), "*", json!({ "name": "Daniel" }))
        .await
        .expect(200);
    activate(&ben.location(), false).await.expect(200);
    activate(&dan.location(), true).await.expect(200);
    refused(activate(&ben.location(), true).await);
    root.delete(&dan.location(), "*").await.expect(204);
    activate(&ben.location(), true).await.expect(200);
    // A smaller plan takes nobody away, and edits go on.
    running.limit(json!({ "users": 1 })).await;
    root.put(&ben.location(), "*", json!({ "name": "Benjamin" }))
        .await
        .expect(200);
    running
        .world
        .user("globex", Preset::TenantAdministrator)
        .get("/users")
        .await
        .expect(200);
}

/// A daemon with one call of Acme's that is heard without an end.
struct OneCall(std::sync::Mutex<Vec<mpsc::Sender<Bytes>>>);

impl Sensor for Arc<OneCall> {
    fn active_calls(&self, _: Option<TenantId>) -> Vec<ActiveCall> {
        vec![active_call(tenant("acme"), 7)]
    }

    fn control(&self, _: Steering) -> BoxFuture<'_, Result<Steered, Unsteered>> {
        unreachable!("nobody steers")
    }

    fn listen(&self, _: &ActiveCall, _: Hearing) -> Result<LiveAudio, Unheard> {
        let (sender, chunks) = mpsc::channel(4);
        sender.try_send(Bytes::from_static(b"audio")).unwrap();
        self.0.lock().unwrap().push(sender);
        Ok(LiveAudio { chunks })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_is_left_when_the_plan_loses_live_monitor() {
    let running = Running::new("", &[]).await;
    let has = json!({ "features": ["live_monitor"] });
    running.subscribe("acme", "10.1.0.0/16", has).await;
    let heard = Arc::new(OneCall(std::sync::Mutex::default()));
    running.world.api.live().set_sensor(Arc::new(heard.clone()));
    let path = format!("/active-calls/{}/live", Uuid::from_u128(7));
    let ann = running
        .add("acme", "ann", Preset::TenantAdministrator)
        .await;
    let ann = running.world.signed_in(&ann.expect(201).json()).await;
    let answer = ann.begin(Method::GET, &path, &[]).await;
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "audio");
    running.limit(json!({ "features": ["download"] })).await;
    let end = tokio::time::timeout(Duration::from_secs(8), body.next()).await;
    assert!(end.expect("within five seconds").is_none());
    is_not_in_plan(ann.get(&path).await, "live_monitor");
    assert_eq!(heard.0.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_are_encrypted_as_soon_as_the_plan_says_so() {
    let running = Running::new("", &[]).await;
    let is_encrypted = || {
        let directory = running.tenancy.directory().load();
        let acme = (directory.tenants()).find(|tenant| tenant.id == self::tenant("acme"));
        acme.unwrap().recording.encrypted
    };
    // All features but this one.
    running
        .subscribe("acme", "10.1.0.0/16", json!({ "users": 7 }))
        .await;
    assert!(!is_encrypted());
    running
        .limit(json!({ "features": ["download", "encryption"] }))
        .await;
    assert!(is_encrypted());
    running.limit(json!({ "features": ["download"] })).await;
    assert!(!is_encrypted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_told_with_its_extensions_and_removed_without_them() {
    let running = Running::new(DAEMON, &[("filed.toml", FILED)]).await;
    let root = running.root();
    let role = Preset::Agent.role_id(filed()).0;
    let add = async |login: &str| {
        let body = json!({ "tenant_id": filed().0, "login": login, "role_id": role });
        let made = root.post("/users", body).await.expect(201);
        (made.location(), made.json())
    };
    let (zoe, told) = add("Zoe").await;
    let pinned = &told["extensions"][0];
    assert_eq!(
        (
            &pinned["extension"],
            &pinned["pinned"],
            &pinned["valid_from"],
            &pinned["in_force"]
        ),
        (&json!("500"), &json!(true), &Value::Null, &json!(true))
    );
    let (max, told) = add("max").await;
    assert_eq!(told["extensions"], json!([]));
    let extensions = items(
        &root
            .get(&format!("/extensions?tenant_id={}", filed()))
            .await
            .expect(200),
    );
    let range = format!("/extensions/{}", extensions[1]["id"].as_str().unwrap());
    let now = wall_clock();
    let allocate = async |number: &str, user: &Value, from: Timestamp| {
        let body =
            json!({ "user_id": user["id"], "number": number, "valid_from": from.to_string() });
        root.post(&format!("{range}/allocations"), body)
            .await
            .expect(201);
    };
    allocate("612", &told, now + Duration::from_secs(3600)).await;
    allocate("611", &told, now).await;
    let told = root.get(&max).await.expect(200).json();
    let of = |told: &Value| -> Vec<Value> {
        let held = told["extensions"].as_array().unwrap().iter();
        held.map(|held| json!([held["number"], held["extension"], held["in_force"]]))
            .collect()
    };
    assert_eq!(
        of(&told),
        [
            json!(["611", "600-699", true]),
            json!(["612", "600-699", false])
        ]
    );
    // In a list as well, each user with its own.
    let listed = items(
        &root
            .get(&format!("/users?tenant_id={}", filed()))
            .await
            .expect(200),
    );
    assert_eq!(
        listed.iter().map(|user| of(user).len()).collect::<Vec<_>>(),
        [2, 1]
    );
    assert_eq!(
        running.caller("611", "10.99.0.1").unwrap().1.as_deref(),
        Some("max")
    );
    // Acme has a user of the same login, and nothing of this.
    let body = json!({ "tenant_id": tenant("acme").0, "login": "max", "role_id": Preset::Agent.role_id(tenant("acme")).0 });
    let other = root.post("/users", body).await.expect(201);
    assert_eq!(other.json()["extensions"], json!([]));

    root.delete(&max, "*").await.expect(204);
    // The answer came when the directory had it.
    assert_eq!(running.caller("611", "10.99.0.1").unwrap().1, None);
    let history = items(&root.get(&format!("{range}/allocations")).await.expect(200));
    assert_eq!(history.len(), 2);
    assert!(
        history
            .iter()
            .all(|row| row["in_force"] == false && row["valid_to"] != Value::Null)
    );
    // What the file says stays for as long as it says so.
    root.delete(&zoe, "*").await.expect(204);
    assert_eq!(
        running.caller("500", "10.99.0.1").unwrap().1.as_deref(),
        Some("zoe")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_deletes_calls_gets_their_room_and_not_the_minutes_of_the_month() {
    let running = Running::new("", &[]).await;
    let limits = json!({ "storage_gib": 1, "minutes_per_month": 10 });
    running.subscribe("acme", "10.1.0.0/16", limits).await;
    let mut call = crate::catalog::testing::call(1, 1);
    let now = wall_clock();
    (call.started_at, call.ended_at) = (now, Some(now));
    (call.interaction, call.length_ms) = (None, 600_000);
    let name = RecordingName::new(call.tenant, RecordingId(call.id), now);
    let file = call.file.as_mut().unwrap();
    file.path = name.relative(Kind::Audio);
    file.size_bytes = 1 << 30;
    let calls = std::slice::from_ref(&call);
    running.world.catalog.record(calls).await.unwrap();
    let used = async || {
        let own = running.acme().get("/tenant").await.expect(200).json();
        let usage = &own["usage"];
        let number = |key: &str| usage[key].as_u64().unwrap();
        (
            number("recordings"),
            number("bytes"),
            number("minutes_of_month"),
        )
    };
    let withheld = async || {
        let (scope, now) = (Scope::root(), wall_clock());
        let usage = running.world.catalog.usage(&scope, now).await.unwrap();
        let usage = usage.into_iter().map(|usage| (usage.tenant, usage));
        running.tenancy.take_usage(usage.collect(), now);
        let directory = running.tenancy.directory().load_full();
        let of = directory.tenant(tenant("acme")).unwrap();
        of.recording.withheld
    };
    assert_eq!(used().await, (1, 1 << 30, 10));
    assert_eq!(withheld().await, Some(Withheld::PlanStorage));
    let sure = running.world.sure("acme", Preset::TenantAdministrator);
    sure.delete(&format!("/calls/{}", call.id), "*")
        .await
        .expect(204);
    assert_eq!(used().await, (0, 0, 10));
    assert_eq!(withheld().await, Some(Withheld::PlanMinutes));
}
