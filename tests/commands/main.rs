//! `check`, `match`, `calls` and `catalog` as a user runs them: on the storage that `replay` filled from simulated calls.

mod calls;
mod catalog;
mod check;
mod matching;
mod world;
