//! What `callreel status` asks: how the daemon is, in numbers. Nothing of it tells who called whom, and no tenant is named.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::health::health;
use super::losses::by_place;
use super::state::{State, locked, seconds_now};
use crate::catalog::wall_clock;
use crate::engine::vantages::VantageCounts;
use crate::recorder::vantage_text;

/// The daemon at one moment. Later versions may add fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// `ok`, `degraded` (see `problems`) or `starting`.
    pub status: String,
    pub version: String,
    pub uptime_seconds: u64,
    pub problems: Vec<ProblemLine>,
    pub interfaces: Vec<InterfaceLine>,
    pub open_calls: u64,
    pub open_streams: u64,
    pub packets: u64,
    pub rtp_packets: u64,
    /// Calls that are over, by what became of them; one of two tenants counts for each.
    pub calls: Vec<Count>,
    /// Packets lost within this machine, by place.
    pub losses: Vec<Count>,
    pub quality: QualityCounts,
    /// SIP messages with something wrong with them, by what that is, but for what was never seen.
    #[serde(default)]
    pub sip_faults: Vec<Count>,
    /// The same of session descriptions.
    #[serde(default)]
    pub sdp_faults: Vec<Count>,
    pub vantages: Vec<VantageLine>,
    pub disk: Disk,
    pub catalog: Catalog,
    #[serde(default)]
    pub retention: Retention,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProblemLine {
    pub code: String,
    pub message: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InterfaceLine {
    pub name: String,
    pub up: bool,
    /// Packets that passed the filter, dropped or not, as the kernel counts them.
    pub packets: u64,
    /// By the kernel, by the interface, and between the interface's thread and the engine's.
    pub dropped_kernel: u64,
    pub dropped_interface: u64,
    pub dropped_queue: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Count {
    pub name: String,
    pub count: u64,
}

impl Count {
    fn of((name, count): (&'static str, u64)) -> Count {
        let name = name.into();
        Count { name, count }
    }
}

/// Of all calls that are over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityCounts {
    /// Packets that the network lost, those that the mirror lost at least, and those too late to be played.
    pub network_lost: u64,
    pub mirror_lost: u64,
    pub discarded: u64,
    pub rtp_expected: u64,
    /// Calls that were rated, and those of them below 3.6: "some users dissatisfied" (ITU-T G.107 Annex B).
    pub rated_calls: u64,
    pub bad_calls: u64,
    pub one_way_calls: u64,
    /// Answered calls without RTP, and RTP streams without a call.
    pub calls_without_rtp: u64,
    pub streams_without_call: u64,
    /// Those whose timestamps run by another clock than was said.
    #[serde(default)]
    pub streams_other_clock: u64,
    pub rtcp_packets: u64,
}

/// What is seen at one vantage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VantageLine {
    /// Interface, VLANs, tunnel; `others` for all that came after the table was full.
    pub vantage: String,
    pub calls: u64,
    pub rtp_packets: u64,
    /// Shares of packets that came twice, and of calls of which one direction was seen: 0 to 1; null while there are none.
    pub duplicate_share: Option<f64>,
    pub one_direction_share: Option<f64>,
    pub streams_without_call: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disk {
    pub free_bytes: u64,
    pub min_free_bytes: u64,
    pub low: bool,
    pub failing: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Catalog {
    pub away: bool,
    pub rows_written: u64,
    pub rows_dropped: u64,
}

/// Calls that were kept for as long as their tenants' plans say.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Retention {
    /// Tenants whose plan says it.
    pub tenants: u64,
    /// Since the start, with a recording or without.
    pub calls_removed: u64,
    pub failures: u64,
    /// Removed calls whose files are still there.
    pub files_waiting: u64,
    /// For how long the first of the calls has been due that are still to go.
    pub overdue_seconds: u64,
    /// By how much the clock is ahead of the time by which calls go.
    pub clock_ahead_seconds: u64,
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// How it is at this moment.
pub fn status(state: &State) -> Status {
    let engine = locked(&state.engine).clone();
    let problems = health(state).problems;
    let losses = by_place(state).into_iter().map(|loss| Count {
        name: match loss.interface {
            Some(interface) => format!("{} {interface}", loss.place),
            None => loss.place.to_owned(),
        },
        count: loss.packets,
    });
    Status {
        status: if problems.is_empty() {
            "ok"
        } else {
            "degraded"
        }
        .into(),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_seconds: seconds_now().saturating_sub(state.started_at),
        problems: problems
            .into_iter()
            .map(|problem| ProblemLine {
                code: problem.code.into(),
                message: problem.message,
            })
            .collect(),
        interfaces: interfaces(state),
        open_calls: engine.open_calls,
        open_streams: engine.open_streams,
        packets: engine.wire.packets,
        rtp_packets: engine.media.rtp_packets,
        calls: state.calls.all().map(Count::of).collect(),
        losses: losses.collect(),
        quality: QualityCounts {
            streams_without_call: engine.media.streams_unclaimed,
            streams_other_clock: engine.media.streams_other_clock,
            rtcp_packets: engine.engine.rtcp_packets,
            ..state.quality.read()
        },
        sip_faults: engine.engine.sip_faults.seen().map(Count::of).collect(),
        sdp_faults: engine.engine.sdp_faults.seen().map(Count::of).collect(),
        vantages: vantages(state),
        disk: Disk {
            free_bytes: count(&state.storage.free_bytes),
            min_free_bytes: count(&state.storage.min_free_mib) << 20,
            low: state.storage.low.load(Ordering::Relaxed),
            failing: state.storage.failing.why().is_some(),
        },
        catalog: Catalog {
            away: state.why_catalog_away().is_some(),
            rows_written: count(&state.catalog.written),
            rows_dropped: count(&state.catalog.dropped),
        },
        retention: retention(state),
    }
}

fn retention(state: &State) -> Retention {
    let retention = &state.retention;
    Retention {
        tenants: count(&retention.tenants),
        calls_removed: count(&retention.removed),
        failures: count(&retention.failures),
        files_waiting: count(&retention.files_waiting),
        overdue_seconds: retention.overdue(wall_clock()).as_secs(),
        clock_ahead_seconds: count(&retention.clock_ahead),
    }
}

fn interfaces(state: &State) -> Vec<InterfaceLine> {
    let line = |interface: &std::sync::Arc<super::state::InterfaceState>| {
        let kernel = interface.kernel.read();
        InterfaceLine {
            name: interface.name.clone(),
            up: interface.why_lost().is_none(),
            packets: kernel.received,
            dropped_kernel: kernel.dropped,
            dropped_interface: kernel.interface_dropped,
            dropped_queue: count(&interface.queue_dropped),
        }
    };
    state.interfaces.iter().map(line).collect()
}

/// The vantages with their names, those beyond the table together.
pub fn named_vantages(state: &State) -> Vec<(String, VantageCounts)> {
    let engine = locked(&state.engine);
    let names: Vec<std::sync::Arc<str>> = state
        .interfaces
        .iter()
        .map(|interface| interface.name.as_str().into())
        .collect();
    let known = engine.vantages.iter();
    let mut all: Vec<_> = known
        .map(|(vantage, counts)| (vantage_text(vantage, &names), *counts))
        .collect();
    if *engine.vantages.others() != VantageCounts::default() {
        all.push(("others".into(), *engine.vantages.others()));
    }
    all
}

fn vantages(state: &State) -> Vec<VantageLine> {
    let line = |(vantage, counts): (String, VantageCounts)| VantageLine {
        vantage,
        calls: counts.calls,
        rtp_packets: counts.rtp_packets,
        duplicate_share: share(
            counts.rtp_duplicates,
            counts.rtp_packets + counts.rtp_duplicates,
        ),
        one_direction_share: share(counts.calls_one_direction, counts.calls),
        streams_without_call: counts.streams_unclaimed,
    };
    named_vantages(state).into_iter().map(line).collect()
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| (part as f64 / of as f64 * 10_000.0).round() / 10_000.0)
}

impl Status {
    /// Of a daemon that has not begun to record.
    pub fn starting() -> serde_json::Value {
        serde_json::json!({ "status": "starting", "version": env!("CARGO_PKG_VERSION") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Vantage;
    use crate::daemon::state::tests::a_state;
    use crate::engine::vantages::{Heard, Vantages};

    #[test]
    fn a_status_says_what_is_wrong_and_reads_back() {
        let state = a_state();
        let mut vantages = Vantages::default();
        let mut heard = Heard::default();
        heard.note(crate::base::Side::Caller, true);
        let vlan = Vantage {
            vlans: [12, 0, 0],
            ..Vantage::default()
        };
        vantages.note_call(vlan, &[], heard);
        locked(&state.engine).vantages = vantages;
        let found = status(&state);
        assert_eq!(
            (&*found.status, &*found.problems[0].code),
            ("degraded", "interface_lost")
        );
        assert_eq!(found.vantages[0].vantage, "span\"0 vlan 12");
        assert_eq!(found.vantages[0].one_direction_share, Some(1.0));
        assert_eq!(found.vantages[0].duplicate_share, None);
        let text = serde_json::to_string(&found).unwrap();
        let again: Status = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }
}
