//! Users: who they are, what they are allowed, and how their calls are treated.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::listing::{Listed, Listing, Position};
use super::policy::UserPolicy;
use super::principals::{groups, role_of};
use crate::access::{AccessLevel, Permissions, Role, Scope};
use crate::base::{GroupId, RoleId, TenantId, Timestamp, UserId};
use crate::catalog::change::now;
use crate::catalog::reach::limit_users;
use crate::catalog::{Catalog, Change, Error, Result};

/// A person of a tenant, or whoever signs in for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub tenant: TenantId,
    /// Never changes, and is never given to anybody else.
    pub login: Arc<str>,
    pub profile: Profile,
    /// That of [`Profile::role`].
    pub role: Role,
    pub version: i64,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

impl User {
    /// Whether the user's time is over.
    pub fn is_expired(&self) -> bool {
        let until = self.profile.valid_until;
        until.is_some_and(|until| until <= now())
    }
}

/// What of a user can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub email: Option<String>,
    pub group: Option<GroupId>,
    /// A role of the same tenant.
    pub role: RoleId,
    /// Groups of the same tenant, ascending. They are the user's reach if the role's is `managed_groups`.
    pub managed_groups: Vec<GroupId>,
    pub active: bool,
    /// From then on the user cannot sign in any more.
    pub valid_until: Option<Timestamp>,
    pub must_change_password: bool,
    /// The user's calls are seen by nobody else, unless a role says so.
    pub confidential: bool,
    /// None: the tenant's.
    pub recording_policy: Option<UserPolicy>,
}

impl Profile {
    /// Of an active user in no group.
    pub fn of_role(role: RoleId) -> Profile {
        Profile {
            name: String::new(),
            email: None,
            group: None,
            role,
            managed_groups: Vec::new(),
            active: true,
            valid_until: None,
            must_change_password: true,
            confidential: false,
            recording_policy: None,
        }
    }
}

/// Which users are asked for. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    pub login: Option<String>,
    pub group: Option<GroupId>,
    pub role: Option<RoleId>,
    pub active: Option<bool>,
    /// A part of login, name or e-mail address. Small and capital letters of the Latin alphabet are the same.
    pub text: Option<String>,
}

const COLUMNS: &str = "SELECT u.id, u.tenant_id, u.login, u.name, u.email, u.group_id, u.role_id, u.active, u.valid_until, \
     u.must_change_password, u.confidential, u.recording_policy, u.version, u.created_at, u.changed_at, \
     r.name, r.access_level, r.permissions, \
     (SELECT group_concat(hex(m.group_id), '') FROM managed_groups m WHERE m.user_id = u.id) \
     FROM users u LEFT JOIN roles r ON r.id = u.role_id AND r.tenant_id = u.tenant_id WHERE u.removed_at IS NULL";

/// Users that lie in the scope.
fn in_scope(scope: &Scope) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLUMNS);
    limit_users(&mut sql, scope, "u.tenant_id");
    sql
}

impl UserFilter {
    fn limit(&self, sql: &mut QueryBuilder<Sqlite>) {
        if let Some(login) = &self.login {
            sql.push(" AND u.login = ").push_bind(login.clone());
        }
        if let Some(group) = self.group {
            sql.push(" AND u.group_id = ").push_bind(group.0);
        }
        if let Some(role) = self.role {
            sql.push(" AND u.role_id = ").push_bind(role.0);
        }
        if let Some(active) = self.active {
            sql.push(" AND u.active = ").push_bind(active);
        }
        if let Some(text) = &self.text {
            let pattern = containing(text);
            sql.push(" AND (u.login LIKE ").push_bind(pattern.clone());
            sql.push(" ESCAPE '\\' OR u.name LIKE ")
                .push_bind(pattern.clone());
            sql.push(" ESCAPE '\\' OR u.email LIKE ").push_bind(pattern);
            sql.push(" ESCAPE '\\')");
        }
    }
}

/// A pattern of SQL's LIKE for what has `text` in it.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for one in text.chars() {
        if matches!(one, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(one);
    }
    pattern.push('%');
    pattern
}

impl Catalog {
    /// The users in the scope, by login.
    pub async fn users(
        &self,
        scope: &Scope,
        filter: &UserFilter,
        listing: &Listing,
    ) -> Result<Listed<User>> {
        let mut sql = in_scope(scope);
        filter.limit(&mut sql);
        if let Some(after) = listing.position()? {
            sql.push(" AND (u.login, u.id) > (").push_bind(after.name);
            sql.push(" COLLATE NOCASE, ").push_bind(after.id).push(")");
        }
        sql.push(" ORDER BY u.login, u.id LIMIT +");
        sql.push_bind(listing.limit() as i64 + 1);
        let rows = sql.build().fetch_all(&self.readers).await;
        let users: sqlx::Result<Vec<User>> =
            rows.and_then(|rows| rows.iter().map(user_of).collect());
        let users = users.map_err(|error| Error::from_sqlx("list users", &self.place, error))?;
        Ok(listing.page(users, |user| Position {
            name: user.login.to_string(),
            id: user.id.0,
        }))
    }

    /// The user, if it is in the scope.
    pub async fn user(&self, scope: &Scope, id: UserId) -> Result<Option<User>> {
        let mut sql = in_scope(scope);
        sql.push(" AND u.id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await;
        row.and_then(|row| row.as_ref().map(user_of).transpose())
            .map_err(|error| Error::from_sqlx("look up a user", &self.place, error))
    }
}

impl Change {
    /// The user as it is now, if it is in the scope.
    pub async fn user(&mut self, scope: &Scope, id: UserId) -> Result<Option<User>> {
        let failed = self.failed("look up a user");
        let mut sql = in_scope(scope);
        sql.push(" AND u.id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(self.connection()).await;
        row.and_then(|row| row.as_ref().map(user_of).transpose())
            .map_err(failed)
    }
}

fn user_of(row: &SqliteRow) -> sqlx::Result<User> {
    let tenant = TenantId(row.try_get(1)?);
    let login: &str = row.try_get(2)?;
    let role = RoleId(row.try_get(6)?);
    let group: Option<uuid::Uuid> = row.try_get(5)?;
    let valid_until: Option<i64> = row.try_get(8)?;
    let policy: Option<&str> = row.try_get(11)?;
    let policy = policy.map(serde_json::from_str).transpose();
    let profile = Profile {
        name: row.try_get(3)?,
        email: row.try_get(4)?,
        group: group.map(GroupId),
        role,
        managed_groups: groups(row.try_get(18)?)?,
        active: row.try_get(7)?,
        valid_until: valid_until.map(Timestamp::from_nanos),
        must_change_password: row.try_get(9)?,
        confidential: row.try_get(10)?,
        recording_policy: policy.map_err(|error| sqlx::Error::Decode(error.into()))?,
    };
    Ok(User {
        id: UserId(row.try_get(0)?),
        tenant,
        login: login.into(),
        profile,
        role: role_of(tenant, role, row, 15)?.unwrap_or_else(|| no_rights(tenant, role)),
        version: row.try_get(12)?,
        created_at: Timestamp::from_nanos(row.try_get(13)?),
        changed_at: Timestamp::from_nanos(row.try_get(14)?),
    })
}

/// A role that is not there gives nothing.
fn no_rights(tenant: TenantId, id: RoleId) -> Role {
    Role {
        role_id: id,
        name: String::new(),
        access_level: AccessLevel::User,
        tenant_id: Some(tenant),
        permissions: Permissions::default(),
    }
}
