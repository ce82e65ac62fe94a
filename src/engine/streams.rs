//! SIP over TCP: bytes of connections to messages.

use crate::base::{Flow, WireMap};
use crate::sip::Framer;
use crate::wire::{StreamBytes, StreamEvent};

/// The longest message that is put together: SDP and headers take a few kilobytes, pictures of callers more.
const MAX_MESSAGE: usize = 256 << 10;
/// Connections read at a time. The wire forgets idle ones and says so; this cap is above the wire's own.
const MAX_STREAMS: usize = 65_536;

/// One framer for each direction of each connection.
#[derive(Debug, Default)]
pub struct SipStreams {
    framers: WireMap<Flow, Framer>,
}

impl SipStreams {
    /// Takes bytes, gives the messages they complete, and returns how many bytes had to be skipped.
    pub fn push(&mut self, bytes: &StreamBytes<'_>, messages: &mut Vec<Vec<u8>>) -> u64 {
        if bytes.event == StreamEvent::End {
            self.framers.remove(&bytes.flow);
            return 0;
        }
        if self.framers.len() >= MAX_STREAMS && !self.framers.contains_key(&bytes.flow) {
            return bytes.bytes.len() as u64;
        }
        let framer = self
            .framers
            .entry(bytes.flow)
            .or_insert_with(|| Framer::new(MAX_MESSAGE));
        if bytes.event == StreamEvent::Gap {
            framer.gap();
        }
        framer.push(bytes.bytes);
        let skipped_before = framer.skipped_bytes();
        // An error says why bytes are skipped; how many, the framer counts.
        messages.extend(std::iter::from_fn(|| framer.next_message()).filter_map(Result::ok));
        framer.skipped_bytes() - skipped_before
    }
}
