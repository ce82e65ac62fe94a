//! Users of the System tenant at work in another one.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::base::{TenantId, Timestamp, UserId};
use crate::catalog::change::new_id;
use crate::catalog::{Catalog, Change, Error, Result};

/// A time in which somebody works in a tenant that is not their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportAccess {
    pub id: Uuid,
    pub tenant: TenantId,
    pub user: UserId,
    pub login: String,
    pub reason: String,
    pub began_at: Timestamp,
    pub ends_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// Such a time that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportDraft {
    pub tenant: TenantId,
    pub user: UserId,
    pub reason: String,
    pub ends_at: Timestamp,
}

macro_rules! accesses {
    ($from:literal) => {
        concat!(
            "SELECT s.id, s.tenant_id, s.user_id, u.login, s.reason, s.began_at, s.ends_at, s.ended_at \
             FROM support_accesses s JOIN users u ON u.id = s.user_id ",
            $from
        )
    };
}

impl Catalog {
    /// The user's access to the tenant at this time.
    pub async fn support_access(
        &self,
        user: UserId,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<Option<SupportAccess>> {
        let row = sqlx::query(accesses!(
            "WHERE s.user_id = ? AND s.tenant_id = ? AND s.ended_at IS NULL AND s.ends_at > ? ORDER BY s.ends_at DESC LIMIT 1"
        ))
        .bind(user.0)
        .bind(tenant.0)
        .bind(now.as_nanos())
        .fetch_optional(&self.readers)
        .await;
        self.support_read(row)
    }

    /// The user's accesses that last, and the last hundred that are over.
    pub async fn support_accesses_of(&self, user: UserId) -> Result<Vec<SupportAccess>> {
        let rows = sqlx::query(accesses!(
            "WHERE s.user_id = ? ORDER BY s.began_at DESC, s.id LIMIT 100"
        ))
        .bind(user.0)
        .fetch_all(&self.readers)
        .await;
        rows.and_then(|rows| rows.iter().map(access_of).collect())
            .map_err(|error| Error::from_sqlx("list support accesses", &self.place, error))
    }

    /// One whose time is over, and of which the tenant's audit does not say so yet.
    pub async fn support_access_to_end(&self, now: Timestamp) -> Result<Option<SupportAccess>> {
        let row = sqlx::query(accesses!(
            "WHERE s.ended_at IS NULL AND s.ends_at <= ? LIMIT 1"
        ))
        .bind(now.as_nanos())
        .fetch_optional(&self.readers)
        .await;
        self.support_read(row)
    }

    fn support_read(&self, row: sqlx::Result<Option<SqliteRow>>) -> Result<Option<SupportAccess>> {
        row.and_then(|row| row.as_ref().map(access_of).transpose())
            .map_err(|error| Error::from_sqlx("look up a support access", &self.place, error))
    }
}

impl Change {
    pub async fn begin_support(&mut self, draft: &SupportDraft) -> Result<Uuid> {
        let (id, at) = (new_id(), self.at.as_nanos());
        self.run(
            "INSERT INTO support_accesses (id, tenant_id, user_id, reason, began_at, ends_at) VALUES (?, ?, ?, ?, ?, ?)",
            |sql| {
                sql.bind(id)
                    .bind(draft.tenant.0)
                    .bind(draft.user.0)
                    .bind(draft.reason.clone())
                    .bind(at)
                    .bind(draft.ends_at.as_nanos())
            },
        )
        .await?;
        Ok(id)
    }

    /// Ends the user's access, if it lasts; what it was.
    pub async fn end_support(&mut self, user: UserId, id: Uuid) -> Result<Option<SupportAccess>> {
        let failed = self.failed("end a support access");
        let at = self.at.as_nanos();
        let done = sqlx::query("UPDATE support_accesses SET ended_at = ? WHERE id = ? AND user_id = ? AND ended_at IS NULL")
            .bind(at)
            .bind(id)
            .bind(user.0)
            .execute(self.connection())
            .await;
        if done.map_err(failed)?.rows_affected() == 0 {
            return Ok(None);
        }
        let failed = self.failed("end a support access");
        let row = sqlx::query(accesses!("WHERE s.id = ?"))
            .bind(id)
            .fetch_optional(self.connection())
            .await;
        row.and_then(|row| row.as_ref().map(access_of).transpose())
            .map_err(failed)
    }
}

fn access_of(row: &SqliteRow) -> sqlx::Result<SupportAccess> {
    Ok(SupportAccess {
        id: row.try_get(0)?,
        tenant: TenantId(row.try_get(1)?),
        user: UserId(row.try_get(2)?),
        login: row.try_get(3)?,
        reason: row.try_get(4)?,
        began_at: Timestamp::from_nanos(row.try_get(5)?),
        ends_at: Timestamp::from_nanos(row.try_get(6)?),
        ended_at: row.try_get::<Option<i64>, _>(7)?.map(Timestamp::from_nanos),
    })
}
