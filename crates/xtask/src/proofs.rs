//! `cargo xtask bench`, `model`, `stress` and `miri`: what is measured and proven on demand. The
//! programs are workspaces of their own (`benches/cache`, `proofs/model`), so that what they need
//! never reaches the product's lock file.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::{Subcommand, ValueEnum};

use crate::command;
use crate::files;
use crate::say::Say;
use crate::suite::cargo::COMPILE;
use crate::suite::copy::{self, Copy};
use crate::suite::mutants::{self, Mutant};
use crate::trouble::{Outcome, Trouble};

/// Defects of core that the model checker has to notice.
const MODEL_MUTANTS: &str = "proofs/model/mutants";
/// What the test program says that ran one test, which failed.
const NOTICED: &str = "FAILED. 0 passed; 1 failed";

/// What can be measured.
#[derive(Subcommand)]
pub enum Measure {
    /// The scan cache against the floor of memory and every serious peer.
    Cache {
        /// Passed on: `--quick`, `--check` (the gate), `--no-peers`, `--size N`, `--rounds N`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// A sanitizer of the compiler.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Sanitizer {
    /// Memory errors.
    Address,
    /// Data races.
    Thread,
}

impl Sanitizer {
    /// As the compiler calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Thread => "thread",
        }
    }
}

fn cargo(root: &Path, folder: &str) -> Command {
    let own = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = command::clean(own);
    cargo.current_dir(root.join(folder));
    cargo
}

fn ended(mut cargo: Command) -> Outcome<ExitCode> {
    let status = cargo
        .status()
        .map_err(|e| Trouble::new(format!("cannot run cargo: {e}")))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Builds a bench and runs it.
pub fn measure(root: &Path, what: &Measure) -> Outcome<ExitCode> {
    let Measure::Cache { arguments } = what;
    let mut run = cargo(root, "benches/cache");
    run.args(["run", "--quiet", "--release", "--locked", "--"]);
    run.args(arguments);
    ended(run)
}

/// The tests of cache, ledger and flights under the model checker.
pub fn model_command(root: &Path) -> Command {
    let mut test = cargo(root, "proofs/model");
    test.args(["test", "--locked", "--target-dir"])
        .arg(root.join("target/model"))
        .env("RUSTFLAGS", "--cfg loom");
    test
}

/// Runs them; or breaks core once for each patch, which they must notice.
pub fn model(root: &Path, planted: bool) -> Outcome<ExitCode> {
    if !planted {
        return ended(model_command(root));
    }
    let mut missed = 0;
    for (breaks, noticed) in model_planted(root, &mut Say::new(false))? {
        let verdict = if noticed { "noticed" } else { "NOT NOTICED" };
        println!("{verdict}: {breaks}");
        missed += usize::from(!noticed);
    }
    Ok(ExitCode::from(u8::from(missed > 0)))
}

/// What each patch of `proofs/model/mutants` breaks, and whether its test fails with it.
pub fn model_planted(root: &Path, say: &mut Say) -> Outcome<Vec<(String, bool)>> {
    copy::need(say)?;
    let logs = root.join("target/test-logs");
    files::make_folder(&logs)?;
    let log = logs.join("model-planted.log");
    let copy = Copy::new(root)?;
    let mut planted = Vec::new();
    for patch in mutants::patches(root, MODEL_MUTANTS)? {
        let Mutant { breaks, file, test } = mutants::patched(&copy, root, &patch)?;
        say.moving("planted", &breaks);
        let mut run = model_command(&copy.root);
        run.args(["--test", &file, "--", "--exact", &test]);
        let mut noticed = false;
        command::limited(&mut run, &log, COMPILE, |line| {
            noticed |= line.contains(NOTICED);
        })?;
        planted.push((breaks, noticed));
    }
    say.clear();
    copy.restore()?;
    Ok(planted)
}

/// Records histories of the cache for so long and looks for one that is not linearisable.
pub fn stress(root: &Path, minutes: f64, sanitizer: Option<Sanitizer>) -> Outcome<ExitCode> {
    let mut test = match sanitizer {
        None => {
            let mut test = cargo(root, "");
            test.args(["test", "--locked", "--package", "siloscan-core"]);
            test
        }
        Some(sanitizer) => sanitized(root, sanitizer)?,
    };
    test.args(["--test", "linear", "--", "--nocapture"]);
    test.env("SILOSCAN_STRESS_MINUTES", minutes.to_string());
    ended(test)
}

/// Core's tests of races under a sanitizer, with a standard library that is instrumented, too:
/// without it the end of a thread orders nothing, and each free after it is called a race.
fn sanitized(root: &Path, sanitizer: Sanitizer) -> Outcome<Command> {
    let sources = command::clean("rustc")
        .args(["+nightly", "--print", "sysroot"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library"));
    if !sources.is_some_and(|sources| sources.is_dir()) {
        let text = "no toolchain with the library's sources is here: nothing was checked";
        return Err(
            Trouble::new(text).next("rustup toolchain install nightly --component rust-src")
        );
    }
    let mut test = command::clean("cargo");
    test.current_dir(root)
        .args(["+nightly", "test", "--locked", "--package", "siloscan-core"])
        .args(["-Zbuild-std", "--target", "x86_64-unknown-linux-gnu"])
        .arg("--target-dir")
        .arg(root.join("target/sanitized"))
        .args(["--test", "ledger_threads"])
        .env("RUSTFLAGS", format!("-Zsanitizer={}", sanitizer.name()));
    Ok(test)
}

/// Core's shared structures under Miri, where there is a toolchain with it.
pub fn miri(root: &Path) -> Outcome<ExitCode> {
    let there = command::clean("cargo")
        .args(["+nightly", "miri", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        let text = "no toolchain with Miri is here: nothing was checked";
        return Err(Trouble::new(text).next("rustup toolchain install nightly --component miri"));
    }
    let mut test = command::clean("cargo");
    test.current_dir(root).args(["+nightly", "miri", "test"]);
    test.args(["--package", "siloscan-core", "--test", "ledger"]);
    test.args(["--test", "linear", "--test", "flights", "--lib", "--"]);
    // Their loops over many values take hours under an interpreter.
    for long in ["wire::", "ecp::", "a_thousand_volumes"] {
        test.args(["--skip", long]);
    }
    ended(test)
}
