//! What was seen at each vantage: does the mirror there show everything, once, and in both directions?

use super::event::StreamReport;
use super::media::UnclaimedStream;
use crate::base::{PerSide, Side, Vantage};

/// Vantages told apart, the first that were seen; all others are counted together, so that frames with ever new VLAN tags
/// make no more of them.
const MAX_VANTAGES: usize = 64;

/// Counts of one vantage. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VantageCounts {
    /// Calls that are over and were more than an attempt.
    pub calls: u64,
    /// Those of which one side alone was seen, in signalling and in media.
    pub calls_one_direction: u64,
    /// RTP packets of calls that are over, without duplicates.
    pub rtp_packets: u64,
    pub rtp_duplicates: u64,
    /// RTP streams that belonged to no call.
    pub streams_unclaimed: u64,
}

/// The vantages seen so far.
#[derive(Clone, Debug, Default)]
pub struct Vantages {
    known: Vec<(Vantage, VantageCounts)>,
    others: VantageCounts,
}

/// Whose messages of a call were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub from: PerSide<bool>,
    /// A request that only follows an answer, whether that was seen or not.
    pub past_answer: bool,
}

impl Heard {
    pub fn note(&mut self, sender: Side, follows_an_answer: bool) {
        self.from[sender] = true;
        self.past_answer |= follows_an_answer;
    }
}

impl Vantages {
    /// Each with its counts, in the order of their appearance.
    pub fn iter(&self) -> impl Iterator<Item = &(Vantage, VantageCounts)> {
        self.known.iter()
    }

    /// Of all that came after the table was full.
    pub fn others(&self) -> &VantageCounts {
        &self.others
    }

    fn at(&mut self, vantage: Vantage) -> &mut VantageCounts {
        let known = self.known.iter().position(|(known, _)| *known == vantage);
        match known {
            Some(at) => &mut self.known[at].1,
            None if self.known.len() == MAX_VANTAGES => &mut self.others,
            None => {
                self.known.push((vantage, VantageCounts::default()));
                &mut self.known.last_mut().expect("it was pushed").1
            }
        }
    }

    /// Counts a call that is over.
    pub fn note_call(&mut self, vantage: Vantage, streams: &[StreamReport], heard: Heard) {
        for stream in streams {
            let counts = self.at(stream.flow.vantage);
            counts.rtp_packets += stream.packets.saturating_sub(stream.shared.packets);
            counts.rtp_duplicates += stream.duplicates.saturating_sub(stream.shared.duplicates);
        }
        // An INVITE that nobody answers goes one way on a whole mirror too.
        if streams.is_empty() && !heard.past_answer {
            return;
        }
        let is_seen = |side: Side| heard.from[side] || streams.iter().any(|s| s.side == side);
        let counts = self.at(vantage);
        counts.calls += 1;
        counts.calls_one_direction += u64::from(!Side::BOTH.into_iter().all(is_seen));
    }

    /// Counts a stream that no call claimed.
    pub fn note_unclaimed(&mut self, stream: &UnclaimedStream) {
        let counts = self.at(stream.vantage);
        counts.streams_unclaimed += 1;
        counts.rtp_packets += stream.packets;
        counts.rtp_duplicates += stream.duplicates;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vantage(vlan: u16) -> Vantage {
        Vantage {
            vlans: [vlan, 0, 0],
            ..Vantage::default()
        }
    }

    #[test]
    fn a_call_of_one_direction_is_told_from_an_attempt() {
        let mut vantages = Vantages::default();
        let mut heard = Heard::default();
        heard.note(Side::Caller, false);
        vantages.note_call(vantage(1), &[], heard);
        heard.note(Side::Caller, true);
        vantages.note_call(vantage(1), &[], heard);
        heard.note(Side::Callee, false);
        vantages.note_call(vantage(1), &[], heard);
        let counts = vantages.iter().next().unwrap().1;
        assert_eq!((counts.calls, counts.calls_one_direction), (2, 1));
    }

    #[test]
    fn ever_new_vantages_are_counted_together() {
        let mut vantages = Vantages::default();
        for vlan in 0..1000 {
            let stream = UnclaimedStream {
                vantage: vantage(vlan),
                packets: 3,
                duplicates: 1,
            };
            vantages.note_unclaimed(&stream);
        }
        assert_eq!(vantages.iter().count(), MAX_VANTAGES);
        assert_eq!(
            vantages.others().streams_unclaimed,
            1000 - MAX_VANTAGES as u64
        );
    }
}
