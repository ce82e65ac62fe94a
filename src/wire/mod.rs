//! The wire: from captured frames to what programs said to each other.
//!
//! In: [`Packet`]s, frames with their capture time, interface and link type. Out: [`Unit`]s, UDP datagrams and the bytes
//! of TCP streams in their order, each with its [`Flow`]. VLAN tags, PPPoE, tunnels, extension headers and fragments are
//! undone on the way.
//!
//! - What came first wins, where fragments or segments overlap.
//! - A packet is never dropped silently: [`WireCounters`] says what became of each.
//! - Checksums are not verified. A mirror on the capturing host sees packets before the network card has filled them in.
//! - All tables have caps, in [`WireLimits`]. Time comes with the packets.
//!
//! What streams carry may be protected: [`tls`] reads it where the keys are known.

mod counters;
mod fast;
mod fragment;
mod hep;
mod inside;
mod ip;
mod layers;
mod link;
mod packet;
mod stream;
mod tcp;
pub mod tls;
mod tunnel;
mod tunnel_ports;
mod way;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use counters::WireCounters;
pub use hep::{Hep, HepContent, HepError, hep_length, looks_like_hep};
pub use packet::{LinkType, Packet};
pub use tunnel_ports::TunnelPorts;
pub use way::{PerWay, Way};

use crate::base::{Flow, Timestamp};
use fast::Fast;
use fragment::Fragments;
use tcp::Streams;
use tunnel_ports::PortTable;

/// Where the units go, inside this room: one copy of the code for all callers.
type Out<'o> = &'o mut dyn FnMut(Unit<'_>);

/// What the wire carried, of use to those who read SIP and RTP.
#[derive(Clone, Copy, Debug)]
pub enum Unit<'a> {
    Datagram(Datagram<'a>),
    Stream(StreamBytes<'a>),
}

/// One UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Capture time; of the fragment that completed it, where there were several.
    pub time: Timestamp,
    pub flow: Flow,
    pub payload: &'a [u8],
    /// The headers announce more bytes than there are: the snapshot length cut the packet, or they lie.
    pub truncated: bool,
}

/// Some bytes of one direction of a TCP connection, in their order.
#[derive(Clone, Copy, Debug)]
pub struct StreamBytes<'a> {
    /// Capture time of the packet that made the bytes available.
    pub time: Timestamp,
    pub flow: Flow,
    /// Empty when `event` is `End`.
    pub bytes: &'a [u8],
    pub event: StreamEvent,
}

/// How bytes of a stream relate to those before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// They follow what came before, or begin the stream.
    Data,
    /// Bytes were lost before these, or the stream was joined in its middle: the reader must resynchronise.
    Gap,
    /// Nothing follows: closed by its sender, reset, or forgotten. The same flow may begin anew.
    End,
}

/// The caps on all that the wire keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLimits {
    /// Datagrams that wait for fragments, at most. The oldest is evicted.
    pub fragment_datagrams: usize,
    /// Bytes of fragments that wait, at most. The oldest datagram is evicted.
    pub fragment_bytes: usize,
    /// Fragments of one datagram, at most. One with more is given up.
    pub fragments_per_datagram: usize,
    /// How long a datagram waits from its first fragment on.
    pub fragment_timeout: Duration,
    /// TCP streams followed, at most, one direction each. The one idle longest is evicted.
    pub tcp_streams: usize,
    /// Bytes held back behind a gap in one stream, at most. Then the gap is given up.
    pub tcp_stream_buffer_bytes: usize,
    /// Bytes held back in all streams, at most. Then the gap that waited longest is given up.
    pub tcp_buffer_bytes: usize,
    /// How long a gap is waited for.
    pub tcp_gap_wait: Duration,
    /// A stream without a segment for this long is forgotten.
    pub tcp_idle: Duration,
}

impl Default for WireLimits {
    fn default() -> Self {
        WireLimits {
            fragment_datagrams: 4096,
            fragment_bytes: 8 << 20,
            // 65,535 bytes over a path of 576 bytes are 119 fragments.
            fragments_per_datagram: 128,
            fragment_timeout: Duration::from_secs(30),
            tcp_streams: 32_768,
            tcp_stream_buffer_bytes: 256 << 10,
            tcp_buffer_bytes: 16 << 20,
            tcp_gap_wait: Duration::from_secs(2),
            tcp_idle: Duration::from_secs(3600),
        }
    }
}

/// Which TCP streams to follow: those with a port in `ports`, and those of which a segment passes `sniff`.
#[derive(Clone, Debug)]
pub struct TcpInterest {
    pub ports: Vec<u16>,
    /// Whether bytes look like the beginning of a message. Called for each segment on other ports: must be cheap.
    pub sniff: fn(&[u8]) -> bool,
}

/// Reads frames. See the module.
pub struct Wire {
    counters: WireCounters,
    /// `Timestamp::MAX` when nothing waits.
    next_timeout: Timestamp,
    streams: Streams,
    fragments: Fragments,
    tunnel_ports: PortTable,
}

impl Wire {
    pub fn new(limits: WireLimits, tcp: TcpInterest) -> Wire {
        Wire {
            counters: WireCounters::default(),
            next_timeout: Timestamp::MAX,
            streams: Streams::new(tcp, limits),
            fragments: Fragments::new(limits),
            tunnel_ports: PortTable::new(&TunnelPorts::default()),
        }
    }

    /// The same, with other ports for tunnels over UDP.
    pub fn with_tunnel_ports(self, ports: &TunnelPorts) -> Wire {
        Wire {
            tunnel_ports: PortTable::new(ports),
            ..self
        }
    }

    /// Reads one frame. It may give nothing (a fragment, a segment that nobody wants), one unit, or several (a TCP
    /// segment that fills a gap).
    #[inline]
    pub fn handle_packet(&mut self, packet: &Packet<'_>, out: &mut impl FnMut(Unit<'_>)) {
        self.counters.packets += 1;
        self.counters.bytes += packet.data.len() as u64;
        if packet.time >= self.next_timeout {
            self.handle_timeout(packet.time, out);
        }
        if packet.link == LinkType::Ethernet {
            match fast::read(packet, &self.tunnel_ports) {
                Fast::Datagram(datagram) => {
                    self.counters.datagrams += 1;
                    return out(Unit::Datagram(datagram));
                }
                Fast::Segment {
                    source_port,
                    destination_port,
                    payload,
                } if !self
                    .streams
                    .may_follow(source_port, destination_port, payload) =>
                {
                    self.counters.tcp_ignored += 1;
                    return;
                }
                _ => {}
            }
        }
        self.handle_slow(packet, out);
    }

    /// When [`Wire::handle_timeout`] has something to do next, should no packet come before. `None`: nothing waits.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        (self.next_timeout < Timestamp::MAX).then_some(self.next_timeout)
    }

    /// Gives up what was waited for long enough at `now`. [`Wire::handle_packet`] does so by itself; a quiet wire needs
    /// this, for bytes behind a gap would stay there.
    #[cold]
    #[inline(never)]
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut dyn FnMut(Unit<'_>)) {
        self.fragments.expire(now, &mut self.counters);
        self.streams.expire(now, &mut self.counters, out);
        self.set_next_timeout();
    }

    /// Gives out what is held back and ends every stream: no packet follows.
    pub fn finish(&mut self, now: Timestamp, out: &mut dyn FnMut(Unit<'_>)) {
        self.fragments.clear(&mut self.counters);
        self.streams.close(now, &mut self.counters, out);
        self.set_next_timeout();
    }

    /// What became of the packets so far.
    #[inline]
    pub fn counters(&self) -> &WireCounters {
        &self.counters
    }

    fn set_next_timeout(&mut self) {
        let waiting = [self.fragments.next_timeout(), self.streams.next_timeout()];
        self.next_timeout = waiting
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Timestamp::MAX);
    }
}
