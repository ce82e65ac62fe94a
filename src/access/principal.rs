//! Who asks: a user, a program with a token, or whoever sits at the machine.

use std::sync::Arc;

use uuid::Uuid;

use super::permission::{Operation, Permissions, Resource};
use super::role::{AccessLevel, Role};
use super::scope::{Reach, Scope};
use crate::base::{GroupId, SYSTEM_TENANT, TenantId, Timestamp, UserId};

/// What kind of principal asks. The audit names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    User {
        id: UserId,
        login: Arc<str>,
    },
    /// A program with a token.
    ServiceAccount {
        id: Uuid,
        name: Arc<str>,
        /// The user who answers for it.
        responsible: UserId,
    },
    /// Who runs the program on the machine that holds the files.
    Operator {
        login: Arc<str>,
    },
}

impl Actor {
    /// `user`, `service_account` or `operator`.
    pub fn kind(&self) -> &'static str {
        match self {
            Actor::User { .. } => "user",
            Actor::ServiceAccount { .. } => "service_account",
            Actor::Operator { .. } => "operator",
        }
    }

    pub fn id(&self) -> Option<Uuid> {
        match self {
            Actor::User { id, .. } => Some(id.0),
            Actor::ServiceAccount { id, .. } => Some(*id),
            Actor::Operator { .. } => None,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Actor::User { login, .. } | Actor::Operator { login } => login,
            Actor::ServiceAccount { name, .. } => name,
        }
    }
}

/// A System user's work in a tenant: limited in time, and told to the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    pub id: Uuid,
    pub tenant: TenantId,
    pub reason: Arc<str>,
}

/// Who asks, with what rights. Made where a request is authenticated, anew for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    actor: Actor,
    home: TenantId,
    /// As the calls of its extensions name it.
    login: Arc<str>,
    role_name: Arc<str>,
    level: AccessLevel,
    permissions: Permissions,
    managed_groups: Arc<[GroupId]>,
    support: Option<Support>,
    stepped_up_at: Option<Timestamp>,
}

impl Principal {
    /// `login` is that of the user, or of the user who answers for a service account. `role` is one of tenant `home`.
    pub fn new(
        actor: Actor,
        home: TenantId,
        login: Arc<str>,
        role: &Role,
        managed_groups: Arc<[GroupId]>,
    ) -> Principal {
        // A role that says more than its tenant can give reaches as far as the tenant.
        let level = match role.access_level {
            AccessLevel::Root if home != SYSTEM_TENANT => AccessLevel::System,
            level => level,
        };
        let permissions = match level {
            AccessLevel::Root => Permissions::all(),
            _ => role.permissions.clone(),
        };
        Principal {
            actor,
            home,
            login,
            role_name: role.name.as_str().into(),
            level,
            permissions,
            managed_groups,
            support: None,
            stepped_up_at: None,
        }
    }

    /// Whoever runs the program on the machine that holds the files.
    pub fn operator(login: &str) -> Principal {
        let role = super::Preset::RootAdministrator.role(SYSTEM_TENANT);
        let login: Arc<str> = login.into();
        let actor = Actor::Operator {
            login: login.clone(),
        };
        Principal::new(actor, SYSTEM_TENANT, login, &role, Arc::new([]))
    }

    /// With no more than these rights. A principal of level `root` loses it, unless these are all.
    #[must_use]
    pub fn limited_to(mut self, permissions: &Permissions) -> Principal {
        self.permissions = self.permissions.within(permissions);
        if self.level == AccessLevel::Root && self.permissions != Permissions::all() {
            self.level = AccessLevel::System;
        }
        self
    }

    /// At work in one tenant. What a System user may do, it may do there and nowhere else. Who does not reach all of the System tenant
    /// supports nobody: see [`Principal::may_support`].
    #[must_use]
    pub fn supporting(mut self, support: Support) -> Principal {
        self.level = AccessLevel::System;
        self.support = Some(support);
        self
    }

    /// Whether it may work in other tenants: to reach all of one takes what reaches all of the own.
    pub fn may_support(&self) -> bool {
        self.home == SYSTEM_TENANT
            && self.level.reaches(AccessLevel::System)
            && self.may(Resource::Tenants, Operation::Support)
    }

    /// Who has shown again, at this time, that it is who it says.
    #[must_use]
    pub fn stepped_up(mut self, at: Timestamp) -> Principal {
        self.stepped_up_at = Some(at);
        self
    }

    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The user, where it is one.
    pub fn user(&self) -> Option<UserId> {
        match &self.actor {
            Actor::User { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// The user who answers for what it does: itself, or for a service account its responsible one.
    pub fn responsible(&self) -> Option<UserId> {
        match &self.actor {
            Actor::User { id, .. } => Some(*id),
            Actor::ServiceAccount { responsible, .. } => Some(*responsible),
            Actor::Operator { .. } => None,
        }
    }

    pub fn login(&self) -> &str {
        &self.login
    }

    /// The tenant that the principal belongs to.
    pub fn home(&self) -> TenantId {
        self.home
    }

    /// The tenant that the principal works in: where what it makes belongs, unless it says otherwise.
    pub fn tenant(&self) -> TenantId {
        self.support
            .as_ref()
            .map_or(self.home, |support| support.tenant)
    }

    pub fn role_name(&self) -> &str {
        &self.role_name
    }

    pub fn level(&self) -> AccessLevel {
        self.level
    }

    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    pub fn managed_groups(&self) -> &[GroupId] {
        &self.managed_groups
    }

    pub fn support(&self) -> Option<&Support> {
        self.support.as_ref()
    }

    pub fn stepped_up_at(&self) -> Option<Timestamp> {
        self.stepped_up_at
    }

    /// Whether it has shown within `window` before `now` that it is who it says. A time in the future is none.
    /// Who runs the program on the machine has shown it there.
    pub fn is_stepped_up(&self, now: Timestamp, window: std::time::Duration) -> bool {
        matches!(self.actor, Actor::Operator { .. })
            || self
                .stepped_up_at
                .is_some_and(|at| at <= now && now.since(at) < window)
    }

    pub fn may(&self, resource: Resource, operation: Operation) -> bool {
        self.permissions.contains(resource, operation)
    }

    /// Whether every call of the tenant can be seen, but for those of users whose calls are confidential.
    pub fn sees_all_calls_of(&self, tenant: TenantId) -> bool {
        self.level.reaches(AccessLevel::System)
            && self.may(Resource::Calls, Operation::View)
            && self.scope().covers(tenant)
    }

    /// The one place where a reach is made.
    pub fn scope(&self) -> Scope {
        let tenant = self.tenant();
        let reach = match self.level {
            AccessLevel::Root => Reach::System,
            AccessLevel::System if self.home == SYSTEM_TENANT && self.support.is_none() => {
                Reach::System
            }
            AccessLevel::System => Reach::Tenant(tenant),
            AccessLevel::ManagedGroups => Reach::Groups {
                tenant,
                groups: self.managed_groups.clone(),
            },
            AccessLevel::User => Reach::User {
                tenant,
                login: self.login.clone(),
            },
        };
        let confidential = self.may(Resource::Calls, Operation::ViewConfidential);
        Scope::new(reach, confidential).with_own(self.home, &self.login)
    }

    /// The own profile and the own calls, whatever else the role reaches.
    pub fn own_scope(&self) -> Scope {
        let reach = Reach::User {
            tenant: self.home,
            login: self.login.clone(),
        };
        Scope::new(reach, false).with_own(self.home, &self.login)
    }

    /// What is lacking to stand for a user of this tenant and login: to sign in as it, to have a program ask in its name, or to
    /// say whether its calls are confidential. For that of who is confidential one may see such calls, or is the user.
    pub fn lacks_to_stand_for(&self, tenant: TenantId, login: &str) -> Option<Lacking> {
        let (resource, operation) = (Resource::Calls, Operation::ViewConfidential);
        let is_self = self.home == tenant && self.login.eq_ignore_ascii_case(login);
        (!is_self && !self.may(resource, operation))
            .then_some(Lacking::Operation(resource, operation))
    }

    /// What in these rights, at this level, is more than the principal has: nobody grants what they do not hold.
    pub fn lacks(&self, level: AccessLevel, permissions: &Permissions) -> Option<Lacking> {
        if !self.level.reaches(level) {
            return Some(Lacking::Level(level));
        }
        let beyond = permissions.beyond(&self.permissions);
        beyond.map(|(resource, operation)| Lacking::Operation(resource, operation))
    }

    /// The same of somebody who looks after `managed`: nobody has power over who may do more, or reaches further.
    pub fn lacks_over(
        &self,
        level: AccessLevel,
        permissions: &Permissions,
        managed: &[GroupId],
    ) -> Option<Lacking> {
        let lacking = self.lacks(level, permissions);
        let by_groups = [self.level, level] == [AccessLevel::ManagedGroups; 2];
        let has_all = managed.iter().all(|of| self.managed_groups.contains(of));
        lacking.or((by_groups && !has_all).then_some(Lacking::Groups))
    }
}

/// What would have been granted by somebody who does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lacking {
    #[error("the access level {:?} reaches further than your own", .0.name())]
    Level(AccessLevel),
    #[error("you do not hold {0}: {1}")]
    Operation(Resource, Operation),
    #[error("it is about groups that are not yours")]
    Groups,
}

#[cfg(test)]
mod tests {
    use super::super::Preset;
    use super::*;

    const ACME: TenantId = TenantId(Uuid::from_u128(1));
    const OTHER: TenantId = TenantId(Uuid::from_u128(2));

    fn somebody(tenant: TenantId, role: &Role) -> Principal {
        let actor = Actor::User {
            id: UserId(Uuid::from_u128(9)),
            login: "ann".into(),
        };
        let groups = Arc::new([GroupId(Uuid::from_u128(7))]);
        Principal::new(actor, tenant, "ann".into(), role, groups)
    }

    fn preset(tenant: TenantId, preset: Preset) -> Principal {
        somebody(tenant, &preset.role(tenant))
    }

    #[test]
    fn a_reach_follows_from_level_and_tenant() {
        let reach = |tenant, role| preset(tenant, role).scope().reach().clone();
        assert_eq!(
            reach(SYSTEM_TENANT, Preset::RootAdministrator),
            Reach::System
        );
        assert_eq!(reach(SYSTEM_TENANT, Preset::Administrator), Reach::System);
        assert_eq!(
            reach(ACME, Preset::TenantAdministrator),
            Reach::Tenant(ACME)
        );
        assert_eq!(reach(ACME, Preset::Reader), Reach::Tenant(ACME));
        let groups = Arc::new([GroupId(Uuid::from_u128(7))]);
        let tenant = ACME;
        assert_eq!(
            reach(ACME, Preset::Supervisor),
            Reach::Groups { tenant, groups }
        );
        let login = "ann".into();
        assert_eq!(reach(ACME, Preset::Agent), Reach::User { tenant, login });
    }

    #[test]
    fn a_tenants_role_of_level_root_reaches_its_tenant_and_no_further() {
        let forged = Role {
            access_level: AccessLevel::Root,
            permissions: Permissions::default(),
            ..Preset::Reader.role(ACME)
        };
        let ann = somebody(ACME, &forged);
        assert_eq!(ann.scope().only_tenant(), Some(ACME));
        assert!(!ann.may(Resource::Users, Operation::View));
    }

    #[test]
    fn support_reaches_the_one_tenant() {
        let support = Support {
            id: Uuid::from_u128(3),
            tenant: OTHER,
            reason: "ticket 7".into(),
        };
        let root = preset(SYSTEM_TENANT, Preset::RootAdministrator).supporting(support);
        assert_eq!(root.scope().only_tenant(), Some(OTHER));
        assert_eq!((root.home(), root.tenant()), (SYSTEM_TENANT, OTHER));
    }

    #[test]
    fn nobody_grants_what_they_do_not_hold() {
        let reader = preset(ACME, Preset::Reader);
        let more = Preset::Editor.permissions();
        assert_eq!(
            reader.lacks(AccessLevel::System, &more),
            Some(Lacking::Operation(Resource::Calls, Operation::Categorize))
        );
        let agent = preset(ACME, Preset::Agent);
        assert_eq!(
            agent.lacks(AccessLevel::System, &Permissions::default()),
            Some(Lacking::Level(AccessLevel::System))
        );
        let root = preset(SYSTEM_TENANT, Preset::RootAdministrator);
        assert_eq!(root.lacks(AccessLevel::Root, &Permissions::all()), None);
    }

    #[test]
    fn a_token_has_no_more_than_its_part_of_the_rights() {
        let mut few = Permissions::default();
        few.allow(Resource::Calls, &[Operation::View]);
        let token = preset(SYSTEM_TENANT, Preset::RootAdministrator).limited_to(&few);
        assert_eq!(token.level(), AccessLevel::System);
        assert!(token.may(Resource::Calls, Operation::View));
        assert!(!token.may(Resource::Calls, Operation::Playback));
        let token = preset(ACME, Preset::Agent).limited_to(&Permissions::all());
        assert!(!token.may(Resource::Users, Operation::View));
    }
}
