//! What the fuzz targets do, kept here so that it always compiles and is run over a few inputs with the other tests.
//!
//! In: bytes that anybody may have sent. Out: nothing, or a panic, which is a bug. `fuzz/` has one target for each
//! function.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::{Endpoint, Flow, Secret, Timestamp, Vantage, WireMap};
use crate::capture::CaptureFiles;
use crate::config;
use crate::directory::Directory;
use crate::engine::event::{EndReason, Event};
use crate::engine::quality::Reported;
use crate::engine::streams::{SipStreams, StreamLimits};
use crate::engine::{Engine, EngineSettings};
use crate::rtp::rtcp::{Report, reports};
use crate::rtp::{
    Arrival, DigitCollector, Jitter, KeyOptions, RtpPacket, SequenceTracker, SrtpKey, SrtpReceiver,
    StreamClock, Suite, TelephoneEvent,
};
use crate::sip::websocket::{self, WebSocketCounters};
use crate::sip::{
    self, CryptoLine, Framer, MediaKind, Message, Method, NameAddr, Sdp, StartLine, Uri,
};
use crate::wire::tls::{Line, parse_line};
use crate::wire::{
    LinkType, Packet, StreamBytes, StreamEvent, TcpInterest, Unit, Wire, WireLimits,
};

/// What a target does with its bytes.
pub type Body = fn(&[u8]);

/// Every body under the name of its target.
pub const TARGETS: &[(&str, Body)] = &[
    ("wire", wire),
    ("sip_message", sip_message),
    ("sdp", sdp),
    ("framer", framer),
    ("rtp", rtp),
    ("srtp", srtp),
    ("capture_file", capture_file),
    ("tenant_toml", tenant_toml),
    ("engine", engine),
    ("websocket", websocket),
    ("streams", streams),
];

/// Frames of any link type, one after the other.
pub fn wire(data: &[u8]) {
    let interest = TcpInterest {
        ports: vec![5060],
        sniff: sip::looks_like_sip,
    };
    let limits = WireLimits {
        fragment_bytes: 4096,
        tcp_streams: 4,
        tcp_stream_buffer_bytes: 1024,
        tcp_buffer_bytes: 2048,
        ..WireLimits::default()
    };
    let mut wire = Wire::new(limits, interest);
    let mut longest = 0;
    let mut count = |unit: Unit<'_>| {
        longest = longest.max(match unit {
            // Those of agents may be packed.
            Unit::Datagram(datagram) => datagram.payload.len(),
            Unit::Stream(stream) => stream.bytes.len(),
        });
    };
    let mut packets = 0;
    let mut last = Timestamp::MIN;
    for (time, link, frame) in Frames::new(data) {
        (packets, last) = (packets + 1, time);
        wire.handle_packet(&packet(time, link, &frame), &mut count);
    }
    wire.finish(last, &mut count);
    assert!(
        longest <= data.len().max(u16::MAX.into()),
        "more came out than went in"
    );
    assert_eq!(wire.counters().packets, packets, "a packet was not counted");
}

/// One datagram, read as a SIP message with all that can be asked of it.
pub fn sip_message(data: &[u8]) {
    let looks = sip::looks_like_sip(data);
    let decoded = sip::decode_head(data);
    let clean = sip::redact(&decoded, true);
    assert_eq!(sip::redact(&clean, true), clean, "it was not clean");
    let Ok(message) = Message::parse(&decoded) else {
        return;
    };
    let known = !matches!(
        message.start,
        StartLine::Request {
            method: Method::Other,
            ..
        }
    );
    assert!(looks || !known, "a message that does not look like one");
    let faults = message.faults();
    assert_eq!(faults.is_empty(), faults.iter().count() == 0);
    let replaces = message.replaces();
    let _ = (
        message.call_id(),
        message.cseq(),
        message.branch(),
        replaces,
        message.privacy(),
    );
    let _ = (
        message.session_id(),
        message.session_expires_seconds(),
        message.content_type(),
    );
    let _ = (
        message.method_token(),
        message.junk_lines(),
        message.missing_body_bytes(),
    );
    for (name, value) in message.headers() {
        let _ = (message.header(name), sip::unfold(value).len());
        let _ = message.header_values(name).count();
        message
            .addresses(name)
            .for_each(|address| name_addr(&address));
    }
    if let Some(target) = message.request_uri() {
        uri(&target);
    }
    for address in [message.from(), message.to(), message.contact()]
        .into_iter()
        .flatten()
    {
        name_addr(&address);
    }
    if let Some(body) = message.sdp() {
        sdp(body);
    }
}

fn name_addr(address: &NameAddr<'_>) {
    let _ = (address.tag(), address.display_text(), address.param("x"));
    uri(&address.uri);
}

fn uri(uri: &Uri<'_>) {
    let _ = (
        uri.user_decoded(),
        uri.host_ip(),
        uri.param("x"),
        uri.embedded_header("Replaces"),
    );
}

/// A session description.
pub fn sdp(data: &[u8]) {
    let Ok(sdp) = Sdp::parse(data) else { return };
    for media in &sdp.media {
        let _ = (
            media.endpoint(),
            media.rtcp_endpoint(),
            media.is_rtp(),
            media.is_srtp(),
        );
        for format in &media.formats {
            assert_eq!(
                media.format(format.payload_type).map(|f| f.payload_type),
                Some(format.payload_type)
            );
        }
    }
    let _ = sdp.media_of(MediaKind::Audio).count();
}

/// Bytes of a connection in pieces of any size, with holes between some.
pub fn framer(data: &[u8]) {
    const MAX_MESSAGE: usize = 4096;
    let mut framer = Framer::new(MAX_MESSAGE);
    let mut rest = data;
    while let Some((&size, after)) = rest.split_first() {
        let (piece, after) = after.split_at(usize::from(size & 0x7f).min(after.len()));
        rest = after;
        if size & 0x80 != 0 {
            framer.gap();
        }
        framer.push(piece);
        drain(&mut framer, data.len());
    }
    framer.finish();
    drain(&mut framer, data.len());
}

fn drain(framer: &mut Framer, bytes: usize) {
    let mut answers = 0;
    while let Some(message) = framer.next_message() {
        answers += 1;
        assert!(
            answers <= bytes + 1,
            "the framer gives messages without end"
        );
        if let Ok(message) = message {
            let _ = Message::parse(&sip::decode_head(&message)).is_ok();
        }
    }
}

/// RTP packets, sixteen bytes or more each, through all that a stream keeps.
pub fn rtp(data: &[u8]) {
    let start = Timestamp::from_secs_nanos(1_000_000_000, 0);
    let mut time = start;
    let mut sequence = SequenceTracker::default();
    let mut clock = StreamClock::new(8000, 8000);
    let mut digits = DigitCollector::default();
    let (mut jitter, mut reported) = (Jitter::default(), Reported::default());
    for bytes in data.chunks(29) {
        for report in reports(bytes) {
            if let Report::Receiver { ssrc, receptions } = report {
                receptions.for_each(|r| _ = reported.note_reception(time, ssrc, &r, &sequence));
            }
        }
        let Some(packet) = RtpPacket::parse(bytes) else {
            continue;
        };
        assert!(
            packet.payload.len() <= bytes.len() - 12,
            "a payload longer than its packet"
        );
        time = time + Duration::from_millis(u64::from(packet.ssrc & 0x3ff));
        let arrival = sequence.arrive(packet.sequence, |behind| behind.packets > 100);
        if let Arrival::InOrder { number } = arrival
            && jitter.update(time, packet.timestamp)
        {
            sequence.discard(number);
        }
        let _ = clock.place(start, time, packet.timestamp);
        let _ = (
            TelephoneEvent::parse(packet.payload),
            digits.collect(packet.timestamp, packet.payload),
        );
        assert_eq!(
            sequence.lost(),
            sequence.expected().saturating_sub(sequence.received())
        );
    }
    let bursts = sequence.bursts();
    assert!(bursts.burst_density <= 1.0 && bursts.gap_density <= 1.0);
    let told = reported.reports(&sequence);
    assert!(told.mirror_lost.is_none_or(|lost| lost <= sequence.lost()));
}

/// A line of SDP that tells a key, and packets that nobody protected with it.
pub fn srtp(data: &[u8]) {
    let (line, packets) = data.split_at(data.len().min(100));
    let line = String::from_utf8_lossy(line);
    let parsed = CryptoLine::parse(&line);
    let told = parsed.iter().flat_map(|line| &line.keys);
    let master = told.map(|key| key.master.bytes().to_vec()).next();
    for suite in Suite::ALL {
        let length = suite.key_len() + suite.salt_len();
        let mut master = master.clone().unwrap_or_default();
        master.resize(length, 0);
        let Ok(key) = SrtpKey::new(suite, Secret::new(master), KeyOptions::default()) else {
            continue;
        };
        let mut receiver = SrtpReceiver::new(key.clone());
        let mut out = Vec::new();
        for packet in packets.chunks(61) {
            out.clear();
            let _ = (
                receiver.open(packet, &mut out).is_ok(),
                receiver.search(packet, 0..4, &mut out).is_ok(),
                key.open_rtcp(packet, &mut out).is_ok(),
            );
            assert!(out.len() <= packet.len(), "more came out than went in");
        }
    }
}

/// A capture file of any format.
pub fn capture_file(data: &[u8]) {
    let folder = Folder::new();
    let Ok(mut files) = CaptureFiles::open(&[folder.write("capture", data)]) else {
        return;
    };
    let (mut answers, mut bytes) = (0, 0);
    // What is compressed may be larger than its file; without an end it may not be.
    while answers < 100_000 {
        match files.next_packet() {
            Ok(Some(packet)) => bytes += packet.data.len(),
            Ok(None) => break,
            Err(_) => {}
        }
        answers += 1;
    }
    let compressed = data.starts_with(&[0x1f, 0x8b]) || data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    assert!(
        compressed || bytes <= data.len(),
        "more came out than went in"
    );
}

/// A tenant's file, beside an empty one for the daemon.
pub fn tenant_toml(data: &[u8]) {
    let folder = Folder::new();
    let main = folder.write(
        "callreel.toml",
        b"[tenancy]\ntenants = \"tenant.toml\"\n[plans.basic]\n",
    );
    folder.write("tenant.toml", data);
    if let Err(error) = config::load(&main) {
        assert!(!error.render(false).is_empty(), "refused without a reason");
    }
}

/// Packets of a few hosts in an engine with small tables. Each call's events must come in the promised order.
pub fn engine(data: &[u8]) {
    let mut settings = EngineSettings::default();
    settings.wire.tcp_streams = 4;
    let mut engine = Engine::new(settings, Arc::new(Directory::empty()));
    let mut stages = Stages::default();
    let mut last = Timestamp::MIN;
    for (time, link, frame) in Frames::new(data) {
        last = time;
        engine.handle_packet(&packet(time, link, &frame), &mut |event| {
            stages.follow(&event)
        });
    }
    if let Some(at) = engine.next_timeout() {
        engine.handle_timeout(at.max(last), &mut |event| stages.follow(&event));
    }
    engine.finish(EndReason::EndOfCapture, &mut |event| stages.follow(&event));
    assert_eq!(engine.open_calls(), 0, "calls are left after the end");
    assert!(stages.0.is_empty(), "calls without an end");
}

/// Which calls have begun, and whether each is being recorded.
#[derive(Default)]
struct Stages(WireMap<crate::engine::plan::CallKey, bool>);

impl Stages {
    fn follow(&mut self, event: &Event) {
        let call = event.call();
        let stage = self.0.get(&call).copied();
        match event {
            Event::Call { .. } => drop(self.0.entry(call).or_default()),
            Event::Recording { .. } => {
                assert_eq!(stage, Some(false), "a recording twice, or before its call");
                self.0.insert(call, true);
            }
            Event::Block { .. } => assert_eq!(stage, Some(true), "a block before its recording"),
            Event::Signalling { .. } | Event::Standing { .. } => {}
            Event::Ended(_) => {
                assert!(stage.is_some(), "an end before its call");
                self.0.remove(&call);
            }
        }
    }
}

/// One direction of a WebSocket connection in pieces of any size, with holes between some.
pub fn websocket(data: &[u8]) {
    const MAX_MESSAGE: usize = 4096;
    let Some((&first, mut rest)) = data.split_first() else {
        return;
    };
    let mut reader = match first & 1 {
        0 => websocket::Reader::new(MAX_MESSAGE),
        _ => websocket::Reader::midway(MAX_MESSAGE),
    };
    let (mut counters, mut messages) = (WebSocketCounters::default(), Vec::new());
    while let Some((&size, after)) = rest.split_first() {
        let (piece, after) = after.split_at(usize::from(size & 0x7f).min(after.len()));
        rest = after;
        if size & 0x80 != 0 {
            reader.gap(&mut counters);
        }
        reader.push(piece, &mut counters, &mut messages);
        assert!(reader.held_bytes() < 256 << 10, "it holds too much");
    }
    assert!(messages.iter().all(|message| message.len() <= MAX_MESSAGE));
    assert!(counters.bytes_skipped <= data.len() as u64);
}

/// Connections of SIP, WebSocket and TLS: pieces of either direction on one of two ports, holes, ends, and lines of a key
/// log. A byte for what it is, two for its length.
pub fn streams(data: &[u8]) {
    let limits = StreamLimits {
        held_bytes: 256 << 10,
        tls_sessions: 4,
        key_wait: Duration::from_millis(500),
    };
    let mut streams = SipStreams::new(vec![5061], limits);
    let (mut rest, mut messages) = (data, Vec::new());
    let mut time = Timestamp::from_secs_nanos(1_000_000_000, 0);
    while let Some((&[kind, high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (bytes, after) = after.split_at(length);
        rest = after;
        time = time + Duration::from_millis(20);
        if kind & 0x0c == 0x0c {
            let lines = bytes.split(|&byte| byte == b'\n').map(parse_line);
            let secrets = lines.filter_map(|line| match line {
                Line::Secret(secret) => Some(secret),
                Line::Other | Line::Malformed => None,
            });
            streams.add_secrets(secrets, &mut messages);
            continue;
        }
        let server = Endpoint::v4([10, 0, 0, 2], if kind & 1 == 0 { 5060 } else { 5061 });
        let client = Endpoint::v4([10, 0, 0, 1], 40_000);
        let flow = Flow {
            vantage: Vantage::default(),
            source: client,
            destination: server,
        };
        let event = match kind & 0x0c {
            0x04 => StreamEvent::Gap,
            0x08 => StreamEvent::End,
            _ => StreamEvent::Data,
        };
        let bytes = StreamBytes {
            time,
            flow: if kind & 2 == 0 { flow } else { flow.reversed() },
            bytes: if event == StreamEvent::End {
                &[]
            } else {
                bytes
            },
            event,
        };
        streams.push(&bytes, &mut messages);
        streams.expire(time, &mut messages);
        assert!(streams.next_timeout().is_none_or(|at| at > time));
    }
    assert!(messages.iter().all(|message| message.time <= time));
}

fn packet(time: Timestamp, link: LinkType, data: &[u8]) -> Packet<'_> {
    Packet {
        time,
        interface: 0,
        link,
        data,
        original_len: u32::try_from(data.len()).unwrap_or(u32::MAX),
    }
}

/// Cuts bytes into frames: a byte for the kind, one for the milliseconds since the frame before, two for the length.
///
/// A frame of the last kind is only a UDP payload: it is sent between two of four hosts, to where SIP or media is.
struct Frames<'a> {
    rest: &'a [u8],
    time: Timestamp,
}

impl<'a> Frames<'a> {
    fn new(data: &'a [u8]) -> Self {
        Frames {
            rest: data,
            time: Timestamp::from_secs_nanos(1_000_000_000, 0),
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = (Timestamp, LinkType, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        const LINKS: [LinkType; 7] = [
            LinkType::Ethernet,
            LinkType::LinuxSll,
            LinkType::LinuxSll2,
            LinkType::RawIp,
            LinkType::Null,
            LinkType::Loop,
            LinkType::Hep,
        ];
        let (&[kind, millis, high, low], rest) = self.rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        self.rest = rest;
        self.time = self.time + Duration::from_millis(millis.into());
        Some(match LINKS.get(usize::from(kind & 7)) {
            Some(&link) => (self.time, link, bytes.to_owned()),
            None => (self.time, LinkType::RawIp, udp(kind >> 3, bytes)),
        })
    }
}

/// An IPv4 packet with `payload`. Two bits of `way` name the sender, two the receiver, one the ports.
fn udp(way: u8, payload: &[u8]) -> Vec<u8> {
    let ports: u16 = if way & 16 == 0 { 5060 } else { 4000 };
    let host = |bits: u8| [10, 0, 0, 1 + (bits & 3)];
    let length = |more: usize| {
        u16::try_from(payload.len() + more)
            .unwrap_or(u16::MAX)
            .to_be_bytes()
    };
    let mut packet = vec![0x45, 0];
    packet.extend(length(28));
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(host(way));
    packet.extend(host(way >> 2));
    packet.extend(ports.to_be_bytes());
    packet.extend(ports.to_be_bytes());
    packet.extend(length(8));
    packet.extend([0, 0]);
    packet.extend_from_slice(payload);
    packet
}

/// A folder that goes when its owner does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("callreel-fuzzing-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the folder for temporary files can be written");
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("the folder for temporary files can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const INVITE: &[u8] = b"INVITE sip:1002@10.0.0.2 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: \"A\" <sip:1001@10.0.0.1>;tag=a\r\n\
        To: <sip:1002@10.0.0.2>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\nContact: <sip:1001@10.0.0.1>\r\n\
        Content-Type: application/sdp\r\nContent-Length: 97\r\n\r\n\
        v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\na=sendrecv\r\n";
    const ANSWER: &[u8] = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\n\
        From: <sip:1001@10.0.0.1>;tag=a\r\nTo: <sip:1002@10.0.0.2>;tag=b\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\
        Content-Type: application/sdp\r\n\r\n\
        v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    const TENANT: &[u8] = include_bytes!("../config/tenants/acme.toml");

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len())
            .expect("a frame is short")
            .to_be_bytes();
        [&[kind, 20, length[0], length[1]], payload].concat()
    }

    fn rtp_packet(sequence: u16, payload_type: u8) -> Vec<u8> {
        let timestamp = u32::from(sequence) * 160;
        let mut packet = vec![0x80, payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend([0, 0, 0, 7]);
        packet.extend([0x55; 160]);
        packet
    }

    /// A call from host 1 to host 2, as [`engine`] reads it.
    fn call() -> Vec<u8> {
        // Sender, receiver and ports as `udp` reads them, then the kind.
        let way = |ports: u8, to: u8, from: u8| (ports << 4 | to << 2 | from) << 3 | 7;
        let (sip_there, sip_back, media_there) = (way(0, 1, 0), way(0, 0, 1), way(1, 1, 0));
        let mut bytes = [frame(sip_there, INVITE), frame(sip_back, ANSWER)].concat();
        for sequence in 0..50 {
            bytes.extend(frame(media_there, &rtp_packet(sequence, 0)));
        }
        bytes
    }

    /// A WebSocket connection with an INVITE, then the records of a TLS connection with its key log, as [`streams`] reads
    /// them.
    fn connections() -> Vec<u8> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sipp-tls13");
        let keys = fs::read(fixtures.join("sipp-tls13.keylog")).unwrap_or_default();
        let mut bytes = vec![12];
        bytes.extend(u16::try_from(keys.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(keys);
        let mut say = |kind: u8, said: &[u8]| {
            bytes.push(kind);
            bytes.extend(u16::try_from(said.len()).unwrap_or(0).to_be_bytes());
            bytes.extend(said);
        };
        let length = u16::try_from(INVITE.len()).unwrap_or(0).to_be_bytes();
        say(
            0,
            b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
        );
        say(
            2,
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
        );
        say(0, &[&[0x81, 126][..], &length, INVITE].concat());
        let capture = fs::read(fixtures.join("sipp-tls13.pcap")).unwrap_or_default();
        let mut rest = capture.get(24..).unwrap_or_default();
        while let Some((head, after)) = rest.split_first_chunk::<16>() {
            let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
            let (frame, after) = after.split_at(length.min(after.len()));
            rest = after;
            if frame.get(23) == Some(&6) {
                let from_server = frame[34..36] == 5061_u16.to_be_bytes();
                let payload = 34 + usize::from(frame[46] >> 4) * 4;
                let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
                say(1 | u8::from(from_server) << 1, &frame[payload..end]);
            }
        }
        bytes
    }

    #[test]
    fn the_corpus_holds_connections_that_are_read() {
        let interest = connections();
        let (mut streams, mut messages) = (
            SipStreams::new(vec![5061], StreamLimits::default()),
            Vec::new(),
        );
        let mut rest = &interest[..];
        while let Some((&[kind, high, low], after)) = rest.split_first_chunk() {
            let (bytes, after) = after.split_at(usize::from(u16::from_be_bytes([high, low])));
            rest = after;
            let port = if kind & 1 == 0 { 5060 } else { 5061 };
            let flow = Flow {
                vantage: Vantage::default(),
                source: Endpoint::v4([10, 0, 0, 1], 40_000),
                destination: Endpoint::v4([10, 0, 0, 2], port),
            };
            if kind == 12 {
                let secrets = bytes.split(|&byte| byte == b'\n').map(parse_line);
                let secrets = secrets.filter_map(|line| match line {
                    Line::Secret(secret) => Some(secret),
                    _ => None,
                });
                streams.add_secrets(secrets, &mut messages);
            } else if !bytes.is_empty() {
                let flow = if kind & 2 == 0 { flow } else { flow.reversed() };
                let (time, event) = (Timestamp::default(), StreamEvent::Data);
                let bytes = StreamBytes {
                    time,
                    flow,
                    bytes,
                    event,
                };
                streams.push(&bytes, &mut messages);
            }
        }
        assert!(messages.len() >= 7, "{messages:?}");
    }

    fn corpus() -> Vec<Vec<u8>> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let capture = fs::read(fixtures.join("sipp-cancel/sipp-cancel.pcap")).unwrap_or_default();
        let body = INVITE.split_at(INVITE.len() - 97).1;
        vec![
            Vec::new(),
            INVITE.to_vec(),
            ANSWER.to_vec(),
            body.to_vec(),
            rtp_packet(65_535, 101),
            TENANT.to_vec(),
            capture,
            call(),
            connections(),
        ]
    }

    /// One byte of `bytes` replaced at a time, and `bytes` cut short at some places.
    fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let step = (bytes.len() / 20).max(1);
        (0..bytes.len()).step_by(step).flat_map(move |at| {
            let with = |byte: u8| [&bytes[..at], &[byte], &bytes[at + 1..]].concat();
            [with(0), with(0xff), with(b'\n'), bytes[..at].to_vec()]
        })
    }

    #[test]
    fn every_body_survives_the_corpus_whole_and_damaged() {
        for bytes in corpus() {
            for (_, body) in TARGETS {
                body(&bytes);
            }
            for bytes in damaged(&bytes) {
                TARGETS.iter().for_each(|(_, body)| body(&bytes));
            }
        }
    }

    #[test]
    fn the_corpus_holds_a_call_that_is_recorded() {
        let mut engine = Engine::new(EngineSettings::default(), Arc::new(Directory::empty()));
        let mut recordings = 0;
        let mut count =
            |event: Event| recordings += usize::from(matches!(event, Event::Recording { .. }));
        for (time, link, frame) in Frames::new(&call()) {
            engine.handle_packet(&packet(time, link, &frame), &mut count);
        }
        engine.finish(EndReason::EndOfCapture, &mut count);
        assert_eq!(recordings, 1);
    }

    #[test]
    fn every_body_has_a_target() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
        for (name, _) in TARGETS {
            let text = fs::read_to_string(folder.join(format!("{name}.rs")))
                .expect("the target has a file");
            assert!(
                text.contains(&format!("callreel::fuzzing::{name}")),
                "{name}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_a_body_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            TARGETS.iter().for_each(|(_, body)| body(&bytes));
        }

        #[test]
        fn no_order_of_messages_and_media_confuses_the_engine(
            steps in prop::collection::vec((0u8..32, any::<u8>(), 0usize..6, any::<u16>()), 0..60),
        ) {
            let mut bytes = Vec::new();
            for (way, millis, what, sequence) in steps {
                let bye = String::from_utf8_lossy(INVITE).replace("INVITE", "BYE").into_bytes();
                let held = String::from_utf8_lossy(INVITE).replace("sendrecv", "sendonly").into_bytes();
                let payload = match what {
                    0 => INVITE.to_vec(),
                    1 => ANSWER.to_vec(),
                    2 => bye,
                    3 => held,
                    _ => rtp_packet(sequence, 0),
                };
                let mut frame = frame(way << 3 | 7, &payload);
                frame[1] = millis;
                bytes.extend(frame);
            }
            engine(&bytes);
        }
    }
}
