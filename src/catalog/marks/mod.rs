//! What people add to calls and do with them: notes, categories, legal holds, deletion, links for others.
//!
//! In: a call that lies in the caller's scope ([`Change::call_to_mark`]). Out: what was added, within a scope.

mod categories;
mod deletion;
mod holds;
mod notes;
mod shares;

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

pub use categories::{Category, CategoryDraft, CategoryUse};
pub use deletion::{Deletion, Removal};
pub use holds::Hold;
pub use notes::{MAX_NOTES, Note, NoteDraft};
pub use shares::{MAX_SHARES, Opened, Share, ShareDraft};

use super::reach::Reach;
use super::{Catalog, Change, Error, Result};
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
         EXISTS (SELECT 1 FROM call_holds h WHERE h.tenant_id = c.tenant_id AND h.call_id = c.id) \
         FROM tenants t CROSS JOIN calls c ON c.tenant_id = t.id WHERE c.deleted_at IS NULL",
    );
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
    })
}

async fn marks_of(
    connection: &mut SqliteConnection,
    calls: &[(TenantId, Uuid)],
) -> sqlx::Result<HashMap<(TenantId, Uuid), Marks>> {
    let mut found: HashMap<_, Marks> = calls.iter().map(|call| (*call, Marks::default())).collect();
    if calls.is_empty() {
        return Ok(found);
    }
    let mut ask = async |select: &'static str, rest: &'static str| {
        let mut sql = QueryBuilder::<Sqlite>::new(select);
        sql.push(" WHERE (m.tenant_id, m.call_id) IN (VALUES ");
        let mut list = sql.separated(", ");
        for (tenant, id) in calls {
            list.push("(").push_bind_unseparated(tenant.0);
            list.push_unseparated(", ").push_bind_unseparated(*id);
            list.push_unseparated(")");
        }
        sql.push(")").push(rest);
        sql.build()
            .persistent(false)
            .fetch_all(&mut *connection)
            .await
    };
    let holds = ask("SELECT m.tenant_id, m.call_id FROM call_holds m", "").await?;
    let notes = ask(
        "SELECT m.tenant_id, m.call_id, count(*), sum(m.pinned) FROM call_notes m",
        " GROUP BY m.tenant_id, m.call_id",
    )
    .await?;
    let categories = ask(
        "SELECT m.tenant_id, m.call_id, k.id, k.name FROM categorized_calls m \
         CROSS JOIN call_categories k ON k.id = m.category_id",
        " ORDER BY k.name, k.id",
    )
    .await?;
    let key = |row: &sqlx::sqlite::SqliteRow| -> sqlx::Result<(TenantId, Uuid)> {
        Ok((TenantId(row.try_get(0)?), row.try_get(1)?))
    };
    for row in &holds {
        found.entry(key(row)?).or_default().is_held = true;
    }
    for row in &notes {
        let marks = found.entry(key(row)?).or_default();
        marks.notes = super::row::count(row.try_get(2)?);
        marks.pinned_notes = super::row::count(row.try_get(3)?);
    }
    for row in &categories {
        let category = CategoryUse {
            id: row.try_get(2)?,
            name: row.try_get(3)?,
        };
        found
            .entry(key(row)?)
            .or_default()
            .categories
            .push(category);
    }
    Ok(found)
}
