//! Speex payloads (RFC 5574): which bits are a frame, and the Ogg stream that they are handed on in.

use super::ogg::OggWriter;

/// The bandwidths of Speex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    Narrow,
    Wide,
    UltraWide,
}

impl Band {
    /// By the RTP clock, which is the sampling rate (RFC 5574 section 3.1).
    pub fn of(clock_rate_hz: u32) -> Option<Band> {
        match clock_rate_hz {
            8000 => Some(Band::Narrow),
            16_000 => Some(Band::Wide),
            32_000 => Some(Band::UltraWide),
            _ => None,
        }
    }

    pub fn sample_rate_hz(self) -> u32 {
        match self {
            Band::Narrow => 8000,
            Band::Wide => 16_000,
            Band::UltraWide => 32_000,
        }
    }

    /// 20 ms.
    pub fn frame_samples(self) -> usize {
        self.sample_rate_hz() as usize / 50
    }

    /// How much later a sample leaves the decoder than it entered the encoder: what both look ahead, by `SPEEX_GET_LOOKAHEAD`
    /// of libspeex (40 and 40 narrow band samples, and 63 of each filter bank).
    pub fn delay_samples(self) -> i64 {
        match self {
            Band::Narrow => 80,
            Band::Wide => 223,
            Band::UltraWide => 509,
        }
    }
}

/// Bits of a narrow-band frame by its sub-mode, the five before it included (libspeex, `modes.c`; 8 is the lowest rate).
const NARROW_BITS: [usize; 9] = [5, 43, 119, 160, 220, 300, 364, 492, 79];
/// The same of a layer that widens the band; four bits before it.
const WIDE_BITS: [usize; 5] = [4, 36, 112, 192, 352];
/// What ends a payload.
const TERMINATOR: usize = 15;
/// Frames taken from one payload.
const MAX_FRAMES: usize = 32;

/// The frames of a payload, each by itself, from a whole byte on and filled up as RFC 5574 section 3.3 says. `None` when it
/// is none.
pub fn split(payload: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut bits = Bits {
        bytes: payload,
        at: 0,
    };
    let mut frames = Vec::new();
    while bits.left() >= 5 && bits.peek(5) & 0x1f != 0x0f && frames.len() < MAX_FRAMES {
        let begin = bits.at;
        if !bits.skip_frame()? {
            break;
        }
        frames.push(bits.cut(begin));
    }
    match frames.len() {
        0 => None,
        // As it came: nothing is gained by moving bits.
        1 => Some(vec![payload.to_vec()]),
        _ => Some(frames),
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    fn bit(&self, at: usize) -> usize {
        let byte = self.bytes.get(at / 8).copied().unwrap_or(0);
        usize::from(byte >> (7 - at % 8) & 1)
    }

    /// The next `count` bits; zeros behind the end.
    fn peek(&self, count: usize) -> usize {
        (self.at..self.at + count).fold(0, |value, at| value << 1 | self.bit(at))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        if count > self.left() {
            return None;
        }
        self.at += count;
        Some(())
    }

    /// Skips a narrow-band frame, the layers above it, and messages between frames; `false` at the end of the payload.
    fn skip_frame(&mut self) -> Option<bool> {
        loop {
            if self.left() < 5 {
                return Some(false);
            }
            if self.peek(1) == 1 {
                // A layer whose frame is not there.
                return None;
            }
            let mode = self.peek(5) & 0x0f;
            match mode {
                TERMINATOR => return Some(false),
                // In-band: a code of four bits, and a message as long as the code says (libspeex, `speex_callbacks.c`).
                14 => {
                    self.skip(5)?;
                    let code = self.peek(4);
                    self.skip(4)?;
                    self.skip(match code {
                        0..=1 => 1,
                        2..=7 => 4,
                        8..=9 => 8,
                        10..=11 => 16,
                        12..=13 => 32,
                        _ => 64,
                    })?;
                }
                // A message of the user's: four bits of length, five more, and so many bytes.
                13 => {
                    self.skip(5)?;
                    let bytes = self.peek(4);
                    self.skip(4 + 5 + 8 * bytes)?;
                }
                mode => {
                    self.skip(*NARROW_BITS.get(mode)?)?;
                    break;
                }
            }
        }
        while self.left() >= 4 && self.peek(1) == 1 {
            let mode = self.peek(4) & 7;
            self.skip(*WIDE_BITS.get(mode)?)?;
        }
        Some(true)
    }

    /// The bits from `begin` to here, and what fills the last byte: a zero, then ones.
    fn cut(&self, begin: usize) -> Vec<u8> {
        let count = self.at - begin;
        let mut bytes = vec![0u8; count.div_ceil(8)];
        for n in 0..bytes.len() * 8 {
            let bit = match n {
                n if n < count => self.bit(begin + n),
                n => usize::from(n != count),
            };
            bytes[n / 8] |= (bit as u8) << (7 - n % 8);
        }
        bytes
    }
}

/// Frames as an Ogg Speex stream.
pub fn container<'a>(band: Band, frames: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut ogg = OggWriter::default();
    ogg.packet(&header(band), 0, false);
    // A comment by nobody, with nothing in it.
    ogg.packet(&[0; 8], 0, false);
    let count = frames.len();
    for (n, frame) in frames.enumerate() {
        let granule = (n + 1) * band.frame_samples();
        ogg.packet(frame, granule as u64, n + 1 == count);
    }
    ogg.into_bytes()
}

/// `SpeexHeader` of libspeex: 80 bytes.
fn header(band: Band) -> Vec<u8> {
    let mode = match band {
        Band::Narrow => 0,
        Band::Wide => 1,
        Band::UltraWide => 2,
    };
    let mut header = b"Speex   1.2".to_vec();
    header.resize(28, 0);
    let fields = [
        1,
        80,
        band.sample_rate_hz() as i32,
        mode,
        // Version of the bitstream; channels; bit rate unknown.
        4,
        1,
        -1,
        band.frame_samples() as i32,
        // No variable rate; one frame a packet; no further headers.
        0,
        1,
        0,
        0,
        0,
    ];
    fields
        .iter()
        .for_each(|field| header.extend(field.to_le_bytes()));
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of `bits` bits that says it is of `mode`.
    fn narrow(mode: usize) -> Vec<usize> {
        let mut bits = vec![0; NARROW_BITS[mode]];
        for (n, bit) in bits.iter_mut().enumerate() {
            *bit = match n {
                0 => 0,
                1..=4 => mode >> (4 - n) & 1,
                n => n % 3 % 2,
            };
        }
        bits
    }

    fn wide(mode: usize) -> Vec<usize> {
        let mut bits = vec![0; WIDE_BITS[mode]];
        bits[0] = 1;
        (1..4).for_each(|n| bits[n] = mode >> (3 - n) & 1);
        bits
    }

    fn packed(bits: &[usize]) -> Vec<u8> {
        let mut bytes = vec![0u8; bits.len().div_ceil(8)];
        for n in 0..bytes.len() * 8 {
            let bit = bits.get(n).copied().unwrap_or(usize::from(n != bits.len()));
            bytes[n / 8] |= (bit as u8) << (7 - n % 8);
        }
        bytes
    }

    #[test]
    fn a_packet_of_one_frame_stays_as_it_is() {
        // Of FreeSWITCH, 8 kHz.
        let payload = [
            0x24, 0x5f, 0xae, 0x80, 0x00, 0x1b, 0x36, 0x6c, 0xd9, 0xb0, 0x20, 0x1b, 0x36, 0x6c,
            0xd9, 0xb1, 0xc0, 0x9b, 0x36, 0x6f, 0x36, 0x22, 0x5b, 0x32, 0x67, 0xad, 0x50, 0x47,
        ];
        assert_eq!(split(&payload), Some(vec![payload.to_vec()]));
        assert_eq!(split(&[]), None);
        assert_eq!(split(&[0x7f]), None, "a terminator and nothing else");
    }

    #[test]
    fn frames_of_one_packet_are_told_apart() {
        let frames = [
            narrow(3),
            [narrow(5), wide(1)].concat(),
            narrow(0),
            [narrow(8), wide(4)].concat(),
        ];
        let payload = packed(&frames.concat());
        let expected: Vec<Vec<u8>> = frames.iter().map(|frame| packed(frame)).collect();
        assert_eq!(split(&payload), Some(expected));
    }

    #[test]
    fn a_cut_frame_is_none() {
        let payload = packed(&narrow(5));
        assert_eq!(split(&payload[..payload.len() - 1]), None);
        // Sub-modes 9 to 12 do not exist.
        assert_eq!(split(&[9 << 3; 40]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            for frame in split(&payload).unwrap_or_default() {
                prop_assert!(frame.len() <= payload.len());
            }
        }
    }
}
