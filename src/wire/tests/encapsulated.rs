//! Packets in tunnels of every kind, alone and inside each other.

use etherparse::{IpNumber, Ipv4Header};
use proptest::prelude::*;

use super::*;

/// A way to put an Ethernet frame with an IP packet, or its packet alone, into a tunnel. Out comes an Ethernet frame.
struct Wrapper {
    /// As the vantage says it.
    tunnel: &'static str,
    /// Takes the frame without its header.
    packet_only: bool,
    wrap: fn(&[u8]) -> Vec<u8>,
}

const fn frames(tunnel: &'static str, wrap: fn(&[u8]) -> Vec<u8>) -> Wrapper {
    Wrapper {
        tunnel,
        packet_only: false,
        wrap,
    }
}

const fn packets(tunnel: &'static str, wrap: fn(&[u8]) -> Vec<u8>) -> Wrapper {
    Wrapper {
        packet_only: true,
        ..frames(tunnel, wrap)
    }
}

fn ip(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    let ends = ([203, 0, 113, 1], [203, 0, 113, 2]);
    let header = Ipv4Header::new(length, 64, IpNumber(protocol), ends.0, ends.1).unwrap();
    ethernet(&[], 0x0800, &[&header.to_bytes()[..], payload].concat())
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = [0xd9, 0x03, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&port.to_be_bytes());
    header[4..6].copy_from_slice(&(payload.len() as u16 + 8).to_be_bytes());
    ip(17, &[&header[..], payload].concat())
}

fn behind(head: &[u8], payload: &[u8]) -> Vec<u8> {
    [head, payload].concat()
}

fn be(length: usize) -> [u8; 2] {
    (length as u16).to_be_bytes()
}

const PPP: [u8; 4] = [0xff, 0x03, 0x00, 0x21];

/// Every tunnel, with its options.
const WRAPPERS: &[Wrapper] = &[
    packets("gre", |p| ip(47, &behind(&[0, 0, 8, 0], p))),
    packets("gre:77", |p| {
        ip(
            47,
            &behind(&[0xb0, 0, 8, 0, 1, 2, 0, 0, 0, 0, 0, 77, 0, 0, 0, 1], p),
        )
    }),
    frames("gre:77", |f| {
        ip(47, &behind(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 77], f))
    }),
    frames("nvgre:5001", |f| {
        ip(47, &behind(&[0x20, 0, 0x65, 0x58, 0, 0x13, 0x89, 0xab], f))
    }),
    packets("gre", |p| {
        let [high, low] = be(p.len() + 4);
        let head = [
            0x30, 0x81, 0x88, 0x0b, high, low, 9, 9, 0, 0, 0, 1, 0, 0, 0, 2,
        ];
        ip(47, &[&head[..], &PPP, p].concat())
    }),
    packets("gre", |p| ip(47, &behind(&[0, 0, 0x88, 0x0b, 0, 0x21], p))),
    frames("erspan", |f| ip(47, &behind(&[0, 0, 0x88, 0xbe], f))),
    frames("erspan:519", |f| {
        let head = [
            0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0x1a, 7, 0, 0, 0, 3,
        ];
        ip(47, &behind(&head, f))
    }),
    frames("erspan:7", |f| {
        let gre = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1];
        let head = [
            0x20, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0x0c, 0, 0, 0, 0, 0, 0, 0,
        ];
        ip(47, &[&gre[..], &head, f].concat())
    }),
    packets("erspan:7", |p| {
        let gre = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1];
        ip(
            47,
            &[&gre[..], &[0x20, 0, 0, 7, 0, 0, 0, 0, 0, 0, 8, 0], p].concat(),
        )
    }),
    frames("vxlan:5001", |f| {
        udp(4789, &behind(&[8, 0, 0, 0, 0, 0x13, 0x89, 0], f))
    }),
    frames("vxlan:0", |f| {
        udp(8472, &behind(&[0x88, 0x40, 1, 2, 0, 0, 0, 0], f))
    }),
    packets("vxlan:5001", |p| {
        udp(4790, &behind(&[0x0c, 0, 0, 1, 0, 0x13, 0x89, 0], p))
    }),
    frames("geneve:5001", |f| {
        udp(
            6081,
            &behind(&[1, 0x40, 0x65, 0x58, 0, 0x13, 0x89, 0, 1, 2, 3, 0], f),
        )
    }),
    packets("geneve:5001", |p| {
        udp(6081, &behind(&[0, 0, 8, 0, 0, 0x13, 0x89, 0], p))
    }),
    packets("mpls", |p| {
        ethernet(&[], 0x8847, &behind(&[0, 1, 0, 64, 0, 6, 0x41, 64], p))
    }),
    frames("mpls", |f| {
        ethernet(&[], 0x8848, &behind(&[0, 6, 0x41, 64, 0, 0, 0, 9], f))
    }),
    frames("mpls", |f| {
        ethernet(&[], 0x8847, &behind(&[0, 6, 0x41, 64], f))
    }),
    frames("mpls", |f| ip(137, &behind(&[0, 6, 0x41, 64], f))),
    packets("gtp", |p| {
        let [high, low] = be(p.len());
        udp(2152, &behind(&[0x30, 255, high, low, 1, 2, 3, 4], p))
    }),
    packets("gtp", |p| {
        let [high, low] = be(p.len() + 12);
        let head = [
            0x36, 255, high, low, 1, 2, 3, 4, 0, 9, 0, 0x85, 1, 0, 1, 0xc0, 1, 0, 0, 0,
        ];
        udp(2152, &behind(&head, p))
    }),
    packets("l2tp", |p| {
        udp(1701, &[&[0, 2, 0, 1, 0, 10][..], &PPP, p].concat())
    }),
    packets("l2tp", |p| {
        let [high, low] = be(p.len() + 4 + 18);
        let head = [
            0x4a, 2, high, low, 0, 1, 0, 10, 0, 5, 0, 5, 0, 4, 9, 9, 9, 9,
        ];
        udp(1701, &[&head[..], &PPP, p].concat())
    }),
    frames("l2tp", |f| {
        udp(
            1701,
            &behind(
                &[0, 3, 0, 0, 0xff, 0xfe, 0, 1, 1, 2, 3, 4, 0x40, 0, 0, 0],
                f,
            ),
        )
    }),
    frames("l2tp", |f| ip(115, &behind(&[0xff, 0xfe, 0, 1], f))),
    packets("l2tp", |p| {
        ip(
            115,
            &[&[0xff, 0xfe, 0, 1, 1, 2, 3, 4][..], &PPP, p].concat(),
        )
    }),
    frames("tzsp", |f| {
        udp(37008, &behind(&[1, 0, 0, 1, 0, 0x12, 2, 0xff, 1, 1], f))
    }),
    frames("etherip:203.0.113.2-203.0.113.1", |f| {
        ip(97, &behind(&[0x30, 0], f))
    }),
    packets("ipip:203.0.113.1-203.0.113.2", |p| ip(4, p)),
    packets("pppoe:70", |p| {
        ethernet(&[], 0x8864, &behind(&[0x11, 0, 0, 70, 0, 0, 0, 0x21], p))
    }),
    frames("pbb:70000", |f| {
        ethernet(&[(0x88a8, 0)], 0x88e7, &behind(&[0, 0x01, 0x11, 0x70], f))
    }),
];

/// `None`: the wrapper needs an IP packet, and the frame has none.
fn wrapped(wrapper: &Wrapper, frame: &[u8]) -> Option<Vec<u8>> {
    match (wrapper.packet_only, frame.strip_prefix(&[2; 12])?) {
        (false, _) => Some((wrapper.wrap)(frame)),
        (true, [8, 0, packet @ ..]) => Some((wrapper.wrap)(packet)),
        (true, _) => None,
    }
}

fn inner_frame(payload: &[u8]) -> Vec<u8> {
    ethernet(&[], 0x0800, &udp_v4((4000, 4002), payload))
}

fn heard_in(tunnels: &[&str]) -> Flow {
    let around = |all: Tunnels, text: &&str| all.and_within(text.parse().unwrap());
    let mut flow = flow_v4((4000, 4002));
    flow.vantage.tunnels = tunnels.iter().fold(Tunnels::NONE, around);
    flow
}

#[test]
fn every_tunnel_is_opened_and_named() {
    for wrapper in WRAPPERS {
        let mut listener = Listener::new();
        listener.hear_frame(
            at_millis(0),
            &wrapped(wrapper, &inner_frame(b"inner")).unwrap(),
        );
        let heard = &listener.heard.datagrams;
        let expected = (heard_in(&[wrapper.tunnel]), b"inner".to_vec(), false);
        assert_eq!(*heard, [expected], "{}", wrapper.tunnel);
        let opened = |(name, count): &(&str, u64)| name.starts_with("tunnels_") && *count > 0;
        assert_eq!(
            listener
                .counters()
                .named()
                .iter()
                .filter(|n| opened(n))
                .count(),
            1
        );
    }
}

#[test]
fn vlans_inside_and_outside_of_a_tunnel_are_both_told() {
    let inner = ethernet(&[(0x8100, 120)], 0x0800, &udp_v4((4000, 4002), b"inner"));
    let vxlan = behind(&[8, 0, 0, 0, 0, 0x13, 0x89, 0], &inner);
    let mut outer = udp(4789, &vxlan);
    outer.splice(12..12, [0x81, 0, 0, 42]);
    let mut listener = Listener::new();
    listener.hear_frame(at_millis(0), &outer);
    assert_eq!(listener.heard.datagrams[0].0.vantage.vlans, [42, 120, 0]);
}

#[test]
fn the_vlan_that_a_mirror_tells_of_stands_for_a_tag_that_is_not_there() {
    let vlans = |second: [u8; 3], inner: &[u8]| {
        let [a, b, c] = second;
        let head = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, a, b, c, 7, 0, 0, 0, 3];
        let mut listener = Listener::new();
        listener.hear_frame(at_millis(0), &ip(47, &behind(&head, inner)));
        listener.heard.datagrams[0].0.vantage.vlans
    };
    let bare = inner_frame(b"inner");
    let tagged = ethernet(&[(0x8100, 110)], 0x0800, &udp_v4((4000, 4002), b"inner"));
    assert_eq!(vlans([0x10, 110, 0x10], &bare), [110, 0, 0]);
    assert_eq!(vlans([0x10, 110, 0x10], &tagged), [110, 0, 0]);
    // The field is not used where the tag is left in the frame.
    assert_eq!(vlans([0x11, 44, 0x18], &bare), [0, 0, 0]);
}

#[test]
fn a_hundred_tunnels_inside_each_other_are_given_up_quickly() {
    for wrapper in WRAPPERS {
        let frame = (0..7).try_fold(inner_frame(b"inner"), |frame, _| wrapped(wrapper, &frame));
        let Some(frame) = frame else { continue };
        let mut listener = Listener::new();
        listener.hear_frame(at_millis(0), &frame);
        assert_eq!(listener.heard.datagrams.len(), 1, "{}", wrapper.tunnel);
        let frame = (7..100).fold(frame, |frame, _| wrapped(wrapper, &frame).unwrap());
        listener.hear_frame(at_millis(0), &frame);
        let counters = listener.counters();
        assert_eq!((counters.datagrams, counters.nested_too_deep), (1, 1));
    }
}

#[test]
fn what_is_no_tunnel_at_a_port_of_tunnels_stays_a_datagram() {
    let rtp = [&[0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4][..], &[0x55; 160]].concat();
    let stun = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ];
    let ports = [4789, 4790, 8472, 6081, 2152, 1701, 37008];
    let mut listener = Listener::new();
    for port in ports {
        for payload in [
            &rtp[..],
            b"INVITE sip:1@2 SIP/2.0\r\n\r\n",
            b"\r\n\r\n",
            &stun,
            b"",
        ] {
            listener.hear_frame(at_millis(0), &udp(port, payload));
            assert_eq!(listener.heard.datagrams.pop().unwrap().1, payload, "{port}");
        }
    }
    // RTP is not even looked at.
    assert_eq!(listener.counters().tunnel_ports_unused, 4 * 7);
}

#[test]
fn a_tunnels_own_messages_are_counted_and_not_handed_out() {
    let mut listener = Listener::new();
    for frame in [
        udp(2152, &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0]),
        udp(1701, &[0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 1, 0, 2]),
        udp(37008, &[1, 4, 0, 0]),
        udp(6081, &[0, 0x80, 0, 0, 0, 0, 0, 0]),
        ip(47, &[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 9, 0, 0, 0, 1]),
        ip(115, &[0, 0, 0, 0, 0xc8, 3, 0, 12]),
        ethernet(&[], 0x8847, &[0, 6, 0x41, 64, 0x10, 0, 0, 7, 0, 0, 0, 0]),
    ] {
        listener.hear_frame(at_millis(0), &frame);
    }
    assert_eq!(listener.counters().tunnel_control, 7);
    assert!(listener.heard.datagrams.is_empty());
}

#[test]
fn headers_that_are_none_are_malformed() {
    let mut listener = Listener::new();
    for frame in [
        ip(47, &[0x40, 0, 8, 0, 0, 0, 0, 0]),
        ip(47, &[0, 5, 8, 0]),
        ip(47, &[0x20, 0, 8, 0]),
        ip(47, &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x50, 0, 0, 0]),
        ip(97, &[0x20, 0]),
        ip(115, &[1, 2]),
        ip(137, &[0, 0, 0, 64]),
        ethernet(&[], 0x8847, &[0; 40]),
        ethernet(&[], 0x88e7, &[0]),
    ] {
        listener.hear_frame(at_millis(0), &frame);
    }
    assert_eq!(listener.counters().malformed_tunnel, 9);
}

#[test]
fn lengths_that_announce_more_than_there_is_are_counted() {
    let packet = &udp_v4((4000, 4002), &[7; 100]);
    let (short, [high, low]) = (&packet[..80], be(packet.len()));
    let ppp = [&PPP[..], short].concat();
    let [ppp_high, ppp_low] = be(packet.len() + 4);
    let [l2tp_high, l2tp_low] = be(packet.len() + 4 + 8);
    let mut listener = Listener::new();
    for frame in [
        udp(2152, &behind(&[0x30, 255, high, low, 1, 2, 3, 4], short)),
        udp(
            1701,
            &behind(&[0x40, 2, l2tp_high, l2tp_low, 0, 1, 0, 10], &ppp),
        ),
        ip(
            47,
            &behind(
                &[0x30, 1, 0x88, 0x0b, ppp_high, ppp_low, 9, 9, 0, 0, 0, 1],
                &ppp,
            ),
        ),
    ] {
        listener.hear_frame(at_millis(0), &frame);
        let (_, payload, truncated) = listener.heard.datagrams.pop().unwrap();
        assert_eq!((payload, truncated), (vec![7; 52], true));
    }
    assert_eq!(listener.counters().tunnels_truncated, 3);
    assert_eq!(listener.counters().datagrams_truncated, 3);
}

#[test]
fn tcp_streams_inside_tunnels_are_put_together() {
    let message = b"INVITE sip:1002@10.0.0.2 SIP/2.0\r\n\r\n";
    for wrapper in WRAPPERS {
        let mut listener = Listener::new();
        for (sequence, bytes) in [(1000u32, &message[..20]), (1020, &message[20..])] {
            let mut packet = Vec::new();
            let step = PacketBuilder::ipv4(PHONE, PBX, 64).tcp(40_000, 5060, sequence, 9);
            step.write(&mut packet, bytes).unwrap();
            let frame = wrapped(wrapper, &ethernet(&[], 0x0800, &packet)).unwrap();
            listener.hear_frame(at_millis(0), &frame);
        }
        let flow = *listener.heard.streams.keys().next().unwrap();
        assert_eq!(
            flow.vantage.tunnels,
            heard_in(&[wrapper.tunnel]).vantage.tunnels
        );
        assert_eq!(listener.heard.runs(&flow).0.concat(), message);
    }
}

proptest! {
    /// Whatever is put into tunnels, one inside the other, comes out as it was.
    #[test]
    fn a_datagram_comes_out_of_any_tunnels_as_it_went_in(
        payload in prop::collection::vec(any::<u8>(), 0..600),
        around in prop::collection::vec(0..WRAPPERS.len(), 1..7),
    ) {
        let mut tunnels = Vec::new();
        let mut frame = inner_frame(&payload);
        for wrapper in around.iter().filter_map(|&number| WRAPPERS.get(number)) {
            if let Some(outer) = wrapped(wrapper, &frame) {
                frame = outer;
                tunnels.insert(0, wrapper.tunnel);
            }
        }
        let mut listener = Listener::new();
        listener.hear_frame(at_millis(0), &frame);
        prop_assert_eq!(&listener.heard.datagrams, &[(heard_in(&tunnels), payload, false)]);
    }

    /// Whatever stands behind the beginning of a tunnel, and wherever it is cut or changed, is counted once.
    #[test]
    fn any_bytes_behind_a_tunnel_header_are_read_without_panic(
        number in 0..WRAPPERS.len(),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        more in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut frame = wrapped(&WRAPPERS[number], &inner_frame(b"inner")).unwrap();
        frame.truncate(14 + cut.index(frame.len() - 13));
        frame.extend(more);
        for (at, byte) in changes {
            let place = 14 + at.index((frame.len() - 13).max(1));
            if let Some(there) = frame.get_mut(place) {
                *there = byte;
            }
        }
        let mut listener = Listener::new();
        listener.hear_frame(at_millis(0), &frame);
    }
}
