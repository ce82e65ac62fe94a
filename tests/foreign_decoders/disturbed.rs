//! Decoders that something befalls from outside while they work.

use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use callreel::codec::{ULAW_TO_LINEAR, linear_to_ulaw};
use callreel::storage::{Cause, RawState};
use rustix::process::{Pid, Signal, kill_process};

use super::common::call::{Call, Packet, in_a_row};
use super::{decode, files, has_ffmpeg, ilbc_call, mad, replay, replay_while};

/// The decoders that a process has running, by what they are told of their input.
fn decoders_of(process: &Child) -> Vec<Pid> {
    let children = format!("/proc/{0}/task", process.id());
    let tasks = fs::read_dir(children).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: String = children.collect();
    let pids = children.split_whitespace().filter_map(|pid| {
        let told = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let decodes = told.split(|&byte| byte == 0).any(|word| word == b"pipe:0");
        decodes.then(|| Pid::from_raw(pid.parse().ok()?))?
    });
    pids.collect()
}

/// Sends `signal` to every decoder that comes up, at most `times`, until the process has ended; how many got it.
fn send(process: &mut Child, signal: Signal, times: usize) -> usize {
    let mut sent: Vec<Pid> = Vec::new();
    while process.try_wait().unwrap().is_none() {
        for decoder in decoders_of(process) {
            if sent.len() < times && !sent.contains(&decoder) {
                // It may be gone.
                let _ = kill_process(decoder, signal);
                sent.push(decoder);
            }
        }
        sleep(Duration::from_millis(2));
    }
    sent.len()
}

/// The callee in iLBC, the caller in G.711.
fn call() -> (Call<'static>, Vec<i16>) {
    let tone = |n: u32| ((f64::from(n) * 0.3).sin() * 9000.0) as i16;
    let coded: Vec<u8> = (0..32_000).map(|n| linear_to_ulaw(tone(n))).collect();
    let said = coded.iter().map(|&byte| ULAW_TO_LINEAR[usize::from(byte)]);
    let said = said.collect();
    let mut call = ilbc_call();
    call.others = " 0";
    let packets = in_a_row(coded.chunks(160).map(<[u8]>::to_vec), 160, 8000);
    let packets = packets.into_iter().map(|packet| Packet {
        payload_type: 0,
        ..packet
    });
    call.packets.caller = packets.collect();
    (call, said)
}

#[test]
fn a_decoder_that_is_killed_stopped_or_starved_costs_its_segment_and_nothing_else() {
    let works = "while :; do :; done";
    // As much memory as there is, and more.
    let hungry = "x=xxxxxxxx; while x=$x$x$x$x; do :; done; while :; do :; done";
    for (what, text, signal, failure) in [
        ("killed", works, Some(Signal::KILL), "signal: 9"),
        ("stopped", works, Some(Signal::STOP), "longer than"),
        ("starved", hungry, None, ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ((call, said), config) = (call(), mad(&folder, text));
        let mut reached = 0;
        let found = replay_while(&call, &config, |process| {
            if let Some(signal) = signal {
                reached = send(process, signal, usize::MAX);
            }
        });
        assert_eq!(reached > 0, signal.is_some(), "{what}");
        assert_eq!(found.disposition(), "kept_raw", "{what}");
        assert_eq!(found.count("packets_decoder_failed"), 200, "{what}");
        assert_eq!(found.sidecar.packets_dropped, 0, "{what}");
        let stream = &found.sidecar.raw.as_ref().unwrap().streams[0];
        assert_eq!(
            (stream.state, stream.packets_failed),
            (RawState::Failed, 200)
        );
        let error = stream.error.as_deref().unwrap_or_default();
        assert!(
            error.contains(failure) && !error.is_empty(),
            "{what}: {error}"
        );
        // The other side is whole, and this one is a silence that says why.
        assert!(found.caller == said, "{what}");
        assert!(found.callee.iter().all(|&sample| sample == 0), "{what}");
        assert_eq!(found.callee_segments(), [(0, 32_000, Cause::DecoderFailed)]);
        if has_ffmpeg() {
            let (code, report) = decode(&found, &["--all"]);
            assert_eq!(code, Some(0), "{what}: {report}");
            assert_eq!(files(&found), files(&replay(&call, "")), "{what}");
        }
    }
}

#[test]
fn a_decoder_that_is_killed_once_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let slow = "for ((i = 0; i < 200000; i++)); do :; done; LC_ALL=C; n=0; IFS= read -r -d '' -N 9 x; \
        while IFS= read -r -d '' -n 1 b || [ -n \"$b\" ]; do n=$((n+1)); done; printf '%*s' $((n/38*320)) ''";
    let call = call().0;
    let found = replay_while(&call, &mad(&folder, slow), |process| {
        assert_eq!(send(process, Signal::KILL, 1), 1);
    });
    let stream = &found.sidecar.raw.as_ref().unwrap().streams[0];
    assert_eq!(
        (found.disposition(), stream.state),
        ("recorded", RawState::Decoded)
    );
    assert!(
        found.callee[..31_900]
            .iter()
            .all(|&sample| sample == 0x2020)
    );
}
