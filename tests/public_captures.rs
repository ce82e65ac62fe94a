//! The public captures, replayed by the real program as a user replays them: what it says, and what is in the files.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/replay.rs"]
mod replay;

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use callreel::base::Timestamp;
use callreel::capture::{CaptureFiles, PcapWriter};
use callreel::wire::LinkType;
use captures::{CAPTURES, Call, Calls, Capture, Kind, Recording, SILENT, Segment, is_foreign};
use replay::{CallLine, Recorded, Replay, public_captures};

/// How far places on a timeline may be from where the table has them.
const SECONDS: f64 = 0.03;
/// A level is a sum over all samples: what differs is a resampler's ripple, or a mistake.
const DECIBEL: f64 = 0.25;

/// What differs from what was expected.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn same<T: PartialEq + Debug>(&mut self, what: impl Display, found: T, expected: T) {
        if found != expected {
            self.0
                .push(format!("{what}: {found:?} and not {expected:?}"));
        }
    }

    fn near(&mut self, what: impl Display, found: f64, expected: f64, tolerance: f64) {
        if found.is_nan() || found != expected && (found - expected).abs() > tolerance {
            self.0.push(format!("{what}: {found} and not {expected}"));
        }
    }

    fn assert_none(self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}

/// Does `work` for every item, on as many threads as there are processors.
fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T, &mut Findings) + Sync) -> Findings {
    let next = AtomicUsize::new(0);
    let one = || {
        let mut findings = Findings::default();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item, &mut findings);
        }
        findings.0
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        Findings(
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("a worker reports and does not panic"))
                .collect(),
        )
    })
}

#[test]
fn every_capture_becomes_the_calls_it_holds() {
    let Some(folder) = public_captures() else {
        return;
    };
    in_parallel(CAPTURES, |capture, findings| {
        let path = folder.join(capture.file);
        let replay = Replay::run(&[&path]);
        check_summary(capture, &replay, findings);
        match &capture.calls {
            Calls::Each(calls) => check_calls(capture, calls, &path, &replay, findings),
            Calls::Kinds(kinds) => check_kinds(capture, kinds, &replay, findings),
            Calls::Failed => check_failed(capture, &replay, findings),
        }
    })
    .assert_none();
}

fn check_summary(capture: &Capture, replay: &Replay, findings: &mut Findings) {
    let Capture { file, packets, .. } = capture;
    findings.same(format!("{file}: exit code"), replay.exit_code, Some(0));
    findings.same(format!("{file}: stderr"), &*replay.stderr, "");
    findings.same(
        format!("{file}: packets"),
        replay.count("packets"),
        *packets,
    );
    for never in ["recordings_failed", "packets_not_stored", "calls_refused"] {
        findings.same(format!("{file}: {never}"), replay.count(never), 0);
    }
    if !matches!(capture.calls, Calls::Failed) {
        for never in ["sip_malformed", "rtp_not_placed"] {
            findings.same(format!("{file}: {never}"), replay.count(never), 0);
        }
    }
    if let Some(unclaimed) = capture.unclaimed {
        let found = replay.count("rtp_unclaimed");
        findings.same(format!("{file}: RTP without a call"), found, unclaimed);
    }
    let recorded: Vec<Recorded> = replay
        .report
        .calls
        .iter()
        .filter_map(CallLine::recorded)
        .collect();
    let has_raw = |r: &&Recorded| r.sidecar.raw.as_ref().is_some_and(|raw| raw.file.is_some());
    let raw = recorded.iter().filter(has_raw).count();
    let recorded = recorded.len() as u64;
    findings.same(
        format!("{file}: files, two for each recording, and one of packets where there are any"),
        replay.files().len() as u64,
        2 * recorded + raw as u64,
    );
    let recordings = replay.count("recordings");
    findings.same(format!("{file}: recordings"), recordings, recorded);
}

fn check_calls(
    capture: &Capture,
    calls: &[Call],
    path: &Path,
    replay: &Replay,
    findings: &mut Findings,
) {
    let found: Vec<&str> = replay.report.calls.iter().map(|c| &*c.call_id).collect();
    let expected: Vec<&str> = calls.iter().map(|call| call.call_id).collect();
    findings.same(format!("{}: calls", capture.file), &found, &expected);
    for call in calls {
        let Some(line) = replay.call(call.call_id) else {
            continue;
        };
        let name = format!("{}: {}", capture.file, call.call_id);
        if is_foreign(call.codec) && !has_decoder() {
            println!("{name}: no ffmpeg, only kept raw");
            check_raw(&name, call, line, findings);
            continue;
        }
        check_line(&name, call, line, findings);
        match (&call.recording, line.recorded()) {
            (None, None) => {}
            (None, Some(_)) if call.disposition == KEPT_RAW => {
                check_raw(&name, call, line, findings);
            }
            (Some(recording), Some(recorded)) => {
                check_audio(&name, recording, line, &recorded, findings);
                check_times(&name, recording, path, &recorded, findings);
                check_streams(&name, recording, &recorded, findings);
                check_segments(&name, recording.segments, &recorded, findings);
                check_levels(&name, recording, &recorded, findings);
            }
            (expected, found) => findings.same(
                format!("{name}: whether it is recorded"),
                found.is_some(),
                expected.is_some(),
            ),
        }
    }
}

const KEPT_RAW: &str = "kept_raw";

/// Where a replay without configuration looks for it.
fn has_decoder() -> bool {
    Path::new("/usr/bin/ffmpeg").exists()
}

/// Nothing can be heard, and every packet is beside the recording, at its place.
fn check_raw(name: &str, call: &Call, line: &CallLine, findings: &mut Findings) {
    findings.same(format!("{name}: disposition"), &*line.disposition, KEPT_RAW);
    let (Some(file), Some(recorded)) = (&line.file, line.recorded()) else {
        findings.0.push(format!("{name}: no recording"));
        return;
    };
    let level = (recorded.level.caller, recorded.level.callee);
    findings.same(format!("{name}: levels"), level, (SILENT, SILENT));
    let Some(raw) = &recorded.sidecar.raw else {
        findings
            .0
            .push(format!("{name}: nothing is said of packets"));
        return;
    };
    findings.same(format!("{name}: packets kept"), raw.packets, call.sent);
    let named = raw
        .file
        .as_deref()
        .map(|file_name| file.with_file_name(file_name));
    let path = named.expect("the sidecar names the file");
    let mut captured = CaptureFiles::open(&[path]).unwrap();
    let (mut packets, mut last) = (0, recorded.sidecar.started_at_ns);
    while let Some(packet) = captured.next_packet().unwrap() {
        packets += 1;
        last = packet.time.as_nanos();
    }
    findings.same(format!("{name}: packets in the file"), packets, call.sent);
    let place = (last - recorded.sidecar.started_at_ns) as f64 / 1e9;
    let ends = raw.streams.iter().map(|stream| stream.last).max();
    let end = ends.unwrap_or(0) as f64 / f64::from(recorded.sample_rate_hz);
    findings.near(format!("{name}: last place"), place, end, 1e-6);
}

fn check_line(name: &str, call: &Call, line: &CallLine, findings: &mut Findings) {
    let said = |part: &str| format!("{name}: {part}");
    findings.same(said("caller"), &*line.caller, call.caller);
    findings.same(said("callee"), &*line.callee, call.callee);
    let answered = line.answered_at.is_some();
    findings.same(said("answered"), answered, call.answered);
    findings.same(said("disposition"), &*line.disposition, call.disposition);
    let links: Vec<_> = (line.links.iter())
        .map(|link| (&*link.call_id, &*link.reason))
        .collect();
    let linked: Vec<_> = call.linked.into_iter().collect();
    findings.same(said("other legs"), links, linked);
    findings.same(said("end reason"), &*line.end_reason, call.end_reason);
    findings.same(said("status"), line.status, call.status);
    findings.same(said("codec"), &*line.codec, call.codec);
    findings.same(said("packets sent"), line.packets_expected, call.sent);
    findings.same(said("packets lost"), line.packets_lost, call.lost);
}

/// `hound` reads what the sidecar announces; each side is on its channel, as loud as it spoke.
fn check_audio(
    name: &str,
    expected: &Recording,
    line: &CallLine,
    recorded: &Recorded,
    findings: &mut Findings,
) {
    let said = |part: &str| format!("{name}: {part}");
    let sidecar = &recorded.sidecar;
    findings.same(said("call in the sidecar"), &sidecar.call_id, &line.call_id);
    findings.same(said("channels"), recorded.channels, 2);
    findings.same(said("rate"), recorded.sample_rate_hz, expected.rate_hz);
    let announced = (sidecar.sample_rate_hz, sidecar.samples, sidecar.size_bytes);
    let found = (
        recorded.sample_rate_hz,
        recorded.frames,
        recorded.wav.len() as u64,
    );
    findings.same(said("rate, frames and bytes"), found, announced);
    let seconds = recorded.frames as f64 / f64::from(recorded.sample_rate_hz);
    findings.near(said("length"), seconds, expected.seconds, SECONDS);
    findings.near(said("length in the table"), line.length_s, seconds, 0.001);
    let level = &recorded.level;
    for (channel, found, level) in [
        ("left", level.caller, expected.left),
        ("right", level.callee, expected.right),
    ] {
        if level == SILENT {
            findings.same(said(channel), found, SILENT);
        } else {
            findings.near(said(channel), found, level, DECIBEL);
        }
    }
}

fn check_times(
    name: &str,
    expected: &Recording,
    capture: &Path,
    recorded: &Recorded,
    findings: &mut Findings,
) {
    let sidecar = &recorded.sidecar;
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1e9;
    let zero = first_packet(capture).as_nanos();
    let starts = seconds(zero, sidecar.started_at_ns);
    findings.near(format!("{name}: start"), starts, expected.starts, 0.01);
    let ended = sidecar.ended_at_ns.expect("the call is over");
    if let Some(talk) = expected.talk {
        let found = seconds(sidecar.answered_at_ns.unwrap_or(i64::MIN / 2), ended);
        findings.near(format!("{name}: answer to BYE"), found, talk, 0.01);
    }
}

fn check_streams(name: &str, expected: &Recording, recorded: &Recorded, findings: &mut Findings) {
    let mut found: Vec<String> = recorded
        .sidecar
        .streams
        .iter()
        .map(|s| {
            format!(
                "{:?}",
                (
                    s.side.to_string(),
                    &s.source,
                    &s.ssrc,
                    &s.codec,
                    s.packets,
                    s.lost,
                    s.duplicates
                )
            )
        })
        .collect();
    let mut expected_streams: Vec<String> = expected
        .streams
        .iter()
        .map(|stream| format!("{stream:?}"))
        .collect();
    found.sort();
    expected_streams.sort();
    findings.same(format!("{name}: streams"), found, expected_streams);
    let digits: String = recorded.sidecar.digits.iter().map(|d| d.key).collect();
    // They are counted, and by default not told.
    let masked = "x".repeat(expected.digits.len());
    findings.same(format!("{name}: digits"), digits, masked);
}

/// Every span listed is there, and no other of more than twice the tolerance.
/// The sidecar says of each side whether it was heard, whoever decoded it.
fn check_levels(name: &str, recording: &Recording, recorded: &Recorded, findings: &mut Findings) {
    let levels = &recorded.sidecar.levels;
    for (side, level, told) in [
        ("left", recording.left, &levels.caller),
        ("right", recording.right, &levels.callee),
    ] {
        let heard = told.as_ref().is_some_and(|told| told.peak_dbov.is_some());
        findings.same(
            format!("{name}: {side} has a level"),
            heard,
            level != SILENT,
        );
    }
}

fn check_segments(name: &str, expected: &[Segment], recorded: &Recorded, findings: &mut Findings) {
    let rate = f64::from(recorded.sample_rate_hz);
    let mut found: Vec<(String, f64, f64, String)> = recorded
        .sidecar
        .segments
        .iter()
        .map(|s| {
            let cause = serde_json::to_value(s.cause).unwrap();
            (
                s.side.to_string(),
                s.from as f64 / rate,
                s.to as f64 / rate,
                cause.as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    for segment @ &(side, from, to, cause) in expected {
        let near = |a: f64, b: f64| (a - b).abs() <= SECONDS;
        let fits = |s: &(String, f64, f64, String)| {
            s.0 == side && s.3 == cause && near(s.1, from) && near(s.2, to)
        };
        match found.iter().position(fits) {
            Some(at) => _ = found.remove(at),
            None => findings.0.push(format!("{name}: no segment {segment:?}")),
        }
    }
    for other in found.iter().filter(|s| s.2 - s.1 > 2.0 * SECONDS) {
        findings
            .0
            .push(format!("{name}: segment {other:?} is too much"));
    }
    let omitted = recorded.sidecar.segments_omitted;
    findings.same(format!("{name}: segments not listed"), omitted, 0);
}

fn check_kinds(
    capture: &Capture,
    kinds: &[(usize, Kind)],
    replay: &Replay,
    findings: &mut Findings,
) {
    let calls = &replay.report.calls;
    let names: BTreeSet<&str> = calls.iter().map(|call| &*call.call_id).collect();
    let all = kinds.iter().map(|(count, _)| count).sum();
    findings.same(format!("{}: Call-IDs", capture.file), names.len(), all);
    findings.same(format!("{}: calls", capture.file), calls.len(), all);
    for (count, kind) in kinds {
        let is_of = |call: &&CallLine| {
            call.disposition == kind.disposition
                && call.end_reason == kind.end_reason
                && call.status == kind.status
                && call.answered_at.is_some() == kind.answered
        };
        let found = calls.iter().filter(is_of).count();
        findings.same(format!("{}: {kind:?}", capture.file), found, *count);
    }
}

fn check_failed(capture: &Capture, replay: &Replay, findings: &mut Findings) {
    for call in &replay.report.calls {
        let name = format!("{}: {}", capture.file, call.call_id);
        findings.same(format!("{name}: answer"), &call.answered_at, &None);
        findings.same(name, &call.file, &None);
    }
}

fn first_packet(capture: &Path) -> Timestamp {
    let mut files = CaptureFiles::open(&[capture.to_owned()]).unwrap();
    files.next_packet().unwrap().expect("a packet").time
}

#[test]
fn the_table_knows_every_capture() {
    let Some(folder) = public_captures() else {
        return;
    };
    let there: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".pcap"))
        .collect();
    let known = CAPTURES.iter().map(|c| c.file.to_owned()).collect();
    assert_eq!(there, known);
}

#[test]
fn the_same_capture_gives_the_same_bytes() {
    let Some(folder) = public_captures() else {
        return;
    };
    let with_recordings: Vec<&Capture> = CAPTURES.iter().filter(|c| recorded(c) > 0).collect();
    in_parallel(&with_recordings, |capture, findings| {
        let path = folder.join(capture.file);
        let files = || {
            Replay::run(&[&path])
                .files()
                .into_iter()
                .collect::<Vec<_>>()
        };
        let (once, again) = (files(), files());
        let is_raw = |(name, _): &&(PathBuf, _)| name.extension().is_some_and(|e| e == "pcap");
        let raw = once.iter().filter(is_raw).count();
        findings.same(capture.file, once.len(), 2 * recorded(capture) + raw);
        for ((name, bytes), (other_name, other_bytes)) in once.iter().zip(&again) {
            findings.same(capture.file, name, other_name);
            findings.same(name.display(), bytes == other_bytes, true);
        }
    })
    .assert_none();
}

fn capture_calls(capture: &Capture) -> &[Call] {
    match &capture.calls {
        Calls::Each(calls) => calls,
        _ => &[],
    }
}

/// Recordings that a capture makes.
fn recorded(capture: &Capture) -> usize {
    let calls = capture_calls(capture).iter();
    calls
        .filter(|c| c.recording.is_some() || c.disposition == KEPT_RAW)
        .count()
}

#[test]
fn all_captures_at_once_are_the_same_calls() {
    let Some(folder) = public_captures() else {
        return;
    };
    let paths: Vec<PathBuf> = CAPTURES.iter().map(|c| folder.join(c.file)).collect();
    let merged = Replay::run(&paths);
    let mut findings = Findings::default();
    findings.same("exit code", merged.exit_code, Some(0));
    let packets = CAPTURES.iter().map(|c| c.packets).sum();
    findings.same("packets", merged.count("packets"), packets);
    let recordings: usize = CAPTURES.iter().map(recorded).sum();
    findings.same("recordings", merged.count("recordings"), recordings as u64);
    findings.0.extend(
        in_parallel(CAPTURES, |capture, findings| {
            check_merged(capture, &folder, &merged, findings);
        })
        .0,
    );
    findings.assert_none();
}

fn check_merged(capture: &Capture, folder: &Path, merged: &Replay, findings: &mut Findings) {
    // One is a damaged copy of another one, made of the same calls at the same time.
    let mixed = matches!(capture.calls, Calls::Failed) || capture.file.starts_with("failed-calls");
    if mixed {
        return;
    }
    let alone = Replay::run(&[folder.join(capture.file)]);
    for line in &alone.report.calls {
        let name = format!("{}: {}", capture.file, line.call_id);
        let same = |other: &&CallLine| {
            // Where the capture ended in mid-call, the next one goes on and a timeout ends the call.
            let end = line.end_reason == "end_of_capture" || line.end_reason == other.end_reason;
            end && CallLine {
                file: line.file.clone(),
                end_reason: line.end_reason.clone(),
                // Made of the interface too, which has another number.
                interaction_id: line.interaction_id.clone(),
                ..CallLine::clone(other)
            } == *line
        };
        let found: Vec<&CallLine> = merged.report.calls.iter().filter(same).collect();
        let [other] = found[..] else {
            findings.same(name, found.len(), 1);
            continue;
        };
        let wav = |line: &CallLine| line.recorded().map(|recorded| recorded.wav);
        findings.same(format!("{name}: audio"), wav(other) == wav(line), true);
    }
}

#[test]
fn a_capture_cut_anywhere_is_read_as_far_as_it_goes() {
    let Some(folder) = public_captures() else {
        return;
    };
    let cuts = |capture| [2, 3, 6, 10, 19].map(|part: usize| (capture, part));
    let all: Vec<(&Capture, usize)> = CAPTURES.iter().flat_map(cuts).collect();
    in_parallel(&all, |&(capture, part), findings| {
        let bytes = fs::read(folder.join(capture.file)).unwrap();
        // From a few bytes to nearly all, at odd places.
        let len = match part {
            19 => 19,
            10 => bytes.len() - 3,
            _ => bytes.len() / part + part,
        };
        let replay = replay_bytes(&bytes[..len]);
        let name = format!("{} cut to {len} bytes", capture.file);
        findings.same(
            format!("{name}: {}", replay.stderr),
            replay.panicked(),
            false,
        );
        // Whether a cut in the middle goes through a packet is chance.
        let good = match part {
            10 | 19 => replay.exit_code == Some(3),
            _ => matches!(replay.exit_code, Some(0 | 3)),
        };
        let code = replay.exit_code;
        findings.same(
            format!("{name}: exit code {code:?} is as it should be"),
            good,
            true,
        );
    })
    .assert_none();
}

fn replay_bytes(bytes: &[u8]) -> Replay {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    fs::write(&path, bytes).unwrap();
    Replay::run(&[path])
}

#[test]
fn a_cut_capture_keeps_the_calls_before_the_cut() {
    let Some(folder) = public_captures() else {
        return;
    };
    let path = folder.join("g711-ulaw-then-alaw.pcap");
    let bytes = fs::read(&path).unwrap();
    let (whole, cut) = (
        Replay::run(&[path]),
        replay_bytes(&bytes[..bytes.len() * 3 / 4]),
    );
    assert_eq!(cut.exit_code, Some(3), "{}", cut.stderr);
    assert!(cut.stderr.contains("cut.pcap"), "{}", cut.stderr);
    let audio = |replay: &Replay, call_id| replay.call(call_id).unwrap().recorded().unwrap();
    let (first, second) = ("1-1966@10.0.2.20", "1-1968@10.0.2.20");
    assert_eq!(audio(&whole, first).wav, audio(&cut, first).wav);
    let half = audio(&cut, second).frames;
    assert!((8000..66_240 - 8000).contains(&half), "{half} frames");
}

fn torture_messages(captures: &Path) -> Vec<Vec<u8>> {
    let files = fs::read_dir(captures.join("rfc4475")).unwrap();
    let mut messages: Vec<Vec<u8>> = files
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    messages.sort();
    assert_eq!(messages.len(), 49);
    messages
}

#[test]
fn torture_messages_disturb_no_neighbour() {
    let Some(folder) = public_captures() else {
        return;
    };
    let messages = torture_messages(&folder);
    let good = folder.join("g711-ulaw-then-alaw.pcap");
    let mixed = tempfile::tempdir().unwrap();
    let mixed = mixed.path().join("mixed.pcap");
    let hosts = ([10, 0, 2, 20], [10, 0, 2, 15]);
    let mut frames = messages.iter().flat_map(|message| {
        let (caller, callee) = hosts;
        [
            frame(caller, callee, message),
            frame(callee, caller, message),
        ]
    });
    mix(&good, (1, 8), &mut frames, &mixed);

    let (alone, mixed) = (Replay::run(&[good]), Replay::run(&[mixed]));
    assert_eq!(mixed.count("packets"), 852 + 2 * 49);
    assert_undisturbed(&alone, &mixed);
    // Valid INVITEs of section 3.1.1, each seen in both directions: one attempt each.
    for call_id in [
        "wsinv.ndaksdj@192.0.2.1",
        "esc01.239409asdfakjkn23onasd0-3234",
        "longreq.onereally",
    ] {
        let named = |call: &&CallLine| call.call_id.starts_with(call_id);
        assert_eq!(
            mixed.report.calls.iter().filter(named).count(),
            1,
            "{call_id}"
        );
    }
    // Attempts are the INVITEs that can be read, and the answers to INVITEs; each once, though a copy came back.
    let mut attempts: Vec<&str> = (mixed.report.calls.iter())
        .filter(|line| alone.call(&line.call_id).is_none())
        .filter_map(|line| line.call_id.split('.').next())
        .collect();
    attempts.sort_unstable();
    assert_eq!(attempts, TORTURE_ATTEMPTS);
    // Another version of SIP and a status that is none, in each direction.
    assert_eq!(mixed.count("sip_malformed"), 4);
    assert_eq!(
        mixed.count("sip_messages"),
        alone.count("sip_messages") + 2 * 47
    );
    assert_eq!(mixed.report.summary["sip_faults"], torture_faults());
    // Two requests in one datagram: the first counts, and it is a REGISTER.
    assert!(
        !mixed
            .report
            .calls
            .iter()
            .any(|c| c.call_id.starts_with("dblreq"))
    );
}

/// Calls, files and what is in them are the same, whatever else was on the wire.
fn assert_undisturbed(alone: &Replay, mixed: &Replay) {
    assert_eq!(mixed.exit_code, Some(0), "{}", mixed.stderr);
    assert!(!mixed.panicked(), "{}", mixed.stderr);
    assert!(!alone.files().is_empty());
    for line in &alone.report.calls {
        let other = mixed.call(&line.call_id).expect("the neighbour is there");
        let told = CallLine {
            file: line.file.clone(),
            ..other.clone()
        };
        assert_eq!(told, *line);
    }
    assert_eq!(
        alone.files().into_values().collect::<Vec<_>>(),
        mixed.files().into_values().collect::<Vec<_>>(),
    );
}

/// The same over TCP: each on a connection between the hosts of a call, to the port of its signalling.
#[test]
fn torture_messages_on_tcp_disturb_no_neighbour() {
    let Some(folder) = public_captures() else {
        return;
    };
    let messages = torture_messages(&folder);
    let good = folder.join("sip-over-tcp-g711a.pcap");
    let mixed = tempfile::tempdir().unwrap();
    let mixed = mixed.path().join("mixed.pcap");
    let (caller, callee) = (([10, 33, 6, 100], 20_000), ([10, 33, 6, 101], 5060));
    let mut frames = messages.iter().zip(0..).flat_map(|(message, n)| {
        let caller = (caller.0, caller.1 + n);
        // It ends with the message, so that what has no length is whole.
        [(caller, callee), (callee, caller)]
            .map(|(from, to)| {
                [
                    segment(from, to, 1, message, false),
                    segment(from, to, 1 + message.len() as u32, &[], true),
                ]
            })
            .concat()
    });
    mix(&good, (4, 1), &mut frames, &mixed);

    let (alone, mixed) = (Replay::run(&[good]), Replay::run(&[mixed]));
    assert_undisturbed(&alone, &mixed);
    assert_eq!(mixed.count("sip_malformed"), 4);
    let mut faults = torture_faults();
    // A head that never ends is no message on a connection; one that promises more than comes is none that can be told of.
    let faults = faults.as_object_mut().unwrap();
    faults.remove("display_name_unquoted");
    assert_eq!(
        mixed.report.summary["sip_faults"].as_object(),
        Some(&*faults)
    );
}

/// How many of the messages have which fault, each of them seen twice.
fn torture_faults() -> serde_json::Value {
    serde_json::json!({
        "address_scheme_unknown": 2,
        "authorization_scheme_unknown": 2,
        "body_shorter_than_content_length": 2,
        "body_type_unknown": 2,
        "branch_empty": 2,
        "broadcast_via": 2,
        "content_length_conflict": 2,
        "content_length_invalid": 2,
        "cseq_out_of_range": 4,
        "date_invalid": 2,
        "description_not_accepted": 2,
        "display_name_unquoted": 2,
        "expires_out_of_range": 2,
        "extension_unknown": 2,
        "extraneous_separators": 2,
        "headers_in_request_uri": 2,
        "max_forwards_out_of_range": 2,
        "max_forwards_zero": 2,
        "method_mismatch": 4,
        "missing_call_id": 2,
        "missing_from": 2,
        "missing_to": 2,
        "repeated_header": 2,
        "request_uri_in_brackets": 2,
        "request_uri_scheme_unknown": 4,
        "retry_after_out_of_range": 2,
        "rfc2543": 2,
        "status_out_of_range": 2,
        "unknown_version": 2,
        "unterminated_quote": 2,
        "uri_not_enclosed": 2,
        "warning_invalid": 2,
        "whitespace_after_start_line": 2,
        "whitespace_in_address": 2,
        "whitespace_in_request_uri": 2,
        "whitespace_in_start_line": 2,
    })
}

/// Messages of RFC 4475 that begin a call, by their names.
const TORTURE_ATTEMPTS: [&str; 18] = [
    "baddate", "badinv01", "bcast", "clerr", "esc01", "escruri", "inv2543", "invut", "longreq",
    "ltgtruri", "lwsruri", "lwsstart", "multi01", "ncl", "quotbal", "sdp01", "unreason", "wsinv",
];

/// Writes `capture` to `to` with `strewn` among its packets: so many at once, after every so many.
fn mix(
    capture: &Path,
    (at_once, every): (usize, usize),
    strewn: &mut impl Iterator<Item = Vec<u8>>,
    to: &Path,
) {
    let mut output = PcapWriter::new(
        BufWriter::new(File::create(to).unwrap()),
        LinkType::Ethernet,
    )
    .unwrap();
    let mut files = CaptureFiles::open(&[capture.to_owned()]).unwrap();
    let mut count = 0;
    while let Some(packet) = files.next_packet().unwrap() {
        output
            .write(packet.time, packet.data, packet.original_len)
            .unwrap();
        count += 1;
        let now = if count % every == 0 { at_once } else { 0 };
        for frame in strewn.by_ref().take(now) {
            output
                .write(packet.time, &frame, frame.len() as u32)
                .unwrap();
        }
    }
    assert!(strewn.next().is_none(), "room for every message");
    output.flush().unwrap();
}

/// A segment of a TCP connection, the last one of its direction if it says so.
fn segment(
    (source, from): ([u8; 4], u16),
    (destination, to): ([u8; 4], u16),
    sequence: u32,
    payload: &[u8],
    is_last: bool,
) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(source, destination, 64)
        .tcp(from, to, sequence, 4000);
    let builder = if is_last { builder.fin() } else { builder };
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    frame
}

fn frame(source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(source, destination, 64)
        .udp(5060, 5060);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    frame
}
