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
    /// Ids in the body that name the object itself, and no other.
    pub own_name: &'static [&'static str],
}

const fn row(operation: &'static str, resource: Resource, verb: Operation) -> Row {
    Row {
        operation,
        needs: Needs::Permission(resource, verb),
        body: "",
        success: &[],
        own_name: &[],
    }
}

const fn open(operation: &'static str, needs: Needs) -> Row {
    Row {
        operation,
        needs,
        body: "",
        success: &[],
        own_name: &[],
    }
}

impl Row {
    const fn body(self, body: &'static str) -> Row {
        Row { body, ..self }
    }

    const fn own_name(self, own_name: &'static [&'static str]) -> Row {
        Row { own_name, ..self }
    }

    const fn success(self, success: &'static [u16]) -> Row {
        Row { success, ..self }
    }
}

pub const WEBHOOK: &str =
    r#"{"url":"https://hooks.example.com/","events":["call.ended"],"description":"{new}"}"#;
pub const EXTENSION: &str = r#"{"number":"{slug}"}"#;
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
    // The call is not held.
    row("release_call", Calls, Hold).success(&[404]),
    row("list_call_notes", CallNotes, View),
    row("create_call_note", Calls, AddNotes).body(r#"{"text":"{new}"}"#),
    // Another wrote it.
    row("edit_call_note", CallNotes, View)
        .body(r#"{"text":"{new}"}"#)
        .success(&[403]),
    row("remove_call_note", Calls, AddNotes).success(&[403]),
    row("list_call_categories", CallCategories, View),
    row("create_call_category", CallCategories, Edit).body(r#"{"name":"{new}"}"#),
    row("show_call_category", CallCategories, View),
    row("edit_call_category", CallCategories, Edit).body(r#"{"name":"{new}"}"#),
    row("remove_call_category", CallCategories, Delete),
    // The other of the two, the call, may be out of reach; or not in the category.
    row("categorize_call", Calls, Categorize).success(&[404]),
    row("uncategorize_call", Calls, Categorize).success(&[404]),
    row("list_call_shares", Calls, Share),
    row("create_call_share", Calls, Share).body(r#"{"reason":"{new}","expires_in_seconds":3600}"#),
    row("revoke_call_share", Calls, Share),
    // Their token is no link's.
    open("open_share", Needs::Nothing).success(&[404]),
    open("open_share_with_password", Needs::Nothing)
        .body(r#"{"password":"x"}"#)
        .success(&[404]),
    open("shared_audio", Needs::Nothing).success(&[400, 404]),
    // Its file is not there.
    row("call_audio", Calls, Playback).success(&[409]),
    row("call_peaks", Calls, Playback).success(&[409]),
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
    // It cannot move to another tenant.
    row("edit_webhook", Webhooks, Edit)
        .body(WEBHOOK)
        .success(&[422]),
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
    // Its name stays as it is.
    row("edit_plan", Plans, Edit)
        .body(r#"{"name":"{slug}"}"#)
        .success(&[422]),
    row("remove_plan", Plans, Delete),
    row("list_extensions", Extensions, View),
    row("create_extension", Extensions, Edit).body(EXTENSION),
    row("show_extension", Extensions, View),
    row("edit_extension", Extensions, Edit).body(r#"{"aliases":[]}"#),
    row("remove_extension", Extensions, Delete),
    row("list_allocations", Extensions, View),
    // The user may be another tenant's.
    row("allocate_extension", Extensions, Allocate)
        .body(r#"{"user_id":"{users}"}"#)
        .success(&[422]),
    // The allocation is of another extension.
    row("end_allocation", Extensions, Allocate)
        .body(r#"{"valid_to":null}"#)
        .success(&[404]),
    row("release_allocation", Extensions, Allocate).success(&[404]),
    row("list_groups", Groups, View),
    row("create_group", Groups, Edit).body(r#"{"name":"{new}"}"#),
    row("show_group", Groups, View),
    row("edit_group", Groups, Edit).body(r#"{"name":"{new}"}"#),
    row("remove_group", Groups, Delete),
    // There is no such login, no mail server, no such letter.
    open("sign_in", Needs::Nothing)
        .body(r#"{"login":"{new}","password":"x"}"#)
        .success(&[401]),
    open("ask_for_password_reset", Needs::Nothing)
        .body(r#"{"login":"{new}"}"#)
        .success(&[409]),
    open("redeem_password_reset", Needs::Nothing)
        .body(r#"{"token":"x","password":"y"}"#)
        .success(&[410]),
    // These people have not signed in with a browser.
    open("show_session", Needs::SignedIn).success(&[403]),
    open("sign_out", Needs::SignedIn).success(&[403]),
    open("show_totp_code", Needs::SignedIn)
        .body(r#"{"code":"x"}"#)
        .success(&[403]),
    open("step_up", Needs::SignedIn)
        .body(r#"{"password":"x"}"#)
        .success(&[403]),
    open("change_own_password", Needs::SignedIn)
        .body(r#"{"current_password":"x","password":"y"}"#)
        .success(&[403]),
    open("begin_totp", Needs::SignedIn).success(&[403]),
    open("confirm_totp", Needs::SignedIn)
        .body(r#"{"code":"x"}"#)
        .success(&[403]),
    open("remove_totp", Needs::SignedIn).success(&[403]),
    open("renew_recovery_codes", Needs::SignedIn).success(&[403]),
    open("list_sessions", Needs::SignedIn),
    open("end_session", Needs::SignedIn),
    open("show_me", Needs::SignedIn),
    row("reset_user_password", Users, ResetPassword).body("{}"),
    row("end_user_sessions", Users, ResetPassword),
    // Rules are of a whole tenant: who looks after groups does not see them.
    row("show_sign_in_rules", Users, View).success(&[404]),
    row("edit_sign_in_rules", Users, Edit).body("{}"),
    row("list_service_accounts", ServiceAccounts, View),
    // Who answers for it is one of the tenant, which a user of the System tenant is not.
    row("create_service_account", ServiceAccounts, Edit)
        .body(r#"{"name":"{new}","reason":"{new}","permissions":{}}"#)
        .success(&[422]),
    row("show_service_account", ServiceAccounts, View),
    row("edit_service_account", ServiceAccounts, Edit)
        .body(r#"{"name":"{new}","reason":"{new}","permissions":{}}"#)
        .success(&[422]),
    row("remove_service_account", ServiceAccounts, Delete),
    row("create_token", ServiceAccounts, Edit).body(r#"{"expires_in_days":1}"#),
    // The token is another account's.
    row("revoke_token", ServiceAccounts, Edit).success(&[404]),
    row("list_support_access", Tenants, Support),
    row("begin_support_access", Tenants, Support).body(r#"{"reason":"{new}","minutes":5}"#),
    // Each ends their own.
    row("end_support_access", Tenants, Support).success(&[404]),
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
