//! Passwords and authenticators.

use crate::access::{RecoveryCode, TokenHash};
use crate::base::UserId;
use crate::catalog::{Catalog, Change, Error, Result};

/// How many earlier passwords are kept, whatever a tenant asks for.
const EARLIER_KEPT: i64 = 24;

/// A hash of a password that was in use before.
pub type EarlierPassword = String;

impl Catalog {
    /// Hashes of the user's passwords before the one in use, the last one first, at most `count`.
    pub async fn earlier_passwords(&self, user: UserId, count: u8) -> Result<Vec<EarlierPassword>> {
        sqlx::query_scalar(
            "SELECT hash FROM earlier_passwords WHERE user_id = ? ORDER BY set_at DESC LIMIT ?",
        )
        .bind(user.0)
        .bind(count)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| Error::from_sqlx("look up passwords", &self.place, error))
    }

    /// How many of the user's recovery codes were not used yet.
    pub async fn recovery_codes_left(&self, user: UserId) -> Result<u32> {
        sqlx::query_scalar("SELECT count(*) FROM recovery_codes WHERE user_id = ?")
            .bind(user.0)
            .fetch_one(&self.readers)
            .await
            .map_err(|error| Error::from_sqlx("count recovery codes", &self.place, error))
    }
}

impl Change {
    /// Gives the user this password; the one before is kept as an earlier one. Letters for another one open nothing any
    /// more, and every session but `kept` ends.
    pub async fn set_password(
        &mut self,
        user: UserId,
        hash: &str,
        must_change: bool,
        kept: Option<uuid::Uuid>,
    ) -> Result<()> {
        let at = self.at.as_nanos();
        self.run(
            "INSERT OR REPLACE INTO earlier_passwords (user_id, set_at, hash) \
             SELECT user_id, coalesce(password_set_at, 0), password_hash FROM credentials \
             WHERE user_id = ?1 AND password_hash IS NOT NULL",
            |sql| sql.bind(user.0),
        )
        .await?;
        self.run(
            "DELETE FROM earlier_passwords WHERE user_id = ?1 AND set_at NOT IN \
             (SELECT set_at FROM earlier_passwords WHERE user_id = ?1 ORDER BY set_at DESC LIMIT ?2)",
            |sql| sql.bind(user.0).bind(EARLIER_KEPT),
        )
        .await?;
        self.run(
            "INSERT INTO credentials (user_id, password_hash, password_set_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (user_id) DO UPDATE SET password_hash = ?2, password_set_at = ?3",
            |sql| sql.bind(user.0).bind(hash).bind(at),
        )
        .await?;
        self.run(
            "UPDATE users SET must_change_password = ?2, version = version + 1, changed_at = ?3 \
             WHERE id = ?1 AND must_change_password <> ?2",
            |sql| sql.bind(user.0).bind(must_change).bind(at),
        )
        .await?;
        self.end_resets(user).await?;
        self.end_sessions(user, kept).await.map(|_| ())
    }

    /// The same password, hashed at today's cost.
    pub async fn rehash_password(&mut self, user: UserId, before: &str, hash: &str) -> Result<()> {
        self.run(
            "UPDATE credentials SET password_hash = ?3 WHERE user_id = ?1 AND password_hash = ?2",
            |sql| sql.bind(user.0).bind(before).bind(hash),
        )
        .await
        .map(|_| ())
    }

    /// A new authenticator, which has yet to show a code.
    pub async fn begin_totp(&mut self, user: UserId, sealed: &[u8]) -> Result<()> {
        self.run(
            "INSERT INTO credentials (user_id, totp_secret) VALUES (?1, ?2) \
             ON CONFLICT (user_id) DO UPDATE SET totp_secret = ?2, totp_since = NULL, totp_last_step = NULL",
            |sql| sql.bind(user.0).bind(sealed),
        )
        .await
        .map(|_| ())
    }

    /// The authenticator has shown its first code, of this step. These are the user's recovery codes from now on.
    pub async fn confirm_totp(
        &mut self,
        user: UserId,
        step: u64,
        codes: &[RecoveryCode],
    ) -> Result<()> {
        let at = self.at.as_nanos();
        self.run(
            "UPDATE credentials SET totp_since = ?2, totp_last_step = ?3 WHERE user_id = ?1",
            |sql| sql.bind(user.0).bind(at).bind(step.cast_signed()),
        )
        .await?;
        self.replace_recovery_codes(user, codes).await
    }

    /// Takes a code's step, if it is later than the last that was taken: a code works once, however often it is shown at
    /// the same time.
    pub async fn take_totp_step(&mut self, user: UserId, step: u64) -> Result<bool> {
        let taken = self
            .run(
                "UPDATE credentials SET totp_last_step = ?2 \
                 WHERE user_id = ?1 AND (totp_last_step IS NULL OR totp_last_step < ?2)",
                |sql| sql.bind(user.0).bind(step.cast_signed()),
            )
            .await?;
        Ok(taken == 1)
    }

    /// The session has shown a code: of an authenticator that was just set up in it.
    pub async fn mark_totp_shown(&mut self, session: uuid::Uuid) -> Result<()> {
        self.run("UPDATE sessions SET totp_shown = 1 WHERE id = ?", |sql| {
            sql.bind(session)
        })
        .await
        .map(|_| ())
    }

    /// Removes the authenticator and its recovery codes.
    pub async fn remove_totp(&mut self, user: UserId) -> Result<()> {
        self.run(
            "UPDATE credentials SET totp_secret = NULL, totp_since = NULL, totp_last_step = NULL WHERE user_id = ?",
            |sql| sql.bind(user.0),
        )
        .await?;
        self.replace_recovery_codes(user, &[]).await
    }

    /// Only these codes are the user's from now on.
    pub async fn replace_recovery_codes(
        &mut self,
        user: UserId,
        codes: &[RecoveryCode],
    ) -> Result<()> {
        self.run("DELETE FROM recovery_codes WHERE user_id = ?", |sql| {
            sql.bind(user.0)
        })
        .await?;
        for code in codes {
            let hash = code.hash();
            self.run(
                "INSERT INTO recovery_codes (user_id, hash) VALUES (?, ?)",
                |sql| sql.bind(user.0).bind(hash.bytes().to_vec()),
            )
            .await?;
        }
        Ok(())
    }

    /// Whether it was one of the user's codes. It is none afterwards.
    pub async fn take_recovery_code(&mut self, user: UserId, code: TokenHash) -> Result<bool> {
        let taken = self
            .run(
                "DELETE FROM recovery_codes WHERE user_id = ? AND hash = ?",
                |sql| sql.bind(user.0).bind(code.bytes().to_vec()),
            )
            .await?;
        Ok(taken == 1)
    }

    /// One statement; how many rows it changed.
    pub(super) async fn run(
        &mut self,
        statement: &'static str,
        bind: impl for<'q> FnOnce(Statement<'q>) -> Statement<'q>,
    ) -> Result<u64> {
        let failed = self.failed("write what signing in needs");
        let done = bind(sqlx::query(statement))
            .execute(self.connection())
            .await;
        done.map(|done| done.rows_affected()).map_err(failed)
    }
}

/// A statement whose values are being bound.
pub(super) type Statement<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;
