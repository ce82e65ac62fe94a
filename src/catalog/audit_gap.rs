//! What the daemon found missing of the audit, until an operator has acknowledged it.

use sqlx::Row;

use super::audit_chain::KnownRecord;
use super::text::LINE_BYTES;
use super::{Catalog, Error, Result};
use crate::access::Event;
use crate::base::{SYSTEM_TENANT, TenantId, Timestamp};

/// The actions, in the System tenant's audit.
const FOUND: &str = "audit.gap";
const ACKNOWLEDGED: &str = "audit.acknowledge";

/// What was found, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub at: Timestamp,
    pub why: String,
}

impl Catalog {
    /// The last gap that was found, unless an operator has acknowledged it since.
    pub async fn audit_gap(&self) -> Result<Option<Gap>> {
        let row = sqlx::query(
            "SELECT action, at, reason FROM audit WHERE tenant_id = ? AND action IN (?, ?) ORDER BY number DESC LIMIT 1",
        )
        .bind(SYSTEM_TENANT.0)
        .bind(FOUND)
        .bind(ACKNOWLEDGED)
        .fetch_optional(&self.readers)
        .await;
        let gap = |row: sqlx::sqlite::SqliteRow| {
            let action: String = row.try_get(0)?;
            let why: Option<String> = row.try_get(2)?;
            let at = Timestamp::from_nanos(row.try_get(1)?);
            Ok((action == FOUND).then(|| Gap {
                at,
                why: why.unwrap_or_default(),
            }))
        };
        row.and_then(|row| row.map_or(Ok(None), gap))
            .map_err(|error| Error::from_sqlx("read the audit", &self.place, error))
    }

    /// Writes that a gap was found, unless one is there that nobody has acknowledged.
    pub async fn tell_audit_gap(&self, why: &str) -> Result<()> {
        debug_assert!(why.len() <= LINE_BYTES, "it is written whole");
        match self.audit_gap().await? {
            Some(_) => Ok(()),
            None => {
                self.audit(Event::anonymous(SYSTEM_TENANT, FOUND).because(why))
                    .await
            }
        }
    }

    /// Writes that an operator knows of what was found: from now on the chains are taken as they are. `event` says who it is.
    pub async fn acknowledge_audit_gap(&self, event: Event, why: &str) -> Result<()> {
        let mut event = event.of_tenant(SYSTEM_TENANT).because(why);
        event.action = ACKNOWLEDGED.into();
        self.audit(event).await
    }

    /// Tenants of which what is known is not in the catalog any more, or not as it was.
    pub async fn chains_that_differ(&self, known: &[KnownRecord]) -> Result<Vec<TenantId>> {
        let mut differing = Vec::new();
        for one in known {
            let hash: sqlx::Result<Option<Vec<u8>>> =
                sqlx::query_scalar("SELECT hash FROM audit WHERE tenant_id = ? AND number = ?")
                    .bind(one.tenant.0)
                    .bind(one.number)
                    .fetch_optional(&self.readers)
                    .await;
            let hash =
                hash.map_err(|error| Error::from_sqlx("read the audit", &self.place, error))?;
            if hash.as_deref() != Some(&one.hash[..]) && !differing.contains(&one.tenant) {
                differing.push(one.tenant);
            }
        }
        Ok(differing)
    }
}
