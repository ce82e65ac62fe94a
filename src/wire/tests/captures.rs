//! Public captures, read where they lie beside the project; each test passes with a line where they are missing.

use std::path::Path;

use super::*;
use crate::base::Tunnel;

/// Everything in a capture file, heard. `None` where the captures are not there.
fn listen(name: &str) -> Option<Listener> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/captures")
        .join(name);
    let Ok(mut file) = pcap::Capture::from_file(&path) else {
        println!("skipped: no capture {}", path.display());
        return None;
    };
    let link = LinkType::from_dlt(file.get_datalink().0 as u32).expect("a link type that is read");
    let mut listener = Listener::new();
    let mut last = at_millis(0);
    while let Ok(packet) = file.next_packet() {
        let time = packet.header.ts;
        last = Timestamp::from_secs_nanos(time.tv_sec, time.tv_usec * 1000);
        listener.hear(Packet {
            time: last,
            interface: 0,
            link,
            data: packet.data,
            original_len: packet.header.len,
        });
    }
    listener.finish(last);
    Some(listener)
}

impl Heard {
    fn datagrams_starting(&self, start: &str) -> Vec<&[u8]> {
        let payloads = self
            .datagrams
            .iter()
            .map(|(_, payload, _)| payload.as_slice());
        payloads
            .filter(|payload| payload.starts_with(start.as_bytes()))
            .collect()
    }

    /// The streams, each as one, by their first bytes.
    fn stream_starting(&self, start: &str) -> Option<Vec<u8>> {
        let joined = |flow| self.runs(flow).0.concat();
        self.streams
            .keys()
            .map(joined)
            .find(|bytes| bytes.starts_with(start.as_bytes()))
    }
}

/// A SIP message in a datagram is as long as its Content-Length says.
fn is_whole(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length:"))
        .expect("a length");
    length.trim().parse() == Ok(body.len())
}

#[test]
fn ipv6_fragments_in_a_cooked_capture() {
    let Some(listener) = listen("sip-ipv6-fragments-sll.pcap") else {
        return;
    };
    let invites = listener.heard.datagrams_starting("INVITE ");
    assert_eq!(invites.len(), 2);
    assert!(invites.iter().all(|invite| is_whole(invite)));
    let c = listener.counters();
    assert_eq!(
        (c.packets, c.datagrams, c.fragments_held, c.reassembled),
        (34, 32, 2, 2)
    );
}

#[test]
fn an_invite_of_64_kib_over_tcp_on_bsd_loopback() {
    let Some(listener) = listen("sip-tcp-64k-body-loopback.pcap") else {
        return;
    };
    let invite = listener.heard.stream_starting("INVITE ").unwrap();
    assert_eq!(invite.len(), 65_793);
    assert!(is_whole(&invite));
    assert!(listener.heard.stream_starting("SIP/2.0 100 ").is_some());
    assert_eq!(
        (
            listener.counters().tcp_gaps,
            listener.counters().tcp_streams
        ),
        (0, 2)
    );
}

#[test]
fn tcp_with_one_direction_inside_ip_in_ip() {
    let Some(listener) = listen("sip-tcp-ipip-asymmetric.pcap") else {
        return;
    };
    let flows: Vec<&Flow> = listener.heard.streams.keys().collect();
    assert_eq!(flows.len(), 2);
    let (there, back) = (flows[0], flows[1].reversed());
    assert_eq!(
        (there.source, there.destination),
        (back.source, back.destination)
    );
    let around = flows.iter().map(|flow| flow.vantage.tunnels.to_string());
    let ends: Tunnel = "ipip:10.15.194.19-10.15.196.229".parse().unwrap();
    assert!(around.eq([String::new(), ends.to_string()]));
    let there = listener.heard.stream_starting("INVITE ").unwrap();
    let back = listener.heard.stream_starting("SIP/2.0 ").unwrap();
    assert_eq!((there.len(), back.len()), (1103 + 409, 621 + 616));
}

#[test]
fn sip_over_tcp_beside_its_media() {
    let Some(listener) = listen("sip-over-tcp-g711a.pcap") else {
        return;
    };
    assert_eq!(listener.heard.streams.len(), 2);
    let c = listener.counters();
    assert_eq!((c.tcp_gaps, c.tcp_repeated, c.packets), (0, 0, 84));
    let invite = listener.heard.stream_starting("INVITE ").unwrap();
    assert!(String::from_utf8_lossy(&invite).contains("ACK sip:"));
    let rtp = listener
        .heard
        .datagrams
        .iter()
        .filter(|(flow, ..)| [6000, 6050].contains(&flow.source.port));
    assert_eq!(rtp.count(), 40 + 2 + 20 + 4);
}

#[test]
fn an_invite_in_two_ipv4_fragments() {
    let Some(listener) = listen("srtp-sdes-b2bua-two-legs.pcap") else {
        return;
    };
    let invites = listener.heard.datagrams_starting("INVITE ");
    assert!(invites.iter().all(|invite| is_whole(invite)));
    assert!(invites.iter().any(|invite| invite.len() > 1480));
    let c = listener.counters();
    assert!(c.reassembled >= 1 && c.reassembly_timed_out == 0, "{c:?}");
}

#[test]
fn datagrams_on_bsd_loopback() {
    let Some(listener) = listen("h263-video-loopback-null.pcap") else {
        return;
    };
    assert_eq!(
        (
            listener.heard.datagrams.len(),
            listener.counters().datagrams
        ),
        (49, 49)
    );
    assert_eq!(listener.heard.datagrams_starting("INVITE ").len(), 1);
}

#[test]
fn rtp_in_a_cooked_capture() {
    let Some(listener) = listen("rtp-only-ulaw-dtmf-2013785496.pcap") else {
        return;
    };
    assert_eq!(listener.heard.datagrams.len(), 974);
    assert!(
        listener
            .heard
            .datagrams
            .iter()
            .all(|(_, payload, truncated)| payload.len() >= 12 && !truncated)
    );
}

#[test]
fn a_call_and_its_media_in_gtp() {
    let Some(listener) = listen("volte-gtp-ipv6-amr.pcap") else {
        return;
    };
    let rtp = |from: u16, to: u16| {
        let ports = |flow: &Flow| (flow.source.port, flow.destination.port) == (from, to);
        listener
            .heard
            .datagrams
            .iter()
            .filter(|(flow, ..)| ports(flow))
            .count()
    };
    assert_eq!((rtp(19_956, 49_120), rtp(49_120, 19_956)), (14, 13));
    // Connections follow each other between the same ports.
    let invites = |flow: &Flow| {
        let bytes = listener.heard.runs(flow).0.concat();
        String::from_utf8_lossy(&bytes)
            .matches("INVITE tel:122")
            .count()
    };
    assert_eq!(listener.heard.streams.keys().map(invites).sum::<usize>(), 1);
    let vantages: std::collections::BTreeSet<_> = listener
        .heard
        .datagrams
        .iter()
        .map(|(flow, ..)| flow.vantage.tunnels.to_string())
        .collect();
    assert_eq!(vantages.into_iter().collect::<Vec<_>>(), ["gtp"]);
    let c = listener.counters();
    assert_eq!(
        (c.packets, c.tunnels_gtp, c.tunnels_truncated),
        (106, 106, 0)
    );
}

#[test]
fn sip_over_pppoe() {
    let Some(listener) = listen("dtmf-sip-info-pppoe.pcap") else {
        return;
    };
    assert_eq!(listener.heard.datagrams.len(), 32);
    assert_eq!(listener.heard.datagrams_starting("INFO ").len(), 4);
    assert_eq!(listener.heard.datagrams_starting("CANCEL ").len(), 2);
}

#[test]
fn sip_in_ppp_in_gre_on_a_vlan() {
    let Some(listener) = listen("sip-vlan-gre-ppp.pcapng") else {
        return;
    };
    let [(flow, _, truncated)] = &listener.heard.datagrams[..] else {
        panic!("{} datagrams", listener.heard.datagrams.len());
    };
    assert_eq!(
        listener
            .heard
            .datagrams_starting("SIP/2.0 100 Trying")
            .len(),
        1
    );
    assert_eq!((flow.vantage.vlans, *truncated), ([142, 0, 0], false));
    assert_eq!(flow.vantage.tunnels.to_string(), "gre");
    assert_eq!(flow.source, Endpoint::v4([192, 168, 10, 210], 5060));
}

#[test]
fn a_fuzzed_capture_is_read_to_its_end() {
    let Some(listener) = listen("fuzzed-sip-mix.pcap") else {
        return;
    };
    let Some(sane) = listen("failed-calls-with-auth.pcap") else {
        return;
    };
    assert_eq!(
        (listener.counters().packets, sane.counters().packets),
        (691, 691)
    );
    assert!(listener.counters().datagrams > sane.counters().datagrams / 2);
}
