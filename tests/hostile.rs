//! Whatever arrives, nothing panics or stalls, tables keep to their caps, what is refused is counted, and the call next to
//! the noise is bit-exact.

mod noise;

use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use callreel::base::{Side, Timestamp};
use callreel::codec::Codec;
use callreel::engine::event::{Disposition, EndReason};
use callreel::engine::media::MediaLimits;
use callreel::engine::signalling::SignallingLimits;
use callreel::engine::{Engine, EngineSettings};
use callreel::storage::RecordingName;
use noise::{Dice, Frame, Heard, Phones, START, at, run, run_with, udp};
use proptest::prelude::*;

/// Runs the good call's frames alone, and again among others: it must come out the same.
fn assert_unmoved(good: &[Frame], call_id: &str, others: Vec<Frame>) -> (Engine, Heard) {
    let (_, alone) = run(good.to_vec());
    let mut all = others;
    all.extend_from_slice(good);
    let (engine, among) = run(all);
    let (due, is) = (alone.trace(call_id), among.trace(call_id));
    assert_eq!(due.disposition, Some(Disposition::Recorded));
    assert!(!due.pieces.is_empty());
    assert!(
        is == due,
        "{call_id} came out differently: {} packets, not {}",
        is.pieces.len(),
        due.pieces.len()
    );
    (engine, among)
}

/// Fails when `work` takes longer than anything here may.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = channel();
    std::thread::spawn(move || sender.send(work()));
    result
        .recv_timeout(Duration::from_secs(60))
        .expect("it neither panics nor stalls")
}

fn good_call() -> (Phones, Vec<Frame>) {
    let phones = Phones::new("good@example", 1);
    let frames = phones.call(at(0), 150);
    (phones, frames)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packets_of_other_calls_harm_nobody_else(seed in any::<u64>(), percent in 1u32..100) {
        let (phones, good) = good_call();
        let mut dice = Dice::new(seed);
        let victims = (2..5).flat_map(|n| Phones::new(&format!("victim{n}@example"), n).call(at(100), 60));
        let damaged: Vec<Frame> = victims.flat_map(|frame| dice.damage(frame, percent)).collect();
        assert_unmoved(&good, &phones.call_id, damaged);
    }

    #[test]
    fn random_bytes_in_any_layer_are_counted_and_harm_nobody(seed in any::<u64>()) {
        let (phones, good) = good_call();
        let mut dice = Dice::new(seed);
        let junk: Vec<Frame> = (0..300).map(|n| dice.junk(at(n * 12))).collect();
        let (engine, _) = assert_unmoved(&good, &phones.call_id, junk);
        assert_eq!(engine.wire_counters().packets, 300 + good.len() as u64);
    }

    #[test]
    fn any_rtp_header_in_a_call_harms_no_other(seed in any::<u64>()) {
        let (phones, good) = good_call();
        let mut dice = Dice::new(seed);
        let victim = Phones::new("victim@example", 2);
        let mut frames = victim.signalling(at(0), 2000);
        for n in 0..400 {
            let side = Side::BOTH[dice.below(2) as usize];
            let (sequence, timestamp) = (dice.next() as u16, dice.next() as u32);
            let ssrc = dice.below(3) as u32;
            let length = [0, 1, 159, 160, 161, 1400, 65_000][dice.below(7) as usize];
            let payload = dice.bytes(length);
            let kind = [0, 8, 13, 101, 96, 77, 127][dice.below(7) as usize];
            frames.push(victim.rtp(at(30 + n * 5), side, (kind, sequence, timestamp, ssrc), &payload));
        }
        let (_, heard) = assert_unmoved(&good, &phones.call_id, frames);
        heard.trace(&victim.call_id);
    }
}

#[test]
fn timestamps_that_run_backwards_or_jump_harm_no_other_call() {
    let (phones, good) = good_call();
    let victim = Phones::new("victim@example", 2);
    let walks: [fn(u32) -> u32; 5] = [
        |n| 0u32.wrapping_sub(n * 160),
        |n| n.wrapping_mul(0x2000_0000),
        |n| if n % 50 == 0 { 0x8000_0000 } else { n * 160 },
        |_| 7,
        |n| n * 160 * (1 + n / 40 * 1000),
    ];
    for walk in walks {
        let mut frames = victim.signalling(at(0), 3000);
        frames.extend((0..140).map(|n| {
            let header = (0, n as u16, walk(n), 5);
            victim.rtp(
                at(30 + i64::from(n) * 20),
                Side::Caller,
                header,
                &[0x55; 160],
            )
        }));
        let (_, heard) = assert_unmoved(&good, &phones.call_id, frames);
        let trace = heard.trace(&victim.call_id);
        assert!(trace.length_samples <= 4 * 8000, "{}", trace.length_samples);
        // Each packet is placed or counted.
        let counted: u64 = trace.streams.iter().map(|s| s.not_placed).sum();
        assert_eq!(trace.placed + counted, 140);
    }
}

#[test]
fn any_capture_time_is_survived_and_every_call_ends_once() {
    let year = 365 * 86_400_000i64;
    let extremes = [
        vec![i64::MAX],
        vec![i64::MIN],
        vec![i64::MIN, i64::MAX, 0],
        vec![i64::MAX, i64::MIN, i64::MAX],
        (0..20)
            .map(|n| START.as_nanos() + n * year * 1_000_000)
            .collect(),
        (0..20)
            .rev()
            .map(|n| START.as_nanos() + n * year * 1_000_000)
            .collect(),
    ];
    for (n, times) in extremes.into_iter().enumerate() {
        let heard = in_time(move || {
            let phones = Phones::new("call@example", 1);
            let stray = Phones::new("stray@example", 9);
            let frames = phones.call(at(0), 50);
            let (mut engine, mut heard) =
                (noise::engine(EngineSettings::default()), Heard::default());
            // In the order given, not that of their times.
            for (n, frame) in frames.into_iter().enumerate() {
                let time = match n % 10 {
                    3 => Timestamp::from_nanos(times[n / 10 % times.len()]),
                    _ => frame.time,
                };
                noise::feed(&mut engine, &Frame { time, ..frame }, &mut heard);
                let orphan = stray.rtp(time, Side::Caller, (0, n as u16, 0, n as u32), &[1; 160]);
                noise::feed(&mut engine, &orphan, &mut heard);
                engine.handle_timeout(time, &mut heard);
            }
            engine.finish(EndReason::EndOfCapture, &mut heard);
            heard
        });
        assert!(heard.ended() >= 1, "case {n}");
    }
}

#[test]
fn a_flood_of_invites_is_capped_and_counted() {
    let (phones, good) = good_call();
    let flood = (0..100_000u32).map(|n| {
        let attacker = Phones::new(&format!("flood-{n}@example"), 50 + n % 200);
        attacker.invite(at(1 + i64::from(n) / 50))
    });
    let limits = SignallingLimits::default();
    let (engine, heard) = assert_unmoved(&good, &phones.call_id, flood.collect());
    assert_eq!(engine.signalling_counters().calls, limits.calls as u64);
    assert_eq!(
        engine.signalling_counters().calls_refused,
        100_001 - limits.calls as u64
    );
    // Of those refused, some are told of: a hundred a second, and the flood lasts two seconds.
    assert!((limits.calls + 1..=limits.calls + 400).contains(&heard.ended()));
    assert_eq!(engine.open_calls(), 0);
}

/// What is kept of streams without signalling, when all is over.
fn assert_streams_are_capped(flood: Vec<Frame>) {
    let (phones, good) = good_call();
    let (engine, _) = assert_unmoved(&good, &phones.call_id, flood.clone());
    let counters = engine.media_counters();
    assert!(engine.open_streams() <= MediaLimits::default().streams);
    assert_eq!(counters.rtp_packets, 300 + flood.len() as u64);
    assert_eq!(
        counters.streams_opened + counters.streams_refused,
        2 + flood.len() as u64
    );
    let unclaimed = counters.unclaimed + engine.unclaimed_packets() + counters.streams_refused;
    assert_eq!(unclaimed, flood.len() as u64);
}

#[test]
fn a_flood_of_streams_from_anywhere_is_capped_and_counted() {
    in_time(|| {
        let frame = |n: u32| {
            let [_, a, b, c] = n.to_be_bytes();
            noise::stray_rtp(
                at(1 + i64::from(n) / 150),
                [172, a, b, c],
                [10, 99, b, c],
                n,
            )
        };
        assert_streams_are_capped((0..300_000).map(frame).collect());
    });
}

#[test]
fn a_flood_of_streams_to_one_port_is_capped_and_counted() {
    in_time(|| {
        let frame = |n: u32| {
            noise::stray_rtp(
                at(1 + i64::from(n) / 150),
                [172, 16, 0, 1],
                [10, 99, 0, 1],
                n,
            )
        };
        assert_streams_are_capped((0..300_000).map(frame).collect());
    });
}

#[test]
fn kept_media_stays_under_its_cap() {
    let limits = MediaLimits {
        kept_bytes: 1 << 20,
        ..MediaLimits::default()
    };
    let settings = EngineSettings {
        media: limits,
        ..EngineSettings::default()
    };
    let stray = Phones::new("stray@example", 9);
    let frames = (0..20_000u32).map(|n| {
        let header = (0, (n / 100) as u16, n * 160, n % 100);
        stray.rtp(at(i64::from(n) / 20), Side::Caller, header, &[1; 1400])
    });
    let (engine, _) = run_with(settings, frames.collect());
    let kept = engine.unclaimed_packets();
    assert!(kept * 1400 <= 1 << 20, "{kept} packets are kept");
    assert_eq!(engine.media_counters().unclaimed + kept, 20_000);
}

#[test]
fn one_call_with_thousands_of_sources_is_capped_and_counted() {
    let (phones, good) = good_call();
    let victim = Phones::new("victim@example", 2);
    let mut frames = victim.signalling(at(0), 3000);
    frames.extend((0..5000u32).map(|n| {
        let header = (0, 1, n, n);
        victim.rtp(
            at(30 + i64::from(n) / 2),
            Side::Caller,
            header,
            &[0x55; 160],
        )
    }));
    let (engine, heard) = assert_unmoved(&good, &phones.call_id, frames);
    let trace = heard.trace(&victim.call_id);
    let counters = engine.media_counters();
    let reported: u64 = trace.streams.iter().map(|s| s.packets).sum();
    let others = counters.unclaimed + engine.unclaimed_packets() + counters.after_end;
    assert_eq!(reported + others, 5000, "{counters:?}");
}

#[test]
fn a_call_whose_streams_are_claimed_by_a_full_one_ends_well() {
    in_time(|| {
        // One call has as many streams as it may; then its callee moves to where another call's stream goes.
        let (full, other) = (
            Phones::new("full@example", 2),
            Phones::new("other@example", 3),
        );
        let mut frames = full.signalling(at(0), 60_000);
        frames.extend((0..300u32).map(|n| {
            full.rtp(
                at(50 + i64::from(n)),
                Side::Caller,
                (0, 1, n, n),
                &[0x55; 160],
            )
        }));
        frames.extend(other.signalling(at(10), 1000));
        let stray = |time, n: u32| {
            // From the full call's caller to the other call's callee.
            noise::rtp_frame(
                time,
                full.media(Side::Caller),
                other.media(Side::Callee),
                (0, n as u16, n * 160, 77),
                &[0x11; 160],
            )
        };
        frames.extend((0..100u32).map(|n| stray(at(40 + i64::from(n) * 40), n)));
        let moved = full.sdp_at(other.media(Side::Callee));
        frames.push(full.in_dialog(at(500), Side::Callee, "INVITE", 2, &moved));
        let (_, heard) = run(frames);
        assert_eq!(heard.ended(), 2);
    });
}

#[test]
fn one_call_with_every_codec_and_offer_there_is_harms_no_other() {
    let (phones, good) = good_call();
    let victim = Phones::new("victim@example", 2);
    let mut frames = victim.signalling(at(0), 3400);
    for n in 0..3000u32 {
        let time = at(40 + i64::from(n));
        let formats: String = (96..128)
            .map(|kind| format!("a=rtpmap:{kind} codec{}/{}\r\n", n * 32 + kind, 8000 + n))
            .collect();
        let sdp = victim.sdp(Side::Caller).replace("a=sendrecv\r\n", &formats);
        frames.push(victim.in_dialog(time, Side::Caller, "INVITE", n + 2, &sdp));
        frames.push(victim.ok(time, Side::Caller, n + 2, &victim.sdp(Side::Callee)));
        frames.push(victim.rtp(
            time,
            Side::Callee,
            ((96 + n % 32) as u8, n as u16, n * 8, 3),
            &[0x55; 160],
        ));
    }
    let (_, heard) = assert_unmoved(&good, &phones.call_id, frames);
    heard.trace(&victim.call_id);
}

#[test]
fn one_call_with_thousands_of_forks_and_vantages_harms_no_other() {
    let (phones, good) = good_call();
    let victim = Phones::new("victim@example", 2);
    let mut frames = vec![victim.invite(at(0))];
    for n in 0..2000u32 {
        let fork = Phones::new("victim@example", 3 + n % 200);
        frames.push(victim.ringing(at(5), &format!("fork{n}"), &fork.sdp(Side::Callee)));
    }
    frames.extend(victim.signalling(at(10), 3000));
    let (_, heard) = assert_unmoved(&good, &phones.call_id, frames);
    heard.trace(&victim.call_id);
}

#[test]
fn a_call_id_used_over_and_over_makes_a_call_each_time_it_is_over() {
    let (phones, good) = good_call();
    let victim = Phones::new("victim@example", 2);
    let frames: Vec<Frame> = (0..50u32)
        .flat_map(|n| {
            let again = Phones {
                caller_tag: format!("tag{n}"),
                ..victim.clone()
            };
            again.signalling(at(i64::from(n) * 60), 30)
        })
        .collect();
    let (engine, heard) = assert_unmoved(&good, &phones.call_id, frames);
    assert_eq!(engine.signalling_counters().calls, 51);
    assert_eq!(heard.ended(), 51);
}

#[test]
fn sides_that_speak_different_codecs_are_told_apart_from_the_first_packet_on() {
    let phones = Phones::new("call@example", 1);
    let mut frames = phones.signalling(at(0), 2000);
    for n in 0..50u32 {
        let time = at(30 + i64::from(n) * 20);
        frames.push(phones.rtp(time, Side::Caller, (0, n as u16, n * 160, 1), &[0x55; 160]));
        frames.push(phones.rtp(time, Side::Callee, (8, n as u16, n * 160, 2), &[0x66; 160]));
    }
    let (_, heard) = run(frames);
    let trace = heard.trace("call@example");
    assert_eq!(trace.pieces.len(), 100);
    for ((side, position), (codec, _)) in &trace.pieces {
        let due = if *side == Side::Caller {
            Codec::Pcmu
        } else {
            Codec::Pcma
        };
        assert_eq!(*codec, due, "{side} at {position}");
    }
}

const UGLY: [&str; 14] = [
    "../../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows",
    "%2e%2e%2f%2e%2e%2fescape",
    "%00%1b%5b2J%0d%0a",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{9b}31m",
    "<script>alert(1)</script>",
    "'; DROP TABLE calls; --",
    "abc\u{202e}gpj.exe",
    "\u{0}\u{8}\u{7f}",
    "{{7*7}} ${HOME} $(id) `id`",
    "=cmd|' /C calc'!A0",
    "\u{feff}\u{200b}nothing",
];

#[test]
fn names_from_the_wire_are_in_no_path_and_do_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let mut frames = Vec::new();
    for (n, ugly) in UGLY.iter().enumerate() {
        let phones = Phones {
            caller: (*ugly).into(),
            callee: format!("{ugly}{ugly}"),
            display: (*ugly).into(),
            caller_tag: format!("{ugly}tag"),
            ..Phones::new(&format!("{ugly}{n}"), 1 + n as u32)
        };
        frames.extend(phones.call(at(0), 50));
    }
    frames.sort_by_key(|frame| frame.time);
    let capture = folder.path().join("calls.pcap");
    noise::write_capture(&capture, &frames);
    for json in [false, true] {
        let storage = folder.path().join(if json { "a" } else { "b" });
        let mut command = Command::new(env!("CARGO_BIN_EXE_callreel"));
        command
            .arg("replay")
            .arg(&capture)
            .arg("--storage")
            .arg(&storage);
        if json {
            command.arg("--json");
        }
        let output = command.output().unwrap();
        let said =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let is_harmful =
            |c: &char| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c);
        let harmful = said.chars().find(is_harmful);
        assert!(json || harmful.is_none(), "{harmful:?} in {said}");
        assert!(
            !said.contains('\u{1b}') && !said.contains('\u{9b}'),
            "{said}"
        );

        let mut paths = noise::paths(&storage);
        paths.retain(|path| path.contains('/'));
        assert_eq!(paths.len(), 2 * UGLY.len(), "{paths:#?}");
        for path in &paths {
            assert!(RecordingName::parse(path.as_ref()).is_some(), "{path}");
        }
    }
    let beside = noise::paths(folder.path());
    assert!(
        beside
            .iter()
            .all(|path| path == "calls.pcap" || path.starts_with("a/") || path.starts_with("b/"))
    );
}

#[test]
fn payloads_of_no_length_and_of_all_there_is_are_counted() {
    let (phones, good) = good_call();
    let victim = Phones::new("victim@example", 2);
    let mut frames = victim.signalling(at(0), 3000);
    for n in 0..100u32 {
        let payload = vec![0x55; [0, 65_495, 160][n as usize % 3]];
        frames.push(victim.rtp(
            at(30 + i64::from(n) * 20),
            Side::Caller,
            (0, n as u16, n * 160, 5),
            &payload,
        ));
        frames.push(udp(
            at(31 + i64::from(n) * 20),
            victim.media(Side::Callee),
            victim.media(Side::Caller),
            &[],
        ));
    }
    let (_, heard) = assert_unmoved(&good, &phones.call_id, frames);
    let trace = heard.trace(&victim.call_id);
    let counted: u64 = trace.streams.iter().map(|s| s.packets).sum();
    assert_eq!(counted, 100);
}

/// `payload` of an IP protocol, between two routers.
fn ip(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((payload.len() as u16 + 20).to_be_bytes());
    frame.extend([
        0, 0, 0, 0, 64, protocol, 0, 0, 203, 0, 113, 1, 203, 0, 113, 2,
    ]);
    frame.extend(payload);
    frame
}

fn tunnel_udp(port: u16, head: &[u8], inner: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0xd9, 0x03];
    datagram.extend(port.to_be_bytes());
    datagram.extend(((8 + head.len() + inner.len()) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(head);
    datagram.extend(inner);
    ip(17, &datagram)
}

/// Puts a frame into a tunnel.
type Wrap = fn(&[u8]) -> Vec<u8>;

#[test]
fn tunnels_a_hundred_deep_are_counted_and_harm_nobody() {
    let (phones, good) = good_call();
    let inner = good[0].bytes.clone();
    let wrappers: [Wrap; 5] = [
        |frame| tunnel_udp(4789, &[8, 0, 0, 0, 0, 0, 7, 0], frame),
        |frame| tunnel_udp(6081, &[0, 0, 0x65, 0x58, 0, 0, 7, 0], frame),
        |frame| ip(47, &[&[0, 0, 0x65, 0x58], frame].concat()),
        |frame| ip(4, &frame[14..]),
        |frame| {
            [
                &[2; 12][..],
                &[0x88, 0x47, 0, 1, 0x01, 64],
                &[0, 0, 0, 0],
                frame,
            ]
            .concat()
        },
    ];
    let mut frames = Vec::new();
    for wrap in &wrappers[..4] {
        let deep = (0..100).fold(inner.clone(), |frame, _| wrap(&frame));
        frames.extend((0..200).map(|n| Frame {
            time: at(n * 10),
            bytes: deep.clone(),
        }));
    }
    // Of all kinds, one in the other.
    let mixed = (0..100).fold(inner, |frame, n| match n % 5 {
        3 if frame[12..14] != [8, 0] => wrappers[0](&frame),
        n => wrappers[n](&frame),
    });
    frames.extend((0..200).map(|n| Frame {
        time: at(n * 10),
        bytes: mixed.clone(),
    }));
    let (engine, _) = in_time(move || assert_unmoved(&good, &phones.call_id, frames));
    assert_eq!(engine.wire_counters().nested_too_deep, 1000);
}

#[test]
fn fragments_and_streams_that_never_end_are_capped_and_counted() {
    let (phones, good) = good_call();
    let mut frames = Vec::new();
    for n in 0..20_000_u32 {
        // First fragments of datagrams of which no more comes, in tunnels and bare.
        let mut fragment = ip(17, &[0; 64]);
        fragment[18..20].copy_from_slice(&(n as u16).to_be_bytes());
        fragment[20] = 0x20;
        let bytes = match n % 2 {
            0 => fragment,
            _ => tunnel_udp(
                4789,
                &[8, 0, 0, 0, 0, (n >> 8) as u8, n as u8, 0],
                &fragment,
            ),
        };
        frames.push(Frame {
            time: at(i64::from(n) / 10),
            bytes,
        });
        // Beginnings of messages on connections that say no more.
        let mut segment = Vec::new();
        segment.extend((1024 + (n % 60_000) as u16).to_be_bytes());
        segment.extend(5060u16.to_be_bytes());
        segment.extend(n.to_be_bytes());
        segment.extend([0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(b"INVITE sip:1002@192.0.2.2 SIP/2.0\r\nVia: ");
        let bytes = match n % 2 {
            0 => ip(6, &segment),
            _ => ip(
                47,
                &[&[0x20, 0, 8, 0, 0, 0, 0, 9], &ip(6, &segment)[14..]].concat(),
            ),
        };
        frames.push(Frame {
            time: at(i64::from(n) / 10),
            bytes,
        });
    }
    let (engine, _) = in_time(move || assert_unmoved(&good, &phones.call_id, frames));
    let counters = engine.wire_counters();
    assert!(counters.reassembly_evicted > 10_000, "{counters:?}");
    let given_up = counters.reassembly_evicted + counters.reassembly_timed_out;
    assert_eq!((given_up, counters.fragments_held), (20_000, 20_000));
    assert_eq!(
        (counters.tcp_streams, counters.tcp_followed),
        (20_000, 20_000)
    );
}

#[test]
fn reports_with_lying_lengths_are_counted_and_harm_nobody() {
    let (phones, good) = good_call();
    let mut settings = EngineSettings::default();
    settings.tunnel_ports.hep = vec![9060];
    let (_, alone) = run_with(settings.clone(), good.clone());
    let mut dice = Dice::new(7);
    let mut all = good.clone();
    for n in 0..2000 {
        // The good call's own messages, as an agent would report them, with a lie somewhere in their lengths.
        let payload = &good[n % good.len()].bytes[42..];
        let mut report = b"HEP3\0\0".to_vec();
        let chunks: [(u8, &[u8]); 8] = [
            (1, &[2]),
            (3, &[192, 0, 2, 1]),
            (4, &[192, 0, 2, 2]),
            (7, &[0x13, 0xc4]),
            (8, &[0x13, 0xc4]),
            (11, &[1]),
            (12, &[0, 0, 0, 9]),
            (15, payload),
        ];
        let mut lengths = vec![4];
        for (kind, content) in chunks {
            report.extend([0, 0, 0, kind]);
            lengths.push(report.len());
            report.extend((content.len() as u16 + 6).to_be_bytes());
            report.extend(content);
        }
        let total = (report.len() as u16).to_be_bytes();
        report[4..6].copy_from_slice(&total);
        let lie = lengths[dice.below(lengths.len() as u64) as usize];
        let told = u16::from_be_bytes([report[lie], report[lie + 1]]);
        let other = told.wrapping_add(1 + dice.below(65_534) as u16);
        report[lie..lie + 2].copy_from_slice(&other.to_be_bytes());
        all.push(Frame {
            time: at(n as i64),
            bytes: tunnel_udp(9060, &report, &[]),
        });
    }
    let (engine, among) = in_time(move || run_with(settings, all));
    assert!(among.trace(&phones.call_id) == alone.trace(&phones.call_id));
    assert!(
        engine.wire_counters().malformed_hep > 1900,
        "{:?}",
        engine.wire_counters()
    );
}
