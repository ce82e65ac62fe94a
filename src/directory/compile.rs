//! Definitions into a directory.

use std::sync::Arc;

use super::clash;
use super::control::PolicyByte;
use super::definition::{
    CandidateOrder, ExtensionDefinition, MatchRule, Place, Policy, TenantDefinition,
};
use super::error::{Error, MAX_ERRORS};
use super::extension::{Kind, Range, Spelled};
use super::network;
use super::number::normalise;
use super::numbering::NumberingBuilder;
use super::rewrite::{Dialling, DiallingKey};
use super::rule::{Domain, Rule, RuleHead};
use super::rule_index::RuleIndex;
use super::snapshot::{Directory, Entry, NO_DIALLING, NO_USER, OfUser, Span, Standing, Tenant};
use crate::base::{SYSTEM_TENANT, TenantId, WireMap};

/// Name of the System tenant until it is renamed.
pub const SYSTEM_NAME: &str = "System";

impl Directory {
    /// Only the System tenant, which owns nothing by itself.
    pub fn empty() -> Directory {
        Directory::compile(Vec::new(), None).expect("the System tenant alone cannot clash")
    }

    /// Checks the definitions, proves that no two tenants can claim the same number of the same call, and builds the
    /// tables. The System tenant is added where it is not defined, as `system_name`.
    ///
    /// The proof is about numbers as they are normalised: where a tenant's rewriting rules or another country's
    /// dialling make two different extensions fit the same dialled digits, the call is ambiguous when it comes.
    ///
    /// # Errors
    /// All that is wrong, at most [`MAX_ERRORS`].
    pub fn compile(
        definitions: Vec<TenantDefinition>,
        system_name: Option<&str>,
    ) -> Result<Directory, Vec<Error>> {
        Directory::compile_all(&definitions.iter().collect::<Vec<_>>(), system_name)
    }

    /// As [`Directory::compile`], of definitions that are kept.
    ///
    /// # Errors
    /// The same.
    pub fn compile_all(
        definitions: &[&TenantDefinition],
        system_name: Option<&str>,
    ) -> Result<Directory, Vec<Error>> {
        let system = unnamed_system(system_name);
        let tenants = with_system(definitions, &system);
        let rules: Vec<&MatchRule> = tenants.iter().flat_map(|tenant| &tenant.rules).collect();
        let (directory, mut errors) = build(&tenants, &rules);
        if errors.is_empty() {
            errors = clash::find(&directory, &tenants, &rules);
        }
        if errors.is_empty() {
            Ok(directory)
        } else {
            errors.truncate(MAX_ERRORS);
            Err(errors)
        }
    }
}

/// A directory that need not be free of clashes: for tests of what happens then.
#[cfg(test)]
pub(super) fn without_proof(definitions: Vec<TenantDefinition>) -> Directory {
    let system = unnamed_system(None);
    let tenants = with_system(&definitions.iter().collect::<Vec<_>>(), &system);
    let rules: Vec<&MatchRule> = tenants.iter().flat_map(|tenant| &tenant.rules).collect();
    build(&tenants, &rules).0
}

/// The System tenant where nobody defines it.
fn unnamed_system(name: Option<&str>) -> TenantDefinition {
    TenantDefinition::new(
        SYSTEM_TENANT,
        name.unwrap_or(SYSTEM_NAME),
        Place::new("", 0),
    )
}

/// The System tenant first, `system` where it is not defined.
fn with_system<'d>(
    definitions: &[&'d TenantDefinition],
    system: &'d TenantDefinition,
) -> Vec<&'d TenantDefinition> {
    let (mut tenants, others): (Vec<_>, Vec<_>) = definitions
        .iter()
        .partition(|definition| definition.id == SYSTEM_TENANT);
    if tenants.is_empty() {
        tenants.push(system);
    }
    tenants.extend(others);
    tenants
}

fn build(tenants: &[&TenantDefinition], rules: &[&MatchRule]) -> (Directory, Vec<Error>) {
    let mut builder = Builder::new();
    for (index, definition) in (0_u32..).zip(tenants) {
        builder.add_tenant(index, definition);
    }
    builder.finish(RuleIndex::new(rules))
}

struct Builder {
    tenants: Vec<Tenant>,
    standings: Vec<Standing>,
    by_id: WireMap<TenantId, u32>,
    rules: Vec<Rule>,
    diallings: Interned<DiallingKey, Dialling>,
    orders: Interned<CandidateOrder, CandidateOrder>,
    numbering: NumberingBuilder,
    entries: Vec<Entry>,
    users: Interned<Arc<str>, Arc<str>>,
    files: Interned<Arc<str>, Arc<str>>,
    /// The file asked for last: a tenant's places are nearly always in one.
    latest_file: Option<(Arc<str>, u32)>,
    errors: Vec<Error>,
}

/// What the entries of one extension have in common.
struct Owner {
    tenant: u32,
    first_rule: u32,
    main: u32,
    user: u32,
    policy: PolicyByte,
    of_user: OfUser,
}

/// Values that many share, each kept once.
struct Interned<K, V> {
    known: WireMap<K, u32>,
    values: Vec<V>,
}

impl<K: Eq + std::hash::Hash, V> Interned<K, V> {
    fn new() -> Self {
        Interned {
            known: WireMap::default(),
            values: Vec::new(),
        }
    }

    fn id(&mut self, key: K, value: impl FnOnce() -> V) -> u32 {
        *self.known.entry(key).or_insert_with(|| {
            self.values.push(value());
            index(self.values.len() - 1)
        })
    }
}

impl Interned<Arc<str>, Arc<str>> {
    fn text(&mut self, text: &str) -> u32 {
        if let Some(id) = self.known.get(text) {
            return *id;
        }
        let copy: Arc<str> = text.into();
        self.id(copy.clone(), || copy)
    }
}

/// The policy that counts for an extension, and whether it is that of its user. Where both have one, the one that records
/// less.
fn policy_of(
    extension: &ExtensionDefinition,
    definition: &TenantDefinition,
) -> (Option<Policy>, bool) {
    let of_user = extension.user.as_ref().and_then(|user| {
        let mut users = definition.user_policies.iter();
        users.find(|(login, _)| login.eq_ignore_ascii_case(user))
    });
    match (extension.policy, of_user) {
        (own, None) => (own, false),
        (None, Some((_, policy))) => (Some(*policy), true),
        (Some(own), Some((_, policy))) => {
            let stricter = own.stricter(*policy);
            (Some(stricter), stricter != own)
        }
    }
}

/// Tables are checked for their size at the end ([`Error::TooBig`]).
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Builder {
    fn new() -> Builder {
        Builder {
            tenants: Vec::new(),
            standings: Vec::new(),
            by_id: WireMap::default(),
            rules: Vec::new(),
            diallings: Interned::new(),
            orders: Interned::new(),
            numbering: NumberingBuilder::new(),
            entries: Vec::new(),
            users: Interned::new(),
            files: Interned::new(),
            latest_file: None,
            errors: Vec::new(),
        }
    }

    fn add_tenant(&mut self, at: u32, definition: &TenantDefinition) {
        if let Some(first) = self.by_id.get(&definition.id) {
            let first = self.tenants.get(*first as usize);
            self.errors.push(Error::DuplicateTenant {
                id: definition.id,
                place: definition.place.clone(),
                first: first.map_or_else(|| Place::new("", 0), |tenant| tenant.place.clone()),
            });
        }
        self.by_id.insert(definition.id, at);
        let rules = self.add_rules(at, &definition.rules);
        let entries = self.add_extensions(at, rules.start, definition);
        let dialling = if definition.extensions.is_empty() {
            NO_DIALLING
        } else {
            self.dialling(definition)
        };
        let candidates = &definition.candidates;
        let order = self.orders.id(candidates.clone(), || candidates.clone());
        self.standings.push(Standing {
            rules,
            entries,
            dialling,
            order,
        });
        // Texts are copied, not shared: they outlive the definitions, and would pin the memory around them.
        let copy = |text: &Option<Arc<str>>| text.as_deref().map(Arc::from);
        let file = self.file(&definition.place.file);
        self.tenants.push(Tenant {
            id: definition.id,
            name: Arc::from(&*definition.name),
            plan: copy(&definition.plan),
            timezone: copy(&definition.timezone),
            language: copy(&definition.language),
            country: definition.country,
            recording: definition.recording,
            place: self.place(file, definition.place.line),
            control: (!definition.control.is_idle()).then(|| Arc::new(definition.control.clone())),
            index: at,
        });
    }

    fn dialling(&mut self, definition: &TenantDefinition) -> u32 {
        let key = Dialling::key(definition.country, &definition.rewrites);
        self.diallings.id(key, || Dialling {
            country: definition.country,
            rewrites: definition.rewrites.clone(),
        })
    }

    fn add_rules(&mut self, tenant: u32, rules: &[MatchRule]) -> Span {
        let start = index(self.rules.len());
        for rule in rules {
            if !rule.has_network_fact() {
                let place = rule.place.clone();
                if !rule.has_claim() {
                    self.errors.push(Error::EmptyRule { place });
                } else if !rule.trust_signalling {
                    self.errors.push(Error::ClaimsAlone { place });
                }
            }
            let file = self.file(&rule.place.file);
            self.rules.push(Rule::new(rule, tenant, file));
        }
        Span {
            start,
            end: index(self.rules.len()),
        }
    }

    fn add_extensions(
        &mut self,
        tenant: u32,
        first_rule: u32,
        definition: &TenantDefinition,
    ) -> Span {
        let start = index(self.entries.len());
        let mut ranges: Vec<(Range, u32)> = Vec::new();
        for extension in &definition.extensions {
            let Some(spelled) = extension.pattern.spelled(definition.country) else {
                continue;
            };
            let (policy, by_user) = policy_of(extension, definition);
            let owner = Owner {
                tenant,
                first_rule,
                main: index(self.entries.len()),
                user: self.user_id(extension),
                policy: PolicyByte::new(policy),
                of_user: OfUser::new(extension.allocated, by_user),
            };
            self.add_entry(&owner, &extension.place, &spelled, &mut ranges);
            for alias in &extension.aliases {
                if let Some(number) = normalise(&alias.number, definition.country) {
                    let spelled = Spelled::Number(number);
                    self.add_entry(&owner, &alias.place, &spelled, &mut ranges);
                }
            }
        }
        self.check_ranges(ranges);
        Span {
            start,
            end: index(self.entries.len()),
        }
    }

    fn user_id(&mut self, extension: &ExtensionDefinition) -> u32 {
        let user = extension.user.as_ref();
        user.map_or(NO_USER, |user| self.users.text(user))
    }

    fn add_entry(
        &mut self,
        owner: &Owner,
        place: &Place,
        spelled: &Spelled,
        ranges: &mut Vec<(Range, u32)>,
    ) {
        let at = index(self.entries.len());
        let (text, text_len) = self.entry_text(spelled);
        let file = self.file(&place.file);
        self.entries.push(Entry {
            text,
            text_len,
            is_number: matches!(spelled, Spelled::Number(_)),
            file,
            line: place.line,
            tenant: owner.tenant,
            first_rule: owner.first_rule,
            main: owner.main,
            user: owner.user,
            policy: owner.policy,
            of_user: owner.of_user,
        });
        let width = if let Spelled::Range(range) = spelled {
            ranges.push((*range, at));
            Some(range.width())
        } else {
            None
        };
        let mut duplicate_of = None;
        spelled.blocks(&mut |shape, text| {
            let key = self.numbering.key(shape, text);
            let latest = self.numbering.latest(key);
            let same_tenant = latest.filter(|latest| {
                let entry = self.entries.get(*latest as usize);
                entry.is_some_and(|entry| entry.tenant == owner.tenant)
            });
            match (same_tenant, shape.kind) {
                (None, _) => self.numbering.add(key, at),
                // Ranges within ranges may share a block: it belongs to the narrower one.
                (Some(other), Kind::Range) => {
                    let other_width = ranges.iter().find(|(_, entry)| *entry == other);
                    if other_width.map(|(range, _)| range.width()) > width {
                        self.numbering.replace_latest(key, at);
                    }
                }
                (Some(other), _) => duplicate_of = Some(other),
            }
        });
        if let Some(first) = duplicate_of {
            self.errors.push(Error::DuplicateExtension {
                extension: self.describe(spelled),
                place: place.clone(),
                first: self.entry_place(first),
            });
        }
    }

    fn entry_text(&mut self, spelled: &Spelled) -> (u32, u8) {
        match spelled {
            Spelled::Number(number) => {
                let shape = super::extension::Shape::number(number.as_bytes());
                let key = self.numbering.key(shape, number.as_bytes());
                let len = u8::try_from(number.as_bytes().len()).unwrap_or(0);
                (self.numbering.text_start(key), len)
            }
            Spelled::Range(_) | Spelled::Prefix(_) => {
                let text = self.describe(spelled);
                let len = u8::try_from(text.len()).unwrap_or(0);
                (self.numbering.push_text(text.as_bytes()), len)
            }
        }
    }

    fn describe(&self, spelled: &Spelled) -> String {
        match spelled {
            Spelled::Number(number) => number.as_str().to_owned(),
            Spelled::Range(range) => range.to_string(),
            Spelled::Prefix(prefix) => format!("{}*", prefix.as_str()),
        }
    }

    /// A range may lie within another, and wins there; two that are the same or only overlap leave no answer.
    fn check_ranges(&mut self, mut ranges: Vec<(Range, u32)>) {
        ranges.sort_by_key(|(range, entry)| {
            (
                range.kind(),
                range.first,
                std::cmp::Reverse(range.last),
                *entry,
            )
        });
        let mut open: Vec<(Range, u32)> = Vec::new();
        for (range, entry) in ranges {
            while open
                .last()
                .is_some_and(|(outer, _)| outer.kind() != range.kind() || outer.last < range.first)
            {
                open.pop();
            }
            if let Some((outer, first)) = open.last()
                && (range.last > outer.last || range == *outer)
            {
                let (outer, first) = (*outer, *first);
                self.errors
                    .push(self.range_error(range, entry, outer, first));
            }
            open.push((range, entry));
        }
    }

    fn range_error(&self, range: Range, entry: u32, outer: Range, outer_entry: u32) -> Error {
        let later = entry.max(outer_entry);
        let place = self.entry_place(later);
        let first = self.entry_place(entry.min(outer_entry));
        if range == outer {
            let extension = range.to_string();
            return Error::DuplicateExtension {
                extension,
                place,
                first,
            };
        }
        let (range, other) = if later == entry {
            (range, outer)
        } else {
            (outer, range)
        };
        Error::OverlappingRanges {
            range: range.to_string(),
            other: other.to_string(),
            place,
            first,
        }
    }

    fn entry_place(&self, entry: u32) -> Place {
        let entry = self.entries.get(entry as usize);
        entry.map_or_else(
            || Place::new("", 0),
            |entry| self.place(entry.file, entry.line),
        )
    }

    fn place(&self, file: u32, line: u32) -> Place {
        let file = self.files.values.get(file as usize).cloned();
        Place {
            file: file.unwrap_or_else(|| "".into()),
            line,
        }
    }

    fn file(&mut self, file: &Arc<str>) -> u32 {
        if let Some((latest, id)) = &self.latest_file
            && Arc::ptr_eq(latest, file)
        {
            return *id;
        }
        let id = self.files.text(file);
        self.latest_file = Some((file.clone(), id));
        id
    }

    fn finish(mut self, rule_index: RuleIndex) -> (Directory, Vec<Error>) {
        if !self.numbering.fits() || u32::try_from(self.entries.len()).is_err() {
            let place = self.tenants.last().map(|tenant| tenant.place.clone());
            self.errors.push(Error::TooBig {
                place: place.unwrap_or_else(|| Place::new("", 0)),
            });
        }
        let Heads {
            heads,
            networks,
            domains,
        } = Heads::of(&self.rules, &self.tenants, &self.standings);
        let directory = Directory {
            keeps_signalling: (self.tenants.iter()).any(|tenant| tenant.recording.signalling),
            tenants: self.tenants.into_boxed_slice(),
            standings: self.standings.into_boxed_slice(),
            by_id: self.by_id,
            rules: self.rules.into_boxed_slice(),
            rule_heads: heads.into_boxed_slice(),
            networks: networks.into_boxed_slice(),
            domains: domains.into_boxed_slice(),
            rule_index,
            diallings: self.diallings.values.into_boxed_slice(),
            orders: self.orders.values.into_boxed_slice(),
            numbering: self.numbering.finish(),
            entries: self.entries.into_boxed_slice(),
            users: self.users.values.into_boxed_slice(),
            files: self.files.values.into_boxed_slice(),
        };
        (directory, self.errors)
    }
}

/// The heads of all rules, and the networks and domains they point to.
#[derive(Default)]
struct Heads {
    heads: Vec<RuleHead>,
    networks: Vec<network::Span>,
    domains: Vec<Domain>,
}

impl Heads {
    fn of(rules: &[Rule], tenants: &[Tenant], standings: &[Standing]) -> Heads {
        let mut all = Heads::default();
        for rule in rules {
            let tenant = tenants.get(rule.tenant as usize);
            let standing = standings.get(rule.tenant as usize);
            let (Some(tenant), Some(standing)) = (tenant, standing) else {
                continue;
            };
            let networks = append(&mut all.networks, rule.networks.spans());
            let domains = append(&mut all.domains, &rule.domains);
            all.heads.push(RuleHead {
                tenant: rule.tenant,
                tenant_id: tenant.id,
                entries: standing.entries,
                dialling: standing.dialling,
                order: standing.order,
                networks,
                domains,
                has_more: rule.has_more(),
                file: rule.file,
                line: rule.line,
            });
        }
        all
    }
}

fn append<T: Clone>(table: &mut Vec<T>, values: &[T]) -> Span {
    let start = index(table.len());
    table.extend_from_slice(values);
    Span {
        start,
        end: index(table.len()),
    }
}
