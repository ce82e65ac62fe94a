//! What was asked about the recording of a call, by whom, and what follows from it.
//!
//! A pause is of the call: whoever asks for it, its audio is in nobody's file. It lasts until everybody who asked for one has
//! asked to go on. That a call is not to be recorded at all, or kept, is each tenant's own affair.

use smallvec::SmallVec;

use crate::base::{InteractionId, RecordingId, Side, TenantId, Timestamp};
pub use crate::directory::ControlAction;
use crate::engine::event::{Disposition, Ownership};
use crate::engine::plan::CallKey;

/// Things that were asked of one call, as far as they changed something. The last place is kept for a pause: a call that was
/// paused and resumed too often stays paused.
pub const MAX_CONTROL_NOTES: usize = 256;

/// How something was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlBy {
    /// A header of a SIP message.
    Header,
    /// `a=recordpref` (RFC 7866).
    Preference,
    /// Keys, as telephone events or in INFO.
    Keys,
    /// A person or a program, by the daemon's socket.
    Request,
}

impl ControlBy {
    pub fn name(self) -> &'static str {
        match self {
            ControlBy::Header => "header",
            ControlBy::Preference => "recordpref",
            ControlBy::Keys => "keys",
            ControlBy::Request => "request",
        }
    }

    pub fn from_name(name: &str) -> Option<ControlBy> {
        use ControlBy::{Header, Keys, Preference, Request};
        let all = [Header, Preference, Keys, Request];
        all.into_iter().find(|by| by.name() == name)
    }
}

/// One thing that was asked, and changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlNote {
    pub at: Timestamp,
    pub action: ControlAction,
    pub by: ControlBy,
    /// Whose people asked; `None` for who may speak for all tenants.
    pub tenant: Option<TenantId>,
    /// The side that asked, where it was one of the call's.
    pub side: Option<Side>,
    /// User, extension or number; for a request whoever the daemon was told.
    pub who: String,
    pub why: String,
    /// It is of this call, whatever becomes of others of its interaction.
    pub alone: bool,
}

/// A span of time in which nothing is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseSpan {
    pub from: Timestamp,
    /// `None`: it lasts.
    pub to: Option<Timestamp>,
    /// Index of the note that began it.
    pub note: usize,
}

impl PauseSpan {
    pub fn holds(&self, time: Timestamp) -> bool {
        time >= self.from && self.to.is_none_or(|to| time < to)
    }
}

/// Who holds a pause while notes are read in their order.
#[derive(Default)]
struct Holders(SmallVec<[Option<TenantId>; 2]>);

impl Holders {
    /// Whether it changes something that `note` was asked.
    fn would_change(&self, action: ControlAction, tenant: Option<TenantId>) -> bool {
        match action {
            ControlAction::Pause => !self.0.contains(&tenant),
            ControlAction::Resume if tenant.is_none() => !self.0.is_empty(),
            ControlAction::Resume => self.0.contains(&tenant),
            ControlAction::Stop | ControlAction::Keep => false,
        }
    }

    fn take(&mut self, note: &ControlNote) {
        match note.action {
            ControlAction::Pause if !self.0.contains(&note.tenant) => self.0.push(note.tenant),
            ControlAction::Resume if note.tenant.is_none() => self.0.clear(),
            ControlAction::Resume => self.0.retain(|holder| *holder != note.tenant),
            _ => {}
        }
    }
}

/// The pauses that follow from what was asked, in the order of their beginnings, not overlapping.
pub fn pauses(notes: &[ControlNote]) -> Vec<PauseSpan> {
    let mut spans: Vec<PauseSpan> = Vec::new();
    let mut holders = Holders::default();
    for (index, note) in notes.iter().enumerate() {
        let was_paused = !holders.0.is_empty();
        holders.take(note);
        match (was_paused, holders.0.is_empty()) {
            (false, false) => {
                let earliest = spans.last().and_then(|span| span.to);
                spans.push(PauseSpan {
                    from: earliest.map_or(note.at, |earliest| earliest.max(note.at)),
                    to: None,
                    note: index,
                });
            }
            (true, true) => {
                if let Some(span) = spans.last_mut() {
                    span.to = Some(note.at.max(span.from));
                }
            }
            _ => {}
        }
    }
    spans
}

/// Whether the pause or resumption would change anything after `notes`.
pub fn moves_pause(notes: &[ControlNote], action: ControlAction, tenant: Option<TenantId>) -> bool {
    let mut holders = Holders::default();
    notes.iter().for_each(|note| holders.take(note));
    holders.would_change(action, tenant)
}

/// Writes into what tenants get of a call what was asked about it. Whether that changed anything.
pub fn apply(notes: &[ControlNote], owners: &mut [Ownership]) -> bool {
    let mut changed = false;
    for owner in owners {
        let asked = |action: ControlAction| {
            notes.iter().any(|note| {
                note.action == action && note.tenant.is_none_or(|tenant| tenant == owner.tenant)
            })
        };
        if owner.pending.is_some() && asked(ControlAction::Keep) {
            owner.pending = None;
            changed = true;
        }
        if owner.refusal.is_none() && asked(ControlAction::Stop) {
            owner.refusal = Some(Disposition::DoNotRecord);
            changed = true;
        }
    }
    changed
}

/// What a person or a program asks of calls in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRequest {
    /// The id of a recording or an interaction, as logs and sidecars name them, or a SIP Call-ID.
    pub target: String,
    pub action: ControlAction,
    /// `None`: who asks may speak for all tenants.
    pub tenant: Option<TenantId>,
    /// Of the interaction these calls, and none that joins it later; `None`: all of it.
    pub only: Option<Vec<CallKey>>,
    /// Nothing is done: it is asked which calls are meant.
    pub looks: bool,
    pub who: String,
    pub why: String,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlOutcome {
    /// Open calls of the interactions that were meant; none: there is no such call, or it is over.
    pub reached: Vec<Reached>,
    /// From when on it is in force.
    pub at: Timestamp,
    pub interaction: Option<InteractionId>,
}

/// A call that was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    pub call: CallKey,
    /// It changed something.
    pub changed: bool,
    /// The tenants whose call it is, of those who asks may speak for, with what each calls it while it lasts.
    pub owners: SmallVec<[(TenantId, RecordingId); 2]>,
}

impl ControlOutcome {
    #[cfg(test)]
    pub fn nothing() -> ControlOutcome {
        ControlOutcome {
            reached: Vec::new(),
            at: Timestamp::default(),
            interaction: None,
        }
    }

    pub fn calls(&self) -> u32 {
        self.reached.len() as u32
    }

    /// Calls for which it changed something.
    pub fn changed(&self) -> u32 {
        self.reached.iter().filter(|call| call.changed).count() as u32
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn note(at: i64, action: ControlAction, tenant: Option<u128>) -> ControlNote {
        ControlNote {
            at: Timestamp::from_nanos(at),
            action,
            by: ControlBy::Request,
            tenant: tenant.map(|n| TenantId(Uuid::from_u128(n))),
            side: None,
            who: String::new(),
            why: String::new(),
            alone: false,
        }
    }

    fn spans(notes: &[ControlNote]) -> Vec<(i64, Option<i64>)> {
        let spans = pauses(notes).into_iter();
        spans
            .map(|span| (span.from.as_nanos(), span.to.map(Timestamp::as_nanos)))
            .collect()
    }

    #[test]
    fn a_pause_lasts_until_everybody_who_asked_for_it_goes_on() {
        use ControlAction::{Pause, Resume};
        let notes = [
            note(1, Pause, Some(1)),
            note(2, Pause, Some(2)),
            note(3, Resume, Some(1)),
            note(4, Resume, Some(2)),
            note(5, Pause, Some(1)),
            note(6, Resume, None),
            note(7, Pause, None),
            note(8, Resume, Some(1)),
        ];
        assert_eq!(spans(&notes), [(1, Some(4)), (5, Some(6)), (7, None)]);
        assert!(!moves_pause(
            &notes,
            Resume,
            Some(TenantId(Uuid::from_u128(1)))
        ));
        assert!(moves_pause(&notes, Resume, None));
    }

    #[test]
    fn what_is_told_late_does_not_make_spans_overlap() {
        use ControlAction::{Pause, Resume};
        let notes = [
            note(5, Pause, None),
            note(3, Resume, None),
            note(1, Pause, None),
        ];
        assert_eq!(spans(&notes), [(5, Some(5)), (5, None)]);
    }
}
