//! What media knows of one call.

use smallvec::SmallVec;

use super::stream::{Stream, StreamKey};
use super::timeline::Timeline;
use crate::base::{Endpoint, Flow, PerSide, Side, Timestamp, Vantage};
use crate::codec::{Codec, PayloadFormat};
use crate::engine::event::{Digit, Disposition, Event, Sink};
use crate::engine::plan::{MediaPlan, SidePlan};

/// A stream that is quiet for this long gives its track up to any other.
const TRACK_QUIET_NANOS: i64 = 1_000_000_000;
/// One that shares its addresses with a newer SSRC, for this long.
const SSRC_QUIET_NANOS: i64 = 100_000_000;
/// Endpoints learned from packets, a call.
const MAX_LEARNED: usize = 8;
/// Digits kept of one call.
const MAX_DIGITS: usize = 1024;
/// Streams reported of one call; further ones are counted with the call's losses but not listed.
pub const MAX_STREAMS: usize = 256;

#[derive(Debug)]
pub struct MediaCall {
    pub plan: MediaPlan,
    pub timeline: Option<Timeline>,
    pub tracks: PerSide<Track>,
    pub streams: SmallVec<[u32; 4]>,
    pub learned: SmallVec<[(Vantage, Endpoint, Side); 2]>,
    pub last_media: Option<Timestamp>,
    pub heard: Heard,
    pub digits: Vec<Digit>,
    pub block_timer_set: bool,
}

/// What kinds of packets came, to say why there is no recording.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    pub decodable: bool,
    pub undecodable: bool,
    pub encrypted: bool,
    pub other: bool,
}

impl Heard {
    pub fn disposition(self, answered: bool) -> Disposition {
        match self {
            Heard {
                decodable: true, ..
            } => Disposition::Recorded,
            Heard {
                undecodable: true, ..
            } => Disposition::UnsupportedCodec,
            Heard {
                encrypted: true, ..
            } => Disposition::Encrypted,
            Heard { other: true, .. } => Disposition::NoAudio,
            _ if answered => Disposition::NoMedia,
            _ => Disposition::NotAnswered,
        }
    }

    pub fn note(&mut self, codec: Codec) {
        match codec {
            Codec::ComfortNoise | Codec::TelephoneEvent => self.other = true,
            codec if codec.is_decodable() => self.decodable = true,
            _ => self.undecodable = true,
        }
    }
}

/// Which stream is one side's audio at the moment. A side has one voice: where two streams claim it (forks that ring with
/// early media, packets from elsewhere), one is placed and the other counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track {
    holder: Option<Holder>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    stream: u32,
    key: StreamKey,
    first_at: Timestamp,
    last_at: Timestamp,
    as_planned: bool,
}

impl Track {
    /// Whether `stream` may be placed on this track.
    #[inline]
    pub fn claim(&mut self, id: u32, stream: &Stream, side: &SidePlan, time: Timestamp) -> bool {
        if let Some(holder) = &mut self.holder
            && holder.stream == id
            && holder.key == stream.key
        {
            holder.last_at = time;
            return true;
        }
        self.contest(id, stream, side, time)
    }

    #[cold]
    fn contest(&mut self, id: u32, stream: &Stream, side: &SidePlan, time: Timestamp) -> bool {
        let as_planned = side.endpoints.contains(&stream.key.flow.source);
        let wins = self.holder.is_none_or(|holder| {
            let quiet = time.nanos_since(holder.last_at);
            if holder.key.flow == stream.key.flow {
                stream.first_at >= holder.first_at || quiet > SSRC_QUIET_NANOS
            } else {
                as_planned && !holder.as_planned || quiet > TRACK_QUIET_NANOS
            }
        });
        if wins {
            let (key, first_at) = (stream.key, stream.first_at);
            self.holder = Some(Holder {
                stream: id,
                key,
                first_at,
                last_at: time,
                as_planned,
            });
        }
        wins
    }

    /// Whether another flow than `flow` is being placed at `time`.
    pub fn occupied_by_other(&self, flow: &Flow, time: Timestamp) -> bool {
        self.holder
            .is_some_and(|h| h.key.flow != *flow && time.nanos_since(h.last_at) < TRACK_QUIET_NANOS)
    }

    fn replan(&mut self, side: &SidePlan) {
        if let Some(holder) = &mut self.holder {
            holder.as_planned = side.endpoints.contains(&holder.key.flow.source);
        }
    }
}

impl MediaCall {
    pub fn new(plan: MediaPlan) -> Self {
        MediaCall {
            plan,
            timeline: None,
            tracks: PerSide::default(),
            streams: SmallVec::new(),
            learned: SmallVec::new(),
            last_media: None,
            heard: Heard::default(),
            digits: Vec::new(),
            block_timer_set: false,
        }
    }

    /// Time zero: the first audio of either side.
    #[cold]
    pub fn begin(&mut self, start: Timestamp, codec: Codec, sink: &mut impl Sink) {
        let sample_rate_hz = self.recording_rate_hz(codec);
        self.timeline = Some(Timeline::new(start, sample_rate_hz));
        sink.event(Event::Recording {
            call: self.plan.call,
            start,
            sample_rate_hz,
        });
    }

    /// Takes a new plan.
    pub fn replan(&mut self, plan: MediaPlan) {
        self.plan = plan;
        for side in Side::BOTH {
            self.tracks[side].replan(&self.plan.sides[side]);
        }
    }

    /// What `payload_type` means in a packet from `sender`: as the receiver's SDP says, or the sender's, or RFC 3551.
    pub fn format(&self, sender: Side, payload_type: u8) -> PayloadFormat {
        let known = |side: Side| {
            self.plan.sides[side]
                .formats
                .iter()
                .find(|f| f.payload_type == payload_type)
                .copied()
        };
        known(sender.other())
            .or_else(|| known(sender))
            .unwrap_or_else(|| PayloadFormat::from_static(payload_type))
    }

    /// Rate of the recording whose first packet is of `codec`.
    pub fn recording_rate_hz(&self, codec: Codec) -> u32 {
        if self.plan.wideband || codec.is_wideband() {
            16_000
        } else {
            8000
        }
    }

    /// Places that the plan names, with the side that receives there.
    pub fn planned_places(&self) -> SmallVec<[(Vantage, Endpoint, Side); 4]> {
        let mut places = SmallVec::new();
        for &vantage in &self.plan.vantages {
            for (side, plan) in self.plan.sides.iter() {
                places.extend(
                    plan.endpoints
                        .iter()
                        .map(|&endpoint| (vantage, endpoint, side)),
                );
            }
        }
        places
    }

    /// The end of a flow that the plan does not know, if the other end is as planned: the real address of a phone behind a
    /// NAT. Remembered, and given back once.
    pub fn learn(&mut self, flow: &Flow, sender: Side) -> Option<(Vantage, Endpoint, Side)> {
        let planned =
            |side: Side, endpoint: &Endpoint| self.plan.sides[side].endpoints.contains(endpoint);
        let source_planned = planned(sender, &flow.source);
        let destination_planned = planned(sender.other(), &flow.destination);
        let place = match (source_planned, destination_planned) {
            (false, true) => (flow.vantage, flow.source, sender),
            (true, false) => (flow.vantage, flow.destination, sender.other()),
            _ => return None,
        };
        if self.learned.contains(&place) || self.learned.len() == MAX_LEARNED {
            return None;
        }
        self.learned.push(place);
        Some(place)
    }

    pub fn press(&mut self, digit: Digit) {
        if self.digits.len() < MAX_DIGITS {
            self.digits.push(digit);
        }
    }
}
