//! SIP messages and SDP as text (RFC 3261, RFC 8866).

use std::fmt::{self, Display, Write};
use std::net::IpAddr;

use super::Codec;
use super::plan::{CallPlan, Party};
use super::script::{Message, MessageKind, Sdp};
use super::secrecy;
use crate::base::{Endpoint, Side};

/// Payload types of telephone-event and of comfort noise at 16 kHz.
pub(super) const EVENT_TYPE: u8 = 101;
pub(super) const WIDE_NOISE_TYPE: u8 = 105;

/// Header lines of this many bytes in all make an INVITE that no frame holds.
const FILLER_LINES: usize = 45;

/// The message as `sender` writes it.
pub(super) fn write_message(plan: &CallPlan, sender: Side, message: &Message) -> String {
    let mut text = String::with_capacity(1024);
    let body = message
        .sdp
        .map_or_else(String::new, |sdp| sdp_body(plan, sender, &sdp));
    // Writing to a String does not fail.
    let _ = write_head(&mut text, plan, sender, message, body.len());
    text.push_str(&body);
    text
}

fn write_head(
    out: &mut String,
    plan: &CallPlan,
    sender: Side,
    message: &Message,
    body_bytes: usize,
) -> fmt::Result {
    let is_request = message.kind == MessageKind::Request;
    let requester = if is_request { sender } else { sender.other() };
    let (from, to) = (&plan.parties[requester], &plan.parties[requester.other()]);
    let (method, cseq) = (message.method, message.cseq);
    match message.kind {
        MessageKind::Request => {
            let target = Address(to.described);
            write!(out, "{method} sip:{}@{target} SIP/2.0\r\n", to.number)?;
        }
        MessageKind::Response(status, reason) => write!(out, "SIP/2.0 {status} {reason}\r\n")?,
    }
    write_via(out, plan, from, message)?;
    write!(
        out,
        "From: \"{0}\" <sip:{0}@{1}>;tag={2}\r\n",
        from.number, from.domain, from.tag
    )?;
    write!(out, "To: <sip:{}@{}>", to.number, to.domain)?;
    if message.in_dialog {
        write!(out, ";tag={}", to.tag)?;
    }
    write!(
        out,
        "\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n",
        plan.sip_call_id
    )?;
    if method == "INVITE" && message.kind != MessageKind::Response(100, "Trying") {
        let own = &plan.parties[sender];
        let suffix = if plan.traits.tcp {
            ";transport=tcp"
        } else {
            ""
        };
        write!(
            out,
            "Contact: <sip:{}@{}{suffix}>\r\n",
            own.number,
            Address(own.described)
        )?;
        out.push_str("Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n");
    }
    out.push_str("User-Agent: callreel simulate\r\n");
    if is_request && method == "INVITE" && !message.in_dialog && plan.traits.fragments {
        for line in 0..FILLER_LINES {
            write!(
                out,
                "X-Filler-{line:02}: {}\r\n",
                "of no meaning but length ".repeat(3)
            )?;
        }
    }
    if body_bytes > 0 {
        out.push_str("Content-Type: application/sdp\r\n");
    }
    write!(out, "Content-Length: {body_bytes}\r\n\r\n")
}

/// The request's Via; in a response with where the request came from (RFC 3581 section 4).
fn write_via(out: &mut String, plan: &CallPlan, from: &Party, message: &Message) -> fmt::Result {
    let transport = if plan.traits.tcp { "TCP" } else { "UDP" };
    write!(out, "Via: SIP/2.0/{transport} {}", Address(from.described))?;
    write!(
        out,
        ";branch=z9hG4bK{:012x}{:02}",
        plan.seed >> 16,
        message.transaction
    )?;
    if message.kind == MessageKind::Request {
        return write!(out, ";rport\r\nMax-Forwards: 70\r\n");
    }
    let seen = from.signalling;
    write!(out, ";received={};rport={}\r\n", seen.ip(), seen.port)
}

fn sdp_body(plan: &CallPlan, of: Side, sdp: &Sdp) -> String {
    let mut out = String::with_capacity(400);
    let _ = write_sdp(&mut out, plan, of, sdp);
    out
}

fn write_sdp(out: &mut String, plan: &CallPlan, of: Side, sdp: &Sdp) -> fmt::Result {
    let media = plan.parties[of].described_media;
    let ip = media.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let session = plan.seed as u32;
    write!(
        out,
        "v=0\r\no=- {session} {} IN {family} {ip}\r\ns=-\r\n",
        sdp.version
    )?;
    match (sdp.zero_address, ip) {
        (true, IpAddr::V4(_)) => out.push_str("c=IN IP4 0.0.0.0\r\n"),
        (true, IpAddr::V6(_)) => out.push_str("c=IN IP6 ::\r\n"),
        (false, _) => write!(out, "c=IN {family} {ip}\r\n")?,
    }
    let profile = if plan.srtp.is_some() { "SAVP" } else { "AVP" };
    write!(out, "t=0 0\r\nm=audio {} RTP/{profile}", media.port)?;
    let formats = formats(plan, sdp);
    formats
        .iter()
        .try_for_each(|format| write!(out, " {}", format.payload_type))?;
    out.push_str("\r\n");
    for format in &formats {
        write!(
            out,
            "a=rtpmap:{} {}/{}\r\n",
            format.payload_type, format.encoding, format.rate
        )?;
    }
    write!(
        out,
        "a=fmtp:{EVENT_TYPE} 0-15\r\na=ptime:{}\r\n",
        plan.ptime_ms
    )?;
    if plan.traits.rtcp && plan.traits.rtcp_mux {
        out.push_str("a=rtcp-mux\r\n");
    }
    if let Some(suite) = plan.srtp {
        let key = secrecy::key_text(suite, plan.seed, of);
        write!(out, "a=crypto:1 {suite} inline:{key}\r\n")?;
    }
    write!(out, "a={}\r\n", sdp.direction)
}

struct Format {
    payload_type: u8,
    encoding: &'static str,
    rate: u32,
}

/// The codec first; in an offer, one more that nobody takes; then comfort noise, then telephone-event.
fn formats(plan: &CallPlan, sdp: &Sdp) -> Vec<Format> {
    let audio = |codec: Codec| Format {
        payload_type: codec.payload_type(),
        encoding: codec.encoding(),
        rate: codec.clock_rate_hz(),
    };
    let rate = sdp.codec.clock_rate_hz();
    let mut formats = vec![audio(sdp.codec)];
    if sdp.is_offer {
        formats.push(audio(sdp.codec.successor()));
    }
    if plan.traits.comfort_noise {
        formats.push(Format {
            payload_type: noise_type(sdp.codec),
            encoding: "CN",
            rate,
        });
    }
    formats.push(Format {
        payload_type: EVENT_TYPE,
        encoding: "telephone-event",
        rate,
    });
    formats
}

/// The payload type of comfort noise at the codec's rate (RFC 3389 section 4).
pub(super) fn noise_type(codec: Codec) -> u8 {
    if codec.clock_rate_hz() == 8_000 {
        13
    } else {
        WIDE_NOISE_TYPE
    }
}

/// Host and port of a URI or Via; 5060 goes without saying.
struct Address(Endpoint);

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.ip(), self.0.port) {
            (IpAddr::V4(ip), 5060) => write!(f, "{ip}"),
            (IpAddr::V6(ip), 5060) => write!(f, "[{ip}]"),
            _ => write!(f, "{}", self.0),
        }
    }
}
