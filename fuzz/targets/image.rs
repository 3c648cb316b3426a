//! Driver images.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| siloscan_fuzz::image(data));
