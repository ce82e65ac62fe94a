//! Streams that several calls have.
//!
//! Where a PBX lets two phones send to each other, each of its legs names both phones, and the one stream between them is of all
//! these calls. The first call to claim it has the stream that the index names; each other has a twin of it: a stream of its own,
//! with its own order, clock and counters, that no index names and that gets its packets from the first. A payload is stored once.
//!
//! Who may have a twin: a call whose plan names both ends as they are, and that is kin of one that has the stream (see [`Kin`]). Where
//! the kinship alone is not enough, each end has to have said in one of the two calls, and not in the other, that it is what the plan
//! says: a phone says it to the PBX, the PBX says it to the other phone, and nobody else can say it from the phone's address.
//!
//! What a packet is on the wire is counted once, with the first; what a recording lacks is counted for each.

use super::*;
use crate::engine::event::Shared;

/// Calls that may have one stream, beside the first.
const MAX_TWINS: usize = 7;
/// How long packets are kept for a call that names one end of a stream: its own description of the other end comes later.
const AWAITED: Duration = Duration::from_secs(5);

/// Whether a stream is one of several with the same packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    #[default]
    Alone,
    /// The index names it, and others get its packets from it.
    First,
    /// It gets its packets from the first.
    Twin,
}

#[derive(Clone, Copy, Debug)]
struct Twin {
    id: u32,
    call: CallKey,
    /// Its call names other ends since, or none of them yet: it goes when its timer fires.
    goes: bool,
}

/// Which streams are twins of which.
#[derive(Debug, Default)]
pub struct Twins {
    by_first: WireMap<u32, SmallVec<[Twin; 2]>>,
    /// Packets of a stream, once it was another stream's twin and is it no more, that others count; or, of a twin that was a first,
    /// those that it counts itself.
    before: WireMap<u32, Shared>,
    len: usize,
}

impl Twins {
    /// Streams that are twins of others.
    pub fn len(&self) -> usize {
        self.len
    }

    /// A stream begins to count anew.
    pub fn forget_counts(&mut self, id: u32) {
        if !self.before.is_empty() {
            self.before.remove(&id);
        }
    }

    fn before_of(&self, id: u32) -> Shared {
        self.before.get(&id).copied().unwrap_or_default()
    }

    fn of(&self, first: u32) -> &[Twin] {
        self.by_first.get(&first).map_or(&[], |twins| twins)
    }
}

impl Media {
    /// Takes a packet of a stream that is protected, or that several calls have.
    #[cold]
    #[inline(never)]
    pub(super) fn take_special(&mut self, id: u32, seen: &Seen, sink: &mut impl Sink) {
        self.take_known(id, seen, sink);
        self.for_twins(id, |media, twin| {
            // Half of what may be kept is for streams whose signalling has not come.
            let is_too_much = media.kept_bytes > media.limits.kept_bytes / 2;
            if is_too_much && !media.is_owned(twin) {
                return media.drop_twin(twin);
            }
            media.take_known(twin, seen, sink);
        });
    }

    fn take_known(&mut self, id: u32, seen: &Seen, sink: &mut impl Sink) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        if stream.protected.is_some() {
            return self.take_stored(id, seen, sink);
        }
        stream.last_at = seen.time;
        self.take_in(id, seen, sink);
    }

    /// Does something for each twin of a stream.
    pub(super) fn for_twins(&mut self, first: u32, mut each: impl FnMut(&mut Self, u32)) {
        let is_first = |stream: &Stream| stream.sharing == Sharing::First;
        if !self.streams.get(first).is_some_and(is_first) {
            return;
        }
        let twins: SmallVec<[u32; 4]> = self.twins.of(first).iter().map(|twin| twin.id).collect();
        for twin in twins {
            self.count_for(twin, |media| each(media, twin));
        }
    }

    /// Does something for a stream. What that counts of packets was counted before, if the stream is a twin.
    pub(super) fn count_for<T>(&mut self, id: u32, work: impl FnOnce(&mut Self) -> T) -> T {
        let is_twin = |stream: &Stream| stream.sharing == Sharing::Twin;
        let before = self
            .streams
            .get(id)
            .is_some_and(is_twin)
            .then_some(self.counters);
        let done = work(self);
        if let Some(before) = before {
            let after = self.counters;
            self.counters = MediaCounters {
                not_placed: after.not_placed,
                paused: after.paused,
                restored: after.restored,
                streams_shared: after.streams_shared,
                streams_not_shared: after.streams_not_shared,
                ..before
            };
        }
        done
    }

    /// What is told of a stream that belongs to a call.
    pub(super) fn report(&self, id: u32, stream: &Stream, side: Side) -> StreamReport {
        let mut report = stream.report(side);
        let before = self.twins.before_of(id);
        report.shared = shared(stream, before);
        report
    }

    fn is_owned(&self, id: u32) -> bool {
        self.streams.get(id).is_some_and(Stream::is_owned)
    }

    /// Slot of the call that has a stream.
    fn slot_of(&self, id: u32) -> Option<u32> {
        match self.streams.get(id)?.owner {
            Owner::Call { slot, .. } | Owner::Copy { slot, .. } => Some(slot),
            Owner::Nobody | Owner::Ended => None,
        }
    }

    /// Which side of the call in `slot` sends `flow`, if its plan names both ends.
    fn named_sender(&self, slot: u32, flow: &Flow) -> Option<Side> {
        let plan = &self.calls.get(slot)?.plan;
        Side::BOTH.into_iter().find(|side| plan.names(flow, *side))
    }

    /// Whether the call in `slot` may have a stream that the one in `with` has; both name its ends.
    pub(super) fn may_share(&self, slot: u32, with: u32, flow: &Flow) -> bool {
        let (Some(call), Some(holder)) = (self.calls.get(slot), self.calls.get(with)) else {
            return false;
        };
        let (Some(sender), Some(held_sender)) =
            (self.named_sender(slot, flow), self.named_sender(with, flow))
        else {
            return false;
        };
        let mut kin = call.plan.kin.iter();
        let Some(kin) = kin.find(|kin| kin.call == holder.plan.call) else {
            return false;
        };
        let own = call.plan.own_words(flow, sender);
        let held = holder.plan.own_words(flow, held_sender);
        let completes = |end: usize, other: usize| own[end] && !held[end] && held[other];
        kin.is_sure || completes(0, 1) || completes(1, 0)
    }

    /// Gives a stream that a call has to all other calls that may have it too. `kept`: what was kept of it until its call was found,
    /// if that was just now.
    pub(super) fn share(
        &mut self,
        id: u32,
        kept: Option<VecDeque<Kept>>,
        now: Timestamp,
        sink: &mut impl Sink,
    ) {
        let Some(slot) = self.slot_of(id) else {
            return;
        };
        let is_shared = |stream: &Stream| stream.sharing == Sharing::First;
        let has_kin = |call: &MediaCall| !call.plan.kin.is_empty();
        if !self.streams.get(id).is_some_and(is_shared)
            && !self.calls.get(slot).is_some_and(has_kin)
        {
            return;
        }
        self.follow_plans(id, now);
        while let Some(heir) = self.next_heir(id) {
            if !self.add_twin(id, heir, kept.as_ref(), now, sink) {
                break;
            }
        }
        if let Some(kept) = kept {
            self.await_kin(id, &kept, now);
        }
    }

    /// Slots of the calls that have twins of a stream, each with the side that sends it.
    pub(super) fn twin_holders(&self, stream: &Stream) -> SmallVec<[(u32, Side); 4]> {
        if stream.sharing != Sharing::First {
            return SmallVec::new();
        }
        let first = self.find_stream(&stream.key, self.hasher.hash_one(stream.key));
        let twins = first.map_or(&[][..], |first| self.twins.of(first)).iter();
        let slots = twins.filter_map(|twin| self.slot_of(twin.id));
        let named = |slot| Some((slot, self.named_sender(slot, &stream.key.flow)?));
        slots.filter_map(named).collect()
    }

    /// Whether the call in `slot` has a twin of a stream, and names its ends.
    pub(super) fn has_twin(&self, stream: &Stream, slot: u32) -> bool {
        let mut holders = self.twin_holders(stream).into_iter();
        holders.any(|(holder, _)| holder == slot)
    }

    /// Slots of the calls that have a stream and name both its ends.
    fn holders(&self, first: u32, flow: &Flow) -> SmallVec<[u32; 4]> {
        self.slots_of(first)
            .filter(|slot| self.named_sender(*slot, flow).is_some())
            .collect()
    }

    /// Slots of the calls that have a stream, whatever they name.
    fn slots_of(&self, first: u32) -> impl Iterator<Item = u32> {
        let twins = self.twins.of(first).iter().map(|twin| twin.id);
        let ids = [first].into_iter().chain(twins);
        ids.filter_map(|id| self.slot_of(id))
    }

    /// Calls whose plans name other ends now are to lose the stream, and the first gives way to one that still names these.
    fn follow_plans(&mut self, first: u32, now: Timestamp) {
        let Some(flow) = self.streams.get(first).map(|stream| stream.key.flow) else {
            return;
        };
        let names = |media: &Self, id| {
            let slot = media.slot_of(id);
            slot.is_some_and(|slot| media.named_sender(slot, &flow).is_some())
        };
        if !names(self, first) {
            let mut twins = self.twins.of(first).iter();
            if let Some(heir) = twins.find(|twin| names(self, twin.id)).map(|twin| twin.id) {
                self.promote(first, heir);
            }
        }
        let holders = self.holders(first, &flow);
        let twins: SmallVec<[Twin; 4]> = self.twins.of(first).into();
        for twin in twins {
            let Some(slot) = self.slot_of(twin.id) else {
                continue;
            };
            let mut others = holders.iter().filter(|holder| **holder != slot);
            if !names(self, twin.id) {
                if !twin.goes {
                    // What was on its way is still the call's.
                    self.send_off(first, twin.id, true, now + self.limits.keep);
                }
            } else if others.any(|other| self.may_share(slot, *other, &flow)) {
                self.send_off(first, twin.id, false, now);
            } else {
                self.let_twin_go(twin.id);
            }
        }
    }

    /// A twin is to go at `at`, or is to stay.
    fn send_off(&mut self, first: u32, id: u32, goes: bool, at: Timestamp) {
        let twins = self.twins.by_first.get_mut(&first);
        let mut twins = twins.into_iter().flatten();
        if let Some(twin) = twins.find(|twin| twin.id == id) {
            twin.goes = goes;
        }
        match goes {
            true => self.timers.set(MediaTimer::TwinGoes(id), at),
            false => self.timers.cancel(MediaTimer::TwinGoes(id)),
        }
    }

    /// A call that may have the stream and does not have it.
    fn next_heir(&mut self, first: u32) -> Option<Candidate> {
        let flow = self.streams.get(first)?.key.flow;
        let holders = self.holders(first, &flow);
        let own: SmallVec<[u32; 4]> = self.slots_of(first).collect();
        let candidates = self
            .endpoints
            .candidates(flow.vantage, flow.source, flow.destination);
        let heir = candidates.into_iter().find(|candidate| {
            let mut holders = holders.iter();
            !own.contains(&candidate.slot)
                && self.is_needed(candidate.slot, &own)
                && self.named_sender(candidate.slot, &flow) == Some(candidate.sender)
                && holders.any(|holder| self.may_share(candidate.slot, *holder, &flow))
        });
        if heir.is_some() && own.len() > MAX_TWINS {
            self.counters.streams_not_shared += 1;
            return None;
        }
        heir
    }

    /// Whether the call in `slot` lacks something without a stream that those in `others` have: a call that has nothing of its own would
    /// be a copy of theirs, for the same tenants.
    fn is_needed(&self, slot: u32, others: &[u32]) -> bool {
        let Some(call) = self.calls.get(slot) else {
            return false;
        };
        let mut others = others.iter().filter_map(|other| self.calls.get(*other));
        call.timeline.is_some() || others.all(|other| other.plan.audience != call.plan.audience)
    }

    /// Makes a stream a call's as well; `false` where there is no room.
    fn add_twin(
        &mut self,
        first: u32,
        heir: Candidate,
        kept: Option<&VecDeque<Kept>>,
        now: Timestamp,
        sink: &mut impl Sink,
    ) -> bool {
        let Some(call) = self.calls.get(heir.slot).map(|call| call.plan.call) else {
            return false;
        };
        let mut waiting = self.twins.of(first).iter();
        let waiting = waiting.find(|twin| twin.call == call).map(|twin| twin.id);
        let id = match waiting {
            Some(id) => Some(id),
            None => self.new_twin(first, call, kept, now),
        };
        let Some(id) = id else {
            self.counters.streams_not_shared += 1;
            return false;
        };
        self.send_off(first, id, false, now);
        self.count_for(id, |media| {
            media.forget_earlier(id, heir.slot, now);
            media.bind(id, heir, now, sink);
        });
        if !self.is_owned(id) {
            self.drop_twin(id);
            self.counters.streams_not_shared += 1;
            return false;
        }
        self.counters.streams_shared += 1;
        true
    }

    /// A twin that belongs to no call yet; `None` when there is no room.
    fn new_twin(
        &mut self,
        first: u32,
        call: CallKey,
        kept: Option<&VecDeque<Kept>>,
        now: Timestamp,
    ) -> Option<u32> {
        while self.streams.len() >= self.limits.streams {
            if !self.evict_orphan() {
                return None;
            }
        }
        let stream = self.streams.get_mut(first)?;
        stream.sharing = Sharing::First;
        let mut twin = Stream::new(stream.key, now);
        twin.sharing = Sharing::Twin;
        if let Some(kept) = kept {
            self.kept_bytes += twin.begin_anew(kept.clone(), now);
        }
        let id = self.streams.insert(twin);
        let goes = false;
        let twins = self.twins.by_first.entry(first).or_default();
        twins.push(Twin { id, call, goes });
        self.twins.len += 1;
        Some(id)
    }

    /// Keeps a stream that has just found its call for those of the same conversation that name one of its ends: a PBX tells one leg
    /// after the other where the media goes.
    fn await_kin(&mut self, first: u32, kept: &VecDeque<Kept>, now: Timestamp) {
        let Some((flow, slot)) = self
            .streams
            .get(first)
            .map(|stream| stream.key.flow)
            .zip(self.slot_of(first))
        else {
            return;
        };
        let Some(call) = self.calls.get(slot) else {
            return;
        };
        for kin in call.plan.kin.clone() {
            let known = self.twins.of(first);
            if known.len() == MAX_TWINS || known.iter().any(|twin| twin.call == kin.call) {
                continue;
            }
            let slot = self.by_key.get(&kin.call);
            let plan = slot
                .and_then(|&slot| self.calls.get(slot))
                .map(|kin| &kin.plan);
            if plan.is_some_and(|plan| plan.names_an_end(&flow))
                && let Some(id) = self.new_twin(first, kin.call, Some(kept), now)
            {
                self.send_off(first, id, true, now + AWAITED);
            }
        }
    }

    /// A twin's time is over.
    pub(super) fn let_twin_go(&mut self, id: u32) {
        self.count_for(id, |media| media.drop_twin(id));
    }

    /// Number of the stream that a twin gets its packets from.
    pub(super) fn first_of(&self, id: u32) -> Option<u32> {
        let key = self.streams.get(id)?.key;
        self.find_stream(&key, self.hasher.hash_one(key))
    }

    /// Takes a twin from its call, and forgets it.
    pub(super) fn drop_twin(&mut self, id: u32) {
        let first = self.first_of(id);
        self.timers.cancel(MediaTimer::TwinGoes(id));
        self.drop_protection(id);
        let copies = self.leave(id);
        self.forget_twin(first, id);
        copies.into_iter().for_each(|copy| self.part(copy));
    }

    /// Forgets a twin that is in no call's list any more.
    pub(super) fn forget_twin(&mut self, first: Option<u32>, id: u32) {
        self.timers.cancel(MediaTimer::TwinGoes(id));
        self.twins.before.remove(&id);
        if let Some(twin) = self.streams.remove(id) {
            self.twins.len -= 1;
            self.kept_bytes -= twin.kept_bytes;
        }
        let Some(first) = first else { return };
        let Some(twins) = self.twins.by_first.get_mut(&first) else {
            return;
        };
        twins.retain(|twin| twin.id != id);
        if twins.is_empty() {
            self.twins.by_first.remove(&first);
            if let Some(stream) = self.streams.get_mut(first) {
                stream.sharing = Sharing::Alone;
            }
        }
    }

    /// Takes a stream from all calls but the first.
    pub(super) fn drop_twins(&mut self, first: u32) {
        self.for_twins(first, Media::drop_twin);
    }

    /// The call that had a stream is over: another one that has it takes it over, and what is left is a twin without a call, which is
    /// forgotten. `false` where no other call has it.
    pub(super) fn hand_on(&mut self, first: u32) -> bool {
        let mut twins = self.twins.of(first).iter();
        let heir = twins.find(|twin| !twin.goes && self.is_owned(twin.id));
        let heir = heir.or_else(|| {
            let mut twins = self.twins.of(first).iter();
            twins.find(|twin| self.is_owned(twin.id))
        });
        let Some(heir) = heir.map(|twin| twin.id) else {
            self.drop_twins(first);
            return false;
        };
        self.promote(first, heir);
        self.forget_twin(Some(first), heir);
        true
    }

    /// Makes a twin the first, and the first its twin: each takes the other's number.
    fn promote(&mut self, first: u32, heir: u32) {
        let call = self.slot_of(first).and_then(|slot| self.calls.get(slot));
        let call = call.map(|call| call.plan.call);
        let (Some(old), Some(new)) = (self.streams.get(first), self.streams.get(heir)) else {
            return;
        };
        // From now on one of them counts what the other counted.
        let base = |stream: &Stream, id| {
            let shared = shared(stream, self.twins.before_of(id));
            let (packets, duplicates) = (stream.sequence.received(), stream.duplicates);
            match stream.sharing {
                Sharing::Twin => shared,
                _ => Shared {
                    packets: packets.saturating_sub(shared.packets),
                    duplicates: duplicates.saturating_sub(shared.duplicates),
                },
            }
        };
        let (of_old, of_new) = (base(old, first), base(new, heir));
        let placeholder = Stream::new(old.key, old.first_at);
        let mut swap = |id, stream| {
            let place = self.streams.get_mut(id);
            place.map(|place| std::mem::replace(place, stream))
        };
        let Some(mut new) = swap(heir, placeholder) else {
            return;
        };
        new.sharing = Sharing::First;
        let Some(mut old) = swap(first, new) else {
            return;
        };
        old.sharing = Sharing::Twin;
        swap(heir, old);
        self.twins.before.insert(heir, of_old);
        self.twins.before.insert(first, of_new);
        self.rename(first, heir, first);
        self.rename(heir, first, heir);
        self.timers.cancel(MediaTimer::TwinGoes(heir));
        let twins = self.twins.by_first.get_mut(&first).into_iter().flatten();
        for twin in twins.filter(|twin| twin.id == heir) {
            twin.goes = false;
            twin.call = call.unwrap_or(twin.call);
        }
    }

    /// The stream with number `id`, which was `from`, is known to its call as `to`.
    fn rename(&mut self, id: u32, from: u32, to: u32) {
        let Some(call) = self.slot_of(id).and_then(|slot| self.calls.get_mut(slot)) else {
            return;
        };
        let own = call.streams.iter_mut().filter(|known| **known == from);
        own.for_each(|known| *known = to);
        for side in Side::BOTH {
            let holder = &mut call.tracks[side].holder;
            *holder = holder.map(|known| if known == from { to } else { known });
        }
        for copy in call.streams.clone() {
            if let Some(Owner::Copy { of, .. }) = self.streams.get_mut(copy).map(|s| &mut s.owner)
                && *of == from
            {
                *of = to;
            }
        }
    }
}

/// How much of a stream others count. A twin counts only what came `before`, as a first; any other all but that.
fn shared(stream: &Stream, before: Shared) -> Shared {
    match stream.sharing {
        Sharing::Twin => Shared {
            packets: (stream.sequence.received()).saturating_sub(before.packets),
            duplicates: stream.duplicates.saturating_sub(before.duplicates),
        },
        Sharing::Alone | Sharing::First => before,
    }
}
