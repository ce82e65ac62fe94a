//! `callreel key`: the keys under which recordings are encrypted where they rest.

use serde_json::{Value, json};

use super::Exit;
use super::output::{self, Table, print_json};
use super::selection::Selection;
use crate::storage::{KeyLine, Keys};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The keys lie in the file that `storage.key_file` names, apart from the recordings. The daemon makes it with a first key when \
something is to be encrypted. Keep a copy of it in another place: without it nobody hears what is encrypted, and who has it and the \
recordings hears everything. No key is ever shown here.\n\n\
Exit status: 0 done, 2 bad usage or configuration, or the file cannot be used."
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
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let store = match args.selection.store() {
        Ok(store) => store,
        Err(exit) => return Ok(exit),
    };
    let keys = (store.layout.keys()).ok_or_else(|| anyhow::anyhow!("there is no file of keys"))?;
    match args.command {
        Command::List => list(keys, args.json)?,
        Command::New => {
            let made = keys.add()?;
            match args.json {
                true => print_json(&as_json(&made))?,
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

fn as_json(line: &KeyLine) -> Value {
    json!({ "id": line.id.to_string(), "made_at": line.made, "missing": false })
}

fn list(keys: &Keys, json: bool) -> anyhow::Result<()> {
    let (lines, missing) = (keys.list()?, keys.missing()?);
    if json {
        let missing = missing
            .iter()
            .map(|id| json!({ "id": id.to_string(), "made_at": null, "missing": true }));
        let keys: Vec<Value> = missing.chain(lines.iter().map(as_json)).collect();
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
        let of = if is_newest {
            "what is new"
        } else {
            "what is there"
        };
        let made = output::harmless(&line.made);
        table.row(vec![line.id.to_string(), made, of.to_owned()]);
    }
    table.print();
    Ok(())
}
