//! The tenants that people belong to.

use crate::access::Scope;
use crate::base::TenantId;
use crate::catalog::{Catalog, Change, Error, Result};

impl Change {
    /// Whether the tenant is known and not gone.
    pub async fn has_tenant(&mut self, tenant: TenantId) -> Result<bool> {
        let failed = self.failed("look up a tenant");
        let row = sqlx::query("SELECT 1 FROM registered_tenants WHERE id = ? AND status <> 'gone'")
            .bind(tenant.0)
            .fetch_optional(self.connection())
            .await;
        row.map(|row| row.is_some()).map_err(failed)
    }
}

impl Catalog {
    /// Whether the tenant is in the scope, known and not gone.
    pub async fn has_tenant(&self, scope: &Scope, tenant: TenantId) -> Result<bool> {
        let status = self.status_of_tenant(scope, tenant).await?;
        Ok(status.is_some_and(|status| status != "gone"))
    }

    /// Whether the tenant is in the scope, and its people can act.
    pub async fn is_tenant_active(&self, scope: &Scope, tenant: TenantId) -> Result<bool> {
        let status = self.status_of_tenant(scope, tenant).await?;
        Ok(status.is_some_and(|status| status == "active"))
    }

    async fn status_of_tenant(&self, scope: &Scope, tenant: TenantId) -> Result<Option<String>> {
        if !scope.covers(tenant) {
            return Ok(None);
        }
        sqlx::query_scalar("SELECT status FROM registered_tenants WHERE id = ?")
            .bind(tenant.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| Error::from_sqlx("look up a tenant", &self.place, error))
    }
}

#[cfg(test)]
impl crate::catalog::Catalog {
    pub async fn register_for_tests(&self, tenant: TenantId, slug: &str) {
        sqlx::query(
            "INSERT INTO registered_tenants (id, name, slug, created_at, changed_at) VALUES (?, ?, ?, 0, 0)",
        )
        .bind(tenant.0)
        .bind(slug.to_uppercase())
        .bind(slug)
        .execute(&self.writer)
        .await
        .unwrap();
    }

    pub async fn audited_actions_for_tests(&self, tenant: TenantId) -> Vec<String> {
        sqlx::query_scalar("SELECT action FROM audit WHERE tenant_id = ? ORDER BY number")
            .bind(tenant.0)
            .fetch_all(&self.readers)
            .await
            .unwrap()
    }

    /// Before and after of each record in the tenant's audit.
    pub async fn audited_states_for_tests(
        &self,
        tenant: TenantId,
    ) -> Vec<(serde_json::Value, serde_json::Value)> {
        let rows: Vec<(Option<String>, Option<String>)> =
            sqlx::query_as("SELECT before, after FROM audit WHERE tenant_id = ? ORDER BY number")
                .bind(tenant.0)
                .fetch_all(&self.readers)
                .await
                .unwrap();
        let read =
            |text: Option<String>| serde_json::from_str(&text.unwrap_or("null".into())).unwrap();
        rows.into_iter()
            .map(|(before, after)| (read(before), read(after)))
            .collect()
    }

    /// All that is left of a user.
    pub async fn user_row_for_tests(&self, tenant: TenantId, login: &str) -> String {
        sqlx::query_scalar(
            "SELECT concat_ws(' ', login, name, email, hex(group_id), valid_until, recording_policy, \
             'confidential=' || confidential, 'active=' || active) FROM users WHERE tenant_id = ? AND login = ?",
        )
        .bind(tenant.0)
        .bind(login)
        .fetch_one(&self.readers)
        .await
        .unwrap()
    }
}
