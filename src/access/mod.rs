//! Who may see what, and who may do what.
//!
//! In: who asks, with which role. Out: a [`Principal`], and from it the [`Scope`] that every question to the catalog takes
//! and the [`Permissions`] that every act needs. It is the one place where the reach of a principal is decided, so that no
//! caller can forget to limit a query to its tenant. An [`Event`] is what the audit keeps of an act.

mod attempts;
mod daily;
mod describe;
mod error;
mod event;
mod login;
mod password;
mod permission;
mod plan;
mod policy;
mod principal;
mod random;
mod refusals;
mod retention;
mod role;
mod rules;
mod scope;
mod seal;
mod session;
mod token;
mod totp;

pub use attempts::{AttemptRules, Attempts, IfFailed, Refused, TooMany, network_of};
pub use daily::Daily;
pub use error::Error;
pub use event::{Event, Outcome};
pub use login::{LOGIN_RULE, is_login, login_key};
pub use password::{MAX_PASSWORD_BYTES, Password, PasswordCost, PasswordHasher, Verdict};
pub use permission::{Operation, Permissions, Resource};
pub use plan::{Feature, PlanLimits};
pub use policy::{Owner, PasswordPolicy, Weakness};
pub use principal::{Actor, Lacking, Principal, Support};
pub use random::random;
pub use refusals::{Due, Refusal, Refusals};
pub use retention::{GRACE as RETENTION_GRACE, Retention, Shorter};
pub use role::{AccessLevel, Preset, Role, preset};
pub use rules::{SignInRules, TotpRequired};
pub use scope::{Reach, Scope};
pub use seal::SealingKey;
pub use session::{SessionFacts, SessionLimits, Stage, Standing};
pub use token::{ResetToken, SERVICE_TOKEN_PREFIX, ServiceToken, SessionToken, TokenHash};
pub use totp::{RECOVERY_CODES, RecoveryCode, TotpSecret};
