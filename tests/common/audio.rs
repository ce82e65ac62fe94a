//! Samples: read, compared, and decoded by ffmpeg.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::Path;
use std::process::{Command, Stdio};

use callreel::codec::{Codec, Decoder, Resampler};

/// Both channels of a recording, and its rate.
pub fn channels(path: &Path) -> (u32, [Vec<i16>; 2]) {
    let mut wav = hound::WavReader::open(path).unwrap();
    let rate_hz = wav.spec().sample_rate;
    let mut channels = [Vec::new(), Vec::new()];
    for (n, sample) in wav.samples::<i16>().enumerate() {
        channels[n % 2].push(sample.unwrap());
    }
    (rate_hz, channels)
}

/// A mono WAV in mu-law as linear samples.
pub fn ulaw_wav(path: &Path) -> Vec<i16> {
    let bytes = std::fs::read(path).unwrap();
    let data = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
    let mut samples = Vec::new();
    let mut decoder = Decoder::new(Codec::Pcmu).unwrap();
    decoder.decode(&bytes[data..], &mut samples).unwrap();
    samples
}

pub fn resampled(samples: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    if from_hz == to_hz {
        return samples.to_vec();
    }
    let (mut resampler, mut out) = (Resampler::new(from_hz, to_hz).unwrap(), Vec::new());
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    out
}

/// Pearson's coefficient of the stretch that both have; 1 for two silences.
pub fn correlation(a: &[i16], b: &[i16]) -> f64 {
    let count = a.len().min(b.len());
    let (a, b) = (&a[..count], &b[..count]);
    let mean = |x: &[i16]| x.iter().map(|&s| f64::from(s)).sum::<f64>() / count.max(1) as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a) - mean_a, f64::from(b) - mean_b);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    if aa == 0.0 && bb == 0.0 {
        return 1.0;
    }
    ab / (aa * bb).sqrt()
}

/// By how many samples `heard` is later than `said`, at most `reach`, by the best of all correlations.
pub fn lag(said: &[i16], heard: &[i16], reach: i64) -> i64 {
    let at = |lag: i64| {
        let (said, heard) = aligned(said, heard, lag);
        let end = said.len().min(heard.len()).min(20 * reach as usize);
        let part = (4 * reach as usize).min(end)..end;
        correlation(&said[part.clone()], &heard[part])
    };
    (-reach..=reach)
        .map(|lag| (at(lag), lag))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap()
        .1
}

/// Both from the sample on that they have in common.
pub fn aligned<'a>(said: &'a [i16], heard: &'a [i16], lag: i64) -> (&'a [i16], &'a [i16]) {
    match usize::try_from(lag) {
        Ok(later) => (said, &heard[later.min(heard.len())..]),
        Err(_) => (&said[(-lag) as usize..], heard),
    }
}

/// Root mean square in dB below full scale.
pub fn level(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
    10.0 * (sum / samples.len() as f64 / 32_768f64.powi(2)).log10()
}

/// What AMR is given to code, and gives back: its encoder and its decoder begin and end with a high-pass filter that turns the
/// phase of a low voice (3GPP TS 26.090 clauses 5.1 and 6.2), which a recorder can no more undo than a phone.
pub fn through_the_filters_of_amr(samples: &[i16]) -> Vec<i16> {
    /// Coefficients of the numerator and of the denominator without its first, which is 1.
    type Filter = ([f64; 3], [f64; 2]);
    const FILTERS: [Filter; 2] = [
        (
            [0.927_274_35, -1.854_494_1, 0.927_274_35],
            [-1.905_946_5, 0.911_402_4],
        ),
        (
            [0.939_819_335, -1.879_638_672, 0.939_819_335],
            [-1.933_195_469, 0.935_913_085],
        ),
    ];
    let mut signal: Vec<f64> = samples.iter().map(|&s| f64::from(s)).collect();
    for (b, a) in FILTERS {
        let (mut x, mut y) = ([0.0; 2], [0.0; 2]);
        for sample in &mut signal {
            let out = b[0] * *sample + b[1] * x[0] + b[2] * x[1] - a[0] * y[0] - a[1] * y[1];
            (x, y) = ([*sample, x[0]], [out, y[0]]);
            *sample = out;
        }
    }
    signal.into_iter().map(|s| s.round() as i16).collect()
}

/// Runs ffmpeg on `input`; `None` where it is not installed, said aloud.
pub fn ffmpeg(args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("no ffmpeg: skipped");
            return None;
        }
        child => child.unwrap(),
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // What it does not read is no fault: it knows where its input ends.
    let writer = std::thread::spawn(move || _ = std::io::Write::write_all(&mut stdin, &input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "ffmpeg {args:?}");
    Some(output.stdout)
}

/// Bytes of 16 bits each, the least significant first.
pub fn samples(bytes: &[u8]) -> Vec<i16> {
    let samples = bytes.chunks_exact(2);
    samples.map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

pub fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// `stream` as ffmpeg decodes it.
pub fn reference(args: &[&str], stream: &[u8]) -> Option<Vec<i16>> {
    let args = [args, &["-i", "pipe:0", "-ac", "1", "-f", "s16le", "pipe:1"]].concat();
    ffmpeg(&args, stream).map(|bytes| samples(&bytes))
}

/// A file of Opus packets of `channels` (RFC 3533, RFC 7845): a page for each, nothing skipped at the start. `samples` of each
/// packet at 48 kHz.
pub fn ogg(channels: u8, packets: &[Vec<u8>], samples: impl Fn(&[u8]) -> u32) -> Vec<u8> {
    let head = [
        &b"OpusHead\x01"[..],
        &[channels, 0, 0],
        &48_000u32.to_le_bytes(),
        &[0; 3],
    ]
    .concat();
    let tags = b"OpusTags\0\0\0\0\0\0\0\0".to_vec();
    let mut file = Vec::new();
    let mut granule = 0u64;
    for (n, packet) in [head, tags].iter().chain(packets).enumerate() {
        if n >= 2 {
            granule += u64::from(samples(packet));
        }
        let flags = if n == 0 { 2 } else { 0 };
        let mut page = [
            &b"OggS\0"[..],
            &[flags],
            &granule.to_le_bytes(),
            &1u32.to_le_bytes(),
        ]
        .concat();
        page.extend((n as u32).to_le_bytes());
        let (whole, rest) = (packet.len() / 255, packet.len() % 255);
        page.extend([0; 4]);
        page.push(whole as u8 + 1);
        page.extend(std::iter::repeat_n(255, whole));
        page.push(rest as u8);
        page.extend(packet);
        let checksum = ogg_checksum(&page);
        page[22..26].copy_from_slice(&checksum.to_le_bytes());
        file.extend(page);
    }
    file
}

/// The packets of an Ogg file of one stream, its two headers left out.
pub fn ogg_packets(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet, mut rest) = (Vec::new(), Vec::new(), file);
    while !rest.is_empty() {
        assert!(rest.starts_with(b"OggS"));
        let (lacing, mut body) = rest[27..].split_at(usize::from(rest[26]));
        for &len in lacing {
            let (segment, behind) = body.split_at(usize::from(len));
            packet.extend(segment);
            body = behind;
            if len < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        rest = body;
    }
    packets.split_off(2)
}

/// CRC-32 with the polynomial 0x04c11db7, nothing reflected, nothing inverted.
fn ogg_checksum(page: &[u8]) -> u32 {
    page.iter().fold(0, |checksum: u32, &byte| {
        (0..8).fold(checksum ^ u32::from(byte) << 24, |c, _| {
            c << 1 ^ if c >> 31 != 0 { 0x04c1_1db7 } else { 0 }
        })
    })
}
