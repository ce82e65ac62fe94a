//! What lies inside tunnels: the way from a header taken off back to the layers.

use std::borrow::Cow;
use std::time::Duration;

use super::hep::{Hep, HepContent, looks_like_hep};
use super::layers::Place;
use super::link::{self, Network, Protocol, Vlans};
use super::tunnel::{self, Inner, Opened};
use super::tunnel_ports::PortKind;
use super::{Datagram, Out, Unit, Wire};
use crate::base::{Flow, Tunnel, TunnelKind};

/// How far behind the time of its receipt an agent's time is believed: networks and agents hold packets back for less.
/// Anything else is a clock that is not set.
const AGENT_DELAY: Duration = Duration::from_secs(2);

impl Wire {
    /// Opens a datagram to a port of tunnels. `false`: it is no tunnel, and is to be handed out.
    pub(super) fn tunnel(
        &mut self,
        place: Place,
        kind: PortKind,
        payload: &[u8],
        out: Out<'_>,
    ) -> bool {
        let opened = match kind {
            PortKind::Hep if looks_like_hep(payload) => {
                self.hep(place, payload, out);
                return true;
            }
            kind => tunnel::open_datagram(kind, payload),
        };
        self.counters.tunnel_ports_unused += u64::from(opened.is_none());
        opened.is_some_and(|opened| {
            self.enter(place, &opened, out);
            true
        })
    }

    /// Goes on with what lies in a tunnel, or counts the header that is none.
    pub(super) fn enter_if(&mut self, place: Place, opened: Option<Opened<'_>>, out: Out<'_>) {
        match opened {
            Some(opened) => self.enter(place, &opened, out),
            None => self.counters.malformed_tunnel += 1,
        }
    }

    fn enter(&mut self, mut place: Place, opened: &Opened<'_>, out: Out<'_>) {
        if opened.inner == Inner::Control {
            self.counters.tunnel_control += 1;
            return;
        }
        if !self.descend(&mut place) {
            return;
        }
        self.count(opened.tunnel.kind);
        self.counters.tunnels_truncated += u64::from(opened.truncated);
        place.cut |= opened.truncated;
        place.vantage.tunnels = place.vantage.tunnels.and_within(opened.tunnel);
        match opened.inner {
            Inner::Frame(bytes) => {
                let network = link::frame(bytes, Vlans::of(place.vantage.vlans));
                self.mirrored(place, opened.vlan, network, out);
            }
            Inner::Ether(ether_type, bytes) => {
                let vlans = Vlans::of(place.vantage.vlans);
                self.network(place, link::tagged(ether_type.0, bytes, vlans), out);
            }
            Inner::Ip(bytes) => self.ip(place, bytes, out),
            Inner::Ppp(bytes) => self.ppp(place, link::open_ppp(bytes), out),
            Inner::Foreign | Inner::Control => self.counters.not_ip += 1,
        }
    }

    /// One layer of packets inside packets more; `false`, counted, where there are too many.
    pub(super) fn descend(&mut self, place: &mut Place) -> bool {
        place.nesting += 1;
        let fits = place.nesting <= super::layers::MAX_NESTING;
        self.counters.nested_too_deep += u64::from(!fits);
        fits
    }

    /// A frame that a mirror brought. The VLAN that the mirror tells of stands for a tag that is not in the frame.
    fn mirrored(
        &mut self,
        mut place: Place,
        vlan: u16,
        network: Option<Network<'_>>,
        out: Out<'_>,
    ) {
        let network = network.map(|mut network| {
            if vlan != 0 && network.vlans == place.vantage.vlans {
                let mut vlans = Vlans::of(network.vlans);
                vlans.push(vlan);
                network.vlans = vlans.ids();
            }
            place.vantage.vlans = network.vlans;
            network
        });
        self.network(place, network, out);
    }

    fn network(&mut self, mut place: Place, network: Option<Network<'_>>, out: Out<'_>) {
        let Some(network) = network else {
            self.counters.malformed_link += 1;
            return;
        };
        place.vantage.vlans = network.vlans;
        match network.protocol {
            Protocol::Ip => self.ip(place, network.bytes, out),
            Protocol::Ether(ether_type) => self.ether(place, ether_type, network.bytes, out),
        }
    }

    /// What follows a PPP header: IP, or MPLS (RFC 3032 section 4.1).
    pub(super) fn ppp(&mut self, place: Place, opened: Option<(u16, &[u8])>, out: Out<'_>) {
        match opened {
            Some((0x0021 | 0x0057, ip)) => self.ip(place, ip, out),
            Some((0x0281 | 0x0283, labels)) => self.enter_if(place, tunnel::mpls(labels), out),
            Some(_) => self.counters.not_ip += 1,
            None => self.counters.malformed_link += 1,
        }
    }

    /// A packet of HEP: the datagram or the SIP message that an agent saw, at a vantage of the agent's own.
    pub(super) fn hep(&mut self, mut place: Place, bytes: &[u8], out: Out<'_>) {
        let Ok(hep) = Hep::parse(bytes) else {
            self.counters.malformed_hep += 1;
            return;
        };
        if !self.descend(&mut place) {
            return;
        }
        self.count(TunnelKind::Hep);
        let Some(payload) = hep
            .payload()
            .map(Cow::Borrowed)
            .or_else(|| hep.unpacked().map(Cow::Owned))
        else {
            self.counters.malformed_hep += 1;
            return;
        };
        let is_json = hep.content == HepContent::Rtcp && payload.starts_with(b"{");
        if is_json || matches!(hep.content, HepContent::Other(_)) {
            self.counters.hep_other += 1;
            return;
        }
        let seen_at = hep.seen_at(place.time, AGENT_DELAY);
        self.counters.hep_clock_off += u64::from(hep.clock_is_off(place.time, AGENT_DELAY));
        place.vantage.tunnels = place.vantage.tunnels.and_within(Tunnel {
            kind: TunnelKind::Hep,
            id: Some(hep.agent),
        });
        self.counters.datagrams += 1;
        out(Unit::Datagram(Datagram {
            time: seen_at.unwrap_or(place.time),
            flow: Flow {
                vantage: place.vantage,
                source: hep.source,
                destination: hep.destination,
            },
            payload: &payload,
            truncated: false,
        }));
    }

    fn count(&mut self, kind: TunnelKind) {
        let counters = &mut self.counters;
        let counter = match kind {
            TunnelKind::Gre => &mut counters.tunnels_gre,
            TunnelKind::Nvgre => &mut counters.tunnels_nvgre,
            TunnelKind::Erspan => &mut counters.tunnels_erspan,
            TunnelKind::Vxlan => &mut counters.tunnels_vxlan,
            TunnelKind::Geneve => &mut counters.tunnels_geneve,
            TunnelKind::Mpls => &mut counters.tunnels_mpls,
            TunnelKind::GtpU => &mut counters.tunnels_gtp,
            TunnelKind::L2tp => &mut counters.tunnels_l2tp,
            TunnelKind::Tzsp => &mut counters.tunnels_tzsp,
            TunnelKind::Hep => &mut counters.tunnels_hep,
            TunnelKind::EtherIp => &mut counters.tunnels_etherip,
            TunnelKind::Pbb => &mut counters.tunnels_pbb,
            TunnelKind::Pppoe => &mut counters.tunnels_pppoe,
            TunnelKind::IpInIp => &mut counters.tunnels_ipip,
        };
        *counter += 1;
    }
}
