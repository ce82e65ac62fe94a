//! The frames of one direction to messages.

use super::WebSocketCounters;
use super::frame::{Header, Opcode, Parsed, carries_sip, parse, unmask};
use super::inflate::{Inflater, Refused};
use crate::sip::looks_like_sip;

/// A frame that says it is longer is none: no message is, by far.
const MAX_FRAME: u64 = 16 << 20;
/// The longest compressed message that is tried where framing was lost.
const MAX_TRIED: u64 = 16 << 10;

/// Reads one direction of a connection, from behind its upgrade. The messages do not depend on where the stream was cut
/// into pushes, as long as none of it is lost.
///
/// Memory: a message up to the cap, an inflater once a message was compressed, and a few bytes; where framing was lost, one
/// frame of at most 16 KiB.
#[derive(Debug)]
pub struct Reader {
    max_message: usize,
    state: State,
    /// Bytes that are part of a header, or in which a frame is looked for.
    pending: Vec<u8>,
    /// `pending` begins with a compressed frame that is to be tried when it is whole.
    trying: bool,
    message: Option<Assembled>,
    inflater: Option<Box<Inflater>>,
    /// Something before was not seen.
    unseen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    /// Inside the payload of a frame, of which so much was read.
    Payload(Header, u64),
    /// Framing was lost.
    Lost,
}

/// A message so far.
#[derive(Debug)]
struct Assembled {
    bytes: Vec<u8>,
    compressed: bool,
    too_long: bool,
}

impl Reader {
    /// For a direction whose upgrade was seen. `max_message`: the longest message, in bytes.
    pub fn new(max_message: usize) -> Reader {
        Reader {
            max_message,
            state: State::Header,
            pending: Vec::new(),
            trying: false,
            message: None,
            inflater: None,
            unseen: false,
        }
    }

    /// For a direction that is joined in mid-connection.
    pub fn midway(max_message: usize) -> Reader {
        Reader {
            state: State::Lost,
            unseen: true,
            ..Reader::new(max_message)
        }
    }

    /// Takes the next bytes and adds the SIP messages they complete to `messages`.
    pub fn push(
        &mut self,
        bytes: &[u8],
        counters: &mut WebSocketCounters,
        messages: &mut Vec<Vec<u8>>,
    ) {
        let mut joined = std::mem::take(&mut self.pending);
        // Where framing is lost, a segment is likely to begin with a frame.
        let mut likely = match std::mem::take(&mut self.trying) {
            true => joined.len() + bytes.len(),
            false => bytes.len(),
        };
        let mut input = bytes;
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
            input = &joined;
        }
        while let Some(used) = match self.state {
            State::Header => self.read_header(input, counters, messages),
            State::Payload(header, done) => {
                self.read_payload(input, header, done, counters, messages)
            }
            State::Lost => self.search(input, &mut likely, counters),
        } {
            input = input.get(used..).unwrap_or_default();
        }
        self.pending = input.to_vec();
    }

    /// Bytes were lost here.
    pub fn gap(&mut self, counters: &mut WebSocketCounters) {
        self.lose(counters);
        counters.bytes_skipped += std::mem::take(&mut self.pending).len() as u64;
        self.trying = false;
    }

    /// Memory held, in bytes, about.
    pub fn held_bytes(&self) -> usize {
        let message = self.message.as_ref();
        self.pending.capacity()
            + message.map_or(0, |message| message.bytes.capacity())
            + self.inflater.as_ref().map_or(0, |_| Inflater::BYTES)
    }

    fn lose(&mut self, counters: &mut WebSocketCounters) {
        if self.state != State::Lost {
            counters.lost += 1;
        }
        let message = self.message.take();
        counters.bytes_skipped += message.map_or(0, |message| message.bytes.len()) as u64;
        self.state = State::Lost;
        self.inflater = None;
        self.unseen = true;
    }

    /// Gives how many bytes were read; `None` when more are needed.
    fn read_header(
        &mut self,
        input: &[u8],
        counters: &mut WebSocketCounters,
        messages: &mut Vec<Vec<u8>>,
    ) -> Option<usize> {
        let (header, length) = match parse(input) {
            Parsed::Whole(header, length) => (header, length),
            Parsed::Partial => return None,
            Parsed::Invalid => {
                self.lose(counters);
                return Some(0);
            }
        };
        let in_place = match header.opcode {
            Opcode::Control => true,
            Opcode::Message => self.message.is_none(),
            Opcode::Continuation => self.message.is_some(),
        };
        if !in_place || header.payload > MAX_FRAME {
            self.lose(counters);
            return Some(0);
        }
        if header.opcode == Opcode::Message {
            self.message = Some(Assembled {
                bytes: Vec::new(),
                compressed: header.compressed,
                too_long: false,
            });
        }
        self.state = State::Payload(header, 0);
        if header.payload == 0 {
            self.end_frame(header, counters, messages);
        }
        Some(length)
    }

    fn read_payload(
        &mut self,
        input: &[u8],
        header: Header,
        done: u64,
        counters: &mut WebSocketCounters,
        messages: &mut Vec<Vec<u8>>,
    ) -> Option<usize> {
        let left = usize::try_from(header.payload - done).unwrap_or(usize::MAX);
        let part = input.get(..left.min(input.len())).unwrap_or_default();
        if part.is_empty() {
            return None;
        }
        if header.opcode != Opcode::Control
            && let Some(message) = &mut self.message
        {
            message.take(part, header.mask, done, self.max_message);
        }
        let done = done + part.len() as u64;
        self.state = State::Payload(header, done);
        if done == header.payload {
            self.end_frame(header, counters, messages);
        }
        Some(part.len())
    }

    fn end_frame(
        &mut self,
        header: Header,
        counters: &mut WebSocketCounters,
        messages: &mut Vec<Vec<u8>>,
    ) {
        self.state = State::Header;
        if header.opcode == Opcode::Control || !header.last {
            return;
        }
        let Some(message) = self.message.take() else {
            return;
        };
        let bytes = match (message.too_long, message.compressed) {
            (true, compressed) => {
                // What it would have left in the window is not there.
                if compressed {
                    self.inflater = None;
                    self.unseen = true;
                }
                Err(Refused::TooLong)
            }
            (false, false) => Ok(message.bytes),
            (false, true) => self.inflate(&message.bytes),
        };
        match bytes {
            Ok(bytes) if bytes.iter().all(|byte| b"\r\n".contains(byte)) => {
                counters.keep_alives += 1;
            }
            Ok(bytes) if looks_like_sip(&bytes) => {
                counters.messages += 1;
                messages.push(bytes);
            }
            Ok(_) => counters.other_messages += 1,
            Err(Refused::TooLong) => counters.too_long += 1,
            Err(Refused::Undecodable) => counters.undecodable += 1,
        }
    }

    fn inflate(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
        let unseen = self.unseen;
        let inflater = self.inflater.get_or_insert_with(|| {
            Box::new(match unseen {
                true => Inflater::midway(),
                false => Inflater::at_start(),
            })
        });
        inflater.inflate(bytes, self.max_message)
    }

    /// Looks for a frame that begins like SIP. `likely`: how many bytes there are from where one may begin compressed.
    fn search(
        &mut self,
        input: &[u8],
        likely: &mut usize,
        counters: &mut WebSocketCounters,
    ) -> Option<usize> {
        for at in 0..input.len() {
            let rest = input.get(at..).unwrap_or_default();
            let found = match rest.first() {
                Some(0x01 | 0x02 | 0x81 | 0x82) => carries_sip(rest),
                Some(0xc1 | 0xc2) if rest.len() == *likely => inflates_to_sip(rest),
                _ => continue,
            };
            let skip = match found {
                Some(false) => continue,
                Some(true) => {
                    self.state = State::Header;
                    at
                }
                // The rest waits; what is before it does not.
                None if at == 0 => {
                    self.trying = rest.len() == *likely;
                    return None;
                }
                None => at,
            };
            counters.bytes_skipped += skip as u64;
            return Some(skip);
        }
        counters.bytes_skipped += input.len() as u64;
        (!input.is_empty()).then_some(input.len())
    }
}

impl Assembled {
    fn take(&mut self, part: &[u8], mask: [u8; 4], offset: u64, max: usize) {
        if self.too_long || self.bytes.len() + part.len() > max {
            self.too_long = true;
            self.bytes = Vec::new();
            return;
        }
        let from = self.bytes.len();
        self.bytes.extend_from_slice(part);
        unmask(self.bytes.get_mut(from..).unwrap_or_default(), mask, offset);
    }
}

/// Whether bytes begin with a whole frame of SIP, as far as it can be told without what was sent before it. Dearer than
/// [`frame_with_sip`](super::frame_with_sip): a compressed one is inflated.
pub fn whole_frame_with_sip(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(0xc1 | 0xc2) => inflates_to_sip(bytes) == Some(true),
        _ => carries_sip(bytes) == Some(true),
    }
}

/// Whether bytes are a whole compressed frame of SIP; `None` where more of it is needed.
fn inflates_to_sip(bytes: &[u8]) -> Option<bool> {
    let (header, length) = match parse(bytes) {
        Parsed::Whole(header, length) => (header, length),
        Parsed::Partial => return None,
        Parsed::Invalid => return Some(false),
    };
    if !header.last || header.payload > MAX_TRIED {
        return Some(false);
    }
    let payload = bytes.get(length..length + header.payload as usize)?;
    let mut payload = payload.to_vec();
    unmask(&mut payload, header.mask, 0);
    let inflated = Inflater::midway().inflate(&payload, MAX_TRIED as usize);
    // A keep-alive is often what comes first, and what later messages refer to.
    Some(inflated.is_ok_and(|bytes| looks_like_sip(&bytes) || bytes == b"\r\n\r\n"))
}
