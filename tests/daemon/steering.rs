//! Recordings steered while real calls last: by the socket, and through a kill.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use callreel::base::Side;
use callreel::storage::{Cause, Sidecar};

use crate::house::{House, PROGRAM};
use crate::{now_ns, tenant};

/// Ids of the recordings that the log says have begun.
fn begun(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("recording begun"));
    let id = |line: &str| {
        let (_, rest) = line.split_once("recording=")?;
        Some(rest.split(' ').next()?.to_owned())
    };
    lines.filter_map(id).collect()
}

/// What `callreel calls control` says, its status, and how long it took.
fn control(house: &House, id: &str, action: &str) -> (serde_json::Value, i32, Duration) {
    let started = Instant::now();
    let output = Command::new(PROGRAM)
        .args(["calls", "--config"])
        .arg(house.config())
        .args(["control", id, action, "--why", "card number", "--json"])
        .output()
        .unwrap();
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (answer, output.status.code().unwrap(), started.elapsed())
}

fn pauses(sidecar: &Sidecar, side: Side) -> Vec<(u64, u64)> {
    let pauses = sidecar.segments.iter();
    pauses
        .filter(|s| s.cause == Cause::Pause && s.side == side)
        .map(|s| (s.from, s.to))
        .collect()
}

#[test]
fn a_pause_asked_for_by_the_socket_holds_at_once_and_is_silence() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "[tenancy]\ntenants = \"tenants/*.toml\"\n");
    house.write_tenant(&(tenant("Acme") + "\n[recording]\nsignalling = true\n"));
    let mut daemon = house.start();
    let (_, status, _) = control(&house, "nobody", "pause");
    assert_eq!(status, 1, "there is no such call");
    let calls = house.begin_calls(1, 1.0, 6);
    daemon.wait_until("it is recorded", |daemon| !begun(&daemon.log()).is_empty());
    sleep(Duration::from_secs(1));
    let id = begun(&daemon.log()).remove(0);
    let asked_at = now_ns();
    let (answer, status, took) = control(&house, &id, "pause");
    assert_eq!((status, &answer["changed"]), (0, &1.into()), "{answer}");
    println!("the pause took {took:?}, the start of the program included");
    sleep(Duration::from_secs(2));
    let resumed_at = now_ns();
    let (answer, _, _) = control(&house, &id, "resume");
    assert_eq!(answer["changed"], 1, "{answer}");
    let (again, status, _) = control(&house, &id, "resume");
    assert_eq!((status, &again["changed"]), (0, &0.into()));
    calls.wait();
    daemon.wait_until("the call is over", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"") == 1
    });
    assert_eq!(daemon.stop().0.code(), Some(0));
    let sidecar = house.recordings().remove(0);
    let place = |ns: i64| (ns - sidecar.started_at_ns) * 8 / 1_000_000;
    for side in Side::BOTH {
        let [(from, to)] = pauses(&sidecar, side)[..] else {
            panic!("{:?}", sidecar.segments);
        };
        let (late, later) = (from as i64 - place(asked_at), to as i64 - place(resumed_at));
        println!(
            "{side}: in force {} ms and {} ms after it was asked",
            late / 8,
            later / 8
        );
        assert!((0..1600).contains(&late) && (0..1600).contains(&later));
    }
    assert_silent(&house, &sidecar);
    let segment = sidecar.segments.iter().find(|s| s.cause == Cause::Pause);
    let segment = segment.unwrap();
    assert_eq!(segment.why.as_deref(), Some("card number"));
    assert!(segment.who.as_deref().unwrap().contains("uid 0"));
    assert_eq!(sidecar.control.len(), 2);
    assert_readable_signalling(&house, &sidecar);
}

/// Every sample of every pause is nothing, and on both of its sides there is a tone.
fn assert_silent(house: &House, sidecar: &Sidecar) {
    let (from, to) = pauses(sidecar, Side::Caller)[0];
    let samples = samples(house, sidecar);
    let at = |frames: std::ops::Range<u64>| {
        let frames = frames.start as usize * 2..frames.end as usize * 2;
        samples[frames]
            .iter()
            .filter(|sample| **sample != 0)
            .count()
    };
    assert_eq!(at(from..to), 0);
    assert!(at(from - 1600..from) > 400 && at(to..to + 1600) > 400);
}

fn samples(house: &House, sidecar: &Sidecar) -> Vec<i16> {
    let path = beside(house, sidecar, "wav");
    let mut reader = hound::WavReader::open(path).unwrap();
    reader.samples().map(Result::unwrap).collect()
}

fn beside(house: &House, sidecar: &Sidecar, extension: &str) -> std::path::PathBuf {
    house.audio(sidecar).with_extension(extension)
}

/// tshark reads every message of the capture file as SIP; the ladder shows them.
fn assert_readable_signalling(house: &House, sidecar: &Sidecar) {
    let signalling = sidecar.signalling.as_ref().unwrap();
    assert_eq!((signalling.messages, signalling.omitted), (6, 0));
    let pcap = beside(house, sidecar, "pcap");
    if let Ok(output) = Command::new("tshark")
        .arg("-r")
        .arg(&pcap)
        .args(["-T", "fields", "-e", "sip.CSeq", "-e", "_ws.malformed"])
        .output()
    {
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let expected = [
            "1 INVITE", "1 INVITE", "1 INVITE", "1 ACK", "2 BYE", "2 BYE",
        ];
        assert_eq!(lines, expected, "{text}");
    }
    let ladder = Command::new(PROGRAM)
        .args(["calls", "--config"])
        .arg(house.config())
        .args(["show", "--ladder", "--ascii"])
        .arg(sidecar.recording_id.to_string())
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    let text = String::from_utf8(ladder.stdout).unwrap();
    println!("{text}");
    for words in [
        "INVITE (1)",
        "200 OK",
        "audio PCMU",
        "pause begins, uid 0, card number",
        "BYE (2)",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[test]
fn a_kill_in_a_pause_leaves_the_pause_and_none_of_its_audio() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    let mut daemon = house.start();
    let calls = house.begin_calls(1, 1.0, 8);
    daemon.wait_until("it is recorded", |daemon| !begun(&daemon.log()).is_empty());
    sleep(Duration::from_secs(2));
    let id = begun(&daemon.log()).remove(0);
    assert_eq!(control(&house, &id, "pause").1, 0);
    sleep(Duration::from_secs(2));
    daemon.kill();
    drop(calls);
    let daemon = house.start();
    assert_eq!(daemon.stop().0.code(), Some(0));
    let sidecars = house.recordings();
    assert_eq!(
        sidecars.len(),
        1,
        "what the run of after the kill heard is nobody's call"
    );
    let sidecar = &sidecars[0];
    assert_eq!(sidecar.end_reason.as_deref(), Some("recovered"));
    assert_eq!(sidecar.control.len(), 1);
    let length = sidecar.samples;
    let noted = sidecar.control[0].at_ns;
    let from = (noted - sidecar.started_at_ns) * 8 / 1_000_000;
    let all = samples(&house, sidecar);
    let behind = all.get(from as usize * 2..).unwrap_or_default();
    assert!(
        behind.iter().all(|sample| *sample == 0),
        "audio of the pause"
    );
    println!("{length} samples, the pause begins at {from}");
}

#[test]
fn on_demand_nothing_is_left_unless_somebody_asks() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "[tenancy]\ntenants = \"tenants/*.toml\"\n");
    house.write_tenant(&(tenant("Acme") + "\n[recording]\npolicy = \"on-demand\"\n"));
    let mut daemon = house.start();
    let calls = house.begin_calls(2, 10.0, 4);
    daemon.wait_until("both are recorded", |daemon| {
        begun(&daemon.log()).len() == 2
    });
    sleep(Duration::from_secs(1));
    assert_eq!(house.unfinished(), 0, "they are held back");
    let id = begun(&daemon.log()).remove(1);
    let (answer, status, _) = control(&house, &id, "keep");
    assert_eq!(status, 0, "{answer}");
    calls.wait();
    daemon.wait_until("both are over", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"")
            + daemon.metric("callreel_calls_total", "\"policy_on_demand\"")
            == 2
    });
    assert_eq!(daemon.stop().0.code(), Some(0));
    let recordings = house.recordings();
    assert_eq!(recordings.len(), 1);
    assert_eq!(recordings[0].recording_id.to_string(), id);
    assert!(
        recordings[0].samples > 4 * 8000 - 800,
        "from the start of the call on"
    );
}

#[test]
fn a_phone_steers_its_recording_by_header_and_keys() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "[tenancy]\ntenants = \"tenants/*.toml\"\n");
    let tenant = tenant("Acme").replace("1002", "7001");
    house.write_tenant(
        &(tenant
            + "\n[recording]\ndigits = \"keep\"\nsignalling = true\n[recording.header]\nname = \"X-Record\"\n\
               [recording.keys]\npause = \"*1\"\nresume = \"*2\"\n"),
    );
    let mut daemon = house.start();
    house.call_steered(7);
    daemon.wait_until("the call is over", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"") == 1
    });
    assert_eq!(daemon.stop().0.code(), Some(0));
    let sidecar = house.recordings().remove(0);
    // As the scenario has them: a second by header, then what six keys take.
    for side in Side::BOTH {
        let found = pauses(&sidecar, side);
        let [(a, b), (c, d)] = found[..] else {
            panic!("{found:?}");
        };
        for (samples, millis) in [(a, 1000), (b - a, 1000), (c - b, 1200), (d - c, 1100)] {
            assert!((samples / 8).abs_diff(millis) < 150, "{found:?}");
        }
    }
    assert_silent(&house, &sidecar);
    let keys: String = sidecar.digits.iter().map(|digit| digit.key).collect();
    assert_eq!(keys, "5", "neither that of the pause nor those that ask");
    let by: Vec<&str> = sidecar.control.iter().map(|asked| &*asked.by).collect();
    assert_eq!(by, ["header", "header", "keys", "keys"]);
    let pcap = std::fs::read(beside(&house, &sidecar, "pcap")).unwrap();
    let text = String::from_utf8_lossy(&pcap);
    assert!(text.contains("Signal=5") && !text.contains("Signal=7"));
}
