//! Calls for the small world: recorded, and nobody's of the tenant's people.

use callreel::base::{InteractionId, PerSide, TenantId, Timestamp};
use callreel::catalog::{CallQuality, CallRecord, Direction, Disposition, FileRecord, PartyRecord};
use callreel::storage::{SampleFormat, WavFormat};
use uuid::Uuid;

use super::world::{World, canary};

/// Frames of a recording: a tenth of a second.
const FRAMES: u64 = 800;

/// With the tenant's canary at its end.
fn audio(tenant: TenantId) -> Vec<u8> {
    let format = WavFormat {
        sample_format: SampleFormat::Pcm16,
        sample_rate_hz: 8000,
    };
    let mut audio = format.header(FRAMES);
    audio.extend((0..2 * FRAMES).flat_map(|n| ((n % 200) as i16 * 50).to_le_bytes()));
    let end = audio.len() - canary(tenant).len();
    audio[end..].copy_from_slice(canary(tenant).as_bytes());
    audio
}

/// A new call of the tenant.
pub async fn make(world: &World, tenant: TenantId) -> CallRecord {
    let id = Uuid::now_v7();
    let start = Timestamp::from_secs_nanos(1_700_000_000, 0);
    let (path, audio) = (format!("{tenant}/2023/11/14/{id}.wav"), audio(tenant));
    let place = world.folder().join("recordings").join(&path);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(place, &audio).unwrap();
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
        length_ms: 100,
        packets_lost: 0,
        packets_expected: 5,
        paused_ms: 0,
        file: Some(FileRecord {
            path,
            size_bytes: audio.len() as u64,
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
