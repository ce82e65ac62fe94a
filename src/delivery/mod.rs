//! Webhooks: what happened to calls, told to the tenants' own servers.
//!
//! In: deliveries that wait in the catalog. Out: signed HTTP requests, and in the catalog what became of each. A delivery is
//! tried again with growing pauses for about a day; an endpoint that takes nothing for so long is not asked any more.
//!
//! Tenants choose where the requests go, and this machine may reach more than they do: so no request goes to an address that
//! is not public, unless the configuration names its network. What counts is the address that is connected to, whatever the
//! name resolved to before; redirects are not followed.

mod address;
mod courier;
mod schedule;
mod send;
mod signature;
mod target;

pub use address::{AddressPolicy, is_public};
pub use courier::{Courier, CourierCounters, Opener};
pub use schedule::{ATTEMPTS, next_attempt};
pub use send::{Sender, Sent, Stamp};
pub use signature::{SECRET_PREFIX, new_secret, sign};
pub use target::{Refused, Target};
