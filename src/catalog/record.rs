//! The rows of the catalog.

use serde_json::Value;
use uuid::Uuid;

use super::Disposition;
use crate::base::{InteractionId, PerSide, Side, TenantId, Timestamp};

/// One leg of a call, for one tenant that owns it: what is written, and what is read.
///
/// Text is stored without NUL and cut to a length: numbers and names to 256 bytes, codes to 64, all else to 512. An empty
/// text means that there was none. Counts above `i64::MAX` are stored as that, and an attribution of more than 64 KiB of
/// JSON as its length.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// The recording's id where there is a recording. Recording a call with the same id and tenant replaces what is there.
    pub id: Uuid,
    pub tenant: TenantId,
    /// Written: the name the tenant had at this call; empty when not known. Read: the one it had at its latest call.
    pub tenant_name: String,
    pub interaction: Option<InteractionId>,
    /// The SIP Call-ID.
    pub sip_call_id: String,
    /// The daemon that saw the leg.
    pub sensor: String,
    /// Where it saw the leg, for people: interface, VLANs, tunnel.
    pub vantage: String,
    /// Of the first INVITE; of the first media where no INVITE was seen.
    pub started_at: Timestamp,
    pub answered_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Why the call ended, a code in snake_case.
    pub end_reason: String,
    pub disposition: Disposition,
    pub parties: PerSide<PartyRecord>,
    /// None where neither side is the tenant's own.
    pub direction: Option<Direction>,
    /// The codecs of the media, for people.
    pub codec: String,
    /// Of the recording; 0 without one.
    pub length_ms: u64,
    pub packets_lost: u64,
    pub packets_expected: u64,
    /// Of the recording: what lies in pauses.
    pub paused_ms: u64,
    pub file: Option<FileRecord>,
    /// Whose call it is and for what reasons, for people. `Null` for none.
    pub attribution: Value,
    /// In an order that stays.
    pub participants: Vec<ParticipantRecord>,
    /// The tenant's other calls that this one was found to belong to.
    pub links: Vec<LinkRecord>,
    pub quality: CallQuality,
    /// Read: when somebody deleted it. Never written.
    pub deleted_at: Option<Timestamp>,
}

impl CallRecord {
    /// The latest moment that is known of the call: how long it is kept counts from there.
    pub fn over_at(&self) -> Timestamp {
        let audio = std::time::Duration::from_millis(self.length_ms);
        let ended_at = self.ended_at.unwrap_or(self.started_at);
        ended_at.max(self.started_at + audio)
    }
}

/// Which of the sides is the tenant's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The callee is.
    Inbound,
    /// The caller is.
    Outbound,
    /// Both are.
    Internal,
}

impl Direction {
    pub const ALL: [Direction; 3] = [Direction::Inbound, Direction::Outbound, Direction::Internal];

    /// Of a call whose `own` sides are the tenant's; none where neither is.
    pub fn of(own: &PerSide<bool>) -> Option<Direction> {
        match (own.caller, own.callee) {
            (true, true) => Some(Direction::Internal),
            (true, false) => Some(Direction::Outbound),
            (false, true) => Some(Direction::Inbound),
            (false, false) => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
            Direction::Internal => "internal",
        }
    }

    pub fn named(name: &str) -> Option<Direction> {
        Direction::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// How a call was heard.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct CallQuality {
    /// Mean opinion score of the side that is heard worse, 1 to 4.5; `None` where there is nothing to rate.
    pub mos: Option<f64>,
    /// Mean jitter of the side that has more.
    pub jitter_ms: Option<f64>,
    /// Between the ends and back.
    pub round_trip_ms: Option<f64>,
    /// Of [`CallRecord::packets_lost`]: those that the receivers do not lack.
    pub mirror_lost: u64,
    /// Too late to be played.
    pub packets_discarded: u64,
    /// The side that was not heard while the other was.
    pub unheard: Option<Side>,
}

/// A side of a call as signalling named it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PartyRecord {
    /// As it was seen.
    pub number: String,
    /// As the tenant's rules make it; the same as `number` where none applied.
    pub normalised: String,
    /// The name beside the number.
    pub display: String,
}

/// The audio file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Relative to the root of the storage, at most 1,024 bytes.
    pub path: String,
    pub size_bytes: u64,
    /// `pcm16`, `g711`, …
    pub format: String,
    pub sample_rate_hz: u32,
    /// BLAKE3 of the audio.
    pub blake3: Option<[u8; 32]>,
}

/// Somebody of the tenant who took part in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRecord {
    pub side: Side,
    /// To whom the extension was allocated at the time.
    pub user: Option<String>,
    pub extension: Option<String>,
    pub number: String,
    pub display: String,
    /// When they were on the side; `None` in rows of versions that did not know, and at the end of a call that lasts.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// Another call of the same conversation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LinkRecord {
    /// Its SIP Call-ID.
    pub call_id: String,
    /// Why it is one, a code in snake_case.
    pub reason: String,
}

/// A tenant as its calls named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    pub id: TenantId,
    pub name: String,
    /// Start of its earliest call.
    pub first_seen: Timestamp,
    /// Start of its latest call.
    pub last_seen: Timestamp,
}

/// An interaction as one tenant sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InteractionRow {
    pub id: InteractionId,
    pub tenant: TenantId,
    /// Start of the first of the tenant's calls in it.
    pub first_at: Timestamp,
    /// End of the last of the tenant's calls in it; its start while it has no end.
    pub last_at: Timestamp,
}

/// A file that the catalog says is in the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    pub tenant: TenantId,
    pub id: Uuid,
    /// Relative to the root of the storage.
    pub path: String,
    pub size_bytes: u64,
}
