//! `callreel man`: one page for the program and all its commands, from the same definitions as the commands themselves.

use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::{Cli, Exit, output};

/// What introduces the exit statuses in the last words of a command's help.
const STATUSES: &str = "Exit status: ";

pub fn print() -> anyhow::Result<Exit> {
    output::print(&page()?);
    Ok(Exit::Success)
}

fn page() -> anyhow::Result<String> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut text = Vec::new();
    let front = Man::new(program.clone());
    front.render_title(&mut text)?;
    front.render_name_section(&mut text)?;
    front.render_synopsis_section(&mut text)?;
    front.render_description_section(&mut text)?;
    front.render_options_section(&mut text)?;
    chapters(&program, program.get_name(), &mut text)?;
    statuses_of_all(&mut text)?;
    front.render_version_section(&mut text)?;
    Ok(String::from_utf8(text)?)
}

/// A chapter for each command below `above`, and below these.
fn chapters(above: &Command, name_above: &str, text: &mut Vec<u8>) -> anyhow::Result<()> {
    let shown = above
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for command in shown {
        let name = format!("{name_above} {}", command.get_name());
        chapter(command, &name, text)?;
        chapters(command, &name, text)?;
    }
    Ok(())
}

fn chapter(command: &Command, name: &str, text: &mut Vec<u8>) -> anyhow::Result<()> {
    let man = Man::new(command.clone().display_name(name).bin_name(name));
    let mut sections = Vec::new();
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    heading("SH", &name.to_uppercase(), text)?;
    // They are parts of the chapter.
    let sections = String::from_utf8(sections)?;
    text.extend(sections.replace(".SH ", ".SS ").bytes());
    let last = command.get_after_long_help().or(command.get_after_help());
    let last = last.map(ToString::to_string).unwrap_or_default();
    let (words, statuses) = last.split_once(STATUSES).unwrap_or((&last, ""));
    for (title, words) in [("NOTES", words), ("EXIT STATUS", statuses)] {
        if !words.trim().is_empty() {
            heading("SS", title, text)?;
            paragraphs(words, text)?;
        }
    }
    Ok(())
}

fn statuses_of_all(text: &mut Vec<u8>) -> io::Result<()> {
    heading("SH", "EXIT STATUS", text)?;
    paragraphs(
        "What each command means by them is in its own part of this page; in general:",
        text,
    )?;
    for (status, meaning) in [
        (Exit::Success, "It did what it was asked to."),
        (
            Exit::Found,
            "It did, and something is wrong with what it looked at, or was not found.",
        ),
        (
            Exit::Usage,
            "Bad usage or configuration, or it could not be done.",
        ),
        (
            Exit::Damaged,
            "A capture was damaged: what was readable is recorded.",
        ),
        (Exit::Unreachable, "No daemon answers."),
    ] {
        let mut roff = Roff::new();
        roff.control("TP", []);
        roff.text([roman(status.code().to_string())]);
        roff.text([roman(meaning)]);
        roff.to_writer(text)?;
    }
    Ok(())
}

fn heading(kind: &str, title: &str, text: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control(kind, [title]);
    roff.to_writer(text)
}

fn paragraphs(words: &str, text: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::new();
    for paragraph in words.trim().split("\n\n") {
        roff.control("PP", []);
        roff.text([roman(paragraph)]);
    }
    roff.to_writer(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All commands that `--help` shows, by their whole names.
    fn names(above: &Command, name_above: &str) -> Vec<String> {
        let shown = above
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let with_those_below = shown.flat_map(|command| {
            let name = format!("{name_above} {}", command.get_name());
            let below = names(command, &name);
            std::iter::once(name).chain(below)
        });
        with_those_below.collect()
    }

    #[test]
    fn every_command_has_its_chapter_with_its_options() {
        let page = page().unwrap();
        let names = names(&Cli::command(), "callreel");
        assert!(
            names.contains(&"callreel calls show".to_owned()),
            "{names:?}"
        );
        for name in names {
            let heading = format!(".SH \"{}\"", name.to_uppercase());
            assert_eq!(page.matches(&heading).count(), 1, "{heading}");
        }
        let show = page.split(".SH \"CALLREEL CALLS SHOW\"").nth(1).unwrap();
        let show = show.split("\n.SH ").next().unwrap();
        assert!(show.contains("\\-\\-ladder"), "{show}");
        assert!(show.contains("callreel calls show"), "{show}");
    }

    #[test]
    fn exit_statuses_are_told_in_general_and_of_each_command_that_has_its_own() {
        let page = page().unwrap();
        assert_eq!(page.matches(".SH \"EXIT STATUS\"").count(), 1);
        let replay = page.split(".SH \"CALLREEL REPLAY\"").nth(1).unwrap();
        let replay = replay.split("\n.SH ").next().unwrap();
        let statuses = replay.split(".SS \"EXIT STATUS\"").nth(1).unwrap();
        for said in [
            "0 all read",
            "1 something could not be stored",
            "3 a capture was damaged",
        ] {
            assert!(statuses.contains(said), "{statuses}");
        }
        assert!(!page.contains(STATUSES), "they have sections of their own");
    }
}
