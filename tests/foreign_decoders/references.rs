//! What comes through `ffmpeg` in whole calls, beside what others make of the same packets, and the speech that was sent.

use super::common::audio;
use super::common::call::in_a_row;
use super::common::replay::{Replay, public_captures};
use super::{has_ffmpeg, ilbc_straight, of_callee, replay};

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
