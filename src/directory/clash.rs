//! The proof that rules tell tenants with the same numbers apart.
//!
//! Comparing every tenant with every other would take 50 million comparisons for 10,000 tenants. Two short cuts look
//! at the pairs that can matter only: pairs that share a number (none, when every number is one tenant's), or pairs
//! whose rules meet in one key (none, when every tenant has its own network). The cheaper one is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::definition::{MatchRule, TenantDefinition};
use super::error::{Claimant, Clash, Error, MAX_CLASHES};
use super::extension::{Shape, Spelled};
use super::network::NetworkIndex;
use super::number::normalise;
use super::rule::{Domain, parents};
use super::rule_index::exact_headers;
use super::snapshot::Directory;
use crate::base::{Tunnel, WireMap};

/// So many pairs are compared before it is worth to look for a better way.
const CHEAP_PAIRS: usize = 2_000_000;

/// All clashes, at most [`MAX_CLASHES`] pairs of tenants, in the order of the tenants.
pub(super) fn find(
    directory: &Directory,
    tenants: &[&TenantDefinition],
    rules: &[&MatchRule],
) -> Vec<Error> {
    let mut proof = Proof {
        directory,
        tenants,
        compared: BTreeSet::new(),
        clashes: BTreeMap::new(),
    };
    let groups = NumberGroups::of(directory);
    let meeting = Meeting::best(directory, rules);
    if groups.pairs <= CHEAP_PAIRS.max(meeting.pairs) {
        groups.visit(&mut |a, b| proof.compare(a, b));
    } else {
        meeting.visit(&mut |a, b| proof.compare_rules(a, b));
    }
    proof.clashes.into_values().collect()
}

struct Proof<'a> {
    directory: &'a Directory,
    tenants: &'a [&'a TenantDefinition],
    /// Pairs whose rules meet and whose extensions were compared.
    compared: BTreeSet<(u32, u32)>,
    clashes: BTreeMap<(u32, u32), Error>,
}

impl Proof<'_> {
    fn is_full(&self) -> bool {
        self.clashes.len() >= MAX_CLASHES
    }

    /// Two entries of different tenants that meet: do their tenants' rules? False when enough was found.
    fn compare(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (a.min(b), a.max(b));
        let tenant_of = |entry| self.directory.entry(entry).map_or(0, |entry| entry.tenant);
        let pair = (tenant_of(a), tenant_of(b));
        if pair.0 != pair.1
            && !self.clashes.contains_key(&pair)
            && let Some(rules) = self.rules_meet(pair.0, pair.1)
        {
            self.report([a, b], rules);
        }
        !self.is_full()
    }

    fn rules_meet(&self, a: u32, b: u32) -> Option<[u32; 2]> {
        let rules = |tenant| {
            self.directory
                .standing(tenant)
                .map(|standing| standing.rules)
        };
        let (a, b) = (rules(a)?, rules(b)?);
        a.iter().find_map(|a| {
            let first = self.directory.rule(a)?;
            let meets =
                |b: &u32| (self.directory.rule(*b)).is_some_and(|other| !first.excludes(other));
            b.iter().find(meets).map(|b| [a, b])
        })
    }

    /// Two rules that meet in one key: do they in all, and do their tenants' extensions? False when enough was found.
    fn compare_rules(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (a.min(b), a.max(b));
        if let (Some(first), Some(second)) = (self.directory.rule(a), self.directory.rule(b))
            && first.tenant != second.tenant
            && !first.excludes(second)
            && self.compared.insert((first.tenant, second.tenant))
            && let Some(entries) = self.entries_meet(first.tenant, second.tenant)
        {
            self.report(entries, [a, b]);
        }
        !self.is_full()
    }

    /// Entries of two tenants, the lower first, that some number fits both of.
    fn entries_meet(&self, a: u32, b: u32) -> Option<[u32; 2]> {
        let forwards = self.first_meeting(a, b).map(|(a, b)| [a, b]);
        forwards.or_else(|| self.first_meeting(b, a).map(|(b, a)| [a, b]))
    }

    /// An entry of `long` and one of `short` that meet, the text of the second no longer than that of the first.
    fn first_meeting(&self, long: u32, short: u32) -> Option<(u32, u32)> {
        let definition = self.tenants.get(long as usize)?;
        let short = self.directory.standing(short)?.entries;
        let numbering = &self.directory.numbering;
        let of_short = |entries: &[u32]| {
            let after = entries.partition_point(|entry| *entry < short.start);
            entries
                .get(after)
                .copied()
                .filter(|entry| *entry < short.end)
        };
        let mut found = None;
        for (entry, spelled) in definition_entries(definition, self.directory, long) {
            spelled.blocks(&mut |shape, text| {
                let same = of_short(numbering.entries_of(shape, text));
                let other = same.or_else(|| numbering.meeting(shape, text).find_map(of_short));
                found = found.or(other.map(|other| (entry, other)));
            });
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn report(&mut self, entries: [u32; 2], rules: [u32; 2]) {
        let [first, second] = entries;
        let claimants =
            [(first, rules[0]), (second, rules[1])].map(|(entry, rule)| self.claimant(entry, rule));
        let [Some((a, first)), Some((b, second))] = claimants else {
            return;
        };
        let clash = Clash {
            claimants: [first, second],
        };
        self.clashes.insert((a, b), Error::Clash(Box::new(clash)));
    }

    fn claimant(&self, entry: u32, rule: u32) -> Option<(u32, Claimant)> {
        let entry = self.directory.entry(entry)?;
        let rule = self.directory.rule(rule)?;
        let tenant = self.directory.tenant_at(entry.tenant)?;
        let claimant = Claimant {
            tenant: tenant.id,
            name: tenant.name.clone(),
            number: self.directory.entry_text(entry).to_owned(),
            extension: self.directory.place(entry.file, entry.line),
            rule: self.directory.place(rule.file, rule.line),
        };
        Some((entry.tenant, claimant))
    }
}

/// The spelled patterns of a tenant, with their entries: in the order [`super::compile`] made them.
fn definition_entries<'d>(
    definition: &'d TenantDefinition,
    directory: &Directory,
    tenant: u32,
) -> impl Iterator<Item = (u32, Spelled)> + 'd {
    let start = directory
        .standing(tenant)
        .map_or(0, |standing| standing.entries.start);
    let country = definition.country;
    let spelled = definition.extensions.iter().filter_map(move |extension| {
        let main = extension.pattern.spelled(country)?;
        let aliases = extension
            .aliases
            .iter()
            .filter_map(move |alias| normalise(&alias.number, country).map(Spelled::Number));
        Some(std::iter::once(main).chain(aliases))
    });
    (start..).zip(spelled.flatten())
}

/// Entries of different tenants that some number fits, key by key; tenants that share many keys are grouped once.
struct NumberGroups<'a> {
    directory: &'a Directory,
    pairs: usize,
    groups: Vec<Group<'a>>,
}

struct Group<'a> {
    entries: &'a [u32],
    /// Entries under shorter keys that meet this one.
    shorter: Vec<&'a [u32]>,
}

impl<'a> NumberGroups<'a> {
    fn of(directory: &'a Directory) -> NumberGroups<'a> {
        let numbering = &directory.numbering;
        let mut known: WireMap<Vec<u32>, ()> = WireMap::default();
        let mut all = NumberGroups {
            directory,
            pairs: 0,
            groups: Vec::new(),
        };
        for (shape, text, entries) in numbering.keys() {
            let shorter = all.shorter(shape, text);
            if entries.len() < 2 && shorter.is_empty() {
                continue;
            }
            let others: usize = shorter.iter().map(|entries| entries.len()).sum();
            let group = Group { entries, shorter };
            if known.insert(group.tenants(directory), ()).is_none() {
                let count = entries.len();
                let pairs = count * (count - 1) / 2 + count * others;
                all.pairs = all.pairs.saturating_add(pairs);
                all.groups.push(group);
            }
        }
        all
    }

    fn shorter(&self, shape: Shape, text: &'a [u8]) -> Vec<&'a [u32]> {
        if !self.directory.numbering.has_ranges_or_prefixes() {
            return Vec::new();
        }
        self.directory.numbering.meeting(shape, text).collect()
    }

    fn visit(&self, compare: &mut impl FnMut(u32, u32) -> bool) {
        for group in &self.groups {
            for (at, a) in group.entries.iter().enumerate() {
                let later = group.entries.get(at + 1..).unwrap_or_default();
                let others = later.iter().chain(group.shorter.iter().copied().flatten());
                for b in others {
                    if !compare(*a, *b) {
                        return;
                    }
                }
            }
        }
    }
}

impl Group<'_> {
    fn tenants(&self, directory: &Directory) -> Vec<u32> {
        let tenant = |entry: &u32| directory.entry(*entry).map_or(0, |entry| entry.tenant);
        let mut tenants: Vec<u32> = self.entries.iter().map(tenant).collect();
        for shorter in &self.shorter {
            // Keeps "one key's tenants" and "another key's" apart in what is compared.
            tenants.push(u32::MAX);
            tenants.extend(shorter.iter().map(tenant));
        }
        tenants
    }
}

/// Whether it meets another one only by being the same: mirrors stand around other tunnels, and a kind without an id for
/// all of that kind.
fn is_told_by_id(tunnel: &Tunnel) -> bool {
    tunnel.id.is_some() && !tunnel.kind.is_mirror()
}

/// Rules that meet in one kind of key: those under the same value, under a value and one around it, and those that do
/// not name the key at all with everyone.
struct Meeting {
    nodes: Vec<Node>,
    without: Vec<u32>,
    with: Vec<u32>,
    pairs: usize,
}

#[derive(Default)]
struct Node {
    members: Vec<u32>,
    /// Nodes whose value lies around this one's.
    around: Vec<usize>,
}

impl Meeting {
    /// By the key in which fewest pairs meet.
    fn best(directory: &Directory, rules: &[&MatchRule]) -> Meeting {
        let names = |names: &[Arc<str>]| -> Vec<Arc<str>> { names.to_vec() };
        let header = commonest_header(rules);
        let all = [
            Meeting::by_network(rules),
            Meeting::by_value(rules, |rule| rule.vlans.clone()),
            Meeting::by_value(rules, |rule| names(&rule.interfaces)),
            Meeting::by_value(rules, |rule| names(&rule.sensors)),
            Meeting::by_domain(rules),
            Meeting::by_value(rules, |rule| {
                let values = exact_headers(rule)
                    .filter(|(name, _)| name.eq_ignore_ascii_case(&header))
                    .map(|(_, value)| value.to_owned());
                // A rule that wants two values of one header never holds; one of them is enough here.
                values.take(1).collect()
            }),
            Meeting::by_value(rules, |rule| match rule.tunnels.iter().all(is_told_by_id) {
                true => rule.tunnels.clone(),
                // It may meet any rule.
                false => Vec::new(),
            }),
        ];
        debug_assert_eq!(directory.rules.len(), rules.len());
        let best = all.into_iter().min_by_key(|meeting| meeting.pairs);
        best.expect("there are seven kinds of keys")
    }

    fn by_value<K: Eq + std::hash::Hash>(
        rules: &[&MatchRule],
        values: impl Fn(&MatchRule) -> Vec<K>,
    ) -> Meeting {
        let mut known: WireMap<K, usize> = WireMap::default();
        let mut nodes: Vec<Node> = Vec::new();
        let mut sorted = Sorted::default();
        for (id, rule) in (0..).zip(rules) {
            let values = values(rule);
            sorted.put(id, !values.is_empty());
            for value in values {
                let node = *known.entry(value).or_insert_with(|| {
                    nodes.push(Node::default());
                    nodes.len() - 1
                });
                push_once(&mut nodes, node, id);
            }
        }
        Meeting::new(nodes, sorted)
    }

    fn by_network(rules: &[&MatchRule]) -> Meeting {
        let mut sorted = Sorted::default();
        let mut entries = Vec::new();
        for (id, rule) in (0..).zip(rules) {
            sorted.put(id, !rule.networks.is_empty());
            entries.extend(rule.networks.iter().map(|network| (*network, id)));
        }
        let index = NetworkIndex::new(entries);
        let nodes = index.nodes().map(|(members, around)| Node {
            members: members.to_vec(),
            around,
        });
        Meeting::new(nodes.collect(), sorted)
    }

    fn by_domain(rules: &[&MatchRule]) -> Meeting {
        let mut sorted = Sorted::default();
        let mut known: WireMap<&Domain, usize> = WireMap::default();
        let mut below: WireMap<&str, usize> = WireMap::default();
        let mut nodes: Vec<Node> = Vec::new();
        for (id, rule) in (0..).zip(rules) {
            sorted.put(id, !rule.domains.is_empty());
            for domain in &rule.domains {
                let node = *known.entry(domain).or_insert_with(|| {
                    nodes.push(Node::default());
                    nodes.len() - 1
                });
                if domain.is_below() {
                    below.insert(domain.name(), node);
                }
                push_once(&mut nodes, node, id);
            }
        }
        for (domain, node) in known {
            let around = parents(domain.name()).filter_map(|parent| below.get(parent).copied());
            if let Some(node) = nodes.get_mut(node) {
                node.around = around.collect();
            }
        }
        Meeting::new(nodes, sorted)
    }

    fn new(nodes: Vec<Node>, Sorted { with, without }: Sorted) -> Meeting {
        let count = |at: &usize| nodes.get(*at).map_or(0, |node| node.members.len());
        let within = nodes.iter().map(|node| {
            let around: usize = node.around.iter().map(count).sum();
            let own = node.members.len();
            own * own.saturating_sub(1) / 2 + own * around
        });
        let unnamed =
            without.len() * with.len() + without.len() * without.len().saturating_sub(1) / 2;
        Meeting {
            pairs: within.fold(unnamed, usize::saturating_add),
            nodes,
            without,
            with,
        }
    }

    fn visit(&self, compare: &mut impl FnMut(u32, u32) -> bool) {
        let none = Vec::new();
        for node in &self.nodes {
            let members = |at: &usize| self.nodes.get(*at).map_or(&none, |node| &node.members);
            let around = || node.around.iter().flat_map(members);
            for (at, a) in node.members.iter().enumerate() {
                let later = node.members.get(at + 1..).unwrap_or_default();
                if !later.iter().chain(around()).all(|b| compare(*a, *b)) {
                    return;
                }
            }
        }
        for (at, a) in self.without.iter().enumerate() {
            let later = self.without.get(at + 1..).unwrap_or_default();
            if !later.iter().chain(&self.with).all(|b| compare(*a, *b)) {
                return;
            }
        }
    }
}

#[derive(Default)]
struct Sorted {
    with: Vec<u32>,
    without: Vec<u32>,
}

impl Sorted {
    fn put(&mut self, rule: u32, named: bool) {
        if named {
            self.with.push(rule);
        } else {
            self.without.push(rule);
        }
    }
}

fn push_once(nodes: &mut [Node], node: usize, id: u32) {
    if let Some(node) = nodes.get_mut(node)
        && node.members.last() != Some(&id)
    {
        node.members.push(id);
    }
}

fn commonest_header(rules: &[&MatchRule]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for rule in rules {
        for (name, _) in exact_headers(rule) {
            *counts.entry(name.to_ascii_lowercase()).or_default() += 1;
        }
    }
    let commonest = counts.into_iter().max_by_key(|(_, count)| *count);
    commonest.map(|(name, _)| name).unwrap_or_default()
}
