//! One captured frame.

use crate::base::Timestamp;

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    Ethernet,
    /// Linux cooked capture, version 1: the `any` device.
    LinuxSll,
    /// Linux cooked capture, version 2.
    LinuxSll2,
    /// IPv4 or IPv6 with nothing before it.
    RawIp,
    /// BSD loopback: an address family in the byte order of the capturing host.
    Null,
    /// OpenBSD loopback: an address family in network byte order.
    Loop,
    /// No frame: a packet of the Homer Encapsulation Protocol, as an agent sent it.
    Hep,
}

impl LinkType {
    /// From the link type of a capture file or the data link type of an interface
    /// (<https://www.tcpdump.org/linktypes.html>). `None`: not a link layer that can be read.
    ///
    /// Raw IP has several numbers: 101 in files, 12 and 14 where a BSD wrote its own, 228 and 229 for one family only.
    pub fn from_dlt(dlt: u32) -> Option<LinkType> {
        match dlt {
            0 => Some(LinkType::Null),
            1 => Some(LinkType::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(LinkType::RawIp),
            108 => Some(LinkType::Loop),
            113 => Some(LinkType::LinuxSll),
            276 => Some(LinkType::LinuxSll2),
            _ => None,
        }
    }

    /// The number that a capture file holds for it.
    pub fn dlt(self) -> u32 {
        match self {
            LinkType::Null => 0,
            LinkType::Ethernet => 1,
            LinkType::RawIp => 101,
            LinkType::Loop => 108,
            LinkType::LinuxSll => 113,
            LinkType::LinuxSll2 => 276,
            // No file has it: the first number for private use.
            LinkType::Hep => 147,
        }
    }
}

/// One captured frame with its capture time and the interface it came from.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub time: Timestamp,
    /// Index into the sensor's interfaces.
    pub interface: u16,
    pub link: LinkType,
    /// From the link header on, as far as captured.
    pub data: &'a [u8],
    /// Length on the wire in bytes; more than `data` has when the snapshot length cut it.
    pub original_len: u32,
}

impl Packet<'_> {
    /// Whether the snapshot length cut the frame.
    pub fn is_cut(&self) -> bool {
        usize::try_from(self.original_len).is_ok_and(|len| len > self.data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_types_survive_a_capture_file() {
        use LinkType::*;
        for link in [Ethernet, LinuxSll, LinuxSll2, RawIp, Null, Loop] {
            assert_eq!(LinkType::from_dlt(link.dlt()), Some(link));
        }
        assert_eq!(LinkType::from_dlt(147), None);
    }
}
