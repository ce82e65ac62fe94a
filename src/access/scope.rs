//! The reach of a principal.

use std::sync::Arc;

use crate::base::{GroupId, TenantId};

/// What a principal may see. What lies outside does not exist for it: an answer leaves it out and never says "forbidden".
///
/// There is no default and no way to widen one. Outside this crate a scope comes from [`Scope::root`],
/// [`Scope::tenant`] or [`Principal::scope`](super::Principal::scope) only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    reach: Reach,
    sees_confidential: bool,
    /// Whose own calls are seen of what is confidential; none where all of it is seen.
    own: Option<(TenantId, Arc<str>)>,
}

/// Whose objects a scope reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// Every tenant, the System tenant among them.
    #[non_exhaustive]
    System,
    /// One tenant and nothing of any other.
    #[non_exhaustive]
    Tenant(TenantId),
    /// Users that are in these groups of one tenant now, and their calls. None: nothing.
    #[non_exhaustive]
    Groups {
        tenant: TenantId,
        groups: Arc<[GroupId]>,
    },
    /// One user of one tenant: the profile and the calls of this login.
    #[non_exhaustive]
    User { tenant: TenantId, login: Arc<str> },
}

impl Scope {
    /// For access level `root`, and for whoever runs the program on the machine that holds the files: they can read
    /// those anyway.
    pub fn root() -> Scope {
        Scope::new(Reach::System, true)
    }

    /// For access level `system` inside one tenant, where nothing is kept from it.
    pub fn tenant(id: TenantId) -> Scope {
        Scope::new(Reach::Tenant(id), true)
    }

    pub(super) fn new(reach: Reach, sees_confidential: bool) -> Scope {
        Scope {
            reach,
            sees_confidential,
            own: None,
        }
    }

    /// The same, of a principal that is this user: of what is confidential it sees its own.
    pub(super) fn with_own(mut self, tenant: TenantId, login: &Arc<str>) -> Scope {
        self.own = (!self.sees_confidential).then(|| (tenant, login.clone()));
        self
    }

    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Whether calls of users whose calls are confidential are seen too. One's own always are.
    pub fn sees_confidential(&self) -> bool {
        self.sees_confidential
    }

    /// The login whose calls in this tenant are seen, confidential or not, as far as the scope reaches them at all. None
    /// where it has no such user, or sees all that is confidential.
    pub fn own_login(&self, tenant: TenantId) -> Option<&str> {
        let own = self.own.as_ref().filter(|(home, _)| *home == tenant);
        own.map(|(_, login)| &**login)
    }

    /// The tenant and the login of [`Scope::own_login`].
    pub fn own(&self) -> Option<(TenantId, &str)> {
        self.own.as_ref().map(|(home, login)| (*home, &**login))
    }

    /// The one tenant that is reached; none: all are.
    pub fn only_tenant(&self) -> Option<TenantId> {
        match &self.reach {
            Reach::System => None,
            Reach::Tenant(tenant) | Reach::Groups { tenant, .. } | Reach::User { tenant, .. } => {
                Some(*tenant)
            }
        }
    }

    /// Whether anything of this tenant may be seen at all.
    pub fn covers(&self, tenant: TenantId) -> bool {
        self.only_tenant().is_none_or(|only| only == tenant)
    }

    /// What of this scope lies in one tenant; none where nothing does.
    pub fn within(&self, tenant: TenantId) -> Option<Scope> {
        match &self.reach {
            Reach::System => Some(Scope {
                reach: Reach::Tenant(tenant),
                sees_confidential: self.sees_confidential,
                own: self.own.clone().filter(|(home, _)| *home == tenant),
            }),
            _ => self.covers(tenant).then(|| self.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SYSTEM_TENANT;

    const ACME: TenantId = TenantId(uuid::Uuid::from_u128(1));
    const OTHER: TenantId = TenantId(uuid::Uuid::from_u128(2));

    #[test]
    fn a_tenant_scope_covers_its_tenant_only() {
        assert!(Scope::tenant(ACME).covers(ACME));
        assert!(!Scope::tenant(ACME).covers(OTHER));
        assert!(!Scope::tenant(ACME).covers(SYSTEM_TENANT));
    }

    #[test]
    fn the_scope_of_the_system_tenant_as_a_tenant_is_not_root() {
        assert!(!Scope::tenant(SYSTEM_TENANT).covers(ACME));
        assert!(Scope::root().covers(SYSTEM_TENANT));
    }

    #[test]
    fn a_scope_gets_narrower_only() {
        assert_eq!(Scope::root().within(ACME), Some(Scope::tenant(ACME)));
        assert_eq!(Scope::tenant(ACME).within(OTHER), None);
        let login = "ann".into();
        let own = Scope::new(
            Reach::User {
                tenant: ACME,
                login,
            },
            false,
        );
        assert_eq!(own.within(ACME), Some(own.clone()));
        assert_eq!(own.within(OTHER), None);
    }

    #[test]
    fn one_owns_calls_in_the_own_tenant_only() {
        let ann: Arc<str> = "ann".into();
        let all = Scope::new(Reach::System, false).with_own(ACME, &ann);
        assert_eq!(all.own_login(ACME), Some("ann"));
        assert_eq!(all.own_login(OTHER), None);
        assert_eq!(all.within(ACME).unwrap().own_login(ACME), Some("ann"));
        assert_eq!(all.within(OTHER).unwrap().own(), None);
        // Who sees all needs no such thing.
        assert_eq!(
            Scope::tenant(ACME).with_own(ACME, &ann),
            Scope::tenant(ACME)
        );
    }
}
