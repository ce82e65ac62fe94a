//! Which packets of an interface are wanted: the kernel drops the others before they cost anything.

use crate::wire::LinkType;

/// What an interface passes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketFilter {
    /// SIP and anything that may be media: [`default_filter_for`] the interface's link type.
    Telephony { sip_ports: Vec<u16> },
    /// An expression in the language of pcap-filter(7), as the operator wrote it.
    Expression(String),
    /// Everything.
    All,
}

impl PacketFilter {
    /// The expression for a link type; empty for everything.
    pub fn expression(&self, link: LinkType) -> String {
        match self {
            PacketFilter::Telephony { sip_ports } => default_filter_for(sip_ports, link),
            PacketFilter::Expression(expression) => expression.clone(),
            PacketFilter::All => String::new(),
        }
    }
}

/// VLAN tags that the filter looks behind, besides one that the network card has taken off.
const VLAN_TAGS: usize = 2;

/// IP protocols of tunnels: IP in IP, GRE, EtherIP, L2TP, MPLS. UDP carries the others.
const IP_TUNNELS: [u8; 6] = [4, 41, 47, 97, 115, 137];

/// EtherTypes of tunnels: MPLS, PPPoE sessions, 802.1ah.
const ETHER_TUNNELS: [u16; 4] = [0x8847, 0x8848, 0x8864, 0x88e7];

/// A pcap-filter(7) expression that passes all UDP and TCP on these ports, on Ethernet, also behind VLAN tags.
///
/// UDP includes fragments, which have no ports, and IPv6 with extension headers, whose end a packet filter cannot find.
/// All that can be opened later passes too, whatever is inside: GRE, IP in IP, L2TP, EtherIP, MPLS, PPPoE, 802.1ah.
pub fn default_filter(sip_ports: &[u16]) -> String {
    default_filter_for(sip_ports, LinkType::Ethernet)
}

/// [`default_filter`] for another link type: only Ethernet has VLAN tags that libpcap can look behind.
pub fn default_filter_for(sip_ports: &[u16], link: LinkType) -> String {
    let mut wanted = wanted(sip_ports);
    if matches!(
        link,
        LinkType::Ethernet | LinkType::LinuxSll | LinkType::LinuxSll2
    ) {
        ETHER_TUNNELS
            .iter()
            .for_each(|ether_type| wanted.push_str(&format!(" or ether proto {ether_type:#06x}")));
    }
    let tags = if link == LinkType::Ethernet {
        VLAN_TAGS
    } else {
        0
    };
    // Each `vlan` moves all that is written after it by one tag, so they have to be nested in this order.
    (0..tags).fold(wanted.clone(), |inner, _| {
        format!("{wanted} or (vlan and ({inner}))")
    })
}

fn wanted(sip_ports: &[u16]) -> String {
    // Hop-by-hop options, routing and destination options (RFC 8200 section 4.1).
    let mut wanted = "udp or (ip6 and (ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 60))".to_owned();
    if !sip_ports.is_empty() {
        let ports: Vec<String> = sip_ports.iter().map(u16::to_string).collect();
        wanted.push_str(&format!(" or (tcp port ({}))", ports.join(" or ")));
    }
    let tunnels = IP_TUNNELS.map(|protocol| format!("ip proto {protocol} or ip6 proto {protocol}"));
    wanted.push_str(&format!(" or {}", tunnels.join(" or ")));
    wanted
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, PacketBuilderStep, UdpHeader, VlanId};
    use pcap::{Capture, Linktype};

    use super::*;

    fn program(filter: &str, link: i32) -> pcap::BpfProgram {
        let dead = Capture::dead(Linktype(link)).unwrap();
        dead.compile(filter, true)
            .unwrap_or_else(|error| panic!("{filter}: {error}"))
    }

    fn passes(frame: &[u8]) -> bool {
        program(&default_filter(&[5060, 5080]), 1).filter(frame)
    }

    fn ethernet() -> PacketBuilderStep<etherparse::Ethernet2Header> {
        PacketBuilder::ethernet2([2; 6], [4; 6])
    }

    const V4: ([u8; 4], [u8; 4], u8) = ([10, 0, 0, 1], [10, 0, 0, 2], 64);
    const V6: ([u8; 16], [u8; 16], u8) = ([1; 16], [2; 16], 64);

    fn finish(step: PacketBuilderStep<UdpHeader>) -> Vec<u8> {
        let mut frame = Vec::new();
        step.write(&mut frame, &[7; 40]).unwrap();
        frame
    }

    fn tcp(source: u16, destination: u16) -> Vec<u8> {
        let step = ethernet()
            .ipv4(V4.0, V4.1, V4.2)
            .tcp(source, destination, 1, 1);
        let mut frame = Vec::new();
        step.write(&mut frame, b"x").unwrap();
        frame
    }

    /// The same frame behind one more tag.
    fn tagged(mut frame: Vec<u8>, tpid: u16) -> Vec<u8> {
        let [high, low] = tpid.to_be_bytes();
        frame.splice(12..12, [high, low, 0, 7]);
        frame
    }

    fn udp_v4() -> Vec<u8> {
        finish(ethernet().ipv4(V4.0, V4.1, V4.2).udp(40_000, 30_000))
    }

    fn udp_v6() -> Vec<u8> {
        finish(ethernet().ipv6(V6.0, V6.1, V6.2).udp(40_000, 30_000))
    }

    #[test]
    fn udp_passes_whatever_its_ports() {
        assert!(passes(&udp_v4()));
        assert!(passes(&udp_v6()));
    }

    #[test]
    fn fragments_without_ports_pass() {
        let mut later = udp_v4();
        later[20..22].copy_from_slice(&[0x00, 0xb9]);
        assert!(passes(&later));
        let mut first = udp_v4();
        first[20] = 0x20;
        assert!(passes(&first));
        let mut fragment = udp_v6();
        fragment[20] = 44;
        fragment.splice(54..54, [17, 0, 0x05, 0xa8, 0, 0, 0, 1]);
        assert!(passes(&fragment));
        fragment[54] = 58;
        assert!(!passes(&fragment));
    }

    #[test]
    fn udp_behind_ipv6_extension_headers_passes() {
        for extension in [0, 43, 60] {
            let mut frame = udp_v6();
            frame[20] = extension;
            frame.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
            assert!(passes(&frame), "extension {extension}");
        }
    }

    #[test]
    fn tcp_passes_on_sip_ports_only() {
        assert!(passes(&tcp(5060, 49_152)));
        assert!(passes(&tcp(49_152, 5080)));
        assert!(!passes(&tcp(443, 49_152)));
        let v6 = ethernet().ipv6(V6.0, V6.1, V6.2).tcp(5060, 2, 1, 1);
        let mut frame = Vec::new();
        v6.write(&mut frame, b"x").unwrap();
        assert!(passes(&frame));
        let none = program(&default_filter(&[]), 1);
        assert!(none.filter(&udp_v4()) && !none.filter(&tcp(5060, 5060)));
    }

    #[test]
    fn other_protocols_do_not_pass() {
        let mut arp = vec![0xff; 42];
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert!(!passes(&arp));
        assert!(!passes(&tagged(arp, 0x8100)));
        let mut icmp = udp_v4();
        icmp[23] = 1;
        assert!(!passes(&icmp));
        assert!(!passes(&tagged(icmp, 0x8100)));
    }

    #[test]
    fn the_same_holds_behind_one_and_two_vlan_tags() {
        for inner in [0x8100, 0x88a8] {
            assert!(passes(&tagged(udp_v4(), inner)));
            assert!(passes(&tagged(udp_v6(), inner)));
            assert!(passes(&tagged(tcp(5060, 1), inner)));
            assert!(!passes(&tagged(tcp(443, 1), inner)));
            for outer in [0x8100, 0x88a8, 0x9100] {
                assert!(passes(&tagged(tagged(udp_v4(), inner), outer)));
                assert!(passes(&tagged(tagged(tcp(1, 5080), inner), outer)));
                assert!(!passes(&tagged(tagged(tcp(1, 443), inner), outer)));
            }
        }
        let id = VlanId::try_new(100).unwrap();
        let built = ethernet().single_vlan(id).ipv4(V4.0, V4.1, V4.2).udp(1, 2);
        assert!(passes(&finish(built)));
    }

    #[test]
    fn tunnels_pass_whatever_is_inside() {
        for protocol in IP_TUNNELS {
            let (mut v4, mut v6) = (udp_v4(), udp_v6());
            (v4[23], v6[20]) = (protocol, protocol);
            for frame in [v4, v6] {
                assert!(passes(&frame), "protocol {protocol}");
                assert!(passes(&tagged(frame, 0x8100)), "protocol {protocol}");
            }
        }
        for ether_type in ETHER_TUNNELS {
            let mut frame = vec![2; 60];
            frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
            assert!(passes(&frame), "{ether_type:#06x}");
            assert!(passes(&tagged(frame.clone(), 0x8100)), "{ether_type:#06x}");
            assert!(passes(&tagged(tagged(frame, 0x8100), 0x88a8)));
        }
    }

    #[test]
    fn other_link_types_have_a_filter_of_their_own() {
        for link in [
            LinkType::LinuxSll,
            LinkType::LinuxSll2,
            LinkType::Null,
            LinkType::Loop,
        ] {
            program(&default_filter_for(&[5060], link), link.dlt() as i32);
        }
        // What libpcap calls raw IP on an interface.
        let raw = program(&default_filter_for(&[5060], LinkType::RawIp), 12);
        assert!(raw.filter(&udp_v4()[14..]) && !raw.filter(&tcp(80, 80)[14..]));
        let cooked = program(&default_filter_for(&[5060], LinkType::LinuxSll), 113);
        let mut frame = vec![0; 16];
        frame[14] = 8;
        frame.extend_from_slice(&udp_v4()[14..]);
        assert!(cooked.filter(&frame));
    }

    #[test]
    fn a_hundred_sip_ports_still_make_a_program() {
        let ports: Vec<u16> = (5000..5200).step_by(2).collect();
        let program = program(&default_filter(&ports), 1);
        assert!(program.get_instructions().len() < 4096);
        assert!(program.filter(&tagged(tagged(tcp(1, 5198), 0x8100), 0x88a8)));
        assert!(!program.filter(&tagged(tagged(tcp(1, 5199), 0x8100), 0x88a8)));
    }
}
