use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::{AccessLevel, Operation, Permissions, Preset, Resource, Role};
use crate::api::testing::{Asking, Tried, World, tenant};

fn role_id(slug: &str, preset: Preset) -> Uuid {
    preset.role_id(tenant(slug)).0
}

/// A new user of `acme`, as JSON.
async fn hired(world: &World, login: &str, preset: Preset, more: Value) -> Value {
    let root = world.user("system", Preset::RootAdministrator);
    let mut body = json!({
        "login": login, "role_id": role_id("acme", preset), "tenant_id": world.tenant("acme"), "must_change_password": false,
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    root.post("/users", body).await.expect(201).json()
}

async fn group(world: &World, name: &str) -> Value {
    let ann = world.user("acme", Preset::TenantAdministrator);
    let made = ann.post("/groups", json!({ "name": name })).await;
    made.expect(201).json()["id"].clone()
}

fn path(user: &Value) -> String {
    format!("/users/{}", user["id"].as_str().unwrap())
}

async fn logins(asking: &Asking<'_>, query: &str) -> Vec<String> {
    let page = asking.get(&format!("/users{query}")).await.expect(200);
    let items = page.json()["items"].as_array().unwrap().clone();
    let login = |item: &Value| item["login"].as_str().unwrap().to_owned();
    items.iter().map(login).collect()
}

#[tokio::test]
async fn a_user_is_made_read_changed_and_removed() {
    let world = World::new().await;
    let sales = group(&world, "Sales").await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let body = json!({
        "login": "bob", "name": "Bob", "email": "bob@acme.example", "role_id": role_id("acme", Preset::Agent),
        "valid_until": "2199-01-01T00:00:00+01:00", "recording_policy": {"sample": 25}, "confidential": true,
    });
    let made = ann.post("/users", body).await.expect(201);
    let path = made.location();
    let read = ann.get(&path).await.expect(200);
    assert_eq!(read.json(), made.json());
    assert_eq!(read.json()["role"], "Agent");
    assert_eq!(read.json()["valid_until"], "2198-12-31T23:00:00.000000Z");
    assert_eq!(read.json()["recording_policy"], json!({"sample": 25}));
    let moved = ann
        .put(&path, &read.etag(), json!({ "group_id": sales }))
        .await
        .expect(200);
    let mut expected = read.json();
    expected["group_id"] = sales.clone();
    expected["changed_at"] = moved.json()["changed_at"].clone();
    assert_eq!(moved.json(), expected, "what is absent stays");
    let cleared =
        json!({ "group_id": null, "email": null, "valid_until": null, "recording_policy": null });
    ann.put(&path, &read.etag(), cleared.clone())
        .await
        .expect(412);
    let cleared = ann.put(&path, &moved.etag(), cleared).await.expect(200);
    for field in ["group_id", "email", "valid_until", "recording_policy"] {
        assert_eq!(cleared.json()[field], Value::Null, "{field}");
    }
    ann.delete(&path, &cleared.etag()).await.expect(204);
    ann.get(&path).await.expect(404);
    let audit = world.audit("acme").await;
    let expected = [
        "groups.create",
        "users.create",
        "users.edit",
        "users.edit",
        "users.delete",
    ];
    assert_eq!(audit, expected);
}

#[tokio::test]
async fn the_audit_keeps_a_user_before_and_after() {
    let world = World::new().await;
    let bob = hired(&world, "bob", Preset::Agent, json!({ "name": "Bob" })).await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let body = json!({ "role_id": role_id("acme", Preset::Reader) });
    ann.put(&path(&bob), "*", body).await.expect(200);
    let states = world.catalog.audited_states_for_tests(tenant("acme")).await;
    let (before, after) = states.last().unwrap();
    assert_eq!(
        (&before["role"], &after["role"]),
        (&json!("Agent"), &json!("Reader"))
    );
    assert_eq!(after["login"], "bob");
    assert!(after.get("password").is_none());
}

#[tokio::test]
async fn a_login_is_unique_whatever_its_case_and_never_given_again() {
    let world = World::new().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let body = |login: &str| json!({ "login": login, "role_id": role_id("acme", Preset::Agent) });
    for (login, other) in [("Bob", "bOB"), ("Zoë", "ZOË")] {
        let made = ann.post("/users", body(login)).await.expect(201);
        let problem = ann.post("/users", body(other)).await.expect(409);
        assert_eq!(problem.json()["field"], "login");
        ann.delete(&made.location(), "*").await.expect(204);
        ann.post("/users", body(login)).await.expect(409);
        ann.post("/users", body(other)).await.expect(409);
    }
    let globex = world.user("globex", Preset::TenantAdministrator);
    let body = json!({ "login": "Bob", "role_id": role_id("globex", Preset::Agent) });
    globex.post("/users", body).await.expect(201);
    let bob = hired(&world, "bert", Preset::Agent, json!({})).await;
    let problem = ann
        .put(&path(&bob), "*", json!({ "login": "carl" }))
        .await
        .expect(422);
    assert_eq!(problem.json()["field"], "login");
    ann.put(&path(&bob), "*", json!({ "login": "bert" }))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_removed_user_leaves_a_login_and_that_calls_are_confidential() {
    let world = World::new().await;
    let more =
        json!({ "name": "Bob Canary", "email": "canary@acme.example", "confidential": true });
    let bob = hired(&world, "bob", Preset::Agent, more).await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    ann.delete(&path(&bob), "*").await.expect(204);
    let row = world
        .catalog
        .user_row_for_tests(tenant("acme"), "bob")
        .await;
    assert!(!row.contains("anary"), "{row}");
    assert!(row.contains("confidential=1 active=0"), "{row}");
}

#[tokio::test]
async fn a_foreign_user_and_an_absent_one_are_the_same() {
    let world = World::new().await;
    let bob = hired(&world, "bob", Preset::Agent, json!({})).await;
    let eve = world.user("globex", Preset::TenantAdministrator);
    let absent = format!("/users/{}", Uuid::from_u128(7));
    for path in [path(&bob).as_str(), &absent, "/users/bob"] {
        let effective = format!("{path}/effective-permissions");
        for answer in [
            eve.get(path).await,
            eve.put(path, "*", json!({ "active": false })).await,
            eve.delete(path, "*").await,
            eve.get(&effective).await,
        ] {
            let problem = json!({
                "type": "urn:callreel:problem:not_found", "title": "There is no such thing", "status": 404,
            });
            assert_eq!(answer.expect(404).json(), problem);
        }
    }
    assert_eq!(logins(&eve, "").await, [""; 0]);
    let other = format!("?tenant_id={}", world.tenant("acme"));
    assert_eq!(logins(&eve, &other).await, [""; 0]);
    // Nothing of another tenant can be named in one's own.
    let sales = group(&world, "Sales").await;
    for (field, value) in [
        ("group_id", sales.clone()),
        ("managed_groups", json!([sales])),
        ("role_id", json!(role_id("acme", Preset::Agent))),
        ("tenant_id", json!(world.tenant("acme"))),
    ] {
        let mut body = json!({ "login": "x", "role_id": role_id("globex", Preset::Agent) });
        body[field] = value;
        let problem = eve.post("/users", body).await.expect(422);
        assert_eq!(problem.json()["field"], field);
    }
}

#[tokio::test]
async fn every_preset_role_does_what_it_says() {
    let world = World::new().await;
    let sales = group(&world, "Sales").await;
    let bob = hired(&world, "bob", Preset::Agent, json!({ "group_id": sales })).await;
    for preset in Preset::ALL {
        let slug = match Preset::of_tenant(tenant("acme")).any(|one| one == preset) {
            true => "acme",
            false => "system",
        };
        let (list, show, create, edit) = match preset {
            Preset::RootAdministrator | Preset::Administrator | Preset::TenantAdministrator => {
                (200, 200, 201, 200)
            }
            // In charge of no group.
            Preset::Supervisor => (200, 404, 403, 403),
            Preset::Editor | Preset::Reader => (200, 200, 403, 403),
            Preset::Agent => (403, 403, 403, 403),
        };
        let asking = world.user(slug, preset);
        let name = preset.name();
        asking.get("/users").await.expect(list);
        asking.get(&path(&bob)).await.expect(show);
        let body = json!({
            "login": format!("of.{}", name.replace(' ', "")), "role_id": role_id("acme", Preset::Agent),
            "tenant_id": world.tenant("acme"),
        });
        let made = asking.post("/users", body).await.expect(create);
        asking
            .put(&path(&bob), "*", json!({ "name": name }))
            .await
            .expect(edit);
        if create == 201 {
            asking.delete(&made.location(), "*").await.expect(204);
        } else {
            asking.delete(&path(&bob), "*").await.expect(403);
        }
        asking.get("/permissions").await.expect(200);
    }
    world.nobody().get("/users").await.expect(401);
    world.nobody().get("/permissions").await.expect(401);
}

#[tokio::test]
async fn a_supervisor_sees_the_users_of_its_groups_and_an_agent_only_itself() {
    let world = World::new().await;
    let (sales, support) = (group(&world, "Sales").await, group(&world, "Support").await);
    let bob = hired(&world, "bob", Preset::Agent, json!({ "group_id": sales })).await;
    let carl = hired(
        &world,
        "carl",
        Preset::Agent,
        json!({ "group_id": support }),
    )
    .await;
    hired(&world, "dora", Preset::Agent, json!({})).await;
    let sue = hired(
        &world,
        "sue",
        Preset::Supervisor,
        json!({ "managed_groups": [sales] }),
    )
    .await;
    let asking = world.signed_in(&sue).await;
    assert_eq!(logins(&asking, "").await, ["bob"]);
    asking.get(&path(&carl)).await.expect(404);
    let groups = asking.get("/groups").await.expect(200).json();
    assert_eq!(groups["items"].as_array().unwrap().len(), 1);
    // An agent whose role lets it see users sees one.
    let root = world.user("system", Preset::RootAdministrator);
    let role = json!({
        "name": "Curious", "access_level": "user", "tenant_id": world.tenant("acme"),
        "permissions": {"users": ["view", "edit", "delete"], "groups": ["view"], "roles": ["view"]},
    });
    let role = root.post("/roles", role).await.expect(201).json();
    root.put(&path(&bob), "*", json!({ "role_id": role["role_id"] }))
        .await
        .expect(200);
    let asking = world.signed_in(&bob).await;
    assert_eq!(logins(&asking, "").await, ["bob"]);
    asking.get(&path(&carl)).await.expect(404);
    asking
        .put(&path(&bob), "*", json!({ "name": "Robert" }))
        .await
        .expect(200);
    for more in [
        json!({ "valid_until": "2190-01-01T00:00:00Z" }),
        json!({ "confidential": true }),
        json!({ "recording_policy": "none" }),
        json!({ "group_id": null }),
    ] {
        asking.put(&path(&bob), "*", more).await.expect(403);
    }
    let body = json!({ "login": "friend", "role_id": role["role_id"] });
    asking.post("/users", body).await.expect(403);
    // A group that is removed is nobody's reach, and its users are in none.
    let ann = world.user("acme", Preset::TenantAdministrator);
    let sales = format!("/groups/{}", sales.as_str().unwrap());
    ann.delete(&sales, "*").await.expect(204);
    let sue = ann.get(&path(&sue)).await.expect(200).json();
    assert_eq!(sue["managed_groups"], json!([]));
    assert_eq!(
        ann.get(&path(&bob)).await.expect(200).json()["group_id"],
        Value::Null
    );
    let asking = world.signed_in(&sue).await;
    assert_eq!(logins(&asking, "").await, [""; 0]);
}

/// A supervisor who may edit users.
async fn team_lead(world: &World, managed: &[&Value]) -> (Value, Value) {
    let role = json!({
        "name": "Team lead", "access_level": "managed_groups", "tenant_id": world.tenant("acme"),
        "permissions": {
            "users": ["view", "edit", "delete"], "groups": ["view", "edit"], "roles": ["view", "edit", "delete"],
            "calls": ["view", "playback", "add_notes"], "call_categories": ["view"], "call_notes": ["view"],
        },
    });
    let root = world.user("system", Preset::RootAdministrator);
    let role = root.post("/roles", role).await.expect(201).json();
    let more = json!({ "managed_groups": managed, "role_id": role["role_id"], "group_id": managed.first() });
    let lead = hired(world, "lead", Preset::Agent, more).await;
    (lead, role)
}

#[tokio::test]
async fn who_looks_after_groups_moves_users_between_these_only() {
    let world = World::new().await;
    let (sales, support) = (group(&world, "Sales").await, group(&world, "Support").await);
    let other = group(&world, "Other").await;
    let (lead, role) = team_lead(&world, &[&sales, &support]).await;
    let asking = world.signed_in(&lead).await;
    let agent = role_id("acme", Preset::Agent);
    let body = |group: &Value| json!({ "login": "bob", "role_id": agent, "group_id": group });
    for nowhere in [&other, &Value::Null] {
        let problem = asking.post("/users", body(nowhere)).await.expect(422);
        assert_eq!(problem.json()["field"], "group_id");
    }
    let bob = asking.post("/users", body(&sales)).await.expect(201).json();
    asking
        .put(&path(&bob), "*", json!({ "group_id": support }))
        .await
        .expect(200);
    for nowhere in [&other, &Value::Null] {
        let problem = asking
            .put(&path(&bob), "*", json!({ "group_id": nowhere }))
            .await;
        assert_eq!(problem.expect(422).json()["field"], "group_id");
    }
    // Nor does it widen its own reach, or make somebody who reaches further.
    let wider = json!({ "managed_groups": [sales, support, other] });
    for user in [&lead, &bob] {
        let answer = asking.put(&path(user), "*", wider.clone()).await;
        assert!(
            [403, 422].contains(&answer.status.as_u16()),
            "{}",
            answer.status
        );
    }
    let reader = json!({ "role_id": role_id("acme", Preset::Reader) });
    let problem = asking.put(&path(&bob), "*", reader).await.expect(403);
    assert_eq!(
        problem.json()["type"],
        "urn:callreel:problem:beyond_own_rights"
    );
    asking
        .post("/groups", json!({ "name": "Mine" }))
        .await
        .expect(403);
    let mut copy = role.clone();
    copy["name"] = json!("Copy");
    asking.post("/roles", copy.clone()).await.expect(403);
    let of_role = format!("/roles/{}", role["role_id"].as_str().unwrap());
    asking.put(&of_role, "*", role).await.expect(403);
}

#[tokio::test]
async fn groups_that_a_caller_does_not_see_are_neither_shown_nor_taken() {
    let world = World::new().await;
    let (sales, other) = (group(&world, "Sales").await, group(&world, "Other").await);
    let (lead, _) = team_lead(&world, &[&sales]).await;
    let more = json!({ "group_id": sales, "managed_groups": [sales, other] });
    let bob = hired(&world, "bob", Preset::Agent, more).await;
    let asking = world.signed_in(&lead).await;
    let seen = asking.get(&path(&bob)).await.expect(200).json();
    assert_eq!(seen["managed_groups"], json!([sales]));
    asking
        .put(&path(&bob), "*", json!({ "managed_groups": [] }))
        .await
        .expect(200);
    let ann = world.user("acme", Preset::TenantAdministrator);
    let all = ann.get(&path(&bob)).await.expect(200).json();
    assert_eq!(all["managed_groups"], json!([other]));
}

#[tokio::test]
async fn nobody_gets_in_as_who_looks_after_more_groups() {
    let world = World::new().await;
    let (north, south) = (group(&world, "North").await, group(&world, "South").await);
    let role = json!({
        "name": "Leader", "access_level": "managed_groups", "tenant_id": world.tenant("acme"),
        "permissions": {
            "users": ["view", "edit", "delete", "reset_password"], "calls": ["view"],
        },
    });
    let root = world.user("system", Preset::RootAdministrator);
    let role = root.post("/roles", role).await.expect(201).json()["role_id"].clone();
    let of =
        |groups: &[&Value]| json!({ "managed_groups": groups, "role_id": role, "group_id": north });
    let one = hired(&world, "one", Preset::Agent, of(&[&north])).await;
    let same = hired(&world, "same", Preset::Agent, of(&[&north])).await;
    let both = hired(&world, "both", Preset::Agent, of(&[&north, &south])).await;
    let asking = world.signed_in(&one).await;
    let is_refused = |tried: Tried| {
        let problem = tried.expect(403).json();
        assert_eq!(problem["detail"], "it is about groups that are not yours");
    };
    let password = |user: &Value| format!("{}/password", path(user));
    is_refused(asking.put(&password(&both), "*", json!({})).await);
    is_refused(
        asking
            .put(&password(&both), "*", json!({ "remove_totp": true }))
            .await,
    );
    is_refused(
        asking
            .delete(&format!("{}/sessions", path(&both)), "*")
            .await,
    );
    asking
        .put(&password(&same), "*", json!({}))
        .await
        .expect(200);
}

#[tokio::test]
async fn nobody_touches_a_user_who_may_do_more() {
    let world = World::new().await;
    let mut permissions = Permissions::default();
    permissions.allow(
        Resource::Users,
        &[Operation::View, Operation::Edit, Operation::Delete],
    );
    let clerk = Role {
        role_id: crate::base::RoleId(Uuid::from_u128(1)),
        name: "Clerk".into(),
        access_level: AccessLevel::System,
        tenant_id: None,
        permissions,
    };
    let asking = world.somebody("acme", &clerk);
    let boss = hired(&world, "boss", Preset::TenantAdministrator, json!({})).await;
    let off = hired(
        &world,
        "off",
        Preset::TenantAdministrator,
        json!({ "active": false }),
    )
    .await;
    for answer in [
        asking.put(&path(&boss), "*", json!({ "name": "x" })).await,
        asking
            .put(&path(&boss), "*", json!({ "active": false }))
            .await,
        asking
            .put(&path(&off), "*", json!({ "active": true }))
            .await,
        asking
            .put(&path(&off), "*", json!({ "email": "eve@evil.example" }))
            .await,
        asking.delete(&path(&boss), "*").await,
        asking
            .post(
                "/users",
                json!({ "login": "x", "role_id": role_id("acme", Preset::Agent) }),
            )
            .await,
    ] {
        let problem = answer.expect(403).json();
        assert_eq!(problem["type"], "urn:callreel:problem:beyond_own_rights");
    }
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let world = World::new().await;
    let ann = hired(&world, "ann", Preset::TenantAdministrator, json!({})).await;
    let asking = world.signed_in(&ann).await;
    let demoted = json!({ "role_id": role_id("acme", Preset::Reader) });
    let ending = json!({ "valid_until": "2150-01-01T00:00:00Z" });
    for answer in [
        asking.delete(&path(&ann), "*").await,
        asking
            .put(&path(&ann), "*", json!({ "active": false }))
            .await,
        asking.put(&path(&ann), "*", demoted.clone()).await,
        asking.put(&path(&ann), "*", ending.clone()).await,
    ] {
        let problem = answer.expect(409).json();
        assert_eq!(problem["type"], "urn:callreel:problem:last_administrator");
    }
    // Another one whose time ends, or who is not active, does not do.
    let ending_too = hired(&world, "tmp", Preset::TenantAdministrator, ending).await;
    hired(
        &world,
        "off",
        Preset::TenantAdministrator,
        json!({ "active": false }),
    )
    .await;
    asking
        .put(&path(&ann), "*", demoted.clone())
        .await
        .expect(409);
    asking.delete(&path(&ending_too), "*").await.expect(204);
    let bert = hired(&world, "bert", Preset::TenantAdministrator, json!({})).await;
    asking.put(&path(&ann), "*", demoted).await.expect(200);
    // The System tenant's people may, for they administer the tenant then; but not in their own.
    let root = world.user("system", Preset::RootAdministrator);
    root.delete(&path(&bert), "*").await.expect(204);
    let body = json!({ "login": "root", "role_id": role_id("system", Preset::RootAdministrator) });
    let only = root.post("/users", body).await.expect(201);
    root.delete(&only.location(), "*").await.expect(409);
    root.put(&only.location(), "*", json!({ "active": false }))
        .await
        .expect(409);
}

#[tokio::test]
async fn the_last_who_reaches_everything_stays_for_nobody_else_could_make_another() {
    let world = World::new().await;
    let root = world.user("system", Preset::RootAdministrator);
    let made = async |login: &str, preset| {
        let body = json!({ "login": login, "role_id": role_id("system", preset) });
        root.post("/users", body).await.expect(201).location()
    };
    made("adam", Preset::Administrator).await;
    let only = made("ruth", Preset::RootAdministrator).await;
    let lesser = json!({ "role_id": role_id("system", Preset::Administrator) });
    for answer in [
        root.delete(&only, "*").await,
        root.put(&only, "*", json!({ "active": false })).await,
        root.put(&only, "*", lesser.clone()).await,
    ] {
        let problem = answer.expect(409).json();
        assert_eq!(problem["type"], "urn:callreel:problem:last_administrator");
    }
    made("rose", Preset::RootAdministrator).await;
    root.put(&only, "*", lesser).await.expect(200);
}

#[tokio::test]
async fn nobody_extends_their_own_time() {
    let world = World::new().await;
    let until = json!({ "valid_until": "2150-01-01T00:00:00Z" });
    let tmp = hired(&world, "tmp", Preset::TenantAdministrator, until).await;
    hired(&world, "ann", Preset::TenantAdministrator, json!({})).await;
    let asking = world.signed_in(&tmp).await;
    for later in [json!("2151-01-01T00:00:00Z"), Value::Null] {
        let answer = asking
            .put(&path(&tmp), "*", json!({ "valid_until": later }))
            .await;
        answer.expect(403);
    }
    let sooner = json!({ "valid_until": "2149-01-01T00:00:00Z" });
    asking.put(&path(&tmp), "*", sooner).await.expect(200);
}

#[tokio::test]
async fn hostile_text_is_refused_or_comes_out_as_it_went_in() {
    let world = World::new().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let agent = role_id("acme", Preset::Agent);
    for (field, value) in [
        ("login", "an n"),
        ("login", ""),
        ("login", "a\u{202e}b"),
        ("login", "a\u{0}b"),
        ("name", "Bob\r\nX: y"),
        ("name", "\u{2066}x"),
        ("email", "a@b.example\nBcc: c@d.example"),
        ("email", "a"),
        ("valid_until", "soon"),
    ] {
        let mut body = json!({ "login": "bob", "role_id": agent });
        body[field] = json!(value);
        let problem = ann.post("/users", body).await.expect(422);
        assert_eq!(problem.json()["field"], field);
    }
    for (number, name) in [
        "=cmd|' /C calc'!A0",
        "<script>alert(1)</script>",
        "'; DROP TABLE users; --",
        "%_\\",
    ]
    .iter()
    .enumerate()
    {
        let body = json!({ "login": format!("u{number}"), "name": name, "role_id": agent });
        let made = ann.post("/users", body).await.expect(201).json();
        assert_eq!(made["name"], *name);
    }
    assert_eq!(logins(&ann, "?text=%25_%5C").await, ["u3"]);
    assert_eq!(logins(&ann, "?text=%27%3B%20drop").await, ["u2"]);
    for wrong in [
        json!({ "role_id": null }),
        json!({ "active": null }),
        json!({ "pin": 1 }),
        json!("x"),
    ] {
        ann.put("/users/00000000-0000-4000-8000-000000000000", "*", wrong)
            .await
            .expect(422);
    }
}

#[tokio::test]
async fn a_list_is_filtered_and_comes_page_by_page() {
    let world = World::new().await;
    let sales = group(&world, "Sales").await;
    for (login, preset, more) in [
        ("delta", Preset::Agent, json!({ "group_id": sales })),
        (
            "Alpha",
            Preset::Reader,
            json!({ "email": "first@acme.example" }),
        ),
        (
            "charlie",
            Preset::Agent,
            json!({ "active": false, "name": "Charles" }),
        ),
        ("Bravo", Preset::Agent, json!({ "group_id": sales })),
    ] {
        hired(&world, login, preset, more).await;
    }
    let ann = world.user("acme", Preset::TenantAdministrator);
    let all = ["Alpha", "Bravo", "charlie", "delta"];
    assert_eq!(logins(&ann, "").await, all);
    assert_eq!(
        logins(&ann, &format!("?group_id={}", sales.as_str().unwrap())).await,
        ["Bravo", "delta"]
    );
    let reader = role_id("acme", Preset::Reader);
    assert_eq!(logins(&ann, &format!("?role_id={reader}")).await, ["Alpha"]);
    assert_eq!(logins(&ann, "?active=false").await, ["charlie"]);
    assert_eq!(logins(&ann, "?text=CHARLES").await, ["charlie"]);
    assert_eq!(logins(&ann, "?text=first@").await, ["Alpha"]);
    assert_eq!(logins(&ann, "?login=ALPHA").await, ["Alpha"]);
    let mut found = Vec::new();
    let mut query = "?limit=1".to_owned();
    loop {
        found.extend(logins(&ann, &query).await);
        let page = ann.get(&format!("/users{query}")).await.json();
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("?limit=1&after={next}");
    }
    assert_eq!(found, all);
    for (wrong, status) in [
        ("?active=perhaps", 400),
        ("?after=x", 400),
        ("?limit=501", 422),
        ("?size=1", 400),
    ] {
        ann.get(&format!("/users{wrong}")).await.expect(status);
    }
}

#[tokio::test]
async fn what_a_user_may_do_is_told_with_its_reasons() {
    let world = World::new().await;
    let sales = group(&world, "Sales").await;
    let sue = hired(
        &world,
        "sue",
        Preset::Supervisor,
        json!({ "managed_groups": [sales] }),
    )
    .await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let of_sue = format!("{}/effective-permissions", path(&sue));
    let told = ann.get(&of_sue).await.expect(200).json();
    assert_eq!(told["may_act"], true);
    assert_eq!(told["role"]["name"], "Supervisor");
    assert_eq!(told["access_level"], "managed_groups");
    assert_eq!(
        told["reach"]["groups"],
        json!([{ "id": sales, "name": "Sales" }])
    );
    assert_eq!(told["permissions"], told["role"]["permissions"]);
    // One asks it of oneself without further rights, though a supervisor is in no group of its own.
    assert_eq!(
        world
            .signed_in(&sue)
            .await
            .get(&of_sue)
            .await
            .expect(200)
            .json(),
        told
    );
    let bob = hired(&world, "bob", Preset::Agent, json!({})).await;
    let of_bob = format!("{}/effective-permissions", path(&bob));
    let told = world
        .signed_in(&bob)
        .await
        .get(&of_bob)
        .await
        .expect(200)
        .json();
    assert_eq!(told["reach"]["login"], "bob");
    world.signed_in(&bob).await.get(&of_sue).await.expect(403);
    world.signed_in(&sue).await.get(&of_bob).await.expect(404);
    let body = json!({ "active": false, "valid_until": "2001-01-01T00:00:00Z", "must_change_password": true });
    ann.put(&path(&sue), "*", body).await.expect(200);
    let told = ann.get(&of_sue).await.expect(200).json();
    assert_eq!(
        (&told["may_act"], &told["permissions"]),
        (&json!(false), &json!({}))
    );
    let codes: Vec<_> = told["limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|limit| &limit["code"])
        .collect();
    assert_eq!(codes, ["inactive", "expired", "must_change_password"]);
}

#[tokio::test]
async fn permissions_list_all_that_roles_can_say() {
    let world = World::new().await;
    let told = world
        .user("acme", Preset::Agent)
        .get("/permissions")
        .await
        .expect(200)
        .json();
    let mut all = Permissions::default();
    for resource in told["resources"].as_array().unwrap() {
        let name = Resource::named(resource["name"].as_str().unwrap()).unwrap();
        for operation in resource["operations"].as_array().unwrap() {
            assert!(operation["description"].as_str().unwrap().len() > 5);
            all.allow(
                name,
                &[Operation::named(operation["name"].as_str().unwrap()).unwrap()],
            );
        }
    }
    assert_eq!(all, Permissions::all());
    assert_eq!(told["access_levels"][0]["name"], "root");
}

/// The rights of a tenant's administrator who may not see confidential calls.
fn without_confidential() -> Role {
    let all = Preset::TenantAdministrator.permissions();
    let mut permissions = Permissions::default();
    for (resource, operation) in all.iter() {
        if operation != Operation::ViewConfidential {
            permissions.allow(resource, &[operation]);
        }
    }
    Role {
        permissions,
        ..Preset::TenantAdministrator.role(tenant("acme"))
    }
}

#[tokio::test]
async fn who_may_not_see_confidential_calls_does_not_get_to_them_through_the_user() {
    let world = World::new().await;
    let more = json!({ "confidential": true, "email": "chief@acme.example" });
    let chief = hired(&world, "chief", Preset::Agent, more).await;
    let plain = hired(&world, "bob", Preset::Agent, json!({})).await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let account = |name: &str, user: &Value| json!({ "name": name, "reason": "abc", "responsible_id": user["id"], "permissions": { "calls": ["view"] } });
    let made = ann.post("/service-accounts", account("CRM", &chief)).await;
    let made = made.expect(201);
    let snoop = world.somebody("acme", &without_confidential());
    let new = json!({
        "login": "new", "role_id": role_id("acme", Preset::Agent), "confidential": true,
    });
    let tokens = format!("{}/tokens", made.location());
    let password = format!("{}/password", path(&chief));
    let edit = async |edit: Value| snoop.put(&path(&chief), "*", edit).await;
    for refused in [
        edit(json!({ "confidential": false })).await,
        edit(json!({ "email": "snoop@acme.example" })).await,
        edit(json!({ "email": null })).await,
        snoop
            .put(&path(&plain), "*", json!({ "confidential": true }))
            .await,
        snoop.put(&password, "*", json!({})).await,
        snoop
            .put(&password, "*", json!({ "remove_totp": true }))
            .await,
        snoop
            .post("/service-accounts", account("spy", &chief))
            .await,
        snoop
            .put(&made.location(), "*", account("CRM", &chief))
            .await,
        snoop.post(&tokens, json!({ "expires_in_days": 1 })).await,
        snoop.post("/users", new).await,
    ] {
        let problem = refused.expect(403).json();
        assert_eq!(problem["type"], "urn:callreel:problem:beyond_own_rights");
        assert_eq!(
            problem["detail"],
            "you do not hold calls: view_confidential"
        );
    }
    // All else about them is an administrator's work.
    edit(json!({ "name": "The chief" })).await.expect(200);
    snoop
        .put(&format!("{}/password", path(&plain)), "*", json!({}))
        .await
        .expect(200);
    snoop
        .post("/service-accounts", account("plain", &plain))
        .await
        .expect(201);
    let shown = ann.get(&path(&chief)).await.expect(200).json();
    assert_eq!(
        (&shown["confidential"], &shown["email"], &shown["name"]),
        (
            &json!(true),
            &json!("chief@acme.example"),
            &json!("The chief")
        )
    );
    ann.put(&path(&chief), "*", json!({ "confidential": false }))
        .await
        .expect(200);
}
