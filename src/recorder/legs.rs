//! `legs = "one"`: of several legs of one interaction that a tenant owns, one recording is kept.
//!
//! A recording is removed only where another one has what it has: one of a hop of the same call (not of a transfer), that
//! lasts as long and in which as much of each side is heard. Where two have the same, kept is the leg with media of both
//! sides; of those the one that shows more of the tenant's own phones at their own addresses; of those the one that began
//! first. That is known when both are over: each is made safe as if it were alone, and the one that is not kept is removed
//! after that. A leg that ended in an earlier run of the program is not remembered, and both stay.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use super::{CallOutcome, RecordingOutcome};
use crate::base::{InteractionId, PerSide, Side, TenantId, Timestamp};
use crate::directory::Nearness;
use crate::engine::event::{CallEnd, CallInfo, Disposition, LinkReason};
use crate::engine::plan::CallKey;
use crate::storage::{Cause, Kind, Layout, RecordingName, Sidecar};

/// Interactions remembered; beyond it the recordings of the oldest are kept whatever comes.
const MAX_KEPT: usize = 4096;
/// Recordings remembered of one interaction; further ones are kept whatever comes.
const MAX_LEGS: usize = 16;
/// Signalling and media of one leg come so much later than those of another.
const LAG_NANOS: i64 = 1_000_000_000;

type Key = (TenantId, InteractionId);

/// The larger is kept. The last part makes the order total.
type Rank = (bool, usize, Reverse<Timestamp>, Reverse<[u8; 32]>);

/// The recordings of tenants that want one of each interaction.
#[derive(Debug, Default)]
pub struct Legs {
    kept: HashMap<Key, Vec<Kept>>,
    order: VecDeque<Key>,
}

#[derive(Debug)]
struct Kept {
    rank: Rank,
    extent: Extent,
    name: RecordingName,
    end: Box<CallEnd>,
    start: Option<Timestamp>,
    told: Disposition,
    /// Calls that had the same, and were removed for this one.
    same: Vec<CallKey>,
}

/// What a recording has.
#[derive(Clone, Copy, Debug)]
struct Extent {
    from: i64,
    to: i64,
    /// Nanoseconds in which there is something of the side.
    heard: PerSide<i64>,
}

impl Extent {
    fn of(sidecar: &Sidecar) -> Extent {
        let nanos = |samples: u64| {
            let nanos =
                u128::from(samples) * 1_000_000_000 / u128::from(sidecar.sample_rate_hz.max(1));
            i64::try_from(nanos).unwrap_or(i64::MAX)
        };
        let length = nanos(sidecar.samples);
        let mut heard = PerSide {
            caller: length,
            callee: length,
        };
        // A hold says who held, not that nothing is heard.
        let silent = |cause| {
            !matches!(
                cause,
                Cause::Hold | Cause::Dtmf | Cause::ComfortNoise | Cause::Concealed
            )
        };
        for segment in sidecar
            .segments
            .iter()
            .filter(|segment| silent(segment.cause))
        {
            heard[segment.side] -= nanos(segment.to.saturating_sub(segment.from));
        }
        Extent {
            from: sidecar.started_at_ns,
            to: sidecar.started_at_ns.saturating_add(length),
            heard,
        }
    }

    /// Whether nothing of the other one is missing here.
    fn covers(&self, other: &Extent) -> bool {
        let as_much = |side| {
            let few = LAG_NANOS.max(other.heard[side] / 100);
            self.heard[side] + few >= other.heard[side]
        };
        self.from <= other.from.saturating_add(LAG_NANOS)
            && self.to >= other.to.saturating_sub(LAG_NANOS)
            && Side::BOTH.into_iter().all(as_much)
    }
}

impl Kept {
    /// Whether this one has all that the other has: `other` is a hop of the same call, or of one that had the same as this.
    /// Legs that only sound alike may have been put together late: they have to be the same from beginning to end.
    fn stands_for(&self, other: &Kept) -> bool {
        let hop = |links: &CallInfo, call: CallKey| {
            let link = links.links.iter().find(|link| link.call == call);
            link.map(|link| link.reason)
                .filter(|reason| reason.is_hop())
        };
        let calls = std::iter::once(self.end.call).chain(self.same.iter().copied());
        let mut reasons = calls
            .filter_map(|call| hop(&other.end.info, call))
            .chain(hop(&self.end.info, other.end.call));
        let covers = self.extent.covers(&other.extent) && self.rank.0 >= other.rank.0;
        let alike = other.extent.covers(&self.extent);
        covers
            && reasons
                .any(|reason| alike || matches!(reason, LinkReason::Numbers | LinkReason::CallId))
    }
}

impl Legs {
    /// Looks at a call whose recordings are safe. What is not kept of it is removed and said in `outcome`; news of earlier
    /// calls that have to give way is returned.
    pub fn settle(&mut self, outcome: &mut CallOutcome, layout: &Layout) -> Vec<CallOutcome> {
        let mut news = Vec::new();
        let CallOutcome {
            end,
            start,
            recordings,
            ..
        } = outcome;
        for of in recordings {
            let owner = end.info.owners.iter().find(|o| o.tenant == of.tenant);
            let Some(owner) = owner.filter(|owner| owner.one_leg) else {
                continue;
            };
            let Some((sidecar, path)) = &of.recording else {
                continue;
            };
            let Some((name, _)) = RecordingName::parse(std::path::Path::new(path)) else {
                continue;
            };
            let own = Kept {
                rank: rank(sidecar, &end.info, of.tenant),
                extent: Extent::of(sidecar),
                name,
                end: end.clone(),
                start: *start,
                told: of.disposition,
                same: Vec::new(),
            };
            let key = (of.tenant, owner.interaction);
            news.extend(self.choose(key, own, of, layout));
        }
        news
    }

    /// Keeps a recording, or drops it where another one has what it has; what gives way to it.
    fn choose(
        &mut self,
        key: Key,
        mut own: Kept,
        of: &mut RecordingOutcome,
        layout: &Layout,
    ) -> Vec<CallOutcome> {
        let others = self.of(key);
        if others.iter().any(|kept| kept.end.call == own.end.call) {
            return Vec::new();
        }
        let wins = |a: &Kept, b: &Kept| a.stands_for(b) && (!b.stands_for(a) || a.rank >= b.rank);
        if let Some(kept) = others.iter_mut().find(|kept| wins(kept, &own)) {
            if own.extent.covers(&kept.extent) {
                kept.same.push(own.end.call);
            }
            drop_leg(of, &kept.end.info, &own.name, layout);
            return Vec::new();
        }
        let mut news = Vec::new();
        for before in others
            .extract_if(.., |kept| wins(&own, kept))
            .collect::<Vec<_>>()
        {
            if before.extent.covers(&own.extent) {
                own.same.push(before.end.call);
                own.same.extend(&before.same);
            }
            news.push(give_way(before, of.tenant, &own.end.info, layout));
        }
        if others.len() < MAX_LEGS {
            others.push(own);
        }
        news
    }

    /// What is kept of an interaction.
    fn of(&mut self, key: Key) -> &mut Vec<Kept> {
        if !self.kept.contains_key(&key) {
            if self.order.len() == MAX_KEPT
                && let Some(oldest) = self.order.pop_front()
            {
                self.kept.remove(&oldest);
            }
            self.order.push_back(key);
        }
        self.kept.entry(key).or_default()
    }
}

fn rank(sidecar: &Sidecar, info: &CallInfo, tenant: TenantId) -> Rank {
    let heard = |side| {
        sidecar
            .streams
            .iter()
            .any(|stream| stream.side == side && stream.packets > 0)
    };
    let near = Side::BOTH.into_iter().filter(|&side| {
        let claim = info.attribution.claim(side);
        claim.is_some_and(|claim| claim.tenant == tenant && claim.nearness == Nearness::Near)
    });
    (
        Side::BOTH.into_iter().all(heard),
        near.count(),
        Reverse(info.invite_at),
        Reverse(info.seed),
    )
}

/// An earlier leg gives way to one that is safe.
fn give_way(before: Kept, tenant: TenantId, kept: &CallInfo, layout: &Layout) -> CallOutcome {
    let mut of = RecordingOutcome {
        tenant,
        disposition: Disposition::OtherLeg,
        recording: None,
        kept_leg: None,
    };
    drop_leg(&mut of, kept, &before.name, layout);
    CallOutcome {
        end: before.end,
        start: before.start,
        recordings: vec![of],
        revised: Some(before.told),
    }
}

/// Removes a recording: first what says that it is one.
fn drop_leg(of: &mut RecordingOutcome, kept: &CallInfo, name: &RecordingName, layout: &Layout) {
    for kind in [Kind::Sidecar, Kind::Audio, Kind::Raw, Kind::Signalling] {
        let path = layout.path(name, kind);
        let removed = std::fs::remove_file(&path);
        // Most recordings have nothing beside them.
        if let Err(error) = removed
            && (error.kind() != std::io::ErrorKind::NotFound || kind == Kind::Audio)
        {
            tracing::warn!(%error, path = %path.display(), "a leg that is not kept could not be removed");
        }
    }
    of.disposition = Disposition::OtherLeg;
    of.recording = None;
    of.kept_leg = Some(kept.call_id.clone());
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::super::Recorder;
    use super::super::tests::{START, block, end, info, settings};
    use super::*;
    use crate::base::SYSTEM_TENANT;
    use crate::engine::event::{Event, Link, Sink};

    /// A call of both sides: key, seconds from the start, packets of 20 ms, and what it is linked to.
    type Call<'a> = (u64, u64, u32, &'a [(u64, LinkReason)]);

    /// Which calls have a recording in the end, of a tenant that wants one of each interaction.
    fn kept(calls: &[Call<'_>]) -> Vec<u64> {
        let folder = tempfile::tempdir().unwrap();
        let (sender, outcomes) = channel();
        let mut recorder = Recorder::start(settings(folder.path()), move |outcome| {
            sender.send(outcome).unwrap();
        })
        .unwrap();
        for call in calls {
            events(call)
                .into_iter()
                .for_each(|event| recorder.event(event));
        }
        recorder.finish();
        let mut kept: Vec<u64> = calls.iter().map(|call| call.0).collect();
        for outcome in &outcomes {
            if outcome.recordings[0].disposition == Disposition::OtherLeg {
                kept.retain(|call| *call != outcome.end.call.0);
            }
        }
        kept
    }

    fn events(&(key, second, packets, links): &Call<'_>) -> Vec<Event> {
        let (call, start) = (CallKey(key), START + Duration::from_secs(second));
        let mut of_call = (*info(&[SYSTEM_TENANT])).clone();
        of_call.invite_at = start;
        of_call.seed = [key as u8; 32];
        of_call.call_id = format!("call{key}");
        for owner in &mut of_call.owners {
            owner.one_leg = true;
        }
        let link = |&(other, reason): &(u64, LinkReason)| Link {
            call: CallKey(other),
            call_id: format!("call{other}"),
            reason,
            owners: [SYSTEM_TENANT].into_iter().collect(),
        };
        of_call.links = links.iter().map(link).collect();
        let of_call = std::sync::Arc::new(of_call);
        let mut events = vec![
            Event::Call {
                call,
                info: of_call.clone(),
            },
            Event::Recording {
                call,
                start,
                sample_rate_hz: 8000,
            },
        ];
        for index in 0..=packets * 160 / 4096 {
            let of_block = (0..packets).filter(|n| n * 160 / 4096 == index);
            let pieces: Vec<(Side, u32, u8)> = of_block
                .flat_map(|n| [(Side::Caller, n, 1), (Side::Callee, n, 2)])
                .collect();
            let block = block(u64::from(index), false, &pieces);
            events.push(Event::Block { call, block });
        }
        let mut end = end(&of_call, u64::from(packets));
        end.call = call;
        events.push(Event::Ended(end));
        events
    }

    #[test]
    fn of_two_hops_of_one_call_the_first_is_kept() {
        for reason in [LinkReason::Numbers, LinkReason::Audio] {
            let calls: [Call<'_>; 2] = [(1, 0, 250, &[(2, reason)]), (2, 0, 252, &[(1, reason)])];
            assert_eq!(kept(&calls), [1]);
        }
    }

    #[test]
    fn of_three_hops_one_is_kept_though_the_first_and_last_are_not_linked() {
        let numbers = LinkReason::Numbers;
        let calls: [Call<'_>; 3] = [
            (1, 0, 250, &[(2, numbers)]),
            (2, 0, 250, &[(1, numbers), (3, numbers)]),
            (3, 0, 250, &[(2, numbers)]),
        ];
        assert_eq!(kept(&calls), [1]);
    }

    #[test]
    fn calls_before_and_after_a_transfer_are_kept() {
        let refer = LinkReason::Refer;
        let calls: [Call<'_>; 3] = [
            (1, 0, 250, &[(2, refer)]),
            (2, 6, 250, &[(1, refer), (3, LinkReason::Replaces)]),
            (3, 12, 900, &[(2, LinkReason::Replaces)]),
        ];
        assert_eq!(kept(&calls), [1, 2, 3]);
        let at_once: [Call<'_>; 2] = [(1, 0, 250, &[(2, refer)]), (2, 0, 250, &[(1, refer)])];
        assert_eq!(kept(&at_once), [1, 2]);
    }

    #[test]
    fn a_hop_that_has_more_is_kept() {
        let numbers = LinkReason::Numbers;
        let longer: [Call<'_>; 2] = [(1, 0, 250, &[(2, numbers)]), (2, 0, 600, &[(1, numbers)])];
        assert_eq!(kept(&longer), [2]);
        let later: [Call<'_>; 2] = [(1, 0, 250, &[(2, numbers)]), (2, 3, 600, &[(1, numbers)])];
        assert_eq!(kept(&later), [1, 2], "neither has the other's");
    }
}
