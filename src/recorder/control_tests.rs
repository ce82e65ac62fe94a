//! Recordings that are held back, thrown away, paused, and what lies beside them.

use super::*;
use crate::base::{Endpoint, Flow};
use crate::directory::{ControlAction, Digits};
use crate::engine::control::{ControlBy, ControlNote};
use crate::engine::event::{Digit, SignallingMessage};
use crate::recorder::recording::Trouble;
use crate::storage::Kind;

/// The same call with other owners.
fn with(info: &CallInfo, change: impl Fn(&mut Ownership)) -> Arc<CallInfo> {
    let mut info = info.clone();
    info.owners.iter_mut().for_each(change);
    Arc::new(info)
}

fn on_demand(info: &CallInfo) -> Arc<CallInfo> {
    with(info, |owner| {
        owner.pending = Some(Disposition::PolicyOnDemand)
    })
}

fn note(millis: i64, action: ControlAction, tenant: Option<TenantId>) -> ControlNote {
    ControlNote {
        at: Timestamp::from_nanos(START.as_nanos() + millis * 1_000_000),
        action,
        by: ControlBy::Keys,
        tenant,
        side: Some(Side::Caller),
        who: "alice".into(),
        why: "keys".into(),
        alone: false,
    }
}

fn kinds(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = files(folder)
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.split_once('.'))
        .map(|(_, kind)| kind.to_owned())
        .collect();
    names.sort();
    names
}

fn begun(settings: &Settings, info: &CallInfo) -> Recording {
    let mut recording = Recording::new(START, 8000);
    let Trouble { error, .. } = recording.take_block(
        block(0, false, &[(Side::Caller, 0, 4)]),
        info,
        settings,
        &mut Easel::default(),
    );
    assert!(error.is_none());
    recording
}

#[test]
fn on_demand_a_file_is_held_back_until_somebody_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let wanted = info(&[OTHER]);
    let pending = on_demand(&wanted);
    let mut recording = begun(&settings, &pending);
    assert_eq!(kinds(folder.path()), ["json.part", "wav.held"]);
    recording.update(&wanted, &settings).unwrap();
    assert_eq!(kinds(folder.path()), ["json.part", "wav.part"]);
    recording.take_block(
        block(1, false, &[(Side::Caller, 30, 5)]),
        &wanted,
        &settings,
        &mut Easel::default(),
    );
    let (done, _) = recording.finish(
        &end(&wanted, 40),
        &wanted,
        &Default::default(),
        &settings,
        &mut Easel::default(),
    );
    assert_eq!((done.finished.len(), done.discarded.len()), (1, 0));
    assert_eq!(done.finished[0].sidecar.pending, None);
}

#[test]
fn on_demand_nothing_is_left_of_a_call_that_nobody_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let info = on_demand(&info(&[OTHER]));
    let blocks = vec![block(0, false, &[(Side::Caller, 0, 4)])];
    let outcome = record(&settings(folder.path()), events(&info, blocks, 4));
    let of = &outcome.recordings[0];
    assert_eq!(of.disposition, Disposition::PolicyOnDemand);
    assert!(of.recording.is_none());
    assert_eq!(kinds(folder.path()), [""; 0]);
}

#[test]
fn what_a_killed_run_held_back_does_not_become_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let info = on_demand(&info(&[OTHER, SYSTEM_TENANT]));
    let kept = with(&info, |owner| {
        if owner.tenant == SYSTEM_TENANT {
            owner.pending = None;
        }
    });
    let mut recording = begun(&settings, &info);
    recording.update(&kept, &settings).unwrap();
    drop(recording);
    let recovered = recover(&settings);
    assert_eq!((recovered.recordings.len(), recovered.not_kept), (1, 1));
    assert_eq!(recovered.recordings[0].0.tenant_id, SYSTEM_TENANT);
    assert_eq!(kinds(folder.path()), ["json", "wav"]);
}

#[test]
fn do_not_record_takes_away_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let info = info(&[OTHER]);
    let mut stopped = (*with(&info, |owner| {
        owner.refusal = Some(Disposition::DoNotRecord)
    }))
    .clone();
    stopped.control = vec![note(100, ControlAction::Stop, Some(OTHER))];
    let mut recording = begun(&settings, &info);
    recording.update(&stopped, &settings).unwrap();
    assert_eq!(kinds(folder.path()), [""; 0]);
    recording.take_block(
        block(1, false, &[(Side::Caller, 30, 5)]),
        &stopped,
        &settings,
        &mut Easel::default(),
    );
    assert_eq!(kinds(folder.path()), [""; 0], "and nothing comes after it");
    let reasons = crate::recorder::attribution_record(&stopped, OTHER).reasons;
    assert_eq!(reasons["control"][0]["who"], "alice");
    assert_eq!(reasons["control"][0]["action"], "stop");
}

#[test]
fn a_call_that_is_too_short_leaves_nothing() {
    for (packets, is_kept) in [(99, false), (100, true)] {
        let folder = tempfile::tempdir().unwrap();
        let info = with(&info(&[OTHER]), |owner| owner.recording.minimum_seconds = 2);
        let blocks = vec![block(0, false, &[(Side::Caller, 0, 4)])];
        let outcome = record(&settings(folder.path()), events(&info, blocks, packets));
        let disposition = outcome.recordings[0].disposition;
        assert_eq!(disposition == Disposition::Recorded, is_kept);
        assert_eq!(disposition == Disposition::TooShort, !is_kept);
        assert_eq!(files(folder.path()).is_empty(), !is_kept);
    }
}

#[test]
fn a_pause_is_a_segment_with_who_and_why_for_the_tenant_that_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut info = (*info(&[OTHER, SYSTEM_TENANT])).clone();
    let third = TenantId(Uuid::from_u128(8));
    info.owners[1].tenant = third;
    info.control = vec![
        note(100, ControlAction::Pause, Some(OTHER)),
        note(300, ControlAction::Resume, Some(OTHER)),
        note(350, ControlAction::Keep, Some(OTHER)),
    ];
    let info = Arc::new(info);
    let pieces: Vec<(Side, u32, u8)> = (0..25)
        .filter(|n| !(5..15).contains(n))
        .flat_map(|n| [(Side::Caller, n, 4), (Side::Callee, n, 5)])
        .collect();
    let outcome = record(
        &settings(folder.path()),
        events(&info, vec![block(0, false, &pieces)], 25),
    );
    for of in &outcome.recordings {
        let (sidecar, path) = of.recording.as_ref().unwrap();
        let is_own = of.tenant == OTHER;
        assert_eq!(sidecar.paused_ms, 200);
        assert_eq!(sidecar.control.len(), if is_own { 3 } else { 2 });
        assert_eq!(sidecar.segments.len(), 2, "{:?}", sidecar.segments);
        for segment in &sidecar.segments {
            assert_eq!(
                (segment.from, segment.to, segment.cause),
                (800, 2400, Cause::Pause)
            );
            assert_eq!(segment.who.as_deref(), is_own.then_some("alice"));
        }
        let frames = frames(&folder.path().join(path));
        assert!(frames[800..2400].iter().all(|frame| *frame == (0, 0)));
        assert_eq!((frames[799].0, frames[2400].1), (linear(4), linear(5)));
    }
}

#[test]
fn a_pause_that_is_told_late_takes_back_what_was_written() {
    for g711 in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            keep_g711: g711,
            ..settings(folder.path())
        };
        let info = info(&[OTHER]);
        let mut recording = begun(&settings, &info);
        let pieces: Vec<(Side, u32, u8)> = (1..27)
            .flat_map(|n| [(Side::Caller, n, 4), (Side::Callee, n, 5)])
            .collect();
        recording.take_block(
            block(0, false, &pieces),
            &info,
            &settings,
            &mut Easel::default(),
        );
        let mut paused = (*info).clone();
        paused.control = vec![note(100, ControlAction::Pause, Some(OTHER))];
        recording.update(&paused, &settings).unwrap();
        let part = files(folder.path());
        let part = part
            .iter()
            .find(|path| path.to_string_lossy().ends_with(".part"));
        assert!(part.is_some());
        paused
            .control
            .push(note(600, ControlAction::Resume, Some(OTHER)));
        recording.update(&paused, &settings).unwrap();
        recording.take_block(
            block(1, false, &[(Side::Caller, 30, 5)]),
            &paused,
            &settings,
            &mut Easel::default(),
        );
        let paused = Arc::new(paused);
        let (mut done, _) = recording.finish(
            &end(&paused, 40),
            &paused,
            &Default::default(),
            &settings,
            &mut Easel::default(),
        );
        let finished = done.finished.remove(0);
        let bytes = std::fs::read(finished.part.path()).unwrap();
        let format = match g711 {
            true => SampleFormat::Ulaw,
            false => SampleFormat::Pcm16,
        };
        let (width, quiet) = match format {
            SampleFormat::Pcm16 => (4, 0),
            _ => (2, 0xff),
        };
        let header = crate::storage::HEADER_LEN as usize;
        let frame = |at: usize| &bytes[header + at * width..header + (at + 1) * width];
        for at in 800..4800 {
            assert!(frame(at).iter().all(|byte| *byte == quiet), "frame {at}");
        }
        assert!(frame(799).iter().any(|byte| *byte != quiet));
        assert!(frame(4800).iter().any(|byte| *byte != quiet));
    }
}

#[test]
fn a_run_killed_in_a_pause_leaves_the_pause_in_the_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let info = info(&[OTHER]);
    let mut recording = begun(&settings, &info);
    let mut paused = (*info).clone();
    paused.control = vec![
        note(5, ControlAction::Pause, None),
        note(10, ControlAction::Resume, None),
        note(15, ControlAction::Pause, None),
    ];
    recording.update(&paused, &settings).unwrap();
    let interim = Sidecar::read(&{
        let all = files(folder.path());
        all.into_iter()
            .find(|path| path.to_string_lossy().ends_with("json.part"))
            .unwrap()
    })
    .unwrap();
    assert_eq!(interim.segments.last().unwrap().to, u64::MAX, "it lasts");
    drop(recording);
    let recovered = recover(&settings);
    let (sidecar, _) = &recovered.recordings[0];
    assert_eq!(sidecar.control.len(), 3);
    let pauses: Vec<(u64, u64)> = sidecar
        .segments
        .iter()
        .filter(|s| s.cause == Cause::Pause && s.side == Side::Callee)
        .map(|s| (s.from, s.to))
        .collect();
    assert_eq!(pauses, [(40, 80), (120, 4096)]);
    assert_eq!(sidecar.paused_ms, (40 + 3976) / 8);
}

#[test]
fn keys_are_masked_unless_the_tenant_wants_them() {
    for (digits, key) in [(Digits::Mask, 'x'), (Digits::Keep, '7')] {
        let folder = tempfile::tempdir().unwrap();
        let info = with(&info(&[OTHER]), |owner| owner.recording.digits = digits);
        let mut events = events(&info, vec![block(0, false, &[(Side::Caller, 0, 4)])], 4);
        if let Some(Event::Ended(end)) = events.last_mut() {
            end.digits.push(Digit {
                by: Side::Caller,
                at: START,
                key: '7',
            });
        }
        let outcome = record(&settings(folder.path()), events);
        let (sidecar, _) = only_recording(&outcome);
        assert_eq!(sidecar.digits[0].key, key);
        assert_eq!(sidecar.digits_masked, digits == Digits::Mask);
    }
}

#[test]
fn signalling_lies_beside_the_recording_of_the_tenant_that_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let info = with(&info(&[OTHER, SYSTEM_TENANT]), |owner| {
        owner.recording.signalling = owner.tenant == OTHER;
    });
    let mut events = events(&info, vec![block(0, false, &[(Side::Caller, 0, 4)])], 4);
    let text = "INFO sip:a@b SIP/2.0\r\nAuthorization: Digest response=\"5ecret\"\r\n\
                Content-Type: application/dtmf-relay\r\nContent-Length: 10\r\n\r\nSignal=7\r\n";
    let flow = Flow {
        source: Endpoint::v4([10, 0, 0, 1], 5060),
        destination: Endpoint::v4([10, 0, 0, 2], 5060),
        ..Flow::default()
    };
    let message = SignallingMessage {
        at: START,
        flow,
        bytes: text.as_bytes().into(),
    };
    events.insert(
        1,
        Event::Signalling {
            call: CALL,
            message: Box::new(message),
        },
    );
    let outcome = record(&settings, events);
    for of in &outcome.recordings {
        let (sidecar, path) = of.recording.as_ref().unwrap();
        let pcap = folder.path().join(path).with_extension("pcap");
        assert_eq!(pcap.exists(), of.tenant == OTHER);
        assert_eq!(sidecar.signalling.is_some(), of.tenant == OTHER);
        if let Some(signalling) = &sidecar.signalling {
            let bytes = std::fs::read(&pcap).unwrap();
            assert_eq!(bytes.len() as u64, signalling.size_bytes);
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains("Signal=x") && !text.contains("5ecret"));
            assert_eq!(
                pcap.file_name().unwrap().to_str(),
                Some(signalling.file.as_str())
            );
        }
    }
    let layout = Layout::new(folder.path());
    let found = layout.walk(|_, error| panic!("{error}"));
    let part = found
        .iter()
        .filter(|(_, kind)| *kind == Kind::SignallingPart);
    assert_eq!(part.count(), 0);
}
