//! What a repair made, or would make.

mod json;
mod page;
mod report;

pub use self::report::RepairReport;
