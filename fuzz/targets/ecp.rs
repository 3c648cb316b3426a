//! The context of the redirection ECP.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| siloscan_fuzz::ecp(data));
