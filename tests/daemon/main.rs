//! `callreel run` as an operator runs it, on a cable with real calls: recorded whole, through reloads, kills, full disks and
//! lost interfaces.

#[path = "../common/audio.rs"]
mod audio;
mod away;
mod house;
mod outside;
mod phones;
mod power;
mod steering;
mod storage;
mod tls;

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callreel::base::Side;
use callreel::storage::{Cause, Sidecar};
use house::{Daemon, House, PROGRAM, SmallDisk};
use rustix::process::Signal;

fn seconds(sidecar: &Sidecar) -> f64 {
    sidecar.samples as f64 / f64::from(sidecar.sample_rate_hz)
}

fn now_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as i64
}

/// Fails unless every packet of a sipp call is in its recording.
fn assert_whole(sidecar: &Sidecar, talk: u64) {
    assert_eq!(sidecar.end_reason.as_deref(), Some("bye_caller"));
    assert!((seconds(sidecar) - talk as f64 - 0.2).abs() < 0.15);
    for side in Side::BOTH {
        let streams: Vec<_> = sidecar.streams.iter().filter(|s| s.side == side).collect();
        let [stream] = streams[..] else {
            panic!("{} streams of the {side}", streams.len());
        };
        let lost = stream.lost + stream.not_placed;
        assert_eq!((stream.packets, lost), (talk * 50, 0), "{side}");
    }
}

fn assert_no_drops(daemon: &Daemon<'_>) {
    assert_eq!(daemon.metric("callreel_dropped_packets_total", ""), 0);
}

fn tenant(name: &str) -> String {
    format!(
        "[tenant]\nid = \"34c7f1f6-9201-11e5-a739-e03f497dbdff\"\nname = \"{name}\"\n\n\
         [[match]]\nnetworks = [\"192.0.2.0/24\"]\n\n[[extension]]\nnumber = \"1002\"\nuser = \"bob\"\n"
    )
}

#[test]
fn ten_calls_at_a_time_are_recorded_whole_and_their_numbers_stay_out_of_the_log() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    let mut daemon = house.start();
    house.call(10, 10.0, 4);
    daemon.wait_until("all calls are over", |daemon| {
        // The engine tells of itself once a second.
        daemon.metric("callreel_calls_total", "\"recorded\"") == 10
            && daemon.metric("callreel_open_calls", "") == 0
    });
    assert_eq!(daemon.health(), (200, "{\"status\":\"ok\"}".into()));
    assert_no_drops(&daemon);
    assert_eq!(
        daemon.metric("callreel_rtp_packets_total", ""),
        10 * 2 * 200
    );
    check_status(&house);
    let log = daemon.log();
    let (status, _) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let gone = house.inside(PROGRAM).args(["status"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(4));
    let recordings = house.recordings();
    assert_eq!((recordings.len(), house.unfinished()), (10, 0));
    recordings
        .iter()
        .for_each(|sidecar| assert_whole(sidecar, 4));
    assert_eq!(log.matches("call over").count(), 10, "{log}");
    assert_eq!(log.matches("recording begun").count(), 10, "{log}");
    assert_says_nothing_of_people(&log, &recordings);
}

/// What `callreel status` says after ten calls of 200 packets a side.
fn check_status(house: &House) {
    let ask = |more: &[&str]| {
        let mut command = house.inside(PROGRAM);
        command.arg("status").arg("--config").arg(house.config());
        command.args(more).output().unwrap()
    };
    let json = ask(&["--json"]);
    assert_eq!(json.status.code(), Some(0));
    let status: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&status["status"], &status["open_calls"]),
        (&"ok".into(), &0.into())
    );
    assert_eq!(status["interfaces"][0]["name"], "eth0");
    assert_eq!(status["rtp_packets"], 4000);
    let quality = &status["quality"];
    assert_eq!(
        (&quality["rated_calls"], &quality["bad_calls"]),
        (&10.into(), &0.into())
    );
    assert_eq!(
        (&quality["rtp_expected"], &quality["network_lost"]),
        (&4000.into(), &0.into())
    );
    let vantage = &status["vantages"][0];
    assert_eq!(
        (&vantage["vantage"], &vantage["calls"]),
        (&"eth0".into(), &10.into())
    );
    assert_eq!(
        (&vantage["duplicate_share"], &vantage["one_direction_share"]),
        (&0.0.into(), &0.0.into())
    );
    let table = String::from_utf8(ask(&[]).stdout).unwrap();
    assert!(table.starts_with("ok, version "), "{table}");
    for text in [
        "INTERFACE",
        "recorded",
        "of them below MOS 3.6",
        "VANTAGE",
        "catalog: there",
    ] {
        assert!(table.contains(text), "{table}");
    }
    // No tenant, no number, no address.
    assert!(
        !table.contains("1002") && !table.contains("192.0.2"),
        "{table}"
    );
}

fn assert_says_nothing_of_people(log: &str, recordings: &[Sidecar]) {
    // Groups of an id's digits may read like a number.
    let mut log = log.to_owned();
    for sidecar in recordings {
        log = log.replace(&sidecar.recording_id.to_string(), "");
    }
    let words: Vec<&str> = log.split(|c: char| !c.is_alphanumeric()).collect();
    for sidecar in recordings {
        for party in [&sidecar.caller, &sidecar.callee] {
            assert!(
                !words.contains(&&*party.number),
                "{} in {log}",
                party.number
            );
            assert!(
                party.display.is_empty() || !log.contains(&party.display),
                "{log}"
            );
        }
        assert!(!log.contains(&sidecar.call_id), "{log}");
    }
}

#[test]
fn several_interfaces_are_one_wire_and_a_late_one_is_waited_for() {
    let Some(house) = House::build() else { return };
    house.configure(&["lo", "eth0", "late0"], "");
    let mut daemon = house.start();
    let (code, body) = daemon.health();
    assert_eq!(code, 503);
    assert!(
        body.contains("\"interface_lost\"") && body.contains("late0"),
        "{body}"
    );
    assert_eq!(daemon.metric("callreel_interface_up", "late0"), 0);
    assert_eq!(daemon.metric("callreel_interface_up", "eth0"), 1);
    house.call(5, 5.0, 2);
    let ip = |words: &str| {
        let words = words.split(' ');
        assert!(house.inside("ip").args(words).status().unwrap().success());
    };
    ip("link add late0 type veth peer name late1");
    ip("link set late0 up");
    ip("link set late1 up");
    daemon.wait_until("the interface is there", |daemon| daemon.health().0 == 200);
    house.call(5, 5.0, 2);
    daemon.wait_until("all calls are over", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"") == 10
    });
    assert_no_drops(&daemon);
    assert_eq!(daemon.stop().0.code(), Some(0));
    let recordings = house.recordings();
    assert_eq!(recordings.len(), 10);
    for sidecar in &recordings {
        assert_whole(sidecar, 2);
        assert_eq!(sidecar.vantage, "eth0");
    }
}

#[test]
fn tenants_are_edited_while_calls_run() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    house.write_tenant(&tenant("First"));
    let mut daemon = house.start();
    // One call begins, the file changes, another begins while the first goes on.
    let calls = house.begin_calls(2, 0.25, 6);
    daemon.wait_until("the first call has begun", |daemon| {
        daemon.metric("callreel_open_calls", "") == 1
    });
    house.write_tenant(&tenant("Second"));
    daemon.wait_until("the file is read", |daemon| {
        daemon.metric("callreel_config_reloads_total", "") == 1
    });
    assert_eq!(daemon.metric("callreel_open_calls", ""), 1);
    calls.wait();

    house.write_tenant("[tenant]\nid = 7\n");
    daemon.wait_until("the broken file is refused", |daemon| {
        daemon.metric("callreel_config_reload_failures_total", "") == 1
    });
    assert_eq!(
        daemon.metric("callreel_config_last_reload_successful", ""),
        0
    );
    assert!(daemon.log().contains("acme.toml:2"), "{}", daemon.log());
    house.call(1, 1.0, 1);

    house.write_tenant(&tenant("Third"));
    daemon.wait_until("the mended file is read", |daemon| {
        daemon.metric("callreel_config_last_reload_successful", "") == 1
    });
    let reloads = daemon.metric("callreel_config_reloads_total", "");
    daemon.signal(Signal::HUP);
    daemon.wait_until("SIGHUP reads it again", |daemon| {
        daemon.metric("callreel_config_reloads_total", "") == reloads + 1
    });
    house.call(1, 1.0, 1);
    assert_eq!(daemon.stop().0.code(), Some(0));
    let recordings = house.recordings();
    let tenants: Vec<&str> = recordings.iter().map(|sidecar| &*sidecar.tenant).collect();
    assert_eq!(tenants, ["First", "Second", "Second", "Third"]);
    for (sidecar, talk) in recordings.iter().zip([6, 6, 1, 1]) {
        assert_whole(sidecar, talk);
        assert_eq!(sidecar.callee.user.as_deref(), Some("bob"));
    }
}

#[test]
fn calls_in_progress_are_recordings_when_the_daemon_stops() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    let mut daemon = house.start();
    let _calls = house.begin_simulation(20, 60);
    daemon.wait_until("all calls have begun", |daemon| {
        daemon.metric("callreel_open_calls", "") == 20
    });
    sleep(Duration::from_secs(3));
    let stopped_ns = now_ns();
    let (status, took) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let recordings = house.recordings();
    assert_eq!((recordings.len(), house.unfinished()), (20, 0));
    for sidecar in &recordings {
        assert_eq!(sidecar.end_reason.as_deref(), Some("shutdown"));
        let end_ns = sidecar.started_at_ns + (seconds(sidecar) * 1e9) as i64;
        assert!(
            (end_ns - stopped_ns).abs() < 300_000_000,
            "{}",
            end_ns - stopped_ns
        );
    }
    assert_eq!(catalogued(&house), ["shutdown"; 20]);
}

/// How the calls ended that the catalog has.
fn catalogued(house: &House) -> Vec<String> {
    let mut command = Command::new(PROGRAM);
    command
        .args(["catalog", "verify", "--json", "--config"])
        .arg(house.config());
    let verified = command.output().unwrap();
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    let recordings = house.recordings();
    recordings
        .into_iter()
        .filter_map(|sidecar| sidecar.end_reason)
        .collect()
}

#[test]
fn a_killed_daemon_loses_a_second_of_each_call_and_the_next_one_finishes_them() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    let mut daemon = house.start();
    let calls = house.begin_simulation(50, 60);
    daemon.wait_until("all calls have begun", |daemon| {
        daemon.metric("callreel_open_calls", "") == 50
    });
    sleep(Duration::from_secs(4));
    let killed_ns = now_ns();
    daemon.kill();
    drop(calls);
    assert_eq!((house.recordings().len(), house.unfinished()), (0, 50));

    let mut daemon = house.start();
    assert_eq!(daemon.metric("callreel_recordings_recovered_total", ""), 50);
    daemon.wait_until("the catalog has them", |daemon| {
        daemon.metric("callreel_catalog_rows_written_total", "") == 50
    });
    assert_eq!(daemon.stop().0.code(), Some(0));
    let recordings = house.recordings();
    assert_eq!((recordings.len(), house.unfinished()), (50, 0));
    let mut worst = 0;
    for sidecar in &recordings {
        assert_eq!(sidecar.end_reason.as_deref(), Some("recovered"));
        assert!(!sidecar.caller.number.is_empty());
        let end_ns = sidecar.started_at_ns + (seconds(sidecar) * 1e9) as i64;
        worst = worst.max(killed_ns - end_ns);
    }
    println!("at most {} ms of a call were lost", worst / 1_000_000);
    assert!(worst <= 1_000_000_000, "{} ms were lost", worst / 1_000_000);
    assert_eq!(catalogued(&house).len(), 50);
}

#[test]
fn a_second_daemon_is_refused_with_the_number_of_the_first() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    let daemon = house.start();
    let (code, said) = house.start_in_vain();
    assert_eq!(code, Some(2));
    assert!(said.contains(&format!("process {}", daemon.id())), "{said}");

    house.configure(&["eth0"], "");
    let config = std::fs::read_to_string(house.config()).unwrap();
    let elsewhere = config.replace("\"recordings\"", "\"elsewhere\"");
    std::fs::write(house.config(), elsewhere).unwrap();
    let (code, said) = house.start_in_vain();
    assert_eq!(code, Some(2));
    assert!(
        said.contains("127.0.0.1:8080") && said.contains("api.listen"),
        "{said}"
    );
}

#[test]
fn a_full_disk_is_said_and_counted_and_recording_resumes_when_there_is_room() {
    let Some(house) = House::build() else { return };
    let Some(disk) = SmallDisk::mount(&house.storage(), 64) else {
        return;
    };
    house.configure(&["eth0"], "");
    let mut daemon = house.start();
    let _calls = house.begin_simulation(10, 60);
    daemon.wait_until("all calls have begun", |daemon| {
        daemon.metric("callreel_open_calls", "") == 10
    });
    sleep(Duration::from_secs(2));
    let filler = disk.fill_up_to(2);
    let lost = |daemon: &Daemon<'_>| daemon.metric("callreel_dropped_packets_total", "\"storage\"");
    daemon.wait_until("packets are lost and counted", |daemon| lost(daemon) > 0);
    let (code, body) = daemon.health();
    assert_eq!(code, 503);
    assert!(body.contains("\"storage_low\""), "{body}");
    sleep(Duration::from_secs(2));
    std::fs::remove_file(filler).unwrap();
    daemon.wait_until("there is room", |daemon| {
        daemon.metric("callreel_storage_low", "") == 0
    });
    sleep(Duration::from_secs(1));
    let lost_in_all = lost(&daemon);
    sleep(Duration::from_secs(2));
    assert_eq!(lost(&daemon), lost_in_all);
    let log = daemon.log();
    assert_eq!(daemon.stop().0.code(), Some(0));
    assert_eq!(log.matches("the disk is nearly full").count(), 1, "{log}");
    assert_eq!(log.matches("there is room on the disk").count(), 1, "{log}");
    let recordings = house.recordings();
    assert_eq!(recordings.len(), 10);
    for sidecar in &recordings {
        let mut storage = sidecar
            .segments
            .iter()
            .filter(|s| s.cause == Cause::Storage);
        assert!(
            storage.any(|s| s.to < sidecar.samples),
            "{:?}",
            sidecar.segments
        );
    }
}

#[test]
fn a_catalog_that_is_away_loses_nothing() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    let config = std::fs::read_to_string(house.config()).unwrap();
    let later = config.replace("catalog.db", "later/catalog.db");
    std::fs::write(house.config(), later).unwrap();
    let mut daemon = house.start();
    daemon.wait_until("the catalog is missed", |daemon| {
        let (code, body) = daemon.health();
        code == 503 && body.contains("\"catalog_away\"")
    });
    house.call(2, 2.0, 1);
    daemon.wait_until("the calls are over", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"") == 2
    });
    std::fs::create_dir(house.folder.path().join("later")).unwrap();
    daemon.wait_until("all is well", |daemon| daemon.health().0 == 200);
    assert_eq!(daemon.metric("callreel_catalog_rows_dropped_total", ""), 0);
    assert_eq!(daemon.stop().0.code(), Some(0));
    assert_eq!(catalogued(&house), ["bye_caller"; 2]);
}

#[test]
fn systemd_hears_of_start_reload_progress_and_stop() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    let path = house.folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let hear = |what: &str| {
        let mut buffer = [0; 1000];
        loop {
            let len = socket
                .recv(&mut buffer)
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            let said = String::from_utf8_lossy(&buffer[..len]);
            if said.lines().any(|line| line == what) {
                return said.into_owned();
            }
        }
    };
    let environment = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "400000"),
    ];
    let daemon = house.start_with(&environment);
    hear("READY=1");
    hear("WATCHDOG=1");
    daemon.signal(Signal::HUP);
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    daemon.signal(Signal::TERM);
    hear("STOPPING=1");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn nothing_to_record_from_is_an_error_that_says_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("callreel.toml");
    std::fs::write(&config, "").unwrap();
    let mut command = Command::new(PROGRAM);
    let output = command
        .args(["run", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("interfaces = [\"span0\"]"), "{said}");
    std::fs::write(&config, "[capture]\ninterface = [\"eth0\"]\n").unwrap();
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("callreel.toml:2"), "{said}");
}
