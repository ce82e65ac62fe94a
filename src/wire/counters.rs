//! What became of every packet.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What became of the packets, since the start. Each packet that came in is counted in `packets` and in exactly
        /// one of those marked "a packet"; the others count what happened on the way.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct WireCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl WireCounters {
            const COUNT: usize = [$(stringify!($name)),*].len();

            /// Every counter by its name, in the order of declaration: for metrics.
            pub fn named(&self) -> [(&'static str, u64); Self::COUNT] {
                [$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Frames handed in.
    packets,
    /// Captured bytes of these frames.
    bytes,

    /// A packet that gave a UDP datagram, by itself or as the last missing fragment of one.
    datagrams,
    /// A packet that carried a segment of a TCP stream that is followed.
    tcp_followed,
    /// A packet that carried a TCP segment nobody asked for.
    tcp_ignored,
    /// A packet that is not IP: ARP, spanning tree, PPPoE discovery and their like.
    not_ip,
    /// A packet that is IP, but neither UDP nor TCP: ICMP (also where it quotes media), IGMP, ESP and their like.
    not_udp_tcp,
    /// A packet too short for its own link header.
    malformed_link,
    /// A packet with an IP header, or IPv6 extension headers, that contradict themselves or end too early.
    malformed_ip,
    /// A packet without room for a UDP header.
    malformed_udp,
    /// A packet without room for the TCP header it announces.
    malformed_tcp,
    /// A packet with more tunnels around it than are followed.
    nested_too_deep,
    /// A packet of a tunnel whose header contradicts itself or ends too early.
    malformed_tunnel,
    /// A packet of a tunnel with nothing inside: acknowledgments, keep-alives, echo.
    tunnel_control,
    /// A packet of HEP that lies about its lengths, or lacks addresses or payload.
    malformed_hep,
    /// A packet of HEP that reports no SIP, RTP or RTCP: logs, statistics, RTCP made JSON.
    hep_other,
    /// A packet with an IP fragment that waits for the rest of its datagram.
    fragments_held,
    /// A packet with an IP fragment all of whose bytes were there already.
    fragments_repeated,
    /// A packet with an IP fragment of impossible length or place, or that contradicts the end of its datagram.
    fragments_malformed,
    /// A packet with an IP fragment, not the first, that the snapshot length cut.
    fragments_cut,
    /// A packet with one fragment more than a datagram may have; the datagram is given up.
    fragments_too_many,

    /// Datagrams of which fewer bytes were there than their headers announce.
    datagrams_truncated,
    /// Tunnels opened: GRE, also PPTP's.
    tunnels_gre,
    /// Tunnels opened: NVGRE.
    tunnels_nvgre,
    /// Tunnels opened: ERSPAN.
    tunnels_erspan,
    /// Tunnels opened: VXLAN.
    tunnels_vxlan,
    /// Tunnels opened: GENEVE.
    tunnels_geneve,
    /// Tunnels opened: MPLS label stacks.
    tunnels_mpls,
    /// Tunnels opened: GTP-U.
    tunnels_gtp,
    /// Tunnels opened: L2TP.
    tunnels_l2tp,
    /// Tunnels opened: TZSP.
    tunnels_tzsp,
    /// Tunnels opened: HEP.
    tunnels_hep,
    /// Tunnels opened: EtherIP.
    tunnels_etherip,
    /// Tunnels opened: 802.1ah.
    tunnels_pbb,
    /// Tunnels opened: PPPoE sessions.
    tunnels_pppoe,
    /// Tunnels opened: IP in IP, of either version.
    tunnels_ipip,
    /// Tunnels that had less in them than their headers announce.
    tunnels_truncated,
    /// Datagrams to a port of tunnels that do not begin like one, and were handed out as they are.
    tunnel_ports_unused,
    /// HEP of agents whose clock is off by more than two seconds: the time of receipt stands for theirs.
    hep_clock_off,
    /// IP datagrams put together from fragments.
    reassembled,
    /// Fragments that overlap what was there; the bytes that came first were kept.
    fragments_overlapping,
    /// IP datagrams given up because fragments of them did not come in time.
    reassembly_timed_out,
    /// IP datagrams given up, oldest first, to stay under the caps on fragments.
    reassembly_evicted,
    /// TCP streams (one direction each) that were begun.
    tcp_streams,
    /// TCP streams forgotten before their end, the one idle longest first, to stay under the cap.
    tcp_streams_evicted,
    /// TCP streams forgotten before their end because they were idle too long.
    tcp_streams_idle,
    /// Bytes of TCP streams handed out.
    tcp_bytes,
    /// Segments whose bytes had all been seen before.
    tcp_repeated,
    /// Segments that came before bytes that precede them, and were kept back.
    tcp_out_of_order,
    /// Segments whose sequence numbers are far from where their stream is.
    tcp_out_of_window,
    /// Gaps handed out: bytes of a stream given up after waiting too long or holding back too much, and streams joined
    /// in the middle of a message.
    tcp_gaps,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_name() {
        let counters = WireCounters {
            packets: 7,
            tcp_gaps: 3,
            ..WireCounters::default()
        };
        let named = counters.named();
        assert_eq!(named.first(), Some(&("packets", 7)));
        assert_eq!(named.last(), Some(&("tcp_gaps", 3)));
    }
}
