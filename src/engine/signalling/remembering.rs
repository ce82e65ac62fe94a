//! Wishes that outlast what is known of a call: told as they change, and taken over by a leg that is met in its middle.

use super::control::Rank;
use super::*;
use crate::engine::standing::{DialogName, Standing, inherited};

impl Signalling {
    /// Takes over what an earlier run knew to hold, before the first message.
    pub fn restore(&mut self, left: Vec<Standing>) {
        self.standings.restore(left);
    }

    /// Notes what holds of a leg beyond this run. To be called when something was asked of it, or its tags changed.
    pub(super) fn remember(&mut self, key: CallKey, orders: &mut Orders) {
        let Some(leg) = self.legs.get(&key).filter(|leg| leg.is_open()) else {
            return;
        };
        if leg.info.control.is_empty() {
            return;
        }
        self.steering.steered.insert(key);
        let (dialog, since) = (name_of(leg), leg.info.invite_at);
        let changes = self.standings.set(key, dialog, since, &leg.info.control);
        self.counters.wishes_dropped = self.standings.dropped;
        tell_changes(key, changes, orders);
    }

    /// A leg whose beginning was not seen: what was asked of its dialog before still holds.
    pub(super) fn recall(&mut self, key: CallKey, at: Timestamp, orders: &mut Orders) {
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        let owners: SmallVec<[TenantId; 2]> = leg.info.owners.iter().map(|o| o.tenant).collect();
        let mut notes = Vec::new();
        for (id, standing, crossed) in self.standings.find(&name_of(leg), at) {
            let heard = standing.notes.iter();
            let heard = heard.filter_map(|note| inherited(note, crossed, &owners));
            let before = notes.len();
            notes.extend(heard);
            if notes.len() - before == standing.notes.len() {
                let change = self.standings.hand_over(id, key);
                tell_changes(key, change, orders);
            }
        }
        // With their own times: media that waited for this message was said in the pause too.
        for note in notes {
            self.note(key, &note, Rank::ByTime, orders);
        }
    }

    /// A leg is over: what was asked of it is, too, unless it may go on unheard or under another run.
    pub(super) fn let_go(&mut self, key: CallKey, reason: EndReason, orders: &mut Orders) {
        use EndReason::{Bye, Cancelled, Rejected, SetupTimeout};
        let is_over = matches!(
            reason,
            Bye { .. } | Cancelled | Rejected { .. } | SetupTimeout
        );
        let Some(leg) = self.legs.get(&key).filter(|_| is_over) else {
            return self.standings.release(key);
        };
        let changes = self.standings.close(key, || name_of(leg));
        tell_changes(key, changes, orders);
    }
}

fn tell_changes(key: CallKey, changes: impl IntoIterator<Item = Change>, orders: &mut Orders) {
    let changes = changes.into_iter();
    orders.extend(changes.map(|change| Order::Remember(key, change)));
}

fn name_of(leg: &Leg) -> DialogName {
    DialogName::new(&leg.call_id, &leg.tags.caller, &leg.tags.callee)
}
