//! The tunnels around a packet.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What packets of others are wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelKind {
    /// RFC 2784, 2890; also as PPTP uses it, RFC 2637.
    Gre,
    /// RFC 7637.
    Nvgre,
    Erspan,
    /// RFC 7348; also its Generic Protocol Extension.
    Vxlan,
    /// RFC 8926.
    Geneve,
    /// RFC 3032, and pseudowires, RFC 4448.
    Mpls,
    /// 3GPP TS 29.281.
    GtpU,
    /// RFC 2661, RFC 3931.
    L2tp,
    Tzsp,
    /// The Homer Encapsulation Protocol, version 3.
    Hep,
    /// RFC 3378.
    EtherIp,
    /// Provider backbone bridges, IEEE 802.1ah.
    Pbb,
    /// RFC 2516: by the number of the session.
    Pppoe,
    /// RFC 2003, RFC 2473, RFC 4213: IP of either version in IP of either version.
    IpInIp,
}

/// Bits of an id that the word for an outer tunnel has room for.
const OUTER_ID_BITS: u32 = 24;

/// Names, and the bits of the ids that both directions of a tunnel share; 0 where there is no such id. The place in this
/// list stands for the kind in [`Tunnels`].
const KINDS: [(TunnelKind, &str, u32); 14] = [
    (TunnelKind::Gre, "gre", 32),
    (TunnelKind::Nvgre, "nvgre", 24),
    (TunnelKind::Erspan, "erspan", 10),
    (TunnelKind::Vxlan, "vxlan", 24),
    (TunnelKind::Geneve, "geneve", 24),
    (TunnelKind::Hep, "hep", 32),
    (TunnelKind::EtherIp, "etherip", 32),
    (TunnelKind::Pbb, "pbb", 24),
    (TunnelKind::Pppoe, "pppoe", 16),
    (TunnelKind::IpInIp, "ipip", 32),
    (TunnelKind::Mpls, "mpls", 0),
    (TunnelKind::GtpU, "gtp", 0),
    (TunnelKind::L2tp, "l2tp", 0),
    (TunnelKind::Tzsp, "tzsp", 0),
];

impl TunnelKind {
    pub fn name(self) -> &'static str {
        self.facts().1
    }

    /// Whether it brings copies of packets to whoever listens, and is no part of their own way.
    pub fn is_mirror(self) -> bool {
        matches!(self, TunnelKind::Erspan | TunnelKind::Tzsp)
    }

    /// Whether its id stands for the two addresses between which it lies: it has no other.
    fn is_told_by_ends(self) -> bool {
        matches!(self, TunnelKind::EtherIp | TunnelKind::IpInIp)
    }

    /// Largest id, where it has one.
    fn max_id(self) -> Option<u32> {
        match self.facts().2 {
            0 => None,
            bits => Some(u32::MAX >> (32 - bits)),
        }
    }

    fn facts(self) -> (TunnelKind, &'static str, u32) {
        *KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .expect("every kind is in the table")
    }
}

/// One tunnel: its kind, and the id that tells it from others of its kind.
///
/// Only ids that are the same for both directions tell anything of who is inside: a VNI, a GRE key, an ERSPAN session,
/// a PPPoE session, the agent of HEP. IP in IP and EtherIP have none, but two ends: see [`Tunnel::between`]. GTP's TEIDs, the session ids of L2TP, the call ids of PPTP and MPLS labels are allotted by whoever
/// receives, each its own: by them one call would be seen at two places. Such tunnels have no id here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    pub kind: TunnelKind,
    /// `None` also for GRE without a key and ERSPAN without a session; in a rule, for all of the kind.
    pub id: Option<u32>,
}

/// `vxlan:5001`, `gtp`.
impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{}:{id}", self.kind.name()),
            None => f.write_str(self.kind.name()),
        }
    }
}

/// Why a text names no tunnel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    #[error("`{0}` is not a kind of tunnel; known are {list}", list = names())]
    Kind(String),
    #[error("`{id}` is not an id of {kind}: a number from 0 to {max} is expected")]
    Id {
        id: String,
        kind: &'static str,
        max: u32,
    },
    #[error("{0} has no id that both directions of a call share; write \"{0}\"")]
    NoId(&'static str),
}

fn names() -> String {
    KINDS.map(|(_, name, _)| name).join(", ")
}

impl FromStr for Tunnel {
    type Err = TunnelError;

    fn from_str(text: &str) -> Result<Tunnel, TunnelError> {
        let (name, id) = match text.split_once(':') {
            Some((name, id)) => (name, Some(id)),
            None => (text, None),
        };
        let kind = KINDS
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(kind, ..)| *kind)
            .ok_or_else(|| TunnelError::Kind(name.to_owned()))?;
        let Some(id) = id else {
            return Ok(Tunnel { kind, id: None });
        };
        let max = kind.max_id().ok_or(TunnelError::NoId(kind.name()))?;
        if kind.is_told_by_ends()
            && let Some((a, b)) = id.split_once('-')
            && let (Ok(a), Ok(b)) = (a.parse(), b.parse())
        {
            return Ok(Tunnel::between(kind, a, b));
        }
        let number = id.parse().ok().filter(|number| *number <= max);
        let number = number.ok_or_else(|| TunnelError::Id {
            id: id.to_owned(),
            kind: kind.name(),
            max,
        })?;
        Ok(Tunnel {
            kind,
            id: Some(number),
        })
    }
}

/// The tunnels around a packet, in one word: part of every flow key, and 0 for nearly all packets.
///
/// The two innermost are kept as they are. Of a chain of more, and of a chain whose outer id is longer than 24 bits, the
/// outer part is kept as a checksum, which tells such chains apart and names none of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tunnels(u64);

/// One half of the word: 4 bits for what it is (a place in the list of kinds, counted from 1), then the id. Where there is
/// no id, the place stands for it.
const WITHOUT_ID: u64 = 14;
const CHECKSUM: u64 = 15;

/// The inner half: 4 bits and 32; the outer half above it: 4 and 24.
const INNER_BITS: u32 = 36;

/// One of the tunnels around a packet, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Around {
    Known(Tunnel),
    /// Several, by a checksum.
    Several(u32),
}

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Around::Known(tunnel) => tunnel.fmt(f),
            Around::Several(checksum) => write!(f, "several-{checksum:06x}"),
        }
    }
}

impl Tunnels {
    pub const NONE: Tunnels = Tunnels(0);

    /// No tunnel.
    #[inline]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// These, and one more inside them.
    pub fn and_within(self, tunnel: Tunnel) -> Tunnels {
        let (outer, inner) = self.halves();
        let outer = match (outer, inner) {
            (0, 0) => 0,
            (0, inner) if inner & 0xffff_ffff < 1 << OUTER_ID_BITS => {
                (inner >> 32) << OUTER_ID_BITS | inner & 0xff_ffff
            }
            _ => CHECKSUM << OUTER_ID_BITS | checksum(self.0),
        };
        Tunnels(outer << INNER_BITS | half(tunnel))
    }

    /// From the outside in, two at most.
    pub fn iter(self) -> impl Iterator<Item = Around> {
        let (outer, inner) = self.halves();
        let outer = read(outer >> OUTER_ID_BITS, (outer & 0xff_ffff) as u32);
        let inner = read(inner >> 32, inner as u32);
        outer.into_iter().chain(inner)
    }

    /// Whether one that a network administrator named lies around the packet.
    ///
    /// It is the outermost, or the next one where the outermost only brings what a mirror saw. Whatever is further
    /// inside may have been sent by anybody who is inside the outermost.
    pub fn are_in(self, named: Tunnel) -> bool {
        let mut around = self.iter();
        let fits = |around: Around| match around {
            Around::Known(tunnel) => {
                tunnel.kind == named.kind && (named.id.is_none() || tunnel.id == named.id)
            }
            Around::Several(_) => false,
        };
        match around.next() {
            Some(Around::Known(outermost)) if outermost.kind.is_mirror() => {
                fits(Around::Known(outermost))
                    || (!named.kind.is_mirror() && around.next().is_some_and(fits))
            }
            Some(outermost) => fits(outermost),
            None => false,
        }
    }

    /// The names by which [`Tunnels::are_in`] holds: with their ids and without.
    pub fn names(self) -> impl Iterator<Item = Tunnel> {
        let known = |around| match around {
            Around::Known(tunnel) => Some(tunnel),
            Around::Several(_) => None,
        };
        let without = |tunnel: Tunnel| Tunnel { id: None, ..tunnel };
        let both = move |tunnel: Tunnel| [Some(tunnel), tunnel.id.map(|_| without(tunnel))];
        let all = self.iter().filter_map(known).flat_map(both).flatten();
        all.filter(move |name| self.are_in(*name))
    }

    fn halves(self) -> (u64, u64) {
        (self.0 >> INNER_BITS, self.0 & ((1 << INNER_BITS) - 1))
    }
}

impl Tunnel {
    /// The one between two addresses, the same for both directions: its id is made of the addresses.
    pub fn between(kind: TunnelKind, a: IpAddr, b: IpAddr) -> Tunnel {
        let whole = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let (a, b) = (whole(a), whole(b));
        let words = [a.min(b), a.max(b)].map(|ip| [(ip >> 64) as u64, ip as u64]);
        let mixed = words.as_flattened().iter().fold(0, |so_far: u64, word| {
            mix(so_far.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ word)
        });
        Tunnel {
            kind,
            id: Some((mixed >> 32) as u32),
        }
    }

    /// Whether some packet can be in both: see [`Tunnels::are_in`].
    pub fn meets(self, other: Tunnel) -> bool {
        if self.kind.is_mirror() != other.kind.is_mirror() {
            return true;
        }
        self.kind == other.kind && (self.id.is_none() || other.id.is_none() || self.id == other.id)
    }
}

fn half(tunnel: Tunnel) -> u64 {
    let place = KINDS.iter().position(|(kind, ..)| *kind == tunnel.kind);
    let place = place.expect("every kind is in the table") as u64;
    match tunnel.id {
        Some(id) => (place + 1) << 32 | u64::from(id),
        None => WITHOUT_ID << 32 | place,
    }
}

fn read(kind: u64, id: u32) -> Option<Around> {
    let (place, id) = match kind {
        0 => return None,
        CHECKSUM => return Some(Around::Several(id)),
        WITHOUT_ID => (id as usize, None),
        known => (known as usize - 1, Some(id)),
    };
    let (kind, ..) = *KINDS.get(place)?;
    Some(Around::Known(Tunnel { kind, id }))
}

/// 24 bits of a word.
fn checksum(word: u64) -> u64 {
    mix(word) & 0xff_ffff
}

/// The finish of MurmurHash3.
fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

/// `erspan:7/vxlan:5001`, from the outside in; nothing where there is none.
impl fmt::Display for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, around) in self.iter().enumerate() {
            write!(f, "{}{around}", if place > 0 { "/" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tunnel(text: &str) -> Tunnel {
        text.parse().unwrap()
    }

    fn chain(texts: &[&str]) -> Tunnels {
        let around = |tunnels: Tunnels, text: &&str| tunnels.and_within(tunnel(text));
        texts.iter().fold(Tunnels::NONE, around)
    }

    #[test]
    fn two_tunnels_are_kept_as_they_are() {
        assert_eq!(chain(&[]).to_string(), "");
        assert!(chain(&[]).is_none());
        for texts in [
            vec!["vxlan:0"],
            vec!["gre"],
            vec!["gre:0"],
            vec!["gre:4294967295"],
            vec!["hep:4294967295"],
            vec!["erspan", "vxlan:16777215"],
            vec!["erspan:1023", "gre:4294967295"],
            vec!["gre:16777215", "gtp"],
            vec!["mpls", "pbb:9"],
            vec!["pppoe:65535", "ipip:4294967295"],
            vec!["etherip:7", "tzsp"],
            vec!["vxlan"],
        ] {
            assert_eq!(chain(&texts).to_string(), texts.join("/"));
        }
    }

    #[test]
    fn of_three_the_innermost_is_kept_and_the_others_differ() {
        let three = chain(&["erspan:7", "vxlan:5001", "gre:77"]);
        let text = three.to_string();
        assert!(
            text.starts_with("several-") && text.ends_with("/gre:77"),
            "{text}"
        );
        assert_ne!(three, chain(&["erspan:7", "vxlan:5002", "gre:77"]));
        assert_ne!(three, chain(&["vxlan:5001", "erspan:7", "gre:77"]));
        assert_ne!(
            chain(&["gre:16777216", "gtp"]),
            chain(&["gre:16777217", "gtp"])
        );
    }

    #[test]
    fn a_name_holds_for_the_outermost_tunnel_behind_a_mirror() {
        let holds = |texts: &[&str], named: &str| chain(texts).are_in(tunnel(named));
        assert!(holds(&["vxlan:5001"], "vxlan:5001") && holds(&["vxlan:5001"], "vxlan"));
        assert!(!holds(&["vxlan:5001"], "vxlan:5002") && !holds(&["vxlan:5001"], "geneve:5001"));
        assert!(holds(&["erspan:7", "vxlan:5001"], "vxlan:5001"));
        assert!(holds(&["erspan:7", "vxlan:5001"], "erspan:7"));
        assert!(holds(&["gre"], "gre") && !holds(&["gre"], "gre:0"));
        assert!(!holds(&[], "gre"));
        // What is inside a customer's tunnel is the customer's to forge.
        assert!(!holds(&["vxlan:5001", "vxlan:5002"], "vxlan:5002"));
        assert!(!holds(&["erspan:7", "erspan:8"], "erspan:8"));
        assert!(!holds(
            &["erspan:7", "vxlan:5001", "vxlan:5002"],
            "vxlan:5002"
        ));
    }

    #[test]
    fn texts_that_name_no_tunnel_say_why() {
        let error = |text: &str| text.parse::<Tunnel>().unwrap_err().to_string();
        assert!(error("vlan:7").contains("known are gre, nvgre, erspan"));
        assert!(error("erspan:1024").contains("from 0 to 1023"));
        assert!(error("vxlan:x").contains("from 0 to 16777215"));
        assert_eq!(
            error("gtp:7"),
            "gtp has no id that both directions of a call share; write \"gtp\""
        );
    }

    #[test]
    fn two_ends_are_one_id_in_either_order_and_no_other_ends_have_it() {
        let ends = |a: &str, b: &str| tunnel(&format!("ipip:{a}-{b}"));
        let one = ends("192.0.2.1", "192.0.2.200");
        assert_eq!(one, ends("192.0.2.200", "192.0.2.1"));
        assert_eq!(one, ends("::ffff:192.0.2.1", "192.0.2.200"));
        assert_eq!(one, tunnel(&one.to_string()));
        let mut seen = std::collections::BTreeSet::from([one.id]);
        for last in 2..=199 {
            assert!(seen.insert(ends(&format!("192.0.2.{last}"), "192.0.2.200").id));
            assert!(seen.insert(ends("192.0.2.1", &format!("192.0.2.{last}")).id));
            assert!(seen.insert(ends(&format!("2001:db8::{last}"), "2001:db8::1:1").id));
            assert!(seen.insert(ends(&format!("2001:db8:{last}::"), "2001:db8::1:1").id));
        }
        // Both ends count, and which is which does not.
        assert_ne!(ends("::1", "::2"), ends("::3", "::"));
        assert_ne!(ends("::1", "::1"), ends("::2", "::2"));
        assert_ne!(one.kind, tunnel("etherip:192.0.2.1-192.0.2.200").kind);
        assert!("gre:192.0.2.1-192.0.2.2".parse::<Tunnel>().is_err());
        assert!("ipip:192.0.2.1-x".parse::<Tunnel>().is_err());
    }

    fn any_tunnel() -> impl Strategy<Value = Tunnel> {
        (0..KINDS.len(), prop::option::of(0u32..4)).prop_map(|(place, id)| {
            let (kind, _, bits) = KINDS[place];
            let id = id.filter(|_| bits > 0);
            Tunnel { kind, id }
        })
    }

    proptest! {
        /// The proof of the directory: names that no packet can fit both of never do.
        #[test]
        fn names_that_do_not_meet_never_hold_together(
            chain in prop::collection::vec(any_tunnel(), 0..4),
            a in any_tunnel(),
            b in any_tunnel(),
        ) {
            let tunnels = chain.iter().fold(Tunnels::NONE, |all, tunnel| all.and_within(*tunnel));
            if !a.meets(b) {
                prop_assert!(!(tunnels.are_in(a) && tunnels.are_in(b)));
            }
            prop_assert_eq!(a.meets(b), b.meets(a));
            prop_assert_eq!(tunnels.names().any(|name| name == a), tunnels.are_in(a));
            if chain.len() <= 2 {
                let read: Vec<Around> = tunnels.iter().collect();
                let known: Vec<Around> = chain.iter().map(|t| Around::Known(*t)).collect();
                prop_assert_eq!(read, known);
            }
        }
    }
}
