//! Call flows as real networks show them: holds, forks, moves, lost and forged messages.

use super::script::Leg;
use super::world::{Dialog, Talk, World, sdp};
use crate::base::{Side, Timestamp};
use crate::engine::event::{Disposition, EndReason, HoldSpan};

/// Caller at 10.0.0.1:4000, callee at 10.0.0.2:4000, and what each sends.
fn set_up(world: &mut World, call_id: &'static str) -> (Dialog, Talk, Talk) {
    let dialog = Dialog::new(call_id, 1, 2);
    dialog.set_up(world, (1, 4000), (2, 4000));
    (
        dialog,
        Talk::new((1, 4000), (2, 4000), 0x11),
        Talk::new((2, 4000), (1, 4000), 0x22),
    )
}

/// A re-INVITE of the caller and its answer.
fn offer(dialog: &Dialog, world: &mut World, number: u32, offer: &str, answer: &str) -> Timestamp {
    dialog.request(world, "INVITE", number, "tt", offer);
    dialog.answer(world, 200, "INVITE", number, "tt", answer);
    dialog.request(world, "ACK", number, "tt", "");
    world.now
}

fn spans(holds: &[HoldSpan]) -> Vec<(Side, Timestamp, Timestamp)> {
    holds.iter().map(|h| (h.by, h.from, h.to)).collect()
}

#[test]
fn every_way_to_hold_is_a_hold_of_the_one_who_asked() {
    let nowhere =
        |more: &str| sdp((1, 4000), more).replace("c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0");
    let ways = [
        (sdp((1, 4000), "a=sendonly\r\n"), "a=recvonly\r\n"),
        (sdp((1, 4000), "a=inactive\r\n"), "a=inactive\r\n"),
        (nowhere(""), ""),
        (nowhere("a=inactive\r\n"), "a=inactive\r\n"),
    ];
    for (way, answer) in ways {
        let mut world = World::new();
        let (dialog, mut out, mut back) = set_up(&mut world, "hold");
        world.talk_both(&mut out, &mut back, 50);
        let from = offer(&dialog, &mut world, 2, &way, &sdp((2, 4000), answer));
        world.pass(5000);
        let to = offer(
            &dialog,
            &mut world,
            3,
            &sdp((1, 4000), ""),
            &sdp((2, 4000), ""),
        );
        out.timestamp += 40_000;
        back.timestamp += 40_000;
        world.talk_both(&mut out, &mut back, 50);
        dialog.bye(&mut world);
        assert_eq!(
            spans(&world.end().holds),
            [(Side::Caller, from, to)],
            "{way}"
        );
        assert_eq!(world.heard("hold", Side::Caller), [(0x11, 100 * 160)]);
        assert_eq!(world.heard("hold", Side::Callee), [(0x22, 100 * 160)]);
        assert_eq!(world.end().length_samples, 7 * 8000);
    }
}

#[test]
fn a_call_whose_media_is_refused_for_a_while_is_on_hold_but_not_where_it_is_a_fax() {
    let fax = "m=image 5000 udptl t38\r\n";
    for (more, held) in [("", true), (fax, false)] {
        let mut world = World::new();
        let (dialog, mut out, _) = set_up(&mut world, "off");
        world.talk(&mut out, 50);
        let (off, answer) = (sdp((1, 0), more), sdp((2, 0), more));
        let from = offer(&dialog, &mut world, 2, &off, &answer);
        world.pass(5000);
        let (on, answer) = (sdp((1, 4000), ""), sdp((2, 4000), ""));
        let to = offer(&dialog, &mut world, 3, &on, &answer);
        dialog.bye(&mut world);
        let expected: &[_] = if held {
            &[(Side::Caller, from, to)]
        } else {
            &[]
        };
        assert_eq!(spans(&world.end().holds), expected);
    }
}

#[test]
fn music_on_hold_is_heard_as_the_holder_s_audio() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = set_up(&mut world, "music");
    world.talk_both(&mut out, &mut back, 50);
    // The holder's PBX sends music from a server of its own, told by SDP.
    offer(
        &dialog,
        &mut world,
        2,
        &sdp((77, 9000), "a=sendonly\r\n"),
        &sdp((2, 4000), "a=recvonly\r\n"),
    );
    let mut music = Talk::new((77, 9000), (2, 4000), 0x77);
    world.talk(&mut music, 100);
    offer(
        &dialog,
        &mut world,
        3,
        &sdp((1, 4000), ""),
        &sdp((2, 4000), ""),
    );
    out.timestamp += 16_000;
    back.timestamp += 16_000;
    world.talk_both(&mut out, &mut back, 50);
    dialog.bye(&mut world);
    assert_eq!(
        world.heard("music", Side::Caller),
        [(0x11, 100 * 160), (0x77, 100 * 160)]
    );
    assert_eq!(world.heard("music", Side::Callee), [(0x22, 100 * 160)]);
    let holds = spans(&world.end().holds);
    assert_eq!((holds.len(), holds[0].0), (1, Side::Caller));
    assert_eq!(world.end().suspicious, Default::default());
}

#[test]
fn a_hold_in_the_answer_to_a_late_offer_is_a_hold_of_the_one_who_asked() {
    let mut world = World::new();
    let (dialog, mut out, _) = set_up(&mut world, "late");
    world.talk(&mut out, 20);
    dialog.request(&mut world, "INVITE", 2, "tt", "");
    dialog.answer(&mut world, 200, "INVITE", 2, "tt", &sdp((2, 4000), ""));
    dialog.request(
        &mut world,
        "ACK",
        2,
        "tt",
        &sdp((1, 4000), "a=sendonly\r\n"),
    );
    let from = world.now;
    world.pass(2000);
    dialog.bye(&mut world);
    let holds = spans(&world.end().holds);
    assert_eq!(holds.len(), 1);
    assert_eq!((holds[0].0, holds[0].1), (Side::Caller, from));
}

#[test]
fn both_sides_may_hold_at_once() {
    let mut world = World::new();
    let leg = Leg::new("both", ("1001", 1), ("1002", 2));
    leg.set_up(&mut world, (1, 4000), (2, 4000));
    let first = world.now;
    leg.say(
        &mut world,
        "INVITE",
        2,
        "",
        &sdp((1, 4000), "a=sendonly\r\n"),
    );
    leg.accept(
        &mut world,
        "INVITE",
        2,
        "",
        &sdp((2, 4000), "a=recvonly\r\n"),
    );
    world.pass(1000);
    let second = world.now;
    leg.say_back(
        &mut world,
        "INVITE",
        2,
        "",
        &sdp((2, 4000), "a=inactive\r\n"),
    );
    leg.accept_back(
        &mut world,
        "INVITE",
        2,
        "",
        &sdp((1, 4000), "a=inactive\r\n"),
    );
    world.pass(1000);
    let third = world.now;
    leg.say(&mut world, "INVITE", 3, "", &sdp((1, 4000), ""));
    leg.accept(
        &mut world,
        "INVITE",
        3,
        "",
        &sdp((2, 4000), "a=sendonly\r\n"),
    );
    world.pass(1000);
    let fourth = world.now;
    leg.say_back(&mut world, "INVITE", 3, "", &sdp((2, 4000), ""));
    leg.accept_back(&mut world, "INVITE", 3, "", &sdp((1, 4000), ""));
    leg.bye(&mut world);
    let expected = [(Side::Caller, first, third), (Side::Callee, second, fourth)];
    assert_eq!(spans(&world.end().holds), expected);
}

#[test]
fn a_hold_of_an_hour_is_silence_of_an_hour() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = set_up(&mut world, "hour");
    world.talk_both(&mut out, &mut back, 50);
    offer(
        &dialog,
        &mut world,
        2,
        &sdp((1, 4000), "a=inactive\r\n"),
        &sdp((2, 4000), "a=inactive\r\n"),
    );
    for _ in 0..60 {
        world.wait(60_000);
    }
    assert!(world.ends().is_empty());
    offer(
        &dialog,
        &mut world,
        3,
        &sdp((1, 4000), ""),
        &sdp((2, 4000), ""),
    );
    for talk in [&mut out, &mut back] {
        talk.timestamp = talk.timestamp.wrapping_add(3600 * 8000);
    }
    world.talk_both(&mut out, &mut back, 50);
    dialog.bye(&mut world);
    assert_eq!(world.end().length_samples, 3602 * 8000);
    assert_eq!(world.heard("hour", Side::Caller), [(0x11, 100 * 160)]);
    let last = world
        .blocks("hour")
        .iter()
        .flat_map(|b| &b.sides.caller)
        .map(|p| p.position)
        .max();
    assert_eq!(last, Some(3602 * 8000 - 160));
}

#[test]
fn session_timers_change_nothing() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = set_up(&mut world, "timer");
    for n in 0..4 {
        world.talk_both(&mut out, &mut back, 25);
        if n % 2 == 0 {
            offer(
                &dialog,
                &mut world,
                2 + n,
                &sdp((1, 4000), ""),
                &sdp((2, 4000), ""),
            );
        } else {
            dialog.request(&mut world, "UPDATE", 2 + n, "tt", "");
            dialog.answer(&mut world, 200, "UPDATE", 2 + n, "tt", "");
        }
    }
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(world.heard("timer", Side::Caller), [(0x11, 100 * 160)]);
    assert_eq!(world.heard("timer", Side::Callee), [(0x22, 100 * 160)]);
    assert_eq!((end.streams.len(), end.holds.len()), (2, 0));
    assert_eq!(end.info.participants.len(), 2);
    assert_eq!(end.suspicious, Default::default());
}

#[test]
fn of_twenty_phones_that_ring_the_one_that_answers_is_the_call() {
    let mut world = World::new();
    let dialog = Dialog::new("ring", 1, 9);
    let tags: Vec<String> = (0..20).map(|n| format!("fork{n}")).collect();
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    for (n, tag) in (0..).zip(&tags) {
        dialog.answer(&mut world, 180, "INVITE", 1, tag, &sdp((20 + n, 4000), ""));
    }
    dialog.answer(&mut world, 200, "INVITE", 1, "fork7", &sdp((27, 4000), ""));
    dialog.request(&mut world, "ACK", 1, "fork7", "");
    world.talk(&mut Talk::new((27, 4000), (1, 4000), 0x27), 50);
    let answered = Dialog {
        to_tag: "fork7",
        ..dialog
    };
    answered.bye(&mut world);
    assert_eq!(world.heard("ring", Side::Callee), [(0x27, 50 * 160)]);
    assert_eq!(world.end().suspicious, Default::default());
}

#[test]
fn of_two_phones_that_answer_the_other_one_is_ended_and_changes_nothing() {
    let mut world = World::new();
    let dialog = Dialog {
        to_tag: "one",
        ..Dialog::new("two", 1, 9)
    };
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 200, "INVITE", 1, "one", &sdp((21, 4000), ""));
    dialog.answer(&mut world, 200, "INVITE", 1, "two", &sdp((22, 4000), ""));
    dialog.request(&mut world, "ACK", 1, "one", "");
    dialog.request(&mut world, "ACK", 1, "two", "");
    dialog.request(&mut world, "BYE", 2, "two", "");
    dialog.answer(&mut world, 200, "BYE", 2, "two", "");
    world.talk(&mut Talk::new((21, 4000), (1, 4000), 0x21), 100);
    assert!(world.ends().is_empty());
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(world.heard("two", Side::Callee), [(0x21, 100 * 160)]);
    assert_eq!(end.info.parties.callee.tag, "one");
    assert_eq!(end.suspicious, Default::default());
}

#[test]
fn a_caller_that_keeps_the_second_phone_is_recorded_with_it() {
    let mut world = World::new();
    let dialog = Dialog {
        to_tag: "two",
        ..Dialog::new("second", 1, 9)
    };
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 200, "INVITE", 1, "one", &sdp((21, 4000), ""));
    dialog.answer(&mut world, 200, "INVITE", 1, "two", &sdp((22, 4000), ""));
    dialog.request(&mut world, "ACK", 1, "one", "");
    dialog.request(&mut world, "ACK", 1, "two", "");
    dialog.request(&mut world, "BYE", 2, "one", "");
    dialog.answer(&mut world, 200, "BYE", 2, "one", "");
    world.talk(&mut Talk::new((22, 4000), (1, 4000), 0x22), 100);
    dialog.bye(&mut world);
    assert_eq!(world.heard("second", Side::Callee), [(0x22, 100 * 160)]);
    assert_eq!(world.end().info.parties.callee.tag, "two");
}

#[test]
fn media_moves_between_pbx_and_phones_and_back() {
    let mut world = World::new();
    let leg = Leg::new("direct", ("1001", 1), ("1002", 100));
    leg.set_up(&mut world, (1, 4000), (100, 6000));
    let mut out = Talk::new((1, 4000), (100, 6000), 0x11);
    let mut back = Talk::new((100, 6000), (1, 4000), 0x22);
    world.talk_both(&mut out, &mut back, 50);
    // The PBX gives the other phone's address; the phone's own port stays.
    leg.say_back(&mut world, "INVITE", 2, "", &sdp((2, 4000), ""));
    leg.accept_back(&mut world, "INVITE", 2, "", &sdp((1, 4000), ""));
    let mut direct = Talk::new((1, 4000), (2, 4000), 0x12);
    let mut direct_back = Talk::new((2, 4000), (1, 4000), 0x23);
    world.talk_both(&mut direct, &mut direct_back, 50);
    leg.say_back(&mut world, "INVITE", 3, "", &sdp((100, 6000), ""));
    leg.accept_back(&mut world, "INVITE", 3, "", &sdp((1, 4000), ""));
    out.ssrc += 100;
    back.ssrc += 100;
    world.talk_both(&mut out, &mut back, 50);
    leg.bye(&mut world);
    let heard = |side| world.heard("direct", side);
    assert_eq!(heard(Side::Caller), [(0x11, 100 * 160), (0x12, 50 * 160)]);
    assert_eq!(heard(Side::Callee), [(0x22, 100 * 160), (0x23, 50 * 160)]);
    assert_eq!(world.end().suspicious, Default::default());
}

#[test]
fn early_media_becomes_the_call() {
    let mut world = World::new();
    let dialog = Dialog::new("early", 1, 2);
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 183, "INVITE", 1, "tt", &sdp((2, 4000), ""));
    let mut back = Talk::new((2, 4000), (1, 4000), 0x22);
    world.talk(&mut back, 100);
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", "");
    dialog.request(&mut world, "ACK", 1, "tt", "");
    world.talk_both(&mut Talk::new((1, 4000), (2, 4000), 0x11), &mut back, 100);
    dialog.bye(&mut world);
    assert_eq!(world.heard("early", Side::Callee), [(0x22, 200 * 160)]);
    assert_eq!(world.heard("early", Side::Caller), [(0x11, 100 * 160)]);
}

#[test]
fn a_phone_that_sends_from_an_ice_candidate_is_the_phone() {
    let mut world = World::new();
    let dialog = Dialog::new("ice", 1, 2);
    let candidates = "a=candidate:1 1 UDP 2130706431 10.0.0.1 4000 typ host\r\n\
                      a=candidate:2 1 UDP 1694498815 10.0.0.88 7000 typ srflx raddr 10.0.0.1 rport 4000\r\n";
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), candidates));
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &sdp((2, 4000), ""));
    // Neither end is what the m= lines say: the callee's is learned, the caller's is a candidate.
    let mut out = Talk::new((88, 7000), (3, 9999), 0x11);
    let mut back = Talk::new((3, 9999), (88, 7000), 0x22);
    world.talk_both(&mut out, &mut back, 30);
    dialog.bye(&mut world);
    assert_eq!(world.heard("ice", Side::Caller), [(0x11, 30 * 160)]);
    assert_eq!(world.heard("ice", Side::Callee), [(0x22, 30 * 160)]);
}

#[test]
fn rtcp_on_the_port_of_rtp_is_no_audio() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = set_up(&mut world, "mux");
    for _ in 0..10 {
        world.talk_both(&mut out, &mut back, 10);
        let mut report = vec![0x81, 201, 0, 7];
        report.extend(out.ssrc.to_be_bytes());
        report.extend([0; 24]);
        world.send((1, 4000), (2, 4000), &report);
    }
    dialog.bye(&mut world);
    assert_eq!(world.heard("mux", Side::Caller), [(0x11, 100 * 160)]);
    assert_eq!(world.end().streams.len(), 2);
}

#[test]
fn a_later_call_on_the_same_ports_ends_the_claim_of_one_whose_bye_was_lost() {
    let mut world = World::new();
    let (_, mut out, mut back) = set_up(&mut world, "lost");
    world.talk_both(&mut out, &mut back, 50);
    world.pass(3000);
    // The same ports, and even the same SSRCs, which go on counting.
    let (second, ..) = set_up(&mut world, "next");
    world.talk_both(&mut out, &mut back, 50);
    second.bye(&mut world);
    for _ in 0..10 {
        world.wait(60_000);
    }
    assert_eq!(world.heard("lost", Side::Caller), [(0x11, 50 * 160)]);
    assert_eq!(world.heard("next", Side::Caller), [(0x11, 50 * 160)]);
    assert_eq!(world.heard("next", Side::Callee), [(0x22, 50 * 160)]);
    let ends = world.ends();
    let lost = ends.iter().find(|end| end.info.call_id == "lost").unwrap();
    assert_eq!(
        (lost.reason, lost.length_samples),
        (EndReason::PortsReused, 8000)
    );
}

#[test]
fn a_pbx_that_uses_everything_again_within_seconds_makes_two_calls() {
    let mut world = World::new();
    for (from_tag, to_tag) in [("a", "b"), ("c", "d")] {
        let dialog = Dialog {
            from_tag,
            to_tag,
            ..Dialog::new("same", 1, 2)
        };
        dialog.set_up(&mut world, (1, 4000), (2, 4000));
        world.talk_both(
            &mut Talk::new((1, 4000), (2, 4000), 0x11),
            &mut Talk::new((2, 4000), (1, 4000), 0x22),
            100,
        );
        dialog.bye(&mut world);
        world.pass(500);
    }
    let ends = world.ends();
    assert_eq!(ends.len(), 2);
    for end in &ends {
        let packets: Vec<_> = end.streams.iter().map(|s| (s.packets, s.lost)).collect();
        assert_eq!(packets, [(100, 0), (100, 0)]);
        assert_eq!(end.length_samples, 2 * 8000);
    }
    assert_ne!(
        ends[0].info.interaction, ends[1].info.interaction,
        "one after the other"
    );
    assert!(ends[1].info.links.is_empty());
}

/// A call on VLANs 10 and 20 at once, with the caller's stream.
fn seen_twice(world: &mut World, dialog: &Dialog) -> Talk {
    for vlan in [10, 20] {
        world.vlan = vlan;
        dialog.set_up(world, (1, 4000), (2, 4000));
    }
    Talk::new((1, 4000), (2, 4000), 0x11)
}

#[test]
fn a_numbering_that_begins_anew_counts_wherever_it_is_seen() {
    let mut world = World::new();
    let dialog = Dialog::new("anew", 1, 2);
    let mut talk = seen_twice(&mut world, &dialog);
    for n in 0..100 {
        let packet = talk.next();
        for vlan in [10, 20] {
            world.vlan = vlan;
            // The first mirror shows nothing of the moment when the numbers jump.
            if vlan == 20 || !(48..52).contains(&n) {
                world.send(talk.from, talk.to, &packet);
            }
        }
        if n == 49 {
            talk.sequence = talk.sequence.wrapping_add(30_000);
        }
        world.pass(20);
    }
    for vlan in [10, 20] {
        world.vlan = vlan;
        dialog.request(&mut world, "BYE", 9, "tt", "");
    }
    world.wait(1000);
    assert_eq!(world.end().streams[0].restarts, 1);
}

#[test]
fn packets_that_a_mirror_shows_on_two_vlans_are_one_call_heard_once() {
    let mut world = World::new();
    let dialog = Dialog::new("twice", 1, 2);
    let both = |world: &mut World, say: &dyn Fn(&mut World)| {
        for vlan in [10, 20] {
            world.vlan = vlan;
            say(world);
        }
    };
    both(&mut world, &|world| {
        dialog.request(world, "INVITE", 1, "", &sdp((1, 4000), ""))
    });
    both(&mut world, &|world| {
        dialog.answer(world, 200, "INVITE", 1, "tt", &sdp((2, 4000), ""));
    });
    both(&mut world, &|world| {
        dialog.request(world, "ACK", 1, "tt", "")
    });
    let mut streams = [
        Talk::new((1, 4000), (2, 4000), 0x11),
        Talk::new((2, 4000), (1, 4000), 0x22),
    ];
    for n in 0..100u32 {
        for stream in &mut streams {
            for vlan in [10, 20] {
                // Each copy lacks packets that the other has.
                let lost = n % 10 == u32::from(vlan) / 10;
                world.vlan = vlan;
                if !lost {
                    let (sequence, timestamp) = (stream.sequence, stream.timestamp);
                    world.send_voice(stream, &[stream.fill; 160]);
                    (stream.sequence, stream.timestamp) = (sequence, timestamp);
                }
            }
            stream.sequence += 1;
            stream.timestamp += 160;
        }
        world.pass(20);
    }
    both(&mut world, &|world| {
        dialog.request(world, "BYE", 9, "tt", "")
    });
    world.wait(1000);
    let end = world.end();
    assert_eq!(world.heard("twice", Side::Caller), [(0x11, 100 * 160)]);
    assert_eq!(world.heard("twice", Side::Callee), [(0x22, 100 * 160)]);
    let counts: Vec<_> = end
        .streams
        .iter()
        .map(|s| (s.packets, s.lost, s.duplicates))
        .collect();
    assert_eq!(counts, [(100, 0, 80), (100, 0, 80)]);
    assert_eq!(
        (end.suspicious, world.media_counters().duplicates),
        (Default::default(), 160)
    );
}

#[test]
fn packets_that_a_mirror_shows_twice_with_another_ttl_or_mac_are_heard_once() {
    let mut world = World::new();
    let (dialog, mut out, _) = set_up(&mut world, "span");
    for _ in 0..50 {
        let (sequence, timestamp) = (out.sequence, out.timestamp);
        world.send_voice(&mut out, &[0x11; 160]);
        (out.sequence, out.timestamp) = (sequence, timestamp);
        world.ttl = 63;
        world.mac = 9;
        world.send_voice(&mut out, &[0x11; 160]);
        (world.ttl, world.mac) = (64, 2);
        world.pass(20);
    }
    dialog.bye(&mut world);
    let end = world.end();
    let counts: Vec<_> = end
        .streams
        .iter()
        .map(|s| (s.packets, s.duplicates))
        .collect();
    assert_eq!(counts, [(50, 50)]);
    assert_eq!(world.heard("span", Side::Caller), [(0x11, 50 * 160)]);
}

#[test]
fn injected_audio_changes_nothing_and_is_told_of() {
    // Right port; another host, another port, or the very address of the phone with another SSRC.
    for forger in [(66, 4000), (1, 4444), (1, 4000)] {
        let mut world = World::new();
        let (dialog, mut out, mut back) = set_up(&mut world, "forged");
        let mut forged = Talk::new(forger, (2, 4000), 0x66);
        world.talk_both(&mut out, &mut back, 20);
        for _ in 0..80 {
            for talk in [&mut out, &mut forged, &mut back] {
                let payload = [talk.fill; 160];
                world.send_voice(talk, &payload);
            }
            world.pass(20);
        }
        if forger != (1, 4000) {
            // Nor while the side is silent.
            world.pass(5000);
            world.talk(&mut forged, 50);
        }
        dialog.bye(&mut world);
        assert_eq!(
            world.heard("forged", Side::Caller),
            [(0x11, 100 * 160)],
            "{forger:?}"
        );
        let flagged = world.end().suspicious.media_packets;
        assert!(flagged >= 80, "{forger:?}: {flagged}");
    }
}

#[test]
fn a_sender_that_changes_its_ssrc_loses_nothing() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = set_up(&mut world, "ssrc");
    world.talk_both(&mut out, &mut back, 50);
    let mut other = Talk::new((1, 4000), (2, 4000), 0x12);
    world.talk_both(&mut other, &mut back, 50);
    // Back to the first, as after music on hold.
    out.timestamp += 50 * 160;
    out.sequence += 50;
    world.talk_both(&mut out, &mut back, 50);
    dialog.bye(&mut world);
    assert_eq!(
        world.heard("ssrc", Side::Caller),
        [(0x11, 100 * 160), (0x12, 50 * 160)]
    );
    assert_eq!(world.end().suspicious, Default::default());
    let mut places: Vec<i64> = world
        .blocks("ssrc")
        .iter()
        .flat_map(|block| &block.sides.caller)
        .map(|piece| piece.position)
        .collect();
    places.sort_unstable();
    let gaps = places
        .windows(2)
        .filter(|pair| pair[1] - pair[0] != 160)
        .count();
    assert_eq!((places.len(), gaps), (150, 0));
}

/// A gateway that plays an announcement, and numbers what follows from the start again: behind the newest number, and seen before.
#[test]
fn a_sender_that_numbers_anew_with_the_same_ssrc_loses_nothing() {
    // How many packets came before, how far back the numbers and the timestamps go, and how long it paused.
    for (before, back, earlier, pause) in [
        (50, 50, 50, 20),
        (50, 50, 50, 900),
        (300, 300, 300, 800),
        (300, 300, 0, 20),
        (60, 60, 0, 20),
        (300, 250, 40_000, 20),
        (80, 50, 1_000_000, 20),
    ] {
        let what = format!("{before} packets, {back} back, {earlier} earlier, after {pause} ms");
        let mut world = World::new();
        let (dialog, mut out, mut back_talk) = set_up(&mut world, "numbers");
        world.talk_both(&mut out, &mut back_talk, before);
        world.pass(pause - 20);
        out.sequence -= back;
        out.timestamp = out.timestamp.wrapping_sub(earlier * 160);
        world.talk_both(&mut out, &mut back_talk, 200);
        dialog.bye(&mut world);
        let stream = world.stream_of(Side::Caller);
        let packets = u64::from(before) + 200;
        let counts = (stream.packets, stream.expected, stream.restarts);
        assert_eq!(counts, (packets, packets, 1), "{what}");
        assert_eq!((stream.duplicates, stream.not_placed), (0, 0), "{what}");
        let heard = world.heard("numbers", Side::Caller);
        assert_eq!(heard, [(0x11, packets as usize * 160)], "{what}");
    }
}

#[test]
fn copies_that_come_late_are_no_new_numbering() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = set_up(&mut world, "copies");
    let mut sent = Vec::new();
    for n in 0..200 {
        let packet = out.next();
        world.send(out.from, out.to, &packet);
        sent.push(packet);
        // The copies come four at a time, 300 ms later; some more than a second later, one by one.
        if n >= 20 && n % 4 == 3 {
            sent[n - 18..n - 14]
                .iter()
                .for_each(|copy| world.send(out.from, out.to, copy));
        }
        if n >= 70 {
            world.send(out.from, out.to, &sent[n - 70]);
        }
        world.talk_both(&mut Talk::new((3, 1), (4, 1), 0), &mut back, 1);
    }
    dialog.bye(&mut world);
    let stream = world.stream_of(Side::Caller);
    assert_eq!((stream.packets, stream.restarts), (200, 0));
    assert_eq!(world.heard("copies", Side::Caller), [(0x11, 200 * 160)]);
}

/// What was held back comes at once, behind a packet that was faster; or after all, beside what is sent meanwhile.
#[test]
fn late_packets_are_no_new_numbering() {
    for (held, at_once) in [(30, true), (75, true), (20, false), (40, false)] {
        let mut world = World::new();
        let (dialog, mut out, mut back) = set_up(&mut world, "late");
        let mut silent = Talk::new((3, 1), (4, 1), 0);
        world.talk_both(&mut out, &mut back, 100);
        let mut late: Vec<_> = (0..held).map(|_| out.next()).collect();
        world.talk_both(&mut silent, &mut back, held);
        world.talk_both(&mut out, &mut back, 1);
        let together = if at_once { held as usize } else { 2 };
        while !late.is_empty() {
            for packet in late.drain(..together.min(late.len())) {
                world.send(out.from, out.to, &packet);
            }
            world.talk_both(&mut out, &mut back, 1);
        }
        world.talk_both(&mut out, &mut back, 100);
        dialog.bye(&mut world);
        let stream = world.stream_of(Side::Caller);
        let counts = (
            stream.restarts,
            stream.lost,
            stream.not_placed,
            stream.duplicates,
        );
        assert_eq!(counts, (0, 0, 0, 0), "{held} packets, {at_once}");
        assert_eq!(stream.packets, u64::from(out.sequence - 100));
    }
}

#[test]
fn a_copy_of_a_stream_that_is_slower_is_no_new_numbering() {
    for behind in [26_usize, 30, 50, 150] {
        let mut world = World::new();
        let (dialog, mut out, mut back) = set_up(&mut world, "slower");
        let mut silent = Talk::new((3, 1), (4, 1), 0);
        let sent: Vec<_> = (0..300).map(|_| out.next()).collect();
        for n in 0..300 + behind {
            for at in [Some(n), n.checked_sub(behind)].into_iter().flatten() {
                if let Some(packet) = sent.get(at) {
                    world.send(out.from, out.to, packet);
                }
            }
            world.talk_both(&mut silent, &mut back, 1);
        }
        dialog.bye(&mut world);
        let stream = world.stream_of(Side::Caller);
        let counts = (stream.packets, stream.restarts, stream.duplicates);
        assert_eq!(counts, (300, 0, 300), "{behind} packets later");
    }
}

#[test]
fn a_nat_that_gives_another_port_is_followed() {
    let mut world = World::new();
    let dialog = Dialog::new("nat", 1, 2);
    dialog.set_up(&mut world, (99, 4000), (2, 4000));
    let mut out = Talk::new((1, 31_000), (2, 4000), 0x11);
    world.talk_both(&mut out, &mut Talk::new((2, 4000), (1, 31_000), 0x22), 30);
    world.pass(2000);
    let mut again = Talk::new((1, 32_000), (2, 4000), 0x12);
    world.talk_both(&mut again, &mut Talk::new((2, 4000), (1, 32_000), 0x23), 30);
    dialog.bye(&mut world);
    assert_eq!(
        world.heard("nat", Side::Caller),
        [(0x11, 30 * 160), (0x12, 30 * 160)]
    );
}

#[test]
fn requests_with_foreign_tags_change_nothing_and_are_told_of() {
    let mut world = World::new();
    let (dialog, mut out, mut back) = set_up(&mut world, "tags");
    world.talk_both(&mut out, &mut back, 50);
    let forger = Dialog {
        from_tag: "forged",
        ..dialog.clone()
    };
    forger.request(&mut world, "BYE", 7, "tt", "");
    forger.request(
        &mut world,
        "INVITE",
        8,
        "tt",
        &sdp((66, 4000), "a=sendonly\r\n"),
    );
    forger.answer(&mut world, 200, "INVITE", 8, "tt", &sdp((67, 4000), ""));
    dialog.request(&mut world, "BYE", 9, "forged", "");
    world.talk_both(&mut out, &mut back, 50);
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(world.heard("tags", Side::Caller), [(0x11, 100 * 160)]);
    assert_eq!(world.heard("tags", Side::Callee), [(0x22, 100 * 160)]);
    assert_eq!((end.holds.len(), end.suspicious.requests), (0, 3));
    assert_eq!(end.disposition, Disposition::Recorded);
}
