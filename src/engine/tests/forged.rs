//! Audio from somebody else, in cases where it is hard to tell.

use super::world::{Dialog, Talk, World};
use crate::base::Side;
use crate::engine::event::Event;

/// Packets of a forger who begins `ahead` packets before the phone does, both of them in an answered call.
fn forged_from_the_start(ahead: u32) -> World {
    let mut world = World::new();
    let dialog = Dialog::new("forged", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let mut forged = Talk::new((66, 4000), (2, 4000), 0x66);
    let mut back = Talk::new((2, 4000), (1, 4000), 0x22);
    let mut out = Talk::new((1, 4000), (2, 4000), 0x11);
    world.talk(&mut forged, ahead);
    for _ in 0..100 {
        for talk in [&mut out, &mut forged, &mut back] {
            let payload = [talk.fill; 160];
            world.send_voice(talk, &payload);
        }
        world.pass(20);
    }
    dialog.bye(&mut world);
    world
}

#[test]
fn a_forger_who_is_first_is_taken_back_and_told_of() {
    let world = forged_from_the_start(3);
    assert_eq!(world.heard("forged", Side::Caller), [(0x11, 100 * 160)]);
    assert_eq!(world.heard("forged", Side::Callee), [(0x22, 100 * 160)]);
    let end = world.end();
    assert_eq!(end.suspicious.media_packets, 103);
    assert_eq!(end.length_samples, 100 * 160);
    let first = world.blocks("forged")[0].sides.caller[0];
    assert_eq!((first.position, first.len), (0, 160));
    let told = world.events.iter().find_map(|event| match event {
        Event::Recording { start, .. } => Some(*start),
        _ => None,
    });
    let begin = end.streams.iter().find(|stream| stream.ssrc == 0x1011);
    assert_eq!(told, begin.map(|stream| stream.first_at));
}

/// What was handed on before the phone spoke is in the recording, and told of.
#[test]
fn a_forger_who_is_long_before_the_phone_is_told_of() {
    let world = forged_from_the_start(100);
    let heard = world.heard("forged", Side::Caller);
    assert!(
        heard
            .iter()
            .any(|part| part.0 == 0x11 && part.1 == 100 * 160),
        "{heard:?}"
    );
    assert_eq!(world.end().suspicious.media_packets, 200);
}

/// A forger who took the SSRC of the phone too is told of, unless the numbers are the phone's own.
#[test]
fn a_forger_with_the_ssrc_of_the_phone_is_told_of() {
    let mut world = World::new();
    let dialog = Dialog::new("forged", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let mut out = Talk::new((1, 4000), (2, 4000), 0x11);
    world.talk(&mut out, 20);
    let mut forged = Talk::new((66, 4000), (2, 4000), 0x66);
    (forged.ssrc, forged.sequence) = (out.ssrc, 9000);
    world.talk_both(&mut out, &mut forged, 80);
    dialog.bye(&mut world);
    assert_eq!(world.heard("forged", Side::Caller), [(0x11, 100 * 160)]);
    assert_eq!(world.end().suspicious.media_packets, 80);
}

/// An early-media server is no forger: the side had not said anything yet, and moves when it answers.
#[test]
fn early_media_from_before_the_answer_stays() {
    let mut world = World::new();
    let dialog = Dialog::new("early", 1, 2);
    dialog.request(
        &mut world,
        "INVITE",
        1,
        "",
        &super::world::sdp((1, 4000), ""),
    );
    let mut early = Talk::new((77, 4000), (1, 4000), 0x77);
    world.talk(&mut early, 10);
    dialog.answer(
        &mut world,
        200,
        "INVITE",
        1,
        "tt",
        &super::world::sdp((2, 4000), ""),
    );
    let mut back = Talk::new((2, 4000), (1, 4000), 0x22);
    world.talk(&mut back, 50);
    dialog.bye(&mut world);
    assert_eq!(
        world.heard("early", Side::Callee),
        [(0x77, 1600), (0x22, 50 * 160)]
    );
    assert_eq!(world.end().suspicious.media_packets, 0);
}
