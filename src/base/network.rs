//! Networks in CIDR notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: an address and a prefix length. IPv4 and IPv6; an IPv4-mapped address counts as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    prefix_len: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("`{0}` is not an IPv4 or IPv6 address")]
    Address(String),
    #[error("`/{0}` is not a prefix length from 0 to {1}")]
    PrefixLength(String, u8),
    #[error("`{0}` has bits set past its prefix; the network is {1}")]
    HostBits(String, Network),
}

impl FromStr for Network {
    type Err = NetworkError;

    /// `10.20.0.0/16`, `2001:db8::/32`, or one address without a prefix length.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let parsed: IpAddr = address
            .parse()
            .map_err(|_| NetworkError::Address(address.to_owned()))?;
        let bits: u8 = if parsed.is_ipv4() { 32 } else { 128 };
        let prefix_len = match prefix {
            None => bits,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|len| *len <= bits && !digits.starts_with('+'))
                .ok_or_else(|| NetworkError::PrefixLength(digits.to_owned(), bits))?,
        };
        let network = Network::truncated(parsed, prefix_len);
        if network.address != parsed {
            return Err(NetworkError::HostBits(text.to_owned(), network));
        }
        Ok(network)
    }
}

impl Network {
    /// Whether an address lies in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        let same_family = address.is_ipv4() == self.address.is_ipv4();
        same_family && Network::truncated(address, self.prefix_len).address == self.address
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// At most 32 for IPv4, 128 for IPv6.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// The network of an address, of this many leading bits.
    pub fn truncated(address: IpAddr, prefix_len: u8) -> Network {
        let len = u32::from(prefix_len);
        let address = match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - len.min(32)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - len.min(128)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Network {
            address,
            prefix_len,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn says_what_is_wrong_with_a_network() {
        let error = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        assert_eq!(
            error("10.20.0/16"),
            "`10.20.0` is not an IPv4 or IPv6 address"
        );
        assert_eq!(
            error("10.20.0.0/33"),
            "`/33` is not a prefix length from 0 to 32"
        );
        assert_eq!(
            error("10.20.0.1/16"),
            "`10.20.0.1/16` has bits set past its prefix; the network is 10.20.0.0/16"
        );
        assert_eq!(network("192.0.2.1").to_string(), "192.0.2.1/32");
        assert_eq!(network("::/0").to_string(), "::/0");
    }
}
