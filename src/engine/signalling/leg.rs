//! One leg: what signalling knows of one INVITE and the dialog it makes.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::asleep::StreamName;
use super::control::Heard;
use super::description::{Description, Descriptions};
use super::doubts::{Doubted, Hops};
use super::forks::OtherAnswer;
use super::identity::Identity;
use super::keeping::KeptSignalling;
use super::lost_byes::Place;
use super::protection::keep_keys;
use crate::base::{Flow, PerSide, Side, TenantId, Timestamp, Vantage};
use crate::directory::Directory;
use crate::engine::control::pauses;
use crate::engine::event::{CallInfo, Digit, EndReason, HoldSpan};
use crate::engine::plan::{CallKey, MediaPlan, add_formats};
use crate::engine::vantages::Heard as Seen;

/// INVITE transactions remembered of one leg: retries with credentials, hops of proxies, forks.
pub const MAX_TRANSACTIONS: usize = 64;
/// How long after a packet its copy from another port of a mirror comes at most.
const MIRRORED: Duration = Duration::from_millis(100);
/// Times that one call can be put on hold and be listed.
const MAX_HOLDS: usize = 512;
/// Answered requests remembered of one leg.
const MAX_SETTLED: usize = 16;
/// Places one dialog may be seen at.
const MAX_VANTAGES: usize = 4;

/// Where a leg is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ringing,
    Answered,
    /// Every INVITE so far was refused; a retry may follow (authentication, redirection).
    Refused {
        status: u16,
    },
    /// BYE was seen; the last packets may still come, and the BYE may be refused.
    Ending(Bye),
    /// Over, and remembered so that retransmissions do not make a new call.
    Over,
}

/// The BYE that ends a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye {
    pub by: Side,
    pub at: Timestamp,
    pub number: u32,
    /// The call was ringing: where it goes on, it still is.
    pub from_ringing: bool,
    pub is_agreed: bool,
}

/// One INVITE on its way: the same request at two hops has two branches.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub number: u32,
    pub branch: Box<str>,
    pub refused: Option<u16>,
    /// When it was seen last.
    pub seen_at: Timestamp,
    /// Which ways it was seen to go.
    pub hops: Hops,
}

#[derive(Debug)]
pub struct Leg {
    pub key: CallKey,
    pub call_id: Box<str>,
    pub vantages: SmallVec<[Vantage; 2]>,
    /// Tags of the dialog, empty while unknown.
    pub tags: PerSide<String>,
    pub state: State,
    /// Seen from its first INVITE on; otherwise the capture began in mid-call.
    pub from_start: bool,
    pub since: Timestamp,
    pub transactions: SmallVec<[Transaction; 2]>,
    pub descriptions: Descriptions,
    pub holding: PerSide<Option<Timestamp>>,
    pub holds: Vec<HoldSpan>,
    pub digits: Vec<Digit>,
    pub cancelled: bool,
    /// Requests that changed nothing, and may have been true.
    pub doubted: Vec<Doubted>,
    /// The latest INVITE within the dialog.
    pub reinvited: Option<(Side, u32)>,
    /// The caller acknowledged the answer that `tags` names.
    pub acknowledged: bool,
    /// Further answers to the INVITE.
    pub other_answers: Vec<OtherAnswer>,
    /// Requests whose 2xx was seen, the latest last: the same 2xx at the next hop, or once more, says nothing more.
    settled: SmallVec<[(Side, u32); 4]>,
    pub last_at: Timestamp,
    /// The INVITE as it came, until the answer has been matched against the directory too.
    pub invite: Option<Box<[u8]>>,
    /// The directory of the first INVITE, while the leg lives.
    pub directory: Option<Arc<Directory>>,
    pub info: Arc<CallInfo>,
    pub plan: Option<Arc<MediaPlan>>,
    /// Where each side receives, as it is known to all calls.
    pub(super) places: PerSide<Option<Place>>,
    /// When a later call began that receives where a side did.
    pub(super) reused: PerSide<Option<Timestamp>>,
    /// Of a call that ended for lack of media and may go on: the streams it is known by.
    pub(super) asleep: Option<Vec<StreamName>>,
    /// What each side said of itself last.
    pub identities: PerSide<Identity>,
    /// Requests in its name with tags that are not its.
    pub suspicious_requests: u64,
    /// From where and to where its first INVITE went.
    pub route: Flow,
    /// 0 to 99, for policies that record a share of calls.
    pub share: u8,
    /// Tenants whose plan limits their recordings, and which have one of this call.
    pub counted: SmallVec<[TenantId; 2]>,
    /// Where a tenant listens to keys and headers.
    pub(super) heard: Option<Box<Heard>>,
    pub(super) signalling: KeptSignalling,
    /// Whose messages were seen.
    pub seen: Seen,
}

impl Leg {
    /// A leg of which nothing but its first message is known.
    pub fn new(
        key: CallKey,
        call_id: &str,
        tags: PerSide<String>,
        from_start: bool,
        info: CallInfo,
        directory: Arc<Directory>,
        route: Flow,
    ) -> Leg {
        Leg {
            key,
            call_id: call_id.into(),
            vantages: SmallVec::from_slice(&[info.vantage]),
            tags,
            state: State::Ringing,
            from_start,
            since: if from_start {
                info.invite_at
            } else {
                Timestamp::MIN
            },
            transactions: SmallVec::new(),
            descriptions: Descriptions::default(),
            holding: PerSide::default(),
            holds: Vec::new(),
            digits: Vec::new(),
            cancelled: false,
            doubted: Vec::new(),
            reinvited: None,
            acknowledged: false,
            other_answers: Vec::new(),
            settled: SmallVec::new(),
            last_at: info.invite_at,
            invite: None,
            directory: Some(directory),
            info: Arc::new(info),
            plan: None,
            places: PerSide::default(),
            reused: PerSide::default(),
            asleep: None,
            identities: PerSide::default(),
            suspicious_requests: 0,
            route,
            share: 0,
            counted: SmallVec::new(),
            heard: None,
            signalling: KeptSignalling::default(),
            seen: Seen::default(),
        }
    }

    /// The side that sent a request with these tags, if they are this leg's. Before the answer any tag may be the
    /// callee's: forks each have their own. Its own tag names a callee that leaves the caller's out, as RFC 2543 let it.
    pub fn requester(&self, from_tag: &str, to_tag: &str) -> Option<Side> {
        let callee = &self.tags.callee;
        let fits_callee = |tag: &str| tag.is_empty() || callee.is_empty() || tag == callee;
        if from_tag == self.tags.caller && fits_callee(to_tag) {
            Some(Side::Caller)
        } else if from_tag.is_empty() {
            None
        } else if to_tag == self.tags.caller && fits_callee(from_tag)
            || to_tag.is_empty() && from_tag == callee
        {
            Some(Side::Callee)
        } else {
            None
        }
    }

    pub fn is_answered(&self) -> bool {
        self.info.answered_at.is_some()
    }

    pub fn is_open(&self) -> bool {
        self.state != State::Over
    }

    pub fn record(&self) -> bool {
        self.info.owners.iter().any(|owner| owner.refusal.is_none())
    }

    /// Notes an INVITE; `false` when it was known.
    pub fn note_invite(&mut self, number: u32, branch: &str, flow: &Flow, at: Timestamp) -> bool {
        if let Some(known) = self.transaction(number, branch) {
            known.seen_at = known.seen_at.max(at);
            known.hops.add(flow);
            return false;
        }
        if self.transactions.len() == MAX_TRANSACTIONS {
            return false;
        }
        let mut hops = Hops::default();
        hops.add(flow);
        self.transactions.push(Transaction {
            number,
            branch: branch.into(),
            refused: None,
            seen_at: at,
            hops,
        });
        true
    }

    pub fn transaction(&mut self, number: u32, branch: &str) -> Option<&mut Transaction> {
        self.transactions
            .iter_mut()
            .find(|t| t.number == number && *t.branch == *branch)
    }

    /// Whether an INVITE is the leg's own, on the same way between the same two places: a mirror shows it at two vantages.
    /// Its copies come at once: what comes later is another one.
    pub fn is_mirrored_by(&self, number: u32, branch: &str, flow: &Flow, at: Timestamp) -> bool {
        let just_seen = |transaction: &Transaction| {
            transaction.number == number
                && *transaction.branch == *branch
                && at.since(transaction.seen_at) <= MIRRORED
        };
        self.is_open()
            && !branch.is_empty()
            && self.transactions.iter().any(just_seen)
            && (self.route.source, self.route.destination) == (flow.source, flow.destination)
    }

    pub fn knows_invite(&self, number: u32, branch: &str) -> bool {
        self.transactions
            .iter()
            .any(|t| t.number == number && *t.branch == *branch)
    }

    /// Notes a refusal; whether no INVITE of the leg is left that may be answered.
    pub fn note_refusal(&mut self, number: u32, branch: &str, status: u16) -> bool {
        let exact = self
            .transactions
            .iter()
            .any(|t| t.number == number && *t.branch == *branch);
        for transaction in &mut self.transactions {
            // An answer to an INVITE that was not seen itself speaks for all with its number.
            if transaction.number == number && (!exact || *transaction.branch == *branch) {
                transaction.refused = Some(status);
            }
        }
        self.transactions.iter().all(|t| t.refused.is_some())
    }

    pub fn has_settled(&self, side: Side, number: u32) -> bool {
        self.settled.contains(&(side, number))
    }

    /// Notes the 2xx to a request; `false` when it was noted before.
    pub fn settle(&mut self, side: Side, number: u32) -> bool {
        if self.has_settled(side, number) {
            return false;
        }
        if self.settled.len() == MAX_SETTLED {
            self.settled.remove(0);
        }
        self.settled.push((side, number));
        true
    }

    /// Adds a place at which the dialog was seen; `false` when it was known.
    pub fn add_vantage(&mut self, vantage: Vantage) -> bool {
        if self.vantages.contains(&vantage) || self.vantages.len() == MAX_VANTAGES {
            return false;
        }
        self.vantages.push(vantage);
        true
    }

    /// Follows who holds whom. `offer`: the side changed its mind of its own, and did not just answer.
    pub fn follow_hold(
        &mut self,
        side: Side,
        description: &Description,
        offer: bool,
        at: Timestamp,
    ) {
        if !description.holds() {
            if let Some(from) = self.holding[side].take() {
                self.note_hold(HoldSpan {
                    by: side,
                    from,
                    to: at,
                });
            }
        } else if offer && self.holding[side].is_none() {
            self.holding[side] = Some(at);
        }
    }

    /// Notes in what is told of the call who holds whom; whether that is another than was told.
    pub fn turns_hold(&mut self) -> bool {
        let held_by = PerSide::of(|side| self.holding[side].is_some());
        let turns = self.info.held_by != held_by;
        if turns {
            Arc::make_mut(&mut self.info).held_by = held_by;
        }
        turns
    }

    pub fn on_hold(&self) -> bool {
        self.holding.caller.is_some() || self.holding.callee.is_some()
    }

    /// Ends the holds that still last.
    pub fn finish_holds(&mut self, at: Timestamp) {
        for side in Side::BOTH {
            if let Some(from) = self.holding[side].take() {
                self.note_hold(HoldSpan {
                    by: side,
                    from,
                    to: at,
                });
            }
        }
    }

    fn note_hold(&mut self, span: HoldSpan) {
        if self.holds.len() < MAX_HOLDS {
            self.holds.push(span);
        }
    }

    /// Makes the plan that follows from what is known; whether it differs from the last.
    pub fn changes_plan(&mut self) -> bool {
        let mut plan = self
            .descriptions
            .plan(self.key, &self.vantages, self.since, self.record());
        plan.pauses = pauses(&self.info.control);
        plan.audience = self.audience();
        if let Some(before) = &self.plan {
            keep_formats(&mut plan, before);
            keep_keys(&mut plan, before);
            keep_tellers(&mut plan, before);
            plan.kin = before.kin.clone();
            if plan == **before {
                return false;
            }
        }
        self.plan = Some(Arc::new(plan));
        true
    }

    /// Whether media may come after the end: it only stopped, and its ports are nobody else's since.
    pub(super) fn may_go_on(&self, reason: EndReason) -> bool {
        let is_reused = self.reused.iter().any(|(_, since)| since.is_some());
        reason == EndReason::MediaTimeout && self.state == State::Answered && !is_reused
    }

    /// Ends, but keeps what the call needs to go on.
    pub(super) fn fall_asleep(&mut self) {
        self.state = State::Over;
        self.asleep = Some(Vec::new());
        self.invite = None;
        self.plan = None;
        self.other_answers = Vec::new();
        self.heard = None;
    }

    /// The leg that goes on with this one.
    pub(super) fn resume(&mut self, key: CallKey, info: CallInfo) -> Option<Leg> {
        let directory = self.directory.take()?;
        let (call_id, tags) = (self.call_id.clone(), self.tags.clone());
        let mut leg = Leg::new(key, &call_id, tags, true, info, directory, self.route);
        leg.state = State::Answered;
        leg.acknowledged = self.acknowledged;
        leg.vantages = self.vantages.clone();
        leg.transactions = self.transactions.clone();
        leg.settled = self.settled.clone();
        leg.descriptions = std::mem::take(&mut self.descriptions);
        leg.identities = std::mem::take(&mut self.identities);
        leg.share = self.share;
        Some(leg)
    }

    /// Lets go of all that only a living leg needs.
    pub fn bury(&mut self) {
        self.state = State::Over;
        self.descriptions = Descriptions::default();
        self.plan = None;
        self.invite = None;
        self.holds = Vec::new();
        self.digits = Vec::new();
        self.doubted = Vec::new();
        self.other_answers = Vec::new();
        self.identities = PerSide::default();
        self.heard = None;
        self.directory = None;
    }
}

/// A proxy says once more what the phone has said.
fn keep_tellers(plan: &mut MediaPlan, before: &MediaPlan) {
    for side in Side::BOTH {
        let mut tellers = before.sides[side].told_by.clone();
        std::mem::swap(&mut plan.sides[side].told_by, &mut tellers);
        for host in tellers {
            plan.sides[side].add_teller(host);
        }
    }
}

/// Packets that were on their way when a new answer came still mean what was agreed before (RFC 3264 section 8.3.2): a
/// payload type keeps its meaning until it is given another. There are no more than 128 of them.
fn keep_formats(plan: &mut MediaPlan, before: &MediaPlan) {
    for side in Side::BOTH {
        add_formats(&mut plan.sides[side].formats, &before.sides[side].formats);
    }
}
