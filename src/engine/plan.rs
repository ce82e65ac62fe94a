//! What signalling tells media: where to expect which side of which call, until told otherwise.
//!
//! The one message type between the two halves of the engine. In one thread it is an argument; over threads an item in a
//! channel; between sensors a message on a broker.

use smallvec::SmallVec;

use crate::base::{Endpoint, PerSide, Timestamp, Vantage};
use crate::codec::PayloadFormat;

/// Names one leg within one run of the engine. Later legs have larger keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub u64);

/// Everything media has to know of one call. A later plan for the same call replaces the earlier one whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPlan {
    pub call: CallKey,
    /// Where the dialog was seen. Media is expected at the same places and nowhere else.
    pub vantages: SmallVec<[Vantage; 2]>,
    pub sides: PerSide<SidePlan>,
    /// Whether audio is to be kept; when not, streams are still followed and counted.
    pub record: bool,
    /// Time of the INVITE: a stream that ran long before is somebody else's. [`Timestamp::MIN`] for a call that was already
    /// under way when the capture began.
    pub since: Timestamp,
    /// Whether a wideband codec is among what both sides can speak: the recording is then kept at 16 kHz.
    pub wideband: bool,
}

/// What one side said of itself in SDP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SidePlan {
    /// Where it receives RTP: one endpoint, or several while a call forks or a new offer waits for its answer.
    pub endpoints: SmallVec<[Endpoint; 2]>,
    /// What the payload types of packets sent to it mean.
    pub formats: SmallVec<[PayloadFormat; 8]>,
    /// What it sends and receives is encrypted, and no key is known.
    pub encrypted: bool,
}
