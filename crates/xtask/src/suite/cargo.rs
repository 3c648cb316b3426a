//! The stages that are one Cargo command, with its tests counted.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::coverage::{self, Coverage};
use super::{Bench, Found, programs};
use crate::command::{self, Ended};
use crate::files;
use crate::packages;
use crate::proofs;
use crate::trouble::Outcome;

/// Everything that Cargo compiles from nothing fits into this on two cores.
pub const COMPILE: Duration = Duration::from_secs(45 * 60);
/// How much of a log is shown when its command failed.
const TAIL: usize = 60;

/// The Cargo that runs this program, with a subcommand, in the tree.
pub fn host(bench: &Bench, subcommand: &str) -> Command {
    let own = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = command::clean(own);
    cargo.current_dir(&bench.root).arg(subcommand);
    cargo
}

/// What the lines of a test program said.
#[derive(Debug, Default)]
pub struct Counts {
    found: Found,
    test_failed: bool,
}

impl Counts {
    /// Reads one line.
    pub fn read(&mut self, line: &str) {
        if let Some((passed, failed, ignored)) = result(line) {
            self.found.passed += passed;
            self.found.ignored += ignored;
            self.test_failed |= failed > 0;
        } else if let Some(test) = line.strip_prefix("test ").and_then(failed_name) {
            self.found.failed.push(test.to_owned());
        }
    }

    /// Adds them to what a stage found; a program that ended badly is named even where no test is.
    pub fn into(self, found: &mut Found, name: &str, ended: Ended, log: &Path) {
        found.passed += self.found.passed;
        found.ignored += self.found.ignored;
        let failed = self.found.failed.iter();
        found
            .failed
            .extend(failed.map(|test| format!("{name}: test {test}")));
        let explained = !self.found.failed.is_empty() && self.test_failed;
        let text = match ended {
            Ended::Well => return,
            Ended::Failed if explained => return,
            Ended::Late => "did not end in time",
            Ended::Failed => "failed",
        };
        found
            .failed
            .push(format!("{name} {text}; all of it is in {}", log.display()));
    }
}

/// Runs a command with tests in it, or none, and counts them.
pub fn counted(bench: &mut Bench, name: &str, command: &mut Command) -> Outcome<Found> {
    let log = bench.log(name);
    let mut counts = Counts::default();
    let Bench { say, .. } = bench;
    let ended = command::limited(command, &log, COMPILE, |line| {
        say.moving(name, line.trim_start());
        counts.read(line);
    })?;
    bench.say.clear();
    if ended != Ended::Well {
        tail(&log);
    }
    let mut found = Found::default();
    counts.into(&mut found, name, ended, &log);
    Ok(found)
}

/// The numbers in a closing line of a test program.
fn result(line: &str) -> Option<(usize, usize, usize)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |what: &str| {
        let before = rest.split(what).next()?.trim_end();
        before.rsplit(' ').next()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?, number(" ignored")?))
}

fn failed_name(rest: &str) -> Option<&str> {
    rest.strip_suffix(" ... FAILED")
}

/// Shows the end of a log.
pub fn tail(log: &Path) {
    let text = files::bytes(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // Messages for programs are not for people.
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("{\"reason\""))
        .collect();
    for line in &lines[lines.len().saturating_sub(TAIL)..] {
        eprintln!("   | {line}");
    }
}

/// What `cargo test` runs on any machine: no driver, no Windows target; a program of tests for each
/// processor at a time. Then the tests that need programs of Debian's.
pub fn unit(bench: &mut Bench) -> Outcome<Found> {
    packages::need(
        &mut bench.say,
        "the filter host's tests",
        packages::CONFORMANCE,
    )?;
    packages::need(
        &mut bench.say,
        "the tests of scans at rest",
        packages::AT_REST,
    )?;
    // The feature adds the filter host's tests with drivers in C, whose compiler is there now.
    let all = ["--workspace", "--features", "filterhost/clang"];
    let mut test = host(bench, "test");
    let programs = programs::compiled(bench, test.args(all), "unit-build")?;
    let mut found = programs::run(bench, "unit", programs, 1, |_| {})?;
    let mut doc = host(bench, "test");
    doc.args(all).args(["--locked", "--doc"]);
    let documented = counted(bench, "unit-doc", &mut doc)?;
    found.passed += documented.passed;
    found.failed.extend(documented.failed);
    for (why, packages, tests) in [
        (
            "the service's test of ClamAV",
            packages::CLAMD,
            &["clamd"][..],
        ),
        (
            "the tests of a fleet's verdicts",
            packages::REDIS,
            &["fleet", "kept"],
        ),
        (
            "the test of the service's metrics",
            packages::PROMETHEUS,
            &["prometheus"],
        ),
    ] {
        packages::need(&mut bench.say, why, packages)?;
        ignored(bench, tests, &mut found)?;
    }
    Ok(found)
}

/// The tests of these programs that are ignored elsewhere, for want of another program.
fn ignored(bench: &mut Bench, tests: &[&str], found: &mut Found) -> Outcome<()> {
    let mut test = host(bench, "test");
    test.args(["--workspace", "--locked", "--features", "filterhost/clang"]);
    test.args(tests.iter().flat_map(|name| ["--test", name]));
    test.args(["--", "--ignored"]);
    let name = tests.first().copied().unwrap_or("ignored");
    let with_it = counted(bench, name, &mut test)?;
    found.passed += with_it.passed;
    found.ignored = found.ignored.saturating_sub(with_it.passed);
    found.failed.extend(with_it.failed);
    Ok(())
}

/// Every interleaving of small stories of the cache, the ledger and the flights; and whether a
/// broken core is noticed.
pub fn model(bench: &mut Bench) -> Outcome<Found> {
    let mut test = proofs::model_command(&bench.root);
    let mut found = counted(bench, "model", &mut test)?;
    for (breaks, noticed) in proofs::model_planted(&bench.root, &mut bench.say)? {
        found.check(noticed, || format!("not noticed: {breaks}"));
    }
    Ok(found)
}

/// The tests that load the built driver.
pub fn image(bench: &mut Bench) -> Outcome<Found> {
    packages::need(&mut bench.say, "the layout tests", packages::LAYOUTS)?;
    packages::need(
        &mut bench.say,
        "the test of a fleet of hosts",
        packages::REDIS,
    )?;
    let image = bench.built()?.image;
    let programs = programs::of_the_image(bench)?;
    let coverage = Coverage::begin(bench, &image)?;
    let marks = &coverage.marks;
    let with = |program: &mut Command| {
        program.env("SILOSCAN_IMAGE", &image);
        program.env(coverage::VARIABLE, marks);
    };
    let many = programs::FOR_EACH_PROCESSOR;
    let mut found = programs::run(bench, "image", programs, many, with)?;
    coverage.end(&bench.root, &mut found)?;
    Ok(found)
}

/// The root's integration tests, by their files.
pub fn names(folder: &Path) -> Outcome<Vec<String>> {
    let names =
        files::names(folder)?
            .into_iter()
            .filter_map(|name| match name.strip_suffix(".rs") {
                Some(file) => Some(file.to_owned()),
                None => folder.join(&name).join("main.rs").is_file().then_some(name),
            });
    Ok(names.collect())
}

/// Clippy with every warning an error.
pub fn lint(bench: &mut Bench) -> Outcome<Found> {
    let mut clippy = host(bench, "clippy");
    clippy.args(["--workspace", "--locked", "--all-targets", "--features"]);
    clippy.args([
        "siloscan/built-image,filterhost/clang",
        "--",
        "-D",
        "warnings",
    ]);
    one(
        bench,
        "lint",
        &mut clippy,
        "clippy is content with the host crates",
    )
}

/// A command that is one check.
pub fn one(bench: &mut Bench, name: &str, command: &mut Command, about: &str) -> Outcome<Found> {
    let mut found = counted(bench, name, command)?;
    if found.failed.is_empty() {
        found.passed += 1;
        about.clone_into(&mut found.about);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered";
        assert_eq!(result(line), Some((12, 3, 1)));
        assert_eq!(result("test a::b ... ok"), None);
        assert_eq!(failed_name("a::b ... FAILED"), Some("a::b"));
    }
}
