//! A call that is made up: two messages, the packets of both sides at their times, a BYE.

#![allow(dead_code, reason = "each test uses its part")]

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use callreel::base::{PerSide, Side, Timestamp};
use callreel::capture::PcapWriter;
use callreel::wire::LinkType;

/// From 1001 at 10.0.0.1 to 1002 at 10.0.0.2.
pub struct Call<'a> {
    /// What payload type 96 is.
    pub rtpmap: &'a str,
    pub fmtp: &'a str,
    /// Static payload types offered besides, each behind a space.
    pub others: &'a str,
    pub packets: PerSide<Vec<Packet>>,
    pub bye_ms: i64,
}

/// One of RTP.
#[derive(Clone)]
pub struct Packet {
    /// After the answer.
    pub at_ns: i64,
    pub number: u16,
    pub timestamp: u32,
    /// The first one behind silence.
    pub marker: bool,
    pub payload_type: u8,
    pub payload: Vec<u8>,
}

/// Packets one behind the other, each of `ticks` of a clock of `clock_hz`.
pub fn in_a_row(
    payloads: impl IntoIterator<Item = Vec<u8>>,
    ticks: u32,
    clock_hz: u32,
) -> Vec<Packet> {
    let packet = |(n, payload)| Packet::nth(n, ticks, clock_hz, payload);
    payloads.into_iter().enumerate().map(packet).collect()
}

impl Packet {
    /// The one that `n` others came before, all of `ticks`.
    pub fn nth(n: usize, ticks: u32, clock_hz: u32, payload: Vec<u8>) -> Packet {
        let timestamp = n as u32 * ticks;
        Packet {
            at_ns: i64::from(timestamp) * 1_000_000_000 / i64::from(clock_hz),
            number: n as u16,
            timestamp,
            marker: n == 0,
            payload_type: 96,
            payload,
        }
    }

    fn rtp(&self, side: Side) -> Vec<u8> {
        let ssrc: u32 = match side {
            Side::Caller => 0x8765_4321,
            Side::Callee => 0x1234_5678,
        };
        let mut rtp = vec![0x80, self.payload_type | u8::from(self.marker) << 7];
        rtp.extend(self.number.to_be_bytes());
        rtp.extend(self.timestamp.to_be_bytes());
        rtp.extend(ssrc.to_be_bytes());
        rtp.extend(&self.payload);
        rtp
    }
}

/// Last byte of the address, and port.
type Place = (u8, u16);

impl Call<'_> {
    pub fn write(&self, path: &Path) {
        let file = BufWriter::new(File::create(path).unwrap());
        let mut pcap = PcapWriter::new(file, LinkType::Ethernet).unwrap();
        let mut put = |at_ns: i64, (from, to): (Place, Place), payload: &[u8]| {
            let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([10, 0, 0, from.0], [10, 0, 0, to.0], 64)
                .udp(from.1, to.1);
            let mut frame = Vec::new();
            builder.write(&mut frame, payload).unwrap();
            let time = Timestamp::from_secs_nanos(1_800_000_000, at_ns);
            pcap.write(time, &frame, frame.len() as u32).unwrap();
        };
        let (there, back) = (((1, 5060), (2, 5060)), ((2, 5060), (1, 5060)));
        put(-20_000_000, there, self.invite().as_bytes());
        put(-10_000_000, back, self.answer().as_bytes());
        let mut packets: Vec<(Side, &Packet)> = Side::BOTH
            .into_iter()
            .flat_map(|side| self.packets[side].iter().map(move |packet| (side, packet)))
            .collect();
        packets.sort_by_key(|(_, packet)| packet.at_ns);
        for (side, packet) in packets {
            let way = match side {
                Side::Caller => ((1, 4000), (2, 5000)),
                Side::Callee => ((2, 5000), (1, 4000)),
            };
            put(packet.at_ns, way, &packet.rtp(side));
        }
        put(self.bye_ms * 1_000_000, there, self.bye().as_bytes());
        pcap.flush().unwrap();
    }

    fn invite(&self) -> String {
        let sdp = self.sdp(1, 4000);
        message("INVITE sip:1002@x SIP/2.0", "1 INVITE", "", &sdp)
    }

    fn answer(&self) -> String {
        message("SIP/2.0 200 OK", "1 INVITE", ";tag=b", &self.sdp(2, 5000))
    }

    fn bye(&self) -> String {
        message("BYE sip:1001@x SIP/2.0", "2 BYE", ";tag=b", "")
    }

    fn sdp(&self, host: u8, port: u16) -> String {
        let (map, others) = (self.rtpmap, self.others);
        let fmtp = match self.fmtp {
            "" => String::new(),
            fmtp => format!("a=fmtp:96 {fmtp}\r\n"),
        };
        format!(
            "v=0\r\no=- 1 1 IN IP4 10.0.0.{host}\r\ns=-\r\nc=IN IP4 10.0.0.{host}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 96{others}\r\na=rtpmap:96 {map}\r\n{fmtp}"
        )
    }
}

fn message(first: &str, cseq: &str, to_tag: &str, body: &str) -> String {
    format!(
        "{first}\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK{cseq}\r\nFrom: <sip:1001@x>;tag=a\r\n\
         To: <sip:1002@x>{to_tag}\r\nCall-ID: raw\r\nCSeq: {cseq}\r\nContact: <sip:c@10.0.0.1>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
