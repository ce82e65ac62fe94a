//! What has to be done though nobody asks.

use std::time::Duration;

use super::now;
use crate::api::routes::end_those_over;
use crate::api::state::Api;
use crate::catalog::Catalog;

/// How often it is looked.
const EACH: Duration = Duration::from_secs(60);

/// Ends support whose time is over, so that the tenant's audit says so, and removes sessions and letters that nobody can use
/// any more. For ever; what fails is tried again.
pub async fn housekeeping(api: Api) {
    loop {
        tokio::time::sleep(EACH).await;
        if let Ok(catalog) = api.catalog() {
            let idle = api.settings().sign_in.limits.idle;
            if let Err(error) = sweep(&catalog, idle).await {
                tracing::warn!(%error, "old sessions were not swept");
            }
        }
    }
}

async fn sweep(catalog: &Catalog, idle: Duration) -> crate::catalog::Result<()> {
    end_those_over(catalog).await?;
    catalog.sweep_sign_in(now() - idle, now()).await
}
