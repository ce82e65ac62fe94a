//! `callreel calls export`: CSV for spreadsheets, JSON Lines for programs.
//!
//! CSV is RFC 4180: commas, cells quoted where they must be, CRLF, one header line. Spreadsheets take a cell that begins
//! with `=`, `+`, `-` or `@` for a formula, and text in these cells came over the wire: such a cell, and one that begins
//! with the full-width form of these, gets an apostrophe before it. The one exception is `+` with nothing but digits
//! behind it: that is a telephone number, and no formula does harm with digits alone. Control characters, line breaks and
//! tabs among them, are replaced. JSON Lines have everything as it was, escaped.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::super::output::{counted, json_line};
use super::super::{Exit, selection::Store};
use super::filters::Filters;
use super::line::CallLine;
use super::{Catalog, Pages};
use crate::base::csv_line;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "CSV is safe to open in a spreadsheet: a cell that it would take for a formula gets an apostrophe before it, \
but for telephone numbers (+ and digits only), and control characters are replaced. JSON Lines keep everything."
)]
pub struct Args {
    #[command(flatten)]
    filters: Filters,
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Write to this file instead of standard output; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// So many calls at most [default: all]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// All calls that fit, which is what happens anyway
    #[arg(long, conflicts_with = "limit", hide = true)]
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Comma-separated values
    Csv,
    /// One JSON object on each line
    Jsonl,
}

pub async fn run(args: &Args, store: &Store, catalog: &Catalog) -> anyhow::Result<Exit> {
    let query = args.filters.query(catalog).await?;
    let pages = Pages::new(catalog, query, args.limit);
    let file = args.output.as_ref().filter(|path| path.as_os_str() != "-");
    let Some(path) = file else {
        let out = BufWriter::new(io::stdout().lock());
        return match write(pages, args.format, store.root(), out).await {
            // Whoever read has seen enough.
            Err(error) if is_broken_pipe(&error) => Ok(Exit::Success),
            done => done.map(|_| Exit::Success),
        };
    };
    let failed = || format!("cannot write {}", path.display());
    let file = File::create(path).with_context(failed)?;
    let count = write(pages, args.format, store.root(), BufWriter::new(file))
        .await
        .with_context(failed)?;
    eprintln!("{} in {}", counted(count, "call"), path.display());
    Ok(Exit::Success)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

async fn write(
    mut pages: Pages<'_>,
    format: Format,
    root: &Path,
    mut out: impl Write,
) -> anyhow::Result<u64> {
    let mut count = 0;
    if format == Format::Csv {
        out.write_all(csv_line(COLUMNS.iter().map(|(title, _)| (*title).to_owned())).as_bytes())?;
    }
    while let Some(calls) = pages.next().await? {
        for call in &calls {
            let call = CallLine::new(call, root);
            let line = match format {
                Format::Csv => csv_line(COLUMNS.iter().map(|(_, cell)| cell(&call))),
                Format::Jsonl => json_line(&call)? + "\n",
            };
            out.write_all(line.as_bytes())?;
        }
        count += calls.len() as u64;
    }
    out.flush()?;
    Ok(count)
}

type Column = (&'static str, fn(&CallLine) -> String);

const COLUMNS: [Column; 32] = [
    ("id", |call| call.id.to_string()),
    ("tenant_id", |call| call.tenant_id.to_string()),
    ("tenant", |call| call.tenant.clone()),
    ("started_at", |call| call.started_at.clone()),
    ("answered_at", |call| {
        call.answered_at.clone().unwrap_or_default()
    }),
    ("ended_at", |call| call.ended_at.clone().unwrap_or_default()),
    ("end_reason", |call| call.end_reason.clone()),
    ("disposition", |call| call.disposition.clone()),
    ("caller_number", |call| call.caller.number.clone()),
    ("caller_name", |call| call.caller.name.clone()),
    ("caller_extension", |call| {
        call.caller.extension.clone().unwrap_or_default()
    }),
    ("caller_user", |call| {
        call.caller.user.clone().unwrap_or_default()
    }),
    ("callee_number", |call| call.callee.number.clone()),
    ("callee_name", |call| call.callee.name.clone()),
    ("callee_extension", |call| {
        call.callee.extension.clone().unwrap_or_default()
    }),
    ("callee_user", |call| {
        call.callee.user.clone().unwrap_or_default()
    }),
    ("codec", |call| call.codec.clone()),
    ("length_s", |call| format!("{:.3}", call.length_s)),
    ("packets_lost", |call| call.packets_lost.to_string()),
    ("packets_expected", |call| call.packets_expected.to_string()),
    ("file", |call| {
        let path = call
            .file
            .as_ref()
            .map(|file| file.path.display().to_string());
        path.unwrap_or_default()
    }),
    ("size_bytes", |call| {
        let size = call.file.as_ref().map(|file| file.size_bytes.to_string());
        size.unwrap_or_default()
    }),
    ("call_id", |call| call.call_id.clone()),
    ("interaction_id", |call| {
        call.interaction_id
            .map_or_else(String::new, |id| id.to_string())
    }),
    ("sensor", |call| call.sensor.clone()),
    ("paused_s", |call| format!("{:.3}", call.paused_s)),
    ("mos", |call| number(call.mos)),
    ("jitter_ms", |call| number(call.jitter_ms)),
    ("round_trip_ms", |call| number(call.round_trip_ms)),
    ("mirror_lost", |call| call.mirror_lost.to_string()),
    ("unheard", |call| {
        call.unheard
            .map_or_else(String::new, |side| side.to_string())
    }),
    ("direction", |call| {
        call.direction
            .map_or_else(String::new, |direction| direction.name().to_owned())
    }),
];

fn number(number: Option<f64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}
