//! Roles: what a user may do, and within what reach.

use serde::{Deserialize, Serialize};

use super::permission::{Operation, Permissions, Resource};
use crate::base::{RoleId, SYSTEM_TENANT, TenantId};

/// How far a role reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    /// Everything; permissions are not asked. Of the System tenant only.
    Root,
    /// All resources, operations as permitted. Inside a tenant: that tenant's resources only.
    System,
    /// Users and calls of the groups that the user's profile lists.
    ManagedGroups,
    /// The user's own calls only.
    User,
}

impl AccessLevel {
    pub const ALL: [AccessLevel; 4] = [
        AccessLevel::Root,
        AccessLevel::System,
        AccessLevel::ManagedGroups,
        AccessLevel::User,
    ];

    pub fn name(self) -> &'static str {
        match self {
            AccessLevel::Root => "root",
            AccessLevel::System => "system",
            AccessLevel::ManagedGroups => "managed_groups",
            AccessLevel::User => "user",
        }
    }

    pub fn named(name: &str) -> Option<AccessLevel> {
        AccessLevel::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether this reaches at least as far as `other`.
    pub fn reaches(self, other: AccessLevel) -> bool {
        let distance = |level| AccessLevel::ALL.iter().position(|one| *one == level);
        distance(self) <= distance(other)
    }
}

/// What a user may do. Its JSON is a contract: these keys and no others, `tenant_id` only where there are tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    pub role_id: RoleId,
    pub name: String,
    pub access_level: AccessLevel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    pub permissions: Permissions,
}

/// A role that every tenant has from the start. It can be used, and copied, but not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    RootAdministrator,
    Administrator,
    TenantAdministrator,
    Supervisor,
    Editor,
    Reader,
    Agent,
}

impl Preset {
    pub const ALL: [Preset; 7] = [
        Preset::RootAdministrator,
        Preset::Administrator,
        Preset::TenantAdministrator,
        Preset::Supervisor,
        Preset::Editor,
        Preset::Reader,
        Preset::Agent,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Preset::RootAdministrator => "Root Administrator",
            Preset::Administrator => "Administrator",
            Preset::TenantAdministrator => "Tenant Administrator",
            Preset::Supervisor => "Supervisor",
            Preset::Editor => "Editor",
            Preset::Reader => "Reader",
            Preset::Agent => "Agent",
        }
    }

    /// Those a tenant has. Roles that reach across tenants are the System tenant's.
    pub fn of_tenant(tenant: TenantId) -> impl Iterator<Item = Preset> {
        Preset::ALL
            .into_iter()
            .filter(move |preset| tenant == SYSTEM_TENANT || !preset.is_of_system())
    }

    fn is_of_system(self) -> bool {
        matches!(self, Preset::RootAdministrator | Preset::Administrator)
    }

    pub fn access_level(self) -> AccessLevel {
        match self {
            Preset::RootAdministrator => AccessLevel::Root,
            Preset::Administrator
            | Preset::TenantAdministrator
            | Preset::Editor
            | Preset::Reader => AccessLevel::System,
            Preset::Supervisor => AccessLevel::ManagedGroups,
            Preset::Agent => AccessLevel::User,
        }
    }

    pub fn permissions(self) -> Permissions {
        use Operation::*;
        let mut may = Permissions::default();
        match self {
            Preset::RootAdministrator | Preset::Administrator => return Permissions::all(),
            Preset::TenantAdministrator => {
                may = Permissions::all();
                // What the tenant subscribed to is not its administrator's to change.
                for resource in [Resource::Tenants, Resource::Plans, Resource::Storage] {
                    may.forbid(resource);
                }
                may.forbid(Resource::Extensions);
                may.allow(Resource::Extensions, &[View, Allocate]);
                may.forbid(Resource::Audit);
                may.allow(Resource::Audit, &[View]);
            }
            Preset::Supervisor => {
                may.allow(Resource::Users, &[View]);
                may.allow(Resource::Groups, &[View]);
                may.allow(Resource::Extensions, &[View]);
                may.allow(
                    Resource::Calls,
                    &[
                        View,
                        Playback,
                        Download,
                        LiveMonitor,
                        Categorize,
                        AddNotes,
                        Control,
                    ],
                );
                may.allow(Resource::CallCategories, &[View]);
                may.allow(Resource::CallNotes, &[View, Pin]);
            }
            Preset::Editor => {
                may.allow(Resource::Users, &[View]);
                may.allow(Resource::Groups, &[View]);
                may.allow(Resource::Calls, &[View, Playback, Categorize, AddNotes]);
                may.allow(Resource::CallCategories, &[View, Edit]);
                may.allow(Resource::CallNotes, &[View, Pin, Delete]);
            }
            Preset::Reader => {
                for resource in [
                    Resource::Users,
                    Resource::Groups,
                    Resource::Roles,
                    Resource::Extensions,
                    Resource::CallCategories,
                    Resource::CallNotes,
                ] {
                    may.allow(resource, &[View]);
                }
                may.allow(Resource::Calls, &[View, Playback]);
            }
            Preset::Agent => {
                may.allow(Resource::Calls, &[View, Playback, AddNotes]);
                may.allow(Resource::CallCategories, &[View]);
                may.allow(Resource::CallNotes, &[View]);
            }
        }
        may
    }

    /// The preset's id in a tenant: the same wherever and whenever it is asked for.
    pub fn role_id(self, tenant: TenantId) -> RoleId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"callreel preset role\0");
        hasher.update(tenant.0.as_bytes());
        hasher.update(self.name().as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        RoleId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    pub fn role(self, tenant: TenantId) -> Role {
        Role {
            role_id: self.role_id(tenant),
            name: self.name().into(),
            access_level: self.access_level(),
            tenant_id: Some(tenant),
            permissions: self.permissions(),
        }
    }
}

/// The preset role with this id in this tenant.
pub fn preset(tenant: TenantId, id: RoleId) -> Option<Preset> {
    Preset::of_tenant(tenant).find(|preset| preset.role_id(tenant) == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACME: TenantId = TenantId(uuid::Uuid::from_u128(1));

    #[test]
    fn the_json_of_a_role_is_the_one_that_was_agreed() {
        let text = concat!(
            r#"{"role_id":"6f1c1d3e-0000-4000-8000-000000000001","name":"Administrator","access_level":"system","#,
            r#""tenant_id":"34c7f1f6-9201-11e5-a739-e03f497dbdff","permissions":{"users":["view","edit","delete"],"#,
            r#""groups":["view"],"roles":["view"],"calls":["view","playback","live_monitor","categorize","add_notes"],"#,
            r#""call_categories":["view","edit","delete"],"call_notes":["view","pin"]}}"#
        );
        let role: Role = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&role).unwrap(), text);
        let alone = Role {
            tenant_id: None,
            ..role
        };
        assert!(!serde_json::to_string(&alone).unwrap().contains("tenant_id"));
    }

    #[test]
    fn a_role_with_another_key_is_refused() {
        let text = r#"{"role_id":"6f1c1d3e-0000-4000-8000-000000000001","name":"A","access_level":"user","permissions":{},"super":true}"#;
        assert!(serde_json::from_str::<Role>(text).is_err());
    }

    #[test]
    fn presets_have_one_id_in_each_tenant() {
        let ids: std::collections::HashSet<_> = [ACME, SYSTEM_TENANT]
            .into_iter()
            .flat_map(|tenant| Preset::ALL.map(|preset| preset.role_id(tenant)))
            .collect();
        assert_eq!(ids.len(), 14);
        let reader = Preset::Reader.role_id(ACME);
        assert_eq!(preset(ACME, reader), Some(Preset::Reader));
        assert_eq!(preset(SYSTEM_TENANT, reader), None);
    }

    #[test]
    fn only_the_system_tenant_has_roles_that_reach_across() {
        assert_eq!(Preset::of_tenant(SYSTEM_TENANT).count(), 7);
        assert_eq!(Preset::of_tenant(ACME).count(), 5);
        assert_eq!(preset(ACME, Preset::RootAdministrator.role_id(ACME)), None);
    }

    #[test]
    fn a_tenants_administrator_cannot_touch_what_it_subscribed_to() {
        let may = Preset::TenantAdministrator.permissions();
        for (resource, operation) in [
            (Resource::Extensions, Operation::Edit),
            (Resource::Extensions, Operation::Delete),
            (Resource::Plans, Operation::Edit),
            (Resource::Tenants, Operation::View),
            (Resource::Audit, Operation::Delete),
        ] {
            assert!(!may.contains(resource, operation), "{resource} {operation}");
        }
        assert!(may.contains(Resource::Extensions, Operation::Allocate));
        assert!(may.contains(Resource::Users, Operation::ResetPassword));
    }

    #[test]
    fn levels_reach_from_root_down_to_user() {
        assert!(AccessLevel::Root.reaches(AccessLevel::System));
        assert!(AccessLevel::System.reaches(AccessLevel::System));
        assert!(!AccessLevel::User.reaches(AccessLevel::ManagedGroups));
    }
}
