//! Interactions: which calls belong to one conversation, and why.
//!
//! In: what each leg says of itself ([`Facts`]), dialogs that name each other, and samples of audio. Out: groups of legs,
//! with a reason for each link. Nothing here follows SIP or RTP; callers hand in values.
//!
//! A link needs evidence, since two conversations taken for one cannot be told apart again: something that only the same
//! conversation has (a Call-ID, a Session-ID, a header the operator named, a dialog that another one names), numbers and
//! time where a leg leaves the host that another one came to, or the same audio. Where two legs fit equally well, none is
//! linked. A tenant learns of an interaction only what its own legs say: each has a name of its own for it, made of the
//! first of its own legs.

mod audio;
mod group;
mod hop;
mod referral;
#[cfg(test)]
mod tests;
mod token;

use std::collections::VecDeque;
use std::time::Duration;

use smallvec::SmallVec;

use self::audio::{Matches, Verdict};
pub use self::audio::{Sample, fingerprint, is_due};
use self::group::Groups;
use self::hop::Hop;
pub use self::referral::Referral;
use self::referral::Referrals;
pub use self::token::plain_number;
use self::token::{Index, Kind, Token};
use super::event::LinkReason;
use super::plan::CallKey;
use crate::base::{Endpoint, InteractionId, TenantId, Timestamp, Vantage, WireMap};

/// What can be set.
#[derive(Clone, Debug)]
pub struct InteractionSettings {
    /// Headers whose value is the same in all legs of a conversation, and in no other.
    pub headers: Vec<String>,
    /// How much later than the leg that comes to a PBX the one that leaves it may begin, to be linked by numbers.
    pub window: Duration,
    /// Whether legs are linked by their audio.
    pub audio: bool,
}

impl Default for InteractionSettings {
    fn default() -> Self {
        InteractionSettings {
            headers: Vec::new(),
            window: Duration::from_secs(10),
            audio: true,
        }
    }
}

/// What was counted, by name. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InteractionCounters {
    /// Links made, by any reason.
    pub links: u64,
    /// Legs that fitted several others equally well, and were linked to none.
    pub ambiguous: u64,
    /// Links that were not made because the interaction had too many legs.
    pub too_many_legs: u64,
}

/// What a leg says of itself when it begins.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub began: Timestamp,
    pub call_id: &'a str,
    pub vantage: Vantage,
    /// From where and to where the INVITE went.
    pub source: Endpoint,
    pub destination: Endpoint,
    /// User parts that name the caller, and the callee.
    pub caller: SmallVec<[&'a str; 3]>,
    pub callee: SmallVec<[&'a str; 3]>,
    /// Who sent the caller there (RFC 3892).
    pub referred_by: Option<&'a str>,
    pub session_ids: SmallVec<[&'a str; 2]>,
    /// Values of the configured headers, with the header's place in the settings.
    pub headers: SmallVec<[(usize, &'a str); 1]>,
    /// What the leg's own interaction would be called, were it alone.
    pub alone: InteractionId,
    /// 32 bytes that tell the leg from every other.
    pub seed: [u8; 32],
}

/// That a leg belongs together with another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    pub other: CallKey,
    pub reason: LinkReason,
}

/// One leg, from its INVITE until it is forgotten.
#[derive(Debug)]
struct Member {
    began: Timestamp,
    open: bool,
    hop: Hop,
    tokens: SmallVec<[Token; 8]>,
    ties: SmallVec<[Tie; 2]>,
    owners: SmallVec<[TenantId; 2]>,
    seed: [u8; 32],
}

/// Links kept of one leg.
const MAX_TIES: usize = 16;
/// Tokens kept of one leg.
const MAX_TOKENS: usize = 24;

/// See the [module](self). As many legs as signalling remembers: they come and go with its legs.
#[derive(Debug, Default)]
pub struct Interactions {
    settings: InteractionSettings,
    /// Boxed: a table has room for up to twice as many as it holds.
    members: WireMap<CallKey, Box<Member>>,
    groups: Groups,
    index: Index,
    referrals: Referrals,
    matches: Matches,
    /// Legs for which a better partner may come, until when.
    waiting: VecDeque<(Timestamp, CallKey)>,
    /// Legs whose interaction, or links, may have become others.
    changed: Vec<CallKey>,
    counters: InteractionCounters,
}

impl Interactions {
    pub fn new(settings: InteractionSettings) -> Self {
        Interactions {
            settings,
            ..Interactions::default()
        }
    }

    pub fn settings(&self) -> &InteractionSettings {
        &self.settings
    }

    pub fn counters(&self) -> &InteractionCounters {
        &self.counters
    }

    /// Enters a leg, and links it to those it belongs with.
    pub fn open(&mut self, key: CallKey, facts: &Facts<'_>) {
        self.groups.open(key, facts.began, facts.alone);
        let member = Member {
            began: facts.began,
            open: true,
            hop: Hop::new(facts),
            tokens: SmallVec::new(),
            ties: SmallVec::new(),
            owners: SmallVec::new(),
            seed: facts.seed,
        };
        self.members.insert(key, Box::new(member));
        let referrer = facts.referred_by.and_then(plain_number);
        self.follow_referral(key, |all, leg, hop| {
            let mut named = hop
                .caller
                .iter()
                .map(|number| &**number)
                .chain(referrer.as_deref());
            named.any(|number| all.takes_part(leg, number))
        });
        self.say(key, Kind::CallId, facts.call_id);
        for id in &facts.session_ids {
            self.say_session(key, id);
        }
        for (header, value) in &facts.headers {
            self.say(key, Kind::Header(*header), value);
        }
        self.link_hops(key);
        self.waiting.push_back((facts.began + hop::DISORDER, key));
    }

    /// Whether a number is of the conversation that `leg` belongs to.
    fn takes_part(&self, leg: CallKey, number: &str) -> bool {
        let mut legs = self.groups.legs_of(leg);
        legs.any(|leg| {
            let member = self.members.get(&leg);
            member.is_some_and(|member| member.hop.names(number))
        })
    }

    /// A leg names its session (RFC 7989).
    pub fn say_session(&mut self, key: CallKey, id: &str) {
        // 32 hexadecimal digits, of which some are not 0 (section 5).
        if id.len() == 32
            && id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && id.bytes().any(|byte| byte != b'0')
        {
            self.say(key, Kind::Session, &id.to_ascii_lowercase());
        }
    }

    /// A leg says something that only legs of one conversation say: those that said it before are linked to it.
    fn say(&mut self, key: CallKey, kind: Kind, text: &str) {
        let token = Token::of(kind, &[text.as_bytes()]);
        let Some(member) = self.members.get_mut(&key) else {
            return;
        };
        if text.is_empty() || member.tokens.contains(&token) || member.tokens.len() == MAX_TOKENS {
            return;
        }
        member.tokens.push(token);
        let others = self.index.insert(token, key);
        for other in others {
            if self.agrees(kind, key, other) {
                self.link(other, key, kind.reason());
            }
        }
    }

    /// Whether two legs that said the same are of one conversation. A Call-ID or a session may be used again when the first
    /// call is over; and what a forger may copy needs a number that fits.
    fn agrees(&self, kind: Kind, key: CallKey, other: CallKey) -> bool {
        let (Some(member), Some(other)) = (self.members.get(&key), self.members.get(&other)) else {
            return false;
        };
        match kind {
            Kind::CallId => other.open && member.hop.shares_number(&other.hop),
            Kind::Session => other.open,
            _ => true,
        }
    }

    /// Links two legs. Says whether they are one interaction.
    pub fn link(&mut self, a: CallKey, b: CallKey, reason: LinkReason) -> bool {
        let is_known = self
            .members
            .get(&a)
            .is_none_or(|member| member.ties.iter().any(|tie| tie.other == b));
        if a == b || is_known || !self.members.contains_key(&b) {
            return false;
        }
        if !self.groups.join(a, b) {
            self.counters.too_many_legs += 1;
            return false;
        }
        self.counters.links += 1;
        for (key, other) in [(a, b), (b, a)] {
            if let Some(member) = self.members.get_mut(&key)
                && member.ties.len() < MAX_TIES
            {
                member.ties.push(Tie { other, reason });
            }
        }
        self.changed.extend(self.groups.legs_of(a));
        true
    }

    /// Whose a leg is.
    pub fn own(&mut self, key: CallKey, owners: impl Iterator<Item = TenantId>) {
        let Some(member) = self.members.get_mut(&key) else {
            return;
        };
        let owners: SmallVec<[TenantId; 2]> = owners.collect();
        if member.owners == owners {
            return;
        }
        member.owners = owners;
        for &tenant in &member.owners {
            let alone = named(member.began, &member.seed, tenant);
            self.groups.name(key, tenant, member.began, alone);
        }
        self.changed.extend(self.groups.legs_of(key));
    }

    /// One side of a leg was sent elsewhere: an INVITE that does as it was told is linked to the leg.
    pub fn refer(&mut self, referral: Referral) {
        self.referrals.push(referral);
    }

    /// A leg's BYE was answered: what says the same from now on is another call.
    pub fn part(&mut self, key: CallKey) {
        if let Some(member) = self.members.get_mut(&key) {
            member.open = false;
        }
    }

    /// A leg is over; its interaction keeps the name it has.
    pub fn close(&mut self, key: CallKey) {
        if let Some(member) = self.members.get_mut(&key) {
            member.open = false;
            self.groups.publish(key, &member.owners);
        }
    }

    pub fn forget(&mut self, key: CallKey) {
        if let Some(member) = self.members.remove(&key) {
            for token in &member.tokens {
                self.index.remove(*token, key);
            }
            self.groups.forget(key);
        }
    }

    /// Legs whose interaction or links became others, each once, in their order.
    pub fn take_changed(&mut self) -> Vec<CallKey> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// The interaction of a leg.
    pub fn of(&self, key: CallKey) -> Option<InteractionId> {
        self.groups.of(key)
    }

    /// What `tenant` calls it.
    pub fn of_tenant(&self, key: CallKey, tenant: TenantId) -> Option<InteractionId> {
        self.groups.of_tenant(key, tenant)
    }

    /// All legs of the interaction that `key` belongs to, `key` included, in their order.
    pub fn legs_of(&self, key: CallKey) -> Vec<CallKey> {
        self.groups.legs_of(key).collect()
    }

    /// What `key` is linked to.
    pub fn ties_of(&self, key: CallKey) -> &[Tie] {
        self.members.get(&key).map_or(&[], |member| &member.ties)
    }

    /// Takes samples of audio; legs that carry the same are linked when all have been heard.
    pub fn hear(&mut self, samples: &[Sample]) {
        for sample in samples {
            self.matches.hear(sample);
        }
    }

    /// When [`Interactions::handle_timeout`] has something to do next.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let waiting = self.waiting.front().map(|&(due, _)| due);
        let all = waiting.into_iter().chain(self.matches.next_timeout());
        all.chain(self.referrals.next_timeout()).min()
    }

    /// Links what waited for evidence to be complete.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((_, key)) = self.waiting.pop_front_if(|(due, _)| *due <= now) {
            self.settle_hop(key);
            self.settle_referral(key);
        }
        self.settle_lone_followers(now);
        for Verdict { a, b } in self.matches.judge(now) {
            if self.may_be_two_hops(a, b) {
                self.link(a, b, LinkReason::Audio);
            }
        }
    }

    /// Two calls between the same two places are two calls, whatever is played in both.
    pub fn may_be_two_hops(&self, a: CallKey, b: CallKey) -> bool {
        match (self.members.get(&a), self.members.get(&b)) {
            (Some(a), Some(b)) => !a.hop.is_parallel_to(&b.hop),
            _ => false,
        }
    }
}

/// What a tenant calls the interaction that one of its legs began: as much time and chance as its own leg shows anyway.
fn named(began: Timestamp, seed: &[u8; 32], tenant: TenantId) -> InteractionId {
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(b"interaction").update(tenant.0.as_bytes());
    let mut entropy = [0; 10];
    hasher.finalize_xof().fill(&mut entropy);
    InteractionId(crate::base::time_ordered(began, entropy))
}
