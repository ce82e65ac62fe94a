//! What each decoder costs: seconds of audio that one CPU second decodes; and what a mix of codecs does.
//!
//! `make bench`, or `cargo bench --bench codecs`. The payloads are those of `fixtures/baresip-codecs`, real phones' speech, and for
//! what no phone there speaks, speech encoded here, or, for G.726 and those of `ffmpeg`, noise. One thread; CPU time as the kernel counts it.
//!
//! iLBC, Speex and G.723.1 go through `ffmpeg` in its sandbox, as after a call: a process for each round, whose CPU time counts too.

mod foreign;
mod phones;

use callreel::codec::{AmrLayout, Codec, Decoder, Packing};

use phones::{g726, g729, pcma, pcmu, phone};

/// CPU time that each row takes.
const SECONDS: f64 = 2.0;

fn main() {
    println!(
        "{:<14} {:>9} {:>12} {:>14}",
        "codec", "kbit/s", "us/20 ms", "s/CPU second"
    );
    for (name, codec, payloads) in rows() {
        row(name, &[(codec, payloads)]);
    }
    row("mix", &mix());
    foreign::rows();
}

/// Measures streams, and prints that.
fn row(name: &str, streams: &[(Codec, Vec<Vec<u8>>)]) {
    let payloads = streams.iter().flat_map(|(_, payloads)| payloads);
    let bytes = payloads.map(Vec::len).sum();
    let row = Row::measure(streams);
    print(name, bytes, row.seconds, row.speed);
}

/// As much of each: half G.711, a quarter Opus, a quarter G.729.
fn mix() -> [(Codec, Vec<Vec<u8>>); 4] {
    let streams = [
        (Codec::Pcma, pcma()),
        (Codec::Pcmu, pcmu()),
        (Codec::Opus, phone("opus")),
        (Codec::G729, g729()),
    ];
    let lengths = streams.iter().map(|(codec, all)| seconds_of(*codec, all));
    let shortest = lengths.fold(f64::INFINITY, f64::min);
    streams.map(|(codec, mut payloads)| {
        let each = seconds_of(codec, &payloads) / payloads.len() as f64;
        payloads.truncate((shortest / each) as usize);
        (codec, payloads)
    })
}

/// A row: how long the payloads are in bytes and seconds, and how many seconds of audio a CPU second decodes.
fn print(name: &str, bytes: usize, seconds: f64, speed: f64) {
    let kbit_s = bytes as f64 * 8.0 / seconds / 1000.0;
    println!(
        "{name:<14} {kbit_s:>9.1} {:>12.2} {speed:>14.0}",
        20_000.0 / speed
    );
}

fn rows() -> Vec<(&'static str, Codec, Vec<Vec<u8>>)> {
    let amr = |wideband| {
        Codec::Amr(AmrLayout {
            wideband,
            octet_aligned: true,
            ..AmrLayout::default()
        })
    };
    let g726_of = |kbit_s| Codec::G726 {
        kbit_s,
        packing: Packing::LeastFirst,
    };
    let l16 = Codec::L16 {
        sample_rate_hz: 16_000,
        channels: 1,
    };
    vec![
        ("PCMA", Codec::Pcma, pcma()),
        ("PCMU", Codec::Pcmu, pcmu()),
        ("L16 16 kHz", l16, phone("l16-16k")),
        ("G722", Codec::G722, phone("g722")),
        ("G726-16", g726_of(16), g726(2)),
        ("G726-24", g726_of(24), phone("g726-24")),
        ("G726-32", g726_of(32), phone("g726-32")),
        ("G726-40", g726_of(40), g726(5)),
        ("G729", Codec::G729, g729()),
        ("GSM", Codec::Gsm, phone("gsm")),
        ("AMR", amr(false), phone("amr")),
        ("AMR-WB", amr(true), phone("amr-wb")),
        ("opus", Codec::Opus, phone("opus")),
    ]
}

struct Row {
    /// Length of the audio.
    seconds: f64,
    /// Seconds of audio a second.
    speed: f64,
}

impl Row {
    /// Decodes the payloads of each stream again and again.
    fn measure(streams: &[(Codec, Vec<Vec<u8>>)]) -> Row {
        let decoder = |(codec, _): &(Codec, _)| Decoder::new(*codec).expect("it is decodable");
        let mut decoders: Vec<Decoder> = streams.iter().map(decoder).collect();
        let mut samples = Vec::with_capacity(1 << 20);
        let lengths = streams.iter().map(|(codec, all)| seconds_of(*codec, all));
        let seconds = lengths.sum();
        let (begin, mut rounds) = (cpu_seconds(), 0);
        loop {
            for (decoder, (_, payloads)) in decoders.iter_mut().zip(streams) {
                samples.clear();
                for payload in payloads {
                    decoder
                        .decode(payload, &mut samples)
                        .expect("real phones' payloads fit");
                }
            }
            rounds += 1;
            let taken = cpu_seconds() - begin;
            if taken > SECONDS {
                let speed = f64::from(rounds) * seconds / taken;
                return Row { seconds, speed };
            }
        }
    }
}

fn seconds_of(codec: Codec, payloads: &[Vec<u8>]) -> f64 {
    let samples: u32 = payloads.iter().map(|p| codec.extent(p).samples).sum();
    f64::from(samples) / f64::from(codec.sample_rate_hz())
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
