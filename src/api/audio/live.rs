//! The head of a WAV that is heard while it is made.

/// The head of a WAV of 16-bit PCM that does not say how long it is: its sizes are as large as they can be, which players take
/// for "until it ends".
pub fn endless_wav(sample_rate_hz: u32, channels: u16) -> Vec<u8> {
    let frame = 2 * channels;
    let mut head = Vec::with_capacity(44);
    head.extend(b"RIFF");
    head.extend(u32::MAX.to_le_bytes());
    head.extend(b"WAVEfmt ");
    head.extend(16u32.to_le_bytes());
    head.extend(1u16.to_le_bytes());
    head.extend(channels.to_le_bytes());
    head.extend(sample_rate_hz.to_le_bytes());
    head.extend((sample_rate_hz * u32::from(frame)).to_le_bytes());
    head.extend(frame.to_le_bytes());
    head.extend(16u16.to_le_bytes());
    head.extend(b"data");
    let frame = u32::from(frame);
    head.extend((u32::MAX / frame * frame).to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_reads_it() {
        let bytes = [endless_wav(8000, 2), vec![1, 0, 255, 255]].concat();
        let mut reader = hound::WavReader::new(std::io::Cursor::new(bytes)).unwrap();
        assert_eq!(
            (reader.spec().channels, reader.spec().sample_rate),
            (2, 8000)
        );
        let samples: Vec<i16> = reader.samples().take(2).map(Result::unwrap).collect();
        assert_eq!(samples, [1, -1]);
    }
}
