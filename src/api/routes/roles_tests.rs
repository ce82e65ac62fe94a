use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::Preset;
use crate::api::testing::{World, tenant};

fn lead() -> Value {
    json!({ "name": "Lead", "access_level": "system", "permissions": {"users": ["view"], "calls": ["view", "playback"]} })
}

#[tokio::test]
async fn a_role_is_made_read_edited_and_removed() {
    let world = World::new().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let made = ann.post("/roles", lead()).await.expect(201);
    let path = made.location();
    let read = ann.get(&path).await.expect(200);
    let text = String::from_utf8(read.body.clone()).unwrap();
    let id = made.json()["role_id"].as_str().unwrap().to_owned();
    assert_eq!(
        text,
        format!(
            r#"{{"role_id":"{id}","name":"Lead","access_level":"system","tenant_id":"{}","permissions":{}}}"#,
            world.tenant("acme"),
            r#"{"users":["view"],"calls":["view","playback"]}"#
        )
    );
    let mut edit = read.json();
    edit["permissions"]["calls"] = json!(["view"]);
    let edited = ann.put(&path, &read.etag(), edit.clone()).await.expect(200);
    assert_eq!(edited.json(), edit);
    ann.put(&path, &read.etag(), edit.clone()).await.expect(412);
    edit["role_id"] = json!(Uuid::from_u128(7));
    ann.put(&path, "*", edit).await.expect(422);
    ann.delete(&path, &edited.etag()).await.expect(204);
    ann.get(&path).await.expect(404);
    let audit = world.audit("acme").await;
    assert_eq!(audit, ["roles.create", "roles.edit", "roles.delete"]);
    let states = world.catalog.audited_states_for_tests(tenant("acme")).await;
    assert_eq!(
        states[1].0["permissions"]["calls"],
        json!(["view", "playback"])
    );
    assert_eq!(states[1].1["permissions"]["calls"], json!(["view"]));
}

#[tokio::test]
async fn presets_come_first_and_are_copied_but_not_changed() {
    let world = World::new().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    for name in ["delta", "Alpha", "charlie"] {
        let mut body = lead();
        body["name"] = json!(name);
        ann.post("/roles", body).await.expect(201);
    }
    let mut names = Vec::new();
    let mut path = "/roles?limit=2".to_owned();
    loop {
        let page = ann.get(&path).await.expect(200).json();
        for item in page["items"].as_array().unwrap() {
            names.push(item["name"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/roles?limit=2&after={next}");
    }
    let expected = [
        "Tenant Administrator",
        "Supervisor",
        "Editor",
        "Reader",
        "Agent",
        "Alpha",
        "charlie",
        "delta",
    ];
    assert_eq!(names, expected);
    let supervisor = format!("/roles/{}", Preset::Supervisor.role_id(tenant("acme")));
    let preset = ann.get(&supervisor).await.expect(200);
    for answer in [
        ann.put(&supervisor, &preset.etag(), preset.json()).await,
        ann.delete(&supervisor, &preset.etag()).await,
    ] {
        assert_eq!(
            answer.expect(409).json()["type"],
            "urn:callreel:problem:read_only"
        );
    }
    let mut copy = preset.json();
    assert_eq!(
        ann.post("/roles", copy.clone()).await.expect(409).json()["field"],
        "name"
    );
    copy["name"] = json!("Shift supervisor");
    let copied = ann.post("/roles", copy.clone()).await.expect(201).json();
    assert_ne!(copied["role_id"], copy["role_id"]);
    copy["role_id"] = copied["role_id"].clone();
    assert_eq!(copied, copy);
}

#[tokio::test]
async fn a_foreign_role_and_an_absent_one_are_the_same() {
    let world = World::new().await;
    let globex = world.user("globex", Preset::TenantAdministrator);
    let foreign = globex.post("/roles", lead()).await.expect(201).location();
    let ann = world.user("acme", Preset::TenantAdministrator);
    let presets = [
        Preset::Reader.role_id(tenant("globex")),
        Preset::RootAdministrator.role_id(tenant("system")),
        Preset::RootAdministrator.role_id(tenant("acme")),
    ];
    let presets = presets.map(|id| format!("/roles/{id}"));
    let absent = format!("/roles/{}", Uuid::from_u128(7));
    for path in presets.iter().chain([&foreign, &absent]) {
        for answer in [
            ann.get(path).await,
            ann.put(path, "*", lead()).await,
            ann.delete(path, "*").await,
        ] {
            let problem = json!({
                "type": "urn:callreel:problem:not_found", "title": "There is no such thing", "status": 404,
            });
            assert_eq!(answer.expect(404).json(), problem);
        }
    }
    let other = format!("/roles?tenant_id={}", world.tenant("globex"));
    assert_eq!(ann.get(&other).await.expect(200).json()["items"], json!([]));
    let mut body = lead();
    body["tenant_id"] = json!(world.tenant("globex"));
    assert_eq!(
        ann.post("/roles", body).await.expect(422).json()["field"],
        "tenant_id"
    );
    // A System administrator sees the roles of any tenant, by list and by id.
    let root = world.user("system", Preset::RootAdministrator);
    root.get(&foreign).await.expect(200);
    root.get(&presets[0]).await.expect(200);
    assert_eq!(
        root.get(&other).await.expect(200).json()["items"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
}

#[tokio::test]
async fn nobody_makes_or_changes_a_role_beyond_the_own_rights() {
    let world = World::new().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let body = |level: &str, permissions: Value| json!({ "name": "New", "access_level": level, "permissions": permissions });
    for (level, permissions) in [
        ("root", json!({})),
        ("system", json!({"tenants": ["view"]})),
        ("user", json!({"extensions": ["edit"]})),
    ] {
        let answer = ann.post("/roles", body(level, permissions)).await;
        assert!([403, 422].contains(&answer.status.as_u16()), "{level}");
    }
    let root = world.user("system", Preset::RootAdministrator);
    let mut of_root = body("root", json!({}));
    of_root["tenant_id"] = json!(world.tenant("acme"));
    assert_eq!(
        root.post("/roles", of_root).await.expect(422).json()["field"],
        "access_level"
    );
    root.post("/roles", body("root", json!({})))
        .await
        .expect(201);
    let mut wide = body("system", json!({"plans": ["view"]}));
    wide["tenant_id"] = json!(world.tenant("acme"));
    let wide = root.post("/roles", wide).await.expect(201).location();
    ann.get(&wide).await.expect(200);
    for answer in [
        ann.put(&wide, "*", body("system", json!({}))).await,
        ann.delete(&wide, "*").await,
    ] {
        let problem = answer.expect(403).json();
        assert_eq!(problem["detail"], "you do not hold plans: view");
    }
    // What may be taken away from a role may be taken by who holds it.
    let system = world.user("system", Preset::Administrator);
    system
        .put(&wide, "*", body("system", json!({})))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_role_in_use_stays_and_the_last_administrators_role_too() {
    let world = World::new().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let mut chief = lead();
    chief["permissions"]["users"] = json!(["view", "edit"]);
    let role = ann.post("/roles", chief).await.expect(201);
    let user = json!({ "login": "chief", "role_id": role.json()["role_id"] });
    let user = ann.post("/users", user).await.expect(201);
    let problem = ann.delete(&role.location(), "*").await.expect(409).json();
    assert_eq!(problem["type"], "urn:callreel:problem:in_use");
    let less = lead();
    let problem = ann
        .put(&role.location(), "*", less.clone())
        .await
        .expect(409)
        .json();
    assert_eq!(problem["type"], "urn:callreel:problem:last_administrator");
    let second = json!({ "login": "second", "role_id": Preset::TenantAdministrator.role_id(tenant("acme")) });
    ann.post("/users", second).await.expect(201);
    ann.put(&role.location(), "*", less).await.expect(200);
    ann.delete(&user.location(), "*").await.expect(204);
    ann.delete(&role.location(), "*").await.expect(204);
}

#[tokio::test]
async fn what_is_no_role_is_refused_with_the_field() {
    let world = World::new().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    for (field, value) in [
        ("access_level", json!("emperor")),
        ("permissions.recordings", json!({"recordings": ["view"]})),
        ("permissions.groups", json!({"groups": ["playback"]})),
        ("name", json!("")),
        ("name", json!("a\nb")),
        ("name", json!(null)),
    ] {
        let mut body = lead();
        body[field.split('.').next().unwrap()] = value;
        let problem = ann.post("/roles", body).await.expect(422).json();
        let found = problem["field"].as_str().unwrap();
        assert!(field.starts_with(found), "{problem}");
    }
}

#[tokio::test]
async fn the_preset_roles_see_and_change_roles_as_they_say() {
    let world = World::new().await;
    for preset in Preset::ALL {
        let slug = match Preset::of_tenant(tenant("acme")).any(|one| one == preset) {
            true => "acme",
            false => "system",
        };
        let (view, edit) = match preset {
            Preset::RootAdministrator | Preset::Administrator | Preset::TenantAdministrator => {
                (200, 201)
            }
            Preset::Reader => (200, 403),
            Preset::Supervisor | Preset::Editor | Preset::Agent => (403, 403),
        };
        let asking = world.user(slug, preset);
        asking.get("/roles").await.expect(view);
        let mut body = lead();
        body["name"] = json!(format!("Of {}", preset.name()));
        asking.post("/roles", body).await.expect(edit);
    }
    world.nobody().get("/roles").await.expect(401);
}
