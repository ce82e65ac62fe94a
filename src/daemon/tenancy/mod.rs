//! Tenants, plans, extensions and allocations: the configuration and the catalog's rows as one directory that is always the one
//! of this moment.
//!
//! In: a configuration ([`Configured`], at the start and at each reload), and the catalog, which a thread of its own looks at
//! each second ([`Watching`]). Out: the compiled [`Directory`], swapped as a whole when something changes, and when an
//! allocation begins or ends; and what routes ask of it ([`crate::api::Installation`]).
//!
//! A catalog that is away takes nothing away: the rows that were read last are kept, over a restart too (`cache`). Rows that
//! contradict the configuration are left out, and said; the configuration never is. At a reload it is the other way round: a
//! configuration that contradicts rows in use is refused, as any that is not valid.

mod assemble;
mod cache;
mod configured;
mod known;
mod losing;
#[cfg(test)]
mod tests;
mod watching;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::assemble::{Assembled, Parts};
use self::known::Index;
use super::state::locked;
use crate::access::{PlanLimits, Scope};
use crate::api::{
    HeldExtension, Installation, Kept, KeptPlans, KnownExtension, KnownPlan, NumberOf, Objection,
};
use crate::base::{SYSTEM_TENANT, TenantId, Timestamp};
use crate::catalog::{AllocationRow, DirectoryRows, ExtensionRow, TenantStatus, Usage, wall_clock};
use crate::directory::{Directory, ExtensionPattern};

pub use self::configured::Configured;
pub use self::known::pattern_id;
pub use self::watching::Watching;

/// Requests to look at the catalog at once that wait; each is answered by the next look.
const WAITING: usize = 256;

/// One for the whole program.
pub struct Tenancy {
    directory: Arc<ArcSwap<Directory>>,
    model: ArcSwap<Model>,
    /// Held while a directory is made: each is made of the one before.
    making: Mutex<Making>,
    /// Where the rows are kept over a restart.
    cache: PathBuf,
    nudge: mpsc::Sender<oneshot::Sender<()>>,
    pub state: TenancyState,
}

/// What the daemon tells of it.
#[derive(Debug, Default)]
pub struct TenancyState {
    /// The catalog could not be read; what was read last is in use.
    pub away: AtomicBool,
    /// Times it could not be read.
    pub failures: AtomicU64,
    /// Directories made since the start.
    pub made: AtomicU64,
    /// Things that rows say and that are not in the directory.
    pub left_out: AtomicU64,
}

/// What the directory in use was made of.
struct Model {
    configured: Arc<Configured>,
    rows: Arc<DirectoryRows>,
    index: Index,
    limits: HashMap<TenantId, Arc<PlanLimits>>,
    kept: Arc<KeptPlans>,
}

struct Making {
    configured: Arc<Configured>,
    rows: Arc<DirectoryRows>,
    usage: HashMap<TenantId, Usage>,
    /// When an allocation begins or ends next.
    next_change: Option<Timestamp>,
    left_out: Vec<String>,
    /// Directories that the engine may still have: freeing a large one would keep it from its packets.
    retired: Vec<Arc<Directory>>,
}

/// The end of the thread that is asked to look at the catalog.
pub type Nudges = mpsc::Receiver<oneshot::Sender<()>>;

impl Tenancy {
    /// With the rows of the run before, until the catalog is read. `root` is the storage's.
    pub fn new(configured: Configured, root: &Path) -> (Arc<Tenancy>, Nudges) {
        let (nudge, nudges) = mpsc::channel(WAITING);
        let cache = root.join(cache::NAME);
        let rows = Arc::new(cache::read(&cache).unwrap_or_default());
        let tenancy = Tenancy::made(configured, rows, cache, nudge);
        (Arc::new(tenancy), nudges)
    }

    /// As it would be at this moment, for who asks once; nothing is kept, and nobody looks at the catalog.
    pub fn of_rows(configured: Configured, rows: DirectoryRows) -> Tenancy {
        let (nudge, _) = mpsc::channel(1);
        Tenancy::made(configured, Arc::new(rows), PathBuf::new(), nudge)
    }

    fn made(
        configured: Configured,
        rows: Arc<DirectoryRows>,
        cache: PathBuf,
        nudge: mpsc::Sender<oneshot::Sender<()>>,
    ) -> Tenancy {
        let configured = Arc::new(configured);
        let tenancy = Tenancy {
            directory: Arc::new(ArcSwap::new(configured.directory.clone())),
            model: ArcSwap::from_pointee(Model::new(configured.clone(), rows.clone())),
            making: Mutex::new(Making {
                configured,
                rows,
                usage: HashMap::new(),
                next_change: None,
                left_out: Vec::new(),
                retired: Vec::new(),
            }),
            cache,
            nudge,
            state: TenancyState::default(),
        };
        tenancy.make(&mut locked(&tenancy.making), wall_clock());
        tenancy
    }

    /// What the engine matches calls against.
    pub fn directory(&self) -> Arc<ArcSwap<Directory>> {
        self.directory.clone()
    }

    /// Takes another configuration.
    ///
    /// # Errors
    /// What of it contradicts the rows in use; then everything stays as it is.
    pub fn configure(&self, configured: Configured) -> Result<(), Vec<String>> {
        let mut making = locked(&self.making);
        let now = wall_clock();
        let parts = |configured| Parts {
            configured,
            rows: &making.rows,
            usage: &making.usage,
            now,
        };
        let before = parts(&*making.configured).assemble().left_out;
        let new = parts(&configured).assemble().left_out;
        let contradictions: Vec<String> = new
            .into_iter()
            .filter(|what| !before.contains(what))
            .collect();
        if !contradictions.is_empty() {
            return Err(contradictions);
        }
        making.configured = Arc::new(configured);
        self.make(&mut making, now);
        Ok(())
    }

    /// Takes the rows of the catalog, and keeps them for the next start.
    pub fn take(&self, rows: DirectoryRows, usage: HashMap<TenantId, Usage>, now: Timestamp) {
        let mut making = locked(&self.making);
        let changed = *making.rows != rows;
        if changed {
            cache::write(&self.cache, &rows);
            making.rows = Arc::new(rows);
        }
        making.usage = usage;
        self.make(&mut making, now);
    }

    /// Takes what tenants have recorded; whether that changed anything.
    pub fn take_usage(&self, usage: HashMap<TenantId, Usage>, now: Timestamp) {
        let mut making = locked(&self.making);
        let reached = |usage: &HashMap<TenantId, Usage>| {
            let model = self.model.load();
            let mut reached: Vec<(TenantId, bool, bool)> = (usage.iter())
                .filter_map(|(tenant, usage)| {
                    let limits = model.limits.get(tenant)?;
                    Some((
                        *tenant,
                        limits.storage_is_full(usage.bytes),
                        limits.minutes_are_used_up(usage.length_ms_of_month),
                    ))
                })
                .filter(|(_, full, used_up)| *full || *used_up)
                .collect();
            reached.sort_unstable();
            reached
        };
        let changed = reached(&making.usage) != reached(&usage);
        making.usage = usage;
        if changed {
            self.make(&mut making, now);
        }
    }

    /// Makes the directory of this moment where an allocation has begun or ended since the last one.
    pub fn keep_time(&self, now: Timestamp) {
        let mut making = locked(&self.making);
        if making.next_change.is_some_and(|at| at <= now) {
            self.make(&mut making, now);
        }
    }

    /// When [`Tenancy::keep_time`] has something to do.
    pub fn next_change(&self) -> Option<Timestamp> {
        locked(&self.making).next_change
    }

    /// Frees directories that nobody uses any more. To be called now and then.
    pub fn tidy(&self) {
        let retired = &mut locked(&self.making).retired;
        retired.retain(|directory| Arc::strong_count(directory) > 1);
    }

    /// What of the rows is not in the directory, and why.
    pub fn left_out(&self) -> Vec<String> {
        locked(&self.making).left_out.clone()
    }

    /// [`DirectoryRows::generation`] of the rows in use.
    pub fn generation(&self) -> i64 {
        locked(&self.making).rows.generation
    }

    /// Whether any plan limits what is recorded, so that it has to be summed up.
    pub fn limits_recording(&self) -> bool {
        let model = self.model.load();
        model.limits.values().any(|plan| plan.limits_recording())
    }

    pub(super) fn configured(&self) -> Arc<Configured> {
        locked(&self.making).configured.clone()
    }

    fn make(&self, making: &mut Making, now: Timestamp) {
        let Assembled {
            directory,
            next_change,
            left_out,
        } = Parts {
            configured: &making.configured,
            rows: &making.rows,
            usage: &making.usage,
            now,
        }
        .assemble();
        for what in left_out
            .iter()
            .filter(|what| !making.left_out.contains(what))
        {
            tracing::error!(what, "something of the catalog is not in the directory");
        }
        let count = left_out.len() as u64;
        self.state.left_out.store(count, Ordering::Relaxed);
        self.state.made.fetch_add(1, Ordering::Relaxed);
        making.left_out = left_out;
        making.next_change = next_change;
        let old = self.directory.swap(directory);
        making.retired.push(old);
        let model = Model::new(making.configured.clone(), making.rows.clone());
        self.model.store(Arc::new(model));
    }

    /// Asks for a look at the catalog, and waits for it.
    async fn look(&self) {
        let (done, looked) = oneshot::channel();
        if self.nudge.try_send(done).is_ok() {
            let _ = looked.await;
        }
    }
}

impl Model {
    fn new(configured: Arc<Configured>, rows: Arc<DirectoryRows>) -> Model {
        let index = Index::new(&configured, &rows);
        let plans = rows.tenants.iter().filter(|row| row.origin.is_none());
        let plans = plans.filter_map(|row| Some((row.id, row.plan.as_deref()?)));
        let written = configured.tenants.iter().map(|written| &written.definition);
        let written = written.filter_map(|tenant| Some((tenant.id, tenant.plan.as_deref()?)));
        let limits = plans
            .chain(written)
            .filter_map(|(tenant, plan)| Some((tenant, Arc::new(configured.plan(&rows, plan)?))));
        let limits = limits.collect();
        Model {
            index,
            limits,
            kept: Arc::new(kept_by(&configured, &rows)),
            configured,
            rows,
        }
    }
}

/// How long plans keep calls. Of a tenant that is gone, from the files or through the API, nothing is said.
fn kept_by(configured: &Configured, rows: &DirectoryRows) -> KeptPlans {
    let made = rows.tenants.iter().filter(|row| {
        row.origin.is_none()
            && row.status != TenantStatus::Gone
            && (configured.multi || row.id == SYSTEM_TENANT)
    });
    let made = made.filter_map(|row| Some((row.id, row.plan.as_deref()?)));
    let written = configured.tenants.iter().map(|written| &written.definition);
    let written = written.filter_map(|tenant| Some((tenant.id, tenant.plan.as_deref()?)));
    let kept = |(tenant, plan): (TenantId, &str)| {
        let days = configured.plan(rows, plan)?.retention_days?;
        let plan = plan.to_owned();
        Some((tenant, Kept { plan, days }))
    };
    KeptPlans {
        generation: rows.generation,
        tenants: made.chain(written).filter_map(kept).collect(),
    }
}

impl Installation for Tenancy {
    fn limits(&self, tenant: TenantId) -> Arc<PlanLimits> {
        let model = self.model.load();
        model.limits.get(&tenant).cloned().unwrap_or_default()
    }

    fn plans(&self) -> Vec<KnownPlan> {
        let model = self.model.load();
        model.configured.known_plans(&model.rows)
    }

    fn kept(&self) -> Arc<KeptPlans> {
        self.model.load().kept.clone()
    }

    fn extensions(&self, tenant: TenantId) -> Vec<KnownExtension> {
        let model = self.model.load();
        (model.index).of_tenant(tenant, &model.configured, &model.rows)
    }

    fn extension(&self, scope: &Scope, id: Uuid) -> Option<KnownExtension> {
        let model = self.model.load();
        model.index.one(scope, id, &model.configured, &model.rows)
    }

    fn tenants_with_extensions(&self) -> Vec<TenantId> {
        self.model.load().index.tenants()
    }

    fn allocations(&self, tenant: TenantId) -> Vec<AllocationRow> {
        let model = self.model.load();
        let rows = &model.rows.allocations;
        let start = rows.partition_point(|row| row.tenant < tenant);
        let of_tenant = rows.iter().skip(start);
        of_tenant
            .take_while(|row| row.tenant == tenant)
            .cloned()
            .collect()
    }

    fn held_by(
        &self,
        tenant: TenantId,
        logins: &HashSet<String>,
    ) -> HashMap<String, Vec<HeldExtension>> {
        let model = self.model.load();
        (model.index).held_by(tenant, logins, &model.configured, &model.rows)
    }

    fn extension_of(&self, tenant: TenantId, number: &str) -> Option<NumberOf> {
        let model = self.model.load();
        known::extension_of(tenant, number, &model.configured, &model.rows)
    }

    fn extension_id(&self, tenant: TenantId, kind: &str, text: &str) -> Option<Uuid> {
        let pattern = match kind {
            "range" => ExtensionPattern::range(text),
            "prefix" => ExtensionPattern::prefix(text),
            _ => ExtensionPattern::number(text),
        };
        Some(pattern_id(tenant, &pattern.ok()?))
    }

    fn check(&self, rows: &DirectoryRows, changed: TenantId) -> Result<(), Objection> {
        let model = self.model.load();
        let parts = Parts {
            configured: &model.configured,
            rows,
            usage: &HashMap::new(),
            now: wall_clock(),
        };
        match parts.objections(changed).into_iter().next() {
            Some((field, detail)) => Err(Objection { field, detail }),
            None => Ok(()),
        }
    }

    fn losers(
        &self,
        rows: &DirectoryRows,
        tenant: TenantId,
        id: Uuid,
        before: Option<&ExtensionRow>,
    ) -> HashSet<String> {
        let model = self.model.load();
        losing::losers(&model.configured, rows, tenant, (id, before))
    }

    fn refreshed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.look())
    }
}
