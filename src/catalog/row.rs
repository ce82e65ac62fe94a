//! A call as a row: what is written and what is read, side by side.

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite};
use uuid::Uuid;

use super::text::{self, fit};
use super::{
    CallQuality, CallRecord, Direction, Disposition, FileRecord, LinkRecord, ParticipantRecord,
    PartyRecord,
};
use crate::base::{InteractionId, PerSide, Side, TenantId, Timestamp};

/// The columns of a call, for [`call_of`]: `c` is the call, `t` its tenant. Who took part comes with the row, as JSON: a
/// second statement would be a second way to SQLite's thread and back, and of another moment.
pub(super) const CALL_AND_TENANT: &str = "c.*, t.name AS tenant_name, \
    (SELECT json_group_array(json_array(p.side, p.user_name, p.extension, p.number, p.display, p.from_at, p.to_at) \
     ORDER BY p.ordinal) FROM participants p WHERE p.call_row = c.call_row) AS participants";

/// As [`bind_call`] binds them.
pub(super) const CALL_COLUMNS: &str = "tenant_id, id, interaction_id, sip_call_id, sensor, vantage, started_at, answered_at, \
    ended_at, end_reason, disposition, caller_number, caller_normalised, caller_display, callee_number, \
    callee_normalised, callee_display, codec, length_ms, packets_lost, packets_expected, file_path, size_bytes, \
    file_format, sample_rate_hz, blake3, attribution, links, paused_ms, mos, jitter_ms, round_trip_ms, mirror_lost, \
    packets_discarded, unheard, direction";

/// Every column but those of the key. A call that was deleted stays as it is.
pub(super) const REPLACE_CALL: &str = " ON CONFLICT (tenant_id, id) DO UPDATE SET \
    interaction_id = excluded.interaction_id, sip_call_id = excluded.sip_call_id, sensor = excluded.sensor, \
    vantage = excluded.vantage, started_at = excluded.started_at, answered_at = excluded.answered_at, \
    ended_at = excluded.ended_at, end_reason = excluded.end_reason, disposition = excluded.disposition, \
    caller_number = excluded.caller_number, caller_normalised = excluded.caller_normalised, \
    caller_display = excluded.caller_display, callee_number = excluded.callee_number, \
    callee_normalised = excluded.callee_normalised, callee_display = excluded.callee_display, \
    codec = excluded.codec, length_ms = excluded.length_ms, packets_lost = excluded.packets_lost, \
    packets_expected = excluded.packets_expected, file_path = excluded.file_path, \
    size_bytes = excluded.size_bytes, file_format = excluded.file_format, \
    sample_rate_hz = excluded.sample_rate_hz, blake3 = excluded.blake3, attribution = excluded.attribution, \
    links = excluded.links, paused_ms = excluded.paused_ms, \
    mos = excluded.mos, jitter_ms = excluded.jitter_ms, round_trip_ms = excluded.round_trip_ms, \
    mirror_lost = excluded.mirror_lost, packets_discarded = excluded.packets_discarded, unheard = excluded.unheard, \
    direction = excluded.direction WHERE calls.deleted_at IS NULL";

/// In the order of [`CALL_COLUMNS`].
pub(super) fn bind_call(
    row: &mut sqlx::query_builder::Separated<'_, Sqlite, &'static str>,
    call: &CallRecord,
) {
    let line = |text| fit(text, text::LINE_BYTES);
    let code = |text| fit(text, text::CODE_BYTES);
    row.push_bind(call.tenant.0)
        .push_bind(call.id)
        .push_bind(call.interaction.map(|id| id.0));
    row.push_bind(line(&call.sip_call_id))
        .push_bind(line(&call.sensor))
        .push_bind(line(&call.vantage));
    row.push_bind(call.started_at.as_nanos());
    row.push_bind(call.answered_at.map(Timestamp::as_nanos))
        .push_bind(call.ended_at.map(Timestamp::as_nanos));
    row.push_bind(code(&call.end_reason))
        .push_bind(code(call.disposition.code()));
    for (_, party) in call.parties.iter() {
        for text in [&party.number, &party.normalised, &party.display] {
            row.push_bind(fit(text, text::NAME_BYTES));
        }
    }
    row.push_bind(line(&call.codec))
        .push_bind(count_to_store(call.length_ms));
    row.push_bind(count_to_store(call.packets_lost))
        .push_bind(count_to_store(call.packets_expected));
    let file = call.file.as_ref();
    row.push_bind(file.map(|file| file.path.as_str()))
        .push_bind(file.map(|file| count_to_store(file.size_bytes)));
    row.push_bind(file.map(|file| code(&file.format)))
        .push_bind(file.map(|file| file.sample_rate_hz));
    row.push_bind(file.and_then(|file| file.blake3).map(Vec::from))
        .push_bind(attribution(call));
    row.push_bind(links(call))
        .push_bind(count_to_store(call.paused_ms));
    let quality = &call.quality;
    row.push_bind(quality.mos.map(|mos| mos.clamp(1.0, 5.0)))
        .push_bind(quality.jitter_ms.filter(|ms| *ms >= 0.0))
        .push_bind(quality.round_trip_ms.filter(|ms| *ms >= 0.0))
        .push_bind(count_to_store(quality.mirror_lost))
        .push_bind(count_to_store(quality.packets_discarded))
        .push_bind(quality.unheard.map(|side| side.to_string()))
        .push_bind(call.direction.map(Direction::name));
}

/// Links of one call that are stored.
const MAX_LINKS: usize = 64;

fn links(call: &CallRecord) -> Option<String> {
    if call.links.is_empty() {
        return None;
    }
    let kept: Vec<LinkRecord> = call
        .links
        .iter()
        .take(MAX_LINKS)
        .map(|link| LinkRecord {
            call_id: fit(&link.call_id, text::LINE_BYTES).into(),
            reason: fit(&link.reason, text::CODE_BYTES).into(),
        })
        .collect();
    serde_json::to_string(&kept).ok()
}

/// The database counts to 2⁶³ - 1.
fn count_to_store(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn attribution(call: &CallRecord) -> Option<String> {
    if call.attribution.is_null() {
        return None;
    }
    // JSON writes NUL as an escape, so the text has none.
    let json = call.attribution.to_string();
    match json.len() {
        0..=text::ATTRIBUTION_BYTES => Some(json),
        omitted => Some(format!(r#"{{"omitted_bytes":{omitted}}}"#)),
    }
}

/// Of one participant, in the order of [`CALL_AND_TENANT`].
type StoredParticipant = (
    String,
    Option<String>,
    Option<String>,
    String,
    String,
    Option<i64>,
    Option<i64>,
);

fn participant_of(stored: StoredParticipant) -> ParticipantRecord {
    let (side, user, extension, number, display, from, to) = stored;
    ParticipantRecord {
        side: match side.as_str() {
            "caller" => Side::Caller,
            _ => Side::Callee,
        },
        user,
        extension,
        number,
        display,
        from: from.map(Timestamp::from_nanos),
        to: to.map(Timestamp::from_nanos),
    }
}

fn participants_of(row: &SqliteRow) -> sqlx::Result<Vec<ParticipantRecord>> {
    let stored: Vec<StoredParticipant> = serde_json::from_str(row.try_get("participants")?)
        .map_err(|error| undecodable("participants", error))?;
    Ok(stored.into_iter().map(participant_of).collect())
}

/// A row of [`CALL_AND_TENANT`].
pub(super) fn call_of(row: &SqliteRow) -> sqlx::Result<CallRecord> {
    Ok(CallRecord {
        id: row.try_get("id")?,
        tenant: TenantId(row.try_get("tenant_id")?),
        tenant_name: row.try_get("tenant_name")?,
        interaction: row
            .try_get::<Option<Uuid>, _>("interaction_id")?
            .map(InteractionId),
        sip_call_id: row.try_get("sip_call_id")?,
        sensor: row.try_get("sensor")?,
        vantage: row.try_get("vantage")?,
        started_at: Timestamp::from_nanos(row.try_get("started_at")?),
        answered_at: time_of(row, "answered_at")?,
        ended_at: time_of(row, "ended_at")?,
        end_reason: row.try_get("end_reason")?,
        disposition: Disposition::from(row.try_get::<&str, _>("disposition")?),
        parties: PerSide {
            caller: caller_of(row)?,
            callee: callee_of(row)?,
        },
        direction: row
            .try_get::<Option<&str>, _>("direction")?
            .and_then(Direction::named),
        codec: row.try_get("codec")?,
        length_ms: count(row.try_get("length_ms")?),
        packets_lost: count(row.try_get("packets_lost")?),
        packets_expected: count(row.try_get("packets_expected")?),
        paused_ms: count(row.try_get("paused_ms")?),
        file: file_of(row)?,
        attribution: json_of(row, "attribution")?,
        participants: participants_of(row)?,
        links: serde_json::from_value(json_of(row, "links")?).unwrap_or_default(),
        quality: quality_of(row)?,
        deleted_at: time_of(row, "deleted_at")?,
    })
}

fn quality_of(row: &SqliteRow) -> sqlx::Result<CallQuality> {
    let unheard: Option<&str> = row.try_get("unheard")?;
    Ok(CallQuality {
        mos: row.try_get("mos")?,
        jitter_ms: row.try_get("jitter_ms")?,
        round_trip_ms: row.try_get("round_trip_ms")?,
        mirror_lost: count(row.try_get("mirror_lost")?),
        packets_discarded: count(row.try_get("packets_discarded")?),
        unheard: unheard.map(|side| match side {
            "caller" => Side::Caller,
            _ => Side::Callee,
        }),
    })
}

fn caller_of(row: &SqliteRow) -> sqlx::Result<PartyRecord> {
    Ok(PartyRecord {
        number: row.try_get("caller_number")?,
        normalised: row.try_get("caller_normalised")?,
        display: row.try_get("caller_display")?,
    })
}

fn callee_of(row: &SqliteRow) -> sqlx::Result<PartyRecord> {
    Ok(PartyRecord {
        number: row.try_get("callee_number")?,
        normalised: row.try_get("callee_normalised")?,
        display: row.try_get("callee_display")?,
    })
}

fn file_of(row: &SqliteRow) -> sqlx::Result<Option<FileRecord>> {
    let Some(path) = row.try_get("file_path")? else {
        return Ok(None);
    };
    let blake3: Option<&[u8]> = row.try_get("blake3")?;
    Ok(Some(FileRecord {
        path,
        size_bytes: count(row.try_get("size_bytes")?),
        format: row.try_get("file_format")?,
        sample_rate_hz: row.try_get("sample_rate_hz")?,
        blake3: blake3.and_then(|hash| hash.try_into().ok()),
    }))
}

fn time_of(row: &SqliteRow, column: &str) -> sqlx::Result<Option<Timestamp>> {
    Ok(row
        .try_get::<Option<i64>, _>(column)?
        .map(Timestamp::from_nanos))
}

fn json_of(row: &SqliteRow, column: &str) -> sqlx::Result<Value> {
    let Some(text) = row.try_get::<Option<&str>, _>(column)? else {
        return Ok(Value::Null);
    };
    serde_json::from_str(text).map_err(|error| undecodable(column, error))
}

fn undecodable(column: &str, error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(error),
    }
}

/// The tables' CHECKs keep counts from being negative.
pub(super) fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
