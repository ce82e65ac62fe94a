//! What a recorder thread draws on and writes from.
//!
//! Its recordings use it in turn: it stays in the processor's cache, and a call costs no memory for it but for what reaches beyond
//! the block that was written.

use super::canvas::{Canvas, Rest};
use crate::storage::SampleFormat;

#[derive(Debug, Default)]
pub struct Easel {
    /// Of the recording at work; `None` until it has drawn something.
    pub canvas: Option<Canvas>,
    /// Silent, and nobody's.
    blank: Option<Canvas>,
    /// Frames as a file has them.
    pub buffer: Vec<u8>,
}

impl Easel {
    /// Puts on what a recording left when its turn was over; `frames` is the size of its canvas.
    pub fn mount(&mut self, rest: Option<Rest>, frames: usize) {
        self.canvas = rest.map(|rest| {
            let mut canvas = self.blank(rest.format(), frames);
            canvas.resume(rest);
            canvas
        });
    }

    /// Takes a recording's part off.
    pub fn dismount(&mut self) -> Option<Rest> {
        let mut canvas = self.canvas.take()?;
        let rest = canvas.put_away();
        self.blank = Some(canvas);
        Some(rest)
    }

    /// The canvas of the recording at work, which begins at `begin` if it has none yet.
    pub fn canvas(&mut self, format: SampleFormat, frames: usize, begin: i64) -> &mut Canvas {
        if self.canvas.is_none() {
            let mut canvas = self.blank(format, frames);
            canvas.begin(begin);
            self.canvas = Some(canvas);
        }
        self.canvas.as_mut().expect("it was put there just now")
    }

    fn blank(&mut self, format: SampleFormat, frames: usize) -> Canvas {
        self.blank
            .take()
            .filter(|canvas| canvas.suits(format, frames))
            .unwrap_or_else(|| Canvas::new(format, frames))
    }
}
