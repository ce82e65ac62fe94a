//! Who may do what: the one list that answers are expected by.

#![allow(dead_code, reason = "not every kind of row is needed at any time")]

use callreel::access::Operation::*;
use callreel::access::Resource::*;
use callreel::access::{AccessLevel, Operation, Resource};

use super::before::Before;

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
    /// What it needs besides of who sees the object.
    pub also: Option<(Resource, Operation)>,
    /// A body that is good. `{new}` stands for a text that is in no other, `{kind}` for an own object's id.
    pub body: &'static str,
    /// What besides the objects it names has to be so that it succeeds.
    pub before: Before,
    /// How far a role has to reach at least.
    pub level: AccessLevel,
    /// Why nobody here succeeds with it, if so.
    pub never: Option<&'static str>,
    /// Ids in the body that name the object itself, and no other.
    pub own_name: &'static [&'static str],
}

const fn row(operation: &'static str, resource: Resource, verb: Operation) -> Row {
    Row {
        operation,
        needs: Needs::Permission(resource, verb),
        also: None,
        body: "",
        before: Before::Nothing,
        level: AccessLevel::User,
        never: None,
        own_name: &[],
    }
}

const fn open(operation: &'static str, needs: Needs) -> Row {
    Row {
        operation,
        needs,
        also: None,
        body: "",
        before: Before::Nothing,
        level: AccessLevel::User,
        never: None,
        own_name: &[],
    }
}

impl Row {
    const fn body(self, body: &'static str) -> Row {
        Row { body, ..self }
    }

    const fn also(self, resource: Resource, verb: Operation) -> Row {
        Row {
            also: Some((resource, verb)),
            ..self
        }
    }

    const fn own_name(self, own_name: &'static [&'static str]) -> Row {
        Row { own_name, ..self }
    }

    const fn before(self, before: Before) -> Row {
        Row { before, ..self }
    }

    const fn level(self, level: AccessLevel) -> Row {
        Row { level, ..self }
    }

    const fn never(self, why: &'static str) -> Row {
        Row {
            never: Some(why),
            ..self
        }
    }
}

pub const WEBHOOK: &str =
    r#"{"url":"https://hooks.example.com/","events":["call.ended"],"description":"{new}"}"#;
pub const EXTENSION: &str = r#"{"number":"{slug}"}"#;
const ACCOUNT: &str =
    r#"{"name":"{new}","reason":"{new}","permissions":{},"responsible_id":"{users}"}"#;
const ROLE: &str = r#"{"name":"{new}","access_level":"user","permissions":{"calls":["view"]}}"#;

pub const TABLE: &[Row] = &[
    row("list_audit", Audit, View),
    row("export_audit", Audit, View),
    row("list_calls", Calls, View),
    row("show_call", Calls, View),
    row("list_dispositions", Calls, View),
    row("export_calls", Calls, Export),
    row("zip_calls", Calls, Download).body(r#"{"ids":["{calls}"]}"#),
    row("remove_call", Calls, Delete),
    row("hold_call", Calls, Hold).body(r#"{"reason":"{new}"}"#),
    row("release_call", Calls, Hold).before(Before::Held),
    row("list_call_notes", CallNotes, View),
    row("create_call_note", Calls, AddNotes).body(r#"{"text":"{new}"}"#),
    // Only who wrote it changes its words.
    row("edit_call_note", CallNotes, View)
        .also(Calls, AddNotes)
        .body(r#"{"text":"{new}"}"#)
        .before(Before::OwnNote),
    row("remove_call_note", Calls, AddNotes).before(Before::OwnNote),
    row("list_call_categories", CallCategories, View),
    row("create_call_category", CallCategories, Edit).body(r#"{"name":"{new}"}"#),
    row("show_call_category", CallCategories, View),
    row("edit_call_category", CallCategories, Edit).body(r#"{"name":"{new}"}"#),
    row("remove_call_category", CallCategories, Delete),
    row("categorize_call", Calls, Categorize),
    row("uncategorize_call", Calls, Categorize).before(Before::Categorized),
    row("list_call_shares", Calls, Share),
    row("create_call_share", Calls, Share).body(r#"{"reason":"{new}","expires_in_seconds":3600}"#),
    row("revoke_call_share", Calls, Share),
    open("open_share", Needs::Nothing).before(Before::Link(None)),
    open("open_share_with_password", Needs::Nothing)
        .body(r#"{"password":"open sesame"}"#)
        .before(Before::Link(Some("open sesame"))),
    open("shared_audio", Needs::Nothing).before(Before::OpenedLink),
    row("call_audio", Calls, Playback),
    row("call_peaks", Calls, Playback),
    row("list_active_calls", Calls, View),
    row("show_active_call", Calls, View),
    row("pause_active_call", Calls, Control),
    row("resume_active_call", Calls, Control),
    row("keep_active_call", Calls, Control),
    row("stop_active_call", Calls, Control),
    row("hear_active_call", Calls, LiveMonitor),
    row("follow_events", Calls, View),
    row("list_webhooks", Webhooks, View),
    row("create_webhook", Webhooks, Edit).body(WEBHOOK),
    row("show_webhook", Webhooks, View),
    row("edit_webhook", Webhooks, Edit).body(WEBHOOK),
    row("remove_webhook", Webhooks, Delete),
    row("renew_webhook_secret", Webhooks, Edit),
    row("test_webhook", Webhooks, Edit),
    row("list_webhook_deliveries", Webhooks, View),
    row("list_tenants", Tenants, View),
    row("create_tenant", Tenants, Edit).body(r#"{"name":"{new}"}"#),
    row("show_tenant", Tenants, View),
    row("edit_tenant", Tenants, Edit).body(r#"{"name":"{new}"}"#),
    row("remove_tenant", Tenants, Delete),
    open("show_own_tenant", Needs::SignedIn),
    row("list_plans", Plans, View),
    row("create_plan", Plans, Edit).body(r#"{"name":"{slug}"}"#),
    row("show_plan", Plans, View),
    row("edit_plan", Plans, Edit)
        .body(r#"{"name":"{slug}"}"#)
        .before(Before::SameName),
    row("remove_plan", Plans, Delete),
    row("list_extensions", Extensions, View),
    row("create_extension", Extensions, Edit).body(EXTENSION),
    row("show_extension", Extensions, View),
    row("edit_extension", Extensions, Edit).body(r#"{"aliases":[]}"#),
    row("remove_extension", Extensions, Delete),
    row("list_allocations", Extensions, View),
    row("allocate_extension", Extensions, Allocate).body(r#"{"user_id":"{users}"}"#),
    row("end_allocation", Extensions, Allocate).body(r#"{"valid_to":null}"#),
    row("release_allocation", Extensions, Allocate),
    row("list_groups", Groups, View),
    row("create_group", Groups, Edit).body(r#"{"name":"{new}"}"#),
    row("show_group", Groups, View),
    row("edit_group", Groups, Edit).body(r#"{"name":"{new}"}"#),
    row("remove_group", Groups, Delete),
    open("sign_in", Needs::Nothing)
        .body(r#"{"login":"{new}","password":"x"}"#)
        .before(Before::Password),
    open("ask_for_password_reset", Needs::Nothing).body(r#"{"login":"{new}"}"#),
    open("redeem_password_reset", Needs::Nothing)
        .body(r#"{"token":"x","password":"grass grows by the inch"}"#)
        .before(Before::Letter),
    open("show_session", Needs::SignedIn).before(Before::Session),
    open("sign_out", Needs::SignedIn).before(Before::Session),
    open("show_totp_code", Needs::SignedIn)
        .body(r#"{"code":"x"}"#)
        .before(Before::CodeNeeded),
    open("step_up", Needs::SignedIn)
        .body(r#"{"password":"correct horse battery"}"#)
        .before(Before::Session),
    open("change_own_password", Needs::SignedIn)
        .body(
            r#"{"current_password":"correct horse battery","password":"grass grows by the inch"}"#,
        )
        .before(Before::Session),
    open("begin_totp", Needs::SignedIn).before(Before::Session),
    open("confirm_totp", Needs::SignedIn)
        .body(r#"{"code":"x"}"#)
        .before(Before::NewAuthenticator),
    open("remove_totp", Needs::SignedIn).before(Before::Authenticator),
    open("renew_recovery_codes", Needs::SignedIn).before(Before::Authenticator),
    open("list_sessions", Needs::SignedIn),
    open("end_session", Needs::SignedIn),
    open("show_me", Needs::SignedIn),
    row("reset_user_password", Users, ResetPassword).body("{}"),
    row("end_user_sessions", Users, ResetPassword),
    // Rules are of a whole tenant: who looks after groups does not see them.
    row("show_sign_in_rules", Users, View).level(AccessLevel::System),
    row("edit_sign_in_rules", Users, Edit).body("{}"),
    row("list_service_accounts", ServiceAccounts, View),
    row("create_service_account", ServiceAccounts, Edit).body(ACCOUNT),
    row("show_service_account", ServiceAccounts, View),
    row("edit_service_account", ServiceAccounts, Edit).body(ACCOUNT),
    row("remove_service_account", ServiceAccounts, Delete),
    row("create_token", ServiceAccounts, Edit).body(r#"{"expires_in_days":1}"#),
    row("revoke_token", ServiceAccounts, Edit),
    row("list_support_access", Tenants, Support),
    row("begin_support_access", Tenants, Support).body(r#"{"reason":"{new}","minutes":5}"#),
    row("end_support_access", Tenants, Support),
    open("list_permissions", Needs::SignedIn),
    row("list_users", Users, View),
    row("create_user", Users, Edit)
        .body(r#"{"login":"{slug}","name":"{new}","role_id":"{roles}"}"#),
    row("show_user", Users, View),
    row("edit_user", Users, Edit).body(r#"{"name":"{new}"}"#),
    row("remove_user", Users, Delete),
    row("show_effective_permissions", Users, View),
    row("list_roles", Roles, View),
    row("create_role", Roles, Edit)
        .body(ROLE)
        .own_name(&["role_id"]),
    row("show_role", Roles, View),
    row("edit_role", Roles, Edit)
        .body(ROLE)
        .own_name(&["role_id"]),
    row("remove_role", Roles, Delete),
];

pub fn of(operation: &str) -> Row {
    let row = TABLE.iter().find(|row| row.operation == operation);
    *row.unwrap_or_else(|| {
        panic!("{operation} is in the document and has no row in tests/walls/table.rs")
    })
}
