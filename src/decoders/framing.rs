//! Which payloads are which frames, and how the decoder is handed them.

use std::collections::BTreeMap;

use super::speex::{self, Band};

/// How the payloads of one codec become the decoder's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// RFC 3952.
    Ilbc,
    /// RFC 3551 section 4.5.3.
    G7231,
    /// RFC 5574.
    Speex(Band),
    /// A codec that the operator described.
    Fixed(FixedFrames),
}

/// A codec whose frames are all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedFrames {
    /// The decoder's name of the format of its input.
    pub demuxer: String,
    pub frame_bytes: usize,
    pub frame_samples: usize,
    pub sample_rate_hz: u32,
}

/// What the decoder makes [`Framing::frame_samples`] samples of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Frames of different variants cannot follow each other.
    pub variant: u8,
    pub bytes: Vec<u8>,
    /// Its sender says that it is silent: what the decoder makes of it was not heard by a microphone.
    pub is_noise: bool,
}

/// Frames of iLBC: bytes, and milliseconds, which are the variant (RFC 3951 section 2.1).
const ILBC: [(usize, u8); 2] = [(38, 20), (50, 30)];
/// Frames of silence after which its decoder has settled.
const ILBC_SETTLES: usize = 2;
/// Frames of G.723.1 by the last two bits of their first byte: 6.3 kbit/s, 5.3 kbit/s, silence, nothing (RFC 3551, section
/// 4.5.3; the last from H.324).
const G7231_BYTES: [usize; 4] = [24, 20, 4, 1];

impl Framing {
    /// By the encoding name and clock rate of `a=rtpmap`.
    pub fn of(
        encoding: &str,
        clock_rate_hz: u32,
        own: &BTreeMap<String, FixedFrames>,
    ) -> Option<Framing> {
        match encoding.to_ascii_lowercase().as_str() {
            "ilbc" => Some(Framing::Ilbc),
            "g723" => Some(Framing::G7231),
            "speex" => Band::of(clock_rate_hz).map(Framing::Speex),
            other => own.get(other).cloned().map(Framing::Fixed),
        }
    }

    /// Names of the decoders of which one must be there, and the format of their input.
    pub fn needs(&self) -> (&[&str], &str) {
        match self {
            Framing::Ilbc => (&["ilbc"], "ilbc"),
            Framing::G7231 => (&["g723_1"], "g723_1"),
            Framing::Speex(_) => (&["libspeex", "speex"], "ogg"),
            Framing::Fixed(fixed) => (&[], &fixed.demuxer),
        }
    }

    pub fn sample_rate_hz(&self) -> u32 {
        match self {
            Framing::Ilbc | Framing::G7231 => 8000,
            Framing::Speex(band) => band.sample_rate_hz(),
            Framing::Fixed(fixed) => fixed.sample_rate_hz,
        }
    }

    /// Samples that the decoder makes of one frame.
    pub fn frame_samples(&self, variant: u8) -> usize {
        match self {
            Framing::Ilbc => usize::from(variant) * 8,
            Framing::G7231 => 240,
            Framing::Speex(band) => band.frame_samples(),
            Framing::Fixed(fixed) => fixed.frame_samples,
        }
    }

    /// Samples by which what leaves the decoder is later than what entered the encoder. G.723.1: what the encoder looks ahead,
    /// 7.5 ms. iLBC: none, since `ffmpeg` leaves out the enhancer of RFC 3951 section 4.6.
    pub fn delay_samples(&self) -> i64 {
        match self {
            Framing::G7231 => 60,
            Framing::Speex(band) => band.delay_samples(),
            Framing::Ilbc | Framing::Fixed(_) => 0,
        }
    }

    /// The frames of a payload; `None` when it cannot be one of this codec.
    pub fn split(&self, payload: &[u8]) -> Option<Vec<Frame>> {
        let whole = |bytes: usize, variant: u8| {
            let frames = payload.chunks_exact(bytes);
            let cut = payload.is_empty() || !frames.remainder().is_empty();
            (!cut).then(|| frames.map(|frame| Frame::new(variant, frame)).collect())
        };
        match self {
            Framing::Ilbc => ILBC
                .into_iter()
                .find_map(|(bytes, variant)| whole(bytes, variant)),
            Framing::G7231 => g7231(payload),
            Framing::Speex(_) => {
                let frames = speex::split(payload)?;
                Some(frames.iter().map(|frame| Frame::new(0, frame)).collect())
            }
            Framing::Fixed(fixed) => whole(fixed.frame_bytes, 0),
        }
    }

    /// The decoder to be used, if the program has it, instead of what it takes by itself. Of the higher bands of Speex `ffmpeg` 5 makes
    /// something else than libspeex does.
    pub(super) fn better_decoder(&self) -> Option<&'static str> {
        matches!(self, Framing::Speex(_)).then_some("libspeex")
    }

    /// Frames that bring the decoder into the state from which a stream begins; what it makes of them is nothing. `ffmpeg` begins iLBC
    /// without the spectrum that RFC 3951 supposes for the past, and its first frame may be a click as loud as can be.
    pub(super) fn settling(&self, variant: u8) -> Vec<Frame> {
        let (Framing::Ilbc, Some((bytes, _))) = (self, ILBC.iter().find(|(_, ms)| *ms == variant))
        else {
            return Vec::new();
        };
        // Silence: the first entry of every codebook. Behind 20 or 40 bits of spectrum stands which block is the first, 1.
        let mut silence = vec![0; *bytes];
        match variant {
            20 => silence[2] = 0b0000_0100,
            _ => silence[5] = 0b0010_0000,
        }
        vec![Frame::new(variant, &silence); ILBC_SETTLES]
    }

    /// Frames of one variant as the decoder reads them.
    pub fn container(&self, frames: &[Frame]) -> Vec<u8> {
        let frames_of = |header: &[u8]| {
            let bytes = frames.iter().flat_map(|frame| &frame.bytes);
            header.iter().chain(bytes).copied().collect()
        };
        match (self, frames.first()) {
            (Framing::Ilbc, Some(Frame { variant: 20, .. })) => frames_of(b"#!iLBC20\n"),
            (Framing::Ilbc, _) => frames_of(b"#!iLBC30\n"),
            (Framing::Speex(band), _) => {
                speex::container(*band, frames.iter().map(|frame| frame.bytes.as_slice()))
            }
            (Framing::G7231 | Framing::Fixed(_), _) => frames_of(&[]),
        }
    }
}

impl Frame {
    fn new(variant: u8, bytes: &[u8]) -> Frame {
        Frame {
            variant,
            bytes: bytes.to_vec(),
            is_noise: false,
        }
    }
}

fn g7231(mut payload: &[u8]) -> Option<Vec<Frame>> {
    let mut frames = Vec::new();
    while let Some(first) = payload.first() {
        let kind = usize::from(first & 3);
        let (frame, rest) = payload.split_at_checked(G7231_BYTES[kind])?;
        frames.push(Frame {
            is_noise: kind >= 2,
            ..Frame::new(0, frame)
        });
        payload = rest;
    }
    (!frames.is_empty()).then_some(frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lengths(framing: &Framing, payload: &[u8]) -> Option<Vec<(u8, usize)>> {
        let frames = framing.split(payload)?;
        Some(frames.iter().map(|f| (f.variant, f.bytes.len())).collect())
    }

    #[test]
    fn ilbc_tells_its_mode_by_its_length() {
        assert_eq!(lengths(&Framing::Ilbc, &[1; 50]), Some(vec![(30, 50)]));
        assert_eq!(
            lengths(&Framing::Ilbc, &[1; 76]),
            Some(vec![(20, 38), (20, 38)])
        );
        for wrong in [0, 1, 37, 39, 51, 88] {
            assert_eq!(lengths(&Framing::Ilbc, &vec![1; wrong]), None, "{wrong}");
        }
    }

    #[test]
    fn ilbc_settles_on_frames_of_its_own_length() {
        for (variant, bytes) in [(20, 38), (30, 50)] {
            let frames = Framing::Ilbc.settling(variant);
            assert_eq!(frames.len(), 2);
            assert!(
                frames
                    .iter()
                    .all(|f| f.bytes.len() == bytes && f.variant == variant)
            );
        }
        assert_eq!(Framing::G7231.settling(0), []);
    }

    #[test]
    fn g7231_tells_its_rate_in_each_frame() {
        let mut payload = vec![0; 24];
        payload.extend([1; 20]);
        payload.extend([2, 0, 0, 0]);
        let noise = Framing::G7231.split(&payload).unwrap();
        let noise: Vec<bool> = noise.iter().map(|frame| frame.is_noise).collect();
        assert_eq!(noise, [false, false, true]);
        let expected = Some(vec![(0, 24), (0, 20), (0, 4)]);
        assert_eq!(lengths(&Framing::G7231, &payload), expected);
        assert_eq!(lengths(&Framing::G7231, &payload[..47]), None);
        assert_eq!(lengths(&Framing::G7231, &[]), None);
    }

    #[test]
    fn names_are_those_of_sdp_in_any_case() {
        let own = BTreeMap::from([(
            "x-gsm".to_owned(),
            FixedFrames {
                demuxer: "gsm".into(),
                frame_bytes: 33,
                frame_samples: 160,
                sample_rate_hz: 8000,
            },
        )]);
        let of = |name, clock| Framing::of(name, clock, &own);
        assert_eq!(of("ILBC", 8000), Some(Framing::Ilbc));
        assert_eq!(of("SPEEX", 16_000), Some(Framing::Speex(Band::Wide)));
        assert_eq!(of("speex", 44_100), None);
        assert_eq!(of("G723", 8000), Some(Framing::G7231));
        assert_eq!(of("EVS", 16_000), None);
        let fixed = of("X-GSM", 8000).unwrap();
        assert_eq!(lengths(&fixed, &[0; 66]), Some(vec![(0, 33), (0, 33)]));
        assert_eq!(lengths(&fixed, &[0; 34]), None);
    }

    proptest! {
        #[test]
        fn what_is_split_is_the_payload(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
            for framing in [Framing::Ilbc, Framing::G7231] {
                if let Some(frames) = framing.split(&payload) {
                    let joined: Vec<u8> = frames.into_iter().flat_map(|f| f.bytes).collect();
                    prop_assert_eq!(&joined, &payload);
                }
            }
        }
    }
}
