//! What the tests share: an engine that looks for a word, real tools, and a report to ask.
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod bench;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use siloscan_atrest::{Engine, Layers, Limits, Match, Order, Report, Watch, scan};

/// What the engine of these tests looks for.
pub const WORD: &[u8] = b"this is what the engine looks for";

/// Finds [`WORD`].
pub struct Words;

impl Engine for Words {
    fn look(&mut self, bytes: &[u8]) -> Result<Option<Match>, String> {
        let found = bytes.windows(WORD.len()).any(|part| part == WORD);
        Ok(found.then(|| Match {
            rule: "Word".to_owned(),
            origin: "test".to_owned(),
        }))
    }
}

/// Nobody watches.
pub struct Nobody;

impl Watch for Nobody {
    fn total(&mut self, _: u64) {}
    fn moved(&mut self, _: u64) {}
    fn at(&mut self, _: &str) {}
}

pub fn look(path: &Path) -> Report {
    look_with(path, Limits::default(), &[])
}

pub fn look_with(path: &Path, limits: Limits, parents: &[PathBuf]) -> Report {
    let order = Order {
        path: path.to_owned(),
        parents: parents.to_vec(),
        layers: Layers::default(),
        limits,
    };
    scan(&order, &mut Words, &mut Nobody)
}

pub fn look_in(path: &Path, layers: Layers) -> Report {
    let order = Order {
        path: path.to_owned(),
        parents: Vec::new(),
        layers,
        limits: Limits::default(),
    };
    scan(&order, &mut Words, &mut Nobody)
}

/// The paths of all findings.
pub fn found(report: &Report) -> Vec<&str> {
    let mut paths: Vec<&str> = report
        .findings
        .iter()
        .map(|finding| finding.place.path.as_str())
        .collect();
    paths.sort_unstable();
    paths
}

/// The names and paths of all problems.
pub fn problems(report: &Report) -> Vec<(&str, &str)> {
    let name = |problem: &'_ siloscan_atrest::Problem| problem.kind.name();
    let problems = report.problems.iter();
    problems
        .map(|problem| (name(problem), problem.place.path.as_str()))
        .collect()
}

pub fn finds(report: &Report, paths: &[&str]) {
    assert_eq!(found(report), paths, "{report:#?}");
}

pub fn is_whole(report: &Report) {
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
}

/// Runs a program of Debian's; says which package has it where it is missing.
pub fn run(program: &str, package: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|cause| {
        panic!("{program}: {cause}; sudo apt-get install --no-install-recommends {package}")
    });
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}

/// Writes a file and the folders above it.
pub fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("not the root")).expect("a folder");
    fs::write(path, bytes).expect("a file");
}
