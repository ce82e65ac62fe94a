//! Any frame, layer by layer: what the fast path leaves over.
//!
//! A tunnel is opened where its kind is told: by EtherType in [`Wire::ether`], by IP protocol in
//! [`Wire::transport`], by UDP port in [`Wire::tunnel`].

use etherparse::{EtherType, IpNumber, TcpSlice};

use super::ip::{Extent, Fragment, IpPacket};
use super::link::{self, Protocol};
use super::tcp::Segment;
use super::{Datagram, Out, Packet, Unit, Wire};
use crate::base::{Flow, Timestamp, Vantage};

/// IP packets inside each other deeper than this are not opened.
const MAX_NESTING: u8 = 8;

const PPPOE_SESSION: EtherType = EtherType(0x8864);
const MPLS: EtherType = EtherType(0x8847);
const MPLS_MULTICAST: EtherType = EtherType(0x8848);

const VXLAN_PORT: u16 = 4789;
const GENEVE_PORT: u16 = 6081;
const GTP_U_PORT: u16 = 2152;

/// Whether a datagram to this port carries packets of others.
#[inline]
pub(super) fn is_tunnel_port(port: u16) -> bool {
    matches!(port, VXLAN_PORT | GENEVE_PORT | GTP_U_PORT)
}

/// What the layers inside a frame need to know of those around them.
#[derive(Clone, Copy)]
struct Place {
    time: Timestamp,
    vantage: Vantage,
    /// The snapshot length cut the frame.
    cut: bool,
    /// IP headers so far.
    nesting: u8,
}

impl Wire {
    #[cold]
    #[inline(never)]
    pub(super) fn handle_slow(&mut self, packet: &Packet<'_>, out: Out<'_>) {
        let Some(network) = link::open(packet) else {
            self.counters.malformed_link += 1;
            return;
        };
        let vantage = Vantage {
            interface: packet.interface,
            vlans: network.vlans,
            tunnel: 0,
        };
        let place = Place {
            time: packet.time,
            vantage,
            cut: packet.is_cut(),
            nesting: 0,
        };
        match network.protocol {
            Protocol::Ip => self.ip(place, network.bytes, out),
            Protocol::Ether(ether_type) => self.ether(place, ether_type, network.bytes, out),
        }
    }

    fn ether(&mut self, place: Place, ether_type: EtherType, bytes: &[u8], out: Out<'_>) {
        match ether_type {
            EtherType::IPV4 | EtherType::IPV6 => self.ip(place, bytes, out),
            PPPOE_SESSION => match link::open_pppoe(bytes) {
                Some((0x0021 | 0x0057, ip)) => self.ip(place, ip, out),
                Some(_) => self.counters.not_ip += 1,
                None => self.counters.malformed_link += 1,
            },
            MPLS | MPLS_MULTICAST => self.counters.unsupported_mpls += 1,
            _ => self.counters.not_ip += 1,
        }
    }

    fn ip(&mut self, mut place: Place, bytes: &[u8], out: Out<'_>) {
        place.nesting += 1;
        if place.nesting > MAX_NESTING {
            self.counters.nested_too_deep += 1;
            return;
        }
        match IpPacket::parse(bytes) {
            None => self.counters.malformed_ip += 1,
            Some(packet) => match packet.fragment {
                None => self.transport(place, &packet, out),
                Some(fragment) => self.fragment(place, &packet, fragment, out),
            },
        }
    }

    fn fragment(&mut self, place: Place, packet: &IpPacket<'_>, fragment: Fragment, out: Out<'_>) {
        if place.is_incomplete(packet) {
            // The rest of it will never come; the head of the datagram is worth having.
            match fragment.offset {
                0 => self.transport(
                    place,
                    &IpPacket {
                        extent: Extent::Cut,
                        ..*packet
                    },
                    out,
                ),
                _ => self.counters.fragments_cut += 1,
            }
            return;
        }
        let whole = self.fragments.push(
            place.vantage,
            packet,
            fragment,
            place.time,
            &mut self.counters,
        );
        self.set_next_timeout();
        let Some((protocol, payload)) = whole else {
            return;
        };
        match packet.reassembled(protocol, &payload) {
            Some(packet) if packet.fragment.is_none() => self.transport(place, &packet, out),
            _ => self.counters.malformed_ip += 1,
        }
    }

    fn transport(&mut self, place: Place, packet: &IpPacket<'_>, out: Out<'_>) {
        match packet.protocol {
            IpNumber::UDP => self.udp(place, packet, out),
            IpNumber::TCP => self.tcp(place, packet, out),
            IpNumber::IPV4 | IpNumber::IPV6 => self.ip(place, packet.payload, out),
            IpNumber::GRE => match packet.payload {
                [_, _, 0x88, 0xbe, ..] | [_, _, 0x22, 0xeb, ..] => {
                    self.counters.unsupported_erspan += 1
                }
                _ => self.counters.unsupported_gre += 1,
            },
            IpNumber::MPLS_IN_IP => self.counters.unsupported_mpls += 1,
            _ => self.counters.not_udp_tcp += 1,
        }
    }

    fn udp(&mut self, place: Place, packet: &IpPacket<'_>, out: Out<'_>) {
        let Some((header, rest)) = packet.payload.split_first_chunk::<8>() else {
            self.counters.malformed_udp += 1;
            return;
        };
        let &[s0, s1, d0, d1, len0, len1, _, _] = header;
        let destination_port = u16::from_be_bytes([d0, d1]);
        // A length below 8 says nothing: 0 where segmentation was left to the network card, else nonsense.
        let announced = usize::from(u16::from_be_bytes([len0, len1])).checked_sub(8);
        let (payload, truncated) = match announced.map(|length| rest.get(..length)) {
            Some(Some(payload)) => (payload, false),
            Some(None) => (rest, true),
            None => (rest, place.is_incomplete(packet)),
        };
        if is_tunnel_port(destination_port) {
            self.tunnel(destination_port);
        }
        self.counters.datagrams += 1;
        self.counters.datagrams_truncated += u64::from(truncated);
        let flow = place.flow(packet, u16::from_be_bytes([s0, s1]), destination_port);
        out(Unit::Datagram(Datagram {
            time: place.time,
            flow,
            payload,
            truncated,
        }));
    }

    fn tunnel(&mut self, port: u16) {
        match port {
            VXLAN_PORT => self.counters.unsupported_vxlan += 1,
            GENEVE_PORT => self.counters.unsupported_geneve += 1,
            _ => self.counters.unsupported_gtp += 1,
        }
    }

    fn tcp(&mut self, place: Place, packet: &IpPacket<'_>, out: Out<'_>) {
        let Ok(tcp) = TcpSlice::from_slice(packet.payload) else {
            self.counters.malformed_tcp += 1;
            return;
        };
        if !self
            .streams
            .may_follow(tcp.source_port(), tcp.destination_port(), tcp.payload())
        {
            self.counters.tcp_ignored += 1;
            return;
        }
        let segment = Segment {
            time: place.time,
            flow: place.flow(packet, tcp.source_port(), tcp.destination_port()),
            sequence: tcp.sequence_number(),
            acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            payload: tcp.payload(),
        };
        self.streams.handle(&segment, &mut self.counters, out);
        self.set_next_timeout();
    }
}

impl Place {
    fn is_incomplete(&self, packet: &IpPacket<'_>) -> bool {
        match packet.extent {
            Extent::Whole => false,
            Extent::Cut => true,
            Extent::Unknown => self.cut,
        }
    }

    fn flow(&self, packet: &IpPacket<'_>, source_port: u16, destination_port: u16) -> Flow {
        Flow {
            vantage: self.vantage,
            source: packet.source.with_port(source_port),
            destination: packet.destination.with_port(destination_port),
        }
    }
}
