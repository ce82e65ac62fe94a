//! Numbers of users whose calls are confidential: nobody who may not see such calls takes one, by whatever way.

use super::*;

/// All rights of the preset but to see confidential calls.
fn without_confidential(preset: Preset, slug: &str) -> Role {
    let mut role = preset.role(tenant(slug));
    role.access_level = crate::access::AccessLevel::System;
    let of_calls = Resource::Calls.operations().iter().copied();
    let but_one = of_calls.filter(|one| *one != Operation::ViewConfidential);
    role.permissions.forbid(Resource::Calls);
    role.permissions
        .allow(Resource::Calls, &but_one.collect::<Vec<_>>());
    role
}

const FILE: &str = "[tenant]\nid = \"00000000-0000-0000-0000-000000000099\"\nname = \"Filed Ltd\"\ncountry = \"GB\"\n\n\
    [[match]]\nnetworks = [\"10.99.0.0/16\"]\n\n[[extension]]\nrange = \"1100-1199\"\nuser = \"chief\"\n\n\
    [[extension]]\nrange = \"1300-1399\"\n\n[[extension]]\nprefix = \"70\"\n\n[[extension]]\nprefix = \"+4420\"\naliases = [\"5000\"]\n";

/// Filed Ltd, whose chief has 1100-1199 by the file, and somebody of the System tenant who may not see confidential calls.
struct Guarded {
    running: Running,
    chief: Value,
    ben: Value,
}

impl Guarded {
    async fn new() -> Guarded {
        let running = Running::new("", &[("filed.toml", FILE)]).await;
        let role = Preset::Agent.role_id(filed()).0;
        let hire = async |login: &str, confidential: bool| {
            let body = json!({ "tenant_id": filed().0, "login": login, "role_id": role, "confidential": confidential });
            let made = running.root().post("/users", body).await.expect(201);
            made.json()["id"].clone()
        };
        let (chief, ben) = (hire("chief", true).await, hire("ben", false).await);
        Guarded {
            running,
            chief,
            ben,
        }
    }

    fn clerk(&self) -> Asking<'_> {
        let role = without_confidential(Preset::RootAdministrator, "system");
        self.running.world.somebody("system", &role)
    }

    /// The extension of the file that is written so.
    async fn filed(&self, text: &str) -> String {
        let path = format!("/extensions?limit=500&tenant_id={}", filed().0);
        let all = items(&self.running.root().get(&path).await.expect(200));
        let one = all.iter().find(|one| one["extension"] == text).unwrap();
        format!("/extensions/{}", one["id"].as_str().unwrap())
    }

    async fn allocate(
        &self,
        asking: &Asking<'_>,
        extension: &str,
        user: &Value,
        more: Value,
    ) -> Tried {
        let mut body = json!({ "user_id": user });
        let body_of = body.as_object_mut().unwrap();
        body_of.extend(more.as_object().unwrap().clone());
        let path = format!("{extension}/allocations");
        asking.post(&path, body).await
    }

    async fn create(&self, asking: &Asking<'_>, kind: &str, text: &str, aliases: &[&str]) -> Tried {
        let body = json!({ "tenant_id": filed().0, kind: text, "aliases": aliases });
        asking.post("/extensions", body).await
    }

    fn whose(&self, number: &str) -> Option<String> {
        let found = self.running.caller(number, "10.99.0.1");
        found.expect("of Filed Ltd").1
    }
}

#[track_caller]
fn is_refused(tried: Tried) {
    let problem = tried.expect(403).json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("view_confidential"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrower_extension_takes_no_number_from_them() {
    let world = Guarded::new().await;
    let (clerk, root) = (world.clerk(), world.running.root());
    let prefix = world.filed("70").await;
    let from = json!({ "valid_from": later(3600) });
    world
        .allocate(&root, &prefix, &world.chief, from)
        .await
        .expect(201);
    let free = world.filed("1300-1399").await;
    let one = json!({ "number": "1350" });
    world
        .allocate(&root, &free, &world.chief, one)
        .await
        .expect(201);
    for (kind, text, aliases) in [
        ("number", "1150", &[][..]),
        ("range", "1140-1160", &[]),
        ("number", "9001", &["11-51"]),
        ("number", "701", &[]),
        ("range", "7010-7019", &[]),
        ("prefix", "701", &[]),
        // Beside one number that was allocated, in place of what it is a number of.
        ("number", "1350", &[]),
        ("range", "1340-1360", &[]),
    ] {
        is_refused(world.create(&clerk, kind, text, aliases).await);
    }
    assert_eq!(world.whose("1150").as_deref(), Some("chief"));
    assert_eq!(world.whose("1350").as_deref(), Some("chief"));
    // What takes nothing from them.
    for (kind, text, aliases) in [
        ("number", "9001", &["9002"][..]),
        ("range", "1000-1999", &[]),
        ("range", "1360-1369", &[]),
        ("prefix", "7", &[]),
        ("number", "1365", &[]),
    ] {
        let made = world.create(&clerk, kind, text, aliases).await;
        made.expect(201);
    }
    assert_eq!(world.whose("1150").as_deref(), Some("chief"));
    assert_eq!(world.whose("1350").as_deref(), Some("chief"));
    // Who may see their calls may move their numbers.
    for (kind, text) in [
        ("number", "1150"),
        ("range", "1340-1359"),
        ("prefix", "701"),
    ] {
        world.create(&root, kind, text, &[]).await.expect(201);
    }
    assert_eq!((world.whose("1150"), world.whose("1350")), (None, None));
    // Theirs no longer.
    world
        .create(&clerk, "number", "7011", &[])
        .await
        .expect(201);
    world
        .create(&clerk, "range", "7012-7013", &[])
        .await
        .expect(201);
    is_refused(world.create(&clerk, "number", "702", &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_take_no_number_from_them() {
    let world = Guarded::new().await;
    let (clerk, root) = (world.clerk(), world.running.root());
    let own = world
        .create(&root, "number", "2000", &["2001", "+442079460101"])
        .await;
    let own = own.expect(201).location();
    let prefix = world.filed("70").await;
    for extension in [&own, &prefix] {
        let given = world
            .allocate(&root, extension, &world.chief, json!({}))
            .await;
        given.expect(201);
    }
    let other = world.create(&root, "number", "3000", &["3001"]).await;
    let other = other.expect(201).location();
    let edit = async |asking: &Asking<'_>, path: &str, aliases: &[&str]| {
        let body = json!({ "aliases": aliases, "policy": "all" });
        asking.put(path, "*", body).await
    };
    // Theirs stay, however they are written; more do no harm.
    is_refused(edit(&clerk, &own, &["2001"]).await);
    edit(&clerk, &own, &["020 7946 0101", "2001", "2002"])
        .await
        .expect(200);
    assert_eq!(world.whose("+442079460101").as_deref(), Some("chief"));
    for taken in ["1150", "7012", "11 99"] {
        is_refused(edit(&clerk, &other, &["3001", taken]).await);
    }
    edit(&clerk, &other, &["3002"]).await.expect(200);
    // Somebody who may moves one.
    edit(&root, &own, &[]).await.expect(200);
    edit(&root, &other, &["1150"]).await.expect(200);
    assert_eq!(world.whose("1150"), None);
    edit(&clerk, &other, &["1150", "3002"]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_allocated_once_however_it_is_written() {
    let world = Guarded::new().await;
    let role = without_confidential(Preset::TenantAdministrator, "filed");
    let role = Role {
        tenant_id: Some(filed()),
        ..role
    };
    let actor = crate::access::Actor::User {
        id: UserId(Uuid::from_u128(5)),
        login: "ann".into(),
    };
    let ann = crate::access::Principal::new(actor, filed(), "ann".into(), &role, Arc::new([]));
    let ann = world.running.world.principal(ann);
    let prefix = world.filed("+4420").await;
    let one = json!({ "number": "+44 20 7946 0101" });
    world
        .allocate(&ann, &prefix, &world.chief, one)
        .await
        .expect(201);
    assert_eq!(world.whose("+442079460101").as_deref(), Some("chief"));
    let again = json!({ "number": "020 7946 0101" });
    world
        .allocate(&ann, &prefix, &world.ben, again)
        .await
        .expect(409);
    let again = json!({ "number": "02079460101", "replace": true });
    is_refused(
        world
            .allocate(&ann, &prefix, &world.ben, again.clone())
            .await,
    );
    assert_eq!(world.whose("02079460101").as_deref(), Some("chief"));
    let root = world.running.root();
    world
        .allocate(&root, &prefix, &world.ben, again)
        .await
        .expect(201);
    assert_eq!(world.whose("02079460101").as_deref(), Some("ben"));
    // An alias is no number of its own: who has it has all of the extension.
    let alias = json!({ "number": "5000" });
    world
        .allocate(&ann, &prefix, &world.ben, alias)
        .await
        .expect(422);
    // Nor is one number of what they have all of, or all of what they have a number of.
    for (text, theirs, others) in [
        (
            "1300-1399",
            json!({}),
            json!({ "number": "1350", "replace": true }),
        ),
        (
            "70",
            json!({ "number": "7012" }),
            json!({ "replace": true }),
        ),
    ] {
        let extension = world.filed(text).await;
        world
            .allocate(&ann, &extension, &world.chief, theirs)
            .await
            .expect(201);
        world
            .allocate(&ann, &extension, &world.ben, others)
            .await
            .expect(409);
    }
    let pinned = world.filed("1100-1199").await;
    let one = json!({ "number": "1150" });
    world
        .allocate(&ann, &pinned, &world.ben, one)
        .await
        .expect(409);
    assert!(world.running.tenancy.left_out().is_empty());
}
