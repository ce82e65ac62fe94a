//! Recordings that are encrypted where they rest: the same as others, for who has the key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::easel::Easel;
use super::raw_tests::with_evs;
use super::recording::Recording;
use super::tests::{CALL, OTHER, START, block, end, events, info, record, settings};
use super::{Settings, recover};
use crate::base::{Endpoint, Flow, SYSTEM_TENANT, Side, TenantId};
use crate::engine::event::{Block, CallInfo, Event, SignallingMessage};
use crate::storage::{
    Cause, Keys, Kind, Layout, RawReader, RawScale, RecordingName, Sidecar, StoredFile,
    read_wav_info,
};

fn with_keys(root: &Path) -> Settings {
    let keys = Arc::new(Keys::at(root.join("recordings.key")));
    let mut settings = settings(&root.join("storage"));
    settings.layout = settings.layout.with_keys(keys);
    settings
}

/// A call of these tenants, some of which encrypt.
fn owned(tenants: &[(TenantId, bool)]) -> Arc<CallInfo> {
    let ids: Vec<TenantId> = tenants.iter().map(|(tenant, _)| *tenant).collect();
    let mut info = (*info(&ids)).clone();
    for (owner, (_, encrypted)) in info.owners.iter_mut().zip(tenants) {
        owner.recording.encrypted = *encrypted;
        owner.recording.signalling = true;
    }
    Arc::new(info)
}

/// Speech with holes, a late packet in one of them, and packets that nobody decodes.
fn blocks() -> Vec<Block> {
    let speech = |first: u32, fill: u8| -> Vec<(Side, u32, u8)> {
        let both = |n: u32| {
            [
                (Side::Caller, n, fill + (n % 50) as u8),
                (Side::Callee, n, fill),
            ]
        };
        (first..first + 20).flat_map(both).collect()
    };
    let raw = [
        (Side::Callee, 52, &b"undecoded words"[..]),
        (Side::Callee, 53, b"others"),
    ];
    vec![
        block(0, false, &speech(0, 4)),
        with_evs(block(2, false, &speech(52, 60)), &raw),
        block(0, true, &[(Side::Caller, 22, 9)]),
        block(9, false, &speech(231, 100)),
    ]
}

fn message() -> Event {
    let text = "INFO sip:somebody@example.com SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    let message = SignallingMessage {
        at: START,
        flow: Flow {
            source: Endpoint::v4([10, 0, 0, 1], 5060),
            destination: Endpoint::v4([10, 0, 0, 2], 5060),
            ..Flow::default()
        },
        bytes: text.as_bytes().into(),
    };
    Event::Signalling {
        call: CALL,
        message: Box::new(message),
    }
}

const KINDS: [Kind; 4] = [Kind::Audio, Kind::Sidecar, Kind::Raw, Kind::Signalling];

fn content(layout: &Layout, name: &RecordingName, kind: Kind) -> Vec<u8> {
    let file = StoredFile::open(layout, name, kind).unwrap();
    file.read_to_end().unwrap()
}

fn names(layout: &Layout) -> Vec<(RecordingName, Kind)> {
    layout.walk(|path, error| panic!("{}: {error}", path.display()))
}

fn name_of(layout: &Layout, tenant: TenantId, kind: Kind) -> RecordingName {
    let all = names(layout);
    let found = all
        .iter()
        .find(|(name, of)| name.tenant == tenant && *of == kind);
    found.unwrap_or_else(|| panic!("{all:?}")).0
}

fn is_encrypted(path: PathBuf) -> bool {
    std::fs::read(path).unwrap().starts_with(b"callreel-sealed")
}

#[test]
fn who_encrypts_has_the_same_recording_as_who_does_not() {
    for companded in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = with_keys(folder.path());
        settings.keep_g711 = companded;
        let info = owned(&[(SYSTEM_TENANT, false), (OTHER, true)]);
        let mut all = events(&info, blocks(), 260);
        all.insert(1, message());
        record(&settings, all);
        let layout = &settings.layout;
        let plain = name_of(layout, SYSTEM_TENANT, Kind::Audio);
        let sealed = name_of(layout, OTHER, Kind::Audio);
        for kind in KINDS {
            assert!(!is_encrypted(layout.path(&plain, kind)), "{kind:?}");
            assert!(is_encrypted(layout.path(&sealed, kind)), "{kind:?}");
            if kind != Kind::Sidecar {
                let (one, other) = (
                    content(layout, &plain, kind),
                    content(layout, &sealed, kind),
                );
                assert!(one == other, "{kind:?}, {companded}");
            }
        }
        let sidecar = Sidecar::load(layout, &sealed, Kind::Sidecar).unwrap();
        let audio = StoredFile::open(layout, &sealed, Kind::Audio).unwrap();
        assert!(sidecar.encrypted_at_rest && read_wav_info(&audio).unwrap().complete);
        assert_eq!(audio.size_bytes().unwrap(), sidecar.size_bytes);
        assert!(
            !Sidecar::load(layout, &plain, Kind::Sidecar)
                .unwrap()
                .encrypted_at_rest
        );
        let left = names(layout)
            .into_iter()
            .filter(|(_, kind)| !KINDS.contains(kind));
        assert_eq!(left.count(), 0);
    }
}

#[test]
fn everybodys_are_encrypted_where_it_is_written_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = with_keys(folder.path());
    settings.encrypt_all = true;
    let info = owned(&[(SYSTEM_TENANT, false)]);
    record(&settings, events(&info, blocks(), 260));
    let all = names(&settings.layout);
    assert!(
        all.iter()
            .all(|(name, kind)| is_encrypted(settings.layout.path(name, *kind)))
    );
    assert_eq!(all.len(), 3);
}

/// A call that turns out to be others' before its last block.
fn passing(first: &Arc<CallInfo>, second: &Arc<CallInfo>) -> Vec<Event> {
    let mut all = events(first, blocks(), 260);
    let (last, over) = (all.remove(all.len() - 2), end(second, 260));
    all.pop();
    let info = second.clone();
    all.extend([Event::Call { call: CALL, info }, last, Event::Ended(over)]);
    all
}

#[test]
fn a_file_that_follows_its_call_is_as_its_new_tenant_has_it() {
    for (before, after) in [(false, true), (true, false), (true, true)] {
        let folder = tempfile::tempdir().unwrap();
        let settings = with_keys(folder.path());
        let first = owned(&[(SYSTEM_TENANT, before)]);
        let second = owned(&[(OTHER, after)]);
        let outcome = record(&settings, passing(&first, &second));
        let (sidecar, _) = outcome.recordings[0].recording.as_ref().unwrap();
        assert_eq!(
            (sidecar.tenant_id, sidecar.encrypted_at_rest),
            (OTHER, after)
        );
        let layout = &settings.layout;
        let name = name_of(layout, OTHER, Kind::Audio);
        assert!(names(layout).iter().all(|(name, _)| name.tenant == OTHER));
        let on_disk = [Kind::Audio, Kind::Sidecar, Kind::Raw].map(|kind| layout.path(&name, kind));
        assert!(on_disk.into_iter().all(|path| is_encrypted(path) == after));
        // The same as of a call that was this tenant's from the first packet on.
        let plain = tempfile::tempdir().unwrap();
        let whole = with_keys(plain.path());
        let info = owned(&[(OTHER, false)]);
        record(&whole, events(&info, blocks(), 260));
        let expected = name_of(&whole.layout, OTHER, Kind::Audio);
        for kind in [Kind::Audio, Kind::Raw] {
            let found = content(layout, &name, kind);
            assert!(
                found == content(&whole.layout, &expected, kind),
                "{before} to {after}"
            );
        }
    }
}

/// A recording that was broken off.
fn broken_off(settings: &Settings) -> RecordingName {
    let info = owned(&[(SYSTEM_TENANT, true)]);
    let mut easel = Easel::default();
    let mut recording = Recording::new(START, 8000);
    for block in blocks() {
        recording.take_block(block, &info, settings, &mut easel);
    }
    drop(recording);
    name_of(&settings.layout, SYSTEM_TENANT, Kind::AudioPart)
}

#[test]
fn what_a_killed_run_left_encrypted_is_finished_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with_keys(folder.path());
    let name = broken_off(&settings);
    let layout = &settings.layout;
    let written = content(layout, &name, Kind::AudioPart);
    let recovered = recover(&settings);
    assert!(recovered.failed.is_empty(), "{:?}", recovered.failed);
    let (sidecar, _) = &recovered.recordings[0];
    assert!(sidecar.encrypted_at_rest && sidecar.call_id == "call");
    assert_eq!(sidecar.end_reason.as_deref(), Some("recovered"));
    let audio = StoredFile::open(layout, &name, Kind::Audio).unwrap();
    assert!(read_wav_info(&audio).unwrap().complete);
    assert!(audio.read_to_end().unwrap()[4096..] == written[4096..]);
    for kind in [Kind::Audio, Kind::Sidecar, Kind::Raw] {
        assert!(is_encrypted(layout.path(&name, kind)), "{kind:?}");
    }
    let raw = StoredFile::open(layout, &name, Kind::Raw).unwrap();
    let scale = RawScale {
        start: START,
        sample_rate_hz: 8000,
    };
    let mut reader = RawReader::of(&raw, scale).unwrap();
    let first = reader.next_packet().unwrap().unwrap();
    assert_eq!(
        (first.position, first.payload),
        (52 * 160, &b"undecoded words"[..])
    );
}

#[test]
fn half_written_chunks_are_silence_that_is_told_even_in_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with_keys(folder.path());
    let name = broken_off(&settings);
    let layout = &settings.layout;
    let path = layout.path(&name, Kind::AudioPart);
    let mut on_disk = std::fs::read(&path).unwrap();
    for chunk in [0, 3] {
        on_disk[chunk * 4096 + 700..chunk * 4096 + 900].fill(0);
    }
    std::fs::write(&path, on_disk).unwrap();
    let recovered = recover(&settings);
    assert!(recovered.failed.is_empty(), "{:?}", recovered.failed);
    let (sidecar, _) = &recovered.recordings[0];
    let lost: Vec<_> = (sidecar.segments.iter())
        .filter(|segment| segment.cause == Cause::Storage && segment.side == Side::Caller)
        .collect();
    let [lost] = lost[..] else {
        panic!("{:?}", sidecar.segments)
    };
    // The third chunk of 4,068 bytes behind the first, which is shorter by the file's own header.
    let begin = 3940 + 2 * 4068 - 4096;
    assert_eq!((lost.from, lost.to), (begin / 4, (begin + 4068) / 4));
    let audio = StoredFile::open(layout, &name, Kind::Audio).unwrap();
    assert!(read_wav_info(&audio).unwrap().complete);
    let bytes = audio.read_to_end().unwrap();
    let lost = (4096 + begin) as usize;
    assert!(bytes[lost..lost + 4068].iter().all(|byte| *byte == 0));
    assert!(bytes[lost - 4..lost].iter().any(|byte| *byte != 0));
}

#[test]
fn without_its_key_a_broken_off_recording_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with_keys(folder.path());
    let name = broken_off(&settings);
    let key = folder.path().join("recordings.key");
    std::fs::rename(&key, folder.path().join("elsewhere")).unwrap();
    let without = with_keys(folder.path());
    let recovered = recover(&without);
    assert!(recovered.recordings.is_empty() && recovered.failed.len() == 1);
    assert!(recovered.failed[0].to_string().contains("its key"));
    assert!(without.layout.path(&name, Kind::AudioPart).exists());
    std::fs::rename(folder.path().join("elsewhere"), key).unwrap();
    assert_eq!(recover(&without).recordings.len(), 1);
}

#[test]
fn a_call_that_cannot_be_encrypted_is_not_written_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = with_keys(folder.path());
    let keys = Arc::new(Keys::at("/nowhere/recordings.key"));
    settings.layout = Layout::new(folder.path().join("storage")).with_keys(keys);
    let info = owned(&[(SYSTEM_TENANT, true)]);
    let outcome = record(&settings, events(&info, blocks(), 260));
    assert!(outcome.recordings[0].recording.is_none());
    assert!(!settings.layout.root().exists());
}

#[test]
fn a_call_that_cannot_be_moved_to_whose_it_is_stays_nobodys() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = with_keys(folder.path());
    let keys = Arc::new(Keys::at("/nowhere/recordings.key"));
    settings.layout = Layout::new(folder.path().join("storage")).with_keys(keys);
    let (first, second) = (owned(&[(SYSTEM_TENANT, false)]), owned(&[(OTHER, true)]));
    let outcome = record(&settings, passing(&first, &second));
    assert!(outcome.recordings.iter().all(|of| of.recording.is_none()));
    assert_eq!(names(&settings.layout), []);
}

#[test]
fn half_written_packets_cost_what_is_behind_them_and_not_the_audio() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with_keys(folder.path());
    let name = broken_off(&settings);
    let layout = &settings.layout;
    let path = layout.path(&name, Kind::RawPart);
    let mut on_disk = std::fs::read(&path).unwrap();
    let end = on_disk.len();
    on_disk[end - 30..].fill(0);
    std::fs::write(&path, on_disk).unwrap();
    let recovered = recover(&settings);
    assert!(recovered.failed.is_empty(), "{:?}", recovered.failed);
    let (sidecar, _) = &recovered.recordings[0];
    // All of them lay in that chunk.
    assert!(sidecar.raw.is_none() && sidecar.samples > 0);
    assert!(!layout.path(&name, Kind::Raw).exists());
}

#[test]
fn a_key_that_is_missing_for_a_while_is_a_loss_of_its_tenant_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = with_keys(folder.path());
    let of_keys = folder.path().join("not mounted");
    let keys = Arc::new(Keys::at(of_keys.join("recordings.key")));
    settings.layout = Layout::new(folder.path().join("storage")).with_keys(keys);
    let info = owned(&[(SYSTEM_TENANT, false), (OTHER, true)]);
    let mut easel = Easel::default();
    let mut recording = Recording::new(START, 8000);
    for block in blocks() {
        if block.index == 2 {
            std::fs::create_dir(&of_keys).unwrap();
        }
        let trouble = recording.take_block(block, &info, &settings, &mut easel);
        assert_eq!(trouble.packets, 0, "each is in a file");
    }
    let messages = Default::default();
    let over = end(&info, 260);
    let (done, _) = recording.finish(&over, &info, &messages, &settings, &mut easel);
    let told = |tenant| {
        let of = done.finished.iter().find(|of| of.tenant == tenant).unwrap();
        let segments = of.sidecar.segments.iter();
        let lost = segments.filter(|segment| segment.cause == Cause::Storage);
        let lost: Vec<_> = lost.map(|segment| (segment.from, segment.to)).collect();
        (of.sidecar.packets_dropped, lost)
    };
    assert_eq!(told(SYSTEM_TENANT), (0, Vec::new()));
    // The first block: both sides, twenty packets each.
    assert_eq!(told(OTHER), (40, vec![(0, 4096), (0, 4096)]));
}
