//! Who may see what.
//!
//! In: who asks. Out: a [`Scope`], which every question to the catalog takes. It is the one place where the reach of a
//! principal is decided, so that no caller can forget to limit a query to its tenant.

mod scope;

pub use scope::Scope;
