//! Legs of one conversation that may have each other's streams.
//!
//! A PBX that lets two phones send to each other names both of them on both of its legs, and there is one stream for the two. Whether
//! that is so media sees; which legs may have it is said here. A phone of one tenant that names the phones of another one is no kin
//! of their calls: what makes a call kin is a link, and where the link is one that a stranger could make, the host at either end of
//! the stream has to say so for itself (see [`Kin::is_sure`]), unless whoever has the one call has the other as well.

use std::collections::BTreeSet;

use super::reach::names_the_conversation;
use super::*;
use crate::base::TenantId;
use crate::engine::event::Ownership;
use crate::engine::plan::Kin;

/// Kin told of one call: a call that is handed on through more hops than that is a loop.
const MAX_KIN: usize = 8;

impl Signalling {
    /// The plan of `key` changed: whose kin it is may have changed with it, and so may what the others of its conversation are told.
    pub(super) fn meet_kin(&mut self, key: CallKey, orders: &mut Orders) {
        for other in self.interactions.legs_of(key) {
            if other != key {
                self.tell_plan(other, false, orders);
            }
        }
    }

    /// Hands media the plan of a call with its kin as they are now, if the plan is new or they changed.
    pub(super) fn tell_plan(&mut self, key: CallKey, is_new: bool, orders: &mut Orders) {
        let kin = self.kin_of(key);
        let plan = self.legs.get_mut(&key).and_then(|leg| leg.plan.as_mut());
        if let Some(plan) = plan
            && (is_new || plan.kin != kin)
        {
            Arc::make_mut(plan).kin = kin;
            orders.push(Order::Plan(plan.clone()));
        }
    }

    /// Open calls of the conversation that name an endpoint which the plan of `key` names too, in the order of their keys.
    pub(super) fn kin_of(&self, key: CallKey) -> SmallVec<[Kin; 1]> {
        let Some((leg, plan)) = self.planned(key) else {
            return SmallVec::new();
        };
        let mut others = self.interactions.legs_of(key);
        others.retain(|other| {
            let meets = |(_, its): (&Leg, &MediaPlan)| share_an_endpoint(plan, its);
            *other != key
                && self.planned(*other).is_some_and(meets)
                && self.interactions.may_be_two_hops(key, *other)
        });
        if others.is_empty() {
            return SmallVec::new();
        }
        let named = self.named_with(key);
        let is_sure = |other: &CallKey| {
            let has_all = self
                .legs
                .get(other)
                .is_some_and(|other| other.is_all_of(leg));
            named.contains(other) || has_all
        };
        let kin = others.iter().map(|other| Kin {
            call: *other,
            is_sure: is_sure(other),
        });
        kin.take(MAX_KIN).collect()
    }

    fn planned(&self, key: CallKey) -> Option<(&Leg, &MediaPlan)> {
        let leg = self.legs.get(&key).filter(|leg| leg.is_open())?;
        Some((leg, leg.plan.as_deref()?))
    }

    /// Legs that the signalling itself names as of the same conversation, from one to the next.
    fn named_with(&self, key: CallKey) -> BTreeSet<CallKey> {
        let mut named = BTreeSet::from([key]);
        let mut unseen = vec![key];
        while let Some(from) = unseen.pop() {
            for tie in self.interactions.ties_of(from) {
                if names_the_conversation(tie.reason) && named.insert(tie.other) {
                    unseen.push(tie.other);
                }
            }
        }
        named
    }
}

impl Leg {
    /// Whether everybody who gets what is recorded of `other` has this call too.
    fn is_all_of(&self, other: &Leg) -> bool {
        let has = |tenant| {
            let mut owners = self.info.owners.iter();
            owners.any(|owner| owner.tenant == tenant && owner.until.is_none())
        };
        other.listeners().all(has)
    }

    /// The tenants that get what is recorded from now on.
    fn listeners(&self) -> impl Iterator<Item = TenantId> {
        let owners = self.info.owners.iter();
        let gets = |owner: &&Ownership| owner.until.is_none() && owner.refusal.is_none();
        owners.filter(gets).map(|owner| owner.tenant)
    }

    /// See [`MediaPlan::audience`].
    pub(super) fn audience(&self) -> u64 {
        let mut tenants: SmallVec<[TenantId; 4]> = self.listeners().collect();
        tenants.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for tenant in tenants {
            hasher.update(tenant.0.as_bytes());
        }
        let digest = hasher.finalize();
        digest
            .as_bytes()
            .first_chunk()
            .map_or(0, |first| u64::from_le_bytes(*first))
    }
}

fn share_an_endpoint(a: &MediaPlan, b: &MediaPlan) -> bool {
    let named = |plan: &MediaPlan, endpoint: &crate::base::Endpoint| {
        let mut sides = plan.sides.iter();
        sides.any(|(_, side)| side.endpoints.contains(endpoint))
    };
    a.sides
        .iter()
        .flat_map(|(_, side)| &side.endpoints)
        .any(|endpoint| named(b, endpoint))
}
