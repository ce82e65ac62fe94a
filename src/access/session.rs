//! How long who signed in stays so, and what is left to do before.

use std::time::Duration;

use serde::Serialize;

use crate::base::Timestamp;

/// How long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without a request.
    pub idle: Duration,
    /// Whatever happens.
    pub absolute: Duration,
    /// How long the proof of who one is, given again, is enough for what cannot be undone.
    pub step_up: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        SessionLimits {
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(12 * 3600),
            step_up: Duration::from_secs(5 * 60),
        }
    }
}

impl SessionLimits {
    /// Whether a session that began and was used then is still one. A time in the future is none: clocks that were set
    /// back lengthen nothing.
    pub fn alive(&self, began: Timestamp, used: Timestamp, now: Timestamp) -> bool {
        // Two machines' clocks, or one that was corrected by a breath.
        let tolerated = now + Duration::from_secs(60);
        began <= tolerated
            && used <= tolerated
            && now.since(began) < self.absolute
            && now.since(used) < self.idle
    }
}

/// What is known of a session and of its user that decides what it may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionFacts {
    /// The user has an authenticator.
    pub has_totp: bool,
    /// The session has shown a code of it.
    pub totp_shown: bool,
    /// The tenant asks for one.
    pub totp_required: bool,
    /// The password was set by somebody else, or is too old.
    pub password_spent: bool,
}

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Everything that its user may.
    Complete,
    /// Show a code of the authenticator, and nothing else.
    TotpNeeded,
    /// Set up an authenticator, and nothing else.
    TotpSetupNeeded,
    /// Choose another password, and nothing else.
    PasswordChangeNeeded,
}

impl Stage {
    /// The next thing to do. The authenticator comes first: a password that somebody has read does not change itself.
    pub fn of(facts: SessionFacts) -> Stage {
        match facts {
            SessionFacts {
                has_totp: true,
                totp_shown: false,
                ..
            } => Stage::TotpNeeded,
            SessionFacts {
                password_spent: true,
                ..
            } => Stage::PasswordChangeNeeded,
            SessionFacts {
                has_totp: false,
                totp_required: true,
                ..
            } => Stage::TotpSetupNeeded,
            _ => Stage::Complete,
        }
    }
}

/// Whether an account may be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub active: bool,
    /// None: for ever.
    pub valid_until: Option<Timestamp>,
}

impl Standing {
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.active && self.valid_until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);

    fn after(minutes: u64) -> Timestamp {
        START + Duration::from_secs(60 * minutes)
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_at_its_limit() {
        let limits = SessionLimits::default();
        assert!(limits.alive(START, START, after(29)));
        assert!(!limits.alive(START, START, after(30)));
        assert!(limits.alive(START, after(719), after(719)));
        assert!(!limits.alive(START, after(719), after(720)));
    }

    #[test]
    fn a_clock_that_was_set_back_lengthens_nothing() {
        let limits = SessionLimits::default();
        assert!(limits.alive(after(1), after(1), START));
        assert!(!limits.alive(after(2), after(2), START));
    }

    #[test]
    fn one_thing_after_the_other() {
        let all = SessionFacts {
            has_totp: true,
            totp_shown: false,
            totp_required: true,
            password_spent: true,
        };
        assert_eq!(Stage::of(all), Stage::TotpNeeded);
        assert_eq!(
            Stage::of(SessionFacts {
                totp_shown: true,
                ..all
            }),
            Stage::PasswordChangeNeeded
        );
        assert_eq!(
            Stage::of(SessionFacts {
                has_totp: false,
                ..all
            }),
            Stage::PasswordChangeNeeded
        );
        let required = SessionFacts {
            totp_required: true,
            ..SessionFacts::default()
        };
        assert_eq!(Stage::of(required), Stage::TotpSetupNeeded);
        assert_eq!(
            Stage::of(SessionFacts {
                has_totp: true,
                totp_shown: true,
                ..required
            }),
            Stage::Complete
        );
        assert_eq!(Stage::of(SessionFacts::default()), Stage::Complete);
    }

    #[test]
    fn an_account_is_good_while_it_is_active_and_valid() {
        let standing = |active, valid_until| Standing {
            active,
            valid_until,
        };
        assert!(standing(true, None).is_good(START));
        assert!(standing(true, Some(after(1))).is_good(START));
        assert!(!standing(true, Some(START)).is_good(START));
        assert!(!standing(false, None).is_good(START));
    }
}
