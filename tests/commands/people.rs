//! `user`, `group` and `role`, on the catalog that a daemon would have.

use serde_json::{Value, json};

use super::world::{Output, callreel};

/// A storage of its own, whose catalog `replay` made.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let place = Place(folder);
        place
            .run(&["simulate", "calls.pcap", "--calls", "1"])
            .exits(0);
        place
            .run(&["replay", "calls.pcap", "--quiet", "--storage", "store"])
            .exits(0);
        place
    }

    fn run(&self, line: &[&str]) -> Output {
        callreel(self.0.path(), line, "")
    }

    /// On its storage.
    fn on(&self, line: &[&str]) -> Output {
        self.run(&[line, &["--storage", "store"]].concat())
    }

    fn json(&self, line: &[&str]) -> Value {
        self.on(&[line, &["--json"]].concat()).exits(0).json()
    }
}

#[test]
fn a_group_is_made_listed_changed_and_removed() {
    let place = Place::new();
    place
        .on(&["group", "create", "Sales", "--description", "All who sell"])
        .exits(0);
    let listed = place.on(&["group", "list"]).exits(0).out;
    assert!(
        listed.contains("Sales") && listed.contains("All who sell"),
        "{listed}"
    );
    place
        .on(&["group", "edit", "sales", "--rename", "Sales EU"])
        .exits(0);
    let shown = place.json(&["group", "show", "Sales EU"]);
    assert_eq!(shown["description"], "All who sell");
    let taken = place.on(&["group", "create", "SALES EU"]).exits(2);
    assert!(
        taken.err.contains("there is one with this already"),
        "{}",
        taken.err
    );
    place
        .on(&["group", "remove", shown["id"].as_str().unwrap()])
        .exits(0);
    assert_eq!(place.json(&["group", "list"]), json!([]));
    let missing = place.on(&["group", "show", "Sales"]).exits(2);
    assert!(
        missing.err.contains("the tenant has no group `Sales`"),
        "{}",
        missing.err
    );
    let missing = place.on(&["group", "list", "--tenant", "acme"]).exits(2);
    assert!(
        missing.err.contains("there is no tenant `acme`"),
        "{}",
        missing.err
    );
}

#[test]
fn an_exported_audit_is_a_record_a_line_oldest_first_and_verifies() {
    let place = Place::new();
    for name in ["Sales", "Support", "Care"] {
        place.on(&["group", "create", name]).exits(0);
    }
    let exported = place.on(&["audit", "export"]).exits(0).out;
    assert!(exported.ends_with('\n'), "{exported}");
    let records: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&Value> = records.iter().map(|one| &one["after"]["name"]).collect();
    assert_eq!(names, ["Sales", "Support", "Care"]);
    std::fs::write(place.0.path().join("audit.jsonl"), exported).unwrap();
    place
        .on(&["audit", "verify", "--against", "audit.jsonl"])
        .exits(0);
}

#[test]
fn a_tenant_has_a_short_name_for_every_command_and_a_time_zone_that_there_is() {
    let place = Place::new();
    let settings = "[catalog]\nurl = \"sqlite://catalog.db\"\n[storage]\nroot = \"recordings\"\n";
    std::fs::write(place.0.path().join("callreel.toml"), settings).unwrap();
    let ask = |line: &[&str]| place.run(&[line, &["--config", "callreel.toml"]].concat());
    let create = |timezone| {
        let name = ["--name", "ACME Ltd", "--slug", "acme"];
        ask(&[&["tenant", "create"], &name[..], &["--timezone", timezone]].concat())
    };
    let nowhere = create("Mars/Phobos").exits(2);
    assert!(nowhere.err.contains("timezone"), "{}", nowhere.err);
    create("Europe/London").exits(0);
    // It has no calls yet, and there is such a tenant.
    let found = ask(&["calls", "--tenant", "acme", "--json"]).exits(0);
    assert_eq!(found.json()["calls"], json!([]));
    ask(&["calls", "--tenant", "nobody"]).exits(2);
}

#[test]
fn an_audit_that_nothing_says_the_end_of_is_not_called_sound() {
    let place = Place::new();
    place.on(&["group", "create", "Sales"]).exits(0);
    // No daemon has written the heads, or somebody took them away.
    let found = place.on(&["audit", "verify"]).exits(1);
    assert!(found.out.contains("nothing confirms"), "{}", found.out);
    assert!(found.err.contains("--against"), "{}", found.err);
    let found = place.on(&["audit", "verify", "--json"]).exits(1);
    let chains: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(chains[0]["breach"], "no_head");
    let exported = place.on(&["audit", "export"]).exits(0).out;
    std::fs::write(place.0.path().join("audit.jsonl"), exported).unwrap();
    place
        .on(&["audit", "verify", "--against", "audit.jsonl"])
        .exits(0);
}

#[test]
fn an_operator_who_knows_why_has_the_audit_taken_as_it_is() {
    let place = Place::new();
    for name in ["Sales", "Support"] {
        place.on(&["group", "create", name]).exits(0);
    }
    place.on(&["audit", "acknowledge"]).exits(2);
    let said = ["audit", "acknowledge", "--reason", "restored from a copy"];
    place.on(&said).exits(0);
    place.on(&["audit", "verify"]).exits(0);
    place.on(&["group", "create", "Care"]).exits(0);
    place.on(&["audit", "verify"]).exits(0);
    let listed = place.json(&["audit", "list"]);
    let said = &listed[1];
    assert_eq!(
        (&said["action"], &said["reason"]),
        (&json!("audit.acknowledge"), &json!("restored from a copy"))
    );
    assert_eq!(said["actor"]["kind"], "operator");
}

#[test]
fn a_role_is_copied_narrowed_and_taken_from_a_file() {
    let place = Place::new();
    let listed = place.json(&["role", "list"]);
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["name"].as_str().unwrap())
        .collect();
    assert_eq!(names[..2], ["Root Administrator", "Administrator"]);
    let line = [
        "role",
        "create",
        "Shift lead",
        "--copy",
        "Supervisor",
        "--allow",
        "users:edit",
        "--forbid",
        "calls:download",
    ];
    let made = place.json(&line);
    assert_eq!(made["access_level"], "managed_groups");
    assert_eq!(made["permissions"]["users"], json!(["view", "edit"]));
    assert!(
        !made["permissions"]["calls"]
            .as_array()
            .unwrap()
            .contains(&json!("download"))
    );
    let file = place.0.path().join("role.json");
    std::fs::write(&file, serde_json::to_vec(&made).unwrap()).unwrap();
    let again = place.json(&[
        "role",
        "create",
        "Shift lead 2",
        "--file",
        "role.json",
        "--level",
        "user",
    ]);
    assert_eq!(again["permissions"], made["permissions"]);
    assert_eq!(again["access_level"], "user");
    place
        .on(&["role", "edit", "Shift lead", "--forbid", "users:edit"])
        .exits(0);
    assert_eq!(
        place.json(&["role", "show", "shift LEAD"])["permissions"]["users"],
        json!(["view"])
    );
    let refused = place
        .on(&["role", "edit", "Reader", "--allow", "users:edit"])
        .exits(2);
    assert!(refused.err.contains("copy it"), "{}", refused.err);
    place.on(&["role", "remove", "Shift lead"]).exits(0);
    let wrong = place
        .on(&["role", "create", "x", "--allow", "groups:playback"])
        .exits(2);
    assert!(
        wrong.err.contains("groups has view, edit, delete"),
        "{}",
        wrong.err
    );
    let all = place.run(&["role", "permissions"]).exits(0).out;
    assert!(
        all.contains("calls:live_monitor") && all.contains("managed_groups"),
        "{all}"
    );
}

#[test]
fn a_user_is_changed_shown_and_removed() {
    let place = Place::new();
    place.on(&["user", "create", "root", "--one-time"]).exits(0);
    place
        .on(&["user", "create", "bob", "--role", "Agent", "--one-time"])
        .exits(0);
    place.on(&["group", "create", "Sales"]).exits(0);
    let more = "--role supervisor --group sales --manages Sales --name B&Co --valid-until 2150-01-01T00:00:00Z \
                --confidential yes --recording-policy 25%";
    let line: Vec<&str> = ["user", "edit", "BOB"]
        .into_iter()
        .chain(more.split_whitespace())
        .collect();
    let edited = place.json(&line);
    assert_eq!(edited["recording_policy"], json!({ "sample": 25 }));
    assert_eq!(edited["managed_groups"], json!([edited["group_id"]]));
    assert_eq!(place.json(&["user", "show", "bob"]), edited);
    assert_eq!(
        place.json(&["user", "list", "--group", "Sales", "--text", "b&c"]),
        json!([edited])
    );
    let told = place.on(&["user", "permissions", "bob"]).exits(0).out;
    assert!(told.contains("role Supervisor") && told.contains("    Sales"));
    assert!(told.contains("limit: "), "{told}");
    let cleared = place.json(&["user", "edit", "bob", "--no-group", "--no-valid-until"]);
    assert_eq!(
        (&cleared["group_id"], &cleared["valid_until"]),
        (&Value::Null, &Value::Null)
    );
    let wrong = place
        .on(&["user", "edit", "bob", "--email", "bob"])
        .exits(2);
    assert!(wrong.err.contains("e-mail address"), "{}", wrong.err);
    let last = place.on(&["user", "remove", "root"]).exits(2);
    assert!(
        last.err.contains("without an administrator"),
        "{}",
        last.err
    );
    place.on(&["user", "remove", "bob"]).exits(0);
    let again = place
        .on(&["user", "create", "Bob", "--role", "Agent", "--one-time"])
        .exits(2);
    assert!(again.err.contains("login"), "{}", again.err);
    place
        .on(&[
            "user",
            "create",
            "two words",
            "--role",
            "Agent",
            "--one-time",
        ])
        .exits(2);
}
