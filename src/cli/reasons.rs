//! Why a call is whose it is: for `callreel match` and `callreel calls show`.

use serde::Serialize;

use super::output::{self, Table, harmless};
use crate::base::{Side, TenantId};
use crate::directory::{Attribution, Candidate, Claim, Nearness, OwnedSides, Verdict, normalise};

/// A tenant's name by its id, as far as anybody knows it.
pub type Names<'a> = dyn Fn(TenantId) -> Option<String> + 'a;

/// `Acme Ltd`, or the id where there is no name.
pub fn tenant_name(names: &Names<'_>, id: TenantId) -> String {
    names(id)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| id.to_string())
}

/// Which of a side's identities was seen, and who claims it.
#[derive(Debug, Serialize)]
pub struct CandidateLine {
    side: Side,
    source: &'static str,
    seen: String,
    /// Empty where none was named.
    pub host: String,
    /// In the one spelling; as the claiming tenant rewrites it, where one claims it.
    number: Option<String>,
    claimed_by: Option<TenantId>,
}

impl CandidateLine {
    pub fn new(side: Side, candidate: &Candidate<'_>, attribution: &Attribution) -> CandidateLine {
        let claim = attribution
            .claim(side)
            .filter(|claim| claim.source == candidate.source && seen(claim) == candidate.user);
        let plain = || normalise(candidate.user, None).map(|number| number.as_str().to_owned());
        CandidateLine {
            side,
            source: candidate.source.name(),
            seen: candidate.user.to_owned(),
            host: candidate.host.to_owned(),
            number: claim.map(|claim| claim.number.clone()).or_else(plain),
            claimed_by: claim.map(|claim| claim.tenant),
        }
    }
}

/// The candidate as it stood in its header.
fn seen(claim: &Claim) -> &str {
    claim.seen.as_deref().unwrap_or(&claim.number)
}

pub fn print_candidates(lines: &[CandidateLine], names: &Names<'_>) {
    let mut table = Table::new(&["SIDE", "CANDIDATE", "SEEN", "NUMBER", "CLAIMED BY"]);
    for line in lines {
        let seen = match line.host.as_str() {
            "" => line.seen.clone(),
            host => format!("{}@{host}", line.seen),
        };
        table.row(vec![
            line.side.to_string(),
            line.source.into(),
            seen,
            line.number.clone().unwrap_or_else(|| "-".into()),
            line.claimed_by
                .map_or_else(|| "-".into(), |id| tenant_name(names, id)),
        ]);
    }
    table.print();
}

/// Verdict, owners, claims, and who else was considered.
pub fn print(attribution: &Attribution, names: &Names<'_>) {
    output::print(&format!("verdict: {}\n", verdict_text(attribution, names)));
    for side in Side::BOTH {
        if let Some(claim) = attribution.claim(side) {
            print_claim(side, claim, names);
        }
    }
    if attribution.considered.is_empty() {
        return;
    }
    output::print("\nconsidered:\n");
    let mut table = Table::new(&[
        "SIDE",
        "TENANT",
        "BY",
        "NUMBER",
        "RULE",
        "EXTENSION",
        "OUTCOME",
    ]);
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    for other in &attribution.considered {
        table.row(vec![
            other.side.to_string(),
            tenant_name(names, other.tenant),
            text(other.source.map(|source| source.to_string())),
            text(other.number.clone()),
            text(other.rule.as_ref().map(ToString::to_string)),
            text(other.extension_line.as_ref().map(ToString::to_string)),
            other.outcome.to_string(),
        ]);
    }
    table.print();
}

fn verdict_text(attribution: &Attribution, names: &Names<'_>) -> String {
    let owners: Vec<String> = attribution
        .owners
        .iter()
        .map(|owner| {
            let sides = match owner.sides {
                OwnedSides::Caller => "caller",
                OwnedSides::Callee => "callee",
                OwnedSides::Both => "both sides",
                OwnedSides::Neither => "neither side",
            };
            format!("{} ({sides})", harmless(&tenant_name(names, owner.tenant)))
        })
        .collect();
    match attribution.verdict {
        Verdict::Owned => format!("owned by {}", owners.join(" and ")),
        Verdict::Ambiguous => {
            format!("ambiguous, so it goes to {}", owners.join(" and "))
        }
        Verdict::Nobody => "nobody's".into(),
    }
}

fn print_claim(side: Side, claim: &Claim, names: &Names<'_>) {
    let nearness = match claim.nearness {
        Nearness::Near => "",
        Nearness::Far => ", by the other side's address only",
    };
    let user = claim
        .user
        .as_ref()
        .map_or_else(String::new, |user| match claim.allocated {
            true => format!(", allocated to user {user}"),
            false => format!(", user {user}"),
        });
    let text = [
        format!(
            "{side}: {} by {} {:?}, looked up as {}",
            tenant_name(names, claim.tenant),
            claim.source,
            seen(claim),
            claim.number
        ),
        format!(
            "  extension {}{user}: {}",
            claim.extension, claim.extension_line
        ),
        format!("  match rule{nearness}: {}", claim.rule),
    ];
    output::print(&text.map(|line| harmless(&line) + "\n").concat());
}
