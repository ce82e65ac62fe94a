//! Captures of real programs, replayed by the binary, held against what tshark found in them and against their own packets.

mod common;

use std::path::Path;

use callreel::base::{PerSide, Side, Timestamp};
use callreel::storage::{Cause, SegmentRecord, Sidecar};

use common::expected::{Differences, Expected, Leg, Variant, Voice, make_variants};
use common::findings::Findings;
use common::recording::{FRAME, Recording, level_dbfs};
use common::reference::Capture;
use common::replay::{CallLine, Replay};

const RATE_HZ: f64 = 8000.0;

/// What a replay told, with what it wrote.
struct Replayed {
    replay: Replay,
    calls: Vec<Call>,
}

struct Call {
    line: CallLine,
    recording: Option<Recording>,
}

fn replay(capture: &Path) -> Replayed {
    let replay = Replay::run(&[capture]);
    assert!(!replay.panicked(), "{capture:?}: {}", replay.stderr);
    let calls = replay.report.calls.iter().map(|line| Call {
        recording: line.file.as_deref().map(Recording::read),
        line: line.clone(),
    });
    Replayed {
        calls: calls.collect(),
        replay,
    }
}

#[test]
fn every_fixture_is_found_as_tshark_reads_it() {
    let mut findings = Findings::default();
    for expected in Expected::all() {
        let replayed = replay(&expected.capture());
        findings.about(expected.name());
        findings.same("exit status", replayed.replay.exit_code, Some(0));
        let legs = expected.calls();
        findings.same("number of calls", replayed.calls.len(), legs.len());
        let capture = Capture::read(&expected.capture());
        for (leg, call) in legs.iter().zip(&replayed.calls) {
            findings.about(format!("{}, call to {}", expected.name(), leg.callee));
            check_call(&mut findings, leg, call, &capture);
        }
    }
}

fn check_call(findings: &mut Findings, leg: &Leg, call: &Call, capture: &Capture) {
    let line = &call.line;
    findings.same("Call-ID", &line.call_id, &leg.call_id);
    findings.same("caller", &line.caller, &leg.caller);
    findings.same("callee", &line.callee, &leg.callee);
    findings.same("answered", line.answered_at.is_some(), leg.answered);
    findings.same("whether it is recorded", line.file.is_some(), leg.recorded);
    let disposition = match (leg.recorded, leg.answered) {
        (true, _) => "recorded",
        (false, true) => "no_media",
        (false, false) => "not_answered",
    };
    findings.same("disposition", &*line.disposition, disposition);
    findings.near("length", line.length_s, leg.length_s.unwrap_or(0.0), 0.05);
    if let Some(recording) = &call.recording {
        check_recording(findings, leg, recording, capture);
        let codecs = Side::BOTH.map(|side| leg.sides[side].as_ref().map(|voice| &*voice.codec));
        findings.same("codec", [Some(&*line.codec); 2], codecs);
    }
}

fn check_recording(findings: &mut Findings, leg: &Leg, recording: &Recording, capture: &Capture) {
    let sidecar = &recording.sidecar;
    let when = |seconds: Option<f64>| seconds.map(|seconds| capture.at(seconds));
    findings.at(
        "time of the INVITE",
        Some(sidecar.invite_at_ns),
        when(Some(leg.invite_s)),
    );
    findings.at(
        "time of the answer",
        sidecar.answered_at_ns,
        when(leg.answer_s),
    );
    findings.at("time of the end", sidecar.ended_at_ns, when(leg.end_s));
    findings.at(
        "start",
        Some(sidecar.started_at_ns),
        capture.first_audio(leg),
    );
    for side in Side::BOTH {
        // They belong to nobody, whose keys are never told.
        let digits = leg.digits[side].clone().unwrap_or_default();
        findings.same("digits", recording.digits(side), "x".repeat(digits.len()));
        if let Some(voice) = &leg.sides[side] {
            check_voice(findings, leg, side, voice, recording);
        }
    }
}

fn check_voice(
    findings: &mut Findings,
    leg: &Leg,
    side: Side,
    voice: &Voice,
    recording: &Recording,
) {
    let [packets, not_placed, lost, duplicates] = recording.counts(side);
    // What a further hop repeats is counted, and not heard again.
    let copies: u64 = leg.copies(side).map(Voice::packets).sum();
    findings.same(&format!("{side}'s packets"), packets, copies);
    findings.same(
        &format!("{side}'s packets in the recording"),
        packets - not_placed,
        voice.packets(),
    );
    findings.same(&format!("{side}'s loss"), lost, voice.lost);
    findings.same(&format!("{side}'s duplicates"), duplicates, 0);
    let level = level_dbfs(&recording.channels[side]);
    findings.near(&format!("{side}'s level"), level, voice.level_dbfs, 1.5);
    for stream in recording.sidecar.streams.iter().filter(|s| s.side == side) {
        findings.same(&format!("{side}'s codec"), &stream.codec, &voice.codec);
        let known = leg
            .copies(side)
            .flat_map(|voice| &voice.streams)
            .any(|known| {
                (&known.source, &known.destination, &known.ssrc)
                    == (&stream.source, &stream.destination, &stream.ssrc)
            });
        findings.holds(known, || {
            format!(
                "{side}'s stream {} from {} is not its own",
                stream.ssrc, stream.source
            )
        });
    }
}

#[test]
fn both_channels_hold_what_was_on_the_wire() {
    let mut findings = Findings::default();
    for expected in Expected::all() {
        let capture = Capture::read(&expected.capture());
        let replayed = replay(&expected.capture());
        for (leg, call) in expected.calls().iter().zip(&replayed.calls) {
            let Some(recording) = &call.recording else {
                continue;
            };
            let zero = capture.first_audio(leg).expect("it is recorded");
            let likeness = PerSide {
                caller: Side::Caller,
                callee: Side::Callee,
            };
            let likeness = likeness.map(|side| {
                let track = capture.track(leg, side, zero);
                track.likeness(&recording.channels[side])
            });
            findings.about(format!("{}, call to {}", expected.name(), leg.callee));
            for (side, likeness) in likeness.iter() {
                let length = recording.sidecar.samples as i64;
                findings.holds(likeness.is_exact() && likeness.end <= length, || {
                    format!("{side} of {length} samples: {likeness:?}")
                });
            }
            let apart = likeness.caller.apart(&likeness.callee);
            findings.same("samples that the sides are apart", apart, None);
        }
    }
}

/// The only recording of a capture with one call.
fn only(replayed: &Replayed) -> &Recording {
    assert_eq!(replayed.calls.len(), 1);
    replayed.calls[0]
        .recording
        .as_ref()
        .expect("it is recorded")
}

#[test]
fn holds_are_segments_of_who_holds() {
    let mut findings = Findings::default();
    for expected in Expected::all() {
        let capture = Capture::read(&expected.capture());
        let replayed = replay(&expected.capture());
        let spoken = capture.holds_by_caller();
        findings.about(expected.name());
        findings.same(
            "number of holds",
            spoken.len(),
            usize::from(expected.name().ends_with("-hold")),
        );
        for recording in replayed
            .calls
            .iter()
            .filter_map(|call| call.recording.as_ref())
        {
            let listed = recording.holds();
            findings.same("number of hold segments", listed.len(), spoken.len());
            for (listed, spoken) in listed.iter().zip(&spoken) {
                let at =
                    |sample: u64| Some(recording.sidecar.started_at_ns + sample as i64 * 125_000);
                findings.same("who holds", listed.side, Side::Caller);
                findings.at("begin of the hold", at(listed.from), Some(spoken.from));
                findings.at("end of the hold", at(listed.to), Some(spoken.to));
                let seconds = (listed.to - listed.from) as f64 / RATE_HZ;
                findings.near("duration of the hold", seconds, 1.6, 0.1);
            }
        }
    }
}

#[test]
fn music_on_hold_is_heard_and_the_other_side_is_silent() {
    let expected = Expected::of("sipp-pcma-hold");
    let replayed = replay(&expected.capture());
    let recording = only(&replayed);
    let hold = recording.holds()[0];
    let (from, to) = (hold.from as usize, hold.to as usize);
    let legs = expected.calls();
    let music = &legs[0].sides.caller.as_ref().unwrap().streams[1];
    let level = level_dbfs(&recording.channels.caller[from..to]);
    assert!((level - music.level_dbfs.unwrap()).abs() <= 1.5, "{level}");
    assert!(
        recording.channels.callee[from..to]
            .iter()
            .all(|&sample| sample == 0)
    );
    let told = recording.sidecar.segments.iter().any(|segment| {
        segment.side == Side::Callee
            && segment.cause == Cause::NoMedia
            && segment.from <= hold.from
            && segment.to >= hold.to
    });
    assert!(told, "{:?}", recording.sidecar.segments);
}

#[test]
fn early_media_and_the_answer_are_in_one_recording() {
    let expected = Expected::of("sipp-early-media");
    let replayed = replay(&expected.capture());
    let recording = only(&replayed);
    let before_answer_ns =
        recording.sidecar.answered_at_ns.unwrap() - recording.sidecar.started_at_ns;
    let answer = (before_answer_ns / 125_000) as usize;
    assert!((16_000..18_000).contains(&answer), "{answer}");
    let legs = expected.calls();
    let streams = &legs[0].sides.callee.as_ref().unwrap().streams;
    let callee = &recording.channels.callee;
    for (part, stream) in [
        (&callee[..answer], &streams[0]),
        (&callee[answer..], &streams[1]),
    ] {
        let level = level_dbfs(part);
        assert!((level - stream.level_dbfs.unwrap()).abs() <= 1.5, "{level}");
    }
    assert!(
        recording.channels.caller[..answer]
            .iter()
            .all(|&sample| sample == 0)
    );
}

#[test]
fn a_reused_call_id_is_two_recordings() {
    let replayed = replay(&Expected::of("sipp-callid-reuse").capture());
    let [first, second] = &replayed.calls[..] else {
        panic!("{} calls", replayed.calls.len());
    };
    assert_eq!(first.line.call_id, second.line.call_id);
    assert_ne!(first.line.file, second.line.file);
    assert_eq!(
        [&*first.line.callee, &*second.line.callee],
        ["1002", "1003"]
    );
    for call in [first, second] {
        let streams = &call.recording.as_ref().unwrap().sidecar.streams;
        assert_eq!(streams.len(), 2, "{streams:#?}");
    }
}

#[test]
fn a_call_seen_before_and_behind_a_proxy_is_recorded_once() {
    let expected = Expected::of("kamailio-rtpengine");
    assert_eq!(expected.calls()[0].hops.len(), 1);
    let replayed = replay(&expected.capture());
    let recording = only(&replayed);
    for side in Side::BOTH {
        let [packets, not_placed, lost, duplicates] = recording.counts(side);
        assert_eq!(
            [packets, not_placed, lost, duplicates],
            [400, 200, 0, 0],
            "{side}"
        );
    }
}

#[test]
fn a_caller_behind_a_nat_is_heard() {
    let replayed = replay(&Expected::of("sipp-symmetric-nat").capture());
    let recording = only(&replayed);
    for side in Side::BOTH {
        let level = level_dbfs(&recording.channels[side]);
        assert!(level > -30.0, "{side}: {level}");
    }
    let caller = recording
        .sidecar
        .streams
        .iter()
        .find(|s| s.side == Side::Caller);
    assert_eq!(caller.unwrap().source, "192.0.2.10:31234");
}

#[test]
fn a_callee_that_forgets_the_callers_tag_can_hang_up() {
    let replayed = replay(&Expected::of("sipp-late-offer").capture());
    assert_eq!(replayed.calls[0].line.end_reason, "bye_callee");
}

#[test]
fn a_call_in_other_containers_links_and_states_is_the_same_call() {
    check_variants("sipp-pcmu");
}

#[test]
fn a_call_in_other_tcp_segments_is_the_same_call() {
    check_variants("sipp-tcp");
}

fn check_variants(name: &str) {
    let capture = Expected::of(name).capture();
    let folder = tempfile::tempdir().unwrap();
    let Some(variants) = make_variants(&capture, folder.path()) else {
        println!("python3 is missing: the variants of {name} are not tried");
        return;
    };
    let original = replay(&capture);
    let start = Capture::read(&capture).start;
    let mut findings = Findings::default();
    for variant in &variants {
        findings.about(&variant.file);
        let replayed = replay(&folder.path().join(&variant.file));
        let expects = &variant.expects;
        let code = if expects.damaged.is_some() { 3 } else { 0 };
        findings.same("exit status", replayed.replay.exit_code, Some(code));
        let calls = if expects.no_invite {
            0
        } else {
            expects.calls.unwrap_or(1)
        };
        findings.same("number of calls", replayed.calls.len(), calls);
        for (n, call) in replayed.calls.iter().enumerate() {
            let begins = expects
                .starts_s
                .map_or(0, |s| s * 1_000_000_000 - start.as_nanos());
            let later_ns = begins + n as i64 * 300_000_000;
            check_variant(&mut findings, variant, &original.calls[0], call, later_ns);
        }
        let vantages = replayed
            .calls
            .iter()
            .flat_map(|call| &call.recording)
            .map(|r| &r.sidecar.vantage);
        let vantages: std::collections::BTreeSet<_> = vantages.collect();
        findings.same("number of vantages", vantages.len(), calls);
    }
}

fn check_variant(
    findings: &mut Findings,
    variant: &Variant,
    original: &Call,
    call: &Call,
    later_ns: i64,
) {
    let expects = &variant.expects;
    let names = |call: &Call| {
        let line = &call.line;
        let texts = [
            &line.call_id,
            &line.caller,
            &line.callee,
            &line.codec,
            &line.disposition,
        ];
        texts.map(String::clone)
    };
    findings.same("call", names(call), names(original));
    findings.same("answered", call.line.answered_at.is_some(), true);
    let ended = if expects.no_end || expects.damaged.is_some() {
        "end_of_capture"
    } else {
        &original.line.end_reason
    };
    findings.same("end", &*call.line.end_reason, ended);
    let (Some(was), Some(is)) = (&original.recording, &call.recording) else {
        findings.holds(false, || "it is not recorded".into());
        return;
    };
    let vantage = &is.sidecar.vantage;
    let tunnel = vantage.split_once(" tunnel ").map(|(_, tunnel)| tunnel);
    findings.same("tunnel", tunnel, expects.tunnel.as_deref());
    check_times(findings, expects, &was.sidecar, &is.sidecar, later_ns);
    check_counts(findings, expects, was, is);
    check_addresses(findings, expects, &was.sidecar, &is.sidecar);
    if let Some(seconds) = expects.damaged {
        check_cut(findings, seconds, was, is);
    } else {
        check_audio(findings, expects, was, is);
    }
}

fn check_times(
    findings: &mut Findings,
    expects: &Differences,
    was: &Sidecar,
    is: &Sidecar,
    later_ns: i64,
) {
    let later = |ns: i64| Some(Timestamp::from_nanos(ns + later_ns));
    findings.at("start", Some(is.started_at_ns), later(was.started_at_ns));
    if let Some(lead_s) = expects.media_lead_s {
        let lead_ns = is.invite_at_ns - is.started_at_ns;
        findings.near("lead of the media", lead_ns as f64 / 1e9, lead_s, 0.001);
    } else if !expects.invite_late {
        findings.at(
            "time of the INVITE",
            Some(is.invite_at_ns),
            later(was.invite_at_ns),
        );
        findings.at(
            "time of the answer",
            is.answered_at_ns,
            was.answered_at_ns.and_then(later),
        );
    }
    if !expects.no_end && expects.damaged.is_none() {
        findings.at(
            "time of the end",
            is.ended_at_ns,
            was.ended_at_ns.and_then(later),
        );
    }
}

fn check_counts(findings: &mut Findings, expects: &Differences, was: &Recording, is: &Recording) {
    if expects.damaged.is_some() {
        return;
    }
    for side in Side::BOTH {
        let [packets, ..] = was.counts(side);
        let missing = expects.lost[side].unwrap_or(0);
        let twice = if expects.extra_packets { packets } else { 0 };
        findings.same(
            &format!("{side}'s packets, not placed, lost, twice"),
            is.counts(side),
            [packets - missing, 0, missing, twice],
        );
    }
}

fn check_addresses(findings: &mut Findings, expects: &Differences, was: &Sidecar, is: &Sidecar) {
    let moved = |endpoint: &str| {
        let (host, port) = endpoint.rsplit_once(':').unwrap();
        let host = expects
            .addresses
            .iter()
            .flatten()
            .fold(host.to_owned(), |host, (old, new)| host.replace(old, new));
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    };
    let mut expected: Vec<_> = was
        .streams
        .iter()
        .map(|s| {
            (
                s.side,
                moved(&s.source),
                moved(&s.destination),
                s.ssrc.clone(),
            )
        })
        .collect();
    let mut found: Vec<_> = is
        .streams
        .iter()
        .map(|s| {
            (
                s.side,
                s.source.clone(),
                s.destination.clone(),
                s.ssrc.clone(),
            )
        })
        .collect();
    expected.sort();
    found.sort();
    findings.same("streams", found, expected);
}

/// The same samples, but for packets that are missing and for silence up to an end that was not seen.
fn check_audio(findings: &mut Findings, expects: &Differences, was: &Recording, is: &Recording) {
    for side in Side::BOTH {
        let lost: Vec<&SegmentRecord> = is
            .sidecar
            .segments
            .iter()
            .filter(|s| s.side == side && s.cause == Cause::Loss)
            .collect();
        let lost_samples: u64 = lost.iter().map(|s| s.to - s.from).sum();
        findings.same(
            &format!("{side}'s lost samples"),
            lost_samples,
            expects.lost[side].unwrap_or(0) * FRAME as u64,
        );
        let mut expected = was.channels[side].clone();
        for segment in lost {
            expected[segment.from as usize..segment.to as usize].fill(0);
        }
        let found = &is.channels[side];
        let differing = expected.iter().zip(found).filter(|(a, b)| a != b).count();
        findings.same(&format!("{side}'s samples that differ"), differing, 0);
        let common = expected.len().min(found.len());
        let rest = expected[common..].iter().chain(&found[common..]);
        findings.same(
            &format!("{side}'s samples beyond the other's end"),
            rest.filter(|&&s| s != 0).count(),
            0,
        );
        let (found, expected) = (
            found.len() as f64 / RATE_HZ,
            expected.len() as f64 / RATE_HZ,
        );
        if expects.no_end {
            findings.holds(found < expected, || {
                format!("its end at {found} s was not seen")
            });
        } else {
            findings.near("length", found, expected, 0.001);
        }
    }
}

/// A file that breaks off: everything before is as it was. Of the last packets one side may have come, the other not.
fn check_cut(findings: &mut Findings, seconds: f64, was: &Recording, is: &Recording) {
    let length = is.channels.caller.len();
    let before_media = (was.sidecar.started_at_ns - was.sidecar.invite_at_ns) as f64 / 1e9;
    findings.near(
        "length",
        length as f64 / RATE_HZ,
        seconds - before_media,
        0.05,
    );
    for side in Side::BOTH {
        let whole = length - 2 * FRAME;
        findings.holds(
            is.channels[side][..whole] == was.channels[side][..whole],
            || format!("{side}'s audio is another"),
        );
    }
}
