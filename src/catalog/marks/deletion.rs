//! Calls that are deleted.
//!
//! First the catalog says that a call is deleted; from then on it is in no answer but to who asks for deleted calls, and
//! nothing enters it again. Then its files are removed, and the catalog says that too. Who is stopped between the two
//! finds in [`Catalog::removals`] what is left to do.

use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::CallToMark;
use crate::base::{TenantId, Timestamp};
use crate::catalog::change::now;
use crate::catalog::{Catalog, Change, Error, Result};

/// That a call was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    pub deleted_at: Timestamp,
    pub deleted_by: String,
    pub reason: String,
    /// When the last file was gone; none while there are files, and where there never was one.
    pub files_gone_at: Option<Timestamp>,
}

/// Files that are to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    pub tenant: TenantId,
    pub id: Uuid,
    /// The audio, below the root of the storage; the others are named after it.
    pub file_path: String,
}

impl Change {
    /// Deletes a call. Its notes, categories and links go at once, its files when [`Catalog::removals`] are done.
    ///
    /// # Errors
    ///
    /// [`Error::Held`] when the call is held, whoever asks.
    pub async fn delete_call(&mut self, call: &CallToMark, by: &str, reason: &str) -> Result<()> {
        let (at, failed) = (self.at, self.failed("delete a call"));
        match delete(self.connection(), at, call, by, reason).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Held),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Catalog {
    /// Files of deleted calls that are still there, or were when somebody last looked; those deleted first come first.
    pub async fn removals(&self, limit: u32) -> Result<Vec<Removal>> {
        let rows = sqlx::query(
            "SELECT tenant_id, call_id, file_path FROM deleted_calls \
             WHERE file_path IS NOT NULL AND files_gone_at IS NULL ORDER BY deleted_at LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await;
        let removal = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Removal {
                tenant: TenantId(row.try_get(0)?),
                id: row.try_get(1)?,
                file_path: row.try_get(2)?,
            })
        };
        rows.and_then(|rows| rows.iter().map(removal).collect())
            .map_err(|error| Error::from_sqlx("list deleted calls", &self.place, error))
    }

    /// Writes that a deleted call has no files any more. Deleting it was audited.
    pub async fn files_gone(&self, tenant: TenantId, id: Uuid) -> Result<()> {
        let failed = |error| Error::from_sqlx("write that files are gone", &self.place, error);
        let mut transaction = self
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        for statement in [
            "UPDATE deleted_calls SET files_gone_at = ?3 WHERE tenant_id = ?1 AND call_id = ?2 AND files_gone_at IS NULL",
            "UPDATE calls SET file_path = NULL, size_bytes = NULL, file_format = NULL, sample_rate_hz = NULL, \
             blake3 = NULL WHERE tenant_id = ?1 AND id = ?2 AND deleted_at IS NOT NULL AND ?3 > 0",
        ] {
            sqlx::query(statement)
                .bind(tenant.0)
                .bind(id)
                .bind(now().as_nanos())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Of a call that was deleted: when, by whom, why.
    pub async fn deletion(&self, tenant: TenantId, id: Uuid) -> Result<Option<Deletion>> {
        let row = sqlx::query(
            "SELECT deleted_at, deleted_by, reason, files_gone_at FROM deleted_calls WHERE tenant_id = ? AND call_id = ?",
        )
        .bind(tenant.0)
        .bind(id)
        .fetch_optional(&self.readers)
        .await;
        let deletion = |row: sqlx::sqlite::SqliteRow| {
            Ok(Deletion {
                deleted_at: Timestamp::from_nanos(row.try_get(0)?),
                deleted_by: row.try_get(1)?,
                reason: row.try_get(2)?,
                files_gone_at: row.try_get::<Option<i64>, _>(3)?.map(Timestamp::from_nanos),
            })
        };
        row.and_then(|row| row.map(deletion).transpose())
            .map_err(|error| Error::from_sqlx("look up a deleted call", &self.place, error))
    }
}

/// Whether it could be deleted: it was not held.
async fn delete(
    connection: &mut SqliteConnection,
    at: Timestamp,
    call: &CallToMark,
    by: &str,
    reason: &str,
) -> sqlx::Result<bool> {
    let held: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM call_holds WHERE tenant_id = ? AND call_id = ?)",
    )
    .bind(call.tenant.0)
    .bind(call.id)
    .fetch_one(&mut *connection)
    .await?;
    if held {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO deleted_calls (tenant_id, call_id, deleted_at, deleted_by, reason, file_path) \
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(call.tenant.0)
    .bind(call.id)
    .bind(at.as_nanos())
    .bind(by)
    .bind(reason)
    .bind(&call.file_path)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE calls SET deleted_at = ? WHERE tenant_id = ? AND id = ?")
        .bind(at.as_nanos())
        .bind(call.tenant.0)
        .bind(call.id)
        .execute(&mut *connection)
        .await?;
    for statement in [
        "DELETE FROM call_notes WHERE tenant_id = ? AND call_id = ?",
        "DELETE FROM categorized_calls WHERE tenant_id = ? AND call_id = ?",
        "DELETE FROM call_shares WHERE tenant_id = ? AND call_id = ?",
    ] {
        sqlx::query(statement)
            .bind(call.tenant.0)
            .bind(call.id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(true)
}
