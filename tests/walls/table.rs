//! Who may do what: the one list that answers are expected by.

#![allow(dead_code, reason = "not every kind of row is needed at any time")]

use callreel::access::Operation::*;
use callreel::access::Resource::*;
use callreel::access::{Operation, Resource};

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Permission(Resource, Operation),
    /// Whoever has signed in.
    SignedIn,
    /// Whoever asks.
    Nothing,
}

/// What is expected of one operation.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub operation: &'static str,
    pub needs: Needs,
    /// A body that is good. `{new}` stands for a text that is in no other, `{kind}` for an own object's id.
    pub body: &'static str,
    /// Statuses of success, where they are not 200 to 299: of what the small world cannot give.
    pub success: &'static [u16],
}

const fn row(operation: &'static str, resource: Resource, verb: Operation) -> Row {
    Row {
        operation,
        needs: Needs::Permission(resource, verb),
        body: "",
        success: &[],
    }
}

const fn open(operation: &'static str, needs: Needs) -> Row {
    Row {
        operation,
        needs,
        body: "",
        success: &[],
    }
}

impl Row {
    const fn body(self, body: &'static str) -> Row {
        Row { body, ..self }
    }

    const fn success(self, success: &'static [u16]) -> Row {
        Row { success, ..self }
    }
}

pub const TABLE: &[Row] = &[
    row("list_audit", Audit, View),
    row("export_audit", Audit, View),
    row("list_groups", Groups, View),
    row("create_group", Groups, Edit).body(r#"{"name":"{new}"}"#),
    row("show_group", Groups, View),
    row("edit_group", Groups, Edit).body(r#"{"name":"{new}"}"#),
    row("remove_group", Groups, Delete),
];

pub fn of(operation: &str) -> Row {
    let row = TABLE.iter().find(|row| row.operation == operation);
    *row.unwrap_or_else(|| {
        panic!("{operation} is in the document and has no row in tests/walls/table.rs")
    })
}
