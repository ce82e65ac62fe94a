//! The one who carries: takes what is due from the queue, sends it, and writes what came of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::schedule::next_attempt;
use super::send::{Sender, Sent, Stamp};
use super::signature::sign;
use super::target::Target;
use crate::base::Timestamp;
use crate::catalog::{Attempt, Catalog, DeliveryState, DueDelivery};

/// Requests under way at a time,
const AT_A_TIME: usize = 32;
/// and to one endpoint.
const TO_ONE: u32 = 4;
/// How often the queue is looked at when nobody says that there is something new.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the log is shortened.
const TRIM_EVERY: Duration = Duration::from_secs(3600);

/// Why nothing is sent that the webhook's maker may not see.
const NOT_SEEN: &str = "maker_does_not_see_it";

/// Counted by name. Monotonic.
#[derive(Debug, Default)]
pub struct CourierCounters {
    pub delivered: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Deliveries that were given up.
    pub given_up: AtomicU64,
    /// Events that found too many before them.
    pub dropped: AtomicU64,
    /// Events, and deliveries that waited, that the makers of webhooks may not see.
    pub withheld: AtomicU64,
    /// Webhooks that were switched off.
    pub switched_off: AtomicU64,
}

/// Opens what was sealed for the webhook of this id; none where it cannot be opened.
pub type Opener = Arc<dyn Fn(&[u8], Uuid) -> Option<Zeroizing<Vec<u8>>> + Send + Sync>;

/// Delivers until it is dropped.
pub struct Courier {
    catalog: Catalog,
    sender: Arc<Sender>,
    opener: Opener,
    /// Plain HTTP is allowed.
    http: bool,
    counters: Arc<CourierCounters>,
    /// Rung when something was queued.
    bell: Arc<Notify>,
}

/// What came of one delivery.
struct Carried {
    delivery: DueDelivery,
    sent: Sent,
    took: Duration,
}

impl Courier {
    pub fn new(
        catalog: Catalog,
        sender: Arc<Sender>,
        opener: Opener,
        http: bool,
        counters: Arc<CourierCounters>,
        bell: Arc<Notify>,
    ) -> Courier {
        Courier {
            catalog,
            sender,
            opener,
            http,
            counters,
            bell,
        }
    }

    /// Delivers what is due, for ever. Errors of the catalog are waited out.
    pub async fn run(self) {
        let mut under_way = HashSet::new();
        let mut carrying = JoinSet::new();
        let mut trimmed = None;
        loop {
            self.begin(&mut carrying, &mut under_way).await;
            tokio::select! {
                Some(carried) = carrying.join_next() => {
                    if let Ok(carried) = carried {
                        self.settle(&carried).await;
                        under_way.remove(&carried.delivery.id);
                    }
                }
                () = self.bell.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => self.trim(&mut trimmed).await,
            }
        }
    }

    /// Sends what is due and not under way.
    async fn begin(&self, carrying: &mut JoinSet<Carried>, under_way: &mut HashSet<Uuid>) {
        if under_way.len() >= AT_A_TIME {
            return;
        }
        let limit = 2 * AT_A_TIME as u32;
        let due = match self.catalog.due_deliveries(now(), limit, TO_ONE).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "webhooks wait for the catalog");
                return;
            }
        };
        for delivery in due {
            if under_way.len() < AT_A_TIME && under_way.insert(delivery.id) {
                let (sender, opener) = (self.sender.clone(), self.opener.clone());
                let catalog = self.catalog.clone();
                carrying.spawn(carry(catalog, sender, opener, self.http, delivery));
            }
        }
    }

    async fn settle(&self, carried: &Carried) {
        let attempt = self.attempt(carried).await;
        let counter = match attempt.state {
            _ if attempt.error == Some(NOT_SEEN) => &self.counters.withheld,
            DeliveryState::Delivered => &self.counters.delivered,
            DeliveryState::Waiting => &self.counters.failed,
            DeliveryState::GivenUp => &self.counters.given_up,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(reason) = attempt.disable {
            self.counters.switched_off.fetch_add(1, Ordering::Relaxed);
            let (webhook, tenant) = (carried.delivery.webhook, carried.delivery.tenant);
            tracing::warn!(%webhook, %tenant, reason, "a webhook was switched off");
        }
        if let Err(error) = self.catalog.note_attempt(&attempt).await {
            // It stays in the queue and is sent again: receivers know it by its id.
            tracing::warn!(%error, "what came of a webhook could not be noted");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// What is to be noted of a delivery that was tried.
    async fn attempt(&self, carried: &Carried) -> Attempt {
        let (delivery, now) = (&carried.delivery, now());
        let failed = delivery.attempts.saturating_add(1);
        let pause = next_attempt(failed, random());
        let (state, next_at, disable) = match carried.sent {
            sent if sent.is_taken() => (DeliveryState::Delivered, None, None),
            Sent::Failed(NOT_SEEN) => (DeliveryState::GivenUp, None, None),
            sent if sent.is_gone() => (
                DeliveryState::GivenUp,
                None,
                Some("the endpoint is gone (410)"),
            ),
            _ => match pause {
                Some(pause) => (DeliveryState::Waiting, Some(now + pause), None),
                None => {
                    let took = self
                        .catalog
                        .webhook_took_since(delivery.webhook, delivery.created_at);
                    // A delivery that was given up alone is the delivery's fault, not the endpoint's.
                    let silent = !took.await.unwrap_or(true);
                    let reason = silent.then_some("it took nothing for a day");
                    (DeliveryState::GivenUp, None, reason)
                }
            },
        };
        let (status, error) = match carried.sent {
            Sent::Answered(status) => (Some(status), None),
            Sent::Failed(why) => (None, Some(why)),
        };
        Attempt {
            id: delivery.id,
            webhook: delivery.webhook,
            at: now,
            took_ms: u64::try_from(carried.took.as_millis()).unwrap_or(u64::MAX),
            status,
            error,
            state,
            next_at,
            disable,
        }
    }

    async fn trim(&self, trimmed: &mut Option<Instant>) {
        if trimmed.is_some_and(|last| last.elapsed() < TRIM_EVERY) {
            return;
        }
        *trimmed = Some(Instant::now());
        if let Err(error) = self.catalog.trim_deliveries(now()).await {
            tracing::warn!(%error, "the log of webhooks could not be shortened");
        }
    }
}

async fn carry(
    catalog: Catalog,
    sender: Arc<Sender>,
    opener: Opener,
    http: bool,
    delivery: DueDelivery,
) -> Carried {
    let began = Instant::now();
    let answers = catalog.who_answers(delivery.tenant, delivery.maker).await;
    // Rights may have gone since the event was queued.
    let sent = match answers {
        Ok(answers) if answers.may_tell(delivery.confidential) => {
            try_carry(&sender, &opener, http, &delivery).await
        }
        Ok(_) => Sent::Failed(NOT_SEEN),
        Err(_) => Sent::Failed("catalog_away"),
    };
    Carried {
        delivery,
        sent,
        took: began.elapsed(),
    }
}

async fn try_carry(sender: &Sender, opener: &Opener, http: bool, delivery: &DueDelivery) -> Sent {
    // The configuration may allow less than it did when the webhook was written.
    let Ok(target) = Target::parse(&delivery.url, http, sender.policy()) else {
        return Sent::Failed("address_not_allowed");
    };
    let id = delivery.id.to_string();
    let timestamp = now().as_nanos() / 1_000_000_000;
    let body = delivery.body.as_bytes();
    let secret = delivery.sealed_secret.as_deref();
    let secret = secret.and_then(|sealed| opener(sealed, delivery.webhook));
    let secret = secret
        .as_deref()
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    let Some(signature) = secret.and_then(|secret| sign(secret, &id, timestamp, body)) else {
        return Sent::Failed("no_secret");
    };
    let stamp = Stamp {
        id,
        timestamp,
        signature,
    };
    let body = Bytes::copy_from_slice(body);
    sender.send(&target, &stamp, body).await
}

fn random() -> u32 {
    // Without random bytes all pauses are of middle length.
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::default() + since.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::access::{Event, Preset, Principal, Scope, SealingKey};
    use crate::catalog::testing::{in_memory, tenant};
    use crate::catalog::{Listing, Maker, WebhookDraft};
    use crate::delivery::AddressPolicy;

    /// A webhook as it was made.
    struct Made {
        id: Uuid,
        maker: Maker,
        secret: String,
    }

    /// A webhook to a server of this machine, the catalog, and what came.
    async fn world(
        answers: &'static [&'static str],
    ) -> (Catalog, Made, tokio::sync::mpsc::Receiver<String>) {
        let catalog = in_memory().await;
        catalog.register_for_tests(tenant(1), "one").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://127.0.0.1:{}/",
            listener.local_addr().unwrap().port()
        );
        let preset = Preset::TenantAdministrator;
        let maker = catalog.maker_for_tests(tenant(1), preset).await;
        let draft = WebhookDraft {
            url,
            description: String::new(),
            events: vec!["call.ended".into()],
            active: true,
            confidential: true,
            maker: Some(maker.clone()),
        };
        let mut change = catalog.change().await.unwrap();
        let secret = super::super::new_secret().unwrap();
        let key = SealingKey::drawn();
        let made = change
            .create_webhook(tenant(1), &draft, |id| {
                key.seal(secret.as_bytes(), id.as_bytes())
            })
            .await
            .unwrap();
        let event = Event::by(&Principal::operator("ops"), "webhooks.create");
        change.commit(event).await.unwrap();
        let (told, heard) = tokio::sync::mpsc::channel(64);
        tokio::spawn(async move {
            for answer in answers.iter().cycle() {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut room = vec![0; 8192];
                let len = client.read(&mut room).await.unwrap();
                room.truncate(len);
                told.send(String::from_utf8(room).unwrap()).await.unwrap();
                let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
                let _ = client.write_all(answer.as_bytes()).await;
            }
        });
        let policy = AddressPolicy {
            allowed: vec!["127.0.0.1".parse().unwrap()],
        };
        let courier = Courier::new(
            catalog.clone(),
            Arc::new(Sender::new(policy)),
            Arc::new(move |sealed, id| key.open(sealed, id.as_bytes())),
            true,
            Arc::default(),
            Arc::default(),
        );
        tokio::spawn(courier.run());
        let id = made.id;
        (catalog, Made { id, maker, secret }, heard)
    }

    async fn log(catalog: &Catalog, webhook: Uuid) -> Vec<(&'static str, u32, Option<u16>)> {
        let listing = Listing {
            after: None,
            limit: 10,
        };
        let page = catalog
            .deliveries(&Scope::root(), webhook, &listing)
            .await
            .unwrap()
            .unwrap();
        let items = page.items.iter();
        items
            .map(|one| (one.state.name(), one.attempts, one.last_status))
            .collect()
    }

    /// Waits until the log is as `wanted`.
    async fn until(catalog: &Catalog, webhook: Uuid, wanted: &[(&'static str, u32, Option<u16>)]) {
        let begin = Instant::now();
        while log(catalog, webhook).await != wanted {
            let found = log(catalog, webhook).await;
            assert!(begin.elapsed() < Duration::from_secs(20), "{found:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[tokio::test]
    async fn an_event_is_delivered_with_a_signature_that_fits() {
        let (catalog, made, mut heard) = world(&["500 No", "200 OK"]).await;
        let webhook = made.id;
        let body = r#"{"type":"call.ended"}"#;
        catalog
            .queue_event(tenant(1), "call.ended", body, false, now())
            .await
            .unwrap();
        until(&catalog, webhook, &[("waiting", 1, Some(500))]).await;
        // The second attempt comes by itself, after four to six seconds.
        until(&catalog, webhook, &[("delivered", 2, Some(200))]).await;
        let (first, second) = (heard.recv().await.unwrap(), heard.recv().await.unwrap());
        let header = |request: &str, name: &str| {
            let lines = request.lines().filter_map(|line| line.split_once(": "));
            let found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned()).next().unwrap()
        };
        assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"));
        let timestamp = header(&second, "webhook-timestamp").parse().unwrap();
        let signature = sign(
            &made.secret,
            &header(&second, "webhook-id"),
            timestamp,
            body.as_bytes(),
        );
        assert_eq!(Some(header(&second, "webhook-signature")), signature);
        assert!(second.ends_with(body));
    }

    #[tokio::test]
    async fn an_endpoint_that_is_gone_is_asked_no_more() {
        let (catalog, Made { id: webhook, .. }, _heard) = world(&["410 Gone"]).await;
        catalog
            .queue_event(tenant(1), "call.ended", "{}", false, now())
            .await
            .unwrap();
        until(&catalog, webhook, &[("given_up", 1, Some(410))]).await;
        let found = catalog
            .webhook(&Scope::root(), webhook)
            .await
            .unwrap()
            .unwrap();
        assert!(!found.active && found.disabled_reason.is_some());
    }

    #[tokio::test]
    async fn what_waits_is_not_sent_once_its_maker_may_not_see_it() {
        let (catalog, made, mut heard) = world(&["500 No"]).await;
        let body = r#"{"type":"call.ended"}"#;
        catalog
            .queue_event(tenant(1), "call.ended", body, false, now())
            .await
            .unwrap();
        until(&catalog, made.id, &[("waiting", 1, Some(500))]).await;
        catalog.deactivate_for_tests(&made.maker).await;
        until(&catalog, made.id, &[("given_up", 2, None)]).await;
        assert!(heard.recv().await.is_some() && heard.try_recv().is_err());
        let webhook = catalog.webhook(&Scope::root(), made.id).await.unwrap();
        assert!(webhook.unwrap().active, "it is nobody's failure");
    }
}
