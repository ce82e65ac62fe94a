//! What the two ends of a connection say in clear: SIP, or WebSocket messages of SIP.

use super::MAX_MESSAGE;
use crate::sip::Framer;
use crate::sip::websocket::{
    Reader, Upgrade, UpgradeStep, WebSocketCounters, frame_with_sip, whole_frame_with_sip,
};
use crate::wire::{PerWay, Way};

/// The beginnings of an HTTP request and of its answer.
const HTTP: [&[u8]; 2] = [b"GET ", b"HTTP/1."];

/// What the first bytes of a direction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// SIP, or nothing that is known.
    Sip,
    Http,
    /// A WebSocket frame, with a SIP message in it.
    Frame,
    /// There are too few to tell.
    Unclear,
}

impl Beginning {
    #[inline]
    pub(super) fn of(bytes: &[u8]) -> Beginning {
        // SIP begins with a letter, and of the methods none with G or H.
        match bytes.first() {
            None => Beginning::Unclear,
            Some(b'G' | b'H') => Beginning::of_http(bytes),
            Some(0x01 | 0x02 | 0x81 | 0x82) => Beginning::of_frame(bytes),
            Some(_) => Beginning::Sip,
        }
    }

    fn of_http(bytes: &[u8]) -> Beginning {
        if HTTP.iter().any(|start| bytes.starts_with(start)) {
            Beginning::Http
        } else if HTTP.iter().any(|start| start.starts_with(bytes)) {
            Beginning::Unclear
        } else {
            Beginning::Sip
        }
    }

    fn of_frame(bytes: &[u8]) -> Beginning {
        match frame_with_sip(bytes) {
            true => Beginning::Frame,
            false if bytes.len() < 32 => Beginning::Unclear,
            false => Beginning::Sip,
        }
    }
}

/// Both directions, which learn from each other.
#[derive(Debug, Default)]
pub(super) struct Talk {
    lanes: PerWay<Lane>,
}

#[derive(Debug)]
enum Lane {
    Undecided(Vec<u8>),
    Sip(Framer),
    Upgrade(Upgrade),
    WebSocket(Reader),
    /// Of no interest.
    Ignored,
}

impl Default for Lane {
    fn default() -> Self {
        Lane::Undecided(Vec::new())
    }
}

impl Talk {
    /// Takes bytes of one direction and adds the messages that they complete. `gap`: others were lost before them. Gives
    /// how many bytes were skipped.
    pub(super) fn push(
        &mut self,
        way: Way,
        gap: bool,
        bytes: &[u8],
        counters: &mut WebSocketCounters,
        messages: &mut Vec<Vec<u8>>,
    ) -> u64 {
        if gap {
            self.gap(way, counters);
        }
        match &mut self.lanes[way] {
            Lane::Ignored => bytes.len() as u64,
            Lane::WebSocket(reader) => {
                let before = counters.bytes_skipped;
                reader.push(bytes, counters, messages);
                counters.bytes_skipped - before
            }
            Lane::Upgrade(upgrade) => {
                let step = upgrade.push(bytes);
                self.upgrade(way, step, bytes, counters, messages)
            }
            Lane::Sip(framer) if joins_websocket(framer, bytes) => {
                self.join_midway(way, counters);
                self.push(way, false, bytes, counters, messages)
            }
            Lane::Sip(framer) => frame(framer, bytes, &mut |message| messages.push(message)),
            Lane::Undecided(_) => self.decide(way, bytes, counters, messages),
        }
    }

    /// Memory held, in bytes, about.
    pub(super) fn held_bytes(&self) -> usize {
        Way::BOTH
            .iter()
            .map(|&way| match &self.lanes[way] {
                Lane::Undecided(bytes) => bytes.capacity(),
                Lane::Sip(framer) => framer.waiting_bytes(),
                Lane::Upgrade(upgrade) => upgrade.held_bytes(),
                Lane::WebSocket(reader) => reader.held_bytes(),
                Lane::Ignored => 0,
            })
            .sum()
    }

    fn gap(&mut self, way: Way, counters: &mut WebSocketCounters) {
        let opposite_is_websocket = matches!(self.lanes[way.opposite()], Lane::WebSocket(_));
        match &mut self.lanes[way] {
            Lane::WebSocket(reader) => reader.gap(counters),
            Lane::Sip(framer) => framer.gap(),
            // The end of the upgrade may be what was lost.
            Lane::Upgrade(_) => self.join_midway(way, counters),
            Lane::Undecided(_) if opposite_is_websocket => self.join_midway(way, counters),
            Lane::Undecided(_) => {
                let mut framer = Framer::new(MAX_MESSAGE);
                framer.gap();
                self.lanes[way] = Lane::Sip(framer);
            }
            Lane::Ignored => {}
        }
    }

    fn join_midway(&mut self, way: Way, counters: &mut WebSocketCounters) {
        counters.midway += 1;
        self.lanes[way] = Lane::WebSocket(Reader::midway(MAX_MESSAGE));
    }

    fn upgrade(
        &mut self,
        way: Way,
        step: UpgradeStep,
        bytes: &[u8],
        counters: &mut WebSocketCounters,
        messages: &mut Vec<Vec<u8>>,
    ) -> u64 {
        let by_server = |lanes: &PerWay<Lane>| matches!(lanes[way.opposite()], Lane::WebSocket(_));
        match step {
            UpgradeStep::More => 0,
            UpgradeStep::Sip(end) => {
                counters.upgrades += u64::from(by_server(&self.lanes));
                self.lanes[way] = Lane::WebSocket(Reader::new(MAX_MESSAGE));
                let frames = bytes.get(end..).unwrap_or_default();
                self.push(way, false, frames, counters, messages)
            }
            UpgradeStep::Other(_) | UpgradeStep::Nothing => {
                counters.upgrades_other += 1;
                self.lanes = PerWay {
                    there: Lane::Ignored,
                    back: Lane::Ignored,
                };
                bytes.len() as u64
            }
        }
    }

    fn decide(
        &mut self,
        way: Way,
        bytes: &[u8],
        counters: &mut WebSocketCounters,
        messages: &mut Vec<Vec<u8>>,
    ) -> u64 {
        let Lane::Undecided(held) = &mut self.lanes[way] else {
            return 0;
        };
        held.extend_from_slice(bytes);
        let beginning = Beginning::of(held);
        if beginning == Beginning::Unclear {
            return 0;
        }
        let bytes = std::mem::take(held);
        match beginning {
            Beginning::Http => self.lanes[way] = Lane::Upgrade(Upgrade::default()),
            Beginning::Frame => self.join_midway(way, counters),
            Beginning::Sip | Beginning::Unclear => {
                self.lanes[way] = Lane::Sip(Framer::new(MAX_MESSAGE));
            }
        }
        self.push(way, false, &bytes, counters, messages)
    }
}

/// Whether what was taken for SIP is a WebSocket connection that was joined in its middle.
#[inline]
pub(super) fn joins_websocket(framer: &Framer, bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x01 | 0x02 | 0x81 | 0x82 | 0xc1 | 0xc2))
        && framer.waiting_bytes() == 0
        && whole_frame_with_sip(bytes)
}

/// Bytes of SIP to messages. Gives how many bytes were skipped.
#[inline]
pub(super) fn frame(framer: &mut Framer, bytes: &[u8], take: &mut impl FnMut(Vec<u8>)) -> u64 {
    framer.push(bytes);
    let skipped_before = framer.skipped_bytes();
    // An error says why bytes are skipped; how many, the framer counts.
    std::iter::from_fn(|| framer.next_message())
        .filter_map(Result::ok)
        .for_each(take);
    framer.skipped_bytes() - skipped_before
}
