//! Invariant I4: nothing of one tenant appears in what another tenant gets.

use std::path::{Path, PathBuf};

use assert_cmd::Command;

const RED: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const BLUE: &str = "bbbbbbbb-0000-4000-8000-000000000002";

/// A caller of one tenant and a callee of another, in a call between the two.
#[test]
fn a_call_between_two_tenants_tells_each_only_its_own_side() {
    let folder = tempfile::tempdir().unwrap();
    let tenants = folder.path().join("tenants");
    std::fs::create_dir(&tenants).unwrap();
    let config = folder.path().join("callreel.toml");
    std::fs::write(&config, "").unwrap();
    tenant(
        &tenants,
        "redtenant",
        RED,
        "192.0.2.10/32",
        "1001",
        "reduser",
    );
    tenant(
        &tenants,
        "bluetenant",
        BLUE,
        "192.0.2.20/32",
        "1002",
        "blueuser",
    );
    let storage = folder.path().join("recordings");
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sipp-pcmu/sipp-pcmu.pcap");
    let replay = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .arg("replay")
        .arg(capture)
        .arg("--config")
        .arg(&config)
        .arg("--storage")
        .arg(&storage)
        .assert();
    replay.success();

    for (own, name, foreign) in [
        (RED, "reduser", [BLUE, "bluetenant", "blueuser"]),
        (BLUE, "blueuser", [RED, "redtenant", "reduser"]),
    ] {
        let files = files(&storage.join(own));
        assert_eq!(files.len(), 2, "audio and sidecar: {files:?}");
        let sidecar = files
            .iter()
            .find(|path| path.extension().is_some_and(|e| e == "json"))
            .unwrap();
        let text = std::fs::read_to_string(sidecar).unwrap();
        let listed = Command::new(env!("CARGO_BIN_EXE_callreel"))
            .args(["calls", "--tenant", own, "--json", "--storage"])
            .arg(&storage)
            .output()
            .unwrap();
        for text in [text, String::from_utf8(listed.stdout).unwrap()] {
            assert!(text.contains(name), "{own}: {text}");
            for canary in foreign {
                assert!(
                    !text.contains(canary),
                    "{canary} in what {own} gets: {text}"
                );
            }
        }
    }
}

fn tenant(folder: &Path, name: &str, id: &str, network: &str, number: &str, user: &str) {
    let text = format!(
        "[tenant]\nid = \"{id}\"\nname = \"{name}\"\n\n[[match]]\nnetworks = [\"{network}\"]\n\n\
         [[extension]]\nnumber = \"{number}\"\nuser = \"{user}\"\n"
    );
    std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        match entry.unwrap().path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found
}
