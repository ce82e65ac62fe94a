//! One connection that is more than plain SIP: its layers, from the wire up.

use super::talk::Talk;
use super::{Keys, StreamCounters, StreamMessage};
use crate::base::{Flow, Timestamp};
use crate::wire::tls::{Context, PlainBytes, TlsConnection};
use crate::wire::{PerWay, StreamBytes, StreamEvent, Way};

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// As they were seen, perhaps at different vantages.
    flows: PerWay<Option<Flow>>,
    ended: PerWay<bool>,
    tls: Option<Box<TlsConnection>>,
    talk: Talk,
}

/// What a connection works with.
pub(super) struct Work<'w> {
    pub keys: &'w Keys,
    pub counters: &'w mut StreamCounters,
    pub messages: &'w mut Vec<StreamMessage>,
}

impl Connection {
    pub(super) fn new(is_tls: bool) -> Connection {
        Connection {
            flows: PerWay::default(),
            ended: PerWay::default(),
            tls: is_tls.then(Box::default),
            talk: Talk::default(),
        }
    }

    /// Gives how many bytes were skipped.
    pub(super) fn push(&mut self, way: Way, bytes: &StreamBytes<'_>, work: &mut Work<'_>) -> u64 {
        self.flows[way] = Some(bytes.flow);
        let gap = bytes.event == StreamEvent::Gap;
        if self.tls.is_none() {
            return self.say(way, bytes.time, gap, bytes.bytes, work);
        }
        self.decrypt(work, |tls, context| {
            tls.push(way, bytes.time, gap, bytes.bytes, context);
        })
    }

    /// Secrets have come. Gives how many bytes were skipped.
    pub(super) fn wake(&mut self, work: &mut Work<'_>) -> u64 {
        self.decrypt(work, TlsConnection::wake)
    }

    /// Since when something waits for a secret.
    pub(super) fn waiting_since(&self) -> Option<Timestamp> {
        self.tls.as_ref()?.waiting_since()
    }

    /// What waits for a secret has waited long enough. Gives how many bytes were skipped.
    pub(super) fn give_up_waiting(&mut self, work: &mut Work<'_>) -> u64 {
        self.decrypt(work, TlsConnection::give_up_waiting)
    }

    /// A direction has ended. Whether both have, as far as they were seen.
    pub(super) fn end(&mut self, way: Way) -> bool {
        self.ended[way] = true;
        let opposite = way.opposite();
        self.ended[opposite] || !self.has_seen(opposite)
    }

    pub(super) fn has_seen(&self, way: Way) -> bool {
        self.flows[way].is_some()
    }

    pub(super) fn has_ended(&self, way: Way) -> bool {
        self.ended[way]
    }

    /// Memory held, in bytes, about.
    pub(super) fn held_bytes(&self) -> usize {
        let tls = self.tls.as_ref();
        let tls = tls.map_or(0, |tls| size_of::<TlsConnection>() + tls.held_bytes());
        size_of::<Connection>() + tls + self.talk.held_bytes()
    }

    fn decrypt(
        &mut self,
        work: &mut Work<'_>,
        act: impl FnOnce(&mut TlsConnection, &mut Context<'_>),
    ) -> u64 {
        let mut out = Vec::new();
        if let Some(tls) = &mut self.tls {
            let mut context = Context {
                secrets: &work.keys.log,
                may_wait: work.keys.may_come(),
                counters: &mut work.counters.tls,
                out: &mut out,
            };
            act(tls, &mut context);
        }
        let said =
            |plain: PlainBytes| self.say(plain.way, plain.time, plain.gap, &plain.bytes, work);
        out.into_iter().map(said).sum()
    }

    fn say(
        &mut self,
        way: Way,
        time: Timestamp,
        gap: bool,
        bytes: &[u8],
        work: &mut Work<'_>,
    ) -> u64 {
        let Some(flow) = self.flows[way] else {
            return 0;
        };
        let mut whole = Vec::new();
        let counters = &mut work.counters.websocket;
        let skipped = self.talk.push(way, gap, bytes, counters, &mut whole);
        let message = |bytes| StreamMessage { time, flow, bytes };
        work.messages.extend(whole.into_iter().map(message));
        skipped
    }
}
