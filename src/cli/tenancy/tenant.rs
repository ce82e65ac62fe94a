//! `callreel tenant`.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{Office, Place, retention, system_event, with_office};
use crate::api::RetentionView;
use crate::base::SYSTEM_TENANT;
use crate::catalog::{
    RegisteredTenant, TenantDraft, TenantStatus, is_slug, slug_of, timezone_named, wall_clock,
};
use crate::cli::Exit;
use crate::cli::output::{self, Table, print_json};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Tenants that are written in a file are shown, and changed there only. A running daemon takes a change within a \
second.\n\n\
  callreel tenant create --name 'Acme Ltd' --plan gold --rules acme.json\n\n\
where acme.json has the keys of a tenant's file but [tenant] and [[extension]], and the country:\n\n\
  { \"country\": \"GB\", \"match\": [{ \"networks\": [\"10.20.0.0/16\"] }], \"recording\": { \"policy\": \"all\" } }\n\n\
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
    /// All tenants.
    List,
    /// One tenant, with its rules and its plan.
    Show(Named),
    /// A new tenant.
    Create(Draft),
    /// Change what is given, and leave the rest.
    Edit(Edit),
    /// Nobody signs in, and its calls are not recorded.
    Suspend(Named),
    /// The end of that.
    Resume(Named),
    /// Its calls are nobody's from now on; its recordings stay.
    Remove(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Short name or id
    tenant: String,
}

#[derive(Debug, clap::Args)]
struct Draft {
    /// For people
    #[arg(long, required = true)]
    name: Option<String>,
    #[command(flatten)]
    fields: Fields,
}

#[derive(Debug, clap::Args)]
struct Edit {
    /// Short name or id
    tenant: String,
    /// For people
    #[arg(long)]
    name: Option<String>,
    /// Without a plan: everything, without limits
    #[arg(long, conflicts_with = "plan")]
    no_plan: bool,
    #[command(flatten)]
    fields: Fields,
}

#[derive(Debug, clap::Args)]
struct Fields {
    /// What its people sign in with [default: made of the name]
    #[arg(long)]
    slug: Option<String>,
    /// Name of a plan
    #[arg(long)]
    plan: Option<String>,
    /// IANA name, such as Europe/London
    #[arg(long)]
    timezone: Option<String>,
    /// BCP 47 tag, such as en-GB
    #[arg(long)]
    language: Option<String>,
    /// JSON with match rules and the like; `-` is standard input
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

impl Fields {
    /// Puts what was given into a draft.
    fn apply(&self, name: Option<&String>, draft: &mut TenantDraft) -> anyhow::Result<()> {
        let put = |target: &mut String, given: Option<&String>| {
            if let Some(given) = given {
                given.clone_into(target);
            }
        };
        put(&mut draft.name, name);
        put(&mut draft.slug, self.slug.as_ref());
        put(&mut draft.language, self.language.as_ref());
        if let Some(given) = &self.timezone {
            let name = timezone_named(given);
            draft.timezone = name
                .context("timezone: one such as Europe/London or UTC")?
                .to_owned();
        }
        if self.plan.is_some() {
            draft.plan.clone_from(&self.plan);
        }
        if let Some(path) = &self.rules {
            draft.rules = read_rules(path)?;
        }
        ensure!(
            is_slug(&draft.slug),
            "slug: 1 to 63 small letters, digits and hyphens, and no id"
        );
        Ok(())
    }
}

fn read_rules(path: &PathBuf) -> anyhow::Result<Value> {
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin())?,
        false => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?,
    };
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let json = args.place.json;
    let creates = matches!(args.command, Command::Create(_));
    with_office(&args.place, creates, async |office| match &args.command {
        Command::List => list(office, json),
        Command::Show(named) => show(office, office.tenant(&named.tenant)?, json),
        Command::Create(draft) => create(office, draft, json).await,
        Command::Edit(edit) => {
            let before = office.tenant(&edit.tenant)?;
            let mut draft = before.draft();
            edit.fields.apply(edit.name.as_ref(), &mut draft)?;
            if edit.no_plan {
                draft.plan = None;
            }
            write(office, before, &draft, json).await
        }
        Command::Suspend(named) => {
            set_status(office, &named.tenant, TenantStatus::Suspended, json).await
        }
        Command::Resume(named) => {
            set_status(office, &named.tenant, TenantStatus::Active, json).await
        }
        Command::Remove(named) => remove(office, office.tenant(&named.tenant)?).await,
    })
}

fn state(office: &Office, tenant: &RegisteredTenant) -> Value {
    json!({
        "id": tenant.id, "name": tenant.name, "slug": tenant.slug, "timezone": tenant.timezone,
        "language": tenant.language, "plan": tenant.plan, "limits": *office.limits(tenant.id),
        "status": tenant.status.name(), "origin": tenant.origin, "rules": tenant.rules,
    })
}

fn list(office: &Office, json: bool) -> anyhow::Result<()> {
    let there = office.rows.tenants.iter();
    let mut tenants: Vec<&RegisteredTenant> = there
        .filter(|tenant| tenant.status != TenantStatus::Gone)
        .collect();
    tenants.sort_by_key(|tenant| tenant.name.to_lowercase());
    if json {
        let all: Vec<Value> = tenants.iter().map(|tenant| state(office, tenant)).collect();
        return print_json(&all);
    }
    let mut table = Table::new(&["TENANT", "SHORT NAME", "ID", "PLAN", "STATUS", "FROM"]);
    for tenant in tenants {
        table.row(vec![
            tenant.name.clone(),
            tenant.slug.clone(),
            tenant.id.to_string(),
            tenant.plan.clone().unwrap_or_else(|| "-".into()),
            tenant.status.name().into(),
            tenant.origin.clone().unwrap_or_else(|| "catalog".into()),
        ]);
    }
    table.print();
    Ok(())
}

fn show(office: &Office, tenant: &RegisteredTenant, json: bool) -> anyhow::Result<()> {
    let mut value = state(office, tenant);
    let retention = office.retention(tenant.id);
    value["retention"] = json!(RetentionView::from(retention));
    if json {
        return print_json(&value);
    }
    let lines = [
        ("name", tenant.name.clone()),
        ("short name", tenant.slug.clone()),
        ("id", tenant.id.to_string()),
        ("plan", tenant.plan.clone().unwrap_or_else(|| "-".into())),
        ("limits", value["limits"].to_string()),
        ("calls kept", retention::as_text(&retention)),
        ("status", tenant.status.name().into()),
        ("time zone", tenant.timezone.clone()),
        ("language", tenant.language.clone()),
        (
            "from",
            tenant.origin.clone().unwrap_or_else(|| "catalog".into()),
        ),
        ("rules", tenant.rules.to_string()),
    ];
    for (name, text) in lines {
        output::print(&format!("{name:12}{}\n", output::harmless(&text)));
    }
    Ok(())
}

async fn create(office: &Office, given: &Draft, json: bool) -> anyhow::Result<()> {
    let name = given.name.clone().unwrap_or_default();
    let mut draft = TenantDraft {
        slug: slug_of(&name).unwrap_or_default(),
        name,
        timezone: "UTC".into(),
        language: "en".into(),
        plan: None,
        status: TenantStatus::Active,
        rules: json!({}),
    };
    given.fields.apply(None, &mut draft)?;
    let tenant = RegisteredTenant::drafted(TenantDraft::new_id(), &draft, wall_clock());
    let mut rows = office.rows.clone();
    rows.tenants.push(tenant.clone());
    let mut change = office.change(&rows, tenant.id).await?;
    change.create_tenant(&tenant).await?;
    let event = system_event("tenants.create").on("tenant", tenant.id.0);
    let event = event.change(None, Some(state(office, &tenant)));
    change.commit(event).await?;
    show(office, &tenant, json)
}

async fn set_status(
    office: &Office,
    named: &str,
    status: TenantStatus,
    json: bool,
) -> anyhow::Result<()> {
    let before = office.tenant(named)?;
    ensure!(
        before.id != SYSTEM_TENANT || status == TenantStatus::Active,
        "the System tenant is always active"
    );
    let draft = TenantDraft {
        status,
        ..before.draft()
    };
    write(office, before, &draft, json).await
}

async fn write(
    office: &Office,
    before: &RegisteredTenant,
    draft: &TenantDraft,
    json: bool,
) -> anyhow::Result<()> {
    changeable(before)?;
    let mut rows = office.rows.clone();
    for row in rows.tenants.iter_mut().filter(|row| row.id == before.id) {
        *row = RegisteredTenant::drafted(before.id, draft, wall_clock());
    }
    let mut change = office.change(&rows, before.id).await?;
    let tenant = change.edit_tenant(before, draft).await?;
    let event = system_event("tenants.edit").on("tenant", tenant.id.0);
    let event = event.change(Some(state(office, before)), Some(state(office, &tenant)));
    change.commit(event).await?;
    show(office, &tenant, json)
}

async fn remove(office: &Office, tenant: &RegisteredTenant) -> anyhow::Result<()> {
    ensure!(
        tenant.id != SYSTEM_TENANT,
        "the System tenant is always there"
    );
    changeable(tenant)?;
    let mut change = office.catalog.change().await?;
    change.remove_tenant(tenant).await?;
    let event = system_event("tenants.delete").on("tenant", tenant.id.0);
    change
        .commit(event.change(Some(state(office, tenant)), None))
        .await?;
    output::print(&format!(
        "{} is removed; its recordings stay\n",
        output::harmless(&tenant.name)
    ));
    Ok(())
}

fn changeable(tenant: &RegisteredTenant) -> anyhow::Result<()> {
    match &tenant.origin {
        Some(origin) => anyhow::bail!("{} is written in {origin}: change it there", tenant.name),
        None => Ok(()),
    }
}
