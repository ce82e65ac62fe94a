//! Streams that appear, find their call, wait for it, or are forgotten.

use super::call::is_heard;
use super::protected::Protected;
use super::*;

/// Streams remembered at one endpoint, the latest: only these are looked at when a plan names the endpoint.
const MAX_TOUCHING: usize = 256;
/// Streams told of at a time that no call claims.
const MAX_STRAYS: usize = 256;
/// What looks like RTP and comes less often is something else.
const FEWEST_OF_A_STREAM: u64 = 10;

impl Media {
    /// Enters a new stream and looks for its call; `None` when the table is full.
    #[cold]
    pub(super) fn open_stream(
        &mut self,
        key: StreamKey,
        hash: u64,
        time: Timestamp,
        sink: &mut impl Sink,
    ) -> Option<u32> {
        while self.streams.len() >= self.limits.streams {
            if !self.evict_orphan() {
                self.counters.streams_refused += 1;
                return None;
            }
        }
        self.counters.streams_opened += 1;
        let id = self.streams.insert(Stream::new(key, time));
        let rehash = |id: &u32| {
            self.streams
                .get(*id)
                .map_or(0, |stream| self.hasher.hash_one(stream.key))
        };
        self.index.insert_unique(hash, id, rehash);
        for endpoint in [key.flow.source, key.flow.destination] {
            let touching = self
                .touching
                .entry((key.flow.vantage, endpoint))
                .or_default();
            if touching.len() == MAX_TOUCHING {
                touching.remove(0);
            }
            touching.push(id);
        }
        self.orphans.push_back((id, key));
        self.arm_sweep();
        self.find_call(id, time, sink);
        self.note_stray(id, time);
        Some(id)
    }

    /// Offers every stream that starts or ends at a place to the calls that claim it.
    pub(super) fn offer_streams_at(
        &mut self,
        vantage: Vantage,
        endpoint: Endpoint,
        now: Timestamp,
        sink: &mut impl Sink,
    ) {
        let Some(ids) = self.touching.get(&(vantage, endpoint)).cloned() else {
            return;
        };
        for id in ids {
            self.find_call(id, now, sink);
        }
    }

    /// Gives a stream to the call that it fits best, if that fits better than the one it has.
    fn find_call(&mut self, id: u32, now: Timestamp, sink: &mut impl Sink) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let Some(best) = self.best_candidate(stream) else {
            return;
        };
        match stream.owner {
            Owner::Call { slot, .. } | Owner::Copy { slot, .. }
                if !self.moves(stream, slot, best) =>
            {
                return self.share(id, None, now, sink);
            }
            Owner::Call { .. } | Owner::Copy { .. } | Owner::Ended => self.part(id),
            Owner::Nobody => {}
        }
        let has_kin = |call: &MediaCall| !call.plan.kin.is_empty();
        let kept = match self.calls.get(best.slot).is_some_and(has_kin) {
            true => self.streams.get(id).map(|stream| stream.kept.clone()),
            false => None,
        };
        self.forget_earlier(id, best.slot, now);
        self.bind(id, best, now, sink);
        if kept.is_some() {
            self.share(id, kept, now, sink);
        }
    }

    /// Whether a stream of the call in `slot` is another call's from now on.
    fn moves(&self, stream: &Stream, slot: u32, best: Candidate) -> bool {
        if slot == best.slot || self.has_twin(stream, best.slot) {
            return false;
        }
        let flow = &stream.key.flow;
        let candidates = self
            .endpoints
            .candidates(flow.vantage, flow.source, flow.destination);
        let mut known = candidates.iter();
        // Of those that know both its ends it was weighed against each other: see `best_candidate`.
        let is_weighed = known.any(|candidate| candidate.slot == slot && candidate.is_whole);
        best.exact && is_weighed || stream.score < best.score || self.is_reused_by(slot, best)
    }

    /// Takes from a stream what cannot be of the call in `slot`, whose signalling came `now`: the ports were another call's, whose
    /// signalling was not seen, and its audio is nobody's.
    pub(super) fn forget_earlier(&mut self, id: u32, slot: u32, now: Timestamp) {
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get(slot)) else {
            return;
        };
        let (since, oldest) = (call.plan.since, now - self.limits.keep);
        let earlier = stream.kept_before(since, oldest);
        let is_all_earlier = stream.kept.is_empty()
            && stream.sequence.received() > 0
            && stream.last_at < oldest.max(since);
        if earlier == 0 && !is_all_earlier {
            return;
        }
        let (mut kept, bytes) = stream.take_kept();
        self.kept_bytes -= bytes;
        kept.drain(..earlier);
        self.counters.unclaimed += earlier as u64;
        if stream.owner == Owner::Nobody
            && stream.sharing != Sharing::Twin
            && stream.sequence.received() >= FEWEST_OF_A_STREAM
        {
            self.counters.streams_unclaimed += 1;
            self.vantages.note_unclaimed(&(&*stream).into());
        }
        self.kept_bytes += stream.begin_anew(kept, now);
    }

    /// Whether a later dialog names both ends of a stream: the ports of the call in `slot`, whose BYE was lost, are used again.
    fn is_reused_by(&self, slot: u32, best: Candidate) -> bool {
        let since = |slot| self.calls.get(slot).map(|call| call.plan.since);
        best.exact && since(best.slot) > since(slot)
    }

    /// Ends what a stream was to its call: the call keeps a report of it, and it starts to count anew.
    pub(super) fn part(&mut self, id: u32) {
        match self.streams.get(id).map(|stream| stream.sharing) {
            Some(Sharing::Twin) => return self.let_twin_go(id),
            Some(Sharing::First) => self.drop_twins(id),
            Some(Sharing::Alone) | None => {}
        }
        self.drop_protection(id);
        let copies = self.leave(id);
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let (last_at, key) = (stream.last_at, stream.key);
        *stream = Stream::new(key, last_at);
        self.twins.forget_counts(id);
        self.orphans.push_back((id, key));
        self.arm_sweep();
        // What they are copies of is another call's, and so are they: it will find them too.
        copies.into_iter().for_each(|copy| self.part(copy));
    }

    /// Takes a stream out of its call, which keeps a report of it. Gives back the streams that are copies of it.
    pub(super) fn leave(&mut self, id: u32) -> SmallVec<[u32; 2]> {
        let mut copies: SmallVec<[u32; 2]> = SmallVec::new();
        let Some(stream) = self.streams.get(id) else {
            return copies;
        };
        let report = match stream.owner {
            Owner::Call { side, .. } if stream.is_reported() => Some(self.report(id, stream, side)),
            _ => None,
        };
        if let Owner::Call { slot, .. } | Owner::Copy { slot, .. } = stream.owner
            && let Some(call) = self.calls.get_mut(slot)
        {
            call.streams.retain(|other| *other != id);
            for side in Side::BOTH {
                let holder = &mut call.tracks[side].holder;
                *holder = holder.filter(|holder| *holder != id);
            }
            copies.extend_from_slice(&call.streams);
            if call.departed.len() < MAX_STREAMS {
                call.departed.extend(report);
            }
        }
        if let Some(stream) = self.streams.get_mut(id) {
            let is_lost = stream.sharing != Sharing::Twin || stream.is_owned();
            let (kept, bytes) = stream.take_kept();
            let held = stream.pacing.drop_held();
            self.kept_bytes -= bytes + held.bytes;
            let packets = kept.len() as u64 + held.packets;
            self.counters.not_placed += if is_lost { packets } else { 0 };
        }
        copies.retain(|copy| {
            let owner = self.streams.get(*copy).map(|stream| stream.owner);
            matches!(owner, Some(Owner::Copy { of, .. }) if of == id)
        });
        copies
    }

    /// A stream whose call was over long ago begins again: whose is it now?
    #[cold]
    pub(super) fn revive(&mut self, id: u32, time: Timestamp, sink: &mut impl Sink) {
        if let Some(stream) = self.streams.get_mut(id) {
            *stream = Stream::new(stream.key, time);
        }
        self.find_call(id, time, sink);
        self.note_stray(id, time);
    }

    /// A stream began: told of, where no call claims it.
    fn note_stray(&mut self, id: u32, time: Timestamp) {
        if self.watches
            && self.strays.len() < MAX_STRAYS
            && let Some(stream) = self.streams.get(id)
            && stream.owner == Owner::Nobody
        {
            self.strays.push((time, stream.key.flow, stream.key.ssrc));
        }
    }

    /// The call that a stream is likeliest of. Of those that name both its ends the one that has it, or for which most of the ends speak,
    /// unless another one displaces it.
    fn best_candidate(&self, stream: &Stream) -> Option<Candidate> {
        let flow = &stream.key.flow;
        let mut candidates: SmallVec<[(Candidate, CallKey); 4]> = self
            .endpoints
            .candidates(flow.vantage, flow.source, flow.destination)
            .into_iter()
            .filter_map(|candidate| self.weigh(stream, candidate))
            .collect();
        candidates.sort_by_key(|(_, key)| *key);
        let owner = match stream.owner {
            Owner::Call { slot, .. } | Owner::Copy { slot, .. } => Some(slot),
            Owner::Nobody | Owner::Ended => None,
        };
        let all = || candidates.iter().map(|(candidate, _)| *candidate);
        if !all().any(|candidate| candidate.exact) {
            let best = candidates
                .iter()
                .max_by_key(|(candidate, key)| (candidate.score, *key));
            return best.map(|(candidate, _)| *candidate);
        }
        let is_owner = |candidate: &Candidate| Some(candidate.slot) == owner && candidate.is_whole;
        let words =
            |candidate: &Candidate| self.own_word_count(candidate.slot, candidate.sender, flow);
        let audience = |candidate: &Candidate| {
            let call = self.calls.get(candidate.slot);
            call.map(|call| call.plan.audience)
        };
        let exact = || all().filter(|candidate| candidate.exact);
        // Of legs of which the same tenants get the one that has it, the latest has it: it goes to who answers.
        let spoken_for = || {
            let first = exact().min_by_key(|candidate| std::cmp::Reverse(words(candidate)))?;
            let is_like = |other: &Candidate| {
                words(other) == words(&first) && audience(other) == audience(&first)
            };
            exact().rfind(is_like)
        };
        let first = all().find(is_owner).or_else(spoken_for)?;
        let others = all().filter(|candidate| candidate.exact && candidate.slot != first.slot);
        let best = others.fold(first, |best, other| {
            match self.displaces(stream, other, best) {
                true => other,
                false => best,
            }
        });
        Some(best)
    }

    /// Adds to a candidate's score what the call itself says for or against it; `None` where it cannot be.
    fn weigh(&self, stream: &Stream, mut candidate: Candidate) -> Option<(Candidate, CallKey)> {
        let call = self.calls.get(candidate.slot)?;
        let ran_before = stream.first_at + self.limits.keep < call.plan.since;
        if candidate.score < BOTH_ENDS && (ran_before || stream.owner == Owner::Ended) {
            return None;
        }
        let flow = &stream.key.flow;
        if self.owns_flow(call, &flow.reversed(), candidate.sender.other()) {
            candidate.score += 1;
        }
        let holder = call.tracks[candidate.sender]
            .holder
            .and_then(|id| self.streams.get(id));
        if holder.is_some_and(|holder| holder.key.flow != *flow && is_heard(holder, stream.last_at))
        {
            candidate.score = candidate.score.saturating_sub(3);
        }
        Some((candidate, call.plan.call))
    }

    pub(super) fn owns_flow(&self, call: &MediaCall, flow: &Flow, sender: Side) -> bool {
        call.streams
            .iter()
            .filter_map(|&id| self.streams.get(id))
            .any(|stream| {
                stream.key.flow == *flow
                    && matches!(stream.owner, Owner::Call { side, .. } if side == sender)
            })
    }

    pub(super) fn bind(&mut self, id: u32, to: Candidate, now: Timestamp, sink: &mut impl Sink) {
        let original = self.original_of(id, to.slot);
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get_mut(to.slot))
        else {
            return;
        };
        if call.streams.len() == MAX_STREAMS {
            return;
        }
        stream.owner = match original {
            Some(of) => Owner::Copy { of, slot: to.slot },
            None => Owner::Call {
                slot: to.slot,
                side: to.sender,
            },
        };
        stream.score = to.score;
        stream.ordinal = call.next_ordinal;
        call.next_ordinal = call.next_ordinal.wrapping_add(1);
        stream.mean(None);
        stream.unplace();
        call.streams.push(id);
        let (kept, bytes) = stream.take_kept();
        self.kept_bytes -= bytes;
        let flow = stream.key.flow;
        if let Some(of) = original {
            for packet in &kept {
                let arrived = packet.arrived(&mut self.payloads);
                self.handle_copy(id, of, arrived, sink);
            }
            return;
        }
        let learned = call.learn(&flow, to.sender);
        let protection = &call.plan.sides[to.sender].protection;
        if let Some(protected) = Protected::of(protection, false) {
            stream.count_anew();
            stream.protected = Some(Box::new(protected));
        }
        let is_protected = stream.protected.is_some();
        for packet in &kept {
            if is_protected {
                self.take_sealed(id, packet.time, &packet.bytes, sink);
            } else {
                let arrived = packet.arrived(&mut self.payloads);
                self.handle_owned(id, to.slot, to.sender, arrived, sink);
            }
        }
        if let Some((vantage, endpoint, side)) = learned {
            self.endpoints.insert(
                vantage,
                endpoint,
                Receiver {
                    slot: to.slot,
                    side,
                    learned: true,
                },
            );
            self.offer_streams_at(vantage, endpoint, now, sink);
        }
    }

    /// The stream of a call that another one is seen to be at a second vantage.
    fn original_of(&self, id: u32, slot: u32) -> Option<u32> {
        let (stream, call) = (self.streams.get(id)?, self.calls.get(slot)?);
        let is_original = |of: &u32| {
            let original = self.streams.get(*of);
            original.is_some_and(|original| {
                matches!(original.owner, Owner::Call { .. }) && stream.is_copy_of(original)
            })
        };
        call.streams.iter().copied().find(is_original)
    }

    /// Keeps a packet for the signalling that may yet come, and lets go of what is too old or too much.
    pub(super) fn keep_orphan(&mut self, id: u32, arrived: Arrived) {
        let stream = self.streams.get_mut(id).expect("the caller found it");
        self.kept_bytes += stream.keep(arrived.keep_whole(&self.payloads));
        while stream
            .kept
            .front()
            .is_some_and(|oldest| oldest.time + self.limits.keep < arrived.time)
        {
            self.kept_bytes -= stream.drop_oldest_kept();
            self.counters.unclaimed += 1;
        }
        while self.kept_bytes > self.limits.kept_bytes && self.drop_kept_of_oldest() {}
    }

    /// Lets the oldest orphan's packets go; `false` when no orphan has any.
    fn drop_kept_of_oldest(&mut self) -> bool {
        for _ in 0..self.orphans.len() {
            let Some((id, key)) = self.orphans.pop_front() else {
                return false;
            };
            let Some(stream) = self.streams.get_mut(id).filter(|s| s.key == key) else {
                continue;
            };
            if stream.is_owned() {
                continue;
            }
            self.orphans.push_back((id, key));
            if !stream.kept.is_empty() {
                let (kept, bytes) = stream.take_kept();
                self.kept_bytes -= bytes;
                stream.not_placed += kept.len() as u64;
                self.counters.unclaimed += kept.len() as u64;
                return true;
            }
        }
        false
    }

    /// Forgets the oldest stream without a call; `false` when there is none.
    pub(super) fn evict_orphan(&mut self) -> bool {
        while let Some((id, key)) = self.orphans.pop_front() {
            if self
                .streams
                .get(id)
                .is_some_and(|s| s.key == key && !s.is_owned())
            {
                self.forget(id);
                return true;
            }
        }
        false
    }

    fn forget(&mut self, id: u32) {
        let Some(stream) = self.streams.remove(id) else {
            return;
        };
        let waiting = stream.protected.as_ref().map_or(0, |p| p.waiting_bytes());
        self.kept_bytes -= stream.kept_bytes + waiting;
        self.counters.unclaimed += stream.kept.len() as u64;
        if stream.owner == Owner::Nobody && stream.sequence.received() >= FEWEST_OF_A_STREAM {
            self.counters.streams_unclaimed += 1;
            self.vantages.note_unclaimed(&(&stream).into());
        }
        let hash = self.hasher.hash_one(stream.key);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        let flow = stream.key.flow;
        for endpoint in [flow.source, flow.destination] {
            if let Some(ids) = self.touching.get_mut(&(flow.vantage, endpoint)) {
                if let Some(at) = ids.iter().position(|other| *other == id) {
                    ids.remove(at);
                }
                if ids.is_empty() {
                    self.touching.remove(&(flow.vantage, endpoint));
                }
            }
        }
    }

    pub(super) fn arm_sweep(&mut self) {
        if !self.timers.is_set(MediaTimer::Sweep)
            && let Some((id, _)) = self.orphans.back()
        {
            let now = self
                .streams
                .get(*id)
                .map_or(Timestamp::MIN, |stream| stream.last_at);
            self.timers.set(MediaTimer::Sweep, now + SWEEP_EVERY);
        }
    }

    /// Forgets streams without a call that were quiet for long.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        let mut oldest = Timestamp::MAX;
        for _ in 0..self.orphans.len() {
            let Some((id, key)) = self.orphans.pop_front() else {
                break;
            };
            let Some(stream) = self.streams.get(id).filter(|s| s.key == key) else {
                continue;
            };
            match stream.owner {
                Owner::Call { .. } | Owner::Copy { .. } => {}
                _ if stream.last_at + FORGET < now => self.forget(id),
                _ => {
                    oldest = oldest.min(stream.last_at);
                    self.orphans.push_back((id, key));
                }
            }
        }
        // Not before the oldest can be forgotten: a capture may jump by years.
        if !self.orphans.is_empty() {
            self.timers
                .set(MediaTimer::Sweep, now.max(oldest) + SWEEP_EVERY);
        }
    }
}
