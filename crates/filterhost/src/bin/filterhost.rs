//! The host as a command: what an image imports, and whether it loads and unloads cleanly.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use filterhost::image::{ImageError, Plan};
use filterhost::kernel::format::Messages;
use filterhost::{LoadOptions, Machine, Mode, verifier};

/// Runs Windows minifilter images, as built, in a Linux process.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists what an image imports, and whether the host provides it.
    Imports {
        /// The driver image.
        image: PathBuf,
        /// Build number of the machine: newer functions are absent.
        #[arg(long, default_value_t = 20348)]
        build: u32,
    },
    /// Loads an image, lets it start, and unloads it.
    Run {
        /// The driver image; its PDB is looked for beside it.
        image: PathBuf,
        /// Seed of a run where one thread runs at a time; without it threads run in parallel.
        #[arg(long)]
        seed: Option<u64>,
        /// Altitude of its instance.
        #[arg(long, default_value = "320999.5")]
        altitude: String,
        /// Build number of the machine.
        #[arg(long, default_value_t = 20348)]
        build: u32,
        /// Puts each pool block before a page that cannot be touched.
        #[arg(long)]
        special_pool: bool,
        /// Switches a rule off; may be given several times.
        #[arg(long, value_name = "RULE", value_parser = rule)]
        without: Vec<&'static str>,
    },
    /// Lists every rule that drivers are judged by.
    Rules,
    /// Lists every function that the host provides.
    Exports,
}

/// The rule of a name that was given.
fn rule(name: &str) -> Result<&'static str, String> {
    let found = verifier::find(name).map(|rule| rule.name);
    found.ok_or_else(|| format!("no rule is called {name}; `filterhost rules` lists them"))
}

/// Says an error, causes included, and gives the exit code for it.
fn failed(cause: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("filterhost: {cause}");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Imports { image, build } => imports(&image, build),
        Command::Run {
            image,
            seed,
            altitude,
            build,
            special_pool,
            without,
        } => {
            let mode = seed.map_or(Mode::Free, Mode::Seeded);
            let machine = Machine::builder()
                .scheduler(mode)
                .build_number(build)
                .special_pool(special_pool)
                .without_rules(&without);
            run(image, &altitude, machine)
        }
        Command::Rules => {
            for rule in verifier::rules() {
                println!("{}: {} {}", rule.name, rule.demand, rule.page());
            }
            ExitCode::SUCCESS
        }
        Command::Exports => {
            for export in filterhost::exports::all() {
                let info = export.info;
                println!(
                    "{}!{} {} {}",
                    info.module,
                    info.name,
                    info.irql,
                    info.page()
                );
            }
            ExitCode::SUCCESS
        }
    }
}

fn imports(image: &PathBuf, build: u32) -> ExitCode {
    let data = match std::fs::read(image) {
        Ok(data) => data,
        Err(cause) => return failed(&format!("cannot read {}: {cause}", image.display())),
    };
    let plan = match Plan::parse(&data) {
        Ok(plan) => plan,
        Err(cause @ (ImageError::Damaged(_) | ImageError::Unfit(_))) => {
            return failed(&format!("{}: {cause}", image.display()));
        }
    };
    let machine = Machine::builder().build_number(build);
    let listed = machine.run(move |m| {
        let provided = |import: &filterhost::image::Import| {
            filterhost::kernel::resolve(m, &import.module, &import.name).is_some()
        };
        plan.imports
            .into_iter()
            .map(|import| (provided(&import), import))
            .collect::<Vec<_>>()
    });
    let listed = match listed {
        Ok(outcome) => outcome.value,
        Err(report) => return failed(&report),
    };
    for (provided, import) in &listed {
        let word = if *provided { "provided" } else { "MISSING" };
        println!("{word:8} {}!{}", import.module, import.name);
    }
    let missing = listed.iter().filter(|(provided, _)| !provided).count();
    println!("{} imports, {missing} missing", listed.len());
    if missing == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

fn run(image: PathBuf, altitude: &str, machine: filterhost::MachineBuilder) -> ExitCode {
    let service = image
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let instance = format!("{service} Instance");
    let options = LoadOptions::new(image, &service).instance(&instance, altitude);
    let outcome = machine.run(move |m| {
        let result = m
            .load_driver(&options)
            .map_err(|cause| cause.to_string())
            .and_then(|driver| {
                println!(
                    "{} started at {:#x}",
                    driver.image().name(),
                    driver.image().base()
                );
                driver
                    .unload()
                    .map_err(|status| format!("its unload returned {status}"))
            });
        (result, m.state::<Messages>().all())
    });
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(report) => {
            eprintln!("{report}");
            return ExitCode::from(1);
        }
    };
    let (result, messages) = outcome.value;
    for message in messages {
        println!("  says: {}", message.trim_end());
    }
    match result {
        Ok(()) => {
            println!("unloaded; nothing is left ({} steps)", outcome.stats.steps);
            ExitCode::SUCCESS
        }
        Err(cause) => failed(&cause),
    }
}
