//! Legs in groups, and what the groups are called.

use smallvec::SmallVec;

use crate::base::{InteractionId, TenantId, Timestamp, WireMap};
use crate::engine::plan::CallKey;

/// Legs of one interaction at a time: a conference has dozens, an attacker more.
const MAX_LEGS: usize = 64;
/// Tenants that have a name for one interaction.
const MAX_NAMES: usize = 16;

/// Groups of legs. A leg is in one; alone at first. As many as there are legs.
#[derive(Debug, Default)]
pub struct Groups {
    group_of: WireMap<CallKey, CallKey>,
    groups: WireMap<CallKey, Group>,
}

/// Entered under the key of one of its legs, past or present.
#[derive(Debug)]
struct Group {
    legs: SmallVec<[CallKey; 2]>,
    name: Name,
    /// What each tenant calls it.
    names: SmallVec<[(TenantId, Name); 2]>,
}

/// What a group is called, and by which leg's beginning.
#[derive(Clone, Copy, Debug)]
struct Name {
    began: Timestamp,
    leg: CallKey,
    id: InteractionId,
    /// A leg with this name is over: it is on the disk.
    published: bool,
}

impl Name {
    /// Of two names the one that was published, else the one of the leg that began first.
    fn better(self, other: Name) -> Name {
        let rank = |name: &Name| (!name.published, name.began, name.leg);
        if rank(&self) <= rank(&other) {
            self
        } else {
            other
        }
    }
}

impl Groups {
    /// A leg alone.
    pub fn open(&mut self, leg: CallKey, began: Timestamp, id: InteractionId) {
        let name = Name {
            began,
            leg,
            id,
            published: false,
        };
        let group = Group {
            legs: SmallVec::from_slice(&[leg]),
            name,
            names: SmallVec::new(),
        };
        self.group_of.insert(leg, leg);
        self.groups.insert(leg, group);
    }

    fn group(&self, leg: CallKey) -> Option<&Group> {
        self.groups.get(self.group_of.get(&leg)?)
    }

    fn group_mut(&mut self, leg: CallKey) -> Option<&mut Group> {
        self.groups.get_mut(self.group_of.get(&leg)?)
    }

    /// Puts two legs, and whatever is with them, together; `false` when they are too many.
    pub fn join(&mut self, a: CallKey, b: CallKey) -> bool {
        let (Some(&into), Some(&from)) = (self.group_of.get(&a), self.group_of.get(&b)) else {
            return false;
        };
        if into == from {
            return true;
        }
        let len = |key| self.groups.get(key).map_or(0, |group| group.legs.len());
        if len(&into) + len(&from) > MAX_LEGS {
            return false;
        }
        let Some(other) = self.groups.remove(&from) else {
            return false;
        };
        for leg in &other.legs {
            self.group_of.insert(*leg, into);
        }
        if let Some(group) = self.groups.get_mut(&into) {
            group.legs.extend(other.legs);
            group.legs.sort_unstable();
            group.name = group.name.better(other.name);
            for (tenant, name) in other.names {
                group.add_name(tenant, name);
            }
        }
        true
    }

    /// A tenant has a leg, which alone would have that name.
    pub fn name(&mut self, leg: CallKey, tenant: TenantId, began: Timestamp, id: InteractionId) {
        if let Some(group) = self.group_mut(leg) {
            let name = Name {
                began,
                leg,
                id,
                published: false,
            };
            group.add_name(tenant, name);
        }
    }

    /// A leg of these tenants is over.
    pub fn publish(&mut self, leg: CallKey, tenants: &[TenantId]) {
        if let Some(group) = self.group_mut(leg) {
            group.name.published = true;
            for (_, name) in group
                .names
                .iter_mut()
                .filter(|(tenant, _)| tenants.contains(tenant))
            {
                name.published = true;
            }
        }
    }

    pub fn forget(&mut self, leg: CallKey) {
        let Some(key) = self.group_of.remove(&leg) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&key) {
            group.legs.retain(|other| *other != leg);
            if group.legs.is_empty() {
                self.groups.remove(&key);
            }
        }
    }

    pub fn of(&self, leg: CallKey) -> Option<InteractionId> {
        self.group(leg).map(|group| group.name.id)
    }

    pub fn of_tenant(&self, leg: CallKey, tenant: TenantId) -> Option<InteractionId> {
        let names = &self.group(leg)?.names;
        names
            .iter()
            .find(|(known, _)| *known == tenant)
            .map(|(_, name)| name.id)
    }

    pub fn legs_of(&self, leg: CallKey) -> impl Iterator<Item = CallKey> + '_ {
        self.group(leg)
            .into_iter()
            .flat_map(|group| group.legs.iter().copied())
    }
}

impl Group {
    fn add_name(&mut self, tenant: TenantId, name: Name) {
        if let Some((_, known)) = self.names.iter_mut().find(|(known, _)| *known == tenant) {
            *known = known.better(name);
        } else if self.names.len() < MAX_NAMES {
            self.names.push((tenant, name));
        }
    }
}
