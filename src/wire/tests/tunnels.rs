//! Fragments and packets inside packets.

use std::net::IpAddr;

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header};

use super::*;
use crate::base::{Tunnel, TunnelKind};

/// `payload` of `protocol` as IPv4 fragments of `size` bytes each.
fn fragments_v4(protocol: IpNumber, id: u16, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let piece = |(index, chunk): (usize, &[u8])| {
        let mut header = Ipv4Header::new(chunk.len() as u16, 64, protocol, PHONE, PBX).unwrap();
        header.identification = id;
        header.fragment_offset = IpFragOffset::try_new((index * size / 8) as u16).unwrap();
        header.more_fragments = index * size + chunk.len() < payload.len();
        [header.to_bytes().as_slice(), chunk].concat()
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

fn fragments_v6(protocol: IpNumber, id: u32, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let piece = |(index, chunk): (usize, &[u8])| {
        let offset = IpFragOffset::try_new((index * size / 8) as u16).unwrap();
        let more = index * size + chunk.len() < payload.len();
        let fragment = Ipv6FragmentHeader::new(protocol, offset, more, id);
        let header = Ipv6Header {
            payload_length: chunk.len() as u16 + 8,
            next_header: IpNumber::IPV6_FRAGMENTATION_HEADER,
            hop_limit: 64,
            source: [0xfd; 16],
            destination: [0xfe; 16],
            ..Default::default()
        };
        [header.to_bytes().as_slice(), &fragment.to_bytes(), chunk].concat()
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

fn within(tunnel: Tunnel, ports: (u16, u16)) -> Flow {
    let mut flow = flow_v4(ports);
    flow.vantage.tunnels = Tunnels::NONE.and_within(tunnel);
    flow
}

fn hear_all(listener: &mut Listener, ether_type: u16, packets: &[Vec<u8>]) {
    for packet in packets {
        listener.hear_frame(at_millis(0), &ethernet(&[], ether_type, packet));
    }
}

#[test]
fn fragmented_datagrams_arrive_whole_in_both_families() {
    let payload: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
    let mut listener = Listener::new();
    hear_all(
        &mut listener,
        0x0800,
        &fragments_v4(
            IpNumber::UDP,
            7,
            &udp_v4((5060, 5060), &payload)[20..],
            1480,
        ),
    );
    let mut v6 = fragments_v6(
        IpNumber::UDP,
        7,
        &udp_v6((5060, 5060), &payload)[40..],
        1232,
    );
    v6.reverse();
    hear_all(&mut listener, 0x86dd, &v6);
    assert_eq!(listener.heard.datagrams.len(), 2);
    assert_eq!(
        listener.heard.datagrams[0],
        (flow_v4((5060, 5060)), payload.clone(), false)
    );
    assert_eq!(listener.heard.datagrams[1].1, payload);
    let counters = listener.counters();
    assert_eq!(
        (
            counters.reassembled,
            counters.fragments_held,
            counters.datagrams
        ),
        (2, 4, 2)
    );
}

#[test]
fn fragments_of_two_vlans_do_not_mix() {
    let pieces = fragments_v4(
        IpNumber::UDP,
        7,
        &udp_v4((5060, 5060), &[1; 2000])[20..],
        1480,
    );
    let mut listener = Listener::new();
    listener.hear_frame(at_millis(0), &ethernet(&[(0x8100, 1)], 0x0800, &pieces[0]));
    listener.hear_frame(at_millis(0), &ethernet(&[(0x8100, 2)], 0x0800, &pieces[1]));
    assert!(listener.heard.datagrams.is_empty());
}

#[test]
fn a_cut_first_fragment_gives_the_head_of_its_datagram() {
    let pieces = fragments_v4(
        IpNumber::UDP,
        7,
        &udp_v4((5060, 5060), &[1; 2000])[20..],
        1480,
    );
    let mut listener = Listener::new();
    for piece in &pieces {
        let frame = ethernet(&[], 0x0800, piece);
        let data = &frame[..128];
        let original_len = frame.len() as u32;
        listener.hear(Packet {
            original_len,
            ..packet(LinkType::Ethernet, at_millis(0), data)
        });
    }
    assert_eq!(
        listener.heard.datagrams,
        [(flow_v4((5060, 5060)), vec![1; 128 - 42], true)]
    );
    assert_eq!(
        (
            listener.counters().datagrams_truncated,
            listener.counters().fragments_cut
        ),
        (1, 1)
    );
}

#[test]
fn fragments_time_out_by_packet_time_even_if_no_fragment_follows() {
    let pieces = fragments_v4(
        IpNumber::UDP,
        7,
        &udp_v4((5060, 5060), &[1; 2000])[20..],
        1480,
    );
    let mut listener = Listener::new();
    listener.hear_frame(at_millis(0), &ethernet(&[], 0x0800, &pieces[0]));
    assert_eq!(listener.wire.next_timeout(), Some(at_millis(30_000)));
    listener.hear_frame(at_millis(30_000), &ethernet(&[], 0x0806, &[]));
    assert_eq!(
        (
            listener.wire.next_timeout(),
            listener.counters().reassembly_timed_out
        ),
        (None, 1)
    );
}

/// An end of an outer header: an address of IPv4 made one of IPv6 too.
fn end(family: u8, last: u8) -> IpAddr {
    match family {
        4 => IpAddr::from([192, 0, 2, last]),
        _ => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)]),
    }
}

fn ip_in_ip_between(source: IpAddr, destination: IpAddr, inner: &[u8]) -> Vec<u8> {
    let protocol = match inner[0] >> 4 {
        4 => IpNumber::IPV4,
        _ => IpNumber::IPV6,
    };
    let length = inner.len() as u16;
    let header = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let ends = (source.octets(), destination.octets());
            let header = Ipv4Header::new(length, 64, protocol, ends.0, ends.1);
            header.unwrap().to_bytes().to_vec()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => Ipv6Header {
            payload_length: length,
            next_header: protocol,
            hop_limit: 64,
            source: source.octets(),
            destination: destination.octets(),
            ..Default::default()
        }
        .to_bytes()
        .to_vec(),
        _ => unreachable!("ends of one family"),
    };
    [header.as_slice(), inner].concat()
}

fn ip_in_ip(outer: u8, inner: &[u8]) -> Vec<u8> {
    ip_in_ip_between(end(outer, 1), end(outer, 2), inner)
}

/// Vantage of each datagram that these frames give.
fn tunnels_of(ether_type: u16, packets: &[Vec<u8>]) -> Vec<Tunnels> {
    let mut listener = Listener::new();
    hear_all(&mut listener, ether_type, packets);
    let heard = listener.heard.datagrams.iter();
    heard.map(|(flow, ..)| flow.vantage.tunnels).collect()
}

#[test]
fn ip_in_ip_is_opened_in_all_pairs_of_families() {
    for (outer, ether_type) in [(4, 0x0800), (6, 0x86dd)] {
        for inner in [
            udp_v4((4000, 4002), b"inner"),
            udp_v6((4000, 4002), b"inner"),
        ] {
            let mut listener = Listener::new();
            hear_all(&mut listener, ether_type, &[ip_in_ip(outer, &inner)]);
            let (flow, payload, _) = &listener.heard.datagrams[0];
            let ends = Tunnel::between(TunnelKind::IpInIp, end(outer, 1), end(outer, 2));
            assert_eq!(
                (flow.source.is_ipv4(), flow.vantage.tunnels),
                (inner[0] == 0x45, Tunnels::NONE.and_within(ends))
            );
            assert_eq!(payload, b"inner");
            assert_eq!(listener.counters().tunnels_ipip, 1);
        }
    }
}

#[test]
fn the_ends_of_ip_in_ip_are_a_vantage_for_both_directions() {
    let inner = udp_v4((4000, 4002), b"inner");
    for (family, ether_type) in [(4, 0x0800), (6, 0x86dd)] {
        let between = |a, b| ip_in_ip_between(end(family, a), end(family, b), &inner);
        let packets = [between(1, 9), between(9, 1), between(2, 9), between(1, 2)];
        let [there, back, other, third] = tunnels_of(ether_type, &packets)[..] else {
            panic!("four datagrams");
        };
        assert_eq!(there, back);
        assert!(there != other && other != third && there != third);
    }
}

#[test]
fn the_number_of_a_pppoe_session_is_a_vantage() {
    let inner = udp_v4((5060, 5060), b"inner");
    let session = |high, low| [&[0x11, 0, high, low, 0, 0, 0, 0x21], &inner[..]].concat();
    let told = tunnels_of(0x8864, &[session(0, 9), session(1, 9), session(0, 9)]);
    let told: Vec<String> = told.iter().map(Tunnels::to_string).collect();
    assert_eq!(told, ["pppoe:9", "pppoe:265", "pppoe:9"]);
}

#[test]
fn the_ends_of_ether_ip_are_a_vantage_for_both_directions() {
    let frame = ethernet(&[], 0x0800, &udp_v4((4000, 4002), b"inner"));
    let packet = |from: u8, to: u8| {
        let payload = [&[0x30, 0][..], &frame].concat();
        let (from, to) = ([192, 0, 2, from], [192, 0, 2, to]);
        let header = Ipv4Header::new(payload.len() as u16, 64, IpNumber(97), from, to).unwrap();
        [&header.to_bytes()[..], &payload].concat()
    };
    let told = tunnels_of(0x0800, &[packet(1, 9), packet(9, 1), packet(2, 9)]);
    assert_eq!(told.len(), 3);
    assert!(told[0] == told[1] && told[1] != told[2]);
    let ends = Tunnel::between(TunnelKind::EtherIp, end(4, 1), end(4, 9));
    assert_eq!(told[0], Tunnels::NONE.and_within(ends));
}

#[test]
fn nesting_stops_at_eight_headers() {
    let mut listener = Listener::new();
    let mut inner = udp_v4((4000, 4002), b"inner");
    for _ in 0..7 {
        inner = ip_in_ip(4, &inner);
    }
    hear_all(&mut listener, 0x0800, &[inner.clone(), ip_in_ip(6, &inner)]);
    assert_eq!(
        (
            listener.counters().datagrams,
            listener.counters().nested_too_deep
        ),
        (1, 1)
    );
}

#[test]
fn fragments_inside_ip_in_ip_arrive_whole() {
    let mut listener = Listener::new();
    let datagram = udp_v4((5060, 5060), &[9; 4000]);
    for piece in fragments_v4(IpNumber::UDP, 1, &datagram[20..], 1024) {
        let outer = fragments_v6(IpNumber::IPV4, u32::from(piece[7]), &piece, 512);
        hear_all(&mut listener, 0x86dd, &outer);
    }
    let ends = Tunnel::between(TunnelKind::IpInIp, [0xfd; 16].into(), [0xfe; 16].into());
    assert_eq!(
        listener.heard.datagrams,
        [(within(ends, (5060, 5060)), vec![9; 4000], false)]
    );
}

#[test]
fn fragments_in_two_tunnels_do_not_mix() {
    let pieces = fragments_v4(
        IpNumber::UDP,
        7,
        &udp_v4((5060, 5060), &[1; 2000])[20..],
        1480,
    );
    let mut listener = Listener::new();
    for (last, piece) in (1..).zip(&pieces) {
        let packet = ip_in_ip_between(end(4, last), end(4, 9), piece);
        hear_all(&mut listener, 0x0800, &[packet]);
        let session = [&[0x11, 0, 0, last, 0, 0, 0, 0x21], &piece[..]].concat();
        hear_all(&mut listener, 0x8864, &[session]);
    }
    assert!(listener.heard.datagrams.is_empty());
    assert_eq!(listener.counters().fragments_held, 4);
}

#[test]
fn pppoe_sessions_are_opened_and_discovery_is_not_ip() {
    let mut listener = Listener::new();
    let v4 = [
        &[0x11, 0, 0, 9, 0, 0, 0x00, 0x21],
        udp_v4((5060, 5060), b"inner").as_slice(),
    ]
    .concat();
    let v6 = [
        &[0x11, 0, 0, 9, 0, 0, 0x57],
        udp_v6((5060, 5060), b"inner").as_slice(),
    ]
    .concat();
    let lcp = vec![0x11, 0, 0, 9, 0, 4, 0xc0, 0x21, 9, 0, 0, 4];
    hear_all(
        &mut listener,
        0x8864,
        &[v4, v6, lcp, vec![0x11], vec![0x11, 0, 0, 9, 0, 0]],
    );
    hear_all(&mut listener, 0x8863, &[vec![0x11, 9, 0, 0]]);
    let c = listener.counters();
    assert_eq!((c.datagrams, c.not_ip), (2, 2));
    assert_eq!(
        (c.tunnels_pppoe, c.malformed_tunnel, c.malformed_link),
        (4, 1, 1)
    );
    let session = "pppoe:9".parse().unwrap();
    assert_eq!(
        listener.heard.datagrams[0],
        (within(session, (5060, 5060)), b"inner".to_vec(), false)
    );
}

/// Next header, length, SPI, sequence number and 12 bytes of proof (RFC 4302 section 2).
fn authentication_header(next: IpNumber) -> [u8; 24] {
    let mut header = [0; 24];
    header[0] = next.0;
    header[1] = 4;
    header
}

#[test]
fn authenticated_datagrams_are_read_whole_and_in_fragments() {
    let udp = &udp_v4((5060, 5060), &[9; 3000])[20..];
    let payload = [authentication_header(IpNumber::UDP).as_slice(), udp].concat();
    let mut listener = Listener::new();
    hear_all(
        &mut listener,
        0x0800,
        &fragments_v4(IpNumber::AUTHENTICATION_HEADER, 7, &payload, 4000),
    );
    hear_all(
        &mut listener,
        0x0800,
        &fragments_v4(IpNumber::AUTHENTICATION_HEADER, 7, &payload, 1480),
    );
    let udp = &udp_v6((5060, 5060), &[9; 3000])[40..];
    let payload = [authentication_header(IpNumber::UDP).as_slice(), udp].concat();
    let options = [IpNumber::AUTHENTICATION_HEADER.0, 0, 1, 4, 0, 0, 0, 0];
    let payload = [options.as_slice(), &payload].concat();
    let number = IpNumber::IPV6_DESTINATION_OPTIONS;
    hear_all(
        &mut listener,
        0x86dd,
        &fragments_v6(number, 7, &payload, 1232),
    );
    assert_eq!(listener.heard.datagrams.len(), 3);
    assert!(
        listener
            .heard
            .datagrams
            .iter()
            .all(|(_, payload, _)| *payload == [9; 3000])
    );
}

#[test]
fn a_fragment_of_a_fragment_is_malformed() {
    let mut inner = fragments_v6(IpNumber::UDP, 1, &[0; 64], 32).remove(0);
    inner.drain(..40);
    let mut listener = Listener::new();
    let number = IpNumber::IPV6_FRAGMENTATION_HEADER;
    hear_all(&mut listener, 0x86dd, &fragments_v6(number, 2, &inner, 16));
    assert_eq!(
        (
            listener.counters().malformed_ip,
            listener.heard.datagrams.len()
        ),
        (1, 0)
    );
}
