//! Calls for the small world: recorded, and nobody's of the tenant's people.

use callreel::base::{InteractionId, PerSide, TenantId, Timestamp};
use callreel::catalog::{CallQuality, CallRecord, Direction, Disposition, FileRecord, PartyRecord};
use uuid::Uuid;

use super::world::{World, canary};

/// A new call of the tenant.
pub async fn make(world: &World, tenant: TenantId) -> CallRecord {
    let id = Uuid::now_v7();
    let start = Timestamp::from_secs_nanos(1_700_000_000, 0);
    let party = || PartyRecord {
        number: format!("1 {}", canary(tenant)),
        normalised: String::new(),
        display: canary(tenant).into(),
    };
    let call = CallRecord {
        id,
        tenant,
        tenant_name: canary(tenant).into(),
        interaction: Some(InteractionId(Uuid::now_v7())),
        sip_call_id: format!("{}@{}", world.number(), canary(tenant)),
        sensor: "s".into(),
        vantage: "v".into(),
        started_at: start,
        answered_at: Some(start),
        ended_at: Some(start),
        end_reason: "bye".into(),
        disposition: Disposition::Recorded,
        parties: PerSide {
            caller: party(),
            callee: party(),
        },
        direction: Some(Direction::Inbound),
        codec: "PCMA".into(),
        length_ms: 1000,
        packets_lost: 0,
        packets_expected: 50,
        paused_ms: 0,
        file: Some(FileRecord {
            path: format!("{tenant}/2023/11/14/{id}.wav"),
            size_bytes: 44,
            format: "pcm16".into(),
            sample_rate_hz: 8000,
            blake3: None,
        }),
        attribution: serde_json::json!({ "verdict": canary(tenant) }),
        participants: Vec::new(),
        links: Vec::new(),
        quality: CallQuality::default(),
        deleted_at: None,
    };
    world
        .catalog
        .record(std::slice::from_ref(&call))
        .await
        .unwrap();
    call
}
