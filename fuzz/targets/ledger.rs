//! Fuzzes the ledger, against a world whose bytes are known.
#![no_main]

#[path = "../../crates/core/tests/ledger_world/mod.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    world::run_bytes(data);
});
