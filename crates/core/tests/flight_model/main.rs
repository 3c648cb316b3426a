//! Flights against a model that knows who waits for what (I3, I6).
//!
//! The model groups waiters by the scan that they wait for. Whatever the history: one live scan
//! per subject, a verdict reaches exactly the group that it was earned for, a killed scan reaches
//! nobody, everybody who has an outcome was woken for it, and no place is lost.

mod history;
mod world;

use history::{FLIGHTS, Op, WAITERS, op};
use proptest::prelude::*;
use siloscan_core::flight::{
    FlightFilter, FlightSlot, FlightTable, Shares, SiloAccount, WaiterSlot,
};
use world::World;

/// Runs one history; how many verdicts were shared in it.
fn run(percent: u8, ops: &[Op]) -> u64 {
    let mut flights = [FlightSlot::FREE; FLIGHTS];
    let mut waiters = [WaiterSlot::FREE; WAITERS];
    let mut accounts = [SiloAccount::FREE; 32];
    let filter = FlightFilter::new();
    let shares = Shares {
        leaders: 4,
        percent,
        forgiven_after: 1_000,
    };
    let table = FlightTable::new(&mut flights, &mut waiters, &mut accounts, &filter, shares);
    let mut world = World::new(table, &filter, shares);
    for op in ops {
        world.step(op);
    }
    world.finish()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn i6_one_live_scan_and_a_killed_one_reaches_nobody(
        percent in prop_oneof![Just(25_u8), Just(50), Just(100)],
        ops in proptest::collection::vec(op(), 1..100),
    ) {
        run(percent, &ops);
    }
}

/// The property above is worth something only if verdicts are common.
#[test]
fn histories_do_share_verdicts() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let shared: u64 = (0..100)
        .map(|_| {
            let ops = proptest::collection::vec(op(), 100)
                .new_tree(&mut runner)
                .unwrap();
            run(100, &ops.current())
        })
        .sum();
    assert!(shared > 100, "{shared}");
}
