//! The signalling half: SIP messages in, media plans and news of calls out.
//!
//! A leg is found by its Call-ID and tags at its vantage, and followed from INVITE to BYE whatever is lost, repeated or out
//! of order on the way. Nothing here sees RTP; orders to the media half are values.

mod asleep;
mod control;
mod conversation;
mod deadlines;
mod description;
mod doubts;
mod forks;
mod identity;
mod keeping;
mod kinship;
mod leg;
mod lost_byes;
mod opening;
mod parties;
mod protection;
mod reach;
mod refusal;
mod remembering;
mod requests;
mod responses;
mod suspicion;
#[cfg(test)]
mod tests;
mod within;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

pub use self::control::KeySource;
use self::description::Description;
use self::leg::{Bye, Leg, State};
pub use self::parties::{Sensor, with_facts};
use self::refusal::Refused;
use super::event::{
    CallInfo, Digit, Disposition, EndReason, HoldSpan, Ownership, SignallingMessage,
};
use super::interactions::{InteractionSettings, Interactions};
use super::plan::{CallKey, Keyless, MediaPlan};
use super::standing::{Change, Standings};
use super::timer::Timers;
use super::vantages::Heard;
use crate::base::{
    Flow, InteractionId, PerSide, Side, TenantId, Timestamp, Vantage, WireMap, time_ordered,
};
use crate::directory::Directory;
use crate::sip::{Message, Method, StartLine};

/// Trailing packets of both directions are on their way for this long after a BYE.
const LINGER: Duration = Duration::from_millis(500);
/// A refused INVITE may be sent again with credentials, which a person may have to type, or elsewhere.
const RETRY: Duration = Duration::from_secs(120);
/// Retransmissions go on for this long after a call (RFC 3261 timers H, I, J).
const FORGET: Duration = Duration::from_secs(32);

/// Times and caps of the signalling half.
#[derive(Clone, Debug)]
pub struct SignallingLimits {
    /// Calls followed at a time; beyond it new ones are refused, and counted.
    pub calls: usize,
    /// From INVITE, or from the latest provisional answer, to a final one; no longer than an hour after INVITE, or than this.
    pub setup: Duration,
    /// Of an answered call whose media stopped, without signalling.
    pub idle: Duration,
    /// The same while one side holds the other, or where no media ever came.
    pub idle_on_hold: Duration,
    pub longest_call: Duration,
    pub interactions: InteractionSettings,
}

impl Default for SignallingLimits {
    fn default() -> Self {
        SignallingLimits {
            calls: 20_000,
            setup: Duration::from_secs(300),
            idle: Duration::from_secs(300),
            idle_on_hold: Duration::from_secs(4 * 3600),
            longest_call: Duration::from_secs(24 * 3600),
            interactions: InteractionSettings::default(),
        }
    }
}

/// What was counted, by name. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignallingCounters {
    pub messages: u64,
    /// Messages of no call: REGISTER, OPTIONS and the like.
    pub other_methods: u64,
    /// Without Call-ID, From, To or CSeq.
    pub incomplete: u64,
    /// Of a call, with tags that are not its.
    pub foreign_tags: u64,
    /// In a dialog whose beginning was not seen, and which says nothing of media.
    pub unknown_dialog: u64,
    pub calls: u64,
    /// INVITEs that found no room.
    pub calls_refused: u64,
    pub sdp_malformed: u64,
    /// `a=crypto` lines that make no sense, or have a key of the wrong length.
    pub crypto_malformed: u64,
    /// `a=crypto` lines of suites that are not supported or not known, or of SRTP without tags.
    pub crypto_unsupported: u64,
    /// Pauses and stops that a restart would not know any more, since there were too many.
    pub wishes_dropped: u64,
}

/// What the signalling half tells the rest.
#[derive(Debug)]
pub enum Order {
    /// News of a call.
    Tell(CallKey, Arc<CallInfo>),
    Plan(Arc<MediaPlan>),
    /// A message that is to be kept.
    Keep(CallKey, Box<SignallingMessage>),
    /// What holds of a call beyond this run.
    Remember(CallKey, Change),
    End(Box<SignallingEnd>),
}

/// What signalling says of a call that is over.
#[derive(Debug)]
pub struct SignallingEnd {
    pub call: CallKey,
    pub info: Arc<CallInfo>,
    pub ended_at: Timestamp,
    pub reason: EndReason,
    pub status: Option<u16>,
    pub holds: Vec<HoldSpan>,
    pub digits: Vec<Digit>,
    /// Requests with tags that are not the call's.
    pub suspicious_requests: u64,
    pub signalling_omitted: u64,
    pub heard: Heard,
}

pub type Orders = SmallVec<[Order; 4]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum LegTimer {
    /// BYE was seen and its last packets too.
    Linger(CallKey),
    Setup(CallKey),
    Retry(CallKey),
    Idle(CallKey),
    TooLong(CallKey),
    Forget(CallKey),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Signalling {
    sensor: Sensor,
    limits: SignallingLimits,
    directory: Arc<Directory>,
    /// Boxed: a table is never full.
    legs: WireMap<CallKey, Box<Leg>>,
    by_call_id: WireMap<Box<str>, SmallVec<[CallKey; 2]>>,
    /// Legs that are over, oldest first; as many as there may be calls.
    over: VecDeque<CallKey>,
    open: usize,
    refused: Refused,
    next_key: u64,
    timers: Timers<LegTimer>,
    places: lost_byes::Places,
    asleep: asleep::Asleep,
    counters: SignallingCounters,
    interactions: Interactions,
    steering: control::Steering,
    standings: Standings,
}

/// The parts of a message that say which dialog it belongs to.
#[derive(Clone, Copy)]
struct Envelope<'e, 'm> {
    time: Timestamp,
    flow: &'e Flow,
    message: &'e Message<'m>,
    /// What the message was read from.
    bytes: &'e [u8],
    call_id: &'m str,
    from_tag: &'m str,
    to_tag: &'m str,
    number: u32,
    method: Method,
    branch: &'m str,
}

impl<'e, 'm> Envelope<'e, 'm> {
    fn read(
        time: Timestamp,
        flow: &'e Flow,
        bytes: &'e [u8],
        message: &'e Message<'m>,
    ) -> Option<Envelope<'e, 'm>> {
        let cseq = message.cseq()?;
        Some(Envelope {
            time,
            flow,
            message,
            bytes,
            call_id: message
                .call_id()
                .filter(|id| !id.is_empty() && id.len() <= 512)?,
            from_tag: message.from()?.tag().unwrap_or(""),
            to_tag: message.to()?.tag().unwrap_or(""),
            number: cseq.number,
            method: match message.start {
                StartLine::Request { method, .. } => method,
                StartLine::Response { .. } => cseq.method,
            },
            branch: message.branch().unwrap_or(""),
        })
    }

    /// The way the request went: an answer comes back the other way.
    fn request_flow(&self) -> Flow {
        if self.is_request() {
            *self.flow
        } else {
            self.flow.reversed()
        }
    }

    fn is_request(&self) -> bool {
        matches!(self.message.start, StartLine::Request { .. })
    }
}

impl Signalling {
    pub fn new(sensor: Sensor, limits: SignallingLimits, directory: Arc<Directory>) -> Self {
        Signalling {
            sensor,
            interactions: Interactions::new(limits.interactions.clone()),
            standings: Standings::new(limits.calls, limits.longest_call),
            limits,
            directory,
            legs: WireMap::default(),
            by_call_id: WireMap::default(),
            over: VecDeque::new(),
            open: 0,
            refused: Refused::default(),
            next_key: 1,
            timers: Timers::default(),
            places: WireMap::default(),
            asleep: asleep::Asleep::default(),
            counters: SignallingCounters::default(),
            steering: control::Steering::default(),
        }
    }

    /// Calls that begin from now on are matched against `directory`.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.directory = directory;
    }

    pub fn counters(&self) -> &SignallingCounters {
        &self.counters
    }

    pub fn interactions(&self) -> &Interactions {
        &self.interactions
    }

    /// Calls that are not over.
    pub fn open_calls(&self) -> usize {
        self.open
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        let waiting = self.interactions.next_timeout();
        self.timers.next().into_iter().chain(waiting).min()
    }

    /// Takes one message, and the bytes it was read from.
    pub fn handle_message(
        &mut self,
        time: Timestamp,
        flow: &Flow,
        bytes: &[u8],
        message: &Message<'_>,
        orders: &mut Orders,
    ) {
        self.counters.messages += 1;
        let Some(envelope) = Envelope::read(time, flow, bytes, message) else {
            self.counters.incomplete += 1;
            return;
        };
        if !is_of_a_call(envelope.method) {
            self.handle_other(&envelope, orders);
            return;
        }
        match message.start {
            StartLine::Request { .. } => self.handle_request(&envelope, orders),
            StartLine::Response { status, .. } => self.handle_response(&envelope, status, orders),
        }
        self.tell_of_links(envelope.time, orders);
    }

    /// The leg that a message belongs to, and the side that sent the request it is or answers. Legs of the message's own
    /// vantage first; a dialog of another vantage takes it when its tags fit, since a mirror may tag the two directions
    /// differently.
    fn find(&self, envelope: &Envelope<'_, '_>) -> Option<(CallKey, Side)> {
        let legs = || {
            let keys = self
                .by_call_id
                .get(envelope.call_id)
                .into_iter()
                .flatten()
                .rev();
            keys.filter_map(|key| self.legs.get(key).map(|leg| &**leg))
        };
        let here = |leg: &&Leg| leg.vantages.contains(&envelope.flow.vantage);
        let fits = |leg: &Leg| Some((leg.key, leg.requester(envelope.from_tag, envelope.to_tag)?));
        let first_invite = envelope.is_request()
            && envelope.method == Method::Invite
            && envelope.to_tag.is_empty();
        let mirrored = |leg: &&Leg| {
            leg.is_mirrored_by(
                envelope.number,
                envelope.branch,
                envelope.flow,
                envelope.time,
            )
        };
        let elsewhere = || {
            legs()
                .filter(|leg| !here(leg) && (!first_invite || mirrored(leg)))
                .find_map(fits)
        };
        legs().filter(here).find_map(fits).or_else(elsewhere)
    }

    /// Hands the media half a new plan, where something changed.
    fn replan(&mut self, key: CallKey, orders: &mut Orders) {
        self.remember(key, orders);
        let open = self.legs.get_mut(&key).filter(|leg| leg.is_open());
        let is_new = open.is_some_and(|leg| leg.changes_plan());
        self.tell_plan(key, is_new, orders);
        if is_new {
            self.meet_kin(key, orders);
            self.claim_places(key);
        }
        if self.legs.get_mut(&key).is_some_and(|leg| leg.turns_hold()) {
            self.tell(key, orders);
        }
    }

    fn tell(&mut self, key: CallKey, orders: &mut Orders) {
        if let Some(leg) = self.legs.get(&key) {
            orders.push(Order::Tell(key, leg.info.clone()));
        }
    }

    /// The SDP of a message, if it has one that names audio.
    fn description(&mut self, envelope: &Envelope<'_, '_>) -> Option<Description> {
        let body = envelope.message.sdp()?;
        let mut description = Description::parse(body);
        if let Some(description) = &mut description {
            description.told_by = Some(envelope.flow.source.ip());
        }
        self.counters.sdp_malformed += u64::from(description.is_none());
        for offered in description.iter().flat_map(|d| &d.crypto) {
            match offered.refusal() {
                None => {}
                Some(Keyless::BadKey) => self.counters.crypto_malformed += 1,
                Some(_) => self.counters.crypto_unsupported += 1,
            }
        }
        description
    }

    /// Ends a leg, and remembers it for as long as retransmissions may come.
    fn end(&mut self, key: CallKey, ended_at: Timestamp, reason: EndReason, orders: &mut Orders) {
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return;
        };
        leg.finish_holds(ended_at);
        let status = match (reason, leg.state) {
            (EndReason::Rejected { status }, _) | (_, State::Refused { status }) => Some(status),
            _ => None,
        };
        orders.push(Order::End(Box::new(SignallingEnd {
            call: key,
            info: leg.info.clone(),
            ended_at,
            reason,
            status,
            holds: std::mem::take(&mut leg.holds),
            digits: std::mem::take(&mut leg.digits),
            suspicious_requests: leg.suspicious_requests,
            signalling_omitted: leg.signalling.omitted,
            heard: leg.seen,
        })));
        let known_for = match leg.may_go_on(reason) {
            true => {
                leg.fall_asleep();
                self.limits.idle_on_hold
            }
            false => {
                leg.bury();
                FORGET
            }
        };
        let (last_at, is_asleep) = (leg.last_at, leg.asleep.is_some());
        if !is_asleep {
            self.release_places(key);
        }
        self.let_go(key, reason, orders);
        self.interactions.close(key);
        self.count_recording(key);
        self.steering.steered.remove(&key);
        self.open -= 1;
        for timer in [
            LegTimer::Linger,
            LegTimer::Setup,
            LegTimer::Retry,
            LegTimer::Idle,
            LegTimer::TooLong,
        ] {
            self.timers.cancel(timer(key));
        }
        self.timers
            .set(LegTimer::Forget(key), ended_at.max(last_at) + known_for);
        self.over.push_back(key);
        while self.over.len() > self.limits.calls {
            if let Some(oldest) = self.over.pop_front() {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, key: CallKey) {
        self.timers.cancel(LegTimer::Forget(key));
        self.interactions.forget(key);
        self.lay_to_rest(key);
        let Some(leg) = self.legs.remove(&key) else {
            return;
        };
        if let Some(keys) = self.by_call_id.get_mut(&leg.call_id) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_call_id.remove(&leg.call_id);
            }
        }
    }
}

/// Whether requests of this method, and their answers, say something about a call.
fn is_of_a_call(method: Method) -> bool {
    use Method::{Ack, Bye, Cancel, Invite, Prack, Update};
    matches!(
        method,
        Invite | Ack | Bye | Cancel | Update | Prack | Method::Info | Method::Refer
    )
}
