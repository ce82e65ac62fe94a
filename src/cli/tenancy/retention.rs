//! `callreel retention`.

use serde_json::{Value, json};

use super::{Office, Place, system_event, with_office};
use crate::access::Retention;
use crate::api::{Installation as _, RetentionView};
use crate::catalog::{TenantStatus, wall_clock};
use crate::cli::Exit;
use crate::cli::output::{self, Table, print_json};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A tenant's calls go `retention_days` of its plan after their end, but for those on hold and their interactions. Fewer days than \
before are in force 24 hours after the daemon saw them. Nothing goes of a tenant without such a plan, nor of one that was removed.\n\n\
A clock that is put forward is not believed at once: until it has gone on evenly for as long as it is ahead, calls go by the time \
that has surely passed. Where it is right, after the machine was off for long, `confirm-clock` says so.\n\n\
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
    /// How long each tenant's calls are kept, and the time by which they go.
    List,
    /// The clock of this machine is right: calls go by it from now on.
    ConfirmClock,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let json = args.place.json;
    with_office(&args.place, false, async |office| match &args.command {
        Command::List => list(office, json),
        Command::ConfirmClock => confirm_clock(office, json).await,
    })
}

fn list(office: &Office, json: bool) -> anyhow::Result<()> {
    let believed = office.believed_time;
    let there = office.rows.tenants.iter();
    let mut tenants: Vec<_> = there
        .filter(|tenant| tenant.status != TenantStatus::Gone)
        .collect();
    tenants.sort_by_key(|tenant| tenant.name.to_lowercase());
    let plans = office.tenancy.kept();
    if json {
        let line = |tenant: &&crate::catalog::RegisteredTenant| {
            let mut line = json!(RetentionView::from(office.retention(tenant.id)));
            line["tenant_id"] = json!(tenant.id);
            line["plan"] = json!(plans.tenants.get(&tenant.id).map(|kept| &kept.plan));
            line
        };
        let tenants: Vec<Value> = tenants.iter().map(line).collect();
        let clock = believed.map(|at| at.to_string());
        return print_json(&json!({ "believed_time": clock, "tenants": tenants }));
    }
    let mut table = Table::new(&["TENANT", "ID", "PLAN", "CALLS KEPT"]);
    for tenant in tenants {
        let plan = plans.tenants.get(&tenant.id);
        table.row(vec![
            tenant.name.clone(),
            tenant.id.to_string(),
            plan.map_or_else(|| "-".into(), |kept| kept.plan.clone()),
            as_text(&office.retention(tenant.id)),
        ]);
    }
    table.print();
    let clock = match believed {
        Some(at) => format!("calls went by {at} when a daemon looked last\n"),
        None => "no daemon has looked yet\n".to_owned(),
    };
    output::print(&format!("\n{clock}"));
    Ok(())
}

async fn confirm_clock(office: &Office, json: bool) -> anyhow::Result<()> {
    let before = office.believed_time;
    let now = wall_clock();
    let mut change = office.catalog.change().await?;
    change.set_believed_time(now).await?;
    let state = |at: crate::base::Timestamp| json!({ "time": at.to_string() });
    let event = system_event("retention.confirm_clock");
    change
        .commit(event.change(before.map(state), Some(state(now))))
        .await?;
    if json {
        return print_json(&state(now));
    }
    output::print(&format!("it is {now}: calls go by this clock\n"));
    Ok(())
}

pub fn as_text(retention: &Retention) -> String {
    let now = match retention.days {
        Some(days) => format!("{days} days after their end"),
        None => "for ever".to_owned(),
    };
    match retention.shorter {
        Some(shorter) => format!(
            "{now}; {} days from {} on",
            shorter.days,
            shorter.in_force_at()
        ),
        None => now,
    }
}
