//! TOML into typed settings and a directory, with errors that point at file, line and column.
//!
//! In: the path of the daemon's file; from it, the tenants' files. Out: [`Settings`], the compiled
//! [`crate::directory::Directory`], and which files and folders to watch. All errors of all files come at once; what
//! is not written has a default that suits a first run, and an unknown key is an error with a suggestion.
//!
//! Tenants and extensions that are kept elsewhere are read by the same rules ([`tenant_of`], [`extension_of`]).
//!
//! This is the only room that reads configuration files. Nothing is kept between two loads: a reload is another
//! [`load`], and what was there stays in use when it fails.

mod access;
mod api;
mod audit;
mod decoders;
mod diagnostic;
mod feeds;
mod glob;
mod interactions;
mod load;
mod mail;
mod reader;
mod recording;
mod rows;
mod settings;
mod tenant;
#[cfg(test)]
mod tests;
mod webhooks;

pub use access::Access;
pub use api::{Api, ApiTls};
pub use audit::{Audit, Syslog};
pub use decoders::{DecoderFormat, Decoders};
pub use diagnostic::{Diagnostic, Error, Related, Severity, render};
pub use feeds::{HEP_SOURCE, Hep, Secret, Tunnels};
pub use load::{Loaded, Written, everywhere, load};
pub use mail::{Mail, MailTls};
pub use rows::{ExtensionKind, Fault, TenantText, extension_of, policy_of, tenant_of};
pub use settings::{
    AudioFormat, Capture, Catalog, Encrypt, Engine, Log, LogFormat, LogLevel, Origin,
    PLAN_FEATURES, Plan, Recorder, Sensor, Settings, Storage, Tenancy, Unattributed,
};
pub use webhooks::Webhooks;
