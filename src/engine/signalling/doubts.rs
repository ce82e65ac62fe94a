//! Requests that have a call's tags and do not come its way.
//!
//! Who knows the tags of a call may still be no part of it. A request that comes another way than the INVITE did, or lacks a tag, and a
//! CANCEL that is of no INVITE that was seen (RFC 3261 section 9.1), are doubted: they change nothing and are told of. Who was asked may agree with
//! a 2xx: then it was true, as where a proxy leaves the way or a packet was missed, and does then what it would have done.
//!
//! A BYE is not doubted so: see [`Signalling::handle_answer_to_bye`] and what follows a while after it. An ACK has no answer.

use std::net::IpAddr;

use super::*;

/// Ways of one INVITE that are told apart: a NAT shows it twice.
const MAX_HOPS: usize = 4;
/// Doubtful requests of one leg whose answer is waited for; further ones are counted.
const MAX_DOUBTED: usize = 4;
/// A longer request is counted only.
const MAX_REQUEST: usize = 8 << 10;

/// From which host to which requests go.
#[derive(Clone, Debug, Default)]
pub struct Hops(SmallVec<[(IpAddr, IpAddr); 1]>);

impl Hops {
    pub fn add(&mut self, flow: &Flow) {
        if self.0.len() < MAX_HOPS && !self.0.contains(&hop(flow)) {
            self.0.push(hop(flow));
        }
    }

    /// `flow` is one of them, or may be.
    fn may_have(&self, flow: &Flow) -> bool {
        self.0.len() == MAX_HOPS || self.0.contains(&hop(flow))
    }
}

fn hop(flow: &Flow) -> (IpAddr, IpAddr) {
    (flow.source.ip(), flow.destination.ip())
}

/// A request that may be forged.
#[derive(Clone, Debug)]
pub struct Doubted {
    number: u32,
    branch: Box<str>,
    method: Method,
    by: Side,
    flow: Flow,
    bytes: Box<[u8]>,
}

impl Doubted {
    fn is(&self, envelope: &Envelope<'_, '_>) -> bool {
        (self.method, self.number, &*self.branch)
            == (envelope.method, envelope.number, envelope.branch)
    }
}

impl Leg {
    pub(super) fn is_doubtful(&self, by: Side, envelope: &Envelope<'_, '_>) -> bool {
        let known = self.transactions.len();
        if known == 0 || known == leg::MAX_TRANSACTIONS {
            return false;
        }
        let lacks_tag = envelope.to_tag.is_empty();
        match envelope.method {
            Method::Cancel => !self.knows_cancelled(by, envelope),
            // Who has an answer begins no call once more. A copy that comes late is of an INVITE that was answered.
            Method::Invite if lacks_tag && by == Side::Caller => {
                self.is_answered()
                    && !self.has_settled(by, envelope.number)
                    && !self.knows_invite(envelope.number, envelope.branch)
            }
            Method::Invite | Method::Update | Method::Info | Method::Refer => {
                lacks_tag && !self.tags[by.other()].is_empty() || !self.has_passed(envelope.flow)
            }
            _ => false,
        }
    }

    /// An INVITE of the leg went this way, or the other way round.
    fn has_passed(&self, flow: &Flow) -> bool {
        let (there, back) = (*flow, flow.reversed());
        let passed =
            |invite: &leg::Transaction| invite.hops.may_have(&there) || invite.hops.may_have(&back);
        self.transactions.iter().any(passed)
    }

    /// Whether a message may have come the way of the leg's INVITEs.
    pub(super) fn is_on_its_way(&self, flow: &Flow) -> bool {
        self.transactions.is_empty() || self.has_passed(flow)
    }

    fn knows_cancelled(&self, by: Side, envelope: &Envelope<'_, '_>) -> bool {
        // One in a dialog has both tags; it changes nothing either way.
        if !envelope.to_tag.is_empty() {
            return self.reinvited == Some((by, envelope.number));
        }
        let is_its = |invite: &leg::Transaction| {
            (invite.number, &*invite.branch) == (envelope.number, envelope.branch)
                && invite.hops.may_have(envelope.flow)
        };
        by == Side::Caller && self.transactions.iter().any(is_its)
    }

    /// Notes a request that may be forged: once, however often it is repeated.
    fn doubt(&mut self, by: Side, envelope: &Envelope<'_, '_>) {
        let is_known = self.doubted.iter().any(|one| one.is(envelope));
        if is_known {
            return;
        }
        self.suspicious_requests += 1;
        if self.doubted.len() < MAX_DOUBTED && envelope.bytes.len() <= MAX_REQUEST {
            self.doubted.push(Doubted {
                number: envelope.number,
                branch: envelope.branch.into(),
                method: envelope.method,
                by,
                flow: *envelope.flow,
                bytes: envelope.bytes.into(),
            });
        }
    }

    /// The request that `answer` agrees to, if it was doubted.
    fn believe(&mut self, answer: &Envelope<'_, '_>) -> Option<Doubted> {
        let at = self.doubted.iter().position(|one| one.is(answer))?;
        let believed = self.doubted.remove(at);
        self.suspicious_requests = self.suspicious_requests.saturating_sub(1);
        if let Some(invite) = self.transactions.last_mut() {
            invite.hops.add(&believed.flow);
        }
        Some(believed)
    }
}

impl Signalling {
    /// Whether a request is to be taken as none. It is kept with the call's messages, and counted.
    pub(super) fn doubts(
        &mut self,
        key: CallKey,
        by: Side,
        envelope: &Envelope<'_, '_>,
        orders: &mut Orders,
    ) -> bool {
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return false;
        };
        let is_doubtful = leg.is_doubtful(by, envelope);
        if is_doubtful {
            leg.doubt(by, envelope);
            self.keep_message(key, envelope, orders);
        }
        is_doubtful
    }

    /// Does what a request asked that was doubted until `answer`, which is a 2xx.
    pub(super) fn believe(&mut self, key: CallKey, answer: &Envelope<'_, '_>, orders: &mut Orders) {
        let Some(believed) = self
            .legs
            .get_mut(&key)
            .filter(|leg| !leg.doubted.is_empty())
            .and_then(|leg| leg.believe(answer))
        else {
            return;
        };
        let Ok(message) = Message::parse(&believed.bytes) else {
            return;
        };
        let read = Envelope::read(answer.time, &believed.flow, &believed.bytes, &message);
        if let Some(request) = read {
            self.act_on(key, believed.by, &request, orders);
        }
    }

    pub(super) fn handle_cancel(&mut self, key: CallKey) {
        if let Some(leg) = self
            .legs
            .get_mut(&key)
            .filter(|leg| leg.state == State::Ringing)
        {
            leg.cancelled = true;
        }
    }
}
