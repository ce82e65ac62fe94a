//! One side of a recording: decoders, and what is silent and why.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::canvas::Law;
use super::segments::{SEAM, Span, Spans};
use crate::codec::{Codec, Decoder, PayloadFormat, Resampler};
use crate::engine::event::Piece;
use crate::storage::Cause;

/// Decoders kept for one side; a stream that changes its codec more often starts them anew.
const MAX_DECODERS: usize = 8;

#[derive(Debug)]
pub struct Track {
    pub spans: Spans,
    /// One past the last sample that is accounted for.
    covered: i64,
    last: Option<Last>,
    decoders: Vec<StreamDecoder>,
    samples: Vec<i16>,
}

/// The packet before.
#[derive(Clone, Copy, Debug)]
struct Last {
    stream: u16,
    number: u32,
    codec: Codec,
}

/// A decoder with its stream and format.
#[derive(Debug)]
struct StreamDecoder {
    stream: u16,
    format: u8,
    decoder: Decoder,
    resampler: Option<Resampling>,
}

/// A resampler with its place on the timeline. Its output is one unbroken stretch: where packets move by a sample to follow
/// a drifting clock, a sample is repeated or left out.
#[derive(Debug)]
pub struct Resampling {
    resampler: Resampler,
    input_rate_hz: u32,
    /// Where the next output sample belongs.
    output_at: i64,
    /// Where the stretch began, by the place of its latest packet.
    origin: i64,
    /// Input samples of the stretch.
    inputs: i64,
    last: i16,
}

/// How a piece is to be drawn.
pub enum Drawing<'t> {
    Nothing,
    /// G.711 as it came.
    Companded(Law),
    /// Samples from a position on.
    Linear(i64, &'t [i16]),
}

impl Track {
    pub fn new() -> Self {
        Track {
            spans: Spans::default(),
            covered: 0,
            last: None,
            decoders: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Takes note of a piece in its turn; gives the seam before it that is to be closed.
    pub fn note(
        &mut self,
        piece: &Piece,
        format: &PayloadFormat,
        samples: i64,
    ) -> Option<(i64, i64)> {
        let gap = piece.position - self.covered;
        let mut seam = None;
        if gap > 0 {
            let cause = self.cause_of_gap(piece);
            if self.last.is_some() && gap <= SEAM && cause != Cause::Loss {
                seam = Some((self.covered, piece.position));
            } else {
                self.silent(piece.position, cause);
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
        self.last = Some(Last {
            stream: piece.stream,
            number,
            codec: format.codec,
        });
        if format.codec.is_decodable() {
            self.covered = self.covered.max(piece.position + samples);
        } else {
            self.covered = self.covered.max(piece.position);
        }
        seam
    }

    fn cause_of_gap(&self, piece: &Piece) -> Cause {
        match self.last {
            Some(last)
                if last.stream == piece.stream
                    && piece.number.wrapping_sub(last.number).wrapping_sub(1) < 1 << 31
                    && piece.number.wrapping_sub(last.number) > 1 =>
            {
                Cause::Loss
            }
            Some(last) => match last.codec {
                Codec::ComfortNoise => Cause::ComfortNoise,
                Codec::TelephoneEvent => Cause::Dtmf,
                Codec::Other(_) => Cause::Undecoded,
                _ => Cause::NoMedia,
            },
            None => Cause::NoMedia,
        }
    }

    /// Takes note of a piece whose block was written before it came: the stretches of `from..to` that are still free.
    pub fn note_late(
        &mut self,
        piece: &Piece,
        format: &PayloadFormat,
        samples: i64,
    ) -> Vec<(i64, i64)> {
        let (from, to) = (piece.position.max(0), piece.position + samples);
        if piece.position >= self.covered {
            self.note(piece, format, samples);
            return vec![(from, to)];
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

    /// The cause of silence after the last packet.
    pub fn cause_at_end(&self) -> Cause {
        match self.last.map(|last| last.codec) {
            Some(Codec::Other(_)) => Cause::Undecoded,
            Some(Codec::ComfortNoise) => Cause::ComfortNoise,
            _ => Cause::NoMedia,
        }
    }

    /// Decodes a piece. A decoder that panics costs its packet, not the recording.
    pub fn decode(
        &mut self,
        piece: &Piece,
        format: &PayloadFormat,
        payload: &[u8],
        rate_hz: u32,
    ) -> Drawing<'_> {
        let codec = format.codec;
        if codec.sample_rate_hz() == rate_hz {
            match codec {
                Codec::Pcmu => return Drawing::Companded(Law::Mu),
                Codec::Pcma => return Drawing::Companded(Law::A),
                _ => {}
            }
        }
        let Some(at) = self.decoder(piece, codec, rate_hz) else {
            return Drawing::Nothing;
        };
        let StreamDecoder {
            decoder, resampler, ..
        } = &mut self.decoders[at];
        self.samples.clear();
        let samples = &mut self.samples;
        if catch_unwind(AssertUnwindSafe(|| decoder.decode(payload, samples))).is_err() {
            self.decoders.swap_remove(at);
            return Drawing::Nothing;
        }
        match resampler {
            None => Drawing::Linear(piece.position, &self.samples),
            Some(resampling) => {
                let position = resampling.push(piece.position, &mut self.samples, rate_hz);
                Drawing::Linear(position, &self.samples)
            }
        }
    }

    fn decoder(&mut self, piece: &Piece, codec: Codec, rate_hz: u32) -> Option<usize> {
        let known = |d: &StreamDecoder| d.stream == piece.stream && d.format == piece.format;
        if let Some(at) = self.decoders.iter().position(known) {
            return Some(at);
        }
        let decoder = Decoder::new(codec)?;
        let resampler = if codec.sample_rate_hz() == rate_hz {
            None
        } else {
            Some(Resampling::new(codec.sample_rate_hz(), rate_hz)?)
        };
        if self.decoders.len() == MAX_DECODERS {
            self.decoders.remove(0);
        }
        self.decoders.push(StreamDecoder {
            stream: piece.stream,
            format: piece.format,
            decoder,
            resampler,
        });
        Some(self.decoders.len() - 1)
    }
}

impl Resampling {
    pub fn new(input_rate_hz: u32, rate_hz: u32) -> Option<Resampling> {
        let resampler = Resampler::new(input_rate_hz, rate_hz)?;
        Some(Resampling {
            resampler,
            input_rate_hz,
            output_at: 0,
            origin: i64::MIN,
            inputs: 0,
            last: 0,
        })
    }

    /// Turns `samples` of a packet at `position` into samples of the recording; where those begin. After a gap the filter
    /// begins anew.
    pub fn push(&mut self, position: i64, samples: &mut Vec<i16>, rate_hz: u32) -> i64 {
        let input = std::mem::take(samples);
        let before = self.inputs * i64::from(rate_hz) / i64::from(self.input_rate_hz);
        let moved = position.saturating_sub(self.origin.saturating_add(before));
        if moved.abs() > SEAM {
            self.restart(position, rate_hz);
        } else {
            self.origin += moved;
        }
        self.inputs += input.len() as i64;
        self.resampler.push(&input, samples);
        match usize::try_from(moved) {
            Ok(repeated) if repeated <= SEAM as usize => {
                samples.splice(0..0, std::iter::repeat_n(self.last, repeated));
            }
            Err(_) if moved >= -SEAM => {
                drop(samples.drain(..samples.len().min(moved.unsigned_abs() as usize)))
            }
            _ => {}
        }
        self.last = samples.last().copied().unwrap_or(self.last);
        let begin = self.output_at;
        self.output_at += samples.len() as i64;
        begin
    }

    /// The samples that waited for what follows, and where they belong.
    pub fn finish(&mut self) -> (i64, Vec<i16>) {
        let mut samples = Vec::new();
        self.resampler.finish(&mut samples);
        (self.output_at, samples)
    }

    fn restart(&mut self, position: i64, rate_hz: u32) {
        if let Some(fresh) = Resampler::new(self.input_rate_hz, rate_hz) {
            self.resampler = fresh;
        }
        (self.origin, self.output_at, self.inputs, self.last) = (position, position, 0, 0);
    }
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
}
