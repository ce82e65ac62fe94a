//! Which of two calls that name the same two ends a stream belongs to.
//!
//! The later one, mostly: ports are used again, and the BYE of the earlier call was not seen. But whoever can send an INVITE can name
//! the ends of somebody else's call in it. What tells the two apart is who speaks for each end: the host that it lies on, or the one
//! that spoke for it before. A phone that uses its port again says so itself, a PBX as well; a stranger is neither. Where that is so
//! of one end only, as with PBXs of several hosts, the earlier call has to be silent, and nobody may hear the later one who does not
//! hear the earlier.

use super::*;

impl Media {
    /// Whether a stream that the call of `holder` has, or could have, is that of `challenger`, which names both its ends. Where several
    /// calls have it, it is taken from one of those that speak for most of its ends, or from none.
    pub(super) fn displaces(
        &self,
        stream: &Stream,
        challenger: Candidate,
        holder: Candidate,
    ) -> bool {
        let flow = &stream.key.flow;
        if self.may_share(challenger.slot, holder.slot, flow) {
            return false;
        }
        let mut holders = self.twin_holders(stream);
        holders.push((holder.slot, holder.sender));
        let word = |(slot, sender): &(u32, Side)| self.own_word_count(*slot, *sender, flow);
        let most = holders.iter().map(word).max();
        let mut best = holders.iter().filter(|holder| Some(word(holder)) == most);
        best.any(|holder| self.outweighs(stream, (challenger.slot, challenger.sender), *holder))
    }

    /// How many ends of a flow speak for themselves in the call in `slot`.
    pub(super) fn own_word_count(&self, slot: u32, sender: Side, flow: &Flow) -> usize {
        let call = self.calls.get(slot);
        call.map_or(0, |call| count(call.plan.own_words(flow, sender)))
    }

    /// Whether one call, and its sender, is more likely to have a stream than one that has it.
    fn outweighs(
        &self,
        stream: &Stream,
        (by, sender): (u32, Side),
        (of, held_sender): (u32, Side),
    ) -> bool {
        let (Some(by), Some(of)) = (self.calls.get(by), self.calls.get(of)) else {
            return false;
        };
        let flow = &stream.key.flow;
        let own = by.plan.own_words(flow, sender);
        let held = of.plan.own_words(flow, held_sender);
        let same = [
            speaks_for(by, sender, of, held_sender),
            speaks_for(by, sender.other(), of, held_sender.other()),
        ];
        let is_later = match stream.is_owned() {
            true => by.plan.since > of.plan.since,
            false => by.plan.call > of.plan.call,
        };
        if !is_later {
            // Nobody but the other call itself speaks for that.
            return count(own) > 0 && count(held) == 0 && count(same) == 0;
        }
        let vouched = count([own[0] || same[0], own[1] || same[1]]);
        count(own) > count(held)
            || vouched == 2
            || vouched == 1
                && by.plan.audience == of.plan.audience
                && self.is_silent(of, held_sender, flow, by.plan.since)
    }

    /// Whether nothing came on `flow` of a call since then, though it was free to send.
    fn is_silent(&self, call: &MediaCall, sender: Side, flow: &Flow, since: Timestamp) -> bool {
        let mut streams = call.streams.iter().filter_map(|&id| self.streams.get(id));
        let is_heard = streams.any(|stream| stream.key.flow == *flow && stream.last_at >= since);
        call.plan.sides[sender].may_send && !is_heard
    }
}

/// Whether a host speaks for a side of one call that speaks for a side of the other.
fn speaks_for(a: &MediaCall, of_a: Side, b: &MediaCall, of_b: Side) -> bool {
    let (a, b) = (&a.plan.sides[of_a], &b.plan.sides[of_b]);
    a.told_by.iter().any(|host| b.told_by.contains(host))
}

fn count(words: [bool; 2]) -> usize {
    words.into_iter().filter(|word| *word).count()
}
