//! The API of a running daemon: its settings, and the catalog it asks.

use std::time::Duration;

use crate::api::{Api, ApiSettings, WebhookSettings};
use crate::base::SYSTEM_TENANT;
use crate::catalog::Catalog;
use crate::config::Loaded;
use crate::delivery::AddressPolicy;

/// Between attempts to open a catalog that is away.
const AGAIN: Duration = Duration::from_secs(5);

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
    })
}

/// Opens the catalog, now or when it is back.
pub(super) async fn open_catalog(api: Api, url: String) {
    loop {
        match Catalog::open(&url).await {
            Ok(catalog) => return api.set_catalog(catalog),
            Err(error) => tracing::warn!(%error, "the API has no catalog"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
