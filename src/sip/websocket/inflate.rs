//! permessage-deflate (RFC 7692): compressed messages inflated, each under a cap.

use flate2::{Decompress, FlushDecompress, Status};

/// What a sender leaves off the end of each message (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// How far back a message may refer (RFC 1951 section 3.2.5).
const WINDOW: usize = 32 << 10;
/// A message may be so much longer inflated than it was, and as long as `FLOOR` in any case. SIP shrinks to a twentieth at
/// the most, one that repeats another to next to nothing.
const RATIO: usize = 64;
const FLOOR: usize = 16 << 10;
/// Room made at a time.
const STEP: usize = 4096;

/// One direction's inflater, with its window.
///
/// The window is kept from message to message whether that was negotiated or not: a sender that promised not to refer back
/// does not. So the parameters of the extension need not be known.
#[derive(Debug)]
pub(super) struct Inflater {
    stream: Decompress,
    /// What came before was not seen: the window holds zeros in its place, which no SIP message has.
    unseen: bool,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooLong,
    /// Not deflated, or it refers to what was not seen.
    Undecodable,
}

impl Inflater {
    /// Of a stream whose beginning was seen.
    pub(super) fn at_start() -> Inflater {
        Inflater {
            stream: Decompress::new(false),
            unseen: false,
        }
    }

    /// Of a stream of which something was lost.
    pub(super) fn midway() -> Inflater {
        let mut inflater = Inflater::at_start();
        inflater.unseen = true;
        // One stored block of zeros (RFC 1951 section 3.2.4) fills the window.
        let mut block = vec![0; 5 + WINDOW];
        block.splice(..5, [0x00, 0x00, 0x80, 0xff, 0x7f]);
        // It is well-formed; and if it were not, nothing could be inflated after it, which is counted.
        let _ = inflater.run(&block, WINDOW + STEP);
        inflater
    }

    /// Memory held, about: the window and tables, as the library has them.
    pub(super) const BYTES: usize = 48 << 10;

    /// One message. After a refusal the stream is that of one of which something was lost.
    pub(super) fn inflate(&mut self, message: &[u8], cap: usize) -> Result<Vec<u8>, Refused> {
        let cap = cap.min(FLOOR + message.len().saturating_mul(RATIO));
        let mut inflated = self.run(message, cap);
        if let Ok(Done { ended: false, .. }) = inflated {
            let tail = inflated.and_then(|so_far| {
                let room = cap - so_far.bytes.len();
                let rest = self.run(&TAIL, room)?;
                Ok(so_far.then(rest))
            });
            inflated = tail;
        }
        let result = match inflated {
            Ok(done) => {
                if done.ended {
                    *self = Inflater::midway();
                }
                match self.unseen && done.bytes.contains(&0) {
                    true => return Err(Refused::Undecodable),
                    false => Ok(done.bytes),
                }
            }
            Err(refused) => Err(refused),
        };
        if result.is_err() {
            *self = Inflater::midway();
        }
        result
    }

    fn run(&mut self, mut input: &[u8], cap: usize) -> Result<Done, Refused> {
        let mut bytes = Vec::new();
        loop {
            if bytes.len() == bytes.capacity() {
                bytes.reserve(STEP);
            }
            let (read, written) = (self.stream.total_in(), bytes.len());
            let status = self
                .stream
                .decompress_vec(input, &mut bytes, FlushDecompress::Sync)
                .map_err(|_| Refused::Undecodable)?;
            let read = (self.stream.total_in() - read) as usize;
            input = input.get(read..).unwrap_or_default();
            if bytes.len() > cap {
                return Err(Refused::TooLong);
            }
            let full = bytes.len() == bytes.capacity();
            let stuck = read == 0 && bytes.len() == written;
            match status {
                Status::StreamEnd => return Ok(Done { bytes, ended: true }),
                _ if input.is_empty() && !full => {
                    return Ok(Done {
                        bytes,
                        ended: false,
                    });
                }
                _ if stuck && !full => return Err(Refused::Undecodable),
                _ => {}
            }
        }
    }
}

/// What came out.
struct Done {
    bytes: Vec<u8>,
    /// The sender ended its stream with this message (RFC 7692 section 7.2.3.4).
    ended: bool,
}

impl Done {
    fn then(mut self, rest: Done) -> Done {
        self.bytes.extend(rest.bytes);
        self.ended = rest.ended;
        self
    }
}
