//! Phones whose timestamps run by another clock than they said: what real phones sent, with other timestamps, gives the same
//! recording to the byte.

#[path = "common/replay.rs"]
mod replay;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use callreel::base::Timestamp;
use callreel::capture::{CaptureFiles, PcapWriter};
use callreel::rtp::RtpPacket;
use callreel::storage::Sidecar;
use callreel::wire::{LinkType, Packet, TcpInterest, Unit, Wire, WireLimits};
use replay::Replay;

/// File, what was said of the clock, what is counted instead.
const PHONES: [(&str, u32, u32); 10] = [
    ("g722", 8000, 16_000),
    ("g722", 8000, 48_000),
    ("opus", 48_000, 8000),
    ("opus", 48_000, 16_000),
    ("opus", 48_000, 24_000),
    ("amr-wb", 16_000, 8000),
    ("amr", 8000, 16_000),
    ("gsm", 8000, 16_000),
    ("g726-32", 8000, 16_000),
    ("l16-16k", 16_000, 8000),
];

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/baresip-codecs");
    fixtures.join(name).with_extension("pcap")
}

type Frames = Vec<(Timestamp, Vec<u8>)>;

/// The frames of a capture, its timestamps counted by `clock_hz` and not by `said_hz`; and their link type.
fn counted_by(capture: &Path, said_hz: u32, clock_hz: u32) -> (LinkType, Frames) {
    let mut files = CaptureFiles::open(&[capture.to_path_buf()]).unwrap();
    let nothing = TcpInterest {
        ports: vec![],
        sniff: |_| false,
    };
    let mut wire = Wire::new(WireLimits::default(), nothing);
    let (mut frames, mut link, mut firsts) = (Frames::new(), None, HashMap::new());
    while let Some(packet) = files.next_packet().unwrap() {
        let packet: Packet<'_> = packet;
        let mut data = packet.data.to_vec();
        wire.handle_packet(&packet, &mut |unit| {
            if let Unit::Datagram(datagram) = unit
                && let Some(rtp) = RtpPacket::parse(datagram.payload)
            {
                let first = *firsts.entry(rtp.ssrc).or_insert(rtp.timestamp);
                let ticks = u64::from(rtp.timestamp.wrapping_sub(first));
                let ticks = ticks * u64::from(clock_hz) / u64::from(said_hz);
                let at = data.len() - datagram.payload.len() + 4;
                let timestamp = first.wrapping_add(ticks as u32);
                data[at..at + 4].copy_from_slice(&timestamp.to_be_bytes());
            }
        });
        link = Some(packet.link);
        frames.push((packet.time, data));
    }
    (link.unwrap(), frames)
}

fn write(path: &Path, link: LinkType, frames: &Frames) {
    let file = BufWriter::new(File::create(path).unwrap());
    let mut writer = PcapWriter::new(file, link).unwrap();
    for (time, data) in frames {
        writer.write(*time, data, data.len() as u32).unwrap();
    }
    writer.flush().unwrap();
}

/// The audio of the only call, and what is said of it.
fn recorded(capture: &Path) -> (Vec<u8>, Sidecar, u64) {
    let replay = Replay::run(&[capture]);
    assert_eq!(replay.exit_code, Some(0), "{}", replay.stderr);
    let wav = replay.report.calls[0].file.as_ref().unwrap();
    let sidecar = Sidecar::read(&wav.with_extension("json")).unwrap();
    let found = replay.count("rtp_streams_other_clock");
    (std::fs::read(wav).unwrap(), sidecar, found)
}

#[test]
fn a_phone_that_counts_by_another_clock_is_heard_as_one_that_counts_by_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let rewritten = folder.path().join("rewritten.pcap");
    for (name, said_hz, clock_hz) in PHONES {
        let what = format!("{name} by {clock_hz}");
        let (audio, as_said, none) = recorded(&fixture(name));
        let (link, frames) = counted_by(&fixture(name), said_hz, clock_hz);
        write(&rewritten, link, &frames);
        let (again, sidecar, found) = recorded(&rewritten);
        assert!(audio == again, "{what}: the audio differs");
        assert_eq!((none, found), (0, 2), "{what}");
        assert_eq!(sidecar.segments, as_said.segments, "{what}");
        for (stream, said) in sidecar.streams.iter().zip(&as_said.streams) {
            let clocks = (stream.clock_rate_hz, stream.said_clock_rate_hz);
            assert_eq!(clocks, (Some(clock_hz), Some(said_hz)), "{what}");
            assert_eq!((said.clock_rate_hz, said.said_clock_rate_hz), (None, None));
            assert_eq!(stream.not_placed, 0, "{what}");
            let (own, other) = (stream.quality.as_ref(), said.quality.as_ref());
            let (own, other) = (own.unwrap(), other.unwrap());
            assert_eq!(own.packet_ms, other.packet_ms, "{what}");
            assert_eq!(own.mos_cq, other.mos_cq, "{what}");
            assert!(
                (own.jitter_mean_ms - other.jitter_mean_ms).abs() < 0.1,
                "{what}"
            );
        }
    }
}

/// The beginning is what is at stake: half of it may be lost, out of order or late.
#[test]
fn a_beginning_with_losses_is_heard_as_it_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (
        folder.path().join("right.pcap"),
        folder.path().join("wrong.pcap"),
    );
    for (name, said_hz, clock_hz) in [("g722", 8000, 16_000), ("opus", 48_000, 8000)] {
        for seed in 0..6usize {
            // Of the first hundred frames those of media that a small table of fates takes or holds up.
            let disturbed = |clock_hz| {
                let (link, mut frames) = counted_by(&fixture(name), said_hz, clock_hz);
                let mut number = 0;
                frames.retain_mut(|(time, data)| {
                    let is_media = data.len() < 400 && data[..].windows(4).all(|w| w != b"SIP/");
                    number += usize::from(is_media);
                    let fate = (number + seed * 5) * 7919 % 11;
                    if is_media && number < 100 && fate > 8 {
                        *time = *time + std::time::Duration::from_millis(27);
                    }
                    !(is_media && number < 100 && fate < 3)
                });
                frames.sort_by_key(|(time, _)| *time);
                (link, frames)
            };
            for (path, hz) in [(&right, said_hz), (&wrong, clock_hz)] {
                let (link, frames) = disturbed(hz);
                write(path, link, &frames);
            }
            let (audio, _, _) = recorded(&right);
            let (again, sidecar, found) = recorded(&wrong);
            assert_eq!(found, 2, "{name} {seed}");
            assert!(audio == again, "{name} {seed}: {:?}", sidecar.segments);
        }
    }
}
