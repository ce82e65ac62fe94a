//! `callreel calls`.

use std::fs;

use callreel::catalog::CallRecord;
use callreel::simulate::{Features, tenant_id};
use serde_json::Value;

use super::world::{World, callreel};

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
    // Nothing was lost: every call that was heard has the best score.
    assert_eq!(world.calls(&["--mos-below", "4.4"]).len(), 0);
    let recorded = all.len() - rejected;
    assert_eq!(world.calls(&["--mos-below", "4.42"]).len(), recorded);
    world.run(&["calls", "--mos-below", "9"]).exits(2);
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
