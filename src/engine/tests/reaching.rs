//! What a pause reaches: legs of others, and legs that are found late.

use super::conversations::{call_through_pbx, speech};
use super::script::{Leg, directory, tenant};
use super::world::{Talk, World};
use crate::base::{Side, TenantId};
use crate::engine::EngineSettings;
use crate::engine::control::{ControlAction, ControlRequest, pauses};
use crate::engine::event::{CallEnd, Disposition, Event};

/// The PBX.
const PBX: u8 = 100;

fn ask(target: &str, action: ControlAction, tenant: TenantId) -> ControlRequest {
    ControlRequest {
        target: target.into(),
        action,
        tenant: Some(tenant),
        only: None,
        looks: false,
        who: "ann".into(),
        why: "card number".into(),
    }
}

/// Both legs of a call that goes through the PBX from tenant 1; `more` is in the INVITE of both.
fn through_pbx(world: &mut World, more: &str) -> (Leg, Leg) {
    let mut incoming = Leg::new("in", ("1001", 1), ("2002", PBX));
    let mut outgoing = Leg::new("out", ("1001", PBX), ("2002", 2));
    if !more.is_empty() {
        (incoming, outgoing) = (incoming.with(more), outgoing.with(more));
    }
    call_through_pbx(world, &incoming, &outgoing);
    (incoming, outgoing)
}

fn actions(end: &CallEnd) -> Vec<ControlAction> {
    end.info.control.iter().map(|note| note.action).collect()
}

#[test]
fn a_pause_reaches_the_onward_leg_that_nobody_owns_and_a_stop_does_not() {
    use ControlAction::{Pause, Resume, Stop};
    let directory = directory(&[(1, "10.0.0.1/32", &["1001"])]);
    let mut world = World::of(EngineSettings::default(), directory);
    let _ = through_pbx(&mut world, "");
    let outcome = world.control(&ask("in", Pause, tenant(1)));
    assert_eq!((outcome.calls(), outcome.changed()), (2, 2));
    let told: usize = outcome.reached.iter().map(|call| call.owners.len()).sum();
    assert_eq!(told, 1, "of whose leg is not the tenant's nothing is told");
    world.pass(1000);
    assert_eq!(world.control(&ask("in", Resume, tenant(1))).changed(), 2);
    assert_eq!(world.control(&ask("in", Stop, tenant(1))).changed(), 1);
    world.finish();
    assert_eq!(actions(world.end_of("out")), [Pause, Resume]);
    assert_eq!(actions(world.end_of("in")), [Pause, Resume, Stop]);
}

#[test]
fn an_onward_leg_that_begins_in_a_pause_is_paused_too_whoever_lacks_it() {
    use ControlAction::{Pause, Resume};
    let directory = directory(&[(1, "10.0.0.1/32", &["1001"])]);
    let mut world = World::of(EngineSettings::default(), directory);
    let incoming = Leg::new("in", ("1001", 1), ("2002", PBX));
    incoming.invite(&mut world, (1, 4000));
    assert_eq!(world.control(&ask("in", Pause, tenant(1))).changed(), 1);
    world.pass(50);
    let outgoing = Leg::new("out", ("1001", PBX), ("2002", 2));
    outgoing.invite(&mut world, (PBX, 5000));
    outgoing.answer(&mut world, (2, 4000), "");
    incoming.answer(&mut world, (PBX, 6000), "");
    let stranger = world.control(&ask("out", Resume, tenant(2)));
    assert_eq!(stranger.calls(), 0, "it has no part in it");
    world.pass(1000);
    assert_eq!(world.control(&ask("in", Resume, tenant(1))).changed(), 2);
    world.finish();
    assert_eq!(actions(world.end_of("out")), [Pause, Resume]);
}

#[test]
fn another_tenants_leg_is_reached_where_the_signalling_names_the_conversation_only() {
    let named =
        "Session-ID: a7b6c5d4e3f2a1b0a7b6c5d4e3f2a1b0;remote=00000000000000000000000000000000";
    for (more, reached) in [("", 1), (named, 2)] {
        let directory = directory(&[(1, "10.0.0.1/32", &["1001"]), (2, "10.0.0.2/32", &["2002"])]);
        let mut world = World::of(EngineSettings::default(), directory);
        let _ = through_pbx(&mut world, more);
        let paused = world.control(&ask("in", ControlAction::Pause, tenant(1)));
        assert_eq!(paused.changed(), reached, "{more}");
        // What tenant 2 asks does not end the pause of tenant 1.
        let other = world.control(&ask("out", ControlAction::Resume, tenant(2)));
        assert_eq!(other.changed(), 0);
        let resumed = world.control(&ask("in", ControlAction::Resume, tenant(1)));
        assert_eq!(resumed.changed(), reached);
        world.finish();
        let (a, b) = (world.end_of("in"), world.end_of("out"));
        assert_eq!(a.info.interaction, b.info.interaction);
        assert_eq!(actions(b).len(), 2 * (reached as usize - 1));
    }
}

/// A border controller with an address for each side and numbers that have nothing in common: only the audio links its legs. What was
/// heard of the onward leg, by the seconds since it began.
fn linked_by_audio(pause: u32, resume: u32) -> World {
    let directory = directory(&[(1, "10.0.0.0/24", &["1001", "1002"])]);
    let mut world = World::of(EngineSettings::default(), directory);
    let incoming = Leg::new("in", ("1001", 1), ("8000", 100));
    let outgoing = Leg::new("out", ("9001", 200), ("1002", 2));
    incoming.set_up(&mut world, (1, 4000), (100, 6000));
    outgoing.set_up(&mut world, (200, 5000), (2, 4000));
    let mut streams = [
        (Talk::new((1, 4000), (100, 6000), 1), 1),
        (Talk::new((200, 5000), (2, 4000), 2), 1),
        (Talk::new((2, 4000), (200, 5000), 3), 2),
        (Talk::new((100, 6000), (1, 4000), 4), 2),
    ];
    for n in 0..30 * 50u32 {
        if n == pause * 50 {
            world.control(&ask("in", ControlAction::Pause, tenant(1)));
        }
        if n == resume * 50 {
            world.control(&ask("in", ControlAction::Resume, tenant(1)));
        }
        for (talk, voice) in &mut streams {
            world.send_voice(talk, &speech(*voice, n));
        }
        world.pass(20);
    }
    world.finish();
    world
}

#[test]
fn a_leg_that_only_its_audio_links_is_found_in_the_pause() {
    let world = linked_by_audio(2, 25);
    let (a, b) = (world.end_of("in"), world.end_of("out"));
    assert_eq!(a.info.interaction, b.info.interaction);
    assert_eq!(a.info.control, b.info.control, "from when it was asked on");
    let told = world.events.iter().position(|event| {
        matches!(event, Event::Call { info, .. } if info.call_id == "out" && !info.control.is_empty())
    });
    // What is handed on after that lies outside of the pause; what lay in it before, the recorder takes back.
    let [span] = pauses(&b.info.control)[..] else {
        panic!("{:?}", b.info.control)
    };
    let key = b.call;
    let start = world.events.iter().find_map(|event| match event {
        Event::Recording { call, start, .. } if *call == key => Some(*start),
        _ => None,
    });
    let place = |at: crate::base::Timestamp| at.nanos_since(start.unwrap()) / 125_000;
    let (from, to) = (place(span.from), place(span.to.unwrap()));
    let paused = |events: &[Event]| {
        let mut samples = 0;
        for event in events {
            let Event::Block { call, block } = event else {
                continue;
            };
            let pieces = Side::BOTH.into_iter().flat_map(|side| &block.sides[side]);
            let inside = pieces.filter(|piece| (from..to).contains(&piece.position));
            samples += inside.count() * usize::from(*call == key);
        }
        samples
    };
    let (before, after) = world.events.split_at(told.unwrap());
    assert_eq!(paused(after), 0);
    assert!(
        paused(before) < 2 * 50 * 9,
        "it was found within nine seconds"
    );
    assert_eq!(
        world.heard("in", Side::Caller).len(),
        world.heard("out", Side::Caller).len()
    );
}

#[test]
fn what_is_in_a_pause_from_the_start_is_compared_as_well() {
    let world = linked_by_audio(0, 29);
    let (a, b) = (world.end_of("in"), world.end_of("out"));
    assert_eq!(a.info.interaction, b.info.interaction);
    assert_eq!(a.disposition, Disposition::Recorded);
}

#[test]
fn a_pause_that_was_over_before_a_leg_joined_leaves_no_note_there() {
    let directory = directory(&[(1, "10.0.0.0/24", &["1001", "1002"])]);
    let mut world = World::of(EngineSettings::default(), directory);
    let incoming = Leg::new("in", ("1001", 1), ("1002", PBX));
    incoming.invite(&mut world, (1, 4000));
    world.control(&ask("in", ControlAction::Pause, tenant(1)));
    world.pass(20);
    world.control(&ask("in", ControlAction::Resume, tenant(1)));
    world.pass(50);
    Leg::new("out", ("1001", PBX), ("1002", 2)).set_up(&mut world, (PBX, 5000), (2, 4000));
    world.finish();
    assert_eq!(actions(world.end_of("in")).len(), 2);
    assert_eq!(actions(world.end_of("out")), []);
}
