//! `callreel group`.

use serde_json::json;

use super::{OUTCOMES, Office, Place};
use crate::cli::Exit;
use crate::cli::selection::{Selection, block_on};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the groups of a tenant.
    List(Place),
    /// Show a group.
    Show(One),
    /// Make a group.
    #[command(after_help = OUTCOMES)]
    Create(Create),
    /// Rename a group, or describe it.
    #[command(after_help = OUTCOMES)]
    Edit(Edit),
    /// Remove a group; its users are in none then.
    #[command(after_help = OUTCOMES)]
    Remove(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The group's name or id
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Create {
    name: String,
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Edit {
    #[command(flatten)]
    one: One,
    /// Another name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

impl Command {
    fn place(&self) -> &Place {
        match self {
            Command::List(place) => place,
            Command::Show(one) | Command::Remove(one) => &one.place,
            Command::Create(create) => &create.place,
            Command::Edit(edit) => &edit.one.place,
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let store = match args.selection.store() {
        Ok(store) => store,
        Err(exit) => return Ok(exit),
    };
    block_on(async {
        let installation = store
            .installation(matches!(args.command, Command::Create(_)))
            .await?;
        let office = Office::open(&installation, &store, args.command.place()).await?;
        let done = execute(&office, &args.command).await;
        installation.catalog.close().await;
        done.map(|()| Exit::Success)
    })
}

async fn execute(office: &Office, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::List(_) => {
            let groups = office.list("groups", "").await?;
            let columns = [
                ("NAME", "name"),
                ("USERS", "users"),
                ("DESCRIPTION", "description"),
                ("ID", "id"),
            ];
            office.show_all(&groups, &columns)
        }
        Command::Show(one) => office.show(&office.read("groups", "name", &one.name).await?.1.body),
        Command::Create(create) => {
            let body = json!({
                "name": create.name, "description": create.description, "tenant_id": office.tenant,
            });
            let made = office.inside.create("/groups", body).await?.body;
            office.tell(&made, &format!("{} is made", create.name))
        }
        Command::Edit(edit) => {
            let (path, read) = office.read("groups", "name", &edit.one.name).await?;
            let mut body =
                json!({ "name": read.body["name"], "description": read.body["description"] });
            if let Some(name) = &edit.rename {
                body["name"] = json!(name);
            }
            if let Some(description) = &edit.description {
                body["description"] = json!(description);
            }
            let edited = office.inside.edit(&path, &read, body).await?.body;
            office.tell(&edited, &format!("{} is changed", edit.one.name))
        }
        Command::Remove(one) => office.remove("groups", "name", &one.name).await,
    }
}
