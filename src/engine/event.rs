//! What the engine says happened: the values it hands to its sink.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::control::ControlNote;
pub use super::end_reason::EndReason;
use super::plan::{CallKey, Keyless};
use super::quality::StreamQuality;
use super::standing::Change;
use crate::base::{
    Endpoint, Flow, InteractionId, PerSide, RecordingId, Side, TenantId, Timestamp, Vantage,
    time_ordered,
};
use crate::codec::{Codec, PayloadFormat};
use crate::directory::{Attribution, ControlRules, Decision, Policy, RecordingPolicy, Withheld};
use crate::rtp::Suite;

/// Listens to the engine. Called on the capture thread: hand on, do not work.
pub trait Sink {
    fn event(&mut self, event: Event);
}

impl<F: FnMut(Event)> Sink for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}

/// Everything that happens to a call, in order: `Call` first, `Ended` last, at most one `Recording`, blocks after it.
#[derive(Debug)]
pub enum Event {
    /// First news of a call, and every change in what is known of it.
    Call {
        call: CallKey,
        info: Arc<CallInfo>,
    },
    /// First media of a call that is to be recorded: time zero of its timeline.
    Recording {
        call: CallKey,
        start: Timestamp,
        sample_rate_hz: u32,
    },
    /// A stretch of the timeline, complete but for late packets.
    Block {
        call: CallKey,
        block: Block,
    },
    Ended(Box<CallEnd>),
    /// A message of the call's dialog, where a tenant that has it, or may yet have it, keeps them. Credentials are still in it.
    Signalling {
        call: CallKey,
        message: Box<SignallingMessage>,
    },
    /// What holds of a recording beyond this run, by a number of its own; `None`: nothing any more. `call` may be over.
    Standing {
        call: CallKey,
        change: Change,
    },
}

impl Event {
    pub fn call(&self) -> CallKey {
        match self {
            Event::Call { call, .. }
            | Event::Recording { call, .. }
            | Event::Block { call, .. }
            | Event::Signalling { call, .. }
            | Event::Standing { call, .. } => *call,
            Event::Ended(end) => end.call,
        }
    }
}

/// How long one block of a timeline is: 4,096 samples at 8 kHz.
pub const BLOCK: Duration = Duration::from_millis(512);

/// Payloads of many calls, one after another. Blocks share it; what of it is a call's own, the call's pieces say.
pub type Chunk = Arc<Vec<u8>>;

/// Payloads as they came, with their places on the timeline.
#[derive(Debug)]
pub struct Block {
    /// The block covers the samples from `index * length` on, `length` being [`BLOCK`] at the recording's rate.
    pub index: u64,
    /// A packet that came after its block was handed out: to be patched in place.
    pub late: bool,
    /// Packets of earlier blocks of the call that a full queue dropped. The engine drops none: set by who hands blocks on.
    pub dropped_before: u64,
    pub sides: PerSide<Vec<Piece>>,
    /// One for each piece of audio whose codec is not decoded here, in the order of those pieces: see [`Block::raw`].
    pub headers: PerSide<Vec<RawHeader>>,
    /// Where the payloads of the pieces lie.
    pub chunks: SmallVec<[Chunk; 4]>,
    /// What [`Piece::format`] points into.
    pub formats: Arc<Vec<PayloadFormat>>,
}

impl Block {
    /// Packets of both sides.
    pub fn packets(&self) -> u64 {
        (self.sides.caller.len() + self.sides.callee.len()) as u64
    }

    /// The payload of one of this block's pieces.
    #[inline]
    pub fn payload(&self, piece: &Piece) -> &[u8] {
        let from = piece.offset as usize;
        self.chunks
            .get(usize::from(piece.chunk))
            .and_then(|chunk| chunk.get(from..from + usize::from(piece.len)))
            .unwrap_or_default()
    }

    /// The pieces of a side that nobody here can decode, with what their packets' headers said. To be asked before the pieces
    /// are put into another order.
    pub fn raw(&self, side: Side) -> impl Iterator<Item = (&Piece, &PayloadFormat, &RawHeader)> {
        self.sides[side]
            .iter()
            .filter_map(|piece| Some((piece, self.formats.get(usize::from(piece.format))?)))
            .filter(|(_, format)| format.codec.is_kept_raw())
            .zip(&self.headers[side])
            .map(|((piece, format), header)| (piece, format, header))
    }
}

/// What the header of a packet said whose payload is kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawHeader {
    pub source: Endpoint,
    pub destination: Endpoint,
    pub ssrc: u32,
    pub timestamp: u32,
    pub marker: bool,
    /// `a=fmtp` of its payload type.
    pub fmtp: Option<Arc<str>>,
}

/// One payload.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// First sample, counted from the start of the recording.
    pub position: i64,
    /// Extended sequence number, its low 32 bits.
    pub number: u32,
    /// Where its bytes begin in the chunk.
    pub offset: u32,
    pub len: u16,
    /// Which of [`Block::chunks`].
    pub chunk: u16,
    /// Which of the call's streams, in order of appearance.
    pub stream: u16,
    pub format: u8,
}

/// Who is who in a call, and whose it is.
#[derive(Clone, Debug)]
pub struct CallInfo {
    /// SIP Call-ID.
    pub call_id: String,
    pub interaction: InteractionId,
    pub vantage: Vantage,
    pub invite_at: Timestamp,
    pub answered_at: Option<Timestamp>,
    /// Call-ID of the call that this one takes the place of (RFC 3891).
    pub replaces: Option<String>,
    pub transfers: Vec<Transfer>,
    pub parties: PerSide<Party>,
    pub attribution: Arc<Attribution>,
    /// One for each tenant that owns the call; the System tenant where nobody does and such calls are kept.
    pub owners: SmallVec<[Ownership; 2]>,
    /// Tells this call from every other; recording ids are made of it.
    pub seed: [u8; 32],
    /// Other calls of the same conversation, with the evidence.
    pub links: Vec<Link>,
    /// Who took part, from when to when: who called, who answered, who took over.
    pub participants: Vec<Participant>,
    /// What was asked about its recording, in the order it was heard.
    pub control: Vec<ControlNote>,
    /// Which side keeps the other waiting at this moment.
    pub held_by: PerSide<bool>,
}

impl CallInfo {
    /// The id of `tenant`'s recording of a call whose timeline begins at `start`: the same whenever the same packets are read.
    pub fn recording_id(&self, tenant: TenantId, start: Timestamp) -> RecordingId {
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(tenant.0.as_bytes());
        let mut entropy = [0; 10];
        hasher.finalize_xof().fill(&mut entropy);
        RecordingId(time_ordered(start, entropy))
    }
}

/// One side of a call as signalling names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// User part of the URI, or the number of a `tel:` URI, percent-decoded.
    pub number: String,
    pub host: String,
    pub display: String,
    /// Tag of this side in the dialog, empty while unknown.
    pub tag: String,
    /// Who the directory says it is, where it says so.
    pub extension: Option<Arc<str>>,
    pub user: Option<Arc<str>>,
}

/// What a tenant gets of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    pub tenant: TenantId,
    pub tenant_name: Arc<str>,
    /// The sides that are this tenant's.
    pub sides: PerSide<bool>,
    /// `None`: it is to be recorded. Otherwise why not.
    pub refusal: Option<Disposition>,
    /// What this tenant calls the interaction: made of its own legs only, so that it tells nothing of anybody else's.
    pub interaction: InteractionId,
    /// From when on another tenant has this one's side: what is heard after that is not this tenant's.
    pub until: Option<Timestamp>,
    /// Of several legs of one interaction this tenant wants one recording.
    pub one_leg: bool,
    /// It is recorded, and in the end thrown away for this reason unless somebody asks for it.
    pub pending: Option<Disposition>,
    pub recording: RecordingPolicy,
    pub control: Option<Arc<ControlRules>>,
    /// Which policy decided; `None` where nobody owns the call.
    pub decision: Option<Decision>,
}

impl Ownership {
    /// Recorded as a tenant without settings has it.
    pub fn new(tenant: TenantId, tenant_name: Arc<str>, sides: PerSide<bool>) -> Ownership {
        Ownership {
            tenant,
            tenant_name,
            sides,
            refusal: None,
            pending: None,
            recording: RecordingPolicy::default(),
            control: None,
            decision: None,
            // Interactions give it its name.
            interaction: InteractionId(uuid::Uuid::nil()),
            until: None,
            one_leg: false,
        }
    }

    /// Its policy, where one decided.
    pub fn policy(&self) -> Option<Policy> {
        self.decision.as_ref().map(|decision| decision.policy)
    }
}

/// How a call ended for the recorder. Stable codes: catalog, metrics, API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    Recorded,
    /// Answered, and no RTP was seen for it.
    NoMedia,
    /// It ended before it was answered, and nothing was heard.
    NotAnswered,
    /// Only encrypted media, and no key.
    Encrypted,
    /// Only media in codecs that this version does not decode.
    UnsupportedCodec,
    /// RTP, but no audio: events, comfort noise, video.
    NoAudio,
    PolicyNone,
    PolicyOnDemand,
    PolicySample,
    /// Nobody's, and nobody's calls are not kept.
    Unattributed,
    /// The storage could not take it.
    StorageFailed,
    /// Too many calls at once.
    Capacity,
    /// There is a recording, and some of its audio is only in the file of packets beside it.
    KeptRaw,
    /// Another leg of the conversation was kept.
    OtherLeg,
    /// Shorter than the tenant wants.
    TooShort,
    /// Somebody asked that it be not recorded: see [`CallInfo::control`].
    DoNotRecord,
    /// As many of the tenant's calls were being recorded as its plan allows.
    PlanLimit,
    /// All that could have been recorded lay in pauses.
    Paused,
    /// The tenant's recordings take what its plan gives it of the storage.
    PlanStorage,
    /// The tenant has recorded as many minutes this month as its plan gives it.
    PlanMinutes,
    /// The tenant is suspended.
    TenantSuspended,
}

impl From<Withheld> for Disposition {
    fn from(withheld: Withheld) -> Disposition {
        match withheld {
            Withheld::PlanStorage => Disposition::PlanStorage,
            Withheld::PlanMinutes => Disposition::PlanMinutes,
            Withheld::Suspended => Disposition::TenantSuspended,
        }
    }
}

impl Disposition {
    pub const ALL: [Disposition; 21] = [
        Disposition::Recorded,
        Disposition::NoMedia,
        Disposition::NotAnswered,
        Disposition::Encrypted,
        Disposition::UnsupportedCodec,
        Disposition::NoAudio,
        Disposition::PolicyNone,
        Disposition::PolicyOnDemand,
        Disposition::PolicySample,
        Disposition::Unattributed,
        Disposition::StorageFailed,
        Disposition::Capacity,
        Disposition::KeptRaw,
        Disposition::OtherLeg,
        Disposition::TooShort,
        Disposition::DoNotRecord,
        Disposition::PlanLimit,
        Disposition::Paused,
        Disposition::PlanStorage,
        Disposition::PlanMinutes,
        Disposition::TenantSuspended,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Disposition::Recorded => "recorded",
            Disposition::NoMedia => "no_media",
            Disposition::NotAnswered => "not_answered",
            Disposition::Encrypted => "encrypted",
            Disposition::UnsupportedCodec => "unsupported_codec",
            Disposition::NoAudio => "no_audio",
            Disposition::PolicyNone => "policy_none",
            Disposition::PolicyOnDemand => "policy_on_demand",
            Disposition::PolicySample => "policy_sample",
            Disposition::Unattributed => "unattributed_discarded",
            Disposition::StorageFailed => "disk_error",
            Disposition::Capacity => "overload",
            Disposition::KeptRaw => "kept_raw",
            Disposition::OtherLeg => "other_leg",
            Disposition::TooShort => "too_short",
            Disposition::DoNotRecord => "do_not_record",
            Disposition::PlanLimit => "plan_limit",
            Disposition::Paused => "paused",
            Disposition::PlanStorage => "plan_storage",
            Disposition::PlanMinutes => "plan_minutes",
            Disposition::TenantSuspended => "tenant_suspended",
        }
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Everything known of a call when it is over.
#[derive(Clone, Debug)]
pub struct CallEnd {
    pub call: CallKey,
    pub info: Arc<CallInfo>,
    pub ended_at: Timestamp,
    pub reason: EndReason,
    /// The status of a rejected call.
    pub status: Option<u16>,
    /// What became of it where no policy refused it.
    pub disposition: Disposition,
    /// Samples of the timeline, 0 where there is no recording.
    pub length_samples: u64,
    pub streams: Vec<StreamReport>,
    pub holds: Vec<HoldSpan>,
    pub digits: Vec<Digit>,
    /// As [`Block::dropped_before`], for blocks that no other followed.
    pub dropped_before: u64,
    /// What came of somebody who has no part in the call, and changed nothing.
    pub suspicious: Suspicious,
    /// Messages of the dialog that were to be kept and were too many.
    pub signalling_omitted: u64,
    /// Whether each side was ever free to send audio, as both have said; `false` where that was not heard.
    pub may_send: PerSide<bool>,
}

/// Things that somebody else sent into a call, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspicious {
    /// Requests in the call's name with tags that are not its: a BYE, a new offer, a transfer.
    pub requests: u64,
    /// Packets of audio from where no side said it would send, beside those of the side itself.
    pub media_packets: u64,
}

/// A time during which one side kept the other waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldSpan {
    /// Who put the other on hold.
    pub by: Side,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// That one side asked the other to call somebody else (RFC 3515).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub by: Side,
    pub at: Timestamp,
    /// User part of the target.
    pub to: String,
    /// Call-ID of the call that is to be replaced, for an attended transfer.
    pub replaces: Option<String>,
    /// CSeq of its REFER.
    pub number: u32,
    /// The final answer: of the call that came of it (RFC 3515 section 2.4.5), or to the REFER itself where that was refused.
    pub status: Option<u16>,
}

/// That another call belongs to the same conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub call: CallKey,
    /// Its SIP Call-ID.
    pub call_id: String,
    pub reason: LinkReason,
    /// Whose it is: only they may know of it.
    pub owners: SmallVec<[TenantId; 2]>,
}

/// Why two calls are one conversation. Stable codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkReason {
    /// One dialog seen at two places.
    CallId,
    /// RFC 7989.
    SessionId,
    /// A header that the configuration names.
    Header,
    /// One takes the other's place (RFC 3891).
    Replaces,
    /// One joins the other (RFC 3911).
    Join,
    /// One was asked for in the other (RFC 3515).
    Refer,
    /// One leaves the host that the other came to, at the same time, for the same numbers.
    Numbers,
    /// Both carry the same audio.
    Audio,
}

impl LinkReason {
    /// Whether the calls are hops of one call, of which both carry what is said; else one follows the other.
    pub fn is_hop(self) -> bool {
        !matches!(
            self,
            LinkReason::Replaces | LinkReason::Join | LinkReason::Refer
        )
    }

    pub fn code(self) -> &'static str {
        match self {
            LinkReason::CallId => "call_id",
            LinkReason::SessionId => "session_id",
            LinkReason::Header => "header",
            LinkReason::Replaces => "replaces",
            LinkReason::Join => "join",
            LinkReason::Refer => "refer",
            LinkReason::Numbers => "numbers",
            LinkReason::Audio => "audio",
        }
    }
}

/// Somebody on one side of a call, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    pub side: Side,
    pub number: String,
    pub display: String,
    /// Whose extension it is, and who has it, where the directory says so.
    pub tenant: Option<TenantId>,
    pub extension: Option<Arc<str>>,
    pub user: Option<Arc<str>>,
    pub from: Timestamp,
    /// `None`: to the end of the call.
    pub to: Option<Timestamp>,
}

/// A key that was pressed. Which one, no log shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    pub by: Side,
    pub at: Timestamp,
    pub key: char,
}

impl fmt::Debug for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a key of the {} at {}", self.by, self.at)
    }
}

/// One SIP message as it was seen.
#[derive(Clone)]
pub struct SignallingMessage {
    pub at: Timestamp,
    pub flow: Flow,
    pub bytes: Box<[u8]>,
}

impl fmt::Debug for SignallingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of SIP at {}", self.bytes.len(), self.at)
    }
}

/// One RTP stream of a call, in numbers.
#[derive(Clone, Debug)]
pub struct StreamReport {
    pub side: Side,
    pub flow: Flow,
    pub ssrc: u32,
    /// The codec of most of its packets.
    pub codec: Codec,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// Without duplicates.
    pub packets: u64,
    pub bytes: u64,
    pub expected: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub late: u64,
    /// Packets with a timestamp that could not be placed, from before the recording's beginning, or of a stream that gave way
    /// to another one of the same side.
    pub not_placed: u64,
    pub restarts: u32,
    /// RFC 3550 appendix A.8, after the last packet.
    pub jitter: Duration,
    /// Shift that the sender's clock needed over the stream's life, in samples of the recording.
    pub drift_samples: i64,
    /// The suite of its packets, where they were SRTP and were opened.
    pub srtp: Option<Suite>,
    /// Packets that were encrypted and could not be opened.
    pub hidden: Option<Hidden>,
    /// Packets with a tag that no key makes: somebody else's, or damaged. In no other number here.
    pub auth_failed: u64,
    /// Packets that lay in pauses, at least in part.
    pub paused: u64,
    /// Where its timestamps run by another clock than was said. All here is by the clock by which they run.
    pub other_clock: Option<OtherClock>,
    /// What of these numbers another call has too, and counts.
    pub shared: Shared,
    pub quality: StreamQuality,
}

/// A clock of RTP timestamps that is not the one that SDP, or RFC 3551 where no SDP did, says: both in ticks a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherClock {
    pub said_hz: u32,
    /// What the sender counts by.
    pub clock_hz: u32,
}

/// Packets of a stream that several calls have, as far as another one of them counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    pub packets: u64,
    pub duplicates: u64,
}

/// Encrypted media that could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    pub why: Keyless,
    /// Its first and its last packet.
    pub from: Timestamp,
    pub to: Timestamp,
}
