//! From a packet to its place on a timeline.

use super::call::MediaCall;
use super::packets::Kept;
use super::payloads::{Payloads, Stored};
use super::stream::{Apart, Meaning, Stream};
use super::timeline::Put;
use super::{MediaCounters, REORDER_ALLOWANCE};
use crate::base::{Side, Timestamp};
use crate::codec::Codec;
use crate::codec::PayloadFormat;
use crate::engine::event::{Event, Piece, RawHeader, Sink};
use crate::rtp::{Placement, RtpPacket, StreamClock};

/// One packet on its way to its place.
#[derive(Clone, Copy)]
pub struct Arrived {
    pub time: Timestamp,
    pub number: u64,
    /// A newer packet of the stream had come when it came.
    pub overtaken: bool,
    pub payload_type: u8,
    pub timestamp: u32,
    pub marker: bool,
    pub stored: Stored,
    /// The whole packet.
    pub packet: Stored,
}

impl Arrived {
    pub fn keep(&self, payloads: &Payloads) -> Kept {
        Kept {
            time: self.time,
            payload_type: self.payload_type,
            number: self.number,
            overtaken: self.overtaken,
            timestamp: self.timestamp,
            marker: self.marker,
            bytes: payloads.bytes(self.stored).into(),
            is_whole: false,
        }
    }

    /// Keeps the whole of the packet that this came in: it may turn out to be encrypted.
    pub fn keep_whole(&self, payloads: &Payloads) -> Kept {
        Kept {
            time: self.time,
            payload_type: self.payload_type,
            number: self.number,
            overtaken: self.overtaken,
            timestamp: self.timestamp,
            marker: self.marker,
            bytes: payloads.bytes(self.packet).into(),
            is_whole: true,
        }
    }
}

impl Kept {
    /// As it arrived. The payload is stored anew, and not held.
    pub fn arrived(&self, payloads: &mut Payloads) -> Arrived {
        let payload = match self.is_whole {
            true => RtpPacket::parse(&self.bytes).map_or(&[][..], |rtp| rtp.payload),
            false => &self.bytes,
        };
        let stored = payloads.store(payload);
        Arrived {
            time: self.time,
            number: self.number,
            overtaken: self.overtaken,
            payload_type: self.payload_type,
            timestamp: self.timestamp,
            marker: self.marker,
            stored,
            packet: stored,
        }
    }
}

/// What `payload_type` means. One that nobody named has the clock of what its source sent before: a source has one (RFC 3550
/// section 3).
fn format_of(stream: &Stream, call: &MediaCall, side: Side, payload_type: u8) -> PayloadFormat {
    let mut format = call.format(side, payload_type);
    if !format.has_clock()
        && let Some(before) = stream.meaning
    {
        format.clock_rate_hz = match before.format.has_clock() {
            true => before.ticks_hz,
            false => before.format.clock_rate_hz,
        };
    }
    format
}

/// Looks up what `payload_type` means and remembers it with the stream.
#[cold]
pub fn change_meaning(
    stream: &mut Stream,
    call: &mut MediaCall,
    side: Side,
    payload_type: u8,
) -> Meaning {
    let format = format_of(stream, call, side, payload_type);
    let apart = match call.is_other_medium(payload_type) {
        true => Some(Apart::OtherMedium),
        false => call.keyless(side).map(Apart::Encrypted),
    };
    stream.is_other_medium = apart == Some(Apart::OtherMedium);
    let number = call
        .timeline
        .as_mut()
        .and_then(|timeline| timeline.format(format));
    let meaning = Meaning {
        format,
        ticks_hz: stream.pacing.ticks_hz(&format),
        number,
        apart,
    };
    match apart {
        Some(Apart::Encrypted(_)) => call.heard.encrypted = true,
        Some(Apart::OtherMedium) => call.heard.other = true,
        None => call.heard.note(format.codec),
    }
    stream.mean(Some(meaning));
    meaning
}

/// What clocks are told of a packet: its RTP timestamp, or, where nobody said how fast that runs, when it came.
#[inline]
pub fn ticks(format: &PayloadFormat, timestamp: u32, time: Timestamp) -> u32 {
    if format.has_clock() {
        return timestamp;
    }
    (time.as_nanos() / (1_000_000_000 / i64::from(format.ticks_hz()))) as u32
}

/// First sample of a packet; `None` when it has to wait.
#[inline]
pub fn position(
    stream: &mut Stream,
    call: &mut MediaCall,
    meaning: &Meaning,
    arrived: &Arrived,
) -> Option<i64> {
    let format = &meaning.format;
    let timeline = call
        .timeline
        .as_ref()
        .expect("placing begins with a timeline");
    let (ticks, rate_hz) = (
        ticks(format, arrived.timestamp, arrived.time),
        meaning.ticks_hz,
    );
    let clock = stream
        .clock
        .get_or_insert_with(|| StreamClock::new(rate_hz, timeline.sample_rate_hz));
    if format.codec == Codec::TelephoneEvent {
        return Some(clock.place_event(timeline.start, arrived.time, arrived.timestamp));
    }
    if arrived.overtaken
        && let Some(position) = clock.place_late(timeline.start, arrived.time, ticks, rate_hz)
    {
        return Some(position);
    }
    if clock.clock_rate_hz() != rate_hz {
        clock.set_clock_rate(rate_hz);
    }
    match clock.place(timeline.start, arrived.time, ticks) {
        Placement::At { position } => Some(position),
        Placement::Anchored { position } => {
            call.is_settling = true;
            stream.doubt_clock(arrived.time, ticks);
            stream.note_anchor(arrived.number as u32);
            Some(position)
        }
        Placement::Wait => None,
    }
}

/// What a packet is put with: parts of [`super::Media`], borrowed apart.
pub struct Placing<'m> {
    pub stream: &'m mut Stream,
    pub call: &'m mut MediaCall,
    pub side: Side,
    pub payloads: &'m mut Payloads,
    pub counters: &'m mut MediaCounters,
}

impl Placing<'_> {
    /// Puts a payload where it belongs, but for what lies in a pause.
    #[inline]
    pub fn put(
        &mut self,
        meaning: &Meaning,
        position: i64,
        arrived: &Arrived,
        sink: &mut impl Sink,
    ) {
        if self.call.has_pauses {
            self.put_outside(meaning, position, arrived, sink);
        } else {
            self.put_whole(meaning, position, arrived, sink);
        }
    }

    /// Puts all of a payload where it belongs.
    #[inline]
    pub(super) fn put_whole(
        &mut self,
        meaning: &Meaning,
        position: i64,
        arrived: &Arrived,
        sink: &mut impl Sink,
    ) {
        let codec = meaning.format.codec;
        let timeline = (self.call.timeline.as_mut()).expect("placing begins with a timeline");
        timeline.resume_at(arrived.time - REORDER_ALLOWANCE);
        let payload = self.payloads.bytes(arrived.stored);
        let samples = codec.samples_at(timeline.sample_rate_hz, payload);
        let placed = match meaning.number {
            // A call with more formats than can be numbered is broken.
            None => Put::Outside,
            Some(format) => {
                let piece = Piece {
                    position,
                    number: arrived.number as u32,
                    offset: 0,
                    len: 0,
                    chunk: 0,
                    stream: self.stream.ordinal,
                    format,
                };
                timeline.put(self.side, piece, arrived.stored, samples, self.payloads)
            }
        };
        match placed {
            Put::Done if codec.is_decodable() => self.call.heard.decodable = true,
            Put::Done => self.keep_header(codec, position, arrived),
            Put::Late(mut block) => {
                if codec.is_kept_raw() {
                    block.headers[self.side].push(self.header(arrived));
                }
                let is_told = self.call.timeline.as_ref().is_some_and(|t| t.is_fixed);
                if !is_told {
                    self.call.tell_start(sink);
                }
                let call = self.call.plan.call;
                sink.event(Event::Block { call, block });
            }
            Put::Outside => self.count_not_placed(),
        }
    }

    /// What cannot be decoded here is kept with what its header said.
    #[cold]
    fn keep_header(&mut self, codec: Codec, position: i64, arrived: &Arrived) {
        if !codec.is_kept_raw() {
            return;
        }
        let header = self.header(arrived);
        if let Some(timeline) = &mut self.call.timeline {
            timeline.keep_header(self.side, position, header);
        }
    }

    fn header(&self, arrived: &Arrived) -> RawHeader {
        let key = &self.stream.key;
        RawHeader {
            source: key.flow.source,
            destination: key.flow.destination,
            ssrc: key.ssrc,
            timestamp: arrived.timestamp,
            marker: arrived.marker,
            fmtp: self.call.fmtp(self.side, arrived.payload_type),
        }
    }

    fn count_not_placed(&mut self) {
        self.stream.not_placed += 1;
        self.counters.not_placed += 1;
    }

    /// Places what had to wait, by the anchor found since.
    pub fn place_kept(&mut self, kept_bytes: &mut usize, sink: &mut impl Sink) {
        let (kept, bytes) = self.stream.take_kept();
        *kept_bytes -= bytes;
        for packet in kept {
            let Some((meaning, position)) = self.place_of(&packet) else {
                self.count_not_placed();
                continue;
            };
            let arrived = packet.arrived(self.payloads);
            self.put(&meaning, position, &arrived, sink);
        }
    }

    fn place_of(&mut self, packet: &Kept) -> Option<(Meaning, i64)> {
        if self.call.is_other_medium(packet.payload_type) {
            return None;
        }
        let format = format_of(self.stream, self.call, self.side, packet.payload_type);
        let (timeline, clock) = (self.call.timeline.as_mut()?, self.stream.clock.as_ref()?);
        let ticks = ticks(&format, packet.timestamp, packet.time);
        let position = clock.place_kept(timeline.start, packet.time, ticks)?;
        let meaning = Meaning {
            format,
            ticks_hz: self.stream.pacing.ticks_hz(&format),
            number: timeline.format(format),
            apart: None,
        };
        Some((meaning, position))
    }
}
