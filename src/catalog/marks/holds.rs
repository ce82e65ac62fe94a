//! Legal holds: nobody deletes a call that is held, nor does its age.

use sqlx::Row;

use super::CallToMark;
use crate::base::Timestamp;
use crate::catalog::{Catalog, Change, Error, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub held_at: Timestamp,
    pub held_by: String,
    pub reason: String,
}

const SELECT: &str =
    "SELECT held_at, held_by, reason FROM call_holds WHERE tenant_id = ? AND call_id = ?";

impl Catalog {
    pub async fn hold(&self, call: &CallToMark) -> Result<Option<Hold>> {
        let row = sqlx::query(SELECT)
            .bind(call.tenant.0)
            .bind(call.id)
            .fetch_optional(&self.readers)
            .await;
        row.and_then(|row| row.as_ref().map(hold_of).transpose())
            .map_err(|error| Error::from_sqlx("look up a hold", &self.place, error))
    }
}

impl Change {
    pub async fn hold(&mut self, call: &CallToMark) -> Result<Option<Hold>> {
        let failed = self.failed("look up a hold");
        let row = sqlx::query(SELECT)
            .bind(call.tenant.0)
            .bind(call.id)
            .fetch_optional(self.connection())
            .await;
        row.and_then(|row| row.as_ref().map(hold_of).transpose())
            .map_err(failed)
    }

    /// Holds a call; one that is held already takes this reason.
    pub async fn set_hold(&mut self, call: &CallToMark, by: &str, reason: &str) -> Result<Hold> {
        let (at, failed) = (self.at, self.failed("hold a call"));
        sqlx::query(
            "INSERT INTO call_holds (tenant_id, call_id, started_at, held_at, held_by, reason) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT (tenant_id, call_id) DO UPDATE SET held_at = excluded.held_at, held_by = excluded.held_by, \
             reason = excluded.reason",
        )
        .bind(call.tenant.0)
        .bind(call.id)
        .bind(call.started_at.as_nanos())
        .bind(at.as_nanos())
        .bind(by)
        .bind(reason)
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(Hold {
            held_at: at,
            held_by: by.to_owned(),
            reason: reason.to_owned(),
        })
    }

    pub async fn release_hold(&mut self, call: &CallToMark) -> Result<()> {
        let failed = self.failed("release a call");
        sqlx::query("DELETE FROM call_holds WHERE tenant_id = ? AND call_id = ?")
            .bind(call.tenant.0)
            .bind(call.id)
            .execute(self.connection())
            .await
            .map(|_| ())
            .map_err(failed)
    }
}

fn hold_of(row: &sqlx::sqlite::SqliteRow) -> sqlx::Result<Hold> {
    Ok(Hold {
        held_at: Timestamp::from_nanos(row.try_get(0)?),
        held_by: row.try_get(1)?,
        reason: row.try_get(2)?,
    })
}
