//! Linear PCM, 16 bits, network byte order (RFC 3551 section 4.5.11).

/// Appends one sample a frame: the mean of the frame's channels.
pub fn decode(payload: &[u8], channels: usize, out: &mut Vec<i16>) {
    let sample = |bytes: &[u8]| i16::from_be_bytes([bytes[0], bytes[1]]);
    match channels {
        1 => out.extend(payload.chunks_exact(2).map(sample)),
        _ => out.extend(payload.chunks_exact(2 * channels).map(|frame| {
            let sum: i32 = frame
                .chunks_exact(2)
                .map(|bytes| i32::from(sample(bytes)))
                .sum();
            (sum / channels as i32) as i16
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_mixed_and_a_cut_sample_is_left_out() {
        let mut out = Vec::new();
        decode(&[0x10, 0x00, 0xf0, 0x00, 0x7f], 1, &mut out);
        assert_eq!(out, [0x1000, -0x1000]);
        out.clear();
        decode(
            &[0x7f, 0xff, 0x7f, 0xff, 0x80, 0x00, 0x80, 0x00, 1],
            2,
            &mut out,
        );
        assert_eq!(out, [i16::MAX, i16::MIN]);
    }
}
