//! SIP as real phones send it: messages, header values, session descriptions, and the framing of SIP on TCP.
//!
//! In: bytes. One UDP payload, passed through [`decode_head`] and [`Message::parse`]; or the bytes of one direction of
//! a TCP connection, pushed into a [`Framer`] that gives whole messages back. Out: views that borrow from those bytes.
//! [`websocket`] gives the messages of WebSocket connections. [`Message`] answers questions about a message, [`Sdp`] about the body that says where the media will be.
//!
//! Nothing here is strict. A passive listener cannot ask a sender to try again, so a header that makes no sense is
//! missing, a line that is none is counted, and only what has no start line of SIP is refused. No input panics, no
//! answer costs more than one walk over the text that it is asked of, and what is kept is bounded: see [`MAX_HEADERS`],
//! [`MAX_MEDIA`], [`MAX_FORMATS`], [`MAX_HEAD_BYTES`].
//!
//! Sources: RFC 3261 (SIP), RFC 4475 (torture messages), RFC 8866 (SDP), RFC 3264 (offer and answer).

mod crypto;
mod error;
mod examine;
mod faults;
mod framer;
mod headers;
mod message;
mod method;
mod multipart;
mod name_addr;
mod redact;
mod scan;
mod sdp;
mod sdp_faults;
mod sdp_reader;
mod sdp_static;
mod table;
mod uri;
pub mod websocket;

pub use crypto::{CryptoError, CryptoLine, InlineKey, MAX_INLINE_KEYS, SessionParameters};
pub use error::{FrameError, ParseError, SdpError};
pub use faults::{Fault, FaultClass, FaultCounts, Faults};
pub use framer::{Framer, MAX_HEAD_BYTES};
pub use headers::{CSeq, Privacy, Replaces, SessionId};
pub use message::{Message, StartLine, decode_head, looks_like_sip};
pub use method::Method;
pub use name_addr::NameAddr;
pub use redact::redact;
pub use scan::unfold;
pub use sdp::{
    Direction, Format, IceCandidate, MAX_CANDIDATES, MAX_CRYPTO, MAX_FORMATS, MAX_MEDIA, Media,
    MediaKind, Sdp,
};
pub use sdp_faults::{SdpFault, SdpFaultCounts, SdpFaults};
pub use sdp_static::static_payload_type;
pub use table::MAX_HEADERS;
pub use uri::Uri;

#[cfg(test)]
mod differential_tests;
#[cfg(test)]
mod torture_tests;
