//! Frames to their places in the files of a recording.

use std::borrow::Cow;

use super::canvas::{Canvas, silence};
use super::easel::Easel;
use super::recording::{Recording, format_of};
use super::track::Drawing;
use crate::base::Side;
use crate::engine::event::Block;
use crate::storage::{Error, SampleFormat, WavFormat};

impl Recording {
    /// Puts packets that came after their block was written in their places, as far as nothing else is there.
    pub(super) fn patch(
        &mut self,
        block: &Block,
        format: WavFormat,
        easel: &mut Easel,
    ) -> Result<(), Error> {
        for side in Side::BOTH {
            for piece in &block.sides[side] {
                let payload = block.payload(piece);
                let piece_format = format_of(block, piece);
                let rate_hz = self.sample_rate_hz;
                let track = &mut self.tracks[side];
                let in_order = track.is_next(piece);
                let free = track.note_late(piece, &piece_format, payload, rate_hz);
                let drawing = if in_order {
                    track.decode(piece, &piece_format, payload, rate_hz)
                } else {
                    track.decode_late(piece, &piece_format, payload, rate_hz)
                };
                match drawing {
                    Drawing::Nothing => {}
                    Drawing::Companded(law) => {
                        for (from, to) in free {
                            let Some(part) = part_of(payload, piece.position, from, to) else {
                                continue;
                            };
                            self.patch_at(from, part.len(), format, easel, |canvas| {
                                canvas.draw_g711(side, from, part, law)
                            })?;
                        }
                    }
                    Drawing::Linear(position, decoded) => {
                        let decoded = decoded.to_vec();
                        for (from, to) in free {
                            let Some(part) = part_of(&decoded, position, from, to) else {
                                continue;
                            };
                            self.write_samples(side, from.max(position), part, format, easel)?;
                        }
                    }
                    Drawing::Revised(stretches) => {
                        self.is_revised[side] = true;
                        for (position, samples) in stretches {
                            self.write_samples(side, position, &samples, format, easel)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes samples of one side over what the file has.
    pub(super) fn write_samples(
        &mut self,
        side: Side,
        position: i64,
        samples: &[i16],
        format: WavFormat,
        easel: &mut Easel,
    ) -> Result<(), Error> {
        self.patch_at(position, samples.len(), format, easel, |canvas| {
            canvas.draw(side, position, samples);
        })
    }

    /// Reads a stretch of the files back, draws on it, and writes it again. What lies on the canvas, not in the files yet, is
    /// drawn there; what lies beyond the block that is next on it was skipped: where the call goes on, another canvas begins.
    pub(super) fn patch_at(
        &mut self,
        position: i64,
        len: usize,
        format: WavFormat,
        easel: &mut Easel,
        draw: impl Fn(&mut Canvas),
    ) -> Result<(), Error> {
        if let Some(canvas) = &mut easel.canvas {
            draw(canvas);
        }
        let next = easel.canvas.as_ref().map_or(i64::MAX, Canvas::start);
        let skipped = next.saturating_add(self.block_frames() as i64);
        let end = position + len as i64;
        self.patch_files(position.max(0), end.min(next), format, easel, &draw)?;
        self.patch_files(position.max(skipped), end, format, easel, &draw)
    }

    fn patch_files(
        &mut self,
        begin: i64,
        end: i64,
        format: WavFormat,
        easel: &mut Easel,
        draw: &impl Fn(&mut Canvas),
    ) -> Result<(), Error> {
        let frames = end.saturating_sub(begin);
        if frames <= 0 {
            return Ok(());
        }
        self.fill_holes(begin as u64, format)?;
        let mut bytes =
            vec![silence(format.sample_format); frames as usize * format.frame_bytes() as usize];
        let mut patch = Canvas::new(format.sample_format, frames as usize);
        patch.begin(begin);
        let present = self.written.saturating_sub(begin as u64).min(frames as u64);
        let present_bytes = (present * format.frame_bytes()) as usize;
        for output in &mut self.outputs {
            let Some(part) = &output.part else { continue };
            part.read_at(&mut bytes[..present_bytes], format.offset_of(begin as u64))?;
            patch.load(&bytes);
            draw(&mut patch);
            patch.render(frames as usize, &mut easel.buffer);
            let bytes = own_part(output.until, &easel.buffer, begin, format);
            part.write_at(&bytes, format.offset_of(begin as u64))?;
        }
        self.written = self.written.max(begin as u64 + frames as u64);
        self.filled = self.filled.max(self.written);
        Ok(())
    }

    /// What came late for before `begin` may reach beyond it: it goes onto the canvas.
    pub(super) fn load_what_reaches_in(
        &mut self,
        begin: i64,
        format: WavFormat,
        easel: &mut Easel,
    ) -> Result<(), Error> {
        let begin = begin.max(0) as u64;
        let frames = self
            .written
            .saturating_sub(begin)
            .min(self.block_frames() as u64);
        let whole = self.outputs.iter().filter(|output| output.part.is_some());
        let Some(output) = whole.min_by_key(|output| output.until.is_some()) else {
            return Ok(());
        };
        if let (1.., Some(part), Some(canvas)) = (frames, &output.part, &mut easel.canvas) {
            let mut bytes = vec![0; (frames * format.frame_bytes()) as usize];
            part.read_at(&mut bytes, format.offset_of(begin))?;
            canvas.load(&bytes);
        }
        Ok(())
    }

    /// Writes frames at frame `begin` of every file.
    pub(super) fn write(
        &mut self,
        begin: u64,
        frames: &[u8],
        format: WavFormat,
    ) -> Result<(), Error> {
        self.fill_holes(begin, format)?;
        let mut result = Ok(());
        for output in &self.outputs {
            if let Some(part) = &output.part
                && let Err(error) = part.write_at(
                    &own_part(output.until, frames, begin as i64, format),
                    format.offset_of(begin),
                )
            {
                result = Err(error);
            }
        }
        if result.is_ok() {
            self.written = self
                .written
                .max(begin + frames.len() as u64 / format.frame_bytes());
            self.filled = self.filled.max(self.written);
        }
        result
    }

    /// Silence up to `to` that takes no room on the disk, in a file of PCM.
    pub(super) fn lengthen(&mut self, to: u64, format: WavFormat) -> Result<(), Error> {
        if to <= self.written {
            return Ok(());
        }
        let parts = self.outputs.iter().filter_map(|o| o.part.as_ref());
        for part in parts {
            part.set_len(format.offset_of(to))?;
        }
        (self.written, self.filled) = (to, self.filled.max(to));
        Ok(())
    }

    /// A hole in a file reads as zeros, which is silence in PCM and a loud click in A-law: there it is filled.
    pub(super) fn fill_holes(&mut self, to: u64, format: WavFormat) -> Result<(), Error> {
        if format.sample_format == SampleFormat::Pcm16 || to <= self.filled {
            return Ok(());
        }
        let chunk = vec![silence(format.sample_format); 64 << 10];
        let (mut at, end) = (format.offset_of(self.filled), format.offset_of(to));
        while at < end {
            let len = (end - at).min(chunk.len() as u64);
            for part in self
                .outputs
                .iter()
                .filter_map(|output| output.part.as_ref())
            {
                part.write_at(&chunk[..len as usize], at)?;
            }
            at += len;
        }
        self.filled = to;
        Ok(())
    }
}

/// What a tenant gets of frames that begin at `begin`: silence from where the call is another tenant's.
fn own_part(until: Option<i64>, frames: &[u8], begin: i64, format: WavFormat) -> Cow<'_, [u8]> {
    let Some(own) = until.map(|until| (until - begin).max(0) as usize) else {
        return Cow::Borrowed(frames);
    };
    let from = own.saturating_mul(format.frame_bytes() as usize);
    if from >= frames.len() {
        return Cow::Borrowed(frames);
    }
    let mut own = frames.to_vec();
    own[from..].fill(silence(format.sample_format));
    Cow::Owned(own)
}

/// What of `items`, the first of which is at `position`, lies in `from..to`.
fn part_of<T>(items: &[T], position: i64, from: i64, to: i64) -> Option<&[T]> {
    let begin = usize::try_from((from - position).max(0)).ok()?;
    let end = usize::try_from(to - position).ok()?.min(items.len());
    items.get(begin..end).filter(|part| !part.is_empty())
}
