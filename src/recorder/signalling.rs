//! The messages of a call's dialog as a capture file: each as one datagram, with its addresses and its time, and without
//! credentials.
//!
//! They are kept in memory while the call lasts, at most [`MAX_KEPT_BYTES`] of all calls together, and written when its recording is
//! finished: after a crash there is no such file.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::{Endpoint, Timestamp};
use crate::directory::Digits;
use crate::engine::control::{PauseSpan, pauses};
use crate::engine::event::{CallInfo, SignallingMessage};
use crate::sip::redact;
use crate::wire::LinkType;

/// Bytes of messages that wait for the end of their calls, of all calls together; what comes when it is full is counted.
pub const MAX_KEPT_BYTES: u64 = 128 << 20;
/// Longest message that fits one datagram of either family.
const MAX_MESSAGE: usize = 65_000;
/// Longest packet that the file can hold.
const SNAPLEN: u32 = 262_144;

/// The messages of one call, as they came.
#[derive(Debug, Default)]
pub struct Messages {
    messages: Vec<SignallingMessage>,
    bytes: u64,
    omitted: u64,
    /// What all calls have.
    kept: Arc<AtomicU64>,
}

/// A capture file, ready to be written.
#[derive(Debug)]
pub struct CaptureBytes {
    pub bytes: Vec<u8>,
    pub messages: u64,
    pub omitted: u64,
}

impl Messages {
    pub fn new(kept: &Arc<AtomicU64>) -> Messages {
        Messages {
            messages: Vec::new(),
            bytes: 0,
            omitted: 0,
            kept: kept.clone(),
        }
    }

    /// Keeps a message, or counts it.
    pub fn push(&mut self, message: SignallingMessage) {
        let len = message.bytes.len() as u64;
        let fits = self.kept.load(Ordering::Relaxed) + len <= MAX_KEPT_BYTES;
        if !fits || message.bytes.len() > MAX_MESSAGE {
            self.omitted += 1;
            return;
        }
        self.kept.fetch_add(len, Ordering::Relaxed);
        self.bytes += len;
        self.messages.push(message);
    }

    /// The file of a tenant that has its digits masked or kept. Digits of a pause are never kept.
    pub fn capture(
        &self,
        info: &CallInfo,
        digits: Digits,
        until: Option<Timestamp>,
    ) -> Option<CaptureBytes> {
        if self.messages.is_empty() {
            return None;
        }
        let pauses = pauses(&info.control);
        let mut file = file_header();
        let (mut messages, mut omitted) = (0, self.omitted);
        let own = |at: Timestamp| until.is_none_or(|until| at < until);
        for message in self.messages.iter().filter(|message| own(message.at)) {
            let mask = digits == Digits::Mask || is_paused(&pauses, message.at);
            let text = redact(&message.bytes, mask);
            let (source, destination) = (message.flow.source, message.flow.destination);
            match text.len() <= MAX_MESSAGE {
                true => {
                    packet(&mut file, message.at, source, destination, &text);
                    messages += 1;
                }
                false => omitted += 1,
            }
        }
        Some(CaptureBytes {
            bytes: file,
            messages,
            omitted,
        })
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.kept.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn is_paused(pauses: &[PauseSpan], at: Timestamp) -> bool {
    pauses.iter().any(|pause| pause.holds(at))
}

/// Of a capture file of IP packets with nanoseconds, little endian.
fn file_header() -> Vec<u8> {
    let fields: [u32; 6] = [
        0xa1b2_3c4d,
        2 | 4 << 16,
        0,
        0,
        SNAPLEN,
        LinkType::RawIp.dlt(),
    ];
    fields
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect()
}

fn packet(file: &mut Vec<u8>, at: Timestamp, from: Endpoint, to: Endpoint, payload: &[u8]) {
    let nanos = at.as_nanos().max(0);
    let ip = datagram(from, to, payload);
    let fields = [
        u32::try_from(nanos / 1_000_000_000).unwrap_or(u32::MAX),
        (nanos % 1_000_000_000) as u32,
        ip.len() as u32,
        ip.len() as u32,
    ];
    file.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
    file.extend_from_slice(&ip);
}

/// An IPv4 or IPv6 packet with one UDP datagram (RFC 768, 791, 8200).
fn datagram(from: Endpoint, to: Endpoint, payload: &[u8]) -> Vec<u8> {
    let udp_len = 8 + payload.len() as u16;
    let mut udp = Vec::with_capacity(usize::from(udp_len));
    udp.extend(from.port.to_be_bytes());
    udp.extend(to.port.to_be_bytes());
    udp.extend(udp_len.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend_from_slice(payload);
    let mut packet = Vec::with_capacity(40 + udp.len());
    let addresses = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x45, 0]);
            packet.extend((20 + udp_len).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum(sum(&packet));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet[12..20].to_vec()
        }
        (from, to) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(udp_len.to_be_bytes());
            packet.extend([17, 64]);
            packet.extend(octets(from));
            packet.extend(octets(to));
            packet[8..40].to_vec()
        }
    };
    let pseudo = sum(&addresses) + 17 + u64::from(udp_len);
    let sum = match checksum(pseudo + sum(&udp)) {
        // Zero says that there is none.
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&udp);
    packet
}

/// Sum of 16-bit words (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    words.sum()
}

fn checksum(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Flow;

    #[test]
    fn packets_are_whole_in_both_families() {
        for (from, to) in [
            (
                Endpoint::v4([10, 0, 0, 1], 5060),
                Endpoint::v4([10, 0, 0, 2], 5061),
            ),
            (
                Endpoint::new("2001:db8::1".parse().unwrap(), 5060),
                Endpoint::new("2001:db8::2".parse().unwrap(), 40_000),
            ),
        ] {
            let packet = datagram(from, to, b"OPTIONS x");
            let read = etherparse::SlicedPacket::from_ip(&packet).unwrap();
            let Some(etherparse::TransportSlice::Udp(udp)) = read.transport else {
                panic!("it is UDP");
            };
            assert_eq!(
                (udp.source_port(), udp.destination_port(), udp.payload()),
                (from.port, to.port, b"OPTIONS x".as_slice())
            );
            let right = match read.net.unwrap() {
                etherparse::NetSlice::Ipv4(ip) => {
                    let header = ip.header().to_header();
                    assert_eq!(header.header_checksum, header.calc_header_checksum());
                    udp.to_header().calc_checksum_ipv4(&header, udp.payload())
                }
                etherparse::NetSlice::Ipv6(ip) => {
                    let header = ip.header().to_header();
                    udp.to_header().calc_checksum_ipv6(&header, udp.payload())
                }
                _ => panic!("it is IP"),
            };
            assert_eq!(udp.checksum(), right.unwrap());
        }
    }

    #[test]
    fn what_waits_is_bounded_over_all_calls() {
        let kept = Arc::new(AtomicU64::new(MAX_KEPT_BYTES - 10));
        let message = |len: usize| SignallingMessage {
            at: Timestamp::default(),
            flow: Flow::default(),
            bytes: vec![b'x'; len].into(),
        };
        let mut messages = Messages::new(&kept);
        messages.push(message(8));
        messages.push(message(8));
        assert_eq!((messages.messages.len(), messages.omitted), (1, 1));
        drop(messages);
        assert_eq!(kept.load(Ordering::Relaxed), MAX_KEPT_BYTES - 10);
    }
}
