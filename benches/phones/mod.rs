//! Payloads as real phones send them.

#![allow(dead_code, reason = "each bench uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use callreel::capture::CaptureFiles;
use callreel::codec::{Codec, Decoder, Resampler, linear_to_alaw, linear_to_ulaw};
use callreel::rtp::RtpPacket;
use callreel::sip;
use callreel::wire::{TcpInterest, Unit, Wire, WireLimits};
use codec_core::codecs::g729::G729Codec;
use codec_core::{AudioCodec as _, CodecConfig};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/baresip-codecs")
        .join(name)
}

/// The longest stream of a capture.
pub fn phone(name: &str) -> Vec<Vec<u8>> {
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

pub fn pcma() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = speech().into_iter().map(linear_to_alaw).collect();
    bytes.chunks_exact(160).map(<[u8]>::to_vec).collect()
}

pub fn pcmu() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = speech().into_iter().map(linear_to_ulaw).collect();
    bytes.chunks_exact(160).map(<[u8]>::to_vec).collect()
}

/// Code words of G.726 that stand for noise, not for speech: each is worked off by the same steps. 20 ms a packet.
pub fn g726(bits_per_sample: usize) -> Vec<Vec<u8>> {
    let bytes = pcmu().concat();
    bytes
        .chunks_exact(20 * bits_per_sample)
        .map(<[u8]>::to_vec)
        .collect()
}

pub fn g729() -> Vec<Vec<u8>> {
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
