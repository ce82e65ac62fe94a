//! Why calls end.

use crate::base::Side;

/// Why a call was over. Stable codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    Bye {
        by: Side,
    },
    Cancelled,
    /// A final answer of 300 or more.
    Rejected {
        status: u16,
    },
    /// No final answer within the time for setting up a call.
    SetupTimeout,
    /// No media and no signalling for as long as the settings allow.
    MediaTimeout,
    /// Its BYE was not seen, and a later call receives where it did. It was over when that began, or before.
    PortsReused,
    /// Longer than any call may be.
    TooLong,
    /// The capture ended in mid-call.
    EndOfCapture,
    /// The daemon was told to stop.
    Shutdown,
    /// It was not followed: there were too many calls at once.
    Capacity,
}

impl EndReason {
    pub fn code(self) -> &'static str {
        match self {
            EndReason::Bye { by: Side::Caller } => "bye_caller",
            EndReason::Bye { by: Side::Callee } => "bye_callee",
            EndReason::Cancelled => "cancelled",
            EndReason::Rejected { .. } => "rejected",
            EndReason::SetupTimeout => "setup_timeout",
            EndReason::MediaTimeout => "media_timeout",
            EndReason::PortsReused => "ports_reused",
            EndReason::TooLong => "too_long",
            EndReason::EndOfCapture => "end_of_capture",
            EndReason::Shutdown => "shutdown",
            EndReason::Capacity => "overload",
        }
    }
}
