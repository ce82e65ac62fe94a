//! Calls between real programs that are one conversation, replayed by the binary.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use callreel::storage::Sidecar;
use serde_json::Value;

const RED: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const BLUE: &str = "bbbbbbbb-0000-4000-8000-000000000002";

/// A configuration and a storage.
struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new(settings: &str) -> House {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tenants")).unwrap();
        std::fs::write(folder.path().join("callreel.toml"), settings).unwrap();
        House { folder }
    }

    /// One tenant with these networks and numbers; `more` of its `[recording]`.
    fn tenant(self, name: &str, id: &str, networks: &str, numbers: &[&str], more: &str) -> House {
        let mut text = format!(
            "[tenant]\nid = \"{id}\"\nname = \"{name}\"\n\n[recording]\n{more}\n\n[[match]]\nnetworks = {networks}\n"
        );
        for number in numbers {
            text +=
                &format!("\n[[extension]]\nnumber = \"{number}\"\nuser = \"{name}-{number}\"\n");
        }
        let path = self.folder.path().join(format!("tenants/{name}.toml"));
        std::fs::write(path, text).unwrap();
        self
    }

    fn storage(&self) -> PathBuf {
        self.folder.path().join("recordings")
    }

    fn run(&self, arguments: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_callreel"))
            .args(arguments)
            .arg("--json")
            .arg("--storage")
            .arg(self.storage())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The calls of a fixture, as `replay` lists them.
    fn replay(&self, fixture: &str) -> Vec<Value> {
        let capture = fixtures().join(format!("{fixture}/{fixture}.pcap"));
        let config = self.folder.path().join("callreel.toml");
        let report = self.run(&[
            "replay",
            capture.to_str().unwrap(),
            "--config",
            config.to_str().unwrap(),
        ]);
        report["calls"].as_array().unwrap().clone()
    }

    fn sidecars(&self) -> Vec<Sidecar> {
        let wavs = files(&self.storage())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "json"));
        wavs.map(|path| Sidecar::read(&path).unwrap()).collect()
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Reasons of all links of all calls, and how many interactions there are.
fn links(calls: &[Value]) -> (Vec<&str>, usize) {
    let links = calls
        .iter()
        .flat_map(|call| call["links"].as_array().unwrap());
    let interactions: BTreeSet<&str> = calls
        .iter()
        .map(|call| call["interaction_id"].as_str().unwrap())
        .collect();
    (
        links.map(|link| link["reason"].as_str().unwrap()).collect(),
        interactions.len(),
    )
}

#[test]
fn both_legs_of_a_b2bua_are_one_interaction() {
    let calls = House::new("").replay("baresip-b2bua");
    assert_eq!(links(&calls), (vec!["numbers", "numbers"], 1));
}

#[test]
fn both_legs_of_a_b2bua_are_one_interaction_by_their_audio_alone() {
    let calls = House::new("[interactions]\nwindow_seconds = 0\n").replay("baresip-b2bua");
    assert_eq!(links(&calls), (vec!["audio", "audio"], 1));
    let calls =
        House::new("[interactions]\nwindow_seconds = 0\naudio = false\n").replay("baresip-b2bua");
    assert_eq!(links(&calls), (vec![], 2));
}

#[test]
fn a_blind_transfer_and_the_call_it_makes_are_one_interaction() {
    let house = House::new("");
    let calls = house.replay("baresip-blind-transfer");
    assert_eq!(links(&calls), (vec!["refer", "refer"], 1));
    let first = house
        .sidecars()
        .into_iter()
        .find(|s| !s.transfers.is_empty());
    assert_eq!(first.unwrap().transfers[0].to, "1003");
}

#[test]
fn an_attended_transfer_joins_all_its_calls() {
    let calls = House::new("").replay("sipp-attended-transfer");
    assert_eq!(calls.len(), 3);
    let (mut reasons, interactions) = links(&calls);
    reasons.sort_unstable();
    // The call that was asked about, and the one that takes its place; each link is told twice.
    assert_eq!(interactions, 1, "{reasons:?}");
    for reason in ["refer", "replaces"] {
        assert!(reasons.contains(&reason), "{reasons:?}");
    }
}

#[test]
fn of_two_phones_that_ring_the_one_that_answers_is_recorded() {
    let house = House::new("");
    let calls = house.replay("kamailio-forked");
    assert_eq!(calls.len(), 1);
    let sidecars = house.sidecars();
    assert!(
        sidecars[0].suspicious.is_empty(),
        "{:?}",
        sidecars[0].suspicious
    );
    // The tone of the phone that rang in vain is what the caller heard until the answer.
    let callee = sidecars[0]
        .streams
        .iter()
        .filter(|s| s.side == callreel::base::Side::Callee);
    let packets: Vec<(u64, u64)> = callee.map(|s| (s.packets, s.not_placed)).collect();
    assert_eq!(packets, [(15, 0), (200, 0)]);
}

#[test]
fn of_several_legs_a_tenant_that_wants_one_keeps_one() {
    let networks = "[\"192.0.2.0/24\", \"198.51.100.0/24\"]";
    let tenant = |legs| House::new("").tenant("red", RED, networks, &["1001", "8000"], legs);
    let house = tenant("legs = \"all\"");
    house.replay("baresip-b2bua");
    assert_eq!(files(&house.storage().join(RED)).len(), 4);

    let house = tenant("legs = \"one\"");
    let calls = house.replay("baresip-b2bua");
    let mut dispositions: Vec<&str> = calls
        .iter()
        .map(|c| c["disposition"].as_str().unwrap())
        .collect();
    dispositions.sort_unstable();
    assert_eq!(dispositions, ["other_leg", "recorded"]);
    assert_eq!(
        files(&house.storage().join(RED)).len(),
        2,
        "audio and sidecar of one"
    );
    let kept = &house.sidecars()[0];
    // Both show both phones; the one that began first is kept.
    assert_eq!(kept.call_id, calls[0]["call_id"].as_str().unwrap());

    let rows = house.run(&["calls"]);
    let rows = rows["calls"]
        .as_array()
        .unwrap_or_else(|| rows.as_array().unwrap())
        .clone();
    let dropped = rows
        .iter()
        .find(|row| row["disposition"] == "other_leg")
        .unwrap();
    let shown = house.run(&["calls", "show", dropped["id"].as_str().unwrap()]);
    let legs = shown["legs"].as_array().unwrap();
    assert_eq!(legs.len(), 1);
    assert_eq!(legs[0]["reason"], "numbers");
    assert_eq!(legs[0]["disposition"], "recorded");
    assert_eq!(legs[0]["call_id"], kept.call_id.as_str());
}

#[test]
fn two_tenants_in_one_conversation_learn_nothing_of_each_other() {
    let house = House::new("[tenancy]\nunattributed = \"discard\"\n")
        .tenant("red", RED, "[\"192.0.2.10/32\"]", &["1001"], "")
        .tenant("blue", BLUE, "[\"198.51.100.20/32\"]", &["8000"], "");
    let calls = house.replay("baresip-b2bua");
    assert_eq!(calls.len(), 2);
    let (reasons, interactions) = links(&calls);
    assert_eq!((reasons.len(), interactions), (0, 2), "{calls:?}");
    let ids = |call: &Value| call["call_id"].as_str().unwrap().to_owned();
    for (own, foreign) in [(RED, BLUE), (BLUE, RED)] {
        let of = |id: &str| calls.iter().find(|call| call["tenant_id"] == id).unwrap();
        let sidecar = files(&house.storage().join(own))
            .into_iter()
            .find(|path| path.extension().is_some_and(|e| e == "json"))
            .unwrap();
        let text = std::fs::read_to_string(sidecar).unwrap();
        let other = of(foreign);
        for canary in [
            &ids(other),
            foreign,
            other["interaction_id"].as_str().unwrap(),
        ] {
            assert!(
                !text.contains(canary),
                "{canary} in what {own} gets: {text}"
            );
        }
    }
}
