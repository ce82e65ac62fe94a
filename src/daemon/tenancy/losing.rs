//! Who has less of a tenant's numbers by a change of one of its extensions.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::assemble::extension_of;
use super::configured::Configured;
use super::known::{extensions_of, pattern_id};
use crate::access::login_key;
use crate::base::TenantId;
use crate::catalog::{DirectoryRows, ExtensionRow};
use crate::directory::Taking;

/// Keys of their logins: of who has a number at this moment, and of who is to have it. `rows` have the extension as it will be,
/// `before` is as it was, if it was there.
pub(super) fn losers(
    configured: &Configured,
    rows: &DirectoryRows,
    tenant: TenantId,
    (id, before): (Uuid, Option<&ExtensionRow>),
) -> HashSet<String> {
    let (extensions, country) = extensions_of(tenant, configured, rows);
    let places = extensions.iter().enumerate();
    let places = places.map(|(place, extension)| (pattern_id(tenant, &extension.pattern), place));
    let places: HashMap<Uuid, usize> = places.collect();
    let Some(changed) = places.get(&id).copied() else {
        return HashSet::new();
    };
    let before = before.and_then(|row| extension_of(row).ok());
    let taking = Taking::of(&extensions, country, changed, before.as_ref());
    let pinned = extensions
        .iter()
        .enumerate()
        .filter_map(|(place, extension)| {
            let login = extension.user.as_deref()?;
            taking.takes_from(place, None).then(|| login_key(login))
        });
    let allocated = rows.allocations.iter().filter(|row| row.tenant == tenant);
    let allocated = allocated.filter_map(|row| {
        let place = places.get(&row.extension).copied()?;
        let is_pinned = extensions.get(place)?.user.is_some();
        let loses = !is_pinned && taking.takes_from(place, row.number.as_deref());
        loses.then(|| login_key(&row.login))
    });
    pinned.chain(allocated).collect()
}
