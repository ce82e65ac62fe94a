//! One side of a recording: decoders, and what is silent and why.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::canvas::Law;
use super::segments::{SEAM, Span, Spans};
use super::stream_decoder::StreamDecoder;
use crate::codec::{Codec, Extent, PayloadFormat, Undecodable};
use crate::engine::event::Piece;
use crate::storage::Cause;

/// Decoders kept for one side; a stream that changes its codec more often starts them anew.
const MAX_DECODERS: usize = 8;
/// Silence after which a decoder begins anew: what it knew says nothing any more, and need not be kept.
const FORGETS_SECONDS: i64 = 20;

#[derive(Debug)]
pub struct Track {
    pub spans: Spans,
    /// One past the last sample that is accounted for.
    covered: i64,
    last: Option<Last>,
    decoders: Vec<StreamDecoder>,
    samples: Vec<i16>,
    /// Samples before the next packet, of its codec's rate, that it is to restore.
    restoring: u32,
    /// Samples before the next packet, of its codec's rate, of which its sender said that it would send nothing.
    unsent: u32,
    /// Samples before the next packet, of its codec's rate, that were lost.
    lost: u32,
    /// What of the timeline the last piece that was noted took.
    noted: (i64, i64),
    pub losses: Losses,
}

/// Packets that came and could not be decoded. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Their payloads do not fit their codec.
    pub undecodable: u64,
    /// Their decoder panicked: a fault of this program.
    pub panicked: u64,
    /// They came after the packets that follow them were decoded, and their codec cannot go back.
    pub too_late: u64,
}

impl Losses {
    pub fn total(self) -> u64 {
        self.undecodable + self.panicked + self.too_late
    }
}

impl std::ops::Add for Losses {
    type Output = Losses;

    fn add(self, other: Losses) -> Losses {
        Losses {
            undecodable: self.undecodable + other.undecodable,
            panicked: self.panicked + other.panicked,
            too_late: self.too_late + other.too_late,
        }
    }
}

impl std::ops::Sub for Losses {
    type Output = Losses;

    fn sub(self, before: Losses) -> Losses {
        Losses {
            undecodable: self.undecodable - before.undecodable,
            panicked: self.panicked - before.panicked,
            too_late: self.too_late - before.too_late,
        }
    }
}

/// The packet before.
#[derive(Clone, Copy, Debug)]
struct Last {
    stream: u16,
    number: u32,
    codec: Codec,
    /// What it said last was that its sender is silent.
    is_noise: bool,
    /// How long it is.
    samples: i64,
    /// One past its last sample.
    end: i64,
}

/// How a piece is to be drawn.
pub enum Drawing<'t> {
    Nothing,
    /// G.711 as it came.
    Companded(Law),
    /// Samples from a position on.
    Linear(i64, &'t [i16]),
    /// Stretches with their positions, the last of which is the piece; those before it were drawn, and wrong.
    Revised(Vec<(i64, Vec<i16>)>),
}

impl Track {
    pub fn new() -> Self {
        Track {
            spans: Spans::default(),
            covered: 0,
            last: None,
            decoders: Vec::new(),
            samples: Vec::new(),
            restoring: 0,
            unsent: 0,
            lost: 0,
            noted: (0, 0),
            losses: Losses::default(),
        }
    }

    /// Takes note of a piece in its turn; gives the seam before it that is to be closed. What the piece can restore of a loss
    /// before it is given by the [`Track::decode`] that follows.
    pub fn note(
        &mut self,
        piece: &Piece,
        format: &PayloadFormat,
        payload: &[u8],
        rate_hz: u32,
    ) -> Option<(i64, i64)> {
        self.take_note(piece, format, payload, rate_hz, true)
    }

    fn take_note(
        &mut self,
        piece: &Piece,
        format: &PayloadFormat,
        payload: &[u8],
        rate_hz: u32,
        may_restore: bool,
    ) -> Option<(i64, i64)> {
        let samples = format.codec.samples_at(rate_hz, payload);
        let gap = piece.position - self.covered;
        let mut seam = None;
        self.restoring = 0;
        self.lost = 0;
        self.unsent = self.unsent_before(piece, format.codec, rate_hz);
        if gap > 0 {
            let (lost_from, lost) = self.lost_before(piece, samples);
            if self.last.is_some() && gap <= SEAM && lost == 0 {
                // What is resampled has none: its samples are one stretch.
                let is_as_it_came = format.codec.sample_rate_hz() == rate_hz;
                seam = is_as_it_came.then_some((self.covered, piece.position));
            } else {
                if lost > 0 && may_restore {
                    self.restoring = self.restorable(piece, format, payload, rate_hz, gap);
                    self.lost = self.lost_samples(lost, format.codec, rate_hz);
                }
                let heard_from = piece.position - format.codec.to_rate(self.restoring, rate_hz);
                self.silent(lost_from.min(heard_from), self.cause_of_silence());
                self.silent((lost_from + lost).min(heard_from), Cause::Loss);
                self.silent(heard_from, self.cause_of_silence());
                self.silent(piece.position, Cause::Concealed);
            }
        }
        let number =
            self.last
                .filter(|last| last.stream == piece.stream)
                .map_or(piece.number, |last| {
                    // Of two packets the later number is the newer one, across the wrap of 32 bits too.
                    if piece.number.wrapping_sub(last.number) < 1 << 31 {
                        piece.number
                    } else {
                        last.number
                    }
                });
        let (heard, is_noise) = heard(format.codec, payload, rate_hz);
        let restored = format.codec.to_rate(self.restoring, rate_hz);
        self.last = Some(Last {
            stream: piece.stream,
            number,
            codec: format.codec,
            is_noise,
            samples,
            end: piece.position + samples,
        });
        let from = self.covered.max(piece.position);
        self.covered = from.max(piece.position + heard);
        self.noted = (from - restored, self.covered);
        seam
    }

    /// Samples of the codec's rate between a packet that said that its sender is silent and `piece`. After a time that decoders do not
    /// remember there are none.
    fn unsent_before(&self, piece: &Piece, codec: Codec, rate_hz: u32) -> u32 {
        let rate_hz = i64::from(rate_hz);
        let same = |last: &Last| last.stream == piece.stream && last.codec == codec;
        let unsent = self
            .last
            .filter(|last| last.is_noise && same(last))
            .map_or(0, |last| piece.position - last.end);
        let remembered = (0..FORGETS_SECONDS * rate_hz).contains(&unsent);
        let samples = unsent * i64::from(codec.sample_rate_hz()) / rate_hz;
        if remembered { samples as u32 } else { 0 }
    }

    /// `lost` samples of the timeline as what the decoder of `codec` is told of them: nothing where the sender was silent before, or
    /// where it is more than decoders remember.
    fn lost_samples(&self, lost: i64, codec: Codec, rate_hz: u32) -> u32 {
        let is_told = self.unsent == 0 && lost < i64::from(rate_hz);
        let samples = lost * i64::from(codec.sample_rate_hz()) / i64::from(rate_hz);
        if is_told { samples as u32 } else { 0 }
    }

    /// Samples of the codec's rate that `piece` can restore of the `gap` before it, which packets were lost in.
    fn restorable(
        &self,
        piece: &Piece,
        format: &PayloadFormat,
        payload: &[u8],
        rate_hz: u32,
        gap: i64,
    ) -> u32 {
        let known = self.decoders.iter().find(|d| d.is_of(piece));
        let samples = known.map_or(0, |known| known.decoder.restorable(payload));
        if format.codec.to_rate(samples, rate_hz) <= gap + SEAM {
            samples
        } else {
            0
        }
    }

    /// Where in the gap before a piece lost packets were, and how many samples: as many packets as the numbers say, each as long as the
    /// packet before or after. What is left of the gap was not sent. Where the length is not known, lost packets were as long as the
    /// one before them, of whose samples nothing is drawn yet.
    fn lost_before(&self, piece: &Piece, samples: i64) -> (i64, i64) {
        let Some(last) = self.last.filter(|last| last.stream == piece.stream) else {
            return (self.covered, 0);
        };
        let lost = piece.number.wrapping_sub(last.number).wrapping_sub(1);
        // Numbers that go back are no loss.
        if lost == 0 || lost >= 1 << 31 {
            return (self.covered, 0);
        }
        let lost = i64::from(lost);
        let from = self.covered.max(last.end).min(piece.position);
        let gap = piece.position - from;
        let usual = if last.samples > 0 {
            last.samples
        } else {
            samples
        };
        match lost * usual {
            0 if last.codec.is_decodable() => (from, gap),
            0 => {
                let filled = gap * lost / (lost + 1);
                (piece.position - filled, filled)
            }
            filled if gap - filled > SEAM => (from, filled),
            _ => (from, gap),
        }
    }

    /// Why nothing follows the last packet.
    fn cause_of_silence(&self) -> Cause {
        match self.last {
            Some(last) if last.is_noise => Cause::ComfortNoise,
            Some(last) => match last.codec {
                Codec::ComfortNoise => Cause::ComfortNoise,
                Codec::TelephoneEvent => Cause::Dtmf,
                codec if !codec.is_decodable() => Cause::Undecoded,
                _ => Cause::NoMedia,
            },
            None => Cause::NoMedia,
        }
    }

    /// Whether nothing that is later than `piece` was noted.
    pub fn is_next(&self, piece: &Piece) -> bool {
        piece.position >= self.covered
    }

    /// Takes note of a piece whose block was written before it came: the stretches of it that are still free. Where later
    /// audio of a codec with a memory was decoded meanwhile, the piece is counted and left out: a decoder cannot go back, one
    /// that begins in mid-speech gives something else than was said, and no phone would have waited for it either.
    pub fn note_late(
        &mut self,
        piece: &Piece,
        format: &PayloadFormat,
        payload: &[u8],
        rate_hz: u32,
    ) -> Vec<(i64, i64)> {
        let samples = format.codec.samples_at(rate_hz, payload);
        let (from, to) = (piece.position.max(0), piece.position + samples);
        if self.is_next(piece) {
            self.take_note(piece, format, payload, rate_hz, false);
            return vec![(from, to)];
        }
        if has_memory(format.codec) {
            self.losses.too_late += 1;
            return Vec::new();
        }
        let mut free = self.spans.take(from as u64, to.max(0) as u64);
        if to > self.covered {
            free.push((self.covered, to));
            self.covered = to;
        }
        free
    }

    /// Accounts for everything up to `to`.
    pub fn silent(&mut self, to: i64, cause: Cause) {
        let (from, to) = (self.covered.max(0), to.max(0));
        self.spans.push(Span {
            from: from as u64,
            to: to as u64,
            cause,
        });
        self.covered = self.covered.max(to);
    }

    /// Gives memory back while nothing comes.
    pub fn rest(&mut self) {
        self.samples = Vec::new();
        self.spans.rest();
    }

    /// Gives the decoders back: nothing came for longer than they remember.
    pub fn sleep(&mut self) {
        self.decoders = Vec::new();
    }

    /// The cause of silence after the last packet.
    pub fn cause_at_end(&self) -> Cause {
        match self.cause_of_silence() {
            Cause::Dtmf => Cause::NoMedia,
            cause => cause,
        }
    }

    /// Decodes a piece that was noted just before. A payload that does not fit its codec, or whose decoder panics, costs its
    /// packet, not the recording.
    pub fn decode(
        &mut self,
        piece: &Piece,
        format: &PayloadFormat,
        payload: &[u8],
        rate_hz: u32,
    ) -> Drawing<'_> {
        let codec = format.codec;
        if let Some(law) = as_it_came(codec, rate_hz) {
            return Drawing::Companded(law);
        }
        let restoring = std::mem::take(&mut self.restoring);
        let unsent = std::mem::take(&mut self.unsent);
        let lost = std::mem::take(&mut self.lost);
        if payload.is_empty() {
            return Drawing::Nothing;
        }
        let Some(at) = self.decoder(piece, codec, rate_hz) else {
            return Drawing::Nothing;
        };
        self.samples.clear();
        let (decoder, samples) = (&mut self.decoders[at].decoder, &mut self.samples);
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            if codec.extent(payload).samples == 0 {
                return Err(Undecodable);
            }
            decoder.pass(unsent);
            decoder.lose(lost.saturating_sub(restoring));
            if restoring > 0 {
                decoder.restore(payload, samples)?;
            }
            decoder.decode(payload, samples)
        }));
        match decoded {
            Ok(Ok(())) => {}
            Ok(Err(Undecodable)) => return self.refuse(),
            Err(_) => {
                self.decoders.remove(at);
                return self.lose_decoder();
            }
        }
        if let Some(revised) = self.decoders[at].reconsider(piece, payload, rate_hz) {
            return Drawing::Revised(revised);
        }
        let position = piece.position - codec.to_rate(restoring, rate_hz);
        match &mut self.decoders[at].resampler {
            None => Drawing::Linear(position, &self.samples),
            Some(resampling) => {
                let position = resampling.push(position, &mut self.samples, rate_hz);
                Drawing::Linear(position, &self.samples)
            }
        }
    }

    /// Decodes a piece that came after later ones were decoded: by itself.
    pub fn decode_late(
        &mut self,
        piece: &Piece,
        format: &PayloadFormat,
        payload: &[u8],
        rate_hz: u32,
    ) -> Drawing<'_> {
        let codec = format.codec;
        if let Some(law) = as_it_came(codec, rate_hz) {
            return Drawing::Companded(law);
        }
        if has_memory(codec) {
            return Drawing::Nothing;
        }
        let Some(at) = self.decoder(piece, codec, rate_hz) else {
            return Drawing::Nothing;
        };
        let StreamDecoder {
            decoder, resampler, ..
        } = &mut self.decoders[at];
        self.samples.clear();
        if decoder.decode(payload, &mut self.samples).is_err() {
            return self.refuse();
        }
        if let Some(resampling) = resampler {
            let mut alone = resampling.resampler.fresh();
            let input = std::mem::take(&mut self.samples);
            alone.push(&input, &mut self.samples);
            alone.finish(&mut self.samples);
        }
        Drawing::Linear(piece.position, &self.samples)
    }

    fn refuse(&mut self) -> Drawing<'_> {
        self.losses.undecodable += 1;
        self.give_up();
        Drawing::Nothing
    }

    fn lose_decoder(&mut self) -> Drawing<'_> {
        self.losses.panicked += 1;
        self.give_up();
        Drawing::Nothing
    }

    /// What was noted last is not heard after all.
    fn give_up(&mut self) {
        let (from, to) = (self.noted.0.max(0) as u64, self.noted.1.max(0) as u64);
        self.spans.take(from, to);
        self.spans.push(Span {
            from,
            to,
            cause: Cause::Undecoded,
        });
    }

    fn decoder(&mut self, piece: &Piece, codec: Codec, rate_hz: u32) -> Option<usize> {
        if let Some(at) = self.decoders.iter().position(|d| d.is_of(piece)) {
            let known = &mut self.decoders[at];
            let silent = piece.position - known.last_at;
            known.last_at = known.last_at.max(piece.position);
            if silent < FORGETS_SECONDS * i64::from(rate_hz) {
                return Some(at);
            }
            self.decoders.remove(at);
        }
        let decoder = StreamDecoder::new(piece, codec, rate_hz)?;
        if self.decoders.len() == MAX_DECODERS {
            self.decoders.remove(0);
        }
        self.decoders.push(decoder);
        Some(self.decoders.len() - 1)
    }
}

/// The law of a codec whose bytes are drawn as they came.
fn as_it_came(codec: Codec, rate_hz: u32) -> Option<Law> {
    match codec {
        Codec::Pcmu if rate_hz == 8000 => Some(Law::Mu),
        Codec::Pcma if rate_hz == 8000 => Some(Law::A),
        _ => None,
    }
}

/// Whether samples depend on what was decoded before.
fn has_memory(codec: Codec) -> bool {
    !matches!(codec, Codec::Pcmu | Codec::Pcma | Codec::L16 { .. })
}

/// Samples at `rate_hz` of `payload` that are audio, up to the last of them; whether its sender is silent after that.
fn heard(codec: Codec, payload: &[u8], rate_hz: u32) -> (i64, bool) {
    if as_it_came(codec, rate_hz).is_some() {
        return (payload.len() as i64, false);
    }
    if !codec.is_decodable() {
        return (0, false);
    }
    let Extent {
        samples,
        noise_from,
    } = codec.extent(payload);
    (codec.to_rate(noise_from, rate_hz), noise_from < samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::linear_to_ulaw;

    /// A second of a tone at 8 kHz, drawn at 16 kHz while each packet is moved by `step` samples: what is drawn after that
    /// is where its packets are.
    #[test]
    fn resampled_audio_moves_with_its_packets() {
        let format = PayloadFormat {
            payload_type: 0,
            codec: Codec::Pcmu,
            clock_rate_hz: 8000,
        };
        for step in [-1i64, 0, 1] {
            let (mut track, mut drawn) = (Track::new(), vec![0i16; 40_000]);
            for packet in 0..100i64 {
                let sample = |n: i64| (f64::from(n as i32) * 0.1).sin() * 8000.0;
                let payload: Vec<u8> = (0..160)
                    .map(|n| linear_to_ulaw(sample(packet * 160 + n) as i16))
                    .collect();
                let position = packet * 320 + step * packet.min(50);
                let piece = Piece {
                    position,
                    number: packet as u32,
                    offset: 0,
                    len: 160,
                    chunk: 0,
                    stream: 0,
                    format: 0,
                };
                let Drawing::Linear(at, samples) = track.decode(&piece, &format, &payload, 16_000)
                else {
                    panic!("it is resampled");
                };
                drawn[at as usize..at as usize + samples.len()].copy_from_slice(samples);
            }
            for n in 60 * 320..95 * 320i64 {
                let expected = (f64::from(n as i32) * 0.05).sin() * 8000.0;
                let is = f64::from(drawn[(n + step * 50) as usize]);
                assert!(
                    (is - expected).abs() < 400.0,
                    "step {step}, sample {n}: {is} for {expected}"
                );
            }
            assert!(
                drawn[..95 * 320]
                    .windows(40)
                    .all(|few| few.iter().any(|&sample| sample != 0)),
                "a hole"
            );
        }
    }

    fn piece(number: u32, samples: i64) -> Piece {
        Piece {
            position: i64::from(number) * samples,
            number,
            chunk: 0,
            offset: 0,
            len: 0,
            stream: 0,
            format: 0,
        }
    }

    fn causes(track: &Track) -> Vec<(u64, u64, Cause)> {
        let records = track.spans.records(crate::base::Side::Caller);
        records.map(|s| (s.from, s.to, s.cause)).collect()
    }

    /// 20 ms of G.722 at its own rate.
    fn g722(track: &mut Track, number: u32, payload: &[u8]) -> Option<Vec<i16>> {
        let format = PayloadFormat::from_static(9);
        let piece = piece(number, 320);
        track.note(&piece, &format, payload, 16_000);
        match track.decode(&piece, &format, payload, 16_000) {
            Drawing::Linear(at, samples) => {
                assert_eq!(at, piece.position);
                Some(samples.to_vec())
            }
            _ => None,
        }
    }

    #[test]
    fn a_late_packet_leaves_a_decoder_with_a_memory_as_it_is() {
        let payload = |n: u32| {
            let bytes = (0..160u32).map(|i| (i * 7 + n * 31) as u8);
            bytes.collect::<Vec<u8>>()
        };
        let (mut track, mut undisturbed) = (Track::new(), Track::new());
        let format = PayloadFormat::from_static(9);
        for n in [0, 1, 3, 4, 5] {
            assert_eq!(
                g722(&mut track, n, &payload(n)),
                g722(&mut undisturbed, n, &payload(n)),
                "packet {n}"
            );
            if n == 3 {
                let late = piece(2, 320);
                assert!(!track.is_next(&late));
                let free = track.note_late(&late, &format, &payload(2), 16_000);
                assert_eq!(free, []);
                let drawing = track.decode_late(&late, &format, &payload(2), 16_000);
                assert!(matches!(drawing, Drawing::Nothing));
            }
        }
        assert_eq!(causes(&track), [(640, 960, Cause::Loss)]);
        assert_eq!((track.losses.too_late, track.losses.total()), (1, 1));
    }

    #[test]
    fn what_was_lost_of_a_codec_that_is_not_decoded_is_as_long_as_it_was() {
        let speex = PayloadFormat::new(97, "speex", 8000, 1);
        // One frame of 20 ms, in a narrowband mode of 43 bits, and the end.
        let frame = vec![0x08, 0, 0, 0, 0, 0x0f];
        assert_eq!(speex.codec.extent(&frame).samples, 160);
        let evs = PayloadFormat::new(96, "EVS", 16_000, 1);
        let frames = [(speex, frame), (evs, vec![1; 33])];
        for (format, payload) in frames {
            let mut track = Track::new();
            for n in [0, 1, 3, 4, 8] {
                track.note(&piece(n, 160), &format, &payload, 8000);
            }
            let lost: Vec<_> = causes(&track)
                .into_iter()
                .filter(|(.., cause)| *cause == Cause::Loss)
                .collect();
            assert_eq!(
                lost,
                [(320, 480, Cause::Loss), (800, 1280, Cause::Loss)],
                "{:?}",
                format.codec
            );
        }
    }

    #[test]
    fn a_late_packet_that_is_resampled_leaves_the_filter_as_it_is() {
        let format = PayloadFormat::from_static(0);
        let payload = |n: u32| vec![0x80 + n as u8; 160];
        let (mut track, mut undisturbed) = (Track::new(), Track::new());
        let draw = |track: &mut Track, n: u32| {
            let piece = piece(n, 320);
            track.note(&piece, &format, &payload(n), 16_000);
            match track.decode(&piece, &format, &payload(n), 16_000) {
                Drawing::Linear(at, samples) => (at, samples.to_vec()),
                _ => panic!("it is resampled"),
            }
        };
        for n in [0, 1, 3, 4, 5] {
            assert_eq!(draw(&mut track, n), draw(&mut undisturbed, n), "packet {n}");
            if n == 4 {
                let late = piece(2, 320);
                let free = track.note_late(&late, &format, &payload(2), 16_000);
                assert_eq!(free, [(640, 960)]);
                let Drawing::Linear(at, samples) =
                    track.decode_late(&late, &format, &payload(2), 16_000)
                else {
                    panic!("it is resampled");
                };
                assert_eq!((at, samples.len()), (640, 320));
                assert!(samples[100..200].iter().all(|&sample| sample != 0));
            }
        }
    }

    #[test]
    fn what_does_not_fit_its_codec_is_a_segment_and_counted() {
        let mut track = Track::new();
        let format = PayloadFormat::from_static(18);
        for (n, payload) in [vec![0; 20], vec![0; 13], vec![0; 20]].iter().enumerate() {
            let piece = piece(n as u32, 160);
            track.note(&piece, &format, payload, 8000);
            let drawing = track.decode(&piece, &format, payload, 8000);
            assert_eq!(matches!(drawing, Drawing::Nothing), n == 1);
        }
        assert_eq!(track.losses.undecodable, 1);
        assert_eq!(causes(&track)[0], (160, 240, Cause::Undecoded));
    }

    #[test]
    fn a_decoder_that_slept_goes_on_as_one_that_waited() {
        let payload: Vec<u8> = (0..160u32).map(|n| (n * 37) as u8).collect();
        let (mut slept, mut waited) = (Track::new(), Track::new());
        for n in [0, 1, 2, 1500, 1501] {
            if n == 1500 {
                slept.sleep();
                assert!(slept.decoders.is_empty());
            }
            assert_eq!(
                g722(&mut slept, n, &payload),
                g722(&mut waited, n, &payload),
                "packet {n}"
            );
        }
    }

    #[test]
    fn silence_that_is_announced_is_comfort_noise() {
        let mut track = Track::new();
        let format = PayloadFormat::from_static(18);
        for (n, payload) in [(0, vec![0; 20]), (1, vec![0; 12]), (9, vec![0; 20])] {
            let piece = Piece {
                number: n.min(2),
                ..piece(n, 160)
            };
            track.note(&piece, &format, &payload, 8000);
            track.decode(&piece, &format, &payload, 8000);
        }
        assert_eq!(causes(&track), [(240, 1440, Cause::ComfortNoise)]);
    }
}
