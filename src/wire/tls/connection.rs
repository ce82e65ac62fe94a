//! Both directions of a connection: the handshake that they share, and the keys of each.

use super::TlsCounters;
use super::end::{End, Epoch, MAX_FAILURES, Protection, Tried, Waiting};
use super::handshake::{ClientHello, Message, ServerHello};
use super::open::{Opener, Sender};
use super::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Record};
use super::secrets::{KeyLog, Label};
use super::suite::{self, Suite};
use crate::base::Timestamp;
use crate::wire::{PerWay, Way};

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
/// Bytes that may wait for a secret, each direction.
const MAX_WAITING: usize = 64 << 10;
/// Records that may be early data.
const MAX_EARLY: u32 = 4096;

/// What a connection works with.
pub struct Context<'c> {
    pub secrets: &'c KeyLog,
    /// Secrets may still come: what cannot be read is kept for a while.
    pub may_wait: bool,
    pub counters: &'c mut TlsCounters,
    pub out: &'c mut Vec<PlainBytes>,
}

/// Bytes that were sent in a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainBytes {
    /// Capture time of their record.
    pub time: Timestamp,
    pub way: Way,
    /// Others were lost before them.
    pub gap: bool,
    pub bytes: Vec<u8>,
}

/// One connection.
///
/// Memory: for each direction one record, one handshake message of at most 32 KiB, and what waits for a secret, at most
/// 64 KiB.
#[derive(Debug, Default)]
pub struct TlsConnection {
    ends: PerWay<End>,
    client: Option<Way>,
    client_hello: Option<ClientHello>,
    server_hello: Option<(ServerHello, Suite)>,
    counted: bool,
    opened: bool,
    /// Why it stays closed was counted.
    told: bool,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done,
    /// It cannot be read until more is known.
    Wait,
    /// It is no record.
    Reject,
}

impl TlsConnection {
    /// Takes bytes of one direction. `gap`: others were lost before them.
    pub fn push(
        &mut self,
        way: Way,
        time: Timestamp,
        gap: bool,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) {
        if !std::mem::replace(&mut self.counted, true) {
            context.counters.connections += 1;
        }
        if gap {
            self.ends[way].records.gap();
            self.take_gap(way, time);
        }
        self.ends[way].records.push(bytes);
        while let Some(record) = self.ends[way].records.peek() {
            if self.take(way, time, &record, context) == Step::Reject {
                self.ends[way].records.reject();
                continue;
            }
            self.ends[way].records.accept(&record);
        }
        self.wake(context);
    }

    /// Reads what waited, as far as it can be read, in the order in which it came: where both sides agree on new keys in
    /// mid-connection, what one says must not change the keys of what the other said before.
    pub fn wake(&mut self, context: &mut Context<'_>) {
        loop {
            let first = self.first_to_come();
            // What one side says may be what the other waits for.
            if !self.drain(first, context) && !self.drain(first.opposite(), context) {
                break;
            }
        }
    }

    /// The direction whose waiting record came first.
    fn first_to_come(&self) -> Way {
        let since = |way: Way| self.ends[way].waiting.front().map(|waiting| waiting.time);
        match (since(Way::There), since(Way::Back)) {
            (Some(there), Some(back)) if back < there => Way::Back,
            (None, Some(_)) => Way::Back,
            _ => Way::There,
        }
    }

    /// Since when something waits.
    pub fn waiting_since(&self) -> Option<Timestamp> {
        let since = |way: Way| self.ends[way].waiting.front().map(|waiting| waiting.time);
        since(Way::There).into_iter().chain(since(Way::Back)).min()
    }

    /// What waits has waited long enough.
    pub fn give_up_waiting(&mut self, context: &mut Context<'_>) {
        for way in Way::BOTH {
            if !self.ends[way].waiting.is_empty() {
                self.stop_waiting(way, context);
            }
        }
    }

    /// The connection is over: says why it was not read, if it was not.
    pub fn finish(&mut self, context: &mut Context<'_>) {
        self.wake(context);
        self.give_up_waiting(context);
    }

    /// Memory held, in bytes, about.
    pub fn held_bytes(&self) -> usize {
        Way::BOTH
            .iter()
            .map(|&way| self.ends[way].held_bytes())
            .sum()
    }

    fn take_gap(&mut self, way: Way, time: Timestamp) {
        let end = &mut self.ends[way];
        if end.waiting.is_empty() {
            end.lose();
        } else {
            end.keep_waiting(Waiting { time, record: None });
        }
    }

    fn take(
        &mut self,
        way: Way,
        time: Timestamp,
        record: &Record,
        context: &mut Context<'_>,
    ) -> Step {
        let step = match self.ends[way].waiting.is_empty() {
            true => self.step(way, time, record, context),
            false => Step::Wait,
        };
        if step == Step::Wait {
            let end = &mut self.ends[way];
            end.keep_waiting(Waiting {
                time,
                record: Some(record.clone()),
            });
            let too_much = end.waiting_bytes() > MAX_WAITING;
            if too_much || (!context.may_wait && self.lacks_only_keys()) {
                self.stop_waiting(way, context);
            }
        }
        step
    }

    /// Reads the record of one direction that waits longest. Whether that could be done.
    fn drain(&mut self, way: Way, context: &mut Context<'_>) -> bool {
        let Some(waiting) = self.ends[way].next_waiting() else {
            return false;
        };
        let step = match &waiting.record {
            Some(record) => self.step(way, waiting.time, record, context),
            None => {
                self.ends[way].lose();
                Step::Done
            }
        };
        if step == Step::Wait {
            self.ends[way].put_back(waiting);
        }
        step != Step::Wait
    }

    /// What waits in one direction is dropped.
    fn stop_waiting(&mut self, way: Way, context: &mut Context<'_>) {
        let lacks_only_keys = self.lacks_only_keys();
        let end = &mut self.ends[way];
        let records = end
            .waiting
            .iter()
            .filter(|waiting| waiting.record.is_some());
        let passed = records.count();
        context.counters.waited_in_vain_bytes += end.forget_waiting();
        if lacks_only_keys && matches!(end.protection, Protection::Sealed(_)) {
            (0..passed).for_each(|_| end.pass());
            end.dormant = true;
            self.tell(|counters| &mut counters.without_key, context);
        } else {
            end.give_up();
            self.tell(|counters| &mut counters.without_handshake, context);
        }
    }

    /// Counts, once, why a connection stays closed.
    fn tell(
        &mut self,
        counter: impl FnOnce(&mut TlsCounters) -> &mut u64,
        context: &mut Context<'_>,
    ) {
        if !self.opened && !std::mem::replace(&mut self.told, true) {
            *counter(context.counters) += 1;
        }
    }

    fn step(
        &mut self,
        way: Way,
        time: Timestamp,
        record: &Record,
        context: &mut Context<'_>,
    ) -> Step {
        match self.ends[way].protection {
            Protection::Lost => Step::Done,
            Protection::Clear => self.step_clear(way, time, record, context),
            Protection::Sealed(epoch) => self.unseal(way, epoch, time, record, context),
            Protection::Open(..) => self.step_open(way, time, record, context),
        }
    }

    fn step_clear(
        &mut self,
        way: Way,
        time: Timestamp,
        record: &Record,
        context: &mut Context<'_>,
    ) -> Step {
        let version = self.server_hello.map(|(hello, _)| hello.version);
        let begun = self.client_hello.is_some() || self.server_hello.is_some();
        match (record.kind(), version) {
            (HANDSHAKE, _) => {
                self.hear(way, &record.body, context);
                Step::Done
            }
            (CHANGE_CIPHER_SPEC, Some(TLS12)) => {
                self.ends[way].seal(Epoch::Session);
                Step::Done
            }
            // A server changes before its ServerHello only after it asked for another ClientHello, and that means nothing.
            (CHANGE_CIPHER_SPEC, None) if self.client == Some(way) => Step::Wait,
            (APPLICATION_DATA, None) if begun => Step::Wait,
            (APPLICATION_DATA, Some(version)) => {
                // What changed the keys was lost.
                let epoch = match version {
                    TLS13 => Epoch::Handshake,
                    _ => Epoch::Session,
                };
                let end = &mut self.ends[way];
                end.seal(epoch);
                end.lose();
                self.unseal(way, epoch, time, record, context)
            }
            (APPLICATION_DATA, None) => {
                for way in Way::BOTH {
                    self.ends[way].give_up();
                }
                self.tell(|counters| &mut counters.without_handshake, context);
                Step::Done
            }
            _ => Step::Done,
        }
    }

    /// Handshake messages, in clear or opened.
    fn hear(&mut self, way: Way, bytes: &[u8], context: &mut Context<'_>) {
        let mut heard = Vec::new();
        self.ends[way]
            .messages
            .push(bytes, &mut |message| heard.push(message));
        for message in heard {
            match message {
                Message::ClientHello(hello) => {
                    self.client = Some(way);
                    self.client_hello = Some(hello);
                    // A second one, asked for by the server, has the same random.
                    if self.opened {
                        self.server_hello = None;
                    }
                }
                Message::ServerHello(hello) => self.hear_server_hello(way, hello, context),
                Message::Finished => {
                    if let Protection::Open(Epoch::Handshake, _) = self.ends[way].protection {
                        self.ends[way].seal(Epoch::Traffic);
                    }
                }
                Message::KeyUpdate => self.ends[way].update_keys(),
            }
        }
    }

    fn hear_server_hello(&mut self, way: Way, hello: ServerHello, context: &mut Context<'_>) {
        let suite = match hello.version {
            _ if hello.compressed => None,
            TLS12 => suite::tls12(hello.suite),
            TLS13 => suite::tls13(hello.suite),
            _ => None,
        };
        let Some(suite) = suite else {
            self.tell(|counters| &mut counters.unsupported, context);
            for way in Way::BOTH {
                self.ends[way].give_up();
            }
            return;
        };
        let client = way.opposite();
        self.client = Some(client);
        self.server_hello = Some((hello, suite));
        if hello.version == TLS13 {
            for way in Way::BOTH {
                if let Protection::Clear = self.ends[way].protection {
                    self.ends[way].seal(Epoch::Handshake);
                }
            }
        }
    }

    /// The handshake was seen: only secrets can be missing.
    fn lacks_only_keys(&self) -> bool {
        self.client_hello.is_some() && self.server_hello.is_some()
    }

    /// A protected record, and no keys in use yet.
    fn unseal(
        &mut self,
        way: Way,
        epoch: Epoch,
        time: Timestamp,
        record: &Record,
        context: &mut Context<'_>,
    ) -> Step {
        if epoch != Epoch::Session && record.kind() != APPLICATION_DATA {
            return Step::Done;
        }
        let hellos = (self.client, self.client_hello, self.server_hello);
        match opener(hellos, way, epoch, context.secrets) {
            Some(opener) => {
                let end = &mut self.ends[way];
                end.jumps |= end.dormant;
                end.dormant = false;
                end.protection = Protection::Open(epoch, Box::new(opener));
                self.step_open(way, time, record, context)
            }
            None if self.ends[way].dormant => {
                self.ends[way].pass();
                Step::Done
            }
            None => Step::Wait,
        }
    }

    fn step_open(
        &mut self,
        way: Way,
        time: Timestamp,
        record: &Record,
        context: &mut Context<'_>,
    ) -> Step {
        let guess = self.ends[way].records.is_lost();
        let is_13 = self
            .server_hello
            .is_some_and(|(hello, _)| hello.version == TLS13);
        if is_13 && record.kind() != APPLICATION_DATA {
            return match guess {
                true => Step::Reject,
                false => Step::Done,
            };
        }
        let may_be_early = self.may_be_early(way);
        let hellos = (self.client, self.client_hello, self.server_hello);
        let traffic = || opener(hellos, way, Epoch::Traffic, context.secrets);
        let opened = match self.ends[way].open(record, may_be_early, traffic) {
            Tried::Opened(opened) => opened,
            Tried::Found(opened) => {
                context.counters.resynchronised += 1;
                opened
            }
            Tried::Failed if may_be_early => {
                context.counters.early_data_records += 1;
                self.ends[way].early_records += 1;
                self.ends[way].gap = true;
                return Step::Done;
            }
            Tried::Failed => return self.fail(way, guess, context),
        };
        context.counters.records += 1;
        self.ends[way].failures = 0;
        if !std::mem::replace(&mut self.opened, true) {
            context.counters.opened += 1;
        }
        match opened.kind {
            HANDSHAKE => self.hear(way, &opened.bytes, context),
            // Renegotiated.
            CHANGE_CIPHER_SPEC if !is_13 => self.ends[way].seal(Epoch::Session),
            APPLICATION_DATA if !opened.bytes.is_empty() => {
                let gap = std::mem::take(&mut self.ends[way].gap);
                context.out.push(PlainBytes {
                    time,
                    way,
                    gap,
                    bytes: opened.bytes,
                });
            }
            ALERT => {}
            _ => {}
        }
        Step::Done
    }

    /// Whether a record that does not open is early data, as the client announced.
    fn may_be_early(&self, way: Way) -> bool {
        let announced = self.client_hello.is_some_and(|hello| hello.early_data);
        let end = &self.ends[way];
        announced
            && self.client == Some(way)
            && end.is_at_start_of_handshake()
            && end.early_records < MAX_EARLY
    }

    fn fail(&mut self, way: Way, guess: bool, context: &mut Context<'_>) -> Step {
        let end = &mut self.ends[way];
        end.failures += 1;
        if end.failures > MAX_FAILURES {
            end.give_up();
            context.counters.given_up += 1;
            return Step::Done;
        }
        if guess {
            return Step::Reject;
        }
        context.counters.bad_records += 1;
        end.lose();
        Step::Done
    }
}

/// What the keys are made of, besides a secret: who the client is, and what both sides said.
type Hellos = (
    Option<Way>,
    Option<ClientHello>,
    Option<(ServerHello, Suite)>,
);

/// The keys of a direction, if its secret is known.
fn opener(hellos: Hellos, way: Way, epoch: Epoch, secrets: &KeyLog) -> Option<Opener> {
    let (client, client_hello, server_hello) = hellos;
    let random = client_hello?.random;
    let (hello, suite) = server_hello?;
    let sender = match client? == way {
        true => Sender::Client,
        false => Sender::Server,
    };
    let label = match (epoch, sender) {
        (Epoch::Session, _) => Label::Master,
        (Epoch::Handshake, Sender::Client) => Label::ClientHandshake,
        (Epoch::Handshake, Sender::Server) => Label::ServerHandshake,
        (Epoch::Traffic, Sender::Client) => Label::ClientTraffic,
        (Epoch::Traffic, Sender::Server) => Label::ServerTraffic,
    };
    let secret = secrets.find(&random, label)?;
    match epoch {
        Epoch::Session => Opener::of_session(
            suite,
            secret,
            &random,
            &hello.random,
            sender,
            hello.encrypt_then_mac,
        ),
        Epoch::Handshake | Epoch::Traffic => Opener::of_traffic(suite, secret),
    }
}
