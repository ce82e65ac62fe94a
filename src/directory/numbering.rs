//! Who has a number: one table for the extensions of all tenants.
//!
//! Every extension is one or more pairs of a shape and a text (a number, the fixed digits of a run of numbers, a
//! prefix); tenants that share numbers share the pair. A lookup asks the table once for each shape that fits the
//! number's length, so its cost does not grow with the tenants.

use std::hash::{BuildHasher, Hasher};

use smallvec::SmallVec;

use super::extension::{Kind, Shape};

/// A seeded hasher: the numbers looked up come from the wire.
type State = foldhash::fast::RandomState;

#[derive(Debug)]
pub(super) struct Numbering {
    state: State,
    /// Open addressing with linear probing, at most half full, a power of two long. What most lookups need is in the
    /// slot itself: with a million numbers every other table they touch is a wait for memory.
    slots: Box<[Slot]>,
    keys: Box<[Key]>,
    /// Entries by key; ascending within a key, and so in the order of their tenants.
    postings: Box<[u32]>,
    text: Box<[u8]>,
    /// Shapes of ranges and prefixes that occur, most specific first.
    shapes: Box<[Shape]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u64,
    key: u32,
    /// The key's entry where it has only one, else `MANY`.
    entry: u32,
}

const EMPTY: Slot = Slot {
    tag: 0,
    key: u32::MAX,
    entry: MANY,
};

const MANY: u32 = u32::MAX;

/// Shape and text in 64 bits: as they are where the text is at most 14 digits or signs, which E.164 numbers of most
/// countries are, else as a hash. Two equal tags that are not hashes are the same key.
fn tag(state: &State, shape: Shape, text: &[u8]) -> u64 {
    let packed = if text.len() <= 14 {
        text.iter()
            .try_fold(0_u64, |packed, byte| Some(packed << 4 | symbol(*byte)?))
    } else {
        None
    };
    let head = (shape.kind as u64) << 62 | u64::from(shape.total_len()) << 56;
    packed.map_or_else(
        || {
            let mut hasher = state.build_hasher();
            hasher.write_u64(head);
            hasher.write(text);
            hasher.finish() | HASHED
        },
        |packed| head | packed,
    )
}

/// Both upper bits: a kind that no shape has.
const HASHED: u64 = 3 << 62;

fn symbol(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0') + 1),
        b'+' => Some(11),
        b'*' => Some(12),
        b'#' => Some(13),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug)]
struct Key {
    text: u32,
    /// Where its postings start; they end where the next key's start.
    postings: u32,
    shape: Shape,
}

/// Entries that cover a number, one slice for each shape, most specific first.
pub(super) type Hits<'a> = SmallVec<[&'a [u32]; 3]>;

impl Numbering {
    pub fn hits(&self, number: &[u8]) -> Hits<'_> {
        let mut hits = Hits::new();
        hits.extend(self.find(Shape::number(number), number));
        for shape in &self.shapes {
            let text = shape.text_of(number);
            hits.extend(text.and_then(|text| self.find(*shape, text)));
        }
        hits
    }

    /// All keys as pairs of shape and text, with their entries.
    pub fn keys(&self) -> impl Iterator<Item = (Shape, &[u8], &[u32])> {
        (0..self.keys.len()).filter_map(|at| {
            let index = u32::try_from(at).ok()?;
            let key = self.keys.get(at)?;
            Some((key.shape, self.text_of(key), self.postings(index)))
        })
    }

    /// Entries under keys that some number of the given key also has, and whose text is no longer than its own.
    pub fn meeting<'s>(&'s self, shape: Shape, text: &'s [u8]) -> impl Iterator<Item = &'s [u32]> {
        let shorter = move |other: &&Shape| {
            other.text_len() <= text.len() && **other != shape && shape.meets(**other)
        };
        self.shapes
            .iter()
            .filter(shorter)
            .filter_map(move |other| self.find(*other, text.get(..other.text_len())?))
    }

    pub fn has_ranges_or_prefixes(&self) -> bool {
        !self.shapes.is_empty()
    }

    pub fn entries_of(&self, shape: Shape, text: &[u8]) -> &[u32] {
        self.find(shape, text).unwrap_or_default()
    }

    pub fn text(&self, start: u32, len: u8) -> &str {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let bytes = self.text.get(start..start.saturating_add(usize::from(len)));
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    fn find(&self, shape: Shape, text: &[u8]) -> Option<&[u32]> {
        let tag = tag(&self.state, shape, text);
        for slot in probe(&self.slots, home(&self.state, &self.slots, tag)) {
            if slot.key == EMPTY.key {
                return None;
            }
            if slot.tag == tag && self.is_key(slot, shape, text) {
                return Some(match slot.entry {
                    MANY => self.postings(slot.key),
                    _ => std::slice::from_ref(&slot.entry),
                });
            }
        }
        None
    }

    fn is_key(&self, slot: &Slot, shape: Shape, text: &[u8]) -> bool {
        is_key(&self.keys, &self.text, slot, shape, text)
    }

    fn text_of(&self, key: &Key) -> &[u8] {
        text_at(&self.text, key)
    }

    fn postings(&self, key: u32) -> &[u32] {
        let key = usize::try_from(key).unwrap_or(usize::MAX);
        let bound = |at: usize| {
            let key = self.keys.get(at)?;
            usize::try_from(key.postings).ok()
        };
        let start = bound(key).unwrap_or(self.postings.len());
        let end = bound(key.saturating_add(1)).unwrap_or(self.postings.len());
        self.postings.get(start..end).unwrap_or_default()
    }
}

/// Whether the slot, whose tag is that of `shape` and `text`, is theirs.
fn is_key(keys: &[Key], all: &[u8], slot: &Slot, shape: Shape, text: &[u8]) -> bool {
    let same_text = || {
        let key = keys.get(slot.key as usize);
        key.is_some_and(|key| key.shape == shape && text_at(all, key) == text)
    };
    slot.tag < HASHED || same_text()
}

/// The slots from `home` on, each once.
fn probe(slots: &[Slot], home: usize) -> impl Iterator<Item = &Slot> {
    let (before, after) = slots.split_at_checked(home).unwrap_or((slots, &[]));
    after.iter().chain(before)
}

fn home(state: &State, slots: &[Slot], tag: u64) -> usize {
    let hash = state.hash_one(tag);
    usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0) & slots.len().saturating_sub(1)
}

fn text_at<'t>(text: &'t [u8], key: &Key) -> &'t [u8] {
    let start = usize::try_from(key.text).unwrap_or(usize::MAX);
    let end = start.saturating_add(key.shape.text_len());
    text.get(start..end).unwrap_or_default()
}

/// Collects keys and entries; entries must come in ascending order.
pub(super) struct NumberingBuilder {
    state: State,
    slots: Vec<Slot>,
    keys: Vec<Key>,
    /// The entry that each key got last.
    latest: Vec<u32>,
    pairs: Vec<(u32, u32)>,
    text: Vec<u8>,
    shapes: Vec<Shape>,
}

impl NumberingBuilder {
    pub fn new() -> NumberingBuilder {
        NumberingBuilder {
            state: State::default(),
            slots: vec![EMPTY; 64],
            keys: Vec::new(),
            latest: Vec::new(),
            pairs: Vec::new(),
            text: Vec::new(),
            shapes: Vec::new(),
        }
    }

    /// Keeps a text and says where it begins. Texts past 4 GiB are cut off by [`NumberingBuilder::fits`].
    pub fn push_text(&mut self, text: &[u8]) -> u32 {
        let start = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.text.extend_from_slice(text);
        start
    }

    /// Whether all that was added can be addressed with 32 bits.
    pub fn fits(&self) -> bool {
        u32::try_from(self.text.len()).is_ok() && u32::try_from(self.pairs.len()).is_ok()
    }

    /// The key of a shape and a text, made where there is none.
    pub fn key(&mut self, shape: Shape, text: &[u8]) -> u32 {
        let tag = tag(&self.state, shape, text);
        let mut at = home(&self.state, &self.slots, tag);
        while let Some(slot) = self.slots.get(at).filter(|slot| slot.key != EMPTY.key) {
            if slot.tag == tag && is_key(&self.keys, &self.text, slot, shape, text) {
                return slot.key;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        let key = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let text = self.push_text(text);
        self.keys.push(Key {
            text,
            postings: 0,
            shape,
        });
        self.latest.push(u32::MAX);
        if shape.kind != Kind::Number && !self.shapes.contains(&shape) {
            self.shapes.push(shape);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            let entry = MANY;
            *slot = Slot { tag, key, entry };
        }
        if self.keys.len() * 2 > self.slots.len() {
            self.grow();
        }
        key
    }

    fn grow(&mut self) {
        let mut slots = vec![EMPTY; self.slots.len() * 2];
        for slot in self.slots.iter().filter(|slot| slot.key != EMPTY.key) {
            let mut at = home(&self.state, &slots, slot.tag);
            while slots.get(at).is_some_and(|taken| taken.key != EMPTY.key) {
                at = (at + 1) & (slots.len() - 1);
            }
            if let Some(free) = slots.get_mut(at) {
                *free = *slot;
            }
        }
        self.slots = slots;
    }

    pub fn text_start(&self, key: u32) -> u32 {
        self.keys.get(key as usize).map_or(0, |key| key.text)
    }

    /// The entry that was added to a key last.
    pub fn latest(&self, key: u32) -> Option<u32> {
        let latest = self.latest.get(key as usize).copied();
        latest.filter(|entry| *entry != u32::MAX)
    }

    pub fn add(&mut self, key: u32, entry: u32) {
        self.pairs.push((key, entry));
        if let Some(latest) = self.latest.get_mut(key as usize) {
            *latest = entry;
        }
    }

    /// Puts `entry` in the place of the entry that the key got last.
    pub fn replace_latest(&mut self, key: u32, entry: u32) {
        let latest = self.latest(key);
        if let Some(latest) = latest {
            // It is near the end: both belong to the tenant being added.
            let pair = (self.pairs.iter_mut().rev()).find(|pair| **pair == (key, latest));
            if let Some(pair) = pair {
                pair.1 = entry;
            }
        }
        if let Some(latest) = self.latest.get_mut(key as usize) {
            *latest = entry;
        }
    }

    pub fn finish(mut self) -> Numbering {
        self.pairs.sort_by_key(|(key, entry)| (*key, *entry));
        let mut postings = Vec::with_capacity(self.pairs.len());
        let mut pairs = self.pairs.iter().peekable();
        for (index, key) in (0_u32..).zip(&mut self.keys) {
            key.postings = u32::try_from(postings.len()).unwrap_or(u32::MAX);
            while let Some((_, entry)) = pairs.next_if(|(key, _)| *key == index) {
                postings.push(*entry);
            }
        }
        self.shapes.sort_unstable();
        let mut numbering = Numbering {
            state: self.state,
            slots: Box::default(),
            keys: self.keys.into_boxed_slice(),
            postings: postings.into_boxed_slice(),
            text: self.text.into_boxed_slice(),
            shapes: self.shapes.into_boxed_slice(),
        };
        for slot in self.slots.iter_mut().filter(|slot| slot.key != EMPTY.key) {
            if let [entry] = numbering.postings(slot.key) {
                slot.entry = *entry;
            }
        }
        numbering.slots = self.slots.into_boxed_slice();
        numbering
    }
}
