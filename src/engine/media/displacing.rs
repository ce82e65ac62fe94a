//! Which of two calls that name the same two ends a stream belongs to.
//!
//! The later one, mostly: ports are used again, and the BYE of the earlier call was not seen. But whoever can send an INVITE can name
//! the ends of somebody else's call in it. What tells the two apart is who speaks for each end: the host that it lies on, or the one
//! that spoke for it before. A phone that uses its port again says so itself, a PBX as well; a stranger is neither. Where that is so
//! of one end only, as with PBXs of several hosts, the earlier call has to be silent, and nobody may hear the later one who does not
//! hear the earlier.

use super::*;

impl Media {
    /// Whether a stream that the call of `holder` has, or could have, is that of `challenger`, which names both its ends.
    pub(super) fn displaces(
        &self,
        stream: &Stream,
        challenger: Candidate,
        holder: Candidate,
    ) -> bool {
        let (Some(by), Some(of)) = (self.calls.get(challenger.slot), self.calls.get(holder.slot))
        else {
            return false;
        };
        let flow = &stream.key.flow;
        if self.may_share(challenger.slot, holder.slot, flow) {
            return false;
        }
        let own = by.plan.own_words(flow, challenger.sender);
        let held = of.plan.own_words(flow, holder.sender);
        let same = [
            speaks_for(by, challenger.sender, of, holder.sender),
            speaks_for(by, challenger.sender.other(), of, holder.sender.other()),
        ];
        let count = |words: [bool; 2]| words.into_iter().filter(|word| *word).count();
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
                && self.is_silent(of, holder.sender, flow, by.plan.since)
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
