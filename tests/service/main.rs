//! The systemd unit, as systemd itself sees it.

mod manager;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Tenths: 2.0.
const HIGHEST_EXPOSURE: &str = "20";

fn unit() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "systemd", "callreel.service"]
        .iter()
        .collect()
}

/// Values of `key`, in their order.
fn values(key: &str) -> Vec<String> {
    let text = fs::read_to_string(unit()).expect("the unit is in systemd/");
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value.to_owned())
        .collect()
}

/// `None`, with a word about it, where there is no systemd that can do it.
fn systemd_analyze(arguments: &[&str]) -> Option<Output> {
    let Ok(output) = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit())
        .output()
    else {
        println!("skipped: there is no systemd-analyze");
        return None;
    };
    let complaints = String::from_utf8_lossy(&output.stderr);
    if complaints.contains("unrecognized option") {
        println!("skipped: this systemd-analyze cannot look at a file: {complaints}");
        return None;
    }
    Some(output)
}

#[test]
fn is_exposed_to_2_0_or_less() {
    let threshold = format!("--threshold={HIGHEST_EXPOSURE}");
    if let Some(output) = systemd_analyze(&["security", "--offline=yes", "--no-pager", &threshold])
    {
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains("Overall exposure level"), "{output:?}");
        println!("{}", report.lines().last().unwrap_or_default());
        assert!(output.status.success(), "{report}");
    }
}

#[test]
fn has_no_directive_that_systemd_does_not_know() {
    if let Some(output) = systemd_analyze(&["verify", "--man=no"]) {
        let complaints = String::from_utf8_lossy(&output.stderr);
        let about_us = complaints
            .lines()
            .filter(|line| line.contains("callreel.service:"));
        // Of the program, which need not be installed here, it also says that it is not there.
        let wrong: Vec<_> = about_us
            .filter(|line| line.contains("Unknown") || line.contains("Failed"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

#[test]
fn may_read_the_wire_and_do_nothing_else_of_roots() {
    assert_eq!(values("AmbientCapabilities"), ["CAP_NET_RAW"]);
    assert_eq!(values("CapabilityBoundingSet"), ["CAP_NET_RAW"]);
    assert_eq!(values("User"), ["callreel"]);
    assert!(
        values("RestrictAddressFamilies")
            .concat()
            .contains("AF_PACKET")
    );
    assert_eq!(values("StateDirectory"), ["callreel"]);
    assert_eq!(values("ProtectSystem"), ["strict"]);
}

#[test]
fn lets_the_decoder_be_locked_in() {
    let filters = values("SystemCallFilter").join(" ");
    for call in [
        "capset",
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
        "seccomp",
    ] {
        assert!(
            filters.split_whitespace().any(|named| named == call),
            "{call}"
        );
    }
}

#[test]
fn is_told_of_its_start_and_has_time_to_finish_its_calls() {
    assert_eq!(values("Type"), ["notify"]);
    assert_eq!(values("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    assert!(!values("WatchdogSec").is_empty());
    let stop: u32 = values("TimeoutStopSec")
        .concat()
        .parse()
        .expect("a number of seconds");
    assert!(
        stop > 10,
        "calls in progress get ten seconds to become recordings"
    );
}
