//! Runs one scenario in every order that is worth it: under the free scheduler, under a number of
//! seeds, and under one seed twice, which must be one history.

use std::sync::Arc;

use filterhost::{Machine, Mode, Outcome, Report};

use crate::world::{World, WorldOptions};

/// Seeds that each scenario runs under.
pub const SEEDS: u64 = 20;

/// A scenario: what happens on a container host.
pub trait Scenario: Fn(&World) + Send + Sync + 'static {}
impl<F: Fn(&World) + Send + Sync + 'static> Scenario for F {}

/// Runs `scenario` once on a host of its own, and shuts the host down.
///
/// # Errors
/// What the machine's checkers found.
///
/// # Panics
/// With the scenario, and when the driver does not load.
pub fn once<S: Scenario>(
    mode: Mode,
    options: &WorldOptions,
    scenario: Arc<S>,
) -> Result<Outcome<()>, Report> {
    let options = options.clone();
    let machine = Machine::builder()
        .scheduler(mode)
        .build_number(options.build)
        .without(&options.without);
    machine.run(move |m| {
        let world = World::boot(m, &options).unwrap_or_else(|error| panic!("{error}"));
        scenario(&world);
        world.shut_down();
    })
}

/// Calls `run` for every order that is worth it: freely, under [`SEEDS`] seeds, and under the first
/// of them twice. `run` gives the trace hash.
///
/// # Panics
/// When one seed gives two histories.
pub fn in_every_order(mut run: impl FnMut(Mode) -> u64) {
    run(Mode::Free);
    let first = run(Mode::Seeded(0));
    assert_eq!(first, run(Mode::Seeded(0)), "one seed is one history");
    for seed in 1..SEEDS {
        run(Mode::Seeded(seed));
    }
}

/// Runs `scenario` everywhere.
///
/// # Panics
/// With the report of the first run that goes wrong, which names its seed.
pub fn everywhere<S: Scenario>(options: &WorldOptions, scenario: S) {
    let scenario = Arc::new(scenario);
    in_every_order(|mode| match once(mode, options, Arc::clone(&scenario)) {
        Ok(outcome) => outcome.trace_hash,
        Err(report) => panic!("{mode:?}\n{report}"),
    });
}
