//! TCP connections to SIP messages: SIP as it is, over WebSocket, and over TLS where the keys are known.
//!
//! In: the bytes of streams as the wire gives them, and secrets of TLS sessions. Out: messages. Most connections are plain
//! SIP: one [`Framer`] for each direction. What begins like something else is a connection of both directions, in which the
//! layers lie upon each other: TLS, WebSocket, SIP.

mod connection;
mod connections;
mod talk;

use std::time::Duration;

use self::connection::Work;
use self::connections::Connections;
use self::talk::{Beginning, frame, joins_websocket};
use crate::base::{Flow, Timestamp, WireMap};
use crate::sip::Framer;
use crate::sip::websocket::WebSocketCounters;
use crate::wire::tls::{KeyLog, LoggedSecret, TlsCounters, looks_like_tls};
use crate::wire::{StreamBytes, StreamEvent};

/// The longest message that is put together: SDP and headers take a few kilobytes, pictures of callers more.
const MAX_MESSAGE: usize = 256 << 10;
/// Connections read at a time. The wire forgets idle ones and says so; this cap is above the wire's own.
const MAX_STREAMS: usize = 65_536;

/// The caps on what connections with layers keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes held by all connections that are more than plain SIP. The one idle longest is forgotten, counted.
    pub held_bytes: usize,
    /// TLS sessions whose secrets are known, at most. The one first heard of is forgotten, counted.
    pub tls_sessions: usize,
    /// How long ciphertext waits for its secret. Zero: no secret comes after its packets.
    pub key_wait: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits {
            held_bytes: 64 << 20,
            // 400 bytes each.
            tls_sessions: 100_000,
            key_wait: Duration::ZERO,
        }
    }
}

/// What was counted of connections that are more than plain SIP. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Connections forgotten before their end to stay under the cap on what they hold.
    pub evicted: u64,
    pub websocket: WebSocketCounters,
    pub tls: TlsCounters,
}

/// A message out of a connection.
#[derive(Debug)]
pub struct StreamMessage {
    /// Capture time of what completed it.
    pub time: Timestamp,
    pub flow: Flow,
    pub bytes: Vec<u8>,
}

/// The secrets of TLS sessions, and how long they are waited for.
#[derive(Debug)]
struct Keys {
    log: KeyLog,
    wait: Duration,
}

impl Keys {
    fn may_come(&self) -> bool {
        !self.wait.is_zero()
    }
}

/// All connections that are followed.
#[derive(Debug)]
pub struct SipStreams {
    /// Plain SIP: one for each direction of each connection.
    framers: WireMap<Flow, Framer>,
    connections: Connections,
    tls_ports: Vec<u16>,
    keys: Keys,
    counters: StreamCounters,
}

impl SipStreams {
    /// `tls_ports`: where connections may begin with a TLS handshake.
    pub fn new(tls_ports: Vec<u16>, limits: StreamLimits) -> SipStreams {
        SipStreams {
            framers: WireMap::default(),
            connections: Connections::new(limits.held_bytes),
            tls_ports,
            keys: Keys {
                log: KeyLog::new(limits.tls_sessions),
                wait: limits.key_wait,
            },
            counters: StreamCounters::default(),
        }
    }

    pub fn counters(&self) -> &StreamCounters {
        &self.counters
    }

    /// Takes bytes, gives the messages they complete, and returns how many bytes had to be skipped.
    pub fn push(&mut self, bytes: &StreamBytes<'_>, messages: &mut Vec<StreamMessage>) -> u64 {
        if bytes.event == StreamEvent::End {
            return match self.framers.remove(&bytes.flow) {
                Some(framer) => ended(framer, bytes, messages),
                None => self.with_connections(messages, |connections, work| {
                    connections.end(bytes.flow, work)
                }),
            };
        }
        match self.framers.get_mut(&bytes.flow) {
            Some(framer) if !joins_websocket(framer, bytes.bytes) => plain(framer, bytes, messages),
            Some(_) => {
                self.framers.remove(&bytes.flow);
                self.push_layered(bytes, messages)
            }
            None => self.push_unknown(bytes, messages),
        }
    }

    /// Secrets of TLS sessions. What waited for one of them is read.
    pub fn add_secrets(
        &mut self,
        secrets: impl IntoIterator<Item = LoggedSecret>,
        messages: &mut Vec<StreamMessage>,
    ) -> u64 {
        for secret in secrets {
            self.counters.tls.secrets += 1;
            self.counters.tls.sessions_evicted += self.keys.log.add(secret);
        }
        self.with_connections(messages, Connections::wake)
    }

    /// The capture is over: what still waits for a secret is dropped, counted. Returns how many bytes had to be skipped.
    pub fn finish(&mut self, messages: &mut Vec<StreamMessage>) -> u64 {
        self.expire(Timestamp::MAX, messages)
    }

    /// When [`SipStreams::expire`] has something to do next.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.connections.next_timeout()
    }

    /// What has waited long enough for its secret is dropped, counted. Returns how many bytes had to be skipped.
    pub fn expire(&mut self, now: Timestamp, messages: &mut Vec<StreamMessage>) -> u64 {
        self.with_connections(messages, |connections, work| connections.expire(now, work))
    }

    /// Bytes of a direction that is not known as plain SIP.
    fn push_unknown(&mut self, bytes: &StreamBytes<'_>, messages: &mut Vec<StreamMessage>) -> u64 {
        let is_plain = Beginning::of(bytes.bytes) == Beginning::Sip && !self.is_tls(bytes);
        if !is_plain || self.connections.has(bytes.flow) {
            return self.push_layered(bytes, messages);
        }
        if self.framers.len() >= MAX_STREAMS {
            return bytes.bytes.len() as u64;
        }
        let framer = self
            .framers
            .entry(bytes.flow)
            .or_insert_with(|| Framer::new(MAX_MESSAGE));
        plain(framer, bytes, messages)
    }

    fn push_layered(&mut self, bytes: &StreamBytes<'_>, messages: &mut Vec<StreamMessage>) -> u64 {
        let is_tls = self.is_tls(bytes);
        self.with_connections(messages, |connections, work| {
            connections.push(bytes, is_tls, work)
        })
    }

    fn is_tls(&self, bytes: &StreamBytes<'_>) -> bool {
        let Flow {
            source,
            destination,
            ..
        } = bytes.flow;
        let ports = [source.port, destination.port];
        ports.iter().any(|port| self.tls_ports.contains(port)) && looks_like_tls(bytes.bytes)
    }

    fn with_connections(
        &mut self,
        messages: &mut Vec<StreamMessage>,
        act: impl FnOnce(&mut Connections, &mut Work<'_>) -> u64,
    ) -> u64 {
        let before = messages.len();
        let mut work = Work {
            keys: &self.keys,
            counters: &mut self.counters,
            messages,
        };
        let skipped = act(&mut self.connections, &mut work);
        // What waited is read connection by connection, and a call may be in two of them.
        if let Some(read) = messages.get_mut(before..) {
            read.sort_by_key(|message| message.time);
        }
        skipped
    }
}

/// What was waiting for more: a message without a length is whole, and of one that was cut the head is.
fn ended(mut framer: Framer, bytes: &StreamBytes<'_>, messages: &mut Vec<StreamMessage>) -> u64 {
    let skipped_before = framer.skipped_bytes();
    framer.finish();
    let left = std::iter::from_fn(|| framer.next_message()).filter_map(Result::ok);
    messages.extend(left.map(|message| StreamMessage {
        time: bytes.time,
        flow: bytes.flow,
        bytes: message,
    }));
    framer.skipped_bytes() - skipped_before
}

fn plain(framer: &mut Framer, bytes: &StreamBytes<'_>, messages: &mut Vec<StreamMessage>) -> u64 {
    if bytes.event == StreamEvent::Gap {
        framer.gap();
    }
    frame(framer, bytes.bytes, &mut |message| {
        messages.push(StreamMessage {
            time: bytes.time,
            flow: bytes.flow,
            bytes: message,
        });
    })
}
