//! What tenants have recorded, for their plans' limits.

use crate::access::Scope;
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Catalog, Change, Error, Result};

/// What a tenant has recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub tenant: TenantId,
    /// Recordings that are there, and what they take.
    pub recordings: u64,
    pub bytes: u64,
    /// Of calls that began in the calendar month that was asked about, UTC.
    pub length_ms_of_month: u64,
}

impl Catalog {
    /// What each tenant of the scope has recorded, and in the month of `now`.
    pub async fn usage(&self, scope: &Scope, now: Timestamp) -> Result<Vec<Usage>> {
        let utc = now.utc();
        let month = utc.year * 100 + i64::from(utc.month);
        let only = scope.only_tenant().map(|tenant| tenant.0);
        let rows: Vec<(uuid::Uuid, i64, i64, i64)> = sqlx::query_as(
            "SELECT tenant_id, sum(recordings), sum(bytes), sum(CASE month WHEN ?1 THEN length_ms ELSE 0 END) \
             FROM recorded WHERE ?2 IS NULL OR tenant_id = ?2 GROUP BY tenant_id",
        )
        .bind(month)
        .bind(only)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| Error::from_sqlx("sum up recordings", &self.place, error))?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let usage = rows
            .into_iter()
            .map(|(tenant, recordings, bytes, length_ms)| Usage {
                tenant: TenantId(tenant),
                recordings: count(recordings),
                bytes: count(bytes),
                length_ms_of_month: count(length_ms),
            });
        Ok(usage.collect())
    }
}

impl Change {
    /// Users of a tenant that are active, and so not removed.
    pub async fn active_users_of(&mut self, tenant: TenantId) -> Result<u64> {
        let failed = self.failed("count users");
        let count: sqlx::Result<i64> = sqlx::query_scalar(
            "SELECT count(*) FROM users WHERE tenant_id = ? AND active AND removed_at IS NULL",
        )
        .bind(tenant.0)
        .fetch_one(self.connection())
        .await;
        count
            .map(|count| u64::try_from(count).unwrap_or(0))
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::call;

    #[tokio::test]
    async fn what_is_recorded_is_summed_up_as_rows_come_change_and_go() {
        let catalog = Catalog::open("sqlite::memory:").await.unwrap();
        let mut one = call(1, 1);
        let mut two = call(1, 2);
        let now = one.started_at;
        two.started_at = now;
        for (row, bytes, length) in [(&mut one, 100, 60_000), (&mut two, 50, 30_000)] {
            row.length_ms = length;
            row.file = Some(crate::catalog::FileRecord {
                path: format!("a/{bytes}.wav"),
                size_bytes: bytes,
                format: "pcm16".into(),
                sample_rate_hz: 8000,
                blake3: None,
            });
        }
        let mut unrecorded = call(1, 3);
        unrecorded.file = None;
        catalog
            .record(&[one.clone(), two.clone(), unrecorded])
            .await
            .unwrap();
        let sums = async |at| {
            let usage = catalog.usage(&Scope::tenant(one.tenant), at).await.unwrap();
            let usage = usage.first().copied();
            usage.map(|usage| (usage.recordings, usage.bytes, usage.length_ms_of_month))
        };
        assert_eq!(sums(now).await, Some((2, 150, 90_000)));
        let next_month = now + std::time::Duration::from_secs(40 * 86_400);
        assert_eq!(sums(next_month).await, Some((2, 150, 0)));
        // Written again, with more in it; and gone.
        one.length_ms = 90_000;
        one.file.as_mut().unwrap().size_bytes = 200;
        catalog.record(&[one.clone()]).await.unwrap();
        assert_eq!(sums(now).await, Some((2, 250, 120_000)));
        catalog
            .remove_missing(&Scope::root(), &[(one.tenant, one.id)])
            .await
            .unwrap();
        assert_eq!(sums(now).await, Some((1, 50, 30_000)));
        let other = catalog
            .usage(&Scope::tenant(crate::base::SYSTEM_TENANT), now)
            .await;
        assert!(other.unwrap().is_empty());
    }
}
