//! What it costs to know a content by its hash, beside what a scan costs (docs/decisions/0097):
//! `cargo run --release -p siloscan-service --example hash_cost [RULES]`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use siloscan_service::engine::{EngineKind, Yara};

/// Each is done so often; the median counts.
const ROUNDS: usize = 9;

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn main() -> Result<(), String> {
    let rules = std::env::args_os().nth(1).map(PathBuf::from);
    let packed = Yara.pack(rules.as_deref());
    println!("{} rules", packed.rules);
    let mut scanner = Yara.unpack(&packed.bytes)?;
    for kib in [64, 1024, 16 * 1024] {
        // Like code: no two pieces alike, and every byte occurs.
        let mut state = 1_u64;
        let bytes: Vec<u8> = (0..kib << 10)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 33) as u8
            })
            .collect();
        let hash = median(|| {
            std::hint::black_box(Sha256::digest(&bytes));
        });
        let scan = median(|| {
            std::hint::black_box(scanner.scan(&bytes, None).is_ok());
        });
        println!("{kib:6} KiB: hash {hash:9.1?}, scan {scan:9.1?}");
    }
    Ok(())
}
