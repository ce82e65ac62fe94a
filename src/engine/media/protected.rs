//! One stream of SRTP: the keys it may have, which of them it has, and packets that none has opened yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::base::Timestamp;
use crate::engine::plan::{Keyless, Protection};
use crate::rtp::{SrtpKey, SrtpReceiver, Suite};

/// For so long after another key took over, or after SRTP began or ended in mid-call, packets that were on their way still
/// come as they were sent.
const OVERLAP: Duration = Duration::from_secs(2);
/// Packets of a stream that wait for their key; beyond it the oldest goes.
const MAX_WAITING: usize = 256;
/// Rollover counters that a stream may have when it is joined: a counter is 22 minutes of 20 ms packets, so a day of talk.
const MOST_ROLLOVERS: u32 = 66;
/// Rollover counters tried for one packet and key.
const ROLLOVERS_A_PACKET: u32 = 11;
/// Packets for which all of them are tried, as long as none was opened: after that it is most likely no SRTP, or of no key.
const WHOLE_SEARCHES: u32 = 4;

/// What a packet is, as far as its stream's keys tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It was opened, by the key that opened the one before it.
    Yes,
    /// It was opened, by another key or with another rollover counter: what waits may be opened by it too.
    Anew,
    /// It is none of SRTP.
    Plain,
    /// The same, and so are all that follow.
    PlainForGood,
    No,
}

/// Why a packet that waited was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// There were keys, and it was of none.
    Failed,
    /// No key was told in time.
    Unopened,
}

/// Whether plain packets are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Sealed,
    /// It is not settled whether SRTP is spoken. The first packet that is opened settles it.
    Either,
    /// It was plain before: the last plain packets come until then, or until the first that is opened. `None` until a packet
    /// comes.
    Sealing(Option<Timestamp>),
    /// It is plain from now on: the last packets of SRTP come until then.
    Unsealing(Option<Timestamp>),
}

struct Candidate {
    receiver: SrtpReceiver,
    /// When packets of it are no longer taken: another key took over.
    until: Option<Timestamp>,
}

/// A packet that no key has opened.
pub struct Waiting {
    pub time: Timestamp,
    pub packet: Box<[u8]>,
}

/// See the [module](self).
pub struct Protected {
    candidates: SmallVec<[Candidate; 1]>,
    /// Which candidate opened the last packet that was opened.
    current: Option<usize>,
    phase: Phase,
    /// Packets of the stream were taken as they came.
    was_plain: bool,
    /// Where the search for a rollover counter goes on.
    search_from: u32,
    /// Searches through all of them, without a find.
    searches: u32,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

impl Protected {
    /// `was_plain`: packets of the stream were taken as they came before.
    pub fn new(keys: &[SrtpKey], maybe_plain: bool, was_plain: bool) -> Protected {
        let mut protected = Protected {
            candidates: SmallVec::new(),
            current: None,
            phase: match (maybe_plain, was_plain) {
                (true, _) => Phase::Either,
                (false, true) => Phase::Sealing(None),
                (false, false) => Phase::Sealed,
            },
            was_plain,
            search_from: 0,
            searches: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        };
        protected.set_keys(keys);
        protected
    }

    /// What a stream of such protection needs; nothing, where packets are taken as they come.
    pub fn of(protection: &Protection, was_plain: bool) -> Option<Protected> {
        match protection {
            Protection::Keyed { keys, maybe_plain } => {
                Some(Protected::new(keys, *maybe_plain, was_plain))
            }
            Protection::Awaited => Some(Protected::new(&[], false, false)),
            Protection::None | Protection::Keyless(_) => None,
        }
    }

    /// Follows a change of plan; `false` when nothing of this is needed any more.
    pub fn follow(&mut self, protection: &Protection) -> bool {
        match protection {
            Protection::Keyed { keys, maybe_plain } => {
                self.set_keys(keys);
                self.phase = match self.phase {
                    _ if *maybe_plain => Phase::Either,
                    Phase::Sealing(until) => Phase::Sealing(until),
                    Phase::Either | Phase::Unsealing(_) if self.was_plain => Phase::Sealing(None),
                    _ => Phase::Sealed,
                };
            }
            Protection::Awaited => self.phase = Phase::Sealed,
            Protection::None if self.current.is_some() => self.phase = Phase::Unsealing(None),
            Protection::None | Protection::Keyless(_) => return false,
        }
        true
    }

    fn set_keys(&mut self, keys: &[SrtpKey]) {
        let current = self
            .current
            .map(|at| self.candidates[at].receiver.key().clone());
        let mut known = std::mem::take(&mut self.candidates);
        for key in keys {
            let receiver = match known.iter().position(|c| c.receiver.key() == key) {
                Some(at) => known.swap_remove(at).receiver,
                None => SrtpReceiver::new(key.clone()),
            };
            self.candidates.push(Candidate {
                receiver,
                until: None,
            });
        }
        self.current = current.and_then(|key| self.position(&key));
        self.search_from = 0;
        self.searches = 0;
    }

    fn position(&self, key: &SrtpKey) -> Option<usize> {
        self.candidates.iter().position(|c| c.receiver.key() == key)
    }

    /// The suite of the packets opened last.
    pub fn suite(&self) -> Option<Suite> {
        let current = self.candidates.get(self.current?)?;
        Some(current.receiver.key().suite())
    }

    /// Why a stream is not heard of which no packet was opened.
    pub fn why_closed(&self) -> Keyless {
        if self.candidates.is_empty() {
            Keyless::NoKey
        } else {
            Keyless::WrongKey
        }
    }

    /// Opens a packet into `out`.
    #[inline]
    pub fn open(&mut self, time: Timestamp, packet: &[u8], out: &mut Vec<u8>) -> Opened {
        if let Some(current) = self.current.and_then(|at| self.candidates.get_mut(at))
            && current.until.is_none()
            && current.receiver.open(packet, out).is_ok()
        {
            return Opened::Yes;
        }
        self.open_otherwise(time, packet, out)
    }

    #[cold]
    fn open_otherwise(&mut self, time: Timestamp, packet: &[u8], out: &mut Vec<u8>) -> Opened {
        if let Some((opener, expected)) = self.find_opener(time, packet, out) {
            self.take_over(opener, time);
            return if expected { Opened::Yes } else { Opened::Anew };
        }
        let unopened = match &mut self.phase {
            Phase::Sealed => Opened::No,
            Phase::Either => Opened::Plain,
            Phase::Sealing(until) => match time <= *until.get_or_insert(time + OVERLAP) {
                true => Opened::Plain,
                false => Opened::No,
            },
            Phase::Unsealing(until) => match time <= *until.get_or_insert(time + OVERLAP) {
                true => Opened::Plain,
                false => Opened::PlainForGood,
            },
        };
        self.was_plain |= unopened == Opened::Plain;
        unopened
    }

    /// The key that opens a packet, and whether it did so as it was expected to: with the rollover counter that follows from
    /// packets before.
    fn find_opener(
        &mut self,
        time: Timestamp,
        packet: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<(usize, bool)> {
        let &[high, low] = packet.get(2..4)? else {
            return None;
        };
        let sequence = u16::from_be_bytes([high, low]);
        let current = self.current.and_then(|at| self.candidates.get(at));
        // A new key goes on with the counter of the one before, or begins with 0.
        let follows = current.map(|c| c.receiver.likely_rollover(sequence));
        let valid = |c: &Candidate| c.until.is_none_or(|until| time <= until);
        for (at, candidate) in self.candidates.iter_mut().enumerate() {
            if !valid(candidate) {
                continue;
            }
            let receiver = &mut candidate.receiver;
            let is_known = receiver.rollover().is_some();
            if receiver.open(packet, out).is_ok() {
                return Some((at, is_known));
            }
            if !is_known
                && let Some(roc) = follows.filter(|&roc| roc != 0)
                && receiver.search(packet, std::iter::once(roc), out).is_ok()
            {
                return Some((at, false));
            }
        }
        let (from, to) = self.searched_next();
        for (at, candidate) in self.candidates.iter_mut().enumerate() {
            // What was not heard of a stream may have been longer than a turn of its numbers.
            let base = candidate.receiver.rollover().unwrap_or(0);
            // A phone that begins anew with the key it had counts from 0 again.
            let rocs = (from..to)
                .map(|more| base.wrapping_add(more))
                .chain(std::iter::once(0));
            if valid(candidate) && candidate.receiver.search(packet, rocs, out).is_ok() {
                return Some((at, false));
            }
        }
        None
    }

    /// The rollover counters to try for the next packet that is not opened, counted from the one it had.
    fn searched_next(&mut self) -> (u32, u32) {
        if self.current.is_none() && self.searches < WHOLE_SEARCHES {
            self.searches += 1;
            return (0, MOST_ROLLOVERS);
        }
        let from = self.search_from;
        self.search_from = (from + ROLLOVERS_A_PACKET) % MOST_ROLLOVERS;
        (from, from + ROLLOVERS_A_PACKET)
    }

    /// Notes which key is in use. One that is newer than the one before ends that one's time.
    fn take_over(&mut self, opener: usize, time: Timestamp) {
        if let Some(before) = self.current.filter(|&before| before > opener) {
            for older in &mut self.candidates[before..] {
                older.until.get_or_insert(time + OVERLAP);
            }
        }
        self.current = Some(opener);
        self.search_from = 0;
        self.was_plain = false;
        if matches!(self.phase, Phase::Either | Phase::Sealing(_)) {
            self.phase = Phase::Sealed;
        }
    }

    /// Keeps a packet that was not opened, with no more than `spare` bytes; how many it took. Otherwise it is to be given up.
    pub fn keep(&mut self, time: Timestamp, packet: &[u8], spare: usize) -> Option<usize> {
        let cost = cost(packet.len());
        if cost > spare {
            return None;
        }
        self.waiting.push_back(Waiting {
            time,
            packet: packet.into(),
        });
        self.waiting_bytes += cost;
        Some(cost)
    }

    /// Takes out the oldest packet, if it waited for longer than `patience`, or too many do; how many bytes it gave back.
    pub fn expire(&mut self, time: Timestamp, patience: Duration) -> Option<(Waiting, usize)> {
        let oldest = self.waiting.front()?;
        if oldest.time + patience >= time && self.waiting.len() <= MAX_WAITING {
            return None;
        }
        let oldest = self.waiting.pop_front()?;
        let cost = cost(oldest.packet.len());
        self.waiting_bytes -= cost;
        Some((oldest, cost))
    }

    /// Takes out all that waits; how many bytes that gave back.
    pub fn take_waiting(&mut self) -> (VecDeque<Waiting>, usize) {
        (
            std::mem::take(&mut self.waiting),
            std::mem::take(&mut self.waiting_bytes),
        )
    }

    /// The time of the oldest packet that waits for a key to be told. One that is of none of the keys is not waited for.
    pub fn waits_since(&self) -> Option<Timestamp> {
        let oldest = self.waiting.front().filter(|_| self.candidates.is_empty());
        oldest.map(|waiting| waiting.time)
    }

    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// What it means that a packet is given up.
    pub fn given_up(&self) -> GivenUp {
        if self.candidates.is_empty() {
            GivenUp::Unopened
        } else {
            GivenUp::Failed
        }
    }
}

impl std::fmt::Debug for Protected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protected")
            .field("suite", &self.suite())
            .field("phase", &self.phase)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

/// Memory that a waiting packet takes, its bookkeeping included.
fn cost(len: usize) -> usize {
    len + size_of::<Waiting>()
}

/// The keys of one side, for RTCP: it carries its index, so that no stream has to be found.
pub fn keys(protection: &Protection) -> Option<&Arc<[SrtpKey]>> {
    match protection {
        Protection::Keyed { keys, .. } => Some(keys),
        _ => None,
    }
}
