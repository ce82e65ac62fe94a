//! What happens to calls, as events for those who follow them.
//!
//! In: what the engine and the recorder say happened. Out: one event for each tenant that owns the call, which names only what
//! is that tenant's. What passed to another tenant is over for the first one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::active::{describe, describe_recovered};
use crate::api::{ActiveCall, CallEvent, EventKind, Feed, Finished, Stored};
use crate::base::{TenantId, Timestamp};
use crate::engine::event::{CallEnd, CallInfo, Disposition, Ownership};
use crate::engine::plan::CallKey;
use crate::recorder::{CallOutcome, disposition_of};
use crate::storage::Sidecar;

/// Things that happened and wait to be told; what finds no room is not told.
const WAITING: usize = 16_384;

/// One thing that happened.
#[derive(Debug)]
pub enum Happening {
    Call(CallKey, Arc<CallInfo>),
    Heard(CallKey, Timestamp),
    Ended(Box<End>),
    /// It is an event already.
    Told(Box<CallEvent>),
}

/// The end of a call, without what is too large to wait.
#[derive(Debug)]
pub struct End {
    call: CallKey,
    info: Arc<CallInfo>,
    at: Timestamp,
    reason: &'static str,
    disposition: &'static str,
}

impl Happening {
    pub fn ended(end: &CallEnd) -> Happening {
        Happening::Ended(Box::new(End {
            call: end.call,
            info: end.info.clone(),
            at: end.ended_at,
            reason: end.reason.code(),
            disposition: end.disposition.code(),
        }))
    }

    /// The recordings of a call that are safe; one for each tenant that has one.
    pub fn ready(outcome: &CallOutcome) -> Vec<Happening> {
        let info = &outcome.end.info;
        let start = outcome.start.unwrap_or(info.invite_at);
        let ready = outcome.recordings.iter().filter_map(|of| {
            let (sidecar, _) = of.recording.as_ref()?;
            let owner = info.owners.iter().find(|owner| owner.tenant == of.tenant)?;
            let call = active(outcome.end.call, info, Some(start), owner);
            let at = owner.until.unwrap_or(outcome.end.ended_at);
            Some(stored(call, at, sidecar, of.disposition))
        });
        ready
            .map(|event| Happening::Told(Box::new(event)))
            .collect()
    }

    /// The end of a call that a crash interrupted, and its recording, which is safe.
    pub fn recovered(sidecar: &Sidecar) -> [Happening; 2] {
        let call = describe_recovered(sidecar);
        let at = sidecar.ended_at_ns.unwrap_or(sidecar.started_at_ns);
        let at = Timestamp::from_nanos(at);
        let disposition = disposition_of(sidecar);
        let ended = CallEvent {
            finished: Some(Finished {
                reason: "recovered",
                disposition: Some(disposition.code()),
            }),
            ..event(EventKind::CallEnded, call.clone(), at)
        };
        let ready = stored(call, at, sidecar, disposition);
        [ended, ready].map(|event| Happening::Told(Box::new(event)))
    }
}

/// The thread that tells.
pub struct Telling {
    pub happenings: SyncSender<Happening>,
    thread: JoinHandle<()>,
}

impl Telling {
    /// Starts the thread. `also` hears of each event after the feed.
    pub fn start(
        feed: Arc<Feed>,
        also: impl Fn(&CallEvent) + Send + 'static,
    ) -> std::io::Result<Telling> {
        let (happenings, receiver): (_, Receiver<Happening>) = sync_channel(WAITING);
        let mut teller = Teller {
            known: HashMap::new(),
            tell: Box::new(move |event| {
                also(&event);
                feed.publish(event);
            }),
        };
        let run = move || receiver.iter().for_each(|happening| teller.take(happening));
        let thread = std::thread::Builder::new()
            .name("telling".into())
            .spawn(run)?;
        Ok(Telling { happenings, thread })
    }

    /// Tells what waits, and ends. All other senders must be gone.
    pub fn finish(self) {
        drop(self.happenings);
        // A panic there was reported there.
        let _ = self.thread.join();
    }
}

/// What was told of a call.
#[derive(Debug, Default)]
struct Told {
    start: Option<Timestamp>,
    /// Tenants that were told that it began, and whether that it was answered.
    tenants: Vec<(TenantId, bool)>,
    /// Tenants for which it is over.
    over: Vec<TenantId>,
}

struct Teller {
    /// Calls that are not over: as many as the engine has.
    known: HashMap<CallKey, Told>,
    tell: Box<dyn FnMut(CallEvent) + Send>,
}

impl Teller {
    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Call(call, info) => self.hear_of(call, &info),
            Happening::Heard(call, start) => {
                if let Some(told) = self.known.get_mut(&call) {
                    told.start = Some(start);
                }
            }
            Happening::Ended(end) => self.end(&end),
            Happening::Told(event) => (self.tell)(*event),
        }
    }

    fn hear_of(&mut self, key: CallKey, info: &CallInfo) {
        let told = self.known.entry(key).or_default();
        for owner in &info.owners {
            let tenant = owner.tenant;
            if told.over.contains(&tenant) {
                continue;
            }
            let call = |start| active(key, info, start, owner);
            if let Some(until) = owner.until {
                told.over.push(tenant);
                (self.tell)(ended(call(told.start), until, "passed_on", owner, None));
                continue;
            }
            let place = told.tenants.iter().position(|(known, _)| *known == tenant);
            let place = place.unwrap_or_else(|| {
                told.tenants.push((tenant, false));
                (self.tell)(event(
                    EventKind::CallStarted,
                    call(told.start),
                    info.invite_at,
                ));
                told.tenants.len() - 1
            });
            if let (Some(at), (_, answered @ false)) = (info.answered_at, &mut told.tenants[place])
            {
                *answered = true;
                (self.tell)(event(EventKind::CallAnswered, call(told.start), at));
            }
        }
    }

    fn end(&mut self, end: &End) {
        let told = self.known.remove(&end.call).unwrap_or_default();
        let owners = end.info.owners.iter();
        for owner in owners.filter(|owner| !told.over.contains(&owner.tenant)) {
            let call = active(end.call, &end.info, told.start, owner);
            let disposition = Some(end.disposition);
            (self.tell)(ended(call, end.at, end.reason, owner, disposition));
        }
    }
}

fn active(
    key: CallKey,
    info: &CallInfo,
    start: Option<Timestamp>,
    owner: &Ownership,
) -> ActiveCall {
    let id = info.recording_id(owner.tenant, info.invite_at).0;
    describe(key, id, info, start, owner)
}

fn event(kind: EventKind, call: ActiveCall, at: Timestamp) -> CallEvent {
    CallEvent {
        kind,
        at,
        call,
        finished: None,
        stored: None,
    }
}

/// A recording of the call is safe.
fn stored(
    call: ActiveCall,
    at: Timestamp,
    sidecar: &Sidecar,
    disposition: Disposition,
) -> CallEvent {
    CallEvent {
        stored: Some(Stored {
            call_id: sidecar.recording_id.0,
            length_ms: sidecar.length_ms(),
            size_bytes: sidecar.size_bytes,
            disposition: disposition.code(),
        }),
        ..event(EventKind::RecordingReady, call, at)
    }
}

fn ended(
    call: ActiveCall,
    at: Timestamp,
    reason: &'static str,
    owner: &Ownership,
    disposition: Option<&'static str>,
) -> CallEvent {
    let refused = owner
        .refusal
        .or(owner.pending)
        .map(|refusal| refusal.code());
    CallEvent {
        finished: Some(Finished {
            reason,
            disposition: refused.or(disposition),
        }),
        ..event(EventKind::CallEnded, call, at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::base::SYSTEM_TENANT;
    use crate::recorder::tests::info;

    const CALL: CallKey = CallKey(1);
    const OTHER: TenantId = TenantId(uuid::Uuid::from_u128(7));

    type Told = Arc<Mutex<Vec<(TenantId, &'static str, Timestamp, Option<&'static str>)>>>;

    fn teller() -> (Teller, Told) {
        let told = Told::default();
        let to = told.clone();
        let tell = move |event: CallEvent| {
            let reason = event.finished.map(|finished| finished.reason);
            to.lock()
                .unwrap()
                .push((event.call.tenant, event.kind.name(), event.at, reason));
        };
        let teller = Teller {
            known: HashMap::new(),
            tell: Box::new(tell),
        };
        (teller, told)
    }

    fn end(info: &Arc<CallInfo>, at: Timestamp) -> Happening {
        Happening::Ended(Box::new(End {
            call: CALL,
            info: info.clone(),
            at,
            reason: "bye_caller",
            disposition: "recorded",
        }))
    }

    #[test]
    fn each_owner_is_told_once_of_start_answer_and_end() {
        let (mut teller, told) = teller();
        let ringing = info(&[SYSTEM_TENANT, OTHER]);
        let start = ringing.invite_at;
        let mut answered = (*ringing).clone();
        let at = start + Duration::from_secs(3);
        answered.answered_at = Some(at);
        let answered = Arc::new(answered);
        for info in [&ringing, &ringing, &answered, &answered] {
            teller.take(Happening::Call(CALL, info.clone()));
        }
        let over = start + Duration::from_secs(9);
        teller.take(end(&answered, over));
        let told = told.lock().unwrap();
        for tenant in [SYSTEM_TENANT, OTHER] {
            let own: Vec<_> = told.iter().filter(|event| event.0 == tenant).collect();
            assert_eq!(
                own,
                [
                    &(tenant, "call.started", start, None),
                    &(tenant, "call.answered", at, None),
                    &(tenant, "call.ended", over, Some("bye_caller")),
                ]
            );
        }
        assert!(teller.known.is_empty());
    }

    #[test]
    fn a_call_that_passed_on_is_over_for_who_had_it_first() {
        let (mut teller, told) = teller();
        let first = info(&[OTHER]);
        teller.take(Happening::Call(CALL, first.clone()));
        let until = first.invite_at + Duration::from_secs(5);
        let mut passed = (*first).clone();
        passed.owners[0].until = Some(until);
        let passed = Arc::new(passed);
        teller.take(Happening::Call(CALL, passed.clone()));
        teller.take(Happening::Call(CALL, passed.clone()));
        teller.take(end(&passed, until + Duration::from_secs(60)));
        let told = told.lock().unwrap();
        let ends: Vec<_> = told
            .iter()
            .filter(|event| event.1 == "call.ended")
            .collect();
        assert_eq!(ends, [&(OTHER, "call.ended", until, Some("passed_on"))]);
    }

    #[test]
    fn a_call_that_a_crash_interrupted_ends_under_the_id_that_it_had() {
        let info = info(&[OTHER]);
        let start = info.invite_at + Duration::from_secs(2);
        let before = active(CALL, &info, Some(start), &info.owners[0]);
        let mut sidecar = Sidecar::empty(info.recording_id(OTHER, start), OTHER, start);
        sidecar.invite_at_ns = info.invite_at.as_nanos();
        sidecar.call_id.clone_from(&info.call_id);
        sidecar.interaction_id = info.owners[0].interaction;
        sidecar.ended_at_ns = Some((start + Duration::from_secs(5)).as_nanos());
        (sidecar.samples, sidecar.size_bytes) = (40_000, 160_172);
        let party = |own| crate::storage::PartyRecord {
            number: "1001".into(),
            user: Some("ann".into()),
            own,
            ..Default::default()
        };
        (sidecar.caller, sidecar.callee) = (party(true), party(false));
        let told = Happening::recovered(&sidecar).map(|happening| match happening {
            Happening::Told(event) => *event,
            other => panic!("{other:?}"),
        });
        let [ended, ready] = &told;
        assert_eq!(
            (ended.kind.name(), ready.kind.name()),
            ("call.ended", "recording.ready")
        );
        for event in &told {
            let call = &event.call;
            assert_eq!((call.id, call.interaction), (before.id, before.interaction));
            assert_eq!(
                (call.tenant, &call.sip_call_id),
                (OTHER, &before.sip_call_id)
            );
            assert_eq!(call.recording, before.recording);
            assert_eq!(event.at, start + Duration::from_secs(5));
            // Who the other side is in the directory is not this tenant's to know.
            assert_eq!(call.parties.caller.user.as_deref(), Some("ann"));
            assert_eq!(call.parties.callee.user, None);
        }
        let finished = ended.finished.unwrap();
        assert_eq!(
            (finished.reason, finished.disposition),
            ("recovered", Some("recorded"))
        );
        let stored = ready.stored.unwrap();
        assert_eq!((stored.length_ms, stored.size_bytes), (5000, 160_172));
        assert_eq!(Some(stored.call_id), before.recording);
    }

    #[test]
    fn what_is_refused_says_why() {
        let mut refused = (*info(&[OTHER])).clone();
        refused.owners[0].refusal = Some(Disposition::PolicyNone);
        let events = Arc::new(Mutex::new(Vec::new()));
        let to = events.clone();
        let mut teller = Teller {
            known: HashMap::new(),
            tell: Box::new(move |event| to.lock().unwrap().push(event)),
        };
        let at = refused.invite_at;
        teller.take(end(&Arc::new(refused), at));
        let events = events.lock().unwrap();
        let [event] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(event.finished.unwrap().disposition, Some("policy_none"));
        assert_eq!(event.call.not_recorded, Some("policy_none"));
        assert_eq!(event.call.recording, None);
    }
}
