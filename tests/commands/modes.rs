//! Who may read what the program makes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::world::callreel;

/// All files and folders below, with their modes.
fn modes(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let there = fs::symlink_metadata(&path).unwrap();
        found.push((path.clone(), there.permissions().mode() & 0o7777));
        if there.is_dir() {
            found.extend(modes(&path));
        }
    }
    found
}

/// What a replay makes under this umask, with packets kept and a catalog.
fn made_under(umask: &str) -> Vec<(PathBuf, u32)> {
    let folder = tempfile::tempdir().unwrap();
    let simulate = ["simulate", "calls.pcap", "--calls", "2", "--talk", "1"];
    callreel(folder.path(), &simulate, "").exits(0);
    let program = env!("CARGO_BIN_EXE_callreel");
    let line = format!("umask {umask}; '{program}' replay calls.pcap --quiet --storage store");
    let done = Command::new("sh")
        .args(["-c", &line])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(done.success());
    let made = modes(folder.path());
    let below = made
        .into_iter()
        .filter(|(path, _)| path.components().any(|part| part.as_os_str() == "store"));
    let below: Vec<_> = below.collect();
    for end in ["wav", "json", "db"] {
        assert!(
            below
                .iter()
                .any(|(path, _)| path.extension().is_some_and(|one| one == end)),
            "{end}"
        );
    }
    below
}

#[test]
fn nobody_else_reads_recordings_whatever_the_umask() {
    for (umask, of_files, of_folders) in [
        ("000", 0o640, 0o750),
        ("022", 0o640, 0o750),
        ("077", 0o600, 0o700),
    ] {
        for (path, mode) in made_under(umask) {
            let most = if path.extension().is_some() || mode & 0o111 == 0 {
                of_files
            } else {
                of_folders
            };
            assert_eq!(mode, most, "{} under {umask}: {mode:o}", path.display());
        }
    }
}

#[test]
fn what_is_simulated_is_for_the_group_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let simulate = [
        "simulate",
        "calls.pcap",
        "--calls",
        "1",
        "--talk",
        "1",
        "--truth",
        "truth.json",
        "--write-config",
        "trial",
    ];
    callreel(folder.path(), &simulate, "").exits(0);
    let made = modes(folder.path());
    assert!(made.len() >= 4, "{made:?}");
    for (path, mode) in made {
        assert_eq!(mode & 0o027, 0, "{}: {mode:o}", path.display());
    }
}
