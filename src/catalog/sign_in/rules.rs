//! What a tenant asks of who signs in: a part of its settings.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteExecutor};

use crate::access::SignInRules;
use crate::base::TenantId;
use crate::catalog::{Catalog, Change, Error, Result};

impl Catalog {
    /// The tenant's version, and its rules. None: there is no such tenant.
    pub async fn sign_in_rules(&self, tenant: TenantId) -> Result<Option<(i64, SignInRules)>> {
        let found = rules_of(&self.readers, tenant).await;
        found.map_err(|error| Error::from_sqlx("look up a tenant's rules", &self.place, error))
    }
}

impl Change {
    /// As [`Catalog::sign_in_rules`], as they are now.
    pub async fn sign_in_rules(&mut self, tenant: TenantId) -> Result<Option<(i64, SignInRules)>> {
        let failed = self.failed("look up a tenant's rules");
        rules_of(self.connection(), tenant).await.map_err(failed)
    }

    /// Writes the tenant's rules anew.
    pub async fn set_sign_in_rules(&mut self, tenant: TenantId, rules: &SignInRules) -> Result<()> {
        let at = self.at.as_nanos();
        let text = serde_json::to_string(rules).unwrap_or_default();
        self.run(
            "UPDATE registered_tenants SET version = version + 1, changed_at = ?3, \
             settings = json_set(CASE WHEN json_valid(settings) THEN settings ELSE '{}' END, '$.sign_in', json(?2)) \
             WHERE id = ?1",
            |sql| sql.bind(tenant.0).bind(text).bind(at),
        )
        .await
        .map(|_| ())
    }
}

async fn rules_of(
    executor: impl SqliteExecutor<'_>,
    tenant: TenantId,
) -> sqlx::Result<Option<(i64, SignInRules)>> {
    let row = sqlx::query(
        "SELECT version, CASE WHEN json_valid(settings) THEN json_extract(settings, '$.sign_in') END \
         FROM registered_tenants WHERE id = ? AND status <> 'gone'",
    )
    .bind(tenant.0)
    .fetch_optional(executor)
    .await?;
    let read = |row: SqliteRow| {
        let text: Option<String> = row.try_get(1)?;
        Ok((row.try_get(0)?, SignInRules::from_settings(text.as_deref())))
    };
    row.map(read).transpose()
}
