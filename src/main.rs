//! The program: see [`callreel::cli`].

use std::process::ExitCode;

use callreel::cli::{Cli, Exit};
use clap::Parser;

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("callreel: {error:#}");
            Exit::Usage.into()
        }
    }
}
