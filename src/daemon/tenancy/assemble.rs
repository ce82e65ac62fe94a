//! The configuration and the catalog's rows into one directory, as it is at a moment.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::configured::Configured;
use super::known::pattern_id;
use crate::access::{Feature, PlanLimits};
use crate::base::{SYSTEM_TENANT, TenantId, Timestamp};
use crate::catalog::{
    AllocationRow, DirectoryRows, ExtensionRow, RegisteredTenant, TenantStatus, Usage,
};
use crate::config::{self, ExtensionKind, Fault, TenantText};
use crate::directory::{
    Coverage, Directory, Error, ExtensionDefinition, ExtensionPattern, Number, Place, Policy,
    RecordingPolicy, TenantDefinition, Withheld,
};

/// A directory is tried so often with something more left out, before it is made of the configuration alone.
const ATTEMPTS: usize = 20;

/// What becomes of the configuration and the rows.
pub(super) struct Assembled {
    pub directory: Arc<Directory>,
    /// When an allocation begins or ends next.
    pub next_change: Option<Timestamp>,
    /// What of the rows contradicts the configuration, or other rows, and is not in the directory.
    pub left_out: Vec<String>,
}

/// What goes into a directory.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub configured: &'a Configured,
    pub rows: &'a DirectoryRows,
    pub usage: &'a HashMap<TenantId, Usage>,
    pub now: Timestamp,
}

/// Whose rows are left out.
#[derive(Clone, Debug, Default)]
struct LeftOut {
    /// Their rules and extensions: they claim nothing.
    tenants: HashSet<TenantId>,
    /// Their extensions that come from rows.
    extensions: HashSet<TenantId>,
    said: Vec<String>,
}

/// Where something of a tenant's rows comes from.
fn row_place(tenant: TenantId) -> Place {
    Place::new(format!("catalog, tenant {tenant}"), 0)
}

impl<'a> Parts<'a> {
    /// The directory; rows that make none are left out, the configuration never is.
    pub fn assemble(self) -> Assembled {
        let mut left_out = LeftOut::default();
        let system_name = self.configured.system_name(self.rows);
        for attempt in 0..=ATTEMPTS {
            let everything = attempt < ATTEMPTS;
            let definitions = self.definitions(&mut left_out, everything);
            let all: Vec<&TenantDefinition> = definitions.iter().map(|of| &**of).collect();
            match Directory::compile_all(&all, Some(&system_name)) {
                Ok(directory) => {
                    return Assembled {
                        directory: Arc::new(directory),
                        next_change: self.next_change(),
                        left_out: left_out.said,
                    };
                }
                Err(errors) => left_out.add(&errors, self),
            }
        }
        // The configuration was proven when it was read.
        Assembled {
            directory: self.configured.directory.clone(),
            next_change: self.next_change(),
            left_out: left_out.said,
        }
    }

    /// What is wrong with the rows of one tenant, if anything.
    pub fn objections(self, changed: TenantId) -> Vec<(String, String)> {
        let mut faults = self.faults_of(changed);
        if !faults.is_empty() {
            return faults;
        }
        let mut left_out = LeftOut::default();
        let definitions = self.definitions(&mut left_out, true);
        let all: Vec<&TenantDefinition> = definitions.iter().map(|of| &**of).collect();
        let system_name = self.configured.system_name(self.rows);
        if let Err(errors) = Directory::compile_all(&all, Some(&system_name)) {
            let about = errors.iter().filter(|error| concerns(error, changed));
            faults.extend(about.map(|error| (field_of(error).to_owned(), error.to_string())));
        }
        faults
    }

    fn faults_of(self, changed: TenantId) -> Vec<(String, String)> {
        let as_pair = |fault: Fault| {
            let help = fault
                .help
                .map_or_else(String::new, |help| format!("; {help}"));
            (fault.field, fault.message + &help)
        };
        let mut faults = Vec::new();
        let tenant = self.rows.tenants.iter().find(|row| row.id == changed);
        if let Some(row) = tenant.filter(|row| row.origin.is_none())
            && let Err(found) = self.definition_of(row)
        {
            faults.extend(found.into_iter().map(as_pair));
        }
        let extensions = self.rows.extensions.iter();
        for row in extensions.filter(|row| row.tenant == changed) {
            if let Err(found) = extension_of(row) {
                faults.extend(found.into_iter().map(as_pair));
            }
        }
        faults
    }

    fn definition_of(self, row: &RegisteredTenant) -> Result<TenantDefinition, Vec<Fault>> {
        let text = TenantText {
            id: row.id,
            name: &row.name,
            plan: row.plan.as_deref(),
            timezone: Some(&row.timezone),
            language: Some(&row.language),
            rules: &row.rules,
        };
        config::tenant_of(&text, row_place(row.id), |plan| {
            self.configured.plan(self.rows, plan).is_some()
        })
    }

    /// Every tenant as it is at the moment, with its extensions, who has them, and what its plan says.
    fn definitions(
        self,
        left_out: &mut LeftOut,
        with_rows: bool,
    ) -> Vec<Cow<'a, TenantDefinition>> {
        let mut tenants: BTreeMap<TenantId, Cow<'a, TenantDefinition>> = BTreeMap::new();
        let written = self.configured.tenants.iter();
        for tenant in written.map(|written| &written.definition) {
            tenants.insert(tenant.id, Cow::Borrowed(tenant));
        }
        if with_rows {
            self.add_tenants(&mut tenants, left_out);
            self.add_extensions(&mut tenants, left_out);
            self.allocate(&mut tenants);
            self.add_policies(&mut tenants);
        }
        self.apply_plans(&mut tenants);
        // In the order of the files, for messages; then those of rows.
        let order: HashMap<TenantId, usize> = (self.configured.tenants.iter().enumerate())
            .map(|(index, written)| (written.definition.id, index))
            .collect();
        let mut all: Vec<_> = tenants.into_values().collect();
        all.sort_by_key(|tenant| {
            (
                order.get(&tenant.id).copied().unwrap_or(usize::MAX),
                tenant.id,
            )
        });
        all
    }

    fn add_tenants(
        self,
        tenants: &mut BTreeMap<TenantId, Cow<'a, TenantDefinition>>,
        left_out: &mut LeftOut,
    ) {
        let made = self.rows.tenants.iter().filter(|row| {
            row.origin.is_none()
                && row.status != TenantStatus::Gone
                && (self.configured.multi || row.id == SYSTEM_TENANT)
        });
        for row in made {
            if tenants.contains_key(&row.id) {
                continue;
            }
            let mut definition = self.definition_of(row).unwrap_or_else(|faults| {
                let first = faults.first();
                let why = first.map_or("", |fault| fault.message.as_str());
                left_out.say(format!("tenant {}: {why}", row.name));
                TenantDefinition::new(row.id, row.name.as_str(), row_place(row.id))
            });
            if left_out.tenants.contains(&row.id) {
                definition.rules.clear();
            }
            if !self.configured.multi && definition.rules.is_empty() {
                definition.rules.push(config::everywhere(row_place(row.id)));
            }
            tenants.insert(row.id, Cow::Owned(definition));
        }
    }

    fn add_extensions(
        self,
        tenants: &mut BTreeMap<TenantId, Cow<'a, TenantDefinition>>,
        left_out: &mut LeftOut,
    ) {
        for row in &self.rows.extensions {
            let out =
                left_out.tenants.contains(&row.tenant) || left_out.extensions.contains(&row.tenant);
            let Some(tenant) = tenants.get_mut(&row.tenant).filter(|_| !out) else {
                continue;
            };
            match extension_of(row) {
                Ok(extension) => tenant.to_mut().extensions.push(extension),
                Err(_) => left_out.say(format!("an extension of tenant {}", tenant.name)),
            }
        }
    }

    /// Puts who has an extension now into it; one number of a range becomes an extension beside it, which is more specific.
    fn allocate(self, tenants: &mut BTreeMap<TenantId, Cow<'a, TenantDefinition>>) {
        let mut of_tenant: BTreeMap<TenantId, Vec<&AllocationRow>> = BTreeMap::new();
        let rows = self.rows.allocations.iter();
        for row in rows.filter(|row| row.holds_at(self.now)) {
            of_tenant.entry(row.tenant).or_default().push(row);
        }
        for (id, allocations) in of_tenant {
            if let Some(tenant) = tenants.get_mut(&id) {
                allocate_to(tenant.to_mut(), &allocations);
            }
        }
    }

    fn add_policies(self, tenants: &mut BTreeMap<TenantId, Cow<'a, TenantDefinition>>) {
        for row in &self.rows.policies {
            if let (Some(tenant), Some(policy)) =
                (tenants.get_mut(&row.tenant), policy_of(&row.policy))
            {
                let policies = &mut tenant.to_mut().user_policies;
                policies.push((row.login.as_str().into(), policy));
            }
        }
    }

    fn apply_plans(self, tenants: &mut BTreeMap<TenantId, Cow<'a, TenantDefinition>>) {
        let suspended: HashSet<TenantId> = (self.rows.tenants.iter())
            .filter(|row| row.status == TenantStatus::Suspended)
            .map(|row| row.id)
            .collect();
        for (id, tenant) in tenants {
            let plan = tenant.plan.as_deref();
            let plan = plan.and_then(|plan| self.configured.plan(self.rows, plan));
            let plan = plan.unwrap_or_default();
            let withheld = match suspended.contains(id) {
                true => Some(Withheld::Suspended),
                false => withheld(&plan, self.usage.get(id)),
            };
            let by_plan = RecordingPolicy {
                concurrent: plan.concurrent_recordings,
                encrypted: plan.allows(Feature::Encryption),
                withheld,
                ..tenant.recording
            };
            if tenant.recording != by_plan {
                tenant.to_mut().recording = by_plan;
            }
        }
    }

    fn next_change(self) -> Option<Timestamp> {
        let rows = self.rows.allocations.iter();
        let moments = rows.flat_map(|row| [Some(row.valid_from), row.valid_to]);
        moments.flatten().filter(|at| *at > self.now).min()
    }
}

fn withheld(plan: &PlanLimits, usage: Option<&Usage>) -> Option<Withheld> {
    let usage = usage?;
    if plan.storage_is_full(usage.bytes) {
        Some(Withheld::PlanStorage)
    } else if plan.minutes_are_used_up(usage.length_ms_of_month) {
        Some(Withheld::PlanMinutes)
    } else {
        None
    }
}

pub(super) fn extension_of(row: &ExtensionRow) -> Result<ExtensionDefinition, Vec<Fault>> {
    let kind = match row.kind.as_str() {
        "range" => ExtensionKind::Range,
        "prefix" => ExtensionKind::Prefix,
        _ => ExtensionKind::Number,
    };
    config::extension_of(
        kind,
        &row.text,
        &row.aliases,
        row.policy.as_deref(),
        &row_place(row.tenant),
    )
}

fn allocate_to(tenant: &mut TenantDefinition, allocations: &[&AllocationRow]) {
    let places: HashMap<uuid::Uuid, usize> = (tenant.extensions.iter().enumerate())
        .map(|(index, extension)| (pattern_id(tenant.id, &extension.pattern), index))
        .collect();
    let coverage = Coverage::of(&tenant.extensions, tenant.country);
    let (mut numbers, mut given) = (Vec::new(), HashSet::new());
    for allocation in allocations {
        // Of an extension that is there no more, or that was pinned since, nobody has anything.
        let Some(index) = places.get(&allocation.extension).copied() else {
            continue;
        };
        let Some(extension) = tenant.extensions.get_mut(index) else {
            continue;
        };
        if extension.user.is_some() && !extension.allocated {
            continue;
        }
        match &allocation.number {
            None => {
                extension.user = Some(allocation.login.as_str().into());
                extension.allocated = true;
            }
            // A number that has become an extension of its own is that one's, and what is an alias of it is whose all of it is. One that
            // is written in two ways is whose it was first.
            Some(number) if coverage.extension(number) == Some(index) => {
                let spelling = coverage.spelling(number);
                let free = |number: &Number| {
                    !coverage.has_exactly(number) && given.insert(number.as_str().to_owned())
                };
                if spelling.as_ref().is_some_and(free)
                    && let Ok(pattern) = ExtensionPattern::number(number)
                {
                    numbers.push(ExtensionDefinition {
                        pattern,
                        aliases: Vec::new(),
                        user: Some(allocation.login.as_str().into()),
                        place: extension.place.clone(),
                        policy: extension.policy,
                        allocated: true,
                    });
                }
            }
            Some(_) => {}
        }
    }
    tenant.extensions.extend(numbers);
}

/// A policy as a user's row has it: in one word, or as a tenant's file has it.
fn policy_of(json: &serde_json::Value) -> Option<Policy> {
    let sample = json
        .get("sample")
        .and_then(serde_json::Value::as_u64)
        .and_then(|percent| u8::try_from(percent).ok());
    if let Some(percent) = sample.filter(|percent| (1..=100).contains(percent)) {
        return Some(Policy::Sample { percent });
    }
    let word = json.as_str().or_else(|| json.get("policy")?.as_str())?;
    config::policy_of(word)
}

/// Whether an error is about a tenant's rows.
fn concerns(error: &Error, tenant: TenantId) -> bool {
    if let Error::Clash(clash) = error {
        return clash
            .claimants
            .iter()
            .any(|claimant| claimant.tenant == tenant);
    }
    let place = row_place(tenant);
    let related = error.related();
    std::iter::once(error.place())
        .chain(related.iter().map(|(place, _)| *place))
        .any(|found| *found == place)
}

fn field_of(error: &Error) -> &'static str {
    match error {
        Error::EmptyRule { .. } | Error::ClaimsAlone { .. } | Error::Clash(_) => "rules.match",
        Error::DuplicateExtension { .. } | Error::OverlappingRanges { .. } => "extension",
        Error::DuplicateTenant { .. } => "id",
        Error::TooBig { .. } => "",
    }
}

/// What is wrong, and where: files with their lines, and tenants of the catalog.
fn with_places(error: &Error) -> String {
    let related = error.related();
    let others = related
        .iter()
        .map(|(place, what)| format!("{place} ({what})"));
    let places: Vec<String> = std::iter::once(error.place().to_string())
        .chain(others)
        .collect();
    format!("{error}: {}", places.join(", "))
}

impl LeftOut {
    fn say(&mut self, what: String) {
        if !self.said.contains(&what) {
            self.said.push(what);
        }
    }

    /// Leaves out what errors are about: of two tenants the one that was made later, as far as it comes from rows.
    fn add(&mut self, errors: &[Error], parts: Parts<'_>) {
        let before = (self.tenants.len(), self.extensions.len());
        for error in errors {
            match parts.culprit(error) {
                Some((tenant, true)) => _ = self.tenants.insert(tenant),
                Some((tenant, false)) => _ = self.extensions.insert(tenant),
                None => continue,
            }
            self.say(with_places(error));
        }
        if before == (self.tenants.len(), self.extensions.len()) {
            // Nothing more can be told apart: no row of any tenant.
            let rows = parts.rows;
            self.tenants.extend(rows.tenants.iter().map(|row| row.id));
            self.extensions
                .extend(rows.extensions.iter().map(|row| row.tenant));
        }
    }
}

impl Parts<'_> {
    /// Whose rows an error comes from, and whether all of the tenant's are to blame.
    fn culprit(&self, error: &Error) -> Option<(TenantId, bool)> {
        let made = |tenant: TenantId| {
            let mut rows = self.rows.tenants.iter();
            rows.position(|row| row.id == tenant && row.origin.is_none() && tenant != SYSTEM_TENANT)
        };
        if let Error::Clash(clash) = error {
            let latest = (clash.claimants.iter())
                .filter_map(|claimant| Some((made(claimant.tenant)?, claimant.tenant)))
                .max();
            if let Some((_, tenant)) = latest {
                return Some((tenant, true));
            }
        }
        let mut tenants = self.rows.tenants.iter().map(|row| row.id);
        let with_rows: HashSet<TenantId> =
            self.rows.extensions.iter().map(|row| row.tenant).collect();
        let concerned = tenants.rfind(|tenant| concerns(error, *tenant))?;
        match with_rows.contains(&concerned) {
            true => Some((concerned, false)),
            false => made(concerned).map(|_| (concerned, true)),
        }
    }
}
