//! Says what a build is of, for `regsweep --version`: the target, and the features it was built with.

// A build script is told nothing except by its environment.
#![allow(clippy::disallowed_methods)]

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET").expect("cargo says for what it builds");
    println!("cargo::rustc-env=REGSWEEP_TARGET={target}");
    let features =
        env::vars().filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-")));
    let mut features: Vec<String> = features.filter(|feature| feature != "default").collect();
    features.sort();
    println!("cargo::rustc-env=REGSWEEP_FEATURES={}", features.join(" "));
}
