//! `callreel check`: is the configuration valid, what does it say, and could a daemon run with it?

mod needs;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use self::needs::Need;
use super::installation::{AsItRuns, as_it_runs};
use super::output::{self, Table, counted, harmless, print_json};
use super::{Exit, config_path, selection};
use crate::access::Retention;
use crate::api::{Installation as _, Kept};
use crate::base::{SYSTEM_TENANT, TenantId};
use crate::config::{self, Diagnostic, Loaded};
use crate::directory::{Directory, RecordingPolicy, Tenant};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "All errors of all files are shown, each with its place, and what of the catalog contradicts them: tenants and \
extensions that were made through the API are in the table too. What only this machine lacks (an interface, room on \
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
    let catalog = CatalogLine::look(&loaded);
    let report = Report::of(&loaded, &catalog);
    if args.json {
        print_json(&report)?;
    } else {
        print(&report, &loaded);
    }
    Ok(match report.valid {
        true => Exit::Success,
        false => Exit::Usage,
    })
}

/// What the catalog has besides the files.
#[derive(Debug, Default, Serialize)]
struct CatalogLine {
    /// Whether there is one, and it could be read.
    read: bool,
    /// Why it could not.
    unread: Option<String>,
    /// What of it contradicts the files: a running daemon does not take such files, and one that starts leaves this out.
    contradictions: Vec<String>,
    /// Tenants whose calls are kept for fewer days than before.
    shorter: Vec<ShorterLine>,
    #[serde(skip)]
    directory: Option<Arc<Directory>>,
}

impl CatalogLine {
    fn look(loaded: &Loaded) -> CatalogLine {
        match selection::block_on(as_it_runs(loaded)) {
            Ok(None) => CatalogLine::default(),
            Ok(Some(found)) => CatalogLine {
                read: true,
                shorter: ShorterLine::all(&found),
                contradictions: found.tenancy.left_out(),
                directory: Some(found.tenancy.directory().load_full()),
                ..CatalogLine::default()
            },
            Err(error) => CatalogLine {
                unread: Some(format!("{error:#}")),
                ..CatalogLine::default()
            },
        }
    }
}

/// What a plan takes away: a daemon that takes these files waits a day before it does so.
#[derive(Debug, Serialize)]
struct ShorterLine {
    tenant: TenantId,
    plan: String,
    /// What is in force; none: calls are kept for ever.
    days: Option<u32>,
    shorter_days: u32,
}

impl ShorterLine {
    /// Of tenants that have calls to lose.
    fn all(found: &AsItRuns) -> Vec<ShorterLine> {
        let known: HashMap<TenantId, Retention> = found.retentions.iter().copied().collect();
        let kept = found.tenancy.kept();
        let line = |(tenant, kept): (&TenantId, &Kept)| {
            found.recorded.get(tenant)?;
            let days = known.get(tenant).and_then(|retention| retention.days);
            let is_less = days.is_none_or(|days| kept.days < days);
            is_less.then(|| ShorterLine {
                tenant: *tenant,
                plan: kept.plan.clone(),
                days,
                shorter_days: kept.days,
            })
        };
        kept.tenants.iter().filter_map(line).collect()
    }

    fn text(&self) -> String {
        let before = match self.days {
            Some(days) => format!("and {days} are in force"),
            None => "and no limit is in force".to_owned(),
        };
        format!(
            "tenant {}: its plan {} keeps calls for {} days, {before}: 24 hours after a daemon has seen that, what is older goes",
            self.tenant, self.plan, self.shorter_days
        )
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    valid: bool,
    errors: &'a [Diagnostic],
    warnings: &'a [Diagnostic],
    /// What a daemon on this machine would miss.
    missing: Vec<Need>,
    catalog: Option<&'a CatalogLine>,
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
    /// `None` for what the program itself made, or the API.
    file: Option<Arc<str>>,
}

impl<'a> Report<'a> {
    fn invalid(errors: &'a [Diagnostic]) -> Report<'a> {
        Report {
            valid: false,
            errors,
            warnings: &[],
            missing: Vec::new(),
            catalog: None,
            files: Vec::new(),
            tenants: Vec::new(),
            totals: Totals::default(),
        }
    }

    fn of(loaded: &'a Loaded, catalog: &'a CatalogLine) -> Report<'a> {
        let directory = catalog.directory.as_ref().unwrap_or(&loaded.directory);
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
            valid: catalog.contradictions.is_empty(),
            errors: &[],
            warnings: &loaded.warnings,
            missing: needs::missing(&loaded.settings),
            catalog: Some(catalog),
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
    if let Some(why) = report.catalog.and_then(|catalog| catalog.unread.as_ref()) {
        eprintln!(
            "warning: the catalog cannot be read, and what was made through the API is not checked: {}",
            harmless(why)
        );
    }
    for line in report.catalog.iter().flat_map(|catalog| &catalog.shorter) {
        eprintln!("warning: {}", harmless(&line.text()));
    }
    for what in contradictions(report) {
        eprintln!(
            "error: the catalog contradicts the files: {}",
            harmless(what)
        );
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
            match tenant.file.is_none() && tenant.id != SYSTEM_TENANT {
                true => "catalog".to_owned(),
                false => dash(tenant.file.as_ref()),
            },
        ]);
    }
    table.print();
    let count = contradictions(report).len();
    if count > 0 {
        let count = counted(count as u64, "error");
        eprintln!(
            "\n{count}: a running daemon does not take these files, and one that starts leaves out what is in the catalog"
        );
        return;
    }
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

fn contradictions<'r>(report: &Report<'r>) -> &'r [String] {
    report
        .catalog
        .map_or(&[], |catalog| catalog.contradictions.as_slice())
}

/// As it is written in a tenant's file.
pub(super) fn policy_text(policy: RecordingPolicy) -> String {
    let mut text = policy.policy.text();
    if policy.minimum_seconds > 0 {
        text += &format!(", from {} s", policy.minimum_seconds);
    }
    text
}
