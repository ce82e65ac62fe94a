//! SRTP and SRTCP (RFC 3711): packets of a stream, opened with the key that signalling told.
//!
//! In: a suite, a master key with its salt ([`SrtpKey`]), and packets as they are on the wire. Out: the packets as they were
//! before they were protected, or that they are not of this key: nothing is given out that was not authenticated. The
//! transforms are those of RFC 3711 (AES in counter mode with HMAC-SHA1), RFC 6188 (longer keys) and RFC 7714 (AES-GCM); the
//! primitives are RustCrypto's. [`SrtpSender`] does the opposite, for simulated calls and for tests.

mod cipher;
mod error;
mod key;
mod layout;
mod receiver;
mod rtcp;
mod sender;
mod session;
mod suite;

pub use error::{KeyError, SrtpError};
pub use key::{KeyOptions, SrtpKey};
pub use receiver::SrtpReceiver;
pub use sender::SrtpSender;
pub use suite::{Suite, SuiteError};

#[cfg(test)]
mod tests;
