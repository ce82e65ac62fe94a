//! Identifiers that are the same everywhere: disk, catalog, API, logs.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::Timestamp;

macro_rules! uuid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map($name)
            }
        }
    };
}

uuid_type!(
    /// A customer, department or site.
    TenantId
);
uuid_type!(
    /// One recording of one tenant: UUIDv7, its time the start of the recording.
    RecordingId
);
uuid_type!(
    /// All calls that belong together.
    InteractionId
);
uuid_type!(
    /// A person of a tenant, or whoever signs in for one.
    UserId
);
uuid_type!(
    /// Users of a tenant that are looked after together.
    GroupId
);
uuid_type!(
    /// What a user may do.
    RoleId
);

/// The tenant that is always there and keeps what nobody owns.
pub const SYSTEM_TENANT: TenantId =
    TenantId(Uuid::from_u128(0x11111111_1111_1111_1111_111111111111));

impl RecordingId {
    /// The id that differs by its time alone.
    pub fn at(self, time: Timestamp) -> RecordingId {
        let [_, _, _, _, _, _, entropy @ ..] = *self.0.as_bytes();
        RecordingId(time_ordered(time, entropy))
    }
}

/// A UUIDv7 (RFC 9562 section 5.7) of the millisecond of `time`, its other bits taken from `entropy`.
///
/// The core has no randomness of its own: the same call gives the same id each time a capture is replayed.
pub fn time_ordered(time: Timestamp, entropy: [u8; 10]) -> Uuid {
    let millis = u64::try_from(time.as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &entropy).into_uuid()
}
