//! Phones that send to each other while a PBX has a call with each of them: one stream, and every leg of it has it.

use super::conversations::speech;
use super::script::{Leg, directory, tenant};
use super::world::{At, Talk, World, sdp};
use crate::base::{SYSTEM_TENANT, Side};
use crate::engine::EngineSettings;
use crate::engine::control::{ControlAction, ControlRequest};
use crate::engine::event::{Disposition, Event};
use crate::engine::media::MediaCounters;

/// The PBX.
const PBX: u8 = 100;
const A: At = (1, 4000);
const B: At = (2, 5000);

/// Phone A and phone B, each with its leg to the PBX, and what they send.
struct Call {
    world: World,
    incoming: Leg,
    outgoing: Leg,
    /// By whom it was sent, and the next first byte of a payload.
    fills: [u8; 2],
}

/// Which legs a PBX tells first where the media goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    IncomingFirst,
    OutgoingFirst,
}

impl Call {
    /// With phones of these tenants. Media goes through the PBX for a second.
    fn through_pbx(world: World) -> Call {
        Call::with(world, "")
    }

    fn with(mut world: World, header: &str) -> Call {
        let mut incoming = Leg::new("in", ("1001", A.0), ("2002", PBX));
        let mut outgoing = Leg::new("out", ("1001", PBX), ("2002", B.0));
        if !header.is_empty() {
            (incoming, outgoing) = (incoming.with(header), outgoing.with(header));
        }
        incoming.invite(&mut world, A);
        world.pass(50);
        outgoing.invite(&mut world, (PBX, 8002));
        world.pass(1000);
        outgoing.answer(&mut world, B, "");
        incoming.answer(&mut world, (PBX, 8000), "");
        let mut call = Call {
            world,
            incoming,
            outgoing,
            fills: [0x10, 0x60],
        };
        call.talk_through(50);
        call
    }

    fn next_fills(&mut self) -> [u8; 2] {
        self.fills = self.fills.map(|fill| fill + 1);
        self.fills
    }

    /// Both speak through the PBX.
    fn talk_through(&mut self, packets: u32) {
        let [a, b] = self.next_fills();
        let mut talks = [
            Talk::new(A, (PBX, 8000), a),
            Talk::new((PBX, 8002), B, a),
            Talk::new(B, (PBX, 8002), b),
            Talk::new((PBX, 8000), A, b),
        ];
        self.play(&mut talks, packets);
    }

    /// Both speak to each other.
    fn talk_directly(&mut self, packets: u32) {
        let [a, b] = self.next_fills();
        let mut talks = [Talk::new(A, B, a), Talk::new(B, A, b)];
        self.play(&mut talks, packets);
    }

    fn play(&mut self, talks: &mut [Talk], packets: u32) {
        for _ in 0..packets {
            for talk in &mut *talks {
                let packet = talk.next();
                self.world.send(talk.from, talk.to, &packet);
            }
            self.world.pass(20);
        }
    }

    fn tell_incoming(&mut self, other: At, number: u32) {
        let world = &mut self.world;
        self.incoming
            .say_back(world, "INVITE", number, "", &sdp(other, ""));
        self.incoming
            .accept_back(world, "INVITE", number, "", &sdp(A, ""));
    }

    fn tell_outgoing(&mut self, other: At, number: u32) {
        let world = &mut self.world;
        self.outgoing
            .say(world, "INVITE", number, "", &sdp(other, ""));
        self.outgoing
            .accept(world, "INVITE", number, "", &sdp(B, ""));
    }

    /// The PBX has the phones send to each other.
    fn go_direct(&mut self, order: Order, between_ms: u64) {
        let mut tell = |first: bool| match (order == Order::IncomingFirst) == first {
            true => self.tell_incoming(B, 2),
            false => self.tell_outgoing(A, 2),
        };
        tell(true);
        self.world.pass(between_ms);
        let mut tell = |first: bool| match (order == Order::IncomingFirst) == first {
            true => self.tell_incoming(B, 2),
            false => self.tell_outgoing(A, 2),
        };
        tell(false);
    }

    fn go_back(&mut self) {
        self.tell_incoming((PBX, 8000), 3);
        self.world.pass(60);
        self.tell_outgoing((PBX, 8002), 3);
    }

    fn heard(&self, call: &str, side: Side) -> Vec<(u8, usize)> {
        let heard = self.world.heard(call, side);
        heard
            .into_iter()
            .map(|(fill, bytes)| (fill, bytes / 160))
            .collect()
    }

    #[track_caller]
    fn assert_heard(&self, leg: &str, caller: &[(u8, usize)], callee: &[(u8, usize)], what: &str) {
        assert_eq!(self.heard(leg, Side::Caller), caller, "{what}");
        assert_eq!(self.heard(leg, Side::Callee), callee, "{what}");
    }

    fn end(&mut self) {
        self.incoming.bye(&mut self.world);
        self.outgoing.bye(&mut self.world);
        self.world.finish();
    }
}

/// Two tenants, one phone each: the strictest case.
fn of_two_tenants() -> World {
    let directory = directory(&[(1, "10.0.0.1/32", &["1001"]), (2, "10.0.0.2/32", &["2002"])]);
    World::of(EngineSettings::default(), directory)
}

fn counted(world: &World) -> MediaCounters {
    world.media_counters()
}

#[test]
fn both_legs_have_what_the_phones_say_to_each_other() {
    for order in [Order::IncomingFirst, Order::OutgoingFirst] {
        for world in [World::new(), of_two_tenants()] {
            let mut call = Call::through_pbx(world);
            call.go_direct(order, 60);
            call.talk_directly(100);
            call.go_back();
            call.talk_through(50);
            let sent = 2 * (2 * 50 + 100 + 2 * 50);
            call.end();
            for leg in ["in", "out"] {
                let all = |first: u8| [(first, 50), (first + 1, 100), (first + 2, 50)];
                assert_eq!(call.heard(leg, Side::Caller), all(0x11), "{leg} {order:?}");
                assert_eq!(call.heard(leg, Side::Callee), all(0x61), "{leg} {order:?}");
                let end = call.world.end_of(leg);
                assert_eq!(end.disposition, Disposition::Recorded);
                assert_eq!(end.suspicious, Default::default());
                for stream in &end.streams {
                    let bad = (stream.lost, stream.duplicates, stream.not_placed);
                    assert_eq!(bad, (0, 0, 0));
                }
            }
            let counters = counted(&call.world);
            assert_eq!(counters.rtp_packets, u64::from(sent as u32));
            assert_eq!(counters.streams_shared, 2);
            assert_eq!((counters.unclaimed, counters.after_end), (0, 0));
            assert_eq!((counters.duplicates, counters.not_placed), (0, 0));
            let seen: u64 = call
                .world
                .vantages()
                .iter()
                .map(|(_, c)| c.rtp_packets)
                .sum();
            assert_eq!(seen, counters.rtp_packets);
        }
    }
}

/// Where a payload begins, in samples of the call: as often as it is there.
fn places(world: &World, call: &str, side: Side, fill: u8) -> Vec<i64> {
    let blocks = world.blocks(call);
    let pieces = blocks
        .iter()
        .flat_map(|block| block.sides[side].iter().map(move |piece| (block, piece)));
    let mut places: Vec<i64> = pieces
        .filter(|(block, piece)| block.payload(piece).first() == Some(&fill))
        .map(|(_, piece)| piece.position)
        .collect();
    places.sort_unstable();
    places
}

#[test]
fn each_leg_has_it_in_its_place() {
    let mut call = Call::through_pbx(of_two_tenants());
    call.go_direct(Order::IncomingFirst, 60);
    call.world.pass(333);
    call.talk_directly(100);
    call.end();
    for (side, fill) in [(Side::Caller, 0x12), (Side::Callee, 0x62)] {
        let places: Vec<Vec<i64>> = ["in", "out"]
            .map(|leg| places(&call.world, leg, side, fill))
            .into();
        assert_eq!(places[0], places[1]);
        // A second through the PBX, and what passed until the first packet.
        let expected: Vec<i64> = (0..100).map(|n| 8 * (1000 + 60 + 333 + 20 * n)).collect();
        let off = places[0].iter().zip(&expected).map(|(a, b)| (a - b).abs());
        assert!(off.max().unwrap() <= 160, "{side:?}");
        assert_eq!(places[0].len(), 100);
    }
}

/// Only one leg is told at first; the other one a while after the phones began.
#[test]
fn what_was_said_before_the_second_leg_was_told_is_heard_there_too() {
    for order in [Order::IncomingFirst, Order::OutgoingFirst] {
        for wait in [5, 20, 75] {
            let mut call = Call::through_pbx(of_two_tenants());
            let [a, b] = call.next_fills();
            let mut talks = [Talk::new(A, B, a), Talk::new(B, A, b)];
            match order {
                Order::IncomingFirst => call.tell_incoming(B, 2),
                Order::OutgoingFirst => call.tell_outgoing(A, 2),
            }
            call.play(&mut talks, wait);
            match order {
                Order::IncomingFirst => call.tell_outgoing(A, 2),
                Order::OutgoingFirst => call.tell_incoming(B, 2),
            }
            call.play(&mut talks, 100 - wait);
            call.end();
            for leg in ["in", "out"] {
                let what = format!("{leg} {order:?} after {wait}");
                call.assert_heard(
                    leg,
                    &[(0x11, 50), (0x12, 100)],
                    &[(0x61, 50), (0x62, 100)],
                    &what,
                );
            }
            let counters = counted(&call.world);
            assert_eq!((counters.unclaimed, counters.not_placed), (0, 0));
        }
    }
}

#[test]
fn a_leg_that_is_never_told_leaves_nothing_behind() {
    let mut call = Call::through_pbx(of_two_tenants());
    call.tell_incoming(B, 2);
    call.talk_directly(500);
    assert_eq!(call.world.engine().open_streams(), 6);
    call.end();
    assert_eq!(call.heard("in", Side::Caller), [(0x11, 50), (0x12, 500)]);
    assert_eq!(call.heard("out", Side::Caller), [(0x11, 50)]);
    let counters = counted(&call.world);
    assert_eq!((counters.streams_shared, counters.unclaimed), (0, 0));
}

#[test]
fn the_leg_that_goes_on_keeps_the_stream() {
    for first_ends in [true, false] {
        for order in [Order::IncomingFirst, Order::OutgoingFirst] {
            let mut call = Call::through_pbx(of_two_tenants());
            call.go_direct(order, 20);
            let [a, b] = call.next_fills();
            let mut talks = [Talk::new(A, B, a), Talk::new(B, A, b)];
            call.play(&mut talks, 50);
            // Both ends of the phones' talk go on: the other BYE was not heard yet.
            let (ends, goes_on) = match (order == Order::IncomingFirst) == first_ends {
                true => (call.incoming.clone(), "out"),
                false => (call.outgoing.clone(), "in"),
            };
            ends.say(&mut call.world, "BYE", 9, "", "");
            ends.accept(&mut call.world, "BYE", 9, "", "");
            call.play(&mut talks, 150);
            call.end();
            let what = format!("{order:?}, the first ends: {first_ends}");
            call.assert_heard(
                goes_on,
                &[(0x11, 50), (0x12, 200)],
                &[(0x61, 50), (0x62, 200)],
                &what,
            );
            let end = call.world.end_of(goes_on);
            assert!(end.streams.iter().all(|stream| stream.lost == 0), "{what}");
            let counters = counted(&call.world);
            assert_eq!(counters.after_end, 0, "{what}");
            let seen: u64 = call
                .world
                .vantages()
                .iter()
                .map(|(_, c)| c.rtp_packets)
                .sum();
            assert_eq!(seen, counters.rtp_packets, "{what}");
        }
    }
}

/// Both INVITEs name the phones, whose packets the PBX never sees.
fn from_the_start(world: &mut World) -> (Leg, Leg) {
    let incoming = Leg::new("in", ("1001", A.0), ("2002", PBX));
    let outgoing = Leg::new("out", ("1001", PBX), ("2002", B.0));
    incoming.invite(world, A);
    world.pass(20);
    outgoing.invite(world, A);
    world.pass(1000);
    outgoing.answer(world, B, "");
    world.pass(20);
    incoming.answer(world, B, "");
    (incoming, outgoing)
}

#[test]
fn phones_that_send_to_each_other_from_the_start_are_heard_once_by_each_tenant() {
    for (mut world, has_two) in [(World::new(), false), (of_two_tenants(), true)] {
        let (incoming, outgoing) = from_the_start(&mut world);
        let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
        world.talk_both(&mut out, &mut back, 100);
        incoming.bye(&mut world);
        outgoing.bye(&mut world);
        let mut silent = 0;
        for leg in ["in", "out"] {
            let heard = Side::BOTH.map(|side| world.heard(leg, side));
            match heard.iter().all(Vec::is_empty) {
                true => silent += 1,
                false => assert_eq!(heard, [[(0x11, 16_000)], [(0x61, 16_000)]], "{leg}"),
            }
        }
        // Two legs of one tenant that never had anything else would be two copies.
        assert_eq!(silent, if has_two { 0 } else { 1 });
        assert_eq!(counted(&world).rtp_packets, 200);
    }
}

#[test]
fn early_media_ahead_of_the_second_answer_is_heard_in_both_legs() {
    let mut world = of_two_tenants();
    let incoming = Leg::new("in", ("1001", A.0), ("2002", PBX));
    let outgoing = Leg::new("out", ("1001", PBX), ("2002", B.0));
    incoming.invite(&mut world, A);
    outgoing.invite(&mut world, A);
    world.pass(1000);
    outgoing.answer(&mut world, B, "");
    let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
    world.talk_both(&mut out, &mut back, 20);
    incoming.answer(&mut world, B, "");
    world.talk_both(&mut out, &mut back, 80);
    incoming.bye(&mut world);
    outgoing.bye(&mut world);
    for leg in ["in", "out"] {
        assert_eq!(world.heard(leg, Side::Caller), [(0x11, 16_000)], "{leg}");
        assert_eq!(world.heard(leg, Side::Callee), [(0x61, 16_000)], "{leg}");
    }
}

#[test]
fn three_legs_have_one_stream() {
    // Through two PBXs.
    let numbers = ("1001", "2002");
    let legs = [(A.0, 100), (100, 101), (101, B.0)];
    let header =
        "Session-ID: a7b6c5d4e3f2a1b0a7b6c5d4e3f2a1b0;remote=00000000000000000000000000000000";
    let mut world = of_two_tenants();
    let legs = legs.map(|(from, to)| {
        Leg::new(&format!("{from}-{to}"), (numbers.0, from), (numbers.1, to)).with(header)
    });
    for leg in &legs {
        leg.invite(&mut world, A);
        world.pass(20);
    }
    for leg in legs.iter().rev() {
        leg.answer(&mut world, B, "");
        world.pass(20);
    }
    let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
    world.talk_both(&mut out, &mut back, 100);
    for leg in &legs {
        leg.bye(&mut world);
    }
    for leg in &legs {
        let id = &leg.call_id;
        assert_eq!(world.heard(id, Side::Caller), [(0x11, 16_000)], "{id}");
        assert_eq!(world.heard(id, Side::Callee), [(0x61, 16_000)], "{id}");
    }
    assert_eq!(counted(&world).streams_shared, 4);
}

#[test]
fn a_leg_between_two_tenants_that_is_a_third_ones_has_it_only_where_the_signalling_says_so() {
    let directory = directory(&[(1, "10.0.0.1/32", &["1001"]), (2, "10.0.0.2/32", &["2002"])]);
    let mut world = World::of(EngineSettings::default(), directory);
    let legs = [(A.0, 100), (100, 101), (101, B.0)]
        .map(|(from, to)| Leg::new(&format!("{from}-{to}"), ("1001", from), ("2002", to)));
    for leg in &legs {
        leg.invite(&mut world, A);
        world.pass(20);
    }
    for leg in legs.iter().rev() {
        leg.answer(&mut world, B, "");
    }
    let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
    world.talk_both(&mut out, &mut back, 100);
    for leg in &legs {
        leg.bye(&mut world);
    }
    let heard = |id: &str| world.heard(id, Side::Caller).len();
    assert_eq!(["1-100", "100-101", "101-2"].map(heard), [1, 0, 1]);
    let owners = &world.end_of("100-101").info.owners;
    assert_eq!(owners[0].tenant, SYSTEM_TENANT);
    assert_eq!(world.end_of("1-100").info.owners[0].tenant, tenant(1));
}

#[test]
fn more_calls_than_can_have_one_stream_are_counted() {
    let networks: Vec<(u8, String)> = (100..112).map(|n| (n, format!("10.0.0.{n}/32"))).collect();
    let tenants: Vec<(u8, &str, &[&str])> = networks
        .iter()
        .map(|(id, network)| (*id, &**network, &["1001"][..]))
        .collect();
    let mut world = World::of(EngineSettings::default(), directory(&tenants));
    let session =
        "Session-ID: a7b6c5d4e3f2a1b0a7b6c5d4e3f2a1b0;remote=00000000000000000000000000000000";
    let hosts: Vec<u8> = (0..12).map(|n| 100 + n).collect();
    let legs: Vec<Leg> = hosts
        .windows(2)
        .map(|pair| {
            Leg::new(
                &format!("{}", pair[0]),
                ("1001", pair[0]),
                ("2002", pair[1]),
            )
        })
        .map(|leg| leg.with(session))
        .collect();
    for leg in &legs {
        leg.set_up(&mut world, A, B);
        world.pass(20);
    }
    let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
    world.talk_both(&mut out, &mut back, 50);
    world.wait(2000);
    let counters = counted(&world);
    for leg in &legs {
        leg.bye(&mut world);
    }
    let have = legs
        .iter()
        .filter(|leg| !world.heard(&leg.call_id, Side::Caller).is_empty());
    assert_eq!(have.count(), 8);
    assert_eq!(counters.streams_shared, 14);
    assert!(counters.streams_not_shared > 0);
    assert_eq!(counters.rtp_packets, 100);
}

/// What a phone sends of a key that is pressed.
fn key_event(talk: &mut Talk) -> Vec<u8> {
    let mut packet = talk.next();
    packet[1] = 101;
    packet.truncate(12);
    packet.extend([5, 0x8a, 0x03, 0x20]);
    packet
}

#[test]
fn keys_are_heard_once_in_each_leg() {
    let mut call = Call::through_pbx(of_two_tenants());
    call.go_direct(Order::IncomingFirst, 20);
    let [a, b] = call.next_fills();
    let mut talks = [Talk::new(A, B, a), Talk::new(B, A, b)];
    call.play(&mut talks, 50);
    let packet = key_event(&mut talks[0]);
    call.world.send(A, B, &packet);
    call.world.pass(20);
    call.play(&mut talks, 50);
    call.end();
    for leg in ["in", "out"] {
        let digits = &call.world.end_of(leg).digits;
        let keys: Vec<(Side, char)> = digits.iter().map(|d| (d.by, d.key)).collect();
        assert_eq!(keys, [(Side::Caller, '5')], "{leg}");
    }
}

#[test]
fn a_pause_of_one_leg_silences_that_leg_alone() {
    for order in [Order::IncomingFirst, Order::OutgoingFirst] {
        let mut call = Call::through_pbx(of_two_tenants());
        call.go_direct(order, 20);
        let [a, b] = call.next_fills();
        let mut talks = [Talk::new(A, B, a), Talk::new(B, A, b)];
        call.play(&mut talks, 50);
        let ask = |action| ControlRequest {
            target: "in".into(),
            action,
            tenant: Some(tenant(1)),
            only: None,
            looks: false,
            who: "ann".into(),
            why: String::new(),
        };
        assert_eq!(call.world.control(&ask(ControlAction::Pause)).changed(), 1);
        call.play(&mut talks, 50);
        assert_eq!(call.world.control(&ask(ControlAction::Resume)).changed(), 1);
        call.play(&mut talks, 50);
        call.end();
        let heard = |leg, side: Side| {
            let fill = if side == Side::Caller { 0x12 } else { 0x62 };
            let heard = call.heard(leg, side);
            heard.iter().find(|(known, _)| *known == fill).unwrap().1
        };
        for side in Side::BOTH {
            assert_eq!(heard("in", side), 100, "{order:?}");
            assert_eq!(heard("out", side), 150, "{order:?}");
        }
        let paused = |leg| {
            call.world
                .end_of(leg)
                .streams
                .iter()
                .map(|s| s.paused)
                .sum::<u64>()
        };
        assert_eq!((paused("in"), paused("out")), (100, 0));
        assert_eq!(counted(&call.world).paused, 100);
    }
}

#[test]
fn what_the_phones_report_is_of_each_leg() {
    let mut call = Call::through_pbx(of_two_tenants());
    call.go_direct(Order::IncomingFirst, 20);
    let [a, b] = call.next_fills();
    let mut talks = [Talk::new(A, B, a), Talk::new(B, A, b)];
    for _ in 0..3 {
        call.play(&mut talks, 100);
        let mut report = vec![0x81, 201, 0, 7];
        report.extend(0x77u32.to_be_bytes());
        report.extend(talks[0].ssrc.to_be_bytes());
        report.extend([0, 0, 0, 0]);
        report.extend(u32::from(talks[0].sequence.wrapping_sub(1)).to_be_bytes());
        report.extend([0; 12]);
        call.world.send((B.0, B.1 + 1), (A.0, A.1 + 1), &report);
    }
    call.end();
    for leg in ["in", "out"] {
        let end = call.world.end_of(leg);
        let direct = end
            .streams
            .iter()
            .find(|s| s.flow.source.port == A.1 && s.flow.destination.port == B.1);
        assert!(direct.unwrap().quality.reports.is_some(), "{leg}");
    }
    assert_eq!(counted(&call.world).rtcp_bound, 3);
}

#[test]
fn who_listens_to_either_leg_hears_the_phones() {
    let mut call = Call::through_pbx(of_two_tenants());
    call.go_direct(Order::OutgoingFirst, 20);
    let mut keys: Vec<_> = call.world.events.iter().map(Event::call).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in &keys {
        assert!(call.world.engine_mut().listen(*key));
    }
    call.world.overhear();
    call.talk_directly(10);
    let heard = call.world.overhear();
    for key in keys {
        let of_call = heard.iter().filter(|(call, _)| *call == key);
        let pieces: usize = of_call
            .filter_map(|(_, heard)| heard.as_ref())
            .map(|heard| heard.sides.caller.len() + heard.sides.callee.len())
            .sum();
        assert_eq!(pieces, 20);
    }
}

#[test]
fn losses_are_each_legs_and_are_counted_once() {
    let mut call = Call::through_pbx(of_two_tenants());
    call.go_direct(Order::IncomingFirst, 20);
    let [a, b] = call.next_fills();
    let mut talks = [Talk::new(A, B, a), Talk::new(B, A, b)];
    call.play(&mut talks, 50);
    talks[0].next();
    talks[0].next();
    call.play(&mut talks, 10);
    let packet = talks[0].next();
    call.world.send(A, B, &packet);
    call.world.send(A, B, &packet);
    call.play(&mut talks, 50);
    call.end();
    for leg in ["in", "out"] {
        let end = call.world.end_of(leg);
        let mut streams = end.streams.iter();
        let direct = streams.find(|s| (s.flow.source.port, s.flow.destination.port) == (A.1, B.1));
        let direct = direct.unwrap();
        assert_eq!(
            (direct.packets, direct.lost, direct.duplicates),
            (111, 2, 1),
            "{leg}"
        );
    }
    assert_eq!(counted(&call.world).duplicates, 1);
}

/// The legs have no number in common, and nothing else either: only their audio says that they are one conversation.
#[test]
fn legs_that_only_their_audio_links_share_what_comes_after() {
    let directory = directory(&[(1, "10.0.0.1/32", &["1001"]), (2, "10.0.0.2/32", &["2002"])]);
    let mut world = World::of(EngineSettings::default(), directory);
    let incoming = Leg::new("in", ("1001", A.0), ("8000", PBX));
    let outgoing = Leg::new("out", ("9001", 200), ("2002", B.0));
    incoming.set_up(&mut world, A, (PBX, 8000));
    outgoing.set_up(&mut world, (200, 8002), B);
    let mut streams = [
        (Talk::new(A, (PBX, 8000), 1), 1),
        (Talk::new((200, 8002), B, 2), 1),
        (Talk::new(B, (200, 8002), 3), 2),
        (Talk::new((PBX, 8000), A, 4), 2),
    ];
    for n in 0..15 * 50 {
        for (talk, voice) in &mut streams {
            world.send_voice(talk, &speech(*voice, n));
        }
        world.pass(20);
    }
    let mut call = Call {
        world,
        incoming,
        outgoing,
        fills: [0x10, 0x60],
    };
    call.go_direct(Order::IncomingFirst, 20);
    call.talk_directly(100);
    call.end();
    assert_eq!(counted(&call.world).streams_shared, 2);
    let last = |leg| {
        call.heard(leg, Side::Caller)
            .into_iter()
            .find(|(fill, _)| *fill == 0x11)
    };
    assert!(last("in").is_some_and(|(_, packets)| packets >= 100));
    assert!(last("out").is_some_and(|(_, packets)| packets >= 100));
}

/// Phones move their media to and fro, and legs end: whoever has a stream counts it, and what is counted is all that came.
#[test]
fn a_stream_that_changes_hands_is_counted_once() {
    let mut call = Call::through_pbx(of_two_tenants());
    let [a, b] = call.next_fills();
    let mut talks = [Talk::new(A, B, a), Talk::new(B, A, b)];
    call.go_direct(Order::IncomingFirst, 20);
    call.play(&mut talks, 50);
    // The leg that had the streams first is moved back, and the phones send on for a while.
    call.tell_incoming((PBX, 8000), 3);
    call.play(&mut talks, 20);
    call.tell_incoming(B, 4);
    call.play(&mut talks, 50);
    call.tell_incoming((PBX, 8000), 5);
    call.play(&mut talks, 150);
    call.end();
    let heard = |leg| call.heard(leg, Side::Caller)[1].1;
    assert_eq!(heard("out"), 270);
    // Two seconds after it was moved back for good it is out of it.
    assert!((219..=221).contains(&heard("in")), "{}", heard("in"));
    let counters = counted(&call.world);
    let seen: u64 = call
        .world
        .vantages()
        .iter()
        .map(|(_, c)| c.rtp_packets)
        .sum();
    assert_eq!(seen, counters.rtp_packets);
    assert_eq!(call.world.engine().open_streams(), 6);
}
