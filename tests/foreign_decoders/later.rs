//! Codecs that nobody decodes when they are recorded: kept with what SDP said, until somebody does.

use std::fs;
use std::process::Command;

use callreel::storage::{Cause, RawState};

use super::common::audio;
use super::common::call::in_a_row;
use super::{decode, ffmpeg, files, find, has_ffmpeg, of_callee, replay, samples, voice};

/// GSM under a name that says nothing to anybody.
#[test]
fn an_unknown_codec_is_decoded_as_soon_as_the_operator_describes_it() {
    if !has_ffmpeg() {
        return;
    }
    let source = ["-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "pipe:0"];
    let target = ["-c:a", "libgsm", "-f", "gsm", "pipe:1"];
    let stream = ffmpeg(&[&source[..], &target].concat(), &voice(4));
    let theirs = ["-f", "gsm", "-i", "pipe:0", "-f", "s16le", "pipe:1"];
    let theirs = samples(&ffmpeg(&theirs, &stream));
    let mut packets = in_a_row(stream.chunks(33).map(<[u8]>::to_vec), 160, 8000);
    packets.remove(120);
    let call = of_callee("X-Own/8000", "shape=round;x=1", packets, 4000);
    let found = replay(&call, "");
    assert_eq!(found.disposition(), "kept_raw");
    let raw = found.sidecar.raw.clone().unwrap();
    let stream = &raw.streams[0];
    assert_eq!(
        (
            &*stream.encoding,
            stream.clock_rate_hz,
            stream.fmtp.as_deref()
        ),
        ("X-Own", 8000, Some("shape=round;x=1"))
    );
    assert_eq!((stream.payload_type, stream.packets), (96, 199));
    assert_eq!(
        (stream.state, found.count("packets_kept_raw")),
        (RawState::Kept, 199)
    );
    let before = files(&found);
    // Without a description nothing can be done, and nothing is lost.
    let (code, report) = decode(&found, &["--all"]);
    assert_eq!((code, report[0]["state"].as_str()), (Some(1), Some("kept")));
    assert_eq!(files(&found), before);

    let config = found.storage.path().join("later.toml");
    let described = "[decoders.formats.x-own]\ndemuxer = \"gsm\"\nframe_bytes = 33\nframe_samples = 160\n\
                     sample_rate_hz = 8000\n";
    fs::write(&config, described).unwrap();
    let (code, report) = decode(&found, &["--all", "--config", config.to_str().unwrap()]);
    assert_eq!(
        (code, report[0]["state"].as_str()),
        (Some(0), Some("decoded")),
        "{report}"
    );
    assert_eq!(found.raw_file(), None);
    let audio_file = find(&found.storage.path().join("recordings"), ".wav").unwrap();
    let (_, [_, callee]) = audio::channels(&audio_file);
    let lost = 120 * 160;
    assert_eq!(callee.len(), theirs.len());
    assert_eq!(callee[..lost], theirs[..lost]);
    assert!(callee[lost..lost + 160].iter().all(|&sample| sample == 0));
    // Behind the loss its decoder comes back to what it would have given.
    let like = audio::correlation(&callee[lost + 800..], &theirs[lost + 800..]);
    assert!(like >= 0.99, "{like}");
    let (_, sidecar) = files(&found);
    let left: Vec<_> = sidecar
        .segments
        .iter()
        .map(|s| (s.from, s.to, s.cause))
        .collect();
    assert_eq!(
        left,
        [
            (0, 32_000, Cause::NoMedia),
            (lost as u64, lost as u64 + 160, Cause::Loss)
        ]
    );
    // At once with the description gives the same.
    let at_once = replay(&call, described);
    assert_eq!(files(&found), files(&at_once));
}

#[test]
fn evs_is_kept_with_its_format_and_said_to_be() {
    let payloads = (0..100u8).map(|n| vec![n; 33]);
    let packets = in_a_row(payloads, 320, 16_000);
    let call = of_callee("EVS/16000", "br=5.9-24.4;bw=nb-swb", packets, 2000);
    let found = replay(&call, "");
    assert_eq!(found.disposition(), "kept_raw");
    let stream = &found.sidecar.raw.as_ref().unwrap().streams[0];
    assert_eq!(
        (
            &*stream.encoding,
            stream.clock_rate_hz,
            stream.fmtp.as_deref()
        ),
        ("EVS", 16_000, Some("br=5.9-24.4;bw=nb-swb"))
    );
    assert_eq!((stream.packets, stream.state), (100, RawState::Kept));
    assert_eq!(found.callee.len(), 32_000);
    assert_eq!(found.callee_segments(), [(0, 32_000, Cause::Undecoded)]);
    let listed = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .args(["calls", "search", "--json", "--storage"])
        .arg(found.storage.path().join("recordings"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("\"kept_raw\""));
    // Its packets are what a later decoder needs, byte for byte and in their places.
    let kept = fs::read(found.raw_file().unwrap()).unwrap();
    for n in 0..100u8 {
        assert!(
            kept.windows(33).any(|payload| payload == [n; 33]),
            "payload {n}"
        );
    }
    if has_ffmpeg() {
        let before = files(&found);
        let (code, _) = decode(&found, &["--all"]);
        assert_eq!(code, Some(1), "something is left undecoded");
        assert_eq!(files(&found), before);
        assert!(found.raw_file().is_some());
    }
}
