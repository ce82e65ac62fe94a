//! Two phones, each with a port for SIP and one for media, and the frames they send.

use callreel::base::{Side, Timestamp};

use super::Frame;

/// An IPv4 address and a port.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Address(pub [u8; 4], pub u16);

#[derive(Clone, Debug)]
pub struct Phones {
    pub call_id: String,
    pub caller: String,
    pub callee: String,
    /// Of the caller.
    pub display: String,
    pub caller_tag: String,
    pub number: u32,
}

impl Phones {
    /// Numbers up to 65,535 give phones of their own.
    pub fn new(call_id: &str, number: u32) -> Phones {
        Phones {
            call_id: call_id.into(),
            caller: "1001".into(),
            callee: "1002".into(),
            display: "Alice".into(),
            caller_tag: format!("a{number}"),
            number,
        }
    }

    fn address(&self, side: Side, port: u16) -> Address {
        let [_, _, high, low] = self.number.to_be_bytes();
        Address([10, high, low, 1 + side as u8], port)
    }

    pub fn media(&self, side: Side) -> Address {
        self.address(side, 20_000 + 2 * (self.number % 10_000) as u16)
    }

    /// A call in which both sides send so many packets of 20 ms, each with a payload of its own.
    pub fn call(&self, start: Timestamp, packets: u32) -> Vec<Frame> {
        let mut frames = self.signalling(start, i64::from(packets) * 20 + 100);
        for n in 0..packets {
            for side in Side::BOTH {
                let payload: Vec<u8> = (0..160u32)
                    .map(|i| (n * 7 + i * 13 + self.number * 31 + side as u32 * 5) as u8)
                    .collect();
                let ssrc = self.number * 2 + side as u32 + 1000;
                let time = after(start, 40 + i64::from(n) * 20);
                frames.push(self.rtp(time, side, (0, n as u16, n * 160, ssrc), &payload));
            }
        }
        frames
    }

    /// INVITE, 200 after 20 ms, ACK, and BYE after `length_ms`.
    pub fn signalling(&self, start: Timestamp, length_ms: i64) -> Vec<Frame> {
        vec![
            self.invite(start),
            self.ok(after(start, 20), Side::Caller, 1, &self.sdp(Side::Callee)),
            self.in_dialog(after(start, 25), Side::Caller, "ACK", 1, ""),
            self.in_dialog(after(start, length_ms), Side::Caller, "BYE", 99_999, ""),
        ]
    }

    pub fn invite(&self, time: Timestamp) -> Frame {
        self.invite_with(time, &self.sdp(Side::Caller))
    }

    pub fn invite_with(&self, time: Timestamp, body: &str) -> Frame {
        let start = format!("INVITE sip:{}@example SIP/2.0", self.callee);
        self.message(
            time,
            Side::Caller,
            Side::Caller,
            &start,
            "",
            (1, "INVITE"),
            body,
        )
    }

    pub fn ringing(&self, time: Timestamp, tag: &str, body: &str) -> Frame {
        let start = "SIP/2.0 183 Session Progress";
        self.message(
            time,
            Side::Callee,
            Side::Caller,
            start,
            tag,
            (1, "INVITE"),
            body,
        )
    }

    /// The 200 to an INVITE of `requester`.
    pub fn ok(&self, time: Timestamp, requester: Side, number: u32, body: &str) -> Frame {
        self.message(
            time,
            requester.other(),
            requester,
            "SIP/2.0 200 OK",
            "b",
            (number, "INVITE"),
            body,
        )
    }

    pub fn in_dialog(
        &self,
        time: Timestamp,
        by: Side,
        method: &str,
        number: u32,
        body: &str,
    ) -> Frame {
        let start = format!("{method} sip:{}@example SIP/2.0", self.callee);
        self.message(time, by, by, &start, "b", (number, method), body)
    }

    pub fn sdp_at(&self, media: Address) -> String {
        description(media)
    }

    pub fn sdp(&self, side: Side) -> String {
        description(self.media(side))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a SIP message")]
    fn message(
        &self,
        time: Timestamp,
        sender: Side,
        requester: Side,
        start: &str,
        callee_tag: &str,
        (number, method): (u32, &str),
        body: &str,
    ) -> Frame {
        let caller = format!(
            "\"{}\" <sip:{}@example>;tag={}",
            self.display, self.caller, self.caller_tag
        );
        let mut callee = format!("<sip:{}@example>", self.callee);
        if !callee_tag.is_empty() {
            callee += &format!(";tag={callee_tag}");
        }
        let (from, to) = match requester {
            Side::Caller => (caller, callee),
            Side::Callee => (callee, caller),
        };
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP host;branch=z9hG4bK{}{number}{method}\r\nFrom: {from}\r\nTo: {to}\r\n\
             Call-ID: {}\r\nCSeq: {number} {method}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.caller_tag,
            self.call_id,
            body.len()
        );
        udp(
            time,
            self.address(sender, 5060),
            self.address(sender.other(), 5060),
            text.as_bytes(),
        )
    }

    /// One packet of `sender`: payload type, sequence number, timestamp and SSRC as given.
    pub fn rtp(
        &self,
        time: Timestamp,
        sender: Side,
        header: (u8, u16, u32, u32),
        payload: &[u8],
    ) -> Frame {
        rtp_frame(
            time,
            self.media(sender),
            self.media(sender.other()),
            header,
            payload,
        )
    }
}

fn description(Address([a, b, c, d], port): Address) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {a}.{b}.{c}.{d}\r\ns=-\r\nc=IN IP4 {a}.{b}.{c}.{d}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 8 13 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
    )
}

fn after(start: Timestamp, ms: i64) -> Timestamp {
    Timestamp::from_nanos(start.as_nanos() + ms * 1_000_000)
}

pub fn rtp_frame(
    time: Timestamp,
    from: Address,
    to: Address,
    (kind, sequence, timestamp, ssrc): (u8, u16, u32, u32),
    payload: &[u8],
) -> Frame {
    let mut packet = vec![0x80, kind];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    udp(time, from, to, &packet)
}

/// One packet of a stream that nobody announced.
pub fn stray_rtp(time: Timestamp, from: [u8; 4], to: [u8; 4], ssrc: u32) -> Frame {
    rtp_frame(
        time,
        Address(from, 30_000),
        Address(to, 30_000),
        (0, 1, 1, ssrc),
        &[0x55; 20],
    )
}

/// An Ethernet frame with an IPv4 packet with a UDP datagram. Checksums are left out.
pub fn udp(time: Timestamp, from: Address, to: Address, payload: &[u8]) -> Frame {
    let length = u16::try_from(payload.len() + 8).expect("a datagram that IP can hold");
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    bytes.extend((length + 20).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    bytes.extend(from.0);
    bytes.extend(to.0);
    bytes.extend(from.1.to_be_bytes());
    bytes.extend(to.1.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend_from_slice(payload);
    Frame { time, bytes }
}
