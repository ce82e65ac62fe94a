//! Calls as signalling tells them.

use std::time::Duration;

use super::world::{Dialog, START, Talk, World, sdp};
use crate::base::Side;
use crate::engine::EngineSettings;
use crate::engine::event::{Disposition, EndReason, Event};

#[test]
fn a_plain_call_has_both_sides_and_the_length_to_its_bye() {
    let mut world = World::new();
    let dialog = Dialog::new("plain", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    world.pass(100);
    world.talk_both(
        &mut Talk::new((1, 4000), (2, 4000), 0x11),
        &mut Talk::new((2, 4000), (1, 4000), 0x22),
        50,
    );
    world.pass(500);
    dialog.bye(&mut world);
    assert_eq!(world.heard("plain", Side::Caller), [(0x11, 8000)]);
    assert_eq!(world.heard("plain", Side::Callee), [(0x22, 8000)]);
    let end = world.end();
    assert_eq!(
        (end.reason, end.disposition),
        (EndReason::Bye { by: Side::Caller }, Disposition::Recorded)
    );
    assert_eq!(end.length_samples, 8000 + 4000);
}

#[test]
fn of_forks_that_ring_with_media_the_one_that_answers_is_heard() {
    let mut world = World::new();
    let dialog = Dialog::new("fork", 1, 9);
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 183, "INVITE", 1, "fork2", &sdp((2, 4000), ""));
    dialog.answer(&mut world, 183, "INVITE", 1, "fork3", &sdp((3, 4000), ""));
    let (mut second, mut third) = (
        Talk::new((2, 4000), (1, 4000), 0x22),
        Talk::new((3, 4000), (1, 4000), 0x33),
    );
    world.talk_both(&mut second, &mut third, 20);
    dialog.answer(&mut world, 200, "INVITE", 1, "fork3", &sdp((3, 4000), ""));
    world.talk_both(&mut third, &mut second, 50);
    world.finish();
    let heard = world.heard("fork", Side::Callee);
    assert_eq!(heard, [(0x22, 20 * 160), (0x33, 50 * 160)]);
    assert_eq!(world.end().info.parties.callee.tag, "fork3");
}

#[test]
fn a_bye_with_foreign_tags_ends_nothing() {
    let mut world = World::new();
    let dialog = Dialog::new("tags", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let mut talk = Talk::new((1, 4000), (2, 4000), 0x11);
    world.talk(&mut talk, 10);
    Dialog {
        from_tag: "forged",
        ..dialog.clone()
    }
    .request(&mut world, "BYE", 7, "tt", "");
    dialog.request(&mut world, "BYE", 8, "forged", "");
    world.talk(&mut talk, 100);
    dialog.bye(&mut world);
    assert_eq!(world.heard("tags", Side::Caller), [(0x11, 110 * 160)]);
}

#[test]
fn a_refused_offer_changes_nothing() {
    let mut world = World::new();
    let dialog = Dialog::new("t38", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let mut talk = Talk::new((2, 4000), (1, 4000), 0x22);
    world.talk(&mut talk, 10);
    let fax = "v=0\r\nc=IN IP4 10.0.0.1\r\nm=image 4000 udptl t38\r\n";
    dialog.request(&mut world, "INVITE", 2, "tt", fax);
    dialog.answer(&mut world, 488, "INVITE", 2, "tt", "");
    talk.ssrc += 1;
    world.talk(&mut talk, 10);
    dialog.bye(&mut world);
    assert_eq!(world.heard("t38", Side::Callee), [(0x22, 20 * 160)]);
}

#[test]
fn media_follows_a_port_that_changes_in_mid_call() {
    let mut world = World::new();
    let dialog = Dialog::new("move", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    world.talk(&mut Talk::new((1, 4000), (2, 4000), 0x11), 25);
    dialog.request_back(&mut world, "INVITE", 1, &sdp((2, 6000), ""));
    let head = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKb\r\nFrom: <sip:1002@a>;tag=tt\r\n\
                To: <sip:1001@a>;tag=ft\r\nCall-ID: move\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\n";
    world.send(
        (1, 5060),
        (2, 5060),
        (head.to_owned() + &sdp((1, 6000), "")).as_bytes(),
    );
    world.talk_both(
        &mut Talk::new((1, 6000), (2, 6000), 0x12),
        &mut Talk::new((2, 6000), (1, 6000), 0x22),
        25,
    );
    dialog.bye(&mut world);
    assert_eq!(
        world.heard("move", Side::Caller),
        [(0x11, 25 * 160), (0x12, 25 * 160)]
    );
    assert_eq!(world.heard("move", Side::Callee), [(0x22, 25 * 160)]);
}

#[test]
fn a_hold_has_its_span_and_its_author() {
    let mut world = World::new();
    let dialog = Dialog::new("hold", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    world.talk(&mut Talk::new((1, 4000), (2, 4000), 0x11), 10);
    let held_at = world.now;
    dialog.request(
        &mut world,
        "INVITE",
        2,
        "tt",
        &sdp((1, 4000), "a=sendonly\r\n"),
    );
    dialog.answer(
        &mut world,
        200,
        "INVITE",
        2,
        "tt",
        &sdp((2, 4000), "a=recvonly\r\n"),
    );
    dialog.answer(
        &mut world,
        200,
        "INVITE",
        2,
        "tt",
        &sdp((2, 4000), "a=recvonly\r\n"),
    );
    world.pass(3000);
    dialog.request(&mut world, "INVITE", 3, "tt", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 200, "INVITE", 3, "tt", &sdp((2, 4000), ""));
    let resumed_at = world.now;
    dialog.bye(&mut world);
    let holds = &world.end().holds;
    assert_eq!(holds.len(), 1);
    assert_eq!(
        (holds[0].by, holds[0].from, holds[0].to),
        (Side::Caller, held_at, resumed_at)
    );
    let told = world.events.iter().filter_map(|event| match event {
        Event::Call { info, .. } => Some((info.held_by.caller, info.held_by.callee)),
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    told.dedup();
    assert_eq!(told, [(false, false), (true, false), (false, false)]);
}

#[test]
fn a_one_way_answer_is_no_hold() {
    let mut world = World::new();
    let dialog = Dialog::new("announcement", 1, 2);
    dialog.request(
        &mut world,
        "INVITE",
        1,
        "",
        &sdp((1, 4000), "a=recvonly\r\n"),
    );
    for _ in 0..3 {
        dialog.answer(
            &mut world,
            200,
            "INVITE",
            1,
            "tt",
            &sdp((2, 4000), "a=sendonly\r\n"),
        );
    }
    world.talk(&mut Talk::new((2, 4000), (1, 4000), 0x22), 10);
    dialog.bye(&mut world);
    assert!(world.end().holds.is_empty());
}

#[test]
fn a_call_under_way_when_the_capture_starts_is_joined_at_its_next_offer() {
    let mut world = World::new();
    let dialog = Dialog::new("joined", 1, 2);
    let mut talk = Talk::new((2, 4000), (1, 4000), 0x22);
    world.talk(&mut talk, 500);
    dialog.request(&mut world, "INVITE", 7, "tt", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 200, "INVITE", 7, "tt", &sdp((2, 4000), ""));
    world.talk(&mut talk, 50);
    dialog.bye(&mut world);
    // Two seconds from before it was known whose it is.
    let heard = world.heard("joined", Side::Callee);
    assert_eq!(heard.len(), 1);
    assert!((149 * 160..=151 * 160).contains(&heard[0].1), "{heard:?}");
}

#[test]
fn a_call_id_used_again_is_a_new_call_and_a_repeated_invite_is_not() {
    let mut world = World::new();
    let dialog = Dialog::new("again", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    dialog.bye(&mut world);
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    assert_eq!(world.ends().len(), 1);
    let second = Dialog {
        from_tag: "other",
        ..dialog
    };
    second.set_up(&mut world, (1, 4000), (2, 4000));
    second.bye(&mut world);
    assert_eq!(world.ends().len(), 2);
    let ids: Vec<_> = world.ends().iter().map(|end| end.info.seed).collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn an_answer_before_its_invite_is_the_same_call() {
    let mut world = World::new();
    let dialog = Dialog::new("mirrored", 1, 2);
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &sdp((2, 4000), ""));
    world.pass(1);
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    world.talk_both(
        &mut Talk::new((1, 4000), (2, 4000), 0x11),
        &mut Talk::new((2, 4000), (1, 4000), 0x22),
        30,
    );
    dialog.bye(&mut world);
    assert_eq!(world.end().info.parties.caller.number, "1001");
    assert_eq!(world.heard("mirrored", Side::Caller), [(0x11, 30 * 160)]);
    assert_eq!(world.heard("mirrored", Side::Callee), [(0x22, 30 * 160)]);
}

#[test]
fn a_refused_call_tried_again_with_credentials_is_one_call() {
    let mut world = World::new();
    let dialog = Dialog::new("auth", 1, 2);
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 407, "INVITE", 1, "t407", "");
    dialog.request(&mut world, "INVITE", 2, "", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 200, "INVITE", 2, "tt", &sdp((2, 4000), ""));
    world.talk(&mut Talk::new((1, 4000), (2, 4000), 0x11), 30);
    dialog.bye(&mut world);
    assert_eq!(world.heard("auth", Side::Caller), [(0x11, 30 * 160)]);
}

#[test]
fn calls_that_never_end_end_by_themselves() {
    let mut world = World::new();
    let ringing = Dialog::new("ringing", 1, 2);
    ringing.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    let silent = Dialog::new("silent", 3, 4);
    silent.set_up(&mut world, (3, 4000), (4, 4000));
    world.talk(&mut Talk::new((3, 4000), (4, 4000), 0x33), 10);
    world.wait(400_000);
    let mut reasons: Vec<_> = world
        .ends()
        .iter()
        .map(|end| (end.info.call_id.clone(), end.reason))
        .collect();
    reasons.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("ringing".to_owned(), EndReason::SetupTimeout),
        ("silent".to_owned(), EndReason::MediaTimeout),
    ];
    assert_eq!(reasons, expected);
    let silent = world
        .ends()
        .into_iter()
        .find(|end| end.info.call_id == "silent")
        .unwrap();
    assert_eq!(
        silent.length_samples, 1600,
        "silence that nobody vouches for is not the call's"
    );
}

#[test]
fn too_many_calls_are_refused_and_counted() {
    let mut settings = EngineSettings::default();
    settings.signalling.calls = 2;
    let mut world = World::with(settings);
    for call_id in ["a", "b", "c"] {
        Dialog::new(call_id, 1, 2).request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    }
    let third = Dialog::new("c", 1, 2);
    third.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    world.finish();
    let refused: Vec<_> = world
        .ends()
        .into_iter()
        .filter(|end| end.info.owners[0].refusal == Some(Disposition::Capacity))
        .map(|end| (end.info.call_id.as_str(), end.reason))
        .collect();
    assert_eq!(
        refused,
        [("c", EndReason::Capacity)],
        "once, however often it is repeated"
    );
    assert_eq!(world.ends().len(), 3);
}

#[test]
fn every_call_is_told_of_before_it_ends() {
    let mut world = World::new();
    let dialog = Dialog::new("order", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    world.talk(&mut Talk::new((1, 4000), (2, 4000), 0x11), 60);
    dialog.bye(&mut world);
    let order: Vec<&str> = world
        .events
        .iter()
        .map(|event| match event {
            Event::Call { .. } => "call",
            Event::Recording { .. } => "recording",
            Event::Block { .. } => "block",
            Event::Signalling { .. } => "signalling",
            Event::Standing { .. } => "standing",
            Event::Ended(_) => "ended",
        })
        .collect();
    assert_eq!(
        order,
        [
            "call",
            "call",
            "recording",
            "block",
            "block",
            "block",
            "ended"
        ]
    );
}

#[test]
fn keys_in_info_and_transfers_are_noted_once() {
    let mut world = World::new();
    let dialog = Dialog::new("notes", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    let named = |text: &str, content: &str| text.replace("application/sdp", content);
    let info = named(
        &dialog.text("INFO", 5, "Signal=5\r\nDuration=160\r\n"),
        "application/dtmf-relay",
    );
    let refer = dialog.text("REFER", 6, "").replace(
        "CSeq",
        "Refer-To: <sip:1003@a?Replaces=other%3Bto-tag%3Dx%3Bfrom-tag%3Dy>\r\nCSeq",
    );
    for text in [&info, &info, &refer, &refer] {
        world.send(dialog.caller, dialog.callee, text.as_bytes());
    }
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(
        end.digits.iter().map(|digit| digit.key).collect::<String>(),
        "5"
    );
    let transfers: Vec<_> = end
        .info
        .transfers
        .iter()
        .map(|t| (t.by, t.to.as_str(), t.replaces.as_deref()))
        .collect();
    assert_eq!(transfers, [(Side::Caller, "1003", Some("other"))]);
}

#[test]
fn a_call_that_goes_on_ringing_is_one_call() {
    for status in [100, 180, 183] {
        let mut world = World::new();
        let dialog = Dialog::new("patient", 1, 2);
        dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
        for _ in 0..12 {
            dialog.answer(&mut world, status, "INVITE", 1, "tt", "");
            world.wait(60_000);
        }
        dialog.answer(&mut world, 200, "INVITE", 1, "tt", &sdp((2, 4000), ""));
        world.talk(&mut Talk::new((2, 4000), (1, 4000), 0x22), 50);
        dialog.bye(&mut world);
        let end = world.end();
        assert_eq!(end.reason, EndReason::Bye { by: Side::Caller }, "{status}");
        assert_eq!(world.heard("patient", Side::Callee), [(0x22, 50 * 160)]);
    }
}

#[test]
fn nobody_rings_for_ever() {
    let mut world = World::new();
    let dialog = Dialog::new("endless", 1, 2);
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    for _ in 0..62 {
        dialog.answer(&mut world, 180, "INVITE", 1, "tt", "");
        world.wait(60_000);
    }
    let end = world.ends()[0];
    assert_eq!(end.reason, EndReason::SetupTimeout);
    assert_eq!(end.ended_at, START + Duration::from_secs(3600));
}
