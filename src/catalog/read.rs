//! Reading.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::plan::Plan;
use super::query::Cursor;
use super::reach::Reach;
use super::row::{CALL_AND_TENANT, call_of, count};
use super::{
    CallQuery, CallRecord, Catalog, Disposition, Error, FileRow, InteractionRow, Page, Result,
    TenantRow,
};
use crate::access::Scope;
use crate::base::{InteractionId, TenantId, Timestamp};

impl Catalog {
    /// A page of calls, newest first.
    ///
    /// A page by time takes as long however many calls there are, and so does one by number, user or extension, unless
    /// other filters leave little of what that one finds.
    ///
    /// # Errors
    ///
    /// [`Error::Cursor`] when [`CallQuery::after`] is not what an earlier page gave.
    pub async fn calls(&self, scope: &Scope, query: &CallQuery) -> Result<Page> {
        let failed = |error| Error::from_sqlx("search calls", &self.place, error);
        let mut plan = Plan::new(scope, query)?;
        // One statement gives the page, so it needs no transaction; what a plan counts before only says how it is asked.
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        settle(&mut plan, &mut connection).await.map_err(failed)?;
        let mut rows = rows_of(&plan, &mut connection).await.map_err(failed)?;
        if plan.is_to_be_asked_again(rows.len()) {
            rows = rows_of(&plan, &mut connection).await.map_err(failed)?;
        }
        drop(connection);
        let more = rows.len() > plan.limit();
        rows.truncate(plan.limit());
        let calls = rows.iter().map(call_of);
        let calls: Vec<CallRecord> = calls.collect::<sqlx::Result<_>>().map_err(failed)?;
        let next = calls
            .last()
            .filter(|_| more)
            .map(|last| Cursor::behind(last, query.sort).to_text());
        Ok(Page { calls, next })
    }

    /// The call with this id, once for each tenant in the scope that owns it; empty when there is none. Ids of
    /// recordings are each of one tenant.
    pub async fn call(&self, scope: &Scope, id: Uuid) -> Result<Vec<CallRecord>> {
        let failed = |error| Error::from_sqlx("look up a call", &self.place, error);
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT ");
        sql.push(CALL_AND_TENANT)
            .push(" FROM tenants t CROSS JOIN calls c ON c.tenant_id = t.id WHERE c.id = ");
        sql.push_bind(id);
        Reach::of(scope, None).limit_calls(&mut sql, "c");
        let rows = sql.build().fetch_all(&self.readers).await;
        rows.and_then(|rows| rows.iter().map(call_of).collect())
            .map_err(failed)
    }

    /// Up to `limit` files, in the order of tenant and id, from behind `after` (the last one of the answer before) on;
    /// empty when there are no more.
    pub async fn files(
        &self,
        scope: &Scope,
        after: Option<(TenantId, Uuid)>,
        limit: u32,
    ) -> Result<Vec<FileRow>> {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT tenant_id, id, file_path, size_bytes FROM calls WHERE file_path IS NOT NULL AND deleted_at IS NULL",
        );
        Reach::of(scope, None).limit_calls(&mut sql, "calls");
        if let Some((tenant, id)) = after {
            sql.push(" AND (tenant_id, id) > (")
                .push_bind(tenant.0)
                .push(", ")
                .push_bind(id)
                .push(")");
        }
        sql.push(" ORDER BY tenant_id, id LIMIT ").push_bind(limit);
        let rows = sql.build().fetch_all(&self.readers).await;
        rows.and_then(|rows| rows.iter().map(file_row_of).collect())
            .map_err(|error| Error::from_sqlx("list files", &self.place, error))
    }

    /// How many calls ended in each disposition, of those that started at `from` or later and before `to`. Most calls
    /// first.
    pub async fn dispositions(
        &self,
        scope: &Scope,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<(Disposition, u64)>> {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT disposition, count(*) FROM calls WHERE deleted_at IS NULL",
        );
        Reach::of(scope, None).limit_calls(&mut sql, "calls");
        if let Some(from) = from {
            sql.push(" AND started_at >= ").push_bind(from.as_nanos());
        }
        if let Some(to) = to {
            sql.push(" AND started_at < ").push_bind(to.as_nanos());
        }
        sql.push(" GROUP BY disposition ORDER BY count(*) DESC, disposition");
        let rows: sqlx::Result<Vec<(String, i64)>> =
            sql.build_query_as().fetch_all(&self.readers).await;
        rows.map(|rows| {
            rows.into_iter()
                .map(|(code, calls)| (code.as_str().into(), count(calls)))
                .collect()
        })
        .map_err(|error| Error::from_sqlx("count calls", &self.place, error))
    }

    /// The tenants that calls were written for, by name.
    pub async fn tenants(&self, scope: &Scope) -> Result<Vec<TenantRow>> {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT id, name, first_seen, last_seen FROM tenants WHERE TRUE",
        );
        Reach::of(scope, None).limit(&mut sql, "id");
        sql.push(" ORDER BY name, id");
        let rows = sql.build().fetch_all(&self.readers).await;
        rows.and_then(|rows| rows.iter().map(tenant_row_of).collect())
            .map_err(|error| Error::from_sqlx("list tenants", &self.place, error))
    }

    /// The interaction with this id, as each tenant in the scope sees it.
    pub async fn interaction(
        &self,
        scope: &Scope,
        id: InteractionId,
    ) -> Result<Vec<InteractionRow>> {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT n.tenant_id, n.id, n.first_at, n.last_at FROM tenants t \
             CROSS JOIN interactions n ON n.tenant_id = t.id WHERE n.id = ",
        );
        sql.push_bind(id.0);
        let reach = Reach::of(scope, None);
        reach.limit(&mut sql, "t.id");
        sql.push(" AND EXISTS (SELECT 1 FROM calls c WHERE c.tenant_id = n.tenant_id AND c.interaction_id = n.id");
        reach.limit_calls(&mut sql, "c");
        sql.push(")");
        let rows = sql.build().fetch_all(&self.readers).await;
        rows.and_then(|rows| rows.iter().map(interaction_row_of).collect())
            .map_err(|error| Error::from_sqlx("look up an interaction", &self.place, error))
    }
}

async fn rows_of(plan: &Plan, connection: &mut SqliteConnection) -> sqlx::Result<Vec<SqliteRow>> {
    plan.sql().build().fetch_all(connection).await
}

/// Lets a plan choose by how many calls its filters have.
async fn settle(plan: &mut Plan, connection: &mut SqliteConnection) -> sqlx::Result<()> {
    if let Some(group) = plan.group_to_place() {
        let tenant: Option<Uuid> = sqlx::query_scalar("SELECT tenant_id FROM groups WHERE id = ?")
            .bind(group.0)
            .fetch_optional(&mut *connection)
            .await?;
        plan.place_group(tenant.map(TenantId));
    }
    let mut counts = Vec::new();
    for mut probe in plan.probes() {
        counts.push(
            probe
                .build_query_scalar()
                .fetch_one(&mut *connection)
                .await?,
        );
    }
    plan.settle(&counts);
    Ok(())
}

fn file_row_of(row: &SqliteRow) -> sqlx::Result<FileRow> {
    Ok(FileRow {
        tenant: TenantId(row.try_get(0)?),
        id: row.try_get(1)?,
        path: row.try_get(2)?,
        size_bytes: count(row.try_get(3)?),
    })
}

fn tenant_row_of(row: &SqliteRow) -> sqlx::Result<TenantRow> {
    Ok(TenantRow {
        id: TenantId(row.try_get(0)?),
        name: row.try_get(1)?,
        first_seen: Timestamp::from_nanos(row.try_get(2)?),
        last_seen: Timestamp::from_nanos(row.try_get(3)?),
    })
}

fn interaction_row_of(row: &SqliteRow) -> sqlx::Result<InteractionRow> {
    Ok(InteractionRow {
        tenant: TenantId(row.try_get(0)?),
        id: InteractionId(row.try_get(1)?),
        first_at: Timestamp::from_nanos(row.try_get(2)?),
        last_at: Timestamp::from_nanos(row.try_get(3)?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[tokio::test]
    async fn files_are_listed_whole_page_after_page() {
        let catalog = in_memory().await;
        let mut calls: Vec<_> = (0..25)
            .map(|number| call(u128::from(number % 3), number))
            .collect();
        calls.push(unrecorded(1, 99, Disposition::NoMedia));
        catalog.record(&calls).await.unwrap();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = catalog.files(&Scope::root(), after, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some((last.tenant, last.id));
            found.extend(
                page.into_iter()
                    .map(|file| (file.tenant, file.id, file.path, file.size_bytes)),
            );
        }
        let mut expected: Vec<_> = calls
            .into_iter()
            .filter_map(|call| {
                call.file
                    .map(|file| (call.tenant, call.id, file.path, file.size_bytes))
            })
            .collect();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn dispositions_are_counted_over_a_time() {
        let catalog = in_memory().await;
        let calls = [
            call(1, 1),
            call(1, 2),
            call(2, 3),
            unrecorded(1, 4, Disposition::Encrypted),
            unrecorded(2, 5, Disposition::Other("lost_in_space".into())),
        ];
        catalog.record(&calls).await.unwrap();
        let all = catalog
            .dispositions(&Scope::root(), None, None)
            .await
            .unwrap();
        let lost = Disposition::from("lost_in_space");
        assert_eq!(
            all,
            [
                (Disposition::Recorded, 3),
                (Disposition::Encrypted, 1),
                (lost, 1)
            ]
        );
        let (from, to) = (Some(calls[1].started_at), Some(calls[3].started_at));
        let some = catalog
            .dispositions(&Scope::tenant(tenant(1)), from, to)
            .await
            .unwrap();
        assert_eq!(some, [(Disposition::Recorded, 1)]);
    }

    #[tokio::test]
    async fn what_is_not_there_and_what_is_not_in_scope_look_the_same() {
        let catalog = in_memory().await;
        catalog.record(&[call(1, 1)]).await.unwrap();
        let scope = Scope::tenant(tenant(2));
        assert_eq!(catalog.call(&scope, call(1, 1).id).await.unwrap(), []);
        assert_eq!(catalog.call(&scope, Uuid::nil()).await.unwrap(), []);
        let query = CallQuery {
            tenant: Some(tenant(1)),
            ..CallQuery::default()
        };
        assert_eq!(
            catalog.calls(&scope, &query).await.unwrap(),
            Page {
                calls: vec![],
                next: None
            }
        );
    }

    #[tokio::test]
    async fn a_row_that_is_not_what_was_written_is_called_damage() {
        let catalog = in_memory().await;
        catalog.record(&[call(1, 1)]).await.unwrap();
        sqlx::query("UPDATE calls SET attribution = '{'")
            .execute(&catalog.writer)
            .await
            .unwrap();
        let error = catalog
            .call(&Scope::root(), call(1, 1).id)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}
