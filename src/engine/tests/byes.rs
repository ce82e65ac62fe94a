//! BYEs that end nothing.

use super::world::{Dialog, Talk, World, sdp};
use crate::base::Side;
use crate::engine::event::EndReason;

const BY_CALLER: EndReason = EndReason::Bye { by: Side::Caller };

fn talking() -> (World, Dialog, Talk, Talk) {
    let mut world = World::new();
    let dialog = Dialog::new("bye", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let mut out = Talk::new((1, 4000), (2, 4000), 0x11);
    let mut back = Talk::new((2, 4000), (1, 4000), 0x22);
    world.talk_both(&mut out, &mut back, 50);
    (world, dialog, out, back)
}

/// The peer wants credentials, or does not want to end at all.
#[test]
fn a_bye_that_is_refused_ends_nothing() {
    for status in [401, 403, 407, 500] {
        let (mut world, dialog, mut out, mut back) = talking();
        dialog.request(&mut world, "BYE", 7, "tt", "");
        dialog.answer(&mut world, status, "BYE", 7, "tt", "");
        world.talk_both(&mut out, &mut back, 100);
        dialog.bye(&mut world);
        assert_eq!(world.ends().len(), 1, "{status}");
        let end = world.end();
        assert_eq!(
            (end.reason, end.length_samples),
            (BY_CALLER, 150 * 160),
            "{status}"
        );
        assert_eq!(
            world.heard("bye", Side::Caller),
            [(0x11, 150 * 160)],
            "{status}"
        );
    }
}

/// To who knows of no such call it is over, and who does not answer may be gone.
#[test]
fn a_bye_to_nobody_ends_the_call() {
    for status in [None, Some(408), Some(481)] {
        let (mut world, dialog, _, mut back) = talking();
        dialog.request(&mut world, "BYE", 7, "tt", "");
        if let Some(status) = status {
            dialog.answer(&mut world, status, "BYE", 7, "tt", "");
        }
        // Who was told nothing speaks on.
        world.talk(&mut back, 200);
        world.wait(5000);
        assert_eq!(world.ends().len(), 1, "{status:?}");
        assert_eq!(world.end().reason, BY_CALLER, "{status:?}");
        assert_eq!(world.end().suspicious.requests, 0, "{status:?}");
    }
}

/// A stranger who knows the tags sends a BYE in the caller's name: nobody answers it, and the caller speaks on.
#[test]
fn a_bye_that_its_sender_knows_nothing_of_ends_nothing() {
    let (mut world, dialog, mut out, mut back) = talking();
    dialog.request(&mut world, "BYE", 7, "tt", "");
    world.talk_both(&mut out, &mut back, 300);
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!((end.reason, end.length_samples), (BY_CALLER, 350 * 160));
    assert_eq!(world.heard("bye", Side::Caller), [(0x11, 350 * 160)]);
    assert_eq!(end.suspicious.requests, 1);
}

/// The mirror shows one direction of the signalling only, and the last words after the BYE.
#[test]
fn a_bye_whose_answer_was_not_seen_ends_the_call() {
    let (mut world, dialog, mut out, mut back) = talking();
    dialog.request(&mut world, "BYE", 7, "tt", "");
    world.talk_both(&mut out, &mut back, 10);
    world.wait(5000);
    let end = world.end();
    assert_eq!((end.reason, end.suspicious.requests), (BY_CALLER, 0));
    assert_eq!(world.heard("bye", Side::Caller), [(0x11, 60 * 160)]);
}

/// The mirror shows one direction only, in which the answer is.
#[test]
fn an_answer_to_a_bye_that_was_not_seen_ends_the_call() {
    for status in [200, 481] {
        let (mut world, dialog, _, _) = talking();
        let at = world.now;
        dialog.answer(&mut world, status, "BYE", 7, "tt", "");
        world.wait(5000);
        let end = world.end();
        assert_eq!((end.reason, end.ended_at), (BY_CALLER, at), "{status}");
    }
}

#[test]
fn an_answer_to_a_bye_that_its_asker_knows_nothing_of_ends_nothing() {
    let (mut world, dialog, mut out, mut back) = talking();
    dialog.answer(&mut world, 200, "BYE", 7, "tt", "");
    world.talk_both(&mut out, &mut back, 300);
    dialog.bye(&mut world);
    assert_eq!(world.heard("bye", Side::Caller), [(0x11, 350 * 160)]);
    assert_eq!(world.end().suspicious.requests, 1);
}

/// Its BYE was lost; the same phones speak again from the same ports.
#[test]
fn a_later_call_with_its_ports_ends_a_call_of_which_nothing_was_heard_since() {
    for (callee_host, callee_port) in [(2, 4000), (3, 6000)] {
        let (mut world, _, _, _) = talking();
        world.pass(3000);
        let at = world.now;
        let later = Dialog::new("later", 1, callee_host);
        later.set_up(&mut world, (1, 4000), (callee_host, callee_port));
        let mut out = Talk::new((1, 4000), (callee_host, callee_port), 0x33);
        world.talk(&mut out, 600);
        let end = world.end();
        let expected = (EndReason::PortsReused, at);
        assert_eq!((end.reason, end.ended_at), expected, "{callee_port}");
        assert_eq!(end.info.call_id, "bye");
        later.bye(&mut world);
        assert_eq!(world.heard("later", Side::Caller), [(0x33, 600 * 160)]);
        assert_eq!(world.heard("bye", Side::Caller), [(0x11, 50 * 160)]);
    }
}

/// A phone may use one port for the call it holds and the one it makes meanwhile; and behind two NATs are the same addresses.
#[test]
fn a_later_call_ends_none_that_is_on_hold_or_of_other_hosts() {
    let (mut world, dialog, _, _) = talking();
    let hold = sdp((1, 4000), "a=sendonly\r\n");
    dialog.request(&mut world, "INVITE", 7, "tt", &hold);
    let held = sdp((2, 4000), "a=recvonly\r\n");
    dialog.answer(&mut world, 200, "INVITE", 7, "tt", &held);
    world.pass(3000);
    Dialog::new("aside", 1, 3).set_up(&mut world, (1, 4000), (3, 6000));
    let behind_another_nat = Dialog::new("other", 9, 3);
    behind_another_nat.set_up(&mut world, (1, 4000), (2, 4000));
    world.wait(20_000);
    assert_eq!(world.ends().len(), 0);
}
