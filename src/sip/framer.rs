//! SIP on TCP: whole messages out of one direction of a connection (RFC 3261 section 18.3).

use std::collections::VecDeque;

use memchr::memchr;

use super::error::FrameError;
use super::message::{
    MAX_METHOD_BYTES, content_length, decode_head, is_refused_start_line, is_start_line,
};
use super::scan::is_token_byte;
use super::table::HeaderTable;

/// The longest message head, start line included; what is longer is garbage.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The longest start line: a longer one is no start line.
const MAX_START_LINE_BYTES: usize = 8 * 1024;
/// An empty buffer larger than this is given back.
const SPARE_BYTES: usize = 16 * 1024;

/// Cuts a byte stream into messages. After each [`push`](Framer::push), [`next_message`](Framer::next_message) is called
/// until it gives `None`; the messages do not depend on where the stream was cut into pushes.
///
/// Messages are framed by Content-Length. One without it has no body, unless it has a Content-Type: then its body ends
/// where the next start line follows, and the message waits for that, or for [`finish`](Framer::finish).
///
/// Keep-alive line ends between messages are skipped. Where a message should start and no start line does, framing is
/// lost, which is reported once, and what comes is skipped up to the next start line.
///
/// Memory: what `next_message` leaves behind is at most the message cap and one start line; of garbage nothing is kept.
/// Should a caller push on without asking for messages, all that waits is discarded. Every byte pushed ends as part of a
/// message, as keep-alive, as skipped, or is still waiting.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Where in `buffer` the message that is being read begins.
    start: usize,
    /// Where the line that is being read begins.
    line: usize,
    /// Up to where a line end was looked for.
    scanned: usize,
    state: State,
    max_message: usize,
    /// What is told before anything else is read: an error, or what was whole before a gap.
    ready: VecDeque<Result<Vec<u8>, FrameError>>,
    skipped_bytes: u64,
    keep_alive_bytes: u64,
}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A start line is expected.
    Start,
    /// Framing was lost, and that is known to the caller: a start line is looked for.
    Lost,
    /// As `Lost`, inside a line that is no start line.
    LostMidLine,
    /// Headers, up to the empty line.
    Head,
    /// A body of known length: how long the head and the whole message are.
    Body { head: usize, message: usize },
    /// A body of unknown length: how long the head before it is.
    OpenBody { head: usize },
}

impl Framer {
    /// `max_message` is the longest message, head and body, in bytes.
    pub fn new(max_message: usize) -> Framer {
        Framer {
            buffer: Vec::new(),
            start: 0,
            line: 0,
            scanned: 0,
            state: State::Start,
            max_message,
            ready: VecDeque::new(),
            skipped_bytes: 0,
            keep_alive_bytes: 0,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.waiting_bytes() > self.max_message.saturating_add(MAX_START_LINE_BYTES + 2) {
            self.lose(self.buffer.len(), FrameError::Garbage);
        }
        self.reclaim();
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of the stream were lost here, and the next start line is looked for. Of a message that is being read, the
    /// head is given if it is whole, without its body: half a session description tells half-truths.
    pub fn gap(&mut self) {
        self.read_all();
        let have = self.waiting_bytes();
        match self.state {
            State::Body { head, .. } | State::OpenBody { head } => {
                let head = self.take(self.start + head);
                self.ready.push_back(Ok(head));
            }
            State::Head => self.ready.push_back(Err(FrameError::Cut { have })),
            State::Start if have > 0 => self.ready.push_back(Err(FrameError::Cut { have })),
            State::Start | State::Lost | State::LostMidLine => {}
        }
        self.skip_to(self.buffer.len());
        self.state = State::Lost;
    }

    /// The stream has ended: a message whose body has no length is whole. Anything else that is unfinished goes as in
    /// [`gap`](Framer::gap).
    pub fn finish(&mut self) {
        self.read_all();
        if let State::OpenBody { head } = self.state {
            let message = self.waiting_bytes();
            self.state = State::Body { head, message };
        }
        self.gap();
    }

    /// The next whole message, or what went wrong on the way to it; `None` when more bytes are needed.
    pub fn next_message(&mut self) -> Option<Result<Vec<u8>, FrameError>> {
        while self.ready.is_empty() {
            if !self.advance() {
                self.reclaim();
                return None;
            }
        }
        self.ready.pop_front()
    }

    fn read_all(&mut self) {
        while self.advance() {}
    }

    /// Reads a line or takes a message. Gives whether there is more to do.
    fn advance(&mut self) -> bool {
        match self.state {
            State::Start | State::Lost => self.read_start(),
            State::LostMidLine => self.skip_line(),
            State::Head => self.read_head(),
            State::OpenBody { head } => self.read_open_body(head),
            State::Body { message, .. } => {
                let whole = message <= self.waiting_bytes();
                if whole {
                    let message = self.take(self.start + message);
                    self.ready.push_back(Ok(message));
                }
                whole
            }
        }
    }

    /// Bytes that belong to no message: garbage, and messages that were cut or too long.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Line ends between messages.
    pub fn keep_alive_bytes(&self) -> u64 {
        self.keep_alive_bytes
    }

    /// Bytes pushed that belong to nothing yet.
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Looks at one line where a message may start.
    fn read_start(&mut self) -> bool {
        let Some((from, end)) = self.next_line() else {
            if may_start(self.partial_line()) {
                return false;
            }
            self.lose_partial_line();
            return true;
        };
        let line = self.line_without_end(from, end);
        if line.is_empty() {
            self.keep_alive_bytes += (end - from) as u64;
            self.start = end;
        } else if may_start(line) && self.begins_message(line) {
            self.state = State::Head;
        } else {
            self.lose(end, FrameError::Garbage);
        }
        true
    }

    /// Where a message is due, one that will be refused is framed like any other: so who refuses it can say why, and what
    /// follows it is not lost.
    fn begins_message(&self, line: &[u8]) -> bool {
        is_start_line(line) || self.state == State::Start && is_refused_start_line(line)
    }

    fn lose_partial_line(&mut self) {
        self.lose(self.buffer.len(), FrameError::Garbage);
        self.state = State::LostMidLine;
    }

    /// Skips the rest of a line that is no start line.
    fn skip_line(&mut self) -> bool {
        match self.next_line() {
            Some((_, end)) => {
                self.skip_to(end);
                self.state = State::Lost;
                true
            }
            None => {
                self.skip_to(self.buffer.len());
                false
            }
        }
    }

    /// Reads header lines up to the empty one, then decides how long the message is.
    fn read_head(&mut self) -> bool {
        let line = self.next_line();
        let head = line.map_or(self.buffer.len(), |(_, end)| end) - self.start;
        let limit = MAX_HEAD_BYTES.min(self.max_message);
        if head > limit {
            let until = self.start + head;
            self.lose(until, FrameError::HeadTooLong { limit });
            if line.is_none() {
                self.state = State::LostMidLine;
            }
            return true;
        }
        let Some((from, end)) = line else {
            return false;
        };
        if self.line_without_end(from, end).is_empty() {
            self.frame_body(head);
        }
        true
    }

    fn frame_body(&mut self, head: usize) {
        let end = self.start + head;
        let bytes = self.buffer.get(self.start..end).unwrap_or(&[]);
        let (length, has_type) = body_headers(bytes);
        self.state = match length {
            Some(body) => {
                let length = head.saturating_add(body);
                let limit = self.max_message;
                if length > limit {
                    return self.lose(end, FrameError::MessageTooLong { length, limit });
                }
                State::Body {
                    head,
                    message: length,
                }
            }
            None if has_type => State::OpenBody { head },
            None => State::Body {
                head,
                message: head,
            },
        };
    }

    /// Looks for the start line that ends a body without a length. When none comes within the message cap, there was no
    /// body, and what followed the head is read again as garbage.
    fn read_open_body(&mut self, head: usize) -> bool {
        let next = self.next_line();
        let (line, until) = match next {
            Some((from, end)) => (self.line_without_end(from, end), end),
            None => (self.partial_line(), self.buffer.len()),
        };
        let may_end_body = may_start(line);
        match next {
            Some((from, _)) if may_end_body && is_start_line(line) => {
                let message = from - self.start;
                self.state = State::Body { head, message };
                true
            }
            None if may_end_body => false,
            _ if until - self.start > self.max_message => {
                let message = head;
                self.state = State::Body { head, message };
                true
            }
            next => next.is_some(),
        }
    }

    /// The message that ends at `end`.
    fn take(&mut self, end: usize) -> Vec<u8> {
        let message = self.buffer.get(self.start..end).unwrap_or(&[]).to_vec();
        self.begin_at(end);
        self.state = State::Start;
        message
    }

    /// Framing was lost in what ends at `until`.
    fn lose(&mut self, until: usize, error: FrameError) {
        if self.state != State::Lost {
            self.ready.push_back(Err(error));
        }
        self.skip_to(until);
        self.state = State::Lost;
    }

    fn skip_to(&mut self, until: usize) {
        self.skipped_bytes += (until - self.start) as u64;
        self.begin_at(until);
    }

    fn begin_at(&mut self, at: usize) {
        self.start = at;
        self.line = at;
        self.scanned = at;
    }

    /// The next whole line: where it begins and where the next begins. Each byte is looked at once.
    fn next_line(&mut self) -> Option<(usize, usize)> {
        let unread = self.buffer.get(self.scanned..).unwrap_or(&[]);
        let Some(length) = memchr(b'\n', unread) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let from = self.line;
        self.line = self.scanned + length + 1;
        self.scanned = self.line;
        Some((from, self.line))
    }

    /// What is there of the line that is being read.
    fn partial_line(&self) -> &[u8] {
        self.line_without_end(self.line, self.buffer.len())
    }

    fn line_without_end(&self, from: usize, end: usize) -> &[u8] {
        let line = self.buffer.get(from..end).unwrap_or(&[]);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// Gives back the room of what was read, at a cost that is in proportion to what was read.
    fn reclaim(&mut self) {
        let read = self.start;
        if read == self.buffer.len() {
            self.buffer.clear();
            if self.buffer.capacity() > SPARE_BYTES {
                self.buffer = Vec::new();
            }
        } else if read > self.buffer.len() / 2 {
            self.buffer.drain(..read);
        } else {
            return;
        }
        self.start = 0;
        self.line -= read;
        self.scanned -= read;
    }
}

/// Content-Length, and whether there is a Content-Type.
fn body_headers(head: &[u8]) -> (Option<usize>, bool) {
    let head = decode_head(head);
    let Ok(text) = std::str::from_utf8(&head) else {
        return (None, false);
    };
    let headers = memchr(b'\n', &head).and_then(|at| text.get(at + 1..));
    let (table, _) = HeaderTable::parse(headers.unwrap_or(""));
    (
        content_length(&table),
        table.first("Content-Type").is_some(),
    )
}

/// Whether a line, whole or so far, may be a start line. What begins a line that may, may itself: so the answer does not
/// depend on how much of the line has come.
fn may_start(line: &[u8]) -> bool {
    let method_end = line
        .iter()
        .take(MAX_METHOD_BYTES)
        .position(|&byte| !is_token_byte(byte));
    match method_end.and_then(|end| line.get(end)) {
        None => line.len() < MAX_METHOD_BYTES,
        Some(b' ' | b'\t' | b'/' | b'\r') => line.len() <= MAX_START_LINE_BYTES,
        Some(_) => false,
    }
}

#[cfg(test)]
#[path = "framer_tests.rs"]
mod tests;
