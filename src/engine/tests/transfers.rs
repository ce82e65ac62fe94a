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
