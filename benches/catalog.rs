//! How long a tenant's searches take in a catalog of 1,000 tenants and 10 million calls.
//!
//! `cargo bench --bench catalog [-- CALLS] [--keep]`; the catalog, about 9 GB, is made below the temporary folder within
//! minutes, and removed at the end. With `--keep` it stays, and one that was kept is asked again. Tenants are of very different sizes: the largest has a tenth of all calls, half of them fewer than
//! 3,000. Every question goes through the same functions as the API's, each time of another tenant, time and number. At the end, of a
//! catalog that is not kept, the oldest calls of large tenants go as they do when their plan keeps them no longer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callreel::access::{
    AccessLevel, Actor, Event, Operation, Permissions, Principal, Resource, Role, Scope,
};
use callreel::base::{GroupId, RoleId, TenantId, Timestamp, UserId};
use callreel::catalog::{CallQuery, Catalog, Disposition, Expiring, NumberFilter, Sort};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use uuid::Uuid;

const TENANTS: u64 = 1000;
/// Calls written by one statement.
const STEP: u64 = 500_000;
const BEGIN: i64 = 1_700_000_000_000_000_000;
/// Between two calls of the whole installation.
const EVERY: i64 = 3_000_000_000;
const TRIES: usize = 300;
/// What a search by time and number may take, in 99 of 100 cases.
const BOUND: Duration = Duration::from_millis(20);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let calls = std::env::args().filter_map(|arg| arg.parse().ok()).next();
    let calls: u64 = calls.unwrap_or(10_000_000);
    let keeps = std::env::args().any(|arg| arg == "--keep");
    let folder = std::env::temp_dir().join("callreel-measure-catalog");
    let path = folder.join("catalog.db");
    if !keeps || !path.exists() {
        _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        let being_made = folder.join("unfinished.db");
        let since = Instant::now();
        make(&being_made, calls).await?;
        std::fs::rename(&being_made, &path)?;
        println!(
            "{calls} calls of {TENANTS} tenants made in {:.0} s",
            since.elapsed().as_secs_f64()
        );
    }
    let done = measure(&path, calls, keeps).await;
    if !keeps {
        std::fs::remove_dir_all(&folder)?;
    }
    done
}

async fn measure(path: &PathBuf, calls: u64, keeps: bool) -> Outcome<()> {
    let gigabytes = std::fs::metadata(path)?.len() as f64 / 1e9;
    println!("{gigabytes:.1} GB; each question {TRIES} times");
    let catalog = Catalog::open(&url(path)).await?;
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>6}",
        "", "p50", "p99", "worst", "calls"
    );
    let mut asking = Asking {
        catalog,
        random: 1,
        calls,
        is_slow: false,
    };
    asking.all().await?;
    if !keeps {
        expire(&asking.catalog).await?;
    }
    asking.catalog.close().await;
    match asking.is_slow {
        true => Err(format!("a search by time, number or words took more than {BOUND:?}").into()),
        false => Ok(()),
    }
}

/// Batches of each size.
const BATCHES: usize = 60;

/// How long a batch of calls keeps others from writing, from the lock to its commit, and how many go in a second.
async fn expire(catalog: &Catalog) -> Outcome<()> {
    let late = Timestamp::MAX;
    for (number, size) in [(1, 50), (2, 100), (3, 250), (4, 500)] {
        let tenant = tenant(number);
        let (mut held, mut gone) = (Vec::new(), 0);
        let since = Instant::now();
        for _ in 0..BATCHES {
            let due = catalog.due_calls(tenant, late, None, size).await?;
            if due.is_empty() {
                break;
            }
            let told = catalog.told_of(tenant, &due).await?;
            let going = due.iter().map(|call| Expiring {
                row: call.row,
                id: call.id,
                file_path: call.file_path.clone(),
            });
            let going: Vec<_> = going.collect();
            let mut change = catalog.change().await?;
            let locked = Instant::now();
            let removed = change.expire(tenant, late, &going, &told).await?;
            gone += removed.len();
            let ids: Vec<_> = removed.iter().map(|call| call.id).collect();
            let event = Event::by_system(tenant, "retention", "calls.expire");
            let event = event.change(Some(serde_json::json!({ "ids": ids })), None);
            change.commit(event).await?;
            held.push(locked.elapsed());
            catalog.expired_files_gone(tenant, &ids).await?;
        }
        let took = since.elapsed().as_secs_f64();
        held.sort_unstable();
        let at = |share: usize| held[(held.len() - 1) * share / 100].as_secs_f64() * 1e3;
        println!(
            "{:<44} {:>6.1} ms {:>6.1} ms {:>6.1} ms {:>6.0} calls/s",
            format!("calls that go, {size} at a time"),
            at(50),
            at(99),
            at(100),
            gone as f64 / took
        );
    }
    Ok(())
}

fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

fn tenant(number: u64) -> TenantId {
    TenantId(Uuid::from_u128(0xacc0 << 64 | u128::from(number)))
}

/// Users of a tenant, in groups of twenty.
fn users(tenant: u64) -> u64 {
    (20_000.0 / (tenant as f64).powf(0.8)).max(20.0) as u64
}

fn group(tenant: u64, number: u64) -> GroupId {
    GroupId(Uuid::from_u128(
        u128::from(tenant) << 32 | u128::from(number) | 7 << 100,
    ))
}

async fn make(path: &Path, calls: u64) -> Outcome<()> {
    Catalog::open(&url(path)).await?.close().await;
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .disable_statement_logging()
        .connect()
        .await?;
    for pragma in [
        "journal_mode = OFF",
        "synchronous = OFF",
        "cache_size = -1500000",
        "threads = 2",
        "foreign_keys = OFF",
    ] {
        execute(&mut connection, &format!("PRAGMA {pragma}")).await?;
    }
    // An index made at the end is sorted once; one that is there is written in ten million places.
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('calls', 'participants')",
    )
    .fetch_all(&mut connection)
    .await?;
    for (name, _) in &indexes {
        execute(&mut connection, &format!("DROP INDEX {name}")).await?;
    }
    execute(&mut connection, "BEGIN").await?;
    people(&mut connection).await?;
    for from in (1..=calls).step_by(STEP as usize) {
        let to = (from + STEP - 1).min(calls);
        execute(&mut connection, &calls_sql(from, to)).await?;
    }
    execute(&mut connection, PARTICIPANTS).await?;
    execute(&mut connection, NOTES).await?;
    execute(&mut connection, "COMMIT").await?;
    for (_, sql) in &indexes {
        execute(&mut connection, sql).await?;
    }
    execute(&mut connection, "PRAGMA journal_mode = WAL").await?;
    sqlx::Connection::close(connection).await?;
    Ok(())
}

async fn execute(connection: &mut SqliteConnection, sql: &str) -> sqlx::Result<()> {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
}

async fn people(connection: &mut SqliteConnection) -> Outcome<()> {
    execute(
        connection,
        "CREATE TEMP TABLE sizes (number INTEGER PRIMARY KEY, id BLOB, users INTEGER)",
    )
    .await?;
    for number in 1..=TENANTS {
        let id = tenant(number).0;
        sqlx::query("INSERT INTO tenants VALUES (?, ?, 0, 0)")
            .bind(id)
            .bind(format!("Tenant {number}"))
            .execute(&mut *connection)
            .await?;
        sqlx::query("INSERT INTO registered_tenants (id, name, slug, created_at, changed_at) VALUES (?, ?, ?, 0, 0)")
            .bind(id)
            .bind(format!("Tenant {number}"))
            .bind(format!("tenant-{number}"))
            .execute(&mut *connection)
            .await?;
        sqlx::query("INSERT INTO sizes VALUES (?, ?, ?)")
            .bind(number as i64)
            .bind(id)
            .bind(users(number) as i64)
            .execute(&mut *connection)
            .await?;
        for user in 0..users(number) {
            let place = group(number, user / 20).0;
            sqlx::query("INSERT INTO users (id, tenant_id, login, name, group_id, role_id, confidential, created_at, changed_at) VALUES (?, ?, ?, '', ?, ?, ?, 0, 0)")
                .bind(Uuid::from_u128(u128::from(number) << 64 | u128::from(user)))
                .bind(id)
                .bind(format!("user{user}"))
                .bind(place)
                .bind(Uuid::nil())
                .bind(user % 500 == 7)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// Calls by numbers that repeat only after a million: a tenth of a tenant's calls go to its main number, the others to its
/// users; callers are of a million people.
fn calls_sql(from: u64, to: u64) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to}), \
         h (i, x, y, z, w) AS (SELECT i, i * 2654435761 % 1000003, (i * 319867257 + 12345) % 1000033, (i * 69069 + i / 7) % 999983, \
           i * 16807 % 1299709 FROM n), \
         r (i, y, z, w, t, u) AS (SELECT h.i, y, z, w, s.id, CASE WHEN y % 10 = 0 THEN -1 ELSE y % s.users END \
           FROM h JOIN sizes s ON s.number = 1 + CAST({TENANTS} * (x / 1000003.0) * (x / 1000003.0) * (x / 1000003.0) AS INTEGER)) \
         INSERT INTO calls (call_row, tenant_id, id, sip_call_id, sensor, vantage, started_at, answered_at, ended_at, end_reason, \
           disposition, caller_number, caller_normalised, caller_display, callee_number, callee_normalised, callee_display, codec, \
           length_ms, packets_lost, packets_expected, file_path, size_bytes, file_format, sample_rate_hz, attribution, mos, jitter_ms, \
           direction) \
         SELECT i, t, CAST(printf('%016d', i) AS BLOB), printf('%016x%x@10.0.0.1', i * 7919, z), 'lon1', 'span0 vlan 12.7', \
           {BEGIN} + i * {EVERY} + z, {BEGIN} + i * {EVERY} + 5000000000, {BEGIN} + i * {EVERY} + 60000000000, 'bye', \
           CASE WHEN z % 10 < 7 THEN 'recorded' WHEN z % 10 = 7 THEN 'not_answered' WHEN z % 100 = 8 THEN 'encrypted' ELSE 'no_media' END, \
           '+4420' || (70000000 + w), '', 'Somebody', '' || (1000 + u), '' || (1000 + u), 'Alice', 'PCMA/8000', \
           CASE WHEN z % 10 < 7 THEN 1000 + w % 600000 ELSE 0 END, z % 5, 6000, \
           CASE WHEN z % 10 < 7 THEN '34c7f1f6-9201-11e5-a739-e03f497dbdff/2026/11/14/01a201bc-7e37-7c7e-a07b-ab54c33e5cce.wav' END, \
           CASE WHEN z % 10 < 7 THEN 960044 END, CASE WHEN z % 10 < 7 THEN 'pcm16' END, CASE WHEN z % 10 < 7 THEN 8000 END, \
           '{{\"verdict\":\"owned\",\"considered\":[{{\"rule\":\"acme.toml:3\",\"near\":true}}]}}', \
           CASE WHEN z % 10 < 7 THEN 1.5 + w % 300 / 100.0 END, 2.1, 'inbound' FROM r"
    )
}

const PARTICIPANTS: &str = "INSERT INTO participants (call_row, ordinal, tenant_id, started_at, side, user_name, extension, number, display) \
     SELECT call_row, 0, tenant_id, started_at, 'callee', \
       CASE WHEN callee_number <> '999' THEN 'user' || (CAST(callee_number AS INTEGER) - 1000) END, callee_number, callee_number, 'Alice' \
     FROM calls";

/// A note on each fiftieth call.
const NOTES: &str = "INSERT INTO call_notes (id, tenant_id, call_id, started_at, author_name, text, pinned, created_at, version) \
     SELECT randomblob(16), tenant_id, id, started_at, 'ann', \
       'Customer asked for a ' || CASE call_row % 7 WHEN 0 THEN 'refund' WHEN 1 THEN 'replacement' ELSE 'call back' END || \
       ' of order ' || (call_row % 100003), 0, started_at, 1 FROM calls WHERE call_row % 50 = 0";

struct Asking {
    catalog: Catalog,
    random: u64,
    calls: u64,
    is_slow: bool,
}

impl Asking {
    async fn all(&mut self) -> Outcome<()> {
        let number = |number: String| Some(NumberFilter::Exact(number));
        self.ask("by time, first page", true, |asking, query| {
            query.to = Some(asking.time())
        })
        .await?;
        self.ask("by number", true, move |asking, query| {
            query.number = number(asking.user_number())
        })
        .await?;
        self.ask("by number and time", true, move |asking, query| {
            query.number = number(asking.user_number());
            query.from = Some(asking.time());
        })
        .await?;
        self.ask(
            "by a caller's number, few calls",
            true,
            move |asking, query| {
                let caller = 70_000_000 + asking.below(1_000_000);
                query.number = number(format!("+4420{caller}"));
            },
        )
        .await?;
        self.ask("by the beginning of a number", true, |asking, query| {
            let begin = format!("+442070{:02}", asking.below(100));
            query.number = Some(NumberFilter::Prefix(begin));
            query.to = Some(asking.time());
        })
        .await?;
        self.thousandth("by time", CallQuery::default()).await?;
        let main = CallQuery {
            number: number("999".into()),
            ..CallQuery::default()
        };
        self.thousandth("by number", main).await?;
        self.ask("by user", false, |asking, query| {
            query.user = Some(format!("user{}", asking.below(20)))
        })
        .await?;
        self.ask("by disposition", false, |asking, query| {
            query.disposition = Some(Disposition::Encrypted);
            query.to = Some(asking.time());
        })
        .await?;
        self.ask("by notes, a rare word", false, |asking, query| {
            query.notes = Some(format!("order {}", asking.below(100_003)))
        })
        .await?;
        self.ask("by notes, a common word", true, |_, query| {
            query.notes = Some("refund".into())
        })
        .await?;
        self.ask("the longest", false, |_, query| query.sort = Sort::Longest)
            .await?;
        self.ask("the worst heard", false, |_, query| {
            query.sort = Sort::WorstHeard
        })
        .await?;
        self.ask("worse than 2.0, newest first", false, |_, query| {
            query.mos_below = Some(2.0)
        })
        .await?;
        self.scoped("scope of one user", 1, AccessLevel::User)
            .await?;
        self.scoped(
            "scope of one group of 20 users",
            1,
            AccessLevel::ManagedGroups,
        )
        .await?;
        self.scoped("scope of ten groups", 10, AccessLevel::ManagedGroups)
            .await?;
        self.scoped("scope of a hundred groups", 100, AccessLevel::ManagedGroups)
            .await?;
        self.scoped_by_number("scope of ten groups, by number")
            .await
    }

    /// As many numbers as are wanted, the same in every run.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    fn time(&mut self) -> Timestamp {
        let at = self.below(self.calls) as i64;
        Timestamp::from_nanos(BEGIN + at * EVERY)
    }

    /// Large tenants more often than small ones, as they have more calls.
    fn tenant(&mut self) -> u64 {
        let place = self.below(1_000_000) as f64 / 1e6;
        1 + (TENANTS as f64 * place.powi(3)) as u64
    }

    fn user_number(&mut self) -> String {
        format!("{}", 1000 + self.below(20))
    }

    async fn ask(
        &mut self,
        name: &str,
        is_bound: bool,
        fill: impl Fn(&mut Asking, &mut CallQuery),
    ) -> Outcome<()> {
        let mut questions = Vec::new();
        for _ in 0..TRIES {
            let mut query = CallQuery::default();
            fill(self, &mut query);
            questions.push((Scope::tenant(tenant(self.tenant())), query));
        }
        self.time_all(name, is_bound, questions).await
    }

    /// The pages before it are read too, and not counted.
    async fn thousandth(&mut self, name: &str, query: CallQuery) -> Outcome<()> {
        let mut questions = Vec::new();
        for number in 1..=3 {
            let scope = Scope::tenant(tenant(number));
            let mut query = query.clone();
            for page in 0..1000 {
                let Some(next) = self.catalog.calls(&scope, &query).await?.next else {
                    break;
                };
                query.after = Some(next);
                if page >= 900 {
                    questions.push((scope.clone(), query.clone()));
                }
            }
        }
        self.time_all(&format!("{name}, pages 900 to 1,000"), true, questions)
            .await
    }

    async fn scoped(&mut self, name: &str, groups: u64, level: AccessLevel) -> Outcome<()> {
        let mut questions = Vec::new();
        for _ in 0..TRIES {
            let scope = self.scope(groups, level);
            let to = Some(self.time());
            questions.push((
                scope,
                CallQuery {
                    to,
                    ..CallQuery::default()
                },
            ));
        }
        self.time_all(name, false, questions).await
    }

    async fn scoped_by_number(&mut self, name: &str) -> Outcome<()> {
        let mut questions = Vec::new();
        for _ in 0..TRIES {
            let scope = self.scope(10, AccessLevel::ManagedGroups);
            let number = Some(NumberFilter::Exact(self.user_number()));
            questions.push((
                scope,
                CallQuery {
                    number,
                    ..CallQuery::default()
                },
            ));
        }
        self.time_all(name, false, questions).await
    }

    fn scope(&mut self, groups: u64, level: AccessLevel) -> Scope {
        let number = self.tenant();
        let mut permissions = Permissions::default();
        permissions.allow(Resource::Calls, &[Operation::View]);
        let role = Role {
            role_id: RoleId(Uuid::nil()),
            name: String::new(),
            access_level: level,
            tenant_id: Some(tenant(number)),
            permissions,
        };
        let login: Arc<str> = format!("user{}", self.below(20)).into();
        let actor = Actor::User {
            id: UserId(Uuid::nil()),
            login: login.clone(),
        };
        let groups = (0..groups).map(|at| group(number, at)).collect();
        Principal::new(actor, tenant(number), login, &role, groups).scope()
    }

    async fn time_all(
        &mut self,
        name: &str,
        is_bound: bool,
        questions: Vec<(Scope, CallQuery)>,
    ) -> Outcome<()> {
        let (mut times, mut found) = (Vec::new(), 0);
        for (scope, query) in &questions {
            let since = Instant::now();
            found += self.catalog.calls(scope, query).await?.calls.len();
            times.push(since.elapsed());
        }
        times.sort_unstable();
        let at = |part: f64| {
            let place = (times.len() as f64 * part) as usize;
            times[place.min(times.len() - 1)]
        };
        let (middle, p99, worst) = (at(0.5), at(0.99), at(1.0));
        self.is_slow |= is_bound && p99 > BOUND;
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        println!(
            "{name:<44} {:>8} {:>8} {:>8} {:>6}",
            ms(middle),
            ms(p99),
            ms(worst),
            found / questions.len().max(1)
        );
        Ok(())
    }
}
