//! How well a call was heard, as `calls show` prints it.

use super::super::output::{self, Table};
use crate::storage::{LevelRecord, Sidecar, StreamQualityRecord};

/// Scores, losses and what RTCP told of each stream, then how loud the sides were. Nothing of a call that an earlier version
/// recorded.
pub fn print(sidecar: &Sidecar) {
    print_call(sidecar);
    print_streams(sidecar);
    print_levels(sidecar);
}

fn print_call(sidecar: &Sidecar) {
    let Some(quality) = &sidecar.quality else {
        return;
    };
    let mut line = format!("\nheard: MOS {}", optional(quality.mos, 2, ""));
    line += &format!(
        ", jitter {}, round trip {}",
        optional(quality.jitter_ms, 1, " ms"),
        optional(quality.round_trip_ms, 1, " ms")
    );
    if quality.mirror_lost > 0 {
        line += &format!(
            ", {} packets lost by the mirror at least",
            quality.mirror_lost
        );
    }
    if let Some(side) = quality.unheard {
        line += &format!("; one-way audio: the {side} was not heard");
    }
    output::print(&(line + "\n"));
}

fn print_streams(sidecar: &Sidecar) {
    let streams = || {
        let streams = sidecar.streams.iter();
        streams.filter_map(|stream| Some((stream, stream.quality.as_ref()?)))
    };
    if streams().next().is_none() {
        return;
    }
    output::print("\n");
    let mut table = Table::new(&[
        "STREAM OF",
        "SSRC",
        "MOS",
        "R",
        "LOST",
        "MIRROR",
        "TOO LATE",
        "BURSTS",
        "JITTER",
        "MOST",
        "TOLD LOST",
        "TRIP",
    ]);
    for (stream, quality) in streams() {
        let (told, trip) = told(quality);
        table.row(vec![
            stream.side.to_string(),
            stream.ssrc.clone(),
            optional(quality.mos_cq, 2, ""),
            optional(
                quality.r_factor,
                1,
                if is_wideband(quality) { " wb" } else { "" },
            ),
            quality.network_lost.to_string(),
            quality
                .mirror_lost
                .map_or_else(|| "-".into(), |lost| lost.to_string()),
            quality.discarded.to_string(),
            quality.bursts.to_string(),
            format!("{:.1} ms", quality.jitter_mean_ms),
            format!("{:.1} ms", quality.jitter_max_ms),
            told,
            trip,
        ]);
    }
    table.print();
}

fn is_wideband(quality: &StreamQualityRecord) -> bool {
    quality.band.as_deref() == Some("wideband")
}

/// What the receiver says it lost, and the way to it and back.
fn told(quality: &StreamQualityRecord) -> (String, String) {
    match &quality.rtcp {
        Some(rtcp) if rtcp.receiver_reports > 0 => (
            rtcp.receiver_lost.to_string(),
            optional(rtcp.round_trip_ms, 1, " ms"),
        ),
        _ => ("-".into(), "-".into()),
    }
}

fn print_levels(sidecar: &Sidecar) {
    let levels = || {
        sidecar
            .levels
            .iter()
            .filter_map(|(side, level)| Some((side, level.as_ref()?)))
    };
    if levels().next().is_none() {
        return;
    }
    output::print("\n");
    let mut table = Table::new(&["LEVEL OF", "SPEECH", "PEAK", "CLIPPED", "SILENT"]);
    for (side, level) in levels() {
        let LevelRecord {
            active_dbov,
            peak_dbov,
            silence_share,
            clipped_samples,
        } = level;
        table.row(vec![
            side.to_string(),
            optional(*active_dbov, 1, " dBov"),
            optional(*peak_dbov, 1, " dBov"),
            clipped_samples.to_string(),
            format!("{:.0} %", silence_share * 100.0),
        ]);
    }
    table.print();
}

fn optional(value: Option<f64>, places: usize, unit: &str) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.places$}{unit}"))
}
