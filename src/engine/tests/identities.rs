//! Who is on a side, and whose the call is, when a PBX puts somebody else there.

use super::script::{Leg, directory, directory_of_vlan, tenant};
use super::world::World;
use crate::base::Side;
use crate::engine::EngineSettings;
use crate::engine::event::CallEnd;

/// The PBX, which is outside all tenants' networks.
const PBX: u8 = 100;

fn world() -> World {
    let directory = directory(&[
        (1, "10.0.0.1/32", &["1001", "1002", "1003"]),
        (2, "10.0.0.2/32", &["2001"]),
        (3, "10.0.0.100/32", &["3001"]),
    ]);
    World::of(EngineSettings::default(), directory)
}

/// Side, number, user, and seconds from the INVITE on.
type Took = (Side, String, Option<String>, i64, Option<i64>);

fn participants(end: &CallEnd) -> Vec<Took> {
    let seconds = |at: crate::base::Timestamp| at.nanos_since(end.info.invite_at) / 1_000_000_000;
    let all = end.info.participants.iter();
    all.map(|p| {
        let user = p.user.as_ref().map(|user| user.to_string());
        (
            p.side,
            p.number.clone(),
            user,
            seconds(p.from),
            p.to.map(seconds),
        )
    })
    .collect()
}

fn user(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn who_answers_in_place_of_the_one_called_takes_part() {
    let mut world = world();
    let leg = Leg::new("hunt", ("5551234", PBX), ("1001", 1));
    leg.invite(&mut world, (PBX, 4000));
    world.pass(3000);
    leg.answer(
        &mut world,
        (1, 4000),
        "P-Asserted-Identity: <sip:1002@a>\r\n",
    );
    leg.bye(&mut world);
    let expected = [
        (Side::Caller, "5551234".into(), None, 0, None),
        (Side::Callee, "1002".into(), user("user1002"), 3, None),
    ];
    assert_eq!(participants(world.end()), expected);
}

#[test]
fn a_pbx_that_only_says_who_is_there_now_has_its_participants() {
    let ways = [
        "P-Asserted-Identity: \"Carol\" <sip:1003@a>\r\n",
        "Remote-Party-ID: <sip:1003@a>;party=calling\r\n",
        "Contact: <sip:1003@10.0.0.1>\r\n",
    ];
    for way in ways {
        let mut world = world();
        // 1001 calls out; the PBX transfers the call to 1003 and tells the other side's leg.
        let leg = Leg::new("transfer", ("1001", 1), ("5551234", PBX))
            .with("P-Asserted-Identity: <sip:1001@a>")
            .with("Contact: <sip:1001@10.0.0.1>");
        leg.set_up(&mut world, (1, 4000), (PBX, 4000));
        world.pass(10_000);
        let method = if way.starts_with('P') {
            "UPDATE"
        } else {
            "INVITE"
        };
        leg.say(&mut world, method, 2, way, "");
        leg.say(&mut world, method, 2, way, "");
        world.pass(5000);
        leg.bye(&mut world);
        let end = world.end();
        let expected = [
            (Side::Caller, "1001".into(), user("user1001"), 0, Some(10)),
            (Side::Callee, "5551234".into(), None, 0, None),
            (Side::Caller, "1003".into(), user("user1003"), 10, None),
        ];
        assert_eq!(participants(end), expected, "{way}");
        assert_eq!(end.info.owners.len(), 1);
        assert_eq!(
            (end.info.owners[0].tenant, end.info.owners[0].until),
            (tenant(1), None)
        );
    }
}

#[test]
fn the_answer_to_an_offer_may_name_somebody_else_too() {
    let mut world = world();
    let leg = Leg::new("callee", ("5551234", PBX), ("1001", 1));
    leg.set_up(&mut world, (PBX, 4000), (1, 4000));
    world.pass(4000);
    leg.say(&mut world, "UPDATE", 2, "", "");
    leg.accept(
        &mut world,
        "UPDATE",
        2,
        "P-Asserted-Identity: <sip:1002@a>\r\n",
        "",
    );
    leg.bye(&mut world);
    let last = participants(world.end()).pop();
    assert_eq!(
        last,
        Some((Side::Callee, "1002".into(), user("user1002"), 4, None))
    );
}

#[test]
fn a_call_that_goes_to_somebody_unknown_stays_with_its_tenant() {
    let mut world = world();
    let leg = Leg::new("mobile", ("1001", 1), ("5551234", PBX));
    leg.set_up(&mut world, (1, 4000), (PBX, 4000));
    world.pass(4000);
    leg.say(
        &mut world,
        "UPDATE",
        2,
        "P-Asserted-Identity: <sip:+447700900123@a>\r\n",
        "",
    );
    // Any text may stand in a Contact: it names nobody.
    leg.say(
        &mut world,
        "UPDATE",
        3,
        "Contact: <sip:x8f3a@10.0.0.1>\r\n",
        "",
    );
    leg.bye(&mut world);
    let end = world.end();
    assert_eq!(
        (end.info.owners[0].tenant, end.info.owners[0].until),
        (tenant(1), None)
    );
    let last = participants(end).pop();
    assert_eq!(
        last,
        Some((Side::Caller, "+447700900123".into(), None, 4, None))
    );
    assert_eq!(end.info.participants.len(), 3);
}

#[test]
fn a_call_that_goes_to_another_tenant_is_nobody_s_from_then_on() {
    let mut world = world();
    let leg = Leg::new("across", ("1001", 1), ("5551234", PBX));
    leg.set_up(&mut world, (1, 4000), (PBX, 4000));
    world.pass(4000);
    let at = world.now;
    leg.say(
        &mut world,
        "UPDATE",
        2,
        "P-Asserted-Identity: <sip:3001@a>\r\n",
        "",
    );
    leg.bye(&mut world);
    let end = world.end();
    assert_eq!(
        end.info.owners.len(),
        1,
        "the other tenant gets nothing of this call"
    );
    assert_eq!(
        (end.info.owners[0].tenant, end.info.owners[0].until),
        (tenant(1), Some(at))
    );
}

#[test]
fn a_call_seen_on_two_vlans_is_found_by_either() {
    for order in [[10, 20], [20, 10]] {
        let directory = directory_of_vlan(20, "1001");
        let mut world = World::of(EngineSettings::default(), directory);
        let leg = Leg::new("mirrored", ("1001", 1), ("5551234", 2));
        for vlan in order {
            world.vlan = vlan;
            leg.invite(&mut world, (1, 4000));
            world.pass(1);
        }
        world.finish();
        let owners: Vec<_> = world.end().info.owners.iter().map(|o| o.tenant).collect();
        assert_eq!(owners, [tenant(1)], "{order:?}");
    }
}

#[test]
fn a_tenant_with_the_other_side_keeps_the_whole_call() {
    let mut world = world();
    let leg = Leg::new("inside", ("1001", 1), ("1002", PBX));
    leg.set_up(&mut world, (1, 4000), (PBX, 4000));
    leg.say(
        &mut world,
        "UPDATE",
        2,
        "P-Asserted-Identity: <sip:3001@a>\r\n",
        "",
    );
    leg.bye(&mut world);
    let owner = &world.end().info.owners[0];
    assert_eq!((owner.tenant, owner.until), (tenant(1), None));
    assert_eq!((owner.sides.caller, owner.sides.callee), (false, true));
}

/// Of the tenant's networks the rule names only the phones'. Who was dialled is reached through the PBX, which says who answered.
#[test]
fn a_pbx_elsewhere_says_which_of_the_tenants_users_answered() {
    for (dialled, callee) in [
        ("1002", ("1003", user("user1003"))),
        // A stranger may be there, for all that is known.
        ("5551234", ("5551234", None)),
    ] {
        let mut world = world();
        let leg = Leg::new("picked", ("1001", 1), (dialled, 50));
        leg.invite(&mut world, (1, 4000));
        let says = "P-Asserted-Identity: <sip:1003@a>\r\n";
        leg.answer(&mut world, (50, 5000), says);
        // The next one takes over from whoever it was.
        world.pass(2000);
        let says = "P-Asserted-Identity: <sip:1002@a>\r\n";
        leg.say_back(&mut world, "UPDATE", 7, says, "");
        leg.bye(&mut world);
        let took = participants(world.end());
        let callees: Vec<_> = took.iter().filter(|t| t.0 == Side::Callee).collect();
        assert_eq!((callees[0].1.as_str(), callees[0].2.clone()), callee);
        let next = callee.1.is_some().then(|| user("user1002")).flatten();
        assert_eq!(
            (callees[1].1.as_str(), callees[1].2.clone()),
            ("1002", next)
        );
    }
}

/// Where a rule names no networks, nobody is outside of them.
#[test]
fn an_answer_counts_wherever_the_rule_names_no_networks() {
    let mut world = World::of(EngineSettings::default(), directory_of_vlan(5, "1003"));
    world.vlan = 5;
    let leg = Leg::new("out", ("4711", 1), ("5551234", 7));
    leg.invite(&mut world, (1, 4000));
    let says = "P-Asserted-Identity: <sip:1003@a>\r\n";
    leg.answer(&mut world, (7, 5000), says);
    leg.bye(&mut world);
    assert_eq!(world.end().info.owners[0].tenant, tenant(1));
}
