//! INVITEs that name the ends of somebody else's call, and ports that are used again.

use super::script::{Leg, directory};
use super::world::{At, Talk, World, sdp};
use crate::base::Side;
use crate::engine::EngineSettings;

const PBX: u8 = 100;
const A: At = (1, 4000);
const B: At = (2, 5000);
/// Two who want to hear what A and B say.
const F: u8 = 50;
const G: u8 = 51;

/// The phones of tenant 1 and tenant 2, and those of tenant 3, who is no part of anything.
fn world() -> World {
    let directory = directory(&[
        (1, "10.0.0.1/32", &["1001"]),
        (2, "10.0.0.2/32", &["2002"]),
        (3, "10.0.0.50/31", &["3001", "3002"]),
    ]);
    World::of(EngineSettings::default(), directory)
}

/// What the forgers' INVITE looks like.
#[derive(Clone, Copy, Debug)]
struct Forgery {
    from: &'static str,
    to: &'static str,
    caller: u8,
    callee: u8,
    /// Which is said to receive at A's place.
    is_turned: bool,
}

const FORGERIES: [Forgery; 5] = [
    Forgery {
        from: "3001",
        to: "3002",
        caller: F,
        callee: G,
        is_turned: false,
    },
    Forgery {
        from: "3001",
        to: "3002",
        caller: F,
        callee: G,
        is_turned: true,
    },
    // The numbers of the others, between two of their own hosts.
    Forgery {
        from: "1001",
        to: "2002",
        caller: F,
        callee: G,
        is_turned: false,
    },
    // Through the same PBX, which hands on what they say of their media.
    Forgery {
        from: "1001",
        to: "2002",
        caller: F,
        callee: PBX,
        is_turned: false,
    },
    Forgery {
        from: "1001",
        to: "3002",
        caller: PBX,
        callee: G,
        is_turned: false,
    },
];

impl Forgery {
    fn leg(&self) -> Leg {
        Leg::new("forged", (self.from, self.caller), (self.to, self.callee))
    }

    fn set_up(&self, world: &mut World) -> Leg {
        let leg = self.leg();
        match self.is_turned {
            true => leg.set_up(world, B, A),
            false => leg.set_up(world, A, B),
        }
        leg
    }
}

/// A direct call of A and B, of one leg, or of two through the PBX.
fn set_up(world: &mut World, through_pbx: bool) -> Vec<Leg> {
    let legs = match through_pbx {
        true => vec![
            Leg::new("in", ("1001", A.0), ("2002", PBX)),
            Leg::new("out", ("1001", PBX), ("2002", B.0)),
        ],
        false => vec![Leg::new("in", ("1001", A.0), ("2002", B.0))],
    };
    for leg in &legs {
        leg.invite(world, A);
        world.pass(20);
    }
    for leg in legs.iter().rev() {
        leg.answer(world, B, "");
    }
    legs
}

fn check(world: &mut World, legs: &[Leg], forged: &Leg, packets: usize, what: &str) {
    for leg in legs.iter().chain([forged]) {
        leg.bye(world);
    }
    for leg in legs {
        let id = &leg.call_id;
        let all = |fill| [(fill, packets * 160)];
        assert_eq!(world.heard(id, Side::Caller), all(0x11), "{id}: {what}");
        assert_eq!(world.heard(id, Side::Callee), all(0x61), "{id}: {what}");
    }
    for side in Side::BOTH {
        assert_eq!(world.heard("forged", side), [], "{what}");
    }
    assert_eq!(world.end_of("forged").streams.len(), 0, "{what}");
}

#[test]
fn who_names_the_ends_of_anothers_call_hears_nothing_and_takes_nothing() {
    for forgery in FORGERIES {
        for through_pbx in [false, true] {
            for is_late in [false, true] {
                let mut world = world();
                let legs = set_up(&mut world, through_pbx);
                let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
                if is_late {
                    world.talk_both(&mut out, &mut back, 50);
                }
                // Not within the time in which a leg may follow another.
                world.pass(15_000);
                let forged = forgery.set_up(&mut world);
                world.talk_both(&mut out, &mut back, 50);
                // Another SSRC is another stream of the same ends.
                (out.ssrc, back.ssrc) = (out.ssrc + 77, back.ssrc + 77);
                world.pass(200);
                world.talk_both(&mut out, &mut back, 50);
                // On hold, and back.
                world.pass(30_000);
                world.talk_both(&mut out, &mut back, 50);
                let packets = if is_late { 200 } else { 150 };
                let what = format!("{forgery:?} {through_pbx} {is_late}");
                check(&mut world, &legs, &forged, packets, &what);
            }
        }
    }
}

#[test]
fn who_names_the_ends_before_the_call_begins_hears_nothing_either() {
    for forgery in FORGERIES {
        for through_pbx in [false, true] {
            let mut world = world();
            let forged = forgery.set_up(&mut world);
            world.pass(15_000);
            let legs = set_up(&mut world, through_pbx);
            let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
            world.talk_both(&mut out, &mut back, 50);
            let what = format!("{forgery:?} {through_pbx}");
            check(&mut world, &legs, &forged, 50, &what);
        }
    }
}

/// Three legs of one call, of which the one between the PBXs is the first to claim the stream; and another call that goes the same way.
#[test]
fn who_is_handed_on_by_the_same_pbxs_does_not_take_a_stream_that_the_phones_speak_for() {
    let session =
        "Session-ID: a7b6c5d4e3f2a1b0a7b6c5d4e3f2a1b0;remote=00000000000000000000000000000000";
    for is_late in [false, true] {
        let mut world = world();
        let legs = [(A.0, 100), (100, 101), (101, B.0)]
            .map(|(from, to)| Leg::new(&format!("{from}-{to}"), ("1001", from), ("2002", to)))
            .map(|leg| leg.with(session));
        for leg in &legs {
            leg.invite(&mut world, A);
        }
        for leg in [&legs[1], &legs[2], &legs[0]] {
            leg.answer(&mut world, B, "");
            world.pass(20);
        }
        let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
        if is_late {
            world.talk_both(&mut out, &mut back, 50);
        }
        world.pass(15_000);
        let forged = Leg::new("forged", ("3001", 100), ("3002", 101));
        forged.set_up(&mut world, A, B);
        world.talk_both(&mut out, &mut back, 50);
        (out.ssrc, back.ssrc) = (out.ssrc + 77, back.ssrc + 77);
        world.pass(200);
        world.talk_both(&mut out, &mut back, 50);
        let packets = if is_late { 150 } else { 100 };
        check(&mut world, &legs, &forged, packets, &format!("{is_late}"));
    }
}

/// Within the seconds in which numbers link legs that meet at a host, with the numbers of the others.
#[test]
fn numbers_that_fit_do_not_make_a_stranger_hear() {
    for (caller, callee) in [(PBX, F), (F, PBX)] {
        for before in [false, true] {
            let mut world = world();
            let forged = Leg::new("forged", ("1001", caller), ("2002", callee));
            let mut legs = Vec::new();
            if !before {
                legs = set_up(&mut world, true);
                world.pass(300);
            }
            forged.set_up(&mut world, A, B);
            if before {
                world.pass(300);
                legs = set_up(&mut world, true);
            }
            let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
            world.talk_both(&mut out, &mut back, 100);
            let what = format!("{caller} {callee} {before}");
            for leg in legs.iter().chain([&forged]) {
                leg.bye(&mut world);
            }
            for side in Side::BOTH {
                assert_eq!(world.heard("forged", side), [], "{what}");
            }
            assert_eq!(world.heard("in", Side::Caller), [(0x11, 16_000)], "{what}");
        }
    }
}

/// A call through the PBX, whose media stays there, and somebody who has the PBX hand on an SDP that names its own ports.
#[test]
fn ports_of_the_pbx_in_an_invite_that_it_hands_on_are_not_its_word_for_the_phone() {
    for callee in [G, F] {
        let mut world = world();
        let leg = Leg::new("in", ("1001", A.0), ("8000", PBX));
        leg.set_up(&mut world, A, (PBX, 8000));
        let (mut out, mut back) = (
            Talk::new(A, (PBX, 8000), 0x11),
            Talk::new((PBX, 8000), A, 0x61),
        );
        world.talk_both(&mut out, &mut back, 50);
        world.pass(1000);
        let forged = Leg::new("forged", ("3001", PBX), ("3002", callee));
        forged.set_up(&mut world, (PBX, 8000), A);
        world.talk_both(&mut out, &mut back, 50);
        check(&mut world, &[leg], &forged, 100, "");
    }
}

#[test]
fn ports_that_are_used_again_after_a_lost_bye_are_the_next_calls() {
    let media = [(80, 7000), (81, 7002)];
    let with_phones = [A, (PBX, 8000)];
    for gap_ms in [300, 2000, 8000] {
        for is_same_ssrc in [false, true] {
            let cases = [
                // The phone calls again, and is called.
                (
                    ("1001", 1),
                    ("8000", PBX),
                    ("1001", 1),
                    ("8001", PBX),
                    with_phones,
                ),
                (
                    ("1001", 1),
                    ("8000", PBX),
                    ("555", PBX),
                    ("1001", 1),
                    [A, (PBX, 8000)],
                ),
                // Media hosts that do not signal: the same two hosts speak for them.
                (
                    ("1001", 1),
                    ("8000", PBX),
                    ("1005", 1),
                    ("8001", PBX),
                    media,
                ),
            ];
            for (from, to, next_from, next_to, [a, b]) in cases {
                let first = Leg::new("lost", from, to);
                let next = Leg::new("next", next_from, next_to);
                // The INVITE of the next call may go the other way.
                let is_turned = next_from.1 == PBX;
                let mut world = World::new();
                first.set_up(&mut world, a, b);
                let (mut out, mut back) = (Talk::new(a, b, 0x11), Talk::new(b, a, 0x61));
                world.talk_both(&mut out, &mut back, 50);
                world.pass(gap_ms);
                match is_turned {
                    true => next.set_up(&mut world, b, a),
                    false => next.set_up(&mut world, a, b),
                }
                let (mut again, mut again_back) = (Talk::new(a, b, 0x12), Talk::new(b, a, 0x62));
                if is_same_ssrc {
                    (again.ssrc, again_back.ssrc) = (out.ssrc, back.ssrc);
                    (again.sequence, again_back.sequence) = (out.sequence, back.sequence);
                }
                world.talk_both(&mut again, &mut again_back, 50);
                next.bye(&mut world);
                world.finish();
                let what = format!("{gap_ms} {is_same_ssrc} {from:?} {next_from:?}");
                let (near, far) = match is_turned {
                    true => (Side::Callee, Side::Caller),
                    false => (Side::Caller, Side::Callee),
                };
                assert_eq!(world.heard("next", near), [(0x12, 8000)], "{what}");
                assert_eq!(world.heard("next", far), [(0x62, 8000)], "{what}");
                assert_eq!(world.heard("lost", Side::Caller), [(0x11, 8000)], "{what}");
            }
        }
    }
}

/// Another host of the same PBX speaks for its media host: nothing was heard of the first call since the second began.
#[test]
fn a_cluster_that_uses_a_port_again_from_another_host_is_heard_when_the_first_call_is_silent() {
    let mut world = World::new();
    let [a, b] = [A, (90, 7000)];
    Leg::new("lost", ("1001", 1), ("8000", 101)).set_up(&mut world, a, b);
    let (mut out, mut back) = (Talk::new(a, b, 0x11), Talk::new(b, a, 0x61));
    world.talk_both(&mut out, &mut back, 50);
    world.pass(3000);
    let next = Leg::new("next", ("1001", 1), ("8000", 102));
    next.set_up(&mut world, a, b);
    world.talk_both(&mut out, &mut back, 50);
    next.bye(&mut world);
    assert_eq!(world.heard("next", Side::Caller), [(0x11, 8000)]);
    assert_eq!(world.heard("next", Side::Callee), [(0x61, 8000)]);
}

/// The next direct call of the same phones, through the PBX, after a lost BYE of both legs.
#[test]
fn the_next_direct_call_has_the_ports_of_the_one_before() {
    for is_turned in [false, true] {
        let mut world = World::new();
        set_up(&mut world, true);
        let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
        world.talk_both(&mut out, &mut back, 50);
        world.pass(20_000);
        let (near, far, ends) = match is_turned {
            true => (("2002", B.0), ("1001", A.0), [B, A]),
            false => (("1001", A.0), ("2002", B.0), [A, B]),
        };
        let legs = [
            Leg::new("next-in", near, (far.0, PBX)),
            Leg::new("next-out", (near.0, PBX), far),
        ];
        for leg in &legs {
            leg.invite(&mut world, ends[0]);
            world.pass(20);
        }
        for leg in legs.iter().rev() {
            leg.answer(&mut world, ends[1], "");
        }
        let (mut out, mut back) = (Talk::new(A, B, 0x12), Talk::new(B, A, 0x62));
        world.talk_both(&mut out, &mut back, 50);
        for leg in &legs {
            leg.bye(&mut world);
        }
        let fills = if is_turned {
            [0x62, 0x12]
        } else {
            [0x12, 0x62]
        };
        // One tenant has both legs: one of them has it all.
        let heard = legs
            .iter()
            .map(|leg| Side::BOTH.map(|side| world.heard(&leg.call_id, side)));
        let heard: Vec<_> = heard
            .filter(|sides| sides.iter().any(|s| !s.is_empty()))
            .collect();
        assert_eq!(heard, [fills.map(|fill| vec![(fill, 8000)])], "{is_turned}");
    }
}

#[test]
fn a_re_invite_that_names_anothers_ends_hears_nothing() {
    let mut world = world();
    let legs = set_up(&mut world, true);
    let forged = Leg::new("forged", ("3001", F), ("3002", G));
    forged.set_up(&mut world, (F, 4000), (G, 4000));
    let (mut out, mut back) = (Talk::new(A, B, 0x11), Talk::new(B, A, 0x61));
    world.talk_both(&mut out, &mut back, 50);
    forged.say(&mut world, "INVITE", 2, "", &sdp(A, ""));
    forged.accept(&mut world, "INVITE", 2, "", &sdp(B, ""));
    world.talk_both(&mut out, &mut back, 50);
    check(&mut world, &legs, &forged, 100, "");
}
