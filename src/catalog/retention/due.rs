//! What is due.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::list;
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Catalog, Disposition, Error, Result};

/// [`CallRecord::over_at`](crate::catalog::CallRecord::over_at) of a call `c`: one without an end, which a broken run left, has that of
/// its audio.
pub(super) const END: &str = "CAST(max(coalesce(c.ended_at, c.started_at), c.started_at + c.length_ms * 1000000) AS INTEGER)";

/// That nobody holds a call `c`, nor any other of its interaction.
pub(super) const NOT_HELD: &str = "NOT EXISTS (SELECT 1 FROM call_holds h WHERE h.tenant_id = c.tenant_id AND h.call_id = c.id) \
     AND (c.interaction_id IS NULL OR NOT EXISTS (SELECT 1 FROM calls o CROSS JOIN call_holds h \
     ON h.tenant_id = o.tenant_id AND h.call_id = o.id WHERE o.tenant_id = c.tenant_id AND o.interaction_id = c.interaction_id))";

/// A call that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueCall {
    /// Of the catalog, which never leaves it.
    pub row: i64,
    pub id: Uuid,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    /// The audio, below the root of the storage.
    pub file_path: Option<String>,
    /// The storage refused its recording when it was over, and may have some of it.
    pub may_be_late: bool,
}

impl DueCall {
    /// Where the next page begins.
    pub fn position(&self) -> (Timestamp, i64) {
        (self.started_at, self.row)
    }
}

impl Catalog {
    /// Up to `limit` of a tenant's calls that ended at `ended_before` or earlier and that nobody holds, those that began first before
    /// the others, from behind `after` on. Calls that were deleted are among them. For the program itself, which works for the
    /// tenant.
    pub async fn due_calls(
        &self,
        tenant: TenantId,
        ended_before: Timestamp,
        after: Option<(Timestamp, i64)>,
        limit: u32,
    ) -> Result<Vec<DueCall>> {
        let (start, row) = after.unwrap_or((Timestamp::MIN, i64::MIN));
        let sql = format!(
            "SELECT c.call_row, c.id, c.started_at, {END}, c.file_path, c.file_path IS NULL AND c.disposition = ?6 \
             FROM calls c INDEXED BY calls_by_tenant \
             WHERE c.tenant_id = ?1 AND c.started_at >= ?2 AND c.started_at <= ?4 \
             AND (c.started_at > ?2 OR c.call_row > ?3) AND {END} <= ?4 AND {NOT_HELD} \
             ORDER BY c.started_at, c.call_row LIMIT ?5"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant.0)
            .bind(start.as_nanos())
            .bind(row)
            .bind(ended_before.as_nanos())
            .bind(limit)
            .bind(Disposition::DiskError.code())
            .fetch_all(&self.readers)
            .await;
        rows.and_then(|rows| rows.iter().map(due_of).collect())
            .map_err(|error| Error::from_sqlx("look for calls to remove", &self.place, error))
    }

    /// What webhooks of the tenant were told of these calls, or are still to be.
    pub async fn told_of(&self, tenant: TenantId, calls: &[DueCall]) -> Result<Vec<Uuid>> {
        let rows = list(calls.iter().map(|call| call.row.into()));
        let ids = list(calls.iter().map(|call| call.id.to_string().into()));
        // Events from before the first media do not name the call: they have its Call-ID, and the interaction. Rows have ids as
        // bytes, bodies as text.
        sqlx::query_scalar(
            "WITH named AS MATERIALIZED (SELECT sip_call_id, lower(hex(coalesce(interaction_id, id))) AS interaction FROM calls \
             WHERE call_row IN (SELECT value FROM json_each(?2))) \
             SELECT d.id FROM webhooks w CROSS JOIN deliveries d ON d.webhook_id = w.id WHERE w.tenant_id = ?1 AND d.body <> '' \
             AND json_valid(d.body) AND (d.body ->> '$.data.call.recording.id' IN (SELECT value FROM json_each(?3)) \
             OR (d.body ->> '$.data.call.recording.id' IS NULL AND (d.body ->> '$.data.call.sip_call_id', \
             replace(d.body ->> '$.data.call.interaction_id', '-', '')) IN (SELECT sip_call_id, interaction FROM named)))",
        )
        .bind(tenant.0)
        .bind(rows)
        .bind(ids)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| Error::from_sqlx("look for what webhooks are told", &self.place, error))
    }

    /// Files of calls whose days were over that are still there, or were when somebody last looked; those that went first before
    /// the others: tenant, call, and the audio below the root.
    pub async fn expired_files(&self, limit: u32) -> Result<Vec<(TenantId, Uuid, String)>> {
        let rows: sqlx::Result<Vec<(Uuid, Uuid, String)>> = sqlx::query_as(
            "SELECT tenant_id, call_id, file_path FROM deleted_calls \
             WHERE file_path IS NOT NULL AND files_gone_at IS NULL AND expired ORDER BY deleted_at LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await;
        let rows =
            rows.map_err(|error| Error::from_sqlx("list removed calls", &self.place, error))?;
        let file = |(tenant, id, path)| (TenantId(tenant), id, path);
        Ok(rows.into_iter().map(file).collect())
    }
}

fn due_of(row: &SqliteRow) -> sqlx::Result<DueCall> {
    Ok(DueCall {
        row: row.try_get(0)?,
        id: row.try_get(1)?,
        started_at: Timestamp::from_nanos(row.try_get(2)?),
        ended_at: Timestamp::from_nanos(row.try_get(3)?),
        file_path: row.try_get(4)?,
        may_be_late: row.try_get(5)?,
    })
}
