//! Which of many rules may hold for a call, without asking each of them.

use std::sync::Arc;

use smallvec::SmallVec;

use super::CallFacts;
use super::definition::MatchRule;
use super::network::{NetworkIndex, ordinal};
use super::rule::{Domain, HeaderValue, MAX_HOST_LEN, parents};
use crate::base::{Network, PerSide, Tunnel, WireMap};

/// Rules filed under one of their keys each: the one that fewest other rules share.
#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    networks: NetworkIndex,
    vlans: WireMap<u16, Filed>,
    interfaces: FiledByText,
    sensors: FiledByText,
    hosts: FiledByText,
    /// Under what follows the `*.`.
    hosts_below: FiledByText,
    /// By header name, then by its exact value.
    headers: Vec<(Arc<str>, FiledByText)>,
    /// Rules of header patterns only: asked every time.
    unfiled: Vec<u32>,
    tunnels: WireMap<Tunnel, Filed>,
}

/// Rules under one value: nearly always one, kept in place.
type Filed = SmallVec<[u32; 4]>;
type FiledByText = WireMap<Arc<str>, Filed>;

/// Rules as they are filed: one can be there more than once.
type Files<'a> = SmallVec<[&'a [u32]; 4]>;

/// Rules that may hold for a call, by what they were found by.
pub(super) struct MayHold<'a> {
    /// Their networks hold the caller's address.
    by_caller_address: Files<'a>,
    /// Their networks hold the callee's address.
    by_callee_address: Files<'a>,
    /// Found by another key: their networks, if they name any, are still to be asked.
    otherwise: Files<'a>,
}

/// A rule, and what its finding already says about its networks.
#[derive(Clone, Copy)]
pub(super) struct MaybeHeld {
    pub rule: u32,
    /// Whose address its networks are known to hold; neither where they are still to be asked.
    pub inside: PerSide<bool>,
}

impl<'a> MayHold<'a> {
    /// At least as many as there are rules.
    pub fn count(&self) -> usize {
        self.files().map(|(file, _)| file.len()).sum()
    }

    fn files(&self) -> impl Iterator<Item = (&'a [u32], PerSide<bool>)> {
        let of = |files: &Files<'a>, caller, callee| {
            let inside = PerSide { caller, callee };
            files.clone().into_iter().map(move |file| (file, inside))
        };
        of(&self.by_caller_address, true, false)
            .chain(of(&self.by_callee_address, false, true))
            .chain(of(&self.otherwise, false, false))
    }

    /// Each rule once, ascending, and so tenant by tenant.
    pub fn rules(&self) -> SmallVec<[MaybeHeld; 16]> {
        let mut rules: SmallVec<[MaybeHeld; 16]> = SmallVec::new();
        for (file, inside) in self.files() {
            rules.extend(file.iter().map(|rule| MaybeHeld {
                rule: *rule,
                inside,
            }));
        }
        rules.sort_unstable_by_key(|held| held.rule);
        rules.dedup_by(|later, earlier| {
            let same = later.rule == earlier.rule;
            if same {
                earlier.inside.caller |= later.inside.caller;
                earlier.inside.callee |= later.inside.callee;
            }
            same
        });
        rules
    }
}

/// How many rules name each value.
#[derive(Default)]
struct Census<'a> {
    networks: WireMap<Network, usize>,
    vlans: WireMap<u16, usize>,
    interfaces: WireMap<&'a str, usize>,
    sensors: WireMap<&'a str, usize>,
    domains: WireMap<&'a Domain, usize>,
    headers: WireMap<(&'a str, &'a str), usize>,
    tunnels: WireMap<Tunnel, usize>,
}

impl<'a> Census<'a> {
    fn of(rules: &[&'a MatchRule]) -> Census<'a> {
        let mut census = Census::default();
        for &rule in rules {
            for network in &rule.networks {
                *census.networks.entry(*network).or_default() += 1;
            }
            for vlan in &rule.vlans {
                *census.vlans.entry(*vlan).or_default() += 1;
            }
            for tunnel in &rule.tunnels {
                *census.tunnels.entry(*tunnel).or_default() += 1;
            }
            for interface in &rule.interfaces {
                *census.interfaces.entry(interface).or_default() += 1;
            }
            for sensor in &rule.sensors {
                *census.sensors.entry(sensor).or_default() += 1;
            }
            for domain in &rule.domains {
                *census.domains.entry(domain).or_default() += 1;
            }
            for (name, value) in exact_headers(rule) {
                *census.headers.entry((name, value)).or_default() += 1;
            }
        }
        census
    }

    /// The key to file a rule under: the one whose fullest file is emptiest, the cheaper first where they are equal.
    fn best_key(&self, rule: &'a MatchRule) -> Option<Filing<'a>> {
        fn fullest<K>(keys: &[K], count: impl Fn(&K) -> Option<usize>) -> Option<usize> {
            keys.iter().filter_map(count).max()
        }
        let networks = fullest(&rule.networks, |n| self.networks.get(n).copied());
        let vlans = fullest(&rule.vlans, |v| self.vlans.get(v).copied());
        let interfaces = fullest(&rule.interfaces, |i| self.interfaces.get(&**i).copied());
        let sensors = fullest(&rule.sensors, |s| self.sensors.get(&**s).copied());
        let domains = fullest(&rule.domains, |d| self.domains.get(d).copied());
        let tunnels = fullest(&rule.tunnels, |t| self.tunnels.get(t).copied());
        let keys = [
            networks.map(|count| (count, Filing::Networks)),
            vlans.map(|count| (count, Filing::Vlans)),
            interfaces.map(|count| (count, Filing::Interfaces)),
            sensors.map(|count| (count, Filing::Sensors)),
            domains.map(|count| (count, Filing::Domains)),
            tunnels.map(|count| (count, Filing::Tunnels)),
        ];
        let headers = exact_headers(rule).filter_map(|(name, value)| {
            let count = self.headers.get(&(name, value))?;
            Some((*count, Filing::Header(name, value)))
        });
        let all = keys.into_iter().flatten().chain(headers);
        all.min_by_key(|(count, _)| *count)
            .map(|(_, filing)| filing)
    }
}

enum Filing<'a> {
    Networks,
    Vlans,
    Interfaces,
    Sensors,
    Domains,
    Header(&'a str, &'a str),
    Tunnels,
}

pub(super) fn exact_headers(rule: &MatchRule) -> impl Iterator<Item = (&str, &str)> {
    rule.headers
        .iter()
        .filter_map(|header| match &header.value {
            HeaderValue::Exact(value) => Some((&*header.name, &**value)),
            HeaderValue::Pattern(_) => None,
        })
}

impl RuleIndex {
    /// Rules are known by their place in `rules`.
    pub fn new(rules: &[&MatchRule]) -> RuleIndex {
        let census = Census::of(rules);
        let mut index = RuleIndex::default();
        let mut networks = Vec::new();
        for (id, rule) in (0..).zip(rules) {
            match census.best_key(rule) {
                Some(Filing::Networks) => {
                    networks.extend(rule.networks.iter().map(|network| (*network, id)));
                }
                Some(Filing::Vlans) => file(&mut index.vlans, &rule.vlans, id),
                Some(Filing::Interfaces) => file(&mut index.interfaces, &rule.interfaces, id),
                Some(Filing::Sensors) => file(&mut index.sensors, &rule.sensors, id),
                Some(Filing::Domains) => index.file_domains(&rule.domains, id),
                Some(Filing::Header(name, value)) => index.file_header(name, value, id),
                Some(Filing::Tunnels) => file(&mut index.tunnels, &rule.tunnels, id),
                None => index.unfiled.push(id),
            }
        }
        index.networks = NetworkIndex::new(networks);
        index
    }

    fn file_domains(&mut self, domains: &[Domain], id: u32) {
        for domain in domains {
            let map = if domain.is_below() {
                &mut self.hosts_below
            } else {
                &mut self.hosts
            };
            file(map, std::slice::from_ref(domain.name()), id);
        }
    }

    fn file_header(&mut self, name: &str, value: &str, id: u32) {
        let known = (self.headers.iter()).position(|(known, _)| known.eq_ignore_ascii_case(name));
        if known.is_none() {
            self.headers.push((name.into(), WireMap::default()));
        }
        let at = known.unwrap_or(self.headers.len() - 1);
        if let Some((_, values)) = self.headers.get_mut(at) {
            file(values, &[value.into()], id);
        }
    }

    /// All rules that may hold for a candidate of this call; every other rule does not.
    pub fn may_hold<'s>(&'s self, facts: &CallFacts<'_>, hosts: &[&str]) -> MayHold<'s> {
        let caller = ordinal(facts.caller_address);
        let callee = ordinal(facts.callee_address);
        MayHold {
            by_caller_address: self.networks.holding(caller).collect(),
            by_callee_address: self.networks.holding(callee).collect(),
            otherwise: self.otherwise(facts, hosts),
        }
    }

    /// Whether rules are filed by domain; the hosts are not looked at otherwise.
    pub fn asks_hosts(&self) -> bool {
        !(self.hosts.is_empty() && self.hosts_below.is_empty())
    }

    fn otherwise<'s>(&'s self, facts: &CallFacts<'_>, hosts: &[&str]) -> Files<'s> {
        let mut files = Files::new();
        if !self.vlans.is_empty() {
            push_found(
                &mut files,
                facts.vlans.iter().map(|vlan| self.vlans.get(vlan)),
            );
        }
        if !self.tunnels.is_empty() {
            push_found(
                &mut files,
                facts
                    .tunnels
                    .names()
                    .map(|tunnel| self.tunnels.get(&tunnel)),
            );
        }
        if !self.interfaces.is_empty() {
            push_found(&mut files, [self.interfaces.get(facts.interface)]);
        }
        if !self.sensors.is_empty() {
            push_found(&mut files, [self.sensors.get(facts.sensor)]);
        }
        if self.asks_hosts() {
            hosts
                .iter()
                .for_each(|host| self.push_host(&mut files, host));
        }
        for (name, values) in &self.headers {
            let value = (facts.headers)(name).map(str::trim);
            push_found(&mut files, [value.and_then(|value| values.get(value))]);
        }
        if !self.unfiled.is_empty() {
            files.push(&self.unfiled);
        }
        files
    }

    fn push_host<'s>(&'s self, files: &mut Files<'s>, host: &str) {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.len() > MAX_HOST_LEN {
            return;
        }
        let mut lower: SmallVec<[u8; 64]> = SmallVec::from_slice(host.as_bytes());
        lower.make_ascii_lowercase();
        let host = std::str::from_utf8(&lower).unwrap_or_default();
        push_found(files, [self.hosts.get(host)]);
        if !self.hosts_below.is_empty() {
            push_found(
                files,
                parents(host).map(|parent| self.hosts_below.get(parent)),
            );
        }
    }
}

fn file<K: Clone + Eq + std::hash::Hash>(map: &mut WireMap<K, Filed>, keys: &[K], id: u32) {
    for key in keys {
        map.entry(key.clone()).or_default().push(id);
    }
}

fn push_found<'a>(files: &mut Files<'a>, found: impl IntoIterator<Item = Option<&'a Filed>>) {
    files.extend(found.into_iter().flatten().map(SmallVec::as_slice));
}
