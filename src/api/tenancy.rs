//! The tenant that a request is about.

use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::caller::Caller;
use super::fields;
use super::problem::{Problem, Result};
use super::state::Api;
use crate::access::Scope;
use crate::base::TenantId;
use crate::catalog::{Change, Listing};

/// The tenant's id as an answer shows it: only where there are several.
pub fn shown(api: &Api, tenant: TenantId) -> Option<Uuid> {
    api.settings().multi_tenancy.then_some(tenant.0)
}

/// The caller's scope, or what of it lies in the tenant that was asked for. None: nothing does.
pub fn narrowed(caller: &Caller, wanted: Option<Uuid>) -> Option<Scope> {
    match wanted {
        None => Some(caller.scope()),
        Some(tenant) => caller.scope().within(TenantId(tenant)),
    }
}

/// Which page of what tenants have is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OfTenant {
    /// Of this tenant only.
    tenant_id: Option<Uuid>,
    /// `next` of the page before.
    after: Option<String>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

impl OfTenant {
    /// What of the caller's scope is asked for. None: the tenant does not lie in it.
    ///
    /// # Errors
    ///
    /// As [`fields::listing`].
    pub fn of(self, caller: &Caller) -> Result<Option<(Scope, Listing)>> {
        let Some(scope) = narrowed(caller, self.tenant_id) else {
            return Ok(None);
        };
        let listing = fields::listing(self.after, self.limit)?;
        Ok(Some((scope, listing)))
    }
}

/// The tenant that a new object belongs to: the one that was asked for, else the caller's.
///
/// # Errors
///
/// A problem of status 422 when it is not there for the caller.
pub async fn target(
    caller: &Caller,
    change: &mut Change,
    wanted: Option<Uuid>,
) -> Result<TenantId> {
    let tenant = wanted.map_or(caller.principal.tenant(), TenantId);
    let reached = caller.scope().covers(tenant) && change.has_tenant(tenant).await?;
    match reached {
        true => Ok(tenant),
        false => Err(Problem::invalid("tenant_id", "there is no such tenant")),
    }
}

/// An object stays in its tenant.
///
/// # Errors
///
/// A problem of status 422 when another tenant is asked for.
pub fn stays(tenant: TenantId, wanted: Option<Uuid>) -> Result<()> {
    match wanted.is_none_or(|wanted| wanted == tenant.0) {
        true => Ok(()),
        false => Err(Problem::invalid(
            "tenant_id",
            "it cannot move to another tenant",
        )),
    }
}
