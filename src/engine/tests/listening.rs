//! Listening to a call while it lasts: everything once, soon, and nothing of a pause.

use super::world::{At, Dialog, Talk, World};
use crate::base::Side;
use crate::engine::control::{ControlAction, ControlRequest};
use crate::engine::event::Event;
use crate::engine::media::Overheard;
use crate::engine::plan::CallKey;

const CALLER: At = (1, 4000);
const CALLEE: At = (2, 4000);

fn begin(world: &mut World) -> (Dialog, Talk, Talk, CallKey) {
    let dialog = Dialog::new("heard", 1, 2);
    dialog.set_up(world, CALLER, CALLEE);
    let key = world.events.iter().map(Event::call).next_back().unwrap();
    let (caller, callee) = (
        Talk::new(CALLER, CALLEE, 0x11),
        Talk::new(CALLEE, CALLER, 0x22),
    );
    (dialog, caller, callee, key)
}

/// Places of what was heard of a side, and its bytes, which are all the same in a packet.
fn places(heard: &[(CallKey, Option<Overheard>)], side: Side) -> Vec<(i64, u8, usize)> {
    let heard = heard.iter().filter_map(|(_, heard)| heard.as_ref());
    let pieces = heard.flat_map(|heard| {
        heard.sides[side].iter().map(|piece| {
            let payload = heard.payload(piece);
            (piece.position, payload[0], payload.len())
        })
    });
    pieces.collect()
}

#[test]
fn everything_that_is_put_is_heard_once_and_within_a_packet() {
    let mut world = World::new();
    let (dialog, mut caller, mut callee, key) = begin(&mut world);
    assert!(world.engine_mut().listen(key));
    let mut heard = Vec::new();
    for _ in 0..100 {
        world.talk_both(&mut caller, &mut callee, 3);
        let step = world.overhear();
        assert_eq!(
            places(&step, Side::Callee).len(),
            3,
            "nothing waits for its block"
        );
        heard.extend(step);
    }
    dialog.bye(&mut world);
    for side in Side::BOTH {
        let expected: Vec<_> = (0..300).map(|n| n * 160).collect();
        let found: Vec<_> = places(&heard, side).iter().map(|place| place.0).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn blocks_that_close_between_two_questions_lose_nothing() {
    let mut world = World::new();
    let (_, mut caller, mut callee, key) = begin(&mut world);
    world.engine_mut().listen(key);
    let mut heard = Vec::new();
    for packets in [1, 70, 2, 41, 100, 7] {
        world.talk_both(&mut caller, &mut callee, packets);
        heard.extend(world.overhear());
    }
    let found: Vec<_> = places(&heard, Side::Caller).iter().map(|p| p.0).collect();
    assert_eq!(found, (0..221).map(|n| n * 160).collect::<Vec<_>>());
}

#[test]
fn who_comes_later_does_not_hear_what_was_said_before() {
    let mut world = World::new();
    let (_, mut caller, mut callee, key) = begin(&mut world);
    world.talk_both(&mut caller, &mut callee, 10);
    world.wait(0);
    world.engine_mut().listen(key);
    world.talk_both(&mut caller, &mut callee, 2);
    let heard = places(&world.overhear(), Side::Caller);
    assert_eq!(
        heard.iter().map(|place| place.0).collect::<Vec<_>>(),
        [1600, 1760]
    );
    world.engine_mut().stop_listening(key);
    world.talk_both(&mut caller, &mut callee, 10);
    assert!(world.overhear().is_empty());
}

#[test]
fn a_pause_is_silence_for_listeners() {
    let mut world = World::new();
    let (dialog, mut caller, mut callee, key) = begin(&mut world);
    world.engine_mut().listen(key);
    let request = |action| ControlRequest {
        target: "heard".into(),
        action,
        tenant: None,
        only: None,
        looks: false,
        who: String::new(),
        why: String::new(),
    };
    let mut heard = Vec::new();
    for (fill, action) in [
        (1, ControlAction::Pause),
        (2, ControlAction::Resume),
        (3, ControlAction::Keep),
    ] {
        (caller.fill, callee.fill) = (fill, fill);
        for _ in 0..20 {
            world.talk_both(&mut caller, &mut callee, 3);
            heard.extend(world.overhear());
        }
        world.control(&request(action));
    }
    dialog.bye(&mut world);
    let fills: Vec<u8> = places(&heard, Side::Caller).iter().map(|p| p.1).collect();
    assert_eq!(fills.iter().filter(|&&fill| fill == 1).count(), 60);
    assert_eq!(fills.iter().filter(|&&fill| fill == 3).count(), 60);
    assert!(!fills.contains(&2));
}

#[test]
fn the_end_is_told_once() {
    let mut world = World::new();
    let (dialog, mut caller, mut callee, key) = begin(&mut world);
    assert!(!world.engine_mut().listen(CallKey(u64::MAX)));
    world.engine_mut().listen(key);
    world.talk_both(&mut caller, &mut callee, 10);
    dialog.bye(&mut world);
    world.wait(60_000);
    let last = world.overhear();
    assert!(matches!(last.as_slice(), [(_, None)]), "{last:?}");
    assert!(world.overhear().is_empty());
}

#[test]
fn listening_changes_nothing_of_what_is_recorded() {
    let run = |every: u32| {
        let mut world = World::new();
        let (dialog, mut caller, mut callee, key) = begin(&mut world);
        if every > 0 {
            world.engine_mut().listen(key);
        }
        for n in 0..120 {
            world.talk_both(&mut caller, &mut callee, 2);
            if every > 0 && n % every == 0 {
                world.overhear();
            }
        }
        dialog.bye(&mut world);
        world.wait(60_000);
        let blocks = world.blocks("heard").into_iter();
        let pieces = |side: Side| {
            move |block: &crate::engine::event::Block| {
                let pieces = block.sides[side].iter();
                pieces
                    .map(|piece| (piece.position, block.payload(piece).to_vec()))
                    .collect::<Vec<_>>()
            }
        };
        blocks
            .map(|block| {
                (
                    block.index,
                    pieces(Side::Caller)(block),
                    pieces(Side::Callee)(block),
                )
            })
            .collect::<Vec<_>>()
    };
    let alone = run(0);
    assert!(!alone.is_empty());
    assert_eq!(run(1), alone);
    assert_eq!(run(13), alone);
}

#[test]
fn what_is_put_right_at_the_beginning_is_heard_once_on_one_timeline() {
    let mut world = World::new();
    let (_, mut caller, mut callee, key) = begin(&mut world);
    world.engine_mut().listen(key);
    let mut heard = Vec::new();
    // The caller's first packet comes behind its second, and the callee's are held up for 100 ms.
    let (first, second) = (caller.next(), caller.next());
    for packet in [second, first] {
        world.send(CALLER, CALLEE, &packet);
    }
    heard.extend(world.overhear());
    for _ in 0..5 {
        let packet = callee.next();
        world.send(CALLEE, CALLER, &packet);
    }
    for _ in 0..60 {
        world.pass(20);
        for talk in [&mut caller, &mut callee] {
            let packet = talk.next();
            world.send(talk.from, talk.to, &packet);
        }
        heard.extend(world.overhear());
    }
    let starts = heard
        .iter()
        .filter_map(|(_, heard)| Some(heard.as_ref()?.start));
    let starts: std::collections::BTreeSet<_> = starts.collect();
    assert_eq!(starts.len(), 1, "{starts:?}");
    for (side, first) in [(Side::Caller, 0), (Side::Callee, -640)] {
        let places: Vec<i64> = places(&heard, side).iter().map(|place| place.0).collect();
        let count = if side == Side::Caller { 62 } else { 65 };
        assert_eq!(places.len(), count, "{side}: {places:?}");
        let last = places.last().copied().unwrap();
        // Once everything is put right.
        assert_eq!(
            last,
            first + (count as i64 - 1) * 160 - if side == Side::Caller { 160 } else { 0 }
        );
    }
}
