//! SIP over WebSocket (RFC 7118 over RFC 6455): the bytes of a connection to messages.
//!
//! In: what each side of a connection sends, an HTTP upgrade first ([`Upgrade`]), then frames ([`Reader`]). Out: whole SIP
//! messages; one WebSocket message is one SIP message. Fragments, control frames between them and permessage-deflate
//! (RFC 7692) are undone.
//!
//! Where the capture begins in mid-connection, or bytes were lost, a reader looks for the next frame whose payload looks
//! like SIP. Caps: a message is at most as long as the reader was told, an upgrade at most [`MAX_UPGRADE_BYTES`]. All that
//! is skipped is counted in [`WebSocketCounters`].

mod counters;
mod frame;
mod inflate;
mod reader;
mod upgrade;

pub use counters::WebSocketCounters;
pub use frame::frame_with_sip;
pub use reader::{Reader, whole_frame_with_sip};
pub use upgrade::{MAX_UPGRADE_BYTES, Upgrade, UpgradeStep, looks_like_upgrade};

#[cfg(test)]
mod tests;
