//! `callreel user`: people, by whoever sits at the machine that holds the catalog.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::installation::Installation;
use super::output::{self, print_json};
use super::selection::{Selection, block_on};
use super::{Exit, people};
use crate::access::{
    Event, LOGIN_RULE, Owner, Password, PasswordCost, PasswordHasher, Preset, Principal, Scope,
    SignInRules, is_login,
};
use crate::base::{RoleId, SYSTEM_TENANT, TenantId};
use crate::catalog::{Catalog, Change, UserDraft};
use crate::mail;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a user, such as the first one, who makes all others.
    #[command(
        after_help = "Works on the catalog itself, whether or not the daemon runs or has ever run; whoever may write to it may do this. \
The audit keeps it. Where the configuration's catalog is not there yet, it is made, and its tenants are entered.\n\nThe password is asked for twice, or read from --password-file. Without either, where nobody can be asked, one is drawn, \
printed once, and has to be changed at the first sign-in. There is no default password.\n\n\
Exit status: 0 made, 2 not made."
    )]
    Create(CreateArgs),
    /// Give a user another password, and end its sessions.
    Password(PasswordArgs),
    #[command(flatten)]
    Others(people::users::Command),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// What the user signs in with; it cannot be changed later
    login: String,
    /// The tenant's short name or id [default: the System tenant]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// The user's name [default: the login]
    #[arg(long)]
    name: Option<String>,
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The role, by its name; to be left out for the first user of a tenant only, who becomes its "Tenant Administrator", in
    /// the System tenant "Root Administrator"
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    secret: SecretArgs,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct PasswordArgs {
    login: String,
    /// The tenant's short name or id [default: the System tenant]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Remove the authenticator and its recovery codes too
    #[arg(long)]
    remove_totp: bool,
    #[command(flatten)]
    secret: SecretArgs,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct SecretArgs {
    /// Read the password from the first line of a file; "-" for standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Draw a password that has to be changed at the first sign-in, and print it
    #[arg(long, conflicts_with = "password_file")]
    one_time: bool,
}

/// A password, and whether it was drawn: then it is shown once, and has to be changed.
struct Chosen {
    password: Password,
    drawn: bool,
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
        let catalog = &installation.catalog;
        let made = match args.command {
            Command::Create(create_args) => create(&installation, create_args).await,
            Command::Password(password_args) => set_password(catalog, password_args).await,
            Command::Others(command) => {
                people::users::execute(&installation, &store, &command).await
            }
        };
        catalog.close().await;
        made.map(|()| Exit::Success)
    })
}

/// The tenant that is named.
pub(super) async fn tenant(catalog: &Catalog, name: Option<&str>) -> anyhow::Result<TenantId> {
    match name {
        None => Ok(SYSTEM_TENANT),
        Some(name) => {
            let found = catalog.tenant_named(name).await?;
            found.with_context(|| format!("there is no tenant `{}`", output::harmless(name)))
        }
    }
}

/// Whoever runs this program.
pub(super) fn operator() -> Principal {
    let named = |name| std::env::var(name).ok().filter(|login| !login.is_empty());
    let login = named("SUDO_USER").or_else(|| named("USER"));
    Principal::operator(&login.unwrap_or_else(|| "operator".into()))
}

async fn role(change: &mut Change, tenant: TenantId, name: Option<&str>) -> anyhow::Result<RoleId> {
    let names: Vec<_> = Preset::of_tenant(tenant).map(Preset::name).collect();
    let Some(name) = name else {
        if change.has_users(tenant).await? {
            bail!(
                "the tenant has users already: say with --role what this one is to be ({})",
                names.join(", ")
            );
        }
        let first = match tenant == SYSTEM_TENANT {
            true => Preset::RootAdministrator,
            false => Preset::TenantAdministrator,
        };
        return Ok(first.role_id(tenant));
    };
    let mut presets = Preset::of_tenant(tenant);
    if let Some(preset) = presets.find(|preset| preset.name().eq_ignore_ascii_case(name)) {
        return Ok(preset.role_id(tenant));
    }
    let own = change.role_named(tenant, name).await?;
    own.with_context(|| {
        format!(
            "the tenant has no role of this name; besides its own it has {}",
            names.join(", ")
        )
    })
}

async fn create(installation: &Installation, args: CreateArgs) -> anyhow::Result<()> {
    let catalog = &installation.catalog;
    let tenant = tenant(catalog, args.tenant.as_deref()).await?;
    let login = args.login.trim();
    if !is_login(login) {
        bail!("a login has {LOGIN_RULE}");
    }
    if args
        .email
        .as_deref()
        .is_some_and(|email| !mail::is_address(email))
    {
        bail!("this is no e-mail address");
    }
    let (_, rules) = catalog
        .sign_in_rules(tenant)
        .await?
        .context("there is no such tenant")?;
    let name = args.name.as_deref().unwrap_or(login).trim();
    let owner = Owner {
        login,
        email: args.email.as_deref(),
        name: Some(name),
    };
    // Nobody is asked for a password in vain, and nobody waits for one who is.
    let role = role(&mut catalog.change().await?, tenant, args.role.as_deref()).await?;
    let chosen = choose(&args.secret, &rules, owner)?;
    let mut change = catalog.change().await?;
    installation.has_room_for_user(&mut change, tenant).await?;
    let draft = UserDraft {
        tenant,
        login: login.to_owned(),
        name: name.to_owned(),
        email: args.email.clone(),
        role,
    };
    let user = change.create_user_of_operator(&draft).await?;
    let hash = hashed(&chosen);
    change.set_password(user, &hash, chosen.drawn, None).await?;
    let made = change
        .identity_of(user)
        .await?
        .context("the user is there")?;
    let event = Event::by(&operator(), "users.create")
        .of_tenant(tenant)
        .on("user", user.0);
    let state =
        serde_json::json!({ "login": draft.login, "name": draft.name, "role_id": draft.role.0 });
    change.commit(event.change(None, Some(state))).await?;
    let told = serde_json::json!({
        "id": user.0, "tenant_id": tenant.0, "login": draft.login, "role": made.role.name,
        "one_time_password": chosen.drawn.then(|| chosen.password.reveal()),
    });
    let text = format!(
        "{} is {} of {}",
        draft.login, made.role.name, made.tenant_name
    );
    tell(&chosen, &text, &told, args.json)
}

async fn set_password(catalog: &Catalog, args: PasswordArgs) -> anyhow::Result<()> {
    let tenant = tenant(catalog, args.tenant.as_deref()).await?;
    let identity = catalog.identity_by_login(tenant, args.login.trim()).await?;
    let identity = identity.context("the tenant has no user of this login")?;
    let owner = Owner {
        login: &identity.login,
        email: identity.email.as_deref(),
        name: Some(&identity.name),
    };
    let chosen = choose(&args.secret, &identity.rules, owner)?;
    let hash = hashed(&chosen);
    let mut change = catalog.change().await?;
    change
        .identity(&Scope::root(), identity.user)
        .await?
        .context("the user was removed")?;
    change
        .set_password(identity.user, &hash, chosen.drawn, None)
        .await?;
    if args.remove_totp {
        change.remove_totp(identity.user).await?;
    }
    let event = Event::by(&operator(), "users.reset_password").of_tenant(tenant);
    let state = serde_json::json!({ "totp_removed": args.remove_totp });
    change
        .commit(event.on("user", identity.user.0).change(None, Some(state)))
        .await?;
    let told = serde_json::json!({
        "id": identity.user.0, "one_time_password": chosen.drawn.then(|| chosen.password.reveal()),
    });
    tell(
        &chosen,
        &format!("{} has another password", identity.login),
        &told,
        args.json,
    )
}

fn hashed(chosen: &Chosen) -> String {
    PasswordHasher::new(PasswordCost::default()).hash(&chosen.password)
}

fn tell(chosen: &Chosen, text: &str, told: &serde_json::Value, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(told);
    }
    output::print(&format!("{}\n", output::harmless(text)));
    if chosen.drawn {
        output::print(&format!(
            "one-time password: {}\n",
            chosen.password.reveal()
        ));
    }
    Ok(())
}

fn choose(args: &SecretArgs, rules: &SignInRules, owner: Owner<'_>) -> anyhow::Result<Chosen> {
    let typed = match &args.password_file {
        Some(path) => Some(read(path)?),
        None if args.one_time || !std::io::stdin().is_terminal() => None,
        None => Some(prompted()?),
    };
    let Some(password) = typed else {
        let password = Password::drawn();
        return Ok(Chosen {
            password,
            drawn: true,
        });
    };
    rules.password.accept(&password, owner)?;
    Ok(Chosen {
        password,
        drawn: false,
    })
}

/// The first line, without its end.
fn read(path: &Path) -> anyhow::Result<Password> {
    let mut text = zeroize::Zeroizing::new(String::new());
    match path.as_os_str() == "-" {
        true => std::io::stdin().lock().take(4096).read_to_string(&mut text),
        false => {
            std::fs::File::open(path).and_then(|file| file.take(4096).read_to_string(&mut text))
        }
    }
    .with_context(|| format!("cannot read a password from {}", path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Password::new(line.to_owned())),
        _ => bail!("{} holds no password", path.display()),
    }
}

fn prompted() -> anyhow::Result<Password> {
    let first = Password::new(rpassword::prompt_password("Password: ")?);
    let again = Password::new(rpassword::prompt_password("Once more: ")?);
    match first.reveal() == again.reveal() {
        true => Ok(first),
        false => bail!("these are two passwords"),
    }
}
