//! `cargo xtask`: builds the driver here; tests, demo, benches.

mod bench;
mod command;
mod compiling;
mod demo;
mod driver;
mod files;
mod fuzz;
mod kit;
mod link;
mod orders;
mod package;
mod packages;
mod proofs;
mod reasons;
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
        /// Build siloscand.exe and siloscan.exe too; their rule engine takes half an hour of one
        /// core the first time.
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
    /// Fuzz what is read from outside, the cache and the ledger, steered by what their code covers.
    Fuzz(fuzz::Line),
    /// Measure.
    #[command(subcommand)]
    Bench(Bench),
    /// Run cache, ledger and flights under the model checker: every interleaving that it allows.
    Model {
        /// Instead, break core once for each patch of `proofs/model/mutants`: each must be noticed.
        #[arg(long)]
        planted: bool,
        /// Instead, weaken each memory order in turn: each must be noticed, unless
        /// `proofs/model/orders.toml` says why it is stronger than it needs to be.
        #[arg(long, conflicts_with = "planted")]
        orders: bool,
    },
    /// Record histories of the cache under real threads and check that they are linearisable.
    Stress(StressLine),
    /// Run core's tests under Miri, where a toolchain has it.
    Miri,
}

#[derive(Args)]
struct StressLine {
    /// How long.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Under this sanitizer, with the tests of races.
    #[arg(long, value_enum)]
    sanitizer: Option<proofs::Sanitizer>,
}

/// What is measured. `cargo xtask bench open -- --help` lists what is passed on.
#[derive(Subcommand)]
enum Bench {
    /// The cache against its peers: ratios with their spread.
    #[command(flatten)]
    Cache(proofs::Measure),
    /// What the driver adds to one open, per route and step.
    Open {
        /// Passed on: `--quick`, `--check`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Container starts on one host, from one to a thousand.
    Fleet {
        /// Passed on: `--quick`, `--check`, `--chart FILE`, `--hosts N`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The service against its engine alone, under a burst, and in a soak.
    Service {
        /// Passed on: `--quick`, `--check`, `--soak`, `--requests N`, `--minutes N`, `--seed N`.
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
        Task::Bench(Bench::Cache(what)) => proofs::measure(&own_root(), &what),
        Task::Fuzz(line) => fuzz::run(&own_root(), &line),
        Task::Bench(Bench::Open { arguments }) => bench::open(&own_root(), &arguments),
        Task::Bench(Bench::Fleet { arguments }) => bench::fleet(&own_root(), &arguments),
        Task::Bench(Bench::Service { arguments }) => bench::service(&own_root(), &arguments),
        Task::Model { orders: true, .. } => orders::run(&own_root()),
        Task::Model { planted, .. } => proofs::model(&own_root(), planted),
        Task::Stress(line) => proofs::stress(&own_root(), line.minutes, line.sanitizer),
        Task::Miri => proofs::miri(&own_root()),
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
