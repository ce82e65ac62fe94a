//! Streams whose first packets come late or in another order: every sample is where it was said, from the first on.

use std::time::Duration;

use super::world::{Dialog, START, Talk, World};
use crate::base::{Side, Timestamp};
use crate::engine::control::{ControlAction, ControlRequest};
use crate::engine::event::Event;

/// When the media of every call begins, in milliseconds of its world.
const BEGIN: i64 = 200;
/// Samples of a millisecond.
const RATE: i64 = 8;

/// One packet: when it was said and when it was heard, in milliseconds after [`BEGIN`].
struct Packet {
    side: Side,
    said: i64,
    heard: i64,
    ssrc: u32,
    bytes: Vec<u8>,
}

/// Who says what in a call.
#[derive(Default)]
struct Script {
    packets: Vec<Packet>,
}

impl Script {
    /// `count` packets of a stream, said from `from` on; `delay` by their number, in milliseconds.
    fn say(&mut self, side: Side, stream: u8, from: i64, count: i64, delay: impl Fn(i64) -> i64) {
        let ends = match side {
            Side::Caller => ((1, 4000), (2, 4000)),
            Side::Callee => ((2, 4000), (1, 4000)),
        };
        let mut talk = Talk::new(ends.0, ends.1, stream);
        talk.timestamp = u32::from(stream) << 24;
        talk.sequence = u16::from(stream) << 8;
        for n in 0..count {
            let said = from + n * 20;
            let heard = said + delay(n);
            let (ssrc, bytes) = (talk.ssrc, talk.next());
            self.packets.push(Packet {
                side,
                said,
                heard,
                ssrc,
                bytes,
            });
        }
    }

    /// Plays the call; `meanwhile` is asked before each packet.
    fn play_with(&mut self, mut meanwhile: impl FnMut(&mut World, i64)) -> World {
        self.packets.sort_by_key(|packet| packet.heard);
        let mut world = World::new();
        let dialog = Dialog::new("begins", 1, 2);
        dialog.set_up(&mut world, (1, 4000), (2, 4000));
        for packet in &self.packets {
            world.now = at(packet.heard);
            meanwhile(&mut world, packet.heard);
            let (from, to) = match packet.side {
                Side::Caller => ((1, 4000), (2, 4000)),
                Side::Callee => ((2, 4000), (1, 4000)),
            };
            world.send(from, to, &packet.bytes);
        }
        world.pass(20);
        dialog.bye(&mut world);
        world
    }

    fn play(&mut self) -> World {
        self.play_with(|_, _| {})
    }

    /// How many samples each packet is away from where it was said, in the order of the packets.
    fn offsets(&self, world: &World) -> Vec<(i64, i64)> {
        let start = start(world);
        let mut offsets = Vec::new();
        let end = world.end();
        for side in Side::BOTH {
            for piece in world.blocks("begins").iter().flat_map(|block| {
                let pieces = block.sides[side].iter();
                pieces.map(|piece| (piece, block.payload(piece)[0]))
            }) {
                let (piece, fill) = piece;
                let is_it = |packet: &&Packet| {
                    packet.ssrc == 0x1000 + u32::from(fill)
                        && u16::from_be_bytes([packet.bytes[2], packet.bytes[3]])
                            == piece.number as u16
                };
                let packet = self.packets.iter().find(is_it).unwrap();
                let place = at(packet.said).nanos_since(start) / 1_000_000 * RATE;
                offsets.push((packet.said, piece.position - place));
            }
        }
        assert!(end.length_samples > 0);
        offsets
    }

    /// Nothing is lost, and every sample is where it was said.
    fn assert_exact(&self, world: &World, what: &str) {
        let offsets = self.offsets(world);
        assert_eq!(offsets.len(), self.packets.len(), "{what}");
        for (said, offset) in offsets {
            assert_eq!(offset, 0, "{what}: what was said at {said} ms");
        }
        let end = world.end();
        let not_placed: u64 = end.streams.iter().map(|stream| stream.not_placed).sum();
        assert_eq!(not_placed, 0, "{what}");
        let first = self.packets.iter().map(|packet| packet.said).min().unwrap();
        assert_eq!(start(world), at(first), "{what}");
    }
}

fn at(millis: i64) -> Timestamp {
    START + Duration::from_millis((BEGIN + millis) as u64)
}

/// Time zero of the recording.
fn start(world: &World) -> Timestamp {
    let mut starts = world.events.iter().filter_map(|event| match event {
        Event::Recording { start, .. } => Some(*start),
        _ => None,
    });
    let start = starts.next().unwrap();
    assert!(starts.next().is_none(), "a recording begins once");
    start
}

/// A delay that holds up those behind it.
fn held_up(late: i64) -> impl Fn(i64) -> i64 {
    move |n| (late - n * 20).max(0)
}

/// A delay of the first packet alone.
fn overtaken(late: i64) -> impl Fn(i64) -> i64 {
    move |n| if n == 0 { late } else { 0 }
}

#[test]
fn a_late_first_packet_puts_nothing_in_a_wrong_place() {
    for late in [25, 30, 50, 75, 100, 150, 199, 250, 390] {
        for who in [(true, false), (false, true), (true, true)] {
            let lates = [who.0, who.1].map(|is_late| if is_late { late } else { 0 });
            let mut held = Script::default();
            held.say(Side::Caller, 1, 0, 200, held_up(lates[0]));
            held.say(Side::Callee, 2, 7, 200, held_up(lates[1]));
            let world = held.play();
            held.assert_exact(&world, &format!("held up {late} ms, {who:?}"));
            let mut alone = Script::default();
            alone.say(Side::Caller, 1, 0, 200, overtaken(lates[0]));
            alone.say(Side::Callee, 2, 7, 200, overtaken(lates[1]));
            let world = alone.play();
            alone.assert_exact(&world, &format!("overtaken by {late} ms, {who:?}"));
        }
    }
}

#[test]
fn first_packets_that_are_swapped_are_both_heard() {
    for sides in [vec![Side::Caller], vec![Side::Callee], Side::BOTH.to_vec()] {
        let mut script = Script::default();
        for side in Side::BOTH {
            let swapped = sides.contains(&side);
            let delay = move |n: i64| if swapped && n == 0 { 21 } else { 0 };
            script.say(side, 1 + side as u8, i64::from(side as u8), 100, delay);
        }
        let world = script.play();
        script.assert_exact(&world, &format!("{sides:?}"));
    }
}

#[test]
fn a_call_that_ends_within_its_first_block_is_put_right_too() {
    let mut script = Script::default();
    script.say(Side::Caller, 1, 0, 12, held_up(100));
    script.say(Side::Callee, 2, 7, 12, overtaken(50));
    let world = script.play();
    script.assert_exact(&world, "short");
    // To the BYE, 20 ms after the last packet was heard.
    let last = 7 + 11 * 20;
    assert_eq!(world.end().length_samples as i64, (last + 20) * RATE);
}

#[test]
fn a_stream_that_begins_in_mid_call_is_put_right_wherever_blocks_end() {
    for begin in (1000..1600).step_by(20) {
        for late in [25, 60, 150] {
            let delays: [(&str, &dyn Fn(i64) -> i64); 2] =
                [("held up", &held_up(late)), ("overtaken", &overtaken(late))];
            for (what, delay) in delays {
                let mut script = Script::default();
                script.say(Side::Caller, 1, 0, begin / 20, |_| 0);
                script.say(Side::Caller, 3, begin + late, 150, delay);
                script.say(Side::Callee, 2, 7, 200, |_| 0);
                let world = script.play();
                script.assert_exact(&world, &format!("{what} {late} ms at {begin} ms"));
            }
        }
    }
}

#[test]
fn heavy_jitter_leaves_both_sides_within_twenty_milliseconds_in_every_second() {
    for seed in 0..40u64 {
        let jitter = |side: u64| {
            move |n: i64| {
                let mixed = (seed * 31 + side * 7919 + n as u64 + 1)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(29)
                    .wrapping_mul(0xbf58_476d_1ce4_e5b9);
                ((mixed >> 33) % 40) as i64
            }
        };
        let mut script = Script::default();
        script.say(Side::Caller, 1, 0, 500, jitter(1));
        script.say(Side::Callee, 2, 3, 500, jitter(2));
        let world = script.play();
        let offsets = script.offsets(&world);
        let second = |said: i64| offsets.iter().filter(move |(at, _)| at / 1000 == said);
        for n in 0..10 {
            let (least, most) = (
                second(n).map(|(_, off)| off).min().unwrap(),
                second(n).map(|(_, off)| off).max().unwrap(),
            );
            assert!(
                most - least <= 20 * RATE,
                "seed {seed}, second {n}: {least} to {most}"
            );
        }
        assert_eq!(offsets.len(), 1000, "seed {seed}");
    }
}

#[test]
fn what_is_put_right_is_never_moved_into_a_pause() {
    let ask = |action| ControlRequest {
        target: "begins".into(),
        action,
        tenant: None,
        only: None,
        looks: false,
        who: "uid 0".into(),
        why: String::new(),
    };
    for late in [60, 150, 300] {
        for resume in (320..1500).step_by(60) {
            let mut script = Script::default();
            // The caller begins while the call is paused, and late.
            script.say(Side::Callee, 2, 0, 100, |_| 0);
            script.say(Side::Caller, 1, 200, 90, held_up(late));
            let (mut paused, mut resumed) = (None, None);
            let world = script.play_with(|world, now| {
                if now >= 100 && paused.is_none() {
                    paused = Some(world.now);
                    world.control(&ask(ControlAction::Pause));
                }
                if now >= resume && resumed.is_none() {
                    resumed = Some(world.now);
                    world.control(&ask(ControlAction::Resume));
                }
            });
            let samples = |time: Option<Timestamp>| {
                time.unwrap().nanos_since(start(&world)) / 1_000_000 * RATE
            };
            let pause = samples(paused)..samples(resumed);
            let mut heard = 0;
            for block in world.blocks("begins") {
                for side in Side::BOTH {
                    for piece in &block.sides[side] {
                        let (from, to) = (piece.position, piece.position + i64::from(piece.len));
                        assert!(
                            to <= pause.start || from >= pause.end,
                            "late by {late}, resumed at {resume}: {from} to {to} lies in {pause:?}"
                        );
                        heard += usize::from(side == Side::Caller);
                    }
                }
            }
            assert!(heard > 0);
        }
    }
}
