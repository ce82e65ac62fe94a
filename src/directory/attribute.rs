//! Whose call is it? The fast path: one answer per INVITE, well under a microsecond whatever the directory's size.
//!
//! Two ways lead to it. Where few rules may hold (each tenant has its network, say), their tenants are asked for the
//! numbers. Where many may (thousands of tenants behind one PBX address), the numbers are looked up first, and those
//! who have them are asked for their rules. Both give the same answer.

use smallvec::SmallVec;

use super::attribution::{Attribution, CallFacts, Candidate, Claim, OwnedSides, Owner, Verdict};
use super::number::Number;
use super::numbering::Hits;
use super::rule::{Nearness, RuleHead};
use super::rule_index::MaybeHeld;
use super::snapshot::{Directory, Entry, Span};
use crate::base::{PerSide, SYSTEM_TENANT, Side};

/// So many rules are always asked one by one: it costs less than weighing the ways.
const FEW_RULES: usize = 8;

/// A claim while it is weighed: everything by index.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub weight: Weight,
    pub tenant: u32,
    pub rule: u32,
    pub entry: u32,
    pub candidate: usize,
    pub number: Number,
}

/// What makes one claim better than another, the smaller the better: nearness, then the rank of the candidate in the
/// tenant's order, then its place among the candidates of the same header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight {
    pub nearness: Nearness,
    rank: u8,
    occurrence: usize,
}

/// The best claim on a side, and one of another tenant that is as good.
#[derive(Clone, Copy, Default)]
pub(super) struct Best {
    pub winner: Option<Found>,
    pub rival: Option<Found>,
}

impl Best {
    /// Whether a claim of this weight could change anything.
    fn is_open_to(&self, weight: Weight) -> bool {
        (self.winner.as_ref()).is_none_or(|winner| weight <= winner.weight)
    }

    fn offer(&mut self, found: Found) {
        match &self.winner {
            Some(winner) if found.weight > winner.weight => {}
            Some(winner) if found.weight == winner.weight => {
                if found.tenant != winner.tenant && self.rival.is_none() {
                    self.rival = Some(found);
                }
            }
            _ => {
                *self = Best {
                    winner: Some(found),
                    rival: None,
                }
            }
        }
    }
}

/// A candidate as tenants with the same dialling habits see it.
#[derive(Clone)]
pub(super) struct Spelling<'d> {
    pub number: Number,
    pub hits: Hits<'d>,
}

impl Spelling<'_> {
    /// The most specific entry among a tenant's.
    pub fn entry_of(&self, entries: Span) -> Option<u32> {
        self.hits
            .iter()
            .find_map(|hit| first_from(hit, entries.start).filter(|entry| *entry < entries.end))
    }
}

/// The first entry of an ascending list that is not below `start`. Looks where it would be if the list were evenly
/// spread, which lists of numbers that all tenants use are, and goes on from there in growing steps.
fn first_from(list: &[u32], start: u32) -> Option<u32> {
    let (first, last) = (*list.first()?, *list.last()?);
    if start <= first || start > last {
        return (start <= first).then_some(first);
    }
    let spread = u64::from(last - first);
    let guess = u64::from(start - first) * (list.len() as u64 - 1) / spread.max(1);
    let guess = usize::try_from(guess).unwrap_or(0);
    let is_below = |at: usize| list.get(at).is_some_and(|entry| *entry < start);
    let (mut low, mut high, mut step) = (guess, guess, 1);
    if is_below(guess) {
        while is_below(high) {
            low = high;
            high += step;
            step *= 2;
        }
    } else {
        while low > 0 && !is_below(low) {
            high = low;
            low = low.saturating_sub(step);
            step *= 2;
        }
    }
    let window = list
        .get(low..(high + 1).min(list.len()))
        .unwrap_or_default();
    let at = low + window.partition_point(|entry| *entry < start);
    list.get(at).copied()
}

/// The candidates of one side, spelled when they are first needed.
struct Spellings<'d> {
    dialling: u32,
    known: SmallVec<[Option<Option<Spelling<'d>>>; 4]>,
}

impl<'d> Spellings<'d> {
    fn new() -> Self {
        Spellings {
            dialling: u32::MAX,
            known: SmallVec::new(),
        }
    }

    fn of(
        &mut self,
        directory: &'d Directory,
        dialling: u32,
        candidates: &[Candidate<'_>],
        index: usize,
    ) -> Option<&Spelling<'d>> {
        if self.dialling != dialling {
            self.dialling = dialling;
            self.known.clear();
        }
        let user = candidates.get(index)?.user;
        // From and Contact, Request-URI and To mostly name the same user.
        let first = candidates.iter().position(|other| other.user == user);
        let at = first.unwrap_or(index);
        while self.known.len() <= at {
            self.known.push(None);
        }
        let known = self.known.get_mut(at)?;
        known
            .get_or_insert_with(|| directory.spelling(dialling, user))
            .as_ref()
    }
}

impl Directory {
    /// Whose call it is. Pure: the same facts give the same answer for as long as the snapshot lives.
    pub fn attribute(&self, facts: &CallFacts<'_>) -> Attribution {
        let (facts, best) = self.weigh(facts);
        let mut attribution = self.answer(&facts, &best);
        if attribution.verdict == Verdict::Ambiguous {
            attribution.considered = self.considered(&facts, &best);
        }
        attribution
    }

    /// As [`Directory::attribute`], with everybody who was considered. For people; it takes its time.
    pub fn explain(&self, facts: &CallFacts<'_>) -> Attribution {
        let (facts, best) = self.weigh(facts);
        let mut attribution = self.answer(&facts, &best);
        attribution.considered = self.considered(&facts, &best);
        attribution
    }

    pub(super) fn spelling(&self, dialling: u32, user: &str) -> Option<Spelling<'_>> {
        let number = self.diallings.get(dialling as usize)?.number(user)?;
        let hits = self.numbering.hits(number.as_bytes());
        Some(Spelling { number, hits })
    }

    pub(super) fn best(&self, facts: &CallFacts<'_>) -> PerSide<Best> {
        let hosts = if self.rule_index.asks_hosts() {
            distinct_hosts(facts)
        } else {
            SmallVec::new()
        };
        let may_hold = self.rule_index.may_hold(facts, &hosts);
        let count = may_hold.count();
        let sides = PerSide {
            caller: Side::Caller,
            callee: Side::Callee,
        };
        if count == 0 {
            return PerSide::default();
        }
        if count > FEW_RULES
            && let Some(numbers) = self.numbers_below(facts, count)
        {
            return sides.map(|side| self.best_by_number(facts, side, &numbers));
        }
        let mut rules = may_hold.rules();
        rules.retain(|held| {
            let head = self.rule_head(held.rule);
            head.is_some_and(|head| !head.has_more || self.rest_holds(held.rule, facts))
        });
        sides.map(|side| self.best_by_rule(facts, side, &rules))
    }

    /// Among the tenants of `rules`, which all hold but for networks and domains. Each rule is weighed before a
    /// candidate is spelled: most lose by weight.
    fn best_by_rule(&self, facts: &CallFacts<'_>, side: Side, rules: &[MaybeHeld]) -> Best {
        let mut best = Best::default();
        let mut spellings = Spellings::new();
        let candidates = facts.candidates(side);
        for held in rules {
            let head = self.rule_head(held.rule);
            let nearness = head.and_then(|head| self.nearness_of(held, head, facts, side));
            let (Some(head), Some(nearness)) = (head, nearness) else {
                continue;
            };
            for (index, candidate) in candidates.iter().enumerate() {
                let weight = self.weight(head.order, side, nearness, candidates, index);
                let Some(weight) = weight.filter(|weight| best.is_open_to(*weight)) else {
                    continue;
                };
                if !self.domain_holds(head, candidate.host) {
                    continue;
                }
                let spelling = spellings.of(self, head.dialling, candidates, index);
                let entry = spelling.and_then(|spelling| spelling.entry_of(head.entries));
                if let (Some(spelling), Some(entry)) = (spelling, entry) {
                    best.offer(Found {
                        weight,
                        tenant: head.tenant,
                        rule: held.rule,
                        entry,
                        candidate: index,
                        number: spelling.number,
                    });
                }
            }
        }
        best
    }

    fn nearness_of(
        &self,
        held: &MaybeHeld,
        head: &RuleHead,
        facts: &CallFacts<'_>,
        side: Side,
    ) -> Option<Nearness> {
        if held.inside[side] {
            Some(Nearness::Near)
        } else if held.inside[side.other()] {
            Some(Nearness::Far)
        } else {
            self.nearness(head, facts, side)
        }
    }

    fn rest_holds(&self, rule: u32, facts: &CallFacts<'_>) -> bool {
        self.rule(rule)
            .is_some_and(|rule| rule.failing_key(facts).is_none())
    }

    pub(super) fn weight(
        &self,
        order: u32,
        side: Side,
        nearness: Nearness,
        candidates: &[Candidate<'_>],
        index: usize,
    ) -> Option<Weight> {
        let source = candidates.get(index)?.source;
        let rank = self.orders.get(order as usize)?.rank(side, source)?;
        let earlier = candidates.iter().take(index);
        Some(Weight {
            nearness,
            rank,
            occurrence: earlier.filter(|other| other.source == source).count(),
        })
    }

    /// All spellings of all candidates, when they fit fewer entries than `limit`.
    fn numbers_below(&self, facts: &CallFacts<'_>, limit: usize) -> Option<PerSide<Numbers<'_>>> {
        let candidates =
            facts.candidates(Side::Caller).len() + facts.candidates(Side::Callee).len();
        let mut cost = self.diallings.len() * candidates;
        let mut numbers: PerSide<Numbers<'_>> = PerSide {
            caller: Numbers::new(),
            callee: Numbers::new(),
        };
        if cost >= limit {
            return None;
        }
        for side in Side::BOTH {
            for (dialling, _) in (0_u32..).zip(&self.diallings) {
                for (index, candidate) in facts.candidates(side).iter().enumerate() {
                    if let Some(spelling) =
                        self.spelling_again(facts, side, &numbers[side], dialling, candidate)
                    {
                        cost += spelling.hits.iter().map(|hit| hit.len()).sum::<usize>();
                        numbers[side].push((dialling, index, spelling));
                    }
                    if cost >= limit {
                        return None;
                    }
                }
            }
        }
        Some(numbers)
    }

    /// A candidate's spelling, taken from an earlier candidate of the same user where there is one.
    fn spelling_again<'d>(
        &'d self,
        facts: &CallFacts<'_>,
        side: Side,
        known: &Numbers<'d>,
        dialling: u32,
        candidate: &Candidate<'_>,
    ) -> Option<Spelling<'d>> {
        let same = |(with, index, _): &&(u32, usize, Spelling<'_>)| {
            let earlier = facts.candidates(side).get(*index);
            *with == dialling && earlier.is_some_and(|earlier| earlier.user == candidate.user)
        };
        match known.iter().find(same) {
            Some((_, _, spelling)) => Some(spelling.clone()),
            None => self.spelling(dialling, candidate.user),
        }
    }

    fn best_by_number(
        &self,
        facts: &CallFacts<'_>,
        side: Side,
        numbers: &PerSide<Numbers<'_>>,
    ) -> Best {
        let mut best = Best::default();
        for (dialling, index, spelling) in &numbers[side] {
            for entry in spelling.hits.iter().copied().flatten() {
                self.offer_entry(
                    facts,
                    side,
                    (*dialling, *index),
                    (*entry, &spelling.number),
                    &mut best,
                );
            }
        }
        best
    }

    fn offer_entry(
        &self,
        facts: &CallFacts<'_>,
        side: Side,
        (dialling, index): (u32, usize),
        (entry, number): (u32, &Number),
        best: &mut Best,
    ) {
        let owner = self.entry(entry);
        let candidates = facts.candidates(side);
        let (Some(owner), Some(candidate)) = (owner, candidates.get(index)) else {
            return;
        };
        let rules = self.rule_heads.get(owner.first_rule as usize..);
        let own = |head: &&RuleHead| head.tenant == owner.tenant && head.dialling == dialling;
        let rules = rules.unwrap_or_default().iter().take_while(own);
        for (rule_at, head) in (owner.first_rule..).zip(rules) {
            let Some(nearness) = self.nearness(head, facts, side) else {
                continue;
            };
            let Some(weight) = self.weight(head.order, side, nearness, candidates, index) else {
                return;
            };
            if best.is_open_to(weight)
                && self.domain_holds(head, candidate.host)
                && (!head.has_more || self.rest_holds(rule_at, facts))
            {
                best.offer(Found {
                    weight,
                    tenant: head.tenant,
                    rule: rule_at,
                    entry,
                    candidate: index,
                    number: *number,
                });
            }
        }
    }

    pub(super) fn answer(&self, facts: &CallFacts<'_>, best: &PerSide<Best>) -> Attribution {
        let claim = |side: Side| {
            let settled = best[side].winner.filter(|_| best[side].rival.is_none())?;
            self.claim(facts, side, &settled)
        };
        let (caller, callee) = (claim(Side::Caller), claim(Side::Callee));
        let ambiguous = best.iter().any(|(_, best)| best.rival.is_some());
        let mut owners: SmallVec<[Owner; 2]> = SmallVec::new();
        let mut own = |tenant, sides| owners.push(Owner { tenant, sides });
        match (&caller, &callee) {
            _ if ambiguous => own(SYSTEM_TENANT, OwnedSides::Neither),
            (Some(a), Some(b)) if a.tenant == b.tenant => own(a.tenant, OwnedSides::Both),
            (a, b) => {
                a.iter().for_each(|a| own(a.tenant, OwnedSides::Caller));
                b.iter().for_each(|b| own(b.tenant, OwnedSides::Callee));
            }
        }
        let verdict = match (ambiguous, owners.is_empty()) {
            (true, _) => Verdict::Ambiguous,
            (false, true) => Verdict::Nobody,
            (false, false) => Verdict::Owned,
        };
        Attribution {
            owners,
            caller,
            callee,
            verdict,
            considered: Vec::new(),
        }
    }

    fn claim(&self, facts: &CallFacts<'_>, side: Side, found: &Found) -> Option<Claim> {
        let entry = self.entry(found.entry)?;
        let rule = self.rule_head(found.rule)?;
        let candidate = facts.candidates(side).get(found.candidate)?;
        Some(Claim {
            tenant: rule.tenant_id,
            extension: self.extension_of(found, entry)?.into(),
            user: self.user(entry).cloned(),
            number: found.number.as_str().to_owned(),
            seen: (candidate.user != found.number.as_str()).then(|| candidate.user.to_owned()),
            source: candidate.source,
            nearness: found.weight.nearness,
            rule: self.place(rule.file, rule.line),
            extension_line: self.place(entry.file, entry.line),
            policy: entry.policy.policy(),
            allocated: entry.of_user.is_allocated(),
            users_policy: entry.of_user.has_policy(),
        })
    }

    fn extension_of<'f>(&'f self, found: &'f Found, entry: &Entry) -> Option<&'f str> {
        if entry.is_number && entry.main == found.entry {
            // The number itself: its text among a million others would be a wait for memory.
            return Some(found.number.as_str());
        }
        Some(self.entry_text(self.entry(entry.main)?))
    }
}

/// Spellings of one side's candidates: dialling habits, index of the candidate, what it fits.
type Numbers<'d> = SmallVec<[(u32, usize, Spelling<'d>); 4]>;

fn distinct_hosts<'a>(facts: &CallFacts<'a>) -> SmallVec<[&'a str; 4]> {
    let mut hosts: SmallVec<[&str; 4]> = SmallVec::new();
    for side in Side::BOTH {
        for candidate in facts.candidates(side) {
            if !hosts.contains(&candidate.host) {
                hosts.push(candidate.host);
            }
        }
    }
    hosts
}
