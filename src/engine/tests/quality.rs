//! What RTCP and the mirror say of calls in the scripted world.

use super::world::{At, Dialog, START, Talk, World, sdp};
use crate::base::Side;
use crate::engine::EngineSettings;
use crate::engine::quality::Reports;

const CALLER: At = (1, 4000);
const CALLEE: At = (2, 5000);

/// A receiver report of one stream.
fn receiver_report(reporter: u32, about: u32, highest: u32, lost: u32) -> Vec<u8> {
    let words = [0x81c9_0007, reporter, about, lost, highest, 0, 0, 0];
    words.into_iter().flat_map(u32::to_be_bytes).collect()
}

fn sender_report(ssrc: u32, packets: u32) -> Vec<u8> {
    let words = [
        0x80c8_0006,
        ssrc,
        0x1122_3344,
        0x5566_7788,
        0,
        packets,
        packets * 160,
    ];
    words.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// A call of whose caller's 200 packets the mirror loses ten, after which `report` sends what says that the callee has all.
fn call_with(answer_sdp: &str, report: impl Fn(&mut World, &Talk)) -> World {
    let mut world = World::new();
    let dialog = Dialog::new("call", 1, 2);
    dialog.request(&mut world, "INVITE", 1, "", &sdp(CALLER, ""));
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &sdp(CALLEE, answer_sdp));
    dialog.request(&mut world, "ACK", 1, "tt", "");
    let (mut caller, mut callee) = (
        Talk::new(CALLER, CALLEE, 0x11),
        Talk::new(CALLEE, CALLER, 0x22),
    );
    for _ in 0..10 {
        world.talk_both(&mut caller, &mut callee, 19);
        caller.sequence += 1;
        caller.timestamp += 160;
        world.talk(&mut callee, 1);
    }
    // What is behind the newest packet only is known to be lost.
    world.talk_both(&mut caller, &mut callee, 1);
    report(&mut world, &caller);
    dialog.bye(&mut world);
    world
}

fn reports(world: &World, side: Side) -> Option<&Reports> {
    world.stream_of(side).quality.reports.as_deref()
}

fn mirror_lost(world: &World) -> Option<u64> {
    assert_eq!(world.stream_of(Side::Caller).lost, 10);
    reports(world, Side::Caller)?.mirror_lost
}

fn tell(world: &mut World, from: At, to: At, caller: &Talk) {
    let newest = u32::from(caller.sequence) - 1;
    world.send(from, to, &receiver_report(0x1022, caller.ssrc, newest, 0));
}

#[test]
fn reports_come_to_their_stream_by_the_next_port_the_same_port_or_the_one_that_sdp_names() {
    let usual = call_with("", |world, caller| {
        tell(world, (2, 5001), (1, 4001), caller)
    });
    assert_eq!(mirror_lost(&usual), Some(10));
    let shared = call_with("a=rtcp-mux\r\n", |world, caller| {
        tell(world, CALLEE, CALLER, caller)
    });
    assert_eq!(mirror_lost(&shared), Some(10));
    let named = call_with("a=rtcp:7777\r\n", |world, caller| {
        tell(world, (2, 7777), (1, 4001), caller)
    });
    assert_eq!(mirror_lost(&named), Some(10));
    // Behind a NAT the port is another, the address the same.
    let behind_nat = call_with("", |world, caller| {
        tell(world, (2, 61_234), (1, 4001), caller)
    });
    assert_eq!(mirror_lost(&behind_nat), Some(10));
}

#[test]
fn reports_from_elsewhere_or_of_another_stream_change_nothing() {
    let counted = |world: &World| {
        let counters = world.media_counters();
        (counters.rtcp_bound, counters.rtcp_unbound)
    };
    let foreign = call_with("", |world, caller| {
        tell(world, (9, 5001), (1, 4001), caller)
    });
    assert_eq!((mirror_lost(&foreign), counted(&foreign)), (None, (0, 1)));
    let other_port = call_with("", |world, caller| {
        tell(world, (2, 6001), (1, 8001), caller)
    });
    assert_eq!(
        (mirror_lost(&other_port), counted(&other_port)),
        (None, (0, 1))
    );
    let other_ssrc = call_with("", |world, _| {
        world.send((2, 5001), (1, 4001), &receiver_report(1, 0xdead, 300, 0));
    });
    assert_eq!(
        (mirror_lost(&other_ssrc), counted(&other_ssrc)),
        (None, (0, 1))
    );
    let impossible = call_with("", |world, caller| {
        world.send(
            (2, 5001),
            (1, 4001),
            &receiver_report(1, caller.ssrc, 40_000, 0),
        );
    });
    assert_eq!(counted(&impossible), (0, 1));
    assert_eq!(
        reports(&impossible, Side::Caller).unwrap().receiver_reports,
        0
    );
}

#[test]
fn reports_of_an_encrypted_call_are_not_read() {
    let mut world = World::new();
    let secure = |at: At| sdp(at, "").replace("RTP/AVP", "RTP/SAVP");
    let dialog = Dialog::new("secure", 1, 2);
    dialog.request(&mut world, "INVITE", 1, "", &secure(CALLER));
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &secure(CALLEE));
    let mut caller = Talk::new(CALLER, CALLEE, 0x11);
    world.talk(&mut caller, 50);
    tell(&mut world, (2, 5001), (1, 4001), &caller);
    dialog.bye(&mut world);
    assert_eq!(world.media_counters().srtcp_encrypted, 1);
    assert!(reports(&world, Side::Caller).is_none());
}

#[test]
fn a_sender_says_how_much_it_sent() {
    let world = call_with("", |world, caller| {
        world.send((1, 4001), (2, 5001), &sender_report(caller.ssrc, 201));
        world.pass(30);
        // The answer rested with the callee for 10 ms.
        let mut answer = receiver_report(0x1022, caller.ssrc, u32::from(caller.sequence) - 1, 3);
        answer[24..28].copy_from_slice(&0x3344_5566u32.to_be_bytes());
        answer[28..32].copy_from_slice(&655u32.to_be_bytes());
        world.send((2, 5001), (1, 4001), &answer);
    });
    let told = reports(&world, Side::Caller).unwrap();
    assert_eq!((told.sender_packets, told.receiver_lost), (Some(201), 3));
    assert_eq!(told.round_trip.unwrap().as_millis(), 20);
    // Three of the ten were lost on the network.
    assert_eq!(mirror_lost(&world), Some(7));
}

#[test]
fn what_the_mirror_lost_nobody_heard_worse() {
    let denied = call_with("", |world, caller| {
        tell(world, (2, 5001), (1, 4001), caller)
    });
    let silent = call_with("", |_, _| {});
    let mos = |world: &World| world.stream_of(Side::Caller).quality.rating.unwrap().mos_cq;
    assert!(mos(&silent) < 4.2 && mos(&denied) > 4.4);
    assert_eq!(silent.stream_of(Side::Caller).quality.bursts.bursts, 0);
    assert!(
        (silent.stream_of(Side::Caller).quality.bursts.gap_density - 10.0 / 201.0).abs() < 1e-9
    );
}

#[test]
fn who_was_free_to_send_is_told() {
    let may_send = |answer: &str| {
        let world = call_with(answer, |_, _| {});
        let may = world.end().may_send;
        (may.caller, may.callee)
    };
    assert_eq!(may_send(""), (true, true));
    assert_eq!(may_send("a=recvonly\r\n"), (true, false));
    assert_eq!(may_send("a=sendonly\r\n"), (false, true));
}

#[test]
fn a_mirror_of_one_direction_shows_at_its_vantage() {
    let mut world = World::new();
    for vlan in [0, 7] {
        world.vlan = vlan;
        let call_id = if vlan == 0 { "both" } else { "one" };
        let dialog = Dialog::new(call_id, 1, 2);
        dialog.request(&mut world, "INVITE", 1, "", &sdp(CALLER, ""));
        if vlan == 0 {
            dialog.answer(&mut world, 200, "INVITE", 1, "tt", &sdp(CALLEE, ""));
        }
        dialog.request(&mut world, "ACK", 1, "tt", "");
        world.talk(&mut Talk::new(CALLER, CALLEE, 0x11), 50);
        dialog.request(&mut world, "BYE", 2, "tt", "");
        world.wait(1000);
    }
    // Nobody's, forgotten after a while.
    world.talk(&mut Talk::new((5, 4000), (6, 4000), 0x55), 20);
    world.wait(60_000);
    let vantages = world.vantages();
    let found: Vec<_> = vantages
        .iter()
        .map(|(vantage, counts)| {
            let calls = (counts.calls, counts.calls_one_direction);
            (
                vantage.vlans[0],
                calls,
                counts.rtp_packets,
                counts.streams_unclaimed,
            )
        })
        .collect();
    assert_eq!(found, [(0, (1, 0), 50, 0), (7, (1, 1), 50 + 20, 1)]);
    assert!(world.now > START);
}

#[test]
fn a_flood_of_reports_costs_no_memory_where_no_stream_is() {
    let mut world = World::with(EngineSettings::default());
    for n in 0..1000u32 {
        let port = 1 + (n as u16) * 2;
        world.send((3, port), (4, port), &receiver_report(n, n, n, n));
        world.send((3, port), (4, port), &[0x9f, 201, 0xff, 0xff, 1, 2, 3, 4]);
    }
    let counters = world.media_counters();
    assert_eq!((counters.rtcp_bound, counters.rtcp_unbound), (0, 2000));
    assert_eq!((counters.rtcp_damaged, counters.streams_opened), (1000, 0));
}
