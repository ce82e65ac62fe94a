//! Letters to who has forgotten a password.

use sqlx::Row;

use super::identity::{self, Identity};
use crate::access::TokenHash;
use crate::base::{TenantId, Timestamp, UserId};
use crate::catalog::{Catalog, Change, Result};

impl Catalog {
    /// Users of the tenant with this e-mail address: nobody is meant where there are several.
    pub async fn identity_by_email(
        &self,
        tenant: TenantId,
        email: &str,
    ) -> Result<Option<Identity>> {
        let row = sqlx::query(identity::identities!(
            "",
            "WHERE u.tenant_id = ?1 AND u.email = ?2 COLLATE NOCASE AND u.removed_at IS NULL AND 1 = \
             (SELECT count(*) FROM users o WHERE o.tenant_id = ?1 AND o.email = ?2 COLLATE NOCASE AND o.removed_at IS NULL)"
        ))
        .bind(tenant.0)
        .bind(email)
        .fetch_optional(&self.readers);
        self.identity_read(row.await)
    }

    /// Whether a letter still opens, for whom: before a password is looked at.
    pub async fn reset(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Identity>> {
        let row = sqlx::query(identity::identities!(
            "",
            "JOIN password_resets p ON p.user_id = u.id WHERE p.token_hash = ? AND p.expires_at > ? AND u.removed_at IS NULL"
        ))
        .bind(token.bytes().to_vec())
        .bind(now.as_nanos())
        .fetch_optional(&self.readers)
        .await;
        self.identity_read(row)
    }
}

impl Change {
    /// A letter is on its way. Earlier ones open until they are over, or a password is set: whoever asks in somebody's name
    /// takes no letter from them.
    pub async fn begin_reset(
        &mut self,
        user: UserId,
        token: &TokenHash,
        expires_at: Timestamp,
    ) -> Result<()> {
        let token = token.bytes().to_vec();
        self.run(
            "INSERT INTO password_resets (token_hash, user_id, expires_at) VALUES (?, ?, ?)",
            |sql| sql.bind(token).bind(user.0).bind(expires_at.as_nanos()),
        )
        .await
        .map(|_| ())
    }

    /// Letters to the user that are on their way open nothing any more.
    pub(in crate::catalog) async fn end_resets(&mut self, user: UserId) -> Result<()> {
        self.run("DELETE FROM password_resets WHERE user_id = ?", |sql| {
            sql.bind(user.0)
        })
        .await
        .map(|_| ())
    }

    /// Whom a letter is for, if it still opens. It does not open again, should this change be committed.
    pub async fn take_reset(&mut self, token: &TokenHash) -> Result<Option<Identity>> {
        let failed = self.failed("look up a letter");
        let now = self.at.as_nanos();
        let taken = async {
            let row = sqlx::query(
                "DELETE FROM password_resets WHERE token_hash = ? RETURNING user_id, expires_at",
            )
            .bind(token.bytes().to_vec())
            .fetch_optional(self.connection())
            .await?;
            let Some(row) = row else { return Ok(None) };
            let (user, expires_at) = (UserId(row.try_get(0)?), row.try_get::<i64, _>(1)?);
            match expires_at > now {
                true => identity::by_id(self.connection(), user).await,
                false => Ok(None),
            }
        };
        taken.await.map_err(failed)
    }
}
