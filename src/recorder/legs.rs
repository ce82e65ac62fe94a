//! `legs = "one"`: of several legs of one interaction that a tenant owns, one recording is kept.
//!
//! Kept is the leg with media of both sides; of those the one that shows more of the tenant's own phones at their own
//! addresses; of those the one that began first. That is known when both are over: each is made safe as if it were alone, and
//! the one that is not kept is removed after that. A leg that ended in an earlier run of the program is not remembered, and
//! both stay.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use super::{CallOutcome, RecordingOutcome};
use crate::base::{InteractionId, Side, TenantId, Timestamp};
use crate::directory::Nearness;
use crate::engine::event::{CallEnd, CallInfo, Disposition};
use crate::storage::{Kind, Layout, RecordingName, Sidecar};

/// Recordings remembered; beyond it the oldest is kept whatever comes.
const MAX_KEPT: usize = 4096;

type Key = (TenantId, InteractionId);

/// The larger is kept. The last part makes the order total.
type Rank = (bool, usize, Reverse<Timestamp>, Reverse<[u8; 32]>);

/// The recordings of tenants that want one of each interaction.
#[derive(Debug, Default)]
pub struct Legs {
    kept: HashMap<Key, Kept>,
    order: VecDeque<Key>,
}

#[derive(Debug)]
struct Kept {
    rank: Rank,
    name: RecordingName,
    end: Box<CallEnd>,
    start: Option<Timestamp>,
    told: Disposition,
}

impl Legs {
    /// Looks at a call whose recordings are safe. What is not kept of it is removed and said in `outcome`; news of an earlier
    /// call that has to give way is returned.
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
            let key = (of.tenant, owner.interaction);
            let rank = rank(sidecar, &end.info, of.tenant);
            match self.kept.get_mut(&key) {
                Some(kept) if kept.end.call != end.call && kept.rank >= rank => {
                    drop_leg(of, &kept.end.info, &name, layout);
                }
                Some(kept) if kept.end.call != end.call => {
                    let before = std::mem::replace(
                        kept,
                        Kept {
                            rank,
                            name,
                            end: end.clone(),
                            start: *start,
                            told: of.disposition,
                        },
                    );
                    news.push(give_way(before, of.tenant, &end.info, layout));
                }
                Some(_) => {}
                None => self.keep(
                    key,
                    Kept {
                        rank,
                        name,
                        end: end.clone(),
                        start: *start,
                        told: of.disposition,
                    },
                ),
            }
        }
        news
    }

    fn keep(&mut self, key: Key, kept: Kept) {
        if self.order.len() == MAX_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
        self.order.push_back(key);
        self.kept.insert(key, kept);
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
