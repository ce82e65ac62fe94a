//! `callreel tenant`, `plan`, `retention` and `extension`: what the API does to tenants, by whoever runs the machine, against the catalog.
//! A running daemon sees it within a second.

pub mod extension;
pub mod plan;
pub mod retention;
pub mod tenant;

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::installation::Installation;
use super::{Exit, selection};
use crate::access::{Event, Principal, Scope};
use crate::api::Installation as _;
use crate::base::{SYSTEM_TENANT, TenantId};
use crate::catalog::{Change, DirectoryRows, RegisteredTenant};
use crate::daemon::tenancy::Configured;

/// Which installation a command is about.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The daemon's configuration [default: /etc/callreel/callreel.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
}

/// The configuration and the catalog, as the daemon would see them at this moment.
pub type Office = Installation;

impl Office {
    /// A tenant by its id, or else by its short name.
    pub fn tenant(&self, named: &str) -> anyhow::Result<&RegisteredTenant> {
        let id: Option<TenantId> = named.parse().ok();
        let gone = crate::catalog::TenantStatus::Gone;
        let there = || self.rows.tenants.iter().filter(|row| row.status != gone);
        let by_slug = || there().find(|row| row.slug.eq_ignore_ascii_case(named));
        let tenant = there().find(|row| Some(row.id) == id).or_else(by_slug);
        tenant.with_context(|| {
            format!("there is no tenant {named:?}: `callreel tenant list` shows them")
        })
    }

    /// Begins a change whose outcome, `drafted`, makes a directory.
    pub async fn change(
        &self,
        drafted: &DirectoryRows,
        changed: TenantId,
    ) -> anyhow::Result<Change> {
        if let Err(objection) = self.tenancy.check(drafted, changed) {
            bail!("{}: {}", objection.field, objection.detail);
        }
        let mut change = self.catalog.change().await?;
        anyhow::ensure!(
            change.directory_generation().await? == self.rows.generation,
            "somebody else changed tenants or extensions at this moment: try again"
        );
        Ok(change)
    }
}

/// What the audit keeps of an act on this machine.
pub fn event(action: &'static str, tenant: TenantId) -> Event {
    let uid = rustix::process::getuid().as_raw();
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    let login = match name {
        Ok(name) => format!("{name} (uid {uid})"),
        Err(_) => format!("uid {uid}"),
    };
    Event::by(&Principal::operator(&login), action).of_tenant(tenant)
}

/// For what concerns tenants as such.
pub fn system_event(action: &'static str) -> Event {
    event(action, SYSTEM_TENANT)
}

/// Opens what a command is about and runs it. `create`: it makes something, and the catalog for it where there is none.
fn with_office(
    place: &Place,
    create: bool,
    work: impl AsyncFnOnce(&Office) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let loaded = match selection::load(place.config.clone()) {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    selection::block_on(async {
        let configured = Some(Configured::new(&loaded));
        let office = Office::open(&loaded.settings.catalog.url, configured, create).await?;
        let done = work(&office).await;
        office.catalog.close().await;
        done.map(|()| Exit::Success)
    })
}

/// Everything: whoever sits here can read the files anyway.
fn scope() -> Scope {
    Scope::root()
}
