//! Who answered, as somebody outside a tenant's networks says.
//!
//! An answer may name anybody. Who is called is chosen by who calls, from within; who answers is told by whoever was reached, which
//! may be a stranger. So what an answer says counts for a tenant where it comes from its own networks (or the rule names none); or
//! where the number that was dialled is the tenant's too: then it reached the tenant's phones through a PBX that is elsewhere, which
//! may say who of them it was.

use super::attribute::Best;
use super::attribution::{Attribution, CallFacts};
use super::rule::Nearness;
use super::snapshot::Directory;
use crate::base::{PerSide, Side};

impl Directory {
    /// As [`Directory::attribute`], whoever says it. For what is said within a call, of which more is known.
    pub fn attribute_as_said(&self, facts: &CallFacts<'_>) -> Attribution {
        self.answer(facts, &self.best(facts))
    }

    /// The facts that count, and the best claims by them.
    pub(super) fn weigh<'f>(&self, facts: &CallFacts<'f>) -> (CallFacts<'f>, PerSide<Best>) {
        let best = self.best(facts);
        if !is_hearsay(facts, &best.callee) {
            return (*facts, best);
        }
        let is_dialled = |at: &usize| {
            let candidate = facts.callee.get(*at);
            candidate.is_none_or(|candidate| !candidate.source.is_of_answer())
        };
        let from = (0..).find(is_dialled).unwrap_or(usize::MAX);
        let dialled = CallFacts {
            callee: facts.callee.get(from..).unwrap_or_default(),
            ..*facts
        };
        let by_dialled = self.best(&dialled);
        let tenant = |best: &PerSide<Best>| best.callee.winner.map(|winner| winner.tenant);
        if best.callee.rival.is_none() && tenant(&best) == tenant(&by_dialled) {
            (*facts, best)
        } else {
            (dialled, by_dialled)
        }
    }
}

/// Whether a claim on the callee rests on what somebody outside the tenant's networks answered.
fn is_hearsay(facts: &CallFacts<'_>, callee: &Best) -> bool {
    callee.winner.is_some_and(|winner| {
        let candidate = facts.candidates(Side::Callee).get(winner.candidate);
        winner.weight.nearness == Nearness::Far
            && candidate.is_some_and(|candidate| candidate.source.is_of_answer())
    })
}
