//! What the configuration says of tenants and plans.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::known::derived_id;
use crate::access::{Feature, PlanLimits};
use crate::api::KnownPlan;
use crate::base::{SYSTEM_TENANT, TenantId};
use crate::catalog::{DirectoryRows, MirroredTenant, slug_of};
use crate::config::{Loaded, Plan, Written};
use crate::directory::{Directory, SYSTEM_NAME};

/// The part of a configuration that makes a directory, kept as long as it is in use.
#[derive(Clone, Debug)]
pub struct Configured {
    /// Of the configuration alone.
    pub directory: Arc<Directory>,
    pub tenants: Arc<Vec<Written>>,
    pub plans: BTreeMap<String, Plan>,
    pub multi: bool,
    system_name: String,
    /// Where that is written, if anywhere.
    system_named: Option<String>,
}

impl Configured {
    pub fn new(loaded: &Loaded) -> Configured {
        let tenancy = &loaded.settings.tenancy;
        let named = tenancy.system_named.0.as_ref();
        Configured {
            directory: loaded.directory.clone(),
            tenants: loaded.tenants.clone(),
            plans: loaded.settings.plans.clone(),
            multi: tenancy.multi,
            system_name: tenancy.system_name.clone(),
            system_named: named.map(ToString::to_string),
        }
    }

    /// Without any configuration.
    pub fn nothing() -> Configured {
        Configured {
            directory: Arc::new(Directory::empty()),
            tenants: Arc::default(),
            plans: BTreeMap::new(),
            multi: true,
            system_name: SYSTEM_NAME.to_owned(),
            system_named: None,
        }
    }

    /// What a plan of either kind gives.
    pub fn plan(&self, rows: &DirectoryRows, name: &str) -> Option<PlanLimits> {
        if let Some(plan) = self.plans.get(name) {
            return Some(limits_of(plan));
        }
        let mut made = rows.plans.iter();
        let made = made.find(|plan| plan.name.eq_ignore_ascii_case(name));
        made.map(|plan| plan.limits.clone())
    }

    /// All plans, by name. One that is written in both places is the configuration's.
    pub fn known_plans(&self, rows: &DirectoryRows) -> Vec<KnownPlan> {
        let written = self.plans.iter().map(|(name, plan)| KnownPlan {
            id: derived_id("plan", name),
            name: name.clone(),
            limits: limits_of(plan),
            origin: Some(
                (plan.place.0.as_ref())
                    .map_or_else(|| "the configuration".to_owned(), ToString::to_string),
            ),
            version: 0,
        });
        let made = rows
            .plans
            .iter()
            .filter(|plan| !self.plans.contains_key(&plan.name));
        let made = made.map(|plan| KnownPlan {
            id: plan.id,
            name: plan.name.clone(),
            limits: plan.limits.clone(),
            origin: None,
            version: plan.version,
        });
        let mut all: Vec<KnownPlan> = written.chain(made).collect();
        all.sort_by_key(|plan| plan.name.to_lowercase());
        all
    }

    /// The System tenant's name: as it is written, else as it was renamed.
    pub fn system_name(&self, rows: &DirectoryRows) -> String {
        let row = rows.tenants.iter().find(|row| row.id == SYSTEM_TENANT);
        match row.filter(|_| self.system_named.is_none()) {
            Some(row) => row.name.clone(),
            None => self.system_name.clone(),
        }
    }

    pub fn names(&self, tenant: TenantId) -> bool {
        self.tenants
            .iter()
            .any(|written| written.definition.id == tenant)
    }

    /// The tenants that the catalog is to have rows of.
    pub fn mirrored(&self) -> Vec<MirroredTenant> {
        let mut all: Vec<MirroredTenant> = self.tenants.iter().map(mirrored).collect();
        if !self.names(SYSTEM_TENANT) && self.system_named.is_some() {
            all.push(MirroredTenant {
                id: SYSTEM_TENANT,
                name: self.system_name.clone(),
                slug: "system".to_owned(),
                slug_is_written: false,
                origin: self.system_named.clone(),
                timezone: "UTC".to_owned(),
                language: "en".to_owned(),
                plan: None,
                rules: serde_json::Value::Object(serde_json::Map::new()),
            });
        }
        all
    }
}

fn mirrored(written: &Written) -> MirroredTenant {
    let tenant = &written.definition;
    let text =
        |text: &Option<Arc<str>>, default: &str| text.as_deref().unwrap_or(default).to_owned();
    MirroredTenant {
        id: tenant.id,
        name: tenant.name.to_string(),
        slug: match (&tenant.slug, tenant.id == SYSTEM_TENANT) {
            (Some(slug), _) => slug.to_string(),
            (None, true) => "system".to_owned(),
            (None, false) => slug_of(&tenant.name).unwrap_or_else(|| "tenant".to_owned()),
        },
        slug_is_written: tenant.slug.is_some(),
        origin: Some(tenant.place.to_string()),
        timezone: text(&tenant.timezone, "UTC"),
        language: text(&tenant.language, "en"),
        plan: tenant.plan.as_deref().map(str::to_owned),
        rules: written.rules.clone(),
    }
}

fn limits_of(plan: &Plan) -> PlanLimits {
    let features = plan.features.as_ref().map(|names| {
        let known = names.iter().filter_map(|name| Feature::named(name));
        known.collect()
    });
    PlanLimits {
        retention_days: plan.retention_days,
        storage_gib: plan.storage_gib,
        minutes_per_month: plan.minutes_per_month,
        users: plan.users,
        concurrent_recordings: plan.concurrent_recordings,
        features,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_the_configuration_is_one_of_access() {
        let names = crate::config::PLAN_FEATURES.map(Feature::named);
        assert_eq!(names, Feature::ALL.map(Some));
    }
}
