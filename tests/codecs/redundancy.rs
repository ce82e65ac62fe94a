//! Packets that carry earlier ones again (RFC 2198) in whole calls with losses.

use callreel::base::{PerSide, Side};
use callreel::codec::linear_to_alaw;
use callreel::storage::{Cause, Sidecar};

use crate::common::audio::{channels, correlation, reference, resampled};
use crate::common::call::{Call, Packet};
use crate::common::replay::Replay;
use crate::{WIDE_HZ, chopped, encoded, speech};

/// Each payload with the `generations` before it, of which `lost` packets never come.
fn repeated(
    payload_type: u8,
    payloads: &[Vec<u8>],
    generations: usize,
    lost: impl Fn(usize) -> bool,
) -> Vec<Packet> {
    let packet = |n: usize| {
        let earlier = n.saturating_sub(generations)..n;
        let mut packed = Vec::new();
        for m in earlier.clone() {
            let header = ((n - m) as u32 * 160) << 10 | payloads[m].len() as u32;
            packed.push(0x80 | payload_type);
            packed.extend(&header.to_be_bytes()[1..]);
        }
        packed.push(payload_type);
        earlier.for_each(|m| packed.extend(&payloads[m]));
        packed.extend(&payloads[n]);
        Packet::nth(n, 160, 8000, packed)
    };
    let sent = (0..payloads.len()).filter(|&n| !lost(n));
    sent.map(packet).collect()
}

/// The callee's samples, and what is told of the call.
fn heard(others: &str, fmtp: &str, packets: Vec<Packet>, bye_ms: i64) -> (Vec<i16>, u64, Sidecar) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.pcap");
    let call = Call {
        rtpmap: "red/8000",
        fmtp,
        others,
        packets: PerSide {
            caller: Vec::new(),
            callee: packets,
        },
        bye_ms,
    };
    call.write(&path);
    let replay = Replay::run(&[path]);
    let line = &replay.report.calls[0];
    assert_eq!(line.disposition, "recorded");
    let (rate_hz, [_, heard]) = channels(line.file.as_ref().unwrap());
    assert_eq!(rate_hz, 8000);
    (heard, line.packets_lost, line.recorded().unwrap().sidecar)
}

fn losses(sidecar: &Sidecar) -> Vec<(u64, u64, Cause)> {
    let of_callee = sidecar.segments.iter().filter(|s| s.side == Side::Callee);
    of_callee.map(|s| (s.from, s.to, s.cause)).collect()
}

#[test]
fn g711_that_is_repeated_is_whole_in_spite_of_losses() {
    let said = resampled(&speech("caller.wav"), WIDE_HZ, 8000);
    let coded: Vec<u8> = said.iter().map(|&s| linear_to_alaw(s)).collect();
    let payloads = chopped(&coded, 160);
    let count = payloads.len();
    let end_ms = 20 * count as i64;
    let (whole, none, _) = heard(" 8", "8/8", repeated(8, &payloads, 1, |_| false), end_ms);
    assert_eq!((whole.len(), none), (160 * count, 0));
    for generations in [1, 2] {
        // As many in a row as are repeated.
        let lost = |n: usize| n % 7 < generations && (7..count - 7).contains(&n);
        let packets = repeated(8, &payloads, generations, lost);
        let missing = count - packets.len();
        let (found, lost, sidecar) = heard(" 8", "8/8", packets, end_ms);
        assert_eq!(lost as usize, missing);
        assert_eq!(losses(&sidecar), []);
        assert!(found == whole, "{generations} in a row");
    }
    // One more in a row than are repeated: that one is silence, and named.
    let packets = repeated(8, &payloads, 1, |n| (100..102).contains(&n));
    let (found, lost, sidecar) = heard(" 8", "8/8", packets, end_ms);
    assert_eq!(lost, 2);
    assert_eq!(losses(&sidecar), [(16_000, 16_160, Cause::Loss)]);
    assert!(found[..16_000] == whole[..16_000] && found[16_160..] == whole[16_160..]);
}

/// A decoder with a memory hears what is repeated in its turn.
#[test]
fn gsm_that_is_repeated_is_whole_in_spite_of_losses() {
    let Some(stream) = encoded(8000, &["-c:a", "libgsm", "-f", "gsm"]) else {
        return;
    };
    let payloads = chopped(&stream, 33);
    let count = payloads.len();
    let theirs = reference(&["-f", "gsm"], &stream).unwrap();
    let packets = repeated(3, &payloads, 1, |n| n % 5 == 4 && n + 5 < count);
    let missing = count - packets.len();
    let (found, lost, sidecar) = heard(" 3", "3/3", packets, 20 * count as i64);
    let like = correlation(&found, &theirs);
    println!("{missing} of {count} packets lost: {like:.6}");
    assert_eq!((lost as usize, found.len()), (missing, theirs.len()));
    assert_eq!(losses(&sidecar), []);
    assert!(like >= 0.99, "{like}");
}
