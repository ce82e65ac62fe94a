//! The words every other room uses: time, places on the network, sides of a call, identifiers, and text about people.
//!
//! Nothing here does anything; it only names things. In: nothing. Out: small, copyable values.

mod endpoint;
mod harmless;
mod id;
mod network;
mod redacted;
mod secret;
mod side;
mod time;
mod tunnel;

pub use endpoint::{Endpoint, Flow, Vantage};
pub use harmless::{csv_cell, csv_line, harmless, is_harmful};
pub use id::{
    GroupId, InteractionId, RecordingId, RoleId, SYSTEM_TENANT, TenantId, UserId, time_ordered,
};
pub use network::{Network, NetworkError};
pub use redacted::{Redacted, reveal_people};
pub use secret::Secret;
pub use side::{PerSide, Side};
pub use time::{Timestamp, UtcParts};
pub use tunnel::{Around, Tunnel, TunnelError, TunnelKind, Tunnels};

/// A map whose keys came from the wire: fast, and seeded at random so that nobody can choose keys that collide.
pub type WireMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
