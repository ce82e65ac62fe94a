//! The configuration and the catalog together, as a running daemon sees them: what commands ask that change people and tenants,
//! or say whose a call would be.

use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::access::{Feature, PlanLimits, Retention, Scope};
use crate::api::{Installation as _, users_in_use};
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Catalog, Change, DirectoryRows, wall_clock};
use crate::config::Loaded;
use crate::daemon::storekeeping;
use crate::daemon::tenancy::{Configured, Tenancy};

/// For who made it, and a group that may read recordings.
const CATALOG_MODE: u32 = 0o640;

/// A catalog, its rows, and what the configuration says besides.
pub struct Installation {
    pub catalog: Catalog,
    pub rows: DirectoryRows,
    pub tenancy: Arc<Tenancy>,
    /// What is in force, as the daemon wrote it.
    retentions: HashMap<TenantId, Retention>,
    /// By which calls went when a daemon looked last.
    pub believed_time: Option<Timestamp>,
}

impl Installation {
    /// What people are administered in. With a configuration the catalog knows its tenants before the daemon has run; where there
    /// is none it is made for who is about to `create` something in it, and for nobody else.
    pub async fn open(
        url: &str,
        configured: Option<Configured>,
        create: bool,
    ) -> anyhow::Result<Installation> {
        if create && configured.is_some() {
            make_file(url)?;
        }
        let catalog = storekeeping::open_catalog(url).await?;
        if let Some(configured) = &configured {
            let mirrored = configured.mirrored();
            catalog.mirror_tenants(&mirrored, wall_clock()).await?;
        }
        let rows = catalog.directory_rows(wall_clock()).await?;
        let retentions = catalog.retentions(&Scope::root()).await?;
        let believed_time = catalog.believed_time().await?;
        let configured = configured.unwrap_or_else(Configured::nothing);
        let tenancy = Arc::new(Tenancy::of_rows(configured, rows.clone()));
        Ok(Installation {
            catalog,
            rows,
            tenancy,
            retentions: retentions.into_iter().collect(),
            believed_time,
        })
    }

    /// What the tenant's plan gives it.
    pub fn limits(&self, tenant: TenantId) -> Arc<PlanLimits> {
        self.tenancy.limits(tenant)
    }

    /// How long the tenant's calls are kept, and are to be.
    pub fn retention(&self, tenant: TenantId) -> Retention {
        let known = self.retentions.get(&tenant).copied().unwrap_or_default();
        let wall = wall_clock();
        let now = self.believed_time.map_or(wall, |at| at.min(wall));
        known.under(self.tenancy.kept().days(tenant), now)
    }

    /// Refused when the tenant has as many active users as its plan gives it.
    pub async fn has_room_for_user(
        &self,
        change: &mut Change,
        tenant: TenantId,
    ) -> anyhow::Result<()> {
        let limits = self.limits(tenant);
        let users = change.active_users_of(tenant).await?;
        match limits.users {
            Some(most) if !limits.has_room_for_user(users) => bail!(users_in_use(users, most)),
            _ => Ok(()),
        }
    }

    /// Refused when the tenant's plan lacks the feature.
    pub fn needs_feature(&self, tenant: TenantId, feature: Feature) -> anyhow::Result<()> {
        let has_it = self.limits(tenant).allows(feature);
        anyhow::ensure!(has_it, "the tenant's plan lacks {}", feature.name());
        Ok(())
    }
}

/// A configuration with the rows of a catalog, as a daemon would run with them.
pub struct AsItRuns {
    pub tenancy: Tenancy,
    /// What is in force of how long calls are kept.
    pub retentions: Vec<(TenantId, Retention)>,
    /// Tenants that have recordings, or had.
    pub recorded: HashSet<TenantId>,
}

/// Of a configuration and the rows that are in the catalog at this moment, nothing of which is changed. None: there is no
/// catalog yet.
///
/// # Errors
///
/// There is one, and it cannot be read.
pub async fn as_it_runs(loaded: &Loaded) -> anyhow::Result<Option<AsItRuns>> {
    let url = &loaded.settings.catalog.url;
    let file = storekeeping::catalog_file(url);
    if file.is_none_or(|file| !file.exists()) {
        return Ok(None);
    }
    let catalog = Catalog::open(url).await?;
    let now = wall_clock();
    let rows = catalog.directory_rows(now).await;
    let usage = catalog.usage(&Scope::root(), now).await;
    let retentions = catalog.retentions(&Scope::root()).await;
    catalog.close().await;
    let tenancy = Tenancy::of_rows(Configured::new(loaded), rows?);
    let usage = usage?;
    let recorded = usage.iter().map(|usage| usage.tenant).collect();
    let usage = usage.into_iter().map(|usage| (usage.tenant, usage));
    tenancy.take_usage(usage.collect(), now);
    Ok(Some(AsItRuns {
        tenancy,
        retentions: retentions?,
        recorded,
    }))
}

/// Makes an empty file where the catalog is to be. What root makes belongs to whoever the folder belongs to: the daemon, which
/// has to write to it.
fn make_file(url: &str) -> anyhow::Result<()> {
    let Some(path) = storekeeping::catalog_file(url).filter(|path| !path.exists()) else {
        return Ok(());
    };
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let owner = std::fs::metadata(folder).with_context(|| {
        format!(
            "there is no folder {} for the catalog: make it, and give it to the account that the daemon runs as",
            folder.display()
        )
    })?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(CATALOG_MODE);
    let cannot = || format!("cannot make the catalog {}", path.display());
    let file = options.open(&path).with_context(cannot)?;
    if rustix::process::geteuid().is_root() {
        fchown(&file, Some(owner.uid()), Some(owner.gid())).with_context(cannot)?;
    }
    eprintln!("callreel: made the catalog {}", path.display());
    Ok(())
}
