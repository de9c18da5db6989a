//! Integration tests: the binary on storage written by a builder and by the real registry.
//!
//! One binary, so that the vocabulary in `support` is built once.

// A test ends by panicking; and it makes, damages and deletes files, which the product may only do in one place.
#![allow(clippy::disallowed_methods)]
// It says what it could not try.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod ages;
mod asking;
mod audit;
mod brakes;
mod buckets;
mod command_line;
mod configuration;
mod containers;
mod contrib;
mod differential;
mod documents;
mod end_to_end;
mod expire;
mod explain;
mod fixtures;
mod fuzz;
mod hazards;
mod hostile;
mod house;
mod kept_names;
mod list;
mod lock;
mod model;
mod owners;
mod packaging;
mod page;
mod properties;
mod quarantine;
mod remove;
mod repair;
mod roots;
mod scoped;
mod support;
mod unchanged;
mod uploads;
mod usage;
mod verify;
mod writers;
