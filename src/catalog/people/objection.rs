//! Why a change of people or of their rights is refused.

use crate::access::Lacking;

/// What stands against a change that could be read and that the caller's role permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// Nobody grants what they do not hold, nor changes who holds more.
    #[error(transparent)]
    Beyond(#[from] Lacking),
    /// Who reaches nobody else changes no more of the own profile than this.
    #[error("of your own profile you can change the name and the e-mail address only")]
    OwnProfile,
    /// Nobody has more time than was given.
    #[error("nobody extends their own time")]
    OwnTime,
    /// After it nobody would be left to administer the tenant.
    #[error("it would leave the tenant without an administrator")]
    LastAdministrator,
    #[error("users that have this role: {users}; give them another one first")]
    RoleInUse { users: i64 },
    #[error("this role is part of the program: copy it, and change the copy")]
    Preset,
    /// The access level `root` outside the System tenant.
    #[error("only roles of the System tenant reach so far")]
    RootOfTenant,
    /// What a field names is not there for the caller.
    #[error("there is no such {what}")]
    NoSuch {
        field: &'static str,
        what: &'static str,
    },
}
