//! What signalling tells media: where to expect which side of which call, until told otherwise.
//!
//! The one message type between the two halves of the engine. In one thread it is an argument; over threads an item in a
//! channel; between sensors a message on a broker.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::control::PauseSpan;
use crate::base::{Endpoint, Flow, PerSide, Side, Timestamp, Vantage};
use crate::codec::PayloadFormat;
use crate::rtp::SrtpKey;

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
    /// Spans of time in which nothing is put on the timeline, in their order; the last may have no end yet.
    pub pauses: Vec<PauseSpan>,
    /// Calls of the same conversation that name an endpoint of this one: a stream of theirs may be this one's as well.
    pub kin: SmallVec<[Kin; 1]>,
    /// The same number for the same tenants that get what is recorded.
    pub audience: u64,
}

/// Another leg of a call's conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kin {
    pub call: CallKey,
    /// Who gets what is recorded of this call may have the other's streams. If not, both ends of a stream have to say so for
    /// themselves: what makes the two one conversation is evidence that a stranger could make.
    pub is_sure: bool,
}

impl MediaPlan {
    /// Whether `flow` is what `sender` sends, both ends as the two sides said.
    pub fn names(&self, flow: &Flow, sender: Side) -> bool {
        self.vantages.contains(&flow.vantage)
            && self.sides[sender].endpoints.contains(&flow.source)
            && self.sides[sender.other()]
                .endpoints
                .contains(&flow.destination)
    }

    /// Whether at least one end of `flow` is as a side said: the other may be said yet.
    pub fn names_an_end(&self, flow: &Flow) -> bool {
        let is_known = |sender: Side| {
            let (from, to) = (&self.sides[sender], &self.sides[sender.other()]);
            from.endpoints.contains(&flow.source) || to.endpoints.contains(&flow.destination)
        };
        self.vantages.contains(&flow.vantage) && Side::BOTH.into_iter().any(is_known)
    }

    /// Whether each end of `flow`, the source first, said so itself.
    pub fn own_words(&self, flow: &Flow, sender: Side) -> [bool; 2] {
        let (source, destination) = (&self.sides[sender], &self.sides[sender.other()]);
        [
            source.is_own_word(&flow.source),
            destination.is_own_word(&flow.destination),
        ]
    }
}

/// What one side said of itself in SDP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SidePlan {
    /// Where it receives RTP: one endpoint, or several while a call forks or a new offer waits for its answer.
    pub endpoints: SmallVec<[Endpoint; 2]>,
    /// What the payload types of packets sent to it mean.
    pub formats: Formats,
    /// How what it sends is protected.
    pub protection: Protection,
    /// What of the packets at its port is no audio.
    pub other_types: OtherTypes,
    /// `a=fmtp` of the payload types that are kept raw: whoever decodes them later needs it.
    pub fmtp: Fmtp,
    /// Where it receives RTCP, and the RTP that belongs to it: only where that is neither the same port nor the one after.
    pub rtcp: SmallVec<[(Endpoint, Endpoint); 1]>,
    /// Both sides have spoken, and this one is free to send audio.
    pub may_send: bool,
    /// The hosts that said all this in the side's name.
    pub told_by: SmallVec<[IpAddr; 1]>,
}

/// Hosts remembered that speak for one side: the phone's own, and proxies.
pub const MAX_TELLERS: usize = 4;

impl SidePlan {
    /// Whether the host that is to send or receive at `endpoint` said so itself. What a stranger says of it nobody else has said.
    pub fn is_own_word(&self, endpoint: &Endpoint) -> bool {
        self.told_by.contains(&endpoint.ip())
    }

    /// Notes a host that speaks for the side.
    pub fn add_teller(&mut self, host: IpAddr) {
        if !self.told_by.contains(&host) && self.told_by.len() < MAX_TELLERS {
            self.told_by.push(host);
        }
    }
}

/// What payload types mean; the first meaning of one is the one. Shared by a description and the plans that follow from it.
pub type Formats = Arc<[PayloadFormat]>;

/// Adds those of `more` whose payload types are not among the `known`.
pub fn add_formats(known: &mut Formats, more: &Formats) {
    if known.is_empty() {
        known.clone_from(more);
        return;
    }
    let is_new = |format: &&PayloadFormat| {
        let mut all = known.iter();
        all.all(|known| known.payload_type != format.payload_type)
    };
    let new: SmallVec<[PayloadFormat; 8]> = more.iter().filter(is_new).copied().collect();
    if !new.is_empty() {
        *known = known.iter().chain(&new).copied().collect();
    }
}

/// How what one side sends is protected. Each side's own description keys what it sends (RFC 4568 section 6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    #[default]
    None,
    /// SRTP with one of these keys, the likeliest first: more than one while an offer waits for its answer, and after another
    /// key took over. The tag of each packet says which.
    Keyed {
        keys: Arc<[SrtpKey]>,
        /// Packets of none of the keys may be plain: it is not settled yet whether SRTP is spoken.
        maybe_plain: bool,
    },
    /// SRTP, and the key may yet be told.
    Awaited,
    /// SRTP, and the key is not told, or of no use.
    Keyless(Keyless),
}

/// Why encrypted media cannot be opened. Stable codes: sidecar, catalog, metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keyless {
    /// Keyed by DTLS between the phones (RFC 5763).
    Dtls,
    /// Keyed by ZRTP between the phones (RFC 6189).
    Zrtp,
    /// The description asks for SRTP and tells no key that can be read: none at all, or by MIKEY.
    NoKey,
    /// A suite that is not supported, or not known.
    Suite,
    /// The key is of the wrong length, or no base64, or the line that tells it makes no sense.
    BadKey,
    /// SRTP without tags: nothing would prove that a key is right.
    Unauthenticated,
    /// There is a key, and no packet was of it.
    WrongKey,
}

impl Keyless {
    pub fn code(self) -> &'static str {
        match self {
            Keyless::Dtls => "dtls_srtp",
            Keyless::Zrtp => "zrtp",
            Keyless::NoKey => "srtp_no_key",
            Keyless::Suite => "srtp_unsupported_suite",
            Keyless::BadKey => "srtp_bad_key",
            Keyless::Unauthenticated => "srtp_unauthenticated",
            Keyless::WrongKey => "srtp_wrong_key",
        }
    }
}

/// Payload types of media that receive at the audio's own place (RFC 9143), a bit each. Few descriptions have any, and only those take
/// memory for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherTypes(Option<Box<u128>>);

impl OtherTypes {
    /// Adds one; above 127 there is none.
    pub fn add(&mut self, payload_type: u8) {
        if payload_type < 128 {
            *self.0.get_or_insert_default().as_mut() |= 1 << payload_type;
        }
    }

    pub fn add_all(&mut self, more: &OtherTypes) {
        if let Some(more) = &more.0 {
            *self.0.get_or_insert_default().as_mut() |= **more;
        }
    }

    pub fn contains(&self, payload_type: u8) -> bool {
        let bits = self.0.as_ref().map_or(0, |bits| **bits);
        payload_type < 128 && bits >> payload_type & 1 == 1
    }
}

/// Payload types with their `a=fmtp`.
pub type Fmtp = SmallVec<[(u8, Arc<str>); 1]>;
