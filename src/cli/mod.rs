//! The command line: one file for each command.

mod audit;
mod calls;
mod catalog;
mod check;
mod completions;
mod decode;
mod decoder_sandbox;
mod installation;
mod key;
mod manual;
mod matching;
mod output;
mod people;
mod reasons;
mod replay;
mod run;
mod selection;
mod simulate;
mod status;
mod tenancy;
mod token;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::fs::Mode;

/// Records telephone calls that it hears on a wire: SIP and RTP in, one WAV file per call and tenant out.
#[derive(Debug, Parser)]
#[command(
    name = "callreel",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record calls from live interfaces: the daemon.
    Run(run::Args),
    /// Record the calls in capture files.
    Replay(replay::Args),
    /// Check the configuration and print the compiled directory.
    Check(check::Args),
    /// Explain whose call a call would be.
    Match(matching::Args),
    /// Search, show and export calls.
    Calls(Box<calls::Args>),
    /// Groups of users.
    Group(people::groups::Args),
    /// Roles: what users may do.
    Role(people::roles::Args),
    /// Show, export or verify what people did.
    Audit(audit::Args),
    /// List, make, change and suspend tenants.
    Tenant(tenancy::tenant::Args),
    /// Show plans.
    Plan(tenancy::plan::Args),
    /// Show how long calls are kept, and say that the clock is right.
    Retention(tenancy::retention::Args),
    /// Show extensions, and give them to users.
    Extension(tenancy::extension::Args),
    /// Rebuild or verify the catalog.
    Catalog(catalog::Args),
    /// Show and make the keys under which recordings are encrypted.
    Key(key::Args),
    /// Decode what was kept raw.
    Decode(decode::Args),
    /// Make calls with known audio, for trials and benchmarks.
    Simulate(simulate::Args),
    /// Ask the running daemon how it is.
    Status(status::Args),
    /// Make users, such as the first one, change them, and give them passwords.
    User(user::Args),
    /// Give out, list and revoke tokens for programs.
    Token(token::Args),
    /// Print completions for a shell.
    Completions(completions::Args),
    /// Print the manual page.
    #[command(hide = true)]
    Man,
    /// Become a decoder that can do nothing but decode.
    #[command(hide = true)]
    DecoderSandbox(decoder_sandbox::Args),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Success,
    /// It did what it was asked to, and something is wrong with what it looked at.
    Found,
    /// Bad usage or configuration.
    Usage,
    /// A capture was damaged: what was readable is recorded.
    Damaged,
    /// Of a program that was to be started, and was not.
    Status(u8),
    /// No daemon answers.
    Unreachable,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Found => 1,
            Exit::Usage => 2,
            Exit::Damaged => 3,
            Exit::Status(status) => status,
            Exit::Unreachable => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Where the daemon's configuration is when nobody says.
const DEFAULT_CONFIG: &str = "/etc/callreel/callreel.toml";

/// The file that was named, or the default one.
fn config_path(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| DEFAULT_CONFIG.into())
}

/// Bits that no file has that is made here: others may not even read, the group may not write.
const NOT_FOR_OTHERS: Mode = Mode::RWXO.union(Mode::WGRP);

/// From now on files are made with 0640 at most, and folders with 0750, also those that libraries make. A narrower umask stays.
fn shut_out_others() {
    let given = rustix::process::umask(NOT_FOR_OTHERS);
    rustix::process::umask(given | NOT_FOR_OTHERS);
}

impl Cli {
    /// Does what was asked.
    pub fn execute(self) -> anyhow::Result<Exit> {
        shut_out_others();
        match self.command {
            Command::Run(args) => run::run(args),
            Command::Replay(args) => replay::run(args),
            Command::Check(args) => check::run(&args),
            Command::Match(args) => matching::run(args),
            Command::Calls(args) => calls::run(*args),
            Command::Group(args) => people::groups::run(args),
            Command::Role(args) => people::roles::run(args),
            Command::Audit(args) => audit::run(args),
            Command::Tenant(args) => tenancy::tenant::run(&args),
            Command::Plan(args) => tenancy::plan::run(&args),
            Command::Retention(args) => tenancy::retention::run(&args),
            Command::Extension(args) => tenancy::extension::run(&args),
            Command::Catalog(args) => catalog::run(args),
            Command::Decode(args) => decode::run(args),
            Command::Simulate(args) => simulate::run(args),
            Command::Status(args) => status::run(&args),
            Command::User(args) => user::run(args),
            Command::Token(args) => token::run(args),
            Command::Key(args) => key::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man => manual::print(),
            Command::DecoderSandbox(args) => Ok(decoder_sandbox::run(&args)),
        }
    }
}
