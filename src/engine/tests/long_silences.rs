//! Calls in which nobody says anything for longer than a lost BYE is waited for, and which go on.

use super::world::{Dialog, Talk, World, sdp};
use crate::base::Side;
use crate::engine::event::{EndReason, LinkReason};

/// A second of talk, and silence until the call is given up.
fn given_up() -> (World, Dialog, Talk, Talk) {
    let mut world = World::new();
    let dialog = Dialog::new("mute", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let mut out = Talk::new((1, 4000), (2, 4000), 0x11);
    let mut back = Talk::new((2, 4000), (1, 4000), 0x22);
    world.talk_both(&mut out, &mut back, 50);
    world.wait(301_000);
    assert_eq!(world.end().reason, EndReason::MediaTimeout);
    (world, dialog, out, back)
}

/// What the second call of the two that ended heard of each side.
fn heard_again(world: &World) -> Vec<(EndReason, u64, Vec<LinkReason>)> {
    let ends = world.ends();
    let said = ends.iter().map(|end| {
        let links = end.info.links.iter().map(|link| link.reason).collect();
        (end.reason, end.length_samples, links)
    });
    said.collect()
}

const BY_CALLER: EndReason = EndReason::Bye { by: Side::Caller };

#[test]
fn media_that_goes_on_after_a_long_silence_is_recorded_again() {
    for pause in [0, 100, 30_000, 3_000_000] {
        let (mut world, dialog, mut out, mut back) = given_up();
        world.wait(pause);
        for talk in [&mut out, &mut back] {
            talk.timestamp += 8 * (301_000 + pause as u32);
        }
        world.talk_both(&mut out, &mut back, 100);
        dialog.bye(&mut world);
        let [first, second] = world.ends()[..] else {
            panic!("two calls were expected after {pause} ms");
        };
        assert_eq!(second.reason, BY_CALLER);
        assert_eq!(second.length_samples, 100 * 160, "{pause}");
        assert_eq!(second.info.call_id, first.info.call_id);
        assert_eq!(second.info.interaction, first.info.interaction);
        assert_eq!(second.info.links[0].reason, LinkReason::CallId);
        assert_ne!(second.info.seed, first.info.seed);
        assert_eq!(second.suspicious, Default::default());
        assert_eq!(world.media_counters().unclaimed, 0, "{pause}");
    }
}

#[test]
fn a_re_invite_after_a_long_silence_goes_on_with_the_call() {
    let (mut world, dialog, _, _) = given_up();
    dialog.request(&mut world, "INVITE", 7, "tt", &sdp((1, 4010), ""));
    dialog.answer(&mut world, 200, "INVITE", 7, "tt", &sdp((2, 4000), ""));
    let mut out = Talk::new((1, 4010), (2, 4000), 0x33);
    world.talk(&mut out, 100);
    dialog.bye(&mut world);
    assert_eq!(
        heard_again(&world)[1],
        (BY_CALLER, 100 * 160, vec![LinkReason::CallId])
    );
}

#[test]
fn other_media_on_the_same_ports_is_not_the_call_s() {
    // Another SSRC, whose signalling nobody saw; what follows a BYE; and another call's on one of the ports.
    let (mut world, _, _, _) = given_up();
    world.talk(&mut Talk::new((1, 4000), (2, 4000), 0x33), 100);
    world.finish();
    assert_eq!(world.ends().len(), 1);

    let (mut world, dialog, mut out, mut back) = given_up();
    dialog.bye(&mut world);
    world.talk_both(&mut out, &mut back, 100);
    world.finish();
    assert_eq!(world.ends().len(), 1);

    let (mut world, _, mut out, mut back) = given_up();
    let other = Dialog::new("other", 1, 3);
    other.set_up(&mut world, (1, 4000), (3, 6000));
    other.bye(&mut world);
    world.pass(40_000);
    world.talk_both(&mut out, &mut back, 100);
    world.finish();
    assert_eq!(world.ends().len(), 2);
}

#[test]
fn a_call_that_does_not_go_on_is_forgotten() {
    let (mut world, _, mut out, mut back) = given_up();
    world.wait(5 * 3_600_000);
    assert!(!world.signalling().has_asleep());
    world.talk_both(&mut out, &mut back, 10);
    world.finish();
    assert_eq!(world.ends().len(), 1);
}

/// Somebody knows the tags of a call that nobody has heard for long.
#[test]
fn a_re_invite_from_elsewhere_begins_no_second_call() {
    let (mut world, dialog, mut out, mut back) = given_up();
    let forger = Dialog {
        caller: (66, 5060),
        ..dialog.clone()
    };
    for method in ["INVITE", "UPDATE"] {
        forger.request(&mut world, method, 7, "tt", &sdp((66, 4010), ""));
    }
    world.talk(&mut Talk::new((66, 4010), (2, 4000), 0x66), 50);
    assert_eq!(world.engine().open_calls(), 0);
    // The call itself still goes on.
    for talk in [&mut out, &mut back] {
        talk.timestamp += 8 * 302_000;
    }
    world.talk_both(&mut out, &mut back, 100);
    dialog.bye(&mut world);
    assert_eq!(
        heard_again(&world)[1],
        (BY_CALLER, 100 * 160, vec![LinkReason::CallId])
    );
}

/// What is said of a call that is over, or may be, has media expect nothing: it would for ever.
#[test]
fn a_message_of_a_call_that_is_over_changes_nothing() {
    let (mut world, dialog, mut out, mut back) = given_up();
    let info = dialog.text("INFO", 8, "");
    world.send(dialog.caller, dialog.callee, info.as_bytes());
    assert_eq!(world.engine().media_calls(), 0);
    for talk in [&mut out, &mut back] {
        talk.timestamp += 8 * 301_000;
    }
    world.talk_both(&mut out, &mut back, 100);
    dialog.bye(&mut world);
    assert_eq!(heard_again(&world)[1].1, 100 * 160);
    dialog.bye(&mut world);
    assert_eq!(world.engine().media_calls(), 0);
}
