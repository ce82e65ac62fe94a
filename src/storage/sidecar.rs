//! The sidecar: everything known of a recording, as JSON. The catalog can be rebuilt from sidecars alone.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::quality::{LevelRecord, QualityRecord, StreamQualityRecord};
use super::{Error, Kind, Layout, RecordingName, SampleFormat, StoredFile};
use crate::base::{InteractionId, PerSide, RecordingId, Side, TenantId, Timestamp};

/// Version of the format; larger versions may add fields, and never change what a field means.
pub const SIDECAR_VERSION: u32 = 1;

/// Times are RFC 3339 in UTC with microseconds, and nanoseconds since the epoch where a field ends in `_ns`; places on the
/// timeline are samples from the start of the file, at `sample_rate_hz`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    pub version: u32,
    pub recording_id: RecordingId,
    pub tenant_id: TenantId,
    pub tenant: String,
    pub interaction_id: InteractionId,
    pub sensor: String,
    /// Where the call was seen: interface, VLANs.
    pub vantage: String,
    /// SIP Call-ID.
    pub call_id: String,
    pub invite_at: String,
    pub invite_at_ns: i64,
    pub answered_at: Option<String>,
    pub answered_at_ns: Option<i64>,
    /// Time zero of the file.
    pub started_at: String,
    pub started_at_ns: i64,
    /// `None` while the call lasts.
    pub ended_at: Option<String>,
    pub ended_at_ns: Option<i64>,
    pub end_reason: Option<String>,
    /// SIP Call-ID of the call whose place this one takes.
    #[serde(default)]
    pub replaces: Option<String>,
    #[serde(default)]
    pub transfers: Vec<TransferRecord>,
    pub caller: PartyRecord,
    pub callee: PartyRecord,
    pub attribution: AttributionRecord,
    /// Name of the audio file, in the same folder.
    pub audio: String,
    pub format: SampleFormat,
    pub sample_rate_hz: u32,
    /// Left is the caller, right the callee.
    pub channels: u16,
    /// Frames of the file.
    pub samples: u64,
    pub size_bytes: u64,
    /// What is not speech on the timeline, in the order of their beginnings.
    pub segments: Vec<SegmentRecord>,
    /// More segments than are listed: the list was full.
    #[serde(default)]
    pub segments_omitted: u64,
    pub streams: Vec<StreamRecord>,
    #[serde(default)]
    pub digits: Vec<DigitRecord>,
    /// Packets that reached the sensor and not the file, by cause.
    #[serde(default)]
    pub packets_dropped: u64,
    /// Audio that was kept as it came, for want of a decoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawRecord>,
    /// Other calls of the tenant that belong to the same conversation.
    #[serde(default)]
    pub links: Vec<LinkRecord>,
    /// Who took part, from when to when.
    #[serde(default)]
    pub participants: Vec<ParticipantRecord>,
    /// What came of somebody who has no part in the call, and changed nothing.
    #[serde(default)]
    pub suspicious: Vec<SuspicionRecord>,
    /// What was asked about the recording while the call lasted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<ControlRecord>,
    /// Milliseconds of the timeline that lie in pauses.
    #[serde(default)]
    pub paused_ms: u64,
    /// That a key was pressed is listed, and not which.
    #[serde(default)]
    pub digits_masked: bool,
    /// While the call lasts: why it will not be kept, unless somebody asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signalling: Option<SignallingRecord>,
    /// All files of the recording are encrypted where they rest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted_at_rest: bool,
    /// How well it was heard; `None` while the call lasts, and where an earlier version wrote the sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualityRecord>,
    /// How loud each side was; `None` for one of which there is no audio.
    #[serde(default)]
    pub levels: PerSide<Option<LevelRecord>>,
}

/// The packets whose audio could not be decoded when they came. In the file, the time of a packet is that of its place on the
/// timeline: `place = round((time - started_at) * sample_rate_hz)`, exact to the sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RawRecord {
    /// Name of the file, a pcap, in the same folder; `None` when all of it was decoded and it was removed.
    pub file: Option<String>,
    pub size_bytes: u64,
    pub packets: u64,
    /// Packets that are not in the file: it was as long as it may be, or the storage did not take them.
    pub packets_dropped: u64,
    pub streams: Vec<RawStreamRecord>,
}

/// The packets of one payload type of one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawStreamRecord {
    pub side: Side,
    pub source: String,
    pub destination: String,
    /// Hexadecimal.
    pub ssrc: String,
    pub payload_type: u8,
    /// As in `a=rtpmap`; `PT` and the payload type where nobody said.
    pub encoding: String,
    pub clock_rate_hz: u32,
    pub fmtp: Option<String>,
    /// Also those that found no room in the file.
    pub packets: u64,
    /// Places of the first and of the last packet.
    pub first: u64,
    pub last: u64,
    pub state: RawState,
    /// Packets that a decoder did not make samples of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub packets_failed: u64,
    /// Why, in the words of the decoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What became of packets that could not be decoded when they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawState {
    /// Their audio is in no file yet.
    Kept,
    /// A decoder outside this program made samples of them, and those are in the audio file.
    Decoded,
    /// It failed, for some of them or all.
    Failed,
}

/// Something that was asked about a recording, and changed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlRecord {
    pub at: String,
    pub at_ns: i64,
    /// `pause`, `resume`, `stop`, `keep`.
    pub action: String,
    /// `header`, `recordpref`, `keys`, `request`.
    pub by: String,
    /// The side that asked, where one of the call's own did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// User, extension or number; empty for somebody of another tenant.
    pub who: String,
    pub why: String,
}

/// The messages of the dialog, kept beside the recording without credentials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignallingRecord {
    /// Name of the capture file, in the same folder.
    pub file: String,
    pub messages: u64,
    pub size_bytes: u64,
    /// Messages that were too many or too long.
    #[serde(default)]
    pub omitted: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartyRecord {
    /// As signalling named the side.
    pub number: String,
    pub host: String,
    pub display: String,
    /// As the directory knows it.
    pub extension: Option<String>,
    pub user: Option<String>,
    /// Whether this side is the tenant's own.
    pub own: bool,
}

/// Why the call is this tenant's: `callreel match` shows the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttributionRecord {
    pub verdict: String,
    pub reasons: serde_json::Value,
}

/// A span of the timeline with a cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// Whose audio; for a hold, who held.
    pub side: Side,
    pub from: u64,
    pub to: u64,
    pub cause: Cause,
    /// For a pause: who asked for it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl SegmentRecord {
    pub fn new(side: Side, from: u64, to: u64, cause: Cause) -> SegmentRecord {
        SegmentRecord {
            side,
            from,
            to,
            cause,
            who: None,
            why: None,
        }
    }
}

/// Why there is silence in a recording, or something else than was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Packets were sent and did not reach the sensor.
    Loss,
    /// The side sent nothing, or nothing more, or nothing yet.
    NoMedia,
    /// Silence suppression (RFC 3389).
    ComfortNoise,
    /// A key was pressed, and its tone sent as an event (RFC 4733).
    Dtmf,
    Hold,
    /// Audio in a codec that this version does not decode.
    Undecoded,
    /// The recorder could not keep up.
    Overload,
    /// The storage could not take it.
    Storage,
    /// What the side sent was encrypted, and there was no key.
    Encrypted,
    /// The decoder outside this program failed.
    DecoderFailed,
    /// Lost, and restored from what the sender repeats of it in the next packet (RFC 6716 section 2.1.7).
    Concealed,
    /// The call had passed to another tenant.
    NotOwned,
    /// Somebody asked that it be not recorded.
    Pause,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamRecord {
    pub side: Side,
    pub source: String,
    pub destination: String,
    /// Hexadecimal.
    pub ssrc: String,
    pub codec: String,
    pub first_at: String,
    pub last_at: String,
    pub packets: u64,
    pub bytes: u64,
    pub expected: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub late: u64,
    pub not_placed: u64,
    pub restarts: u32,
    pub jitter_ms: f64,
    pub drift_ms: f64,
    /// The crypto suite of what was SRTP and was opened.
    #[serde(default)]
    pub srtp: Option<String>,
    /// Why what was encrypted could not be opened, a code in snake_case.
    #[serde(default)]
    pub encrypted: Option<String>,
    /// Packets with a wrong tag, in none of the numbers above.
    #[serde(default)]
    pub auth_failed: u64,
    /// Packets that lay in pauses, at least in part.
    #[serde(default)]
    pub paused: u64,
    /// Ticks a second of its RTP timestamps, and what was said of them, where that is not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_rate_hz: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_clock_rate_hz: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<StreamQualityRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DigitRecord {
    pub side: Side,
    pub at: String,
    /// `x` where keys are masked.
    pub key: char,
}

/// That one side sent the other elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferRecord {
    pub by: Side,
    pub at: String,
    pub to: String,
    /// SIP Call-ID of the call that is to be replaced.
    pub replaces: Option<String>,
    /// The final SIP status of the call that came of it, or of the REFER where that was refused; absent where none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// Another call of the same interaction, and why it is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRecord {
    /// Its SIP Call-ID.
    pub call_id: String,
    /// `call_id`, `session_id`, `header`, `replaces`, `join`, `refer`, `numbers`, `audio`.
    pub reason: String,
}

/// Somebody on one side of the call for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantRecord {
    pub side: Side,
    pub number: String,
    pub display: String,
    /// As the directory knows the tenant's own.
    pub extension: Option<String>,
    pub user: Option<String>,
    /// Whether it is somebody of the tenant.
    pub own: bool,
    pub from: String,
    pub from_ns: i64,
    /// `None` while the call lasts.
    pub to: Option<String>,
    pub to_ns: Option<i64>,
}

/// Something foreign, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspicionRecord {
    /// `foreign_requests`: with tags that are not the call's, or from elsewhere and agreed to by nobody. `foreign_media`: packets from where no side said it would send.
    pub kind: String,
    pub count: u64,
}

impl Sidecar {
    /// A sidecar that knows no more than the recording's name does.
    pub fn empty(recording_id: RecordingId, tenant_id: TenantId, start: Timestamp) -> Sidecar {
        Sidecar {
            version: SIDECAR_VERSION,
            recording_id,
            tenant_id,
            tenant: String::new(),
            interaction_id: InteractionId(recording_id.0),
            sensor: String::new(),
            vantage: String::new(),
            call_id: String::new(),
            invite_at: start.to_string(),
            invite_at_ns: start.as_nanos(),
            answered_at: None,
            answered_at_ns: None,
            started_at: start.to_string(),
            started_at_ns: start.as_nanos(),
            ended_at: None,
            ended_at_ns: None,
            end_reason: None,
            replaces: None,
            transfers: Vec::new(),
            caller: PartyRecord::default(),
            callee: PartyRecord::default(),
            attribution: AttributionRecord::default(),
            audio: String::new(),
            format: SampleFormat::Pcm16,
            sample_rate_hz: 8000,
            channels: 2,
            samples: 0,
            size_bytes: 0,
            segments: Vec::new(),
            segments_omitted: 0,
            streams: Vec::new(),
            digits: Vec::new(),
            packets_dropped: 0,
            raw: None,
            links: Vec::new(),
            participants: Vec::new(),
            suspicious: Vec::new(),
            control: Vec::new(),
            paused_ms: 0,
            digits_masked: false,
            pending: None,
            signalling: None,
            encrypted_at_rest: false,
            quality: None,
            levels: PerSide::default(),
        }
    }

    /// How long the file is.
    pub fn length_ms(&self) -> u64 {
        self.samples * 1000 / u64::from(self.sample_rate_hz.max(1))
    }

    /// Whether audio of the call is only in the file of packets. A payload type that nobody described does not count beside
    /// audio of the same side that was decoded: it may be anything.
    pub fn is_kept_raw(&self) -> bool {
        let raw = self.raw.iter().flat_map(|raw| &raw.streams);
        let is_heard = |side: Side, encoding: &str| {
            let audible = |codec: &str| ![encoding, "CN", "telephone-event"].contains(&codec);
            let mut streams = self.streams.iter().filter(|stream| stream.side == side);
            streams.any(|stream| audible(&stream.codec))
        };
        raw.filter(|stream| stream.state != RawState::Decoded)
            .any(|stream| {
                stream.encoding != format!("PT{}", stream.payload_type)
                    || !is_heard(stream.side, &stream.encoding)
            })
    }

    /// That of a recording, `Sidecar` or another of its kind.
    pub fn load(layout: &Layout, name: &RecordingName, kind: Kind) -> Result<Sidecar, Error> {
        let file = StoredFile::open(layout, name, kind)?;
        Sidecar::parse(&file.read_to_end()?, file.path())
    }

    /// One that is not encrypted.
    pub fn read(path: &Path) -> Result<Sidecar, Error> {
        let text = std::fs::read(path).map_err(Error::io("read", path))?;
        Sidecar::parse(&text, path)
    }

    pub fn parse(text: &[u8], path: &Path) -> Result<Sidecar, Error> {
        serde_json::from_slice(text).map_err(|error| Error::Sidecar {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// The file's text: indented, so that a person can read it, with a line feed at the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a sidecar has only string keys");
        bytes.push(b'\n');
        bytes
    }
}
