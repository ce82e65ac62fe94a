//! Plans that were made through the API.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::nanos;
use crate::access::PlanLimits;
use crate::base::Timestamp;
use crate::catalog::change::new_id;
use crate::catalog::{Change, Error, Result};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    pub id: Uuid,
    /// What tenants subscribe to; unique in any case, and never changed.
    pub name: String,
    pub limits: PlanLimits,
    pub version: i64,
    #[serde(with = "nanos")]
    pub created_at: Timestamp,
    #[serde(with = "nanos")]
    pub changed_at: Timestamp,
}

const COLUMNS: &str =
    "SELECT id, name, limits, version, created_at, changed_at FROM plans ORDER BY name";

pub(super) async fn all(connection: &mut SqliteConnection) -> sqlx::Result<Vec<PlanRow>> {
    let rows = sqlx::query(COLUMNS).fetch_all(connection).await?;
    rows.iter().map(plan_of).collect()
}

impl Change {
    /// The plan as it is now. Plans are the System tenant's business: whoever asks reaches all tenants.
    pub async fn plan(&mut self, id: Uuid) -> Result<Option<PlanRow>> {
        let failed = self.failed("look up a plan");
        let plans = all(self.connection()).await.map_err(failed)?;
        Ok(plans.into_iter().find(|plan| plan.id == id))
    }

    /// # Errors
    ///
    /// [`Error::Taken`] when there is one of this name.
    pub async fn create_plan(&mut self, name: &str, limits: &PlanLimits) -> Result<PlanRow> {
        let (at, failed) = (self.at, self.failed("create a plan"));
        let plan = PlanRow {
            id: new_id(),
            name: name.to_owned(),
            limits: limits.clone(),
            version: 1,
            created_at: at,
            changed_at: at,
        };
        let done = sqlx::query(
            "INSERT INTO plans (id, name, limits, created_at, changed_at) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(plan.id)
        .bind(&plan.name)
        .bind(text(limits))
        .bind(at.as_nanos())
        .bind(at.as_nanos())
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("name", error, failed))?;
        Ok(plan)
    }

    pub async fn edit_plan(&mut self, plan: &PlanRow, limits: &PlanLimits) -> Result<PlanRow> {
        let (at, failed) = (self.at, self.failed("edit a plan"));
        sqlx::query(
            "UPDATE plans SET limits = ?, version = version + 1, changed_at = ? WHERE id = ?",
        )
        .bind(text(limits))
        .bind(at.as_nanos())
        .bind(plan.id)
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(PlanRow {
            limits: limits.clone(),
            version: plan.version + 1,
            changed_at: at,
            ..plan.clone()
        })
    }

    pub async fn remove_plan(&mut self, plan: &PlanRow) -> Result<()> {
        let failed = self.failed("remove a plan");
        let done = sqlx::query("DELETE FROM plans WHERE id = ?").bind(plan.id);
        done.execute(self.connection()).await.map_err(failed)?;
        Ok(())
    }
}

fn text(limits: &PlanLimits) -> String {
    serde_json::to_string(limits).unwrap_or_else(|_| "{}".to_owned())
}

fn plan_of(row: &SqliteRow) -> sqlx::Result<PlanRow> {
    let limits: String = row.try_get(2)?;
    Ok(PlanRow {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        limits: serde_json::from_str(&limits).map_err(|error| sqlx::Error::ColumnDecode {
            index: "limits".to_owned(),
            source: error.into(),
        })?,
        version: row.try_get(3)?,
        created_at: Timestamp::from_nanos(row.try_get(4)?),
        changed_at: Timestamp::from_nanos(row.try_get(5)?),
    })
}
