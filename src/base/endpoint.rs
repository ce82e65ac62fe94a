//! Places on the network.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tunnel::Tunnels;

/// An address and a port. 18 bytes, copied and hashed freely; IPv4 is kept as an IPv4-mapped IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Endpoint {
    octets: [u8; 16],
    pub port: u16,
}

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

impl Endpoint {
    pub fn new(ip: IpAddr, port: u16) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::v4(v4.octets(), port),
            IpAddr::V6(v6) => Self::v6(v6.octets(), port),
        }
    }

    #[inline]
    pub fn v4(octets: [u8; 4], port: u16) -> Self {
        // In one piece: it is read in one piece a moment later.
        let mapped = 0xffff_u128 << 32 | u128::from(u32::from_be_bytes(octets));
        Endpoint {
            octets: mapped.to_be_bytes(),
            port,
        }
    }

    #[inline]
    pub fn v6(octets: [u8; 16], port: u16) -> Self {
        Endpoint { octets, port }
    }

    pub fn ip(&self) -> IpAddr {
        if self.is_ipv4() {
            let o = &self.octets;
            IpAddr::V4(Ipv4Addr::new(o[12], o[13], o[14], o[15]))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.octets))
        }
    }

    pub fn is_ipv4(&self) -> bool {
        self.octets[..12] == MAPPED
    }

    /// `0.0.0.0` or `::`: in SDP, "send nothing here" (RFC 3264 section 8.4).
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_unspecified()
    }

    pub fn with_port(self, port: u16) -> Self {
        Endpoint { port, ..self }
    }
}

/// In few, wide steps: every packet is looked up by two of these.
impl Hash for Endpoint {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.octets));
        state.write_u16(self.port);
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a packet was seen. Part of every flow key: the same private address on two VLANs is two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Vantage {
    /// Index into the sensor's list of interfaces, or of capture files' interfaces.
    pub interface: u16,
    /// VLAN ids from the outside in, 0 where there is none (and for a priority tag, which is no VLAN: 802.1Q).
    /// Deeper tags than these are stripped and do not tell hosts apart.
    pub vlans: [u16; 3],
    /// The tunnels around the packet (VNI, GRE key, the ends of IP in IP, …).
    pub tunnels: Tunnels,
}

impl Hash for Vantage {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c] = self.vlans.map(u64::from);
        state.write_u64(u64::from(self.interface) << 48 | a << 32 | b << 16 | c);
        state.write_u64(self.tunnels.to_bits());
    }
}

/// One direction between two endpoints at one vantage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Flow {
    pub vantage: Vantage,
    pub source: Endpoint,
    pub destination: Endpoint,
}

impl Flow {
    /// The same conversation, the other way.
    pub fn reversed(self) -> Flow {
        Flow {
            vantage: self.vantage,
            source: self.destination,
            destination: self.source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_both_families() {
        assert_eq!(
            Endpoint::v4([10, 0, 0, 1], 5060).to_string(),
            "10.0.0.1:5060"
        );
        assert_eq!(
            Endpoint::new("fd01::183".parse().unwrap(), 5060).to_string(),
            "[fd01::183]:5060"
        );
        assert_eq!(
            Endpoint::new("::ffff:10.0.0.1".parse().unwrap(), 1),
            Endpoint::v4([10, 0, 0, 1], 1)
        );
    }
}
