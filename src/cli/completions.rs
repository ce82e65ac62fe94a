//! `callreel completions` and `callreel man`: from the same definitions as the commands themselves.

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

/// One page for the program and all its commands.
pub fn man() -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text)?;
    for command in Cli::command()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let name = format!("callreel {}", command.get_name());
        let page = clap_mangen::Man::new(command.clone().display_name(&name).bin_name(&name));
        page.render_synopsis_section(&mut text)?;
        page.render_description_section(&mut text)?;
        page.render_options_section(&mut text)?;
    }
    output::print(&String::from_utf8(text)?);
    Ok(Exit::Success)
}
