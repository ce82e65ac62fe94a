//! One table for all deadlines of a half.

use std::collections::BTreeSet;
use std::hash::Hash;

use crate::base::{Timestamp, WireMap};

/// Deadlines by name: setting a timer again moves it. At equal times the smaller name fires first, so that a replay fires
/// them in the same order each time. As large as there are calls.
#[derive(Debug)]
pub struct Timers<K> {
    by_time: BTreeSet<(Timestamp, K)>,
    by_name: WireMap<K, Timestamp>,
    /// The earliest deadline: asked for with each packet.
    earliest: Option<Timestamp>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            by_time: BTreeSet::new(),
            by_name: WireMap::default(),
            earliest: None,
        }
    }
}

impl<K: Copy + Ord + Hash> Timers<K> {
    /// A deadline at the end of time, where arithmetic on a capture's impossible times ends, never comes.
    pub fn set(&mut self, timer: K, at: Timestamp) {
        self.cancel(timer);
        if at == Timestamp::MAX {
            return;
        }
        self.by_time.insert((at, timer));
        self.by_name.insert(timer, at);
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
    }

    pub fn cancel(&mut self, timer: K) {
        if let Some(at) = self.by_name.remove(&timer) {
            self.by_time.remove(&(at, timer));
            self.find_earliest();
        }
    }

    pub fn is_set(&self, timer: K) -> bool {
        self.by_name.contains_key(&timer)
    }

    /// The earliest deadline.
    #[inline]
    pub fn next(&self) -> Option<Timestamp> {
        self.earliest
    }

    fn find_earliest(&mut self) {
        self.earliest = self.by_time.first().map(|&(at, _)| at);
    }

    /// Takes the earliest timer that is due at `now`.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, K)> {
        if self.next()? > now {
            return None;
        }
        let (at, timer) = self.by_time.pop_first()?;
        self.by_name.remove(&timer);
        self.find_earliest();
        Some((at, timer))
    }
}
