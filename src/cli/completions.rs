//! `callreel completions`: from the same definitions as the commands themselves.

use clap::CommandFactory;

use super::{Cli, Exit, output};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell to complete for.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "callreel", &mut text);
    output::print(&String::from_utf8(text)?);
    Ok(Exit::Success)
}
