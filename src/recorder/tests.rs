//! Recordings from events, read back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use smallvec::{SmallVec, smallvec};
use uuid::Uuid;

use super::easel::Easel;
use super::recording::Recording;
use super::{CallOutcome, Recorder, Settings, WhenFull, recover};
use crate::base::{InteractionId, PerSide, SYSTEM_TENANT, Side, TenantId, Timestamp, Vantage};
use crate::codec::{Codec, PayloadFormat, ULAW_TO_LINEAR};
use crate::directory::{CallFacts, Directory};
use crate::engine::event::{
    Block, CallEnd, CallInfo, Disposition, EndReason, Event, Ownership, Party, Piece, Sink,
    Suspicious,
};
use crate::engine::plan::CallKey;
use crate::storage::{Cause, HEADER_LEN, Layout, SampleFormat, Sidecar};

pub(super) const START: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);
pub(super) const CALL: CallKey = CallKey(1);
pub(super) const OTHER: TenantId = TenantId(Uuid::from_u128(7));

pub(super) fn settings(root: &Path) -> Settings {
    Settings {
        layout: Layout::new(root),
        encrypt_all: false,
        keep_g711: false,
        sensor: "test".into(),
        interfaces: vec!["span0".into()].into(),
        threads: 1,
        queue_events: 16,
        when_full: WhenFull::Wait,
        storage_low: Arc::new(AtomicBool::new(false)),
        raw_max_bytes: 1 << 20,
        raw: Arc::default(),
        afterwards: None,
        signalling_bytes: Arc::default(),
    }
}

pub(crate) fn info(tenants: &[TenantId]) -> Arc<CallInfo> {
    let nowhere = "10.0.0.1".parse().unwrap();
    let attribution = Directory::empty().attribute(&CallFacts {
        sensor: "test",
        interface: "span0",
        vlans: &[],
        caller_address: nowhere,
        callee_address: nowhere,
        caller: &[],
        callee: &[],
        headers: &|_| None,
        tunnels: crate::base::Tunnels::NONE,
    });
    let owners: SmallVec<[Ownership; 2]> = tenants
        .iter()
        .map(|&tenant| {
            let sides = PerSide {
                caller: true,
                callee: false,
            };
            Ownership::new(tenant, "Some tenant".into(), sides)
        })
        .collect();
    Arc::new(CallInfo {
        call_id: "call".into(),
        interaction: InteractionId(Uuid::nil()),
        vantage: Vantage::default(),
        invite_at: START,
        answered_at: None,
        replaces: None,
        transfers: Vec::new(),
        parties: PerSide {
            caller: Party::default(),
            callee: Party::default(),
        },
        attribution: Arc::new(attribution),
        owners,
        seed: [7; 32],
        links: Vec::new(),
        participants: Vec::new(),
        control: Vec::new(),
        held_by: PerSide::default(),
    })
}

/// A block with pieces of 160 bytes PCMU: side, number of the packet (which is also its place, in packets), fill.
pub(super) fn block(index: u64, late: bool, pieces: &[(Side, u32, u8)]) -> Block {
    let mut sides = PerSide::<Vec<Piece>>::default();
    let mut bytes = Vec::new();
    for &(side, number, fill) in pieces {
        let offset = bytes.len() as u32;
        bytes.extend([fill; 160]);
        let position = i64::from(number) * 160;
        sides[side].push(Piece {
            position,
            number,
            offset,
            len: 160,
            chunk: 0,
            stream: 0,
            format: 0,
        });
    }
    let format = PayloadFormat {
        payload_type: 0,
        codec: Codec::Pcmu,
        clock_rate_hz: 8000,
    };
    Block {
        index,
        late,
        dropped_before: 0,
        sides,
        headers: PerSide::default(),
        chunks: smallvec![Arc::new(bytes)],
        formats: Arc::new(vec![format]),
    }
}

pub(super) fn end(info: &Arc<CallInfo>, packets: u64) -> Box<CallEnd> {
    Box::new(CallEnd {
        call: CALL,
        info: info.clone(),
        ended_at: START,
        reason: EndReason::Bye { by: Side::Caller },
        status: None,
        disposition: Disposition::Recorded,
        length_samples: packets * 160,
        streams: Vec::new(),
        holds: Vec::new(),
        digits: Vec::new(),
        dropped_before: 0,
        suspicious: Suspicious::default(),
        signalling_omitted: 0,
        may_send: PerSide::default(),
    })
}

/// Runs events through a recorder and gives what became of the call.
pub(super) fn record(settings: &Settings, events: Vec<Event>) -> CallOutcome {
    let (sender, outcomes) = channel();
    let mut recorder = Recorder::start(settings.clone(), move |outcome| {
        sender.send(outcome).unwrap()
    })
    .unwrap();
    events.into_iter().for_each(|event| recorder.event(event));
    recorder.finish();
    outcomes.recv().unwrap()
}

pub(super) fn events(info: &Arc<CallInfo>, blocks: Vec<Block>, packets: u64) -> Vec<Event> {
    let mut events = vec![
        Event::Call {
            call: CALL,
            info: info.clone(),
        },
        Event::Recording {
            call: CALL,
            start: START,
            sample_rate_hz: 8000,
        },
    ];
    events.extend(
        blocks
            .into_iter()
            .map(|block| Event::Block { call: CALL, block }),
    );
    events.push(Event::Ended(end(info, packets)));
    events
}

/// Frames of a PCM file as hound reads it.
pub(super) fn frames(path: &Path) -> Vec<(i16, i16)> {
    let mut reader = hound::WavReader::open(path).unwrap();
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    samples
        .chunks(2)
        .map(|frame| (frame[0], frame[1]))
        .collect()
}

pub(super) fn only_recording(outcome: &CallOutcome) -> (&Sidecar, &str) {
    assert_eq!(outcome.recordings.len(), 1);
    let (sidecar, path) = outcome.recordings[0]
        .recording
        .as_ref()
        .expect("it was recorded");
    (sidecar, path)
}

fn linear(fill: u8) -> i16 {
    ULAW_TO_LINEAR[usize::from(fill)]
}

#[test]
fn sides_are_channels_and_a_lost_packet_is_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let pieces = [
        (Side::Caller, 0, 1),
        (Side::Caller, 2, 1),
        (Side::Callee, 1, 2),
        (Side::Callee, 2, 2),
    ];
    let outcome = record(
        &settings(folder.path()),
        events(&info, vec![block(0, false, &pieces)], 4),
    );
    let (sidecar, path) = only_recording(&outcome);
    let frames = frames(&folder.path().join(path));
    let expected = [
        (linear(1), 0),
        (0, linear(2)),
        (linear(1), linear(2)),
        (0, 0),
    ];
    for (n, expected) in expected.iter().enumerate() {
        assert!(
            frames[n * 160..(n + 1) * 160]
                .iter()
                .all(|frame| frame == expected),
            "packet {n}"
        );
    }
    let segments: Vec<_> = sidecar
        .segments
        .iter()
        .map(|s| (s.side, s.from, s.to, s.cause))
        .collect();
    let expected = [
        (Side::Callee, 0, 160, Cause::NoMedia),
        (Side::Caller, 160, 320, Cause::Loss),
        (Side::Caller, 480, 640, Cause::NoMedia),
        (Side::Callee, 480, 640, Cause::NoMedia),
    ];
    assert_eq!(segments, expected);
    assert_eq!((sidecar.samples, frames.len()), (640, 640));
}

#[test]
fn a_late_packet_is_patched_in_and_its_gap_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let all: Vec<(Side, u32, u8)> = (0..60).map(|n| (Side::Caller, n, 3)).collect();
    let (first, rest): (Vec<_>, Vec<_>) = all
        .iter()
        .filter(|(_, n, _)| *n != 5)
        .partition(|(_, n, _)| *n < 26);
    let blocks = vec![
        block(0, false, &first),
        block(0, true, &[(Side::Caller, 5, 3)]),
        block(1, false, &rest),
    ];
    let outcome = record(&settings(folder.path()), events(&info, blocks, 60));
    let (sidecar, path) = only_recording(&outcome);
    assert!(
        frames(&folder.path().join(path))
            .iter()
            .all(|frame| *frame == (linear(3), 0))
    );
    assert!(
        sidecar
            .segments
            .iter()
            .all(|segment| segment.cause != Cause::Loss),
        "{:?}",
        sidecar.segments
    );
}

#[test]
fn wire_bytes_are_kept_and_holes_are_silence() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let settings = Settings {
        keep_g711: true,
        ..settings(folder.path())
    };
    let blocks = vec![
        block(0, false, &[(Side::Caller, 0, 0x7f)]),
        block(4, false, &[(Side::Callee, 110, 0x7f)]),
    ];
    let outcome = record(&settings, events(&info, blocks, 200));
    let (sidecar, path) = only_recording(&outcome);
    assert_eq!(sidecar.format, SampleFormat::Ulaw);
    let bytes = std::fs::read(folder.path().join(path)).unwrap();
    let frames: Vec<&[u8]> = bytes[HEADER_LEN as usize..].chunks(2).collect();
    assert_eq!(frames.len(), 200 * 160);
    for (n, frame) in frames.iter().enumerate() {
        let expected = match n / 160 {
            0 => [0x7f, 0xff],
            110 => [0xff, 0x7f],
            _ => [0xff, 0xff],
        };
        assert_eq!(*frame, expected, "frame {n}");
    }
}

#[test]
fn two_owners_get_a_file_each_with_the_same_audio() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, both) = (info(&[SYSTEM_TENANT]), info(&[SYSTEM_TENANT, OTHER]));
    let mut events = events(&both, vec![block(1, false, &[(Side::Callee, 30, 5)])], 60);
    // The second owner is known only after the first block was written.
    events[0] = Event::Call {
        call: CALL,
        info: alone,
    };
    events.insert(
        2,
        Event::Block {
            call: CALL,
            block: block(0, false, &[(Side::Caller, 0, 4)]),
        },
    );
    events.insert(
        3,
        Event::Call {
            call: CALL,
            info: both,
        },
    );
    let outcome = record(&settings(folder.path()), events);
    let paths: Vec<&str> = outcome
        .recordings
        .iter()
        .map(|r| r.recording.as_ref().unwrap().1.as_str())
        .collect();
    assert!(
        paths[0].starts_with(&SYSTEM_TENANT.to_string())
            && paths[1].starts_with(&OTHER.to_string()),
        "{paths:?}"
    );
    let audio = paths
        .iter()
        .map(|path| frames(&folder.path().join(path)))
        .collect::<Vec<_>>();
    assert_eq!(audio[0], audio[1]);
    assert_eq!(
        (audio[0][0], audio[0][30 * 160]),
        ((linear(4), 0), (0, linear(5)))
    );
}

#[test]
fn a_file_follows_its_call_to_another_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (info(&[SYSTEM_TENANT]), info(&[OTHER]));
    let mut events = events(&after, vec![], 30);
    events[0] = Event::Call {
        call: CALL,
        info: before,
    };
    events.insert(
        2,
        Event::Block {
            call: CALL,
            block: block(0, false, &[(Side::Caller, 0, 4)]),
        },
    );
    events.insert(
        3,
        Event::Call {
            call: CALL,
            info: after,
        },
    );
    let outcome = record(&settings(folder.path()), events);
    let (sidecar, path) = only_recording(&outcome);
    assert_eq!(sidecar.tenant_id, OTHER);
    assert_eq!(frames(&folder.path().join(path))[0], (linear(4), 0));
    assert_eq!(
        files(folder.path()).len(),
        2,
        "audio and sidecar, and nothing in the first tenant's partition"
    );
}

#[test]
fn a_storage_without_room_costs_audio_that_is_counted_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let settings = settings(folder.path());
    let mut easel = Easel::default();
    let mut recording = Recording::new(START, 8000);
    let packet = |n: u32| [(Side::Caller, n, 4)];
    settings.storage_low.store(true, Ordering::Relaxed);
    let trouble = recording.take_block(block(0, false, &packet(0)), &info, &settings, &mut easel);
    assert!(trouble.error.is_some_and(|error| error.is_full()));
    assert_eq!(trouble.packets, 1);
    settings.storage_low.store(false, Ordering::Relaxed);
    let trouble = recording.take_block(block(1, false, &packet(30)), &info, &settings, &mut easel);
    assert!(trouble.error.is_none() && trouble.recovered);
    let messages = Default::default();
    let (done, _) = recording.finish(&end(&info, 60), &info, &messages, &settings, &mut easel);
    let sidecar = &done.finished[0].sidecar;
    assert_eq!(sidecar.packets_dropped, 1);
    let outages = sidecar
        .segments
        .iter()
        .filter(|segment| segment.cause == Cause::Storage);
    assert!(
        outages
            .clone()
            .all(|segment| (segment.from, segment.to) == (0, 4096))
    );
    assert_eq!(outages.count(), 2);
}

#[test]
fn what_a_killed_run_left_is_finished_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let settings = settings(folder.path());
    let mut easel = Easel::default();
    let mut recording = Recording::new(START, 8000);
    recording.take_block(
        block(0, false, &[(Side::Caller, 0, 4)]),
        &info,
        &settings,
        &mut easel,
    );
    drop(recording);
    let recovered = recover(&settings);
    assert!(recovered.failed.is_empty(), "{:?}", recovered.failed);
    let (sidecar, path) = &recovered.recordings[0];
    assert_eq!(sidecar.end_reason.as_deref(), Some("recovered"));
    assert_eq!((sidecar.call_id.as_str(), sidecar.samples), ("call", 4096));
    assert_eq!(frames(&folder.path().join(path)).len(), 4096);
    assert_eq!(files(folder.path()).len(), 2);
    assert!(
        recover(&settings).recordings.is_empty(),
        "there is nothing left to do"
    );
}

#[test]
fn recovery_needs_no_sidecar_and_survives_rubbish() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let settings = settings(folder.path());
    let mut easel = Easel::default();
    let mut recording = Recording::new(START, 8000);
    recording.take_block(
        block(0, false, &[(Side::Caller, 0, 4)]),
        &info,
        &settings,
        &mut easel,
    );
    drop(recording);
    let interim = files(folder.path())
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with("json.part"))
        .unwrap();
    std::fs::write(&interim, b"{\"version\":").unwrap();
    let part = interim.to_string_lossy().replace("json.part", "wav.part");
    let other = |id: &str| part.replace(&part[part.len() - 45..part.len() - 9], id);
    // A file that was only just created, and one whose header never reached the disk.
    std::fs::write(other("01a0e0f2-0000-7000-8000-000000000001"), b"").unwrap();
    std::fs::write(other("01a0e0f2-0000-7000-8000-000000000002"), vec![0; 9000]).unwrap();
    let recovered = recover(&settings);
    assert_eq!(
        (
            recovered.recordings.len(),
            recovered.empty,
            recovered.failed.len()
        ),
        (1, 1, 1)
    );
    let sidecar = &recovered.recordings[0].0;
    assert_eq!((sidecar.tenant_id, sidecar.samples), (SYSTEM_TENANT, 4096));
    assert_eq!(sidecar.started_at_ns / 1_000_000, START.as_millis());
}

/// All files under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found
}

/// The last packet before a pause was lost: that much is loss, and the pause is a pause.
#[test]
fn loss_before_a_pause_is_as_long_as_the_packets_that_were_lost() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let info = info(&[SYSTEM_TENANT]);
    // Two packets and the first after the pause; of the numbers between them two are missing.
    let mut after = block(1, false, &[(Side::Caller, 40, 3)]);
    after.sides.caller[0].number = 4;
    let events = vec![
        Event::Call {
            call: CALL,
            info: info.clone(),
        },
        Event::Recording {
            call: CALL,
            start: START,
            sample_rate_hz: 8000,
        },
        Event::Block {
            call: CALL,
            block: block(0, false, &[(Side::Caller, 0, 1), (Side::Caller, 1, 2)]),
        },
        Event::Block {
            call: CALL,
            block: after,
        },
        Event::Ended(end(&info, 41)),
    ];
    let outcome = record(&settings, events);
    let (sidecar, _) = outcome.recordings[0].recording.as_ref().unwrap();
    let of_caller = sidecar.segments.iter().filter(|s| s.side == Side::Caller);
    let found: Vec<_> = of_caller
        .map(|s| (s.from / 160, s.to / 160, s.cause))
        .collect();
    assert_eq!(found, [(2, 4, Cause::Loss), (4, 40, Cause::NoMedia)]);
}

/// What a held call gives back it takes again: the file is the same.
#[test]
fn a_recording_that_rested_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let audio = |rests: bool, keep_g711: bool, name: &str| {
        let settings = Settings {
            keep_g711,
            ..settings(&folder.path().join(name))
        };
        let mut easel = Easel::default();
        let mut recording = Recording::new(START, 8000);
        // The last packet of the first block hangs over into the next.
        let first = [(Side::Caller, 0, 1), (Side::Callee, 25, 2)];
        for (index, pieces) in [
            (0, &first[..]),
            (1, &[(Side::Caller, 26, 3)]),
            (9, &[(Side::Callee, 231, 4)]),
        ] {
            let trouble =
                recording.take_block(block(index, false, pieces), &info, &settings, &mut easel);
            assert!(trouble.error.is_none(), "{trouble:?}");
            if rests {
                recording.rest(std::time::Instant::now());
                recording.rest(std::time::Instant::now());
            }
        }
        recording.take_block(
            block(1, true, &[(Side::Callee, 27, 5)]),
            &info,
            &settings,
            &mut easel,
        );
        let messages = Default::default();
        let (done, _) = recording.finish(&end(&info, 240), &info, &messages, &settings, &mut easel);
        std::fs::read(done.finished[0].part.path()).unwrap()
    };
    assert!(audio(true, false, "a") == audio(false, false, "b"));
    assert!(audio(true, true, "c") == audio(false, true, "d"));
}

#[test]
fn a_call_that_passes_to_another_tenant_is_silent_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut info = info(&[SYSTEM_TENANT]);
    // In the middle of the third packet.
    let until = START + std::time::Duration::from_millis(50);
    Arc::make_mut(&mut info).owners[0].until = Some(until);
    let all: Vec<(Side, u32, u8)> = (0..26).map(|n| (Side::Caller, n, 3)).collect();
    let blocks = vec![
        block(0, false, &all),
        block(0, true, &[(Side::Callee, 1, 4), (Side::Callee, 20, 4)]),
    ];
    let outcome = record(&settings(folder.path()), events(&info, blocks, 26));
    let (sidecar, path) = only_recording(&outcome);
    let frames = frames(&folder.path().join(path));
    assert_eq!(frames.len(), 26 * 160);
    for (n, frame) in frames.iter().enumerate() {
        let callee = if n / 160 == 1 { linear(4) } else { 0 };
        let expected = if n < 400 { (linear(3), callee) } else { (0, 0) };
        assert_eq!(*frame, expected, "frame {n}");
    }
    let withheld: Vec<_> = sidecar
        .segments
        .iter()
        .filter(|segment| segment.to > 400)
        .map(|s| (s.side, s.from, s.to, s.cause))
        .collect();
    let expected = Side::BOTH.map(|side| (side, 400, 26 * 160, Cause::NotOwned));
    assert_eq!(withheld, expected);
}

#[path = "control_tests.rs"]
mod control;
