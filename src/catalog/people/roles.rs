//! Roles: the presets of the program, and those that tenants make.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

use super::listing::{Listed, Listing, Position};
use super::objection::Objection;
use super::principals::role_of;
use super::room::Kept;
use crate::access::{
    AccessLevel, Lacking, Permissions, Preset, Principal, Reach, Role, Scope, preset,
};
use crate::base::{RoleId, SYSTEM_TENANT, TenantId};
use crate::catalog::change::new_id;
use crate::catalog::{Catalog, Change, Error, Result};

/// The version of roles that nobody changes.
const OF_PRESETS: i64 = 0;

/// A role of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRole {
    pub tenant: TenantId,
    pub role: Role,
    pub version: i64,
}

/// What of a role can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDraft {
    /// Unique in its tenant, presets among them.
    pub name: String,
    pub access_level: AccessLevel,
    pub permissions: Permissions,
}

impl TenantRole {
    fn preset(tenant: TenantId, preset: Preset) -> TenantRole {
        TenantRole {
            tenant,
            role: preset.role(tenant),
            version: OF_PRESETS,
        }
    }

    /// Part of the program: it is used and copied, not changed.
    pub fn is_preset(&self) -> bool {
        preset(self.tenant, self.role.role_id).is_some()
    }
}

const COLUMNS: &str = "SELECT r.id, r.tenant_id, r.version, r.name, r.access_level, r.permissions FROM roles r WHERE TRUE";

/// Made roles that lie in the scope. Who reaches own calls only sees no role.
fn in_scope(scope: &Scope) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLUMNS);
    match scope.reach() {
        Reach::System => {}
        Reach::Tenant(tenant) | Reach::Groups { tenant, .. } => {
            sql.push(" AND r.tenant_id = ").push_bind(tenant.0);
        }
        Reach::User { .. } => {
            sql.push(" AND FALSE");
        }
    }
    sql
}

fn sees_roles(scope: &Scope, tenant: TenantId) -> bool {
    scope.covers(tenant) && !matches!(scope.reach(), Reach::User { .. })
}

impl Catalog {
    /// The roles of one tenant in the scope: the presets, then the others by name.
    pub async fn roles(
        &self,
        scope: &Scope,
        tenant: TenantId,
        listing: &Listing,
    ) -> Result<Listed<TenantRole>> {
        let after = listing.position()?;
        let mut roles = Vec::new();
        if sees_roles(scope, tenant) {
            let passed = |role: &TenantRole| {
                let after = after.as_ref().map(|after| after.name.as_str());
                after.is_none_or(|after| position(role).name.as_str() > after)
            };
            let presets =
                Preset::of_tenant(tenant).map(|preset| TenantRole::preset(tenant, preset));
            roles.extend(presets.filter(passed));
        }
        let mut sql = in_scope(scope);
        sql.push(" AND r.tenant_id = ").push_bind(tenant.0);
        if let Some(after) = after {
            sql.push(" AND (r.name, r.id) > (").push_bind(after.name);
            sql.push(" COLLATE NOCASE, ").push_bind(after.id).push(")");
        }
        sql.push(" ORDER BY r.name, r.id LIMIT +");
        sql.push_bind(listing.limit() as i64 + 1);
        let rows = sql.build().fetch_all(&self.readers).await;
        let made: sqlx::Result<Vec<TenantRole>> =
            rows.and_then(|rows| rows.iter().map(role_of_row).collect());
        roles.extend(made.map_err(|error| Error::from_sqlx("list roles", &self.place, error))?);
        Ok(listing.page(roles, position))
    }

    /// The role, if it is in the scope.
    pub async fn role(&self, scope: &Scope, id: RoleId) -> Result<Option<TenantRole>> {
        let failed = |error| Error::from_sqlx("look up a role", &self.place, error);
        let mut sql = in_scope(scope);
        sql.push(" AND r.id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await;
        let made = row.and_then(|row| row.as_ref().map(role_of_row).transpose());
        if let Some(made) = made.map_err(failed)? {
            return Ok(Some(made));
        }
        let tenants = match scope.only_tenant() {
            Some(tenant) => vec![tenant],
            None => {
                let ids = sqlx::query_scalar("SELECT id FROM registered_tenants");
                let ids: sqlx::Result<Vec<Uuid>> = ids.fetch_all(&self.readers).await;
                ids.map_err(failed)?.into_iter().map(TenantId).collect()
            }
        };
        Ok(preset_of_any(scope, &tenants, id))
    }
}

impl Change {
    /// The role as it is now, if it is in the scope.
    pub async fn role(&mut self, scope: &Scope, id: RoleId) -> Result<Option<TenantRole>> {
        let failed = self.failed("look up a role");
        let mut sql = in_scope(scope);
        sql.push(" AND r.id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(self.connection()).await;
        let made = row.and_then(|row| row.as_ref().map(role_of_row).transpose());
        if let Some(made) = made.map_err(failed)? {
            return Ok(Some(made));
        }
        let tenants = match scope.only_tenant() {
            Some(tenant) => vec![tenant],
            None => self.tenants_with_presets().await?,
        };
        Ok(preset_of_any(scope, &tenants, id))
    }

    async fn tenants_with_presets(&mut self) -> Result<Vec<TenantId>> {
        let failed = self.failed("list tenants");
        let ids = sqlx::query_scalar("SELECT id FROM registered_tenants");
        let ids: sqlx::Result<Vec<Uuid>> = ids.fetch_all(self.connection()).await;
        Ok(ids.map_err(failed)?.into_iter().map(TenantId).collect())
    }

    /// A preset of the tenant, or a role that it made.
    pub(super) async fn role_of_tenant(
        &mut self,
        tenant: TenantId,
        id: RoleId,
    ) -> Result<Option<Role>> {
        let found = self.role(&Scope::tenant(tenant), id).await?;
        Ok(found.map(|found| found.role))
    }

    /// A new role of a tenant that is there and in reach of `by`, who may edit roles.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has one of this name; [`Error::Objection`] when it has more than `by` holds.
    pub async fn create_role(
        &mut self,
        by: &Principal,
        tenant: TenantId,
        draft: &RoleDraft,
    ) -> Result<TenantRole> {
        may_write(by, tenant, draft)?;
        self.needs_room(tenant, Kept::Roles).await?;
        let (at, failed) = (self.at.as_nanos(), self.failed("create a role"));
        let id = RoleId(new_id());
        let done = sqlx::query(
            "INSERT INTO roles (id, tenant_id, name, access_level, permissions, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.0)
        .bind(tenant.0)
        .bind(&draft.name)
        .bind(draft.access_level.name())
        .bind(json(&draft.permissions))
        .bind(at)
        .bind(at)
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("name", error, failed))?;
        Ok(draft.written(tenant, id, 1))
    }

    /// Writes the role as `draft` has it. Whoever has it has the new rights at the next request.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has another of this name; [`Error::Objection`] when it is a preset, when it had or
    /// would have more than `by` holds, and when nobody would be left to administer the tenant.
    pub async fn edit_role(
        &mut self,
        by: &Principal,
        role: &TenantRole,
        draft: &RoleDraft,
    ) -> Result<TenantRole> {
        may_touch(by, role)?;
        may_write(by, role.tenant, draft)?;
        let administrators = self.administrators(role.tenant).await?;
        let (at, failed) = (self.at.as_nanos(), self.failed("edit a role"));
        let done = sqlx::query(
            "UPDATE roles SET name = ?, access_level = ?, permissions = ?, version = version + 1, changed_at = ? WHERE id = ?",
        )
        .bind(&draft.name)
        .bind(draft.access_level.name())
        .bind(json(&draft.permissions))
        .bind(at)
        .bind(role.role.role_id.0)
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("name", error, failed))?;
        self.keep_an_administrator(by, role.tenant, administrators)
            .await?;
        Ok(draft.written(role.tenant, role.role.role_id, role.version + 1))
    }

    /// Removes a role that nobody has.
    ///
    /// # Errors
    ///
    /// [`Error::Objection`] when it is a preset, when users have it, and when it has more than `by` holds.
    pub async fn remove_role(&mut self, by: &Principal, role: &TenantRole) -> Result<()> {
        may_touch(by, role)?;
        let failed = self.failed("count the users of a role");
        let users = sqlx::query_scalar(
            "SELECT count(*) FROM users WHERE tenant_id = ? AND role_id = ? AND removed_at IS NULL",
        )
        .bind(role.tenant.0)
        .bind(role.role.role_id.0)
        .fetch_one(self.connection())
        .await
        .map_err(failed)?;
        if users > 0 {
            return Err(Objection::RoleInUse { users }.into());
        }
        let failed = self.failed("remove a role");
        sqlx::query("DELETE FROM roles WHERE id = ?")
            .bind(role.role.role_id.0)
            .execute(self.connection())
            .await
            .map(|_| ())
            .map_err(failed)
    }
}

impl RoleDraft {
    fn written(&self, tenant: TenantId, role_id: RoleId, version: i64) -> TenantRole {
        let role = Role {
            role_id,
            name: self.name.clone(),
            access_level: self.access_level,
            tenant_id: Some(tenant),
            permissions: self.permissions.clone(),
        };
        TenantRole {
            tenant,
            role,
            version,
        }
    }
}

/// A preset, and one that `by` holds all of. A role is of the whole tenant, and so has to be the reach of who writes it.
fn may_touch(by: &Principal, role: &TenantRole) -> Result<()> {
    if role.is_preset() {
        return Err(Objection::Preset.into());
    }
    let lacking = by.lacks(role.role.access_level, &role.role.permissions);
    lacking.map_or(Ok(()), |lacking| Err(Objection::from(lacking).into()))
}

fn may_write(by: &Principal, tenant: TenantId, draft: &RoleDraft) -> Result<()> {
    if !by.level().reaches(AccessLevel::System) {
        return Err(Objection::from(Lacking::Level(AccessLevel::System)).into());
    }
    if draft.access_level == AccessLevel::Root && tenant != SYSTEM_TENANT {
        return Err(Objection::RootOfTenant.into());
    }
    if let Some(lacking) = by.lacks(draft.access_level, &draft.permissions) {
        return Err(Objection::from(lacking).into());
    }
    let same_name = |preset: Preset| preset.name().eq_ignore_ascii_case(&draft.name);
    match Preset::of_tenant(tenant).any(same_name) {
        true => Err(Error::Taken { field: "name" }),
        false => Ok(()),
    }
}

fn preset_of_any(scope: &Scope, tenants: &[TenantId], id: RoleId) -> Option<TenantRole> {
    let tenants = tenants.iter().filter(|tenant| sees_roles(scope, **tenant));
    tenants
        .filter_map(|tenant| preset(*tenant, id).map(|preset| TenantRole::preset(*tenant, preset)))
        .next()
}

/// Presets come before every name: none begins with a control character.
fn position(role: &TenantRole) -> Position {
    let id = role.role.role_id;
    let preset = Preset::of_tenant(role.tenant).position(|one| one.role_id(role.tenant) == id);
    Position {
        name: preset.map_or_else(|| role.role.name.clone(), |place| format!("\u{1}{place}")),
        id: id.0,
    }
}

fn role_of_row(row: &SqliteRow) -> sqlx::Result<TenantRole> {
    let tenant = TenantId(row.try_get(1)?);
    let role = role_of(tenant, RoleId(row.try_get(0)?), row, 3)?;
    Ok(TenantRole {
        tenant,
        role: role.ok_or(sqlx::Error::RowNotFound)?,
        version: row.try_get(2)?,
    })
}

fn json(permissions: &Permissions) -> String {
    serde_json::to_string(permissions).expect("names and lists are JSON")
}
