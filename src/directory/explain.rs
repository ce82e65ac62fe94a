//! Who else was considered for a call, and why it was not theirs.

use super::attribute::{Best, Found};
use super::attribution::{CallFacts, Considered, MAX_CONSIDERED, Outcome};
use super::rule::{Nearness, Rule, RuleKey, domain_holds, nearness};
use super::snapshot::{Directory, Tenant};
use crate::base::{PerSide, Side};

/// Most entries and rules looked at for a side before the account is cut short.
const LOOKED_AT: usize = 4096;

impl Directory {
    /// Claims first, then those who have the number, then those whose rule holds; the two sides share the room.
    pub(super) fn considered(
        &self,
        facts: &CallFacts<'_>,
        best: &PerSide<Best>,
    ) -> Vec<Considered> {
        let mut all = Vec::new();
        for side in Side::BOTH {
            let mut of_side = self.who_has_the_number(facts, side, &best[side]);
            self.add_who_is_near(facts, side, &mut of_side);
            of_side.sort_by_key(|considered| precedence(considered.outcome));
            of_side.truncate(MAX_CONSIDERED / 2);
            all.append(&mut of_side);
        }
        all
    }

    fn who_has_the_number(
        &self,
        facts: &CallFacts<'_>,
        side: Side,
        best: &Best,
    ) -> Vec<Considered> {
        let mut found: Vec<Considered> = Vec::new();
        let mut looked_at = 0;
        for (index, candidate) in facts.candidates(side).iter().enumerate() {
            for (dialling, _) in (0_u32..).zip(&self.diallings).take(LOOKED_AT) {
                let Some(spelling) = self.spelling(dialling, candidate.user) else {
                    continue;
                };
                for entry in spelling.hits.iter().copied().flatten() {
                    looked_at += 1;
                    if looked_at > LOOKED_AT {
                        return found;
                    }
                    let Some(tenant) = self.tenant_of(*entry, dialling) else {
                        continue;
                    };
                    if found.iter().any(|known| known.tenant == tenant.id) {
                        continue;
                    }
                    let (rule, outcome) = self.outcome(facts, side, index, tenant, best);
                    found.push(Considered {
                        side,
                        tenant: tenant.id,
                        source: Some(candidate.source),
                        number: Some(spelling.number.as_str().to_owned()),
                        rule: rule.map(|rule| self.place(rule.file, rule.line)),
                        extension_line: self.entry(*entry).map(|e| self.place(e.file, e.line)),
                        outcome,
                    });
                }
            }
        }
        found
    }

    fn tenant_of(&self, entry: u32, dialling: u32) -> Option<&Tenant> {
        let at = self.entry(entry)?.tenant;
        let same = self.standing(at)?.dialling == dialling;
        self.tenant_at(at).filter(|_| same)
    }

    /// What became of a tenant with a fitting extension: by its best rule, or the first that fails.
    fn outcome(
        &self,
        facts: &CallFacts<'_>,
        side: Side,
        index: usize,
        tenant: &Tenant,
        best: &Best,
    ) -> (Option<&Rule>, Outcome) {
        let won = |found: &Option<Found>| found.filter(|found| self.is(found.tenant, tenant));
        if let Some(found) = won(&best.winner) {
            let equal = best.rival.is_some();
            let outcome = if equal {
                Outcome::Equal
            } else {
                Outcome::Claims
            };
            return (self.rule(found.rule), outcome);
        }
        let mut failed = None;
        let mut held: Option<(&Rule, Nearness)> = None;
        let rules = self
            .standing(tenant.index)
            .map(|standing| standing.rules)
            .unwrap_or_default();
        for rule in rules.iter().filter_map(|at| self.rule(at)) {
            match self.failing(facts, side, index, rule) {
                Ok(nearness) if held.is_none_or(|(_, best)| nearness < best) => {
                    held = Some((rule, nearness));
                }
                Ok(_) => {}
                Err(key) => failed = failed.or(Some((rule, key))),
            }
        }
        match (held, failed) {
            (Some((rule, nearness)), _) => {
                let outcome = match (&best.rival, &best.winner) {
                    (Some(rival), _) if self.is(rival.tenant, tenant) => Outcome::Equal,
                    (_, Some(winner)) if nearness > winner.weight.nearness => Outcome::Farther,
                    _ => self.beaten_by_order(facts, side, index, tenant, nearness, best),
                };
                (Some(rule), outcome)
            }
            (None, Some((rule, key))) => (Some(rule), Outcome::RuleFails { key }),
            (None, None) => (None, Outcome::NoRule),
        }
    }

    fn beaten_by_order(
        &self,
        facts: &CallFacts<'_>,
        side: Side,
        index: usize,
        tenant: &Tenant,
        nearness: Nearness,
        best: &Best,
    ) -> Outcome {
        let standing = self.standing(tenant.index);
        let candidates = facts.candidates(side);
        let weight = standing
            .and_then(|standing| self.weight(standing.order, side, nearness, candidates, index));
        // With three or more equal claims only one is kept as the rival.
        let equal = weight.is_some() && weight == best.winner.map(|winner| winner.weight);
        if equal {
            Outcome::Equal
        } else {
            Outcome::LaterCandidate
        }
    }

    fn is(&self, at: u32, tenant: &Tenant) -> bool {
        at == tenant.index
    }

    fn failing(
        &self,
        facts: &CallFacts<'_>,
        side: Side,
        index: usize,
        rule: &Rule,
    ) -> Result<Nearness, RuleKey> {
        let nearness = nearness(rule.networks.spans(), facts, side).ok_or(RuleKey::Networks)?;
        if let Some(key) = rule.failing_key(facts) {
            return Err(key);
        }
        let host = facts
            .candidates(side)
            .get(index)
            .map_or("", |candidate| candidate.host);
        if domain_holds(&rule.domains, host) {
            Ok(nearness)
        } else {
            Err(RuleKey::Domains)
        }
    }

    fn add_who_is_near(&self, facts: &CallFacts<'_>, side: Side, found: &mut Vec<Considered>) {
        let hosts: Vec<&str> = facts.candidates(side).iter().map(|c| c.host).collect();
        let may_hold = self.rule_index.may_hold(facts, &hosts);
        for held in may_hold.rules().iter().take(LOOKED_AT) {
            if found.len() >= MAX_CONSIDERED {
                return;
            }
            let Some(rule) = self.rule(held.rule) else {
                continue;
            };
            let Some(tenant) = self.tenant_at(rule.tenant) else {
                continue;
            };
            let known = found.iter().any(|known| known.tenant == tenant.id);
            let holds = |index| self.failing(facts, side, index, rule).is_ok();
            if known || !(0..hosts.len()).any(holds) {
                continue;
            }
            found.push(Considered {
                side,
                tenant: tenant.id,
                source: None,
                number: None,
                rule: Some(self.place(rule.file, rule.line)),
                extension_line: None,
                outcome: Outcome::NoExtension,
            });
        }
    }
}

/// What is shown first when there is no room for all.
fn precedence(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Claims => 0,
        Outcome::Equal => 1,
        Outcome::Farther | Outcome::LaterCandidate => 2,
        Outcome::RuleFails { .. } | Outcome::NoRule => 3,
        Outcome::NoExtension => 4,
    }
}
