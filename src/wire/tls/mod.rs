//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446), read by one who was given the keys.
//!
//! In: the bytes of both directions of a connection, and [`LoggedSecret`]s: lines of a key-log file as browsers, OpenSSL and
//! GnuTLS write it (draft-ietf-tls-keylogfile). Out: the bytes that were sent in the connection, as [`PlainBytes`], each
//! with the capture time of its record.
//!
//! - Secrets are wiped from memory when they are dropped, and no `Debug` shows one.
//! - A secret may come after the packets: ciphertext waits, up to a cap, and the owner says for how long.
//! - Each direction is read by itself. Where bytes of one were lost, the next record that its keys open is looked for within
//!   a few records; else the direction is given up, and counted.
//! - Nothing but the tag of a record says that it was opened: bytes of a record that does not verify are never handed out.
//!
//! What became of connections is counted in [`TlsCounters`].

mod connection;
mod counters;
mod derive;
mod end;
mod handshake;
mod open;
mod record;
mod secrets;
mod suite;

pub use connection::{Context, PlainBytes, TlsConnection};
pub use counters::TlsCounters;
pub use record::looks_like_tls;
pub use secrets::{KeyLog, Label, Line, LoggedSecret, MAX_LINE_BYTES, Secret, parse_line};

#[cfg(test)]
mod tests;
