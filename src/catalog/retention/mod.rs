//! Calls that go when their tenant's plan has kept them for long enough.
//!
//! In: for how many days plans keep calls. Out: what of a tenant is due ([`Catalog::due_calls`]), and its removal
//! ([`Change::expire`]), in batches. As with any [`Change`], there is no removal without its record in the audit; files go
//! after it, and until they are gone the catalog knows that they have to.

mod clock;
mod due;
mod expiry;
#[cfg(test)]
mod tests;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

pub use due::DueCall;
pub(super) use expiry::forget;
pub use expiry::{Expired, Expiring};

use super::{Catalog, Change, Error, Result};
use crate::access::{Retention, Scope, Shorter};
use crate::base::{TenantId, Timestamp};

impl Catalog {
    /// What is in force for the tenants in the scope, and what is to be; of one that is not among them calls are kept for ever.
    pub async fn retentions(&self, scope: &Scope) -> Result<Vec<(TenantId, Retention)>> {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT tenant_id, days, shorter_days, shorter_since FROM retentions",
        );
        if let Some(only) = scope.only_tenant() {
            sql.push(" WHERE tenant_id = ").push_bind(only.0);
        }
        sql.push(" ORDER BY tenant_id");
        let rows = sql.build().fetch_all(&self.readers).await;
        rows.and_then(|rows| rows.iter().map(retention_of).collect())
            .map_err(|error| {
                Error::from_sqlx("look up how long calls are kept", &self.place, error)
            })
    }

    /// The same of one tenant, if it is in the scope.
    pub async fn retention(&self, scope: &Scope, tenant: TenantId) -> Result<Retention> {
        if !scope.covers(tenant) {
            return Ok(Retention::default());
        }
        let found = self.retentions(&Scope::tenant(tenant)).await?;
        Ok(found
            .first()
            .map_or_else(Retention::default, |(_, one)| *one))
    }
}

impl Change {
    /// Writes what is in force for a tenant, and what is to be.
    pub async fn set_retention(&mut self, tenant: TenantId, retention: &Retention) -> Result<()> {
        let failed = self.failed("write how long calls are kept");
        let sql = match *retention == Retention::default() {
            true => {
                "DELETE FROM retentions WHERE tenant_id = ?1 AND ?2 IS NULL AND ?3 IS NULL AND ?4 IS NULL"
            }
            false => {
                "INSERT INTO retentions (tenant_id, days, shorter_days, shorter_since) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (tenant_id) DO UPDATE SET days = excluded.days, shorter_days = excluded.shorter_days, \
                 shorter_since = excluded.shorter_since"
            }
        };
        let shorter = retention.shorter;
        sqlx::query(sql)
            .bind(tenant.0)
            .bind(retention.days)
            .bind(shorter.map(|shorter| shorter.days))
            .bind(shorter.map(|shorter| shorter.since.as_nanos()))
            .execute(self.connection())
            .await
            .map(|_| ())
            .map_err(failed)
    }
}

fn retention_of(row: &SqliteRow) -> sqlx::Result<(TenantId, Retention)> {
    let days: Option<u32> = row.try_get(2)?;
    let since: Option<i64> = row.try_get(3)?;
    let shorter = days.zip(since).map(|(days, since)| Shorter {
        days,
        since: Timestamp::from_nanos(since),
    });
    let days = row.try_get(1)?;
    Ok((TenantId(row.try_get(0)?), Retention { days, shorter }))
}

/// A list for `json_each`, whose statement is the same however long it is.
fn list(values: impl Iterator<Item = serde_json::Value>) -> String {
    serde_json::Value::Array(values.collect()).to_string()
}

/// An id as `unhex` takes it.
fn hex(id: &Uuid) -> serde_json::Value {
    id.simple().to_string().into()
}

#[cfg(test)]
impl Catalog {
    /// From now on the audit takes no record of this action.
    pub async fn refuse_records_for_tests(&self, action: &str) {
        let sql = format!(
            "CREATE TRIGGER refused BEFORE INSERT ON audit WHEN NEW.action = '{action}' \
             BEGIN SELECT RAISE(ABORT, 'no room'); END"
        );
        let trigger = sqlx::query(sqlx::AssertSqlSafe(sql));
        trigger.execute(&self.writer).await.unwrap();
    }
}
