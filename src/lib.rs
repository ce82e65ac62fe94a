//! Callreel records telephone calls that it hears on a wire.
//!
//! Rooms, from the ground up; each may use what stands before it. `ARCHITECTURE.md` has the whole plan.

pub mod base;

pub mod codec;
pub mod directory;
pub mod rtp;
pub mod sip;
pub mod wire;

pub mod engine;

pub mod capture;
pub mod simulate;
pub mod storage;

pub mod access;
pub mod api;
pub mod catalog;
pub mod decoders;
pub mod delivery;
pub mod mail;
pub mod recorder;

pub mod config;
pub mod daemon;

pub mod cli;

#[doc(hidden)]
pub mod fuzzing;

/// Gives back what talk took while calls are held: with glibc's allocator each of a thousand costs a fifth more
/// (`benches/held.rs`). How soon it does is said in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
