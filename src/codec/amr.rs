//! AMR and AMR-WB over RTP (RFC 4867): the table of contents of a payload, its frames, and their samples.

use codec_core::codecs::amr::AmrCodec;
use codec_core::{CodecConfig, CodedFrame, FrameKind, VariableRateCodec};

use super::Undecodable;

/// How frames are put into payloads: the parameters of `a=fmtp` that change it (section 8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AmrLayout {
    pub wideband: bool,
    /// Each field on octets of its own; else one bit behind the other.
    pub octet_aligned: bool,
    /// A checksum for each frame.
    pub crc: bool,
    /// The octets of all frames of a payload are interleaved.
    pub robust_sorting: bool,
    /// Frames of a payload are not consecutive.
    pub interleaved: bool,
}

impl AmrLayout {
    /// From the parameters that SDP gives.
    pub(super) fn from_fmtp(wideband: bool, fmtp: &str) -> AmrLayout {
        let is_set = |name: &str| {
            super::format::parameter(fmtp, name).is_some_and(|value| value.trim() != "0")
        };
        let (crc, robust_sorting) = (is_set("crc"), is_set("robust-sorting"));
        let interleaved = is_set("interleaving");
        AmrLayout {
            wideband,
            // The others are only there where octets are kept together.
            octet_aligned: is_set("octet-align") || crc || robust_sorting || interleaved,
            crc,
            robust_sorting,
            interleaved,
        }
    }
}

/// Frames of one payload: more are taken for a broken table. 640 ms.
const MAX_FRAMES: usize = 32;
/// Frame types without bits: no frame at that time, and one that was lost on the way (3GPP TS 26.101, TS 26.201).
const NO_DATA: u8 = 15;
const SPEECH_LOST: u8 = 14;

/// Bits of speech frames by their type, and of the one that describes silence (TS 26.101 table 2, TS 26.201 table 2).
const NARROW_BITS: [u16; 9] = [95, 103, 118, 134, 148, 159, 204, 244, 39];
const WIDE_BITS: [u16; 10] = [132, 177, 253, 285, 317, 365, 397, 461, 477, 40];

/// One frame as the table of contents has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    frame_type: u8,
    /// The sender vouches for the bits.
    quality: bool,
}

impl Entry {
    pub(super) fn is_speech(self, wideband: bool) -> bool {
        self.frame_type < silence_type(wideband)
    }

    /// `None` for a type that is not in use.
    fn bits(self, wideband: bool) -> Option<usize> {
        let table: &[u16] = if wideband { &WIDE_BITS } else { &NARROW_BITS };
        match self.frame_type {
            NO_DATA => Some(0),
            SPEECH_LOST if wideband => Some(0),
            other => table.get(usize::from(other)).map(|&bits| bits.into()),
        }
    }
}

/// The type of frames that describe silence: the one behind those of speech.
const fn silence_type(wideband: bool) -> u8 {
    if wideband { 9 } else { 8 }
}

/// The table of contents of a payload that is whole: it holds all that the table names.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    entries: [Entry; MAX_FRAMES],
    count: usize,
    /// Where the first frame's bits begin.
    begin: usize,
    /// How it was read.
    layout: AmrLayout,
    /// Octets that it takes.
    len: usize,
}

impl Contents {
    /// As SDP says that it is laid out, or, where that does not account for each octet and the other of the two plain layouts does, as
    /// that: phones say one and send the other.
    pub(super) fn parse(payload: &[u8], layout: AmrLayout) -> Option<Contents> {
        let named = Contents::laid_out(payload, layout);
        let fits = |contents: &Contents| contents.len == payload.len();
        let is_plain = !layout.crc && !layout.robust_sorting && !layout.interleaved;
        if !is_plain
            || named
                .as_ref()
                .is_some_and(|c| fits(c) && c.is_vouched_for())
        {
            return named;
        }
        let other = AmrLayout {
            octet_aligned: !layout.octet_aligned,
            ..layout
        };
        Contents::laid_out(payload, other)
            .filter(|other| fits(other) && other.is_vouched_for())
            .or(named)
    }

    /// Sections 4.3.1 and 4.3.2 (bandwidth-efficient), 4.4.1 and 4.4.2 (octet-aligned).
    fn laid_out(payload: &[u8], layout: AmrLayout) -> Option<Contents> {
        let none = Entry {
            frame_type: NO_DATA,
            quality: false,
        };
        let mut contents = Contents {
            entries: [none; MAX_FRAMES],
            count: 0,
            begin: 0,
            layout,
            len: 0,
        };
        // A mode request, and where frames are interleaved, how.
        let mut at = match (layout.octet_aligned, layout.interleaved) {
            (false, _) => 4,
            (true, false) => 8,
            (true, true) => 16,
        };
        let (mut bits, mut checksums) = (0, 0);
        loop {
            let field = read_bits(payload, at, 6)?;
            at += if layout.octet_aligned { 8 } else { 6 };
            let entry = Entry {
                frame_type: (field >> 1 & 15) as u8,
                quality: field & 1 != 0,
            };
            *contents.entries.get_mut(contents.count)? = entry;
            contents.count += 1;
            let frame = entry.bits(layout.wideband)?;
            bits += padded(frame, layout);
            checksums += usize::from(frame > 0);
            if field >> 5 == 0 {
                break;
            }
        }
        contents.begin = at + if layout.crc { 8 * checksums } else { 0 };
        contents.len = (contents.begin + bits).div_ceil(8);
        (contents.len <= payload.len()).then_some(contents)
    }

    /// Whether there is no frame of speech whose sender says that it is damaged.
    fn is_vouched_for(&self) -> bool {
        let wideband = self.layout.wideband;
        let mut entries = self.entries().iter();
        entries.all(|entry| entry.quality || !entry.is_speech(wideband))
    }

    /// Whether there is speech, and all of it is damaged.
    fn is_damaged(&self) -> bool {
        let wideband = self.layout.wideband;
        let mut speech = self
            .entries()
            .iter()
            .filter(|entry| entry.is_speech(wideband))
            .peekable();
        speech.peek().is_some() && speech.all(|entry| !entry.quality)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries[..self.count]
    }
}

/// Bits that a frame takes.
fn padded(bits: usize, layout: AmrLayout) -> usize {
    if layout.octet_aligned {
        bits.next_multiple_of(8)
    } else {
        bits
    }
}

/// `count` bits from bit `at` on, the most significant first; at most 8.
fn read_bits(payload: &[u8], at: usize, count: usize) -> Option<u32> {
    let byte = |n: usize| payload.get(n).map(|&byte| u32::from(byte));
    let first = byte(at / 8)?;
    let second = if at % 8 + count > 8 {
        byte(at / 8 + 1)?
    } else {
        0
    };
    Some((first << 8 | second) >> (16 - at % 8 - count) & ((1 << count) - 1))
}

/// Copies `count` bits from bit `at` on to the beginning of `to`, which is cleared.
fn copy_bits(payload: &[u8], at: usize, count: usize, to: &mut Vec<u8>) {
    to.clear();
    let mut copied = 0;
    while copied < count {
        let now = (count - copied).min(8);
        let bits = read_bits(payload, at + copied, now).unwrap_or(0);
        to.push((bits << (8 - now)) as u8);
        copied += now;
    }
}

/// Decodes one stream.
pub struct Amr {
    layout: AmrLayout,
    codec: AmrCodec,
    frame: CodedFrame,
}

impl std::fmt::Debug for Amr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Amr")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl Amr {
    /// `None` for a layout that is not decoded.
    pub fn new(layout: AmrLayout) -> Option<Amr> {
        if layout.interleaved {
            return None;
        }
        let config = if layout.wideband {
            CodecConfig::amr_wb()
        } else {
            CodecConfig::amr_nb()
        };
        let codec = AmrCodec::new(&config).ok()?;
        let frame = CodedFrame::speech(0, Vec::new());
        Some(Amr {
            layout,
            codec,
            frame,
        })
    }

    /// Appends the samples of `payload`. Frames of a silent sender, and single ones that the sender does not vouch for, give silence.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable> {
        let contents = Contents::parse(payload, self.layout).ok_or(Undecodable)?;
        if contents.is_damaged() {
            self.lose(contents.count as u32 * self.frame_samples());
            return Err(Undecodable);
        }
        let layout = contents.layout;
        let sorted;
        let payload = if self.layout.robust_sorting {
            sorted = unsort(payload, &contents, self.layout.wideband);
            &sorted[..]
        } else {
            payload
        };
        let mut at = contents.begin;
        for entry in contents.entries() {
            let bits = entry.bits(self.layout.wideband).ok_or(Undecodable)?;
            copy_bits(payload, at, bits, &mut self.frame.data);
            self.decode_frame(*entry, out)?;
            at += padded(bits, layout);
        }
        Ok(())
    }

    /// Hears that so many samples were lost, so that what follows is heard as a receiver would hear it.
    pub fn lose(&mut self, samples: u32) {
        self.go_without(FrameKind::Lost, samples);
    }

    /// Hears that nothing was sent for so many samples.
    pub fn pass(&mut self, samples: u32) {
        self.frame.mode = NO_DATA;
        self.go_without(FrameKind::NoData, samples);
    }

    fn go_without(&mut self, kind: FrameKind, samples: u32) {
        self.frame.kind = kind;
        self.frame.data.clear();
        self.frame.quality_ok = true;
        for _ in 0..samples / self.frame_samples() {
            // What it makes up meanwhile is not wanted.
            let _ = self.codec.decode_frame(&self.frame);
        }
    }

    fn frame_samples(&self) -> u32 {
        if self.layout.wideband { 320 } else { 160 }
    }

    fn decode_frame(&mut self, entry: Entry, out: &mut Vec<i16>) -> Result<(), Undecodable> {
        let samples = self.frame_samples() as usize;
        let is_speech = entry.is_speech(self.layout.wideband);
        let is_noise = entry.frame_type == silence_type(self.layout.wideband);
        self.frame.kind = if is_speech {
            FrameKind::Speech
        } else if is_noise {
            FrameKind::ComfortNoise
        } else {
            FrameKind::NoData
        };
        self.frame.mode = entry.frame_type;
        self.frame.quality_ok = true;
        if !is_speech || !entry.quality {
            // The decoder follows the sender's silence, so that speech goes on as a receiver would hear it.
            if entry.quality {
                let _ = self.codec.decode_frame(&self.frame);
            }
            out.resize(out.len() + samples, 0);
            return Ok(());
        }
        let decoded = self
            .codec
            .decode_frame(&self.frame)
            .map_err(|_| Undecodable)?;
        if decoded.len() != samples {
            return Err(Undecodable);
        }
        out.extend_from_slice(&decoded);
        Ok(())
    }
}

/// The payload with the octets of each frame together (section 4.4.3.1: the first octet of each frame, then the second …).
fn unsort(payload: &[u8], contents: &Contents, wideband: bool) -> Vec<u8> {
    let lengths = contents
        .entries()
        .iter()
        .map(|entry| entry.bits(wideband).unwrap_or(0).div_ceil(8));
    let mut frames: Vec<(usize, Vec<u8>)> = lengths.map(|len| (len, Vec::new())).collect();
    let (head, body) = payload.split_at(contents.begin / 8);
    let mut octets = body.iter();
    let longest = frames.iter().map(|(len, _)| *len).max().unwrap_or(0);
    for n in 0..longest {
        for (_, frame) in frames.iter_mut().filter(|(len, _)| *len > n) {
            frame.extend(octets.next());
        }
    }
    let mut sorted = head.to_vec();
    frames.iter().for_each(|(_, frame)| sorted.extend(frame));
    sorted
}
