use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_tenants_have_one_name() {
    let running = Running::new(DAEMON, &[("filed.toml", FILED)]).await;
    let root = running.root();
    let body = |name: &str, slug: &str| json!({ "name": name, "slug": slug });
    let made = root.post("/tenants", body("Zoë Ltd", "zoe")).await;
    let path = format!(
        "/tenants/{}",
        made.expect(201).json()["id"].as_str().unwrap()
    );
    for name in ["ZOË LTD", "filed ltd"] {
        let taken = root.post("/tenants", body(name, "another")).await;
        assert_eq!(taken.expect(409).json()["field"], "name", "{name}");
    }
    let taken = root.put(&path, "*", body("FILED Ltd", "zoe")).await;
    assert_eq!(taken.expect(409).json()["field"], "name");
    root.put(&path, "*", body("ZOË Ltd", "zoe"))
        .await
        .expect(200);
    root.delete(&path, "*").await.expect(204);
    root.post("/tenants", body("Zoë Ltd", "another"))
        .await
        .expect(201);
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
    // What the request holds is at fault, not the rules that were there.
    assert_eq!(problem["field"], "prefix");
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
        (
            json!({ "name": "x", "slug": "11111111-1111-1111-1111-111111111111" }),
            "slug",
        ),
        (
            json!({ "name": "x", "slug": "a0000000000040008000000000000002" }),
            "slug",
        ),
        (json!({ "name": "x", "plan": "tin" }), "plan"),
        (json!({ "name": "x", "timezone": "London" }), "timezone"),
        (
            json!({ "name": "x", "timezone": "Mars/Phobos" }),
            "timezone",
        ),
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
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("3 active users")
    );
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
