//! The room as a whole: frames in, units out.

mod captures;
mod encapsulated;
mod frames;
mod reports;
mod streams;
mod tunnels;

use std::collections::BTreeMap;

use etherparse::PacketBuilder;

use super::*;
use crate::base::{Endpoint, Tunnels};

const PHONE: [u8; 4] = [10, 0, 0, 1];
const PBX: [u8; 4] = [10, 0, 0, 2];

/// What came out of the wire.
#[derive(Default)]
struct Heard {
    datagrams: Vec<(Flow, Vec<u8>, bool)>,
    streams: BTreeMap<Flow, Vec<(StreamEvent, Vec<u8>)>>,
}

impl Heard {
    fn take(&mut self, unit: Unit<'_>) {
        match unit {
            Unit::Datagram(d) => self
                .datagrams
                .push((d.flow, d.payload.to_vec(), d.truncated)),
            Unit::Stream(s) => self
                .streams
                .entry(s.flow)
                .or_default()
                .push((s.event, s.bytes.to_vec())),
        }
    }

    /// The bytes of a stream, each run between two gaps for itself, and whether it ended.
    fn runs(&self, flow: &Flow) -> (Vec<Vec<u8>>, bool) {
        let mut runs = vec![Vec::new()];
        let events = self
            .streams
            .get(flow)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (event, bytes) in events {
            if *event == StreamEvent::Gap {
                runs.push(Vec::new());
            }
            runs.last_mut().unwrap().extend_from_slice(bytes);
        }
        (
            runs,
            events.iter().any(|(event, _)| *event == StreamEvent::End),
        )
    }
}

/// A wire and all that was heard on it.
struct Listener {
    wire: Wire,
    heard: Heard,
}

impl Listener {
    fn new() -> Listener {
        Listener::with(WireLimits::default())
    }

    fn with(limits: WireLimits) -> Listener {
        let sniff = |bytes: &[u8]| bytes.starts_with(b"INVITE ") || bytes.starts_with(b"SIP/2.0 ");
        let wire = Wire::new(
            limits,
            TcpInterest {
                ports: vec![5060],
                sniff,
            },
        );
        Listener {
            wire,
            heard: Heard::default(),
        }
    }

    fn hear(&mut self, packet: Packet<'_>) {
        self.wire
            .handle_packet(&packet, &mut |unit| self.heard.take(unit));
        let counters = self.wire.counters();
        assert_eq!(
            accounted(counters),
            counters.packets,
            "each packet in one counter: {counters:?}"
        );
    }

    fn hear_frame(&mut self, time: Timestamp, frame: &[u8]) {
        self.hear(packet(LinkType::Ethernet, time, frame));
    }

    fn finish(&mut self, time: Timestamp) {
        self.wire.finish(time, &mut |unit| self.heard.take(unit));
    }

    fn counters(&self) -> &WireCounters {
        self.wire.counters()
    }
}

/// The sum of the counters that a packet can end in.
fn accounted(c: &WireCounters) -> u64 {
    let read = c.datagrams + c.tcp_followed + c.tcp_ignored + c.not_ip + c.not_udp_tcp;
    let malformed =
        c.malformed_link + c.malformed_ip + c.malformed_udp + c.malformed_tcp + c.nested_too_deep;
    let tunnels = c.malformed_tunnel + c.tunnel_control + c.malformed_hep + c.hep_other;
    let fragments = c.fragments_held
        + c.fragments_repeated
        + c.fragments_malformed
        + c.fragments_cut
        + c.fragments_too_many;
    read + malformed + tunnels + fragments
}

fn packet(link: LinkType, time: Timestamp, data: &[u8]) -> Packet<'_> {
    Packet {
        time,
        interface: 3,
        link,
        data,
        original_len: data.len() as u32,
    }
}

fn at_millis(millis: i64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

/// An Ethernet frame with tags (type, control word) around `inner`.
fn ethernet(tags: &[(u16, u16)], ether_type: u16, inner: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for (tpid, control) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(inner);
    frame
}

fn udp_v4(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(PHONE, PBX, 64)
        .udp(ports.0, ports.1)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

fn udp_v6(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv6([0xfd; 16], [0xfe; 16], 64)
        .udp(ports.0, ports.1)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

fn flow_v4(ports: (u16, u16)) -> Flow {
    let vantage = crate::base::Vantage {
        interface: 3,
        ..Default::default()
    };
    Flow {
        vantage,
        source: Endpoint::v4(PHONE, ports.0),
        destination: Endpoint::v4(PBX, ports.1),
    }
}

#[test]
fn arp_and_icmp_are_counted_not_read() {
    let mut listener = Listener::new();
    listener.hear_frame(at_millis(0), &ethernet(&[], 0x0806, &[0; 28]));
    let quoted = udp_v4((4000, 4002), &[0x80; 172]);
    let mut icmp = Vec::new();
    PacketBuilder::ipv4(PHONE, PBX, 64)
        .icmpv4_raw(3, 3, [0; 4])
        .write(&mut icmp, &quoted)
        .unwrap();
    listener.hear_frame(at_millis(0), &ethernet(&[], 0x0800, &icmp));
    assert!(listener.heard.datagrams.is_empty());
    assert_eq!(
        (listener.counters().not_ip, listener.counters().not_udp_tcp),
        (1, 1)
    );
}

#[test]
fn a_frame_too_short_for_its_link_header_is_malformed() {
    let mut listener = Listener::new();
    for link in [
        LinkType::Ethernet,
        LinkType::LinuxSll,
        LinkType::LinuxSll2,
        LinkType::Null,
        LinkType::Loop,
    ] {
        listener.hear(packet(link, at_millis(0), &[0, 0, 0]));
    }
    listener.hear_frame(at_millis(0), &ethernet(&[(0x8100, 5)], 0x8100, &[0, 1]));
    assert_eq!(listener.counters().malformed_link, 6);
    listener.hear(packet(LinkType::RawIp, at_millis(0), &[]));
    assert_eq!(listener.counters().malformed_ip, 1);
}

#[test]
fn every_link_type_gives_the_same_datagram() {
    let ip = udp_v4((4000, 4002), b"payload");
    let mut sll = vec![0; 14];
    sll.extend([8, 0]);
    let mut sll2 = vec![8, 0];
    sll2.extend([0; 18]);
    let heads = [
        (LinkType::Ethernet, ethernet(&[], 0x0800, &[])),
        (LinkType::LinuxSll, sll),
        (LinkType::LinuxSll2, sll2),
        (LinkType::RawIp, vec![]),
        (LinkType::Null, vec![2, 0, 0, 0]),
        (LinkType::Loop, vec![0, 0, 0, 2]),
    ];
    let mut listener = Listener::new();
    for (link, head) in &heads {
        listener.hear(packet(
            *link,
            at_millis(0),
            &[head.as_slice(), &ip].concat(),
        ));
    }
    assert_eq!(listener.heard.datagrams.len(), heads.len());
    for datagram in &listener.heard.datagrams {
        assert_eq!(
            *datagram,
            (flow_v4((4000, 4002)), b"payload".to_vec(), false)
        );
    }
}
