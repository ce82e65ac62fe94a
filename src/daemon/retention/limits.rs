//! Plans as they come and change: what of them is in force.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::access::{Event, Retention, Scope};
use crate::api::{Kept, KeptPlans};
use crate::base::{TenantId, Timestamp};
use crate::catalog::{Catalog, Result};

/// What is in force at `now`. `stepped`: that is later than the time that was seen to pass, and what waits to be in force begins to wait
/// anew. Every change of it is in the audit of its tenant and in the log. None: the plans are not those of this
/// moment, and are to be asked for again.
pub(super) async fn keep_limits(
    catalog: &Catalog,
    plans: &KeptPlans,
    now: Timestamp,
    stepped: bool,
) -> Result<Option<BTreeMap<TenantId, Retention>>> {
    let known = catalog.retentions(&Scope::root()).await?;
    let mut all: BTreeMap<TenantId, Retention> = known.into_iter().collect();
    for tenant in plans.tenants.keys() {
        all.entry(*tenant).or_default();
    }
    for (tenant, retention) in &mut all {
        let kept = plans.tenants.get(tenant);
        let waiting = retention.shorter.filter(|_| !stepped);
        let seen = Retention {
            shorter: waiting,
            ..*retention
        };
        let next = seen.under(kept.map(|kept| kept.days), now);
        if next == *retention {
            continue;
        }
        let mut change = catalog.change().await?;
        if change.directory_generation().await? != plans.generation {
            return Ok(None);
        }
        change.set_retention(*tenant, &next).await?;
        change
            .commit(event(*tenant, kept, retention, &next))
            .await?;
        tell(*tenant, retention, &next);
        *retention = next;
    }
    Ok(Some(all))
}

fn event(tenant: TenantId, kept: Option<&Kept>, before: &Retention, after: &Retention) -> Event {
    let reason = match kept {
        Some(kept) => format!("plan {} keeps calls for {} days", kept.plan, kept.days),
        None => "no plan says how long calls are kept".to_owned(),
    };
    Event::by_system(tenant, "retention", "retention.edit")
        .on("tenant", tenant.0)
        .change(Some(as_json(before)), Some(as_json(after)))
        .because(&reason)
}

fn as_json(retention: &Retention) -> Value {
    let shorter = retention.shorter.map(|shorter| {
        json!({ "retention_days": shorter.days, "in_force_at": shorter.in_force_at().to_string() })
    });
    json!({ "retention_days": retention.days, "shorter": shorter })
}

fn tell(tenant: TenantId, before: &Retention, after: &Retention) {
    match (after.shorter, after.days) {
        (Some(shorter), _) => tracing::warn!(
            %tenant, days = shorter.days, before = ?before.days, from = %shorter.in_force_at(),
            "a plan keeps calls for fewer days: those that are older go from then on"
        ),
        (None, Some(days)) => tracing::info!(%tenant, days, "calls are kept for so many days"),
        (None, None) => tracing::info!(%tenant, "calls are kept for ever"),
    }
}
