//! How well calls were heard: against tshark's analysis of the same captures, against what real phones reported, and with
//! packets taken out of a capture after the fact, as a mirror that cannot keep up takes them out.

#[path = "common/replay.rs"]
mod replay;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use callreel::base::Side;
use callreel::capture::{CaptureFiles, PcapWriter};
use callreel::rtp::RtpPacket;
use callreel::storage::{Sidecar, StreamRecord};
use callreel::wire::{Packet, TcpInterest, Unit, Wire, WireLimits};
use replay::{Replay, public_captures};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    fixtures.join(name).join(format!("{name}.pcap"))
}

/// The sidecars of all calls that were recorded.
fn sidecars(capture: &Path) -> Vec<Sidecar> {
    let replay = Replay::run(&[capture]);
    assert_eq!(replay.exit_code, Some(0), "{}", replay.stderr);
    let files = replay
        .report
        .calls
        .iter()
        .filter_map(|call| call.file.as_ref());
    files
        .map(|wav| Sidecar::read(&wav.with_extension("json")).unwrap())
        .collect()
}

fn stream(sidecar: &Sidecar, side: Side) -> &StreamRecord {
    sidecar.streams.iter().find(|s| s.side == side).unwrap()
}

fn near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found} and not {expected}"
    );
}

/// Mean and largest jitter of each stream in milliseconds, and its losses, by source and SSRC, as tshark has them.
fn by_tshark(capture: &Path) -> Option<HashMap<(String, String), [f64; 3]>> {
    let output = Command::new("tshark")
        .args([
            "-n",
            "-q",
            "-z",
            "rtp,streams",
            "--enable-heuristic",
            "rtp_udp",
            "-r",
        ])
        .arg(capture)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut streams = HashMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(at) = words.iter().position(|word| word.starts_with("0x")) else {
            continue;
        };
        // Behind the packets: lost, its share, three deltas, three jitters.
        let Some(share) = words.iter().position(|word| word.starts_with('(')) else {
            continue;
        };
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
        let source = format!("{}:{}", words[2], words[3]);
        let ssrc = words[at][2..].to_ascii_lowercase();
        let values = [number(share + 5)?, number(share + 6)?, number(share - 1)?];
        streams.insert((source, ssrc), values);
    }
    Some(streams)
}

/// Streams in which something else than audio is, or whose clock stops, are measured otherwise by tshark.
fn is_plain(sidecar: &Sidecar, stream: &StreamRecord) -> bool {
    let is_paused = sidecar.segments.iter().any(|segment| {
        let cause = serde_json::to_value(segment.cause).unwrap();
        let within = segment.from > 0 && segment.to < sidecar.samples;
        segment.side == stream.side && cause != "loss" && within
    });
    let has_digits = sidecar.digits.iter().any(|digit| digit.side == stream.side);
    stream.codec.starts_with("PCM") && !is_paused && !has_digits && stream.late == 0
}

#[test]
fn jitter_and_loss_are_those_of_tshark() {
    let mut captures: Vec<PathBuf> = [
        "sipp-pcmu",
        "sipp-tcp",
        "baresip-pcmu",
        "baresip-pcma",
        "baresip-rtcp",
    ]
    .map(fixture)
    .to_vec();
    if let Some(folder) = public_captures() {
        captures.extend(
            ["g711u-b2bua-two-legs.pcap", "dtmf-rfc2833-late-offer.pcap"]
                .map(|name| folder.join(name)),
        );
    }
    let mut compared = 0;
    for capture in captures {
        let Some(theirs) = by_tshark(&capture) else {
            println!("tshark is not installed: nothing compared");
            return;
        };
        for sidecar in sidecars(&capture) {
            for stream in sidecar
                .streams
                .iter()
                .filter(|stream| is_plain(&sidecar, stream))
            {
                let name = format!("{}: {}", capture.display(), stream.ssrc);
                let [mean, largest, lost] = theirs[&(stream.source.clone(), stream.ssrc.clone())];
                let quality = stream.quality.as_ref().unwrap();
                near(
                    &format!("{name}: mean jitter"),
                    quality.jitter_mean_ms,
                    mean,
                    0.02 + mean * 0.02,
                );
                near(
                    &format!("{name}: largest jitter"),
                    quality.jitter_max_ms,
                    largest,
                    0.02 + largest * 0.02,
                );
                assert_eq!(stream.lost as f64, lost, "{name}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 8, "{compared}");
}

/// `baresip-rtcp`: of the caller's packets some are lost behind the sensor, of the callee's 19 before it. In their last reports
/// the phones say 26 and 15.
#[test]
fn what_two_phones_report_is_beside_what_the_sensor_saw() {
    let sidecars = sidecars(&fixture("baresip-rtcp"));
    let [sidecar] = &sidecars[..] else {
        panic!("{} recordings", sidecars.len());
    };
    for (side, lost, reported) in [(Side::Caller, 0, 26), (Side::Callee, 19, 15)] {
        let stream = stream(sidecar, side);
        let quality = stream.quality.as_ref().unwrap();
        let rtcp = quality.rtcp.as_ref().unwrap();
        let losses = (stream.lost, quality.network_lost, quality.mirror_lost);
        assert_eq!(losses, (lost, lost, Some(0)), "{side}");
        let told = (
            rtcp.receiver_reports,
            rtcp.receiver_lost,
            rtcp.sender_packets,
        );
        assert_eq!(told, (3, reported, Some(750)), "{side}");
        assert!(rtcp.round_trip_ms.is_some_and(|ms| ms < 10.0), "{rtcp:?}");
        assert_eq!(quality.band.as_deref(), Some("narrowband"));
        // Heard worse by what was lost behind the sensor too.
        near(
            "score",
            quality.mos_lq.unwrap(),
            if side == Side::Caller { 4.18 } else { 4.23 },
            0.05,
        );
    }
    let quality = sidecar.quality.as_ref().unwrap();
    assert_eq!(
        (quality.lost, quality.mirror_lost, quality.unheard),
        (19, 0, None)
    );
    let levels = sidecar.levels.caller.as_ref().unwrap();
    near("the caller's peak", levels.peak_dbov.unwrap(), -6.0, 0.5);
}

/// Writes `capture` again without the RTP packets that `lost` says, which it is asked of each: source port, SSRC and sequence
/// number.
fn without(capture: &Path, out: &Path, lost: impl Fn(u32, u16) -> bool) -> u64 {
    let mut files = CaptureFiles::open(&[capture.to_path_buf()]).unwrap();
    let mut writer: Option<PcapWriter<BufWriter<File>>> = None;
    let mut wire = Wire::new(
        WireLimits::default(),
        TcpInterest {
            ports: vec![],
            sniff: |_| false,
        },
    );
    let mut dropped = 0;
    while let Some(packet) = files.next_packet().unwrap() {
        let packet: Packet<'_> = packet;
        let mut is_lost = false;
        wire.handle_packet(&packet, &mut |unit| {
            if let Unit::Datagram(datagram) = unit
                && let Some(rtp) = RtpPacket::parse(datagram.payload)
            {
                is_lost = lost(rtp.ssrc, rtp.sequence);
            }
        });
        let writer = writer.get_or_insert_with(|| {
            let file = BufWriter::new(File::create(out).unwrap());
            PcapWriter::new(file, packet.link).unwrap()
        });
        match is_lost {
            true => dropped += 1,
            false => writer
                .write(packet.time, packet.data, packet.original_len)
                .unwrap(),
        }
    }
    writer.unwrap().flush().unwrap();
    dropped
}

#[test]
fn packets_that_a_mirror_lost_are_told_from_those_that_the_network_lost() {
    let folder = tempfile::tempdir().unwrap();
    let thinned = folder.path().join("thinned.pcap");
    let whole = sidecars(&fixture("baresip-rtcp")).remove(0);
    let callee = stream(&whole, Side::Callee);
    let ssrc = u32::from_str_radix(&callee.ssrc, 16).unwrap();
    // The last report is of sequence number 7514; the stream began 750 numbers before it.
    let dropped = without(&fixture("baresip-rtcp"), &thinned, |of, sequence| {
        of == ssrc && sequence % 20 == 7 && (6_770..7_510).contains(&sequence)
    });
    assert!(dropped > 30, "{dropped}");
    let sidecar = sidecars(&thinned).remove(0);
    let found = stream(&sidecar, Side::Callee);
    let quality = found.quality.as_ref().unwrap();
    assert_eq!(found.lost, 19 + dropped);
    assert_eq!(
        (quality.mirror_lost, quality.network_lost),
        (Some(dropped), 19)
    );
    // The caller heard what it heard.
    let before = callee.quality.as_ref().unwrap();
    near(
        "score",
        quality.mos_cq.unwrap(),
        before.mos_cq.unwrap(),
        0.03,
    );
    assert_eq!(sidecar.quality.unwrap().mirror_lost, dropped);

    // Where the network loses behind the sensor what is counted is the least that the mirror can have lost.
    let caller = u32::from_str_radix(&stream(&whole, Side::Caller).ssrc, 16).unwrap();
    let dropped = without(&fixture("baresip-rtcp"), &thinned, |of, sequence| {
        of == caller && sequence % 10 == 7 && (11_250..11_950).contains(&sequence)
    });
    let sidecar = sidecars(&thinned).remove(0);
    let quality = stream(&sidecar, Side::Caller).quality.clone().unwrap();
    assert_eq!(quality.mirror_lost, Some(dropped - 26));
}

/// Asterisk between two softphones: no loss, reports of all four receivers, and one stall of 150 ms.
#[test]
fn reports_of_a_pbx_and_two_phones() {
    let Some(folder) = public_captures() else {
        return;
    };
    let capture = folder.join("g711u-b2bua-two-legs.pcap");
    let found = sidecars(&capture);
    let expected = [
        ("26738f8c", 8, 1250, 4, 4.39),
        ("6d9f0ddf", 5, 1345, 0, 4.41),
        ("00294823", 5, 1346, 0, 4.41),
        ("441bc0cf", 8, 1250, 4, 4.39),
    ];
    for (ssrc, reports, sent, discarded, mos) in expected {
        let mut streams = found.iter().flat_map(|sidecar| &sidecar.streams);
        let stream = streams.find(|stream| stream.ssrc == ssrc).unwrap();
        let quality = stream.quality.as_ref().unwrap();
        let rtcp = quality.rtcp.as_ref().unwrap();
        assert_eq!(
            (rtcp.receiver_reports, rtcp.sender_packets),
            (reports, Some(sent)),
            "{ssrc}"
        );
        assert_eq!(
            (quality.mirror_lost, quality.discarded),
            (Some(0), discarded),
            "{ssrc}"
        );
        assert_eq!(quality.mos_cq, Some(mos), "{ssrc}");
        assert!(
            rtcp.round_trip_ms
                .is_some_and(|ms| (0.1..1.0).contains(&ms)),
            "{rtcp:?}"
        );
    }
    let thinned = tempfile::tempdir().unwrap();
    let path = thinned.path().join("thinned.pcap");
    let dropped = without(&capture, &path, |ssrc, sequence| {
        ssrc == 0x6d9f_0ddf && sequence % 50 == 0 && (29_450..30_600).contains(&sequence)
    });
    let found = sidecars(&path);
    let mut streams = found.iter().flat_map(|sidecar| &sidecar.streams);
    let stream = streams.find(|stream| stream.ssrc == "6d9f0ddf").unwrap();
    let quality = stream.quality.as_ref().unwrap();
    assert_eq!(
        (dropped, stream.lost, quality.mirror_lost),
        (23, 23, Some(23))
    );
    assert_eq!(quality.mos_cq, Some(4.41));
}

/// Gateways that send one report each, at the beginning, and then nothing but comfort noise for most of the call.
#[test]
fn silence_that_was_agreed_is_not_one_way_audio() {
    let Some(folder) = public_captures() else {
        return;
    };
    for (name, caller_jitter, callee_jitter) in [
        ("g711a-prack-comfort-noise.pcap", 2.42, 0.31),
        ("sip-over-tcp-g711a.pcap", 0.04, 2.30),
    ] {
        let sidecar = sidecars(&folder.join(name)).remove(0);
        let quality = sidecar.quality.as_ref().unwrap();
        assert_eq!((quality.unheard, quality.mos), (None, Some(4.41)), "{name}");
        for (side, mean) in [(Side::Caller, caller_jitter), (Side::Callee, callee_jitter)] {
            let quality = stream(&sidecar, side).quality.as_ref().unwrap();
            near(
                &format!("{name}: {side}'s jitter"),
                quality.jitter_mean_ms,
                mean,
                0.06,
            );
            assert_eq!(
                quality.rtcp.as_ref().unwrap().sender_packets,
                Some(1),
                "{name}"
            );
        }
    }
    // The caller plays nothing, and said that it would not.
    let prompt = sidecars(&folder.join("g711-ulaw-then-alaw.pcap")).remove(0);
    assert_eq!(prompt.quality.unwrap().unheard, None);
}

/// A proxy at both of whose hops a stream is seen: what was sent was sent once.
#[test]
fn a_stream_that_is_seen_twice_is_expected_once() {
    let replay = Replay::run(&[fixture("kamailio-rtpengine")]);
    let call = &replay.report.calls[0];
    let sidecar = call.recorded().unwrap().sidecar;
    let counted = sidecar
        .streams
        .iter()
        .filter(|s| s.quality.as_ref().unwrap().counted);
    assert_eq!((sidecar.streams.len(), counted.count()), (4, 2));
    assert_eq!(call.packets_expected, 400);
}
