//! The removal of calls whose days are over.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, SqliteConnection};
use uuid::Uuid;

use super::due::{END, NOT_HELD};
use super::{hex, list};
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Catalog, Change, Error, Result};

/// A call that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// As [`DueCall::row`](super::DueCall) has it.
    pub row: i64,
    pub id: Uuid,
    /// Its audio below the root of the storage, where it has files, or may have. The others are named after it.
    pub file_path: Option<String>,
}

/// A call that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    pub id: Uuid,
    pub ended_at: Timestamp,
    pub had_recording: bool,
    row: i64,
    interaction: Option<Uuid>,
}

/// What of the rows belongs to the call, by tenant and id.
const MARKS: [&str; 3] = [
    "DELETE FROM call_notes WHERE tenant_id = ?1 AND call_id IN (SELECT unhex(value) FROM json_each(?2))",
    "DELETE FROM categorized_calls WHERE tenant_id = ?1 AND call_id IN (SELECT unhex(value) FROM json_each(?2))",
    "DELETE FROM call_shares WHERE tenant_id = ?1 AND call_id IN (SELECT unhex(value) FROM json_each(?2))",
];

impl Change {
    /// Removes a tenant's calls with everything that was added to them, and the deliveries `told` of them ([`Catalog::told_of`]).
    /// That there are files still to go stays behind, until [`Catalog::expired_files_gone`]. Gives those that went: what is not
    /// due at this moment, since somebody has put a hold on it or it was written anew, stays.
    pub async fn expire(
        &mut self,
        tenant: TenantId,
        ended_before: Timestamp,
        calls: &[Expiring],
        told: &[Uuid],
    ) -> Result<Vec<Expired>> {
        let (at, failed) = (self.at, self.failed("remove calls"));
        let gone = expire(self.connection(), at, (tenant, ended_before), calls, told);
        gone.await.map_err(failed)
    }
}

impl Catalog {
    /// Writes that calls whose days were over have no files any more: nothing is left of them. That they go was audited.
    pub async fn expired_files_gone(&self, tenant: TenantId, ids: &[Uuid]) -> Result<()> {
        let failed = |error| Error::from_sqlx("write that files are gone", &self.place, error);
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = begun.map_err(failed)?;
        forget(&mut transaction, tenant, ids)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

async fn expire(
    connection: &mut SqliteConnection,
    at: Timestamp,
    (tenant, ended_before): (TenantId, Timestamp),
    calls: &[Expiring],
    told: &[Uuid],
) -> sqlx::Result<Vec<Expired>> {
    let gone = still_due(connection, tenant, ended_before, calls).await?;
    if gone.is_empty() {
        return Ok(gone);
    }
    let places: HashMap<i64, &str> = (calls.iter())
        .filter_map(|call| Some((call.row, call.file_path.as_deref()?)))
        .collect();
    let files = gone.iter().filter_map(|call| {
        let place = *places.get(&call.row)?;
        Some(serde_json::json!([hex(&call.id), place]))
    });
    // Who deleted the call before is named there already.
    sqlx::query(
        "INSERT INTO deleted_calls (tenant_id, call_id, deleted_at, deleted_by, reason, file_path, expired) \
         SELECT ?1, unhex(value ->> 0), ?2, 'retention', '', value ->> 1, 1 FROM json_each(?3) WHERE TRUE ON CONFLICT DO NOTHING",
    )
    .bind(tenant.0)
    .bind(at.as_nanos())
    .bind(list(files))
    .execute(&mut *connection)
    .await?;
    remove_rows(connection, tenant, &gone).await?;
    let ids = list(gone.iter().map(|call| hex(&call.id)));
    for statement in MARKS {
        sqlx::query(statement)
            .bind(tenant.0)
            .bind(&ids)
            .execute(&mut *connection)
            .await?;
    }
    forget_told(connection, told).await?;
    Ok(gone)
}

/// Of these calls those that are due at this moment, and as they were when they were found.
async fn still_due(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    ended_before: Timestamp,
    calls: &[Expiring],
) -> sqlx::Result<Vec<Expired>> {
    let sql = format!(
        "SELECT c.call_row, c.id, {END}, c.file_path IS NOT NULL, c.interaction_id FROM calls c \
         WHERE c.call_row IN (SELECT value FROM json_each(?3)) AND c.tenant_id = ?1 AND {END} <= ?2 AND {NOT_HELD}"
    );
    let rows: Vec<(i64, Uuid, i64, bool, Option<Uuid>)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(tenant.0)
        .bind(ended_before.as_nanos())
        .bind(list(calls.iter().map(|call| call.row.into())))
        .fetch_all(connection)
        .await?;
    let found: HashMap<i64, &Expiring> = calls.iter().map(|call| (call.row, call)).collect();
    let is_as_found = |row: i64, id: Uuid, has_file: bool| {
        found
            .get(&row)
            .is_some_and(|call| call.id == id && (call.file_path.is_some() || !has_file))
    };
    Ok(rows
        .into_iter()
        .filter(|(row, id, _, has_file, _)| is_as_found(*row, *id, *has_file))
        .map(|(row, id, ended_at, had_recording, interaction)| Expired {
            id,
            ended_at: Timestamp::from_nanos(ended_at),
            had_recording,
            row,
            interaction,
        })
        .collect())
}

/// The rows, those of who took part, and interactions that have no call any more.
async fn remove_rows(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    gone: &[Expired],
) -> sqlx::Result<()> {
    let rows = list(gone.iter().map(|call| call.row.into()));
    sqlx::query("DELETE FROM calls WHERE call_row IN (SELECT value FROM json_each(?))")
        .bind(&rows)
        .execute(&mut *connection)
        .await?;
    let interactions = gone.iter().filter_map(|call| call.interaction.as_ref());
    remove_empty(connection, tenant, &list(interactions.map(hex))).await
}

async fn remove_empty(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    interactions: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM interactions WHERE tenant_id = ?1 AND id IN (SELECT unhex(value) FROM json_each(?2)) AND NOT EXISTS \
         (SELECT 1 FROM calls c WHERE c.tenant_id = ?1 AND c.interaction_id = interactions.id)",
    )
    .bind(tenant.0)
    .bind(interactions)
    .execute(connection)
    .await
    .map(|_| ())
}

/// What is still to be told is not, and what was told is not kept: of a delivery that is over the log has that it was.
async fn forget_told(connection: &mut SqliteConnection, told: &[Uuid]) -> sqlx::Result<()> {
    if told.is_empty() {
        return Ok(());
    }
    let ids = list(told.iter().map(hex));
    for statement in [
        "DELETE FROM deliveries WHERE id IN (SELECT unhex(value) FROM json_each(?)) AND next_at IS NOT NULL",
        "UPDATE deliveries SET body = '' WHERE id IN (SELECT unhex(value) FROM json_each(?))",
    ] {
        sqlx::query(statement)
            .bind(&ids)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Of calls whose days are over: that they had files. A row that has come back meanwhile, from a sidecar that was found before it
/// was gone, goes too.
pub(in crate::catalog) async fn forget(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    ids: &[Uuid],
) -> sqlx::Result<()> {
    let ids = list(ids.iter().map(hex));
    let back: Vec<(Option<Uuid>,)> = sqlx::query_as(
        "DELETE FROM calls WHERE tenant_id = ?1 AND id IN (SELECT call_id FROM deleted_calls WHERE tenant_id = ?1 AND expired \
         AND call_id IN (SELECT unhex(value) FROM json_each(?2))) RETURNING interaction_id",
    )
    .bind(tenant.0)
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    let interactions = back
        .iter()
        .filter_map(|(interaction,)| interaction.as_ref());
    remove_empty(connection, tenant, &list(interactions.map(hex))).await?;
    sqlx::query(
        "DELETE FROM deleted_calls WHERE tenant_id = ?1 AND expired AND call_id IN (SELECT unhex(value) FROM json_each(?2))",
    )
    .bind(tenant.0)
    .bind(&ids)
    .execute(connection)
    .await
    .map(|_| ())
}
