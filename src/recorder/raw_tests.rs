//! Packets that nobody decodes, read back from beside their recordings.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::easel::Easel;
use super::recording::Recording;
use super::tests::{
    CALL, OTHER, START, block, end, events, info, only_recording, record, settings,
};
use super::{Settings, recover};
use crate::base::{Endpoint, SYSTEM_TENANT, Side, TenantId};
use crate::codec::PayloadFormat;
use crate::engine::event::{Block, Disposition, Event, Piece, RawHeader};
use crate::engine::quality::tests::stream;
use crate::storage::{Cause, RawReader, RawScale, RawState, Sidecar, StoredFile};

fn header(number: u32, payload_type: u8) -> RawHeader {
    RawHeader {
        source: Endpoint::v4([10, 0, 0, 1], 4000),
        destination: Endpoint::v4([10, 0, 0, 2], 5000),
        ssrc: u32::from(payload_type),
        timestamp: number * 960,
        marker: number == 0,
        fmtp: Some("br=13.2".into()),
    }
}

/// Adds packets of EVS to a block: side, number (which is also the place, in packets of 20 ms), and payload.
pub(super) fn with_evs(mut block: Block, packets: &[(Side, u32, &[u8])]) -> Block {
    let format = Arc::make_mut(&mut block.formats);
    format.push(PayloadFormat::new(96, "EVS", 16_000, 1));
    let format = (block.formats.len() - 1) as u8;
    for &(side, number, payload) in packets {
        let chunk = Arc::make_mut(&mut block.chunks[0]);
        let offset = chunk.len() as u32;
        chunk.extend(payload);
        block.sides[side].push(Piece {
            position: i64::from(number) * 160,
            number,
            offset,
            len: payload.len() as u16,
            chunk: 0,
            stream: 7,
            format,
        });
        block.headers[side].push(header(number, 96));
    }
    block
}

fn evs(count: u32) -> Vec<(Side, u32, &'static [u8])> {
    (0..count)
        .map(|n| (Side::Callee, n, &b"evs frame"[..]))
        .collect()
}

/// Places, numbers and payloads of a file of packets.
fn packets(path: &Path, sidecar: &Sidecar) -> Vec<(i64, u16, Vec<u8>)> {
    let scale = RawScale {
        start: START,
        sample_rate_hz: sidecar.sample_rate_hz,
    };
    let file = StoredFile::as_it_is(path).unwrap();
    let mut reader = RawReader::of(&file, scale).unwrap();
    let mut found = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        assert_eq!((packet.side, packet.ssrc), (Side::Callee, 96));
        assert_eq!(packet.timestamp, u32::from(packet.sequence) * 960);
        assert_eq!(packet.marker, packet.sequence == 0);
        found.push((packet.position, packet.sequence, packet.payload.to_vec()));
    }
    found
}

fn beside(root: &Path, audio: &str) -> PathBuf {
    root.join(audio.replace(".wav", ".rtp.pcap"))
}

#[test]
fn what_nobody_decodes_is_kept_at_its_place_beside_the_other_side() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let speech: Vec<_> = (0..4).map(|n| (Side::Caller, n, 1)).collect();
    // Out of order, as the network brought them.
    let packets_sent = [
        (Side::Callee, 0, &b"first"[..]),
        (Side::Callee, 3, b"last"),
        (Side::Callee, 1, b""),
    ];
    let block = with_evs(block(0, false, &speech), &packets_sent);
    let settings = settings(folder.path());
    let outcome = record(&settings, events(&info, vec![block], 4));
    assert_eq!(outcome.recordings[0].disposition, Disposition::KeptRaw);
    let (sidecar, path) = only_recording(&outcome);
    let raw = sidecar.raw.as_ref().unwrap();
    let file = beside(folder.path(), path);
    assert_eq!(raw.file.as_deref(), file.file_name().unwrap().to_str());
    assert_eq!(raw.size_bytes, file.metadata().unwrap().len());
    let [stream] = &raw.streams[..] else {
        panic!("{raw:?}");
    };
    assert_eq!(
        (
            &*stream.encoding,
            stream.clock_rate_hz,
            stream.fmtp.as_deref()
        ),
        ("EVS", 16_000, Some("br=13.2"))
    );
    assert_eq!((stream.packets, stream.first, stream.last), (3, 0, 480));
    assert_eq!(stream.state, RawState::Kept);
    let expected = [
        (0, 0, b"first".to_vec()),
        (480, 3, b"last".to_vec()),
        (160, 1, Vec::new()),
    ];
    assert_eq!(packets(&file, sidecar), expected);
    let undecoded = sidecar
        .segments
        .iter()
        .filter(|s| s.cause == Cause::Undecoded);
    assert!(undecoded.count() > 0, "{:?}", sidecar.segments);
    assert_eq!(settings.raw.packets_kept.load(Ordering::Relaxed), 3);
}

#[test]
fn a_call_of_nothing_else_is_a_silence_that_takes_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let blocks = (0..20u32).map(|n| {
        let first = n * 26;
        let all: Vec<_> = (first..first + 25)
            .map(|n| (Side::Callee, n, &b"x"[..]))
            .collect();
        let index = u64::from(first) * 160 / 4096;
        with_evs(block(index, false, &[]), &all)
    });
    let outcome = record(
        &settings(folder.path()),
        events(&info, blocks.collect(), 520),
    );
    let (sidecar, path) = only_recording(&outcome);
    assert_eq!(sidecar.samples, 520 * 160);
    let wav = std::fs::metadata(folder.path().join(path)).unwrap();
    assert_eq!(wav.len(), sidecar.size_bytes);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&wav) * 512;
    assert!(blocks <= 16 << 10, "{blocks} bytes on the disk");
    assert_eq!(packets(&beside(folder.path(), path), sidecar).len(), 500);
}

#[test]
fn each_tenant_has_the_packets_and_whoever_loses_the_call_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = || vec![with_evs(block(0, false, &[]), &evs(20))];
    let both = info(&[SYSTEM_TENANT, OTHER]);
    let outcome = record(&settings(folder.path()), events(&both, first(), 60));
    let copies: Vec<Vec<u8>> = outcome
        .recordings
        .iter()
        .map(|of| beside(folder.path(), &of.recording.as_ref().unwrap().1))
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0], copies[1]);

    // In mid-call it turns out to be the other one's alone.
    let folder = tempfile::tempdir().unwrap();
    let (alone, other) = (info(&[SYSTEM_TENANT]), info(&[OTHER]));
    let mut all = events(&alone, first(), 60);
    all.pop();
    all.push(Event::Call {
        call: CALL,
        info: other.clone(),
    });
    let late = with_evs(block(1, false, &[]), &[(Side::Callee, 30, b"later")]);
    all.push(Event::Block {
        call: CALL,
        block: late,
    });
    all.push(Event::Ended(end(&other, 60)));
    let outcome = record(&settings(folder.path()), all);
    let (sidecar, path) = only_recording(&outcome);
    assert_eq!(sidecar.tenant_id, OTHER);
    assert_eq!(packets(&beside(folder.path(), path), sidecar).len(), 21);
    assert_eq!(
        files_of(folder.path(), SYSTEM_TENANT),
        Vec::<PathBuf>::new()
    );
    assert_eq!(files_of(folder.path(), OTHER).len(), 3);
}

fn files_of(root: &Path, tenant: TenantId) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.join(tenant.to_string())]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

#[test]
fn packets_past_the_cap_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let settings = Settings {
        raw_max_bytes: 1650,
        ..settings(folder.path())
    };
    let blocks = vec![
        with_evs(block(0, false, &[]), &evs(20)),
        with_evs(block(1, false, &[]), &[(Side::Callee, 30, b"too much")]),
    ];
    let outcome = record(&settings, events(&info, blocks, 60));
    let (sidecar, _) = only_recording(&outcome);
    let raw = sidecar.raw.as_ref().unwrap();
    assert_eq!((raw.packets, raw.packets_dropped), (20, 1));
    assert!(raw.size_bytes <= 1650);
    assert_eq!(settings.raw.packets_dropped.load(Ordering::Relaxed), 1);
}

/// A call of 40 packets that ended in mid-block, as a crash leaves it.
fn broken_off(settings: &Settings) -> PathBuf {
    let info = info(&[SYSTEM_TENANT]);
    let mut easel = Easel::default();
    let mut recording = Recording::new(START, 8000);
    for (index, range) in [(0, 0..20), (1, 26..46)] {
        let all: Vec<_> = range.map(|n| (Side::Callee, n, &b"evs"[..])).collect();
        let block = with_evs(block(index, false, &[]), &all);
        let trouble = recording.take_block(block, &info, settings, &mut easel);
        assert!(trouble.error.is_none(), "{trouble:?}");
    }
    let all = files_of(settings.layout.root(), SYSTEM_TENANT);
    all.into_iter()
        .find(|path| path.to_string_lossy().ends_with(".rtp.pcap.part"))
        .unwrap()
}

#[test]
fn what_a_crash_left_is_finished_with_its_packets() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let part = broken_off(&settings);
    // The last packet is only half on the disk.
    let len = part.metadata().unwrap().len();
    let file = std::fs::File::options().write(true).open(&part).unwrap();
    file.set_len(len - 2).unwrap();
    let recovered = recover(&settings);
    assert!(recovered.failed.is_empty(), "{:?}", recovered.failed);
    let [(sidecar, path)] = &recovered.recordings[..] else {
        panic!("{recovered:?}");
    };
    let raw = sidecar.raw.as_ref().unwrap();
    assert_eq!((raw.packets, &*raw.streams[0].encoding), (39, "EVS"));
    assert_eq!(raw.streams[0].fmtp.as_deref(), Some("br=13.2"));
    assert!(sidecar.is_kept_raw());
    let found = packets(&beside(folder.path(), path), sidecar);
    assert_eq!((found.len(), found[38].0), (39, 44 * 160));
    assert!(!part.exists());
    assert_eq!(recover(&settings).recordings.len(), 0);
}

#[test]
fn a_crash_between_the_two_renames_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let part = broken_off(&settings);
    let renamed = part.with_extension("");
    std::fs::rename(&part, &renamed).unwrap();
    let recovered = recover(&settings);
    assert!(recovered.failed.is_empty(), "{:?}", recovered.failed);
    let sidecar = &recovered.recordings[0].0;
    assert_eq!(sidecar.raw.as_ref().unwrap().packets, 40);
    assert!(renamed.exists());
}

#[test]
fn a_crash_before_the_sidecar_has_its_name_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let part = broken_off(&settings);
    std::fs::rename(&part, part.with_extension("")).unwrap();
    let audio = PathBuf::from(
        part.to_string_lossy()
            .replace(".rtp.pcap.part", ".wav.part"),
    );
    std::fs::rename(&audio, audio.with_extension("")).unwrap();
    let recovered = recover(&settings);
    assert!(recovered.failed.is_empty(), "{:?}", recovered.failed);
    let raw = recovered.recordings[0].0.raw.as_ref().unwrap();
    assert_eq!((raw.packets, raw.streams.len()), (40, 1));
}

#[test]
fn an_unnamed_payload_type_beside_speech_makes_no_raw_call() {
    let folder = tempfile::tempdir().unwrap();
    let info = info(&[SYSTEM_TENANT]);
    let speech: Vec<_> = (0..10).map(|n| (Side::Caller, n, 1)).collect();
    let mut block = with_evs(block(0, false, &speech), &[(Side::Caller, 4, b"key")]);
    Arc::make_mut(&mut block.formats)[1] = PayloadFormat::from_static(101);
    let mut all = events(&info, vec![block], 10);
    let Some(Event::Ended(mut ended)) = all.pop() else {
        panic!("it ends");
    };
    ended.streams.push(stream(Side::Caller, 0, 200, 0));
    all.push(Event::Ended(ended));
    let outcome = record(&settings(folder.path()), all);
    assert_eq!(outcome.recordings[0].disposition, Disposition::Recorded);
    let (sidecar, _) = only_recording(&outcome);
    assert_eq!(sidecar.raw.as_ref().unwrap().packets, 1);
}
