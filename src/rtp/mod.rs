//! RTP as it is on the wire, and what can be told of one stream from its headers.
//!
//! In: UDP payloads and capture times. Out: checked views of packets ([`RtpPacket`]), the order and loss of a stream
//! ([`SequenceTracker`]), the place of each packet on a timeline ([`StreamClock`]), digits ([`TelephoneEvent`]), and what SRTP
//! hides ([`SrtpReceiver`]).

mod clock;
mod event;
mod packet;
mod sequence;
mod srtp;
mod zrtp;

pub use clock::{Placement, StreamClock, samples_between};
pub use event::{DigitCollector, TelephoneEvent, digit_char};
pub use packet::{RtpPacket, is_rtcp, is_rtp};
pub use sequence::{Arrival, SequenceTracker};
pub use srtp::{
    KeyError, KeyOptions, SrtpError, SrtpKey, SrtpReceiver, SrtpSender, Suite, SuiteError,
};
pub use zrtp::secures as zrtp_secures;
