//! `callreel check`, and what broken TOML gets.

use std::fs;

use callreel::simulate::tenant_id;
use tempfile::TempDir;

use super::world::{World, callreel};

#[test]
fn check_prints_the_compiled_directory() {
    let world = World::new();
    let table = world.run(&["check"]).exits(0);
    let line = table
        .out
        .lines()
        .find(|line| line.starts_with("Tenant 1"))
        .unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    let id = tenant_id(1).to_string();
    assert_eq!(
        cells,
        [
            "Tenant",
            "1",
            &id,
            "-",
            "1",
            "11",
            "10",
            "all",
            "tenants/tenant1.toml"
        ]
    );
    assert!(
        table
            .out
            .ends_with("is valid: 3 tenants, 2 rules, 22 extensions, 0 aliases, 20 pinned users\n")
    );
    assert!(
        table.err.contains("capture.interfaces: no interfaces"),
        "{}",
        table.err
    );
    let json = world.run(&["check", "--json"]).exits(0).json();
    assert_eq!(json["valid"], true);
    assert_eq!(json["tenants"][1]["id"], id.as_str());
    assert_eq!(json["totals"]["extensions"], 22);
    assert_eq!(json["missing"][0]["setting"], "capture.interfaces");
}

/// A folder with these two files.
pub fn configured(daemon: &str, tenant: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tenants")).unwrap();
    fs::write(folder.path().join("callreel.toml"), daemon).unwrap();
    fs::write(folder.path().join("tenants/acme.toml"), tenant).unwrap();
    folder
}

const BROKEN_DAEMON: &str = "[storage]\nformt = \"g711\"\n\n[capture]\nsip_ports = [5060, 99999]\n";

const BROKEN_TENANT: &str = "[tenant]\nid = \"34c7f1f6-9201-11e5-a739-e03f497dbdff\"\nname = \"Acme\"\n\n\
    [[match]]\nnetwroks = [\"10.20.0.0/16\"]\n\n[[extension]]\nnumber = \"1001\"\nuser = 5\n";

#[test]
fn check_shows_all_errors_of_all_files_with_their_places() {
    let folder = configured(BROKEN_DAEMON, BROKEN_TENANT);
    let checked = callreel(folder.path(), &["check", "--config", "callreel.toml"], "").exits(2);
    assert_eq!(checked.out, "");
    insta::assert_snapshot!(checked.err, @r#"
    error: unknown key `formt`
     --> callreel.toml:2:1
      |
    2 | formt = "g711"
      | ^^^^^
      |
      = help: did you mean `format`?

    error: `sip_ports` must be from 1 to 65535
     --> callreel.toml:5:20
      |
    5 | sip_ports = [5060, 99999]
      |                    ^^^^^

    error: unknown key `netwroks`
     --> tenants/acme.toml:6:1
      |
    6 | netwroks = ["10.20.0.0/16"]
      | ^^^^^^^^
      |
      = help: did you mean `networks`?

    error: expected a string, found an integer
      --> tenants/acme.toml:10:8
       |
    10 | user = 5
       |        ^
       |
       = help: put it in quotes: "5"

    4 errors: the configuration cannot be used
    "#);
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let folder = configured(BROKEN_DAEMON, BROKEN_TENANT);
    let line = ["check", "--config", "callreel.toml", "--json"];
    let json = callreel(folder.path(), &line, "").exits(2).json();
    assert_eq!(json["valid"], false);
    let places = json["errors"].as_array().unwrap().iter().map(|error| {
        let number = |key: &str| error[key].as_u64().unwrap();
        (
            error["file"].as_str().unwrap().to_owned(),
            number("line"),
            number("column"),
        )
    });
    let expected = [
        ("callreel.toml", 2, 1),
        ("callreel.toml", 5, 20),
        ("tenants/acme.toml", 6, 1),
        ("tenants/acme.toml", 10, 8),
    ];
    assert!(places.eq(expected.map(|(file, line, column)| (file.to_owned(), line, column))));
}

#[test]
fn broken_toml_stops_every_command_that_needs_it() {
    let folder = configured("[storage\n", "");
    let commands: [&[&str]; 5] = [
        &["check"],
        &["match", "--caller", "1", "--callee", "2"],
        &["calls"],
        &["catalog", "verify"],
        &["catalog", "rebuild"],
    ];
    for command in commands {
        let line = [command, &["--config", "callreel.toml"]].concat();
        let done = callreel(folder.path(), &line, "").exits(2);
        assert!(
            done.err.contains("--> callreel.toml:1:"),
            "{command:?}: {}",
            done.err
        );
    }
}
