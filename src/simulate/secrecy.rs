//! SRTP in simulated calls: a key for each side, in its SDP, and its packets protected with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Voice;
use super::packet::{Body, Packet, write_packet};
use super::random::Random;
use crate::base::{Secret, Side};
use crate::rtp::{KeyOptions, SrtpKey, SrtpSender, Suite};

/// What protects the packets of one side.
#[derive(Debug)]
pub(super) struct Secrecy {
    key: SrtpKey,
    /// By SSRC: each has its own rollover counter.
    senders: Vec<(u32, SrtpSender)>,
    plain: Vec<u8>,
}

impl Secrecy {
    pub fn new(suite: Suite, seed: u64, side: Side) -> Option<Secrecy> {
        let master = Secret::new(master(suite, seed, side));
        let key = SrtpKey::new(suite, master, KeyOptions::default()).ok()?;
        Some(Secrecy {
            key,
            senders: Vec::new(),
            plain: Vec::new(),
        })
    }

    /// Appends the packet's bytes as they are on the wire.
    pub fn write_packet(
        &mut self,
        packet: &Packet,
        voice: &Voice,
        scratch: &mut Vec<i16>,
        out: &mut Vec<u8>,
    ) {
        self.plain.clear();
        write_packet(packet, voice, scratch, &mut self.plain);
        let known = self
            .senders
            .iter()
            .position(|(ssrc, _)| *ssrc == packet.ssrc);
        let at = known.unwrap_or_else(|| {
            let sender = SrtpSender::new(self.key.clone(), 0);
            self.senders.push((packet.ssrc, sender));
            self.senders.len() - 1
        });
        let sender = &mut self.senders[at].1;
        // Packets that are written here have whole headers.
        let _ = match packet.body {
            Body::Report { .. } => sender.seal_rtcp(&self.plain, out),
            _ => sender.seal(&self.plain, out),
        };
    }
}

/// Key and salt of a side, as its SDP tells them.
pub(super) fn key_text(suite: Suite, seed: u64, side: Side) -> String {
    STANDARD.encode(master(suite, seed, side))
}

fn master(suite: Suite, seed: u64, side: Side) -> Vec<u8> {
    let mut random = Random::of(seed, &[0x7372_7470, side as u64]);
    let bytes = std::iter::repeat_with(|| random.next_u32() as u8);
    bytes.take(suite.key_len() + suite.salt_len()).collect()
}
