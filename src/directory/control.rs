//! How a tenant's people steer the recording of a call: by a header, by keys, by what their phone says it prefers.

use crate::base::Side;

/// What somebody wants of a recording.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ControlAction {
    /// Record nothing until further notice.
    Pause,
    Resume,
    /// Do not record this call: what was recorded goes too.
    Stop,
    /// Keep what is recorded on demand, from the start of the call on.
    Keep,
}

impl ControlAction {
    pub const ALL: [ControlAction; 4] = [
        ControlAction::Pause,
        ControlAction::Resume,
        ControlAction::Stop,
        ControlAction::Keep,
    ];

    /// Stable: sidecars, API, command line.
    pub fn name(self) -> &'static str {
        match self {
            ControlAction::Pause => "pause",
            ControlAction::Resume => "resume",
            ControlAction::Stop => "stop",
            ControlAction::Keep => "keep",
        }
    }

    pub fn from_name(name: &str) -> Option<ControlAction> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// What of a call's signalling and keys a tenant takes for a wish about its recording. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ControlRules {
    pub header: Option<ControlHeader>,
    /// Patterns of keys, by action. Only those pressed on the tenant's own side count.
    pub keys: Vec<(ControlAction, Box<str>)>,
    /// `a=recordpref` in a session description (RFC 7866 section 6.2).
    pub recordpref: bool,
    pub from: ControlFrom,
}

/// Whose header or preference counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlFrom {
    /// That of a side which is the tenant's own: what others write is nothing to it.
    #[default]
    Own,
    /// Also the other side's: where a PBX in between writes the header, and takes away what others wrote.
    Any,
}

/// A header, and the word for each action, in any case.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ControlHeader {
    pub name: Box<str>,
    pub words: Vec<(ControlAction, Box<str>)>,
}

/// Keys of one pattern.
pub const MAX_KEYS: usize = 16;

impl ControlRules {
    /// Whether nothing is a wish: the common case.
    pub fn is_idle(&self) -> bool {
        self.header.is_none() && self.keys.is_empty() && !self.recordpref
    }

    /// Whether what `side` says in signalling counts for a tenant that has `own` sides.
    pub fn hears(&self, own: bool) -> bool {
        own || self.from == ControlFrom::Any
    }

    /// The action of a header's value.
    pub fn action_of(&self, value: &str) -> Option<ControlAction> {
        let words = &self.header.as_ref()?.words;
        let value = value.split(';').next().unwrap_or_default().trim();
        words
            .iter()
            .find(|(_, word)| word.eq_ignore_ascii_case(value))
            .map(|(action, _)| *action)
    }

    /// The action whose pattern `pressed` ends with, and the length of the pattern. No pattern ends with another one.
    pub fn action_of_keys(&self, pressed: &str) -> Option<(ControlAction, usize)> {
        self.keys
            .iter()
            .find(|(_, pattern)| pressed.ends_with(&**pattern))
            .map(|(action, pattern)| (*action, pattern.len()))
    }
}

/// What becomes of digits that were pressed in a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Digits {
    /// That a key was pressed is kept, and when; not which.
    #[default]
    Mask,
    Keep,
}

/// Whose policy decided for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub policy: super::Policy,
    /// The extension whose own policy it is, with its side; `None`: the tenant's.
    pub extension: Option<(Side, std::sync::Arc<str>)>,
    /// The user of that extension, where it is the user's own policy.
    pub user: Option<std::sync::Arc<str>>,
}

impl super::Policy {
    /// As it is written in a tenant's file.
    pub fn text(self) -> String {
        match self {
            super::Policy::All => "all".to_owned(),
            super::Policy::None => "none".to_owned(),
            super::Policy::OnDemand => "on-demand".to_owned(),
            super::Policy::Sample { percent } => format!("sample {percent} %"),
        }
    }

    /// Of two policies the one that records less.
    pub fn stricter(self, other: super::Policy) -> super::Policy {
        let rank = |policy| match policy {
            super::Policy::None => 0,
            super::Policy::OnDemand => 1,
            super::Policy::Sample { percent } => 2 + u16::from(percent),
            super::Policy::All => u16::MAX,
        };
        if rank(other) < rank(self) {
            other
        } else {
            self
        }
    }
}

impl super::Attribution {
    /// Which policy decides about the recording of an owner: that of an extension of its own sides, else the tenant's. Where
    /// both sides have one, the one that records less.
    pub fn decision(&self, owner: &super::Owner, of_tenant: super::Policy) -> Decision {
        let own = Side::BOTH
            .into_iter()
            .filter(|side| owner.sides.has(*side))
            .filter_map(|side| {
                let claim = self
                    .claim(side)
                    .filter(|claim| claim.tenant == owner.tenant)?;
                let user = claim.user.clone().filter(|_| claim.users_policy);
                Some((claim.policy?, (side, claim.extension.clone()), user))
            });
        let strictest = own.reduce(|a, b| if a.0.stricter(b.0) == a.0 { a } else { b });
        match strictest {
            Some((policy, extension, user)) => Decision {
                policy,
                extension: Some(extension),
                user,
            },
            None => Decision {
                policy: of_tenant,
                extension: None,
                user: None,
            },
        }
    }
}

/// A policy of an extension in one byte, as the table of a million extensions has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PolicyByte(u8);

impl PolicyByte {
    pub fn new(policy: Option<super::Policy>) -> PolicyByte {
        PolicyByte(match policy {
            None => 0,
            Some(super::Policy::All) => 1,
            Some(super::Policy::None) => 2,
            Some(super::Policy::OnDemand) => 3,
            Some(super::Policy::Sample { percent }) => 3 + percent.clamp(1, 100),
        })
    }

    pub fn policy(self) -> Option<super::Policy> {
        match self.0 {
            0 => None,
            1 => Some(super::Policy::All),
            2 => Some(super::Policy::None),
            3 => Some(super::Policy::OnDemand),
            percent => Some(super::Policy::Sample {
                percent: percent - 3,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::*;

    #[test]
    fn a_policy_fits_a_byte() {
        let sample = (1..=100).map(|percent| Policy::Sample { percent });
        let others = [Policy::All, Policy::None, Policy::OnDemand];
        for policy in sample.chain(others).map(Some).chain([None]) {
            assert_eq!(PolicyByte::new(policy).policy(), policy);
        }
    }

    #[test]
    fn of_two_policies_the_one_that_records_less_wins() {
        let sample = |percent| Policy::Sample { percent };
        for (a, b, stricter) in [
            (Policy::All, Policy::None, Policy::None),
            (Policy::OnDemand, sample(1), Policy::OnDemand),
            (sample(30), sample(20), sample(20)),
            (sample(100), Policy::All, sample(100)),
        ] {
            assert_eq!((a.stricter(b), b.stricter(a)), (stricter, stricter));
        }
    }

    #[test]
    fn words_and_patterns_are_found() {
        let rules = ControlRules {
            header: Some(ControlHeader {
                name: "X-Record".into(),
                words: vec![(ControlAction::Stop, "no".into())],
            }),
            keys: vec![(ControlAction::Pause, "*1".into())],
            ..ControlRules::default()
        };
        assert_eq!(rules.action_of(" NO ;x=1"), Some(ControlAction::Stop));
        assert_eq!(rules.action_of("nothing"), None);
        assert_eq!(
            rules.action_of_keys("55*1"),
            Some((ControlAction::Pause, 2))
        );
        assert_eq!(rules.action_of_keys("*12"), None);
        assert!(!rules.is_idle() && ControlRules::default().is_idle());
    }
}
