//! `callreel role`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{OUTCOMES, Office, Place};
use crate::access::{AccessLevel, Operation, Resource};
use crate::cli::Exit;
use crate::cli::output::{self, Table};
use crate::cli::selection::{Selection, block_on};

/// Bytes of a file with a role, at most.
const MAX_FILE: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the roles of a tenant: those that every tenant has, and its own.
    List(Place),
    /// Show what a role permits.
    Show(One),
    /// Make a role.
    #[command(
        after_help = "Example: callreel role create \"Shift lead\" --tenant acme --copy Supervisor --allow users:edit --forbid calls:download\n\n\
`callreel role permissions` lists what can be allowed.\n\nExit status: 0 done, 2 not done."
    )]
    Create(Create),
    /// Change a role; whoever has it has the new rights at the next request.
    #[command(after_help = OUTCOMES)]
    Edit(Edit),
    /// Remove a role that nobody has.
    #[command(after_help = OUTCOMES)]
    Remove(One),
    /// List every resource and operation that a role can permit.
    Permissions(Plain),
}

#[derive(Debug, clap::Args)]
struct Plain {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The role's name or id
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Create {
    name: String,
    /// Begin with what this role permits
    #[arg(long, value_name = "ROLE", conflicts_with = "file")]
    copy: Option<String>,
    #[command(flatten)]
    changes: Changes,
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
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, clap::Args)]
struct Changes {
    /// Take access level and permissions from a file in the form that `role show --json` prints; "-" for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How far it reaches
    #[arg(long, value_name = "LEVEL", value_parser = ["root", "system", "managed_groups", "user"])]
    level: Option<String>,
    /// Permit this, such as "calls:view"; may be given several times
    #[arg(long, value_name = "RESOURCE:OPERATION", value_parser = permission)]
    allow: Vec<(Resource, Operation)>,
    /// Permit this no more; may be given several times
    #[arg(long, value_name = "RESOURCE:OPERATION", value_parser = permission)]
    forbid: Vec<(Resource, Operation)>,
}

fn permission(text: &str) -> Result<(Resource, Operation), String> {
    let (resource, operation) = text.split_once(':').ok_or("not RESOURCE:OPERATION")?;
    let resource = Resource::named(resource).ok_or("there is no such resource")?;
    let known = resource.operations();
    let operation = Operation::named(operation).filter(|one| known.contains(one));
    operation
        .map(|operation| (resource, operation))
        .ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|one| one.name()).collect();
            format!("{resource} has {}", names.join(", "))
        })
}

impl Changes {
    /// Applies them to a role as JSON.
    fn apply(&self, role: &mut Value) -> anyhow::Result<()> {
        if let Some(path) = &self.file {
            let given = read(path)?;
            role["access_level"] = given["access_level"].clone();
            role["permissions"] = given["permissions"].clone();
        }
        if let Some(level) = &self.level {
            role["access_level"] = json!(level);
        }
        let mut permissions: BTreeMap<String, Vec<String>> =
            serde_json::from_value(role["permissions"].take())
                .context("these are no permissions")?;
        for (resource, operation) in &self.forbid {
            let of_resource = permissions.entry(resource.name().into()).or_default();
            of_resource.retain(|one| one != operation.name());
        }
        for (resource, operation) in &self.allow {
            let of_resource = permissions.entry(resource.name().into()).or_default();
            of_resource.push(operation.name().to_owned());
        }
        role["permissions"] = json!(permissions);
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin()
            .lock()
            .take(MAX_FILE)
            .read_to_string(&mut text),
        false => {
            std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
        }
    };
    read.with_context(|| format!("cannot read {}", path.display()))?;
    let role: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    match role.is_object() {
        true => Ok(role),
        false => bail!("{} holds no role", path.display()),
    }
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    if let Command::Permissions(plain) = &args.command {
        return print_permissions(plain.json).map(|()| Exit::Success);
    }
    let store = match args.selection.store() {
        Ok(store) => store,
        Err(exit) => return Ok(exit),
    };
    block_on(async {
        let installation = store
            .installation(matches!(args.command, Command::Create(_)))
            .await?;
        let done = execute(&installation, &store, &args.command).await;
        installation.catalog.close().await;
        done.map(|()| Exit::Success)
    })
}

async fn execute(
    installation: &crate::cli::installation::Installation,
    store: &crate::cli::selection::Store,
    command: &Command,
) -> anyhow::Result<()> {
    match command {
        Command::List(place) => {
            let office = Office::open(installation, store, place).await?;
            let roles = office.list("roles", "").await?;
            let columns = [
                ("NAME", "name"),
                ("LEVEL", "access_level"),
                ("ID", "role_id"),
            ];
            office.show_all(&roles, &columns)
        }
        Command::Show(one) => {
            let office = Office::open(installation, store, &one.place).await?;
            let role = office.read("roles", "name", &one.name).await?.1.body;
            if office.json {
                output::print_json(&role)
            } else {
                show(&role)
            }
        }
        Command::Create(create) => {
            let office = Office::open(installation, store, &create.place).await?;
            let mut role = match &create.copy {
                Some(name) => office.find("roles", "name", name).await?,
                None => json!({ "access_level": "user", "permissions": {} }),
            };
            role["name"] = json!(create.name);
            role["tenant_id"] = json!(office.tenant);
            create.changes.apply(&mut role)?;
            let made = office.inside.create("/roles", role).await?.body;
            office.tell(&made, &format!("{} is made", create.name))
        }
        Command::Edit(edit) => {
            let office = Office::open(installation, store, &edit.one.place).await?;
            let (path, read) = office.read("roles", "name", &edit.one.name).await?;
            let mut role = read.body.clone();
            if let Some(name) = &edit.rename {
                role["name"] = json!(name);
            }
            edit.changes.apply(&mut role)?;
            let edited = office.inside.edit(&path, &read, role).await?.body;
            office.tell(&edited, &format!("{} is changed", edit.one.name))
        }
        Command::Remove(one) => {
            let office = Office::open(installation, store, &one.place).await?;
            office.remove("roles", "name", &one.name).await
        }
        Command::Permissions(_) => Ok(()),
    }
}

fn show(role: &Value) -> anyhow::Result<()> {
    let text = |key: &str| role[key].as_str().unwrap_or_default().to_owned();
    let line = format!(
        "{}, access level {}, {}\n\n",
        text("name"),
        text("access_level"),
        text("role_id")
    );
    output::print(&output::harmless(line.trim_end()));
    output::print("\n\n");
    let mut table = Table::new(&["RESOURCE", "OPERATIONS"]);
    for (resource, operations) in role["permissions"].as_object().into_iter().flatten() {
        table.row(vec![resource.clone(), super::shown(operations)]);
    }
    table.print();
    Ok(())
}

fn print_permissions(json: bool) -> anyhow::Result<()> {
    let all = || {
        let each = |resource: &'static Resource| {
            let operations = resource.operations().iter();
            operations.map(move |operation| (*resource, *operation))
        };
        Resource::ALL.iter().flat_map(each)
    };
    if json {
        let item = |(resource, operation): (Resource, Operation)| {
            json!({
                "resource": resource.name(), "operation": operation.name(),
                "description": operation.description(resource),
            })
        };
        return output::print_json(&all().map(item).collect::<Vec<_>>());
    }
    let mut table = Table::new(&["PERMISSION", "WHAT IT ALLOWS"]);
    for (resource, operation) in all() {
        let what = operation.description(resource).to_owned();
        table.row(vec![format!("{resource}:{operation}"), what]);
    }
    table.print();
    output::print("\n");
    let mut table = Table::new(&["LEVEL", "HOW FAR IT REACHES"]);
    for level in AccessLevel::ALL {
        table.row(vec![
            level.name().to_owned(),
            level.description().to_owned(),
        ]);
    }
    table.print();
    Ok(())
}
