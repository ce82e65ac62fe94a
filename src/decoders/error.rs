//! What a decoder outside this program can do wrong.

/// What was attempted, and how it failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{program} cannot be started: {reason}")]
    Start { program: String, reason: String },
    #[error("{program} cannot be locked in: {reason}")]
    Sandbox { program: String, reason: String },
    #[error("{program} is none that decodes: {reason}")]
    Unusable { program: String, reason: String },
    #[error("it took longer than {seconds} s")]
    Timeout { seconds: u64 },
    #[error("it was told to stop")]
    Stopped,
    #[error("it ended with {status}{complaint}")]
    Died { status: String, complaint: String },
    #[error("it gave {given} samples for {expected}{complaint}")]
    WrongLength {
        /// Counted up to one more than was expected.
        given: usize,
        expected: usize,
        complaint: String,
    },
    #[error("its pipes failed: {reason}")]
    Pipe { reason: String },
}

impl Error {
    /// Every [`Error::code`].
    pub const CODES: [&str; 8] = [
        "start",
        "sandbox",
        "unusable",
        "timeout",
        "stopped",
        "died",
        "wrong_length",
        "pipe",
    ];

    /// A short name, for counters and sidecars.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Start { .. } => "start",
            Error::Sandbox { .. } => "sandbox",
            Error::Unusable { .. } => "unusable",
            Error::Timeout { .. } => "timeout",
            Error::Stopped => "stopped",
            Error::Died { .. } => "died",
            Error::WrongLength { .. } => "wrong_length",
            Error::Pipe { .. } => "pipe",
        }
    }
}
