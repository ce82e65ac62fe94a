//! From a packet to its place on a timeline.

use super::call::MediaCall;
use super::payloads::{Payloads, Stored};
use super::stream::{Kept, Meaning, Stream};
use super::timeline::Put;
use super::{MediaCounters, REORDER_ALLOWANCE, pausing};
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

/// Looks up what `payload_type` means and remembers it with the stream.
#[cold]
pub fn change_meaning(
    stream: &mut Stream,
    call: &mut MediaCall,
    side: Side,
    payload_type: u8,
) -> Meaning {
    let format = call.format(side, payload_type);
    let encrypted = call.keyless(side);
    let number = call
        .timeline
        .as_mut()
        .and_then(|timeline| timeline.format(format));
    let meaning = Meaning {
        format,
        number,
        encrypted,
    };
    if encrypted.is_some() {
        call.heard.encrypted = true;
    } else {
        call.heard.note(format.codec);
    }
    stream.mean(Some(meaning));
    meaning
}

/// First sample of a packet; `None` when it has to wait.
#[inline]
pub fn position(
    stream: &mut Stream,
    call: &MediaCall,
    format: &PayloadFormat,
    arrived: &Arrived,
) -> Option<i64> {
    let timeline = call
        .timeline
        .as_ref()
        .expect("placing begins with a timeline");
    let clock = stream
        .clock
        .get_or_insert_with(|| StreamClock::new(format.clock_rate_hz, timeline.sample_rate_hz));
    if format.codec == Codec::TelephoneEvent {
        // All packets of an event carry the time of its start: they say nothing about the clock.
        return Some(clock.position_of(arrived.timestamp));
    }
    if arrived.overtaken
        && let Some(position) = clock.place_late(
            timeline.start,
            arrived.time,
            arrived.timestamp,
            format.clock_rate_hz,
        )
    {
        return Some(position);
    }
    if clock.clock_rate_hz() != format.clock_rate_hz {
        clock.set_clock_rate(format.clock_rate_hz);
    }
    match clock.place(timeline.start, arrived.time, arrived.timestamp) {
        Placement::At { position } | Placement::Anchored { position } => Some(position),
        Placement::Wait => None,
    }
}

/// Puts a payload where it belongs, but for what lies in a pause.
#[inline]
#[allow(
    clippy::too_many_arguments,
    reason = "parts of one object, borrowed apart"
)]
pub fn put(
    stream: &mut Stream,
    call: &mut MediaCall,
    side: Side,
    meaning: &Meaning,
    position: i64,
    arrived: &Arrived,
    payloads: &mut Payloads,
    sink: &mut impl Sink,
    counters: &mut MediaCounters,
) {
    if call.has_pauses {
        pausing::put_outside(
            stream, call, side, meaning, position, arrived, payloads, sink, counters,
        );
    } else {
        put_whole(
            stream, call, side, meaning, position, arrived, payloads, sink, counters,
        );
    }
}

/// Puts all of a payload where it belongs.
#[inline]
#[allow(
    clippy::too_many_arguments,
    reason = "parts of one object, borrowed apart"
)]
pub fn put_whole(
    stream: &mut Stream,
    call: &mut MediaCall,
    side: Side,
    meaning: &Meaning,
    position: i64,
    arrived: &Arrived,
    payloads: &mut Payloads,
    sink: &mut impl Sink,
    counters: &mut MediaCounters,
) {
    let timeline = call
        .timeline
        .as_mut()
        .expect("placing begins with a timeline");
    if !timeline.has_open_blocks() {
        timeline.skip_to(arrived.time - REORDER_ALLOWANCE);
    }
    let samples = meaning
        .format
        .codec
        .samples_at(timeline.sample_rate_hz, payloads.bytes(arrived.stored));
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
                stream: stream.ordinal,
                format,
            };
            timeline.put(side, piece, arrived.stored, samples, payloads)
        }
    };
    match placed {
        Put::Done if meaning.format.codec.is_decodable() => call.heard.decodable = true,
        Put::Done => keep_header(stream, call, side, meaning, position, arrived),
        Put::Late(mut block) => {
            if meaning.format.codec.is_kept_raw() {
                let header = header(stream, call, side, arrived);
                block.headers[side].push(header);
            }
            sink.event(Event::Block {
                call: call.plan.call,
                block,
            });
        }
        Put::Outside => {
            stream.not_placed += 1;
            counters.not_placed += 1;
        }
    }
}

/// What cannot be decoded here is kept with what its header said.
#[cold]
fn keep_header(
    stream: &Stream,
    call: &mut MediaCall,
    side: Side,
    meaning: &Meaning,
    position: i64,
    arrived: &Arrived,
) {
    if !meaning.format.codec.is_kept_raw() {
        return;
    }
    let header = header(stream, call, side, arrived);
    if let Some(timeline) = &mut call.timeline {
        timeline.keep_header(side, position, header);
    }
}

fn header(stream: &Stream, call: &MediaCall, side: Side, arrived: &Arrived) -> RawHeader {
    RawHeader {
        source: stream.key.flow.source,
        destination: stream.key.flow.destination,
        ssrc: stream.key.ssrc,
        timestamp: arrived.timestamp,
        marker: arrived.marker,
        fmtp: call.fmtp(side, arrived.payload_type),
    }
}

/// Places what had to wait, by the anchor found since.
pub fn place_kept(
    stream: &mut Stream,
    call: &mut MediaCall,
    side: Side,
    payloads: &mut Payloads,
    sink: &mut impl Sink,
    counters: &mut MediaCounters,
    kept_bytes: &mut usize,
) {
    let (kept, bytes) = stream.take_kept();
    *kept_bytes -= bytes;
    for packet in kept {
        let format = call.format(side, packet.payload_type);
        let place =
            call.timeline
                .as_mut()
                .zip(stream.clock.as_ref())
                .and_then(|(timeline, clock)| {
                    let position =
                        clock.place_kept(timeline.start, packet.time, packet.timestamp)?;
                    let number = timeline.format(format);
                    Some((
                        Meaning {
                            format,
                            number,
                            encrypted: None,
                        },
                        position,
                    ))
                });
        match place {
            Some((meaning, position)) => {
                put(
                    stream,
                    call,
                    side,
                    &meaning,
                    position,
                    &packet.arrived(payloads),
                    payloads,
                    sink,
                    counters,
                );
            }
            None => {
                stream.not_placed += 1;
                counters.not_placed += 1;
            }
        }
    }
}
