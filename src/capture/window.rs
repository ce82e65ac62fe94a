//! A sliding view over a byte stream, in a buffer that is used again and again.

use std::io::{self, Read};

/// Bytes that are read from the system at once, at best. Few enough that they are still in the processor's second cache when
/// their packets are followed: with a megabyte each packet costs a miss of 200 ns.
pub(super) const BUFFER_BYTES: usize = 128 << 10;

/// The unread bytes of a stream, as many as the reader above asks for at once.
///
/// The buffer starts at the size given and grows only to hold what [`Window::fill`] is asked for and the stream really
/// has; its callers never ask for more than 16 MiB.
pub(super) struct Window {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Size of the buffer when nothing large is in it.
    usual_bytes: usize,
    /// `buffer[start..end]` is read and not consumed.
    start: usize,
    end: usize,
    /// Bytes of the stream before `buffer[start]`.
    offset: u64,
    ended: bool,
    failure: Option<io::Error>,
}

impl Window {
    pub(super) fn new(input: Box<dyn Read + Send>, buffer_bytes: usize) -> Window {
        Window {
            input,
            buffer: vec![0; buffer_bytes],
            usual_bytes: buffer_bytes,
            start: 0,
            end: 0,
            offset: 0,
            ended: false,
            failure: None,
        }
    }

    /// What is there without reading.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Bytes of the stream before the first of [`Window::bytes`].
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives up the first `count` bytes and says where in the buffer they begin, for [`Window::at`].
    #[inline]
    pub(super) fn consume(&mut self, count: usize) -> usize {
        let place = self.start;
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
        place
    }

    /// Bytes at a place in the buffer: true until the next [`Window::fill`].
    #[inline]
    pub(super) fn at(&self, place: usize, len: usize) -> &[u8] {
        self.buffer.get(place..place + len).unwrap_or_default()
    }

    /// Reads until `want` bytes are there. `false`: the stream ends before; what it still had is there.
    pub(super) fn fill(&mut self, want: usize) -> bool {
        while self.end - self.start < want {
            if self.ended {
                return false;
            }
            self.make_room(want);
            self.read_once();
        }
        true
    }

    /// Why the stream ended early, told once. `None`: it ended because it was over.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Moves what is unread to the front when `want` bytes do not fit behind it, and grows the buffer when that makes
    /// too little room, so that what is moved stays in proportion to what is read.
    fn make_room(&mut self, want: usize) {
        if self.end < self.buffer.len() && self.start + want <= self.buffer.len() {
            return;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end > self.buffer.len() / 4 * 3 {
            // Only when it is nearly full: a length field alone costs no memory.
            self.buffer.resize(self.buffer.len() * 2, 0);
        } else if self.buffer.len() > self.usual_bytes && self.end.max(want) <= self.usual_bytes / 2
        {
            self.buffer.truncate(self.usual_bytes);
            self.buffer.shrink_to_fit();
        }
    }

    fn read_once(&mut self) {
        let spare = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.input.read(spare) {
            Ok(0) => self.ended = true,
            Ok(count) => self.end += count.min(spare.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.ended = true;
                self.failure = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte or two at a time, as a pipe may.
    struct Dribble(Vec<u8>);

    impl Read for Dribble {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = into.len().min(2).min(self.0.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    #[test]
    fn grows_for_what_is_asked_and_keeps_places_and_offsets() {
        let all: Vec<u8> = (0..100).collect();
        let mut window = Window::new(Box::new(Dribble(all.clone())), 8);
        assert!(window.fill(5));
        let place = window.consume(3);
        assert_eq!(window.at(place, 3), &all[..3]);
        assert!(window.fill(50));
        assert_eq!(window.offset(), 3);
        assert_eq!(&window.bytes()[..50], &all[3..53]);
        assert!(!window.fill(1000));
        assert_eq!(window.bytes(), &all[3..]);
        assert!(window.take_failure().is_none());
    }
}
