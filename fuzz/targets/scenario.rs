//! Scenario files of the filter host.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| siloscan_fuzz::scenario(data));
