//! Whose call is it? Tenants, match rules and extensions, and the matching of calls against them.
//!
//! In: typed definitions of tenants ([`TenantDefinition`], made from TOML by `config/`), and what is known of a call
//! ([`CallFacts`]). Out: an immutable snapshot ([`Directory`]), and for each call who owns it and why
//! ([`Attribution`]).
//!
//! A tenant claims a side of a call when one of its match rules holds and one of its extensions fits one of the
//! side's candidates. Of several tenants' claims the nearer wins (the rule's networks hold the side's own signalling
//! address, not only the other side's), then the one by the earlier candidate. Equal claims are never guessed. The
//! snapshot is only built when no two tenants can claim the same number of the same call.
//!
//! Nothing here reads files or the clock. The cost of a lookup does not grow with the tenants; the caps are
//! [`MAX_CANDIDATES`], [`MAX_CONSIDERED`], [`MAX_NUMBER_LEN`] and [`MAX_PATTERN_LEN`].

mod attribute;
mod attribution;
mod clash;
mod compile;
mod control;
mod country;
mod coverage;
mod definition;
mod error;
mod explain;
mod extension;
mod hearsay;
mod network;
mod number;
mod numbering;
mod rewrite;
mod rule;
mod rule_index;
mod snapshot;
mod taking;
#[cfg(test)]
mod tests;

pub use attribution::{
    Attribution, CallFacts, Candidate, Claim, Considered, MAX_CANDIDATES, MAX_CONSIDERED, Outcome,
    OwnedSides, Owner, Verdict,
};
pub use compile::SYSTEM_NAME;
pub use control::{
    ControlAction, ControlFrom, ControlHeader, ControlRules, Decision, Digits, MAX_KEYS,
};
pub use country::Country;
pub use coverage::Coverage;
pub use definition::{
    Alias, CandidateOrder, CandidateSource, ExtensionDefinition, Legs, MatchRule, Place, Policy,
    RecordingPolicy, TenantDefinition, Withheld,
};
pub use error::{Claimant, Clash, Error, MAX_CLASHES, MAX_ERRORS};
pub use extension::{ExtensionError, ExtensionPattern, check_number};
pub use number::{MAX_NUMBER_LEN, Number, normalise};
pub use rewrite::{MAX_PATTERN_LEN, PatternError, Rewrite};
pub use rule::{Domain, DomainError, HeaderTest, Nearness, RuleKey};
pub use snapshot::{Directory, Extension, Tenant};
pub use taking::Taking;
