//! The service's configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| siloscan_fuzz::configuration(data));
