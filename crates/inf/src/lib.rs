//! Setup information (INF) files of driver packages: a reader, what a package installs on a given
//! build of Windows, and the rules of Microsoft's InfVerif that are documented.
//!
//! InfVerif itself runs on Windows only. This crate finds earlier what it would find later; it does
//! not replace it.

mod install;
mod parse;
mod rules;

pub use install::{File, Install, Row, Service, Value};
pub use parse::{Entry, Fault, Inf, Section};
pub use rules::{Finding, Rule, check};
