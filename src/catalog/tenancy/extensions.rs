//! Extensions that were made through the API.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::nanos;
use crate::access::Scope;
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Change, Error, Result};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionRow {
    /// [`extension_id`] of tenant, kind and text.
    pub id: Uuid,
    pub tenant: TenantId,
    /// `number`, `range` or `prefix`.
    pub kind: String,
    /// As it was written.
    pub text: String,
    pub aliases: Vec<String>,
    /// As in a tenant's file; none: the tenant's.
    pub policy: Option<String>,
    pub version: i64,
    #[serde(with = "nanos")]
    pub created_at: Timestamp,
    #[serde(with = "nanos")]
    pub changed_at: Timestamp,
}

/// What of an extension can be written after it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionDraft {
    pub aliases: Vec<String>,
    pub policy: Option<String>,
}

/// The id of an extension: the same wherever it is written, so that what was allocated stays so when it moves from a file to
/// the catalog or back. `text` without separators.
pub fn extension_id(tenant: TenantId, kind: &str, text: &str) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"callreel extension\0");
    hasher.update(tenant.0.as_bytes());
    hasher.update(kind.as_bytes());
    hasher.update(b"\0");
    hasher.update(text.as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

const COLUMNS: &str = "SELECT id, tenant_id, kind, text, aliases, policy, version, created_at, changed_at FROM extensions WHERE TRUE";

pub(super) async fn all(connection: &mut SqliteConnection) -> sqlx::Result<Vec<ExtensionRow>> {
    let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
    sql.push(" ORDER BY created_at, id");
    let rows = sql.build().fetch_all(connection).await?;
    rows.iter().map(extension_of).collect()
}

impl Change {
    /// The extension as it is now, if it was made through the API and its tenant is in the scope.
    pub async fn extension_row(&mut self, scope: &Scope, id: Uuid) -> Result<Option<ExtensionRow>> {
        let failed = self.failed("look up an extension");
        let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
        sql.push(" AND id = ").push_bind(id);
        if let Some(only) = scope.only_tenant() {
            sql.push(" AND tenant_id = ").push_bind(only.0);
        }
        let row = sql.build().fetch_optional(self.connection()).await;
        row.and_then(|row| row.as_ref().map(extension_of).transpose())
            .map_err(failed)
    }

    /// A new extension.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has it already.
    pub async fn create_extension(&mut self, row: &ExtensionRow) -> Result<ExtensionRow> {
        let (at, failed) = (self.at, self.failed("create an extension"));
        let done = sqlx::query(
            "INSERT INTO extensions (id, tenant_id, kind, text, aliases, policy, created_at, changed_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.id)
        .bind(row.tenant.0)
        .bind(&row.kind)
        .bind(&row.text)
        .bind(list(&row.aliases))
        .bind(&row.policy)
        .bind(at.as_nanos())
        .bind(at.as_nanos())
        .execute(self.connection())
        .await;
        let field = match row.kind.as_str() {
            "range" => "range",
            "prefix" => "prefix",
            _ => "number",
        };
        done.map_err(|error| Error::taken(field, error, failed))?;
        Ok(ExtensionRow {
            version: 1,
            created_at: at,
            changed_at: at,
            ..row.clone()
        })
    }

    pub async fn edit_extension(
        &mut self,
        extension: &ExtensionRow,
        draft: &ExtensionDraft,
    ) -> Result<ExtensionRow> {
        let (at, failed) = (self.at, self.failed("edit an extension"));
        sqlx::query("UPDATE extensions SET aliases = ?, policy = ?, version = version + 1, changed_at = ? WHERE id = ?")
            .bind(list(&draft.aliases))
            .bind(&draft.policy)
            .bind(at.as_nanos())
            .bind(extension.id)
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(ExtensionRow {
            aliases: draft.aliases.clone(),
            policy: draft.policy.clone(),
            version: extension.version + 1,
            changed_at: at,
            ..extension.clone()
        })
    }

    /// Removes the extension; what was allocated of it ends at this moment, and stays as history.
    pub async fn remove_extension(&mut self, extension: &ExtensionRow) -> Result<()> {
        let (at, failed) = (self.at, self.failed("remove an extension"));
        let done = async {
            sqlx::query(
                "UPDATE allocations SET valid_to = max(valid_from, ?1), version = version + 1, changed_at = ?1 \
                 WHERE extension_id = ?2 AND (valid_to IS NULL OR valid_to > ?1)",
            )
            .bind(at.as_nanos())
            .bind(extension.id)
            .execute(self.connection())
            .await?;
            sqlx::query("DELETE FROM extensions WHERE id = ?")
                .bind(extension.id)
                .execute(self.connection())
                .await
        };
        done.await.map_err(failed)?;
        Ok(())
    }
}

fn list(aliases: &[String]) -> String {
    serde_json::to_string(aliases).unwrap_or_else(|_| "[]".to_owned())
}

fn extension_of(row: &SqliteRow) -> sqlx::Result<ExtensionRow> {
    let aliases: String = row.try_get(4)?;
    Ok(ExtensionRow {
        id: row.try_get(0)?,
        tenant: TenantId(row.try_get(1)?),
        kind: row.try_get(2)?,
        text: row.try_get(3)?,
        aliases: serde_json::from_str(&aliases).unwrap_or_default(),
        policy: row.try_get(5)?,
        version: row.try_get(6)?,
        created_at: Timestamp::from_nanos(row.try_get(7)?),
        changed_at: Timestamp::from_nanos(row.try_get(8)?),
    })
}
