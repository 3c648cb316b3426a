//! `cargo xtask fuzz`: coverage-guided fuzzing of what the driver, the service and the filter host
//! read, and of histories of the cache and the ledger. The fuzzer is LLVM's libFuzzer. `fuzz/` is a
//! workspace of its own: all of it is built with the fuzzer's instrumentation, by flags that every
//! stable compiler takes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::command::{self, Ended};
use crate::files;
use crate::packages;
use crate::proofs::Sanitizer;
use crate::say::Say;
use crate::suite::cargo::COMPILE;
use crate::suite::copy::{self, Copy};
use crate::suite::mutants;
use crate::trouble::{Outcome, Trouble};

/// The targets, each a program of `fuzz/`.
pub const TARGETS: &[&str] = &[
    "reply",
    "ecp",
    "parameters",
    "inf",
    "configuration",
    "image",
    "cache",
    "ledger",
    SCENARIO,
];
/// The one that needs the whole filter host, which takes a minute to build.
const SCENARIO: &str = "scenario";
/// Defects of core that the fuzzer has to find.
const PLANTED: &str = "fuzz/mutants";

/// What makes the compiler count edges and hand comparisons to the fuzzer, in the form that
/// libFuzzer reads.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing";

const HOST: &str = "x86_64-unknown-linux-gnu";
/// How long a planted defect may stay unfound, in seconds; each takes a few at most.
const PLANTED_MAX: u64 = 120;

/// What is fuzzed, and how.
#[derive(Args)]
pub struct Line {
    /// One target; all in turn without it.
    target: Option<String>,
    /// How long, in all.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Under the address sanitizer; without the target that needs the filter host.
    #[arg(long)]
    address: bool,
    /// Instead, break core once for each patch of `fuzz/mutants`: each must be found.
    #[arg(long, conflicts_with_all = ["target", "minutes"])]
    planted: bool,
}

impl Line {
    fn targets(&self) -> Outcome<Vec<&'static str>> {
        let mut all = TARGETS.to_vec();
        all.retain(|target| !self.address || *target != SCENARIO);
        let Some(name) = &self.target else {
            return Ok(all);
        };
        match all.iter().find(|known| *known == name) {
            Some(known) => Ok(vec![*known]),
            None => Err(Trouble::new(format!("there is no target {name}"))
                .next(format!("the targets are {}", all.join(", ")))),
        }
    }
}

/// What a run of one target came to.
pub struct Fuzzed {
    /// The last line of its statistics.
    pub told: String,
    /// Where the input lies that was dealt with wrongly, if there is one; their folder where the
    /// fuzzer ended badly without naming one.
    pub crash: Option<PathBuf>,
    /// Whether that input made the target panic.
    pub panicked: bool,
    /// The fuzzer's own output.
    pub log: PathBuf,
}

/// A defect that was planted, and whether it was found.
pub struct Planted {
    /// What it breaks.
    pub breaks: String,
    /// The fuzzer's run.
    pub fuzzed: Fuzzed,
}

/// The fuzzer of one tree.
pub struct Fuzzer {
    root: PathBuf,
    logs: PathBuf,
    say: Say,
    /// Under the address sanitizer.
    address: bool,
}

/// Fuzzes one target, or each in turn, for the time in all; or looks for what was planted.
pub fn run(root: &Path, line: &Line) -> Outcome<ExitCode> {
    let mut fuzzer = Fuzzer::new(root, Say::new(false), line.address)?;
    let mut wrong = 0;
    if line.planted {
        for planted in fuzzer.planted()? {
            let Planted { breaks, fuzzed } = planted;
            wrong += usize::from(!fuzzed.panicked);
            let found = if fuzzed.panicked {
                "found"
            } else {
                "NOT FOUND"
            };
            println!("{found} ({}): {breaks}", fuzzed.told);
        }
        return Ok(code(wrong));
    }
    let targets = line.targets()?;
    fuzzer.build(root, &targets)?;
    let each = Duration::from_secs_f64(line.minutes.max(0.0) * 60.0 / targets.len() as f64);
    for target in targets {
        let fuzzed = fuzzer.fuzz(target, each)?;
        println!("{target}: {}", fuzzed.told);
        if let Some(crash) = fuzzed.crash {
            println!("{target}: CRASH, see {}", fuzzed.log.display());
            println!("  commit {} with what mends it", crash.display());
            wrong += 1;
        }
    }
    Ok(code(wrong))
}

fn code(wrong: usize) -> ExitCode {
    ExitCode::from(u8::from(wrong > 0))
}

impl Fuzzer {
    /// Makes sure of the C++ compiler that builds libFuzzer.
    pub fn new(root: &Path, mut say: Say, address: bool) -> Outcome<Self> {
        packages::need(&mut say, "building the fuzzer", packages::FUZZ)?;
        let logs = root.join("target/test-logs");
        files::make_folder(&logs)?;
        Ok(Self {
            root: root.to_owned(),
            logs,
            say,
            address,
        })
    }

    /// Where the programs of the tree at `tree` are built.
    fn folder(&self, tree: &Path) -> PathBuf {
        let name = match (tree == self.root, self.address) {
            (true, false) => "target/fuzz",
            (true, true) => "target/fuzz/address",
            (false, _) => "target/fuzz/broken",
        };
        self.root.join(name)
    }

    /// Builds these targets of the tree at `tree`.
    pub fn build(&mut self, tree: &Path, targets: &[&str]) -> Outcome<()> {
        let own = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = command::clean(own);
        let mut flags = INSTRUMENTATION.to_owned();
        if self.address {
            flags += " -Zsanitizer=";
            flags += Sanitizer::Address.name();
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
        cargo
            .current_dir(tree.join("fuzz"))
            .args(["build", "--locked", "--target", HOST, "--target-dir"])
            .arg(self.folder(tree))
            .args(targets.iter().flat_map(|target| ["--bin", target]))
            .arg("--no-default-features")
            .env("RUSTFLAGS", flags);
        if targets.contains(&SCENARIO) {
            cargo.args(["--features", "host"]);
        }
        let log = self.logs.join("fuzz-build.log");
        let say = &mut self.say;
        let ended = command::limited(&mut cargo, &log, COMPILE, |line| {
            say.moving("fuzz", line.trim_start());
        })?;
        self.say.clear();
        if ended == Ended::Well {
            return Ok(());
        }
        Err(Trouble::new("the fuzzer does not build").next(format!("see {}", log.display())))
    }

    /// Fuzzes a target for a time, from its committed inputs and what earlier runs found.
    pub fn fuzz(&mut self, target: &str, time: Duration) -> Outcome<Fuzzed> {
        let root = self.root.clone();
        let crashes = root.join("fuzz/crashes").join(target);
        self.watch(
            &root,
            target,
            &root.join("target/fuzz/corpus"),
            &crashes,
            time,
        )
    }

    /// Lets the fuzzer look for each planted defect, from the committed inputs alone.
    pub fn planted(&mut self) -> Outcome<Vec<Planted>> {
        copy::need(&mut self.say)?;
        let copy = Copy::at(&self.root, "target/fuzz/tree")?;
        let work = self.root.join("target/fuzz/planted");
        files::remove_folder(&work)?;
        let mut found = Vec::new();
        for patch in mutants::patches(&self.root, PLANTED)? {
            let mutant = mutants::patched(&copy, &self.root, &patch)?;
            self.build(&copy.root, &[&mutant.test])?;
            let time = Duration::from_secs(PLANTED_MAX);
            let own = work.join(found.len().to_string());
            let crashes = own.join("crashes");
            let fuzzed = self.watch(&copy.root, &mutant.test, &own, &crashes, time)?;
            let breaks = mutant.breaks;
            found.push(Planted { breaks, fuzzed });
        }
        copy.restore()?;
        Ok(found)
    }

    /// Runs a target of the tree at `tree`; what it finds goes below `found` and to `crashes`.
    fn watch(
        &mut self,
        tree: &Path,
        target: &str,
        found: &Path,
        crashes: &Path,
        time: Duration,
    ) -> Outcome<Fuzzed> {
        let found = found.join(target);
        files::make_folder(&found)?;
        files::make_folder(crashes)?;
        let built = self.folder(tree).join(HOST).join("debug");
        let mut program = command::clean(built.join(target));
        program
            .arg(&found)
            .arg(self.root.join("fuzz/corpus").join(target))
            .arg(format!("-artifact_prefix={}/", crashes.display()))
            .args(["-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048"])
            .arg(format!("-max_len={}", longest(target)))
            .arg(format!("-max_total_time={}", time.as_secs().max(1)));
        // What a planted defect led to is not to hide what was found in the tree itself.
        let of = if tree == self.root { "" } else { "planted-" };
        let log = self.logs.join(format!("fuzz-{of}{target}.log"));
        let say = &mut self.say;
        let limit = time + Duration::from_secs(60);
        let mut seen = Seen::default();
        let ended = command::limited(&mut program, &log, limit, |line| {
            say.moving(target, line.trim_start());
            seen.read(line);
        })?;
        self.say.clear();
        let crash = match ended {
            Ended::Well => None,
            Ended::Failed | Ended::Late => Some(seen.crash.take().unwrap_or(crashes.to_owned())),
        };
        Ok(Fuzzed {
            told: seen.told(),
            panicked: seen.panicked && crash.as_ref().is_some_and(|crash| crash.is_file()),
            crash,
            log,
        })
    }
}

/// The longest input of a target, in bytes: long histories find nothing that several short ones
/// do not.
fn longest(target: &str) -> usize {
    match target {
        "cache" | "ledger" => 600,
        _ => 16_384,
    }
}

/// What the fuzzer's lines said.
#[derive(Default)]
struct Seen {
    edges: String,
    covered: String,
    runs: String,
    crash: Option<PathBuf>,
    panicked: bool,
}

impl Seen {
    fn read(&mut self, line: &str) {
        if let Some((_, rest)) = line.split_once(" modules   (") {
            self.edges = rest.split(' ').next().unwrap_or_default().to_owned();
        }
        if let Some((_, rest)) = line.split_once(" cov: ") {
            self.covered = rest.split(' ').next().unwrap_or_default().to_owned();
        }
        if let Some(runs) = line.strip_prefix("stat::number_of_executed_units:") {
            runs.trim().clone_into(&mut self.runs);
        }
        self.panicked |= line.contains(" panicked at ");
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.crash = Some(PathBuf::from(path.trim()));
        }
    }

    fn told(&self) -> String {
        let Self {
            edges,
            covered,
            runs,
            ..
        } = self;
        format!("{runs} inputs, {covered} of {edges} edges covered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_fuzzer_are_read() {
        let mut seen = Seen::default();
        seen.read("INFO: Loaded 1 modules   (14 inline 8-bit counters): 14 [0x1, 0x2), ");
        seen.read("#4\tDONE   cov: 7 ft: 9 corp: 3/3b lim: 4 exec/s: 0 rss: 30Mb");
        seen.read("stat::number_of_executed_units: 4");
        seen.read("artifact_prefix='x/'; Test unit written to x/crash-1");
        assert_eq!(seen.told(), "4 inputs, 7 of 14 edges covered");
        assert_eq!(seen.crash, Some(PathBuf::from("x/crash-1")));
        assert!(!seen.panicked, "it may have run out of memory");
        seen.read("thread '<unnamed>' (7) panicked at src/lib.rs:1:2:");
        assert!(seen.panicked);
    }
}
