//! What each decoder costs: seconds of audio that one CPU second decodes.
//!
//! `make bench`, or `cargo bench --bench codecs`. The payloads are those of `fixtures/baresip-codecs`, real phones' speech, and for
//! what no phone there speaks, speech encoded here. One thread; CPU time as the kernel counts it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use callreel::capture::CaptureFiles;
use callreel::codec::{AmrLayout, Codec, Decoder, Packing, Resampler, linear_to_alaw};
use callreel::rtp::RtpPacket;
use callreel::sip;
use callreel::wire::{TcpInterest, Unit, Wire, WireLimits};
use codec_core::codecs::g729::G729Codec;
use codec_core::{AudioCodec as _, CodecConfig};

/// CPU time that each row takes.
const SECONDS: f64 = 2.0;

fn main() {
    println!(
        "{:<14} {:>9} {:>12} {:>14}",
        "codec", "kbit/s", "us/20 ms", "s/CPU second"
    );
    for (name, codec, payloads) in rows() {
        let row = Row::measure(codec, &payloads);
        let kbit_s = payloads.iter().map(Vec::len).sum::<usize>() as f64 * 8.0
            / seconds_of(codec, &payloads)
            / 1000.0;
        println!(
            "{name:<14} {kbit_s:>9.1} {:>12.2} {:>14.0}",
            20_000.0 / row.speed,
            row.speed
        );
    }
}

fn rows() -> Vec<(&'static str, Codec, Vec<Vec<u8>>)> {
    let amr = |wideband| {
        Codec::Amr(AmrLayout {
            wideband,
            octet_aligned: true,
            ..AmrLayout::default()
        })
    };
    let g726 = |kbit_s| Codec::G726 {
        kbit_s,
        packing: Packing::LeastFirst,
    };
    let l16 = Codec::L16 {
        sample_rate_hz: 16_000,
        channels: 1,
    };
    vec![
        ("PCMA", Codec::Pcma, pcma()),
        ("L16 16 kHz", l16, phone("l16-16k")),
        ("G722", Codec::G722, phone("g722")),
        ("G726-24", g726(24), phone("g726-24")),
        ("G726-32", g726(32), phone("g726-32")),
        ("G729", Codec::G729, g729()),
        ("GSM", Codec::Gsm, phone("gsm")),
        ("AMR", amr(false), phone("amr")),
        ("AMR-WB", amr(true), phone("amr-wb")),
        ("opus", Codec::Opus, phone("opus")),
    ]
}

struct Row {
    /// Seconds of audio a second.
    speed: f64,
}

impl Row {
    /// Decodes the payloads again and again.
    fn measure(codec: Codec, payloads: &[Vec<u8>]) -> Row {
        let mut decoder = Decoder::new(codec).expect("it is decodable");
        let mut samples = Vec::with_capacity(1 << 20);
        let length = seconds_of(codec, payloads);
        let (begin, mut rounds) = (cpu_seconds(), 0);
        loop {
            samples.clear();
            for payload in payloads {
                decoder
                    .decode(payload, &mut samples)
                    .expect("real phones' payloads fit");
            }
            rounds += 1;
            let taken = cpu_seconds() - begin;
            if taken > SECONDS {
                return Row {
                    speed: f64::from(rounds) * length / taken,
                };
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

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/baresip-codecs")
        .join(name)
}

/// The longest stream of a capture.
fn phone(name: &str) -> Vec<Vec<u8>> {
    let mut files =
        CaptureFiles::open(&[fixture(&format!("{name}.pcap"))]).expect("the fixture is there");
    let interest = TcpInterest {
        ports: Vec::new(),
        sniff: sip::looks_like_sip,
    };
    let mut wire = Wire::new(WireLimits::default(), interest);
    let mut streams: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    while let Some(packet) = files.next_packet().expect("the fixture is whole") {
        wire.handle_packet(&packet, &mut |unit| {
            if let Unit::Datagram(datagram) = unit
                && let Some(rtp) = RtpPacket::parse(datagram.payload)
            {
                let stream = streams.entry(rtp.ssrc).or_default();
                stream.push(rtp.payload.to_vec());
            }
        });
    }
    streams
        .into_values()
        .max_by_key(Vec::len)
        .expect("there is a stream")
}

/// What the phones of the fixtures said, at 8 kHz.
fn speech() -> Vec<i16> {
    let bytes = std::fs::read(fixture("caller.wav")).expect("the fixture is there");
    let mut wide = Vec::new();
    let mut decoder = Decoder::new(Codec::Pcmu).expect("G.711 is decodable");
    decoder
        .decode(&bytes[58..], &mut wide)
        .expect("any byte is mu-law");
    let (mut resampler, mut out) = (
        Resampler::new(16_000, 8000).expect("both are usual"),
        Vec::new(),
    );
    resampler.push(&wide, &mut out);
    out
}

fn pcma() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = speech().into_iter().map(linear_to_alaw).collect();
    bytes.chunks_exact(160).map(<[u8]>::to_vec).collect()
}

fn g729() -> Vec<Vec<u8>> {
    let mut encoder = G729Codec::new(CodecConfig::g729a()).expect("the default is valid");
    let speech = speech();
    let frames = speech.chunks_exact(160);
    let packet = |samples: &[i16]| {
        let frames = samples.chunks_exact(80);
        let bytes = frames.flat_map(|frame| encoder.encode(frame).expect("a whole frame"));
        bytes.collect()
    };
    frames.map(packet).collect()
}
