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

/// Encoding name, clock rate, first byte and bytes of a frame. Any bits behind the first byte are a frame.
const CODECS: [(&str, u32, u8, usize); 3] = [
    ("iLBC", 8000, 0x55, 38),
    // Narrow band, sub-mode 3: 8 kbit/s.
    ("speex", 8000, 0b0001_1000, 20),
    // 6.3 kbit/s: the last two bits are 0.
    ("G723", 8000, 0b0101_0100, 24),
];

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
    for (name, clock_rate_hz, first, bytes) in CODECS {
        match decoders.framing(name, clock_rate_hz) {
            Some(framing) => row(name, &decoders, &framing, &frames(&framing, first, bytes)),
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

fn frames(framing: &Framing, first: u8, bytes: usize) -> Vec<Frame> {
    let mut noise = 1u32;
    let mut byte = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    let payloads = (0..PACKETS).map(|_| {
        let rest = (1..bytes).map(|_| byte());
        std::iter::once(first).chain(rest).collect::<Vec<u8>>()
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
