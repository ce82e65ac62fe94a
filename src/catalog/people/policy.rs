//! Which calls of a user are recorded.

use serde::{Deserialize, Serialize};

/// A user's own recording policy; a user without one has the tenant's.
///
/// As JSON: `"all"`, `"none"`, `"on-demand"` or `{"sample": 25}`, a share in percent from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "Written")]
pub enum UserPolicy {
    All,
    None,
    /// Only what somebody asks for while the call lasts.
    OnDemand,
    /// So many calls in a hundred.
    Sample(u8),
}

/// What can be written of it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Written {
    All,
    None,
    OnDemand,
    Sample(u8),
}

impl TryFrom<Written> for UserPolicy {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<UserPolicy, &'static str> {
        match written {
            Written::All => Ok(UserPolicy::All),
            Written::None => Ok(UserPolicy::None),
            Written::OnDemand => Ok(UserPolicy::OnDemand),
            Written::Sample(percent @ 1..=100) => Ok(UserPolicy::Sample(percent)),
            Written::Sample(_) => Err("a sample is 1 to 100 percent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_written_as_in_the_configuration() {
        for (policy, text) in [
            (UserPolicy::All, r#""all""#),
            (UserPolicy::None, r#""none""#),
            (UserPolicy::OnDemand, r#""on-demand""#),
            (UserPolicy::Sample(25), r#"{"sample":25}"#),
        ] {
            assert_eq!(serde_json::to_string(&policy).unwrap(), text);
            assert_eq!(serde_json::from_str::<UserPolicy>(text).unwrap(), policy);
        }
        for text in [r#""some""#, r#"{"sample":0}"#, r#"{"sample":101}"#, "25"] {
            assert!(serde_json::from_str::<UserPolicy>(text).is_err(), "{text}");
        }
    }
}
