//! Records out of one direction of a connection (RFC 8446 section 5.1).

/// Type, version, length.
pub(super) const HEADER: usize = 5;
/// The longest body: 2^14 bytes, and what TLS 1.2 lets protection add.
const MAX_BODY: usize = (1 << 14) + 2048;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// Whether the first bytes of a direction may be a record, as far as they go.
#[inline]
pub fn looks_like_tls(bytes: &[u8]) -> bool {
    !bytes.is_empty() && plausible(bytes)
}

/// Whether bytes may be a header, as far as they go.
fn plausible(bytes: &[u8]) -> bool {
    let may = |at: usize, test: &dyn Fn(u8) -> bool| bytes.get(at).is_none_or(|&byte| test(byte));
    may(0, &|kind| {
        (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind)
    }) && may(1, &|major| major == 3)
        && may(2, &|minor| minor <= 4)
        && body_length(bytes).is_none_or(|length| (1..=MAX_BODY).contains(&length))
}

fn body_length(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low] = *bytes.first_chunk()?;
    Some(u16::from_be_bytes([high, low]).into())
}

/// One record, as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub header: [u8; HEADER],
    pub body: Vec<u8>,
}

impl Record {
    pub(super) fn kind(&self) -> u8 {
        self.header[0]
    }

    pub(super) fn length(&self) -> usize {
        HEADER + self.body.len()
    }
}

/// Cuts a direction into records. Where framing is lost it is looked for, and each record that is found is only a guess: one
/// that is [rejected](Records::reject) is searched through.
///
/// Memory: what is pushed, less whole records, so one record at most.
#[derive(Debug, Default)]
pub(super) struct Records {
    buffer: Vec<u8>,
    start: usize,
    lost: bool,
}

impl Records {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.reclaim();
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes were lost here.
    pub(super) fn gap(&mut self) {
        self.buffer.clear();
        self.start = 0;
        self.lost = true;
    }

    /// The next record is a guess.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// The next whole record, to be accepted or rejected; `None` when more bytes are needed.
    pub(super) fn peek(&mut self) -> Option<Record> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            if rest.is_empty() {
                self.reclaim();
                return None;
            }
            if !plausible(rest) || (self.lost && !self.is_chained(rest)) {
                self.lost = true;
                self.start += 1;
                continue;
            }
            let length = body_length(rest)?;
            let header = *rest.first_chunk()?;
            let body = rest.get(HEADER..HEADER + length)?.to_vec();
            return Some(Record { header, body });
        }
    }

    pub(super) fn accept(&mut self, record: &Record) {
        self.start += record.length();
        self.lost = false;
    }

    pub(super) fn reject(&mut self) {
        self.start += 1;
        self.lost = true;
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether what follows a record may be another.
    fn is_chained(&self, rest: &[u8]) -> bool {
        let next = body_length(rest).and_then(|length| rest.get(HEADER + length..));
        next.is_none_or(plausible)
    }

    fn reclaim(&mut self) {
        if self.start >= self.buffer.len() {
            self.buffer.clear();
            if self.buffer.capacity() > MAX_BODY {
                self.buffer = Vec::new();
            }
        } else if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
        } else {
            return;
        }
        self.start = 0;
    }
}
