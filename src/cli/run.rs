//! `callreel run`: the daemon.

use std::path::PathBuf;

use super::{Exit, config_path, output};
use crate::config;
use crate::daemon::run::{self, Ended};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "SIGHUP reads the configuration again, SIGTERM and SIGINT finish the calls in progress and end.\n\nExit status: 0 stopped as told, 1 ended by a fault, 2 bad usage or configuration, or it cannot start."
)]
pub struct Args {
    /// The daemon's configuration [default: /etc/callreel/callreel.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let path = config_path(args.config);
    let loaded = match config::load(&path) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprint!("{}", error.render(output::is_watched()));
            return Ok(Exit::Usage);
        }
    };
    eprint!("{}", config::render(&loaded.warnings, output::is_watched()));
    Ok(match run::run(&path, loaded)? {
        Ended::Asked => Exit::Success,
        Ended::Broken => Exit::Found,
    })
}
