//! `check`, `match`, `calls` and `catalog` as a user runs them: on the storage that `replay` filled from simulated calls.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use callreel::access::Scope;
use callreel::base::TenantId;
use callreel::catalog::{CallQuery, CallRecord, Catalog, FileRecord};
use callreel::simulate::{Features, PcapSink, Scenario, Truth, generate, tenant_id};
use callreel::storage::StorageLock;
use serde_json::Value;
use tempfile::TempDir;

/// What a command printed.
struct Output {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Output {
    #[track_caller]
    fn exits(self, code: i32) -> Output {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

fn callreel(folder: &Path, line: &[&str], input: &str) -> Output {
    let done = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .current_dir(folder)
        .args(line)
        .write_stdin(input)
        .output()
        .unwrap();
    Output {
        code: done.status.code(),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

/// A folder with a configuration of two tenants, and recordings of their calls.
struct World {
    folder: TempDir,
    truth: Truth,
}

impl World {
    /// Six calls, long enough for what they are to have.
    fn with(features: Features) -> World {
        let folder = tempfile::tempdir().unwrap();
        let seconds = if features.dtmf > 0 { 4 } else { 1 };
        let scenario = Scenario {
            calls: 6,
            talk: Duration::from_secs(seconds),
            spacing: Duration::from_millis(300),
            features,
            ..Scenario::default()
        };
        scenario.write_config(folder.path()).unwrap();
        let mut sink = PcapSink::create(&folder.path().join("calls.pcap")).unwrap();
        let truth = generate(&scenario, &mut sink).unwrap();
        drop(sink);
        let world = World { folder, truth };
        world.run(&["replay", "calls.pcap", "--quiet"]).exits(0);
        world
    }

    fn new() -> World {
        World::with(Features::default())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command in the folder with its configuration.
    fn run(&self, line: &[&str]) -> Output {
        self.run_with_input(line, "")
    }

    fn run_with_input(&self, line: &[&str], input: &str) -> Output {
        let config = ["--config", "callreel.toml"];
        callreel(self.folder.path(), &[line, &config].concat(), input)
    }

    /// The calls that a search finds.
    fn calls(&self, filters: &[&str]) -> Vec<Value> {
        let found = self.run(&[&["calls", "--json"], filters].concat()).exits(0);
        found.json()["calls"].as_array().unwrap().clone()
    }

    /// Audio and sidecar of each recording.
    fn recordings(&self) -> Vec<(PathBuf, PathBuf)> {
        let calls = self.calls(&["--recorded"]);
        let audio = calls
            .iter()
            .map(|call| PathBuf::from(call["file"]["path"].as_str().unwrap()));
        audio
            .map(|path| (path.clone(), path.with_extension("json")))
            .collect()
    }

    fn with_catalog<T>(&self, work: impl AsyncFnOnce(&Catalog) -> T) -> T {
        let url = format!("sqlite://{}", self.path("catalog.db").display());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let catalog = Catalog::open(&url).await.unwrap();
            let done = work(&catalog).await;
            catalog.close().await;
            done
        })
    }

    fn records(&self) -> Vec<CallRecord> {
        self.with_catalog(async |catalog| {
            let query = CallQuery {
                limit: 1000,
                ..CallQuery::default()
            };
            catalog.calls(&Scope::root(), &query).await.unwrap().calls
        })
    }

    fn record(&self, calls: &[CallRecord]) {
        self.with_catalog(async |catalog| catalog.record(calls).await.unwrap());
    }

    /// What `catalog verify` finds: faults and the recordings they are about.
    fn faults(&self) -> Vec<(String, PathBuf)> {
        let found = self.run(&["catalog", "verify", "--json"]);
        let json = found.json();
        let findings = json["findings"].as_array().unwrap();
        assert_eq!(
            found.code,
            Some(i32::from(!findings.is_empty())),
            "{}",
            found.err
        );
        let fault = |finding: &Value| {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            (text("fault"), text("path").into())
        };
        findings.iter().map(fault).collect()
    }
}

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
fn configured(daemon: &str, tenant: &str) -> TempDir {
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

#[test]
fn a_match_names_candidate_rule_and_extension_line() {
    let world = World::new();
    let line = [
        "match",
        "--caller",
        "1001",
        "--callee",
        "+44 20 7946 0000",
        "--from-address",
        "10.1.0.5",
    ];
    let found = world.run(&line).exits(0);
    for expected in [
        "verdict: owned by Tenant 1 (caller)",
        "caller: Tenant 1 by from \"1001\", looked up as 1001",
        "  extension 1001, user user1001: tenants/tenant1.toml:9",
        "  match rule: tenants/tenant1.toml:5",
        "an extension fits, but `networks` of its rule does not hold",
        "Tenant 1  yes       the tenant's policy is all",
    ] {
        assert!(found.out.contains(expected), "{expected}\n{}", found.out);
    }
    let json = world
        .run(&[&line[..], &["--json"]].concat())
        .exits(0)
        .json();
    assert_eq!(json["attribution"]["caller"]["rule"]["line"], 5);
    assert_eq!(
        json["attribution"]["considered"][1]["outcome"]["key"],
        "networks"
    );
    let callee = &json["candidates"][1];
    assert_eq!(
        (&callee["source"], &callee["number"]),
        (&"request-uri".into(), &"+442079460000".into())
    );
    assert_eq!(callee["host"], "");
    let nobody = world
        .run(&["match", "--caller", "1001", "--callee", "1002"])
        .exits(1);
    assert!(
        nobody.out.starts_with("verdict: nobody's\n"),
        "{}",
        nobody.out
    );
}

const INVITE: &str = "INVITE sip:1002@10.1.1.1 SIP/2.0\nVia: SIP/2.0/UDP 10.1.1.4;branch=z9hG4bK1\nf: \"Anna\" <sip:9999@pbx>;tag=a\n\
    t: <sip:1002@10.1.1.1>\nP-Asserted-Identity: <sip:1003@10.1.1.1>\ni: x\nCSeq: 1 INVITE\nl: 0\n\n";

#[test]
fn a_match_reads_a_real_invite() {
    let world = World::new();
    let line = [
        "match",
        "--invite",
        "-",
        "--from-address",
        "10.2.0.5",
        "--answered-by",
        "1007",
        "--json",
    ];
    let json = world.run_with_input(&line, INVITE).exits(0).json();
    let claim = |side: &str| {
        let claim = &json["attribution"][side];
        (
            claim["source"].as_str().unwrap(),
            claim["number"].as_str().unwrap(),
            claim["user"].as_str().unwrap(),
        )
    };
    assert_eq!(claim("caller"), ("p-asserted-identity", "1003", "user1003"));
    assert_eq!(claim("callee"), ("answer-contact", "1007", "user1007"));
    fs::write(
        world.path("invite.txt"),
        INVITE.replace("INVITE", "OPTIONS"),
    )
    .unwrap();
    let refused = world.run(&["match", "--invite", "invite.txt"]).exits(2);
    assert!(
        refused
            .err
            .contains("the message is a OPTIONS, not an INVITE"),
        "{}",
        refused.err
    );
}

#[test]
fn headers_of_a_match_are_read_as_those_of_an_invite() {
    let tenant = "[tenant]\nid = \"34c7f1f6-9201-11e5-a739-e03f497dbdff\"\nname = \"Acme\"\n\n\
        [[match]]\nvlans = [7]\nheaders = { \"X-Customer\" = \"acme\" }\n\n[[extension]]\nnumber = \"1001\"\n";
    let folder = configured("", tenant);
    let ask = |more: &[&str]| {
        let line = [
            "match",
            "--config",
            "callreel.toml",
            "--caller",
            "anonymous",
            "--callee",
            "0800",
        ];
        callreel(folder.path(), &[&line, more].concat(), "")
    };
    let identity = [
        "--header",
        "P-Asserted-Identity: <sip:1001@pbx>",
        "--header",
        "x-customer: acme",
    ];
    ask(&[&identity[..], &["--vlan", "3", "--vlan", "7"]].concat()).exits(0);
    ask(&identity).exits(1);
    ask(&["--vlan", "7", "--header", "X-Customer: acme"]).exits(1);
    for header in ["no colon", "X Y: 1", "X: 1\r\nTo: <sip:1001@x>"] {
        ask(&["--header", header]).exits(2);
    }
}

#[test]
fn calls_are_found_by_every_filter() {
    let world = World::with(Features {
        rejected: 60,
        ..Features::default()
    });
    let all = world.calls(&[]);
    assert_eq!(all.len(), world.truth.calls.len());
    let rejected = world.calls(&["--disposition", "not_answered"]).len();
    assert!(rejected > 0 && rejected < all.len(), "{rejected}");
    assert_eq!(world.calls(&["--recorded"]).len(), all.len() - rejected);
    let count = |is: &dyn Fn(&Value) -> bool| all.iter().filter(|call| is(call)).count();
    let by_tenant = count(&|call| call["tenant"] == "Tenant 2");
    assert_eq!(world.calls(&["--tenant", "tenant 2"]).len(), by_tenant);
    assert_eq!(
        world.calls(&["--tenant", &tenant_id(2).to_string()]).len(),
        by_tenant
    );
    let by_number =
        count(&|call| call["caller"]["number"] == "1001" || call["callee"]["number"] == "1001");
    assert!(by_number > 0);
    assert_eq!(world.calls(&["--number", "1001"]).len(), by_number);
    assert_eq!(world.calls(&["--user", "user1001"]).len(), by_number);
    assert_eq!(world.calls(&["--extension", "1001"]).len(), by_number);
    let outside = count(&|call| call.to_string().contains("+4420"));
    assert_eq!(world.calls(&["--prefix", "+44 (20)"]).len(), outside);
    assert_eq!(world.calls(&["--min-length", "1h"]).len(), 0);
    assert_eq!(
        world
            .calls(&["--from", "2026-01-05", "--to", "2026-01-05"])
            .len(),
        all.len()
    );
    assert_eq!(world.calls(&["--from", "1h"]).len(), 0);
    let third = all[2]["started_at"].as_str().unwrap();
    assert_eq!(world.calls(&["--from", third]).len(), 3);
    assert_eq!(world.calls(&["--to", third]).len(), all.len() - 3);
}

#[test]
fn a_search_says_that_there_are_more_and_gives_them_all() {
    let world = World::new();
    let few = world.run(&["calls", "--limit", "2"]).exits(0);
    assert!(
        few.out
            .ends_with("\nthe newest 2 calls; --all shows the others too\n"),
        "{}",
        few.out
    );
    assert_eq!(few.out.lines().count(), 5);
    let json = world
        .run(&["calls", "search", "--limit", "2", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (json["calls"].as_array().unwrap().len(), &json["more"]),
        (2, &true.into())
    );
    let all = world.run(&["calls", "--all"]).exits(0);
    assert!(all.out.ends_with("\n6 calls\n"), "{}", all.out);
}

#[test]
fn wrong_filters_are_refused_with_a_hint() {
    let world = World::new();
    for (line, hint) in [
        (
            &["calls", "--tenant", "Tenant1"][..],
            "did you mean \"Tenant 1\"?",
        ),
        (
            &["calls", "--disposition", "recordd"],
            "did you mean \"recorded\"?",
        ),
        (&["calls", "--from", "yesterday"], "expected a time such as"),
        (
            &["calls", "--number", "1", "--prefix", "1"],
            "cannot be used with",
        ),
        (
            &["calls", "--user", "alice", "export"],
            "filters go behind the subcommand",
        ),
    ] {
        let refused = world.run(line).exits(2);
        assert!(refused.err.contains(hint), "{line:?}: {}", refused.err);
    }
    let missing = callreel(world.folder.path(), &["calls", "--storage", "nowhere"], "").exits(2);
    assert_eq!(
        missing.err,
        "callreel: there is no catalog nowhere/catalog.db\n"
    );
    assert!(!world.path("nowhere").exists());
}

#[test]
fn a_call_is_shown_whole() {
    let world = World::with(Features {
        hold: 100,
        dtmf: 100,
        ..Features::default()
    });
    let call = &world.calls(&["--user", "user1001"])[0];
    let id = call["id"].as_str().unwrap();
    let shown = world.run(&["calls", "show", id]).exits(0);
    for expected in [
        id,
        call["call_id"].as_str().unwrap(),
        call["file"]["path"].as_str().unwrap(),
        "STREAM OF",
        "SEGMENT OF",
        "hold",
        "KEY OF",
        "extension 1001, user user1001: tenants/tenant",
    ] {
        assert!(shown.out.contains(expected), "{expected}\n{}", shown.out);
    }
    let json = world.run(&["calls", "show", id, "--json"]).exits(0).json();
    assert_eq!(json["sidecar"]["recording_id"], id);
    assert_eq!(json["attribution"]["verdict"], "owned");
    assert!(!json["participants"].as_array().unwrap().is_empty());
    world
        .run(&["calls", "show", "01586f2b-0000-7000-8000-000000000000"])
        .exits(1);
    world.run(&["calls", "show", "not-an-id"]).exits(2);
}

/// A call with names that want to be more than names.
fn hostile(world: &World) -> CallRecord {
    let mut call = world.records().remove(0);
    call.id = "01586f2b-0000-7000-8000-000000000000".parse().unwrap();
    call.file = None;
    call.parties.caller.number = "+1+cmd|' /C calc'!A0".into();
    call.parties.caller.display = "=HYPERLINK(\"http://x\",\"click, me\")".into();
    call.parties.callee.display = "\u{1b}[2J\u{9b}31m\u{202e}gnp\r\n@SUM(1)".into();
    call.sip_call_id = "\t=1+1".into();
    call
}

#[test]
fn hostile_names_are_harmless_wherever_they_are_printed() {
    let world = World::new();
    let call = hostile(&world);
    world.record(std::slice::from_ref(&call));
    let id = call.id.to_string();
    for line in [
        &["calls"][..],
        &["calls", "--json"],
        &["calls", "show", &id],
        &["calls", "show", &id, "--json"],
        &["calls", "export"],
        &["calls", "export", "--format", "jsonl"],
    ] {
        let out = world.run(line).exits(0).out;
        let harmful = |c: &char| (c.is_control() && !"\r\n".contains(*c)) || *c == '\u{202e}';
        assert_eq!(out.chars().find(harmful), None, "{line:?}");
        assert!(!out.replace("\r\n", "").contains('\r'), "{line:?}");
    }
    let shown = world.run(&["calls", "show", &id, "--json"]).exits(0).json();
    assert_eq!(
        shown["callee"]["name"],
        call.parties.callee.display.as_str()
    );
}

#[test]
fn exported_csv_has_no_formulas_and_is_rfc_4180() {
    let world = World::new();
    world.record(&[hostile(&world)]);
    let exported = world.run(&["calls", "export"]).exits(0).out;
    let lines: Vec<&str> = exported
        .strip_suffix("\r\n")
        .unwrap()
        .split("\r\n")
        .collect();
    assert_eq!(lines.len(), 8);
    assert!(lines[0].starts_with("id,tenant_id,tenant,started_at,"));
    let hostile = lines
        .iter()
        .find(|line| line.starts_with("01586f2b"))
        .unwrap();
    for cell in [
        ",'+1+cmd|' /C calc'!A0,",
        ",\"'=HYPERLINK(\"\"http://x\"\",\"\"click, me\"\")\",",
        ",'\u{fffd}=1+1,",
    ] {
        assert!(hostile.contains(cell), "{cell}\n{hostile}");
    }
    assert!(
        exported.contains(",+44207946"),
        "a plain number stays one: {exported}"
    );
}

#[test]
fn an_export_is_the_same_in_a_file_and_has_every_call() {
    let world = World::new();
    let lines = world
        .run(&[
            "calls", "export", "--format", "jsonl", "--tenant", "Tenant 1",
        ])
        .exits(0)
        .out;
    let done = world.run(&[
        "calls",
        "export",
        "--format",
        "jsonl",
        "--tenant",
        "Tenant 1",
        "--output",
        "calls.jsonl",
    ]);
    assert_eq!(done.exits(0).out, "");
    assert_eq!(
        fs::read_to_string(world.path("calls.jsonl")).unwrap(),
        lines
    );
    let found: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(found, world.calls(&["--tenant", "Tenant 1"]));
}

#[test]
fn a_storage_of_its_own_is_searched_without_configuration() {
    let world = World::new();
    let folder = world.folder.path();
    callreel(
        folder,
        &["replay", "calls.pcap", "--quiet", "--storage", "a b %20"],
        "",
    )
    .exits(0);
    let found = callreel(folder, &["calls", "--storage", "a b %20", "--json"], "")
        .exits(0)
        .json();
    assert_eq!(found["calls"].as_array().unwrap().len(), 6);
    assert_eq!(found["calls"][0]["tenant"], "System");
    callreel(folder, &["catalog", "verify", "--storage", "a b %20"], "").exits(0);
}

#[test]
fn a_catalog_that_was_deleted_is_rebuilt_row_by_row() {
    let world = World::new();
    let before = world.records();
    fs::remove_file(world.path("catalog.db")).unwrap();
    let json = world.run(&["catalog", "rebuild", "--json"]).exits(0).json();
    assert_eq!((&json["entered"], &json["kept"]), (&6.into(), &0.into()));
    assert_eq!(world.records(), before);
    world.run(&["catalog", "verify"]).exits(0);
}

#[test]
fn a_rebuild_keeps_calls_without_a_recording() {
    let world = World::with(Features {
        rejected: 60,
        ..Features::default()
    });
    let before = world.records();
    assert!(before.iter().any(|call| call.file.is_none()));
    let done = world.run(&["catalog", "rebuild"]).exits(0);
    assert!(
        done.out
            .contains("without a recording kept, 0 sidecars unreadable"),
        "{}",
        done.out
    );
    assert_eq!(world.records(), before);
}

#[test]
fn a_rebuild_names_the_sidecars_that_it_could_not_read() {
    let world = World::new();
    let (_, sidecar) = world.recordings().remove(0);
    fs::write(&sidecar, "{").unwrap();
    let done = world.run(&["catalog", "rebuild"]).exits(1);
    assert!(done.out.contains("5 recordings entered"), "{}", done.out);
    assert!(done.out.contains(sidecar.to_str().unwrap()), "{}", done.out);
    assert_eq!(
        world.faults(),
        [
            ("sidecar_wrong".to_owned(), sidecar.clone()),
            ("not_catalogued".to_owned(), sidecar.with_extension("wav")),
        ]
    );
}

#[test]
fn a_rebuild_is_refused_while_somebody_records() {
    let world = World::new();
    let before = world.records();
    let lock = StorageLock::acquire(&world.path("recordings")).unwrap();
    let refused = world.run(&["catalog", "rebuild"]).exits(2);
    let pid = format!("process {}", std::process::id());
    assert!(refused.err.contains(&pid), "{}", refused.err);
    assert_eq!(world.records(), before);
    drop(lock);
    world.run(&["catalog", "rebuild"]).exits(0);
    let missing = callreel(
        world.folder.path(),
        &["catalog", "rebuild", "--storage", "nowhere"],
        "",
    );
    assert_eq!(
        missing.exits(2).err,
        "callreel: there is no storage nowhere\n"
    );
}

#[test]
fn a_clean_storage_verifies() {
    let world = World::new();
    let done = world.run(&["catalog", "verify"]).exits(0);
    assert_eq!(done.out, "6 rows, 6 recordings: catalog and disk agree\n");
}

#[test]
fn verify_finds_each_kind_of_damage() {
    let world = World::new();
    let recordings = world.recordings();
    let mut expected = BTreeSet::new();
    let mut expect =
        |fault: &str, path: &Path| expected.insert((fault.to_owned(), path.to_owned()));

    let [missing, longer, header, bare, foreign, unlisted] = recordings.as_slice() else {
        panic!("there are six calls");
    };
    fs::remove_file(&missing.0).unwrap();
    expect("file_missing", &missing.0);

    let mut bytes = fs::read(&longer.0).unwrap();
    bytes.extend([0; 4]);
    fs::write(&longer.0, bytes).unwrap();
    expect("size_differs", &longer.0);

    let mut bytes = fs::read(&header.0).unwrap();
    bytes[..4].copy_from_slice(b"LIST");
    fs::write(&header.0, bytes).unwrap();
    expect("header_wrong", &header.0);

    fs::remove_file(&bare.1).unwrap();
    expect("sidecar_missing", &bare.0);

    fs::copy(&unlisted.1, &foreign.1).unwrap();
    expect("sidecar_wrong", &foreign.1);

    let part = unlisted.0.with_extension("wav.part");
    fs::write(&part, "").unwrap();
    expect("unfinished", &part);

    let records = world.records();
    let of = |path: &Path| {
        let is = |call: &&CallRecord| path.ends_with(&call.file.as_ref().unwrap().path);
        records.iter().find(is).unwrap().clone()
    };
    let gone = of(&unlisted.0);
    world.with_catalog(async |catalog| {
        let removed = catalog
            .remove_missing(&Scope::root(), &[(gone.tenant, gone.id)])
            .await;
        assert_eq!(removed.unwrap(), 1);
    });
    expect("not_catalogued", &unlisted.0);

    // Another tenant's row that points at this one's recording, and one that points outside.
    let other: TenantId = "34c7f1f6-9201-11e5-a739-e03f497dbdff".parse().unwrap();
    let stolen = CallRecord {
        tenant: other,
        ..of(&header.0)
    };
    expect(
        "wrong_tenant",
        Path::new(&stolen.file.as_ref().unwrap().path),
    );
    let outside = CallRecord {
        id: "01586f2b-0000-7000-8000-000000000000".parse().unwrap(),
        file: Some(FileRecord {
            path: "../../etc/passwd".into(),
            ..stolen.file.clone().unwrap()
        }),
        ..stolen.clone()
    };
    expect("wrong_path", Path::new("../../etc/passwd"));
    world.record(&[stolen, outside]);

    let found = world.faults();
    assert_eq!(found.len(), expected.len(), "each once: {found:?}");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    let table = world.run(&["catalog", "verify"]).exits(1);
    assert!(table.out.ends_with(": 9 faults\n"), "{}", table.out);
}

#[test]
fn calls_in_progress_of_a_running_daemon_are_no_fault() {
    let world = World::new();
    let (audio, _) = world.recordings().remove(0);
    fs::write(
        audio.with_file_name("01586f2b-0000-7000-8000-000000000000.wav.part"),
        "",
    )
    .unwrap();
    assert_eq!(world.faults().len(), 1);
    let _lock = StorageLock::acquire(&world.path("recordings")).unwrap();
    let done = world.run(&["catalog", "verify"]).exits(0);
    let expected = format!(
        "6 rows, 6 recordings, 1 in progress in process {}: catalog and disk agree\n",
        std::process::id()
    );
    assert_eq!(done.out, expected);
}

#[test]
fn a_damaged_catalog_is_said_and_can_be_rebuilt() {
    let world = World::new();
    let before = world.records();
    fs::write(world.path("catalog.db"), "no database ".repeat(1000)).unwrap();
    let refused = world.run(&["calls"]).exits(2);
    assert!(
        refused
            .err
            .contains("rebuild it from the recordings' sidecars"),
        "{}",
        refused.err
    );
    world.run(&["catalog", "verify"]).exits(2);
    let done = world.run(&["catalog", "rebuild"]).exits(1);
    assert!(done.err.contains("catalog.db.damaged"), "{}", done.err);
    assert_eq!(world.records(), before);
}
