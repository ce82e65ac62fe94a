//! How long the audio of a payload is, told without decoding it.

use super::amr::{self, AmrLayout};

/// Audio that one payload may hold, in milliseconds; what claims more is broken, and not decoded. No codec of telephony sends
/// more than 240 ms in a packet.
pub(super) const MAX_PAYLOAD_MS: u32 = 1000;

/// What is in a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Length in samples of the codec's rate.
    pub samples: u32,
    /// The samples from here on are comfort noise: described by the sender, not heard by its microphone.
    pub noise_from: u32,
}

impl Extent {
    /// Audio to the end.
    pub(super) fn audio(samples: u32) -> Extent {
        Extent {
            samples,
            noise_from: samples,
        }
    }

    /// Adds a frame.
    fn push(&mut self, samples: u32, is_noise: bool) {
        self.samples += samples;
        if !is_noise {
            self.noise_from = self.samples;
        }
    }
}

/// Bytes of a G.729 frame of 10 ms, and of one that describes silence (Annex B).
pub(super) const G729_FRAME: usize = 10;
pub(super) const G729_SID: usize = 2;

/// G.729: frames of 10 bytes, and at the end of a payload one of 2 where silence begins (RFC 3551 section 4.5.6).
pub(super) fn g729(payload: &[u8]) -> Extent {
    let mut extent = Extent::audio((payload.len() / G729_FRAME * 80) as u32);
    if payload.len() % G729_FRAME == G729_SID {
        extent.push(80, true);
    }
    extent
}

/// GSM full rate: frames of 33 bytes and 20 ms, each beginning with the four bits 1101 (RFC 3551 section 4.5.8.1).
pub(super) fn gsm(payload: &[u8]) -> Extent {
    let (frames, rest) = payload.as_chunks::<33>();
    let is_whole = rest.is_empty() && frames.iter().all(|frame| frame[0] >> 4 == 0b1101);
    match is_whole {
        true => Extent::audio((frames.len() * 160) as u32),
        false => Extent::default(),
    }
}

/// iLBC: frames of 38 bytes are 20 ms long, of 50 bytes 30 ms (RFC 3952 section 4.2).
pub(super) fn ilbc(payload: &[u8]) -> Extent {
    let frames = |bytes: usize, samples: u32| {
        let whole = !payload.is_empty() && payload.len().is_multiple_of(bytes);
        whole.then(|| Extent::audio((payload.len() / bytes) as u32 * samples))
    };
    frames(50, 240)
        .or_else(|| frames(38, 160))
        .unwrap_or_default()
}

/// G.723.1: frames of 30 ms, whose length stands in the first two bits sent (RFC 3551 section 4.5.3).
pub(super) fn g7231(payload: &[u8]) -> Extent {
    let mut extent = Extent::default();
    let mut rest = payload;
    while let Some(first) = rest.first() {
        let (bytes, is_noise) = match first & 3 {
            0 => (24, false),
            1 => (20, false),
            2 => (4, true),
            _ => (1, true),
        };
        let Some(behind) = rest.get(bytes..) else {
            break;
        };
        extent.push(240, is_noise);
        rest = behind;
    }
    extent
}

/// Bits of a narrowband frame of Speex by its mode, and of the higher band by its own (Speex manual, tables 9.1 and 10.1).
const SPEEX_NARROW_BITS: [usize; 9] = [5, 43, 119, 160, 220, 300, 364, 492, 79];
const SPEEX_HIGH_BITS: [usize; 5] = [4, 36, 112, 192, 352];

/// Speex: frames of 20 ms at any of its rates, one behind the other bit by bit (RFC 5574 section 3.3).
pub(super) fn speex(payload: &[u8], sample_rate_hz: u32) -> Extent {
    let (mut at, mut extent) = (0, Extent::default());
    while let Some(end) = speex_frame(payload, at) {
        extent.push(sample_rate_hz / 50, false);
        at = end;
    }
    extent
}

/// Where the frame that begins at bit `at` ends, if it is whole.
fn speex_frame(payload: &[u8], at: usize) -> Option<usize> {
    // A set first bit would be a higher band without its lower one.
    let mode = bits(payload, at, 5)?;
    let mut end = match mode {
        0..=8 => at + SPEEX_NARROW_BITS[mode],
        _ => return None,
    };
    while let Some(header) = bits(payload, end, 4).filter(|header| header & 8 != 0) {
        end += SPEEX_HIGH_BITS.get(header & 7)?;
    }
    (end <= payload.len() * 8).then_some(end)
}

/// `count` bits from bit `at` on, the most significant first.
fn bits(payload: &[u8], at: usize, count: usize) -> Option<usize> {
    (at..at + count).try_fold(0, |value, bit| {
        let byte = payload.get(bit / 8)?;
        Some(value << 1 | usize::from(byte >> (7 - bit % 8) & 1))
    })
}

/// AMR and AMR-WB: as many frames of 20 ms as the table of contents names (RFC 4867 section 4).
pub(super) fn amr(payload: &[u8], layout: AmrLayout) -> Extent {
    let mut extent = Extent::default();
    let frame = if layout.wideband { 320 } else { 160 };
    if let Some(contents) = amr::Contents::parse(payload, layout) {
        for entry in contents.entries() {
            extent.push(frame, !entry.is_speech(layout.wideband));
        }
    }
    extent
}

/// Opus (RFC 6716 section 3).
pub(super) fn opus(payload: &[u8]) -> Extent {
    super::opus::Layout::parse(payload).map_or_else(Extent::default, |layout| layout.extent())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;

    #[test]
    fn silence_is_told_from_speech() {
        let extent = |samples, noise_from| Extent {
            samples,
            noise_from,
        };
        assert_eq!(g729(&[0; 22]), extent(240, 160));
        assert_eq!(g729(&[0; 2]), extent(80, 0));
        // G.723.1 at 6.3 kbit/s, at 5.3, and a description of silence.
        let payload = [vec![0; 24], vec![1; 20], vec![2; 4]].concat();
        assert_eq!(g7231(&payload), extent(720, 480));
        // AMR 12.2 and then silence, bandwidth-efficient: 1111 | 1 0111 1 | 0 1000 1 | 244 and 39 bits.
        let narrow = AmrLayout::default();
        let mut payload = vec![0b1111_1011, 0b1101_0001];
        payload.extend([0; 36]);
        assert_eq!(amr(&payload, narrow), extent(320, 160));
        payload.truncate(36);
        assert_eq!(amr(&payload, narrow), Extent::default(), "cut");
        // Octet-aligned AMR-WB 23.85 of a phone.
        let wide = AmrLayout {
            wideband: true,
            octet_aligned: true,
            ..narrow
        };
        let mut payload = vec![0xf0, 0x44];
        payload.extend([0; 60]);
        assert_eq!(amr(&payload, wide), extent(320, 320));
    }

    #[test]
    fn opus_says_how_long_it_is() {
        let samples = |first: u8, rest: &[u8]| {
            let packet = [&[first], rest].concat();
            opus(&packet).samples
        };
        assert_eq!(samples(9 << 3, &[1, 2, 3]), 960, "SILK, 20 ms");
        assert_eq!(samples(11 << 3, &[1, 2, 3]), 2880, "SILK, 60 ms");
        assert_eq!(samples(15 << 3, &[1, 2, 3]), 960, "hybrid, 20 ms");
        assert_eq!(samples(16 << 3, &[1, 2, 3]), 120, "CELT, 2.5 ms");
        assert_eq!(samples(31 << 3 | 1, &[1, 2, 3, 4]), 1920, "two of 20 ms");
        assert_eq!(samples(31 << 3 | 3, &[6, 1, 2, 3]), 5760, "six of 20 ms");
        assert_eq!(samples(31 << 3 | 3, &[7, 1, 2, 3]), 0, "more than 120 ms");
        assert_eq!(samples(31 << 3 | 1, &[1, 2, 3]), 0, "halves that are none");
        assert_eq!(opus(&[9 << 3]).noise_from, 0, "silent");
    }

    #[test]
    fn frames_that_others_decode_are_counted() {
        assert_eq!(Codec::Ilbc.extent(&[0; 100]).samples, 480);
        assert_eq!(Codec::Ilbc.extent(&[0; 76]).samples, 320);
        assert_eq!(Codec::Ilbc.extent(&[0; 77]).samples, 0);
        // Narrowband Speex as FreeSWITCH sends it: mode 4, 220 bits in 28 bytes.
        let mut frame = [0u8; 28];
        frame[0] = 4 << 3;
        let codec = Codec::Speex {
            sample_rate_hz: 8000,
        };
        assert_eq!(codec.extent(&frame).samples, 160);
    }
}
