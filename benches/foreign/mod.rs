//! Codecs that a program of the operator's decodes: what that costs, its start and its sandbox among it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use callreel::decoders::{Decoders, Frame, Framing, Settings};

use crate::{SECONDS, print};

const FFMPEG: &str = "/usr/bin/ffmpeg";
/// Packets that one process decodes: a minute of audio and more, as after a call.
const PACKETS: usize = 3000;

/// Name of the row, encoding name, clock rate, bytes of a frame, and those of them that are not any.
type Noise = (
    &'static str,
    &'static str,
    u32,
    usize,
    &'static [(usize, u8)],
);
const CODECS: [Noise; 7] = [
    ("iLBC 20 ms", "iLBC", 8000, 38, &[(0, 0x55)]),
    ("iLBC 30 ms", "iLBC", 8000, 50, &[(0, 0x55)]),
    // Sub-mode 3, 8 kbit/s; wide: the same, and sub-mode 3 of the higher band; ultra-wide: and sub-mode 1 of the highest.
    ("speex 8 kHz", "speex", 8000, 20, &[NARROW]),
    (
        "speex 16 kHz",
        "speex",
        16_000,
        44,
        &[NARROW, (20, 0b1011_0000)],
    ),
    (
        "speex 32 kHz",
        "speex",
        32_000,
        49,
        &[
            NARROW,
            (20, 0b1011_0000),
            (44, 0b1001_0000),
            (48, 0b0000_0111),
        ],
    ),
    // The last two bits tell the rate.
    ("G723 6.3", "G723", 8000, 24, &[(0, 0b0101_0100)]),
    ("G723 5.3", "G723", 8000, 20, &[(0, 0b0101_0101)]),
];
const NARROW: (usize, u8) = (0, 0b0001_1000);

/// Prints them, or why there are none.
pub fn rows() {
    if !Path::new(FFMPEG).exists() {
        println!("iLBC, Speex and G.723.1 are not measured: there is no {FFMPEG}");
        return;
    }
    let decoders = Decoders::new(Settings {
        program: FFMPEG.into(),
        own_program: env!("CARGO_BIN_EXE_callreel").into(),
        timeout: Duration::from_secs(60),
        memory_bytes: 512 << 20,
        formats: BTreeMap::new(),
    });
    for (name, encoding, clock_rate_hz, bytes, fixed) in CODECS {
        match decoders.framing(encoding, clock_rate_hz) {
            Some(framing) => row(name, &decoders, &framing, &frames(&framing, bytes, fixed)),
            None => println!("{name:<14} is not measured: {FFMPEG} does not decode it here"),
        }
    }
}

fn row(name: &str, decoders: &Decoders, framing: &Framing, frames: &[Frame]) {
    let samples = frames
        .iter()
        .map(|frame| framing.frame_samples(frame.variant));
    let seconds = samples.sum::<usize>() as f64 / f64::from(framing.sample_rate_hz());
    let bytes = frames.iter().map(|frame| frame.bytes.len()).sum();
    let (begin, mut rounds) = (children_seconds(), 0);
    let taken = loop {
        decoders
            .decode(framing, frames, &AtomicBool::new(false))
            .expect("any bits are a frame");
        rounds += 1;
        let taken = children_seconds() - begin;
        if taken > SECONDS {
            break taken;
        }
    };
    print(name, bytes, seconds, f64::from(rounds) * seconds / taken);
}

fn frames(framing: &Framing, bytes: usize, fixed: &[(usize, u8)]) -> Vec<Frame> {
    let mut noise = 1u32;
    let mut byte = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    let payloads = (0..PACKETS).map(|_| {
        let mut payload: Vec<u8> = (0..bytes).map(|_| byte()).collect();
        fixed.iter().for_each(|&(at, byte)| payload[at] = byte);
        payload
    });
    payloads
        .flat_map(|payload| framing.split(&payload).expect("it is a frame"))
        .collect()
}

/// CPU time of the processes that were started and have ended.
fn children_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    // Behind the name in brackets; the third field is the first there, cutime and cstime the 16th and 17th of all.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
