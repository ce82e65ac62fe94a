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
use crate::catalog::retention::forget;
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
    /// Deletes a call. Its notes, categories and links go at once, and what webhooks are told of it, its files when [`Catalog::removals`] are done.
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
        // Of a call whose days were over nothing is left to say.
        forget(&mut transaction, tenant, &[id])
            .await
            .map_err(failed)?;
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
    forget_told(connection, call).await?;
    Ok(true)
}

/// What webhooks are still to be told of the call is not told, and what they were told is not kept: of a delivery that is over
/// the log has that it was, and how it went.
async fn forget_told(connection: &mut SqliteConnection, call: &CallToMark) -> sqlx::Result<()> {
    // Events from before the first media do not name the call: they have its Call-ID, and the interaction.
    const ABOUT: &str = "webhook_id IN (SELECT id FROM webhooks WHERE tenant_id = ?1) AND (instr(body, ?2) > 0 \
         OR (instr(body, ?3) > 0 AND body ->> '$.data.call.recording.id' IS NULL AND body ->> '$.data.call.sip_call_id' = \
         (SELECT sip_call_id FROM calls WHERE tenant_id = ?1 AND id = ?4)))";
    let id = call.id.to_string();
    let interaction = call.interaction.map_or(id.clone(), |one| one.0.to_string());
    for act in [
        "DELETE FROM deliveries WHERE next_at IS NOT NULL AND",
        "UPDATE deliveries SET body = '' WHERE next_at IS NULL AND",
    ] {
        sqlx::query(sqlx::AssertSqlSafe(format!("{act} {ABOUT}")))
            .bind(call.tenant.0)
            .bind(&id)
            .bind(&interaction)
            .bind(call.id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::access::{Event, Principal, Scope};
    use crate::catalog::testing::{call, in_memory, tenant};

    const NOW: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);

    /// A webhook of the tenant; what it is told waits for ever.
    async fn webhook(catalog: &Catalog, of: u128, id: u128) -> Uuid {
        let id = Uuid::from_u128(id);
        let (webhook, tenant) = (id.simple(), tenant(of).0.simple());
        let sql = format!(
            "INSERT INTO webhooks (id, tenant_id, url, description, events, secret, created_at, changed_at) \
             VALUES (X'{webhook}', X'{tenant}', '', '', '[]', '', 0, 0)"
        );
        sqlx::query(AssertSqlSafe(sql))
            .execute(&catalog.writer)
            .await
            .unwrap();
        id
    }

    #[tokio::test]
    async fn what_webhooks_are_told_of_a_call_goes_with_it() {
        let catalog = in_memory().await;
        for (of, slug) in [(1, "one"), (2, "two")] {
            catalog.register_for_tests(tenant(of), slug).await;
        }
        let calls = [call(1, 1), call(1, 2)];
        catalog.record(&calls).await.unwrap();
        let told = |of: usize, recording: bool| {
            let call = &calls[of];
            serde_json::json!({ "type": "call.ended", "data": { "call": {
                "interaction_id": call.interaction.unwrap().0, "sip_call_id": call.sip_call_id,
                "recording": { "id": recording.then_some(call.id) }, "caller": { "number": format!("+4930{of}") },
            }}})
            .to_string()
        };
        let (own, foreign) = (webhook(&catalog, 1, 7).await, webhook(&catalog, 2, 8).await);
        let mut past = Vec::new();
        for (hook, of, recording) in [
            (own, 0, true),
            (own, 0, false),
            (own, 1, true),
            (own, 1, false),
            (foreign, 0, true),
        ] {
            let body = told(of, recording);
            for _ in 0..2 {
                let queued = catalog
                    .queue_delivery(hook, "call.ended", &body, false, NOW)
                    .await;
                past.push(queued.unwrap().unwrap());
            }
        }
        // Every other is over.
        for id in past.iter().step_by(2) {
            let sql = format!(
                "UPDATE deliveries SET next_at = NULL, state = 'delivered' WHERE id = X'{}'",
                id.simple()
            );
            sqlx::query(AssertSqlSafe(sql))
                .execute(&catalog.writer)
                .await
                .unwrap();
        }
        let mut change = catalog.change().await.unwrap();
        let found = change
            .call_to_mark(&Scope::tenant(tenant(1)), calls[0].id)
            .await
            .unwrap()
            .unwrap();
        change.delete_call(&found, "ann", "asked").await.unwrap();
        let event = Event::by(&Principal::operator("ops"), "calls.delete").of_tenant(tenant(1));
        change.commit(event).await.unwrap();
        let left: Vec<(Uuid, String)> =
            sqlx::query_as("SELECT id, body FROM deliveries ORDER BY id")
                .fetch_all(&catalog.readers)
                .await
                .unwrap();
        let of = |at: usize| left.iter().find(|(id, _)| *id == past[at]);
        for at in [0, 2] {
            assert_eq!(of(at).map(|(_, body)| body.as_str()), Some(""), "{at}");
            assert_eq!(of(at + 1), None, "{at}");
        }
        for at in 4..10 {
            assert!(of(at).is_some_and(|(_, body)| !body.is_empty()), "{at}");
        }
    }
}
