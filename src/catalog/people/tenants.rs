//! The tenants that people belong to.

use crate::base::TenantId;
use crate::catalog::{Change, Result};

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
}
