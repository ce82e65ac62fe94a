//! Calls for the tests of this room.

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::base::{InteractionId, PerSide, Side, TenantId, Timestamp};

pub fn tenant(number: u128) -> TenantId {
    TenantId(Uuid::from_u128(0xacc0 << 64 | number))
}

pub async fn in_memory() -> Catalog {
    Catalog::open("sqlite::memory:")
        .await
        .expect("a catalog in memory")
}

/// Runs the async body of a property test.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn party(number: &str, normalised: &str) -> PartyRecord {
    PartyRecord {
        number: number.into(),
        normalised: normalised.into(),
        display: format!("Somebody at {number}"),
    }
}

/// A recorded call with every field set, its start after that of calls with smaller numbers.
pub fn call(tenant_number: u128, number: u64) -> CallRecord {
    let at = 1_700_000_000_000_000_000 + number as i64 * 1_000_000_001;
    let id = Uuid::from_u128(tenant_number << 96 | u128::from(number));
    CallRecord {
        id,
        tenant: tenant(tenant_number),
        tenant_name: format!("Tenant {tenant_number}"),
        interaction: Some(InteractionId(Uuid::from_u128(
            77 << 100 | u128::from(number),
        ))),
        sip_call_id: format!("{number:x}@10.0.0.1"),
        sensor: "lon1".into(),
        vantage: "span0 vlan 12.7".into(),
        started_at: Timestamp::from_nanos(at),
        answered_at: Some(Timestamp::from_nanos(at + 5)),
        ended_at: Some(Timestamp::from_nanos(at + 60_000_000_000)),
        end_reason: "bye".into(),
        disposition: Disposition::Recorded,
        parties: PerSide {
            caller: party("02079460101", "+442079460101"),
            callee: party("1001", "1001"),
        },
        codec: "PCMA/8000".into(),
        length_ms: 60_000,
        packets_lost: 3,
        packets_expected: 6_000,
        paused_ms: 1_500,
        file: Some(FileRecord {
            path: format!("{}/2023/11/14/{id}.wav", tenant(tenant_number)),
            size_bytes: 1_920_044,
            format: "pcm16".into(),
            sample_rate_hz: 8_000,
            blake3: Some([number as u8; 32]),
        }),
        attribution: json!({"verdict": "owned", "considered": [{"rule": "acme.toml:3", "near": true}]}),
        participants: vec![
            ParticipantRecord {
                side: Side::Callee,
                user: Some("alice".into()),
                extension: Some("1001".into()),
                number: "1001".into(),
                display: "Alice".into(),
                from: Some(Timestamp::from_nanos(number as i64)),
                to: None,
            },
            ParticipantRecord {
                side: Side::Caller,
                user: None,
                extension: None,
                number: "+442079460101".into(),
                display: String::new(),
                from: None,
                to: Some(Timestamp::from_nanos(number as i64 + 1)),
            },
        ],
        links: vec![LinkRecord {
            call_id: format!("leg of {number}"),
            reason: "audio".into(),
        }],
        quality: CallQuality {
            mos: Some(3.95),
            jitter_ms: Some(2.125),
            round_trip_ms: Some(41.5),
            mirror_lost: 2,
            packets_discarded: 1,
            unheard: Some(Side::Callee),
        },
    }
}

/// A call that made no recording.
pub fn unrecorded(tenant_number: u128, number: u64, disposition: Disposition) -> CallRecord {
    CallRecord {
        disposition,
        file: None,
        length_ms: 0,
        answered_at: None,
        attribution: serde_json::Value::Null,
        ..call(tenant_number, number)
    }
}

/// Numbers close to each other, and the characters that patterns are made of.
pub fn any_number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[12]{0,3}",
        1 => "[1%_*?'\"\\\\\u{10ffff}]{1,3}",
        1 => Just("1\0".to_owned()),
    ]
}

pub fn any_disposition() -> impl Strategy<Value = Disposition> {
    prop_oneof![
        3 => Just(Disposition::Recorded),
        1 => Just(Disposition::NoMedia),
        1 => Just(Disposition::Other("of_tomorrow".into())),
    ]
}

fn any_participant() -> impl Strategy<Value = ParticipantRecord> {
    let name = || proptest::option::of("[ab%]");
    (any::<bool>(), name(), name()).prop_map(|(caller, user, extension)| ParticipantRecord {
        side: if caller { Side::Caller } else { Side::Callee },
        user,
        extension,
        number: "1".into(),
        display: String::new(),
        from: None,
        to: None,
    })
}

/// Calls of three tenants that are often of the same time, number, user or interaction; ids differ within a tenant.
pub fn any_calls() -> impl Strategy<Value = Vec<CallRecord>> {
    let one = (
        (
            prop_oneof![4 => Just(0), 1 => 0..3u128],
            0..6i64,
            any_disposition(),
            any::<bool>(),
            0..3u64,
        ),
        (any_number(), any_number(), any_number(), any_number()),
        proptest::collection::vec(any_participant(), 0..3),
        proptest::option::of(0..4u128),
    );
    proptest::collection::vec(one, 0..60).prop_map(|parts| (0..).zip(parts).map(assemble).collect())
}

type Parts = (
    (u128, i64, Disposition, bool, u64),
    (String, String, String, String),
    Vec<ParticipantRecord>,
    Option<u128>,
);

fn assemble((number, (facts, numbers, participants, interaction)): (u64, Parts)) -> CallRecord {
    let (owner, at, disposition, recorded, length_ms) = facts;
    let plain = call(owner, number);
    CallRecord {
        // The same ids in every tenant, and not in the order of time.
        id: Uuid::from_u128(u128::from(number / 2 * 7919 % 1000)),
        tenant: tenant(owner + 10 * u128::from(number % 2)),
        started_at: Timestamp::from_nanos(at),
        ended_at: None,
        interaction: interaction.map(|id| InteractionId(Uuid::from_u128(id))),
        parties: PerSide {
            caller: party(&numbers.0, &numbers.1),
            callee: party(&numbers.2, &numbers.3),
        },
        file: plain.file.filter(|_| recorded),
        disposition,
        length_ms,
        participants,
        quality: CallQuality {
            mos: [None, Some(3.5), Some(4.0)][length_ms as usize % 3],
            ..plain.quality
        },
        ..plain
    }
}

/// The question asked of a list, as the documentation of [`CallQuery`] words it.
pub fn holds(query: &CallQuery, call: &CallRecord) -> bool {
    let parties = [&call.parties.caller, &call.parties.callee];
    let mut numbers = parties
        .iter()
        .flat_map(|party| [&party.number, &party.normalised]);
    let number = query.number.as_ref().is_none_or(|filter| match filter {
        NumberFilter::Exact(wanted) => {
            numbers.any(|number| text::fit(number, 256) == text::fit(wanted, 256))
        }
        NumberFilter::Prefix(wanted) => {
            numbers.any(|number| text::fit(number, 256).starts_with(&*text::fit(wanted, 256)))
        }
    });
    let took_part = |name: fn(&ParticipantRecord) -> &Option<String>, wanted: &Option<String>| {
        wanted.is_none() || call.participants.iter().any(|who| name(who) == wanted)
    };
    number
        && query.tenant.is_none_or(|wanted| call.tenant == wanted)
        && query.from.is_none_or(|from| call.started_at >= from)
        && query.to.is_none_or(|to| call.started_at < to)
        && took_part(|who| &who.user, &query.user)
        && took_part(|who| &who.extension, &query.extension)
        && (query.interaction.is_none() || call.interaction == query.interaction)
        && query
            .disposition
            .as_ref()
            .is_none_or(|wanted| call.disposition == *wanted)
        && (!query.recorded_only || call.file.is_some())
        && call.length_ms >= query.min_length_ms
        && query
            .mos_below
            .is_none_or(|below| call.quality.mos.is_some_and(|mos| mos < below))
}
