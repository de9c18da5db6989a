//! Why something is kept or not.

mod json;
mod page;
mod report;

pub use self::report::ExplainReport;
