//! Telephone calls made up from a seed: packets with known audio, what was in them, and how well a recording matches.
//!
//! In: a [`Scenario`]. Out: Ethernet frames in order of time to a [`FrameSink`] (a capture file, an interface), and a
//! [`Truth`] of every call. [`score`] compares a recording with its call's truth, sample by sample.
//!
//! Each side's audio is a [`Voice`]: any sample is computed from its position, so nothing is kept in memory to compare with,
//! and nothing of the recorder's own (parsers, decoders, timeline) has a part in what is expected of it.
//!
//! ```
//! use callreel::simulate::{Features, Scenario, generate};
//!
//! let scenario = Scenario {
//!     calls: 3,
//!     features: Features { hold: 100, ..Features::default() },
//!     ..Scenario::default()
//! };
//! let mut frames = Vec::new();
//! let truth = generate(&scenario, &mut frames)?;
//! assert_eq!(truth.frames, frames.len() as u64);
//! assert!(truth.calls.iter().all(|call| call.holds.len() == 1));
//! # Ok::<(), callreel::simulate::Error>(())
//! ```

mod breaks;
mod codec;
mod error;
mod frame;
mod message;
mod options;
mod packet;
mod plan;
mod random;
mod scenario;
mod score;
mod script;
mod secrecy;
mod signalling;
mod simulation;
mod sink;
mod stream;
mod tenants;
mod truth;
mod voice;

pub use codec::Codec;
pub use error::Error;
pub use options::{FeatureOptions, SimulateOptions, run, run_with};
pub use plan::tenant_id;
pub use scenario::{Features, HoldKind, Network, Scenario};
pub use score::{Score, SideScore, score, synthesise};
pub use simulation::{Simulation, generate, generate_with};
pub use sink::{FrameSink, InterfaceSink, PcapSink};
pub use truth::{
    Disposition, HoldSpan, LostRange, MediaSpan, SentDigit, Truth, TruthCall, TruthSide,
};
pub use voice::Voice;

#[cfg(test)]
mod tests;
