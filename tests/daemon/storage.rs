//! A storage that fails while calls last: emptied, or refusing to take what is finished.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use callreel::storage::Cause;
use serde_json::Value;

use crate::away::client;
use crate::house::{Daemon, House, PROGRAM, SmallDisk, has};

fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }
}

fn lost(daemon: &Daemon<'_>) -> u64 {
    daemon.metric("callreel_dropped_packets_total", "\"storage\"")
}

#[test]
fn a_storage_that_is_emptied_is_said_at_once_counted_and_recorded_into_again() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    let mut daemon = house.start();
    let calls = house.begin_simulation(4, 9);
    daemon.wait_until("all calls are recorded", |_| house.unfinished() == 4);
    sleep(Duration::from_secs(3));
    assert_eq!((daemon.health().0, lost(&daemon)), (200, 0));
    empty(&house.storage());
    let emptied = Instant::now();
    daemon.wait_until("it is said", |daemon| {
        let (code, body) = daemon.health();
        code == 503 && body.contains("\"storage_failing\"")
    });
    daemon.wait_until("new files are begun", |_| house.unfinished() == 4);
    let took = emptied.elapsed();
    println!("said and begun again within {took:?}");
    assert!(took < Duration::from_millis(2500), "{took:?}");
    // Three seconds of four calls with two sides, at 50 packets a second.
    assert!(lost(&daemon) > 4 * 2 * 50 * 2, "{}", lost(&daemon));
    daemon.wait_until("the calls are over", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"") == 4
    });
    assert_eq!(daemon.metric("callreel_recordings_failed_total", ""), 0);
    let (counted, log) = (lost(&daemon), daemon.log());
    daemon.wait_until("all is well", |daemon| daemon.health().0 == 200);
    let (code, said) = house.start_in_vain();
    assert_eq!(code, Some(2), "the new folder is locked too: {said}");
    assert_eq!(daemon.stop().0.code(), Some(0));
    drop(calls);
    assert!(log.contains("it was taken away"), "{log}");
    let recordings = house.recordings();
    assert_eq!((recordings.len(), house.unfinished()), (4, 0));
    let dropped = recordings.iter().map(|sidecar| sidecar.packets_dropped);
    assert_eq!(dropped.sum::<u64>(), counted);
    for sidecar in &recordings {
        let mut segments = sidecar.segments.iter();
        let storage = segments.find(|segment| segment.cause == Cause::Storage);
        let storage = storage.expect("it says what it lost");
        assert!(
            storage.from == 0 && storage.to < sidecar.samples,
            "{storage:?}"
        );
    }
}

/// A command that sees the mounts of a process.
fn seen_by<'w>(process: &str, words: impl IntoIterator<Item = &'w str>) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", process, "-m"]).args(words);
    command
}

#[test]
fn a_storage_that_is_unmounted_is_waited_for_and_nothing_is_written_where_it_was() {
    let Some(house) = House::build() else { return };
    let Some(_disk) = SmallDisk::mount(&house.storage(), 64) else {
        return;
    };
    if !has("nsenter") {
        return;
    }
    house.configure(&["eth0"], "");
    let mut daemon = house.start();
    let calls = house.begin_simulation(2, 12);
    daemon.wait_until("all calls are recorded", |_| house.unfinished() == 2);
    let (process, storage) = (daemon.id().to_string(), house.storage());
    let storage = storage.to_str().unwrap();
    let files = || {
        let found = seen_by(&process, ["find", storage, "-type", "f"]).output();
        String::from_utf8(found.unwrap().stdout).unwrap()
    };
    let unmounted = seen_by(&process, ["umount", "-l", storage]).status();
    assert!(unmounted.unwrap().success());
    daemon.wait_until("it is said", |daemon| {
        daemon.health().1.contains("nothing is mounted at")
    });
    daemon.wait_until("it is counted", |daemon| lost(daemon) > 100);
    assert_eq!(files(), "", "nothing lies where the mount was");
    let mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=64m",
        "callreel-test",
        storage,
    ];
    assert!(seen_by(&process, mount).status().unwrap().success());
    daemon.wait_until("both calls go on", |_| {
        files().matches(".wav.part").count() == 2
    });
    daemon.wait_until("the calls are over", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"") == 2
    });
    calls.wait();
    assert_eq!(files().matches(".json\n").count(), 2, "{}", files());
    daemon.wait_until("all is well", |daemon| daemon.health().0 == 200);
    assert_eq!(daemon.stop().0.code(), Some(0));
}

/// The storage as the daemon sees it, read-only until this is dropped.
struct ReadOnly {
    daemon: String,
    folder: String,
}

impl ReadOnly {
    /// `None`, with the reason printed, where nothing can be mounted.
    fn make(daemon: &Daemon<'_>, folder: &Path) -> Option<ReadOnly> {
        if !has("nsenter") {
            return None;
        }
        let made = ReadOnly {
            daemon: daemon.id().to_string(),
            folder: folder.display().to_string(),
        };
        let bound = made.mount(&["mount", "--bind", &made.folder])
            && made.mount(&["mount", "-o", "remount,ro,bind"]);
        if !bound {
            println!("skipped: nothing can be mounted where the daemon is");
        }
        bound.then_some(made)
    }

    fn mount(&self, words: &[&str]) -> bool {
        let words = words.iter().copied().chain([self.folder.as_str()]);
        seen_by(&self.daemon, words).status().unwrap().success()
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        self.mount(&["umount", "-l"]);
    }
}

/// What `callreel catalog verify` says, and its exit code.
fn verify(house: &House) -> (Option<i32>, Value) {
    let mut command = Command::new(PROGRAM);
    command.args(["catalog", "verify", "--json", "--config"]);
    let output = command.arg(house.config()).output().unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), said)
}

#[test]
fn what_a_storage_refused_is_finished_and_removed_when_it_takes_writes_again() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "[access]\nkey_file = \"access.key\"\n");
    let mut daemon = house.start();
    let client = client(&house);
    house.call(1, 1.0, 1);
    let mut deleted = Value::Null;
    daemon.wait_until("the catalog has a call", |_| {
        deleted = client.get("/calls").2["items"][0]["id"].clone();
        deleted.is_string()
    });
    let deleted = deleted.as_str().unwrap().to_owned();
    let calls = house.begin_simulation(3, 4);
    daemon.wait_until("all calls are recorded", |_| house.unfinished() == 3);
    let Some(trouble) = ReadOnly::make(&daemon, &house.storage()) else {
        return;
    };
    let answer = client.ask("DELETE", &format!("/calls/{deleted}"), None);
    assert_eq!(answer.0, 204);
    daemon.wait_until("the calls wait", |daemon| {
        daemon.metric("callreel_recordings_waiting", "") == 3
    });
    calls.wait();
    assert_eq!(daemon.metric("callreel_recordings_failed_total", ""), 3);
    let mut refused = Value::Null;
    daemon.wait_until("the catalog has one that waits", |_| {
        refused = client.get("/calls?disposition=disk_error").2["items"][0]["id"].clone();
        refused.is_string()
    });
    let refused = refused.as_str().unwrap();
    let answer = client.ask("DELETE", &format!("/calls/{refused}"), None);
    assert_eq!(answer.0, 204);
    let (code, said) = verify(&house);
    assert_eq!((code, &said["in_progress"]), (Some(1), &0.into()), "{said}");
    let findings = said["findings"].as_array().unwrap().iter();
    let unfinished = findings.filter(|finding| finding["fault"] == "unfinished");
    assert_eq!(unfinished.count(), 3, "{said}");
    daemon.wait_until("it is said", |daemon| {
        daemon.health().1.contains("\"storage_failing\"")
    });
    assert_eq!(
        house.recordings().len(),
        1,
        "the deleted one's files are there"
    );

    drop(trouble);
    daemon.wait_until("they are finished", |daemon| {
        daemon.metric("callreel_recordings_waiting", "") == 0
    });
    let revised = "{from=\"disk_error\",to=\"recorded\"}";
    let revised = daemon.metric("callreel_calls_revised_total", revised);
    assert_eq!(revised, daemon.metric("callreel_recordings_late_total", ""));
    daemon.wait_until("the deleted ones' files are gone", |_| {
        house.recordings().len() == 2
    });
    daemon.wait_until("nothing waits", |_| house.unfinished() == 0);
    daemon.wait_until("all is well", |daemon| daemon.health().0 == 200);
    let mut said = Value::Null;
    daemon.wait_until("the catalog has them", |_| {
        let (code, found) = verify(&house);
        said = found;
        code == Some(0) && said["rows"] == 2
    });
    assert_eq!(said["in_progress"], 0, "{said}");
    assert_eq!(daemon.metric("callreel_recordings_failed_total", ""), 3);
    for sidecar in house.recordings() {
        let reason = sidecar.end_reason.as_deref();
        assert!(
            reason.is_some_and(|reason| reason.starts_with("bye_")),
            "{reason:?}"
        );
        assert!(!sidecar.streams.is_empty());
        assert!(sidecar.quality.is_some_and(|quality| quality.mos.is_some()));
    }
    assert_eq!(daemon.stop().0.code(), Some(0));
}
