//! `callreel decoder-sandbox`: hidden; what a decoder of the operator's is started by.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Exit;
use crate::decoders::sandbox::{self, Limits};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address space.
    memory_bytes: u64,
    cpu_seconds: u64,
    program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Comes back only when the program could not be started.
pub fn run(args: &Args) -> Exit {
    let limits = Limits {
        memory_bytes: args.memory_bytes,
        cpu_seconds: args.cpu_seconds,
    };
    let refused = sandbox::enter(limits, &args.program, &args.arguments);
    eprintln!("{}", refused.reason);
    Exit::Status(refused.status as u8)
}
