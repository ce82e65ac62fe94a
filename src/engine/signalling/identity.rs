//! Who is on a side, from when on: whoever called, whoever answered, and whoever a PBX puts in their place.
//!
//! A PBX that transfers a call mostly keeps the dialog and only says who is there now, in a re-INVITE or UPDATE, or in the
//! answer to one: P-Asserted-Identity, Remote-Party-ID, or a Contact that names another extension.
//!
//! Such news never gives a call to another tenant: whoever takes over has a leg of its own, from its own INVITE on, and what
//! was said before is none of its business. It only takes away. A tenant whose side went to another tenant's extension, and
//! who has no other side, keeps what was heard until then. Where nobody else claims the new party, the call stays whose it
//! was: a user who transfers a call to a mobile phone does not lose it.

use super::*;
use crate::base::TenantId;
use crate::directory::{CallFacts, Candidate, CandidateSource, Claim, Nearness};
use crate::engine::event::{Ownership, Participant};
use crate::engine::interactions::plain_number;

/// Participants listed of one call.
const MAX_PARTICIPANTS: usize = 32;

/// What a side said of itself last.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// As the directory looked it up, where it knows it.
    known: Option<Box<str>>,
    /// As a trusted host asserted it.
    pub asserted: Option<Box<str>>,
    pub contact: Option<Box<str>>,
}

/// A side as a message names it.
struct Named<'m> {
    source: CandidateSource,
    user: std::borrow::Cow<'m, str>,
    host: &'m str,
    display: std::borrow::Cow<'m, str>,
}

impl Signalling {
    /// Lists who takes part as far as the directory's answer says, from the beginning.
    pub(super) fn list_participants(&mut self, key: CallKey) {
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        let info = Arc::make_mut(&mut leg.info);
        for side in Side::BOTH {
            let claim = info.attribution.claim(side);
            leg.identities[side].known = claim.map(|claim| claim.number.as_str().into());
        }
        info.participants = Side::BOTH
            .map(|side| {
                let party = &info.parties[side];
                let claim = info.attribution.claim(side);
                let answered = match side {
                    Side::Caller => None,
                    Side::Callee => info.answered_at,
                };
                Participant {
                    side,
                    number: claim
                        .map_or_else(|| party.number.clone(), |claim| spoken(claim, party)),
                    display: party.display.clone(),
                    tenant: claim.map(|claim| claim.tenant),
                    extension: party.extension.clone(),
                    user: party.user.clone(),
                    from: answered.unwrap_or(info.invite_at),
                    to: None,
                }
            })
            .into();
    }

    /// Remembers how a side names itself when the call begins, so that another name is known for one.
    pub(super) fn note_identity(&mut self, key: CallKey, side: Side, message: &Message<'_>) {
        if let Some(leg) = self.legs.get_mut(&key) {
            let (asserted, contact) = names(message, side, None);
            let identity = &mut leg.identities[side];
            identity.asserted = asserted.map(|named| (*named.user).into());
            identity.contact = contact.map(|named| (*named.user).into());
        }
    }

    /// Takes what a message within the dialog says of who sent it.
    pub(super) fn follow_identity(
        &mut self,
        key: CallKey,
        side: Side,
        envelope: &Envelope<'_, '_>,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return;
        };
        let mut all = leg.info.participants.iter().rev();
        let other = all.find(|p| p.side == side.other());
        let other = other.and_then(|other| plain_number(&other.number));
        let (asserted, contact) = names(envelope.message, side, other.as_deref());
        let identity = &mut leg.identities[side];
        let differs = |known: &Option<Box<str>>, named: &Option<Named<'_>>| {
            let named = named.as_ref().and_then(|named| plain_number(&named.user));
            named.is_some() && named != known.as_deref().and_then(plain_number)
        };
        let (by_name, by_contact) = (
            differs(&identity.asserted, &asserted),
            differs(&identity.contact, &contact),
        );
        if !by_name && !by_contact {
            return;
        }
        for (known, named) in [
            (&mut identity.asserted, &asserted),
            (&mut identity.contact, &contact),
        ] {
            if let Some(named) = named {
                *known = Some((*named.user).into());
            }
        }
        // What did not change proves nothing against what did, and a phone's own word nothing against a host's: a PBX keeps
        // its Contact whoever it puts through.
        let changed = [asserted.filter(|_| by_name), contact.filter(|_| by_contact)];
        let changed: SmallVec<[Named<'_>; 2]> = changed.into_iter().flatten().collect();
        let claim = changed
            .iter()
            .find_map(|named| self.ask_directory(key, side, named, envelope));
        if self.take_over(key, side, &changed, by_name, claim, envelope.time) {
            self.own(key);
            self.refresh(key);
            self.tell(key, orders);
        }
    }

    /// Whose extension a side is now, by the directory that the call began with.
    fn ask_directory(
        &self,
        key: CallKey,
        side: Side,
        named: &Named<'_>,
        envelope: &Envelope<'_, '_>,
    ) -> Option<Claim> {
        let leg = self.legs.get(&key)?;
        let directory = leg.directory.as_ref()?;
        let flow = envelope.flow;
        let vlans = parties::vlans(&flow.vantage);
        let candidates = [Candidate {
            source: named.source,
            user: &named.user,
            host: named.host,
        }];
        let (caller, callee): (&[_], &[_]) = match side {
            Side::Caller => (&candidates, &[]),
            Side::Callee => (&[], &candidates),
        };
        let (from, to) = (flow.source.ip(), flow.destination.ip());
        let headers = |name: &str| envelope.message.header(name);
        let attribution = directory.attribute_as_said(&CallFacts {
            sensor: &self.sensor.name,
            interface: self.sensor.interface(flow.vantage.interface),
            vlans: &vlans,
            caller_address: if side == Side::Caller { from } else { to },
            callee_address: if side == Side::Caller { to } else { from },
            caller,
            callee,
            headers: &headers,
            tunnels: flow.vantage.tunnels,
        });
        // From outside of its networks nobody is named one of an owner's users, but in the place of another of them. Another tenant's
        // gets nothing by it.
        let is_known = |claim: &&Claim| {
            let (mut all, mut owners) = (leg.info.participants.iter(), leg.info.owners.iter());
            claim.nearness == Nearness::Near
                || owners.all(|owner| owner.tenant != claim.tenant)
                || all.any(|p| p.side == side && p.tenant == Some(claim.tenant))
        };
        attribution.claim(side).filter(is_known).cloned()
    }

    /// Somebody else is on a side, if `named` is somebody else; whether anything changed.
    fn take_over(
        &mut self,
        key: CallKey,
        side: Side,
        named: &[Named<'_>],
        by_name: bool,
        claim: Option<Claim>,
        at: Timestamp,
    ) -> bool {
        let (Some(leg), Some(first)) = (self.legs.get_mut(&key), named.first()) else {
            return false;
        };
        let current = leg.info.participants.iter().rev().find(|p| p.side == side);
        let number = match &claim {
            Some(claim) => claim.seen.as_ref().unwrap_or(&claim.number).as_str(),
            None => &first.user,
        };
        let known = leg.identities[side].known.as_deref();
        let same = current.is_some_and(|current| match &claim {
            Some(claim) if current.tenant == Some(claim.tenant) => is_same(current, known, claim),
            Some(_) if current.tenant.is_some() => false,
            _ => plain_number(&current.number) == plain_number(number),
        });
        // A Contact is any text a phone likes: only one that the directory knows names somebody.
        if same || !by_name && claim.is_none() {
            return false;
        }
        let (number, display) = (parties::capped(number), parties::capped(&first.display));
        let info = Arc::make_mut(&mut leg.info);
        leg.identities[side].known = claim.as_ref().map(|claim| claim.number.as_str().into());
        for participant in &mut info.participants {
            if participant.side == side && participant.to.is_none() {
                participant.to = Some(at);
            }
        }
        for owner in &mut info.owners {
            hand_over(owner, side, claim.as_ref().map(|claim| claim.tenant), at);
        }
        if info.participants.len() == MAX_PARTICIPANTS {
            return true;
        }
        info.participants.push(Participant {
            side,
            number,
            display,
            tenant: claim.as_ref().map(|claim| claim.tenant),
            extension: claim.as_ref().map(|claim| claim.extension.clone()),
            user: claim.and_then(|claim| claim.user),
            from: at,
            to: None,
        });
        true
    }
}

/// Whether a claim of the same tenant is the one who is on the side, whose number was looked up as `known`: by that number,
/// or by an alias of it. The numbers of one range are not one person.
fn is_same(current: &Participant, known: Option<&str>, claim: &Claim) -> bool {
    let is_one_number = !claim.extension.contains('-') && !claim.extension.ends_with('*');
    known == Some(claim.number.as_str())
        || plain_number(&current.number) == plain_number(&claim.number)
        || is_one_number && current.extension.as_ref() == Some(&claim.extension)
}

/// What becomes of an owner's part when `side` goes to somebody of `tenant`, or to nobody that the directory knows.
fn hand_over(owner: &mut Ownership, side: Side, tenant: Option<TenantId>, at: Timestamp) {
    match tenant {
        Some(tenant) if tenant == owner.tenant => owner.sides[side] = true,
        Some(_) if owner.sides[side] => {
            if owner.sides[side.other()] {
                owner.sides[side] = false;
            } else {
                owner.until.get_or_insert(at);
            }
        }
        _ => {}
    }
}

/// How the one who is on a side is called.
fn spoken(claim: &Claim, party: &super::super::event::Party) -> String {
    match claim.source.is_of_answer() {
        true => parties::capped(claim.seen.as_ref().unwrap_or(&claim.number)),
        false => party.number.clone(),
    }
}

/// How a message names its sender: as a host asserts it, and by its Contact. `other`: who is on the other side, whom some
/// name as well, or instead.
fn names<'m>(
    message: &Message<'m>,
    side: Side,
    other: Option<&str>,
) -> (Option<Named<'m>>, Option<Named<'m>>) {
    use CandidateSource::{
        AnswerContact, AnswerPAssertedIdentity, AnswerRemotePartyId, Contact, PAssertedIdentity,
        RemotePartyId,
    };
    let sources = match side {
        Side::Caller => (PAssertedIdentity, RemotePartyId, Contact),
        Side::Callee => (AnswerPAssertedIdentity, AnswerRemotePartyId, AnswerContact),
    };
    let named = |source, address: crate::sip::NameAddr<'m>| Named {
        source,
        user: address.uri.user_decoded(),
        host: address.uri.host,
        display: address.display_text(),
    };
    let says = |named: &Named<'_>| {
        let number = plain_number(&named.user);
        number.is_some() && number.as_deref() != other
    };
    let asserted = message
        .addresses("P-Asserted-Identity")
        .map(|address| named(sources.0, address))
        .find(says);
    let remote = || {
        let of = |role: Role| {
            message
                .addresses("Remote-Party-ID")
                .filter(move |address| role.is_of(address))
                .map(|address| named(sources.1, address))
                .find(says)
        };
        of(Role::in_dialog(side)).or_else(|| of(Role::in_transaction(message)))
    };
    let contact = message
        .contact()
        .map(|address| named(sources.2, address))
        .filter(|named| plain_number(&named.user).is_some());
    (asserted.or_else(remote), contact)
}

/// What Remote-Party-ID calls the sender of a message (draft-ietf-sip-privacy-04 section 5.1). Asterisk's `party` is the
/// role in the dialog; others', as in the draft, that in the transaction, where who sends a request calls.
#[derive(Clone, Copy)]
enum Role {
    Calling,
    Called,
}

impl Role {
    fn in_dialog(side: Side) -> Role {
        match side {
            Side::Caller => Role::Calling,
            Side::Callee => Role::Called,
        }
    }

    fn in_transaction(message: &Message<'_>) -> Role {
        match message.start {
            StartLine::Request { .. } => Role::Calling,
            StartLine::Response { .. } => Role::Called,
        }
    }

    /// Without `party` it is the sender.
    fn is_of(self, address: &crate::sip::NameAddr<'_>) -> bool {
        let name = match self {
            Role::Calling => "calling",
            Role::Called => "called",
        };
        let party = address.param("party");
        party.is_none_or(|party| party.eq_ignore_ascii_case(name))
    }
}
