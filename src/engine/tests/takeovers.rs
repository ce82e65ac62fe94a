//! Who is on a side when a PBX says so in ways that only some do.

use std::sync::Arc;

use super::script::{Leg, tenant};
use super::world::World;
use crate::base::Side;
use crate::directory::{
    Directory, ExtensionDefinition, ExtensionPattern, MatchRule, Place, TenantDefinition,
};
use crate::engine::EngineSettings;

/// The PBX that all tenants share.
const PBX: u8 = 100;

/// Tenants behind one PBX, told apart by their ranges; 1005 is allocated to a user within the first.
fn world() -> World {
    let define = |n: u8, range: &str| {
        let place = |line| Place::new(format!("t{n}.toml"), line);
        let mut definition = TenantDefinition::new(tenant(n), format!("Tenant {n}"), place(1));
        let mut rule = MatchRule::new(place(2));
        rule.networks = vec!["10.0.0.100/32".parse().unwrap()];
        definition.rules.push(rule);
        definition.extensions.push(ExtensionDefinition {
            pattern: ExtensionPattern::range(range).unwrap(),
            aliases: Vec::new(),
            user: None,
            place: place(3),
            policy: None,
            allocated: false,
        });
        definition
    };
    let mut first = define(1, "1000-1099");
    first.extensions.push(ExtensionDefinition {
        pattern: ExtensionPattern::number("1005").unwrap(),
        aliases: Vec::new(),
        user: Some("eve".into()),
        place: Place::new("t1.toml", 9),
        policy: None,
        allocated: true,
    });
    let tenants = vec![first, define(2, "2000-2099")];
    World::of(
        EngineSettings::default(),
        Arc::new(Directory::compile(tenants, None).unwrap()),
    )
}

/// Numbers and users of one side, one after the other.
fn who(world: &World, side: Side) -> Vec<(String, Option<String>)> {
    let all = world.end().info.participants.iter();
    all.filter(|p| p.side == side)
        .map(|p| (p.number.clone(), p.user.as_ref().map(|u| u.to_string())))
        .collect()
}

fn numbers(world: &World, side: Side) -> Vec<String> {
    who(world, side).into_iter().map(|(n, _)| n).collect()
}

/// A call from outside to 1002 behind the PBX, whose answer has these headers.
fn to_1002(world: &mut World, of_answer: &str) -> Leg {
    let leg = Leg::new("in", ("5551234", 7), ("1002", PBX));
    leg.invite(world, (7, 4000));
    leg.answer(world, (PBX, 5000), of_answer);
    leg
}

const SAME_CONTACT: &str = "Contact: <sip:1002@10.0.0.100>\r\n";

#[test]
fn a_contact_that_stays_says_nothing_against_who_took_over() {
    for method in ["INVITE", "UPDATE"] {
        let mut world = world();
        let asserted = "P-Asserted-Identity: <sip:1002@10.0.0.100>\r\n";
        let leg = to_1002(&mut world, &format!("{SAME_CONTACT}{asserted}"));
        world.pass(4000);
        let at = world.now;
        let now = format!("{SAME_CONTACT}P-Asserted-Identity: <sip:2005@10.0.0.100>\r\n");
        leg.say_back(&mut world, method, 7, &now, "");
        leg.bye(&mut world);
        assert_eq!(numbers(&world, Side::Callee), ["1002", "2005"], "{method}");
        let owners = &world.end().info.owners;
        assert_eq!(owners.len(), 1, "{method}");
        assert_eq!((owners[0].tenant, owners[0].until), (tenant(1), Some(at)));
    }
}

#[test]
fn a_contact_that_changes_too_does_not_outrank_who_a_host_says_took_over() {
    let mut world = world();
    let leg = to_1002(&mut world, "");
    world.pass(4000);
    let now = format!("{SAME_CONTACT}P-Asserted-Identity: <sip:2005@10.0.0.100>\r\n");
    leg.say_back(&mut world, "UPDATE", 7, &now, "");
    leg.bye(&mut world);
    assert_eq!(numbers(&world, Side::Callee), ["1002", "2005"]);
    assert!(world.end().info.owners[0].until.is_some());
}

#[test]
fn two_numbers_of_one_range_are_two_participants() {
    for header in ["P-Asserted-Identity", "Remote-Party-ID"] {
        let says = |number: &str| format!("{header}: <sip:{number}@10.0.0.100>\r\n");
        let mut world = world();
        let leg = to_1002(&mut world, "");
        for (number, cseq) in [("1003", 7), ("1005", 8), ("1006", 9)] {
            world.pass(2000);
            leg.say_back(&mut world, "UPDATE", cseq, &says(number), "");
        }
        leg.bye(&mut world);
        let expected = [
            ("1002".into(), None),
            ("1003".into(), None),
            ("1005".into(), Some("eve".into())),
            ("1006".into(), None),
        ];
        assert_eq!(who(&world, Side::Callee), expected, "{header}");
        assert_eq!(world.end().info.owners[0].until, None, "{header}");

        let mut world = self::world();
        let leg = Leg::new("out", ("1002", PBX), ("5551234", 7));
        leg.set_up(&mut world, (PBX, 4000), (7, 5000));
        leg.say(&mut world, "UPDATE", 7, &says("1003"), "");
        leg.bye(&mut world);
        assert_eq!(numbers(&world, Side::Caller), ["1002", "1003"], "{header}");
    }
}

#[test]
fn a_remote_party_is_the_sender_s_by_its_role_in_the_dialog_or_in_the_message() {
    let says = |party: &str| format!("Remote-Party-ID: <sip:1003@10.0.0.100>{party}\r\n");
    for party in ["", ";party=called", ";party=calling"] {
        let mut world = world();
        let leg = to_1002(&mut world, "");
        leg.say_back(&mut world, "UPDATE", 7, &says(party), "");
        leg.bye(&mut world);
        assert_eq!(numbers(&world, Side::Callee), ["1002", "1003"], "{party}");

        let mut world = self::world();
        let leg = Leg::new("out", ("1002", PBX), ("5551234", 7));
        leg.set_up(&mut world, (PBX, 4000), (7, 5000));
        leg.say_back(&mut world, "UPDATE", 7, "", "");
        leg.accept_back(&mut world, "UPDATE", 7, &says(party), "");
        leg.bye(&mut world);
        assert_eq!(numbers(&world, Side::Caller), ["1002", "1003"], "{party}");
    }
}

#[test]
fn a_remote_party_that_is_the_other_side_takes_nothing_over() {
    let mut world = world();
    let leg = to_1002(&mut world, "");
    let other = "Remote-Party-ID: <sip:5551234@10.0.0.100>;party=calling\r\n";
    leg.say_back(&mut world, "UPDATE", 7, other, "");
    // An answer that repeats what the request asserted.
    let own = "P-Asserted-Identity: <sip:5551234@10.0.0.7>\r\n";
    leg.say(&mut world, "UPDATE", 2, own, "");
    leg.accept(&mut world, "UPDATE", 2, own, "");
    leg.bye(&mut world);
    assert_eq!(numbers(&world, Side::Callee), ["1002"]);
    assert_eq!(numbers(&world, Side::Caller), ["5551234"]);
}

#[test]
fn a_contact_that_repeats_the_number_dialled_says_nothing_against_who_answered() {
    let ways = [
        "P-Asserted-Identity: <sip:1003@10.0.0.100>\r\n",
        "Remote-Party-ID: <sip:1003@10.0.0.100>;party=called\r\n",
        "Remote-Party-ID: <sip:1003@10.0.0.100>\r\n",
    ];
    for way in ways {
        for contact in [SAME_CONTACT, "", "Contact: <sip:10.0.0.100>\r\n"] {
            let mut world = world();
            let leg = to_1002(&mut world, &format!("{contact}{way}"));
            leg.bye(&mut world);
            assert_eq!(numbers(&world, Side::Callee), ["1003"], "{contact}{way}");
        }
    }
}

#[test]
fn who_answered_for_another_tenant_has_the_call() {
    let mut world = world();
    let answer = format!("{SAME_CONTACT}P-Asserted-Identity: <sip:2005@10.0.0.100>\r\n");
    let leg = to_1002(&mut world, &answer);
    leg.bye(&mut world);
    let owners: Vec<_> = world.end().info.owners.iter().map(|o| o.tenant).collect();
    assert_eq!(owners, [tenant(2)]);
}

#[test]
fn an_answer_that_asserts_nobody_or_the_caller_leaves_the_call_with_whom_was_dialled() {
    let ways = [
        "P-Asserted-Identity: <sip:anonymous@anonymous.invalid>\r\n",
        "P-Asserted-Identity: <sip:5551234@10.0.0.100>\r\n",
        "Remote-Party-ID: <sip:2005@10.0.0.100>;party=calling\r\n",
        "P-Asserted-Identity: <sip:+447700900123@10.0.0.100>\r\n",
        "P-Asserted-Identity: <sip:2005@10.0.0.100>, <tel:1002>\r\n",
    ];
    for way in ways {
        let mut world = world();
        let leg = to_1002(&mut world, &format!("{SAME_CONTACT}{way}"));
        leg.bye(&mut world);
        assert_eq!(numbers(&world, Side::Callee), ["1002"], "{way}");
        let owners: Vec<_> = world.end().info.owners.iter().map(|o| o.tenant).collect();
        assert_eq!(owners, [tenant(1)], "{way}");
    }
}

/// Whoever is reached outside may say that he is anybody within.
#[test]
fn an_answer_from_outside_names_nobody_within() {
    let ways = ["P-Asserted-Identity", "Remote-Party-ID", "Contact"];
    for (way, number) in ways.iter().flat_map(|way| [(way, "1005"), (way, "2005")]) {
        let says = format!("{way}: <sip:{number}@10.0.0.100>\r\n");
        let mut world = world();
        let leg = Leg::new("out", ("1002", PBX), ("5551234", 7));
        leg.invite(&mut world, (PBX, 4000));
        leg.answer(&mut world, (7, 5000), &says);
        leg.bye(&mut world);
        let callee = [("5551234".into(), None)];
        assert_eq!(who(&world, Side::Callee), callee, "{says}");
        let owners = &world.end().info.owners;
        assert_eq!((owners.len(), owners[0].tenant), (1, tenant(1)), "{says}");

        // Nor in mid-call, whoever called.
        for (method, is_answer) in [("UPDATE", false), ("UPDATE", true)] {
            let mut world = self::world();
            let leg = Leg::new("in", ("5551234", 7), ("1002", PBX));
            leg.set_up(&mut world, (7, 4000), (PBX, 5000));
            if is_answer {
                leg.say_back(&mut world, method, 7, "", "");
                leg.accept_back(&mut world, method, 7, &says, "");
            } else {
                leg.say(&mut world, method, 7, &says, "");
            }
            leg.bye(&mut world);
            let callers = who(&world, Side::Caller);
            assert!(
                callers.iter().all(|(_, user)| user.is_none()),
                "{callers:?}"
            );
            let owners = &world.end().info.owners;
            assert_eq!((owners.len(), owners[0].until), (1, None), "{says}");
        }
    }
}
