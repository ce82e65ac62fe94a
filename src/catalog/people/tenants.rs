//! The tenants that people belong to.

use sqlx::SqliteConnection;

use crate::access::Scope;
use crate::base::TenantId;
use crate::catalog::change::now;
use crate::catalog::{Catalog, Change, Error, Result};

/// A tenant as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredTenant {
    pub id: TenantId,
    pub name: String,
    /// What its people name it by, if no other tenant is named so.
    pub slug: String,
    /// File and line.
    pub origin: String,
    pub timezone: Option<String>,
    pub language: Option<String>,
    pub plan: Option<String>,
}

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
    /// Enters the tenants of the configuration, all of them. One that was there and is not named any more is gone: its
    /// people cannot sign in, its calls are kept. A short name, once given, stays.
    pub async fn register_tenants(&self, tenants: &[ConfiguredTenant]) -> Result<()> {
        let failed = |error| Error::from_sqlx("enter the tenants", &self.place, error);
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = begun.map_err(failed)?;
        let at = now().as_nanos();
        let gone = "UPDATE registered_tenants SET status = 'gone' WHERE origin IS NOT NULL";
        let done = sqlx::query(gone).execute(&mut *transaction).await;
        done.map_err(failed)?;
        for tenant in tenants {
            register(&mut transaction, tenant, at)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

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

async fn register(
    connection: &mut SqliteConnection,
    tenant: &ConfiguredTenant,
    at: i64,
) -> sqlx::Result<()> {
    let taken = sqlx::query("SELECT 1 FROM registered_tenants WHERE slug = ? AND id <> ?")
        .bind(&tenant.slug)
        .bind(tenant.id.0)
        .fetch_optional(&mut *connection)
        .await?;
    let slug = match taken {
        None => tenant.slug.clone(),
        Some(_) => tenant.id.to_string(),
    };
    sqlx::query(
        "INSERT INTO registered_tenants (id, name, slug, origin, timezone, language, plan, created_at, changed_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) ON CONFLICT (id) DO UPDATE SET name = ?2, origin = ?4, \
         timezone = ?5, language = ?6, plan = ?7, status = iif(status = 'gone', 'active', status)",
    )
    .bind(tenant.id.0)
    .bind(&tenant.name)
    .bind(slug)
    .bind(&tenant.origin)
    .bind(tenant.timezone.as_deref().unwrap_or("UTC"))
    .bind(tenant.language.as_deref().unwrap_or("en"))
    .bind(&tenant.plan)
    .bind(at)
    .execute(connection)
    .await
    .map(|_| ())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SYSTEM_TENANT;
    use crate::catalog::testing::{in_memory, tenant};

    fn configured(number: u128, slug: &str) -> ConfiguredTenant {
        ConfiguredTenant {
            id: tenant(number),
            name: format!("Tenant {number}"),
            slug: slug.into(),
            origin: format!("tenants/{slug}.toml:2"),
            timezone: None,
            language: None,
            plan: None,
        }
    }

    async fn status(catalog: &Catalog, tenant: TenantId) -> Option<String> {
        let status = catalog.status_of_tenant(&Scope::root(), tenant).await;
        status.unwrap()
    }

    #[tokio::test]
    async fn tenants_of_the_configuration_come_go_and_come_back() {
        let catalog = in_memory().await;
        let (acme, globex) = (configured(1, "acme"), configured(2, "globex"));
        let both = [acme.clone(), globex.clone()];
        catalog.register_tenants(&both).await.unwrap();
        catalog.register_tenants(&both[..1]).await.unwrap();
        assert_eq!(status(&catalog, acme.id).await.as_deref(), Some("active"));
        assert_eq!(status(&catalog, globex.id).await.as_deref(), Some("gone"));
        let system = status(&catalog, SYSTEM_TENANT).await;
        assert_eq!(system.as_deref(), Some("active"));
        catalog.register_tenants(&both).await.unwrap();
        assert_eq!(status(&catalog, globex.id).await.as_deref(), Some("active"));
    }

    #[tokio::test]
    async fn a_short_name_is_never_two_tenants() {
        let catalog = in_memory().await;
        let both = [configured(1, "acme"), configured(2, "ACME")];
        catalog.register_tenants(&both).await.unwrap();
        let slugs: Vec<String> = sqlx::query_scalar(
            "SELECT slug FROM registered_tenants WHERE origin IS NOT NULL ORDER BY id",
        )
        .fetch_all(&catalog.readers)
        .await
        .unwrap();
        assert_eq!(slugs, ["acme".to_owned(), tenant(2).to_string()]);
    }
}
