//! What one side of a connection sends: its records, and how they are protected.

use std::collections::VecDeque;

use super::handshake::Messages;
use super::open::{Opened, Opener};
use super::record::{Record, Records};
use crate::base::Timestamp;

/// Records that may have been lost in one gap, and are jumped over. A message of SIP is one record, or a few.
const MAX_JUMP: u64 = 64;
/// Records of a handshake, at most, where it is not known which belonged to it: hello to Finished, and tickets.
const MAX_HANDSHAKE: u64 = 32;
/// Guesses at where a record begins, and records in a row that nothing opens, before a direction is given up.
pub(super) const MAX_FAILURES: u32 = 8;

/// Which keys protect what a direction sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epoch {
    /// TLS 1.2, after ChangeCipherSpec.
    Session,
    /// TLS 1.3, from the ServerHello on,
    Handshake,
    /// and after Finished.
    Traffic,
}

#[derive(Debug)]
pub(super) enum Protection {
    /// None yet.
    Clear,
    /// By keys that are not known.
    Sealed(Epoch),
    Open(Epoch, Box<Opener>),
    /// Of no use any more.
    Lost,
}

/// What waits for keys, or for what the other side says of them.
#[derive(Debug)]
pub(super) struct Waiting {
    pub time: Timestamp,
    /// `None`: bytes were lost here.
    pub record: Option<Record>,
}

#[derive(Debug)]
pub(super) struct End {
    pub records: Records,
    pub messages: Messages,
    pub protection: Protection,
    pub waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Number of the next record.
    sequence: u64,
    /// The number may be higher: records were lost.
    pub jumps: bool,
    /// Something that was sent was not handed out, and whoever reads on must know.
    pub gap: bool,
    /// Nobody waits for the keys any more: records that are protected are dropped.
    pub dormant: bool,
    pub failures: u32,
    pub early_records: u32,
}

impl Default for End {
    fn default() -> Self {
        End {
            records: Records::default(),
            messages: Messages::default(),
            protection: Protection::Clear,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sequence: 0,
            jumps: false,
            gap: false,
            dormant: false,
            failures: 0,
            early_records: 0,
        }
    }
}

/// What came of trying to open a record.
pub(super) enum Tried {
    Opened(Opened),
    /// After records that were lost.
    Found(Opened),
    Failed,
}

impl End {
    /// Records from now on are protected by other keys, and numbered from 0.
    pub(super) fn seal(&mut self, epoch: Epoch) {
        self.protection = Protection::Sealed(epoch);
        self.sequence = 0;
        self.jumps = false;
        self.messages.reset();
    }

    pub(super) fn give_up(&mut self) {
        self.protection = Protection::Lost;
        self.forget_waiting();
        self.messages.reset();
    }

    /// Bytes were lost.
    pub(super) fn lose(&mut self) {
        self.messages.reset();
        self.jumps = true;
        self.gap = true;
    }

    /// A protected record passed by unread.
    pub(super) fn pass(&mut self) {
        self.sequence += 1;
        self.gap = true;
    }

    pub(super) fn keep_waiting(&mut self, waiting: Waiting) {
        self.waiting_bytes += size_of::<Waiting>();
        self.waiting_bytes += waiting.record.as_ref().map_or(0, Record::length);
        self.waiting.push_back(waiting);
    }

    pub(super) fn put_back(&mut self, waiting: Waiting) {
        self.waiting_bytes += size_of::<Waiting>();
        self.waiting_bytes += waiting.record.as_ref().map_or(0, Record::length);
        self.waiting.push_front(waiting);
    }

    pub(super) fn next_waiting(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.waiting_bytes -= size_of::<Waiting>();
        self.waiting_bytes -= waiting.record.as_ref().map_or(0, Record::length);
        Some(waiting)
    }

    /// Gives how many bytes of records were dropped.
    pub(super) fn forget_waiting(&mut self) -> u64 {
        let mut bytes = 0;
        while let Some(waiting) = self.next_waiting() {
            bytes += waiting.record.map_or(0, |record| record.length() as u64);
        }
        bytes
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.waiting_bytes + self.records.held_bytes() + self.messages.held_bytes()
    }

    /// Opens a record with the keys in use; where records were lost, also with a higher number, and with the keys that
    /// follow: those of `traffic` after the handshake, the next generation after a KeyUpdate. Early data is not searched for.
    pub(super) fn open(
        &mut self,
        record: &Record,
        may_be_early: bool,
        traffic: impl FnOnce() -> Option<Opener>,
    ) -> Tried {
        let Protection::Open(epoch, opener) = &self.protection else {
            return Tried::Failed;
        };
        if let Some(opened) = opener.open(record, self.sequence) {
            self.sequence += 1;
            let jumps = std::mem::take(&mut self.jumps);
            return match jumps {
                true => Tried::Found(opened),
                false => Tried::Opened(opened),
            };
        }
        if may_be_early {
            return Tried::Failed;
        }
        let ahead = |opener: &Opener, from: u64| {
            (from..=from + MAX_JUMP + MAX_HANDSHAKE)
                .find_map(|sequence| Some((sequence, opener.open(record, sequence)?)))
        };
        if let Some((sequence, opened)) = ahead(opener, self.sequence + 1) {
            return self.found(sequence, opened);
        }
        let (next, from) = match epoch {
            Epoch::Session => return Tried::Failed,
            Epoch::Handshake => (traffic(), self.sequence.saturating_sub(MAX_HANDSHAKE)),
            Epoch::Traffic => (opener.next_generation(), 0),
        };
        let Some(next) = next else {
            return Tried::Failed;
        };
        match ahead(&next, from) {
            Some((sequence, opened)) => {
                self.protection = Protection::Open(Epoch::Traffic, Box::new(next));
                self.found(sequence, opened)
            }
            None => Tried::Failed,
        }
    }

    fn found(&mut self, sequence: u64, opened: Opened) -> Tried {
        self.sequence = sequence + 1;
        self.jumps = false;
        self.gap = true;
        self.messages.reset();
        Tried::Found(opened)
    }

    /// Nothing of the handshake was opened yet.
    pub(super) fn is_at_start_of_handshake(&self) -> bool {
        self.sequence == 0 && matches!(self.protection, Protection::Open(Epoch::Handshake, _))
    }

    /// A KeyUpdate was sent (RFC 8446 section 4.6.3).
    pub(super) fn update_keys(&mut self) {
        if let Protection::Open(Epoch::Traffic, opener) = &mut self.protection
            && let Some(next) = opener.next_generation()
        {
            **opener = next;
            self.sequence = 0;
        }
    }
}
