//! Which of many networks an address lies in.

use std::net::IpAddr;

use crate::base::Network;

/// An unbroken run of addresses, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Span {
    pub first: u128,
    pub last: u128,
}

/// Where IPv4 lies among all addresses: `::ffff:0:0/96`.
const IPV4: Span = Span {
    first: 0xffff_0000_0000,
    last: 0xffff_ffff_ffff,
};

/// An address as a number: IPv4 and IPv6 in one order, an IPv4-mapped address where the IPv4 address is.
pub(super) fn ordinal(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => IPV4.first | u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The spans of [`ordinal`] that a network covers, in order: one, or two for an IPv6 network around the block of IPv4-mapped
/// addresses, which are IPv4 and not its own.
pub(super) fn spans(network: Network) -> impl Iterator<Item = Span> {
    let host_bits = match network.address() {
        IpAddr::V4(_) => 32 - u32::from(network.prefix_len().min(32)),
        IpAddr::V6(_) => 128 - u32::from(network.prefix_len().min(128)),
    };
    let first = ordinal(network.address());
    let last = first | 1_u128.checked_shl(host_bits).map_or(u128::MAX, |n| n - 1);
    let whole = Span { first, last };
    let around_ipv4 = host_bits > 32 && first < IPV4.first && last >= IPV4.last;
    if !around_ipv4 {
        return std::iter::once(whole).chain(None);
    }
    let low = Span {
        first,
        last: IPV4.first - 1,
    };
    let high = Span {
        first: IPV4.last + 1,
        last,
    };
    std::iter::once(low).chain((last > IPV4.last).then_some(high))
}

/// A set of networks as sorted spans that do not touch.
#[derive(Debug, Default)]
pub(super) struct NetworkSet(Box<[Span]>);

impl NetworkSet {
    pub fn new(networks: &[Network]) -> NetworkSet {
        let mut spans: Vec<Span> = networks.iter().flat_map(|n| spans(*n)).collect();
        spans.sort_unstable();
        let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.first <= last.last => last.last = last.last.max(span.last),
                _ => merged.push(span),
            }
        }
        NetworkSet(merged.into_boxed_slice())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    pub fn intersects(&self, other: &NetworkSet) -> bool {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            if a.last < b.first {
                left.next();
            } else if b.last < a.first {
                right.next();
            } else {
                return true;
            }
        }
        false
    }
}

/// Whether an address lies in one of the spans of a [`NetworkSet`].
pub(super) fn contains(spans: &[Span], ordinal: u128) -> bool {
    let after = spans.partition_point(|span| span.first <= ordinal);
    let span = after.checked_sub(1).and_then(|at| spans.get(at));
    span.is_some_and(|span| ordinal <= span.last)
}

/// Which of many networks, nested as they come, an address lies in: sorted starts, and the innermost network from each.
#[derive(Debug, Default)]
pub(super) struct NetworkIndex {
    segments: Segments<u128>,
    /// Those of IPv4 again, a quarter as large: nearly every lookup is about these.
    ipv4: Segments<u32>,
    nodes: Box<[Node]>,
    /// What was filed, network by network: together, so that a lookup touches little memory.
    members: Box<[u32]>,
}

/// Where the innermost network changes, ascending, with the network from there on.
#[derive(Debug, Default)]
struct Segments<T> {
    starts: Vec<T>,
    innermost: Vec<u32>,
}

impl<T: Ord> Segments<T> {
    fn change(&mut self, at: T, node: u32) {
        if self.starts.last() == Some(&at) {
            self.starts.pop();
            self.innermost.pop();
        }
        self.starts.push(at);
        self.innermost.push(node);
    }

    fn at(&self, place: T) -> u32 {
        let after = self.starts.partition_point(|start| *start <= place);
        let innermost = after.checked_sub(1).and_then(|at| self.innermost.get(at));
        innermost.copied().unwrap_or(NO_NODE)
    }
}

impl Segments<u128> {
    fn ipv4(&self) -> Segments<u32> {
        let mut ipv4 = Segments::default();
        ipv4.change(0, self.at(IPV4.first));
        for (start, node) in self.starts.iter().zip(&self.innermost) {
            if let Some(start) = as_ipv4(*start) {
                ipv4.change(start, *node);
            }
        }
        ipv4
    }
}

fn as_ipv4(ordinal: u128) -> Option<u32> {
    let inside = (IPV4.first..=IPV4.last).contains(&ordinal);
    u32::try_from(ordinal & u128::from(u32::MAX))
        .ok()
        .filter(|_| inside)
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The next network outwards.
    parent: u32,
    /// Where its members start; they end where the next node's start.
    members: u32,
}

const NO_NODE: u32 = u32::MAX;

impl NetworkIndex {
    /// From pairs of a network and what is filed under it.
    pub fn new(entries: impl IntoIterator<Item = (Network, u32)>) -> NetworkIndex {
        let filed = Self::filed(entries);
        let mut segments = Segments::default();
        let mut nodes: Vec<Node> = Vec::new();
        let mut members: Vec<u32> = Vec::with_capacity(filed.len());
        let mut open: Vec<(u32, u128)> = Vec::new();
        for group in filed.chunk_by(|a, b| a.0 == b.0) {
            let Some((span, _)) = group.first() else {
                continue;
            };
            close(&mut open, Some(span.first), &mut segments);
            let index = u32::try_from(nodes.len()).unwrap_or(NO_NODE);
            nodes.push(Node {
                parent: open.last().map_or(NO_NODE, |(parent, _)| *parent),
                members: u32::try_from(members.len()).unwrap_or(u32::MAX),
            });
            members.extend(group.iter().map(|(_, member)| *member));
            segments.change(span.first, index);
            open.push((index, span.last));
        }
        close(&mut open, None, &mut segments);
        NetworkIndex {
            ipv4: segments.ipv4(),
            segments,
            nodes: nodes.into_boxed_slice(),
            members: members.into_boxed_slice(),
        }
    }

    /// Sorted, outer before inner networks.
    fn filed(entries: impl IntoIterator<Item = (Network, u32)>) -> Vec<(Span, u32)> {
        let mut filed: Vec<(Span, u32)> = entries
            .into_iter()
            .flat_map(|(network, member)| spans(network).map(move |span| (span, member)))
            .collect();
        filed.sort_unstable_by_key(|(span, member)| {
            (span.first, std::cmp::Reverse(span.last), *member)
        });
        filed.dedup();
        filed
    }

    /// What is filed under each network that holds an address, innermost first.
    pub fn holding(&self, ordinal: u128) -> impl Iterator<Item = &[u32]> {
        let mut next = match as_ipv4(ordinal) {
            Some(ipv4) => self.ipv4.at(ipv4),
            None => self.segments.at(ordinal),
        };
        std::iter::from_fn(move || {
            let at = usize::try_from(next).ok()?;
            next = self.nodes.get(at)?.parent;
            Some(self.members_of(at))
        })
    }

    /// Each network's members, and the indices of the networks around it.
    pub fn nodes(&self) -> impl Iterator<Item = (&[u32], Vec<usize>)> {
        let parent = |at: usize| {
            let parent = self.nodes.get(at)?.parent;
            usize::try_from(parent).ok().filter(|_| parent != NO_NODE)
        };
        (0..self.nodes.len()).map(move |at| {
            let around = std::iter::successors(parent(at), move |at| parent(*at));
            (self.members_of(at), around.collect())
        })
    }

    fn members_of(&self, node: usize) -> &[u32] {
        let start = self.nodes.get(node).map(|node| node.members as usize);
        let end = self.nodes.get(node + 1).map(|node| node.members as usize);
        let range = start.unwrap_or(self.members.len())..end.unwrap_or(self.members.len());
        self.members.get(range).unwrap_or_default()
    }
}

/// Closes the open networks that end before `until`.
fn close(open: &mut Vec<(u32, u128)>, until: Option<u128>, segments: &mut Segments<u128>) {
    while let Some((_, last)) = open.last().copied() {
        if until.is_some_and(|until| last >= until) {
            return;
        }
        open.pop();
        if let Some(after) = last.checked_add(1) {
            let outer = open.last().map_or(NO_NODE, |(outer, _)| *outer);
            segments.change(after, outer);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn address(text: &str) -> u128 {
        ordinal(text.parse().unwrap())
    }

    #[test]
    fn all_of_ipv6_is_not_ipv4() {
        let six = NetworkSet::new(&[network("::/0")]);
        let four = NetworkSet::new(&[network("0.0.0.0/0")]);
        assert!(
            contains(six.spans(), address("2001:db8::1"))
                && !contains(six.spans(), address("10.0.0.1"))
        );
        assert!(
            !contains(four.spans(), address("2001:db8::1"))
                && contains(four.spans(), address("255.255.255.255"))
        );
        assert!(!six.intersects(&four));
    }

    #[test]
    fn nested_networks_are_found_innermost_first() {
        let texts = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.1.2.3",
            "0.0.0.0/0",
            "11.0.0.0/8",
            "::/0",
        ];
        let index = NetworkIndex::new(texts.iter().zip(0..).map(|(text, id)| (network(text), id)));
        let found =
            |text: &str| -> Vec<u32> { index.holding(address(text)).flatten().copied().collect() };
        assert_eq!(found("10.1.2.3"), [3, 2, 1, 0, 4]);
        assert_eq!(found("10.1.2.4"), [2, 1, 0, 4]);
        assert_eq!(found("10.255.255.255"), [0, 4]);
        assert_eq!(found("11.0.0.0"), [5, 4]);
        assert_eq!(found("255.255.255.255"), [4]);
        assert_eq!(found("::1"), [6]);
    }

    fn any_network() -> impl Strategy<Value = Network> {
        (any::<bool>(), any::<u8>(), 0_u8..=128).prop_map(|(v6, byte, len)| {
            let address = if v6 {
                IpAddr::V6(Ipv6Addr::from_bits(u128::from(byte) << 40))
            } else {
                IpAddr::V4(Ipv4Addr::new(10, byte & 3, 0, byte))
            };
            Network::truncated(address, if v6 { len } else { len % 33 })
        })
    }

    proptest! {
        #[test]
        fn index_and_sets_agree_with_a_walk_over_all(
            networks in proptest::collection::vec(any_network(), 0..12),
            probe in any_network(),
        ) {
            let at = ordinal(probe.address());
            let mut holding: Vec<u32> = Vec::new();
            for (id, network) in (0..).zip(&networks) {
                let inside = probe.address().is_ipv4() == network.address().is_ipv4()
                    && Network::truncated(probe.address(), network.prefix_len()) == *network;
                // What lies in the mapped block is IPv4 whatever it is written as.
                let mapped = probe.address().is_ipv6() && (IPV4.first..=IPV4.last).contains(&at);
                prop_assume!(!mapped);
                prop_assert_eq!(contains(NetworkSet::new(&[*network]).spans(), at), inside);
                if inside { holding.push(id); }
            }
            let index = NetworkIndex::new(networks.iter().copied().zip(0..));
            let mut found: Vec<u32> = index.holding(at).flatten().copied().collect();
            found.sort_unstable();
            prop_assert_eq!(found, holding);
        }
    }
}
