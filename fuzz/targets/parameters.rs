//! Registry values.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| siloscan_fuzz::parameters(data));
