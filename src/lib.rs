//! Callreel: a multi-tenant call recorder.
pub mod base;
pub mod codec;
pub mod rtp;
