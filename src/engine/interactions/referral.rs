//! Blind transfers: a side that was told to call somebody else, and the call it then makes.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use super::hop::Hop;
use super::{Interactions, plain_number};
use crate::base::{Timestamp, Vantage};
use crate::engine::event::LinkReason;
use crate::engine::plan::CallKey;

/// How long after a REFER its INVITE may come.
const PATIENCE: Duration = Duration::from_secs(30);
/// As long, where nothing but the number called says that it is that INVITE.
const PROMPT: Duration = Duration::from_secs(5);
/// After so long a leg that only has the number is taken, if no other one came that has it too, or that is the better one.
const LONE: Duration = Duration::from_secs(3);
/// Legs that may follow one referral, kept to know that they are more than one.
const MAX_FOLLOWERS: usize = 8;
/// Referrals that wait for their INVITE; beyond it the oldest goes.
const MAX_REFERRALS: usize = 1024;

/// That whoever received a REFER will call a number (RFC 3515).
#[derive(Clone, Debug)]
pub struct Referral {
    /// The leg it was said in.
    pub leg: CallKey,
    pub at: Timestamp,
    pub vantage: Vantage,
    /// Who received it.
    pub host: IpAddr,
    /// User part of the target.
    pub to: String,
}

/// One that waits.
#[derive(Debug)]
struct Pending {
    referral: Referral,
    /// Legs that have its number and nothing else of it.
    followers: SmallVec<[CallKey; 2]>,
}

impl Pending {
    /// Whether a leg leaves the host that was asked, for who was asked for.
    fn meets(&self, hop: &Hop) -> bool {
        let referral = &self.referral;
        referral.vantage == hop.vantage
            && referral.host == hop.source.ip()
            && hop.callee.iter().any(|number| **number == *referral.to)
    }
}

#[derive(Debug, Default)]
pub struct Referrals {
    pending: VecDeque<Pending>,
    /// Legs that may follow one, and when that is decided.
    undecided: VecDeque<(Timestamp, CallKey)>,
}

impl Referrals {
    pub fn push(&mut self, mut referral: Referral) {
        let Some(number) = plain_number(&referral.to) else {
            return;
        };
        referral.to = number;
        if self.pending.len() == MAX_REFERRALS {
            self.pending.pop_front();
        }
        self.pending.push_back(Pending {
            referral,
            followers: SmallVec::new(),
        });
    }

    /// What was asked for last in `leg` was not done.
    pub fn withdraw(&mut self, leg: CallKey) {
        let last = self.pending.iter().rposition(|p| p.referral.leg == leg);
        if let Some(at) = last {
            self.pending.remove(at);
        }
    }

    /// The leg whose referral a new one follows, of those that `fits` says it may be of; once.
    pub fn take(
        &mut self,
        hop: &Hop,
        began: Timestamp,
        fits: impl Fn(CallKey) -> bool,
    ) -> Option<CallKey> {
        let over = |oldest: &mut Pending| oldest.referral.at + PATIENCE < began;
        while self.pending.pop_front_if(over).is_some() {}
        let mut all = self.pending.iter();
        let at = all.position(|pending| pending.meets(hop) && fits(pending.referral.leg))?;
        self.pending.remove(at).map(|taken| taken.referral.leg)
    }

    /// Notes that a leg may follow a referral.
    fn consider(&mut self, key: CallKey, hop: &Hop, began: Timestamp) {
        let is_prompt = |pending: &&mut Pending| {
            let at = pending.referral.at;
            pending.meets(hop) && at <= began && began <= at + PROMPT
        };
        let mut may_follow = false;
        for pending in self.pending.iter_mut().filter(is_prompt) {
            may_follow = true;
            if pending.followers.len() < MAX_FOLLOWERS {
                pending.followers.push(key);
            }
        }
        if may_follow {
            self.undecided.push_back((began + LONE, key));
        }
    }

    /// The leg of the only referral that `key` may follow, if nobody else may, of those that `is_free` says may follow any; once.
    fn take_only(&mut self, key: CallKey, is_free: impl Fn(CallKey) -> bool) -> Option<CallKey> {
        let may_follow = |pending: &&Pending| pending.followers.contains(&key);
        let mut of_key = self.pending.iter().filter(may_follow);
        let (only, other) = (of_key.next()?, of_key.next());
        let is_alone = |other: &CallKey| *other == key || !is_free(*other);
        if other.is_some() || !is_free(key) || !only.followers.iter().all(is_alone) {
            return None;
        }
        let at = self.pending.iter().position(|p| may_follow(&p))?;
        self.pending.remove(at).map(|taken| taken.referral.leg)
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.undecided.front().map(|&(due, _)| due)
    }
}

impl Interactions {
    /// What was asked for last by a REFER in `leg` was not done.
    pub fn withdraw_referral(&mut self, leg: CallKey) {
        self.referrals.withdraw(leg);
    }

    /// Links a leg to the one whose referral it follows, of those that `fits` says.
    pub(super) fn follow_referral(
        &mut self,
        key: CallKey,
        fits: impl Fn(&Self, CallKey, &Hop) -> bool,
    ) {
        let mut referrals = std::mem::take(&mut self.referrals);
        let referred = self.members.get(&key).and_then(|member| {
            referrals.take(&member.hop, member.began, |leg| {
                fits(self, leg, &member.hop)
            })
        });
        self.referrals = referrals;
        if let Some(leg) = referred {
            self.link(leg, key, LinkReason::Refer);
        }
    }

    /// Looks after a leg that none brought, and whose caller is of nobody's conversation that was referred: of a caller who is not known
    /// it may be. Where it names somebody, a PBX may have put in a number of its own, which is known when no other such leg has come.
    pub(super) fn settle_referral(&mut self, key: CallKey) {
        if self.has_cause(key) {
            return;
        }
        self.follow_referral(key, |_, _, hop| hop.caller.is_empty());
        if let Some(member) = self.members.get(&key)
            && !member.hop.caller.is_empty()
            && !member
                .ties
                .iter()
                .any(|tie| tie.reason == LinkReason::Refer)
        {
            self.referrals.consider(key, &member.hop, member.began);
        }
    }

    /// Decides which legs follow the only referral that they may.
    pub(super) fn settle_lone_followers(&mut self, now: Timestamp) {
        let mut referrals = std::mem::take(&mut self.referrals);
        while let Some((_, key)) = referrals.undecided.pop_front_if(|(due, _)| *due <= now) {
            let is_free = |key| self.members.contains_key(&key) && !self.has_cause(key);
            if let Some(leg) = referrals.take_only(key, is_free) {
                self.link(leg, key, LinkReason::Refer);
            }
        }
        self.referrals = referrals;
    }
}
