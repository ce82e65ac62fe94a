//! Calls as answers show them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::calls::PROVIDER;
use crate::api::state::Api;
use crate::api::tenancy;
use crate::base::{Side, Timestamp};
use crate::catalog::{
    CallRecord, Deletion, Direction, Disposition, Hold, Marks, Note, ParticipantRecord, PartyRecord,
};
use crate::storage::{SegmentRecord, Sidecar};

/// A call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Call)]
pub struct CallView {
    pub id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<Uuid>,
    pub interaction_id: Option<Uuid>,
    /// `inbound`, `outbound`, `internal`; null where neither side is the tenant's own.
    #[schema(value_type = Option<String>)]
    pub direction: Option<Direction>,
    /// Times are RFC 3339, UTC.
    pub started_at: String,
    pub answered_at: Option<String>,
    pub ended_at: Option<String>,
    pub end_reason: String,
    /// Why there is a recording, or none; of a deleted call, why there was.
    pub disposition: String,
    /// The same in words, as it is now.
    pub disposition_text: String,
    pub caller: PartyView,
    pub callee: PartyView,
    /// Logins of the tenant's users who took part.
    pub users: Vec<String>,
    pub codec: String,
    /// Of the recording.
    pub length_ms: u64,
    /// Of the recording: what lies in pauses.
    pub paused_ms: u64,
    pub packets_lost: u64,
    pub packets_expected: u64,
    /// Mean opinion score of the side that is heard worse, 1 to 4.5.
    pub mos: Option<f64>,
    pub jitter_ms: Option<f64>,
    pub round_trip_ms: Option<f64>,
    /// The audio file; null: there is no recording, or none any more.
    pub file: Option<FileView>,
    /// Nobody may delete it.
    pub held: bool,
    pub note_count: u64,
    pub pinned_note_count: u64,
    pub categories: Vec<CategoryOfCall>,
    /// When it was deleted: its audio and what was added to it are gone, and this row says that it was there.
    pub deleted_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Party)]
pub struct PartyView {
    /// As it was signalled.
    pub number: String,
    /// As the tenant's directory has it; null where it does not.
    pub extension: Option<String>,
    pub name: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecordingFile)]
pub struct FileView {
    pub size_bytes: u64,
    /// `pcm16`, `alaw`, `ulaw`.
    pub format: String,
    pub sample_rate_hz: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CategoryOfCall {
    pub id: Uuid,
    pub name: String,
}

impl CallView {
    pub fn new(api: &Api, call: &CallRecord, marks: Marks) -> CallView {
        let time = |at: &Option<Timestamp>| at.as_ref().map(Timestamp::to_string);
        let categories = marks.categories.into_iter().map(|category| CategoryOfCall {
            id: category.id,
            name: category.name,
        });
        CallView {
            id: call.id,
            tenant_id: tenancy::shown(api, call.tenant),
            interaction_id: call.interaction.map(|id| id.0),
            direction: call.direction,
            started_at: call.started_at.to_string(),
            answered_at: time(&call.answered_at),
            ended_at: time(&call.ended_at),
            end_reason: call.end_reason.clone(),
            disposition: call.disposition.code().to_owned(),
            disposition_text: text_of(call).to_owned(),
            caller: PartyView::new(&call.parties.caller),
            callee: PartyView::new(&call.parties.callee),
            users: users(call),
            codec: call.codec.clone(),
            length_ms: call.length_ms,
            paused_ms: call.paused_ms,
            packets_lost: call.packets_lost,
            packets_expected: call.packets_expected,
            mos: call.quality.mos,
            jitter_ms: call.quality.jitter_ms,
            round_trip_ms: call.quality.round_trip_ms,
            file: call.file.as_ref().map(|file| FileView {
                size_bytes: file.size_bytes,
                format: file.format.clone(),
                sample_rate_hz: file.sample_rate_hz,
            }),
            held: marks.is_held,
            note_count: marks.notes,
            pinned_note_count: marks.pinned_notes,
            categories: categories.collect(),
            deleted_at: time(&call.deleted_at),
        }
    }
}

/// Why there is a recording, or none, in words that are true also when it was deleted.
fn text_of(call: &CallRecord) -> &'static str {
    match (&call.deleted_at, &call.disposition) {
        (Some(_), Disposition::Recorded | Disposition::KeptRaw) => {
            "There was a recording; it was deleted."
        }
        (_, disposition) => disposition.text(),
    }
}

/// Each once, in the order they took part.
fn users(call: &CallRecord) -> Vec<String> {
    let mut users: Vec<String> = Vec::new();
    for user in call.participants.iter().filter_map(|who| who.user.as_ref()) {
        if !users.contains(user) {
            users.push(user.clone());
        }
    }
    users
}

impl PartyView {
    fn new(party: &PartyRecord) -> PartyView {
        PartyView {
            number: party.number.clone(),
            extension: Some(party.normalised.clone()).filter(|text| !text.is_empty()),
            name: party.display.clone(),
        }
    }
}

/// Everything that is known of a call.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallDetail {
    #[serde(flatten)]
    pub call: CallView,
    /// SIP Call-ID.
    pub call_id: String,
    pub sensor: String,
    /// Where it was seen: interface, VLANs, tunnel.
    pub vantage: String,
    /// The tenant's own who took part.
    pub participants: Vec<ParticipantView>,
    /// Its files are encrypted where they rest. Null as `segments` is.
    pub encrypted_at_rest: Option<bool>,
    /// What is not speech on the timeline, and why. Null: there is no recording, or its sidecar cannot be read.
    pub segments: Option<Vec<SegmentView>>,
    /// Whose call it is, and for what reasons.
    pub attribution: Value,
    /// Packets that were lost on the way to the recorder only.
    pub mirror_lost: u64,
    /// Too late to be played.
    pub packets_discarded: u64,
    /// The side that was not heard while the other was.
    #[schema(value_type = Option<String>)]
    pub unheard: Option<Side>,
    /// How well each side was heard, as far as there is a recording.
    pub quality: Value,
    /// What was asked about the recording while the call lasted.
    pub control: Value,
    /// The other calls of the conversation that the caller can see.
    pub interaction: Vec<CallView>,
    /// Pinned ones first; empty where the caller may not read notes.
    pub notes: Vec<NoteView>,
    pub hold: Option<HoldView>,
    pub deletion: Option<DeletionView>,
    /// When the call goes, with all its files, because its tenant's plan keeps calls no longer; null: never, or not as long as it is on
    /// hold, or another call of its interaction is that the caller can see.
    pub expires_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ParticipantView {
    #[schema(value_type = String)]
    pub side: Side,
    pub user: Option<String>,
    pub extension: Option<String>,
    pub number: String,
    pub name: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentView {
    #[schema(value_type = String)]
    pub side: Side,
    pub from_ms: u64,
    pub to_ms: u64,
    /// `loss`, `hold`, `pause`, `comfort_noise` …
    pub cause: Value,
    pub who: Option<String>,
    pub why: Option<String>,
}

/// A note on a call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Note)]
pub struct NoteView {
    pub id: Uuid,
    pub call_id: Uuid,
    pub author_id: Option<Uuid>,
    pub author: String,
    /// Milliseconds from the start of the audio; null: of the call as a whole.
    pub place_ms: Option<u64>,
    pub text: String,
    pub pinned: bool,
    pub created_at: String,
    pub edited_at: Option<String>,
}

impl NoteView {
    pub fn new(note: &Note) -> NoteView {
        NoteView {
            id: note.id,
            call_id: note.call,
            author_id: (note.author)
                .filter(|_| note.author_name != PROVIDER)
                .map(|author| author.0),
            author: note.author_name.clone(),
            place_ms: note.place_ms,
            text: note.text.clone(),
            pinned: note.is_pinned,
            created_at: note.created_at.to_string(),
            edited_at: note.edited_at.as_ref().map(Timestamp::to_string),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldView {
    pub held_at: String,
    pub held_by: String,
    pub reason: String,
}

impl HoldView {
    pub fn new(hold: &Hold) -> HoldView {
        HoldView {
            held_at: hold.held_at.to_string(),
            held_by: hold.held_by.clone(),
            reason: hold.reason.clone(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Deletion)]
pub struct DeletionView {
    pub deleted_by: String,
    pub reason: String,
    /// When the last of its files was gone.
    pub files_gone_at: Option<String>,
}

impl DeletionView {
    pub fn new(deletion: &Deletion) -> DeletionView {
        DeletionView {
            deleted_by: deletion.deleted_by.clone(),
            reason: deletion.reason.clone(),
            files_gone_at: deletion.files_gone_at.as_ref().map(Timestamp::to_string),
        }
    }
}

/// What goes into a [`CallDetail`] besides the call.
#[derive(Debug, Default)]
pub struct Around {
    pub marks: Marks,
    pub sidecar: Option<Sidecar>,
    pub others: Vec<(CallRecord, Marks)>,
    pub notes: Vec<Note>,
    pub hold: Option<Hold>,
    pub deletion: Option<Deletion>,
    pub expires_at: Option<Timestamp>,
}

impl CallDetail {
    pub fn new(api: &Api, call: &CallRecord, around: Around) -> CallDetail {
        let sidecar = around.sidecar.as_ref();
        let is_held = around.marks.is_held || around.others.iter().any(|(_, marks)| marks.is_held);
        let expires_at = around.expires_at.filter(|_| !is_held);
        let others = around.others.into_iter();
        let json = |value: Option<Value>| value.unwrap_or(Value::Null);
        CallDetail {
            call: CallView::new(api, call, around.marks),
            call_id: call.sip_call_id.clone(),
            sensor: call.sensor.clone(),
            vantage: call.vantage.clone(),
            participants: call.participants.iter().map(ParticipantView::new).collect(),
            encrypted_at_rest: sidecar.map(|sidecar| sidecar.encrypted_at_rest),
            segments: sidecar.map(segments),
            attribution: call.attribution.clone(),
            mirror_lost: call.quality.mirror_lost,
            packets_discarded: call.quality.packets_discarded,
            unheard: call.quality.unheard,
            quality: json(sidecar.and_then(|sidecar| serde_json::to_value(&sidecar.quality).ok())),
            control: json(sidecar.and_then(|sidecar| serde_json::to_value(&sidecar.control).ok())),
            interaction: others
                .map(|(call, marks)| CallView::new(api, &call, marks))
                .collect(),
            notes: around.notes.iter().map(NoteView::new).collect(),
            hold: around.hold.as_ref().map(HoldView::new),
            deletion: around.deletion.as_ref().map(DeletionView::new),
            expires_at: expires_at.as_ref().map(Timestamp::to_string),
        }
    }
}

impl ParticipantView {
    fn new(who: &ParticipantRecord) -> ParticipantView {
        ParticipantView {
            side: who.side,
            user: who.user.clone(),
            extension: who.extension.clone(),
            number: who.number.clone(),
            name: who.display.clone(),
            from: who.from.as_ref().map(Timestamp::to_string),
            to: who.to.as_ref().map(Timestamp::to_string),
        }
    }
}

fn segments(sidecar: &Sidecar) -> Vec<SegmentView> {
    let rate = u64::from(sidecar.sample_rate_hz.max(1));
    let millis = |samples: u64| samples.saturating_mul(1000) / rate;
    let view = |segment: &SegmentRecord| SegmentView {
        side: segment.side,
        from_ms: millis(segment.from),
        to_ms: millis(segment.to),
        cause: serde_json::to_value(segment.cause).unwrap_or(Value::Null),
        who: segment.who.clone(),
        why: segment.why.clone(),
    };
    sidecar.segments.iter().map(view).collect()
}
