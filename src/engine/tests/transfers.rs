//! Calls that are sent elsewhere by REFER, and the calls that come of it.

use super::conversations::linked;
use super::script::Leg;
use super::world::World;
use crate::engine::event::LinkReason;

/// Host of the PBX.
const PBX: u8 = 100;

/// What a PBX does with a REFER of 1001, in a call of 5550001, to 1003: legs with their callers, and when they begin.
fn transferred(legs: &[(&'static str, &'static str, u64)]) -> World {
    let mut world = World::new();
    let first = Leg::new("first", ("5550001", PBX), ("1001", 1));
    first.set_up(&mut world, (PBX, 4000), (1, 4000));
    first.say_back(&mut world, "REFER", 5, "Refer-To: <sip:1003@a>\r\n", "");
    for (n, &(call_id, caller, after)) in (0_u16..).zip(legs) {
        world.wait(after);
        let leg = Leg::new(call_id, (caller, PBX), ("1003", 3));
        leg.invite(&mut world, (PBX, 4010 + 2 * n));
    }
    world.wait(4000);
    world.finish();
    world
}

/// Some PBXs call with a number of their own.
#[test]
fn a_transfer_with_a_number_of_the_pbx_is_the_one_that_was_asked_for_if_it_is_the_only_one() {
    let world = transferred(&[("transfer", "4711", 300)]);
    assert_eq!(linked(&world, "first", "transfer"), Some(LinkReason::Refer));
    for legs in [
        [("transfer", "4711", 50), ("other", "5550002", 2500)],
        [("other", "5550002", 50), ("transfer", "4711", 2500)],
    ] {
        let world = transferred(&legs);
        for call_id in ["transfer", "other"] {
            assert_eq!(linked(&world, "first", call_id), None, "{legs:?}");
        }
    }
    // A better one, and one that comes too late to be it.
    let world = transferred(&[("other", "5550002", 50), ("transfer", "5550001", 2500)]);
    assert_eq!(linked(&world, "first", "other"), None);
    assert_eq!(linked(&world, "first", "transfer"), Some(LinkReason::Refer));
    let world = transferred(&[("other", "5550002", 6000)]);
    assert_eq!(linked(&world, "first", "other"), None);
}

#[test]
fn a_caller_who_came_to_the_pbx_by_itself_was_referred_by_nobody() {
    let mut world = World::new();
    let first = Leg::new("first", ("5550001", PBX), ("1001", 1));
    first.set_up(&mut world, (PBX, 4000), (1, 4000));
    let stranger = Leg::new("stranger", ("5550002", 9), ("1003", PBX));
    stranger.invite(&mut world, (9, 4000));
    first.say_back(&mut world, "REFER", 5, "Refer-To: <sip:1003@a>\r\n", "");
    world.wait(20);
    Leg::new("rings", ("5550002", PBX), ("1003", 3)).invite(&mut world, (PBX, 4010));
    world.wait(100);
    Leg::new("transfer", ("4711", PBX), ("1003", 3)).invite(&mut world, (PBX, 4012));
    world.wait(4000);
    world.finish();
    assert_eq!(
        linked(&world, "stranger", "rings"),
        Some(LinkReason::Numbers)
    );
    assert_eq!(linked(&world, "first", "rings"), None);
    assert_eq!(linked(&world, "first", "transfer"), Some(LinkReason::Refer));
}

#[test]
fn of_two_transfers_to_one_number_none_is_guessed() {
    let mut world = World::new();
    for (call_id, caller, callee) in [("first", "5550001", 1), ("second", "5550002", 2)] {
        let number = if callee == 1 { "1001" } else { "1002" };
        let leg = Leg::new(call_id, (caller, PBX), (number, callee));
        leg.set_up(&mut world, (PBX, 4000 + u16::from(callee)), (callee, 4000));
        leg.say_back(&mut world, "REFER", 5, "Refer-To: <sip:1003@a>\r\n", "");
    }
    world.wait(100);
    Leg::new("transfer", ("4711", PBX), ("1003", 3)).invite(&mut world, (PBX, 4012));
    world.wait(4000);
    world.finish();
    for first in ["first", "second"] {
        assert_eq!(linked(&world, first, "transfer"), None, "{first}");
    }
}

/// A NOTIFY of who was sent elsewhere.
fn notify(leg: &Leg, world: &mut World, number: u32, status: &str, more: &str) {
    let event = format!("Event: refer{more}\r\n");
    leg.say(
        world,
        "NOTIFY",
        number,
        &event,
        &format!("SIP/2.0 {status}"),
    );
}

fn outcomes(world: &World) -> Vec<(&str, Option<u16>)> {
    let transfers = &world.end_of("first").info.transfers;
    transfers
        .iter()
        .map(|t| (t.to.as_str(), t.status))
        .collect()
}

#[test]
fn a_transfer_has_the_status_of_the_call_that_came_of_it() {
    for (said, status) in [
        (&["100 Trying", "180 Ringing", "200 OK"][..], Some(200)),
        (&["100 Trying", "486 Busy Here"], Some(486)),
        (&["100 Trying"], None),
        (&["603 Decline"], Some(603)),
        (&["no status", ""], None),
    ] {
        let mut world = World::new();
        let first = Leg::new("first", ("5550001", PBX), ("1001", 1));
        first.set_up(&mut world, (PBX, 4000), (1, 4000));
        first.say_back(&mut world, "REFER", 5, "Refer-To: <sip:1003@a>\r\n", "");
        for (number, said) in (7..).zip(said) {
            notify(&first, &mut world, number, said, "");
        }
        // Of somebody else, who knows the tags; and of what has nothing to do with it.
        let elsewhere = Leg {
            caller: (66, 5060),
            ..first.clone()
        };
        notify(&elsewhere, &mut world, 20, "500 Forged", "");
        let of_messages = "Event: message-summary\r\n";
        first.say(&mut world, "NOTIFY", 21, of_messages, "SIP/2.0 500 Other");
        first.bye(&mut world);
        assert_eq!(outcomes(&world), [("1003", status)], "{said:?}");
    }
}

#[test]
fn a_refer_that_is_refused_sends_nobody_elsewhere() {
    let mut world = World::new();
    let first = Leg::new("first", ("5550001", PBX), ("1001", 1));
    first.set_up(&mut world, (PBX, 4000), (1, 4000));
    let refer = |world: &mut World, number: u32, to: &str| {
        first.say_back(
            world,
            "REFER",
            number,
            &format!("Refer-To: <sip:{to}@a>\r\n"),
            "",
        );
    };
    // Credentials, and then another target.
    refer(&mut world, 5, "1003");
    first.refuse_back(&mut world, 407, "REFER", 5);
    refer(&mut world, 6, "1003");
    first.refuse_back(&mut world, 503, "REFER", 6);
    refer(&mut world, 7, "1004");
    notify(&first, &mut world, 30, "404 Not Found", ";id=7");
    world.wait(100);
    for to in ["1003", "1004"] {
        Leg::new(
            to,
            ("4711", PBX),
            (if to == "1003" { "1003" } else { "1004" }, 3),
        )
        .invite(&mut world, (PBX, 4012));
    }
    world.wait(4000);
    first.bye(&mut world);
    world.finish();
    assert_eq!(outcomes(&world), [("1003", Some(503)), ("1004", Some(404))]);
    for to in ["1003", "1004"] {
        assert_eq!(linked(&world, "first", to), None, "{to}");
    }
}
