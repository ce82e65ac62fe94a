use super::*;

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
    let start = move || Watching::start(of_thread, Home::new(&url), nudges).unwrap();
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
