//! ITU-T G.711: A-law and mu-law, by table.

/// The byte that decodes to the smallest mu-law value: what an idle line sends.
pub const ULAW_SILENCE: u8 = 0xff;
/// The same for A-law.
pub const ALAW_SILENCE: u8 = 0xd5;

/// Linear value of each mu-law byte, -32124 to 32124 (G.711 table 2, scaled to 16 bits).
pub static ULAW_TO_LINEAR: [i16; 256] = table(Law::Mu);
/// Linear value of each A-law byte, -32256 to 32256 (G.711 table 1, scaled to 16 bits).
pub static ALAW_TO_LINEAR: [i16; 256] = table(Law::A);

const fn table(law: Law) -> [i16; 256] {
    let mut values = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        values[byte] = match law {
            Law::Mu => decode_ulaw(byte as u8),
            Law::A => decode_alaw(byte as u8),
        };
        byte += 1;
    }
    values
}

#[derive(Clone, Copy)]
enum Law {
    Mu,
    A,
}

const fn decode_ulaw(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((((byte & 0x0f) as i16) << 3) + 0x84) << ((byte & 0x70) >> 4);
    if byte & 0x80 != 0 {
        0x84 - magnitude
    } else {
        magnitude - 0x84
    }
}

const fn decode_alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let mantissa = ((byte & 0x0f) as i16) << 4;
    let magnitude = match (byte & 0x70) >> 4 {
        0 => mantissa + 8,
        segment => (mantissa + 0x108) << (segment - 1),
    };
    if byte & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// The mu-law byte nearest to `sample`.
pub fn linear_to_ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(32_635) + 0x84;
    let segment = (24 - magnitude.leading_zeros() as i32).clamp(0, 7);
    let mantissa = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment << 4) as u8 | mantissa as u8)
}

/// The A-law byte nearest to `sample`.
pub fn linear_to_alaw(sample: i16) -> u8 {
    // Below zero the ranges are mirrored around -1/2, so that 0 and -1 are the two smallest codes.
    let (sign, magnitude) = if sample >= 0 {
        (0x80, i32::from(sample))
    } else {
        (0, -1 - i32::from(sample))
    };
    let segment = (24 - magnitude.leading_zeros() as i32).max(0);
    let mantissa = if segment == 0 {
        magnitude >> 4
    } else {
        magnitude >> (segment + 3)
    } & 0x0f;
    (sign | (segment << 4) as u8 | mantissa as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_a_round_trip() {
        for byte in 0..=255u8 {
            let ulaw = ULAW_TO_LINEAR[usize::from(byte)];
            // 0x7f is the second zero of mu-law.
            let expected = if byte == 0x7f { 0xff } else { byte };
            assert_eq!(linear_to_ulaw(ulaw), expected, "mu-law {byte:#x} = {ulaw}");
            let alaw = ALAW_TO_LINEAR[usize::from(byte)];
            assert_eq!(linear_to_alaw(alaw), byte, "A-law {byte:#x} = {alaw}");
        }
    }

    /// Values of the ITU-T G.191 software tool library.
    #[test]
    fn known_values() {
        assert_eq!(ULAW_TO_LINEAR[0x00], -32_124);
        assert_eq!(ULAW_TO_LINEAR[0x80], 32_124);
        assert_eq!(ULAW_TO_LINEAR[usize::from(ULAW_SILENCE)], 0);
        assert_eq!(ALAW_TO_LINEAR[0x2a], -32_256);
        assert_eq!(ALAW_TO_LINEAR[0xaa], 32_256);
        assert_eq!(ALAW_TO_LINEAR[usize::from(ALAW_SILENCE)], 8);
    }

    #[test]
    fn encoding_picks_a_neighbouring_step() {
        for sample in i16::MIN..=i16::MAX {
            let step = (i32::from(sample).abs() / 16).max(16);
            let ulaw = i32::from(ULAW_TO_LINEAR[usize::from(linear_to_ulaw(sample))]);
            let alaw = i32::from(ALAW_TO_LINEAR[usize::from(linear_to_alaw(sample))]);
            let clipped = i32::from(sample).clamp(-32_124, 32_124);
            assert!(
                (ulaw - clipped).abs() <= step,
                "mu-law {sample} became {ulaw}"
            );
            assert!(
                (alaw - i32::from(sample)).abs() <= step + 256,
                "A-law {sample} became {alaw}"
            );
        }
    }
}
