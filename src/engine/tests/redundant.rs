//! Streams that repeat themselves (RFC 2198).

use super::world::{At, Dialog, World, sdp};
use crate::base::Side;

const CALLER: At = (1, 4000);
const CALLEE: At = (2, 4000);

fn set_up(world: &mut World) -> Dialog {
    let dialog = Dialog::new("red", 1, 2);
    let more = "a=rtpmap:96 red/8000\r\na=fmtp:96 0/0\r\n";
    let sdp = |at| sdp(at, more).replace(" 0 101", " 96 0 101");
    dialog.request(world, "INVITE", 1, "", &sdp(CALLER));
    dialog.answer(world, 200, "INVITE", 1, dialog.to_tag, &sdp(CALLEE));
    dialog
}

/// Packet `n` of the caller, with the one before it: 20 ms of PCMU, each byte being the packet's number.
fn packet(n: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend((1000 + u16::from(n)).to_be_bytes());
    packet.extend((8000 + 160 * u32::from(n)).to_be_bytes());
    packet.extend(0x1234_u32.to_be_bytes());
    let (age, len) = (160u32, 160u32);
    packet.push(0x80);
    packet.extend(&(age << 10 | len).to_be_bytes()[1..]);
    packet.push(0);
    packet.extend([n.wrapping_sub(1); 160]);
    packet.extend([n; 160]);
    packet
}

/// Places of the caller's payloads by their first bytes.
fn heard(world: &World) -> Vec<(u8, i64)> {
    let blocks = world.blocks("red");
    let pieces = blocks.iter().flat_map(|block| {
        let pieces = block.sides[Side::Caller].iter();
        pieces.map(|piece| (block.payload(piece)[0], piece.position))
    });
    let mut heard: Vec<(u8, i64)> = pieces.collect();
    heard.sort_unstable();
    heard
}

#[test]
fn what_was_lost_is_heard_from_the_packet_after_it() {
    let mut world = World::new();
    let dialog = set_up(&mut world);
    for n in 0..40u8 {
        if n % 3 != 2 {
            world.send(CALLER, CALLEE, &packet(n));
        }
        world.pass(20);
    }
    dialog.bye(&mut world);
    let expected: Vec<(u8, i64)> = (0..40).map(|n| (n, 160 * i64::from(n))).collect();
    assert_eq!(heard(&world), expected);
    let stream = &world.end().streams[0];
    assert_eq!((stream.codec.to_string(), stream.lost), ("PCMU".into(), 13));
}

#[test]
fn a_packet_that_comes_after_its_repetition_is_not_heard_twice() {
    let mut world = World::new();
    let dialog = set_up(&mut world);
    for n in [0u8, 1, 3, 2, 4] {
        world.send(CALLER, CALLEE, &packet(n));
        world.pass(20);
    }
    dialog.bye(&mut world);
    let expected: Vec<(u8, i64)> = (0..5).map(|n| (n, 160 * i64::from(n))).collect();
    assert_eq!(heard(&world), expected);
}

#[test]
fn a_payload_within_itself_is_none() {
    let mut world = World::new();
    let dialog = set_up(&mut world);
    for n in 0..20u8 {
        let mut nested = packet(n);
        // Its own payload says that it is redundant again.
        nested[16] = 96;
        world.send(CALLER, CALLEE, &nested);
        world.pass(20);
    }
    dialog.bye(&mut world);
    assert_eq!(heard(&world), []);
}
