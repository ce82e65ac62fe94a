//! Legs that carry the same audio.
//!
//! A B2BUA that hands packets on changes their headers and not their payloads. Of each recorded call a few payloads every
//! few seconds are sampled, at the same moments of capture time in all calls, so that two legs of one conversation sample
//! the same packets.
//!
//! What one side hears proves nothing: music on hold, announcements and ringing tones go to many calls. Only a conversation
//! has both directions in both legs. A payload counts where the legs that carry it can be the hops of one packet and nobody
//! else carries it; that is known when all have been heard, so it is judged a moment later, whatever the order in which
//! calls are looked at.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::base::{PerSide, Side, Timestamp, WireMap};
use crate::engine::plan::CallKey;

/// Audio is sampled at every multiple of this.
const EVERY_NANOS: i64 = 4_000_000_000;
/// In calls older than [`YOUNG`], at every fourth.
const OLD_EVERY_NANOS: i64 = 4 * EVERY_NANOS;
/// For so long: two legs may be this far apart in time, less a packet or two.
const WINDOW_NANOS: i64 = 240_000_000;
/// How long after its beginning a call is sampled most.
const YOUNG: Duration = Duration::from_secs(30);
/// Payloads that are the same within this are the same packet at another hop.
const TOLERANCE: Duration = Duration::from_millis(300);
/// After a moment of sampling began, its payloads have been looked at in all calls: the last block with one is closed.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Payloads in common that it takes, with some of either direction: a host that holds packets back for half the window leaves few.
const ENOUGH: u8 = 4;
/// So far apart the two directions may be: people speak in turns, and old calls are looked at seldom.
const TOGETHER: Duration = Duration::from_secs(64);
/// Legs of one conversation that one payload is followed through.
const MAX_HOPS: usize = 4;
/// Samples remembered; beyond it the oldest goes.
const MAX_SAMPLES: usize = 1 << 16;
/// Pairs of calls with a payload in common; beyond it the oldest goes.
const MAX_PAIRS: usize = 1 << 12;
/// Bytes of a payload that differ from each other: fewer are silence.
const DISTINCT: u32 = 8;

/// One payload that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub call: CallKey,
    /// Who sent it.
    pub side: Side,
    pub print: u64,
    pub at: Timestamp,
    pub source: IpAddr,
    pub destination: IpAddr,
}

/// Whether any of the time from `from` to `to` of a call that began at `start` is sampled; and, of a moment, when both are it.
pub fn is_due(start: Timestamp, from: Timestamp, to: Timestamp) -> bool {
    let old = from.nanos_since(start) > YOUNG.as_nanos() as i64;
    let every = if old { OLD_EVERY_NANOS } else { EVERY_NANOS };
    let phase = from.as_nanos().rem_euclid(every);
    phase < WINDOW_NANOS || phase + to.nanos_since(from) >= every
}

/// What a payload is known by; `None` for most, by their content, and for silence. The same payload gives the same answer
/// anywhere.
pub fn fingerprint(payload: &[u8]) -> Option<u64> {
    let middle = payload.get(payload.len() / 2..)?.first_chunk::<8>()?;
    let chosen = u64::from_le_bytes(*middle).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62;
    if chosen != 0 || distinct(payload) < DISTINCT {
        return None;
    }
    let digest = blake3::hash(payload);
    digest
        .as_bytes()
        .first_chunk::<8>()
        .map(|first| u64::from_le_bytes(*first))
}

fn distinct(payload: &[u8]) -> u32 {
    let mut seen = [0u64; 4];
    for &byte in payload {
        seen[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }
    seen.iter().map(|word| word.count_ones()).sum()
}

/// Two calls that carry the same audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub a: CallKey,
    pub b: CallKey,
}

/// When a payload is judged: all of one moment of sampling at once.
fn judged_at(at: Timestamp) -> Timestamp {
    let phase = at.as_nanos().rem_euclid(EVERY_NANOS);
    Timestamp::from_nanos(at.as_nanos().saturating_sub(phase)) + PATIENCE
}

/// What was heard lately, and which calls have it in common.
#[derive(Debug, Default)]
pub struct Matches {
    heard: WireMap<u64, Heard>,
    order: VecDeque<(Timestamp, u64)>,
    pairs: WireMap<(CallKey, CallKey), Tally>,
    pair_order: VecDeque<(CallKey, CallKey)>,
}

/// Who carries a payload.
#[derive(Debug, Default)]
struct Heard {
    hops: SmallVec<[Sample; 2]>,
    /// It is no voice: one call has it twice, as it has a tone, or too many calls have it.
    common: bool,
}

impl Heard {
    fn add(&mut self, sample: &Sample) {
        let known = self.hops.iter().any(|other| other.call == sample.call);
        self.common |= known || self.hops.len() == MAX_HOPS;
        if !self.common {
            self.hops.push(*sample);
        }
    }

    /// Neighbours on the way of one packet; none where the legs cannot be one way.
    fn neighbours(&self) -> SmallVec<[(&Sample, &Sample); 2]> {
        let pairs = || {
            let hops = self.hops.iter().enumerate();
            hops.flat_map(|(n, a)| self.hops.iter().skip(n + 1).map(move |b| (a, b)))
        };
        if self.common || pairs().any(|(a, b)| !may_follow(a, b)) {
            return SmallVec::new();
        }
        // Of two, one may have come to an address of the host between that the other did not leave.
        if self.hops.len() == 2 {
            return pairs().collect();
        }
        let meet =
            |(a, b): &(&Sample, &Sample)| a.destination == b.source || b.destination == a.source;
        let meeting: SmallVec<[(&Sample, &Sample); 2]> = pairs().filter(meet).collect();
        match meeting.len() + 1 == self.hops.len() {
            true => meeting,
            false => SmallVec::new(),
        }
    }
}

/// Whether two samples may be one packet at two hops: it comes into no host twice, and leaves none twice. On one host
/// addresses do not tell.
fn may_follow(a: &Sample, b: &Sample) -> bool {
    let apart = a.source != a.destination && b.source != b.destination;
    let alike = a.source == b.source || a.destination == b.destination;
    let lag = a.at.nanos_since(b.at).unsigned_abs();
    lag <= TOLERANCE.as_nanos() as u64 && !(apart && alike)
}

/// Payloads of one direction that two calls have in common.
#[derive(Clone, Copy, Debug, Default)]
struct Common {
    payloads: u8,
    last: Option<Timestamp>,
}

impl Common {
    fn add(&mut self, at: Timestamp) {
        if !self.is_near(at) {
            self.payloads = 0;
        }
        self.payloads = self.payloads.saturating_add(1);
        self.last = Some(at);
    }

    fn is_near(&self, at: Timestamp) -> bool {
        self.last
            .is_some_and(|last| at.nanos_since(last).unsigned_abs() <= TOGETHER.as_nanos() as u64)
    }

    fn count(&self, at: Timestamp) -> u8 {
        if self.is_near(at) { self.payloads } else { 0 }
    }
}

/// What two calls have in common.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Caller with caller, callee with callee.
    straight: PerSide<Common>,
    /// Of the first call's side with the second's other one.
    crossed: PerSide<Common>,
}

impl Tally {
    /// Counts a payload; whether that is enough.
    fn add(&mut self, a: &Sample, b: &Sample) -> bool {
        let sides = if a.side == b.side {
            &mut self.straight
        } else {
            &mut self.crossed
        };
        sides[a.side].add(a.at);
        let [caller, callee] = Side::BOTH.map(|side| sides[side].count(a.at));
        caller.min(callee) > 0 && caller.saturating_add(callee) >= ENOUGH
    }
}

impl Matches {
    /// Takes one sample.
    pub fn hear(&mut self, sample: &Sample) {
        if self.order.len() == MAX_SAMPLES
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.heard.remove(&oldest);
        }
        let heard = self.heard.entry(sample.print).or_default();
        if heard.hops.is_empty() {
            self.order.push_back((judged_at(sample.at), sample.print));
        }
        heard.add(sample);
    }

    /// When [`Matches::judge`] has something to do next.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.order.front().map(|&(due, _)| due)
    }

    /// Pairs of calls for which the evidence is complete by `now`.
    pub fn judge(&mut self, now: Timestamp) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        while let Some((_, print)) = self.order.pop_front_if(|(due, _)| *due <= now) {
            let Some(heard) = self.heard.remove(&print) else {
                continue;
            };
            for (a, b) in heard.neighbours() {
                let (a, b) = if a.call < b.call { (a, b) } else { (b, a) };
                if self.tally(a, b) {
                    verdicts.push(Verdict {
                        a: a.call,
                        b: b.call,
                    });
                }
            }
        }
        verdicts
    }

    fn tally(&mut self, a: &Sample, b: &Sample) -> bool {
        let pair = (a.call, b.call);
        if !self.pairs.contains_key(&pair) {
            if self.pair_order.len() == MAX_PAIRS
                && let Some(oldest) = self.pair_order.pop_front()
            {
                self.pairs.remove(&oldest);
            }
            self.pair_order.push_back(pair);
        }
        self.pairs.entry(pair).or_default().add(a, b)
    }
}
