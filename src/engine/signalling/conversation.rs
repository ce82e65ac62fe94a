//! Which calls are one conversation: what is told of legs to [`Interactions`], and news of what comes of it.

use super::*;
use crate::base::TenantId;
use crate::engine::event::{Link, LinkReason};
use crate::engine::interactions::{Facts, Referral, Sample};
use crate::sip::Replaces;

/// Users of one side that are compared.
const MAX_USERS: usize = 3;

impl Signalling {
    /// Open calls of the conversation that `call` belongs to, `call` included while it is open, in the order of their keys.
    pub fn calls_of_interaction(&self, call: CallKey) -> Vec<CallKey> {
        let mut calls = self.interactions.legs_of(call);
        calls.retain(|key| self.legs.get(key).is_some_and(|leg| leg.is_open()));
        calls
    }

    /// The same, as far as they are `tenant`'s: what it does to its interaction must not reach the calls of others.
    pub fn calls_of_tenant(&self, call: CallKey, tenant: TenantId) -> Vec<CallKey> {
        let owns = |key: &CallKey| {
            let leg = self.legs.get(key);
            leg.is_some_and(|leg| leg.info.owners.iter().any(|owner| owner.tenant == tenant))
        };
        let mut calls = self.calls_of_interaction(call);
        calls.retain(owns);
        calls
    }

    /// Whether samples of audio are wanted: where there are calls to compare.
    pub fn compares_audio(&self) -> bool {
        self.open > 1 && self.interactions.settings().audio
    }

    /// Takes samples of audio.
    pub fn hear(&mut self, samples: &[Sample]) {
        self.interactions.hear(samples);
    }

    /// Enters a new leg among the interactions.
    pub(super) fn enter(&mut self, key: CallKey, envelope: &Envelope<'_, '_>) {
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        let message = envelope.message;
        let flow = envelope.request_flow();
        let mut facts = Facts {
            began: envelope.time,
            call_id: envelope.call_id,
            vantage: flow.vantage,
            source: flow.source,
            destination: flow.destination,
            caller: message.from().iter().map(|from| from.uri.user).collect(),
            callee: message.to().iter().map(|to| to.uri.user).collect(),
            referred_by: None,
            session_ids: session_ids(message),
            headers: SmallVec::new(),
            alone: leg.info.interaction,
            seed: leg.info.seed,
        };
        if envelope.is_request() {
            let asserted = message.addresses("P-Asserted-Identity");
            facts
                .caller
                .extend(asserted.map(|a| a.uri.user).take(MAX_USERS - 1));
            let mut referrers = message.addresses("Referred-By");
            facts.referred_by = referrers.next().map(|by| by.uri.user);
            facts
                .callee
                .extend(message.request_uri().map(|uri| uri.user));
        }
        let names = &self.interactions.settings().headers;
        for (place, name) in names.iter().enumerate() {
            let value = message.header(name).map(str::trim);
            facts
                .headers
                .extend(value.filter(|v| !v.is_empty()).map(|v| (place, v)));
        }
        self.interactions.open(key, &facts);
        self.link_named(key, message);
        self.own(key);
        self.refresh(key);
    }

    /// A leg that names a dialog to take its place, or to join it.
    fn link_named(&mut self, key: CallKey, message: &Message<'_>) {
        let join = message.header("Join").and_then(Replaces::parse);
        let named = [
            (message.replaces(), LinkReason::Replaces),
            (join, LinkReason::Join),
        ];
        for (dialog, reason) in named {
            if let Some(other) = dialog.and_then(|dialog| self.find_dialog(&dialog)) {
                self.interactions.link(other, key, reason);
            }
        }
    }

    /// The leg of a dialog that another one names. Its tags may be seen from either side; a phone that still rings may not be
    /// known by its own.
    pub(super) fn find_dialog(&self, named: &Replaces<'_>) -> Option<CallKey> {
        let keys = self.by_call_id.get(named.call_id)?;
        let fits = |leg: &&Leg| {
            let is = |own: &str, named: &str| own.is_empty() || own == named;
            let tags = |a: &str, b: &str| is(&leg.tags.caller, a) && is(&leg.tags.callee, b);
            tags(named.from_tag, named.to_tag) || tags(named.to_tag, named.from_tag)
        };
        let mut legs = keys
            .iter()
            .rev()
            .filter_map(|key| self.legs.get(key).map(|leg| &**leg));
        legs.find(fits).map(|leg| leg.key)
    }

    /// One side was sent to `to`, perhaps to take the place of another call: the calls are one conversation.
    pub(super) fn follow_referral(
        &mut self,
        key: CallKey,
        envelope: &Envelope<'_, '_>,
        to: String,
        replaces: Option<&Replaces<'_>>,
    ) {
        if let Some(other) = replaces.and_then(|replaces| self.find_dialog(replaces)) {
            self.interactions.link(other, key, LinkReason::Refer);
        }
        self.interactions.refer(Referral {
            leg: key,
            at: envelope.time,
            vantage: envelope.flow.vantage,
            host: envelope.flow.destination.ip(),
            to,
        });
    }

    /// What a later message says of its session.
    pub(super) fn note_session(&mut self, key: CallKey, message: &Message<'_>) {
        for id in session_ids(message) {
            self.interactions.say_session(key, id);
        }
    }

    /// Tells interactions whose a leg is.
    pub(super) fn own(&mut self, key: CallKey) {
        if let Some(leg) = self.legs.get(&key) {
            self.interactions
                .own(key, leg.info.owners.iter().map(|owner| owner.tenant));
        }
    }

    /// News of every call whose interaction or links became others.
    pub(super) fn tell_of_links(&mut self, now: Timestamp, orders: &mut Orders) {
        for key in self.interactions.take_changed() {
            if self.refresh(key) {
                self.tell(key, orders);
                self.share_control(key, now, orders);
            }
            self.tell_plan(key, false, orders);
        }
    }

    /// Writes the interaction and the links of a leg into what is known of it; whether that changed.
    pub(super) fn refresh(&mut self, key: CallKey) -> bool {
        let links = self.links_of(key);
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return false;
        };
        let interaction = self.interactions.of(key).unwrap_or(leg.info.interaction);
        let name = |tenant| {
            self.interactions
                .of_tenant(key, tenant)
                .unwrap_or(interaction)
        };
        let info = &leg.info;
        let same = info.interaction == interaction
            && info.links == links
            && info
                .owners
                .iter()
                .all(|owner| owner.interaction == name(owner.tenant));
        if same {
            return false;
        }
        let info = Arc::make_mut(&mut leg.info);
        info.interaction = interaction;
        info.links = links;
        for owner in &mut info.owners {
            owner.interaction = name(owner.tenant);
        }
        true
    }

    fn links_of(&self, key: CallKey) -> Vec<Link> {
        let known = self.legs.get(&key).map_or(&[][..], |leg| &leg.info.links);
        let ties = self.interactions.ties_of(key).iter();
        let link = |tie: &crate::engine::interactions::Tie| match self.legs.get(&tie.other) {
            Some(leg) => Some(Link {
                call: tie.other,
                call_id: leg.info.call_id.clone(),
                reason: tie.reason,
                owners: leg.info.owners.iter().map(|owner| owner.tenant).collect(),
            }),
            None => known.iter().find(|link| link.call == tie.other).cloned(),
        };
        ties.filter_map(link).collect()
    }
}

/// Both halves of a Session-ID (RFC 7989).
fn session_ids<'m>(message: &Message<'m>) -> SmallVec<[&'m str; 2]> {
    let id = message.session_id();
    let halves = id.map(|id| [Some(id.local), id.remote]);
    halves.into_iter().flatten().flatten().collect()
}
