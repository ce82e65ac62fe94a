//! `callreel replay`: capture files in, recordings out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::output::{self, Table};
use super::{Exit, output::print_json, selection};
use crate::base::{Side, Timestamp};
use crate::capture::{CaptureFiles, Error as CaptureError, KeyLogFile};
use crate::catalog::Home;
use crate::config::{self, Settings};
use crate::daemon::cataloguing::{self, Cataloguer};
use crate::daemon::{metrics, pipeline};
use crate::directory::Directory;
use crate::engine::Engine;
use crate::engine::event::EndReason;
use crate::recorder::{
    CallOutcome, Recorder, RecorderCounters, WhenFull, call_quality, conversation,
};
use crate::storage::{Layout, LinkRecord, QualityRecord, StorageLock, sync_all};
use crate::wire::TunnelPorts;
use crate::wire::tls::LoggedSecret;

/// How often the disk is told to write.
const WRITEBACK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 all read, 1 something could not be stored, 2 bad usage or configuration, 3 a capture was damaged (what was readable is recorded)."
)]
pub struct Args {
    /// Captures, pcap or pcapng, plain, gzip or zstd; `-` is standard input. Several are merged by time.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The daemon's configuration, for its tenants and settings. Without it every call is the System tenant's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where recordings go [default: as configured, or ./recordings].
    #[arg(long, value_name = "DIR")]
    storage: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Print no table and no progress: only what went wrong.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// A TLS key log (SSLKEYLOGFILE), to read SIP over TLS; may be given several times [default: as configured].
    #[arg(long, value_name = "FILE")]
    keylog: Vec<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let (settings, directory) = match configuration(&args) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprint!("{}", error.render(output::is_watched()));
            return Ok(Exit::Usage);
        }
    };
    let mut files = match CaptureFiles::open(&args.files) {
        Ok(files) => files,
        Err(error @ CaptureError::Damaged { .. }) => {
            eprintln!("callreel: {error}");
            return Ok(Exit::Damaged);
        }
        Err(error) => return Err(error.into()),
    };
    let _lock = StorageLock::acquire(&settings.storage.root)?;
    pipeline::raise_file_limit();
    let interfaces: Vec<Arc<str>> = files
        .interfaces()
        .iter()
        .map(|name| name.as_str().into())
        .collect();
    let mut engine = Engine::new(pipeline::engine_settings(&settings, &interfaces), directory);
    let secrets = match secrets(&args, &settings) {
        Ok(secrets) => secrets,
        Err(error) => {
            eprintln!("callreel: {error}");
            return Ok(Exit::Usage);
        }
    };
    let cataloguer = Cataloguer::start(Home::new(&settings.catalog.url))?;
    let (mut recorder, outcomes) = start_recorder(&settings, &interfaces, &cataloguer)?;
    let counters = recorder.counters();

    let progress = progress_bar(&args, &files);
    engine.add_tls_secrets(secrets, &mut recorder);
    let writeback = Writeback::start(Layout::new(&settings.storage.root))?;
    let damaged = feed(&mut files, &mut engine, recorder, &progress);
    writeback.finish();
    progress.finish_and_clear();

    let catalog = cataloguer.finish();
    let mut outcomes = settled(outcomes.iter());
    outcomes.sort_by_key(|outcome| (outcome.end.info.invite_at, outcome.end.call));
    let summary = Summary::new(&files, &engine, &counters, &outcomes);
    let layout = Layout::new(&settings.storage.root);
    let calls: Vec<CallLine> = outcomes
        .iter()
        .flat_map(|outcome| call_lines(outcome, &layout))
        .collect();
    if args.json {
        print_json(&Report {
            calls: &calls,
            summary: &summary,
        })?;
    } else if !args.quiet {
        print_table(&calls, &summary);
    }
    if let Some(error) = counters.first_error.get() {
        eprintln!(
            "callreel: the storage did not take everything: {}",
            output::harmless(error)
        );
    }
    let uncatalogued = catalog.dropped.load(std::sync::atomic::Ordering::Relaxed);
    if uncatalogued > 0 {
        eprintln!(
            "callreel: {uncatalogued} calls are not in the catalog; `callreel catalog rebuild` finds the recorded ones"
        );
    }
    Ok(
        match (
            damaged,
            summary.recordings_failed + summary.packets_not_stored,
        ) {
            (true, _) => Exit::Damaged,
            (false, 0) => Exit::Success,
            (false, _) => Exit::Found,
        },
    )
}

/// Settings and directory as configured, or such as suit a trial.
fn configuration(args: &Args) -> Result<(Settings, Arc<Directory>), config::Error> {
    let (mut settings, directory) = match &args.config {
        Some(path) => {
            let loaded = config::load(path)?;
            (loaded.settings, loaded.directory)
        }
        None => {
            let mut settings = Settings::default();
            settings.storage.root = "recordings".into();
            (settings, Arc::new(Directory::empty()))
        }
    };
    if let Some(root) = &args.storage {
        settings.storage.root.clone_from(root);
    }
    // Who asks for the calls in a file wants those that agents reported too.
    let hep = &mut settings.capture.tunnels.hep;
    hep.get_or_insert_with(|| vec![TunnelPorts::HEP]);
    // A storage of one's own has a catalog of its own.
    if args.storage.is_some() || args.config.is_none() {
        settings.catalog.url = selection::catalog_in(&settings.storage.root);
    }
    Ok((settings, directory))
}

/// All that the key logs hold, read before the capture.
fn secrets(args: &Args, settings: &Settings) -> Result<Vec<LoggedSecret>, CaptureError> {
    let mut secrets = Vec::new();
    let configured = settings.capture.tls_keylog.iter();
    let configured = configured.filter(|path| args.keylog.is_empty() && path.exists());
    for path in args.keylog.iter().chain(configured) {
        KeyLogFile::new(path).read_all(&mut |secret| secrets.push(secret))?;
    }
    Ok(secrets)
}

fn start_recorder(
    settings: &Settings,
    interfaces: &[Arc<str>],
    cataloguer: &Cataloguer,
) -> anyhow::Result<(Recorder, Receiver<CallOutcome>)> {
    let (sender, outcomes) = channel();
    let (sensor, names) = (pipeline::sensor_name(settings), interfaces.to_vec());
    let record = cataloguer.sender();
    let tell = move |outcome: CallOutcome| {
        record(cataloguing::rows_of(&outcome, &sensor, &names));
        // The receiver lives until all threads have ended.
        let _ = sender.send(outcome);
    };
    let recorder = Recorder::start(
        pipeline::recorder_settings(settings, interfaces, WhenFull::Wait),
        tell,
    )?;
    Ok((recorder, outcomes))
}

/// What became of each call in the end.
fn settled(told: impl Iterator<Item = CallOutcome>) -> Vec<CallOutcome> {
    let (revised, mut outcomes): (Vec<CallOutcome>, Vec<CallOutcome>) =
        told.partition(|outcome| outcome.revised.is_some());
    for news in revised {
        let first = outcomes.iter_mut().find(|o| o.end.call == news.end.call);
        let Some(first) = first else { continue };
        for new in news.recordings {
            let of = first.recordings.iter_mut();
            if let Some(of) = of.into_iter().find(|of| of.tenant == new.tenant) {
                *of = new;
            }
        }
    }
    outcomes
}

/// Reads everything; whether any capture was damaged.
fn feed(
    files: &mut CaptureFiles,
    engine: &mut Engine,
    mut recorder: Recorder,
    progress: &ProgressBar,
) -> bool {
    let (mut damaged, mut packets) = (false, 0u64);
    loop {
        match files.next_packet() {
            Ok(Some(packet)) => engine.handle_packet(&packet, &mut recorder),
            Ok(None) => break,
            Err(error) => {
                damaged = true;
                progress.suspend(|| eprintln!("callreel: {error}"));
            }
        }
        packets += 1;
        if packets.is_multiple_of(1 << 16) {
            progress.set_position(files.bytes_read());
        }
    }
    engine.finish(EndReason::EndOfCapture, &mut recorder);
    recorder.finish();
    damaged
}

/// Has the disk write while the capture is still being read, so that there is little left to wait for in the end.
struct Writeback {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Writeback {
    fn start(layout: Layout) -> std::io::Result<Writeback> {
        let (stop, stopped) = channel::<()>();
        let run = move || {
            while stopped.recv_timeout(WRITEBACK) == Err(RecvTimeoutError::Timeout) {
                // Whatever fails here fails again, and is told, when recordings are finished.
                let _ = sync_all(&layout);
            }
        };
        let thread = std::thread::Builder::new()
            .name("writeback".into())
            .spawn(run)?;
        Ok(Writeback { stop, thread })
    }

    fn finish(self) {
        drop(self.stop);
        // A panic there was reported there.
        let _ = self.thread.join();
    }
}

fn progress_bar(args: &Args, files: &CaptureFiles) -> ProgressBar {
    if args.quiet || !output::is_watched() {
        return ProgressBar::hidden();
    }
    let style = |template: &str| {
        ProgressStyle::with_template(template).expect("the template is a constant")
    };
    match files.bytes_total() {
        Some(total) => ProgressBar::new(total).with_style(style(
            "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
        )),
        None => {
            ProgressBar::new_spinner().with_style(style("{spinner} {bytes} {binary_bytes_per_sec}"))
        }
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    calls: &'a [CallLine],
    summary: &'a Summary,
}

/// One tenant's part in one call.
#[derive(Debug, Serialize)]
struct CallLine {
    call_id: String,
    time: String,
    answered_at: Option<String>,
    caller: String,
    callee: String,
    tenant: String,
    tenant_id: String,
    users: Vec<String>,
    codec: String,
    /// Seconds of the recording.
    length_s: f64,
    packets_lost: u64,
    packets_expected: u64,
    disposition: &'static str,
    end_reason: &'static str,
    status: Option<u16>,
    file: Option<PathBuf>,
    interaction_id: String,
    links: Vec<LinkRecord>,
    quality: QualityRecord,
}

fn call_lines(outcome: &CallOutcome, layout: &Layout) -> Vec<CallLine> {
    let (end, info) = (&outcome.end, &outcome.end.info);
    let line = |of: &crate::recorder::RecordingOutcome| {
        let owner = info.owners.iter().find(|owner| owner.tenant == of.tenant);
        let sides = Side::BOTH
            .into_iter()
            .filter(|&side| owner.is_some_and(|owner| owner.sides[side]));
        let sidecar = of.recording.as_ref().map(|(sidecar, _)| sidecar);
        let heard = sidecar.and_then(|sidecar| sidecar.quality.clone());
        let heard = heard.unwrap_or_else(|| call_quality(end, None));
        CallLine {
            call_id: info.call_id.clone(),
            time: outcome.start.unwrap_or(info.invite_at).to_string(),
            answered_at: info.answered_at.as_ref().map(Timestamp::to_string),
            caller: info.parties.caller.number.clone(),
            callee: info.parties.callee.number.clone(),
            tenant: owner.map_or_else(String::new, |owner| owner.tenant_name.to_string()),
            tenant_id: of.tenant.to_string(),
            users: sides
                .filter_map(|side| {
                    info.parties[side]
                        .user
                        .as_ref()
                        .map(|user| user.to_string())
                })
                .collect(),
            codec: cataloguing::codecs(&end.streams),
            length_s: sidecar.map_or(0.0, |s| s.samples as f64 / f64::from(s.sample_rate_hz)),
            packets_lost: heard.lost,
            packets_expected: heard.expected,
            disposition: of.disposition.code(),
            end_reason: end.reason.code(),
            status: end.status,
            file: of
                .recording
                .as_ref()
                .map(|(_, path)| layout.root().join(path)),
            interaction_id: owner
                .map_or(info.interaction, |owner| owner.interaction)
                .to_string(),
            links: conversation::links(info, of.tenant),
            quality: heard,
        }
    };
    outcome.recordings.iter().map(line).collect()
}

/// What was read, and what became of it.
#[derive(Debug, Serialize)]
struct Summary {
    packets: u64,
    out_of_order: u64,
    bytes_skipped: u64,
    sip_messages: u64,
    sip_malformed: u64,
    rtp_packets: u64,
    /// RTP that belongs to no call that was seen.
    rtp_unclaimed: u64,
    rtp_duplicates: u64,
    /// RTP of calls that were over.
    rtp_after_end: u64,
    rtp_not_placed: u64,
    /// RTP streams that count by another clock than was said.
    rtp_streams_other_clock: u64,
    calls: u64,
    calls_refused: u64,
    recordings: u64,
    recordings_failed: u64,
    packets_not_stored: u64,
    tls_connections: u64,
    /// TLS connections on SIP ports whose secrets are not known.
    tls_without_key: u64,
    /// Those whose handshake was not seen whole, or that are of a kind that is not read.
    tls_unreadable: u64,
    /// RTP kept as it came, for want of a decoder of our own.
    packets_kept_raw: u64,
    /// Of those, what the operator's decoder made samples of when the calls had ended.
    packets_decoded_later: u64,
    /// Of those, what it made no samples of.
    packets_decoder_failed: u64,
    /// Everything that was counted and is not 0, under the names of the daemon's metrics.
    counters: BTreeMap<String, u64>,
    /// SIP messages with something wrong with them, by what that is; those that could be read were.
    sip_faults: BTreeMap<&'static str, u64>,
    /// The same of session descriptions.
    sdp_faults: BTreeMap<&'static str, u64>,
}

/// Those of the counters that tell of something that could not be read, and is not in the summary already.
const UNREAD: [&str; 24] = [
    "wire_malformed_link",
    "wire_malformed_ip",
    "wire_malformed_udp",
    "wire_malformed_tcp",
    "wire_nested_too_deep",
    "wire_malformed_tunnel",
    "wire_malformed_hep",
    "wire_fragments_malformed",
    "wire_fragments_cut",
    "wire_fragments_too_many",
    "wire_datagrams_truncated",
    "wire_tunnels_truncated",
    "wire_reassembly_timed_out",
    "wire_reassembly_evicted",
    "wire_tcp_streams_evicted",
    "wire_tcp_streams_idle",
    "wire_tcp_out_of_window",
    "wire_tcp_gaps",
    "layered_connections_evicted",
    "sip_incomplete",
    "sip_stream_bytes_skipped",
    "sdp_malformed",
    "rtcp_damaged",
    "rtp_streams_refused",
];

impl Summary {
    fn new(
        files: &CaptureFiles,
        engine: &Engine,
        recorder: &RecorderCounters,
        outcomes: &[CallOutcome],
    ) -> Summary {
        let count = |counter: &std::sync::atomic::AtomicU64| {
            counter.load(std::sync::atomic::Ordering::Relaxed)
        };
        let media = engine.media_counters();
        let tls = engine.stream_counters().tls;
        Summary {
            packets: engine.wire_counters().packets,
            out_of_order: engine.counters().out_of_order,
            bytes_skipped: files.bytes_skipped(),
            sip_messages: engine.counters().sip_messages,
            sip_malformed: engine.counters().sip_malformed,
            rtp_packets: media.rtp_packets,
            rtp_unclaimed: media.unclaimed + engine.unclaimed_packets(),
            rtp_duplicates: media.duplicates,
            rtp_after_end: media.after_end,
            rtp_not_placed: media.not_placed,
            rtp_streams_other_clock: media.streams_other_clock,
            calls: outcomes.len() as u64,
            calls_refused: engine.signalling_counters().calls_refused,
            recordings: count(&recorder.recordings_finished) - count(&recorder.legs_dropped),
            recordings_failed: count(&recorder.recordings_failed)
                .saturating_sub(count(&recorder.recordings_late)),
            packets_not_stored: count(&recorder.storage_packets_dropped),
            tls_connections: tls.connections,
            tls_without_key: tls.without_key,
            tls_unreadable: tls.without_handshake + tls.unsupported,
            packets_kept_raw: count(&recorder.raw.packets_kept),
            packets_decoded_later: count(&recorder.raw.packets_decoded),
            packets_decoder_failed: count(&recorder.raw.packets_failed),
            counters: metrics::counted_by(engine)
                .into_iter()
                .filter(|counter| counter.value > 0)
                .map(|counter| (counter.name, counter.value))
                .collect(),
            sip_faults: engine.counters().sip_faults.seen().collect(),
            sdp_faults: engine.counters().sdp_faults.seen().collect(),
        }
    }

    /// `wire nested too deep 3, wire malformed hep 1`; nothing when all could be read.
    fn unread(&self) -> String {
        let told = UNREAD.iter().filter_map(|name| {
            let count = self.counters.get(&format!("callreel_{name}_total"))?;
            Some(format!("{} {count}", name.replace('_', " ")))
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// `date invalid 2, rfc2543 1`; nothing when there are none.
fn told(faults: &BTreeMap<&str, u64>) -> String {
    let told = faults
        .iter()
        .map(|(name, count)| format!("{} {count}", name.replace('_', " ")));
    told.collect::<Vec<_>>().join(", ")
}

fn print_table(calls: &[CallLine], summary: &Summary) {
    let mut table = Table::new(&[
        "TIME", "CALLER", "CALLEE", "TENANT", "USER", "CODEC", "LENGTH", "LOSS", "FILE",
    ]);
    for call in calls {
        let loss = match call.packets_expected {
            0 => "-".to_owned(),
            expected => format!(
                "{:.1} %",
                call.packets_lost as f64 * 100.0 / expected as f64
            ),
        };
        let file = match &call.file {
            Some(file) => file.display().to_string(),
            None => format!("({})", call.disposition),
        };
        table.row(vec![
            call.time.get(..19).unwrap_or(&call.time).replace('T', " "),
            call.caller.clone(),
            call.callee.clone(),
            call.tenant.clone(),
            call.users.join(", "),
            call.codec.clone(),
            format!("{:.2} s", call.length_s),
            loss,
            file,
        ]);
    }
    table.print();
    let Summary {
        packets,
        calls,
        recordings,
        rtp_unclaimed,
        sip_malformed,
        tls_without_key,
        tls_unreadable,
        ..
    } = summary;
    let mut line = format!("\n{packets} packets, {calls} calls, {recordings} recordings");
    if *rtp_unclaimed > 0 {
        line += &format!(", {rtp_unclaimed} RTP packets without a call");
    }
    if *sip_malformed > 0 {
        line += &format!(", {sip_malformed} malformed SIP messages");
    }
    if *tls_without_key > 0 {
        line += &format!(", {tls_without_key} TLS connections without a key (--keylog)");
    }
    if *tls_unreadable > 0 {
        line += &format!(", {tls_unreadable} TLS connections that cannot be read");
    }
    if summary.packets_kept_raw > 0 {
        line += &format!(
            ", {} RTP packets kept raw, {} of them decoded by ffmpeg",
            summary.packets_kept_raw, summary.packets_decoded_later
        );
    }
    let unread = summary.unread();
    if !unread.is_empty() {
        line += &format!("\nnot read, or not whole: {unread}");
    }
    if !summary.sip_faults.is_empty() {
        line += &format!("\nSIP messages with faults: {}", told(&summary.sip_faults));
    }
    if !summary.sdp_faults.is_empty() {
        line += &format!("\nSDP bodies with faults: {}", told(&summary.sdp_faults));
    }
    output::print(&(line + "\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SYSTEM_TENANT;
    use crate::daemon::outcome_for_tests;
    use crate::engine::event::Disposition;
    use crate::recorder::RecordingOutcome;

    #[test]
    fn a_call_is_listed_as_what_was_told_of_it_last() {
        let told = |disposition, revised| {
            let of = RecordingOutcome {
                tenant: SYSTEM_TENANT,
                disposition,
                recording: None,
                kept_leg: (disposition == Disposition::OtherLeg).then(|| "kept".to_owned()),
            };
            CallOutcome {
                recordings: vec![of],
                revised,
                ..outcome_for_tests()
            }
        };
        let late = told(Disposition::Recorded, Some(Disposition::StorageFailed));
        let all = [told(Disposition::StorageFailed, None), late];
        let settled_ones = settled(all.into_iter());
        assert_eq!(settled_ones.len(), 1);
        let of = &settled_ones[0].recordings[0];
        assert_eq!(of.disposition, Disposition::Recorded);
        let other = told(Disposition::OtherLeg, Some(Disposition::Recorded));
        let all = [told(Disposition::Recorded, None), other];
        let settled_ones = settled(all.into_iter());
        assert_eq!(
            settled_ones[0].recordings[0].kept_leg.as_deref(),
            Some("kept")
        );
    }
}
