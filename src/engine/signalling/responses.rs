//! Answers: provisional, final, and those whose request was not seen.

use super::*;
use crate::engine::control;
use crate::sip;

/// However often it is said that a call rings.
const LONGEST_RINGING: Duration = Duration::from_secs(3600);

impl Signalling {
    pub(super) fn handle_response(
        &mut self,
        envelope: &Envelope<'_, '_>,
        status: u16,
        orders: &mut Orders,
    ) {
        let (key, side) = match self.find(envelope) {
            Some(found) => found,
            None if self.note_other_answer(envelope, status) => return,
            None => match self.meet(envelope, status, orders) {
                Some(key) => (key, Side::Caller),
                None => return,
            },
        };
        self.touch(key, envelope);
        self.note_session(key, envelope.message);
        self.keep_message(key, envelope, orders);
        if (200..=299).contains(&status) {
            self.believe(key, envelope, orders);
        }
        let Some(leg) = self.legs.get(&key).filter(|leg| leg.is_open()) else {
            return;
        };

        let first = envelope.method == Method::Invite && side == Side::Caller && !leg.is_answered();
        if first && status < 200 {
            self.ring_on(key, envelope.time);
        }
        match (status, envelope.method) {
            (100, _) => {}
            (101..=199, Method::Invite) if first => self.handle_ringing(key, envelope),
            (200..=299, Method::Invite) if first => self.handle_answer(key, envelope, orders),
            (300..=699, Method::Invite) if first => {
                self.handle_refusal(key, envelope, status, orders)
            }
            (200..=299, Method::Invite | Method::Update | Method::Prack) => {
                self.handle_agreement(key, side, envelope);
                self.follow_identity(key, side.other(), envelope, orders);
            }
            (300..=699, Method::Invite | Method::Update) => {
                if let Some(leg) = self.legs.get_mut(&key) {
                    leg.descriptions.refuse(side, envelope.number);
                }
            }
            (_, Method::Bye) => self.handle_answer_to_bye(key, side, envelope, status),
            (300..=699, Method::Refer) => {
                self.handle_refused_refer(key, side, envelope, status, orders)
            }
            _ => {}
        }
        if status < 300 {
            let sender = side.other();
            self.heed(key, sender, envelope.message, envelope.time, None, orders);
        }
        self.replan(key, orders);
    }

    /// An answer to an INVITE that was not seen, or not yet: the mirror may show them the wrong way round, or the capture began
    /// between them. It names the parties as well as its INVITE does.
    fn meet(
        &mut self,
        envelope: &Envelope<'_, '_>,
        status: u16,
        orders: &mut Orders,
    ) -> Option<CallKey> {
        let known = self.by_call_id.contains_key(envelope.call_id);
        if known {
            self.note_foreign(envelope);
        } else if envelope.method != Method::Invite || !(101..=299).contains(&status) {
            self.counters.unknown_dialog += 1;
        } else {
            let opened = self.open_leg(envelope, Side::Caller, true);
            self.counters.calls_refused += u64::from(opened.is_none());
            if let Some(key) = opened {
                self.recall(key, envelope.time, orders);
                self.share_control(key, envelope.time, orders);
            }
            return opened;
        }
        None
    }

    /// Somebody who is called says that there is no answer yet (RFC 3261 section 13.3.1.1): it is waited for anew.
    fn ring_on(&mut self, key: CallKey, now: Timestamp) {
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        let longest = self.limits.setup.max(LONGEST_RINGING);
        let due = (now + self.limits.setup).min(leg.info.invite_at + longest);
        if leg.state == State::Ringing && !leg.cancelled && due > now {
            self.timers.set(LegTimer::Setup(key), due);
        }
    }

    fn handle_ringing(&mut self, key: CallKey, envelope: &Envelope<'_, '_>) {
        let Some(description) = self.description(envelope) else {
            return;
        };
        if let Some(leg) = self.legs.get_mut(&key) {
            leg.descriptions.set_fork(envelope.to_tag, description);
        }
    }

    /// The first 2xx: who sent it has answered.
    fn handle_answer(&mut self, key: CallKey, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        let description = self.description(envelope);
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        if leg.state == State::Ringing || matches!(leg.state, State::Refused { .. }) {
            leg.state = State::Answered;
        }
        leg.tags.callee = envelope.to_tag.to_owned();
        leg.settle(Side::Caller, envelope.number);
        leg.descriptions.choose_fork(envelope.to_tag, description);
        let info = Arc::make_mut(&mut leg.info);
        info.answered_at = Some(envelope.time);
        info.parties.callee.tag = parties::capped(envelope.to_tag);
        self.attribute_answer(key, envelope, orders);
        self.list_participants(key);
        self.note_identity(key, Side::Callee, envelope.message);
        self.timers.cancel(LegTimer::Setup(key));
        self.timers.cancel(LegTimer::Retry(key));
        self.timers
            .set(LegTimer::Idle(key), envelope.time + self.limits.idle);
        self.tell(key, orders);
    }

    /// Matches the call once more, with what its answer says of who answered.
    fn attribute_answer(&mut self, key: CallKey, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        let Some(bytes) = self.legs.get_mut(&key).and_then(|leg| leg.invite.take()) else {
            return;
        };
        if let Ok(invite) = sip::Message::parse(&bytes) {
            self.attribute_again(
                key,
                &invite,
                &envelope.request_flow(),
                Some(envelope.message),
                orders,
            );
        }
    }

    /// Matches a call against the directory it began with.
    pub(super) fn attribute_again(
        &mut self,
        key: CallKey,
        invite: &Message<'_>,
        flow: &Flow,
        answer: Option<&Message<'_>>,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        let owned: SmallVec<[TenantId; 2]> = leg.info.owners.iter().map(|o| o.tenant).collect();
        let Some(directory) = leg.directory.clone() else {
            return;
        };
        let attribution = parties::attribute(&directory, &self.sensor, flow, invite, answer);
        let info = Arc::make_mut(&mut leg.info);
        parties::name_parties(&mut info.parties, &attribution);
        info.owners = parties::owners(&directory, &self.sensor, &attribution, leg.share);
        control::apply(&info.control, &mut info.owners);
        info.attribution = Arc::new(attribution);
        let newcomers: SmallVec<[TenantId; 2]> = info
            .owners
            .iter()
            .map(|owner| owner.tenant)
            .filter(|tenant| !owned.contains(tenant))
            .collect();
        let (invited_at, now) = (info.invite_at, leg.last_at);
        self.own(key);
        self.refresh(key);
        self.count_recording(key);
        // What the INVITE asked of those whose call nobody knew it to be.
        if !newcomers.is_empty() {
            let to = Some(newcomers.as_slice());
            self.heed(key, Side::Caller, invite, invited_at, to, orders);
            self.share_control(key, now, orders);
        }
    }

    fn handle_refusal(
        &mut self,
        key: CallKey,
        envelope: &Envelope<'_, '_>,
        status: u16,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        if !leg.note_refusal(envelope.number, envelope.branch, status)
            || leg.state != State::Ringing
        {
            return;
        }
        if leg.cancelled || status == 487 {
            return self.end(key, envelope.time, EndReason::Cancelled, orders);
        }
        if !may_be_retried(status) {
            return self.end(key, envelope.time, EndReason::Rejected { status }, orders);
        }
        leg.state = State::Refused { status };
        self.timers.cancel(LegTimer::Setup(key));
        self.timers.set(LegTimer::Retry(key), envelope.time + RETRY);
    }

    /// A 2xx in mid-call: the offer it answers is in force, and so is what it says itself.
    fn handle_agreement(&mut self, key: CallKey, side: Side, envelope: &Envelope<'_, '_>) {
        let answer = self.description(envelope);
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        if !leg.settle(side, envelope.number) {
            return;
        }
        let accepted = leg.descriptions.accept(side, envelope.number).cloned();
        let offered = accepted.is_some();
        if let Some(offer) = accepted {
            self.agree(key, side, offer, true, envelope.time);
        }
        let callee_said = match side {
            Side::Caller => answer.is_some(),
            Side::Callee => offered,
        };
        match answer {
            Some(answer) if offered => self.agree_to(key, side.other(), answer, envelope.time),
            // Without an offer in the request this is the offer (late offer in a re-INVITE), and ACK brings the answer.
            Some(offer) => self.agree(key, side.other(), offer, true, envelope.time),
            None => {}
        }
        if callee_said && let Some(leg) = self.legs.get_mut(&key) {
            let tag = match side {
                Side::Caller => envelope.to_tag,
                Side::Callee => envelope.from_tag,
            };
            leg.update_fork(tag);
        }
    }
}

/// Refusals after which the same caller tries again with the same Call-ID: redirection, credentials, session timers.
fn may_be_retried(status: u16) -> bool {
    matches!(
        status,
        300..=399 | 401 | 407 | 412 | 413 | 415 | 416 | 420 | 421 | 422 | 428 | 488 | 494
    )
}
