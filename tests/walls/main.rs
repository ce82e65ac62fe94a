//! The walls between tenants, tried from the OpenAPI document: every operation, by every preset role, for what is its own,
//! another tenant's and nobody's, by each form in which an id can be given.
//!
//! Whoever adds an operation adds its row to `table.rs`, and for a new kind of object a maker to `kinds.rs`: until then these
//! tests fail.

mod asking;
mod before;
mod calls;
mod canaries;
mod document;
mod golden;
mod happenings;
mod kinds;
mod matrix;
mod present;
mod schemathesis;
mod sign_in;
mod table;
mod timing;
mod world;
