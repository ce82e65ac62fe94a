//! The daemon's state as Prometheus reads it (text format, version 0.0.4).

mod api;
mod engine;
mod present;
mod retention;

pub use api::{api, audit, letters};
pub use engine::{Counter, counted_by};

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::losses::by_place;
use super::state::{EngineSnapshot, State, locked};
use super::status::named_vantages;
use crate::engine::vantages::VantageCounts;
use crate::recorder::RawCounters;

/// All metrics. No label holds anything that came over the wire.
pub fn text(state: &State) -> String {
    let mut page = Page::default();
    page.family("callreel_build_info", "gauge", "Always 1.")
        .value(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge(
        "callreel_start_time_seconds",
        "Start of the daemon, in seconds since 1970.",
        state.started_at,
    );
    engine::engine(&mut page, &locked(&state.engine).clone());
    interfaces(&mut page, state);
    drops(&mut page, state);
    calls(&mut page, state);
    quality(&mut page, state);
    vantages(&mut page, state);
    recorder(&mut page, state);
    raw(&mut page, &state.recorder.raw);
    storage(&mut page, state);
    catalog(&mut page, state);
    retention::retention(&mut page, &state.retention);
    directory(&mut page, state);
    reloads(&mut page, state);
    keylog(&mut page, state);
    hep(&mut page, state);
    present::present(&mut page, state);
    page.0
}

/// Lines so far.
#[derive(Default)]
struct Page(String);

/// The metrics of one name.
struct Family<'a> {
    page: &'a mut String,
    name: &'a str,
}

impl Page {
    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        let page = &mut self.0;
        Family { page, name }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help).value(&[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help).value(&[], value);
    }
}

impl Family<'_> {
    fn value(&mut self, labels: &[(&str, &str)], value: u64) {
        self.part("", labels, value);
    }

    /// A part of a histogram, whose name goes on with `suffix`.
    fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.page, "{}{suffix}{labels} {value}", self.name);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn flag(flag: &AtomicBool) -> u64 {
    flag.load(Ordering::Relaxed).into()
}

fn keylog(page: &mut Page, state: &State) {
    let keylog = &state.keylog;
    let counters = [
        (
            "callreel_tls_keylog_secrets_total",
            "Secrets read from the TLS key log.",
            count(&keylog.secrets),
        ),
        (
            "callreel_tls_keylog_malformed_lines_total",
            "Lines of the TLS key log that are none.",
            count(&keylog.malformed_lines),
        ),
        (
            "callreel_tls_keylog_restarts_total",
            "Times that the TLS key log was found replaced or truncated.",
            count(&keylog.restarts),
        ),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, value);
    }
    page.gauge(
        "callreel_tls_keylog_failing",
        "Whether the TLS key log is there and cannot be read.",
        flag(&keylog.failing),
    );
}

fn interfaces(page: &mut Page, state: &State) {
    let help = "Whether an interface is captured on.";
    let mut family = page.family("callreel_interface_up", "gauge", help);
    for interface in &state.interfaces {
        let up = interface.why_lost().is_none();
        family.value(&[("interface", &interface.name)], up.into());
    }
    let help = "How often an interface was lost.";
    let mut family = page.family("callreel_interface_outages_total", "counter", help);
    for interface in &state.interfaces {
        let outages = count(&interface.outages);
        family.value(&[("interface", &interface.name)], outages);
    }
    let help = "Packets that passed the filter, dropped or not, as the kernel counts them.";
    let mut family = page.family("callreel_kernel_packets_total", "counter", help);
    for interface in &state.interfaces {
        let received = interface.kernel.read().received;
        family.value(&[("interface", &interface.name)], received);
    }
}

/// I3: every loss, by its place.
fn drops(page: &mut Page, state: &State) {
    let help = "Packets lost within this machine, by place.";
    let mut family = page.family("callreel_dropped_packets_total", "counter", help);
    for loss in by_place(state) {
        let interface = loss.interface.map(|name| ("interface", name));
        let labels: Vec<_> = std::iter::once(("place", loss.place))
            .chain(interface)
            .collect();
        family.value(&labels, loss.packets);
    }
}

fn calls(page: &mut Page, state: &State) {
    let help = "Calls that are over, by what became of them; one of two tenants counts for each.";
    let mut family = page.family("callreel_calls_total", "counter", help);
    for (disposition, calls) in state.calls.all() {
        family.value(&[("disposition", disposition)], calls);
    }
    let help = "Calls of which something else was told later: the storage took what it had refused, or another leg was kept.";
    let mut family = page.family("callreel_calls_revised_total", "counter", help);
    for ((from, to), calls) in state.calls.revisions() {
        family.value(&[("from", from), ("to", to)], calls);
    }
}

fn quality(page: &mut Page, state: &State) {
    let sums = state.quality.read();
    let help = "RTP packets of calls that are over that the sensor lacks, by where they were lost; the mirror's at least.";
    let mut family = page.family("callreel_rtp_lost_total", "counter", help);
    family.value(&[("where", "network")], sums.network_lost);
    family.value(&[("where", "mirror")], sums.mirror_lost);
    let counters = [
        (
            "callreel_rtp_expected_total",
            "RTP packets that were sent in calls that are over.",
            sums.rtp_expected,
        ),
        (
            "callreel_rtp_discarded_total",
            "RTP packets that came too late for a jitter buffer of 60 ms.",
            sums.discarded,
        ),
        (
            "callreel_calls_one_way_total",
            "Answered calls in which one side was not heard though it might have been.",
            sums.one_way_calls,
        ),
        (
            "callreel_calls_without_rtp_total",
            "Answered calls of which no RTP was seen.",
            sums.calls_without_rtp,
        ),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, value);
    }
    let (buckets, sum) = state.quality.scores();
    let help = "Mean opinion scores of calls that are over, of the side that was heard worse.";
    let mut family = page.family("callreel_call_mos", "histogram", help);
    for (end, calls) in &buckets {
        family.part("_bucket", &[("le", &end.to_string())], calls);
    }
    let calls = buckets.last().map_or(0, |(_, calls)| *calls);
    family.part("_bucket", &[("le", "+Inf")], calls);
    family.part("_sum", &[], sum);
    family.part("_count", &[], calls);
}

/// One label for each vantage, of which there is a cap; of shares the two numbers that they are made of.
fn vantages(page: &mut Page, state: &State) {
    type Of = fn(&VantageCounts) -> u64;
    let vantages = named_vantages(state);
    let families: [(&str, &str, Of); 5] = [
        (
            "calls",
            "Calls that are over and were more than an attempt.",
            |of| of.calls,
        ),
        (
            "calls_one_direction",
            "Those of which one side alone was seen, in signalling and in media.",
            |of| of.calls_one_direction,
        ),
        (
            "rtp_packets",
            "RTP packets of calls that are over, without duplicates.",
            |of| of.rtp_packets,
        ),
        (
            "rtp_duplicates",
            "RTP packets of them that were seen twice.",
            |of| of.rtp_duplicates,
        ),
        (
            "streams_without_call",
            "RTP streams that belonged to no call.",
            |of| of.streams_unclaimed,
        ),
    ];
    for (name, help, value) in families {
        let name = format!("callreel_vantage_{name}_total");
        let mut family = page.family(&name, "counter", help);
        for (vantage, counts) in &vantages {
            family.value(&[("vantage", vantage)], value(counts));
        }
    }
}

fn recorder(page: &mut Page, state: &State) {
    let recorder = &state.recorder;
    page.gauge(
        "callreel_recorder_queue",
        "Events that wait for a recorder thread.",
        count(&recorder.queued),
    );
    page.gauge(
        "callreel_recordings_waiting",
        "Recordings of calls that are over which the storage does not take yet.",
        count(&recorder.recordings_waiting),
    );
    let counters = [
        (
            "callreel_blocks_total",
            "Blocks of audio handed to recorder threads.",
            count(&recorder.blocks),
        ),
        (
            "callreel_blocks_dropped_total",
            "Blocks of audio that found no room in a queue.",
            count(&recorder.blocks_dropped),
        ),
        (
            "callreel_undecodable_packets_total",
            "Packets whose payload does not fit their codec.",
            count(&recorder.packets_undecodable),
        ),
        (
            "callreel_decoder_panics_total",
            "Packets that made a decoder panic: each is a fault to report.",
            count(&recorder.decoder_panics),
        ),
        (
            "callreel_too_late_packets_total",
            "Packets that came after later ones of a codec that cannot go back were decoded.",
            count(&recorder.packets_too_late),
        ),
        (
            "callreel_recordings_finished_total",
            "Recordings that are safe on the disk.",
            count(&recorder.recordings_finished),
        ),
        (
            "callreel_recordings_other_leg_total",
            "Recordings removed because another leg of their interaction was kept.",
            count(&recorder.legs_dropped),
        ),
        (
            "callreel_recordings_failed_total",
            "Recordings that the storage did not take when their calls were over.",
            count(&recorder.recordings_failed),
        ),
        (
            "callreel_recordings_late_total",
            "Recordings of those that failed which the storage took later.",
            count(&recorder.recordings_late),
        ),
        (
            "callreel_recordings_recovered_total",
            "Recordings of an earlier run that this one finished.",
            state.recovered,
        ),
        (
            "callreel_storage_errors_total",
            "Writes that the storage refused.",
            count(&recorder.storage_errors),
        ),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, value);
    }
}

/// What is not decoded here.
fn raw(page: &mut Page, raw: &RawCounters) {
    let counters = [
        (
            "callreel_raw_packets_total",
            "RTP packets kept as they came, for want of a decoder.",
            count(&raw.packets_kept),
        ),
        (
            "callreel_decoder_calls_total",
            "Calls that went to the operator's decoder.",
            count(&raw.calls_decoded),
        ),
        (
            "callreel_decoder_calls_skipped_total",
            "Calls left raw because the decoder was busy or the daemon stopped.",
            count(&raw.calls_not_decoded),
        ),
        (
            "callreel_decoder_packets_total",
            "RTP packets that the operator's decoder made samples of.",
            count(&raw.packets_decoded),
        ),
        (
            "callreel_decoder_packets_failed_total",
            "RTP packets that gave no samples.",
            count(&raw.packets_failed),
        ),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, value);
    }
    let help = "What the operator's decoder did wrong.";
    let mut family = page.family("callreel_decoder_failures_total", "counter", help);
    for (code, failures) in raw.failures() {
        family.value(&[("failure", code)], failures);
    }
}

fn storage(page: &mut Page, state: &State) {
    let storage = &state.storage;
    let gauges = [
        (
            "callreel_disk_free_bytes",
            "Free on the file system of the storage.",
            count(&storage.free_bytes),
        ),
        (
            "callreel_storage_low",
            "Whether recording waits for room on the disk.",
            flag(&storage.low),
        ),
        (
            "callreel_storage_failing",
            "Whether the storage refuses recordings.",
            storage.failing.why().is_some().into(),
        ),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, value);
    }
}

fn catalog(page: &mut Page, state: &State) {
    let catalog = &state.catalog;
    let away = u64::from(state.why_catalog_away().is_some());
    page.gauge(
        "callreel_catalog_away",
        "Whether the catalog cannot be written, or its file is not at its place.",
        away,
    );
    page.counter(
        "callreel_catalog_rows_written_total",
        "Calls entered in the catalog.",
        count(&catalog.written),
    );
    page.counter(
        "callreel_catalog_rows_dropped_total",
        "Calls that the catalog could not take in time.",
        count(&catalog.dropped),
    );
}

fn directory(page: &mut Page, state: &State) {
    let tenancy = &state.tenancy.state;
    page.gauge(
        "callreel_directory_stale",
        "Whether tenants and extensions cannot be read from the catalog.",
        flag(&tenancy.away),
    );
    page.gauge(
        "callreel_directory_left_out",
        "Things in the catalog that contradict the configuration or each other, and are not in use.",
        count(&tenancy.left_out),
    );
    page.counter(
        "callreel_directory_read_failures_total",
        "Times that tenants and extensions could not be read from the catalog.",
        count(&tenancy.failures),
    );
    page.counter(
        "callreel_directories_total",
        "Directories put in use since the start.",
        count(&tenancy.made),
    );
}

fn reloads(page: &mut Page, state: &State) {
    let reloads = &state.reloads;
    page.counter(
        "callreel_config_reloads_total",
        "Configurations read and taken since the start.",
        count(&reloads.done),
    );
    page.counter(
        "callreel_config_reload_failures_total",
        "Configurations read since the start that were not valid.",
        count(&reloads.failed),
    );
    page.gauge(
        "callreel_config_last_reload_successful",
        "Whether the configuration on the disk is the one in use.",
        flag(&reloads.last_successful),
    );
}

fn hep(page: &mut Page, state: &State) {
    let Some(stats) = &state.hep else { return };
    for (name, value) in stats.named() {
        let words = name.replace('_', " ");
        page.counter(
            &format!("callreel_hep_{name}_total"),
            &format!("Agents that report by HEP: {words}."),
            value,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::state::tests::a_state;

    #[test]
    fn every_metric_has_help_type_and_a_value() {
        let text = text(&a_state());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            if let Some((name, _)) = name.split_once("_mos_") {
                assert!(text.contains(&format!("# TYPE {name}_mos histogram\n")));
                continue;
            }
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{line}");
            assert!(text.contains(&format!("# HELP {name} ")), "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<u64>().is_ok());
        }
        assert_eq!(text.matches("# TYPE callreel_packets_total").count(), 1);
        assert!(text.contains("callreel_calls_total{disposition=\"not_answered\"} 1\n"));
        let late = "callreel_calls_revised_total{from=\"disk_error\",to=\"recorded\"} 0\n";
        assert!(text.contains(late));
        assert!(text.contains("callreel_interface_up{interface=\"span\\\"0\"} 0\n"));
    }
}
