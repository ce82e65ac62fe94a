//! Which call, and which side of it, a stream belongs to.
//!
//! SDP says where each side *receives*. A packet to the caller's endpoint was sent by the callee; a packet from the caller's
//! endpoint was sent by the caller (symmetric RTP, RFC 4961). Behind a NAT one of the two is untrue and the other still
//! holds. Where a stream was bound by one of its ends, the other end is learned as the peer's real endpoint.

use smallvec::SmallVec;

use crate::base::{Endpoint, Side, Vantage, WireMap};

/// Both ends are as SDP said.
pub const BOTH_ENDS: u8 = DESTINATION + SOURCE;
const DESTINATION: u8 = 8;
const SOURCE: u8 = 6;
const LEARNED_SOURCE: u8 = 6;
const LEARNED_DESTINATION: u8 = 4;

/// That `side` of the call in `slot` receives at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    pub slot: u32,
    pub side: Side,
    /// Learned from packets, not from SDP.
    pub learned: bool,
}

/// A call and side that a stream may have come from, and how well it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub slot: u32,
    pub sender: Side,
    pub score: u8,
    /// Both ends are as SDP said.
    pub exact: bool,
    /// Both ends are known, be it from packets.
    pub is_whole: bool,
}

/// Endpoints of all plans. Entries live and die with their calls, of which there is a cap; one endpoint keeps at most
/// [`MAX_RECEIVERS`] of them, the latest.
#[derive(Debug, Default)]
pub struct Endpoints {
    receivers: WireMap<(Vantage, Endpoint), SmallVec<[Receiver; 2]>>,
}

/// Calls that may claim one endpoint at a time: a media server behind one port, or an attacker.
const MAX_RECEIVERS: usize = 64;

impl Endpoints {
    pub fn insert(&mut self, vantage: Vantage, endpoint: Endpoint, receiver: Receiver) {
        let receivers = self.receivers.entry((vantage, endpoint)).or_default();
        if receivers.contains(&receiver) {
            return;
        }
        if receivers.len() == MAX_RECEIVERS {
            receivers.remove(0);
        }
        receivers.push(receiver);
    }

    pub fn remove(&mut self, vantage: Vantage, endpoint: Endpoint, slot: u32) {
        if let Some(receivers) = self.receivers.get_mut(&(vantage, endpoint)) {
            receivers.retain(|receiver| receiver.slot != slot);
            if receivers.is_empty() {
                self.receivers.remove(&(vantage, endpoint));
            }
        }
    }

    /// Who receives at an endpoint.
    pub fn at(&self, vantage: Vantage, endpoint: Endpoint) -> &[Receiver] {
        self.receivers
            .get(&(vantage, endpoint))
            .map_or(&[], |receivers| receivers)
    }

    /// Everyone who may have sent a stream from `source` to `destination`, with the sum of what speaks for it.
    pub fn candidates(
        &self,
        vantage: Vantage,
        source: Endpoint,
        destination: Endpoint,
    ) -> SmallVec<[Candidate; 4]> {
        let mut found: SmallVec<[Candidate; 4]> = SmallVec::new();
        let mut add = |slot: u32, sender: Side, score: u8| match found
            .iter_mut()
            .find(|c| c.slot == slot && c.sender == sender)
        {
            Some(candidate) => {
                candidate.score = (candidate.score + score).min(BOTH_ENDS);
                candidate.exact = candidate.score == BOTH_ENDS;
                candidate.is_whole = true;
            }
            None => found.push(Candidate {
                slot,
                sender,
                score,
                exact: false,
                is_whole: false,
            }),
        };
        for receiver in self.at(vantage, destination) {
            let score = if receiver.learned {
                LEARNED_DESTINATION
            } else {
                DESTINATION
            };
            add(receiver.slot, receiver.side.other(), score);
        }
        for receiver in self.at(vantage, source) {
            let score = if receiver.learned {
                LEARNED_SOURCE
            } else {
                SOURCE
            };
            add(receiver.slot, receiver.side, score);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_beat_one() {
        let mut endpoints = Endpoints::default();
        let (a, b, c) = (
            Endpoint::v4([10, 0, 0, 1], 4000),
            Endpoint::v4([10, 0, 0, 2], 4000),
            Endpoint::v4([10, 0, 0, 3], 6),
        );
        let v = Vantage::default();
        let receiver = |slot, side| Receiver {
            slot,
            side,
            learned: false,
        };
        endpoints.insert(v, a, receiver(1, Side::Caller));
        endpoints.insert(v, b, receiver(1, Side::Callee));
        endpoints.insert(v, a, receiver(2, Side::Caller));
        endpoints.insert(v, c, receiver(2, Side::Callee));
        let best = |source, destination| {
            endpoints
                .candidates(v, source, destination)
                .into_iter()
                .max_by_key(|c| c.score)
                .unwrap()
        };
        assert_eq!(
            best(b, a),
            Candidate {
                slot: 1,
                sender: Side::Callee,
                score: BOTH_ENDS,
                exact: true,
                is_whole: true
            }
        );
        assert_eq!(
            best(a, c),
            Candidate {
                slot: 2,
                sender: Side::Caller,
                score: BOTH_ENDS,
                exact: true,
                is_whole: true
            }
        );
        assert!(
            endpoints
                .candidates(Vantage { interface: 9, ..v }, b, a)
                .is_empty()
        );
        endpoints.remove(v, a, 2);
        assert_eq!(endpoints.candidates(v, c, a).len(), 2);
    }
}
