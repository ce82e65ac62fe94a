//! The stretch of a timeline that is being drawn: two channels of samples, from a start that moves on.

use crate::base::{PerSide, Side};
use crate::codec::{
    ALAW_SILENCE, ALAW_TO_LINEAR, ULAW_SILENCE, ULAW_TO_LINEAR, linear_to_alaw, linear_to_ulaw,
};
use crate::storage::SampleFormat;

/// The two companding laws of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    A,
    Mu,
}

/// Samples of both sides from `start` on. Memory is twice a block for each side: a thread has one, and lends it to one recording
/// after the other ([`Canvas::put_away`]), so that what is drawn stays in the processor's cache.
#[derive(Debug)]
pub struct Canvas {
    format: SampleFormat,
    start: i64,
    /// Samples from the start on beyond which nothing was drawn: what lies there is silent.
    drawn: usize,
    sides: PerSide<Channel>,
}

/// What a recording has on the canvas while others use it.
#[derive(Debug)]
pub struct Rest {
    format: SampleFormat,
    start: i64,
    sides: PerSide<Channel>,
}

impl Rest {
    pub fn format(&self) -> SampleFormat {
        self.format
    }

    /// Makes both sides silent from frame `from` of the timeline up to `to`.
    pub fn blank(&mut self, from: u64, to: u64) {
        let index = |at: u64| {
            i64::try_from(at)
                .map_or(i64::MAX, |at| at - self.start)
                .max(0) as usize
        };
        let (from, to) = (index(from), index(to));
        for side in Side::BOTH {
            match &mut self.sides[side] {
                Channel::Linear(samples) => fill(samples, from, to, 0),
                Channel::Companded(bytes) => fill(bytes, from, to, silence(self.format)),
            }
        }
    }
}

fn fill<T: Copy>(items: &mut [T], from: usize, to: usize, value: T) {
    let to = to.min(items.len());
    if let Some(items) = items.get_mut(from..to) {
        items.fill(value);
    }
}

#[derive(Debug)]
enum Channel {
    Linear(Vec<i16>),
    /// Bytes of the law that the file is written in.
    Companded(Vec<u8>),
}

impl Canvas {
    /// Room for `frames` samples of each side, silent.
    pub fn new(format: SampleFormat, frames: usize) -> Self {
        let channel = || match format {
            SampleFormat::Pcm16 => Channel::Linear(vec![0; frames]),
            law => Channel::Companded(vec![silence(law); frames]),
        };
        Canvas {
            format,
            start: 0,
            drawn: 0,
            sides: PerSide {
                caller: channel(),
                callee: channel(),
            },
        }
    }

    pub fn start(&self) -> i64 {
        self.start
    }

    /// Clears the canvas and begins it at `start`.
    pub fn begin(&mut self, start: i64) {
        self.advance(self.drawn);
        self.start = start;
    }

    /// Whether this is a canvas of `frames` samples for files of `format`.
    pub fn suits(&self, format: SampleFormat, frames: usize) -> bool {
        self.format == format && self.frames() == frames
    }

    /// Takes what was drawn off the canvas, which is silent then.
    pub fn put_away(&mut self) -> Rest {
        let (format, start, drawn) = (self.format, self.start, self.drawn);
        let sides = PerSide::of(|side| match &self.sides[side] {
            Channel::Linear(samples) => Channel::Linear(samples[..drawn].to_vec()),
            Channel::Companded(bytes) => Channel::Companded(bytes[..drawn].to_vec()),
        });
        self.advance(drawn);
        Rest {
            format,
            start,
            sides,
        }
    }

    /// Goes on with what was put away, on a silent canvas of the same format.
    pub fn resume(&mut self, rest: Rest) {
        debug_assert!(rest.format == self.format && self.drawn == 0);
        self.start = rest.start;
        for side in Side::BOTH {
            match (&mut self.sides[side], &rest.sides[side]) {
                (Channel::Linear(room), Channel::Linear(samples)) => {
                    room[..samples.len()].copy_from_slice(samples);
                    self.drawn = samples.len();
                }
                (Channel::Companded(room), Channel::Companded(bytes)) => {
                    room[..bytes.len()].copy_from_slice(bytes);
                    self.drawn = bytes.len();
                }
                _ => unreachable!("it was put away from a canvas of this format"),
            }
        }
    }

    /// Whether nothing was drawn since it was begun or moved on.
    pub fn is_blank(&self) -> bool {
        self.drawn == 0
    }

    fn note_drawn(&mut self, end: usize, room: usize) {
        self.drawn = self.drawn.max(end.min(room));
    }

    /// Draws G.711 bytes. What lies outside the canvas is left out.
    #[inline]
    pub fn draw_g711(&mut self, side: Side, position: i64, payload: &[u8], law: Law) {
        let Some((at, payload)) = clip(position - self.start, payload) else {
            return;
        };
        self.note_drawn(at + payload.len(), self.frames());
        match &mut self.sides[side] {
            Channel::Linear(samples) => {
                let table = match law {
                    Law::A => &ALAW_TO_LINEAR,
                    Law::Mu => &ULAW_TO_LINEAR,
                };
                let room = samples.get_mut(at..).unwrap_or_default();
                room.iter_mut()
                    .zip(payload)
                    .for_each(|(to, &from)| *to = table[usize::from(from)]);
            }
            Channel::Companded(bytes) => {
                let room = bytes.get_mut(at..).unwrap_or_default();
                let to_file = transcoder(law, self.format);
                room.iter_mut()
                    .zip(payload)
                    .for_each(|(to, &from)| *to = to_file(from));
            }
        }
    }

    /// Draws linear samples.
    pub fn draw(&mut self, side: Side, position: i64, samples: &[i16]) {
        let Some((at, samples)) = clip(position - self.start, samples) else {
            return;
        };
        self.note_drawn(at + samples.len(), self.frames());
        match &mut self.sides[side] {
            Channel::Linear(room) => {
                let room = room.get_mut(at..).unwrap_or_default();
                room.iter_mut()
                    .zip(samples)
                    .for_each(|(to, &from)| *to = from);
            }
            Channel::Companded(room) => {
                let format = self.format;
                let room = room.get_mut(at..).unwrap_or_default();
                room.iter_mut()
                    .zip(samples)
                    .for_each(|(to, &from)| *to = compand(format, from));
            }
        }
    }

    /// Repeats the sample before `from` up to `to`: a hole of a few samples, where drift was repaired.
    pub fn smear(&mut self, side: Side, from: i64, to: i64) {
        let (Ok(from), Ok(to)) = (
            usize::try_from(from - self.start),
            usize::try_from(to - self.start),
        ) else {
            return;
        };
        match &mut self.sides[side] {
            Channel::Linear(samples) => smear(samples, from, to),
            Channel::Companded(bytes) => smear(bytes, from, to),
        }
    }

    /// Makes `out` the first `frames` frames as the file has them. What `out` held before is overwritten, not cleared: it
    /// mostly is as long.
    pub fn render(&self, frames: usize, out: &mut Vec<u8>) {
        let frames = frames.min(self.frames());
        match (&self.sides.caller, &self.sides.callee) {
            (Channel::Linear(left), Channel::Linear(right)) => {
                out.resize(frames * 4, 0);
                for (to, (&left, &right)) in out.chunks_exact_mut(4).zip(left.iter().zip(right)) {
                    let frame = u32::from(left as u16) | u32::from(right as u16) << 16;
                    to.copy_from_slice(&frame.to_le_bytes());
                }
            }
            (Channel::Companded(left), Channel::Companded(right)) => {
                out.resize(frames * 2, 0);
                for (to, (&left, &right)) in out.chunks_exact_mut(2).zip(left.iter().zip(right)) {
                    to.copy_from_slice(&[left, right]);
                }
            }
            _ => unreachable!("both channels are made alike"),
        }
    }

    /// Takes frames as a file has them, from the start of the canvas on.
    pub fn load(&mut self, bytes: &[u8]) {
        self.drawn = self.frames();
        match (&mut self.sides.caller, &mut self.sides.callee) {
            (Channel::Linear(left), Channel::Linear(right)) => {
                for ((left, right), frame) in left.iter_mut().zip(right).zip(bytes.chunks_exact(4))
                {
                    *left = i16::from_le_bytes([frame[0], frame[1]]);
                    *right = i16::from_le_bytes([frame[2], frame[3]]);
                }
            }
            (Channel::Companded(left), Channel::Companded(right)) => {
                for ((left, right), frame) in left.iter_mut().zip(right).zip(bytes.chunks_exact(2))
                {
                    (*left, *right) = (frame[0], frame[1]);
                }
            }
            _ => unreachable!("both channels are made alike"),
        }
    }

    /// Shows `listener` the first `frames` samples of a side as linear ones, `len` at a time.
    pub fn listen(&self, side: Side, frames: usize, len: usize, mut listener: impl FnMut(&[i16])) {
        let frames = frames.min(self.frames());
        match &self.sides[side] {
            Channel::Linear(samples) => samples[..frames].chunks(len).for_each(listener),
            Channel::Companded(bytes) => {
                let table = match self.format {
                    SampleFormat::Alaw => &ALAW_TO_LINEAR,
                    _ => &ULAW_TO_LINEAR,
                };
                let mut linear = Vec::with_capacity(len);
                for bytes in bytes[..frames].chunks(len) {
                    linear.clear();
                    linear.extend(bytes.iter().map(|&byte| table[usize::from(byte)]));
                    listener(&linear);
                }
            }
        }
    }

    /// Moves the start on by `frames`, keeping what was drawn beyond.
    pub fn advance(&mut self, frames: usize) {
        self.start += frames as i64;
        let drawn = self.drawn;
        self.drawn = drawn.saturating_sub(frames);
        for side in Side::BOTH {
            match &mut self.sides[side] {
                Channel::Linear(samples) => shift(&mut samples[..drawn], frames, 0),
                Channel::Companded(bytes) => {
                    shift(&mut bytes[..drawn], frames, silence(self.format))
                }
            }
        }
    }

    /// Samples that there is room for.
    fn frames(&self) -> usize {
        match &self.sides.caller {
            Channel::Linear(samples) => samples.len(),
            Channel::Companded(bytes) => bytes.len(),
        }
    }
}

/// The byte of silence in a file of `format`.
pub fn silence(format: SampleFormat) -> u8 {
    match format {
        SampleFormat::Pcm16 => 0,
        SampleFormat::Alaw => ALAW_SILENCE,
        SampleFormat::Ulaw => ULAW_SILENCE,
    }
}

fn compand(format: SampleFormat, sample: i16) -> u8 {
    match format {
        SampleFormat::Alaw => linear_to_alaw(sample),
        _ => linear_to_ulaw(sample),
    }
}

/// From a byte on the wire to the byte in the file: the same byte, unless the two sides speak different laws.
fn transcoder(from: Law, to: SampleFormat) -> fn(u8) -> u8 {
    match (from, to) {
        (Law::A, SampleFormat::Ulaw) => |byte| linear_to_ulaw(ALAW_TO_LINEAR[usize::from(byte)]),
        (Law::Mu, SampleFormat::Alaw) => |byte| linear_to_alaw(ULAW_TO_LINEAR[usize::from(byte)]),
        _ => |byte| byte,
    }
}

/// Where to begin in the canvas and what is left to draw, of something that may begin before it.
fn clip<T>(offset: i64, items: &[T]) -> Option<(usize, &[T])> {
    if offset >= 0 {
        return Some((usize::try_from(offset).ok()?, items));
    }
    Some((0, items.get(usize::try_from(-offset).ok()?..)?))
}

fn smear<T: Copy>(samples: &mut [T], from: usize, to: usize) {
    if from > 0
        && let Some(hole) = samples.get(from - 1..to)
        && let Some(&last) = hole.first()
    {
        samples[from..to].fill(last);
    }
}

fn shift<T: Copy>(samples: &mut [T], by: usize, fill: T) {
    let by = by.min(samples.len());
    samples.copy_within(by.., 0);
    let kept = samples.len() - by;
    samples[kept..].fill(fill);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_clips_and_moves_on() {
        let mut canvas = Canvas::new(SampleFormat::Pcm16, 8);
        canvas.draw(Side::Caller, -2, &[9, 9, 1, 2]);
        canvas.draw(Side::Callee, 3, &[3, 4, 5, 6, 7, 8]);
        let mut out = Vec::new();
        canvas.render(4, &mut out);
        assert_eq!(out, [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
        canvas.advance(4);
        out.clear();
        canvas.render(4, &mut out);
        assert_eq!(out, [0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 0]);
        canvas.draw(Side::Caller, 100, &[1]);
        canvas.draw_g711(Side::Caller, -100, &[1], Law::A);
    }

    #[test]
    fn what_was_put_away_comes_back_as_it_was() {
        for format in [SampleFormat::Pcm16, SampleFormat::Alaw] {
            let mut canvas = Canvas::new(format, 8);
            canvas.begin(40);
            canvas.draw(Side::Caller, 41, &[800, 900]);
            canvas.draw(Side::Callee, 40, &[-700; 5]);
            let (mut before, mut other, mut after) = (Vec::new(), Vec::new(), Vec::new());
            canvas.render(8, &mut before);
            let rest = canvas.put_away();
            canvas.begin(0);
            canvas.render(8, &mut other);
            assert!(other.iter().all(|&byte| byte == silence(format)));
            canvas.resume(rest);
            canvas.render(8, &mut after);
            assert_eq!((canvas.start(), after), (40, before));
        }
    }

    #[test]
    fn wire_bytes_stay_what_they_are() {
        let all: Vec<u8> = (0..=255).collect();
        for (format, law) in [(SampleFormat::Ulaw, Law::Mu), (SampleFormat::Alaw, Law::A)] {
            let mut canvas = Canvas::new(format, 256);
            canvas.draw_g711(Side::Callee, 0, &all, law);
            let mut out = Vec::new();
            canvas.render(256, &mut out);
            let right: Vec<u8> = out.chunks(2).map(|frame| frame[1]).collect();
            assert_eq!(right, all);
            assert!(out.chunks(2).all(|frame| frame[0] == silence(format)));
        }
    }
}
