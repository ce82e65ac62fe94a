//! Calls that are one conversation, and calls that only look like it.

use super::script::{Leg, directory, tenant};
use super::world::{Talk, World};
use crate::base::{SYSTEM_TENANT, Side};
use crate::engine::EngineSettings;
use crate::engine::control::{ControlAction, ControlRequest};
use crate::engine::event::{CallEnd, Disposition, LinkReason};

/// The PBX.
const PBX: u8 = 100;

/// What a call that ended says of the others: Call-ID and reason.
fn links(end: &CallEnd) -> Vec<(String, LinkReason)> {
    let links = end.info.links.iter();
    links
        .map(|link| (link.call_id.clone(), link.reason))
        .collect()
}

/// Whether two calls are one interaction, by all that says so.
pub fn linked(world: &World, a: &str, b: &str) -> Option<LinkReason> {
    let (a, b) = (world.end_of(a), world.end_of(b));
    let same = a.info.interaction == b.info.interaction;
    let reason = links(a)
        .into_iter()
        .find(|(id, _)| *id == b.info.call_id)
        .map(|(_, reason)| reason);
    assert_eq!(same, reason.is_some(), "an interaction for each link");
    let owned = |end: &CallEnd| end.info.owners[0].interaction;
    assert_eq!(owned(a) == owned(b), same);
    reason
}

pub fn call_through_pbx(world: &mut World, incoming: &Leg, outgoing: &Leg) {
    incoming.invite(world, (1, 4000));
    world.pass(50);
    outgoing.invite(world, (PBX, 5000));
    world.pass(1000);
    outgoing.answer(world, (2, 4000), "");
    incoming.answer(world, (PBX, 6000), "");
}

#[test]
fn both_legs_of_a_pbx_are_one_interaction_by_numbers_time_and_host() {
    let mut world = World::new();
    let incoming = Leg::new("in", ("+442079460101", 1), ("1002", PBX));
    let outgoing = Leg::new("out", ("02079460101", PBX), ("1002", 2));
    call_through_pbx(&mut world, &incoming, &outgoing);
    world.finish();
    assert_eq!(linked(&world, "in", "out"), Some(LinkReason::Numbers));
    let first = world.end_of("in");
    assert_eq!(
        first.info.interaction,
        world.end_of("out").info.interaction,
        "that of the earliest"
    );
    let alone = crate::base::time_ordered(first.info.invite_at, [0; 10]);
    assert_eq!(
        first.info.interaction.0.get_timestamp(),
        alone.get_timestamp()
    );
}

#[test]
fn a_pbx_that_gives_another_number_is_recognised_while_nobody_else_fits() {
    let mut world = World::new();
    let incoming = Leg::new("in", ("5551234", 1), ("8000", PBX));
    let outgoing = Leg::new("out", ("5551234", PBX), ("1007", 2));
    call_through_pbx(&mut world, &incoming, &outgoing);
    world.finish();
    assert_eq!(linked(&world, "in", "out"), Some(LinkReason::Numbers));
}

#[test]
fn of_two_callers_who_fit_equally_well_none_is_linked() {
    let mut world = World::new();
    for (call_id, host) in [("one", 1), ("two", 3)] {
        Leg::new(call_id, ("anonymous", host), ("8000", PBX)).invite(&mut world, (host, 4000));
    }
    let outgoing = Leg::new("out", ("anonymous", PBX), ("8000", 2));
    outgoing.invite(&mut world, (PBX, 5000));
    world.finish();
    assert!(links(world.end_of("out")).is_empty());
}

#[test]
fn calls_to_one_number_at_once_are_each_linked_to_their_own_leg() {
    // In which order the legs are seen, and after how many milliseconds.
    let orders: [&[(&str, u64)]; 5] = [
        &[("in0", 20), ("out0", 10), ("in1", 20), ("out1", 0)],
        &[("in0", 20), ("in1", 80), ("out0", 20), ("out1", 0)],
        &[("in0", 20), ("out0", 170), ("in1", 20), ("out1", 0)],
        // A mirror shows the leg out first.
        &[("out0", 5), ("in1", 5), ("in0", 30), ("out1", 0)],
        &[("in1", 5), ("out0", 5), ("in0", 30), ("out1", 0)],
    ];
    for order in orders {
        let mut world = World::new();
        for &(name, millis) in order {
            let (number, host) = if name.ends_with('0') {
                ("1010", 1)
            } else {
                ("1011", 3)
            };
            let leg = match name.starts_with("in") {
                true => Leg::new(name, (number, host), ("8000", PBX)),
                false => Leg::new(name, (number, PBX), ("8000", 2)),
            };
            leg.invite(&mut world, (host, 4000));
            world.wait(millis);
        }
        world.wait(1000);
        world.finish();
        assert_two_calls(&world);
    }
}

#[test]
fn a_leg_that_has_its_own_takes_no_other_by_one_number() {
    let mut world = World::new();
    Leg::new("in", ("5550001", 1), ("1003", PBX)).invite(&mut world, (1, 4000));
    world.pass(30);
    Leg::new("out", ("5550001", PBX), ("1003", 2)).invite(&mut world, (PBX, 5000));
    world.pass(100);
    // For the same callee, of another caller; and of the same caller, for another callee.
    Leg::new("foreign", ("5550002", PBX), ("1003", 2)).invite(&mut world, (PBX, 5002));
    Leg::new("elsewhere", ("5550001", PBX), ("1009", 3)).invite(&mut world, (PBX, 5004));
    world.wait(1000);
    world.finish();
    assert_eq!(linked(&world, "in", "out"), Some(LinkReason::Numbers));
    for other in ["foreign", "elsewhere"] {
        assert_eq!(linked(&world, "in", other), None, "{other}");
    }
}

#[test]
fn all_phones_that_a_pbx_rings_for_one_call_are_linked_to_it() {
    let mut world = World::new();
    Leg::new("in", ("5550001", 1), ("8000", PBX)).invite(&mut world, (1, 4000));
    world.pass(30);
    for (call_id, number, host) in [("first", "1001", 2), ("second", "1002", 3)] {
        Leg::new(call_id, ("5550001", PBX), (number, host)).invite(&mut world, (PBX, 5000));
    }
    world.wait(1000);
    world.finish();
    for other in ["first", "second"] {
        let reason = linked(&world, "in", other);
        assert_eq!(reason, Some(LinkReason::Numbers), "{other}");
    }
}

#[test]
fn the_same_numbers_elsewhere_or_later_are_another_conversation() {
    let mut world = World::new();
    let from = |host| ("1001", host);
    Leg::new("first", from(1), ("1002", PBX)).invite(&mut world, (1, 4000));
    // From a host that the first did not come to.
    Leg::new("elsewhere", from(50), ("1002", 2)).invite(&mut world, (50, 4000));
    // On another VLAN the same addresses are other hosts.
    world.vlan = 7;
    Leg::new("vlan", from(PBX), ("1002", 2)).invite(&mut world, (PBX, 4000));
    world.vlan = 0;
    // Both numbers the other way round: a call back.
    Leg::new("back", ("1002", PBX), ("1001", 3)).invite(&mut world, (PBX, 4002));
    world.pass(11_000);
    Leg::new("late", from(PBX), ("1002", 2)).invite(&mut world, (PBX, 4004));
    world.finish();
    for other in ["elsewhere", "vlan", "late"] {
        assert_eq!(linked(&world, "first", other), None, "{other}");
    }
}

#[test]
fn a_conversation_is_linked_by_the_audio_alone() {
    let mut world = World::new();
    // A session border controller with an address for each side, and numbers that nothing has in common.
    let incoming = Leg::new("in", ("anonymous", 1), ("8000", 100));
    let outgoing = Leg::new("out", ("9001", 200), ("1002", 2));
    incoming.set_up(&mut world, (1, 4000), (100, 6000));
    world.pass(60_000);
    outgoing.set_up(&mut world, (200, 5000), (2, 4000));
    let other = Leg::new("other", ("9009", 210), ("1009", 9));
    other.set_up(&mut world, (210, 5000), (9, 4000));
    let mut streams = [
        (Talk::new((1, 4000), (100, 6000), 1), 1),
        (Talk::new((200, 5000), (2, 4000), 2), 1),
        (Talk::new((2, 4000), (200, 5000), 3), 2),
        (Talk::new((100, 6000), (1, 4000), 4), 2),
        (Talk::new((210, 5000), (9, 4000), 5), 3),
        // Its caller hears at first the same announcement as that of the others: one side, which proves nothing.
        (Talk::new((9, 4000), (210, 5000), 6), 2),
    ];
    for n in 0..1500u32 {
        for (talk, voice) in &mut streams {
            let voice = if talk.from.0 == 9 && n > 750 {
                4
            } else {
                *voice
            };
            let payload = speech(voice, n);
            world.send_voice(talk, &payload);
        }
        world.pass(20);
    }
    world.finish();
    assert_eq!(linked(&world, "in", "out"), Some(LinkReason::Audio));
    assert_eq!(linked(&world, "in", "other"), None);
    assert_eq!(linked(&world, "out", "other"), None);
}

/// 20 ms of a voice: bytes that no other voice and no other moment has.
pub fn speech(voice: u32, n: u32) -> Vec<u8> {
    let mut state = (u64::from(voice) << 32 | u64::from(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..160)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

#[test]
fn the_same_recording_played_into_two_calls_links_nothing() {
    let mut world = World::new();
    // A load test: both sides of all calls send the same file at the same time.
    for n in 0..2u16 {
        let call_id = format!("load{n}");
        let leg = Leg::new(&call_id, ("1001", 1), ("1002", 2));
        leg.set_up(&mut world, (1, 4000 + n * 2), (2, 4000 + n * 2));
    }
    let mut streams: Vec<Talk> = Vec::new();
    for n in 0..2u16 {
        streams.push(Talk::new((1, 4000 + n * 2), (2, 4000 + n * 2), n as u8));
        streams.push(Talk::new((2, 4000 + n * 2), (1, 4000 + n * 2), n as u8 + 9));
    }
    for n in 0..800 {
        let payload = speech(1, n);
        for talk in &mut streams {
            world.send_voice(talk, &payload);
        }
        world.pass(20);
    }
    world.finish();
    assert_eq!(linked(&world, "load0", "load1"), None);
}

#[test]
fn music_on_hold_that_a_pbx_sends_to_many_links_nobody() {
    let mut world = World::new();
    for host in [1u8, 2, 3] {
        let call_id = format!("held{host}");
        Leg::new(&call_id, ("5000", host), ("8000", PBX)).set_up(
            &mut world,
            (host, 4000),
            (PBX, 6000 + u16::from(host)),
        );
    }
    let mut music: Vec<Talk> = [1u8, 2, 3]
        .into_iter()
        .map(|host| Talk::new((PBX, 6000 + u16::from(host)), (host, 4000), host))
        .collect();
    for n in 0..800 {
        for talk in &mut music {
            world.send_voice(talk, &speech(7, n));
        }
        world.pass(20);
    }
    world.finish();
    assert_eq!(linked(&world, "held1", "held2"), None);
    assert_eq!(linked(&world, "held2", "held3"), None);
}

/// Two calls through the PBX, each with a leg in and a leg out, whose callers speak and all hear the same.
fn two_calls_that_hear(world: &mut World, heard: impl Fn(u32) -> Vec<u8>, packets: u32) {
    let mut streams = Vec::new();
    for (n, caller, number) in [(0u16, 1u8, "1001"), (1, 3, "1003")] {
        let incoming = Leg::new(&format!("in{n}"), (number, caller), ("8000", PBX));
        let outgoing = Leg::new(&format!("out{n}"), (number, PBX), ("8000", 2));
        let [to_caller, to_server, server] = [6000, 5000, 4000].map(|port| port + n * 2);
        incoming.invite(world, (caller, 4000));
        world.pass(20);
        outgoing.invite(world, (PBX, to_server));
        outgoing.answer(world, (2, server), "");
        incoming.answer(world, (PBX, to_caller), "");
        let own = |from, to, voice| (Talk::new(from, to, voice as u8 + 10 * n as u8), voice);
        streams.extend([
            own((caller, 4000), (PBX, to_caller), 1),
            own((PBX, to_server), (2, server), 1),
            own((2, server), (PBX, to_server), 0),
            own((PBX, to_caller), (caller, 4000), 0),
        ]);
        world.pass(3000);
    }
    for n in 0..packets {
        for (talk, voice) in &mut streams {
            let payload = match *voice {
                0 => heard(n),
                voice => speech(voice + u32::from(talk.fill), n),
            };
            world.send_voice(talk, &payload);
        }
        world.pass(20);
    }
}

fn assert_two_calls(world: &World) {
    for n in ["0", "1"] {
        let reason = linked(world, &format!("in{n}"), &format!("out{n}"));
        assert_eq!(reason, Some(LinkReason::Numbers));
    }
    for (a, b) in [
        ("in0", "in1"),
        ("in0", "out1"),
        ("out0", "in1"),
        ("out0", "out1"),
    ] {
        assert_eq!(linked(world, a, b), None, "{a} {b}");
    }
}

#[test]
fn the_same_music_in_two_calls_through_one_pbx_is_two_conversations() {
    let mut world = World::new();
    two_calls_that_hear(&mut world, |n| speech(99, n), 1500);
    world.finish();
    assert_two_calls(&world);
}

#[test]
fn the_same_tone_in_two_calls_through_one_pbx_is_two_conversations() {
    let mut world = World::new();
    // The ringing tone of North America comes again after 100 ms.
    let sine = |hz: f64, n: u32| (std::f64::consts::TAU * hz * f64::from(n) / 8000.0).sin();
    let ringing = |packet: u32| -> Vec<u8> {
        let samples = packet * 160..(packet + 1) * 160;
        let level = |n| 60.0 * (sine(440.0, n) + sine(480.0, n));
        samples.map(|n| (128.0 + level(n)) as u8).collect()
    };
    two_calls_that_hear(&mut world, ringing, 2500);
    world.finish();
    assert_two_calls(&world);
}

#[test]
fn a_pause_of_one_call_is_none_of_another_that_hears_the_same() {
    let mut world = World::new();
    two_calls_that_hear(&mut world, |n| speech(99, n), 1500);
    let pause = ControlRequest {
        target: "in0".into(),
        action: ControlAction::Pause,
        tenant: Some(SYSTEM_TENANT),
        only: None,
        looks: false,
        who: "ann".into(),
        why: String::new(),
    };
    assert_eq!(world.control(&pause).changed(), 2);
    world.finish();
    assert!(world.end_of("out1").info.control.is_empty());
}

#[test]
fn session_ids_and_named_headers_link_across_hosts() {
    let mut settings = EngineSettings::default();
    settings.signalling.interactions.headers = vec!["X-Correlation-ID".into()];
    let mut world = World::with(settings);
    let session =
        "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000";
    Leg::new("a", ("1", 1), ("2000", 2))
        .with(session)
        .invite(&mut world, (1, 4000));
    Leg::new("b", ("3", 3), ("4000", 4))
        .with(session)
        .invite(&mut world, (3, 4000));
    let header = "X-Correlation-ID: 77";
    Leg::new("c", ("5", 5), ("6000", 6))
        .with(header)
        .invite(&mut world, (5, 4000));
    Leg::new("d", ("7", 7), ("8000", 8))
        .with(header)
        .invite(&mut world, (7, 4000));
    Leg::new("e", ("9", 9), ("9000", 10))
        .with("X-Correlation-ID: 78")
        .with("Session-ID: 00000000000000000000000000000000")
        .invite(&mut world, (9, 4000));
    world.finish();
    assert_eq!(linked(&world, "a", "b"), Some(LinkReason::SessionId));
    assert_eq!(linked(&world, "c", "d"), Some(LinkReason::Header));
    for other in ["a", "c"] {
        assert_eq!(linked(&world, "e", other), None);
    }
}

#[test]
fn one_dialog_at_two_places_is_two_legs_of_one_interaction() {
    let mut world = World::new();
    let leg = Leg::new("proxied", ("1001", 1), ("1002", 50));
    leg.invite(&mut world, (1, 4000));
    world.vlan = 9;
    let hop = Leg {
        caller: (50, 5060),
        callee: (2, 5060),
        branch: "z9hG4bKproxy",
        ..leg.clone()
    };
    hop.invite(&mut world, (1, 4000));
    world.finish();
    let ends = world.ends();
    assert_eq!(ends.len(), 2);
    assert_eq!(ends[0].info.interaction, ends[1].info.interaction);
    assert_eq!(links(ends[0]), [("proxied".to_owned(), LinkReason::CallId)]);
}

#[test]
fn an_attended_transfer_joins_three_calls() {
    let mut world = World::new();
    // 1001 talks to 1002, asks 1003, and sends 1002 there.
    let first = Leg::new("first", ("1001", 1), ("1002", 2));
    let consult = Leg::new("consult", ("1001", 1), ("1003", 3));
    first.set_up(&mut world, (1, 4000), (2, 4000));
    world.pass(30_000);
    consult.set_up(&mut world, (1, 4002), (3, 4000));
    first.say(
        &mut world,
        "REFER",
        5,
        "Refer-To: <sip:1003@a?Replaces=consult%3Bto-tag%3Dt-consult%3Bfrom-tag%3Df-consult>\r\n",
        "",
    );
    first.say_back(&mut world, "NOTIFY", 6, "Event: refer\r\n", "");
    let third = Leg::new("third", ("1002", 2), ("1003", 3))
        .with("Replaces: consult;to-tag=t-consult;from-tag=f-consult");
    third.set_up(&mut world, (2, 4004), (3, 4002));
    world.finish();
    assert_eq!(linked(&world, "first", "consult"), Some(LinkReason::Refer));
    let reasons = links(world.end_of("third"));
    assert!(
        reasons.contains(&("consult".into(), LinkReason::Replaces)),
        "{reasons:?}"
    );
    let id = world.end_of("first").info.interaction;
    for call in ["consult", "third"] {
        assert_eq!(world.end_of(call).info.interaction, id, "{call}");
    }
}

#[test]
fn a_blind_transfer_is_linked_to_the_call_it_makes() {
    let mut world = World::new();
    let first = Leg::new("first", ("1001", 1), ("1002", PBX));
    first.set_up(&mut world, (1, 4000), (PBX, 4000));
    first.say(&mut world, "REFER", 5, "Refer-To: <sip:1003@a>\r\n", "");
    world.pass(200);
    // From another host, and for another number: not what was asked for.
    Leg::new("foreign", ("1009", 9), ("1003", 3)).invite(&mut world, (9, 4000));
    Leg::new("other", ("4711", PBX), ("1008", 8)).invite(&mut world, (PBX, 4010));
    Leg::new("asked", ("1001", PBX), ("1003", 3)).invite(&mut world, (PBX, 4012));
    world.finish();
    assert_eq!(linked(&world, "first", "asked"), Some(LinkReason::Refer));
    for other in ["foreign", "other"] {
        assert_eq!(linked(&world, "first", other), None, "{other}");
    }
}

#[test]
fn a_transfer_is_not_a_call_of_somebody_else_to_the_same_number() {
    let mut world = World::new();
    let first = Leg::new("first", ("5550001", PBX), ("1001", 1));
    first.set_up(&mut world, (PBX, 4000), (1, 4000));
    first.say_back(&mut world, "REFER", 5, "Refer-To: <sip:1003@a>\r\n", "");
    world.wait(50);
    Leg::new("other", ("5550002", PBX), ("1003", 3)).invite(&mut world, (PBX, 4010));
    Leg::new("hidden", ("anonymous", PBX), ("1003", 3)).invite(&mut world, (PBX, 4012));
    world.wait(50);
    Leg::new("transfer", ("5550001", PBX), ("1003", 3)).invite(&mut world, (PBX, 4014));
    world.wait(1000);
    world.finish();
    assert_eq!(linked(&world, "first", "transfer"), Some(LinkReason::Refer));
    for other in ["other", "hidden"] {
        assert_eq!(linked(&world, "first", other), None, "{other}");
    }
}

#[test]
fn a_transfer_is_known_by_who_referred_it_or_as_the_only_one_of_a_hidden_caller() {
    for (caller, header) in [
        ("4711", "Referred-By: <sip:1001@a>"),
        ("anonymous", "Supported: replaces"),
    ] {
        let mut world = World::new();
        let first = Leg::new("first", ("5550001", PBX), ("1001", 1));
        first.set_up(&mut world, (PBX, 4000), (1, 4000));
        first.say_back(&mut world, "REFER", 5, "Refer-To: <sip:1003@a>\r\n", "");
        world.wait(50);
        let transfer = Leg::new("transfer", (caller, PBX), ("1003", 3)).with(header);
        transfer.invite(&mut world, (PBX, 4014));
        world.wait(1000);
        world.finish();
        let reason = linked(&world, "first", "transfer");
        assert_eq!(reason, Some(LinkReason::Refer), "{caller}");
    }
}

#[test]
fn a_call_that_joins_or_picks_up_another_is_linked_and_wrong_tags_link_nothing() {
    let mut world = World::new();
    let ringing = Leg::new("ringing", ("1001", 1), ("1002", 2));
    ringing.invite(&mut world, (1, 4000));
    let talking = Leg::new("talking", ("1004", 4), ("1005", 5));
    talking.set_up(&mut world, (4, 4000), (5, 4000));
    // Of a phone that rings only the caller's tag is known.
    Leg::new("pickup", ("1006", 6), ("1001", 1))
        .with("Replaces: ringing;to-tag=f-ringing;from-tag=any;early-only")
        .invite(&mut world, (6, 4000));
    Leg::new("joins", ("1007", 7), ("1004", 4))
        .with("Join: talking;to-tag=f-talking;from-tag=t-talking")
        .invite(&mut world, (7, 4000));
    Leg::new("forged", ("1008", 8), ("1004", 4))
        .with("Join: talking;to-tag=x;from-tag=y")
        .invite(&mut world, (8, 4000));
    world.finish();
    assert_eq!(
        linked(&world, "ringing", "pickup"),
        Some(LinkReason::Replaces)
    );
    assert_eq!(linked(&world, "talking", "joins"), Some(LinkReason::Join));
    assert_eq!(linked(&world, "talking", "forged"), None);
}

#[test]
fn a_tenant_has_its_own_name_for_an_interaction_and_sees_its_own_legs() {
    let directory = directory(&[(1, "10.0.0.1/32", &["1001"]), (2, "10.0.0.2/32", &["2002"])]);
    let mut world = World::of(EngineSettings::default(), directory);
    // 1001 of tenant 1 calls 2002 of tenant 2 through a PBX that changes the caller's number.
    let incoming = Leg::new("in", ("1001", 1), ("020002002", PBX));
    let outgoing = Leg::new("out", ("1001", PBX), ("2002", 2));
    call_through_pbx(&mut world, &incoming, &outgoing);
    world.finish();
    let (a, b) = (world.end_of("in"), world.end_of("out"));
    assert_eq!(a.info.interaction, b.info.interaction);
    let owners = |end: &CallEnd| -> Vec<_> {
        end.info
            .owners
            .iter()
            .map(|owner| (owner.tenant, owner.interaction))
            .collect()
    };
    let (of_a, of_b) = (owners(a), owners(b));
    assert_eq!(of_a.len(), 1);
    assert_eq!(of_a[0].0, tenant(1));
    assert_eq!(of_b.last().unwrap().0, tenant(2));
    assert_ne!(
        of_a[0].1,
        of_b.last().unwrap().1,
        "names that say nothing of each other"
    );
    // Made of their own beginnings, which are 50 ms apart.
    let time = |id: crate::base::InteractionId| id.0.get_timestamp().unwrap().to_unix();
    assert_ne!(time(of_a[0].1), time(of_b.last().unwrap().1));
    assert_eq!(a.info.links[0].owners.as_slice(), [tenant(2)]);
}

#[test]
fn what_acts_on_an_interaction_reaches_its_open_calls_of_the_same_tenant() {
    let directory = directory(&[(1, "10.0.0.0/24", &["1001", "1002"])]);
    let mut world = World::of(EngineSettings::default(), directory);
    let incoming = Leg::new("in", ("1001", 1), ("1002", PBX));
    let outgoing = Leg::new("out", ("1001", PBX), ("1002", 2));
    call_through_pbx(&mut world, &incoming, &outgoing);
    Leg::new("alone", ("1001", 1), ("5555", 77)).set_up(&mut world, (1, 4040), (77, 4000));
    let key = |world: &World, call_id: &str| {
        world.events.iter().find_map(|event| match event {
            crate::engine::event::Event::Call { call, info } if info.call_id == call_id => {
                Some(*call)
            }
            _ => None,
        })
    };
    let (a, b) = (key(&world, "in").unwrap(), key(&world, "out").unwrap());
    assert_eq!(world.signalling().calls_of_tenant(b, tenant(1)), [a, b]);
    assert!(world.signalling().calls_of_tenant(b, tenant(2)).is_empty());
    outgoing.bye(&mut world);
    assert_eq!(world.signalling().calls_of_interaction(a), [a]);
}

#[test]
fn park_and_pickup_by_the_pbx_are_one_interaction_with_the_call() {
    let mut world = World::new();
    // The PBX parks the caller: its own leg to the first phone ends, a second phone calls the orbit and is bridged.
    let incoming = Leg::new("in", ("5551234", 1), ("1002", PBX));
    let first = Leg::new("first", ("5551234", PBX), ("1002", 2));
    call_through_pbx(&mut world, &incoming, &first);
    first.bye(&mut world);
    world.pass(20_000);
    let pickup = Leg::new("pickup", ("1003", 3), ("701", PBX));
    pickup.set_up(&mut world, (3, 4000), (PBX, 7000));
    let mut streams = [
        (Talk::new((1, 4000), (PBX, 6000), 1), 1),
        (Talk::new((PBX, 7000), (3, 4000), 2), 1),
        (Talk::new((3, 4000), (PBX, 7000), 3), 2),
        (Talk::new((PBX, 6000), (1, 4000), 4), 2),
    ];
    for n in 0..1000 {
        for (talk, voice) in &mut streams {
            world.send_voice(talk, &speech(*voice, n));
        }
        world.pass(20);
    }
    world.finish();
    assert_eq!(linked(&world, "in", "first"), Some(LinkReason::Numbers));
    assert_eq!(linked(&world, "in", "pickup"), Some(LinkReason::Audio));
    assert_eq!(
        world
            .heard("pickup", Side::Caller)
            .iter()
            .map(|h| h.1)
            .sum::<usize>(),
        160_000
    );
}

#[test]
fn what_is_asked_of_one_leg_alone_is_not_asked_of_those_that_join_later() {
    let mut world = World::new();
    let incoming = Leg::new("in", ("+442079460101", 1), ("1002", PBX));
    let outgoing = Leg::new("out", ("02079460101", PBX), ("1002", 2));
    let ask = |action, only| ControlRequest {
        target: "in".into(),
        action,
        tenant: Some(SYSTEM_TENANT),
        only,
        looks: false,
        who: "ann".into(),
        why: String::new(),
    };
    incoming.invite(&mut world, (1, 4000));
    let looked = world.control(&ControlRequest {
        looks: true,
        ..ask(ControlAction::Stop, None)
    });
    assert_eq!((looked.calls(), looked.changed()), (1, 0));
    let reached = &looked.reached[0];
    assert_eq!(reached.owners[0].0, SYSTEM_TENANT);
    let none = world.control(&ask(ControlAction::Stop, Some(Vec::new())));
    assert_eq!(none.calls(), 0);
    let stopped = world.control(&ask(ControlAction::Stop, Some(vec![reached.call])));
    assert_eq!(stopped.changed(), 1);
    assert_eq!(world.control(&ask(ControlAction::Pause, None)).changed(), 1);
    world.pass(50);
    outgoing.invite(&mut world, (PBX, 5000));
    world.pass(1000);
    outgoing.answer(&mut world, (2, 4000), "");
    incoming.answer(&mut world, (PBX, 6000), "");
    world.finish();
    assert_eq!(linked(&world, "in", "out"), Some(LinkReason::Numbers));
    let (incoming, outgoing) = (world.end_of("in"), world.end_of("out"));
    let refusal = |end: &CallEnd| end.info.owners[0].refusal;
    assert_eq!(refusal(incoming), Some(Disposition::DoNotRecord));
    assert_eq!(refusal(outgoing), None);
    // A pause is of the conversation.
    let asked: Vec<_> = (outgoing.info.control.iter())
        .map(|note| note.action)
        .collect();
    assert_eq!(asked, [ControlAction::Pause]);
}
