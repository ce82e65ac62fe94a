//! What happens at this moment: calls in progress, what can be asked of them, and what is told of them.
//!
//! The daemon answers ([`Sensor`]) and publishes ([`Feed`](super::Feed)). Nothing here says who may know: each call is shown as
//! one tenant has it, and routes leave out what lies outside the caller's scope.

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use crate::base::{PerSide, Side, TenantId, Timestamp};

/// A daemon that listens to a wire.
pub trait Sensor: Send + Sync + 'static {
    /// Calls in progress, each as one tenant has it, of one tenant or of all. In no order.
    fn active_calls(&self, tenant: Option<TenantId>) -> Vec<ActiveCall>;

    /// Does something about the recording of a call and of its conversation.
    fn control(&self, asked: Steering) -> BoxFuture<'_, Result<Steered, Unsteered>>;

    /// Lets somebody hear the call as the tenant has it.
    fn listen(&self, call: &ActiveCall, hearing: Hearing) -> Result<LiveAudio, Unheard>;
}

/// A call in progress, as one tenant that owns it may know it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveCall {
    /// Stays the same from the first INVITE to the end.
    pub id: Uuid,
    /// The daemon's own number of it.
    pub key: u64,
    pub tenant: TenantId,
    pub tenant_name: String,
    pub interaction: Uuid,
    pub sip_call_id: String,
    pub invited_at: Timestamp,
    pub answered_at: Option<Timestamp>,
    /// First media, where there was any.
    pub heard_since: Option<Timestamp>,
    /// The recording that it becomes; known from the first media on.
    pub recording: Option<Uuid>,
    /// Why it is not recorded, a code in snake_case; `None`: it is, or will be.
    pub not_recorded: Option<&'static str>,
    /// It is recorded, and thrown away at the end unless somebody asks for it.
    pub is_pending: bool,
    pub is_paused: bool,
    /// Which side keeps the other waiting.
    pub held_by: PerSide<bool>,
    pub parties: PerSide<ActiveParty>,
    pub participants: Vec<ActiveParticipant>,
}

/// A side as signalling names it. Who that is in the directory is said of the tenant's own people only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveParty {
    pub number: String,
    pub display: String,
    pub extension: Option<String>,
    pub user: Option<String>,
}

/// Somebody of the tenant who takes part, or took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveParticipant {
    pub side: Side,
    /// Login.
    pub user: Option<String>,
    pub extension: Option<String>,
    pub number: String,
    pub from: Timestamp,
    pub to: Option<Timestamp>,
}

/// What can be done about the recording of a call in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Pause,
    Resume,
    Keep,
    Stop,
}

/// What is asked about a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    pub action: Action,
    /// The conversation, as the tenant calls it.
    pub interaction: Uuid,
    pub tenant: TenantId,
    /// The calls of the conversation that who asks can see, by the daemon's numbers; `None`: all that there are or will be. To
    /// keep and to stop reach these only. A pause is of the whole conversation; of the others nothing is told.
    pub seen: Option<Vec<u64>>,
    pub who: String,
    pub why: String,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steered {
    /// Calls in progress of the conversation, of the tenant's, as far as who asks can see them.
    pub calls: u32,
    /// Of these, the ones for which it changed something.
    pub changed: u32,
    /// From when on it is in force.
    pub at: Timestamp,
}

/// The engine did not answer: it is not there, or has too much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsteered;

/// How somebody wants to hear a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hearing {
    pub container: Container,
    /// Both sides in one channel; else the caller is left and the callee right.
    pub is_mixed: bool,
    /// A WAV at the rate of the recording, not at [`LIVE_RATE_HZ`].
    pub is_native: bool,
}

/// Rate of a live WAV for browsers. They gather so many bytes before they play, and stay as far behind: Chrome 233,000.
pub const LIVE_RATE_HZ: u32 = 48_000;

/// What live audio comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Opus in Ogg.
    Ogg,
    /// PCM in a WAV that does not say how long it is.
    Wav,
}

/// Audio of a call, a few hundredths of a second at a time, until the call is over or is not the tenant's any more. Who takes it
/// too slowly is left.
#[derive(Debug)]
pub struct LiveAudio {
    pub chunks: Receiver<Bytes>,
}

/// Why nobody can listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// The call is over.
    Over,
    /// As many listen as may.
    TooMany,
}
