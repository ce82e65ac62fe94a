//! `callreel calls`: search, show and export what is in the catalog.

mod control;
mod export;
mod fetch;
mod filters;
mod heard;
mod ladder;
mod line;
mod show;

use serde::Serialize;

use self::filters::Filters;
use self::line::CallLine;
use super::Exit;
use super::output::{self, Table, counted, print_json};
use super::selection::{Selection, Store, block_on};
use crate::access::Scope;
use crate::catalog::{CallQuery, CallRecord, Catalog, MAX_PAGE};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without a subcommand calls are searched: `callreel calls --from 24h --user alice`.\n\n\
A catalog holds every call that was seen, recorded or not; the disposition says why there is no recording: \
recorded, no_media, not_answered, encrypted, unsupported_codec, no_audio, policy_none, policy_on_demand, policy_sample, kept_raw, \
unattributed_discarded, disk_error, overload, other_leg, too_short, do_not_record, plan_limit, paused,
plan_storage, plan_minutes, tenant_suspended.\n\n\
Exit status: 0 answered, with calls or without; 1 there is no such call to show; 2 bad usage or configuration, or no \
catalog."
)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    search: Search,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List calls, newest first.
    Search(Search),
    /// Show everything that is known of a call.
    Show(show::Args),
    /// Write calls as CSV or JSON Lines.
    Export(export::Args),
    /// Write a file of a recording, decrypted where it is encrypted.
    Fetch(fetch::Args),
    /// Pause, resume, stop or keep the recording of a call in progress.
    Control(control::Args),
}

#[derive(Debug, PartialEq, clap::Args)]
struct Search {
    #[command(flatten)]
    filters: Filters,
    /// So many calls at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, conflicts_with = "all",
          value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All calls that fit, however many
    #[arg(long)]
    all: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        args.command.is_none() || args.search == Search::default(),
        "filters go behind the subcommand: `callreel calls export --from 24h`"
    );
    let store = match args.selection.store() {
        Ok(store) => store,
        Err(exit) => return Ok(exit),
    };
    if let Some(Command::Control(args)) = &args.command {
        return control::run(args, &store);
    }
    block_on(async {
        let catalog = store.catalog().await?;
        let done = match args.command {
            None => search(&args.search, &store, &catalog).await,
            Some(Command::Search(search_args)) => search(&search_args, &store, &catalog).await,
            Some(Command::Show(args)) => show::run(&args, &store, &catalog).await,
            Some(Command::Export(args)) => export::run(&args, &store, &catalog).await,
            Some(Command::Fetch(args)) => fetch::run(&args, &store, &catalog).await,
            Some(Command::Control(args)) => control::run(&args, &store),
        };
        catalog.close().await;
        done
    })
}

impl Default for Search {
    fn default() -> Self {
        Search {
            filters: Filters::default(),
            limit: 50,
            all: false,
            json: false,
        }
    }
}

/// Calls that fit, newest first, page after page.
struct Pages<'a> {
    catalog: &'a Catalog,
    query: CallQuery,
    /// How many more are wanted.
    left: u64,
    is_done: bool,
}

impl<'a> Pages<'a> {
    fn new(catalog: &'a Catalog, query: CallQuery, limit: Option<u32>) -> Pages<'a> {
        Pages {
            catalog,
            query,
            left: limit.map_or(u64::MAX, u64::from),
            is_done: false,
        }
    }

    /// The next calls; none when these were all, or all that were wanted.
    async fn next(&mut self) -> anyhow::Result<Option<Vec<CallRecord>>> {
        if self.is_done || self.left == 0 {
            return Ok(None);
        }
        self.query.limit = u32::try_from(self.left.min(MAX_PAGE.into())).unwrap_or(MAX_PAGE);
        // Whoever runs the program here can read the files of all tenants anyway.
        let page = self.catalog.calls(&Scope::root(), &self.query).await?;
        self.left = self.left.saturating_sub(page.calls.len() as u64);
        self.is_done = page.next.is_none();
        self.query.after = page.next;
        Ok(Some(page.calls))
    }
}

#[derive(Serialize)]
struct Found {
    calls: Vec<CallLine>,
    /// There are more that fit.
    more: bool,
}

async fn search(args: &Search, store: &Store, catalog: &Catalog) -> anyhow::Result<Exit> {
    let query = args.filters.query(catalog).await?;
    let limit = (!args.all).then_some(args.limit);
    let mut pages = Pages::new(catalog, query, limit);
    let mut calls = Vec::new();
    while let Some(page) = pages.next().await? {
        calls.extend(page.iter().map(|call| CallLine::new(call, store.root())));
    }
    let more = !pages.is_done;
    if args.json {
        print_json(&Found { calls, more })?;
    } else {
        print(&calls, more);
    }
    Ok(Exit::Success)
}

fn print(calls: &[CallLine], more: bool) {
    if calls.is_empty() {
        return output::print("no calls\n");
    }
    let mut table = Table::new(&[
        "ID",
        "TIME",
        "CALLER",
        "CALLEE",
        "TENANT",
        "USER",
        "CODEC",
        "LENGTH",
        "LOSS",
        "MOS",
        "DISPOSITION",
    ]);
    for call in calls {
        table.row(vec![
            call.id.to_string(),
            call.day_and_time(),
            call.caller.number.clone(),
            call.callee.number.clone(),
            call.tenant.clone(),
            call.users.join(", "),
            call.codec.clone(),
            format!("{:.2} s", call.length_s),
            call.loss_text(),
            call.mos_text(),
            call.disposition.clone(),
        ]);
    }
    table.print();
    let count = counted(calls.len() as u64, "call");
    output::print(&match more {
        true => format!("\nthe newest {count}; --all shows the others too\n"),
        false => format!("\n{count}\n"),
    });
}
