//! `callreel decode`: what was kept raw, decoded since there is a decoder for it.

use std::path::PathBuf;

use indicatif::ProgressBar;
use serde::Serialize;
use uuid::Uuid;

use super::Exit;
use super::output::{self, Table, counted, print_json};
use super::selection::{Selection, Store, block_on};
use crate::catalog::CallRecord;
use crate::daemon::cataloguing::row_of_sidecar;
use crate::daemon::pipeline;
use crate::decoders::Decoders;
use crate::recorder::redecode;
use crate::storage::{Kind, Layout, RawState, RecordingName, Sidecar, StorageLock};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "May be used while the daemon runs. A recording is replaced in one step when it is complete; its packets go last, \
unless keep_raw says that they stay.\n\n\
Exit status: 0 nothing is left undecoded of those, 1 something is, 2 bad usage or configuration, or no decoder."
)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Recordings, by their ids
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<Uuid>,
    /// Every recording with packets beside it
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// The decoder [default: as configured, or /usr/bin/ffmpeg]
    #[arg(long, value_name = "FILE")]
    ffmpeg: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What became of one recording.
#[derive(Debug, Serialize)]
struct Line {
    recording_id: Uuid,
    tenant_id: String,
    file: PathBuf,
    codecs: String,
    packets: u64,
    packets_failed: u64,
    /// `decoded`, `failed`, `kept`; `error` when its files could not be read or written.
    state: &'static str,
    error: Option<String>,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let store = match args.selection.store() {
        Ok(store) => store,
        Err(exit) => return Ok(exit),
    };
    let mut settings = store.decoders.clone();
    if let Some(program) = args.ffmpeg {
        settings.ffmpeg = program;
    }
    let decoders = pipeline::decoders(&settings);
    if let Err(error) = decoders.abilities() {
        anyhow::bail!("no decoder: {error}");
    }
    let _lock = StorageLock::acquire_for_decoding(store.root())?;
    let layout = store.layout.clone();
    let is_wanted = |name: &RecordingName| args.all || args.ids.contains(&name.id.0);
    let found = layout.walk(|path, error| {
        eprintln!("callreel: cannot read {}: {error}", path.display());
    });
    let raw: Vec<RecordingName> = found
        .into_iter()
        .filter(|(name, kind)| *kind == Kind::Raw && is_wanted(name))
        .filter(|(name, _)| layout.path(name, Kind::Sidecar).exists())
        .map(|(name, _)| name)
        .collect();
    let progress = output::progress("decoding");
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for (line, row) in each(&raw, &progress, |name| {
        decode(&layout, name, &decoders, settings.keep_raw)
    }) {
        lines.extend(line);
        rows.extend(row);
    }
    progress.finish_and_clear();
    enter(&store, &rows);
    match args.json {
        true => print_json(&lines)?,
        false => print(&lines),
    }
    let is_missing = |id: &&Uuid| !lines.iter().any(|line| line.recording_id == **id);
    for id in args.ids.iter().filter(is_missing) {
        eprintln!("callreel: nothing of recording {id} is kept raw");
    }
    let is_done = lines.iter().all(|line| line.state == "decoded");
    Ok(
        match is_done && !args.ids.iter().any(|id| is_missing(&id)) {
            true => Exit::Success,
            false => Exit::Found,
        },
    )
}

/// Works off what was found, and moves the bar after each.
fn each<T>(
    found: &[RecordingName],
    progress: &ProgressBar,
    mut work: impl FnMut(&RecordingName) -> T,
) -> impl Iterator<Item = T> {
    progress.set_length(found.len() as u64);
    found.iter().map(move |name| {
        let done = work(name);
        progress.inc(1);
        done
    })
}

fn decode(
    layout: &Layout,
    name: &RecordingName,
    decoders: &Decoders,
    keep_raw: bool,
) -> (Option<Line>, Option<CallRecord>) {
    let file = layout.path(name, Kind::Audio);
    match redecode(layout, name, decoders, keep_raw) {
        Ok(Some(sidecar)) => {
            let row = row_of_sidecar(&sidecar, &name.relative(Kind::Audio));
            (Some(Line::of(name, &sidecar, file)), Some(row))
        }
        Ok(None) => {
            let sidecar = Sidecar::load(layout, name, Kind::Sidecar);
            (
                sidecar.ok().map(|sidecar| Line::of(name, &sidecar, file)),
                None,
            )
        }
        Err(error) => {
            let mut line = Line::of(
                name,
                &Sidecar::empty(name.id, name.tenant, Default::default()),
                file,
            );
            (line.state, line.error) = ("error", Some(error.to_string()));
            (Some(line), None)
        }
    }
}

impl Line {
    fn of(name: &RecordingName, sidecar: &Sidecar, file: PathBuf) -> Line {
        let streams = sidecar.raw.iter().flat_map(|raw| &raw.streams);
        let mut codecs: Vec<&str> = streams.clone().map(|s| s.encoding.as_str()).collect();
        codecs.sort_unstable();
        codecs.dedup();
        let has = |state| streams.clone().any(|stream| stream.state == state);
        Line {
            recording_id: name.id.0,
            tenant_id: name.tenant.to_string(),
            file,
            codecs: codecs.join(" "),
            packets: sidecar.raw.as_ref().map_or(0, |raw| raw.packets),
            packets_failed: streams.clone().map(|stream| stream.packets_failed).sum(),
            state: match (has(RawState::Failed), has(RawState::Kept)) {
                (true, _) => "failed",
                (false, true) => "kept",
                (false, false) => "decoded",
            },
            error: streams.clone().find_map(|stream| stream.error.clone()),
        }
    }
}

/// Tells the catalog; one that is not there is made of sidecars when it is.
fn enter(store: &Store, rows: &[CallRecord]) {
    if rows.is_empty() {
        return;
    }
    let entered = block_on(async {
        let catalog = store.catalog().await?;
        let recorded = catalog.record(rows).await;
        catalog.close().await;
        Ok(recorded?)
    });
    if let Err(error) = entered {
        eprintln!(
            "callreel: the catalog was not told ({error}); `callreel catalog rebuild` tells it"
        );
    }
}

fn print(lines: &[Line]) {
    let mut table = Table::new(&[
        "RECORDING",
        "CODEC",
        "PACKETS",
        "FAILED",
        "STATE",
        "BECAUSE",
    ]);
    for line in lines {
        table.row(vec![
            line.recording_id.to_string(),
            line.codecs.clone(),
            line.packets.to_string(),
            line.packets_failed.to_string(),
            line.state.to_owned(),
            line.error.clone().unwrap_or_default(),
        ]);
    }
    if !lines.is_empty() {
        table.print();
        output::print("\n");
    }
    let decoded = lines.iter().filter(|line| line.state == "decoded").count() as u64;
    output::print(&format!(
        "{} of {} decoded\n",
        decoded,
        counted(lines.len() as u64, "recording")
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{RecordingId, SYSTEM_TENANT, Timestamp};

    #[test]
    fn the_bar_moves_with_every_recording() {
        let start = Timestamp::from_secs_nanos(0, 0);
        let name = RecordingName::new(SYSTEM_TENANT, RecordingId(Uuid::nil()), start);
        let found = vec![name; 3];
        let bar = ProgressBar::hidden();
        let mut seen = Vec::new();
        each(&found, &bar, |_| seen.push(bar.position())).for_each(drop);
        assert_eq!(seen, [0, 1, 2]);
        assert_eq!((bar.length(), bar.position()), (Some(3), 3));
    }
}
