//! What can be permitted: resources, and what can be done to each.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// An enum whose variants have names in snake_case, for JSON and for people.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them, in the order they are shown in.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }

            pub fn named(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|one| one.name() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named! {
    /// A kind of object that roles speak of.
    Resource {
        Tenants => "tenants",
        Plans => "plans",
        Extensions => "extensions",
        Users => "users",
        Groups => "groups",
        Roles => "roles",
        Calls => "calls",
        CallCategories => "call_categories",
        CallNotes => "call_notes",
        Audit => "audit",
        Storage => "storage",
        ServiceAccounts => "service_accounts",
        Webhooks => "webhooks",
    }
}

named! {
    /// What is done to a resource.
    Operation {
        View => "view",
        Edit => "edit",
        Delete => "delete",
        /// Gives a tenant's extensions to its users.
        Allocate => "allocate",
        ResetPassword => "reset_password",
        /// Works in a tenant for a limited time, at its request.
        Support => "support",
        Playback => "playback",
        Download => "download",
        /// Takes lists of calls along as a file.
        Export => "export",
        LiveMonitor => "live_monitor",
        Categorize => "categorize",
        AddNotes => "add_notes",
        /// Pauses, resumes, keeps or ends a recording while its call lasts.
        Control => "control",
        Share => "share",
        /// Sets a legal hold and takes it away.
        Hold => "hold",
        Redact => "redact",
        /// Sees the calls of users whose calls are confidential.
        ViewConfidential => "view_confidential",
        Pin => "pin",
    }
}

impl Resource {
    /// Every operation this version knows on the resource.
    pub fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            Resource::Tenants => &[View, Edit, Delete, Support],
            Resource::Extensions => &[View, Edit, Delete, Allocate],
            Resource::Users => &[View, Edit, Delete, ResetPassword],
            Resource::Calls => &[
                View,
                Playback,
                Download,
                Export,
                LiveMonitor,
                Categorize,
                AddNotes,
                Control,
                Share,
                Hold,
                Redact,
                Delete,
                ViewConfidential,
            ],
            Resource::CallNotes => &[View, Pin, Delete],
            Resource::Plans
            | Resource::Groups
            | Resource::Roles
            | Resource::CallCategories
            | Resource::Audit
            | Resource::Storage
            | Resource::ServiceAccounts
            | Resource::Webhooks => &[View, Edit, Delete],
        }
    }
}

/// Operations by resource. It holds none that [`Resource::operations`] does not list.
///
/// As JSON: `{"users": ["view", "edit"], …}`, resources and operations in the order of their declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions(BTreeMap<Resource, Vec<Operation>>);

impl Permissions {
    /// Everything this version knows.
    pub fn all() -> Permissions {
        let mut all = Permissions::default();
        for resource in Resource::ALL {
            all.allow(*resource, resource.operations());
        }
        all
    }

    /// Adds what of `operations` the resource has.
    pub fn allow(&mut self, resource: Resource, operations: &[Operation]) {
        let known = resource.operations();
        let allowed = self.0.entry(resource).or_default();
        allowed.extend(operations.iter().filter(|one| known.contains(one)));
        allowed.sort_unstable();
        allowed.dedup();
        if allowed.is_empty() {
            self.0.remove(&resource);
        }
    }

    /// Takes away every operation on the resource.
    pub fn forbid(&mut self, resource: Resource) {
        self.0.remove(&resource);
    }

    pub fn contains(&self, resource: Resource, operation: Operation) -> bool {
        let allowed = self.0.get(&resource);
        allowed.is_some_and(|allowed| allowed.contains(&operation))
    }

    pub fn iter(&self) -> impl Iterator<Item = (Resource, Operation)> {
        let each = |(resource, operations): (&Resource, &'_ Vec<Operation>)| {
            let resource = *resource;
            operations
                .clone()
                .into_iter()
                .map(move |operation| (resource, operation))
        };
        self.0.iter().flat_map(each)
    }

    /// What of these `others` do not have.
    pub fn beyond(&self, others: &Permissions) -> Option<(Resource, Operation)> {
        self.iter()
            .find(|(resource, operation)| !others.contains(*resource, *operation))
    }

    /// What both have.
    #[must_use]
    pub fn within(&self, others: &Permissions) -> Permissions {
        let mut both = Permissions::default();
        for (resource, operation) in self.iter() {
            if others.contains(resource, operation) {
                both.allow(resource, &[operation]);
            }
        }
        both
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (resource, operations) in &self.0 {
            let names: Vec<_> = operations.iter().map(|one| one.name()).collect();
            map.serialize_entry(resource.name(), &names)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Permissions, D::Error> {
        deserializer.deserialize_map(PermissionsVisitor)
    }
}

struct PermissionsVisitor;

impl<'de> Visitor<'de> for PermissionsVisitor {
    type Value = Permissions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("resources, each with a list of operations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Permissions, A::Error> {
        let mut permissions = Permissions::default();
        while let Some((name, operations)) = map.next_entry::<String, Vec<String>>()? {
            let resource = Resource::named(&name).ok_or_else(|| {
                A::Error::custom(unknown("resource", &name, names_of_resources()))
            })?;
            for name in operations {
                let known = resource.operations();
                let operation = Operation::named(&name).filter(|one| known.contains(one));
                let operation = operation.ok_or_else(|| {
                    let names = known.iter().map(|one| one.name()).collect();
                    A::Error::custom(unknown(&format!("operation on {resource}"), &name, names))
                })?;
                permissions.allow(resource, &[operation]);
            }
        }
        Ok(permissions)
    }
}

fn names_of_resources() -> Vec<&'static str> {
    Resource::ALL.iter().map(|one| one.name()).collect()
}

fn unknown(what: &str, name: &str, known: Vec<&'static str>) -> String {
    let name: String = name.chars().take(64).collect();
    format!(
        "there is no {what} {name:?}; known are {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Permissions, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn are_a_dictionary_of_resources_to_lists() {
        let json = r#"{"users":["view","edit"],"calls":["view","live_monitor"],"call_notes":["view","pin"]}"#;
        let permissions = read(json).unwrap();
        assert!(permissions.contains(Resource::Calls, Operation::LiveMonitor));
        assert!(!permissions.contains(Resource::Calls, Operation::Playback));
        assert!(!permissions.contains(Resource::Groups, Operation::View));
        assert_eq!(serde_json::to_string(&permissions).unwrap(), json);
    }

    #[test]
    fn a_resource_without_operations_is_the_same_as_none() {
        assert_eq!(read(r#"{"users":[]}"#).unwrap(), Permissions::default());
    }

    #[test]
    fn what_is_not_known_is_named() {
        let error = read(r#"{"recordings":["view"]}"#).unwrap_err();
        assert!(
            error.contains("no resource \"recordings\"; known are tenants, plans"),
            "{error}"
        );
        let error = read(r#"{"groups":["playback"]}"#).unwrap_err();
        assert!(
            error.contains("no operation on groups \"playback\"; known are view, edit, delete"),
            "{error}"
        );
    }

    #[test]
    fn one_set_lies_beyond_another_by_what_the_other_lacks() {
        let few = read(r#"{"users":["view"]}"#).unwrap();
        let more = read(r#"{"users":["view","edit"]}"#).unwrap();
        assert_eq!(few.beyond(&more), None);
        assert_eq!(more.beyond(&few), Some((Resource::Users, Operation::Edit)));
        assert_eq!(more.within(&few), few);
        assert_eq!(Permissions::all().beyond(&Permissions::all()), None);
    }

    #[test]
    fn every_operation_is_one_of_some_resource() {
        for operation in Operation::ALL {
            let known = |resource: &Resource| resource.operations().contains(operation);
            assert!(Resource::ALL.iter().any(known), "{operation}");
        }
    }
}
