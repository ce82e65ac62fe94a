//! Streams whose timestamps run by another clock than SDP says.

use super::world::{At, Dialog, World, sdp};
use crate::base::Side;
use crate::engine::event::OtherClock;

const CALLER: At = (1, 4000);
const CALLEE: At = (2, 4000);

/// A phone that sends G.722, 20 ms a packet.
struct Phone {
    sequence: u16,
    timestamp: u32,
    /// From one packet to the next.
    ticks: u32,
    sent: u32,
}

impl Phone {
    fn new(ticks: u32) -> Phone {
        Phone {
            sequence: 65_500,
            timestamp: 0xffff_ff00,
            ticks,
            sent: 0,
        }
    }

    /// The next packet, whose bytes are its number; then 20 ms pass.
    fn say(&mut self, world: &mut World) {
        let packet = self.packet(9, &[self.sent as u8; 160]);
        world.send(CALLER, CALLEE, &packet);
        self.skip(world);
        self.sent += 1;
    }

    fn packet(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(0x1234_u32.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }

    /// 20 ms pass in which nothing is sent.
    fn skip(&mut self, world: &mut World) {
        self.timestamp = self.timestamp.wrapping_add(self.ticks);
        world.pass(20);
    }
}

fn set_up(world: &mut World) -> Dialog {
    let dialog = Dialog::new("clocks", 1, 2);
    let sdp = |at| sdp(at, "").replace("RTP/AVP 0", "RTP/AVP 9");
    dialog.request(world, "INVITE", 1, "", &sdp(CALLER));
    dialog.answer(world, 200, "INVITE", 1, dialog.to_tag, &sdp(CALLEE));
    dialog
}

/// Numbers of the caller's packets by their places, in packets of 20 ms.
fn heard(world: &World) -> Vec<(u8, i64)> {
    let blocks = world.blocks("clocks");
    let pieces = blocks.iter().flat_map(|block| {
        let pieces = block.sides[Side::Caller].iter();
        pieces.map(|piece| (block.payload(piece)[0], piece.position))
    });
    let mut heard: Vec<(u8, i64)> = pieces
        .inspect(|(_, position)| assert_eq!(position % 320, 0, "{position}"))
        .map(|(number, position)| (number, position / 320))
        .collect();
    heard.sort_unstable_by_key(|(_, position)| *position);
    heard
}

fn other_clock(world: &World) -> Option<OtherClock> {
    world.stream_of(Side::Caller).other_clock
}

const TWICE: Option<OtherClock> = Some(OtherClock {
    said_hz: 8000,
    clock_hz: 16_000,
});

#[test]
fn g722_counted_by_its_samples_is_where_it_was_said() {
    for one_by_one in [false, true] {
        let mut world = World::new();
        world.one_by_one = one_by_one;
        let dialog = set_up(&mut world);
        let mut phone = Phone::new(320);
        for n in 0..200 {
            // A pause of its sender.
            match n {
                60..80 => phone.skip(&mut world),
                _ => phone.say(&mut world),
            }
        }
        dialog.bye(&mut world);
        let expected: Vec<(u8, i64)> = (0..60)
            .chain(80..200)
            .zip(0..)
            .map(|(place, number)| (number, place))
            .collect();
        assert_eq!(heard(&world), expected);
        assert_eq!(other_clock(&world), TWICE);
        let stream = world.stream_of(Side::Caller);
        assert_eq!(stream.quality.packet_duration.as_millis(), 20);
        assert!(stream.quality.jitter_largest.is_zero());
        assert_eq!((stream.not_placed, stream.drift_samples), (0, 0));
        assert_eq!(world.media_counters().streams_other_clock, 1);
    }
}

#[test]
fn what_came_before_its_signalling_is_where_it_was_said() {
    let mut world = World::new();
    let mut phone = Phone::new(320);
    (0..40).for_each(|_| phone.say(&mut world));
    let dialog = set_up(&mut world);
    (0..40).for_each(|_| phone.say(&mut world));
    dialog.bye(&mut world);
    let expected: Vec<(u8, i64)> = (0..80).zip(0..).collect();
    assert_eq!(heard(&world), expected);
}

/// A stop just after a step that may be another clock's loses nothing, and proves nothing.
#[test]
fn the_last_packets_of_a_call_wait_for_nothing() {
    for packets in 1..9 {
        for ticks in [160, 320] {
            let mut world = World::new();
            let dialog = set_up(&mut world);
            let mut phone = Phone::new(ticks);
            (0..packets).for_each(|_| phone.say(&mut world));
            dialog.bye(&mut world);
            assert_eq!(heard(&world).len(), packets, "{packets} of {ticks}");
        }
    }
}

/// Every other packet: the payloads speak for another clock, their times do not.
#[test]
fn a_sender_that_sends_less_than_it_could_keeps_its_clock() {
    let mut world = World::new();
    let dialog = set_up(&mut world);
    let mut phone = Phone::new(160);
    for _ in 0..60 {
        phone.say(&mut world);
        phone.skip(&mut world);
    }
    dialog.bye(&mut world);
    let expected: Vec<(u8, i64)> = (0..60).map(|n| (n, 2 * i64::from(n))).collect();
    assert_eq!(heard(&world), expected);
    assert_eq!(
        (
            other_clock(&world),
            world.media_counters().streams_other_clock
        ),
        (None, 0)
    );
}

/// Behind the same SSRC another phone speaks, or the same one after it learned better: nothing is lost, and all is heard where it
/// was said but for a packet about the change.
#[test]
fn a_clock_that_changes_in_mid_stream_is_followed() {
    for (first, second) in [(160, 320), (320, 160)] {
        let mut world = World::new();
        let dialog = set_up(&mut world);
        let mut phone = Phone::new(first);
        (0..100).for_each(|_| phone.say(&mut world));
        phone.ticks = second;
        (0..100).for_each(|_| phone.say(&mut world));
        dialog.bye(&mut world);
        let expected: Vec<(u8, i64)> = (0..200).zip(0..).collect();
        assert_eq!(heard(&world), expected, "{first} and then {second}");
        assert_eq!(other_clock(&world), TWICE);
    }
}

/// Whoever changes clocks all the time harms nobody else, and every packet is accounted for.
#[test]
fn a_sender_that_changes_clocks_all_the_time_hurts_itself_alone() {
    let mut world = World::new();
    let dialog = set_up(&mut world);
    let mut phone = Phone::new(160);
    for n in 0..2000u32 {
        phone.ticks = [160, 320, 960, 480, 53][(n / (1 + n % 13) % 5) as usize];
        phone.say(&mut world);
    }
    dialog.bye(&mut world);
    let blocks = world.blocks("clocks");
    let placed: u64 = blocks.iter().map(|block| block.packets()).sum();
    let stream = world.stream_of(Side::Caller);
    assert_eq!(placed + stream.not_placed, 2000);
    assert!(world.media_counters().streams_other_clock <= 1);
}

/// RFC 4733: the clock of events is that of the audio. Some count them by their own.
#[test]
fn keys_counted_by_a_clock_of_their_own_lie_where_they_were_pressed() {
    for (ticks, own) in [(160, true), (320, true), (320, false)] {
        let mut world = World::new();
        let dialog = set_up(&mut world);
        let mut phone = Phone::new(ticks);
        for n in 0..60u32 {
            if n % 20 == 3 {
                let timestamp = phone.timestamp;
                if own {
                    phone.timestamp = 77_000_000 + n * 160;
                }
                for end in [0, 0x80] {
                    let packet = phone.packet(101, &[5, end, 1, 64]);
                    world.send(CALLER, CALLEE, &packet);
                }
                phone.timestamp = timestamp;
                phone.skip(&mut world);
            } else {
                phone.say(&mut world);
            }
        }
        dialog.bye(&mut world);
        let places: Vec<i64> = heard(&world).iter().map(|(_, place)| *place).collect();
        let expected: Vec<i64> = (0..60)
            .flat_map(|n| vec![n; if n % 20 == 3 { 2 } else { 1 }])
            .collect();
        assert_eq!(places, expected, "{ticks} {own}");
        assert_eq!(world.stream_of(Side::Caller).not_placed, 0);
        assert_eq!(world.end().digits.len(), 3);
    }
}
