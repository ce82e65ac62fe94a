//! The program: see [`callreel::cli`].

use std::process::ExitCode;

use callreel::cli::{Cli, Exit};
use clap::Parser;

/// An error with its causes, each said once: some tell their cause themselves.
fn told_once(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += ": ";
            text += &cause;
        }
    }
    text
}

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("callreel: {}", told_once(&error));
            Exit::Usage.into()
        }
    }
}
