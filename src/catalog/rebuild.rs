//! A new catalog in place of an old one.
//!
//! Calls are made anew of what is given. All other tables are taken over as they are: people and their rights, the audit,
//! what was added to calls, and which were deleted, have no other place.
//!
//! The new one grows in a file of its own beside the old, and takes its name in one step when it is complete and synced:
//! whoever opens the catalog finds either the old or the new one, never a part. The old one is locked against everybody
//! from before the last look at it until it is replaced, so no call is written into a file that is about to go.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions, QueryBuilder, Row, Sqlite, SqliteConnection, TypeInfo, ValueRef,
};

use super::error::is_busy;
use super::open::{BUSY_TIMEOUT, Place};
use super::row::{CALL_AND_TENANT, call_of};
use super::write::Existing;
use super::{CallRecord, Catalog, Error, Result};

/// Calls taken over from the old catalog at a time.
const PAGE: i64 = 1000;

/// A catalog that is being built. Dropped before [`finish`](Rebuild::finish) has succeeded, it leaves nothing.
#[derive(Debug)]
pub struct Rebuild {
    files: Files,
    new: Catalog,
    recorded: u64,
    /// Why nothing can be taken over from the old catalog.
    unreadable: Option<Error>,
    busy_timeout: Duration,
}

/// What a rebuild did.
#[derive(Debug)]
pub struct Rebuilt {
    /// Calls given to [`Rebuild::record`].
    pub recorded: u64,
    /// Calls without a recording that were taken over from the old catalog.
    pub kept: u64,
    /// Why not all of the old catalog could be read. Its file is still there then, its name ending in `.damaged`.
    pub unreadable: Option<Error>,
}

/// The files of a rebuild, which it alone holds.
#[derive(Debug)]
struct Files {
    target: PathBuf,
    new: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl Rebuild {
    /// Starts a new catalog to replace the one at `url`, whatever state that one is in, even if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`Catalog::open`], but for a damaged catalog. [`Error::Busy`] also when another rebuild is under way.
    /// A catalog in memory cannot be rebuilt.
    pub async fn begin(url: &str) -> Result<Rebuild> {
        Rebuild::begin_at(&Place::parse(url)?, BUSY_TIMEOUT).await
    }

    pub(super) async fn begin_at(place: &Place, busy_timeout: Duration) -> Result<Rebuild> {
        let Place::File(target) = place else {
            let why = "a catalog in memory cannot be rebuilt".to_owned();
            return Err(Error::Open {
                place: place.name(),
                why,
            });
        };
        let unreadable = look_at_old(place, busy_timeout).await?;
        let files = Files::take(target, place)?;
        let new = Catalog::create_unsynced(&Place::File(files.new.clone())).await?;
        Ok(Rebuild {
            files,
            new,
            recorded: 0,
            unreadable,
            busy_timeout,
        })
    }

    /// As [`Catalog::record`], into the new catalog.
    pub async fn record(&mut self, batch: &[CallRecord]) -> Result<()> {
        self.new.record(batch).await?;
        self.recorded += batch.len() as u64;
        Ok(())
    }

    /// Takes over from the old catalog, as far as it is readable, the calls without a recording and all that is not of
    /// calls, and puts the new one in its place.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when somebody, this program included, still has the old catalog open after five seconds. Nothing
    /// has happened then, and `finish` may be called again.
    pub async fn finish(&mut self) -> Result<Rebuilt> {
        let mut old = self.lock_old().await?;
        let kept = self.keep(&mut old).await?;
        self.take_over(&mut old).await?;
        self.new.close().await;
        self.files.put_in_place(self.unreadable.is_some()).await?;
        // Only now may others open the file by its name: they find the new one.
        drop(old);
        Ok(Rebuilt {
            recorded: self.recorded,
            kept,
            unreadable: self.unreadable.take(),
        })
    }

    /// The old catalog, opened by us and by nobody else, its journal emptied and gone. None when there is no old
    /// catalog, or none that can be read.
    async fn lock_old(&mut self) -> Result<Option<SqliteConnection>> {
        if self.unreadable.is_some() || !self.files.target.exists() {
            return Ok(None);
        }
        match lock(&self.files.target, self.busy_timeout).await {
            Ok(old) => Ok(Some(old)),
            Err(error) => self.give_up_old(error).map(|()| None),
        }
    }

    async fn keep(&mut self, old: &mut Option<SqliteConnection>) -> Result<u64> {
        let (mut kept, mut behind) = (0, i64::MIN);
        while let Some(connection) = old {
            match unrecorded(connection, behind).await {
                Ok((calls, last)) => {
                    kept += self.new.write(&calls, Existing::Keep).await? as u64;
                    let Some(last) = last else { break };
                    behind = last;
                }
                Err(error) => {
                    self.give_up_old(error)?;
                    break;
                }
            }
        }
        Ok(kept)
    }

    /// Copies every table that is not made of calls.
    async fn take_over(&mut self, old: &mut Option<SqliteConnection>) -> Result<()> {
        let Some(old) = old.as_mut().filter(|_| self.unreadable.is_none()) else {
            return Ok(());
        };
        let place = self.new.place.clone();
        let failed = |error| Error::from_sqlx("take over what is not of calls", &place, error);
        let mut new = self.new.writer.begin().await.map_err(failed)?;
        if let Err(error) = take_over_tables(old, &mut new).await {
            return self.give_up_old(error);
        }
        new.commit().await.map_err(failed)
    }

    /// Goes on without the rest of the old catalog, unless somebody else is the reason.
    fn give_up_old(&mut self, error: sqlx::Error) -> Result<()> {
        let place = Place::File(self.files.target.clone()).name();
        match Error::from_sqlx("take over its calls", &place, error) {
            busy @ Error::Busy { .. } => Err(busy),
            other => {
                self.unreadable = Some(other);
                Ok(())
            }
        }
    }
}

/// Brings the old catalog's tables up to date, if it has any. Gives the reason when it is broken; fails when it is none
/// of our business (another program's, a later version's) or in use.
async fn look_at_old(place: &Place, busy_timeout: Duration) -> Result<Option<Error>> {
    if let Place::File(path) = place
        && !path.exists()
    {
        return Ok(None);
    }
    match Catalog::open_at(place, busy_timeout).await {
        Ok(old) => {
            old.close().await;
            Ok(None)
        }
        Err(broken @ (Error::Damaged { .. } | Error::Migrate { .. } | Error::Query { .. })) => {
            Ok(Some(broken))
        }
        Err(error) => Err(error),
    }
}

/// Leaving WAL mode takes a lock that nobody else's open connection allows, and removes the journal, which would
/// otherwise be taken for the new catalog's. SQLite does not wait for that lock.
async fn lock(path: &Path, busy_timeout: Duration) -> sqlx::Result<SqliteConnection> {
    let since = Instant::now();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(busy_timeout)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    while let Err(error) = sqlx::query("PRAGMA journal_mode = DELETE")
        .execute(&mut connection)
        .await
    {
        if !is_busy(&error) || since.elapsed() > busy_timeout {
            return Err(error);
        }
        tokio::time::sleep(busy_timeout / 50).await;
    }
    sqlx::query("BEGIN EXCLUSIVE")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Tables that are made of calls, and sqlx's own.
const MADE_ANEW: [&str; 6] = [
    "calls",
    "participants",
    "interactions",
    "tenants",
    "recorded",
    "_sqlx_migrations",
];

async fn take_over_tables(
    old: &mut SqliteConnection,
    new: &mut SqliteConnection,
) -> sqlx::Result<()> {
    // One table refers to another, and they come in any order.
    sqlx::query("PRAGMA defer_foreign_keys = ON")
        .execute(&mut *new)
        .await?;
    // Rows that triggers once wrote are copied like any others, and not written twice.
    let triggers: Vec<(String, String)> =
        sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            .fetch_all(&mut *new)
            .await?;
    for (name, _) in &triggers {
        let drop = format!("DROP TRIGGER \"{name}\"");
        sqlx::query(AssertSqlSafe(drop)).execute(&mut *new).await?;
    }
    // Virtual tables, and what is behind them, are made of others.
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'",
    )
    .fetch_all(&mut *new)
    .await?;
    for table in tables
        .iter()
        .filter(|table| !MADE_ANEW.contains(&table.as_str()))
    {
        copy_table(old, new, table).await?;
    }
    mark_deleted(new).await?;
    for (_, create) in triggers {
        sqlx::query(AssertSqlSafe(create))
            .execute(&mut *new)
            .await?;
    }
    // For the trigger, which takes the words of each.
    sqlx::query("UPDATE call_notes SET text = text")
        .execute(new)
        .await
        .map(|_| ())
}

/// Calls that were found, and whose deletion was taken over. Triggers are off: the minutes of these calls were taken over too.
async fn mark_deleted(new: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE calls SET deleted_at = (SELECT d.deleted_at FROM deleted_calls d \
         WHERE d.tenant_id = calls.tenant_id AND d.call_id = calls.id) \
         WHERE (tenant_id, id) IN (SELECT tenant_id, call_id FROM deleted_calls)",
    )
    .execute(&mut *new)
    .await?;
    sqlx::query(
        "UPDATE recorded SET length_ms = recorded.length_ms - deleted.length_ms FROM (SELECT tenant_id, \
         CAST(strftime('%Y%m', started_at / 1000000000, 'unixepoch') AS INTEGER) AS month, sum(length_ms) AS length_ms \
         FROM calls WHERE deleted_at IS NOT NULL AND file_path IS NOT NULL GROUP BY 1, 2) AS deleted \
         WHERE deleted.tenant_id = recorded.tenant_id AND deleted.month = recorded.month",
    )
    .execute(&mut *new)
    .await?;
    // Whose sidecar was found has files that are still to go.
    sqlx::query(
        "UPDATE deleted_calls AS d SET files_gone_at = NULL, file_path = c.file_path FROM calls c \
         WHERE c.tenant_id = d.tenant_id AND c.id = d.call_id AND c.file_path IS NOT NULL \
         AND (d.file_path IS NOT c.file_path OR d.files_gone_at IS NOT NULL)",
    )
    .execute(new)
    .await
    .map(|_| ())
}

/// Rows of the old table that are like rows of the new one's own (the System tenant) replace them.
async fn copy_table(
    old: &mut SqliteConnection,
    new: &mut SqliteConnection,
    table: &str,
) -> sqlx::Result<()> {
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
        .bind(table)
        .fetch_all(&mut *new)
        .await?;
    // Names of the program's own tables: nothing of them came from outside.
    let quoted: Vec<String> = columns
        .iter()
        .map(|column| format!("\"{column}\""))
        .collect();
    let select = format!("SELECT {} FROM \"{table}\"", quoted.join(", "));
    let insert = format!(
        "INSERT OR REPLACE INTO \"{table}\" ({}) VALUES ({})",
        quoted.join(", "),
        vec!["?"; columns.len()].join(", ")
    );
    let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(old);
    while let Some(row) = rows.try_next().await? {
        let mut into = sqlx::query(AssertSqlSafe(insert.clone()));
        for at in 0..columns.len() {
            let value = row.try_get_raw(at)?;
            into = match value.type_info().name() {
                "INTEGER" | "BOOLEAN" => into.bind(row.try_get_unchecked::<Option<i64>, _>(at)?),
                "REAL" => into.bind(row.try_get_unchecked::<Option<f64>, _>(at)?),
                "TEXT" => into.bind(row.try_get_unchecked::<Option<String>, _>(at)?),
                "BLOB" => into.bind(row.try_get_unchecked::<Option<Vec<u8>>, _>(at)?),
                _ => into.bind(None::<i64>),
            };
        }
        into.execute(&mut *new).await?;
    }
    Ok(())
}

/// A page of calls without a recording, and where it ended.
async fn unrecorded(
    old: &mut SqliteConnection,
    behind: i64,
) -> sqlx::Result<(Vec<CallRecord>, Option<i64>)> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT ");
    sql.push(CALL_AND_TENANT).push(
        " FROM calls c JOIN tenants t ON t.id = c.tenant_id \
         WHERE (c.file_path IS NULL OR c.deleted_at IS NOT NULL) AND c.call_row > ",
    );
    sql.push_bind(behind)
        .push(" ORDER BY c.call_row LIMIT ")
        .push_bind(PAGE);
    let rows = sql.build().fetch_all(old).await?;
    let last = rows.last().map(|row| row.try_get("call_row")).transpose()?;
    let calls = rows.iter().map(call_of).collect::<sqlx::Result<_>>()?;
    Ok((calls, last))
}

impl Files {
    fn take(target: &Path, place: &Place) -> Result<Files> {
        let lock_path = with_suffix(target, ".rebuild.lock");
        let failed = |source| Error::File {
            what: "create",
            path: lock_path.display().to_string(),
            source,
        };
        let busy = || Error::Busy {
            what: "rebuild it",
            place: place.name(),
        };
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy()),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Who held the lock before may have removed the file between our opening and our locking it.
        let same =
            |path: &Path| io::Result::Ok(fs::metadata(path)?.ino() == lock.metadata()?.ino());
        if !same(&lock_path).unwrap_or(false) {
            return Err(busy());
        }
        let files = Files {
            target: target.to_owned(),
            new: with_suffix(target, ".rebuild"),
            lock_path,
            _lock: lock,
        };
        files.remove_new();
        Ok(files)
    }

    async fn put_in_place(&self, keep_damaged: bool) -> Result<()> {
        let (new, target) = (self.new.clone(), self.target.clone());
        let failed = |source| Error::File {
            what: "put the new catalog in the place of",
            path: self.target.display().to_string(),
            source,
        };
        // Syncing a large file takes seconds.
        let moved = tokio::task::spawn_blocking(move || replace(&new, &target, keep_damaged)).await;
        moved.map_err(io::Error::other).flatten().map_err(failed)
    }

    /// What an earlier rebuild or this one left.
    fn remove_new(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            // Mostly there is none.
            let _ = fs::remove_file(with_suffix(&self.new, suffix));
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.remove_new();
        let _ = fs::remove_file(&self.lock_path);
    }
}

fn replace(new: &Path, target: &Path, keep_damaged: bool) -> io::Result<()> {
    if with_suffix(new, "-wal").exists() {
        return Err(io::Error::other("the new catalog could not be closed"));
    }
    take_after(new, target)?;
    File::open(new)?.sync_all()?;
    for suffix in ["-wal", "-shm", "-journal"] {
        let journal = with_suffix(target, suffix);
        match keep_damaged {
            true if journal.exists() => {
                fs::rename(&journal, with_suffix(target, &format!(".damaged{suffix}")))?
            }
            true => {}
            // Of a catalog that is gone: mostly there is none.
            false => drop(fs::remove_file(&journal)),
        }
    }
    if keep_damaged && target.exists() {
        let damaged = with_suffix(target, ".damaged");
        let _ = fs::remove_file(&damaged);
        fs::hard_link(target, &damaged)?;
    }
    fs::rename(new, target)?;
    let folder = target
        .parent()
        .filter(|folder| *folder != Path::new(""))
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Gives the new file the owner and the mode of the old one: a rebuild by root must not lock the daemon out.
fn take_after(new: &Path, target: &Path) -> io::Result<()> {
    let (old, mine) = match fs::metadata(target) {
        Ok(old) => (old, fs::metadata(new)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if (old.uid(), old.gid()) != (mine.uid(), mine.gid()) {
        chown(new, Some(old.uid()), Some(old.gid()))?;
    }
    fs::set_permissions(new, old.permissions())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Added, add, call, category, tenant, unrecorded};
    use super::super::{CallQuery, CallState, Disposition};
    use super::*;
    use crate::access::Scope;

    struct Old {
        folder: tempfile::TempDir,
        place: Place,
    }

    impl Old {
        fn new() -> Old {
            let folder = tempfile::tempdir().unwrap();
            Old {
                place: Place::File(folder.path().join("c.db")),
                folder,
            }
        }

        async fn with(calls: &[CallRecord]) -> Old {
            let old = Old::new();
            let catalog = old.open().await.unwrap();
            catalog.record(calls).await.unwrap();
            catalog.close().await;
            old
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("c.db")
        }

        async fn open(&self) -> Result<Catalog> {
            Catalog::open_at(&self.place, Duration::from_millis(300)).await
        }

        async fn rebuild(&self) -> Result<Rebuild> {
            Rebuild::begin_at(&self.place, Duration::from_millis(300)).await
        }

        async fn calls(&self) -> Vec<CallRecord> {
            let catalog = self.open().await.unwrap();
            let query = CallQuery {
                limit: 1000,
                ..CallQuery::default()
            };
            let calls = catalog.calls(&Scope::root(), &query).await.unwrap().calls;
            catalog.close().await;
            calls
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.folder).unwrap();
            let mut names: Vec<_> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    #[tokio::test]
    async fn a_rebuilt_catalog_has_the_new_recordings_and_the_old_calls_without_one() {
        let lost = unrecorded(1, 2, Disposition::Encrypted);
        let recovered = unrecorded(2, 3, Disposition::DiskError);
        let old = Old::with(&[call(1, 1), lost.clone(), recovered]).await;
        let mut rebuild = old.rebuild().await.unwrap();
        rebuild.record(&[call(2, 3), call(1, 4)]).await.unwrap();
        assert_eq!(
            old.calls().await.len(),
            3,
            "the old one answers until the new one is complete"
        );
        let rebuilt = rebuild.finish().await.unwrap();
        assert_eq!((rebuilt.recorded, rebuilt.kept), (2, 1));
        assert!(rebuilt.unreadable.is_none());
        drop(rebuild);
        assert_eq!(old.calls().await, [call(1, 4), call(2, 3), lost]);
        assert_eq!(old.files(), ["c.db"]);
    }

    /// Every row of every table that is not made of calls, as text.
    async fn administration(catalog: &Catalog) -> Vec<String> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
        )
        .fetch_all(&catalog.readers)
        .await
        .unwrap();
        let mut found = Vec::new();
        for table in tables
            .iter()
            .filter(|table| !MADE_ANEW.contains(&table.as_str()))
        {
            let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
                .bind(table)
                .fetch_all(&catalog.readers)
                .await
                .unwrap();
            let quoted: Vec<String> = columns
                .iter()
                .map(|name| format!("quote(\"{name}\")"))
                .collect();
            let text = format!(
                "SELECT '{table} ' || {} FROM \"{table}\" ORDER BY 1",
                quoted.join(" || ' ' || ")
            );
            let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(text))
                .fetch_all(&catalog.readers)
                .await
                .unwrap();
            found.extend(rows);
        }
        found
    }

    #[tokio::test]
    async fn people_the_audit_and_what_was_added_to_calls_are_taken_over() {
        use crate::access::{Event, Principal};
        let calls = [
            call(0, 1),
            call(0, 2),
            call(0, 3),
            unrecorded(0, 4, Disposition::NoMedia),
        ];
        let old = Old::with(&calls).await;
        let catalog = old.open().await.unwrap();
        let mut added = vec![Added::default(); 4];
        added[0].notes = vec![("Refund promised".into(), true)];
        added[1].is_held = true;
        added[1].categories = vec![category(0)];
        add(&catalog, &calls, &added).await;
        for at in [2, 3] {
            let mut change = catalog.change().await.unwrap();
            let found = change
                .call_to_mark(&Scope::root(), calls[at].id)
                .await
                .unwrap()
                .unwrap();
            change.delete_call(&found, "ann", "asked").await.unwrap();
            change
                .commit(Event::by(&Principal::operator("ops"), "calls.delete"))
                .await
                .unwrap();
        }
        let before = administration(&catalog).await;
        for table in [
            "users ",
            "groups ",
            "audit ",
            "call_notes ",
            "call_holds ",
            "deleted_calls ",
        ] {
            assert!(
                before.iter().any(|row| row.starts_with(table)),
                "{table} is empty: {before:?}"
            );
        }
        catalog.close().await;
        let mut rebuild = old.rebuild().await.unwrap();
        // The sidecar of a deleted call is still there.
        rebuild.record(&calls[..3]).await.unwrap();
        rebuild.finish().await.unwrap();
        let new = old.open().await.unwrap();
        assert_eq!(administration(&new).await, before);
        let ids = async |query: CallQuery| -> Vec<_> {
            let page = new.calls(&Scope::root(), &query).await.unwrap();
            page.calls.iter().map(|call| call.id).collect()
        };
        assert_eq!(ids(CallQuery::default()).await, [calls[1].id, calls[0].id]);
        let deleted = CallQuery {
            state: Some(CallState::Deleted),
            ..CallQuery::default()
        };
        assert_eq!(ids(deleted).await, [calls[3].id, calls[2].id]);
        let refund = CallQuery {
            notes: Some("refund".into()),
            ..CallQuery::default()
        };
        assert_eq!(ids(refund).await, [calls[0].id]);
        assert_eq!(new.check().await.unwrap(), Vec::<String>::new());
        // And nothing brings a deleted one back.
        new.record(&calls).await.unwrap();
        assert_eq!(ids(CallQuery::default()).await.len(), 2);
        new.close().await;
    }

    #[tokio::test]
    async fn files_that_came_after_their_call_was_deleted_are_to_be_removed() {
        use crate::access::{Event, Principal};
        let late = call(0, 1);
        let refused = CallRecord {
            disposition: Disposition::DiskError,
            file: None,
            ..late.clone()
        };
        let old = Old::with(&[refused]).await;
        let catalog = old.open().await.unwrap();
        let mut change = catalog.change().await.unwrap();
        let found = change.call_to_mark(&Scope::root(), late.id).await.unwrap();
        let found = found.unwrap();
        assert!(found.may_be_late);
        change.delete_call(&found, "ann", "asked").await.unwrap();
        let event = Event::by(&Principal::operator("ops"), "calls.delete");
        change.commit(event).await.unwrap();
        assert_eq!(catalog.removals(10).await.unwrap(), []);
        catalog.close().await;
        let mut rebuild = old.rebuild().await.unwrap();
        rebuild.record(std::slice::from_ref(&late)).await.unwrap();
        rebuild.finish().await.unwrap();
        let new = old.open().await.unwrap();
        let removals = new.removals(10).await.unwrap();
        assert_eq!(removals.len(), 1);
        assert_eq!(removals[0].file_path, late.file.unwrap().path);
        let page = new.calls(&Scope::root(), &CallQuery::default()).await;
        assert!(page.unwrap().calls.is_empty());
        new.close().await;
    }

    #[tokio::test]
    async fn the_new_file_keeps_the_mode_of_the_old() {
        use std::os::unix::fs::PermissionsExt;
        let old = Old::with(&[]).await;
        fs::set_permissions(old.path(), fs::Permissions::from_mode(0o600)).unwrap();
        old.rebuild().await.unwrap().finish().await.unwrap();
        let mode = fs::metadata(old.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn more_old_calls_than_a_page_are_all_kept() {
        let calls: Vec<_> = (0..2 * PAGE as u64 + 5)
            .map(|at| unrecorded(1, at, Disposition::NoMedia))
            .collect();
        let old = Old::with(&calls).await;
        let mut rebuild = old.rebuild().await.unwrap();
        assert_eq!(rebuild.finish().await.unwrap().kept, calls.len() as u64);
        let counts = old
            .open()
            .await
            .unwrap()
            .dispositions(&Scope::tenant(tenant(1)), None, None)
            .await
            .unwrap();
        assert_eq!(counts, [(Disposition::NoMedia, calls.len() as u64)]);
    }

    #[tokio::test]
    async fn without_an_old_catalog_the_new_one_is_simply_there() {
        let old = Old::new();
        fs::write(with_suffix(&old.path(), "-wal"), "of a catalog long gone").unwrap();
        let mut rebuild = old.rebuild().await.unwrap();
        rebuild.record(&[call(1, 1)]).await.unwrap();
        rebuild.finish().await.unwrap();
        drop(rebuild);
        assert_eq!(old.calls().await, [call(1, 1)]);
        assert_eq!(old.files(), ["c.db"]);
    }

    #[tokio::test]
    async fn a_damaged_catalog_is_replaced_and_set_aside() {
        let old = Old::new();
        fs::write(old.path(), "no database at all ".repeat(500)).unwrap();
        let mut rebuild = old.rebuild().await.unwrap();
        rebuild.record(&[call(1, 1)]).await.unwrap();
        let rebuilt = rebuild.finish().await.unwrap();
        assert!(matches!(rebuilt.unreadable, Some(Error::Damaged { .. })));
        drop(rebuild);
        assert_eq!(old.calls().await, [call(1, 1)]);
        assert_eq!(old.files(), ["c.db", "c.db.damaged"]);
    }

    #[tokio::test]
    async fn a_catalog_broken_in_the_middle_gives_what_it_can() {
        let calls: Vec<_> = (0..3000)
            .map(|at| unrecorded(1, at, Disposition::NoMedia))
            .collect();
        let old = Old::with(&calls).await;
        let mut bytes = fs::read(old.path()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].fill(0xa5);
        fs::write(old.path(), bytes).unwrap();
        let mut rebuild = old.rebuild().await.unwrap();
        rebuild.record(&[call(2, 1)]).await.unwrap();
        let rebuilt = rebuild.finish().await.unwrap();
        assert!(
            matches!(rebuilt.unreadable, Some(Error::Damaged { .. })),
            "{:?}",
            rebuilt.unreadable
        );
        drop(rebuild);
        assert_eq!(old.files(), ["c.db", "c.db.damaged"]);
        let found = old.open().await.unwrap();
        assert_eq!(
            found.call(&Scope::root(), call(2, 1).id).await.unwrap(),
            [call(2, 1)]
        );
        assert_eq!(found.check().await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_catalog_in_use_is_not_replaced_under_its_users() {
        let old = Old::with(&[unrecorded(1, 1, Disposition::NoMedia)]).await;
        let mut rebuild = old.rebuild().await.unwrap();
        let user = old.open().await.unwrap();
        let error = rebuild.finish().await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        user.record(&[unrecorded(1, 2, Disposition::NoMedia)])
            .await
            .unwrap();
        user.close().await;
        assert_eq!(rebuild.finish().await.unwrap().kept, 2);
        assert_eq!(old.calls().await.len(), 2);
    }

    #[tokio::test]
    async fn one_rebuild_at_a_time_and_a_dropped_one_leaves_nothing() {
        let old = Old::with(&[call(1, 1)]).await;
        let rebuild = old.rebuild().await.unwrap();
        assert!(matches!(
            old.rebuild().await.unwrap_err(),
            Error::Busy { .. }
        ));
        drop(rebuild);
        assert_eq!(old.calls().await, [call(1, 1)]);
        assert_eq!(old.files(), ["c.db"]);
        fs::write(
            with_suffix(&old.path(), ".rebuild"),
            "of one that was killed",
        )
        .unwrap();
        old.rebuild().await.unwrap().finish().await.unwrap();
        assert_eq!(old.calls().await, []);
    }

    #[tokio::test]
    async fn nobody_elses_database_is_replaced() {
        let old = Old::with(&[]).await;
        let catalog = old.open().await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations VALUES (900, 'of tomorrow', '2030-01-01', TRUE, x'00', 0)",
        )
        .execute(&catalog.writer)
        .await
        .unwrap();
        catalog.close().await;
        assert!(matches!(
            old.rebuild().await.unwrap_err(),
            Error::Newer { .. }
        ));
        assert!(matches!(
            Rebuild::begin("sqlite::memory:").await.unwrap_err(),
            Error::Open { .. }
        ));
    }
}
