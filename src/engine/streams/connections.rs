//! The table of connections that are more than plain SIP.

use std::collections::{BTreeMap, BTreeSet};

use super::connection::{Connection, Work};
use crate::base::{Endpoint, Flow, Timestamp, WireMap};
use crate::wire::{StreamBytes, Way};

/// By flow, both directions under one.
///
/// Cap: so many bytes held by all; past it what waits for a secret is dropped, longest first, then the connection idle longest
/// is forgotten. The wire forgets those that are idle and tells so, and its cap on streams is a cap on connections that are
/// open. One that is over stays for as long as something waits in it.
#[derive(Debug)]
pub(super) struct Connections {
    max_held_bytes: usize,
    table: WireMap<Name, Followed>,
    /// By last use.
    used: BTreeMap<u64, Name>,
    uses: u64,
    held: usize,
    /// When those that wait for a secret have waited long enough.
    deadlines: BTreeSet<(Timestamp, Name)>,
    /// TLS connections that were begun, the last by its ends: where a mirror tags the directions differently, or taps them
    /// on two interfaces, the other direction finds its connection here.
    begun: WireMap<(Endpoint, Endpoint), Flow>,
    /// Directions that did.
    joined: WireMap<Flow, Flow>,
}

/// A connection: one that is over is told from the next one of the same ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name {
    key: Flow,
    /// Which of those that are over; `None`: it is open.
    over: Option<u64>,
}

impl Name {
    fn open(key: Flow) -> Name {
        Name { key, over: None }
    }
}

#[derive(Debug)]
struct Followed {
    connection: Connection,
    used: u64,
    held: usize,
    deadline: Option<Timestamp>,
    /// A direction seen elsewhere.
    joined: Option<Flow>,
}

impl Connections {
    pub(super) fn new(max_held_bytes: usize) -> Connections {
        Connections {
            max_held_bytes,
            table: WireMap::default(),
            used: BTreeMap::new(),
            uses: 0,
            held: 0,
            deadlines: BTreeSet::new(),
            begun: WireMap::default(),
            joined: WireMap::default(),
        }
    }

    /// Whether a direction belongs to a connection that is known here and has not ended.
    pub(super) fn has(&self, flow: Flow) -> bool {
        let (key, way) = self.key_of(flow);
        let followed = self.table.get(&Name::open(key));
        followed.is_some_and(|followed| !followed.connection.has_ended(way))
    }

    /// Gives how many bytes were skipped. `is_tls`: whether it is, should it be new.
    pub(super) fn push(
        &mut self,
        bytes: &StreamBytes<'_>,
        is_tls: bool,
        work: &mut Work<'_>,
    ) -> u64 {
        let known = self.has(bytes.flow) || (is_tls && self.join(bytes.flow));
        if !known {
            // Ended, its ports are used again.
            let (key, _) = self.key_of(bytes.flow);
            self.close(key, work);
            self.insert(key_of(bytes.flow).0, is_tls);
        }
        let (key, way) = self.key_of(bytes.flow);
        let name = Name::open(key);
        let skipped = self.act(name, work, |connection, work| {
            connection.push(way, bytes, work)
        });
        self.touch(name);
        self.make_room(work);
        skipped
    }

    /// A direction has ended. Gives how many bytes were skipped.
    pub(super) fn end(&mut self, flow: Flow, work: &mut Work<'_>) -> u64 {
        let (key, way) = self.key_of(flow);
        let over = |followed: &mut Followed| followed.connection.end(way);
        match self.table.get_mut(&Name::open(key)).is_some_and(over) {
            true => self.close(key, work),
            false => 0,
        }
    }

    /// Secrets have come. Gives how many bytes were skipped.
    pub(super) fn wake(&mut self, work: &mut Work<'_>) -> u64 {
        let waiting: Vec<Name> = self.deadlines.iter().map(|(_, name)| *name).collect();
        let woken = waiting
            .into_iter()
            .map(|name| self.act_and_bury(name, work, Connection::wake));
        woken.sum()
    }

    /// When the first that waits for a secret has waited long enough.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    /// Gives how many bytes were skipped.
    pub(super) fn expire(&mut self, now: Timestamp, work: &mut Work<'_>) -> u64 {
        let mut skipped = 0;
        while let Some(&(_, name)) = self.deadlines.first().filter(|(time, _)| *time <= now) {
            skipped += self.act_and_bury(name, work, Connection::give_up_waiting);
        }
        skipped
    }

    /// Has one connection act, and forgets it if it is over and nothing waits in it any more.
    fn act_and_bury(
        &mut self,
        name: Name,
        work: &mut Work<'_>,
        act: impl FnOnce(&mut Connection, &mut Work<'_>) -> u64,
    ) -> u64 {
        let skipped = self.act(name, work, act);
        let waits = |followed: &Followed| followed.deadline.is_some();
        if name.over.is_some() && !self.table.get(&name).is_some_and(waits) {
            self.drop_name(name);
        }
        skipped
    }

    /// Has one connection act, and keeps sums and deadlines in step.
    fn act(
        &mut self,
        name: Name,
        work: &mut Work<'_>,
        act: impl FnOnce(&mut Connection, &mut Work<'_>) -> u64,
    ) -> u64 {
        let Some(followed) = self.table.get_mut(&name) else {
            return 0;
        };
        let skipped = act(&mut followed.connection, work);
        let held = followed.connection.held_bytes();
        self.held = self.held - followed.held + held;
        followed.held = held;
        let since = followed.connection.waiting_since();
        let deadline = since.map(|since| since + work.keys.wait);
        if deadline != followed.deadline {
            followed
                .deadline
                .map(|old| self.deadlines.remove(&(old, name)));
            deadline.map(|new| self.deadlines.insert((new, name)));
            followed.deadline = deadline;
        }
        skipped
    }

    fn key_of(&self, flow: Flow) -> (Flow, Way) {
        let (key, way) = key_of(flow);
        (self.joined.get(&flow).copied().unwrap_or(key), way)
    }

    /// Makes a direction part of a connection of which only the other was seen, at another vantage.
    fn join(&mut self, flow: Flow) -> bool {
        let (own, way) = key_of(flow);
        let Some(&key) = self.begun.get(&(own.source, own.destination)) else {
            return false;
        };
        let may_join = |followed: &&mut Followed| key != own && !followed.connection.has_seen(way);
        let Some(followed) = self.table.get_mut(&Name::open(key)).filter(may_join) else {
            return false;
        };
        followed.joined = Some(flow);
        self.joined.insert(flow, key);
        true
    }

    fn insert(&mut self, key: Flow, is_tls: bool) {
        if is_tls {
            self.begun.insert((key.source, key.destination), key);
        }
        self.uses += 1;
        self.used.insert(self.uses, Name::open(key));
        let followed = Followed {
            connection: Connection::new(is_tls),
            used: self.uses,
            held: 0,
            deadline: None,
            joined: None,
        };
        self.table.insert(Name::open(key), followed);
    }

    /// A connection is over: its ports are free for another, and what waits in it goes on waiting. Gives how many bytes were
    /// skipped.
    fn close(&mut self, key: Flow, work: &mut Work<'_>) -> u64 {
        let Some(mut followed) = self.drop_name(Name::open(key)) else {
            return 0;
        };
        let Some(deadline) = followed.deadline.filter(|_| work.keys.may_come()) else {
            return followed.connection.give_up_waiting(work);
        };
        let name = Name {
            key,
            over: Some(followed.used),
        };
        self.used.insert(followed.used, name);
        self.held += followed.held;
        self.deadlines.insert((deadline, name));
        followed.joined = None;
        self.table.insert(name, followed);
        0
    }

    /// Gives how many bytes were skipped.
    fn remove(&mut self, name: Name, work: &mut Work<'_>) -> u64 {
        let skipped = self.act(name, work, Connection::give_up_waiting);
        self.drop_name(name);
        skipped
    }

    fn drop_name(&mut self, name: Name) -> Option<Followed> {
        let followed = self.table.remove(&name)?;
        self.used.remove(&followed.used);
        self.held -= followed.held;
        followed.joined.map(|flow| self.joined.remove(&flow));
        let ends = (name.key.source, name.key.destination);
        if name.over.is_none() && self.begun.get(&ends) == Some(&name.key) {
            self.begun.remove(&ends);
        }
        followed
            .deadline
            .map(|deadline| self.deadlines.remove(&(deadline, name)));
        Some(followed)
    }

    fn touch(&mut self, name: Name) {
        if let Some(followed) = self.table.get_mut(&name) {
            self.used.remove(&followed.used);
            self.uses += 1;
            followed.used = self.uses;
            self.used.insert(self.uses, name);
        }
    }

    /// What waits for a secret goes first: a connection that is read holds little, and is idle for long.
    fn make_room(&mut self, work: &mut Work<'_>) {
        while self.held > self.max_held_bytes
            && let Some(&(_, name)) = self.deadlines.first()
        {
            self.act_and_bury(name, work, Connection::give_up_waiting);
        }
        while self.held > self.max_held_bytes
            && let Some((_, &name)) = self.used.first_key_value()
        {
            self.remove(name, work);
            work.counters.evicted += 1;
        }
    }
}

/// One name for both directions, and which of them `flow` is.
fn key_of(flow: Flow) -> (Flow, Way) {
    match flow.source <= flow.destination {
        true => (flow, Way::There),
        false => (flow.reversed(), Way::Back),
    }
}
