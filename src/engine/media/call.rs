//! What media knows of one call.

use std::sync::Arc;

use smallvec::SmallVec;

use super::moving::Answer;
use super::stream::Stream;
use super::tap::Tap;
use super::timeline::Timeline;
use super::twins::Sharing;
use crate::base::{Endpoint, Flow, PerSide, Side, Timestamp, Vantage};
use crate::codec::{Codec, PayloadFormat};
use crate::engine::event::{Disposition, StreamReport};
use crate::engine::interactions::Sample;
use crate::engine::plan::{MediaPlan, SidePlan};

/// A stream that is quiet for this long gives its track up to any other.
const TRACK_QUIET_NANOS: i64 = 1_000_000_000;
/// One that shares its addresses with another SSRC, for this long.
const SSRC_QUIET_NANOS: i64 = 100_000_000;
/// Packets of an SSRC that wait until the one before is quiet: as many as this, and for as long as that.
pub const CONTESTED: usize = 10;
pub const CONTESTED_NANOS: i64 = 180_000_000;
/// However fast they come.
pub const MAX_CONTESTED: usize = 100;
/// Endpoints learned from packets, a call.
const MAX_LEARNED: usize = 8;
/// Streams reported of one call; further ones are counted with the call's losses but not listed.
pub const MAX_STREAMS: usize = 256;

#[derive(Debug)]
pub struct MediaCall {
    /// Signalling has the same. Not in here: what each packet needs stays close together.
    pub plan: Arc<MediaPlan>,
    /// As the plan says.
    pub record: bool,
    pub timeline: Option<Timeline>,
    pub tracks: PerSide<Track>,
    pub streams: SmallVec<[u32; 4]>,
    /// Of the next stream.
    pub next_ordinal: u16,
    /// Streams that another call has claimed since.
    pub departed: Vec<StreamReport>,
    pub learned: SmallVec<[(Vantage, Endpoint, Side); 2]>,
    pub heard: Heard,
    pub block_timer_set: bool,
    /// A stream began, or began anew, in blocks that are open: see `settling`.
    pub is_settling: bool,
    /// Of a stream it is being found out by which clock it counts: see `pacing`.
    pub has_trials: bool,
    /// Both sides agreed on keys between themselves.
    pub zrtp: bool,
    /// Packets from where no side said it would send, beside those of the side itself.
    pub suspicious_packets: u64,
    /// The plan has pauses.
    pub has_pauses: bool,
    /// Payloads of pauses, to be compared with what others carry. No more of them is kept than their digests.
    pub in_pauses: Vec<Sample>,
    /// Whether any plan so far let a side send.
    pub may_send: PerSide<bool>,
    /// Where somebody listens.
    pub tap: Option<Box<Tap>>,
}

/// What kinds of packets came, to say why there is no recording.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    pub decodable: bool,
    pub undecodable: bool,
    pub encrypted: bool,
    pub other: bool,
    /// Audio that lay in a pause.
    pub paused: bool,
}

impl Heard {
    pub fn disposition(self, answered: bool) -> Disposition {
        match self {
            Heard {
                decodable: true, ..
            } => Disposition::Recorded,
            Heard { paused: true, .. } => Disposition::Paused,
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

    /// Takes note of a codec that was heard; what can be decoded counts when it is placed.
    pub fn note(&mut self, codec: Codec) {
        match codec {
            Codec::ComfortNoise | Codec::TelephoneEvent => self.other = true,
            Codec::Redundancy => {}
            codec => self.undecodable |= !codec.is_decodable(),
        }
    }
}

/// Which stream is one side's audio at the moment. A side has one voice: where two streams claim it (forks that ring with
/// early media, packets from elsewhere), one is placed and the other counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track {
    /// Number of the stream.
    pub holder: Option<u32>,
    /// The side had said where it sends from, and the holder came from another host.
    pub is_unnamed: bool,
}

/// What becomes of a packet whose stream does not hold its side's track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contest {
    /// Its stream holds the track from now on.
    Wins,
    /// It does, and is the sender that held the track before, from another address.
    Moves,
    /// Whether one sender changed its SSRC or two send at once is known in a moment.
    Waits,
    /// Whether its sender is the side may yet be known.
    Doubted,
    Loses {
        /// It came from where the side said nothing of.
        foreign: bool,
    },
}

/// A stream that claims a track.
#[derive(Clone, Copy)]
pub struct Claim<'s> {
    pub stream: &'s Stream,
    pub time: Timestamp,
    pub answer: Answer,
    /// Its numbers went on where the holder's had stopped, as far as is known.
    pub goes_on: bool,
    /// They did, and the holder has sent nothing since.
    pub has_moved: bool,
}

/// Whether a stream takes the track of `side` over from `holder`, at the time of its packet.
///
/// A side that sends from where it said is never displaced by somebody who does not, however long it is silent, unless it is the same
/// sender: its numbers go on, or the other side's voice has followed to it. Behind a NAT, where the side's place was learned, another
/// port of the same host is it again, and so is a place that the other side sends to. One sender that changes its SSRC or its
/// destination sends one stream after the other; and so does a side whose media a PBX moves to the phones, as long as the offer that
/// says so has no answer.
pub fn contest(claim: &Claim<'_>, holder: &Stream, plan: &MediaPlan, side: Side) -> Contest {
    let claimant = claim.stream;
    let quiet = claim.time.nanos_since(holder.last_at);
    let (own, held) = (&claimant.key.flow, &holder.key.flow);
    if (own.vantage, own.source) == (held.vantage, held.source) {
        return if quiet > SSRC_QUIET_NANOS {
            Contest::Wins
        } else if claimant.rival {
            Contest::Loses {
                foreign: own == held,
            }
        } else {
            Contest::Waits
        };
    }
    let ends = |stream: &Stream| {
        let flow = &stream.key.flow;
        let from = plan.sides[side].endpoints.contains(&flow.source);
        let to = plan.sides[side.other()]
            .endpoints
            .contains(&flow.destination);
        (from, to)
    };
    let (by_claimant, by_holder) = (ends(claimant), ends(holder));
    let is_moved = claimant.sharing != Sharing::Alone && by_claimant.0 && by_claimant.1;
    if is_moved && by_holder == by_claimant && !claimant.rival {
        return match quiet > SSRC_QUIET_NANOS {
            true => Contest::Wins,
            false => Contest::Waits,
        };
    }
    let is_long_quiet = quiet > TRACK_QUIET_NANOS;
    let wins = match (by_claimant.0, by_holder.0) {
        (true, _) => by_claimant > by_holder || is_long_quiet,
        (false, true) => is_long_quiet && claim.answer == Answer::Followed,
        (false, false) => {
            is_long_quiet && (own.source.ip() == held.source.ip() || claim.answer != Answer::No)
        }
    };
    let is_next_hop = is_next_hop(claimant, holder);
    let is_beside = claimant.rival && quiet <= SSRC_QUIET_NANOS;
    if wins {
        Contest::Wins
    } else if by_claimant.0 {
        Contest::Loses { foreign: false }
    } else if claim.has_moved && quiet > SSRC_QUIET_NANOS {
        Contest::Moves
    } else if is_beside || is_next_hop && !claim.goes_on {
        Contest::Loses {
            foreign: !is_next_hop,
        }
    } else {
        Contest::Doubted
    }
}

/// Whether two streams are the same audio at two hops, which keeps its SSRC and its numbers.
pub fn is_next_hop(stream: &Stream, other: &Stream) -> bool {
    stream.key.ssrc == other.key.ssrc && stream.sequence.is_beside(&other.sequence)
}

/// Whether a stream comes from another host than its side has said it would send from, and the other side does not answer there.
pub fn is_unnamed(stream: &Stream, plan: &MediaPlan, side: Side, answered: bool) -> bool {
    let named = &plan.sides[side].endpoints;
    let host = stream.key.flow.source.ip();
    !answered && !named.is_empty() && named.iter().all(|place| place.ip() != host)
}

/// Whether a stream is heard at `time`.
pub fn is_heard(stream: &Stream, time: Timestamp) -> bool {
    time.nanos_since(stream.last_at) < TRACK_QUIET_NANOS
}

impl MediaCall {
    pub fn new(plan: Arc<MediaPlan>) -> Self {
        MediaCall {
            may_send: PerSide::of(|side| plan.sides[side].may_send),
            record: plan.record,
            has_pauses: !plan.pauses.is_empty(),
            plan,
            timeline: None,
            tracks: PerSide::default(),
            streams: SmallVec::new(),
            next_ordinal: 0,
            departed: Vec::new(),
            learned: SmallVec::new(),
            heard: Heard::default(),
            block_timer_set: false,
            is_settling: false,
            has_trials: false,
            zrtp: false,
            suspicious_packets: 0,
            tap: None,
            in_pauses: Vec::new(),
        }
    }

    /// Reads something of each part that a packet of `side` needs, so that all of them are at hand.
    #[inline]
    pub fn touch(&self, side: Side) -> u64 {
        let next = self
            .timeline
            .as_ref()
            .map_or(0, Timeline::pieces_of_next_block);
        next ^ u64::from(self.tracks[side].holder.unwrap_or(0)) ^ u64::from(self.record)
    }

    /// Time zero: the first audio of either side. It is told when the first block is closed.
    #[cold]
    pub fn begin(&mut self, start: Timestamp, codec: Codec) {
        let sample_rate_hz = self.recording_rate_hz(codec);
        self.timeline = Some(Timeline::new(start, sample_rate_hz));
        self.is_settling = true;
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

    /// Whether a payload type is that of a medium which shares a port with the audio, and not the audio's, as either side says.
    pub fn is_other_medium(&self, payload_type: u8) -> bool {
        let mut sides = self.plan.sides.iter().map(|(_, side)| side);
        let is_audio = |side: &SidePlan| {
            let mut formats = side.formats.iter();
            formats.any(|format| format.payload_type == payload_type)
        };
        sides.any(|side| side.other_types.contains(payload_type))
            && !self.plan.sides.iter().any(|(_, side)| is_audio(side))
    }

    /// `a=fmtp` of `payload_type` in a packet from `sender`, looked up as [`MediaCall::format`] does.
    pub fn fmtp(&self, sender: Side, payload_type: u8) -> Option<Arc<str>> {
        let known = |side: Side| {
            let mut all = self.plan.sides[side].fmtp.iter();
            all.find(|(known, _)| *known == payload_type)
        };
        let found = known(sender.other()).or_else(|| known(sender));
        found.map(|(_, text)| text.clone())
    }

    /// Rate of the recording whose first packet is of `codec`.
    pub fn recording_rate_hz(&self, codec: Codec) -> u32 {
        if self.plan.wideband || codec.is_wideband() {
            16_000
        } else {
            8000
        }
    }

    pub fn note_directions(&mut self, plan: &MediaPlan) {
        for side in Side::BOTH {
            self.may_send[side] |= plan.sides[side].may_send;
        }
    }

    /// Places of RTCP that the plan names, each with the RTP that belongs to it.
    pub fn rtcp_places(&self) -> impl Iterator<Item = ((Vantage, Endpoint), Endpoint)> {
        let named = self.plan.sides.iter().flat_map(|(_, plan)| &plan.rtcp);
        named.flat_map(|&(rtcp, rtp)| {
            let vantages = self.plan.vantages.iter();
            vantages.map(move |&vantage| ((vantage, rtcp), rtp))
        })
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
}
