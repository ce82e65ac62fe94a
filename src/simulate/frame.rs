//! Ethernet frames with VLAN tags, IPv4 or IPv6, UDP or TCP, and IP fragments.

use smallvec::SmallVec;

use crate::base::Endpoint;
use std::net::IpAddr;

/// One direction between two endpoints, with the VLAN ids around it from the outside in.
#[derive(Clone, Debug)]
pub struct Path {
    pub source: Endpoint,
    pub destination: Endpoint,
    pub vlans: SmallVec<[u16; 2]>,
}

/// Bytes of IP payload that a frame holds.
const MTU: usize = 1500;
const UDP: u8 = 17;
const TCP: u8 = 6;
const IPV6_FRAGMENT: u8 = 44;

/// The headers of one UDP flow, made once: a frame is a copy of them, the payload, and what depends on the payload.
#[derive(Clone, Debug)]
pub struct UdpTemplate {
    headers: SmallVec<[u8; 72]>,
    ip_at: usize,
    udp_at: usize,
    /// Sum of the pseudo-header's addresses and protocol (RFC 768).
    pseudo: u64,
}

impl UdpTemplate {
    pub fn new(path: &Path) -> UdpTemplate {
        let mut headers = Vec::with_capacity(72);
        ethernet(path, &mut headers);
        let ip_at = headers.len();
        ip(path, UDP, &mut headers);
        let udp_at = headers.len();
        headers.extend(path.source.port.to_be_bytes());
        headers.extend(path.destination.port.to_be_bytes());
        headers.extend([0; 4]);
        let pseudo = pseudo_sum(path, UDP);
        UdpTemplate {
            headers: SmallVec::from_vec(headers),
            ip_at,
            udp_at,
            pseudo,
        }
    }

    /// Clears `frame` and puts the headers there; the payload is to be appended.
    pub fn begin(&self, frame: &mut Vec<u8>) {
        frame.clear();
        frame.extend_from_slice(&self.headers);
    }

    /// Fills in lengths, checksums and the IPv4 identification. The payload must leave the packet under 64 KiB.
    pub fn finish(&self, frame: &mut [u8], identification: u16) {
        finish_ip(&mut frame[self.ip_at..], identification, 0);
        let udp = &mut frame[self.udp_at..];
        let length = (udp.len() as u16).to_be_bytes();
        udp[4..6].copy_from_slice(&length);
        let check = checksum(self.pseudo + sum(udp) + u64::from(u16::from_ne_bytes(length)));
        // A sum of zero is sent as all ones: zero says that there is none (RFC 768).
        let check = if check == [0, 0] { [0xff, 0xff] } else { check };
        udp[6..8].copy_from_slice(&check);
    }

    /// The frames of one datagram, in fragments where it is too long for one.
    pub fn fragments(&self, identification: u16, payload: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        self.begin(&mut whole);
        whole.extend_from_slice(payload);
        self.finish(&mut whole, identification);
        if whole.len() - self.ip_at <= MTU {
            return vec![whole];
        }
        let datagram = &whole[self.udp_at..];
        let is_v6 = whole[self.ip_at] >> 4 == 6;
        let room = if is_v6 { MTU - 40 - 8 } else { MTU - 20 } & !7;
        let count = datagram.len().div_ceil(room);
        let cut = |(i, part): (usize, &[u8])| {
            let mut frame = whole[..self.udp_at].to_vec();
            let place = (i * room) as u16;
            let more = i + 1 < count;
            if is_v6 {
                frame[self.ip_at + 6] = IPV6_FRAGMENT;
                frame.extend([UDP, 0]);
                frame.extend((place | u16::from(more)).to_be_bytes());
                frame.extend(u32::from(identification).to_be_bytes());
                frame.extend_from_slice(part);
                finish_ip(&mut frame[self.ip_at..], identification, 0);
            } else {
                frame.extend_from_slice(part);
                let flags = (place / 8) | if more { 0x2000 } else { 0 };
                finish_ip(&mut frame[self.ip_at..], identification, flags);
            }
            frame
        };
        datagram.chunks(room).enumerate().map(cut).collect()
    }
}

/// Flags of a TCP segment (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    pub const SYN: TcpFlags = TcpFlags(0x02);
    pub const SYN_ACK: TcpFlags = TcpFlags(0x12);
    pub const ACK: TcpFlags = TcpFlags(0x10);
    pub const PUSH_ACK: TcpFlags = TcpFlags(0x18);
    pub const FIN_ACK: TcpFlags = TcpFlags(0x11);
}

/// One TCP segment.
pub fn tcp_frame(
    path: &Path,
    sequence: u32,
    acknowledged: u32,
    flags: TcpFlags,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(80 + payload.len());
    ethernet(path, &mut frame);
    let ip_at = frame.len();
    ip(path, TCP, &mut frame);
    let tcp_at = frame.len();
    frame.extend(path.source.port.to_be_bytes());
    frame.extend(path.destination.port.to_be_bytes());
    frame.extend(sequence.to_be_bytes());
    frame.extend(acknowledged.to_be_bytes());
    frame.extend([0x50, flags.0, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend_from_slice(payload);
    finish_ip(&mut frame[ip_at..], sequence as u16, 0);
    let tcp = &mut frame[tcp_at..];
    let length = u16::from_ne_bytes((tcp.len() as u16).to_be_bytes());
    let check = checksum(pseudo_sum(path, TCP) + sum(tcp) + u64::from(length));
    tcp[16..18].copy_from_slice(&check);
    frame
}

fn ethernet(path: &Path, out: &mut Vec<u8>) {
    out.extend(mac(path.destination));
    out.extend(mac(path.source));
    for (depth, vlan) in path.vlans.iter().enumerate() {
        // The outer of two tags is a service tag (802.1ad).
        let kind: u16 = if depth + 1 < path.vlans.len() {
            0x88a8
        } else {
            0x8100
        };
        out.extend(kind.to_be_bytes());
        out.extend((vlan & 0x0fff).to_be_bytes());
    }
    let kind: u16 = if path.source.is_ipv4() {
        0x0800
    } else {
        0x86dd
    };
    out.extend(kind.to_be_bytes());
}

/// A locally administered address made of the IP address's last four bytes.
fn mac(endpoint: Endpoint) -> [u8; 6] {
    let last = match endpoint.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => ((ip.to_bits() >> 64) as u32 ^ ip.to_bits() as u32).to_be_bytes(),
    };
    [2, 0, last[0], last[1], last[2], last[3]]
}

/// An IP header without lengths, identification and checksum.
fn ip(path: &Path, protocol: u8, out: &mut Vec<u8>) {
    match (path.source.ip(), path.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend([0x45, 0xb8, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0]);
            out.extend(source.octets());
            out.extend(destination.octets());
        }
        (source, destination) => {
            out.extend([0x6b, 0x80, 0, 0, 0, 0, protocol, 64]);
            out.extend(v6_octets(source));
            out.extend(v6_octets(destination));
        }
    }
}

fn v6_octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Length, and for IPv4 identification, flags with fragment offset, and checksum. `packet` starts at the IP header.
fn finish_ip(packet: &mut [u8], identification: u16, fragment: u16) {
    if packet[0] >> 4 == 6 {
        let length = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        return;
    }
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[4..6].copy_from_slice(&identification.to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet[10..12].copy_from_slice(&[0, 0]);
    let check = checksum(sum(&packet[..20]));
    packet[10..12].copy_from_slice(&check);
}

/// The pseudo-header without its length (RFC 768; RFC 8200 section 8.1).
fn pseudo_sum(path: &Path, protocol: u8) -> u64 {
    let addresses = match (path.source.ip(), path.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            sum(&source.octets()) + sum(&destination.octets())
        }
        (source, destination) => sum(&v6_octets(source)) + sum(&v6_octets(destination)),
    };
    addresses + sum(&[0, protocol])
}

/// Sum of 16-bit words in the machine's own byte order, four bytes at a time: the one's complement sum does not depend on
/// the order (RFC 1071 section 2).
fn sum(bytes: &[u8]) -> u64 {
    let mut quads = bytes.chunks_exact(4);
    let total: u64 = quads
        .by_ref()
        .map(|q| u64::from(u32::from_ne_bytes([q[0], q[1], q[2], q[3]])))
        .sum();
    let mut last = [0; 4];
    let rest = quads.remainder();
    last[..rest.len()].copy_from_slice(rest);
    total + u64::from(u32::from_ne_bytes(last))
}

/// The checksum's two bytes as they stand in a packet.
fn checksum(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use smallvec::smallvec;

    fn path(ipv6: bool, vlans: SmallVec<[u16; 2]>) -> Path {
        let (source, destination) = if ipv6 {
            (
                Endpoint::new("fd00:1::5".parse().unwrap(), 10_000),
                Endpoint::new("fd00:1::6".parse().unwrap(), 10_002),
            )
        } else {
            (
                Endpoint::v4([10, 1, 0, 5], 10_000),
                Endpoint::v4([10, 1, 0, 6], 10_002),
            )
        };
        Path {
            source,
            destination,
            vlans,
        }
    }

    fn assert_sound(frame: &[u8], payload: &[u8]) {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(TransportSlice::Udp(udp)) = packet.transport else {
            panic!("not UDP")
        };
        assert_eq!(udp.payload(), payload);
        let expected = match packet.net.unwrap() {
            NetSlice::Ipv4(ip) => {
                assert_eq!(
                    ip.header().header_checksum(),
                    ip.header().to_header().calc_header_checksum()
                );
                udp.to_header()
                    .calc_checksum_ipv4(&ip.header().to_header(), payload)
            }
            NetSlice::Ipv6(ip) => udp
                .to_header()
                .calc_checksum_ipv6(&ip.header().to_header(), payload),
            NetSlice::Arp(_) => panic!("ARP"),
        };
        assert_eq!(udp.checksum(), expected.unwrap());
    }

    #[test]
    fn udp_frames_parse_with_right_checksums() {
        for ipv6 in [false, true] {
            for vlans in [smallvec![], smallvec![5], smallvec![7, 9]] {
                for length in [0, 1, 2, 3, 172, 1001] {
                    let payload: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
                    let template = UdpTemplate::new(&path(ipv6, vlans.clone()));
                    let frames = template.fragments(77, &payload);
                    assert_eq!(frames.len(), 1);
                    assert_sound(&frames[0], &payload);
                }
            }
        }
    }

    #[test]
    fn fragments_of_a_long_datagram_add_up() {
        let payload: Vec<u8> = (0..4000).map(|i| (i % 251) as u8).collect();
        for ipv6 in [false, true] {
            let frames = UdpTemplate::new(&path(ipv6, smallvec![])).fragments(9, &payload);
            assert_eq!(frames.len(), 3);
            let mut whole = Vec::new();
            for frame in &frames {
                assert!(frame.len() <= 14 + MTU);
                let packet = SlicedPacket::from_ethernet(frame).unwrap();
                let part = packet.ip_payload().unwrap();
                assert!(part.fragmented);
                whole.extend_from_slice(part.payload);
            }
            assert_eq!(whole[8..], payload);
        }
    }

    #[test]
    fn tcp_segments_parse_with_right_checksums() {
        for ipv6 in [false, true] {
            let frame = tcp_frame(
                &path(ipv6, smallvec![3]),
                5,
                6,
                TcpFlags::PUSH_ACK,
                b"INVITE",
            );
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
                panic!("not TCP")
            };
            assert_eq!((tcp.sequence_number(), tcp.payload()), (5, &b"INVITE"[..]));
            let expected = match packet.net.unwrap() {
                NetSlice::Ipv4(ip) => tcp
                    .to_header()
                    .calc_checksum_ipv4(&ip.header().to_header(), b"INVITE"),
                NetSlice::Ipv6(ip) => tcp
                    .to_header()
                    .calc_checksum_ipv6(&ip.header().to_header(), b"INVITE"),
                NetSlice::Arp(_) => panic!("ARP"),
            };
            assert_eq!(tcp.checksum(), expected.unwrap());
        }
    }
}
