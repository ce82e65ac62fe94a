//! The conversation that a call is part of: who took part when, and the other legs.

use super::super::super::output::{self, Table};
use super::{LegLine, Shown};
use crate::storage::SuspicionRecord;

/// Everybody who took part, where somebody took over; else the parties have said it.
pub fn print_participants(shown: &Shown) {
    let dash = |text: Option<&String>| text.map_or("-", |text| text).to_owned();
    let mut table = Table::new(&["TOOK PART", "NUMBER", "NAME", "USER", "FROM", "TO"]);
    let Some(sidecar) = &shown.sidecar else {
        return;
    };
    if sidecar.participants.len() < 3 {
        return;
    }
    for participant in &sidecar.participants {
        table.row(vec![
            participant.side.to_string(),
            participant.number.clone(),
            participant.display.clone(),
            dash(participant.user.as_ref()),
            participant.from.clone(),
            dash(participant.to.as_ref()),
        ]);
    }
    output::print("\n");
    table.print();
}

pub fn print_legs(legs: &[LegLine]) {
    if legs.is_empty() {
        return;
    }
    output::print("\n");
    let mut table = Table::new(&[
        "OTHER LEG",
        "STARTED",
        "CALLER",
        "CALLEE",
        "DISPOSITION",
        "LINKED BY",
    ]);
    for leg in legs {
        table.row(vec![
            leg.id.to_string(),
            leg.started_at.clone(),
            leg.caller.clone(),
            leg.callee.clone(),
            leg.disposition.clone(),
            leg.reason.clone(),
        ]);
    }
    table.print();
}

pub fn print_suspicions(suspicious: &[SuspicionRecord]) {
    for SuspicionRecord { kind, count } in suspicious {
        output::print(&format!("\nsuspicious: {kind}, {count} times\n"));
    }
}
