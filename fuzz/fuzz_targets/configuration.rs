//! Any bytes as the registry's configuration, with its variables.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| regsweep_fuzz::checks::configuration(bytes));
