//! Payload to samples.
//!
//! In: RTP payload bytes and the format that SDP gave them. Out: 16-bit linear samples, one channel.
//! A codec is a row in [`Codec`] and, where it can be decoded, an arm of [`Decoder`]; nothing else in the program
//! knows one codec from another.

mod format;
mod g711;
mod l16;
mod resample;

pub use format::{Codec, CodecName, PayloadFormat};
pub use g711::{
    ALAW_SILENCE, ALAW_TO_LINEAR, ULAW_SILENCE, ULAW_TO_LINEAR, linear_to_alaw, linear_to_ulaw,
};
pub use resample::{INPUT_RATES_HZ, Resampler};

/// Decodes the payloads of one stream, in order.
///
/// `decode` is called from a recorder thread, never from the capture thread.
#[derive(Debug)]
pub enum Decoder {
    Pcmu,
    Pcma,
    L16 { channels: usize },
}

impl Decoder {
    /// The decoder of `codec`, if this version has one.
    pub fn new(codec: Codec) -> Option<Decoder> {
        match codec {
            Codec::Pcmu => Some(Decoder::Pcmu),
            Codec::Pcma => Some(Decoder::Pcma),
            Codec::L16 { channels, .. } => Some(Decoder::L16 {
                channels: usize::from(channels.max(1)),
            }),
            Codec::ComfortNoise | Codec::TelephoneEvent | Codec::Other(_) => None,
        }
    }

    /// Appends the samples of `payload` to `out`; a payload cut in mid-sample gives the whole samples before the cut.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
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
        }
    }
}
