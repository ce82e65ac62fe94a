//! Groups of users.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::listing::{Listed, Listing, Position};
use super::room::Kept;
use crate::access::{Reach, Scope};
use crate::base::{GroupId, TenantId, Timestamp};
use crate::catalog::change::new_id;
use crate::catalog::{Catalog, Change, Error, Result};

/// Users that are looked after together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    pub tenant: TenantId,
    pub name: String,
    pub description: String,
    /// Users that are in it.
    pub users: u64,
    pub version: i64,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

/// What of a group can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDraft {
    /// Unique in its tenant.
    pub name: String,
    pub description: String,
}

const COLUMNS: &str = "SELECT g.id, g.tenant_id, g.name, g.description, g.version, g.created_at, g.changed_at, \
     (SELECT count(*) FROM users u WHERE u.tenant_id = g.tenant_id AND u.group_id = g.id AND u.removed_at IS NULL) \
     FROM groups g WHERE TRUE";

/// Groups that lie in the scope. Who reaches own calls only sees no group.
fn in_scope(scope: &Scope) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLUMNS);
    match scope.reach() {
        Reach::System => {}
        Reach::Tenant(tenant) => {
            sql.push(" AND g.tenant_id = ").push_bind(tenant.0);
        }
        Reach::Groups { tenant, groups } => {
            sql.push(" AND g.tenant_id = ").push_bind(tenant.0);
            sql.push(" AND g.id IN (");
            let mut list = sql.separated(", ");
            for group in groups.iter() {
                list.push_bind(group.0);
            }
            sql.push(")");
        }
        Reach::User { .. } => {
            sql.push(" AND FALSE");
        }
    }
    sql
}

impl Catalog {
    /// The groups in the scope, by name.
    pub async fn groups(&self, scope: &Scope, listing: &Listing) -> Result<Listed<Group>> {
        let mut sql = in_scope(scope);
        if let Some(after) = listing.position()? {
            sql.push(" AND (g.name, g.id) > (").push_bind(after.name);
            sql.push(" COLLATE NOCASE, ").push_bind(after.id).push(")");
        }
        sql.push(" ORDER BY g.name, g.id LIMIT +");
        sql.push_bind(listing.limit() as i64 + 1);
        let rows = sql.build().fetch_all(&self.readers).await;
        let groups: sqlx::Result<Vec<Group>> =
            rows.and_then(|rows| rows.iter().map(group_of).collect());
        let groups = groups.map_err(|error| Error::from_sqlx("list groups", &self.place, error))?;
        Ok(listing.page(groups, |group| Position {
            name: group.name.clone(),
            id: group.id.0,
        }))
    }

    /// The group, if it is in the scope.
    pub async fn group(&self, scope: &Scope, id: GroupId) -> Result<Option<Group>> {
        let mut sql = in_scope(scope);
        sql.push(" AND g.id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await;
        row.and_then(|row| row.as_ref().map(group_of).transpose())
            .map_err(|error| Error::from_sqlx("look up a group", &self.place, error))
    }
}

impl Change {
    /// The group as it is now, if it is in the scope.
    pub async fn group(&mut self, scope: &Scope, id: GroupId) -> Result<Option<Group>> {
        let failed = self.failed("look up a group");
        let mut sql = in_scope(scope);
        sql.push(" AND g.id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(self.connection()).await;
        row.and_then(|row| row.as_ref().map(group_of).transpose())
            .map_err(failed)
    }

    /// A new group of a tenant that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has one of this name, [`Error::TooMany`] when it has as many as it can have.
    pub async fn create_group(&mut self, tenant: TenantId, draft: &GroupDraft) -> Result<Group> {
        self.needs_room(tenant, Kept::Groups).await?;
        let (at, failed) = (self.at, self.failed("create a group"));
        let id = GroupId(new_id());
        let done = sqlx::query(
            "INSERT INTO groups (id, tenant_id, name, description, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(id.0)
        .bind(tenant.0)
        .bind(&draft.name)
        .bind(&draft.description)
        .bind(at.as_nanos())
        .bind(at.as_nanos())
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("name", error, failed))?;
        Ok(Group {
            id,
            tenant,
            name: draft.name.clone(),
            description: draft.description.clone(),
            users: 0,
            version: 1,
            created_at: at,
            changed_at: at,
        })
    }

    /// Writes the group as `draft` has it.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has another of this name.
    pub async fn edit_group(&mut self, group: &Group, draft: &GroupDraft) -> Result<Group> {
        let (at, failed) = (self.at, self.failed("edit a group"));
        let done = sqlx::query(
            "UPDATE groups SET name = ?, description = ?, version = version + 1, changed_at = ? WHERE id = ?",
        )
        .bind(&draft.name)
        .bind(&draft.description)
        .bind(at.as_nanos())
        .bind(group.id.0)
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("name", error, failed))?;
        Ok(Group {
            name: draft.name.clone(),
            description: draft.description.clone(),
            version: group.version + 1,
            changed_at: at,
            ..group.clone()
        })
    }

    /// Removes the group. Its users are in none then.
    pub async fn remove_group(&mut self, group: &Group) -> Result<()> {
        let failed = self.failed("remove a group");
        let statements = [
            "UPDATE users SET group_id = NULL, version = version + 1 WHERE group_id = ?",
            "UPDATE users SET version = version + 1 WHERE id IN (SELECT user_id FROM managed_groups WHERE group_id = ?)",
            "DELETE FROM managed_groups WHERE group_id = ?",
            "DELETE FROM groups WHERE id = ?",
        ];
        for statement in statements {
            let done = sqlx::query(statement)
                .bind(group.id.0)
                .execute(self.connection())
                .await;
            if let Err(error) = done {
                return Err(failed(error));
            }
        }
        Ok(())
    }
}

fn group_of(row: &SqliteRow) -> sqlx::Result<Group> {
    let users: i64 = row.try_get(7)?;
    Ok(Group {
        id: GroupId(row.try_get(0)?),
        tenant: TenantId(row.try_get(1)?),
        name: row.try_get(2)?,
        description: row.try_get(3)?,
        users: u64::try_from(users).unwrap_or(0),
        version: row.try_get(4)?,
        created_at: Timestamp::from_nanos(row.try_get(5)?),
        changed_at: Timestamp::from_nanos(row.try_get(6)?),
    })
}
