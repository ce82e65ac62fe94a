//! `check`, `match`, `calls`, `catalog`, `user` and `token` as a user runs them: on the storage that `replay` filled from simulated calls.

mod calls;
mod catalog;
mod check;
mod matching;
mod user;
mod world;
