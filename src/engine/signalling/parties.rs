//! Who is who in a call: candidates for the directory, names for people to read.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::base::{Flow, PerSide, SYSTEM_TENANT, Side, Vantage, is_harmful};
use crate::directory::{
    Attribution, CallFacts, Candidate, CandidateSource, Directory, Legs, Policy,
};
use crate::engine::event::{Disposition, Ownership, Party};
use crate::engine::interactions::plain_number;
use crate::sip::{Message, NameAddr, StartLine};

/// Facts of the sensor that rules may name.
#[derive(Clone, Debug)]
pub struct Sensor {
    pub name: Arc<str>,
    /// Names by `Vantage::interface`.
    pub interfaces: Vec<Arc<str>>,
    /// Whether calls that nobody owns are kept for the System tenant.
    pub keep_unattributed: bool,
}

impl Sensor {
    pub(super) fn interface(&self, index: u16) -> &str {
        self.interfaces
            .get(usize::from(index))
            .map_or("", |name| name)
    }
}

/// Matches a call against the directory: by its INVITE, and by its answer once there is one.
pub fn attribute(
    directory: &Directory,
    sensor: &Sensor,
    flow: &Flow,
    invite: &Message<'_>,
    answer: Option<&Message<'_>>,
) -> Attribution {
    with_facts(sensor, flow, invite, answer, |facts| {
        directory.attribute(facts)
    })
}

/// Asks something of what a directory is told of a call: by its INVITE, or by its answer where that came alone, and by
/// the answer to it where there is one.
pub fn with_facts<T>(
    sensor: &Sensor,
    flow: &Flow,
    invite: &Message<'_>,
    answer: Option<&Message<'_>>,
    ask: impl FnOnce(&CallFacts<'_>) -> T,
) -> T {
    let vlans = vlans(&flow.vantage);
    // An answer that came before its INVITE asserts the identity of the callee, not of the caller.
    let is_answer = matches!(invite.start, StartLine::Response { .. });
    let caller = if is_answer {
        from_candidate(invite)
    } else {
        caller_candidates(invite)
    };
    let mut callee = match answer {
        Some(answer) => answer_candidates(answer, invite),
        None if is_answer => answer_candidates(invite, invite),
        None => Names::new(),
    };
    callee.extend(callee_candidates(invite));
    let headers = |name: &str| invite.header(name);
    ask(&CallFacts {
        sensor: &sensor.name,
        interface: sensor.interface(flow.vantage.interface),
        vlans: &vlans,
        caller_address: flow.source.ip(),
        callee_address: flow.destination.ip(),
        caller: &as_candidates(&caller),
        callee: &as_candidates(&callee),
        headers: &headers,
        tunnels: flow.vantage.tunnels,
    })
}

/// VLAN tags of a vantage, from the outside in.
pub(super) fn vlans(vantage: &Vantage) -> SmallVec<[u16; 3]> {
    vantage
        .vlans
        .into_iter()
        .filter(|&vlan| vlan != 0)
        .collect()
}

/// A user part, percent-decoded, with where it was found.
struct Name {
    source: CandidateSource,
    user: String,
    host: String,
}

type Names = SmallVec<[Name; 6]>;

fn as_candidates(names: &Names) -> SmallVec<[Candidate<'_>; 6]> {
    names
        .iter()
        .map(|name| Candidate {
            source: name.source,
            user: &name.user,
            host: &name.host,
        })
        .collect()
}

fn name(source: CandidateSource, address: &NameAddr<'_>) -> Option<Name> {
    let user = address.uri.user_decoded();
    (!user.is_empty()).then(|| Name {
        source,
        user: user.into_owned(),
        host: address.uri.host.to_owned(),
    })
}

/// Addresses read of one header; a call has few, an attacker many.
const MAX_ADDRESSES: usize = 8;

fn all(message: &Message<'_>, header: &str, source: CandidateSource) -> impl Iterator<Item = Name> {
    message
        .addresses(header)
        .take(MAX_ADDRESSES)
        .filter_map(move |address| name(source, &address))
}

fn caller_candidates(invite: &Message<'_>) -> Names {
    let mut names: Names = all(
        invite,
        "P-Asserted-Identity",
        CandidateSource::PAssertedIdentity,
    )
    .collect();
    names.extend(remote_parties(
        invite,
        "calling",
        CandidateSource::RemotePartyId,
    ));
    names.extend(from_candidate(invite));
    names.extend(
        invite
            .contact()
            .and_then(|contact| name(CandidateSource::Contact, &contact)),
    );
    names
}

fn from_candidate(message: &Message<'_>) -> Names {
    message
        .from()
        .and_then(|from| name(CandidateSource::From, &from))
        .into_iter()
        .collect()
}

/// Who was called, as Request-URI and To say.
fn dialled(invite: &Message<'_>) -> Names {
    let mut names = Names::new();
    if let Some(uri) = invite.request_uri() {
        let user = uri.user_decoded();
        if !user.is_empty() {
            names.push(Name {
                source: CandidateSource::RequestUri,
                user: user.into_owned(),
                host: uri.host.to_owned(),
            });
        }
    }
    names.extend(invite.to().and_then(|to| name(CandidateSource::To, &to)));
    names
}

fn callee_candidates(invite: &Message<'_>) -> Names {
    let mut names = dialled(invite);
    names.extend(all(invite, "Diversion", CandidateSource::Diversion));
    names.extend(all(invite, "History-Info", CandidateSource::HistoryInfo));
    names
}

/// Those of Remote-Party-ID that are of `party`, or do not say whose they are.
fn remote_parties(
    message: &Message<'_>,
    party: &str,
    source: CandidateSource,
) -> impl Iterator<Item = Name> {
    let is_of = move |address: &NameAddr<'_>| {
        let said = address.param("party");
        said.is_none_or(|said| said.eq_ignore_ascii_case(party))
    };
    message
        .addresses("Remote-Party-ID")
        .take(MAX_ADDRESSES)
        .filter(is_of)
        .filter_map(move |address| name(source, &address))
}

/// Who answered. A Contact that only repeats who was dialled proves nothing where a host asserts somebody else; and some
/// answer with the identity that the request asserted, which is the caller's.
fn answer_candidates(answer: &Message<'_>, invite: &Message<'_>) -> Names {
    let plain = |name: &Name| plain_number(&name.user);
    let caller = from_candidate(invite).first().and_then(plain);
    let dialled = dialled(invite);
    let is_dialled = |name: &Name| dialled.iter().any(|other| plain(other) == plain(name));
    let mut asserted: Names = all(
        answer,
        "P-Asserted-Identity",
        CandidateSource::AnswerPAssertedIdentity,
    )
    .collect();
    let source = CandidateSource::AnswerRemotePartyId;
    asserted.extend(remote_parties(answer, "called", source));
    asserted.retain(|name| plain(name).is_none() || plain(name) != caller);
    let mut others = asserted.iter().filter(|name| plain(name).is_some());
    let by_another = others.next().is_some_and(|name| !is_dialled(name)) && !others.any(is_dialled);
    let contact = answer
        .contact()
        .and_then(|c| name(CandidateSource::AnswerContact, &c))
        .filter(|contact| !(by_another && is_dialled(contact)));
    contact.into_iter().chain(asserted).collect()
}

/// A side as From or To names it.
pub fn party(address: Option<NameAddr<'_>>) -> Party {
    let Some(address) = address else {
        return Party::default();
    };
    Party {
        number: capped(&address.uri.user_decoded()),
        host: capped(address.uri.host),
        display: capped(&address.display_text()),
        tag: address.tag().map(capped).unwrap_or_default(),
        ..Party::default()
    }
}

/// Text that people read: no control characters, none that change the direction of text, at most 256 characters.
pub fn capped(text: &str) -> String {
    text.chars().filter(|&c| !is_harmful(c)).take(256).collect()
}

/// Writes what the directory found into the parties.
pub fn name_parties(parties: &mut PerSide<Party>, attribution: &Attribution) {
    for (side, claim) in [
        (Side::Caller, &attribution.caller),
        (Side::Callee, &attribution.callee),
    ] {
        parties[side].extension = claim.as_ref().map(|claim| claim.extension.clone());
        parties[side].user = claim.as_ref().and_then(|claim| claim.user.clone());
    }
}

/// What each owner gets. `share`: 0 to 99, the same each time for the same call, for policies that record a share of calls.
pub fn owners(
    directory: &Directory,
    sensor: &Sensor,
    attribution: &Attribution,
    share: u8,
) -> SmallVec<[Ownership; 2]> {
    if attribution.owners.is_empty() {
        let sides = PerSide {
            caller: false,
            callee: false,
        };
        let mut owner = ownership(directory, SYSTEM_TENANT, sides);
        let withheld = owner.recording.withheld.map(Disposition::from);
        owner.refusal = (!sensor.keep_unattributed)
            .then_some(Disposition::Unattributed)
            .or(withheld);
        return smallvec![owner];
    }
    attribution
        .owners
        .iter()
        .map(|owner| {
            let sides = PerSide {
                caller: owner.sides.has(Side::Caller),
                callee: owner.sides.has(Side::Callee),
            };
            let mut of_call = ownership(directory, owner.tenant, sides);
            let decision = attribution.decision(owner, of_call.recording.policy);
            match decision.policy {
                Policy::All => {}
                Policy::None => of_call.refusal = Some(Disposition::PolicyNone),
                Policy::OnDemand => of_call.pending = Some(Disposition::PolicyOnDemand),
                Policy::Sample { percent } if share >= percent => {
                    of_call.refusal = Some(Disposition::PolicySample);
                }
                Policy::Sample { .. } => {}
            }
            let withheld = of_call.recording.withheld.map(Disposition::from);
            of_call.refusal = of_call.refusal.or(withheld);
            of_call.decision = Some(decision);
            of_call
        })
        .collect()
}

fn ownership(
    directory: &Directory,
    tenant: crate::base::TenantId,
    sides: PerSide<bool>,
) -> Ownership {
    let Some(settings) = directory.tenant(tenant) else {
        return Ownership::new(tenant, "System".into(), sides);
    };
    Ownership {
        recording: settings.recording,
        control: settings.control.clone(),
        one_leg: settings.recording.legs == Legs::One,
        ..Ownership::new(tenant, settings.name.clone(), sides)
    }
}
