//! Which addresses a webhook may be sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::Network;

/// Where requests may go besides public addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Networks of the operator's that webhooks may reach: `webhooks.allowed_networks`.
    pub allowed: Vec<Network>,
}

impl AddressPolicy {
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.allowed.iter().any(|network| network.holds(address))
    }
}

/// Whether an address is that of a host on the public internet: none of the networks that the registries of special addresses
/// (RFC 6890 and its updates) keep for other things. Addresses that carry an IPv4 address count as that one.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b) {
        // This network, private, loopback.
        (0 | 10 | 127, _) => true,
        // Shared by carriers (RFC 6598).
        (100, 64..=127) => true,
        // Link-local, where clouds keep their metadata.
        (169, 254) => true,
        (172, 16..=31) | (192, 168) => true,
        // Protocol assignments and examples; the relays of 6to4.
        (192, 0) => c == 0 || c == 2,
        (192, 88) => c == 99,
        // Benchmarks.
        (198, 18 | 19) => true,
        // Examples.
        (198, 51) => c == 100,
        (203, 0) => c == 113,
        // Multicast and reserved, broadcast among them.
        (224..=255, _) => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [.., high, low] = segments;
    let last = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match segments {
        // A translator's view of an IPv4 host (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(last),
        // Protocol assignments, Teredo among them (RFC 2928).
        [0x2001, 0..=0x1ff, ..] => false,
        // Examples.
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // 6to4, which carries an IPv4 address, and has no use any more (RFC 7526).
        [0x2002, ..] => false,
        // All else that is public so far is in here (RFC 4291 section 2.4).
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn hosts_of_the_internet_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.1.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "2400::1",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
        ] {
            assert!(public(text), "{text}");
        }
    }

    #[test]
    fn all_else_is_not() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            // Of IPv6.
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2001:10::1",
            "2002:7f00:1::",
            "3fff::1",
            "100::1",
            "5f00::1",
            // IPv4 in IPv6.
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
        ] {
            assert!(!public(text), "{text}");
        }
    }

    #[test]
    fn the_operator_names_further_networks() {
        let policy = AddressPolicy {
            allowed: vec!["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()],
        };
        let permits = |text: &str| policy.permits(text.parse().unwrap());
        assert!(
            permits("10.1.2.3")
                && permits("::ffff:10.1.2.3")
                && permits("::1")
                && permits("9.9.9.9")
        );
        assert!(!permits("10.2.0.1") && !permits("127.0.0.1"));
    }
}
