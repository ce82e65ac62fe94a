//! The few handshake messages that matter (RFC 5246 section 7.4, RFC 8446 section 4).

use super::secrets::ClientRandom;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const FINISHED: u8 = 20;
const KEY_UPDATE: u8 = 24;
const ENCRYPT_THEN_MAC: u16 = 22;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;
/// A longer message is skipped: hellos with post-quantum keys take two kilobytes.
const MAX_MESSAGE: usize = 32 << 10;

/// The random of a ServerHello that asks for another ClientHello (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    ClientHello(ClientHello),
    ServerHello(ServerHello),
    Finished,
    KeyUpdate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    pub random: ClientRandom,
    /// Early data may follow.
    pub early_data: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerHello {
    pub random: [u8; 32],
    /// 0x0303 for TLS 1.2, 0x0304 for TLS 1.3.
    pub version: u16,
    pub suite: u16,
    pub compressed: bool,
    /// RFC 7366.
    pub encrypt_then_mac: bool,
}

/// Puts the handshake messages of one direction together out of records.
#[derive(Debug, Default)]
pub(super) struct Messages {
    buffer: Vec<u8>,
    /// Bytes of a message that nobody wants.
    skip: usize,
}

impl Messages {
    pub(super) fn push(&mut self, bytes: &[u8], take: &mut impl FnMut(Message)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let skipped = self.skip.min(rest.len());
            self.skip -= skipped;
            rest = rest.get(skipped..).unwrap_or_default();
            let wanted = self.missing().min(rest.len());
            let (part, after) = rest.split_at(wanted);
            self.buffer.extend_from_slice(part);
            rest = after;
            if let Some(&[kind, a, b, c]) = self.buffer.first_chunk() {
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                let known = [CLIENT_HELLO, SERVER_HELLO, FINISHED, KEY_UPDATE].contains(&kind);
                if !known || length > MAX_MESSAGE {
                    self.skip = length;
                    self.buffer.clear();
                } else if self.buffer.len() == 4 + length {
                    let body = self.buffer.get(4..).unwrap_or_default();
                    if let Some(message) = read(kind, body) {
                        take(message);
                    }
                    self.buffer.clear();
                }
            }
        }
    }

    /// Bytes were lost.
    pub(super) fn reset(&mut self) {
        *self = Messages::default();
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Bytes up to the end of the header, or of the message.
    fn missing(&self) -> usize {
        match self.buffer.first_chunk() {
            Some(&[_, a, b, c]) => 4 + u32::from_be_bytes([0, a, b, c]) as usize,
            None => 4,
        }
        .saturating_sub(self.buffer.len())
    }
}

fn read(kind: u8, body: &[u8]) -> Option<Message> {
    match kind {
        CLIENT_HELLO => client_hello(body).map(Message::ClientHello),
        SERVER_HELLO => server_hello(body).map(Message::ServerHello),
        FINISHED => Some(Message::Finished),
        KEY_UPDATE => Some(Message::KeyUpdate),
        _ => None,
    }
}

fn client_hello(body: &[u8]) -> Option<ClientHello> {
    let mut rest = body;
    let _version = number(&mut rest)?;
    let random = *take(&mut rest, 32)?.first_chunk()?;
    let _session = short(&mut rest)?;
    let suites = number(&mut rest)?.into();
    take(&mut rest, suites)?;
    let _compressions = short(&mut rest)?;
    let early_data = extensions(rest).any(|(kind, _)| kind == EARLY_DATA);
    Some(ClientHello { random, early_data })
}

/// `None` also for a request for another ClientHello.
fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let mut rest = body;
    let legacy_version = number(&mut rest)?;
    let random = *take(&mut rest, 32)?.first_chunk()?;
    let _session = short(&mut rest)?;
    let suite = number(&mut rest)?;
    let compression = *take(&mut rest, 1)?.first()?;
    let selected = extensions(rest).find(|(kind, _)| *kind == SUPPORTED_VERSIONS);
    let version = match selected {
        Some((_, mut value)) => number(&mut value)?,
        None => legacy_version,
    };
    (random != RETRY).then(|| ServerHello {
        random,
        version,
        suite,
        compressed: compression != 0,
        encrypt_then_mac: extensions(rest).any(|(kind, _)| kind == ENCRYPT_THEN_MAC),
    })
}

/// Types and values, up to the first that does not fit.
fn extensions(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    let length = number(&mut rest).unwrap_or(0).into();
    let mut rest = rest.get(..length).unwrap_or(rest);
    std::iter::from_fn(move || {
        let kind = number(&mut rest)?;
        let length = number(&mut rest)?.into();
        Some((kind, take(&mut rest, length)?))
    })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2)?
        .first_chunk()
        .map(|bytes| u16::from_be_bytes(*bytes))
}

/// A vector whose length is one byte.
fn short<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = *take(rest, 1)?.first()?;
    take(rest, length.into())
}
