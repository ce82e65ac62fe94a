//! What can be permitted, in words: the reference of roles.

use super::permission::{Operation, Resource};
use super::role::AccessLevel;

impl Resource {
    /// What the resource is.
    pub fn description(self) -> &'static str {
        match self {
            Resource::Tenants => "Tenants of this installation",
            Resource::Plans => "Plans: limits and features that tenants subscribe to",
            Resource::Extensions => "Numbers of a tenant, and the users they are allocated to",
            Resource::Users => "Users of a tenant",
            Resource::Groups => "Groups of users",
            Resource::Roles => "Roles: what users may do",
            Resource::Calls => "Calls and their recordings",
            Resource::CallCategories => "Categories that calls are sorted by",
            Resource::CallNotes => "Notes on calls",
            Resource::Audit => "Who did what",
            Resource::Storage => "Where recordings are kept, and how much of it is used",
            Resource::ServiceAccounts => "Programs that use the API, and their tokens",
            Resource::Webhooks => "Addresses that are told of calls",
        }
    }
}

impl Operation {
    /// What the operation does to `resource`, which has it.
    pub fn description(self, resource: Resource) -> &'static str {
        match (self, resource) {
            (Operation::View, Resource::Calls) => "Search calls and see what is known of them",
            (Operation::View, Resource::Audit) => "Read the audit",
            (Operation::View, _) => "See them",
            (Operation::Edit, Resource::Audit) => {
                "Change how long the audit is kept and where it is sent"
            }
            (Operation::Edit, _) => "Create and change them",
            (Operation::Delete, Resource::Calls) => "Delete calls with their recordings",
            (Operation::Delete, Resource::Audit) => "Delete records whose time is over",
            (Operation::Delete, _) => "Remove them",
            (Operation::Allocate, _) => "Give extensions to users, and take them back",
            (Operation::ResetPassword, _) => "Set another user's password",
            (Operation::Support, _) => {
                "Work in another tenant for a limited time, for a reason the tenant can read"
            }
            (Operation::Playback, _) => "Listen to recordings",
            (Operation::Download, _) => "Take recordings along as files",
            (Operation::Export, _) => "Take lists of calls along as files",
            (Operation::LiveMonitor, _) => "Listen to calls while they last",
            (Operation::Categorize, _) => "Put calls into categories",
            (Operation::AddNotes, _) => "Write notes on calls",
            (Operation::Control, _) => {
                "Pause, resume, keep and end the recording of a call that lasts"
            }
            (Operation::Share, _) => "Make links through which others hear a recording",
            (Operation::Hold, _) => "Set a legal hold, and take it away",
            (Operation::Redact, _) => "Take parts out of recordings for good",
            (Operation::ViewConfidential, _) => "See calls of users whose calls are confidential",
            (Operation::Pin, _) => "Pin notes",
        }
    }
}

impl AccessLevel {
    /// How far it reaches.
    pub fn description(self) -> &'static str {
        match self {
            AccessLevel::Root => "Everything, in every tenant. Of the System tenant only",
            AccessLevel::System => {
                "All resources, operations as permitted. Inside a tenant: that tenant's resources only"
            }
            AccessLevel::ManagedGroups => "Users and calls of the groups that the user looks after",
            AccessLevel::User => "The user's own profile and calls",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_a_resource_has_words_of_its_own() {
        for resource in Resource::ALL {
            let operations = resource.operations();
            let mut words: Vec<_> = operations
                .iter()
                .map(|one| one.description(*resource))
                .collect();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), operations.len(), "{resource}");
        }
    }
}
