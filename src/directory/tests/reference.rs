//! The tables compared with a walk over every tenant, rule, extension and candidate.

use proptest::prelude::*;

use super::*;

type Weight = (Nearness, u8, usize);

fn rule_holds(rule: &MatchRule, facts: &CallFacts<'_>, side: Side, host: &str) -> Option<Nearness> {
    let inside = |address: IpAddr| {
        let set = network::NetworkSet::new(&rule.networks);
        network::contains(set.spans(), network::ordinal(address))
    };
    let (own, other) = match side {
        Side::Caller => (facts.caller_address, facts.callee_address),
        Side::Callee => (facts.callee_address, facts.caller_address),
    };
    let rest = (rule.vlans.is_empty() || facts.vlans.iter().any(|vlan| rule.vlans.contains(vlan)))
        && (rule.tunnels.is_empty() || rule.tunnels.iter().any(|name| facts.tunnels.are_in(*name)))
        && (rule.sensors.is_empty() || rule.sensors.iter().any(|sensor| **sensor == *facts.sensor))
        && (rule.domains.is_empty() || rule.domains.iter().any(|domain| domain.holds(host)));
    match () {
        () if !rest => None,
        () if rule.networks.is_empty() || inside(own) => Some(Nearness::Near),
        () if inside(other) => Some(Nearness::Far),
        () => None,
    }
}

fn fits(pattern: &ExtensionPattern, number: &str) -> bool {
    match pattern {
        ExtensionPattern::Number(text) => **text == *number,
        ExtensionPattern::Prefix(text) => number.starts_with(&**text),
        ExtensionPattern::Range { first, last } => {
            number.len() == first.len() && (&**first..=&**last).contains(&number)
        }
    }
}

/// The tenants with the best claim on a side.
fn best(tenants: &[TenantDefinition], facts: &CallFacts<'_>, side: Side) -> Vec<TenantId> {
    let candidates = match side {
        Side::Caller => facts.caller,
        Side::Callee => facts.callee,
    };
    let mut claims: Vec<(Weight, TenantId)> = Vec::new();
    for tenant in tenants {
        for (index, candidate) in candidates.iter().enumerate() {
            let earlier = candidates.iter().take(index);
            let occurrence = earlier
                .filter(|other| other.source == candidate.source)
                .count();
            let fitting = tenant
                .extensions
                .iter()
                .any(|e| fits(&e.pattern, candidate.user));
            let Some(rank) = tenant.candidates.rank(side, candidate.source) else {
                continue;
            };
            for rule in tenant.rules.iter().filter(|_| fitting) {
                if let Some(nearness) = rule_holds(rule, facts, side, candidate.host) {
                    claims.push(((nearness, rank, occurrence), tenant.id));
                }
            }
        }
    }
    let best = claims.iter().map(|(weight, _)| *weight).min();
    let mut winners: Vec<TenantId> = claims
        .into_iter()
        .filter(|(weight, _)| Some(*weight) == best)
        .map(|(_, id)| id)
        .collect();
    winners.sort_unstable();
    winners.dedup();
    winners
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(
    choices: &[T],
) -> impl Strategy<Value = T> + use<T> {
    proptest::sample::select(choices.to_vec())
}

fn some_of<T: Clone + std::fmt::Debug + 'static>(
    choices: &[T],
) -> impl Strategy<Value = Vec<T>> + use<T> {
    prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::collection::vec(one_of(choices), 1..3),
    ]
}

const NETWORKS: [&str; 6] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.2.0.0/16",
    "0.0.0.0/0",
    "2001:db8::/32",
];
const ADDRESSES: [&str; 5] = [
    "10.1.1.1",
    "10.1.2.1",
    "10.2.0.1",
    "192.0.2.1",
    "2001:db8::1",
];
const HOSTS: [&str; 4] = ["a.example.com", "b.example.com", "x.b.example.com", ""];
const TUNNELS: [&str; 4] = ["vxlan:1", "vxlan:2", "vxlan", "erspan:7"];
const DOMAINS: [&str; 3] = ["a.example.com", "*.example.com", "*.b.example.com"];

prop_compose! {
    fn any_rule()(
        networks in some_of(&NETWORKS),
        vlans in some_of(&[1_u16, 2, 3]),
        sensors in some_of(&["n", "s"]),
        names in some_of(&TUNNELS),
        domains in some_of(&DOMAINS),
    ) -> MatchRule {
        let mut rule = MatchRule::new(Place::new("t", 1));
        rule.networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        rule.vlans = vlans;
        rule.tunnels = names.iter().map(|name| name.parse().unwrap()).collect();
        rule.sensors = sensors.into_iter().map(Arc::from).collect();
        rule.domains = domains.into_iter().map(|domain| Domain::new(domain).unwrap()).collect();
        rule.trust_signalling = true;
        if !rule.has_network_fact() && !rule.has_claim() {
            rule.networks.push("10.1.0.0/16".parse().unwrap());
        }
        rule
    }
}

fn any_pattern() -> impl Strategy<Value = ExtensionPattern> {
    prop_oneof![
        4 => (0_u32..40).prop_map(|n| ExtensionPattern::number(&format!("1{n:02}")).unwrap()),
        1 => (0_u32..4, 0_u32..10).prop_map(|(tens, span)| {
            let (first, last) = (100 + tens * 10, 100 + tens * 10 + span);
            ExtensionPattern::range(&format!("{first}-{last}")).unwrap()
        }),
        1 => one_of(&["1", "10", "12"]).prop_map(|text| ExtensionPattern::prefix(text).unwrap()),
    ]
}

prop_compose! {
    fn any_tenant()(
        rules in proptest::collection::vec(any_rule(), 0..3),
        patterns in proptest::collection::vec(any_pattern(), 0..5),
        plain_order in any::<bool>(),
    ) -> Draft {
        let mut draft = tenant(0);
        draft.0.rules = rules;
        if !plain_order {
            draft.0.candidates = CandidateOrder::new(
                &[CandidateSource::Contact, CandidateSource::From],
                &[CandidateSource::To],
            );
        }
        patterns.into_iter().fold(draft, |draft, pattern| {
            let known = draft.0.extensions.iter().any(|known| {
                known.pattern == pattern || matches!((&known.pattern, &pattern), (ExtensionPattern::Range { .. }, ExtensionPattern::Range { .. }))
            });
            if known { draft } else { draft.pattern(pattern, &[], None) }
        })
    }
}

prop_compose! {
    fn any_call()(
        users in proptest::collection::vec((0_u32..45, one_of(&HOSTS)), 4),
        addresses in proptest::collection::vec(one_of(&ADDRESSES), 2),
        vlans in some_of(&[1_u16, 2, 3]),
        sensor in one_of(&["n", "s", "e"]),
        around in some_of(&TUNNELS),
    ) -> (Vec<(String, &'static str)>, Vec<&'static str>, Vec<u16>, &'static str, Tunnels) {
        let users = users.into_iter().map(|(n, host)| (format!("1{n:02}"), host)).collect();
        (users, addresses, vlans, sensor, tunnels(&around))
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.0.rules, self.0.extensions)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Compiled without the clash proof, so that ambiguous directories are exercised too.
    #[test]
    fn attribution_agrees_with_a_walk_over_everything(
        drafts in proptest::collection::vec(any_tenant(), 1..14),
        (users, addresses, vlans, sensor, tunnels) in any_call(),
    ) {
        let definitions: Vec<TenantDefinition> = drafts
            .into_iter()
            .zip(1..)
            .map(|(mut draft, n)| {
                draft.0.id = id(n);
                draft.0
            })
            .collect();
        let directory = compile::without_proof(definitions.clone());
        let sources = [CandidateSource::From, CandidateSource::Contact, CandidateSource::RequestUri, CandidateSource::To];
        let candidates: Vec<Candidate<'_>> = users
            .iter()
            .zip(sources)
            .map(|((user, host), source)| Candidate { source, user, host })
            .collect();
        let facts = CallFacts {
            sensor,
            interface: "span0",
            vlans: &vlans,
            caller_address: addresses[0].parse().unwrap(),
            callee_address: addresses[1].parse().unwrap(),
            caller: &candidates[..2],
            callee: &candidates[2..],
            headers: &|_| None,
            tunnels,
        };
        let attribution = directory.attribute(&facts);
        let mut ambiguous = false;
        for side in Side::BOTH {
            let winners = best(&definitions, &facts, side);
            let claimed = attribution.claim(side).map(|claim| claim.tenant);
            ambiguous |= winners.len() > 1;
            prop_assert_eq!(claimed, winners.first().copied().filter(|_| winners.len() == 1));
        }
        prop_assert_eq!(attribution.verdict == Verdict::Ambiguous, ambiguous);
        let mut explained = directory.explain(&facts);
        prop_assert!(explained.considered.len() <= MAX_CONSIDERED);
        explained.considered = attribution.considered.clone();
        prop_assert_eq!(explained, attribution);
    }

    /// A directory that passes the proof never gives one number of one candidate to two tenants by rules of the same
    /// nearness; one that fails it names a pair that some call shows.
    #[test]
    fn the_proof_agrees_with_a_comparison_of_all_pairs(drafts in proptest::collection::vec(any_tenant(), 2..6)) {
        let definitions: Vec<TenantDefinition> = drafts
            .into_iter()
            .zip(1..)
            .map(|(mut draft, n)| {
                draft.0.id = id(n);
                draft.0
            })
            .collect();
        let clashes = |a: &TenantDefinition, b: &TenantDefinition| {
            let meet = (0..1000).flat_map(|n| [format!("{n:03}"), format!("{n:04}"), n.to_string()]).any(|number| {
                let has = |tenant: &TenantDefinition| tenant.extensions.iter().any(|e| fits(&e.pattern, &number));
                has(a) && has(b)
            });
            let rules = |tenant: &TenantDefinition| -> Vec<rule::Rule> {
                tenant.rules.iter().map(|r| rule::Rule::new(r, 0, 0)).collect()
            };
            meet && rules(a).iter().any(|a| rules(b).iter().any(|b| !a.excludes(b)))
        };
        let pairs = definitions.iter().enumerate();
        let any = pairs.clone().any(|(at, a)| definitions[at + 1..].iter().any(|b| clashes(a, b)));
        prop_assert_eq!(Directory::compile(definitions.clone(), None).is_err(), any);
    }
}
