//! `callreel token`: programs that ask with a token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use uuid::Uuid;

use super::Exit;
use super::installation::Installation;
use super::output::{self, Table, print_json};
use super::selection::{Selection, block_on};
use super::user::{operator, tenant};
use crate::access::{Event, Feature, Operation, Permissions, Resource, Scope, ServiceToken};
use crate::base::{Network, TenantId, Timestamp};
use crate::catalog::{
    Catalog, Change, Listing, MAX_LISTED, ServiceAccount, ServiceAccountDraft, TokenDraft,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Give out a token of a service account, which is made if there is none of this name.
    #[command(
        after_help = "The token is printed once: nobody can show it again.\n\n\
Example: callreel token create crm --tenant acme --responsible alice --reason \"calls for the CRM\" \\\n    \
--allow calls:view --allow calls:download --days 90 --network 10.20.0.0/16"
    )]
    Create(CreateArgs),
    /// List service accounts and their tokens.
    List(ListArgs),
    /// Revoke a token: it opens nothing from now on.
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// The service account's name
    account: String,
    /// The tenant's short name or id [default: the System tenant]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// The login of the user who answers for a new account, and whose rights it has a part of
    #[arg(long, value_name = "LOGIN")]
    responsible: Option<String>,
    /// What a new account is for
    #[arg(long)]
    reason: Option<String>,
    /// What a new account may do, such as "calls:view"; may be given several times
    #[arg(long, value_name = "RESOURCE:OPERATION")]
    allow: Vec<String>,
    /// Days until the token expires
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=730))]
    days: u32,
    /// A network that the token works from; may be given several times [default: everywhere]
    #[arg(long, value_name = "CIDR")]
    network: Vec<Network>,
    /// It may do what a person has to prove again for: export, delete, release a hold
    #[arg(long)]
    unattended: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Of this tenant only: its short name or id
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// As `token list` shows it
    id: Uuid,
}

pub fn run(args: Args) -> anyhow::Result<Exit> {
    let store = match args.selection.store() {
        Ok(store) => store,
        Err(exit) => return Ok(exit),
    };
    block_on(async {
        let installation = store.installation(false).await?;
        let catalog = &installation.catalog;
        let done = match args.command {
            Command::Create(create_args) => create(&installation, create_args).await,
            Command::List(list_args) => list(catalog, &list_args).await,
            Command::Revoke(revoke_args) => revoke(catalog, revoke_args.id).await,
        };
        catalog.close().await;
        done.map(|()| Exit::Success)
    })
}

async fn create(installation: &Installation, args: CreateArgs) -> anyhow::Result<()> {
    let catalog = &installation.catalog;
    let tenant = tenant(catalog, args.tenant.as_deref()).await?;
    installation.needs_feature(tenant, Feature::ApiAccess)?;
    let mut change = catalog.change().await?;
    let account = match change.service_account_named(tenant, &args.account).await? {
        Some(_)
            if args.responsible.is_some() || args.reason.is_some() || !args.allow.is_empty() =>
        {
            bail!(
                "there is an account of this name already; what it may do is changed through the API"
            );
        }
        Some(account) => account,
        None => create_account(catalog, &mut change, tenant, &args).await?,
    };
    let token = ServiceToken::drawn();
    let draft = TokenDraft {
        hash: token.hash(),
        hint: token.hint().to_owned(),
        networks: args.network.clone(),
        unattended: args.unattended,
        expires_at: now() + Duration::from_secs(u64::from(args.days) * 86_400),
    };
    let id = change.create_token(account, &draft).await?;
    let id = id.context("the account has too many tokens that still open: revoke one first")?;
    let networks: Vec<String> = draft.networks.iter().map(ToString::to_string).collect();
    let state = serde_json::json!({
        "service_account_id": account, "hint": draft.hint, "networks": networks, "unattended": draft.unattended,
        "expires_at": draft.expires_at.to_string(),
    });
    let event = Event::by(&operator(), "tokens.create")
        .of_tenant(tenant)
        .on("token", id);
    change.commit(event.change(None, Some(state))).await?;
    if args.json {
        return print_json(&serde_json::json!({
            "id": id, "service_account_id": account, "token": token.reveal(), "expires_at": draft.expires_at.to_string(),
        }));
    }
    output::print(&format!("{}\n", token.reveal()));
    Ok(())
}

async fn create_account(
    catalog: &Catalog,
    change: &mut Change,
    tenant: TenantId,
    args: &CreateArgs,
) -> anyhow::Result<Uuid> {
    let (Some(login), Some(reason)) = (&args.responsible, &args.reason) else {
        bail!(
            "there is no account of this name; to make it say --responsible, --reason and --allow"
        );
    };
    let permissions = permissions(&args.allow)?;
    let responsible = catalog.identity_by_login(tenant, login).await?;
    let responsible =
        responsible.context("the tenant has no user of this login to be responsible")?;
    let theirs = responsible.principal();
    if let Some(lacking) = theirs.lacks(theirs.level(), &permissions) {
        bail!("{login} could not grant this: {lacking}");
    }
    let draft = ServiceAccountDraft {
        name: args.account.trim().to_owned(),
        reason: reason.trim().to_owned(),
        responsible: responsible.user,
        permissions,
        active: true,
    };
    if draft.name.is_empty() || draft.reason.len() < 3 {
        bail!("an account has a name and a reason");
    }
    let id = change.create_service_account(tenant, &draft).await?;
    let id = id.context("the tenant has too many service accounts")?;
    let state = serde_json::json!({
        "name": draft.name, "reason": draft.reason, "responsible_id": draft.responsible.0,
        "permissions": draft.permissions, "active": true,
    });
    let event = Event::by(&operator(), "service_accounts.create").of_tenant(tenant);
    change.also(event.on("service_account", id).change(None, Some(state)));
    Ok(id)
}

fn permissions(allowed: &[String]) -> anyhow::Result<Permissions> {
    let mut permissions = Permissions::default();
    for text in allowed {
        let parsed = text.split_once(':').and_then(|(resource, operation)| {
            let resource = Resource::named(resource)?;
            let operation = Operation::named(operation)?;
            let known = resource.operations().contains(&operation);
            known.then_some((resource, operation))
        });
        let (resource, operation) = parsed.with_context(|| {
            format!(
                "`{}` is no permission such as \"calls:view\"",
                output::harmless(text)
            )
        })?;
        permissions.allow(resource, &[operation]);
    }
    if permissions == Permissions::default() {
        bail!("say with --allow what the account may do");
    }
    Ok(permissions)
}

async fn list(catalog: &Catalog, args: &ListArgs) -> anyhow::Result<()> {
    let scope = match &args.tenant {
        None => Scope::root(),
        Some(name) => Scope::tenant(tenant(catalog, Some(name)).await?),
    };
    let mut lines = Vec::new();
    for account in accounts(catalog, &scope).await? {
        let Some((account, tokens)) = catalog.service_account(&scope, account.id).await? else {
            continue;
        };
        for token in tokens {
            let state = match () {
                () if token.revoked_at.is_some() => "revoked",
                () if token.expires_at <= now() => "expired",
                () => "opens",
            };
            lines.push(serde_json::json!({
                "id": token.id, "tenant_id": account.tenant.0, "account": account.name,
                "responsible": account.responsible_login, "hint": token.hint, "state": state,
                "expires_at": token.expires_at.to_string(), "used_at": token.used_at.map(|at| at.to_string()),
                "used_from": token.used_from,
            }));
        }
    }
    if args.json {
        return print_json(&lines);
    }
    let mut table = Table::new(&[
        "TOKEN",
        "ACCOUNT",
        "RESPONSIBLE",
        "BEGINS",
        "STATE",
        "EXPIRES",
        "LAST USED",
    ]);
    for line in &lines {
        let cell = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        let keys = [
            "id",
            "account",
            "responsible",
            "hint",
            "state",
            "expires_at",
            "used_at",
        ];
        table.row(keys.map(cell).to_vec());
    }
    table.print();
    Ok(())
}

/// All service accounts of the scope, by name.
async fn accounts(catalog: &Catalog, scope: &Scope) -> anyhow::Result<Vec<ServiceAccount>> {
    let mut listing = Listing {
        after: None,
        limit: MAX_LISTED,
    };
    let mut all = Vec::new();
    loop {
        let page = catalog.service_accounts(scope, &listing).await?;
        all.extend(page.items);
        listing.after = page.next;
        if listing.after.is_none() {
            return Ok(all);
        }
    }
}

async fn revoke(catalog: &Catalog, id: Uuid) -> anyhow::Result<()> {
    let scope = Scope::root();
    for account in accounts(catalog, &scope).await? {
        let mut change = catalog.change().await?;
        if change.revoke_token(account.id, id).await? {
            let event = Event::by(&operator(), "tokens.revoke")
                .of_tenant(account.tenant)
                .on("token", id);
            let state = serde_json::json!({ "service_account_id": account.id });
            return Ok(change.commit(event.change(Some(state), None)).await?);
        }
    }
    bail!("there is no such token that still opens")
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
