//! The engine: packets in, call events out.
//!
//! Two halves, joined by one message. [`signalling`] follows SIP and says where media is to be expected
//! ([`plan::MediaPlan`]); [`media`] follows RTP and puts it on timelines. What happens goes to a [`Sink`]; the engine does not
//! know who listens. Time comes in with packets: a capture replayed at any speed gives the same events.

pub mod control;
mod end_reason;
pub mod event;
pub mod interactions;
mod listening;
pub mod media;
pub mod plan;
pub mod quality;
pub mod signalling;
pub mod standing;
pub mod streams;
#[cfg(test)]
mod tests;
mod timer;
pub mod vantages;

use std::sync::Arc;

use self::control::{ControlOutcome, ControlRequest};
use self::event::{CallEnd, EndReason, Event, Sink, Suspicious};
use self::media::{Media, MediaCounters, MediaLimits, Rtcp};
use self::plan::CallKey;
use self::signalling::{
    KeySource, Order, Orders, Sensor, Signalling, SignallingCounters, SignallingEnd,
    SignallingLimits,
};
use self::standing::Standing;
use self::streams::{SipStreams, StreamCounters, StreamLimits, StreamMessage};
use self::vantages::Vantages;
use crate::base::{Flow, Timestamp};
use crate::directory::Directory;
use crate::rtp::{self, RtpPacket, is_rtcp};
use crate::sip::{self, FaultCounts, Message, SdpFaultCounts, SdpFaults, websocket};
use crate::wire::tls::LoggedSecret;
use crate::wire::{
    Datagram, Packet, TcpInterest, TunnelPorts, Unit, Wire, WireCounters, WireLimits,
};

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    pub sensor: Sensor,
    /// TCP ports that carry SIP. Other connections are followed when they begin like SIP.
    pub sip_ports: Vec<u16>,
    pub wire: WireLimits,
    pub signalling: SignallingLimits,
    pub media: MediaLimits,
    pub streams: StreamLimits,
    /// TCP ports whose connections may begin with a TLS handshake. They are followed as `sip_ports` are.
    pub tls_ports: Vec<u16>,
    /// Where tunnels over UDP are looked for.
    pub tunnel_ports: TunnelPorts,
}

impl Default for EngineSettings {
    fn default() -> Self {
        EngineSettings {
            sensor: Sensor {
                name: "callreel".into(),
                interfaces: Vec::new(),
                keep_unattributed: true,
            },
            sip_ports: vec![5060],
            wire: WireLimits::default(),
            signalling: SignallingLimits::default(),
            media: MediaLimits::default(),
            streams: StreamLimits::default(),
            tls_ports: vec![5061],
            tunnel_ports: TunnelPorts::default(),
        }
    }
}

/// Whether a segment begins a message, or a connection that will carry some, on a port that nobody named.
#[inline]
fn looks_like_signalling(bytes: &[u8]) -> bool {
    sip::looks_like_sip(bytes)
        || websocket::looks_like_upgrade(bytes)
        || websocket::frame_with_sip(bytes)
}

/// What was counted between wire and halves. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineCounters {
    pub sip_messages: u64,
    /// Datagrams or stream contents that begin like SIP and are none.
    pub sip_malformed: u64,
    /// What was wrong with messages, refused ones and those that were read all the same.
    pub sip_faults: FaultCounts,
    /// What was wrong with session descriptions, which were read as far as they go.
    pub sdp_faults: SdpFaultCounts,
    pub rtcp_packets: u64,
    /// Bytes skipped in TCP connections to find the next message.
    pub sip_stream_bytes_skipped: u64,
    /// Datagrams that are neither SIP nor RTP nor RTCP.
    pub other_datagrams: u64,
    /// Packets with an earlier time than one before them.
    pub out_of_order: u64,
}

/// Both halves and what lies before them.
pub struct Engine {
    wire: Wire,
    core: Core,
}

/// What the wire's units go to.
#[derive(Debug)]
struct Core {
    streams: SipStreams,
    signalling: Signalling,
    media: Media,
    now: Timestamp,
    /// The earliest deadline of both halves.
    next: Timestamp,
    counters: EngineCounters,
}

impl Engine {
    pub fn new(settings: EngineSettings, directory: Arc<Directory>) -> Self {
        let interest = TcpInterest {
            ports: [&*settings.sip_ports, &*settings.tls_ports].concat(),
            sniff: looks_like_signalling,
        };
        Engine {
            wire: Wire::new(settings.wire, interest).with_tunnel_ports(&settings.tunnel_ports),
            core: Core {
                streams: SipStreams::new(settings.tls_ports, settings.streams),
                signalling: Signalling::new(settings.sensor, settings.signalling, directory),
                media: Media::new(settings.media),
                now: Timestamp::MIN,
                next: Timestamp::MAX,
                counters: EngineCounters::default(),
            },
        }
    }

    /// Takes over what an earlier run was asked about calls that may still go on, before the first packet.
    pub fn restore(&mut self, left: Vec<Standing>) {
        self.core.signalling.restore(left);
    }

    /// Calls that begin from now on are matched against `directory`.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.core.signalling.set_directory(directory);
    }

    /// Secrets of TLS sessions, which may come before or after the packets that they open; those that have waited for them
    /// are read, each as of the time of its packet.
    pub fn add_tls_secrets(
        &mut self,
        secrets: impl IntoIterator<Item = LoggedSecret>,
        sink: &mut impl Sink,
    ) {
        let core = &mut self.core;
        let mut messages = Vec::new();
        let skipped = core.streams.add_secrets(secrets, &mut messages);
        core.counters.sip_stream_bytes_skipped += skipped;
        core.handle_stream_messages(messages, sink);
        core.look_ahead();
    }

    /// Takes one packet. Deadlines before its time fire first.
    #[inline]
    pub fn handle_packet(&mut self, packet: &Packet<'_>, sink: &mut impl Sink) {
        let core = &mut self.core;
        core.advance(packet.time, sink);
        // The wire's own deadlines are its business: it meets them as packets come.
        self.wire
            .handle_packet(packet, &mut |unit| core.handle_unit(unit, sink));
    }

    /// Fires what is due at `now`: for times in which no packets come. Must not be later than the next packet.
    pub fn handle_timeout(&mut self, now: Timestamp, sink: &mut impl Sink) {
        let core = &mut self.core;
        core.advance(now, sink);
        core.settle(now, sink);
        if self.wire.next_timeout().is_some_and(|at| at <= now) {
            self.wire
                .handle_timeout(now, &mut |unit| core.handle_unit(unit, sink));
        }
    }

    /// When [`Engine::handle_timeout`] has something to do next.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let core = match self.core.media.is_settled() {
            true => Some(self.core.next).filter(|&next| next != Timestamp::MAX),
            false => Some(self.core.now),
        };
        core.into_iter().chain(self.wire.next_timeout()).min()
    }

    /// Does what somebody asks about the recording of calls in progress, from `at` on or from the newest packet, whichever is
    /// later: nothing that lies behind it has been handed on.
    pub fn control(
        &mut self,
        request: &ControlRequest,
        at: Timestamp,
        sink: &mut impl Sink,
    ) -> ControlOutcome {
        let core = &mut self.core;
        let at = at.max(core.now);
        core.settle(core.now, sink);
        let mut orders = Orders::new();
        let media = &core.media;
        let outcome = core
            .signalling
            .control(request, at, |call| media.start(call), &mut orders);
        core.obey(orders, sink);
        core.look_ahead();
        outcome
    }

    /// Ends all calls.
    pub fn finish(&mut self, reason: EndReason, sink: &mut impl Sink) {
        let core = &mut self.core;
        self.wire
            .finish(core.now, &mut |unit| core.handle_unit(unit, sink));
        core.finish(reason, sink);
    }

    /// Time of the newest packet or timeout.
    pub fn now(&self) -> Timestamp {
        self.core.now
    }

    pub fn wire_counters(&self) -> &WireCounters {
        self.wire.counters()
    }

    pub fn counters(&self) -> &EngineCounters {
        &self.core.counters
    }

    pub fn stream_counters(&self) -> &StreamCounters {
        self.core.streams.counters()
    }

    pub fn signalling_counters(&self) -> &SignallingCounters {
        self.core.signalling.counters()
    }

    pub fn media_counters(&self) -> &MediaCounters {
        self.core.media.counters()
    }

    /// What was seen at each vantage.
    pub fn vantages(&self) -> &Vantages {
        &self.core.media.vantages
    }

    /// Calls that are not over.
    pub fn open_calls(&self) -> usize {
        self.core.signalling.open_calls()
    }

    /// Calls whose media is expected.
    #[cfg(test)]
    pub fn media_calls(&self) -> usize {
        self.core.media.call_count()
    }

    /// RTP packets that are being kept for signalling that has not come.
    pub fn unclaimed_packets(&self) -> u64 {
        self.core.media.unclaimed_packets()
    }

    /// RTP streams followed.
    pub fn open_streams(&self) -> usize {
        self.core.media.stream_count()
    }
}

impl Core {
    #[inline]
    fn advance(&mut self, time: Timestamp, sink: &mut impl Sink) {
        if time >= self.next {
            self.fire(time, sink);
        }
        if time < self.now {
            self.counters.out_of_order += 1;
        } else {
            self.now = time;
        }
    }

    /// Has media take in what has come, and fires what that makes due.
    fn settle(&mut self, time: Timestamp, sink: &mut impl Sink) {
        self.settle_media(sink);
        self.compare_audio();
        self.look_ahead();
        if time >= self.next {
            self.fire(time, sink);
        }
    }

    /// Has media take in what has come. A key that it hears may be an order, which comes before the packets behind it.
    fn settle_media(&mut self, sink: &mut impl Sink) {
        loop {
            self.media.settle(sink);
            if !self.media.has_pressed() {
                break;
            }
            self.hear_keys(sink);
        }
        if self.media.has_strays() {
            self.hear_strays(sink);
        }
    }

    /// Streams that no call claims may be those of one that only seemed to be over.
    #[cold]
    fn hear_strays(&mut self, sink: &mut impl Sink) {
        let mut orders = Orders::new();
        for (time, flow, ssrc) in self.media.take_strays() {
            self.signalling.hear_stray(time, &flow, ssrc, &mut orders);
        }
        self.obey(orders, sink);
        self.media.watch(self.signalling.has_asleep());
    }

    /// Fires deadlines in the order of their times, whichever half they belong to: so a replay and a live run, which ask at
    /// different moments, do the same.
    #[cold]
    fn fire(&mut self, now: Timestamp, sink: &mut impl Sink) {
        self.settle_media(sink);
        while let Some(at) = self.earliest().filter(|&at| at <= now) {
            let mut orders = Orders::new();
            let media = &self.media;
            self.signalling
                .handle_timeout(at, |call| media.last_media(call), &mut orders);
            self.obey(orders, sink);
            self.media.handle_timeout(at, sink);
            let mut messages = Vec::new();
            self.counters.sip_stream_bytes_skipped += self.streams.expire(at, &mut messages);
            self.handle_stream_messages(messages, sink);
            self.compare_audio();
        }
        self.look_ahead();
    }

    /// Audio that was sampled as blocks were closed may say that two calls are one conversation: a deadline tells when.
    fn compare_audio(&mut self) {
        let samples = self.media.take_samples();
        self.signalling.hear(&samples);
    }

    fn look_ahead(&mut self) {
        self.next = self.earliest().unwrap_or(Timestamp::MAX);
    }

    fn earliest(&self) -> Option<Timestamp> {
        let (signalling, media) = (self.signalling.next_timeout(), self.media.next_timeout());
        let streams = self.streams.next_timeout();
        signalling.into_iter().chain(media).chain(streams).min()
    }

    #[inline]
    fn handle_unit(&mut self, unit: Unit<'_>, sink: &mut impl Sink) {
        match unit {
            Unit::Datagram(datagram) => self.handle_datagram(&datagram, sink),
            Unit::Stream(bytes) => {
                let mut messages = Vec::new();
                self.counters.sip_stream_bytes_skipped += self.streams.push(&bytes, &mut messages);
                self.handle_stream_messages(messages, sink);
                self.note_deadline(self.streams.next_timeout());
            }
        }
    }

    fn handle_stream_messages(&mut self, messages: Vec<StreamMessage>, sink: &mut impl Sink) {
        for message in messages {
            self.handle_sip(message.time, &message.flow, &message.bytes, sink);
        }
    }

    #[inline]
    fn handle_datagram(&mut self, datagram: &Datagram<'_>, sink: &mut impl Sink) {
        if let Some(rtp) = RtpPacket::parse(datagram.payload) {
            if self.media.is_full_for(datagram.payload.len()) {
                self.settle(datagram.time, sink);
            }
            self.media
                .handle_rtp(datagram.time, &datagram.flow, &rtp, datagram.payload);
        } else {
            self.handle_other_datagram(datagram, sink);
        }
    }

    #[cold]
    fn handle_other_datagram(&mut self, datagram: &Datagram<'_>, sink: &mut impl Sink) {
        if sip::looks_like_sip(datagram.payload) {
            self.handle_sip(datagram.time, &datagram.flow, datagram.payload, sink);
        } else if is_rtcp(datagram.payload) {
            self.settle(datagram.time, sink);
            self.handle_rtcp(datagram);
        } else if self.hear_sealed(datagram, sink) {
            self.settle(datagram.time, sink);
        } else {
            self.counters.other_datagrams += 1;
            if rtp::zrtp_secures(datagram.payload) {
                self.settle(datagram.time, sink);
                self.media.note_zrtp(&datagram.flow);
            }
        }
    }

    /// Whether it is RTP whose padding cannot be seen, since it is encrypted.
    fn hear_sealed(&mut self, datagram: &Datagram<'_>, sink: &mut impl Sink) -> bool {
        if RtpPacket::parse_sealed(datagram.payload).is_none() {
            return false;
        }
        // What came before it may be what tells of its stream.
        self.settle(datagram.time, sink);
        let (time, flow) = (datagram.time, &datagram.flow);
        self.media
            .handle_sealed_rtp(time, flow, datagram.payload, sink)
    }

    fn handle_rtcp(&mut self, datagram: &Datagram<'_>) {
        self.counters.rtcp_packets += 1;
        let mut opened = Vec::new();
        let plain = match self
            .media
            .open_rtcp(&datagram.flow, datagram.payload, &mut opened)
        {
            Rtcp::Plain => datagram.payload,
            Rtcp::Opened => &opened,
            Rtcp::Failed | Rtcp::Hidden => return,
        };
        self.media.handle_rtcp(datagram.time, &datagram.flow, plain);
    }

    fn handle_sip(&mut self, time: Timestamp, flow: &Flow, bytes: &[u8], sink: &mut impl Sink) {
        let bytes = sip::decode_head(bytes);
        let message = match Message::parse(&bytes) {
            Ok(message) => message,
            Err(error) => {
                self.counters.sip_malformed += 1;
                self.counters.sip_faults.add(error.into());
                return;
            }
        };
        self.counters.sip_messages += 1;
        self.counters.sip_faults.add(message.faults());
        if let Some(body) = message.sdp() {
            self.counters.sdp_faults.add(SdpFaults::of(body));
        }
        self.settle(time, sink);
        let mut orders = Orders::new();
        self.signalling
            .handle_message(time, flow, &bytes, &message, &mut orders);
        self.obey(orders, sink);
        // A call alone has nobody to be compared with.
        self.media.listen(self.signalling.compares_audio());
        self.look_ahead();
    }

    fn obey(&mut self, orders: Orders, sink: &mut impl Sink) {
        for order in orders {
            match order {
                Order::Tell(call, info) => sink.event(Event::Call { call, info }),
                Order::Plan(plan) => {
                    self.media.handle_plan(plan, self.now, sink);
                    if self.media.has_pressed() {
                        self.hear_keys(sink);
                    }
                }
                Order::Keep(call, message) => sink.event(Event::Signalling { call, message }),
                Order::Remember(call, change) => sink.event(Event::Standing { call, change }),
                Order::End(end) => self.end_call(*end, sink),
            }
        }
    }

    /// Keys that media heard may ask for something.
    #[cold]
    fn hear_keys(&mut self, sink: &mut impl Sink) {
        let mut orders = Orders::new();
        for (call, digit) in self.media.take_pressed() {
            self.signalling
                .press(call, digit, KeySource::Media, &mut orders);
        }
        self.obey(orders, sink);
    }

    fn end_call(&mut self, end: SignallingEnd, sink: &mut impl Sink) {
        // Where the end was heard, silence before it is the call's; where the call only faded away, nobody knows.
        let pad_to = matches!(
            end.reason,
            EndReason::Bye { .. } | EndReason::Cancelled | EndReason::Rejected { .. }
        )
        .then_some(end.ended_at);
        let answered = end.info.answered_at.is_some();
        let media = self.media.end_call(end.call, pad_to, answered, sink);
        let media = media.unwrap_or_else(|| media::MediaEnd::nothing(answered));
        if end.reason == EndReason::MediaTimeout {
            let streams = media.streams.iter().map(|s| (s.flow, s.ssrc));
            self.signalling.remember_streams(end.call, streams);
            self.media.watch(self.signalling.has_asleep());
        }
        let vantages = &mut self.media.vantages;
        vantages.note_call(end.info.vantage, &media.streams, end.heard);
        let mut digits = end.digits;
        digits.sort_by_key(|digit| digit.at);
        sink.event(Event::Ended(Box::new(CallEnd {
            call: end.call,
            info: end.info,
            ended_at: end.ended_at,
            reason: end.reason,
            status: end.status,
            disposition: media.disposition,
            length_samples: media.length_samples,
            streams: media.streams,
            holds: end.holds,
            digits,
            dropped_before: 0,
            suspicious: Suspicious {
                requests: end.suspicious_requests,
                media_packets: media.suspicious_packets,
            },
            signalling_omitted: end.signalling_omitted,
            may_send: media.may_send,
        })));
    }

    fn finish(&mut self, reason: EndReason, sink: &mut impl Sink) {
        let mut messages = Vec::new();
        self.counters.sip_stream_bytes_skipped += self.streams.finish(&mut messages);
        self.handle_stream_messages(messages, sink);
        self.settle_media(sink);
        self.compare_audio();
        let mut orders = Orders::new();
        self.signalling.finish(self.now, reason, &mut orders);
        self.obey(orders, sink);
        self.look_ahead();
    }

    #[inline]
    fn note_deadline(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at
            && at < self.next
        {
            self.next = at;
        }
    }
}

/// Names one call in logs.
impl std::fmt::Display for CallKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
