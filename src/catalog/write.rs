//! Writing calls.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::row::{CALL_COLUMNS, REPLACE_CALL, bind_call};
use super::text::{self, fit};
use super::{CallRecord, Catalog, Disposition, Error, ParticipantRecord, Result};
use crate::access::{Scope, login_key};
use crate::base::{InteractionId, TenantId, Timestamp};

/// Rows of one INSERT. Fewer cost more hand-overs to SQLite's thread, many more gain nothing.
const CHUNK: usize = 64;

/// What becomes of a call that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Replace,
    Keep,
}

type CallKey = (TenantId, Uuid);

impl Catalog {
    /// Writes calls, all of them or none. A call that is there already (by tenant and id) is replaced; written twice it
    /// is there once. Of a call twice in the batch the later one counts. A call that was deleted stays so, and the
    /// file it names is one of [`Catalog::removals`].
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when a call cannot be stored as it is, [`Error::Busy`] when another program holds the catalog
    /// for five seconds, [`Error::Full`] when the disk is. After any of them nothing of the batch is there, and the same
    /// batch may be tried again.
    pub async fn record(&self, batch: &[CallRecord]) -> Result<()> {
        self.write(batch, Existing::Replace).await.map(|_| ())
    }

    /// How many calls were written.
    pub(super) async fn write(&self, batch: &[CallRecord], existing: Existing) -> Result<usize> {
        let batch = distinct(batch)?;
        if batch.is_empty() {
            return Ok(0);
        }
        self.check_place()?;
        let failed = |error| Error::from_sqlx("record calls", &self.place, error);
        // IMMEDIATE: the lock is waited for here, and not refused later to a transaction that started by reading.
        let mut transaction = self
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let batch = undeleted(&mut transaction, batch).await.map_err(failed)?;
        let written = write_all(&mut transaction, &batch, existing)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(written)
    }

    /// Forgets recordings whose files are gone from the storage: those of `missing` that are in `scope` and name a
    /// file. Gives their number.
    pub async fn remove_missing(&self, scope: &Scope, missing: &[(TenantId, Uuid)]) -> Result<u64> {
        let failed = |error| Error::from_sqlx("remove calls", &self.place, error);
        let mut transaction = self
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let mut removed = 0;
        for (tenant, id) in missing.iter().filter(|(tenant, _)| scope.covers(*tenant)) {
            removed += remove_recording(&mut transaction, *tenant, *id)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(removed)
    }
}

/// The calls to write, by key in the order they came; the last of those with the same key.
fn distinct(batch: &[CallRecord]) -> Result<Vec<&CallRecord>> {
    let mut places: HashMap<CallKey, usize> = HashMap::with_capacity(batch.len());
    for (place, call) in batch.iter().enumerate() {
        check(call)?;
        places.insert((call.tenant, call.id), place);
    }
    let is_last =
        |(place, call): &(usize, &CallRecord)| places.get(&(call.tenant, call.id)) == Some(place);
    Ok(batch
        .iter()
        .enumerate()
        .filter(is_last)
        .map(|(_, call)| call)
        .collect())
}

/// The calls that nobody deleted. Files that one of the others has after all are to be removed like those it had: the storage may
/// have taken them late, or have been away when they were looked for.
async fn undeleted<'a>(
    connection: &mut SqliteConnection,
    batch: Vec<&'a CallRecord>,
) -> sqlx::Result<Vec<&'a CallRecord>> {
    let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM deleted_calls)")
        .fetch_one(&mut *connection)
        .await?;
    if !any {
        return Ok(batch);
    }
    let mut kept = Vec::with_capacity(batch.len());
    for call in batch {
        let deleted: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM deleted_calls WHERE tenant_id = ? AND call_id = ?)",
        )
        .bind(call.tenant.0)
        .bind(call.id)
        .fetch_one(&mut *connection)
        .await?;
        match (&call.file, deleted) {
            (_, false) => kept.push(call),
            (Some(file), true) => {
                sqlx::query(
                    "UPDATE deleted_calls SET file_path = ?, files_gone_at = NULL WHERE tenant_id = ? AND call_id = ?",
                )
                .bind(&file.path)
                .bind(call.tenant.0)
                .bind(call.id)
                .execute(&mut *connection)
                .await?;
            }
            (None, true) if call.disposition == Disposition::OtherLeg => {
                give_back_minutes(connection, call).await?;
            }
            (None, true) => {}
        }
    }
    Ok(kept)
}

/// A call that gave way to another leg after it was deleted was no recording of its own: its minutes are those of the other.
async fn give_back_minutes(
    connection: &mut SqliteConnection,
    call: &CallRecord,
) -> sqlx::Result<()> {
    for statement in [
        "UPDATE used_minutes SET length_ms = used_minutes.length_ms - c.length_ms FROM calls c \
         WHERE c.tenant_id = ?1 AND c.id = ?2 AND used_minutes.tenant_id = ?1 \
         AND month = CAST(strftime('%Y%m', c.started_at / 1000000000, 'unixepoch') AS INTEGER)",
        "UPDATE calls SET length_ms = 0, disposition = ?3 WHERE tenant_id = ?1 AND id = ?2",
    ] {
        sqlx::query(statement)
            .bind(call.tenant.0)
            .bind(call.id)
            .bind(call.disposition.code())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn check(call: &CallRecord) -> Result<()> {
    let Some(file) = &call.file else {
        return Ok(());
    };
    let refused = |why| {
        Err(Error::Refused {
            id: call.id,
            field: "path",
            why,
        })
    };
    match file.path.as_str() {
        "" => refused("is empty"),
        path if path.len() > text::PATH_BYTES => refused("is longer than 1,024 bytes"),
        path if path.contains('\0') => refused("contains a NUL"),
        _ => Ok(()),
    }
}

async fn write_all(
    connection: &mut SqliteConnection,
    batch: &[&CallRecord],
    existing: Existing,
) -> sqlx::Result<usize> {
    write_tenants(connection, batch).await?;
    write_interactions(connection, batch).await?;
    let mut written = 0;
    for chunk in batch.chunks(CHUNK) {
        let rows = write_calls(connection, chunk, existing).await?;
        if existing == Existing::Replace {
            remove_participants(connection, &rows).await?;
        }
        write_participants(connection, chunk, &rows).await?;
        written += rows.len();
    }
    Ok(written)
}

async fn write_tenants(
    connection: &mut SqliteConnection,
    batch: &[&CallRecord],
) -> sqlx::Result<()> {
    struct Seen<'a> {
        name: &'a str,
        named_at: Timestamp,
        first: Timestamp,
        last: Timestamp,
    }
    let mut tenants: HashMap<TenantId, Seen<'_>> = HashMap::new();
    for call in batch {
        let at = call.started_at;
        let fresh = Seen {
            name: "",
            named_at: Timestamp::MIN,
            first: at,
            last: at,
        };
        let seen = tenants.entry(call.tenant).or_insert(fresh);
        (seen.first, seen.last) = (seen.first.min(at), seen.last.max(at));
        if !call.tenant_name.is_empty() && at >= seen.named_at {
            (seen.name, seen.named_at) = (&call.tenant_name, at);
        }
    }
    for (id, seen) in tenants {
        sqlx::query(
            "INSERT INTO tenants (id, name, first_seen, last_seen) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET \
               name = CASE WHEN excluded.name <> '' AND (tenants.name = '' OR $5 >= tenants.last_seen) \
                      THEN excluded.name ELSE tenants.name END, \
               first_seen = min(tenants.first_seen, excluded.first_seen), \
               last_seen = max(tenants.last_seen, excluded.last_seen)",
        )
        .bind(id.0)
        .bind(fit(seen.name, text::NAME_BYTES))
        .bind(seen.first.as_nanos())
        .bind(seen.last.as_nanos())
        .bind(seen.named_at.as_nanos())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn write_interactions(
    connection: &mut SqliteConnection,
    batch: &[&CallRecord],
) -> sqlx::Result<()> {
    let mut spans: HashMap<(TenantId, InteractionId), (Timestamp, Timestamp)> = HashMap::new();
    for call in batch {
        let Some(id) = call.interaction else { continue };
        let end = call.ended_at.unwrap_or(call.started_at);
        let span = spans
            .entry((call.tenant, id))
            .or_insert((call.started_at, end));
        *span = (span.0.min(call.started_at), span.1.max(end));
    }
    let spans: Vec<_> = spans.into_iter().collect();
    for chunk in spans.chunks(CHUNK) {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "INSERT INTO interactions (tenant_id, id, first_at, last_at) ",
        );
        sql.push_values(chunk, |mut row, ((tenant, id), (first, last))| {
            row.push_bind(tenant.0)
                .push_bind(id.0)
                .push_bind(first.as_nanos())
                .push_bind(last.as_nanos());
        });
        sql.push(
            " ON CONFLICT (tenant_id, id) DO UPDATE SET \
             first_at = min(interactions.first_at, excluded.first_at), \
             last_at = max(interactions.last_at, excluded.last_at)",
        );
        sql.build()
            .persistent(chunk.len() == CHUNK)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Writes the rows and gives their numbers, of those that were written.
async fn write_calls(
    connection: &mut SqliteConnection,
    chunk: &[&CallRecord],
    existing: Existing,
) -> sqlx::Result<HashMap<CallKey, i64>> {
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO calls (");
    sql.push(CALL_COLUMNS)
        .push(") ")
        .push_values(chunk, |mut row, call| bind_call(&mut row, call));
    sql.push(match existing {
        Existing::Replace => REPLACE_CALL,
        Existing::Keep => " ON CONFLICT (tenant_id, id) DO NOTHING",
    });
    sql.push(" RETURNING tenant_id, id, call_row");
    let rows = sql
        .build()
        .persistent(chunk.len() == CHUNK)
        .fetch_all(connection)
        .await?;
    let key = |row: SqliteRow| {
        Ok((
            (TenantId(row.try_get(0)?), row.try_get(1)?),
            row.try_get(2)?,
        ))
    };
    rows.into_iter().map(key).collect()
}

async fn remove_participants(
    connection: &mut SqliteConnection,
    rows: &HashMap<CallKey, i64>,
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut sql = QueryBuilder::<Sqlite>::new("DELETE FROM participants WHERE call_row IN (");
    let mut list = sql.separated(", ");
    rows.values().for_each(|row| {
        list.push_bind(*row);
    });
    sql.push(")");
    sql.build()
        .persistent(rows.len() == CHUNK)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Users as their logins are written. A file may pin an extension to `MÜLLER`, who is `müller`: SQLite takes ASCII letters alone for
/// the same, and whose calls they are, and whether they are confidential, hangs on it.
async fn logins_of<'c>(
    connection: &mut SqliteConnection,
    chunk: &[&'c CallRecord],
) -> sqlx::Result<HashMap<(TenantId, &'c str), String>> {
    let mut logins = HashMap::new();
    for call in chunk {
        let users = call
            .participants
            .iter()
            .filter_map(|who| who.user.as_deref());
        for user in users.filter(|user| !user.is_ascii()) {
            let login: Option<String> =
                sqlx::query_scalar("SELECT login FROM users WHERE tenant_id = ? AND login_key = ?")
                    .bind(call.tenant.0)
                    .bind(login_key(user))
                    .fetch_optional(&mut *connection)
                    .await?;
            logins.extend(login.map(|login| ((call.tenant, user), login)));
        }
    }
    Ok(logins)
}

async fn write_participants(
    connection: &mut SqliteConnection,
    chunk: &[&CallRecord],
    rows: &HashMap<CallKey, i64>,
) -> sqlx::Result<()> {
    let logins = logins_of(connection, chunk).await?;
    let all: Vec<(i64, i64, &CallRecord, &ParticipantRecord)> = chunk
        .iter()
        .filter_map(|call| rows.get(&(call.tenant, call.id)).map(|row| (*row, *call)))
        .flat_map(|(row, call)| {
            (0..)
                .zip(&call.participants)
                .map(move |(at, who)| (row, at, call, who))
        })
        .collect();
    for chunk in all.chunks(CHUNK) {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "INSERT INTO participants (call_row, ordinal, tenant_id, started_at, side, user_name, extension, \
             number, display, from_at, to_at) ",
        );
        sql.push_values(chunk, |mut row, (call_row, ordinal, call, who)| {
            let name = |text| fit(text, text::NAME_BYTES);
            row.push_bind(*call_row).push_bind(*ordinal);
            row.push_bind(call.tenant.0)
                .push_bind(call.started_at.as_nanos())
                .push_bind(who.side.to_string());
            let login = who.user.as_deref().map(|user| {
                let login = logins.get(&(call.tenant, user));
                login.map_or(user, String::as_str)
            });
            row.push_bind(login.map(name))
                .push_bind(who.extension.as_deref().map(name));
            row.push_bind(name(&who.number))
                .push_bind(name(&who.display));
            row.push_bind(who.from.map(Timestamp::as_nanos))
                .push_bind(who.to.map(Timestamp::as_nanos));
        });
        sql.build()
            .persistent(chunk.len() == CHUNK)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Removes one call with a file, its participants by cascade, and its interaction when it was the last call of it.
async fn remove_recording(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    id: Uuid,
) -> sqlx::Result<u64> {
    let removed: Option<(Option<Uuid>,)> = sqlx::query_as(
        "DELETE FROM calls WHERE tenant_id = $1 AND id = $2 AND file_path IS NOT NULL RETURNING interaction_id",
    )
    .bind(tenant.0)
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((Some(interaction),)) = removed {
        sqlx::query(
            "DELETE FROM interactions WHERE tenant_id = $1 AND id = $2 AND NOT EXISTS \
             (SELECT 1 FROM calls WHERE tenant_id = $1 AND interaction_id = $2)",
        )
        .bind(tenant.0)
        .bind(interaction)
        .execute(connection)
        .await?;
    }
    Ok(u64::from(removed.is_some()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::testing::*;
    use super::super::{CallQuery, NumberFilter};
    use super::*;
    use crate::base::Side;

    async fn all(catalog: &Catalog) -> Vec<CallRecord> {
        let query = CallQuery {
            limit: 1000,
            ..CallQuery::default()
        };
        catalog.calls(&Scope::root(), &query).await.unwrap().calls
    }

    #[tokio::test]
    async fn every_field_reads_back() {
        let catalog = in_memory().await;
        let full = call(1, 7);
        let bare = CallRecord {
            tenant_name: String::new(),
            interaction: None,
            sip_call_id: String::new(),
            ended_at: None,
            participants: vec![],
            started_at: Timestamp::MIN,
            packets_lost: u64::MAX,
            ..unrecorded(2, 8, Disposition::NoMedia)
        };
        catalog.record(&[full.clone(), bare.clone()]).await.unwrap();
        assert_eq!(
            catalog.call(&Scope::root(), full.id).await.unwrap(),
            std::slice::from_ref(&full)
        );
        let stored = CallRecord {
            packets_lost: i64::MAX as u64,
            ..bare
        };
        assert_eq!(all(&catalog).await, [full.clone(), stored]);
        let seen = catalog
            .interaction(&Scope::root(), full.interaction.unwrap())
            .await
            .unwrap();
        assert_eq!(
            (seen[0].first_at, seen[0].last_at),
            (full.started_at, full.ended_at.unwrap())
        );
    }

    #[tokio::test]
    async fn a_call_written_twice_is_there_once() {
        let catalog = in_memory().await;
        let calls: Vec<_> = (0..200)
            .map(|number| call(u128::from(number % 3), number))
            .collect();
        catalog.record(&calls).await.unwrap();
        let before = (
            all(&catalog).await,
            catalog.tenants(&Scope::root()).await.unwrap(),
        );
        catalog.record(&calls).await.unwrap();
        catalog
            .record(&[calls[5].clone(), calls[5].clone()])
            .await
            .unwrap();
        assert_eq!(
            (
                all(&catalog).await,
                catalog.tenants(&Scope::root()).await.unwrap()
            ),
            before
        );
        assert_eq!(before.0.len(), 200);
    }

    #[tokio::test]
    async fn whose_a_call_is_is_written_as_their_login_is() {
        let catalog = in_memory().await;
        catalog.register_for_tests(tenant(1), "one").await;
        sqlx::query(
            "INSERT INTO users (id, tenant_id, login, login_key, name, role_id, confidential, created_at, changed_at) \
             VALUES (zeroblob(16), ?, 'müller', 'müller', '', zeroblob(16), 1, 0, 0)",
        )
        .bind(tenant(1).0)
        .execute(&catalog.writer)
        .await
        .unwrap();
        // As a file pins an extension to them: in capitals, and decomposed.
        let mut calls = vec![call(1, 1), call(1, 2), call(2, 3)];
        for (call, name) in calls.iter_mut().zip(["MÜLLER", "mu\u{308}ller", "MÜLLER"]) {
            call.participants[0].user = Some(name.into());
        }
        catalog.record(&calls).await.unwrap();
        let page = catalog.calls(&Scope::root(), &CallQuery::default()).await;
        let names = page
            .unwrap()
            .calls
            .into_iter()
            .map(|call| call.participants[0].user.clone());
        let names: Vec<_> = names.map(Option::unwrap).collect();
        assert_eq!(
            names,
            ["MÜLLER", "müller", "müller"],
            "another tenant's is its own"
        );
        let role = crate::access::Preset::Reader.role(tenant(1));
        let ops = crate::access::Principal::operator("ops");
        let actor = ops.actor().clone();
        let reader = crate::access::Principal::new(actor, tenant(1), "x".into(), &role, [].into());
        let outside = reader.scope();
        let hidden = catalog
            .calls(&outside, &CallQuery::default())
            .await
            .unwrap();
        assert!(hidden.calls.is_empty(), "{hidden:?}");
    }

    #[tokio::test]
    async fn a_call_written_again_is_replaced_with_its_participants() {
        let catalog = in_memory().await;
        let first = call(1, 1);
        let mut second = unrecorded(1, 1, Disposition::DiskError);
        second.participants.truncate(1);
        second.participants[0].user = Some("bob".into());
        catalog.record(std::slice::from_ref(&first)).await.unwrap();
        catalog.record(&[first, second.clone()]).await.unwrap();
        assert_eq!(all(&catalog).await, [second]);
        let query = CallQuery {
            user: Some("alice".into()),
            ..CallQuery::default()
        };
        assert!(
            catalog
                .calls(&Scope::root(), &query)
                .await
                .unwrap()
                .calls
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_tenant_keeps_the_name_of_its_latest_call() {
        let catalog = in_memory().await;
        let named = |number, name: &str| CallRecord {
            tenant_name: name.into(),
            ..call(1, number)
        };
        catalog.record(&[named(5, "Acme Ltd")]).await.unwrap();
        catalog
            .record(&[named(3, "Acme"), named(4, "")])
            .await
            .unwrap();
        let tenants = catalog.tenants(&Scope::root()).await.unwrap();
        assert_eq!(tenants[0].name, "Acme Ltd");
        assert_eq!(
            (tenants[0].first_seen, tenants[0].last_seen),
            (call(1, 3).started_at, call(1, 5).started_at)
        );
        catalog
            .record(&[named(6, "Acme plc"), named(7, "")])
            .await
            .unwrap();
        assert_eq!(all(&catalog).await[0].tenant_name, "Acme plc");
    }

    #[tokio::test]
    async fn hostile_text_is_cut_and_the_call_kept() {
        let catalog = in_memory().await;
        let huge = "\u{20ac}\0'\"%_\u{1b}[31m".repeat(10_000);
        let mut hostile = call(1, 1);
        hostile.sip_call_id.clone_from(&huge);
        hostile.parties.caller.number.clone_from(&huge);
        hostile.parties.callee.display = "Robert'); DROP TABLE calls;--".into();
        hostile.tenant_name.clone_from(&huge);
        hostile.disposition = Disposition::Other(huge.clone());
        hostile.participants[0].user = Some(huge.clone());
        hostile.attribution = json!({ "header": huge });
        catalog.record(&[hostile.clone()]).await.unwrap();
        let stored = &all(&catalog).await[0];
        assert!(
            stored.sip_call_id.len() <= text::LINE_BYTES
                && stored.sip_call_id.starts_with("\u{20ac}\u{fffd}'")
        );
        assert_eq!(
            stored.parties.callee.display,
            hostile.parties.callee.display
        );
        assert!(stored.attribution["omitted_bytes"].as_u64().unwrap() > 100_000);
        for query in [
            CallQuery {
                user: Some(huge.clone()),
                ..CallQuery::default()
            },
            CallQuery {
                number: Some(NumberFilter::Exact(huge.clone())),
                ..CallQuery::default()
            },
            CallQuery {
                disposition: Some(hostile.disposition),
                ..CallQuery::default()
            },
        ] {
            assert_eq!(
                catalog
                    .calls(&Scope::root(), &query)
                    .await
                    .unwrap()
                    .calls
                    .len(),
                1
            );
        }
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_stored_refuses_the_whole_batch() {
        let catalog = in_memory().await;
        for path in ["", "a\0b", &"x".repeat(text::PATH_BYTES + 1)] {
            let mut bad = call(1, 2);
            bad.file.as_mut().unwrap().path = path.into();
            let refused = catalog.record(&[call(1, 1), bad]).await.unwrap_err();
            assert!(
                matches!(refused, Error::Refused { field: "path", .. }),
                "{refused}"
            );
        }
        assert!(all(&catalog).await.is_empty());
    }

    #[tokio::test]
    async fn missing_recordings_are_forgotten_within_the_scope() {
        let catalog = in_memory().await;
        let keep = unrecorded(1, 3, Disposition::NoMedia);
        let calls = [call(1, 1), call(1, 2), keep.clone(), call(2, 4)];
        catalog.record(&calls).await.unwrap();
        let missing: Vec<_> = [0, 2, 3]
            .map(|at: usize| (calls[at].tenant, calls[at].id))
            .into();
        let removed = catalog
            .remove_missing(&Scope::tenant(tenant(1)), &missing)
            .await
            .unwrap();
        assert_eq!(removed, 1);
        assert_eq!(
            all(&catalog).await,
            [calls[3].clone(), keep, calls[1].clone()]
        );
        assert_eq!(
            catalog
                .interaction(&Scope::root(), calls[0].interaction.unwrap())
                .await
                .unwrap(),
            []
        );
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM participants")
            .fetch_one(&catalog.readers)
            .await
            .unwrap();
        assert_eq!(left, 6);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_text_is_stored_and_read_back_as_what_fits(number: String, name: String, user: String, code: String) {
            let mut odd = call(1, 1);
            odd.parties.caller.number.clone_from(&number);
            odd.parties.callee.display.clone_from(&name);
            odd.disposition = code.as_str().into();
            odd.participants = vec![ParticipantRecord {
                side: Side::Caller,
                user: Some(user.clone()),
                extension: None,
                number: String::new(),
                display: String::new(),
                from: None,
                to: None,
            }];
            let stored = block_on(async {
                let catalog = in_memory().await;
                catalog.record(&[odd]).await.unwrap();
                let user = Some(user.clone());
                catalog.calls(&Scope::root(), &CallQuery { user, ..CallQuery::default() }).await.unwrap().calls.remove(0)
            });
            prop_assert_eq!(&stored.parties.caller.number, &*fit(&number, text::NAME_BYTES));
            prop_assert_eq!(&stored.parties.callee.display, &*fit(&name, text::NAME_BYTES));
            prop_assert_eq!(stored.disposition.code(), &*fit(&code, text::CODE_BYTES));
            prop_assert_eq!(stored.participants[0].user.as_deref(), Some(&*fit(&user, text::NAME_BYTES)));
        }
    }
}
