//! What is due goes, batch by batch.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::RetentionState;
use super::clock::{BelievedClock, Moment};
use super::limits::keep_limits;
use crate::access::{Event, Retention};
use crate::api::{Installation as _, Kept};
use crate::base::{RecordingId, TenantId, Timestamp};
use crate::catalog::{Catalog, DueCall, Expired, Expiring, Home, Result};
use crate::daemon::tenancy::Tenancy;
use crate::storage::{Kind, Layout, RecordingName, remove_empty_folders, remove_recordings};

/// Calls of one transaction, at first and at most: their ids are in its record of the audit, which takes 64 KiB.
const FIRST_BATCH: u32 = 50;
const LARGEST_BATCH: u32 = 500;
const SMALLEST_BATCH: u32 = 10;
/// A transaction that takes longer keeps others from writing: the next one is smaller.
const LONG: Duration = Duration::from_millis(40);
/// The least rest between two.
const REST: Duration = Duration::from_millis(20);
/// Until the plans of this moment are known.
const STALE: Duration = Duration::from_millis(200);
/// Nobody writes into the folder of a day that was over for so long.
const PAST: Duration = Duration::from_secs(2 * 24 * 3600);

/// Removes calls and their files.
pub struct Sweeper {
    home: Arc<Home>,
    tenancy: Arc<Tenancy>,
    layout: Layout,
    state: Arc<RetentionState>,
    catalog: Option<Catalog>,
    clock: Option<BelievedClock>,
    /// What of the time was kept last: who finds another there was told it by somebody.
    kept: Option<Timestamp>,
    /// The time was moved by more than has passed, and what is in force is not written by it yet.
    stepped: bool,
    batch: u32,
    /// Behind what was looked at, of tenants that have more.
    positions: HashMap<TenantId, (Timestamp, i64)>,
    overdue: HashMap<TenantId, Timestamp>,
}

/// What came of one look at one tenant.
enum Swept {
    /// There is more.
    Part,
    All,
    /// Plans have changed meanwhile.
    Stale,
    /// Files stay, and why.
    Refused(String),
}

impl Sweeper {
    pub fn new(
        home: Arc<Home>,
        tenancy: Arc<Tenancy>,
        layout: Layout,
        state: Arc<RetentionState>,
    ) -> Sweeper {
        Sweeper {
            home,
            tenancy,
            layout,
            state,
            catalog: None,
            clock: None,
            kept: None,
            stepped: false,
            batch: FIRST_BATCH,
            positions: HashMap::new(),
            overdue: HashMap::new(),
        }
    }

    /// Removes what is due, of each tenant one batch; whether there is more to do at once.
    pub async fn look(&mut self, moment: Moment) -> bool {
        let looked = self.try_look(moment).await;
        let oldest = self.overdue.values().min().copied();
        self.state.set_oldest_due(oldest);
        let (more, wrong) = match looked {
            Ok(more) => more,
            Err(error) => {
                self.catalog = None;
                (false, Some(error.to_string()))
            }
        };
        if wrong.is_some() {
            self.state.failures.fetch_add(1, Ordering::Relaxed);
        }
        if self.state.failing.set(wrong.clone()) {
            match wrong {
                Some(error) => tracing::error!(
                    error,
                    "calls that were kept for long enough cannot be removed: it is tried again"
                ),
                None => tracing::warn!("calls that were kept for long enough are removed again"),
            }
        }
        more
    }

    /// Whether the last look failed.
    pub fn is_failing(&self) -> bool {
        self.state.failing.why().is_some()
    }

    async fn try_look(&mut self, moment: Moment) -> Result<(bool, Option<String>)> {
        // Without the storage no file is known to be gone. The disk's thread says that.
        if self.layout.is_unmounted() || !self.layout.root().is_dir() {
            return Ok((false, None));
        }
        let catalog = match &self.catalog {
            Some(catalog) => catalog.clone(),
            None => self.catalog.insert(self.home.open().await?).clone(),
        };
        catalog.check_place()?;
        let plans = self.tenancy.kept();
        let tenants = plans.tenants.len() as u64;
        let had = self.state.tenants.swap(tenants, Ordering::Relaxed);
        let now = self.time(&catalog, moment, had > 0).await?;
        let limits = keep_limits(&catalog, &plans, now, self.stepped).await?;
        let Some(retentions) = limits else {
            return Ok((self.newer_plans().await, None));
        };
        self.keep_time(&catalog).await?;
        if let Some(wrong) = self.finish_files(&catalog, now).await? {
            return Ok((false, Some(wrong)));
        }
        self.overdue
            .retain(|tenant, _| retentions.contains_key(tenant));
        let mut more = false;
        for (tenant, retention) in retentions {
            match self.sweep(&catalog, tenant, &retention, now).await? {
                Swept::Part => more = true,
                Swept::All => {}
                Swept::Stale => return Ok((self.newer_plans().await, None)),
                Swept::Refused(wrong) => return Ok((false, Some(wrong))),
            }
        }
        Ok((more, None))
    }

    /// Waits for the plans of this moment: there is more to do then.
    async fn newer_plans(&self) -> bool {
        self.tenancy.refreshed().await;
        tokio::time::sleep(STALE).await;
        true
    }

    /// The time by which calls go. `mattered`: it did at the last look.
    async fn time(
        &mut self,
        catalog: &Catalog,
        moment: Moment,
        mattered: bool,
    ) -> Result<Timestamp> {
        let kept = catalog.believed_time().await?;
        if self.clock.is_none() || kept != self.kept {
            let at = match kept {
                Some(at) => at,
                // Nobody has looked before. What is in the catalog was there at some time.
                None => catalog.newest_time().await?.unwrap_or(moment.wall),
            };
            // What it is moved by has passed unseen.
            self.stepped |= self.clock.is_some();
            self.clock = Some(BelievedClock::new(at, moment.steady));
            self.kept = kept;
        }
        let clock = self
            .clock
            .get_or_insert(BelievedClock::new(moment.wall, moment.steady));
        let was_doubted = mattered && self.state.doubted_clock().is_some();
        let now = clock.look(moment);
        let ahead = clock.doubted().as_secs();
        self.state.clock_ahead.store(ahead, Ordering::Relaxed);
        match (was_doubted, self.state.doubted_clock().is_some()) {
            (false, true) => tracing::error!(
                clock = %moment.wall, believed = %now,
                "the clock is ahead of the time that has surely passed: calls go by that one, until the clock has gone on evenly for as \
                 long as it is ahead, or `callreel retention confirm-clock` says that it is right"
            ),
            (true, false) => tracing::warn!(clock = %moment.wall, "calls go by the clock again"),
            _ => {}
        }
        self.stepped |= clock.stepped();
        Ok(now)
    }

    /// Keeps the time for the next start, when what is in force by it is written: a start in between finds the time as it was.
    async fn keep_time(&mut self, catalog: &Catalog) -> Result<()> {
        self.stepped = false;
        if let Some(at) = self.clock.as_ref().map(BelievedClock::kept)
            && catalog.keep_believed_time(at, self.kept).await?
        {
            self.kept = Some(at);
        }
        Ok(())
    }

    /// Removes files of calls that went before; why some stay.
    async fn finish_files(&mut self, catalog: &Catalog, now: Timestamp) -> Result<Option<String>> {
        loop {
            let left = catalog.expired_files(LARGEST_BATCH).await?;
            let waiting = left.len() as u64;
            self.state.files_waiting.store(waiting, Ordering::Relaxed);
            if left.is_empty() {
                return Ok(None);
            }
            let mut of_tenant: HashMap<TenantId, Vec<RecordingName>> = HashMap::new();
            for (tenant, id, path) in left {
                match RecordingName::of_call(tenant, id, &path) {
                    Some(name) => of_tenant.entry(tenant).or_default().push(name),
                    None => {
                        tracing::error!(call = %id, "a removed call names a file that is not its own: it is left alone");
                        catalog.expired_files_gone(tenant, &[id]).await?;
                    }
                }
            }
            for (tenant, names) in of_tenant {
                if let Some(wrong) = self.remove_files(catalog, tenant, &names, now).await? {
                    return Ok(Some(wrong));
                }
            }
        }
    }

    /// One batch of one tenant.
    async fn sweep(
        &mut self,
        catalog: &Catalog,
        tenant: TenantId,
        retention: &Retention,
        now: Timestamp,
    ) -> Result<Swept> {
        let (Some(before), Some(days)) = (retention.ended_before(now), retention.days) else {
            self.overdue.remove(&tenant);
            return Ok(Swept::All);
        };
        let limit = self.batch;
        let position = self.positions.get(&tenant).copied();
        let due = catalog.due_calls(tenant, before, position, limit).await?;
        let Some((first, last)) = due.first().zip(due.last()) else {
            self.positions.remove(&tenant);
            self.overdue.remove(&tenant);
            return Ok(Swept::All);
        };
        if let Some(at) = retention.expires_at(first.ended_at) {
            self.overdue.insert(tenant, at);
        }
        let told = catalog.told_of(tenant, &due).await?;
        let calls = expiring(tenant, &due);

        let mut change = catalog.change().await?;
        let since = Instant::now();
        let plans = self.tenancy.kept();
        // Nobody changes any of it from here on.
        let is_newest = change.directory_generation().await? == plans.generation;
        let kept = plans.tenants.get(&tenant).filter(|kept| kept.days <= days);
        let Some(kept) = kept.filter(|_| is_newest) else {
            return Ok(Swept::Stale);
        };
        let gone = change.expire(tenant, before, &calls, &told).await?;
        if !gone.is_empty() {
            change.commit(event(tenant, kept, days, &gone)).await?;
            tracing::info!(%tenant, calls = gone.len(), "calls that were kept for long enough are removed");
        }
        let took = since.elapsed();
        self.state
            .removed
            .fetch_add(gone.len() as u64, Ordering::Relaxed);
        self.positions.insert(tenant, last.position());
        let is_last = due.len() < limit as usize;
        if is_last {
            self.positions.remove(&tenant);
            self.overdue.remove(&tenant);
        }
        self.batch = next_batch(limit, took, is_last);
        let names = names_of(tenant, &calls, &gone);
        if let Some(wrong) = self.remove_files(catalog, tenant, &names, now).await? {
            return Ok(Swept::Refused(wrong));
        }
        tokio::time::sleep(since.elapsed().max(REST)).await;
        Ok(match is_last {
            true => Swept::All,
            false => Swept::Part,
        })
    }

    /// Removes files of calls that are gone from the catalog, and has it forget them; why some stay.
    async fn remove_files(
        &mut self,
        catalog: &Catalog,
        tenant: TenantId,
        names: &[RecordingName],
        now: Timestamp,
    ) -> Result<Option<String>> {
        if names.is_empty() {
            return Ok(None);
        }
        let (gone, wrong) = remove_recordings(&self.layout, names);
        let ids: Vec<Uuid> = gone.iter().map(|name| name.id.0).collect();
        catalog.expired_files_gone(tenant, &ids).await?;
        let day = (now - PAST).utc();
        let day = (
            day.year.clamp(0, 9999) as u16,
            day.month as u8,
            day.day as u8,
        );
        remove_empty_folders(&self.layout, &gone, day);
        let waiting = (names.len() - gone.len()) as u64;
        self.state.files_waiting.store(waiting, Ordering::Relaxed);
        Ok(wrong.map(|error| error.to_string()))
    }
}

fn next_batch(batch: u32, took: Duration, is_last: bool) -> u32 {
    match () {
        () if took > LONG => (batch / 2).max(SMALLEST_BATCH),
        () if took < LONG / 3 && !is_last => (batch * 2).min(LARGEST_BATCH),
        () => batch,
    }
}

/// The calls with the places of their files: also where a row does not name its own, and where the storage has not taken a
/// recording yet.
fn expiring(tenant: TenantId, due: &[DueCall]) -> Vec<Expiring> {
    let mut foreign = 0;
    let calls = due.iter().map(|call| {
        let place = call.file_path.as_deref();
        let own = place.and_then(|path| RecordingName::of_call(tenant, call.id, path));
        foreign += u32::from(place.is_some() && own.is_none());
        let has_files = place.is_some() || call.may_be_late;
        let made = || RecordingName::new(tenant, RecordingId(call.id), call.started_at);
        let name = has_files.then(|| own.unwrap_or_else(made));
        Expiring {
            row: call.row,
            id: call.id,
            file_path: name.map(|name| name.relative(Kind::Audio)),
        }
    });
    let calls = calls.collect();
    if foreign > 0 {
        tracing::error!(
            calls = foreign,
            "calls that are removed name files that are not their own: those are left alone"
        );
    }
    calls
}

fn names_of(tenant: TenantId, calls: &[Expiring], gone: &[Expired]) -> Vec<RecordingName> {
    let places: HashMap<Uuid, &str> = (calls.iter())
        .filter_map(|call| Some((call.id, call.file_path.as_deref()?)))
        .collect();
    let name = |call: &Expired| RecordingName::of_call(tenant, call.id, places.get(&call.id)?);
    gone.iter().filter_map(name).collect()
}

/// One record for all calls of a batch.
fn event(tenant: TenantId, kept: &Kept, days: u32, gone: &[Expired]) -> Event {
    let ends = || gone.iter().map(|call| call.ended_at);
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let ids: Vec<Uuid> = gone.iter().map(|call| call.id).collect();
    let removed = json!({
        "calls": gone.len(),
        "recordings": gone.iter().filter(|call| call.had_recording).count(),
        "ended_from": time(ends().min()),
        "ended_to": time(ends().max()),
        "plan": kept.plan,
        "retention_days": days,
        "ids": ids,
    });
    let mut event = Event::by_system(tenant, "retention", "calls.expire")
        .change(Some(removed), None)
        .because(&format!("calls are kept for {days} days after their end"));
    event.object_kind = "call";
    event
}
