//! Extensions of files and of rows as one list, and their ids.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::configured::Configured;
use crate::access::Scope;
use crate::api::{HeldExtension, KnownExtension, NumberOf};
use crate::base::TenantId;
use crate::catalog::{AllocationRow, DirectoryRows, ExtensionRow, extension_id};
use crate::directory::{
    Country, Coverage, ExtensionDefinition, ExtensionPattern, TenantDefinition,
};

/// The id of an extension: the same in a file and in a row.
pub fn pattern_id(tenant: TenantId, pattern: &ExtensionPattern) -> Uuid {
    extension_id(tenant, pattern.kind(), &pattern.plain())
}

/// An id made of what something is called: of plans that are written in a file.
pub(super) fn derived_id(kind: &str, name: &str) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"callreel ");
    hasher.update(kind.as_bytes());
    hasher.update(b"\0");
    hasher.update(name.as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Where the extensions of each tenant are: a million of them are not copied.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A tenant's place among those of the configuration, and the places of its rows.
    tenants: BTreeMap<TenantId, (Option<usize>, Vec<usize>)>,
    /// The first half of an id, whose it is, and its place among the tenant's.
    ids: Vec<(u64, TenantId, u32)>,
}

fn half(id: Uuid) -> u64 {
    id.as_u64_pair().0
}

impl Index {
    pub fn new(configured: &Configured, rows: &DirectoryRows) -> Index {
        let mut index = Index::default();
        let mut counts: HashMap<TenantId, u32> = HashMap::new();
        let mut enter = |tenant: TenantId, id: Uuid, ids: &mut Vec<(u64, TenantId, u32)>| {
            let place = counts.entry(tenant).or_default();
            ids.push((half(id), tenant, *place));
            *place += 1;
        };
        for (place, written) in configured.tenants.iter().enumerate() {
            let tenant = &written.definition;
            if !tenant.extensions.is_empty() {
                index.tenants.entry(tenant.id).or_default().0 = Some(place);
            }
            for extension in &tenant.extensions {
                let id = pattern_id(tenant.id, &extension.pattern);
                enter(tenant.id, id, &mut index.ids);
            }
        }
        for (place, row) in rows.extensions.iter().enumerate() {
            index.tenants.entry(row.tenant).or_default().1.push(place);
            enter(row.tenant, row.id, &mut index.ids);
        }
        index.ids.sort_unstable();
        index
    }

    pub fn tenants(&self) -> Vec<TenantId> {
        self.tenants.keys().copied().collect()
    }

    pub fn of_tenant(
        &self,
        tenant: TenantId,
        configured: &Configured,
        rows: &DirectoryRows,
    ) -> Vec<KnownExtension> {
        let Some((written, made)) = self.tenants.get(&tenant) else {
            return Vec::new();
        };
        let written = written.and_then(|place| configured.tenants.get(place));
        let written = written.into_iter().flat_map(|written| {
            let extensions = written.definition.extensions.iter();
            extensions.map(move |extension| of_file(tenant, extension))
        });
        let made = made.iter().filter_map(|place| rows.extensions.get(*place));
        written.chain(made.map(of_row)).collect()
    }

    /// What users of a tenant have and will have.
    pub fn held_by(
        &self,
        tenant: TenantId,
        logins: &HashSet<String>,
        configured: &Configured,
        rows: &DirectoryRows,
    ) -> HashMap<String, Vec<HeldExtension>> {
        let mut held: HashMap<String, Vec<HeldExtension>> = HashMap::new();
        let written = (self.tenants.get(&tenant)).and_then(|(written, _)| *written);
        let written = written.and_then(|place| configured.tenants.get(place));
        for extension in written
            .iter()
            .flat_map(|written| &written.definition.extensions)
        {
            let login = extension.user.as_deref().map(str::to_lowercase);
            if let Some(login) = login.filter(|login| logins.contains(login)) {
                let pinned = as_held(&of_file(tenant, extension), None);
                held.entry(login).or_default().push(pinned);
            }
        }
        let start = (rows.allocations).partition_point(|row| row.tenant < tenant);
        let of_tenant = rows.allocations.iter().skip(start);
        for row in of_tenant.take_while(|row| row.tenant == tenant) {
            let login = row.login.to_lowercase();
            if !logins.contains(&login) {
                continue;
            }
            // Of one that is there no more, or was pinned since, nobody has anything.
            let found = self.found(row.extension, |other| other == tenant, configured, rows);
            if let Some(extension) = found.filter(|known| known.pinned.is_none()) {
                held.entry(login)
                    .or_default()
                    .push(as_held(&extension, Some(row)));
            }
        }
        held
    }

    /// The extension of this id, if its tenant is in the scope.
    pub fn one(
        &self,
        scope: &Scope,
        id: Uuid,
        configured: &Configured,
        rows: &DirectoryRows,
    ) -> Option<KnownExtension> {
        self.found(id, |tenant| scope.covers(tenant), configured, rows)
    }

    fn found(
        &self,
        id: Uuid,
        is_in_reach: impl Fn(TenantId) -> bool,
        configured: &Configured,
        rows: &DirectoryRows,
    ) -> Option<KnownExtension> {
        let start = self.ids.partition_point(|(other, ..)| *other < half(id));
        let same = self.ids.get(start..)?.iter();
        let same = same.take_while(|(other, ..)| *other == half(id));
        same.filter(|(_, tenant, _)| is_in_reach(*tenant))
            .filter_map(|(_, tenant, place)| self.at(*tenant, *place as usize, configured, rows))
            .find(|extension| extension.id == id)
    }

    fn at(
        &self,
        tenant: TenantId,
        place: usize,
        configured: &Configured,
        rows: &DirectoryRows,
    ) -> Option<KnownExtension> {
        let (written, made) = self.tenants.get(&tenant)?;
        let written = written.and_then(|place| configured.tenants.get(place));
        let written = written.map_or(&[][..], |written| &written.definition.extensions);
        match written.get(place) {
            Some(extension) => Some(of_file(tenant, extension)),
            None => {
                let row = made.get(place.checked_sub(written.len())?)?;
                rows.extensions.get(*row).map(of_row)
            }
        }
    }
}

fn as_held(extension: &KnownExtension, allocation: Option<&AllocationRow>) -> HeldExtension {
    HeldExtension {
        id: extension.id,
        kind: extension.kind,
        text: extension.text.clone(),
        number: allocation.and_then(|row| row.number.clone()),
        valid_from: allocation.map(|row| row.valid_from),
        valid_to: allocation.and_then(|row| row.valid_to),
    }
}

fn of_file(tenant: TenantId, extension: &ExtensionDefinition) -> KnownExtension {
    KnownExtension {
        id: pattern_id(tenant, &extension.pattern),
        tenant,
        kind: extension.pattern.kind(),
        text: match &extension.pattern {
            ExtensionPattern::Number(text) | ExtensionPattern::Prefix(text) => text.to_string(),
            ExtensionPattern::Range { first, last } => format!("{first}-{last}"),
        },
        aliases: (extension.aliases.iter())
            .map(|alias| alias.number.to_string())
            .collect(),
        policy: extension.policy.map(word_of),
        pinned: extension.user.as_deref().map(str::to_owned),
        origin: Some(extension.place.to_string()),
        version: 0,
    }
}

fn of_row(row: &ExtensionRow) -> KnownExtension {
    KnownExtension {
        id: row.id,
        tenant: row.tenant,
        kind: match row.kind.as_str() {
            "range" => "range",
            "prefix" => "prefix",
            _ => "number",
        },
        text: row.text.clone(),
        aliases: row.aliases.clone(),
        policy: row.policy.clone(),
        pinned: None,
        origin: None,
        version: row.version,
    }
}

/// As it is written in one word.
fn word_of(policy: crate::directory::Policy) -> String {
    match policy {
        crate::directory::Policy::Sample { percent } => format!("{percent}%"),
        policy => policy.text(),
    }
}

/// Which extension of a tenant a number is of.
pub(super) fn extension_of(
    tenant: TenantId,
    number: &str,
    configured: &Configured,
    rows: &DirectoryRows,
) -> Option<NumberOf> {
    let (extensions, country) = extensions_of(tenant, configured, rows);
    let coverage = Coverage::of(&extensions, country);
    let extension = extensions.get(coverage.extension(number)?)?;
    let number = coverage.spelling(number)?;
    Some(NumberOf {
        extension: pattern_id(tenant, &extension.pattern),
        is_exact: coverage.has_exactly(&number),
        number: number.as_str().to_owned(),
    })
}

/// Those of the file and then those of rows, without allocations; and the country that spells their numbers.
pub(super) fn extensions_of(
    tenant: TenantId,
    configured: &Configured,
    rows: &DirectoryRows,
) -> (Vec<ExtensionDefinition>, Option<Country>) {
    let written = (configured.tenants.iter())
        .map(|written| &written.definition)
        .find(|definition| definition.id == tenant);
    let mut extensions: Vec<ExtensionDefinition> =
        written.map_or_else(Vec::new, |definition| definition.extensions.clone());
    let made = rows.extensions.iter().filter(|row| row.tenant == tenant);
    extensions.extend(made.filter_map(|row| super::assemble::extension_of(row).ok()));
    (extensions, country_of(tenant, written, rows))
}

fn country_of(
    tenant: TenantId,
    written: Option<&TenantDefinition>,
    rows: &DirectoryRows,
) -> Option<Country> {
    if let Some(written) = written {
        return written.country;
    }
    let row = rows.tenants.iter().find(|row| row.id == tenant)?;
    Country::from_iso(row.rules.get("country")?.as_str()?)
}
