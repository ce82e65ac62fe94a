//! Calls as lines of a file.

use super::json::to_harmless_json;
use super::view::{CallView, PartyView};
use crate::base::csv_line;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// RFC 4180, and no cell is a formula.
    Csv,
    /// One JSON object on each line.
    JsonLines,
}

impl ExportFormat {
    pub fn named(name: &str) -> Option<ExportFormat> {
        match name {
            "csv" => Some(ExportFormat::Csv),
            "jsonl" => Some(ExportFormat::JsonLines),
            _ => None,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            ExportFormat::Csv => "text/csv; charset=utf-8; header=present",
            ExportFormat::JsonLines => "application/jsonl",
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            ExportFormat::Csv => "csv",
            ExportFormat::JsonLines => "jsonl",
        }
    }

    /// What comes before the first call.
    pub fn head(self) -> Vec<u8> {
        match self {
            ExportFormat::Csv => {
                csv_line(COLUMNS.iter().map(|(title, _)| (*title).to_owned())).into_bytes()
            }
            ExportFormat::JsonLines => Vec::new(),
        }
    }
}

/// The calls as lines.
pub fn lines(format: ExportFormat, calls: &[CallView]) -> Vec<u8> {
    let mut out = Vec::new();
    for call in calls {
        match format {
            ExportFormat::Csv => {
                let line = csv_line(COLUMNS.iter().map(|(_, cell)| cell(call)));
                out.extend_from_slice(line.as_bytes());
            }
            ExportFormat::JsonLines => {
                // A view always is JSON.
                out.extend(to_harmless_json(call).unwrap_or_default());
                out.push(b'\n');
            }
        }
    }
    out
}

type Column = (&'static str, fn(&CallView) -> String);

const COLUMNS: &[Column] = &[
    ("id", |call| call.id.to_string()),
    ("tenant_id", |call| optional(&call.tenant_id)),
    ("started_at", |call| call.started_at.clone()),
    ("answered_at", |call| optional(&call.answered_at)),
    ("ended_at", |call| optional(&call.ended_at)),
    ("direction", |call| {
        call.direction
            .map_or_else(String::new, |direction| direction.name().to_owned())
    }),
    ("disposition", |call| call.disposition.clone()),
    ("end_reason", |call| call.end_reason.clone()),
    ("caller_number", |call| call.caller.number.clone()),
    ("caller_extension", |call| extension(&call.caller)),
    ("caller_name", |call| call.caller.name.clone()),
    ("callee_number", |call| call.callee.number.clone()),
    ("callee_extension", |call| extension(&call.callee)),
    ("callee_name", |call| call.callee.name.clone()),
    ("users", |call| call.users.join(" ")),
    ("codec", |call| call.codec.clone()),
    ("length_ms", |call| call.length_ms.to_string()),
    ("paused_ms", |call| call.paused_ms.to_string()),
    ("packets_lost", |call| call.packets_lost.to_string()),
    ("packets_expected", |call| call.packets_expected.to_string()),
    ("mos", |call| optional(&call.mos)),
    ("jitter_ms", |call| optional(&call.jitter_ms)),
    ("round_trip_ms", |call| optional(&call.round_trip_ms)),
    ("size_bytes", |call| {
        optional(&call.file.as_ref().map(|file| file.size_bytes))
    }),
    ("held", |call| call.held.to_string()),
    ("notes", |call| call.note_count.to_string()),
    ("categories", |call| {
        let names: Vec<&str> = call
            .categories
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        names.join("; ")
    }),
    ("interaction_id", |call| optional(&call.interaction_id)),
];

fn optional(value: &Option<impl ToString>) -> String {
    value.as_ref().map_or_else(String::new, ToString::to_string)
}

fn extension(party: &PartyView) -> String {
    optional(&party.extension)
}
