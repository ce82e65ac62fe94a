//! What commands print: tables for people, JSON for programs.

pub use crate::base::harmless;
use crate::base::is_harmful;
use std::io::{IsTerminal, Write};

/// A table with left-aligned columns, each as wide as its widest cell.
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&'static str]) -> Self {
        Table {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Cells may hold text from the wire: what could move the cursor or hide text is escaped.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows
            .push(cells.into_iter().map(|cell| harmless(&cell)).collect());
    }

    /// Prints to standard output; a reader that went away is no error.
    pub fn print(&self) {
        let header: Vec<String> = self
            .header
            .iter()
            .map(|title| (*title).to_owned())
            .collect();
        let lines = || std::iter::once(&header).chain(&self.rows);
        let width = |column: usize| {
            lines()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..header.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in lines() {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"));
            text += cells.collect::<Vec<_>>().join("  ").trim_end();
            text.push('\n');
        }
        print(&text);
    }
}

/// `1 call`, `2 calls`.
pub fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// Prints text; a reader that went away is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a value as indented JSON.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(escaped(&serde_json::to_string_pretty(value)?) + "\n"));
    Ok(())
}

/// A value as JSON on one line, without a line break.
pub fn json_line(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(escaped(&serde_json::to_string(value)?))
}

/// JSON with everything escaped that a terminal could obey: it means the same. Line breaks stand between values only.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_harmful(c) {
            text += &format!("\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether a person is watching standard error.
pub fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// A bar on standard error for work whose extent is known once it has begun; none when nobody watches.
pub fn progress(what: &'static str) -> indicatif::ProgressBar {
    if !is_watched() {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")
        .expect("the template is a constant");
    indicatif::ProgressBar::new(0)
        .with_style(style)
        .with_message(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "\u{1b}[2J\u{9b}31m\u{202e}gnp.exe\r\n\0";

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        assert_eq!(
            harmless(HOSTILE),
            "\u{fffd}[2J\u{fffd}31m\u{fffd}gnp.exe\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(harmless("Zoë 田中 عمر"), "Zoë 田中 عمر");
    }

    #[test]
    fn json_escapes_the_same_and_reads_back() {
        let line = json_line(&HOSTILE).unwrap();
        assert!(!line.chars().any(is_harmful), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), HOSTILE);
    }
}
