//! `check`, `match`, `calls`, `catalog`, `token` and those about people as a user runs them: on the storage that `replay` filled from
//! simulated calls.

mod at_rest;
mod calls;
mod catalog;
mod check;
mod fresh;
mod matching;
mod modes;
mod people;
mod provider;
mod reports;
mod retention;
mod user;
mod world;
