//! A recording as a client wants it: as stored, or as PCM, which every browser plays.

use std::io;

use serde::Deserialize;
use utoipa::ToSchema;

use super::file::AudioFile;
use crate::codec::{ALAW_TO_LINEAR, ULAW_TO_LINEAR};
use crate::storage::{HEADER_LEN, SampleFormat, WavFormat};

/// What an answer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The file as it lies in the storage: a WAV of PCM or of G.711.
    Stored,
    /// A WAV of 16-bit PCM; ranges of it can be asked for whatever is stored.
    Wav,
    /// Opus in Ogg, about a fifth of the size of PCM. Without ranges.
    Ogg,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Stored | Format::Wav => "audio/wav",
            Format::Ogg => "audio/ogg; codecs=opus",
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Format::Stored | Format::Wav => "wav",
            Format::Ogg => "ogg",
        }
    }
}

/// A WAV whose bytes are in a file, or follow from it byte by byte.
#[derive(Debug)]
pub struct Rendition {
    audio: AudioFile,
    /// Of what is computed; `None`: it is as in the file.
    computed: Option<Computed>,
}

#[derive(Debug)]
struct Computed {
    header: Vec<u8>,
    table: &'static [i16; 256],
}

/// The samples of a byte of G.711; `None` for linear samples.
pub fn table_of(format: SampleFormat) -> Option<&'static [i16; 256]> {
    match format {
        SampleFormat::Pcm16 => None,
        SampleFormat::Alaw => Some(&ALAW_TO_LINEAR),
        SampleFormat::Ulaw => Some(&ULAW_TO_LINEAR),
    }
}

impl Rendition {
    /// As PCM if `pcm`, else as stored.
    pub fn new(audio: AudioFile, pcm: bool) -> Rendition {
        let format = audio.info.format;
        let table = table_of(format.sample_format).filter(|_| pcm);
        let computed = table.map(|table| {
            let linear = WavFormat {
                sample_format: SampleFormat::Pcm16,
                ..format
            };
            Computed {
                header: linear.header(audio.info.frames),
                table,
            }
        });
        Rendition { audio, computed }
    }

    /// Bytes of the whole.
    pub fn length(&self) -> u64 {
        match self.computed {
            None => self.audio.size_bytes,
            // Each byte of G.711 is a sample of two bytes.
            Some(_) => {
                HEADER_LEN + self.audio.info.frames * self.audio.info.format.frame_bytes() * 2
            }
        }
    }

    /// Bytes from `from` up to `to`, which lie within its length. Blocks.
    pub fn read(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
        let Some(computed) = &self.computed else {
            let mut bytes = vec![0; len];
            self.audio.file.read_exact_at(&mut bytes, from)?;
            return Ok(bytes);
        };
        let mut bytes = Vec::with_capacity(len + 2);
        if from < HEADER_LEN {
            let end = to.min(HEADER_LEN);
            let part = computed.header.get(from as usize..end as usize);
            bytes.extend_from_slice(part.unwrap_or_default());
        }
        let (first, last) = (
            from.max(HEADER_LEN) - HEADER_LEN,
            to.max(HEADER_LEN) - HEADER_LEN,
        );
        if first < last {
            let mut stored = vec![0; (last.div_ceil(2) - first / 2) as usize];
            self.audio
                .file
                .read_exact_at(&mut stored, HEADER_LEN + first / 2)?;
            let linear = stored
                .iter()
                .flat_map(|&byte| computed.table[usize::from(byte)].to_le_bytes());
            bytes.extend(
                linear
                    .skip((first % 2) as usize)
                    .take((last - first) as usize),
            );
        }
        Ok(bytes)
    }
}

/// Reads up to `frames` frames from `at` on as linear samples, caller and callee in turn. Blocks.
pub fn read_samples(
    audio: &AudioFile,
    at: u64,
    frames: usize,
    out: &mut Vec<i16>,
) -> io::Result<()> {
    out.clear();
    let frames = (audio.info.frames.saturating_sub(at)).min(frames as u64);
    let format = audio.info.format;
    let mut bytes = vec![0; (frames * format.frame_bytes()) as usize];
    audio.file.read_exact_at(&mut bytes, format.offset_of(at))?;
    match table_of(format.sample_format) {
        Some(table) => out.extend(bytes.iter().map(|&byte| table[usize::from(byte)])),
        None => {
            let (samples, _) = bytes.as_chunks::<2>();
            out.extend(samples.iter().map(|sample| i16::from_le_bytes(*sample)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::{TENANT, format, write};
    use super::*;
    use crate::storage::Layout;

    fn opened(kind: SampleFormat, frames: &[u8]) -> (tempfile::TempDir, AudioFile) {
        let folder = tempfile::tempdir().unwrap();
        let place = write(folder.path(), 1, format(kind, 8000), frames);
        let audio = AudioFile::open(&Layout::new(folder.path()), TENANT, &place).unwrap();
        (folder, audio)
    }

    /// ffmpeg reads the computed file, and hears what it hears in the stored one.
    #[test]
    fn pcm_of_g711_is_what_another_program_decodes() {
        let frames: Vec<u8> = (0..512u32).map(|n| (n * 7 % 256) as u8).collect();
        for kind in [SampleFormat::Alaw, SampleFormat::Ulaw] {
            let (folder, audio) = opened(kind, &frames);
            let rendition = Rendition::new(audio, true);
            let computed = folder.path().join("computed.wav");
            let bytes = rendition.read(0, rendition.length()).unwrap();
            std::fs::write(&computed, &bytes).unwrap();
            let mut reader = hound::WavReader::open(&computed).unwrap();
            let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
            let table = table_of(kind).unwrap();
            let expected: Vec<i16> = frames.iter().map(|&b| table[usize::from(b)]).collect();
            assert_eq!(samples, expected);
            assert_eq!(
                (reader.spec().channels, reader.spec().sample_rate),
                (2, 8000)
            );
        }
    }

    #[test]
    fn any_part_is_the_same_part_of_the_whole() {
        let frames: Vec<u8> = (0..300u32).map(|n| (n * 31 % 256) as u8).collect();
        for kind in [SampleFormat::Alaw, SampleFormat::Pcm16] {
            let (_folder, audio) = opened(kind, &frames);
            let rendition = Rendition::new(audio, true);
            let length = rendition.length();
            let whole = rendition.read(0, length).unwrap();
            assert_eq!(whole.len() as u64, length);
            for from in [0, 1, 4095, 4096, 4097, 4100, 4301] {
                for to in [from, from + 1, from + 2, 4096, 4099, 4310, length] {
                    if (from..=length).contains(&to) {
                        let part = rendition.read(from, to).unwrap();
                        assert_eq!(part, whole[from as usize..to as usize], "{from} to {to}");
                    }
                }
            }
        }
    }

    #[test]
    fn samples_are_the_same_from_any_format() {
        let frames = [0xd5, 0x55, 0x2a, 0xaa];
        let (_folder, audio) = opened(SampleFormat::Alaw, &frames);
        let mut samples = vec![7];
        read_samples(&audio, 1, 100, &mut samples).unwrap();
        let expected = [ALAW_TO_LINEAR[0x2a], ALAW_TO_LINEAR[0xaa]];
        assert_eq!(samples, expected);
        read_samples(&audio, 5, 100, &mut samples).unwrap();
        assert!(samples.is_empty());
    }
}
