//! The shell put together: start, reload, drain, health, metrics.
//!
//! In: a configuration. Out: a running recorder, or the reason why there is none.

mod announce;
pub mod auditing;
pub mod cataloguing;
mod control;
mod disk;
mod entering;
mod health;
pub mod keylog;
mod live;
mod log;
mod losses;
pub mod metrics;
mod monitor;
pub mod pipeline;
pub mod probing;
mod quality;
mod reload;
mod retention;
pub mod run;
mod serving;
mod signing_in;
mod standing;
mod state;
pub mod status;
pub mod steering;
pub mod storekeeping;
mod systemd;
pub mod tenancy;
pub mod webhooks;

#[cfg(test)]
pub(crate) use quality::tests::an_outcome as outcome_for_tests;
