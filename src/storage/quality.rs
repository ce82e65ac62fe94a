//! What a sidecar says of how a call was heard.

use serde::{Deserialize, Serialize};

use crate::base::Side;

/// Of the whole call. Of several streams that carry the same, one counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityRecord {
    /// Mean opinion score of the conversation (ITU-T G.107) of the side that is heard worse: 1 to 4.5.
    pub mos: Option<f64>,
    /// Packets of both sides.
    pub expected: u64,
    /// Those that the sensor lacks, and those of them that the receivers do not lack: lost by the mirror, at least.
    pub lost: u64,
    #[serde(default)]
    pub mirror_lost: u64,
    /// Too late to be played.
    #[serde(default)]
    pub discarded: u64,
    /// Mean jitter of the side that has more.
    pub jitter_ms: Option<f64>,
    /// Between the two ends and back, as RTCP tells.
    pub round_trip_ms: Option<f64>,
    /// The side that was not heard though it might have been, while the other was: one-way audio.
    pub unheard: Option<Side>,
}

/// Of one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamQualityRecord {
    /// Whether the stream counts for the call.
    pub counted: bool,
    /// RFC 3550 appendix A.8.
    pub jitter_mean_ms: f64,
    pub jitter_max_ms: f64,
    /// Of one packet.
    pub packet_ms: f64,
    /// Of those lost: not by the mirror, as far as is known.
    pub network_lost: u64,
    /// By the mirror, at least; `None` where no receiver reported.
    pub mirror_lost: Option<u64>,
    /// Too late for a jitter buffer of 60 ms.
    pub discarded: u64,
    /// RFC 3611 section 4.7.2, with a Gmin of 16: how many bursts of loss and discard, the share missing within and outside of
    /// them, and their mean lengths.
    pub bursts: u64,
    pub burst_density: f64,
    pub gap_density: f64,
    pub burst_ms: f64,
    pub gap_ms: f64,
    /// ITU-T G.107 or, on the scale of `band`, G.107.1; `None` where the stream cannot be rated.
    pub r_factor: Option<f64>,
    pub mos_lq: Option<f64>,
    pub mos_cq: Option<f64>,
    /// `narrowband` or `wideband`: the two scales are not one.
    pub band: Option<String>,
    /// `None` where no RTCP of the stream passed.
    pub rtcp: Option<RtcpRecord>,
}

/// What both ends said of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RtcpRecord {
    /// Packets sent, by the sender's last report.
    pub sender_packets: Option<u32>,
    pub receiver_reports: u32,
    /// By the receiver's last report; negative where duplicates were more than losses.
    pub receiver_lost: i32,
    pub receiver_jitter_ms: f64,
    pub receiver_jitter_max_ms: f64,
    /// From the sensor to the receiver and back.
    pub round_trip_ms: Option<f64>,
    /// RFC 3611 section 4.7.
    pub voip: Option<VoipRecord>,
}

/// What a telephone itself says of the call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VoipRecord {
    /// Shares, 0 to 1.
    pub loss_rate: f64,
    pub discard_rate: f64,
    pub burst_density: f64,
    pub gap_density: f64,
    pub burst_ms: u16,
    pub gap_ms: u16,
    pub round_trip_ms: u16,
    pub end_system_ms: u16,
    pub r_factor: Option<u8>,
    pub mos_lq: Option<f64>,
    pub mos_cq: Option<f64>,
}

/// How loud one side was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelRecord {
    /// Active speech level after ITU-T P.56; `None` where nobody spoke. A square wave of full scale is 0.
    pub active_dbov: Option<f64>,
    pub peak_dbov: Option<f64>,
    /// Share of the recording in which the side did not speak: 0 to 1.
    pub silence_share: f64,
    /// Samples at the largest value that G.711 has, or above it.
    pub clipped_samples: u64,
}
