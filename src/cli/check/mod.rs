//! `callreel check`: is the configuration valid, what does it say, and could a daemon run with it?

mod needs;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use self::needs::Need;
use super::output::{self, Table, counted, print_json};
use super::{Exit, config_path};
use crate::base::TenantId;
use crate::config::{self, Diagnostic, Loaded};
use crate::directory::{Directory, RecordingPolicy, Tenant};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "All errors of all files are shown, each with its place. What only this machine lacks (an interface, room on \
the disk) is a warning: the configuration may be meant for another.\n\n\
Exit status: 0 valid, warnings or not; 2 errors."
)]
pub struct Args {
    /// The daemon's configuration [default: /etc/callreel/callreel.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON instead of a table, for errors too
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let loaded = match config::load(&config_path(args.config.clone())) {
        Ok(loaded) => loaded,
        Err(error) if args.json => {
            print_json(&Report::invalid(error.diagnostics()))?;
            return Ok(Exit::Usage);
        }
        Err(error) => {
            eprint!("{}", error.render(output::is_watched()));
            let count = counted(error.diagnostics().len() as u64, "error");
            eprintln!("\n{count}: the configuration cannot be used");
            return Ok(Exit::Usage);
        }
    };
    let report = Report::valid(&loaded);
    if args.json {
        print_json(&report)?;
    } else {
        print(&report, &loaded);
    }
    Ok(Exit::Success)
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    valid: bool,
    errors: &'a [Diagnostic],
    warnings: &'a [Diagnostic],
    /// What a daemon on this machine would miss.
    missing: Vec<Need>,
    files: Vec<&'a PathBuf>,
    tenants: Vec<TenantLine>,
    totals: Totals,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    tenants: usize,
    rules: usize,
    extensions: usize,
    aliases: usize,
    pinned_users: usize,
}

#[derive(Debug, Serialize)]
struct TenantLine {
    id: TenantId,
    name: Arc<str>,
    plan: Option<Arc<str>>,
    rules: usize,
    extensions: usize,
    aliases: usize,
    pinned_users: usize,
    policy: RecordingPolicy,
    /// `None` for what the program itself made.
    file: Option<Arc<str>>,
}

impl<'a> Report<'a> {
    fn invalid(errors: &'a [Diagnostic]) -> Report<'a> {
        Report {
            valid: false,
            errors,
            warnings: &[],
            missing: Vec::new(),
            files: Vec::new(),
            tenants: Vec::new(),
            totals: Totals::default(),
        }
    }

    fn valid(loaded: &'a Loaded) -> Report<'a> {
        let directory = &loaded.directory;
        let tenants: Vec<TenantLine> = directory
            .tenants()
            .map(|tenant| TenantLine::new(directory, tenant))
            .collect();
        let sum = |of: fn(&TenantLine) -> usize| tenants.iter().map(of).sum();
        let totals = Totals {
            tenants: tenants.len(),
            rules: sum(|tenant| tenant.rules),
            extensions: sum(|tenant| tenant.extensions),
            aliases: sum(|tenant| tenant.aliases),
            pinned_users: sum(|tenant| tenant.pinned_users),
        };
        Report {
            valid: true,
            errors: &[],
            warnings: &loaded.warnings,
            missing: needs::missing(&loaded.settings),
            files: loaded.files.iter().collect(),
            tenants,
            totals,
        }
    }
}

impl TenantLine {
    fn new(directory: &Directory, tenant: &Tenant) -> TenantLine {
        let (mut extensions, mut aliases, mut users) = (0, 0, Vec::new());
        for extension in directory.extensions(tenant) {
            match extension.alias_of {
                Some(_) => aliases += 1,
                None => extensions += 1,
            }
            users.extend(extension.user);
        }
        users.sort_unstable();
        users.dedup();
        let place = &tenant.place;
        TenantLine {
            id: tenant.id,
            name: tenant.name.clone(),
            plan: tenant.plan.clone(),
            rules: directory.rule_places(tenant).count(),
            extensions,
            aliases,
            pinned_users: users.len(),
            policy: tenant.recording,
            file: (place.line > 0).then(|| place.file.clone()),
        }
    }
}

fn print(report: &Report<'_>, loaded: &Loaded) {
    eprint!("{}", config::render(report.warnings, output::is_watched()));
    for need in &report.missing {
        eprintln!("warning: {}: {}", need.setting, need.message);
    }
    let mut table = Table::new(&[
        "TENANT",
        "ID",
        "PLAN",
        "RULES",
        "EXTENSIONS",
        "PINNED USERS",
        "POLICY",
        "FILE",
    ]);
    let dash = |text: Option<&Arc<str>>| text.map_or("-", |text| text).to_owned();
    for tenant in &report.tenants {
        table.row(vec![
            tenant.name.to_string(),
            tenant.id.to_string(),
            dash(tenant.plan.as_ref()),
            tenant.rules.to_string(),
            tenant.extensions.to_string(),
            tenant.pinned_users.to_string(),
            policy_text(tenant.policy),
            dash(tenant.file.as_ref()),
        ]);
    }
    table.print();
    let totals = &report.totals;
    output::print(&format!(
        "\n{} is valid: {} tenants, {} rules, {} extensions, {} aliases, {} pinned users\n",
        loaded
            .files
            .first()
            .map_or_else(String::new, |file| file.display().to_string()),
        totals.tenants,
        totals.rules,
        totals.extensions,
        totals.aliases,
        totals.pinned_users
    ));
}

/// As it is written in a tenant's file.
pub(super) fn policy_text(policy: RecordingPolicy) -> String {
    let mut text = policy.policy.text();
    if policy.minimum_seconds > 0 {
        text += &format!(", from {} s", policy.minimum_seconds);
    }
    text
}
