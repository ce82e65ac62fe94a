//! What the configuration and the directory say, for routes: plans, extensions, and whether a change can be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use uuid::Uuid;

use super::caller::Caller;
use super::problem::{Problem, Result};
use super::state::Api;
use crate::access::{Feature, Operation, PlanLimits, Resource, Scope, login_key};
use crate::base::{TenantId, Timestamp};
use crate::catalog::{AllocationRow, Catalog, Change, DirectoryRows, ExtensionRow};

/// What the daemon knows besides rows. Nothing here waits, but for [`Installation::refreshed`].
pub trait Installation: Send + Sync {
    /// What a tenant's plan gives it; everything where it has none.
    fn limits(&self, tenant: TenantId) -> Arc<PlanLimits>;

    /// All plans, by name.
    fn plans(&self) -> Vec<KnownPlan>;

    /// How long plans keep calls.
    fn kept(&self) -> Arc<KeptPlans>;

    /// Extensions of a tenant: those of the configuration first, in the order they are written.
    fn extensions(&self, tenant: TenantId) -> Vec<KnownExtension>;

    /// The extension, if its tenant is in the scope.
    fn extension(&self, scope: &Scope, id: Uuid) -> Option<KnownExtension>;

    /// Tenants that have extensions, in the order of their ids.
    fn tenants_with_extensions(&self) -> Vec<TenantId>;

    /// Of a tenant: in force at this moment, or to be.
    fn allocations(&self, tenant: TenantId) -> Vec<AllocationRow>;

    /// What these users of a tenant have and will have, by login: what is pinned first, then by when it begins. Logins are in
    /// small letters.
    fn held_by(
        &self,
        tenant: TenantId,
        logins: &HashSet<String>,
    ) -> HashMap<String, Vec<HeldExtension>>;

    /// The extension of a tenant that a number is of.
    fn extension_of(&self, tenant: TenantId, number: &str) -> Option<NumberOf>;

    /// The id that an extension of a tenant has. None: the text is none.
    fn extension_id(&self, tenant: TenantId, kind: &str, text: &str) -> Option<Uuid>;

    /// Whether these rows make a directory, with a change of one tenant in them. May take a second for a million extensions.
    fn check(&self, rows: &DirectoryRows, changed: TenantId) -> std::result::Result<(), Objection>;

    /// Users of the tenant who have less of its numbers, at this moment or later, once its extension `id` is as it is in these rows
    /// and not as it was `before`; by the keys of their logins. May take as long.
    fn losers(
        &self,
        rows: &DirectoryRows,
        tenant: TenantId,
        id: Uuid,
        before: Option<&ExtensionRow>,
    ) -> HashSet<String>;

    /// Done when the directory in use has what was committed before.
    fn refreshed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Why rows make no directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    pub field: String,
    pub detail: String,
}

/// How long plans keep calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptPlans {
    /// [`DirectoryRows::generation`] of the rows that this is of.
    pub generation: i64,
    /// Tenants that are there, in files or in the catalog, and have a plan that says it.
    pub tenants: BTreeMap<TenantId, Kept>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The plan's name.
    pub plan: String,
    pub days: u32,
}

impl KeptPlans {
    pub fn days(&self, tenant: TenantId) -> Option<u32> {
        self.tenants.get(&tenant).map(|kept| kept.days)
    }
}

/// A plan, wherever it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPlan {
    pub id: Uuid,
    pub name: String,
    pub limits: PlanLimits,
    /// File and line of the configuration; none: it was made through the API.
    pub origin: Option<String>,
    /// 0 where it comes from the configuration.
    pub version: i64,
}

/// An extension, wherever it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownExtension {
    pub id: Uuid,
    pub tenant: TenantId,
    pub kind: &'static str,
    /// A number, `first-last`, or a prefix.
    pub text: String,
    pub aliases: Vec<String>,
    pub policy: Option<String>,
    /// Login of the user it is pinned to: no allocation changes that.
    pub pinned: Option<String>,
    pub origin: Option<String>,
    /// 0 where it comes from the configuration.
    pub version: i64,
}

/// A number, and the extension that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberOf {
    pub extension: Uuid,
    /// In the one spelling that the tenant's country gives it.
    pub number: String,
    /// It is the extension itself, or its alias, and not one of a range or of a prefix.
    pub is_exact: bool,
}

/// An extension as its user has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldExtension {
    pub id: Uuid,
    pub kind: &'static str,
    /// A number, `first-last`, or a prefix.
    pub text: String,
    /// The one number of a range or a prefix that is allocated; none: all of it.
    pub number: Option<String>,
    /// None: it is pinned.
    pub valid_from: Option<Timestamp>,
    pub valid_to: Option<Timestamp>,
}

/// A change of what the directory is made of is tried at most so often while others make changes too.
const ATTEMPTS: usize = 5;

impl fmt::Debug for dyn Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Installation")
    }
}

/// Why there is no room for another user.
pub fn users_in_use(users: u64, most: u32) -> String {
    format!(
        "the tenant's plan gives it {most} active users, and it has {users}: deactivate one, or have the plan changed"
    )
}

impl Api {
    /// What a tenant's plan gives it.
    pub fn limits(&self, tenant: TenantId) -> Arc<PlanLimits> {
        match self.installation() {
            Ok(installation) => installation.limits(tenant),
            Err(_) => Arc::default(),
        }
    }

    /// # Errors
    ///
    /// A problem of status 403 when the tenant's plan lacks the feature.
    pub fn needs_feature(&self, tenant: TenantId, feature: Feature) -> Result<()> {
        match self.limits(tenant).allows(feature) {
            true => Ok(()),
            false => Err(Problem::not_in_plan(feature.name())),
        }
    }

    /// # Errors
    ///
    /// A problem of status 409 when the tenant has as many active users as its plan gives it.
    pub(super) async fn has_room_for_user(
        &self,
        change: &mut Change,
        tenant: TenantId,
        field: &'static str,
    ) -> Result<()> {
        let limits = self.limits(tenant);
        let Some(most) = limits.users else {
            return Ok(());
        };
        let users = change.active_users_of(tenant).await?;
        match limits.has_room_for_user(users) {
            true => Ok(()),
            false => Err(Problem::plan_limit(field, users_in_use(users, most))),
        }
    }

    /// Begins a change of what the directory is made of: `draft` puts into the rows what will be written, and they are
    /// compiled before anything is. Nobody else changes any of it in between.
    ///
    /// # Errors
    ///
    /// A problem of status 422 that names the field at fault.
    pub(super) async fn directory_change(
        &self,
        catalog: &Catalog,
        changed: TenantId,
        draft: impl Fn(&mut DirectoryRows),
    ) -> Result<Change> {
        let check = move |installation: &dyn Installation, rows: &DirectoryRows, ()| {
            installation.check(rows, changed)
        };
        let (change, ()) = self.checked_change(catalog, draft, check).await?;
        Ok(change)
    }

    /// The same, of the tenant's extension `id`: who may not see confidential calls takes no number from users whose calls are.
    ///
    /// # Errors
    ///
    /// A problem of status 403, or 422 that names the field at fault.
    pub(super) async fn extension_change(
        &self,
        caller: &Caller,
        catalog: &Catalog,
        (tenant, id): (TenantId, Uuid),
        draft: impl Fn(&mut DirectoryRows),
    ) -> Result<Change> {
        if (caller.principal).may(Resource::Calls, Operation::ViewConfidential) {
            return self.directory_change(catalog, tenant, draft).await;
        }
        let drafted = |rows: &mut DirectoryRows| {
            let before = rows.extensions.iter().find(|row| row.id == id).cloned();
            draft(rows);
            before
        };
        let check =
            move |installation: &dyn Installation, rows: &DirectoryRows, before: Option<_>| {
                installation.check(rows, tenant)?;
                Ok(installation.losers(rows, tenant, id, before.as_ref()))
            };
        let (mut change, losers) = self.checked_change(catalog, drafted, check).await?;
        let mut confidential = change.confidential_users(tenant).await?;
        confidential.retain(|login| losers.contains(&login_key(login)));
        caller.may_take_from(tenant, &confidential)?;
        Ok(change)
    }

    async fn checked_change<D: Send + 'static, T: Send + 'static>(
        &self,
        catalog: &Catalog,
        draft: impl Fn(&mut DirectoryRows) -> D,
        check: impl Fn(&dyn Installation, &DirectoryRows, D) -> std::result::Result<T, Objection>
        + Copy
        + Send
        + 'static,
    ) -> Result<(Change, T)> {
        let installation = self.installation()?;
        for _ in 0..ATTEMPTS {
            let now = crate::catalog::wall_clock();
            let mut rows = catalog.directory_rows(now).await?;
            let generation = rows.generation;
            let drafted = draft(&mut rows);
            let checking = installation.clone();
            let checked =
                tokio::task::spawn_blocking(move || check(&*checking, &rows, drafted)).await;
            let checked = checked.map_err(|_| Problem::internal())?;
            let checked =
                checked.map_err(|objection| Problem::invalid(objection.field, objection.detail))?;
            let mut change = catalog.change().await?;
            if change.directory_generation().await? == generation {
                return Ok((change, checked));
            }
        }
        Err(Problem::unavailable().detail("others change tenants and extensions at this moment"))
    }

    /// Waits until the directory in use has what was committed.
    pub(super) async fn directory_changed(&self) {
        if let Ok(installation) = self.installation() {
            installation.refreshed().await;
        }
    }
}
