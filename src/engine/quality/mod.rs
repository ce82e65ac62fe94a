//! How well a call was heard.
//!
//! In: what was counted of each stream ([`StreamReport`]), and what both ends said of it in RTCP. Out: a rating of each stream by
//! the E-model, loss on the network told from loss on the mirror, and both for the call as a whole. All of it is done when a call
//! is over, but for taking note of RTCP.
//!
//! What the E-model is given:
//!
//! - Loss: packets that the receiver says it lacks, or, where that is more or nobody said, those that the sensor lacks without
//!   those the mirror lost; and packets that a jitter buffer would have discarded ([`crate::rtp::Jitter`]).
//! - Delay: half the round trip of RTCP ([`DEFAULT_TRIP`] where none is known), the jitter buffer, and one packet.

mod emodel;
mod reported;
#[cfg(test)]
pub mod tests;

use std::time::Duration;

pub use self::emodel::Rating;
use self::emodel::{Path, burst_ratio, rate};
pub use self::reported::{Reported, Reports};
use super::event::StreamReport;
use crate::base::Side;
use crate::rtp::{BurstMetrics, JITTER_BUFFER_MS};

/// From one end to the other and back, where RTCP does not tell: a network within one country.
pub const DEFAULT_TRIP: Duration = Duration::from_millis(40);

/// How well one stream was heard.
#[derive(Clone, Debug)]
pub struct StreamQuality {
    /// RFC 3550 appendix A.8, over all packets of audio.
    pub jitter_mean: Duration,
    pub jitter_largest: Duration,
    /// Of one packet; zero where it is not known.
    pub packet_duration: Duration,
    /// Of the RTP clock.
    pub clock_rate_hz: u32,
    pub bursts: BurstMetrics,
    /// `None` where no RTCP of it passed.
    pub reports: Option<Box<Reports>>,
    /// `None` for what is no speech, is encrypted, or is too short to say.
    pub rating: Option<Rating>,
    /// Whether it counts for the call: it is what was heard of its side at its time, and not one of several that say the same.
    pub counted: bool,
}

impl StreamQuality {
    /// Packets that the sensor lacks and the receiver does not.
    pub fn mirror_lost(&self) -> Option<u64> {
        self.reports.as_ref()?.mirror_lost
    }

    /// The share of packets that were not played, as far as is known: 0 to 1.
    fn loss(&self, stream: &StreamReport) -> f64 {
        let on_network = stream.lost.saturating_sub(self.mirror_lost().unwrap_or(0));
        let told = self.reports.as_ref().map_or(0, |r| r.receiver_lost);
        let lost = on_network.max(u64::try_from(told).unwrap_or(0));
        let expected = stream.expected.max(1);
        ((lost + self.bursts.discarded) as f64 / expected as f64).min(1.0)
    }
}

/// Streams with fewer packets are not rated.
const FEWEST_PACKETS: u64 = 10;

/// Rates the streams of a call that is over, and finds those that count for it.
pub fn conclude(streams: &mut [StreamReport]) {
    let trip = round_trip(streams);
    for stream in streams.iter_mut() {
        let rating = rating(stream, trip.unwrap_or(DEFAULT_TRIP));
        stream.quality.rating = rating;
    }
    choose(streams);
}

/// Between the ends and back: what a telephone says of it, or the way from the sensor to one end and to the other.
fn round_trip(streams: &[StreamReport]) -> Option<Duration> {
    let reports = || {
        streams
            .iter()
            .filter_map(|s| Some((s.side, s.quality.reports.as_ref()?)))
    };
    let told = reports().filter_map(|(_, r)| r.voip.map(|voip| u64::from(voip.round_trip_ms)));
    if let Some(millis) = told.filter(|&millis| millis > 0).max() {
        return Some(Duration::from_millis(millis));
    }
    let of = |side: Side| {
        let trips = reports().filter(|(of, _)| *of == side);
        trips.filter_map(|(_, r)| r.round_trip).max()
    };
    match (of(Side::Caller), of(Side::Callee)) {
        (None, None) => None,
        (caller, callee) => Some(caller.unwrap_or_default() + callee.unwrap_or_default()),
    }
}

fn rating(stream: &StreamReport, trip: Duration) -> Option<Rating> {
    let codec = stream.codec.impairment()?;
    let quality = &stream.quality;
    if stream.packets < FEWEST_PACKETS || quality.packet_duration.is_zero() {
        return None;
    }
    let loss = quality.loss(stream);
    let path = Path {
        loss,
        burst_ratio: burst_ratio(loss, quality.bursts.run_packets),
        delay: trip / 2 + Duration::from_millis(JITTER_BUFFER_MS) + quality.packet_duration,
    };
    Some(rate(codec, &path))
}

/// Marks the streams that count: of those of one side that were there at the same time, the one that more of was placed.
fn choose(streams: &mut [StreamReport]) {
    let mut order: Vec<usize> = (0..streams.len()).collect();
    let placed = |s: &StreamReport| s.packets.saturating_sub(s.not_placed);
    order.sort_by_key(|&at| {
        let stream = &streams[at];
        (
            std::cmp::Reverse((placed(stream), stream.packets)),
            stream.first_at,
        )
    });
    let mut chosen: Vec<usize> = Vec::new();
    for at in order {
        let stream = &streams[at];
        let stands_aside = chosen
            .iter()
            .any(|&other| overlaps(stream, &streams[other]));
        if !stands_aside {
            chosen.push(at);
        }
    }
    for (at, stream) in streams.iter_mut().enumerate() {
        stream.quality.counted = chosen.contains(&at);
    }
}

/// Whether `stream` was there mostly while `other`, of the same side, was.
fn overlaps(stream: &StreamReport, other: &StreamReport) -> bool {
    let together = stream
        .last_at
        .min(other.last_at)
        .since(stream.first_at.max(other.first_at));
    stream.side == other.side && 2 * together > stream.last_at.since(stream.first_at)
}

/// How well a call was heard, in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CallQuality {
    /// Packets of both sides that were sent, and those that the sensor lacks.
    pub expected: u64,
    pub lost: u64,
    /// Those of them that the receivers do not lack.
    pub mirror_lost: u64,
    /// Too late to be played.
    pub discarded: u64,
    /// Of the side that is heard worse.
    pub mos: Option<f64>,
    pub jitter: Option<Duration>,
    pub round_trip: Option<Duration>,
}

impl CallQuality {
    /// Of the streams of a call that have been concluded.
    pub fn of(streams: &[StreamReport]) -> CallQuality {
        let counted = || streams.iter().filter(|stream| stream.quality.counted);
        let sum = |of: fn(&StreamReport) -> u64| counted().map(of).sum();
        let sides = Side::BOTH.map(|side| counted().filter(move |stream| stream.side == side));
        let [caller, callee] = sides.clone().map(|streams| {
            mean(streams.filter_map(|s| Some((s.quality.rating?.mos_cq, s.packets))))
        });
        let [caller_jitter, callee_jitter] = sides
            .map(|streams| mean(streams.map(|s| (s.quality.jitter_mean.as_secs_f64(), s.packets))));
        CallQuality {
            expected: sum(|s| s.expected),
            lost: sum(|s| s.lost),
            mirror_lost: sum(|s| s.quality.mirror_lost().unwrap_or(0)),
            discarded: sum(|s| s.quality.bursts.discarded),
            mos: worse(caller, callee, f64::min),
            jitter: worse(caller_jitter, callee_jitter, f64::max).map(Duration::from_secs_f64),
            round_trip: round_trip(streams),
        }
    }
}

fn worse(a: Option<f64>, b: Option<f64>, of: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(of(a, b)),
        (only, None) | (None, only) => only,
    }
}

/// The mean of values, each as heavy as its packets.
fn mean(values: impl Iterator<Item = (f64, u64)>) -> Option<f64> {
    let (sum, weight) = values.fold((0.0, 0.0), |(sum, weight), (value, packets)| {
        (sum + value * packets as f64, weight + packets as f64)
    });
    (weight > 0.0).then(|| sum / weight)
}
