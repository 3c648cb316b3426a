//! `statuses.toml`: what Microsoft's pages promise, and where each promise is shown.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// The whole file: one entry for each provided function.
pub type Table = BTreeMap<String, Function>;

/// What is documented of one function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// The module that exports it.
    pub module: String,
    /// The page that documents it.
    pub page: String,
    /// The highest level that the page allows, where it names one.
    pub irql: Option<String>,
    /// Each documented result, and what becomes of it.
    pub results: BTreeMap<String, Shown>,
}

/// How a documented result is dealt with.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Shown {
    /// The case that shows it.
    Case(String),
    /// Why it cannot come about.
    Absent(Reason),
}

/// Why a result cannot come about in the host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The reason, in words.
    pub absent: String,
}

/// Reads the committed file.
pub fn read() -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/statuses.toml");
    let text = std::fs::read_to_string(path).expect("the committed table");
    toml::from_str(&text).expect("a table of the form that its head describes")
}
