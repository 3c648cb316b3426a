//! `cargo xtask test`: every check there is, stage by stage, each with a time limit, a log and a
//! line in the summary. A stage that fails does not keep the later ones from running.

pub mod cargo;
pub mod copy;
mod coverage;
mod demo;
mod disk;
mod driver;
mod format;
mod fuzz;
pub mod mutants;
mod package;
mod programs;
mod windows;
mod wine;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::driver::{Built, Request};
use crate::files;
use crate::package::service::{self, Purpose};
use crate::say::{self, Say};
use crate::tidy;
use crate::trouble::{Outcome, Trouble};

/// The stages, in the order of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Stage {
    /// rustfmt finds nothing to change.
    Format,
    /// House rules that no compiler checks.
    Tidy,
    /// The driver builds, and a second build does nothing.
    Build,
    /// All tests of all crates that need no driver, as `cargo test` runs them.
    Unit,
    /// Cache, ledger and flights under the model checker.
    Model,
    /// The built driver as a file, in the filter host, and its layouts.
    Image,
    /// The main job passes, and does not with a broken driver.
    Demo,
    /// The service and the command are built for Windows.
    Service,
    /// The driver in Wine's own driver host, its INF in Wine's setup, and the programs for Windows.
    Wine,
    /// The package: the same bytes twice, a signature that verifies, an image that is still right.
    Package,
    /// The scripts and the workflow that run on Windows are read and linted.
    Windows,
    /// Clippy for everything that runs on this host.
    Lint,
    /// Two builds, two folders, one image.
    Repro,
    /// Clippy for the driver on its own target; a planted lint is seen.
    LintDriver,
    /// Each target of the fuzzer for a few seconds; each planted defect is found.
    Fuzz,
    /// Each deliberately broken driver makes its test fail.
    Mutants,
}

/// Stages that run in turn beside the others, from the first of them on: they wait for Wine, or for
/// one compiler that builds one crate.
const ASIDE: &[Stage] = &[Stage::Wine, Stage::Repro, Stage::LintDriver];
/// Runs when all others have: it skips what they have shown, and builds where two of them build.
const LAST: Stage = Stage::Mutants;

/// A stage, what it found, and how long it took.
type Row = (Stage, Found, Duration);

/// What a stage found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Checks that passed.
    pub passed: usize,
    /// What failed, one line each.
    pub failed: Vec<String>,
    /// Tests that asked not to be run.
    pub ignored: usize,
    /// Of the tests that passed, those that an earlier stage had not run.
    pub made_up: usize,
    /// One line on what was done.
    pub about: String,
}

/// What the stages share.
pub struct Bench {
    /// The tree.
    pub root: PathBuf,
    /// Where logs go.
    pub logs: PathBuf,
    /// The terminal.
    pub say: Say,
    /// The driver, once a stage needed it.
    built: Option<Built>,
    /// The folder of the programs for Windows, once a stage needed them.
    programs: Option<PathBuf>,
    /// The stages of this run that passed.
    passed: Vec<Stage>,
}

impl Found {
    /// Adds a check.
    pub fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if holds {
            self.passed += 1;
        } else {
            self.failed.push(otherwise());
        }
    }
}

impl Bench {
    /// The driver of this tree, built once per run.
    pub fn built(&mut self) -> Outcome<Built> {
        if let Some(built) = &self.built {
            return Ok(built.clone());
        }
        let driver = Request::of(&self.root).prepare(&mut self.say)?;
        let built = driver.build(&mut self.say)?;
        Ok(self.built.insert(built).clone())
    }

    /// The folder with service and command for Windows, built once per run.
    pub fn programs(&mut self) -> Outcome<PathBuf> {
        if let Some(programs) = &self.programs {
            return Ok(programs.clone());
        }
        let programs = service::build(&self.root, Purpose::Tests, &mut self.say)?;
        Ok(self.programs.insert(programs).clone())
    }

    /// The same for stages that run beside this one's. It shows no steps: two would mix.
    fn beside(&self) -> Self {
        Self {
            root: self.root.clone(),
            logs: self.logs.clone(),
            say: Say::new(true),
            built: self.built.clone(),
            programs: self.programs.clone(),
            passed: Vec::new(),
        }
    }

    /// The log of a step.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

/// Runs the stages that `only` and `skip` leave; true if all passed.
pub fn run(root: &Path, only: &[Stage], skip: &[Stage]) -> Outcome<bool> {
    let start = Instant::now();
    let logs = root.join("target/test-logs");
    files::make_folder(&logs)?;
    let mut bench = Bench {
        root: root.to_owned(),
        logs,
        say: Say::new(false),
        built: None,
        programs: None,
        passed: Vec::new(),
    };
    let scarce = disk::scarce(root);
    if let Some(scarce) = &scarce {
        eprintln!("warning: {scarce}");
    }
    let mut wanted = Stage::value_variants().to_vec();
    wanted.retain(|stage| !skip.contains(stage) && (only.is_empty() || only.contains(stage)));
    let mut rows = perform_all(wanted, &mut bench);
    rows.sort_by_key(|(stage, ..)| *stage);
    if rows.is_empty() {
        return Err(Trouble::new("no stage is left to run").next("see --only and --skip"));
    }
    let passed = summary(&rows, start.elapsed());
    if let Some(scarce) = scarce.filter(|_| !passed) {
        eprintln!("note: {scarce}");
    }
    Ok(passed)
}

/// Runs stages: one after the other but for those that have a place beside.
fn perform_all(mut stages: Vec<Stage>, bench: &mut Bench) -> Vec<Row> {
    let last: Vec<Stage> = stages.extract_if(.., |stage| *stage == LAST).collect();
    let begin = stages.iter().position(|stage| ASIDE.contains(stage));
    let mut rest = stages.split_off(begin.unwrap_or(stages.len()));
    let aside: Vec<Stage> = rest.extract_if(.., |stage| ASIDE.contains(stage)).collect();
    let each = |stages: Vec<Stage>, bench: &mut Bench| -> Vec<Row> {
        let row = |stage| perform_one(stage, bench);
        stages.into_iter().map(row).collect()
    };
    let mut rows = each(stages, bench);
    let mut beside = bench.beside();
    std::thread::scope(|scope| {
        let names = aside.clone();
        let thread = scope.spawn(|| each(aside, &mut beside));
        rows.extend(each(rest, bench));
        rows.extend(thread.join().unwrap_or_else(|_| {
            let panicked = || Found {
                failed: vec!["it, or one that ran beside the others with it, panicked".to_owned()],
                ..Found::default()
            };
            let names = names.into_iter();
            names
                .map(|stage| (stage, panicked(), Duration::ZERO))
                .collect()
        }));
    });
    rows.extend(each(last, bench));
    rows
}

fn perform_one(stage: Stage, bench: &mut Bench) -> Row {
    let begun = Instant::now();
    let name = name_of(stage);
    eprintln!("\n-- {name}");
    let found = perform(stage, bench).unwrap_or_else(|trouble| Found {
        failed: vec![trouble.to_string()],
        ..Found::default()
    });
    bench.say.clear();
    for failure in &found.failed {
        eprintln!("   FAILED {name}: {failure}");
    }
    let took = begun.elapsed();
    eprintln!("   {name}: {} ({})", line_of(&found), say::time(took));
    if found.failed.is_empty() {
        bench.passed.push(stage);
    }
    (stage, found, took)
}

fn perform(stage: Stage, bench: &mut Bench) -> Outcome<Found> {
    match stage {
        Stage::Format => format::check(bench),
        Stage::Tidy => tidy::check(&bench.root),
        Stage::Build => driver::build(bench),
        Stage::Unit => cargo::unit(bench),
        Stage::Model => cargo::model(bench),
        Stage::Image => cargo::image(bench),
        Stage::Demo => demo::check(bench),
        Stage::Wine => wine::run(bench),
        Stage::Package => package::check(bench),
        Stage::Windows => windows::lint(bench),
        Stage::Lint => cargo::lint(bench),
        Stage::Repro => driver::repro(bench),
        Stage::LintDriver => driver::lint(bench),
        Stage::Fuzz => fuzz::run(bench),
        Stage::Mutants => mutants::run(bench),
        Stage::Service => windows::programs(bench),
    }
}

fn name_of(stage: Stage) -> String {
    let value = stage.to_possible_value();
    value
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

fn line_of(found: &Found) -> String {
    let mut line = format!("{} passed", found.passed);
    if !found.failed.is_empty() {
        line += &format!(", {} failed", found.failed.len());
    }
    if !found.about.is_empty() {
        line += &format!(": {}", found.about);
    }
    line
}

/// The table at the end, on standard output; its last line is for machines.
fn summary(rows: &[Row], total: Duration) -> bool {
    println!(
        "\n{:<13}{:>9}{:>8}  {:>13}",
        "stage", "passed", "failed", "time"
    );
    for (stage, found, took) in rows {
        let mark = if found.failed.is_empty() {
            "ok"
        } else {
            "FAILED"
        };
        println!(
            "{:<13}{:>9}{:>8}  {:>13}  {mark}",
            name_of(*stage),
            found.passed,
            found.failed.len(),
            say::time(*took)
        );
    }
    for (stage, found, _) in rows {
        for failure in &found.failed {
            println!("\nFAILED {}: {failure}", name_of(*stage));
        }
    }
    let passed: usize = rows.iter().map(|(_, found, _)| found.passed).sum();
    let failed: usize = rows.iter().map(|(_, found, _)| found.failed.len()).sum();
    let ignored: usize = rows.iter().map(|(_, found, _)| found.ignored).sum();
    let made_up: usize = rows.iter().map(|(_, found, _)| found.made_up).sum();
    let ignored = ignored.saturating_sub(made_up);
    println!("\nall in {}", say::time(total));
    match ignored {
        0 => println!("{passed} passed, {failed} failed"),
        _ => println!("{passed} passed, {failed} failed, {ignored} skipped"),
    }
    failed == 0
}
