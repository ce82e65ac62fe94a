//! Evidence, and what is made of it.

use proptest::prelude::*;

use super::*;
use crate::base::Side;

const T0: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);

fn facts<'a>(call_id: &'a str, hosts: (u8, u8), numbers: (&'a str, &'a str)) -> Facts<'a> {
    let alone = blake3::hash(call_id.as_bytes());
    Facts {
        began: T0,
        call_id,
        vantage: Vantage::default(),
        source: Endpoint::v4([10, 0, 0, hosts.0], 5060),
        destination: Endpoint::v4([10, 0, 0, hosts.1], 5060),
        caller: SmallVec::from_slice(&[numbers.0]),
        callee: SmallVec::from_slice(&[numbers.1]),
        referred_by: None,
        session_ids: SmallVec::new(),
        headers: SmallVec::new(),
        alone: InteractionId(uuid::Uuid::from_slice(&alone.as_bytes()[..16]).unwrap()),
        seed: *alone.as_bytes(),
    }
}

fn tenant(n: u128) -> TenantId {
    TenantId(uuid::Uuid::from_u128(n))
}

#[test]
fn what_is_on_the_disk_keeps_its_name() {
    let mut all = Interactions::default();
    for (n, call_id) in ["early", "late"].into_iter().enumerate() {
        let key = CallKey(n as u64);
        let began = T0 + Duration::from_secs(n as u64);
        all.open(
            key,
            &Facts {
                began,
                ..facts(call_id, (n as u8, 9), (call_id, call_id))
            },
        );
        all.own(key, [tenant(5)].into_iter());
    }
    let (early, late) = (CallKey(0), CallKey(1));
    let name = all.of_tenant(late, tenant(5));
    all.close(late);
    assert!(all.link(early, late, LinkReason::Audio));
    assert_eq!(all.of_tenant(early, tenant(5)), name);
    assert_eq!(all.take_changed(), [early, late]);
    all.forget(late);
    assert_eq!(all.of_tenant(early, tenant(5)), name);
    assert_eq!(all.legs_of(early), [early]);
}

#[test]
fn an_interaction_has_a_cap_and_nothing_is_left_behind() {
    let mut all = Interactions::default();
    for n in 0..200 {
        let id = format!("c{n}");
        all.open(CallKey(n), &facts(&id, (n as u8, 250), ("1001", "1002")));
        all.say_session(CallKey(n), "ab30317f1a784dc48ff824d0d3715d86");
    }
    assert!(all.legs_of(CallKey(0)).len() <= 64);
    assert!(all.counters().too_many_legs > 0);
    for n in 0..200 {
        all.forget(CallKey(n));
    }
    all.handle_timeout(T0 + Duration::from_secs(9));
    assert!(all.members.is_empty() && all.waiting.is_empty());
    assert_eq!(
        format!("{:?}", all.index),
        format!("{:?}", Index::default())
    );
    assert!(all.of(CallKey(0)).is_none());
}

fn sample(call: u64, side: Side, print: u64, hosts: (u8, u8), millis: u64) -> Sample {
    let host = |n| std::net::IpAddr::from([10, 0, 0, n]);
    Sample {
        call: CallKey(call),
        side,
        print,
        at: T0 + Duration::from_millis(millis),
        source: host(hosts.0),
        destination: host(hosts.1),
    }
}

/// Pairs that are linked after all these samples.
fn verdicts(samples: &[Sample]) -> Vec<Verdict> {
    let mut matches = Matches::default();
    let mut all: Vec<Verdict> = Vec::new();
    samples.iter().for_each(|sample| matches.hear(sample));
    for verdict in matches.judge(Timestamp::MAX) {
        if !all.contains(&verdict) {
            all.push(verdict);
        }
    }
    all
}

#[test]
fn one_side_is_no_evidence_and_both_sides_are() {
    let side = |side, from: u64| {
        (from..from + 5).flat_map(move |print| {
            [
                sample(1, side, print, (1, 2), print),
                sample(2, side, print, (3, 4), print + 15),
            ]
        })
    };
    let one: Vec<Sample> = side(Side::Caller, 0).collect();
    assert!(verdicts(&one).is_empty());
    let both: Vec<Sample> = one.into_iter().chain(side(Side::Callee, 100)).collect();
    let pair = Verdict {
        a: CallKey(1),
        b: CallKey(2),
    };
    assert_eq!(verdicts(&both), [pair]);
}

/// What a conversation through these hosts has in each of its legs, 1, 2, …: five payloads of either direction from `print` on.
fn conversation(hosts: &[u8], print: u64) -> Vec<Sample> {
    let hops = (1..).zip(hosts.windows(2));
    let of_hop = |(call, hop): (u64, &[u8])| {
        let (from, to) = (hop[0], hop[1]);
        (0..5).flat_map(move |n| {
            let there = sample(call, Side::Caller, print + n, (from, to), n * 20);
            let back = sample(call, Side::Callee, print + 50 + n, (to, from), n * 20);
            [there, back]
        })
    };
    hops.flat_map(of_hop).collect()
}

fn pairs(samples: &[Sample]) -> Vec<(u64, u64)> {
    let pair = |verdict: Verdict| (verdict.a.0, verdict.b.0);
    let mut pairs: Vec<(u64, u64)> = verdicts(samples).into_iter().map(pair).collect();
    pairs.sort_unstable();
    pairs
}

#[test]
fn a_conversation_is_followed_from_host_to_host_in_any_order() {
    let mut samples = conversation(&[1, 100, 101, 2], 0);
    assert_eq!(pairs(&samples), [(1, 2), (2, 3)]);
    samples.reverse();
    assert_eq!(pairs(&samples), [(1, 2), (2, 3)]);
}

#[test]
fn one_side_that_goes_through_a_host_is_no_evidence() {
    let through: Vec<Sample> = conversation(&[1, 100, 7], 0)
        .into_iter()
        .filter(|sample| sample.side == Side::Caller)
        .collect();
    assert!(verdicts(&through).is_empty());
}

#[test]
fn two_payloads_into_one_host_or_out_of_it_are_two() {
    let mut samples = conversation(&[1, 100], 0);
    let other = conversation(&[3, 100], 0);
    samples.extend(other.into_iter().map(|sample| Sample {
        call: CallKey(2),
        ..sample
    }));
    assert!(verdicts(&samples).is_empty());
}

#[test]
fn what_a_third_call_carries_too_is_no_evidence() {
    let mut samples = conversation(&[1, 100, 7], 0);
    let heard = |sample: &Sample| sample.call == CallKey(1) && sample.side == Side::Callee;
    let third: Vec<Sample> = (samples.iter().filter(|sample| heard(sample)))
        .map(|sample| Sample {
            call: CallKey(3),
            destination: [10, 0, 0, 55].into(),
            ..*sample
        })
        .collect();
    samples.extend(third);
    assert!(verdicts(&samples).is_empty());
}

#[test]
fn what_comes_again_in_one_call_is_a_tone() {
    let mut samples = conversation(&[1, 100, 7], 0);
    let again: Vec<Sample> = (samples.iter().filter(|sample| sample.call == CallKey(1)))
        .map(|sample| Sample {
            at: sample.at + Duration::from_millis(100),
            ..*sample
        })
        .collect();
    samples.extend(again);
    assert!(verdicts(&samples).is_empty());
}

#[test]
fn sides_that_are_alike_at_different_times_are_no_evidence() {
    let later = |sample: Sample| match sample.side {
        Side::Caller => sample,
        Side::Callee => Sample {
            at: sample.at + Duration::from_secs(90),
            ..sample
        },
    };
    let samples: Vec<Sample> = (conversation(&[1, 100, 7], 0).into_iter())
        .map(later)
        .collect();
    assert!(verdicts(&samples).is_empty());
}

#[test]
fn what_many_calls_carry_or_what_comes_later_is_no_evidence() {
    let both = |call, print, millis| {
        Side::BOTH.map(|side| {
            sample(
                call,
                side,
                print * 2 + side as u64,
                (call as u8, 50 + call as u8),
                millis,
            )
        })
    };
    let crowd: Vec<Sample> = (0..9)
        .flat_map(|call| (0..1).flat_map(move |print| both(call, print, 0)))
        .collect();
    assert!(verdicts(&crowd).is_empty());
    let later: Vec<Sample> = (0..9)
        .flat_map(|print| {
            both(1, print, print * 20)
                .into_iter()
                .chain(both(2, print, print * 20 + 900))
        })
        .collect();
    assert!(verdicts(&later).is_empty());
}

#[test]
fn silence_and_most_payloads_have_no_fingerprint() {
    assert_eq!(fingerprint(&[0xff; 160]), None);
    assert_eq!(fingerprint(&[]), None);
    assert_eq!(fingerprint(&[1, 2, 3]), None);
    let alternating: Vec<u8> = (0..160)
        .map(|n| if n % 3 == 0 { 0xff } else { 0x7f })
        .collect();
    assert_eq!(fingerprint(&alternating), None);
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let payloads: Vec<Vec<u8>> = (0..1000)
        .map(|_| (0..160).map(|_| noise()).collect())
        .collect();
    let found = payloads
        .iter()
        .filter_map(|payload| fingerprint(payload))
        .count();
    assert!((150..350).contains(&found), "{found} of 1000");
}

#[test]
fn every_call_samples_the_same_moments() {
    let at = |millis: i64| Timestamp::from_nanos(millis * 1_000_000);
    let (young, old) = (at(15_900), at(0));
    // 16 s is a multiple of 4 and of 16; 20 s of 4 alone.
    for (start, moment, due) in [
        (young, 16_100, true),
        (young, 16_300, false),
        (young, 20_010, true),
        (old, 48_050, true),
        (old, 52_050, false),
    ] {
        assert_eq!(is_due(start, at(moment), at(moment)), due, "{moment}");
    }
    assert!(
        is_due(young, at(19_600), at(20_112)),
        "a block that reaches it"
    );
    assert!(!is_due(young, at(17_000), at(17_512)));
}

/// Anything that can happen to one of a few legs.
#[derive(Clone, Debug)]
enum Step {
    Open(u64, u8, u8),
    Say(u64, u8),
    Link(u64, u64),
    Own(u64, u8),
    Close(u64),
    Forget(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let leg = || 0..12u64;
    prop_oneof![
        3 => (leg(), 0..4u8, 0..4u8).prop_map(|(leg, from, to)| Step::Open(leg, from, to)),
        1 => (leg(), 0..3u8).prop_map(|(leg, session)| Step::Say(leg, session)),
        2 => (leg(), leg()).prop_map(|(a, b)| Step::Link(a, b)),
        2 => (leg(), 0..4u8).prop_map(|(leg, owners)| Step::Own(leg, owners)),
        1 => leg().prop_map(Step::Close),
        1 => leg().prop_map(Step::Forget),
    ]
}

proptest! {
    /// Whatever happens, and in whatever order: legs of one interaction agree on it and on its names, and nothing is left of legs that are forgotten.
    #[test]
    fn legs_of_one_interaction_agree(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut all = Interactions::default();
        // Keys are never used again: each opening has a new one.
        let mut keys = std::collections::BTreeMap::new();
        for (n, step) in steps.into_iter().enumerate() {
            let key = |leg| keys.get(&leg).copied().unwrap_or(CallKey(u64::MAX));
            match step {
                Step::Open(leg, from, to) if !keys.contains_key(&leg) => {
                    let fresh = CallKey(n as u64);
                    let id = format!("{leg}-{n}");
                    let number = format!("100{}", from % 2);
                    let began = T0 + Duration::from_secs(n as u64);
                    all.open(fresh, &Facts { began, ..facts(&id, (from, to), (&number, "2002")) });
                    keys.insert(leg, fresh);
                }
                Step::Open(..) => {}
                Step::Say(leg, session) => all.say_session(key(leg), &format!("{session}{}", "a".repeat(31))),
                Step::Link(a, b) => _ = all.link(key(a), key(b), LinkReason::Audio),
                Step::Own(leg, owners) => {
                    let owners = (0..2).filter(|bit| owners & 1 << bit != 0);
                    all.own(key(leg), owners.map(tenant));
                }
                Step::Close(leg) => all.close(key(leg)),
                Step::Forget(leg) => {
                    all.forget(key(leg));
                    keys.remove(&leg);
                }
            }
            for &leg in keys.values() {
                let legs = all.legs_of(leg);
                prop_assert!(legs.contains(&leg));
                for other in legs {
                    prop_assert!(keys.values().any(|key| *key == other));
                    prop_assert_eq!(all.of(other), all.of(leg));
                    for owner in 0..2 {
                        prop_assert_eq!(all.of_tenant(other, tenant(owner)), all.of_tenant(leg, tenant(owner)));
                    }
                }
            }
        }
        for leg in keys.into_values() {
            all.forget(leg);
        }
        prop_assert!(all.members.is_empty());
        prop_assert_eq!(format!("{:?}{:?}", all.index, all.groups), format!("{:?}{:?}", Index::default(), Groups::default()));
    }
}
