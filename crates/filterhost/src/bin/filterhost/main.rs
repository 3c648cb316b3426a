//! The host as a command: what an image imports, whether it starts, what it does in a scenario,
//! and which rules it breaks.

mod coverage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use filterhost::image::{ImageError, Plan};
use filterhost::scenario::verify::{Effort, Verified, own_scenarios, verify};
use filterhost::scenario::{Choices, Played, Start, builtin};
use filterhost::{Machine, Mode, Scenario, verifier};

/// Runs Windows minifilter images, as built, in a Linux process.
///
/// Exit codes: 0 nothing is wrong, 1 something was found, 2 it could not be tried.
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
    /// Loads an image, plays a scenario, and unloads it.
    Run {
        /// The driver image; its PDB is looked for beside it.
        image: PathBuf,
        /// A scenario file, or the name of one of the host's own (`filterhost scenarios`).
        #[arg(long, default_value = "own:load")]
        scenario: String,
        /// Seed of a run where one thread runs at a time; without it threads run in parallel.
        #[arg(long)]
        seed: Option<u64>,
        /// Puts each pool block before a page that cannot be touched.
        #[arg(long)]
        special_pool: bool,
        /// Makes this allocation of pool fail, counted from 1 at the load.
        #[arg(long, value_name = "NTH", value_parser = clap::value_parser!(u64).range(1..))]
        fail_allocation: Option<u64>,
        /// Makes this call of a function fail, counted from 1 at the load.
        #[arg(long, value_name = "FUNCTION:NTH", value_parser = call)]
        fail_call: Option<(String, u64)>,
        /// Does not judge what steps end with.
        #[arg(long)]
        lenient: bool,
        #[command(flatten)]
        machine: MachineArguments,
    },
    /// Plays the host's own scenarios: many seeds, special pool, each allocation and call failing
    /// in turn; lists the rules that were broken.
    Verify {
        /// The driver image; its PDB is looked for beside it.
        image: PathBuf,
        /// A scenario beside, or instead of, the host's own; may be given several times.
        #[arg(long, value_name = "FILE")]
        scenario: Vec<String>,
        /// Plays only the scenarios given.
        #[arg(long, requires = "scenario")]
        only: bool,
        /// Seeds of each scenario.
        #[arg(long, default_value_t = 10)]
        seeds: u64,
        /// The most allocations that fail in turn in each scenario.
        #[arg(long, default_value_t = 200)]
        faults: u64,
        #[command(flatten)]
        machine: MachineArguments,
    },
    /// Lists the host's own scenarios, or prints one.
    Scenarios {
        /// The one to print.
        name: Option<String>,
    },
    /// Which lines of a driver were run.
    #[command(subcommand)]
    Coverage(coverage::Coverage),
    /// Lists every rule that drivers are judged by.
    Rules,
    /// Lists every function that the host provides.
    Exports {
        /// Prints a module's functions as the text of a .def file instead.
        #[arg(long, value_name = "MODULE")]
        definition: Option<String>,
    },
}

#[derive(Args)]
struct MachineArguments {
    /// Altitude of the driver's instance.
    #[arg(long)]
    altitude: Option<String>,
    /// Build number of the machine.
    #[arg(long)]
    build: Option<u32>,
    /// Switches a rule off; may be given several times.
    #[arg(long, value_name = "RULE", value_parser = rule)]
    without: Vec<&'static str>,
}

/// The rule of a name that was given.
fn rule(name: &str) -> Result<&'static str, String> {
    let found = verifier::find(name).map(|rule| rule.name);
    found.ok_or_else(|| format!("no rule is called {name}; `filterhost rules` lists them"))
}

/// A function and a number.
fn call(text: &str) -> Result<(String, u64), String> {
    let parts = text.split_once(':');
    let parts = parts.and_then(|(name, nth)| Some((name, nth.parse().ok()?)));
    let parts = parts.filter(|(_, nth)| *nth > 0);
    let (name, nth) = parts.ok_or("write it FUNCTION:NTH, as FltReadFile:2; 1 is the first")?;
    let provided = filterhost::exports::all().any(|export| export.info.name == name);
    let said = || format!("the host provides no {name}; `filterhost exports` lists all");
    provided.then(|| (name.to_owned(), nth)).ok_or_else(said)
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
            scenario,
            seed,
            special_pool,
            fail_allocation,
            fail_call,
            lenient,
            machine,
        } => {
            let choices = Choices {
                mode: seed.map(Mode::Seeded),
                special_pool,
                without_rules: machine.without,
                build: machine.build,
                altitude: machine.altitude,
                fail_allocation,
                fail_call,
                lenient,
            };
            run(&image, &scenario, &choices)
        }
        Command::Verify {
            image,
            scenario,
            only,
            seeds,
            faults,
            machine,
        } => {
            let effort = Effort {
                seeds,
                faults,
                without_rules: machine.without,
                build: machine.build,
                altitude: machine.altitude,
            };
            verify_image(&image, &scenario, only, &effort)
        }
        Command::Scenarios { name } => scenarios(name.as_deref()),
        Command::Coverage(what) => coverage::run(what),
        Command::Rules => {
            for rule in verifier::rules() {
                println!("{}: {} {}", rule.name, rule.demand, rule.page());
            }
            ExitCode::SUCCESS
        }
        Command::Exports {
            definition: Some(module),
        } => definition(&module),
        Command::Exports { definition: None } => {
            for export in filterhost::exports::all() {
                let info = export.info;
                let (module, name, irql, page) = (info.module, info.name, info.irql, info.page());
                println!("{module}!{name} {irql} {page}");
            }
            ExitCode::SUCCESS
        }
    }
}

fn definition(module: &str) -> ExitCode {
    let all = filterhost::exports::definitions();
    match all.get(module) {
        Some(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        None => {
            let known: Vec<_> = all.keys().copied().collect();
            failed(&format!("the host has {}, no {module}", known.join(", ")))
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

fn scenarios(name: Option<&str>) -> ExitCode {
    let Some(name) = name else {
        for (name, text) in builtin::ALL {
            let about = text.lines().next().unwrap_or_default();
            println!("{name}: {}", about.trim_start_matches("# "));
        }
        return ExitCode::SUCCESS;
    };
    match builtin::find(name) {
        Some(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        None => failed(&format!("no scenario of the host's own is called {name}")),
    }
}

/// A scenario by its file or its own name.
fn scenario(name: &str) -> Result<Scenario, filterhost::scenario::ScenarioError> {
    match builtin::find(name) {
        Some(text) => Scenario::parse(name, text),
        None => Scenario::load(Path::new(name)),
    }
}

fn run(image: &Path, name: &str, choices: &Choices) -> ExitCode {
    let scenario = match scenario(name) {
        Ok(scenario) => scenario,
        Err(wrong) => return failed(&wrong),
    };
    let played = match scenario.play(image, choices) {
        Ok(played) => played,
        Err(report) => {
            eprintln!("{report}");
            return ExitCode::from(1);
        }
    };
    for message in &played.messages {
        println!("  says: {}", message.trim_end());
    }
    match &played.start {
        Start::Impossible(said) | Start::Refused(said) => failed(said),
        Start::Started => tell_played(&scenario, &played, choices.lenient),
    }
}

fn tell_played(scenario: &Scenario, played: &Played, lenient: bool) -> ExitCode {
    let name = scenario.name();
    for problem in &played.problems {
        match problem.line {
            0 => println!("{name}: {}", problem.said),
            line => println!("{name}:{line}: {}", problem.said),
        }
    }
    let steps = scenario.steps();
    let calls = played.stats.steps;
    if played.problems.is_empty() && lenient {
        println!("{steps} steps of {name} were played; what they ended with is not judged");
        println!("unloaded, nothing is left ({calls} calls)");
        return ExitCode::SUCCESS;
    }
    if played.problems.is_empty() {
        println!("{steps} steps went as {name} says; unloaded, nothing is left ({calls} calls)");
        return ExitCode::SUCCESS;
    }
    println!("{} problems", played.problems.len());
    ExitCode::from(1)
}

fn verify_image(image: &Path, files: &[String], only: bool, effort: &Effort) -> ExitCode {
    let mut all = if only { Vec::new() } else { own_scenarios() };
    for file in files {
        match scenario(file) {
            Ok(scenario) => all.push(scenario),
            Err(wrong) => return failed(&wrong),
        }
    }
    let mut tell = |name: &str| eprintln!("{name}");
    match verify(image, &all, effort, &mut tell) {
        Ok(verified) => tell_verified(image, &verified),
        Err(said) => failed(&said),
    }
}

fn tell_verified(image: &Path, verified: &Verified) -> ExitCode {
    for finding in &verified.findings {
        print!("\n{}", finding.tell(image));
    }
    println!();
    for cut in &verified.cut {
        println!("{cut}");
    }
    if let Some(said) = &verified.refused {
        println!("without any fault {said}");
    }
    for said in &verified.impossible {
        println!("not played: {said}");
    }
    let (findings, plays) = (verified.findings.len(), verified.plays);
    match (findings, &verified.refused) {
        (0, None) if !verified.impossible.is_empty() => {
            println!("no rule was broken in {plays} plays, but not all scenarios were played");
            ExitCode::from(2)
        }
        (0, None) => {
            println!("no rule was broken in {plays} plays");
            ExitCode::SUCCESS
        }
        (0, Some(_)) => {
            println!("no rule was broken in {plays} plays, but the driver did not run");
            ExitCode::from(2)
        }
        _ => {
            println!("{findings} findings in {plays} plays");
            ExitCode::from(1)
        }
    }
}
