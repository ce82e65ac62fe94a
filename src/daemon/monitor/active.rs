//! The calls in progress.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, TryLockError};

use smallvec::SmallVec;
use uuid::Uuid;

use super::listeners::LiveCounters;
use super::telling::Happening;
use crate::api::{ActiveCall, ActiveParticipant, ActiveParty};
use crate::base::{PerSide, SYSTEM_TENANT, Side, TenantId, Timestamp};
use crate::daemon::state::locked;
use crate::engine::control::pauses;
use crate::engine::event::{CallInfo, Event, Ownership};
use crate::engine::plan::CallKey;
use crate::recorder::conversation;
use crate::storage::{ParticipantRecord, PartyRecord, Sidecar};

/// The calls that are not over: as many as the engine has.
#[derive(Debug, Default)]
pub struct ActiveCalls(Mutex<HashMap<CallKey, Present>>);

#[derive(Clone, Debug)]
struct Present {
    info: Arc<CallInfo>,
    /// First media.
    start: Option<Timestamp>,
    /// What the tenants call it.
    ids: SmallVec<[(TenantId, Uuid); 2]>,
}

impl Present {
    fn new(info: Arc<CallInfo>) -> Present {
        Present {
            ids: ids_of(&info).collect(),
            info,
            start: None,
        }
    }

    fn update(&mut self, info: Arc<CallInfo>) {
        if info.owners.len() != self.ids.len() {
            self.ids = ids_of(&info).collect();
        }
        self.info = info;
    }
}

/// The id of a call in progress: it does not change when media begins, as that of its recording would.
fn ids_of(info: &CallInfo) -> impl Iterator<Item = (TenantId, Uuid)> {
    let tenants = info.owners.iter().map(|owner| owner.tenant);
    tenants.map(|tenant| (tenant, info.recording_id(tenant, info.invite_at).0))
}

impl ActiveCalls {
    /// Each call as one tenant has it, of one tenant or of all.
    pub fn of(&self, tenant: Option<TenantId>) -> Vec<ActiveCall> {
        // Copied before they are described: the engine's thread must not find this locked for long.
        let present: Vec<(CallKey, Present)> = {
            let calls = locked(&self.0);
            let wanted = calls.iter().filter(|(_, call)| {
                tenant.is_none_or(|tenant| call.ids.iter().any(|(owner, _)| *owner == tenant))
            });
            wanted.map(|(key, call)| (*key, call.clone())).collect()
        };
        let mut calls = Vec::with_capacity(present.len());
        for (key, Present { info, start, ids }) in present {
            let owners = info.owners.iter();
            let own = owners.filter(|owner| tenant.is_none_or(|tenant| owner.tenant == tenant));
            // What passed to another tenant is over for the first one.
            for owner in own.filter(|owner| owner.until.is_none()) {
                let id = ids.iter().find(|(tenant, _)| *tenant == owner.tenant);
                calls.extend(id.map(|(_, id)| describe(key, *id, &info, start, owner)));
            }
        }
        calls
    }

    /// Whether the call is not over.
    pub fn has(&self, call: CallKey) -> bool {
        locked(&self.0).contains_key(&call)
    }
}

/// A call as one of its owners may know it.
pub fn describe(
    key: CallKey,
    id: Uuid,
    info: &CallInfo,
    start: Option<Timestamp>,
    owner: &Ownership,
) -> ActiveCall {
    let tenant = owner.tenant;
    let is_recorded = owner.refusal.is_none();
    let recording = start.filter(|_| is_recorded);
    ActiveCall {
        id,
        key: key.0,
        tenant,
        tenant_name: owner.tenant_name.to_string(),
        interaction: owner.interaction.0,
        sip_call_id: info.call_id.clone(),
        invited_at: info.invite_at,
        answered_at: info.answered_at,
        heard_since: start,
        recording: recording.map(|start| info.recording_id(tenant, start).0),
        not_recorded: owner.refusal.map(|refusal| refusal.code()),
        is_pending: owner.pending.is_some(),
        is_paused: owner.until.is_none()
            && pauses(&info.control)
                .last()
                .is_some_and(|pause| pause.to.is_none()),
        // What passed to another tenant says no more of what becomes of it.
        held_by: match owner.until {
            None => info.held_by,
            Some(_) => PerSide::default(),
        },
        parties: PerSide::of(|side| {
            let is_known = owner.sides[side] || tenant == SYSTEM_TENANT;
            party(info, side, is_known)
        }),
        participants: own_participants(info, tenant),
    }
}

fn party(info: &CallInfo, side: Side, is_known: bool) -> ActiveParty {
    let party = &info.parties[side];
    let known = |text: &Option<Arc<str>>| {
        let text = text.as_ref().filter(|_| is_known);
        text.map(|text| text.to_string())
    };
    ActiveParty {
        number: party.number.clone(),
        display: party.display.clone(),
        extension: known(&party.extension),
        user: known(&party.user),
    }
}

/// A call that a crash interrupted, as the sidecar of its recording tells of it.
pub fn describe_recovered(sidecar: &Sidecar) -> ActiveCall {
    let invited_at = Timestamp::from_nanos(sidecar.invite_at_ns);
    let party = |party: &PartyRecord| {
        let is_known = party.own || sidecar.tenant_id == SYSTEM_TENANT;
        let known = |text: &Option<String>| text.clone().filter(|_| is_known);
        ActiveParty {
            number: party.number.clone(),
            display: party.display.clone(),
            extension: known(&party.extension),
            user: known(&party.user),
        }
    };
    ActiveCall {
        id: sidecar.recording_id.at(invited_at).0,
        key: 0,
        tenant: sidecar.tenant_id,
        tenant_name: sidecar.tenant.clone(),
        interaction: sidecar.interaction_id.0,
        sip_call_id: sidecar.call_id.clone(),
        invited_at,
        answered_at: sidecar.answered_at_ns.map(Timestamp::from_nanos),
        heard_since: Some(Timestamp::from_nanos(sidecar.started_at_ns)),
        recording: Some(sidecar.recording_id.0),
        not_recorded: None,
        is_pending: false,
        is_paused: false,
        held_by: PerSide::default(),
        parties: PerSide {
            caller: party(&sidecar.caller),
            callee: party(&sidecar.callee),
        },
        participants: own(sidecar.participants.iter().cloned()),
    }
}

fn own_participants(info: &CallInfo, tenant: TenantId) -> Vec<ActiveParticipant> {
    own(conversation::participants(info, tenant, None).into_iter())
}

/// Those who are the tenant's.
fn own(all: impl Iterator<Item = ParticipantRecord>) -> Vec<ActiveParticipant> {
    all.filter(|participant| participant.own)
        .map(|participant| ActiveParticipant {
            side: participant.side,
            user: participant.user,
            extension: participant.extension,
            number: participant.number,
            from: Timestamp::from_nanos(participant.from_ns),
            to: participant.to_ns.map(Timestamp::from_nanos),
        })
        .collect()
}

/// What changes in the table.
#[derive(Debug)]
enum Change {
    Info(CallKey, Arc<CallInfo>),
    Start(CallKey, Timestamp),
    Over(CallKey),
}

/// The end of the engine's thread, which waits for nobody: what finds the table locked is entered with what comes next.
#[derive(Debug)]
pub struct Watch {
    calls: Arc<ActiveCalls>,
    waiting: Vec<Change>,
    telling: SyncSender<Happening>,
    counters: Arc<LiveCounters>,
}

impl Watch {
    pub fn new(
        calls: Arc<ActiveCalls>,
        telling: SyncSender<Happening>,
        counters: Arc<LiveCounters>,
    ) -> Watch {
        Watch {
            calls,
            waiting: Vec::new(),
            telling,
            counters,
        }
    }

    /// Takes note of an event. Blocks cost a branch.
    #[inline]
    pub fn event(&mut self, event: &Event) {
        if !matches!(
            event,
            Event::Block { .. } | Event::Signalling { .. } | Event::Standing { .. }
        ) {
            self.note(event);
        }
    }

    #[cold]
    fn note(&mut self, event: &Event) {
        let (change, happening) = match event {
            Event::Call { call, info } => (
                Change::Info(*call, info.clone()),
                Happening::Call(*call, info.clone()),
            ),
            Event::Recording { call, start, .. } => (
                Change::Start(*call, *start),
                Happening::Heard(*call, *start),
            ),
            Event::Ended(end) => (Change::Over(end.call), Happening::ended(end)),
            Event::Block { .. } | Event::Signalling { .. } | Event::Standing { .. } => return,
        };
        if self.telling.try_send(happening).is_err() {
            self.counters.untold.fetch_add(1, Ordering::Relaxed);
        }
        self.waiting.push(change);
        self.enter();
    }

    /// Enters what could not be entered before.
    pub fn enter(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut calls = match self.calls.0.try_lock() {
            Ok(calls) => calls,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for change in self.waiting.drain(..) {
            match change {
                Change::Info(call, info) => match calls.get_mut(&call) {
                    Some(present) => present.update(info),
                    None => _ = calls.insert(call, Present::new(info)),
                },
                Change::Start(call, start) => {
                    if let Some(present) = calls.get_mut(&call) {
                        present.start = Some(start);
                    }
                }
                Change::Over(call) => _ = calls.remove(&call),
            }
        }
    }
}
