//! The queue of deliveries, and the log that it leaves.
//!
//! It is the daemon's own: no person reads or changes it but through [`Catalog::deliveries`], which takes a scope.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

use crate::access::Scope;
use crate::base::{TenantId, Timestamp};
use crate::catalog::change::new_id;
use crate::catalog::people::{Listed, Listing, Position};
use crate::catalog::{Catalog, Error, Result};

/// Deliveries that may wait for one webhook; further ones are dropped, and counted.
const MOST_WAITING: i64 = 10_000;
/// Finished deliveries of one webhook that are kept, and for how long.
const MOST_LOGGED: i64 = 1000;
pub const LOG_KEPT: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    Waiting,
    Delivered,
    GivenUp,
}

impl DeliveryState {
    pub fn name(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Delivered => "delivered",
            DeliveryState::GivenUp => "given_up",
        }
    }

    fn named(name: &str) -> DeliveryState {
        match name {
            "delivered" => DeliveryState::Delivered,
            "given_up" => DeliveryState::GivenUp,
            _ => DeliveryState::Waiting,
        }
    }
}

/// A delivery as the log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub id: Uuid,
    pub event: String,
    pub state: DeliveryState,
    pub created_at: Timestamp,
    pub attempts: u32,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
    /// The last attempt: when, what the endpoint answered or why it did not, and how long that took.
    pub last_at: Option<Timestamp>,
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
    pub took_ms: Option<u64>,
}

/// A delivery that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    pub id: Uuid,
    pub webhook: Uuid,
    pub tenant: TenantId,
    pub url: String,
    /// Sealed for the webhook's id. None: it was written before secrets were sealed, and no start has sealed it since.
    pub sealed_secret: Option<Vec<u8>>,
    /// Who answers for the webhook.
    pub maker: Option<Uuid>,
    pub event: String,
    pub body: String,
    /// Somebody whose calls are confidential has part in it.
    pub confidential: bool,
    pub created_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: Uuid,
    pub webhook: Uuid,
    pub at: Timestamp,
    pub took_ms: u64,
    pub status: Option<u16>,
    pub error: Option<&'static str>,
    pub state: DeliveryState,
    /// When to try again, where it is to be.
    pub next_at: Option<Timestamp>,
    /// Switch the webhook off, for this reason.
    pub disable: Option<&'static str>,
}

/// What became of an event that was to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    pub queued: u64,
    /// Found too many before them.
    pub dropped: u64,
    /// Would have gone to webhooks whose maker may not see it.
    pub withheld: u64,
}

impl Catalog {
    /// Puts an event into the queue of each active webhook of the tenant that wants to be told of it, and whose maker sees it.
    /// `confidential`: somebody whose calls are confidential has part in it.
    pub async fn queue_event(
        &self,
        tenant: TenantId,
        event: &str,
        body: &str,
        confidential: bool,
        at: Timestamp,
    ) -> Result<Queued> {
        let failed = |error| Error::from_sqlx("queue an event", &self.place, error);
        let wanted: Vec<(Uuid, Option<Uuid>)> = sqlx::query_as(
            "SELECT id, maker_id FROM webhooks WHERE tenant_id = ? AND active AND (confidential OR NOT ?) \
             AND EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?)",
        )
        .bind(tenant.0)
        .bind(confidential)
        .bind(event)
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let mut queued = Queued::default();
        for (webhook, maker) in wanted {
            if !(self.who_answers(tenant, maker).await?).may_tell(confidential) {
                queued.withheld += 1;
                continue;
            }
            let told = self.queue_delivery(webhook, event, body, confidential, at);
            match told.await? {
                Some(_) => queued.queued += 1,
                None => queued.dropped += 1,
            }
        }
        Ok(queued)
    }

    /// Puts an event into the queue of one webhook; its id, or `None` where too many wait.
    pub async fn queue_delivery(
        &self,
        webhook: Uuid,
        event: &str,
        body: &str,
        confidential: bool,
        at: Timestamp,
    ) -> Result<Option<Uuid>> {
        let id = new_id();
        let done = sqlx::query(
            "INSERT INTO deliveries (id, webhook_id, event, body, created_at, next_at, confidential) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?5, ?7 WHERE EXISTS (SELECT 1 FROM webhooks WHERE id = ?2) AND \
             (SELECT count(*) FROM deliveries WHERE webhook_id = ?2 AND next_at IS NOT NULL) < ?6",
        )
        .bind(id)
        .bind(webhook)
        .bind(event)
        .bind(body)
        .bind(at.as_nanos())
        .bind(MOST_WAITING)
        .bind(confidential)
        .execute(&self.writer)
        .await
        .map_err(|error| Error::from_sqlx("queue an event", &self.place, error))?;
        Ok((done.rows_affected() > 0).then_some(id))
    }

    /// Deliveries that are due, those that have waited longest first; of each webhook at most `each`.
    pub async fn due_deliveries(
        &self,
        now: Timestamp,
        limit: u32,
        each: u32,
    ) -> Result<Vec<DueDelivery>> {
        let rows = sqlx::query(
            "SELECT d.id, d.webhook_id, w.tenant_id, w.url, w.sealed_secret, d.event, d.body, d.created_at, d.attempts, \
             w.maker_id, d.confidential FROM ( \
             SELECT *, row_number() OVER (PARTITION BY webhook_id ORDER BY next_at, id) AS place FROM deliveries \
             WHERE next_at IS NOT NULL AND next_at <= ?) d \
             JOIN webhooks w ON w.id = d.webhook_id WHERE w.active AND d.place <= ? ORDER BY d.next_at, d.id LIMIT +?",
        )
        .bind(now.as_nanos())
        .bind(each)
        .bind(limit)
        .fetch_all(&self.readers)
        .await;
        rows.and_then(|rows| rows.iter().map(due_of).collect())
            .map_err(|error| Error::from_sqlx("look for deliveries", &self.place, error))
    }

    /// Writes what came of an attempt. Where the webhook is switched off for it, all that waits for it is given up.
    pub async fn note_attempt(&self, attempt: &Attempt) -> Result<()> {
        let failed = |error| Error::from_sqlx("note a delivery", &self.place, error);
        let mut transaction = self.writer.begin().await.map_err(failed)?;
        sqlx::query(
            "UPDATE deliveries SET state = ?, attempts = attempts + 1, next_at = ?, last_at = ?, last_status = ?, \
             last_error = ?, took_ms = ? WHERE id = ?",
        )
        .bind(attempt.state.name())
        .bind(attempt.next_at.map(Timestamp::as_nanos))
        .bind(attempt.at.as_nanos())
        .bind(attempt.status)
        .bind(attempt.error)
        .bind(i64::try_from(attempt.took_ms).unwrap_or(i64::MAX))
        .bind(attempt.id)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        let noted = match attempt.state {
            DeliveryState::Delivered => "UPDATE webhooks SET last_success_at = ? WHERE id = ?",
            _ => "UPDATE webhooks SET last_failure_at = ? WHERE id = ?",
        };
        sqlx::query(noted)
            .bind(attempt.at.as_nanos())
            .bind(attempt.webhook)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if let Some(reason) = attempt.disable {
            sqlx::query(
                "UPDATE webhooks SET active = 0, disabled_reason = ?, version = version + 1 WHERE id = ?",
            )
            .bind(reason)
            .bind(attempt.webhook)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            sqlx::query(
                "UPDATE deliveries SET state = 'given_up', next_at = NULL WHERE webhook_id = ? AND next_at IS NOT NULL",
            )
            .bind(attempt.webhook)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Whether the webhook took anything after `since`.
    pub async fn webhook_took_since(&self, webhook: Uuid, since: Timestamp) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM webhooks WHERE id = ? AND last_success_at > ?)",
        )
        .bind(webhook)
        .bind(since.as_nanos())
        .fetch_one(&self.readers)
        .await
        .map_err(|error| Error::from_sqlx("look up a webhook", &self.place, error))
    }

    /// Removes from the log what is older than `LOG_KEPT`, or beyond what is kept of one webhook.
    pub async fn trim_deliveries(&self, now: Timestamp) -> Result<u64> {
        let failed = |error| Error::from_sqlx("shorten the log of deliveries", &self.place, error);
        let oldest = (now - LOG_KEPT).as_nanos();
        let old = sqlx::query("DELETE FROM deliveries WHERE next_at IS NULL AND created_at < ?")
            .bind(oldest)
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        let many = sqlx::query(
            "DELETE FROM deliveries WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER \
             (PARTITION BY webhook_id ORDER BY id DESC) AS place FROM deliveries WHERE next_at IS NULL) WHERE place > ?)",
        )
        .bind(MOST_LOGGED)
        .execute(&self.writer)
        .await
        .map_err(failed)?;
        Ok(old.rows_affected() + many.rows_affected())
    }

    /// The deliveries of a webhook in the scope, newest first.
    pub async fn deliveries(
        &self,
        scope: &Scope,
        webhook: Uuid,
        listing: &Listing,
    ) -> Result<Option<Listed<Delivery>>> {
        if self.webhook(scope, webhook).await?.is_none() {
            return Ok(None);
        }
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT id, event, state, created_at, attempts, next_at, last_at, last_status, last_error, took_ms \
             FROM deliveries WHERE webhook_id = ",
        );
        sql.push_bind(webhook);
        if let Some(after) = listing.position()? {
            sql.push(" AND id < ").push_bind(after.id);
        }
        sql.push(" ORDER BY id DESC LIMIT ");
        sql.push_bind(listing.limit() as i64 + 1);
        let rows = sql.build().fetch_all(&self.readers).await;
        let found: sqlx::Result<Vec<Delivery>> =
            rows.and_then(|rows| rows.iter().map(delivery_of).collect());
        let found =
            found.map_err(|error| Error::from_sqlx("list deliveries", &self.place, error))?;
        Ok(Some(listing.page(found, |delivery| Position {
            name: String::new(),
            id: delivery.id,
        })))
    }
}

fn due_of(row: &SqliteRow) -> sqlx::Result<DueDelivery> {
    Ok(DueDelivery {
        id: row.try_get(0)?,
        webhook: row.try_get(1)?,
        tenant: TenantId(row.try_get(2)?),
        url: row.try_get(3)?,
        sealed_secret: row.try_get(4)?,
        event: row.try_get(5)?,
        body: row.try_get(6)?,
        created_at: Timestamp::from_nanos(row.try_get(7)?),
        attempts: row.try_get(8)?,
        maker: row.try_get(9)?,
        confidential: row.try_get(10)?,
    })
}

fn delivery_of(row: &SqliteRow) -> sqlx::Result<Delivery> {
    let time = |column| -> sqlx::Result<Option<Timestamp>> {
        let nanos: Option<i64> = row.try_get(column)?;
        Ok(nanos.map(Timestamp::from_nanos))
    };
    let state: String = row.try_get(2)?;
    let took: Option<i64> = row.try_get(9)?;
    Ok(Delivery {
        id: row.try_get(0)?,
        event: row.try_get(1)?,
        state: DeliveryState::named(&state),
        created_at: Timestamp::from_nanos(row.try_get(3)?),
        attempts: row.try_get(4)?,
        next_at: time(5)?,
        last_at: time(6)?,
        last_status: row.try_get(7)?,
        last_error: row.try_get(8)?,
        took_ms: took.map(i64::unsigned_abs),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::{Event, Preset, Principal};
    use crate::catalog::delivery::{Maker, WebhookDraft};
    use crate::catalog::testing::{in_memory, tenant};

    const NOW: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);

    async fn webhook(catalog: &Catalog, number: u128, events: &[&str]) -> Uuid {
        let maker = catalog
            .maker_for_tests(tenant(number), Preset::Reader)
            .await;
        webhook_of(catalog, number, events, Some(maker)).await
    }

    async fn webhook_of(
        catalog: &Catalog,
        number: u128,
        events: &[&str],
        maker: Option<Maker>,
    ) -> Uuid {
        let draft = WebhookDraft {
            url: "https://example.com/".into(),
            description: String::new(),
            events: events.iter().map(|&event| event.into()).collect(),
            active: true,
            confidential: maker.as_ref().is_some_and(|maker| {
                maker
                    .name
                    .as_deref()
                    .is_some_and(|name| name.starts_with("Tenant"))
            }),
            maker,
        };
        let mut change = catalog.change().await.unwrap();
        let made = change
            .create_webhook(tenant(number), &draft, |_| Vec::new())
            .await
            .unwrap();
        let event = Event::by(&Principal::operator("ops"), "webhooks.create");
        change.commit(event).await.unwrap();
        made.id
    }

    async fn world() -> Catalog {
        let catalog = in_memory().await;
        catalog.register_for_tests(tenant(1), "one").await;
        catalog.register_for_tests(tenant(2), "two").await;
        catalog
    }

    fn attempt(of: &DueDelivery, state: DeliveryState, next_at: Option<Timestamp>) -> Attempt {
        Attempt {
            id: of.id,
            webhook: of.webhook,
            at: NOW,
            took_ms: 7,
            status: Some(500),
            error: None,
            state,
            next_at,
            disable: None,
        }
    }

    #[tokio::test]
    async fn an_event_goes_to_the_tenants_webhooks_that_want_it() {
        let catalog = world().await;
        let wants = webhook(&catalog, 1, &["call.ended", "call.started"]).await;
        webhook(&catalog, 1, &["call.started"]).await;
        webhook(&catalog, 2, &["call.ended"]).await;
        let queue = |tenant, confidential| {
            catalog.queue_event(tenant, "call.ended", "{}", confidential, NOW)
        };
        assert_eq!(queue(tenant(1), false).await.unwrap().queued, 1);
        assert_eq!(
            queue(tenant(1), true).await.unwrap().queued,
            0,
            "not to this one"
        );
        assert_eq!(queue(tenant(3), false).await.unwrap(), Queued::default());
        let due = catalog.due_deliveries(NOW, 10, 10).await.unwrap();
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].webhook, due[0].tenant), (wants, tenant(1)));
        assert!(
            catalog
                .due_deliveries(NOW - Duration::from_secs(1), 10, 10)
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_webhook_is_told_what_its_maker_may_see_at_that_moment() {
        let catalog = world().await;
        let of = |preset| catalog.maker_for_tests(tenant(1), preset);
        let chief = of(Preset::TenantAdministrator).await;
        let makers = [
            (Some(chief.clone()), [1, 1]),
            (Some(of(Preset::Reader).await), [1, 0]),
            // Those who see some calls, and those of another tenant, who see none.
            (Some(of(Preset::Supervisor).await), [0, 0]),
            (Some(of(Preset::Agent).await), [0, 0]),
            (
                Some(catalog.maker_for_tests(tenant(2), Preset::Reader).await),
                [0, 0],
            ),
            (None, [0, 0]),
        ];
        let mut told = [0, 0];
        for (maker, tells) in makers {
            webhook_of(&catalog, 1, &["call.ended"], maker).await;
            told = [told[0] + tells[0], told[1] + tells[1]];
            for (confidential, told) in [false, true].into_iter().zip(told) {
                let queued = catalog
                    .queue_event(tenant(1), "call.ended", "{}", confidential, NOW)
                    .await
                    .unwrap();
                assert_eq!(queued.queued, told);
            }
        }
        catalog.deactivate_for_tests(&chief).await;
        let queued = catalog
            .queue_event(tenant(1), "call.ended", "{}", true, NOW)
            .await
            .unwrap();
        assert_eq!((queued.queued, queued.withheld), (0, 1));
    }

    #[tokio::test]
    async fn what_failed_waits_and_what_is_done_is_in_the_log() {
        let catalog = world().await;
        let hook = webhook(&catalog, 1, &["call.ended"]).await;
        for _ in 0..3 {
            catalog
                .queue_event(tenant(1), "call.ended", "{}", false, NOW)
                .await
                .unwrap();
        }
        let due = catalog.due_deliveries(NOW, 10, 2).await.unwrap();
        assert_eq!(due.len(), 2, "no endpoint takes all turns");
        let later = NOW + Duration::from_secs(60);
        let waiting = attempt(&due[0], DeliveryState::Waiting, Some(later));
        catalog.note_attempt(&waiting).await.unwrap();
        let done = attempt(&due[1], DeliveryState::Delivered, None);
        catalog.note_attempt(&done).await.unwrap();
        assert_eq!(catalog.due_deliveries(NOW, 10, 10).await.unwrap().len(), 1);
        let again = catalog.due_deliveries(later, 10, 10).await.unwrap();
        assert_eq!(
            again.iter().map(|one| one.attempts).collect::<Vec<_>>(),
            [0, 1]
        );
        assert!(
            catalog
                .webhook_took_since(hook, NOW - Duration::from_secs(1))
                .await
                .unwrap()
        );
        let listing = Listing {
            after: None,
            limit: 2,
        };
        let scope = Scope::tenant(tenant(1));
        let page = catalog
            .deliveries(&scope, hook, &listing)
            .await
            .unwrap()
            .unwrap();
        let states: Vec<_> = page.items.iter().map(|one| one.state.name()).collect();
        assert_eq!(states, ["waiting", "delivered"]);
        assert!(page.next.is_some());
        let foreign = catalog
            .deliveries(&Scope::tenant(tenant(2)), hook, &listing)
            .await;
        assert!(foreign.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_webhook_that_is_switched_off_is_asked_no_more() {
        let catalog = world().await;
        let hook = webhook(&catalog, 1, &["call.ended"]).await;
        for _ in 0..3 {
            catalog
                .queue_event(tenant(1), "call.ended", "{}", false, NOW)
                .await
                .unwrap();
        }
        let due = catalog.due_deliveries(NOW, 1, 1).await.unwrap();
        let last = Attempt {
            disable: Some("gone"),
            ..attempt(&due[0], DeliveryState::GivenUp, None)
        };
        catalog.note_attempt(&last).await.unwrap();
        assert!(
            catalog
                .due_deliveries(NOW, 10, 10)
                .await
                .unwrap()
                .is_empty()
        );
        let found = catalog
            .webhook(&Scope::tenant(tenant(1)), hook)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.active, found.disabled_reason.as_deref()),
            (false, Some("gone"))
        );
        let queued = catalog
            .queue_event(tenant(1), "call.ended", "{}", false, NOW)
            .await;
        assert_eq!(queued.unwrap().queued, 0);
    }

    #[tokio::test]
    async fn the_log_is_bounded_and_the_queue_is_not_cut() {
        let catalog = world().await;
        webhook(&catalog, 1, &["call.ended"]).await;
        for _ in 0..5 {
            catalog
                .queue_event(tenant(1), "call.ended", "{}", false, NOW)
                .await
                .unwrap();
        }
        let due = catalog.due_deliveries(NOW, 2, 2).await.unwrap();
        for one in &due {
            let done = attempt(one, DeliveryState::Delivered, None);
            catalog.note_attempt(&done).await.unwrap();
        }
        let later = NOW + LOG_KEPT + Duration::from_secs(1);
        assert_eq!(catalog.trim_deliveries(later).await.unwrap(), 2);
        assert_eq!(
            catalog.due_deliveries(later, 10, 10).await.unwrap().len(),
            3
        );
    }
}
