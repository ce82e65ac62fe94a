//! People of the tenants: groups, roles, users.
//!
//! Reads take a [`Scope`](crate::access::Scope) and give what lies in it; what lies outside is not there. Writes are steps of
//! a [`Change`](super::Change).

mod groups;
mod listing;
mod principals;
mod sight;
mod tenants;

pub use groups::{Group, GroupDraft};
pub(super) use listing::Position;
pub use listing::{Listed, Listing, MAX_LISTED};
pub use principals::Person;
pub use sight::Sight;
