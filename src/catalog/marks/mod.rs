//! What people add to calls and do with them: notes, categories, legal holds, deletion, links for others.
//!
//! In: a call that lies in the caller's scope ([`Change::call_to_mark`]). Out: what was added, within a scope.

mod categories;
mod deletion;
mod holds;
mod notes;
mod shares;

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

pub use categories::{Category, CategoryDraft, CategoryUse};
pub use deletion::{Deletion, Removal};
pub use holds::Hold;
pub use notes::{MAX_NOTES, Note, NoteDraft};
pub use shares::{MAX_SHARES, Opened, Share, ShareDraft};

use super::reach::Reach;
use super::{Catalog, Change, Disposition, Error, Result};
use crate::access::Scope;
use crate::base::{InteractionId, TenantId, Timestamp};

/// A call that is there and was not deleted, as far as marks need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallToMark {
    pub tenant: TenantId,
    pub id: Uuid,
    pub started_at: Timestamp,
    pub interaction: Option<InteractionId>,
    pub length_ms: u64,
    /// The audio, below the root of the storage.
    pub file_path: Option<String>,
    pub is_held: bool,
    /// The storage refused its recording when it was over, and may take it yet.
    pub may_be_late: bool,
}

/// What was added to a call, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Marks {
    pub is_held: bool,
    pub notes: u64,
    pub pinned_notes: u64,
    pub categories: Vec<CategoryUse>,
}

impl Catalog {
    /// The call, if it is in the scope and was not deleted.
    pub async fn call_to_mark(&self, scope: &Scope, id: Uuid) -> Result<Option<CallToMark>> {
        let failed = |error| Error::from_sqlx("look up a call", &self.place, error);
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        call_to_mark(&mut connection, scope, id)
            .await
            .map_err(failed)
    }

    /// Whether the catalog keeps the call from the scope: it was deleted, or lies outside. What it does not know it keeps from nobody.
    pub async fn is_kept_from(&self, scope: &Scope, tenant: TenantId, id: Uuid) -> Result<bool> {
        let is_known: sqlx::Result<bool> = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM calls WHERE tenant_id = ?1 AND id = ?2) \
             OR EXISTS (SELECT 1 FROM deleted_calls WHERE tenant_id = ?1 AND call_id = ?2)",
        )
        .bind(tenant.0)
        .bind(id)
        .fetch_one(&self.readers)
        .await;
        let failed = |error| Error::from_sqlx("look up a call", &self.place, error);
        Ok(match scope.within(tenant) {
            _ if !is_known.map_err(failed)? => false,
            Some(scope) => self.call_to_mark(&scope, id).await?.is_none(),
            None => true,
        })
    }

    /// What was added to these calls, in their order. Those outside the scope have nothing.
    pub async fn marks(&self, scope: &Scope, calls: &[(TenantId, Uuid)]) -> Result<Vec<Marks>> {
        let failed =
            |error| Error::from_sqlx("look up what was added to calls", &self.place, error);
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        let seen: Vec<_> = calls
            .iter()
            .copied()
            .filter(|(tenant, _)| scope.covers(*tenant))
            .collect();
        let mut found = marks_of(&mut connection, &seen).await.map_err(failed)?;
        Ok(calls
            .iter()
            .map(|call| found.remove(call).unwrap_or_default())
            .collect())
    }
}

impl Change {
    /// The call as it is now, if it is in the scope and was not deleted.
    pub async fn call_to_mark(&mut self, scope: &Scope, id: Uuid) -> Result<Option<CallToMark>> {
        let failed = self.failed("look up a call");
        call_to_mark(self.connection(), scope, id)
            .await
            .map_err(failed)
    }

    /// The tenant's calls of this one's interaction that are in the scope, itself among them.
    pub async fn calls_of_interaction(
        &mut self,
        scope: &Scope,
        call: &CallToMark,
    ) -> Result<Vec<CallToMark>> {
        let failed = self.failed("look up the calls of an interaction");
        let Some(interaction) = call.interaction else {
            return Ok(vec![call.clone()]);
        };
        let mut sql = select(scope);
        sql.push(" AND c.tenant_id = ").push_bind(call.tenant.0);
        sql.push(" AND c.interaction_id = ")
            .push_bind(interaction.0);
        sql.push(" ORDER BY c.started_at, c.id");
        let rows = sql.build().fetch_all(self.connection()).await;
        rows.and_then(|rows| rows.iter().map(call_of).collect())
            .map_err(failed)
    }
}

fn select(scope: &Scope) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(
        "SELECT c.tenant_id, c.id, c.started_at, c.interaction_id, c.length_ms, c.file_path, \
         EXISTS (SELECT 1 FROM call_holds h WHERE h.tenant_id = c.tenant_id AND h.call_id = c.id), \
         c.file_path IS NULL AND c.disposition = ",
    );
    sql.push_bind(Disposition::DiskError.code());
    sql.push(" FROM tenants t CROSS JOIN calls c ON c.tenant_id = t.id WHERE c.deleted_at IS NULL");
    Reach::of(scope, None).limit_calls(&mut sql, "c");
    sql
}

async fn call_to_mark(
    connection: &mut SqliteConnection,
    scope: &Scope,
    id: Uuid,
) -> sqlx::Result<Option<CallToMark>> {
    let mut sql = select(scope);
    sql.push(" AND c.id = ").push_bind(id).push(" LIMIT 1");
    let row = sql.build().fetch_optional(connection).await?;
    row.as_ref().map(call_of).transpose()
}

fn call_of(row: &sqlx::sqlite::SqliteRow) -> sqlx::Result<CallToMark> {
    Ok(CallToMark {
        tenant: TenantId(row.try_get(0)?),
        id: row.try_get(1)?,
        started_at: Timestamp::from_nanos(row.try_get(2)?),
        interaction: row.try_get::<Option<Uuid>, _>(3)?.map(InteractionId),
        length_ms: super::row::count(row.try_get(4)?),
        file_path: row.try_get(5)?,
        is_held: row.try_get(6)?,
        may_be_late: row.try_get(7)?,
    })
}

/// Of the calls that are named, by tenant and id in hexadecimal digits: one statement, whose text is the same however many
/// there are, so that it stays prepared.
const MARKS: &str = "WITH k (tenant_id, call_id) AS MATERIALIZED \
     (SELECT unhex(substr(value, 1, 32)), unhex(substr(value, 33)) FROM json_each(?)) \
     SELECT k.tenant_id, k.call_id, \
     EXISTS (SELECT 1 FROM call_holds h WHERE h.tenant_id = k.tenant_id AND h.call_id = k.call_id), \
     (SELECT count(*) FROM call_notes n WHERE n.tenant_id = k.tenant_id AND n.call_id = k.call_id), \
     (SELECT coalesce(sum(n.pinned), 0) FROM call_notes n WHERE n.tenant_id = k.tenant_id AND n.call_id = k.call_id), \
     (SELECT json_group_array(json_array(hex(c.id), c.name) ORDER BY c.name, c.id) FROM categorized_calls m \
      CROSS JOIN call_categories c ON c.id = m.category_id WHERE m.tenant_id = k.tenant_id AND m.call_id = k.call_id) \
     FROM k";

async fn marks_of(
    connection: &mut SqliteConnection,
    calls: &[(TenantId, Uuid)],
) -> sqlx::Result<HashMap<(TenantId, Uuid), Marks>> {
    if calls.is_empty() {
        return Ok(HashMap::new());
    }
    let named = |(tenant, id): &(TenantId, Uuid)| format!("{}{}", tenant.0.simple(), id.simple());
    let named: serde_json::Value = calls.iter().map(named).collect();
    let rows = sqlx::query(MARKS)
        .bind(named.to_string())
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| Ok(((TenantId(row.try_get(0)?), row.try_get(1)?), marks_in(row)?)))
        .collect()
}

fn marks_in(row: &SqliteRow) -> sqlx::Result<Marks> {
    let categories: Vec<(Uuid, String)> =
        serde_json::from_str(row.try_get(5)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let category = |(id, name)| CategoryUse { id, name };
    Ok(Marks {
        is_held: row.try_get(2)?,
        notes: super::row::count(row.try_get(3)?),
        pinned_notes: super::row::count(row.try_get(4)?),
        categories: categories.into_iter().map(category).collect(),
    })
}
