//! What is in quarantine, and what was done with it.

mod json;
pub(super) mod page;
mod report;

pub use self::report::{Done, QuarantineReport, RunRow};
