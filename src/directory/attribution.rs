//! What the directory is asked, and what it answers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::definition::{CandidateSource, Place, Policy};
use super::rule::{Nearness, RuleKey};
use crate::base::{Redacted, SYSTEM_TENANT, Side, TenantId, Tunnels};

/// What is known of a call when it is matched.
#[derive(Clone, Copy)]
pub struct CallFacts<'a> {
    /// Name of the sensor that saw the INVITE.
    pub sensor: &'a str,
    pub interface: &'a str,
    /// VLAN ids of the packet, from the outside in.
    pub vlans: &'a [u16],
    /// Signalling source of the INVITE.
    pub caller_address: IpAddr,
    /// Signalling destination of the INVITE.
    pub callee_address: IpAddr,
    /// At most [`MAX_CANDIDATES`] a side are looked at.
    pub caller: &'a [Candidate<'a>],
    pub callee: &'a [Candidate<'a>],
    /// First value of a header of the INVITE, by name in any case.
    pub headers: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Around the packet.
    pub tunnels: Tunnels,
}

/// Most candidates of a side that are looked at; a hostile INVITE can carry hundreds of History-Info entries.
pub const MAX_CANDIDATES: usize = 16;

impl<'a> CallFacts<'a> {
    pub(super) fn candidates(&self, side: Side) -> &'a [Candidate<'a>] {
        let all = match side {
            Side::Caller => self.caller,
            Side::Callee => self.callee,
        };
        all.get(..MAX_CANDIDATES).unwrap_or(all)
    }
}

/// Who a side may be, by one header.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub source: CandidateSource,
    /// User part of the URI, or the number of a `tel:` URI; percent-encoded or not.
    pub user: &'a str,
    /// Host of the URI, empty for `tel:`.
    pub host: &'a str,
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}@{}", self.source, Redacted(self.user), self.host)
    }
}

/// Whose call it is, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Who gets a recording: nobody, one tenant, or the caller's and the callee's. The System tenant alone where the
    /// verdict is ambiguous.
    #[serde(serialize_with = "owners_out", deserialize_with = "owners_in")]
    pub owners: SmallVec<[Owner; 2]>,
    pub caller: Option<Claim>,
    pub callee: Option<Claim>,
    pub verdict: Verdict,
    /// Who else was looked at and why it was not theirs, at most [`MAX_CONSIDERED`]. Filled by
    /// [`super::Directory::explain`], and by [`super::Directory::attribute`] for ambiguous calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub considered: Vec<Considered>,
}

/// Most entries of [`Attribution::considered`].
pub const MAX_CONSIDERED: usize = 16;

fn owners_out<S: Serializer>(owners: &SmallVec<[Owner; 2]>, out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(owners)
}

fn owners_in<'de, D: Deserializer<'de>>(input: D) -> Result<SmallVec<[Owner; 2]>, D::Error> {
    Vec::<Owner>::deserialize(input).map(SmallVec::from_vec)
}

impl Attribution {
    /// The claim on a side.
    pub fn claim(&self, side: Side) -> Option<&Claim> {
        match side {
            Side::Caller => self.caller.as_ref(),
            Side::Callee => self.callee.as_ref(),
        }
    }

    /// What `tenant` may know of it: its own part. That another tenant has the other side, or was looked at, is that
    /// tenant's business; only the System tenant sees all.
    pub fn seen_by(&self, tenant: TenantId) -> Attribution {
        if tenant == SYSTEM_TENANT {
            return self.clone();
        }
        let own = |claim: &Option<Claim>| claim.clone().filter(|claim| claim.tenant == tenant);
        Attribution {
            owners: self
                .owners
                .iter()
                .copied()
                .filter(|owner| owner.tenant == tenant)
                .collect(),
            caller: own(&self.caller),
            callee: own(&self.callee),
            verdict: self.verdict,
            considered: self
                .considered
                .iter()
                .filter(|c| c.tenant == tenant)
                .cloned()
                .collect(),
        }
    }
}

/// A tenant that gets a recording of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub tenant: TenantId,
    pub sides: OwnedSides,
}

/// Which sides of the call are an owner's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnedSides {
    Caller,
    Callee,
    Both,
    /// Kept by the System tenant because the directory could not say whose it is.
    Neither,
}

impl OwnedSides {
    pub fn has(self, side: Side) -> bool {
        matches!(
            (self, side),
            (OwnedSides::Both, _)
                | (OwnedSides::Caller, Side::Caller)
                | (OwnedSides::Callee, Side::Callee)
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// At least one side belongs to a tenant.
    Owned,
    /// A side fits two tenants equally.
    Ambiguous,
    /// No tenant claims either side.
    Nobody,
}

impl Verdict {
    /// The reason code of dispositions.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Owned => "owned",
            Verdict::Ambiguous => "ambiguous",
            Verdict::Nobody => "nobody",
        }
    }
}

/// Why a side is a tenant's.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    pub tenant: TenantId,
    /// The extension that fits: a number, `first-last`, or a prefix with `*` after it; normalised. For an alias, the
    /// extension it belongs to.
    pub extension: Arc<str>,
    /// The user it is pinned to, or was allocated to when the call began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The candidate as it was looked up: normalised and rewritten.
    pub number: String,
    /// The candidate as it was seen, where that is not how it was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    pub source: CandidateSource,
    pub nearness: Nearness,
    /// The match rule that holds.
    pub rule: Place,
    /// The line of the extension, or of the alias.
    pub extension_line: Place,
    /// The policy of the extension or of its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// The user has the extension by an allocation.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allocated: bool,
    /// `policy` is the user's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub users_policy: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("tenant", &self.tenant)
            .field("extension", &Redacted(&self.extension))
            .field("source", &self.source)
            .field("nearness", &self.nearness)
            .field("rule", &self.rule)
            .field("extension_line", &self.extension_line)
            .finish_non_exhaustive()
    }
}

/// Somebody who was looked at for a side.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Considered {
    pub side: Side,
    pub tenant: TenantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<CandidateSource>,
    /// The candidate as this tenant spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_line: Option<Place>,
    pub outcome: Outcome,
}

impl fmt::Debug for Considered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.side, self.tenant, self.outcome)
    }
}

/// What became of somebody's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "code")]
pub enum Outcome {
    /// Its claim is the best.
    Claims,
    /// An extension fits, but no rule holds; the key is what its first rule fails by.
    RuleFails { key: RuleKey },
    /// An extension fits, but the tenant has no rules.
    NoRule,
    /// A rule holds, but no extension fits.
    NoExtension,
    /// Another tenant's network holds this side's own address; its own only the other side's.
    Farther,
    /// Another tenant claims a candidate that comes before.
    LaterCandidate,
    /// Another tenant claims equally well.
    Equal,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Claims => f.write_str("claims it"),
            Outcome::RuleFails { key } => write!(
                f,
                "an extension fits, but `{key}` of its rule does not hold"
            ),
            Outcome::NoRule => f.write_str("an extension fits, but it has no match rule"),
            Outcome::NoExtension => f.write_str("a rule holds, but no extension fits"),
            Outcome::Farther => f.write_str("its network holds the other side's address only"),
            Outcome::LaterCandidate => f.write_str("it claims a later candidate"),
            Outcome::Equal => f.write_str("it claims equally well"),
        }
    }
}
