//! The shell put together: start, reload, drain, health, metrics.
//!
//! In: a configuration. Out: a running recorder, or the reason why there is none.

pub mod cataloguing;
pub mod pipeline;
pub mod storekeeping;
