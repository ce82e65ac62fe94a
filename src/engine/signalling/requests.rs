//! Requests: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK.

use super::*;
use crate::directory::Verdict;

/// An INVITE kept until its answer has been matched too.
const MAX_INVITE: usize = 32 << 10;

fn keep_invite(envelope: &Envelope<'_, '_>) -> Option<Box<[u8]>> {
    (envelope.bytes.len() <= MAX_INVITE).then(|| envelope.bytes.into())
}

impl Signalling {
    pub(super) fn handle_request(&mut self, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        let found = self.find(envelope);
        if found.is_some_and(|(key, side)| self.is_doubtful_asleep(key, side, envelope)) {
            return self.note_foreign(envelope);
        }
        let found = found.map(|(key, side)| (self.wake_for(key, envelope, orders), side));
        if envelope.method == Method::Invite {
            return self.handle_invite(envelope, found, orders);
        }
        let Some((key, side)) = found.or_else(|| self.find_answer(envelope)) else {
            if !self.note_other_dialog(envelope) {
                self.handle_stray(envelope, orders);
            }
            return;
        };
        if self.doubts(key, side, envelope, orders) {
            return;
        }
        self.keep_message(key, envelope, orders);
        self.act_on(key, side, envelope, orders);
    }

    /// Does what a request within a call's dialog asks.
    pub(super) fn act_on(
        &mut self,
        key: CallKey,
        side: Side,
        envelope: &Envelope<'_, '_>,
        orders: &mut Orders,
    ) {
        self.touch(key, envelope);
        self.heed(key, side, envelope.message, envelope.time, None, orders);
        match envelope.method {
            Method::Bye if self.goes_on_with_another(key) => {}
            Method::Bye => self.handle_bye(key, side, envelope),
            Method::Cancel => self.handle_cancel(key),
            Method::Ack | Method::Prack => {
                self.handle_ack(key, side, envelope);
                if let Some(description) = self.description(envelope) {
                    self.agree_to(key, side, description, envelope.time);
                }
            }
            Method::Invite | Method::Update => {
                if let Some(leg) = self.legs.get_mut(&key)
                    && envelope.method == Method::Invite
                {
                    leg.reinvited = Some((side, envelope.number));
                }
                self.handle_offer(key, side, envelope);
                self.follow_identity(key, side, envelope, orders);
            }
            Method::Info => self.handle_info(key, side, envelope, orders),
            Method::Refer => {
                self.handle_refer(key, side, envelope);
                self.tell(key, orders);
            }
            _ => {}
        }
        self.replan(key, orders);
    }

    /// The leg whose caller acknowledges another answer than the first that was seen.
    fn find_answer(&self, envelope: &Envelope<'_, '_>) -> Option<(CallKey, Side)> {
        let leg = self.forking(envelope).filter(|leg| !leg.acknowledged)?;
        let answered = leg
            .other_answers
            .iter()
            .any(|answer| *answer.tag == *envelope.to_tag);
        (envelope.method == Method::Ack && answered).then_some((leg.key, Side::Caller))
    }

    /// An ACK says which of several answers is the call (RFC 3261 section 13.2.2.4). Without a 2xx it says nothing.
    fn handle_ack(&mut self, key: CallKey, side: Side, envelope: &Envelope<'_, '_>) {
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        let of_answer = leg.state == State::Answered && !leg.acknowledged;
        if envelope.method == Method::Ack && side == Side::Caller && of_answer {
            leg.acknowledge(envelope.to_tag);
            Arc::make_mut(&mut leg.info).parties.callee.tag = parties::capped(envelope.to_tag);
        }
    }

    /// A request in a dialog that is not known.
    fn handle_stray(&mut self, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        if self.by_call_id.contains_key(envelope.call_id) {
            self.note_foreign(envelope);
        } else if envelope.method == Method::Update && !envelope.to_tag.is_empty() {
            self.join(envelope, orders);
        } else {
            self.counters.unknown_dialog += 1;
        }
    }

    fn handle_invite(
        &mut self,
        envelope: &Envelope<'_, '_>,
        found: Option<(CallKey, Side)>,
        orders: &mut Orders,
    ) {
        // A callee that leaves the caller's tag out has none in To, and a dialog all the same.
        if !envelope.to_tag.is_empty() || matches!(found, Some((_, Side::Callee))) {
            return match found {
                Some((key, side)) if self.doubts(key, side, envelope, orders) => {}
                Some((key, side)) => {
                    self.keep_message(key, envelope, orders);
                    self.act_on(key, side, envelope, orders);
                }
                None if self.by_call_id.contains_key(envelope.call_id) => {
                    self.note_foreign(envelope)
                }
                None => self.join(envelope, orders),
            };
        }
        let found = found
            .map(|(key, _)| key)
            .or_else(|| self.adopt_retry(envelope));
        match found.and_then(|key| self.legs.get(&key)) {
            None => self.begin(envelope, orders),
            Some(leg) if leg.is_open() => {
                let key = leg.key;
                if !self.doubts(key, Side::Caller, envelope, orders) {
                    self.repeat_invite(key, envelope, orders);
                }
            }
            // Over: an old INVITE once more, or a new call with an old name.
            Some(leg) if leg.knows_invite(envelope.number, envelope.branch) => {}
            Some(_) => self.begin(envelope, orders),
        }
    }

    /// The leg that was refused and is tried again under a new From tag, as some phones do when asked for credentials.
    fn adopt_retry(&mut self, envelope: &Envelope<'_, '_>) -> Option<CallKey> {
        let keys = self.by_call_id.get(envelope.call_id)?;
        let waiting = |leg: &&Leg| {
            let here = leg.vantages.contains(&envelope.flow.vantage);
            let newer = leg.transactions.iter().all(|t| t.number < envelope.number);
            here && newer && matches!(leg.state, State::Refused { .. })
        };
        let key = keys
            .iter()
            .filter_map(|key| self.legs.get(key).map(|leg| &**leg))
            .find(waiting)?
            .key;
        self.legs.get_mut(&key)?.tags.caller = envelope.from_tag.to_owned();
        Some(key)
    }

    /// First news of a call.
    fn begin(&mut self, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        let Some(key) = self.open_leg(envelope, Side::Caller, true) else {
            return self.refuse(envelope, orders);
        };
        let description = self.description(envelope);
        let leg = self.legs.get_mut(&key).expect("it was entered just now");
        leg.note_invite(
            envelope.number,
            envelope.branch,
            envelope.flow,
            envelope.time,
        );
        leg.descriptions.agreed.caller = description;
        leg.invite = keep_invite(envelope);
        self.tell(key, orders);
        self.keep_message(key, envelope, orders);
        self.heed(
            key,
            Side::Caller,
            envelope.message,
            envelope.time,
            None,
            orders,
        );
        self.share_control(key, envelope.time, orders);
        self.replan(key, orders);
    }

    /// The same call again: retransmitted, at the next hop, with credentials, or seen after its answer.
    fn repeat_invite(&mut self, key: CallKey, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        self.touch(key, envelope);
        self.keep_message(key, envelope, orders);
        self.heed(
            key,
            Side::Caller,
            envelope.message,
            envelope.time,
            None,
            orders,
        );
        let description = self.description(envelope);
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        let at_another_vantage =
            leg.vantages.len() > 1 && leg.knows_invite(envelope.number, envelope.branch);
        if at_another_vantage {
            if let Some(known) = leg.transaction(envelope.number, envelope.branch) {
                known.hops.add(envelope.flow);
            }
            return self.see_mirrored(key, envelope, orders);
        }
        let newer = leg.transactions.iter().all(|t| t.number < envelope.number);
        let met_by_answer = leg.transactions.is_empty() && leg.from_start;
        if !leg.note_invite(
            envelope.number,
            envelope.branch,
            envelope.flow,
            envelope.time,
        ) {
            return;
        }
        if let State::Refused { .. } = leg.state {
            leg.state = State::Ringing;
            self.timers.cancel(LegTimer::Retry(key));
            self.timers
                .set(LegTimer::Setup(key), envelope.time + self.limits.setup);
        }
        if leg.invite.is_none() && !leg.is_answered() {
            leg.invite = keep_invite(envelope);
        }
        // A proxy's copy may name another address than the phone's own INVITE: the first one is the phone's.
        if newer || leg.descriptions.agreed.caller.is_none() {
            leg.descriptions.agreed.caller = description.or(leg.descriptions.agreed.caller.take());
        }
        if met_by_answer {
            // Its answer named the parties; the INVITE knows them better.
            self.attribute_again(
                key,
                envelope.message,
                &envelope.request_flow(),
                None,
                orders,
            );
            self.list_participants(key);
            self.note_identity(key, Side::Caller, envelope.message);
            self.tell(key, orders);
        }
        self.replan(key, orders);
    }

    /// The same INVITE at another vantage: media is expected there too, and what the vantage says may tell whose call it is.
    fn see_mirrored(&mut self, key: CallKey, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        let nobodys = self.legs.get(&key).is_some_and(|leg| {
            leg.info.attribution.verdict == Verdict::Nobody && !leg.is_answered()
        });
        if nobodys {
            self.attribute_again(
                key,
                envelope.message,
                &envelope.request_flow(),
                None,
                orders,
            );
            self.list_participants(key);
            self.tell(key, orders);
        }
        self.replan(key, orders);
    }

    /// A call that was under way when the capture began: its parties are those of the request, whoever called whom.
    fn join(&mut self, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        let Some(key) = self.open_leg(envelope, Side::Caller, false) else {
            return self.refuse(envelope, orders);
        };
        let time = envelope.time;
        let leg = self.legs.get_mut(&key).expect("it was entered just now");
        leg.state = State::Answered;
        Arc::make_mut(&mut leg.info).answered_at = Some(time);
        self.timers.cancel(LegTimer::Setup(key));
        self.timers
            .set(LegTimer::Idle(key), time + self.limits.idle);
        self.handle_offer(key, Side::Caller, envelope);
        self.tell(key, orders);
        self.keep_message(key, envelope, orders);
        self.recall(key, time, orders);
        self.share_control(key, time, orders);
        self.heed(key, Side::Caller, envelope.message, time, None, orders);
        self.replan(key, orders);
    }

    /// An offer in mid-call (RFC 3264 section 8, RFC 3311), in force once it is answered.
    fn handle_offer(&mut self, key: CallKey, side: Side, envelope: &Envelope<'_, '_>) {
        let Some(description) = self.description(envelope) else {
            return;
        };
        if let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) {
            leg.descriptions.pending = Some(Box::new((side, envelope.number, description)));
        }
    }

    /// An answer is in force. One that is not asked to keep still, and does, holds of its own will.
    pub(super) fn agree_to(
        &mut self,
        key: CallKey,
        side: Side,
        answer: Description,
        at: Timestamp,
    ) {
        let offer = self
            .legs
            .get(&key)
            .filter(|leg| leg.is_answered())
            .and_then(|leg| leg.descriptions.agreed[side.other()].as_ref());
        let by_choice = offer.is_some_and(Description::leaves_choice);
        self.agree(key, side, answer, by_choice, at);
    }

    /// What one side says is in force.
    pub(super) fn agree(
        &mut self,
        key: CallKey,
        side: Side,
        said: Description,
        offer: bool,
        at: Timestamp,
    ) {
        if let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) {
            leg.follow_hold(side, &said, offer, at);
            leg.descriptions.agreed[side] = Some(said);
        }
    }

    pub(super) fn handle_bye(&mut self, key: CallKey, by: Side, envelope: &Envelope<'_, '_>) {
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        // Before the answer is seen, a BYE ends the call all the same: its 200 was lost.
        if matches!(
            leg.state,
            State::Ending(_) | State::Over | State::Refused { .. }
        ) {
            return;
        }
        leg.state = State::Ending(Bye {
            by,
            at: envelope.time,
            number: envelope.number,
            from_ringing: leg.state == State::Ringing,
            is_agreed: false,
        });
        self.timers
            .set(LegTimer::Linger(key), envelope.time + LINGER);
    }

    /// Takes the answer to the BYE that ends a leg. One that is refused ends nothing, and is mostly sent again with credentials; to a
    /// peer that knows of no such dialog, or says nothing, the call is over all the same (RFC 3261 section 15.1.1).
    pub(super) fn handle_answer_to_bye(
        &mut self,
        key: CallKey,
        asked: Side,
        envelope: &Envelope<'_, '_>,
        status: u16,
    ) {
        let Some(State::Ending(bye)) = self.legs.get_mut(&key).map(|leg| &mut leg.state) else {
            return self.infer_bye(key, asked, envelope, status);
        };
        if (bye.by, bye.number) != (asked, envelope.number) {
            return;
        }
        match status {
            300..=699 if !matches!(status, 408 | 481) => self.go_on(key),
            200..=699 => {
                bye.is_agreed = true;
                self.interactions.part(key);
            }
            _ => {}
        }
    }

    /// Goes on with a leg whose BYE was none.
    pub(super) fn go_on(&mut self, key: CallKey) {
        let Some(state) = self.legs.get_mut(&key).map(|leg| &mut leg.state) else {
            return;
        };
        *state = match state {
            State::Ending(bye) if bye.from_ringing => State::Ringing,
            _ => State::Answered,
        };
        self.timers.cancel(LegTimer::Linger(key));
    }

    /// Notes that a leg is alive, and where.
    pub(super) fn touch(&mut self, key: CallKey, envelope: &Envelope<'_, '_>) {
        if let Some(leg) = self.legs.get_mut(&key) {
            leg.last_at = leg.last_at.max(envelope.time);
            if leg.is_open() {
                leg.add_vantage(envelope.flow.vantage);
                // In From is who asked, in the request as in its answer.
                let asked = if envelope.from_tag == leg.tags.caller {
                    Side::Caller
                } else {
                    Side::Callee
                };
                let is_request = envelope.is_request();
                let sender = if is_request { asked } else { asked.other() };
                let follows = is_request && follows_an_answer(envelope.method);
                leg.seen.note(sender, follows);
            }
        }
    }
}

/// Whether a request is only sent to who has answered one before.
fn follows_an_answer(method: Method) -> bool {
    use Method::{Ack, Bye, Prack, Update};
    matches!(method, Ack | Bye | Prack | Update)
}
