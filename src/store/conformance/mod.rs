//! The contract of every store, as tests that each implementation and each wrapper runs on the same tree.

mod backends;
mod bench;
mod stores;

pub(crate) use self::backends::CASES as BACKENDS;
pub(crate) use self::bench::{Bench, Fill};
pub(crate) use self::stores::CASES as STORES;
