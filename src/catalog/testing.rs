//! Calls for the tests of this room.

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::access::{
    AccessLevel, Actor, Operation, Permissions, Preset, Principal, Reach, Resource, Role, Scope,
};
use crate::base::{GroupId, InteractionId, PerSide, RoleId, Side, TenantId, Timestamp, UserId};

pub fn tenant(number: u128) -> TenantId {
    TenantId(Uuid::from_u128(0xacc0 << 64 | number))
}

pub async fn in_memory() -> Catalog {
    Catalog::open("sqlite::memory:")
        .await
        .expect("a catalog in memory")
}

impl Catalog {
    /// A user of the tenant with this role, as who makes webhooks. The tenant is registered.
    pub async fn maker_for_tests(&self, of: TenantId, role: Preset) -> Maker {
        let (id, name) = (
            Uuid::now_v7(),
            format!("{}-{}", role.name(), Uuid::now_v7()),
        );
        sqlx::query(
            "INSERT INTO users (id, tenant_id, login, name, role_id, created_at, changed_at) VALUES (?, ?, ?, '', ?, 0, 0)",
        )
        .bind(id)
        .bind(of.0)
        .bind(&name)
        .bind(role.role_id(of).0)
        .execute(&self.writer)
        .await
        .unwrap();
        let name = Some(name);
        Maker { id, name }
    }

    /// Takes the rights of whoever made a webhook.
    pub async fn deactivate_for_tests(&self, maker: &Maker) {
        sqlx::query("UPDATE users SET active = 0 WHERE id = ?")
            .bind(maker.id)
            .execute(&self.writer)
            .await
            .unwrap();
    }
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
        direction: Some(Direction::Inbound),
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
        deleted_at: None,
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
        (
            proptest::option::of(any_direction()),
            prop_oneof![
                Just("PCMA"),
                Just("PCMU opus/48000"),
                Just("G722 (dtls_srtp)")
            ],
        ),
    );
    proptest::collection::vec(one, 0..60).prop_map(|parts| (0..).zip(parts).map(assemble).collect())
}

type Parts = (
    (u128, i64, Disposition, bool, u64),
    (String, String, String, String),
    Vec<ParticipantRecord>,
    Option<u128>,
    (Option<Direction>, &'static str),
);

pub fn any_direction() -> impl Strategy<Value = Direction> {
    prop_oneof![
        Just(Direction::Inbound),
        Just(Direction::Outbound),
        Just(Direction::Internal),
    ]
}

fn assemble(
    (number, (facts, numbers, participants, interaction, media)): (u64, Parts),
) -> CallRecord {
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
        direction: media.0,
        codec: media.1.into(),
        participants,
        quality: CallQuality {
            mos: [None, Some(3.5), Some(4.0)][length_ms as usize % 3],
            ..plain.quality
        },
        ..plain
    }
}

/// What people did with a call.
#[derive(Clone, Debug, Default)]
pub struct Added {
    pub is_held: bool,
    pub is_deleted: bool,
    pub categories: Vec<Uuid>,
    /// Each with whether it is pinned.
    pub notes: Vec<(String, bool)>,
}

pub fn category(number: u128) -> Uuid {
    Uuid::from_u128(0xca << 100 | number)
}

pub fn any_added() -> impl Strategy<Value = Added> {
    let note = ("(cat|Catalan|dog|ÉTÉ|x'\"%)( fish| été)?", any::<bool>());
    (
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.1),
        proptest::collection::vec((0..2u128).prop_map(category), 0..2),
        proptest::collection::vec(note, 0..3),
    )
        .prop_map(|(is_held, is_deleted, categories, notes)| Added {
            is_held,
            is_deleted,
            categories,
            notes,
        })
}

pub fn group(number: u128) -> GroupId {
    GroupId(Uuid::from_u128(0x96 << 100 | number))
}

/// The group and the confidentiality of a login that calls have, in the tenants 0 and 10.
pub fn user_of(login: &str) -> (Option<GroupId>, bool) {
    match login {
        "a" => (Some(group(0)), false),
        "b" => (Some(group(0)), true),
        "%" => (Some(group(1)), false),
        _ => (None, false),
    }
}

async fn add_people(catalog: &Catalog) {
    for number in [0, 10] {
        let owner = tenant(number);
        catalog
            .register_for_tests(owner, &format!("t{number}"))
            .await;
        // The groups are tenant 0's; one who is in a group of another tenant is in none.
        for group_number in 0..3 {
            sqlx::query("INSERT OR IGNORE INTO groups (id, tenant_id, name, description, created_at, changed_at) VALUES (?, ?, ?, '', 0, 0)")
                .bind(group(group_number).0)
                .bind(owner.0)
                .bind(group_number.to_string())
                .execute(&catalog.writer)
                .await
                .unwrap();
        }
        for login in ["a", "b", "%", "A", "idle"] {
            let (group, confidential) = user_of(login);
            sqlx::query("INSERT INTO users (id, tenant_id, login, name, group_id, role_id, confidential, created_at, changed_at) VALUES (?, ?, ?, '', ?, ?, ?, 0, 0) ON CONFLICT DO NOTHING")
                .bind(Uuid::now_v7())
                .bind(owner.0)
                .bind(login)
                .bind(group.filter(|_| number == 0).map(|group| group.0))
                .bind(Uuid::nil())
                .bind(confidential)
                .execute(&catalog.writer)
                .await
                .unwrap();
        }
    }
}

/// A scope of a principal of this level.
pub fn scope_of(level: AccessLevel, login: &str, groups: &[GroupId], confidential: bool) -> Scope {
    let mut permissions = Permissions::default();
    permissions.allow(Resource::Calls, &[Operation::View]);
    if confidential {
        permissions.allow(Resource::Calls, &[Operation::ViewConfidential]);
    }
    let role = Role {
        role_id: RoleId(Uuid::nil()),
        name: "some".into(),
        access_level: level,
        tenant_id: Some(tenant(0)),
        permissions,
    };
    let login: std::sync::Arc<str> = login.into();
    let actor = Actor::User {
        id: UserId(Uuid::nil()),
        login: login.clone(),
    };
    Principal::new(actor, tenant(0), login, &role, groups.into()).scope()
}

/// Whether the scope shows the call.
pub fn shows(scope: &Scope, call: &CallRecord) -> bool {
    let users = || {
        call.participants
            .iter()
            .filter_map(|who| who.user.as_deref())
    };
    let known = |login: &str| match call.tenant == tenant(0) {
        true => user_of(login),
        false => (None, user_of(login).1 && call.tenant == tenant(10)),
    };
    let whose = match scope.reach() {
        Reach::System | Reach::Tenant(_) => true,
        Reach::Groups { groups, .. } => {
            users().any(|login| known(login).0.is_some_and(|group| groups.contains(&group)))
        }
        Reach::User { login, .. } => {
            return scope.covers(call.tenant) && users().any(|user| user == &**login);
        }
    };
    let own = scope.own_login(call.tenant);
    let is_own = own.is_some_and(|own| users().any(|login| login == own));
    let kept_from = !scope.sees_confidential() && !is_own && users().any(|login| known(login).1);
    scope.covers(call.tenant) && whose && !kept_from
}

/// Writes what was added to calls, each for the call at its place.
pub async fn add(catalog: &Catalog, calls: &[CallRecord], added: &[Added]) {
    let place = |id: Uuid| id.as_u128();
    add_people(catalog).await;
    for number in 0..2 {
        sqlx::query("INSERT INTO call_categories VALUES (?, ?, ?, '', '', 0, 1)")
            .bind(category(number))
            .bind(tenant(0).0)
            .bind(number.to_string())
            .execute(&catalog.writer)
            .await
            .unwrap();
    }
    for (call, added) in calls.iter().zip(added) {
        let bind = |text: &'static str| {
            sqlx::query(text)
                .bind(call.tenant.0)
                .bind(call.id)
                .bind(call.started_at.as_nanos())
        };
        let mut statements = Vec::new();
        if added.is_held {
            statements.push(bind(
                "INSERT INTO call_holds (tenant_id, call_id, started_at, held_at, held_by, reason) VALUES (?, ?, ?, 0, '', '')",
            ));
        }
        if added.is_deleted {
            statements.push(bind(
                "UPDATE calls SET deleted_at = 5 WHERE tenant_id = ? AND id = ? AND started_at = ?",
            ));
        }
        for category in &added.categories {
            let text = "INSERT INTO categorized_calls (tenant_id, call_id, started_at, category_id, assigned_at, assigned_by) \
                        VALUES (?, ?, ?, ?, 0, '')";
            statements.push(bind(text).bind(*category));
        }
        for (at, (text, pinned)) in (0u128..).zip(&added.notes) {
            let id = Uuid::from_u128(place(call.id) << 8 ^ place(call.tenant.0) << 40 ^ at);
            let statement = "INSERT INTO call_notes (tenant_id, call_id, started_at, id, author_name, text, pinned, created_at, version) \
                        VALUES (?, ?, ?, ?, '', ?, ?, 0, 1)";
            statements.push(bind(statement).bind(id).bind(text).bind(*pinned));
        }
        for statement in statements {
            statement.execute(&catalog.writer).await.unwrap();
        }
    }
}

/// The question asked of a list, as the documentation of [`CallQuery`] words it.
pub fn holds(query: &CallQuery, call: &CallRecord, added: &Added) -> bool {
    let (caller, callee) = (&call.parties.caller, &call.parties.callee);
    let number = |filter: &Option<NumberFilter>, parties: &[&PartyRecord]| {
        let mut numbers = parties
            .iter()
            .flat_map(|party| [&party.number, &party.normalised]);
        filter.as_ref().is_none_or(|filter| match filter {
            NumberFilter::Exact(wanted) => {
                numbers.any(|number| text::fit(number, 256) == text::fit(wanted, 256))
            }
            NumberFilter::Prefix(wanted) => {
                numbers.any(|number| text::fit(number, 256).starts_with(&*text::fit(wanted, 256)))
            }
        })
    };
    let took_part = |name: fn(&ParticipantRecord) -> &Option<String>, wanted: &Option<String>| {
        wanted.is_none() || call.participants.iter().any(|who| name(who) == wanted)
    };
    let direction = query.direction.is_none() || call.direction == query.direction;
    let of_group = |wanted: GroupId| {
        let mut users = call
            .participants
            .iter()
            .filter_map(|who| who.user.as_deref());
        call.tenant == tenant(0) && users.any(|login| user_of(login).0 == Some(wanted))
    };
    number(&query.number, &[caller, callee])
        && number(&query.caller, &[caller])
        && number(&query.callee, &[callee])
        && direction
        && query.group.is_none_or(of_group)
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
        && holds_measures(query, call)
        && holds_added(query, call, added)
}

fn holds_measures(query: &CallQuery, call: &CallRecord) -> bool {
    let mos = call.quality.mos;
    let codec = query.codec.as_ref().is_none_or(|wanted| {
        let name = |codec: &str| codec.split('/').next().map(str::to_ascii_lowercase);
        let mut codecs = call.codec.split(' ');
        codecs.any(|codec| name(codec) == Some(wanted.to_ascii_lowercase()))
    });
    codec
        && call.length_ms >= query.min_length_ms
        && query
            .max_length_ms
            .is_none_or(|most| call.length_ms <= most)
        && query
            .mos_below
            .is_none_or(|below| mos.is_some_and(|mos| mos < below))
        && query
            .mos_at_least
            .is_none_or(|least| mos.is_some_and(|mos| mos >= least))
        && (mos.is_some() || !matches!(query.sort, Sort::BestHeard | Sort::WorstHeard))
}

fn holds_added(query: &CallQuery, call: &CallRecord, added: &Added) -> bool {
    let state = match query.state {
        Some(CallState::Deleted) => return added.is_deleted && holds_more(query, added),
        None => true,
        Some(CallState::Recorded) => call.file.is_some(),
        Some(CallState::None) => call.file.is_none(),
        Some(CallState::Held) => added.is_held,
        Some(CallState::Pinned) => added.notes.iter().any(|(_, pinned)| *pinned),
    };
    state && !added.is_deleted && holds_more(query, added)
}

fn holds_more(query: &CallQuery, added: &Added) -> bool {
    let plain = |text: &str| text.to_lowercase().replace('é', "e");
    let words = |text: &str| -> Vec<String> {
        let text = plain(text);
        let words = text.split(|c: char| !c.is_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let note = |wanted: &String| {
        let wanted = words(wanted);
        let has = |note: &str| {
            let note = words(note);
            let one = |begin: &String| note.iter().any(|word| word.starts_with(begin.as_str()));
            !wanted.is_empty() && wanted.iter().all(one)
        };
        added.notes.iter().any(|(text, _)| has(text))
    };
    let category = |wanted: Uuid| added.categories.contains(&wanted);
    query.notes.as_ref().is_none_or(note) && query.category.is_none_or(category)
}

/// A call's place in an order: calls come by these, smallest first.
pub fn rank(sort: Sort, call: &CallRecord) -> impl Ord + use<> {
    let value = match sort {
        Sort::Newest | Sort::Oldest => 0,
        Sort::Longest | Sort::Shortest => call.length_ms,
        // Positive numbers are in the order of their bits.
        Sort::BestHeard | Sort::WorstHeard => call.quality.mos.unwrap_or_default().to_bits(),
    };
    (value, call.started_at, call.id, call.tenant)
}

impl Catalog {
    /// One that waits for no more than so long where it is locked.
    pub async fn impatient_for_tests(url: &str, patience: std::time::Duration) -> Catalog {
        let place = super::open::Place::parse(url).expect("an address");
        Catalog::open_at(&place, patience).await.expect("it opens")
    }

    /// The file grows no more, as on a disk that is full; or as much as it likes.
    pub async fn fill_disk_for_tests(&self, full: bool) {
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&self.writer)
            .await
            .expect("it is there");
        let most = if full { pages } else { 1 << 30 };
        let text = format!("PRAGMA max_page_count = {most}");
        sqlx::query(sqlx::AssertSqlSafe(text))
            .execute(&self.writer)
            .await
            .expect("it is there");
    }
}
