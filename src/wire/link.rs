//! Link layers: from a frame to the network protocol and its bytes.

use etherparse::EtherType;

use super::packet::{LinkType, Packet};
use crate::base::Vantage;

/// Tags deeper than this are stripped and forgotten.
const KEPT_VLANS: usize = 3;

/// A frame without its link header and VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network<'a> {
    pub protocol: Protocol,
    pub vlans: [u16; KEPT_VLANS],
    pub bytes: &'a [u8],
}

/// How the bytes after a link header are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The first four bits tell the version.
    Ip,
    Ether(EtherType),
}

/// Takes link header and VLAN tags off. `None`: the frame ends inside them.
pub(super) fn open<'a>(packet: &Packet<'a>) -> Option<Network<'a>> {
    match packet.link {
        LinkType::Ethernet => frame(packet.data, Vlans::new()),
        LinkType::LinuxSll => {
            let (header, rest) = packet.data.split_first_chunk::<16>()?;
            let &[.., high, low] = header;
            tagged(u16::from_be_bytes([high, low]), rest, Vlans::new())
        }
        LinkType::LinuxSll2 => {
            let (header, rest) = packet.data.split_first_chunk::<20>()?;
            let &[high, low, ..] = header;
            tagged(u16::from_be_bytes([high, low]), rest, Vlans::new())
        }
        LinkType::RawIp => Some(ip(packet.data)),
        LinkType::Hep => None,
        LinkType::Null | LinkType::Loop => {
            let (family, rest) = packet.data.split_first_chunk::<4>()?;
            if is_ip_family(*family) {
                Some(ip(rest))
            } else {
                Some(not_ip(rest))
            }
        }
    }
}

/// An Ethernet frame, its tags added to those around it.
pub(super) fn frame(bytes: &[u8], around: Vlans) -> Option<Network<'_>> {
    let (&[.., high, low], rest) = bytes.split_first_chunk::<14>()?;
    tagged(u16::from_be_bytes([high, low]), rest, around)
}

/// AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on Darwin.
/// The byte order is that of a host nobody knows, and files exist that have it wrong for `Loop` too.
fn is_ip_family(family: [u8; 4]) -> bool {
    let small = u32::from_le_bytes(family).min(u32::from_be_bytes(family));
    matches!(small, 2 | 10 | 24 | 28 | 30)
}

fn ip(bytes: &[u8]) -> Network<'_> {
    Network {
        protocol: Protocol::Ip,
        vlans: [0; KEPT_VLANS],
        bytes,
    }
}

fn not_ip(bytes: &[u8]) -> Network<'_> {
    Network {
        protocol: Protocol::Ether(EtherType(0)),
        vlans: [0; KEPT_VLANS],
        bytes,
    }
}

/// 802.1Q, 802.1ad, and the older numbers that switches use for outer tags.
#[inline]
pub(super) fn is_vlan_tag(ether_type: u16) -> bool {
    matches!(ether_type, 0x8100 | 0x88a8 | 0x9100 | 0x9200)
}

/// The VLAN ids met on the way in.
#[derive(Clone, Copy)]
pub(super) struct Vlans {
    ids: [u16; KEPT_VLANS],
    count: usize,
}

impl Vlans {
    #[inline]
    pub(super) fn new() -> Vlans {
        Vlans {
            ids: Vantage::default().vlans,
            count: 0,
        }
    }

    /// Those that were met before.
    pub(super) fn of(ids: [u16; KEPT_VLANS]) -> Vlans {
        let count = ids.iter().filter(|&&id| id != 0).count();
        Vlans { ids, count }
    }

    /// Notes a tag's control word. Id 0 is a priority tag: no VLAN (IEEE 802.1Q section 9.6).
    #[inline]
    pub(super) fn push(&mut self, control: u16) {
        let id = control & 0x0fff;
        if id != 0
            && let Some(place) = self.ids.get_mut(self.count)
        {
            *place = id;
            self.count += 1;
        }
    }

    #[inline]
    pub(super) fn ids(self) -> [u16; KEPT_VLANS] {
        self.ids
    }
}

/// Takes VLAN tags off, however many there are.
pub(super) fn tagged(
    mut ether_type: u16,
    mut bytes: &[u8],
    mut vlans: Vlans,
) -> Option<Network<'_>> {
    while is_vlan_tag(ether_type) {
        let (&[control_high, control_low, high, low], rest) = bytes.split_first_chunk::<4>()?;
        vlans.push(u16::from_be_bytes([control_high, control_low]));
        ether_type = u16::from_be_bytes([high, low]);
        bytes = rest;
    }
    Some(Network {
        protocol: Protocol::Ether(EtherType(ether_type)),
        vlans: vlans.ids(),
        bytes,
    })
}

/// What a PPP frame carries, with address and control before the protocol or, where both sides agreed, without
/// (RFC 1662 section 3.2). `None`: it ends before that.
pub(super) fn open_ppp(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let ppp = bytes.strip_prefix(&[0xff, 0x03]).unwrap_or(bytes);
    // A protocol below 256 may be sent as one byte, told by its lowest bit (RFC 1661 section 6.5).
    match ppp {
        [low, rest @ ..] if low & 1 == 1 => Some((u16::from(*low), rest)),
        [high, low, rest @ ..] => Some((u16::from_be_bytes([*high, *low]), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    fn packet(link: LinkType, data: &[u8]) -> Packet<'_> {
        Packet {
            time: Timestamp::from_nanos(0),
            interface: 0,
            link,
            data,
            original_len: data.len() as u32,
        }
    }

    fn ethernet(tags: &[(u16, u16)], ether_type: u16) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for (tpid, control) in tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend(ether_type.to_be_bytes());
        frame.push(0x45);
        frame
    }

    #[test]
    fn keeps_three_vlans_and_strips_the_rest() {
        let tags = [
            (0x88a8, 100),
            (0x8100, 0),
            (0x9100, 0xe0c8),
            (0x9200, 300),
            (0x8100, 400),
            (0x8100, 500),
        ];
        let frame = ethernet(&tags, 0x0800);
        let network = open(&packet(LinkType::Ethernet, &frame)).unwrap();
        assert_eq!(network.vlans, [100, 200, 300]);
        assert_eq!(network.protocol, Protocol::Ether(EtherType::IPV4));
        assert_eq!(network.bytes, [0x45]);
    }

    #[test]
    fn priority_tag_is_no_vlan() {
        let frame = ethernet(&[(0x8100, 0xa000)], 0x86dd);
        let network = open(&packet(LinkType::Ethernet, &frame)).unwrap();
        assert_eq!(
            (network.vlans, network.protocol),
            ([0; 3], Protocol::Ether(EtherType::IPV6))
        );
    }

    #[test]
    fn cooked_captures_carry_vlan_tags_too() {
        let mut v1 = vec![0; 14];
        v1.extend([0x81, 0, 0, 7, 0x08, 0, 0x45]);
        let mut v2 = vec![0x81, 0];
        v2.extend([0; 18]);
        v2.extend([0, 7, 0x08, 0, 0x45]);
        for (link, frame) in [(LinkType::LinuxSll, v1), (LinkType::LinuxSll2, v2)] {
            let network = open(&packet(link, &frame)).unwrap();
            assert_eq!(network.vlans, [7, 0, 0]);
            assert_eq!(network.bytes, [0x45]);
        }
    }

    #[test]
    fn loopback_families_in_either_byte_order() {
        for family in [2u32, 10, 24, 28, 30] {
            for bytes in [family.to_le_bytes(), family.to_be_bytes()] {
                for link in [LinkType::Null, LinkType::Loop] {
                    let network = open(&packet(link, &bytes)).unwrap();
                    assert_eq!(network.protocol, Protocol::Ip, "{family}");
                }
            }
        }
        let appletalk = 16u32.to_le_bytes();
        assert_eq!(open(&packet(LinkType::Null, &appletalk)), Some(not_ip(&[])));
    }

    #[test]
    fn ppp_protocol_may_be_one_byte() {
        assert_eq!(open_ppp(&[0x21, 0x45]), Some((0x21, [0x45].as_slice())));
        assert_eq!(open_ppp(&[0, 0x57, 0x60]), Some((0x57, [0x60].as_slice())));
        assert_eq!(open_ppp(&[0]), None);
    }
}
