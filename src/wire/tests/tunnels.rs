//! Fragments and packets inside packets.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header};

use super::*;

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

fn ip_in_ip(outer: u8, inner: &[u8]) -> Vec<u8> {
    let protocol = if inner[0] >> 4 == 4 {
        IpNumber::IPV4
    } else {
        IpNumber::IPV6
    };
    let header = if outer == 4 {
        Ipv4Header::new(
            inner.len() as u16,
            64,
            protocol,
            [192, 0, 2, 1],
            [192, 0, 2, 2],
        )
        .unwrap()
        .to_bytes()
        .to_vec()
    } else {
        let payload_length = inner.len() as u16;
        Ipv6Header {
            payload_length,
            next_header: protocol,
            hop_limit: 64,
            ..Default::default()
        }
        .to_bytes()
        .to_vec()
    };
    [header.as_slice(), inner].concat()
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
            assert_eq!(
                (flow.source.is_ipv4(), flow.vantage.tunnels),
                (inner[0] == 0x45, Tunnels::NONE)
            );
            assert_eq!(payload, b"inner");
        }
    }
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
    assert_eq!(
        listener.heard.datagrams,
        [(flow_v4((5060, 5060)), vec![9; 4000], false)]
    );
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
    hear_all(&mut listener, 0x8864, &[v4, v6, lcp, vec![0x11]]);
    hear_all(&mut listener, 0x8863, &[vec![0x11, 9, 0, 0]]);
    let c = listener.counters();
    assert_eq!((c.datagrams, c.not_ip, c.malformed_link), (2, 2, 1));
    assert_eq!(
        listener.heard.datagrams[0],
        (flow_v4((5060, 5060)), b"inner".to_vec(), false)
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
