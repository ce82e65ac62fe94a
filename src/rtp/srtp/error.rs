//! Why a packet or a key is not taken. No bytes are quoted.

use thiserror::Error;

use super::Suite;

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SrtpError {
    #[error("the packet is shorter than its header and its tag")]
    Short,
    #[error("the packet names another master key")]
    OtherKey,
    #[error("the packet's tag is not that of this key")]
    Authentication,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("the key and salt of {suite} are {expected} bytes, not {length}")]
    Length {
        suite: Suite,
        expected: usize,
        length: usize,
    },
    #[error("{suite} cannot go without encryption")]
    NotOptional { suite: Suite },
    #[error("session keys cannot be derived every 2^{kdr} packets")]
    DerivationRate { kdr: u8 },
}
