//! Why there is a recording, or why there is none.

use std::fmt;

/// The one outcome of a call. Its [`code`](Disposition::code) is stored, shown and filtered by, and never changes its
/// meaning; codes of other versions are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Disposition {
    /// There is a recording.
    Recorded,
    /// Answered, but no media was seen.
    NoMedia,
    /// Rejected, cancelled or timed out before an answer, and nothing was heard.
    NotAnswered,
    /// The tenant's policy is to record nothing.
    PolicyNone,
    /// The tenant records on demand, and nobody asked.
    PolicyOnDemand,
    /// The tenant records a sample, and the call was not in it.
    PolicySample,
    /// Nobody's call, and such calls are discarded.
    UnattributedDiscarded,
    /// Media in codecs that cannot be decoded here.
    UnsupportedCodec,
    /// RTP without audio: events, comfort noise, video.
    NoAudio,
    /// SRTP without its keys.
    Encrypted,
    /// The storage failed, or had no room.
    DiskError,
    /// More calls at once than the limits allow.
    Overload,
    /// There is a recording, and some of its audio is kept undecoded beside it.
    KeptRaw,
    /// Another leg of the conversation was kept.
    OtherLeg,
    /// Shorter than the tenant wants.
    TooShort,
    /// Somebody asked that it be not recorded.
    DoNotRecord,
    /// As many calls were being recorded as the tenant's plan allows.
    PlanLimit,
    /// All that could have been recorded lay in pauses.
    Paused,
    /// The tenant's recordings take what its plan gives it of the storage.
    PlanStorage,
    /// The tenant has recorded as many minutes this month as its plan gives it.
    PlanMinutes,
    /// The tenant is suspended.
    TenantSuspended,
    /// A code that this version does not know.
    Other(String),
}

/// All that this version knows, in the order help texts show them.
static KNOWN: [Disposition; 21] = [
    Disposition::Recorded,
    Disposition::NoMedia,
    Disposition::NotAnswered,
    Disposition::PolicyNone,
    Disposition::PolicyOnDemand,
    Disposition::PolicySample,
    Disposition::UnattributedDiscarded,
    Disposition::UnsupportedCodec,
    Disposition::NoAudio,
    Disposition::Encrypted,
    Disposition::DiskError,
    Disposition::Overload,
    Disposition::KeptRaw,
    Disposition::OtherLeg,
    Disposition::TooShort,
    Disposition::DoNotRecord,
    Disposition::PlanLimit,
    Disposition::Paused,
    Disposition::PlanStorage,
    Disposition::PlanMinutes,
    Disposition::TenantSuspended,
];

impl Disposition {
    /// All that this version knows, for help texts and completions.
    pub fn known() -> &'static [Disposition] {
        &KNOWN
    }

    /// The code, in snake_case.
    pub fn code(&self) -> &str {
        match self {
            Disposition::Recorded => "recorded",
            Disposition::NoMedia => "no_media",
            Disposition::NotAnswered => "not_answered",
            Disposition::PolicyNone => "policy_none",
            Disposition::PolicyOnDemand => "policy_on_demand",
            Disposition::PolicySample => "policy_sample",
            Disposition::UnattributedDiscarded => "unattributed_discarded",
            Disposition::UnsupportedCodec => "unsupported_codec",
            Disposition::NoAudio => "no_audio",
            Disposition::Encrypted => "encrypted",
            Disposition::DiskError => "disk_error",
            Disposition::Overload => "overload",
            Disposition::KeptRaw => "kept_raw",
            Disposition::OtherLeg => "other_leg",
            Disposition::TooShort => "too_short",
            Disposition::DoNotRecord => "do_not_record",
            Disposition::PlanLimit => "plan_limit",
            Disposition::Paused => "paused",
            Disposition::PlanStorage => "plan_storage",
            Disposition::PlanMinutes => "plan_minutes",
            Disposition::TenantSuspended => "tenant_suspended",
            Disposition::Other(code) => code,
        }
    }

    /// For people: a sentence that answers "why is there no recording?".
    pub fn text(&self) -> &'static str {
        match self {
            Disposition::Recorded => "There is a recording.",
            Disposition::NoMedia => "The call was answered, but no media was seen.",
            Disposition::NotAnswered => "The call was not answered, and nothing was heard.",
            Disposition::PolicyNone => "The tenant's policy is to record nothing.",
            Disposition::PolicyOnDemand => "The tenant records on demand, and nobody asked for it.",
            Disposition::PolicySample => {
                "The tenant records a sample of its calls, and this one was not in it."
            }
            Disposition::UnattributedDiscarded => {
                "The call is nobody's, and such calls are not kept."
            }
            Disposition::UnsupportedCodec => {
                "The media was in a codec that cannot be decoded here."
            }
            Disposition::NoAudio => "There was media, but no audio in it.",
            Disposition::Encrypted => "The media was encrypted, and its keys are not known.",
            Disposition::DiskError => "The storage failed, or had no room.",
            Disposition::Overload => "There were more calls at once than the limits allow.",
            Disposition::KeptRaw => {
                "There is a recording; some of its audio is kept undecoded beside it."
            }
            Disposition::OtherLeg => "Another leg of the conversation was kept.",
            Disposition::TooShort => "The call was shorter than the tenant wants to keep.",
            Disposition::DoNotRecord => "Somebody asked that it be not recorded.",
            Disposition::PlanLimit => "As many calls were being recorded as the plan allows.",
            Disposition::PlanStorage => "The tenant has used up the storage of its plan.",
            Disposition::PlanMinutes => "The tenant has used up the minutes of its plan.",
            Disposition::TenantSuspended => "The tenant was suspended.",
            Disposition::Paused => "All that could have been recorded lay in pauses.",
            Disposition::Other(_) => "Another version of the program knows why.",
        }
    }
}

impl From<&str> for Disposition {
    fn from(code: &str) -> Disposition {
        match KNOWN.iter().find(|known| known.code() == code) {
            Some(known) => known.clone(),
            None => Disposition::Other(code.to_owned()),
        }
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_distinct_snake_case_and_reads_back() {
        for known in Disposition::known() {
            let code = known.code();
            assert!(
                code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code}"
            );
            assert_eq!(Disposition::from(code), *known);
        }
        let codes: std::collections::HashSet<&str> = KNOWN.iter().map(Disposition::code).collect();
        assert_eq!(codes.len(), KNOWN.len());
    }

    #[test]
    fn a_code_of_another_version_is_kept() {
        assert_eq!(
            Disposition::from("eaten_by_dog").to_string(),
            "eaten_by_dog"
        );
    }
}
