//! The directory itself: what was compiled, and plain questions about it.

use std::sync::Arc;

use super::attribution::CallFacts;
use super::control::{ControlRules, PolicyByte};
use super::country::Country;
use super::definition::{CandidateOrder, Place, RecordingPolicy};
use super::network;
use super::numbering::Numbering;
use super::rewrite::Dialling;
use super::rule::{Domain, Nearness, Rule, RuleHead, domain_holds, nearness};
use super::rule_index::RuleIndex;
use crate::base::{Side, TenantId, WireMap};

/// Tenants, match rules and extensions, compiled. Immutable; a change makes another.
#[derive(Debug)]
pub struct Directory {
    /// The System tenant first.
    pub(super) tenants: Box<[Tenant]>,
    pub(super) by_id: WireMap<TenantId, u32>,
    /// By the same index.
    pub(super) standings: Box<[Standing]>,
    /// In the order of their tenants.
    pub(super) rules: Box<[Rule]>,
    /// By the same index.
    pub(super) rule_heads: Box<[RuleHead]>,
    /// Networks of all rules.
    pub(super) networks: Box<[network::Span]>,
    /// Domains of all rules.
    pub(super) domains: Box<[Domain]>,
    pub(super) rule_index: RuleIndex,
    pub(super) diallings: Box<[Dialling]>,
    pub(super) orders: Box<[CandidateOrder]>,
    pub(super) numbering: Numbering,
    /// In the order of their tenants.
    pub(super) entries: Box<[Entry]>,
    pub(super) users: Box<[Arc<str>]>,
    pub(super) files: Box<[Arc<str>]>,
    pub(super) keeps_signalling: bool,
}

/// A tenant and its settings.
#[derive(Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub name: Arc<str>,
    pub plan: Option<Arc<str>>,
    /// IANA name; UTC when absent.
    pub timezone: Option<Arc<str>>,
    /// BCP 47 tag.
    pub language: Option<Arc<str>>,
    pub country: Option<Country>,
    pub recording: RecordingPolicy,
    pub place: Place,
    /// `None` where nothing steers a recording.
    pub control: Option<Arc<ControlRules>>,
    pub(super) index: u32,
}

/// A tenant by index: where its rules and extensions are, and how it reads numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub rules: Span,
    pub entries: Span,
    pub dialling: u32,
    pub order: u32,
}

/// Consecutive indices of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn iter(self) -> std::ops::Range<u32> {
        self.start..self.end
    }
}

/// An extension or an alias of one. A million of them are a table that no cache holds: each lies in one line of it.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Entry {
    pub text: u32,
    pub text_len: u8,
    /// Its text is a number, not a range or a prefix.
    pub is_number: bool,
    pub policy: PolicyByte,
    pub of_user: OfUser,
    pub file: u32,
    pub line: u32,
    pub tenant: u32,
    /// The first of the tenant's rules, if it has any.
    pub first_rule: u32,
    /// The extension it is an alias of; itself where it is the extension.
    pub main: u32,
    pub user: u32,
}

/// What of an entry is so because of its user, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfUser(u8);

impl OfUser {
    const ALLOCATED: u8 = 1;
    const POLICY: u8 = 2;

    pub fn new(allocated: bool, policy: bool) -> OfUser {
        OfUser(u8::from(allocated) * OfUser::ALLOCATED + u8::from(policy) * OfUser::POLICY)
    }

    /// The user has it by an allocation.
    pub fn is_allocated(self) -> bool {
        self.0 & OfUser::ALLOCATED != 0
    }

    /// The policy is the user's, not the extension's.
    pub fn has_policy(self) -> bool {
        self.0 & OfUser::POLICY != 0
    }
}

pub(super) const NO_USER: u32 = u32::MAX;

/// Dialling habits of a tenant without extensions: nothing is looked up for it.
pub(super) const NO_DIALLING: u32 = u32::MAX;

/// An extension as the directory keeps it, for listings.
#[derive(Clone, Debug)]
pub struct Extension<'a> {
    /// The number, `first-last`, or a prefix with `*` after it; normalised.
    pub extension: &'a str,
    /// Set for an alias: the extension it belongs to.
    pub alias_of: Option<&'a str>,
    pub user: Option<&'a Arc<str>>,
    /// The user has it by an allocation, and is not pinned to it.
    pub allocated: bool,
    pub place: Place,
}

impl Directory {
    pub fn tenant(&self, id: TenantId) -> Option<&Tenant> {
        self.by_id.get(&id).and_then(|at| self.tenant_at(*at))
    }

    /// All tenants, the System tenant first, the others in the order they were given.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.iter()
    }

    /// Extensions and aliases of a tenant, in the order they were given.
    pub fn extensions(&self, tenant: &Tenant) -> impl Iterator<Item = Extension<'_>> {
        let span = self
            .standing(tenant.index)
            .map(|standing| standing.entries)
            .unwrap_or_default();
        let entries = at_span(&self.entries, span);
        (span.start..).zip(entries).map(|(at, entry)| Extension {
            extension: self.entry_text(entry),
            alias_of: (entry.main != at)
                .then(|| self.entry(entry.main))
                .flatten()
                .map(|main| self.entry_text(main)),
            user: self.user(entry),
            allocated: entry.of_user.is_allocated(),
            place: self.place(entry.file, entry.line),
        })
    }

    /// Places of a tenant's match rules.
    pub fn rule_places(&self, tenant: &Tenant) -> impl Iterator<Item = Place> {
        let span = self
            .standing(tenant.index)
            .map(|standing| standing.rules)
            .unwrap_or_default();
        at_span(&self.rules, span)
            .iter()
            .map(|rule| self.place(rule.file, rule.line))
    }

    /// Whether any tenant keeps the signalling of its calls.
    pub fn keeps_signalling(&self) -> bool {
        self.keeps_signalling
    }

    /// Extensions and aliases of all tenants.
    pub fn extension_count(&self) -> usize {
        self.entries.len()
    }

    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    pub(super) fn tenant_at(&self, at: u32) -> Option<&Tenant> {
        self.tenants.get(at as usize)
    }

    pub(super) fn standing(&self, at: u32) -> Option<&Standing> {
        self.standings.get(at as usize)
    }

    pub(super) fn nearness(
        &self,
        head: &RuleHead,
        facts: &CallFacts<'_>,
        side: Side,
    ) -> Option<Nearness> {
        nearness(at_span(&self.networks, head.networks), facts, side)
    }

    pub(super) fn domain_holds(&self, head: &RuleHead, host: &str) -> bool {
        domain_holds(at_span(&self.domains, head.domains), host)
    }

    pub(super) fn rule_head(&self, at: u32) -> Option<&RuleHead> {
        self.rule_heads.get(at as usize)
    }

    pub(super) fn rule(&self, at: u32) -> Option<&Rule> {
        self.rules.get(at as usize)
    }

    pub(super) fn entry(&self, at: u32) -> Option<&Entry> {
        self.entries.get(at as usize)
    }

    pub(super) fn entry_text(&self, entry: &Entry) -> &str {
        self.numbering.text(entry.text, entry.text_len)
    }

    pub(super) fn user(&self, entry: &Entry) -> Option<&Arc<str>> {
        self.users.get(entry.user as usize)
    }

    pub(super) fn place(&self, file: u32, line: u32) -> Place {
        let file = self.files.get(file as usize).cloned();
        Place {
            file: file.unwrap_or_else(|| "".into()),
            line,
        }
    }
}

pub(super) fn at_span<T>(table: &[T], span: Span) -> &[T] {
    let range = span.start as usize..span.end as usize;
    table.get(range).unwrap_or_default()
}
