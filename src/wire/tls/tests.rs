use proptest::prelude::*;

use super::derive::{expand_label, prf};
use super::handshake::{ClientHello, Message, Messages, ServerHello};
use super::record::{HANDSHAKE, Records};
use super::suite::Hash;
use super::*;
use crate::base::Timestamp;
use crate::wire::{PerWay, Way};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The vector that Mavrogiannopoulos gave to the TLS mailing list in 2009, which all implementations are tested with.
#[test]
fn the_prf_of_tls_1_2_gives_its_test_vector() {
    let output = prf(
        Hash::Sha256,
        &hex("9bbe436ba940f017b17652849a71db35"),
        b"test label",
        &hex("a0ba9f936cda311827a6f796ffd5198c"),
        100,
    );
    let expected = "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af\
        0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66";
    assert_eq!(*output, hex(expected));
}

#[test]
fn traffic_keys_are_those_of_rfc_8448() {
    let secret = hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
    let key = expand_label(Hash::Sha256, &secret, b"key", 16);
    let iv = expand_label(Hash::Sha256, &secret, b"iv", 12);
    assert_eq!(*key, hex("3fce516009c21727d0f2e4e86ee403bc"));
    assert_eq!(*iv, hex("5d313eb2671276ee13000b30"));
}

fn line(label: &str, random: &str, secret: &str) -> Line {
    parse_line(format!("{label} {random} {secret}\r\n").as_bytes())
}

#[test]
fn key_log_lines_are_told_apart() {
    let random = "0123456789abcdefABCDEF0123456789".repeat(2);
    let (short, long) = ("ab".repeat(32), "cd".repeat(48));
    let is_secret = |line: Line| matches!(line, Line::Secret(_));
    assert!(is_secret(line("CLIENT_RANDOM", &random, &long)));
    assert!(is_secret(line("SERVER_TRAFFIC_SECRET_0", &random, &short)));
    assert!(is_secret(line(
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        &random,
        &long
    )));
    for other in ["EXPORTER_SECRET", "CLIENT_EARLY_TRAFFIC_SECRET", "RSA"] {
        assert!(matches!(line(other, &random, &short), Line::Other));
    }
    for other in ["", "# a comment", "   \r\n"] {
        assert!(matches!(parse_line(other.as_bytes()), Line::Other));
    }
    let malformed = [
        line("CLIENT_RANDOM", &random, &short),
        line("CLIENT_RANDOM", &random[2..], &long),
        line("CLIENT_RANDOM", &random, &long[1..]),
        line("CLIENT_RANDOM", &random.replace('a', "g"), &long),
        line("CLIENT_RANDOM", &random, &format!("{long} more")),
        line("CLIENT_RANDOM", &random, &"00".repeat(300)),
        parse_line(b"\xff\xfe not text"),
    ];
    for line in malformed {
        assert!(matches!(line, Line::Malformed), "{line:?}");
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let random = "11".repeat(32);
    let Line::Secret(secret) = line("CLIENT_RANDOM", &random, &"ab".repeat(48)) else {
        panic!("it is a secret");
    };
    let mut log = KeyLog::new(10);
    log.add(secret.clone());
    for shown in [
        format!("{secret:?}"),
        format!("{log:?}"),
        format!("{log:#?}"),
    ] {
        assert!(
            !shown.contains("171") && !shown.to_lowercase().contains("abab"),
            "{shown}"
        );
    }
}

#[test]
fn the_oldest_session_is_forgotten_first() {
    let secret = |n: u8| match line(
        "CLIENT_RANDOM",
        &format!("{n:02x}").repeat(32),
        &"ab".repeat(48),
    ) {
        Line::Secret(secret) => secret,
        other => panic!("{other:?}"),
    };
    let mut log = KeyLog::new(2);
    assert_eq!(
        (log.add(secret(1)), log.add(secret(2)), log.add(secret(1))),
        (0, 0, 0)
    );
    assert_eq!((log.add(secret(3)), log.len()), (1, 2));
    assert!(log.find(&[1; 32], Label::Master).is_none());
    assert!(log.find(&[2; 32], Label::Master).is_some());
    assert!(log.find(&[2; 32], Label::ClientTraffic).is_none());
}

fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_be_bytes();
    [&length[8 - length_bytes..], content].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], vector(3, body)].concat()
}

fn client_hello(random: u8, extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[random; 32],
        &vector(1, &[7; 32]),
        &vector(2, &[0x13, 1, 0xc0, 0x2f]),
        &vector(1, &[0]),
        &vector(2, extensions),
    ];
    handshake(1, &body.concat())
}

fn server_hello(random: u8, suite: u16, extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[random; 32],
        &vector(1, &[]),
        &suite.to_be_bytes(),
        &[0],
        &vector(2, extensions),
    ];
    handshake(2, &body.concat())
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind, 3, 3], vector(2, body)].concat()
}

#[test]
fn hellos_are_read_whatever_stands_between_them() {
    let early = [&[0, 0][..], &vector(2, b"name"), &[0, 42], &vector(2, &[])].concat();
    let chosen = [&[0, 43][..], &vector(2, &[3, 4]), &[0, 22], &vector(2, &[])].concat();
    let bytes = [
        client_hello(1, &early),
        handshake(11, &[0x16; 5000]),
        server_hello(2, 0x1302, &chosen),
        handshake(24, &[0]),
        server_hello(3, 0xc02f, &[]),
        handshake(20, &[9; 12]),
    ];
    let expected = [
        Message::ClientHello(ClientHello {
            random: [1; 32],
            early_data: true,
        }),
        Message::ServerHello(ServerHello {
            random: [2; 32],
            version: 0x0304,
            suite: 0x1302,
            compressed: false,
            encrypt_then_mac: true,
        }),
        Message::KeyUpdate,
        Message::ServerHello(ServerHello {
            random: [3; 32],
            version: 0x0303,
            suite: 0xc02f,
            compressed: false,
            encrypt_then_mac: false,
        }),
        Message::Finished,
    ];
    for piece in [1, 3, 100, 10_000] {
        let (mut messages, mut heard) = (Messages::default(), Vec::new());
        for piece in bytes.concat().chunks(piece) {
            messages.push(piece, &mut |message| heard.push(message));
        }
        assert_eq!(heard, expected);
    }
}

/// A connection, its log and what came out.
#[derive(Default)]
struct Bench {
    tls: TlsConnection,
    counters: TlsCounters,
    out: Vec<PlainBytes>,
    may_wait: bool,
}

impl Bench {
    fn push(&mut self, way: Way, gap: bool, bytes: &[u8]) {
        let secrets = KeyLog::new(4);
        let mut context = Context {
            secrets: &secrets,
            may_wait: self.may_wait,
            counters: &mut self.counters,
            out: &mut self.out,
        };
        self.tls
            .push(way, Timestamp::default(), gap, bytes, &mut context);
    }

    fn hellos(&mut self, suite: u16, extensions: &[u8]) {
        self.push(Way::There, false, &record(HANDSHAKE, &client_hello(1, &[])));
        self.push(
            Way::Back,
            false,
            &record(HANDSHAKE, &server_hello(2, suite, extensions)),
        );
    }
}

const IS_13: [u8; 6] = [0, 43, 0, 2, 3, 4];

#[test]
fn what_waits_for_a_secret_is_bounded() {
    let mut bench = Bench {
        may_wait: true,
        ..Bench::default()
    };
    bench.hellos(0x1301, &IS_13);
    for _ in 0..1000 {
        bench.push(Way::There, false, &record(23, &[5; 1000]));
        assert!(bench.tls.held_bytes() < 200 << 10);
    }
    assert_eq!((bench.counters.without_key, bench.counters.opened), (1, 0));
    assert!(bench.counters.waited_in_vain_bytes > 60_000);
    assert_eq!(bench.tls.waiting_since(), None);
}

#[test]
fn why_a_connection_stays_closed_is_told_once() {
    let mut none = Bench::default();
    none.hellos(0xc02f, &[]);
    for way in Way::BOTH {
        none.push(way, false, &record(20, &[1]));
        none.push(way, false, &record(22, &[5; 40]));
        none.push(way, false, &record(23, &[5; 40]));
    }
    assert_eq!(
        (none.counters.without_key, none.counters.without_handshake),
        (1, 0)
    );
    let mut midway = Bench::default();
    midway.push(Way::There, true, &record(23, &[5; 40]));
    midway.push(Way::Back, true, &record(23, &[5; 40]));
    assert_eq!(
        (
            midway.counters.without_key,
            midway.counters.without_handshake
        ),
        (0, 1)
    );
    for (suite, extensions) in [(0x1304, &IS_13[..]), (0x0005, &[])] {
        let mut other = Bench::default();
        other.hellos(suite, extensions);
        other.push(Way::There, false, &record(23, &[5; 40]));
        assert_eq!(
            (other.counters.unsupported, other.counters.without_key),
            (1, 0)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_out_wherever_the_stream_is_cut(
        bodies in prop::collection::vec((20u8..24, 1usize..3000), 1..10),
        pieces in prop::collection::vec(1usize..900, 1..40),
    ) {
        let sent: Vec<Vec<u8>> = bodies.iter().map(|&(kind, length)| record(kind, &vec![kind; length])).collect();
        let stream = sent.concat();
        let (mut records, mut found, mut rest) = (Records::default(), Vec::new(), &stream[..]);
        for &size in pieces.iter().cycle() {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            records.push(piece);
            while let Some(record) = records.peek() {
                records.accept(&record);
                found.push([&record.header[..], &record.body].concat());
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, sent);
        prop_assert!(!records.is_lost());
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(
        pieces in prop::collection::vec(
            (any::<bool>(), any::<bool>(), prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                (20u8..24, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(kind, body)| record(kind, &body)),
                Just(record(HANDSHAKE, &client_hello(1, &[]))),
                Just(record(HANDSHAKE, &server_hello(2, 0x1301, &IS_13))),
                Just(record(HANDSHAKE, &server_hello(2, 0xc02f, &[]))),
                Just(record(20, &[1])),
            ]), 0..40),
        may_wait: bool,
    ) {
        let mut bench = Bench { may_wait, ..Bench::default() };
        for (back, gap, bytes) in pieces {
            bench.push(if back { Way::Back } else { Way::There }, gap, &bytes);
            prop_assert!(bench.tls.held_bytes() < 400 << 10);
        }
        prop_assert!(bench.out.is_empty());
    }
}

#[test]
fn both_ways_are_each_others_opposite() {
    let mut values = PerWay { there: 1, back: 2 };
    values[Way::There.opposite()] += 10;
    assert_eq!((values[Way::There], values[Way::Back]), (1, 12));
}
