//! `cargo xtask`: builds the driver here; tests, demo, benches.

mod bench;
mod command;
mod demo;
mod driver;
mod files;
mod kit;
mod link;
mod package;
mod packages;
mod say;
mod suite;
mod tidy;
mod toolchain;
mod trouble;
mod wrapper;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};

use driver::Request;
use say::Say;
use trouble::Outcome;

/// Builds and tests siloscan on Linux.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Line {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the driver: siloscan.sys and siloscan.pdb.
    Build(BuildLine),
    /// Run every check: format, house rules, lints, tests, the image, Wine, broken drivers.
    Test(TestLine),
    /// Break the driver and core in every way that `docs/mutants.md` lists; each must be noticed.
    Mutants,
    /// Make a folder that a Windows machine in test-signing mode installs from.
    Package {
        /// Build siloscand.exe too; its rule engine takes half an hour of one core the first time.
        #[arg(long)]
        with_service: bool,
    },
    /// Build the driver and show it guarding a host full of containers.
    Demo {
        /// Passed on to the demo; `cargo xtask demo -- --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Build the driver and play simulated worlds against it, each from a seed.
    Sim {
        /// Passed on: `--seeds A..B`, `--minutes N`, `--keep-going`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure.
    #[command(subcommand)]
    Bench(Bench),
}

/// What is measured. `cargo xtask bench open -- --help` lists what is passed on.
#[derive(Subcommand)]
enum Bench {
    /// What the driver adds to one open, per route and step.
    Open {
        /// Passed on: `--quick`, `--check`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Container starts on one host, from one to a thousand.
    Fleet {
        /// Passed on: `--quick`, `--check`, `--chart FILE`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Args)]
struct TestLine {
    /// Run this stage alone; repeatable.
    #[arg(long, value_enum)]
    only: Vec<suite::Stage>,
    /// Leave this stage out; repeatable.
    #[arg(long, value_enum)]
    skip: Vec<suite::Stage>,
}

#[derive(Args)]
struct BuildLine {
    /// The tree to build, if not this one.
    #[arg(long)]
    root: Option<PathBuf>,
    /// Where results go, if not into the tree's `target`.
    #[arg(long)]
    target_dir: Option<PathBuf>,
    /// Which compiler to use.
    #[arg(long, value_enum, default_value_t)]
    toolchain: toolchain::Wish,
    /// Print nothing but the image's path.
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    wrapper::run_if_asked();
    let done = match Line::parse().task {
        Task::Build(line) => build(&line),
        Task::Test(line) => test(&line.only, &line.skip),
        Task::Mutants => test(&[suite::Stage::Mutants], &[]),
        Task::Package { with_service } => package::run(&own_root(), with_service),
        Task::Demo { arguments } => demo::run(&own_root(), &arguments),
        Task::Sim { arguments } => demo::simulate(&own_root(), &arguments),
        Task::Bench(Bench::Open { arguments }) => bench::open(&own_root(), &arguments),
        Task::Bench(Bench::Fleet { arguments }) => bench::fleet(&own_root(), &arguments),
    };
    match done {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::from(2)
        }
    }
}

/// The tree that this program was built from.
fn own_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

fn test(only: &[suite::Stage], skip: &[suite::Stage]) -> Outcome<ExitCode> {
    let passed = suite::run(&own_root(), only, skip)?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn build(line: &BuildLine) -> Outcome<ExitCode> {
    let start = Instant::now();
    let mut say = Say::new(line.quiet);
    let mut request = Request::of(&line.root.clone().unwrap_or_else(own_root));
    request.wish = line.toolchain;
    if let Some(target) = &line.target_dir {
        request.target = target.clone();
    }
    let driver = request.prepare(&mut say)?;
    say.step("with", &driver.about());
    let built = driver.build(&mut say)?;
    say.step(
        "link",
        if built.linked {
            "done"
        } else {
            "nothing to do"
        },
    );
    let sizes = [&built.image, &built.pdb].map(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let length = std::fs::metadata(path).map(|meta| meta.len()).unwrap_or(0);
        format!("{name} {}", say::size(length))
    });
    say.step(
        "ready",
        &format!("{} in {}", sizes.join(", "), say::time(start.elapsed())),
    );
    println!("{}", built.image.display());
    Ok(ExitCode::SUCCESS)
}
