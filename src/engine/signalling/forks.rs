//! Several phones that answer one INVITE.
//!
//! The caller acknowledges every answer and ends all but one (RFC 3261 section 13.2.2.4). The call is with the phone that was
//! acknowledged first, or answered first where no ACK is seen; if that one is ended while another goes on, with the other.

use super::*;

/// Answers to one INVITE that are told apart.
const MAX_ANSWERS: usize = 32;

/// One more phone that answered.
#[derive(Clone, Debug)]
pub struct OtherAnswer {
    pub tag: Box<str>,
    pub description: Option<Description>,
    pub acknowledged: bool,
}

impl Leg {
    /// Notes one more phone that answered, or a proxy that answers under a tag of its own.
    pub fn note_other_answer(&mut self, tag: &str, description: Option<Description>) {
        if let Some(description) = &description
            && !self.acknowledged
        {
            self.descriptions.set_fork(tag, description.clone());
        }
        if self.other_answers.len() < MAX_ANSWERS && self.other_answer(tag).is_none() {
            self.other_answers.push(OtherAnswer {
                tag: tag.into(),
                description,
                acknowledged: false,
            });
        }
    }

    /// A phone that rings with `tag` has agreed on other media since it said the first (RFC 3311): its answer may say nothing more.
    pub fn update_fork(&mut self, tag: &str) {
        if !self.is_answered()
            && let Some(description) = self.descriptions.agreed.callee.clone()
        {
            self.descriptions.set_fork(tag, description);
        }
    }

    pub fn other_answer(&mut self, tag: &str) -> Option<&mut OtherAnswer> {
        self.other_answers
            .iter_mut()
            .find(|answer| *answer.tag == *tag)
    }

    /// The caller acknowledged the answer with `tag`: of several, that is the call.
    pub fn acknowledge(&mut self, tag: &str) {
        if tag != self.tags.callee {
            let before = OtherAnswer {
                tag: self.tags.callee.as_str().into(),
                description: self.descriptions.agreed.callee.clone(),
                acknowledged: false,
            };
            self.other_answers.retain(|answer| *answer.tag != *tag);
            self.other_answers.push(before);
            self.tags.callee = tag.to_owned();
            self.descriptions.choose_fork(tag, None);
        }
        self.acknowledged = true;
        self.descriptions.forks.clear();
    }

    /// The phone that was the call is ended; one that was acknowledged too, and goes on, is it now. `false` where there is
    /// none.
    fn go_on_with_another(&mut self) -> bool {
        let Some(at) = self.other_answers.iter().position(|a| a.acknowledged) else {
            return false;
        };
        let answer = self.other_answers.remove(at);
        let ended = OtherAnswer {
            tag: std::mem::take(&mut self.tags.callee).into(),
            description: None,
            acknowledged: false,
        };
        self.other_answers.push(ended);
        self.tags.callee = answer.tag.into();
        if answer.description.is_some() {
            self.descriptions.agreed.callee = answer.description;
        }
        Arc::make_mut(&mut self.info).parties.callee.tag = parties::capped(&self.tags.callee);
        true
    }
}

impl Signalling {
    /// One more 2xx to an INVITE: another phone's, or the same one's as a proxy hands it on under a tag of its own. The ACK
    /// will say which is the call.
    pub(super) fn note_other_answer(&mut self, envelope: &Envelope<'_, '_>, status: u16) -> bool {
        if envelope.method != Method::Invite || !(200..=299).contains(&status) {
            return false;
        }
        let Some(key) = self.forking(envelope).map(|leg| leg.key) else {
            return false;
        };
        let description = self.description(envelope);
        if let Some(leg) = self.legs.get_mut(&key) {
            leg.note_other_answer(envelope.to_tag, description);
        }
        true
    }

    /// The answered leg of whose INVITE `envelope` is another answer, or the ACK of one.
    pub(super) fn forking(&self, envelope: &Envelope<'_, '_>) -> Option<&Leg> {
        let keys = self.by_call_id.get(envelope.call_id)?;
        keys.iter()
            .filter_map(|key| self.legs.get(key).map(|leg| &**leg))
            .find(|leg| {
                leg.state == State::Answered
                    && leg.tags.caller == envelope.from_tag
                    && leg.transactions.iter().any(|t| t.number == envelope.number)
                    && leg.vantages.contains(&envelope.flow.vantage)
            })
    }

    /// A request between the caller and a phone that answered and is not the call, or no more. It changes nothing.
    pub(super) fn note_other_dialog(&mut self, envelope: &Envelope<'_, '_>) -> bool {
        let Some(keys) = self.by_call_id.get(envelope.call_id) else {
            return false;
        };
        for key in keys {
            let Some(leg) = self.legs.get_mut(key) else {
                continue;
            };
            let tag = if leg.tags.caller == envelope.from_tag {
                envelope.to_tag
            } else if leg.tags.caller == envelope.to_tag {
                envelope.from_tag
            } else {
                continue;
            };
            let Some(answer) = leg.other_answer(tag) else {
                continue;
            };
            match envelope.method {
                Method::Ack => answer.acknowledged = true,
                // It is ended, and remembered: what is repeated of it is not foreign.
                Method::Bye => answer.acknowledged = false,
                _ => {}
            }
            return true;
        }
        false
    }

    /// A BYE for the phone that is the call: whether another one goes on instead.
    pub(super) fn goes_on_with_another(&mut self, key: CallKey) -> bool {
        self.legs
            .get_mut(&key)
            .is_some_and(|leg| leg.state == State::Answered && leg.go_on_with_another())
    }
}
