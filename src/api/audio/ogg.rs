//! Samples to Opus in Ogg (RFC 7845), for browsers.
//!
//! Pages come out as they are full, so that a stream can be heard while it is made.

use opus_pure::{Application, MAX_PACKET_BYTES, OggOpusWriter, OpusEncoder, OpusHead};

/// Of two channels, at which speech of telephones is heard as it was: a fifth of PCM at 8 kHz.
const STEREO_BITS: i32 = 48_000;
const MONO_BITS: i32 = 24_000;
/// What costs least of what sounds the same: 130 times as fast as speech on one core.
const COMPLEXITY: i32 = 5;
/// Bytes of a page of a file.
const FILE_PAGE: usize = 4000;

/// An Ogg stream in the making.
pub struct OggOpus {
    encoder: OpusEncoder,
    /// `None` once it is finished.
    writer: Option<OggOpusWriter<Vec<u8>>>,
    channels: usize,
    /// Samples of a channel in 20 ms.
    frame: usize,
    sample_rate_hz: u32,
    pre_skip: u64,
    /// Samples that make no whole frame yet.
    waiting: Vec<i16>,
    /// Samples of a channel that were given.
    taken: u64,
    packet: Vec<u8>,
}

/// The encoder failed: a fault of this program.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode Opus: {0}")]
pub struct OggError(String);

fn failed(error: opus_pure::Error) -> OggError {
    OggError(error.to_string())
}

impl OggOpus {
    /// Of one or two channels at 8,000, 12,000, 16,000, 24,000 or 48,000 Hz. `live`: every packet is a page, to be sent at once.
    pub fn new(sample_rate_hz: u32, channels: usize, live: bool) -> Result<OggOpus, OggError> {
        let rate = i32::try_from(sample_rate_hz).unwrap_or(0);
        let mut encoder = OpusEncoder::new(rate, channels, Application::Voip).map_err(failed)?;
        encoder.bitrate_bps = if channels == 2 {
            STEREO_BITS
        } else {
            MONO_BITS
        };
        encoder.complexity = COMPLEXITY;
        let head = OpusHead::for_encoder(&encoder, sample_rate_hz);
        let pre_skip = u64::from(head.pre_skip);
        let mut writer = OggOpusWriter::new(Vec::new(), head).map_err(failed)?;
        writer.set_page_target(if live { 1 } else { FILE_PAGE });
        Ok(OggOpus {
            encoder,
            writer: Some(writer),
            channels,
            frame: sample_rate_hz as usize / 50,
            sample_rate_hz,
            pre_skip,
            waiting: Vec::new(),
            taken: 0,
            packet: vec![0; MAX_PACKET_BYTES],
        })
    }

    /// Takes samples, channels in turn, and gives the pages that are complete.
    pub fn push(&mut self, samples: &[i16]) -> Result<Vec<u8>, OggError> {
        self.taken += (samples.len() / self.channels) as u64;
        self.waiting.extend_from_slice(samples);
        let len = self.frame * self.channels;
        let waiting = std::mem::take(&mut self.waiting);
        let mut frames = waiting.chunks_exact(len);
        for frame in frames.by_ref() {
            self.encode(frame, None)?;
        }
        self.waiting = frames.remainder().to_vec();
        Ok(self.pages())
    }

    /// Gives what is left. The stream is as long as what was pushed, to the sample (RFC 7845 section 4.4).
    pub fn finish(mut self) -> Result<Vec<u8>, OggError> {
        let scale = u64::from(48_000 / self.sample_rate_hz);
        let end = self.pre_skip + self.taken * scale;
        let len = self.frame * self.channels;
        loop {
            let granule = self.writer.as_ref().map_or(0, OggOpusWriter::granule);
            let left = end.saturating_sub(granule.unsigned_abs());
            if left == 0 && self.waiting.is_empty() {
                break;
            }
            let mut frame = std::mem::take(&mut self.waiting);
            frame.resize(len, 0);
            let duration = left.min(960);
            self.encode(&frame, Some(duration as u32))?;
        }
        let mut pages = self.pages();
        if let Some(writer) = self.writer.take() {
            pages.extend(writer.finish().map_err(failed)?);
        }
        Ok(pages)
    }

    fn encode(&mut self, frame: &[i16], duration: Option<u32>) -> Result<(), OggError> {
        let encoded = self.encoder.encode_s16(frame, self.frame, &mut self.packet);
        let len = encoded.map_err(failed)?;
        let packet = self.packet.get(..len).unwrap_or_default();
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        match duration {
            None => writer.write_packet(packet),
            Some(duration) => writer.write_packet_with_duration(packet, duration),
        }
        .map_err(failed)
    }

    fn pages(&mut self) -> Vec<u8> {
        let sink = self.writer.as_mut().and_then(OggOpusWriter::get_mut);
        sink.map(std::mem::take).unwrap_or_default()
    }
}

impl std::fmt::Debug for OggOpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpus")
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use opus_pure::{MAX_PACKET_SAMPLES, OggOpusReader, Trim};

    use super::*;

    fn tone(rate: u32, hz: f64, samples: usize) -> impl Iterator<Item = i16> {
        let step = std::f64::consts::TAU * hz / f64::from(rate);
        (0..samples).map(move |n| (8000.0 * (step * n as f64).sin()) as i16)
    }

    fn decoded(stream: Vec<u8>, rate: i32) -> Vec<i16> {
        let mut reader = OggOpusReader::new(std::io::Cursor::new(stream)).unwrap();
        let head = reader.head().clone();
        let channels = usize::from(head.channel_count);
        let mut decoder = head.decoder(rate).unwrap();
        let mut trim = Trim::new(&head, rate, channels).unwrap();
        let (mut out, mut room) = (Vec::new(), vec![0i16; MAX_PACKET_SAMPLES * 2]);
        while let Some(packet) = reader.read_packet().unwrap() {
            let count = decoder.decode_s16(&packet.data, 960 / (48_000 / rate) as usize, &mut room);
            out.extend_from_slice(trim.keep(&packet, &room[..count.unwrap() * channels]));
        }
        out
    }

    #[test]
    fn a_stream_is_as_long_as_what_was_said_and_keeps_its_sides_apart() {
        for (rate, samples) in [(8000, 8123), (16_000, 5), (16_000, 32_000)] {
            let mut ogg = OggOpus::new(rate, 2, false).unwrap();
            let left = tone(rate, 400.0, samples);
            let both: Vec<i16> = left.flat_map(|sample| [sample, 0]).collect();
            let mut stream = Vec::new();
            for part in both.chunks(333 * 2) {
                stream.extend(ogg.push(part).unwrap());
            }
            stream.extend(ogg.finish().unwrap());
            let heard = decoded(stream, rate as i32);
            assert_eq!(heard.len(), samples * 2);
            let power = |side: usize| {
                let side = heard.iter().skip(side).step_by(2);
                side.map(|&sample| f64::from(sample).powi(2)).sum::<f64>()
            };
            if samples > 1000 {
                assert!(power(0) > 1000.0 * power(1), "{} {}", power(0), power(1));
            }
        }
    }

    #[test]
    fn a_live_stream_gives_a_page_for_each_packet() {
        let mut ogg = OggOpus::new(8000, 2, true).unwrap();
        let head = ogg.push(&[]).unwrap();
        assert!(
            head.starts_with(b"OggS"),
            "what players wait for comes first"
        );
        let mut given = Vec::new();
        for _ in 0..50 {
            given.push(ogg.push(&[0; 320]).unwrap().len());
        }
        assert!(given[1..].iter().all(|&bytes| bytes > 0), "{given:?}");
    }
}
