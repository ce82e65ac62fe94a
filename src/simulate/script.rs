//! The signalling of one call: which message goes when, and what it says of media.

use smallvec::{SmallVec, smallvec};

use super::plan::{CallPlan, Fate, Hold, MILLISECOND};
use super::{Codec, HoldKind};
use crate::base::Side;

/// Something that a side does at its time.
#[derive(Clone, Debug)]
pub(super) struct SipEvent {
    pub time: i64,
    pub sender: Side,
    pub act: Act,
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    /// TCP's handshake.
    Connect,
    Disconnect,
    /// Several are one write, and share TCP segments.
    Send(SmallVec<[Message; 2]>),
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub kind: MessageKind,
    /// Of the request, and of the request that is answered.
    pub method: &'static str,
    pub cseq: u32,
    /// Counts the transactions of the call; a CANCEL and the ACK of a refusal have their INVITE's.
    pub transaction: u32,
    /// The To tag is known.
    pub in_dialog: bool,
    pub sdp: Option<Sdp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageKind {
    Request,
    Response(u16, &'static str),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sdp {
    pub version: u32,
    pub codec: Codec,
    pub direction: &'static str,
    /// `c=0.0.0.0`.
    pub zero_address: bool,
    /// Offers name more than answers.
    pub is_offer: bool,
}

/// The call's signalling, in order of time.
pub(super) fn script(plan: &CallPlan) -> Vec<SipEvent> {
    let mut script = Script {
        plan,
        events: Vec::new(),
        cseq: [0; 2],
        versions: [0; 2],
        transaction: 0,
    };
    if plan.traits.tcp {
        script.act(plan.invite - 3 * MILLISECOND, Side::Caller, Act::Connect);
    }
    script.set_up();
    if plan.fate == Fate::Answered {
        if let Some(hold) = plan.hold {
            script.hold(hold);
        }
        if let Some(at) = plan.codec_change {
            let codec = plan.codec.successor();
            let by = script.coin(1);
            let (offer, answer) = (
                script.sdp(by, codec, true),
                script.sdp(by.other(), codec, false),
            );
            script.renegotiate(at, by, offer, answer);
        }
        if !plan.traits.no_bye {
            script.bye();
        }
    }
    if plan.traits.tcp && !plan.traits.no_bye {
        let last = script.events.last().map_or(plan.end, |event| event.time);
        script.act(last + 20 * MILLISECOND, Side::Caller, Act::Disconnect);
    }
    script.events.sort_by_key(|event| event.time);
    script.events
}

struct Script<'a> {
    plan: &'a CallPlan,
    events: Vec<SipEvent>,
    /// By side, as in `versions`.
    cseq: [u32; 2],
    versions: [u32; 2],
    transaction: u32,
}

const OK: MessageKind = MessageKind::Response(200, "OK");

impl Script<'_> {
    fn act(&mut self, time: i64, sender: Side, act: Act) {
        self.events.push(SipEvent { time, sender, act });
    }

    fn send(&mut self, time: i64, sender: Side, message: Message) {
        self.act(time, sender, Act::Send(smallvec![message]));
    }

    /// INVITE and what becomes of it.
    fn set_up(&mut self) {
        let plan = self.plan;
        let codec = plan.codec;
        let late = plan.traits.late_offer;
        let offer_by = if late { Side::Callee } else { Side::Caller };
        let offer = Some(self.sdp(offer_by, codec, true));
        let answer = Some(self.sdp(offer_by.other(), codec, false));
        let invite = self.request(Side::Caller, "INVITE", false, offer.filter(|_| !late));
        self.send(plan.invite, Side::Caller, invite.clone());
        if !plan.traits.answer_first {
            self.ringing(&invite, answer.filter(|_| plan.traits.early_media));
        }
        match plan.fate {
            Fate::Answered => {
                let ok = invite.answered(OK, if late { offer } else { answer });
                self.send(plan.answer, Side::Callee, ok);
                let ack = Message {
                    sdp: answer.filter(|_| late),
                    ..self.ack(&invite)
                };
                self.send(plan.answer + 15 * MILLISECOND, Side::Caller, ack);
            }
            Fate::Cancelled => {
                let cancel = Message {
                    method: "CANCEL",
                    sdp: None,
                    ..invite.clone()
                };
                self.send(plan.answer, Side::Caller, cancel.clone());
                self.send(
                    plan.answer + 8 * MILLISECOND,
                    Side::Callee,
                    cancel.answered(OK, None),
                );
                self.refusal(plan.answer + 12 * MILLISECOND, &invite, 487);
            }
            Fate::Rejected(status) => self.refusal(plan.answer, &invite, status),
        }
    }

    fn ringing(&mut self, invite: &Message, early_answer: Option<Sdp>) {
        let at = self.plan.invite;
        let trying = Message {
            in_dialog: false,
            ..invite.answered(MessageKind::Response(100, "Trying"), None)
        };
        let kind = match early_answer {
            Some(_) => MessageKind::Response(183, "Session Progress"),
            None => MessageKind::Response(180, "Ringing"),
        };
        let progress = invite.answered(kind, early_answer);
        if self.plan.traits.tcp {
            let both = Act::Send(smallvec![trying, progress]);
            return self.act(at + 20 * MILLISECOND, Side::Callee, both);
        }
        self.send(at + 8 * MILLISECOND, Side::Callee, trying);
        self.send(at + 30 * MILLISECOND, Side::Callee, progress);
    }

    fn refusal(&mut self, at: i64, invite: &Message, status: u16) {
        let reason = match status {
            404 => "Not Found",
            480 => "Temporarily Unavailable",
            486 => "Busy Here",
            487 => "Request Terminated",
            _ => "Decline",
        };
        let refusal = invite.answered(MessageKind::Response(status, reason), None);
        self.send(at, Side::Callee, refusal);
        let ack = Message {
            transaction: invite.transaction,
            ..self.ack(invite)
        };
        self.send(at + 10 * MILLISECOND, Side::Caller, ack);
    }

    fn hold(&mut self, hold: Hold) {
        let codec = self.plan.codec;
        let (by, other) = (hold.by, hold.by.other());
        let (offered, answered) = match hold.kind {
            HoldKind::Music | HoldKind::Silent => ("sendonly", "recvonly"),
            HoldKind::Inactive | HoldKind::ZeroAddress => ("inactive", "inactive"),
        };
        let zero_address = hold.kind == HoldKind::ZeroAddress;
        let offer = Sdp {
            direction: offered,
            zero_address,
            ..self.sdp(by, codec, true)
        };
        let answer = Sdp {
            direction: answered,
            ..self.sdp(other, codec, false)
        };
        self.renegotiate(hold.from, by, offer, answer);
        let (offer, answer) = (self.sdp(by, codec, true), self.sdp(other, codec, false));
        self.renegotiate(hold.to, by, offer, answer);
    }

    fn renegotiate(&mut self, at: i64, by: Side, offer: Sdp, answer: Sdp) {
        let invite = self.request(by, "INVITE", true, Some(offer));
        self.send(at, by, invite.clone());
        self.send(
            at + 10 * MILLISECOND,
            by.other(),
            invite.answered(OK, Some(answer)),
        );
        let ack = self.ack(&invite);
        self.send(at + 20 * MILLISECOND, by, ack);
    }

    fn bye(&mut self) {
        let by = self.coin(2);
        let bye = self.request(by, "BYE", true, None);
        let mut at = self.plan.end;
        self.send(at, by, bye.clone());
        if self.plan.traits.bye_repeated {
            at += 500 * MILLISECOND;
            self.send(at, by, bye.clone());
        }
        self.send(at + 8 * MILLISECOND, by.other(), bye.answered(OK, None));
    }

    fn request(
        &mut self,
        by: Side,
        method: &'static str,
        in_dialog: bool,
        sdp: Option<Sdp>,
    ) -> Message {
        let cseq = &mut self.cseq[by as usize];
        *cseq += 1;
        self.transaction += 1;
        Message {
            kind: MessageKind::Request,
            method,
            cseq: *cseq,
            transaction: self.transaction,
            in_dialog,
            sdp,
        }
    }

    /// The ACK of a 2xx: a transaction of its own (RFC 3261 section 13.2.2.4).
    fn ack(&mut self, invite: &Message) -> Message {
        self.transaction += 1;
        let transaction = self.transaction;
        Message {
            method: "ACK",
            in_dialog: true,
            sdp: None,
            transaction,
            ..invite.clone()
        }
    }

    fn sdp(&mut self, of: Side, codec: Codec, is_offer: bool) -> Sdp {
        let version = &mut self.versions[of as usize];
        *version += 1;
        Sdp {
            version: *version,
            codec,
            direction: "sendrecv",
            zero_address: false,
            is_offer,
        }
    }

    /// A side, drawn from the call's seed.
    fn coin(&self, bit: u32) -> Side {
        Side::BOTH[(self.plan.seed >> bit & 1) as usize]
    }
}

impl Message {
    fn answered(&self, kind: MessageKind, sdp: Option<Sdp>) -> Message {
        Message {
            kind,
            sdp,
            in_dialog: true,
            ..self.clone()
        }
    }
}
