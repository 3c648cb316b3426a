//! Random histories of the cache alone, and those that a fuzzer found worth keeping.

mod cache_world;

use cache_world::run_bytes;
use proptest::prelude::*;
use std::path::Path;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_found_is_what_was_put_in_last(
        data in proptest::collection::vec(any::<u8>(), 2..300),
    ) {
        run_bytes(&data);
    }
}

#[test]
fn the_fuzzers_histories_keep_the_promise() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let kept = std::fs::read_dir(fuzz.join("corpus/cache")).expect("the corpus is committed");
    // What was dealt with wrongly once; there need be none.
    let crashes = std::fs::read_dir(fuzz.join("crashes/cache"));
    let mut hits = 0;
    for entry in kept.chain(crashes.into_iter().flatten()) {
        let path = entry.expect("it can be listed").path();
        println!("{}", path.display());
        hits += run_bytes(&std::fs::read(&path).expect("it can be read"));
    }
    assert!(hits > 20, "{hits} hits: nothing was tested");
}
