//! How long calls are kept, as answers say it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::installation::KeptPlans;
use super::problem::Result;
use super::state::Api;
use crate::access::{Retention, Scope};
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Catalog, wall_clock};

/// How long a tenant's calls are kept: they go so many times 24 hours after their end, but for those on hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Retention)]
pub struct RetentionView {
    /// What is in force; null: calls are kept for ever.
    pub days: Option<u32>,
    /// What the plan gives, where that is less, until it is in force; else null.
    pub shorter_days: Option<u32>,
    /// When that is: 24 hours after it was written.
    pub shorter_from: Option<String>,
}

impl From<Retention> for RetentionView {
    fn from(retention: Retention) -> RetentionView {
        let shorter = retention.shorter;
        RetentionView {
            days: retention.days,
            shorter_days: shorter.map(|shorter| shorter.days),
            shorter_from: shorter.map(|shorter| shorter.in_force_at().to_string()),
        }
    }
}

/// What is in force for tenants at one moment, and what is to be.
#[derive(Debug)]
pub struct KeptCalls {
    plans: Arc<KeptPlans>,
    known: HashMap<TenantId, Retention>,
    /// By which calls go.
    now: Timestamp,
}

impl KeptCalls {
    /// Of the tenants in the scope.
    pub async fn load(api: &Api, catalog: &Catalog, scope: &Scope) -> Result<KeptCalls> {
        let plans = match api.installation() {
            Ok(installation) => installation.kept(),
            Err(_) => Arc::default(),
        };
        let known = match plans.tenants.is_empty() {
            true => Vec::new(),
            false => catalog.retentions(scope).await?,
        };
        let believed = match plans.tenants.is_empty() {
            true => None,
            false => catalog.believed_time().await?,
        };
        let wall = wall_clock();
        Ok(KeptCalls {
            plans,
            known: known.into_iter().collect(),
            now: believed.map_or(wall, |believed| believed.min(wall)),
        })
    }

    /// As the thread that removes calls will find it at its next look.
    pub fn of(&self, tenant: TenantId) -> Retention {
        let known = self.known.get(&tenant).copied().unwrap_or_default();
        known.under(self.plans.days(tenant), self.now)
    }

    /// None: no plan says it.
    pub fn view(&self, tenant: TenantId) -> Option<RetentionView> {
        self.plans.days(tenant)?;
        Some(self.of(tenant).into())
    }

    /// When fewer days are in force for the last of the tenants in the scope that have the plan; none: they are.
    pub fn shorter_from(&self, scope: &Scope, plan: &str) -> Option<Timestamp> {
        let has = self.plans.tenants.iter().filter(|(tenant, kept)| {
            scope.covers(**tenant) && kept.plan.eq_ignore_ascii_case(plan)
        });
        has.filter_map(|(tenant, _)| Some(self.of(*tenant).shorter?.in_force_at()))
            .max()
    }
}
