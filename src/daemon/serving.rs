//! The API of a running daemon: its settings, and the catalog it asks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{signing_in, state};
use crate::api::front::{self, Front, Tls, TlsFiles};
use crate::api::{self, Api, ApiSettings, Doors, WebhookSettings};
use crate::base::SYSTEM_TENANT;
use crate::catalog::{Catalog, ConfiguredTenant};
use crate::config::{self, Loaded};
use crate::delivery::AddressPolicy;
use crate::directory::Directory;

/// Between attempts to open a catalog that is away.
const AGAIN: Duration = Duration::from_secs(5);

/// Between looks at whether another configuration is in force.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn api(loaded: &Loaded) -> Api {
    let tenants = loaded.directory.tenants();
    let others = tenants.filter(|tenant| tenant.id != SYSTEM_TENANT).count();
    Api::new(ApiSettings {
        storage_root: loaded.settings.storage.root.clone(),
        multi_tenancy: others > 0,
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

/// Opens the catalog, now or when it is back, and enters the tenants of the configuration, now and whenever another is in
/// force.
pub(super) async fn open_catalog(api: Api, url: String, front: Arc<state::Front>) {
    let catalog = loop {
        match Catalog::open(&url).await {
            Ok(catalog) => break catalog,
            Err(error) => tracing::warn!(%error, "the API has no catalog"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    api.set_catalog(catalog.clone());
    let mut entered: Option<Arc<Directory>> = None;
    loop {
        let newest = front.state().map(|state| state.directory.load_full());
        let newest = newest.filter(|newest| {
            let same = |entered: &Arc<Directory>| Arc::ptr_eq(entered, newest);
            !entered.as_ref().is_some_and(same)
        });
        if let Some(directory) = newest {
            match catalog.register_tenants(&configured(&directory)).await {
                Ok(()) => entered = Some(directory),
                Err(error) => tracing::warn!(%error, "tenants cannot be entered in the catalog"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The tenants that have a file. A file's name is the short name of its tenant.
fn configured(directory: &Directory) -> Vec<ConfiguredTenant> {
    let tenants = directory.tenants();
    tenants
        .filter(|tenant| tenant.id != SYSTEM_TENANT)
        .map(|tenant| {
            let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
            let file = Path::new(&*tenant.place.file).file_stem();
            let stem = file.map_or_else(String::new, |stem| stem.to_string_lossy().to_lowercase());
            ConfiguredTenant {
                id: tenant.id,
                name: tenant.name.to_string(),
                slug: match stem.is_empty() {
                    true => tenant.id.to_string(),
                    false => stem,
                },
                origin: tenant.place.to_string(),
                timezone: text(&tenant.timezone),
                language: text(&tenant.language),
                plan: text(&tenant.plan),
            }
        })
        .collect()
}
