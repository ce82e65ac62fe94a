//! The thread that keeps the directory that of this moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Nudges, Tenancy};
use crate::access::Scope;
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Catalog, Home, MirroredTenant, Result, Usage, wall_clock};

/// Between looks at whether anything has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between sums of what was recorded.
const SUM_EVERY: Duration = Duration::from_secs(15);
/// A start waits so long for the catalog before it begins with what it knows.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// The thread; ends when this is finished.
pub struct Watching {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Watching {
    /// Reads the catalog for the first time, and goes on with it on a thread.
    pub fn start(
        tenancy: Arc<Tenancy>,
        home: Arc<Home>,
        nudges: Nudges,
    ) -> std::io::Result<Watching> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut watch = Watch {
            tenancy,
            home,
            catalog: None,
            mirrored: None,
            summed_at: None,
        };
        runtime.block_on(async {
            let _ = tokio::time::timeout(FIRST_LOOK, watch.look()).await;
        });
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = watch.keep(nudges) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("tenancy".into());
        let thread = thread.spawn(run)?;
        Ok(Watching { stop, thread })
    }

    pub fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

struct Watch {
    tenancy: Arc<Tenancy>,
    home: Arc<Home>,
    catalog: Option<Catalog>,
    /// What the catalog was told of the configuration last.
    mirrored: Option<Vec<MirroredTenant>>,
    summed_at: Option<Timestamp>,
}

impl Watch {
    async fn keep(mut self, mut nudges: Nudges) {
        loop {
            let mut asked = Vec::new();
            tokio::select! {
                nudge = nudges.recv() => asked.extend(nudge),
                () = tokio::time::sleep(self.patience()) => {}
            }
            while let Ok(nudge) = nudges.try_recv() {
                asked.push(nudge);
            }
            self.look().await;
            self.tenancy.keep_time(wall_clock());
            self.tenancy.tidy();
            for nudge in asked {
                let _ = nudge.send(());
            }
        }
    }

    /// Until the next look, or the next moment at which an allocation begins or ends.
    fn patience(&self) -> Duration {
        let next = self.tenancy.next_change();
        let until = next.map(|at| at.since(wall_clock()));
        until.map_or(LOOK_EVERY, |until| until.min(LOOK_EVERY))
    }

    async fn look(&mut self) {
        let looked = self.try_look().await;
        let state = &self.tenancy.state;
        match looked {
            Ok(()) => {
                if state.away.swap(false, Ordering::Relaxed) {
                    tracing::warn!("tenants and extensions are read from the catalog again");
                }
            }
            Err(error) => {
                self.catalog = None;
                self.mirrored = None;
                state.failures.fetch_add(1, Ordering::Relaxed);
                if !state.away.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "tenants and extensions cannot be read from the catalog: those known last stay in use");
                }
            }
        }
    }

    async fn try_look(&mut self) -> Result<()> {
        if self.catalog.is_none() {
            self.catalog = Some(self.home.open().await?);
        }
        let catalog = self.catalog.as_ref().expect("it was opened above");
        catalog.check_place()?;
        let now = wall_clock();
        let mirrored = self.tenancy.configured().mirrored();
        if self.mirrored.as_ref() != Some(&mirrored) {
            catalog.mirror_tenants(&mirrored, now).await?;
            self.mirrored = Some(mirrored);
        }
        if catalog.directory_generation().await? != self.tenancy.generation() {
            let rows = catalog.directory_rows(now).await?;
            let usage = sum_up(catalog, now).await?;
            self.tenancy.take(rows, usage, now);
            self.summed_at = Some(now);
        }
        let due = (self.summed_at).is_none_or(|at| now.since(at) >= SUM_EVERY);
        if due && self.tenancy.limits_recording() {
            self.tenancy.take_usage(sum_up(catalog, now).await?, now);
            self.summed_at = Some(now);
        }
        Ok(())
    }
}

async fn sum_up(catalog: &Catalog, now: Timestamp) -> Result<HashMap<TenantId, Usage>> {
    let usage = catalog.usage(&Scope::root(), now).await?;
    Ok(usage
        .into_iter()
        .map(|usage| (usage.tenant, usage))
        .collect())
}
