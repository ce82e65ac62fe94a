//! SIP in TLS and WebSocket connections between real programs, held against what tshark read of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callreel::base::{Side, Timestamp};
use callreel::capture::{CaptureFiles, KeyLogFile};
use callreel::directory::Directory;
use callreel::engine::event::{CallEnd, EndReason, Event};
use callreel::engine::streams::{SipStreams, StreamCounters, StreamLimits, StreamMessage};
use callreel::engine::{Engine, EngineSettings};
use callreel::sip::{Message, decode_head};
use callreel::wire::tls::LoggedSecret;
use callreel::wire::{Packet, StreamBytes, StreamEvent, TcpInterest, Unit, Wire, WireLimits};
use proptest::prelude::*;

/// Early data is not read: tshark's line of it.
const EARLY: &str = "OPTIONS early";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn secrets(path: &Path) -> Vec<LoggedSecret> {
    let mut secrets = Vec::new();
    KeyLogFile::new(path)
        .read_all(&mut |secret| secrets.push(secret))
        .unwrap();
    secrets
}

/// A message as `messages.tsv` has it: seconds, port of its sender, method or status, Call-ID.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    seconds: f64,
    port: u16,
    what: String,
}

impl Told {
    fn new(message: &StreamMessage, start: Timestamp) -> Told {
        let bytes = decode_head(&message.bytes);
        let read = Message::parse(&bytes).unwrap();
        let text = std::str::from_utf8(&message.bytes).unwrap();
        let word = match text.strip_prefix("SIP/2.0 ") {
            Some(rest) => rest,
            None => text,
        };
        let word = word.split(' ').next().unwrap();
        Told {
            seconds: message.time.since(start).as_secs_f64(),
            port: message.flow.source.port,
            what: format!("{word} {}", read.call_id().unwrap()),
        }
    }

    fn is(&self, other: &Told) -> bool {
        (self.port, &self.what) == (other.port, &other.what)
            && (self.seconds - other.seconds).abs() < 1e-5
    }
}

fn as_tshark_reads(path: &Path) -> Vec<Told> {
    let lines = fs::read_to_string(path).unwrap();
    let told = lines.lines().map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        Told {
            seconds: fields[0].parse().unwrap(),
            port: fields[1].parse().unwrap(),
            what: format!("{}{} {}", fields[2], fields[3], fields[4]),
        }
    });
    told.collect()
}

/// What is done to a capture on its way.
#[derive(Default)]
struct Ways {
    /// The TCP segment with data of this number is lost.
    drop: Option<usize>,
    /// Bytes are handed on in pieces: a seed, and the largest.
    cut: Option<(u64, usize)>,
    /// The mirror tags what a server sends with another VLAN.
    tagged: bool,
    /// Each client uses the port that the one before used.
    same_ports: bool,
    /// All is said once more at the same time between other ports, as a proxy does.
    twice: bool,
    limits: StreamLimits,
}

impl Ways {
    fn pieces<'a>(&self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let Some((seed, largest)) = self.cut else {
            return vec![bytes];
        };
        let (mut rest, mut pieces, mut state) = (bytes, Vec::new(), seed);
        while !rest.is_empty() {
            // Knuth's MMIX.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let size = 1 + (state >> 33) as usize % largest;
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}

/// The payload of a TCP segment over IPv4 and Ethernet, as all of these captures have them.
fn tcp_payload(frame: &[u8]) -> usize {
    match frame.get(23) {
        Some(6) => {
            let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            length - 20 - usize::from(frame[46] >> 4) * 4
        }
        _ => 0,
    }
}

/// The messages of a capture. `secrets` are handed in before the packet with the number that stands with them.
fn read(
    capture: &Path,
    secrets: impl IntoIterator<Item = (usize, LoggedSecret)>,
    ways: &Ways,
) -> (Vec<Told>, StreamCounters) {
    let interest = TcpInterest {
        ports: vec![5060, 5061, 8080, 8443],
        sniff: |_| false,
    };
    let mut wire = Wire::new(WireLimits::default(), interest);
    let mut streams = SipStreams::new(vec![5061, 8443], ways.limits);
    let mut secrets = secrets.into_iter().peekable();
    let mut files = CaptureFiles::open(&[capture.to_owned()]).unwrap();
    let (mut messages, mut start, mut number, mut segments) = (Vec::new(), None, 0, 0);
    let hand_on = |unit: Unit<'_>, streams: &mut SipStreams, messages: &mut Vec<StreamMessage>| {
        let Unit::Stream(mut bytes) = unit else {
            return;
        };
        if ways.tagged && bytes.flow.source.port < 10_000 {
            bytes.flow.vantage.vlans[0] = 20;
        }
        for end in [&mut bytes.flow.source, &mut bytes.flow.destination] {
            if ways.same_ports && end.port > 10_000 {
                end.port = 40_000;
            }
        }
        for (n, piece) in ways.pieces(bytes.bytes).into_iter().enumerate() {
            let event = match n {
                0 => bytes.event,
                _ => StreamEvent::Data,
            };
            streams.push(
                &StreamBytes {
                    bytes: piece,
                    event,
                    ..bytes
                },
                messages,
            );
        }
        if bytes.bytes.is_empty() {
            streams.push(&bytes, messages);
        }
        if ways.twice {
            for end in [&mut bytes.flow.source, &mut bytes.flow.destination] {
                end.port += u16::from(end.port > 10_000);
            }
            streams.push(&bytes, messages);
        }
    };
    while let Some(packet) = files.next_packet().unwrap() {
        start.get_or_insert(packet.time);
        let due = std::iter::from_fn(|| secrets.next_if(|(at, _)| *at <= number));
        streams.add_secrets(due.map(|(_, secret)| secret), &mut messages);
        number += 1;
        let is_segment = tcp_payload(packet.data) > 0;
        segments += usize::from(is_segment);
        if is_segment && ways.drop == Some(segments - 1) {
            continue;
        }
        wire.handle_packet(&packet, &mut |unit| {
            hand_on(unit, &mut streams, &mut messages)
        });
    }
    let start = start.unwrap();
    streams.add_secrets(secrets.map(|(_, secret)| secret), &mut messages);
    wire.finish(start, &mut |unit| {
        hand_on(unit, &mut streams, &mut messages)
    });
    streams.finish(&mut messages);
    let told = messages.iter().map(|message| Told::new(message, start));
    (told.collect(), *streams.counters())
}

fn assert_same(told: &[Told], expected: &[Told]) {
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.is(expected), "{told:?} is not {expected:?}");
    }
    assert_eq!(told.len(), expected.len());
}

fn suites() -> (PathBuf, Vec<LoggedSecret>, Vec<Told>) {
    let folder = fixture("tls-suites");
    let mut expected = as_tshark_reads(&folder.join("messages.tsv"));
    expected.retain(|told| told.what != EARLY);
    let secrets = secrets(&folder.join("tls-suites.keylog"));
    (folder.join("tls-suites.pcap"), secrets, expected)
}

fn at_once(secrets: &[LoggedSecret]) -> impl Iterator<Item = (usize, LoggedSecret)> {
    secrets.iter().map(|secret| (0, secret.clone()))
}

#[test]
fn every_cipher_suite_and_turn_of_a_session_is_read_as_tshark_reads_it() {
    let (capture, secrets, expected) = suites();
    let (told, counters) = read(&capture, at_once(&secrets), &Ways::default());
    let tls = counters.tls;
    println!("{tls:?}");
    assert_same(&told, &expected);
    assert_eq!((tls.connections, tls.opened), (23, 23));
    assert_eq!(
        (tls.without_key, tls.without_handshake, tls.unsupported),
        (0, 0, 0)
    );
    assert_eq!(
        (tls.bad_records, tls.resynchronised, tls.given_up),
        (0, 0, 0)
    );
    assert!(tls.early_data_records > 0);
}

#[test]
fn without_secrets_every_connection_is_counted_and_nothing_is_kept() {
    let (capture, _, _) = suites();
    let (told, counters) = read(&capture, [], &Ways::default());
    assert!(told.is_empty());
    assert_eq!((counters.tls.without_key, counters.tls.opened), (23, 0));
}

const CALLS: [&str; 5] = [
    "sipp-tls12",
    "sipp-tls13",
    "sipp-ws",
    "sipp-wss",
    "sipp-ws-deflate",
];

/// The capture of a whole call, and its secrets.
fn call(name: &str) -> (PathBuf, Vec<LoggedSecret>) {
    let capture = fixture(name).join(name).with_extension("pcap");
    let keylog = capture.with_extension("keylog");
    let secrets = match keylog.exists() {
        true => secrets(&keylog),
        false => Vec::new(),
    };
    (capture, secrets)
}

fn whole(name: &str) -> Vec<Told> {
    let (capture, secrets) = call(name);
    let (told, _) = read(&capture, at_once(&secrets), &Ways::default());
    assert!(told.len() >= 6, "{name}: {told:?}");
    told
}

/// Ciphertext waits.
fn patient() -> Ways {
    Ways {
        limits: StreamLimits {
            key_wait: Duration::from_secs(10),
            ..StreamLimits::default()
        },
        ..Ways::default()
    }
}

#[test]
fn secrets_that_come_late_open_what_waited_as_of_its_own_time() {
    let patient = patient();
    for name in ["sipp-tls12", "sipp-tls13", "sipp-wss"] {
        let (capture, secrets) = call(name);
        let late = secrets.into_iter().zip((50..).step_by(30));
        let late = late.map(|(secret, at)| (at, secret));
        let (mut told, counters) = read(&capture, late, &patient);
        told.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        assert_same(&told, &whole(name));
        assert_eq!((counters.tls.opened, counters.tls.without_key), (1, 0));
    }
}

#[test]
fn secrets_that_come_when_nobody_waits_open_what_follows() {
    for name in ["sipp-tls12", "sipp-tls13", "sipp-wss"] {
        let (capture, secrets) = call(name);
        let late = secrets.into_iter().map(|secret| (150, secret));
        let (told, counters) = read(&capture, late, &Ways::default());
        // The BYE and its answer.
        let expected = whole(name);
        assert_same(&told, &expected[expected.len() - 2..]);
        assert_eq!(
            (counters.tls.without_key, counters.tls.resynchronised),
            (1, 2),
            "{name}"
        );
    }
}

/// Runs a call whose secrets come `late` after its last packet, and what waits for them a while later; `lower_server`: the server's
/// address is the lower one.
fn end_read_late(name: &str, late: Duration, lower_server: bool) -> Option<CallEnd> {
    let (capture, secrets) = call(name);
    let settings = EngineSettings {
        tls_ports: vec![5061, 8443],
        streams: patient().limits,
        ..EngineSettings::default()
    };
    let mut engine = Engine::new(settings, Arc::new(Directory::empty()));
    let mut ends = Vec::new();
    let mut sink = |event| {
        if let Event::Ended(end) = event {
            ends.push(*end);
        }
    };
    let mut files = CaptureFiles::open(&[capture]).unwrap();
    let mut now = Timestamp::MIN;
    while let Some(packet) = files.next_packet().unwrap() {
        now = packet.time;
        let mut frame = packet.data.to_vec();
        for host in [26, 30] {
            if lower_server && frame[host..host + 4] == [192, 0, 2, 20] {
                frame[host + 3] = 1;
            }
        }
        let packet = Packet {
            data: &frame,
            ..packet
        };
        engine.handle_packet(&packet, &mut sink);
    }
    now = now + late;
    engine.handle_timeout(now, &mut sink);
    engine.add_tls_secrets(secrets, &mut sink);
    engine.handle_timeout(now + Duration::from_millis(600), &mut sink);
    let still_open = engine.open_calls();
    ends.pop().filter(|_| still_open == 0)
}

#[test]
fn a_call_that_is_over_when_its_secret_comes_ends_when_it_did() {
    for name in ["sipp-tls12", "sipp-tls13", "sipp-wss"] {
        for (ms, lower_server) in [(0, false), (6000, false), (0, true), (6000, true)] {
            let end = end_read_late(name, Duration::from_millis(ms), lower_server);
            let end = end.unwrap_or_else(|| panic!("{name} after {ms} ms, {lower_server}: open"));
            let reason = EndReason::Bye { by: Side::Caller };
            let seconds = end.ended_at.since(end.info.invite_at).as_secs_f64();
            assert_eq!(end.reason, reason, "{name} after {ms} ms");
            assert!((3.0..3.2).contains(&seconds), "{name}: {seconds}");
        }
    }
}

#[test]
fn secrets_that_come_after_the_connection_has_closed_open_it() {
    for name in ["sipp-tls12", "sipp-tls13", "sipp-wss"] {
        let (capture, secrets) = call(name);
        let late = secrets.into_iter().map(|secret| (usize::MAX, secret));
        let (told, counters) = read(&capture, late, &patient());
        assert_same(&told, &whole(name));
        assert_eq!((counters.tls.opened, counters.tls.without_key), (1, 0));
    }
}

#[test]
fn connections_of_the_same_ports_wait_each_for_its_own_secret() {
    let (capture, secrets, mut expected) = suites();
    for told in expected.iter_mut().filter(|told| told.port > 10_000) {
        told.port = 40_000;
    }
    let mut patient = patient();
    patient.limits.key_wait = Duration::from_secs(60);
    patient.same_ports = true;
    let late = secrets.iter().map(|secret| (usize::MAX, secret.clone()));
    let (told, counters) = read(&capture, late, &patient);
    assert_same(&told, &expected);
    assert_eq!((counters.tls.connections, counters.tls.opened), (23, 23));
    // Those whose secrets do not come are told of when their time is over.
    let (told, counters) = read(&capture, [], &patient);
    assert!(told.is_empty());
    assert_eq!((counters.tls.without_key, counters.tls.opened), (23, 0));
    assert!(counters.tls.waited_in_vain_bytes > 0);
}

#[test]
fn what_two_connections_said_in_turns_is_read_in_turns() {
    let (capture, secrets) = call("sipp-tls13");
    let late = secrets.into_iter().map(|secret| (usize::MAX, secret));
    let mut both = patient();
    both.twice = true;
    let (told, counters) = read(&capture, late, &both);
    assert_eq!(counters.tls.opened, 2);
    assert_eq!(told.len(), 2 * whole("sipp-tls13").len());
    assert!(told.is_sorted_by(|a, b| a.seconds <= b.seconds), "{told:?}");
}

#[test]
fn directions_that_the_mirror_tags_differently_are_one_connection() {
    let tagged = Ways {
        tagged: true,
        ..Ways::default()
    };
    for name in CALLS {
        let (capture, secrets) = call(name);
        let (told, _) = read(&capture, at_once(&secrets), &tagged);
        assert_same(&told, &whole(name));
    }
    let (capture, secrets, expected) = suites();
    let (told, counters) = read(&capture, at_once(&secrets), &tagged);
    assert_same(&told, &expected);
    assert_eq!((counters.tls.connections, counters.tls.opened), (23, 23));
}

#[test]
fn a_lost_segment_costs_its_own_messages_and_no_others() {
    for name in CALLS {
        let (capture, secrets) = call(name);
        let expected = whole(name);
        let mut lost_after_handshake = 0;
        for lost in 0..60 {
            let ways = Ways {
                drop: Some(lost),
                ..Ways::default()
            };
            let (told, counters) = read(&capture, at_once(&secrets), &ways);
            let known = |told: &Told| expected.iter().any(|one| one.what == told.what);
            assert!(told.iter().all(known), "{name} without {lost}: {told:?}");
            let missing = expected.len() - told.len();
            let closed = counters.tls.without_handshake + counters.tls.without_key;
            // What refers back to what was lost is lost too.
            let bound = match name {
                "sipp-ws-deflate" => expected.len() / 2,
                _ => 2,
            };
            assert!(
                missing <= bound || closed > 0,
                "{name} without {lost}: {told:?}"
            );
            lost_after_handshake += usize::from(missing > 0 && closed == 0);
        }
        assert!(lost_after_handshake > 0, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_where_streams_are_cut(seed in 1u64.., largest in 1usize..400) {
        for name in CALLS {
            let (capture, secrets) = call(name);
            let ways = Ways { cut: Some((seed, largest)), ..Ways::default() };
            let (told, _) = read(&capture, at_once(&secrets), &ways);
            assert_same(&told, &whole(name));
        }
    }
}
