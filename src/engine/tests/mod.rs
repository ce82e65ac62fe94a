//! The engine in a scripted world: what signalling and media do to each other.

mod beginnings;
mod byes;
mod calls;
mod claims;
mod control;
mod conversations;
mod direct_media;
mod doubts;
mod early_media;
mod flows;
mod forged;
mod identities;
mod layers;
mod listening;
mod long_silences;
mod moving;
mod quality;
mod reaching;
mod redundant;
mod reused_ports;
mod script;
mod srtp;
mod streams;
mod takeovers;
mod transfers;
mod world;
