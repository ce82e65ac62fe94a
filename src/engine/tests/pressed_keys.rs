//! Keys in media, and who may press them.

use super::world::{Dialog, Talk, World};
use crate::base::Side;

/// A key of `talk`, as five packets of a telephone event.
fn events(talk: &mut Talk, event: u8) -> Vec<Vec<u8>> {
    let timestamp = talk.timestamp;
    let packet = |end: u8| {
        let mut packet = talk.next();
        packet[1] = 101;
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet.truncate(12);
        packet.extend([event, end | 10, 0, 160]);
        packet
    };
    [0, 0, 0x80, 0x80, 0x80].map(packet).into()
}

fn press(world: &mut World, talk: &mut Talk, event: u8) {
    for packet in events(talk, event) {
        world.send(talk.from, talk.to, &packet);
        world.pass(20);
    }
}

fn keys(world: &World) -> Vec<(Side, char)> {
    let digits = world.end().digits.iter();
    digits.map(|digit| (digit.by, digit.key)).collect()
}

fn begin(world: &mut World) -> (Dialog, Talk, Talk) {
    let dialog = Dialog::new("keys", 1, 2);
    dialog.set_up(world, (1, 4000), (2, 4000));
    (
        dialog,
        Talk::new((1, 4000), (2, 4000), 0x11),
        Talk::new((2, 4000), (1, 4000), 0x22),
    )
}

#[test]
fn a_stranger_presses_no_keys() {
    for with_audio in [false, true] {
        let mut world = World::new();
        let (dialog, mut out, mut back) = begin(&mut world);
        let mut forged = Talk::new((66, 4000), (2, 4000), 0x66);
        world.talk_both(&mut out, &mut back, 50);
        if with_audio {
            world.talk_both(&mut out, &mut forged, 50);
        }
        press(&mut world, &mut forged, 10);
        press(&mut world, &mut forged, 1);
        world.talk_both(&mut out, &mut back, 50);
        press(&mut world, &mut out, 5);
        world.talk_both(&mut out, &mut back, 50);
        dialog.bye(&mut world);
        assert_eq!(keys(&world), [(Side::Caller, '5')]);
    }
}

/// Not even while the phone is silent.
#[test]
fn a_stranger_presses_no_keys_while_nobody_speaks() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = begin(&mut world);
    let mut forged = Talk::new((66, 4000), (2, 4000), 0x66);
    world.talk_both(&mut out, &mut back, 50);
    world.talk(&mut back, 500);
    press(&mut world, &mut forged, 10);
    press(&mut world, &mut forged, 1);
    world.talk(&mut back, 500);
    dialog.bye(&mut world);
    assert_eq!(keys(&world), []);
}

/// A gateway sends digits beside the voice, from the voice's place.
#[test]
fn keys_under_another_ssrc_of_the_voices_place_count() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = begin(&mut world);
    let mut digits = Talk::new((1, 4000), (2, 4000), 0x33);
    world.talk_both(&mut out, &mut back, 50);
    for event in [1, 2, 2] {
        for packet in events(&mut digits, event) {
            world.send(digits.from, digits.to, &packet);
            world.talk_both(&mut out, &mut back, 1);
        }
        world.talk_both(&mut out, &mut back, 20);
    }
    dialog.bye(&mut world);
    let expected = ['1', '2', '2'].map(|key| (Side::Caller, key));
    assert_eq!(keys(&world), expected);
}

/// Keys are the first that is heard of many a phone: it says nothing while it listens to a menu.
#[test]
fn keys_of_who_says_nothing_else_count() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = begin(&mut world);
    world.talk(&mut back, 50);
    press(&mut world, &mut out, 3);
    world.talk(&mut back, 50);
    press(&mut world, &mut out, 4);
    dialog.bye(&mut world);
    assert_eq!(keys(&world), [(Side::Caller, '3'), (Side::Caller, '4')]);
}

/// A phone that roams presses keys before it is known to be the same one.
#[test]
fn keys_that_waited_in_doubt_count_once_it_is_the_side() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = begin(&mut world);
    world.talk_both(&mut out, &mut back, 100);
    out.from = (9, 7777);
    press(&mut world, &mut out, 7);
    world.talk_both(&mut out, &mut back, 10);
    press(&mut world, &mut out, 8);
    world.talk_both(&mut out, &mut back, 100);
    dialog.bye(&mut world);
    assert_eq!(keys(&world), [(Side::Caller, '7'), (Side::Caller, '8')]);
}
