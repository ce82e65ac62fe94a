//! Which calls a wish about one of them reaches: now, and as their links become known.
//!
//! To keep and to stop are of the tenant's own calls. A pause is of the conversation: what is said in it is said on all of its legs.
//! It reaches those of the tenant that asks, those that nobody owns, and those of other tenants that the signalling itself
//! names as the same conversation. Numbers and times that fit, a transfer that was asked for and audio that sounds the same are
//! evidence that a tenant can make, and silence no recording of another one.

use std::collections::BTreeSet;

use super::control::Rank;
use super::*;
use crate::base::SYSTEM_TENANT;
use crate::engine::control::{ControlAction, ControlNote, moves_pause};
use crate::engine::event::LinkReason;

impl Signalling {
    /// Open calls that a wish about `key` reaches, in the order of their keys. `None`: who asks may speak for all tenants.
    pub(super) fn reached(
        &self,
        key: CallKey,
        action: ControlAction,
        tenant: Option<TenantId>,
    ) -> Vec<CallKey> {
        use ControlAction::{Pause, Resume};
        match tenant {
            None => self.calls_of_interaction(key),
            Some(tenant) if matches!(action, Pause | Resume) => self.paused_with(key, tenant),
            Some(tenant) => self.calls_of_tenant(key, tenant),
        }
    }

    /// Calls that a pause of `tenant` silences, or has silenced.
    fn paused_with(&self, key: CallKey, tenant: TenantId) -> Vec<CallKey> {
        let all = self.calls_of_interaction(key);
        let (is_own, is_nobodys) = (|key| self.has_part(key, tenant), |key| self.is_nobodys(key));
        if !all.iter().any(|key| is_own(*key)) {
            return Vec::new();
        }
        let is_within = |key: &&CallKey| is_own(**key) || is_nobodys(**key);
        let mut reached: BTreeSet<CallKey> = all.iter().filter(is_within).copied().collect();
        let mut unseen: Vec<CallKey> = reached.iter().copied().collect();
        while let Some(from) = unseen.pop() {
            let ties = self.interactions.ties_of(from).iter();
            let named = ties.filter(|tie| names_the_conversation(tie.reason));
            for tie in named {
                if all.contains(&tie.other) && reached.insert(tie.other) {
                    unseen.push(tie.other);
                }
            }
        }
        reached.into_iter().collect()
    }

    /// Whether a call is the tenant's, or it holds it paused, from when it could.
    fn has_part(&self, key: CallKey, tenant: TenantId) -> bool {
        self.legs.get(&key).is_some_and(|leg| {
            let mut owners = leg.info.owners.iter();
            owners.any(|owner| owner.tenant == tenant)
                || moves_pause(&leg.info.control, ControlAction::Resume, Some(tenant))
        })
    }

    fn is_nobodys(&self, key: CallKey) -> bool {
        self.legs.get(&key).is_some_and(|leg| {
            let mut owners = leg.info.owners.iter();
            owners.all(|owner| owner.tenant == SYSTEM_TENANT)
        })
    }

    /// A call that was found to belong to an interaction is as paused as the others of it, and as little to be recorded: from
    /// `now` on. Where it is their audio that links them, what was paused there was said here too, and is taken back.
    /// To be called when a call's interaction becomes known or changes.
    pub(super) fn share_control(&mut self, key: CallKey, now: Timestamp, orders: &mut Orders) {
        if self.steering.steered.is_empty() {
            return;
        }
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        let steered = self.steering.steered.iter().filter(|other| **other != key);
        let others: Vec<&Leg> = steered
            .filter_map(|other| self.legs.get(other))
            .filter(|other| other.info.interaction == leg.info.interaction)
            .map(|other| &**other)
            .collect();
        // Media may have waited for the message that it begins with.
        let is_new = leg.info.invite_at >= now;
        let mut notes: Vec<ControlNote> = Vec::new();
        for other in others {
            let carries_the_same = (self.interactions.ties_of(key).iter())
                .any(|tie| tie.other == other.key && tie.reason == LinkReason::Audio);
            let own = other.info.control.iter().enumerate();
            let own = own.filter(|(index, note)| {
                let rest = other.info.control.get(index + 1..).unwrap_or_default();
                !note.alone && (carries_the_same || holds(note, rest))
            });
            notes.extend(
                own.filter(|(_, note)| self.is_of(key, other.key, note))
                    .map(|(_, note)| ControlNote {
                        at: match carries_the_same || is_new {
                            true => note.at,
                            false => note.at.max(now),
                        },
                        ..note.clone()
                    }),
            );
        }
        notes.sort_by_key(|note| note.at);
        // Each leg has its own copy of what was asked of all.
        notes.dedup();
        for note in notes {
            self.note(key, &note, Rank::ByTime, orders);
        }
    }

    /// Whether a note of `other` is one for `key` as well, which belongs to the same interaction.
    fn is_of(&self, key: CallKey, other: CallKey, note: &ControlNote) -> bool {
        note.tenant.is_none() || self.reached(other, note.action, note.tenant).contains(&key)
    }
}

/// Whether a note still means something after `rest`: a pause that is over, and what ended it, do not.
fn holds(note: &ControlNote, rest: &[ControlNote]) -> bool {
    use ControlAction::{Keep, Pause, Resume, Stop};
    let ends = |later: &ControlNote| {
        later.action == Resume && (later.tenant.is_none() || later.tenant == note.tenant)
    };
    match note.action {
        Pause => !rest.iter().any(ends),
        Resume => false,
        Stop | Keep => true,
    }
}

/// Whether only who takes part in a conversation could have said what links two calls.
pub(super) fn names_the_conversation(reason: LinkReason) -> bool {
    use LinkReason::{Audio, CallId, Header, Join, Numbers, Refer, Replaces, SessionId};
    match reason {
        CallId | SessionId | Header | Replaces | Join => true,
        Refer | Numbers | Audio => false,
    }
}
