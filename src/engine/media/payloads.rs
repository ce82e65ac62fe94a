//! Payloads on their way to the recorder, of all calls, in the order in which they came.
//!
//! One copy of each, appended to a chunk that all calls share: memory that is written in order costs little, while a buffer for each
//! side of each call is cold whenever its next packet comes. A block takes a share of each chunk that its pieces lie in. A chunk is
//! used anew when the last block that shares it is gone.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::event::Chunk;

/// Bytes of a chunk: a second of a thousand G.711 calls, and a block of five thousand lies in three or four. Memory is what open and waiting blocks hold, and a chunk or two;
/// none outlives a block, and those close by the clock. While no block is open there is none.
const CHUNK: usize = 16 << 20;

/// Chunks that only the recorder still shares are waited for, up to this many: their memory is warm.
const PATIENCE: usize = 8;

/// Where a payload lies.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    pub chunk: u32,
    pub offset: u32,
    pub len: u16,
}

impl Stored {
    /// `len` bytes from `at` on, as far as they are there.
    #[inline]
    pub fn part(self, at: usize, len: usize) -> Stored {
        let at = at.min(usize::from(self.len));
        Stored {
            chunk: self.chunk,
            offset: self.offset + at as u32,
            len: len.min(usize::from(self.len) - at) as u16,
        }
    }
}

/// The chunk that is being filled, and those before it that something still refers to.
#[derive(Debug, Default)]
pub struct Payloads {
    filling: Vec<u8>,
    /// Blocks, and whoever else called [`Payloads::hold`], that refer to the chunk being filled.
    filling_users: u32,
    full: VecDeque<Full>,
    /// Number of the first chunk in `full`; the one being filled comes after the last.
    first: u32,
}

#[derive(Debug)]
struct Full {
    chunk: Chunk,
    users: u32,
}

impl Payloads {
    /// Number of the chunk being filled.
    pub fn current(&self) -> u32 {
        self.first + self.full.len() as u32
    }

    #[inline]
    pub fn has_room(&self, len: usize) -> bool {
        self.filling.capacity() - self.filling.len() >= len
    }

    /// Appends `payload`, of at most 65,535 bytes (the rest of a longer one is left out: no datagram is longer).
    #[inline]
    pub fn store(&mut self, payload: &[u8]) -> Stored {
        if !self.has_room(payload.len()) {
            self.turn();
        }
        let len = payload.len().min(usize::from(u16::MAX));
        let offset = self.filling.len() as u32;
        self.filling.extend_from_slice(&payload[..len]);
        Stored {
            chunk: self.current(),
            offset,
            len: len as u16,
        }
    }

    /// The bytes of a payload whose chunk somebody holds, or that was stored last.
    #[inline]
    pub fn bytes(&self, stored: Stored) -> &[u8] {
        let chunk = match self
            .full
            .get(stored.chunk.wrapping_sub(self.first) as usize)
        {
            Some(full) => &full.chunk,
            None => &self.filling,
        };
        let from = stored.offset as usize;
        chunk
            .get(from..from + usize::from(stored.len))
            .unwrap_or_default()
    }

    /// Keeps a chunk until it is released as often as it is held.
    #[inline]
    pub fn hold(&mut self, chunk: u32) {
        match self.full.get_mut(chunk.wrapping_sub(self.first) as usize) {
            Some(full) => full.users += 1,
            None => self.filling_users += 1,
        }
    }

    /// Gives up a hold.
    pub fn release(&mut self, chunk: u32) {
        match self.full.get_mut(chunk.wrapping_sub(self.first) as usize) {
            Some(full) => full.users -= 1,
            None => self.filling_users -= 1,
        }
    }

    /// Gives up a hold for a share of the chunk, to which nothing will be added.
    pub fn share(&mut self, chunk: u32) -> Chunk {
        if chunk == self.current() {
            self.turn();
        }
        let index = chunk.wrapping_sub(self.first) as usize;
        let share = self.full.get(index).map(|full| full.chunk.clone());
        self.release(chunk);
        if self.filling_users == 0 && self.full.iter().all(|full| full.users == 0) {
            self.let_go();
        }
        share.unwrap_or_default()
    }

    /// Nobody refers to anything: whoever comes next begins with new memory.
    #[cold]
    fn let_go(&mut self) {
        self.first = self.current() + 1;
        self.full.clear();
        self.filling = Vec::new();
    }

    /// Begins another chunk, in the memory of the oldest one if nobody shares that any more.
    #[cold]
    fn turn(&mut self) {
        let mut next = Vec::new();
        while let Some(oldest) = self.full.front_mut()
            && oldest.users == 0
        {
            let free = Arc::get_mut(&mut oldest.chunk).map(std::mem::take);
            if free.is_none() && self.full.len() < PATIENCE {
                break;
            }
            self.full.pop_front();
            self.first += 1;
            if let Some(free) = free {
                next = free;
                break;
            }
        }
        // One more that is free is kept for the next time; fewer calls than before need no more than that.
        let is_free = |full: &&Full| full.users == 0 && Arc::strong_count(&full.chunk) == 1;
        for _ in 1..self.full.iter().take_while(is_free).count() {
            self.full.pop_front();
            self.first += 1;
        }
        next.clear();
        next.reserve_exact(CHUNK);
        let full = std::mem::replace(&mut self.filling, next);
        self.full.push_back(Full {
            chunk: Arc::new(full),
            users: std::mem::take(&mut self.filling_users),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_keeps_its_bytes_while_others_go_on() {
        let mut payloads = Payloads::default();
        let first = payloads.store(b"first");
        payloads.hold(first.chunk);
        let second = payloads.store(b"second");
        payloads.hold(second.chunk);
        assert_eq!(payloads.bytes(first), b"first");
        let share = payloads.share(first.chunk);
        let third = payloads.store(b"third");
        assert_ne!(third.chunk, first.chunk, "what is shared is not written to");
        assert_eq!(payloads.bytes(second), b"second");
        assert_eq!(payloads.bytes(third), b"third");
        assert_eq!(share.as_slice(), b"firstsecond");
    }

    /// A block is opened, and the one before it is closed.
    fn next_block(payloads: &mut Payloads, open: &mut Stored) -> Chunk {
        let next = payloads.store(&[7; 100]);
        payloads.hold(next.chunk);
        let share = payloads.share(open.chunk);
        *open = next;
        share
    }

    #[test]
    fn memory_is_used_anew_when_nobody_shares_it() {
        let mut payloads = Payloads::default();
        let mut open = payloads.store(&[7; 100]);
        payloads.hold(open.chunk);
        let held = next_block(&mut payloads, &mut open);
        let place = held.as_ptr();
        for _ in 0..6 {
            drop(next_block(&mut payloads, &mut open));
            assert_ne!(payloads.filling.as_ptr(), place);
        }
        assert!(payloads.full.len() > 3, "the first is waited for");
        drop(held);
        let is_used_again = |_: u32| {
            drop(next_block(&mut payloads, &mut open));
            payloads.filling.as_ptr() == place
        };
        assert!((0..4).any(is_used_again));
        for _ in 0..100 {
            drop(next_block(&mut payloads, &mut open));
        }
        assert!(payloads.full.len() <= 4);
    }

    #[test]
    fn what_nobody_refers_to_takes_no_memory() {
        let mut payloads = Payloads::default();
        let many: Vec<Stored> = (0..12 * CHUNK / 60_000)
            .map(|_| {
                let stored = payloads.store(&[7; 60_000]);
                payloads.hold(stored.chunk);
                stored
            })
            .collect();
        assert!(payloads.full.len() > 10);
        let (last, others) = many.split_last().unwrap();
        others
            .iter()
            .for_each(|stored| drop(payloads.share(stored.chunk)));
        let one = payloads.store(b"one more");
        payloads.hold(one.chunk);
        drop(payloads.share(last.chunk));
        payloads.turn();
        assert!(payloads.full.len() <= 3, "{}", payloads.full.len());
        assert!(payloads.share(one.chunk).ends_with(b"one more"));
        assert_eq!((payloads.full.len(), payloads.filling.capacity()), (0, 0));
        let next = payloads.store(b"next");
        payloads.hold(next.chunk);
        assert_eq!(payloads.bytes(next), b"next");
    }

    #[test]
    fn chunks_that_stay_shared_are_not_waited_for_for_ever() {
        let mut payloads = Payloads::default();
        let mut shares = Vec::new();
        for n in 0..100u8 {
            let stored = payloads.store(&[n; 10]);
            payloads.hold(stored.chunk);
            shares.push(payloads.share(stored.chunk));
        }
        assert!(payloads.full.len() <= PATIENCE);
        assert!(
            shares
                .iter()
                .zip(0..)
                .all(|(share, n)| share.as_slice() == [n; 10])
        );
    }

    #[test]
    fn a_full_chunk_is_followed_by_another() {
        let mut payloads = Payloads::default();
        let big = vec![1; 60_000];
        let stored: Vec<Stored> = (0..2 * CHUNK / 60_000)
            .map(|_| {
                let stored = payloads.store(&big);
                payloads.hold(stored.chunk);
                stored
            })
            .collect();
        assert!(payloads.current() >= 1);
        assert!(stored.iter().all(|&stored| payloads.bytes(stored) == big));
    }
}
