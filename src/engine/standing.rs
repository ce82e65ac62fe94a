//! What was asked about recordings and still holds: pauses that last, and calls that are not to be recorded.
//!
//! Known by the dialog, so that it holds too when the call is met again in its middle: by another run of the program, which
//! is given what the last one knew, or by the same one, after it took a call for over that went on. Who keeps it beyond a run
//! hears of every change ([`Event::Standing`](super::event::Event::Standing)). Names of a dialog are digests: they are as long as
//! they are, whatever a caller puts in its Call-ID.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::control::ControlNote;
use super::plan::CallKey;
use crate::base::{PerSide, Side, TenantId, Timestamp, WireMap};
use crate::directory::ControlAction;

/// Wishes kept of one call: one for each tenant that paused it, and one for each that does not record it.
const MAX_NOTES: usize = 8;

/// A dialog as its digests: 0 for a tag that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogName {
    pub call_id: u128,
    pub tags: PerSide<u128>,
}

impl DialogName {
    pub fn new(call_id: &str, caller_tag: &str, callee_tag: &str) -> DialogName {
        DialogName {
            call_id: digest(call_id),
            tags: PerSide {
                caller: digest(caller_tag),
                callee: digest(callee_tag),
            },
        }
    }

    /// Whether `other` is the same dialog, and seen from the other side. A callee that was not known yet may be any.
    fn meets(&self, other: &DialogName) -> Option<bool> {
        let fits = |caller: u128, callee: u128| {
            let callees = [self.tags.callee, callee];
            self.tags.caller == caller && (callees.contains(&0) || callees[0] == callees[1])
        };
        if self.call_id != other.call_id {
            None
        } else if fits(other.tags.caller, other.tags.callee) {
            Some(false)
        } else {
            fits(other.tags.callee, other.tags.caller).then_some(true)
        }
    }
}

fn digest(text: &str) -> u128 {
    let mut bytes = [0; 16];
    if !text.is_empty() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes());
        hasher.finalize_xof().fill(&mut bytes);
    }
    u128::from_le_bytes(bytes)
}

/// What holds of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub dialog: DialogName,
    /// When the call began, as far as it was seen: it is forgotten when no call lasts so long.
    pub since: Timestamp,
    /// Pauses and stops, at most one of each for a tenant.
    pub notes: Vec<ControlNote>,
}

/// What of `notes` lasts until somebody asks for something else.
fn lasting(notes: &[ControlNote]) -> Vec<ControlNote> {
    use ControlAction::{Keep, Pause, Resume, Stop};
    let mut lasting: Vec<&ControlNote> = Vec::new();
    for note in notes {
        let is_same =
            |other: &&ControlNote| (other.action, other.tenant) == (note.action, note.tenant);
        match note.action {
            Pause | Stop if !lasting.iter().any(is_same) => lasting.push(note),
            Resume => lasting.retain(|other| {
                other.action != Pause || note.tenant.is_some() && other.tenant != note.tenant
            }),
            Pause | Stop | Keep => {}
        }
    }
    // One pause is as good as many; each tenant's stop is its own.
    lasting.sort_by_key(|note| note.action != Stop);
    lasting.into_iter().take(MAX_NOTES).cloned().collect()
}

/// A change of what holds, for whoever keeps it: `None` where nothing does any more.
pub type Change = (u64, Option<Arc<Standing>>);

/// What holds of all calls, by numbers that are never given again.
#[derive(Debug)]
pub struct Standings {
    most: usize,
    longest: Duration,
    known: BTreeMap<u64, Arc<Standing>>,
    by_call_id: WireMap<u128, SmallVec<[u64; 1]>>,
    of_leg: WireMap<CallKey, u64>,
    /// Of calls that are not being followed, oldest first.
    idle: BTreeSet<u64>,
    next: u64,
    /// Forgotten since there were too many.
    pub dropped: u64,
}

impl Standings {
    /// At most `most`, none of a call that would have lasted longer than `longest`.
    pub fn new(most: usize, longest: Duration) -> Standings {
        Standings {
            most,
            longest,
            known: BTreeMap::new(),
            by_call_id: WireMap::default(),
            of_leg: WireMap::default(),
            idle: BTreeSet::new(),
            next: 1,
            dropped: 0,
        }
    }

    /// Takes over what an earlier run knew, before anything else: the first gets the number 1. What there is no room for is left
    /// out from the end.
    pub fn restore(&mut self, left: Vec<Standing>) {
        for standing in left.into_iter().take(self.most) {
            let id = self.next;
            self.next += 1;
            self.enter(id, Arc::new(standing));
            self.idle.insert(id);
        }
    }

    fn enter(&mut self, id: u64, standing: Arc<Standing>) {
        let call_id = standing.dialog.call_id;
        self.by_call_id.entry(call_id).or_default().push(id);
        self.known.insert(id, standing);
    }

    fn forget(&mut self, id: u64) -> Option<Change> {
        let standing = self.known.remove(&id)?;
        self.idle.remove(&id);
        let call_id = standing.dialog.call_id;
        if let Some(ids) = self.by_call_id.get_mut(&call_id) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_call_id.remove(&call_id);
            }
        }
        Some((id, None))
    }

    /// Notes what was asked of a leg and holds, and tells what changed by it.
    pub fn set(
        &mut self,
        leg: CallKey,
        dialog: DialogName,
        since: Timestamp,
        notes: &[ControlNote],
    ) -> SmallVec<[Change; 1]> {
        let mut changes = SmallVec::new();
        let notes = lasting(notes);
        let id = self.of_leg.get(&leg).copied();
        let before = id.and_then(|id| self.known.get(&id).cloned());
        if notes.is_empty() {
            self.of_leg.remove(&leg);
            changes.extend(id.and_then(|id| self.forget(id)));
            return changes;
        }
        let since = before
            .as_ref()
            .map_or(since, |before| before.since.min(since));
        let standing = Standing {
            dialog,
            since,
            notes,
        };
        if before.as_deref() == Some(&standing) {
            return changes;
        }
        match id {
            Some(id) => drop(self.forget(id)),
            None => self.make_room(since, &mut changes),
        }
        if self.known.len() >= self.most {
            self.dropped += 1;
            return changes;
        }
        let id = id.unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let standing = Arc::new(standing);
        self.of_leg.insert(leg, id);
        self.enter(id, standing.clone());
        changes.push((id, Some(standing)));
        changes
    }

    /// Forgets calls that nobody follows: those that cannot last any more, and the oldest one where there are too many.
    fn make_room(&mut self, now: Timestamp, changes: &mut SmallVec<[Change; 1]>) {
        while let Some(&oldest) = self.idle.first() {
            let is_over = !self
                .known
                .get(&oldest)
                .is_some_and(|known| self.holds(known, now));
            let is_too_much = self.known.len() >= self.most;
            if !is_over && !is_too_much {
                return;
            }
            self.dropped += u64::from(!is_over);
            changes.extend(self.forget(oldest));
        }
    }

    fn holds(&self, standing: &Standing, now: Timestamp) -> bool {
        now <= standing.since + self.longest
    }

    /// What holds of a dialog, and whether it was then seen from the other side, with its number.
    pub fn find(&self, dialog: &DialogName, now: Timestamp) -> Vec<(u64, Arc<Standing>, bool)> {
        let ids = self.by_call_id.get(&dialog.call_id).into_iter().flatten();
        let known = ids.filter_map(|id| Some((*id, self.known.get(id)?)));
        known
            .filter(|(_, standing)| self.holds(standing, now))
            .filter_map(|(id, standing)| {
                let crossed = standing.dialog.meets(dialog)?;
                Some((id, standing.clone(), crossed))
            })
            .collect()
    }

    /// A leg is followed of which `id` was said, and has taken all of it over.
    pub fn hand_over(&mut self, id: u64, leg: CallKey) -> Option<Change> {
        if !self.idle.contains(&id) {
            return None;
        }
        if self.of_leg.contains_key(&leg) {
            return self.forget(id);
        }
        self.idle.remove(&id);
        self.of_leg.insert(leg, id);
        None
    }

    /// A leg is not followed any more, and may go on all the same.
    pub fn release(&mut self, leg: CallKey) {
        if let Some(id) = self
            .of_leg
            .remove(&leg)
            .filter(|id| self.known.contains_key(id))
        {
            self.idle.insert(id);
        }
    }

    /// A leg is over.
    pub fn close(&mut self, leg: CallKey, dialog: impl FnOnce() -> DialogName) -> Vec<Change> {
        if self.known.is_empty() {
            return Vec::new();
        }
        let dialog = dialog();
        let own = self.of_leg.remove(&leg);
        let ids = self.by_call_id.get(&dialog.call_id).into_iter().flatten();
        let is_over = |id: &&u64| {
            own == Some(**id)
                || self.idle.contains(id)
                    && (self.known.get(id)).is_some_and(|of| of.dialog.meets(&dialog).is_some())
        };
        let over: Vec<u64> = ids.filter(is_over).copied().chain(own).collect();
        over.into_iter().filter_map(|id| self.forget(id)).collect()
    }
}

/// A wish about a dialog that is met again by a leg: `None` where it is none of it. A pause is of the dialog, whoever owns it now.
/// Who does not want it recorded is heard as well where nobody is found to be the owner any more.
pub fn inherited(note: &ControlNote, crossed: bool, owners: &[TenantId]) -> Option<ControlNote> {
    let nobodys = owners
        .iter()
        .all(|owner| *owner == crate::base::SYSTEM_TENANT);
    let is_owned = note.tenant.is_none_or(|tenant| owners.contains(&tenant));
    let mut note = note.clone();
    if crossed {
        note.side = note.side.map(Side::other);
    }
    match note.action {
        ControlAction::Pause => {}
        ControlAction::Stop if is_owned => {}
        ControlAction::Stop if nobodys => note.tenant = Some(crate::base::SYSTEM_TENANT),
        _ => return None,
    }
    Some(note)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::engine::control::ControlBy;

    const LONGEST: Duration = Duration::from_secs(3600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs_nanos(seconds, 0)
    }

    fn note(action: ControlAction, tenant: Option<u128>) -> ControlNote {
        ControlNote {
            at: at(0),
            action,
            by: ControlBy::Request,
            tenant: tenant.map(|n| TenantId(Uuid::from_u128(n))),
            side: Some(Side::Caller),
            who: "somebody".into(),
            why: String::new(),
            alone: false,
        }
    }

    fn pause() -> [ControlNote; 1] {
        [note(ControlAction::Pause, Some(1))]
    }

    fn numbers(
        standings: &Standings,
        call_id: &str,
        a: &str,
        b: &str,
        now: i64,
    ) -> Vec<(u64, bool)> {
        let found = standings.find(&DialogName::new(call_id, a, b), at(now));
        found
            .iter()
            .map(|(id, _, crossed)| (*id, *crossed))
            .collect()
    }

    #[test]
    fn only_what_was_not_taken_back_lasts() {
        use ControlAction::{Keep, Pause, Resume, Stop};
        let asked = [
            note(Pause, Some(1)),
            note(Pause, Some(2)),
            note(Keep, Some(1)),
            note(Stop, Some(3)),
            note(Pause, Some(1)),
            note(Resume, Some(1)),
        ];
        let kept: Vec<_> = lasting(&asked).iter().map(|note| note.action).collect();
        assert_eq!(kept, [Stop, Pause]);
        let all = [&asked[..], &[note(Resume, None)]].concat();
        assert_eq!(lasting(&all), [note(Stop, Some(3))]);
    }

    #[test]
    fn a_dialog_is_found_from_either_side_and_by_its_own_tags_only() {
        let mut standings = Standings::new(10, LONGEST);
        let dialog = DialogName::new("a", "from", "to");
        assert_eq!(standings.set(CallKey(1), dialog, at(0), &pause()).len(), 1);
        assert_eq!(numbers(&standings, "a", "from", "to", 1), [(1, false)]);
        assert_eq!(numbers(&standings, "a", "to", "from", 1), [(1, true)]);
        for (call_id, a, b) in [("a", "from", "x"), ("a", "x", "to"), ("b", "from", "to")] {
            assert_eq!(
                numbers(&standings, call_id, a, b, 1),
                [],
                "{call_id} {a} {b}"
            );
        }
        assert_eq!(numbers(&standings, "a", "from", "to", 3601), []);
        // Asked before anybody answered.
        standings.set(
            CallKey(2),
            DialogName::new("c", "from", ""),
            at(0),
            &pause(),
        );
        assert_eq!(numbers(&standings, "c", "to", "from", 1), [(2, true)]);
        assert_eq!(numbers(&standings, "c", "x", "y", 1), []);
    }

    #[test]
    fn the_oldest_that_nobody_follows_makes_room_and_never_one_that_somebody_does() {
        let mut standings = Standings::new(3, LONGEST);
        let name = |n: u64| DialogName::new(&n.to_string(), "f", "t");
        for n in 1..=3 {
            standings.set(CallKey(n), name(n), at(0), &pause());
        }
        // All are followed: there is no room.
        assert!(
            standings
                .set(CallKey(4), name(4), at(1), &pause())
                .is_empty()
        );
        assert_eq!(standings.dropped, 1);
        standings.release(CallKey(3));
        standings.release(CallKey(2));
        let changes = standings.set(CallKey(5), name(5), at(1), &pause());
        let ids: Vec<_> = changes
            .iter()
            .map(|(id, now)| (*id, now.is_some()))
            .collect();
        assert_eq!(ids, [(2, false), (4, true)]);
        // What no call lasts as long as goes first, and is no loss.
        let dropped = standings.dropped;
        standings.set(CallKey(6), name(6), at(4000), &pause());
        assert_eq!((standings.dropped, standings.known.len()), (dropped, 3));
    }

    #[test]
    fn what_an_earlier_run_knew_is_taken_over_once_and_ends_with_the_call() {
        let dialog = DialogName::new("a", "from", "to");
        let standing = Standing {
            dialog,
            since: at(0),
            notes: pause().to_vec(),
        };
        let mut standings = Standings::new(2, LONGEST);
        standings.restore(vec![standing.clone(), standing.clone(), standing]);
        assert_eq!(
            numbers(&standings, "a", "from", "to", 1),
            [(1, false), (2, false)]
        );
        assert_eq!(standings.hand_over(1, CallKey(9)), None);
        assert_eq!(standings.hand_over(2, CallKey(9)), Some((2, None)));
        // It is older than the leg that takes it over.
        assert!(
            standings
                .set(CallKey(9), dialog, at(50), &pause())
                .is_empty()
        );
        let resumed = [pause()[0].clone(), note(ControlAction::Resume, Some(1))];
        let changes = standings.set(CallKey(9), dialog, at(50), &resumed);
        assert_eq!(changes.as_slice(), [(1, None)]);
        assert_eq!(standings.close(CallKey(9), || dialog), []);
        standings.set(CallKey(9), dialog, at(50), &pause());
        standings.release(CallKey(9));
        let other = || DialogName::new("a", "from", "other");
        assert_eq!(standings.close(CallKey(10), other), []);
        assert_eq!(standings.close(CallKey(10), || dialog), [(3, None)]);
        assert!(standings.by_call_id.is_empty() && standings.of_leg.is_empty());
    }

    #[test]
    fn a_stop_is_of_its_tenant_or_of_a_call_that_has_none_now() {
        let [one, two] = [1, 2].map(|n| TenantId(Uuid::from_u128(n)));
        let stop = note(ControlAction::Stop, Some(1));
        let heard = |owners: &[TenantId]| inherited(&stop, true, owners).map(|note| note.tenant);
        assert_eq!(heard(&[two, one]), Some(Some(one)));
        assert_eq!(heard(&[two]), None);
        let system = crate::base::SYSTEM_TENANT;
        assert_eq!(heard(&[system]), Some(Some(system)));
        let paused = inherited(&pause()[0], true, &[two]).unwrap();
        assert_eq!(
            (paused.tenant, paused.side),
            (Some(one), Some(Side::Callee))
        );
    }
}
