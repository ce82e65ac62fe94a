//! The UDP ports that tunnels are looked for at.

/// Destination ports of tunnels over UDP; a kind without ports is not opened.
///
/// A datagram to one of them that does not begin like its tunnel is left as it is: phones take any port for RTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelPorts {
    /// VXLAN, also its Generic Protocol Extension.
    pub vxlan: Vec<u16>,
    pub geneve: Vec<u16>,
    pub gtp_u: Vec<u16>,
    pub l2tp: Vec<u16>,
    pub tzsp: Vec<u16>,
    /// HEP as it passes on its way to a collector. The calls in it are often on the same wire by themselves: none unless
    /// asked for.
    pub hep: Vec<u16>,
}

/// As registered with IANA; 8472 is Linux's first VXLAN port, 37008 that of TZSP's users.
impl Default for TunnelPorts {
    fn default() -> Self {
        TunnelPorts {
            vxlan: vec![4789, 4790, 8472],
            geneve: vec![6081],
            gtp_u: vec![2152],
            l2tp: vec![1701],
            tzsp: vec![37008],
            hep: Vec::new(),
        }
    }
}

impl TunnelPorts {
    /// Where HEP collectors listen, unless told otherwise.
    pub const HEP: u16 = 9060;
}

/// What a datagram to a port may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortKind {
    Vxlan,
    Geneve,
    GtpU,
    L2tp,
    Tzsp,
    Hep,
}

/// [`TunnelPorts`] as every datagram asks it: for nearly all, the answer is one bit.
pub(super) struct PortTable {
    /// By the low nine bits of a port: whether some port of `kinds` has them.
    bits: [u64; 8],
    kinds: Vec<(u16, PortKind)>,
}

impl PortTable {
    pub(super) fn new(ports: &TunnelPorts) -> PortTable {
        let lists = [
            (&ports.vxlan, PortKind::Vxlan),
            (&ports.geneve, PortKind::Geneve),
            (&ports.gtp_u, PortKind::GtpU),
            (&ports.l2tp, PortKind::L2tp),
            (&ports.tzsp, PortKind::Tzsp),
            (&ports.hep, PortKind::Hep),
        ];
        let kinds: Vec<_> = lists
            .into_iter()
            .flat_map(|(list, kind)| list.iter().map(move |&port| (port, kind)))
            .collect();
        let mut bits = [0; 8];
        for (port, _) in &kinds {
            let (word, bit) = Self::place(*port);
            if let Some(word) = bits.get_mut(word) {
                *word |= 1 << bit;
            }
        }
        PortTable { bits, kinds }
    }

    #[inline(always)]
    fn place(port: u16) -> (usize, u16) {
        (usize::from(port >> 6 & 7), port & 63)
    }

    /// Whether a datagram to this port may carry packets of others.
    #[inline(always)]
    pub(super) fn may_carry(&self, port: u16, payload: &[u8]) -> bool {
        // Version 2 of RTP with fewer than eight sources: no tunnel begins so, and nearly all datagrams do.
        payload.first().is_none_or(|first| first & 0xc8 != 0x80)
            && self.contains(port)
            && self.kind_of(port).is_some()
    }

    #[inline(always)]
    fn contains(&self, port: u16) -> bool {
        let (word, bit) = Self::place(port);
        let word = self.bits.get(word).copied().unwrap_or(0);
        word >> bit & 1 != 0
    }

    /// What a datagram to this port may carry.
    pub(super) fn kind(&self, port: u16, payload: &[u8]) -> Option<PortKind> {
        match self.may_carry(port, payload) {
            true => self.kind_of(port),
            false => None,
        }
    }

    #[cold]
    fn kind_of(&self, port: u16) -> Option<PortKind> {
        let found = self.kinds.iter().find(|(known, _)| *known == port);
        found.map(|(_, kind)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_what_the_lists_say() {
        let ports = TunnelPorts {
            hep: vec![9060, 0, u16::MAX],
            tzsp: Vec::new(),
            ..TunnelPorts::default()
        };
        let table = PortTable::new(&ports);
        for port in 0..=u16::MAX {
            let listed = [
                &ports.vxlan,
                &ports.geneve,
                &ports.gtp_u,
                &ports.l2tp,
                &ports.hep,
            ]
            .iter()
            .any(|list| list.contains(&port));
            assert_eq!(table.may_carry(port, b"HEP3"), listed, "{port}");
            assert!(!table.may_carry(port, &[0x80, 0]) && !table.may_carry(port, &[0xb3, 0]));
        }
        assert_eq!(table.kind(8472, &[0x88]), Some(PortKind::Vxlan));
        assert_eq!(table.kind(37008, &[1]), None);
    }
}
