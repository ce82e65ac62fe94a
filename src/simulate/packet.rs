//! RTP and RTCP packets (RFC 3550), telephone-events (RFC 4733), comfort noise (RFC 3389).

use std::cmp::Ordering;

use super::{Codec, Voice};

/// A packet under way: everything that its bytes are made from when it arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// When it arrives.
    pub time: i64,
    /// Tells packets of the same time apart: the one made first goes first.
    pub order: u32,
    pub sequence: u16,
    pub payload_type: u8,
    pub marker: bool,
    pub timestamp: u32,
    pub ssrc: u32,
    pub body: Body,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    Audio {
        codec: Codec,
        position: u64,
        samples: u32,
    },
    Digit {
        event: u8,
        is_end: bool,
        duration: u16,
    },
    /// The level is in -dBov.
    ComfortNoise { level: u8 },
    /// A sender report with what was sent so far.
    Report { packets: u32, octets: u32 },
}

impl Packet {
    fn key(&self) -> (i64, u32) {
        (self.time, self.order)
    }
}

impl PartialEq for Packet {
    fn eq(&self, other: &Packet) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Packet) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    fn cmp(&self, other: &Packet) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Appends the packet's bytes. `scratch` is room for samples.
pub(super) fn write_packet(
    packet: &Packet,
    voice: &Voice,
    scratch: &mut Vec<i16>,
    out: &mut Vec<u8>,
) {
    if let Body::Report { packets, octets } = packet.body {
        return write_report(packet, packets, octets, out);
    }
    let mut header = [
        0x80,
        u8::from(packet.marker) << 7 | packet.payload_type,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    header[2..4].copy_from_slice(&packet.sequence.to_be_bytes());
    header[4..8].copy_from_slice(&packet.timestamp.to_be_bytes());
    header[8..].copy_from_slice(&packet.ssrc.to_be_bytes());
    out.extend_from_slice(&header);
    match packet.body {
        Body::Audio {
            codec,
            position,
            samples,
        } => {
            scratch.resize(samples as usize, 0);
            voice.fill(position, scratch);
            codec.encode(scratch, out);
        }
        Body::Digit {
            event,
            is_end,
            duration,
        } => {
            out.extend([event, u8::from(is_end) << 7 | 10]);
            out.extend(duration.to_be_bytes());
        }
        Body::ComfortNoise { level } => out.push(level),
        Body::Report { .. } => {}
    }
}

/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_EPOCH: i64 = 2_208_988_800;

/// A sender report without report blocks and a source description with a CNAME (RFC 3550 sections 6.4.1 and 6.5).
fn write_report(packet: &Packet, packets: u32, octets: u32, out: &mut Vec<u8>) {
    let seconds = packet.time.div_euclid(1_000_000_000) + NTP_EPOCH;
    let fraction = ((packet.time.rem_euclid(1_000_000_000) as u64) << 32) / 1_000_000_000;
    out.extend([0x80, 200, 0, 6]);
    for word in [
        packet.ssrc,
        seconds as u32,
        fraction as u32,
        packet.timestamp,
        packets,
        octets,
    ] {
        out.extend(word.to_be_bytes());
    }
    out.extend([0x81, 202, 0, 4]);
    out.extend(packet.ssrc.to_be_bytes());
    out.extend(b"\x01\x08callreel\0\0");
}
