//! Any bytes as a manifest.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep_fuzz::checks::references(bytes));
