//! The fuzzer, for a few seconds a target, and whether it would find anything.

use std::time::Duration;

use super::{Bench, Found};
use crate::fuzz::{Fuzzer, TARGETS};
use crate::say::Say;
use crate::trouble::Outcome;

/// How long each target is fuzzed.
const EACH: Duration = Duration::from_secs(3);

/// Runs each target for a short time; then looks whether each planted defect is found.
pub fn run(bench: &mut Bench) -> Outcome<Found> {
    let mut fuzzer = Fuzzer::new(&bench.root, Say::new(false), false)?;
    let mut found = Found::default();
    let mut told = Vec::new();
    fuzzer.build(&bench.root, TARGETS)?;
    for target in TARGETS {
        let fuzzed = fuzzer.fuzz(target, EACH)?;
        found.check(fuzzed.crash.is_none(), || {
            let log = fuzzed.log.display();
            format!("{target}: an input is dealt with wrongly, see {log}")
        });
        told.push(format!("{target} {}", fuzzed.told));
    }
    for planted in fuzzer.planted()? {
        found.check(planted.fuzzed.panicked, || {
            format!("not found in {}: {}", planted.fuzzed.told, planted.breaks)
        });
    }
    found.about = told.join("; ");
    Ok(found)
}
