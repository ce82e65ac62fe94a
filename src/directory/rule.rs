//! One match rule: when it holds, and when two can never hold for the same candidate.

use std::fmt;
use std::sync::Arc;

use regex::bytes::Regex;

use super::CallFacts;
use super::definition::MatchRule;
use super::network::{self, NetworkSet, ordinal};
use super::rewrite::{PatternError, compile_pattern};
use super::snapshot::Span;
use crate::base::{Side, TenantId, Tunnel};

/// Longest host compared; a longer one fits no domain (RFC 1035 section 2.3.4 allows 255 with its length bytes).
pub(super) const MAX_HOST_LEN: usize = 253;

/// A domain of a rule: the host itself, or `*.` and everything below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain {
    /// Lower case, without `*.` and without a dot at its end.
    name: Arc<str>,
    below: bool,
}

/// Why a text is no domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a domain such as `sip.example.com` or `*.example.com`")]
pub struct DomainError(String);

impl Domain {
    /// # Errors
    /// When `text` is no host name or address, `*.` before it allowed.
    pub fn new(text: &str) -> Result<Domain, DomainError> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let fits =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte) || byte >= 0x80;
        if name.is_empty()
            || name.len() > MAX_HOST_LEN
            || !name.bytes().all(fits)
            || name.split('.').any(str::is_empty)
        {
            return Err(DomainError(text.to_owned()));
        }
        Ok(Domain {
            name: name.to_ascii_lowercase().into(),
            below,
        })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn is_below(&self) -> bool {
        self.below
    }

    /// Whether `host` is it, or below it where it says so.
    pub fn holds(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.len() > MAX_HOST_LEN {
            return false;
        }
        if !self.below {
            return host.eq_ignore_ascii_case(&self.name);
        }
        let at = host.len().checked_sub(self.name.len());
        let parts = at.and_then(|at| host.split_at_checked(at));
        parts.is_some_and(|(head, tail)| {
            head.len() > 1 && head.ends_with('.') && tail.eq_ignore_ascii_case(&self.name)
        })
    }

    fn intersects(&self, other: &Domain) -> bool {
        match (self.below, other.below) {
            (false, _) => other.holds(&self.name),
            (true, false) => self.holds(&other.name),
            (true, true) => {
                self.name == other.name || self.holds(&other.name) || other.holds(&self.name)
            }
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.below { "*." } else { "" })?;
        f.write_str(&self.name)
    }
}

/// The hosts a wildcard could be written for: what follows each dot of `host`, longest first.
pub(super) fn parents(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.')
        .filter_map(|(at, _)| host.get(at + 1..))
}

/// A header of the INVITE that must have a value.
#[derive(Clone, Debug)]
pub struct HeaderTest {
    pub(super) name: Arc<str>,
    pub(super) value: HeaderValue,
}

#[derive(Clone, Debug)]
pub(super) enum HeaderValue {
    Exact(Arc<str>),
    Pattern(Regex),
}

impl HeaderTest {
    /// `value` is compared exactly, or between slashes (`/^acme-/`) is a regular expression.
    ///
    /// # Errors
    /// When the regular expression is none, or too big.
    pub fn new(name: &str, value: &str) -> Result<HeaderTest, PatternError> {
        let inner = value
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'));
        let value = match inner {
            Some(pattern) => HeaderValue::Pattern(compile_pattern(pattern)?),
            None => HeaderValue::Exact(value.trim().into()),
        };
        Ok(HeaderTest {
            name: name.into(),
            value,
        })
    }

    fn holds(&self, facts: &CallFacts<'_>) -> bool {
        let Some(found) = (facts.headers)(&self.name) else {
            return false;
        };
        match &self.value {
            HeaderValue::Exact(value) => found.trim() == &**value,
            HeaderValue::Pattern(pattern) => pattern.is_match(found.trim().as_bytes()),
        }
    }

    fn excludes(&self, other: &HeaderTest) -> bool {
        match (&self.value, &other.value) {
            (HeaderValue::Exact(a), HeaderValue::Exact(b)) => {
                self.name.eq_ignore_ascii_case(&other.name) && a != b
            }
            _ => false,
        }
    }
}

/// The keys a rule can have, in the order they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKey {
    Networks,
    Vlans,
    Interfaces,
    Sensors,
    Domains,
    Headers,
    Tunnels,
}

impl fmt::Display for RuleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RuleKey::Networks => "networks",
            RuleKey::Vlans => "vlans",
            RuleKey::Interfaces => "interfaces",
            RuleKey::Sensors => "sensors",
            RuleKey::Domains => "domains",
            RuleKey::Headers => "headers",
            RuleKey::Tunnels => "tunnels",
        })
    }
}

/// Whose signalling address a rule's networks hold.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Nearness {
    /// That of the candidate's own side; also where a rule names no networks.
    Near,
    /// Only that of the other side: a phone behind a PBX address.
    Far,
}

/// What of a rule and its tenant every lookup reads, in one line of the processor's cache: with ten thousand tenants,
/// every other table that is touched is a wait for memory.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct RuleHead {
    pub tenant: u32,
    pub tenant_id: TenantId,
    pub entries: Span,
    pub dialling: u32,
    pub order: u32,
    /// Where its networks lie in the table of all.
    pub networks: Span,
    /// The same for its domains.
    pub domains: Span,
    /// Whether the rest of the rule must be asked too.
    pub has_more: bool,
    pub file: u32,
    pub line: u32,
}

/// Whose address the networks of a rule hold, seen from `side`; `None` when neither's.
pub(super) fn nearness(
    networks: &[network::Span],
    facts: &CallFacts<'_>,
    side: Side,
) -> Option<Nearness> {
    if networks.is_empty() {
        return Some(Nearness::Near);
    }
    let (own, other) = match side {
        Side::Caller => (facts.caller_address, facts.callee_address),
        Side::Callee => (facts.callee_address, facts.caller_address),
    };
    if network::contains(networks, ordinal(own)) {
        Some(Nearness::Near)
    } else if network::contains(networks, ordinal(other)) {
        Some(Nearness::Far)
    } else {
        None
    }
}

/// Whether a host is one of the domains of a rule, if it names any.
pub(super) fn domain_holds(domains: &[Domain], host: &str) -> bool {
    domains.is_empty() || domains.iter().any(|domain| domain.holds(host))
}

/// A rule, compiled.
#[derive(Debug)]
pub(super) struct Rule {
    pub tenant: u32,
    pub file: u32,
    pub line: u32,
    pub networks: NetworkSet,
    pub vlans: Box<[u16]>,
    pub interfaces: Box<[Arc<str>]>,
    pub sensors: Box<[Arc<str>]>,
    pub domains: Box<[Domain]>,
    pub headers: Box<[HeaderTest]>,
    pub tunnels: Box<[Tunnel]>,
}

impl Rule {
    pub fn new(rule: &MatchRule, tenant: u32, file: u32) -> Rule {
        Rule {
            tenant,
            file,
            line: rule.place.line,
            networks: NetworkSet::new(&rule.networks),
            vlans: rule.vlans.as_slice().into(),
            interfaces: rule.interfaces.as_slice().into(),
            sensors: rule.sensors.as_slice().into(),
            domains: rule.domains.as_slice().into(),
            headers: rule.headers.as_slice().into(),
            tunnels: rule.tunnels.as_slice().into(),
        }
    }

    /// What is the same for both sides and all candidates: the first key that fails.
    pub fn failing_key(&self, facts: &CallFacts<'_>) -> Option<RuleKey> {
        let named = |names: &[Arc<str>], name: &str| {
            names.is_empty() || names.iter().any(|listed| **listed == *name)
        };
        if !self.vlans.is_empty() && !facts.vlans.iter().any(|vlan| self.vlans.contains(vlan)) {
            return Some(RuleKey::Vlans);
        }
        let in_tunnel = |named: &Tunnel| facts.tunnels.are_in(*named);
        if !self.tunnels.is_empty() && !self.tunnels.iter().any(in_tunnel) {
            return Some(RuleKey::Tunnels);
        }
        if !named(&self.interfaces, facts.interface) {
            return Some(RuleKey::Interfaces);
        }
        if !named(&self.sensors, facts.sensor) {
            return Some(RuleKey::Sensors);
        }
        let headers_hold = self.headers.iter().all(|header| header.holds(facts));
        (!headers_hold).then_some(RuleKey::Headers)
    }

    /// Whether it names anything but networks and domains.
    pub fn has_more(&self) -> bool {
        !(self.vlans.is_empty()
            && self.interfaces.is_empty()
            && self.sensors.is_empty()
            && self.headers.is_empty()
            && self.tunnels.is_empty())
    }

    /// Whether no candidate of any call can satisfy both.
    pub fn excludes(&self, other: &Rule) -> bool {
        let apart = |a: &[Arc<str>], b: &[Arc<str>]| {
            !a.is_empty() && !b.is_empty() && !a.iter().any(|name| b.contains(name))
        };
        (!self.networks.is_empty()
            && !other.networks.is_empty()
            && !self.networks.intersects(&other.networks))
            || (!self.vlans.is_empty()
                && !other.vlans.is_empty()
                && !self.vlans.iter().any(|vlan| other.vlans.contains(vlan)))
            || apart(&self.interfaces, &other.interfaces)
            || apart(&self.sensors, &other.sensors)
            || self.domains_exclude(other)
            || (self.headers.iter()).any(|a| other.headers.iter().any(|b| a.excludes(b)))
            || self.tunnels_exclude(other)
    }

    fn tunnels_exclude(&self, other: &Rule) -> bool {
        !self.tunnels.is_empty()
            && !other.tunnels.is_empty()
            && !(self.tunnels.iter()).any(|a| other.tunnels.iter().any(|b| a.meets(*b)))
    }

    fn domains_exclude(&self, other: &Rule) -> bool {
        !self.domains.is_empty()
            && !other.domains.is_empty()
            && !(self.domains.iter()).any(|a| other.domains.iter().any(|b| a.intersects(b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::new(text).unwrap()
    }

    #[test]
    fn domains_compare_without_case_and_below_a_star() {
        assert!(domain("Acme.Example.com").holds("acme.example.COM."));
        assert!(domain("*.example.com").holds("a.b.Example.com"));
        assert!(!domain("*.example.com").holds("example.com"));
        assert!(!domain("*.example.com").holds("badexample.com"));
        assert!(!domain("*.example.com").holds(".example.com"));
        assert!(!domain("*.com").holds("é"));
        assert!(
            Domain::new("a..b").is_err()
                && Domain::new("*").is_err()
                && Domain::new("a b").is_err()
        );
        assert_eq!(parents("a.b.c").collect::<Vec<_>>(), ["b.c", "c"]);
    }

    #[test]
    fn domains_that_can_be_one_host_intersect() {
        let meet = |a: &str, b: &str| {
            let (a, b) = (domain(a), domain(b));
            assert_eq!(a.intersects(&b), b.intersects(&a));
            a.intersects(&b)
        };
        assert!(meet("a.example.com", "*.example.com"));
        assert!(meet("*.a.example.com", "*.example.com"));
        assert!(meet("*.example.com", "*.example.com"));
        assert!(!meet("example.com", "*.example.com"));
        assert!(!meet("*.a.example.com", "*.b.example.com"));
    }
}
