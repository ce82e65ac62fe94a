//! Streams that find their calls, and those that must not.

use super::world::{Dialog, Talk, World, sdp};
use crate::base::Side;
use crate::engine::event::{Disposition, Event, Piece};

#[test]
fn behind_a_nat_the_end_that_is_true_decides() {
    let mut world = World::new();
    let dialog = Dialog::new("nat", 1, 2);
    // The caller says 10.0.0.99:4000 and sends from 10.0.0.1:31234.
    dialog.set_up(&mut world, (99, 4000), (2, 4000));
    let (mut out, mut back) = (
        Talk::new((1, 31234), (2, 4000), 0x11),
        Talk::new((2, 4000), (1, 31234), 0x22),
    );
    world.talk_both(&mut out, &mut back, 30);
    dialog.bye(&mut world);
    assert_eq!(world.heard("nat", Side::Caller), [(0x11, 30 * 160)]);
    assert_eq!(world.heard("nat", Side::Callee), [(0x22, 30 * 160)]);
}

#[test]
fn audio_from_elsewhere_changes_nothing() {
    let mut world = World::new();
    let dialog = Dialog::new("injected", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let (mut caller, mut forged) = (
        Talk::new((1, 4000), (2, 4000), 0x11),
        Talk::new((66, 4000), (2, 4000), 0x66),
    );
    world.talk_both(&mut caller, &mut forged, 100);
    dialog.bye(&mut world);
    assert_eq!(world.heard("injected", Side::Caller), [(0x11, 100 * 160)]);
    let forged = world
        .end()
        .streams
        .iter()
        .find(|s| s.ssrc == 0x1066)
        .unwrap();
    assert_eq!((forged.packets, forged.not_placed), (100, 100));
}

#[test]
fn a_stream_goes_to_the_call_that_it_fits_better() {
    let mut world = World::new();
    let (first, second) = (Dialog::new("first", 1, 2), Dialog::new("second", 1, 3));
    // Both calls use port 4000 of the caller; the BYE of the first was lost.
    first.set_up(&mut world, (1, 4000), (2, 4000));
    world.talk(&mut Talk::new((2, 4000), (1, 4000), 0x22), 10);
    second.set_up(&mut world, (1, 4000), (3, 4000));
    world.talk(&mut Talk::new((3, 4000), (1, 4000), 0x33), 10);
    world.finish();
    assert_eq!(world.heard("first", Side::Callee), [(0x22, 1600)]);
    assert_eq!(world.heard("second", Side::Callee), [(0x33, 1600)]);
}

#[test]
fn the_last_packets_of_a_call_are_not_the_first_of_the_next() {
    let mut world = World::new();
    let (first, second) = (Dialog::new("first", 1, 2), Dialog::new("second", 1, 3));
    first.set_up(&mut world, (1, 4000), (2, 4000));
    let mut talk = Talk::new((2, 4000), (1, 4000), 0x22);
    world.talk(&mut talk, 50);
    first.bye(&mut world);
    second.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    world.talk(&mut talk, 25);
    second.answer(&mut world, 200, "INVITE", 1, "tt", &sdp((3, 4000), ""));
    world.talk(&mut Talk::new((3, 4000), (1, 4000), 0x33), 50);
    world.finish();
    assert_eq!(world.heard("second", Side::Callee), [(0x33, 8000)]);
}

#[test]
fn the_same_ports_and_ssrc_in_the_next_call_are_the_next_call() {
    let mut world = World::new();
    for call_id in ["one", "two"] {
        let dialog = Dialog::new(call_id, 1, 2);
        dialog.set_up(&mut world, (1, 4000), (2, 4000));
        world.talk_both(
            &mut Talk::new((1, 4000), (2, 4000), 0x11),
            &mut Talk::new((2, 4000), (1, 4000), 0x22),
            50,
        );
        dialog.bye(&mut world);
    }
    for call_id in ["one", "two"] {
        assert_eq!(
            world.heard(call_id, Side::Caller),
            [(0x11, 8000)],
            "{call_id}"
        );
        let end = world
            .ends()
            .into_iter()
            .find(|end| end.info.call_id == call_id)
            .unwrap();
        let counts: Vec<_> = end
            .streams
            .iter()
            .map(|s| (s.packets, s.expected, s.lost, s.duplicates))
            .collect();
        assert_eq!(counts, [(50, 50, 0, 0); 2], "{call_id}");
    }
}

#[test]
fn the_same_addresses_on_two_vlans_are_two_calls() {
    let mut world = World::new();
    let dialogs = [("blue", 10u16, 0x11u8), ("red", 20, 0x22)];
    for (call_id, vlan, _) in dialogs {
        world.vlan = vlan;
        Dialog::new(call_id, 1, 2).set_up(&mut world, (1, 4000), (2, 4000));
    }
    let mut talks = dialogs.map(|(_, vlan, fill)| {
        let mut talk = Talk::new((1, 4000), (2, 4000), fill);
        talk.ssrc = 7;
        (vlan, talk)
    });
    for _ in 0..20 {
        for (vlan, talk) in &mut talks {
            world.vlan = *vlan;
            world.talk(talk, 1);
        }
    }
    // A stream on a VLAN without a call stays nobody's.
    world.vlan = 30;
    world.talk(&mut Talk::new((1, 4000), (2, 4000), 0x33), 20);
    world.finish();
    assert_eq!(world.heard("blue", Side::Caller), [(0x11, 20 * 160)]);
    assert_eq!(world.heard("red", Side::Caller), [(0x22, 20 * 160)]);
}

#[test]
fn directions_that_the_mirror_tags_differently_are_one_call() {
    let mut world = World::new();
    let dialog = Dialog::new("tagged", 1, 2);
    world.vlan = 10;
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    world.vlan = 20;
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &sdp((2, 4000), ""));
    let (mut out, mut back) = (
        Talk::new((1, 4000), (2, 4000), 0x11),
        Talk::new((2, 4000), (1, 4000), 0x22),
    );
    for _ in 0..20 {
        world.vlan = 10;
        world.talk(&mut out, 1);
        world.vlan = 20;
        world.talk(&mut back, 1);
    }
    world.finish();
    assert_eq!(world.heard("tagged", Side::Caller), [(0x11, 20 * 160)]);
    assert_eq!(world.heard("tagged", Side::Callee), [(0x22, 20 * 160)]);
}

#[test]
fn media_ahead_of_its_signalling_is_kept() {
    let mut world = World::new();
    let dialog = Dialog::new("ahead", 1, 2);
    let mut talk = Talk::new((2, 4000), (1, 4000), 0x22);
    world.talk(&mut talk, 75);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    world.talk(&mut talk, 25);
    dialog.bye(&mut world);
    assert_eq!(world.heard("ahead", Side::Callee), [(0x22, 100 * 160)]);
}

#[test]
fn encrypted_media_never_becomes_noise() {
    let mut world = World::new();
    let dialog = Dialog::new("srtp", 1, 2);
    let secure = |at| {
        let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n";
        sdp(at, key).replace("RTP/AVP", "RTP/SAVP")
    };
    dialog.request(&mut world, "INVITE", 1, "", &secure((1, 4000)));
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &secure((2, 4000)));
    world.talk(&mut Talk::new((1, 4000), (2, 4000), 0x11), 20);
    dialog.bye(&mut world);
    assert_eq!(world.end().disposition, Disposition::Encrypted);
    assert!(world.heard("srtp", Side::Caller).is_empty());
}

#[test]
fn digits_are_collected_and_make_no_sound() {
    let mut world = World::new();
    let dialog = Dialog::new("dtmf", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let mut talk = Talk::new((1, 4000), (2, 4000), 0x11);
    world.talk(&mut talk, 10);
    for n in 0..5u16 {
        let mut event = vec![0x80, 101];
        event.extend((talk.sequence + n).to_be_bytes());
        event.extend(talk.timestamp.to_be_bytes());
        event.extend(talk.ssrc.to_be_bytes());
        event.extend([11, if n > 2 { 0x8a } else { 0x0a }, 0, 160]);
        world.send(talk.from, talk.to, &event);
        world.pass(20);
    }
    talk.sequence += 5;
    talk.timestamp += 800;
    world.talk(&mut talk, 10);
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(end.digits.iter().map(|d| d.key).collect::<String>(), "#");
    assert_eq!(end.streams[0].lost, 0);
    let positions: Vec<i64> = world
        .blocks("dtmf")
        .iter()
        .flat_map(|b| &b.sides.caller)
        .filter(|piece| piece.len == 160)
        .map(|piece| piece.position)
        .collect();
    assert_eq!(positions[9..11], [1440, 1600 + 800]);
}

/// What an event says, the bytes of its pieces included, but not where in memory they lie.
fn told(event: &Event) -> String {
    let Event::Block { call, block } = event else {
        return format!("{event:?}");
    };
    let pieces = block.sides.iter().flat_map(|(side, pieces)| {
        let told = move |piece: &Piece| (side, piece.position, piece.number, piece.stream);
        pieces
            .iter()
            .map(move |piece| (told(piece), block.payload(piece)))
    });
    let pieces: Vec<_> = pieces.collect();
    format!("{call} {} {} {pieces:?}", block.index, block.late)
}

#[test]
fn packets_taken_in_groups_do_what_they_do_one_by_one() {
    let play = |one_by_one: bool| {
        let mut world = World::new();
        world.one_by_one = one_by_one;
        let dialogs = [
            Dialog::new("a", 1, 2),
            Dialog::new("b", 3, 4),
            Dialog::new("c", 5, 6),
        ];
        let mut talks: Vec<Talk> = (1..=6u8)
            .map(|host| Talk::new((host, 4000), (host + host % 2 * 2 - 1, 4000), host))
            .collect();
        for step in 0..400u64 {
            for (n, dialog) in dialogs.iter().enumerate() {
                match (step, n) {
                    (3, 0) | (40, 1) | (41, 2) => {
                        let media = [dialog.caller.0, dialog.callee.0].map(|host| (host, 4000));
                        dialog.set_up(&mut world, media[0], media[1]);
                    }
                    (150, 0) | (300, 1) => dialog.request(&mut world, "BYE", 9, "tt", ""),
                    _ => {}
                }
            }
            for talk in &mut talks {
                // Some of it is lost, some comes twice, and a few packets come late.
                match (step * 7 + u64::from(talk.fill) * 3) % 41 {
                    0 => drop(talk.next()),
                    1 => {
                        let (first, second) = (talk.next(), talk.next());
                        for packet in [second, first.clone(), first] {
                            world.send(talk.from, talk.to, &packet);
                        }
                    }
                    2 if step > 200 => talk.ssrc += 100,
                    _ => {
                        let packet = talk.next();
                        world.send(talk.from, talk.to, &packet);
                    }
                }
            }
            world.pass(if step == 250 { 3000 } else { 20 });
        }
        world.finish();
        world.events.iter().map(told).collect::<Vec<String>>()
    };
    let (grouped, single) = (play(false), play(true));
    assert!(grouped.len() > 40, "{}", grouped.len());
    for (a, b) in grouped.iter().zip(&single) {
        assert_eq!(a, b);
    }
    assert_eq!(grouped.len(), single.len());
}

/// Where packets of `talk` lie that come 20 ms apart with timestamps of `clock_hz`, in milliseconds from the first, and the
/// timestamps that are kept of them.
fn places_of(world: &World, call_id: &str) -> (Vec<i64>, Vec<u32>) {
    let (mut places, mut timestamps) = (Vec::new(), Vec::new());
    for block in world.blocks(call_id) {
        places.extend(
            block.sides[Side::Caller]
                .iter()
                .map(|piece| piece.position / 8),
        );
        timestamps.extend(
            block.headers[Side::Caller]
                .iter()
                .map(|header| header.timestamp),
        );
    }
    let first = places.first().copied().unwrap_or_default();
    (
        places.iter().map(|place| place - first).collect(),
        timestamps,
    )
}

fn send_unnamed(world: &mut World, talk: &mut Talk, clock_hz: u32, packets: u32) {
    for _ in 0..packets {
        let mut packet = talk.next();
        packet[1] = 120;
        world.send(talk.from, talk.to, &packet);
        world.pass(20);
        talk.timestamp = talk.timestamp.wrapping_add(clock_hz / 50 - 160);
    }
}

#[test]
fn what_nobody_named_lies_where_it_came_whatever_its_clock() {
    for clock_hz in [8000, 16_000, 32_000, 48_000, 90_000] {
        let mut world = World::new();
        let dialog = Dialog::new("unnamed", 1, 2);
        dialog.set_up(&mut world, (1, 4000), (2, 4000));
        let mut talk = Talk::new((1, 4000), (2, 4000), 0x11);
        send_unnamed(&mut world, &mut talk, clock_hz, 100);
        dialog.bye(&mut world);
        let (places, timestamps) = places_of(&world, "unnamed");
        assert_eq!(
            places,
            (0..100).map(|n| n * 20).collect::<Vec<i64>>(),
            "{clock_hz} Hz"
        );
        let sent = (0..100).map(|n| 5000 + n * clock_hz / 50);
        assert_eq!(
            timestamps,
            sent.collect::<Vec<u32>>(),
            "{clock_hz} Hz: as on the wire"
        );
        let stream = world.stream_of(Side::Caller);
        assert_eq!((stream.not_placed, stream.lost), (0, 0));
    }
}

#[test]
fn what_nobody_named_has_the_clock_of_its_source() {
    let mut world = World::new();
    let dialog = Dialog::new("both", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let mut talk = Talk::new((1, 4000), (2, 4000), 0x11);
    world.talk(&mut talk, 50);
    // Held up on the way by 60 ms, which its timestamp does not know.
    let mut late = talk.next();
    late[1] = 120;
    world.pass(60);
    world.send(talk.from, talk.to, &late);
    world.talk(&mut talk, 50);
    dialog.bye(&mut world);
    let (places, _) = places_of(&world, "both");
    assert_eq!(places, (0..101).map(|n| n * 20).collect::<Vec<i64>>());
}

/// How a call's one side came through a queue that held its packets up from the hundredth on, and then let them go `apart_ms` after each
/// other; those sent meanwhile overtake them, or wait in it too.
fn held_up(held_up_ms: i64, apart_ms: i64, overtakes: bool) -> World {
    let mut world = World::new();
    let dialog = Dialog::new("held up", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let mut talk = Talk::new((1, 4000), (2, 4000), 0x11);
    let (from, to) = (2000, 2000 + held_up_ms);
    let mut free_at = to;
    let mut packets: Vec<(i64, Vec<u8>)> = (0..800)
        .map(|n| {
            let sent = n * 20;
            let waits = sent >= from && (sent < to || !overtakes);
            let at = if waits { sent.max(free_at) } else { sent };
            free_at = free_at.max(at + if waits { apart_ms } else { 0 });
            (at, talk.next())
        })
        .collect();
    packets.sort_by_key(|(at, _)| *at);
    let mut now = 0;
    for (at, packet) in packets {
        world.pass((at - now) as u64);
        now = at;
        world.send(talk.from, talk.to, &packet);
    }
    dialog.bye(&mut world);
    world
}

#[test]
fn what_was_held_up_on_the_way_is_heard_where_it_belongs() {
    for held_up_ms in [400, 1000, 2000] {
        for (apart_ms, overtakes) in [
            (0, false),
            (1, true),
            (1, false),
            (5, true),
            (10, false),
            (16, false),
        ] {
            let world = held_up(held_up_ms, apart_ms, overtakes);
            let what = format!("{held_up_ms} ms, then {apart_ms} ms apart, overtaken {overtakes}");
            let stream = world.stream_of(Side::Caller);
            let counted = (
                stream.packets,
                stream.expected,
                stream.lost,
                stream.restarts,
                stream.not_placed,
            );
            assert_eq!(counted, (800, 800, 0, 0, 0), "{what}");
            let mut places: Vec<i64> = world
                .blocks("held up")
                .iter()
                .flat_map(|block| block.sides[Side::Caller].iter())
                .map(|piece| piece.position)
                .collect();
            places.sort_unstable();
            assert_eq!(
                places,
                (0..800).map(|n| n * 160).collect::<Vec<i64>>(),
                "{what}"
            );
        }
    }
}

#[test]
fn a_change_of_ssrc_loses_nothing_however_short_packets_are() {
    for millis in [5, 10, 20, 60] {
        let mut world = World::new();
        let dialog = Dialog::new("short", 1, 2);
        dialog.set_up(&mut world, (1, 4000), (2, 4000));
        let (bytes, packets) = (millis as usize * 8, 2000 / millis as usize);
        for fill in [0x11, 0x12, 0x13] {
            let mut talk = Talk::new((1, 4000), (2, 4000), fill);
            for _ in 0..packets {
                world.send_voice(&mut talk, &vec![fill; bytes]);
                talk.timestamp = talk.timestamp - 160 + bytes as u32;
                world.pass(millis);
            }
        }
        dialog.bye(&mut world);
        let whole = packets * bytes;
        let expected = [(0x11, whole), (0x12, whole), (0x13, whole)];
        assert_eq!(world.heard("short", Side::Caller), expected, "{millis} ms");
        assert_eq!(world.end().suspicious.media_packets, 0);
    }
}
