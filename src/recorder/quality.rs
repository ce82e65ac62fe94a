//! How well a call was heard, as sidecar and catalog say it.

use std::time::Duration;

use super::level::Level;
use crate::base::{PerSide, Side};
use crate::codec::Band;
use crate::engine::event::{CallEnd, StreamReport};
use crate::engine::quality::{CallQuality, Reports};
use crate::rtp::rtcp::VoipMetrics;
use crate::storage::{QualityRecord, RtcpRecord, StreamQualityRecord, VoipRecord};

/// A side that is heard for so long, while the other is not, makes a call one-way.
const ONE_WAY: Duration = Duration::from_secs(3);

/// How loud each side was; `None` for one that nothing was drawn of.
pub type Levels = PerSide<Option<Box<Level>>>;

/// Of a call that is over. `levels` where it was recorded.
pub fn call_quality(end: &CallEnd, levels: Option<&Levels>) -> QualityRecord {
    let quality = CallQuality::of(&end.streams);
    QualityRecord {
        mos: quality.mos.map(|mos| rounded(mos, 100.0)),
        expected: quality.expected,
        lost: quality.lost,
        mirror_lost: quality.mirror_lost,
        discarded: quality.discarded,
        jitter_ms: quality.jitter.map(millis),
        round_trip_ms: quality.round_trip.map(millis),
        unheard: unheard(end, levels),
    }
}

/// The side that was free to speak and was not heard, in an answered call in which the other was.
fn unheard(end: &CallEnd, levels: Option<&Levels>) -> Option<Side> {
    end.info.answered_at?;
    let mut silent = Side::BOTH.into_iter().filter(|&side| {
        end.may_send[side]
            && is_silent(end, levels, side)
            && !is_silent(end, levels, side.other())
            && speaks(end, levels, side.other())
    });
    // Each excludes the other.
    silent.next()
}

fn sent(end: &CallEnd, side: Side) -> Duration {
    let streams = end
        .streams
        .iter()
        .filter(|s| s.side == side && s.quality.counted);
    let of =
        |s: &StreamReport| s.quality.packet_duration * u32::try_from(s.packets).unwrap_or(u32::MAX);
    streams.map(of).sum()
}

fn is_silent(end: &CallEnd, levels: Option<&Levels>, side: Side) -> bool {
    let nothing_came = sent(end, side) < ONE_WAY / 10;
    let says_nothing = levels.is_some_and(|levels| {
        levels[side]
            .as_ref()
            .is_some_and(|level| !level.speaks_for(0.01))
    });
    nothing_came || says_nothing
}

fn speaks(end: &CallEnd, levels: Option<&Levels>, side: Side) -> bool {
    let level = levels.and_then(|levels| levels[side].as_ref());
    let seconds = ONE_WAY.as_secs_f64();
    sent(end, side) >= ONE_WAY && level.is_none_or(|level| level.speaks_for(seconds / 3.0))
}

/// Of one stream.
pub fn stream_quality(stream: &StreamReport) -> StreamQualityRecord {
    let quality = &stream.quality;
    let packet_ms = millis(quality.packet_duration);
    let rating = quality.rating;
    let mirror_lost = quality.mirror_lost();
    StreamQualityRecord {
        counted: quality.counted,
        jitter_mean_ms: millis(quality.jitter_mean),
        jitter_max_ms: millis(quality.jitter_largest),
        packet_ms,
        network_lost: stream.lost.saturating_sub(mirror_lost.unwrap_or(0)),
        mirror_lost,
        discarded: quality.bursts.discarded,
        bursts: quality.bursts.bursts,
        burst_density: rounded(quality.bursts.burst_density, 10_000.0),
        gap_density: rounded(quality.bursts.gap_density, 10_000.0),
        burst_ms: rounded(quality.bursts.burst_packets * packet_ms, 10.0),
        gap_ms: rounded(quality.bursts.gap_packets * packet_ms, 10.0),
        r_factor: rating.map(|rating| rounded(rating.r, 10.0)),
        mos_lq: rating.map(|rating| rounded(rating.mos_lq, 100.0)),
        mos_cq: rating.map(|rating| rounded(rating.mos_cq, 100.0)),
        band: rating.map(|rating| band_name(rating.band).to_owned()),
        rtcp: quality
            .reports
            .as_deref()
            .map(|reports| rtcp(reports, stream)),
    }
}

fn band_name(band: Band) -> &'static str {
    match band {
        Band::Narrow => "narrowband",
        Band::Wide => "wideband",
    }
}

fn rtcp(reports: &Reports, stream: &StreamReport) -> RtcpRecord {
    let rate = f64::from(stream.quality.clock_rate_hz.max(1));
    let ticks = |ticks: u32| rounded(f64::from(ticks) * 1000.0 / rate, 1000.0);
    RtcpRecord {
        sender_packets: reports.sender_packets,
        receiver_reports: reports.receiver_reports,
        receiver_lost: reports.receiver_lost,
        receiver_jitter_ms: ticks(reports.receiver_jitter),
        receiver_jitter_max_ms: ticks(reports.largest_receiver_jitter),
        round_trip_ms: reports.round_trip.map(millis),
        voip: reports.voip.as_ref().map(voip),
    }
}

fn voip(metrics: &VoipMetrics) -> VoipRecord {
    let share = |part: u8| rounded(f64::from(part) / 256.0, 10_000.0);
    let tenths = |mos: u8| f64::from(mos) / 10.0;
    VoipRecord {
        loss_rate: share(metrics.loss_rate),
        discard_rate: share(metrics.discard_rate),
        burst_density: share(metrics.burst_density),
        gap_density: share(metrics.gap_density),
        burst_ms: metrics.burst_ms,
        gap_ms: metrics.gap_ms,
        round_trip_ms: metrics.round_trip_ms,
        end_system_ms: metrics.end_system_ms,
        r_factor: metrics.r_factor,
        mos_lq: metrics.mos_lq.map(tenths),
        mos_cq: metrics.mos_cq.map(tenths),
    }
}

fn millis(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1000.0, 1000.0)
}

fn rounded(value: f64, places: f64) -> f64 {
    (value * places).round() / places
}
