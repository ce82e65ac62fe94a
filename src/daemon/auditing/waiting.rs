//! What operators asked of recordings, on its way into the audit.
//!
//! A card number is not said later because the catalog is away. So what is asked over the socket is first written into a file
//! beside the recordings, then done, and entered into the audit of the tenants concerned as soon as the catalog takes it, also
//! after another start. A record that was entered when the program ended before it could note that is there twice.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::access::{Event, Outcome, Principal};
use crate::api::Api;
use crate::base::{TenantId, Timestamp};
use crate::catalog::{self, Catalog};
use crate::daemon::state::locked;
use crate::engine::control::ControlAction;

/// Records that wait. Past it further ones are dropped, and counted: what is asked is in the log and in the sidecars all the same.
const MOST: usize = 10_000;
/// Bytes of a line; a longer one is none of ours.
const LINE: u64 = 16 << 10;
/// Records that are entered at a time.
const BATCH: usize = 100;
/// Between looks for a catalog that is away.
const AGAIN: Duration = Duration::from_secs(2);

/// One call of one tenant that an operator did something to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steered {
    /// When it was asked, nanoseconds since 1970.
    pub at_ns: i64,
    pub tenant: Uuid,
    /// As the tenant calls it while it lasts.
    pub call: Uuid,
    pub action: ControlAction,
    /// Whose process asked, and the name of that account.
    pub uid: u32,
    pub account: String,
    /// Who that account says it is asked for.
    pub on_behalf_of: String,
    pub why: String,
    /// The engine did not do it.
    #[serde(default)]
    pub failed: bool,
}

/// How many wait and were dropped.
#[derive(Debug, Default)]
pub struct WaitingCounters {
    /// At this moment.
    pub waiting: AtomicU64,
    pub dropped: AtomicU64,
}

/// Records that wait for the catalog.
#[derive(Debug)]
pub struct Waiting {
    path: PathBuf,
    /// Who holds it writes the file. Taken before `records`, which nobody holds while a disk works.
    file: Mutex<()>,
    records: Mutex<VecDeque<Steered>>,
    counters: Arc<WaitingCounters>,
    bell: Notify,
}

impl Waiting {
    /// What an earlier run left in the storage `root` waits again.
    pub fn open(root: &Path, counters: Arc<WaitingCounters>) -> Arc<Waiting> {
        let path = root.join("control-audit.jsonl");
        let records = read(&path).unwrap_or_else(|error| {
            tracing::error!(%error, path = %path.display(), "what waits for the audit cannot be read");
            VecDeque::new()
        });
        let waiting = Waiting {
            path,
            file: Mutex::new(()),
            records: Mutex::new(records),
            counters,
            bell: Notify::new(),
        };
        waiting.count(locked(&waiting.records).len());
        Arc::new(waiting)
    }

    /// Takes records. Done when they are safe on the disk.
    ///
    /// # Errors
    ///
    /// They are not: they wait in memory, or, where too many wait, not at all.
    pub async fn put(self: &Arc<Waiting>, records: Vec<Steered>) -> io::Result<()> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || this.put_now(records)).await;
        self.bell.notify_one();
        done.map_err(io::Error::other)?
    }

    fn put_now(&self, records: Vec<Steered>) -> io::Result<()> {
        let _file = locked(&self.file);
        if locked(&self.records).len() + records.len() > MOST {
            let dropped = &self.counters.dropped;
            dropped.fetch_add(records.len() as u64, Ordering::Relaxed);
            return Err(io::Error::other(format!(
                "{MOST} records wait for the catalog"
            )));
        }
        let written = append(&self.path, &records);
        let mut waiting = locked(&self.records);
        waiting.extend(records);
        self.count(waiting.len());
        written
    }

    /// Enters what waits, for ever.
    pub async fn enter(self: Arc<Waiting>, api: Api) {
        loop {
            if locked(&self.records).is_empty() {
                self.bell.notified().await;
            }
            let entered = match api.catalog() {
                Ok(catalog) => self.enter_some(&catalog).await,
                Err(_) => false,
            };
            if !entered {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Whether the catalog took some of them.
    pub(super) async fn enter_some(self: &Arc<Waiting>, catalog: &Catalog) -> bool {
        let some: Vec<Steered> = (locked(&self.records).iter().take(BATCH).cloned()).collect();
        if some.is_empty() {
            return true;
        }
        let done = match enter_all(catalog, &some).await {
            Ok(()) => some.len(),
            Err(error) if !error.is_refusal() => {
                tracing::warn!(%error, "what operators did waits for the audit");
                return false;
            }
            // One of them is what the catalog never takes: a tenant that it does not know, in a file that was changed.
            Err(_) => self.enter_each(catalog, &some).await,
        };
        let this = self.clone();
        let _ = tokio::task::spawn_blocking(move || this.forget(done)).await;
        done > 0
    }

    /// How many of them need not wait any more.
    async fn enter_each(&self, catalog: &Catalog, some: &[Steered]) -> usize {
        for (done, record) in some.iter().enumerate() {
            match enter_all(catalog, std::slice::from_ref(record)).await {
                Ok(()) => {}
                Err(error) if !error.is_refusal() => return done,
                Err(error) => {
                    tracing::error!(%error, call = %record.call, "the audit does not take what an operator did");
                    self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        some.len()
    }

    /// The first `done` are in the audit.
    fn forget(&self, done: usize) {
        let _file = locked(&self.file);
        let left = {
            let mut waiting = locked(&self.records);
            let done = done.min(waiting.len());
            waiting.drain(..done);
            self.count(waiting.len());
            waiting.clone()
        };
        if let Err(error) = write_anew(&self.path, &left) {
            tracing::error!(%error, path = %self.path.display(), "what is in the audit waits in the file too");
        }
    }

    fn count(&self, waiting: usize) {
        let count = &self.counters.waiting;
        count.store(waiting as u64, Ordering::Relaxed);
    }
}

async fn enter_all(catalog: &Catalog, records: &[Steered]) -> catalog::Result<()> {
    let Some((first, others)) = records.split_first() else {
        return Ok(());
    };
    let mut change = catalog.change().await?;
    others.iter().for_each(|record| change.also(event(record)));
    change.commit(event(first)).await
}

fn event(record: &Steered) -> Event {
    let action = match record.action {
        ControlAction::Pause => "calls.pause",
        ControlAction::Resume => "calls.resume",
        ControlAction::Keep => "calls.keep",
        ControlAction::Stop => "calls.stop",
    };
    let after = serde_json::json!({
        "asked_at": Timestamp::from_nanos(record.at_ns).to_string(),
        "uid": record.uid,
        "on_behalf_of": record.on_behalf_of,
    });
    let event = Event::by(&Principal::operator(&record.account), action)
        .of_tenant(TenantId(record.tenant))
        .on("call", record.call)
        .change(None, Some(after))
        .outcome(match record.failed {
            true => Outcome::Failed,
            false => Outcome::Allowed,
        });
    match record.why.is_empty() {
        true => event,
        false => event.because(&record.why),
    }
}

fn lines<'r>(records: impl IntoIterator<Item = &'r Steered>) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn append(path: &Path, records: &[Steered]) -> io::Result<()> {
    let mut file = (OpenOptions::new().create(true).append(true).mode(0o600)).open(path)?;
    file.write_all(&lines(records)?)?;
    file.sync_data()
}

/// Whole or not at all.
fn write_anew(path: &Path, records: &VecDeque<Steered>) -> io::Result<()> {
    if records.is_empty() {
        return fs::remove_file(path);
    }
    let beside = path.with_extension("new");
    let mut file = (OpenOptions::new().create(true).write(true).truncate(true))
        .mode(0o600)
        .open(&beside)?;
    file.write_all(&lines(records)?)?;
    file.sync_data()?;
    fs::rename(beside, path)
}

/// Lines that are none are left out: the last one may have been cut off.
fn read(path: &Path) -> io::Result<VecDeque<Steered>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut records = VecDeque::new();
    let mut line = Vec::new();
    while records.len() < MOST {
        line.clear();
        let read = (reader.by_ref().take(LINE)).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        records.extend(serde_json::from_slice::<Steered>(&line));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::{in_memory, tenant};

    fn record(of: u128, call: u128, action: ControlAction) -> Steered {
        Steered {
            at_ns: 1_800_000_000_000_000_000,
            tenant: tenant(of).0,
            call: Uuid::from_u128(call),
            action,
            uid: 0,
            account: "root".into(),
            on_behalf_of: "night shift".into(),
            why: "card number".into(),
            failed: false,
        }
    }

    fn open(root: &Path) -> (Arc<Waiting>, Arc<WaitingCounters>) {
        let counters = Arc::<WaitingCounters>::default();
        (Waiting::open(root, counters.clone()), counters)
    }

    fn waiting(counters: &WaitingCounters) -> u64 {
        counters.waiting.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_was_asked_while_the_catalog_was_away_is_in_each_tenants_audit_after_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let (queue, counters) = open(folder.path());
        let asked = vec![
            record(1, 7, ControlAction::Pause),
            record(2, 8, ControlAction::Pause),
        ];
        queue.put(asked).await.unwrap();
        queue
            .put(vec![record(1, 7, ControlAction::Resume)])
            .await
            .unwrap();
        assert_eq!(waiting(&counters), 3);
        drop(queue);
        let (queue, counters) = open(folder.path());
        assert_eq!(waiting(&counters), 3);
        let catalog = in_memory().await;
        catalog.register_for_tests(tenant(1), "one").await;
        catalog.register_for_tests(tenant(2), "two").await;
        let held = catalog.change().await.unwrap();
        // Somebody else writes. In memory there is one connection, which the next one waits for in vain.
        assert!(!queue.enter_some(&catalog).await);
        assert_eq!(waiting(&counters), 3);
        drop(held);
        assert!(queue.enter_some(&catalog).await);
        assert_eq!(waiting(&counters), 0);
        let actions = async |of| catalog.audited_actions_for_tests(tenant(of)).await;
        assert_eq!(actions(1).await, ["calls.pause", "calls.resume"]);
        assert_eq!(actions(2).await, ["calls.pause"]);
        let entered = &catalog.audit_since(0, 1).await.unwrap()[0].1.record;
        assert_eq!(
            (&*entered.actor_kind, &*entered.actor_name),
            ("operator", "root")
        );
        assert_eq!(entered.reason.as_deref(), Some("card number"));
        let after = entered.after.as_deref().unwrap();
        assert!(
            after.contains("2027-01-15T08:00:00") && after.contains("night shift"),
            "{after}"
        );
        // Nothing is left for the next start.
        assert_eq!(waiting(&open(folder.path()).1), 0);
    }

    #[tokio::test]
    async fn what_the_catalog_never_takes_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("control-audit.jsonl"), "{\"at_ns\":\n").unwrap();
        let (queue, counters) = open(folder.path());
        let catalog = in_memory().await;
        catalog.register_for_tests(tenant(1), "one").await;
        let asked = [99, 1].map(|of| record(of, 7, ControlAction::Stop));
        queue.put(asked.to_vec()).await.unwrap();
        assert!(queue.enter_some(&catalog).await);
        assert_eq!(waiting(&counters), 0);
        assert_eq!(counters.dropped.load(Ordering::Relaxed), 1);
        let actions = catalog.audited_actions_for_tests(tenant(1)).await;
        assert_eq!(actions, ["calls.stop"]);
    }

    #[tokio::test]
    async fn too_many_are_dropped_and_counted_and_a_disk_that_fails_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (queue, counters) = open(folder.path());
        let many = vec![record(1, 7, ControlAction::Pause); MOST];
        queue.put(many.clone()).await.unwrap();
        assert!(queue.put(many).await.is_err());
        assert_eq!(counters.dropped.load(Ordering::Relaxed), MOST as u64);
        let (queue, counters) = open(&folder.path().join("nowhere"));
        let one = vec![record(1, 7, ControlAction::Pause)];
        assert!(queue.put(one).await.is_err());
        assert_eq!(waiting(&counters), 1, "it waits in memory");
    }
}
