//! Phones that send from another address in mid-call and say nothing of it, and who only pretends to be one.

use super::world::{At, Dialog, Talk, World};
use crate::base::Side;

const PHONE: At = (1, 4000);
const PBX: At = (2, 4000);
/// Behind another NAT, or on another network.
const ELSEWHERE: At = (9, 31_000);

/// A call that has lasted for a second.
struct Call {
    world: World,
    dialog: Dialog,
    out: Talk,
    back: Talk,
}

impl Call {
    /// The phone says `said`, and sends from `from`.
    fn new(said: At, from: At) -> Call {
        let mut world = World::new();
        let dialog = Dialog::new("moving", 1, 2);
        dialog.set_up(&mut world, said, PBX);
        let (mut out, mut back) = (Talk::new(from, PBX, 0x11), Talk::new(PBX, from, 0x22));
        world.talk_both(&mut out, &mut back, 50);
        Call {
            world,
            dialog,
            out,
            back,
        }
    }

    /// Time passes for the phone, which sends none of its packets.
    fn lose(&mut self, packets: u16) {
        self.out.sequence += packets;
        self.out.timestamp += u32::from(packets) * 160;
    }

    fn end(mut self) -> World {
        self.dialog.bye(&mut self.world);
        self.world
    }
}

fn caller(world: &World) -> Vec<(u8, usize)> {
    world.heard("moving", Side::Caller)
}

fn suspicious(world: &World) -> u64 {
    world.end().suspicious.media_packets
}

/// Where the packets of the caller are, and that none of them is there twice or beside its place.
fn assert_one_after_the_other(world: &World, packets: usize) {
    let blocks = world.blocks("moving");
    let pieces = blocks.iter().flat_map(|block| &block.sides.caller);
    let mut places: Vec<i64> = pieces.map(|piece| piece.position).collect();
    places.sort_unstable();
    let gaps = places.windows(2).filter(|two| two[1] - two[0] != 160);
    assert_eq!((places.len(), gaps.count()), (packets, 0));
}

#[test]
fn a_phone_that_moves_without_a_word_loses_nothing() {
    // What it says, where it sends from, and where then.
    for (said, from, to) in [
        (PHONE, PHONE, (1, 4444)),
        (PHONE, PHONE, ELSEWHERE),
        ((99, 4000), ELSEWHERE, (9, 32_222)),
        ((99, 4000), ELSEWHERE, (7, 1234)),
    ] {
        for follows in [true, false] {
            let mut call = Call::new(said, from);
            call.out.from = to;
            if follows {
                call.back.to = to;
            }
            call.world.talk_both(&mut call.out, &mut call.back, 100);
            // And back again, as a phone does that was out of reach of its own network for a while.
            call.out.from = from;
            call.world.talk_both(&mut call.out, &mut call.back, 50);
            let world = call.end();
            let what = format!("{said:?}, {from:?}, {to:?}, {follows}");
            assert_eq!(caller(&world), [(0x11, 200 * 160)], "{what}");
            assert_eq!(suspicious(&world), 0, "{what}");
            assert_one_after_the_other(&world, 200);
        }
    }
}

#[test]
fn a_phone_that_was_away_or_silent_before_it_moved_is_the_phone() {
    // Milliseconds, packets that were lost meanwhile, and packets' time that its timestamps went on by.
    for (millis, lost, silent) in [(300, 15, 0), (3000, 150, 0), (3000, 0, 150), (3000, 0, 0)] {
        let mut call = Call::new(PHONE, PHONE);
        call.world.pass(millis);
        call.lose(lost);
        call.out.timestamp += silent * 160;
        call.out.from = ELSEWHERE;
        call.world.talk_both(&mut call.out, &mut call.back, 100);
        let world = call.end();
        let what = format!("{millis} ms, {lost} lost, {silent} silent");
        assert_eq!(caller(&world), [(0x11, 150 * 160)], "{what}");
        assert_eq!(suspicious(&world), 0, "{what}");
    }
}

#[test]
fn packets_that_come_late_by_the_old_way_are_the_phones_too() {
    let mut call = Call::new(PHONE, PHONE);
    let late: Vec<_> = (0..3).map(|_| call.out.next()).collect();
    call.world.pass(60);
    call.out.from = ELSEWHERE;
    call.world.talk_both(&mut call.out, &mut call.back, 3);
    for packet in &late {
        call.world.send(PHONE, PBX, packet);
    }
    call.world.talk_both(&mut call.out, &mut call.back, 97);
    let world = call.end();
    assert_eq!(caller(&world), [(0x11, 153 * 160)]);
    assert_eq!(suspicious(&world), 0);
    assert_one_after_the_other(&world, 153);
}

/// Whoever knows the SSRC, and not the numbers.
#[test]
fn a_forger_with_the_ssrc_and_other_numbers_is_nobody() {
    for (sequence, timestamp) in [(3000_u16, 0_u32), (0, 80_000), (0xff00, 0), (2000, 320_000)] {
        for silent in [20, 500, 5000] {
            let mut call = Call::new(PHONE, PHONE);
            let mut forged = Talk::new(ELSEWHERE, PBX, 0x66);
            forged.ssrc = call.out.ssrc;
            forged.sequence = call.out.sequence.wrapping_add(sequence);
            forged.timestamp = call.out.timestamp.wrapping_add(timestamp);
            call.world.pass(silent);
            call.world.talk_both(&mut forged, &mut call.back, 30);
            call.lose((silent / 20) as u16 + 30);
            call.world.talk_both(&mut call.out, &mut call.back, 50);
            let world = call.end();
            let what = format!("{sequence}, {timestamp}, {silent} ms");
            assert_eq!(caller(&world), [(0x11, 100 * 160)], "{what}");
            // Numbers that are as far might be those of another hop.
            let fewest = if sequence == 0 { 14 } else { 30 };
            assert!(suspicious(&world) >= fewest, "{what}");
        }
    }
}

/// Of one stream only the first number can be a guess.
#[test]
fn a_forger_who_tries_all_numbers_is_nobody() {
    let mut call = Call::new(PHONE, PHONE);
    let next = (call.out.sequence, call.out.timestamp);
    let mut forged = Talk::new(ELSEWHERE, PBX, 0x66);
    forged.ssrc = call.out.ssrc;
    for n in 0..200_u16 {
        // It has the right ones after a while, too, and for long enough.
        let behind = 100_u16.saturating_sub(n);
        forged.sequence = next.0 + 20 - behind.min(60);
        forged.timestamp = next.1 + 3200 - u32::from(behind.min(60)) * 160;
        if n > 100 {
            forged.sequence = next.0 + n;
            forged.timestamp = next.1 + u32::from(n) * 160;
        }
        call.world.talk_both(&mut forged, &mut call.back, 1);
    }
    call.lose(200);
    call.world.talk_both(&mut call.out, &mut call.back, 50);
    let world = call.end();
    assert_eq!(caller(&world), [(0x11, 100 * 160)]);
}

/// Whoever has all numbers right, while the phone goes on: the wire shows it twice, or somebody copies what he hears.
#[test]
fn who_has_the_numbers_takes_no_place_of_a_phone_that_goes_on() {
    for is_first in [true, false] {
        let mut call = Call::new(PHONE, PHONE);
        for _ in 0..100 {
            let mut forged = Talk::new(ELSEWHERE, PBX, 0x66);
            (forged.ssrc, forged.sequence) = (call.out.ssrc, call.out.sequence);
            forged.timestamp = call.out.timestamp;
            let (mut first, mut second) = (&mut forged, &mut call.out);
            if !is_first {
                std::mem::swap(&mut first, &mut second);
            }
            for talk in [first, second] {
                let packet = talk.next();
                call.world.send(talk.from, talk.to, &packet);
            }
            call.world.pass(20);
        }
        let world = call.end();
        assert_eq!(caller(&world), [(0x11, 150 * 160)], "{is_first}");
    }
}

#[test]
fn a_phone_that_roams_with_another_ssrc_is_heard_once_the_other_side_follows() {
    // After how many packets the other side sends to the new place; what it sends was heard all along.
    for (said, from) in [(PHONE, PHONE), ((99, 4000), (1, 31_000))] {
        for patience in [5, 40, 150] {
            let mut call = Call::new(said, from);
            let mut roamed = Talk::new(ELSEWHERE, PBX, 0x33);
            call.world.talk_both(&mut roamed, &mut call.back, patience);
            call.back.to = ELSEWHERE;
            call.world.talk_both(&mut roamed, &mut call.back, 100);
            let world = call.end();
            let packets = (100 + patience) as usize;
            let what = format!("{from:?}, {patience}");
            let heard = [(0x11, 50 * 160), (0x33, packets * 160)];
            assert_eq!(caller(&world), heard, "{what}");
            let back = [(0x22, (50 + packets) * 160)];
            assert_eq!(world.heard("moving", Side::Callee), back, "{what}");
            assert_eq!(suspicious(&world), 0, "{what}");
        }
    }
}

#[test]
fn a_nat_that_gives_another_port_to_another_ssrc_loses_nothing() {
    let mut call = Call::new((99, 4000), (1, 31_000));
    let mut again = Talk::new((1, 32_000), PBX, 0x33);
    call.world.talk_both(&mut again, &mut call.back, 100);
    let world = call.end();
    assert_eq!(caller(&world), [(0x11, 50 * 160), (0x33, 100 * 160)]);
    assert_eq!(suspicious(&world), 0);
}

/// Silence suppression, or a hold: who speaks meanwhile from somewhere else is not placed, and told of.
#[test]
fn a_forger_while_the_phone_is_silent_is_nobody() {
    for silent in [200_u64, 2000, 30_000] {
        let mut call = Call::new(PHONE, PHONE);
        let packets = (silent / 20) as u16;
        let mut forged = Talk::new(ELSEWHERE, PBX, 0x66);
        (call.world).talk_both(&mut forged, &mut call.back, u32::from(packets));
        call.lose(packets);
        call.world.talk_both(&mut call.out, &mut call.back, 50);
        let world = call.end();
        assert_eq!(caller(&world), [(0x11, 100 * 160)], "{silent} ms");
        assert_eq!(suspicious(&world), u64::from(packets), "{silent} ms");
    }
}

/// The port of a media server that many calls share: its voice to another call's phone is no answer in this one.
#[test]
fn a_phone_of_another_call_on_the_same_server_port_is_not_heard() {
    let mut call = Call::new(PHONE, PHONE);
    let other = Dialog::new("other", 7, 2);
    other.set_up(&mut call.world, (7, 4000), PBX);
    let mut theirs = Talk::new((7, 4000), PBX, 0x77);
    let mut back = Talk::new(PBX, (7, 4000), 0x78);
    for _ in 0..50 {
        for talk in [&mut call.out, &mut call.back, &mut theirs, &mut back] {
            let packet = talk.next();
            call.world.send(talk.from, talk.to, &packet);
        }
        call.world.pass(20);
    }
    // The phone of the first call roams while that of the second is silent.
    let mut roamed = Talk::new(ELSEWHERE, PBX, 0x33);
    let mut to_roamed = Talk::new(PBX, ELSEWHERE, 0x34);
    call.world.talk_both(&mut roamed, &mut to_roamed, 150);
    other.bye(&mut call.world);
    let world = call.end();
    assert_eq!(world.heard("other", Side::Caller), [(0x77, 50 * 160)]);
}
