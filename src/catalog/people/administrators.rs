//! That somebody is left to administer a tenant.

use sqlx::{QueryBuilder, Row};

use super::objection::Objection;
use crate::access::{AccessLevel, Operation, Permissions, Preset, Principal, Resource};
use crate::base::{RoleId, SYSTEM_TENANT, TenantId};
use crate::catalog::{Change, Result};

/// How many administrators a tenant has: users who can sign in, reach the whole tenant and may edit its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Administrators {
    present: i64,
    /// Those whose time does not end.
    lasting: i64,
    /// Those of them who reach everything: nobody else could make another one.
    roots: i64,
}

impl Administrators {
    /// Whether a change took the last one, the last whose time does not end, or the last of these who reaches everything.
    fn lost(self, after: Administrators) -> bool {
        let took_last = |before: i64, after: i64| before > 0 && after == 0;
        took_last(self.present, after.present)
            || took_last(self.lasting, after.lasting)
            || took_last(self.roots, after.roots)
    }
}

impl Change {
    pub(super) async fn administrators(&mut self, tenant: TenantId) -> Result<Administrators> {
        let roles = self.administrating_roles(tenant).await?;
        let (at, failed) = (self.at, self.failed("count administrators"));
        let mut sql = QueryBuilder::new(
            "SELECT count(*), count(*) FILTER (WHERE valid_until IS NULL), \
             count(*) FILTER (WHERE valid_until IS NULL AND role_id IN (",
        );
        let mut list = sql.separated(", ");
        for (role, _) in roles
            .iter()
            .filter(|(_, level)| *level == AccessLevel::Root)
        {
            list.push_bind(role.0);
        }
        sql.push(")) FROM users WHERE active AND removed_at IS NULL AND tenant_id = ");
        sql.push_bind(tenant.0);
        sql.push(" AND (valid_until IS NULL OR valid_until > ");
        sql.push_bind(at.as_nanos()).push(") AND role_id IN (");
        let mut list = sql.separated(", ");
        for (role, _) in roles {
            list.push_bind(role.0);
        }
        sql.push(")");
        let row = sql.build().fetch_one(self.connection()).await;
        row.and_then(|row| {
            Ok(Administrators {
                present: row.try_get(0)?,
                lasting: row.try_get(1)?,
                roots: row.try_get(2)?,
            })
        })
        .map_err(failed)
    }

    async fn administrating_roles(
        &mut self,
        tenant: TenantId,
    ) -> Result<Vec<(RoleId, AccessLevel)>> {
        use AccessLevel::{Root, System};
        let failed = self.failed("list the roles of administrators");
        let rows: sqlx::Result<Vec<(uuid::Uuid, String, String)>> = sqlx::query_as(
            "SELECT id, access_level, permissions FROM roles WHERE tenant_id = ? AND access_level IN ('root', 'system')",
        )
        .bind(tenant.0)
        .fetch_all(self.connection())
        .await;
        let edits =
            |permissions: &Permissions| permissions.contains(Resource::Users, Operation::Edit);
        let made = rows
            .map_err(failed)?
            .into_iter()
            .filter_map(|(id, level, permissions)| {
                let permissions = serde_json::from_str(&permissions).unwrap_or_default();
                match level == "root" {
                    true => Some((RoleId(id), Root)),
                    false => edits(&permissions).then_some((RoleId(id), System)),
                }
            });
        let presets = Preset::of_tenant(tenant).filter(|preset| {
            matches!(preset.access_level(), Root | System) && edits(&preset.permissions())
        });
        let presets = presets.map(|preset| (preset.role_id(tenant), preset.access_level()));
        Ok(made.chain(presets).collect())
    }

    /// Refuses a change that took the last administrator. A tenant may be without: the System tenant's people administer it
    /// then, so these may take the last one of any tenant but their own.
    pub(super) async fn keep_an_administrator(
        &mut self,
        by: &Principal,
        tenant: TenantId,
        before: Administrators,
    ) -> Result<()> {
        if by.home() == SYSTEM_TENANT && tenant != SYSTEM_TENANT {
            return Ok(());
        }
        match before.lost(self.administrators(tenant).await?) {
            true => Err(Objection::LastAdministrator.into()),
            false => Ok(()),
        }
    }
}
