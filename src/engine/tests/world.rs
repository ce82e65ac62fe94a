//! A scripted world: phones that say what a test wants them to, on a wire that the engine hears.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Side, Timestamp};
use crate::directory::Directory;
use crate::engine::control::{ControlOutcome, ControlRequest};
use crate::engine::event::{Block, CallEnd, EndReason, Event, StreamReport};
use crate::engine::media::{MediaCounters, Overheard};
use crate::engine::plan::CallKey;
use crate::engine::signalling::Signalling;
use crate::engine::vantages::Vantages;
use crate::engine::{Engine, EngineSettings};
use crate::wire::{LinkType, Packet};

pub const START: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);

/// An address and a port of the test: `10.0.0.<host>:<port>`.
pub type At = (u8, u16);

/// The engine, the time, and what was heard.
pub struct World {
    engine: Engine,
    pub now: Timestamp,
    pub events: Vec<Event>,
    /// 802.1Q tag of the frames that follow, 0 for none.
    pub vlan: u16,
    /// Whether every packet is taken in before the next one comes.
    pub one_by_one: bool,
    /// Time to live of the frames that follow, and the last byte of their source's MAC address.
    pub ttl: u8,
    pub mac: u8,
    /// Where signalling goes over TCP: what it is wrapped in.
    pub wrapped: Option<fn(&str) -> Vec<u8>>,
    /// Sequence numbers of TCP connections, by direction.
    sequences: HashMap<(At, At), u32>,
}

/// The names of one dialog.
#[derive(Clone)]
pub struct Dialog {
    pub call_id: &'static str,
    pub caller: At,
    pub callee: At,
    pub from_tag: &'static str,
    pub to_tag: &'static str,
}

impl World {
    pub fn new() -> World {
        World::with(EngineSettings::default())
    }

    pub fn with(settings: EngineSettings) -> World {
        World::of(settings, Arc::new(Directory::empty()))
    }

    /// With tenants.
    pub fn of(settings: EngineSettings, directory: Arc<Directory>) -> World {
        let engine = Engine::new(settings, directory);
        World {
            engine,
            now: START,
            events: Vec::new(),
            vlan: 0,
            one_by_one: false,
            ttl: 64,
            mac: 2,
            wrapped: None,
            sequences: HashMap::new(),
        }
    }

    pub fn signalling(&self) -> &Signalling {
        &self.engine.core.signalling
    }

    pub fn media_counters(&self) -> MediaCounters {
        *self.engine.media_counters()
    }

    /// The next packet of a stream, with that payload.
    pub fn send_voice(&mut self, stream: &mut Talk, payload: &[u8]) {
        let mut packet = stream.next();
        packet.truncate(12);
        packet.extend_from_slice(payload);
        self.send(stream.from, stream.to, &packet);
    }

    pub fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    /// One UDP datagram, now; or one TCP segment, where signalling is [`wrapped`](World::wrapped).
    pub fn send(&mut self, from: At, to: At, payload: &[u8]) {
        match (self.wrapped, std::str::from_utf8(payload)) {
            (Some(wrap), Ok(text)) => self.send_tcp(from, to, &wrap(text)),
            _ => {
                let mut frame = frame(self.vlan, from, to, payload);
                frame[11] = self.mac;
                let ttl = if self.vlan == 0 { 22 } else { 26 };
                frame[ttl] = self.ttl;
                self.capture(&frame);
            }
        }
    }

    /// One TCP segment, now. A connection is joined at its first.
    pub fn send_tcp(&mut self, from: At, to: At, payload: &[u8]) {
        let sequence = self.sequences.entry((from, to)).or_insert(1000);
        let mut segment = Vec::new();
        etherparse::PacketBuilder::ethernet2([2; 6], [2; 6])
            .ipv4([10, 0, 0, from.0], [10, 0, 0, to.0], 64)
            .tcp(from.1, to.1, *sequence, 1000)
            .write(&mut segment, payload)
            .unwrap();
        *sequence += payload.len() as u32;
        self.capture(&segment);
    }

    /// A segment of the connection was not captured.
    pub fn lose_tcp(&mut self, from: At, to: At, length: u32) {
        *self.sequences.entry((from, to)).or_insert(1000) += length;
    }

    /// One direction of a connection is closed, and may begin anew.
    pub fn end_tcp(&mut self, from: At, to: At) {
        let sequence = self.sequences.remove(&(from, to)).unwrap_or(1000);
        let mut segment = Vec::new();
        etherparse::PacketBuilder::ethernet2([2; 6], [2; 6])
            .ipv4([10, 0, 0, from.0], [10, 0, 0, to.0], 64)
            .tcp(from.1, to.1, sequence, 1000)
            .rst()
            .write(&mut segment, &[])
            .unwrap();
        self.capture(&segment);
    }

    /// What the calls that are listened to gave since the last time.
    pub fn overhear(&mut self) -> Vec<(CallKey, Option<Overheard>)> {
        let (mut heard, events) = (Vec::new(), &mut self.events);
        self.engine
            .overhear(&mut |event| events.push(event), |call, of| {
                heard.push((call, of))
            });
        heard
    }

    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn capture(&mut self, frame: &[u8]) {
        let packet = Packet {
            time: self.now,
            interface: 0,
            link: LinkType::Ethernet,
            data: frame,
            original_len: frame.len() as u32,
        };
        let events = &mut self.events;
        self.engine
            .handle_packet(&packet, &mut |event| events.push(event));
        if self.one_by_one {
            self.wait(0);
        }
    }

    /// Somebody asks something about recordings, now.
    pub fn control(&mut self, request: &ControlRequest) -> ControlOutcome {
        let events = &mut self.events;
        self.engine
            .control(request, self.now, &mut |event| events.push(event))
    }

    /// Fires what is due by now.
    pub fn wait(&mut self, millis: u64) {
        self.pass(millis);
        let events = &mut self.events;
        self.engine
            .handle_timeout(self.now, &mut |event| events.push(event));
    }

    pub fn finish(&mut self) {
        let events = &mut self.events;
        self.engine
            .finish(EndReason::EndOfCapture, &mut |event| events.push(event));
    }

    /// The program is told to stop.
    pub fn shut_down(&mut self) {
        let events = &mut self.events;
        self.engine
            .finish(EndReason::Shutdown, &mut |event| events.push(event));
    }

    /// `packets` of 20 ms PCMU from `from` to `to`, each byte `fill`.
    pub fn talk(&mut self, stream: &mut Talk, packets: u32) {
        for _ in 0..packets {
            let packet = stream.next();
            self.send(stream.from, stream.to, &packet);
            self.pass(20);
        }
    }

    /// Both streams, packet by packet.
    pub fn talk_both(&mut self, a: &mut Talk, b: &mut Talk, packets: u32) {
        for _ in 0..packets {
            for stream in [&mut *a, &mut *b] {
                let packet = stream.next();
                self.send(stream.from, stream.to, &packet);
            }
            self.pass(20);
        }
    }

    pub fn vantages(&self) -> &Vantages {
        self.engine.vantages()
    }

    pub fn ends(&self) -> Vec<&CallEnd> {
        let ends = self.events.iter().filter_map(|event| match event {
            Event::Ended(end) => Some(&**end),
            _ => None,
        });
        ends.collect()
    }

    /// The only call that ended.
    pub fn end(&self) -> &CallEnd {
        let ends = self.ends();
        assert_eq!(ends.len(), 1, "one call was expected: {ends:?}");
        ends[0]
    }

    /// That of the call.
    pub fn end_of(&self, call_id: &str) -> &CallEnd {
        let mut ends = self.ends().into_iter();
        let end = ends.find(|end| end.info.call_id == call_id);
        end.unwrap_or_else(|| panic!("no call {call_id}"))
    }

    /// What is told of the side's stream, in the only call that ended.
    pub fn stream_of(&self, side: Side) -> &StreamReport {
        let streams = &self.end().streams;
        streams.iter().find(|stream| stream.side == side).unwrap()
    }

    pub fn blocks(&self, call_id: &str) -> Vec<&Block> {
        let key = self
            .ends()
            .iter()
            .find(|end| end.info.call_id == call_id)
            .map(|end| end.call);
        let blocks = self.events.iter().filter_map(|event| match event {
            Event::Block { call, block } if Some(*call) == key => Some(block),
            _ => None,
        });
        blocks.collect()
    }

    /// Bytes placed for one side of a call, by their first byte: how many of each.
    pub fn heard(&self, call_id: &str, side: Side) -> Vec<(u8, usize)> {
        let mut heard: Vec<(u8, usize)> = Vec::new();
        for block in self.blocks(call_id) {
            for piece in &block.sides[side] {
                let payload = block.payload(piece);
                let Some(&fill) = payload.first() else {
                    continue;
                };
                match heard.iter_mut().find(|(known, _)| *known == fill) {
                    Some((_, bytes)) => *bytes += payload.len(),
                    None => heard.push((fill, payload.len())),
                }
            }
        }
        heard
    }
}

/// An RTP sender.
pub struct Talk {
    pub from: At,
    pub to: At,
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub fill: u8,
}

impl Talk {
    pub fn new(from: At, to: At, fill: u8) -> Talk {
        Talk {
            from,
            to,
            ssrc: 0x1000 + u32::from(fill),
            sequence: 100,
            timestamp: 5000,
            fill,
        }
    }

    /// The next packet of 20 ms.
    pub fn next(&mut self) -> Vec<u8> {
        let mut packet = vec![0x80, 0];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend([self.fill; 160]);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        packet
    }
}

impl Dialog {
    pub fn new(call_id: &'static str, caller: u8, callee: u8) -> Dialog {
        Dialog {
            call_id,
            caller: (caller, 5060),
            callee: (callee, 5060),
            from_tag: "ft",
            to_tag: "tt",
        }
    }

    fn headers(&self, from: &str, to: &str, cseq: &str, body: &str) -> String {
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "Via: SIP/2.0/UDP x;branch=z9hG4bK{cseq}\r\nFrom: <sip:1001@a>;tag={from}\r\nTo: <sip:1002@a>{}\r\n\
             Call-ID: {}\r\nCSeq: {cseq}\r\n{content}Content-Length: {}\r\n\r\n{body}",
            if to.is_empty() { String::new() } else { format!(";tag={to}") },
            self.call_id,
            body.len(),
        )
        .replace("branch=z9hG4bK1 INVITE", "branch=z9hG4bK1")
        .replace(&format!("z9hG4bK{cseq}"), &format!("z9hG4bK{}", cseq.replace(' ', "")))
    }

    /// The text of a request of the caller in the dialog.
    pub fn text(&self, method: &str, number: u32, body: &str) -> String {
        let cseq = format!("{number} {method}");
        format!("{method} sip:1002@a SIP/2.0\r\n")
            + &self.headers(self.from_tag, self.to_tag, &cseq, body)
    }

    /// A request of the caller.
    pub fn request(&self, world: &mut World, method: &str, number: u32, to_tag: &str, body: &str) {
        let head = format!("{method} sip:1002@a SIP/2.0\r\n");
        let text = head + &self.headers(self.from_tag, to_tag, &format!("{number} {method}"), body);
        world.send(self.caller, self.callee, text.as_bytes());
    }

    /// An answer of the callee to a request of the caller.
    pub fn answer(
        &self,
        world: &mut World,
        status: u16,
        method: &str,
        number: u32,
        to_tag: &str,
        body: &str,
    ) {
        let head = format!("SIP/2.0 {status} X\r\n");
        let text = head + &self.headers(self.from_tag, to_tag, &format!("{number} {method}"), body);
        world.send(self.callee, self.caller, text.as_bytes());
    }

    /// A request of the callee, with the tags the other way round.
    pub fn request_back(&self, world: &mut World, method: &str, number: u32, body: &str) {
        let head = format!("{method} sip:1001@a SIP/2.0\r\n");
        let text = head
            + &self.headers(
                self.to_tag,
                self.from_tag,
                &format!("{number} {method}"),
                body,
            );
        world.send(self.callee, self.caller, text.as_bytes());
    }

    /// An answer of the caller to a request of the callee.
    pub fn answer_back(
        &self,
        world: &mut World,
        status: u16,
        method: &str,
        number: u32,
        body: &str,
    ) {
        let cseq = format!("{number} {method}");
        let text = format!("SIP/2.0 {status} X\r\n")
            + &self.headers(self.to_tag, self.from_tag, &cseq, body);
        world.send(self.caller, self.callee, text.as_bytes());
    }

    /// INVITE, 180, 200, ACK with these places for media.
    pub fn set_up(&self, world: &mut World, caller_media: At, callee_media: At) {
        self.request(world, "INVITE", 1, "", &sdp(caller_media, ""));
        self.answer(world, 180, "INVITE", 1, self.to_tag, "");
        self.answer(world, 200, "INVITE", 1, self.to_tag, &sdp(callee_media, ""));
        self.request(world, "ACK", 1, self.to_tag, "");
    }

    pub fn bye(&self, world: &mut World) {
        self.request(world, "BYE", 9, self.to_tag, "");
        self.answer(world, 200, "BYE", 9, self.to_tag, "");
        world.wait(1000);
    }
}

/// SDP with PCMU and telephone-event at a place, and further lines.
pub fn sdp(at: At, more: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.{0}\r\ns=-\r\nc=IN IP4 10.0.0.{0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\n{more}",
        at.0, at.1
    )
}

fn frame(vlan: u16, from: At, to: At, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    if vlan != 0 {
        frame.extend([0x81, 0]);
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((28 + payload.len() as u16).to_be_bytes());
    frame.extend([
        0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, from.0, 10, 0, 0, to.0,
    ]);
    frame.extend(from.1.to_be_bytes());
    frame.extend(to.1.to_be_bytes());
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend_from_slice(payload);
    frame
}
