//! Recordings that somebody steers: headers, keys, preferences and requests.

use std::sync::Arc;

use uuid::Uuid;

use super::world::{At, Dialog, START, Talk, World, sdp};
use crate::base::{Side, TenantId, Timestamp};
use crate::directory::{
    ControlAction, ControlFrom, ControlHeader, ControlRules, Directory, ExtensionDefinition,
    ExtensionPattern, MatchRule, Place, Policy, RecordingPolicy, TenantDefinition, Withheld,
};
use crate::engine::EngineSettings;
use crate::engine::control::{ControlBy, ControlRequest, pauses};
use crate::engine::event::{CallEnd, Disposition, Event};
use crate::engine::standing::Standing;

const CALLER: At = (1, 4000);
const CALLEE: At = (2, 4000);
const TENANT: TenantId = TenantId(Uuid::from_u128(7));

/// The tenant of 1001, who calls, and of nobody else.
fn tenant(
    recording: RecordingPolicy,
    control: ControlRules,
    of_extension: Option<Policy>,
) -> TenantDefinition {
    let place = || Place::new("test.toml", 1);
    let mut tenant = TenantDefinition::new(TENANT, "Acme", place());
    let mut rule = MatchRule::new(place());
    rule.networks = vec!["10.0.0.0/24".parse().unwrap()];
    tenant.rules.push(rule);
    tenant.extensions.push(ExtensionDefinition {
        pattern: ExtensionPattern::number("1001").unwrap(),
        aliases: Vec::new(),
        user: Some("alice".into()),
        place: place(),
        policy: of_extension,
        allocated: false,
    });
    tenant.recording = recording;
    tenant.control = control;
    tenant
}

fn rules() -> ControlRules {
    let word = |action: ControlAction| (action, action.name().into());
    ControlRules {
        header: Some(ControlHeader {
            name: "X-Record".into(),
            words: ControlAction::ALL.map(word).to_vec(),
        }),
        keys: vec![
            (ControlAction::Pause, "*1".into()),
            (ControlAction::Resume, "*2".into()),
        ],
        recordpref: true,
        from: ControlFrom::Own,
    }
}

fn world_of(tenants: Vec<TenantDefinition>) -> World {
    let directory = Directory::compile(tenants, None).unwrap();
    World::of(EngineSettings::default(), Arc::new(directory))
}

fn world(control: ControlRules) -> World {
    world_of(vec![tenant(RecordingPolicy::default(), control, None)])
}

/// A call with both sides heard from the start on.
struct Call {
    dialog: Dialog,
    caller: Talk,
    callee: Talk,
}

impl Call {
    fn begin(world: &mut World) -> Call {
        let dialog = Dialog::new("steered", 1, 2);
        dialog.set_up(world, CALLER, CALLEE);
        let (caller, callee) = (
            Talk::new(CALLER, CALLEE, 0x11),
            Talk::new(CALLEE, CALLER, 0x21),
        );
        Call {
            dialog,
            caller,
            callee,
        }
    }

    /// Both talk for `packets`, with other bytes than before.
    fn talk(&mut self, world: &mut World, fill: u8, packets: u32) {
        self.caller.fill = 0x10 | fill;
        self.callee.fill = 0x20 | fill;
        world.talk_both(&mut self.caller, &mut self.callee, packets);
    }

    /// A key of the caller, as four packets of a telephone event.
    fn press(&mut self, world: &mut World, event: u8) {
        for end in [0, 0, 0x80, 0x80] {
            let mut packet = vec![0x80, 101];
            packet.extend(self.caller.sequence.to_be_bytes());
            packet.extend(self.caller.timestamp.to_be_bytes());
            packet.extend(self.caller.ssrc.to_be_bytes());
            packet.extend([event, end | 10, 0, 160]);
            world.send(CALLER, CALLEE, &packet);
            self.caller.sequence += 1;
            world.pass(20);
        }
        self.caller.timestamp += 4 * 160;
    }

    fn message(&self, world: &mut World, method: &str, number: u32, line: &str) {
        let text = self.dialog.text(method, number, "");
        let text = text.replacen("\r\nCall-ID", &format!("\r\n{line}\r\nCall-ID"), 1);
        world.send(self.dialog.caller, self.dialog.callee, text.as_bytes());
    }
}

/// Every sample that was put of a side: its place and byte, in the order of places.
fn samples(world: &World, side: Side) -> Vec<(i64, u8)> {
    let mut samples = Vec::new();
    for block in world.blocks("steered") {
        for piece in &block.sides[side] {
            let bytes = block.payload(piece).iter().enumerate();
            samples.extend(bytes.map(|(n, byte)| (piece.position + n as i64, *byte)));
        }
    }
    samples.sort_unstable();
    samples
}

/// Places of the first and last sample with a byte, and how many there are.
fn extent(world: &World, side: Side, fill: u8) -> (i64, i64, usize) {
    let all = samples(world, side);
    let found: Vec<i64> = all
        .into_iter()
        .filter(|(_, byte)| byte & 0x0f == fill)
        .map(|(at, _)| at)
        .collect();
    let ends = (found.first().copied(), found.last().copied());
    (ends.0.unwrap_or(-1), ends.1.unwrap_or(-1), found.len())
}

/// Milliseconds after the first media at which the call was paused and went on.
fn spans(world: &World, end: &CallEnd) -> Vec<(i64, Option<i64>)> {
    let start = world.events.iter().find_map(|event| match event {
        Event::Recording { start, .. } => Some(*start),
        _ => None,
    });
    let millis = |at: Timestamp| at.nanos_since(start.unwrap()) / 1_000_000;
    let spans = pauses(&end.info.control).into_iter();
    spans
        .map(|span| (millis(span.from), span.to.map(millis)))
        .collect()
}

fn request(action: ControlAction) -> ControlRequest {
    ControlRequest {
        target: "steered".into(),
        action,
        tenant: None,
        only: None,
        looks: false,
        who: "uid 0".into(),
        why: "card number".into(),
    }
}

#[test]
fn a_pause_is_cut_at_the_sample_on_both_sides() {
    for offset in [0, 1, 7, 19] {
        let mut world = world(ControlRules::default());
        let mut call = Call::begin(&mut world);
        call.talk(&mut world, 1, 50);
        world.pass(offset);
        let outcome = world.control(&request(ControlAction::Pause));
        assert_eq!((outcome.calls(), outcome.changed()), (1, 1));
        world.pass(20 - offset);
        world.now = world.now - std::time::Duration::from_millis(20);
        let again = world.control(&request(ControlAction::Pause));
        assert_eq!(again.changed(), 0, "it is paused already");
        call.talk(&mut world, 2, 100);
        world.control(&request(ControlAction::Resume));
        call.talk(&mut world, 3, 50);
        call.dialog.bye(&mut world);
        let end = world.end();
        assert_eq!(spans(&world, end), [(1000 + offset as i64, Some(3000))]);
        let (from, to) = (8000 + 8 * offset as i64, 24_000);
        for side in Side::BOTH {
            let inside = samples(&world, side);
            assert!(
                inside.iter().all(|(at, _)| !(from..to).contains(at)),
                "nothing lies in the pause"
            );
            assert_eq!(extent(&world, side, 1), (0, 7999, 8000));
            // What came with the packet that the request interrupted lies before it.
            let (first, _, count) = extent(&world, side, 2);
            assert_eq!(count as i64, 8 * offset as i64);
            assert!(offset == 0 || first == 8000);
            assert_eq!(extent(&world, side, 3).0, to);
        }
        assert_eq!(end.length_samples, 32_000, "the length stays true");
        let note = &end.info.control[0];
        assert_eq!(
            (note.by, &*note.who, &*note.why),
            (ControlBy::Request, "uid 0", "card number")
        );
    }
}

#[test]
fn late_packets_of_a_pause_are_not_put_either() {
    let mut world = world(ControlRules::default());
    let mut call = Call::begin(&mut world);
    call.talk(&mut world, 1, 50);
    world.control(&request(ControlAction::Pause));
    call.talk(&mut world, 2, 10);
    // One packet of the pause is held up on its way for half a second.
    let mut late = Talk {
        fill: 0x12,
        ..call.caller
    };
    call.caller.sequence += 1;
    call.caller.timestamp += 160;
    world.pass(20);
    call.talk(&mut world, 2, 9);
    world.control(&request(ControlAction::Resume));
    call.talk(&mut world, 3, 25);
    world.talk(&mut late, 1);
    call.talk(&mut world, 3, 25);
    call.dialog.bye(&mut world);
    assert_eq!(extent(&world, Side::Caller, 2).2, 0);
    assert_eq!(extent(&world, Side::Callee, 2).2, 0);
    let end = world.end();
    let paused: u64 = end.streams.iter().map(|stream| stream.paused).sum();
    // The callee says nothing for 20 ms: by its own clock a packet of after the pause belongs into it.
    assert_eq!(paused, 20 + 20);
}

#[test]
fn what_was_put_ahead_of_a_pause_is_taken_back() {
    let mut world = world(ControlRules::default());
    let mut call = Call::begin(&mut world);
    call.talk(&mut world, 1, 50);
    // A burst: 100 ms of audio that come at once are put ahead of their time.
    for _ in 0..5 {
        call.caller.fill = 0x12;
        let mut one = Talk { ..call.caller };
        world.talk(&mut one, 1);
        world.now = world.now - std::time::Duration::from_millis(20);
        call.caller = one;
    }
    world.control(&request(ControlAction::Pause));
    world.pass(100);
    call.talk(&mut world, 2, 20);
    call.dialog.bye(&mut world);
    assert_eq!(extent(&world, Side::Caller, 2).2, 0);
    assert_eq!(extent(&world, Side::Caller, 1), (0, 7999, 8000));
}

#[test]
fn keys_of_the_tenants_own_side_pause_and_leave_no_trace() {
    let mut world = world(rules());
    let mut call = Call::begin(&mut world);
    call.talk(&mut world, 1, 50);
    call.press(&mut world, 5);
    call.press(&mut world, 10);
    call.press(&mut world, 1);
    call.talk(&mut world, 2, 50);
    for event in [4, 7, 1, 1] {
        call.press(&mut world, event);
    }
    call.press(&mut world, 10);
    call.press(&mut world, 2);
    call.talk(&mut world, 3, 50);
    call.press(&mut world, 6);
    call.dialog.bye(&mut world);
    let end = world.end();
    let keys: String = end.digits.iter().map(|digit| digit.key).collect();
    assert_eq!(keys, "56");
    assert_eq!(spans(&world, end), [(1160, Some(2640))]);
    assert_eq!(extent(&world, Side::Callee, 2).2, 0);
    let note = &end.info.control[0];
    assert_eq!(
        (note.by, &*note.who, note.side),
        (ControlBy::Keys, "alice", Some(Side::Caller))
    );
    assert!(!format!("{end:?}").contains("key: '"), "no log shows a key");
}

#[test]
fn keys_of_the_other_side_are_nothing() {
    let mut world = world(rules());
    let mut call = Call::begin(&mut world);
    call.talk(&mut world, 1, 20);
    for (number, key) in [(2, '*'), (3, '1')] {
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        let text = call.dialog.text("INFO", number, "");
        let text = text.replace("tag=ft", "tag=XX").replace("tag=tt", "tag=ft");
        let text = text.replace("tag=XX", "tag=tt").replace(
            "Content-Length: 0\r\n\r\n",
            &format!(
                "Content-Type: application/dtmf-relay\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        world.send(call.dialog.callee, call.dialog.caller, text.as_bytes());
    }
    call.talk(&mut world, 1, 20);
    call.dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(end.info.control, []);
    assert_eq!(end.digits.len(), 2);
}

#[test]
fn keys_in_info_and_headers_of_messages_pause_and_go_on() {
    let mut world = world(rules());
    let mut call = Call::begin(&mut world);
    call.talk(&mut world, 1, 50);
    call.message(&mut world, "INFO", 2, "X-Record: pause");
    call.talk(&mut world, 2, 50);
    // Once more on its way to the next hop: nothing new.
    call.message(&mut world, "INFO", 3, "X-Record: resume");
    call.talk(&mut world, 3, 50);
    call.message(&mut world, "INFO", 2, "X-Record: pause");
    call.talk(&mut world, 3, 50);
    call.message(&mut world, "UPDATE", 4, "x-record: PAUSE;by=agent");
    call.talk(&mut world, 2, 50);
    call.dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(spans(&world, end), [(1000, Some(2000)), (4000, None)]);
    for side in Side::BOTH {
        assert_eq!(extent(&world, side, 2).2, 0);
        assert_eq!(extent(&world, side, 3).2, 16_000);
    }
    assert_eq!(end.length_samples, 40_000);
}

#[test]
fn a_pause_outlasts_a_new_offer() {
    let mut world = world(rules());
    let mut call = Call::begin(&mut world);
    call.talk(&mut world, 1, 50);
    call.message(&mut world, "INFO", 2, "X-Record: pause");
    call.dialog
        .request(&mut world, "INVITE", 3, "tt", &sdp((1, 4002), ""));
    call.dialog
        .answer(&mut world, 200, "INVITE", 3, "tt", &sdp((2, 4002), ""));
    call.caller = Talk::new((1, 4002), (2, 4002), 0x12);
    call.callee = Talk::new((2, 4002), (1, 4002), 0x22);
    call.talk(&mut world, 2, 50);
    call.dialog.bye(&mut world);
    for side in Side::BOTH {
        assert_eq!(extent(&world, side, 2).2, 0);
        assert_eq!(extent(&world, side, 1).2, 8000);
    }
}

#[test]
fn others_have_no_say_unless_the_tenant_lets_them() {
    for (from, paused) in [(ControlFrom::Own, 0), (ControlFrom::Any, 1)] {
        let control = ControlRules { from, ..rules() };
        let mut world = world(control);
        let mut call = Call::begin(&mut world);
        call.talk(&mut world, 1, 20);
        let text = call.dialog.text("INFO", 7, "");
        let text = text
            .replace("tag=ft", "tag=XX")
            .replace("tag=tt", "tag=ft")
            .replace("tag=XX", "tag=tt")
            .replacen("\r\nCall-ID", "\r\nX-Record: pause\r\nCall-ID", 1);
        world.send(call.dialog.callee, call.dialog.caller, text.as_bytes());
        call.talk(&mut world, 1, 20);
        call.dialog.bye(&mut world);
        assert_eq!(world.end().info.control.len(), paused, "{from:?}");
    }
}

#[test]
fn preferences_of_a_session_description_are_heard() {
    let mut world = world(rules());
    let dialog = Dialog::new("steered", 1, 2);
    let offer = sdp(CALLER, "a=recordpref:off\r\n");
    dialog.request(&mut world, "INVITE", 1, "", &offer);
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &sdp(CALLEE, ""));
    let mut call = Call {
        dialog,
        caller: Talk::new(CALLER, CALLEE, 0x12),
        callee: Talk::new(CALLEE, CALLER, 0x22),
    };
    call.talk(&mut world, 2, 50);
    let on = sdp(CALLER, "a=recordpref:on\r\n");
    call.dialog.request(&mut world, "INVITE", 2, "tt", &on);
    call.talk(&mut world, 3, 50);
    call.dialog.bye(&mut world);
    assert_eq!(extent(&world, Side::Caller, 2).2, 0);
    assert_eq!(extent(&world, Side::Caller, 3), (8000, 15_999, 8000));
    assert_eq!(world.end().info.control[0].by, ControlBy::Preference);
}

#[test]
fn a_call_that_was_paused_throughout_says_so() {
    let mut world = world(rules());
    let dialog = Dialog::new("steered", 1, 2);
    let offer = sdp(CALLER, "a=recordpref:pause\r\n");
    dialog.request(&mut world, "INVITE", 1, "", &offer);
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &sdp(CALLEE, ""));
    let mut call = Call {
        dialog,
        caller: Talk::new(CALLER, CALLEE, 0x12),
        callee: Talk::new(CALLEE, CALLER, 0x22),
    };
    call.talk(&mut world, 2, 50);
    call.dialog.bye(&mut world);
    assert_eq!(samples(&world, Side::Caller), []);
    assert_eq!(world.end().disposition, Disposition::Paused);
}

#[test]
fn do_not_record_is_a_refusal_with_who_and_why() {
    let mut world = world(rules());
    let mut call = Call::begin(&mut world);
    call.talk(&mut world, 1, 50);
    call.message(&mut world, "INFO", 2, "X-Record: stop");
    call.talk(&mut world, 2, 100);
    call.dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(end.info.owners[0].refusal, Some(Disposition::DoNotRecord));
    assert_eq!(end.info.control[0].why, "X-Record: stop");
    assert_eq!(extent(&world, Side::Caller, 2).2, 0);
}

#[test]
fn on_demand_is_recorded_from_the_start_and_pending_until_somebody_asks() {
    let policy = RecordingPolicy {
        policy: Policy::OnDemand,
        ..RecordingPolicy::default()
    };
    for keep in [false, true] {
        let mut world = world_of(vec![tenant(policy, rules(), None)]);
        let mut call = Call::begin(&mut world);
        call.talk(&mut world, 1, 50);
        if keep {
            let outcome = world.control(&request(ControlAction::Keep));
            assert_eq!(outcome.changed(), 1);
            assert_eq!(world.control(&request(ControlAction::Keep)).changed(), 0);
        }
        call.dialog.bye(&mut world);
        let owner = &world.end().info.owners[0];
        let pending = (!keep).then_some(Disposition::PolicyOnDemand);
        assert_eq!((owner.refusal, owner.pending), (None, pending));
        assert_eq!(extent(&world, Side::Caller, 1), (0, 7999, 8000));
    }
}

#[test]
fn an_extension_has_a_policy_of_its_own() {
    let all = RecordingPolicy::default();
    let mut world = world_of(vec![tenant(all, rules(), Some(Policy::None))]);
    let mut call = Call::begin(&mut world);
    call.talk(&mut world, 1, 5);
    call.dialog.bye(&mut world);
    let owner = &world.end().info.owners[0];
    assert_eq!(owner.refusal, Some(Disposition::PolicyNone));
    let decision = owner.decision.clone().unwrap();
    assert_eq!(decision.extension, Some((Side::Caller, "1001".into())));
}

#[test]
fn a_sample_takes_the_same_calls_wherever_they_are_seen() {
    let policy = RecordingPolicy {
        policy: Policy::Sample { percent: 40 },
        ..RecordingPolicy::default()
    };
    let taken = |vlan: u16, later: u64| {
        let mut world = world_of(vec![tenant(policy, rules(), None)]);
        world.vlan = vlan;
        world.pass(later);
        for n in 0..200 {
            let name: &'static str = Box::leak(format!("call {n}").into_boxed_str());
            let dialog = Dialog::new(name, 1, 2);
            dialog.set_up(&mut world, CALLER, CALLEE);
            dialog.bye(&mut world);
        }
        let ends = world.ends().into_iter();
        ends.map(|end| end.info.owners[0].refusal.is_none())
            .collect::<Vec<bool>>()
    };
    let here = taken(0, 0);
    assert_eq!(here, taken(30, 12_345));
    let share = here.iter().filter(|taken| **taken).count();
    assert!((50..110).contains(&share), "{share} of 200 are no 40 %");
}

#[test]
fn a_plan_limits_recordings_at_a_time() {
    let policy = RecordingPolicy {
        concurrent: Some(1),
        ..RecordingPolicy::default()
    };
    let mut world = world_of(vec![tenant(policy, rules(), None)]);
    let (first, second) = (Dialog::new("a", 1, 2), Dialog::new("b", 1, 2));
    first.set_up(&mut world, CALLER, CALLEE);
    second.set_up(&mut world, (1, 4010), (2, 4010));
    first.bye(&mut world);
    let third = Dialog::new("c", 1, 2);
    third.set_up(&mut world, CALLER, CALLEE);
    second.bye(&mut world);
    third.bye(&mut world);
    let refusals: Vec<_> = world
        .ends()
        .iter()
        .map(|end| end.info.owners[0].refusal)
        .collect();
    assert_eq!(refusals, [None, Some(Disposition::PlanLimit), None]);
}

#[test]
fn nothing_is_recorded_while_a_tenant_is_withheld() {
    for (withheld, disposition) in [
        (Withheld::PlanStorage, Disposition::PlanStorage),
        (Withheld::PlanMinutes, Disposition::PlanMinutes),
        (Withheld::Suspended, Disposition::TenantSuspended),
    ] {
        let policy = RecordingPolicy {
            withheld: Some(withheld),
            concurrent: Some(1),
            ..RecordingPolicy::default()
        };
        let mut world = world_of(vec![tenant(policy, rules(), None)]);
        for name in ["a", "b"] {
            let dialog = Dialog::new(name, 1, 2);
            dialog.set_up(&mut world, CALLER, CALLEE);
            dialog.bye(&mut world);
        }
        let ends = world.ends();
        let refusals: Vec<_> = ends.iter().map(|end| end.info.owners[0].refusal).collect();
        assert_eq!(refusals, [Some(disposition), Some(disposition)]);
    }
}

#[test]
fn messages_of_a_dialog_are_handed_on_where_a_tenant_keeps_them() {
    for signalling in [false, true] {
        let policy = RecordingPolicy {
            signalling,
            ..RecordingPolicy::default()
        };
        let mut world = world_of(vec![tenant(policy, rules(), None)]);
        let mut call = Call::begin(&mut world);
        call.talk(&mut world, 1, 5);
        // How a transfer goes; and of another dialog, which is no call's.
        call.dialog.request_back(&mut world, "NOTIFY", 5, "");
        call.dialog.answer_back(&mut world, 200, "NOTIFY", 5, "");
        for (number, method) in (6..).zip(["OPTIONS", "MESSAGE", "SUBSCRIBE", "PUBLISH", "NOVEL"]) {
            call.dialog.request_back(&mut world, method, number, "");
            call.dialog.answer_back(&mut world, 200, method, number, "");
        }
        Dialog::new("ping", 1, 2).request_back(&mut world, "OPTIONS", 5, "");
        Dialog::new("mwi", 1, 2).request_back(&mut world, "NOTIFY", 5, "");
        call.dialog.bye(&mut world);
        assert_eq!(world.signalling().counters().other_methods, 2);
        let kept = world
            .events
            .iter()
            .filter(|event| matches!(event, Event::Signalling { .. }));
        assert_eq!(kept.count(), if signalling { 18 } else { 0 });
    }
}

#[test]
fn requests_for_unknown_calls_do_nothing() {
    let mut world = world(rules());
    let _ = Call::begin(&mut world);
    let mut other = request(ControlAction::Stop);
    other.target = "other".into();
    let outcome = world.control(&other);
    assert_eq!((outcome.calls(), outcome.interaction), (0, None));
    // Named by its interaction it is found.
    let interaction = world.events.iter().find_map(|event| match event {
        Event::Call { info, .. } => Some(info.interaction),
        _ => None,
    });
    other.target = interaction.unwrap().to_string();
    assert_eq!(world.control(&other).changed(), 1);
    assert_eq!(outcome.at, START);
}

/// What holds beyond a run, as whoever keeps it has it in the end.
fn kept(world: &World) -> Vec<Standing> {
    let mut kept = std::collections::BTreeMap::new();
    for event in &world.events {
        if let Event::Standing {
            change: (id, standing),
            ..
        } = event
        {
            match standing {
                Some(standing) => drop(kept.insert(*id, (**standing).clone())),
                None => drop(kept.remove(id)),
            }
        }
    }
    kept.into_values().collect()
}

/// The same call goes on, seen by another run that was given what the last one kept. The callee re-invites.
fn go_on(call: &mut Call, later: &mut World, number: u32) {
    let body = sdp(CALLEE, "");
    call.dialog.request_back(later, "INVITE", number, &body);
    let head = format!("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK{number}b\r\n");
    let body = sdp(CALLER, "");
    let text = format!(
        "{head}From: <sip:1002@a>;tag=tt\r\nTo: <sip:1001@a>;tag=ft\r\nCall-ID: steered\r\n\
         CSeq: {number} INVITE\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    later.send(call.dialog.caller, call.dialog.callee, text.as_bytes());
}

#[test]
fn a_pause_holds_in_the_run_that_meets_the_call_in_its_middle() {
    let mut first = world(rules());
    let mut call = Call::begin(&mut first);
    call.message(&mut first, "INFO", 2, "X-Record: pause");
    call.talk(&mut first, 2, 10);
    let left = kept(&first);
    assert_eq!(left.len(), 1);
    let mut later = world(rules());
    later.now = first.now;
    later.engine_mut().restore(left);
    // What waits for its signalling was said in the pause as well.
    call.talk(&mut later, 2, 50);
    go_on(&mut call, &mut later, 5);
    call.talk(&mut later, 2, 50);
    // Under the tags of the run that knows it now.
    assert_eq!(kept(&later).len(), 1);
    // The side that asked is the callee now.
    call.message(&mut later, "INFO", 7, "X-Record: resume");
    assert!(matches!(
        later
            .events
            .iter()
            .rev()
            .find(|e| matches!(e, Event::Standing { .. })),
        Some(Event::Standing {
            change: (1, None),
            ..
        })
    ));
    call.talk(&mut later, 3, 50);
    call.dialog.bye(&mut later);
    for side in Side::BOTH {
        assert_eq!(extent(&later, side, 2).2, 0);
        assert_eq!(extent(&later, side, 3).2, 8000);
    }
    let note = &later.end().info.control[0];
    assert_eq!(
        (note.by, &*note.who, note.side),
        (ControlBy::Header, "alice", Some(Side::Callee))
    );
}

#[test]
fn do_not_record_holds_in_the_run_that_meets_the_call_in_its_middle() {
    let mut first = world(rules());
    let dialog = Dialog::new("steered", 1, 2);
    let text = dialog
        .text("INVITE", 1, &sdp(CALLER, ""))
        .replace(";tag=tt", "");
    let text = text.replacen("\r\nCall-ID", "\r\nX-Record: stop\r\nCall-ID", 1);
    first.send(dialog.caller, dialog.callee, text.as_bytes());
    dialog.answer(&mut first, 200, "INVITE", 1, "tt", &sdp(CALLEE, ""));
    first.pass(1000);
    // A shutdown ends the call for the program only.
    first.shut_down();
    let left = kept(&first);
    assert_eq!(left.len(), 1);
    for (tags, refusal) in [
        (("ft", "tt"), Some(Disposition::DoNotRecord)),
        (("ft", "xx"), None),
    ] {
        let mut later = world(rules());
        later.now = first.now;
        later.engine_mut().restore(left.clone());
        let dialog = Dialog {
            from_tag: tags.0,
            to_tag: tags.1,
            ..dialog.clone()
        };
        dialog.request(&mut later, "INVITE", 5, dialog.to_tag, &sdp(CALLER, ""));
        dialog.answer(
            &mut later,
            200,
            "INVITE",
            5,
            dialog.to_tag,
            &sdp(CALLEE, ""),
        );
        dialog.bye(&mut later);
        assert_eq!(later.end().info.owners[0].refusal, refusal, "{tags:?}");
        let forgotten = later.events.iter().any(|event| {
            matches!(
                event,
                Event::Standing {
                    change: (_, None),
                    ..
                }
            )
        });
        assert_eq!(forgotten, refusal.is_some(), "it is over");
    }
}

#[test]
fn a_call_that_was_taken_for_over_and_goes_on_is_still_paused() {
    let mut world = world(rules());
    let mut call = Call::begin(&mut world);
    call.talk(&mut world, 1, 10);
    world.control(&request(ControlAction::Pause));
    for _ in 0..400 {
        world.wait(1000);
    }
    assert_eq!(world.end().reason.code(), "media_timeout");
    go_on(&mut call, &mut world, 5);
    call.talk(&mut world, 2, 50);
    world.wait(1000);
    world.finish();
    assert_eq!(world.ends()[1].disposition, Disposition::Paused);
    assert_eq!(world.ends()[1].info.control[0].why, "card number");
}
