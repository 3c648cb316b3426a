//! Each rule of the verifier has a driver that breaks it and nothing else.
//!
//! The drivers are the cases below this folder, one C file for each family of rules, named
//! `SITUATION__wrong__rule_name`; the harness and the situations are those of the conformance
//! tests. With every rule on, a driver's run must end with exactly its rule. With that one rule
//! off it must end as the rule says: well, or with the crash that it names.

#[path = "../conform/client.rs"]
mod client;
#[path = "../support/committed.rs"]
mod committed;
#[path = "../conform/gate.rs"]
mod gate;
#[path = "../conform/guest.rs"]
mod guest;
#[path = "../conform/images.rs"]
mod images;
mod page;
#[path = "../conform/situation.rs"]
mod situation;
#[path = "../conform/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use filterhost::verifier::{self, Rule};
use filterhost::{Machine, MachineBuilder, Mode, Report};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::world::Case;

/// A driver: the name of its case, and the image that holds it.
struct Wrong {
    case: String,
    image: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let images = images::build("wrong");
    let mut drivers: BTreeMap<String, Vec<Wrong>> = BTreeMap::new();
    for (case, image) in &images.cases {
        if ["setup__", "check__"]
            .iter()
            .any(|role| case.starts_with(role))
        {
            continue;
        }
        let rule = case
            .rsplit("__")
            .next()
            .unwrap_or_default()
            .replace('_', "-");
        let (case, image) = (case.clone(), image.clone());
        drivers.entry(rule).or_default().push(Wrong { case, image });
    }
    let mut unknown: Vec<String> = drivers
        .keys()
        .filter(|name| verifier::find(name).is_none())
        .map(|name| format!("no rule is called {name}"))
        .collect();
    unknown.extend(
        images
            .failures
            .iter()
            .map(|(file, said)| format!("{file}.c: {said}")),
    );
    let mut trials = vec![
        Trial::test("every_driver_is_of_a_rule", move || or_fail(&unknown)),
        Trial::test("the_page_is_current", || or_fail(&page::differences())),
        Trial::test("at_least_sixty_rules_count", || {
            let count = verifier::rules().count();
            or_fail(&Vec::from_iter(
                (count < 60).then(|| format!("{count} rules")),
            ))
        }),
    ];
    for rule in verifier::rules() {
        let own = drivers.remove(rule.name).unwrap_or_default();
        trials.push(Trial::test(rule.name, move || {
            if own.is_empty() {
                return Err(Failed::from("no wrong driver breaks this rule"));
            }
            let said: Vec<_> = own.iter().flat_map(|driver| judge(rule, driver)).collect();
            or_fail(&said)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn or_fail(said: &[String]) -> Result<(), Failed> {
    if said.is_empty() {
        return Ok(());
    }
    Err(Failed::from(said.join("\n")))
}

fn machine(rule: &Rule) -> MachineBuilder {
    let machine = Machine::builder().scheduler(Mode::Seeded(1));
    if rule.name == verifier::irql::CODE.name {
        return machine.dispatch_code(&["at_dispatch_level"]);
    }
    machine
}

/// Runs a driver; gives what the world and the driver found wrong, or the report.
fn play(driver: &Wrong, machine: MachineBuilder) -> Result<Result<(), String>, Report> {
    let case = Case::of(&driver.case, &driver.image).unwrap_or_else(|said| panic!("{said}"));
    world::run(case, machine).map(|outcome| outcome.value)
}

/// Runs a driver with its rule on and off; gives what is wrong with that.
fn judge(rule: &'static Rule, driver: &Wrong) -> Vec<String> {
    let mut said = Vec::new();
    let case = &driver.case;
    match play(driver, machine(rule)) {
        Ok(ended) => said.push(format!("{case}: nobody noticed ({ended:?})")),
        Err(report) if report.rule() != rule.name => {
            said.push(format!(
                "{case}: {} was to be told, not\n{report}",
                rule.name
            ));
        }
        Err(_) => {}
    }
    let off = machine(rule).without_rules(&[rule.name]);
    match (play(driver, off), crash_of(rule)) {
        (Ok(_), None) => {}
        (Err(report), Some(crash)) if report.rule() == crash => {}
        (Ok(ended), Some(crash)) => {
            said.push(format!(
                "{case}, off: should end with {crash}, ended with {ended:?}"
            ));
        }
        (Err(report), wanted) => {
            let wanted = wanted.unwrap_or("no report");
            said.push(format!(
                "{case}, off: should end with {wanted}, not\n{report}"
            ));
        }
    }
    said
}

/// The crash that a rule's text names for a driver that breaks it unjudged.
fn crash_of(rule: &Rule) -> Option<&'static str> {
    let rest = rule.off.strip_prefix("The run ends with `")?;
    rest.split('`').next()
}
