//! The fast path, the slow path and `etherparse` read the same.

use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv4Options, Ipv6Extensions, Ipv6FragmentHeader,
    Ipv6Header, Ipv6RawExtHeader, Ipv6RoutingExtensions, LaxNetSlice, LaxSlicedPacket,
    TransportSlice,
};
use proptest::prelude::*;

use super::*;
use crate::base::Vantage;

type Read = (Flow, Vec<u8>);

/// The second opinion. It stops at the third VLAN tag, knows no 0x9200, and takes EtherType at its word.
fn by_etherparse(frame: &[u8]) -> Option<Read> {
    let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let mut vantage = Vantage {
        interface: 3,
        ..Vantage::default()
    };
    let ids = packet.link_exts.iter().filter_map(|ext| match ext {
        etherparse::LaxLinkExtSlice::Vlan(vlan) => Some(vlan.vlan_identifier().value()),
        _ => None,
    });
    vantage
        .vlans
        .iter_mut()
        .zip(ids.filter(|id| *id != 0))
        .for_each(|(place, id)| *place = id);
    let (source, destination): (std::net::IpAddr, std::net::IpAddr) = match packet.net? {
        LaxNetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        LaxNetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        _ => return None,
    };
    let Some(TransportSlice::Udp(udp)) = packet.transport else {
        return None;
    };
    let source = Endpoint::new(source, udp.source_port());
    let destination = Endpoint::new(destination, udp.destination_port());
    Some((
        Flow {
            vantage,
            source,
            destination,
        },
        udp.payload().to_vec(),
    ))
}

fn by_fast_path(packet: &Packet<'_>) -> Option<(Flow, Vec<u8>, bool)> {
    match fast::read(packet, &PortTable::new(&TunnelPorts::default())) {
        Fast::Datagram(d) => Some((d.flow, d.payload.to_vec(), d.truncated)),
        _ => None,
    }
}

fn by_slow_path(packet: &Packet<'_>) -> Option<(Flow, Vec<u8>, bool)> {
    let mut listener = Listener::new();
    listener
        .wire
        .handle_slow(packet, &mut |unit| listener.heard.take(unit));
    listener.heard.datagrams.pop()
}

/// Whether the frame goes through a tunnel that `etherparse` does not open.
fn is_tunnelled(frame: &[u8]) -> bool {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else {
        return false;
    };
    packet.net.is_some_and(|net| {
        let number = net.ip_payload_ref().map(|payload| payload.ip_number);
        number == Some(IpNumber::IPV4) || number == Some(IpNumber::IPV6)
    })
}

fn compare(frame: &[u8], cut: usize) {
    let data = &frame[..cut.min(frame.len())];
    let packet = Packet {
        original_len: frame.len() as u32,
        ..packet(LinkType::Ethernet, at_millis(0), data)
    };
    let slow = by_slow_path(&packet);
    if let Some(fast) = by_fast_path(&packet) {
        assert_eq!(slow.as_ref(), Some(&fast));
    }
    let Some((flow, payload, _)) = slow else {
        return;
    };
    if let Some(other) = by_etherparse(data).filter(|_| !is_tunnelled(data)) {
        assert_eq!((flow, payload), other);
    }
}

fn v4_header(options: &[u8], fragment: Option<(u16, bool)>, protocol: u8) -> IpHeaders {
    let mut header = Ipv4Header::new(0, 64, IpNumber(protocol), PHONE, PBX).unwrap();
    header.options = Ipv4Options::try_from(options).unwrap();
    header.dont_fragment = fragment.is_none();
    if let Some((offset, more)) = fragment {
        header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
        header.more_fragments = more;
    }
    IpHeaders::Ipv4(header, Default::default())
}

fn v6_header(hop_by_hop: bool, routing: bool, atomic: bool) -> IpHeaders {
    let options = || Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[0; 14]).unwrap();
    let header = Ipv6Header {
        hop_limit: 64,
        source: [0xfd; 16],
        destination: [0xfe; 16],
        ..Default::default()
    };
    let extensions = Ipv6Extensions {
        hop_by_hop_options: hop_by_hop.then(options),
        routing: routing.then(|| Ipv6RoutingExtensions {
            routing: options(),
            final_destination_options: Some(options()),
        }),
        fragment: atomic
            .then(|| Ipv6FragmentHeader::new(IpNumber::UDP, IpFragOffset::ZERO, false, 7)),
        ..Default::default()
    };
    IpHeaders::Ipv6(header, extensions)
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let tag = (
        prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100, 0x9200]),
        any::<u16>(),
    );
    let options = (0usize..=10).prop_map(|words| vec![1u8; words * 4]);
    let fragment = prop::option::weighted(0.1, (0u16..100, any::<bool>()));
    let v4 = (prop_oneof![3 => Just(vec![]), 1 => options], fragment)
        .prop_map(|(options, fragment)| v4_header(&options, fragment, 17));
    let v6 =
        prop::array::uniform3(prop::bool::weighted(0.2)).prop_map(|[a, b, c]| v6_header(a, b, c));
    let ip = prop_oneof![v4, v6];
    let ports = (
        any::<u16>(),
        prop_oneof![8 => any::<u16>(), 1 => Just(2152), 1 => Just(5060)],
    );
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    (
        prop::collection::vec(tag, 0..5),
        ip,
        ports,
        prop::bool::weighted(0.8),
        payload,
        0usize..20,
    )
        .prop_map(|(tags, ip, ports, is_udp, payload, padding)| {
            let ether_type = if matches!(ip, IpHeaders::Ipv4(..)) {
                0x0800
            } else {
                0x86dd
            };
            let mut inner = Vec::new();
            let builder = PacketBuilder::ip(ip);
            if is_udp {
                builder
                    .udp(ports.0, ports.1)
                    .write(&mut inner, &payload)
                    .unwrap();
            } else {
                builder
                    .tcp(ports.0, ports.1, 1, 1)
                    .write(&mut inner, &payload)
                    .unwrap();
            }
            let mut frame = ethernet(&tags, ether_type, &inner);
            frame.extend(vec![0xee; padding]);
            frame
        })
}

#[test]
fn common_frames_take_the_fast_path() {
    for (ether_type, ip) in [
        (0x0800, udp_v4((4000, 4002), &[7; 172])),
        (0x86dd, udp_v6((4000, 4002), &[7; 172])),
    ] {
        for tags in [vec![], vec![(0x8100, 12)], vec![(0x88a8, 12), (0x8100, 34)]] {
            let frame = ethernet(&tags, ether_type, &ip);
            assert!(by_fast_path(&packet(LinkType::Ethernet, at_millis(0), &frame)).is_some());
        }
    }
}

#[test]
fn all_three_agree_at_every_length() {
    let ips = [
        (0x0800, udp_v4((4000, 4002), &[7; 60])),
        (0x86dd, udp_v6((4000, 4002), &[7; 60])),
        (0x0800, {
            let mut bytes = Vec::new();
            PacketBuilder::ip(v4_header(&[1; 12], None, 17))
                .udp(1, 2)
                .write(&mut bytes, &[7; 60])
                .unwrap();
            bytes
        }),
        (0x86dd, {
            let mut bytes = Vec::new();
            PacketBuilder::ip(v6_header(true, true, true))
                .udp(1, 2)
                .write(&mut bytes, &[7; 60])
                .unwrap();
            bytes
        }),
    ];
    for (ether_type, ip) in ips {
        for tags in [vec![], vec![(0x88a8, 12), (0x8100, 34)]] {
            let mut frame = ethernet(&tags, ether_type, &ip);
            let whole = frame.len();
            frame.extend([0xee; 10]);
            for cut in 0..=frame.len() {
                compare(&frame, cut);
                let data = &frame[..cut];
                let packet = Packet {
                    original_len: frame.len() as u32,
                    ..packet(LinkType::Ethernet, at_millis(0), data)
                };
                let Some((_, payload, truncated)) = by_slow_path(&packet) else {
                    assert!(cut < whole - 60);
                    continue;
                };
                assert_eq!(
                    (payload.len(), truncated),
                    (60 - whole.saturating_sub(cut), cut < whole)
                );
            }
        }
    }
}

#[test]
fn lengths_that_lie_are_tolerated() {
    let good = udp_v4((4000, 4002), b"0123456789");
    let read = |bytes: &[u8]| {
        let frame = ethernet(&[], 0x0800, bytes);
        let mut listener = Listener::new();
        listener.hear_frame(at_millis(0), &frame);
        listener
            .heard
            .datagrams
            .pop()
            .map(|(_, payload, truncated)| (payload, truncated))
    };
    let whole = (b"0123456789".to_vec(), false);
    let with = |changes: &[(usize, u8)]| {
        let mut bytes = good.clone();
        changes
            .iter()
            .for_each(|(place, value)| bytes[*place] = *value);
        bytes
    };
    assert_eq!(
        read(&with(&[(10, 0xde), (11, 0xad)])),
        Some(whole.clone()),
        "header checksum"
    );
    assert_eq!(
        read(&with(&[(2, 0), (3, 0)])),
        Some(whole.clone()),
        "IP length 0"
    );
    assert_eq!(
        read(&with(&[(24, 0), (25, 0)])),
        Some(whole.clone()),
        "UDP length 0"
    );
    assert_eq!(
        read(&with(&[(25, 7)])),
        Some(whole.clone()),
        "UDP length below its header"
    );
    assert_eq!(
        read(&with(&[(25, 99)])),
        Some((whole.0.clone(), true)),
        "UDP length beyond the packet"
    );
    assert_eq!(
        read(&with(&[(25, 12)])),
        Some((b"0123".to_vec(), false)),
        "UDP length shorter"
    );
    assert_eq!(
        read(&with(&[(3, 99)])),
        Some(whole),
        "IP length beyond the packet, UDP length right"
    );
    assert_eq!(read(&with(&[(3, 27)])), None, "no room for a UDP header");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn all_three_agree_on_generated_frames(frame in frame(), cut in prop::option::weighted(0.3, 0usize..400)) {
        compare(&frame, cut.unwrap_or(usize::MAX));
    }

    #[test]
    fn all_three_agree_on_damaged_frames(
        mut frame in frame(),
        damage in prop::collection::vec((0usize..90, any::<u8>()), 1..4),
        cut in prop::option::weighted(0.3, 0usize..400),
    ) {
        for (place, value) in damage {
            if let Some(byte) = frame.get_mut(place) {
                *byte = value;
            }
        }
        compare(&frame, cut.unwrap_or(usize::MAX));
    }

    #[test]
    fn unwanted_segments_are_counted_alike_on_both_paths(frame in frame(), damage in (0usize..80, any::<u8>())) {
        let mut frame = frame;
        if let Some(byte) = frame.get_mut(damage.0) {
            *byte = damage.1;
        }
        let packet = packet(LinkType::Ethernet, at_millis(0), &frame);
        let mut fast = Listener::new();
        fast.hear(packet);
        let mut slow = Listener::new();
        slow.wire.handle_slow(&packet, &mut |unit| slow.heard.take(unit));
        slow.wire.counters.packets = 1;
        slow.wire.counters.bytes = frame.len() as u64;
        prop_assert_eq!(fast.counters(), slow.counters());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        frames in prop::collection::vec((0u32..6, prop::collection::vec(any::<u8>(), 0..200), any::<u16>()), 1..20),
    ) {
        let mut listener = Listener::new();
        for (millis, (link, bytes, lost)) in frames.iter().enumerate() {
            let link = [0, 1, 101, 108, 113, 276].map(LinkType::from_dlt)[*link as usize].unwrap();
            let original_len = bytes.len() as u32 + u32::from(*lost);
            listener.hear(Packet { original_len, ..packet(link, at_millis(millis as i64), bytes) });
        }
        listener.finish(at_millis(1000));
    }

    #[test]
    fn plausible_headers_before_arbitrary_bytes_never_panic(
        head in prop::sample::select(vec![
            (0x0800u16, vec![0x45, 0, 0, 0]), (0x0800, vec![0x4f, 0, 0, 200]), (0x86dd, vec![0x60, 0, 0, 0]),
            (0x8864, vec![0x11, 0, 0, 1, 0, 50, 0, 0x21, 0x45]), (0x8847, vec![0; 4]),
        ]),
        protocol in prop::sample::select(vec![0u8, 4, 6, 17, 41, 43, 44, 47, 51, 60, 137]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut inner = head.1.clone();
        inner.extend(&bytes);
        let place = if head.0 == 0x86dd { 6 } else { 9 };
        if let Some(byte) = inner.get_mut(place) {
            *byte = protocol;
        }
        let mut listener = Listener::new();
        listener.hear_frame(at_millis(0), &ethernet(&[], head.0, &inner));
        listener.finish(at_millis(0));
    }
}
