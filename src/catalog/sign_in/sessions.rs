//! Who is signed in.

use std::net::IpAddr;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::identity::{IDENTITY_COLUMNS, Identity, identities, identity_of, time};
use crate::access::TokenHash;
use crate::base::{Timestamp, UserId};
use crate::catalog::change::new_id;
use crate::catalog::{Catalog, Change, Error, Result};

/// Sessions that one user has at a time. The one that was used longest ago makes room.
const SESSIONS_KEPT: i64 = 50;

/// Characters that are kept of what a browser calls itself.
const AGENT_CHARS: usize = 200;

/// Somebody who signed in, with one browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: Uuid,
    pub user: UserId,
    pub began_at: Timestamp,
    /// The last request, within a minute.
    pub used_at: Timestamp,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub totp_shown: bool,
    pub stepped_up_at: Option<Timestamp>,
}

/// A session that begins.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub user: UserId,
    pub token: TokenHash,
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub totp_shown: bool,
    /// Whether signing in is proof enough for what cannot be undone.
    pub stepped_up: bool,
}

impl Catalog {
    /// The session of a token, and whose it is, with the rights of this moment. Whether it still lives is not asked.
    pub async fn session(&self, token: &TokenHash) -> Result<Option<(Session, Identity)>> {
        let row = sqlx::query(identities!(
            ", s.id, s.user_id, s.began_at, s.used_at, s.address, s.user_agent, s.totp_shown, s.stepped_up_at",
            "JOIN sessions s ON s.user_id = u.id WHERE s.token_hash = ? AND u.removed_at IS NULL"
        ))
        .bind(token.bytes())
        .fetch_optional(&self.readers)
        .await;
        let read = |row: SqliteRow| Ok((session_of(&row, IDENTITY_COLUMNS)?, identity_of(&row)?));
        row.and_then(|row| row.map(read).transpose())
            .map_err(|error| Error::from_sqlx("look up a session", &self.place, error))
    }

    /// The user's sessions, the last begun first. Some of them may be over.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<Session>> {
        let rows = sqlx::query(
            "SELECT id, user_id, began_at, used_at, address, user_agent, totp_shown, stepped_up_at FROM sessions \
             WHERE user_id = ? ORDER BY began_at DESC, id",
        )
        .bind(user.0)
        .fetch_all(&self.readers)
        .await;
        rows.and_then(|rows| rows.iter().map(|row| session_of(row, 0)).collect())
            .map_err(|error| Error::from_sqlx("list sessions", &self.place, error))
    }

    /// The session was used at this time: nothing that the audit keeps.
    pub async fn touch_session(&self, session: Uuid, now: Timestamp) -> Result<()> {
        sqlx::query("UPDATE sessions SET used_at = max(used_at, ?) WHERE id = ?")
            .bind(now.as_nanos())
            .bind(session)
            .execute(&self.writer)
            .await
            .map(|_| ())
            .map_err(|error| Error::from_sqlx("note the use of a session", &self.place, error))
    }

    /// Removes what nobody can use any more: sessions that were not used since `used_before`, letters that are too old.
    pub async fn sweep_sign_in(&self, used_before: Timestamp, now: Timestamp) -> Result<()> {
        let swept = async {
            sqlx::query("DELETE FROM sessions WHERE used_at < ?")
                .bind(used_before.as_nanos())
                .execute(&self.writer)
                .await?;
            sqlx::query("DELETE FROM password_resets WHERE expires_at < ?")
                .bind(now.as_nanos())
                .execute(&self.writer)
                .await
        };
        swept
            .await
            .map(|_| ())
            .map_err(|error| Error::from_sqlx("sweep old sessions", &self.place, error))
    }
}

impl Change {
    /// Begins a session; its id.
    pub async fn begin_session(&mut self, new: &NewSession) -> Result<Uuid> {
        let (id, at) = (new_id(), self.at.as_nanos());
        self.run(
            "DELETE FROM sessions WHERE user_id = ?1 AND id NOT IN \
             (SELECT id FROM sessions WHERE user_id = ?1 ORDER BY used_at DESC LIMIT ?2)",
            |sql| sql.bind(new.user.0).bind(SESSIONS_KEPT - 1),
        )
        .await?;
        let agent = new.user_agent.as_deref().map(shortened);
        let address = new.address.map(|address| address.to_string());
        let stepped_up = new.stepped_up.then_some(at);
        let token = new.token.bytes().to_vec();
        self.run(
            "INSERT INTO sessions (id, token_hash, user_id, began_at, used_at, address, user_agent, totp_shown, \
             stepped_up_at) VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8)",
            |sql| {
                sql.bind(id)
                    .bind(token)
                    .bind(new.user.0)
                    .bind(at)
                    .bind(address)
                    .bind(agent)
                    .bind(new.totp_shown)
                    .bind(stepped_up)
            },
        )
        .await?;
        Ok(id)
    }

    /// The session has shown more of who it is: from now on it has this token, and the one before opens nothing.
    pub async fn strengthen_session(
        &mut self,
        session: Uuid,
        token: &TokenHash,
        totp_shown: bool,
    ) -> Result<()> {
        let (at, token) = (self.at.as_nanos(), token.bytes().to_vec());
        self.run(
            "UPDATE sessions SET token_hash = ?2, totp_shown = totp_shown OR ?3, stepped_up_at = ?4, used_at = ?4 \
             WHERE id = ?1",
            |sql| sql.bind(session).bind(token).bind(totp_shown).bind(at),
        )
        .await
        .map(|_| ())
    }

    /// Whether the user had this session. It is over afterwards.
    pub async fn end_session(&mut self, user: UserId, session: Uuid) -> Result<bool> {
        let ended = self
            .run("DELETE FROM sessions WHERE id = ? AND user_id = ?", |sql| {
                sql.bind(session).bind(user.0)
            })
            .await?;
        Ok(ended == 1)
    }

    /// Ends the user's sessions, all but `kept`; how many.
    pub async fn end_sessions(&mut self, user: UserId, kept: Option<Uuid>) -> Result<u64> {
        self.run(
            "DELETE FROM sessions WHERE user_id = ?1 AND id IS NOT ?2",
            |sql| sql.bind(user.0).bind(kept),
        )
        .await
    }
}

fn session_of(row: &SqliteRow, first: usize) -> sqlx::Result<Session> {
    Ok(Session {
        id: row.try_get(first)?,
        user: UserId(row.try_get(first + 1)?),
        began_at: Timestamp::from_nanos(row.try_get(first + 2)?),
        used_at: Timestamp::from_nanos(row.try_get(first + 3)?),
        address: row.try_get(first + 4)?,
        user_agent: row.try_get(first + 5)?,
        totp_shown: row.try_get(first + 6)?,
        stepped_up_at: time(row.try_get(first + 7)?),
    })
}

fn shortened(agent: &str) -> String {
    let fit = agent.chars().filter(|c| !c.is_control());
    fit.take(AGENT_CHARS).collect()
}
