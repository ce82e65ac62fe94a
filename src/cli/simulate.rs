//! `callreel simulate`: calls with known audio.

use indicatif::ProgressBar;

use super::{Exit, output};
use crate::simulate::{SimulateOptions, run_with};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: SimulateOptions,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut sink = args.options.open_sink()?;
    let scenario = args.options.scenario();
    let progress = match output::is_watched() {
        true => ProgressBar::new(scenario.expected_packets()),
        false => ProgressBar::hidden(),
    };
    let truth = run_with(&args.options, &mut *sink, |frames| {
        progress.set_position(frames)
    })?;
    progress.finish_and_clear();
    eprintln!(
        "{} calls in {} frames, {} bytes",
        truth.calls.len(),
        truth.frames,
        truth.bytes
    );
    if truth.unsent > 0 {
        eprintln!("callreel: {} frames could not be sent", truth.unsent);
        return Ok(Exit::Found);
    }
    Ok(Exit::Success)
}
