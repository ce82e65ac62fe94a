//! The decoder of one stream, what it feeds, and what it may have been wrong about.

use super::resampling::Resampling;
use super::segments::SEAM;
use crate::codec::{Codec, Decoder, Doubt};
use crate::engine::event::Piece;

/// Pieces kept while their decoder is in doubt, of which it settles after six seconds of speech.
const MAX_DOUBTFUL: usize = 1000;

/// A decoder with its stream and format.
#[derive(Debug)]
pub struct StreamDecoder {
    stream: u16,
    format: u8,
    /// Where its latest packet began.
    pub last_at: i64,
    pub decoder: Decoder,
    pub resampler: Option<Resampling>,
    /// What was given while the decoder was in doubt; `None` where that is more than is kept.
    doubtful: Option<Vec<(i64, Vec<u8>)>>,
}

impl StreamDecoder {
    /// For the stream and format of `piece`. None: this version does not decode the codec.
    pub fn new(piece: &Piece, codec: Codec, rate_hz: u32) -> Option<StreamDecoder> {
        let input_hz = codec.sample_rate_hz();
        let resampler = match input_hz == rate_hz {
            true => None,
            false => Some(Resampling::new(input_hz, rate_hz)?),
        };
        Some(StreamDecoder {
            stream: piece.stream,
            format: piece.format,
            last_at: piece.position,
            decoder: Decoder::new(codec)?,
            resampler,
            doubtful: Some(Vec::new()),
        })
    }

    pub fn is_of(&self, piece: &Piece) -> bool {
        self.stream == piece.stream && self.format == piece.format
    }

    /// Keeps what was decoded just now, if it is in doubt; where it turned out that it was decoded in a wrong way, gives all of it
    /// as it should have been.
    pub fn reconsider(
        &mut self,
        piece: &Piece,
        payload: &[u8],
        rate_hz: u32,
    ) -> Option<Vec<(i64, Vec<i16>)>> {
        let doubt = self.decoder.doubt();
        if matches!(doubt, Doubt::None | Doubt::Unheard) {
            if self.doubtful.as_ref().is_none_or(|kept| !kept.is_empty()) {
                self.doubtful = Some(Vec::new());
            }
            return None;
        }
        let kept = self.doubtful.as_mut()?;
        kept.push((piece.position, payload.to_vec()));
        if kept.len() > MAX_DOUBTFUL {
            self.doubtful = None;
            return None;
        }
        (doubt == Doubt::Turned).then(|| self.again(rate_hz))?
    }

    /// Decodes again what was in doubt.
    fn again(&mut self, rate_hz: u32) -> Option<Vec<(i64, Vec<i16>)>> {
        let mut decoder = self.decoder.again()?;
        if let Some(resampling) = &mut self.resampler {
            resampling.forget();
        }
        let redraw = |(position, payload): &(i64, Vec<u8>)| -> Option<(i64, Vec<i16>)> {
            let mut samples = Vec::new();
            decoder.decode(payload, &mut samples).ok()?;
            let position = match &mut self.resampler {
                Some(resampling) => resampling.push(*position, &mut samples, rate_hz),
                None => *position,
            };
            Some((position, samples))
        };
        let mut stretches: Vec<_> = self
            .doubtful
            .as_ref()?
            .iter()
            .map(redraw)
            .collect::<Option<_>>()?;
        for at in 1..stretches.len() {
            let (next, (position, samples)) = (stretches[at].0, &mut stretches[at - 1]);
            let seam = next - *position - samples.len() as i64;
            if let Some(&last) = samples.last().filter(|_| (1..=SEAM).contains(&seam)) {
                samples.extend(std::iter::repeat_n(last, seam as usize));
            }
        }
        Some(stretches)
    }
}
