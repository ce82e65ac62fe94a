//! The API of a running daemon: its settings, and the catalog it asks.

use std::sync::Arc;
use std::time::Duration;

use super::{pipeline, signing_in};
use crate::api::front::{self, Front, Tls, TlsFiles};
use crate::api::{self, Api, ApiSettings, Doors, WebhookSettings};
use crate::catalog::{Away, Catalog, Home};
use crate::config::{self, Loaded};
use crate::delivery::AddressPolicy;

/// Between attempts to open a catalog that is away.
const AGAIN: Duration = Duration::from_secs(5);
/// Requests that come earlier wait with the door.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn api(loaded: &Loaded) -> Api {
    Api::new(ApiSettings {
        storage: pipeline::storage(&loaded.settings),
        multi_tenancy: loaded.settings.tenancy.multi,
        webhooks: WebhookSettings {
            allow_http: loaded.settings.webhooks.allow_http,
            addresses: AddressPolicy {
                allowed: loaded.settings.webhooks.allowed_networks.clone(),
            },
        },
        sign_in: signing_in::settings(&loaded.settings),
    })
}

/// What the configuration says of what may come in.
pub(super) fn front(settings: &config::Api) -> Arc<Front> {
    Front::new(front::Settings {
        trusted_proxies: settings.trusted_proxies.clone(),
        max_connections: settings.max_connections as usize,
        max_connections_per_address: settings.max_connections_per_address as usize,
        max_body: settings.max_body_kib as usize * 1024,
        patience: Duration::from_secs(settings.timeout_seconds.into()),
    })
}

/// Until the API has its catalog, or for as long as a start waits for one that is away.
pub(super) async fn wait_for_catalog(api: &Api) {
    let has_one = async {
        while api.catalog().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, has_one).await;
}

/// Takes the ports and reads the certificate, so that what is wrong with them is known at start.
pub(super) fn doors(settings: &config::Api) -> Result<Doors, api::Error> {
    let plain = api::listen(settings.listen, "api.listen")?;
    let tls = settings.tls.as_ref().map(|tls| {
        let pair = Tls::load(TlsFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        })?;
        Ok((api::listen(tls.listen, "api.tls.listen")?, pair))
    });
    let tls = tls.transpose()?;
    Ok(Doors { plain, tls })
}

/// Opens the catalog, now or when it is there, and says when its file goes away and comes back. For ever.
pub(super) async fn open_catalog(api: Api, home: Arc<Home>) {
    let mut told = false;
    loop {
        let asked = match api.has_catalog() {
            false => give(&api, &home).await,
            true => api.catalog().map(|_| ()).map_err(|_| why_away(&home)),
        };
        match asked {
            Ok(()) if std::mem::take(&mut told) => {
                tracing::warn!("the API has its catalog again");
            }
            Ok(()) => {}
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(error, "the API has no catalog: what is asked is refused");
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn give(api: &Api, home: &Home) -> Result<(), String> {
    let catalog = home.open().await.map_err(|error| error.to_string())?;
    seal(api, &catalog).await;
    api.set_catalog(catalog);
    Ok(())
}

fn why_away(home: &Home) -> String {
    home.away().map_or("", Away::text).to_owned()
}

async fn seal(api: &Api, catalog: &Catalog) {
    match api.seal_what_lies_open(catalog).await {
        Ok(0) => {}
        Ok(secrets) => tracing::info!(secrets, "secrets of webhooks were sealed"),
        // The log has the reason already. Those webhooks are told nothing until it is put right.
        Err(_) => tracing::error!("secrets of webhooks lie open in the catalog"),
    }
}
