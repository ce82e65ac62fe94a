//! What was asked about a recording, as its sidecar tells it: pauses on the timeline, and who asked for what.

use super::record::Facts;
use crate::base::{SYSTEM_TENANT, Side, TenantId, Timestamp};
use crate::engine::control::{ControlNote, pauses};
use crate::engine::event::CallInfo;
use crate::rtp::samples_between;
use crate::storage::{Cause, ControlRecord, SegmentRecord, Sidecar};

/// The end of a pause that lasts, in an interim sidecar.
const LASTING: u64 = u64::MAX;
/// Silence at the edge of a pause that is shorter than this is the pause's: a packet that could not be cut.
const EDGE_MS: u64 = 240;

/// Who asked, as far as `tenant` may know: that of another tenant's people is that tenant's affair (invariant I4).
fn who(note: &ControlNote, tenant: TenantId) -> (String, String) {
    let is_own = note.tenant.is_none_or(|of| of == tenant) || tenant == SYSTEM_TENANT;
    match is_own {
        true => (note.who.clone(), note.why.clone()),
        false => (String::new(), String::new()),
    }
}

/// Everything that was asked and concerns `tenant`: of others only pauses do.
pub fn control_records(info: &CallInfo, tenant: TenantId) -> Vec<ControlRecord> {
    use crate::directory::ControlAction::{Pause, Resume};
    let concerns = |note: &&ControlNote| {
        matches!(note.action, Pause | Resume)
            || note.tenant.is_none_or(|of| of == tenant)
            || tenant == SYSTEM_TENANT
    };
    let record = |note: &ControlNote| {
        let (who, why) = who(note, tenant);
        ControlRecord {
            at: note.at.to_string(),
            at_ns: note.at.as_nanos(),
            action: note.action.name().to_owned(),
            by: note.by.name().to_owned(),
            side: note.side.filter(|_| !who.is_empty()),
            who,
            why,
        }
    };
    info.control.iter().filter(concerns).map(record).collect()
}

/// The pauses of a call as segments of both sides. `length`: samples of the timeline, `None` while it grows.
fn segments(
    info: &CallInfo,
    tenant: TenantId,
    facts: &Facts,
    length: Option<u64>,
) -> Vec<SegmentRecord> {
    let place = |at: Timestamp| {
        let at = samples_between(facts.start, at, facts.format.sample_rate_hz).max(0) as u64;
        length.map_or(at, |length| at.min(length))
    };
    let mut segments = Vec::new();
    for pause in pauses(&info.control) {
        let note = info.control.get(pause.note);
        let (who, why) = note.map_or_else(Default::default, |note| who(note, tenant));
        for side in Side::BOTH {
            segments.push(SegmentRecord {
                who: Some(who.clone()).filter(|who| !who.is_empty()),
                why: Some(why.clone()).filter(|why| !why.is_empty()),
                ..SegmentRecord::new(
                    side,
                    place(pause.from),
                    pause.to.map_or(length.unwrap_or(LASTING), place),
                    Cause::Pause,
                )
            });
        }
    }
    segments.retain(|segment| segment.from < segment.to);
    segments
}

/// Writes what was asked into a sidecar whose other segments are there.
pub fn describe(
    sidecar: &mut Sidecar,
    info: &CallInfo,
    tenant: TenantId,
    facts: &Facts,
    length: Option<u64>,
) {
    if info.control.is_empty() {
        return;
    }
    sidecar.control = control_records(info, tenant);
    let pauses = segments(info, tenant, facts, length);
    let edge = EDGE_MS * u64::from(facts.format.sample_rate_hz) / 1000;
    let others = std::mem::take(&mut sidecar.segments);
    sidecar.segments = beside(others, &pauses, edge);
    sidecar.segments.extend(pauses);
    settle(sidecar, length);
}

/// Sorts the segments, ends those that last, and sums the pauses up.
pub fn settle(sidecar: &mut Sidecar, length: Option<u64>) {
    if let Some(length) = length {
        for segment in &mut sidecar.segments {
            segment.to = segment.to.min(length);
        }
        sidecar.segments.retain(|segment| segment.from < segment.to);
    }
    sidecar
        .segments
        .sort_by_key(|segment| (segment.from, segment.side));
    let paused: u64 = sidecar
        .segments
        .iter()
        .filter(|segment| segment.cause == Cause::Pause && segment.side == Side::Caller)
        .filter(|segment| segment.to != LASTING)
        .map(|segment| segment.to - segment.from)
        .sum();
    sidecar.paused_ms = paused * 1000 / u64::from(sidecar.sample_rate_hz.max(1));
}

/// What of `segments` lies beside the pauses. Holds stay whole: they are no silence of their own. What was lost for less than
/// `edge` samples next to a pause was lost to the pause.
fn beside(segments: Vec<SegmentRecord>, pauses: &[SegmentRecord], edge: u64) -> Vec<SegmentRecord> {
    let mut rest = Vec::new();
    for segment in segments {
        if segment.cause == Cause::Hold {
            rest.push(segment);
            continue;
        }
        let mut from = segment.from;
        let mut parts = Vec::new();
        for pause in pauses.iter().filter(|pause| pause.side == segment.side) {
            if pause.from < segment.to && from < pause.to {
                parts.push((from, pause.from, true));
                from = pause.to;
            } else if pause.from == segment.to && segment.to - from < edge {
                // It ends where the pause begins.
                parts.push((from, segment.to, true));
                from = segment.to;
            }
        }
        let after = from > segment.from || pauses.iter().any(|pause| pause.to == from);
        parts.push((from, segment.to, after));
        for (from, to, at_pause) in parts {
            let is_edge =
                at_pause && to.saturating_sub(from) < edge && segment.cause == Cause::Loss;
            if from < to && !is_edge {
                rest.push(SegmentRecord {
                    from,
                    to,
                    ..segment.clone()
                });
            }
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seg(from: u64, to: u64, cause: Cause) -> SegmentRecord {
        SegmentRecord::new(Side::Caller, from, to, cause)
    }

    #[test]
    fn a_pause_takes_the_place_of_other_silence() {
        let pauses = [seg(100, 200, Cause::Pause), seg(400, 500, Cause::Pause)];
        let others = vec![
            seg(0, 50, Cause::Loss),
            seg(90, 205, Cause::Loss),
            seg(50, 600, Cause::Hold),
            seg(210, 390, Cause::NoMedia),
            seg(395, 400, Cause::Loss),
            seg(450, 600, Cause::NoMedia),
        ];
        assert_eq!(
            beside(others, &pauses, 20),
            [
                seg(0, 50, Cause::Loss),
                seg(50, 600, Cause::Hold),
                seg(210, 390, Cause::NoMedia),
                seg(500, 600, Cause::NoMedia),
            ]
        );
    }
}
