//! What comes through `ffmpeg` in whole calls, beside what others make of the same packets: libspeex, which is not the decoder that
//! `ffmpeg` takes by itself, and the speech that was sent.

use std::path::Path;

use callreel::codec::Codec;
use callreel::storage::Cause;

use super::common::audio::{self, ogg_packets, resampled, ulaw_wav};
use super::common::call::in_a_row;
use super::common::replay::{Replay, public_captures};
use super::{ffmpeg, has_ffmpeg, ilbc_straight, of_callee, replay, samples};

/// The caller's speech of the fixtures.
fn speech(rate_hz: u32) -> Vec<i16> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/baresip-codecs");
    resampled(&ulaw_wav(&fixtures.join("caller.wav")), 16_000, rate_hz)
}

/// RTP clock, and samples by which libspeex is behind what it was given.
const BANDS: [(u32, usize); 3] = [(8000, 80), (16_000, 223), (32_000, 509)];

#[test]
fn speex_of_every_band_is_as_libspeex_decodes_it() {
    if !has_ffmpeg() {
        return;
    }
    for (clock_hz, delay) in BANDS {
        let rate = clock_hz.to_string();
        let said = speech(clock_hz);
        let source = ["-f", "s16le", "-ar", &rate, "-ac", "1", "-i", "pipe:0"];
        let target = ["-c:a", "libspeex", "-f", "ogg", "pipe:1"];
        let file = ffmpeg(&[&source[..], &target].concat(), &audio::bytes(&said));
        let theirs = ["-c:a", "libspeex", "-i", "pipe:0", "-f", "s16le", "pipe:1"];
        let theirs = samples(&ffmpeg(&theirs, &file));
        let payloads = ogg_packets(&file);
        let (frame, count) = (clock_hz / 50, payloads.len());
        let codec = Codec::Speex {
            sample_rate_hz: clock_hz,
        };
        assert!(payloads.iter().all(|p| codec.extent(p).samples == frame));
        let rtpmap = format!("speex/{clock_hz}");
        let packets = in_a_row(payloads, frame, clock_hz);
        let found = replay(&of_callee(&rtpmap, "", packets, 20 * count as i64), "");
        assert_eq!(found.disposition(), "recorded", "{rtpmap}");
        let rate_hz = clock_hz.min(16_000);
        assert_eq!(
            found.callee.len(),
            count * rate_hz as usize / 50,
            "{rtpmap}"
        );
        assert_eq!(found.count("packets_decoded_later"), count as u64);
        // What the codec is late by is taken back, in whole samples of the recording.
        let theirs =
            &resampled(&theirs, clock_hz, rate_hz)[delay * rate_hz as usize / clock_hz as usize..];
        let like = audio::correlation(&found.callee, theirs);
        let later = audio::lag(theirs, &found.callee, 100);
        let said = resampled(&said, clock_hz, rate_hz);
        let off = audio::lag(&said, &found.callee, 100);
        let heard = audio::correlation(&said, &found.callee);
        println!("{rtpmap}: as libspeex {like:.5}, {later} later; as said {heard:.3}, {off} later");
        assert!(like >= 0.99 && later == 0, "{rtpmap}: {like:.4}, {later}");
        assert!(heard > 0.85 && off.abs() <= 1, "{rtpmap}: {heard}, {off}");
    }
}

/// One prompt was played by FreeSWITCH in every codec: linear in one capture, in these in others.
#[test]
fn a_prompt_in_ilbc_and_speex_is_heard_where_it_is_in_linear_audio() {
    let Some(captures) = public_captures().filter(|_| has_ffmpeg()) else {
        return;
    };
    let callee = |file: &str, call: usize| {
        let replay = Replay::run(&[captures.join(file)]);
        let recording = replay.report.calls[call].file.clone().unwrap();
        let (rate_hz, [_, callee]) = audio::channels(&recording);
        (rate_hz, callee)
    };
    let prompts = [8000, 16_000].map(|rate_hz| {
        let (found_hz, prompt) = callee("l16-four-variants.pcap", usize::from(rate_hz > 8000));
        assert_eq!(found_hz, rate_hz);
        prompt
    });
    // The last one was made of a prompt at another rate.
    for (file, call, at_most) in [
        ("ilbc-30ms-one-way.pcap", 0, 1),
        ("speex-nb-wb-uwb.pcap", 0, 1),
        ("speex-nb-wb-uwb.pcap", 1, 1),
        ("speex-nb-wb-uwb.pcap", 2, 10),
    ] {
        let (rate_hz, heard) = callee(file, call);
        let prompt = &prompts[usize::from(rate_hz > 8000)];
        let later = audio::lag(prompt, &heard, 200);
        let peak = |samples: &[i16]| samples.iter().map(|s| s.unsigned_abs()).max();
        let first = (peak(&prompt[..240]), peak(&heard[..240]));
        let (prompt, heard) = audio::aligned(prompt, &heard, later);
        let like = audio::correlation(prompt, heard);
        println!("{file}, call {call}: {like:.4}, {later} later, peaks at first {first:?}");
        assert!(like > 0.75, "{file}, call {call}: {like}");
        assert!(later.abs() <= at_most, "{file}, call {call}: {later}");
        assert!(
            first.1 < first.0.map(|peak| 2 * peak),
            "{file}, call {call}: {first:?}"
        );
    }
}

/// Any bits are a frame of iLBC. Of 20 ms one test has; here 30 ms, one and two a packet.
#[test]
fn ilbc_of_30_ms_is_as_ffmpeg_decodes_it() {
    if !has_ffmpeg() {
        return;
    }
    let byte = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8;
    // Its last bit says whether it is empty (RFC 3951 section 3.8).
    let frame = |n: u32| (0..50).map(move |b| if b < 49 { byte(50 * n + b) } else { 0 });
    let frames: Vec<Vec<u8>> = (0..150).map(|n| frame(n).collect()).collect();
    let theirs = ilbc_straight(&frames);
    for each in [1, 2] {
        let packets = in_a_row(
            frames.chunks(each).map(<[_]>::concat),
            240 * each as u32,
            8000,
        );
        let found = replay(&of_callee("iLBC/8000", "mode=30", packets, 4500), "");
        assert_eq!(found.disposition(), "recorded");
        assert_eq!((found.callee.len(), theirs.len()), (36_000, 36_000));
        assert_eq!(found.callee, theirs);
    }
}

/// Frames of both rates, and descriptions of silence behind which nothing is sent.
#[test]
fn g7231_of_both_rates_keeps_quiet_where_its_sender_does() {
    if !has_ffmpeg() {
        return;
    }
    let said = speech(8000);
    let said = &said[..24_000];
    let source = ["-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "pipe:0"];
    let target = ["-c:a", "g723_1", "-b:a", "6300", "-f", "g723_1", "pipe:1"];
    let high = ffmpeg(&[&source[..], &target].concat(), &audio::bytes(said));
    let high: Vec<&[u8]> = high.chunks_exact(24).collect();
    // No encoder of Debian's has 5.3 kbit/s. What stands before its pulses is the same at either rate; the pulses are any.
    let low = |frame: &[u8]| {
        let mut low = frame[..20].to_vec();
        low[0] = low[0] & !3 | 1;
        low
    };
    // Where in frames of 30 ms each stands.
    let mut placed: Vec<(usize, Vec<u8>)> = Vec::new();
    placed.extend((0..40).map(|n| (n, high[n].to_vec())));
    placed.push((40, vec![2, 0x35, 0x40, 0x1a]));
    placed.push((52, vec![2, 0x35, 0x40, 0x1a]));
    placed.extend((60..95).map(|n| (n, low(high[n - 20]))));
    let frames: Vec<u8> = placed.iter().flat_map(|(_, frame)| frame.clone()).collect();
    let theirs = ["-f", "g723_1", "-i", "pipe:0", "-f", "s16le", "pipe:1"];
    let theirs = samples(&ffmpeg(&theirs, &frames));
    assert_eq!(theirs.len(), 77 * 240);
    let mut packets = in_a_row(placed.iter().map(|(_, frame)| frame.clone()), 240, 8000);
    for (packet, (place, _)) in packets.iter_mut().zip(&placed) {
        packet.timestamp = *place as u32 * 240;
        packet.at_ns = *place as i64 * 30_000_000;
    }
    let found = replay(&of_callee("G723/8000", "", packets, 95 * 30), "");
    assert_eq!(found.disposition(), "recorded");
    assert_eq!(found.callee.len(), 95 * 240);
    // What the encoder looks ahead is taken back: 7.5 ms.
    let off = audio::lag(&said[..9000], &found.callee[..9000], 200);
    assert!(off.abs() <= 1, "{off} later than it was said");
    let (pause, speech) = (40 * 240, 60 * 240);
    assert_eq!(found.callee[..pause - 60], theirs[60..pause]);
    assert!(found.callee[pause..speech - 60].iter().all(|&s| s == 0));
    let behind = &theirs[42 * 240..];
    assert_eq!(found.callee[speech - 60..95 * 240 - 60], *behind);
    assert_eq!(
        found.callee_segments(),
        [(pause as u64, speech as u64, Cause::ComfortNoise)]
    );
}
