//! The signalling half: SIP messages in, media plans and news of calls out.
//!
//! A leg is found by its Call-ID and tags at its vantage, and followed from INVITE to BYE whatever is lost, repeated or out
//! of order on the way. Nothing here sees RTP; orders to the media half are values.

mod description;
mod leg;
mod parties;
mod protection;
mod refusal;
mod requests;
mod responses;
#[cfg(test)]
mod tests;
mod within;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use self::description::Description;
use self::leg::{Leg, State};
pub use self::parties::{Sensor, with_facts};
use self::refusal::Refused;
use super::event::{CallInfo, Digit, EndReason, HoldSpan};
use super::plan::{CallKey, Keyless, MediaPlan};
use super::timer::Timers;
use crate::base::{Flow, InteractionId, PerSide, Side, Timestamp, WireMap, time_ordered};
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
    /// From INVITE to a final answer.
    pub setup: Duration,
    /// Of an answered call whose media stopped, without signalling.
    pub idle: Duration,
    /// The same while one side holds the other, or where no media ever came.
    pub idle_on_hold: Duration,
    pub longest_call: Duration,
}

impl Default for SignallingLimits {
    fn default() -> Self {
        SignallingLimits {
            calls: 20_000,
            setup: Duration::from_secs(300),
            idle: Duration::from_secs(300),
            idle_on_hold: Duration::from_secs(4 * 3600),
            longest_call: Duration::from_secs(24 * 3600),
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
}

/// What the signalling half tells the rest.
#[derive(Debug)]
pub enum Order {
    /// News of a call.
    Tell(CallKey, Arc<CallInfo>),
    Plan(Box<MediaPlan>),
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
    /// Keys told by signalling.
    pub digits: Vec<Digit>,
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
    legs: WireMap<CallKey, Leg>,
    by_call_id: WireMap<Box<str>, SmallVec<[CallKey; 2]>>,
    /// Legs that are over, oldest first; as many as there may be calls.
    over: VecDeque<CallKey>,
    open: usize,
    refused: Refused,
    next_key: u64,
    timers: Timers<LegTimer>,
    counters: SignallingCounters,
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
            limits,
            directory,
            legs: WireMap::default(),
            by_call_id: WireMap::default(),
            over: VecDeque::new(),
            open: 0,
            refused: Refused::default(),
            next_key: 1,
            timers: Timers::default(),
            counters: SignallingCounters::default(),
        }
    }

    /// Calls that begin from now on are matched against `directory`.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.directory = directory;
    }

    pub fn counters(&self) -> &SignallingCounters {
        &self.counters
    }

    /// Calls that are not over.
    pub fn open_calls(&self) -> usize {
        self.open
    }

    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
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
            self.counters.other_methods += 1;
            return;
        }
        match message.start {
            StartLine::Request { .. } => self.handle_request(&envelope, orders),
            StartLine::Response { status, .. } => self.handle_response(&envelope, status, orders),
        }
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
            keys.filter_map(|key| self.legs.get(key))
        };
        let here = |leg: &&Leg| leg.vantages.contains(&envelope.flow.vantage);
        let fits = |leg: &Leg| Some((leg.key, leg.requester(envelope.from_tag, envelope.to_tag)?));
        let first_invite = envelope.is_request()
            && envelope.method == Method::Invite
            && envelope.to_tag.is_empty();
        let elsewhere = || {
            legs()
                .filter(|leg| !first_invite && !here(leg))
                .find_map(fits)
        };
        legs().filter(here).find_map(fits).or_else(elsewhere)
    }

    /// Enters a new leg; `None` when there are too many.
    fn open_leg(
        &mut self,
        envelope: &Envelope<'_, '_>,
        requester: Side,
        from_start: bool,
    ) -> Option<CallKey> {
        if self.open >= self.limits.calls {
            return None;
        }
        self.counters.calls += 1;
        let key = CallKey(self.next_key);
        self.next_key += 1;
        let leg = self.new_leg(key, envelope, requester, from_start);
        self.by_call_id
            .entry(envelope.call_id.into())
            .or_default()
            .push(key);
        self.legs.insert(key, leg);
        self.open += 1;
        self.timers
            .set(LegTimer::Setup(key), envelope.time + self.limits.setup);
        self.timers.set(
            LegTimer::TooLong(key),
            envelope.time + self.limits.longest_call,
        );
        Some(key)
    }

    fn new_leg(
        &self,
        key: CallKey,
        envelope: &Envelope<'_, '_>,
        requester: Side,
        from_start: bool,
    ) -> Leg {
        let message = envelope.message;
        let mut parties = PerSide::default();
        parties[requester] = parties::party(message.from());
        parties[requester.other()] = parties::party(message.to());
        let attribution = parties::attribute(
            &self.directory,
            &self.sensor,
            &envelope.request_flow(),
            message,
            None,
        );
        parties::name_parties(&mut parties, &attribution);
        let seed = self.seed(envelope);
        let owners = parties::owners(&self.directory, &self.sensor, &attribution, share(&seed));
        let mut tags = PerSide::default();
        tags[requester] = envelope.from_tag.to_owned();
        tags[requester.other()] = if from_start {
            String::new()
        } else {
            envelope.to_tag.to_owned()
        };
        let info = CallInfo {
            call_id: parties::capped(envelope.call_id),
            interaction: InteractionId(time_ordered(envelope.time, first_ten(&seed))),
            vantage: envelope.flow.vantage,
            invite_at: envelope.time,
            answered_at: None,
            replaces: message
                .replaces()
                .map(|replaces| parties::capped(replaces.call_id)),
            transfers: Vec::new(),
            parties,
            attribution: Arc::new(attribution),
            owners,
            seed,
        };
        Leg::new(
            key,
            envelope.call_id,
            tags,
            from_start,
            info,
            self.directory.clone(),
        )
    }

    /// 32 bytes that are the same whenever the same INVITE is read at the same place and time, and for no other.
    fn seed(&self, envelope: &Envelope<'_, '_>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for text in [
            &*self.sensor.name,
            envelope.call_id,
            envelope.from_tag,
            envelope.to_tag,
            envelope.branch,
        ] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        let vantage = &envelope.flow.vantage;
        hasher.update(&vantage.interface.to_le_bytes());
        vantage
            .vlans
            .iter()
            .for_each(|vlan| _ = hasher.update(&vlan.to_le_bytes()));
        hasher.update(&vantage.tunnels.to_bits().to_le_bytes());
        hasher.update(&envelope.time.as_nanos().to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    /// Hands the media half a new plan, where something changed.
    fn replan(&mut self, key: CallKey, orders: &mut Orders) {
        if let Some(plan) = self.legs.get_mut(&key).and_then(Leg::new_plan) {
            orders.push(Order::Plan(Box::new(plan)));
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
        let description = Description::parse(body);
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
        })));
        leg.bury();
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
            .set(LegTimer::Forget(key), ended_at.max(leg.last_at) + FORGET);
        self.over.push_back(key);
        while self.over.len() > self.limits.calls {
            if let Some(oldest) = self.over.pop_front() {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, key: CallKey) {
        self.timers.cancel(LegTimer::Forget(key));
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

    /// Runs the timers due at `now`. `last_media` tells when media of a call was last seen.
    pub fn handle_timeout(
        &mut self,
        now: Timestamp,
        last_media: impl Fn(CallKey) -> Option<Timestamp>,
        orders: &mut Orders,
    ) {
        while let Some((at, timer)) = self.timers.pop_due(now) {
            match timer {
                LegTimer::Linger(key) => {
                    if let Some(State::Ending { by, at }) = self.legs.get(&key).map(|leg| leg.state)
                    {
                        self.end(key, at, EndReason::Bye { by }, orders);
                    }
                }
                LegTimer::Setup(key) => self.check_setup(key, at, &last_media, orders),
                LegTimer::Retry(key) => {
                    if let Some(State::Refused { status }) =
                        self.legs.get(&key).map(|leg| leg.state)
                    {
                        self.end(key, at, EndReason::Rejected { status }, orders);
                    }
                }
                LegTimer::Idle(key) => self.check_idle(key, at, &last_media, orders),
                LegTimer::TooLong(key) => self.end(key, at, EndReason::TooLong, orders),
                LegTimer::Forget(key) => {
                    // Mostly the oldest is the first to be forgotten.
                    match self.over.front() == Some(&key) {
                        true => drop(self.over.pop_front()),
                        false => self.over.retain(|over| *over != key),
                    }
                    self.forget(key);
                }
            }
        }
    }

    /// A call without a final answer: over, unless media says that the answer was missed.
    fn check_setup(
        &mut self,
        key: CallKey,
        at: Timestamp,
        last_media: &impl Fn(CallKey) -> Option<Timestamp>,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        if leg.cancelled {
            return self.end(key, at, EndReason::Cancelled, orders);
        }
        let heard = last_media(key).map_or(Timestamp::MIN, |media| media.max(leg.last_at));
        if heard + LINGER * 20 > at {
            self.timers.set(LegTimer::Setup(key), heard + LINGER * 20);
        } else {
            self.end(key, at, EndReason::SetupTimeout, orders);
        }
    }

    fn check_idle(
        &mut self,
        key: CallKey,
        at: Timestamp,
        last_media: &impl Fn(CallKey) -> Option<Timestamp>,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        // Media that never came goes another way: its silence says nothing about the call.
        let media = last_media(key);
        let patience = if leg.on_hold() || media.is_none() {
            self.limits.idle_on_hold
        } else {
            self.limits.idle
        };
        let last = media.map_or(leg.last_at, |media| media.max(leg.last_at));
        let due = last + patience;
        if due <= at {
            self.end(key, at, EndReason::MediaTimeout, orders);
        } else if last > at {
            // Of a capture whose clock jumps.
            self.timers.set(LegTimer::Idle(key), due);
        } else {
            // Media may begin, and a hold end, at any time: what to wait for is asked again.
            let again = due.min(at + self.limits.idle);
            self.timers.set(LegTimer::Idle(key), again);
        }
    }

    /// Ends all calls: the capture is over, or the daemon.
    pub fn finish(&mut self, now: Timestamp, reason: EndReason, orders: &mut Orders) {
        let mut keys: Vec<CallKey> = self
            .legs
            .values()
            .filter(|leg| leg.is_open())
            .map(|leg| leg.key)
            .collect();
        keys.sort_unstable();
        for key in keys {
            let (at, reason) = match self.legs.get(&key).map(|leg| leg.state) {
                Some(State::Ending { by, at }) => (at, EndReason::Bye { by }),
                Some(State::Refused { status }) => (now, EndReason::Rejected { status }),
                _ => (now, reason),
            };
            self.end(key, at, reason, orders);
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

/// 0 to 99, evenly.
fn share(seed: &[u8; 32]) -> u8 {
    let number = u64::from_le_bytes(seed[24..].try_into().expect("32 less 24 bytes are 8"));
    (number % 100) as u8
}

fn first_ten(seed: &[u8; 32]) -> [u8; 10] {
    seed[..10].try_into().expect("ten of 32 bytes")
}
