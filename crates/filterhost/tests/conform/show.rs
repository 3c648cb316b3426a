//! Shows a case: under the free scheduler and under seeds.

use std::path::Path;

use filterhost::{Machine, Mode, Outcome};

use crate::situation::Beside;
use crate::world::{self, Case};

/// Seeds of the runs that are not free; the first runs twice.
const SEEDS: [u64; 2] = [1, 2];
/// Rules by which a driver ends the run itself.
const STOPS: [&str; 4] = ["bug-check", "assertion", "breakpoint", "pool-raise"];

/// Runs a case under the free scheduler and under seeds.
///
/// # Errors
/// What went wrong, in words.
pub fn show(name: &str, image: &Path) -> Result<(), String> {
    let case = Case::of(name, image)?;
    once(&case, Mode::Free)?;
    let [first, second] = SEEDS;
    let hash = once(&case, Mode::Seeded(first))?;
    if once(&case, Mode::Seeded(first))? != hash {
        return Err(format!("seed {first} gave two histories"));
    }
    once(&case, Mode::Seeded(second))?;
    Ok(())
}

fn once(case: &Case, mode: Mode) -> Result<u64, String> {
    let mut machine = Machine::builder().scheduler(mode);
    if case.situation.beside == Beside::Unlisted {
        // The case shows the status that a service key without instances gives.
        machine = machine.without_rules(&["registry-instances"]);
    }
    let run = world::run(case.clone(), machine);
    match run {
        Ok(_) if case.situation.stops => Err(format!("{mode:?}: nothing stopped the run")),
        Ok(Outcome {
            value, trace_hash, ..
        }) => value
            .map(|()| trace_hash)
            .map_err(|said| format!("{mode:?}: {said}")),
        // A report carries no hash; two of one seed are compared by their steps elsewhere.
        Err(report) if case.situation.stops && STOPS.contains(&report.rule()) => Ok(0),
        Err(report) => Err(format!("{mode:?}: {report}")),
    }
}
