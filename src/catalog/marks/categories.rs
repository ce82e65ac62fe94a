//! What a tenant sorts its calls into.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

use super::CallToMark;
use crate::access::Scope;
use crate::base::{TenantId, Timestamp};
use crate::catalog::change::new_id;
use crate::catalog::people::{Kept, Position};
use crate::catalog::reach::Reach;
use crate::catalog::row::count;
use crate::catalog::{Catalog, Change, Error, Listed, Listing, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    pub id: Uuid,
    pub tenant: TenantId,
    pub name: String,
    pub description: String,
    /// `#rrggbb`, or empty.
    pub colour: String,
    /// Calls that are in it.
    pub calls: u64,
    pub created_at: Timestamp,
    pub version: i64,
}

/// What of a category can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryDraft {
    /// Unique in its tenant.
    pub name: String,
    pub description: String,
    pub colour: String,
}

/// A category that a call is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryUse {
    pub id: Uuid,
    pub name: String,
}

const COLUMNS: &str = "SELECT k.id, k.tenant_id, k.name, k.description, k.colour, k.created_at, k.version, \
     (SELECT count(*) FROM categorized_calls u WHERE u.category_id = k.id) FROM call_categories k WHERE TRUE";

/// A tenant's categories are seen by all of its people.
fn in_scope(scope: &Scope) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLUMNS);
    Reach::of(scope, None).limit(&mut sql, "k.tenant_id");
    sql
}

impl Catalog {
    /// The categories in the scope, by name.
    pub async fn call_categories(
        &self,
        scope: &Scope,
        listing: &Listing,
    ) -> Result<Listed<Category>> {
        let mut sql = in_scope(scope);
        if let Some(after) = listing.position()? {
            sql.push(" AND (k.name, k.id) > (").push_bind(after.name);
            sql.push(" COLLATE NOCASE, ").push_bind(after.id).push(")");
        }
        sql.push(" ORDER BY k.name, k.id LIMIT +");
        sql.push_bind(listing.limit() as i64 + 1);
        let rows = sql.build().fetch_all(&self.readers).await;
        let found: sqlx::Result<Vec<Category>> =
            rows.and_then(|rows| rows.iter().map(category_of).collect());
        let found =
            found.map_err(|error| Error::from_sqlx("list categories", &self.place, error))?;
        Ok(listing.page(found, |category| Position {
            name: category.name.clone(),
            id: category.id,
        }))
    }

    pub async fn call_category(&self, scope: &Scope, id: Uuid) -> Result<Option<Category>> {
        let mut sql = in_scope(scope);
        sql.push(" AND k.id = ").push_bind(id);
        let row = sql.build().fetch_optional(&self.readers).await;
        row.and_then(|row| row.as_ref().map(category_of).transpose())
            .map_err(|error| Error::from_sqlx("look up a category", &self.place, error))
    }
}

impl Change {
    pub async fn call_category(&mut self, scope: &Scope, id: Uuid) -> Result<Option<Category>> {
        let failed = self.failed("look up a category");
        let mut sql = in_scope(scope);
        sql.push(" AND k.id = ").push_bind(id);
        let row = sql.build().fetch_optional(self.connection()).await;
        row.and_then(|row| row.as_ref().map(category_of).transpose())
            .map_err(failed)
    }

    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has one of this name.
    pub async fn create_call_category(
        &mut self,
        tenant: TenantId,
        draft: &CategoryDraft,
    ) -> Result<Category> {
        self.needs_room(tenant, Kept::Categories).await?;
        let (at, failed) = (self.at, self.failed("create a category"));
        let id = new_id();
        let done = sqlx::query(
            "INSERT INTO call_categories (id, tenant_id, name, description, colour, created_at, version) \
             VALUES (?, ?, ?, ?, ?, ?, 1)",
        )
        .bind(id)
        .bind(tenant.0)
        .bind(&draft.name)
        .bind(&draft.description)
        .bind(&draft.colour)
        .bind(at.as_nanos())
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("name", error, failed))?;
        Ok(Category {
            id,
            tenant,
            name: draft.name.clone(),
            description: draft.description.clone(),
            colour: draft.colour.clone(),
            calls: 0,
            created_at: at,
            version: 1,
        })
    }

    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has another of this name.
    pub async fn edit_call_category(
        &mut self,
        category: &Category,
        draft: &CategoryDraft,
    ) -> Result<Category> {
        let failed = self.failed("edit a category");
        let done = sqlx::query(
            "UPDATE call_categories SET name = ?, description = ?, colour = ?, version = version + 1 WHERE id = ?",
        )
        .bind(&draft.name)
        .bind(&draft.description)
        .bind(&draft.colour)
        .bind(category.id)
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("name", error, failed))?;
        Ok(Category {
            name: draft.name.clone(),
            description: draft.description.clone(),
            colour: draft.colour.clone(),
            version: category.version + 1,
            ..category.clone()
        })
    }

    /// Removes a category. Its calls are in it no more.
    pub async fn remove_call_category(&mut self, category: &Category) -> Result<()> {
        let failed = self.failed("remove a category");
        // What was in it goes by the foreign key.
        sqlx::query("DELETE FROM call_categories WHERE id = ?")
            .bind(category.id)
            .execute(self.connection())
            .await
            .map(|_| ())
            .map_err(failed)
    }

    /// Puts a call into a category of its tenant; false when it is there already.
    pub async fn categorize(
        &mut self,
        call: &CallToMark,
        category: &Category,
        by: &str,
    ) -> Result<bool> {
        let (at, failed) = (self.at, self.failed("put a call into a category"));
        let done = sqlx::query(
            "INSERT INTO categorized_calls (tenant_id, call_id, category_id, started_at, assigned_at, assigned_by) \
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(call.tenant.0)
        .bind(call.id)
        .bind(category.id)
        .bind(call.started_at.as_nanos())
        .bind(at.as_nanos())
        .bind(by)
        .execute(self.connection())
        .await;
        done.map(|done| done.rows_affected() > 0).map_err(failed)
    }

    /// Takes a call out of a category; false when it is not in it.
    pub async fn uncategorize(&mut self, call: &CallToMark, category: Uuid) -> Result<bool> {
        let failed = self.failed("take a call out of a category");
        let done = sqlx::query(
            "DELETE FROM categorized_calls WHERE tenant_id = ? AND call_id = ? AND category_id = ?",
        )
        .bind(call.tenant.0)
        .bind(call.id)
        .bind(category)
        .execute(self.connection())
        .await;
        done.map(|done| done.rows_affected() > 0).map_err(failed)
    }
}

fn category_of(row: &SqliteRow) -> sqlx::Result<Category> {
    Ok(Category {
        id: row.try_get(0)?,
        tenant: TenantId(row.try_get(1)?),
        name: row.try_get(2)?,
        description: row.try_get(3)?,
        colour: row.try_get(4)?,
        created_at: Timestamp::from_nanos(row.try_get(5)?),
        version: row.try_get(6)?,
        calls: count(row.try_get(7)?),
    })
}
