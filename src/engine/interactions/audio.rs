//! Legs that carry the same audio.
//!
//! A B2BUA that hands packets on changes their headers and not their payloads. Of each recorded call a few payloads every
//! few seconds are sampled, at the same moments of capture time in all calls, so that two legs of one conversation sample
//! the same packets. One side that sounds the same proves nothing: music on hold and ringing tones go to many. Both sides
//! do; or one, where it is seen going into a host and coming out of it.

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
/// Payloads heard of each side, where both sides are the same.
const BOTH_SIDES: u8 = 2;
/// Payloads heard of one side, where it goes through a host.
const ONE_SIDE: u8 = 3;
/// Calls that one payload is heard in: more have it from a recording or a tone.
const MAX_CALLS: usize = 4;
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

/// What was heard lately, and which calls have it in common.
#[derive(Debug, Default)]
pub struct Matches {
    heard: WireMap<u64, SmallVec<[Sample; 2]>>,
    order: VecDeque<(Timestamp, u64)>,
    pairs: WireMap<(CallKey, CallKey), Tally>,
    pair_order: VecDeque<(CallKey, CallKey)>,
}

/// Payloads that two calls have in common.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Caller with caller, callee with callee.
    straight: PerSide<u8>,
    /// Of the first call's side with the second's other one.
    crossed: PerSide<u8>,
    /// Of either, those that go through a host.
    through: u8,
}

impl Tally {
    fn add(&mut self, a: &Sample, b: &Sample) {
        let count = if a.side == b.side {
            &mut self.straight[a.side]
        } else {
            &mut self.crossed[a.side]
        };
        *count = count.saturating_add(1);
        let apart = a.source != a.destination && b.source != b.destination;
        if apart && (a.destination == b.source) != (b.destination == a.source) {
            self.through = self.through.saturating_add(1);
        }
    }

    fn convinces(&self) -> bool {
        let both = |sides: &PerSide<u8>| sides.caller.min(sides.callee) >= BOTH_SIDES;
        both(&self.straight) || both(&self.crossed) || self.through >= ONE_SIDE
    }
}

impl Matches {
    /// Takes one sample; pairs of calls that it completes the evidence for.
    pub fn hear(&mut self, sample: &Sample) -> SmallVec<[Verdict; 1]> {
        let mut verdicts = SmallVec::new();
        self.expire(sample.at);
        let heard = self.heard.entry(sample.print).or_default();
        let same = |other: &Sample| other.call == sample.call && other.side == sample.side;
        if heard.len() > MAX_CALLS || heard.iter().any(same) {
            return verdicts;
        }
        let others: SmallVec<[Sample; 2]> = heard.clone();
        heard.push(*sample);
        self.order.push_back((sample.at, sample.print));
        if others.len() == MAX_CALLS {
            return verdicts;
        }
        for other in others.iter().filter(|other| other.call != sample.call) {
            if sample.at.nanos_since(other.at).unsigned_abs() > TOLERANCE.as_nanos() as u64 {
                continue;
            }
            let (a, b) = if other.call < sample.call {
                (other, sample)
            } else {
                (sample, other)
            };
            if self.tally(a, b) {
                verdicts.push(Verdict {
                    a: a.call,
                    b: b.call,
                });
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
        let tally = self.pairs.entry(pair).or_default();
        tally.add(a, b);
        tally.convinces()
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some(&(at, print)) = self.order.front() {
            if self.order.len() < MAX_SAMPLES && at + 2 * TOLERANCE >= now {
                return;
            }
            self.order.pop_front();
            if let Some(heard) = self.heard.get_mut(&print) {
                heard.retain(|sample| sample.at > at);
                if heard.is_empty() {
                    self.heard.remove(&print);
                }
            }
        }
    }
}
