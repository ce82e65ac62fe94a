//! Who asks what of a recording: headers, preferences and keys of the call itself, and requests from outside.

use std::collections::BTreeSet;

use super::*;
use crate::base::{RecordingId, TenantId};
use crate::directory::MAX_KEYS;
use crate::engine::control::{
    self as asked, ControlAction, ControlBy, ControlNote, ControlOutcome, ControlRequest,
    MAX_CONTROL_NOTES, Reached,
};

/// Keys kept of one call.
const MAX_DIGITS: usize = 1024;
/// Keys of one pattern follow each other within this time.
const KEYS_WITHIN: Duration = Duration::from_secs(5);
/// Values read of one header; a message has one, an attacker many.
const MAX_VALUES: usize = 8;

/// Where a key was heard. A phone may say each key in both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// RFC 4733.
    Media,
    /// INFO.
    Signalling,
}

/// The latest keys of one side by one way, at most [`MAX_KEYS`].
#[derive(Debug, Default)]
pub(super) struct RecentKeys {
    keys: String,
    first_at: VecDeque<Timestamp>,
}

impl RecentKeys {
    fn push(&mut self, key: char, at: Timestamp) {
        let last = self.first_at.back().copied().unwrap_or(at);
        if at > last + KEYS_WITHIN {
            self.clear();
        }
        if self.keys.len() == MAX_KEYS {
            self.keys.remove(0);
            self.first_at.pop_front();
        }
        self.keys.push(key);
        self.first_at.push_back(at);
    }

    /// When the first of the last `count` keys was pressed.
    fn began(&self, count: usize) -> Option<Timestamp> {
        let at = self.first_at.len().checked_sub(count)?;
        self.first_at.get(at).copied()
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.first_at.clear();
    }
}

/// What is remembered of a leg whose tenants listen.
#[derive(Debug, Default)]
pub(super) struct Heard {
    keys: PerSide<[RecentKeys; 2]>,
    /// Messages that were read already, the latest last: once more, or at the next hop, they ask nothing more.
    messages: VecDeque<(Side, u32, Method, u16)>,
}

/// Messages remembered of one leg.
const MAX_HEARD: usize = 16;

/// What is known over all calls.
#[derive(Debug, Default)]
pub(super) struct Steering {
    /// Calls being recorded, of tenants whose plan limits them.
    recording: WireMap<TenantId, u32>,
    /// Calls that are not over and about which something was asked.
    pub steered: BTreeSet<CallKey>,
}

/// Where a note comes among those of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// It is the latest.
    AsHeard,
    /// It was asked of another leg: its time says.
    ByTime,
}

impl Signalling {
    /// A key was pressed. It is kept, unless the call was paused then or it was part of a pattern that asks for something.
    pub fn press(&mut self, key: CallKey, digit: Digit, source: KeySource, orders: &mut Orders) {
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return;
        };
        if leg.digits.len() < MAX_DIGITS && !leg.is_paused(digit.at) {
            leg.digits.push(digit);
        }
        let Some(wish) = leg.hear_key(digit, source) else {
            return;
        };
        self.ask(key, &wish, orders);
    }

    /// Reads a message for what the tenants of its call take for a wish. `to`: only these tenants, where the others heard it.
    pub(super) fn heed(
        &mut self,
        key: CallKey,
        sender: Side,
        message: &Message<'_>,
        at: Timestamp,
        to: Option<&[TenantId]>,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return;
        };
        if leg.info.owners.iter().all(|owner| owner.control.is_none())
            || to.is_none() && !leg.is_new_to(sender, message)
        {
            return;
        }
        for wish in leg.wishes(sender, message, at, to) {
            self.ask(key, &wish, orders);
        }
    }

    /// Does what is asked to a call and to all that belong to its interaction.
    fn ask(&mut self, key: CallKey, wish: &ControlNote, orders: &mut Orders) -> u32 {
        if !self.note(key, wish, Rank::AsHeard, orders) {
            return 0;
        }
        let others = self.reached(key, wish.action, wish.tenant).into_iter();
        1 + others
            .filter(|other| *other != key && self.note(*other, wish, Rank::AsHeard, orders))
            .count() as u32
    }

    /// Notes a wish with one call, and tells what follows from it; `false` where it changes nothing.
    pub(super) fn note(
        &mut self,
        key: CallKey,
        wish: &ControlNote,
        rank: Rank,
        orders: &mut Orders,
    ) -> bool {
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return false;
        };
        if !leg.take_wish(wish, rank) {
            return false;
        }
        self.steering.steered.insert(key);
        self.count_recording(key);
        self.tell(key, orders);
        self.replan(key, orders);
        true
    }

    /// Does what somebody outside asks. `start` tells when a call's recording began, for those named by their recording.
    pub fn control(
        &mut self,
        request: &ControlRequest,
        at: Timestamp,
        start: impl Fn(CallKey) -> Option<Timestamp>,
        orders: &mut Orders,
    ) -> ControlOutcome {
        let meant = self.find_meant(&request.target, start);
        let first = meant.first().and_then(|key| self.legs.get(key));
        let mut outcome = ControlOutcome {
            reached: Vec::new(),
            at,
            interaction: first.map(|leg| leg.info.interaction),
        };
        let wish = ControlNote {
            at,
            action: request.action,
            by: ControlBy::Request,
            tenant: request.tenant,
            side: None,
            who: request.who.clone(),
            why: request.why.clone(),
            alone: request.only.is_some(),
        };
        let only = request.only.as_deref();
        let mut calls: Vec<CallKey> = meant
            .iter()
            .flat_map(|key| self.reached(*key, request.action, request.tenant))
            .filter(|key| only.is_none_or(|only| only.contains(key)))
            .collect();
        calls.sort_unstable();
        calls.dedup();
        for call in calls {
            let owners = self.owners_of(call, request.tenant);
            let changed = !request.looks && self.note(call, &wish, Rank::AsHeard, orders);
            outcome.reached.push(Reached {
                call,
                changed,
                owners,
            });
        }
        outcome
    }

    /// Whose call it is, of the tenant's or of all, and what each calls it. What was handed on is over for who had it.
    fn owners_of(
        &self,
        call: CallKey,
        tenant: Option<TenantId>,
    ) -> SmallVec<[(TenantId, RecordingId); 2]> {
        let info = self.legs.get(&call).map(|leg| &leg.info);
        let owners = info.into_iter().flat_map(|info| {
            let own = info.owners.iter().filter(|owner| owner.until.is_none());
            own.map(|owner| {
                (
                    owner.tenant,
                    info.recording_id(owner.tenant, info.invite_at),
                )
            })
        });
        owners
            .filter(|(owner, _)| tenant.is_none_or(|tenant| tenant == *owner))
            .collect()
    }

    fn find_meant(
        &self,
        target: &str,
        start: impl Fn(CallKey) -> Option<Timestamp>,
    ) -> Vec<CallKey> {
        let id = uuid::Uuid::parse_str(target).ok();
        let is_meant = |leg: &&Leg| {
            let has_id = |id: uuid::Uuid| {
                leg.info.interaction.0 == id
                    || leg
                        .info
                        .owners
                        .iter()
                        .any(|owner| owner.interaction.0 == id)
                    || start(leg.key).is_some_and(|start| {
                        let mut owners = leg.info.owners.iter();
                        owners.any(|owner| leg.info.recording_id(owner.tenant, start).0 == id)
                    })
            };
            *leg.call_id == *target || id.is_some_and(has_id)
        };
        let open = self
            .legs
            .values()
            .map(|leg| &**leg)
            .filter(|leg| leg.is_open());
        let mut keys: Vec<CallKey> = open.filter(is_meant).map(|leg| leg.key).collect();
        keys.sort_unstable();
        keys
    }

    /// Counts the recordings of each tenant whose plan limits them, and refuses what is too much.
    pub(super) fn count_recording(&mut self, key: CallKey) {
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        for tenant in std::mem::take(&mut leg.counted) {
            if let Some(count) = self.steering.recording.get_mut(&tenant) {
                *count -= 1;
                if *count == 0 {
                    self.steering.recording.remove(&tenant);
                }
            }
        }
        let limited =
            |owner: &Ownership| owner.refusal.is_none() && owner.recording.concurrent.is_some();
        if !leg.is_open() || !leg.info.owners.iter().any(limited) {
            return;
        }
        for owner in &mut Arc::make_mut(&mut leg.info).owners {
            let Some(limit) = owner
                .recording
                .concurrent
                .filter(|_| owner.refusal.is_none())
            else {
                continue;
            };
            let count = self.steering.recording.entry(owner.tenant).or_default();
            if *count >= limit {
                owner.refusal = Some(Disposition::PlanLimit);
            } else {
                *count += 1;
                leg.counted.push(owner.tenant);
            }
        }
        self.steering.recording.retain(|_, count| *count > 0);
    }
}

/// 0 to 99, evenly: the same for a call wherever and however often it is seen.
pub(super) fn share(envelope: &Envelope<'_, '_>) -> u8 {
    let mut hasher = blake3::Hasher::new();
    for text in [envelope.call_id, envelope.from_tag] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    (u64::from_le_bytes(number) % 100) as u8
}

impl Leg {
    fn is_paused(&self, at: Timestamp) -> bool {
        !self.info.control.is_empty()
            && asked::pauses(&self.info.control)
                .iter()
                .any(|pause| pause.holds(at))
    }

    /// Notes that a message was read; `false` when it was before.
    fn is_new_to(&mut self, sender: Side, message: &Message<'_>) -> bool {
        let Some(cseq) = message.cseq() else {
            return false;
        };
        let status = match message.start {
            StartLine::Request { .. } => 0,
            StartLine::Response { status, .. } => status,
        };
        let name = (sender, cseq.number, cseq.method, status);
        let heard = &mut self.heard.get_or_insert_default().messages;
        if heard.contains(&name) {
            return false;
        }
        if heard.len() == MAX_HEARD {
            heard.pop_front();
        }
        heard.push_back(name);
        true
    }

    /// What a key completes, if it does. Its pattern is then forgotten.
    fn hear_key(&mut self, digit: Digit, source: KeySource) -> Option<ControlNote> {
        let listens = |owner: &&Ownership| {
            let rules = owner.control.as_ref();
            owner.sides[digit.by] && rules.is_some_and(|rules| !rules.keys.is_empty())
        };
        if !self.info.owners.iter().any(|owner| listens(&owner)) {
            return None;
        }
        let [by_media, by_signalling] = &mut self.heard.get_or_insert_default().keys[digit.by];
        let recent = match source {
            KeySource::Media => by_media,
            KeySource::Signalling => by_signalling,
        };
        recent.push(digit.key, digit.at);
        let mut owners = self.info.owners.iter().filter(listens);
        let (tenant, action, count) = owners.find_map(|owner| {
            let (action, count) = owner.control.as_ref()?.action_of_keys(&recent.keys)?;
            Some((owner.tenant, action, count))
        })?;
        let began = recent.began(count).unwrap_or(digit.at);
        recent.clear();
        self.digits
            .retain(|other| other.by != digit.by || other.at < began);
        Some(ControlNote {
            at: digit.at,
            action,
            by: ControlBy::Keys,
            tenant: Some(tenant),
            side: Some(digit.by),
            who: self.name_of(digit.by),
            why: "keys".into(),
            alone: false,
        })
    }

    /// A side as people know it.
    fn name_of(&self, side: Side) -> String {
        let party = &self.info.parties[side];
        let known = party.user.as_ref().or(party.extension.as_ref());
        known.map_or_else(|| party.number.clone(), |name| name.to_string())
    }

    /// What a message of `sender` asks, in the eyes of each tenant.
    fn wishes(
        &self,
        sender: Side,
        message: &Message<'_>,
        at: Timestamp,
        to: Option<&[TenantId]>,
    ) -> SmallVec<[ControlNote; 2]> {
        let mut wishes = SmallVec::new();
        for owner in &self.info.owners {
            let Some(rules) = &owner.control else {
                continue;
            };
            if to.is_some_and(|to| !to.contains(&owner.tenant)) || !rules.hears(owner.sides[sender])
            {
                continue;
            }
            let mut wish = |action, by, why| {
                wishes.push(ControlNote {
                    at,
                    action,
                    by,
                    tenant: Some(owner.tenant),
                    side: Some(sender),
                    who: self.name_of(sender),
                    why,
                    alone: false,
                });
            };
            if let Some(header) = &rules.header {
                for value in message.header_values(&header.name).take(MAX_VALUES) {
                    if let Some(action) = rules.action_of(value) {
                        let why = format!("{}: {}", header.name, action.name());
                        wish(action, ControlBy::Header, why);
                    }
                }
            }
            if rules.recordpref
                && let Some((actions, why)) = message.sdp().and_then(preference)
            {
                for &action in actions {
                    wish(action, ControlBy::Preference, format!("recordpref:{why}"));
                }
            }
        }
        wishes
    }

    /// Notes a wish among those of its time; `false` where it changes nothing, or too much was asked already.
    fn take_wish(&mut self, wish: &ControlNote, rank: Rank) -> bool {
        use ControlAction::{Keep, Pause, Resume, Stop};
        let notes = &self.info.control;
        let room = match wish.action {
            Pause => notes.len() < MAX_CONTROL_NOTES,
            _ => notes.len() + 1 < MAX_CONTROL_NOTES,
        };
        let place = match rank {
            Rank::ByTime => notes.partition_point(|note| note.at <= wish.at),
            Rank::AsHeard => notes.len(),
        };
        let changes = match wish.action {
            Pause | Resume => asked::moves_pause(&notes[..place], wish.action, wish.tenant),
            Stop => self.any_owner(wish.tenant, |owner| owner.refusal.is_none()),
            Keep => self.any_owner(wish.tenant, |owner| {
                owner.pending.is_some() && owner.refusal.is_none()
            }),
        };
        if !room || !changes {
            return false;
        }
        let info = Arc::make_mut(&mut self.info);
        let note = ControlNote {
            who: parties::capped(&wish.who),
            why: parties::capped(&wish.why),
            ..*wish
        };
        info.control.insert(place, note);
        asked::apply(&info.control, &mut info.owners);
        true
    }

    fn any_owner(&self, tenant: Option<TenantId>, is: impl Fn(&Ownership) -> bool) -> bool {
        let mut owners = self.info.owners.iter();
        owners.any(|owner| tenant.is_none_or(|tenant| tenant == owner.tenant) && is(owner))
    }
}

/// What a session description says of recording (RFC 7866 section 6.2): the last `a=recordpref`, that of its latest media. `off`
/// may become `on` again with the next description: it is a pause.
fn preference(sdp: &[u8]) -> Option<(&'static [ControlAction], &'static str)> {
    use ControlAction::{Keep, Pause, Resume};
    let text = String::from_utf8_lossy(sdp);
    let mut said = text
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("a=recordpref:"));
    match said.next_back()?.trim() {
        "on" => Some((&[Resume, Keep], "on")),
        "off" => Some((&[Pause], "off")),
        "pause" => Some((&[Pause], "pause")),
        "nopreference" => Some((&[Resume], "nopreference")),
        _ => None,
    }
}
