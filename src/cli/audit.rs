//! `callreel audit`: what people did, and whether the record of it is whole.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use super::Exit;
use super::output::{self, Table, harmless};
use super::selection::{Selection, Store, block_on};
use super::user::{operator, tenant};
use crate::access::{Event, Scope};
use crate::api::AuditRecord;
use crate::base::{SYSTEM_TENANT, TenantId};
use crate::catalog::{
    AuditEntry, AuditQuery, Catalog, Chain, Gap, KnownRecord, Listed, MAX_LISTED,
};
use crate::daemon::auditing;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the newest records.
    List(ListOptions),
    /// Print records as JSON Lines, oldest first.
    Export(Filters),
    /// Find out whether records were changed, taken out or cut off.
    #[command(
        after_help = "Each record has a hash of itself and of all before it in its tenant; every chain is read from its beginning, and the \
first record is named that is not as it was written: changed, missing, cut_off or rewritten.\n\n\
What was cut off at the end is known from the heads that the daemon keeps in a file beside the catalog (catalog.db.audit-heads), \
and from an earlier export. Where the daemon found that file gone, or the catalog short of what it had, that is a gap, \
until an operator acknowledges it (audit acknowledge). Whoever can write the catalog can write that file too, so keep exports elsewhere ([audit] in the \
configuration) and compare with --against. A chain of which neither says where it ended is told so. After a power cut the last records may be missing without anybody's doing.\n\n\
Exit status: 0 all is as it was written, 1 something is not or where it ended is not known, 2 bad usage or configuration, or no catalog."
    )]
    Verify(VerifyOptions),
    /// Say that you know why records are missing: from now on the audit is taken as it is
    #[command(
        after_help = "For after a catalog was restored from a copy, or when what the daemon found missing is explained: the heads of the \
chains are taken anew from the catalog, and the System tenant's audit says who did so and why. What is broken within a chain stays \
broken.\n\nExit status: 0 done, 2 bad usage or configuration, or no catalog."
    )]
    Acknowledge(AcknowledgeOptions),
}

#[derive(Debug, clap::Args)]
struct AcknowledgeOptions {
    /// Why they are missing, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, clap::Args)]
struct Filters {
    /// Of this tenant only: its short name or id
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[arg(skip)]
    tenant_id: Option<TenantId>,
    /// What was done, such as users.edit; `users.` for all that was done to users
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Who did it, letter for letter
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// What it was done to
    #[arg(long, value_name = "ID")]
    object: Option<uuid::Uuid>,
}

#[derive(Debug, clap::Args)]
struct ListOptions {
    #[command(flatten)]
    filters: Filters,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct VerifyOptions {
    /// Compare with records that were exported earlier (JSON Lines)
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Filters {
    fn query(&self) -> AuditQuery {
        AuditQuery {
            action: self.action.clone(),
            actor_name: self.actor.clone(),
            object: self.object,
            limit: MAX_LISTED,
            ..AuditQuery::default()
        }
    }

    fn scope(&self) -> Scope {
        self.tenant_id.map_or_else(Scope::root, Scope::tenant)
    }

    /// Looks up the tenant that is named, which may be gone by now: then it has to be its id.
    async fn find(&mut self, catalog: &Catalog) -> anyhow::Result<()> {
        self.tenant_id = match &self.tenant {
            None => None,
            Some(text) => match text.parse() {
                Ok(id) => Some(id),
                Err(_) => Some(tenant(catalog, Some(text)).await?),
            },
        };
        Ok(())
    }
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let store = match args.selection.store() {
        Ok(store) => store,
        Err(exit) => return Ok(exit),
    };
    block_on(async {
        let catalog = store.catalog().await?;
        match args.command {
            Command::List(mut options) => {
                options.filters.find(&catalog).await?;
                list(&catalog, &options).await
            }
            Command::Export(mut filters) => {
                filters.find(&catalog).await?;
                export(&catalog, &filters).await
            }
            Command::Verify(options) => verify(&store, &catalog, &options).await,
            Command::Acknowledge(options) => acknowledge(&store, &catalog, &options.reason).await,
        }
    })
}

/// The records that were asked for, newest first, at most so many.
async fn newest(
    catalog: &Catalog,
    filters: &Filters,
    limit: usize,
) -> anyhow::Result<Vec<AuditEntry>> {
    let mut query = filters.query();
    let mut all = Vec::new();
    while all.len() < limit {
        let Listed { items, next } = catalog.audit_page(&filters.scope(), &query).await?;
        all.extend(items);
        query.after = next;
        if query.after.is_none() {
            break;
        }
    }
    all.truncate(limit);
    Ok(all)
}

async fn list(catalog: &Catalog, options: &ListOptions) -> anyhow::Result<Exit> {
    let entries = newest(catalog, &options.filters, options.limit).await?;
    let records: Vec<_> = entries.into_iter().map(AuditRecord::whole).collect();
    if options.json {
        output::print_json(&records)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&[
        "AT", "TENANT", "WHO", "ROLE", "FROM", "DID", "TO", "OUTCOME",
    ]);
    for record in records {
        let object = record.object.map(|object| match object.id {
            Some(id) => format!("{} {id}", object.kind),
            None => object.kind,
        });
        let cells = [
            record.at,
            record.tenant_id.to_string(),
            record.actor.name.unwrap_or(record.actor.kind),
            record.actor.role.unwrap_or_default(),
            record.address.unwrap_or_default(),
            record.action,
            object.unwrap_or_default(),
            record.outcome,
        ];
        table.row(cells.iter().map(|cell| harmless(cell)).collect());
    }
    table.print();
    Ok(Exit::Success)
}

async fn export(catalog: &Catalog, filters: &Filters) -> anyhow::Result<Exit> {
    let mut position = 0;
    loop {
        let entries = catalog.audit_since(position, MAX_LISTED).await?;
        let Some((last, _)) = entries.last() else {
            return Ok(Exit::Success);
        };
        position = *last;
        for (_, entry) in entries {
            if filters.hold(&entry) {
                output::print(&(output::json_line(&AuditRecord::whole(entry))? + "\n"));
            }
        }
    }
}

impl Filters {
    fn hold(&self, entry: &AuditEntry) -> bool {
        let record = &entry.record;
        let action = |wanted: &String| match wanted.ends_with('.') {
            true => record.action.starts_with(wanted),
            false => record.action == *wanted,
        };
        self.tenant_id.is_none_or(|tenant| record.tenant == tenant)
            && self.action.as_ref().is_none_or(action)
            && (self.actor.as_ref()).is_none_or(|actor| record.actor_name == *actor)
            && self
                .object
                .is_none_or(|object| record.object_id == Some(object))
    }
}

async fn verify(store: &Store, catalog: &Catalog, options: &VerifyOptions) -> anyhow::Result<Exit> {
    let mut known = Vec::new();
    // Chains that the file of heads has to have a line of; none: all.
    let mut told = None;
    if let Some(path) = auditing::heads_path(&store.catalog_url) {
        let heads = auditing::read_heads(&path);
        if let Some(heads) = heads.with_context(|| format!("cannot read {}", path.display()))? {
            known.extend(heads);
            told = Some(catalog.told_chains(auditing::HEADS).await?);
        }
    }
    for path in &options.against {
        known.extend(read_export(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let named: HashSet<TenantId> = known.iter().map(|known| known.tenant).collect();
    let chains = catalog.verify_audit(&known).await?.into_iter();
    let gap = catalog.audit_gap().await?;
    let chains: Vec<Verified> = chains
        .map(|chain| Verified {
            gap: gap.clone().filter(|_| chain.tenant == SYSTEM_TENANT),
            has_no_head: !named.contains(&chain.tenant)
                && (told.as_ref()).is_none_or(|told| told.contains(&chain.tenant)),
            chain,
        })
        .collect();
    match options.json {
        true => output::print_json(&chains.iter().map(chain_as_json).collect::<Vec<_>>())?,
        false => print_chains(&chains),
    }
    if chains.iter().any(|one| one.has_no_head) {
        eprintln!(
            "callreel: nothing here says where a chain ended: the daemon's file of heads is gone, or has no line of it; compare \
             with an earlier export (--against FILE)"
        );
    }
    if let Some(gap) = gap {
        eprintln!(
            "callreel: at {} {}: records may have been taken out; say that you know why with `callreel audit acknowledge`",
            gap.at,
            harmless(&gap.why)
        );
    }
    let is_found = |one: &Verified| one.breach().is_some();
    Ok(match chains.iter().any(is_found) {
        true => Exit::Found,
        false => Exit::Success,
    })
}

/// Has the chains count as they are.
async fn acknowledge(store: &Store, catalog: &Catalog, reason: &str) -> anyhow::Result<Exit> {
    let event = Event::by(&operator(), "");
    catalog.acknowledge_audit_gap(event, reason).await?;
    let chains = catalog.verify_audit(&[]).await?;
    let heads = chains.iter().map(|chain| KnownRecord {
        tenant: chain.tenant,
        number: chain.records,
        hash: chain.head,
    });
    let heads: Vec<_> = heads.collect();
    if let Some(path) = auditing::heads_path(&store.catalog_url) {
        let begun = auditing::begin_anew(&path, &heads);
        begun.with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{} chains are taken as they are", heads.len());
    Ok(Exit::Success)
}

/// A chain, and whether there is nothing to know its end by.
struct Verified {
    chain: Chain,
    has_no_head: bool,
    /// Found by the daemon, and not acknowledged. Of the System tenant's chain, which tells it.
    gap: Option<Gap>,
}

impl Verified {
    /// What is wrong, a code.
    fn breach(&self) -> Option<&'static str> {
        let broken = self.chain.broken.map(|(_, breach)| breach.name());
        let no_head = self.has_no_head.then_some("no_head");
        broken.or(no_head).or(self.gap.as_ref().map(|_| "gap"))
    }
}

/// Records of an earlier export.
fn read_export(path: &Path) -> anyhow::Result<Vec<KnownRecord>> {
    let mut known = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(File::open(path)?).lines()) {
        let record: Value =
            serde_json::from_str(&line?).with_context(|| format!("line {number}"))?;
        let tenant = record["tenant_id"].as_str().and_then(|id| id.parse().ok());
        let hash = record["hash"].as_str().and_then(KnownRecord::parse_hash);
        let (Some(tenant), Some(at), Some(hash)) = (tenant, record["number"].as_i64(), hash) else {
            anyhow::bail!("line {number} is no record of an audit");
        };
        known.push(KnownRecord {
            tenant: TenantId(tenant),
            number: at,
            hash,
        });
    }
    Ok(known)
}

fn chain_as_json(verified: &Verified) -> Value {
    let chain = &verified.chain;
    json!({
        "tenant_id": chain.tenant.0,
        "records": chain.records,
        "head": KnownRecord::hash_text(&chain.head),
        "broken_at": chain.broken.map(|(number, _)| number),
        "breach": verified.breach(),
        "gap_found_at": verified.gap.as_ref().map(|gap| gap.at.to_string()),
        "gap": verified.gap.as_ref().map(|gap| &gap.why),
    })
}

fn print_chains(chains: &[Verified]) {
    let mut table = Table::new(&["TENANT", "RECORDS", "HEAD", "STATE"]);
    for verified in chains {
        let chain = &verified.chain;
        let state = match chain.broken {
            None if verified.has_no_head => {
                "as it was written, to an end that nothing confirms".to_owned()
            }
            None if verified.gap.is_some() => "as it was written, after a gap".to_owned(),
            None => "as it was written".to_owned(),
            Some((number, breach)) => format!("record {number}: {}", breach.name()),
        };
        let head = KnownRecord::hash_text(&chain.head);
        let cells = [
            chain.tenant.0.to_string(),
            chain.records.to_string(),
            head,
            state,
        ];
        table.row(cells.into());
    }
    table.print();
}
