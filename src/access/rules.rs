//! What a tenant asks of who signs in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PasswordPolicy, SessionLimits};
use crate::base::RoleId;

/// A tenant's own rules for signing in. They are part of its settings, under `sign_in`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignInRules {
    pub password: PasswordPolicy,
    pub totp: TotpRequired,
    /// Minutes without a request after which a session ends, 1 to 1440; never later than the configuration says.
    pub session_idle_minutes: Option<u16>,
    /// Hours after which a session ends, 1 to 720; never later than the configuration says.
    pub session_hours: Option<u16>,
}

/// Who has to have an authenticator: `"nobody"`, `"everybody"`, or `{"roles": […]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TotpRequired {
    #[default]
    Nobody,
    Everybody,
    Roles(Vec<RoleId>),
}

impl SignInRules {
    /// From a tenant's settings. Whatever cannot be read is as if nothing were written there.
    pub fn from_settings(text: Option<&str>) -> SignInRules {
        let read = |text| serde_json::from_str(text).ok();
        text.and_then(read).unwrap_or_default()
    }

    /// Whether the rules are within their ranges; else what is wrong, with the field.
    pub fn check(&self) -> Result<(), (String, String)> {
        let policy = self.password.check();
        policy.map_err(|(field, why)| (format!("password.{field}"), why))?;
        if !(1..=1440).contains(&self.session_idle_minutes.unwrap_or(1)) {
            let why = "must be from 1 to 1440".into();
            return Err(("session_idle_minutes".into(), why));
        }
        if !(1..=720).contains(&self.session_hours.unwrap_or(1)) {
            return Err(("session_hours".into(), "must be from 1 to 720".into()));
        }
        match &self.totp {
            TotpRequired::Roles(roles) if roles.len() > 100 => {
                Err(("totp.roles".into(), "at most 100 roles".into()))
            }
            _ => Ok(()),
        }
    }

    pub fn requires_totp(&self, role: RoleId) -> bool {
        match &self.totp {
            TotpRequired::Nobody => false,
            TotpRequired::Everybody => true,
            TotpRequired::Roles(roles) => roles.contains(&role),
        }
    }

    /// The limits of the configuration, or shorter ones of the tenant.
    pub fn limits(&self, configured: SessionLimits) -> SessionLimits {
        let or = |own: Option<u64>, configured: Duration| {
            own.map_or(configured, |own| configured.min(Duration::from_secs(own)))
        };
        SessionLimits {
            idle: or(
                self.session_idle_minutes.map(|m| u64::from(m) * 60),
                configured.idle,
            ),
            absolute: or(
                self.session_hours.map(|h| u64::from(h) * 3600),
                configured.absolute,
            ),
            ..configured
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_they_are_written() {
        let role = RoleId(uuid::Uuid::from_u128(7));
        let text = format!(
            r#"{{"totp":{{"roles":["{role}"]}},"session_hours":1,"password":{{"min_length":14}}}}"#
        );
        let rules = SignInRules::from_settings(Some(&text));
        assert!(rules.requires_totp(role) && !rules.requires_totp(RoleId(uuid::Uuid::nil())));
        assert_eq!(rules.password.min_length, 14);
        assert_eq!(rules.password.history, PasswordPolicy::default().history);
        let limits = rules.limits(SessionLimits::default());
        assert_eq!(limits.absolute, Duration::from_secs(3600));
        assert_eq!(limits.idle, SessionLimits::default().idle);
        assert_eq!(
            SignInRules::from_settings(Some("{")),
            SignInRules::default()
        );
        let everybody = SignInRules::from_settings(Some(r#"{"totp":"everybody"}"#));
        assert!(everybody.requires_totp(role));
    }

    #[test]
    fn a_tenant_cannot_lengthen_what_is_configured() {
        let rules = SignInRules {
            session_idle_minutes: Some(1440),
            session_hours: Some(720),
            ..SignInRules::default()
        };
        assert_eq!(
            rules.limits(SessionLimits::default()),
            SessionLimits::default()
        );
        assert_eq!(rules.check(), Ok(()));
        let wrong = SignInRules {
            session_hours: Some(0),
            ..rules
        };
        assert_eq!(wrong.check().unwrap_err().0, "session_hours");
    }
}
