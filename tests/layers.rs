//! SIP in TLS and WebSocket connections between real programs, held against what tshark read of them.

use std::fs;
use std::path::{Path, PathBuf};

use callreel::base::Timestamp;
use callreel::capture::{CaptureFiles, KeyLogFile};
use callreel::engine::streams::{SipStreams, StreamCounters, StreamLimits, StreamMessage};
use callreel::sip::{Message, decode_head};
use callreel::wire::tls::LoggedSecret;
use callreel::wire::{Packet, TcpInterest, Unit, Wire, WireLimits};

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
struct Ways {
    keep: fn(usize) -> bool,
    limits: StreamLimits,
}

impl Default for Ways {
    fn default() -> Self {
        Ways {
            keep: |_| true,
            limits: StreamLimits::default(),
        }
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
    let (mut messages, mut start, mut number) = (Vec::new(), None, 0);
    while let Some(packet) = files.next_packet().unwrap() {
        let packet: Packet<'_> = packet;
        start.get_or_insert(packet.time);
        let due = std::iter::from_fn(|| secrets.next_if(|(at, _)| *at <= number));
        streams.add_secrets(due.map(|(_, secret)| secret), &mut messages);
        number += 1;
        if !(ways.keep)(number) {
            continue;
        }
        wire.handle_packet(&packet, &mut |unit| {
            if let Unit::Stream(bytes) = unit {
                streams.push(&bytes, &mut messages);
            }
        });
    }
    let start = start.unwrap();
    streams.add_secrets(secrets.map(|(_, secret)| secret), &mut messages);
    wire.finish(start, &mut |unit| {
        if let Unit::Stream(bytes) = unit {
            streams.push(&bytes, &mut messages);
        }
    });
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
