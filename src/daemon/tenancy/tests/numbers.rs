use super::*;

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
async fn who_may_not_see_confidential_calls_takes_no_number_from_such_users() {
    let running = Running::new("", &[]).await;
    running.give_rules("acme", "10.1.0.0/16").await;
    let extension = running.extension("acme", "number", "100").await;
    let path = format!("{extension}/allocations");
    let acme = running.acme();
    let role = Preset::Agent.role_id(tenant("acme")).0;
    let chief = json!({ "login": "chief", "role_id": role, "confidential": true });
    let chief = acme.post("/users", chief).await.expect(201);
    let id = chief.json()["id"].clone();
    let given = acme.post(&path, json!({ "user_id": id })).await.expect(201);
    let ben = running.user("acme", "ben").await.0;

    let mut role = Preset::TenantAdministrator.role(tenant("acme"));
    let of_calls = Resource::Calls.operations().iter().copied();
    let but_one = of_calls.filter(|one| *one != Operation::ViewConfidential);
    role.permissions.forbid(Resource::Calls);
    role.permissions
        .allow(Resource::Calls, &but_one.collect::<Vec<_>>());
    let clerk = running.world.somebody("acme", &role);
    let replace = || json!({ "user_id": ben, "replace": true });
    let patch = async |end: Value| {
        let body = json!({ "valid_to": end });
        let version = [("if-match", "*")];
        let method = axum::http::Method::PATCH;
        let place = given.location();
        clerk.ask(method, &place, &version, Some(body)).await
    };
    let refused = [
        clerk.post(&path, replace()).await,
        clerk.delete(&given.location(), "*").await,
        patch(json!(later(60))).await,
        clerk.delete(&chief.location(), "*").await,
    ];
    for refused in refused {
        let problem = refused.expect(403).json();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("view_confidential"), "{problem}");
    }
    assert_eq!(
        running.caller("100", "10.1.0.1").unwrap().1.as_deref(),
        Some("chief")
    );
    // What is no loss, and who is nobody special.
    patch(Value::Null).await.expect(200);
    acme.post(&path, replace()).await.expect(201);
    clerk
        .post(&path, json!({ "user_id": id, "replace": true }))
        .await
        .expect(201);
    acme.delete(&chief.location(), "*").await.expect(204);
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
