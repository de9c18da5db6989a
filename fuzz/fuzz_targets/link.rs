//! Any bytes as the content of a link.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep_fuzz::checks::link(bytes));
