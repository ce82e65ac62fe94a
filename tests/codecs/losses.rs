//! What decoders with a memory make of the speech behind a loss, in whole calls.

use std::ops::Range;

use callreel::base::PerSide;
use callreel::codec::{AmrLayout, Codec, Decoder};

use crate::common::audio::{channels, correlation};
use crate::common::call::{Call, Packet};
use crate::common::replay::Replay;
use crate::{chopped, decoded, encoded, fixtures, payloads};

/// Which packets are lost: one in ten, and now and then three in a row.
fn is_lost(n: usize) -> bool {
    n % 10 == 7 || n % 50 / 3 == 7
}

/// The samples of what came, one packet behind the other, by a decoder that is told of the losses or not.
fn heard(codec: Codec, payloads: &[Vec<u8>], is_told: bool) -> Vec<i16> {
    let (mut decoder, mut out) = (Decoder::new(codec).unwrap(), Vec::new());
    for (n, payload) in payloads.iter().enumerate() {
        let samples = codec.extent(payload).samples;
        match (is_lost(n), is_told) {
            (false, _) => decoder.decode(payload, &mut out).unwrap(),
            (true, true) => decoder.lose(samples),
            (true, false) => {}
        }
    }
    out
}

/// What came, of samples that have all.
fn without_lost(all: &[i16], payloads: usize, packet: usize) -> Vec<i16> {
    let came = (0..payloads).filter(|&n| !is_lost(n));
    let span = |n: usize| -> Range<usize> { n * packet..(n + 1) * packet };
    came.flat_map(|n| all[span(n)].to_vec()).collect()
}

/// The callee's samples of a call in which packets are lost.
fn recorded(rtpmap: &str, fmtp: &str, step: u32, clock_hz: u32, payloads: &[Vec<u8>]) -> Vec<i16> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.pcap");
    let sent = (0..payloads.len()).filter(|&n| !is_lost(n));
    let packets = sent.map(|n| Packet::nth(n, step, clock_hz, payloads[n].clone()));
    let call = Call {
        rtpmap,
        fmtp,
        others: "",
        packets: PerSide {
            caller: Vec::new(),
            callee: packets.collect(),
        },
        bye_ms: payloads.len() as i64 * 20 + 500,
    };
    call.write(&path);
    let replay = Replay::run(&[path]);
    let line = &replay.report.calls[0];
    assert_eq!(line.disposition, "recorded");
    channels(line.file.as_ref().unwrap()).1[1].clone()
}

#[test]
fn amr_goes_on_behind_a_loss_as_a_receiver_hears_it() {
    for (file, wideband, clock_hz) in [("amr", false, 8000u32), ("amr-wb", true, 16_000)] {
        let layout = AmrLayout {
            wideband,
            octet_aligned: true,
            ..AmrLayout::default()
        };
        let (codec, packet) = (Codec::Amr(layout), clock_hz as usize / 50);
        for payloads in payloads(&fixtures().join(format!("{file}.pcap"))).values() {
            let all = without_lost(&decoded(codec, payloads), payloads.len(), packet);
            let told = heard(codec, payloads, true);
            let untold = heard(codec, payloads, false);
            let like = |samples: &[i16]| correlation(&all, samples);
            println!(
                "{file}: told {:.3}, not told {:.3}",
                like(&told),
                like(&untold)
            );
            assert!(
                like(&told) > 0.7 && like(&told) > like(&untold) + 0.005,
                "{file}"
            );
            let name = file.to_uppercase();
            let rtpmap = format!("{name}/{clock_hz}");
            let step = clock_hz / 50;
            let ours = recorded(&rtpmap, "octet-align=1", step, clock_hz, payloads);
            let ours = without_lost(&ours, payloads.len(), packet);
            assert_eq!(ours.len(), told.len());
            let differ = ours.iter().zip(&told).position(|(a, b)| a != b);
            assert_eq!(
                differ, None,
                "{file}: the recorder tells its decoder the same"
            );
        }
    }
}

#[test]
fn opus_goes_on_behind_a_loss_as_a_receiver_hears_it() {
    let payloads = payloads(&fixtures().join("opus.pcap"));
    for payloads in payloads.values() {
        let all = without_lost(&decoded(Codec::Opus, payloads), payloads.len(), 960);
        let like = |is_told| correlation(&all, &heard(Codec::Opus, payloads, is_told));
        let (told, untold) = (like(true), like(false));
        println!("opus: told {told:.3}, not told {untold:.3}");
        assert!(told > 0.9 && told > untold + 0.005);
    }
}

/// A payload that is no frames of GSM is told as one that could not be decoded: it is as long as the others, and covers nothing that was.
#[test]
fn broken_gsm_covers_nothing_else() {
    let Some(stream) = encoded(8000, &["-c:a", "libgsm", "-f", "gsm"]) else {
        return;
    };
    let mut payloads = chopped(&stream, 33);
    payloads.truncate(300);
    for n in (25..300).step_by(10) {
        payloads[n] = vec![0x5a; 42 * 33];
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.pcap");
    let packets = payloads.iter().enumerate();
    let call = Call {
        rtpmap: "GSM/8000",
        fmtp: "",
        others: "",
        packets: PerSide {
            caller: Vec::new(),
            callee: packets
                .map(|(n, payload)| Packet::nth(n, 160, 8000, payload.clone()))
                .collect(),
        },
        bye_ms: 6500,
    };
    call.write(&path);
    let replay = Replay::run(&[path]);
    let sidecar = replay.report.calls[0].recorded().unwrap().sidecar;
    assert_eq!(sidecar.packets_dropped, 28);
    assert!(sidecar.samples <= 6500 * 8, "{}", sidecar.samples);
    let unheard: u64 = sidecar
        .segments
        .iter()
        .filter(|s| s.side == callreel::base::Side::Callee && s.from < 48_000)
        .map(|s| s.to.min(48_000) - s.from)
        .sum();
    assert_eq!(unheard, 28 * 160, "{:?}", sidecar.segments);
}
