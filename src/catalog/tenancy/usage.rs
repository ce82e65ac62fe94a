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
    /// Of calls that began in the calendar month that was asked about, UTC: also of those that were deleted since.
    pub length_ms_of_month: u64,
}

impl Catalog {
    /// What each tenant of the scope has recorded, and in the month of `now`.
    pub async fn usage(&self, scope: &Scope, now: Timestamp) -> Result<Vec<Usage>> {
        let utc = now.utc();
        let month = utc.year * 100 + i64::from(utc.month);
        let only = scope.only_tenant().map(|tenant| tenant.0);
        let rows: Vec<(uuid::Uuid, i64, i64, i64)> = sqlx::query_as(
            "SELECT tenant_id, sum(recordings), sum(bytes), sum(CASE month WHEN ?1 THEN length_ms ELSE 0 END) FROM \
             (SELECT tenant_id, month, recordings, bytes, length_ms FROM recorded WHERE ?2 IS NULL OR tenant_id = ?2 \
             UNION ALL SELECT tenant_id, month, 0, 0, length_ms FROM used_minutes WHERE ?2 IS NULL OR tenant_id = ?2) \
             GROUP BY tenant_id",
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
    use std::time::Duration;

    use super::*;
    use crate::access::{Event, Principal};
    use crate::catalog::testing::{call, in_memory, tenant, unrecorded};
    use crate::catalog::{CallRecord, Disposition, Rebuild};

    /// A recorded call of tenant 1 that began at the second.
    fn recorded(number: u64, at: i64, bytes: u64, length_ms: u64) -> CallRecord {
        let mut call = call(1, number);
        call.started_at = Timestamp::from_secs_nanos(at, 0);
        call.length_ms = length_ms;
        call.file.as_mut().unwrap().size_bytes = bytes;
        call
    }

    /// A second of November 2026.
    const NOW: i64 = 1_795_000_000;

    /// Recordings, bytes, and milliseconds of November 2026, of tenant 1.
    async fn sums(catalog: &Catalog) -> Option<(u64, u64, u64)> {
        sums_at(catalog, Timestamp::from_secs_nanos(NOW, 0)).await
    }

    async fn sums_at(catalog: &Catalog, at: Timestamp) -> Option<(u64, u64, u64)> {
        let usage = catalog.usage(&Scope::tenant(tenant(1)), at).await.unwrap();
        let usage = usage.first().copied();
        usage.map(|usage| (usage.recordings, usage.bytes, usage.length_ms_of_month))
    }

    async fn delete(catalog: &Catalog, call: &CallRecord) {
        let mut change = catalog.change().await.unwrap();
        let found = change.call_to_mark(&Scope::root(), call.id).await;
        let found = found.unwrap().unwrap();
        change.delete_call(&found, "ann", "asked").await.unwrap();
        let event = Event::by(&Principal::operator("ops"), "calls.delete");
        change.commit(event).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_recorded_is_summed_up_as_rows_come_change_and_go() {
        let catalog = in_memory().await;
        let mut one = recorded(1, NOW, 100, 60_000);
        let two = recorded(2, NOW, 50, 30_000);
        let nothing = unrecorded(1, 3, Disposition::NoMedia);
        let calls = [one.clone(), two, nothing];
        catalog.record(&calls).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((2, 150, 90_000)));
        let next_month = one.started_at + Duration::from_secs(40 * 86_400);
        assert_eq!(sums_at(&catalog, next_month).await, Some((2, 150, 0)));
        // Written again, with more in it; and its file gone from the storage.
        one.length_ms = 90_000;
        one.file.as_mut().unwrap().size_bytes = 200;
        catalog.record(std::slice::from_ref(&one)).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((2, 250, 120_000)));
        let missing = [(one.tenant, one.id)];
        let removed = catalog.remove_missing(&Scope::root(), &missing).await;
        assert_eq!(removed.unwrap(), 1);
        assert_eq!(sums(&catalog).await, Some((1, 50, 120_000)));
        let other = Scope::tenant(crate::base::SYSTEM_TENANT);
        let other = catalog.usage(&other, one.started_at).await;
        assert!(other.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_deletion_gives_room_back_and_no_minutes() {
        let catalog = in_memory().await;
        let one = recorded(1, NOW, 100, 60_000);
        let earlier = recorded(2, NOW - 40 * 86_400, 7, 5_000);
        catalog
            .record(&[one.clone(), earlier.clone()])
            .await
            .unwrap();
        for call in [&one, &earlier] {
            delete(&catalog, call).await;
        }
        assert_eq!(
            sums(&catalog).await,
            Some((2, 107, 60_000)),
            "files are there"
        );
        for call in [&one, &earlier] {
            catalog.files_gone(call.tenant, call.id).await.unwrap();
        }
        assert_eq!(sums(&catalog).await, Some((0, 0, 60_000)));
        assert_eq!(
            sums_at(&catalog, earlier.started_at).await,
            Some((0, 0, 5_000))
        );
        // A sidecar that was found again is no second recording.
        catalog.record(std::slice::from_ref(&one)).await.unwrap();
        catalog.files_gone(one.tenant, one.id).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((0, 0, 60_000)));
    }

    #[tokio::test]
    async fn a_leg_that_gave_way_is_not_counted_beside_the_one_that_was_kept() {
        let catalog = in_memory().await;
        let legs = [1, 2, 3].map(|number| recorded(number, NOW, 10, 60_000));
        let give_way = |leg: &CallRecord| CallRecord {
            disposition: Disposition::OtherLeg,
            file: None,
            length_ms: 0,
            ..leg.clone()
        };
        catalog.record(&legs).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((3, 30, 180_000)));
        catalog.record(&[give_way(&legs[0])]).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((2, 20, 120_000)));
        // Somebody had deleted it before that was known; it may be told twice.
        delete(&catalog, &legs[1]).await;
        catalog.files_gone(tenant(1), legs[1].id).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((1, 10, 120_000)));
        for _ in 0..2 {
            catalog.record(&[give_way(&legs[1])]).await.unwrap();
            assert_eq!(sums(&catalog).await, Some((1, 10, 60_000)));
        }
        delete(&catalog, &legs[2]).await;
        catalog.files_gone(tenant(1), legs[2].id).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((0, 0, 60_000)));
    }

    #[tokio::test]
    async fn a_rebuild_counts_what_is_there_and_keeps_what_was_used() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/c.db", folder.path().display());
        let catalog = Catalog::open(&url).await.unwrap();
        let [stays, gone, going, lost, missed] =
            [1, 2, 3, 4, 5].map(|at| recorded(at, NOW, 10 * at, 1000 * at));
        let known = [&stays, &gone, &going, &lost].map(Clone::clone);
        catalog.record(&known).await.unwrap();
        for call in [&gone, &going] {
            delete(&catalog, call).await;
        }
        catalog.files_gone(gone.tenant, gone.id).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((3, 80, 10_000)));
        catalog.close().await;
        // Files of the one that is deleted are still there, and so are those of one that the catalog never heard of.
        let rebuilt_of = async |found: &[CallRecord]| {
            let mut rebuild = Rebuild::begin(&url).await.unwrap();
            rebuild.record(found).await.unwrap();
            rebuild.finish().await.unwrap();
            drop(rebuild);
            Catalog::open(&url).await.unwrap()
        };
        let found = [&stays, &going, &missed].map(Clone::clone);
        let catalog = rebuilt_of(&found).await;
        assert_eq!(sums(&catalog).await, Some((3, 90, 11_000)));
        catalog.files_gone(going.tenant, going.id).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((2, 60, 11_000)));
        catalog.close().await;
        // With nothing but what was used.
        let catalog = rebuilt_of(&[]).await;
        assert_eq!(sums(&catalog).await, Some((0, 0, 5_000)));
    }

    #[tokio::test]
    async fn what_was_deleted_under_an_earlier_version_was_used_too() {
        let catalog = in_memory().await;
        let calls = [1, 2, 3].map(|number| recorded(number, NOW, 10, 60_000));
        catalog.record(&calls).await.unwrap();
        // As an earlier version left it: counted until the files are gone, and then not.
        for call in &calls[..2] {
            delete(&catalog, call).await;
        }
        catalog.files_gone(tenant(1), calls[0].id).await.unwrap();
        for sql in [
            "DROP TABLE used_minutes",
            "UPDATE recorded SET length_ms = 120000",
            include_str!("../sqlite/0016_used_minutes.sql"),
        ] {
            sqlx::raw_sql(sql).execute(&catalog.writer).await.unwrap();
        }
        assert_eq!(sums(&catalog).await, Some((2, 20, 180_000)));
        catalog.files_gone(tenant(1), calls[1].id).await.unwrap();
        assert_eq!(sums(&catalog).await, Some((1, 10, 180_000)));
    }
}
