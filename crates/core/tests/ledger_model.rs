//! Random histories of the ledger, and those that a fuzzer found worth keeping (I2).

mod ledger_world;

use ledger_world::{FILES, Op, STREAMS, Sizes, VOLUMES, run, run_bytes};
use proptest::prelude::*;
use std::path::Path;

fn op() -> impl Strategy<Value = Op> {
    let file = 0..VOLUMES * FILES;
    let stream = 0..STREAMS;
    prop_oneof![
        3 => (0..VOLUMES).prop_map(Op::Attach),
        2 => (0..VOLUMES).prop_map(Op::Detach),
        2 => (0..VOLUMES).prop_map(Op::Bump),
        2 => (0..2_u8).prop_map(Op::Connect),
        2 => (0..2_u8).prop_map(Op::Announce),
        7 => file.clone().prop_map(Op::Begin),
        10 => file.clone().prop_map(Op::Write),
        9 => (0..4_usize).prop_map(Op::End),
        5 => file.clone().prop_map(Op::Change),
        2 => file.clone().prop_map(Op::Replace),
        1 => (0..VOLUMES).prop_map(Op::Hide),
        2 => (0..4_usize).prop_map(Op::Show),
        1 => file.clone().prop_map(Op::Pin),
        2 => (0..4_usize).prop_map(Op::Unpin),
        3 => stream.clone().prop_map(Op::StreamBegin),
        4 => stream.clone().prop_map(Op::StreamWrite),
        4 => stream.clone().prop_map(Op::StreamEnd),
        1 => Just(Op::ContextlessWrite),
        12 => (file.clone(), stream, any::<bool>()).prop_map(|(file, stream, k)| {
            Op::Ticket { file, stream, keeps: k }
        }),
        12 => (0..4_usize).prop_map(Op::Read),
        10 => (0..4_usize, any::<bool>()).prop_map(|(i, right)| Op::Settle(i, right)),
        25 => file.clone().prop_map(Op::Look),
        25 => file.prop_map(Op::Scan),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn i2_a_hit_is_the_verdict_of_the_bytes_that_are_there(
        sets in 1..3_usize,
        buckets in 1..3_usize,
        generations in 1..40_usize,
        secret in any::<u64>(),
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        run(Sizes { sets, buckets, generations }, secret, &ops);
    }
}

/// The property above is worth something only if hits and insertions are common.
#[test]
fn histories_do_hit_and_store() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut hits, mut stored) = (0, 0);
    for secret in 0..200 {
        let ops = proptest::collection::vec(op(), 80)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let got = run(
            Sizes {
                sets: 2,
                buckets: 2,
                generations: 32,
            },
            secret,
            &ops,
        );
        hits += got.0;
        stored += got.1;
    }
    assert!(hits > 200 && stored > 200, "{hits} hits, {stored} stored");
}

#[test]
fn the_fuzzers_histories_keep_the_promise() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let kept = std::fs::read_dir(fuzz.join("corpus/ledger")).expect("the corpus is committed");
    // What was dealt with wrongly once; there need be none.
    let crashes = std::fs::read_dir(fuzz.join("crashes/ledger"));
    let (mut hits, mut stored) = (0, 0);
    for entry in kept.chain(crashes.into_iter().flatten()) {
        let path = entry.expect("it can be listed").path();
        println!("{}", path.display());
        let got = run_bytes(&std::fs::read(&path).expect("it can be read"));
        hits += got.0;
        stored += got.1;
    }
    assert!(hits > 10 && stored > 20, "{hits} hits, {stored} stored");
}
