//! Opus (RFC 6716) over RTP (RFC 7587): what a packet says of itself, and its samples.
//!
//! Decoded to one channel at 48 kHz, whatever bandwidth, mode and number of channels the sender changes to from packet to
//! packet. At a lower rate the decoder would leave out what smooths a change of mode.

use opus_pure::OpusDecoder;

use super::{Extent, Undecodable};

/// Rate of the decoded audio, and of the RTP clock (RFC 7587 section 4.1).
pub(super) const SAMPLE_RATE_HZ: u32 = 48_000;
/// The longest packet: 120 ms (RFC 6716 section 3.2.5, R5).
const MAX_SAMPLES: u32 = SAMPLE_RATE_HZ * 120 / 1000;

/// What is lost is told in pieces of 20 ms.
const LOST_AT_ONCE: usize = SAMPLE_RATE_HZ as usize / 50;

/// What the first bytes of a packet tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// SILK or hybrid: only these carry redundancy.
    has_silk: bool,
    stereo: bool,
    frames: u32,
    /// Samples of one frame.
    frame_samples: u32,
    /// No frame has more than a byte: the sender is silent (section 2.1.9).
    is_silent: bool,
    /// Where the first frame begins; it has bytes.
    first_frame: Option<usize>,
}

impl Layout {
    /// `None` for what is no packet (section 3.4, R1 to R7).
    pub(super) fn parse(packet: &[u8]) -> Option<Layout> {
        let (&toc, rest) = packet.split_first()?;
        let config = toc >> 3;
        // Twice the milliseconds of a frame, so that 2.5 is a whole number.
        let halves = match config {
            0..=11 => [20, 40, 80, 120][usize::from(config & 3)],
            12..=15 => [20, 40][usize::from(config & 1)],
            _ => [5, 10, 20, 40][usize::from(config & 3)],
        };
        let (frames, first_frame, is_silent) = match toc & 3 {
            0 => (1, Some(1), rest.len() <= 1),
            1 if rest.len().is_multiple_of(2) => (2, Some(1), rest.len() <= 2),
            1 => return None,
            2 => {
                let (first, length_bytes) = frame_length(rest)?;
                let second = rest.len().checked_sub(first + length_bytes)?;
                let silent = first <= 1 && second <= 1;
                (2, (first > 0).then_some(1 + length_bytes), silent)
            }
            // Where the first of several frames is depends on padding and lengths: it is not looked for.
            _ => (u32::from(rest.first()? & 0x3f), None, rest.len() <= 2),
        };
        let frame_samples = halves * (SAMPLE_RATE_HZ / 2000);
        let fits = (1..=MAX_SAMPLES).contains(&(frames * frame_samples));
        fits.then_some(Layout {
            has_silk: config < 16,
            stereo: toc & 4 != 0,
            frames,
            frame_samples,
            is_silent,
            first_frame,
        })
    }

    pub(super) fn extent(self) -> Extent {
        let samples = self.frames * self.frame_samples;
        Extent {
            samples,
            noise_from: if self.is_silent { 0 } else { samples },
        }
    }

    /// Samples before the packet that its redundancy covers: one frame, where there is any (section 4.2.4).
    fn redundancy(self, packet: &[u8]) -> Option<u32> {
        let first = self.first_frame.filter(|_| self.has_silk)?;
        let flags = *packet.get(first)?;
        // Behind the voice activity of each 20 ms of each channel is a flag that says whether redundancy follows.
        let silk_frames = (self.frame_samples * 50 / SAMPLE_RATE_HZ).max(1);
        let middle = flags >> (7 - silk_frames) & 1 != 0;
        let side = self.stereo && flags >> (6 - 2 * silk_frames) & 1 != 0;
        (middle || side).then_some(self.frame_samples)
    }
}

/// The length of a frame as code 2 packets have it, and the bytes that say so (section 3.2.1).
fn frame_length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.first()? {
        short @ 0..=251 => Some((usize::from(short), 1)),
        long => Some((usize::from(*bytes.get(1)?) * 4 + usize::from(long), 2)),
    }
}

/// Samples before `packet` that it can restore: of the frame before it, when that was lost.
pub(super) fn redundancy(packet: &[u8]) -> u32 {
    let layout = Layout::parse(packet);
    layout
        .and_then(|layout| layout.redundancy(packet))
        .unwrap_or(0)
}

/// Decodes one stream.
#[derive(Debug)]
pub struct Opus {
    decoder: OpusDecoder,
}

impl Opus {
    pub fn new() -> Option<Opus> {
        let decoder = OpusDecoder::new(SAMPLE_RATE_HZ as i32, 1).ok()?;
        Some(Opus { decoder })
    }

    /// Appends the samples of `packet`. A packet of a silent sender gives silence: what a receiver would make up for it was
    /// not heard.
    pub fn decode(&mut self, packet: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable> {
        let layout = Layout::parse(packet).ok_or(Undecodable)?;
        let samples = layout.extent().samples as usize;
        let begin = out.len();
        out.resize(begin + samples, 0);
        if layout.is_silent {
            return Ok(());
        }
        let given = self.decoder.decode_s16(packet, samples, &mut out[begin..]);
        if given.is_ok_and(|given| given == samples) {
            Ok(())
        } else {
            out.truncate(begin);
            Err(Undecodable)
        }
    }

    /// Hears that so many samples were lost, so that what follows is heard as a receiver would hear it.
    pub fn lose(&mut self, samples: u32) {
        let mut made_up = [0; LOST_AT_ONCE];
        for _ in 0..samples as usize / LOST_AT_ONCE {
            let _ = self.decoder.decode_s16(&[], LOST_AT_ONCE, &mut made_up);
        }
    }

    /// Appends the samples that `packet` restores of the frame before it.
    pub fn restore(&mut self, packet: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable> {
        let samples = redundancy(packet) as usize;
        let begin = out.len();
        out.resize(begin + samples, 0);
        let given = self
            .decoder
            .decode_fec_s16(packet, samples, &mut out[begin..]);
        if samples > 0 && given.is_ok_and(|given| given == samples) {
            Ok(())
        } else {
            out.truncate(begin);
            Err(Undecodable)
        }
    }
}
