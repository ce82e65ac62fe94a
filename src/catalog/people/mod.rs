//! People of the tenants: groups, roles, users.
//!
//! Reads take a [`Scope`](crate::access::Scope) and give what lies in it; what lies outside is not there. Writes are steps of
//! a [`Change`](super::Change).

mod administrators;
mod groups;
mod listing;
mod objection;
mod policy;
mod principals;
mod roles;
mod room;
mod sight;
mod tenants;
mod user_changes;
mod users;

pub use groups::{Group, GroupDraft};
pub(super) use listing::Position;
pub use listing::{Listed, Listing, MAX_LISTED};
pub use objection::Objection;
pub use policy::UserPolicy;
pub use principals::Person;
pub use roles::{RoleDraft, TenantRole};
pub(super) use room::Kept;
pub use sight::Sight;
pub use users::{Profile, User, UserFilter};
