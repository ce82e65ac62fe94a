//! The reach of a principal.

use crate::base::TenantId;

/// What a principal may see. What lies outside does not exist for it: an answer leaves it out and never says "forbidden".
///
/// There is no default and no way to widen one. Outside this crate a scope comes from [`Scope::root`] or
/// [`Scope::tenant`] only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Every tenant, the System tenant among them.
    #[non_exhaustive]
    System,
    /// One tenant and nothing of any other.
    #[non_exhaustive]
    Tenant(TenantId),
}

impl Scope {
    /// For access level `root`, and for whoever runs the program on the machine that holds the files: they can read
    /// those anyway.
    pub fn root() -> Scope {
        Scope::System
    }

    /// For access level `system` inside one tenant.
    pub fn tenant(id: TenantId) -> Scope {
        Scope::Tenant(id)
    }

    /// Whether anything of this tenant may be seen at all.
    pub fn covers(&self, tenant: TenantId) -> bool {
        match self {
            Scope::System => true,
            Scope::Tenant(own) => *own == tenant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SYSTEM_TENANT;

    #[test]
    fn a_tenant_scope_covers_its_tenant_only() {
        let acme = TenantId(uuid::Uuid::from_u128(1));
        let other = TenantId(uuid::Uuid::from_u128(2));
        assert!(Scope::tenant(acme).covers(acme));
        assert!(!Scope::tenant(acme).covers(other));
        assert!(!Scope::tenant(acme).covers(SYSTEM_TENANT));
    }

    #[test]
    fn the_scope_of_the_system_tenant_as_a_tenant_is_not_root() {
        assert!(!Scope::tenant(SYSTEM_TENANT).covers(TenantId(uuid::Uuid::from_u128(1))));
        assert!(Scope::root().covers(SYSTEM_TENANT));
    }
}
