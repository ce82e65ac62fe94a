//! A call as programs read it, and the texts that people read.

use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use crate::base::{InteractionId, PerSide, Side, TenantId, Timestamp};
use crate::catalog::{CallRecord, Direction, ParticipantRecord};

/// A call of one tenant.
#[derive(Debug, Serialize)]
pub struct CallLine {
    pub id: Uuid,
    pub tenant_id: TenantId,
    pub tenant: String,
    pub interaction_id: Option<InteractionId>,
    /// SIP Call-ID.
    pub call_id: String,
    pub sensor: String,
    pub vantage: String,
    /// Times are RFC 3339, UTC, with microseconds.
    pub started_at: String,
    pub answered_at: Option<String>,
    pub ended_at: Option<String>,
    pub end_reason: String,
    pub disposition: String,
    /// Which side is the tenant's own; null where neither is.
    pub direction: Option<Direction>,
    pub caller: PartyLine,
    pub callee: PartyLine,
    /// Users of the tenant who took part, the caller first.
    pub users: Vec<String>,
    pub codec: String,
    /// Seconds of the recording.
    pub length_s: f64,
    pub packets_lost: u64,
    pub packets_expected: u64,
    pub file: Option<FileLine>,
    /// Seconds of the recording that lie in pauses.
    pub paused_s: f64,
    /// Mean opinion score of the side that is heard worse, 1 to 4.5.
    pub mos: Option<f64>,
    pub jitter_ms: Option<f64>,
    pub round_trip_ms: Option<f64>,
    /// Of the packets lost: those that the receivers do not lack.
    pub mirror_lost: u64,
    /// Too late to be played.
    pub packets_discarded: u64,
    /// The side that was not heard while the other was.
    pub unheard: Option<Side>,
}

#[derive(Debug, Serialize)]
pub struct PartyLine {
    pub number: String,
    /// As the tenant's directory has it, where it does.
    pub extension: Option<String>,
    pub name: String,
    pub user: Option<String>,
    /// Whether this side is the tenant's own.
    pub own: bool,
}

#[derive(Debug, Serialize)]
pub struct FileLine {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub format: String,
    pub sample_rate_hz: u32,
}

impl CallLine {
    /// `root`: of the storage.
    pub fn new(call: &CallRecord, root: &Path) -> CallLine {
        let sides = PerSide {
            caller: Side::Caller,
            callee: Side::Callee,
        };
        let parties = sides.map(|side| PartyLine::new(call, side));
        let users = parties.iter().filter_map(|(_, party)| party.user.clone());
        CallLine {
            id: call.id,
            tenant_id: call.tenant,
            tenant: call.tenant_name.clone(),
            interaction_id: call.interaction,
            call_id: call.sip_call_id.clone(),
            sensor: call.sensor.clone(),
            vantage: call.vantage.clone(),
            started_at: call.started_at.to_string(),
            answered_at: call.answered_at.as_ref().map(Timestamp::to_string),
            ended_at: call.ended_at.as_ref().map(Timestamp::to_string),
            end_reason: call.end_reason.clone(),
            disposition: call.disposition.code().to_owned(),
            direction: call.direction,
            users: users.collect(),
            caller: parties.caller,
            callee: parties.callee,
            codec: call.codec.clone(),
            length_s: call.length_ms as f64 / 1000.0,
            packets_lost: call.packets_lost,
            packets_expected: call.packets_expected,
            file: call.file.as_ref().map(|file| FileLine {
                path: root.join(&file.path),
                size_bytes: file.size_bytes,
                format: file.format.clone(),
                sample_rate_hz: file.sample_rate_hz,
            }),
            paused_s: call.paused_ms as f64 / 1000.0,
            mos: call.quality.mos,
            jitter_ms: call.quality.jitter_ms,
            round_trip_ms: call.quality.round_trip_ms,
            mirror_lost: call.quality.mirror_lost,
            packets_discarded: call.quality.packets_discarded,
            unheard: call.quality.unheard,
        }
    }

    pub fn mos_text(&self) -> String {
        self.mos
            .map_or_else(|| "-".into(), |mos| format!("{mos:.2}"))
    }

    pub fn day_and_time(&self) -> String {
        let seconds = self.started_at.split('.').next().unwrap_or_default();
        seconds.replace('T', " ")
    }

    pub fn loss_text(&self) -> String {
        match self.packets_expected {
            0 => "-".into(),
            expected => format!(
                "{:.1} %",
                self.packets_lost as f64 * 100.0 / expected as f64
            ),
        }
    }
}

impl PartyLine {
    fn new(call: &CallRecord, side: Side) -> PartyLine {
        let party = &call.parties[side];
        // Who was there first, not who took over.
        let first = |own: &&ParticipantRecord| own.side == side && own.number == party.number;
        let there = || call.participants.iter().filter(|own| own.side == side);
        let answered =
            || there().find(|own| own.from.is_none_or(|from| Some(from) <= call.answered_at));
        let own = there().find(first).or_else(answered);
        let known = Some(party.normalised.clone()).filter(|text| !text.is_empty());
        PartyLine {
            number: party.number.clone(),
            extension: own.and_then(|own| own.extension.clone()).or(known),
            name: party.display.clone(),
            user: own.and_then(|own| own.user.clone()),
            own: own.is_some(),
        }
    }
}
