//! A catalog's place and its connections.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, SqliteConnection};

use super::home::OpenedFile;
use super::{Error, Result};

/// How long a locked catalog is waited for.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for questions. SQLite answers each on a thread of its own.
const READERS: u32 = 4;

/// The tables, oldest first: version, name, text.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "calls", include_str!("sqlite/0001_calls.sql")),
    (2, "quality", include_str!("sqlite/0002_quality.sql")),
    (
        3,
        "interactions",
        include_str!("sqlite/0003_interactions.sql"),
    ),
    (4, "control", include_str!("sqlite/0004_control.sql")),
    (5, "people", include_str!("sqlite/0005_people.sql")),
    (6, "sign_in", include_str!("sqlite/0006_sign_in.sql")),
    (7, "tenancy", include_str!("sqlite/0007_tenancy.sql")),
    (8, "call notes", include_str!("sqlite/0008_calls.sql")),
    (9, "delivery", include_str!("sqlite/0009_delivery.sql")),
    (10, "front", include_str!("sqlite/0010_front.sql")),
    (11, "identity", include_str!("sqlite/0011_identity.sql")),
    (12, "sealed", include_str!("sqlite/0012_sealed.sql")),
    (13, "note words", include_str!("sqlite/0013_note_words.sql")),
    (14, "retention", include_str!("sqlite/0014_retention.sql")),
    (15, "makers", include_str!("sqlite/0015_makers.sql")),
    (
        16,
        "used minutes",
        include_str!("sqlite/0016_used_minutes.sql"),
    ),
];

/// What was recorded. Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// For messages.
    pub(super) place: Arc<str>,
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    /// The file that was opened.
    file: Arc<OpenedFile>,
}

/// Where a catalog lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Memory,
}

impl Catalog {
    /// Opens the catalog at `url`, creates the file when it is missing, and brings its tables up to date.
    ///
    /// `sqlite:///var/lib/callreel/catalog.db` is a file by its absolute path, `sqlite://catalog.db` by one relative to
    /// the working directory, `sqlite::memory:` a catalog that ends with its last clone.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] when the folder is missing, the file cannot be opened or holds another program's tables;
    /// [`Error::Damaged`] when it is no SQLite database or a broken one; [`Error::Newer`] when a later version wrote it;
    /// [`Error::Busy`] when it stays locked for five seconds.
    pub async fn open(url: &str) -> Result<Catalog> {
        Catalog::open_at(&Place::parse(url)?, BUSY_TIMEOUT).await
    }

    /// What is written to a file that was taken away, or that another one has the name of now, is nowhere: SQLite does not
    /// notice.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] when the file is not the one that was opened.
    pub fn check_place(&self) -> Result<()> {
        match self.file.look() {
            None => Ok(()),
            Some(_) => Err(Error::Gone {
                place: self.place.clone(),
            }),
        }
    }

    pub(super) async fn open_at(place: &Place, busy_timeout: Duration) -> Result<Catalog> {
        Catalog::open_file(place, busy_timeout, Arc::new(OpenedFile::at(place))).await
    }

    /// The same, as long as the file is the one that is known.
    pub(super) async fn open_file(
        place: &Place,
        busy_timeout: Duration,
        file: Arc<OpenedFile>,
    ) -> Result<Catalog> {
        place.check_folder()?;
        let since = Instant::now();
        loop {
            match Catalog::try_open(place, busy_timeout, &file).await {
                // Two programs that create a catalog at the same time fall over each other's tables once: SQLite does
                // not wait for the lock when a journal mode changes. The second look finds the work done.
                Err(Error::Busy { .. } | Error::Migrate { .. })
                    if since.elapsed() < busy_timeout / 2 =>
                {
                    tokio::time::sleep(busy_timeout / 20).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_open(
        place: &Place,
        busy_timeout: Duration,
        file: &Arc<OpenedFile>,
    ) -> Result<Catalog> {
        let name = place.name();
        let writer = connect_writer(place, busy_timeout, SqliteSynchronous::Normal, file)
            .await
            .map_err(|error| opening_error(&name, error))?;
        migrate(&writer, &name).await?;
        let readers = match place {
            Place::File(_) => connect_readers(place, busy_timeout, file),
            // A second connection would have a database of its own.
            Place::Memory => writer.clone(),
        };
        Ok(Catalog {
            place: name,
            writer,
            readers,
            file: file.clone(),
        })
    }

    /// For building a catalog that nobody else sees: a power cut may break the file until it is synced.
    pub(super) async fn create_unsynced(place: &Place) -> Result<Catalog> {
        place.check_folder()?;
        let name = place.name();
        // It gets another name later.
        let file = Arc::new(OpenedFile::default());
        let writer = connect_writer(place, BUSY_TIMEOUT, SqliteSynchronous::Off, &file)
            .await
            .map_err(|error| opening_error(&name, error))?;
        migrate(&writer, &name).await?;
        Ok(Catalog {
            place: name,
            readers: writer.clone(),
            writer,
            file,
        })
    }

    /// Finishes what was started and closes the file, for every clone of this catalog.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Reads the whole file and names what is broken in it; empty when it is sound. Takes seconds for a gigabyte.
    pub async fn check(&self) -> Result<Vec<String>> {
        let failed = |error| Error::from_sqlx("check its pages", &self.place, error);
        let lines: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(100)")
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Place> {
        let wrong = |why: &str| Error::Open {
            place: url.into(),
            why: why.to_owned(),
        };
        if !url.starts_with("sqlite:") {
            return Err(wrong(
                "its address has to start with \"sqlite://\", like \"sqlite:///var/lib/callreel/catalog.db\"; \
                 other databases are not part of this build",
            ));
        }
        if url.contains('?') {
            return Err(wrong(
                "settings behind a \"?\" are not understood (write %3F for the character)",
            ));
        }
        let options =
            SqliteConnectOptions::from_str(url).map_err(|error| wrong(&error.to_string()))?;
        match url {
            "sqlite::memory:" | "sqlite://:memory:" => Ok(Place::Memory),
            "sqlite:" | "sqlite://" => Err(wrong("its address names no file")),
            _ => Ok(Place::File(options.get_filename().to_path_buf())),
        }
    }

    pub(super) fn name(&self) -> Arc<str> {
        match self {
            Place::File(path) => path.to_string_lossy().into(),
            Place::Memory => "in memory".into(),
        }
    }

    /// SQLite says "unable to open database file" for all of these.
    fn check_folder(&self) -> Result<()> {
        let Place::File(path) = self else {
            return Ok(());
        };
        let wrong = |why: String| {
            Err(Error::Open {
                place: self.name(),
                why,
            })
        };
        if path.is_dir() {
            return wrong("it is a folder, not a file".to_owned());
        }
        match path.parent() {
            Some(folder) if folder != Path::new("") && !folder.is_dir() => {
                wrong(format!("its folder {} does not exist", folder.display()))
            }
            _ => Ok(()),
        }
    }
}

fn connect_options(place: &Place, busy_timeout: Duration) -> SqliteConnectOptions {
    let options = match place {
        Place::File(path) => SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true),
        Place::Memory => SqliteConnectOptions::new(),
    };
    // Statements are not logged: only their number would be news, and every log line is a place to leak.
    options
        .busy_timeout(busy_timeout)
        .foreign_keys(true)
        .disable_statement_logging()
}

async fn connect_writer(
    place: &Place,
    busy_timeout: Duration,
    synchronous: SqliteSynchronous,
    file: &Arc<OpenedFile>,
) -> sqlx::Result<SqlitePool> {
    let options = connect_options(place, busy_timeout)
        .create_if_missing(!file.is_known())
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode a power cut can take the last transactions and break nothing; the sidecars have them.
        .synchronous(synchronous)
        // Pages, 32 MiB: moving the journal into the file costs as much for few calls as for many.
        .pragma("wal_autocheckpoint", "8000")
        // Bytes: what a long reader made the journal grow to is given back.
        .pragma("journal_size_limit", "67108864")
        // KiB. The indexes of numbers are written all over; a page that is still here is not read again.
        .pragma("cache_size", "-32768");
    let again = options.clone().create_if_missing(false);
    let writer = pool(1, busy_timeout, file).connect_with(options).await?;
    // Where this connection has to be made anew, the file is not.
    writer.set_connect_options(again);
    Ok(writer)
}

fn connect_readers(place: &Place, busy_timeout: Duration, file: &Arc<OpenedFile>) -> SqlitePool {
    let options = connect_options(place, busy_timeout)
        .create_if_missing(false)
        .pragma("query_only", "ON")
        // KiB for each: the upper pages of the indexes of ten million calls stay.
        .pragma("cache_size", "-16384");
    pool(READERS, busy_timeout, file).connect_lazy_with(options)
}

fn pool(connections: u32, busy_timeout: Duration, file: &Arc<OpenedFile>) -> SqlitePoolOptions {
    let file = file.clone();
    SqlitePoolOptions::new()
        .after_connect(move |_, _| {
            let away = file.look();
            Box::pin(async move {
                match away {
                    None => Ok(()),
                    Some(_) => Err(sqlx::Error::Configuration(
                        "another file is at its place".into(),
                    )),
                }
            })
        })
        .max_connections(connections)
        .acquire_timeout(busy_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_free(connection)))
        // A catalog in memory lives as long as its connection.
        .idle_timeout(None)
        .max_lifetime(None)
}

/// Whether no transaction was left open. SQLite gives one up by itself where a commit finds the disk full, and what counts
/// transactions does not hear of it: such a connection would refuse every further one.
async fn is_free(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    if connection.is_in_transaction() {
        // Who dropped one has asked for its end, which comes before the answer to this.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

fn opening_error(place: &Arc<str>, error: sqlx::Error) -> Error {
    match Error::from_sqlx("open it", place, error) {
        Error::Query { source, .. } => {
            let why = format!("{source}; may this user write to the file and to its folder?");
            Error::Open {
                place: place.clone(),
                why,
            }
        }
        other => other,
    }
}

async fn migrate(writer: &SqlitePool, place: &Arc<str>) -> Result<()> {
    refuse_foreign(writer, place).await?;
    let known = MIGRATIONS
        .iter()
        .map(|(version, ..)| *version)
        .max()
        .unwrap_or(0);
    migrator(MIGRATIONS)
        .run(writer)
        .await
        .map_err(|error| Error::from_migration(place, known, error))
}

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = migrations.iter().map(|&(version, name, sql)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

/// Tables of another program's database are not mixed with ours.
async fn refuse_foreign(writer: &SqlitePool, place: &Arc<str>) -> Result<()> {
    let (tables, ours): (i64, bool) = sqlx::query_as(
        "SELECT count(*), coalesce(max(name = '_sqlx_migrations'), 0) FROM sqlite_schema WHERE type = 'table'",
    )
    .fetch_one(writer)
    .await
    .map_err(|error| opening_error(place, error))?;
    match tables > 0 && !ours {
        true => Err(Error::Open {
            place: place.clone(),
            why: "it is the database of another program".to_owned(),
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::*;
    use super::super::{CallQuery, Error};
    use super::*;
    use crate::access::Scope;

    fn url(path: &Path) -> String {
        format!("sqlite://{}", path.display())
    }

    async fn count(catalog: &Catalog) -> usize {
        let query = CallQuery {
            limit: 1000,
            ..CallQuery::default()
        };
        catalog
            .calls(&Scope::root(), &query)
            .await
            .unwrap()
            .calls
            .len()
    }

    #[tokio::test]
    async fn a_new_catalog_is_made_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let url = url(&folder.path().join("catalog of calls.db"));
        let catalog = Catalog::open(&url).await.unwrap();
        catalog.record(&[call(1, 1)]).await.unwrap();
        let beside = Catalog::open(&url).await.unwrap();
        assert_eq!(count(&beside).await, 1);
        catalog.close().await;
        beside.close().await;
        let files: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(files, ["catalog of calls.db"]);
        let again = Catalog::open(&url).await.unwrap();
        assert_eq!(
            again.call(&Scope::root(), call(1, 1).id).await.unwrap(),
            [call(1, 1)]
        );
        assert_eq!(again.check().await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn connections_are_set_up_as_meant() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&url(&folder.path().join("c.db")))
            .await
            .unwrap();
        let ask = async |pool: &SqlitePool, pragma: &'static str| -> String {
            let sql = sqlx::AssertSqlSafe(format!(
                "SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}"
            ));
            sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
        };
        assert_eq!(ask(&catalog.writer, "journal_mode").await, "wal");
        assert_eq!(ask(&catalog.writer, "synchronous").await, "1");
        assert_eq!(ask(&catalog.writer, "foreign_keys").await, "1");
        assert_eq!(ask(&catalog.readers, "query_only").await, "1");
    }

    #[tokio::test]
    async fn what_cannot_be_opened_is_said_plainly() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none/catalog.db");
        for (url, why) in [
            (
                url(&missing),
                format!(
                    "its folder {} does not exist",
                    folder.path().join("none").display()
                ),
            ),
            (url(folder.path()), "it is a folder, not a file".to_owned()),
            (
                "postgres://host/db".to_owned(),
                "has to start with \"sqlite://\"".to_owned(),
            ),
            ("sqlite://".to_owned(), "names no file".to_owned()),
            (
                "sqlite:///x.db?mode=ro".to_owned(),
                "settings behind".to_owned(),
            ),
        ] {
            let error = Catalog::open(&url).await.unwrap_err();
            assert!(
                matches!(error, Error::Open { .. }) && error.to_string().contains(&why),
                "{error}"
            );
        }
        assert!(!missing.exists());
    }

    #[tokio::test]
    async fn the_database_of_another_program_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        let other = connect_writer(
            &Place::File(path.clone()),
            BUSY_TIMEOUT,
            SqliteSynchronous::Normal,
            &Arc::default(),
        )
        .await
        .unwrap();
        sqlx::query("CREATE TABLE bookmarks (url TEXT)")
            .execute(&other)
            .await
            .unwrap();
        let error = Catalog::open(&url(&path)).await.unwrap_err();
        assert!(error.to_string().contains("another program"), "{error}");
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
            .fetch_one(&other)
            .await
            .unwrap();
        assert_eq!(tables, 1);
    }

    #[tokio::test]
    async fn words_of_notes_of_an_earlier_version_are_found_by_their_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.db");
        let place = Place::File(path.clone());
        let file = Arc::default();
        let old = connect_writer(&place, BUSY_TIMEOUT, SqliteSynchronous::Normal, &file);
        let old = old.await.unwrap();
        let earlier: Vec<_> = (MIGRATIONS.iter().copied())
            .filter(|(version, ..)| *version < 13)
            .collect();
        migrator(&earlier).run(&old).await.unwrap();
        let calls = [call(1, 1), call(1, 2), call(2, 3), call(2, 4)];
        let texts = ["Refund of été", "edited", "refund refund", "..."];
        for (call, text) in calls.iter().zip(texts) {
            sqlx::query(
                "INSERT INTO call_notes (id, tenant_id, call_id, started_at, author_name, text, pinned, created_at, version) \
                 VALUES (randomblob(16), ?, ?, ?, '', ?, 0, 0, 1)",
            )
            .bind(call.tenant.0)
            .bind(call.id)
            .bind(call.started_at.as_nanos())
            .bind(text)
            .execute(&old)
            .await
            .unwrap();
        }
        sqlx::query("UPDATE call_notes SET text = 'a summer' WHERE text = 'edited'")
            .execute(&old)
            .await
            .unwrap();
        old.close().await;
        let catalog = Catalog::open(&url(&path)).await.unwrap();
        catalog.record(&calls).await.unwrap();
        let found = async |owner: u128, words: &str| -> Vec<_> {
            let query = CallQuery {
                notes: Some(words.to_owned()),
                ..CallQuery::default()
            };
            let scope = Scope::tenant(tenant(owner));
            let page = catalog.calls(&scope, &query).await.unwrap();
            page.calls.iter().map(|call| call.id).collect()
        };
        assert_eq!(found(1, "REFUND ete").await, [calls[0].id]);
        assert_eq!(found(2, "refund").await, [calls[2].id]);
        assert_eq!(found(1, "summer").await, [calls[1].id]);
        assert!(found(1, "edited").await.is_empty());
        assert_eq!(catalog.check().await.unwrap(), Vec::<String>::new());
        for (change, has) in [
            ("UPDATE call_notes SET text = 'cat'", 2),
            ("DELETE FROM call_notes", 0),
        ] {
            let done = sqlx::query(change).execute(&catalog.writer).await;
            assert_eq!(done.unwrap().rows_affected(), 4);
            assert_eq!(found(2, "cat").await.len(), has);
            assert!(found(2, "refund").await.is_empty());
        }
    }

    #[tokio::test]
    async fn a_catalog_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let url = url(&folder.path().join("c.db"));
        let catalog = Catalog::open(&url).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations VALUES (900, 'of tomorrow', '2030-01-01', TRUE, x'00', 0)",
        )
        .execute(&catalog.writer)
        .await
        .unwrap();
        catalog.close().await;
        let error = Catalog::open(&url).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Newer { found: 900, known, .. } if Some(known) == MIGRATIONS.last().map(|m| m.0)
            ),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.db");
        fs::write(&path, "Dear diary, ".repeat(1000)).unwrap();
        let error = Catalog::open(&url(&path)).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("rebuild"));
    }

    #[tokio::test]
    async fn a_locked_catalog_is_an_error_after_the_timeout() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::File(folder.path().join("c.db"));
        let timeout = Duration::from_millis(300);
        let catalog = Catalog::open_at(&place, timeout).await.unwrap();
        let other = Catalog::open_at(&place, timeout).await.unwrap();
        let lock = other.writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let since = Instant::now();
        let error = catalog.record(&[call(1, 1)]).await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        assert!(
            since.elapsed() >= timeout && since.elapsed() < 10 * timeout,
            "{:?}",
            since.elapsed()
        );
        assert_eq!(count(&catalog).await, 0);
        drop(lock);
        catalog.record(&[call(1, 1)]).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn several_that_create_it_at_once_all_succeed() {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let url = url(&folder.path().join("c.db"));
            let tasks: Vec<_> = (0..4)
                .map(|number| {
                    let url = url.clone();
                    tokio::spawn(async move {
                        let catalog = Catalog::open(&url).await?;
                        catalog.record(&[call(1, number)]).await?;
                        Ok::<_, Error>(catalog)
                    })
                })
                .collect();
            let mut last = None;
            for task in tasks {
                last = Some(task.await.unwrap().unwrap());
            }
            assert_eq!(count(&last.unwrap()).await, 4);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn readers_see_whole_batches_while_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&url(&folder.path().join("c.db")))
            .await
            .unwrap();
        let writer = catalog.clone();
        let writing = tokio::spawn(async move {
            for batch in 0..20u64 {
                let calls: Vec<_> = (0..10).map(|number| call(1, batch * 10 + number)).collect();
                writer.record(&calls).await.unwrap();
            }
        });
        let mut seen = 0;
        while seen < 200 {
            let query = CallQuery {
                limit: 1000,
                ..CallQuery::default()
            };
            let calls = catalog.calls(&Scope::root(), &query).await.unwrap().calls;
            assert!(
                calls.len() % 10 == 0 && calls.len() >= seen,
                "{} after {seen}",
                calls.len()
            );
            assert!(calls.iter().all(|call| call.participants.len() == 2));
            seen = calls.len();
        }
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_gave_up_by_itself_keeps_nobody_from_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url).await.unwrap();
        let mut begun = catalog.writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        // What SQLite does when a commit finds the disk full.
        sqlx::query("ROLLBACK").execute(&mut *begun).await.unwrap();
        assert!(begun.commit().await.is_err());
        for _ in 0..2 {
            drop(catalog.change().await.unwrap());
        }
    }
}
