//! `callreel simulate`: calls with known audio.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::ProgressBar;
use serde::Serialize;

use super::{Exit, output};
use crate::simulate::{SimulateOptions, Truth, run_with};

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 written, 1 not all could be sent, 2 bad usage.")]
pub struct Args {
    #[command(flatten)]
    options: SimulateOptions,
    /// Print JSON instead of a line
    #[arg(long)]
    json: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    calls: usize,
    frames: u64,
    bytes: u64,
    /// Frames that could not be sent.
    frames_unsent: u64,
    file: Option<PathBuf>,
    interface: Option<String>,
    truth: Option<PathBuf>,
}

impl Report {
    fn new(options: &SimulateOptions, truth: &Truth) -> Report {
        Report {
            seed: truth.seed,
            calls: truth.calls.len(),
            frames: truth.frames,
            bytes: truth.bytes,
            frames_unsent: truth.unsent,
            file: options.output.clone(),
            interface: options.interface.clone(),
            truth: options.truth_path(),
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let mut options = args.options;
    let is_dash = options
        .output
        .as_ref()
        .is_some_and(|path| path.as_os_str() == "-");
    if args.json && is_dash {
        anyhow::bail!("--json and the capture cannot both go to standard output");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    options.settle_seed(now.unwrap_or_default());
    let mut sink = options.open_sink()?;
    let progress = match output::is_watched() {
        true => ProgressBar::new(options.scenario().expected_packets()),
        false => ProgressBar::hidden(),
    };
    let truth = run_with(&options, &mut *sink, |frames| progress.set_position(frames))?;
    progress.finish_and_clear();
    let report = Report::new(&options, &truth);
    if args.json {
        output::print_json(&report)?;
    } else {
        eprintln!(
            "{} calls in {} frames, {} bytes, of seed {}",
            report.calls, report.frames, report.bytes, report.seed
        );
    }
    if truth.unsent > 0 {
        eprintln!("callreel: {} frames could not be sent", truth.unsent);
        return Ok(Exit::Found);
    }
    Ok(Exit::Success)
}
