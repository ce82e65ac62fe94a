//! Payload to samples.
//!
//! In: RTP payload bytes and the format that SDP gave them. Out: 16-bit linear samples, one channel.
//! A codec is a row in [`Codec`] and, where it can be decoded, an arm of [`Decoder`]; nothing else in the program
//! knows one codec from another.

mod amr;
mod duration;
mod format;
mod g711;
mod g726;
mod g726_packing;
mod impairment;
mod l16;
mod opus;
mod redundancy;
mod resample;

use audio_codec::Decoder as _;
use audio_codec::g722::G722Decoder;
use codec_core::codecs::g729::G729Codec;
use codec_core::{AudioCodec as _, CodecConfig};
use oxideav_gsm::{DecoderState, UnpackedFrame};

pub use amr::{Amr, AmrLayout};
pub use duration::Extent;
pub use format::{Codec, CodecName, PayloadFormat};
pub use g711::{
    ALAW_SILENCE, ALAW_TO_LINEAR, ULAW_SILENCE, ULAW_TO_LINEAR, linear_to_alaw, linear_to_ulaw,
};
#[cfg(test)]
pub use g726::testing as g726_testing;
pub use g726::{Doubt, G726};
pub use g726_packing::Packing;
pub use impairment::{Band, Impairment};
pub use opus::Opus;
pub use redundancy::{RedundantBlock, redundant_blocks};
pub use resample::{INPUT_RATES_HZ, Resampler};

/// A payload that is not what its format says: cut, damaged or made up. Some of its samples may have been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload does not fit its codec")]
pub struct Undecodable;

/// Decodes the payloads of one stream, in order.
///
/// `decode` is called from a recorder thread, never from the capture thread.
pub enum Decoder {
    Pcmu,
    Pcma,
    L16 { channels: usize },
    G722(Box<G722Decoder>),
    G726(Box<G726>),
    G729(Box<G729Codec>),
    Gsm(Box<DecoderState>),
    Opus(Box<Opus>),
    Amr(Box<Amr>),
}

impl Decoder {
    /// The decoder of `codec`, if this version has one.
    pub fn new(codec: Codec) -> Option<Decoder> {
        Some(match codec {
            Codec::Pcmu => Decoder::Pcmu,
            Codec::Pcma => Decoder::Pcma,
            Codec::L16 { channels, .. } => Decoder::L16 {
                channels: usize::from(channels.max(1)),
            },
            Codec::G722 => Decoder::G722(Box::default()),
            Codec::G726 { kbit_s, packing } => Decoder::G726(Box::new(G726::new(kbit_s, packing))),
            Codec::G729 => Decoder::G729(Box::new(G729Codec::new(CodecConfig::g729ba()).ok()?)),
            Codec::Gsm => Decoder::Gsm(Box::default()),
            Codec::Opus => Decoder::Opus(Box::new(Opus::new()?)),
            Codec::Amr(layout) => Decoder::Amr(Box::new(Amr::new(layout)?)),
            Codec::ComfortNoise
            | Codec::TelephoneEvent
            | Codec::Other(_)
            | Codec::Redundancy
            | Codec::Speex { .. }
            | Codec::Ilbc
            | Codec::G7231 => return None,
        })
    }

    /// Whether samples depend on nothing but their own payload.
    pub fn is_stateless(&self) -> bool {
        matches!(self, Decoder::Pcmu | Decoder::Pcma | Decoder::L16 { .. })
    }

    /// Appends the samples of `payload`, as many as [`Codec::extent`] says; a payload cut in mid-sample gives the whole samples
    /// before the cut.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable> {
        match self {
            Decoder::Pcmu => out.extend(
                payload
                    .iter()
                    .map(|&byte| ULAW_TO_LINEAR[usize::from(byte)]),
            ),
            Decoder::Pcma => out.extend(
                payload
                    .iter()
                    .map(|&byte| ALAW_TO_LINEAR[usize::from(byte)]),
            ),
            Decoder::L16 { channels } => l16::decode(payload, *channels, out),
            Decoder::G722(decoder) => return decode_g722(decoder, payload, out),
            Decoder::G726(decoder) => decoder.decode(payload, out),
            Decoder::G729(decoder) => return decode_g729(decoder, payload, out),
            Decoder::Gsm(decoder) => return decode_gsm(decoder, payload, out),
            Decoder::Opus(decoder) => return decoder.decode(payload, out),
            Decoder::Amr(decoder) => return decoder.decode(payload, out),
        }
        Ok(())
    }

    /// Lets time go by in which a sender that had said that it is silent sent nothing: `samples` of the codec's rate. A receiver's
    /// decoder hears that frame by frame, and what it makes of the speech that follows depends on it.
    pub fn pass(&mut self, samples: u32) {
        if let Decoder::Amr(decoder) = self {
            decoder.pass(samples);
        }
    }

    /// Hears that `samples` of the codec's rate were lost. What it would make up for them is not given; but what comes next is
    /// predicted from it, at both ends.
    pub fn lose(&mut self, samples: u32) {
        match self {
            Decoder::Amr(decoder) => decoder.lose(samples),
            Decoder::Opus(decoder) => decoder.lose(samples),
            _ => {}
        }
    }

    /// How sure it is of what it gave so far.
    pub fn doubt(&self) -> Doubt {
        match self {
            Decoder::G726(decoder) => decoder.doubt(),
            _ => Doubt::None,
        }
    }

    /// What decodes again, and right, what was given while it was in doubt ([`Doubt::Open`]).
    pub fn again(&self) -> Option<Decoder> {
        match self {
            Decoder::G726(decoder) => Some(Decoder::G726(Box::new(decoder.again()?))),
            _ => None,
        }
    }

    /// Samples before `payload` that [`Decoder::restore`] can give.
    pub fn restorable(&self, payload: &[u8]) -> u32 {
        match self {
            Decoder::Opus(_) => opus::redundancy(payload),
            _ => 0,
        }
    }

    /// Appends what `payload` carries of the audio just before it, which was lost: as many samples as
    /// [`Decoder::restorable`] says. To be called before the payload itself is decoded.
    pub fn restore(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable> {
        match self {
            Decoder::Opus(decoder) => decoder.restore(payload, out),
            _ => Err(Undecodable),
        }
    }
}

/// Two samples for each byte.
fn decode_g722(
    decoder: &mut G722Decoder,
    payload: &[u8],
    out: &mut Vec<i16>,
) -> Result<(), Undecodable> {
    let begin = out.len();
    out.resize(begin + 2 * payload.len(), 0);
    match decoder.decode_into(payload, &mut out[begin..]) {
        Ok(given) if given == 2 * payload.len() => Ok(()),
        _ => Err(Undecodable),
    }
}

/// Frames of 10 ms, the last of which may only say that silence begins: that gives silence.
fn decode_g729(
    decoder: &mut G729Codec,
    payload: &[u8],
    out: &mut Vec<i16>,
) -> Result<(), Undecodable> {
    let (frames, rest) = payload.as_chunks::<{ duration::G729_FRAME }>();
    for frame in frames {
        let samples = decoder.decode(frame).map_err(|_| Undecodable)?;
        if samples.len() != 80 {
            return Err(Undecodable);
        }
        out.extend_from_slice(&samples);
    }
    match rest.len() {
        0 => Ok(()),
        duration::G729_SID => {
            // The decoder follows the sender's silence, so that speech goes on as a receiver would hear it.
            let _ = decoder.decode(rest);
            out.resize(out.len() + 80, 0);
            Ok(())
        }
        _ => Err(Undecodable),
    }
}

/// Frames of 20 ms, each beginning with the four bits 1101 (RFC 3551 section 4.5.8.1).
fn decode_gsm(
    decoder: &mut DecoderState,
    payload: &[u8],
    out: &mut Vec<i16>,
) -> Result<(), Undecodable> {
    let (frames, rest) = payload.as_chunks::<33>();
    for frame in frames {
        let frame = UnpackedFrame::from_gsm_byte_frame(frame).map_err(|_| Undecodable)?;
        out.extend_from_slice(&decoder.decode_frame(&frame));
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Undecodable)
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Decoder::Pcmu => "Pcmu",
            Decoder::Pcma => "Pcma",
            Decoder::L16 { .. } => "L16",
            Decoder::G722(_) => "G722",
            Decoder::G726(_) => "G726",
            Decoder::G729(_) => "G729",
            Decoder::Gsm(_) => "Gsm",
            Decoder::Opus(_) => "Opus",
            Decoder::Amr(_) => "Amr",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn every_codec() -> Vec<Codec> {
        let mut codecs = vec![
            Codec::Pcmu,
            Codec::Pcma,
            Codec::G722,
            Codec::G729,
            Codec::Gsm,
            Codec::Opus,
            Codec::Ilbc,
            Codec::G7231,
        ];
        for channels in [1, 2, 8] {
            codecs.push(Codec::L16 {
                sample_rate_hz: 44_100,
                channels,
            });
        }
        for kbit_s in [16, 24, 32, 40] {
            for packing in [Packing::LeastFirst, Packing::MostFirst] {
                codecs.push(Codec::G726 { kbit_s, packing });
            }
        }
        for bits in 0..32 {
            let is = |bit: u8| bits >> bit & 1 != 0;
            codecs.push(Codec::Amr(AmrLayout {
                wideband: is(0),
                octet_aligned: is(1),
                crc: is(2),
                robust_sorting: is(3),
                interleaved: is(4),
            }));
        }
        for sample_rate_hz in [8000, 16_000, 32_000] {
            codecs.push(Codec::Speex { sample_rate_hz });
        }
        codecs
    }

    /// The most samples that a byte of any payload makes, and those that a packet may have without them: 120 ms of Opus, 640
    /// ms of AMR-WB without data.
    const SAMPLES_A_BYTE: usize = 8;
    const SAMPLES_A_PACKET: usize = 10_240;

    fn check(codec: Codec, decoder: &mut Option<Decoder>, payload: &[u8]) {
        let extent = codec.extent(payload);
        assert!(extent.noise_from <= extent.samples, "{codec:?}");
        assert!(extent.samples <= codec.sample_rate_hz().max(payload.len() as u32));
        let Some(decoder) = decoder else { return };
        let mut samples = Vec::new();
        let restorable = decoder.restorable(payload);
        if restorable > 0 && decoder.restore(payload, &mut samples).is_ok() {
            assert_eq!(samples.len(), restorable as usize, "{codec:?}");
        }
        samples.clear();
        let decoded = decoder.decode(payload, &mut samples);
        assert!(samples.len() <= SAMPLES_A_PACKET + SAMPLES_A_BYTE * payload.len());
        if decoded.is_ok() && extent.samples > 0 {
            assert_eq!(samples.len(), extent.samples as usize, "{codec:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn payloads_of_no_meaning_are_harmless(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..8),
        ) {
            for codec in every_codec() {
                let mut decoder = Decoder::new(codec);
                prop_assert_eq!(decoder.is_some(), codec.is_decodable());
                for payload in &payloads {
                    check(codec, &mut decoder, payload);
                }
            }
        }

        /// Payloads that begin as they should: the first bytes decide how the rest is read.
        #[test]
        fn damaged_payloads_are_harmless(
            first in any::<u8>(),
            rest in proptest::collection::vec(any::<u8>(), 0..80),
            cut in 0usize..80,
        ) {
            for codec in every_codec() {
                let mut decoder = Decoder::new(codec);
                for head in [first, 0xd5, 0x78, 0x49, 0xf0, 0x3c] {
                    let mut payload = vec![head];
                    payload.extend(&rest);
                    payload.truncate(1 + cut);
                    check(codec, &mut decoder, &payload);
                }
            }
        }
    }

    #[test]
    fn what_lasts_too_long_is_no_payload() {
        assert_eq!(Codec::G729.extent(&[0; 2000]), Extent::default());
        assert_eq!(Codec::G729.extent(&[0; 1000]).samples, 8000);
        // The table of contents goes on and on.
        let layout = AmrLayout::default();
        assert_eq!(Codec::Amr(layout).extent(&[0xff; 1400]), Extent::default());
    }
}
