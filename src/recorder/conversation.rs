//! What one tenant may know of a conversation: its own calls, its own people.

use crate::base::{SYSTEM_TENANT, TenantId, Timestamp};
use crate::engine::event::{CallEnd, CallInfo, Suspicious};
use crate::storage::{LinkRecord, ParticipantRecord, SuspicionRecord};

/// The other calls of the conversation that are the tenant's.
pub fn links(info: &CallInfo, tenant: TenantId) -> Vec<LinkRecord> {
    let own = info
        .links
        .iter()
        .filter(|link| link.owners.contains(&tenant));
    own.map(|link| LinkRecord {
        call_id: link.call_id.clone(),
        reason: link.reason.code().to_owned(),
    })
    .collect()
}

/// Everybody who took part, as signalling named them; who they are in the directory only where they are the tenant's own
/// (invariant I4). Of a call that passed to another tenant, those who were there until then.
pub fn participants(
    info: &CallInfo,
    tenant: TenantId,
    end: Option<&CallEnd>,
) -> Vec<ParticipantRecord> {
    let owner = info.owners.iter().find(|owner| owner.tenant == tenant);
    let until = owner.and_then(|owner| owner.until);
    let seen = |from: Timestamp| until.is_none_or(|until| from < until);
    let shown = info.participants.iter().filter(|p| seen(p.from));
    shown
        .map(|participant| {
            let own = participant.tenant == Some(tenant);
            let known = own || tenant == SYSTEM_TENANT;
            let text = |text: &Option<std::sync::Arc<str>>| {
                text.as_ref().filter(|_| known).map(|text| text.to_string())
            };
            let over = participant.to.or(end.map(|end| end.ended_at));
            let to = over.map(|to| until.map_or(to, |until| to.min(until)));
            ParticipantRecord {
                side: participant.side,
                number: participant.number.clone(),
                display: participant.display.clone(),
                extension: text(&participant.extension),
                user: text(&participant.user),
                own,
                from: participant.from.to_string(),
                from_ns: participant.from.as_nanos(),
                to: to.map(|to| to.to_string()),
                to_ns: to.map(Timestamp::as_nanos),
            }
        })
        .collect()
}

pub fn suspicions(suspicious: &Suspicious) -> Vec<SuspicionRecord> {
    let kinds = [
        ("foreign_requests", suspicious.requests),
        ("foreign_media", suspicious.media_packets),
    ];
    kinds
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| SuspicionRecord {
            kind: kind.to_owned(),
            count,
        })
        .collect()
}
