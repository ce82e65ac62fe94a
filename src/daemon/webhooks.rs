//! Events of calls to the webhooks of their tenants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::api::{Api, CallEvent, event_as_json};
use crate::catalog::Catalog;
use crate::delivery::{Courier, CourierCounters, Sender};

/// Events that wait to be queued. While the catalog is away no more are kept.
const WAITING: usize = 4096;
/// Between looks for a catalog that is away.
const AGAIN: Duration = Duration::from_secs(2);

/// Where events come in; the engine's side never waits.
#[derive(Clone)]
pub struct Mailbox {
    events: mpsc::Sender<Box<CallEvent>>,
    counters: Arc<CourierCounters>,
}

impl Mailbox {
    pub fn counters(&self) -> Arc<CourierCounters> {
        self.counters.clone()
    }

    /// Takes an event, or counts it as dropped.
    pub fn put(&self, event: &CallEvent) {
        if self.events.try_send(Box::new(event.clone())).is_err() {
            add(&self.counters.dropped, 1);
        }
    }
}

/// What queues events and sends what is queued.
pub struct Webhooks {
    events: mpsc::Receiver<Box<CallEvent>>,
    counters: Arc<CourierCounters>,
}

impl Webhooks {
    pub fn new() -> (Mailbox, Webhooks) {
        let (sender, events) = mpsc::channel(WAITING);
        let counters = Arc::new(CourierCounters::default());
        let mailbox = Mailbox {
            events: sender,
            counters: counters.clone(),
        };
        (mailbox, Webhooks { events, counters })
    }

    /// Works until the runtime ends.
    pub async fn run(mut self, api: Api) {
        loop {
            let catalog = loop {
                match api.catalog() {
                    Ok(catalog) => break catalog,
                    Err(_) => tokio::time::sleep(AGAIN).await,
                }
            };
            tokio::select! {
                () = self.work(&api, &catalog) => return,
                () = is_another(&api, &catalog) => {}
            }
        }
    }

    /// Queues and sends until the runtime ends.
    async fn work(&mut self, api: &Api, catalog: &Catalog) {
        let settings = &api.settings().webhooks;
        let addresses = settings.addresses.clone();
        let Ok(sender) = tokio::task::spawn_blocking(move || Sender::new(addresses)).await else {
            return;
        };
        let keeper = api.clone();
        let opener = move |sealed: &[u8], id| keeper.open_webhook_secret(sealed, id);
        let courier = Courier::new(
            catalog.clone(),
            Arc::new(sender),
            Arc::new(opener),
            settings.allow_http,
            self.counters.clone(),
            api.live().bell.clone(),
        );
        tokio::join!(
            courier.run(),
            queue(&mut self.events, api, catalog, &self.counters)
        );
    }
}

/// Waits until the API has another catalog than this.
async fn is_another(api: &Api, catalog: &Arc<Catalog>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        if api.catalog().is_ok_and(|now| !Arc::ptr_eq(&now, catalog)) {
            return;
        }
    }
}

async fn queue(
    events: &mut mpsc::Receiver<Box<CallEvent>>,
    api: &Api,
    catalog: &Catalog,
    counters: &CourierCounters,
) {
    while let Some(event) = events.recv().await {
        match queue_one(&event, api, catalog).await {
            Ok(queued) => {
                add(&counters.dropped, queued.dropped);
                add(&counters.withheld, queued.withheld);
                if queued.queued > 0 {
                    api.live().bell.notify_one();
                }
            }
            Err(error) => {
                add(&counters.dropped, 1);
                tracing::warn!(%error, "an event is told to no webhook: the catalog does not take it");
            }
        }
    }
}

/// Puts an event into the queues of the webhooks that are to be told of it: those of the call's tenant.
pub async fn queue_one(
    event: &CallEvent,
    api: &Api,
    catalog: &Catalog,
) -> crate::catalog::Result<crate::catalog::Queued> {
    let call = &event.call;
    let id = event.stored.map(|stored| stored.call_id).or(call.recording);
    if let Some(id) = id
        && catalog.deletion(call.tenant, id).await?.is_some()
    {
        return Ok(crate::catalog::Queued::default());
    }
    let logins = call
        .participants
        .iter()
        .filter_map(|one| one.user.as_deref());
    let logins: Vec<&str> = logins.collect();
    let confidential = catalog.any_confidential(call.tenant, &logins).await?;
    let body = event_as_json(api, event).to_string();
    catalog
        .queue_event(
            call.tenant,
            event.kind.name(),
            &body,
            confidential,
            event.at,
        )
        .await
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
