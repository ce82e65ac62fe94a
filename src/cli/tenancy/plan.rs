//! `callreel plan`.

use anyhow::Context;
use serde_json::{Value, json};

use super::{Office, Place, with_office};
use crate::api::{Installation, KnownPlan};
use crate::cli::Exit;
use crate::cli::output::{self, Table, print_json};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// All plans, of files and of the catalog.
    List,
    /// One plan, and who has it.
    Show {
        /// Its name
        plan: String,
    },
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let json = args.place.json;
    with_office(&args.place, false, async |office| match &args.command {
        Command::List => list(office, json),
        Command::Show { plan } => show(office, plan, json),
    })
}

fn subscribers<'o>(office: &'o Office, plan: &KnownPlan) -> Vec<&'o str> {
    let tenants = office.rows.tenants.iter();
    let has = |name: &Option<String>| {
        name.as_ref()
            .is_some_and(|name| name.eq_ignore_ascii_case(&plan.name))
    };
    tenants
        .filter(|tenant| tenant.status != crate::catalog::TenantStatus::Gone && has(&tenant.plan))
        .map(|tenant| tenant.name.as_str())
        .collect()
}

fn state(office: &Office, plan: &KnownPlan) -> Value {
    json!({
        "id": plan.id, "name": plan.name, "limits": plan.limits, "origin": plan.origin,
        "tenants": subscribers(office, plan),
    })
}

fn list(office: &Office, json: bool) -> anyhow::Result<()> {
    let plans = office.tenancy.plans();
    if json {
        let all: Vec<Value> = plans.iter().map(|plan| state(office, plan)).collect();
        return print_json(&all);
    }
    let mut table = Table::new(&[
        "PLAN", "DAYS", "GIB", "MINUTES", "USERS", "AT ONCE", "FEATURES", "TENANTS", "FROM",
    ]);
    for plan in &plans {
        let limits = &plan.limits;
        let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |n| n.to_string());
        let features = limits.features.as_ref().map_or_else(
            || "all".to_owned(),
            |features| {
                features
                    .iter()
                    .map(|one| one.name())
                    .collect::<Vec<_>>()
                    .join(" ")
            },
        );
        table.row(vec![
            plan.name.clone(),
            number(limits.retention_days.map(u64::from)),
            number(limits.storage_gib),
            number(limits.minutes_per_month.map(u64::from)),
            number(limits.users.map(u64::from)),
            number(limits.concurrent_recordings.map(u64::from)),
            features,
            subscribers(office, plan).len().to_string(),
            plan.origin.clone().unwrap_or_else(|| "catalog".into()),
        ]);
    }
    table.print();
    Ok(())
}

fn show(office: &Office, named: &str, json: bool) -> anyhow::Result<()> {
    let plans = office.tenancy.plans();
    let plan = plans
        .iter()
        .find(|plan| plan.name.eq_ignore_ascii_case(named));
    let plan = plan.with_context(|| format!("there is no plan {named:?}"))?;
    let value = state(office, plan);
    if json {
        return print_json(&value);
    }
    for key in ["name", "id", "limits", "origin", "tenants"] {
        let text = match &value[key] {
            Value::String(text) => text.clone(),
            Value::Null => "catalog".into(),
            other => other.to_string(),
        };
        output::print(&format!("{key:9}{}\n", output::harmless(&text)));
    }
    Ok(())
}
