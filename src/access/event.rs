//! What the audit keeps.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::Value;
use uuid::Uuid;

use super::principal::Principal;
use crate::base::TenantId;

/// What became of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or about to be: it is written before the effect.
    Allowed,
    /// Asked by somebody who may not.
    Denied,
    /// Allowed, and did not succeed.
    Failed,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
        }
    }
}

/// Who, from where, as what role, did what to what. It is kept in the chain of `tenant`, and read there.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Whose audit it is in: the tenant of the object.
    pub tenant: TenantId,
    /// `user`, `service_account`, `operator`; `anonymous` before anybody signed in; `system`: the program by itself.
    pub actor_kind: &'static str,
    pub actor_id: Option<Uuid>,
    /// What it calls itself. Another tenant's audit does not name people of the System tenant.
    pub actor_name: String,
    pub actor_tenant: Option<TenantId>,
    pub role: String,
    pub address: Option<IpAddr>,
    pub request_id: Option<String>,
    /// Resource and verb, such as `users.edit`.
    pub action: Cow<'static, str>,
    /// The kind of object, such as `user`.
    pub object_kind: &'static str,
    pub object_id: Option<Uuid>,
    /// The object before and after; none where it has no such state. Never a secret.
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// Why: what support, a hold or a deletion gave as its reason.
    pub reason: Option<String>,
    pub outcome: Outcome,
}

impl Event {
    /// By a principal, in the audit of the tenant it works in.
    pub fn by(principal: &Principal, action: &'static str) -> Event {
        let actor = principal.actor();
        Event {
            tenant: principal.tenant(),
            actor_kind: actor.kind(),
            actor_id: actor.id(),
            actor_name: actor.name().to_owned(),
            actor_tenant: Some(principal.home()),
            role: principal.role_name().to_owned(),
            address: None,
            request_id: None,
            action: action.into(),
            object_kind: "",
            object_id: None,
            before: None,
            after: None,
            reason: principal
                .support()
                .map(|support| support.reason.to_string()),
            outcome: Outcome::Allowed,
        }
    }

    /// By somebody who is not known.
    pub fn anonymous(tenant: TenantId, action: &'static str) -> Event {
        Event::by_nobody(tenant, action, "anonymous", "")
    }

    /// By the program itself; `part` names which of its duties it was.
    pub fn by_system(tenant: TenantId, part: &'static str, action: &'static str) -> Event {
        Event::by_nobody(tenant, action, "system", part)
    }

    fn by_nobody(
        tenant: TenantId,
        action: &'static str,
        actor_kind: &'static str,
        name: &str,
    ) -> Event {
        Event {
            tenant,
            actor_kind,
            actor_id: None,
            actor_name: name.to_owned(),
            actor_tenant: None,
            role: String::new(),
            address: None,
            request_id: None,
            action: action.into(),
            object_kind: "",
            object_id: None,
            before: None,
            after: None,
            reason: None,
            outcome: Outcome::Allowed,
        }
    }

    #[must_use]
    pub fn on(mut self, kind: &'static str, id: Uuid) -> Event {
        self.object_kind = kind;
        self.object_id = Some(id);
        self
    }

    #[must_use]
    pub fn of_tenant(mut self, tenant: TenantId) -> Event {
        self.tenant = tenant;
        self
    }

    #[must_use]
    pub fn from_address(mut self, address: Option<IpAddr>, request_id: Option<String>) -> Event {
        self.address = address;
        self.request_id = request_id;
        self
    }

    /// From one state to another.
    #[must_use]
    pub fn change(mut self, before: Option<Value>, after: Option<Value>) -> Event {
        self.before = before;
        self.after = after;
        self
    }

    #[must_use]
    pub fn because(mut self, reason: &str) -> Event {
        self.reason = Some(reason.to_owned());
        self
    }

    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Event {
        self.outcome = outcome;
        self
    }
}
