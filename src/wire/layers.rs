//! Any frame, layer by layer: what the fast path leaves over.
//!
//! A tunnel is opened where its kind is told: by EtherType in [`Wire::ether`], by IP protocol in
//! [`Wire::transport`], by UDP port in [`Wire::udp`]. Its header is read in [`super::tunnel`], and the way goes on in
//! [`super::inside`].

use etherparse::{EtherType, IpNumber, TcpSlice};

use super::ip::{Extent, Fragment, IpPacket};
use super::link::{self, Protocol};
use super::packet::LinkType;
use super::tcp::Segment;
use super::{Datagram, Out, Packet, Unit, Wire, tunnel};
use crate::base::{Flow, Timestamp, Vantage};

/// Packets inside each other deeper than this are not opened: the frame's own, and seven in tunnels.
pub(super) const MAX_NESTING: u8 = 8;

const PPPOE_SESSION: EtherType = EtherType(0x8864);
const MPLS: EtherType = EtherType(0x8847);
const MPLS_MULTICAST: EtherType = EtherType(0x8848);
const PBB: EtherType = EtherType(0x88e7);

const ETHER_IP: IpNumber = IpNumber(97);
const L2TP: IpNumber = IpNumber(115);

/// What the layers inside a frame need to know of those around them.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub time: Timestamp,
    pub vantage: Vantage,
    /// The snapshot length cut the frame, or a tunnel had less in it than it said.
    pub cut: bool,
    /// Packets inside each other so far.
    pub nesting: u8,
}

impl Wire {
    #[cold]
    #[inline(never)]
    pub(super) fn handle_slow(&mut self, packet: &Packet<'_>, out: Out<'_>) {
        let mut place = Place {
            time: packet.time,
            vantage: Vantage {
                interface: packet.interface,
                ..Vantage::default()
            },
            cut: packet.is_cut(),
            nesting: 1,
        };
        if packet.link == LinkType::Hep {
            return self.hep(place, packet.data, out);
        }
        let Some(network) = link::open(packet) else {
            self.counters.malformed_link += 1;
            return;
        };
        place.vantage.vlans = network.vlans;
        match network.protocol {
            Protocol::Ip => self.ip(place, network.bytes, out),
            Protocol::Ether(ether_type) => self.ether(place, ether_type, network.bytes, out),
        }
    }

    pub(super) fn ether(
        &mut self,
        place: Place,
        ether_type: EtherType,
        bytes: &[u8],
        out: Out<'_>,
    ) {
        match ether_type {
            EtherType::IPV4 | EtherType::IPV6 => self.ip(place, bytes, out),
            PPPOE_SESSION => self.enter_if(place, tunnel::pppoe(bytes), out),
            MPLS | MPLS_MULTICAST => self.enter_if(place, tunnel::mpls(bytes), out),
            PBB => self.enter_if(place, tunnel::pbb(bytes), out),
            _ => self.counters.not_ip += 1,
        }
    }

    pub(super) fn ip(&mut self, place: Place, bytes: &[u8], out: Out<'_>) {
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

    fn transport(&mut self, mut place: Place, packet: &IpPacket<'_>, out: Out<'_>) {
        let payload = packet.payload;
        let opened = match packet.protocol {
            IpNumber::UDP => return self.udp(place, packet, out),
            IpNumber::TCP => return self.tcp(place, packet, out),
            IpNumber::IPV4 | IpNumber::IPV6 => Some(tunnel::ip_in_ip(packet)),
            IpNumber::GRE => tunnel::gre(payload),
            IpNumber::MPLS_IN_IP => tunnel::mpls(payload),
            ETHER_IP => tunnel::ether_ip(packet),
            L2TP => tunnel::l2tp_v3(payload),
            _ => {
                self.counters.not_udp_tcp += 1;
                return;
            }
        };
        place.cut = place.is_incomplete(packet);
        self.enter_if(place, opened, out);
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
        if let Some(kind) = self.tunnel_ports.kind(destination_port, payload) {
            let inside = Place {
                cut: truncated || place.is_incomplete(packet),
                ..place
            };
            if self.tunnel(inside, kind, payload, out) {
                return;
            }
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
