//! RTP as it is on the wire, and what can be told of one stream from its headers.
//!
//! In: UDP payloads and capture times. Out: checked views of packets ([`RtpPacket`]), the order and loss of a stream
//! ([`SequenceTracker`]), the clock its sender counts by ([`Pace`]), the place of each packet on a timeline ([`StreamClock`]), digits ([`TelephoneEvent`]), what SRTP
//! hides ([`SrtpReceiver`]), and what both ends say of a stream in RTCP ([`rtcp`]).

mod bursts;
mod clock;
mod event;
mod jitter;
mod pace;
mod packet;
pub mod rtcp;
mod sequence;
mod srtp;
mod zrtp;

pub use bursts::BurstMetrics;
pub use clock::{Placement, StreamClock, samples_between};
pub use event::{DigitCollector, TelephoneEvent, digit_char};
pub use jitter::{Fit, JITTER_BUFFER_MS, Jitter};
pub use pace::{Beat, Pace, Rates, Trial, Verdict};
pub use packet::{RtpPacket, is_rtcp, is_rtp};
pub use sequence::{Arrival, Behind, SequenceTracker, UpTo};
pub use srtp::{
    KeyError, KeyOptions, SrtpError, SrtpKey, SrtpReceiver, SrtpSender, Suite, SuiteError,
};
pub use zrtp::secures as zrtp_secures;
