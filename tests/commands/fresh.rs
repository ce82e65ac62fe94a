//! People and tenants before the daemon has ever run, and a directory that is made of files and of the catalog.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use callreel::access::{Event, Principal};
use callreel::base::{TenantId, Timestamp};
use callreel::catalog::{Catalog, ExtensionRow, extension_id};
use serde_json::json;
use tempfile::TempDir;

use super::world::{Output, callreel};

const DAEMON: &str = "[catalog]\nurl = \"sqlite://catalog.db\"\n[storage]\nroot = \"recordings\"\n\
    [plans.small]\nusers = 2\nfeatures = [\"download\"]\n[plans.big]\nusers = 10\n";

fn acme(plan: &str, slug: &str) -> String {
    format!(
        "[tenant]\nid = \"34c7f1f6-9201-11e5-a739-e03f497dbdff\"\nname = \"Acme Ltd\"\nslug = \"{slug}\"\nplan = \"{plan}\"\n\n\
         [[match]]\nnetworks = [\"10.20.0.0/16\"]\n\n[[extension]]\nnumber = \"1001\"\nuser = \"ann\"\n\n\
         [[extension]]\nrange = \"1100-1199\"\n"
    )
}

struct Fresh(TempDir);

impl Fresh {
    fn new(plan: &str) -> Fresh {
        let fresh = Fresh(tempfile::tempdir().unwrap());
        fs::create_dir(fresh.0.path().join("tenants")).unwrap();
        fs::write(fresh.0.path().join("callreel.toml"), DAEMON).unwrap();
        fresh.write(&acme(plan, "acme"));
        fresh
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, tenant: &str) {
        fs::write(self.path().join("tenants/acme.toml"), tenant).unwrap();
    }

    fn run(&self, line: &str) -> Output {
        let words: Vec<&str> = line
            .split(' ')
            .chain(["--config", "callreel.toml"])
            .collect();
        callreel(self.path(), &words, "")
    }
}

#[test]
fn people_of_a_configured_tenant_are_made_before_the_daemon_has_ever_run() {
    let fresh = Fresh::new("big");
    let first = fresh.run("user create ann --tenant acme").exits(0);
    assert!(
        first
            .out
            .starts_with("ann is Tenant Administrator of Acme Ltd\none-time password: "),
        "{}",
        first.out
    );
    assert!(first.err.contains("made the catalog"), "{}", first.err);
    let mode = fs::metadata(fresh.path().join("catalog.db"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o027, 0, "nobody else reads it");
    fresh.run("group create Sales --tenant acme").exits(0);
    fresh
        .run("role create Lead --tenant acme --copy Supervisor")
        .exits(0);
    fresh
        .run("user edit ann --tenant acme --group Sales")
        .exits(0);
    let token = fresh
        .run("token create crm --tenant acme --responsible ann --reason trial --allow calls:view");
    assert!(token.exits(0).out.starts_with("crl_"));
    let shown = fresh
        .run("user show ann --tenant acme --json")
        .exits(0)
        .json();
    assert_eq!(shown["extensions"][0]["extension"], "1001");
    let nobody = fresh.run("user create ann --tenant globex").exits(2);
    assert!(
        nobody.err.contains("there is no tenant `globex`"),
        "{}",
        nobody.err
    );
    // Its people's name for it is that of the file, also when that is changed there.
    fresh.write(&acme("big", "acme-uk"));
    fresh.run("user show ann --tenant acme-uk").exits(0);
    fresh.run("user show ann --tenant acme").exits(2);
}

#[test]
fn what_only_looks_makes_no_catalog() {
    let fresh = Fresh::new("big");
    let looks = [
        "tenant list",
        "tenant show acme",
        "plan list",
        "extension list",
        "user list",
        "user password ann --tenant acme",
        "user edit ann --tenant acme --active no",
        "group list",
        "role list --tenant acme",
        "token list",
        "audit list",
        "calls",
    ];
    for line in looks {
        let refused = fresh.run(line).exits(2);
        assert!(
            refused.err.contains("there is no catalog"),
            "{line}: {}",
            refused.err
        );
        assert!(!fresh.path().join("catalog.db").exists(), "{line}");
    }
    let made = fresh.run("tenant create --name Globex").exits(0);
    assert!(made.err.contains("made the catalog"), "{}", made.err);
    fresh.run("tenant show globex").exits(0);
    for line in ["extension list acme", "extension list --tenant acme"] {
        let listed = fresh.run(line).exits(0);
        assert!(listed.out.contains("1001"), "{line}: {}", listed.out);
    }
    let listed = fresh.run("extension list --tenant globex").exits(0);
    assert!(!listed.out.contains("1001"), "{}", listed.out);
}

#[test]
fn a_catalog_is_not_made_where_its_folder_is_not() {
    let fresh = Fresh::new("big");
    let away = DAEMON.replace("sqlite://catalog.db", "sqlite:///nowhere/at/all/catalog.db");
    fs::write(fresh.path().join("callreel.toml"), away).unwrap();
    let refused = fresh.run("user create ann --tenant acme").exits(2);
    assert!(
        refused
            .err
            .contains("there is no folder /nowhere/at/all for the catalog"),
        "{}",
        refused.err
    );
}

#[test]
fn the_plan_holds_on_the_command_line_too() {
    let fresh = Fresh::new("small");
    fresh.run("user create ann --tenant acme").exits(0);
    fresh
        .run("user create ben --tenant acme --role Agent")
        .exits(0);
    let full = |output: Output| {
        let output = output.exits(2);
        assert!(
            output.err.contains("2 active users, and it has 2"),
            "{}",
            output.err
        );
    };
    full(fresh.run("user create cid --tenant acme --role Agent"));
    fresh
        .run("user edit ben --tenant acme --active no")
        .exits(0);
    fresh
        .run("user create cid --tenant acme --role Agent")
        .exits(0);
    full(fresh.run("user edit ben --tenant acme --active yes"));
    let refused = fresh
        .run("token create crm --tenant acme --responsible ann --reason trial --allow calls:view")
        .exits(2);
    assert!(
        refused.err.contains("the tenant's plan lacks api_access"),
        "{}",
        refused.err
    );
    // The System tenant's people are not part of any plan.
    for login in ["root", "second", "third"] {
        let line = format!("user create {login}");
        match login {
            "root" => fresh.run(&line).exits(0),
            _ => fresh.run(&(line + " --role Administrator")).exits(0),
        };
    }
}

#[test]
fn only_the_first_user_of_a_tenant_becomes_an_administrator_unasked() {
    let fresh = Fresh::new("big");
    let role = |output: Output| output.exits(0).json()["role"].as_str().unwrap().to_owned();
    assert_eq!(
        role(fresh.run("user create root --json")),
        "Root Administrator"
    );
    assert_eq!(
        role(fresh.run("user create ann --tenant acme --json")),
        "Tenant Administrator"
    );
    for line in ["user create ben", "user create ben --tenant acme"] {
        let refused = fresh.run(line).exits(2);
        assert!(refused.err.contains("--role"), "{}", refused.err);
        assert!(refused.err.contains("Reader, Agent"), "{}", refused.err);
        assert!(!refused.out.contains("one-time"), "{}", refused.out);
    }
    assert_eq!(
        role(fresh.run("user create ben --tenant acme --role agent --json")),
        "Agent"
    );
}

#[test]
fn a_match_knows_the_tenants_and_allocations_of_the_catalog() {
    let fresh = Fresh::new("big");
    let caller = |number: &str, address: &str| {
        fresh.run(&format!(
            "match --json --caller {number} --callee 5 --from-address {address}"
        ))
    };
    caller("1150", "10.20.0.7").exits(0);
    fresh.run("user create ann --tenant acme").exits(0);
    fresh
        .run("user create ben --tenant acme --role Agent")
        .exits(0);
    fresh.run("extension allocate acme 1150 ben").exits(0);
    let found = caller("1150", "10.20.0.7").exits(0).json();
    assert_eq!(found["attribution"]["caller"]["user"], "ben");
    fs::write(
        fresh.path().join("made.json"),
        r#"{ "match": [{ "networks": ["10.30.0.0/16"] }] }"#,
    )
    .unwrap();
    let made = fresh
        .run("tenant create --name Globex --plan small --rules made.json --json")
        .exits(0)
        .json();
    let globex: TenantId = made["id"].as_str().unwrap().parse().unwrap();
    caller("1150", "10.30.0.7").exits(1);
    create_range(fresh.path(), globex, "1100-1199");
    let found = caller("1150", "10.30.0.7").exits(0).json();
    assert_eq!(found["recordings"][0]["tenant"], "Globex");
    let table = fresh.run("check").exits(0);
    let line = table
        .out
        .lines()
        .find(|line| line.starts_with("Globex"))
        .unwrap();
    assert!(
        line.contains(" small ") && line.ends_with(" catalog"),
        "{line}"
    );
    fresh.run("tenant suspend globex").exits(0);
    let found = caller("1150", "10.30.0.7").exits(0).json();
    assert_eq!(found["recordings"][0]["recorded"], json!(false));

    // A file that claims what a tenant of the catalog has is named, with both, before a daemon refuses it.
    fresh.write(&acme("big", "acme").replace("10.20.0.0/16", "10.30.0.0/16"));
    let clash = fresh.run("check").exits(2);
    for expected in [
        "the catalog contradicts the files",
        "tenants/acme.toml",
        "Globex",
        "a running daemon does not take these files",
    ] {
        assert!(clash.err.contains(expected), "{expected}\n{}", clash.err);
    }
    let told = fresh.run("check --json").exits(2).json();
    assert_eq!(told["valid"], json!(false));
    assert!(
        !told["catalog"]["contradictions"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let left_out = caller("1150", "10.30.0.7").exits(0);
    assert!(
        left_out.err.contains("not in the directory"),
        "{}",
        left_out.err
    );
    assert_eq!(left_out.json()["recordings"][0]["tenant"], "Acme Ltd");
}

#[test]
fn a_catalog_that_cannot_be_read_is_said_and_the_files_are_checked() {
    let fresh = Fresh::new("big");
    fs::write(
        fresh.path().join("catalog.db"),
        "this is no database at all, ".repeat(50),
    )
    .unwrap();
    let checked = fresh.run("check").exits(0);
    assert!(
        checked.err.contains("the catalog cannot be read"),
        "{}",
        checked.err
    );
    let matched = fresh
        .run("match --caller 1001 --callee 5 --from-address 10.20.0.7")
        .exits(0);
    assert!(
        matched.err.contains("the answer of the files alone"),
        "{}",
        matched.err
    );
}

/// As the API makes an extension.
fn create_range(folder: &Path, tenant: TenantId, range: &str) {
    let url = format!("sqlite://{}", folder.join("catalog.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let catalog = Catalog::open(&url).await.unwrap();
        let mut change = catalog.change().await.unwrap();
        let row = ExtensionRow {
            id: extension_id(tenant, "range", range),
            tenant,
            kind: "range".into(),
            text: range.into(),
            aliases: Vec::new(),
            policy: None,
            version: 1,
            created_at: Timestamp::default(),
            changed_at: Timestamp::default(),
        };
        change.create_extension(&row).await.unwrap();
        let event = Event::by(&Principal::operator("test"), "extensions.create").of_tenant(tenant);
        change.commit(event).await.unwrap();
        catalog.close().await;
    });
}
