//! Scenarios: what programs on a machine do with files while a driver runs, written in TOML.
//!
//! `docs/filterhost.md` has the reference, which is made from [`keys`].

mod act;
pub mod builtin;
pub mod keys;
mod parse;
mod plan;
mod play;
mod read;
mod steps;
#[cfg(test)]
mod test;
mod things;
pub mod verify;

pub use plan::Scenario;
pub use play::{Choices, Played, Problem, Start};
pub use read::ScenarioError;
