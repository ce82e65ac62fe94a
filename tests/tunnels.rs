//! Two calls at once between phones of the same private addresses, in two tunnels or VLANs: each is recorded whole, and has
//! nothing of the other.

mod common;
#[allow(dead_code, unused_imports, reason = "a part of it is used here")]
mod noise;

use callreel::base::{Side, TunnelKind};
use callreel::codec::{Codec, Decoder};
use etherparse::{IpNumber, Ipv4Header, Ipv6Header};

use common::recording::Recording;
use common::replay::Replay;
use noise::{Dice, Frame, Phones, at, write_capture};

/// A frame in the tunnel with a number; `true`: from the caller. Out comes a frame.
type Wrap = fn(&[u8], u8, bool) -> Vec<u8>;

fn frame(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ether_type.to_be_bytes(), payload].concat()
}

/// Without the Ethernet header.
fn packet(frame: &[u8]) -> &[u8] {
    &frame[14..]
}

/// Ends of a tunnel, as the direction has them.
fn ends(number: u8, from_caller: bool) -> (u8, u8) {
    match from_caller {
        true => (number, 200),
        false => (200, number),
    }
}

fn v4(protocol: u8, (source, destination): (u8, u8), payload: &[u8]) -> Vec<u8> {
    let (source, destination) = ([192, 0, 2, source], [192, 0, 2, destination]);
    let length = payload.len() as u16;
    let header = Ipv4Header::new(length, 64, IpNumber(protocol), source, destination).unwrap();
    frame(0x0800, &[&header.to_bytes()[..], payload].concat())
}

fn v6(protocol: u8, (source, destination): (u8, u8), payload: &[u8]) -> Vec<u8> {
    let address = |last| {
        let mut octets = [0; 16];
        octets[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        octets[15] = last;
        octets
    };
    let header = Ipv6Header {
        payload_length: payload.len() as u16,
        next_header: IpNumber(protocol),
        hop_limit: 64,
        source: address(source),
        destination: address(destination),
        ..Ipv6Header::default()
    };
    frame(0x86dd, &[&header.to_bytes()[..], payload].concat())
}

fn udp(port: u16, ends: (u8, u8), head: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = (8 + head.len() + payload.len()) as u16;
    let header = [
        50_000u16.to_be_bytes(),
        port.to_be_bytes(),
        length.to_be_bytes(),
        [0; 2],
    ];
    v4(17, ends, &[header.as_flattened(), head, payload].concat())
}

fn tagged(frame: &[u8], tags: &[u8]) -> Vec<u8> {
    [&frame[..12], tags, &frame[12..]].concat()
}

fn hep(inner: &[u8], agent: u8, _: bool) -> Vec<u8> {
    let (ip, udp, payload) = (&inner[14..34], &inner[34..42], &inner[42..]);
    let content = if payload[0] == 0x80 { 4 } else { 1 };
    let fields: [(u8, &[u8]); 9] = [
        (1, &[2]),
        (2, &[17]),
        (3, &ip[12..16]),
        (4, &ip[16..20]),
        (7, &udp[..2]),
        (8, &udp[2..4]),
        (11, &[content]),
        (12, &[0, 0, 0, agent]),
        (15, payload),
    ];
    let chunk = |(kind, bytes): &(u8, &[u8])| {
        let length = (bytes.len() as u16 + 6).to_be_bytes();
        [&[0, 0, 0, *kind][..], &length, bytes].concat()
    };
    let body: Vec<u8> = fields.iter().flat_map(chunk).collect();
    let length = (body.len() as u16 + 6).to_be_bytes();
    udp_to_hep(&[&b"HEP3"[..], &length].concat(), &body)
}

fn udp_to_hep(head: &[u8], body: &[u8]) -> Vec<u8> {
    udp(9060, (1, 200), head, body)
}

/// All that tells one customer from another by a number that both directions share.
const WAYS: &[(&str, Wrap)] = &[
    ("vlan", |f, n, _| tagged(f, &[0x81, 0, 0, n])),
    ("qinq", |f, n, _| {
        tagged(f, &[0x88, 0xa8, 0, 5, 0x81, 0, 0, n])
    }),
    ("qinq, the outer tag", |f, n, _| {
        tagged(f, &[0x88, 0xa8, 0, n, 0x81, 0, 0, 5])
    }),
    ("gre key", |f, n, caller| {
        let head = [0x20, 0, 8, 0, 0, 0, 0, n];
        v4(47, ends(1, caller), &[&head[..], packet(f)].concat())
    }),
    ("nvgre", |f, n, caller| {
        let head = [0x20, 0, 0x65, 0x58, 0, 0x13, n, 0];
        v4(47, ends(1, caller), &[&head[..], f].concat())
    }),
    ("erspan II", |f, n, _| {
        let head = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, n, 0, 0, 0, 0];
        v4(47, (1, 200), &[&head[..], f].concat())
    }),
    ("erspan III", |f, n, _| {
        let gre = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1];
        let head = [0x20, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, 0];
        v4(47, (1, 200), &[&gre[..], &head, f].concat())
    }),
    ("vxlan", |f, n, caller| {
        udp(4789, ends(1, caller), &[8, 0, 0, 0, 0, 0, n, 0], f)
    }),
    ("geneve", |f, n, caller| {
        udp(6081, ends(1, caller), &[0, 0, 0x65, 0x58, 0, 0, n, 0], f)
    }),
    ("802.1ah", |f, n, _| {
        frame(0x88e7, &[&[0, 0, 0, n][..], f].concat())
    }),
    ("pppoe", |f, n, _| {
        let [high, low] = (packet(f).len() as u16 + 2).to_be_bytes();
        let head = [0x11, 0, 0, n, high, low, 0, 0x21];
        frame(0x8864, &[&head[..], packet(f)].concat())
    }),
    ("pppoe in a vlan", |f, n, _| {
        let head = [0x11, 0, 0, n, 0, 0, 0, 0x21];
        tagged(
            &frame(0x8864, &[&head[..], packet(f)].concat()),
            &[0x81, 0, 0, 7],
        )
    }),
    ("ip in ip", |f, n, caller| v4(4, ends(n, caller), packet(f))),
    ("ip in ipv6", |f, n, caller| {
        v6(4, ends(n, caller), packet(f))
    }),
    ("ip in ip in vxlan", |f, n, caller| {
        let inside = v4(4, ends(n, caller), packet(f));
        udp(4789, (1, 200), &[8, 0, 0, 0, 0, 0, 9, 0], &inside)
    }),
    ("etherip", |f, n, caller| {
        v4(97, ends(n, caller), &[&[0x30, 0][..], f].concat())
    }),
    ("hep", hep),
];

const PACKETS: u32 = 60;

/// What one side of a call says.
fn said(call: u8, side: Side) -> Vec<u8> {
    Dice::new(u64::from(call) * 2 + side as u64).bytes(160 * PACKETS as usize)
}

/// A call of the phones that all calls here have, up to SSRC and sequence numbers.
fn call(number: u8) -> Vec<(bool, Frame)> {
    let phones = Phones::new(&format!("call-{number}"), 7);
    let later = i64::from(number) * 3;
    let mut frames = phones.signalling(at(later), 1400);
    for side in Side::BOTH {
        for (n, payload) in said(number, side).chunks(160).enumerate() {
            let header = (0, n as u16, n as u32 * 160, 77 + side as u32);
            let time = at(later + 40 + n as i64 * 20);
            frames.push(phones.rtp(time, side, header, payload));
        }
    }
    // The last octet of the source is 1 for the caller.
    let from_caller = |frame: &Frame| frame.bytes[29] == 1;
    frames.into_iter().map(|f| (from_caller(&f), f)).collect()
}

fn replayed(mut frames: Vec<Frame>) -> Replay {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("tunnels.pcap");
    frames.sort_by_key(|frame| frame.time);
    write_capture(&capture, &frames);
    Replay::run(&[capture])
}

#[track_caller]
fn assert_whole(way: &str, replay: &Replay, number: u8) {
    let line = replay.call(&format!("call-{number}"));
    let line = line.unwrap_or_else(|| panic!("{way}: {:?}", replay.report.calls));
    let told = (&*line.disposition, line.packets_lost, line.packets_expected);
    assert_eq!(told, ("recorded", 0, 2 * u64::from(PACKETS)), "{way}");
    let recording = Recording::read(line.file.as_deref().expect("it is recorded"));
    for side in Side::BOTH {
        let mut expected = Vec::new();
        let mut decoder = Decoder::new(Codec::Pcmu).unwrap();
        decoder.decode(&said(number, side), &mut expected).unwrap();
        let (heard, rest) = recording.channels[side].split_at(expected.len());
        let same = heard == expected && rest.iter().all(|&sample| sample == 0);
        assert!(same, "{way}: {side} of call {number} is not what was said");
    }
}

#[test]
fn two_calls_between_the_same_addresses_in_two_tunnels_are_two_recordings() {
    for (way, wrap) in WAYS {
        let inside = |number: u8| {
            let wrapped = move |(from_caller, frame): (bool, Frame)| Frame {
                bytes: wrap(&frame.bytes, number, from_caller),
                ..frame
            };
            call(number).into_iter().map(wrapped)
        };
        let replay = replayed(inside(1).chain(inside(2)).collect());
        assert_eq!(replay.report.calls.len(), 2, "{way}");
        assert_eq!(replay.count("rtp_duplicates"), 0, "{way}");
        for number in [1, 2] {
            assert_whole(way, &replay, number);
        }
    }
}

/// As with a load balancer whose servers answer by themselves (direct routing): what it forwards is in IP in IP, what comes
/// back is not.
#[test]
fn a_call_of_which_one_direction_is_in_a_tunnel_is_one_recording() {
    for tunnelled in [true, false] {
        for kind in [TunnelKind::IpInIp, TunnelKind::Pppoe] {
            let wrapped = |(from_caller, frame): (bool, Frame)| match from_caller == tunnelled {
                true if kind == TunnelKind::IpInIp => Frame {
                    bytes: v4(4, (1, 200), packet(&frame.bytes)),
                    ..frame
                },
                true => Frame {
                    bytes: [
                        &[2; 12][..],
                        &[0x88, 0x64, 0x11, 0, 0, 9, 0, 0, 0, 0x21],
                        packet(&frame.bytes),
                    ]
                    .concat(),
                    ..frame
                },
                false => frame,
            };
            let replay = replayed(call(1).into_iter().map(wrapped).collect());
            assert_eq!(replay.report.calls.len(), 1);
            assert_whole("one direction", &replay, 1);
        }
    }
}
