//! `callreel extension`.

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Office, Place, event, scope, with_office};
use crate::api::{Installation, KnownExtension};
use crate::base::{TenantId, Timestamp};
use crate::catalog::{AllocationDraft, AllocationRow, wall_clock};
use crate::cli::Exit;
use crate::cli::output::{self, Table, counted, print_json};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "An extension is named as it is written (1001, 1100-1199, or a prefix), or by one number of it, which is then \
meant alone:\n\n  callreel extension allocate acme 1150 ann\n  callreel extension allocate acme 1150 ben --replace --from 2026-12-01T08:00:00Z\n  \
callreel extension release acme 1150\n\n\
Calls of before stay with who had the number then. A running daemon takes a change within a second.\n\n\
Exit status: 0 done, 2 not done."
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Extensions, and who has them.
    List {
        /// Short name or id of a tenant; all tenants when absent
        tenant: Option<String>,
        /// The same
        #[arg(long = "tenant", value_name = "TENANT", conflicts_with = "tenant")]
        of: Option<String>,
    },
    /// Give an extension, or one number of it, to a user.
    Allocate(Allocate),
    /// Take it back, now or later.
    Release {
        /// Short name or id
        tenant: String,
        /// As it is written, or one number of it
        extension: String,
        /// RFC 3339; now when absent
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Allocate {
    /// Short name or id
    tenant: String,
    /// As it is written, or one number of it
    extension: String,
    /// Login of a user of the tenant
    user: String,
    /// RFC 3339; now when absent
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The first moment at which it does not hold any more
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Who has it then has it until then
    #[arg(long)]
    replace: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let json = args.place.json;
    with_office(&args.place, false, async |office| match &args.command {
        Command::List { tenant, of } => list(office, tenant.as_ref().or(of.as_ref()), json),
        Command::Allocate(asked) => allocate(office, asked, json).await,
        Command::Release {
            tenant,
            extension,
            at,
        } => release(office, tenant, extension, at.as_deref()).await,
    })
}

fn list(office: &Office, tenant: Option<&String>, json: bool) -> anyhow::Result<()> {
    let tenants = match tenant {
        Some(named) => vec![office.tenant(named)?.id],
        None => office.tenancy.tenants_with_extensions(),
    };
    let now = wall_clock();
    let mut all = Vec::new();
    let mut table = Table::new(&["TENANT", "EXTENSION", "ALIASES", "USER", "SINCE", "FROM"]);
    for id in tenants {
        let row = office.rows.tenants.iter().find(|row| row.id == id);
        let slug = row.map_or_else(|| id.to_string(), |row| row.slug.clone());
        let allocations = office.tenancy.allocations(id);
        for extension in office.tenancy.extensions(id) {
            let own: Vec<&AllocationRow> = (allocations.iter())
                .filter(|row| row.extension == extension.id)
                .collect();
            let mut line = |text: String, user: String, since: String| {
                table.row(vec![
                    slug.clone(),
                    text,
                    extension.aliases.join(" "),
                    user,
                    since,
                    extension.origin.clone().unwrap_or_else(|| "catalog".into()),
                ]);
            };
            let whole = own
                .iter()
                .find(|row| row.number.is_none() && row.holds_at(now));
            let user = match (&extension.pinned, whole) {
                (Some(login), _) => format!("{login} (pinned)"),
                (None, Some(row)) => row.login.clone(),
                (None, None) => "-".into(),
            };
            let since = whole.map_or_else(String::new, |row| row.valid_from.to_string());
            line(text_of(&extension), user, since);
            for row in own
                .iter()
                .filter(|row| row.number.is_some() || !row.holds_at(now))
            {
                let number = row.number.clone().unwrap_or_else(|| text_of(&extension));
                line(number, row.login.clone(), row.valid_from.to_string());
            }
            all.push(json!({
                "id": extension.id, "tenant_id": id, "tenant": slug, "kind": extension.kind,
                "extension": extension.text, "aliases": extension.aliases, "policy": extension.policy,
                "pinned": extension.pinned, "origin": extension.origin,
                "allocations": own.iter().map(|row| state(row)).collect::<Vec<Value>>(),
            }));
        }
    }
    match json {
        true => print_json(&all),
        false => {
            table.print();
            output::print(&format!("\n{}\n", counted(all.len() as u64, "extension")));
            Ok(())
        }
    }
}

fn text_of(extension: &KnownExtension) -> String {
    match extension.kind {
        "prefix" => format!("{}*", extension.text),
        _ => extension.text.clone(),
    }
}

/// The extension that is meant, and the number where one of many is.
fn meant(
    office: &Office,
    tenant: TenantId,
    text: &str,
) -> anyhow::Result<(KnownExtension, Option<String>)> {
    let all = office.tenancy.extensions(tenant);
    let is_written = |extension: &&KnownExtension| {
        let id = office
            .tenancy
            .extension_id(tenant, extension.kind, text.trim_end_matches('*'));
        id == Some(extension.id)
    };
    if let Some(extension) = all.iter().find(is_written) {
        return Ok((extension.clone(), None));
    }
    let covering = office.tenancy.extension_of(tenant, text);
    let found = covering.with_context(|| format!("the tenant has no extension {text:?}"))?;
    let mut all = all.into_iter();
    let extension = all.find(|extension| extension.id == found.extension);
    let extension = extension.context("the tenant has no such extension")?;
    // By an alias all of it is meant.
    let number = (!found.is_exact).then_some(found.number);
    Ok((extension, number))
}

fn time(text: Option<&str>, otherwise: Timestamp) -> anyhow::Result<Timestamp> {
    let Some(text) = text else {
        return Ok(otherwise);
    };
    let parsed = OffsetDateTime::parse(text, &Rfc3339)
        .with_context(|| format!("{text:?} is no time such as 2026-12-01T08:00:00Z"))?;
    let at = Timestamp::from_nanos(i64::try_from(parsed.unix_timestamp_nanos())?);
    ensure!(
        at >= otherwise,
        "{text} lies in the past, which stays as it was"
    );
    Ok(at)
}

async fn allocate(office: &Office, asked: &Allocate, json: bool) -> anyhow::Result<()> {
    let tenant = office.tenant(&asked.tenant)?;
    let (extension, number) = meant(office, tenant.id, &asked.extension)?;
    if let Some(login) = &extension.pinned {
        let place = extension.origin.as_deref().unwrap_or_default();
        bail!("{} is pinned to {login} in {place}", extension.text);
    }
    let valid_from = time(asked.from.as_deref(), wall_clock())?;
    let valid_to = asked
        .to
        .as_deref()
        .map(|to| time(Some(to), valid_from))
        .transpose()?;
    let mut change = office.catalog.change().await?;
    let user = change.user_named(tenant.id, &asked.user).await?;
    let (user, login) =
        user.with_context(|| format!("{} has no user {:?}", tenant.name, asked.user))?;
    let draft = AllocationDraft {
        tenant: tenant.id,
        extension: extension.id,
        number,
        user,
        valid_from,
        valid_to,
        replace: asked.replace,
    };
    let row = match change.allocate(&draft, &login).await? {
        Ok(row) => row,
        Err(taken) => bail!(
            "{} has it from {}: --replace ends that",
            taken.0.login,
            taken.0.valid_from
        ),
    };
    let event = event("extensions.allocate", tenant.id).on("extension", extension.id);
    change.commit(event.change(None, Some(state(&row)))).await?;
    if json {
        return print_json(&state(&row));
    }
    let number = row.number.clone().unwrap_or_else(|| text_of(&extension));
    let line = format!("{number} is {}'s from {}", row.login, row.valid_from);
    output::print(&(output::harmless(&line) + "\n"));
    Ok(())
}

async fn release(
    office: &Office,
    tenant: &str,
    extension: &str,
    at: Option<&str>,
) -> anyhow::Result<()> {
    let tenant = office.tenant(tenant)?;
    let (extension, number) = meant(office, tenant.id, extension)?;
    let at = time(at, wall_clock())?;
    let rows = office.tenancy.allocations(tenant.id);
    let held = rows.iter().find(|row| {
        row.extension == extension.id
            && row.number == number
            && row.valid_to.is_none_or(|end| end > at)
    });
    let held = held.context("nobody has it then")?;
    let mut change = office.catalog.change().await?;
    let before = change.allocation(&scope(), held.id).await?;
    let before = before.context("nobody has it any more")?;
    let ended = change
        .end_allocation(&before, Some(at.max(before.valid_from)))
        .await?;
    let Ok(ended) = ended else {
        bail!("somebody else has it then");
    };
    let event = event("extensions.allocate", tenant.id).on("extension", extension.id);
    change
        .commit(event.change(Some(state(&before)), Some(state(&ended))))
        .await?;
    let number = number.unwrap_or_else(|| text_of(&extension));
    let line = format!(
        "{number} is {}'s until {}",
        ended.login,
        at.max(before.valid_from)
    );
    output::print(&(output::harmless(&line) + "\n"));
    Ok(())
}

fn state(row: &AllocationRow) -> Value {
    json!({
        "id": row.id, "number": row.number, "user_id": row.user, "login": row.login,
        "valid_from": row.valid_from.to_string(), "valid_to": row.valid_to.map(|at| at.to_string()),
    })
}
