//! The engine in a scripted world: what signalling and media do to each other.

mod calls;
mod redundant;
mod srtp;
mod streams;
mod world;
