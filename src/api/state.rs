//! What routes work with.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::installation::Installation;
use super::live::Live;
use super::problem::{Problem, Result};
use super::refusals::Noted;
use super::sign_in::{SignIn, SignInSettings};
use crate::catalog::Catalog;
use crate::delivery::AddressPolicy;
use crate::mail::Outbox;
use crate::storage::Layout;

/// Shared by all requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// None while the catalog cannot be opened.
    catalog: ArcSwapOption<Catalog>,
    settings: ApiSettings,
    live: Live,
    sign_in: SignIn,
    refusals: Noted,
    /// None until the directory is there, and in tests that need none.
    installation: OnceLock<Arc<dyn Installation>>,
}

/// What the configuration says about the API.
#[derive(Clone, Debug, Default)]
pub struct ApiSettings {
    /// Where recordings are.
    pub storage: Layout,
    /// Whether there are tenants besides the System tenant. Roles have no `tenant_id` otherwise.
    pub multi_tenancy: bool,
    pub webhooks: WebhookSettings,
    pub sign_in: SignInSettings,
}

/// Where webhooks may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Also by plain HTTP.
    pub allow_http: bool,
    pub addresses: AddressPolicy,
}

impl Api {
    pub fn new(settings: ApiSettings) -> Api {
        Api(Arc::new(Shared {
            catalog: ArcSwapOption::empty(),
            sign_in: SignIn::new(&settings.sign_in),
            settings,
            refusals: Noted::default(),
            live: Live::default(),
            installation: OnceLock::new(),
        }))
    }

    /// From now on questions go to this catalog.
    pub fn set_catalog(&self, catalog: Catalog) {
        self.0.catalog.store(Some(Arc::new(catalog)));
    }

    /// # Errors
    ///
    /// A problem of status 503 while the catalog is away, also where only its file is: what is still answered from one that was
    /// taken away may not be so any more.
    pub fn catalog(&self) -> Result<Arc<Catalog>> {
        let catalog = self.0.catalog.load_full();
        catalog
            .filter(|catalog| catalog.check_place().is_ok())
            .ok_or_else(Problem::unavailable)
    }

    /// Whether there has been a catalog.
    pub fn has_catalog(&self) -> bool {
        self.0.catalog.load().is_some()
    }

    /// What happens at this moment.
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// From now on letters go there.
    pub fn set_outbox(&self, outbox: Outbox) {
        self.0.sign_in.set_outbox(outbox);
    }

    /// What was sealed for the webhook of this id; none where it cannot be opened. The log says why.
    pub fn open_webhook_secret(&self, sealed: &[u8], webhook: Uuid) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.0.sign_in.key().ok()?;
        let opened = key.open(sealed, webhook.as_bytes());
        if opened.is_none() {
            tracing::error!(%webhook, "a webhook's secret was sealed with another key: renew it");
        }
        opened
    }

    /// Seals what an earlier version left open in the catalog. Returns how much that was.
    ///
    /// # Errors
    ///
    /// A problem of status 503 when the key's file or the catalog cannot be used; the log says why.
    pub async fn seal_what_lies_open(&self, catalog: &Catalog) -> Result<u64> {
        if !catalog.has_open_secrets().await? {
            return Ok(0);
        }
        let key = self.0.sign_in.key()?;
        let seal = |plain: &str, webhook: Uuid| key.seal(plain.as_bytes(), webhook.as_bytes());
        Ok(catalog.seal_secrets(seal).await?)
    }

    pub(super) fn refusals(&self) -> &Noted {
        &self.0.refusals
    }

    pub(super) fn sign_in(&self) -> &SignIn {
        &self.0.sign_in
    }

    /// From now on this knows the directory. Once.
    pub fn set_installation(&self, installation: Arc<dyn Installation>) {
        let _ = self.0.installation.set(installation);
    }

    /// # Errors
    ///
    /// A problem of status 503 until the directory is there.
    pub fn installation(&self) -> Result<Arc<dyn Installation>> {
        (self.0.installation.get().cloned()).ok_or_else(Problem::unavailable)
    }

    pub fn settings(&self) -> &ApiSettings {
        &self.0.settings
    }
}
