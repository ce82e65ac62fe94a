//! Ports that were another call's a moment before, whose signalling nobody saw.

use super::world::{Dialog, Talk, World};
use crate::base::{Side, Timestamp};
use crate::engine::event::Event;

/// A call that nobody told of speaks for two seconds, and `gap_ms` after it another one begins between the same ports. The SSRCs and
/// sequence numbers of the other call are those of the first, or are not.
fn next_call(gap_ms: u64, is_same: bool) -> World {
    let mut world = World::new();
    let talks = |fill: u8| {
        [
            Talk::new((1, 4000), (2, 4000), fill),
            Talk::new((2, 4000), (1, 4000), fill + 1),
        ]
    };
    let [mut out, mut back] = talks(0x11);
    world.talk_both(&mut out, &mut back, 100);
    world.pass(gap_ms);
    let dialog = Dialog::new("next", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let [mut out, mut back] = talks(0x33);
    if is_same {
        (out.ssrc, back.ssrc) = (0x1011, 0x1012);
    }
    world.talk_both(&mut out, &mut back, 50);
    dialog.bye(&mut world);
    world
}

fn begin(world: &World) -> Timestamp {
    let begin = world.events.iter().find_map(|event| match event {
        Event::Recording { start, .. } => Some(*start),
        _ => None,
    });
    begin.expect("it was recorded")
}

#[test]
fn audio_of_an_earlier_call_is_not_the_next_ones() {
    for gap_ms in [300, 1000, 1900, 3000, 5000, 12_000] {
        for is_same in [false, true] {
            let world = next_call(gap_ms, is_same);
            let what = format!("{gap_ms} ms later, the same SSRCs: {is_same}");
            assert_eq!(
                world.heard("next", Side::Caller),
                [(0x33, 50 * 160)],
                "{what}"
            );
            assert_eq!(
                world.heard("next", Side::Callee),
                [(0x34, 50 * 160)],
                "{what}"
            );
            let end = world.end();
            assert!(begin(&world) >= end.info.invite_at, "{what}");
            assert_eq!(end.length_samples, 50 * 160, "{what}");
            assert_eq!(end.streams.len(), 2, "{what}");
            for stream in &end.streams {
                let counts = (
                    stream.packets,
                    stream.duplicates,
                    stream.lost,
                    stream.restarts,
                );
                assert_eq!(counts, (50, 0, 0, 0), "{what}");
            }
            let counters = world.media_counters();
            assert_eq!(counters.unclaimed, 200, "{what}");
            assert_eq!(counters.streams_unclaimed, 2, "{what}");
        }
    }
}

/// Media that is under way when the INVITE comes is the call's: a mirror may show one before the other.
#[test]
fn media_that_runs_on_when_the_invite_comes_is_the_calls() {
    let mut world = World::new();
    let dialog = Dialog::new("ahead", 1, 2);
    let mut talk = Talk::new((2, 4000), (1, 4000), 0x22);
    world.talk(&mut talk, 75);
    world.pass(100);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    world.talk(&mut talk, 25);
    dialog.bye(&mut world);
    assert_eq!(world.heard("ahead", Side::Callee), [(0x22, 100 * 160)]);
}
