//! Whole worlds from seeds, judged by an oracle that knows the true bytes behind every open.

use filterhost::Mode;
use siloscan_worlds::scene::options;
use siloscan_worlds::sim::oracle::Figures;
use siloscan_worlds::sim::{self, Plan};

/// Worlds that every run of the tests plays; `cargo xtask sim` plays as many as one likes.
const WORLDS: u64 = 60;
/// Of those, how many are played with real threads too.
const FREE: u64 = 20;

#[test]
fn i1_i2_i4_no_world_breaks_a_promise() {
    let mut all = Figures::default();
    for seed in 0..WORLDS {
        match sim::check(seed, &options()) {
            Ok(figures) => all.add(&figures),
            Err(broken) => panic!("seed {seed}\n{broken}"),
        }
    }
    // A suite of worlds in which nothing happens would show nothing.
    assert!(all.refused > WORLDS && all.served > WORLDS, "{all:?}");
    assert!(all.changes > WORLDS, "{all:?}");
}

#[test]
fn i1_i2_i4_threads_that_really_run_at_once_break_none_either() {
    for seed in 0..FREE {
        let plan = Plan::of(seed);
        if let Err(broken) = sim::run_in(Mode::Free, &plan, &options()) {
            panic!("seed {seed}, freely\n{broken}");
        }
    }
}

#[test]
fn one_seed_is_one_history() {
    for seed in [3, 11] {
        let plan = Plan::of(seed);
        let first = sim::run(&plan, &options()).expect("a good world");
        let again = sim::run(&plan, &options()).expect("a good world");
        assert_eq!(first, again, "{plan:?}");
    }
}
