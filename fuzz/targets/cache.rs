//! Fuzzes the cache alone, against registers that may forget.
#![no_main]

#[path = "../../crates/core/tests/cache_world/mod.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    world::run_bytes(data);
});
