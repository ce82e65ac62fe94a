//! The room as a whole: ownership, reasons, clashes.

mod reference;

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::base::{SYSTEM_TENANT, Side, TenantId, Tunnels};

fn id(n: u8) -> TenantId {
    TenantId(uuid::Uuid::from_u128(
        0x34c7f1f6_9201_11e5_a739_000000000000 + u128::from(n),
    ))
}

/// A tenant whose rules are on lines 10, 11, … and whose extensions are on lines 100, 101, … of `tN.toml`.
struct Draft(TenantDefinition);

fn tenant(n: u8) -> Draft {
    let place = Place::new(format!("t{n}.toml"), 1);
    Draft(TenantDefinition::new(id(n), format!("Tenant {n}"), place))
}

impl Draft {
    fn line(&self, line: usize) -> Place {
        Place::new(self.0.place.file.clone(), u32::try_from(line).unwrap())
    }

    fn rule(mut self, change: impl FnOnce(&mut MatchRule)) -> Self {
        let mut rule = MatchRule::new(self.line(10 + self.0.rules.len()));
        change(&mut rule);
        self.0.rules.push(rule);
        self
    }

    fn networks(self, networks: &[&str]) -> Self {
        self.rule(|rule| rule.networks = networks.iter().map(|n| n.parse().unwrap()).collect())
    }

    fn pattern(mut self, pattern: ExtensionPattern, aliases: &[&str], user: Option<&str>) -> Self {
        let place = self.line(100 + self.0.extensions.len());
        let alias = |number: &&str| Alias {
            number: (*number).into(),
            place: place.clone(),
        };
        self.0.extensions.push(ExtensionDefinition {
            pattern,
            aliases: aliases.iter().map(alias).collect(),
            user: user.map(Arc::from),
            place: place.clone(),
            policy: None,
            allocated: false,
        });
        self
    }

    fn number(self, number: &str) -> Self {
        self.pattern(ExtensionPattern::number(number).unwrap(), &[], None)
    }

    fn range(self, range: &str) -> Self {
        self.pattern(ExtensionPattern::range(range).unwrap(), &[], None)
    }

    fn prefix(self, prefix: &str) -> Self {
        self.pattern(ExtensionPattern::prefix(prefix).unwrap(), &[], None)
    }
}

fn compile(drafts: impl IntoIterator<Item = Draft>) -> Result<Directory, Vec<Error>> {
    Directory::compile(drafts.into_iter().map(|draft| draft.0).collect(), None)
}

/// A call with one candidate a side, From and Request-URI, written `user@host`.
struct Call<'a> {
    caller: Vec<Candidate<'a>>,
    callee: Vec<Candidate<'a>>,
    addresses: [IpAddr; 2],
    vlans: Vec<u16>,
    tunnels: Tunnels,
    sensor: &'a str,
    header: &'a str,
}

fn candidate<'a>(source: CandidateSource, text: &'a str) -> Candidate<'a> {
    let (user, host) = text.split_once('@').unwrap_or((text, ""));
    Candidate { source, user, host }
}

fn call<'a>(caller: (&'a str, &str), callee: (&'a str, &str)) -> Call<'a> {
    Call {
        caller: vec![candidate(CandidateSource::From, caller.0)],
        callee: vec![candidate(CandidateSource::RequestUri, callee.0)],
        addresses: [caller.1.parse().unwrap(), callee.1.parse().unwrap()],
        vlans: Vec::new(),
        tunnels: Tunnels::NONE,
        sensor: "",
        header: "",
    }
}

impl Call<'_> {
    fn with_facts<T>(&self, ask: impl FnOnce(&CallFacts<'_>) -> T) -> T {
        ask(&CallFacts {
            sensor: self.sensor,
            interface: "span0",
            vlans: &self.vlans,
            caller_address: self.addresses[0],
            callee_address: self.addresses[1],
            caller: &self.caller,
            callee: &self.callee,
            headers: &|name| {
                (name.eq_ignore_ascii_case("x-tenant") && !self.header.is_empty())
                    .then_some(self.header)
            },
            tunnels: self.tunnels,
        })
    }

    fn attribute(&self, directory: &Directory) -> Attribution {
        self.with_facts(|facts| directory.attribute(facts))
    }

    fn explain(&self, directory: &Directory) -> Attribution {
        self.with_facts(|facts| directory.explain(facts))
    }
}

fn owners(attribution: &Attribution) -> Vec<(TenantId, OwnedSides)> {
    attribution
        .owners
        .iter()
        .map(|owner| (owner.tenant, owner.sides))
        .collect()
}

#[test]
fn the_system_tenant_is_always_there_and_may_be_renamed() {
    let directory = Directory::empty();
    assert_eq!(&*directory.tenant(SYSTEM_TENANT).unwrap().name, "System");
    let renamed = Directory::compile(Vec::new(), Some("House")).unwrap();
    assert_eq!(&*renamed.tenant(SYSTEM_TENANT).unwrap().name, "House");
    let attribution = call(("1", "10.0.0.1"), ("2", "10.0.0.2")).attribute(&directory);
    assert_eq!(
        (owners(&attribution), attribution.verdict),
        (vec![], Verdict::Nobody)
    );
}

#[test]
fn the_same_extension_is_told_apart_by_network() {
    let directory = compile([
        tenant(1)
            .networks(&["10.1.0.0/16"])
            .number("1001")
            .number("1002"),
        tenant(2)
            .networks(&["10.2.0.0/16", "2001:db8::/32"])
            .number("1001"),
    ])
    .unwrap();
    let inside = call(("1001", "10.1.0.5"), ("1002", "10.1.0.1")).attribute(&directory);
    assert_eq!(owners(&inside), [(id(1), OwnedSides::Both)]);
    let outgoing = call(("1001", "2001:db8::5"), ("0791", "192.0.2.1")).attribute(&directory);
    assert_eq!(owners(&outgoing), [(id(2), OwnedSides::Caller)]);
    let mapped = call(("1001", "::ffff:10.2.0.5"), ("0791", "192.0.2.1")).attribute(&directory);
    assert_eq!(owners(&mapped), [(id(2), OwnedSides::Caller)]);
    let elsewhere = call(("1001", "10.3.0.5"), ("1002", "192.0.2.1")).attribute(&directory);
    assert_eq!(elsewhere.verdict, Verdict::Nobody);
}

#[test]
fn a_call_between_two_tenants_has_two_owners() {
    let directory = compile([
        tenant(1).networks(&["10.1.0.0/16"]).number("1001"),
        tenant(2).networks(&["10.2.0.0/16"]).number("1001"),
    ])
    .unwrap();
    let attribution = call(("1001", "10.1.0.5"), ("1001", "10.2.0.5")).attribute(&directory);
    assert_eq!(
        owners(&attribution),
        [(id(1), OwnedSides::Caller), (id(2), OwnedSides::Callee)]
    );
    let caller = attribution.caller.unwrap();
    assert_eq!(
        (
            caller.nearness,
            caller.rule.line,
            caller.extension_line.line
        ),
        (Nearness::Near, 10, 100)
    );
}

#[test]
fn a_phone_behind_a_pbx_address_is_claimed_from_afar() {
    let directory = compile([tenant(1).networks(&["10.1.0.0/16"]).number("1002")]).unwrap();
    let attribution = call(("0791", "10.1.0.5"), ("1002", "192.0.2.1")).attribute(&directory);
    assert_eq!(attribution.callee.unwrap().nearness, Nearness::Far);
}

#[test]
fn a_claim_carries_its_reasons() {
    let mut draft = tenant(1).networks(&["10.1.0.0/16"]).pattern(
        ExtensionPattern::number("1001").unwrap(),
        &["020 7946 0101"],
        Some("alice"),
    );
    draft.0.country = Country::from_iso("GB");
    let directory = compile([draft.range("1100-1199").prefix("7")]).unwrap();
    let call = call(("+44 20 7946 0101", "10.1.0.5"), ("1150", "10.1.0.6"));
    let attribution = call.attribute(&directory);
    let caller = attribution.caller.unwrap();
    assert_eq!(&*caller.extension, "1001");
    assert_eq!(caller.user.as_deref(), Some("alice"));
    assert_eq!(caller.number, "+442079460101");
    assert_eq!(caller.seen.as_deref(), Some("+44 20 7946 0101"));
    assert_eq!(caller.source, CandidateSource::From);
    assert_eq!(caller.rule, Place::new("t1.toml", 10));
    let callee = attribution.callee.unwrap();
    assert_eq!(
        (&*callee.extension, callee.user, callee.seen),
        ("1100-1199", None, None)
    );
    assert!(
        !format!("{caller:?}").contains("7946"),
        "logs must not show numbers"
    );
}

#[test]
fn the_most_specific_extension_wins() {
    let directory = compile([tenant(1)
        .networks(&["10.0.0.0/8"])
        .range("1000-1999")
        .range("1100-1199")
        .range("1100-1109")
        .number("1105")
        .prefix("1")
        .prefix("11")
        .prefix("12345")])
    .unwrap();
    let extension = |number| {
        let attribution = call((number, "10.0.0.1"), ("x", "10.0.0.1")).attribute(&directory);
        attribution.caller.unwrap().extension.to_string()
    };
    assert_eq!(extension("1105"), "1105");
    assert_eq!(extension("1106"), "1100-1109");
    assert_eq!(extension("1150"), "1100-1199");
    assert_eq!(extension("1200"), "1000-1999");
    assert_eq!(extension("11500"), "11*");
    assert_eq!(extension("12345"), "12345*");
    assert_eq!(extension("12"), "1*");
}

#[test]
fn the_earlier_candidate_of_the_tenants_order_decides() {
    let mut strict = tenant(2).networks(&["10.0.0.0/8"]).number("2001");
    strict.0.candidates = CandidateOrder::new(&[CandidateSource::From], &[]);
    let directory = compile([
        tenant(1)
            .networks(&["10.0.0.0/8"])
            .number("1001")
            .number("1002"),
        strict,
    ])
    .unwrap();
    let mut call = call(("2001", "10.0.0.1"), ("2001", "10.0.0.2"));
    call.caller
        .push(candidate(CandidateSource::PAssertedIdentity, "1001"));
    // Both are the first of their tenant's order.
    let attribution = call.attribute(&directory);
    assert_eq!(attribution.verdict, Verdict::Ambiguous);
    assert_eq!(owners(&attribution), [(SYSTEM_TENANT, OwnedSides::Neither)]);
    assert_eq!(
        attribution.callee, None,
        "no callee source is believed by tenant 2"
    );
    let equal = attribution
        .considered
        .iter()
        .filter(|c| c.outcome == Outcome::Equal);
    assert_eq!(equal.count(), 2);
    // A Contact comes after a From.
    call.caller = vec![
        candidate(CandidateSource::Contact, "1001"),
        candidate(CandidateSource::From, "1002"),
    ];
    assert_eq!(call.attribute(&directory).caller.unwrap().number, "1002");
    call.caller = vec![
        candidate(CandidateSource::Contact, "1001"),
        candidate(CandidateSource::From, "2001"),
    ];
    let explained = call.explain(&directory);
    assert_eq!(explained.caller.unwrap().tenant, id(2));
    assert!(
        explained
            .considered
            .iter()
            .any(|c| c.tenant == id(1) && c.outcome == Outcome::LaterCandidate)
    );
}

#[test]
fn all_keys_of_a_rule_must_hold() {
    let directory = compile([tenant(1)
        .rule(|rule| {
            rule.networks = vec!["10.0.0.0/8".parse().unwrap()];
            rule.vlans = vec![20, 30];
            rule.tunnels = vec!["vxlan:5000".parse().unwrap(), "gre".parse().unwrap()];
            rule.sensors = vec!["north".into()];
            rule.domains = vec![Domain::new("*.example.com").unwrap()];
            rule.headers = vec![HeaderTest::new("X-Tenant", "/^acme-[0-9]+$/").unwrap()];
        })
        .number("1001")])
    .unwrap();
    let mut call = call(("1001@a.Example.com", "10.0.0.1"), ("x", "192.0.2.1"));
    (call.vlans, call.sensor, call.header) = (vec![100, 30], "north", "acme-7");
    call.tunnels = tunnels(&["erspan:7", "vxlan:5000"]);
    assert_eq!(call.attribute(&directory).verdict, Verdict::Owned);
    let fails = |change: fn(&mut Call<'_>), key: RuleKey| {
        let mut call = Call {
            caller: call.caller.clone(),
            callee: call.callee.clone(),
            vlans: call.vlans.clone(),
            ..call
        };
        change(&mut call);
        let explained = call.explain(&directory);
        assert_eq!(explained.verdict, Verdict::Nobody, "{key}");
        assert_eq!(explained.considered[0].outcome, Outcome::RuleFails { key });
    };
    fails(
        |call| call.addresses[0] = "192.0.2.9".parse().unwrap(),
        RuleKey::Networks,
    );
    fails(|call| call.vlans = vec![100], RuleKey::Vlans);
    fails(
        |call| call.tunnels = tunnels(&["vxlan:5001"]),
        RuleKey::Tunnels,
    );
    fails(|call| call.sensor = "south", RuleKey::Sensors);
    fails(|call| call.caller[0].host = "example.com", RuleKey::Domains);
    fails(|call| call.header = "acme-x", RuleKey::Headers);
}

#[test]
fn many_tenants_behind_one_address_are_told_apart_by_their_numbers() {
    let directory = compile((0..200).map(|n| {
        tenant(n)
            .networks(&["10.0.0.0/8"])
            .number(&format!("2{n:03}"))
            .number(&format!("3{n:03}"))
    }))
    .unwrap();
    let attribution = call(("2017", "10.0.0.1"), ("3018", "10.0.0.1")).attribute(&directory);
    assert_eq!(
        owners(&attribution),
        [(id(17), OwnedSides::Caller), (id(18), OwnedSides::Callee)]
    );
    let explained = call(("2017", "10.0.0.1"), ("x", "10.0.0.1")).explain(&directory);
    assert_eq!(explained.considered.len(), MAX_CONSIDERED);
    assert_eq!(explained.considered[0].outcome, Outcome::Claims);
}

#[test]
fn claims_alone_need_trust_and_a_rule_names_something() {
    let claims = |trust| {
        compile([tenant(1).number("1").rule(|rule| {
            rule.domains = vec![Domain::new("a.example.com").unwrap()];
            rule.trust_signalling = trust;
        })])
    };
    assert_eq!(
        claims(false).unwrap_err(),
        [Error::ClaimsAlone {
            place: Place::new("t1.toml", 10)
        }]
    );
    assert!(claims(true).is_ok());
    let empty = compile([tenant(1).number("1").rule(|_| ())]);
    assert_eq!(
        empty.unwrap_err(),
        [Error::EmptyRule {
            place: Place::new("t1.toml", 10)
        }]
    );
}

#[test]
fn one_tenants_extensions_must_not_contradict_each_other() {
    let errors = compile([
        tenant(1)
            .number("1001")
            .number("10 01")
            .range("1100-1199")
            .range("1150-1250")
            .range("1100-1199")
            .prefix("9")
            .prefix("9"),
        tenant(1),
    ])
    .unwrap_err();
    let texts: Vec<String> = errors
        .iter()
        .map(|error| format!("{}: {error}", error.place()))
        .collect();
    assert_eq!(
        texts,
        [
            "t1.toml:101: extension 1001 is there twice",
            "t1.toml:106: extension 9* is there twice",
            "t1.toml:104: extension 1100-1199 is there twice",
            "t1.toml:104: ranges 1100-1199 and 1150-1250 of one tenant overlap, and neither lies within the other",
            "t1.toml:1: tenant 34c7f1f6-9201-11e5-a739-000000000001 is defined twice",
        ]
    );
}

#[test]
fn a_clash_names_both_extensions_and_both_rules() {
    let errors = compile([
        tenant(1)
            .networks(&["10.9.0.0/16"])
            .networks(&["10.1.0.0/16"])
            .number("1000")
            .range("1100-1199"),
        tenant(2).networks(&["10.0.0.0/8"]).number("1150"),
    ])
    .unwrap_err();
    let [Error::Clash(clash)] = &errors[..] else {
        panic!("one clash: {errors:?}")
    };
    assert_eq!(
        clash.to_string(),
        "extension 1100-1199 of Tenant 1 and extension 1150 of Tenant 2 overlap, and their match rules can hold for the same call"
    );
    let [first, second] = &clash.claimants;
    assert_eq!(
        [&first.extension, &first.rule],
        [&Place::new("t1.toml", 101), &Place::new("t1.toml", 10)]
    );
    assert_eq!(
        [&second.extension, &second.rule],
        [&Place::new("t2.toml", 100), &Place::new("t2.toml", 10)]
    );
}

fn tunnels(names: &[&str]) -> Tunnels {
    let around = |all: Tunnels, name: &&str| all.and_within(name.parse().unwrap());
    names.iter().fold(Tunnels::NONE, around)
}

#[test]
fn tunnels_tell_tenants_apart_unless_a_packet_can_be_in_both() {
    let pair = |names: [&[&str]; 2]| {
        compile((1..).zip(names).map(|(n, names)| {
            tenant(n).number("1001").rule(|rule| {
                rule.tunnels = names.iter().map(|name| name.parse().unwrap()).collect();
            })
        }))
    };
    assert!(pair([&["vxlan:1"], &["vxlan:2", "vxlan:3"]]).is_ok());
    assert!(pair([&["vxlan:1"], &["geneve:1"]]).is_ok());
    assert!(pair([&["erspan:1"], &["erspan:2"]]).is_ok());
    assert!(pair([&["vxlan:1"], &["vxlan:1"]]).is_err());
    assert!(pair([&["vxlan:1"], &["vxlan"]]).is_err());
    // A mirror's copy of what is in VXLAN is in both.
    assert!(pair([&["vxlan:1"], &["erspan:7"]]).is_err());
}

#[test]
fn two_hundred_tenants_by_tunnel_are_told_apart_and_found() {
    let tenants = (1..=200).map(|n| {
        let name = format!("vxlan:{n}").parse().unwrap();
        tenant(n)
            .number("1001")
            .rule(move |rule| rule.tunnels = vec![name])
    });
    let directory = compile(tenants).unwrap();
    let mut call = call(("1001@a", "10.0.0.1"), ("x", "192.0.2.1"));
    call.tunnels = tunnels(&["erspan:7", "vxlan:170"]);
    assert_eq!(call.attribute(&directory).owners[0].tenant, id(170));
    call.tunnels = tunnels(&["vxlan:1000", "vxlan:170"]);
    assert_eq!(call.attribute(&directory).verdict, Verdict::Nobody);
}

#[test]
fn one_key_apart_is_enough() {
    let pair = |change: [fn(&mut MatchRule); 2]| {
        let network = |rule: &mut MatchRule| rule.networks = vec!["10.0.0.0/8".parse().unwrap()];
        compile((1..).zip(change).map(|(n, change)| {
            tenant(n).number("1001").rule(|rule| {
                network(rule);
                change(rule);
            })
        }))
    };
    assert!(pair([|_| (), |_| ()]).is_err());
    assert!(pair([|rule| rule.vlans = vec![1], |_| ()]).is_err());
    assert!(pair([|rule| rule.vlans = vec![1], |rule| rule.vlans = vec![2]]).is_ok());
    assert!(
        pair([
            |rule| rule.sensors = vec!["a".into()],
            |rule| rule.sensors = vec!["b".into()]
        ])
        .is_ok()
    );
    assert!(
        pair([
            |rule| rule.interfaces = vec!["a".into()],
            |rule| rule.interfaces = vec!["b".into()]
        ])
        .is_ok()
    );
    assert!(
        pair([
            |rule| rule.domains = vec![Domain::new("a.example.com").unwrap()],
            |rule| rule.domains = vec![Domain::new("*.example.com").unwrap()],
        ])
        .is_err()
    );
    assert!(
        pair([
            |rule| rule.headers = vec![HeaderTest::new("X-T", "a").unwrap()],
            |rule| rule.headers = vec![HeaderTest::new("x-t", "b").unwrap()],
        ])
        .is_ok()
    );
}

#[test]
fn both_ways_to_prove_find_the_same_clash() {
    // Enough shared numbers that the rules are compared instead of the numbers.
    let drafts = |clash: bool| {
        (0..250_u8).map(move |n| {
            let network = if clash && n == 249 {
                "10.7.0.0/17".to_owned()
            } else {
                format!("10.{n}.0.0/16")
            };
            (0..100).fold(tenant(n).networks(&[&network]), |draft, number| {
                // Not every group of tenants is the same.
                let number = if (number + u32::from(n)) % 7 == 0 {
                    5000 + u32::from(n) * 100 + number
                } else {
                    1000 + number
                };
                draft.number(&number.to_string())
            })
        })
    };
    assert!(compile(drafts(false)).is_ok());
    let errors = compile(drafts(true)).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let Error::Clash(clash) = &errors[0] else {
        panic!("{errors:?}")
    };
    assert_eq!(
        clash.claimants.clone().map(|claimant| claimant.tenant),
        [id(7), id(249)]
    );
}

#[test]
fn an_attribution_survives_its_sidecar() {
    let directory = compile([tenant(1)
        .networks(&["10.1.0.0/16"])
        .number("1001")
        .number("1002")])
    .unwrap();
    let attribution = call(("1001", "10.1.0.5"), ("1002", "10.1.0.1")).explain(&directory);
    let text = serde_json::to_string(&attribution).unwrap();
    assert_eq!(
        serde_json::from_str::<Attribution>(&text).unwrap(),
        attribution
    );
    assert!(
        text.contains(r#""verdict":"owned""#) && text.contains(r#""sides":"both""#),
        "{text}"
    );
}

#[test]
fn a_users_policy_goes_with_the_user() {
    let mut draft = tenant(1)
        .networks(&["10.0.0.0/8"])
        .pattern(
            ExtensionPattern::number("1001").unwrap(),
            &["2001"],
            Some("Alice"),
        )
        .pattern(
            ExtensionPattern::number("1002").unwrap(),
            &[],
            Some("alice"),
        )
        .pattern(ExtensionPattern::number("1003").unwrap(), &[], Some("bob"));
    draft.0.user_policies = vec![("alice".into(), Policy::OnDemand)];
    draft.0.extensions[1].policy = Some(Policy::None);
    draft.0.extensions[0].allocated = true;
    let directory = compile([draft]).unwrap();
    let decided = |number| {
        let attribution = call((number, "10.0.0.1"), ("x", "10.0.0.2")).attribute(&directory);
        let claim = attribution.caller.clone().unwrap();
        let decision = attribution.decision(&attribution.owners[0], Policy::All);
        (decision.policy, decision.user, claim.allocated)
    };
    let alice: Option<Arc<str>> = Some("Alice".into());
    assert_eq!(decided("1001"), (Policy::OnDemand, alice.clone(), true));
    assert_eq!(decided("2001"), (Policy::OnDemand, alice, true));
    // The extension's own records less.
    assert_eq!(decided("1002"), (Policy::None, None, false));
    assert_eq!(decided("1003"), (Policy::All, None, false));
}
