//! How samples travel: G.711 and L16, both ways, written from the recommendation so that a recording is compared with
//! something that the recorder's own decoder had no part in.

use serde::{Deserialize, Serialize};

/// What a call's audio is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// G.711 mu-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// 16-bit linear, big-endian (RFC 3551 section 4.5.11), 8 kHz.
    #[serde(rename = "l16-8k")]
    #[value(name = "l16-8k")]
    L16Narrow,
    /// 16-bit linear, big-endian, 16 kHz.
    #[serde(rename = "l16-16k")]
    #[value(name = "l16-16k")]
    L16Wide,
}

impl Codec {
    pub const ALL: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::L16Narrow, Codec::L16Wide];

    pub fn clock_rate_hz(self) -> u32 {
        match self {
            Codec::L16Wide => 16_000,
            _ => 8_000,
        }
    }

    /// Static for G.711 (RFC 3551 table 4), dynamic for L16 at these rates.
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::L16Narrow => 96,
            Codec::L16Wide => 97,
        }
    }

    /// The encoding name of `a=rtpmap`.
    pub fn encoding(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::L16Narrow | Codec::L16Wide => "L16",
        }
    }

    /// What a call in this codec changes to: at the same rate where there is another.
    pub fn successor(self) -> Codec {
        match self {
            Codec::Pcmu => Codec::Pcma,
            Codec::Pcma | Codec::L16Narrow | Codec::L16Wide => Codec::Pcmu,
        }
    }

    /// Bytes of one sample on the wire.
    pub fn sample_bytes(self) -> usize {
        match self {
            Codec::Pcmu | Codec::Pcma => 1,
            Codec::L16Narrow | Codec::L16Wide => 2,
        }
    }

    /// Appends the payload of `samples`.
    pub fn encode(self, samples: &[i16], out: &mut Vec<u8>) {
        match self {
            Codec::Pcmu => out.extend(samples.iter().map(|s| mulaw(*s))),
            Codec::Pcma => out.extend(samples.iter().map(|s| alaw(*s))),
            Codec::L16Narrow | Codec::L16Wide => {
                out.extend(samples.iter().flat_map(|s| s.to_be_bytes()));
            }
        }
    }

    /// What a receiver hears of `sample`: encoded and decoded.
    pub fn heard(self, sample: i16) -> i16 {
        match self {
            Codec::Pcmu => decode_mulaw(mulaw(sample)),
            Codec::Pcma => decode_alaw(alaw(sample)),
            Codec::L16Narrow | Codec::L16Wide => sample,
        }
    }
}

/// Both laws look at no more than the upper 14 and 13 bits: tables of that size stay in the nearest cache.
static MULAW: [u8; 1 << 14] = {
    let mut table = [0; 1 << 14];
    let mut i = 0;
    while i < table.len() {
        table[i] = compress_mulaw((((i as u16) << 2) as i16) as i32);
        i += 1;
    }
    table
};
static ALAW: [u8; 1 << 13] = {
    let mut table = [0; 1 << 13];
    let mut i = 0;
    while i < table.len() {
        table[i] = compress_alaw((((i as u16) << 3) as i16) as i32);
        i += 1;
    }
    table
};

#[inline]
fn mulaw(sample: i16) -> u8 {
    MULAW[usize::from(sample as u16 >> 2)]
}

#[inline]
fn alaw(sample: i16) -> u8 {
    ALAW[usize::from(sample as u16 >> 3)]
}

/// G.711 table 2: bias 132 on the 16-bit scale, eight segments, all bits inverted.
const fn compress_mulaw(sample: i32) -> u8 {
    let (sign, magnitude) = if sample < 0 {
        (0x80, -sample)
    } else {
        (0, sample)
    };
    let biased = if magnitude > 32_635 {
        32_767
    } else {
        magnitude + 132
    } as u32;
    let segment = 24 - biased.leading_zeros();
    let step = (biased >> (segment + 3)) & 0x0f;
    !(sign | (segment << 4) as u8 | step as u8)
}

/// G.711 table 1: eight segments of which the first two have the same step, even bits inverted.
const fn compress_alaw(sample: i32) -> u8 {
    let (sign, magnitude) = if sample < 0 {
        (0, !sample)
    } else {
        (0x80, sample)
    };
    let magnitude = magnitude as u32;
    let code = if magnitude < 256 {
        magnitude >> 4
    } else {
        let segment = 24 - magnitude.leading_zeros();
        (segment << 4) | ((magnitude >> (segment + 3)) & 0x0f)
    };
    (sign | code as u8) ^ 0x55
}

fn decode_mulaw(byte: u8) -> i16 {
    let code = !byte;
    let magnitude = ((i32::from(code & 0x0f) * 8 + 132) << (code >> 4 & 7)) - 132;
    (if code & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }) as i16
}

fn decode_alaw(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let step = i32::from(code & 0x0f) * 16;
    let magnitude = match code >> 4 & 7 {
        0 => step + 8,
        segment => (step + 264) << (segment - 1),
    };
    (if code & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_of_both_laws() {
        assert_eq!(
            [0x00, 0x80, 0xff, 0x7f].map(decode_mulaw),
            [-32_124, 32_124, 0, 0]
        );
        assert_eq!(
            [0xd5, 0x55, 0xaa, 0x2a].map(decode_alaw),
            [8, -8, 32_256, -32_256]
        );
        assert_eq!(
            [mulaw(0), mulaw(i16::MAX), mulaw(i16::MIN)],
            [0xff, 0x80, 0x00]
        );
        assert_eq!(
            [alaw(0), alaw(i16::MAX), alaw(i16::MIN)],
            [0xd5, 0xaa, 0x2a]
        );
    }

    #[test]
    fn every_code_survives_the_way_there_and_back() {
        for byte in 0..=255 {
            assert_eq!(alaw(decode_alaw(byte)), byte);
            let back = mulaw(decode_mulaw(byte));
            assert!(
                back == byte || decode_mulaw(byte) == 0,
                "{byte:02x} became {back:02x}"
            );
        }
    }

    #[test]
    fn what_is_heard_is_near_what_was_said() {
        for sample in i16::MIN..=i16::MAX {
            for codec in [Codec::Pcmu, Codec::Pcma] {
                let error = (i32::from(codec.heard(sample)) - i32::from(sample)).abs();
                assert!(
                    error <= 16 + i32::from(sample).abs() / 24,
                    "{codec:?} {sample}: {error}"
                );
            }
        }
    }
}
