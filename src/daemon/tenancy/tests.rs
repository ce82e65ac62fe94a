use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::access::{Feature, Operation, Permissions, Preset, Resource, Role};
use crate::api::testing::{Asking, Tried, World, tenant};
use crate::base::{GroupId, RoleId, SYSTEM_TENANT, Tunnels, UserId};
use crate::catalog::{Catalog, ExtensionRow, RegisteredTenant, TenantDraft, TenantStatus};
use crate::config;
use crate::directory::{CallFacts, Candidate, CandidateSource, Withheld};

const DAEMON: &str = "[plans.gold]\nusers = 3\nfeatures = [\"download\"]\n[plans.small]\nstorage_gib = 1\nminutes_per_month = 10\n";

/// In a file: tenant 99, 10.99.0.0/16, extension 500 pinned to zoe and the range 600-699.
const FILED: &str = "[tenant]\nid = \"00000000-0000-0000-0000-000000000099\"\nname = \"Filed Ltd\"\nplan = \"gold\"\n\n\
    [[match]]\nnetworks = [\"10.99.0.0/16\"]\n\n[[extension]]\nnumber = \"500\"\nuser = \"zoe\"\n\n[[extension]]\nrange = \"600-699\"\n";

fn filed() -> TenantId {
    TenantId(Uuid::from_u128(0x99))
}

fn configured(folder: &Path, daemon: &str, files: &[(&str, &str)]) -> Configured {
    std::fs::create_dir_all(folder.join("tenants")).unwrap();
    std::fs::write(folder.join("callreel.toml"), daemon).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join("tenants").join(name), text).unwrap();
    }
    Configured::new(&config::load(&folder.join("callreel.toml")).unwrap())
}

/// A world with a directory that is kept by a thread, as in the daemon.
struct Running {
    world: World,
    tenancy: Arc<Tenancy>,
    watching: Option<Watching>,
}

impl Running {
    async fn new(daemon: &str, files: &[(&str, &str)]) -> Running {
        let world = World::new().await;
        let configured = configured(world.folder(), daemon, files);
        let (tenancy, nudges) = Tenancy::new(configured, world.folder());
        world.api.set_installation(tenancy.clone());
        let (of_thread, url) = (tenancy.clone(), world.url());
        let start = move || Watching::start(of_thread, url, nudges).unwrap();
        let watching = std::thread::spawn(start).join().unwrap();
        Running {
            world,
            tenancy,
            watching: Some(watching),
        }
    }

    fn root(&self) -> Asking<'_> {
        self.world.user("system", Preset::RootAdministrator)
    }

    fn acme(&self) -> Asking<'_> {
        self.world.user("acme", Preset::TenantAdministrator)
    }

    /// Rules for a tenant that the world has registered.
    async fn give_rules(&self, slug: &str, network: &str) {
        let path = format!("/tenants/{}", self.world.tenant(slug));
        let body = json!({ "name": slug.to_uppercase(), "slug": slug, "rules": { "match": [{ "networks": [network] }] } });
        self.root().put(&path, "*", body).await.expect(200);
    }

    async fn extension(&self, slug: &str, kind: &str, text: &str) -> String {
        let body = json!({ "tenant_id": self.world.tenant(slug), kind: text });
        let made = self.root().post("/extensions", body).await.expect(201);
        made.location()
    }

    async fn user(&self, slug: &str, login: &str) -> UserId {
        self.world
            .catalog
            .add_user_for_tests(tenant(slug), login, None)
            .await
    }

    /// Whose a call from this number would be at this moment: tenant and user.
    fn caller(&self, number: &str, address: &str) -> Option<(TenantId, Option<String>)> {
        caller_of(&self.tenancy.directory().load(), number, address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watching.take().into_iter().for_each(Watching::finish);
    }
}

fn caller_of(
    directory: &Directory,
    number: &str,
    address: &str,
) -> Option<(TenantId, Option<String>)> {
    let source = CandidateSource::From;
    let caller = [Candidate {
        source,
        user: number,
        host: "",
    }];
    let address = address.parse().unwrap();
    let attribution = directory.attribute(&CallFacts {
        sensor: "",
        interface: "",
        vlans: &[],
        caller_address: address,
        callee_address: address,
        caller: &caller,
        callee: &[],
        headers: &|_| None,
        tunnels: Tunnels::NONE,
    });
    let claim = attribution.caller?;
    Some((claim.tenant, claim.user.map(|user| user.to_string())))
}

fn later(seconds: u64) -> String {
    (wall_clock() + Duration::from_secs(seconds)).to_string()
}

fn items(tried: &Tried) -> Vec<Value> {
    tried.json()["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_made_through_the_api_has_calls_from_then_on() {
    let running = Running::new(DAEMON, &[("filed.toml", FILED)]).await;
    let root = running.root();
    let body = json!({
        "name": "Initech", "plan": "gold", "timezone": "Europe/London",
        "rules": { "country": "GB", "match": [{ "networks": ["10.50.0.0/16"] }], "recording": { "policy": "on-demand" } },
    });
    let made = root.post("/tenants", body).await.expect(201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.json()["slug"], "initech");
    assert_eq!(made.location(), format!("/api/v1/tenants/{id}"));
    let body = json!({ "tenant_id": id, "range": "100-199", "aliases": ["020 7946 0100"] });
    root.post("/extensions", body).await.expect(201);
    let id = TenantId(id.parse().unwrap());
    assert_eq!(running.caller("150", "10.50.0.7"), Some((id, None)));
    assert_eq!(
        running.caller("+442079460100", "10.50.0.7"),
        Some((id, None))
    );
    assert_eq!(running.tenancy.limits(id).users, Some(3));
    // Suspended, and back; removed.
    let path = format!("/tenants/{id}");
    let mut body = json!({ "name": "Initech", "slug": "initech", "plan": "gold", "status": "suspended",
        "rules": { "match": [{ "networks": ["10.50.0.0/16"] }] } });
    root.put(&path, &made.etag(), body.clone())
        .await
        .expect(200);
    let recording = |id| {
        running
            .tenancy
            .directory()
            .load()
            .tenant(id)
            .map(|found| found.recording)
    };
    assert_eq!(recording(id).unwrap().withheld, Some(Withheld::Suspended));
    root.put(&path, &made.etag(), body.clone())
        .await
        .expect(412);
    body["status"] = json!("active");
    root.put(&path, "*", body).await.expect(200);
    assert_eq!(recording(id).unwrap().withheld, None);
    root.delete(&path, "*").await.expect(204);
    assert_eq!(running.caller("150", "10.50.0.7"), None);
    root.get(&path).await.expect(404);
    let actions = running.world.audit("system").await;
    assert_eq!(
        actions,
        [
            "tenants.create",
            "tenants.edit",
            "tenants.edit",
            "tenants.delete"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tenants_that_nothing_tells_apart_are_refused_by_name() {
    let running = Running::new(DAEMON, &[("filed.toml", FILED)]).await;
    let root = running.root();
    running.give_rules("acme", "10.1.0.0/16").await;
    running.extension("acme", "number", "501").await;
    // The rules alone meet nothing; with the extension they do.
    running.give_rules("acme", "10.99.7.0/24").await;
    let body = json!({ "tenant_id": running.world.tenant("acme"), "prefix": "50" });
    let problem = root.post("/extensions", body).await.expect(422).json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("Filed Ltd") && detail.contains("ACME"),
        "{detail}"
    );
    // And the other way round.
    running.give_rules("acme", "10.1.0.0/16").await;
    running.extension("acme", "prefix", "50").await;
    let path = format!("/tenants/{}", running.world.tenant("acme"));
    let body = json!({ "name": "ACME", "slug": "acme", "rules": { "match": [{ "networks": ["10.0.0.0/8"] }] } });
    let problem = root.put(&path, "*", body).await.expect(422).json();
    assert_eq!(problem["field"], "rules.match");
    assert_eq!(running.caller("501", "10.1.0.1").unwrap().0, tenant("acme"));
    assert_eq!(running.tenancy.left_out(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_wrong_is_named_by_its_field() {
    let running = Running::new(DAEMON, &[]).await;
    let root = running.root();
    for (body, field) in [
        (json!({ "name": " " }), "name"),
        (json!({ "name": "x", "slug": "X Y" }), "slug"),
        (json!({ "name": "x", "plan": "tin" }), "plan"),
        (json!({ "name": "x", "timezone": "London" }), "timezone"),
        (json!({ "name": "x", "language": "english!" }), "language"),
        (json!({ "name": "x", "status": "gone" }), "status"),
        (json!({ "name": "x", "rules": [] }), "rules"),
        (
            json!({ "name": "x", "rules": { "match": [{ "networks": ["10.0.0.0/99"] }] } }),
            "rules.match[0].networks[0]",
        ),
        (
            json!({ "name": "x", "rules": { "match": [{ "domains": ["a.example"] }] } }),
            "rules.match",
        ),
        (
            json!({ "name": "x", "rules": { "recording": { "policy": "most" } } }),
            "rules.recording.policy",
        ),
        (json!({ "name": "x", "color": "red" }), "color"),
    ] {
        let problem = root.post("/tenants", body.clone()).await.expect(422).json();
        assert_eq!(problem["field"], field, "{body}");
    }
    root.post("/tenants", json!({ "name": "x", "slug": "acme" }))
        .await
        .expect(409);
    let acme = running.world.tenant("acme");
    for (body, field) in [
        (json!({ "tenant_id": acme }), "number"),
        (
            json!({ "tenant_id": acme, "number": "1", "range": "1-2" }),
            "number",
        ),
        (json!({ "tenant_id": acme, "range": "9-1" }), "range"),
        (
            json!({ "tenant_id": acme, "number": "1", "aliases": [" "] }),
            "aliases[0]",
        ),
        (
            json!({ "tenant_id": acme, "number": "1", "policy": "most" }),
            "policy",
        ),
        (
            json!({ "tenant_id": Uuid::nil(), "number": "1" }),
            "tenant_id",
        ),
    ] {
        let problem = root
            .post("/extensions", body.clone())
            .await
            .expect(422)
            .json();
        assert_eq!(problem["field"], field, "{body}");
    }
    for (limits, field) in [
        (json!({ "users": 0 }), "limits.users"),
        (json!({ "features": ["flying"] }), "limits.features[0]"),
    ] {
        let body = json!({ "name": "p", "limits": limits });
        let problem = root.post("/plans", body).await.expect(422).json();
        assert_eq!(problem["field"], field);
    }
    assert_eq!(running.world.audit("system").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_administrator_moves_numbers_between_users() {
    let running = Running::new("", &[]).await;
    running.give_rules("acme", "10.1.0.0/16").await;
    let path = running.extension("acme", "range", "100-199").await;
    let (ann, ben) = (
        running.user("acme", "ann").await,
        running.user("acme", "ben").await,
    );
    let acme = running.acme();
    let allocations = format!("{path}/allocations");
    let give = |user: UserId, number: Option<&str>, more: Value| {
        let mut body = json!({ "user_id": user.0, "number": number });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        acme.post(&allocations, body)
    };
    let first = give(ann, Some("1-50"), json!({})).await.expect(201);
    assert_eq!(
        (&first.json()["number"], &first.json()["in_force"]),
        (&json!("150"), &json!(true))
    );
    let whose = |number: &str| running.caller(number, "10.1.0.1").unwrap().1;
    assert_eq!((whose("150").as_deref(), whose("151")), (Some("ann"), None));
    // Taken: for that number, and for all of the range.
    give(ben, Some("150"), json!({})).await.expect(409);
    give(ben, None, json!({})).await.expect(409);
    give(ben, Some("200"), json!({})).await.expect(422);
    give(
        ben,
        Some("151"),
        json!({ "valid_from": "2020-01-01T00:00:00Z" }),
    )
    .await
    .expect(422);
    give(UserId(Uuid::nil()), Some("151"), json!({}))
        .await
        .expect(422);
    // Moved: who had it has it until then, and both are history.
    give(ben, Some("150"), json!({ "replace": true }))
        .await
        .expect(201);
    assert_eq!(whose("150").as_deref(), Some("ben"));
    let history = items(&acme.get(&allocations).await.expect(200));
    let logins: Vec<&str> = history
        .iter()
        .map(|one| one["login"].as_str().unwrap())
        .collect();
    assert_eq!(logins, ["ben", "ann"]);
    assert_eq!(history[0]["valid_from"], history[1]["valid_to"]);
    let first_path = first.location();
    acme.delete(&first_path, "*").await.expect(409);
    // Given back.
    let second = history[0]["id"].as_str().unwrap();
    let second_path = format!("{allocations}/{second}");
    acme.delete(&second_path, "\"7\"").await.expect(412);
    acme.delete(&second_path, "*").await.expect(204);
    assert_eq!(whose("150"), None);
    // To add one, or to take one away, is the System's business.
    acme.post("/extensions", json!({ "number": "7" }))
        .await
        .expect(403);
    acme.delete(&path, "*").await.expect(403);
    acme.put(&path, "*", json!({})).await.expect(403);
    let actions = running.world.audit("acme").await;
    assert_eq!(
        actions
            .iter()
            .filter(|action| *action == "extensions.allocate")
            .count(),
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_configuration_says_is_not_changed_here() {
    let running = Running::new(DAEMON, &[("filed.toml", FILED)]).await;
    let root = running.root();
    let list = items(&root.get("/tenants").await.expect(200));
    let names: Vec<&str> = list
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ACME", "Filed Ltd", "GLOBEX", "System"]);
    let place = list[1]["origin"].as_str().unwrap();
    assert!(place.ends_with("tenants/filed.toml:1"), "{place}");
    assert_eq!(list[1]["slug"], "filed-ltd");
    assert_eq!(list[1]["rules"]["match"][0]["networks"][0], "10.99.0.0/16");
    let path = format!("/tenants/{}", filed());
    for answer in [
        root.put(&path, "*", json!({ "name": "Other", "slug": "other" }))
            .await,
        root.delete(&path, "*").await,
    ] {
        let problem = answer.expect(409).json();
        assert_eq!(problem["type"], "urn:callreel:problem:read_only");
        assert!(problem["detail"].as_str().unwrap().contains("filed.toml:1"));
    }
    // The System tenant is renamed, and never removed.
    let system = format!("/tenants/{SYSTEM_TENANT}");
    root.put(&system, "*", json!({ "name": "House", "slug": "system" }))
        .await
        .expect(200);
    assert_eq!(
        &*running
            .tenancy
            .directory()
            .load()
            .tenant(SYSTEM_TENANT)
            .unwrap()
            .name,
        "House"
    );
    root.delete(&system, "*").await.expect(409);
    let body = json!({ "name": "House", "slug": "system", "status": "suspended" });
    root.put(&system, "*", body).await.expect(422);
    // Plans of the file, and others.
    let plans = items(&root.get("/plans").await.expect(200));
    let gold = &plans[0];
    assert_eq!(
        (&gold["name"], &gold["read_only"], &gold["limits"]["users"]),
        (&json!("gold"), &json!(true), &json!(3))
    );
    let gold_path = format!("/plans/{}", gold["id"].as_str().unwrap());
    root.delete(&gold_path, "*").await.expect(409);
    root.post("/plans", json!({ "name": "GOLD" }))
        .await
        .expect(409);
    let made = root
        .post(
            "/plans",
            json!({ "name": "silver", "limits": { "users": 1 } }),
        )
        .await
        .expect(201);
    let body = json!({ "name": "Sub", "slug": "sub", "plan": "silver" });
    root.post("/tenants", body).await.expect(201);
    root.delete(&made.location(), &made.etag())
        .await
        .expect(409);
    // Pinned.
    let extensions = items(
        &root
            .get(&format!("/extensions?tenant_id={}", filed()))
            .await
            .expect(200),
    );
    assert_eq!(
        (&extensions[0]["pinned"], &extensions[0]["available"]),
        (&json!("zoe"), &json!(false))
    );
    let path = format!("/extensions/{}", extensions[0]["id"].as_str().unwrap());
    let eve = running
        .world
        .catalog
        .add_user_for_tests(filed(), "eve", None)
        .await;
    let body = json!({ "user_id": eve.0 });
    let problem = root
        .post(&format!("{path}/allocations"), body.clone())
        .await
        .expect(409)
        .json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("zoe") && detail.contains("filed.toml:"),
        "{detail}"
    );
    // But a range of the file is allocated.
    let path = format!(
        "/extensions/{}/allocations",
        extensions[1]["id"].as_str().unwrap()
    );
    root.post(&path, json!({ "user_id": eve.0, "number": "611" }))
        .await
        .expect(201);
    assert_eq!(
        running.caller("611", "10.99.0.1").unwrap().1.as_deref(),
        Some("eve")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plan_lacks_is_refused() {
    let running = Running::new(DAEMON, &[("filed.toml", FILED)]).await;
    let root = running.root();
    let role = Preset::Agent.role_id(filed()).0;
    let user = |login: &str| {
        let body =
            json!({ "tenant_id": filed().0, "login": login, "name": login, "role_id": role });
        root.post("/users", body)
    };
    for login in ["ann", "ben", "cid"] {
        user(login).await.expect(201);
    }
    let problem = user("dan").await.expect(409).json();
    assert_eq!(problem["type"], "urn:callreel:problem:plan_limit");
    assert!(problem["detail"].as_str().unwrap().contains("3 users"));
    assert!(
        running
            .world
            .api
            .needs_feature(filed(), Feature::Download)
            .is_ok()
    );
    let lacks = running
        .world
        .api
        .needs_feature(filed(), Feature::LiveMonitor);
    assert!(lacks.is_err());
    assert!(
        running
            .world
            .api
            .needs_feature(tenant("acme"), Feature::LiveMonitor)
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_things_are_not_there() {
    let running = Running::new(DAEMON, &[("filed.toml", FILED)]).await;
    for (slug, network) in [("acme", "10.1.0.0/16"), ("globex", "10.2.0.0/16")] {
        running.give_rules(slug, network).await;
    }
    let path = running.extension("globex", "range", "100-199").await;
    let own = running.extension("acme", "range", "100-199").await;
    let gus = running.user("globex", "gus").await;
    let body = json!({ "user_id": gus.0, "number": "150" });
    let allocations = format!("{path}/allocations");
    let made = running
        .root()
        .post(&allocations, body.clone())
        .await
        .expect(201);
    let absent = format!("/extensions/{}", Uuid::from_u128(5));
    // Whoever may do all that a tenant's role can say.
    let role = Role {
        role_id: RoleId(Uuid::from_u128(77)),
        name: "All".into(),
        access_level: crate::access::AccessLevel::System,
        tenant_id: Some(tenant("acme")),
        permissions: Permissions::all(),
    };
    let ann = running.world.somebody("acme", &role);
    let mut bodies = std::collections::HashSet::new();
    for answer in [
        ann.get(&path).await,
        ann.get(&absent).await,
        ann.get("/extensions/seven").await,
        ann.put(&path, "*", json!({})).await,
        ann.delete(&path, "*").await,
        ann.get(&allocations).await,
        ann.post(&allocations, body.clone()).await,
        ann.delete(&made.location(), "*").await,
        ann.delete(
            &format!("{own}/allocations/{}", made.json()["id"].as_str().unwrap()),
            "*",
        )
        .await,
        ann.get(&format!("/tenants/{}", running.world.tenant("globex")))
            .await,
        ann.put(
            &format!("/tenants/{}", running.world.tenant("globex")),
            "*",
            json!({ "name": "x" }),
        )
        .await,
        ann.delete(&format!("/tenants/{}", filed()), "*").await,
        ann.get(&format!("/plans/{}", Uuid::from_u128(5))).await,
        ann.get(&format!("/plans/{}", known::derived_id("plan", "gold")))
            .await,
    ] {
        bodies.insert(answer.expect(404).body);
    }
    assert_eq!(bodies.len(), 1, "foreign and absent are one answer");
    // Another tenant's user is not there either.
    let body = json!({ "user_id": gus.0, "number": "150" });
    let problem = ann
        .post(&format!("{own}/allocations"), body)
        .await
        .expect(422)
        .json();
    assert_eq!(problem["detail"], "there is no such user");
    // Lists show one's own.
    let lists = [
        ann.get("/tenants").await,
        ann.get("/extensions").await,
        ann.get("/plans").await,
    ];
    for list in lists {
        let text = String::from_utf8(list.expect(200).body).unwrap();
        assert!(
            !text.contains("lobex") && !text.contains("LOBEX") && !text.contains("gus"),
            "{text}"
        );
        assert!(
            !text.contains("gold") && !text.contains(".toml") && !text.contains("10.1.0.0"),
            "{text}"
        );
    }
    let other = format!("/extensions?tenant_id={}", running.world.tenant("globex"));
    assert!(items(&ann.get(&other).await.expect(200)).is_empty());
    // What concerns all tenants is beyond a tenant's role, whatever it says.
    ann.post("/tenants", json!({ "name": "x" }))
        .await
        .expect(403);
    ann.post("/plans", json!({ "name": "x" })).await.expect(403);
    ann.post("/extensions", json!({ "number": "1" }))
        .await
        .expect(403);
    let own_path = format!("/tenants/{}", running.world.tenant("acme"));
    ann.put(&own_path, "*", json!({ "name": "x", "plan": "gold" }))
        .await
        .expect(403);
    ann.delete(&own_path, "*").await.expect(403);
    let own = ann.get("/tenant").await.expect(200).json();
    assert_eq!((&own["name"], &own["limits"]), (&json!("ACME"), &json!({})));
    running.world.nobody().get("/tenant").await.expect(401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_after_a_group_sees_and_moves_its_numbers_only() {
    let running = Running::new("", &[]).await;
    running.give_rules("acme", "10.1.0.0/16").await;
    let path = running.extension("acme", "range", "100-199").await;
    let other = running.extension("acme", "number", "300").await;
    let ann = running.user("acme", "ann").await;
    running
        .root()
        .post(&format!("{other}/allocations"), json!({ "user_id": ann.0 }))
        .await
        .expect(201);
    let mut permissions = Permissions::default();
    permissions.allow(
        Resource::Extensions,
        &[Operation::View, Operation::Allocate],
    );
    let role = Role {
        role_id: RoleId(Uuid::from_u128(78)),
        name: "Lead".into(),
        access_level: crate::access::AccessLevel::ManagedGroups,
        tenant_id: Some(tenant("acme")),
        permissions,
    };
    let groups: Arc<[GroupId]> = Arc::new([GroupId(Uuid::from_u128(9))]);
    let actor = crate::access::Actor::User {
        id: UserId(Uuid::from_u128(1)),
        login: "lead".into(),
    };
    let lead = crate::access::Principal::new(actor, tenant("acme"), "lead".into(), &role, groups);
    let lead = running.world.principal(lead);
    // The free range is seen, what somebody else has is not.
    let seen = items(&lead.get("/extensions").await.expect(200));
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["extension"], "100-199");
    lead.get(&other).await.expect(404);
    // Its people are those of its groups.
    let body = json!({ "user_id": ann.0, "number": "101" });
    lead.post(&format!("{path}/allocations"), body)
        .await
        .expect(422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allocation_begins_and_ends_when_it_says() {
    let running = Running::new("", &[]).await;
    running.give_rules("acme", "10.1.0.0/16").await;
    let path = running.extension("acme", "number", "100").await + "/allocations";
    let (ann, ben) = (
        running.user("acme", "ann").await,
        running.user("acme", "ben").await,
    );
    let acme = running.acme();
    let body = json!({ "user_id": ann.0, "valid_to": later(60) });
    acme.post(&path, body).await.expect(201);
    let body = json!({ "user_id": ben.0, "valid_from": later(60), "valid_to": later(50) });
    acme.post(&path, body).await.expect(422);
    let body = json!({ "user_id": ben.0, "valid_from": later(2), "replace": true });
    let next = acme.post(&path, body).await.expect(201);
    assert_eq!(next.json()["in_force"], false);
    let whose = || running.caller("100", "10.1.0.1").unwrap().1.unwrap();
    assert_eq!(whose(), "ann");
    tokio::time::sleep(Duration::from_millis(2600)).await;
    assert_eq!(whose(), "ben", "nobody asked for anything");
    let end = json!({ "valid_to": later(1) });
    acme.ask(
        axum::http::Method::PATCH,
        &next.location(),
        &[("if-match", "*")],
        Some(end),
    )
    .await
    .expect(200);
    tokio::time::sleep(Duration::from_millis(1600)).await;
    assert_eq!(running.caller("100", "10.1.0.1").unwrap().1, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_gives_back_and_a_users_policy_is_taken_in() {
    let running = Running::new("", &[]).await;
    running.give_rules("acme", "10.1.0.0/16").await;
    let path = running.extension("acme", "number", "100").await + "/allocations";
    let acme = tenant("acme");
    let ann = running
        .world
        .catalog
        .add_user_for_tests(acme, "ann", Some("\"none\""))
        .await;
    running
        .acme()
        .post(&path, json!({ "user_id": ann.0 }))
        .await
        .expect(201);
    let directory = running.tenancy.directory();
    let tenant = |directory: &Directory| {
        let of = directory.tenant(acme).unwrap();
        directory.extensions(of).next().unwrap().user.cloned()
    };
    assert_eq!(tenant(&directory.load()).as_deref(), Some("ann"));
    let policies: Vec<_> = running
        .world
        .catalog
        .directory_rows(wall_clock())
        .await
        .unwrap()
        .policies;
    assert_eq!(policies[0].policy, json!("none"));
    running
        .world
        .catalog
        .remove_user_for_tests(ann, wall_clock())
        .await;
    running.tenancy.refreshed().await;
    assert_eq!(tenant(&directory.load()), None);
    let ben = running.user("acme", "ben").await;
    running
        .acme()
        .post(&path, json!({ "user_id": ben.0 }))
        .await
        .expect(201);
}

fn row_of(number: u128, rules: Value, at: i64) -> RegisteredTenant {
    let draft = TenantDraft {
        name: format!("Row {number}"),
        slug: format!("row-{number}"),
        timezone: "UTC".into(),
        language: "en".into(),
        plan: None,
        status: TenantStatus::Active,
        rules,
    };
    RegisteredTenant::drafted(
        TenantId(Uuid::from_u128(number)),
        &draft,
        Timestamp::from_nanos(at),
    )
}

fn extension_row(tenant: TenantId, number: &str) -> ExtensionRow {
    ExtensionRow {
        id: crate::catalog::extension_id(tenant, "number", number),
        tenant,
        kind: "number".into(),
        text: number.into(),
        aliases: Vec::new(),
        policy: None,
        version: 1,
        created_at: Timestamp::from_nanos(0),
        changed_at: Timestamp::from_nanos(0),
    }
}

/// Two tenants of rows, the second of which clashes with the file.
fn clashing() -> DirectoryRows {
    let (one, two) = (
        row_of(1, json!({ "match": [{ "networks": ["10.1.0.0/16"] }] }), 1),
        row_of(2, json!({ "match": [{ "networks": ["10.99.0.0/16"] }] }), 2),
    );
    DirectoryRows {
        generation: 7,
        extensions: vec![extension_row(one.id, "500"), extension_row(two.id, "500")],
        tenants: vec![one, two],
        ..DirectoryRows::default()
    }
}

#[test]
fn rows_that_contradict_the_configuration_are_left_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let configured = configured(folder.path(), DAEMON, &[("filed.toml", FILED)]);
    let (tenancy, _nudges) = Tenancy::new(configured, folder.path());
    tenancy.take(clashing(), HashMap::new(), wall_clock());
    let said = tenancy.left_out();
    assert!(
        said.len() == 1 && said[0].contains("Filed Ltd") && said[0].contains("Row 2"),
        "{said:?}"
    );
    let directory = tenancy.directory().load_full();
    assert_eq!(
        caller_of(&directory, "500", "10.99.0.1").unwrap().0,
        filed()
    );
    assert_eq!(
        caller_of(&directory, "500", "10.1.0.1").unwrap().0,
        TenantId(Uuid::from_u128(1))
    );
    assert!(
        directory.tenant(TenantId(Uuid::from_u128(2))).is_some(),
        "it is there, and claims nothing"
    );
}

#[test]
fn a_configuration_that_contradicts_the_rows_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (tenancy, _nudges) = Tenancy::new(configured(folder.path(), DAEMON, &[]), folder.path());
    tenancy.take(clashing(), HashMap::new(), wall_clock());
    assert_eq!(tenancy.left_out(), [""; 0]);
    let with_file = configured(folder.path(), DAEMON, &[("filed.toml", FILED)]);
    let why = tenancy.configure(with_file).unwrap_err();
    assert!(why[0].contains("Row 2"), "{why:?}");
    let directory = tenancy.directory().load_full();
    assert_eq!(
        caller_of(&directory, "500", "10.99.0.1").unwrap().0,
        TenantId(Uuid::from_u128(2))
    );
}

#[test]
fn a_start_without_the_catalog_knows_what_was_known_last() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Tenancy::new(configured(folder.path(), "", &[]), folder.path()).0;
    let mut rows = clashing();
    rows.allocations.push(AllocationRow {
        id: Uuid::from_u128(3),
        tenant: TenantId(Uuid::from_u128(1)),
        extension: rows.extensions[0].id,
        number: None,
        user: UserId(Uuid::from_u128(4)),
        login: "ann".into(),
        valid_from: Timestamp::from_nanos(5),
        valid_to: None,
        version: 1,
        created_at: Timestamp::from_nanos(5),
    });
    start().take(rows, HashMap::new(), wall_clock());
    let again = start();
    let directory = again.directory().load_full();
    let (tenant, user) = caller_of(&directory, "500", "10.1.0.1").unwrap();
    assert_eq!(
        (tenant.0, user.as_deref()),
        (Uuid::from_u128(1), Some("ann"))
    );
    let mode = std::fs::metadata(folder.path().join(cache::NAME)).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
    // What was broken off is as if it were not there.
    std::fs::write(folder.path().join(cache::NAME), "{").unwrap();
    assert!(caller_of(&start().directory().load(), "500", "10.1.0.1").is_none());
}

#[test]
fn a_tenant_past_its_plan_is_not_recorded_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (tenancy, _nudges) = Tenancy::new(configured(folder.path(), DAEMON, &[]), folder.path());
    let mut rows = clashing();
    rows.tenants[0].plan = Some("small".into());
    tenancy.take(rows, HashMap::new(), wall_clock());
    assert!(tenancy.limits_recording());
    let one = TenantId(Uuid::from_u128(1));
    let withheld = |bytes, length_ms| {
        let usage = Usage {
            tenant: one,
            recordings: 1,
            bytes,
            length_ms_of_month: length_ms,
        };
        tenancy.take_usage(HashMap::from([(one, usage)]), wall_clock());
        tenancy
            .directory()
            .load()
            .tenant(one)
            .unwrap()
            .recording
            .withheld
    };
    assert_eq!(withheld(1 << 29, 0), None);
    assert_eq!(withheld(1 << 30, 0), Some(Withheld::PlanStorage));
    assert_eq!(withheld(0, 600_000), Some(Withheld::PlanMinutes));
    assert_eq!(withheld(0, 599_999), None);
}

#[test]
fn the_only_tenant_has_every_call_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    let (tenancy, _nudges) = Tenancy::new(
        configured(folder.path(), "[tenancy]\nmulti = false\n", &[]),
        folder.path(),
    );
    let mut rows = clashing();
    rows.tenants.push(RegisteredTenant {
        id: SYSTEM_TENANT,
        ..row_of(3, json!({}), 0)
    });
    rows.extensions.push(extension_row(SYSTEM_TENANT, "700"));
    tenancy.take(rows, HashMap::new(), wall_clock());
    let directory = tenancy.directory().load_full();
    assert_eq!(
        caller_of(&directory, "700", "203.0.113.1").unwrap().0,
        SYSTEM_TENANT
    );
    assert_eq!(caller_of(&directory, "500", "10.1.0.1"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_is_away_is_said_and_what_was_read_stays() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!(
        "sqlite://{}",
        folder.path().join("away/catalog.db").display()
    );
    let (tenancy, nudges) = Tenancy::new(
        configured(folder.path(), DAEMON, &[("filed.toml", FILED)]),
        folder.path(),
    );
    let of_thread = tenancy.clone();
    let start = move || Watching::start(of_thread, url, nudges).unwrap();
    let watching = std::thread::spawn(start).join().unwrap();
    assert!(tenancy.state.away.load(Ordering::Relaxed));
    assert!(tenancy.state.failures.load(Ordering::Relaxed) > 0);
    assert_eq!(
        caller_of(&tenancy.directory().load(), "500", "10.99.0.1")
            .unwrap()
            .0,
        filed()
    );
    std::fs::create_dir(folder.path().join("away")).unwrap();
    tenancy.refreshed().await;
    assert!(!tenancy.state.away.load(Ordering::Relaxed));
    let url = format!(
        "sqlite://{}",
        folder.path().join("away/catalog.db").display()
    );
    let rows = Catalog::open(&url)
        .await
        .unwrap()
        .directory_rows(wall_clock())
        .await
        .unwrap();
    assert!(rows.tenants.iter().any(|row| row.slug == "filed-ltd"));
    watching.finish();
}
