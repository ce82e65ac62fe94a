//! Media that moves before the answer.

use super::world::{Dialog, Talk, World, sdp};
use crate::base::Side;

/// Rings with media at port 5000, and agrees on port 5006 before it answers without a word of media.
fn moved_while_ringing(move_it: impl Fn(&Dialog, &mut World)) {
    let mut world = World::new();
    let dialog = Dialog::new("early", 1, 2);
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 183, "INVITE", 1, "tt", &sdp((2, 5000), ""));
    let mut tone = Talk::new((2, 5000), (1, 4000), 0x33);
    world.talk(&mut tone, 50);
    move_it(&dialog, &mut world);
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", "");
    dialog.request(&mut world, "ACK", 1, "tt", "");
    let mut out = Talk::new((1, 4000), (2, 5006), 0x11);
    let mut back = Talk::new((2, 5006), (1, 4000), 0x22);
    world.talk_both(&mut out, &mut back, 100);
    dialog.bye(&mut world);
    let callee = [(0x33, 50 * 160), (0x22, 100 * 160)];
    assert_eq!(world.heard("early", Side::Callee), callee);
    assert_eq!(world.heard("early", Side::Caller), [(0x11, 100 * 160)]);
    assert_eq!(world.end().suspicious, Default::default());
}

#[test]
fn media_that_the_callee_moves_before_it_answers_is_the_call_s() {
    moved_while_ringing(|dialog, world| {
        dialog.request_back(world, "UPDATE", 7, &sdp((2, 5006), ""));
        dialog.answer_back(world, 200, "UPDATE", 7, &sdp((1, 4000), ""));
    });
}

#[test]
fn media_that_moves_in_the_answer_to_an_update_or_prack_is_the_call_s() {
    for method in ["UPDATE", "PRACK"] {
        moved_while_ringing(|dialog, world| {
            dialog.request(world, method, 2, "tt", &sdp((1, 4000), ""));
            dialog.answer(world, 200, method, 2, "tt", &sdp((2, 5006), ""));
        });
    }
}
