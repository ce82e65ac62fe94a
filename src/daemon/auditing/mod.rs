//! The audit on its way out of the catalog: to syslog, to a file, and as the heads of its chains beside the catalog. And what
//! operators did, on its way in.
//!
//! In: the catalog, as records come. Out: each record, once the catalog has it, in order; from where it was left at the last
//! stop. Where a record is told twice (the program ended between telling and noting it) its tenant and number are the same.

mod file;
mod gap;
mod heads;
mod syslog;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::api::Api;
use crate::catalog::{AuditEntry, Catalog};
use crate::config;

use file::LinesFile;
use heads::HeadsFile;
pub use heads::{HEADS, begin_anew, heads_path, read_heads};
use syslog::SyslogTarget;
pub use waiting::{Steered, Waiting, WaitingCounters};

/// Between looks for records, and between attempts to tell them to who is away.
const LOOK: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_secs(5);
/// Records that are read at a time.
const BATCH: u32 = 200;

/// What can go wrong on the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write {path}: {reason}")]
    File {
        path: PathBuf,
        reason: std::io::Error,
    },
    #[error("cannot send to syslog at {place}: {reason}")]
    Syslog {
        place: String,
        reason: std::io::Error,
    },
    #[error(transparent)]
    Catalog(#[from] crate::catalog::Error),
}

/// How one who is told is doing.
#[derive(Debug, Default)]
pub struct FollowerState {
    /// What it is called in the catalog and in metrics.
    pub name: &'static str,
    /// Records that it was told.
    pub told: AtomicU64,
    /// Records of the audit that it was not told yet.
    pub behind: AtomicI64,
    pub failures: AtomicU64,
    pub failing: AtomicBool,
    /// How often something of the audit was found missing.
    pub gaps: AtomicU64,
}

/// Who is told records: all of a batch, or an error.
enum Target {
    Heads(HeadsFile),
    Lines(LinesFile),
    Syslog(SyslogTarget),
}

impl Target {
    async fn tell(&mut self, entries: &[(i64, AuditEntry)]) -> Result<(), Error> {
        let entries = entries.iter().map(|(_, entry)| entry);
        match self {
            Target::Heads(heads) => heads.tell(entries),
            Target::Lines(file) => file.tell(entries),
            Target::Syslog(syslog) => syslog.tell(entries).await,
        }
    }
}

/// One who is told, and how far that has come.
pub struct Follower {
    target: Target,
    state: Arc<FollowerState>,
    position: i64,
    /// Whose records the position is of: another catalog may come into its place.
    of: Option<Arc<Catalog>>,
}

/// Those that the configuration names, and the file of heads beside the catalog.
pub fn followers(settings: &config::Settings) -> Vec<Follower> {
    let audit = &settings.audit;
    let heads =
        heads_path(&settings.catalog.url).map(|path| (HEADS, Target::Heads(HeadsFile::new(path))));
    let file = audit
        .file
        .clone()
        .map(|path| ("file", Target::Lines(LinesFile::new(path))));
    let syslog = audit.syslog.clone().map(|place| {
        let target = SyslogTarget::new(place, audit.syslog_facility);
        ("syslog", Target::Syslog(target))
    });
    let all = [heads, file, syslog].into_iter().flatten();
    all.map(|(name, target)| {
        let state = FollowerState {
            name,
            ..FollowerState::default()
        };
        Follower {
            target,
            state: Arc::new(state),
            position: -1,
            of: None,
        }
    })
    .collect()
}

impl Follower {
    pub fn state(&self) -> Arc<FollowerState> {
        self.state.clone()
    }

    /// Tells records as they come. Once `stop` says so, what is there by then; then it ends.
    pub async fn follow(mut self, api: Api, mut stop: watch::Receiver<bool>) {
        loop {
            let is_last = *stop.borrow_and_update();
            let pause = match api.catalog() {
                Ok(catalog) => match self.tell_of(&catalog).await {
                    Ok(true) => continue,
                    Ok(false) => LOOK,
                    Err(error) => {
                        self.failed(&error);
                        AGAIN
                    }
                },
                Err(_) => AGAIN,
            };
            if is_last {
                return;
            }
            // Who would say so is gone: nobody waits for the last ones.
            if let Ok(Err(_)) = tokio::time::timeout(pause, stop.changed()).await {
                return;
            }
        }
    }

    async fn tell_of(&mut self, catalog: &Arc<Catalog>) -> Result<bool, Error> {
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, catalog)) {
            self.of = Some(catalog.clone());
            self.position = -1;
        }
        self.tell(catalog).await
    }

    /// Tells what has come since. Whether there may be more.
    async fn tell(&mut self, catalog: &Catalog) -> Result<bool, Error> {
        let name = self.state.name;
        if self.position < 0 {
            let position = catalog.audit_follower(name).await?;
            if let Target::Heads(heads) = &self.target {
                gap::compare(catalog, heads, position, &self.state).await?;
            }
            self.position = position;
        }
        if let Target::Heads(heads) = &self.target
            && self.position > 0
        {
            gap::look_for(catalog, heads, &self.state).await?;
        }
        let entries = catalog.audit_since(self.position, BATCH).await?;
        let Some((last, _)) = entries.last() else {
            self.state.behind.store(0, Ordering::Relaxed);
            return Ok(false);
        };
        let length = catalog.audit_length().await?;
        self.state
            .behind
            .store(length - self.position, Ordering::Relaxed);
        self.target.tell(&entries).await?;
        if self.state.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(target = name, "the audit is told again");
        }
        self.position = *last;
        self.state
            .told
            .fetch_add(entries.len() as u64, Ordering::Relaxed);
        self.state
            .behind
            .store(length - self.position, Ordering::Relaxed);
        catalog.set_audit_follower(name, self.position).await?;
        Ok(true)
    }

    fn failed(&self, error: &Error) {
        self.state.failures.fetch_add(1, Ordering::Relaxed);
        if !self.state.failing.swap(true, Ordering::Relaxed) {
            let to = self.state.name;
            tracing::error!(%error, to, "the audit is not told; the catalog keeps it until it can be");
        }
    }
}

#[cfg(test)]
mod tests;
