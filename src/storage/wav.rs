//! WAV headers: RIFF, and RF64 past 4 GiB (EBU Tech 3306).
//!
//! The header is always [`HEADER_LEN`] bytes, one page: samples are written in whole pages, and the sizes can be set when
//! they are known. A `JUNK` chunk keeps the place of RF64's `ds64`.

use super::{Error, StoredFile};

/// Bytes before the first sample.
pub const HEADER_LEN: u64 = 4096;

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleFormat {
    Pcm16,
    Alaw,
    Ulaw,
}

impl SampleFormat {
    pub fn bytes(self) -> u64 {
        match self {
            SampleFormat::Pcm16 => 2,
            SampleFormat::Alaw | SampleFormat::Ulaw => 1,
        }
    }

    /// `wFormatTag`: WAVE_FORMAT_PCM, WAVE_FORMAT_ALAW, WAVE_FORMAT_MULAW.
    fn tag(self) -> u16 {
        match self {
            SampleFormat::Pcm16 => 1,
            SampleFormat::Alaw => 6,
            SampleFormat::Ulaw => 7,
        }
    }
}

/// What the samples of a file are. Always two channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WavFormat {
    pub sample_format: SampleFormat,
    pub sample_rate_hz: u32,
}

impl WavFormat {
    pub const CHANNELS: u16 = 2;

    /// Bytes of one sample of each channel.
    pub fn frame_bytes(self) -> u64 {
        self.sample_format.bytes() * u64::from(Self::CHANNELS)
    }

    /// Where the frame at `position` is in the file.
    pub fn offset_of(self, position: u64) -> u64 {
        HEADER_LEN + position * self.frame_bytes()
    }

    /// The header of a file with `frames` frames.
    pub fn header(self, frames: u64) -> Vec<u8> {
        let data_bytes = frames * self.frame_bytes();
        let riff_bytes = HEADER_LEN - 8 + data_bytes;
        let large = riff_bytes > u64::from(u32::MAX);
        let short = |bytes: u64| if large { u32::MAX } else { bytes as u32 };
        let mut header = Vec::with_capacity(HEADER_LEN as usize);
        header.extend(if large { b"RF64" } else { b"RIFF" });
        header.extend(short(riff_bytes).to_le_bytes());
        header.extend(b"WAVE");
        header.extend(if large { b"ds64" } else { b"JUNK" });
        header.extend(28u32.to_le_bytes());
        let sizes = if large {
            [riff_bytes, data_bytes, frames]
        } else {
            [0; 3]
        };
        sizes
            .iter()
            .for_each(|size| header.extend(size.to_le_bytes()));
        header.extend([0; 4]);
        self.format_chunk(&mut header);
        if self.sample_format != SampleFormat::Pcm16 {
            header.extend(b"fact");
            header.extend(4u32.to_le_bytes());
            header.extend(u32::try_from(frames).unwrap_or(u32::MAX).to_le_bytes());
        }
        let filler = HEADER_LEN as usize - header.len() - 16;
        header.extend(b"JUNK");
        header.extend((filler as u32).to_le_bytes());
        header.resize(header.len() + filler, 0);
        header.extend(b"data");
        header.extend(short(data_bytes).to_le_bytes());
        header
    }

    fn format_chunk(self, header: &mut Vec<u8>) {
        let pcm = self.sample_format == SampleFormat::Pcm16;
        header.extend(b"fmt ");
        header.extend(if pcm { 16u32 } else { 18 }.to_le_bytes());
        header.extend(self.sample_format.tag().to_le_bytes());
        header.extend(Self::CHANNELS.to_le_bytes());
        header.extend(self.sample_rate_hz.to_le_bytes());
        header.extend((self.sample_rate_hz * self.frame_bytes() as u32).to_le_bytes());
        header.extend((self.frame_bytes() as u16).to_le_bytes());
        header.extend((self.sample_format.bytes() as u16 * 8).to_le_bytes());
        if !pcm {
            header.extend([0; 2]);
        }
    }
}

/// A file as its header and its length describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WavInfo {
    pub format: WavFormat,
    /// By the length of the file, whatever the header says: the header is set last.
    pub frames: u64,
    /// Whether the header says the same.
    pub complete: bool,
}

/// Reads what kind of file [`WavFormat::header`] began, for recovery and verification.
pub fn read_wav_info(file: &StoredFile) -> Result<WavInfo, Error> {
    let path = file.path();
    let refuse = |reason| Error::NotWav {
        path: path.to_owned(),
        reason,
    };
    let len = file.size_bytes()?;
    if len < HEADER_LEN {
        return Err(refuse("it is shorter than a header"));
    }
    let mut header = vec![0; HEADER_LEN as usize];
    file.read_exact_at(&mut header, 0)
        .map_err(Error::io("read", path))?;
    let fmt = header
        .get(48..72)
        .filter(|fmt| fmt.starts_with(b"fmt "))
        .ok_or(refuse("it has no format"))?;
    let number = |at: usize| u16::from_le_bytes([fmt[at], fmt[at + 1]]);
    let sample_format = match (number(8), number(10)) {
        (1, WavFormat::CHANNELS) => SampleFormat::Pcm16,
        (6, WavFormat::CHANNELS) => SampleFormat::Alaw,
        (7, WavFormat::CHANNELS) => SampleFormat::Ulaw,
        _ => return Err(refuse("its format is another one")),
    };
    let sample_rate_hz = u32::from_le_bytes([fmt[12], fmt[13], fmt[14], fmt[15]]);
    if !(8000..=48_000).contains(&sample_rate_hz) {
        return Err(refuse("its sample rate is another one"));
    }
    let format = WavFormat {
        sample_format,
        sample_rate_hz,
    };
    let frames = (len - HEADER_LEN) / format.frame_bytes();
    let complete = len == format.offset_of(frames) && header == format.header(frames);
    Ok(WavInfo {
        format,
        frames,
        complete,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(sample_format: SampleFormat) -> WavFormat {
        WavFormat {
            sample_format,
            sample_rate_hz: 8000,
        }
    }

    #[test]
    fn hound_reads_what_the_header_says() {
        let mut bytes = format(SampleFormat::Pcm16).header(3);
        assert_eq!(bytes.len() as u64, HEADER_LEN);
        for sample in [1i16, -1, 2, -2, 3, -3] {
            bytes.extend(sample.to_le_bytes());
        }
        let mut reader = hound::WavReader::new(&bytes[..]).unwrap();
        let spec = reader.spec();
        assert_eq!(
            (spec.channels, spec.sample_rate, spec.bits_per_sample),
            (2, 8000, 16)
        );
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples, [1, -1, 2, -2, 3, -3]);
    }

    #[test]
    fn the_header_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        for (sample_format, frame) in [
            (SampleFormat::Pcm16, 4),
            (SampleFormat::Alaw, 2),
            (SampleFormat::Ulaw, 2),
        ] {
            let path = folder.path().join("a.wav");
            let mut bytes = format(sample_format).header(10);
            bytes.resize(bytes.len() + 10 * frame, 0);
            std::fs::write(&path, &bytes).unwrap();
            let info = read_wav_info(&StoredFile::as_it_is(&path).unwrap()).unwrap();
            assert_eq!(
                info,
                WavInfo {
                    format: format(sample_format),
                    frames: 10,
                    complete: true
                }
            );
            bytes.resize(bytes.len() + frame + 1, 0);
            std::fs::write(&path, &bytes).unwrap();
            let info = read_wav_info(&StoredFile::as_it_is(&path).unwrap()).unwrap();
            assert_eq!((info.frames, info.complete), (11, false));
        }
    }

    #[test]
    fn past_four_gibibytes_it_is_rf64() {
        let frames = 1_500_000_000;
        let header = format(SampleFormat::Pcm16).header(frames);
        assert_eq!(
            (&header[..4], &header[12..16]),
            (&b"RF64"[..], &b"ds64"[..])
        );
        assert_eq!(header[28..36], (frames * 4).to_le_bytes());
        assert_eq!(header[36..44], frames.to_le_bytes());
    }
}
