//! Calls that ended for lack of media, and go on: both sides said nothing for long, and sent nothing either.
//!
//! Such a call is remembered by the streams it had, for as long as a silent call is followed. When one of them goes on, or its
//! dialog agrees on media anew, a second call begins where it stopped, with its parties and owners, and is linked to it. A BYE ends
//! that, and so does another call on one of its ports.

use super::*;
use crate::engine::event::LinkReason;
use crate::engine::interactions::Facts;

/// Calls remembered at a time; beyond it the oldest goes.
const MAX_ASLEEP: usize = 1024;
/// Streams that one is known by.
const MAX_STREAMS: usize = 8;

/// A stream: where it goes, and its SSRC.
pub(super) type StreamName = (Flow, u32);

#[derive(Debug, Default)]
pub(super) struct Asleep {
    by_stream: WireMap<StreamName, CallKey>,
    /// The oldest first.
    order: VecDeque<CallKey>,
}

impl Signalling {
    /// Remembers by which streams a call that just ended is known, if it may go on.
    pub fn remember_streams(
        &mut self,
        call: CallKey,
        streams: impl IntoIterator<Item = (Flow, u32)>,
    ) {
        let Some(streams_of) = self.legs.get_mut(&call).and_then(|leg| leg.asleep.as_mut()) else {
            return;
        };
        streams_of.extend(streams.into_iter().take(MAX_STREAMS));
        for name in streams_of {
            self.asleep.by_stream.insert(*name, call);
        }
        self.asleep.order.push_back(call);
        if self.asleep.order.len() > MAX_ASLEEP
            && let Some(&oldest) = self.asleep.order.front()
        {
            self.lay_to_rest(oldest);
        }
    }

    /// Whether streams that no call claims are of interest.
    pub fn has_asleep(&self) -> bool {
        !self.asleep.by_stream.is_empty()
    }

    /// A stream began, or went on, that no call claims.
    pub fn hear_stray(&mut self, time: Timestamp, flow: &Flow, ssrc: u32, orders: &mut Orders) {
        if let Some(&key) = self.asleep.by_stream.get(&(*flow, ssrc)) {
            self.wake(key, time, orders);
        }
    }

    /// Whether a request that may be forged would have a call go on.
    pub(super) fn is_doubtful_asleep(
        &self,
        key: CallKey,
        by: Side,
        envelope: &Envelope<'_, '_>,
    ) -> bool {
        let leg = self.legs.get(&key).filter(|leg| leg.asleep.is_some());
        leg.is_some_and(|leg| leg.is_doubtful(by, envelope))
    }

    /// What a request within a dialog is for: the call that goes on, where it agrees on media anew.
    pub(super) fn wake_for(
        &mut self,
        key: CallKey,
        envelope: &Envelope<'_, '_>,
        orders: &mut Orders,
    ) -> CallKey {
        let is_asleep = self.legs.get(&key).is_some_and(|leg| leg.asleep.is_some());
        match envelope.method {
            Method::Invite | Method::Update if is_asleep && !envelope.to_tag.is_empty() => {
                self.wake(key, envelope.time, orders).unwrap_or(key)
            }
            Method::Bye if is_asleep => {
                self.lay_to_rest(key);
                key
            }
            _ => key,
        }
    }

    /// Goes on with a call, as another one.
    fn wake(&mut self, before: CallKey, time: Timestamp, orders: &mut Orders) -> Option<CallKey> {
        let info = self.legs.get(&before)?.info.resumed(time)?;
        if self.open >= self.limits.calls {
            self.counters.calls_refused += 1;
            return None;
        }
        let key = CallKey(self.next_key);
        self.next_key += 1;
        self.counters.calls += 1;
        self.open += 1;
        self.release_places(before);
        let leg = self.legs.get_mut(&before)?.resume(key, info)?;
        if let Some(keys) = self.by_call_id.get_mut(&leg.call_id) {
            keys.push(key);
        }
        self.legs.insert(key, Box::new(leg));
        self.count_recording(key);
        self.enter_again(before, key);
        self.lay_to_rest(before);
        for (timer, after) in [
            (LegTimer::Idle(key), self.limits.idle),
            (LegTimer::TooLong(key), self.limits.longest_call),
            (LegTimer::Forget(before), FORGET),
        ] {
            self.timers.set(timer, time + after);
        }
        self.tell(key, orders);
        // What was paused, or not to be recorded, is not because nobody spoke.
        self.recall(key, time, orders);
        self.replan(key, orders);
        Some(key)
    }

    /// Enters a call that goes on among the interactions.
    fn enter_again(&mut self, before: CallKey, key: CallKey) {
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        let number = |side: Side| leg.info.parties[side].number.as_str();
        let facts = Facts {
            began: leg.info.invite_at,
            call_id: &leg.call_id,
            vantage: leg.info.vantage,
            source: leg.route.source,
            destination: leg.route.destination,
            caller: [number(Side::Caller)].into_iter().collect(),
            callee: [number(Side::Callee)].into_iter().collect(),
            session_ids: SmallVec::new(),
            headers: SmallVec::new(),
            referred_by: None,
            alone: leg.info.interaction,
            seed: leg.info.seed,
        };
        self.interactions.open(key, &facts);
        drop(facts);
        self.interactions.link(before, key, LinkReason::CallId);
        self.own(key);
        self.refresh(key);
    }

    /// A call that might have gone on does not.
    pub(super) fn lay_to_rest(&mut self, key: CallKey) {
        self.release_places(key);
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        let Some(streams) = leg.asleep.take() else {
            return;
        };
        leg.bury();
        for name in streams {
            if self.asleep.by_stream.get(&name) == Some(&key) {
                self.asleep.by_stream.remove(&name);
            }
        }
        self.asleep.order.retain(|other| *other != key);
    }
}

impl CallInfo {
    /// Of the call that goes on at `time`: its parties as they are, for whoever still has it. `None` where nobody does.
    fn resumed(&self, time: Timestamp) -> Option<CallInfo> {
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(&time.as_nanos().to_le_bytes());
        let seed = *hasher.finalize().as_bytes();
        let mut info = CallInfo {
            invite_at: time,
            answered_at: Some(time),
            seed,
            interaction: InteractionId(time_ordered(time, opening::first_ten(&seed))),
            links: Vec::new(),
            transfers: Vec::new(),
            held_by: PerSide::default(),
            ..self.clone()
        };
        info.owners.retain(|owner| owner.until.is_none());
        info.participants.retain(|p| p.to.is_none());
        for participant in &mut info.participants {
            participant.from = time;
        }
        (!info.owners.is_empty()).then_some(info)
    }
}
