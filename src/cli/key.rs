//! `callreel key`: the keys under which recordings are encrypted where they rest.

use serde_json::{Value, json};

use super::Exit;
use super::output::{self, Table, print_json};
use super::selection::Selection;
use crate::storage::{KeyLine, Keys, Layout, StoredFile};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The keys lie in the file that `storage.key_file` names, apart from the recordings. The daemon makes it with a first key when \
something is to be encrypted. Keep a copy of it in another place: without it nobody hears what is encrypted, and who has it and the \
recordings hears everything. No key is ever shown here.\n\n\
Exit status: 0 done, 1 not every recording could be put under the newest key, 2 bad usage or configuration, or the file cannot be used."
)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(subcommand)]
    command: Command,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The ids of the keys, and when each was made; what is new is encrypted under the last. Those that recordings are under and that
    /// the file does not have are missing.
    List,
    /// Make a key, under which calls that begin from now on are encrypted; the daemon sees it by itself. Earlier ones stay under theirs.
    New,
    /// Put every recording under the newest key, so that the others can be taken out of the file. The daemon may run meanwhile. Only the
    /// beginning of each file is written: a recording's own key, encrypted anew.
    Rewrap,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let store = match args.selection.store() {
        Ok(store) => store,
        Err(exit) => return Ok(exit),
    };
    let keys = (store.layout.keys()).ok_or_else(|| anyhow::anyhow!("there is no file of keys"))?;
    match args.command {
        Command::List => list(keys, args.json)?,
        Command::Rewrap => return rewrap(&store.layout, keys, args.json),
        Command::New => {
            let made = keys.add()?;
            match args.json {
                true => print_json(&as_json(&made, false))?,
                false => output::print(&format!(
                    "key {} in {}: keep a copy of the file\n",
                    made.id,
                    keys.path().display()
                )),
            }
        }
    }
    Ok(Exit::Success)
}

fn as_json(line: &KeyLine, in_use: bool) -> Value {
    json!({ "id": line.id.to_string(), "made_at": line.made, "in_use": in_use, "missing": false })
}

/// What became of putting all under one key.
#[derive(Default)]
struct Rewrapped {
    files: u64,
    /// What could not be, and why.
    left: Vec<(String, String)>,
}

fn rewrap(layout: &Layout, keys: &Keys, json: bool) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        layout.root().is_dir(),
        "there is no storage {}",
        layout.root().display()
    );
    let mut done = Rewrapped::default();
    let progress = output::progress("files");
    // Calls go on meanwhile: files get their names, and others begin.
    loop {
        let before = done.files;
        done.left.clear();
        let left = &mut done.left;
        let found = layout.walk(|path, error| {
            left.push((path.display().to_string(), error.to_string()));
        });
        progress.set_length(found.len() as u64);
        progress.set_position(0);
        for (name, kind) in found {
            match StoredFile::rewrap(layout, &name, kind) {
                Ok(is_done) => done.files += u64::from(is_done),
                Err(error) if error.is_not_found() => {}
                Err(error) => done.left.push((name.relative(kind), error.to_string())),
            }
            progress.inc(1);
        }
        if done.files == before {
            break;
        }
    }
    progress.finish_and_clear();
    if done.left.is_empty() && !keys.in_use()?.is_empty() {
        keys.forget_all_but_newest()?;
    }
    print_rewrapped(&done, json)?;
    Ok(match done.left.is_empty() {
        true => Exit::Success,
        false => Exit::Found,
    })
}

fn print_rewrapped(done: &Rewrapped, json: bool) -> anyhow::Result<()> {
    if json {
        let left = done
            .left
            .iter()
            .map(|(path, why)| json!({ "path": path, "because": why }));
        return print_json(&json!({ "files": done.files, "left": left.collect::<Vec<_>>() }));
    }
    if !done.left.is_empty() {
        let mut table = Table::new(&["LEFT AS IT IS", "BECAUSE"]);
        for (path, why) in &done.left {
            table.row(vec![path.clone(), why.clone()]);
        }
        table.print();
        output::print("\n");
    }
    let files = output::counted(done.files, "file");
    output::print(&match done.left.len() {
        0 => format!("{files} put under the newest key: no recording is under another\n"),
        left => format!("{files} put under the newest key, {left} left\n"),
    });
    Ok(())
}

fn list(keys: &Keys, json: bool) -> anyhow::Result<()> {
    let (lines, missing, in_use) = (keys.list()?, keys.missing()?, keys.in_use()?);
    if json {
        let missing = missing.iter().map(
            |id| json!({ "id": id.to_string(), "made_at": null, "in_use": true, "missing": true }),
        );
        let keys: Vec<Value> = missing
            .chain(
                lines
                    .iter()
                    .map(|line| as_json(line, in_use.contains(&line.id))),
            )
            .collect();
        return print_json(&keys);
    }
    if lines.is_empty() && missing.is_empty() {
        output::print(&format!("there is no {} yet\n", keys.path().display()));
        return Ok(());
    }
    let mut table = Table::new(&["KEY", "MADE", "IN USE FOR"]);
    for id in missing {
        table.row(vec![
            id.to_string(),
            "MISSING".into(),
            "what is there".into(),
        ]);
    }
    for (at, line) in lines.iter().enumerate() {
        let is_newest = at + 1 == lines.len();
        let of = match (is_newest, in_use.contains(&line.id)) {
            (true, _) => "what is new",
            (false, true) => "what is there",
            (false, false) => "nothing",
        };
        let made = output::harmless(&line.made);
        table.row(vec![line.id.to_string(), made, of.to_owned()]);
    }
    table.print();
    Ok(())
}
