//! Links by which somebody without an account hears one call.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

use super::CallToMark;
use crate::access::{Operation, Principal, Resource, Scope};
use crate::base::{TenantId, Timestamp};
use crate::catalog::change::{new_id, now};
use crate::catalog::reach::Reach;
use crate::catalog::row::count;
use crate::catalog::{Catalog, Change, Error, Result};

/// Links that a call has at a time, at most.
pub const MAX_SHARES: u64 = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub id: Uuid,
    pub tenant: TenantId,
    pub call: Uuid,
    pub created_at: Timestamp,
    pub created_by: String,
    /// The user, or the service account: without its rights the link leads nowhere.
    pub creator: Option<Uuid>,
    pub reason: String,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    /// An argon2id hash.
    pub password_hash: Option<String>,
    /// How often it may be opened; none: any number of times.
    pub max_uses: Option<u64>,
    pub uses: u64,
    pub last_used_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareDraft {
    pub reason: String,
    pub expires_at: Timestamp,
    pub password_hash: Option<String>,
    pub max_uses: Option<u64>,
}

/// A link that somebody follows, and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub share: Share,
    pub call: CallToMark,
}

impl Share {
    /// Whether it leads anywhere at this time.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.revoked_at.is_none()
            && at < self.expires_at
            && self.max_uses.is_none_or(|most| self.uses < most)
    }
}

const COLUMNS: &str = "SELECT id, tenant_id, call_id, created_at, created_by, creator_id, reason, expires_at, revoked_at, \
     password_hash, max_uses, uses, last_used_at FROM call_shares WHERE ";

impl Catalog {
    /// The call's links, the newest first.
    pub async fn shares(&self, call: &CallToMark) -> Result<Vec<Share>> {
        let text = format!("{COLUMNS} tenant_id = ? AND call_id = ? ORDER BY created_at DESC, id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(call.tenant.0)
            .bind(call.id)
            .fetch_all(&self.readers)
            .await;
        rows.and_then(|rows| rows.iter().map(share_of).collect())
            .map_err(|error| Error::from_sqlx("list links", &self.place, error))
    }

    /// The link, if it leads to a call at this time. Only for who holds its signed token: there is no scope to ask.
    pub async fn opened_share(&self, id: Uuid) -> Result<Option<Opened>> {
        let share = self.share_by_id(id).await?;
        match share.filter(|share| share.is_open(now())) {
            Some(share) => Ok(self
                .call_of(&share)
                .await?
                .map(|call| Opened { share, call })),
            None => Ok(None),
        }
    }

    /// The call that a link leads to, if it was not revoked and is not over; whether it is used up does not matter any more.
    /// Only for who has opened it: there is no scope to ask.
    pub async fn shared_call(&self, id: Uuid) -> Result<Option<CallToMark>> {
        let open = |share: &Share| share.revoked_at.is_none() && now() < share.expires_at;
        match self.share_by_id(id).await?.filter(open) {
            Some(share) => self.call_of(&share).await,
            None => Ok(None),
        }
    }

    /// The call of a link, as far as who made the link may hear and share it now.
    async fn call_of(&self, share: &Share) -> Result<Option<CallToMark>> {
        let Some(maker) = self.maker(share).await? else {
            return Ok(None);
        };
        let may = |operation| maker.may(Resource::Calls, operation);
        if !may(Operation::Share) || !may(Operation::Playback) {
            return Ok(None);
        }
        let Some(scope) = maker.scope().within(share.tenant) else {
            return Ok(None);
        };
        self.call_to_mark(&scope, share.call).await
    }

    async fn maker(&self, share: &Share) -> Result<Option<Principal>> {
        let Some(id) = share.creator else {
            return Ok(None);
        };
        self.principal_of_maker(id).await
    }

    async fn share_by_id(&self, id: Uuid) -> Result<Option<Share>> {
        let text = format!("{COLUMNS} id = ?");
        let row = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(id)
            .fetch_optional(&self.readers)
            .await;
        row.and_then(|row| row.as_ref().map(share_of).transpose())
            .map_err(|error| Error::from_sqlx("look up a link", &self.place, error))
    }

    /// What links are signed with. The same from the first question on.
    pub async fn share_key(&self, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let failed = |error| Error::from_sqlx("look up the key of links", &self.place, error);
        sqlx::query("INSERT INTO call_share_key (only, key) VALUES (1, ?) ON CONFLICT DO NOTHING")
            .bind(&fresh[..])
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        let key: Vec<u8> = sqlx::query_scalar("SELECT key FROM call_share_key")
            .fetch_one(&self.writer)
            .await
            .map_err(failed)?;
        key.try_into()
            .map_err(|_| failed(sqlx::Error::Decode("a key of another length".into())))
    }

    /// What the links were signed with, if there ever was one.
    pub async fn known_share_key(&self) -> Result<Option<[u8; 32]>> {
        let key: sqlx::Result<Option<Vec<u8>>> =
            sqlx::query_scalar("SELECT key FROM call_share_key")
                .fetch_optional(&self.readers)
                .await;
        key.map(|key| key.and_then(|key| key.try_into().ok()))
            .map_err(|error| Error::from_sqlx("look up the key of links", &self.place, error))
    }
}

impl Change {
    /// # Errors
    ///
    /// [`Error::TooMany`] when the call has [`MAX_SHARES`] that are not revoked.
    pub async fn create_share(
        &mut self,
        call: &CallToMark,
        creator: Option<Uuid>,
        by: &str,
        draft: &ShareDraft,
    ) -> Result<Share> {
        let (at, failed) = (self.at, self.failed("make a link"));
        let id = new_id();
        let done = sqlx::query(
            "INSERT INTO call_shares (id, tenant_id, call_id, created_at, created_by, creator_id, reason, expires_at, \
             password_hash, max_uses, version) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1 \
             WHERE (SELECT count(*) FROM call_shares WHERE tenant_id = ? AND call_id = ? AND revoked_at IS NULL) < ?",
        )
        .bind(id)
        .bind(call.tenant.0)
        .bind(call.id)
        .bind(at.as_nanos())
        .bind(by)
        .bind(creator)
        .bind(&draft.reason)
        .bind(draft.expires_at.as_nanos())
        .bind(&draft.password_hash)
        .bind(draft.max_uses.map(|most| i64::try_from(most).unwrap_or(i64::MAX)))
        .bind(call.tenant.0)
        .bind(call.id)
        .bind(MAX_SHARES as i64)
        .execute(self.connection())
        .await
        .map_err(failed)?;
        if done.rows_affected() == 0 {
            return Err(Error::TooMany { what: "links" });
        }
        Ok(Share {
            id,
            tenant: call.tenant,
            call: call.id,
            created_at: at,
            created_by: by.to_owned(),
            creator,
            reason: draft.reason.clone(),
            expires_at: draft.expires_at,
            revoked_at: None,
            password_hash: draft.password_hash.clone(),
            max_uses: draft.max_uses,
            uses: 0,
            last_used_at: None,
        })
    }

    /// The link, if its call is in the scope and was not deleted.
    pub async fn share(&mut self, scope: &Scope, id: Uuid) -> Result<Option<Share>> {
        let failed = self.failed("look up a link");
        let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
        sql.push("id = ").push_bind(id);
        Reach::of(scope, None).limit(&mut sql, "tenant_id");
        let row = sql.build().fetch_optional(self.connection()).await;
        let share = row.and_then(|row| row.as_ref().map(share_of).transpose());
        let share = share.map_err(failed)?;
        // Where there is no link there is no call of its id either; but it takes the same time to say so.
        let of = share.as_ref().map_or(id, |share| share.call);
        let call = self.call_to_mark(scope, of).await?;
        let is_of = |share: &Share| call.is_some_and(|call| call.tenant == share.tenant);
        Ok(share.filter(is_of))
    }

    async fn share_by_id(&mut self, id: Uuid) -> Result<Option<Share>> {
        let failed = self.failed("look up a link");
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} id = ?")))
            .bind(id)
            .fetch_optional(self.connection())
            .await;
        row.and_then(|row| row.as_ref().map(share_of).transpose())
            .map_err(failed)
    }

    pub async fn revoke_share(&mut self, share: &Share) -> Result<()> {
        let (at, failed) = (self.at, self.failed("revoke a link"));
        sqlx::query("UPDATE call_shares SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
            .bind(at.as_nanos())
            .bind(share.id)
            .execute(self.connection())
            .await
            .map(|_| ())
            .map_err(failed)
    }

    /// The link, if it leads to a call at this time. Only for who holds its signed token: there is no scope to ask.
    pub async fn follow_share(&mut self, id: Uuid) -> Result<Option<Opened>> {
        let at = self.at;
        let share = self.share_by_id(id).await?;
        let Some(share) = share.filter(|share| share.is_open(at)) else {
            return Ok(None);
        };
        let scope = Scope::tenant(share.tenant);
        let call = self.call_to_mark(&scope, share.call).await?;
        Ok(call.map(|call| Opened { share, call }))
    }

    /// Counts that a link was used.
    pub async fn count_share(&mut self, share: &Share) -> Result<()> {
        let (at, failed) = (self.at, self.failed("count the use of a link"));
        sqlx::query("UPDATE call_shares SET uses = uses + 1, last_used_at = ? WHERE id = ?")
            .bind(at.as_nanos())
            .bind(share.id)
            .execute(self.connection())
            .await
            .map(|_| ())
            .map_err(failed)
    }
}

fn share_of(row: &SqliteRow) -> sqlx::Result<Share> {
    let time = |at: Option<i64>| at.map(Timestamp::from_nanos);
    Ok(Share {
        id: row.try_get(0)?,
        tenant: TenantId(row.try_get(1)?),
        call: row.try_get(2)?,
        created_at: Timestamp::from_nanos(row.try_get(3)?),
        created_by: row.try_get(4)?,
        creator: row.try_get(5)?,
        reason: row.try_get(6)?,
        expires_at: Timestamp::from_nanos(row.try_get(7)?),
        revoked_at: time(row.try_get(8)?),
        password_hash: row.try_get(9)?,
        max_uses: row.try_get::<Option<i64>, _>(10)?.map(count),
        uses: count(row.try_get(11)?),
        last_used_at: time(row.try_get(12)?),
    })
}
