//! `callreel catalog`: made anew from the sidecars, and compared with the disk.

use std::path::PathBuf;

use indicatif::ProgressBar;
use serde::Serialize;

use super::Exit;
use super::output::{self, Table, counted, print_json};
use super::selection::{Selection, Store, block_on};
use crate::daemon::storekeeping::{self, Depth, Rebuilt, Unreadable, Verification};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make the catalog anew from the recordings' sidecars.
    #[command(
        after_help = "The new catalog grows beside the old one and takes its place in one step when it is complete; until then, \
and if anything fails, the old one stays. Calls without a recording are taken over from the old catalog as far as it is \
readable, and so is all that is not of calls: people, the audit, notes, which calls were deleted, and the minutes of plans that these had \
used. A catalog that is damaged is kept as catalog.db.damaged.\n\n\
Not while `callreel run` or `replay` works on the storage: what they finish meanwhile would be in the old catalog only. \
It is refused then, with their process id, and a daemon does not start while it lasts.\n\n\
Exit status: 0 rebuilt, 1 rebuilt without what could not be read, 2 not rebuilt."
    )]
    Rebuild(Options),
    /// Compare the catalog with the disk, both ways.
    #[command(
        after_help = "Changes nothing, and may be used while the daemon runs: recordings that it is just about to enter are not \
held against it.\n\n\
Faults: catalog_damaged, wrong_tenant and wrong_path (of a row), file_missing, size_differs, header_wrong, \
sidecar_missing, sidecar_wrong, not_catalogued, unfinished (files of a call that nobody is writing: the daemon, \
or its next start, finishes it), does_not_open (its key is not there, it was changed, or it lies in the place of another), unreadable.\n\n\
Of each file the beginning is read. With --contents everything is: a part of an encrypted file that was changed, or one that the disk \
cannot read any more, is found before somebody plays it. It takes as long as the disk takes to read all recordings.\n\n\
Exit status: 0 they agree, 1 something was found, 2 bad usage or configuration, or no catalog."
    )]
    Verify {
        #[command(flatten)]
        options: Options,
        /// Read every file to its end
        #[arg(long)]
        contents: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let store = match args.selection.store() {
        Ok(store) => store,
        Err(exit) => return Ok(exit),
    };
    block_on(async {
        match args.command {
            Command::Rebuild(options) => rebuild(&store, options.json).await,
            Command::Verify { options, contents } => {
                let depth = match contents {
                    true => Depth::Contents,
                    false => Depth::Headers,
                };
                verify(&store, depth, options.json).await
            }
        }
    })
}

fn steps(progress: &ProgressBar) -> impl FnMut(u64, u64) {
    move |done, total| {
        progress.set_length(total);
        progress.set_position(done);
    }
}

#[derive(Serialize)]
struct RebuildReport<'a> {
    catalog: Option<PathBuf>,
    entered: u64,
    kept: u64,
    unreadable: &'a [Unreadable],
    old_catalog: Option<&'a str>,
}

async fn rebuild(store: &Store, json: bool) -> anyhow::Result<Exit> {
    let progress = output::progress("sidecars");
    let rebuilt = storekeeping::rebuild(&store.catalog_url, &store.layout, steps(&progress)).await;
    progress.finish_and_clear();
    let rebuilt = rebuilt?;
    if json {
        print_json(&RebuildReport {
            catalog: storekeeping::catalog_file(&store.catalog_url),
            entered: rebuilt.entered,
            kept: rebuilt.kept,
            unreadable: &rebuilt.unreadable,
            old_catalog: rebuilt.old_catalog.as_deref(),
        })?;
    } else {
        print_rebuilt(store, &rebuilt);
    }
    Ok(
        match rebuilt.unreadable.is_empty() && rebuilt.old_catalog.is_none() {
            true => Exit::Success,
            false => Exit::Found,
        },
    )
}

fn print_rebuilt(store: &Store, rebuilt: &Rebuilt) {
    let catalog = storekeeping::catalog_file(&store.catalog_url).unwrap_or_default();
    output::print(&format!(
        "{}: {} entered, {} without a recording kept, {} unreadable\n",
        catalog.display(),
        counted(rebuilt.entered, "recording"),
        counted(rebuilt.kept, "call"),
        counted(rebuilt.unreadable.len() as u64, "sidecar")
    ));
    if !rebuilt.unreadable.is_empty() {
        output::print("\n");
        let mut table = Table::new(&["UNREADABLE", "BECAUSE"]);
        for Unreadable { path, reason } in &rebuilt.unreadable {
            table.row(vec![path.display().to_string(), reason.clone()]);
        }
        table.print();
    }
    if let Some(why) = &rebuilt.old_catalog {
        eprintln!(
            "callreel: not all of the old catalog could be read, it is kept as {}.damaged: {why}",
            catalog.display()
        );
    }
}

async fn verify(store: &Store, depth: Depth, json: bool) -> anyhow::Result<Exit> {
    let catalog = store.catalog().await?;
    let progress = output::progress("comparing");
    let found = storekeeping::verify(&catalog, &store.layout, depth, steps(&progress)).await;
    progress.finish_and_clear();
    catalog.close().await;
    let found = found?;
    if json {
        print_json(&found)?;
    } else {
        print_verification(&found);
    }
    Ok(match found.findings.is_empty() {
        true => Exit::Success,
        false => Exit::Found,
    })
}

fn print_verification(found: &Verification) {
    if !found.findings.is_empty() {
        let mut table = Table::new(&["FAULT", "TENANT", "RECORDING", "PATH", "DETAIL"]);
        for finding in &found.findings {
            let dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            table.row(vec![
                finding.fault.code().to_owned(),
                dash(finding.tenant_id.map(|id| id.to_string())),
                dash(finding.recording_id.map(|id| id.to_string())),
                finding.path.display().to_string(),
                finding.detail.clone(),
            ]);
        }
        table.print();
        output::print("\n");
    }
    let mut line = format!(
        "{}, {}",
        counted(found.rows, "row"),
        counted(found.recordings, "recording")
    );
    if let Some(pid) = &found.daemon {
        line += &format!(", {} in progress in process {pid}", found.in_progress);
    }
    match found.findings.len() {
        0 => line += ": catalog and disk agree",
        count => line += &format!(": {}", counted(count as u64, "fault")),
    }
    output::print(&(line + "\n"));
}
