//! All rows that the directory is made of, as they were at one moment.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AllocationRow, ExtensionRow, PlanRow, RegisteredTenant, allocations, extensions};
use super::{plans, tenants};
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Catalog, Change, Error, Result};

/// What the directory is made of besides the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryRows {
    /// Counts changes; the same count, the same rows.
    pub generation: i64,
    /// Those of the configuration among them.
    pub tenants: Vec<RegisteredTenant>,
    pub plans: Vec<PlanRow>,
    /// Oldest first.
    pub extensions: Vec<ExtensionRow>,
    /// In force, or to be.
    pub allocations: Vec<AllocationRow>,
    pub policies: Vec<LoginPolicy>,
}

/// A user with a recording policy of one's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginPolicy {
    pub tenant: TenantId,
    pub login: String,
    /// As it was written.
    pub policy: Value,
}

impl Catalog {
    /// The rows at this moment. For the program itself: they are of all tenants.
    pub async fn directory_rows(&self, now: Timestamp) -> Result<DirectoryRows> {
        let failed = |error| Error::from_sqlx("read the directory", &self.place, error);
        // One transaction: all of the same moment.
        let mut transaction = self.readers.begin().await.map_err(failed)?;
        let rows = async {
            let connection = &mut *transaction;
            let generation = sqlx::query_scalar("SELECT generation FROM directory_generation")
                .fetch_one(&mut *connection)
                .await?;
            let policies: Vec<(uuid::Uuid, String, String)> = sqlx::query_as(
                "SELECT tenant_id, login, recording_policy FROM users \
                 WHERE recording_policy IS NOT NULL AND removed_at IS NULL ORDER BY tenant_id, login",
            )
            .fetch_all(&mut *connection)
            .await?;
            let policies = policies
                .into_iter()
                .map(|(tenant, login, policy)| LoginPolicy {
                    tenant: TenantId(tenant),
                    login,
                    policy: super::json_of(&policy),
                });
            Ok(DirectoryRows {
                generation,
                policies: policies.collect(),
                tenants: tenants::all(connection).await?,
                plans: plans::all(connection).await?,
                extensions: extensions::all(connection).await?,
                allocations: allocations::open(connection, now).await?,
            })
        };
        rows.await.map_err(failed)
    }

    /// [`DirectoryRows::generation`] of this moment.
    pub async fn directory_generation(&self) -> Result<i64> {
        sqlx::query_scalar("SELECT generation FROM directory_generation")
            .fetch_one(&self.readers)
            .await
            .map_err(|error| Error::from_sqlx("look at the directory", &self.place, error))
    }
}

impl Change {
    /// [`DirectoryRows::generation`] with this change as far as it has gone.
    pub async fn directory_generation(&mut self) -> Result<i64> {
        let failed = self.failed("look at the directory");
        sqlx::query_scalar("SELECT generation FROM directory_generation")
            .fetch_one(self.connection())
            .await
            .map_err(failed)
    }
}
