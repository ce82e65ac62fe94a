//! Who may see what, and who may do what.
//!
//! In: who asks, with which role. Out: a [`Principal`], and from it the [`Scope`] that every question to the catalog takes
//! and the [`Permissions`] that every act needs. It is the one place where the reach of a principal is decided, so that no
//! caller can forget to limit a query to its tenant. An [`Event`] is what the audit keeps of an act.

mod event;
mod permission;
mod principal;
mod role;
mod scope;

pub use event::{Event, Outcome};
pub use permission::{Operation, Permissions, Resource};
pub use principal::{Actor, Lacking, Principal, Support};
pub use role::{AccessLevel, Preset, Role, preset};
pub use scope::{Reach, Scope};
