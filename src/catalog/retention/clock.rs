//! The time by which calls go, kept over a restart.

use crate::base::Timestamp;
use crate::catalog::{Catalog, Change, Error, Result};

const KEEP: &str = "INSERT INTO retention_clock (only, believed_at) VALUES (1, ?) \
     ON CONFLICT (only) DO UPDATE SET believed_at = excluded.believed_at";

impl Catalog {
    /// As it was kept last.
    pub async fn believed_time(&self) -> Result<Option<Timestamp>> {
        let at: sqlx::Result<Option<i64>> =
            sqlx::query_scalar("SELECT believed_at FROM retention_clock")
                .fetch_optional(&self.readers)
                .await;
        at.map(|at| at.map(Timestamp::from_nanos))
            .map_err(|error| Error::from_sqlx("look up the time", &self.place, error))
    }

    /// The time of the newest thing that the catalog knows: a call, or a record of the audit.
    pub async fn newest_time(&self) -> Result<Option<Timestamp>> {
        let at: sqlx::Result<Option<i64>> = sqlx::query_scalar(
            "SELECT max(at) FROM (SELECT max(started_at) AS at FROM calls UNION ALL SELECT max(at) FROM audit)",
        )
        .fetch_one(&self.readers)
        .await;
        at.map(|at| at.map(Timestamp::from_nanos))
            .map_err(|error| Error::from_sqlx("look up the newest call", &self.place, error))
    }

    /// Keeps it where it is still `before`; else somebody has said another meanwhile, and that stays. Whether it was. Nobody's change.
    pub async fn keep_believed_time(
        &self,
        at: Timestamp,
        before: Option<Timestamp>,
    ) -> Result<bool> {
        let kept = sqlx::query(
            "INSERT INTO retention_clock (only, believed_at) VALUES (1, ?1) \
             ON CONFLICT (only) DO UPDATE SET believed_at = excluded.believed_at WHERE believed_at IS ?2",
        )
        .bind(at.as_nanos())
        .bind(before.map(Timestamp::as_nanos))
        .execute(&self.writer)
        .await;
        kept.map(|done| done.rows_affected() > 0)
            .map_err(|error| Error::from_sqlx("keep the time", &self.place, error))
    }
}

impl Change {
    /// Somebody says that this is the time. What waits to be in force begins to wait anew: the time that it is moved by has passed
    /// unseen.
    pub async fn set_believed_time(&mut self, at: Timestamp) -> Result<()> {
        const WAIT: &str =
            "UPDATE retentions SET shorter_since = ? WHERE shorter_since IS NOT NULL";
        let place = self.place.clone();
        for statement in [KEEP, WAIT] {
            sqlx::query(statement)
                .bind(at.as_nanos())
                .execute(self.connection())
                .await
                .map_err(|error| Error::from_sqlx("write the time", &place, error))?;
        }
        Ok(())
    }
}
