//! The file of packets beside a recording: audio that could not be decoded, as it came.
//!
//! A pcap file (nanoseconds, Ethernet) that any tool reads. Addresses, ports and the RTP header are those of the wire; frame,
//! IP and UDP headers are made anew. The time of a packet is the time of its place on the recording's timeline, so that the
//! place is recovered to the sample: `place = round((time - started_at) * sample_rate_hz)`. The source address of the frame
//! says whose packet it is: `02:00:00:00:00:01` is the caller, `…:02` the callee.

use std::io::{BufReader, ErrorKind, Read};

use super::file::Reader;
use super::{Error, StoredFile};
use crate::base::{Endpoint, Side, Timestamp};

/// Bytes before the first packet.
pub const RAW_HEADER_LEN: u64 = 24;
const RECORD_LEN: usize = 16;
const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
const RTP_LEN: usize = 12;
/// The longest frame that is written, and read.
const MAX_FRAME: usize = ETHERNET_LEN + IPV6_LEN + 65_535;

/// One packet with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawPacket<'a> {
    /// Samples from the start of the recording.
    pub position: i64,
    pub side: Side,
    pub source: Endpoint,
    pub destination: Endpoint,
    pub ssrc: u32,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: &'a [u8],
}

/// Between places on a timeline and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawScale {
    pub start: Timestamp,
    /// Of the recording; 1 to 48,000, so that places are further apart than nanoseconds.
    pub sample_rate_hz: u32,
}

const SECOND: i128 = 1_000_000_000;

impl RawScale {
    /// The two fields of a pcap record. Seconds are cut to 32 bits, which [`RawScale::position`] takes into account.
    fn time(self, position: i64) -> (u32, u32) {
        let rate = i128::from(self.sample_rate_hz.max(1));
        let since = (i128::from(position) * SECOND + rate / 2).div_euclid(rate);
        let at = i128::from(self.start.as_nanos()) + since;
        (at.div_euclid(SECOND) as u32, at.rem_euclid(SECOND) as u32)
    }

    fn position(self, seconds: u32, nanos: u32) -> i64 {
        let start = i128::from(self.start.as_nanos());
        let seconds = seconds.wrapping_sub(start.div_euclid(SECOND) as u32);
        let since = i128::from(seconds) * SECOND + i128::from(nanos) - start.rem_euclid(SECOND);
        let scaled = since * i128::from(self.sample_rate_hz);
        (scaled + SECOND / 2).div_euclid(SECOND) as i64
    }
}

/// What a file begins with.
pub fn raw_header() -> [u8; RAW_HEADER_LEN as usize] {
    let mut header = [0; RAW_HEADER_LEN as usize];
    header[..4].copy_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
    header[4..6].copy_from_slice(&2u16.to_le_bytes());
    header[6..8].copy_from_slice(&4u16.to_le_bytes());
    header[16..20].copy_from_slice(&(MAX_FRAME as u32).to_le_bytes());
    header[20] = 1;
    header
}

impl RawPacket<'_> {
    /// Appends the packet as a record of the file; `false`, and nothing, when it is longer than any datagram.
    pub fn encode(&self, scale: RawScale, out: &mut Vec<u8>) -> bool {
        let udp_len = UDP_LEN + RTP_LEN + self.payload.len();
        let v4 = self.source.is_ipv4() && self.destination.is_ipv4();
        let ip_len = if v4 { IPV4_LEN } else { IPV6_LEN };
        if udp_len + IPV4_LEN > usize::from(u16::MAX) {
            return false;
        }
        let (seconds, nanos) = scale.time(self.position);
        let frame_len = (ETHERNET_LEN + ip_len + udp_len) as u32;
        for field in [seconds, nanos, frame_len, frame_len] {
            out.extend(field.to_le_bytes());
        }
        out.extend([2, 0, 0, 0, 0, address_byte(self.side.other())]);
        out.extend([2, 0, 0, 0, 0, address_byte(self.side)]);
        let ip_at = out.len() + 2;
        if v4 {
            self.ipv4(udp_len, out);
        } else {
            self.ipv6(udp_len, out);
        }
        let udp_at = out.len();
        out.extend(self.source.port.to_be_bytes());
        out.extend(self.destination.port.to_be_bytes());
        out.extend((udp_len as u16).to_be_bytes());
        out.extend([0; 2]);
        out.push(0x80);
        out.push(self.payload_type & 0x7f | u8::from(self.marker) << 7);
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        out.extend(self.payload);
        let addresses = if v4 { 12..20 } else { 8..40 };
        let mut sum = checksum(&out[ip_at + addresses.start..ip_at + addresses.end], 0);
        sum = checksum(&out[udp_at..], sum + 17 + udp_len as u32);
        let sum = match !folded(sum) {
            // 0 would mean that there is none (RFC 768).
            0 => 0xffff,
            sum => sum,
        };
        out[udp_at + 6..udp_at + 8].copy_from_slice(&sum.to_be_bytes());
        true
    }

    fn ipv4(&self, udp_len: usize, out: &mut Vec<u8>) {
        out.extend([0x08, 0x00]);
        let at = out.len();
        out.extend([0x45, 0]);
        out.extend(((IPV4_LEN + udp_len) as u16).to_be_bytes());
        // Do not fragment, 64 hops, UDP.
        out.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        for endpoint in [self.source, self.destination] {
            if let std::net::IpAddr::V4(ip) = endpoint.ip() {
                out.extend(ip.octets());
            }
        }
        let sum = !folded(checksum(&out[at..], 0));
        out[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
    }

    fn ipv6(&self, udp_len: usize, out: &mut Vec<u8>) {
        out.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        out.extend((udp_len as u16).to_be_bytes());
        out.extend([17, 64]);
        for endpoint in [self.source, self.destination] {
            out.extend(match endpoint.ip() {
                std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                std::net::IpAddr::V6(ip) => ip.octets(),
            });
        }
    }
}

fn address_byte(side: Side) -> u8 {
    match side {
        Side::Caller => 1,
        Side::Callee => 2,
    }
}

/// RFC 1071, not folded.
fn checksum(bytes: &[u8], mut sum: u32) -> u32 {
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    sum
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Reads a file of packets from its beginning. What is not as [`RawPacket::encode`] writes it ends the file.
#[derive(Debug)]
pub struct RawReader<R> {
    input: R,
    scale: RawScale,
    frame: Vec<u8>,
    /// Bytes of the file that were whole packets, its header included.
    whole: u64,
}

impl<'a> RawReader<BufReader<Reader<'a>>> {
    pub fn of(file: &'a StoredFile, scale: RawScale) -> Result<Self, Error> {
        RawReader::new(BufReader::with_capacity(256 << 10, file.reader()), scale)
            .map_err(Error::io("read", file.path()))
    }
}

impl<R: Read> RawReader<R> {
    /// # Errors
    /// When there is no header, or another one.
    pub fn new(mut input: R, scale: RawScale) -> std::io::Result<Self> {
        let mut header = [0; RAW_HEADER_LEN as usize];
        input.read_exact(&mut header)?;
        if header != raw_header() {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(RawReader {
            input,
            scale,
            frame: Vec::new(),
            whole: RAW_HEADER_LEN,
        })
    }

    /// Bytes from the beginning of the file to the end of the last packet that was given.
    pub fn whole_bytes(&self) -> u64 {
        self.whole
    }

    /// The next packet; `None` at the end, or where the file is cut or damaged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_packet(&mut self) -> std::io::Result<Option<RawPacket<'_>>> {
        let mut record = [0; RECORD_LEN];
        match self.input.read_exact(&mut record) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let field = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| record[at + n]));
        let (seconds, nanos, len) = (field(0), field(4), field(8) as usize);
        if len > MAX_FRAME || field(12) as usize != len || i128::from(nanos) >= SECOND {
            return Ok(None);
        }
        self.frame.resize(len, 0);
        match self.input.read_exact(&mut self.frame) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let packet = parse(&self.frame, self.scale.position(seconds, nanos));
        if packet.is_some() {
            self.whole += (RECORD_LEN + len) as u64;
        }
        Ok(packet)
    }
}

/// A frame as [`RawPacket::encode`] makes it.
fn parse(frame: &[u8], position: i64) -> Option<RawPacket<'_>> {
    let (ethernet, ip) = frame.split_first_chunk::<ETHERNET_LEN>()?;
    let side = match ethernet[11] {
        1 => Side::Caller,
        2 => Side::Callee,
        _ => return None,
    };
    let (source, destination, udp) = match (ethernet[12], ethernet[13]) {
        (0x08, 0x00) => {
            let (header, udp) = ip.split_first_chunk::<IPV4_LEN>()?;
            let address = |at: usize| Endpoint::v4([0, 1, 2, 3].map(|n| header[at + n]), 0);
            (address(12), address(16), udp)
        }
        (0x86, 0xdd) => {
            let (header, udp) = ip.split_first_chunk::<IPV6_LEN>()?;
            let address = |at: usize| Endpoint::v6(std::array::from_fn(|n| header[at + n]), 0);
            (address(8), address(24), udp)
        }
        _ => return None,
    };
    let (udp, rtp) = udp.split_first_chunk::<UDP_LEN>()?;
    let (rtp, payload) = rtp.split_first_chunk::<RTP_LEN>()?;
    let long = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| rtp[at + n]));
    Some(RawPacket {
        position,
        side,
        source: source.with_port(u16::from_be_bytes([udp[0], udp[1]])),
        destination: destination.with_port(u16::from_be_bytes([udp[2], udp[3]])),
        ssrc: long(8),
        payload_type: rtp[1] & 0x7f,
        sequence: u16::from_be_bytes([rtp[2], rtp[3]]),
        timestamp: long(4),
        marker: rtp[1] & 0x80 != 0,
        payload,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(payload: &[u8]) -> RawPacket<'_> {
        RawPacket {
            position: 160,
            side: Side::Callee,
            source: Endpoint::v4([10, 0, 2, 15], 25_256),
            destination: Endpoint::v4([10, 0, 2, 20], 6000),
            ssrc: 0xdead_beef,
            payload_type: 99,
            sequence: 7,
            timestamp: 0x0102_0304,
            marker: true,
            payload,
        }
    }

    const SCALE: RawScale = RawScale {
        start: Timestamp::from_secs_nanos(1_800_000_000, 123_456_789),
        sample_rate_hz: 8000,
    };

    #[test]
    fn a_capture_reader_finds_the_packet_as_it_was_sent() {
        for source in ["10.0.2.15", "2001:db8::15"] {
            let sent = RawPacket {
                source: Endpoint::new(source.parse().unwrap(), 25_256),
                ..packet(b"some payload, odd")
            };
            let mut file = raw_header().to_vec();
            assert!(sent.encode(SCALE, &mut file));
            let frame = &file[RAW_HEADER_LEN as usize + RECORD_LEN..];
            let sliced = etherparse::SlicedPacket::from_ethernet(frame).unwrap();
            let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else {
                panic!("it is UDP");
            };
            assert_eq!((udp.source_port(), udp.destination_port()), (25_256, 6000));
            let (checksum, header) = (udp.checksum(), udp.to_header());
            let right = match sliced.net.unwrap() {
                etherparse::NetSlice::Ipv4(ip) => {
                    let header = ip.header().to_header();
                    assert_eq!(header.header_checksum, header.calc_header_checksum());
                    udp.to_header().calc_checksum_ipv4(&header, udp.payload())
                }
                etherparse::NetSlice::Ipv6(ip) => {
                    header.calc_checksum_ipv6(&ip.header().to_header(), udp.payload())
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(checksum, right.unwrap());
            assert_eq!(&udp.payload()[..4], [0x80, 99 | 0x80, 0, 7]);
            assert_eq!(&udp.payload()[4..8], [1, 2, 3, 4]);
            assert_eq!(&udp.payload()[12..], b"some payload, odd");
        }
    }

    #[test]
    fn a_payload_that_fits_no_datagram_is_refused() {
        let mut file = Vec::new();
        assert!(!packet(&vec![0; 65_496]).encode(SCALE, &mut file));
        assert!(file.is_empty());
        assert!(packet(&vec![0; 65_495]).encode(SCALE, &mut file));
    }

    proptest! {
        #[test]
        fn places_and_packets_come_back(
            position in 0i64..1 << 40,
            start in any::<i32>(),
            nanos in 0i64..1_000_000_000,
            rate in prop::sample::select(vec![8000u32, 11_025, 16_000, 44_100, 48_000]),
            ipv6 in any::<[u8; 16]>(),
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            six in any::<bool>(),
        ) {
            // 2³² seconds are the range of the file format.
            prop_assume!(position / i64::from(rate) < 1 << 31);
            let scale = RawScale {
                start: Timestamp::from_secs_nanos(i64::from(start), nanos),
                sample_rate_hz: rate,
            };
            let mut sent = RawPacket { position, ..packet(&payload) };
            if six {
                sent.destination = Endpoint::v6(ipv6, 9);
            }
            let mut file = raw_header().to_vec();
            prop_assert!(sent.encode(scale, &mut file));
            let len = file.len() as u64;
            let second = RawPacket { position: position + 1, ..sent };
            prop_assert!(second.encode(scale, &mut file));
            file.truncate(file.len() - 1);
            let mut reader = RawReader::new(&file[..], scale).unwrap();
            let found = reader.next_packet().unwrap();
            // An address of IPv4 among those of IPv6 is one of IPv4 again.
            prop_assert_eq!(found, Some(sent));
            prop_assert_eq!(reader.next_packet().unwrap(), None);
            prop_assert_eq!(reader.whole_bytes(), len);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = raw_header().to_vec();
            file.extend(bytes);
            let mut reader = RawReader::new(&file[..], SCALE).unwrap();
            while reader.next_packet().unwrap().is_some() {}
            prop_assert!(reader.whole_bytes() <= file.len() as u64);
        }
    }
}
