//! What is missing of the audit, found by what is known beside it.
//!
//! The file of heads is made where the catalog has never had one. Where it had one and it is gone, or where the catalog lacks what the
//! file says it had, somebody may have taken records out: that is told, loudly, and stays told until an operator acknowledges it.
//! Recording goes on.

use std::sync::atomic::Ordering;

use super::heads::HeadsFile;
use super::{Error, FollowerState};
use crate::catalog::Catalog;

/// At the first look at a catalog, of whose records heads were told up to `position`.
pub async fn compare(
    catalog: &Catalog,
    heads: &HeadsFile,
    position: i64,
    state: &FollowerState,
) -> Result<(), Error> {
    if catalog.audit_length().await? < position {
        return tell(catalog, state, "the catalog has fewer records than it had").await;
    }
    let known = heads.read()?.unwrap_or_default();
    match catalog.chains_that_differ(&known).await?.len() {
        0 => Ok(()),
        chains => {
            let why = format!("{chains} chains are not as the file of heads knows them");
            tell(catalog, state, &why).await
        }
    }
}

/// Whether the file is still there, which it was.
pub async fn look_for(
    catalog: &Catalog,
    heads: &HeadsFile,
    state: &FollowerState,
) -> Result<(), Error> {
    if heads.is_there()? {
        return Ok(());
    }
    tell(catalog, state, "the file of heads was gone").await?;
    heads.make()
}

async fn tell(catalog: &Catalog, state: &FollowerState, why: &str) -> Result<(), Error> {
    catalog.tell_audit_gap(why).await?;
    state.gaps.fetch_add(1, Ordering::Relaxed);
    tracing::error!(
        why,
        "records of the audit may have been taken out: `callreel audit verify` says so until `callreel audit acknowledge`"
    );
    Ok(())
}
