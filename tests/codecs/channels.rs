//! Several channels in one stream: L16 of any rate and Opus in whole calls. A recording has one channel for each side, so what it holds
//! is the mean of theirs.

use callreel::base::PerSide;
use callreel::codec::Codec;

use crate::common::audio::{
    bytes, channels, correlation, ffmpeg, lag, level, ogg, ogg_packets, samples,
};
use crate::common::call::{Call, Packet, in_a_row};
use crate::common::replay::Replay;
use crate::{WIDE_HZ, speech};

/// What the callee of a call is heard to say, and at which rate.
fn heard(rtpmap: &str, packets: Vec<Packet>, seconds: f64) -> (u32, Vec<i16>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.pcap");
    let call = Call {
        rtpmap,
        fmtp: "",
        others: "",
        packets: PerSide {
            caller: Vec::new(),
            callee: packets,
        },
        bye_ms: (seconds * 1000.0) as i64,
    };
    call.write(&path);
    let replay = Replay::run(&[path]);
    let line = &replay.report.calls[0];
    assert_eq!((&*line.disposition, line.packets_lost), ("recorded", 0));
    let sidecar = line.recorded().unwrap().sidecar;
    assert_eq!(sidecar.packets_dropped, 0, "{rtpmap}");
    let (rate_hz, [silent, heard]) = channels(line.file.as_ref().unwrap());
    assert!(silent.iter().all(|&sample| sample == 0));
    (rate_hz, heard)
}

/// Three seconds of `count` channels at 16 kHz: two voices in turn, each beginning elsewhere.
fn voices(count: usize) -> Vec<Vec<i16>> {
    let said = [speech("caller.wav"), speech("callee.wav")];
    let voice = |n: usize| said[n % 2][n * 4000..n * 4000 + 3 * WIDE_HZ as usize].to_vec();
    (0..count).map(voice).collect()
}

/// Samples of all channels in turn.
fn interleaved(voices: &[Vec<i16>]) -> Vec<i16> {
    let frame = |n: usize| voices.iter().map(move |voice| voice[n]);
    (0..voices[0].len()).flat_map(frame).collect()
}

/// The filter of ffmpeg that takes the mean of `count` channels.
fn mean(count: usize) -> String {
    let term = |n: usize| format!("{}*c{n}", 1.0 / count as f64);
    let terms: Vec<String> = (0..count).map(term).collect();
    format!("pan=mono|c0={}", terms.join("+"))
}

/// `input` of `count` channels as ffmpeg changes its rate, behind `filter`.
fn converted(
    input: &[i16],
    count: usize,
    (from, to): (u32, u32),
    filter: &str,
) -> Option<Vec<i16>> {
    let (count, from, to) = (count.to_string(), from.to_string(), to.to_string());
    let source = ["-f", "s16le", "-ar", &from, "-ac", &count, "-i", "pipe:0"];
    let target = ["-af", filter, "-ar", &to, "-f", "s16le", "pipe:1"];
    let converted = ffmpeg(&[&source[..], &target].concat(), &bytes(input))?;
    Some(samples(&converted))
}

#[test]
fn l16_of_any_rate_and_number_of_channels_is_the_mean_of_them_in_its_place() {
    for (rate_hz, count) in [
        (4000, 1),
        (8000, 2),
        (8000, 3),
        (11_025, 4),
        (16_000, 1),
        (16_000, 5),
        (16_000, 6),
        (22_050, 2),
        (37_800, 1),
        (44_056, 1),
        (44_100, 2),
        (48_000, 6),
        (96_000, 2),
        (192_000, 1),
    ] {
        let what = format!("L16/{rate_hz}/{count}");
        let said = interleaved(&voices(count));
        let Some(sent) = converted(&said, count, (WIDE_HZ, rate_hz), "anull") else {
            return;
        };
        // 20 ms; where that is no whole number of samples, 40.
        let ticks = match rate_hz {
            11_025 => 441,
            rate_hz => rate_hz as usize / 50,
        };
        let payloads = sent.chunks_exact(ticks * count);
        let payloads: Vec<Vec<u8>> = payloads
            .map(|packet| packet.iter().flat_map(|s| s.to_be_bytes()).collect())
            .collect();
        let sent = &sent[..payloads.len() * ticks * count];
        let frames = sent.len() / count;
        let seconds = frames as f64 / f64::from(rate_hz);
        let packets = in_a_row(payloads, ticks as u32, rate_hz);
        let (found_hz, heard) = heard(&what, packets, seconds);
        assert_eq!(
            found_hz,
            if rate_hz > 8000 { 16_000 } else { 8000 },
            "{what}"
        );
        // Of packets that are no whole number of its samples the last one may end within one.
        let expected = frames as f64 * f64::from(found_hz) / f64::from(rate_hz);
        let uneven = !(ticks as u64 * u64::from(found_hz)).is_multiple_of(u64::from(rate_hz));
        let short = expected - heard.len() as f64;
        assert!(
            (0.0..=if uneven { 2.0 } else { 0.0 }).contains(&short),
            "{what}: {short}"
        );
        if found_hz == rate_hz {
            let mean =
                |frame: &[i16]| frame.iter().map(|&s| i32::from(s)).sum::<i32>() / count as i32;
            let means: Vec<i16> = sent.chunks(count).map(|f| mean(f) as i16).collect();
            assert_eq!(heard, means, "{what}");
        }
        let theirs = converted(sent, count, (rate_hz, found_hz), &mean(count)).unwrap();
        let like = correlation(&heard, &theirs);
        let later = lag(&theirs, &heard, 100);
        let louder = level(&heard) - level(&theirs[..heard.len().min(theirs.len())]);
        println!(
            "{what}: {} samples, {like:.5}, {later} later, {louder:.2} dB",
            heard.len()
        );
        assert!(like >= 0.99 && later == 0, "{what}: {like:.4}, {later}");
        assert!(louder.abs() < 0.1, "{what}: {louder} dB");
    }
}

/// In stereo each side has a voice of its own; a recording has both, as loud as in the mean. Packets of any length.
#[test]
fn both_voices_of_opus_in_stereo_are_heard() {
    let said = voices(2);
    for frame_ms in ["2.5", "5", "10", "20", "40", "60"] {
        let what = format!("opus, {frame_ms} ms");
        let source = ["-f", "s16le", "-ar", "16000", "-ac", "2", "-i", "pipe:0"];
        let target = [
            "-ar",
            "48000",
            "-c:a",
            "libopus",
            "-b:a",
            "64k",
            "-frame_duration",
            frame_ms,
        ];
        let Some(file) = ffmpeg(
            &[&source[..], &target, &["-f", "ogg", "pipe:1"]].concat(),
            &bytes(&interleaved(&said)),
        ) else {
            return;
        };
        let payloads = ogg_packets(&file);
        let extent = |packet: &[u8]| Codec::Opus.extent(packet).samples;
        let ticks = extent(&payloads[0]);
        assert!(
            payloads
                .iter()
                .all(|packet| packet[0] & 4 != 0 && extent(packet) == ticks)
        );
        let decoded = ffmpeg(
            &[
                "-c:a",
                "libopus",
                "-f",
                "ogg",
                "-i",
                "pipe:0",
                "-af",
                &mean(2),
                "-ar",
                "16000",
                "-f",
                "s16le",
                "pipe:1",
            ],
            &ogg(2, &payloads, extent),
        );
        let theirs = samples(&decoded.unwrap());
        let count = payloads.len() as u32 * ticks;
        let packets = in_a_row(payloads, ticks, 48_000);
        let (found_hz, heard) = heard("opus/48000/2", packets, f64::from(count) / 48_000.0);
        assert_eq!(
            (found_hz, heard.len() as u32),
            (16_000, count / 3),
            "{what}"
        );
        assert_eq!(heard.len(), theirs.len(), "{what}");
        let like = correlation(&heard, &theirs);
        let later = lag(&theirs, &heard, 100);
        // What the encoder looks ahead.
        let behind = lag(&said[0], &heard, 300) as usize;
        let voices: Vec<f64> = said
            .iter()
            .map(|voice| correlation(voice, &heard[behind..]))
            .collect();
        println!("{what}: {like:.5}, {later} later, each voice {voices:.2?}");
        assert!(like >= 0.99 && later == 0, "{what}: {like:.4}, {later}");
        assert!(voices.iter().all(|&like| like > 0.3), "{what}: {voices:?}");
    }
}
