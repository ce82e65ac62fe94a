//! Where tenants want to be told.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

use crate::access::{Reach, Scope};
use crate::base::{TenantId, Timestamp};
use crate::catalog::change::new_id;
use crate::catalog::people::{Listed, Listing, Position};
use crate::catalog::{Catalog, Change, Error, Result};

/// A tenant's endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub id: Uuid,
    pub tenant: TenantId,
    pub url: String,
    pub description: String,
    /// The kinds of events that are told, in the order they were written.
    pub events: Vec<String>,
    pub active: bool,
    /// Calls of users whose calls are confidential are told too, where its maker may see them.
    pub confidential: bool,
    /// Who made it or last changed it; none where that was before it was kept.
    pub maker: Option<Maker>,
    /// Why it was switched off, where that was for its failures.
    pub disabled_reason: Option<String>,
    pub last_success_at: Option<Timestamp>,
    pub last_failure_at: Option<Timestamp>,
    pub version: i64,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

/// Who made or last changed a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// A user's or a service account's.
    pub id: Uuid,
    /// As they were called then; none where they are not of the tenant, which does not learn who is elsewhere.
    pub name: Option<String>,
}

/// What of a webhook can be written, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookDraft {
    pub url: String,
    pub description: String,
    pub events: Vec<String>,
    pub active: bool,
    pub confidential: bool,
    pub maker: Option<Maker>,
}

const COLUMNS: &str = "SELECT id, tenant_id, url, description, events, active, confidential, disabled_reason, \
     last_success_at, last_failure_at, version, created_at, changed_at, maker_id, maker FROM webhooks WHERE TRUE";

/// Webhooks that lie in the scope: they tell of all of a tenant, so who sees less of it sees none.
fn in_scope(scope: &Scope) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLUMNS);
    match scope.reach() {
        Reach::System => {}
        Reach::Tenant(tenant) => {
            sql.push(" AND tenant_id = ").push_bind(tenant.0);
        }
        Reach::Groups { .. } | Reach::User { .. } => {
            sql.push(" AND FALSE");
        }
    }
    sql
}

impl Catalog {
    /// The webhooks in the scope, oldest first.
    pub async fn webhooks(&self, scope: &Scope, listing: &Listing) -> Result<Listed<Webhook>> {
        let mut sql = in_scope(scope);
        if let Some(after) = listing.position()? {
            sql.push(" AND id > ").push_bind(after.id);
        }
        sql.push(" ORDER BY id LIMIT ");
        sql.push_bind(listing.limit() as i64 + 1);
        let rows = sql.build().fetch_all(&self.readers).await;
        let found: sqlx::Result<Vec<Webhook>> =
            rows.and_then(|rows| rows.iter().map(webhook_of).collect());
        let found = found.map_err(|error| Error::from_sqlx("list webhooks", &self.place, error))?;
        Ok(listing.page(found, |webhook| Position {
            name: String::new(),
            id: webhook.id,
        }))
    }

    /// The webhook, if it is in the scope.
    pub async fn webhook(&self, scope: &Scope, id: Uuid) -> Result<Option<Webhook>> {
        let mut sql = in_scope(scope);
        sql.push(" AND id = ").push_bind(id);
        let row = sql.build().fetch_optional(&self.readers).await;
        row.and_then(|row| row.as_ref().map(webhook_of).transpose())
            .map_err(|error| Error::from_sqlx("look up a webhook", &self.place, error))
    }
}

impl Change {
    /// The webhook as it is now, if it is in the scope.
    pub async fn webhook(&mut self, scope: &Scope, id: Uuid) -> Result<Option<Webhook>> {
        let failed = self.failed("look up a webhook");
        let mut sql = in_scope(scope);
        sql.push(" AND id = ").push_bind(id);
        let row = sql.build().fetch_optional(self.connection()).await;
        row.and_then(|row| row.as_ref().map(webhook_of).transpose())
            .map_err(failed)
    }

    /// How many webhooks the tenant has.
    pub async fn count_webhooks(&mut self, tenant: TenantId) -> Result<u64> {
        let failed = self.failed("count webhooks");
        let count: sqlx::Result<i64> =
            sqlx::query_scalar("SELECT count(*) FROM webhooks WHERE tenant_id = ?")
                .bind(tenant.0)
                .fetch_one(self.connection())
                .await;
        count.map(|count| count.unsigned_abs()).map_err(failed)
    }

    /// A new webhook of a tenant that is there. `seal` gives its secret, sealed for the id that the webhook gets.
    pub async fn create_webhook(
        &mut self,
        tenant: TenantId,
        draft: &WebhookDraft,
        seal: impl FnOnce(Uuid) -> Vec<u8>,
    ) -> Result<Webhook> {
        let (at, failed) = (self.at, self.failed("create a webhook"));
        let id = new_id();
        sqlx::query(
            "INSERT INTO webhooks (id, tenant_id, url, description, events, secret, sealed_secret, active, confidential, \
             created_at, changed_at, maker_id, maker) VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(tenant.0)
        .bind(&draft.url)
        .bind(&draft.description)
        .bind(events_text(&draft.events))
        .bind(seal(id))
        .bind(draft.active)
        .bind(draft.confidential)
        .bind(at.as_nanos())
        .bind(at.as_nanos())
        .bind(draft.maker.as_ref().map(|maker| maker.id))
        .bind(draft.maker.as_ref().and_then(|maker| maker.name.as_ref()))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(Webhook {
            id,
            tenant,
            url: draft.url.clone(),
            description: draft.description.clone(),
            events: draft.events.clone(),
            active: draft.active,
            confidential: draft.confidential,
            maker: draft.maker.clone(),
            disabled_reason: None,
            last_success_at: None,
            last_failure_at: None,
            version: 1,
            created_at: at,
            changed_at: at,
        })
    }

    /// Writes the webhook as `draft` has it. One that was switched off for its failures begins anew.
    pub async fn edit_webhook(
        &mut self,
        webhook: &Webhook,
        draft: &WebhookDraft,
    ) -> Result<Webhook> {
        let (at, failed) = (self.at, self.failed("edit a webhook"));
        sqlx::query(
            "UPDATE webhooks SET url = ?, description = ?, events = ?, active = ?, confidential = ?, \
             maker_id = ?, maker = ?, disabled_reason = NULL, version = version + 1, changed_at = ? WHERE id = ?",
        )
        .bind(&draft.url)
        .bind(&draft.description)
        .bind(events_text(&draft.events))
        .bind(draft.active)
        .bind(draft.confidential)
        .bind(draft.maker.as_ref().map(|maker| maker.id))
        .bind(draft.maker.as_ref().and_then(|maker| maker.name.as_ref()))
        .bind(at.as_nanos())
        .bind(webhook.id)
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(Webhook {
            url: draft.url.clone(),
            description: draft.description.clone(),
            events: draft.events.clone(),
            active: draft.active,
            confidential: draft.confidential,
            maker: draft.maker.clone(),
            disabled_reason: None,
            version: webhook.version + 1,
            changed_at: at,
            ..webhook.clone()
        })
    }

    /// Gives the webhook another secret, sealed for its id.
    pub async fn renew_webhook_secret(
        &mut self,
        webhook: &Webhook,
        sealed: &[u8],
    ) -> Result<Webhook> {
        let (at, failed) = (self.at, self.failed("renew the secret of a webhook"));
        sqlx::query(
            "UPDATE webhooks SET secret = '', sealed_secret = ?, version = version + 1, changed_at = ? WHERE id = ?",
        )
        .bind(sealed)
        .bind(at.as_nanos())
        .bind(webhook.id)
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(Webhook {
            version: webhook.version + 1,
            changed_at: at,
            ..webhook.clone()
        })
    }

    /// Removes the webhook, with what waits for it.
    pub async fn remove_webhook(&mut self, webhook: &Webhook) -> Result<()> {
        for statement in [
            "DELETE FROM deliveries WHERE webhook_id = ?",
            "DELETE FROM webhooks WHERE id = ?",
        ] {
            let failed = self.failed("remove a webhook");
            let done = sqlx::query(statement)
                .bind(webhook.id)
                .execute(self.connection())
                .await;
            done.map_err(failed)?;
        }
        Ok(())
    }
}

fn events_text(events: &[String]) -> String {
    serde_json::to_string(events).unwrap_or_default()
}

fn webhook_of(row: &SqliteRow) -> sqlx::Result<Webhook> {
    let events: String = row.try_get(4)?;
    let time = |column| -> sqlx::Result<Option<Timestamp>> {
        let nanos: Option<i64> = row.try_get(column)?;
        Ok(nanos.map(Timestamp::from_nanos))
    };
    let maker: Option<Uuid> = row.try_get(13)?;
    let called: Option<String> = row.try_get(14)?;
    Ok(Webhook {
        id: row.try_get(0)?,
        tenant: TenantId(row.try_get(1)?),
        url: row.try_get(2)?,
        description: row.try_get(3)?,
        events: serde_json::from_str(&events)
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        active: row.try_get(5)?,
        confidential: row.try_get(6)?,
        maker: maker.map(|id| Maker { id, name: called }),
        disabled_reason: row.try_get(7)?,
        last_success_at: time(8)?,
        last_failure_at: time(9)?,
        version: row.try_get(10)?,
        created_at: Timestamp::from_nanos(row.try_get(11)?),
        changed_at: Timestamp::from_nanos(row.try_get(12)?),
    })
}
